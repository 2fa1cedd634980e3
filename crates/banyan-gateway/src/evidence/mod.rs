//! When a route may go a step further, and when it must go back: pure, over counts and the time.
//!
//! **Forward** is slow and sure. Requests are looked at in batches. A batch is judged once, when it is large enough, and
//! it holds only if the upper bounds of the mismatch rate, the error rate and the latency ratio are all within their
//! limits. Whoever looks again and again is lucky some day, so looks are not free: the first may be wrong with half of
//! the stated doubt, the second with a sixth, the n-th with 1/(n(n+1)) of it. All looks of a step together are wrong at
//! most as often as stated. That all limits must hold costs nothing further: to be wrong, the one that is broken must
//! look as if it held.
//!
//! Users are judged apart from copies. While a share of them is answered by Banyan, their errors have a bound of their own,
//! forward and back: copies are many and mostly reads, and would hide that every write of the few users fails.
//!
//! **Back** is fast. A short sliding window is looked at every second, and the route goes back to where no user is
//! served by Banyan as soon as a lower bound is beyond its limit. After that it stays there for a while, longer each time.
//!
//! What the bounds assume is that requests fail independently. A fault that comes in bursts is seen sooner or later than
//! stated, not at the stated odds; docs/shadow.md says what to do about that.

pub mod bounds;

pub use bounds::{lower_bound, quantile_lower, quantile_upper, requests_needed, upper_bound};

use crate::canary::Share;
use crate::config::Mode;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// How sure it must be that a limit is broken before a route goes back. It is looked at every second, so this is strict:
/// one wrong step back in weeks.
const BREAK_ALPHA: f64 = 1e-5;
/// Fewest failures that can take a route back.
const BREAK_FAILURES_MIN: u64 = 3;
/// Longest time that a route is held back, as a multiple of the first.
const HOLD_TIMES_MAX: u64 = 16;
/// The quantile of the latency rule.
const QUANTILE: f64 = 0.99;

/// The rules of a route.
#[derive(Clone, Debug, PartialEq)]
pub struct EvidenceRules {
    /// Fewest requests of a batch.
    pub requests: u64,
    /// Largest rate of answers that differ. 0: not one may differ, and the batch's size says what that proves.
    pub mismatch_max: f64,
    /// Largest rate of errors on Banyan's side. 0: as above.
    pub error_max: f64,
    /// Largest ratio of Banyan's p99 to the old shop's.
    pub p99_ratio_max: Option<f64>,
    /// How sure, such as 0.95.
    pub confidence: f64,
    /// The shares that are gone through.
    pub steps: Vec<Share>,
    /// How long a route is held after it went back, in milliseconds; doubles each time.
    pub hold_millis: u64,
    /// The window that a step back is judged by, in milliseconds.
    pub window_millis: u64,
}

/// Counts since the start of the process; two of them make a span.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Pairs of answers that were compared.
    pub compared: u64,
    /// Of these, how many differ in something that is neither ignored nor noise.
    pub mismatched: u64,
    /// Banyan's answers, to users and to copies.
    pub asked: u64,
    /// Of these, errors: 5xx where the old shop had none to compare with or another status, and no answer at all.
    pub errors: u64,
    /// Of `asked`, those that were users'.
    pub users: u64,
    /// Of these, errors.
    pub user_errors: u64,
    /// Time to the head of Banyan's answers: upper bounds in microseconds, and counts. Of pairs only, so that both sides
    /// were asked the same.
    pub banyan: Vec<(u64, u64)>,
    /// The same of the old shop's, in the same pairs.
    pub legacy: Vec<(u64, u64)>,
    /// The same of Banyan's answers to users, copied or not.
    pub user_banyan: Vec<(u64, u64)>,
    /// The same of the old shop's.
    pub user_legacy: Vec<(u64, u64)>,
}

impl Totals {
    /// What was added since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            compared: self.compared.saturating_sub(earlier.compared),
            mismatched: self.mismatched.saturating_sub(earlier.mismatched),
            asked: self.asked.saturating_sub(earlier.asked),
            errors: self.errors.saturating_sub(earlier.errors),
            users: self.users.saturating_sub(earlier.users),
            user_errors: self.user_errors.saturating_sub(earlier.user_errors),
            banyan: less(&self.banyan, &earlier.banyan),
            legacy: less(&self.legacy, &earlier.legacy),
            user_banyan: less(&self.user_banyan, &earlier.user_banyan),
            user_legacy: less(&self.user_legacy, &earlier.user_legacy),
        }
    }
}

fn less(now: &[(u64, u64)], earlier: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let earlier: BTreeMap<u64, u64> = earlier.iter().copied().collect();
    let left = now.iter().map(|(bound, count)| {
        (*bound, count.saturating_sub(earlier.get(bound).copied().unwrap_or_default()))
    });
    left.filter(|(_, count)| *count > 0).collect()
}

