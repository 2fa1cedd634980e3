//! Who presses when, as a pure stream: the same scenario and seed give the same presses, on any machine.
//!
//! Arrivals are a function of the rate alone. Nothing here knows of answers: that is what makes the load open-loop.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::random::{Random, Shuffle};
use crate::scenario::{Choice, ScheduleLoad, Spacing, Stretch};

/// One arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Press {
    /// When it is due, nanoseconds after the start.
    pub due_ns: u64,
    /// Its place in the schedule, from 0.
    pub number: u64,
    /// Index into the scenario's aim.
    pub campaign: usize,
    /// Who presses.
    pub member: Presser,
    /// Send a key that is not valid.
    pub wrong_key: bool,
}

/// Who presses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Presser {
    /// One of the scenario's members.
    Person(u64),
    /// One of its bots.
    Bot(u64),
}

/// The stream of presses of a schedule.
#[derive(Debug)]
pub struct Schedule<'a> {
    load: &'a ScheduleLoad,
    clock: Clock<'a>,
    behaviour: Random,
    shuffle: Shuffle,
    weights: Weights,
    number: u64,
    newcomers: u64,
    /// Presses that repeat clickers will make: due, order of entry, member, campaign.
    repeats: BinaryHeap<Reverse<(u64, u64, u64, usize)>>,
    repeats_planned: u64,
}

impl<'a> Schedule<'a> {
    /// Starts the schedule of a load.
    pub fn new(load: &'a ScheduleLoad, seed: u64) -> Self {
        Self {
            load,
            clock: Clock::new(&load.stretches, load.spacing, seed),
            behaviour: Random::new(seed, 2),
            shuffle: Shuffle::new(seed, load.members.count),
            weights: Weights::new(load),
            number: 0,
            newcomers: 0,
            repeats: BinaryHeap::new(),
            repeats_planned: 0,
        }
    }

    fn newcomer(&mut self) -> u64 {
        let position = self.newcomers;
        self.newcomers += 1;
        match self.load.members.choice {
            Choice::Sequential => position % self.load.members.count,
            Choice::Shuffled => self.shuffle.at(position),
            Choice::Random => self.behaviour.below(self.load.members.count),
        }
    }

    fn campaign(&mut self) -> usize {
        if self.load.aim.len() == 1 {
            return 0;
        }
        let mut drawn = self.behaviour.unit() * self.weights.aim_sum;
        for (i, (_, weight)) in self.load.aim.iter().enumerate() {
            if drawn < *weight {
                return i;
            }
            drawn -= weight;
        }
        // Rounding can leave a hair over; it belongs to the last campaign that is pressed at all.
        self.load.aim.iter().rposition(|(_, weight)| *weight > 0.0).unwrap_or(0)
    }

    /// A repeat clicker begins: this press now, one to `presses_max - 1` more soon.
    fn begin_repeats(&mut self, due_ns: u64, member: u64, campaign: usize) {
        let behaviours = &self.load.behaviours;
        let more = 1 + self.behaviour.below(behaviours.presses_max - 1);
        let within_ns = nanos(behaviours.within.as_secs_f64());
        for _ in 0..more {
            let due = due_ns + 1 + self.behaviour.below(within_ns);
            self.repeats.push(Reverse((due, self.repeats_planned, member, campaign)));
            self.repeats_planned += 1;
        }
    }
}

