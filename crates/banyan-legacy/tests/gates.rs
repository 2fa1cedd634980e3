//! The gates of moves, with a keeper whose old database is a double: what they saw when a move was asked for may not be so any more when
//! it comes to it.

use banyan_domain::legacy::{
    Capability, CapabilityState, Command, MirrorRow, MoveStep, Phase, SourceBatch, SourceId,
};
use banyan_domain::{Actor, LocationId, Outcome, SkuId};
use banyan_engine::{CoreOptions, DirectReplies, Shard, ShardOptions, start, wall_clock};
use banyan_legacy::{
    BeginError, Book, BoxFuture, ChangeStream, Comparer, Desk, Door, Finding, Halt, Hold, Keeper,
    KeeperOptions, LegacyError, Mapping, NoRoutes, OldDatabase, Page, PageKey, Parts, Progress,
    SourceId as StreamSource, SqlReference, StreamHealth, Switch, Switched, TargetRow, Written,
};
use banyan_log::{DiskLog, DiskOptions, MemoryStorage};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

const STOCK: Capability = Capability::Stock;
/// How long a test waits for something that must come. A loaded machine is slow.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(5);

#[derive(Default)]
struct Inner {
    book: Option<Book>,
    position: u64,
    untold: Vec<(u64, Book)>,
    references: Vec<SqlReference>,
    retained_bytes: u64,
    drops: usize,
    /// Whether the copy gets on, and whether anybody hears of a change of the bookkeeping row.
    copies: bool,
    tells: bool,
    /// The lag that the last transaction had.
    lag_millis: u64,
    /// What is differing at the next comparison.
    differing: u64,
    /// Preflights for these phases take until this is empty again.
    waits_at: Option<Phase>,
    waiting: bool,
    door_is_held: bool,
    /// Preflights for a move to the mirror, in their order: whether rows were looked at.
    looked_at_rows: Vec<bool>,
}

struct OldShop(Mutex<Inner>);

impl OldShop {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no test panics with it")
    }
}

struct HeldDoor(Arc<OldShop>);

impl Door for HeldDoor {
    fn position(&self) -> u64 {
        self.0.inner().position
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

struct Database(Arc<OldShop>);

impl OldDatabase for Database {
    fn check(&self) -> BoxFuture<'_, Vec<Finding>> {
        Box::pin(async { vec![Finding::ok("settings", "as they should be")] })
    }

    fn check_for(&self, to: Phase) -> BoxFuture<'_, Vec<Finding>> {
        Box::pin(async move {
            while self.0.inner().waits_at == Some(to) {
                self.0.inner().waiting = true;
                // As a preflight of a large table: it takes its time.
                tokio::time::sleep(LOOK).await;
            }
            if to == Phase::Mirror {
                self.0.inner().looked_at_rows.push(true);
            }
            self.check().await
        })
    }

