//! A sale day with a payment company that fails and hangs, and kill -9 of the server again and again during it; prints what
//! both sides have in their books afterwards. `cargo xtask sale-day` builds and runs it.

#[path = "../tests/support/mod.rs"]
mod support;

use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;
use support::sale::{Outcome, SaleDay};

/// Rehearse a sale day, kill the server during it, and compare every book.
#[derive(Parser)]
struct Args {
    /// How often the server is killed
    #[arg(long, default_value_t = 10)]
    kills: u64,
    /// Answers about coupons and orders between two kills
    #[arg(long, default_value_t = 600)]
    answers_between: u64,
    /// What is rehearsed
    #[arg(long, default_value = "examples/rehearsals/sale-day.toml")]
    scenario: PathBuf,
    /// The server's binary; without it, the one beside this program's folder
    #[arg(long, value_name = "PATH")]
    banyan: Option<PathBuf>,
    /// An empty folder that keeps everything; without it, a temporary one that is removed
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let beside = || std::env::current_exe().ok().and_then(|me| Some(me.parent()?.parent()?.join("banyan")));
    let Some(binary) = args.banyan.or_else(beside).filter(|path| path.is_file()) else {
        eprintln!(
            "sale_day: no server binary; build it with `cargo build --release`, or name it with --banyan"
        );
        return ExitCode::from(2);
    };
    let temporary = match tempfile::tempdir() {
        Ok(folder) => folder,
        Err(error) => {
            eprintln!("sale_day: making a temporary folder: {error}");
            return ExitCode::from(4);
        }
    };
    let folder = args.dir.as_deref().unwrap_or(temporary.path());
    let (kills, answers_between) = (args.kills, args.answers_between);
    if let Err(error) = std::fs::create_dir_all(folder) {
        eprintln!("sale_day: making {}: {error}", folder.display());
        return ExitCode::from(4);
    }
    let day = SaleDay { binary: &binary, folder, scenario: &args.scenario, kills, answers_between };
    let outcome = day.run();
    print(&outcome);
    if outcome.is_well() && outcome.kills == kills { ExitCode::SUCCESS } else { ExitCode::from(3) }
}

fn print(outcome: &Outcome) {
    let report = |name: &str| outcome.report[name].as_u64().unwrap_or(0);
    let lines = [
        ("kill -9 of the server", outcome.kills as i64),
        ("events in the log", report("events") as i64),
        ("orders placed", outcome.report["orders"]["placed"].as_i64().unwrap_or(0)),
        ("orders paid", outcome.orders_paid as i64),
        ("answers held against the log", report("acknowledged") as i64),
        ("", 0),
        ("answers that are not so", outcome.missing as i64),
        ("findings of the auditor", outcome.findings as i64),
        ("outcomes that a member does not know", outcome.unknown as i64),
        ("double clicks with two orders", outcome.two_orders as i64),
        ("orders charged twice, at the company", outcome.double_charges as i64),
        ("captured payments without a paid order", outcome.captured_without_order as i64),
        ("paid orders without a captured payment", outcome.paid_without_capture as i64),
        ("orders whose money differs from the company's", outcome.other_amount as i64),
        ("payments still authorized, at the company", outcome.still_authorized as i64),
        ("sagas parked for an operator", outcome.sagas_parked as i64),
        ("units still held", outcome.units_still_held as i64),
        ("money still on hold", outcome.money_still_held),
        ("what the company owes: our books less theirs", outcome.receivable_differs),
        ("books out of balance", i64::from(outcome.is_unbalanced)),
    ];
    for (name, number) in lines {
        if name.is_empty() { println!() } else { println!("{number:>9}  {name}") }
    }
    for finding in outcome.report["findings"].as_array().into_iter().flatten() {
        println!("{finding}");
    }
    println!("visits: {}", outcome.rehearsal["visits"]);
}
