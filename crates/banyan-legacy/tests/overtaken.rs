//! Comparisons and their repairs beside an old database in memory, while somebody else comes to lead.

mod table;

use banyan_domain::legacy::{Command, Phase};
use banyan_legacy::{Book, reconcile};
use table::{At, Database, STOCK, World, name};

/// (It was noted, and the gate "equal" of the next move rested on what had been compared while Banyan led.)
#[tokio::test]
async fn a_comparison_that_was_under_way_during_a_takeover_is_dropped() {
    let world = World::leading(20).await;
    world.progress.wrote(u64::MAX, 0, 0);
    // One row differs, so that both sides are looked at again, when everything up to the position that was seen has come.
    world.shop.inner().rows.insert(name(5), (77, 0));
    world.shop.inner().position += 7;
    let read = world.shop.inner().read;
    let compares = {
        let world = world.clone();
        let database = Database::new(&world.shop);
        tokio::spawn(async move {
            reconcile::pass(&world.desk, &database, &world.mapping, &world.progress, false).await
        })
    };
    world.until("all rows and the one are read", || world.shop.inner().read > read + 20).await;
    let state = world.state().await;
    let (number, epoch) = (state.epoch, state.epoch);
    world.ask(Command::NoteTakeover { capability: STOCK, number, phase: Phase::Legacy, epoch }).await;
    // It would find that nothing differs.
    world.shop.inner().rows.insert(name(5), (100, 0));
    world.progress.applied(world.shop.inner().position);
    let ended = compares.await.expect("no panic");
    assert_eq!(ended, Err(reconcile::ReconcileError::Overtaken));
    let state = world.state().await;
    assert_eq!((state.phase, state.reconciled), (Phase::Mirror, None));
}

#[tokio::test]
async fn a_comparison_does_not_wait_for_a_position_of_a_stream_that_was_begun_anew() {
    let world = World::leading(20).await;
    world.progress.wrote(u64::MAX, 0, 0);
    world.shop.inner().rows.insert(name(5), (77, 0));
    world.shop.inner().position += 7;
    let read = world.shop.inner().read;
    let compares = {
        let world = world.clone();
        let database = Database::new(&world.shop);
        tokio::spawn(async move {
            reconcile::pass(&world.desk, &database, &world.mapping, &world.progress, true).await
        })
    };
    world.until("all rows and the one are read", || world.shop.inner().read > read + 20).await;
    // Another server, whose positions happen to be greater.
    world.progress.begun_anew();
    world.progress.applied(u64::MAX);
    let ended = compares.await.expect("no panic");
    assert!(
        matches!(&ended, Err(reconcile::ReconcileError::Behind(why)) if why.contains("anew")),
        "{ended:?}"
    );
    assert_eq!(world.shop.inner().rows[&name(5)], (77, 0), "nothing is put right on its word");
}

/// (The row's own epoch was taken, whoever's it was: a Banyan that had been given up wrote its old numbers over those of the one
/// that leads.)
#[tokio::test]
async fn a_repair_writes_nothing_where_the_bookkeeping_row_is_of_no_move_of_ours() {
    let anothers = |book: Book| Book { epoch: book.epoch + 3, move_no: book.move_no + 3, ..book };
    let retired = |book: Book| Book { phase: Phase::Retired, epoch: book.epoch + 1, ..book };
    let changes: [fn(Book) -> Book; 2] = [anothers, retired];
    for change in changes {
        let world = World::leading(20).await;
        world.progress.wrote(u64::MAX, 0, 0);
        world.shop.inner().rows.insert(name(5), (77, 0));
        let database = Database::new(&world.shop);
        let shop = world.shop.clone();
        database.step_in(
            At::Book,
            Box::new(move || {
                Box::pin(async move {
                    let mut inner = shop.inner();
                    inner.book = inner.book.map(change);
                })
            }),
        );
        let report = reconcile::pass(&world.desk, &database, &world.mapping, &world.progress, true).await;
        let report = report.expect("compared");
        assert_eq!((report.differing, report.repaired), (1, 0), "{report:?}");
        assert_eq!(world.shop.inner().rows[&name(5)], (77, 0), "they are somebody else's to write");
    }
}

#[tokio::test]
async fn a_repair_writes_nothing_once_our_own_move_has_given_the_tables_back() {
    let world = World::leading(20).await;
    world.progress.wrote(u64::MAX, 0, 0);
    world.shop.inner().rows.insert(name(5), (77, 0));
    let writes = world.shop.inner().writes;
    let database = Database::new(&world.shop);
    let beside = world.clone();
    // The old database is told of the move while the repair waits for the row; its stream has not said so yet.
    database.step_in(
        At::Book,
        Box::new(move || {
            Box::pin(async move {
                let mut inner = beside.shop.inner();
                let book = inner.book.expect("a row");
                inner.book = Some(Book {
                    phase: Phase::Mirror,
                    epoch: book.epoch + 1,
                    move_no: book.move_no + 1,
                    ..book
                });
            })
        }),
    );
    world.begin(Phase::Mirror).await;
    let report = reconcile::pass(&world.desk, &database, &world.mapping, &world.progress, true).await;
    assert_eq!(report.expect("compared").repaired, 0);
    assert_eq!(world.shop.inner().writes, writes, "it does not even try");
    assert_eq!(world.shop.inner().rows[&name(5)], (77, 0), "the old shop leads, and has its own number");
}
