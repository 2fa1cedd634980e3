//! A server of the old database that takes over from another: positions of the one say nothing of the other.

mod servers;

use banyan_domain::legacy::{Command, Phase};
use banyan_legacy::{Book, Halt};
use servers::{PATIENCE, STOCK, World, mapping};
use std::collections::BTreeMap;

/// (How far the stream of the one was counted for the other, whose log had not come that far in years.)
#[tokio::test]
async fn a_server_that_took_over_during_a_move_is_followed_to_its_door_before_the_lead_is_handed_over() {
    let (world, running) = World::mirroring().await;
    let driver = world.about_to(Phase::Lead).await;
    world.old.change(|inner| {
        (inner.system, inner.position, inner.copies_end) = ("b", 50, false);
        // Sold after the last copy, and not told by any stream.
        inner.rows = [("A", 1), ("B", 3)].into();
    });
    world.until("a copy of the other server", |_| world.old.inner().copies == 2).await;
    let why = world.rests(&driver).await;
    assert!(why.contains("the stream is at 0 of 50"), "{why}");
    assert_eq!(world.progress.view().position_applied, 0, "how far the first server was is forgotten");
    world.old.change(|inner| inner.copies_end = true);
    world
        .until("the copy", |state| {
            state.source.as_ref().is_some_and(|source| &*source.id.system == "b" && !source.copying)
        })
        .await;
    assert_eq!(world.books().await, [Some(1), Some(3)]);
    world.leads(&driver).await;
    assert!(!running.task.is_finished());
}

#[tokio::test]
async fn a_stream_that_tells_nothing_any_more_does_not_hand_the_lead_over() {
    let (world, _running) = World::mirroring().await;
    let driver = world.about_to(Phase::Lead).await;
    // All is here that the door asks for. But the connection hangs, and what it would tell is not known.
    world.old.change(|inner| inner.is_heard = false);
    let why = world.rests(&driver).await;
    assert!(why.contains("has told nothing since the door was held"), "{why}");
    world.old.change(|inner| inner.is_heard = true);
    world.leads(&driver).await;
}

#[tokio::test]
async fn the_door_of_another_server_than_the_one_that_is_followed_is_let_go() {
    let (world, _running) = World::mirroring().await;
    let driver = world.about_to(Phase::Lead).await;
    // The first one lives on, and is heard. The old shop, and whoever connects, is at the other one.
    world.old.change(|inner| {
        (inner.system, inner.position, inner.others_are_dead) = ("b", 50, false);
    });
    let why = world.rests(&driver).await;
    assert!(why.contains("the door is that of b, and the stream that of a"), "{why}");
    world.old.change(|inner| inner.others_are_dead = true);
    world
        .until("the copy", |state| {
            state.source.as_ref().is_some_and(|source| &*source.id.system == "b" && !source.copying)
        })
        .await;
    world.leads(&driver).await;
}

/// (Every item of the old shop became zero: the copy had no rows, as in phase `retired`, and they counted all the same.)
#[tokio::test]
async fn a_copy_without_the_tables_is_refused_when_the_lead_was_taken_back_at_the_same_moment() {
    let (world, running) = World::leading().await;
    let number = world.begin(Phase::Retired).await;
    world.ask(Command::FinishMove { capability: STOCK, number }).await;
    running.stop().await;
    world.old.change(|inner| {
        (inner.system, inner.rows) = ("b", BTreeMap::new());
        inner.book = Some(Book { phase: Phase::Legacy, epoch: 9, seq: 0, move_no: number });
    });
    let running = world.follow(&mapping("outbox_only = true\n"));
    let halt = tokio::time::timeout(PATIENCE, running.task).await.expect("it halts").expect("no panic");
    assert!(matches!(&halt, Halt::Trouble(why) if why.contains("outbox_only = true")), "{halt:?}");
    assert_eq!(
        world.progress.view().trouble.inward.as_ref(),
        match &halt {
            Halt::Trouble(why) => Some(why),
            Halt::Stopped => None,
        }
    );
    assert_eq!(world.books().await, [Some(5), Some(3)], "nothing was emptied");
    let state = world.state().await;
    assert_eq!(
        (state.phase, state.taken_over.is_some()),
        (Phase::Mirror, true),
        "and Banyan does not decide"
    );
}