    fn check_in_haste(&self, _: Phase) -> BoxFuture<'_, Vec<Finding>> {
        self.0.inner().looked_at_rows.push(false);
        self.check()
    }

    fn create(&self) -> BoxFuture<'_, Result<Vec<String>, LegacyError>> {
        let made = Book { phase: Phase::Legacy, epoch: 0, seq: 0, move_no: 0 };
        self.0.inner().book.get_or_insert(made);
        Box::pin(async { Ok(vec![]) })
    }

    fn book(&self) -> BoxFuture<'_, Result<Option<Book>, LegacyError>> {
        Box::pin(async { Ok(self.0.inner().book) })
    }

    fn hold(&self, _: Duration) -> BoxFuture<'_, Result<Hold, LegacyError>> {
        Box::pin(async {
            match self.0.inner().door_is_held {
                true => Ok(Hold::LockBusy),
                false => Ok(Hold::Held(Box::new(HeldDoor(self.0.clone())) as Box<dyn Door>)),
            }
        })
    }

    fn drop_stream(&self) -> BoxFuture<'_, Result<(), LegacyError>> {
        Box::pin(async {
            self.0.inner().drops += 1;
            Ok(())
        })
    }

    fn write<'a>(
        &'a self,
        _: &'a [TargetRow],
        _: u64,
        _: u64,
    ) -> BoxFuture<'a, Result<Written, LegacyError>> {
        Box::pin(async { Ok(Written::Done { absent: vec![] }) })
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
        _: Option<&'a PageKey>,
        _: u32,
    ) -> BoxFuture<'a, Result<Page, LegacyError>> {
        unreachable!("nobody reads rows here")
    }

    fn read_items<'a>(
        &'a self,
        _: &'a [(usize, String, String)],
    ) -> BoxFuture<'a, Result<Page, LegacyError>> {
        unreachable!("nobody reads rows here")
    }

    fn position(&self) -> BoxFuture<'_, Result<u64, LegacyError>> {
        Box::pin(async { Ok(self.0.inner().position) })
    }

    fn health(&self) -> BoxFuture<'_, Result<StreamHealth, LegacyError>> {
        let retained_bytes = self.0.inner().retained_bytes;
        let (status, active) = ("reserved".to_owned(), true);
        Box::pin(
            async move { Ok(StreamHealth { retained_bytes, status, active, ..StreamHealth::default() }) },
        )
    }

    fn references(&self) -> BoxFuture<'_, Result<Option<Vec<SqlReference>>, LegacyError>> {
        let references = self.0.inner().references.clone();
        Box::pin(async { Ok(Some(references)) })
    }

    fn clear_outbox<'a>(&'a self, _: &'a [i64]) -> BoxFuture<'a, Result<u64, LegacyError>> {
        unreachable!("there is no outbox here")
    }
}

/// Compares, and notes it as the real one does.
struct Compares(Desk, Arc<OldShop>);

impl Comparer for Compares {
    fn compare(&self, _: bool) -> BoxFuture<'_, Result<(u64, u64), String>> {
        Box::pin(async {
            let (position, differing) = {
                let inner = self.1.inner();
                (inner.position, inner.differing)
            };
            let note = reconciled(&self.0, position, differing).await;
            self.0.ask(note).await.map_err(|error| error.to_string())?;
            Ok((2, differing))
        })
    }
}

/// Banyan beside the old shop. Its parts of the sync are played here.
struct World {
    desk: Desk,
    shop: Arc<OldShop>,
    mapping: Arc<Mapping>,
}

/// A process of it.
struct Running {
    keeper: Arc<Keeper>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Running {
    async fn stop(self) {
        self.stop.send_replace(true);
        self.task.await.expect("it does not panic");
    }

    async fn begin(&self, to: Phase, without: &[&str]) -> Result<u64, BeginError> {
        let without: Vec<String> = without.iter().map(|name| (*name).to_owned()).collect();
        self.keeper.begin(to, Actor::new("op").expect("a name"), "a test", &without).await
    }

    async fn closed(&self, to: Phase) -> Vec<&'static str> {
        let gates = self.keeper.plan(to).await.expect("it runs").gates;
        gates.into_iter().filter(|gate| !gate.holds).map(|gate| gate.name).collect()
    }
}

impl World {
    fn new(watch: &str) -> Self {
        let disk = DiskOptions { segment_bytes: 8 << 20, block_bytes_max: 2 << 20, ..DiskOptions::default() };
        let log = DiskLog::open(Arc::new(MemoryStorage::new()), disk).expect("a log");
        let started = start(Box::new(log), None, CoreOptions::default(), None, wall_clock(), &mut |_, _| {});
        let shard =
            Shard::spawn(started.expect("it starts"), Box::new(DirectReplies), ShardOptions::default());
        let mapping = format!(
            "capability = \"stock\"\n[database]\nkind = \"postgres\"\nurl_env = \"X\"\n[[table]]\nname = \"t\"\n\
             key = [\"sku\"]\nsku = \"sku\"\nlocation = \"main\"\nin_stock = \"a\"\nallocated = \"b\"\n{watch}"
        );
        let mapping = Arc::new(Mapping::read(&mapping, Path::new(".")).expect("well-formed"));
        let inner = Inner { position: 100, copies: true, tells: true, ..Inner::default() };
        let shop = Arc::new(OldShop(Mutex::new(inner)));
        Self { desk: Desk::new(shard.expect("threads start")), shop, mapping }
    }

