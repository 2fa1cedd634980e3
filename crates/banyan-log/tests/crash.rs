//! A loss of power between any two calls to the disk leaves every acknowledged block, and nothing that was not appended.

mod common;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use banyan_log::{
    AppendError, Block, BlockDraft, DiskLog, DiskOptions, LockGuard, LockRefused, Log, MemoryStorage, Seq,
    Storage, StorageFile, Verdict,
};
use common::{append, body, fill, goes_on, open, read_all, read_offline, small, tiny};
use proptest::prelude::*;

/// What a run that was stopped knows for certain, and what it may have left beside.
#[derive(Default)]
struct Witness {
    acknowledged: Vec<Block>,
    attempted: Option<Vec<u8>>,
}

/// Opens, appends over several segments, archives, and appends again, until the disk stops. Whatever an earlier run
/// left is part of the log.
fn run(storage: &MemoryStorage, options: &DiskOptions, blocks: u64) -> Witness {
    let mut witness = Witness::default();
    let Ok(mut log) = open(storage, options) else { return witness };
    let Ok(acquired) = log.acquire() else { return witness };
    let mut next = acquired.head.0 + 1;
    for block in 0..blocks {
        let bytes = body(next, (block as usize * 613 + 90) % options.block_bytes_max as usize);
        let draft = BlockDraft { time_ms: next, count: 2, body: &bytes };
        match log.append(acquired.epoch, Seq(next), draft) {
            Ok(durable) => {
                next = durable.head.0 + 1;
                witness.acknowledged.push(Block {
                    epoch: acquired.epoch,
                    first_seq: Seq(next - 2),
                    count: 2,
                    body: bytes,
                    hash: durable.hash,
                    ..Block::default()
                });
            }
            Err(AppendError::Full { .. }) => {}
            Err(AppendError::Unknown { .. }) => {
                witness.attempted = Some(bytes);
                let again =
                    log.append(acquired.epoch, Seq(next), BlockDraft { time_ms: 0, count: 1, body: b"x" });
                assert!(
                    matches!(again, Err(AppendError::Unknown { .. })),
                    "a poisoned log takes nothing: {again:?}"
                );
                return witness;
            }
            Err(other) => panic!("{other}"),
        }
        if block == blocks / 2 && options.archive_dir.is_some() {
            // May fail when the disk stops in the middle of it; what matters is what is left.
            let _ = log.archive_before(Seq(next));
        }
    }
    witness
}

/// Checks a disk after a crash against what was acknowledged before it.
fn check(left: &MemoryStorage, options: &DiskOptions, witness: &Witness, what: &str) {
    let archive = left.directory(&PathBuf::from("archive"), false).is_ok();
    let seen = if left.bytes("MANIFEST").is_some() {
        let (seen, verdict) = read_offline(left, archive);
        // Before it is opened, the archive may not have everything yet that the live log still holds.
        assert!(!matches!(verdict, Verdict::Corrupt(_)), "{what}: {verdict:?}");
        seen
    } else {
        Vec::new()
    };
    let log = open(left, options).unwrap_or_else(|error| panic!("{what}: {error}"));
    drop(log);
    let (blocks, verdict) = read_offline(left, archive);
    assert_eq!(verdict, Verdict::Clean, "{what}: after opening");
    assert_eq!(blocks, seen, "{what}: opening keeps every whole block");
    let events: Vec<&Block> = blocks.iter().filter(|block| block.count > 0).collect();
    let acknowledged = &witness.acknowledged;
    assert!(events.len() >= acknowledged.len(), "{what}: {} of {} left", events.len(), acknowledged.len());
    for (block, expected) in events.iter().zip(acknowledged) {
        let same = block.hash == expected.hash
            && block.body == expected.body
            && block.first_seq == expected.first_seq;
        assert!(same, "{what}: seq {} differs", expected.first_seq);
    }
    match &events[acknowledged.len()..] {
        [] => {}
        [extra] => {
            assert_eq!(Some(&extra.body), witness.attempted.as_ref(), "{what}: a block nobody appended");
        }
        more => panic!("{what}: {} blocks nobody acknowledged", more.len()),
    }
    goes_on(left, options);
}

