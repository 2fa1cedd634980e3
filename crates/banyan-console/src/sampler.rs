//! One look at the shard each second, shared by everybody who watches: what was counted since the look before.

use crate::Console;
use crate::text::Lang;
use crate::verdict::{self, Level, Vitals};
use banyan_domain::{Refusal, coupon};
use banyan_engine::{HistogramView, MetricsView};
use banyan_log::Health;
use banyan_views::ViewState;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::broadcast;
use tokio::time::MissedTickBehavior;

/// Time between two samples.
const PERIOD: Duration = Duration::from_secs(1);
/// Samples kept: the last ten minutes.
const SAMPLES_MAX: usize = 600;
/// Samples between two looks at the log engine, which may have to wait for the block being synced.
const HEALTH_EVERY: u64 = 5;
/// Ticks that a slow viewer may fall behind before it misses some.
const TICKS_WAITING: usize = 8;

/// The names of a sample's numbers, in the order in which [`Sample::row`] writes them.
pub(crate) const FIELDS: [&str; 17] = [
    "t", "issued", "commands", "p50", "p99", "max", "queue", "block", "sync50", "sync99", "lag", "sold_out",
    "limit", "closed", "audience", "busy", "other",
];

/// What happened in about one second. Rates are per second, times in milliseconds; absent where there was nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    /// Milliseconds since 1970.
    pub(crate) t: u64,
    pub(crate) issued: f64,
    pub(crate) commands: f64,
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
    pub(crate) max: Option<f64>,
    /// Commands in the queue when the writer last looked.
    pub(crate) queue: u64,
    /// Mean events per block.
    pub(crate) block: Option<f64>,
    pub(crate) sync50: Option<f64>,
    pub(crate) sync99: Option<f64>,
    /// Age of what the record store shows.
    pub(crate) lag: f64,
    /// Refusals: sold out, limit reached, not open, not in the audience, turned away, other.
    pub(crate) refused: [f64; 6],
}

/// Everything that the verdict looks at beside the sample.
#[derive(Clone, Debug, Default)]
pub(crate) struct Condition {
    pub(crate) storage_is_full: bool,
    pub(crate) alarm: bool,
    pub(crate) view: Option<ViewState>,
    pub(crate) parked: u64,
    /// Sagas that wait for an operator.
    pub(crate) parked_sagas: u64,
    pub(crate) health: Option<Health>,
    /// Whether nothing was asked for the last ten samples.
    pub(crate) quiet: bool,
}

/// One sample on its way to the viewers.
#[derive(Debug)]
pub(crate) struct Tick {
    pub(crate) row: Value,
    pub(crate) marks: Vec<Value>,
    vitals: [Value; 2],
}

impl Tick {
    pub(crate) const fn vitals(&self, lang: Lang) -> &Value {
        match lang {
            Lang::En => &self.vitals[0],
            Lang::Ko => &self.vitals[1],
        }
    }
}

/// The samples of the last ten minutes, and who waits for the next.
pub(crate) struct Sampler {
    inner: Mutex<Inner>,
    ticks: broadcast::Sender<Arc<Tick>>,
}

#[derive(Default)]
struct Inner {
    samples: VecDeque<Sample>,
    condition: Condition,
}

impl Default for Sampler {
    fn default() -> Self {
        Self { inner: Mutex::default(), ticks: broadcast::channel(TICKS_WAITING).0 }
    }
}

impl Sampler {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next samples as they come.
    pub(crate) fn watch(&self) -> broadcast::Receiver<Arc<Tick>> {
        self.ticks.subscribe()
    }

    /// The newest `count` samples, oldest first.
    pub(crate) fn newest(&self, count: usize) -> Vec<Sample> {
        let inner = self.lock();
        inner.samples.iter().skip(inner.samples.len().saturating_sub(count)).cloned().collect()
    }

    /// The top line as of the newest sample.
    pub(crate) fn vitals(&self, lang: Lang, p99_limit: Duration) -> (Level, Vitals) {
        let inner = self.lock();
        let sample = inner.samples.back().cloned().unwrap_or_default();
        verdict::vitals(lang, &sample, &inner.condition, p99_limit)
    }

    /// The log engine's state as of a few seconds ago.
    pub(crate) fn health(&self) -> Option<Health> {
        self.lock().condition.health.clone()
    }
}

impl Sample {
    /// The numbers in the order of [`FIELDS`].
    pub(crate) fn row(&self) -> Value {
        let fine = |n: f64| (n * 100.0).round() / 100.0;
        let maybe = |n: Option<f64>| n.map(fine);
        let [sold_out, limit, closed, audience, busy, other] = self.refused.map(fine);
        json!([
            self.t,
            fine(self.issued),
            fine(self.commands),
            maybe(self.p50),
            maybe(self.p99),
            maybe(self.max),
            self.queue,
            maybe(self.block),
            maybe(self.sync50),
            maybe(self.sync99),
            fine(self.lag),
            sold_out,
            limit,
            closed,
            audience,
            busy,
            other
        ])
    }
}