    /// Starts a process that knows nothing of those before it.
    fn start(&self, quiet_for: Duration) -> Running {
        let progress: Arc<Progress> = Arc::default();
        let with = || (self.desk.clone(), self.shop.clone(), progress.clone());
        let (inward, outward) = (with(), with());
        let parts = Parts {
            inward: Box::new(move |stop| {
                let (desk, shop, progress) = inward.clone();
                Box::pin(follow(desk, shop, progress, stop))
            }),
            outward: Box::new(move |stop| {
                let (desk, _, progress) = outward.clone();
                Box::pin(write_out(desk, progress, stop))
            }),
            comparer: Arc::new(Compares(self.desk.clone(), self.shop.clone())),
        };
        let keeper = Keeper::new(KeeperOptions {
            desk: self.desk.clone(),
            database: Arc::new(Database(self.shop.clone())),
            mapping: self.mapping.clone(),
            progress,
            parts,
            routes: Arc::new(NoRoutes),
            quiet_for,
            compare_every: Duration::from_secs(3_600),
        });
        let (stop, stopping) = watch::channel(false);
        let task = tokio::spawn(keeper.clone().run(stopping));
        Running { keeper, stop, task }
    }

    /// In `phase`, by all moves before it.
    async fn at(&self, running: &Running, phase: Phase) {
        for to in [Phase::Mirror, Phase::Lead].into_iter().filter(|to| *to <= phase) {
            until("its gates hold", async || running.closed(to).await.iter().all(|gate| *gate == "equal"))
                .await;
            running.keeper.compare(true).await.expect("compared");
            running.begin(to, &[]).await.expect("its gates hold");
            self.arrives(to).await;
        }
    }

    async fn state(&self) -> CapabilityState {
        self.desk.look(|state| state.legacy().capability(STOCK)).await.expect("it runs")
    }

    async fn arrives(&self, phase: Phase) {
        until(&format!("phase {}", phase.as_str()), async || {
            let state = self.state().await;
            state.phase == phase && state.moving.is_none()
        })
        .await;
    }

    /// What was noted at a step of the move under way.
    async fn note(&self, step: MoveStep) -> Option<String> {
        let moving = self.state().await.moving?;
        moving.noted.into_iter().find(|(noted, ..)| *noted == step).map(|(_, _, note)| note.to_string())
    }
}

/// The stream in: copies, then tells what the bookkeeping row became.
async fn follow(
    desk: Desk,
    shop: Arc<OldShop>,
    progress: Arc<Progress>,
    mut stop: watch::Receiver<bool>,
) -> Halt {
    let source = SourceId { system: "s".into(), stream: "banyan".into() };
    progress.inward(true, None);
    progress.took(1, Some(shop.inner().lag_millis));
    while !*stop.borrow() {
        let Ok(state) = desk.look(|state| state.legacy().capability(STOCK)).await else { break };
        let (position, copies) = {
            let inner = shop.inner();
            (inner.position, inner.copies)
        };
        if state.source.is_none() && state.has_noted(MoveStep::Prepared) && copies {
            ask(&desk, Command::SetSource { capability: STOCK, source: source.clone(), position }).await;
            let row = MirrorRow {
                sku: SkuId::new("A").expect("a SKU"),
                location: LocationId::new("main").expect("a place"),
                in_stock: 5,
                allocated: 0,
            };
            ask(&desk, batch(&source, position, vec![row], None)).await;
            ask(&desk, Command::EndCopy { capability: STOCK }).await;
        }
        let untold = {
            let mut inner = shop.inner();
            if inner.tells { std::mem::take(&mut inner.untold) } else { vec![] }
        };
        for (position, book) in untold {
            ask(&desk, batch(&source, position, vec![], Some((book.move_no, book.phase)))).await;
        }
        progress.heard(position, wall_clock().as_millis());
        progress.applied(position);
        let _stopped = tokio::time::timeout(LOOK, stop.changed()).await;
    }
    progress.inward(false, None);
    Halt::Stopped
}

