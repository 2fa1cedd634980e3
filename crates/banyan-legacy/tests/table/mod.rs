//! An old database in memory: a table with rules of its own, a bookkeeping row, and places at which a test may step in. And
//! Banyan beside it, in phase `lead`.
#![allow(dead_code, reason = "each test file uses a part of it")]

use banyan_domain::legacy::{
    Capability, CapabilityState, Command, MirrorRow, MoveStep, Phase, SourceBatch, SourceId,
};
use banyan_domain::stock::{self, Line, Lines};
use banyan_domain::{Actor, LocationId, Millis, Outcome, Reason, SkuId};
use banyan_engine::{CoreOptions, DirectReplies, Shard, ShardOptions, start, wall_clock};
use banyan_legacy::{
    Book, BoxFuture, ChangeStream, Comparer, Desk, Digests, Door, Driver, Finding, Halt, Hold, KeyRange,
    LegacyError, Mapping, OldDatabase, Page, PageKey, Progress, RangeDigest, Row, SourceId as StreamSource,
    SqlReference, StreamHealth, Switch, Switched, TargetRow, Written, digest_of, outward,
};
use banyan_log::{DiskLog, DiskOptions, MemoryStorage};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(crate) const STOCK: Capability = Capability::Stock;
/// A loaded machine is slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What a row shall be, and why not.
type Rule = Box<dyn Fn(&TargetRow) -> Option<&'static str> + Send>;
/// What a test does at some point.
type Hook = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;

/// At which question a test steps in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// Before the bookkeeping row is read.
    Book,
    /// Before rows are written.
    Write,
}

/// The table and what is beside it.
pub(crate) struct OldShop(Mutex<Inner>);

pub(crate) struct Inner {
    pub(crate) book: Option<Book>,
    pub(crate) rows: BTreeMap<String, (i64, i64)>,
    pub(crate) rule: Rule,
    pub(crate) position: u64,
    /// Transactions that wrote, or were refused.
    pub(crate) writes: usize,
    /// Rows that were handed out.
    pub(crate) read: usize,
    untold: Vec<(u64, Book)>,
}

/// The old database, as one of those who ask it sees it.
pub(crate) struct Database {
    shop: Arc<OldShop>,
    hook: Mutex<Option<(At, Hook)>>,
}

struct HeldDoor(Arc<OldShop>, u64);

impl OldShop {
    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no test panics with it")
    }
}

impl Database {
    pub(crate) fn new(shop: &Arc<OldShop>) -> Self {
        Self { shop: shop.clone(), hook: Mutex::default() }
    }

    /// Steps in, once.
    pub(crate) fn step_in(&self, at: At, hook: Hook) {
        *self.hook.lock().expect("no test panics with it") = Some((at, hook));
    }

    async fn at(&self, at: At) {
        let hook = self.hook.lock().expect("no test panics with it").take_if(|hook| hook.0 == at);
        if let Some((_, hook)) = hook {
            hook().await;
        }
    }

    fn page(&self, range: &KeyRange, limit: u32) -> Page {
        let skus: Vec<String> = self.shop.inner().rows.keys().cloned().collect();
        let is_in = |sku: &String| {
            range.after.as_ref().is_none_or(|after| *sku > after.0[0])
                && range.until.as_ref().is_none_or(|until| *sku <= until.0[0])
        };
        let mut page = self.rows(skus.into_iter().filter(is_in).take(limit as usize));
        if page.rows.len() == limit as usize {
            page.next = page.rows.last().map(|row| PageKey(vec![row.sku.clone()]));
        }
        page
    }

    fn rows(&self, skus: impl Iterator<Item = String>) -> Page {
        let inner = self.shop.inner();
        let row = |sku: String| {
            let (in_stock, allocated) = *inner.rows.get(&sku)?;
            let (in_stock, allocated) = (Some(in_stock), Some(allocated));
            Some(Row { table: 0, sku, location: "main".into(), in_stock, allocated })
        };
        let rows: Vec<Row> = skus.filter_map(row).collect();
        Page { rows, next: None, position_before: inner.position, position_after: inner.position }
    }
}

