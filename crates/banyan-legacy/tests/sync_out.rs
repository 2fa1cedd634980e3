//! The sync out and the repair of a comparison, against an old database in memory that a test can step into.

mod driving;

use banyan_domain::legacy::Phase;
use banyan_domain::stock::Command::ReleaseReservation;
use banyan_legacy::{Book, OldDatabase, ProgressView, Stage, reconcile};
use banyan_legacy_testkit::{Question, Wire, World, until};
use driving::{a_minute_later, written};
use std::cell::Cell;
use std::time::{Duration, Instant};

/// The SKU of an item.
fn name(n: usize) -> String {
    format!("S-{n:05}")
}

/// In phase `lead`, with so many items of 100 units.
async fn leading(items: usize) -> World {
    World::leading((1..=items).map(|n| (name(n), 100, 0))).await
}

fn view(world: &World) -> ProgressView {
    world.banyan.progress.view()
}

async fn sell(world: &World, n: usize) {
    world.banyan.reserve(&name(n), 1).await.expect("there are a hundred");
}

/// Compares through `wire`, and puts right what differs.
async fn repair(world: &World, wire: &Wire) -> reconcile::ReconcileReport {
    let banyan = &world.banyan;
    let report = reconcile::pass(&banyan.desk, wire, &banyan.mapping, &banyan.progress, true).await;
    report.expect("compared")
}

#[tokio::test]
async fn one_refused_row_does_not_stop_the_others_and_is_found_again_after_a_crash() {
    let mut world = leading(300).await;
    let shop = world.shop.clone();
    let bad = name(7);
    shop.refuses(|row| (row.sku == name(7) && row.allocated > 0).then_some("check (b = 0)"));
    let sync = world.banyan.follows();
    written(&world).await;
    sync.kill().await;
    assert!(shop.book().seq > 0, "the log is read from the checkpoint on");
    // All while nobody writes, so that it is one of many.
    for n in 1..=7 {
        sell(&world, n).await;
    }
    let sold = world.banyan.seq().await;
    for n in 8..=300 {
        sell(&world, n).await;
    }
    let sync = world.banyan.follows();
    written(&world).await;
    let mut expected = world.banyan.all_books().await;
    expected.insert(bad.clone(), (100, 0));
    assert_eq!(shop.rows(), expected, "the others go on");
    let seen = view(&world);
    assert_eq!((seen.aside, seen.outward, seen.trouble.outward), (1, true, None));
    assert_eq!(seen.aside_first.as_deref(), Some("S-00007 at main: check (b = 0)"));
    let book = shop.book();
    assert!(book.seq <= sold, "the checkpoint is not past the row: {book:?}");

    // It is one of many again, and costs the others nothing.
    for n in 1..=300 {
        sell(&world, n).await;
    }
    written(&world).await;
    assert_eq!(shop.row(&name(8)), Some((100, 2)));

    // Nobody knows of it after a crash but the checkpoint.
    sync.kill().await;
    sell(&world, 9).await;
    world.banyan = world.banyan.remembering_nothing();
    let mut sync = world.banyan.follows();
    written(&world).await;
    assert_eq!(view(&world).aside, 1, "it is found again");
    assert_eq!(shop.row(&name(9)), Some((100, 3)));

    // Its item changes, and the old table takes it: then the checkpoint goes on.
    shop.refuses_nothing();
    sell(&world, 7).await;
    written(&world).await;
    until("it is written", async || view(&world).aside == 0).await;
    assert_eq!(shop.rows(), world.banyan.all_books().await);
    let seq = world.banyan.seq().await;
    sell(&world, 7).await;
    until("the checkpoint goes on", async || shop.book().seq > seq).await;
    assert!(!sync.has_ended());
}

#[tokio::test]
async fn a_row_that_is_set_aside_is_tried_again_every_minute() {
    let world = leading(3).await;
    world.shop.refuses(|row| (row.allocated > 0).then_some("check (b = 0)"));
    let _sync = world.banyan.follows();
    for n in 1..=3 {
        sell(&world, n).await;
    }
    written(&world).await;
    assert_eq!(view(&world).aside, 3, "all of them, and it goes on");
    world.shop.refuses(|row| (row.sku == name(2)).then_some("still not"));
    let writes = world.shop.asked().writes;
    a_minute_later().await;
    until("they are tried again", async || view(&world).aside == 1).await;
    assert!(world.shop.asked().writes > writes);
    assert_eq!(view(&world).aside_first.as_deref(), Some("S-00002 at main: still not"));
    assert_eq!(world.shop.row(&name(3)), Some((100, 1)));
}

#[tokio::test]
async fn a_row_that_is_set_aside_differs_and_keeps_nobody_from_being_put_right() {
    let world = leading(20).await;
    world.shop.refuses(|row| (row.sku == name(2)).then_some("frozen"));
    let _sync = world.banyan.follows();
    sell(&world, 2).await;
    written(&world).await;
    world.shop.silently(|tables| tables.rows.insert(name(5), (1, 1)));
    let report = repair(&world, &world.shop.wire()).await;
    assert_eq!((report.rows, report.differing, report.repaired), (20, 2, 1), "{report:?}");
    assert_eq!(world.shop.row(&name(5)), Some((100, 0)));
    assert_eq!(world.shop.row(&name(2)), Some((100, 0)));
}