async fn write_out(desk: Desk, progress: Arc<Progress>, mut stop: watch::Receiver<bool>) -> Halt {
    progress.outward(true, None);
    while !*stop.borrow() {
        let Ok(seq) = desk.look(banyan_domain::State::seq).await else { break };
        progress.wrote(seq, 0, 0);
        let _stopped = tokio::time::timeout(LOOK, stop.changed()).await;
    }
    progress.outward(false, None);
    Halt::Stopped
}

async fn ask(desk: &Desk, command: Command) -> Outcome {
    desk.ask(command).await.expect("the rules take it")
}

fn batch(source: &SourceId, position: u64, rows: Vec<MirrorRow>, switched: Option<(u64, Phase)>) -> Command {
    let (capability, source, outbox, part) = (STOCK, source.clone(), vec![], 1);
    Command::ApplySource(Box::new(SourceBatch { capability, source, position, part, rows, outbox, switched }))
}

fn used(calls: u64) -> SqlReference {
    let statement = "select num_in_stock from t".to_owned();
    SqlReference { caller: "oscar".into(), statement, calls, rows: 0 }
}

async fn until(what: &str, so: impl AsyncFn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !so().await {
        assert!(Instant::now() < end, "waited in vain for {what}");
        // A condition is looked at again; nobody tells it.
        tokio::time::sleep(LOOK).await;
    }
}

/// Found by reading: the plan of the second move was taken in the phase before the first, where nobody asks for its gates, and the move
/// began when the first was done.
#[tokio::test(flavor = "multi_thread")]
async fn two_moves_asked_for_in_a_row_do_not_skip_the_gates_of_the_second() {
    let world = World::new("");
    world.shop.inner().references = vec![used(1)];
    let running = world.start(Duration::from_secs(3_600));
    world.at(&running, Phase::Mirror).await;
    until("its gates hold", async || running.closed(Phase::Lead).await.is_empty()).await;
    // The second is asked for while the first is under way; its preflight takes until that is done.
    world.shop.inner().waits_at = Some(Phase::Retired);
    let second = running.begin(Phase::Retired, &[]);
    let first = async {
        until("the second is looked at", async || world.shop.inner().waiting).await;
        running.begin(Phase::Lead, &[]).await.expect("its gates hold");
        world.arrives(Phase::Lead).await;
        world.shop.inner().waits_at = None;
    };
    let (second, ()) = tokio::join!(second, first);
    assert!(second.is_err(), "somebody used the columns a moment ago: {second:?}");
    assert_eq!(world.state().await.moving, None);
    running.stop().await;
}

/// Found by reading: a move that was begun went on without anybody looking, however long Banyan was down in between.
#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_was_interrupted_looks_at_its_gates_again() {
    let world = World::new("");
    let running = world.start(Duration::from_millis(1));
    world.at(&running, Phase::Lead).await;
    until("nobody uses the columns", async || running.closed(Phase::Retired).await.is_empty()).await;
    running.stop().await;
    // Begun, and the process ends before the first step. While it is down, somebody uses the columns.
    let (by, reason) = (Actor::new("op").expect("a name"), banyan_domain::Reason::new("").expect("words"));
    ask(&world.desk, begin_move(Phase::Retired, by, reason)).await;
    world.shop.inner().references = vec![used(1)];
    let running = world.start(Duration::from_secs(3_600));
    until("the move waits", async || {
        assert_eq!(world.state().await.phase, Phase::Lead, "it was retired although somebody uses it");
        let stage = running.keeper.status().await.expect("it runs").stage;
        stage.is_some_and(|stage| stage.contains("references: 1 left"))
    })
    .await;
    assert_eq!(world.note(MoveStep::Checked).await, None);
    running.keeper.abort("somebody uses it").await.expect("given up");
    running.stop().await;
}

