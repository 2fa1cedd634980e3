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
    latest_ms: u64,
}

impl Clock {
    pub(crate) const fn new() -> Self {
        Self { now_ms: START_MS, latest_ms: START_MS }
    }

    pub(crate) const fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now_ms)
    }

    /// The latest instant it ever showed: what those outside go by, whose clocks are sound.
    pub(crate) const fn latest(&self) -> u64 {
        self.latest_ms
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
        self.latest_ms = self.latest_ms.max(self.now_ms);
    }

    /// Moves so that a saga mostly has the time it needs, and sometimes not.
    pub(crate) fn wander_calmly(&mut self, rng: &mut Prng) {
        match rng.below(100) {
            0..10 => {}
            10..66 => self.now_ms += rng.below(200),
            66..88 => self.now_ms += rng.below(4 * SECOND_MS),
            88..94 => self.now_ms += rng.below(90 * SECOND_MS),
            94..96 => self.now_ms += rng.below(HOUR_MS),
            96 => self.now_ms += rng.between(20 * HOUR_MS, 30 * HOUR_MS),
            97..99 => self.now_ms -= rng.below(5 * SECOND_MS),
            _ => self.now_ms -= rng.below(2 * HOUR_MS),
        }
        self.latest_ms = self.latest_ms.max(self.now_ms);
    }

    /// Moves forward by `millis`.
    pub(crate) fn advance(&mut self, millis: u64) {
        self.now_ms += millis;
        self.latest_ms = self.latest_ms.max(self.now_ms);
    }
}
