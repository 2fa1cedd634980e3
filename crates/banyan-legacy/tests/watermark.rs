//! Holds of the old shop beside a whole keeper, whose old database is in memory: its stream can be made to stand still.

use banyan_domain::legacy::{Capability, Command, MirrorRow, Phase, SourceBatch, SourceId};
use banyan_domain::stock::{self, Line, Lines, ReservationState};
use banyan_domain::{Actor, LocationId, Millis, Outcome, Reason, ReservationNo, SkuId};
use banyan_engine::{CoreOptions, DirectReplies, Shard, ShardOptions, start, wall_clock};
use banyan_legacy::{
    Book, BoxFuture, Change, ChangeStream, Desk, Finding, Hold, Item, Keeper, KeeperOptions, LegacyError,
    Mapping, NoRoutes, OldDatabase, OutboxRow, Page, PageKey, Progress, Row, SourceId as StreamSource,
    SqlReference, StreamHealth, TargetRow, Transaction, Written, parts, unattended,
};
use banyan_log::{DiskLog, DiskOptions, MemoryStorage};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

const STOCK: Capability = Capability::Stock;
/// How long a test waits for something that must come. A loaded machine is slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// An old database that leads nothing any more.
struct OldShop {
    inner: Mutex<Inner>,
    /// Grows with everything that happens.
    changed: watch::Sender<u64>,
}

struct Inner {
    committed: Vec<Transaction>,
    position: u64,
    /// Up to where the stream tells that nothing happened.
    marked: u64,
    stands_still: bool,
    /// How often it was asked where its log ends.
    questions: u64,
    written: Vec<TargetRow>,
}

impl OldShop {
    fn new() -> Arc<Self> {
        let inner = Inner {
            committed: Vec::new(),
            position: 20,
            marked: 20,
            stands_still: false,
            questions: 0,
            written: Vec::new(),
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

    fn stand_still(&self, still: bool) {
        self.change(|inner| inner.stands_still = still);
    }

    fn commit(&self, transaction: Transaction) {
        self.change(|inner| {
            inner.position += 10;
            let position = inner.position;
            inner.committed.push(Transaction { position, part: 1, last: true, ..transaction });
        });
    }

    /// An order of the old shop.
    fn order(&self, reservation: ReservationNo) {
        let body = format!("{{\"reservation\": \"{reservation}\"}}");
        let row = OutboxRow { id: 1, kind: "allocate".into(), body };
        self.commit(Transaction { outbox: vec![row], ..Transaction::default() });
    }
}

struct Stream {
    shop: Arc<OldShop>,
    at: u64,
    changed: watch::Receiver<u64>,
}

impl ChangeStream for Stream {
    fn next(&mut self) -> BoxFuture<'_, Result<Item, LegacyError>> {
        Box::pin(async move {
            loop {
                self.changed.borrow_and_update();
                let next = {
                    let inner = self.shop.inner();
                    let next = inner.committed.iter().find(|one| one.position > self.at).cloned();
                    let idle = Some(Item::Idle { position: inner.marked }).filter(|_| inner.marked > self.at);
                    next.map(Item::Transaction).or(idle).filter(|_| !inner.stands_still)
                };
                if let Some(item) = next {
                    self.at = match &item {
                        Item::Transaction(transaction) => transaction.position,
                        Item::Idle { position } => *position,
                        _ => self.at,
                    };
                    return Ok(item);
                }
                self.changed.changed().await.map_err(|error| LegacyError::Broken(error.to_string()))?;
            }
        })
    }

    fn acknowledge(&mut self, _: u64) {}
}

struct Database(Arc<OldShop>);

impl OldDatabase for Database {
    fn check(&self) -> BoxFuture<'_, Vec<Finding>> {
        Box::pin(async { Vec::new() })
    }

