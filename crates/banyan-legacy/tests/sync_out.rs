//! The sync out and the repair of a comparison, against an old database in memory that a test can step into.

mod table;

use banyan_domain::legacy::{Command, MirrorRow, Phase, SourceBatch, SourceId};
use banyan_domain::{LocationId, SkuId};
use banyan_legacy::{OldDatabase, Stage, reconcile};
use std::sync::Arc;
use std::time::{Duration, Instant};
use table::{At, Database, STOCK, World, name};

#[tokio::test]
async fn one_refused_row_does_not_stop_the_others_and_is_found_again_after_a_crash() {
    let mut world = World::leading(300).await;
    let bad = name(7);
    world.shop.inner().rule =
        Box::new(|row| (row.sku == name(7) && row.allocated > 0).then_some("check (b = 0)"));
    let writer = world.follow();
    world.written().await;
    writer.kill().await;
    let before = world.seq().await;
    assert!(
        world.shop.inner().book.is_some_and(|book| book.seq > 0),
        "the log is read from the checkpoint on"
    );
    // All while nobody writes, so that it is one of many.
    for n in 1..=300 {
        world.sell(&name(n)).await;
    }
    let writer = world.follow();
    world.written().await;
    let mut expected = world.ours().await;
    expected.insert(bad.clone(), (100, 0));
    assert_eq!(world.shop.inner().rows, expected, "the others go on");
    let view = world.progress.view();
    assert_eq!((view.aside, view.outward, view.trouble.outward), (1, true, None));
    assert_eq!(view.aside_first.as_deref(), Some("S-00007 at main: check (b = 0)"));
    let book = world.shop.inner().book.expect("a row");
    assert!(book.seq <= before + 7, "the checkpoint is not past the row: {book:?}");

    // It is one of many again, and costs the others nothing.
    for n in 1..=300 {
        world.sell(&name(n)).await;
    }
    world.written().await;
    assert_eq!(world.shop.inner().rows[&name(8)], (100, 2));

    // Nobody knows of it after a crash but the checkpoint.
    writer.kill().await;
    world.sell(&name(9)).await;
    world.progress = Arc::default();
    world.progress.applied(world.shop.inner().position);
    let writer = world.follow();
    world.written().await;
    assert_eq!(world.progress.view().aside, 1, "it is found again");
    assert_eq!(world.shop.inner().rows[&name(9)], (100, 3));

    // Its item changes, and the old table takes it: then the checkpoint goes on.
    world.shop.inner().rule = Box::new(|_| None);
    world.sell(&bad).await;
    world.written().await;
    world.until("it is written", || world.progress.view().aside == 0).await;
    let expected = world.ours().await;
    assert_eq!(world.shop.inner().rows, expected);
    world.sell(&bad).await;
    let seq = world.seq().await;
    world.until("the checkpoint goes on", || world.shop.inner().book.expect("a row").seq >= seq).await;
    assert!(!writer.has_ended());
}

#[tokio::test]
async fn a_row_that_is_set_aside_is_tried_again_every_minute() {
    let world = World::leading(3).await;
    world.shop.inner().rule = Box::new(|row| (row.allocated > 0).then_some("check (b = 0)"));
    let _writer = world.follow();
    for n in 1..=3 {
        world.sell(&name(n)).await;
    }
    world.written().await;
    assert_eq!(world.progress.view().aside, 3, "all of them, and it goes on");
    world.shop.inner().rule = Box::new(|row| (row.sku == name(2)).then_some("still not"));
    let writes = world.shop.inner().writes;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
    world.until("they are tried again", || world.progress.view().aside == 1).await;
    assert!(world.shop.inner().writes > writes);
    assert_eq!(world.progress.view().aside_first.as_deref(), Some("S-00002 at main: still not"));
    assert_eq!(world.shop.inner().rows[&name(3)], (100, 1));
}

#[tokio::test]
async fn a_row_that_is_set_aside_differs_and_keeps_nobody_from_being_put_right() {
    let world = World::leading(20).await;
    world.shop.inner().rule = Box::new(|row| (row.sku == name(2)).then_some("frozen"));
    let _writer = world.follow();
    world.sell(&name(2)).await;
    world.written().await;
    world.shop.inner().rows.insert(name(5), (1, 1));
    let database = Database::new(&world.shop);
    let report = reconcile::pass(&world.desk, &database, &world.mapping, &world.progress, true).await;
    let report = report.expect("compared");
    assert_eq!((report.rows, report.differing, report.repaired), (20, 2, 1), "{report:?}");
    assert_eq!(world.shop.inner().rows[&name(5)], (100, 0));
    assert_eq!(world.shop.inner().rows[&name(2)], (100, 0));
}

