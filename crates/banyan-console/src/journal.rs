//! What operators did to campaigns, and when campaigns ended: read once from the log in the background, then followed.
//!
//! These events are few, so they are kept in memory, where pages and plots find them at once.

use banyan_api::App;
use banyan_api::event_json::{event_json, event_type};
use banyan_domain::codec::{self, EventTag};
use banyan_domain::{CampaignNo, Event, Timestamp, coupon};
use banyan_log::{Block, LogError, Seq};
use serde_json::{Map, Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Actions kept; the oldest go first.
const ACTIONS_MAX: usize = 50_000;
/// Events read in one go while catching up; then the thread leaves the processor to others for a moment.
const STRETCH_EVENTS: u64 = 20_000;
const STRETCH_PAUSE: Duration = Duration::from_millis(2);
/// How long the thread waits for the log before it looks whether the server stops.
const LOOK: Duration = Duration::from_millis(300);

/// One event of the journal.
#[derive(Clone, Debug)]
pub(crate) struct Action {
    pub(crate) seq: u64,
    pub(crate) time: Timestamp,
    pub(crate) kind: &'static str,
    pub(crate) campaign: CampaignNo,
    /// The event as the API writes it.
    pub(crate) json: Map<String, Value>,
}

/// The journal, and how far it has come.
#[derive(Default)]
pub(crate) struct Journal {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    actions: VecDeque<Action>,
    first: u64,
    read_to: u64,
    problem: Option<String>,
}

/// How far the journal has come.
#[derive(Clone, Debug)]
pub(crate) struct Reach {
    /// Events below this are not in the live log.
    pub(crate) first: u64,
    /// Events up to this have been read.
    pub(crate) read_to: u64,
    /// Why reading stopped, if it did.
    pub(crate) problem: Option<String>,
}

impl Action {
    /// The action as a mark on a plot: time, type, campaign, log position.
    pub(crate) fn mark(&self) -> Value {
        json!([self.time.as_millis(), self.kind, self.text("campaign"), self.seq])
    }

    /// A text field of the event.
    pub(crate) fn text(&self, field: &str) -> &str {
        self.json.get(field).and_then(Value::as_str).unwrap_or_default()
    }
}

impl Journal {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest actions, newest first: of one campaign or of all, up to `limit`, before log position `before`.
    pub(crate) fn newest(&self, campaign: Option<CampaignNo>, before: u64, limit: usize) -> Vec<Action> {
        let inner = self.lock();
        let wanted =
            |action: &&Action| action.seq < before && campaign.is_none_or(|no| action.campaign == no);
        inner.actions.iter().rev().filter(wanted).take(limit).cloned().collect()
    }

    /// The actions after log position `seq`, oldest first.
    pub(crate) fn since(&self, seq: u64) -> Vec<Action> {
        let inner = self.lock();
        let from = inner.actions.partition_point(|action| action.seq <= seq);
        inner.actions.range(from..).cloned().collect()
    }

    /// The actions at or after `time`, oldest first.
    pub(crate) fn since_time(&self, time: Timestamp) -> Vec<Action> {
        let inner = self.lock();
        let from = inner.actions.partition_point(|action| action.time < time);
        inner.actions.range(from..).cloned().collect()
    }

    /// Log position of the newest action, 0 if there is none.
    pub(crate) fn newest_seq(&self) -> u64 {
        self.lock().actions.back().map_or(0, |action| action.seq)
    }

    /// How far it has come.
    pub(crate) fn reach(&self) -> Reach {
        let inner = self.lock();
        Reach { first: inner.first, read_to: inner.read_to, problem: inner.problem.clone() }
    }

    fn take(&self, app: &App, block: &Block) {
        let time = Timestamp::from_millis(block.time_ms);
        let mut found = Vec::new();
        let wanted = |tag| matches!(tag, EventTag::Coupon(tag) if coupon::Event::is_about_campaign(tag));
        for found_or_fault in codec::decode_wanted(&block.body, block.count, wanted) {
            let Ok((index, entry)) = found_or_fault else { break };
            let Event::Coupon(event) = &entry.event else { continue };
            let seq = block.first_seq.as_u64() + u64::from(index);
            let summary = app.shard().summary();
            let json = event_json(seq, time, &entry, &|no| {
                summary
                    .campaign_no(no)
                    .map_or_else(String::new, |campaign| campaign.definition.id.to_string())
            });
            found.push(Action {
                seq,
                time,
                kind: event_type(&entry.event),
                campaign: event.campaign(),
                json,
            });
        }
        let mut inner = self.lock();
        inner.actions.extend(found);
        let surplus = inner.actions.len().saturating_sub(ACTIONS_MAX);
        inner.actions.drain(..surplus);
        inner.read_to = block.head().as_u64();
    }
}

/// Starts the thread that reads the log.
pub(crate) fn start(journal: Arc<Journal>, app: Arc<App>) {
    let thread = std::thread::Builder::new().name("console-journal".into());
    let spawned = thread.spawn(move || {
        if let Err(error) = read(&journal, &app) {
            tracing::warn!("the console's journal stops: {error}");
            journal.lock().problem = Some(error.to_string());
        }
    });
    if let Err(error) = spawned {
        tracing::warn!(%error, "starting the console's journal");
    }
}

fn read(journal: &Journal, app: &App) -> Result<(), LogError> {
    let (shard, stopping) = (app.shard(), app.stopping());
    let first = shard.log_health().first_seq.as_u64().max(1);
    journal.lock().first = first;
    let mut reader = shard.reader(first)?;
    let (mut block, mut stretch) = (Block::default(), 0);
    // Whoever could tell us to stop may also be gone.
    while !*stopping.borrow() && stopping.has_changed().is_ok() {
        if reader.next(&mut block)? {
            journal.take(app, &block);
            stretch += u64::from(block.count);
            if stretch >= STRETCH_EVENTS {
                stretch = 0;
                std::thread::sleep(STRETCH_PAUSE);
            }
        } else {
            let read_to = journal.lock().read_to;
            shard.confirmed().wait_past(Seq(read_to), LOOK);
        }
    }
    Ok(())
}
