//! Banyan's side: an engine with its log on the disk and the keeper of one mapping, on threads of their own in this process.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use banyan_domain::legacy::{Capability, CapabilityState, Phase};
use banyan_domain::stock::{self, Line, Lines};
use banyan_domain::{Actor, Command, LocationId, Millis, SkuId, State};
use banyan_engine::{Answer, Shard};
use banyan_legacy::reconcile::Reconciler;
use banyan_legacy::{Desk, Keeper, KeeperOptions, Mapping, NoRoutes, OldDatabase, Progress, parts};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::PATIENCE;
use super::shop::{LOCATION, sku};
use crate::{Failure, engine, failed};

/// As the server has it unless told otherwise.
const PACE: Duration = Duration::from_millis(1);
/// How long reservations are held: longer than any run.
const HOLD: Millis = Millis::from_seconds(24 * 3_600);
/// Decisions asked for at once when nobody waits for each.
const BATCH: usize = 1_000;

/// Banyan, with or without its sync running.
pub(super) struct Banyan {
    pub(super) shard: Arc<Shard>,
    pub(super) progress: Arc<Progress>,
    desk: Desk,
    database: Arc<dyn OldDatabase>,
    mapping: Arc<Mapping>,
    keeper: Arc<Keeper>,
    runtime: Runtime,
    running: Option<(watch::Sender<bool>, JoinHandle<()>)>,
}

