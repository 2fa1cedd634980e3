//! What each event changes in a saga, checked before it is made, and which answers still say something.

use super::definition::{Definition, Step, Target};
use super::event::{Ask, Cause, End, Event, Resume, Settlement};
use super::instance::{Mode, Park, Phase, Saga, StepState, Try};
use crate::Timestamp;
use crate::state::Violation;

type Result<T = ()> = core::result::Result<T, Violation>;

fn ensure(holds: bool, what: &'static str) -> Result {
    if holds { Ok(()) } else { Err(Violation::new(what)) }
}

impl Saga {
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
                self.turn_back(definition, cause.clone());
            }
            Event::Parked { step, why, .. } => {
                ensure(self.parked.is_none(), "a saga was parked twice")?;
                ensure(
                    usize::from(*step) < self.steps.len(),
                    "a saga was parked at a step that it does not have",
                )?;
                self.parked = Some(Park { step: *step, why: why.clone(), since: at });
            }
            Event::Resumed { how, .. } => self.apply_resumed(definition, at, how)?,
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

    fn turn_back(&mut self, definition: &Definition, cause: Cause) {
        self.phase = Phase::Compensating;
        self.cause = Some(cause);
        self.parked = None;
        for (state, step) in self.steps.iter_mut().zip(&definition.steps) {
            let StepState::Doing(tried) = state else { continue };
            // What rests between two tries that never reached anybody is not tried again.
            if tried.mode == Mode::Resting && !tried.maybe {
                *state = StepState::Not("it was never sent".into());
            } else if step.promises.harmless {
                *state = StepState::Not("it has no effect, and is needed no more".into());
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
            nudged: 0,
        };
        let state = &mut self.steps[place];
        match (ask, &mut *state) {
            (Ask::Do, StepState::Waiting) => {
                ensure(attempt == 1, "a step was first tried a second time")?;
                ensure(self.phase == Phase::Running, "a step was begun on the way back")?;
                *state = StepState::Doing(Box::new(first));
            }
            (Ask::Do, StepState::Doing(tried)) => {
                ensure(attempt == tried.attempt + 1, "the tries of a step do not follow each other")?;
                **tried = Try { attempt, mode: Mode::Sent, sent_at: at, due, ..(**tried).clone() };
            }
            (Ask::Query, StepState::Doing(tried)) => {
                ensure(attempt == tried.asked + 1, "the questions of a step do not follow each other")?;
                let nudged = tried.nudged.saturating_add(u32::from(at < tried.due));
                let asked =
                    Try { asked: attempt, mode: Mode::Asking, asked_at: at, due, ..(**tried).clone() };
                **tried = Try { nudged, ..asked };
            }
            (Ask::Undo, StepState::Doing(_) | StepState::Done(_)) => {
                ensure(attempt == 1, "an undo was first tried a second time")?;
                ensure(self.phase != Phase::Running, "a step was undone on the way forward")?;
                *state = StepState::Undoing(Box::new(first));
            }
            (Ask::Undo, StepState::Undoing(tried)) => {
                ensure(attempt == tried.attempt + 1, "the tries of an undo do not follow each other")?;
                **tried = Try { attempt, mode: Mode::Sent, sent_at: at, due, ..(**tried).clone() };
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

    fn apply_resumed(&mut self, definition: &Definition, at: Timestamp, how: &Resume) -> Result {
        let park = self.parked.clone().ok_or(Violation::new("a saga was resumed that was not parked"))?;
        let place = usize::from(park.step);
        let running = self.phase == Phase::Running;
        match how {
            Resume::Retry => match &mut self.steps[place] {
                StepState::Doing(tried) | StepState::Undoing(tried) => {
                    tried.forgiven = tried.attempt.max(tried.asked.saturating_sub(tried.nudged));
                    tried.due = at;
                    tried.refused = None;
                }
                // A step that was refused after the pivot is tried from the beginning.
                state @ StepState::Not(_) => *state = StepState::Waiting,
                // Nothing of it is under way: the machine goes on from here, or parks the saga again.
                _ => {}
            },
            Resume::Skip(output) => match &mut self.steps[place] {
                // It was done after all, and nothing else was typed: what it said stands.
                StepState::Done(_) if running && output.is_empty() => {}
                state if running => *state = StepState::Done(output.clone()),
                state => *state = StepState::Undone,
            },
            Resume::Undo => {
                ensure(running, "a saga was forced back that was on its way back")?;
                self.turn_back(definition, Cause::Forced);
            }
        }
        self.parked = None;
        Ok(())
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
        (Ask::Do, StepState::Doing(tried), Settlement::Unknown(_)) => StepState::Doing(Box::new(Try {
            maybe: true,
            mode: Mode::Unknown,
            due: rest(tried, tried.attempt),
            ..(**tried).clone()
        })),
        (Ask::Do, StepState::Doing(tried), Settlement::NotSent(why)) => {
            if !running && !tried.maybe {
                return StepState::Not(why.clone());
            }
            let mode = if tried.maybe { Mode::Unknown } else { Mode::Resting };
            StepState::Doing(Box::new(Try { mode, due: rest(tried, tried.attempt), ..(**tried).clone() }))
        }
        (Ask::Do | Ask::Query, StepState::Doing(tried), Settlement::Awaiting(output, until)) => {
            let (until, output) = (*until, output.clone());
            let due = if until > at { until } else { rest(tried, tried.asks(step)) };
            StepState::Doing(Box::new(Try {
                maybe: true,
                mode: Mode::Awaiting,
                due,
                until,
                output,
                ..(**tried).clone()
            }))
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
            StepState::Doing(Box::new(Try {
                mode,
                maybe,
                due: rest(tried, tried.asks(step)),
                ..(**tried).clone()
            }))
        }
        (Ask::Query, StepState::Doing(tried), Settlement::Unknown(_) | Settlement::NotSent(_)) => {
            StepState::Doing(Box::new(Try {
                mode: Mode::Unknown,
                due: rest(tried, tried.asks(step)),
                ..(**tried).clone()
            }))
        }
        (Ask::Undo, _, Settlement::Done(_)) => StepState::Undone,
        (Ask::Undo, StepState::Undoing(tried), Settlement::Refused(why)) => {
            // The machine parks the saga at once, and an operator sees why.
            StepState::Undoing(Box::new(Try {
                mode: Mode::Unknown,
                refused: Some(why.clone()),
                ..(**tried).clone()
            }))
        }
        (Ask::Undo, StepState::Undoing(tried), _) => StepState::Undoing(Box::new(Try {
            mode: Mode::Resting,
            due: rest(tried, tried.attempt),
            ..(**tried).clone()
        })),
        (_, state, _) => state.clone(),
    }
}
