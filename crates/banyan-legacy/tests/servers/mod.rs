//! An old database in memory of two servers, the one of which may take over from the other, and Banyan beside it.
#![allow(dead_code, reason = "each test file uses a part of it")]

use banyan_domain::legacy::{Capability, CapabilityState, Command, MoveStep, Phase};
use banyan_domain::{Actor, LocationId, Outcome, Reason, SkuId, legacy};
use banyan_engine::{CoreOptions, DirectReplies, Shard, ShardOptions, start, wall_clock};
use banyan_legacy::{
    Book, BoxFuture, ChangeStream, Comparer, Desk, Door, Driver, Finding, Halt, Hold, Item, LegacyError,
    Mapping, OldDatabase, Page, PageKey, Progress, Recall, Row, SourceId, SqlReference, Stage, StreamHealth,
    Switch, Switched, TargetRow, Transaction, Written, parts,
};
use banyan_log::{DiskLog, DiskOptions, MemoryStorage};
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub(crate) const STOCK: Capability = Capability::Stock;
/// How long a test waits for something that must come. A loaded machine is slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Where the log of the first server ends, far beyond that of the one which takes over.
pub(crate) const FAR: u64 = 1_000_000;

/// The servers of the old database.
pub(crate) struct Old {
    inner: Mutex<Inner>,
    /// Grows with everything that happens.
    changed: watch::Sender<u64>,
}

pub(crate) struct Inner {
    /// Which server whoever connects now reaches, and where its log ends.
    pub(crate) system: &'static str,
    pub(crate) position: u64,
    /// Whether streams of another server break.
    pub(crate) others_are_dead: bool,
    pub(crate) book: Option<Book>,
    /// Units in stock. None are allocated.
    pub(crate) rows: BTreeMap<&'static str, i64>,
    /// Whether copies come to their end.
    pub(crate) copies_end: bool,
    pub(crate) copies: usize,
    /// Whether streams tell anything, such as where they are when they are nudged.
    pub(crate) is_heard: bool,
    nudges: u64,
    /// Writes that were asked for, and rows that were read for a comparison.
    pub(crate) writes: usize,
    pub(crate) read: usize,
    /// What happens to the bookkeeping row, once, just before it is read.
    pub(crate) before_book: Option<fn(Book) -> Book>,
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
            rows: [("A", 5), ("B", 3)].into(),
            copies_end: true,
            copies: 0,
            is_heard: true,
            nudges: 0,
            writes: 0,
            read: 0,
            before_book: None,
            switches: Vec::new(),
        };
        Arc::new(Self { inner: Mutex::new(inner), changed: watch::Sender::new(0) })
    }

    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no test panics with it")
    }

    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
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
            self.at = if inner.system == self.system { inner.position.max(self.at + 1) } else { self.at + 1 };
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

pub(crate) struct Database(pub(crate) Arc<Old>);

impl Inner {
    fn row(&self, sku: &str) -> Option<Row> {
        let units = *self.rows.get(sku)?;
        let (in_stock, allocated) = (Some(units), Some(0));
        Some(Row { table: 0, sku: sku.into(), location: "main".into(), in_stock, allocated })
    }

    fn page<'a>(&mut self, skus: impl Iterator<Item = &'a str>) -> Page {
        let rows: Vec<Row> = skus.filter_map(|sku| self.row(sku)).collect();
        self.read += rows.len();
        Page { rows, next: None, position_before: self.position, position_after: self.position }
    }
}

impl OldDatabase for Database {
    fn check(&self) -> BoxFuture<'_, Vec<Finding>> {
        Box::pin(async { vec![Finding::ok("settings", "as they should be")] })
    }

    fn create(&self) -> BoxFuture<'_, Result<Vec<String>, LegacyError>> {
        unreachable!("all is made")
    }

    fn book(&self) -> BoxFuture<'_, Result<Option<Book>, LegacyError>> {
        let mut inner = self.0.inner();
        if let Some(change) = inner.before_book.take() {
            inner.book = inner.book.map(change);
        }
        let book = inner.book;
        Box::pin(async move { Ok(book) })
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
        rows: &'a [TargetRow],
        seq: u64,
        epoch: u64,
    ) -> BoxFuture<'a, Result<Written, LegacyError>> {
        let mut inner = self.0.inner();
        inner.writes += 1;
        let book = inner.book.filter(|book| book.epoch == epoch && book.seq <= seq && book.phase.leads());
        let written = match book {
            None => Written::Fenced { book: inner.book },
            Some(book) => {
                inner.book = Some(Book { seq, ..book });
                for row in rows {
                    if let Some(units) = inner.rows.get_mut(row.sku.as_str()) {
                        *units = row.in_stock;
                    }
                }
                Written::Done { absent: Vec::new() }
            }
        };
        Box::pin(async { Ok(written) })
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
                    let rows = inner.rows.keys().filter_map(|sku| inner.row(sku)).collect();
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
        let all: Vec<&str> = self.0.inner().rows.keys().copied().collect();
        let page = self.0.inner().page(all.into_iter());
        Box::pin(async { Ok(page) })
    }

    fn read_items<'a>(
        &'a self,
        items: &'a [(usize, String, String)],
    ) -> BoxFuture<'a, Result<Page, LegacyError>> {
        let page = self.0.inner().page(items.iter().map(|item| item.1.as_str()));
        Box::pin(async { Ok(page) })
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

