//! A copy of the old tables, begun at every moment of a move and broken off after every item of it: what its rows mean, who leads
//! after it, and what nobody asked for.

use banyan_domain::legacy::{CapabilityState, Phase};
use banyan_legacy::Halt;
use banyan_legacy_testkit::{NOT_LEADING, PLACE, Running, World};

/// A message of the old shop.
const SHIP: &str = r#"{"sku": "A", "quantity": 1}"#;
/// More items than any of these copies has: a cut there hits nothing.
const ITEMS: usize = 6;

/// In phase `mirror` with A at 5 and B at 3. No stream of this shop outlives its reader. Whatever is sold later, A is sold.
async fn mirroring() -> World {
    let world = World::mirroring([("A", 5, 0), ("B", 3, 0)]).await;
    world.shop.forgets_streams();
    world.shop.copies_row_by_row();
    world
}

/// In phase `lead`, told by the stream.
async fn leading() -> World {
    let world = mirroring().await;
    let number = world.banyan.begins(Phase::Lead).await;
    let reader = follow_a_copy(&world).await;
    world.shop.says(Phase::Lead, number);
    world.until("Banyan leads", |state| state.phase == Phase::Lead).await;
    reader.stop().await;
    world
}

/// Follows the stream with a reader that knows nothing of those before it, until one more copy is through.
async fn follow_a_copy(world: &World) -> Running {
    let copies = world.shop.asked().copies;
    let reader = reader(world);
    world
        .until("one more copy is through", |state| {
            world.shop.asked().copies > copies && is_of_last_copy(world, state)
        })
        .await;
    reader
}

/// Follows until one more copy is through; then the books must be these.
async fn copied(world: &World, books: &[(&str, i64, i64)]) {
    follow_a_copy(world).await.stop().await;
    check(world, books).await;
}

async fn check(world: &World, books: &[(&str, i64, i64)]) {
    for &(sku, in_stock, allocated) in books {
        assert_eq!(world.banyan.books(sku, PLACE).await, Some((in_stock, allocated)), "{sku}");
    }
}

fn reader(world: &World) -> Running {
    world.banyan.remembering_nothing().follows_in()
}

fn is_of_last_copy(world: &World, state: &CapabilityState) -> bool {
    let last = format!("copy {}", world.shop.asked().copies);
    state.source.as_ref().is_some_and(|source| !source.copying && source.id.stream.ends_with(&last))
}

#[tokio::test]
async fn a_switch_to_banyan_whose_slot_was_lost_is_applied_with_the_copy_after_the_last_sales_of_the_old_shop()
 {
    for cut in 0..=ITEMS {
        let world = mirroring().await;
        let number = world.banyan.begins(Phase::Lead).await;
        // Sold just before the switch; C is new and B is gone; after the switch one of A was shipped. None of it is in any stream.
        world.shop.has_silently([("A", 5, 2), ("C", 1, 0)]);
        world.shop.tells("ship", SHIP);
        world.shop.says(Phase::Lead, number);
        world.shop.breaks_off_copy_after(cut);
        copied(&world, &[("A", 4, 1), ("B", 0, 0), ("C", 1, 0)]).await;
        let state = world.banyan.state().await;
        assert_eq!((state.phase, state.moving, state.epoch), (Phase::Lead, None, number), "cut {cut}");
        assert_eq!(world.shop.tables().outbox, [], "what was said is done");
        world.banyan.reserve("A", 1).await.expect("Banyan decides");
        // The same copy once more: its rows are Banyan's own now, perhaps lagging.
        copied(&world, &[("A", 4, 2), ("B", 0, 0), ("C", 1, 0)]).await;
        assert_eq!(world.banyan.state().await.phase, Phase::Lead);
    }
}

#[tokio::test]
async fn a_switch_back_whose_slot_was_lost_is_applied_with_the_copy_before_what_the_old_shop_decided_since() {
    for cut in 0..=ITEMS {
        let world = leading().await;
        let number = world.banyan.begins(Phase::Mirror).await;
        world.shop.has_silently([("A", 7, 2), ("C", 1, 0)]);
        world.shop.tells("ship", SHIP);
        world.shop.says(Phase::Mirror, number);
        world.shop.breaks_off_copy_after(cut);
        copied(&world, &[("A", 7, 2), ("B", 0, 0), ("C", 1, 0)]).await;
        let state = world.banyan.state().await;
        assert_eq!((state.phase, state.moving, state.epoch), (Phase::Mirror, None, number), "cut {cut}");
        assert_eq!(state.taken_over, None, "a move of ours asked for it");
        assert_eq!(world.banyan.reserve("A", 1).await, Err(NOT_LEADING));
        world.shop.has_silently([("A", 6, 2), ("B", 2, 0), ("C", 1, 0)]);
        copied(&world, &[("A", 6, 2), ("B", 2, 0), ("C", 1, 0)]).await;
    }
}