/// As above, for the time between its first step and the moment when the old database is told.
#[tokio::test(flavor = "multi_thread")]
async fn the_gates_are_looked_at_before_the_old_database_is_told() {
    let world = World::new("");
    let running = world.start(Duration::from_millis(1));
    world.at(&running, Phase::Lead).await;
    running.stop().await;
    let (by, reason) = (Actor::new("op").expect("a name"), banyan_domain::Reason::new("").expect("words"));
    ask(&world.desk, begin_move(Phase::Retired, by, reason.clone())).await;
    let (number, step) = (world.state().await.moves, MoveStep::Checked);
    ask(&world.desk, Command::NoteMove { capability: STOCK, number, step, note: reason }).await;
    world.shop.inner().references = vec![used(1)];
    let running = world.start(Duration::from_secs(3_600));
    until("the move waits", async || {
        assert_eq!(world.state().await.phase, Phase::Lead, "it was retired although somebody uses it");
        let stage = running.keeper.status().await.expect("it runs").stage;
        stage.is_some_and(|stage| stage.contains("references: 1 left"))
    })
    .await;
    assert_eq!(world.shop.inner().book.map(|book| book.phase), Some(Phase::Lead), "nobody was told");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_goes_without_what_it_was_told_to_go_without_to_its_end() {
    let world = World::new("");
    world.shop.inner().references = vec![used(1)];
    let running = world.start(Duration::from_secs(3_600));
    world.at(&running, Phase::Lead).await;
    assert!(matches!(running.begin(Phase::Retired, &[]).await, Err(BeginError::Gates(_))));
    running.begin(Phase::Retired, &["references"]).await.expect("in writing");
    world.arrives(Phase::Retired).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gates_saw_is_noted_with_the_steps() {
    let world = World::new("");
    let running = world.start(Duration::from_millis(1));
    world.at(&running, Phase::Mirror).await;
    until("its gates hold", async || running.closed(Phase::Lead).await.is_empty()).await;
    // It is told, and nobody hears of it: so the notes can be looked at.
    world.shop.inner().tells = false;
    running.begin(Phase::Lead, &[]).await.expect("its gates hold");
    until("the switch is noted", async || world.note(MoveStep::Switched).await.is_some()).await;
    for step in [MoveStep::Checked, MoveStep::Switched] {
        let note = world.note(step).await.expect("noted");
        for gate in ["preflight: 1 checks passed", "stream: followed", "lag: ", "equal: 2 rows compared"] {
            assert!(note.contains(gate), "{gate} at {step:?}: {note}");
        }
    }
    world.shop.inner().tells = true;
    world.arrives(Phase::Lead).await;
    running.stop().await;
}

/// A move compares for itself, and nobody else does meanwhile: a comparison that has grown old since must not stop it for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_was_interrupted_compares_for_itself() {
    let world = World::new("");
    let running = world.start(Duration::from_millis(1));
    world.at(&running, Phase::Mirror).await;
    running.stop().await;
    let (by, reason) = (Actor::new("op").expect("a name"), banyan_domain::Reason::new("").expect("words"));
    ask(&world.desk, begin_move(Phase::Lead, by, reason)).await;
    // As if it had been long ago: the last comparison found something.
    let note = reconciled(&world.desk, 100, 1).await;
    ask(&world.desk, note).await;
    let running = world.start(Duration::from_millis(1));
    world.arrives(Phase::Lead).await;
    running.stop().await;
}

/// After a pause the first transaction was as long on its way as that, and an idle shop sends no other.
#[tokio::test(flavor = "multi_thread")]
async fn a_lag_of_long_ago_does_not_stop_the_move_of_an_idle_shop() {
    let world = World::new("");
    let running = world.start(Duration::from_millis(1));
    world.at(&running, Phase::Mirror).await;
    running.stop().await;
    let (by, reason) = (Actor::new("op").expect("a name"), banyan_domain::Reason::new("").expect("words"));
    ask(&world.desk, begin_move(Phase::Lead, by, reason)).await;
    world.shop.inner().lag_millis = 172_800_000;
    let running = world.start(Duration::from_millis(1));
    world.arrives(Phase::Lead).await;
    running.stop().await;
}

/// Once the old database may have been told, only that it was ends the move: gates that close while the door is tried are of the move's
/// own making.
#[tokio::test(flavor = "multi_thread")]
async fn what_closes_while_the_door_is_tried_does_not_stop_a_move() {
    let world = World::new("");
    let running = world.start(Duration::from_millis(1));
    world.at(&running, Phase::Mirror).await;
    until("its gates hold", async || running.closed(Phase::Lead).await.is_empty()).await;
    world.shop.inner().door_is_held = true;
    running.begin(Phase::Lead, &[]).await.expect("its gates hold");
    until("the door is tried", async || world.note(MoveStep::Switched).await.is_some()).await;
    world.shop.inner().differing = 1;
    let _found = running.keeper.compare(false).await.expect("compared");
    assert!(running.closed(Phase::Lead).await.contains(&"equal"));
    world.shop.inner().door_is_held = false;
    world.arrives(Phase::Lead).await;
    running.stop().await;
}

/// Found by reading: on the way back every row was looked at again while nobody sold anything, and what was found changed nothing.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_looks_at_rows_while_nothing_is_sold() {
    let world = World::new("");
    let running = world.start(Duration::from_millis(1));
    world.at(&running, Phase::Lead).await;
    until("its gates hold", async || running.closed(Phase::Mirror).await.is_empty()).await;
    world.shop.inner().looked_at_rows.clear();
    running.begin(Phase::Mirror, &[]).await.expect("its gates hold");
    world.arrives(Phase::Mirror).await;
    let looked = world.shop.inner().looked_at_rows.clone();
    let thorough = looked.iter().filter(|rows| **rows).count();
    assert!(thorough >= 2, "when it was asked for, and before it closed: {looked:?}");
    assert!(
        looked.contains(&false) && looked.is_sorted_by(|a, b| a >= b),
        "and no more after it: {looked:?}"
    );
    running.stop().await;
}

