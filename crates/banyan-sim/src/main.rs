//! `banyan-sim`: runs seeds, and shows one again.

use banyan_sim::{Plant, RunOptions, STEPS, check_twice, replay_command, run};
use clap::{Args, Parser, Subcommand};
use std::collections::BTreeMap;
use std::process::ExitCode;

/// The whole of Banyan on one thread, from a seed.
#[derive(Parser)]
#[command(name = "banyan-sim", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs many seeds; stops at the first finding and prints the command that shows it again.
    Run {
        /// How many seeds.
        #[arg(long, default_value_t = 300)]
        seeds: u64,
        /// The first seed.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// Run each seed twice and compare every byte.
        #[arg(long)]
        twice: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Runs one seed.
    Replay {
        /// The seed.
        #[arg(long)]
        seed: u64,
        /// Print every step.
        #[arg(long)]
        trace: bool,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Args, Clone, Copy)]
struct Common {
    /// Steps before a run comes to rest.
    #[arg(long, default_value_t = STEPS)]
    steps: u64,
    /// Plant a bug.
    #[arg(long, value_enum)]
    plant: Option<Plant>,
}

impl Common {
    const fn options(self, seed: u64, trace: bool) -> RunOptions {
        let Self { steps, plant } = self;
        RunOptions { seed, steps, plant, trace }
    }
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run { seeds, from, twice, common } => {
            let mut total = BTreeMap::new();
            for seed in from..from + seeds {
                let options = common.options(seed, false);
                let report = if twice { check_twice(options) } else { run(options) };
                if let Some(finding) = report.finding {
                    println!("seed {seed}: {finding}\n\nto see it again: {}", replay_command(options));
                    return ExitCode::FAILURE;
                }
                for (what, count) in report.counts {
                    *total.entry(what).or_insert(0) += count;
                }
            }
            print(&total);
            println!("{seeds} seeds from {from}, {} steps each: nothing found", common.steps);
        }
        Command::Replay { seed, trace, common } => {
            let report = run(common.options(seed, trace));
            print(&report.counts);
            println!("hash {}", report.hash);
            if let Some(finding) = report.finding {
                println!("seed {seed}: {finding}");
                return ExitCode::FAILURE;
            }
            println!("seed {seed}: nothing found");
        }
    }
    ExitCode::SUCCESS
}

fn print(counts: &BTreeMap<String, u64>) {
    for (what, count) in counts {
        println!("{count:>10}  {what}");
    }
}
