//! Noise: what differs between two answers of the old shop to one question, and so says nothing about Banyan.
//!
//! For a small share of requests the old shop is asked twice. A place (kind and general path) that differs between its
//! own answers often enough is noise. Two things keep this from hiding a bug:
//! - a place that never differed between the old shop's own answers is never hidden, however often it differs between
//!   the sides;
//! - a place that differs between the sides clearly more often than between the old shop's own answers is not hidden.
//!
//! What was learned is forgotten if it is not seen again: the counts are of two spans, and the older one is dropped.

use crate::diff::Kind;
use crate::evidence::{lower_bound, upper_bound};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How sure a place is noise before it is hidden.
pub const CONFIDENCE: f64 = 0.99;
/// A place is noise if it differs between the old shop's own answers at least this often, with that confidence.
pub const RATE_MIN: f64 = 0.02;
/// How much more often it may differ between the sides than between the old shop's own answers.
pub const EXCESS_MAX: f64 = 1.25;
/// Length of a span, in milliseconds: 12 hours. So what is not seen again is forgotten after 12 to 24.
pub const SPAN_MILLIS: u64 = 12 * 60 * 60 * 1_000;
/// Most places of a route.
const PLACES_MAX: usize = 500;

/// A place as noise knows it.
pub type Spot = (Kind, String);

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Span {
    began: u64,
    /// How often the old shop was asked twice.
    pairs: u64,
    /// How often the sides were compared.
    crossed: u64,
    #[serde(with = "as_list")]
    spots: BTreeMap<Spot, Tally>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Tally {
    /// Differed between two answers of the old shop.
    own: u64,
    /// Differed between the sides.
    cross: u64,
}

/// What is known about the noise of one route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noise {
    spans: [Span; 2],
}

/// One noisy place, for people.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NoisySpot {
    /// The kind of difference.
    pub kind: Kind,
    /// The general path.
    pub path: String,
    /// Times that the old shop was asked twice.
    pub pairs: u64,
    /// Times that its two answers differed here.
    pub own: u64,
    /// They differ at least this often, with [`CONFIDENCE`].
    pub rate_min: f64,
}

impl Noise {
    /// The old shop was asked twice, and its answers differed in these places.
    pub fn learn(&mut self, now: u64, spots: &BTreeSet<Spot>) {
        self.turn(now);
        self.spans[0].pairs += 1;
        for spot in spots {
            if let Some(tally) = self.tally(spot) {
                tally.own += 1;
            }
        }
    }

    /// The two sides were compared, and differed in these places.
    pub fn cross(&mut self, now: u64, spots: &BTreeSet<Spot>) {
        self.turn(now);
        self.spans[0].crossed += 1;
        for spot in spots {
            if let Some(tally) = self.tally(spot) {
                tally.cross += 1;
            }
        }
    }

    /// Whether a difference there is noise.
    #[must_use]
    pub fn hides(&self, spot: &Spot) -> bool {
        let (own, pairs, cross, crossed) = self.sums(spot);
        if own == 0 || lower_bound(own, pairs, 1.0 - CONFIDENCE) < RATE_MIN {
            return false;
        }
        // Judged with the doubt on the side of noise being less, not more: what hides a bug must be sure.
        let usual = upper_bound(own, pairs, 1.0 - CONFIDENCE) * EXCESS_MAX;
        lower_bound(cross, crossed, 1.0 - CONFIDENCE) <= usual
    }

    /// Every place that is hidden now.
    #[must_use]
    pub fn spots(&self) -> Vec<NoisySpot> {
        let known: BTreeSet<&Spot> = self.spans.iter().flat_map(|span| span.spots.keys()).collect();
        let hidden = known.into_iter().filter(|spot| self.hides(spot));
        hidden
            .map(|spot| {
                let (own, pairs, _, _) = self.sums(spot);
                let rate_min = lower_bound(own, pairs, 1.0 - CONFIDENCE);
                NoisySpot { kind: spot.0, path: spot.1.clone(), pairs, own, rate_min }
            })
            .collect()
    }

    /// How often the old shop was asked twice, as far as is remembered.
    #[must_use]
    pub fn pairs(&self) -> u64 {
        self.spans.iter().map(|span| span.pairs).sum()
    }

