//! The bounded queue in front of the writer, and the writer's waiting.
//!
//! One lock guards both the queue and the log's "free again", because the writer waits for either. Senders wake it only
//! when there is enough to be worth it: one command if the log is free, a big batch if it is busy.

use crate::answer::Work;
use crate::metrics::Metrics;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Why a command was not taken. It was not carried out, and never will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubmitError {
    /// The queue is full: try again in a moment.
    Busy,
    /// The shard is shutting down.
    Closed,
}

#[derive(Debug)]
pub(crate) struct Inbox {
    inner: Mutex<Inner>,
    changed: Condvar,
    commands_max: usize,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Inner {
    queue: VecDeque<Work>,
    commands: usize,
    /// Commands at which the sleeping writer wants to be woken; none while it is awake.
    wake_at: Option<usize>,
    log_busy: bool,
    closed: bool,
}

/// Why the writer woke up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Woken {
    /// Whether the log can take a block.
    pub log_free: bool,
    /// Whether the queue was closed and is empty.
    pub done: bool,
}

impl Inbox {
    pub(crate) fn new(commands_max: usize, metrics: Arc<Metrics>) -> Self {
        Self { inner: Mutex::default(), changed: Condvar::new(), commands_max, metrics }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues `work` for the writer.
    pub(crate) fn push(&self, work: Work) -> Result<(), SubmitError> {
        let commands = work.commands();
        let mut inner = self.lock();
        if inner.closed {
            return Err(SubmitError::Closed);
        }
        // A batch is taken whole when there is any room at all: splitting it would break its order.
        if inner.commands >= self.commands_max {
            drop(inner);
            self.metrics.turned_away(commands);
            return Err(SubmitError::Busy);
        }
        inner.commands += commands;
        inner.queue.push_back(work);
        let wake = inner.wake_at.is_some_and(|at| inner.commands >= at);
        if wake {
            inner.wake_at = None;
        }
        drop(inner);
        if wake {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Commands that wait for the writer now.
    pub(crate) fn waiting(&self) -> u64 {
        self.lock().commands as u64
    }

    /// Takes everything queued into `into`, which must be empty.
    pub(crate) fn drain(&self, into: &mut VecDeque<Work>) {
        let mut inner = self.lock();
        std::mem::swap(&mut inner.queue, into);
        inner.commands = 0;
    }

    /// Waits until there is something to decide or to hand over, or until `deadline`.
    ///
    /// `pending` says that something decided or drained waits for the log; `ahead_at` is how many queued commands make it
    /// worth deciding while the log is still busy; `not_before` is the earliest moment for the next block.
    pub(crate) fn wait(
        &self,
        pending: bool,
        ahead_at: usize,
        not_before: Instant,
        deadline: Option<Instant>,
    ) -> Woken {
        let mut inner = self.lock();
        loop {
            let now = Instant::now();
            let log_free = !inner.log_busy && now >= not_before;
            let enough = if log_free { 1 } else { ahead_at };
            let done = inner.closed && inner.commands == 0;
            let ready = inner.commands >= enough || (pending && log_free) || (done && log_free);
            if ready || deadline.is_some_and(|at| now >= at) {
                inner.wake_at = None;
                return Woken { log_free, done };
            }
            inner.wake_at = Some(enough);
            // Once the pace allows a block, a single command is worth waking for: look again then.
            let pace = (!inner.log_busy && now < not_before).then_some(not_before);
            let until = [pace, deadline].into_iter().flatten().min();
            inner = match until {
                Some(until) => {
                    let timeout = until.saturating_duration_since(now).max(Duration::from_micros(1));
                    self.changed.wait_timeout(inner, timeout).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Notes that the log has a block, or has finished it.
    pub(crate) fn set_log_busy(&self, busy: bool) {
        let mut inner = self.lock();
        inner.log_busy = busy;
        drop(inner);
        if !busy {
            self.changed.notify_one();
        }
    }

    /// Takes no further command and drops what is queued, whose senders learn that nobody will answer.
    pub(crate) fn fail(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.commands = 0;
        drop(std::mem::take(&mut inner.queue));
        drop(inner);
        self.changed.notify_one();
    }

    /// Takes no further command; what is queued will be decided.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "the queue is full; try again in a moment",
            Self::Closed => "the shard is shutting down",
        })
    }
}

impl std::error::Error for SubmitError {}
