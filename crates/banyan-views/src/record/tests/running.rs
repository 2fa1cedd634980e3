//! The runner over a log in memory, with the record store.

use super::rebuilding::all_files;
use super::shop::{self, Shop};
use crate::record::{RECORD_FILE, Rebuilder, RecordView, StartRefused, rebuild_online};
use crate::{LogSource, Runner, RunnerOptions, View, ViewState};
use banyan_log::{Block, BlockDraft, Epoch, Log, LogError, LogReader, MemoryLog, Seq};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);

struct Plant {
    log: MemoryLog,
    epoch: Epoch,
    shop: Shop,
    written: usize,
}

impl Plant {
    fn new() -> Self {
        let mut log = MemoryLog::new();
        let epoch = log.acquire().expect("acquires").epoch;
        Self { log, epoch, shop: Shop::new(), written: 0 }
    }

    fn source(&self) -> LogSource {
        let log = self.log.attach();
        LogSource::new(self.log.confirmed(), move |from| log.reader(from))
    }

    /// Issues coupons to `members` and appends the block.
    fn issue(&mut self, members: std::ops::Range<u32>) -> Seq {
        members.for_each(|member| self.shop.issue(2, member));
        self.shop.end_block();
        for block in &mut self.shop.blocks[self.written..] {
            let draft = BlockDraft { time_ms: block.time_ms, count: block.count, body: &block.body };
            block.hash = self.log.append(self.epoch, block.first_seq, draft).expect("appends").hash;
        }
        self.written = self.shop.blocks.len();
        Seq(self.shop.state.seq())
    }
}

fn start(plant: &Plant, folder: &std::path::Path) -> Runner<RecordView> {
    Runner::spawn(shop::open(folder), plant.source(), RunnerOptions::default()).expect("starts")
}

#[test]
fn the_runner_follows_the_log_and_goes_on_after_a_stop() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut plant = Plant::new();
    let head = plant.issue(0..300);
    let runner = start(&plant, folder.path());
    let heard = Arc::new(AtomicU64::new(0));
    let hearing = Arc::clone(&heard);
    runner.progress().subscribe(Arc::new(move |seq| {
        hearing.fetch_max(seq.0, Ordering::SeqCst);
    }));
    let reader = runner.with_view(|view| view.reader()).expect("runs");
    assert!(runner.progress().wait_for(head, LONG));
    for round in 1..20_u32 {
        let head = plant.issue(round * 300..round * 300 + 50);
        assert!(runner.progress().wait_for(head, LONG), "round {round}");
        let page = reader.member_coupons(&shop::member(round * 300 + 49), None, 9).expect("readable");
        assert!(page.checkpoint >= head && page.coupons.len() == 1, "what was waited for can be read");
    }
    let head = plant.issue(9_000..9_001);
    assert!(runner.progress().wait_for(head, LONG));
    assert_eq!(heard.load(Ordering::SeqCst), head.0);
    assert_eq!((runner.progress().lag_events(), runner.progress().state()), (0, ViewState::Running));
    assert_eq!(runner.progress().events(), head.0);
    assert!(!runner.progress().wait_for(head.next(), Duration::from_millis(20)));
    let progress = Arc::clone(runner.progress());
    let view = runner.stop().expect("the thread ended well");
    assert_eq!(view.checkpoint(), head);
    assert_eq!(progress.state(), ViewState::Stopped);
    drop(view);

    let head = plant.issue(10_000..10_010);
    let runner = start(&plant, folder.path());
    assert!(runner.progress().wait_for(head, LONG));
    assert_eq!(runner.progress().events(), 10, "it began where it stopped");
}