/// One limit, and what is known about it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// `mismatch`, `error`, `user-error` (while users are answered by Banyan) or `p99-ratio`.
    pub rule: &'static str,
    /// What was seen: a rate, or a ratio.
    pub seen: f64,
    /// The bound: with the confidence of this look it is at most this. Nothing if there are too few requests.
    pub at_most: Option<f64>,
    /// The limit.
    pub limit: f64,
    /// Whether it holds.
    pub holds: bool,
}

/// Where a route stands, for its rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Its mode.
    pub mode: Mode,
    /// Banyan's share; everything in mode `banyan`, nothing in `legacy` and `shadow`.
    pub share: Share,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// One step on: to this share.
    Promote {
        /// The share.
        to: Share,
        /// Why, for the journal.
        why: String,
    },
    /// Back to mode `shadow`.
    Back {
        /// Why, for the journal.
        why: String,
    },
}

/// How a route's evidence stands, for people.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Standing {
    /// `waiting`, `held` (back, and waiting for its time to be over), `last-step`, or `off` (nothing to decide here).
    pub state: &'static str,
    /// Requests of this batch that count: compared, or users', whichever is further behind.
    pub have: u64,
    /// How many it needs.
    pub need: u64,
    /// Which look at this step comes next, from 1.
    pub look: u32,
    /// The confidence of that look.
    pub confidence: f64,
    /// What is known so far in this batch.
    pub findings: Vec<Finding>,
    /// Until when it is held, in milliseconds since 1970.
    pub held_until: Option<u64>,
    /// How often it went back.
    pub backs: u32,
}

/// The evidence of one route over time.
#[derive(Clone, Debug, Default)]
pub struct Course {
    /// What it is about: the route's side, rewriting, limits and rules, in a form that only says whether it is the same.
    subject: String,
    at: Option<Position>,
    /// Looks at each step. They are not forgotten when a route comes back to a step: every look costs.
    looks: BTreeMap<Position, u32>,
    batch: Totals,
    recent: VecDeque<(u64, Totals)>,
    held_until: Option<u64>,
    backs: u32,
    /// A step back was asked for, and it has not moved since.
    goes_back: bool,
    /// The old shop's p99 for users, as it was when the route was last promoted, in microseconds: an upper bound.
    rested_on: Option<u64>,
}

/// What of a course outlives the process: what it spent, and what it is held by. What it saw begins anew.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Kept {
    subject: String,
    /// Mode, share in percent, and the look that comes next there.
    looks: Vec<(Mode, f64, u32)>,
    held_until: Option<u64>,
    backs: u32,
    rested_on: Option<u64>,
}

impl Course {
    /// Whether it is about this.
    #[must_use]
    pub fn is_about(&self, subject: &str) -> bool {
        self.subject == subject
    }

    /// Says what the next counts are about. If it is something else than before, what was seen and how often it was looked at
    /// does not count for it. That the route was taken back does: it is held all the same.
    pub fn about(&mut self, subject: String) {
        if self.subject != subject {
            let held = (self.held_until, self.backs);
            *self = Self { subject, ..Self::default() };
            (self.held_until, self.backs) = held;
        }
    }

    /// The route is where evidence has nothing to say. When it comes back, it begins at nothing.
    pub fn leave(&mut self) {
        self.at = None;
        self.batch = Totals::default();
        self.recent.clear();
    }

    /// What is to be stored.
    #[must_use]
    pub fn kept(&self) -> Kept {
        let looks = self.looks.iter().map(|(at, look)| (at.mode, at.share.percent(), *look));
        Kept {
            subject: self.subject.clone(),
            looks: looks.collect(),
            held_until: self.held_until,
            backs: self.backs,
            rested_on: self.rested_on,
        }
    }

    /// The course that this was kept of.
    #[must_use]
    pub fn resumed(kept: Kept) -> Self {
        let look = |(mode, percent, look): (Mode, f64, u32)| {
            Some((Position { mode, share: Share::from_percent(percent).ok()? }, look.max(1)))
        };
        Self {
            subject: kept.subject,
            looks: kept.looks.into_iter().filter_map(look).collect(),
            held_until: kept.held_until,
            backs: kept.backs,
            rested_on: kept.rested_on,
            ..Self::default()
        }
    }

