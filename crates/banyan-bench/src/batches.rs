//! Batches of commands through a real shard on a real disk, without HTTP: what the benchmarks of the engine share.
//!
//! Commands are made before the clock starts: what is measured is deciding, encoding, hashing, writing, syncing and
//! answering. Every answer is looked at; one that is not a first "done" stops the run.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::Instant;

use banyan_domain::{Command, KeyStamp, State};
use banyan_engine::{Answer, Shard};
use clap::Args;

use crate::measure::{Cpu, median};
use crate::table::{self, Row};
use crate::{Failure, engine, failed, machine};

/// Commands in one batch.
pub(crate) const BATCH: usize = 8_192;
/// Batches submitted and not yet answered.
pub(crate) const IN_FLIGHT: usize = 4;

/// What to run: the same for every benchmark of one capability.
#[derive(Args)]
pub(crate) struct Options {
    /// Transfers (of the ledger) or lines (of stock) in each measured run
    #[arg(long, default_value_t = 1_000_000)]
    count: usize,
    /// Accounts, or SKUs
    #[arg(long, default_value_t = 100_000)]
    rows: usize,
    /// Cores that the whole process may use; 0 for all
    #[arg(long, default_value_t = 1)]
    cores: usize,
    /// How often; figures are medians
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Where data is stored: a folder on a real disk
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Writes the figures here, too
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Which capability is measured, and how.
pub(crate) struct Bench {
    /// Its name, such as `ledger`.
    pub(crate) name: &'static str,
    /// What is counted, such as `transfers`.
    pub(crate) unit: &'static str,
    /// What rows are called, such as `accounts`.
    pub(crate) rows: &'static str,
    /// What is measured, each in a store of its own.
    pub(crate) phases: &'static [Phase],
}

/// One figure.
pub(crate) struct Phase {
    /// What is done.
    pub(crate) name: &'static str,
    /// Commands before the clock starts, which make the rows.
    pub(crate) prepare: fn(rows: usize) -> Result<VecDeque<Batch>, Failure>,
    /// The commands that are measured, for `count` units on `rows` rows.
    pub(crate) commands: fn(count: usize, rows: usize) -> Result<VecDeque<Batch>, Failure>,
    /// What the state must show afterwards: how many units were done, counted by the state itself.
    pub(crate) counted: fn(&State) -> u64,
}

/// Commands submitted together.
pub(crate) type Batch = Vec<(Command, Option<KeyStamp>)>;

/// Runs every phase in every round, in turn, and prints the table.
pub(crate) fn run(bench: &Bench, options: &Options) -> Result<(), Failure> {
    let dir = options.dir.clone().unwrap_or_else(std::env::temp_dir);
    std::fs::create_dir_all(&dir).map_err(|e| failed(format!("making {}", dir.display()), e))?;
    machine::refuse_memory(&dir)?;
    engine::pin(options.cores)?;
    let mut figures: Vec<Vec<Figures>> = bench.phases.iter().map(|_| Vec::new()).collect();
    for round in 1..=options.rounds.max(1) {
        for (phase, figures) in bench.phases.iter().zip(&mut figures) {
            let found = once(phase, options, &dir).map_err(|e| failed(phase.name, e))?;
            eprintln!("round {round}, {}: {:.0} {}/s", phase.name, found.rate, bench.unit);
            figures.push(found);
        }
    }
    let mut rows = Vec::new();
    for (phase, figures) in bench.phases.iter().zip(&figures) {
        let mut row = |metric: &str, unit: &str, value: fn(&Figures) -> f64| {
            rows.push(Row {
                bench: bench.name.into(),
                system: phase.name.into(),
                metric: metric.into(),
                value: median(&figures.iter().map(value).collect::<Vec<_>>()),
                unit: unit.into(),
            });
        };
        row(&format!("durable {}", bench.unit), "1/s", |found| found.rate);
        row("per second of processor time", "1/s", |found| found.cpu_rate);
        row("log", "bytes each", |found| found.log_bytes);
        row("events per block", "", |found| found.events_per_block);
    }
    println!("{}; {} cores used", machine::describe(&dir), options.cores);
    println!(
        "{} {} on {} {} a run, batches of {BATCH} commands, {IN_FLIGHT} in flight, {} rounds",
        options.count,
        bench.unit,
        options.rows,
        bench.rows,
        options.rounds.max(1)
    );
    println!("{}", table::render(&rows));
    println!("banyan: every answer fsynced in the log (group commit); no view");
    match &options.json {
        Some(path) => table::write_json(path, &rows),
        None => Ok(()),
    }
}

struct Figures {
    rate: f64,
    cpu_rate: f64,
    log_bytes: f64,
    events_per_block: f64,
}

fn once(phase: &Phase, options: &Options, dir: &std::path::Path) -> Result<Figures, Failure> {
    let folder = tempfile::tempdir_in(dir).map_err(|e| failed("making a folder", e))?;
    let shard = engine::open(&folder.path().join("log"))?;
    submit(&shard, (phase.prepare)(options.rows)?)?;
    let batches = (phase.commands)(options.count, options.rows)?;
    let (counted, before) = (counted(&shard, phase)?, shard.metrics());
    let (began, cpu) = (Instant::now(), cpu_seconds());
    submit(&shard, batches)?;
    let (took, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let (done, after) = (self::counted(&shard, phase)? - counted, shard.metrics());
    if done != options.count as u64 {
        return Err(format!("asked for {}, and the state counts {done}", options.count).into());
    }
    let whole = shard.read(State::check_invariants).map_err(|e| failed("looking", e))?;
    whole.blocking_recv().map_err(|e| failed("looking", e))?.map_err(|e| failed("adding up the state", e))?;
    shard.shutdown();
    let count = options.count as f64;
    Ok(Figures {
        rate: count / took,
        cpu_rate: count / cpu,
        log_bytes: (after.bytes - before.bytes) as f64 / count,
        events_per_block: (after.events - before.events) as f64
            / (after.blocks - before.blocks).max(1) as f64,
    })
}

/// Submits every batch, a few at a time, and looks at every answer.
pub(crate) fn submit(shard: &Shard, mut batches: VecDeque<Batch>) -> Result<(), Failure> {
    let mut waiting = VecDeque::new();
    while !batches.is_empty() || !waiting.is_empty() {
        while waiting.len() < IN_FLIGHT
            && let Some(batch) = batches.pop_front()
        {
            waiting.push_back(shard.submit_many(batch).map_err(|e| failed("submitting", e))?);
        }
        if let Some(answers) = waiting.pop_front() {
            let answers = answers.blocking_recv().map_err(|e| failed("waiting", e))?;
            let is_done = |answer: &&Answer| !matches!(answer, Answer::Done { replayed: false, .. });
            if let Some(other) = answers.iter().find(is_done) {
                return Err(failed("asking", format!("{other:?}")));
            }
        }
    }
    Ok(())
}

/// `commands` in batches.
pub(crate) fn in_batches(
    commands: impl Iterator<Item = Result<Command, Failure>>,
) -> Result<VecDeque<Batch>, Failure> {
    let mut batches = VecDeque::new();
    for command in commands {
        let is_full = batches.back().is_none_or(|batch: &Batch| batch.len() == BATCH);
        if is_full {
            batches.push_back(Vec::with_capacity(BATCH));
        }
        if let Some(batch) = batches.back_mut() {
            batch.push((command?, None));
        }
    }
    Ok(batches)
}

/// A number without order: the same of the same `n`.
pub(crate) fn scattered(n: usize) -> usize {
    let mixed = (n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 20) as usize
}

fn counted(shard: &Shard, phase: &Phase) -> Result<u64, Failure> {
    let seen = shard.read(phase.counted).map_err(|e| failed("looking", e))?;
    seen.blocking_recv().map_err(|e| failed("looking", e))
}

/// Processor time of this process with all its threads, in seconds, in steps of 1/100.
fn cpu_seconds() -> f64 {
    Cpu::now(std::process::id(), &BTreeMap::new()).server
}
