//! What every engine must do. An engine's tests call [`check`]; a broken promise panics and says which.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{AppendError, LogError};
use crate::log::{Log, LogReader};
use crate::types::{Block, BlockDraft, BlockHash, Epoch, Seq};

/// Makes logs for the suite.
pub trait Factory {
    /// A new, empty log.
    fn fresh(&mut self) -> Box<dyn Log>;

    /// The log that was last made, opened again. The suite has dropped its handle before.
    fn reopen(&mut self) -> Box<dyn Log>;
}

/// Runs the whole suite. Panics at the first promise that is not kept.
pub fn check(factory: &mut dyn Factory) {
    starts_empty(factory.fresh());
    appends_in_order(factory.fresh());
    refuses_what_is_not_next(factory.fresh());
    a_later_epoch_fences_the_earlier(factory.fresh());
    reads_from_anywhere(factory.fresh());
    readers_stop_at_the_head_and_go_on(factory.fresh());
    waits_for_the_head(factory.fresh());
    readers_on_other_threads_see_everything(factory.fresh());
    takes_what_room_promises(factory.fresh());
    seals(factory.fresh());
    remembers(factory);
}

fn starts_empty(mut log: Box<dyn Log>) {
    assert_eq!(log.confirmed().get(), Seq::ZERO, "an empty log has head 0");
    let fenced = log.append(Epoch::ZERO, Seq(1), draft(b"x", 1));
    assert!(
        matches!(fenced, Err(AppendError::Fenced { .. })),
        "nobody appends without acquiring: {fenced:?}"
    );
    let acquired = log.acquire().expect("a new log can be acquired");
    assert_eq!(
        (acquired.epoch, acquired.head),
        (Epoch(1), Seq::ZERO),
        "the first epoch is 1 and has no events"
    );
    let blocks = read_all(log.as_ref(), Seq(1));
    assert_eq!(blocks.len(), 1, "acquiring writes one block");
    let start = &blocks[0];
    assert!(start.is_epoch_start() && start.body.is_empty(), "and that block is an empty epoch start");
    assert_eq!((start.epoch, start.first_seq), (Epoch(1), Seq(1)));
    assert_eq!(
        (start.previous, start.hash),
        (BlockHash::ZERO, acquired.head_hash),
        "the chain starts with it"
    );
}

fn appends_in_order(mut log: Box<dyn Log>) {
    let acquired = log.acquire().expect("acquire");
    let mut previous = acquired.head_hash;
    let mut next = Seq(1);
    for count in 1..=50_u32 {
        let body = body(next, count);
        let durable = log.append(acquired.epoch, next, draft(&body, count)).expect("append");
        next = next.plus(count);
        assert_eq!(durable.head.next(), next, "an append moves the head by its count");
        assert_eq!(log.confirmed().get(), durable.head, "what is durable is confirmed");
    }
    let blocks = read_all(log.as_ref(), Seq(1));
    assert_eq!(blocks.len(), 51);
    let mut expected = Seq(1);
    for block in &blocks[1..] {
        assert_eq!(block.first_seq, expected, "blocks come back in order");
        assert_eq!(block.previous, previous, "each names the hash of the one before");
        assert_eq!(block.body, body(expected, block.count), "with the bytes that were appended");
        assert_eq!((block.time_ms, block.epoch), (TIME_MS, acquired.epoch));
        (expected, previous) = (block.next_seq(), block.hash);
    }
    assert_eq!(expected, next);
}

fn refuses_what_is_not_next(mut log: Box<dyn Log>) {
    let epoch = log.acquire().expect("acquire").epoch;
    log.append(epoch, Seq(1), draft(b"abc", 3)).expect("append");
    for wrong in [Seq(0), Seq(1), Seq(3), Seq(5)] {
        match log.append(epoch, wrong, draft(b"d", 1)) {
            Err(AppendError::Fenced { expected, next, .. }) => assert_eq!((expected, next), (wrong, Seq(4))),
            other => panic!("an append at seq {wrong} must be fenced, got {other:?}"),
        }
    }
    for wrong in [Epoch(0), Epoch(epoch.0 + 1)] {
        let fenced = log.append(wrong, Seq(4), draft(b"d", 1));
        assert!(
            matches!(fenced, Err(AppendError::Fenced { .. })),
            "epoch {wrong} must be fenced, got {fenced:?}"
        );
    }
    let empty = log.append(epoch, Seq(4), draft(b"", 0));
    assert!(matches!(empty, Err(AppendError::Empty)), "a block has events, got {empty:?}");
    let large = vec![0; usize::try_from(log.block_bytes_max()).expect("limits fit memory") + 1];
    let too_large = log.append(epoch, Seq(4), draft(&large, 1));
    assert!(matches!(too_large, Err(AppendError::TooLarge { .. })), "got {too_large:?}");
    let durable = log.append(epoch, Seq(4), draft(b"d", 1)).expect("refusals leave the log usable");
    assert_eq!(durable.head, Seq(4), "and write nothing");
    assert_eq!(read_all(log.as_ref(), Seq(1)).len(), 3);
}