#[test]
fn a_crash_between_any_two_calls_loses_nothing() {
    let options = small();
    let whole = MemoryStorage::new();
    let witness = run(&whole, &options, 24);
    assert_eq!(witness.acknowledged.len(), 24);
    let archived = whole.directory(&PathBuf::from("archive"), false).expect("archive").list().expect("list");
    assert!(archived.len() >= 2, "the run archives: {archived:?}");
    for calls in 0..whole.calls() {
        let storage = MemoryStorage::new();
        storage.stop_after(calls);
        let witness = run(&storage, &options, 24);
        for seed in 0..6 {
            check(
                &storage.crash(seed),
                &options,
                &witness,
                &format!("power lost after call {calls}, seed {seed}"),
            );
        }
        check(&storage.kill(), &options, &witness, &format!("killed after call {calls}"));
    }
}

/// A second crash, while the first one is being recovered from and while going on after it.
#[test]
fn a_crash_during_recovery_loses_nothing() {
    let options = DiskOptions { archive_dir: None, ..small() };
    let total = {
        let storage = MemoryStorage::new();
        run(&storage, &options, 9);
        storage.calls()
    };
    for calls in 0..total {
        let storage = MemoryStorage::new();
        storage.stop_after(calls);
        let first = run(&storage, &options, 9);
        let once = storage.crash(calls);
        for later in 0..24 {
            let again = once.kill();
            again.stop_after(later);
            drop(open(&again, &options));
            let left = again.crash(later * 7 + calls);
            check(
                &left,
                &options,
                &first,
                &format!("power lost after call {calls}, and {later} calls later"),
            );
        }
    }
}

/// A process dies between a write and its sync, the next one opens the log and shows what it finds, and then the power
/// goes: what was shown must stay. The same when it has gone on to write.
#[test]
fn what_an_opened_log_shows_survives_a_loss_of_power() {
    let options = DiskOptions { archive_dir: None, ..small() };
    let total = {
        let storage = MemoryStorage::new();
        run(&storage, &options, 12);
        storage.calls()
    };
    for calls in 0..total {
        let first = MemoryStorage::new();
        first.stop_after(calls);
        run(&first, &options, 12);
        for (more, seed) in [(0, 1), (0, 2), (1, 3), (1, 4), (7, 5), (7, 6)] {
            let storage = first.kill();
            let mut log = open(&storage, &options).expect("open");
            if more > 0 {
                fill(&mut log, more, 900);
            }
            let shown = read_all(&log).expect("read");
            drop(log);
            let left = storage.crash(seed * 1000 + calls);
            let log = open(&left, &options).unwrap_or_else(|error| {
                panic!("killed after call {calls}, {more} more, power lost: {error}")
            });
            assert_eq!(
                read_all(&log).expect("read"),
                shown,
                "killed after call {calls}, {more} more, power lost"
            );
        }
    }
}

/// The in-flight block is torn in every way sectors can be: whichever of them reached the disk, the log opens, and only
/// with all of them is the block kept.
#[test]
fn a_torn_tail_is_cut_whatever_is_left_of_it() {
    let options = small();
    let storage = MemoryStorage::new();
    let mut log = open(&storage, &options).expect("open");
    let acquired = fill(&mut log, 5, 900);
    let acknowledged = read_all(&log).expect("read");
    let before: Vec<(String, Vec<u8>)> = files(&storage);
    let next = log.confirmed().get().0 + 1;
    append(&mut log, acquired.epoch, next, &body(next, 1700));
    drop(log);
    let after = files(&storage);
    let changed: Vec<(usize, usize)> = (0..before.len())
        .flat_map(|file| (0..before[file].1.len() / 512).map(move |sector| (file, sector)))
        .filter(|(file, sector)| sector_of(&before[*file].1, *sector) != sector_of(&after[*file].1, *sector))
        .collect();
    assert_eq!(changed.len(), 4, "the block takes four sectors of one segment: {changed:?}");
    for subset in 0..1_u32 << changed.len() {
        let mut mixed = before.clone();
        for (_, (file, sector)) in changed.iter().enumerate().filter(|(bit, _)| subset & (1 << bit) != 0) {
            mixed[*file].1[sector * 512..(sector + 1) * 512]
                .copy_from_slice(sector_of(&after[*file].1, *sector));
        }
        let torn = MemoryStorage::new();
        for (name, bytes) in mixed {
            torn.replace(&name, bytes);
        }
        let log = open(&torn, &options).unwrap_or_else(|error| panic!("subset {subset:b}: {error}"));
        let whole = subset + 1 == 1 << changed.len();
        assert_eq!(
            read_all(&log).expect("read").len(),
            acknowledged.len() + usize::from(whole),
            "{subset:b}"
        );
        drop(log);
        if !whole {
            let cut = torn.bytes(&before[changed[0].0].0).expect("there");
            assert_eq!(cut, before[changed[0].0].1, "subset {subset:b}: the tail is zeros again");
        }
        goes_on(&torn, &options);
    }
}

