//! `banyan-soak`: the long run as a program; `cargo xtask legacy soak` builds and starts it.

use banyan_soak::{Database, Soak};
use clap::{Parser, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Let an old shop and Banyan write at once while everything between them breaks, and compare both sides.
#[derive(Parser)]
#[command(
    after_help = "Exit codes: 0 all is well; 3 something is not (the report says what); 4 it could not be run."
)]
struct Args {
    /// How long everybody writes
    #[arg(long, default_value_t = 60.0)]
    minutes: f64,
    /// The old shop's database
    #[arg(long, value_enum, default_value = "postgres")]
    database: Kind,
    /// Decides the schedule of faults and who wants what
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Orders a second, about
    #[arg(long, default_value_t = 12.0)]
    rate: f64,
    /// An empty folder for data, logs and the report; without it, one in the system's temporary folder, removed if all is well
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Lose the stream also while leadership changes hands
    #[arg(long)]
    streams_lost_during_moves: bool,
    /// The server's binary, built with `--features legacy`; without it, the one beside this program
    #[arg(long, value_name = "PATH")]
    banyan: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Postgres,
    Mariadb,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(3),
        Err(why) => {
            eprintln!("banyan-soak: {why}");
            ExitCode::from(4)
        }
    }
}

fn run(args: &Args) -> Result<bool, String> {
    let beside = || std::env::current_exe().ok().map(|me| me.with_file_name("banyan"));
    let binary = args.banyan.clone().or_else(beside).filter(|path| path.is_file());
    let binary = binary.ok_or(
        "no server binary; build it with `cargo build -p banyan --features legacy`, or name it with --banyan",
    )?;
    let (database, name) = match args.database {
        Kind::Postgres => (Database::Postgres, "postgres"),
        Kind::Mariadb => (Database::Mariadb, "mariadb"),
    };
    let folder = args.folder.clone().unwrap_or_else(|| {
        std::env::temp_dir().join(format!("banyan-soak-{name}-{}-{}", args.seed, std::process::id()))
    });
    let lasts =
        Duration::try_from_secs_f64(args.minutes * 60.0).map_err(|error| format!("--minutes: {error}"))?;
    let mut soak = Soak::new(binary, database, folder.clone(), lasts);
    (soak.seed, soak.orders_per_second) = (args.seed, args.rate);
    soak.streams_lost_during_moves = args.streams_lost_during_moves;
    let report = soak.run()?;
    match args.json {
        true => println!("{:#}", report.json),
        false => println!("{}", report.text),
    }
    if report.is_well() && args.folder.is_none() {
        std::fs::remove_dir_all(&folder)
            .map_err(|error| format!("removing {}: {error}", folder.display()))?;
    }
    Ok(report.is_well())
}
