//! Where the sync out begins, how far it says that it is, and where it writes nothing: beside an old database in memory.

mod driving;

use banyan_domain::legacy::Phase;
use banyan_legacy::{Book, Halt, reconcile};
use banyan_legacy_testkit::{NOT_LEADING, Question, World, found, until};
use driving::{ITEMS, a_minute_later, for_ever, written};
use tokio::sync::oneshot;

/// In phase `lead`, where A is something else in the old table.
async fn differing() -> World {
    let world = World::leading(ITEMS).await;
    world.shop.silently(|tables| tables.rows.insert("A".to_owned(), (77, 0)));
    world
}

/// Changes the bookkeeping row by hand.
fn by_hand(world: &World, change: impl FnOnce(Book) -> Book) {
    let changed = change(world.shop.book());
    world.shop.silently(|tables| tables.book = Some(changed));
}

/// That the sync out stops, says why, and has written nothing to A.
async fn stops(world: &World, says: &str) {
    let halt = world.banyan.follows().ends().await;
    assert!(matches!(&halt, Halt::Trouble(why) if why.contains(says)), "{halt:?}");
    assert_eq!(world.shop.row("A"), Some((77, 0)));
    let trouble = world.banyan.progress.view().trouble.outward;
    assert!(trouble.is_some_and(|why| why.contains(says)));
}

#[tokio::test]
async fn a_crash_while_everything_is_written_anew_leaves_nothing_out() {
    // For three writes.
    let world = World::leading((1..=2_500).map(|n| (format!("S-{n:04}"), 100, 0))).await;
    world.shop.silently(|tables| tables.rows.values_mut().for_each(|row| *row = (0, 0)));
    let (here, mut is_here) = oneshot::channel();
    world.wire.before(Question::Write, || async {});
    world.wire.before(Question::Write, move || for_ever(here));
    let sync = world.banyan.follows();
    found("the second write", async || is_here.try_recv().ok()).await;
    let is_written = |world: &World| world.shop.rows().values().filter(|row| **row == (100, 0)).count();
    assert_eq!(is_written(&world), 1_000, "one part of three");
    sync.kill().await;
    assert_eq!(world.shop.book().seq, 0, "nobody says yet that all is written");
    let sync = world.banyan.remembering_nothing().follows();
    until("all is written", async || is_written(&world) == 2_500).await;
    sync.stop().await;
}

#[tokio::test]
async fn old_tables_that_know_more_than_the_log_are_left_alone() {
    let world = differing().await;
    by_hand(&world, |book| Book { seq: 1_000_000, ..book });
    stops(&world, "restored from an older backup").await;
    assert_eq!(world.shop.asked().writes, 0);
}

#[tokio::test]
async fn old_tables_that_another_banyan_leads_are_left_alone() {
    let world = differing().await;
    by_hand(&world, |book| Book { move_no: book.move_no + 3, epoch: book.epoch + 3, ..book });
    stops(&world, "the old database says lead (move 5), and Banyan is in lead (move 2)").await;
    assert_eq!(world.shop.asked().writes, 0);
}

#[tokio::test]
async fn whoever_has_written_further_under_the_same_epoch_stops_the_sync_out() {
    let world = World::leading(ITEMS).await;
    let sync = world.banyan.follows();
    written(&world).await;
    by_hand(&world, |book| Book { seq: 1_000_000, ..book });
    world.banyan.reserve("A", 1).await.expect("Banyan decides");
    let halt = sync.ends().await;
    assert!(matches!(&halt, Halt::Trouble(why) if why.contains("has written further")), "{halt:?}");
    assert_eq!(world.shop.row("A"), Some((5, 0)));
}

/// The stream stands still, so that nobody else finds it out.
#[tokio::test]
async fn a_write_that_is_fenced_by_who_took_the_lead_back_ends_what_banyan_decides() {
    let world = World::leading(ITEMS).await;
    let sync = world.banyan.follows();
    written(&world).await;
    world.shop.stands_still(true);
    by_hand(&world, |book| Book { phase: Phase::Legacy, epoch: book.epoch + 1, ..book });
    world.banyan.reserve("A", 1).await.expect("Banyan decides");
    assert_eq!(sync.ends().await, Halt::Stopped, "there is nothing more to write");
    let state = world.banyan.state().await;
    assert_eq!((state.phase, state.taken_over.is_some()), (Phase::Mirror, true));
    assert_eq!(world.banyan.reserve("B", 1).await, Err(NOT_LEADING));
    assert_eq!(world.shop.row("A"), Some((5, 0)), "its own number is left to it");
}

/// A trigger that undoes what is written would be fought for ever.
#[tokio::test]
async fn what_somebody_undoes_again_and_again_is_left_to_the_comparison() {
    let world = World::leading(ITEMS).await;
    let sync = world.banyan.follows();
    written(&world).await;
    for times in 1..=3 {
        world.shop.puts([("A", 70 + times, 0)]);
        until("it is put right", async || world.shop.row("A") == Some((5, 0))).await;
    }
    world.shop.puts([("A", 74, 0)]);
    world.until("it is counted", |state| state.breaches == 4).await;
    world.banyan.reserve("B", 1).await.expect("Banyan decides");
    until("the others go on", async || world.shop.row("B") == Some((3, 1))).await;
    assert_eq!(world.shop.row("A"), Some((74, 0)), "it is not fought for");
    let banyan = &world.banyan;
    let report = reconcile::pass(&banyan.desk, &world.wire, &banyan.mapping, &banyan.progress, true).await;
    assert_eq!(report.map(|report| (report.differing, report.repaired)), Ok((1, 1)));
    assert_eq!(world.shop.row("A"), Some((5, 0)));
    sync.stop().await;
}

/// Each checkpoint comes back through the stream, and how far that was followed is an event: a checkpoint for that would come back.
#[tokio::test]
async fn what_only_the_stream_brings_about_is_no_reason_to_write() {
    let world = World::leading(ITEMS).await;
    let sync = world.banyan.follows();
    let sells = async |sku: &str| {
        world.banyan.reserve(sku, 1).await.expect("Banyan decides");
        written(&world).await;
    };
    sells("A").await;
    a_minute_later().await;
    sells("A").await;
    let writes = world.shop.asked().writes;
    for _ in 0..3 {
        world.shop.does_something_else();
        let position = world.shop.position();
        world
            .until("it is heard, and kept", |state| {
                state.source.as_ref().is_some_and(|source| source.position >= position)
            })
            .await;
    }
    a_minute_later().await;
    sells("B").await;
    assert_eq!(world.shop.asked().writes, writes + 1, "what was sold, and nothing else");
    sync.stop().await;
}