impl Door for HeldDoor {
    fn position(&self) -> u64 {
        self.1
    }

    fn switch(self: Box<Self>, ask: Switch) -> BoxFuture<'static, Result<Switched, LegacyError>> {
        Box::pin(async move {
            let mut inner = self.0.inner();
            Ok(match ask.decide(inner.book) {
                Ok(book) => {
                    inner.position += 10;
                    inner.book = Some(book);
                    let position = inner.position;
                    inner.untold.push((position, book));
                    Switched::Done(book)
                }
                Err(answer) => answer,
            })
        })
    }
}

impl OldDatabase for Database {
    fn check(&self) -> BoxFuture<'_, Vec<Finding>> {
        Box::pin(async { vec![Finding::ok("settings", "as they should be")] })
    }

    fn create(&self) -> BoxFuture<'_, Result<Vec<String>, LegacyError>> {
        let made = Book { phase: Phase::Legacy, epoch: 0, seq: 0, move_no: 0 };
        self.shop.inner().book.get_or_insert(made);
        Box::pin(async { Ok(vec![]) })
    }

    fn book(&self) -> BoxFuture<'_, Result<Option<Book>, LegacyError>> {
        Box::pin(async {
            self.at(At::Book).await;
            Ok(self.shop.inner().book)
        })
    }

    fn hold(&self, _: Duration) -> BoxFuture<'_, Result<Hold, LegacyError>> {
        let position = self.shop.inner().position;
        Box::pin(async move { Ok(Hold::Held(Box::new(HeldDoor(self.shop.clone(), position)))) })
    }

    fn write<'a>(
        &'a self,
        rows: &'a [TargetRow],
        seq: u64,
        epoch: u64,
    ) -> BoxFuture<'a, Result<Written, LegacyError>> {
        Box::pin(async move {
            self.at(At::Write).await;
            let mut inner = self.shop.inner();
            inner.writes += 1;
            let Some(book) = inner.book else { return Ok(Written::Fenced { book: None }) };
            if book.epoch != epoch || book.seq > seq || !book.phase.leads() {
                return Ok(Written::Fenced { book: Some(book) });
            }
            if let Some(why) = rows.iter().find_map(|row| (inner.rule)(row)) {
                return Ok(Written::Refused { why: why.to_owned() });
            }
            inner.book = Some(Book { seq, ..book });
            let mut absent = Vec::new();
            for (index, row) in rows.iter().enumerate() {
                match inner.rows.get_mut(&row.sku) {
                    Some(numbers) => *numbers = (row.in_stock, row.allocated),
                    None => absent.push(index),
                }
            }
            Ok(Written::Done { absent })
        })
    }

    fn stream<'a>(
        &'a self,
        _: Option<(StreamSource, u64)>,
    ) -> BoxFuture<'a, Result<Box<dyn ChangeStream>, LegacyError>> {
        unreachable!("the stream in is played by the test")
    }

    fn read_page<'a>(
        &'a self,
        _: usize,
        after: Option<&'a PageKey>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Page, LegacyError>> {
        let page = self.page(&KeyRange { after: after.cloned(), until: None }, limit);
        self.shop.inner().read += page.rows.len();
        Box::pin(async { Ok(page) })
    }

    fn read_range<'a>(
        &'a self,
        _: usize,
        range: &'a KeyRange,
        limit: u32,
    ) -> BoxFuture<'a, Result<Page, LegacyError>> {
        let page = self.page(range, limit);
        self.shop.inner().read += page.rows.len();
        Box::pin(async { Ok(page) })
    }

    fn digest_ranges<'a>(
        &'a self,
        _: usize,
        ranges: &'a [KeyRange],
        rows_max: u32,
    ) -> BoxFuture<'a, Result<Option<Digests>, LegacyError>> {
        let digest = |range: &KeyRange| {
            let page = self.page(range, rows_max);
            RangeDigest { rows: page.rows.len() as u64, digest: digest_of(&page.rows) }
        };
        let of = ranges.iter().map(digest).collect();
        let position_after = self.shop.inner().position;
        Box::pin(async move { Ok(Some(Digests { of, position_after })) })
    }

    fn read_items<'a>(
        &'a self,
        items: &'a [(usize, String, String)],
    ) -> BoxFuture<'a, Result<Page, LegacyError>> {
        let page = self.rows(items.iter().map(|item| item.1.clone()));
        self.shop.inner().read += page.rows.len();
        Box::pin(async { Ok(page) })
    }

    fn health(&self) -> BoxFuture<'_, Result<StreamHealth, LegacyError>> {
        unreachable!("nobody asks for it here")
    }

    fn references(&self) -> BoxFuture<'_, Result<Option<Vec<SqlReference>>, LegacyError>> {
        unreachable!("nobody asks for it here")
    }

    fn drop_stream(&self) -> BoxFuture<'_, Result<(), LegacyError>> {
        Box::pin(async { Ok(()) })
    }

    fn clear_outbox<'a>(&'a self, _: &'a [i64]) -> BoxFuture<'a, Result<u64, LegacyError>> {
        unreachable!("nobody asks for it here")
    }

    fn touch<'a>(&'a self, _: &'a [(usize, String, String)]) -> BoxFuture<'a, Result<(), LegacyError>> {
        unreachable!("the old shop does not lead here")
    }
}

