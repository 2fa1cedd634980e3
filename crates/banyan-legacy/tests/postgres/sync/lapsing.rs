//! Holds of the old shop while the network to its database is gone for longer than they last.

use super::*;
use banyan_domain::ReservationNo;
use banyan_domain::stock::ReservationState;

impl World {
    async fn reserve(&self, sku: &str, millis: u64) -> Option<ReservationNo> {
        let sku = SkuId::new(sku).expect("a SKU");
        let lines = Lines::new(vec![Line { sku, location: None, quantity: 1 }]).expect("lines");
        let hold_for = Millis::new(millis);
        let ask = stock::Command::Reserve { lines, member: None, order: None, hold_for };
        match self.banyan().desk.ask(ask).await {
            Ok(Outcome::Stock(stock::Outcome::Reservation(answer))) => Some(answer.reservation),
            _ => None,
        }
    }

    async fn state_of(&self, no: ReservationNo) -> ReservationState {
        let look = move |state: &banyan_domain::State| state.stock().reservation(no).map(|row| row.state);
        self.banyan().desk.look(look).await.expect("it runs").expect("remembered")
    }

    async fn until_waiting(&self, holds: usize) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while self.banyan().keeper.status().await.expect("it runs").holds_waiting != holds {
            assert!(tokio::time::Instant::now() < deadline, "{holds} do not wait");
            // A condition is looked at again; nobody tells it.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn until_state(&self, no: ReservationNo, state: ReservationState) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while self.state_of(no).await != state {
            let status = self.banyan().keeper.status().await;
            assert!(tokio::time::Instant::now() < deadline, "{no} does not become {state:?}: {status:?}");
            // A condition is looked at again; nobody tells it.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_outlive_a_network_that_is_gone_for_longer_than_they_last() {
    let mut world = World::open().await;
    world
        .shop
        .run("insert into stockrecord (partner_sku, num_in_stock, num_allocated) values ('LAST', 2, 0)")
        .await;
    world.go(Phase::Mirror).await;
    world.go(Phase::Lead).await;

    // While everything flows, what nobody ordered lapses soon after its end.
    let left = world.reserve("LAST", 500).await.expect("one");
    world.until_state(left, ReservationState::Expired).await;

    // Nothing comes any more, and the old shop sells on.
    world.proxy.refuse(true);
    world.proxy.cut();
    let sold = world.reserve("LAST", 500).await.expect("one");
    let left = world.reserve("LAST", 500).await.expect("two");
    let allocate = |no: ReservationNo| {
        format!(
            "insert into banyan_outbox (capability, kind, body) values ('stock', 'allocate', '{{\"reservation\": \"{no}\"}}')"
        )
    };
    world.shop.run(&allocate(sold)).await;
    world.until_waiting(2).await;
    assert!(world.reserve("LAST", 500).await.is_none(), "both may be sold");

    // Banyan starts anew with deadlines that are past, before the stream has told anything.
    world.kill_banyan().await;
    world.start_banyan();
    world.until_waiting(2).await;
    assert!(world.reserve("LAST", 500).await.is_none(), "both may be sold");

    world.proxy.refuse(false);
    world.until_state(sold, ReservationState::Committed).await;
    world.until_state(left, ReservationState::Expired).await;
    let state = world.state().await;
    assert_eq!((state.refused, state.breaches), (0, 0));
    assert_eq!(world.equal().await["LAST"], (2, 1), "one is sold and one is free");
    let Banyan { stop, running, .. } = world.banyan.take().expect("it runs");
    stop.send(true).expect("it listens");
    running.await.expect("it ends");
}
