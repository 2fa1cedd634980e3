//! The runner over a log in memory, with the record store.

use super::shop::{self, Shop};
use crate::record::{RECORD_FILE, RecordView, rebuild_online};
use crate::{LogSource, Runner, RunnerOptions, View, ViewState};
use banyan_log::{BlockDraft, Epoch, Log, MemoryLog, Seq};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

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
        for block in &self.shop.blocks[self.written..] {
            let draft = BlockDraft { time_ms: block.time_ms, count: block.count, body: &block.body };
            self.log.append(self.epoch, block.first_seq, draft).expect("appends");
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

#[test]
fn a_log_shorter_than_the_view_asks_for_a_rebuild() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut plant = Plant::new();
    let head = plant.issue(0..10);
    let runner = start(&plant, folder.path());
    assert!(runner.progress().wait_for(head, LONG));
    drop(runner);
    let mut other = Plant::new();
    other.issue(0..2);
    let runner = start(&other, folder.path());
    assert!(!runner.progress().wait_for(head.next(), Duration::from_millis(200)));
    let problem = runner.progress().problem().expect("a failed view says why");
    assert!(problem.contains("the log ends at seq"), "{problem}");
}
