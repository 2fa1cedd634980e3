//! The keeper beside an old database in memory: what it runs again and when, what it puts right, and what no move goes without.

mod driving;

use banyan_domain::Actor;
use banyan_domain::legacy::{MoveStep, Phase};
use banyan_legacy::{BeginError, Finding, Halt, Keeper, KeeperOptions, OldDatabase, Part, Parts};
use banyan_legacy_testkit::{PLACE, World, until};
use driving::{ITEMS, written};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

fn rots(world: &World) {
    world.shop.silently(|tables| tables.rows.insert("A".to_owned(), (77, 0)));
}

/// The gates that a move is refused for, though it was to go without every one of them.
async fn kept_closed(keeper: &Keeper, to: Phase) -> Vec<&'static str> {
    let all = ["preflight", "stream", "lag", "equal", "evidence", "sync-out", "holds", "references"];
    let all = all.map(str::to_owned);
    match keeper.begin(to, Actor::new("op").expect("a name"), "a test", &all).await {
        Err(BeginError::Gates(gates)) => gates.into_iter().map(|gate| gate.name).collect(),
        other => panic!("it was not refused: {other:?}"),
    }
}

/// Nobody follows here, nothing was compared, and there is something to mend.
#[tokio::test]
async fn no_move_goes_without_what_keeps_both_sides_equal_whatever_it_is_told() {
    let world = World::mirroring(ITEMS).await;
    let keeper = Keeper::new(world.banyan.keeper_options());
    world.shop.finds(vec![Finding::stop("settings", "wrong", "mend them")]);
    assert_eq!(kept_closed(&keeper, Phase::Lead).await, ["preflight", "stream", "equal"]);
    let world = World::leading(ITEMS).await;
    let keeper = Keeper::new(world.banyan.keeper_options());
    assert_eq!(kept_closed(&keeper, Phase::Mirror).await, ["stream", "sync-out"]);
    world.shop.finds(vec![Finding::stop("settings", "wrong", "mend them")]);
    assert_eq!(kept_closed(&keeper, Phase::Retired).await, ["preflight"]);
    let world = World::with(ITEMS);
    world.shop.finds(vec![Finding::stop("settings", "wrong", "mend them")]);
    let keeper = Keeper::new(world.banyan.keeper_options());
    assert_eq!(kept_closed(&keeper, Phase::Mirror).await, ["preflight"]);
}

#[tokio::test]
async fn parts_that_run_and_are_in_trouble_keep_their_gates_closed() {
    let world = World::mirroring(ITEMS).await;
    let (keeper, progress) = (Keeper::new(world.banyan.keeper_options()), world.banyan.progress.clone());
    let found = async |to: Phase, name: &str| {
        let gates = keeper.plan(to).await.expect("it runs").gates;
        let gate = gates.into_iter().find(|gate| gate.name == name).expect("it has such a gate");
        (gate.holds, gate.found)
    };
    progress.inward(true, Some("the schema changed".to_owned()));
    assert_eq!(found(Phase::Lead, "stream").await, (false, "the schema changed".to_owned()));
    progress.inward(true, None);
    assert!(found(Phase::Lead, "stream").await.0);
    world.goes(Phase::Lead).await;
    progress.outward(true, Some("somebody else leads".to_owned()));
    assert_eq!(found(Phase::Mirror, "sync-out").await, (false, "somebody else leads".to_owned()));
    progress.outward(true, None);
    assert!(found(Phase::Mirror, "sync-out").await.0);
}

#[tokio::test]
async fn a_stream_that_somebody_reads_in_phase_legacy_is_told_and_not_given_up() {
    let world = World::with(ITEMS);
    world.wire.create().await.expect("made");
    let mut kept = world.banyan.kept();
    kept.until("it is told", |now| now.trouble.iter().any(|why| why.contains("somebody reads it"))).await;
    assert_eq!(world.shop.asked().drops, 0);
    kept.stop().await;
}

