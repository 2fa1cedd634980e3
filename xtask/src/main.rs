//! The project's chores, as `cargo xtask CHORE`. Not shipped. Start reading at [`Chore`].

mod bench;
mod legacy;
mod run;
mod soak;
mod test;
mod tidy;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// The project's chores.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Install what the tests need (or say what to install), then run all tests
    Test(test::Args),
    /// Check layers, docs, names and sizes
    Tidy,
    /// Format check, lints with warnings denied, tidy, then all tests: what the CI runs
    Ci,
    /// Measure Banyan against the ways teams build it themselves
    Bench(bench::Args),
    /// Kill the server in the middle of a sale, again and again, and check every acknowledged answer
    Kill9(bench::Kill9Args),
    /// The old shop of the strangler tutorial, and shoppers for it
    #[command(subcommand)]
    Legacy(legacy::Act),
    /// Rehearse a sale day with a failing payment company, kill the server during it, and compare every book
    SaleDay(bench::SaleDayArgs),
}

fn main() -> ExitCode {
    let done = match Cli::parse().chore {
        Chore::Test(args) => test::run(&args),
        Chore::Tidy => tidy::run(),
        Chore::Ci => ci(),
        Chore::Bench(args) => bench::run(&args),
        Chore::Kill9(args) => bench::kill9(&args),
        Chore::Legacy(act) => legacy::run(&act),
        Chore::SaleDay(args) => bench::sale_day(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Everything a change must pass.
fn ci() -> Result<(), String> {
    run::cargo(["fmt", "--all", "--check"])?;
    tidy::run()?;
    run::cargo([
        "clippy",
        "--workspace",
        "--all-targets",
        "--features",
        run::ALL_FEATURES,
        "--",
        "-D",
        "warnings",
    ])?;
    // The build that people start with leaves parts out.
    run::cargo(["clippy", "-p", "banyan", "--", "-D", "warnings"])?;
    test::run(&test::Args::default())
}
