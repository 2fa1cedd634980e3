//! A real database, a real shard and the keeper between them: there and back, both sides deciding in turn.

use crate::shop::{Shop, mapping, session};
use banyan_domain::Actor;
use banyan_domain::legacy::Phase;
use banyan_legacy_testkit::{Banyan, Kept, NOT_LEADING, until};
use std::sync::Arc;

/// Banyan beside `shop`, kept.
pub(crate) fn beside(shop: &Shop) -> Kept {
    let mapping = mapping("");
    Banyan::beside(Arc::new(shop.database(&mapping)), mapping).kept()
}

pub(crate) async fn until_books(banyan: &Banyan, sku: &str, wanted: (i64, i64)) {
    until(&format!("{sku} at {wanted:?} in Banyan"), async || banyan.books(sku, "1").await == Some(wanted))
        .await;
}

impl Shop {
    /// In stock and allocated of a row.
    async fn row(&self, sku: &str) -> Option<(i64, i64)> {
        let sql = format!(
            "select num_in_stock::bigint, coalesce(num_allocated, 0)::bigint from stockrecord where partner_sku = '{sku}'"
        );
        let row = self.client.query_opt(&sql, &[]).await.expect("readable")?;
        Some((row.get(0), row.get(1)))
    }

    pub(crate) async fn until_row(&self, sku: &str, wanted: (i64, i64)) {
        until(&format!("{sku} at {wanted:?} in the old table"), async || self.row(sku).await == Some(wanted))
            .await;
    }