#[test]
fn a_running_view_is_rebuilt_while_coupons_come_in() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(RECORD_FILE);
    let mut plant = Plant::new();
    let head = plant.issue(0..500);
    let runner = start(&plant, folder.path());
    assert!(runner.progress().wait_for(head, LONG));
    // The running file lies.
    let lied = runner.with_view(|view| {
        view.db()
            .expect("open")
            .execute_batch("UPDATE campaign SET issued = 7; DELETE FROM coupon WHERE id % 2 = 0")
    });
    lied.expect("runs").expect("lies");
    let reader = runner.with_view(|view| view.reader()).expect("runs");
    std::thread::scope(|scope| {
        let rebuilt = scope.spawn(|| rebuild_online(&runner, &mut |_| ()));
        for round in 1..20_u32 {
            let head = plant.issue(round * 1_000..round * 1_000 + 20);
            assert!(runner.progress().wait_for(head, LONG), "round {round}");
            let page = reader.member_coupons(&shop::member(round * 1_000), None, 9).expect("readable");
            assert!(page.checkpoint >= head);
        }
        let report = rebuilt.join().expect("ends").expect("rebuilds");
        assert!(report.checkpoint >= head);
    });
    let head = plant.issue(50_000..50_100);
    assert!(runner.progress().wait_for(head, LONG));
    assert_eq!(runner.progress().state(), ViewState::Running);
    for (_, member, _) in plant.shop.issued.iter().step_by(7) {
        assert_eq!(reader.member_coupons(member, None, 9).expect("readable").coupons.len(), 1);
    }
    drop(runner);
    let rebuilt = shop::dump(&path);
    let fresh = tempfile::tempdir().expect("a temporary folder");
    shop::fill(&mut shop::open(fresh.path()), &plant.shop.blocks, 50);
    assert_eq!(rebuilt, shop::dump(&fresh.path().join(RECORD_FILE)));
}

#[test]
fn a_view_that_fails_says_so_and_recovers() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut plant = Plant::new();
    let head = plant.issue(0..10);
    let runner = start(&plant, folder.path());
    assert!(runner.progress().wait_for(head, LONG));
    let gone =
        runner.with_view(|view| view.db().expect("open").execute_batch("ALTER TABLE coupon RENAME TO lost"));
    gone.expect("runs").expect("renames");
    let head = plant.issue(20..30);
    assert!(!runner.progress().wait_for(head, Duration::from_millis(300)));
    assert_eq!(runner.progress().state(), ViewState::Failed);
    let problem = runner.progress().problem().expect("a failed view says why");
    assert!(problem.contains("banyan view rebuild record"), "{problem}");
    assert!(runner.progress().lag_events() >= 10);
    rebuild_online(&runner, &mut |_| ()).expect("rebuilds");
    assert!(runner.progress().wait_for(head, LONG));
    assert_eq!((runner.progress().state(), runner.progress().problem()), (ViewState::Running, None));
}

/// Waits until the view has failed for a reason that says `why`.
fn failed(runner: &Runner<RecordView>, why: &str) {
    let end = Instant::now() + LONG;
    while !runner.progress().problem().is_some_and(|problem| problem.contains(why)) {
        assert!(Instant::now() < end, "{:?}, not: {why}", runner.progress().problem());
        std::thread::yield_now();
    }
    assert_eq!((runner.progress().state(), runner.progress().applied()), (ViewState::Failed, Seq::ZERO));
}

/// Bug: the view said that it had failed, and went on as soon as the log had grown past its checkpoint. What had happened
/// before, in this log, was never applied: a coupon number issued again belonged to whoever had it in the other log.
#[test]
fn a_view_of_a_log_that_was_restored_from_an_older_backup_is_not_resumed_when_the_log_has_grown() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut plant = Plant::new();
    let head = plant.issue(0..10);
    let runner = start(&plant, folder.path());
    assert!(runner.progress().wait_for(head, LONG));
    drop(runner);
    // The same store, which has forgotten what came after its backup.
    let mut other = Plant::new();
    other.issue(100..102);
    let runner = start(&other, folder.path());
    let reader = runner.with_view(|view| view.reader()).expect("runs");
    failed(&runner, "the log ends at seq");
    let grown = other.issue(200..300);
    failed(&runner, "another block");
    assert!(!runner.progress().wait_for(Seq(1), Duration::ZERO), "nothing of it counts as applied");
    let shown = reader.member_coupons(&shop::member(0), None, 9);
    assert!(shown.is_err_and(|error| error.to_string().contains("view rebuild")), "nor is it shown");
    drop(runner);

    // Nor after a restart, or by a log that is longer from the start.
    let runner = start(&other, folder.path());
    failed(&runner, "another block");
    let report = rebuild_online(&runner, &mut |_| ()).expect("rebuilds");
    assert_eq!(report.checkpoint, grown);
    assert!(runner.progress().wait_for(grown, LONG));
    let reader = runner.with_view(|view| view.reader()).expect("runs");
    let of = |member| reader.member_coupons(&shop::member(member), None, 9).expect("readable").coupons.len();
    assert_eq!((of(0), of(100), of(299)), (0, 1, 1));
    let head = other.issue(400..410);
    assert!(runner.progress().wait_for(head, LONG));
    assert_eq!((runner.progress().state(), runner.progress().problem()), (ViewState::Running, None));
}

