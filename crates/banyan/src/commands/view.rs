//! `banyan view`: the record store, beside its server.

use crate::client::{Client, block_on, no_body};
use crate::data_dir::DataDir;
use crate::exit::Failure;
use crate::offline::{self, StoreArgs, event_progress};
use banyan_domain::Event;
use banyan_log::{Seq, Verdict};
use banyan_views::record::{OfflineReader, RecordOptions, rebuild};
use clap::{Subcommand, ValueEnum};
use std::process::ExitCode;

/// Look at views, and build them anew from the log.
///
/// A view is a copy of what the log says, made for one kind of reader; throwing it away loses nothing.
#[derive(Subcommand)]
pub(crate) enum ViewCommand {
    /// Build a view anew from the log; the server must not be running
    Rebuild(RebuildArgs),
    /// Show how far the views of a running server are behind
    Status(StatusArgs),
}

/// Build a view anew from the log.
///
/// The new file is made beside the old one and takes its place when it is complete and checked: until then, nothing changes.
#[derive(clap::Args)]
#[command(
    after_help = "Exit codes: 0 done; 2 what was named is wrong; 3 the log is damaged; 4 a server is running on the store, or the \
                        system stood in the way."
)]
pub(crate) struct RebuildArgs {
    /// Which view
    #[arg(value_enum)]
    view: ViewName,
    #[command(flatten)]
    store: StoreArgs,
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
    #[arg(long, value_name = "URL", env = "BANYAN_URL", default_value = "http://127.0.0.1:8080")]
    url: String,
}

pub(crate) fn run(command: &ViewCommand) -> Result<ExitCode, Failure> {
    match command {
        ViewCommand::Rebuild(args) => match args.view {
            ViewName::Record => rebuild_record(&args.store),
        },
        ViewCommand::Status(args) => status(args),
    }
}

fn rebuild_record(store: &StoreArgs) -> Result<ExitCode, Failure> {
    let dir: DataDir = store.dir()?;
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
    let built = rebuild(&mut reader, dir.root(), &options, &mut report);
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