#[tokio::test]
async fn a_move_back_does_not_hand_over_while_a_row_is_set_aside() {
    let world = leading(3).await;
    let _sync = world.banyan.follows();
    let before = world.banyan.reserve(&name(2), 1).await.expect("there are a hundred");
    world.banyan.begins(Phase::Mirror).await;
    let driver = world.banyan.driver();
    assert!(matches!(driver.step().await, Ok(Stage::Waiting(_))), "for what was reserved before");
    let reservation = world.banyan.reserve(&name(1), 1).await.expect("it still sells");
    world.banyan.ask(ReleaseReservation { reservation: before }).await;
    driver.step().await.expect("checked");
    written(&world).await;
    // What is reserved is let go before the old shop leads again, and the old table refuses that.
    world.shop.refuses(|row| (row.sku == name(1)).then_some("frozen"));
    world.banyan.ask(ReleaseReservation { reservation }).await;
    written(&world).await;
    driver.step().await.expect("drained");
    driver.step().await.expect("noted");
    let Ok(Stage::Resting(why)) = driver.step().await else { panic!("it does not rest") };
    assert!(why.contains("S-00001 at main: frozen"), "{why}");
    assert_eq!(world.shop.book().phase, Phase::Lead, "nothing was handed back");
    world.shop.refuses_nothing();
    a_minute_later().await;
    until("it is written", async || view(&world).aside == 0).await;
    until("the move is done", async || {
        driver.step().await.expect("nothing is in the way");
        world.banyan.state().await.moving.is_none()
    })
    .await;
    assert_eq!(world.shop.book().phase, Phase::Mirror);
}

