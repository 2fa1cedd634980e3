//! The benchmark of the sync with an old database: what the old shop commits becomes durable in Banyan, and what Banyan decides is
//! committed in the old table.
//!
//! A real Postgres, a table of stock, the keeper that `banyan up --legacy` runs, and a log on the disk. Either way is measured at a
//! fixed rate, for its lag, and with a backlog, for what it can take at most. In turn with each backlog the raw limit: Postgres's
//! own reader (`pg_recvlogical`) on the same changes, and plain batched updates of the same rows. After every run both sides are
//! compared row by row; a difference stops the benchmark.

mod banyan;
mod runs;
mod shop;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use banyan_domain::legacy::Phase;
use clap::Args;
use tokio::runtime::Runtime;

use self::banyan::Banyan;
use self::runs::{Burst, Steady};
use self::shop::{RAW_SLOT, Shop, Writes};
use crate::measure::{flush_us, median};
use crate::table::{self, Row};
use crate::{Failure, failed, machine};

/// How long anything may take that must come.
const PATIENCE: Duration = Duration::from_secs(120);
/// The first number that a writer sets: above what the table begins with.
const FIRST: u64 = 1_000_000;
/// Above this, figures of one run cannot be compared with each other.
const OTHERS_MAX_PERCENT: f64 = 15.0;

/// What to run.
#[derive(Args)]
#[command(
    after_help = "Phases are gone through as an operator does: first mirror, in which the old shop leads and its rows flow \
    in; then lead, in which Banyan reserves and the old rows follow. Lags are told by one clock: writers, Banyan and those who \
    look on are one process. After each run both sides are compared row by row, and the benchmark fails if they differ."
)]
pub(crate) struct Options {
    /// Length of each run at a fixed rate, in seconds
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// How often everything has its turn; figures are medians
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Rows of the old table: more than travel together, for of a row that changes twice in one command only the last is kept
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1_000..))]
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

/// A metric's name and unit.
type Metric = (&'static str, &'static str);
type Figures = BTreeMap<Metric, f64>;

const BANYAN: &str = "banyan";
const RAW: &str = "raw limit";

/// All metrics, in the order they are printed.
const METRICS: [Metric; 26] = [
    ("in, fixed rate", "rows/s"),
    ("in: lag p50", "ms"),
    ("in: lag p99", "ms"),
    ("in: lag max", "ms"),
    ("in: with its transaction p99", "ms"),
    ("in: Banyan CPU", "us/row"),
    ("in: Postgres CPU, its writers included", "us/row"),
    ("in, backlog", "rows/s"),
    ("in, backlog, raw limit = 1", ""),
    ("in, backlog: Banyan CPU", "us/row"),
    ("in, backlog: Postgres CPU", "us/row"),
    ("out, fixed rate", "rows/s"),
    ("out: lag p50", "ms"),
    ("out: lag p99", "ms"),
    ("out: lag max", "ms"),
    ("out: with its decision p99", "ms"),
    ("out: Banyan CPU, deciding included", "us/row"),
    ("out: Postgres CPU", "us/row"),
    ("out, backlog", "rows/s"),
    ("out, backlog, raw limit = 1", ""),
    ("out, backlog: Banyan CPU", "us/row"),
    ("out, backlog: Postgres CPU", "us/row"),
    ("disk flush", "us"),
    ("CPU others took, in", "%"),
    ("CPU others took, out", "%"),
    ("rows equal at the end", ""),
];

/// Runs the benchmark and prints its table.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let dir = options.dir.clone().unwrap_or_else(std::env::temp_dir);
    std::fs::create_dir_all(&dir).map_err(|e| failed(format!("making {}", dir.display()), e))?;
    machine::refuse_memory(&dir)?;
    if !options.rows.is_multiple_of(options.rows_each) {
        let text = format!("{} is no divisor of --rows {}", options.rows_each, options.rows);
        return Err(failed("--rows-each", text));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| failed("starting the runtime", e))?;
    let folder = tempfile::Builder::new().prefix("banyan-bench-").tempdir_in(&dir);
    let folder = folder.map_err(|e| failed(format!("making a folder in {}", dir.display()), e))?;
    let mut bench = Bench::start(options, &runtime, &dir, folder.path())?;
    bench.run()?;
    let rows = rows(&bench.figures);
    println!("{}; old database, its writers and Banyan on the same machine", machine::describe(&dir));
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
        "- **in**: from the answer to the old shop's commit (fsync=on, synchronous_commit=on) to the row fsynced in Banyan's log, exactly once"
    );
    println!(
        "- **out**: from the answer to a reservation (fsynced) to its row committed in the old table, checkpoint and mark in the same transaction"
    );
    println!(
        "- **raw limit**: in: pg_recvlogical, the same publication, to /dev/null; out: plain updates of the same rows in transactions of 1,000"
    );
    let others =
        [METRICS[23], METRICS[24]].into_iter().filter_map(|metric| bench.figures[BANYAN].get(&metric));
    let others = others.flatten().copied().fold(0.0, f64::max);
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

