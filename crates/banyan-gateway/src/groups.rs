//! Mismatches in groups: a thousand answers that differ in the same place are one thing to look at.
//!
//! A group is a kind and a general path on a route. It has a count, a first and a last time, a few samples with both
//! sides, and a judgement by a person. What is judged to be ignored still counts in its group, so that a judgement can be
//! taken back with everything seen since.

use crate::diff::{Difference, Kind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most groups of a route; what comes after goes into one group of all others.
pub const GROUPS_MAX: usize = 200;
/// Most samples of a group: the first, and the last ones.
pub const SAMPLES_MAX: usize = 3;
/// Longest excerpt of a side's body in a sample, in bytes.
pub const SAMPLE_BYTES_MAX: usize = 2_048;
/// Most differences that a sample keeps.
pub const SAMPLE_DIFFERENCES_MAX: usize = 8;
/// When there is no room, groups that were not seen for so long and never judged make some: 30 days, in milliseconds.
pub const FORGET_MILLIS: u64 = 30 * 24 * 60 * 60 * 1_000;
/// Longest reason of a judgement, in bytes.
pub const WHY_BYTES_MAX: usize = 500;
/// Where differences go when there are too many groups.
const OTHERS: &str = "(others)";

/// What a person says about a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Judgement {
    /// Nobody has looked yet. Counts as a mismatch.
    #[default]
    Open,
    /// It does not matter: no mismatch.
    Ignore,
    /// It is a fault, and somebody works on it. Counts as a mismatch.
    Bug,
}

/// A judgement with its author.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// What.
    pub judgement: Judgement,
    /// By whom.
    pub by: String,
    /// Why.
    pub why: String,
    /// When, in milliseconds since 1970.
    pub at: u64,
}

/// One side of a sample.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The status.
    pub status: u16,
    /// Headers, secrets hidden.
    pub headers: Vec<(String, String)>,
    /// The beginning of the body, secrets hidden.
    pub body: String,
}

/// One pair of answers that differed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// The request's method.
    pub method: String,
    /// Its path and query, secrets hidden.
    pub path: String,
    /// The old shop's answer.
    pub legacy: Shown,
    /// Banyan's.
    pub banyan: Shown,
    /// The first differences of the two.
    pub differences: Vec<Difference>,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its id: the same for the same route, kind and path, also after a restart.
    pub id: String,
    /// The kind of difference.
    pub kind: Kind,
    /// The general path.
    pub path: String,
    /// Comparisons in which it was found.
    pub count: u64,
    /// First seen, in milliseconds since 1970.
    pub first_at: u64,
    /// Last seen.
    pub last_at: u64,
    /// What a person says, oldest first; the last one counts.
    pub judged: Vec<Judged>,
    /// The first sample, and the last ones.
    pub samples: Vec<Sample>,
}

impl Group {
    /// What counts now.
    #[must_use]
    pub fn judgement(&self) -> Judgement {
        self.judged.last().map_or(Judgement::Open, |judged| judged.judgement)
    }
}

/// The groups of one route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Groups {
    groups: BTreeMap<String, Group>,
}

impl Groups {
    /// Takes the differences of one comparison, and says whether any of them counts. `sample` is asked for only if it is
    /// kept.
    pub fn take(
        &mut self,
        route: &str,
        now: u64,
        differences: &[Difference],
        sample: impl Fn() -> Sample,
    ) -> bool {
        let mut ids: Vec<(String, Kind, &str)> = differences
            .iter()
            .map(|found| (id(route, found.kind, &found.general), found.kind, found.general.as_str()))
            .collect();
        ids.sort_unstable();
        ids.dedup();
        let mut counts = false;
        for (mut id, kind, mut path) in ids {
            if !self.groups.contains_key(&id) && self.groups.len() >= GROUPS_MAX {
                self.forget(now.saturating_sub(FORGET_MILLIS));
            }
            if !self.groups.contains_key(&id) && self.groups.len() >= GROUPS_MAX {
                (id, path) = (self::id(route, Kind::Value, OTHERS), OTHERS);
            }
            let group = self.groups.entry(id.clone()).or_insert_with(|| Group {
                id,
                kind,
                path: path.to_owned(),
                count: 0,
                first_at: now,
                last_at: now,
                judged: Vec::new(),
                samples: Vec::new(),
            });
            group.count += 1;
            group.last_at = group.last_at.max(now);
            // Powers of two at first, then every thousandth: recent samples without the work of making each.
            if group.samples.len() < SAMPLES_MAX
                || group.count.is_power_of_two()
                || group.count.is_multiple_of(1_024)
            {
                if group.samples.len() >= SAMPLES_MAX {
                    group.samples.remove(1);
                }
                group.samples.push(sample());
            }
            counts |= group.judgement() != Judgement::Ignore;
        }
        counts
    }

