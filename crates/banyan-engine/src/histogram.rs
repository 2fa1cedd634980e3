//! A histogram that many threads record into: fixed buckets, 16 to each doubling, so that any quantile is within 5 %.

use std::sync::atomic::{AtomicU64, Ordering};

const STEPS: u32 = 16;
const BUCKETS: usize = (STEPS * 40) as usize;

/// Counts of values by bucket.
#[derive(Debug)]
pub struct Histogram {
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
    max: AtomicU64,
}

/// The counts at one moment. Two views subtract, which gives what was recorded between them.
#[derive(Clone, Debug)]
pub struct HistogramView {
    buckets: Box<[u64]>,
    /// Sum of the values.
    pub sum: u64,
    /// Largest value since the histogram was made.
    pub max: u64,
}

impl Histogram {
    /// Records one value.
    pub fn record(&self, value: u64) {
        self.record_many(value, 1);
    }

    /// Records the same value several times.
    pub fn record_many(&self, value: u64, times: u64) {
        self.buckets[bucket(value)].fetch_add(times, Ordering::Relaxed);
        self.sum.fetch_add(value.saturating_mul(times), Ordering::Relaxed);
        if value > self.max.load(Ordering::Relaxed) {
            self.max.fetch_max(value, Ordering::Relaxed);
        }
    }

    /// The counts now.
    #[must_use]
    pub fn view(&self) -> HistogramView {
        HistogramView {
            buckets: self.buckets.iter().map(|b| b.load(Ordering::Relaxed)).collect(),
            sum: self.sum.load(Ordering::Relaxed),
            max: self.max.load(Ordering::Relaxed),
        }
    }
}

impl Default for Histogram {
    fn default() -> Self {
        let buckets = (0..BUCKETS).map(|_| AtomicU64::new(0)).collect();
        Self { buckets, sum: AtomicU64::new(0), max: AtomicU64::new(0) }
    }
}

impl HistogramView {
    /// How many values were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The value that the share `quantile` (0 to 1) of the values is at most; 0 if there is none.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> u64 {
        let count = self.count();
        let rank = ((quantile.clamp(0.0, 1.0) * count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, n) in self.buckets.iter().enumerate() {
            seen += n;
            if seen >= rank {
                return upper(index);
            }
        }
        0
    }

    /// How many values were at most `bound`, give or take the width of a bucket.
    #[must_use]
    pub fn at_most(&self, bound: u64) -> u64 {
        self.buckets.iter().take(bucket(bound) + 1).sum()
    }

    /// What was recorded since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let buckets = self.buckets.iter().zip(&earlier.buckets).map(|(now, then)| now.saturating_sub(*then));
        Self { buckets: buckets.collect(), sum: self.sum.saturating_sub(earlier.sum), max: self.max }
    }
}

fn bucket(value: u64) -> usize {
    if value < u64::from(STEPS) {
        return value as usize;
    }
    let power = 63 - value.leading_zeros();
    let step = (value >> (power - 4)) & u64::from(STEPS - 1);
    let index = (power - 3) * STEPS + step as u32;
    (index as usize).min(BUCKETS - 1)
}

/// The largest value of a bucket.
fn upper(index: usize) -> u64 {
    if index < STEPS as usize {
        return index as u64;
    }
    let (power, step) = (index as u32 / STEPS + 3, index as u64 % u64::from(STEPS));
    (1 << power) + ((step + 1) << (power - 4)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket_within_a_sixteenth() {
        for value in (0..4_096).chain((12..40).map(|p| (1 << p) - 1)).chain((12..40).map(|p| 3 << (p - 1))) {
            let upper = upper(bucket(value));
            assert!(upper >= value && upper - value <= value / 16, "{value} in a bucket up to {upper}");
        }
    }

    #[test]
    fn quantiles_of_a_known_set() {
        let histogram = Histogram::default();
        (1..=1_000).for_each(|value| histogram.record(value));
        let view = histogram.view();
        assert_eq!(view.count(), 1_000);
        for (quantile, value) in [(0.5, 500), (0.99, 990), (1.0, 1_000)] {
            let found = view.quantile(quantile);
            assert!(found >= value && found <= value + value / 16, "{quantile}: {found}");
        }
    }
}
