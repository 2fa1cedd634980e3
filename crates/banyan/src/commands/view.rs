//! `banyan view`: the record store, beside its server or through it.

use crate::client::{Client, ServerArgs, block_on, no_body};
use crate::data_dir::DataDir;
use crate::exit::Failure;
use crate::offline::{self, StoreArgs, event_progress};
use banyan_domain::Event;
use banyan_log::{Seq, Verdict};
use banyan_views::record::{OfflineReader, RecordLock, RecordOptions};
use clap::{Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// How often a server that rebuilds is asked how far it is.
const LOOK: Duration = Duration::from_millis(200);
/// Where a server is looked for.
const URL: &str = "http://127.0.0.1:8080";

/// Look at views, and build them anew from the log.
///
/// A view is a copy of what the log says, made for one kind of reader; throwing it away loses nothing.
#[derive(Subcommand)]
pub(crate) enum ViewCommand {
    /// Build a view anew from the log; a running server does it while it serves
    Rebuild(RebuildArgs),
    /// Show how far the views of a running server are behind
    Status(StatusArgs),
}

/// Build a view anew from the log.
///
/// The new file is made beside the old one and takes its place when it is complete and checked: until then, nothing changes.
///
/// If no server runs on the data directory, this command builds the view itself. If one does, or if --url names one, the
/// server builds it and serves on meanwhile; this command shows how far it is. Interrupting the command does not stop the
/// server's work.
#[derive(clap::Args)]
#[command(
    after_help = "Exit codes: 0 done; 2 what was named is wrong, or a rebuild is running already; 3 the log is damaged; 4 the \
                        system stood in the way, or the server could not be reached or could not do it."
)]
pub(crate) struct RebuildArgs {
    /// Which view
    #[arg(value_enum)]
    view: ViewName,
    #[command(flatten)]
    store: StoreArgs,
    /// Let this server do it. Without it: a server that runs on the data directory, at BANYAN_URL or http://127.0.0.1:8080
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// File with an operator's API key for the server; without it, operator.key in the data directory
    #[arg(long, value_name = "FILE", env = "BANYAN_KEY_FILE")]
    key_file: Option<PathBuf>,
}

/// The views there are.
#[derive(Clone, Copy, ValueEnum)]
enum ViewName {
    /// The record store, record.sqlite
    Record,
}

/// Show how far the views of a running server are behind.
#[derive(clap::Args)]
pub(crate) struct StatusArgs {
    /// The server
    #[arg(long, value_name = "URL", env = "BANYAN_URL", default_value = URL)]
    url: String,
}

pub(crate) fn run(command: &ViewCommand) -> Result<ExitCode, Failure> {
    match command {
        ViewCommand::Rebuild(args) => match args.view {
            ViewName::Record => rebuild_record(args),
        },
        ViewCommand::Status(args) => status(args),
    }
}

fn rebuild_record(args: &RebuildArgs) -> Result<ExitCode, Failure> {
    if let Some(url) = &args.url {
        return rebuild_through(args, url.clone());
    }
    let dir = args.store.dir()?;
    match RecordLock::take(dir.root()).map_err(Failure::environment)? {
        Some(lock) => rebuild_here(&args.store, &dir, &lock),
        None => {
            let url = std::env::var("BANYAN_URL").unwrap_or_else(|_| URL.into());
            eprintln!("A process has {} open: asking the server at {url}.", dir.root().display());
            rebuild_through(args, url)
        }
    }
}

