//! One route's copies: what became of each, and what was learned from them. Outlives changes of the table.

use super::proof;
use crate::diff::redact;
use crate::groups::{Group, Groups, Judged};
use crate::noise::{Noise, NoisySpot};
use crate::side::Side;
use crate::traffic::RouteTraffic;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// Why a request was not compared. Every request of a shadowed route is either compared or counted under one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skipped {
    /// Not in the share that is copied.
    Sampling,
    /// The queue of the route is full.
    QueueFull,
    /// The memory of all copies is full.
    Budget,
    /// The request's body is longer than what is copied.
    BodyTooLarge,
    /// A write, and the route declares no dry run.
    WriteNotDryRun,
    /// A write, and no answer has confirmed yet that it was a dry run; one copy is trying.
    DryRunUnproven,
    /// A write, and Banyan's side answered one without confirming that it was a dry run.
    DryRunRefused,
    /// A write that Banyan answered: the old shop is never written to by a copy.
    WriteToLegacy,
    /// A method that is never copied.
    Method,
    /// A connection that becomes something else.
    Upgrade,
    /// A request for a part, or on a condition that only one side can know.
    Conditional,
    /// It is itself a copy.
    Loop,
    /// The side that answers broke off, so there is nothing to compare with.
    UserAnswerFailed,
    /// The user went away.
    UserGone,
    /// The user's answer is longer than what is compared.
    UserAnswerTooLarge,
    /// An endless stream.
    Streaming,
    /// The other side has room for users only.
    UpstreamBusy,
    /// The other side cannot be reached.
    UpstreamDown,
    /// The other side took too long.
    Timeout,
    /// The other side broke off or sent what is no HTTP.
    BrokenAnswer,
    /// The other side's answer is longer than what is compared.
    AnswerTooLarge,
    /// The two answers cannot be judged within the limits.
    Unjudged,
    /// The gateway is stopping.
    Stopping,
}

/// Every reason, in the order of the enum.
pub const SKIPPED: [Skipped; 23] = [
    Skipped::Sampling,
    Skipped::QueueFull,
    Skipped::Budget,
    Skipped::BodyTooLarge,
    Skipped::WriteNotDryRun,
    Skipped::DryRunUnproven,
    Skipped::DryRunRefused,
    Skipped::WriteToLegacy,
    Skipped::Method,
    Skipped::Upgrade,
    Skipped::Conditional,
    Skipped::Loop,
    Skipped::UserAnswerFailed,
    Skipped::UserGone,
    Skipped::UserAnswerTooLarge,
    Skipped::Streaming,
    Skipped::UpstreamBusy,
    Skipped::UpstreamDown,
    Skipped::Timeout,
    Skipped::BrokenAnswer,
    Skipped::AnswerTooLarge,
    Skipped::Unjudged,
    Skipped::Stopping,
];

impl Skipped {
    /// The word in answers and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sampling => "sampling",
            Self::QueueFull => "queue-full",
            Self::Budget => "budget",
            Self::BodyTooLarge => "body-too-large",
            Self::WriteNotDryRun => "write-not-dry-run",
            Self::DryRunUnproven => "dry-run-unproven",
            Self::DryRunRefused => "dry-run-refused",
            Self::WriteToLegacy => "write-to-legacy",
            Self::Method => "method",
            Self::Upgrade => "upgrade",
            Self::Conditional => "conditional",
            Self::Loop => "loop",
            Self::UserAnswerFailed => "user-answer-failed",
            Self::UserGone => "user-gone",
            Self::UserAnswerTooLarge => "user-answer-too-large",
            Self::Streaming => "streaming",
            Self::UpstreamBusy => "upstream-busy",
            Self::UpstreamDown => "upstream-down",
            Self::Timeout => "timeout",
            Self::BrokenAnswer => "broken-answer",
            Self::AnswerTooLarge => "answer-too-large",
            Self::Unjudged => "unjudged",
            Self::Stopping => "stopping",
        }
    }
}

