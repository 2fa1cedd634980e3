//! What goes wrong on purpose: by rate, or by rules that count down. Seeded, so that a run can be repeated.
//!
//! A draw depends on the seed, the fault, the idempotency key and how often that key has come, and on nothing else:
//! neither on the clock nor on which request came first.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// One thing that can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The bank says no; the refusal is remembered like any answer.
    Decline,
    /// Nothing is done, and no answer comes until the hold time is over (then 500).
    TimeoutBefore,
    /// It is done, and no answer comes until the hold time is over (then 500).
    TimeoutAfter,
    /// It is done, and the answer is 500.
    ErrorAfter,
    /// The answer's bytes are sent twice, so that a caller who reuses the connection may take it for the next one.
    AnswerTwice,
    /// The event of what was done is told twice.
    DuplicateWebhook,
    /// The event is told later.
    LateWebhook,
    /// The event is told after the payment's next one (or after 3 s, if none comes).
    UnorderedWebhooks,
}

/// Everything that is to go wrong.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FaultPlan {
    /// The same seed gives the same faults to the same keys.
    pub seed: u64,
    /// Share of requests that meet a fault, 0 to 1.
    pub rates: BTreeMap<Fault, f64>,
    /// Faults for certain requests.
    pub rules: Vec<FaultRule>,
    /// Seconds that a time-out keeps its caller waiting.
    pub hold_seconds: f64,
    /// Seconds that a late event comes late.
    pub late_seconds: f64,
    /// For so many seconds from now, every connection is cut without an answer.
    pub down_for_seconds: f64,
}

/// A fault for the next requests that fit.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// What goes wrong.
    pub fault: Fault,
    /// `authorize`, `capture`, `void`, `refund`, `confirm`, `cancel` or `page`; none: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The order that is being paid (known when authorizing and confirming); none: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// The idempotency key; none: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Requests that fit and are let through first.
    #[serde(default)]
    pub skip: u32,
    /// Requests that meet it; the rule is gone afterwards.
    #[serde(default = "once")]
    pub times: u32,
}

const fn once() -> u32 {
    1
}

impl Default for FaultPlan {
    fn default() -> Self {
        Self {
            seed: 1,
            rates: BTreeMap::new(),
            rules: Vec::new(),
            hold_seconds: 30.0,
            late_seconds: 5.0,
            down_for_seconds: 0.0,
        }
    }
}

/// A request, as far as faults look at it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Met<'a> {
    pub(crate) action: &'a str,
    pub(crate) key: &'a str,
    pub(crate) order: Option<&'a str>,
}

/// The faults that one request meets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Drawn(Vec<Fault>);

impl Drawn {
    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.0.contains(&fault)
    }
}

/// The plan in force.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Nothing can go wrong: nobody needs the lock.
    idle: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    plan: FaultPlan,
    down_until: Option<Instant>,
    /// How often each key came, since the plan was set; kept only while there are rates.
    attempts: BTreeMap<String, u32>,
    met: BTreeMap<Fault, u64>,
}

/// Why a plan is refused.
pub(crate) type InvalidPlan = String;

impl Faults {
    pub(crate) fn new(plan: FaultPlan) -> Result<Self, InvalidPlan> {
        let faults = Self::default();
        faults.set(plan)?;
        Ok(faults)
    }

    /// Puts `plan` in the place of the one before; counts begin anew.
    pub(crate) fn set(&self, plan: FaultPlan) -> Result<(), InvalidPlan> {
        check(&plan)?;
        let mut inner = self.lock();
        let down = Duration::from_secs_f64(plan.down_for_seconds);
        let down_until = (!down.is_zero()).then(|| Instant::now() + down);
        *inner = Inner { plan, down_until, ..Inner::default() };
        self.note_idle(&inner);
        Ok(())
    }

    /// Adds a rule to the plan.
    pub(crate) fn add(&self, rule: FaultRule) {
        let mut inner = self.lock();
        inner.plan.rules.push(rule);
        self.note_idle(&inner);
    }

    /// The plan as it stands, rules counted down, and how often each fault was met.
    pub(crate) fn show(&self) -> (FaultPlan, BTreeMap<Fault, u64>) {
        let inner = self.lock();
        let mut plan = inner.plan.clone();
        let left = inner.down_until.map(|until| until.saturating_duration_since(Instant::now()));
        plan.down_for_seconds = left.unwrap_or_default().as_secs_f64();
        (plan, inner.met.clone())
    }

    /// Whether the company is down.
    pub(crate) fn is_down(&self) -> bool {
        if self.idle.load(Ordering::Acquire) {
            return false;
        }
        self.lock().down_until.is_some_and(|until| Instant::now() < until)
    }

    /// How long a time-out lasts, and how late a late event is.
    pub(crate) fn times(&self) -> (Duration, Duration) {
        let inner = self.lock();
        (Duration::from_secs_f64(inner.plan.hold_seconds), Duration::from_secs_f64(inner.plan.late_seconds))
    }

