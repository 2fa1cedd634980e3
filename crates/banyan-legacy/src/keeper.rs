//! Keeps one capability where its phase says: runs the parts of the sync that the phase needs, drives the move under way,
//! watches lag, comparison, the old database's patience and who still touches what. The handle for everybody who asks.

mod again;
mod behind;
mod kept;
mod runner;

use crate::database::{BoxFuture, Finding, OldDatabase, StreamHealth};
use crate::desk::{Desk, DeskError};
use crate::mapping::Mapping;
use crate::mover::{
    Comparer, DriveError, Driver, Facts, Gate, Planned, Recall, RouteEvidence, Stage, gates,
    open_reservations, steps,
};
use crate::progress::{LagPoint, Progress, ProgressView};
use crate::references::{References, ReferencesView};
use crate::takeover;
use crate::watermark;
use crate::words::as_reason;
use banyan_domain::legacy::{Capability, CapabilityState, Command, MoveStep, Outcome, Phase, Without};
use banyan_domain::{Actor, Outcome as AnyOutcome, Timestamp};
use banyan_engine::wall_clock;
use behind::Behind;
use runner::{Runner, is_told};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

const STOCK: Capability = Capability::Stock;
/// How often the keeper looks whether the phase, or a move, wants something of it.
const TICK: Duration = Duration::from_millis(100);
/// How long a part that ended in trouble rests before it is started again, and a move that does not get on.
const TROUBLE_PAUSE: Duration = Duration::from_secs(5);
/// The same for a move during which nobody sells anything.
const CLOSED_PAUSE: Duration = Duration::from_secs(1);
/// How often lags are noted, for plots.
const LAG_EVERY: Duration = Duration::from_secs(1);
/// How often the old database is asked how the stream is doing, and who touches its tables.
const WATCH_EVERY: Duration = Duration::from_secs(5);

/// How a part of the sync ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Halt {
    /// It was told to stop, or the server is stopping.
    Stopped,
    /// Somebody must look. It is started again after a while all the same.
    Trouble(String),
}

/// A part of the sync: runs until it is told to stop.
pub type Part = Box<dyn Fn(watch::Receiver<bool>) -> BoxFuture<'static, Halt> + Send + Sync>;

/// The parts of the sync.
pub struct Parts {
    /// The stream in.
    pub inward: Part,
    /// The sync out.
    pub outward: Part,
    /// Comparing both sides.
    pub comparer: Arc<dyn Comparer>,
}

/// A caller of a route that touches the capability and is still the old shop's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteCaller {
    /// The route.
    pub route: String,
    /// Who calls it.
    pub caller: String,
    /// How often so far.
    pub count: u64,
    /// When last.
    pub last_seen: Timestamp,
}

/// The routes that touch a capability, and who still calls them at the old shop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteLedger {
    /// Every route that says it touches the capability, also those that nobody calls.
    pub routes: Vec<String>,
    /// Who was answered by the old shop on one of them, ever.
    pub callers: Vec<RouteCaller>,
}

/// What the gateway knows of a capability; both empty without a gateway. Asked about once a second: short work.
pub trait Routes: Send + Sync {
    /// What was compared on the routes that touch `capability`.
    fn evidence(&self, capability: Capability) -> Vec<RouteEvidence>;
    /// Who still calls its routes at the old shop.
    fn ledger(&self, capability: Capability) -> RouteLedger;
}

/// No gateway.
pub struct NoRoutes;

/// What a keeper is made of.
pub struct KeeperOptions {
    /// Banyan's side.
    pub desk: Desk,
    /// The old database.
    pub database: Arc<dyn OldDatabase>,
    /// The mapping.
    pub mapping: Arc<Mapping>,
    /// Where the parts report.
    pub progress: Arc<Progress>,
    /// The parts.
    pub parts: Parts,
    /// The gateway.
    pub routes: Arc<dyn Routes>,
    /// How long nobody may have touched the old columns before they are retired.
    pub quiet_for: Duration,
    /// How often both sides are compared.
    pub compare_every: Duration,
}