    /// Takes the counts of this moment, and says what to do. Called about once a second; what is returned is done before
    /// the next call, or asked for again.
    pub fn step(&mut self, rules: &EvidenceRules, now: u64, at: Position, totals: &Totals) -> Option<Act> {
        if self.at != Some(at) {
            // Somebody or something moved it: what was seen before says nothing about here.
            self.at = Some(at);
            self.batch = totals.clone();
            self.recent.clear();
            self.goes_back = false;
        }
        self.recent.push_back((now, totals.clone()));
        while self.recent.get(1).is_some_and(|(then, _)| now.saturating_sub(*then) >= rules.window_millis) {
            self.recent.pop_front();
        }
        if serves_users(at)
            && let Some((_, earlier)) = self.recent.front()
            && let Some(why) = broken(rules, &totals.since(earlier), self.rested_on)
        {
            // Asked for again because the table could not be changed, it is still one step back.
            if !self.goes_back {
                let times = (1_u64 << self.backs.min(16)).min(HOLD_TIMES_MAX);
                self.backs += 1;
                self.held_until = Some(now + rules.hold_millis.saturating_mul(times));
            }
            self.goes_back = true;
            return Some(Act::Back { why });
        }
        if self.held_until.is_some_and(|until| now < until) {
            // What is seen meanwhile does not count: the fault may be gone only because nobody is served.
            self.batch = totals.clone();
            return None;
        }
        self.held_until = None;
        let to = next_share(rules, at)?;
        let seen = totals.since(&self.batch);
        let look = self.look(at);
        let (have, need) = progress(rules, look, at, &seen);
        if have < need {
            return None;
        }
        let findings = findings(rules, alpha(rules, look), at, &seen);
        self.batch = totals.clone();
        self.looks.insert(at, look + 1);
        if !findings.iter().all(|finding| finding.holds) {
            return None;
        }
        let legacy = quantile_upper(&seen.user_legacy, QUANTILE, alpha(rules, look));
        self.rested_on = legacy.or(self.rested_on);
        let why = format!(
            "{} of {} differ, {} of {} are errors, {} of {} users': {}",
            seen.mismatched,
            seen.compared,
            seen.errors,
            seen.asked,
            seen.user_errors,
            seen.users,
            findings.iter().map(Finding::words).collect::<Vec<_>>().join("; ")
        );
        Some(Act::Promote { to, why })
    }

    /// How it stands.
    #[must_use]
    pub fn standing(&self, rules: &EvidenceRules, now: u64, at: Position, totals: &Totals) -> Standing {
        let seen = if self.at == Some(at) { totals.since(&self.batch) } else { Totals::default() };
        let look = self.look(at);
        let state = match next_share(rules, at) {
            _ if self.held_until.is_some_and(|until| now < until) => "held",
            Some(_) => "waiting",
            None if serves_users(at) => "last-step",
            None => "off",
        };
        let (have, need) = progress(rules, look, at, &seen);
        Standing {
            state,
            have,
            need,
            look,
            confidence: 1.0 - alpha(rules, look),
            findings: findings(rules, alpha(rules, look), at, &seen),
            held_until: self.held_until.filter(|until| now < *until),
            backs: self.backs,
        }
    }

    /// Forgets what it saw and how often it looked: the operator says that something else is running now.
    pub fn restart(&mut self, totals: &Totals) {
        let subject = std::mem::take(&mut self.subject);
        *self = Self { subject, at: self.at, batch: totals.clone(), ..Self::default() };
    }

    fn look(&self, at: Position) -> u32 {
        self.looks.get(&at).copied().unwrap_or(1)
    }
}

impl Finding {
    fn words(&self) -> String {
        match self.at_most {
            Some(bound) => format!("{} at most {bound:.5} of {} allowed", self.rule, self.limit),
            None => format!("{}: too few requests to say", self.rule),
        }
    }
}

/// The doubt that the n-th look may spend. Over all looks it adds up to what is stated: 1/(n(n+1)) telescopes to 1.
fn alpha(rules: &EvidenceRules, look: u32) -> f64 {
    let look = f64::from(look);
    (1.0 - rules.confidence) / (look * (look + 1.0))
}

/// How many requests a look needs: what the operator wants, or more if even a batch without a failure would prove too
/// little.
fn needed(rules: &EvidenceRules, look: u32) -> u64 {
    let alpha = alpha(rules, look);
    let rates = requests_needed(rules.mismatch_max, alpha).max(requests_needed(rules.error_max, alpha));
    // The ratio needs a bound of each quantile, each with half of the doubt.
    let quantile = rules.p99_ratio_max.map_or(0, |_| requests_needed(1.0 - QUANTILE, alpha / 2.0));
    rules.requests.max(rates).max(quantile)
}

/// How many requests a batch has, and how many it needs: all that were compared, or those of users, if these are further
/// behind.
fn progress(rules: &EvidenceRules, look: u32, at: Position, seen: &Totals) -> (u64, u64) {
    let all = (seen.compared.min(seen.asked), needed(rules, look));
    let users = (seen.users, users_needed(rules, look));
    let behind = |(have, need): (u64, u64)| have.min(need) as f64 / need.max(1) as f64;
    if serves_users(at) && behind(users) < behind(all) { users } else { all }
}