    /// Every group, the ones that count first, then by how often.
    #[must_use]
    pub fn list(&self) -> Vec<Group> {
        let mut list: Vec<Group> = self.groups.values().cloned().collect();
        list.sort_by_key(|group| {
            (group.judgement() == Judgement::Ignore, std::cmp::Reverse(group.count), group.id.clone())
        });
        list
    }

    /// Judges a group; nothing if there is none of that id.
    pub fn judge(&mut self, id: &str, judged: Judged) -> Option<&Group> {
        let group = self.groups.get_mut(id)?;
        group.judged.push(judged);
        // The story of a group that is judged back and forth is kept short; what counts is its end.
        if group.judged.len() > 20 {
            group.judged.remove(0);
        }
        Some(group)
    }

    /// Forgets what was last seen before `before` and was never judged.
    fn forget(&mut self, before: u64) {
        self.groups.retain(|_, group| group.last_at >= before || !group.judged.is_empty());
    }
}

/// The id of a group.
#[must_use]
pub fn id(route: &str, kind: Kind, path: &str) -> String {
    blake3::hash(format!("{route}\n{}\n{path}", kind.as_str()).as_bytes()).to_hex()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(kind: Kind, general: &str) -> Difference {
        Difference {
            kind,
            place: general.into(),
            general: general.into(),
            legacy: "1".into(),
            banyan: "2".into(),
        }
    }

    fn sample(at: u64) -> Sample {
        let shown = Shown { status: 200, headers: Vec::new(), body: String::new() };
        Sample {
            at,
            method: "GET".into(),
            path: "/".into(),
            legacy: shown.clone(),
            banyan: shown,
            differences: Vec::new(),
        }
    }

    fn judged(judgement: Judgement) -> Judged {
        Judged { judgement, by: "mina".into(), why: "known".into(), at: 5 }
    }

    #[test]
    fn the_same_place_is_one_group_with_few_samples() {
        let mut groups = Groups::default();
        for at in 0..5_000 {
            let twice = [difference(Kind::Value, "$.items[*].n"), difference(Kind::Value, "$.items[*].n")];
            assert!(groups.take("shop", at, &twice, || sample(at)));
        }
        let list = groups.list();
        assert_eq!((list.len(), list[0].count, list[0].first_at, list[0].last_at), (1, 5_000, 0, 4_999));
        let samples: Vec<u64> = list[0].samples.iter().map(|sample| sample.at).collect();
        assert_eq!(samples, [0, 3_071, 4_095], "the first, and recent ones");
    }

    #[test]
    fn what_is_ignored_does_not_count_but_hides_nothing_else() {
        let mut groups = Groups::default();
        groups.take("shop", 1, &[difference(Kind::Value, "$.a")], || sample(1));
        let id = id("shop", Kind::Value, "$.a");
        assert!(groups.judge(&id, judged(Judgement::Ignore)).is_some());
        assert!(!groups.take("shop", 2, &[difference(Kind::Value, "$.a")], || sample(2)));
        let both = [difference(Kind::Value, "$.a"), difference(Kind::Value, "$.b")];
        assert!(groups.take("shop", 3, &both, || sample(3)));
        assert!(
            groups.take("shop", 3, &[difference(Kind::Type, "$.a")], || sample(3)),
            "another kind is another group"
        );
        groups.judge(&id, judged(Judgement::Bug));
        assert!(groups.take("shop", 4, &[difference(Kind::Value, "$.a")], || sample(4)));
        assert!(groups.judge("0000", judged(Judgement::Bug)).is_none());
    }

    #[test]
    fn groups_are_bounded_and_survive_storage() {
        let mut groups = Groups::default();
        for n in 0..1_000 {
            groups.take("shop", n, &[difference(Kind::Value, &format!("$.f{n}"))], || sample(n));
        }
        let list = groups.list();
        assert_eq!(list.len(), GROUPS_MAX + 1);
        assert_eq!((list[0].path.as_str(), list[0].count), (OTHERS, 1_000 - GROUPS_MAX as u64));
        let text = serde_json::to_string(&groups).expect("writes");
        assert_eq!(serde_json::from_str::<Groups>(&text).expect("reads"), groups);
        let kept = groups.list()[1].id.clone();
        groups.judge(&kept, judged(Judgement::Bug));
        let later = 2_000 + FORGET_MILLIS;
        groups.take("shop", later, &[difference(Kind::Value, "$.new")], || sample(later));
        assert_eq!(groups.list().len(), 2, "what nobody judged and nobody saw for a month made room");
    }
}