#[tokio::test]
async fn a_comparison_asked_for_during_a_move_puts_nothing_right() {
    let world = World::mirroring(ITEMS).await;
    let keeper = Keeper::new(world.banyan.keeper_options());
    world.banyan.begins(Phase::Lead).await;
    rots(&world);
    let position = world.shop.position();
    assert_eq!(keeper.compare(true).await, Ok((2, 1)));
    assert_eq!(world.shop.position(), position, "no row was sent again");
    keeper.abort("it differs").await.expect("given up");
    let running = world.banyan.follows_in();
    assert_eq!(keeper.compare(true).await, Ok((2, 0)));
    assert_eq!(world.banyan.books("A", PLACE).await, Some((77, 0)));
    running.stop().await;
}

#[tokio::test]
async fn both_sides_are_compared_now_and_then_and_put_right() {
    let mut world = World::mirroring(ITEMS).await;
    world.banyan.compare_every = Duration::from_millis(50);
    let mut kept = world.banyan.kept();
    rots(&world);
    until("A is put right", async || kept.books("A", PLACE).await == Some((77, 0))).await;
    kept.goes(Phase::Lead).await;
    written(&world).await;
    world.shop.silently(|tables| tables.rows.insert("B".to_owned(), (1, 1)));
    until("B is put right", async || world.shop.row("B") == Some((3, 0))).await;
    kept.stop().await;
}

#[tokio::test]
async fn a_stream_is_given_up_only_if_the_mapping_says_when() {
    let world = World::mirroring(ITEMS).await;
    world.shop.retains(u64::MAX);
    let mut kept = world.banyan.kept();
    kept.until("it is looked at", |now| now.health.is_some()).await;
    assert_eq!(world.shop.asked().drops, 0);
    kept.stop().await;
}

#[tokio::test]
async fn a_lag_that_cannot_be_measured_keeps_its_gate_closed() {
    let world = World::mirroring(ITEMS).await;
    world.shop.committed_long_ago(Duration::from_secs(172_800));
    world.shop.puts([("A", 4, 0)]);
    world.hear().await;
    world.shop.stands_still(true);
    world.banyan.begins(Phase::Lead).await;
    let mut kept = world.banyan.kept();
    kept.until("the move waits", |now| {
        assert!(!now.state.has_noted(MoveStep::Checked), "it went on: {now:?}");
        now.stage.as_ref().is_some_and(|why| why.contains("lag: 1728"))
    })
    .await;
    world.shop.stands_still(false);
    kept.until("Banyan leads", |now| now.state.phase == Phase::Lead).await;
    kept.stop().await;
}

/// There is no gate for it: nothing else compares on this way.
#[tokio::test]
async fn the_old_columns_are_relied_upon_again_only_when_they_are_equal() {
    let world = World::leading(ITEMS).await;
    world.goes(Phase::Retired).await;
    world.banyan.reserve("A", 1).await.expect("Banyan goes on");
    world.shop.refuses(|row| (row.allocated > 0).then_some("check (b = 0)"));
    let mut kept = world.banyan.kept();
    world.banyan.begins(Phase::Lead).await;
    kept.until("the move waits", |now| now.stage.as_ref().is_some_and(|why| why.contains("rows differ")))
        .await;
    assert_eq!(world.shop.book().phase, Phase::Retired);
    world.shop.refuses_nothing();
    kept.until("it is done", |now| now.state.phase == Phase::Lead && now.state.moving.is_none()).await;
    assert_eq!(world.shop.row("A"), Some((5, 1)));
    kept.stop().await;
}

#[tokio::test]
async fn a_part_that_ends_in_trouble_rests_before_it_is_run_again() {
    let world = World::mirroring(ITEMS).await;
    let begun: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let options = world.banyan.keeper_options();
    let noted = begun.clone();
    let inward: Part = Box::new(move |_| {
        noted.lock().expect("no panic").push(Instant::now());
        Box::pin(async { Halt::Trouble("as ever".to_owned()) })
    });
    let parts = Parts { inward, ..options.parts };
    let keeper = Keeper::new(KeeperOptions { parts, ..options });
    let (stop, stopping) = watch::channel(false);
    let running = tokio::spawn(keeper.run(stopping));
    // The machine's clock need not be waited for.
    tokio::time::pause();
    until("it has run three times", async || begun.lock().expect("no panic").len() >= 3).await;
    tokio::time::resume();
    stop.send_replace(true);
    running.await.expect("it ends");
    let begun = begun.lock().expect("no panic").clone();
    for pair in begun.windows(2) {
        assert!(pair[1] - pair[0] >= Duration::from_secs(5), "{begun:?}");
    }
}
