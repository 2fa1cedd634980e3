//! Opening a log for writing: lock, look, refuse or recover.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, RwLock};

use crate::confirmed::Confirmed;
use crate::disk::file::{SegmentFile, create_segment, read_manifest, write_manifest};
use crate::disk::recover::{Place, Tail, Walked, Walker};
use crate::disk::spare::Spares;
use crate::disk::strays::{self, Strays};
use crate::disk::{DiskLog, DiskOptions, Live, Shared};
use crate::error::{Damage, LogError};
use crate::format::block::{BLOCK_SECTORS_LIMIT, Header, encode, sectors_of};
use crate::format::sector::{Found, Kind, SECTOR_BYTES, inspect};
use crate::format::segment::{
    self, Chain, FIRST_BLOCK_SECTOR, FIRST_SEGMENT, LOCK, MANIFEST, Manifest, SEGMENT_OVERHEAD_SECTORS,
    TEMPORARY, opening, read_chain, seal,
};
use crate::storage::{LockRefused, Storage};
use crate::types::Block;

/// See [`DiskLog::open`].
pub(crate) fn open(storage: Arc<dyn Storage>, options: DiskOptions) -> Result<DiskLog, LogError> {
    options.check()?;
    let lock = storage.lock(LOCK).map_err(|refused| match refused {
        LockRefused::Held { by } => LogError::Locked { directory: storage.describe(), holder: by },
        LockRefused::Io(error) => LogError::io(format!("locking {}/{LOCK}", storage.describe()), error),
    })?;
    let disk = storage.as_ref();
    let stored = prepare_directory(&storage, &options)?;
    let Strays { manifest, archived } = strays::look(&storage, stored, &options)?;
    let places = live_segments(&storage, &manifest)?;
    let Looked { mut table, tail, last } = look(&places, &manifest, options.verify_all)?;

    // From here on the log is known to be sound, and is changed.
    let mut current = places[tail.position].open(true)?;
    let before = tail.position.checked_sub(1).map(|before| places[before].open(true)).transpose()?;
    let continues = table.last().map_or(tail.chain, |live| live.chain);
    settle(&current, before.as_ref(), &tail, &continues, last)?;
    disk.sync_dir().map_err(|error| LogError::io(format!("syncing {}", disk.describe()), error))?;
    if manifest != stored {
        write_manifest(disk, &manifest)?;
    }
    strays::remove(disk, &archived)?;
    if !tail.opened {
        current = large_enough(disk, current, &options)?;
        if let Some(last) = table.last_mut() {
            *last = current.live(last.chain);
        }
    }
    let spare = places.get(tail.position + 1).map(|place| place.open(true)).transpose()?;
    let spare = spare.map(|spare| large_enough(disk, spare, &options)).transpose()?;

    let head = tail.chain.head();
    let no_spare = spare.is_none();
    let spares = Spares::new(Arc::clone(&storage), options.segment_bytes, spare, options.background)
        .map_err(|error| LogError::io("starting the thread that prepares log segments", error))?;
    if no_spare && tail.opened {
        spares.request(current.index + 1);
    }
    let shared = Shared {
        storage,
        archive_dir: options.archive_dir.clone(),
        table: RwLock::new(table),
        end: AtomicU64::new(0),
        confirmed: Arc::new(Confirmed::new(head)),
        closed: Mutex::new(false),
    };
    shared.publish(current.index, tail.at, head);
    Ok(DiskLog {
        shared: Arc::new(shared),
        spares,
        lock: Some(lock),
        current,
        opened: tail.opened,
        at: tail.at,
        chain: tail.chain,
        acquired: false,
        sealed: false,
        poisoned: None,
        frame: Vec::new(),
        options,
    })
}

/// Indexes of the segments in a directory, in order.
pub(crate) fn indexes(storage: &dyn Storage) -> Result<Vec<u64>, LogError> {
    let names =
        storage.list().map_err(|error| LogError::io(format!("listing {}", storage.describe()), error))?;
    let mut indexes: Vec<u64> = names.iter().filter_map(|name| segment::index_of(name)).collect();
    indexes.sort_unstable();
    Ok(indexes)
}