struct Equal;

impl Comparer for Equal {
    fn compare(&self, _: bool) -> BoxFuture<'_, Result<(u64, u64), String>> {
        Box::pin(async { Ok((2, 0)) })
    }
}

/// The sync out, running.
pub(crate) struct Running {
    stop: watch::Sender<bool>,
    task: JoinHandle<Halt>,
}

impl Running {
    /// As a process that dies: in the middle of whatever it does.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _aborted = self.task.await;
        drop(self.stop);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }
}

/// Banyan beside the old shop.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) desk: Desk,
    pub(crate) shop: Arc<OldShop>,
    pub(crate) mapping: Arc<Mapping>,
    pub(crate) progress: Arc<Progress>,
}

impl World {
    /// In phase `lead`, with `items` items of 100 units.
    pub(crate) async fn leading(items: usize) -> Self {
        let disk = DiskOptions { segment_bytes: 8 << 20, block_bytes_max: 2 << 20, ..DiskOptions::default() };
        let log = DiskLog::open(Arc::new(MemoryStorage::new()), disk).expect("a log");
        let started = start(Box::new(log), None, CoreOptions::default(), None, wall_clock(), &mut |_, _| {});
        let shard =
            Shard::spawn(started.expect("it starts"), Box::new(DirectReplies), ShardOptions::default());
        let rows = (1..=items).map(|n| (name(n), (100, 0))).collect();
        let shop = Arc::new(OldShop(Mutex::new(Inner {
            book: None,
            rows,
            rule: Box::new(|_| None),
            position: 100,
            writes: 0,
            read: 0,
            untold: vec![],
        })));
        let mapping = "capability = \"stock\"\n[database]\nkind = \"postgres\"\nurl_env = \"X\"\n[[table]]\nname = \"t\"\n\
             key = [\"sku\"]\nsku = \"sku\"\nlocation = \"main\"\nin_stock = \"a\"\nallocated = \"b\"\n";
        let mapping = Arc::new(Mapping::read(mapping, Path::new(".")).expect("well-formed"));
        let desk = Desk::new(shard.expect("threads start"));
        let world = Self { desk, shop, mapping, progress: Arc::default() };
        for to in [Phase::Mirror, Phase::Lead] {
            world.begin(to).await;
            let driver = world.driver();
            while world.state().await.moving.is_some() {
                driver.step().await.expect("nothing is in the way");
                world.hear().await;
            }
        }
        world
    }

    pub(crate) fn driver(&self) -> Driver {
        Driver {
            desk: self.desk.clone(),
            database: Arc::new(Database::new(&self.shop)),
            progress: self.progress.clone(),
            comparer: Arc::new(Equal),
            flush_goal: Mutex::default(),
        }
    }

    pub(crate) async fn state(&self) -> CapabilityState {
        self.desk.look(|state| state.legacy().capability(STOCK)).await.expect("it runs")
    }

