//! How long nothing may happen.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// A timer for one deadline after another, each later than the one before as a rule. It is set when there is none, and
/// moved when it fires too early: what goes well costs no work on timers.
#[derive(Default)]
pub(crate) struct Watchdog(Option<Pin<Box<Sleep>>>);

impl Watchdog {
    /// Ready once `deadline` has passed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let timer = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= deadline {
                // Whoever waits again gets a timer that has not fired.
                self.0 = None;
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }
}

/// Measures one silence after another.
pub(crate) struct Silence {
    limit: Duration,
    since: Option<Instant>,
    dog: Watchdog,
}

impl Silence {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, since: None, dog: Watchdog::default() }
    }

    /// How long it may last.
    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// Something happened.
    pub(crate) fn end(&mut self) {
        self.since = None;
    }

    /// Nothing happens. Ready when it lasted for too long.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = *self.since.get_or_insert_with(Instant::now) + self.limit;
        self.dog.poll(cx, deadline)
    }
}
