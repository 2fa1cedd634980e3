//! The disk engine's own promises: space, archive, lock, options.

mod common;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use banyan_log::{
    APPEND_OVERHEAD_BYTES, AppendError, Block, BlockDraft, DiskLog, DiskOptions, Log, LogError,
    MemoryStorage, RealStorage, Seq, Storage, Verdict, open_for_reading,
};
use common::{append, body, fill, goes_on, open, read_all, read_offline, small, tiny};

#[test]
fn a_full_disk_is_refused_before_anything_is_written_and_goes_on_with_space() {
    let options = small();
    let storage = MemoryStorage::new();
    let mut log = open(&storage, &options).expect("open");
    let acquired = fill(&mut log, 4, 900);
    storage.set_space(Some(4000));
    let mut next = log.confirmed().get().0 + 1;
    // Room shrinks to nothing, and until then every block that fits it is taken.
    loop {
        let room = log.room();
        let bytes = usize::try_from(room.min(700)).expect("small");
        if room < 700 {
            break;
        }
        next = append(&mut log, acquired.epoch, next, &body(next, bytes)).0 + 1;
    }
    let calls_before = read_all(&log).expect("read");
    let large = body(next, 1800);
    let draft = BlockDraft { time_ms: 0, count: 1, body: &large };
    match log.append(acquired.epoch, Seq(next), draft) {
        Err(AppendError::Full { wanted: 1800, why, .. }) => {
            assert!(why.contains("preparing log segment"), "{why}");
        }
        other => panic!("the disk is full, got {other:?}"),
    }
    let health = log.health();
    assert!(!health.spare_ready && health.spare_problem.is_some() && health.poisoned.is_none(), "{health:?}");
    assert_eq!(read_all(&log).expect("read"), calls_before, "a full disk changes nothing");
    storage.set_space(None);
    assert!(log.room() >= 1800, "with space again there is room again");
    log.append(acquired.epoch, Seq(next), draft).expect("and the same block is taken");
    drop(log);
    goes_on(&storage, &options);
}

#[test]
fn the_background_tries_again_until_there_is_space() {
    let options = DiskOptions { background: true, ..small() };
    let storage = MemoryStorage::new();
    let mut log = open(&storage, &options).expect("open");
    storage.set_space(Some(0));
    fill(&mut log, 1, 900);
    assert!(log.room() > 0);
    let started = Instant::now();
    while log.health().spare_problem.is_none() {
        assert!(started.elapsed() < Duration::from_secs(30), "the problem shows");
        std::thread::yield_now();
    }
    storage.set_space(None);
    while !log.health().spare_ready {
        assert!(started.elapsed() < Duration::from_secs(30), "the spare is prepared after all");
        std::thread::yield_now();
    }
    assert_eq!(log.health().spare_problem, None);
}

/// The promise of [`Log::room`], for one block and for many small ones, at every fill of a segment.
#[test]
fn room_is_never_promised_in_vain() {
    for (block_bytes, label) in [
        (usize::MAX, "one block"),
        (1, "blocks of one byte"),
        // One byte more than fits one, two and three sectors: they take all the overhead they are charged.
        (397, "blocks of two sectors"),
        (897, "blocks of three sectors"),
        (1397, "blocks of four sectors"),
    ] {
        for before in 0..24 {
            let options = small();
            let storage = MemoryStorage::new();
            let mut log = open(&storage, &options).expect("open");
            let acquired = fill(&mut log, before, 600);
            storage.set_space(Some(0));
            let mut next = log.confirmed().get().0 + 1;
            let mut room = log.room();
            let limit = options.block_bytes_max.min(block_bytes as u64);
            while room > 0 {
                let bytes = room.min(limit);
                next = append(&mut log, acquired.epoch, next, &body(next, bytes as usize)).0 + 1;
                room = room.saturating_sub(bytes + APPEND_OVERHEAD_BYTES);
            }
            drop(log);
            let blocks = read_offline(&storage, false).0.len() as u64;
            assert!(blocks >= before, "{label} after {before}");
        }
    }
}