    pub(crate) async fn begin(&self, to: Phase) {
        let (by, reason) = (Actor::new("op").expect("a name"), Reason::new("a test").expect("a reason"));
        self.ask(Command::BeginMove { capability: STOCK, from: None, to, by, reason, without: vec![] }).await;
    }

    pub(crate) async fn ask(&self, command: impl Into<banyan_domain::Command>) -> Outcome {
        self.desk.ask(command).await.expect("done")
    }

    /// What the stream in would have done by now.
    pub(crate) async fn hear(&self) {
        let state = self.state().await;
        let source = SourceId { system: "s".into(), stream: "banyan".into() };
        if state.source.is_none() && state.has_noted(MoveStep::Prepared) {
            let (position, rows) = {
                let inner = self.shop.inner();
                (inner.position, inner.rows.clone())
            };
            self.ask(Command::SetSource { capability: STOCK, source: source.clone(), position }).await;
            let row = |(sku, numbers): (&String, &(i64, i64))| MirrorRow {
                sku: SkuId::new(sku.as_str()).expect("a SKU"),
                location: LocationId::new("main").expect("a location"),
                in_stock: numbers.0,
                allocated: numbers.1,
            };
            let rows: Vec<MirrorRow> = rows.iter().map(row).collect();
            for (part, rows) in (1..).zip(rows.chunks(banyan_domain::limits::SOURCE_ROWS_MAX)) {
                self.apply(&source, (position, part), rows.to_vec(), None).await;
            }
            self.ask(Command::EndCopy { capability: STOCK }).await;
        }
        let untold = std::mem::take(&mut self.shop.inner().untold);
        for (position, book) in untold {
            self.apply(&source, (position, 1), vec![], Some((book.move_no, book.phase))).await;
        }
        self.progress.applied(self.shop.inner().position);
    }

    async fn apply(
        &self,
        source: &SourceId,
        (position, part): (u64, u32),
        rows: Vec<MirrorRow>,
        switched: Option<(u64, Phase)>,
    ) {
        let (capability, source, outbox) = (STOCK, source.clone(), vec![]);
        let batch = SourceBatch { capability, source, position, part, rows, outbox, switched };
        self.ask(Command::ApplySource(Box::new(batch))).await;
    }

    /// Starts the sync out.
    pub(crate) fn follow(&self) -> Running {
        let (stop, stopping) = watch::channel(false);
        let world = self.clone();
        let database = Database::new(&self.shop);
        let task = tokio::spawn(async move {
            outward::follow(&world.desk, &database, &world.mapping, &world.progress, stopping).await
        });
        Running { stop, task }
    }

    /// Sells one unit.
    pub(crate) async fn sell(&self, sku: &str) {
        let sku = SkuId::new(sku).expect("a SKU");
        let lines = Lines::new(vec![Line { sku, location: None, quantity: 1 }]).expect("lines");
        let hold_for = Millis::new(3_600_000);
        self.ask(stock::Command::Reserve { lines, member: None, order: None, hold_for }).await;
    }

    pub(crate) async fn seq(&self) -> u64 {
        self.desk.look(banyan_domain::State::seq).await.expect("it runs")
    }

    /// What the table should have.
    pub(crate) async fn ours(&self) -> BTreeMap<String, (i64, i64)> {
        let all = |state: &banyan_domain::State| {
            let items = state.legacy().mirrored_items().filter_map(|(item, _)| {
                let level = state.mirror_level(item)?;
                Some((state.stock().item(item)?.sku.to_owned(), (level.in_stock(), level.taken())))
            });
            items.collect()
        };
        self.desk.look(all).await.expect("it runs")
    }

    /// Waits until everything that has happened is written or set aside.
    pub(crate) async fn written(&self) {
        let seq = self.seq().await;
        self.until("it is written", || self.progress.view().seq_written >= seq).await;
    }

    pub(crate) async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < deadline, "not in time: {what}: {:?}", self.progress.view());
            // A condition is looked at again; nobody tells it.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// The SKU of an item.
pub(crate) fn name(n: usize) -> String {
    format!("S-{n:05}")
}
