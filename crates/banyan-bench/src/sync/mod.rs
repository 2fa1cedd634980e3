//! The benchmark of the sync with an old database: what the old shop commits becomes durable in Banyan, and what Banyan decides is
//! committed in the old table.
//!
//! A real Postgres or MariaDB, a table of stock, the keeper that `banyan up --legacy` runs, and a log on the disk. Either way is
//! measured at a fixed rate, for its lag, and with a backlog, for what it can take at most. In turn with each backlog the raw
//! limit: the server's own reader on the same changes, and plain batched updates of the same rows. Comparing both sides is
//! measured by reading all rows and by digests. After every run both sides are compared; a difference stops the benchmark.
//!
//! Where to start reading: [`rounds`], the order of everything; [`runs`], what is measured; [`shop`], what the kinds of database
//! have in common.

mod banyan;
mod mariadb;
mod metrics;
mod postgres;
mod rounds;
mod runs;
mod shop;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use self::mariadb::MariadbShop;
use self::postgres::PostgresShop;
use self::shop::OldShop;
use crate::{Failure, failed, machine, table};

/// How long anything may take that must come.
const PATIENCE: Duration = Duration::from_secs(120);
/// Above this, figures of one run cannot be compared with each other.
const OTHERS_MAX_PERCENT: f64 = 15.0;

/// What to run.
#[derive(Args)]
#[command(
    after_help = "Phases are gone through as an operator does: first mirror, in which the old shop leads and its rows flow \
    in; then lead, in which Banyan reserves and the old rows follow. Lags are told by one clock: writers, Banyan and those who \
    look on are one process. After each run both sides are compared, and the benchmark fails if they differ."
)]
pub(crate) struct Options {
    /// The old shop's database
    #[arg(long, value_enum, default_value_t = Database::Postgres)]
    database: Database,
    /// Length of each run at a fixed rate, in seconds
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// How often everything has its turn; figures are medians
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Rows of the old table: more than travel together, for of a row that changes twice in one command only the last is kept
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1_000..1_000_000))]
    rows: u64,
    /// Rows a second at the fixed rate, in and out
    #[arg(long, default_value_t = 5_000.0)]
    rate: f64,
    /// Rows that one transaction of the old shop changes; a divisor of --rows
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    rows_each: u64,
    /// Connections of the old shop's writers
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Row changes in the backlog that is read
    #[arg(long, default_value_t = 100_000)]
    backlog: u64,
    /// Where data is stored: a folder on a real disk. The default is the system's temporary folder
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Writes the figures here, too
    #[arg(long)]
    json: Option<PathBuf>,
}

/// A kind of old database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Database {
    Postgres,
    Mariadb,
}

/// Runs the benchmark and prints its table.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    match options.database {
        Database::Postgres => run_with::<PostgresShop>(options),
        Database::Mariadb => run_with::<MariadbShop>(options),
    }
}

fn run_with<S: OldShop>(options: &Options) -> Result<(), Failure> {
    let dir = options.dir.clone().unwrap_or_else(std::env::temp_dir);
    std::fs::create_dir_all(&dir).map_err(|e| failed(format!("making {}", dir.display()), e))?;
    machine::refuse_memory(&dir)?;
    if !options.rows.is_multiple_of(options.rows_each) {
        let text = format!("{} is no divisor of --rows {}", options.rows_each, options.rows);
        return Err(failed("--rows-each", text));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| failed("starting the runtime", e))?;
    let found = rounds::run::<S>(options, &runtime, &dir)?;
    let rows = found.rows();
    println!("{}; {}, its writers and Banyan on the same machine", machine::describe(&dir), S::NAME);
    println!(
        "{} rounds; {} rows; fixed rate {} rows/s for {} s, in by {} connections with {} row(s) a transaction; backlog in {} rows, \
         out {} rows in transactions of up to 1,000",
        options.rounds,
        options.rows,
        options.rate,
        options.seconds,
        options.connections,
        options.rows_each,
        options.backlog,
        options.rows
    );
    println!("\n{}", table::markdown(&rows));
    println!(
        "- **in**: from the answer to the old shop's commit ({}) to the row fsynced in Banyan's log, exactly once",
        S::DURABLE_BY
    );
    println!(
        "- **out**: from the answer to a reservation (fsynced) to its row committed in the old table, checkpoint and mark in the same transaction"
    );
    println!(
        "- **raw limit**: in: {}, to /dev/null; out: plain updates of the same rows in transactions of 1,000",
        S::RAW_READER
    );
    println!(
        "- **comparing**: both sides' rows; all read, as after a start, and by digests of ranges of 1,000, as from then on"
    );
    let others = found.others_percent_max();
    if others > OTHERS_MAX_PERCENT {
        println!(
            "\nWARNING: not a quiet machine: others took up to {others:.0} % of the CPU. Do not quote these figures."
        );
    }
    match &options.json {
        Some(path) => table::write_json(path, &rows),
        None => Ok(()),
    }
}