    /// What this request meets.
    pub(crate) fn draw(&self, request: Met<'_>) -> Drawn {
        if self.idle.load(Ordering::Acquire) {
            return Drawn::default();
        }
        let mut inner = self.lock();
        let inner = &mut *inner;
        let mut drawn = Vec::new();
        for rule in &mut inner.plan.rules {
            let fits = |wanted: &Option<String>, is: Option<&str>| {
                wanted.as_deref().is_none_or(|wanted| is == Some(wanted))
            };
            let is_for_it = fits(&rule.action, Some(request.action))
                && fits(&rule.key, Some(request.key))
                && fits(&rule.order, request.order);
            if !is_for_it || rule.times == 0 {
                continue;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
                continue;
            }
            rule.times -= 1;
            drawn.push(rule.fault);
        }
        inner.plan.rules.retain(|rule| rule.times > 0);
        if inner.plan.rates.values().any(|rate| *rate > 0.0) {
            let attempt = inner.attempts.entry(request.key.to_owned()).or_default();
            *attempt += 1;
            for (fault, rate) in &inner.plan.rates {
                if chance(inner.plan.seed, *fault, request.key, *attempt) < *rate {
                    drawn.push(*fault);
                }
            }
        }
        for fault in &drawn {
            *inner.met.entry(*fault).or_default() += 1;
        }
        self.note_idle(inner);
        Drawn(drawn)
    }

    fn note_idle(&self, inner: &Inner) {
        let plan = &inner.plan;
        let idle = plan.rules.is_empty() && plan.rates.is_empty() && inner.down_until.is_none();
        self.idle.store(idle, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check(plan: &FaultPlan) -> Result<(), InvalidPlan> {
    if let Some((fault, rate)) = plan.rates.iter().find(|(_, rate)| !(0.0..=1.0).contains(*rate)) {
        return Err(format!("the rate of {fault:?} is {rate}; it must be between 0 and 1"));
    }
    let times = [plan.hold_seconds, plan.late_seconds, plan.down_for_seconds];
    if times.iter().any(|seconds| !(0.0..=86_400.0).contains(seconds)) {
        return Err("hold_seconds, late_seconds and down_for_seconds must be between 0 and 86400".into());
    }
    Ok(())
}

/// A number from 0 up to 1 that is always the same for the same input.
fn chance(seed: u64, fault: Fault, key: &str, attempt: u32) -> f64 {
    let mut hash = blake3::Hasher::new();
    hash.update(&seed.to_le_bytes()).update(&[fault as u8]).update(&attempt.to_le_bytes());
    let hash = hash.update(key.as_bytes()).finalize();
    let mut word = [0; 8];
    word.copy_from_slice(&hash.as_bytes()[..8]);
    // 53 bits are what a float holds exactly.
    (u64::from_le_bytes(word) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met<'a>(action: &'a str, key: &'a str) -> Met<'a> {
        Met { action, key, order: None }
    }

    #[test]
    fn a_rule_counts_down_over_what_fits_it() {
        let rule: FaultRule =
            serde_json::from_str(r#"{"fault":"timeout_after","action":"capture","skip":1,"times":2}"#)
                .expect("a rule");
        let faults = Faults::default();
        faults.add(rule);
        let mut drawn = Vec::new();
        for action in ["capture", "refund", "capture", "capture", "capture"] {
            drawn.push(faults.draw(met(action, "k")).has(Fault::TimeoutAfter));
        }
        assert_eq!(drawn, [false, false, true, true, false]);
        assert!(faults.show().0.rules.is_empty());
        assert_eq!(faults.show().1.get(&Fault::TimeoutAfter), Some(&2));
        assert!(faults.idle.load(Ordering::Acquire), "nothing is left to go wrong");
    }

    #[test]
    fn rates_are_met_and_repeat_with_their_seed() {
        let run = |seed| {
            let rates = BTreeMap::from([(Fault::ErrorAfter, 0.25)]);
            let faults = Faults::new(FaultPlan { seed, rates, ..FaultPlan::default() }).expect("a plan");
            (0..2_000)
                .map(|n| faults.draw(met("capture", &format!("k{}", n / 2))).has(Fault::ErrorAfter))
                .collect::<Vec<_>>()
        };
        let first = run(7);
        let share = first.iter().filter(|met| **met).count();
        assert!((400..600).contains(&share), "{share} of 2000");
        assert_eq!(first, run(7));
        assert_ne!(first, run(8));
        assert!(first.chunks(2).any(|pair| pair[0] && !pair[1]), "trying again can work");
    }

    #[test]
    fn impossible_plans_are_refused() {
        let plan =
            |rate| FaultPlan { rates: BTreeMap::from([(Fault::Decline, rate)]), ..FaultPlan::default() };
        assert!(Faults::new(plan(1.5)).is_err() && Faults::new(plan(f64::NAN)).is_err());
        assert!(Faults::new(FaultPlan { hold_seconds: -1.0, ..FaultPlan::default() }).is_err());
        assert!(Faults::new(plan(1.0)).is_ok());
    }
}
