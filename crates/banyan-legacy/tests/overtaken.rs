//! Comparisons and their repairs beside an old database in memory, while somebody else comes to lead.

mod driving;

use banyan_domain::legacy::{Capability, Command, Phase};
use banyan_legacy::reconcile::{ReconcileError, ReconcileReport, pass};
use banyan_legacy::{Book, Progress};
use banyan_legacy_testkit::{OldShop, Question, World};
use driving::ITEMS;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// In phase `lead` where A differs, and nobody follows.
async fn differing() -> World {
    let world = World::leading(ITEMS).await;
    world.banyan.progress.wrote(u64::MAX, 0, 0);
    rots(&world.shop, 77);
    world
}

/// A is something else in the old table.
fn rots(shop: &OldShop, in_stock: i64) {
    shop.silently(|tables| tables.rows.insert("A".to_owned(), (in_stock, 0)));
}

async fn compare(world: &World, repair: bool) -> Result<ReconcileReport, ReconcileError> {
    let banyan = &world.banyan;
    pass(&banyan.desk, &world.wire, &banyan.mapping, &banyan.progress, repair).await
}

/// A comparison that has read all rows and the one that differs, and waits for everything before that to come.
async fn waiting(
    world: &World,
    repair: bool,
) -> (Arc<Progress>, JoinHandle<Result<ReconcileReport, ReconcileError>>) {
    world.shop.does_something_else();
    let read = world.shop.asked().rows_read;
    let beside = world.clone();
    let compares = tokio::spawn(async move { compare(&beside, repair).await });
    world.until("both rows and the one are read", |_| world.shop.asked().rows_read > read + 2).await;
    (world.banyan.progress.clone(), compares)
}

/// Changes the bookkeeping row just before it is looked at.
fn before_the_row_is_read(world: &World, change: fn(Book) -> Book) {
    let shop = world.shop.clone();
    world.wire.before(Question::Book, move || async move {
        let changed = change(shop.book());
        shop.silently(|tables| tables.book = Some(changed));
    });
}

/// (It was noted, and the gate "equal" of the next move rested on what had been compared while Banyan led.)
#[tokio::test]
async fn a_comparison_that_was_under_way_during_a_takeover_is_dropped() {
    let world = differing().await;
    let (progress, compares) = waiting(&world, false).await;
    let (capability, epoch) = (Capability::Stock, world.banyan.state().await.epoch);
    let takeover = Command::NoteTakeover { capability, number: epoch, phase: Phase::Legacy, epoch };
    world.banyan.ask(takeover).await;
    // It would find that nothing differs.
    rots(&world.shop, 5);
    progress.applied(world.shop.position());
    assert_eq!(compares.await.expect("no panic"), Err(ReconcileError::Overtaken));
    let state = world.banyan.state().await;
    assert_eq!((state.phase, state.reconciled), (Phase::Mirror, None));
}

#[tokio::test]
async fn a_comparison_does_not_take_a_position_of_another_stream_for_its_own() {
    let world = differing().await;
    let (progress, compares) = waiting(&world, true).await;
    // Another server, whose positions happen to be greater.
    progress.begun_anew();
    progress.applied(u64::MAX);
    let ended = compares.await.expect("no panic");
    assert!(matches!(&ended, Err(ReconcileError::Behind(why)) if why.contains("anew")), "{ended:?}");
    assert_eq!(world.shop.row("A"), Some((77, 0)), "nothing is put right on its word");
}

/// (The row's own epoch was taken, whoever's it was: a Banyan that had been given up wrote its old numbers over those of the one
/// that leads.)
#[tokio::test]
async fn a_repair_writes_nothing_where_the_bookkeeping_row_is_of_no_move_of_ours() {
    let anothers = |book: Book| Book { epoch: book.epoch + 3, move_no: book.move_no + 3, ..book };
    let retired = |book: Book| Book { phase: Phase::Retired, epoch: book.epoch + 1, ..book };
    let changes: [fn(Book) -> Book; 2] = [anothers, retired];
    for change in changes {
        let world = differing().await;
        before_the_row_is_read(&world, change);
        let report = compare(&world, true).await.expect("compared");
        assert_eq!((report.differing, report.repaired), (1, 0), "{report:?}");
        assert_eq!(world.shop.row("A"), Some((77, 0)), "it is somebody else's to write");
    }
}

#[tokio::test]
async fn a_repair_writes_nothing_once_our_own_move_has_given_the_tables_back() {
    let world = differing().await;
    let writes = world.shop.asked().writes;
    world.banyan.begins(Phase::Mirror).await;
    // The old database is told of the move just before the repair reads the row; its stream has not said so yet.
    before_the_row_is_read(&world, |book| Book {
        phase: Phase::Mirror,
        epoch: book.epoch + 1,
        move_no: book.move_no + 1,
        ..book
    });
    assert_eq!(compare(&world, true).await.expect("compared").repaired, 0);
    assert_eq!(world.shop.asked().writes, writes, "it does not even try");
    assert_eq!(world.shop.row("A"), Some((77, 0)), "the old shop leads, and has its own number");
}

#[tokio::test]
async fn a_repair_writes_what_is_ours() {
    let world = differing().await;
    // What it writes comes back.
    let running = world.banyan.follows_in();
    assert_eq!(compare(&world, true).await.expect("compared").repaired, 1);
    assert_eq!(world.shop.row("A"), Some((5, 0)));
    running.stop().await;
}
