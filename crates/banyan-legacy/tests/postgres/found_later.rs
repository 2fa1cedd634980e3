//! What nobody asked for, and Banyan finds: the lead taken back by hand, a slot that was left behind.

use crate::moving::{beside, until_books};
use crate::shop::Shop;
use banyan_domain::legacy::Phase;
use banyan_domain::stock;
use banyan_legacy::Status;
use banyan_legacy_testkit::{Kept, NOT_LEADING, found, until};

/// As docs/phases/lead.md has it.
const TAKE_BACK: &str = "begin; select pg_advisory_xact_lock(hashtext('banyan:stock')); \
     update banyan_sync set phase = 'legacy', epoch = epoch + 1, changed_at = now() where capability = 'stock'; commit";

/// What an operator is told.
async fn trouble(banyan: &Kept) -> Vec<String> {
    banyan.status().await.trouble
}

async fn until_taken_over(banyan: &Kept) {
    banyan
        .until("Banyan sees that the lead is gone", |now| now.state.taken_over.is_some() && is_copied(now))
        .await;
    assert_eq!(banyan.state().await.phase, Phase::Mirror);
    assert_eq!(banyan.reserve("A", 1).await, Err(NOT_LEADING), "it decides nothing");
    let told = trouble(banyan).await;
    assert!(told.iter().any(|why| why.contains("by hand")), "{told:?}");
}

fn is_copied(now: &Status) -> bool {
    now.state.source.as_ref().is_some_and(|source| !source.copying)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lead_taken_back_by_hand_closes_banyans_stock_until_an_operator_moves_on() {
    let (shop, _consented) = Shop::ready().await;
    shop.add("A", 5, 0).await;
    let mut banyan = beside(&shop);
    banyan.goes(Phase::Mirror).await;
    banyan.goes(Phase::Lead).await;
    let reservation = banyan.reserve("A", 1).await.expect("Banyan leads");
    // While it lives: the stream says so.
    shop.run(TAKE_BACK).await;
    shop.run("update stockrecord set num_in_stock = 9, num_allocated = 2 where partner_sku = 'A'").await;
    until_taken_over(&banyan).await;
    // What is reserved still stays what it is: 9 - 2 are on hand, of which it is one.
    until_books(&banyan, "A", (9, 3)).await;
    assert!(trouble(&banyan).await.iter().any(|why| why.contains("open since before that: 1")), "it is told");
    assert_eq!(banyan.keeper().compare(true).await.map(|(_, differing)| differing), Ok(1));
    let gates = banyan.keeper().plan(Phase::Lead).await.expect("it runs").gates;
    let equal = gates.iter().find(|gate| gate.name == "equal").expect("a gate");
    assert!(!equal.holds && equal.found.contains("1 reservations are open since before"), "{equal:?}");

    // Settled by moving on from here, once both sides are equal: what was reserved has ended.
    banyan.ask(stock::Command::ReleaseReservation { reservation }).await;
    banyan.goes(Phase::Lead).await;
    assert_eq!(trouble(&banyan).await, Vec::<String>::new());
    banyan.reserve("A", 1).await.expect("Banyan leads again");

    // While it is away, and with its slot: what it finds when it is back is a copy.
    banyan.stop().await;
    shop.loses_its_slot().await;
    shop.run(TAKE_BACK).await;
    shop.run("update stockrecord set num_in_stock = 4, num_allocated = 0 where partner_sku = 'A'").await;
    banyan.start_again();
    until_taken_over(&banyan).await;
    until_books(&banyan, "A", (4, 1)).await;
    banyan.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_whose_slot_was_lost_before_it_came_is_applied_with_the_copy() {
    let (shop, _consented) = Shop::ready().await;
    shop.add("A", 5, 0).await;
    let mut banyan = beside(&shop);
    banyan.goes(Phase::Mirror).await;
    for (to, decided) in [(Phase::Lead, (5, 1)), (Phase::Mirror, (5, 3))] {
        banyan.stop().await;
        shop.loses_its_slot().await;
        let number = banyan.begins(to).await;
        // All of it was committed, and nobody heard of it: the switch, and before or after it an order of the old shop.
        let (sold, phase) = (decided.1, to.as_str());
        shop.run(&format!("update stockrecord set num_allocated = {sold} where partner_sku = 'A'")).await;
        shop.run(&format!("update banyan_sync set phase = '{phase}', epoch = epoch + 1, move = {number}"))
            .await;
        banyan.start_again();
        banyan
            .until(&format!("phase {phase}"), |now| {
                now.state.phase == to && now.state.moving.is_none() && is_copied(now)
            })
            .await;
        until_books(&banyan, "A", decided).await;
        let refused = banyan.reserve("A", 9).await;
        assert_eq!(refused == Err(NOT_LEADING), to == Phase::Mirror, "{refused:?}");
        assert_eq!(trouble(&banyan).await, Vec::<String>::new());
    }
    banyan.stop().await;
}

const SLOT: &str = "select pg_create_logical_replication_slot('banyan_stock', 'pgoutput')";
const SLOTS: &str = "select count(*) from pg_replication_slots";

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_was_left_behind_in_phase_legacy_is_given_up_and_told() {
    let (shop, _consented) = Shop::ready().await;
    shop.run(SLOT).await;
    let mut banyan = beside(&shop);
    until("the slot is given up", async || shop.number(SLOTS).await == 0).await;
    let said = found("the keeper says so", async || trouble(&banyan).await.pop()).await;
    assert!(said.contains("has been given up"), "{said}");
    // A move makes its own, which stays, and there is nothing more to tell.
    shop.add("A", 5, 0).await;
    banyan.goes(Phase::Mirror).await;
    until("the keeper looks again", async || trouble(&banyan).await.is_empty()).await;
    assert_eq!(shop.number(SLOTS).await, 1);
    banyan.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_may_be_anothers_is_told_and_not_given_up() {
    let other = "select pg_create_logical_replication_slot('banyan_stock', 'test_decoding')";
    for (phase, slot, says) in [("lead", SLOT, "another Banyan's"), ("legacy", other, "not ours")] {
        let (shop, _consented) = Shop::ready().await;
        shop.run(&format!("update banyan_sync set phase = '{phase}'")).await;
        shop.run(slot).await;
        let mut banyan = beside(&shop);
        let said = found("the keeper says so", async || trouble(&banyan).await.pop()).await;
        assert!(said.contains(says) && said.contains("not given up"), "{said}");
        assert_eq!(shop.number(SLOTS).await, 1);
        banyan.stop().await;
    }
}