/// Whose figures, and of which metric, one for each round.
type Found = BTreeMap<&'static str, BTreeMap<Metric, Vec<f64>>>;

struct Bench<'a> {
    options: &'a Options,
    runtime: &'a Runtime,
    dir: &'a Path,
    banyan: Banyan, // before the database that it follows
    shop: Shop,
    /// The next number that a writer sets.
    next: u64,
    figures: Found,
}

impl<'a> Bench<'a> {
    fn start(
        options: &'a Options,
        runtime: &'a Runtime,
        dir: &'a Path,
        folder: &Path,
    ) -> Result<Self, Failure> {
        let shop = runtime.block_on(Shop::open(dir, options.rows))?;
        let mapping = Shop::mapping()?;
        // By a handle of its own: sessions are kept, and this one's would depend on this thread having time.
        let made = runtime.block_on(shop.database(&mapping)?.create());
        made.map_err(|e| failed("making the bookkeeping", e))?;
        let banyan = Banyan::open(&folder.join("log"), shop.database(&mapping)?, &mapping)?;
        let figures = BTreeMap::from([(BANYAN, BTreeMap::new()), (RAW, BTreeMap::new())]);
        Ok(Self { options, runtime, dir, banyan, shop, next: FIRST, figures })
    }

    fn run(&mut self) -> Result<(), Failure> {
        self.banyan.start();
        self.banyan.go(Phase::Mirror)?;
        let sql = format!("select pg_create_logical_replication_slot('{RAW_SLOT}', 'pgoutput')");
        self.runtime.block_on(self.shop.run(&sql))?;
        for round in 1..=self.options.rounds {
            let flush = flush_us(self.dir).map_err(|e| failed("timing the disk", e))?;
            self.note(BANYAN, Figures::from([(METRICS[22], flush)]));
            self.lag_in(round)?;
            self.backlog_in(round)?;
        }
        // A slot that nobody reads keeps the server's log for ever.
        self.runtime.block_on(self.shop.run(&format!("select pg_drop_replication_slot('{RAW_SLOT}')")))?;
        self.banyan.go(Phase::Lead)?;
        for round in 1..=self.options.rounds {
            self.lag_out(round)?;
            self.backlog_out(round)?;
        }
        self.note(BANYAN, Figures::from([(METRICS[25], self.options.rows as f64)]));
        self.banyan.stop()?;
        self.banyan.shard.shutdown();
        Ok(())
    }

    fn lag_in(&mut self, round: u32) -> Result<(), Failure> {
        let Options { rate, seconds, rows_each, connections, .. } = *self.options;
        let writes = Writes {
            first: self.take(0),
            rate: rate / rows_each as f64,
            duration: Duration::from_secs_f64(seconds),
            rows_each,
            connections,
        };
        self.take(writes.transactions() * rows_each);
        let steady = self.runtime.block_on(runs::steady_in(&self.shop, &self.banyan, writes))?;
        self.equal()?;
        eprintln!("round {round}, in: {:.0} rows/s, lag p99 {:.1} ms", steady.rate, ms(&steady, 0.99));
        self.note_steady(&steady, 0, 23);
        Ok(())
    }

    /// The backlog is read twice, from two slots: by us first in odd rounds, by the raw reader first in even ones.
    fn backlog_in(&mut self, round: u32) -> Result<(), Failure> {
        let Options { rows_each, backlog, .. } = *self.options;
        let backlog = (backlog / rows_each).max(1) * rows_each;
        self.banyan.stop()?;
        let advance = format!("select pg_replication_slot_advance('{RAW_SLOT}', pg_current_wal_flush_lsn())");
        let first = self.take(backlog);
        let until = self.runtime.block_on(async {
            self.shop.run(&advance).await?;
            self.shop.pile_up(first, backlog, rows_each).await?;
            self.shop.position().await
        })?;
        let before =
            if round.is_multiple_of(2) { Some(runs::raw_in(&self.shop, backlog, until)?) } else { None };
        let ours = runs::burst_in(&self.shop, &mut self.banyan, first, backlog)?;
        self.equal()?;
        let raw = match before {
            Some(raw) => raw,
            None => {
                self.banyan.stop()?;
                let raw = runs::raw_in(&self.shop, backlog, until)?;
                self.banyan.start();
                raw
            }
        };
        eprintln!("round {round}, backlog in: {:.0} rows/s, raw limit {:.0}", ours.rate(), raw.rate());
        self.note_bursts(&ours, &raw, 7);
        Ok(())
    }