/// Checks that segments `indexes` start with `first` and that none is missing.
pub(crate) fn expect_contiguous(storage: &dyn Storage, first: u64, indexes: &[u64]) -> Result<(), LogError> {
    let missing =
        (first..).zip(indexes).find(|(expected, found)| expected != *found).map(|(expected, _)| expected);
    match missing {
        Some(index) => Err(missing_segment(storage, index)),
        None if indexes.is_empty() => Err(missing_segment(storage, first)),
        None => Ok(()),
    }
}

/// Checks that segment `index` is among `indexes`.
pub(crate) fn expect_present(storage: &dyn Storage, index: u64, indexes: &[u64]) -> Result<(), LogError> {
    if indexes.contains(&index) { Ok(()) } else { Err(missing_segment(storage, index)) }
}

fn missing_segment(storage: &dyn Storage, index: u64) -> LogError {
    LogError::Corrupt(Box::new(Damage {
        file: format!("{}/{}", storage.describe(), segment::name_of(index)),
        offset: 0,
        after: None,
        expected: format!("log segment {index}"),
        found: "no such file".to_owned(),
    }))
}

/// Removes leftovers, and creates what a new log consists of. A crash in here leaves nothing that is not understood
/// the next time: the first segment comes before the manifest, and the manifest before the first block.
fn prepare_directory(storage: &Arc<dyn Storage>, options: &DiskOptions) -> Result<Manifest, LogError> {
    let disk = storage.as_ref();
    let directory = disk.describe();
    let names = disk.list().map_err(|error| LogError::io(format!("listing {directory}"), error))?;
    for name in names.iter().filter(|name| is_leftover(name)) {
        disk.remove(name)
            .map_err(|error| LogError::io(format!("removing unfinished {directory}/{name}"), error))?;
    }
    if let Some(manifest) = read_manifest(disk)? {
        return Ok(manifest);
    }
    let indexes = indexes(disk)?;
    if indexes.is_empty() {
        create_segment(disk, FIRST_SEGMENT, options.segment_bytes, || ()).map_err(|error| {
            LogError::io(
                format!("creating the first log segment ({} bytes) in {directory}", options.segment_bytes),
                error,
            )
        })?;
    } else if indexes != [FIRST_SEGMENT] || !unused(storage)? {
        return Err(LogError::Corrupt(Box::new(Damage {
            file: format!("{directory}/{MANIFEST}"),
            offset: 0,
            after: None,
            expected: "the manifest that says which segment the log starts with".to_owned(),
            found: "no such file".to_owned(),
        })));
    }
    disk.sync_dir().map_err(|error| LogError::io(format!("syncing {directory}"), error))?;
    write_manifest(disk, &Manifest::START)?;
    Ok(Manifest::START)
}

fn is_leftover(name: &str) -> bool {
    name.strip_suffix(TEMPORARY).is_some_and(|name| name == MANIFEST || segment::index_of(name).is_some())
}

/// Whether the first segment has never been written to.
fn unused(storage: &Arc<dyn Storage>) -> Result<bool, LogError> {
    let first = Place { storage: Arc::clone(storage), index: FIRST_SEGMENT };
    let mut walker = Walker::new(vec![first], Some(Chain::START));
    match walker.next(&mut Block::default())? {
        Walked::End(tail) => Ok(!tail.opened && tail.torn_end == tail.at),
        Walked::Block => Ok(false),
    }
}

/// The live segments in order, none missing.
fn live_segments(storage: &Arc<dyn Storage>, manifest: &Manifest) -> Result<Vec<Place>, LogError> {
    let mut live = indexes(storage.as_ref())?;
    live.retain(|index| *index >= manifest.first_segment);
    expect_contiguous(storage.as_ref(), manifest.first_segment, &live)?;
    Ok(live.into_iter().map(|index| Place { storage: Arc::clone(storage), index }).collect())
}

/// What there is.
struct Looked {
    table: Vec<Live>,
    tail: Tail,
    /// The last block that was verified, in the tail's segment or before it.
    last: Block,
}

