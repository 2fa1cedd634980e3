//! Comparisons beside an old database in memory: what is on its way from one side to the other is no difference.

mod driving;

use banyan_legacy::reconcile::{ReconcileReport, pass};
use banyan_legacy_testkit::{Question, World};
use driving::ITEMS;
use tokio::task::JoinHandle;

/// A comparison that has read all rows and the one that seems to differ.
async fn compares(world: &World) -> JoinHandle<ReconcileReport> {
    let read = world.shop.asked().rows_read;
    let beside = world.clone();
    let compares = tokio::spawn(async move { compare(&beside).await });
    world.until("both rows and the one are read", |_| world.shop.asked().rows_read > read + 2).await;
    compares
}

async fn compare(world: &World) -> ReconcileReport {
    let banyan = &world.banyan;
    pass(&banyan.desk, &world.wire, &banyan.mapping, &banyan.progress, false).await.expect("compared")
}

#[tokio::test]
async fn a_change_that_is_on_its_way_in_is_no_difference() {
    let world = World::mirroring(ITEMS).await;
    let running = world.banyan.follows_in();
    world.shop.stands_still(true);
    world.shop.puts([("A", 4, 0)]);
    let compares = compares(&world).await;
    world.shop.stands_still(false);
    assert_eq!(compares.await.expect("no panic").differing, 0);
    running.stop().await;
}

#[tokio::test]
async fn a_sale_that_is_on_its_way_out_is_no_difference() {
    let world = World::leading(ITEMS).await;
    world.banyan.reserve("A", 1).await.expect("Banyan decides");
    let compares = compares(&world).await;
    let sync = world.banyan.follows();
    assert_eq!(compares.await.expect("no panic").differing, 0);
    assert_eq!(world.shop.row("A"), Some((5, 1)));
    sync.stop().await;
}

/// The old shop sells again and again, and its stream is always one sale behind when its table is looked at.
#[tokio::test]
async fn a_row_that_changes_between_two_looks_is_looked_at_again() {
    let world = World::mirroring(ITEMS).await;
    let running = world.banyan.follows_in();
    world.shop.stands_still(true);
    world.shop.puts([("A", 4, 0)]);
    let goes_on = || {
        let shop = world.shop.clone();
        move || async move { shop.stands_still(false) }
    };
    let shop = world.shop.clone();
    // All rows; the row as it seems to differ; the row when that has come here; and once more.
    world.wire.before(Question::Read, || async {});
    world.wire.before(Question::Read, goes_on());
    world.wire.before(Question::Read, move || async move {
        shop.stands_still(true);
        shop.puts([("A", 3, 0)]);
    });
    world.wire.before(Question::Read, goes_on());
    let report = compare(&world).await;
    assert_eq!((report.rows, report.differing), (2, 0), "{report:?}");
    running.stop().await;
}
