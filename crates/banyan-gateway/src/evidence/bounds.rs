//! Bounds of rates and quantiles, with a stated confidence, for any number of requests.
//!
//! Rates: the exact interval of Clopper and Pearson ("The use of confidence or fiducial limits illustrated in the case of
//! the binomial", Biometrika 26, 1934). It never promises more than it keeps; the usual approximations do, most of all
//! where it matters here: few failures among many requests. Quantiles: order statistics, which ask nothing of the
//! distribution (H. A. David and H. N. Nagaraja, "Order Statistics", 2003, section 7.1).

/// The true rate is at most this, but for a probability of `alpha`, after `failed` of `all`. 1 if nothing is known.
#[must_use]
pub fn upper_bound(failed: u64, all: u64, alpha: f64) -> f64 {
    if all == 0 || failed >= all {
        return 1.0;
    }
    // The rate at which so few failures would have had a probability of alpha.
    let (mut low, mut high) = (failed as f64 / all as f64, 1.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if at_most(failed, all, middle) > alpha {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// The true rate is at least this, but for a probability of `alpha`. 0 if nothing is known.
#[must_use]
pub fn lower_bound(failed: u64, all: u64, alpha: f64) -> f64 {
    1.0 - upper_bound(all.saturating_sub(failed), all, alpha)
}

/// How many requests without a failure it takes to say that the rate is at most `limit`.
#[must_use]
pub fn requests_needed(limit: f64, alpha: f64) -> u64 {
    if limit <= 0.0 || limit >= 1.0 {
        return 0;
    }
    // (1 - limit)^n <= alpha
    (alpha.ln() / (-limit).ln_1p()).ceil() as u64
}

/// A value that the quantile `share` is not above, but for a probability of `alpha`. The histogram has upper bounds of
/// buckets and how many fell in each, in order. Nothing if there are too few.
#[must_use]
pub fn quantile_upper(histogram: &[(u64, u64)], share: f64, alpha: f64) -> Option<u64> {
    let all: u64 = histogram.iter().map(|(_, count)| count).sum();
    // How many of all are above the true quantile is binomial. The largest number that is improbably few:
    let beyond = |above: u64| at_most(above, all, 1.0 - share) <= alpha;
    if all == 0 || !beyond(0) {
        return None;
    }
    let above = last_true((all as f64 * (1.0 - share)) as u64, beyond);
    Some(ranked(histogram, all - above).1)
}

/// A value that the quantile `share` is not below, but for a probability of `alpha`. Nothing if there are too few.
#[must_use]
pub fn quantile_lower(histogram: &[(u64, u64)], share: f64, alpha: f64) -> Option<u64> {
    let all: u64 = histogram.iter().map(|(_, count)| count).sum();
    let enough = |rank: u64| at_most(rank - 1, all, share) <= alpha;
    if all == 0 || !enough(1) {
        return None;
    }
    let rank = 1 + last_true((all as f64 * share) as u64, |rank| enough(rank + 1));
    Some(ranked(histogram, rank).0)
}

/// Bounds of the bucket that the value of this rank, from 1, fell in.
fn ranked(histogram: &[(u64, u64)], rank: u64) -> (u64, u64) {
    let (mut seen, mut below) = (0, 0);
    for (bound, count) in histogram {
        seen += count;
        if seen >= rank {
            // The bucket begins above the one before it in the scale, not in this histogram: its width is an eighth.
            return (below.max(bound - bound / 8), *bound);
        }
        below = *bound;
    }
    (below, below)
}

/// The largest number up to `most` for which `holds`, given that it holds for 0 and only ever stops holding.
fn last_true(most: u64, holds: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (0, most + 1);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// Probability that at most `k` of `n` happen if each does with probability `p`.
fn at_most(k: u64, n: u64, p: f64) -> f64 {
    if k >= n || p <= 0.0 {
        return 1.0;
    }
    if p >= 1.0 {
        return 0.0;
    }
    // The terms fall away from the middle: it is summed on the side where they do, and stopped when nothing is added.
    let odds = p / (1.0 - p);
    if (k as f64) < n as f64 * p {
        let (mut term, mut sum, mut at) = (exactly(k, n, p), 0.0, k);
        loop {
            sum += term;
            if at == 0 || term < sum * 1e-15 {
                return sum.min(1.0);
            }
            term *= at as f64 / ((n - at + 1) as f64 * odds);
            at -= 1;
        }
    }
    let (mut term, mut sum, mut at) = (exactly(k + 1, n, p), 0.0, k + 1);
    loop {
        sum += term;
        if at == n || term < sum * 1e-15 {
            return (1.0 - sum).clamp(0.0, 1.0);
        }
        term *= (n - at) as f64 * odds / (at + 1) as f64;
        at += 1;
    }
}

fn exactly(k: u64, n: u64, p: f64) -> f64 {
    let choose = ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k);
    (choose + k as f64 * p.ln() + (n - k) as f64 * (-p).ln_1p()).exp()
}

/// Exact for small numbers, Stirling's series above: the error is below 1e-12.
fn ln_factorial(n: u64) -> f64 {
    if n < 32 {
        return (2..=n).map(|factor| (factor as f64).ln()).sum();
    }
    let x = n as f64;
    let series = 1.0 / (12.0 * x) - 1.0 / (360.0 * x.powi(3)) + 1.0 / (1260.0 * x.powi(5));
    x * x.ln() - x + 0.5 * (std::f64::consts::TAU * x).ln() + series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 2e-5, "{found} is not {expected}");
    }

    /// Values of R's `binom.test(x, n, alternative = "less" / "greater", conf.level = 0.95)`.
    #[test]
    fn bounds_are_those_of_clopper_and_pearson() {
        near(upper_bound(0, 10, 0.05), 0.258_866);
        near(upper_bound(1, 10, 0.05), 0.394_163);
        near(upper_bound(5, 100, 0.05), 0.102_253);
        near(lower_bound(5, 100, 0.05), 0.019_910);
        near(lower_bound(10, 10, 0.05), 0.741_134);
        near(upper_bound(0, 2_995, 0.05), 0.001);
        near(upper_bound(0, 0, 0.05), 1.0);
        near(lower_bound(0, 50, 0.05), 0.0);
        assert_eq!(requests_needed(0.001, 0.05), 2_995);
        assert_eq!(requests_needed(0.5, 0.05), 5);
    }

    #[test]
    fn large_numbers_are_no_trouble() {
        near(upper_bound(10_000, 10_000_000, 0.05), 0.001_016_6);
        near(lower_bound(9_999_999, 10_000_000, 0.05), 0.999_999_5);
    }

    #[test]
    fn quantiles_need_enough_requests() {
        let flat = |n: u64| (1..=n).map(|value| (value * 1_000, 1)).collect::<Vec<_>>();
        assert_eq!(quantile_upper(&flat(298), 0.99, 0.05), None);
        assert_eq!(quantile_upper(&flat(299), 0.99, 0.05), Some(299_000));
        let upper = quantile_upper(&flat(10_000), 0.99, 0.05).expect("enough");
        let lower = quantile_lower(&flat(10_000), 0.99, 0.05).expect("enough");
        // 9,900 give or take 1.645 deviations of 9.95.
        assert!((9_910_000..9_925_000).contains(&upper), "{upper}");
        assert!((8_600_000..9_890_000).contains(&lower), "{lower}");
        assert_eq!(quantile_lower(&[], 0.99, 0.05), None);
    }

    /// The promise itself: over many runs the true value is above the bound at most as often as stated.
    #[test]
    fn bounds_keep_their_promise() {
        let mut random = super::super::tests::Random(7);
        let (mut wrong_rate, mut wrong_quantile) = (0, 0);
        for _ in 0..2_000 {
            let failed = (0..400).filter(|_| random.unit() < 0.02).count() as u64;
            wrong_rate += u32::from(upper_bound(failed, 400, 0.05) < 0.02);
            let mut values: Vec<u64> = (0..400).map(|_| (random.unit() * 1e6) as u64).collect();
            values.sort_unstable();
            let histogram: Vec<(u64, u64)> = values.into_iter().map(|value| (value, 1)).collect();
            wrong_quantile +=
                u32::from(quantile_upper(&histogram, 0.99, 0.05).is_some_and(|bound| bound < 990_000));
        }
        // 5 % of 2,000 is 100; four deviations more is 139.
        assert!(wrong_rate <= 139 && wrong_quantile <= 139, "{wrong_rate} {wrong_quantile}");
    }
}
