//! What nobody asked for, and Banyan finds: the lead taken back by hand, a slot that was left behind.

use crate::moving::{Banyan, until};
use crate::shop::{Shop, mapping};
use banyan_domain::legacy::{Capability, Command, Phase};
use banyan_domain::{Actor, Outcome, Reason, Refusal, legacy, stock};
use banyan_legacy::Desk;
use std::sync::Arc;

/// As docs/phases/lead.md has it.
const TAKE_BACK: &str = "begin; select pg_advisory_xact_lock(hashtext('banyan:stock')); \
     update banyan_sync set phase = 'legacy', epoch = epoch + 1, changed_at = now() where capability = 'stock'; commit";

impl Banyan {
    async fn trouble(&self) -> Vec<String> {
        self.keeper.status().await.expect("it runs").trouble
    }

    async fn until_taken_over(&self) {
        until("Banyan to see that the lead is gone", async || {
            let state = self.state().await;
            let copied = state.source.as_ref().is_some_and(|source| !source.copying);
            (state.taken_over.is_some() && copied).then_some(())
        })
        .await;
        assert_eq!(self.state().await.phase, Phase::Mirror);
        assert_eq!(self.reserve("A", 1).await, Err(NOT_LEADING), "it decides nothing");
        assert!(self.trouble().await.iter().any(|why| why.contains("by hand")), "{:?}", self.trouble().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lead_taken_back_by_hand_closes_banyans_stock_until_an_operator_moves_on() {
    let (shop, _consented) = Shop::ready().await;
    shop.add("A", 5, 0).await;
    let banyan = Banyan::beside(&shop);
    banyan.to(Phase::Mirror).await;
    banyan.to(Phase::Lead).await;
    let reservation = banyan.reserve("A", 1).await.expect("Banyan leads");
    // While it lives: the stream says so.
    shop.run(TAKE_BACK).await;
    shop.run("update stockrecord set num_in_stock = 9, num_allocated = 2 where partner_sku = 'A'").await;
    banyan.until_taken_over().await;
    // What is reserved still stays what it is: 9 - 2 are on hand, of which it is one.
    banyan.until_books("A", (9, 3)).await;

    // Settled by moving on from here, once both sides are equal: what was reserved has ended.
    banyan.desk.ask(stock::Command::ReleaseReservation { reservation }).await.expect("released");
    banyan.to(Phase::Lead).await;
    assert_eq!(banyan.trouble().await, Vec::<String>::new());
    banyan.reserve("A", 1).await.expect("Banyan leads again");

    // While it is away, and with its slot: what it finds when it is back is a copy.
    let desk = banyan_stops_and_loses_its_slot(&shop, banyan).await;
    shop.run(TAKE_BACK).await;
    shop.run("update stockrecord set num_in_stock = 4, num_allocated = 0 where partner_sku = 'A'").await;
    let mapping = mapping("");
    let banyan = Banyan::keep(&desk, Arc::new(shop.database(&mapping)), mapping);
    banyan.until_taken_over().await;
    banyan.until_books("A", (4, 1)).await;
    let _desk = banyan.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_whose_slot_was_lost_before_it_came_is_applied_with_the_copy() {
    let (shop, _consented) = Shop::ready().await;
    shop.add("A", 5, 0).await;
    let mut banyan = Banyan::beside(&shop);
    banyan.to(Phase::Mirror).await;
    for (to, decided) in [(Phase::Lead, (5, 1)), (Phase::Mirror, (5, 3))] {
        let desk = banyan_stops_and_loses_its_slot(&shop, banyan).await;
        let (by, reason) = (Actor::new("op").expect("a name"), Reason::new("a test").expect("a reason"));
        let begun = desk
            .ask(Command::BeginMove {
                capability: Capability::Stock,
                from: None,
                to,
                by,
                reason,
                without: vec![],
            })
            .await;
        let Ok(Outcome::Legacy(legacy::Outcome::Move { number })) = begun else { panic!("{begun:?}") };
        // All of it was committed, and nobody heard of it: the switch, and before or after it an order of the old shop.
        let (sold, phase) = (decided.1, to.as_str());
        shop.run(&format!("update stockrecord set num_allocated = {sold} where partner_sku = 'A'")).await;
        shop.run(&format!("update banyan_sync set phase = '{phase}', epoch = epoch + 1, move = {number}"))
            .await;
        let mapping = mapping("");
        banyan = Banyan::keep(&desk, Arc::new(shop.database(&mapping)), mapping);
        until(&format!("phase {phase}"), async || {
            let state = banyan.state().await;
            let copied = state.source.as_ref().is_some_and(|source| !source.copying);
            (state.phase == to && state.moving.is_none() && copied).then_some(())
        })
        .await;
        banyan.until_books("A", decided).await;
        assert_eq!(
            banyan.reserve("A", 9).await.is_err_and(|refusal| refusal == NOT_LEADING),
            to == Phase::Mirror
        );
        assert_eq!(banyan.trouble().await, Vec::<String>::new());
    }
    let _desk = banyan.stop().await;
}

const NOT_LEADING: Refusal = Refusal::Legacy(legacy::Refusal::NotLeading);

async fn banyan_stops_and_loses_its_slot(shop: &Shop, banyan: Banyan) -> Desk {
    let desk = banyan.stop().await;
    until("the slot to be free", async || {
        let dropped = shop.client.execute("select pg_drop_replication_slot('banyan_stock')", &[]).await;
        dropped.is_ok().then_some(())
    })
    .await;
    desk
}

const SLOT: &str = "select pg_create_logical_replication_slot('banyan_stock', 'pgoutput')";
const SLOTS: &str = "select count(*) from pg_replication_slots";

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_was_left_behind_in_phase_legacy_is_given_up_and_told() {
    let (shop, _consented) = Shop::ready().await;
    shop.run(SLOT).await;
    let banyan = Banyan::beside(&shop);
    until("the slot to be given up", async || (shop.number(SLOTS).await == 0).then_some(())).await;
    let said = until("the keeper to say so", async || banyan.trouble().await.pop()).await;
    assert!(said.contains("has been given up"), "{said}");
    // A move makes its own, which stays, and there is nothing more to tell.
    shop.add("A", 5, 0).await;
    banyan.to(Phase::Mirror).await;
    until("the keeper to look again", async || banyan.trouble().await.is_empty().then_some(())).await;
    assert_eq!(shop.number(SLOTS).await, 1);
    let _desk = banyan.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_may_be_anothers_is_told_and_not_given_up() {
    let other = "select pg_create_logical_replication_slot('banyan_stock', 'test_decoding')";
    for (phase, slot, says) in [("lead", SLOT, "another Banyan's"), ("legacy", other, "not ours")] {
        let (shop, _consented) = Shop::ready().await;
        shop.run(&format!("update banyan_sync set phase = '{phase}'")).await;
        shop.run(slot).await;
        let banyan = Banyan::beside(&shop);
        let said = until("the keeper to say so", async || banyan.trouble().await.pop()).await;
        assert!(said.contains(says) && said.contains("not given up"), "{said}");
        assert_eq!(shop.number(SLOTS).await, 1);
        let _desk = banyan.stop().await;
    }
}
