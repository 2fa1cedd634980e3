//! `banyan log`: look at the log's events, its shape and its health.

use crate::exit::{CHECK, Failure};
use crate::offline::{self, CampaignIds, StoreArgs, each_event, event_progress};
use banyan_api::event_json::{event_json, event_type};
use banyan_api::rfc3339;
use banyan_domain::Timestamp;
use banyan_log::Verdict;
use clap::Subcommand;
use indicatif::ProgressBar;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

/// Read the log: its events, its shape, its health. Changes nothing, and works beside a running server.
#[derive(Subcommand)]
pub(crate) enum LogCommand {
    /// Print events as JSON lines
    Cat(CatArgs),
    /// Count what is in the log
    Stat(StatArgs),
    /// Check the log's bytes: checksums, hash chain, segments
    Verify(FormatArgs),
}

/// Print events as JSON lines, the same as `GET /v1/events` gives them. Never a coupon's code, never the store's secret.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  banyan log cat --limit 10\n  \
                        banyan log cat --from 1000 | jq 'select(.type == \"coupon-issued\") | .member'\n\
                        To follow new events, ask the server: curl -N -H 'Accept: text/event-stream' .../v1/events\n\
                        Exit codes: 0 done; 2 no such store; 3 the log is damaged behind the last line; 4 it could not be read.")]
pub(crate) struct CatArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// First event to print
    #[arg(long, value_name = "SEQ", default_value_t = 1)]
    from: u64,
    /// Print at most so many
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

/// Count segments, epochs, blocks, events by type, and how many events one block holds.
#[derive(clap::Args)]
pub(crate) struct StatArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Check the log's bytes: every sector's checksum, every block's hash, the chain between them, and that no segment is missing.
///
/// A block in flight at the end (a server is running, or the machine stopped in the middle of a write) is no damage: it was
/// never acknowledged, and the next start cuts it. `banyan verify` checks what the events mean.
#[derive(clap::Args)]
#[command(
    after_help = "Exit codes: 0 the log is whole; 2 no such store; 3 it is damaged; 4 it could not be read."
)]
pub(crate) struct FormatArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: &LogCommand) -> Result<ExitCode, Failure> {
    match command {
        LogCommand::Cat(args) => cat(args),
        LogCommand::Stat(args) => stat(args),
        LogCommand::Verify(args) => verify(args),
    }
}

