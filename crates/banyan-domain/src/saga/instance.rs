//! One saga under way, and the machine that says what it does next. The machine knows steps, answers and time, and nothing of
//! coupons or money: the model checker runs this very code.

use super::definition::{Definition, Step, StepKind, Target};
use super::event::{Ask, Cause, End, Event, Resume, Settlement};
use super::fields::Fields;
use crate::state::Violation;
use crate::{SagaKey, SagaNo, Timestamp};
use minicbor::{Decode, Encode};

type Result<T = ()> = core::result::Result<T, Violation>;

fn ensure(holds: bool, what: &'static str) -> Result {
    if holds { Ok(()) } else { Err(Violation::new(what)) }
}

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

/// Where a step stands.
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
    Doing(#[n(0)] Try),
    /// Done.
    #[n(3)]
    Done(#[n(0)] Fields),
    /// Certainly not done: refused, never sent, or settled as not having happened.
    #[n(4)]
    Not(#[n(0)] Box<str>),
    /// Its undo is scheduled, and not known to be done.
    #[n(5)]
    Undoing(#[n(0)] Try),
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

    /// Whether the pivot has been reached: done, possibly done, or passed over because its condition does not hold.
    #[must_use]
    pub fn is_past_pivot(&self, definition: &Definition) -> bool {
        let reached = |state: &StepState| {
            matches!(state, StepState::Done(_) | StepState::Doing(_) | StepState::Skipped)
        };
        self.steps
            .iter()
            .zip(&definition.steps)
            .any(|(state, step)| step.kind == StepKind::Pivot && reached(state))
    }

    /// When something happens to it if nothing else does.
    #[must_use]
    pub fn due(&self, definition: &Definition) -> Option<Timestamp> {
        if self.parked.is_some() {
            return None;
        }
        let tried = self.steps.iter().find_map(|state| match state {
            StepState::Doing(tried) | StepState::Undoing(tried) => Some(tried.due),
            _ => None,
        });
        let over = definition.deadline.map(|span| self.started_at.plus(span));
        let over = over.filter(|_| self.phase == Phase::Running && !self.is_past_pivot(definition));
        [tried, over].into_iter().flatten().min()
    }

    /// What the passing of time brings: the event that is due at `now`, if one is.
    #[must_use]
    pub fn fire(&self, definition: &Definition, now: Timestamp) -> Option<Event> {
        if self.due(definition).is_none_or(|due| due > now) {
            return None;
        }
        let over = definition.deadline.is_some_and(|span| self.started_at.plus(span) <= now);
        if over && self.phase == Phase::Running && !self.is_past_pivot(definition) {
            return Some(Event::TurnedBack { saga: self.no, cause: Cause::TimedOut });
        }
        let (place, state) = self.steps.iter().enumerate().find(|(_, state)| {
            matches!(state, StepState::Doing(tried) | StepState::Undoing(tried) if tried.due <= now)
        })?;
        let step = &definition.steps[place];
        let silent = || Settlement::Unknown("no answer in time".into());
        Some(match state {
            StepState::Doing(tried) => match tried.mode {
                Mode::Sent => self.settled(place, Ask::Do, tried.attempt, silent()),
                Mode::Asking => self.settled(place, Ask::Query, tried.asked, silent()),
                // On the way back nothing is sent again that can be asked about.
                Mode::Resting if step.query.is_none() || self.phase == Phase::Running => {
                    self.scheduled(place, Ask::Do, tried.attempt + 1)
                }
                Mode::Resting | Mode::Unknown | Mode::Awaiting if step.query.is_some() => {
                    self.scheduled(place, Ask::Query, tried.asked + 1)
                }
                Mode::Resting | Mode::Unknown => self.scheduled(place, Ask::Do, tried.attempt + 1),
                // Nobody came in time, and there is nothing to ask: what may be there is undone.
                Mode::Awaiting => {
                    let cause = Cause::Step(place as u8, "nobody came in time".into());
                    Event::TurnedBack { saga: self.no, cause }
                }
            },
            StepState::Undoing(tried) => match tried.mode {
                Mode::Sent => self.settled(place, Ask::Undo, tried.attempt, silent()),
                _ => self.scheduled(place, Ask::Undo, tried.attempt + 1),
            },
            _ => return None,
        })
    }

    /// What comes next without any time passing.
    #[must_use]
    pub fn next(&self, definition: &Definition) -> Next {
        if self.parked.is_some() {
            return Next::Wait;
        }
        match self.phase {
            Phase::Running => self.next_forward(definition),
            Phase::Compensating => self.next_back(definition),
            // An effect that came after everything was undone: back to undoing it.
            Phase::Ended(End::Compensated) if self.has_effect(definition).is_some() => {
                self.next_back(definition)
            }
            Phase::Ended(_) => Next::Wait,
        }
    }

    fn next_forward(&self, definition: &Definition) -> Next {
        let open = |state: &StepState| !matches!(state, StepState::Done(_) | StepState::Skipped);
        let Some(place) = self.steps.iter().position(open) else {
            return Next::Event(Event::Ended { saga: self.no, end: End::Completed });
        };
        let step = &definition.steps[place];
        match &self.steps[place] {
            StepState::Waiting => {
                let wanted = step.when.as_ref();
                let held =
                    wanted.is_none_or(|field| self.input.get(field).is_some_and(|value| !value.is_empty()));
                if !held {
                    Next::Event(Event::Skipped { saga: self.no, step: place as u8 })
                } else if step.is_local() {
                    Next::Local { step: place, ask: Ask::Do }
                } else {
                    Next::Event(self.scheduled(place, Ask::Do, 1))
                }
            }
            StepState::Not(why) if step.kind == StepKind::Retriable => {
                Next::Event(Event::Parked { saga: self.no, step: place as u8, why: why.clone() })
            }
            StepState::Not(why) => {
                let cause = Cause::Step(place as u8, why.clone());
                Next::Event(Event::TurnedBack { saga: self.no, cause })
            }
            StepState::Doing(tried) => self.next_of_try(place, step, tried),
            StepState::Done(_) | StepState::Skipped | StepState::Undoing(_) | StepState::Undone => Next::Wait,
        }
    }

    /// A try that has used up its patience ends the step's hope, or the saga's own.
    fn next_of_try(&self, place: usize, step: &Step, tried: &Try) -> Next {
        let spent = |count: u32| count >= step.patience.tries.saturating_add(tried.forgiven);
        let park =
            |why: &str| Next::Event(Event::Parked { saga: self.no, step: place as u8, why: why.into() });
        match tried.mode {
            Mode::Resting if spent(tried.attempt) => match step.kind {
                StepKind::Retriable => park("it was tried as often as it may be"),
                // A pivot that may have happened is neither done nor undone by giving up.
                StepKind::Pivot if tried.maybe => park("whether it happened is not known"),
                StepKind::Pivot | StepKind::Compensatable => {
                    let cause = Cause::Step(place as u8, "it was tried as often as it may be".into());
                    Next::Event(Event::TurnedBack { saga: self.no, cause })
                }
            },
            Mode::Unknown if spent(tried.asked.max(if step.query.is_some() { 0 } else { tried.attempt })) => {
                match step.kind {
                    StepKind::Compensatable if step.promises.tombstone => {
                        let cause = Cause::Step(place as u8, "whether it happened is not known".into());
                        Next::Event(Event::TurnedBack { saga: self.no, cause })
                    }
                    _ => park("whether it happened is not known"),
                }
            }
            Mode::Awaiting if tried.until <= self.changed_at => {
                let cause = Cause::Step(place as u8, "nobody came in time".into());
                Next::Event(Event::TurnedBack { saga: self.no, cause })
            }
            _ => Next::Wait,
        }
    }

    /// The last step in order that has, or may have, an effect.
    fn has_effect(&self, definition: &Definition) -> Option<usize> {
        let effect = |(state, step): (&StepState, &Step)| match state {
            _ if step.promises.harmless => false,
            StepState::Doing(tried) => tried.maybe || tried.mode == Mode::Sent,
            StepState::Done(_) | StepState::Undoing(_) => true,
            StepState::Waiting | StepState::Skipped | StepState::Not(_) | StepState::Undone => false,
        };
        self.steps.iter().zip(&definition.steps).rposition(effect)
    }

    fn next_back(&self, definition: &Definition) -> Next {
        let Some(place) = self.has_effect(definition) else {
            return match self.phase {
                Phase::Ended(_) => Next::Wait,
                _ => Next::Event(Event::Ended { saga: self.no, end: End::Compensated }),
            };
        };
        let step = &definition.steps[place];
        let park =
            |why: &str| Next::Event(Event::Parked { saga: self.no, step: place as u8, why: why.into() });
        match &self.steps[place] {
            StepState::Doing(tried) => {
                // The participant has it for certain, or remembers an undo that comes first: undo at once. Otherwise
                // find out first: an undo that finds nothing would leave the do to take effect later.
                if step.undo.is_some() && (tried.mode == Mode::Awaiting || step.promises.tombstone) {
                    self.undo(place, step)
                } else if tried.mode == Mode::Unknown
                    && tried.asked >= step.patience.tries.saturating_add(tried.forgiven)
                {
                    park("whether it happened is not known")
                } else {
                    Next::Wait
                }
            }
            StepState::Done(_) => self.undo(place, step),
            StepState::Undoing(tried) => {
                let spent = tried.attempt >= step.patience.tries.saturating_add(tried.forgiven);
                match tried.mode {
                    Mode::Resting | Mode::Unknown if spent => {
                        park("its undo was tried as often as it may be")
                    }
                    Mode::Unknown if tried.refused.is_some() => {
                        park(tried.refused.as_deref().unwrap_or("its undo was refused"))
                    }
                    _ => Next::Wait,
                }
            }
            StepState::Waiting | StepState::Skipped | StepState::Not(_) | StepState::Undone => Next::Wait,
        }
    }

    fn undo(&self, place: usize, step: &Step) -> Next {
        match &step.undo {
            None => {
                let why = "it has no undo".into();
                Next::Event(Event::Parked { saga: self.no, step: place as u8, why })
            }
            Some(undo) if matches!(undo.target, Target::Local(_)) => {
                Next::Local { step: place, ask: Ask::Undo }
            }
            Some(_) => Next::Event(self.scheduled(place, Ask::Undo, 1)),
        }
    }

    fn scheduled(&self, place: usize, ask: Ask, attempt: u32) -> Event {
        Event::Scheduled { saga: self.no, step: place as u8, ask, attempt }
    }

    fn settled(&self, place: usize, ask: Ask, attempt: u32, result: Settlement) -> Event {
        Event::Settled { saga: self.no, step: place as u8, ask, attempt, result }
    }

    /// Whether an answer still says something: answers come late, twice and out of order.
    #[must_use]
    pub fn takes(&self, place: usize, ask: Ask, attempt: u32, result: &Settlement) -> bool {
        let Some(state) = self.steps.get(place) else { return false };
        match (ask, state) {
            (Ask::Do, StepState::Doing(tried)) => match result {
                Settlement::Done(_) => attempt <= tried.attempt,
                Settlement::Refused(_) => attempt == tried.attempt && tried.mode != Mode::Awaiting,
                Settlement::Awaiting(..) => attempt == tried.attempt && tried.mode != Mode::Awaiting,
                Settlement::Unknown(_) | Settlement::NotSent(_) => {
                    attempt == tried.attempt && tried.mode == Mode::Sent
                }
                Settlement::Absent => false,
            },
            // It was taken for not having happened, and it did.
            (Ask::Do, StepState::Not(_)) => {
                matches!(result, Settlement::Done(_)) && self.phase != Phase::Running
            }
            (Ask::Query, StepState::Doing(tried)) => attempt == tried.asked && tried.mode == Mode::Asking,
            (Ask::Undo, StepState::Undoing(tried)) => match result {
                Settlement::Done(_) => attempt <= tried.attempt,
                Settlement::Refused(_) | Settlement::Unknown(_) | Settlement::NotSent(_) => {
                    attempt == tried.attempt && tried.mode == Mode::Sent
                }
                Settlement::Awaiting(..) | Settlement::Absent => false,
            },
            _ => false,
        }
    }

    /// Applies one of its events.
    ///
    /// # Errors
    /// A [`Violation`] if the event cannot have happened here; the saga is unchanged then.
    pub(crate) fn apply(&mut self, definition: &Definition, at: Timestamp, event: &Event) -> Result {
        match event {
            Event::Scheduled { step, ask, attempt, .. } => {
                self.apply_scheduled(definition, at, usize::from(*step), *ask, *attempt)?;
            }
            Event::Settled { step, ask, attempt, result, .. } => {
                self.apply_settled(definition, at, usize::from(*step), *ask, *attempt, result)?;
            }
            Event::Skipped { step, .. } => {
                ensure(self.phase == Phase::Running, "a step was passed over on the way back")?;
                let state = self.steps.get_mut(usize::from(*step));
                let state = state.ok_or(Violation::new("a saga passed over a step that it does not have"))?;
                ensure(*state == StepState::Waiting, "a step was passed over that had begun")?;
                *state = StepState::Skipped;
            }
            Event::TurnedBack { cause, .. } => {
                ensure(self.phase == Phase::Running, "a saga turned back that was not going forward")?;
                self.turn_back(cause.clone());
            }
            Event::Parked { step, why, .. } => {
                ensure(self.parked.is_none(), "a saga was parked twice")?;
                ensure(
                    usize::from(*step) < self.steps.len(),
                    "a saga was parked at a step that it does not have",
                )?;
                self.parked = Some(Park { step: *step, why: why.clone(), since: at });
            }
            Event::Resumed { how, .. } => self.apply_resumed(at, how)?,
            Event::Ended { end, .. } => {
                let whole = match end {
                    End::Completed => {
                        self.phase == Phase::Running
                            && self.steps.iter().all(|s| matches!(s, StepState::Done(_) | StepState::Skipped))
                    }
                    End::Compensated => {
                        self.phase == Phase::Compensating && self.has_effect(definition).is_none()
                    }
                };
                ensure(whole && self.parked.is_none(), "a saga ended with something left to do")?;
                self.phase = Phase::Ended(*end);
            }
            Event::Defined { .. } | Event::Started { .. } => {
                return Err(Violation::new("a saga began twice"));
            }
        }
        self.changed_at = at;
        Ok(())
    }

    fn turn_back(&mut self, cause: Cause) {
        self.phase = Phase::Compensating;
        self.cause = Some(cause);
        self.parked = None;
        for state in &mut self.steps {
            // What rests between two tries that never reached anybody is not tried again.
            if matches!(state, StepState::Doing(tried) if tried.mode == Mode::Resting && !tried.maybe) {
                *state = StepState::Not("it was never sent".into());
            }
        }
    }

    fn apply_scheduled(
        &mut self,
        definition: &Definition,
        at: Timestamp,
        place: usize,
        ask: Ask,
        attempt: u32,
    ) -> Result {
        let step = definition.steps.get(place).ok_or(Violation::new("a saga has no such step"))?;
        let due = at.plus(step.patience.timeout);
        let first = Try {
            attempt: 1,
            asked: 0,
            forgiven: 0,
            maybe: false,
            mode: Mode::Sent,
            sent_at: at,
            asked_at: Timestamp::default(),
            due,
            until: Timestamp::default(),
            output: self.steps[place].output().cloned().unwrap_or_default(),
            refused: None,
        };
        let state = &mut self.steps[place];
        match (ask, &mut *state) {
            (Ask::Do, StepState::Waiting) => {
                ensure(attempt == 1, "a step was first tried a second time")?;
                ensure(self.phase == Phase::Running, "a step was begun on the way back")?;
                *state = StepState::Doing(first);
            }
            (Ask::Do, StepState::Doing(tried)) => {
                ensure(attempt == tried.attempt + 1, "the tries of a step do not follow each other")?;
                *tried = Try { attempt, mode: Mode::Sent, sent_at: at, due, ..tried.clone() };
            }
            (Ask::Query, StepState::Doing(tried)) => {
                ensure(attempt == tried.asked + 1, "the questions of a step do not follow each other")?;
                *tried = Try { asked: attempt, mode: Mode::Asking, asked_at: at, due, ..tried.clone() };
            }
            (Ask::Undo, StepState::Doing(_) | StepState::Done(_)) => {
                ensure(attempt == 1, "an undo was first tried a second time")?;
                ensure(self.phase != Phase::Running, "a step was undone on the way forward")?;
                *state = StepState::Undoing(first);
            }
            (Ask::Undo, StepState::Undoing(tried)) => {
                ensure(attempt == tried.attempt + 1, "the tries of an undo do not follow each other")?;
                *tried = Try { attempt, mode: Mode::Sent, sent_at: at, due, ..tried.clone() };
            }
            _ => return Err(Violation::new("a step was asked for something that its state does not allow")),
        }
        if self.phase == Phase::Ended(End::Compensated) {
            self.phase = Phase::Compensating;
        }
        Ok(())
    }

    fn apply_settled(
        &mut self,
        definition: &Definition,
        at: Timestamp,
        place: usize,
        ask: Ask,
        attempt: u32,
        result: &Settlement,
    ) -> Result {
        let step = definition.steps.get(place).ok_or(Violation::new("a saga has no such step"))?;
        let running = self.phase == Phase::Running;
        let state = &self.steps[place];
        let local = |target: &Target| matches!(target, Target::Local(_));
        let next = match (ask, state, result) {
            // What this shard does itself is done in the block in which it is decided: there is no intent before it.
            (Ask::Do, StepState::Waiting, Settlement::Done(output))
                if local(&step.action.target) && running =>
            {
                StepState::Done(output.clone())
            }
            (Ask::Do, StepState::Waiting, Settlement::Refused(why))
                if local(&step.action.target) && running =>
            {
                StepState::Not(why.clone())
            }
            (Ask::Undo, StepState::Done(_), Settlement::Done(_))
                if step.undo.as_ref().is_some_and(|undo| local(&undo.target)) && !running =>
            {
                StepState::Undone
            }
            _ => {
                ensure(
                    self.takes(place, ask, attempt, result),
                    "an answer was taken that says nothing here",
                )?;
                settle(step, at, state, ask, result, running)
            }
        };
        self.steps[place] = next;
        Ok(())
    }

    fn apply_resumed(&mut self, at: Timestamp, how: &Resume) -> Result {
        let park = self.parked.clone().ok_or(Violation::new("a saga was resumed that was not parked"))?;
        let place = usize::from(park.step);
        let running = self.phase == Phase::Running;
        match how {
            Resume::Retry => match &mut self.steps[place] {
                StepState::Doing(tried) | StepState::Undoing(tried) => {
                    tried.forgiven = tried.attempt.max(tried.asked);
                    tried.due = at;
                    tried.refused = None;
                }
                // A step that was refused after the pivot is tried from the beginning.
                state @ StepState::Not(_) => *state = StepState::Waiting,
                // Nothing of it is under way: the machine goes on from here, or parks the saga again.
                _ => {}
            },
            Resume::Skip(output) => {
                self.steps[place] = if running { StepState::Done(output.clone()) } else { StepState::Undone };
            }
            Resume::Undo => {
                ensure(running, "a saga was forced back that was on its way back")?;
                self.turn_back(Cause::Forced);
            }
        }
        self.parked = None;
        Ok(())
    }
}

impl StepState {
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

/// The state of a step after an answer that says something.
fn settle(
    step: &Step,
    at: Timestamp,
    state: &StepState,
    ask: Ask,
    result: &Settlement,
    running: bool,
) -> StepState {
    let rest =
        |tried: &Try, count: u32| at.plus(step.patience.rest(count.saturating_sub(tried.forgiven).max(1)));
    match (ask, state, result) {
        (Ask::Do | Ask::Query, _, Settlement::Done(output)) => StepState::Done(output.clone()),
        (Ask::Do | Ask::Query, _, Settlement::Refused(why)) => StepState::Not(why.clone()),
        (Ask::Do, StepState::Doing(tried), Settlement::Unknown(_)) => StepState::Doing(Try {
            maybe: true,
            mode: Mode::Unknown,
            due: rest(tried, tried.attempt),
            ..tried.clone()
        }),
        (Ask::Do, StepState::Doing(tried), Settlement::NotSent(why)) => {
            if !running && !tried.maybe {
                return StepState::Not(why.clone());
            }
            let mode = if tried.maybe { Mode::Unknown } else { Mode::Resting };
            StepState::Doing(Try { mode, due: rest(tried, tried.attempt), ..tried.clone() })
        }
        (Ask::Do | Ask::Query, StepState::Doing(tried), Settlement::Awaiting(output, until)) => {
            let (until, output) = (*until, output.clone());
            let due = if until > at { until } else { rest(tried, tried.asked) };
            StepState::Doing(Try { maybe: true, mode: Mode::Awaiting, due, until, output, ..tried.clone() })
        }
        (Ask::Query, StepState::Doing(tried), Settlement::Absent) => {
            // As of the question: what the participant said may be older than its answer.
            let settled = tried.sent_at.plus(step.patience.settles_after) <= tried.asked_at;
            if settled && !running {
                return StepState::Not("it did not happen".into());
            }
            // The same key again has the effect once, whatever becomes of the earlier try; without that promise, only once
            // the earlier try can no longer take effect.
            let again = running && (step.promises.idempotent || settled);
            let mode = if again { Mode::Resting } else { Mode::Unknown };
            // Where an undo can come first, it is sent in any case: that is safer than any span of time.
            let maybe = !settled || (step.promises.tombstone && step.undo.is_some());
            StepState::Doing(Try { mode, maybe, due: rest(tried, tried.asked), ..tried.clone() })
        }
        (Ask::Query, StepState::Doing(tried), Settlement::Unknown(_) | Settlement::NotSent(_)) => {
            StepState::Doing(Try { mode: Mode::Unknown, due: rest(tried, tried.asked), ..tried.clone() })
        }
        (Ask::Undo, _, Settlement::Done(_)) => StepState::Undone,
        (Ask::Undo, StepState::Undoing(tried), Settlement::Refused(why)) => {
            // The machine parks the saga at once, and an operator sees why.
            StepState::Undoing(Try { mode: Mode::Unknown, refused: Some(why.clone()), ..tried.clone() })
        }
        (Ask::Undo, StepState::Undoing(tried), _) => {
            StepState::Undoing(Try { mode: Mode::Resting, due: rest(tried, tried.attempt), ..tried.clone() })
        }
        (_, state, _) => state.clone(),
    }
}