    fn lag_out(&mut self, round: u32) -> Result<(), Failure> {
        let duration = Duration::from_secs_f64(self.options.seconds);
        let run = runs::steady_out(&self.shop, &self.banyan, self.options.rate, duration);
        let steady = self.runtime.block_on(run)?;
        self.equal()?;
        eprintln!("round {round}, out: {:.0} rows/s, lag p99 {:.1} ms", steady.rate, ms(&steady, 0.99));
        self.note_steady(&steady, 11, 24);
        Ok(())
    }

    fn backlog_out(&mut self, round: u32) -> Result<(), Failure> {
        let raw = |bench: &mut Self| {
            bench.banyan.stop()?;
            bench.runtime.block_on(runs::raw_out(&bench.shop, i32::try_from(round)?))
        };
        let before = if round.is_multiple_of(2) { Some(raw(self)?) } else { None };
        let ours = runs::burst_out(&self.shop, &mut self.banyan)?;
        self.equal()?;
        let raw = match before {
            Some(raw) => raw,
            None => raw(self)?,
        };
        if self.banyan.is_stopped() {
            self.banyan.start();
        }
        // What nobody read meanwhile is out of the way before the next run.
        self.equal()?;
        eprintln!("round {round}, backlog out: {:.0} rows/s, raw limit {:.0}", ours.rate(), raw.rate());
        self.note_bursts(&ours, &raw, 18);
        Ok(())
    }

    /// Both sides have the same rows, once all that is under way has arrived.
    fn equal(&self) -> Result<(), Failure> {
        let position = self.runtime.block_on(self.shop.position())?;
        self.banyan.wait_taken_in(position)?;
        self.banyan.compare(self.options.rows)
    }

    /// `count` numbers that nobody sets again; gives the first.
    fn take(&mut self, count: u64) -> u64 {
        let first = self.next;
        self.next += count;
        first
    }

    fn note(&mut self, whose: &'static str, found: Figures) {
        for (metric, value) in found {
            self.figures.entry(whose).or_default().entry(metric).or_default().push(value);
        }
    }

    fn note_steady(&mut self, steady: &Steady, from: usize, others: usize) {
        let per_row = |seconds: f64| seconds * 1e6 / steady.rows as f64;
        let values = [
            steady.rate,
            ms(steady, 0.5),
            ms(steady, 0.99),
            ms(steady, 1.0),
            steady.lag_from_sending.value_at_quantile(0.99) as f64 / 1e3,
            per_row(steady.used.banyan),
            per_row(steady.used.postgres),
        ];
        let found = METRICS[from..].iter().copied().zip(values);
        let others = (METRICS[others], steady.used.others_percent);
        self.note(BANYAN, found.chain([others]).collect());
    }

    fn note_bursts(&mut self, ours: &Burst, raw: &Burst, from: usize) {
        let per_row = |burst: &Burst, seconds: f64| seconds * 1e6 / burst.rows as f64;
        let [rate, ratio, banyan, postgres] = [0, 1, 2, 3].map(|index| METRICS[from + index]);
        let found = Figures::from([
            (rate, ours.rate()),
            (ratio, ours.rate() / raw.rate()),
            (banyan, per_row(ours, ours.used.banyan)),
            (postgres, per_row(ours, ours.used.postgres)),
        ]);
        self.note(BANYAN, found);
        let found = Figures::from([(rate, raw.rate()), (postgres, per_row(raw, raw.used.postgres))]);
        self.note(RAW, found);
    }
}

impl Burst {
    fn rate(&self) -> f64 {
        self.rows as f64 / self.took.as_secs_f64()
    }
}

fn ms(steady: &Steady, quantile: f64) -> f64 {
    steady.lag.value_at_quantile(quantile) as f64 / 1e3
}

fn rows(figures: &Found) -> Vec<Row> {
    let mut rows = Vec::new();
    for metric in METRICS {
        for whose in [BANYAN, RAW] {
            if let Some(values) = figures[whose].get(&metric) {
                rows.push(Row {
                    bench: "sync".to_owned(),
                    system: whose.to_owned(),
                    metric: metric.0.to_owned(),
                    value: median(values),
                    unit: metric.1.to_owned(),
                });
            }
        }
    }
    rows
}
