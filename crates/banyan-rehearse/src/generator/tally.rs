//! Counts everything that is sent, answered, refused, unknown or never sent, in total and per second.
//!
//! Seconds are seconds of the *intended arrival*: an answer that took three seconds belongs to the second in which
//! its member pressed, so a stall shows where people met it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::answer::Outcome;
use super::job::{Action, Job};
use super::visit::Mark;

/// Latency of one action, in microseconds.
pub(crate) struct ActionTally {
    pub(crate) offered: u64,
    pub(crate) accepted: u64,
    pub(crate) replayed: u64,
    pub(crate) refused: u64,
    pub(crate) unknown: u64,
    pub(crate) not_sent: u64,
    pub(crate) latency: Histogram<u64>,
}

/// What happened to those who pressed in one second.
#[derive(Default)]
pub(crate) struct Second {
    pub(crate) offered: u64,
    /// Answers that *came* in this second, whenever their member pressed.
    pub(crate) answered: u64,
    pub(crate) accepted: u64,
    pub(crate) unknown: u64,
    pub(crate) not_sent: u64,
    pub(crate) refused: Vec<u64>,
    latency: Option<Box<Histogram<u32>>>,
    sealed: Latencies,
}

/// Latencies of one second, microseconds; all 0 when nothing was answered.
#[derive(Clone, Copy, Default)]
pub(crate) struct Latencies {
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
}

pub(crate) struct Tally {
    pub(crate) actions: [ActionTally; Action::ALL.len()],
    /// What became of visits to the shop.
    pub(crate) marks: BTreeMap<Mark, u64>,
    pub(crate) seconds: Vec<Second>,
    pub(crate) refusals: Vec<(Cow<'static, str>, u64)>,
    pub(crate) faults: BTreeMap<String, u64>,
    pub(crate) unknown: BTreeMap<&'static str, u64>,
    pub(crate) not_sent: BTreeMap<&'static str, u64>,
    /// Attempts whose outcome was unknown and that were sent again.
    pub(crate) retried: BTreeMap<&'static str, u64>,
    /// Connections that could not be made, by reason.
    pub(crate) connect_failures: BTreeMap<&'static str, u64>,
    pub(crate) connections_made: u64,
    pub(crate) connections_peak: usize,
    pub(crate) requests_sent: u64,
    /// How late arrivals left the schedule, microseconds: the generator's own health.
    pub(crate) lateness: Histogram<u64>,
    /// New coupons (201) by campaign.
    pub(crate) issued: Vec<u64>,
    sealed_before: usize,
}

/// Histograms of seconds older than this are reduced to their three figures, which bounds memory on long runs.
const SECONDS_KEPT: usize = 120;

impl Tally {
    pub(crate) fn new() -> Self {
        let histogram = || Histogram::new(3).expect("3 significant figures is in range");
        let action = || ActionTally {
            offered: 0,
            accepted: 0,
            replayed: 0,
            refused: 0,
            unknown: 0,
            not_sent: 0,
            latency: histogram(),
        };
        Self {
            actions: std::array::from_fn(|_| action()),
            marks: BTreeMap::new(),
            seconds: Vec::new(),
            refusals: Vec::new(),
            faults: BTreeMap::new(),
            unknown: BTreeMap::new(),
            not_sent: BTreeMap::new(),
            retried: BTreeMap::new(),
            connect_failures: BTreeMap::new(),
            connections_made: 0,
            connections_peak: 0,
            requests_sent: 0,
            lateness: histogram(),
            issued: Vec::new(),
            sealed_before: 0,
        }
    }

    /// An arrival left the schedule.
    pub(crate) fn offered(&mut self, job: &Job, now_ns: u64) {
        self.actions[job.action() as usize].offered += 1;
        self.second(job.due_ns).offered += 1;
        record(&mut self.lateness, now_ns.saturating_sub(job.due_ns) / 1000);
    }

    /// A visit came this far.
    pub(crate) fn mark(&mut self, mark: Mark) {
        *self.marks.entry(mark).or_default() += 1;
    }

