//! What is wrong in a situation.

use super::Search;
use super::world::{NOW, Party, World};
use crate::Timestamp;
use crate::saga::definition::Step;
use crate::saga::event::End;
use crate::saga::instance::{Next, Phase, StepState};

impl Search {
    /// What is wrong here, if anything is.
    pub(super) fn judge(&self, world: &World) -> Option<&'static str> {
        let saga = &world.saga;
        if world.refused_event {
            return Some(
                "the machine makes an event that it refuses: the server would stop, and again at every start",
            );
        }
        let steps = || self.definition.steps.iter().zip(&world.parties);
        if steps().any(|(step, party)| party.effects > 1 && !step.promises.harmless) {
            return Some("a step took effect twice");
        }
        if steps().any(|(_, party)| party.effects < 0) {
            return Some("an undo took away what was not there");
        }
        if let Some(park) = &saga.parked {
            let place = usize::from(park.step);
            let (step, party) = (&self.definition.steps[place], &world.parties[place]);
            if saga.phase != Phase::Running && !world.forced && step.undo.is_none() {
                return Some("a step has to be undone and has no undo");
            }
            if saga.phase != Phase::Running && party.lapsed && party.effects == 0 {
                return Some("the saga is parked to undo what is gone by itself");
            }
        }
        if let Some(what) = self.never_ends(world) {
            return Some(what);
        }
        match saga.phase {
            Phase::Ended(End::Completed) => {
                let missing = |(state, party): (&StepState, &Party)| {
                    matches!(state, StepState::Done(_)) && party.effects != 1
                };
                let missing = saga.steps.iter().zip(&world.parties).any(missing);
                missing.then_some("the saga is completed and a step has no effect")
            }
            Phase::Ended(End::Compensated) if self.is_quiet(world) => {
                let left = |(step, party): (&Step, &Party)| {
                    !step.promises.harmless && (party.effects != 0 || party.waiting)
                };
                steps().any(left).then_some("the saga is undone and an effect is left")
            }
            _ => None,
        }
    }

    /// A saga that waits for nothing, or that asks for ever and tells nobody.
    fn never_ends(&self, world: &World) -> Option<&'static str> {
        let saga = &world.saga;
        if saga.next(&self.definition) != Next::Wait {
            return None;
        }
        let Some(due) = saga.due(&self.definition) else {
            let waits = !saga.is_over() && saga.parked.is_none();
            return waits.then_some("the saga waits for something that will never come");
        };
        let at = due.max(Timestamp::from_millis(NOW));
        if saga.fire(&self.definition, at).is_none() {
            return Some("a deadline comes and nothing is done about it");
        }
        // Patience is two tries and two questions; a webhook may have asked some more.
        let more = 2 + u32::from(self.bounds.surprises);
        let endless = saga.steps.iter().zip(&self.definition.steps).any(|(state, step)| match state {
            StepState::Doing(tried) | StepState::Undoing(tried) => {
                tried.attempt.max(tried.asked) > step.patience.tries + tried.forgiven + more
            }
            _ => false,
        });
        endless.then_some("a step is asked for again and again, and nobody is told")
    }

    /// As long as something is on its way, the end is not the end.
    fn is_quiet(&self, world: &World) -> bool {
        world.requests.is_empty()
            && world.answers.is_empty()
            && world.saga.next(&self.definition) == Next::Wait
            && world.saga.parked.is_none()
    }
}
