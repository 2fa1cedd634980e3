//! What moves: one stream of server-sent events for each open page, all fed by the one sampler.

use crate::Console;
use crate::gate::{Fields, Viewer};
use crate::log_pages::{self, Filter, Found};
use crate::pages::events::filter_of;
use crate::pages::over_parts;
#[cfg(feature = "gateway")]
use crate::pages::route_parts;
use crate::parts;
use crate::sampler::{FIELDS, Tick};
use crate::session::SignedIn;
use crate::text::Lang;
use axum::extract::Query;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use banyan_domain::Timestamp;
use banyan_engine::CampaignSummary;
use banyan_legacy::LagPoint;
use futures_util::stream;
use http::StatusCode;
use serde_json::{Map, Value, json};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::MissedTickBehavior;

/// Campaigns whose numbers one stream carries, at most.
const CAMPAIGNS_MAX: usize = 100;
/// Samples a stream can begin with.
const HISTORY_MAX: usize = 600;
/// Marks it can begin with.
const MARKS_MAX: usize = 200;
/// Time between two looks of a stream that follows events.
const FOLLOW_EVERY: Duration = Duration::from_millis(500);
/// Events a following stream reads at once, and of those the newest it shows: nobody reads faster.
const FOLLOW_READ_MAX: u64 = 4_000;
const FOLLOW_SHOW_MAX: usize = 50;

/// What a stream holds on to.
struct Held {
    console: Arc<Console>,
    who: SignedIn,
    lang: Lang,
    stopping: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
}

impl Held {
    /// None if too many streams are open.
    fn new(viewer: Viewer) -> Option<Self> {
        let lang = viewer.lang();
        let Viewer { console, who, .. } = viewer;
        let permit = console.streams.clone().try_acquire_owned();
        let permit = permit.ok()?;
        let stopping = console.app.stopping();
        Some(Self { console, who, lang, stopping, _permit: permit })
    }

    fn is_over(&self) -> bool {
        *self.stopping.borrow() || !self.console.sessions.is_alive(&self.console.app, &self.who)
    }
}

/// The stream behind every page: samples, the top line, and the numbers of the campaigns it shows.
pub(crate) async fn live(viewer: Viewer, Query(query): Query<Fields>) -> Response {
    let history = query.get("history").and_then(|n| n.parse().ok()).unwrap_or(60).min(HISTORY_MAX);
    let campaigns = query.get("campaigns").map(String::as_str).unwrap_or_default();
    let campaigns: Vec<String> =
        campaigns.split(',').filter(|id| !id.is_empty()).take(CAMPAIGNS_MAX).map(str::to_owned).collect();
    let Some(held) = Held::new(viewer) else { return StatusCode::TOO_MANY_REQUESTS.into_response() };
    let ticks = held.console.sampler.watch();
    let of = Of::read(query.get("of").map(String::as_str).unwrap_or_default());
    let mut first = history_json(&held.console, history);
    let mut lags_to = 0;
    if let (Of::Over(_), Some(keeper)) = (&of, held.console.app.keeper()) {
        let lags = keeper.lags();
        lags_to = lags.last().map_or(0, |last| last.at);
        first["series"] =
            json!({ "fields": LAG_FIELDS, "rows": lags.iter().map(lag_row).collect::<Vec<_>>() });
    }
    let state =
        Live { held, ticks, campaigns, of, lags_to, waiting: VecDeque::from([event("history", &first)]) };
    let events = stream::unfold(state, |mut state| async move {
        let event = state.next().await?;
        Some((Ok::<_, Infallible>(event), state))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))).into_response()
}

struct Live {
    held: Held,
    ticks: broadcast::Receiver<Arc<Tick>>,
    campaigns: Vec<String>,
    of: Of,
    /// Lags up to this time were sent.
    lags_to: u64,
    waiting: VecDeque<Event>,
}

/// What moves on a page beside the top line and campaigns. The page's address of the stream says it.
enum Of {
    Nothing,
    /// The table of routes.
    #[cfg(feature = "gateway")]
    Gateway,
    /// One route.
    #[cfg(feature = "gateway")]
    Route(String),
    /// The way over, as the page was made.
    Over(over_parts::Shown),
}

impl Of {
    fn read(text: &str) -> Self {
        match text.split_once(':').unwrap_or((text, "")) {
            #[cfg(feature = "gateway")]
            ("gateway", _) => Self::Gateway,
            #[cfg(feature = "gateway")]
            ("route", name) => Self::Route(name.to_owned()),
            ("over", shown) => Self::Over(over_parts::Shown::read(shown)),
            _ => Self::Nothing,
        }
    }
}

/// The names of a lag's numbers, in the order in which they are sent.
const LAG_FIELDS: [&str; 3] = ["t", "inward", "outward"];

fn lag_row(lag: &LagPoint) -> Value {
    json!([lag.at, lag.inward, lag.outward])
}

