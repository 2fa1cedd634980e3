//! Sends a scenario and counts what comes back.
//!
//! Reading order: this file (the run from start to end), `core.rs` (what happens to a request), `connection.rs`
//! (one connection), `answer.rs` (what an answer means), `tally.rs` (the counts).

mod answer;
mod connection;
mod core;
mod job;
mod order;
mod pacer;
mod request;
mod setup;
mod shop;
pub(crate) mod tally;
pub(crate) mod visit;

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use self::core::{Core, Settings};
pub(crate) use self::core::{NOT_SENT_NO_COUPON, NOT_SENT_WAITED};
pub(crate) use self::job::Action;
use self::job::{Job, Member, Work};
use self::pacer::Pacer;
use self::request::{KeyUse, Requests};
use self::tally::Tally;
pub(crate) use self::visit::Mark;
use self::visit::Visit;
use crate::RehearseError;
use crate::acks::AckWriter;
use crate::progress::{Gauge, Progress};
use crate::scenario::{Load, Scenario, ShopPlan};
use crate::schedule::{Presser, Schedule};
use crate::trace::{Trace, TraceAction};

const HOUSEKEEPING_EVERY: Duration = Duration::from_millis(20);
/// Arrivals released before connections get the processor again, so that catching up does not delay answers.
const RELEASE_MAX: usize = 512;

/// Asks a run to end from outside. Clones speak for the same run.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicU8>);

impl Stop {
    /// The first call ends the arrivals and waits for the answers; the second ends the run at once.
    pub fn stop(&self) {
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |calls| calls.checked_add(1));
    }

    fn calls(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Everything a finished run knows, before it becomes a report.
pub(crate) struct Run {
    pub(crate) started_at: Timestamp,
    pub(crate) arrivals_seconds: f64,
    pub(crate) seconds: f64,
    pub(crate) stopped: bool,
    pub(crate) outages: Vec<(f64, Option<f64>)>,
    pub(crate) campaigns: Vec<String>,
    pub(crate) tally: Tally,
}

/// Runs a scenario on this thread. Must be called inside a `LocalSet` of a runtime with I/O and time.
pub(crate) async fn run(
    scenario: &Scenario,
    acks: Option<AckWriter>,
    progress: Progress,
    stop: &Stop,
) -> Result<Run, RehearseError> {
    if let Load::Trace(load) = &scenario.load {
        Trace::check(&load.file).map_err(RehearseError::Trace)?;
    }
    let addresses = setup::resolve(&scenario.target).await?;
    setup::campaigns(scenario, &addresses).await?;
    shop::open(scenario, &addresses).await?;

    let started = Instant::now();
    let started_at = Timestamp::now();
    let mut source = Source::new(scenario)?;
    let core = Core::new(settings(scenario, started, addresses), requests(scenario), acks);
    let mut gauge = Gauge::new(progress, scenario.seconds());
    let pacer = Pacer::start(started).map_err(RehearseError::Thread)?;

    let driven = drive(&core, &mut source, &pacer, &mut gauge, stop).await;
    let arrivals_seconds = started.elapsed().as_secs_f64();
    if driven.is_ok() {
        drain(&core, &pacer, &mut gauge, stop, scenario.drain).await;
    }
    core.close();
    while core.outstanding() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    gauge.finish();
    let seconds = started.elapsed().as_secs_f64();
    let campaigns = core.requests.borrow().campaign_ids().map(str::to_owned).collect();
    let mut state = core.state();
    if let Some(acks) = state.acks.take() {
        acks.close().map_err(RehearseError::Acks)?;
    }
    driven?;
    let outages = state.outages.iter();
    Ok(Run {
        started_at,
        arrivals_seconds,
        seconds,
        stopped: stop.calls() > 0,
        outages: outages.map(|(from, to)| (*from as f64 / 1e9, to.map(|to| to as f64 / 1e9))).collect(),
        campaigns,
        tally: std::mem::replace(&mut state.tally, Tally::new()),
    })
}

/// Releases every arrival at its time, until the source is exhausted or somebody says stop.
async fn drive(
    core: &Rc<Core>,
    source: &mut Source<'_>,
    pacer: &Pacer,
    gauge: &mut Gauge,
    stop: &Stop,
) -> Result<(), RehearseError> {
    let mut housekeeping = housekeeping();
    let mut next = source.next(core)?;
    loop {
        core.release_later();
        let mut released = 0;
        while let Some(mut job) = next.take() {
            if job.due_ns > core.now_ns() || released == RELEASE_MAX || source.is_full(core) {
                next = Some(job);
                break;
            }
            if source.as_fast_as_possible() {
                job.due_ns = core.now_ns();
            }
            core.offer(job);
            released += 1;
            next = source.next(core)?;
        }
        let Some(waiting) = &next else { return Ok(()) };
        if released == RELEASE_MAX {
            tokio::task::yield_now().await;
            continue;
        }
        let due_ns = core.later_due_ns().map_or(waiting.due_ns, |later| later.min(waiting.due_ns));
        tokio::select! {
            () = pacer.wait(due_ns) => {}
            _ = housekeeping.tick() => {
                core.housekeeping();
                gauge.show(core.now_ns(), core.outstanding(), &core.state().tally);
                if core.state().acks.as_ref().is_some_and(AckWriter::failed) || stop.calls() > 0 {
                    return Ok(());
                }
            }
        }
    }
}

/// Waits for the last answers and planned redeems, at most for the scenario's drain.
async fn drain(core: &Rc<Core>, pacer: &Pacer, gauge: &mut Gauge, stop: &Stop, limit: Duration) {
    let until = Instant::now() + limit;
    let mut housekeeping = housekeeping();
    while !core.at_rest() && Instant::now() < until && stop.calls() < 2 {
        core.release_later();
        let due_ns = core.later_due_ns().unwrap_or(u64::MAX);
        tokio::select! {
            () = pacer.wait(due_ns) => {}
            _ = housekeeping.tick() => {
                core.housekeeping();
                gauge.show(core.now_ns(), core.outstanding(), &core.state().tally);
            }
        }
    }
}

fn housekeeping() -> tokio::time::Interval {
    let mut interval = tokio::time::interval(HOUSEKEEPING_EVERY);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    interval
}

fn settings(scenario: &Scenario, started: Instant, addresses: Vec<std::net::SocketAddr>) -> Settings {
    let (redeem, shop) = match &scenario.load {
        Load::Schedule(load) => (load.redeem, load.shop.clone()),
        Load::Trace(_) => (None, None),
    };
    Settings {
        started,
        addresses,
        connections_max: scenario.connections_max,
        max_outstanding: scenario.max_outstanding,
        timeout: scenario.timeout,
        retry_unknown: scenario.retry_unknown,
        redeem,
        shop,
        seed: scenario.seed,
    }
}

fn requests(scenario: &Scenario) -> Requests {
    let seed = scenario.seed;
    match &scenario.load {
        Load::Schedule(load) => {
            let key_use = if load.idempotency_key {
                KeyUse::Numbered(format!("rehearse-{seed}"))
            } else {
                KeyUse::None
            };
            let mut requests =
                Requests::new(scenario, &load.members.prefix, key_use, format!("rehearse-{seed}"));
            for (campaign, _) in &load.aim {
                requests.campaign(campaign);
            }
            requests
        }
        Load::Trace(_) => {
            Requests::new(scenario, "", KeyUse::Numbered(format!("trace-{seed}")), format!("trace-{seed}"))
        }
    }
}

/// Where jobs come from.
enum Source<'a> {
    Schedule { presses: Box<Schedule<'a>>, shop: Option<&'a ShopPlan>, seed: u64 },
    Trace { steps: Trace, speed: Option<f64>, full: usize },
}