/// Lets the server at `url` rebuild, and shows how far it is.
fn rebuild_through(args: &RebuildArgs, url: String) -> Result<ExitCode, Failure> {
    let server = ServerArgs { url, key_file: args.key_file.clone(), data: args.store.data.clone() };
    let done = block_on(async {
        let mut client = server.connect().await?;
        let path = "/v1/views/record/rebuild";
        let answer = client.send(http::Method::POST, path, "application/json", no_body()).await?;
        let mut view = answer.expect_success("starting the rebuild")?;
        let style = ProgressStyle::with_template(
            "building record.sqlite: {wide_bar} {human_pos} of {human_len} events, {per_sec}, {eta}",
        );
        let bar = ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        loop {
            let rebuild = &view["rebuild"];
            bar.set_length(rebuild["head"].as_u64().unwrap_or(0));
            bar.set_position(rebuild["seq"].as_u64().unwrap_or(0));
            if rebuild["state"] != "running" {
                bar.finish_and_clear();
                return Ok(view["rebuild"].take());
            }
            tokio::time::sleep(LOOK).await;
            view = client.get("/v1/views/record").await?.expect_success("asking how far the rebuild is")?;
        }
    })?;
    if done["state"] != "done" {
        // After a restart in the middle there is no rebuild at all.
        let why =
            done["problem"].as_str().unwrap_or("the server does not know of it any more; was it restarted?");
        return Err(Failure::environment(format!("the server's rebuild of the record store failed: {why}")));
    }
    let number = |name: &str| done[name].as_u64().unwrap_or_default();
    println!(
        "The server built record.sqlite up to event {}: {} coupons, {} parked events, in {:.1} s.",
        number("seq"),
        number("coupons"),
        number("parked_events"),
        done["took_seconds"].as_f64().unwrap_or_default()
    );
    Ok(ExitCode::SUCCESS)
}

fn rebuild_here(store: &StoreArgs, dir: &DataDir, lock: &RecordLock) -> Result<ExitCode, Failure> {
    let mut log = store.open()?;
    store.expect_whole(log.summary().first_seq.as_u64())?;
    let mut first = banyan_log::Block::default();
    // The store's secret is in the first event; the codes of coupons follow from it.
    let mut keys = None;
    while keys.is_none() && log.next(&mut first).map_err(Failure::environment)? {
        offline::each_event(&first, &mut |_, _, entry| {
            if let Event::StoreCreated { secret } = &entry.event {
                keys = Some(secret.keys());
            }
            Ok(())
        })?;
    }
    if let Some(Verdict::Corrupt(damage)) = log.verdict() {
        return Err(Failure::check(format!("{damage}. {}", offline::ABOUT_DAMAGE)));
    }
    let progress = event_progress("building record.sqlite");
    let mut reader = OfflineReader::new(store.open()?);
    let mut report = |seq: Seq| progress.set_position(seq.as_u64());
    let options = RecordOptions { keys };
    let built = lock.rebuild(&mut reader, &options, &mut report);
    progress.finish_and_clear();
    let built = built.map_err(|error| Failure::environment(format!("building the record store: {error}")))?;
    println!(
        "Built {} up to event {}: {} coupons, {} parked events, in {:.1} s.",
        dir.root().join(banyan_views::record::RECORD_FILE).display(),
        built.checkpoint,
        built.coupons,
        built.parked,
        built.took.as_secs_f64()
    );
    Ok(ExitCode::SUCCESS)
}

fn status(args: &StatusArgs) -> Result<ExitCode, Failure> {
    let page = block_on(async {
        let mut client = Client::connect(&args.url, "none").await?;
        let answer = client.send(http::Method::GET, "/metrics", "text/plain", no_body()).await?;
        let page = answer.text().to_owned();
        answer.expect_success("reading the server's metrics")?;
        Ok(page)
    })?;
    let value = |name: &str| {
        let line = page.lines().find(|line| line.starts_with(name) && !line.starts_with('#'));
        line.and_then(|line| line.rsplit(' ').next()).unwrap_or("?").to_owned()
    };
    println!("{:<10} {:>14} {:>12} {:>12} {:>8}", "view", "applied", "events behind", "age (s)", "parked");
    println!(
        "{:<10} {:>14} {:>12} {:>12} {:>8}",
        "record",
        value("banyan_view_seq"),
        value("banyan_view_lag_events"),
        value("banyan_view_lag_seconds"),
        value("banyan_view_parked_events")
    );
    Ok(ExitCode::SUCCESS)
}
