//! Every move, broken off at every question that is asked of the old database, before and after it takes effect, and gone on
//! with by a driver that knows nothing of the first; and every move given up at every step.

use banyan_domain::legacy::{
    Capability, CapabilityState, Command, MirrorRow, MoveStep, Phase, SourceBatch, SourceId,
};
use banyan_domain::stock::{self, Line, Lines};
use banyan_domain::{Actor, LocationId, Millis, Outcome, Reason, Refusal, ReservationNo, SkuId, legacy};
use banyan_engine::{CoreOptions, DirectReplies, Shard, ShardOptions, start, wall_clock};
use banyan_legacy::{
    Book, BoxFuture, ChangeStream, Comparer, Desk, DeskError, Door, DriveError, Driver, Finding, Hold,
    LegacyError, OldDatabase, Page, PageKey, Progress, SourceId as StreamSource, SqlReference, Stage,
    StreamHealth, Switch, Switched, TargetRow, Written, steps,
};
use banyan_log::{DiskLog, DiskOptions, MemoryStorage};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

const STOCK: Capability = Capability::Stock;

/// When a question breaks off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Break {
    /// The connection is gone before it is asked.
    Before,
    /// It took effect, and the answer is lost.
    After,
}

/// An old database as far as moves ask it.
#[derive(Default)]
struct OldShop(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    book: Option<Book>,
    position: u64,
    /// Changes of the bookkeeping row that the stream has not told yet.
    untold: Vec<(u64, Book)>,
    questions: u32,
    fuse: Option<(u32, Break)>,
    has_stream: bool,
}

impl OldShop {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no test panics with it")
    }

    /// Asks one question that may break off.
    fn ask<T>(&self, effect: impl FnOnce(&mut Inner) -> T) -> Result<T, LegacyError> {
        let mut inner = self.inner();
        inner.questions += 1;
        let broken = || LegacyError::Broken("cut".into());
        let breaks = inner.fuse.filter(|(at, _)| *at == inner.questions).map(|(_, how)| how);
        if breaks == Some(Break::Before) {
            return Err(broken());
        }
        let answer = effect(&mut inner);
        if breaks == Some(Break::After) { Err(broken()) } else { Ok(answer) }
    }
}

struct HeldDoor {
    shop: Arc<OldShop>,
    position: u64,
}

impl Door for HeldDoor {
    fn position(&self) -> u64 {
        self.position
    }

    fn switch(self: Box<Self>, ask: Switch) -> BoxFuture<'static, Result<Switched, LegacyError>> {
        Box::pin(async move {
            self.shop.ask(|inner| {
                let book = inner.book.expect("made by create");
                if book.epoch != ask.epoch || book.move_no >= ask.move_no || book.seq < ask.seq_at_least {
                    return Switched::Refused("the row has changed".into());
                }
                inner.position += 10;
                let new = Book { phase: ask.to, epoch: book.epoch + 1, move_no: ask.move_no, seq: book.seq };
                inner.book = Some(new);
                let position = inner.position;
                inner.untold.push((position, new));
                Switched::Done(new)
            })
        })
    }
}

/// The old database of a shop, for whoever may hold its door.
struct Database(Arc<OldShop>);

impl OldDatabase for Database {
    fn check(&self) -> BoxFuture<'_, Vec<Finding>> {
        Box::pin(async { vec![Finding::ok("settings", "as they should be")] })
    }

    fn create(&self) -> BoxFuture<'_, Result<Vec<String>, LegacyError>> {
        let made = Book { phase: Phase::Legacy, epoch: 0, seq: 0, move_no: 0 };
        Box::pin(async move {
            self.0.ask(|inner| {
                inner.book.get_or_insert(made);
                inner.has_stream = true;
                vec!["made".to_owned()]
            })
        })
    }

    fn book(&self) -> BoxFuture<'_, Result<Option<Book>, LegacyError>> {
        Box::pin(async { self.0.ask(|inner| inner.book) })
    }

    fn hold(&self, _: Duration) -> BoxFuture<'_, Result<Hold, LegacyError>> {
        Box::pin(async {
            let position = self.0.ask(|inner| inner.position)?;
            Ok(Hold::Held(Box::new(HeldDoor { shop: self.0.clone(), position })))
        })
    }

    fn drop_stream(&self) -> BoxFuture<'_, Result<(), LegacyError>> {
        Box::pin(async { self.0.ask(|inner| inner.has_stream = false) })
    }

    fn write<'a>(
        &'a self,
        _: &'a [TargetRow],
        _: u64,
        _: u64,
    ) -> BoxFuture<'a, Result<Written, LegacyError>> {
        Box::pin(async { self.0.ask(|_| Written::Done { absent: vec![] }) })
    }

    fn stream<'a>(
        &'a self,
        _: Option<(StreamSource, u64)>,
    ) -> BoxFuture<'a, Result<Box<dyn ChangeStream>, LegacyError>> {
        unreachable!("no move reads the stream")
    }

    fn read_page<'a>(
        &'a self,
        _: usize,
        _: Option<&'a PageKey>,
        _: u32,
    ) -> BoxFuture<'a, Result<Page, LegacyError>> {
        unreachable!("no move reads rows")
    }

    fn read_items<'a>(
        &'a self,
        _: &'a [(usize, String, String)],
    ) -> BoxFuture<'a, Result<Page, LegacyError>> {
        unreachable!("no move reads rows")
    }

    fn health(&self) -> BoxFuture<'_, Result<StreamHealth, LegacyError>> {
        unreachable!("no move asks for it")
    }

    fn references(&self) -> BoxFuture<'_, Result<Option<Vec<SqlReference>>, LegacyError>> {
        unreachable!("no move asks for it")
    }

    fn clear_outbox<'a>(&'a self, _: &'a [i64]) -> BoxFuture<'a, Result<u64, LegacyError>> {
        unreachable!("no move asks for it")
    }
}