/// Bug: after a failed sync Linux shows the bytes, never writes them, and lets the next sync succeed. A log that was opened
/// on such bytes only synced them, went on behind them, and had a gap after a loss of power.
///
/// A run ends with a failed sync, of a block or a seal, or with a block torn by a loss of power. Then the first processes
/// that open the log have their syncs fail, too.
#[test]
fn what_a_failed_sync_left_unwritten_is_written_by_whoever_opens_the_log() {
    let options = DiskOptions { archive_dir: None, ..small() };
    for (blocks, torn) in
        (0..14).flat_map(|blocks| [None, Some(1), Some(2), Some(3)].map(|torn| (blocks, torn)))
    {
        let run = MemoryStorage::new();
        let mut log = open(&run, &options).expect("open");
        let acquired = fill(&mut log, blocks, 900);
        let next = log.confirmed().get().0 + 1;
        match torn {
            None => run.set_syncs_fail(true),
            Some(_) => run.stop_after(1),
        }
        let bytes = body(next, 1700);
        let failed =
            log.append(acquired.epoch, Seq(next), BlockDraft { time_ms: 5_000, count: 2, body: &bytes });
        assert!(matches!(failed, Err(AppendError::Unknown { .. })), "{failed:?}");
        drop(log);
        for recoveries in 0..3 {
            let what = format!("{blocks} blocks, torn {torn:?}, {recoveries} failed recoveries");
            let mut storage = torn.map_or_else(|| run.kill(), |seed| run.crash(seed));
            for _ in 0..recoveries {
                storage.set_syncs_fail(true);
                assert!(open(&storage, &options).is_err(), "{what}: a failed sync is not passed over");
                storage = storage.kill();
            }
            let mut log = open(&storage, &options).unwrap_or_else(|error| panic!("{what}: {error}"));
            fill(&mut log, 1, 10);
            let shown = read_all(&log).expect("read");
            drop(log);
            for seed in 0..4 {
                let log = open(&storage.crash(seed), &options)
                    .unwrap_or_else(|error| panic!("{what}, power lost, seed {seed}: {error}"));
                assert_eq!(read_all(&log).expect("read"), shown, "{what}, power lost, seed {seed}");
            }
        }
    }
}

fn files(storage: &MemoryStorage) -> Vec<(String, Vec<u8>)> {
    let names = storage.list().expect("list");
    names
        .into_iter()
        .filter(|name| name != "LOCK")
        .map(|name| (name.clone(), storage.bytes(&name).expect("there")))
        .collect()
}

fn sector_of(bytes: &[u8], sector: usize) -> &[u8] {
    &bytes[sector * 512..(sector + 1) * 512]
}