/// Something is sold while a comparison puts the row right, at each point at which the sync out may come between; also while the
/// checkpoint stands still because of another row.
#[tokio::test]
async fn a_repair_never_leaves_an_older_value_than_the_sync_out_wrote() {
    for (at, is_held) in
        [(Question::Book, false), (Question::Write, false), (Question::Book, true), (Question::Write, true)]
    {
        let world = leading(20).await;
        let _sync = world.banyan.follows();
        if is_held {
            world.shop.refuses(|row| (row.sku == name(20)).then_some("frozen"));
            sell(&world, 20).await;
        }
        sell(&world, 5).await;
        written(&world).await;
        world.shop.silently(|tables| tables.rows.insert(name(5), (77, 0)));
        let wire = world.shop.wire();
        let beside = world.clone();
        wire.before(at, move || async move {
            sell(&beside, 5).await;
            // The sync out gets as far as it can: either it waits for the repair, or it writes.
            let until = Instant::now() + Duration::from_millis(300);
            while Instant::now() < until && beside.shop.row(&name(5)) != Some((100, 2)) {
                // A condition is looked at again; nobody tells it.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        repair(&world, &wire).await;
        // Whatever was done, everything that has happened is said to be in the table.
        written(&world).await;
        assert_eq!(world.shop.row(&name(5)), Some((100, 2)), "{at:?}, held: {is_held}");
        assert_eq!(view(&world).aside, u64::from(is_held));
    }
}

#[tokio::test]
async fn a_repair_is_nothing_once_somebody_else_leads() {
    let world = leading(5).await;
    let sync = world.banyan.follows();
    sell(&world, 1).await;
    written(&world).await;
    // It would find out by itself: it has everything, and stands still.
    sync.stop().await;
    world.hear().await;
    world.banyan.progress.wrote(world.banyan.seq().await, 0, 0);
    world.shop.silently(|tables| tables.rows.insert(name(1), (77, 0)));
    let wire = world.shop.wire();
    let shop = world.shop.clone();
    wire.before(Question::Write, move || async move {
        let book = shop.book();
        let theirs = Book { phase: Phase::Mirror, epoch: book.epoch + 1, ..book };
        shop.silently(|tables| tables.book = Some(theirs));
    });
    assert_eq!(repair(&world, &wire).await.repaired, 0);
    assert_eq!(world.shop.row(&name(1)), Some((77, 0)), "the old shop leads, and has its own number");
    assert!(wire.book().await.expect("a book").is_some());
}

#[tokio::test]
async fn a_second_comparison_reads_rows_only_where_digests_differ() {
    let world = leading(5_000).await;
    let shop = &world.shop;
    let _sync = world.banyan.follows();
    written(&world).await;
    let banyan = &world.banyan;
    let compares = reconcile::Reconciler::new(
        banyan.desk.clone(),
        banyan.database.clone(),
        banyan.mapping.clone(),
        banyan.progress.clone(),
    );
    let counted = Cell::new(0);
    let read = || {
        let all = shop.asked().rows_read;
        all - counted.replace(all)
    };
    let pass = async |repair| compares.pass(repair).await.expect("compared");
    let first = pass(true).await;
    assert_eq!((first.rows, first.by_digest, first.differing, read()), (5_000, 0, 0, 5_000));
    let second = pass(true).await;
    assert_eq!((second.rows, second.by_digest, second.differing, read()), (5_000, 5_000, 0, 0));

    // What both sides changed is equal again, and needs no row.
    sell(&world, 17).await;
    written(&world).await;
    assert_eq!((pass(true).await.by_digest, read()), (5_000, 0));

    // A number that somebody else wrote, a row that is gone, one that is new: in three ranges.
    shop.silently(|tables| tables.rows.insert(name(1_500), (1, 0)));
    shop.silently(|tables| tables.rows.remove(&name(2_500)));
    shop.silently(|tables| tables.rows.insert("S-03500-new".into(), (5, 0)));
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
    shop.silently(|tables| tables.rows.remove("S-03500-new"));
    shop.silently(|tables| tables.rows.insert(name(2_500), (100, 0)));
    assert_eq!(pass(true).await.differing, 0);
    read();
    assert_eq!((pass(true).await.by_digest, read()), (5_000, 0));

    // Many rows at the table's end, and few left of many.
    for n in 5_001..=12_000 {
        shop.silently(|tables| tables.rows.insert(name(n), (0, 0)));
    }
    assert_eq!(pass(false).await.rows, 12_000);
    read();
    assert_eq!((pass(false).await.by_digest, read()), (12_000, 0));
    shop.silently(|tables| tables.rows.retain(|sku, _| *sku <= name(5_000) || sku.ends_with("00")));
    assert_eq!(pass(false).await.differing, 0);
}

/// What is reserved here when the lead is taken back by hand stays reserved until it ends: the old shop knows nothing of it.
#[tokio::test]
async fn a_hold_from_before_a_takeover_is_told_apart_from_a_real_difference() {
    let world = leading(20).await;
    let held = [world.banyan.reserve(&name(2), 1).await, world.banyan.reserve(&name(3), 1).await];
    world.shop.says(Phase::Legacy, world.banyan.state().await.epoch);
    world.hear().await;
    let wire = world.shop.wire();
    let pass = async |is_repair| {
        let banyan = &world.banyan;
        let report = reconcile::pass(&banyan.desk, &wire, &banyan.mapping, &banyan.progress, is_repair).await;
        let report = report.expect("compared");
        (report.differing, report.held_over, report.repaired)
    };
    let position = world.shop.position();
    assert_eq!(pass(true).await, (2, 2, 0), "nothing is to be put right");
    assert_eq!(world.shop.position(), position, "and no row was touched for it");
    // More than the hold, on an item that has one; and a difference without any.
    world.shop.silently(|tables| tables.rows.extend([(name(3), (90, 0)), (name(5), (1, 1))]));
    assert_eq!(pass(false).await, (3, 1, 0), "no real difference is explained away");
    world.shop.silently(|tables| tables.rows.extend([(name(3), (100, 0)), (name(5), (100, 0))]));
    for reservation in held {
        let reservation = reservation.expect("there are a hundred");
        world.banyan.ask(ReleaseReservation { reservation }).await;
    }
    assert_eq!(pass(true).await, (0, 0, 0), "they are equal once the holds have ended");
}

/// Found by reading: after weeks in which the old shop led, what Banyan decided first waited behind all of those weeks.
#[tokio::test]
async fn after_a_long_time_of_the_old_shop_every_item_is_written_once_instead() {
    let mut world = leading(510).await;
    let sync = world.banyan.follows();
    let reservation = world.banyan.reserve(&name(510), 1).await.expect("there are a hundred");
    world.banyan.ask(ReleaseReservation { reservation }).await;
    written(&world).await;
    sync.stop().await;
    let checkpoint = world.shop.book().seq;
    assert!(checkpoint > 0, "the log could be read from there");
    goes(&world, Phase::Mirror).await;
    for round in 1..=11 {
        world.shop.puts((1..=500).map(|n| (name(n), 100 + 2 * round, round)));
    }
    world.hear().await;
    let events = world.banyan.seq().await - checkpoint;
    assert!(events > 10_000, "a long time: {events}");
    goes(&world, Phase::Lead).await;
    // Nothing has happened to this one: only who writes every item comes by it.
    world.shop.silently(|tables| tables.rows.insert(name(510), (77, 7)));
    world.banyan = world.banyan.remembering_nothing();
    let sync = world.banyan.follows();
    written(&world).await;
    until("every item is as it is here", async || world.shop.rows() == world.banyan.all_books().await).await;
    assert!(world.shop.asked().writes < 20, "not one after the other");
    sync.stop().await;
}

/// Moves there with everything brought up to date by hand.
async fn goes(world: &World, to: Phase) {
    world.banyan.begins(to).await;
    let driver = world.banyan.driver();
    while world.banyan.state().await.moving.is_some() {
        driver.step().await.expect("nothing is in the way");
        world.hear().await;
        world.banyan.progress.wrote(world.banyan.seq().await, 0, 0);
    }
}