/// How many users' requests a look needs: as many as can prove their limit. A limit of 0 is proven by size alone, and only
/// the operator can say which.
fn users_needed(rules: &EvidenceRules, look: u32) -> u64 {
    match rules.error_max > 0.0 {
        true => requests_needed(rules.error_max, alpha(rules, look)),
        false => rules.requests,
    }
}

fn serves_users(at: Position) -> bool {
    at.share > Share::NONE
}

fn next_share(rules: &EvidenceRules, at: Position) -> Option<Share> {
    match at.mode {
        Mode::Shadow => rules.steps.first().copied(),
        Mode::Canary => rules.steps.iter().copied().find(|step| *step > at.share),
        Mode::Legacy | Mode::Banyan => None,
    }
}

fn findings(rules: &EvidenceRules, alpha: f64, at: Position, seen: &Totals) -> Vec<Finding> {
    let mut findings = vec![
        rate("mismatch", seen.mismatched, seen.compared, rules.mismatch_max, alpha),
        rate("error", seen.errors, seen.asked, rules.error_max, alpha),
    ];
    if serves_users(at) {
        findings.push(rate("user-error", seen.user_errors, seen.users, rules.error_max, alpha));
    }
    if let Some(limit) = rules.p99_ratio_max {
        let bound = quantile_upper(&seen.banyan, QUANTILE, alpha / 2.0)
            .zip(quantile_lower(&seen.legacy, QUANTILE, alpha / 2.0))
            .map(|(banyan, legacy)| ratio(banyan, legacy));
        let seen = ratio(plain(&seen.banyan), plain(&seen.legacy));
        let holds = bound.is_some_and(|bound| bound <= limit);
        findings.push(Finding { rule: "p99-ratio", seen, at_most: bound, limit, holds });
    }
    findings
}

fn rate(rule: &'static str, failed: u64, all: u64, limit: f64, alpha: f64) -> Finding {
    let bound = upper_bound(failed, all, alpha);
    let holds = if limit == 0.0 { failed == 0 && all > 0 } else { bound <= limit };
    let seen = if all == 0 { 0.0 } else { failed as f64 / all as f64 };
    Finding { rule, seen, at_most: (all > 0).then_some(bound), limit, holds }
}

/// Why a route must go back, if it must. `rested_on` is the old shop's p99 that is known from before.
fn broken(rules: &EvidenceRules, seen: &Totals, rested_on: Option<u64>) -> Option<String> {
    for (rule, failed, all, limit) in [
        ("answers that differ", seen.mismatched, seen.compared, rules.mismatch_max),
        ("errors", seen.errors, seen.asked, rules.error_max),
        ("errors of users", seen.user_errors, seen.users, rules.error_max),
    ] {
        // A limit of 0 stands for what a batch without a failure proves.
        let limit = limit.max(1.0 - (1.0 - rules.confidence).powf(1.0 / rules.requests as f64));
        let bound = lower_bound(failed, all, BREAK_ALPHA);
        if failed >= BREAK_FAILURES_MIN && bound > limit {
            return Some(format!("{rule}: {failed} of {all}, so at least {bound:.5} of {limit:.5} allowed"));
        }
    }
    let limit = rules.p99_ratio_max?;
    let least = |times| quantile_lower(times, QUANTILE, BREAK_ALPHA);
    let most = |times| quantile_upper(times, QUANTILE, BREAK_ALPHA);
    let (copied, of_users) = (most(&seen.legacy), most(&seen.user_legacy));
    // With too few times of the old shop's to say anything, what it took when enough were last seen must do: a straggler or
    // two, or a copy now and then, must not be what keeps a route from being held against anything.
    let unseen = copied.is_none() && of_users.is_none();
    let found = [
        ("p99", least(&seen.banyan), copied),
        ("p99 of users", least(&seen.user_banyan), of_users),
        ("p99 of users", least(&seen.user_banyan), rested_on.filter(|_| unseen)),
    ];
    found.into_iter().find_map(|(rule, banyan, legacy)| {
        let bound = ratio(banyan?, legacy?);
        (bound > limit).then(|| format!("{rule}: {bound:.2} times the old shop's of {limit} allowed"))
    })
}

fn ratio(banyan: u64, legacy: u64) -> f64 {
    banyan as f64 / legacy.max(1) as f64
}

fn plain(histogram: &[(u64, u64)]) -> u64 {
    let all: u64 = histogram.iter().map(|(_, count)| count).sum();
    let mut seen = 0;
    let found = histogram.iter().find(|(_, count)| {
        seen += count;
        seen as f64 >= all as f64 * QUANTILE
    });
    found.map_or(0, |(bound, _)| *bound)
}

#[cfg(test)]
mod tests;
