//! All sagas of a shard, and the instants at which time alone moves one.

use super::definition::Definition;
use super::event::Ask;
use super::instance::{Mode, Next, Phase, Saga, StepState, Try};
use crate::digest::{self, Digest};
use crate::{SagaKey, SagaName, SagaNo, Timestamp};
use core::ops::Bound;
use minicbor::{Decode, Encode};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The state of the sagas.
#[derive(Clone, Debug, Default)]
pub struct Sagas {
    /// Versions by number, from 1.
    pub(crate) definitions: Vec<Definition>,
    /// The number of the newest version of each name.
    pub(crate) newest: BTreeMap<SagaName, u32>,
    /// Sagas that are under way, or ended not long ago.
    pub(crate) sagas: BTreeMap<SagaNo, Saga>,
    /// How many there have ever been.
    pub(crate) started: u64,
    /// Whose key was used not long ago.
    pub(crate) by_key: BTreeMap<(SagaName, SagaKey), Known>,
    /// When time moves which.
    pub(crate) deadlines: BTreeSet<(Timestamp, SagaNo)>,
    /// Those that wait for an operator, and since when.
    pub(crate) parked: BTreeSet<(Timestamp, SagaNo)>,
    /// How many are neither over nor parked.
    pub(crate) under_way: u64,
    /// Which have something to do at once.
    pub(crate) ready: BTreeSet<SagaNo>,
    /// What participants that wait for somebody have said, field and value: by this a notice from outside finds whom it
    /// concerns without a look at every saga.
    pub(crate) said: BTreeSet<(Box<str>, Box<str>, SagaNo)>,
    /// Ended ones, in order of their end: first those still in `sagas`.
    pub(crate) ended: VecDeque<(Timestamp, SagaNo)>,
    /// Ended ones of which only the key is left, in order of their end.
    pub(crate) keys: VecDeque<OldKey>,
    /// Of which only the key is left, and which ended longer ago: by name, in order of their end, only so many of each.
    pub(crate) old_keys: BTreeMap<SagaName, VecDeque<OldKey>>,
    pub(crate) digest: Digest,
}

/// For what a key was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub saga: SagaNo,
    /// The digest of its input.
    pub input: Option<u64>,
}

/// What is left of a saga that ended: its key, so that it is not begun again.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct OldKey {
    #[n(0)]
    pub ended_at: Timestamp,
    #[n(1)]
    pub name: SagaName,
    #[n(2)]
    pub key: SagaKey,
    #[n(3)]
    pub saga: SagaNo,
    /// The digest of its input.
    #[n(4)]
    pub input: Option<u64>,
}

/// Something that is asked of a service outside and has no answer yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OpenAsk {
    /// Which saga.
    pub saga: SagaNo,
    /// The place of the step.
    pub step: u8,
    /// What is asked.
    pub ask: Ask,
    /// The how-manieth time.
    pub attempt: u32,
}

impl Sagas {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The definition numbered `number`, from 1.
    #[must_use]
    pub fn definition(&self, number: u32) -> Option<&Definition> {
        self.definitions.get((number as usize).checked_sub(1)?)
    }

    /// The newest version of the saga `name`, with its number.
    #[must_use]
    pub fn newest(&self, name: &SagaName) -> Option<(u32, &Definition)> {
        let number = *self.newest.get(name)?;
        Some((number, self.definition(number)?))
    }

    /// Every definition, with its number.
    pub fn definitions(&self) -> impl Iterator<Item = (u32, &Definition)> {
        (1..).zip(&self.definitions)
    }

    /// The saga numbered `no`, if it is in the hot state.
    #[must_use]
    pub fn saga(&self, no: SagaNo) -> Option<&Saga> {
        self.sagas.get(&no)
    }

    /// How many sagas wait for an operator.
    #[must_use]
    pub fn parked(&self) -> u64 {
        self.parked.len() as u64
    }

    /// Since when the longest waits for an operator.
    #[must_use]
    pub fn parked_since(&self) -> Option<Timestamp> {
        self.parked.first().map(|(since, _)| *since)
    }

    /// How many sagas go on by themselves.
    #[must_use]
    pub const fn under_way(&self) -> u64 {
        self.under_way
    }

    /// Every saga in the hot state, in order of starting.
    pub fn sagas(&self) -> impl Iterator<Item = &Saga> {
        self.sagas.values()
    }

    /// The sagas in the hot state that began after `no`, in order of starting.
    pub fn sagas_after(&self, no: SagaNo) -> impl Iterator<Item = &Saga> {
        self.sagas.range((Bound::Excluded(no), Bound::Unbounded)).map(|(_, saga)| saga)
    }

    /// How many sagas there have ever been.
    #[must_use]
    pub const fn started(&self) -> u64 {
        self.started
    }

