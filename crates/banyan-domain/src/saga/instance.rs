//! One saga under way: where each of its steps stands.

use super::definition::{Definition, Step, StepKind};
use super::event::{Ask, Cause, End, Event};
use super::fields::Fields;
use crate::{SagaKey, SagaNo, Timestamp};
use minicbor::{Decode, Encode};

/// A saga.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Saga {
    /// Its number.
    #[n(0)]
    pub no: SagaNo,
    /// The number of its definition, from 1.
    #[n(1)]
    pub definition: u32,
    /// What it is about.
    #[n(2)]
    pub key: SagaKey,
    /// Its input.
    #[n(3)]
    pub input: Fields,
    /// Where each step stands.
    #[n(4)]
    pub steps: Vec<StepState>,
    /// Which way it goes.
    #[n(5)]
    pub phase: Phase,
    /// Why it turned back, if it did.
    #[n(6)]
    pub cause: Option<Cause>,
    /// Why it cannot go on by itself, if so.
    #[n(7)]
    pub parked: Option<Park>,
    /// When it began.
    #[n(8)]
    pub started_at: Timestamp,
    /// When it last changed.
    #[n(9)]
    pub changed_at: Timestamp,
}

/// Which way a saga goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Phase {
    /// Forward.
    #[n(0)]
    Running,
    /// Back.
    #[n(1)]
    Compensating,
    /// It is over.
    #[n(2)]
    Ended(#[n(0)] End),
}

/// Where a parked saga stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Park {
    /// The place of the step.
    #[n(0)]
    pub step: u8,
    /// Why.
    #[n(1)]
    pub why: Box<str>,
    /// Since when.
    #[n(2)]
    pub since: Timestamp,
}

/// Where a step stands. Most steps of most sagas are done or not reached, so what a try needs is kept apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum StepState {
    /// Not reached.
    #[n(0)]
    Waiting,
    /// Passed over.
    #[n(1)]
    Skipped,
    /// Scheduled, and not known to be done.
    #[n(2)]
    Doing(#[n(0)] Box<Try>),
    /// Done.
    #[n(3)]
    Done(#[n(0)] Fields),
    /// Certainly not done: refused, never sent, or settled as not having happened.
    #[n(4)]
    Not(#[n(0)] Box<str>),
    /// Its undo is scheduled, and not known to be done.
    #[n(5)]
    Undoing(#[n(0)] Box<Try>),
    /// Undone.
    #[n(6)]
    Undone,
}

/// The tries of a step, or of its undo.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Try {
    /// How often it was sent.
    #[n(0)]
    pub attempt: u32,
    /// How often was asked whether it happened.
    #[n(1)]
    pub asked: u32,
    /// Tries and questions that an operator has forgiven.
    #[n(2)]
    pub forgiven: u32,
    /// Whether any of what was sent may have had an effect.
    #[n(3)]
    pub maybe: bool,
    /// What it waits for.
    #[n(4)]
    pub mode: Mode,
    /// When it was last sent.
    #[n(5)]
    pub sent_at: Timestamp,
    /// When it was last asked about.
    #[n(6)]
    pub asked_at: Timestamp,
    /// When something happens if nothing else does.
    #[n(7)]
    pub due: Timestamp,
    /// Until when the participant waits for somebody, if it does.
    #[n(8)]
    pub until: Timestamp,
    /// What the participant has said of the step so far: an undo needs it too.
    #[n(9)]
    pub output: Fields,
    /// Why the undo was refused, if it was.
    #[n(10)]
    pub refused: Option<Box<str>>,
    /// Questions that were asked before their time, because somebody outside told something: they use up no patience.
    #[n(11)]
    #[cbor(default)]
    pub nudged: u32,
}

/// What a try waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Mode {
    /// An answer.
    #[n(0)]
    Sent,
    /// The next try.
    #[n(1)]
    Resting,
    /// The next question: nobody knows whether it happened.
    #[n(2)]
    Unknown,
    /// The answer to a question.
    #[n(3)]
    Asking,
    /// Somebody whom the participant waits for.
    #[n(4)]
    Awaiting,
}

/// What a saga does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing, until an answer, an instant or an operator comes.
    Wait,
    /// This shard carries out a step, or its undo, now.
    Local {
        /// The place of the step.
        step: usize,
        /// Do or undo.
        ask: Ask,
    },
    /// This event comes next.
    Event(Event),
}

impl Saga {
    /// A saga that has just begun.
    #[must_use]
    pub fn new(
        no: SagaNo,
        definition: u32,
        steps: usize,
        key: SagaKey,
        input: Fields,
        at: Timestamp,
    ) -> Self {
        Self {
            no,
            definition,
            key,
            input,
            steps: vec![StepState::Waiting; steps],
            phase: Phase::Running,
            cause: None,
            parked: None,
            started_at: at,
            changed_at: at,
        }
    }

    /// Whether the pivot has been reached: done, possibly done, or passed over because its condition does not hold. Where
    /// there is no pivot, the first step that cannot be undone is the point of no return.
    #[must_use]
    pub fn is_past_pivot(&self, definition: &Definition) -> bool {
        let reached = |state: &StepState| {
            matches!(state, StepState::Done(_) | StepState::Doing(_) | StepState::Skipped)
        };
        self.steps
            .iter()
            .zip(&definition.steps)
            .any(|(state, step)| step.kind != StepKind::Compensatable && reached(state))
    }

    /// When something happens to it if nothing else does.
    #[must_use]
    pub fn due(&self, definition: &Definition) -> Option<Timestamp> {
        if self.parked.is_some() {
            return None;
        }
        let steps = self.steps.iter().zip(&definition.steps);
        let tried = steps.filter_map(|(state, step)| state.due(step, self.phase)).min();
        let over = definition.deadline.map(|span| self.started_at.plus(span));
        let over = over.filter(|_| self.phase == Phase::Running && !self.is_past_pivot(definition));
        [tried, over].into_iter().flatten().min()
    }
}

impl StepState {
    /// When time alone moves it.
    pub(super) fn due(&self, step: &Step, phase: Phase) -> Option<Timestamp> {
        match self {
            Self::Undoing(tried) => Some(tried.due),
            Self::Doing(tried) if phase == Phase::Running || step.query.is_some() => Some(tried.due),
            // On the way back, what cannot be asked about waits for its turn to be undone, or for a person.
            Self::Doing(tried) => match tried.mode {
                Mode::Awaiting => None,
                Mode::Resting | Mode::Unknown if step.undo.is_none() => None,
                _ => Some(tried.due),
            },
            _ => None,
        }
    }

    /// What the step, or the participant that waits for somebody, has said.
    #[must_use]
    pub const fn output(&self) -> Option<&Fields> {
        match self {
            Self::Done(output) => Some(output),
            Self::Doing(tried) | Self::Undoing(tried) => Some(&tried.output),
            _ => None,
        }
    }
}
