//! A copy of the old tables, begun at every moment of a move and broken off after every item of it: what its rows mean, who leads
//! after it, and what nobody asked for.

use banyan_domain::legacy::{Capability, CapabilityState, Command, Phase};
use banyan_domain::stock::{self, Line, Lines};
use banyan_domain::{Actor, LocationId, Millis, Outcome, Reason, Refusal, ReservationNo, SkuId, legacy};
use banyan_engine::{CoreOptions, DirectReplies, Shard, ShardOptions, start, wall_clock};
use banyan_legacy::{
    Book, BoxFuture, ChangeStream, Desk, DeskError, Finding, Halt, Hold, Item, LegacyError, Mapping,
    OldDatabase, OutboxRow, Page, PageKey, Progress, Row, SourceId, SqlReference, StreamHealth, TargetRow,
    Transaction, Written, parts,
};
use banyan_log::{DiskLog, DiskOptions, MemoryStorage};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

const STOCK: Capability = Capability::Stock;
/// How long a test waits for something that must come. A loaded machine is slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the old database has.
#[derive(Default)]
struct Inner {
    book: Option<Book>,
    rows: Vec<(&'static str, i64, i64)>,
    outbox: Vec<OutboxRow>,
    /// Transactions that follow the next copy.
    follow: Vec<Transaction>,
    position: u64,
    /// The next copy breaks off after so many items.
    cut: Option<usize>,
    copies: usize,
}

#[derive(Clone, Default)]
struct Old(Arc<Mutex<Inner>>);

struct Script(VecDeque<Result<Item, LegacyError>>);

impl ChangeStream for Script {
    fn next(&mut self) -> BoxFuture<'_, Result<Item, LegacyError>> {
        Box::pin(async {
            match self.0.pop_front() {
                Some(item) => item,
                None => std::future::pending().await,
            }
        })
    }

    fn acknowledge(&mut self, _: u64) {}
}

impl Old {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no test panics with it")
    }

    fn copy(&self) -> Script {
        let mut inner = self.inner();
        inner.copies += 1;
        inner.position += 10;
        let source = SourceId { system: "s".into(), stream: format!("copy {}", inner.copies) };
        let row = |&(sku, in_stock, allocated): &(&str, i64, i64)| Row {
            table: 0,
            sku: sku.into(),
            location: "main".into(),
            in_stock: Some(in_stock),
            allocated: Some(allocated),
        };
        let mut items = VecDeque::new();
        items.push_back(Ok(Item::SnapshotBegin { source, position: inner.position, book: inner.book }));
        if !inner.outbox.is_empty() {
            items.push_back(Ok(Item::Outbox(inner.outbox.clone())));
        }
        items.extend(inner.rows.iter().map(|one| Ok(Item::Rows(vec![row(one)]))));
        items.push_back(Ok(Item::SnapshotEnd));
        if let Some(cut) = inner.cut.take() {
            items.truncate(cut);
            items.push_back(Err(LegacyError::Broken("cut".into())));
            return Script(items);
        }
        for mut transaction in std::mem::take(&mut inner.follow) {
            inner.position += 1;
            (transaction.position, transaction.part, transaction.last) = (inner.position, 1, true);
            inner.book = transaction.switched.or(inner.book);
            items.push_back(Ok(Item::Transaction(transaction)));
        }
        Script(items)
    }
}

