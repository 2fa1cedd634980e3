//! Reading the log in pages: newest first, with filters, never more than is fair in one request.

use banyan_api::event_json::{event_json, event_type};
use banyan_domain::codec::{self, EventTag};
use banyan_domain::{CampaignNo, CouponId, Entry, Event, Timestamp, coupon};
use banyan_engine::{Shard, Summary};
use banyan_log::{Block, LogError};
use serde_json::{Map, Value};
use std::sync::Arc;

/// Events on one page.
pub(crate) const PAGE_EVENTS: usize = 50;
/// Events one request looks at, when a filter passes over most of them.
pub(crate) const LOOK_EVENTS_MAX: u64 = 100_000;
/// Events first read backwards; doubled until the page is full.
const WINDOW_EVENTS: u64 = 256;
const WINDOW_EVENTS_MAX: u64 = 16_384;

/// One event.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) seq: u64,
    pub(crate) time: Timestamp,
    pub(crate) entry: Entry,
}

/// Which events to show.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) kind: Option<String>,
    pub(crate) campaign: Option<CampaignNo>,
    pub(crate) coupon: Option<CouponId>,
}

/// A page of events, newest first.
pub(crate) struct EventPage {
    pub(crate) events: Vec<Found>,
    /// The lowest log position that was looked at.
    pub(crate) looked_to: u64,
    /// Whether that is the beginning of the live log.
    pub(crate) is_begin: bool,
}

impl Found {
    pub(crate) const fn kind(&self) -> &'static str {
        event_type(&self.entry.event)
    }

    /// The event as the API writes it, without what would let a reader act in a shopper's place.
    pub(crate) fn json(&self, summary: &Summary) -> Map<String, Value> {
        event_json(self.seq, self.time, &self.entry, &|no| campaign_id(summary, no))
    }

    pub(crate) const fn campaign(&self) -> Option<CampaignNo> {
        match &self.entry.event {
            Event::Coupon(event) => Some(event.campaign()),
            _ => None,
        }
    }
}

impl Filter {
    pub(crate) const fn is_any(&self) -> bool {
        self.kind.is_none() && self.campaign.is_none() && self.coupon.is_none()
    }

    fn passes(&self, entry: &Entry) -> bool {
        if self.kind.as_deref().is_some_and(|kind| kind != event_type(&entry.event)) {
            return false;
        }
        let Event::Coupon(event) = &entry.event else {
            return self.campaign.is_none() && self.coupon.is_none();
        };
        self.campaign.is_none_or(|no| no == event.campaign())
            && self.coupon.is_none_or(|id| concerns(event, id))
    }
}

/// Whether `event` is about the coupon `id`.
fn concerns(event: &coupon::Event, id: CouponId) -> bool {
    use coupon::Event as E;
    match event {
        E::CouponIssued { coupon, .. }
        | E::CouponHeld { coupon, .. }
        | E::CouponRedeemed { coupon, .. }
        | E::CouponReleased { coupon, .. }
        | E::CouponRevoked { coupon, .. } => *coupon == id,
        E::CouponsExpired { no, first, last } => *no == id.campaign() && (*first..=*last).contains(&id.n()),
        _ => false,
    }
}

/// The public id of campaign `no`.
pub(crate) fn campaign_id(summary: &Summary, no: CampaignNo) -> String {
    summary.campaign_no(no).map_or_else(|| format!("campaign-{}", no.get()), |c| c.definition.id.to_string())
}

/// The events before log position `before`, newest first.
pub(crate) fn before(shard: &Shard, before: u64, filter: &Filter) -> Result<EventPage, LogError> {
    let first = shard.log_health().first_seq.as_u64().max(1);
    let head = shard.confirmed().get().as_u64();
    let mut end = before.clamp(first, head + 1);
    let (mut events, mut window, lowest) = (Vec::new(), WINDOW_EVENTS, end.saturating_sub(LOOK_EVENTS_MAX));
    while end > first && end > lowest && events.len() < PAGE_EVENTS {
        let start = end.saturating_sub(window).max(first);
        let mut part = Vec::new();
        forward(shard, start, end - 1, &mut |found| {
            if filter.passes(&found.entry) {
                part.push(found);
            }
        })?;
        events.extend(part.into_iter().rev());
        (end, window) = (start, (window * 2).min(WINDOW_EVENTS_MAX));
    }
    if events.len() > PAGE_EVENTS {
        events.truncate(PAGE_EVENTS);
        end = events.last().map_or(end, |last| last.seq);
    }
    Ok(EventPage { events, looked_to: end, is_begin: end <= first })
}