#[test]
fn archived_segments_leave_the_live_log_and_stay_readable() {
    let options = small();
    let storage = MemoryStorage::new();
    let mut log = open(&storage, &options).expect("open");
    fill(&mut log, 40, 900);
    let all = read_all(&log).expect("read");
    let before = log.health();
    let mut old_reader = log.reader(Seq(1)).expect("reader");
    let mut block = Block::default();
    assert!(old_reader.next(&mut block).expect("read"));

    let report = log.archive_before(Seq(45)).expect("archive");
    let after = log.health();
    assert!(report.segments > 0 && report.segments == before.segments - after.segments, "{report:?}");
    assert!(report.first_live <= Seq(45) && report.first_live == after.first_seq, "{report:?}");
    assert_eq!(log.archive_before(Seq(45)).expect("again").segments, 0, "nothing is left to do");

    match log.reader(Seq(1)).map(drop) {
        Err(error @ LogError::Archived { .. }) => assert!(error.to_string().contains("archive"), "{error}"),
        other => panic!("seq 1 is archived, got {other:?}"),
    }
    let late = loop {
        match old_reader.next(&mut block) {
            Ok(true) => {}
            other => break other,
        }
    };
    assert!(matches!(late, Err(LogError::Archived { .. })), "a reader that comes too late is told: {late:?}");

    let live = read_all(&log).expect("read");
    assert_eq!(live, all[all.len() - live.len()..], "the rest is still live");
    drop(log);
    assert_eq!(read_offline(&storage, true), (all, Verdict::Clean), "and together they are everything");
    assert_eq!(read_offline(&storage, false), (live, Verdict::Clean));
    goes_on(&storage, &options);
}

/// Moves every file of the archive to the live log, as somebody does who wants the whole log in one place.
fn put_back(storage: &MemoryStorage) -> Vec<String> {
    let archive = storage.directory(&PathBuf::from("archive"), false).expect("archive");
    let mut names = archive.list().expect("list");
    names.sort_unstable();
    for name in &names {
        storage.replace(name, storage.bytes(&format!("archive/{name}")).expect("it is there"));
        archive.remove(name).expect("remove");
    }
    names
}

/// Bug: opening the log removed them, although they were nowhere else.
#[test]
fn archived_segments_that_were_put_back_belong_to_the_log_again() {
    for options in [small(), DiskOptions { archive_dir: None, verify_all: false, ..small() }] {
        let storage = MemoryStorage::new();
        let mut log = open(&storage, &small()).expect("open");
        fill(&mut log, 40, 900);
        let all = read_all(&log).expect("read");
        log.archive_before(Seq(60)).expect("archive");
        drop(log);
        assert!(put_back(&storage).len() >= 3);
        let log = open(&storage, &options).expect("open");
        assert_eq!(log.health().first_seq, Seq(1));
        assert_eq!(read_all(&log).expect("read"), all);
        drop(log);
        assert_eq!(read_offline(&storage, false), (all, Verdict::Clean));
        goes_on(&storage, &options);
        let mut log = open(&storage, &small()).expect("open");
        assert!(log.archive_before(Seq(60)).expect("they can be archived again").segments >= 3);
    }
}

/// Bug: the same for what the log does not continue, and what is the rest of something.
#[test]
fn a_segment_in_front_of_the_log_goes_only_if_the_archive_has_the_same() {
    let archived = |blocks| {
        let storage = MemoryStorage::new();
        let mut log = open(&storage, &small()).expect("open");
        fill(&mut log, 40, blocks);
        log.archive_before(Seq(60)).expect("archive");
        storage
    };
    let first = "00000000000000000001.seg";
    // As a crash leaves it: the manifest has moved on, the live file is still there, and so is its copy.
    let storage = archived(900);
    storage.replace(first, storage.bytes(&format!("archive/{first}")).expect("it is there"));
    open(&storage, &small()).expect("open");
    assert_eq!(storage.bytes(first), None, "what the archiver began is ended");

    let refused = |storage: &MemoryStorage, why: &str| {
        let before: Vec<_> =
            storage.list().expect("list").into_iter().map(|name| (storage.bytes(&name), name)).collect();
        let error = open(storage, &small()).map(drop).expect_err("refused");
        assert!(matches!(error, LogError::Strays { .. }), "{error}");
        assert!(
            error.to_string().contains(why) && error.to_string().contains("Nothing was changed"),
            "{error}"
        );
        let after: Vec<_> =
            storage.list().expect("list").into_iter().map(|name| (storage.bytes(&name), name)).collect();
        assert!(before == after, "nothing was changed");
    };
    // A part of what was archived.
    let storage = archived(900);
    let names = put_back(&storage);
    storage.remove(&names[1]).expect("remove");
    refused(&storage, "segment 2");
    storage.remove(&names[0]).expect("remove");
    let log = open(&storage, &small()).expect("the rest joins the log");
    assert!(log.health().first_seq > Seq(1));
    drop(log);
    // All of it but what comes right before the log.
    let storage = archived(900);
    let names = put_back(&storage);
    storage.remove(names.last().expect("some")).expect("remove");
    refused(&storage, "comes after them");
    // Damaged.
    let storage = archived(900);
    put_back(&storage);
    storage.flip_bit(first, 1300 * 8);
    refused(&storage, "is damaged");
    // Those of another log.
    let storage = archived(900);
    let other = archived(700);
    for name in put_back(&storage) {
        storage.replace(&name, other.bytes(&format!("archive/{name}")).expect("as many"));
    }
    refused(&storage, "damaged at");
}

