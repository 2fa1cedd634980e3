//! Both sides.

use crate::banyan::Banyan;
use crate::old_shop::OldShop;
use crate::until::{seen, until};
use crate::wire::Wire;
use banyan_domain::legacy::{CapabilityState, MoveStep, Phase};
use std::sync::Arc;

/// An old shop whose database is in memory, and Banyan beside it. Nothing runs by itself. A clone is the same world.
#[derive(Clone)]
pub struct World {
    /// The old shop.
    pub shop: OldShop,
    /// Banyan.
    pub banyan: Banyan,
    /// The connection through which it asks the old database.
    pub wire: Wire,
}

impl World {
    /// In phase `legacy`, with these rows in the old shop: SKU, in stock, allocated.
    pub fn with<S: Into<String>>(rows: impl IntoIterator<Item = (S, i64, i64)>) -> Self {
        let shop = OldShop::with(rows);
        let wire = shop.wire();
        let banyan = Banyan::beside(Arc::new(wire.clone()), OldShop::mapping());
        Self { shop, banyan, wire }
    }

    /// In phase `mirror`.
    pub async fn mirroring<S: Into<String>>(rows: impl IntoIterator<Item = (S, i64, i64)>) -> Self {
        let world = Self::with(rows);
        world.goes(Phase::Mirror).await;
        world
    }

    /// In phase `lead`.
    pub async fn leading<S: Into<String>>(rows: impl IntoIterator<Item = (S, i64, i64)>) -> Self {
        let world = Self::mirroring(rows).await;
        world.goes(Phase::Lead).await;
        world
    }

    /// Moves to a phase for which nothing need be written out.
    ///
    /// # Panics
    /// If something is in the way.
    pub async fn goes(&self, to: Phase) {
        self.banyan.begins(to).await;
        let driver = self.banyan.driver();
        while self.banyan.state().await.moving.is_some() {
            driver.step().await.expect("nothing is in the way");
            self.hear().await;
        }
    }

    /// Waits until the capability stands so.
    ///
    /// # Panics
    /// If it does not in time, with where it stands instead.
    pub async fn until(&self, what: &str, holds: impl Fn(&CapabilityState) -> bool) {
        seen(what, async || {
            let state = self.banyan.state().await;
            if holds(&state) { Ok(()) } else { Err(state) }
        })
        .await;
    }

    /// Runs the stream in until everything is here that the old shop has committed, if it is to be followed at all.
    pub async fn hear(&self) {
        if !is_followed(&self.banyan.state().await) || self.has_heard().await {
            return;
        }
        let follows = self.banyan.follows_in();
        until("everything that was committed is here", async || self.has_heard().await).await;
        follows.stop().await;
    }

    async fn has_heard(&self) -> bool {
        let is_copied = self.banyan.state().await.source.is_some_and(|source| !source.copying);
        is_copied && self.banyan.progress.view().position_applied >= self.shop.position()
    }
}

/// As a keeper has it: from the first copy on, for as long as the old shop says anything.
fn is_followed(state: &CapabilityState) -> bool {
    let copies = state.has_noted(MoveStep::Prepared);
    let gives_up = state.moving.as_ref().is_some_and(|moving| moving.to == Phase::Legacy);
    (state.phase != Phase::Legacy || copies) && !(gives_up && state.has_noted(MoveStep::Switched))
}