/// What is known about one route's answers, kept across restarts.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Known {
    /// The route's name.
    pub route: String,
    /// Groups of mismatches.
    pub groups: Groups,
    /// Noise of the old shop.
    pub noise: Noise,
    /// What is asked where a write was not known to be only pretended, the latest last: see `proof.rs`.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "one_or_many")]
    pub refused: Vec<String>,
    /// What is asked where a write was being tried when this was last stored. What came of it nobody knows any more.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tried: BTreeSet<String>,
    /// What is asked where a write is being tried now.
    #[serde(skip)]
    pub trying: BTreeSet<String>,
}

/// Most sides of a route that are remembered as refused: it seldom leads to more than two.
const REFUSED_MAX: usize = 32;

/// Earlier versions kept only the last one, without a list.
fn one_or_many<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Kept {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Kept::deserialize(from)? {
        Kept::One(one) => vec![one],
        Kept::Many(many) => many,
    })
}

/// One route's copies.
pub struct Lane {
    offered: AtomicU64,
    compared: AtomicU64,
    equal: AtomicU64,
    mismatched: AtomicU64,
    noisy: AtomicU64,
    ignored: AtomicU64,
    skipped: [AtomicU64; SKIPPED.len()],
    asked: AtomicU64,
    errors: AtomicU64,
    asked_again: AtomicU64,
    pub(super) queued: AtomicUsize,
    pub(super) under_way: AtomicUsize,
    pub(super) times: RouteTraffic,
    /// Of requests that both sides answered, how long each took.
    pairs: RouteTraffic,
    known: Mutex<Known>,
    dirty: AtomicBool,
    /// What is known of each side that was asked, by what is asked there.
    proofs: Mutex<BTreeMap<String, Weak<proof::Known>>>,
}

/// A route's copies, for people.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ShadowReport {
    /// The route.
    pub route: String,
    /// Requests that came while it was shadowed.
    pub offered: u64,
    /// Pairs of answers that were compared: `equal` and `mismatched`.
    pub compared: u64,
    /// Pairs without a difference that counts.
    pub equal: u64,
    /// Pairs with one.
    pub mismatched: u64,
    /// Equal pairs that differ only in noise.
    pub noisy: u64,
    /// Equal pairs that differ in something that a person ignores.
    pub ignored: u64,
    /// Requests that were not compared, by reason. With `compared`, `queued` and `under_way` it adds up to `offered`.
    pub skipped: BTreeMap<&'static str, u64>,
    /// Copies that were sent to the other side.
    pub asked: u64,
    /// Of these, errors.
    pub errors: u64,
    /// How often the old shop was asked again to learn its noise.
    pub asked_again: u64,
    /// Copies that wait.
    pub queued: usize,
    /// Copies whose request or answer is on its way.
    pub under_way: usize,
    /// Half of the heads of copies' answers came within this time.
    pub p50_micros: u64,
    /// 99 of 100 did.
    pub p99_micros: u64,
    /// What is hidden as noise now.
    pub noise: Vec<NoisySpot>,
}

impl Default for Lane {
    fn default() -> Self {
        Self {
            offered: AtomicU64::new(0),
            compared: AtomicU64::new(0),
            equal: AtomicU64::new(0),
            mismatched: AtomicU64::new(0),
            noisy: AtomicU64::new(0),
            ignored: AtomicU64::new(0),
            skipped: Default::default(),
            asked: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            asked_again: AtomicU64::new(0),
            queued: AtomicUsize::new(0),
            under_way: AtomicUsize::new(0),
            times: RouteTraffic::new(1),
            pairs: RouteTraffic::new(1),
            known: Mutex::default(),
            dirty: AtomicBool::new(false),
            proofs: Mutex::default(),
        }
    }
}

impl Lane {
    /// A lane that knows what was known before.
    pub(crate) fn with(mut known: Known) -> Self {
        let tried = std::mem::take(&mut known.tried);
        let lane = Self { known: Mutex::new(known), ..Self::default() };
        for asks in tried {
            let route = lane.known().route.clone();
            tracing::warn!(
                route,
                "the gateway ended before it knew what came of the first copied write: no more are copied until its evidence is restarted"
            );
            lane.refuse(&asks, true);
        }
        lane
    }