    fn create(&self) -> BoxFuture<'_, Result<Vec<String>, LegacyError>> {
        unreachable!("nothing is moved")
    }

    fn book(&self) -> BoxFuture<'_, Result<Option<Book>, LegacyError>> {
        Box::pin(async { Ok(Some(Book { phase: Phase::Lead, epoch: 2, seq: 0, move_no: 2 })) })
    }

    fn hold(&self, _: Duration) -> BoxFuture<'_, Result<Hold, LegacyError>> {
        unreachable!("nothing is moved")
    }

    fn write<'a>(
        &'a self,
        rows: &'a [TargetRow],
        _: u64,
        _: u64,
    ) -> BoxFuture<'a, Result<Written, LegacyError>> {
        self.0.change(|inner| inner.written.extend_from_slice(rows));
        Box::pin(async { Ok(Written::Done { absent: Vec::new() }) })
    }

    fn stream<'a>(
        &'a self,
        from: Option<(StreamSource, u64)>,
    ) -> BoxFuture<'a, Result<Box<dyn ChangeStream>, LegacyError>> {
        let (_, at) = from.expect("the copy was read");
        let (shop, changed) = (self.0.clone(), self.0.changed.subscribe());
        Box::pin(async move { Ok(Box::new(Stream { shop, at: at - 1, changed }) as Box<dyn ChangeStream>) })
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

    fn position(&self) -> BoxFuture<'_, Result<u64, LegacyError>> {
        let position = self.0.change(|inner| {
            inner.questions += 1;
            // As a mark in its log does.
            inner.position += 1;
            inner.marked = inner.position;
            inner.position
        });
        Box::pin(async move { Ok(position) })
    }

    fn health(&self) -> BoxFuture<'_, Result<StreamHealth, LegacyError>> {
        Box::pin(async { Ok(StreamHealth::default()) })
    }

    fn references(&self) -> BoxFuture<'_, Result<Option<Vec<SqlReference>>, LegacyError>> {
        Box::pin(async { Ok(None) })
    }

    fn drop_stream(&self) -> BoxFuture<'_, Result<(), LegacyError>> {
        unreachable!("nothing is given up")
    }

    fn clear_outbox<'a>(&'a self, ids: &'a [i64]) -> BoxFuture<'a, Result<u64, LegacyError>> {
        Box::pin(async { Ok(ids.len() as u64) })
    }
}

/// Banyan, which leads, beside the old shop.
struct World {
    storage: Arc<MemoryStorage>,
    shop: Arc<OldShop>,
    desk: Desk,
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
}

impl World {
    /// With these items of the old shop, and this many of each in stock.
    async fn leading(items: &[&str], in_stock: i64) -> Self {
        let (storage, shop) = (Arc::new(MemoryStorage::new()), OldShop::new());
        let desk = open(&storage);
        let source = SourceId { system: "s".into(), stream: "banyan".into() };
        let by = || Actor::new("op").expect("a name");
        let begin = |to| Command::BeginMove {
            capability: STOCK,
            from: None,
            to,
            by: by(),
            reason: Reason::new("").expect("words"),
            without: vec![],
        };
        let batch = |position, rows, switched| {
            let (source, outbox, part) = (source.clone(), vec![], 1);
            let batch = SourceBatch { capability: STOCK, source, position, part, rows, outbox, switched };
            Command::ApplySource(Box::new(batch))
        };
        let row = |name: &&str| MirrorRow { sku: sku(name), location: place(), in_stock, allocated: 0 };
        let way = [
            begin(Phase::Mirror),
            Command::SetSource { capability: STOCK, source: source.clone(), position: 9 },
            batch(10, items.iter().map(row).collect(), None),
            Command::EndCopy { capability: STOCK },
            Command::FinishMove { capability: STOCK, number: 1 },
            begin(Phase::Lead),
            batch(20, vec![], Some((2, Phase::Lead))),
        ];
        for command in way {
            desk.ask(command).await.expect("done");
        }
        let (stop, running) = keep(&desk, &shop);
        Self { storage, shop, desk, stop, running }
    }

    /// Everything but the log is lost.
    async fn restart(&mut self) {
        self.running.abort();
        let _aborted = (&mut self.running).await;
        self.desk.shard().shutdown();
        self.desk = open(&self.storage);
        (self.stop, self.running) = keep(&self.desk, &self.shop);
    }

    async fn reserve(&self, name: &str, millis: u64) -> Option<ReservationNo> {
        let lines = Lines::new(vec![Line { sku: sku(name), location: None, quantity: 1 }]).expect("lines");
        let hold_for = Millis::new(millis);
        let ask = stock::Command::Reserve { lines, member: None, order: None, hold_for };
        match self.desk.ask(ask).await {
            Ok(Outcome::Stock(stock::Outcome::Reservation(answer))) => Some(answer.reservation),
            _ => None,
        }
    }

