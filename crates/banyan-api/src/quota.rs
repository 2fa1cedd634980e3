//! How much one member's token may write.
//!
//! Buckets that fill by themselves, found by a keyed hash of the member: no list of members, no lock, and the same memory
//! whoever asks. Each member has two buckets, shared with whoever falls into them too, and is turned away when both are
//! empty: to be harmed by others, somebody would have to share both with two of them.

use crate::auth::Principal;
use crate::problem::Problem;
use http::StatusCode;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Buckets in each of the two rows: half a MiB a row.
const BUCKETS: usize = 1 << 16;
/// Seconds of its own pace that a member may write at once.
const BURST_SECONDS: u64 = 5;
/// Idempotency keys of one member's token in an hour, each of which is remembered for a day; the same at once after a rest.
const KEYS_PER_HOUR: u64 = 2_000;
/// Reservations that one member's token makes in an hour, which is as long as it may hold them; the same at once after a rest.
const RESERVATIONS_PER_HOUR: u64 = 100;

/// What is counted of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cost {
    /// A write, which may bring an idempotency key.
    Write { keyed: bool },
    /// A reservation, which brings one.
    Reservation,
}

/// What members' tokens have left.
pub(crate) struct Quota {
    began: Instant,
    hasher: RandomState,
    writes: Buckets,
    keys: Buckets,
    reservations: Buckets,
}

/// Buckets of one kind. Each is the instant, in microseconds since the start, at which it is full again.
struct Buckets {
    full_at: Box<[AtomicU64]>,
    /// Microseconds in which one more fits.
    every: u64,
    /// How far ahead of the present a bucket may be.
    ahead_max: u64,
}

impl Quota {
    /// Lets each member write so often; `None` if there is no limit.
    pub(crate) fn new(writes_per_second: u32) -> Option<Self> {
        let rate = u64::from(writes_per_second);
        (rate > 0).then(|| Self {
            began: Instant::now(),
            hasher: RandomState::new(),
            writes: Buckets::new(rate * BURST_SECONDS, 1_000_000 * BURST_SECONDS),
            keys: Buckets::new(KEYS_PER_HOUR, 3_600_000_000),
            reservations: Buckets::new(RESERVATIONS_PER_HOUR, 3_600_000_000),
        })
    }

    /// Counts a request of `principal`. Keys of the shop's own are not counted.
    pub(crate) fn admit(&self, principal: &Principal, cost: Cost) -> Result<(), Problem> {
        let Some(member) = &principal.member else { return Ok(()) };
        self.admit_at(self.began.elapsed(), member.as_str(), cost).map_err(too_many)
    }

    /// How long to wait, if there is no room now.
    fn admit_at(&self, now: Duration, member: &str, cost: Cost) -> Result<(), Duration> {
        let now = now.as_micros() as u64;
        let hash = self.hasher.hash_one(member);
        self.writes.take(now, hash)?;
        match cost {
            Cost::Write { keyed: false } => Ok(()),
            Cost::Write { keyed: true } => self.keys.take(now, hash),
            Cost::Reservation => {
                self.keys.take(now, hash)?;
                self.reservations.take(now, hash)
            }
        }
    }
}

impl Buckets {
    /// So many at once, and again in `micros`.
    fn new(room: u64, micros: u64) -> Self {
        let every = micros / room;
        let full_at = (0..2 * BUCKETS).map(|_| AtomicU64::new(0)).collect();
        Self { full_at, every, ahead_max: every * (room - 1) }
    }

    /// Takes one from each of the two buckets that has one.
    fn take(&self, now: u64, hash: u64) -> Result<(), Duration> {
        let low = hash as usize % BUCKETS;
        let high = (hash >> 32) as usize % BUCKETS;
        let places = [low, BUCKETS + high];
        let waits = places.map(|place| {
            let next = |full_at: u64| {
                let from = full_at.max(now);
                (from - now <= self.ahead_max).then(|| from + self.every)
            };
            // Nothing rests on the order in which others see it.
            let taken = self.full_at[place].fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
            taken.err().map(|full_at| full_at - now - self.ahead_max)
        });
        match waits {
            [Some(one), Some(other)] => Err(Duration::from_micros(one.min(other))),
            _ => Ok(()),
        }
    }
}

fn too_many(wait: Duration) -> Problem {
    let detail = "This member asks too much at once. Nothing was decided; wait as long as Retry-After says.";
    // At least one, and rounded up: whoever waits so long finds room.
    let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
    let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", detail);
    Problem { retry_after: Some(seconds), ..problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITE: Cost = Cost::Write { keyed: false };

    fn many(quota: &Quota, at: Duration, member: &str, cost: Cost) -> usize {
        (0..10_000).take_while(|_| quota.admit_at(at, member, cost).is_ok()).count()
    }

    #[test]
    fn a_member_writes_in_bursts_and_at_a_pace_and_others_are_not_held_up() {
        let quota = Quota::new(20).expect("there is a limit");
        assert_eq!(many(&quota, Duration::ZERO, "m1", WRITE), 100);
        let wait = quota.admit_at(Duration::ZERO, "m1", WRITE).expect_err("nothing is left");
        assert_eq!(wait, Duration::from_millis(50));
        assert_eq!(many(&quota, wait, "m1", WRITE), 1, "whoever waits as long as is said finds room");
        assert_eq!(many(&quota, Duration::from_secs(1), "m1", WRITE), 19);
        assert_eq!(many(&quota, Duration::from_secs(100), "m1", WRITE), 100, "and no more after a long rest");
        for n in 0..1_000 {
            quota.admit_at(Duration::from_secs(100), &format!("other-{n}"), WRITE).expect("it has its own");
        }
    }

    #[test]
    fn keys_and_reservations_have_a_limit_for_the_hour() {
        let quota = Quota::new(1_000).expect("there is a limit");
        assert_eq!(many(&quota, Duration::ZERO, "m1", Cost::Reservation), 100);
        assert_eq!(many(&quota, Duration::from_secs(36), "m1", Cost::Reservation), 1);
        assert_eq!(many(&quota, Duration::from_secs(36), "m2", Cost::Write { keyed: true }), 2_000);
        assert!(
            many(&quota, Duration::from_secs(36), "m2", WRITE) > 1_000,
            "without a key nothing is remembered"
        );
    }

    #[test]
    fn no_limit_is_no_quota() {
        assert!(Quota::new(0).is_none());
    }
}