fn cat(args: &CatArgs) -> Result<ExitCode, Failure> {
    let mut log = args.store.open()?;
    let first = log.summary().first_seq.as_u64();
    if args.from.max(1) < first && args.from > 1 {
        args.store.expect_whole(first)?;
    }
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let mut ids = CampaignIds::default();
    let mut left = args.limit.unwrap_or(u64::MAX);
    let mut block = banyan_log::Block::default();
    // Blocks before the first wanted event are read too: they name the campaigns.
    while left > 0 && log.next(&mut block).map_err(Failure::environment)? {
        let printed = each_event(&block, &mut |seq, time, entry| {
            ids.learn(&entry.event);
            if seq < args.from || left == 0 {
                return Ok(());
            }
            left -= 1;
            let line = event_json(seq, time, entry, &|no| ids.name(no));
            serde_json::to_writer(&mut out, &line).map_err(|error| not_written(&io::Error::from(error)))?;
            out.write_all(b"\n").map_err(|error| not_written(&error))
        });
        match printed {
            // The reader, such as `head`, has seen enough.
            Err(failure) if failure.code == CLOSED => return Ok(ExitCode::SUCCESS),
            other => other?,
        }
    }
    match out.flush().map_err(|error| not_written(&error)) {
        Err(failure) if failure.code != CLOSED => return Err(failure),
        _ => {}
    }
    match log.verdict() {
        Some(Verdict::Corrupt(damage)) => Err(Failure::check(format!("{damage}. {}", offline::ABOUT_DAMAGE))),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Not an exit code of the program: says that standard output was closed.
const CLOSED: u8 = 255;

fn not_written(error: &io::Error) -> Failure {
    let code = if error.kind() == io::ErrorKind::BrokenPipe { CLOSED } else { crate::exit::ENVIRONMENT };
    Failure::new(code, format!("printing events: {error}"))
}

#[derive(Default)]
struct Counts {
    epochs: u64,
    first_time: Option<u64>,
    types: BTreeMap<&'static str, u64>,
    /// Blocks by their number of events, in powers of two: `sizes[i]` counts blocks of `2^i` to `2^(i+1) - 1`.
    sizes: BTreeMap<u32, u64>,
    body_bytes_max: usize,
    events_max: u32,
}

fn stat(args: &StatArgs) -> Result<ExitCode, Failure> {
    let mut log = args.store.open()?;
    let mut counts = Counts::default();
    let verdict = offline::walk(&mut log, &event_progress("counting"), &mut |block| {
        if block.is_epoch_start() {
            counts.epochs += 1;
            return Ok(());
        }
        counts.first_time.get_or_insert(block.time_ms);
        *counts.sizes.entry(block.count.ilog2()).or_default() += 1;
        counts.body_bytes_max = counts.body_bytes_max.max(block.body.len());
        counts.events_max = counts.events_max.max(block.count);
        each_event(block, &mut |_, _, entry| {
            *counts.types.entry(event_type(&entry.event)).or_default() += 1;
            Ok(())
        })
    })?;
    let summary = log.summary();
    let time = |millis: u64| rfc3339(Timestamp::from_millis(millis));
    let blocks = summary.blocks - counts.epochs;
    let report = json!({
        "live_segments": summary.live_segments, "archived_segments": summary.archived_segments, "bytes": summary.bytes,
        "epochs": counts.epochs, "blocks": blocks, "events": summary.events,
        "first_seq": summary.first_seq.as_u64(), "head": summary.head.as_u64(), "head_hash": summary.head_hash.to_string(),
        "from": counts.first_time.map(time), "to": counts.first_time.map(|_| time(summary.time_ms)),
        "event_bytes": summary.body_bytes, "block_bytes_max": counts.body_bytes_max, "block_events_max": counts.events_max,
        "events_by_type": counts.types,
        "blocks_by_events": counts.sizes.iter().map(|(log2, n)| json!({"at_least": 1_u64 << log2, "blocks": n})).collect::<Vec<_>>(),
        "verdict": verdict_name(&verdict),
    });
    if args.json {
        println!("{report:#}");
        return Ok(exit_of(&verdict));
    }
    println!(
        "{} live segments, {} archived, {} MiB on disk",
        summary.live_segments,
        summary.archived_segments,
        summary.bytes >> 20
    );
    println!(
        "{} events ({} to {}) in {blocks} blocks and {} epochs",
        summary.events, summary.first_seq, summary.head, counts.epochs
    );
    if let Some(first) = counts.first_time {
        println!("from {} to {}", time(first), time(summary.time_ms));
    }
    println!(
        "{} bytes an event, {:.1} events a block (most {})",
        summary.body_bytes / summary.events.max(1),
        summary.events as f64 / blocks.max(1) as f64,
        counts.events_max
    );
    println!("events by type:");
    for (kind, n) in &counts.types {
        println!("  {kind:<28} {n:>12}");
    }
    println!("blocks by events:");
    for (log2, n) in &counts.sizes {
        println!("  {:>7} to {:<7} {n:>12}", 1_u64 << log2, (2_u64 << log2) - 1);
    }
    println!("{}", describe(&verdict));
    Ok(exit_of(&verdict))
}

fn verify(args: &FormatArgs) -> Result<ExitCode, Failure> {
    let mut log = args.store.open()?;
    let progress: ProgressBar = event_progress("checking");
    let verdict = offline::walk(&mut log, &progress, &mut |_| Ok(()))?;
    let summary = log.summary();
    if args.json {
        let report = json!({
            "verdict": verdict_name(&verdict), "detail": describe(&verdict), "first_seq": summary.first_seq.as_u64(),
            "head": summary.head.as_u64(), "head_hash": summary.head_hash.to_string(), "blocks": summary.blocks, "events": summary.events,
        });
        println!("{report:#}");
    } else {
        println!("{} events in {} blocks, up to event {}", summary.events, summary.blocks, summary.head);
        println!("last block {}", summary.head_hash);
        println!("{}", describe(&verdict));
    }
    Ok(exit_of(&verdict))
}

fn verdict_name(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Clean => "clean",
        Verdict::TornTail { .. } => "torn-tail",
        Verdict::Corrupt(_) => "corrupt",
    }
}

fn describe(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Clean => "The log is whole.".into(),
        Verdict::TornTail { file, offset, bytes } => format!(
            "The log is whole up to a block in flight ({bytes} bytes at {offset} in {file}). It was never acknowledged; if no \
             server is running, the next start cuts it."
        ),
        Verdict::Corrupt(damage) => format!("DAMAGED: {damage}.\n{}", offline::ABOUT_DAMAGE),
    }
}

fn exit_of(verdict: &Verdict) -> ExitCode {
    if let Verdict::Corrupt(_) = verdict { ExitCode::from(CHECK) } else { ExitCode::SUCCESS }
}
