//! Running a part of the sync for as long as it is needed.

use super::{Halt, Part, TROUBLE_PAUSE};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// A part that runs, or does not.
pub(super) struct Runner {
    /// What it is called in the log.
    name: &'static str,
    running: Option<(watch::Sender<bool>, JoinHandle<Halt>)>,
    rest_until: Option<Instant>,
}

impl Runner {
    pub(super) const fn new(name: &'static str) -> Self {
        Self { name, running: None, rest_until: None }
    }

    /// Starts or stops the part as it is needed. Gives why it has ended, if it should not have and could not say so itself.
    pub(super) async fn keep(&mut self, needed: bool, part: &Part) -> Option<String> {
        let mut panicked = None;
        if let Some((told, task)) = self.running.take_if(|(_, task)| task.is_finished()) {
            // Whoever was told to stop may be started again at once; who ended by himself rests.
            self.rest_until = (!*told.borrow()).then(|| Instant::now() + TROUBLE_PAUSE);
            if let Err(failed) = task.await {
                tracing::error!("{} has failed, which is a bug, and is started again: {failed}", self.name);
                panicked = Some(format!("it has failed, which is a bug, and is started again: {failed}"));
                self.rest_until = Some(Instant::now() + TROUBLE_PAUSE);
            }
        }
        match (&self.running, needed) {
            (None, true) if self.rest_until.is_none_or(|until| Instant::now() >= until) => {
                let (stop, stopping) = watch::channel(false);
                self.running = Some((stop, tokio::spawn(part(stopping))));
            }
            (Some((stop, _)), false) => {
                // What it was told is kept even if it has just ended.
                stop.send_replace(true);
            }
            _ => {}
        }
        panicked
    }

    /// Stops it, and waits until it has.
    pub(super) async fn end(self) {
        if let Some((stop, task)) = self.running {
            stop.send_replace(true);
            if let Err(failed) = task.await {
                tracing::error!("{} has failed, which is a bug: {failed}", self.name);
            }
        }
    }
}

/// Waits for `time`, or until told to stop; whether that was so. Nobody who could tell any more is as good.
pub(super) async fn is_told(stop: &mut watch::Receiver<bool>, time: Duration) -> bool {
    tokio::time::timeout(time, stop.wait_for(|stop| *stop)).await.is_ok()
}
