//! An old database in memory whose server fails over to another: positions of the one say nothing of the other.

use banyan_domain::legacy::{Capability, CapabilityState, Command, MoveStep, Phase};
use banyan_domain::{Actor, LocationId, Outcome, Reason, SkuId, legacy};
use banyan_engine::{CoreOptions, DirectReplies, Shard, ShardOptions, start, wall_clock};
use banyan_legacy::{
    Book, BoxFuture, ChangeStream, Comparer, Desk, Door, Driver, Finding, Halt, Hold, Item, LegacyError,
    Mapping, OldDatabase, Page, PageKey, Progress, Row, SourceId, SqlReference, Stage, StreamHealth, Switch,
    Switched, TargetRow, Transaction, Written, parts,
};
use banyan_log::{DiskLog, DiskOptions, MemoryStorage};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

const STOCK: Capability = Capability::Stock;
/// How long a test waits for something that must come. A loaded machine is slow.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where the log of the first server ends, far beyond that of the one which takes over.
const FAR: u64 = 1_000_000;

/// The servers of the old database.
struct Old {
    inner: Mutex<Inner>,
    /// Grows with everything that happens.
    changed: watch::Sender<u64>,
}

struct Inner {
    /// Which server whoever connects now reaches, and where its log ends.
    system: &'static str,
    position: u64,
    /// Whether streams of another server break.
    others_are_dead: bool,
    book: Option<Book>,
    rows: Vec<(&'static str, i64)>,
    /// Whether copies come to their end.
    copies_end: bool,
    copies: usize,
    /// Whether streams tell where they are when they are nudged.
    is_heard: bool,
    nudges: u64,
    /// Changes of the bookkeeping row by moves, with their positions.
    switches: Vec<(u64, Book)>,
}

impl Old {
    fn new() -> Arc<Self> {
        let inner = Inner {
            system: "a",
            position: FAR,
            others_are_dead: true,
            book: Some(Book { phase: Phase::Legacy, epoch: 0, seq: 0, move_no: 0 }),
            rows: vec![("A", 5), ("B", 3)],
            copies_end: true,
            copies: 0,
            is_heard: true,
            nudges: 0,
            switches: Vec::new(),
        };
        Arc::new(Self { inner: Mutex::new(inner), changed: watch::Sender::new(0) })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no test panics with it")
    }

    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let changed = change(&mut self.inner());
        self.changed.send_modify(|version| *version += 1);
        changed
    }
}

struct Stream {
    old: Arc<Old>,
    system: &'static str,
    /// The position of what was told last.
    at: u64,
    copy: VecDeque<Item>,
    is_copying: bool,
    nudges: u64,
    changed: watch::Receiver<u64>,
}

impl Stream {
    fn ready(&mut self) -> Option<Result<Item, LegacyError>> {
        let inner = self.old.inner();
        if inner.system != self.system && inner.others_are_dead {
            return Some(Err(LegacyError::Broken("the server is gone".into())));
        }
        if let Some(item) = self.copy.pop_front() {
            return Some(Ok(item));
        }
        if self.is_copying {
            self.is_copying = !inner.copies_end;
            return inner.copies_end.then_some(Ok(Item::SnapshotEnd));
        }
        if !inner.is_heard {
            return None;
        }
        if let Some((position, book)) = inner.switches.iter().find(|(position, _)| *position > self.at) {
            self.at = *position;
            let (position, switched) = (*position, Some(*book));
            let told = Transaction { position, part: 1, last: true, switched, ..Transaction::default() };
            return Some(Ok(Item::Transaction(told)));
        }
        if inner.nudges > self.nudges {
            self.nudges = inner.nudges;
            self.at += 1;
            return Some(Ok(Item::Idle { position: self.at }));
        }
        None
    }
}

impl ChangeStream for Stream {
    fn next(&mut self) -> BoxFuture<'_, Result<Item, LegacyError>> {
        Box::pin(async {
            loop {
                self.changed.borrow_and_update();
                if let Some(item) = self.ready() {
                    return item;
                }
                self.changed.changed().await.map_err(|error| LegacyError::Broken(error.to_string()))?;
            }
        })
    }

    fn acknowledge(&mut self, _: u64) {}
}

struct HeldDoor {
    old: Arc<Old>,
    system: &'static str,
    position: u64,
}

impl Door for HeldDoor {
    fn position(&self) -> u64 {
        self.position
    }

    fn system(&self) -> Option<&str> {
        Some(self.system)
    }

