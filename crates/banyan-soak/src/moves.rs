//! Leadership goes back to the old shop and comes to Banyan again, while everybody goes on writing.

use crate::banyan;
use crate::place::Place;
use crate::tally::MoveSeen;
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Longest time for a move: it waits for holds, and faults come in between.
const MOVE_MAX: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_millis(200);

/// Moves there and back every now and then, at least once.
pub(crate) async fn run(place: Arc<Place>, mut stop: watch::Receiver<bool>) {
    let Some([every, stays]) = place.soak.moves else { return };
    for round in 0_u32.. {
        // A schedule. When there is no more time, the first round is made nevertheless.
        let stopped = tokio::time::timeout(every, stop.wait_for(|stop| *stop)).await.is_ok();
        if stopped && round > 0 {
            return;
        }
        to(&place, "mirror").await;
        // How long the old shop leads: part of the schedule.
        tokio::time::sleep(stays).await;
        to(&place, "lead").await;
    }
}

/// Moves to the next phase by `banyan legacy move`, as often as it takes.
pub(crate) async fn to(place: &Arc<Place>, phase: &'static str) {
    let _alone = place.moving.lock().await;
    let (began, mut asked, mut http) = (Instant::now(), 0, place.http());
    let mut last = String::new();
    while began.elapsed() < MOVE_MAX {
        // One of the gates rests on a comparison.
        let compared = banyan::reconcile(&mut http).await;
        asked += 1;
        let program = place.program.clone();
        let done = tokio::task::spawn_blocking(move || program.move_to(phase)).await;
        last = match done {
            Ok(Ok(())) => String::new(),
            Ok(Err(why)) => format!("{why} (compared: {compared:?})"),
            Err(error) => error.to_string(),
        };
        // The command may have been cut off; the move goes on by itself.
        while began.elapsed() < MOVE_MAX {
            match banyan::status(&mut http).await {
                Some(status) if status["moving"] == Value::Null && status["phase"] == phase => {
                    let lasted = began.elapsed();
                    let at = began - place.tally.began;
                    place.tally.say(&format!(
                        "moved to {phase} in {:.1} s, asked {asked} times",
                        lasted.as_secs_f64()
                    ));
                    place.tally.seen().moves.push(MoveSeen { to: phase, at, lasted, asked });
                    return;
                }
                Some(status) if status["moving"] == Value::Null => break,
                // A condition is looked at again; nobody tells it.
                _ => tokio::time::sleep(LOOK).await,
            }
        }
        // A condition is looked at again; nobody tells it.
        tokio::time::sleep(LOOK).await;
    }
    let status = banyan::status(&mut http).await.unwrap_or_default();
    place.tally.finding(format!("no move to {phase} within {MOVE_MAX:?}: {last}; now {status}"));
}