/// Keeps one capability. Shared.
pub struct Keeper {
    driver: Driver,
    mapping: Arc<Mapping>,
    parts: Parts,
    routes: Arc<dyn Routes>,
    quiet_for: Duration,
    compare_every: Duration,
    seen: Mutex<Seen>,
    /// Held from asking who touches the tables until it is noted: an older answer behind a newer one would be new uses.
    looking: tokio::sync::Mutex<()>,
}

/// What was seen last.
#[derive(Default)]
struct Seen {
    references: References,
    health: Option<Result<StreamHealth, String>>,
    stage: Option<String>,
    /// A stream that nobody reads, in words, and whether it was given up.
    left_behind: Option<(String, bool)>,
}

/// Everything about a capability at one moment.
#[derive(Clone, Debug)]
pub struct Status {
    /// Where it stands.
    pub state: CapabilityState,
    /// How the sync is doing.
    pub progress: ProgressView,
    /// How the old database sees the stream; none before the first look, a text if it could not be asked.
    pub health: Option<Result<StreamHealth, String>>,
    /// How much the old database may keep of its log for us before it is told.
    pub kept_bytes_max: u64,
    /// What the move under way waits for, or what stands in its way.
    pub stage: Option<String>,
    /// Items of the old shop, and of these how many are short.
    pub items: (usize, usize),
    /// Holds of the old shop that are over and wait to hear whether they were sold.
    pub holds_waiting: usize,
    /// Up to when everything that the old database committed is applied, as far as somebody had to know it.
    pub known_until: Option<Timestamp>,
    /// References used within the quiet time.
    pub references_left: usize,
    /// What an operator must look at, in words: the lead taken back by hand, a stream that was left behind, a log that is
    /// kept too long for us, old columns that are not written.
    pub trouble: Vec<String>,
}

/// A move that could be made.
#[derive(Clone, Debug)]
pub struct Plan {
    /// From where.
    pub from: Phase,
    /// To where.
    pub to: Phase,
    /// What would be done.
    pub steps: &'static [Planned],
    /// What must be so.
    pub gates: Vec<Gate>,
}

impl Plan {
    /// Whether it may begin: it is one step away, and every gate holds or is one of `overridden` that may be passed over.
    #[must_use]
    pub fn may_begin(&self, overridden: &[String]) -> bool {
        let is_open = |gate: &Gate| gate.holds || gate.is_passed_over(overridden);
        !self.steps.is_empty() && self.gates.iter().all(is_open)
    }
}

/// Why a move was not begun.
#[derive(Clone, Debug)]
pub enum BeginError {
    /// These gates do not hold.
    Gates(Vec<Gate>),
    /// It is to go without a gate, and nothing was written about why.
    NoReason,
    /// The rules refuse it.
    Desk(DeskError),
}

impl Keeper {
    /// A keeper. It does nothing before [`Self::run`].
    #[must_use]
    pub fn new(options: KeeperOptions) -> Arc<Self> {
        let KeeperOptions { desk, database, mapping, progress, parts, routes, quiet_for, compare_every } =
            options;
        let comparer = parts.comparer.clone();
        let driver = Driver { desk, database, progress, comparer, recall: Recall::default() };
        let (seen, looking) = (Mutex::default(), tokio::sync::Mutex::default());
        Arc::new(Self { driver, mapping, parts, routes, quiet_for, compare_every, seen, looking })
    }

