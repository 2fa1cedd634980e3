//! Rehearses a sale against a running server: an open-loop load generator for coupon campaigns.
//!
//! Arrivals follow a schedule, or a recorded day, and do not wait for answers; latency counts from the moment a
//! member meant to press. A server that stalls for a second is therefore charged for everybody who came meanwhile,
//! which a closed loop would hide (coordinated omission).
//!
//! A request ends in one of four ways, and they are never mixed: accepted, refused, **unknown** (sent, but no
//! complete answer came), not sent. What was accepted can be kept in a file, to hold the server to it after a crash.
//!
//! It deliberately is not a closed-loop benchmark, not a TLS or HTTP/2 client, and knows nothing of the server's
//! insides: it can be pointed at anything that speaks the coupon API.
//!
//! Start reading at [`Scenario`] (what can be asked for), then [`run`], then `generator/mod.rs`; `report/` turns
//! counts into text, JSON and a page.

mod acks;
mod args;
mod error;
mod generator;
mod progress;
mod random;
mod report;
pub mod scenario;
pub mod schedule;
mod target;
pub mod trace;

use std::path::PathBuf;

pub use args::{RehearseArgs, main};
pub use error::RehearseError;
pub use generator::Stop;
pub use progress::Progress;
pub use report::{
    ActionReport, CampaignReport, GeneratorReport, Latency, Level, Mark, Outage, Reason, Report,
    SecondReport, Verdict, VisitsReport,
};
pub use scenario::{Scenario, ScenarioError};
pub use target::Target;

use acks::AckWriter;

/// What surrounds a run.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Append every acknowledged write to this file, one JSON object a line.
    pub acks: Option<PathBuf>,
    /// What to show meanwhile.
    pub progress: Progress,
    /// Ends the run from outside.
    pub stop: Stop,
}

/// Runs a scenario to its end and reports. The load is made on a thread of its own, so that whatever else the
/// caller's runtime does cannot delay an arrival.
///
/// # Errors
/// When nothing answers at the target, a campaign cannot be created, the trace is wrong, or the file of
/// acknowledgements cannot be written. Refusals, resets and outages during the run are results, not errors.
pub async fn run(scenario: Scenario, options: RunOptions) -> Result<Report, RehearseError> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name("rehearse".into())
        .spawn(move || {
            // Nobody listening means that the caller has given up on the run.
            let _ = sender.send(run_here(&scenario, &options));
        })
        .map_err(RehearseError::Thread)?;
    receiver.await.map_err(|_| RehearseError::Thread(std::io::Error::other("the load thread panicked")))?
}

fn run_here(scenario: &Scenario, options: &RunOptions) -> Result<Report, RehearseError> {
    let acks = options.acks.as_deref().map(AckWriter::open).transpose().map_err(RehearseError::Acks)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RehearseError::Thread)?;
    let local = tokio::task::LocalSet::new();
    let run = generator::run(scenario, acks, options.progress, &options.stop);
    let run = local.block_on(&runtime, run)?;
    Ok(Report::new(scenario, &run))
}