impl Live {
    async fn next(&mut self) -> Option<Event> {
        if let Some(event) = self.waiting.pop_front() {
            return Some(event);
        }
        loop {
            let tick = tokio::select! {
                tick = self.ticks.recv() => tick,
                _ = self.held.stopping.wait_for(|stop| *stop) => return None,
            };
            match tick {
                Ok(_) if self.held.is_over() => return None,
                Ok(tick) => return Some(event("tick", &self.tick_json(&tick).await)),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }

    async fn tick_json(&mut self, tick: &Tick) -> Value {
        let mut json = json!({ "row": tick.row, "vitals": tick.vitals(self.held.lang), "marks": tick.marks });
        if !self.campaigns.is_empty() {
            json["campaigns"] = campaigns_json(&self.held.console, self.held.lang, &self.campaigns);
        }
        let (console, lang) = (&self.held.console, self.held.lang);
        let parts = match &self.of {
            Of::Nothing => return json,
            #[cfg(feature = "gateway")]
            Of::Gateway => route_parts::of_table(console, lang),
            #[cfg(feature = "gateway")]
            Of::Route(name) => route_parts::of_route(console, lang, name),
            Of::Over(shown) => over_parts::of_page(console, lang, shown).await,
        };
        let parts = parts.into_iter().map(|(id, html)| (id, html.into_string().into()));
        json["parts"] = Value::Object(parts.collect());
        if let (Of::Over(_), Some(keeper)) = (&self.of, console.app.keeper()) {
            let lags = keeper.lags();
            let news = lags.iter().filter(|lag| lag.at > self.lags_to);
            json["series"] = news.map(lag_row).collect();
            self.lags_to = lags.last().map_or(self.lags_to, |last| last.at);
        }
        json
    }
}

fn history_json(console: &Console, count: usize) -> Value {
    let samples = console.sampler.newest(count);
    let since = samples.first().map_or(u64::MAX, |sample| sample.t);
    let actions = console.journal.since_time(Timestamp::from_millis(since));
    let newest = actions.len().saturating_sub(MARKS_MAX);
    let marks: Vec<_> = actions[newest..].iter().map(crate::journal::Action::mark).collect();
    let rows: Vec<_> = samples.iter().map(crate::sampler::Sample::row).collect();
    json!({ "fields": FIELDS, "rows": rows, "marks": marks })
}

fn campaigns_json(console: &Console, lang: Lang, ids: &[String]) -> Value {
    let (summary, now) = (console.app.shard().summary(), banyan_api::now());
    let mut campaigns = Map::new();
    for campaign in ids.iter().filter_map(|id| summary.campaign(id)) {
        let state = campaign.state_at(now);
        let totals = campaign.totals;
        let numbers = json!({
            "issued": totals.issued, "quantity": campaign.definition.quantity, "left": campaign.left(),
            "held": totals.held, "redeemed": totals.redeemed, "revoked": totals.revoked, "expired": totals.expired,
            "state": parts::campaign_state_name(state), "word": lang.t(parts::campaign_state_word(state)),
            "share": share(lang, campaign),
        });
        campaigns.insert(campaign.definition.id.to_string(), numbers);
    }
    Value::Object(campaigns)
}

fn share(lang: Lang, campaign: &CampaignSummary) -> Option<String> {
    campaign.definition.quantity.map(|quantity| parts::share(lang, campaign.totals.issued, quantity))
}

/// New events as rows of the events page, twice a second.
pub(crate) async fn follow(viewer: Viewer, Query(query): Query<Fields>) -> Response {
    let filter = filter_of(&viewer, &query);
    let head = viewer.console.app.shard().confirmed().get().as_u64();
    let after = query.get("after").and_then(|n| n.parse().ok()).unwrap_or(head).min(head);
    let Some(held) = Held::new(viewer) else { return StatusCode::TOO_MANY_REQUESTS.into_response() };
    let mut timer = tokio::time::interval(FOLLOW_EVERY);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let events = stream::unfold((held, timer, after), move |(mut held, mut timer, mut after)| {
        let filter = filter.clone();
        async move {
            loop {
                tokio::select! {
                    _ = timer.tick() => {}
                    _ = held.stopping.wait_for(|stop| *stop) => return None,
                }
                if held.is_over() {
                    return None;
                }
                let head = held.console.app.shard().confirmed().get().as_u64();
                if head <= after {
                    continue;
                }
                let from = (after + 1).max((head + 1).saturating_sub(FOLLOW_READ_MAX));
                let unread = from - after - 1;
                let wanted = filter.clone();
                let read = log_pages::off_thread(held.console.app.shard(), move |shard| {
                    log_pages::between(shard, from, head, &wanted)
                });
                // A log that cannot be read ends the stream; the page says so and shows since when.
                let found = read.await.ok()?;
                after = head;
                if found.is_empty() {
                    continue;
                }
                let data = follow_json(&held, &filter, &found, unread, head);
                return Some((Ok::<_, Infallible>(event("rows", &data)), (held, timer, after)));
            }
        }
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))).into_response()
}

fn follow_json(held: &Held, filter: &Filter, found: &[Found], unread: u64, head: u64) -> Value {
    let summary = held.console.app.shard().summary();
    let rows: Vec<_> = found
        .iter()
        .rev()
        .take(FOLLOW_SHOW_MAX)
        .map(|found| parts::event_row(held.lang, found, &summary).into_string())
        .collect();
    let hidden = found.len().saturating_sub(FOLLOW_SHOW_MAX) as u64;
    // With a filter nobody knows how many of the unread ones would have passed it.
    let skipped = if filter.is_any() { hidden + unread } else { hidden };
    json!({ "html": rows.concat(), "skipped": skipped, "head": head })
}

fn event(name: &str, data: &Value) -> Event {
    Event::default().event(name).data(data.to_string())
}