    pub(crate) fn offer(&self) -> u64 {
        self.offered.fetch_add(1, Relaxed)
    }

    pub(crate) fn skip(&self, why: Skipped) {
        self.skipped[why as usize].fetch_add(1, Relaxed);
    }

    /// Counts a copy that was sent, and whether what came of it was an error.
    pub(crate) fn asked(&self, error: bool) {
        self.asked.fetch_add(1, Relaxed);
        self.errors.fetch_add(u64::from(error), Relaxed);
    }

    pub(crate) fn asked_again(&self) {
        self.asked_again.fetch_add(1, Relaxed);
    }

    /// Counts a pair of answers.
    pub(crate) fn judged(&self, outcome: Outcome) {
        self.compared.fetch_add(1, Relaxed);
        let counter = match outcome {
            Outcome::Mismatched => &self.mismatched,
            Outcome::Equal | Outcome::Noisy | Outcome::Ignored => &self.equal,
        };
        counter.fetch_add(1, Relaxed);
        match outcome {
            Outcome::Noisy => self.noisy.fetch_add(1, Relaxed),
            Outcome::Ignored => self.ignored.fetch_add(1, Relaxed),
            Outcome::Equal | Outcome::Mismatched => 0,
        };
    }

    /// Changes what is known. Held for as long as a group or a count takes, and never on a user's path.
    pub(crate) fn learn<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        let result = change(&mut self.known());
        self.dirty.store(true, Relaxed);
        result
    }

    /// What is to be stored, if anything changed since the last time.
    pub(crate) fn unsaved(&self) -> Option<Vec<u8>> {
        let mut known = self.known();
        if known.tried != known.trying {
            known.tried = known.trying.clone();
            self.dirty.store(true, Relaxed);
        }
        if !self.dirty.swap(false, Relaxed) {
            return None;
        }
        serde_json::to_vec(&*known).ok()
    }

    /// It could not be stored: try again.
    pub(crate) fn still_unsaved(&self) {
        // What is in the file now nobody knows.
        self.known().tried.clear();
        self.dirty.store(true, Relaxed);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The groups of mismatches, the ones that count first.
    #[must_use]
    pub fn groups(&self) -> Vec<Group> {
        self.known().groups.list()
    }

    pub(super) fn proofs(&self) -> MutexGuard<'_, BTreeMap<String, Weak<proof::Known>>> {
        self.proofs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a side that is asked so must get no write.
    pub(crate) fn has_refused(&self, asks: &str) -> bool {
        self.known().refused.iter().any(|refused| refused == asks)
    }

    /// Keeps that a side that is asked so must get no write, or that it may be tried. Says nothing about others: they may be
    /// what the table leads to by now, or some day again.
    pub(crate) fn refuse(&self, asks: &str, refused: bool) {
        if self.has_refused(asks) == refused {
            return;
        }
        self.learn(|known| {
            known.refused.retain(|one| one != asks);
            if refused {
                let more = (known.refused.len() + 1).saturating_sub(REFUSED_MAX);
                known.refused.drain(..more);
                known.refused.push(asks.to_owned());
            }
        });
    }

    /// A write is about to be tried where this is asked. Whether that must be stored first: not if the file says so still.
    pub(super) fn begin_try(&self, asks: &str) -> bool {
        let mut known = self.known();
        known.trying.insert(asks.to_owned());
        !known.tried.contains(asks)
    }

    /// What came of it is known. The file may go on to say that it is being tried until it is stored the next time: a side that
    /// refuses every write would otherwise cost the disk two writes each.
    pub(super) fn end_try(&self, asks: &str) {
        self.known().trying.remove(asks);
    }

    /// Judges a group; nothing if there is none of that id.
    pub(crate) fn judge(&self, id: &str, judged: Judged) -> Option<Group> {
        self.learn(|known| known.groups.judge(id, judged).cloned())
    }

    /// The numbers of now.
    #[must_use]
    pub fn report(&self, route: &str) -> ShadowReport {
        // Read in an order that never shows more outcomes than requests: outcomes first.
        let skipped = SKIPPED.iter().map(|why| (why.as_str(), self.skipped[*why as usize].load(Relaxed)));
        let skipped = skipped.filter(|(_, count)| *count > 0).collect();
        let times = self.times.side(Side::Banyan);
        ShadowReport {
            route: route.to_owned(),
            compared: self.compared.load(Relaxed),
            equal: self.equal.load(Relaxed),
            mismatched: self.mismatched.load(Relaxed),
            noisy: self.noisy.load(Relaxed),
            ignored: self.ignored.load(Relaxed),
            skipped,
            asked: self.asked.load(Relaxed),
            errors: self.errors.load(Relaxed),
            asked_again: self.asked_again.load(Relaxed),
            queued: self.queued.load(Relaxed),
            under_way: self.under_way.load(Relaxed),
            p50_micros: times.p50_micros,
            p99_micros: times.p99_micros,
            noise: self.known().noise.spots(),
            offered: self.offered.load(Relaxed),
        }
    }

    /// Takes the times to the heads of both answers to one request.
    pub(crate) fn paired(&self, answers: [(Side, StatusCode, Duration); 2]) {
        for (side, status, took) in answers {
            self.pairs.answered(0, side, status.as_u16(), took);
        }
    }

    /// How long a side took for requests that both sides answered: upper bounds in microseconds, and counts.
    pub(crate) fn paired_times(&self, side: Side) -> Vec<(u64, u64)> {
        self.pairs.side(side).histogram
    }

    /// What the rules of evidence count: compared, mismatched, asked, errors. A pair that could not be judged, or whose
    /// copy is longer than what is compared although the user's answer is not, counts as a mismatch.
    pub(crate) fn counts(&self) -> [u64; 4] {
        let [compared, mismatched, asked, errors] =
            [&self.compared, &self.mismatched, &self.asked, &self.errors].map(|count| count.load(Relaxed));
        // What could not be judged must not count as nothing: a route would be promoted on the rest.
        let doubtful = [Skipped::Unjudged, Skipped::AnswerTooLarge];
        let doubtful: u64 = doubtful.iter().map(|why| self.skipped[*why as usize].load(Relaxed)).sum();
        [compared + doubtful, mismatched + doubtful, asked, errors]
    }
}

