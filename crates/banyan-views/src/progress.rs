//! How far a view has come: written by its runner, read by everybody.

use banyan_log::Seq;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Called with the new checkpoint after each transaction, on the view's thread: it must return at once.
pub type Subscriber = Arc<dyn Fn(Seq) + Send + Sync>;

/// What a view's runner is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ViewState {
    /// Following the log.
    Running = 0,
    /// Following the log, while a new file is built beside the old one.
    Rebuilding = 1,
    /// The last transaction failed; it is being tried again.
    Retrying = 2,
    /// It cannot go on until an operator does something.
    Failed = 3,
    /// Stopped on request.
    Stopped = 4,
}

/// Progress of one view. Cheap to read from any thread.
#[derive(Default)]
pub struct ViewProgress {
    applied: AtomicU64,
    applied_time_ms: AtomicU64,
    head: AtomicU64,
    caught_up_ms: AtomicU64,
    events: AtomicU64,
    events_per_second: AtomicU64,
    commits: AtomicU64,
    parked: AtomicU64,
    state: AtomicU8,
    rebuilding: AtomicBool,
    waiters: AtomicU32,
    lock: Mutex<Shared>,
    moved: Condvar,
}

#[derive(Default)]
struct Shared {
    problem: Option<String>,
    subscribers: Vec<Subscriber>,
}

impl ViewState {
    /// The state in one word, for operators.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Rebuilding => "rebuilding",
            Self::Retrying => "retrying",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }

    const ALL: [Self; 5] = [Self::Running, Self::Rebuilding, Self::Retrying, Self::Failed, Self::Stopped];
}

impl ViewProgress {
    /// Seq of the last event whose effect can be read.
    #[must_use]
    pub fn applied(&self) -> Seq {
        Seq(self.applied.load(Ordering::Acquire))
    }

    /// Confirmed events that are not applied yet, as last seen by the runner.
    #[must_use]
    pub fn lag_events(&self) -> u64 {
        self.head.load(Ordering::Relaxed).saturating_sub(self.applied().0)
    }

    /// Age of what can be read: zero at the head of the log, and otherwise at most the time since the last applied
    /// block was decided, or since the view was last seen to be at the head, whichever is less.
    #[must_use]
    pub fn lag(&self) -> Duration {
        if self.lag_events() == 0 {
            return Duration::ZERO;
        }
        let known =
            self.applied_time_ms.load(Ordering::Relaxed).max(self.caught_up_ms.load(Ordering::Relaxed));
        Duration::from_millis(wall_ms().saturating_sub(known))
    }

    /// Events applied by this runner since it started.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    /// Events a second, over about the last few seconds of work.
    #[must_use]
    pub fn events_per_second(&self) -> u64 {
        self.events_per_second.load(Ordering::Relaxed)
    }

    /// Transactions committed since the runner started.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Events in the view's parked lane.
    #[must_use]
    pub fn parked(&self) -> u64 {
        self.parked.load(Ordering::Relaxed)
    }

    /// What the runner is doing.
    #[must_use]
    pub fn state(&self) -> ViewState {
        let state = ViewState::ALL[usize::from(self.state.load(Ordering::Acquire))];
        let rebuilding = self.rebuilding.load(Ordering::Acquire);
        if rebuilding && state == ViewState::Running { ViewState::Rebuilding } else { state }
    }

    /// Why it is retrying or failed, if it is.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.shared().problem.clone()
    }

    /// Waits until the effect of `seq` can be read, or until `timeout` is over: false then, and if the runner stopped.
    /// While somebody waits, the runner commits early.
    #[must_use]
    pub fn wait_for(&self, seq: Seq, timeout: Duration) -> bool {
        if self.applied() >= seq {
            return true;
        }
        let end = Instant::now().checked_add(timeout);
        let mut guard = self.shared();
        self.waiters.fetch_add(1, Ordering::SeqCst);
        while self.applied() < seq && self.state() != ViewState::Stopped {
            let left = end.map_or(timeout, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                break;
            }
            guard = self.moved.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        self.waiters.fetch_sub(1, Ordering::SeqCst);
        self.applied() >= seq
    }

    /// Calls `subscriber` after each transaction from now on: the way to wait without blocking a thread. Register, then
    /// look at [`Self::applied`], so that nothing is missed.
    pub fn subscribe(&self, subscriber: Subscriber) {
        self.shared().subscribers.push(subscriber);
    }

    /// Tells the runner that somebody waits without blocking (`true`), or no longer does (`false`), so that it commits
    /// early meanwhile.
    pub fn hurry(&self, waiting: bool) {
        if waiting {
            self.waiters.fetch_add(1, Ordering::SeqCst);
        } else {
            self.waiters.fetch_sub(1, Ordering::SeqCst);
        }
    }

    pub(crate) fn is_awaited(&self) -> bool {
        self.waiters.load(Ordering::SeqCst) > 0
    }

    pub(crate) fn saw_head(&self, head: Seq) {
        self.head.store(head.0, Ordering::Relaxed);
    }

    pub(crate) fn caught_up(&self) {
        self.caught_up_ms.store(wall_ms(), Ordering::Relaxed);
    }

    pub(crate) fn start_at(&self, checkpoint: Seq, parked: u64) {
        self.applied.store(checkpoint.0, Ordering::Release);
        self.parked.store(parked, Ordering::Relaxed);
        self.set_state(ViewState::Running, None);
    }

    /// A transaction was committed, `since` after the one before it.
    pub(crate) fn committed(&self, applied: crate::Applied, time_ms: u64, parked: u64, since: Duration) {
        self.applied_time_ms.store(time_ms, Ordering::Relaxed);
        self.events.fetch_add(applied.events, Ordering::Relaxed);
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.parked.store(parked, Ordering::Relaxed);
        let now = applied.events as f64 / since.as_secs_f64().max(0.001);
        let weight = since.as_secs_f64().min(2.0) / 2.0;
        let rate = self.events_per_second.load(Ordering::Relaxed) as f64;
        self.events_per_second.store((rate + (now - rate) * weight) as u64, Ordering::Relaxed);
        self.applied.store(applied.checkpoint.0, Ordering::Release);
        let shared = self.shared();
        for subscriber in &shared.subscribers {
            subscriber(applied.checkpoint);
        }
        drop(shared);
        self.moved.notify_all();
    }

    pub(crate) fn set_state(&self, state: ViewState, problem: Option<String>) {
        let mut shared = self.shared();
        shared.problem = problem;
        self.state.store(state as u8, Ordering::Release);
        drop(shared);
        self.moved.notify_all();
    }

    /// Notes that a rebuild begins; false if one is under way already.
    pub(crate) fn begin_rebuilding(&self) -> bool {
        !self.rebuilding.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn end_rebuilding(&self) {
        self.rebuilding.store(false, Ordering::Release);
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The wall clock, which lag is measured with: block times are wall-clock times too.
fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
