//! The rules for what is asked. What a saga does by itself is in `machine`.

use super::command::{Command, Outcome};
use super::definition::{Definition, StepKind};
use super::event::{Ask, Cause, Event, Resume};
use super::instance::{Mode, Phase, Saga, StepState};
use super::state::Sagas;
use super::{Refusal, lint};
use crate::{Actor, Decided, SagaNo, Timestamp, limits};

/// What a command comes to, if it is not refused. What is remembered of an answer is the answer itself.
pub(crate) type Decision = Decided<Event, Outcome, Outcome>;

fn as_it_is(outcome: Outcome) -> Decision {
    Decision::AsItIs(outcome, outcome)
}

impl Sagas {
    /// Decides one command. Checks run in the order of [`Refusal`].
    pub(crate) fn decide(&self, command: Command) -> Result<Decision, Refusal> {
        match command {
            Command::Define { definition, by } => self.define(definition, by),
            Command::Start { name, key, input } => {
                let (definition, _) = self.newest(&name).ok_or(Refusal::SagaNotDefined)?;
                if input.check().is_err() {
                    return Err(Refusal::SagaInputTooLarge);
                }
                if let Some(saga) = self.by_key(&name, &key) {
                    let known = self.by_key.get(&(name, key)).and_then(|known| known.input);
                    if known.is_some_and(|known| known != input.digest()) {
                        return Err(Refusal::SagaKeyReused);
                    }
                    return Ok(as_it_is(Outcome::Saga { saga }));
                }
                Ok(Decision::One(Event::Started {
                    saga: SagaNo::new(self.started + 1),
                    definition,
                    key,
                    input,
                }))
            }
            Command::Settle { saga: no, step, ask, attempt, result } => {
                let (saga, _) = self.find(no)?;
                if saga.takes(usize::from(step), ask, attempt, &result) {
                    Ok(Decision::One(Event::Settled { saga: no, step, ask, attempt, result }))
                } else {
                    Ok(as_it_is(Outcome::Saga { saga: no }))
                }
            }
            Command::Nudge { saga: no, step } => {
                let (saga, definition) = self.find(no)?;
                let asks = definition.steps.get(usize::from(step)).is_some_and(|step| step.query.is_some());
                match saga.steps.get(usize::from(step)) {
                    Some(StepState::Doing(tried))
                        if asks
                            && saga.parked.is_none()
                            && matches!(tried.mode, Mode::Awaiting | Mode::Unknown) =>
                    {
                        let attempt = tried.asked + 1;
                        Ok(Decision::One(Event::Scheduled { saga: no, step, ask: Ask::Query, attempt }))
                    }
                    _ => Ok(as_it_is(Outcome::Saga { saga: no })),
                }
            }
            Command::Cancel { saga: no, by, reason } => {
                let (saga, definition) = self.find(no)?;
                if let Some(Cause::Cancelled(..)) = saga.cause {
                    return Ok(as_it_is(Outcome::Saga { saga: no }));
                }
                if saga.phase != Phase::Running || pivot_may_have_happened(saga, definition) {
                    return Err(Refusal::SagaTooLate);
                }
                Ok(Decision::One(Event::TurnedBack { saga: no, cause: Cause::Cancelled(by, reason) }))
            }
            Command::Resume { saga: no, mark, how, by, reason } => {
                let (saga, _) = self.find(no)?;
                if saga.parked.is_none() {
                    return Err(Refusal::SagaNotParked);
                }
                if saga.mark() != mark {
                    return Err(Refusal::SagaChanged);
                }
                match &how {
                    Resume::Skip(output) if output.check().is_err() => {
                        return Err(Refusal::SagaInputTooLarge);
                    }
                    Resume::Undo if saga.phase != Phase::Running => return Err(Refusal::SagaCannotUndo),
                    _ => {}
                }
                Ok(Decision::One(Event::Resumed { saga: no, how, by, reason }))
            }
        }
    }

    fn define(&self, definition: Box<Definition>, by: Actor) -> Result<Decision, Refusal> {
        let newest = self.newest(&definition.name);
        if let Some((number, _)) = newest
            .filter(|(_, newest)| **newest == *definition)
            .or_else(|| self.definitions().find(|(_, known)| **known == *definition))
        {
            return Ok(as_it_is(Outcome::Defined { definition: number }));
        }
        if definition.version != newest.map_or(1, |(_, newest)| newest.version + 1) {
            return Err(Refusal::SagaVersion);
        }
        if self.definitions.len() >= limits::SAGA_DEFINITIONS_MAX as usize {
            return Err(Refusal::TooManySagas);
        }
        if !lint(&definition).is_empty() {
            return Err(Refusal::SagaInvalid);
        }
        Ok(Decision::One(Event::Defined { definition, by }))
    }

    fn find(&self, no: SagaNo) -> Result<(&Saga, &Definition), Refusal> {
        let saga = self.saga(no).ok_or(Refusal::SagaNotFound)?;
        let definition = self.definition(saga.definition).expect("a saga's definition is kept for ever");
        Ok((saga, definition))
    }

    /// What is due at `now`, as events; at most `events_max`, and the rest at the next call once these are applied.
    pub(crate) fn due(&self, now: Timestamp, events_max: usize) -> Vec<Event> {
        let due = self.deadlines.iter().take_while(|(at, _)| *at <= now).take(events_max);
        due.filter_map(|(_, no)| {
            let saga = &self.sagas[no];
            saga.fire(&self.definitions[saga.definition as usize - 1], now)
        })
        .collect()
    }
}

/// Whether it is too late for a plain cancel: a pivot that only waits to be sent again may still be left alone. Where there
/// is no pivot, the first step that cannot be undone is the point of no return.
pub(super) fn pivot_may_have_happened(saga: &Saga, definition: &Definition) -> bool {
    saga.steps.iter().zip(&definition.steps).any(|(state, step)| {
        step.kind != StepKind::Compensatable
            && match state {
                StepState::Done(_) | StepState::Skipped => true,
                StepState::Doing(tried) => tried.maybe || tried.mode == Mode::Sent,
                _ => false,
            }
    })
}
