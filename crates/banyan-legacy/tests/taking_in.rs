//! What comes in from an old database in memory: messages taken in once wherever Banyan dies, and rows of every kind of change.

mod driving;

use banyan_domain::legacy::Phase;
use banyan_domain::stock::ReservationState;
use banyan_legacy_testkit::{Numbers, PLACE, Question, World, found, until};
use driving::{ITEMS, for_ever, written};
use std::collections::BTreeMap;
use tokio::sync::oneshot;

const SHIP: &str = r#"{"sku": "A", "quantity": 1}"#;

/// All items with numbers, as the old books have them.
async fn books(world: &World) -> Vec<(String, Numbers)> {
    let all = world.banyan.all_books().await;
    all.into_iter().filter(|(_, numbers)| *numbers != (0, 0)).collect()
}

fn named<const N: usize>(rows: [(&str, Numbers); N]) -> Vec<(String, Numbers)> {
    rows.into_iter().map(|(sku, numbers)| (sku.to_owned(), numbers)).collect()
}

/// Lost between two of these, a message would be taken in never, or twice.
#[tokio::test]
async fn a_message_is_taken_in_for_good_then_deleted_and_then_acknowledged() {
    let world = World::leading(ITEMS).await;
    let reservation = world.banyan.reserve("A", 1).await.expect("Banyan decides");
    let (here, mut is_here) = oneshot::channel();
    let (shop, banyan) = (world.shop.clone(), world.banyan.clone());
    world.wire.before(Question::ClearOutbox, move || async move {
        let seen = (banyan.state_of(reservation).await, shop.acknowledged());
        here.send(seen).expect("somebody waits for it");
    });
    world.shop.orders(reservation);
    let position = world.shop.position();
    let running = world.banyan.follows_in();
    let (state, acknowledged) = found("it is deleted", async || is_here.try_recv().ok()).await;
    assert_eq!(state, ReservationState::Committed);
    assert!(acknowledged < position, "acknowledged at {acknowledged}, and told at {position}");
    until("it is acknowledged", async || world.shop.acknowledged() >= position).await;
    assert_eq!(world.shop.tables().outbox, []);
    running.stop().await;
}

/// It comes again in the stream; or, where that was lost, with the copy.
#[tokio::test]
async fn a_message_that_was_taken_in_and_not_deleted_is_deleted_later_and_counts_once() {
    for is_stream_lost in [false, true] {
        let world = World::leading([("A", 9, 9)]).await;
        let (here, mut is_here) = oneshot::channel();
        world.wire.before(Question::ClearOutbox, move || for_ever(here));
        world.shop.tells("ship", SHIP);
        let running = world.banyan.follows_in();
        found("it is to be deleted", async || is_here.try_recv().ok()).await;
        running.kill().await;
        assert_eq!(books(&world).await, named([("A", (8, 8))]), "it was taken in");
        assert_eq!(world.shop.tables().outbox.len(), 1, "and is still there");
        if is_stream_lost {
            world.shop.forgets_streams();
        }
        let running = world.banyan.remembering_nothing().follows_in();
        until("it is deleted", async || world.shop.tables().outbox.is_empty()).await;
        world.shop.tells("ship", SHIP);
        until("the next one", async || world.shop.tables().outbox.is_empty()).await;
        assert_eq!(books(&world).await, named([("A", (7, 7))]), "stream lost: {is_stream_lost}");
        assert_eq!(world.banyan.state().await.refused, 0);
        running.stop().await;
    }
}

#[tokio::test]
async fn rows_that_change_their_name_or_go_are_followed_in_the_mirror() {
    let world = World::mirroring([("A", 5, 1), ("B", 3, 0), ("C", 1, 0)]).await;
    world.shop.renames("A", "D");
    world.hear().await;
    assert_eq!(books(&world).await, named([("B", (3, 0)), ("C", (1, 0)), ("D", (5, 1))]));
    world.shop.removes("B");
    world.hear().await;
    assert_eq!(books(&world).await, named([("C", (1, 0)), ("D", (5, 1))]));
    let copies = world.shop.asked().copies;
    world.shop.removes_all();
    world.shop.puts([("C", 2, 0)]);
    world.hear().await;
    assert_eq!(books(&world).await, named([("C", (2, 0))]));
    assert_eq!(world.shop.asked().copies, copies + 1, "nobody says which rows a table had that was emptied");
    assert_eq!(world.banyan.state().await.phase, Phase::Mirror);
}