#[tokio::test]
async fn a_move_back_does_not_hand_over_while_a_row_is_set_aside() {
    let world = World::leading(3).await;
    let _writer = world.follow();
    world.sell(&name(1)).await;
    world.written().await;
    world.begin(Phase::Mirror).await;
    let driver = world.driver();
    driver.step().await.expect("checked");
    // What is reserved is let go before the old shop leads again, and the old table refuses that.
    let reservations =
        |state: &banyan_domain::State| state.stock().reservations().map(|row| row.reservation).collect();
    let held: Vec<banyan_domain::ReservationNo> = world.desk.look(reservations).await.expect("it runs");
    world.shop.inner().rule = Box::new(|row| (row.sku == name(1)).then_some("frozen"));
    for reservation in held {
        world.ask(banyan_domain::stock::Command::ReleaseReservation { reservation }).await;
    }
    world.written().await;
    driver.step().await.expect("drained");
    driver.step().await.expect("noted");
    let Ok(Stage::Resting(why)) = driver.step().await else { panic!("it does not rest") };
    assert!(why.contains("S-00001 at main: frozen"), "{why}");
    assert_eq!(world.shop.inner().book.expect("a row").phase, Phase::Lead, "nothing was handed back");
    world.shop.inner().rule = Box::new(|_| None);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
    world.until("it is written", || world.progress.view().aside == 0).await;
    while world.state().await.moving.is_some() {
        driver.step().await.expect("nothing is in the way");
        world.hear().await;
    }
    assert_eq!(world.shop.inner().book.expect("a row").phase, Phase::Mirror);
}

