//! Holds of the old shop beside a whole keeper: the stream can be made to stand still.

use banyan_domain::legacy::Phase;
use banyan_domain::stock::ReservationState::{Committed, Expired, Held};
use banyan_legacy::unattended;
use banyan_legacy_testkit::{Kept, OldShop, PLACE, Question, World, found, until};
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// Longer than any test.
const HOUR: Duration = Duration::from_secs(3_600);
/// Over in a moment.
const MOMENT: Duration = Duration::from_millis(100);

/// An old shop with this many units of each item, which Banyan leads.
async fn leading(items: &[String], in_stock: i64) -> (OldShop, Kept) {
    let World { shop, banyan, .. } = World::leading(items.iter().map(|sku| (sku, in_stock, 0))).await;
    (shop, banyan.kept())
}

/// With units of A alone.
async fn leading_a(in_stock: i64) -> (OldShop, Kept) {
    leading(&["A".to_owned()], in_stock).await
}

#[tokio::test]
async fn a_hold_whose_order_waits_in_a_stream_that_stands_still_is_not_sold_again() {
    let (shop, mut banyan) = leading_a(1).await;
    shop.stands_still(true);
    let reservation = banyan.reserve_for(MOMENT, "A", 1).await.expect("the last one");
    shop.orders(reservation);
    until("it waits", async || banyan.holds_waiting().await == 1).await;
    until("the old database is asked, to no avail", async || shop.asked().positions > 1).await;
    assert_eq!(banyan.state_of(reservation).await, Held);
    banyan.reserve_for(MOMENT, "A", 1).await.expect_err("it is sold");

    // The deadline is past when Banyan starts, and the stream still stands still.
    banyan.kill().await;
    banyan.start_again();
    let before = shop.asked().positions;
    until("it is asked again", async || shop.asked().positions > before).await;
    assert_eq!(banyan.state_of(reservation).await, Held);
    banyan.reserve_for(MOMENT, "A", 1).await.expect_err("it is sold");

    shop.stands_still(false);
    until("it is booked", async || banyan.state_of(reservation).await == Committed).await;
    assert_eq!((banyan.state().await.refused, banyan.holds_waiting().await), (0, 0));
    banyan.stop().await;
}

/// What the old database commits while it is asked where its log ends may be missing from the answer.
#[tokio::test]
async fn a_hold_that_ended_while_the_old_database_was_asked_does_not_lapse_on_its_answer() {
    let World { shop, banyan, wire } = World::leading([("A", 2, 0)]).await;
    let ((here, mut is_here), (goes_on, may_go_on)) = (oneshot::channel(), oneshot::channel());
    wire.after(Question::Position, move || async move {
        here.send(()).expect("somebody waits for it");
        may_go_on.await.expect("it is told");
    });
    let mut banyan = banyan.kept();
    let first = banyan.reserve_for(MOMENT, "A", 1).await.expect("one");
    found("the old database is asked", async || is_here.try_recv().ok()).await;
    let answer = shop.position();
    until("the stream comes there", async || banyan.progress.view().position_applied >= answer).await;
    shop.stands_still(true);
    let second = banyan.reserve_for(MOMENT, "A", 1).await.expect("two");
    shop.orders(second);
    until("it has ended, too", async || banyan.holds_waiting().await == 2).await;
    goes_on.send(()).expect("it waits for it");
    until("the first lapses", async || banyan.state_of(first).await == Expired).await;
    banyan.reserve_for(HOUR, "A", 2).await.expect_err("one of them is sold");
    shop.stands_still(false);
    until("it is booked", async || banyan.state_of(second).await == Committed).await;
    assert_eq!(banyan.books("A", PLACE).await, Some((2, 1)));
    assert_eq!(banyan.state().await.refused, 0);
    banyan.stop().await;
}

#[tokio::test]
async fn a_hold_that_nobody_ordered_lapses_once_the_stream_has_shown_it() {
    let (shop, mut banyan) = leading_a(2).await;
    let first = banyan.reserve_for(HOUR, "A", 1).await.expect("one");
    let second = banyan.reserve_for(MOMENT, "A", 1).await.expect("two");
    assert_eq!(shop.asked().positions, 0, "nothing waits, nothing is asked");
    until("it lapses", async || banyan.state_of(second).await == Expired).await;
    banyan.reserve_for(MOMENT, "A", 1).await.expect("free again");
    assert_eq!(banyan.state_of(first).await, Held);
    banyan.stop().await;
}

#[tokio::test]
async fn without_anybody_who_follows_holds_wait_unless_the_old_shop_is_gone() {
    let (_shop, mut banyan) = leading_a(2).await;
    banyan.stop().await;
    let left = banyan.reserve_for(MOMENT, "A", 1).await.expect("one");
    until("it waits", async || banyan.holds_waiting().await == 1).await;
    let (stop, stopping) = watch::channel(false);
    let waits = tokio::spawn(unattended(banyan.desk.clone(), false, stopping.clone()));
    banyan.reserve_for(HOUR, "A", 1).await.expect("two");
    assert_eq!(banyan.state_of(left).await, Held);
    let gone = tokio::spawn(unattended(banyan.desk.clone(), true, stopping));
    until("it lapses by the clock", async || banyan.state_of(left).await == Expired).await;
    stop.send(true).expect("they listen");
    waits.await.expect("it ends");
    gone.await.expect("it ends");
}

#[tokio::test]
async fn a_move_back_drains_holds_that_wait() {
    let (shop, mut banyan) = leading_a(2).await;
    shop.stands_still(true);
    let sold = banyan.reserve_for(MOMENT, "A", 1).await.expect("one");
    let left = banyan.reserve_for(MOMENT, "A", 1).await.expect("two");
    shop.orders(sold);
    until("both wait", async || banyan.holds_waiting().await == 2).await;
    banyan.begins(Phase::Mirror).await;
    shop.stands_still(false);
    until("one is booked", async || banyan.state_of(sold).await == Committed).await;
    until("one lapses", async || banyan.state_of(left).await == Expired).await;
    banyan.until("the old shop leads", |now| now.state.phase == Phase::Mirror).await;
    assert_eq!(shop.row("A"), Some((2, 1)), "it knows what was sold");
    banyan.stop().await;
}

/// Found by reading: each row of a bulk update was a block of its own, and the stream stood still meanwhile.
#[tokio::test]
async fn a_bulk_write_of_somebody_else_is_few_events_and_every_row_is_put_right() {
    let items: Vec<String> = (0..450).map(|n| format!("S{n}")).collect();
    let (shop, mut banyan) = leading(&items, 5).await;
    until("everything is written out once", async || shop.book().seq > 0).await;
    let before = banyan.seq().await;
    shop.puts(items.iter().map(|sku| (sku, 6, 0)));
    // And many small ones, which come together.
    for sku in &items[..50] {
        shop.puts([(sku, 7, 0)]);
    }
    until("all are counted", async || banyan.state().await.breaches == 500).await;
    let events = banyan.seq().await - before;
    assert!(events < 150, "{events} events for 500 writes");
    until("every row is put right", async || shop.rows().values().all(|row| *row == (5, 0))).await;
    banyan.stop().await;
}