/// Bug: the new file was refused, because it ended before the old one.
#[test]
fn a_view_that_is_ahead_of_the_log_can_be_rebuilt_while_the_server_runs() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut plant = Plant::new();
    let head = plant.issue(0..50);
    let runner = start(&plant, folder.path());
    assert!(runner.progress().wait_for(head, LONG));
    drop(runner);
    let mut other = Plant::new();
    let head = other.issue(100..102);
    let runner = start(&other, folder.path());
    let reader = runner.with_view(|view| view.reader()).expect("runs");
    failed(&runner, "the log ends at seq");
    assert_eq!(rebuild_online(&runner, &mut |_| ()).expect("rebuilds").checkpoint, head);
    assert!(runner.progress().wait_for(head, LONG));
    assert_eq!(reader.member_coupons(&shop::member(101), None, 9).expect("readable").coupons.len(), 1);
}

/// A reader that waits for a word before each block, while it is told to; without a word it goes on at the end.
struct Slow(Box<dyn LogReader>, Arc<Mutex<Receiver<()>>>);

impl LogReader for Slow {
    fn next(&mut self, into: &mut Block) -> Result<bool, LogError> {
        // An error means that the test wants no more of it.
        let _go_on = self.1.lock().unwrap_or_else(PoisonError::into_inner).recv();
        self.0.next(into)
    }
}

#[test]
fn rebuilds_on_request_run_one_at_a_time_and_say_how_they_end() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut plant = Plant::new();
    let head = plant.issue(0..300);
    let (slowly, (go_on, wait)) = (Arc::new(AtomicBool::new(false)), channel());
    let (source, is_slow, wait) = (plant.source(), Arc::clone(&slowly), Arc::new(Mutex::new(wait)));
    let source = LogSource::new(plant.log.confirmed(), move |from| {
        let reader = source.reader(from)?;
        let slow = is_slow.load(Ordering::SeqCst);
        Ok(if slow { Box::new(Slow(reader, Arc::clone(&wait))) } else { reader })
    });
    let runner = Runner::spawn(shop::open(folder.path()), source, RunnerOptions::default()).expect("starts");
    assert!(runner.progress().wait_for(head, LONG));
    slowly.store(true, Ordering::SeqCst);
    let rebuilder = Rebuilder::new(runner);
    assert_eq!(rebuilder.latest(), None);
    rebuilder.start().expect("starts");
    assert!(matches!(rebuilder.start(), Err(StartRefused::Running)));
    let running = rebuilder.latest().expect("there is one");
    assert_eq!((running.outcome, running.head), (None, head));
    let shown = || rebuilder.progress().state();
    while shown() != ViewState::Rebuilding {
        std::thread::yield_now();
    }
    // From here on it is as fast as it can.
    slowly.store(false, Ordering::SeqCst);
    for _ in 0..plant.shop.blocks.len() + 1 {
        go_on.send(()).expect("it reads");
    }
    let ended = || rebuilder.latest().filter(|latest| latest.outcome.is_some());
    let done = std::iter::repeat_with(ended).inspect(|_| std::thread::yield_now()).flatten().next();
    let done = done.expect("endless");
    let report = done.outcome.expect("ended").expect("well");
    assert_eq!((report.checkpoint, report.coupons, done.seq), (head, 300, head));
    assert_eq!(shown(), ViewState::Running);

    // Another one, and the server stops in the middle: it is given up, and nothing of it stays.
    slowly.store(true, Ordering::SeqCst);
    rebuilder.start().expect("the one before has ended");
    while shown() != ViewState::Rebuilding {
        std::thread::yield_now();
    }
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| rebuilder.stop());
        while shown() != ViewState::Stopped {
            std::thread::yield_now();
        }
        drop(go_on);
        stopping.join().expect("ends");
    });
    let why = rebuilder.latest().and_then(|latest| latest.outcome).expect("ended").expect_err("given up");
    assert!(why.contains("the server is stopping"), "{why}");
    assert!(matches!(rebuilder.start(), Err(StartRefused::Stopping)));
    assert_eq!(all_files(folder.path()), [RECORD_FILE, "record.sqlite.lock"]);
    assert_eq!(shop::open(folder.path()).checkpoint(), head);
}
