//! Shadow copies: the other side is asked what the user asked, and the two answers are compared.
//!
//! The user's exchange ([`watch`]) and the copy (`work.rs`) share only a queue of limited length, a budget of memory, and
//! counters. The copy has its own thread, its own connections and its own time. Whatever the other side does, the most
//! that can happen is that a copy is counted as skipped.

mod budget;
pub(crate) mod figures;
mod lane;
mod proof;
mod store;
mod watch;
mod work;

pub use lane::{Lane, SKIPPED, ShadowReport, Skipped};

#[cfg(test)]
pub(crate) use lane::Outcome;
pub(crate) use proof::Proof;
pub(crate) use store::{Store, write};

use crate::outbound::{AskFailed, Outbound};
use crate::rules::ShadowRules;
use crate::side::{Side, Watcher};
use crate::table::Route;
use axum::body::Body;
use budget::{Budget, Capture};
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, Request, Response, StatusCode, request};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch as signal};

/// On every copy: `read`, `dry-run`, or `noise` for the second question to the old shop. A request that has it is never
/// copied.
pub const LOOP_HEADER: HeaderName = HeaderName::from_static("banyan-shadow");
/// On copies of writes, and on the answers of those who understood: nothing was changed.
pub const DRY_RUN_HEADER: HeaderName = HeaderName::from_static("banyan-dry-run");
/// How often what was learned is stored, if it changed.
const STORE_EVERY: Duration = Duration::from_secs(15);
/// How much less the copies' thread asks of the machine than those who serve users.
const NICENESS: i32 = 10;

/// Why the other side could not be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AskFault {
    /// It has room for users only.
    Busy,
    /// No connection, or none allowed.
    Down,
    /// No head of an answer in time.
    Slow,
    /// It broke off, or what came is no HTTP.
    Broken,
}

/// Asks a side apart from all users.
pub(crate) trait Asker: Send + Sync {
    /// Sends the request to `side` of `route`.
    fn ask(
        &self,
        route: Arc<Route>,
        side: Side,
        request: Request<Body>,
    ) -> BoxFuture<'_, Result<Response<Body>, AskFault>>;
}

impl Asker for Outbound {
    fn ask(
        &self,
        route: Arc<Route>,
        side: Side,
        request: Request<Body>,
    ) -> BoxFuture<'_, Result<Response<Body>, AskFault>> {
        let asked = async move {
            self.ask(&route, side, request).await.map_err(|failed| match failed {
                AskFailed::Busy => AskFault::Busy,
                AskFailed::NoTarget | AskFailed::Unreachable(_) => AskFault::Down,
                AskFailed::Broken(_) => AskFault::Broken,
                AskFailed::TooSlow => AskFault::Slow,
            })
        };
        Box::pin(asked)
    }
}

/// What the user got.
#[derive(Debug)]
struct UserAnswer {
    status: StatusCode,
    headers: HeaderMap,
    body: Capture,
    /// To its head.
    took: Duration,
}

/// A copy that is to be made.
struct Job {
    route: Arc<Route>,
    rules: Arc<ShadowRules>,
    primary: Side,
    question: watch::Question,
    answer: oneshot::Receiver<Result<UserAnswer, Skipped>>,
}

/// All copies of a gateway.
pub(crate) struct Shadow {
    budget: Arc<Budget>,
    /// Bounded by what each route's queue may hold, and by the budget.
    queue: mpsc::UnboundedSender<Job>,
    waiting: std::sync::Mutex<Option<mpsc::UnboundedReceiver<Job>>>,
}

impl Shadow {
    /// Copies that together hold at most `bytes_max`. None is made before [`Shadow::start`].
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        let (queue, waiting) = mpsc::unbounded_channel();
        Arc::new(Self {
            budget: Budget::new(bytes_max),
            queue,
            waiting: std::sync::Mutex::new(Some(waiting)),
        })
    }

    /// Watches a request that `primary` answers, so that the other side can be asked the same.
    pub(crate) fn watch(
        self: &Arc<Self>,
        route: &Arc<Route>,
        rules: &Arc<ShadowRules>,
        head: &request::Parts,
        primary: Side,
    ) -> Option<Box<dyn Watcher>> {
        let copying = watch::begin(self, route, rules, head, primary)?;
        Some(Box::new(copying))
    }

    /// Begins to make copies, on a thread of its own, until `stop`. Gives nothing the second time.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(
        self: &Arc<Self>,
        asker: Arc<dyn Asker>,
        store: Store,
        stop: signal::Receiver<bool>,
    ) -> std::io::Result<Option<JoinHandle<()>>> {
        let waiting = self.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        let Some(waiting) = waiting else { return Ok(None) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shadow = self.clone();
        let thread = std::thread::Builder::new().name("gateway-shadow".into()).spawn(move || {
            // Users first: where the system does not allow this, the budget and the queue still hold.
            let _as_it_is = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS);
            runtime.block_on(shadow.run(waiting, asker, store.clone(), stop));
            // What is still under way is dropped: nobody waits for a copy. A write among it may have been done.
            runtime.shutdown_background();
            store.save();
        })?;
        Ok(Some(thread))
    }

    async fn run(
        self: Arc<Self>,
        mut waiting: mpsc::UnboundedReceiver<Job>,
        asker: Arc<dyn Asker>,
        store: Store,
        mut stop: signal::Receiver<bool>,
    ) {
        let mut store_at = tokio::time::interval(STORE_EVERY);
        loop {
            tokio::select! {
                job = waiting.recv() => match job {
                    Some(job) => drop(tokio::spawn(work::work(self.clone(), asker.clone(), job))),
                    None => break,
                },
                _ = store_at.tick() => store.save(),
                stopped = stop.wait_for(|stop| *stop) => {
                    drop(stopped);
                    break;
                }
            }
        }
        waiting.close();
        while let Ok(job) = waiting.try_recv() {
            let lane = job.route.lane();
            lane.queued.fetch_sub(1, Relaxed);
            lane.skip(Skipped::Stopping);
        }
    }

    fn send(&self, job: Job) -> Result<(), Skipped> {
        let lane = job.route.lane().clone();
        if !watch::take_place(&lane, &job.rules) {
            return Err(Skipped::QueueFull);
        }
        self.queue.send(job).map_err(|_| {
            lane.queued.fetch_sub(1, Relaxed);
            Skipped::Stopping
        })
    }

    fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Bytes that copies hold now.
    pub(crate) fn bytes_held(&self) -> usize {
        self.budget.used()
    }

    fn now(&self) -> u64 {
        now_millis()
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_millis() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