    async fn state_of(&self, no: ReservationNo) -> ReservationState {
        let look = move |state: &banyan_domain::State| state.stock().reservation(no).map(|row| row.state);
        self.desk.look(look).await.expect("it runs").expect("remembered")
    }

    async fn waiting(&self) -> usize {
        self.desk.look(banyan_domain::State::holds_waiting).await.expect("it runs")
    }

    async fn refused(&self) -> u64 {
        self.desk.look(|state| state.legacy().capability(STOCK).refused).await.expect("it runs")
    }

    async fn breaches(&self) -> u64 {
        self.desk.look(|state| state.legacy().capability(STOCK).breaches).await.expect("it runs")
    }

    async fn end(self) {
        self.stop.send(true).expect("it listens");
        self.running.await.expect("it ends");
        self.desk.shard().shutdown();
    }
}

fn open(storage: &Arc<MemoryStorage>) -> Desk {
    let disk = DiskOptions { segment_bytes: 8 << 20, block_bytes_max: 2 << 20, ..DiskOptions::default() };
    let log = DiskLog::open(storage.clone(), disk).expect("a log");
    let started = start(Box::new(log), None, CoreOptions::default(), None, wall_clock(), &mut |_, _| {});
    let options = ShardOptions { pace: Duration::ZERO, ..ShardOptions::default() };
    let shard = Shard::spawn(started.expect("it starts"), Box::new(DirectReplies), options);
    Desk::new(shard.expect("threads"))
}

fn keep(desk: &Desk, shop: &Arc<OldShop>) -> (watch::Sender<bool>, JoinHandle<()>) {
    let mapping = "capability = \"stock\"\n[database]\nkind = \"postgres\"\nurl_env = \"NOT_USED\"\n[[table]]\nname = \"t\"\n\
        key = [\"id\"]\nsku = \"sku\"\nlocation = \"main\"\nin_stock = \"a\"\nallocated = \"b\"\n";
    let mapping = Arc::new(Mapping::read(mapping, Path::new(".")).expect("a mapping"));
    let database: Arc<dyn OldDatabase> = Arc::new(Database(shop.clone()));
    let progress = Arc::new(Progress::default());
    let parts = parts(desk, &database, &mapping, &progress);
    let keeper = Keeper::new(KeeperOptions {
        desk: desk.clone(),
        database,
        mapping,
        progress,
        parts,
        routes: Arc::new(NoRoutes),
        quiet_for: Duration::ZERO,
        compare_every: Duration::from_secs(3_600),
    });
    let (stop, stopping) = watch::channel(false);
    (stop, tokio::spawn(keeper.run(stopping)))
}

fn sku(name: &str) -> SkuId {
    SkuId::new(name).expect("a SKU")
}

fn place() -> LocationId {
    LocationId::new("main").expect("a location")
}