/// The events from `from` to `to`, both included, that pass `filter`.
pub(crate) fn between(shard: &Shard, from: u64, to: u64, filter: &Filter) -> Result<Vec<Found>, LogError> {
    let mut events = Vec::new();
    if from <= to {
        forward(shard, from, to, &mut |found| {
            if filter.passes(&found.entry) {
                events.push(found);
            }
        })?;
    }
    Ok(events)
}

/// The event at log position `seq`, if there is one.
pub(crate) fn one(shard: &Shard, seq: u64) -> Result<Option<Found>, LogError> {
    if seq == 0 || seq > shard.confirmed().get().as_u64() {
        return Ok(None);
    }
    Ok(between(shard, seq, seq, &Filter::default())?.pop())
}

fn forward(shard: &Shard, from: u64, to: u64, each: &mut dyn FnMut(Found)) -> Result<(), LogError> {
    let mut reader = shard.reader(from)?;
    let mut block = Block::default();
    while reader.next(&mut block)? {
        let time = Timestamp::from_millis(block.time_ms);
        for (seq, entry) in (block.first_seq.as_u64()..).zip(codec::decode(&block.body, block.count)) {
            let Ok(entry) = entry else { break };
            if (from..=to).contains(&seq) {
                each(Found { seq, time, entry });
            }
        }
        if block.next_seq().as_u64() > to {
            break;
        }
    }
    Ok(())
}

/// What a look back through the log does with an event.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Goes on.
    Pass,
    /// Keeps it and goes on.
    Keep,
    /// Keeps it: nothing before it is wanted.
    Last,
}

/// The newest events before log position `before` that are not about coupons and that `want` keeps, newest first: at most
/// `most`, out of the last [`LOOK_EVENTS_MAX`].
pub(crate) fn look_back(
    shard: &Shard,
    before: u64,
    most: usize,
    want: &dyn Fn(&Entry) -> Look,
) -> Result<EventPage, LogError> {
    let first = shard.log_health().first_seq.as_u64().max(1);
    let head = shard.confirmed().get().as_u64();
    let mut end = before.clamp(first, head + 1);
    let (mut events, mut window, lowest) = (Vec::new(), WINDOW_EVENTS, end.saturating_sub(LOOK_EVENTS_MAX));
    let mut is_begin = false;
    while end > first && end > lowest && events.len() < most && !is_begin {
        let start = end.saturating_sub(window).max(first);
        let mut part: Vec<Found> = Vec::new();
        others(shard, start, end - 1, &mut |found| match want(&found.entry) {
            Look::Pass => {}
            Look::Keep => part.push(found),
            Look::Last => {
                part.clear();
                part.push(found);
                is_begin = true;
            }
        })?;
        events.extend(part.into_iter().rev());
        (end, window) = (start, (window * 2).min(WINDOW_EVENTS_MAX));
    }
    if events.len() > most {
        events.truncate(most);
        end = events.last().map_or(end, |last| last.seq);
        is_begin = false;
    }
    Ok(EventPage { events, looked_to: end, is_begin: is_begin || end <= first })
}

/// The events from `from` to `to`, both included, that are not about coupons. The others are not even read: there may be
/// very many.
fn others(shard: &Shard, from: u64, to: u64, each: &mut dyn FnMut(Found)) -> Result<(), LogError> {
    let mut reader = shard.reader(from)?;
    let mut block = Block::default();
    while reader.next(&mut block)? {
        let time = Timestamp::from_millis(block.time_ms);
        for found in codec::decode_wanted(&block.body, block.count, |tag| tag == EventTag::Other) {
            let Ok((index, entry)) = found else { break };
            let seq = block.first_seq.as_u64() + u64::from(index);
            if (from..=to).contains(&seq) {
                each(Found { seq, time, entry });
            }
        }
        if block.next_seq().as_u64() > to {
            break;
        }
    }
    Ok(())
}

/// Reads on a thread that may wait for the disk.
pub(crate) async fn off_thread<T: Send + 'static>(
    shard: &Arc<Shard>,
    read: impl FnOnce(&Shard) -> Result<T, LogError> + Send + 'static,
) -> Result<T, String> {
    let shard = shard.clone();
    match tokio::task::spawn_blocking(move || read(&shard)).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}
