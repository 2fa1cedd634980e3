//! Reading a store from outside: nothing here takes a lock or changes a byte, so it works beside a running server.

use crate::data_dir::DataDir;
use crate::exit::Failure;
use banyan_domain::{Entry, Event, Timestamp, codec, coupon};
use banyan_log::{Block, OfflineLog, RealStorage, Verdict, open_for_reading};
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Which store to read.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct StoreArgs {
    /// The data directory (or a backup of one); a server may be running on it
    #[arg(long, value_name = "DIR", env = "BANYAN_DATA", default_value = "banyan-data")]
    pub data: PathBuf,
    /// Where `banyan up --archive` moves old segments; they are read first
    #[arg(long, value_name = "DIR")]
    pub archive: Option<PathBuf>,
}

impl StoreArgs {
    /// The store, which must be there.
    pub(crate) fn dir(&self) -> Result<DataDir, Failure> {
        DataDir::existing(&self.data)
    }

    /// Opens its log. Damage is the verdict after the last readable block, not an error here.
    pub(crate) fn open(&self) -> Result<OfflineLog, Failure> {
        open(&self.dir()?.log(), self.archive.as_deref())
    }

    /// Fails unless `log`, read to its end, began with the log's first event.
    pub(crate) fn expect_whole(&self, first_seq: u64) -> Result<(), Failure> {
        if first_seq <= 1 {
            return Ok(());
        }
        Err(Failure::usage(format!(
            "the live log starts at event {first_seq}: what came before is in the archive. Name it with --archive DIR"
        )))
    }
}

/// Opens the log in `log`, with the archived segments in front of it.
pub(crate) fn open(log: &Path, archive: Option<&Path>) -> Result<OfflineLog, Failure> {
    let storage = RealStorage::existing(log)
        .map_err(|error| Failure::environment(format!("opening {}: {error}", log.display())))?;
    open_for_reading(Arc::new(storage), archive).map_err(Failure::environment)
}

/// Reads the whole log, handing each block with events to `each`, and returns what stands behind the last block.
pub(crate) fn walk(
    log: &mut OfflineLog,
    progress: &ProgressBar,
    each: &mut dyn FnMut(&Block) -> Result<(), Failure>,
) -> Result<Verdict, Failure> {
    let mut block = Block::default();
    while log.next(&mut block).map_err(Failure::environment)? {
        progress.inc(u64::from(block.count));
        each(&block)?;
    }
    progress.finish_and_clear();
    log.verdict()
        .cloned()
        .ok_or_else(|| Failure::environment("the log was read to its end without a verdict"))
}

/// Hands each event of `block` to `each`, with its position and time.
pub(crate) fn each_event(
    block: &Block,
    each: &mut dyn FnMut(u64, Timestamp, &Entry) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let first = block.first_seq.as_u64();
    let time = Timestamp::from_millis(block.time_ms);
    for (seq, entry) in (first..).zip(codec::decode(&block.body, block.count)) {
        let entry = entry.map_err(|error| {
            Failure::check(format!(
                "the block at event {first} cannot be read: {error}. It may have been written by a newer version of banyan"
            ))
        })?;
        each(seq, time, &entry)?;
    }
    Ok(())
}

/// The public ids of campaigns, learned from the log while it is read.
#[derive(Debug, Default)]
pub(crate) struct CampaignIds(BTreeMap<u32, String>);

impl CampaignIds {
    /// Notes the id if `event` creates a campaign.
    pub(crate) fn learn(&mut self, event: &Event) {
        if let Event::Coupon(coupon::Event::CampaignCreated { no, definition, .. }) = event {
            self.0.insert(no.get(), definition.id.to_string());
        }
    }

    /// The id of campaign `no`; `campaign-NO` if its creation was not read.
    pub(crate) fn name(&self, no: banyan_domain::CampaignNo) -> String {
        self.0.get(&no.get()).cloned().unwrap_or_else(|| format!("campaign-{}", no.get()))
    }
}

/// A count of events on a terminal; silent elsewhere.
pub(crate) fn event_progress(doing: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg}: {human_pos} events, {per_sec}, {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = ProgressBar::new_spinner().with_style(style).with_message(doing);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// A bar of bytes on a terminal; silent elsewhere.
pub(crate) fn byte_progress(doing: &'static str, bytes: u64) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{msg}: {wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(bytes).with_style(style).with_message(doing)
}

/// What to do about damage.
pub(crate) const ABOUT_DAMAGE: &str = "\
Nothing was changed. Do not start a server on it: it would refuse. Keep a copy of the directory, restore the newest backup with \
`banyan restore`, and compare the two with `banyan log cat` to see which events are only in the damaged copy.";