/// Found by reading: nobody looked at what the old database keeps before the mirror was there, and a first copy may take days.
#[tokio::test(flavor = "multi_thread")]
async fn the_old_databases_disk_is_guarded_from_the_first_copy_on() {
    let world = World::new("[watch]\nwal_bytes_max = 1000\nwal_bytes_drop = 2000\n");
    world.shop.inner().copies = false;
    world.shop.inner().retained_bytes = 1_500;
    let running = world.start(Duration::from_millis(1));
    running.begin(Phase::Mirror, &[]).await.expect("its gates hold");
    until("it copies", async || world.state().await.has_noted(MoveStep::Prepared)).await;
    until("it is looked at", async || running.keeper.status().await.expect("it runs").health.is_some()).await;
    assert_eq!(world.shop.inner().drops, 0, "more than it should, and not yet too much");
    world.shop.inner().retained_bytes = 3_000;
    until("the stream is given up", async || world.shop.inner().drops > 0).await;
    assert!(world.state().await.moving.is_some(), "the move goes on with a new copy");
    running.stop().await;
}

/// Found by reading: only the console wanted a reason.
#[tokio::test(flavor = "multi_thread")]
async fn who_goes_without_a_gate_says_why() {
    let world = World::new("");
    world.shop.inner().references = vec![used(1)];
    let running = world.start(Duration::from_secs(3_600));
    world.at(&running, Phase::Lead).await;
    for reason in ["", " \t"] {
        let by = Actor::new("op").expect("a name");
        let begun = running.keeper.begin(Phase::Retired, by, reason, &["references".into()]).await;
        assert!(begun.is_err_and(|error| error.to_string().contains("needs a reason")), "{reason:?}");
    }
    assert_eq!(world.state().await.moving, None);
    running.stop().await;
}

fn begin_move(to: Phase, by: Actor, reason: banyan_domain::Reason) -> Command {
    Command::BeginMove { capability: STOCK, from: None, to, by, reason, without: vec![] }
}

/// That a comparison found so many of two rows to differ.
async fn reconciled(desk: &Desk, position: u64, differing: u64) -> Command {
    let state = desk.look(|state| state.legacy().capability(STOCK)).await.expect("it runs");
    let (capability, phase, epoch, rows, repaired) = (STOCK, state.phase, state.epoch, 2, 0);
    Command::NoteReconciled { capability, phase, epoch, position, rows, differing, repaired }
}