/// Verifies the log and finds its end, without changing anything.
fn look(places: &[Place], manifest: &Manifest, verify_all: bool) -> Result<Looked, LogError> {
    let mut table = Vec::new();
    let mut from = 0;
    let mut start = manifest.chain;
    if !verify_all {
        // Every segment with an opening but the last one is passed over: readers verify what they read.
        for (position, place) in places.iter().enumerate() {
            let segment = place.open(false)?;
            let Some(chain) = opening_of(&segment)? else { break };
            if position > 0 {
                (from, start) = (position, chain);
            }
            table.push(segment.live(chain));
        }
        table.pop();
    }
    let mut walker = Walker::new(places[from..].to_vec(), Some(start));
    let (mut block, mut last) = (Block::default(), Block::default());
    let mut tail = loop {
        match walker.next(&mut block)? {
            // Beyond it there may be a torn one, which is read into the other.
            Walked::Block => std::mem::swap(&mut block, &mut last),
            Walked::End(tail) => break tail,
        }
    };
    tail.position += from;
    table.extend_from_slice(walker.entered());
    Ok(Looked { table, tail, last })
}

/// What a segment continues; none if nothing has been written to it.
pub(crate) fn opening_of(segment: &SegmentFile) -> Result<Option<Chain>, LogError> {
    let mut sector = [0; SECTOR_BYTES];
    segment
        .file
        .read_at(&mut sector, SECTOR_BYTES as u64)
        .map_err(|error| LogError::io(format!("reading the opening of {}", segment.path), error))?;
    match inspect(&sector, segment.index, 1) {
        Found::Valid { kind: Kind::Opening, payload, .. } => Ok(read_chain(payload)),
        _ => Ok(None),
    }
}

/// Makes durable what was found at the end of the log, cuts a torn block from it, and so lets all of it count as
/// confirmed.
///
/// A sync alone would not do. The process before may have died between a write and its sync; or its sync failed, which is
/// worse: Linux then shows the bytes to every reader, never writes them, and lets the next sync succeed, because it has
/// marked the pages clean ("PostgreSQL's fsync() surprise", LWN 2018; Rebello et al., "Can Applications Recover from fsync
/// Failures?", ATC 2020). Blocks that follow such bytes would be acknowledged, and a loss of power would leave a gap in
/// front of them. So whatever may not be on disk is written once more, which makes its pages dirty again, and only then
/// synced: as it was verified, from memory, not as it would be read again. That is not much, because one write is in flight at a
/// time, and a log whose sync failed takes no more of them:
/// - the last block, and with it the segment's opening if it is the first; every block before it was synced before it;
/// - the seal of the segment before, while nothing follows it;
/// - the zeros behind the last block: they may be what is seen of a torn block that was cut, on disk it may still be
///   there. They are written as far as the longest block could reach.
///
/// Segment headers, the manifest and archived segments get their names only after their sync succeeded.
///
/// `continues` is what the current segment continues, and `last` the last block that was verified.
fn settle(
    current: &SegmentFile,
    before: Option<&SegmentFile>,
    tail: &Tail,
    continues: &Chain,
    last: Block,
) -> Result<(), LogError> {
    if let Some(before) = before {
        if let Some(sector) = tail.sealed_at {
            before.write(sector, &seal(before.index, sector, continues))?;
        }
        before.sync()?;
    }
    let mut written = Vec::new();
    if tail.written_from < FIRST_BLOCK_SECTOR && tail.at > tail.written_from {
        written.extend_from_slice(&opening(current.index, continues));
    }
    if tail.at > FIRST_BLOCK_SECTOR {
        let (header, body) = Header::of(last);
        encode(&mut written, current.index, tail.written_from.max(FIRST_BLOCK_SECTOR), &header, &body);
    }
    let sectors = (tail.at - tail.written_from) as usize;
    assert_eq!(written.len(), sectors * SECTOR_BYTES, "a block has the length that it was read with");
    // An opening, and the longest block.
    let longest_end = tail.at.saturating_add(1 + BLOCK_SECTORS_LIMIT).min(current.sectors);
    current.write(tail.written_from, &written)?;
    current.blank(tail.at, tail.torn_end.max(longest_end))?;
    current.sync()
}

/// Replaces a segment that nothing has been written to when it is too small for the limits of today.
fn large_enough(
    disk: &dyn Storage,
    blank: SegmentFile,
    options: &DiskOptions,
) -> Result<SegmentFile, LogError> {
    let needed = sectors_of(options.block_bytes_max) + u64::from(SEGMENT_OVERHEAD_SECTORS);
    if u64::from(blank.sectors) >= needed {
        return Ok(blank);
    }
    create_segment(disk, blank.index, options.segment_bytes, || ())
        .map_err(|error| LogError::io(format!("replacing {} by a larger segment", blank.path), error))
}
