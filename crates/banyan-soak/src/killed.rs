//! Moves of a real Banyan beside a real old database, ended with SIGKILL whenever its log shows another step of one.

use crate::banyan;
use crate::judge;
use crate::place::Place;
use crate::{Database, Soak};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest time for one move, with all its kills.
const MOVE_MAX: Duration = Duration::from_secs(240);
/// Short: steps that need nothing to happen follow each other within milliseconds.
const LOOK: Duration = Duration::from_millis(2);

/// There and back, without what needs somebody to watch who reads.
const WAY: [&str; 5] = ["mirror", "lead", "mirror", "legacy", "mirror"];

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Killed {
    /// Each move's number and the steps that were noted in the log when the process was killed.
    pub at: BTreeSet<(u64, Vec<String>)>,
    /// How many moves were done.
    pub moves: usize,
    /// What is not as it must be; nothing if all is well.
    pub findings: Vec<String>,
}

/// Makes the moves and kills the process after each step that is seen. Blocks.
///
/// # Errors
/// Why it could not be begun, or a move not be made.
pub fn killed_at_every_step(binary: PathBuf, database: Database, folder: PathBuf) -> Result<Killed, String> {
    let soak = Soak::new(binary, database, folder, Duration::ZERO);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| format!("starting a runtime: {error}"))?;
    let place = Arc::new(Place::start(&soak)?);
    let done = runtime.block_on(all(&place));
    runtime.shutdown_timeout(Duration::from_secs(5));
    let at = done?;
    place.banyan().stop().map_err(|error| error.to_string())?;
    place.program.verify()?;
    let findings = place.tally.seen().findings.clone();
    Ok(Killed { at, moves: WAY.len(), findings })
}

async fn all(place: &Arc<Place>) -> Result<BTreeSet<(u64, Vec<String>)>, String> {
    place.stock_up().await?;
    let mut at = BTreeSet::new();
    for to in WAY {
        one(place, to, &mut at).await?;
    }
    judge::equal_again(place).await?;
    Ok(at)
}

async fn one(
    place: &Arc<Place>,
    to: &'static str,
    at: &mut BTreeSet<(u64, Vec<String>)>,
) -> Result<(), String> {
    let (began, mut http) = (Instant::now(), place.http());
    let mut asked: Option<tokio::task::JoinHandle<Result<(), String>>> = None;
    let mut last = String::new();
    while began.elapsed() < MOVE_MAX {
        let status = banyan::status(&mut http).await.unwrap_or_default();
        let moving = &status["moving"];
        if status["phase"] == to && moving.is_null() {
            place.tally.say(&format!("moved to {to} in {:.1} s", began.elapsed().as_secs_f64()));
            return Ok(());
        }
        if let Some(number) = moving["move"].as_u64() {
            let noted = noted(moving);
            if !noted.is_empty() && at.insert((number, noted.clone())) {
                place.tally.say(&format!("killed on the way to {to}, after {noted:?}"));
                kill(place).await?;
            }
        } else if asked.as_ref().is_none_or(tokio::task::JoinHandle::is_finished) {
            if let Some(before) = asked.take()
                && let Ok(Err(why)) = before.await
            {
                last = why;
            }
            // One of the gates rests on a comparison.
            let _compared_or_not_yet = banyan::reconcile(&mut http).await;
            let program = place.program.clone();
            asked = Some(tokio::task::spawn_blocking(move || program.move_to(to)));
        }
        // A condition is looked at again; nobody tells it.
        tokio::time::sleep(LOOK).await;
    }
    Err(format!("no move to {to} within {MOVE_MAX:?}: {last}"))
}

fn noted(moving: &Value) -> Vec<String> {
    let steps = moving["steps"].as_array().into_iter().flatten();
    let done = steps.filter(|step| !step["done_at"].is_null());
    done.map(|step| step["step"].as_str().unwrap_or_default().to_owned()).collect()
}

async fn kill(place: &Arc<Place>) -> Result<(), String> {
    let place = place.clone();
    let work = move || {
        let mut banyan = place.banyan();
        banyan.kill().map_err(|error| error.to_string())?;
        place.program.start_again(&mut banyan)
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?
}
