//! Every move, with the real parts of the sync and the real comparison, killed at every point of its journal: everything in memory is
//! gone, the engine is built again from its log alone, and a keeper that knows nothing else goes on with it.

mod driving;

use banyan_domain::legacy::{CapabilityState, MoveStep, Phase};
use banyan_domain::stock;
use banyan_legacy::{Driver, steps};
use banyan_legacy_testkit::{Banyan, NOT_LEADING, Running, World, until};
use driving::ITEMS;
use std::sync::atomic::{AtomicU64, Ordering};

/// There and back by every move there is.
const WAY: [Phase; 7] =
    [Phase::Mirror, Phase::Legacy, Phase::Mirror, Phase::Lead, Phase::Retired, Phase::Lead, Phase::Mirror];

/// What a keeper runs where a move stands so; nothing where there is no stream.
fn runs(banyan: &Banyan, state: &CapabilityState) -> Option<Running> {
    let to = state.moving.as_ref()?.to;
    let is_copied = state.phase != Phase::Legacy || state.has_noted(MoveStep::Prepared);
    let gives_up = to == Phase::Legacy && state.has_noted(MoveStep::Switched);
    let writes = state.phase == Phase::Lead || (state.phase == Phase::Retired && to == Phase::Lead);
    match (is_copied && !gives_up, writes) {
        (false, _) => None,
        (true, false) => Some(banyan.follows_in()),
        (true, true) => Some(banyan.follows()),
    }
}

/// Goes on with the move until so many steps of it are noted, or it is over; and dies there, in the middle of whatever the parts do.
/// How many steps are noted in what is left, or nothing where the move is over.
async fn dies_at(world: &mut World, noted: usize) -> Option<usize> {
    let banyan = &world.banyan;
    let driver = Driver { comparer: banyan.keeper_options().parts.comparer, ..banyan.driver() };
    let mut running = None;
    until("it comes to this point", async || {
        let state = banyan.state().await;
        if state.moving.as_ref().is_none_or(|moving| moving.noted.len() >= noted) {
            return true;
        }
        if let Some(before) = std::mem::replace(&mut running, runs(banyan, &state)) {
            before.kill().await;
        }
        driver.step().await.expect("nothing is in the way");
        false
    })
    .await;
    if let Some(running) = running {
        running.kill().await;
    }
    drop(driver);
    world.banyan = world.banyan.from_its_log();
    world.banyan.state().await.moving.map(|moving| moving.noted.len())
}

/// Both sides say the same, of the phase and of every row, and Banyan decides exactly where it leads.
async fn check(world: &World, phase: Phase, sold: u64) {
    assert_eq!(world.shop.book().phase, phase, "the old database says the same");
    let is_open = world.banyan.reserve("A", 1).await;
    assert_eq!(is_open.is_ok(), phase.leads(), "{phase:?}: {is_open:?}");
    match is_open {
        Ok(reservation) => {
            world.banyan.ask(stock::Command::ReleaseReservation { reservation }).await;
        }
        Err(refusal) => assert_eq!(refusal, NOT_LEADING),
    }
    let units = i64::try_from(sold).expect("a few");
    assert_eq!(
        world.banyan.all_books().await.get("B").map(|numbers| numbers.0),
        Some(900 - units),
        "every sale once"
    );
    if phase != Phase::Retired {
        until("the old rows are the books", async || world.banyan.all_books().await == world.shop.rows())
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_move_goes_on_in_a_banyan_that_died_at_any_point_of_its_journal() {
    let points = WAY.iter().zip([Phase::Legacy].iter().chain(&WAY)).map(|(to, from)| steps(*from, *to).len());
    let (killed, sold) = (AtomicU64::new(0), AtomicU64::new(0));
    for point in 0..=points.max().expect("there are moves") {
        let mut world = World::with([ITEMS[0], ("B", 900, 0)]);
        sold.store(0, Ordering::Relaxed);
        for to in WAY {
            world.banyan.begins(to).await;
            if let Some(noted) = dies_at(&mut world, point).await {
                assert_eq!(noted, point, "what was noted is in the log, on the way to {to:?}");
                killed.fetch_add(1, Ordering::Relaxed);
            }
            let mut kept = world.banyan.kept();
            kept.until("the move is done", |now| now.state.phase == to && now.state.moving.is_none()).await;
            if to.leads() {
                let reservation = world.banyan.reserve("B", 1).await.expect("it leads");
                world.banyan.ask(stock::Command::CommitReservation { reservation }).await;
                sold.fetch_add(1, Ordering::Relaxed);
            }
            check(&world, to, sold.load(Ordering::Relaxed)).await;
            kept.stop().await;
        }
    }
    assert!(killed.load(Ordering::Relaxed) >= 21, "three points of each move at least: {killed:?}");
}