fn a_later_epoch_fences_the_earlier(mut log: Box<dyn Log>) {
    let first = log.acquire().expect("acquire").epoch;
    log.append(first, Seq(1), draft(b"a", 1)).expect("append");
    let second = log.acquire().expect("acquire again");
    assert!(second.epoch > first, "every owner gets a higher epoch");
    assert_eq!(second.head, Seq(1), "acquiring adds no events");
    let fenced = log.append(first, Seq(2), draft(b"b", 1));
    assert!(matches!(fenced, Err(AppendError::Fenced { .. })), "the old owner is fenced, got {fenced:?}");
    log.append(second.epoch, Seq(2), draft(b"b", 1)).expect("the new owner is not");
    let blocks = read_all(log.as_ref(), Seq(1));
    let counts: Vec<(u64, u32)> = blocks.iter().map(|block| (block.epoch.0, block.count)).collect();
    assert_eq!(counts, [(first.0, 0), (first.0, 1), (second.epoch.0, 0), (second.epoch.0, 1)]);
    assert_eq!(log.health().epoch, second.epoch);
}

fn reads_from_anywhere(mut log: Box<dyn Log>) {
    let epoch = log.acquire().expect("acquire").epoch;
    let mut next = Seq(1);
    for count in [1, 5, 1, 40, 2, 7, 7, 7] {
        next = log.append(epoch, next, draft(&body(next, count), count)).expect("append").head.next();
    }
    for from in 1..=next.0 {
        let blocks = read_all(log.as_ref(), Seq(from));
        let expected = if from == next.0 { None } else { Some(Seq(from)) };
        let first = blocks.iter().find(|block| !block.is_epoch_start());
        match (expected, first) {
            (None, None) => {}
            (Some(from), Some(block)) => {
                assert!(
                    block.first_seq <= from && from < block.next_seq(),
                    "reading from {from} got {block:?}"
                );
            }
            other => panic!("reading from {from} got {other:?}"),
        }
        let ends = blocks.last().map_or(next, Block::next_seq);
        assert_eq!(ends, next, "and goes on to the head");
    }
    match log.reader(next.next()).map(drop) {
        Err(LogError::Ahead { wanted, head }) => assert_eq!((wanted, head.next()), (next.next(), next)),
        other => panic!("reading beyond the head must be an error, got {other:?}"),
    }
}

fn readers_stop_at_the_head_and_go_on(mut log: Box<dyn Log>) {
    let epoch = log.acquire().expect("acquire").epoch;
    let mut reader = log.reader(Seq(1)).expect("reader");
    let mut block = Block::default();
    assert!(reader.next(&mut block).expect("read") && block.is_epoch_start());
    for seq in 1..=30 {
        assert!(!reader.next(&mut block).expect("read"), "nothing before it is appended");
        let bytes = body(Seq(seq), 1);
        log.append(epoch, Seq(seq), draft(&bytes, 1)).expect("append");
        assert!(reader.next(&mut block).expect("read"), "seq {seq} is there once it is confirmed");
        assert_eq!((block.first_seq, &block.body), (Seq(seq), &bytes));
    }
    assert!(!reader.next(&mut block).expect("read"));
}

fn waits_for_the_head(mut log: Box<dyn Log>) {
    let epoch = log.acquire().expect("acquire").epoch;
    let confirmed = log.confirmed();
    assert_eq!(confirmed.wait_past(Seq::ZERO, Duration::from_millis(1)), Seq::ZERO, "a wait ends by time");
    let waiter = {
        let confirmed = Arc::clone(&confirmed);
        std::thread::spawn(move || confirmed.wait_past(Seq(1), Duration::from_secs(60)))
    };
    log.append(epoch, Seq(1), draft(b"a", 1)).expect("append");
    log.append(epoch, Seq(2), draft(b"b", 1)).expect("append");
    assert_eq!(waiter.join().expect("waiter"), Seq(2), "a wait ends with the head it waits for");
}

