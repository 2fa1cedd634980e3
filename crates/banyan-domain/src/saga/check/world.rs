//! A situation of a search: where the saga stands, what its participants have, and what is on its way between them.

use super::words::Decision;
use super::{Plant, Search};
use crate::saga::event::{Ask, Cause, Event, Resume, Settlement};
use crate::saga::fields::Fields;
use crate::saga::instance::{Mode, Phase, Saga, StepState};
use crate::{Actor, Reason, SagaKey, SagaNo, Timestamp};
use core::hash::Hasher;
use siphasher::sip128::{Hasher128, SipHasher13};
use std::collections::BTreeSet;

/// The present, in every situation: times are moved so that it stays the same, and equal situations are recognised.
pub(super) const NOW: u64 = 1_000_000;
/// Every time-out, and every wait.
pub(super) const WAIT: u64 = 10;
/// A request may take effect for this long after it was sent.
pub(super) const LATE: u64 = 15;
/// Most inputs of which every choice is tried.
const CHOICES_MAX: usize = 6;

#[derive(Clone)]
pub(super) struct World {
    pub(super) saga: Saga,
    pub(super) parties: Vec<Party>,
    pub(super) requests: BTreeSet<Sent>,
    /// Answers on their way: place, ask, try, and what they say.
    pub(super) answers: BTreeSet<(u8, Ask, u32, Answer)>,
    /// How many surprises there were.
    pub(super) surprises: u8,
    /// Whether an operator turned it back past its point of no return.
    pub(super) forced: bool,
    /// Whether the machine made an event that it does not take.
    pub(super) refused_event: bool,
}

/// A request on its way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sent {
    pub(super) place: u8,
    pub(super) ask: Ask,
    pub(super) attempt: u32,
    pub(super) at: u64,
    /// The network made it of one that arrived: nobody can say any more that it was not sent.
    pub(super) copy: bool,
}

/// What the participant of one step has.
#[derive(Clone, Copy, Default)]
pub(super) struct Party {
    pub(super) effects: i8,
    /// It has been asked to do it.
    pub(super) seen: bool,
    pub(super) undone: bool,
    pub(super) refused: bool,
    /// It waits for somebody, who may come at any moment.
    pub(super) waiting: bool,
    /// What it held is gone by itself.
    pub(super) lapsed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Answer {
    Done,
    Refused,
    NotSent,
    Absent,
    Waiting,
    Over,
}

impl World {
    /// Two situations in which the same can happen have the same hash.
    pub(super) fn hash(&self) -> u128 {
        let mut bytes = Vec::with_capacity(256);
        minicbor::encode(&self.saga, &mut bytes).expect("a vector takes every write");
        for party in &self.parties {
            let flags = [party.seen, party.undone, party.refused, party.waiting, party.lapsed];
            let flags = flags.iter().fold(0_u8, |all, flag| all << 1 | u8::from(*flag));
            bytes.extend([party.effects as u8, flags]);
        }
        for &Sent { place, ask, attempt, at, copy } in &self.requests {
            bytes.extend([0xf0, place, ask as u8, attempt as u8, u8::from(copy)]);
            bytes.extend(at.to_le_bytes());
        }
        for &(place, ask, attempt, answer) in &self.answers {
            bytes.extend([0xf1, place, ask as u8, attempt as u8, answer as u8]);
        }
        bytes.extend([self.surprises, u8::from(self.forced), u8::from(self.refused_event)]);
        let mut hasher = SipHasher13::new();
        hasher.write(&bytes);
        hasher.finish128().as_u128()
    }

