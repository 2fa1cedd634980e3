//! Comparisons and their repairs beside an old database in memory, while somebody else comes to lead.

mod servers;

use banyan_domain::legacy::{Command, Phase};
use banyan_legacy::reconcile::{ReconcileError, ReconcileReport, pass};
use banyan_legacy::{Book, Progress};
use servers::{Database, STOCK, World, mapping};
use std::sync::Arc;
use tokio::task::JoinHandle;

/// In phase `lead` with A at 5 and B at 3, where A differs, and the stream stands still.
async fn differing() -> World {
    let (world, running) = World::leading().await;
    running.stop().await;
    world.old.change(|inner| inner.rows.insert("A", 77));
    world
}

async fn compare(world: &World, repair: bool) -> Result<ReconcileReport, ReconcileError> {
    pass(&world.desk, &Database(world.old.clone()), &mapping(""), &world.progress, repair).await
}

/// A comparison that has read all rows and the one that differs, and waits for everything before that to come.
async fn waiting(
    world: &World,
    repair: bool,
) -> (Arc<Progress>, JoinHandle<Result<ReconcileReport, ReconcileError>>) {
    let read = world.old.change(|inner| {
        inner.position += 7;
        inner.read
    });
    let beside = world.clone();
    let compares = tokio::spawn(async move { compare(&beside, repair).await });
    world.until("both rows and the one are read", |_| world.old.inner().read > read + 2).await;
    (world.progress.clone(), compares)
}

/// (It was noted, and the gate "equal" of the next move rested on what had been compared while Banyan led.)
#[tokio::test]
async fn a_comparison_that_was_under_way_during_a_takeover_is_dropped() {
    let world = differing().await;
    let (progress, compares) = waiting(&world, false).await;
    let epoch = world.state().await.epoch;
    let takeover = Command::NoteTakeover { capability: STOCK, number: epoch, phase: Phase::Legacy, epoch };
    world.ask(takeover).await;
    // It would find that nothing differs.
    let position = world.old.change(|inner| {
        inner.rows.insert("A", 5);
        inner.position
    });
    progress.applied(position);
    assert_eq!(compares.await.expect("no panic"), Err(ReconcileError::Overtaken));
    let state = world.state().await;
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
    assert_eq!(world.old.inner().rows["A"], 77, "nothing is put right on its word");
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
        world.old.change(|inner| inner.before_book = Some(change));
        let report = compare(&world, true).await.expect("compared");
        assert_eq!((report.differing, report.repaired), (1, 0), "{report:?}");
        assert_eq!(world.old.inner().rows["A"], 77, "it is somebody else's to write");
    }
}

#[tokio::test]
async fn a_repair_writes_nothing_once_our_own_move_has_given_the_tables_back() {
    let world = differing().await;
    let writes = world.old.inner().writes;
    world.begin(Phase::Mirror).await;
    // The old database is told of the move just before the repair reads the row; its stream has not said so yet.
    world.old.change(|inner| {
        inner.before_book = Some(|book| Book {
            phase: Phase::Mirror,
            epoch: book.epoch + 1,
            move_no: book.move_no + 1,
            ..book
        });
    });
    assert_eq!(compare(&world, true).await.expect("compared").repaired, 0);
    assert_eq!(world.old.inner().writes, writes, "it does not even try");
    assert_eq!(world.old.inner().rows["A"], 77, "the old shop leads, and has its own number");
}

#[tokio::test]
async fn a_repair_writes_what_is_ours() {
    let world = differing().await;
    assert_eq!(compare(&world, true).await.expect("compared").repaired, 1);
    assert_eq!(world.old.inner().rows["A"], 5);
}
