//! Moves that a test drives by hand, and the rows they begin with.
#![allow(dead_code, reason = "each test file uses a part of it")]

use banyan_domain::legacy::{MoveStep, Phase};
use banyan_legacy::{Driver, Stage};
use banyan_legacy_testkit::{Numbers, OldShop, PLACE, World, until};
use std::time::Duration;
use tokio::sync::oneshot;

/// Two items of the old shop: SKU, in stock, allocated.
pub(crate) const ITEMS: [(&str, i64, i64); 2] = [("A", 5, 0), ("B", 3, 0)];

/// Those two as Banyan has them.
pub(crate) async fn books(world: &World) -> [Option<Numbers>; 2] {
    [world.banyan.books("A", PLACE).await, world.banyan.books("B", PLACE).await]
}

/// Begins a move, and goes on to where the switch is noted and not told.
pub(crate) async fn about_to(world: &World, to: Phase) -> Driver {
    world.banyan.begins(to).await;
    let driver = world.banyan.driver();
    while driver.step().await.expect("nothing is in the way") != Stage::Stepped(MoveStep::Switched) {}
    driver
}

/// What the move waits for: it holds the door in vain, and lets it go again with nothing handed over.
pub(crate) async fn rests(shop: &OldShop, driver: &Driver) -> String {
    let before = shop.book();
    // As long as it likes to: the machine's clock need not be waited for.
    tokio::time::pause();
    let stage = driver.step().await.expect("it rests");
    tokio::time::resume();
    assert_eq!(shop.book(), before, "nothing was handed over");
    match stage {
        Stage::Resting(why) if why.contains("the door was let go") => why,
        other => panic!("it does not rest: {other:?}"),
    }
}

/// The move goes on to its end, and both sides say that Banyan leads.
pub(crate) async fn leads(world: &World, driver: &Driver) {
    until("the move is done", async || driver.step().await.expect("nothing is in the way") == Stage::Idle)
        .await;
    assert_eq!(world.banyan.state().await.phase, Phase::Lead);
    assert_eq!(world.shop.book().phase, Phase::Lead);
}

/// A minute for whoever waits for one.
pub(crate) async fn a_minute_later() {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
}

/// Waits until everything that has happened is in the old tables, or set aside.
pub(crate) async fn written(world: &World) {
    let seq = world.banyan.seq().await;
    until("it is written", async || world.banyan.progress.view().seq_written >= seq).await;
}

/// Tells that it has come to here, and comes no further: for a step that somebody dies in.
pub(crate) async fn for_ever(here: oneshot::Sender<()>) {
    here.send(()).expect("somebody waits for it");
    std::future::pending::<()>().await;
}