struct Equal;

impl Comparer for Equal {
    fn compare(&self, _: bool) -> BoxFuture<'_, Result<(u64, u64), String>> {
        Box::pin(async { Ok((2, 0)) })
    }
}

/// A shard, an old shop, and what goes on between them.
struct World {
    desk: Desk,
    shop: Arc<OldShop>,
    progress: Arc<Progress>,
}

impl World {
    fn new() -> Self {
        let disk = DiskOptions { segment_bytes: 8 << 20, block_bytes_max: 2 << 20, ..DiskOptions::default() };
        let log = DiskLog::open(Arc::new(MemoryStorage::new()), disk).expect("a log");
        let core = CoreOptions { digest_events: 16, ..CoreOptions::default() };
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
        let shop = Arc::new(OldShop(Mutex::new(Inner { position: 100, ..Inner::default() })));
        Self { desk: Desk::new(shard), shop, progress: Arc::default() }
    }

    /// A driver that knows nothing of those before it.
    fn driver(&self) -> Driver {
        Driver {
            desk: self.desk.clone(),
            database: Arc::new(Database(self.shop.clone())),
            progress: self.progress.clone(),
            comparer: Arc::new(Equal),
            flush_goal: Mutex::default(),
        }
    }

    async fn state(&self) -> CapabilityState {
        self.desk.look(|state| state.legacy().capability(STOCK)).await.expect("it runs")
    }

    async fn ask(&self, command: impl Into<banyan_domain::Command>) -> Outcome {
        self.desk.ask(command).await.expect("done")
    }

    /// What the stream in and the sync out would have done by now.
    async fn sync(&self) {
        let state = self.state().await;
        let source = SourceId { system: "s".into(), stream: "banyan".into() };
        let copies = state.source.is_none() && state.has_noted(MoveStep::Prepared);
        if copies {
            let position = self.shop.inner().position;
            self.ask(Command::SetSource { capability: STOCK, source: source.clone(), position }).await;
            let row = |name: &str| MirrorRow { sku: sku(name), location: place(), in_stock: 5, allocated: 0 };
            self.apply(&source, position, vec![row("A"), row("B")], None).await;
            self.ask(Command::EndCopy { capability: STOCK }).await;
        }
        let untold = std::mem::take(&mut self.shop.inner().untold);
        for (position, book) in untold {
            if state.source.is_some() || copies {
                self.apply(&source, position, vec![], Some((book.move_no, book.phase))).await;
            }
        }
        self.progress.applied(self.shop.inner().position);
        let seq = self.desk.look(banyan_domain::State::seq).await.expect("it runs");
        self.progress.wrote(seq, 0, 0);
    }

    async fn apply(
        &self,
        source: &SourceId,
        position: u64,
        rows: Vec<MirrorRow>,
        switched: Option<(u64, Phase)>,
    ) {
        let (capability, source, outbox) = (STOCK, source.clone(), vec![]);
        let batch = SourceBatch { capability, source, position, part: 1, rows, outbox, switched };
        self.ask(Command::ApplySource(Box::new(batch))).await;
    }

