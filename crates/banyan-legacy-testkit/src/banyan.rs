//! Banyan beside an old shop of any kind: an engine whose log is in memory, and the parts of the sync, run one by one.

use crate::kept::Kept;
use crate::old_shop::Numbers;
use banyan_domain::legacy::{Capability, CapabilityState, Command};
use banyan_domain::stock::{self, Line, Lines, ReservationState};
use banyan_domain::{
    Actor, LocationId, Millis, Outcome, Reason, Refusal, ReservationNo, SkuId, State, legacy,
};
use banyan_engine::{CoreOptions, DirectReplies, Shard, ShardOptions, start, wall_clock};
use banyan_legacy::{
    BoxFuture, Comparer, Desk, DeskError, Driver, Halt, KeeperOptions, Mapping, NoRoutes, OldDatabase, Part,
    Progress, Recall, parts,
};
use banyan_log::{DiskLog, DiskOptions, MemoryStorage};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

const STOCK: Capability = Capability::Stock;
/// How long reservations are held if a test does not say: longer than any.
const HOLD: Duration = Duration::from_secs(3_600);
/// How often both sides are compared if a test does not say: less often than any takes.
const COMPARE_EVERY: Duration = Duration::from_secs(3_600);

/// What the rules say to whoever asks Banyan to decide where it does not lead.
pub const NOT_LEADING: Refusal = Refusal::Legacy(legacy::Refusal::NotLeading);

/// Banyan beside an old shop. A clone is the same one; its engine ends with the last clone.
#[derive(Clone)]
pub struct Banyan {
    /// Its engine.
    pub desk: Desk,
    /// The old database.
    pub database: Arc<dyn OldDatabase>,
    /// How the two belong together.
    pub mapping: Arc<Mapping>,
    /// How the sync is doing.
    pub progress: Arc<Progress>,
    /// How long nobody may have touched the old columns before its keeper retires them: no time at all, if a test does not say.
    pub quiet_for: Duration,
    /// How often its keeper compares both sides: once an hour, if a test does not say.
    pub compare_every: Duration,
    engine: Arc<Engine>,
}

struct Engine {
    storage: Arc<MemoryStorage>,
    shard: Arc<Shard>,
}

/// Parts of the sync that run.
pub struct Running {
    stop: watch::Sender<bool>,
    parts: JoinSet<Halt>,
}

/// How it begins, and is kept.
impl Banyan {
    /// A new one, in phase `legacy`.
    #[must_use]
    pub fn beside(database: Arc<dyn OldDatabase>, mapping: Arc<Mapping>) -> Self {
        Self::of(Engine::open(Arc::default()), database, mapping)
    }

    /// The same one after it has died: its log is left, and nothing else.
    #[must_use]
    pub fn from_its_log(&self) -> Self {
        self.engine.shard.shutdown();
        let engine = Engine::open(self.engine.storage.clone());
        let Self { quiet_for, compare_every, .. } = *self;
        Self { quiet_for, compare_every, ..Self::of(engine, self.database.clone(), self.mapping.clone()) }
    }

    /// The same engine, and nothing else remembered: as for parts that begin anew.
    #[must_use]
    pub fn remembering_nothing(&self) -> Self {
        Self { progress: Arc::default(), ..self.clone() }
    }

    fn of(engine: Engine, database: Arc<dyn OldDatabase>, mapping: Arc<Mapping>) -> Self {
        let desk = Desk::new(engine.shard.clone());
        let (progress, engine) = (Arc::default(), Arc::new(engine));
        let (quiet_for, compare_every) = (Duration::ZERO, COMPARE_EVERY);
        Self { desk, database, mapping, progress, quiet_for, compare_every, engine }
    }

    /// Has a keeper of its own, which runs.
    #[must_use]
    pub fn kept(&self) -> Kept {
        Kept::start(self.clone())
    }

    /// As [`keeper_options`], with its own times.
    #[must_use]
    pub fn keeper_options(&self) -> KeeperOptions {
        let Self { quiet_for, compare_every, .. } = *self;
        let options = keeper_options(&self.desk, &self.database, &self.mapping, &self.progress);
        KeeperOptions { quiet_for, compare_every, ..options }
    }

    /// A driver of moves that knows nothing of those before it, and that takes both sides for equal.
    #[must_use]
    pub fn driver(&self) -> Driver {
        Driver {
            desk: self.desk.clone(),
            database: self.database.clone(),
            progress: self.progress.clone(),
            comparer: Arc::new(Equal),
            recall: Recall::default(),
        }
    }

    /// Runs the stream in alone.
    #[must_use]
    pub fn follows_in(&self) -> Running {
        let parts = parts(&self.desk, &self.database, &self.mapping, &self.progress);
        Running::of(&[parts.inward])
    }

    /// Runs the stream in and the sync out.
    #[must_use]
    pub fn follows(&self) -> Running {
        let parts = parts(&self.desk, &self.database, &self.mapping, &self.progress);
        Running::of(&[parts.inward, parts.outward])
    }
}