impl Banyan {
    /// An empty store in `folder`; the sync does not run yet.
    pub(super) fn open(
        folder: &Path,
        database: Arc<dyn OldDatabase>,
        mapping: &Arc<Mapping>,
    ) -> Result<Self, Failure> {
        let shard = engine::open_paced(folder, PACE)?;
        let desk = Desk::new(shard.clone());
        let progress = Arc::new(Progress::default());
        let keeper = Keeper::new(KeeperOptions {
            desk: desk.clone(),
            parts: parts(&desk, &database, mapping, &progress),
            database: database.clone(),
            mapping: mapping.clone(),
            progress: progress.clone(),
            routes: Arc::new(NoRoutes),
            quiet_for: Duration::ZERO,
            // Compared when the run says so.
            compare_every: Duration::from_secs(24 * 3_600),
        });
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).thread_name("banyan").enable_all().build();
        let runtime = runtime.map_err(|e| failed("starting Banyan's runtime", e))?;
        Ok(Self { shard, progress, desk, database, mapping: mapping.clone(), keeper, runtime, running: None })
    }

    /// Runs the sync.
    pub(super) fn start(&mut self) {
        let (stop, stopping) = watch::channel(false);
        let running = self.runtime.spawn(self.keeper.clone().run(stopping));
        self.running = Some((stop, running));
    }

    /// Stops the sync: the stream is there and not read, the old tables are not written.
    pub(super) fn stop(&mut self) -> Result<(), Failure> {
        let Some((stop, running)) = self.running.take() else { return Ok(()) };
        stop.send_replace(true);
        self.runtime.block_on(running).map_err(|e| failed("stopping the sync", e))
    }

    /// Whether it was stopped.
    pub(super) const fn is_stopped(&self) -> bool {
        self.running.is_none()
    }

    /// Moves the capability to `to`.
    pub(super) fn go(&self, to: Phase) -> Result<(), Failure> {
        let by = Actor::new("bench").map_err(|e| failed("actor", e))?;
        let start = Instant::now();
        loop {
            let keeper = self.keeper.clone();
            if to == Phase::Lead {
                // The gate asks for a comparison; whether it could be made is the gate's to say.
                drop(self.on_thread(async move { keeper.compare(true).await }));
            }
            let (keeper, by) = (self.keeper.clone(), by.clone());
            match self.on_thread(async move { keeper.begin(to, by, "a benchmark", &[]).await })? {
                Ok(_) => break,
                Err(why) if start.elapsed() > PATIENCE => return Err(failed("beginning a move", why)),
                // A condition is looked at again; nobody tells it.
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
        self.wait("the move", |state| state.phase == to && state.moving.is_none())
    }

    /// Waits until all that the old database has committed up to `position` has been taken in.
    pub(super) fn wait_taken_in(&self, position: u64) -> Result<(), Failure> {
        let start = Instant::now();
        while self.progress.view().position_applied < position {
            if start.elapsed() > PATIENCE {
                return Err(failed("waiting for the stream", format!("{:?}", self.progress.view())));
            }
            // A condition is looked at again; nobody tells it.
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Compares both sides, which must be equal, row by row, and have `rows` rows.
    pub(super) fn compare(&self, rows: u64) -> Result<(), Failure> {
        let start = Instant::now();
        loop {
            let keeper = self.keeper.clone();
            match self.on_thread(async move { keeper.compare(false).await })? {
                Ok((compared, 0)) if compared == rows => return Ok(()),
                Ok((compared, differing)) => {
                    let text = format!("{compared} of {rows} rows compared, {differing} differ");
                    return Err(failed("comparing both sides", text));
                }
                // One side is still behind.
                Err(why) if start.elapsed() > PATIENCE => return Err(failed("comparing both sides", why)),
                // A condition is looked at again; nobody tells it.
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// One that compares both sides and remembers nothing yet.
    pub(super) fn reconciler(&self) -> Arc<Reconciler> {
        let (database, mapping) = (self.database.clone(), self.mapping.clone());
        Arc::new(Reconciler::new(self.desk.clone(), database, mapping, self.progress.clone()))
    }

    /// Compares both sides, which are equal and have `rows` rows, of which so many need not be read.
    pub(super) fn pass(&self, by: &Arc<Reconciler>, rows: u64, by_digest: u64) -> Result<(), Failure> {
        let by = by.clone();
        let report = self.on_thread(async move { by.pass(false).await })?;
        let report = report.map_err(|why| failed("comparing both sides", why))?;
        if (report.rows, report.by_digest, report.differing) == (rows, by_digest, 0) {
            return Ok(());
        }
        Err(failed(format!("comparing {rows} rows, {by_digest} of them by digests"), format!("{report:?}")))
    }

    /// Reserves one unit of each of these items, and gives the position of the last decision.
    pub(super) fn reserve_all(&self, items: std::ops::Range<u64>) -> Result<u64, Failure> {
        let items: Vec<u64> = items.collect();
        let mut last = 0;
        for items in items.chunks(BATCH) {
            let commands = items.iter().map(|item| Ok((reserve(*item)?, None)));
            let commands = commands.collect::<Result<Vec<_>, Failure>>()?;
            let answers = self.shard.submit_many(commands).map_err(|e| failed("reserving", e))?;
            for answer in answers.blocking_recv().map_err(|e| failed("reserving", e))? {
                last = last.max(decided(&answer)?);
            }
        }
        Ok(last)
    }

    fn wait(&self, what: &str, holds: impl Fn(&CapabilityState) -> bool) -> Result<(), Failure> {
        let start = Instant::now();
        loop {
            let desk = self.desk.clone();
            let look = |state: &State| state.legacy().capability(Capability::Stock);
            let state = self.on_thread(async move { desk.look(look).await })??;
            if holds(&state) {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                return Err(failed(
                    format!("waiting for {what}"),
                    format!("{state:?} {:?}", self.progress.view()),
                ));
            }
            // A condition is looked at again; nobody tells it.
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Runs it where the sync runs: its connections must not depend on whether the calling thread has time.
    fn on_thread<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Failure> {
        self.runtime.block_on(self.runtime.spawn(work)).map_err(|e| failed("running the sync", e))
    }
}

/// Reserves one unit of an item.
pub(super) fn reserve(item: u64) -> Result<Command, Failure> {
    let line = Line {
        sku: SkuId::new(sku(item)).map_err(|e| failed("SKU", e))?,
        location: Some(LocationId::new(LOCATION).map_err(|e| failed("location", e))?),
        quantity: 1,
    };
    let lines = Lines::new(vec![line]).map_err(|e| failed("lines", e))?;
    Ok(Command::Stock(stock::Command::Reserve {
        lines,
        member: None,
        order: None,
        holder: banyan_domain::Holder::Shop,
        hold_for: HOLD,
    }))
}

/// The position of a decision that was made.
pub(super) fn decided(answer: &Answer) -> Result<u64, Failure> {
    match answer {
        Answer::Done { seq, replayed: false, .. } => Ok(*seq),
        other => Err(failed("reserving", format!("{other:?}"))),
    }
}