/// What a comparison came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// No difference.
    Equal,
    /// Only noise.
    Noisy,
    /// Only what a person ignores.
    Ignored,
    /// A difference that counts.
    Mismatched,
}

/// The path of a request as it may be kept.
pub(super) fn shown_path(path_and_query: &str) -> String {
    redact::query(path_and_query, 300)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_refusal_that_earlier_versions_kept_is_read() {
        let mut known = serde_json::to_value(Known::default()).expect("JSON");
        known["refused"] = "this".into();
        let lane = Lane::with(serde_json::from_value(known).expect("is read"));
        assert!(lane.has_refused("this") && !lane.has_refused("that"));
    }

    #[test]
    fn a_route_that_was_led_to_many_sides_remembers_the_latest_that_were_refused() {
        let lane = Lane::default();
        for side in 0..100 {
            lane.refuse(&side.to_string(), true);
            lane.refuse("1", true);
        }
        let refused = |side: u32| lane.has_refused(&side.to_string());
        assert_eq!(lane.known().refused.len(), REFUSED_MAX);
        assert!(refused(99) && refused(70) && !refused(50));
    }

    #[test]
    fn every_reason_has_its_own_place_and_word() {
        for (at, why) in SKIPPED.iter().enumerate() {
            assert_eq!(*why as usize, at);
        }
        let words: std::collections::BTreeSet<_> = SKIPPED.iter().map(|why| why.as_str()).collect();
        assert_eq!(words.len(), SKIPPED.len());
    }
}
