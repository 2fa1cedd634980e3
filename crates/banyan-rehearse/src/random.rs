//! A small seeded generator of numbers: the same seed gives the same rehearsal on every machine and every version.
//!
//! SplitMix64 is 10 lines, passes the usual statistical batteries, and its output can never change under us
//! with a dependency update. It must not be used for secrets.

/// A stream of numbers that depends on nothing but its seed.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    /// Starts a stream. Streams of different `purpose` with one seed do not resemble each other.
    pub(crate) fn new(seed: u64, purpose: u64) -> Self {
        Self { state: mix(seed ^ mix(purpose)) }
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        mix(self.state)
    }

    /// A number from 0 to `bound - 1`; 0 when `bound` is 0 or 1.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        // Multiply-high; its bias is below bound / 2^64, far under anything a rehearsal could show.
        let wide = u128::from(self.next()) * u128::from(bound);
        u64::try_from(wide >> 64).expect("the high half of a 128-bit product fits 64 bits")
    }

    /// A number in [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// The waiting time to the next event of a Poisson process of rate 1.
    pub(crate) fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln()
    }
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64's finalizer: a well-mixed bijection of 64 bits.
pub(crate) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(GOLDEN);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A shuffle of `0..count` that needs no table: position `i` holds `(offset + i * step) mod count`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shuffle {
    count: u64,
    step: u64,
    offset: u64,
}

impl Shuffle {
    /// Makes the shuffle of a seed. `count` must be at least 1.
    pub(crate) fn new(seed: u64, count: u64) -> Self {
        let mut random = Random::new(seed, 0x5348_5546);
        let offset = random.below(count);
        let mut step = 1 + random.below(count);
        while gcd(step, count) != 1 {
            step = step % count + 1;
        }
        Self { count, step, offset }
    }

    /// What stands at a position; positions past the end start over.
    pub(crate) fn at(&self, position: u64) -> u64 {
        let wide = u128::from(position % self.count) * u128::from(self.step) + u128::from(self.offset);
        u64::try_from(wide % u128::from(self.count)).expect("a remainder of a 64-bit number fits 64 bits")
    }
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_stream() {
        let take = |seed| {
            let mut random = Random::new(seed, 1);
            (0..5).map(|_| random.next()).collect::<Vec<_>>()
        };
        assert_eq!(take(7), take(7));
        assert_ne!(take(7), take(8));
    }

    #[test]
    fn a_shuffle_visits_everyone_once() {
        for count in [1, 2, 3, 10, 12, 97, 1000] {
            let shuffle = Shuffle::new(42, count);
            let mut seen: Vec<u64> = (0..count).map(|i| shuffle.at(i)).collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..count).collect::<Vec<_>>(), "count {count}");
        }
    }

    #[test]
    fn below_stays_below_and_reaches_both_ends() {
        let mut random = Random::new(1, 1);
        let drawn: Vec<u64> = (0..1000).map(|_| random.below(4)).collect();
        assert!(drawn.iter().all(|&n| n < 4));
        assert!(drawn.contains(&0) && drawn.contains(&3));
        assert_eq!(random.below(0), 0);
    }
}
