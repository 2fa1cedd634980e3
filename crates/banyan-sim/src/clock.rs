//! A wall clock as bad as real ones: it stands still, jumps forward by a day, and goes back.

use crate::prng::Prng;
use banyan_domain::Timestamp;

const START_MS: u64 = 1_795_780_800_000;
const SECOND_MS: u64 = 1_000;
const HOUR_MS: u64 = 3_600 * SECOND_MS;

/// The simulated clock.
#[derive(Debug)]
pub(crate) struct Clock {
    now_ms: u64,
}

impl Clock {
    pub(crate) const fn new() -> Self {
        Self { now_ms: START_MS }
    }

    pub(crate) const fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now_ms)
    }

    /// Moves, mostly a little and forward.
    pub(crate) fn wander(&mut self, rng: &mut Prng) {
        match rng.below(100) {
            0..10 => {}
            10..60 => self.now_ms += rng.below(200),
            60..82 => self.now_ms += rng.below(90 * SECOND_MS),
            82..92 => self.now_ms += rng.below(HOUR_MS),
            92..94 => self.now_ms += rng.between(20 * HOUR_MS, 30 * HOUR_MS),
            94..98 => self.now_ms -= rng.below(5 * SECOND_MS),
            _ => self.now_ms -= rng.below(2 * HOUR_MS),
        }
    }

    /// Moves forward by `millis`.
    pub(crate) fn advance(&mut self, millis: u64) {
        self.now_ms += millis;
    }
}
