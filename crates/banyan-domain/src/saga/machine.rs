//! What a saga does next. The machine knows steps, answers and time, and nothing of coupons or money: the model checker
//! runs this very code.

use super::definition::{Definition, Step, StepKind, Target};
use super::event::{Ask, Cause, End, Event, Settlement};
use super::instance::{Mode, Next, Phase, Saga, StepState, Try};
use crate::Timestamp;

impl Saga {
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
        let (place, state) = self.steps.iter().enumerate().find(|(place, state)| {
            state.due(&definition.steps[*place], self.phase).is_some_and(|due| due <= now)
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
                Mode::Awaiting if self.phase == Phase::Running && tried.gives_up_waiting(step) => {
                    self.nobody_came(place, step)
                }
                Mode::Resting | Mode::Unknown | Mode::Awaiting if step.query.is_some() => {
                    self.scheduled(place, Ask::Query, tried.asked + 1)
                }
                // The same key again: it is done once, and the answer tells how it stands.
                Mode::Resting | Mode::Unknown | Mode::Awaiting => {
                    self.scheduled(place, Ask::Do, tried.attempt + 1)
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
        let park = |why: &str| Next::Event(self.parked(place, why));
        match tried.mode {
            Mode::Resting if tried.is_spent(step, tried.attempt) => match step.kind {
                StepKind::Retriable => park("it was tried as often as it may be"),
                // A pivot that may have happened is neither done nor undone by giving up.
                StepKind::Pivot if tried.maybe => park("whether it happened is not known"),
                StepKind::Pivot | StepKind::Compensatable => {
                    let cause = Cause::Step(place as u8, "it was tried as often as it may be".into());
                    Next::Event(Event::TurnedBack { saga: self.no, cause })
                }
            },
            Mode::Unknown if tried.asks_spent(step) => match step.kind {
                StepKind::Compensatable if step.promises.tombstone => {
                    let cause = Cause::Step(place as u8, "whether it happened is not known".into());
                    Next::Event(Event::TurnedBack { saga: self.no, cause })
                }
                _ => park("whether it happened is not known"),
            },
            Mode::Awaiting
                if tried.until <= self.changed_at
                    && (step.kind == StepKind::Compensatable || tried.asks_spent(step)) =>
            {
                Next::Event(self.nobody_came(place, step))
            }
            _ => Next::Wait,
        }
    }

    /// The time is over in which somebody should have come. Only before the point of no return that turns the saga back, and
    /// what may be there is undone; from there on it is for a person to say.
    fn nobody_came(&self, place: usize, step: &Step) -> Event {
        let why = "nobody came in time";
        match step.kind {
            StepKind::Compensatable => {
                Event::TurnedBack { saga: self.no, cause: Cause::Step(place as u8, why.into()) }
            }
            StepKind::Pivot | StepKind::Retriable => self.parked(place, why),
        }
    }

    /// The last step in order that has, or may have, an effect.
    pub(super) fn has_effect(&self, definition: &Definition) -> Option<usize> {
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
        let park = |why: &str| Next::Event(self.parked(place, why));
        match &self.steps[place] {
            StepState::Doing(tried) => match tried.mode {
                // The participant has it for certain, or remembers an undo that comes first: undo at once. Otherwise
                // find out first: an undo that finds nothing would leave the do to take effect later.
                mode if step.undo.is_some() && (mode == Mode::Awaiting || step.promises.tombstone) => {
                    self.undo(place, step)
                }
                Mode::Sent | Mode::Asking => Next::Wait,
                // To send it again is the only way to find out, and then it could not be taken back.
                _ if step.query.is_none() && step.undo.is_none() => {
                    park("it may have happened, and has no undo")
                }
                _ if tried.asks_spent(step) => park("whether it happened is not known"),
                _ => Next::Wait,
            },
            StepState::Done(_) => self.undo(place, step),
            StepState::Undoing(tried) => match tried.mode {
                Mode::Resting | Mode::Unknown if tried.is_spent(step, tried.attempt) => {
                    park("its undo was tried as often as it may be")
                }
                Mode::Unknown if tried.refused.is_some() => {
                    park(tried.refused.as_deref().unwrap_or("its undo was refused"))
                }
                _ => Next::Wait,
            },
            StepState::Waiting | StepState::Skipped | StepState::Not(_) | StepState::Undone => Next::Wait,
        }
    }

    fn undo(&self, place: usize, step: &Step) -> Next {
        match &step.undo {
            None => Next::Event(self.parked(place, "it has no undo")),
            Some(undo) if matches!(undo.target, Target::Local(_)) => {
                Next::Local { step: place, ask: Ask::Undo }
            }
            Some(_) => Next::Event(self.scheduled(place, Ask::Undo, 1)),
        }
    }

    fn parked(&self, place: usize, why: &str) -> Event {
        Event::Parked { saga: self.no, step: place as u8, why: why.into() }
    }

    fn scheduled(&self, place: usize, ask: Ask, attempt: u32) -> Event {
        Event::Scheduled { saga: self.no, step: place as u8, ask, attempt }
    }

    fn settled(&self, place: usize, ask: Ask, attempt: u32, result: Settlement) -> Event {
        Event::Settled { saga: self.no, step: place as u8, ask, attempt, result }
    }
}

impl Try {
    /// Whether so many tries, or questions, are as many as there may be.
    fn is_spent(&self, step: &Step, count: u32) -> bool {
        count >= step.patience.tries.saturating_add(self.forgiven)
    }

    /// Whether how it stands was asked as often as it may be: by a question where there is one, else by the same key again.
    fn asks_spent(&self, step: &Step) -> bool {
        self.is_spent(step, self.asks(step))
    }

    /// How often how it stands was asked, as far as patience counts it.
    pub(super) const fn asks(&self, step: &Step) -> u32 {
        if step.query.is_some() { self.asked.saturating_sub(self.nudged) } else { self.attempt }
    }

    /// Whether it is not asked once more when nobody came in time: what can be undone, and not be asked about, is undone.
    fn gives_up_waiting(&self, step: &Step) -> bool {
        self.asks_spent(step) || (step.query.is_none() && step.kind == StepKind::Compensatable)
    }
}