/// Waits for a condition that nobody tells of.
macro_rules! until {
    ($what:expr, $holds:expr) => {{
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !$holds {
            assert!(tokio::time::Instant::now() < deadline, $what);
            // A condition is looked at again; nobody tells it.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }};
}

#[tokio::test]
async fn a_hold_whose_order_waits_in_a_stream_that_stands_still_is_not_sold_again() {
    let mut world = World::leading(&["A"], 1).await;
    world.shop.stand_still(true);
    let reservation = world.reserve("A", 100).await.expect("the last one");
    world.shop.order(reservation);
    until!("it waits", world.waiting().await == 1);
    until!("the old database is asked, to no avail", world.shop.inner().questions > 1);
    assert_eq!(world.state_of(reservation).await, ReservationState::Held);
    assert!(world.reserve("A", 100).await.is_none(), "it is sold");

    // The deadline is past when Banyan starts, and the stream still stands still.
    world.restart().await;
    let before = world.shop.inner().questions;
    until!("it is asked again", world.shop.inner().questions > before);
    assert_eq!(world.state_of(reservation).await, ReservationState::Held);
    assert!(world.reserve("A", 100).await.is_none(), "it is sold");

    world.shop.stand_still(false);
    until!("it is booked", world.state_of(reservation).await == ReservationState::Committed);
    assert_eq!((world.refused().await, world.waiting().await), (0, 0));
    world.end().await;
}

#[tokio::test]
async fn a_hold_that_nobody_ordered_lapses_once_the_stream_has_shown_it() {
    let world = World::leading(&["A"], 2).await;
    let (first, second) = (world.reserve("A", 3_600_000).await, world.reserve("A", 100).await);
    assert_eq!(world.shop.inner().questions, 0, "nothing waits, nothing is asked");
    let (first, second) = (first.expect("one"), second.expect("two"));
    until!("it lapses", world.state_of(second).await == ReservationState::Expired);
    world.reserve("A", 100).await.expect("free again");
    assert_eq!(world.state_of(first).await, ReservationState::Held);
    world.end().await;
}

#[tokio::test]
async fn without_anybody_who_follows_holds_wait_unless_the_old_shop_is_gone() {
    let mut world = World::leading(&["A"], 2).await;
    world.stop.send(true).expect("it listens");
    (&mut world.running).await.expect("it ends");
    let left = world.reserve("A", 50).await.expect("one");
    until!("it waits", world.waiting().await == 1);
    let (stop, stopping) = watch::channel(false);
    let waits = tokio::spawn(unattended(world.desk.clone(), false, stopping.clone()));
    world.reserve("A", 3_600_000).await.expect("two");
    assert_eq!(world.state_of(left).await, ReservationState::Held);
    let gone = tokio::spawn(unattended(world.desk.clone(), true, stopping));
    until!("it lapses by the clock", world.state_of(left).await == ReservationState::Expired);
    stop.send(true).expect("they listen");
    waits.await.expect("it ends");
    gone.await.expect("it ends");
    world.desk.shard().shutdown();
}

#[tokio::test]
async fn a_move_back_drains_holds_that_wait() {
    let world = World::leading(&["A"], 2).await;
    world.shop.stand_still(true);
    let [sold, left] =
        [world.reserve("A", 100).await.expect("one"), world.reserve("A", 100).await.expect("two")];
    world.shop.order(sold);
    until!("both wait", world.waiting().await == 2);
    let (by, reason) = (Actor::new("op").expect("a name"), Reason::new("").expect("words"));
    let begin =
        Command::BeginMove { capability: STOCK, from: None, to: Phase::Mirror, by, reason, without: vec![] };
    world.desk.ask(begin).await.expect("begun");
    world.shop.stand_still(false);
    until!("one is booked", world.state_of(sold).await == ReservationState::Committed);
    until!("one lapses", world.state_of(left).await == ReservationState::Expired);
    world.running.abort();
    world.desk.shard().shutdown();
}

/// Found by reading: each row of a bulk update was a block of its own, and the stream stood still meanwhile.
#[tokio::test]
async fn a_bulk_write_of_somebody_else_is_few_events_and_every_row_is_put_right() {
    let names: Vec<String> = (0..450).map(|n| format!("S{n}")).collect();
    let items: Vec<&str> = names.iter().map(String::as_str).collect();
    let world = World::leading(&items, 5).await;
    let row = |sku: &str, in_stock| Row {
        table: 0,
        sku: sku.into(),
        location: "main".into(),
        in_stock: Some(in_stock),
        allocated: Some(0),
    };
    let change = |name: &&str| Change::Update { before: Some(row(name, 5)), after: row(name, 6) };
    let changes: Vec<Change> = items.iter().map(change).collect();
    until!("everything is written out once", world.shop.inner().written.len() >= items.len());
    world.shop.inner().written.clear();
    let before = world.desk.look(banyan_domain::State::seq).await.expect("it runs");
    world.shop.commit(Transaction { changes, ..Transaction::default() });
    // And many small ones, which come together.
    for name in &items[..50] {
        world.shop.commit(Transaction { changes: vec![change(name)], ..Transaction::default() });
    }
    until!("all are counted", world.breaches().await == 500);
    let events = world.desk.look(banyan_domain::State::seq).await.expect("it runs") - before;
    assert!(events < 150, "{events} events for 500 writes");
    let written = || {
        let inner = world.shop.inner();
        let right = inner.written.iter().filter(|row| row.in_stock == 5);
        right.map(|row| row.sku.clone()).collect::<std::collections::BTreeSet<_>>().len()
    };
    until!("every row is put right", written() == items.len());
    world.end().await;
}
