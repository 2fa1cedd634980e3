//! The circuit breaker of one server: after enough failures in a row it is left alone, then one request tries, and
//! another one if that takes too long.

use crate::config::BreakerSpec;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Closed (all may pass), open (none), half open (one).
pub(crate) struct Breaker {
    spec: BreakerSpec,
    began: Instant,
    failures: AtomicU32,
    /// Milliseconds after `began` until which none may pass; 0 while closed.
    open_until: AtomicU64,
    /// Milliseconds after `began` at which the last one began to try; 0 if none tries.
    trying: AtomicU64,
    /// Milliseconds after `began` at which a copy last looked.
    looked: AtomicU64,
    opened: AtomicU64,
}

/// Whether a request may pass.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Pass {
    /// Yes.
    Closed,
    /// Yes, as the one that tries.
    Trial,
    /// Yes, as a copy that looks whether the server is well, because no user comes to try.
    Look,
    /// No, for this long.
    Open(Duration),
}

impl Breaker {
    pub(crate) fn new(spec: BreakerSpec) -> Self {
        Self {
            spec,
            began: Instant::now(),
            failures: AtomicU32::new(0),
            open_until: AtomicU64::new(0),
            trying: AtomicU64::new(0),
            looked: AtomicU64::new(0),
            opened: AtomicU64::new(0),
        }
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.began).as_millis()).unwrap_or(u64::MAX)
    }

    /// Asks for one request. Without `may_try` it is none that tries.
    pub(crate) fn pass(&self, now: Instant, may_try: bool) -> Pass {
        let until = self.open_until.load(Relaxed);
        if until == 0 {
            return Pass::Closed;
        }
        let now = self.millis(now);
        if now < until {
            return Pass::Open(Duration::from_millis(until - now));
        }
        if !may_try {
            return self.look(now, until);
        }
        let trying = self.trying.load(Relaxed);
        // It may be a slow upload, and tell nothing for long: then another tries beside it.
        let is_free = trying == 0 || now.saturating_sub(trying) >= self.spec.open_millis;
        match is_free && self.trying.compare_exchange(trying, now.max(1), Relaxed, Relaxed).is_ok() {
            true => Pass::Trial,
            false => Pass::Open(Duration::from_millis(self.spec.open_millis)),
        }
    }

    /// In mode `shadow` no user comes to try: after as long again, and no more often, a copy may look.
    fn look(&self, now: u64, until: u64) -> Pass {
        let looked = self.looked.load(Relaxed);
        let is_due = now >= until.max(looked).saturating_add(self.spec.open_millis);
        match is_due && self.looked.compare_exchange(looked, now, Relaxed, Relaxed).is_ok() {
            true => Pass::Look,
            false => Pass::Open(Duration::from_millis(self.spec.open_millis)),
        }
    }

    /// A request was answered. Only the one that tries closes it: what was sent before it opened, and is answered late,
    /// tells nothing about now.
    pub(crate) fn good(&self, pass: Pass) {
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
        if matches!(pass, Pass::Trial | Pass::Look) {
            self.open_until.store(0, Relaxed);
            self.trying.store(0, Relaxed);
        }
    }

    /// A request failed.
    pub(crate) fn bad(&self, pass: Pass, now: Instant) {
        if self.spec.failures == 0 {
            return;
        }
        let failures = self.failures.fetch_add(1, Relaxed).saturating_add(1);
        let opens = match self.open_until.load(Relaxed) {
            // Also for one that tried long ago, if another one was answered meanwhile.
            0 => failures >= self.spec.failures,
            _ => pass == Pass::Trial,
        };
        if opens {
            self.open_until.store((self.millis(now) + self.spec.open_millis).max(1), Relaxed);
            self.opened.fetch_add(1, Relaxed);
        }
        self.let_go(pass);
    }

    /// A request ended without telling anything about the server.
    pub(crate) fn let_go(&self, pass: Pass) {
        if pass == Pass::Trial {
            self.trying.store(0, Relaxed);
        }
    }

    /// `closed`, `open` or `half-open`, and how often it opened.
    pub(crate) fn state(&self, now: Instant) -> (&'static str, u64) {
        let until = self.open_until.load(Relaxed);
        let state = match until {
            0 => "closed",
            until if self.millis(now) < until => "open",
            _ => "half-open",
        };
        (state, self.opened.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_failures_in_a_row_and_lets_one_try() {
        let breaker = Breaker::new(BreakerSpec { failures: 3, open_millis: 1_000 });
        let start = breaker.began;
        let at = |millis| start + Duration::from_millis(millis);
        breaker.bad(Pass::Closed, at(0));
        breaker.bad(Pass::Closed, at(1));
        breaker.good(Pass::Closed);
        for n in 0..3 {
            assert_eq!(breaker.pass(at(10), true), Pass::Closed, "after {n} failures in a row");
            breaker.bad(Pass::Closed, at(10));
        }
        assert_eq!(breaker.pass(at(11), true), Pass::Open(Duration::from_millis(999)));
        // A request that was under way when it opened does not open it for longer.
        breaker.bad(Pass::Closed, at(500));
        // Nor does one that is answered at last close it.
        breaker.good(Pass::Closed);
        assert!(matches!(breaker.pass(at(501), true), Pass::Open(_)), "a late answer is no trial");
        assert!(matches!(breaker.pass(at(1_010), false), Pass::Open(_)), "a copy does not try");
        assert_eq!(breaker.pass(at(1_010), true), Pass::Trial);
        assert!(matches!(breaker.pass(at(1_010), true), Pass::Open(_)), "only one tries");
        breaker.bad(Pass::Trial, at(1_020));
        assert!(matches!(breaker.pass(at(1_500), true), Pass::Open(_)), "it failed: open again");
        assert_eq!(breaker.pass(at(2_020), true), Pass::Trial);
        breaker.let_go(Pass::Trial);
        assert_eq!(breaker.pass(at(2_021), true), Pass::Trial, "the one that tried went away: another may");
        breaker.good(Pass::Trial);
        assert_eq!(breaker.pass(at(2_022), true), Pass::Closed);
        assert_eq!(breaker.state(at(2_022)), ("closed", 2));
    }

    #[test]
    fn a_trial_that_takes_long_keeps_nobody_else_from_trying() {
        let breaker = Breaker::new(BreakerSpec { failures: 1, open_millis: 1_000 });
        let start = breaker.began;
        let at = |millis| start + Duration::from_millis(millis);
        breaker.bad(Pass::Closed, at(0));
        assert_eq!(breaker.pass(at(1_000), true), Pass::Trial);
        assert!(matches!(breaker.pass(at(1_999), true), Pass::Open(_)), "it has its time");
        assert_eq!(breaker.pass(at(2_000), true), Pass::Trial, "a slow upload, perhaps: another tries");
        assert!(matches!(breaker.pass(at(2_001), true), Pass::Open(_)), "and no third");
        breaker.bad(Pass::Trial, at(2_100));
        assert!(matches!(breaker.pass(at(3_099), true), Pass::Open(_)), "the first one failed: open again");
        breaker.good(Pass::Trial);
        assert_eq!(breaker.pass(at(3_100), true), Pass::Closed, "the second one was answered");
        breaker.bad(Pass::Closed, at(3_200));
        assert_eq!(breaker.state(at(3_200)), ("open", 3));
    }

    #[test]
    fn a_late_failure_of_a_trial_opens_no_breaker_that_another_closed() {
        let breaker = Breaker::new(BreakerSpec { failures: 2, open_millis: 1_000 });
        let start = breaker.began;
        let at = |millis| start + Duration::from_millis(millis);
        breaker.bad(Pass::Closed, at(0));
        breaker.bad(Pass::Closed, at(0));
        assert_eq!(breaker.pass(at(1_000), true), Pass::Trial);
        assert_eq!(breaker.pass(at(2_000), true), Pass::Trial);
        breaker.good(Pass::Trial);
        breaker.bad(Pass::Trial, at(60_000));
        assert_eq!(breaker.state(at(60_000)), ("closed", 1), "one failure in a row, of two");
        breaker.bad(Pass::Closed, at(60_001));
        assert_eq!(breaker.state(at(60_001)), ("open", 2));
    }

    #[test]
    fn where_no_user_comes_to_try_a_copy_looks_now_and_then_and_closes_it() {
        let breaker = Breaker::new(BreakerSpec { failures: 1, open_millis: 1_000 });
        let start = breaker.began;
        let at = |millis| start + Duration::from_millis(millis);
        breaker.bad(Pass::Closed, at(0));
        assert!(matches!(breaker.pass(at(1_999), false), Pass::Open(_)), "users have the first turn");
        assert_eq!(breaker.pass(at(2_000), false), Pass::Look);
        assert!(matches!(breaker.pass(at(2_999), false), Pass::Open(_)), "one, for as long as it may take");
        assert_eq!(breaker.pass(at(2_999), true), Pass::Trial, "it is in no user's way");
        breaker.let_go(Pass::Trial);
        assert_eq!(breaker.pass(at(3_000), false), Pass::Look, "the first one told nothing");
        breaker.good(Pass::Look);
        assert_eq!(breaker.pass(at(3_001), false), Pass::Closed);
        assert_eq!(breaker.state(at(3_001)), ("closed", 1));
    }

    #[test]
    fn without_a_number_it_never_opens() {
        let breaker = Breaker::new(BreakerSpec { failures: 0, open_millis: 1_000 });
        for _ in 0..100 {
            breaker.bad(Pass::Closed, breaker.began);
        }
        assert_eq!(breaker.pass(breaker.began, true), Pass::Closed);
    }
}
