//! Kills a server with SIGKILL in the middle of a sale, again and again, and prints what became of the answers it gave.
//! `cargo xtask kill9 --rounds 20` builds and runs it.

#[path = "../tests/support/mod.rs"]
mod support;

use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;
use support::kill::{Killer, Moment};

/// Kill a server in the middle of a sale, again and again.
#[derive(Parser)]
struct Args {
    /// How often
    #[arg(long, default_value_t = 20)]
    rounds: u64,
    /// The server's binary; without it, the one beside this program's folder
    #[arg(long, value_name = "PATH")]
    banyan: Option<PathBuf>,
    /// Decides the random moments
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let beside = || std::env::current_exe().ok().and_then(|me| Some(me.parent()?.parent()?.join("banyan")));
    let Some(binary) = args.banyan.or_else(beside).filter(|path| path.is_file()) else {
        eprintln!("kill9: no server binary; build it with `cargo build --release`, or name it with --banyan");
        return ExitCode::from(2);
    };
    let folder = match tempfile::tempdir() {
        Ok(folder) => folder,
        Err(error) => {
            eprintln!("kill9: making a temporary folder: {error}");
            return ExitCode::from(4);
        }
    };
    let mut killer = Killer::new(&binary, folder.path(), args.seed);
    println!("round  moment      events      acks  missing  over quantity  over limit  start-up ms");
    let mut broken = 0;
    for number in 1..=args.rounds {
        let moment =
            [Moment::Random, Moment::Snapshot, Moment::RollOver, Moment::Random][(number % 4) as usize];
        let round = killer.round(moment);
        println!(
            "{number:>5}  {:<9} {:>8}  {:>8}  {:>7}  {:>13}  {:>10}  {:>11}{}",
            format!("{moment:?}").to_lowercase(),
            round.events,
            round.acks,
            round.missing,
            round.over_quantity,
            round.over_limit,
            round.start_up.as_millis(),
            if round.hit { "" } else { "  (moment missed)" }
        );
        if round.findings > 0 {
            broken += 1;
            println!("{:#}", round.report);
        }
    }
    println!("{} rounds, {broken} of them with findings", args.rounds);
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::from(3) }
}