/// What it is asked.
impl Banyan {
    /// Asks for something that is granted.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn ask(&self, command: impl Into<banyan_domain::Command>) -> Outcome {
        self.desk.ask(command).await.expect("granted")
    }

    /// Looks at its state.
    pub async fn look<T: Send + 'static>(&self, look: impl Fn(&State) -> T + Clone + Send + 'static) -> T {
        self.desk.look(look).await.expect("it runs")
    }

    /// Begins a move without looking at its gates, and gives its number.
    pub async fn begins(&self, to: legacy::Phase) -> u64 {
        let (by, reason) = (Actor::new("op").expect("a name"), Reason::new("a test").expect("a reason"));
        match self
            .ask(Command::BeginMove { capability: STOCK, from: None, to, by, reason, without: vec![] })
            .await
        {
            Outcome::Legacy(legacy::Outcome::Move { number }) => number,
            other => panic!("a move was begun with {other:?}"),
        }
    }

    /// Reserves units for an hour.
    ///
    /// # Errors
    /// Why not.
    pub async fn reserve(&self, sku: &str, quantity: u32) -> Result<ReservationNo, Refusal> {
        self.reserve_for(HOLD, sku, quantity).await
    }

    /// Reserves units for a time.
    ///
    /// # Errors
    /// Why not.
    pub async fn reserve_for(
        &self,
        time: Duration,
        sku: &str,
        quantity: u32,
    ) -> Result<ReservationNo, Refusal> {
        let sku = SkuId::new(sku).expect("a SKU");
        let lines = Lines::new(vec![Line { sku, location: None, quantity }]).expect("lines");
        let hold_for = Millis::new(u64::try_from(time.as_millis()).expect("not for ever"));
        match self
            .desk
            .ask(stock::Command::Reserve {
                lines,
                member: None,
                order: None,
                holder: banyan_domain::Holder::Shop,
                hold_for,
            })
            .await
        {
            Ok(Outcome::Stock(stock::Outcome::Reservation(answer))) => Ok(answer.reservation),
            Err(DeskError::Refused(refusal)) => Err(refusal),
            other => panic!("a reservation was answered with {other:?}"),
        }
    }
}

/// What is to be seen of it.
impl Banyan {
    /// Where the capability stands.
    pub async fn state(&self) -> CapabilityState {
        self.look(|state| state.legacy().capability(STOCK)).await
    }

    /// The last thing that happened.
    pub async fn seq(&self) -> u64 {
        self.look(State::seq).await
    }

    /// An item as the old books have it.
    pub async fn books(&self, sku: &str, place: &str) -> Option<Numbers> {
        let (sku, place) = (SkuId::new(sku).expect("a SKU"), LocationId::new(place).expect("a place"));
        self.look(move |state| {
            let level = state.mirror_level(state.stock().find(&sku, &place)?)?;
            Some((level.in_stock(), level.taken()))
        })
        .await
    }

    /// Every item as the old books have it, by SKU: for shops with one place.
    pub async fn all_books(&self) -> BTreeMap<String, Numbers> {
        self.look(|state| {
            let items = state.legacy().mirrored_items().filter_map(|(item, _)| {
                let level = state.mirror_level(item)?;
                Some((state.stock().item(item)?.sku.to_owned(), (level.in_stock(), level.taken())))
            });
            items.collect()
        })
        .await
    }

    /// What has become of a reservation.
    pub async fn state_of(&self, reservation: ReservationNo) -> ReservationState {
        let state = self.look(move |state| state.stock().reservation(reservation).map(|row| row.state)).await;
        state.expect("it is remembered")
    }

    /// How many holds of the old shop are over and wait.
    pub async fn holds_waiting(&self) -> usize {
        self.look(State::holds_waiting).await
    }
}

impl Engine {
    fn open(storage: Arc<MemoryStorage>) -> Self {
        let disk = DiskOptions { segment_bytes: 8 << 20, block_bytes_max: 2 << 20, ..DiskOptions::default() };
        let log = DiskLog::open(storage.clone(), disk).expect("a log");
        // Two that decide differently shall be found out.
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
        let shard = Shard::spawn(started, Box::new(DirectReplies), options).expect("its threads start");
        Self { storage, shard }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shard.shutdown();
    }
}

impl Running {
    fn of(parts: &[Part]) -> Self {
        let (stop, stopping) = watch::channel(false);
        let parts = parts.iter().map(|part| part(stopping.clone())).collect();
        Self { stop, parts }
    }

    /// Stops them.
    ///
    /// # Panics
    /// If one of them ended in trouble.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for halt in self.parts.join_all().await {
            assert_eq!(halt, Halt::Stopped);
        }
    }

    /// As a process that dies: in the middle of whatever they do.
    pub async fn kill(mut self) {
        self.parts.shutdown().await;
    }

    /// Waits until one of them ends by itself.
    pub async fn ends(mut self) -> Halt {
        let ended = tokio::time::timeout(crate::PATIENCE, self.parts.join_next()).await;
        ended.expect("it ends").expect("there is one").expect("it does not panic")
    }

    /// Whether one of them has ended by itself.
    #[must_use]
    pub fn has_ended(&mut self) -> bool {
        self.parts.try_join_next().is_some()
    }
}

/// What a test's keeper is made of: all parts, no gateway, a comparison an hour, and no time of quiet before retiring.
#[must_use]
pub fn keeper_options(
    desk: &Desk,
    database: &Arc<dyn OldDatabase>,
    mapping: &Arc<Mapping>,
    progress: &Arc<Progress>,
) -> KeeperOptions {
    KeeperOptions {
        desk: desk.clone(),
        database: database.clone(),
        mapping: mapping.clone(),
        progress: progress.clone(),
        parts: parts(desk, database, mapping, progress),
        routes: Arc::new(NoRoutes),
        quiet_for: Duration::ZERO,
        compare_every: COMPARE_EVERY,
    }
}

/// Finds both sides equal.
struct Equal;

impl Comparer for Equal {
    fn compare(&self, _: bool) -> BoxFuture<'_, Result<(u64, u64), String>> {
        Box::pin(async { Ok((2, 0)) })
    }
}