    async fn begin(&self, to: Phase) -> u64 {
        let (by, reason) = (Actor::new("op").expect("a name"), text("a test"));
        match self
            .ask(Command::BeginMove { capability: STOCK, from: None, to, by, reason, without: vec![] })
            .await
        {
            Outcome::Legacy(legacy::Outcome::Move { number }) => number,
            other => panic!("{other:?}"),
        }
    }

    /// Goes on with the move under way until it is over. Each break takes the driver with it.
    async fn finish(&self) {
        let mut driver = self.driver();
        for _ in 0..100 {
            if self.state().await.moving.is_none() {
                return;
            }
            match driver.step().await {
                Ok(_) => {}
                Err(DriveError::Old(LegacyError::Broken(_))) => driver = self.driver(),
                Err(other) => panic!("{other}"),
            }
            self.sync().await;
        }
        panic!("the move does not end: {:?}", self.state().await);
    }

    /// That both sides say the same, and that Banyan decides exactly where it leads.
    async fn check(&self, phase: Phase) {
        let state = self.state().await;
        assert_eq!(state.phase, phase);
        let book = self.shop.inner().book.expect("made");
        assert_eq!(book.phase, phase, "the old database says the same");
        assert!(book.move_no == state.epoch || state.moves > state.epoch, "{book:?} {state:?}");
        match self.reserve().await {
            Ok(reservation) => {
                assert!(phase.leads(), "it decided in {phase:?}");
                self.ask(stock::Command::ReleaseReservation { reservation }).await;
            }
            Err(refusal) => {
                assert!(!phase.leads(), "it refused in {phase:?}: {refusal:?}");
                assert_eq!(refusal, Refusal::Legacy(legacy::Refusal::NotLeading));
            }
        }
    }

