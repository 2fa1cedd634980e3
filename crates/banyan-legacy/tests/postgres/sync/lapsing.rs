//! Holds of the old shop while the network to its database is gone for longer than they last.

use super::*;
use banyan_domain::ReservationNo;
use banyan_domain::stock::ReservationState::{self, Committed, Expired};
use std::time::Duration;

/// How long holds last here.
const HOLD: Duration = Duration::from_millis(500);

impl World {
    async fn until_waiting(&self, holds: usize) {
        self.banyan.until(&format!("{holds} holds wait"), |now| now.holds_waiting == holds).await;
    }

    async fn until_state(&self, no: ReservationNo, state: ReservationState) {
        seen(&format!("{no} becomes {state:?}"), async || {
            let is_so = self.banyan.state_of(no).await == state;
            if is_so { Ok(()) } else { Err(self.banyan.status().await) }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_outlive_a_network_that_is_gone_for_longer_than_they_last() {
    let mut world = World::open().await;
    world.shop.add("LAST", 2, 0).await;
    world.banyan.goes(Phase::Mirror).await;
    world.banyan.goes(Phase::Lead).await;

    // While everything flows, what nobody ordered lapses soon after its end.
    let left = world.banyan.reserve_for(HOLD, "LAST", 1).await.expect("one");
    world.until_state(left, Expired).await;

    // Nothing comes any more, and the old shop sells on.
    world.proxy.refuse(true);
    world.proxy.cut();
    let sold = world.banyan.reserve_for(HOLD, "LAST", 1).await.expect("one");
    let left = world.banyan.reserve_for(HOLD, "LAST", 1).await.expect("two");
    world.shop.order(sold).await;
    world.until_waiting(2).await;
    assert!(world.banyan.reserve_for(HOLD, "LAST", 1).await.is_err(), "both may be sold");

    // Banyan starts anew with deadlines that are past, before the stream has told anything.
    world.crash_banyan().await;
    world.until_waiting(2).await;
    assert!(world.banyan.reserve_for(HOLD, "LAST", 1).await.is_err(), "both may be sold");

    world.proxy.refuse(false);
    world.until_state(sold, Committed).await;
    world.until_state(left, Expired).await;
    let state = world.banyan.state().await;
    assert_eq!((state.refused, state.breaches), (0, 0));
    assert_eq!(world.equal().await["LAST"], (2, 1), "one is sold and one is free");
    world.banyan.stop().await;
}