    /// Waits until nobody reads the slot, and drops it.
    pub(crate) async fn loses_its_slot(&self) {
        until("the slot is free", async || {
            let dropped = self.client.execute("select pg_drop_replication_slot('banyan_stock')", &[]).await;
            dropped.is_ok()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn there_and_back_with_both_sides_deciding_in_turn() {
    let (shop, _consented) = Shop::ready().await;
    for (sku, in_stock, allocated) in [("A", 5, 1), ("B", 0, 0), ("C", 100, 10)] {
        shop.add(sku, in_stock, allocated).await;
    }
    shop.run("insert into stockrecord (partner_sku, num_in_stock, num_allocated) select 'S' || n, 4, 0 from generate_series(1, 300) n").await;
    let mut banyan = beside(&shop);
    banyan.goes(Phase::Mirror).await;
    until_books(&banyan, "A", (5, 1)).await;
    assert_eq!(banyan.reserve("A", 1).await, Err(NOT_LEADING));
    // The old shop goes on, and Banyan follows.
    shop.run("update stockrecord set num_allocated = 2 where partner_sku = 'A'").await;
    shop.run("insert into stockrecord (partner_sku, num_in_stock) values ('D', 7)").await;
    shop.run("delete from stockrecord where partner_sku = 'B'").await;
    until_books(&banyan, "A", (5, 2)).await;
    until_books(&banyan, "D", (7, 0)).await;
    until_books(&banyan, "B", (0, 0)).await;

    banyan.goes(Phase::Lead).await;
    let reservation = banyan.reserve("A", 3).await.expect("three are free");
    assert!(banyan.reserve("A", 1).await.is_err());
    shop.until_row("A", (5, 5)).await;
    shop.order(reservation).await;
    shop.tell("ship", r#"{"sku": "A", "quantity": 2, "location": "1"}"#).await;
    shop.until_row("A", (3, 3)).await;
    shop.tell("deallocate", r#"{"sku": "A", "quantity": 1, "location": "1"}"#).await;
    shop.until_row("A", (3, 2)).await;
    shop.tell("count", r#"{"sku": "A", "on_hand": 10, "location": "1"}"#).await;
    shop.until_row("A", (10, 2)).await;
    assert_eq!(banyan.state().await.refused, 0);
    assert_eq!(banyan.state().await.breaches, 0, "nobody but us wrote: {:?}", banyan.progress.view());

    // Somebody writes past everybody: noticed, and put right.
    shop.run("update stockrecord set num_in_stock = 77 where partner_sku = 'A'").await;
    until("the breach", async || banyan.state().await.breaches == 1).await;
    shop.until_row("A", (10, 2)).await;
    // A change of another column is nobody's business.
    shop.run("update stockrecord set note = 'seen' where partner_sku = 'A'").await;
    let reservation = banyan.reserve("C", 1).await.expect("one");
    shop.until_row("C", (100, 11)).await;
    assert_eq!(banyan.state().await.breaches, 1);
    let compared = banyan.keeper().compare(false).await.expect("comparable");
    assert_eq!(compared, (303, 0));

    // One statement of the old shop over many rows is a transaction of many parts, none of which is ours to keep. (It stopped the
    // stream for good: the first part was passed over, and the second missed it.)
    shop.run("update stockrecord set note = 'repriced'").await;
    shop.run("update stockrecord set num_in_stock = num_in_stock + 1 where partner_sku like 'S%'").await;
    shop.tell("count", r#"{"sku": "D", "on_hand": 9, "location": "1"}"#).await;
    shop.until_row("D", (9, 0)).await;
    shop.until_row("S300", (4, 0)).await;

    // Retired and back: what happened meanwhile is in the old columns before they are relied upon again.
    banyan.goes(Phase::Retired).await;
    let gone = banyan.reserve("A", 1).await.expect("Banyan goes on");
    assert_eq!(shop.row("A").await, Some((10, 2)), "the old columns are not kept");
    banyan.goes(Phase::Lead).await;
    // (The writer reported its own side's move as trouble, and the next move was refused for it.)
    assert_eq!(banyan.progress.view().trouble.outward, None);
    shop.until_row("A", (10, 3)).await;
    assert_eq!(banyan.progress.view().trouble.outward, None);
    shop.order(gone).await;
    shop.tell("count", r#"{"sku": "D", "on_hand": 8, "location": "1"}"#).await;
    shop.until_row("D", (8, 0)).await;
    let trouble = banyan.progress.view().trouble;
    assert_eq!((trouble.inward, trouble.outward), (None, None), "the writer goes on with the new epoch");

    // Back: what is reserved is waited for, and the old shop's last word counts.
    shop.order(reservation).await;
    shop.tell("ship", r#"{"sku": "C", "quantity": 5, "location": "1"}"#).await;
    banyan.goes(Phase::Mirror).await;
    assert_eq!(shop.row("C").await, Some((95, 6)), "the old columns had everything before the old shop led");
    shop.run("update stockrecord set num_allocated = 7 where partner_sku = 'C'").await;
    until_books(&banyan, "C", (95, 7)).await;
    banyan.goes(Phase::Legacy).await;
    assert_eq!(shop.number("select count(*) from pg_replication_slots").await, 0, "nothing is kept for us");
    banyan.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_in_flight_are_waited_for_and_none_is_decided_twice() {
    let (shop, _consented) = Shop::ready().await;
    shop.add("A", 5, 0).await;
    let mut banyan = beside(&shop);
    banyan.goes(Phase::Mirror).await;
    // An order of the old shop: it has the lock, has read the phase, and has not written yet.
    let order = session(&shop.server.url()).await;
    order
        .batch_execute("begin; select pg_advisory_xact_lock_shared(hashtext('banyan:stock'))")
        .await
        .expect("the order begins");
    let _compared = banyan.keeper().compare(true).await.expect("comparable");
    let by = Actor::new("op").expect("a name");
    banyan.keeper().begin(Phase::Lead, by, "a test", &[]).await.expect("begun");
    banyan
        .until("the move waits for the order", |now| {
            now.stage.as_ref().is_some_and(|why| why.contains("order in flight"))
        })
        .await;
    assert_eq!(banyan.state().await.phase, Phase::Mirror);
    order
        .batch_execute("update stockrecord set num_allocated = 3 where partner_sku = 'A'; commit")
        .await
        .expect("the order ends");
    banyan.until("Banyan leads", |now| now.state.phase == Phase::Lead).await;
    assert_eq!(banyan.books("A", "1").await, Some((5, 3)), "the order counts");
    assert!(banyan.reserve("A", 3).await.is_err());
    banyan.reserve("A", 2).await.expect("two are left");
    banyan.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_is_gone_means_copying_by_difference() {
    let (shop, _consented) = Shop::ready().await;
    shop.add("A", 5, 0).await;
    shop.add("B", 6, 0).await;
    let mut banyan = beside(&shop);
    banyan.goes(Phase::Mirror).await;
    banyan.stop().await;
    shop.loses_its_slot().await;
    // What happened meanwhile is in no stream.
    shop.run("update stockrecord set num_in_stock = 50 where partner_sku = 'A'").await;
    shop.run("delete from stockrecord where partner_sku = 'B'").await;
    let before = banyan.seq().await;
    banyan.start_again();
    until_books(&banyan, "A", (50, 0)).await;
    until_books(&banyan, "B", (0, 0)).await;
    let events = banyan.seq().await - before;
    assert!(events < 20, "only what differed became events: {events}");
    banyan.stop().await;
}