    /// A request ended. Each offered arrival ends exactly once.
    pub(crate) fn ended(&mut self, job: &Job, outcome: &Outcome, now_ns: u64) {
        let micros = now_ns.saturating_sub(job.due_ns) / 1000;
        let action = job.action() as usize;
        match outcome {
            Outcome::Accepted(accepted) => {
                self.actions[action].accepted += 1;
                if accepted.status == 200 && matches!(job.action(), Action::Issue | Action::Place) {
                    self.actions[action].replayed += 1;
                }
                if accepted.status == 201 && job.action() == Action::Issue {
                    if self.issued.len() <= job.campaign {
                        self.issued.resize(job.campaign + 1, 0);
                    }
                    self.issued[job.campaign] += 1;
                }
                self.second(job.due_ns).accepted += 1;
                self.answered(action, job.due_ns, now_ns, micros);
            }
            Outcome::Refused { kind, fault } => {
                self.actions[action].refused += 1;
                self.refused(kind.clone(), *fault, job.due_ns);
                self.answered(action, job.due_ns, now_ns, micros);
            }
            Outcome::Unknown(why) => {
                self.actions[action].unknown += 1;
                *self.unknown.entry(why).or_default() += 1;
                self.second(job.due_ns).unknown += 1;
            }
            Outcome::NotSent(why) => {
                self.actions[action].not_sent += 1;
                *self.not_sent.entry(why).or_default() += 1;
                self.second(job.due_ns).not_sent += 1;
            }
        }
    }

    /// Answers so far.
    pub(crate) fn answers(&self) -> u64 {
        self.actions.iter().map(|action| action.accepted + action.refused).sum()
    }

    fn answered(&mut self, action: usize, due_ns: u64, now_ns: u64, micros: u64) {
        record(&mut self.actions[action].latency, micros);
        let second = self.second(due_ns);
        if let Some(latency) = &mut second.latency {
            record(latency, micros);
        } else {
            // The histogram of this second is reduced already; its worst answer still counts.
            second.sealed.max = second.sealed.max.max(micros);
        }
        self.second(now_ns).answered += 1;
    }

    fn refused(&mut self, kind: Cow<'static, str>, fault: bool, due_ns: u64) {
        let index = self.refusals.iter().position(|(known, _)| *known == kind).unwrap_or_else(|| {
            self.refusals.push((kind, 0));
            self.refusals.len() - 1
        });
        self.refusals[index].1 += 1;
        if fault {
            *self.faults.entry(self.refusals[index].0.to_string()).or_default() += 1;
        }
        let second = self.second(due_ns);
        if second.refused.len() <= index {
            second.refused.resize(index + 1, 0);
        }
        second.refused[index] += 1;
    }

    fn second(&mut self, at_ns: u64) -> &mut Second {
        let index = usize::try_from(at_ns / 1_000_000_000).expect("seconds of a run fit usize");
        while self.seconds.len() <= index {
            let latency = Histogram::new(2).expect("2 significant figures is in range");
            self.seconds.push(Second { latency: Some(Box::new(latency)), ..Second::default() });
            if self.seconds.len() > self.sealed_before + SECONDS_KEPT {
                self.seconds[self.sealed_before].seal();
                self.sealed_before += 1;
            }
        }
        &mut self.seconds[index]
    }
}

/// Records a value. These histograms grow by themselves, which `saturating_record` would not let them do.
fn record<T: hdrhistogram::Counter>(histogram: &mut Histogram<T>, micros: u64) {
    const MICROS_MAX: u64 = 48 * 3600 * 1_000_000;
    histogram.record(micros.min(MICROS_MAX)).expect("a histogram of two days fits memory");
}

impl Second {
    /// The latencies of those who pressed in this second.
    pub(crate) fn latencies(&self) -> Latencies {
        let Some(latency) = &self.latency else { return self.sealed };
        if latency.is_empty() {
            return Latencies::default();
        }
        Latencies {
            p50: latency.value_at_quantile(0.5),
            p99: latency.value_at_quantile(0.99),
            max: latency.max(),
        }
    }

    fn seal(&mut self) {
        self.sealed = self.latencies();
        self.latency = None;
    }
}