#[test]
fn a_live_segment_that_somebody_removed_is_not_called_archived() {
    let storage = MemoryStorage::new();
    let mut log = open(&storage, &small()).expect("open");
    fill(&mut log, 40, 900);
    let mut names = storage.list().expect("list");
    names.sort_unstable();
    let second = names.iter().filter(|name| name.starts_with("0000")).nth(1).expect("several segments");
    storage.remove(second).expect("remove");
    let mut reader = log.reader(Seq(1)).expect("reader");
    let mut block = Block::default();
    let end = loop {
        match reader.next(&mut block) {
            Ok(true) => {}
            other => break other,
        }
    };
    assert!(matches!(end, Err(LogError::Io { .. })), "{end:?}");
}

#[test]
fn the_current_segment_is_never_archived() {
    let options = small();
    let storage = MemoryStorage::new();
    let mut log = open(&storage, &options).expect("open");
    fill(&mut log, 20, 900);
    log.archive_before(Seq(u64::MAX)).expect("archive");
    assert_eq!(log.health().segments, 1);
    drop(log);
    goes_on(&storage, &options);
}

#[test]
fn a_gap_or_damage_in_the_archive_is_a_verdict() {
    let options = small();
    let storage = MemoryStorage::new();
    let mut log = open(&storage, &options).expect("open");
    fill(&mut log, 40, 900);
    log.archive_before(Seq(60)).expect("archive");
    drop(log);
    let archive = storage.directory(&PathBuf::from("archive"), false).expect("archive");
    let names = archive.list().expect("list");
    assert!(names.len() >= 3, "{names:?}");
    archive.remove(&names[1]).expect("remove");
    assert!(matches!(read_offline(&storage, true).1, Verdict::Corrupt(_)));
}

#[test]
fn archiving_ends_with_the_log_and_needs_an_archive() {
    let storage = MemoryStorage::new();
    let mut log = open(&storage, &small()).expect("open");
    fill(&mut log, 20, 900);
    let archiver = log.archiver();
    drop(log);
    assert!(
        matches!(archiver.archive_before(Seq(30)), Err(LogError::Sealed)),
        "somebody else may own it now"
    );
    assert!(storage.bytes("00000000000000000001.seg").is_some());
    let mut log = open(&storage, &DiskOptions { archive_dir: None, ..small() }).expect("open");
    assert!(matches!(log.archive_before(Seq(30)), Err(LogError::Options { .. })));
    let missing = open_for_reading(Arc::new(storage), Some(&PathBuf::from("elsewhere"))).map(drop);
    assert!(matches!(missing, Err(LogError::Io { .. })), "reading creates no directory: {missing:?}");
}

#[test]
fn the_archive_never_replaces_another_segment() {
    let options = small();
    let storage = MemoryStorage::new();
    let mut log = open(&storage, &options).expect("open");
    fill(&mut log, 20, 900);
    let all = read_all(&log).expect("read");
    storage.replace("archive/00000000000000000001.seg", vec![1; 8192]);
    let error = log.archive_before(Seq(30)).expect_err("the name is taken");
    assert!(error.to_string().contains("another segment"), "{error}");
    assert_eq!(read_all(&log).expect("read"), all, "and the live segment was kept");
}

#[test]
fn damage_is_not_archived() {
    let options = small();
    let storage = MemoryStorage::new();
    let mut log = open(&storage, &options).expect("open");
    fill(&mut log, 20, 900);
    storage.flip_bit("00000000000000000001.seg", 1300 * 8);
    assert!(matches!(log.archive_before(Seq(30)), Err(LogError::Corrupt(_))));
    assert!(storage.bytes("00000000000000000001.seg").is_some());
}

#[test]
fn a_second_process_is_refused_and_told_who_has_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let storage = Arc::new(RealStorage::create(directory.path().join("log")).expect("create"));
    let options =
        DiskOptions { segment_bytes: 64 << 10, block_bytes_max: 16 << 10, ..DiskOptions::default() };
    let mut log = DiskLog::open(storage.clone(), options.clone()).expect("open");
    let error = DiskLog::open(storage.clone(), options.clone()).map(drop).expect_err("it is locked");
    assert!(
        matches!(&error, LogError::Locked { holder, .. } if *holder == std::process::id().to_string()),
        "{error}"
    );
    log.seal().expect("seal");
    DiskLog::open(storage, options).expect("a sealed log is free");
}