/// What was counted up to one moment.
struct Counts {
    at: Instant,
    shard: MetricsView,
    writes: HistogramView,
}

/// Samples until the server stops.
pub(crate) async fn run(console: Arc<Console>) {
    let (app, sampler) = (console.app.clone(), console.sampler.clone());
    let mut stopping = app.stopping();
    let look = || Counts {
        at: Instant::now(),
        shard: app.shard().metrics(),
        writes: app.http().write_micros.view(),
    };
    let mut before = look();
    let mut timer = tokio::time::interval(PERIOD);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    timer.tick().await;
    let mut marked = console.journal.newest_seq();
    for round in 0_u64.. {
        if round.is_multiple_of(HEALTH_EVERY) {
            let shard = app.shard().clone();
            let health = tokio::task::spawn_blocking(move || shard.log_health()).await;
            let record = app.record().clone();
            let totals = tokio::task::spawn_blocking(move || record.saga_totals()).await;
            let condition = &mut sampler.lock().condition;
            condition.health = health.ok();
            // A record store that cannot be read says so itself.
            if let Ok(Ok(totals)) = totals {
                condition.parked_sagas = totals.parked;
            }
        }
        tokio::select! {
            _ = timer.tick() => {}
            // An error means that whoever could stop us is gone: so is the server.
            _ = stopping.wait_for(|stop| *stop) => return,
        }
        let now = look();
        let sample = measure(&before, &now, app.record_progress().lag());
        before = now;
        let marks = console.journal.since(marked);
        marked = marks.last().map_or(marked, |mark| mark.seq);
        let marks = marks.iter().map(crate::journal::Action::mark).collect();
        let mut inner = sampler.lock();
        if inner.samples.len() == SAMPLES_MAX {
            inner.samples.pop_front();
        }
        inner.samples.push_back(sample.clone());
        let quiet = inner.samples.iter().rev().take(10).all(|s| s.commands == 0.0 && s.issued == 0.0);
        let condition = &mut inner.condition;
        condition.quiet = quiet;
        condition.storage_is_full = before.shard.storage_is_full;
        condition.alarm = before.shard.alarm;
        condition.view = Some(app.record_progress().state());
        condition.parked = app.record_progress().parked();
        let vitals = [Lang::En, Lang::Ko].map(|lang| {
            let (level, vitals) = verdict::vitals(lang, &sample, condition, console.options.p99_limit);
            vitals.to_json(level)
        });
        drop(inner);
        // Nobody may be watching: then nobody needs it.
        let _unwatched = sampler.ticks.send(Arc::new(Tick { row: sample.row(), marks, vitals }));
    }
}

fn measure(before: &Counts, now: &Counts, lag: Duration) -> Sample {
    let seconds = now.at.duration_since(before.at).as_secs_f64().max(0.001);
    let per_second = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
    let (is, was) = (&now.shard, &before.shard);
    let refused = |refusal: Refusal| per_second(is.refusals[refusal.index()], was.refusals[refusal.index()]);
    let mut kinds = [0.0; 6];
    for refusal in Refusal::all() {
        use coupon::Refusal as No;
        let kind = match refusal {
            Refusal::Coupon(No::SoldOut) => 0,
            Refusal::Coupon(No::LimitReached) => 1,
            Refusal::Coupon(No::Paused | No::NotStarted | No::Ended) => 2,
            Refusal::Coupon(No::NotEligible) => 3,
            _ => 5,
        };
        kinds[kind] += refused(refusal);
    }
    kinds[4] = per_second(is.busy, was.busy) + per_second(is.storage_full, was.storage_full);
    let writes = now.writes.since(&before.writes);
    let syncs = is.sync_micros.since(&was.sync_micros);
    let blocks = is.blocks.saturating_sub(was.blocks);
    Sample {
        t: banyan_api::now().as_millis(),
        issued: per_second(is.issued, was.issued),
        commands: per_second(is.commands, was.commands),
        p50: quantile(&writes, 0.5),
        p99: quantile(&writes, 0.99),
        max: quantile(&writes, 1.0),
        queue: is.queue,
        block: (blocks > 0).then(|| is.events.saturating_sub(was.events) as f64 / blocks as f64),
        sync50: quantile(&syncs, 0.5),
        sync99: quantile(&syncs, 0.99),
        lag: lag.as_secs_f64() * 1e3,
        refused: kinds,
    }
}

/// A quantile of microseconds, in milliseconds; none if nothing was recorded.
fn quantile(view: &HistogramView, share: f64) -> Option<f64> {
    (view.count() > 0).then(|| view.quantile(share) as f64 / 1e3)
}
