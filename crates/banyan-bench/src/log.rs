//! The log alone: blocks of 128-byte events, against appending to a plain file and against SQLite, alternating.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use banyan_log::{BlockDraft, DiskLog, DiskOptions, Log, RealStorage};
use clap::Args;

use crate::measure::median;
use crate::table::{self, Row};
use crate::{Failure, failed, machine};

/// Bytes of one event.
const EVENT_BYTES: usize = 128;
/// Events in one commit.
const COMMITS: [usize; 2] = [256, 4_096];

/// What to run.
#[derive(Args)]
pub(crate) struct Options {
    /// Commits of each size in each turn
    #[arg(long, default_value_t = 1_000)]
    commits: usize,
    /// How often every system has its turn; figures are medians
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Where data is stored: a folder on a real disk
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Writes the figures here, too
    #[arg(long)]
    json: Option<PathBuf>,
}

/// One way of making commits durable, and how long the commits took; opening and preparing files is not counted.
type System = (&'static str, fn(&Path, usize, usize) -> Result<Duration, Failure>);

const SYSTEMS: [System; 3] = [("banyan-log", banyan_log), ("plain append", plain_append), ("SQLite", sqlite)];

/// Runs the benchmark and prints its table.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let dir = options.dir.clone().unwrap_or_else(std::env::temp_dir);
    std::fs::create_dir_all(&dir).map_err(|e| failed(format!("making {}", dir.display()), e))?;
    machine::refuse_memory(&dir)?;
    let mut rows = Vec::new();
    for events in COMMITS {
        let mut rates = vec![Vec::new(); SYSTEMS.len()];
        for _ in 0..options.rounds.max(1) {
            for ((_, system), rates) in SYSTEMS.iter().zip(&mut rates) {
                let folder = tempfile::tempdir_in(&dir).map_err(|e| failed("making a folder", e))?;
                let took = system(folder.path(), events, options.commits)?;
                rates.push((events * options.commits) as f64 / took.as_secs_f64());
            }
        }
        for ((name, _), rates) in SYSTEMS.into_iter().zip(rates) {
            rows.push(Row {
                bench: "log".into(),
                system: name.into(),
                metric: format!("{events} events a commit"),
                value: median(&rates),
                unit: "events/s".into(),
            });
        }
    }
    println!("{}; {} commits, {} rounds", machine::describe(&dir), options.commits, options.rounds);
    println!("{}", table::render(&rows));
    println!("all: every commit synced to disk before the next (fdatasync; SQLite: WAL, synchronous=FULL)");
    match &options.json {
        Some(path) => table::write_json(path, &rows),
        None => Ok(()),
    }
}

fn banyan_log(dir: &Path, events: usize, commits: usize) -> Result<Duration, Failure> {
    let storage = RealStorage::create(dir.join("log")).map_err(|e| failed("making the log", e))?;
    let mut log =
        DiskLog::open(Arc::new(storage), DiskOptions::default()).map_err(|e| failed("opening the log", e))?;
    let acquired = log.acquire().map_err(|e| failed("acquiring the log", e))?;
    let body = vec![0xA5; events * EVENT_BYTES];
    let mut next = acquired.head.next();
    let began = Instant::now();
    for _ in 0..commits {
        let block = BlockDraft { time_ms: 1, count: events as u32, body: &body };
        next = log.append(acquired.epoch, next, block).map_err(|e| failed("appending", e))?.head.next();
    }
    Ok(began.elapsed())
}

fn plain_append(dir: &Path, events: usize, commits: usize) -> Result<Duration, Failure> {
    let file = OpenOptions::new().create(true).append(true).open(dir.join("plain"));
    let mut file = file.map_err(|e| failed("making a file", e))?;
    let body = vec![0xA5; events * EVENT_BYTES];
    let began = Instant::now();
    for _ in 0..commits {
        file.write_all(&body).and_then(|()| file.sync_data()).map_err(|e| failed("appending", e))?;
    }
    Ok(began.elapsed())
}

fn sqlite(dir: &Path, events: usize, commits: usize) -> Result<Duration, Failure> {
    let fault = |e: rusqlite::Error| failed("SQLite", e);
    let mut db = rusqlite::Connection::open(dir.join("events.sqlite")).map_err(fault)?;
    db.pragma_update(None, "journal_mode", "WAL").map_err(fault)?;
    db.pragma_update(None, "synchronous", "FULL").map_err(fault)?;
    db.execute_batch("CREATE TABLE event (seq INTEGER PRIMARY KEY, body BLOB)").map_err(fault)?;
    let body = vec![0xA5_u8; EVENT_BYTES];
    let began = Instant::now();
    for _ in 0..commits {
        let transaction = db.transaction().map_err(fault)?;
        let mut insert = transaction.prepare_cached("INSERT INTO event (body) VALUES (?1)").map_err(fault)?;
        for _ in 0..events {
            insert.execute([&body]).map_err(fault)?;
        }
        drop(insert);
        transaction.commit().map_err(fault)?;
    }
    Ok(began.elapsed())
}
