//! What went over the routes: counted by each worker for itself, added up when somebody looks.

use crate::limits::WORKERS_MAX;
use crate::side::Side;
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Buckets of a histogram: eight for each doubling, from one microsecond to more than an hour.
const BUCKETS: usize = 8 * 32;

/// Counts of one route that outlive changes of the table.
pub struct RouteTraffic {
    shards: Box<[Shard]>,
}

/// One worker's counts, on cache lines of their own.
#[repr(align(128))]
#[derive(Default)]
struct Shard {
    sides: [Counts; 2],
}

struct Counts {
    requests: AtomicU64,
    classes: [AtomicU64; 5],
    failures: AtomicU64,
    micros: AtomicU64,
    buckets: Box<[AtomicU64]>,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            requests: AtomicU64::new(0),
            classes: Default::default(),
            failures: AtomicU64::new(0),
            micros: AtomicU64::new(0),
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

/// What one side of a route did so far.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SideTraffic {
    /// Requests that it got.
    pub requests: u64,
    /// Answers by class: 1xx, 2xx, 3xx, 4xx, 5xx.
    pub classes: [u64; 5],
    /// Requests that got no answer, or only a part of one, from this side (a gateway's 502, 503, 504; broken off).
    pub failures: u64,
    /// Sum of the times to the answer's head, in microseconds.
    pub micros: u64,
    /// Half of the answers' heads came within this time.
    pub p50_micros: u64,
    /// 99 of 100 came within this time.
    pub p99_micros: u64,
    /// The histogram: upper bound of each bucket in use, in microseconds, and how many fell in it.
    #[serde(skip)]
    pub histogram: Vec<(u64, u64)>,
}

impl SideTraffic {
    /// Answers of class 5xx and requests without an answer.
    pub fn errors(&self) -> u64 {
        self.classes[4] + self.failures
    }

    /// An upper bound of the time that `share` (0 to 1) of the answers took, in microseconds; 0 if there were none.
    pub fn quantile(&self, share: f64) -> u64 {
        let all: u64 = self.histogram.iter().map(|(_, count)| count).sum();
        let wanted = (all as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (bound, count) in &self.histogram {
            seen += count;
            if seen >= wanted {
                return *bound;
            }
        }
        0
    }
}

impl RouteTraffic {
    /// Counts for `workers` workers.
    pub fn new(workers: usize) -> Self {
        Self { shards: (0..workers.clamp(1, WORKERS_MAX)).map(|_| Shard::default()).collect() }
    }

    /// Counts an answer whose head took `took`.
    pub fn answered(&self, worker: usize, side: Side, status: u16, took: Duration) {
        let counts = self.counts(worker, side);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        counts.requests.fetch_add(1, Relaxed);
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        counts.classes[class].fetch_add(1, Relaxed);
        counts.micros.fetch_add(micros, Relaxed);
        counts.buckets[bucket(micros)].fetch_add(1, Relaxed);
    }

    /// Counts a request that the side did not answer.
    pub fn failed(&self, worker: usize, side: Side) {
        let counts = self.counts(worker, side);
        counts.requests.fetch_add(1, Relaxed);
        counts.failures.fetch_add(1, Relaxed);
    }

    /// Counts an answer that broke off after its head was counted.
    pub fn broke_off(&self, worker: usize, side: Side) {
        self.counts(worker, side).failures.fetch_add(1, Relaxed);
    }

    fn counts(&self, worker: usize, side: Side) -> &Counts {
        &self.shards[worker % self.shards.len()].sides[side as usize]
    }

    /// All workers' counts of `side`.
    pub fn side(&self, side: Side) -> SideTraffic {
        let mut sum = SideTraffic::default();
        let mut buckets = [0_u64; BUCKETS];
        for shard in &self.shards {
            let counts = &shard.sides[side as usize];
            sum.requests += counts.requests.load(Relaxed);
            sum.failures += counts.failures.load(Relaxed);
            sum.micros += counts.micros.load(Relaxed);
            for (sum, class) in sum.classes.iter_mut().zip(&counts.classes) {
                *sum += class.load(Relaxed);
            }
            for (sum, bucket) in buckets.iter_mut().zip(&counts.buckets) {
                *sum += bucket.load(Relaxed);
            }
        }
        let used = buckets.iter().enumerate().filter(|(_, count)| **count > 0);
        sum.histogram = used.map(|(at, count)| (bound(at), *count)).collect();
        (sum.p50_micros, sum.p99_micros) = (sum.quantile(0.5), sum.quantile(0.99));
        sum
    }
}

/// The bucket of a time: its highest bit and the three bits after it.
fn bucket(micros: u64) -> usize {
    if micros < 8 {
        return usize::try_from(micros).unwrap_or(0);
    }
    let high = 63 - micros.leading_zeros() as usize;
    let low = (micros >> (high - 3)) as usize & 7;
    ((high - 2) * 8 + low).min(BUCKETS - 1)
}

/// The largest time that falls into a bucket.
fn bound(bucket: usize) -> u64 {
    if bucket < 8 {
        return bucket as u64;
    }
    let (high, low) = (bucket / 8 + 2, (bucket % 8) as u64);
    ((8 + low + 1) << (high - 3)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_falls_into_the_bucket_that_bounds_it() {
        for micros in (0..5_000).chain([1 << 20, (1 << 30) + 7]) {
            let at = bucket(micros);
            assert!(bound(at) >= micros, "{micros} is above the bound of bucket {at}");
            assert!(at == 0 || bound(at - 1) < micros, "{micros} would fit bucket {}", at - 1);
            assert!(bound(at) as f64 <= micros as f64 * 1.125 + 1.0, "bucket {at} is too wide for {micros}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn sides_and_workers_are_added_up() {
        let traffic = RouteTraffic::new(2);
        for n in 1..=100 {
            traffic.answered(n % 2, Side::Legacy, 200, Duration::from_micros(n as u64 * 100));
        }
        traffic.answered(0, Side::Banyan, 503, Duration::from_millis(1));
        traffic.failed(1, Side::Banyan);
        let legacy = traffic.side(Side::Legacy);
        assert_eq!((legacy.requests, legacy.classes, legacy.failures), (100, [0, 100, 0, 0, 0], 0));
        assert!((5_000..5_700).contains(&legacy.p50_micros), "{}", legacy.p50_micros);
        assert!((9_900..11_300).contains(&legacy.p99_micros), "{}", legacy.p99_micros);
        let banyan = traffic.side(Side::Banyan);
        assert_eq!((banyan.requests, banyan.errors()), (2, 2));
    }
}
