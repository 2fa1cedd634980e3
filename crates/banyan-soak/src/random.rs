//! Numbers that follow from a seed: the same schedule again.

/// A source of numbers (SplitMix64).
pub(crate) struct Random(u64);

impl Random {
    /// The source `stream` of `seed`: each writer has its own, so that what one does is not moved by another.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut random = Self(seed ^ stream.wrapping_mul(0xA24B_AED4_963E_E407));
        random.next();
        random
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From `from` to `to`, both included.
    pub(crate) fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from + 1)
    }

    /// True `percent` times of a hundred.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    /// One of them; nothing of nothing.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let place = self.next() as usize % from.len().max(1);
        from.get(place)
    }

    /// In another order.
    pub(crate) fn shuffle<T>(&mut self, of: &mut [T]) {
        for last in (1..of.len()).rev() {
            of.swap(last, self.between(0, last as u64) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_again_and_streams_differ() {
        let some = |seed, stream| {
            let mut random = Random::new(seed, stream);
            (0..20).map(|_| random.between(3, 9)).collect::<Vec<_>>()
        };
        assert_eq!(some(1, 1), some(1, 1));
        assert!(some(1, 1) != some(1, 2) && some(1, 1) != some(2, 1));
        assert!(some(1, 1).iter().all(|n| (3..=9).contains(n)));
        let mut cards = [1, 2, 3, 4, 5, 6, 7, 8];
        Random::new(5, 0).shuffle(&mut cards);
        assert_ne!(cards, [1, 2, 3, 4, 5, 6, 7, 8]);
        cards.sort_unstable();
        assert_eq!(cards, [1, 2, 3, 4, 5, 6, 7, 8]);
    }
}