    fn switch(self: Box<Self>, ask: Switch) -> BoxFuture<'static, Result<Switched, LegacyError>> {
        Box::pin(async move {
            Ok(self.old.change(|inner| match ask.decide(inner.book) {
                Ok(book) => {
                    inner.position += 10;
                    inner.book = Some(book);
                    inner.switches.push((inner.position, book));
                    Switched::Done(book)
                }
                Err(answer) => answer,
            }))
        })
    }
}

struct Database(Arc<Old>);

impl OldDatabase for Database {
    fn check(&self) -> BoxFuture<'_, Vec<Finding>> {
        Box::pin(async { vec![Finding::ok("settings", "as they should be")] })
    }

    fn create(&self) -> BoxFuture<'_, Result<Vec<String>, LegacyError>> {
        unreachable!("all is made")
    }

    fn book(&self) -> BoxFuture<'_, Result<Option<Book>, LegacyError>> {
        Box::pin(async { Ok(self.0.inner().book) })
    }

    fn hold(&self, _: Duration) -> BoxFuture<'_, Result<Hold, LegacyError>> {
        Box::pin(async {
            let (system, position) = {
                let inner = self.0.inner();
                (inner.system, inner.position)
            };
            Ok(Hold::Held(Box::new(HeldDoor { old: self.0.clone(), system, position })))
        })
    }

    fn write<'a>(
        &'a self,
        _: &'a [TargetRow],
        _: u64,
        _: u64,
    ) -> BoxFuture<'a, Result<Written, LegacyError>> {
        unreachable!("nothing is written")
    }

    fn stream<'a>(
        &'a self,
        from: Option<(SourceId, u64)>,
    ) -> BoxFuture<'a, Result<Box<dyn ChangeStream>, LegacyError>> {
        Box::pin(async move {
            let changed = self.0.changed.subscribe();
            let stream = self.0.change(|inner| {
                let (old, system, nudges) = (self.0.clone(), inner.system, inner.nudges);
                let Some((source, at)) = from else {
                    inner.copies += 1;
                    let (position, book) = (inner.position, inner.book);
                    let source = SourceId { system: system.into(), stream: "banyan".into() };
                    let row = |&(sku, units): &(&str, i64)| Row {
                        table: 0,
                        sku: sku.into(),
                        location: "main".into(),
                        in_stock: Some(units),
                        allocated: Some(0),
                    };
                    let rows = inner.rows.iter().map(row).collect();
                    let copy = [Item::SnapshotBegin { source, position, book }, Item::Rows(rows)].into();
                    let at = position;
                    return Ok(Stream { old, system, at, copy, is_copying: true, nudges, changed });
                };
                if source.system != system {
                    return Err(LegacyError::SourceUnknown(format!("this is the server {system}")));
                }
                let copy = VecDeque::new();
                Ok(Stream { old, system, at: at - 1, copy, is_copying: false, nudges, changed })
            })?;
            Ok(Box::new(stream) as Box<dyn ChangeStream>)
        })
    }

    fn read_page<'a>(
        &'a self,
        _: usize,
        _: Option<&'a PageKey>,
        _: u32,
    ) -> BoxFuture<'a, Result<Page, LegacyError>> {
        unreachable!("nothing is compared")
    }

    fn read_items<'a>(
        &'a self,
        _: &'a [(usize, String, String)],
    ) -> BoxFuture<'a, Result<Page, LegacyError>> {
        unreachable!("nothing is compared")
    }

    fn health(&self) -> BoxFuture<'_, Result<StreamHealth, LegacyError>> {
        unreachable!("nobody watches")
    }

    fn references(&self) -> BoxFuture<'_, Result<Option<Vec<SqlReference>>, LegacyError>> {
        unreachable!("nobody watches")
    }

    fn drop_stream(&self) -> BoxFuture<'_, Result<(), LegacyError>> {
        unreachable!("nobody gives the stream up")
    }

    fn nudge(&self) -> BoxFuture<'_, Result<bool, LegacyError>> {
        self.0.change(|inner| inner.nudges += 1);
        Box::pin(async { Ok(true) })
    }

    fn clear_outbox<'a>(&'a self, _: &'a [i64]) -> BoxFuture<'a, Result<u64, LegacyError>> {
        unreachable!("nothing is said")
    }
}

struct Equal;

impl Comparer for Equal {
    fn compare(&self, _: bool) -> BoxFuture<'_, Result<(u64, u64), String>> {
        Box::pin(async { Ok((2, 0)) })
    }
}

/// A shard beside the old database.
struct World {
    desk: Desk,
    old: Arc<Old>,
    progress: Arc<Progress>,
}