    /// The number of the saga `name` for `key`, if it is remembered.
    #[must_use]
    pub fn by_key(&self, name: &SagaName, key: &SagaKey) -> Option<SagaNo> {
        // The map is looked up by a pair of owned texts; starting a saga is rare enough for the two copies.
        self.by_key.get(&(name.clone(), key.clone())).map(|known| known.saga)
    }

    /// What is asked of services outside and has no answer yet: what an executor that starts anew must look into.
    #[must_use]
    pub fn open_asks(&self) -> Vec<OpenAsk> {
        self.sagas.values().flat_map(Saga::open_asks).collect()
    }

    /// The next instant at which time alone changes something.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// The saga that has something to do at once, and what.
    pub(crate) fn next(&self) -> Option<(SagaNo, Next)> {
        let no = *self.ready.first()?;
        let saga = &self.sagas[&no];
        Some((no, saga.next(&self.definitions[saga.definition as usize - 1])))
    }

    /// The digest kept current by `apply`.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The digest computed from nothing, to compare with [`Self::digest`].
    #[must_use]
    pub fn recompute_digest(&self) -> Digest {
        let mut digest = Digest::default();
        for (number, definition) in self.definitions() {
            digest.add(definition_digest(number, definition));
        }
        for saga in self.sagas.values() {
            digest.add(saga.digest());
        }
        for key in self.keys.iter().chain(self.old_keys.values().flatten()) {
            digest.add(key.digest());
        }
        for &(at, no) in &self.ended {
            digest.add(ended_digest(at, no));
        }
        digest.add(started_digest(self.started));
        digest
    }

    /// Checks every invariant by counting from nothing.
    ///
    /// # Errors
    /// The first [`crate::Violation`] found.
    pub fn check_invariants(&self) -> Result<(), crate::Violation> {
        let fail = |what| Err(crate::Violation::new(what));
        let mut deadlines = BTreeSet::new();
        for saga in self.sagas.values() {
            let Some(definition) = self.definition(saga.definition) else {
                return fail("a saga has a definition that is not there");
            };
            if saga.steps.len() != definition.steps.len() {
                return fail("a saga has other steps than its definition");
            }
            let known = Known { saga: saga.no, input: Some(saga.input.digest()) };
            if self.by_key.get(&(definition.name.clone(), saga.key.clone())) != Some(&known) {
                return fail("a saga is not found by its key");
            }
            deadlines.extend(saga.due(definition).map(|due| (due, saga.no)));
            if saga.next(definition) != Next::Wait && !self.ready.contains(&saga.no) {
                return fail("a saga has something to do and nobody knows");
            }
        }
        let said: BTreeSet<_> = self.sagas.values().flat_map(Saga::said).collect();
        if said != self.said {
            return fail("what sagas wait for is not found, or found where it is not");
        }
        if deadlines != self.deadlines {
            return fail("the armed deadlines differ from those that the sagas need");
        }
        let parked: BTreeSet<_> = self.sagas.values().filter_map(Saga::parked_since).collect();
        let under_way = self.sagas.values().filter(|saga| saga.is_under_way()).count() as u64;
        if (parked, under_way) != (self.parked.clone(), self.under_way) {
            return fail("the counts of parked sagas, or of those under way, are wrong");
        }
        let old: usize = self.old_keys.values().map(VecDeque::len).sum();
        if self.by_key.len() != self.sagas.len() + self.keys.len() + old {
            return fail("keys are remembered of sagas that are not there");
        }
        if self.recompute_digest() != self.digest {
            return fail("the digest kept by apply differs from the digest of the sagas");
        }
        Ok(())
    }
}