    fn sums(&self, spot: &Spot) -> (u64, u64, u64, u64) {
        let tally = |span: &Span| span.spots.get(spot).copied().unwrap_or_default();
        let [new, old] = &self.spans;
        let (a, b) = (tally(new), tally(old));
        (a.own + b.own, new.pairs + old.pairs, a.cross + b.cross, new.crossed + old.crossed)
    }

    fn tally(&mut self, spot: &Spot) -> Option<&mut Tally> {
        let spots = &mut self.spans[0].spots;
        if spots.len() >= PLACES_MAX && !spots.contains_key(spot) {
            // A place that is not counted is never hidden.
            return None;
        }
        Some(spots.entry(spot.clone()).or_default())
    }

    fn turn(&mut self, now: u64) {
        let age = now.saturating_sub(self.spans[0].began);
        if age < SPAN_MILLIS {
            return;
        }
        let old = std::mem::replace(&mut self.spans[0], Span { began: now, ..Span::default() });
        // After a long silence nothing of before is worth keeping.
        self.spans[1] = if age < 2 * SPAN_MILLIS { old } else { Span::default() };
    }
}

/// JSON has no maps by pairs.
mod as_list {
    use super::{Spot, Tally};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::collections::BTreeMap;

    pub(super) fn serialize<S: Serializer>(spots: &BTreeMap<Spot, Tally>, out: S) -> Result<S::Ok, S::Error> {
        spots.iter().collect::<Vec<_>>().serialize(out)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<Spot, Tally>, D::Error> {
        Ok(Vec::<(Spot, Tally)>::deserialize(from)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spot(path: &str) -> Spot {
        (Kind::Value, path.into())
    }

    fn one(path: &str) -> BTreeSet<Spot> {
        BTreeSet::from([spot(path)])
    }

    #[test]
    fn what_differs_by_itself_is_hidden_and_forgotten() {
        let mut noise = Noise::default();
        let start = 5 * SPAN_MILLIS;
        for n in 0..20 {
            noise.learn(start + n, &one("$.at"));
            noise.cross(start + n, &one("$.at"));
        }
        assert!(noise.hides(&spot("$.at")));
        assert!(
            !noise.hides(&(Kind::Type, "$.at".into())),
            "another kind of difference is not the same noise"
        );
        assert_eq!(noise.spots().len(), 1);
        noise.learn(start + SPAN_MILLIS + 1, &BTreeSet::new());
        assert!(noise.hides(&spot("$.at")), "one span later it is still known");
        noise.learn(start + 2 * SPAN_MILLIS + 2, &BTreeSet::new());
        assert!(!noise.hides(&spot("$.at")), "two spans later it is forgotten");
    }

    #[test]
    fn once_is_not_noise() {
        let mut noise = Noise::default();
        for n in 0..100 {
            noise.learn(n, &BTreeSet::new());
        }
        noise.learn(101, &one("$.stock"));
        assert!(!noise.hides(&spot("$.stock")), "a change that happened between two questions is no noise");
    }

    #[test]
    fn what_differs_more_between_the_sides_is_not_hidden() {
        let (mut noise, none) = (Noise::default(), BTreeSet::new());
        for n in 0..400_u64 {
            let both = one("$.rank");
            noise.learn(n, if n % 5 == 0 { &both } else { &none });
            noise.cross(n, &both);
        }
        // 20 % between its own answers, 100 % between the sides.
        assert!(!noise.hides(&spot("$.rank")));
    }

    #[test]
    fn survives_storage() {
        let mut noise = Noise::default();
        noise.learn(1, &one("$.at"));
        let text = serde_json::to_string(&noise).expect("writes");
        assert_eq!(serde_json::from_str::<Noise>(&text).expect("reads"), noise);
    }

    proptest! {
        /// However often the sides differ: without a difference between the old shop's own answers nothing is hidden.
        #[test]
        fn never_hides_what_differs_only_between_the_sides(steps in proptest::collection::vec((any::<bool>(), 0_u8..4), 0..300)) {
            let mut noise = Noise::default();
            for (n, (own, which)) in (0_u64..).zip(steps) {
                let spots = if own { one(&format!("$.own{which}")) } else { one(&format!("$.cross{which}")) };
                if own {
                    noise.learn(n, &spots);
                } else {
                    noise.cross(n, &spots);
                }
            }
            for which in 0..4 {
                let cross = spot(&format!("$.cross{which}"));
                prop_assert!(!noise.hides(&cross));
            }
        }
    }
}