fn readers_on_other_threads_see_everything(mut log: Box<dyn Log>) {
    const EVENTS: u64 = 400;
    let epoch = log.acquire().expect("acquire").epoch;
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (mut reader, confirmed) = (log.reader(Seq(1)).expect("reader"), log.confirmed());
            std::thread::spawn(move || follow(reader.as_mut(), &confirmed, Seq(EVENTS)))
        })
        .collect();
    let mut next = Seq(1);
    while next.0 <= EVENTS {
        let count = (next.0 % 3 + 1).min(EVENTS + 1 - next.0) as u32;
        next = log.append(epoch, next, draft(&body(next, count), count)).expect("append").head.next();
    }
    for reader in readers {
        let hash = reader.join().expect("a reader sees every event in order");
        assert_eq!(hash, read_all(log.as_ref(), Seq(1)).last().expect("there are blocks").hash);
    }
}

/// Reads until `end`, checks every block and returns the last one's hash.
fn follow(reader: &mut dyn LogReader, confirmed: &crate::Confirmed, end: Seq) -> BlockHash {
    let mut block = Block::default();
    let mut next = Seq(1);
    let mut hash = BlockHash::ZERO;
    while next <= end {
        if !reader.next(&mut block).expect("read") {
            let head = confirmed.wait_past(Seq(next.0 - 1), Duration::from_secs(60));
            assert!(head >= next, "the writer goes on");
            continue;
        }
        assert!(block.is_epoch_start() || block.head() <= confirmed.get(), "nothing unconfirmed is shown");
        assert_eq!((block.first_seq, block.previous), (next, hash));
        assert!(
            block.is_epoch_start() || block.body == body(next, block.count),
            "the bytes that were appended"
        );
        (next, hash) = (block.next_seq(), block.hash);
    }
    hash
}

fn takes_what_room_promises(mut log: Box<dyn Log>) {
    let epoch = log.acquire().expect("acquire").epoch;
    let mut next = Seq(1);
    for _ in 0..20 {
        let bytes = log.room().min(log.block_bytes_max()).min(100_000);
        assert!(bytes > 0, "this suite needs engines that can grow");
        let body = vec![7; usize::try_from(bytes).expect("a small number")];
        next = log.append(epoch, next, draft(&body, 1)).expect("there was room").head.next();
    }
}

fn seals(mut log: Box<dyn Log>) {
    let epoch = log.acquire().expect("acquire").epoch;
    log.append(epoch, Seq(1), draft(b"a", 1)).expect("append");
    log.seal().expect("seal");
    let sealed = log.append(epoch, Seq(2), draft(b"b", 1));
    assert!(matches!(sealed, Err(AppendError::Sealed)), "nothing follows a seal, got {sealed:?}");
    assert!(matches!(log.acquire(), Err(LogError::Sealed)));
    assert_eq!(read_all(log.as_ref(), Seq(1)).len(), 2, "reading goes on");
}

fn remembers(factory: &mut dyn Factory) {
    let mut log = factory.fresh();
    let mut next = Seq(1);
    let mut last = Epoch::ZERO;
    for round in 1..=4 {
        let acquired = log.acquire().expect("acquire");
        assert!(acquired.epoch > last, "epochs only grow");
        assert_eq!(acquired.head.next(), next, "round {round} finds what the one before wrote");
        last = acquired.epoch;
        for _ in 0..10 {
            next = log.append(last, next, draft(&body(next, 3), 3)).expect("append").head.next();
        }
        let before = read_all(log.as_ref(), Seq(1));
        drop(log);
        log = factory.reopen();
        assert_eq!(log.confirmed().get().next(), next);
        assert_eq!(read_all(log.as_ref(), Seq(1)), before, "byte for byte");
    }
}

const TIME_MS: u64 = 1_795_780_800_000;

fn draft(body: &[u8], count: u32) -> BlockDraft<'_> {
    BlockDraft { time_ms: TIME_MS, count, body }
}

/// Bytes that depend on the position, of lengths around the sizes where framing changes.
fn body(first: Seq, count: u32) -> Vec<u8> {
    let length = 300 + (first.0 as usize * 37 + count as usize) % 250;
    (0..length).map(|at| (at as u64).wrapping_mul(first.0).wrapping_add(u64::from(count)) as u8).collect()
}

fn read_all(log: &dyn Log, from: Seq) -> Vec<Block> {
    let mut reader = log.reader(from).expect("reader");
    let mut blocks = Vec::new();
    let mut block = Block::default();
    while reader.next(&mut block).expect("read") {
        blocks.push(block.clone());
    }
    blocks
}
