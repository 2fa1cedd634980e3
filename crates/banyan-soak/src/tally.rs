//! What happened in a run: counts, faults, moves, probes, and what must not have been.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Findings kept in full; more are counted.
const FINDINGS_MAX: usize = 40;

/// Shared by everybody who takes part.
pub(crate) struct Tally {
    pub(crate) began: Instant,
    seen: Mutex<Seen>,
    probed: watch::Sender<Option<Probe>>,
}

#[derive(Default)]
pub(crate) struct Seen {
    /// Writes and other deeds by kind.
    pub(crate) deeds: BTreeMap<&'static str, u64>,
    pub(crate) faults: Vec<FaultSeen>,
    pub(crate) moves: Vec<MoveSeen>,
    pub(crate) probes: Vec<Probe>,
    /// Lag of the stream in and of the sync out, milliseconds, once a second while the server answers.
    pub(crate) lags: Vec<(u64, u64)>,
    pub(crate) findings: Vec<String>,
    pub(crate) findings_more: u64,
}

/// One fault.
#[derive(Clone, Debug)]
pub(crate) struct FaultSeen {
    pub(crate) kind: &'static str,
    pub(crate) detail: String,
    /// Since the run's begin.
    pub(crate) at: Duration,
    /// From its begin until everything was let go again.
    pub(crate) lasted: Duration,
    /// From then until a change had gone there and back; none if it did not.
    pub(crate) recovered: Option<Duration>,
}

/// One move.
#[derive(Clone, Debug)]
pub(crate) struct MoveSeen {
    pub(crate) to: &'static str,
    pub(crate) at: Duration,
    pub(crate) lasted: Duration,
    /// How often it was asked for until it was done.
    pub(crate) asked: u32,
}

/// A change that was seen on the other side, or here again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    pub(crate) began: Instant,
    pub(crate) done: Instant,
    /// There and back, while Banyan leads; else one way.
    pub(crate) both_ways: bool,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), seen: Mutex::default(), probed: watch::Sender::new(None) }
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        // Counts only: what a panic left is still worth showing.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn count(&self, deed: &'static str) {
        self.add(deed, 1);
    }

    pub(crate) fn add(&self, deed: &'static str, times: u64) {
        *self.seen().deeds.entry(deed).or_insert(0) += times;
    }

    /// Notes something that must not be.
    pub(crate) fn finding(&self, what: String) {
        self.say(&format!("FINDING {what}"));
        let mut seen = self.seen();
        if seen.findings.len() < FINDINGS_MAX {
            seen.findings.push(what);
        } else {
            seen.findings_more += 1;
        }
    }

    pub(crate) fn probe(&self, probe: Probe) {
        self.seen().probes.push(probe);
        self.probed.send_replace(Some(probe));
    }

    /// Waits for a change that was made after `since` and seen after `after`. When it was seen; nothing if it is not within `limit`.
    pub(crate) async fn seen_again(
        &self,
        since: Instant,
        after: Instant,
        limit: Duration,
    ) -> Option<Instant> {
        let mut probed = self.probed.subscribe();
        let fits =
            |probe: &Option<Probe>| probe.is_some_and(|probe| probe.began >= since && probe.done >= after);
        let found = tokio::time::timeout(limit, probed.wait_for(fits)).await;
        found.ok().and_then(Result::ok).and_then(|probe| probe.map(|probe| probe.done))
    }

    /// Says on standard error what goes on, with the time.
    pub(crate) fn say(&self, what: &str) {
        eprintln!("{:>7.1} s  {what}", self.began.elapsed().as_secs_f64());
    }
}