    async fn reserve(&self) -> Result<ReservationNo, Refusal> {
        let lines = Lines::new(vec![Line { sku: sku("A"), location: None, quantity: 1 }]).expect("lines");
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

fn place() -> LocationId {
    LocationId::new("main").expect("a location")
}

fn text(text: &str) -> Reason {
    Reason::new(text).expect("a reason")
}

/// There and back by every move there is.
const WAY: [Phase; 8] = [
    Phase::Mirror,
    Phase::Lead,
    Phase::Retired,
    Phase::Lead,
    Phase::Mirror,
    Phase::Legacy,
    Phase::Mirror,
    Phase::Lead,
];

#[tokio::test]
async fn every_move_is_done_however_it_is_broken_off() {
    let world = World::new();
    for to in WAY {
        world.begin(to).await;
        world.finish().await;
        world.check(to).await;
    }
    let questions = world.shop.inner().questions;
    assert!(questions > 20, "the way asks the old database: {questions}");
    // Breaking off adds questions, so some breaks late on hit nothing; none is left out.
    for at in 1..=questions {
        for how in [Break::Before, Break::After] {
            let world = World::new();
            world.shop.inner().fuse = Some((at, how));
            for to in WAY {
                world.begin(to).await;
                world.finish().await;
                world.check(to).await;
            }
        }
    }
}

#[tokio::test]
async fn every_move_can_be_given_up_at_every_step_or_is_done() {
    for (place, to) in WAY.into_iter().enumerate() {
        let from = if place == 0 { Phase::Legacy } else { WAY[place - 1] };
        // Beyond the last step: twice the switch, once noted and once sent.
        for given_up_after in 0..=steps(from, to).len() + 1 {
            let world = World::new();
            for before in &WAY[..place] {
                world.begin(*before).await;
                world.finish().await;
            }
            world.begin(to).await;
            let driver = world.driver();
            for _ in 0..given_up_after {
                let stage = driver.step().await.expect("nothing breaks here");
                if !matches!(stage, Stage::Stepped(MoveStep::Switched))
                    && world.state().await.moving.is_some()
                {
                    world.sync().await;
                }
            }
            let under_way = world.state().await.moving.is_some();
            match world.driver().abort(text("changed our minds")).await {
                Ok(()) => {
                    world.sync().await;
                    assert!(world.state().await.moving.is_none());
                    let made = world.shop.inner().book.is_some();
                    if made {
                        world.check(from).await;
                    }
                    let kept = world.shop.inner().has_stream;
                    assert!(
                        from != Phase::Legacy || !kept,
                        "the old database keeps nothing for a move that was given up"
                    );
                    // It can be begun again, and then it is done.
                    world.begin(to).await;
                }
                Err(DriveError::Person(_)) => {
                    assert!(!under_way || world.state().await.has_noted(MoveStep::Switched));
                }
                Err(other) => panic!("{other}"),
            }
            world.finish().await;
            world.check(to).await;
        }
    }
}

#[tokio::test]
async fn going_back_waits_for_what_is_reserved() {
    let world = World::new();
    for to in [Phase::Mirror, Phase::Lead] {
        world.begin(to).await;
        world.finish().await;
    }
    let reservation = world.reserve().await.expect("it leads");
    world.begin(Phase::Mirror).await;
    let driver = world.driver();
    driver.step().await.expect("checked");
    let Stage::Waiting(why) = driver.step().await.expect("it waits") else { panic!("it does not wait") };
    assert!(why.starts_with("1 reservations are open"), "{why}");
    world.ask(stock::Command::CommitReservation { reservation }).await;
    world.finish().await;
    world.check(Phase::Mirror).await;
}

#[tokio::test]
async fn the_door_is_let_go_if_the_sides_do_not_catch_up() {
    let world = World::new();
    for to in [Phase::Mirror, Phase::Lead] {
        world.begin(to).await;
        world.finish().await;
    }
    world.begin(Phase::Mirror).await;
    let driver = world.driver();
    driver.step().await.expect("checked");
    driver.step().await.expect("drained");
    driver.step().await.expect("noted");
    // The sync out stands still from here on.
    tokio::time::pause();
    let Stage::Resting(why) = driver.step().await.expect("it rests") else { panic!("it does not rest") };
    assert!(why.contains("the door was let go"), "{why}");
    assert_eq!(world.shop.inner().book.expect("made").phase, Phase::Lead, "nothing was handed back");
    tokio::time::resume();
    world.finish().await;
    world.check(Phase::Mirror).await;
}

#[tokio::test]
async fn banyan_is_handed_the_lead_only_when_everything_before_the_door_is_here() {
    let world = World::new();
    world.begin(Phase::Mirror).await;
    world.finish().await;
    let number = world.begin(Phase::Lead).await;
    let driver = world.driver();
    for _ in 0..3 {
        driver.step().await.expect("on the way");
    }
    // The last order of the old shop is committed, and still on its way here.
    world.shop.inner().position += 7;
    tokio::time::pause();
    let Stage::Resting(why) = driver.step().await.expect("it rests") else { panic!("it does not rest") };
    assert!(why.contains("the door was let go"), "{why}");
    assert_eq!(world.shop.inner().book.expect("made").phase, Phase::Mirror, "nothing was handed over");
    tokio::time::resume();
    let arriving = world.shop.inner().position;
    let step = tokio::spawn(async move { driver.step().await });
    world.progress.applied(arriving);
    step.await.expect("it does not panic").expect("it is here");
    let book = world.shop.inner().book.expect("made");
    assert_eq!((book.phase, book.move_no), (Phase::Lead, number));
    world.finish().await;
    world.check(Phase::Lead).await;
}

#[tokio::test]
async fn a_move_does_not_take_the_lead_from_somebody_who_took_it_back_by_hand() {
    for to in [Phase::Retired, Phase::Mirror] {
        let world = World::new();
        for before in [Phase::Mirror, Phase::Lead] {
            world.begin(before).await;
            world.finish().await;
        }
        world.begin(to).await;
        let driver = world.driver();
        while !matches!(driver.step().await, Ok(Stage::Stepped(MoveStep::Switched))) {
            world.sync().await;
        }
        let row = Book { phase: Phase::Legacy, epoch: 9, seq: 0, move_no: 2 };
        world.shop.inner().book = Some(row);
        let error = driver.step().await.expect_err("it stops");
        assert!(matches!(&error, DriveError::Person(why) if why.contains("by hand")), "{error}");
        assert_eq!(world.shop.inner().book, Some(row), "the row is left as it is");
        let state = world.state().await;
        assert_eq!((state.phase, state.moving), (Phase::Mirror, None));
        assert_eq!(world.reserve().await, Err(Refusal::Legacy(legacy::Refusal::NotLeading)));
        assert_eq!(driver.step().await.expect("nothing to do"), Stage::Idle);
    }
}

#[tokio::test]
async fn a_bookkeeping_row_that_somebody_else_wrote_stops_the_move() {
    let world = World::new();
    world.begin(Phase::Mirror).await;
    world.finish().await;
    let number = world.begin(Phase::Lead).await;
    let driver = world.driver();
    for _ in 0..3 {
        driver.step().await.expect("on the way");
    }
    let book = Book { phase: Phase::Retired, epoch: 9, seq: 0, move_no: number };
    world.shop.inner().book = Some(book);
    let error = driver.step().await.expect_err("it stops");
    assert!(matches!(&error, DriveError::Person(why) if why.contains("put it right")), "{error}");
}
