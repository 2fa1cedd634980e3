//! Start-up: how fast a log is replayed, and how soon a store of many coupons is in service, with and without a snapshot.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use banyan_engine::{CoreOptions, DirectReplies, Shard, ShardOptions, SnapshotStore, start, wall_clock};
use banyan_log::{DiskLog, DiskOptions, RealStorage};
use clap::Args;

use crate::table::{self, Row};
use crate::{Failure, engine, failed, machine};

/// What to run.
#[derive(Args)]
pub(crate) struct Options {
    /// Events in the log
    #[arg(long, default_value_t = 10_000_000)]
    events: usize,
    /// How often each start is timed; figures are medians
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Where data is stored: a folder on a real disk
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Keeps the log in the folder and uses it again the next time, so that only starting is waited for
    #[arg(long)]
    keep: bool,
    /// Writes the figures here, too
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Runs the benchmark and prints its table.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let dir = options.dir.clone().unwrap_or_else(std::env::temp_dir);
    std::fs::create_dir_all(&dir).map_err(|e| failed(format!("making {}", dir.display()), e))?;
    machine::refuse_memory(&dir)?;
    let folder = tempfile::tempdir_in(&dir).map_err(|e| failed("making a folder", e))?;
    let log = if options.keep {
        kept(&dir, options.events)?
    } else {
        let log = folder.path().join("log");
        fill(&log, options.events)?;
        log
    };
    let mut whole = Vec::new();
    for round in 1..=options.rounds.max(1) {
        let (seconds, replayed) = timed(&log, None)?;
        eprintln!("round {round}: {replayed} events replayed, in service in {seconds:.2} s");
        whole.push(seconds);
    }
    let snapshots =
        SnapshotStore::open(folder.path().join("snapshots")).map_err(|e| failed("snapshots", e))?;
    snapshot(&log, &snapshots)?;
    let mut short = Vec::new();
    for round in 1..=options.rounds.max(1) {
        let (seconds, replayed) = timed(&log, Some(&snapshots))?;
        eprintln!("round {round}: with a snapshot, {replayed} events replayed, in service in {seconds:.2} s");
        short.push(seconds);
    }
    let row = |metric: &str, value: f64, unit: &str| Row {
        bench: "replay".into(),
        system: "banyan".into(),
        metric: metric.into(),
        value,
        unit: unit.into(),
    };
    let seconds = crate::measure::median(&whole);
    let rows = [
        row("events", options.events as f64, ""),
        row("replay", options.events as f64 / seconds, "events/s"),
        row("in service, from the log alone", seconds, "s"),
        row("in service, with a snapshot", crate::measure::median(&short), "s"),
        row("memory of the process", engine::resident_bytes() as f64 / f64::from(1 << 20), "MiB"),
    ];
    println!("{}", machine::describe(&dir));
    println!("{}", table::render(&rows));
    println!(
        "banyan: the log is opened, every block verified, every event applied and checked against the invariants"
    );
    match &options.json {
        Some(path) => table::write_json(path, &rows),
        None => Ok(()),
    }
}

/// The log of about `events` issues that stands in `dir`, made now if it is not there. It gets its name when it is complete.
fn kept(dir: &Path, events: usize) -> Result<PathBuf, Failure> {
    let log = dir.join(format!("log-{events}"));
    if !log.exists() {
        let unfinished = tempfile::tempdir_in(dir).map_err(|e| failed("making a folder", e))?;
        fill(&unfinished.path().join("log"), events)?;
        std::fs::rename(unfinished.path().join("log"), &log)
            .map_err(|e| failed(format!("keeping {}", log.display()), e))?;
    }
    Ok(log)
}

/// Writes a log of about `events` issues.
fn fill(log: &Path, events: usize) -> Result<(), Failure> {
    let shard = engine::open(log)?;
    engine::ask(&shard, engine::create()?)?;
    for batch in engine::commands(events)? {
        let answers = shard.submit_many(batch).map_err(|e| failed("submitting", e))?;
        answers.blocking_recv().map_err(|e| failed("waiting", e))?;
    }
    shard.shutdown();
    Ok(())
}

/// Seconds from opening the log to a shard that could serve, and the events replayed.
fn timed(log: &Path, snapshots: Option<&SnapshotStore>) -> Result<(f64, u64), Failure> {
    let began = Instant::now();
    let started = started(log, snapshots)?;
    let seconds = began.elapsed().as_secs_f64();
    Ok((seconds, started.report().replayed))
}

fn started(log: &Path, snapshots: Option<&SnapshotStore>) -> Result<banyan_engine::Started, Failure> {
    let storage = RealStorage::create(log).map_err(|e| failed("opening the log", e))?;
    let log =
        DiskLog::open(Arc::new(storage), DiskOptions::default()).map_err(|e| failed("opening the log", e))?;
    let started = start(Box::new(log), snapshots, CoreOptions::default(), None, wall_clock(), &mut |_, _| {});
    started.map_err(|e| failed("starting", e))
}

/// Lets a shard make a snapshot at the head of the log.
fn snapshot(log: &Path, snapshots: &SnapshotStore) -> Result<(), Failure> {
    let options =
        ShardOptions { snapshots: Some(snapshots.clone()), snapshot_events: 1, ..ShardOptions::default() };
    let shard = Shard::spawn(started(log, None)?, Box::new(DirectReplies), options)
        .map_err(|e| failed("starting", e))?;
    let deadline = Instant::now() + Duration::from_secs(300);
    while shard.metrics().snapshot_seq == 0 {
        if Instant::now() > deadline {
            return Err(failed("making a snapshot", "it took longer than five minutes"));
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    shard.shutdown();
    Ok(())
}