impl Saga {
    /// What it asks of a service outside without an answer yet: most often one thing, but an effect that comes late is undone
    /// beside what is under way.
    pub fn open_asks(&self) -> impl Iterator<Item = OpenAsk> + '_ {
        let steps = self.steps.iter().zip(0..).filter(|_| self.parked.is_none());
        steps.filter_map(|(state, step)| {
            let (ask, attempt) = match state {
                StepState::Doing(tried) if tried.mode == Mode::Sent => (Ask::Do, tried.attempt),
                StepState::Doing(tried) if tried.mode == Mode::Asking => (Ask::Query, tried.asked),
                StepState::Undoing(tried) if tried.mode == Mode::Sent => (Ask::Undo, tried.attempt),
                _ => return None,
            };
            Some(OpenAsk { saga: self.no, step, ask, attempt })
        })
    }

    /// The first of [`Self::open_asks`].
    #[must_use]
    pub fn open_ask(&self) -> Option<OpenAsk> {
        self.open_asks().next()
    }

    /// What its participants have said that wait for somebody, field and value.
    pub(crate) fn said(&self) -> impl Iterator<Item = (Box<str>, Box<str>, SagaNo)> {
        let waits = |state: &StepState| match state {
            StepState::Doing(tried) => Some(tried.output.clone()),
            _ => None,
        };
        let fields = self.steps.iter().filter_map(waits);
        let no = self.no;
        fields.flat_map(move |fields| {
            let each = fields.iter().map(|(name, value)| (Box::from(name), Box::from(value), no));
            each.collect::<Vec<_>>()
        })
    }

    /// Whether it is over.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Ended(_))
    }

    /// Since when it waits for an operator, if it does, and its number.
    pub(crate) fn parked_since(&self) -> Option<(Timestamp, SagaNo)> {
        self.parked.as_ref().map(|park| (park.since, self.no))
    }

    /// Whether it goes on by itself.
    pub(crate) const fn is_under_way(&self) -> bool {
        !self.is_over() && self.parked.is_none()
    }

    /// Another after every change: whoever decides about a saga names the mark of what they saw.
    #[must_use]
    pub fn mark(&self) -> u64 {
        let digest = self.digest();
        digest as u64 ^ (digest >> 64) as u64
    }

    pub(crate) fn digest(&self) -> u128 {
        let fixed = [48, self.no.get(), u64::from(self.definition), self.started_at.as_millis()];
        let input = self.input.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
        let fixed = digest::row_texts(&fixed, core::iter::once(self.key.as_str().as_bytes()).chain(input));
        let mut sum = fixed.wrapping_add(self.moving_digest());
        for place in 0..self.steps.len() {
            sum = sum.wrapping_add(self.step_digest(place));
        }
        sum
    }

    /// Of what most events change beside a step: computed twice for each of them.
    pub(crate) fn moving_digest(&self) -> u128 {
        let phase = match self.phase {
            Phase::Running => 0,
            Phase::Compensating => 1,
            Phase::Ended(end) => 2 + end as u64,
        };
        let mut sum = digest::row(&[55, self.no.get(), phase, self.changed_at.as_millis()]);
        if let Some(cause) = &self.cause {
            let cause = minicbor::to_vec(cause).expect("a vector takes every write");
            sum = sum.wrapping_add(digest::row_texts(&[56, self.no.get()], core::iter::once(&*cause)));
        }
        if let Some(park) = &self.parked {
            let words = [57, self.no.get(), u64::from(park.step), park.since.as_millis()];
            sum = sum.wrapping_add(digest::row_texts(&words, core::iter::once(park.why.as_bytes())));
        }
        sum
    }

    pub(crate) fn step_digest(&self, place: usize) -> u128 {
        let (kind, tried, text) = match &self.steps[place] {
            StepState::Waiting => return 0,
            StepState::Skipped => (1, None, None),
            StepState::Doing(tried) => (2, Some(tried), Some(&tried.output)),
            StepState::Done(output) => (3, None, Some(output)),
            StepState::Not(why) => {
                let words = [49, self.no.get(), place as u64, 4];
                return digest::row_texts(&words, core::iter::once(why.as_bytes()));
            }
            StepState::Undoing(tried) => (5, Some(tried), Some(&tried.output)),
            StepState::Undone => (6, None, None),
        };
        let mut words = [49, self.no.get(), place as u64, kind, 0, 0, 0, 0, 0, 0];
        if let Some(tried) = tried {
            let Try { attempt, asked, forgiven, maybe, mode, sent_at, asked_at, due, until, .. } = &**tried;
            words[4] = u64::from(*attempt) << 32 | u64::from(*asked);
            words[5] = u64::from(*forgiven) << 16 | u64::from(*maybe) << 8 | *mode as u64;
            words[6] = sent_at.as_millis();
            words[7] = due.as_millis();
            words[8] = until.as_millis();
            words[9] = asked_at.as_millis();
        }
        let mut sum = digest::row(&words);
        if let Some(nudged) = tried.map(|tried| tried.nudged).filter(|nudged| *nudged > 0) {
            sum = sum.wrapping_add(digest::row(&[59, self.no.get(), place as u64, u64::from(nudged)]));
        }
        if let Some(why) = tried.and_then(|tried| tried.refused.as_deref()) {
            let words = [54, self.no.get(), place as u64];
            sum = sum.wrapping_add(digest::row_texts(&words, core::iter::once(why.as_bytes())));
        }
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            let texts = text.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
            sum = sum.wrapping_add(digest::row_texts(&[58, self.no.get(), place as u64], texts));
        }
        sum
    }
}

/// Of the count of sagas; nothing before the first, so that a store without sagas has no digest of them.
pub(crate) fn started_digest(started: u64) -> u128 {
    if started == 0 { 0 } else { digest::row(&[52, started]) }
}

pub(crate) fn ended_digest(at: Timestamp, no: SagaNo) -> u128 {
    digest::row(&[53, at.as_millis(), no.get()])
}

pub(crate) fn definition_digest(number: u32, definition: &Definition) -> u128 {
    let bytes = minicbor::to_vec((number, definition)).expect("a vector takes every write");
    digest::row_bytes(50, &bytes)
}

impl OldKey {
    pub(crate) fn digest(&self) -> u128 {
        digest::row_bytes(51, &minicbor::to_vec(self).expect("a vector takes every write"))
    }
}