/// The stream in, running.
struct Running {
    stop: watch::Sender<bool>,
    task: JoinHandle<Halt>,
}

fn mapping(more: &str) -> Arc<Mapping> {
    let text = format!(
        "capability = \"stock\"\n{more}[database]\nkind = \"mysql\"\nurl_env = \"X\"\nserver_id = 9\n[[table]]\nname = \"t\"\n\
         key = [\"id\"]\nsku = \"sku\"\nlocation = \"main\"\nin_stock = \"a\"\nallocated = \"b\"\n"
    );
    Arc::new(Mapping::read(&text, Path::new(".")).expect("well-formed"))
}

impl World {
    /// In phase `mirror` with A at 5 and B at 3, and the stream in running.
    async fn mirroring() -> (Self, Running) {
        let disk = DiskOptions { segment_bytes: 8 << 20, block_bytes_max: 2 << 20, ..DiskOptions::default() };
        let log = DiskLog::open(Arc::new(MemoryStorage::new()), disk).expect("a log");
        let started = start(Box::new(log), None, CoreOptions::default(), None, wall_clock(), &mut |_, _| {});
        let options = ShardOptions { pace: Duration::ZERO, ..ShardOptions::default() };
        let shard = Shard::spawn(started.expect("it starts"), Box::new(DirectReplies), options);
        let desk = Desk::new(shard.expect("threads start"));
        let world = Self { desk, old: Old::new(), progress: Arc::default() };
        let number = world.begin(Phase::Mirror).await;
        let running = world.follow(&mapping(""));
        world.until("the copy", |state| state.source.as_ref().is_some_and(|source| !source.copying)).await;
        world.ask(Command::FinishMove { capability: STOCK, number }).await;
        world.old.change(|inner| {
            inner.book = Some(Book { phase: Phase::Mirror, epoch: 1, seq: 0, move_no: number });
        });
        (world, running)
    }

    /// On the way to `lead`, with the switch noted and not told.
    async fn about_to_lead(&self) -> Driver {
        self.begin(Phase::Lead).await;
        let driver = Driver {
            desk: self.desk.clone(),
            database: Arc::new(Database(self.old.clone())),
            progress: self.progress.clone(),
            comparer: Arc::new(Equal),
            flush_goal: Mutex::default(),
        };
        while !matches!(
            driver.step().await.expect("nothing is in the way"),
            Stage::Stepped(MoveStep::Switched)
        ) {}
        driver
    }

    fn follow(&self, mapping: &Arc<Mapping>) -> Running {
        let database: Arc<dyn OldDatabase> = Arc::new(Database(self.old.clone()));
        let (stop, stopping) = watch::channel(false);
        let task = tokio::spawn((parts(&self.desk, &database, mapping, &self.progress).inward)(stopping));
        Running { stop, task }
    }

    async fn begin(&self, to: Phase) -> u64 {
        let (by, reason) = (Actor::new("op").expect("a name"), Reason::new("a test").expect("a reason"));
        match self.ask(Command::BeginMove { capability: STOCK, to, by, reason }).await {
            Outcome::Legacy(legacy::Outcome::Move { number }) => number,
            other => panic!("{other:?}"),
        }
    }

    async fn ask(&self, command: Command) -> Outcome {
        self.desk.ask(command).await.expect("done")
    }

    async fn state(&self) -> CapabilityState {
        self.desk.look(|state| state.legacy().capability(STOCK)).await.expect("it runs")
    }

