//! A server of the old database that takes over from another: positions of the one say nothing of the other.

mod driving;

use banyan_domain::legacy::{CapabilityState, Phase};
use banyan_legacy::{Book, Halt, Mapping};
use banyan_legacy_testkit::{OldShop, Question, Running, World};
use driving::{ITEMS, about_to, books, leads, rests};
use std::sync::Arc;

/// Another server, and where its log ends: far before that of the first.
const OTHER: (&str, u64) = ("b", 50);

/// In phase `mirror`, with the stream in running, which tells something when it is nudged.
async fn mirroring() -> (World, Running) {
    let world = World::mirroring(ITEMS).await;
    world.shop.tells_when_nudged();
    let running = world.banyan.follows_in();
    // Opened by then: a stream that is opened later would be opened at whichever server there is.
    world.shop.does_something_else();
    let heard = |_: &CapabilityState| world.banyan.progress.view().position_applied >= world.shop.position();
    world.until("the stream tells what happens", heard).await;
    (world, running)
}

fn is_copied_from_other(state: &CapabilityState) -> bool {
    state.source.as_ref().is_some_and(|source| &*source.id.system == OTHER.0 && !source.copying)
}

/// (How far the stream of the one was counted for the other, whose log had not come that far in years.)
#[tokio::test]
async fn a_server_that_took_over_during_a_move_is_followed_to_its_door_before_the_lead_is_handed_over() {
    let (world, mut running) = mirroring().await;
    let driver = about_to(&world, Phase::Lead).await;
    world.shop.keeps_copies_open(true);
    // Sold after the last copy, and not told by any stream.
    world.shop.has_silently([("A", 1, 0), ("B", 3, 0)]);
    world.shop.goes_on_at(OTHER.0, OTHER.1);
    world.shop.loses_server_before();
    world.until("a copy of the other server", |_| world.shop.asked().copies == 2).await;
    let why = rests(&world.shop, &driver).await;
    assert!(why.contains(&format!("the stream is at 0 of {}", world.shop.position())), "{why}");
    assert_eq!(world.banyan.progress.view().position_applied, 0, "how far the first server was is forgotten");
    world.shop.keeps_copies_open(false);
    world.until("the copy", is_copied_from_other).await;
    assert_eq!(books(&world).await, [Some((1, 0)), Some((3, 0))]);
    leads(&world, &driver).await;
    assert!(!running.has_ended());
}

#[tokio::test]
async fn a_stream_that_tells_nothing_any_more_does_not_hand_the_lead_over() {
    let (world, _running) = mirroring().await;
    let driver = about_to(&world, Phase::Lead).await;
    let is_all_here =
        |_: &CapabilityState| world.banyan.progress.view().position_applied >= world.shop.position();
    world.until("all is here that the door asks for", is_all_here).await;
    // But the connection hangs, and what it would tell is not known.
    world.shop.stands_still(true);
    let why = rests(&world.shop, &driver).await;
    assert!(why.contains("has told nothing since the door was held"), "{why}");
    world.shop.stands_still(false);
    leads(&world, &driver).await;
}

#[tokio::test]
async fn positions_of_a_stream_that_was_begun_anew_since_the_door_was_held_do_not_hand_the_lead_over() {
    let world = World::mirroring(ITEMS).await;
    let driver = about_to(&world, Phase::Lead).await;
    // An order is on its way here when the door is held, and another server is followed then, whose positions happen to be greater.
    world.shop.does_something_else();
    let progress = world.banyan.progress.clone();
    world.wire.after(Question::Hold, move || async move {
        progress.begun_anew();
        progress.applied(u64::MAX);
    });
    let why = rests(&world.shop, &driver).await;
    assert!(why.contains("the stream was begun anew"), "{why}");
}

#[tokio::test]
async fn the_door_of_another_server_than_the_one_that_is_followed_is_let_go() {
    let (world, _running) = mirroring().await;
    let driver = about_to(&world, Phase::Lead).await;
    // The first one lives on, and is heard. The old shop, and whoever connects, is at the other one.
    world.shop.goes_on_at(OTHER.0, OTHER.1);
    let why = rests(&world.shop, &driver).await;
    assert!(why.contains("the door is that of b, and the stream that of "), "{why}");
    world.shop.loses_server_before();
    world.until("the copy", is_copied_from_other).await;
    leads(&world, &driver).await;
}

/// (Every item of the old shop became zero: the copy had no rows, as in phase `retired`, and they counted all the same.)
#[tokio::test]
async fn a_copy_without_the_tables_is_refused_when_the_lead_was_taken_back_at_the_same_moment() {
    let mut world = World::leading(ITEMS).await;
    world.goes(Phase::Retired).await;
    let retired = world.shop.book();
    world.shop.has_silently::<&str>([]);
    world.shop.goes_on_at(OTHER.0, OTHER.1);
    world.shop.loses_server_before();
    let by_hand = Book { phase: Phase::Legacy, epoch: retired.epoch + 1, ..retired };
    world.shop.silently(|tables| tables.book = Some(by_hand));
    world.banyan.mapping = Arc::new(Mapping { outbox_only: true, ..(*OldShop::mapping()).clone() });
    let halt = world.banyan.follows_in().ends().await;
    let Halt::Trouble(why) = &halt else { panic!("it does not stop: {halt:?}") };
    assert!(why.contains("outbox_only = true"), "{why}");
    assert_eq!(world.banyan.progress.view().trouble.inward.as_ref(), Some(why));
    assert_eq!(books(&world).await, [Some((5, 0)), Some((3, 0))], "nothing was emptied");
    let state = world.banyan.state().await;
    assert_eq!(
        (state.phase, state.taken_over.is_some()),
        (Phase::Mirror, true),
        "and Banyan does not decide"
    );
}
