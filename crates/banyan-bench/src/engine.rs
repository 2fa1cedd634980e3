//! The engine without HTTP: coupons of one campaign, one member each, submitted in batches while the log is on a real disk.
//!
//! The commands are made before the clock starts: what is measured is deciding, encoding, hashing, writing, syncing and
//! answering, on as many cores as asked for (one, unless told otherwise).

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use banyan_domain::coupon::{self, Audience, Benefit, CampaignDefinition, Stacking};
use banyan_domain::{Actor, CampaignId, Command, MemberId};
use banyan_engine::{Answer, CoreOptions, DirectReplies, Shard, ShardOptions, start, wall_clock};
use banyan_log::{DiskLog, DiskOptions, RealStorage};
use clap::Args;

use crate::batches::{self, Batch};
use crate::table::{self, Row};
use crate::{Failure, failed, machine};

/// What to run.
#[derive(Args)]
pub(crate) struct Options {
    /// Coupons to issue
    #[arg(long, default_value_t = 2_000_000)]
    coupons: usize,
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

/// Runs the benchmark and prints its table.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let dir = options.dir.clone().unwrap_or_else(std::env::temp_dir);
    std::fs::create_dir_all(&dir).map_err(|e| failed(format!("making {}", dir.display()), e))?;
    machine::refuse_memory(&dir)?;
    pin(options.cores)?;
    let mut rates = Vec::new();
    let mut bytes = Vec::new();
    let mut block = Vec::new();
    for round in 1..=options.rounds.max(1) {
        let figures = once(options, &dir)?;
        eprintln!("round {round}: {:.0} coupons/s", figures.rate);
        rates.push(figures.rate);
        bytes.push(figures.bytes_per_coupon);
        block.push(figures.events_per_block);
    }
    let row = |metric: &str, values: &[f64], unit: &str| Row {
        bench: "engine".into(),
        system: "banyan".into(),
        metric: metric.into(),
        value: crate::measure::median(values),
        unit: unit.into(),
    };
    let rows = [
        row("durable coupons", &rates, "1/s"),
        row("memory per coupon, answered", &bytes, "bytes"),
        row("events per block", &block, ""),
    ];
    println!("{}; {} cores used", machine::describe(&dir), options.cores);
    println!("{}", table::render(&rows));
    println!("banyan: every answer fsynced in the log (group commit); no view");
    match &options.json {
        Some(path) => table::write_json(path, &rows),
        None => Ok(()),
    }
}

struct Figures {
    rate: f64,
    bytes_per_coupon: f64,
    events_per_block: f64,
}

fn once(options: &Options, dir: &std::path::Path) -> Result<Figures, Failure> {
    let folder = tempfile::tempdir_in(dir).map_err(|e| failed("making a folder", e))?;
    let shard = open(&folder.path().join("log"))?;
    ask(&shard, create()?)?;
    let batches = commands(options.coupons)?;
    let before = resident_bytes();
    let began = Instant::now();
    batches::submit(&shard, batches)?;
    let took = began.elapsed().as_secs_f64();
    // What the commands took was given back to the allocator, and is used again for the rows: an upper bound.
    let grown = resident_bytes().saturating_sub(before) as f64;
    let own = shard.summary().campaigns().map(|c| c.memory_bytes).sum::<u64>() as f64;
    let metrics = shard.metrics();
    shard.shutdown();
    Ok(Figures {
        rate: options.coupons as f64 / took,
        bytes_per_coupon: grown.max(own) / options.coupons as f64,
        events_per_block: metrics.events as f64 / metrics.blocks.max(1) as f64,
    })
}

/// A shard on a disk log in `folder` that never waits for company.
pub(crate) fn open(folder: &std::path::Path) -> Result<Arc<Shard>, Failure> {
    open_paced(folder, Duration::ZERO)
}

/// A shard on a disk log in `folder`, with the least time between two blocks.
pub(crate) fn open_paced(folder: &std::path::Path, pace: Duration) -> Result<Arc<Shard>, Failure> {
    let storage = RealStorage::create(folder).map_err(|e| failed("making the log", e))?;
    let log =
        DiskLog::open(Arc::new(storage), DiskOptions::default()).map_err(|e| failed("opening the log", e))?;
    let started = start(Box::new(log), None, CoreOptions::default(), None, wall_clock(), &mut |_, _| {});
    let started = started.map_err(|e| failed("starting", e))?;
    let options = ShardOptions { pace, snapshot_events: 0, ..ShardOptions::default() };
    Shard::spawn(started, Box::new(DirectReplies), options).map_err(|e| failed("starting", e))
}

/// Asks for one thing and waits.
pub(crate) fn ask(shard: &Shard, command: Command) -> Result<(), Failure> {
    let answer = shard.submit(command, None).map_err(|e| failed("submitting", e))?;
    match answer.blocking_recv().map_err(|e| failed("waiting", e))? {
        Answer::Done { .. } => Ok(()),
        other => Err(failed("asking", format!("{other:?}"))),
    }
}

/// The campaign: unlimited, one per member.
pub(crate) fn create() -> Result<Command, Failure> {
    let definition = CampaignDefinition {
        id: CampaignId::new("hot").map_err(|e| failed("campaign", e))?,
        name: "Hot".into(),
        quantity: None,
        per_member: 1,
        benefit: Benefit::FreeShipping,
        minimum_order: None,
        starts_at: None,
        ends_at: None,
        audience: Audience::Everyone,
        valid_for: None,
        stacking: Stacking::Exclusive,
    };
    let by = Actor::new("bench").map_err(|e| failed("actor", e))?;
    Ok(Command::Coupon(coupon::Command::CreateCampaign { definition: Box::new(definition), by }))
}

/// One issue each to `count` members, in batches. Ids are spread, as a shop's are, and 12 characters long.
pub(crate) fn commands(count: usize) -> Result<VecDeque<Batch>, Failure> {
    let campaign = CampaignId::new("hot").map_err(|e| failed("campaign", e))?;
    let command = |n: usize| {
        let spread = (n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16;
        let member = MemberId::new(format!("{spread:012x}")).map_err(|e| failed("member", e))?;
        let segments = Box::default();
        let campaign = campaign.clone();
        Ok(Command::Coupon(coupon::Command::IssueCoupon { campaign, member, segments }))
    };
    batches::in_batches((0..count).map(command))
}

/// Resident memory of this process, in bytes.
pub(crate) fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1_024
}

/// Lets this process and the threads it starts use the first `cores` cores only.
pub(crate) fn pin(cores: usize) -> Result<(), Failure> {
    if cores == 0 {
        return Ok(());
    }
    let mut set = rustix::thread::CpuSet::new();
    (0..cores).for_each(|core| set.set(core));
    rustix::thread::sched_setaffinity(None, &set).map_err(|e| failed("choosing cores", e))
}

/// Lets the calling thread use one core only.
pub(crate) fn pin_thread(core: usize) -> Result<(), Failure> {
    let mut set = rustix::thread::CpuSet::new();
    set.set(core);
    rustix::thread::sched_setaffinity(None, &set).map_err(|e| failed("choosing a core", e))
}