impl Iterator for Schedule<'_> {
    type Item = Press;

    fn next(&mut self) -> Option<Press> {
        let due_ns = self.clock.next()?;
        let number = self.number;
        self.number += 1;
        // A repeated press takes the place of an arrival, so that the rate stays what the scenario says.
        if let Some(Reverse((repeat_due, _, member, campaign))) = self.repeats.peek().copied()
            && repeat_due <= due_ns
        {
            self.repeats.pop();
            return Some(Press {
                due_ns,
                number,
                campaign,
                member: Presser::Person(member),
                wrong_key: false,
            });
        }
        let campaign = self.campaign();
        let drawn = self.behaviour.unit() * self.weights.begin_sum;
        let weights = self.weights;
        if drawn < weights.wrong_keys {
            let member = Presser::Person(self.newcomer());
            return Some(Press { due_ns, number, campaign, member, wrong_key: true });
        }
        if drawn < weights.wrong_keys + weights.bots {
            let member = Presser::Bot(self.behaviour.below(self.load.behaviours.bot_members));
            return Some(Press { due_ns, number, campaign, member, wrong_key: false });
        }
        let member = self.newcomer();
        if drawn < weights.wrong_keys + weights.bots + weights.repeat_clickers {
            self.begin_repeats(due_ns, member, campaign);
        }
        Some(Press { due_ns, number, campaign, member: Presser::Person(member), wrong_key: false })
    }
}

/// How often a behaviour begins. A share counts requests, and a repeat clicker makes several.
#[derive(Clone, Copy, Debug)]
struct Weights {
    wrong_keys: f64,
    bots: f64,
    repeat_clickers: f64,
    begin_sum: f64,
    aim_sum: f64,
}

impl Weights {
    fn new(load: &ScheduleLoad) -> Self {
        let b = &load.behaviours;
        let presses_mean = 1.0 + b.presses_max as f64 / 2.0;
        let repeat_clickers = b.repeat_clickers / presses_mean;
        Self {
            wrong_keys: b.wrong_keys,
            bots: b.bots,
            repeat_clickers,
            begin_sum: b.wrong_keys + b.bots + repeat_clickers + b.fresh,
            aim_sum: load.aim.iter().map(|(_, weight)| weight).sum(),
        }
    }
}

/// Turns rates into times: the n-th arrival is where the area under the rate reaches n.
#[derive(Debug)]
struct Clock<'a> {
    stretches: &'a [Stretch],
    spacing: Spacing,
    random: Random,
    /// The area under the rate up to the next arrival.
    area_next: f64,
    /// The area under all stretches before the present one.
    area_before: f64,
    at: usize,
}

impl<'a> Clock<'a> {
    fn new(stretches: &'a [Stretch], spacing: Spacing, seed: u64) -> Self {
        let mut random = Random::new(seed, 1);
        let area_next = match spacing {
            Spacing::Poisson => random.exponential(),
            Spacing::Even => 0.0,
        };
        Self { stretches, spacing, random, area_next, area_before: 0.0, at: 0 }
    }
}

impl Iterator for Clock<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        loop {
            let stretch = self.stretches.get(self.at)?;
            let area = (stretch.from + stretch.to) / 2.0 * (stretch.end - stretch.start);
            let wanted = self.area_next - self.area_before;
            // The tolerance keeps rounding from making one arrival too many at the seam of two stretches.
            if wanted >= area - 1e-6 {
                self.area_before += area;
                self.at += 1;
                continue;
            }
            self.area_next += match self.spacing {
                Spacing::Poisson => self.random.exponential(),
                Spacing::Even => 1.0,
            };
            return Some(nanos(stretch.start + seconds_to_area(stretch, wanted)));
        }
    }
}

/// Where, from its start, a stretch has gathered this much area: the root of `from*t + slope*t²/2 = area`.
fn seconds_to_area(stretch: &Stretch, area: f64) -> f64 {
    let slope = (stretch.to - stretch.from) / (stretch.end - stretch.start);
    let root = (stretch.from * stretch.from + 2.0 * slope * area).max(0.0).sqrt();
    // This form of the root has no cancellation and no division by a slope of zero.
    if root + stretch.from == 0.0 { 0.0 } else { 2.0 * area / (root + stretch.from) }
}