/// A shard beside the old database. A clone is the same one.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) desk: Desk,
    pub(crate) old: Arc<Old>,
    pub(crate) progress: Arc<Progress>,
}

/// The stream in, running.
pub(crate) struct Running {
    stop: watch::Sender<bool>,
    pub(crate) task: JoinHandle<Halt>,
}

impl Running {
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        assert_eq!(self.task.await.expect("it ends"), Halt::Stopped);
    }
}

pub(crate) fn mapping(more: &str) -> Arc<Mapping> {
    let text = format!(
        "capability = \"stock\"\n{more}[database]\nkind = \"mysql\"\nurl_env = \"X\"\nserver_id = 9\n[[table]]\nname = \"t\"\n\
         key = [\"id\"]\nsku = \"sku\"\nlocation = \"main\"\nin_stock = \"a\"\nallocated = \"b\"\n"
    );
    Arc::new(Mapping::read(&text, Path::new(".")).expect("well-formed"))
}

impl World {
    /// In phase `mirror` with A at 5 and B at 3, and the stream in running.
    pub(crate) async fn mirroring() -> (Self, Running) {
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

    /// In phase `lead`, with everything written that is to be.
    pub(crate) async fn leading() -> (Self, Running) {
        let (world, running) = Self::mirroring().await;
        let driver = world.about_to(Phase::Lead).await;
        world.leads(&driver).await;
        world.progress.wrote(u64::MAX, 0, 0);
        (world, running)
    }

    /// On the way there, with the switch noted and not told.
    pub(crate) async fn about_to(&self, to: Phase) -> Driver {
        self.begin(to).await;
        let driver = Driver {
            desk: self.desk.clone(),
            database: Arc::new(Database(self.old.clone())),
            progress: self.progress.clone(),
            comparer: Arc::new(Equal),
            recall: Recall::default(),
        };
        while !matches!(
            driver.step().await.expect("nothing is in the way"),
            Stage::Stepped(MoveStep::Switched)
        ) {}
        driver
    }

    pub(crate) fn follow(&self, mapping: &Arc<Mapping>) -> Running {
        let database: Arc<dyn OldDatabase> = Arc::new(Database(self.old.clone()));
        let (stop, stopping) = watch::channel(false);
        let task = tokio::spawn((parts(&self.desk, &database, mapping, &self.progress).inward)(stopping));
        Running { stop, task }
    }

    pub(crate) async fn begin(&self, to: Phase) -> u64 {
        let (by, reason) = (Actor::new("op").expect("a name"), Reason::new("a test").expect("a reason"));
        match self
            .ask(Command::BeginMove { capability: STOCK, from: None, to, by, reason, without: vec![] })
            .await
        {
            Outcome::Legacy(legacy::Outcome::Move { number }) => number,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn ask(&self, command: Command) -> Outcome {
        self.desk.ask(command).await.expect("done")
    }

    pub(crate) async fn state(&self) -> CapabilityState {
        self.desk.look(|state| state.legacy().capability(STOCK)).await.expect("it runs")
    }

    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&CapabilityState) -> bool) {
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
    pub(crate) async fn books(&self) -> [Option<i64>; 2] {
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
    pub(crate) async fn rests(&self, driver: &Driver) -> String {
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
    pub(crate) async fn leads(&self, driver: &Driver) {
        while !matches!(driver.step().await.expect("nothing is in the way"), Stage::Idle) {
            // The stream tells it to the log.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(self.state().await.phase, Phase::Lead);
        assert_eq!(self.old.inner().book.map(|book| book.phase), Some(Phase::Lead));
    }
}
