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
}