fn nanos(seconds: f64) -> u64 {
    // A schedule lasts at most a day: far inside 2^53 nanoseconds, so the cast is exact enough and never wraps.
    (seconds * 1e9) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::scenario::{Load, Scenario};

    fn presses(text: &str, seed: u64) -> Vec<Press> {
        let common = "[[aim]]\ncampaign = \"noon\"\n";
        let scenario = Scenario::parse(&format!("{text}\n{common}"), Path::new("."), "test").expect("valid");
        let Load::Schedule(load) = scenario.load else { panic!("a schedule") };
        Schedule::new(&load, seed).collect()
    }

    const EVEN: &str = r#"
        arrivals = "even"
        phases = [{ name = "a", for = "2s", rate = 100 }, { name = "b", for = "4s", from = 100, to = 300 }]
        spike = { at = "1s", for = "500ms", rate = 1000 }
        members = { count = 5000, choice = "shuffled" }
    "#;

    #[test]
    fn counts_follow_the_rate_exactly() {
        let all = presses(EVEN, 7);
        let count =
            |from: f64, to: f64| all.iter().filter(|p| (nanos(from)..nanos(to)).contains(&p.due_ns)).count();
        assert_eq!(count(0.0, 1.0), 100);
        assert_eq!(count(1.0, 1.5), 500);
        assert_eq!(count(1.5, 2.0), 50);
        assert_eq!(count(2.0, 4.0), 300, "the lower half of the ramp: 100 to 200");
        assert_eq!(count(4.0, 6.0), 500, "the upper half: 200 to 300");
        assert!(all.is_sorted_by_key(|p| p.due_ns));
    }

    #[test]
    fn poisson_has_the_same_mean() {
        let text = r#"phases = [{ name = "a", for = "10s", rate = 4000 }]
            members = { count = 5000 }"#;
        let count = presses(text, 7).len();
        // The standard deviation of 40,000 is 200; five of them never fail, and the seed is fixed anyway.
        assert!((39_000..=41_000).contains(&count), "{count}");
    }

    #[test]
    fn the_seed_decides_everything() {
        let text = r#"phases = [{ name = "a", for = "5s", rate = 500 }]
            members = { count = 1000, choice = "random" }
            [behaviours]
            repeat_clickers = { share = 0.3, within = "1s" }
            bots = { share = 0.2, members = 3 }
            wrong_keys = { share = 0.1 }"#;
        assert_eq!(presses(text, 7), presses(text, 7));
        assert_ne!(presses(text, 7), presses(text, 8));
    }

    #[test]
    fn shares_are_shares_of_requests() {
        let text = r#"arrivals = "even"
            phases = [{ name = "a", for = "100s", rate = 500 }]
            members = { count = 1000000, choice = "sequential" }
            [behaviours]
            repeat_clickers = { share = 0.4, presses_max = 4, within = "1s" }
            bots = { share = 0.2, members = 3 }
            wrong_keys = { share = 0.1 }"#;
        let all = presses(text, 3);
        let share = |n: usize| n as f64 / all.len() as f64;
        let near = |got: f64, wanted: f64| assert!((got - wanted).abs() < 0.02, "{got} is not near {wanted}");
        let bots: Vec<_> = all.iter().filter(|p| matches!(p.member, Presser::Bot(_))).collect();
        near(share(bots.len()), 0.2);
        assert_eq!(bots.iter().map(|p| p.member).collect::<BTreeSet<_>>().len(), 3);
        near(share(all.iter().filter(|p| p.wrong_key).count()), 0.1);
        let mut people: Vec<Presser> = all.iter().filter(|p| !p.wrong_key).map(|p| p.member).collect();
        people.retain(|m| matches!(m, Presser::Person(_)));
        people.sort();
        let repeated = people.chunk_by(|a, b| a == b).filter(|c| c.len() > 1).map(<[_]>::len).sum();
        near(share(repeated), 0.4);
        assert!(people.chunk_by(|a, b| a == b).all(|c| c.len() <= 4));
    }

    #[test]
    fn a_ramp_from_zero_begins_quietly() {
        let text = r#"arrivals = "even"
            phases = [{ name = "a", for = "10s", from = 0, to = 10 }, { name = "b", for = "1s", rate = 0 }]
            members = { count = 10 }"#;
        let all = presses(text, 1);
        assert_eq!(all.len(), 50);
        assert!(all[1].due_ns > 1_000_000_000, "one arrival is due when t²/2 reaches 1");
    }
}