    async fn until(&self, what: &str, holds: impl Fn(&CapabilityState) -> bool) {
        let end = Instant::now() + PATIENCE;
        loop {
            let state = self.state().await;
            if holds(&state) {
                return;
            }
            assert!(Instant::now() < end, "waited in vain for {what}: {state:?}");
            // A condition is looked at again; nobody tells it.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Units in stock of A and B.
    async fn books(&self) -> [Option<i64>; 2] {
        let look = |state: &banyan_domain::State| {
            let place = LocationId::new("main").expect("a place");
            ["A", "B"].map(|name| {
                let item = state.stock().find(&SkuId::new(name).expect("a SKU"), &place)?;
                Some(state.mirror_level(item)?.in_stock())
            })
        };
        self.desk.look(look).await.expect("it runs")
    }

    /// What the move waits for: it holds the door and lets it go again.
    async fn rests(&self, driver: &Driver) -> String {
        let before = self.old.inner().book;
        // As long as it likes to.
        tokio::time::pause();
        let stage = driver.step().await.expect("it rests");
        tokio::time::resume();
        assert_eq!(self.old.inner().book, before, "nothing was handed over");
        match stage {
            Stage::Resting(why) if why.contains("the door was let go") => why,
            other => panic!("it does not rest: {other:?}"),
        }
    }

    /// The move goes on to its end.
    async fn leads(&self, driver: &Driver) {
        while !matches!(driver.step().await.expect("nothing is in the way"), Stage::Idle) {
            // The stream tells it to the log.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(self.state().await.phase, Phase::Lead);
        assert_eq!(self.old.inner().book.map(|book| book.phase), Some(Phase::Lead));
    }
}

/// (How far the stream of the one was counted for the other, whose log had not come that far in years.)
#[tokio::test]
async fn a_server_that_took_over_during_a_move_is_followed_to_its_door_before_the_lead_is_handed_over() {
    let (world, running) = World::mirroring().await;
    let driver = world.about_to_lead().await;
    world.old.change(|inner| {
        (inner.system, inner.position, inner.copies_end) = ("b", 50, false);
        // Sold after the last copy, and not told by any stream.
        inner.rows = vec![("A", 1), ("B", 3)];
    });
    world.until("a copy of the other server", |_| world.old.inner().copies == 2).await;
    let why = world.rests(&driver).await;
    assert!(why.contains("the stream is at 0 of 50"), "{why}");
    assert_eq!(world.progress.view().position_applied, 0, "how far the first server was is forgotten");
    world.old.change(|inner| inner.copies_end = true);
    world
        .until("the copy", |state| {
            state.source.as_ref().is_some_and(|source| &*source.id.system == "b" && !source.copying)
        })
        .await;
    assert_eq!(world.books().await, [Some(1), Some(3)]);
    world.leads(&driver).await;
    assert!(!running.task.is_finished());
}

#[tokio::test]
async fn a_stream_that_tells_nothing_any_more_does_not_hand_the_lead_over() {
    let (world, _running) = World::mirroring().await;
    let driver = world.about_to_lead().await;
    // All is here that the door asks for. But the connection hangs, and what it would tell is not known.
    world.old.change(|inner| inner.is_heard = false);
    let why = world.rests(&driver).await;
    assert!(why.contains("has told nothing since the door was held"), "{why}");
    world.old.change(|inner| inner.is_heard = true);
    world.leads(&driver).await;
}

#[tokio::test]
async fn the_door_of_another_server_than_the_one_that_is_followed_is_let_go() {
    let (world, _running) = World::mirroring().await;
    let driver = world.about_to_lead().await;
    // The first one lives on, and is heard. The old shop, and whoever connects, is at the other one.
    world.old.change(|inner| {
        (inner.system, inner.position, inner.others_are_dead) = ("b", 50, false);
    });
    let why = world.rests(&driver).await;
    assert!(why.contains("the door is that of b, and the stream that of a"), "{why}");
    world.old.change(|inner| inner.others_are_dead = true);
    world
        .until("the copy", |state| {
            state.source.as_ref().is_some_and(|source| &*source.id.system == "b" && !source.copying)
        })
        .await;
    world.leads(&driver).await;
}

/// (Every item of the old shop became zero: the copy had no rows, as in phase `retired`, and they counted all the same.)
#[tokio::test]
async fn a_copy_without_the_tables_is_refused_when_the_lead_was_taken_back_at_the_same_moment() {
    let (world, running) = World::mirroring().await;
    let driver = world.about_to_lead().await;
    world.leads(&driver).await;
    let number = world.begin(Phase::Retired).await;
    world.ask(Command::FinishMove { capability: STOCK, number }).await;
    running.stop.send_replace(true);
    assert_eq!(running.task.await.expect("it ends"), Halt::Stopped);
    world.old.change(|inner| {
        (inner.system, inner.rows) = ("b", Vec::new());
        inner.book = Some(Book { phase: Phase::Legacy, epoch: 9, seq: 0, move_no: number });
    });
    let running = world.follow(&mapping("outbox_only = true\n"));
    let halt = tokio::time::timeout(PATIENCE, running.task).await.expect("it halts").expect("no panic");
    assert!(matches!(&halt, Halt::Trouble(why) if why.contains("outbox_only = true")), "{halt:?}");
    assert_eq!(
        world.progress.view().trouble.inward.as_ref(),
        match &halt {
            Halt::Trouble(why) => Some(why),
            Halt::Stopped => None,
        }
    );
    assert_eq!(world.books().await, [Some(5), Some(3)], "nothing was emptied");
    let state = world.state().await;
    assert_eq!(
        (state.phase, state.taken_over.is_some()),
        (Phase::Mirror, true),
        "and Banyan does not decide"
    );
}