    /// What is asked and not answered: what a process that starts again finds open.
    pub(super) fn open_asks(&self) -> Vec<(u8, Ask, u32)> {
        let open = |(place, state): (usize, &StepState)| match state {
            StepState::Doing(tried) if tried.mode == Mode::Sent => {
                Some((place as u8, Ask::Do, tried.attempt))
            }
            StepState::Doing(tried) if tried.mode == Mode::Asking => {
                Some((place as u8, Ask::Query, tried.asked))
            }
            StepState::Undoing(tried) if tried.mode == Mode::Sent => {
                Some((place as u8, Ask::Undo, tried.attempt))
            }
            _ => None,
        };
        self.saga.steps.iter().enumerate().filter_map(open).collect()
    }
}

impl Sent {
    pub(super) const fn now(place: u8, ask: Ask, attempt: u32) -> Self {
        Self { place, ask, attempt, at: NOW, copy: false }
    }
}

impl Answer {
    pub(super) fn settlement(self) -> Settlement {
        let until = |millis| Settlement::Awaiting(Fields::new(), Timestamp::from_millis(millis));
        match self {
            Self::Done => Settlement::Done(Fields::new()),
            Self::Refused => Settlement::Refused("no".into()),
            Self::NotSent => Settlement::NotSent("not reached".into()),
            Self::Absent => Settlement::Absent,
            Self::Waiting => until(NOW + WAIT),
            Self::Over => until(NOW),
        }
    }
}

impl Search {
    /// A beginning for every choice of the inputs on which steps depend, and its words.
    pub(super) fn starts(&self) -> Vec<(String, World)> {
        let wanted = self.definition.steps.iter().filter_map(|step| step.when.as_deref());
        let fields: Vec<&str> = wanted.collect::<BTreeSet<_>>().into_iter().collect();
        // With very many fields, all of them and none of them must do.
        let all = (1_u64 << fields.len().min(63)) - 1;
        let choices: Vec<u64> =
            if fields.len() <= CHOICES_MAX { (0..=all).rev().collect() } else { vec![all, 0] };
        choices.into_iter().map(|choice| self.start(&fields, choice)).collect()
    }

    fn start(&self, fields: &[&str], choice: u64) -> (String, World) {
        let key = SagaKey::new("k").expect("a valid key");
        let chosen = fields.iter().enumerate().filter(|(i, _)| choice >> i & 1 == 1).map(|(_, field)| *field);
        let input: Fields = chosen.map(|field| (field, "1")).collect();
        let missing: Vec<&str> = fields.iter().copied().filter(|field| input.get(field).is_none()).collect();
        let words =
            if missing.is_empty() { String::new() } else { format!("begun without {}", missing.join(", ")) };
        let steps = self.definition.steps.len();
        let world = World {
            saga: Saga::new(SagaNo::new(1), 1, steps, key, input, Timestamp::from_millis(NOW)),
            parties: vec![Party::default(); steps],
            requests: BTreeSet::new(),
            answers: BTreeSet::new(),
            surprises: 0,
            forced: false,
            refused_event: false,
        };
        (words, world)
    }

    /// The situation after `event`, with the request that it stands for on its way.
    pub(super) fn after(&self, world: &World, event: &Event) -> World {
        let mut next = world.clone();
        self.apply(&mut next, event);
        if let Event::Scheduled { step, ask, attempt, .. } = event {
            next.requests.insert(Sent::now(*step, *ask, *attempt));
        }
        next
    }

    pub(super) fn apply(&self, world: &mut World, event: &Event) {
        let applied = world.saga.apply(&self.definition, Timestamp::from_millis(NOW), event);
        world.refused_event |= applied.is_err();
    }

    pub(super) fn settled(&self, world: &World, place: u8, ask: Ask, attempt: u32, answer: Answer) -> World {
        let event =
            Event::Settled { saga: SagaNo::new(1), step: place, ask, attempt, result: answer.settlement() };
        self.after(world, &event)
    }

    /// The situation after somebody cancelled.
    pub(super) fn cancelled(&self, world: &World) -> World {
        let by = Actor::new("somebody").expect("a valid actor");
        let cause = Cause::Cancelled(by, Reason::new("").expect("a valid reason"));
        self.after(world, &Event::TurnedBack { saga: SagaNo::new(1), cause })
    }

    /// The situation after an operator decided about the parked saga.
    pub(super) fn resumed(&self, world: &World, decision: Decision) -> World {
        let how = match decision {
            Decision::Retry => Resume::Retry,
            Decision::Skip => Resume::Skip(Fields::new()),
            Decision::Undo => Resume::Undo,
        };
        let (by, reason) = (Actor::new("ops").expect("valid"), Reason::new("").expect("valid"));
        self.after(world, &Event::Resumed { saga: SagaNo::new(1), how, by, reason })
    }

