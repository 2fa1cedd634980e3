//! Banyan with a keeper that runs.

use crate::banyan::Banyan;
use crate::until::seen;
use banyan_domain::Actor;
use banyan_domain::legacy::Phase;
use banyan_legacy::{Keeper, Status};
use std::ops::Deref;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// [`Banyan`] with a keeper, which runs unless it was stopped or killed.
pub struct Kept {
    banyan: Banyan,
    keeper: Arc<Keeper>,
    running: Option<(watch::Sender<bool>, JoinHandle<()>)>,
}

impl Kept {
    pub(crate) fn start(banyan: Banyan) -> Self {
        let keeper = Keeper::new(banyan.keeper_options());
        Self { banyan, running: Some(run(&keeper)), keeper }
    }

    /// The keeper.
    #[must_use]
    pub const fn keeper(&self) -> &Arc<Keeper> {
        &self.keeper
    }

    /// Everything about the capability at this moment.
    pub async fn status(&self) -> Status {
        self.keeper.status().await.expect("it runs")
    }

    /// Asks for a move until its gates hold, comparing both sides in between, and waits until it is done.
    pub async fn goes(&self, to: Phase) {
        let by = Actor::new("op").expect("a name");
        seen(&format!("a move to {}", to.as_str()), async || {
            let Err(why) = self.keeper.begin(to, by.clone(), "a test", &[]).await else { return Ok(()) };
            // The comparison is one of the gates.
            Err((why, self.keeper.compare(true).await))
        })
        .await;
        self.until(&format!("phase {}", to.as_str()), |status| {
            status.state.phase == to && status.state.moving.is_none()
        })
        .await;
    }

    /// Waits until everything about the capability is so.
    ///
    /// # Panics
    /// If it does not become so in time, with what it is instead.
    pub async fn until(&self, what: &str, holds: impl Fn(&Status) -> bool) {
        seen(what, async || {
            let status = self.status().await;
            if holds(&status) { Ok(()) } else { Err(status) }
        })
        .await;
    }

    /// Stops the keeper: the engine goes on, and nobody follows the old shop.
    ///
    /// # Panics
    /// If it had panicked.
    pub async fn stop(&mut self) {
        if let Some((stop, running)) = self.running.take() {
            stop.send_replace(true);
            running.await.expect("it does not panic");
        }
    }

    /// Dies in the middle of whatever it does. Only its log is left, from which the engine is started again; the keeper is not.
    pub async fn kill(&mut self) {
        if let Some((_, running)) = self.running.take() {
            running.abort();
            let _aborted = running.await;
        }
        self.banyan = self.banyan.from_its_log();
    }

    /// Runs a keeper again, which remembers nothing.
    pub fn start_again(&mut self) {
        assert!(self.running.is_none(), "it runs");
        *self = Self::start(self.banyan.remembering_nothing());
    }
}

/// What is asked of Banyan and seen of it is the same with a keeper.
impl Deref for Kept {
    type Target = Banyan;

    fn deref(&self) -> &Banyan {
        &self.banyan
    }
}

fn run(keeper: &Arc<Keeper>) -> (watch::Sender<bool>, JoinHandle<()>) {
    let (stop, stopping) = watch::channel(false);
    (stop, tokio::spawn(keeper.clone().run(stopping)))
}
