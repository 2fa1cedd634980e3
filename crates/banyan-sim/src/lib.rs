//! The whole system on one thread, from a seed: the real engine core on the real disk log and the real record view, with
//! simulated clients, clock, disk and network, a simulated payment company and partners, and an auditor that believes
//! nothing.
//!
//! A run is decided by its seed and nothing else: no thread, no wall clock, no map whose order varies. The same seed gives
//! the same bytes, which [`check_twice`] compares. Bugs can be planted ([`Plant`]) to show that they would be found.
//!
//! What it deliberately is not: it does not test threads, sockets or real files (other tests do that with real
//! processes), and the auditor's `model` and `judge` share no rule with `banyan-domain`. The executor of sagas is a stand-in
//! (`outside/executor.rs`) that takes the steps of the real one by hand; what a company's answer means is the real code.
//!
//! Start reading at `world/mod.rs`, which is what happens; then `disk.rs` and `outside/network.rs` for what can go wrong, and
//! `auditor.rs` and `outside/books.rs` for what must be true all the same.

#[macro_use]
mod object;

mod auditor;
mod clock;
mod disk;
mod judge;
mod model;
mod outside;
mod plants;
mod prng;
mod process;
mod trace;
mod view;
mod workload;
mod world;

pub use disk::{Disk, Lies, Loss};
pub use plants::Plant;
pub use prng::Prng;
pub use world::{RunOptions, RunReport};

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Steps of a run where nobody says otherwise.
pub const STEPS: u64 = 1_200;

impl RunOptions {
    /// The run of `seed`, with nothing special about it.
    #[must_use]
    pub const fn of(seed: u64) -> Self {
        let (plant, steps) = (None, STEPS);
        Self { seed, steps, plant, trace: false }
    }
}

/// Runs once. A panic anywhere in the system is a finding, too.
#[must_use]
pub fn run(options: RunOptions) -> RunReport {
    let failed = |finding: String| RunReport {
        finding: Some(finding),
        hash: String::new(),
        counts: Default::default(),
    };
    match catch_unwind(AssertUnwindSafe(|| world::World::new(options).map(world::World::run))) {
        Ok(Ok(report)) => report,
        Ok(Err(why)) => failed(why),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message");
            failed(format!("a panic: {text}"))
        }
    }
}

/// Runs twice, and makes it a finding if the two runs differ in a single byte.
#[must_use]
pub fn check_twice(options: RunOptions) -> RunReport {
    let (mut first, second) = (run(options), run(options));
    if first.finding.is_none() && first.hash != second.hash {
        first.finding = Some(format!("two runs of one seed differ: {} and {}", first.hash, second.hash));
    }
    first
}

/// The command that shows a run again.
#[must_use]
pub fn replay_command(options: RunOptions) -> String {
    let RunOptions { seed, steps, plant, .. } = options;
    let plant = plant.map_or_else(String::new, |plant| format!(" --plant {}", plant.name()));
    format!("cargo run -p banyan-sim --release -- replay --seed {seed} --steps {steps}{plant} --trace")
}