    /// Moves the present to `now`, and everything else back by as much.
    pub(super) fn pass(&self, world: &mut World, now: u64) {
        let by = now - NOW;
        // Beyond this, how long ago something was makes no difference.
        let oldest = NOW - 2 * LATE;
        let back =
            |at: &mut Timestamp| *at = Timestamp::from_millis(at.as_millis().saturating_sub(by).max(oldest));
        back(&mut world.saga.changed_at);
        for state in &mut world.saga.steps {
            if let StepState::Doing(tried) | StepState::Undoing(tried) = state {
                back(&mut tried.sent_at);
                back(&mut tried.asked_at);
                back(&mut tried.due);
                back(&mut tried.until);
            }
        }
        let requests = std::mem::take(&mut world.requests);
        for sent in requests {
            // A participant with tombstones needs no such bound: whatever comes after its undo is turned away.
            let buries = self.buries(sent.place);
            let at = if buries { NOW } else { sent.at.saturating_sub(by).max(oldest) };
            if buries || at + LATE > NOW {
                world.requests.insert(Sent { at, ..sent });
            }
        }
    }

    /// Takes away what cannot make a difference any more, so that fewer situations look different: questions and answers
    /// that nobody hears, requests that their participant knows and whose answer nobody hears, and dates that nobody reads.
    pub(super) fn prune(&self, world: &mut World) {
        let World { saga, requests, answers, parties, .. } = world;
        let now = Timestamp::from_millis(NOW);
        // The deadline is a move of its own, and why it turned back makes no difference to what it does.
        saga.started_at = now;
        saga.cause = saga.cause.as_ref().map(|_| Cause::TimedOut);
        if let Some(park) = &mut saga.parked {
            park.since = now;
        }
        let awaits =
            |state: &StepState| matches!(state, StepState::Doing(tried) if tried.mode == Mode::Awaiting);
        if !saga.steps.iter().any(awaits) {
            saga.changed_at = now;
        }
        for (state, step) in saga.steps.iter_mut().zip(&self.definition.steps) {
            if let StepState::Doing(tried) | StepState::Undoing(tried) = state {
                if step.query.is_none() || matches!(saga.phase, Phase::Ended(_)) {
                    tried.sent_at = now;
                }
                if tried.mode != Mode::Awaiting {
                    tried.until = now;
                }
            }
        }
        let hears = |place: u8, ask: Ask, attempt: u32| match (&saga.steps[usize::from(place)], ask) {
            (StepState::Doing(tried), Ask::Query) => tried.mode == Mode::Asking && tried.asked == attempt,
            // One that was refused may be tried again from the beginning.
            (StepState::Doing(_) | StepState::Not(_) | StepState::Waiting, Ask::Do) => true,
            (StepState::Doing(_) | StepState::Done(_) | StepState::Undoing(_), Ask::Undo) => true,
            _ => false,
        };
        requests.retain(|&Sent { place, ask, attempt, .. }| {
            let (party, step) = (&parties[usize::from(place)], &self.definition.steps[usize::from(place)]);
            let known = match ask {
                Ask::Do => {
                    let key = step.promises.idempotent && self.plant != Some(Plant::KeyPerTry);
                    let buried = self.buries(place) && self.plant != Some(Plant::NoTombstone);
                    (party.seen && key) || (party.undone && buried)
                }
                Ask::Undo => {
                    party.undone
                        && party.effects == 0
                        && !party.waiting
                        && self.plant != Some(Plant::UndoTwice)
                }
                Ask::Query => true,
            };
            !known || hears(place, ask, attempt)
        });
        answers.retain(|&(place, ask, attempt, answer)| {
            let lasting = matches!(answer, Answer::Done | Answer::Refused) && hears(place, ask, attempt);
            lasting || saga.takes(usize::from(place), ask, attempt, &answer.settlement())
        });
    }

    /// Whether the participant of a step promises to remember an undo that comes before its do.
    pub(super) fn buries(&self, place: u8) -> bool {
        let step = &self.definition.steps[usize::from(place)];
        step.promises.tombstone && step.undo.is_some()
    }
}