/// Something is sold while a comparison puts the row right, at each point at which the sync out may come between; also while the
/// checkpoint stands still because of another row.
#[tokio::test]
async fn a_repair_never_leaves_an_older_value_than_the_sync_out_wrote() {
    for (at, is_held) in [(At::Book, false), (At::Write, false), (At::Book, true), (At::Write, true)] {
        let world = World::leading(20).await;
        let _writer = world.follow();
        if is_held {
            world.shop.inner().rule = Box::new(|row| (row.sku == name(20)).then_some("frozen"));
            world.sell(&name(20)).await;
        }
        world.sell(&name(5)).await;
        world.written().await;
        world.shop.inner().rows.insert(name(5), (77, 0));
        let database = Database::new(&world.shop);
        let beside = world.clone();
        database.step_in(
            at,
            Box::new(move || {
                Box::pin(async move {
                    beside.sell(&name(5)).await;
                    // The sync out gets as far as it can: either it waits for the repair, or it writes.
                    let until = Instant::now() + Duration::from_millis(300);
                    while Instant::now() < until && beside.shop.inner().rows[&name(5)] != (100, 2) {
                        // A condition is looked at again; nobody tells it.
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                })
            }),
        );
        let report = reconcile::pass(&world.desk, &database, &world.mapping, &world.progress, true).await;
        report.expect("compared");
        // Whatever was done, everything that has happened is said to be in the table.
        world.written().await;
        assert_eq!(world.shop.inner().rows[&name(5)], (100, 2), "{at:?}, held: {is_held}");
        assert_eq!(world.progress.view().aside, u64::from(is_held));
    }
}

#[tokio::test]
async fn a_repair_is_nothing_once_somebody_else_leads() {
    let world = World::leading(5).await;
    let _writer = world.follow();
    world.sell(&name(1)).await;
    world.written().await;
    world.shop.inner().rows.insert(name(1), (77, 0));
    let database = Database::new(&world.shop);
    let shop = world.shop.clone();
    database.step_in(
        At::Write,
        Box::new(move || {
            Box::pin(async move {
                let mut inner = shop.inner();
                let book = inner.book.expect("a row");
                inner.book =
                    Some(banyan_legacy::Book { phase: Phase::Mirror, epoch: book.epoch + 1, ..book });
            })
        }),
    );
    let report = reconcile::pass(&world.desk, &database, &world.mapping, &world.progress, true).await;
    assert_eq!(report.expect("compared").repaired, 0);
    assert_eq!(world.shop.inner().rows[&name(1)], (77, 0), "the old shop leads, and has its own number");
    assert!(database.book().await.expect("a book").is_some());
}

/// What is reserved here when the lead is taken back by hand stays reserved until it ends: the old shop knows nothing of it.
#[tokio::test]
async fn a_hold_from_before_a_takeover_is_told_apart_from_a_real_difference() {
    let world = World::leading(20).await;
    world.sell(&name(2)).await;
    world.sell(&name(3)).await;
    let epoch = world.state().await.epoch;
    world.ask(Command::NoteTakeover { capability: STOCK, number: epoch, phase: Phase::Legacy, epoch }).await;
    let (source, position) = (SourceId { system: "s".into(), stream: "banyan".into() }, 200);
    world.shop.inner().position = position;
    world.ask(Command::SetSource { capability: STOCK, source: source.clone(), position }).await;
    let row = |n: usize| MirrorRow {
        sku: SkuId::new(name(n)).expect("a SKU"),
        location: LocationId::new("main").expect("a location"),
        in_stock: 100,
        allocated: 0,
    };
    let batch = SourceBatch {
        capability: STOCK,
        source,
        position,
        part: 1,
        rows: (1..=20).map(row).collect(),
        outbox: vec![],
        switched: None,
    };
    world.ask(Command::ApplySource(Box::new(batch))).await;
    world.ask(Command::EndCopy { capability: STOCK }).await;
    world.progress.applied(position);
    let database = Database::new(&world.shop);
    let pass = async |repair| {
        let report = reconcile::pass(&world.desk, &database, &world.mapping, &world.progress, repair).await;
        let report = report.expect("compared");
        (report.differing, report.held_over, report.repaired)
    };
    assert_eq!(
        pass(true).await,
        (2, 2, 0),
        "nothing is to be put right, and this table would not let itself be touched"
    );
    // More than the hold, on an item that has one; and a difference without any.
    world.shop.inner().rows.insert(name(3), (90, 0));
    world.shop.inner().rows.insert(name(5), (1, 1));
    assert_eq!(pass(false).await, (3, 1, 0), "no real difference is explained away");
    world.shop.inner().rows.insert(name(3), (100, 0));
    world.shop.inner().rows.insert(name(5), (100, 0));
    let reservations =
        |state: &banyan_domain::State| state.stock().reservations().map(|row| row.reservation).collect();
    let held: Vec<banyan_domain::ReservationNo> = world.desk.look(reservations).await.expect("it runs");
    for reservation in held {
        world.ask(banyan_domain::stock::Command::ReleaseReservation { reservation }).await;
    }
    assert_eq!(pass(true).await, (0, 0, 0), "they are equal once the holds have ended");
}

#[tokio::test]
async fn a_second_comparison_reads_rows_only_where_digests_differ() {
    let world = World::leading(5_000).await;
    let _writer = world.follow();
    world.written().await;
    let database = Arc::new(Database::new(&world.shop));
    let compares = reconcile::Reconciler::new(
        world.desk.clone(),
        database,
        world.mapping.clone(),
        world.progress.clone(),
    );
    let read = || std::mem::take(&mut world.shop.inner().read);
    let pass = async |repair| compares.pass(repair).await.expect("compared");
    let first = pass(true).await;
    assert_eq!((first.rows, first.by_digest, first.differing, read()), (5_000, 0, 0, 5_000));
    let second = pass(true).await;
    assert_eq!((second.rows, second.by_digest, second.differing, read()), (5_000, 5_000, 0, 0));

    // What both sides changed is equal again, and needs no row.
    world.sell(&name(17)).await;
    world.written().await;
    assert_eq!((pass(true).await.by_digest, read()), (5_000, 0));

    // A number that somebody else wrote, a row that is gone, one that is new: in three ranges.
    world.shop.inner().rows.insert(name(1_500), (1, 0));
    world.shop.inner().rows.remove(&name(2_500));
    world.shop.inner().rows.insert("S-03500-new".into(), (5, 0));
    let found = pass(false).await;
    assert_eq!((found.rows, found.by_digest, found.differing), (5_000, 2_000, 3), "{found:?}");
    let mut differ: Vec<&str> = found.samples.iter().map(|sample| sample.sku.as_str()).collect();
    differ.sort_unstable();
    assert_eq!(differ, ["S-01500", "S-02500", "S-03500-new"]);
    let rows = read();
    assert!((3_000..3_100).contains(&rows), "{rows}");
    // They are found as long as they are there.
    assert_eq!(pass(false).await.differing, 3);
    let put_right = pass(true).await;
    assert_eq!((put_right.differing, put_right.repaired), (3, 1), "rows are neither made nor removed");
    world.shop.inner().rows.remove("S-03500-new");
    world.shop.inner().rows.insert(name(2_500), (100, 0));
    assert_eq!(pass(true).await.differing, 0);
    read();
    assert_eq!((pass(true).await.by_digest, read()), (5_000, 0));

    // Many rows at the table's end, and few left of many.
    for n in 5_001..=12_000 {
        world.shop.inner().rows.insert(name(n), (0, 0));
    }
    assert_eq!(pass(false).await.rows, 12_000);
    read();
    assert_eq!((pass(false).await.by_digest, read()), (12_000, 0));
    world.shop.inner().rows.retain(|sku, _| *sku <= name(5_000) || sku.ends_with("00"));
    assert_eq!(pass(false).await.differing, 0);
}