impl<'a> Source<'a> {
    fn new(scenario: &'a Scenario) -> Result<Self, RehearseError> {
        match &scenario.load {
            Load::Schedule(load) => {
                let (presses, seed) = (Box::new(Schedule::new(load, scenario.seed)), scenario.seed);
                Ok(Self::Schedule { presses, shop: load.shop.as_ref(), seed })
            }
            Load::Trace(load) => {
                let steps = Trace::open(&load.file).map_err(RehearseError::Trace)?;
                // Two for each connection keep every connection busy; more would only wait.
                let full = (scenario.connections_max * 2).min(scenario.max_outstanding);
                Ok(Self::Trace { steps, speed: load.speed, full })
            }
        }
    }

    fn next(&mut self, core: &Core) -> Result<Option<Job>, RehearseError> {
        match self {
            Self::Schedule { presses, shop, seed } => Ok(presses.next().map(|press| Job {
                due_ns: press.due_ns,
                number: press.number,
                // The aim names each campaign once and requests took them in the same order.
                campaign: press.campaign,
                member: match press.member {
                    Presser::Person(number) => Member::Person(number),
                    Presser::Bot(number) => Member::Bot(number),
                },
                work: match (shop, press.member) {
                    (Some(plan), Presser::Person(_)) if !press.wrong_key => {
                        core.state().tally.mark(Mark::Visited);
                        Work::Visit(Box::new(Visit::new(plan, *seed, press.number)))
                    }
                    _ => Work::Issue { wrong_key: press.wrong_key },
                },
                attempts: 0,
            })),
            Self::Trace { steps, speed, .. } => {
                let Some(step) = steps.next().transpose().map_err(RehearseError::Trace)? else {
                    return Ok(None);
                };
                let work = match step.action {
                    TraceAction::Issue => Work::Issue { wrong_key: false },
                    TraceAction::Redeem => Work::RedeemOldest,
                };
                Ok(Some(Job {
                    due_ns: speed.map_or(0, |times| (step.second / times * 1e9) as u64),
                    number: step.line,
                    campaign: core.requests.borrow_mut().campaign(&step.campaign),
                    member: Member::Named(step.member.into()),
                    work,
                    attempts: 0,
                }))
            }
        }
    }

    /// Whether arrivals have no time of their own: a trace replayed at `speed = "max"`.
    fn as_fast_as_possible(&self) -> bool {
        matches!(self, Self::Trace { speed: None, .. })
    }

    /// Whether such a trace must wait for answers before its next step.
    fn is_full(&self, core: &Core) -> bool {
        matches!(self, Self::Trace { speed: None, full, .. } if core.outstanding() >= *full)
    }
}