#[test]
fn a_failed_sync_or_write_poisons() {
    for fail in [MemoryStorage::set_syncs_fail, MemoryStorage::set_writes_fail] {
        let options = tiny();
        let storage = MemoryStorage::new();
        let mut log = open(&storage, &options).expect("open");
        let acquired = fill(&mut log, 3, 300);
        let head = log.confirmed().get();
        fail(&storage, true);
        let draft = BlockDraft { time_ms: 0, count: 1, body: b"x" };
        assert!(matches!(log.append(acquired.epoch, head.next(), draft), Err(AppendError::Unknown { .. })));
        fail(&storage, false);
        assert!(matches!(log.append(acquired.epoch, head.next(), draft), Err(AppendError::Unknown { .. })));
        assert!(log.acquire().is_err() && log.archive_before(head).is_err());
        assert_eq!((log.room(), log.confirmed().get()), (0, head), "nothing of it is confirmed");
        assert!(log.health().poisoned.is_some());
        drop(log);
        goes_on(&storage.crash(5), &options);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any sizes, any number of crashes at any points: the acknowledged blocks are always a prefix of what is left.
    #[test]
    fn any_history_keeps_what_was_acknowledged(
        runs in prop::collection::vec((0_u64..120, any::<u64>(), any::<bool>(), 1_u64..20), 1..6),
        bytes_max in 100_u64..1800,
    ) {
        let options = DiskOptions { block_bytes_max: bytes_max, ..small() };
        let mut storage = MemoryStorage::new();
        let mut acknowledged: Vec<Block> = Vec::new();
        for (calls, seed, power, blocks) in runs {
            storage.stop_after(calls);
            acknowledged.extend(run(&storage, &options, blocks).acknowledged);
            storage = if power { storage.crash(seed) } else { storage.kill() };
            drop(open(&storage, &options).map_err(|error| TestCaseError::fail(error.to_string()))?);
            let (left, verdict) = read_offline(&storage, storage.directory(&PathBuf::from("archive"), false).is_ok());
            prop_assert_eq!(verdict, Verdict::Clean);
            let events: Vec<&Block> = left.iter().filter(|block| block.count > 0).collect();
            for block in &acknowledged {
                let found = events.iter().find(|event| event.first_seq == block.first_seq);
                prop_assert!(found.is_some_and(|event| event.hash == block.hash), "seq {} is lost", block.first_seq);
            }
        }
    }
}

/// A disk whose second look at a sector may be worse than the first: what is opened for writing reads back with a flipped bit,
/// behind the segment's header.
struct Fading(MemoryStorage);

struct FadingFile(Arc<dyn StorageFile>);

impl Storage for Fading {
    fn describe(&self) -> String {
        self.0.describe()
    }

    fn lock(&self, name: &str) -> Result<LockGuard, LockRefused> {
        self.0.lock(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        self.0.create(name)
    }

    fn open(&self, name: &str, writable: bool) -> io::Result<Arc<dyn StorageFile>> {
        let file = self.0.open(name, writable)?;
        Ok(if writable { Arc::new(FadingFile(file)) } else { file })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.0.sync_dir()
    }

    fn directory(&self, path: &Path, create: bool) -> io::Result<Arc<dyn Storage>> {
        self.0.directory(path, create)
    }
}

impl StorageFile for FadingFile {
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_at(into, offset)?;
        if offset > 0 {
            into[100] ^= 1;
        }
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }
}

/// Bug: the end of the log was read once more to be written again, and whatever was read then went to the disk.
#[test]
fn what_opening_writes_again_is_what_it_has_verified() {
    let options = DiskOptions { archive_dir: None, ..small() };
    // With one block in the last segment, with several, and with none but the spare.
    for blocks in 1..12 {
        let storage = MemoryStorage::new();
        let mut log = open(&storage, &options).expect("open");
        fill(&mut log, blocks, 900);
        let all = read_all(&log).expect("read");
        drop(log);
        let files = |storage: &MemoryStorage| -> Vec<_> {
            let mut names = storage.list().expect("list");
            names.sort_unstable();
            names.into_iter().map(|name| (storage.bytes(&name), name)).collect()
        };
        let before = files(&storage);
        let fading = Arc::new(Fading(storage.clone()));
        drop(DiskLog::open(fading, options.clone()).expect("open"));
        assert!(files(&storage) == before, "after {blocks} blocks");
        assert_eq!(read_all(&open(&storage, &options).expect("open")).expect("read"), all);
    }
}