#[tokio::test]
async fn rows_of_a_copy_do_not_overwrite_what_banyan_leads_nor_end_a_move_that_was_not_told_yet() {
    let world = leading().await;
    world.banyan.reserve("A", 1).await.expect("Banyan decides");
    world.shop.has_silently([("A", 99, 0), ("Z", 1, 0)]);
    copied(&world, &[("A", 5, 1), ("B", 3, 0)]).await;
    let number = world.banyan.begins(Phase::Mirror).await;
    copied(&world, &[("A", 5, 1), ("B", 3, 0)]).await;
    let state = world.banyan.state().await;
    assert_eq!((state.phase, state.moving.map(|moving| moving.number)), (Phase::Lead, Some(number)));
}

#[tokio::test]
async fn a_copy_before_the_switch_to_banyan_leaves_the_move_under_way() {
    let world = mirroring().await;
    let number = world.banyan.begins(Phase::Lead).await;
    world.shop.has_silently([("A", 5, 2), ("B", 3, 0)]);
    copied(&world, &[("A", 5, 2), ("B", 3, 0)]).await;
    assert_eq!(world.banyan.reserve("A", 1).await, Err(NOT_LEADING));
    let state = world.banyan.state().await;
    assert_eq!((state.phase, state.moving.map(|moving| moving.number)), (Phase::Mirror, Some(number)));
}

#[tokio::test]
async fn the_lead_taken_back_by_hand_is_seen_in_a_copy_and_the_old_values_win() {
    for cut in 0..=ITEMS {
        let world = leading().await;
        let number = world.banyan.state().await.epoch;
        let sold = world.banyan.reserve("A", 1).await.expect("Banyan decides");
        world.banyan.reserve("B", 1).await.expect("Banyan decides");
        // The order for the one is there, and was not told before Banyan was lost.
        world.shop.orders(sold);
        world.shop.has_silently([("A", 5, 3), ("B", 1, 0)]);
        world.shop.says(Phase::Legacy, number);
        world.shop.breaks_off_copy_after(cut);
        // Of B one stays reserved until it ends: the old shop does not know of it.
        copied(&world, &[("A", 5, 3), ("B", 1, 1)]).await;
        let state = world.banyan.state().await;
        assert_eq!(state.phase, Phase::Mirror, "cut {cut}");
        assert!(state.taken_over.is_some_and(|takeover| takeover.phase == Phase::Legacy));
        assert_eq!(world.banyan.reserve("A", 1).await, Err(NOT_LEADING));
    }
}

#[tokio::test]
async fn the_lead_taken_back_by_hand_is_seen_in_the_stream_and_the_rows_are_copied_anew() {
    let world = leading().await;
    let number = world.banyan.state().await.epoch;
    world.shop.has_silently([("A", 4, 4), ("B", 3, 0)]);
    let copies = world.shop.asked().copies;
    // This copy is still one of phase lead, and the row in it says so.
    let reader = follow_a_copy(&world).await;
    world.shop.says(Phase::Legacy, number);
    world
        .until("the rows are copied anew", |state| {
            state.taken_over.is_some() && is_of_last_copy(&world, state)
        })
        .await;
    reader.stop().await;
    assert_eq!(world.shop.asked().copies, copies + 2);
    check(&world, &[("A", 4, 4), ("B", 3, 0)]).await;
    assert_eq!(world.banyan.reserve("A", 1).await, Err(NOT_LEADING));
}

#[tokio::test]
async fn a_row_that_says_lead_without_any_move_of_ours_stops_the_copy_and_says_what_to_do() {
    let world = mirroring().await;
    world.shop.says(Phase::Lead, 7);
    let halt = reader(&world).ends().await;
    assert!(matches!(&halt, Halt::Trouble(why) if why.contains("set phase to 'mirror'")), "{halt:?}");
    check(&world, &[("A", 5, 0), ("B", 3, 0)]).await;
    assert_eq!(world.banyan.reserve("A", 1).await, Err(NOT_LEADING));
}