    /// Runs until told to stop.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut inward = Runner::new("the stream in");
        let mut outward = Runner::new("the sync out");
        let beside = [
            tokio::spawn(self.clone().watch(stop.clone())),
            tokio::spawn(self.clone().compare_now_and_then(stop.clone())),
            tokio::spawn(self.clone().keep_watermark(stop.clone())),
        ];
        // One at most, in a task of its own: it may look at every row of the old tables, and the parts are kept meanwhile. It may
        // be dropped anywhere: what it has not noted comes again.
        let mut step: JoinSet<Result<Stage, DriveError>> = JoinSet::new();
        let mut drive_from = Instant::now();
        let mut behind = Behind::default();
        while let Ok(state) = self.driver.state().await {
            let progress = &self.driver.progress;
            if let Some(why) = inward.keep(needs_inward(&state), &self.parts.inward).await {
                progress.inward(false, Some(why));
            }
            if let Some(why) = outward.keep(needs_outward(&state), &self.parts.outward).await {
                progress.outward(false, Some(why));
            }
            self.look_how_far_behind(&mut behind, &state, wall_clock().as_millis());
            match state.moving {
                None => self.seen().stage = None,
                // After the parts are as the state wants them.
                Some(_) if step.is_empty() && Instant::now() >= drive_from => {
                    let keeper = self.clone();
                    step.spawn(async move { keeper.driver.step_past(&*keeper).await });
                }
                Some(_) => {}
            }
            // The phase is in the state of the shard, which tells nobody when it changes; a look costs a microsecond.
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                Some(stepped) = step.join_next() => drive_from = Instant::now() + self.stepped(stepped, &state),
                () = tokio::time::sleep(TICK) => {}
            }
        }
        step.shutdown().await;
        inward.end().await;
        outward.end().await;
        for task in beside {
            if let Err(panicked) = task.await {
                tracing::error!(
                    "a watcher of the old shop's database has failed, which is a bug: {panicked}"
                );
            }
        }
    }

    /// Tells what came of a step of the move that was under way as of `state`. Gives how long to wait before the next.
    fn stepped(
        &self,
        stepped: Result<Result<Stage, DriveError>, JoinError>,
        state: &CapabilityState,
    ) -> Duration {
        // Nothing is sold while a move back is closed, so it rests for less.
        let is_closed = state.phase.leads() && !state.is_open();
        let rest = if is_closed { CLOSED_PAUSE } else { TROUBLE_PAUSE };
        let tell = |why: String| {
            let before = self.seen().stage.replace(why.clone());
            (before.as_ref() != Some(&why)).then_some(why)
        };
        match stepped {
            Ok(Ok(Stage::Stepped(step))) => {
                tracing::info!(step = step.as_str(), "the move has come one step further");
                self.seen().stage = None;
                Duration::ZERO
            }
            Ok(Ok(Stage::Done(phase))) => {
                tracing::info!(phase = phase.as_str(), "the move is done");
                Duration::ZERO
            }
            Ok(Ok(Stage::Idle)) => {
                self.seen().stage = None;
                Duration::ZERO
            }
            Ok(Ok(Stage::Waiting(why))) => {
                tell(why);
                TICK
            }
            // The old shop's orders go on meanwhile.
            Ok(Ok(Stage::Resting(why))) => {
                if let Some(why) = tell(why) {
                    tracing::warn!("the move waits: {why}");
                }
                rest
            }
            Ok(Err(error)) => {
                if let Some(why) = tell(error.to_string()) {
                    tracing::warn!("the move does not get on: {why}");
                }
                rest
            }
            Err(failed) => {
                tracing::error!("a step of the move has failed, which is a bug: {failed}");
                tell(format!("a step has failed, which is a bug, and is tried again: {failed}"));
                TROUBLE_PAUSE
            }
        }
    }

    /// Everything at this moment.
    ///
    /// # Errors
    /// [`DeskError::Stopping`].
    pub async fn status(&self) -> Result<Status, DeskError> {
        let (state, items, (holds_waiting, known), open) = self
            .driver
            .desk
            .look(|state| {
                let legacy = state.legacy();
                let short = legacy.mirrored_items().filter(|(_, mirrored)| mirrored.short > 0).count();
                let waiting = (state.holds_waiting(), legacy.known(STOCK).map(|known| known.until));
                let capability = legacy.capability(STOCK);
                let open = capability.taken_over.as_ref().map_or(0, |_| open_reservations(state).0);
                (capability, (legacy.mirrored_count(), short), waiting, open)
            })
            .await?;
        let references_left = self.references().left(wall_clock(), self.quiet_for);
        let progress = self.driver.progress.view();
        let seen = self.seen();
        let (health, stage) = (seen.health.clone(), seen.stage.clone());
        let taken_over = state.taken_over.as_ref().map(takeover::sentence);
        let taken_over = taken_over.map(|sentence| takeover::with_open(&sentence, open));
        let left_behind = seen.left_behind.iter().map(|(text, _)| text.clone());
        let kept = kept::trouble(seen.health.as_ref(), &self.mapping.watch);
        let trouble = taken_over.into_iter().chain(left_behind).chain(kept);
        let trouble = trouble.chain(behind::trouble(&progress)).collect();
        let known_until = known.filter(|until| until.as_millis() > 0);
        Ok(Status {
            state,
            progress,
            health,
            kept_bytes_max: self.mapping.watch.wal_bytes_max,
            stage,
            items,
            holds_waiting,
            known_until,
            references_left,
            trouble,
        })
    }

    /// What a move to `to` would do, and whether it may begin. Changes nothing.
    ///
    /// # Errors
    /// [`DeskError::Stopping`].
    pub async fn plan(&self, to: Phase) -> Result<Plan, DeskError> {
        let findings = self.driver.database.check_for(to).await;
        let facts = self.facts(findings).await?;
        let from = facts.state.phase;
        Ok(Plan { from, to, steps: steps(from, to), gates: gates(&facts, to) })
    }

    /// What is known now, after the preflight found this: that takes long, and what was looked at before it is old.
    async fn facts(&self, findings: Vec<Finding>) -> Result<Facts, DeskError> {
        let look =
            |state: &banyan_domain::State| (state.legacy().capability(STOCK), open_reservations(state).0);
        let (state, open_reservations) = self.driver.desk.look(look).await?;
        Ok(Facts {
            state,
            now: wall_clock(),
            findings,
            progress: self.driver.progress.view(),
            lag_max: self.mapping.watch.lag_max,
            references: self.references(),
            quiet_for: self.quiet_for,
            routes: self.routes.evidence(STOCK),
            open_reservations,
        })
    }

    /// Begins a move if its gates hold, but for those in `overridden`, which are named in the log with what was found of them. These
    /// need a reason that says something. The gates are looked at again while the move is under way.
    ///
    /// # Errors
    /// [`BeginError`]: nothing was begun.
    pub async fn begin(
        &self,
        to: Phase,
        by: Actor,
        reason: &str,
        overridden: &[String],
    ) -> Result<u64, BeginError> {
        if !overridden.is_empty() && reason.trim().is_empty() {
            return Err(BeginError::NoReason);
        }
        let plan = self.plan(to).await.map_err(BeginError::Desk)?;
        let from = plan.from;
        let stands = |gate: &Gate| !gate.holds && !gate.is_passed_over(overridden);
        // Where it is not one step away, that is what is said, and not what else is in the way.
        if from.is_next_to(to) && plan.gates.iter().any(stands) {
            return Err(BeginError::Gates(plan.gates.into_iter().filter(stands).collect()));
        }
        // Also those that hold: the move looks at them again, and was told to go without.
        let without: Vec<&Gate> = plan.gates.iter().filter(|gate| gate.is_passed_over(overridden)).collect();
        // First what was gone without: a long reason is cut, and that must not be.
        let text = match without.as_slice() {
            [] => reason.to_owned(),
            gates => {
                let names: Vec<&str> = gates.iter().map(|gate| gate.name).collect();
                format!("[without {}] {reason}", names.join(", "))
            }
        };
        let note = |gate: &Gate| Without { gate: as_reason(gate.name), found: as_reason(&gate.found) };
        let without = without.into_iter().map(note).collect();
        let reason = as_reason(&text);
        let command = Command::BeginMove { capability: STOCK, from: Some(from), to, by, reason, without };
        match self.driver.desk.ask(command).await.map_err(BeginError::Desk)? {
            AnyOutcome::Legacy(Outcome::Move { number }) => Ok(number),
            other => unreachable!("a move was begun with {other:?}"),
        }
    }

    /// Gives the move under way up.
    ///
    /// # Errors
    /// [`DriveError`].
    pub async fn abort(&self, why: &str) -> Result<(), DriveError> {
        self.driver.abort(as_reason(why)).await
    }

    /// Compares both sides now, and puts right what differs if `repair` and no move is under way: a row that is put right while
    /// the old tables change hands could be an older one. Rows compared, and rows that still differ.
    ///
    /// # Errors
    /// What stands in the way.
    pub async fn compare(&self, repair: bool) -> Result<(u64, u64), String> {
        let state = self.driver.state().await.map_err(|error| error.to_string())?;
        self.driver.comparer.compare(repair && state.moving.is_none()).await
    }

    /// Who touches what is to go.
    #[must_use]
    pub fn references(&self) -> ReferencesView {
        let (now, ledger) = (wall_clock(), self.routes.ledger(STOCK));
        let mut seen = self.seen();
        seen.references.routes(now, ledger);
        seen.references.view(now)
    }

    /// For how long nobody may have touched it before it is retired.
    #[must_use]
    pub const fn quiet_for(&self) -> Duration {
        self.quiet_for
    }

    /// How the sync is doing.
    #[must_use]
    pub fn progress(&self) -> ProgressView {
        self.driver.progress.view()
    }

    /// The lags of the last ten minutes, one a second.
    #[must_use]
    pub fn lags(&self) -> Vec<LagPoint> {
        self.driver.progress.history()
    }

    /// The mapping.
    #[must_use]
    pub fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// Looks at the old database now and then: how it sees the stream, and who touches its tables.
    async fn watch(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut look_from = Instant::now();
        loop {
            let Ok(state) = self.driver.state().await else { return };
            self.driver.progress.note_lag(wall_clock().as_millis());
            if Instant::now() >= look_from {
                look_from = Instant::now() + WATCH_EVERY;
                match (state.phase, &state.moving) {
                    (Phase::Legacy, None) => self.look_for_left_behind().await,
                    (Phase::Legacy, Some(moving)) => {
                        self.seen().left_behind = None;
                        // From the first copy on there is a stream, and a copy may take long.
                        if moving.has_noted(MoveStep::Prepared) {
                            self.look_at_stream().await;
                        }
                    }
                    _ => self.look().await,
                }
            }
            if is_told(&mut stop, LAG_EVERY).await {
                return;
            }
        }
    }

    async fn look(&self) {
        self.seen().left_behind = None;
        if let Err(error) = takeover::look(&self.driver.desk, &*self.driver.database).await {
            tracing::debug!("whether the lead was taken back could not be looked at: {error}");
        }
        self.look_at_stream().await;
        self.look_at_references().await;
    }

    /// How the old database sees the stream, and whether it keeps too much for it.
    async fn look_at_stream(&self) {
        let health = self.driver.database.health().await.map_err(|error| error.to_string());
        if let Ok(health) = &health {
            self.guard(health).await;
        }
        self.seen().health = Some(health);
    }

    /// Who touches what is to go.
    async fn look_at_references(&self) {
        let _alone = self.looking.lock().await;
        // In this order: a reset in between is found with the next look.
        let statistics = self.driver.database.statistics().await;
        let references = self.driver.database.references().await;
        let (now, ledger) = (wall_clock(), self.routes.ledger(STOCK));
        let mut seen = self.seen();
        seen.references.routes(now, ledger);
        match (statistics, references) {
            (Ok(statistics), Ok(Some(statements))) => {
                seen.references.counted_by(statistics);
                seen.references.statements(now, statements);
            }
            // Nobody counts there: then nothing is known, which is not the same as nothing.
            (_, Ok(None)) => seen.references.gap(),
            // They go on counting while nobody looks.
            (Err(_), _) | (_, Err(_)) => seen.references.missed(now),
        }
    }

    /// In phase `legacy` nobody reads a stream: one that is there makes the old database keep its log for ever. Given up, if it is
    /// certain that it is ours and that nobody else reads it or will.
    async fn look_for_left_behind(&self) {
        let Driver { database, .. } = &self.driver;
        let health = match database.health().await {
            Ok(health) if health.status == "absent" => {
                self.seen().left_behind.take_if(|(_, given_up)| !*given_up);
                return;
            }
            Ok(health) => health,
            Err(error) => {
                tracing::debug!("whether a stream was left behind could not be looked at: {error}");
                return;
            }
        };
        let kept = health.retained_bytes;
        let left = format!(
            "in phase legacy nobody reads the stream, and one was left behind for which {kept} bytes are kept"
        );
        let instead = match (health.active, database.book().await) {
            (true, _) => Some("somebody reads it: see who else runs with this mapping".to_owned()),
            (false, Err(error)) => Some(error.to_string()),
            (false, Ok(Some(book))) if book.phase != Phase::Legacy => Some(format!(
                "banyan_sync says {}: it may be another Banyan's. If that is gone for good, see docs/phases/lead.md",
                book.phase.as_str()
            )),
            // A move that began meanwhile has a stream of its own.
            (false, Ok(_)) => match self.driver.state().await {
                Ok(state) if state.phase == Phase::Legacy && state.moving.is_none() => {
                    database.drop_stream().await.err().map(|error| error.to_string())
                }
                _ => return,
            },
        };
        let found = match instead {
            None => (format!("{left}; it has been given up"), true),
            Some(why) => (format!("{left}. It is not given up: {why}"), false),
        };
        let mut seen = self.seen();
        if seen.left_behind.as_ref() != Some(&found) {
            tracing::warn!("{}", found.0);
        }
        seen.left_behind = Some(found);
    }

    async fn keep_watermark(self: Arc<Self>, stop: watch::Receiver<bool>) {
        let Driver { desk, database, progress, .. } = &self.driver;
        watermark::keep(desk, &**database, progress, stop).await;
    }

    async fn compare_now_and_then(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        while !is_told(&mut stop, self.compare_every).await {
            let Ok(state) = self.driver.state().await else { return };
            let follows = matches!(state.phase, Phase::Mirror | Phase::Lead);
            // A move compares for itself.
            if follows && state.moving.is_none() {
                match self.compare(true).await {
                    Ok((_, 0)) => {}
                    Ok((rows, differing)) => tracing::warn!(rows, differing, "both sides differ"),
                    Err(why) => tracing::warn!("both sides could not be compared: {why}"),
                }
            }
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Looks only: what a panic left half done is looked at again in a moment.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the stream in is to be followed: from the first copy on, for as long as the old shop says anything.
fn needs_inward(state: &CapabilityState) -> bool {
    let first = state.has_noted(MoveStep::Prepared);
    // On the way out of it the stream is given up.
    let last = state.moving.as_ref().is_some_and(|moving| moving.to == Phase::Legacy)
        && state.has_noted(MoveStep::Switched);
    (state.phase != Phase::Legacy || first) && !last
}

/// Whether the old columns are to follow: while Banyan leads, and on the way back to that.
fn needs_outward(state: &CapabilityState) -> bool {
    let back = state.moving.as_ref().is_some_and(|moving| moving.to == Phase::Lead);
    state.phase == Phase::Lead || (state.phase == Phase::Retired && back)
}

impl Routes for NoRoutes {
    fn evidence(&self, _: Capability) -> Vec<RouteEvidence> {
        Vec::new()
    }

    fn ledger(&self, _: Capability) -> RouteLedger {
        RouteLedger::default()
    }
}

impl fmt::Display for BeginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gates(gates) => {
                for gate in gates {
                    write!(f, "{}: {} (needed: {}). ", gate.name, gate.found, gate.needed)?;
                }
                Ok(())
            }
            Self::NoReason => {
                f.write_str("going without a gate needs a reason that says why: it is kept in the log")
            }
            Self::Desk(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BeginError {}