impl OldDatabase for Old {
    fn check(&self) -> BoxFuture<'_, Vec<Finding>> {
        unreachable!("no copy looks at the settings")
    }

    fn create(&self) -> BoxFuture<'_, Result<Vec<String>, LegacyError>> {
        unreachable!("no copy makes anything")
    }

    fn book(&self) -> BoxFuture<'_, Result<Option<Book>, LegacyError>> {
        Box::pin(async { Ok(self.inner().book) })
    }

    fn hold(&self, _: Duration) -> BoxFuture<'_, Result<Hold, LegacyError>> {
        unreachable!("no copy switches")
    }

    fn write<'a>(
        &'a self,
        _: &'a [TargetRow],
        _: u64,
        _: u64,
    ) -> BoxFuture<'a, Result<Written, LegacyError>> {
        unreachable!("no copy writes")
    }

    /// The slot is lost each time.
    fn stream<'a>(
        &'a self,
        from: Option<(SourceId, u64)>,
    ) -> BoxFuture<'a, Result<Box<dyn ChangeStream>, LegacyError>> {
        Box::pin(async move {
            match from {
                None => Ok(Box::new(self.copy()) as Box<dyn ChangeStream>),
                Some(_) => Err(LegacyError::SourceUnknown("the slot is gone".into())),
            }
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

    fn clear_outbox<'a>(&'a self, ids: &'a [i64]) -> BoxFuture<'a, Result<u64, LegacyError>> {
        Box::pin(async move {
            self.inner().outbox.retain(|row| !ids.contains(&row.id));
            Ok(ids.len() as u64)
        })
    }
}

/// A shard beside the old database.
struct World {
    desk: Desk,
    old: Old,
    mapping: Arc<Mapping>,
}

impl World {
    fn new() -> Self {
        let disk = DiskOptions { segment_bytes: 8 << 20, block_bytes_max: 2 << 20, ..DiskOptions::default() };
        let log = DiskLog::open(Arc::new(MemoryStorage::new()), disk).expect("a log");
        let core = CoreOptions { digest_events: 4, ..CoreOptions::default() };
        let started =
            start(Box::new(log), None, core, None, wall_clock(), &mut |_, _| {}).expect("it starts");
        let options = ShardOptions {
            pace: Duration::ZERO,
            on_fatal: Box::new(|why| {
                eprintln!("{why}");
                std::process::exit(70);
            }),
            ..ShardOptions::default()
        };
        let shard = Shard::spawn(started, Box::new(DirectReplies), options).expect("threads start");
        let text = "capability = \"stock\"\n[database]\nkind = \"postgres\"\nurl_env = \"X\"\n[[table]]\nname = \"t\"\n\
             key = [\"id\"]\nsku = \"sku\"\nlocation = \"main\"\nin_stock = \"a\"\nallocated = \"b\"\n";
        let mapping = Arc::new(Mapping::read(text, Path::new(".")).expect("well-formed"));
        Self { desk: Desk::new(shard), old: Old::default(), mapping }
    }

    /// In phase `mirror` with A at 5 and B at 3, by a first copy. Whatever is sold later, A is sold.
    async fn mirroring() -> Self {
        let world = Self::new();
        world.old.inner().book = Some(Book { phase: Phase::Legacy, epoch: 0, seq: 0, move_no: 0 });
        world.old.inner().rows = vec![("A", 5, 0), ("B", 3, 0)];
        let number = world.begin(Phase::Mirror).await;
        world.copied(&[("A", 5, 0), ("B", 3, 0)]).await;
        world.ask(Command::FinishMove { capability: STOCK, number }).await;
        world.says(Phase::Mirror, number);
        world
    }

    /// In phase `lead`, told by the stream.
    async fn leading() -> Self {
        let world = Self::mirroring().await;
        let number = world.begin(Phase::Lead).await;
        let book = Book { phase: Phase::Lead, epoch: 2, seq: 0, move_no: number };
        world.old.inner().follow = vec![Transaction { switched: Some(book), ..Transaction::default() }];
        world.until(|state| state.phase == Phase::Lead).await;
        world
    }

    /// The bookkeeping row from now on.
    fn says(&self, phase: Phase, move_no: u64) {
        let mut inner = self.old.inner();
        let epoch = inner.book.map_or(0, |book| book.epoch + 1);
        inner.book = Some(Book { phase, epoch, seq: 0, move_no });
    }

    fn tells(&self, id: i64, kind: &str, body: &str) {
        self.old.inner().outbox.push(OutboxRow { id, kind: kind.into(), body: body.into() });
    }

    async fn begin(&self, to: Phase) -> u64 {
        let (by, reason) = (Actor::new("op").expect("a name"), Reason::new("a test").expect("a reason"));
        match self
            .ask(Command::BeginMove { capability: STOCK, from: None, to, by, reason, without: vec![] })
            .await
        {
            Outcome::Legacy(legacy::Outcome::Move { number }) => number,
            other => panic!("{other:?}"),
        }
    }

    async fn ask(&self, command: impl Into<banyan_domain::Command>) -> Outcome {
        self.desk.ask(command).await.expect("done")
    }

    async fn state(&self) -> CapabilityState {
        self.desk.look(|state| state.legacy().capability(STOCK)).await.expect("it runs")
    }

    /// Follows the stream, with a reader that knows nothing of those before it, until `holds`.
    async fn until(&self, holds: impl Fn(&CapabilityState) -> bool) {
        let (stop, stopping) = watch::channel(false);
        let running = tokio::spawn(self.inward(stopping));
        let end = Instant::now() + PATIENCE;
        loop {
            let state = self.state().await;
            if holds(&state) {
                break;
            }
            assert!(Instant::now() < end && !running.is_finished(), "waited in vain: {state:?}");
            // A condition is looked at again.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.send_replace(true);
        assert_eq!(running.await.expect("it ends"), Halt::Stopped);
    }

    fn inward(&self, stopping: watch::Receiver<bool>) -> BoxFuture<'static, Halt> {
        let database: Arc<dyn OldDatabase> = Arc::new(self.old.clone());
        (parts(&self.desk, &database, &self.mapping, &Arc::new(Progress::default())).inward)(stopping)
    }

    /// Follows until one more copy is through; then the books must be these.
    async fn copied(&self, books: &[(&str, i64, i64)]) {
        let before = self.old.inner().copies;
        let through = |state: &CapabilityState| {
            let copies = self.old.inner().copies;
            let of = |copy: usize| format!("copy {copy}");
            let source = state.source.as_ref().filter(|source| !source.copying);
            copies > before && source.is_some_and(|source| *source.id.stream == *of(copies))
        };
        self.until(through).await;
        self.check(books).await;
    }

    async fn check(&self, books: &[(&str, i64, i64)]) {
        for &(name, in_stock, allocated) in books {
            let (sku, place) = (sku(name), LocationId::new("main").expect("a place"));
            let look = move |state: &banyan_domain::State| {
                let level = state.mirror_level(state.stock().find(&sku, &place)?)?;
                Some((level.in_stock(), level.taken()))
            };
            let found = self.desk.look(look).await.expect("it runs");
            assert_eq!(found, Some((in_stock, allocated)), "{name}");
        }
    }

    async fn reserve(&self, name: &str) -> Result<ReservationNo, Refusal> {
        let lines = Lines::new(vec![Line { sku: sku(name), location: None, quantity: 1 }]).expect("lines");
        let hold_for = Millis::new(120_000);
        match self.desk.ask(stock::Command::Reserve { lines, member: None, order: None, hold_for }).await {
            Ok(Outcome::Stock(stock::Outcome::Reservation(answer))) => Ok(answer.reservation),
            Err(DeskError::Refused(refusal)) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }
}

fn sku(name: &str) -> SkuId {
    SkuId::new(name).expect("a SKU")
}

const NOT_LEADING: Result<ReservationNo, Refusal> = Err(Refusal::Legacy(legacy::Refusal::NotLeading));
const SHIP: &str = r#"{"sku": "A", "quantity": 1}"#;
/// More items than any of these copies has: a cut there hits nothing.
const ITEMS: usize = 6;

#[tokio::test]
async fn a_switch_to_banyan_whose_slot_was_lost_is_applied_with_the_copy_after_the_last_sales_of_the_old_shop()
 {
    for cut in 0..=ITEMS {
        let world = World::mirroring().await;
        let number = world.begin(Phase::Lead).await;
        // Sold just before the switch; C is new and B is gone; after the switch one of A was shipped. None of it is in any stream.
        world.old.inner().rows = vec![("A", 5, 2), ("C", 1, 0)];
        world.tells(1, "ship", SHIP);
        world.says(Phase::Lead, number);
        world.old.inner().cut = Some(cut);
        world.copied(&[("A", 4, 1), ("B", 0, 0), ("C", 1, 0)]).await;
        let state = world.state().await;
        assert_eq!((state.phase, state.moving, state.epoch), (Phase::Lead, None, number), "cut {cut}");
        assert_eq!(world.old.inner().outbox, [], "what was said is done");
        world.reserve("A").await.expect("Banyan decides");
        // The same copy once more: its rows are Banyan's own now, perhaps lagging.
        world.copied(&[("A", 4, 2), ("B", 0, 0), ("C", 1, 0)]).await;
        assert_eq!(world.state().await.phase, Phase::Lead);
    }
}

#[tokio::test]
async fn a_switch_back_whose_slot_was_lost_is_applied_with_the_copy_before_what_the_old_shop_decided_since() {
    for cut in 0..=ITEMS {
        let world = World::leading().await;
        let number = world.begin(Phase::Mirror).await;
        world.old.inner().rows = vec![("A", 7, 2), ("C", 1, 0)];
        world.tells(1, "ship", SHIP);
        world.says(Phase::Mirror, number);
        world.old.inner().cut = Some(cut);
        world.copied(&[("A", 7, 2), ("B", 0, 0), ("C", 1, 0)]).await;
        let state = world.state().await;
        assert_eq!((state.phase, state.moving, state.epoch), (Phase::Mirror, None, number), "cut {cut}");
        assert_eq!(state.taken_over, None, "a move of ours asked for it");
        assert_eq!(world.reserve("A").await, NOT_LEADING);
        world.old.inner().rows = vec![("A", 6, 2), ("B", 2, 0), ("C", 1, 0)];
        world.copied(&[("A", 6, 2), ("B", 2, 0), ("C", 1, 0)]).await;
    }
}

#[tokio::test]
async fn rows_of_a_copy_do_not_overwrite_what_banyan_leads_nor_end_a_move_that_was_not_told_yet() {
    let world = World::leading().await;
    world.reserve("A").await.expect("Banyan decides");
    world.old.inner().rows = vec![("A", 99, 0), ("Z", 1, 0)];
    world.copied(&[("A", 5, 1), ("B", 3, 0)]).await;
    let number = world.begin(Phase::Mirror).await;
    world.copied(&[("A", 5, 1), ("B", 3, 0)]).await;
    let state = world.state().await;
    assert_eq!((state.phase, state.moving.map(|moving| moving.number)), (Phase::Lead, Some(number)));
}

#[tokio::test]
async fn a_copy_before_the_switch_to_banyan_leaves_the_move_under_way() {
    let world = World::mirroring().await;
    let number = world.begin(Phase::Lead).await;
    world.old.inner().rows = vec![("A", 5, 2), ("B", 3, 0)];
    world.copied(&[("A", 5, 2), ("B", 3, 0)]).await;
    assert_eq!(world.reserve("A").await, NOT_LEADING);
    let state = world.state().await;
    assert_eq!((state.phase, state.moving.map(|moving| moving.number)), (Phase::Mirror, Some(number)));
}

#[tokio::test]
async fn the_lead_taken_back_by_hand_is_seen_in_a_copy_and_the_old_values_win() {
    for cut in 0..=ITEMS {
        let world = World::leading().await;
        let number = world.state().await.epoch;
        let sold = world.reserve("A").await.expect("Banyan decides");
        world.reserve("B").await.expect("Banyan decides");
        // The order for the one is there, and was not told before Banyan was lost.
        world.tells(1, "allocate", &format!("{{\"reservation\": \"{sold}\"}}"));
        world.old.inner().rows = vec![("A", 5, 3), ("B", 1, 0)];
        world.says(Phase::Legacy, number);
        world.old.inner().cut = Some(cut);
        // Of B one stays reserved until it ends: the old shop does not know of it.
        world.copied(&[("A", 5, 3), ("B", 1, 1)]).await;
        let state = world.state().await;
        assert_eq!(state.phase, Phase::Mirror, "cut {cut}");
        assert!(state.taken_over.is_some_and(|takeover| takeover.phase == Phase::Legacy));
        assert_eq!(world.reserve("A").await, NOT_LEADING);
    }
}

#[tokio::test]
async fn the_lead_taken_back_by_hand_is_seen_in_the_stream_and_the_rows_are_copied_anew() {
    let world = World::leading().await;
    let number = world.state().await.epoch;
    world.old.inner().rows = vec![("A", 4, 4), ("B", 3, 0)];
    let book = Book { phase: Phase::Legacy, epoch: 3, seq: 0, move_no: number };
    world.old.inner().follow = vec![Transaction { switched: Some(book), ..Transaction::default() }];
    let copies = world.old.inner().copies;
    // The copy before it is still one of phase lead, and the row in it says so.
    world
        .until(|state| state.taken_over.is_some() && state.source.as_ref().is_some_and(|s| !s.copying))
        .await;
    assert_eq!(world.old.inner().copies, copies + 2);
    world.check(&[("A", 4, 4), ("B", 3, 0)]).await;
    assert_eq!(world.reserve("A").await, NOT_LEADING);
}

#[tokio::test]
async fn a_row_that_says_lead_without_any_move_of_ours_stops_the_copy_and_says_what_to_do() {
    let world = World::mirroring().await;
    world.says(Phase::Lead, 7);
    let (_stop, stopping) = watch::channel(false);
    let halt = tokio::time::timeout(PATIENCE, world.inward(stopping)).await.expect("it halts");
    assert!(matches!(&halt, Halt::Trouble(why) if why.contains("set phase to 'mirror'")), "{halt:?}");
    world.check(&[("A", 5, 0), ("B", 3, 0)]).await;
    assert_eq!(world.reserve("A").await, NOT_LEADING);
}
