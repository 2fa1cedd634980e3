//! A small log on a simulated disk, and reading back what is left of it.
#![allow(dead_code, unreachable_pub)] // Each test file uses its part.

use std::path::PathBuf;
use std::sync::Arc;

use banyan_log::{
    Acquired, Block, BlockDraft, DiskLog, DiskOptions, Epoch, Log, LogError, MemoryStorage, Seq, Verdict,
    open_for_reading,
};

/// Segments of 4 KiB: five sectors of blocks each.
pub fn tiny() -> DiskOptions {
    DiskOptions { segment_bytes: 4096, block_bytes_max: 384, background: false, ..DiskOptions::default() }
}

/// Segments of 8 KiB, blocks of up to four sectors, and an archive.
pub fn small() -> DiskOptions {
    DiskOptions {
        segment_bytes: 8192,
        block_bytes_max: 1800,
        archive_dir: Some(PathBuf::from("archive")),
        background: false,
        ..DiskOptions::default()
    }
}

pub fn open(storage: &MemoryStorage, options: &DiskOptions) -> Result<DiskLog, LogError> {
    DiskLog::open(Arc::new(storage.clone()), options.clone())
}

/// Bytes that differ from block to block.
pub fn body(first: u64, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at as u64 * 31 + first * 7 + 1) as u8).collect()
}

pub fn append(log: &mut dyn Log, epoch: Epoch, first: u64, body: &[u8]) -> Seq {
    let draft = BlockDraft { time_ms: 1_000 + first, count: 2, body };
    log.append(epoch, Seq(first), draft).expect("append").head
}

/// Acquires and appends `blocks` blocks of two events and varying size.
pub fn fill(log: &mut dyn Log, blocks: u64, bytes_max: usize) -> Acquired {
    let acquired = log.acquire().expect("acquire");
    let mut next = acquired.head.0 + 1;
    for block in 0..blocks {
        let bytes = (block as usize * 331 + 40) % (bytes_max + 1);
        next = append(log, acquired.epoch, next, &body(next, bytes)).0 + 1;
    }
    acquired
}

pub fn read_all(log: &dyn Log) -> Result<Vec<Block>, LogError> {
    let mut reader = log.reader(log.health().first_seq)?;
    let mut blocks = Vec::new();
    let mut block = Block::default();
    while reader.next(&mut block)? {
        blocks.push(block.clone());
    }
    Ok(blocks)
}

/// All valid blocks and the verdict, without opening the log for writing.
pub fn read_offline(storage: &MemoryStorage, archive: bool) -> (Vec<Block>, Verdict) {
    let path = PathBuf::from("archive");
    let mut log =
        open_for_reading(Arc::new(storage.clone()), archive.then_some(path.as_path())).expect("readable");
    let mut blocks: Vec<Block> = Vec::new();
    let mut block = Block::default();
    // Known before anything is read: an auditor asks whether the log is whole first.
    let first_seq = log.summary().first_seq;
    while log.next(&mut block).expect("readable") {
        blocks.push(block.clone());
    }
    assert_eq!(log.summary().blocks, blocks.len() as u64);
    assert!(
        blocks.first().is_none_or(|first| first.first_seq == first_seq),
        "it begins where it said it would"
    );
    (blocks, log.verdict().expect("a verdict stands at the end").clone())
}

/// Whether a log on this disk takes another owner and another block, and keeps both.
pub fn goes_on(storage: &MemoryStorage, options: &DiskOptions) {
    let mut log = open(storage, options).expect("open");
    let acquired = log.acquire().expect("acquire");
    let next = acquired.head.0 + 1;
    append(&mut log, acquired.epoch, next, b"more");
    let before = read_all(&log).expect("read");
    drop(log);
    let log = open(storage, options).expect("open again");
    assert_eq!(read_all(&log).expect("read"), before);
    assert_eq!(log.confirmed().get().0, next + 1);
}