#[tokio::test]
async fn whatever_others_do_to_rows_that_banyan_leads_is_counted_and_put_right() {
    let world = World::leading(ITEMS).await;
    let sync = world.banyan.follows();
    written(&world).await;
    let counted = async |breaches: u64| {
        world.until("it is counted", |state| state.breaches >= breaches).await;
        assert_eq!(world.banyan.state().await.breaches, breaches);
    };
    // A row of a name that Banyan does not know is a new item of the old shop.
    world.shop.puts([("C", 7, 0)]);
    until("C is taken in", async || world.banyan.books("C", PLACE).await == Some((7, 0))).await;
    // A row that goes, under whatever name, and comes again.
    world.shop.renames("A", "D");
    counted(1).await;
    world.shop.puts([("A", 9, 9)]);
    until("A is put right", async || world.shop.row("A") == Some((5, 0))).await;
    counted(2).await;
    world.shop.removes("B");
    counted(3).await;
    world.shop.puts([("B", 8, 0)]);
    until("B is put right", async || world.shop.row("B") == Some((3, 0))).await;
    counted(4).await;
    // All rows at once, which come again without a word.
    world.shop.stands_still(true);
    world.shop.removes_all();
    world.shop.has_silently([("A", 1, 1), ("B", 1, 1), ("C", 1, 1)]);
    world.shop.stands_still(false);
    let all = BTreeMap::from_iter(named([("A", (5, 0)), ("B", (3, 0)), ("C", (7, 0))]));
    until("all are put right", async || world.shop.rows() == all).await;
    counted(5).await;
    sync.stop().await;
}

/// In a batch, rows count before messages.
#[tokio::test]
async fn a_message_and_a_row_that_come_together_count_in_their_order() {
    let world = World::mirroring(ITEMS).await;
    world.shop.tells("count", r#"{"sku": "A", "on_hand": 9}"#);
    world.shop.puts([("A", 4, 0)]);
    world.shop.puts([("B", 2, 0)]);
    world.shop.tells("count", r#"{"sku": "B", "on_hand": 8}"#);
    world.hear().await;
    assert_eq!(books(&world).await, named([("A", (4, 0)), ("B", (8, 0))]));
    assert_eq!(world.shop.tables().outbox, []);
}

/// What is before a switch is the one's, what is behind it the other's, also if all of it comes at once.
#[tokio::test]
async fn a_switch_among_other_transactions_is_applied_in_its_place() {
    let world = World::mirroring(ITEMS).await;
    let to_lead = world.banyan.begins(Phase::Lead).await;
    world.shop.puts([("A", 4, 0)]);
    world.shop.says(Phase::Lead, to_lead);
    world.shop.puts([("A", 9, 0)]);
    world.hear().await;
    let state = world.banyan.state().await;
    assert_eq!((state.phase, state.breaches), (Phase::Lead, 1));
    assert_eq!(books(&world).await, named([("A", (4, 0)), ("B", (3, 0))]));

    let to_mirror = world.banyan.begins(Phase::Mirror).await;
    world.shop.puts([("A", 8, 0)]);
    world.shop.says(Phase::Mirror, to_mirror);
    world.shop.puts([("B", 2, 0)]);
    world.hear().await;
    let state = world.banyan.state().await;
    assert_eq!((state.phase, state.breaches), (Phase::Mirror, 2));
    assert_eq!(books(&world).await, named([("A", (4, 0)), ("B", (2, 0))]));
}

#[tokio::test]
async fn what_others_do_to_columns_that_were_retired_is_their_own_business() {
    let world = World::leading(ITEMS).await;
    world.goes(Phase::Retired).await;
    world.shop.puts([("A", 9, 0), ("C", 1, 0)]);
    world.shop.removes("B");
    world.shop.tells("count", r#"{"sku": "A", "on_hand": 6}"#);
    world.hear().await;
    assert_eq!(world.banyan.state().await.breaches, 0);
    assert_eq!(books(&world).await, named([("A", (6, 0)), ("B", (3, 0))]), "the outbox is heard");
}