#[test]
fn files_are_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("a/log");
    let storage = Arc::new(RealStorage::create(&path).expect("create"));
    let options =
        DiskOptions { segment_bytes: 64 << 10, block_bytes_max: 16 << 10, ..DiskOptions::default() };
    let mut log = DiskLog::open(storage, options).expect("open");
    log.acquire().expect("acquire");
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    let entries: Vec<PathBuf> =
        std::fs::read_dir(&path).expect("list").map(|entry| entry.expect("entry").path()).collect();
    assert!(entries.len() >= 3, "{entries:?}");
    for entry in entries {
        assert_eq!(mode(&entry), 0o600, "{}", entry.display());
    }
}

#[test]
fn impossible_options_are_refused() {
    let wrong = [
        DiskOptions { segment_bytes: 1000, ..DiskOptions::default() },
        DiskOptions { segment_bytes: 8 << 30, ..DiskOptions::default() },
        DiskOptions { block_bytes_max: 32 << 20, ..DiskOptions::default() },
        DiskOptions { segment_bytes: 1 << 30, block_bytes_max: 64 << 20, ..DiskOptions::default() },
        DiskOptions { segment_bytes: 0, block_bytes_max: 0, ..DiskOptions::default() },
    ];
    for options in wrong {
        let error = open(&MemoryStorage::new(), &options).map(drop).expect_err("refused");
        assert!(matches!(error, LogError::Options { .. }), "{options:?}: {error}");
    }
}

#[test]
fn a_log_goes_on_with_other_segment_sizes() {
    let storage = MemoryStorage::new();
    let options = small();
    let mut log = open(&storage, &options).expect("open");
    fill(&mut log, 10, 900);
    drop(log);
    for (segment_bytes, block_bytes_max) in [(65536, 30_000), (4096, 384), (16384, 6000)] {
        let options = DiskOptions { segment_bytes, block_bytes_max, ..small() };
        let mut log = open(&storage, &options).expect("open");
        fill(&mut log, 12, block_bytes_max as usize);
        drop(log);
        goes_on(&storage, &options);
    }
    assert_eq!(read_offline(&storage, false).1, Verdict::Clean);
}

#[test]
fn a_log_can_be_read_offline_while_it_is_written() {
    const BLOCKS: u64 = 300;
    let options =
        DiskOptions { segment_bytes: 64 << 10, block_bytes_max: 16 << 10, ..DiskOptions::default() };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let storage: Arc<dyn Storage> = Arc::new(RealStorage::create(directory.path()).expect("create"));
    let mut log = DiskLog::open(Arc::clone(&storage), options).expect("open");
    let epoch = log.acquire().expect("acquire").epoch;
    let confirmed = log.confirmed();
    let writer = std::thread::spawn(move || {
        for block in 0..BLOCKS {
            append(&mut log, epoch, block * 2 + 1, &body(block, 1000));
        }
    });
    while confirmed.get().0 < BLOCKS * 2 {
        let known = confirmed.get();
        let mut offline = open_for_reading(Arc::clone(&storage), None).expect("readable");
        let mut block = Block::default();
        while offline.next(&mut block).expect("readable") {}
        let verdict = offline.verdict().expect("a verdict");
        assert!(!matches!(verdict, Verdict::Corrupt(_)), "{verdict:?}");
        assert!(offline.summary().head >= known, "everything confirmed is there");
    }
    writer.join().expect("writer");
}

#[test]
fn an_empty_directory_is_no_log_to_read() {
    let (blocks, verdict) = read_offline(&MemoryStorage::new(), false);
    assert!(blocks.is_empty() && matches!(verdict, Verdict::Corrupt(_)));
}

/// A crash leaves segments under temporary names; they are removed, other people's files are not.
#[test]
fn leftovers_are_removed() {
    let storage = MemoryStorage::new();
    storage.replace("00000000000000000009.seg.new", vec![1; 100]);
    storage.replace("MANIFEST.new", vec![1; 100]);
    storage.replace("notes.new", vec![1; 100]);
    let mut log = open(&storage, &tiny()).expect("open");
    fill(&mut log, 3, 300);
    let names = storage.list().expect("list");
    let left: Vec<&String> = names.iter().filter(|name| name.ends_with(".new")).collect();
    assert_eq!(left, ["notes.new"]);
}
