//! The rules that a definition must keep before it may be used.

use super::definition::{Action, Definition, Piece, Step, StepKind, Target};
use crate::limits;
use core::fmt;

/// A rule that a definition breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The step, if one is to blame.
    pub step: Option<Box<str>>,
    /// The rule, in one stable word.
    pub rule: &'static str,
    /// What is wrong and what to do, in a sentence.
    pub sentence: String,
}

/// Checks `definition`; nothing found means that it may be used.
#[must_use]
pub fn lint(definition: &Definition) -> Vec<Fault> {
    let mut faults = Vec::new();
    let steps = &definition.steps;
    let mut whole = |rule, sentence: String| faults.push(Fault { step: None, rule, sentence });
    if steps.is_empty() || steps.len() > limits::SAGA_STEPS_MAX {
        whole(
            "steps",
            format!("a saga has 1 to {} steps, and this has {}", limits::SAGA_STEPS_MAX, steps.len()),
        );
    }
    if definition.version == 0 {
        whole("version", "versions count from 1".into());
    }
    let too_long = |span: crate::Millis| span.get() == 0 || span.get() > limits::SAGA_SPAN_MILLIS_MAX;
    if definition.deadline.is_some_and(too_long) {
        whole("deadline", "the deadline must be more than nothing and at most thirty days".into());
    }
    let pivots = steps.iter().filter(|step| step.kind == StepKind::Pivot).count();
    if pivots > 1 {
        whole("one-pivot", format!("a saga has at most one point of no return, and this has {pivots}"));
    }
    let mut past_pivot = false;
    for (place, step) in steps.iter().enumerate() {
        let mut fault = |rule, sentence: String| {
            faults.push(Fault { step: Some(step.name.as_str().into()), rule, sentence });
        };
        if steps[..place].iter().any(|other| other.name == step.name) {
            fault("unique-names", "another step has this name".into());
        }
        match step.kind {
            StepKind::Compensatable if past_pivot => fault(
                "order",
                "a step that may have to be undone stands after the point of no return: move it before, or make it \
                 retriable"
                    .into(),
            ),
            StepKind::Compensatable if step.undo.is_none() && !step.promises.harmless => fault(
                "undo",
                "a compensatable step needs an undo, or the promise that it is harmless".into(),
            ),
            StepKind::Retriable if !past_pivot && pivots > 0 => fault(
                "order",
                "a retriable step stands before the point of no return, and could not be undone: move it after".into(),
            ),
            StepKind::Retriable if pivots == 0 && place + 1 < steps.len() && comes_back(steps, place) => fault(
                "order",
                "a retriable step stands before a step that may have to be undone".into(),
            ),
            _ => {}
        }
        past_pivot |= step.kind == StepKind::Pivot;
        if !step.is_local() && step.query.is_none() && !step.promises.idempotent && !step.promises.harmless {
            fault(
                "unknown",
                "an unknown outcome could never be settled: give the step a query, or promise that its participant \
                 is idempotent"
                    .into(),
            );
        }
        if step.promises.tombstone && step.undo.is_none() {
            fault("tombstone", "a participant cannot remember an undo of a step that has none".into());
        }
        if step.is_local() && step.query.is_some() {
            fault("query", "what this store does itself is never unknown: leave the query out".into());
        }
        if step.is_local()
            && step.undo.as_ref().is_some_and(|undo| matches!(undo.target, Target::Service { .. }))
        {
            fault("undo", "what this store does itself is undone here, not by a service".into());
        }
        check_patience(step, &mut fault);
        for action in [Some(&step.action), step.undo.as_ref(), step.query.as_ref()].into_iter().flatten() {
            check_action(action, definition, place, &mut fault);
        }
    }
    faults
}

/// Whether a step after `place` may send the saga back.
fn comes_back(steps: &[Step], place: usize) -> bool {
    steps[place + 1..].iter().any(|step| step.kind != StepKind::Retriable)
}

fn check_patience(step: &Step, fault: &mut impl FnMut(&'static str, String)) {
    let patience = &step.patience;
    let spans = [patience.timeout, patience.retry_first, patience.retry_longest];
    if spans.iter().any(|span| span.get() == 0 || span.get() > limits::SAGA_SPAN_MILLIS_MAX) {
        fault("patience", "timeout and waits must be more than nothing and at most thirty days".into());
    }
    if patience.retry_first > patience.retry_longest {
        fault("patience", "the first wait is longer than the longest".into());
    }
    if patience.tries == 0 || patience.tries > 10_000 {
        fault("patience", "tries must be 1 to 10,000".into());
    }
    if patience.settles_after.get() > limits::SAGA_SPAN_MILLIS_MAX {
        fault("patience", "settles_after must be at most thirty days".into());
    }
    let asks: u64 =
        (1..=patience.tries.min(10_000)).map(|n| patience.rest(n).get()).fold(0, u64::saturating_add);
    if step.query.is_some() && asks < patience.settles_after.get() {
        fault(
            "patience",
            "all questions would be asked before a late request can be ruled out: raise tries or the waits, or lower \
             settles_after"
                .into(),
        );
    }
}

fn check_action(
    action: &Action,
    definition: &Definition,
    place: usize,
    fault: &mut impl FnMut(&'static str, String),
) {
    if action.params.len() > limits::SAGA_FIELDS_MAX {
        fault("params", format!("an action has at most {} parameters", limits::SAGA_FIELDS_MAX));
    }
    for (name, template) in &action.params {
        for piece in &template.0 {
            if let Piece::Output(step, field) = piece {
                // An action may read what its own step said: an undo needs the number that its do was given.
                let known = definition.place(step.as_str()).is_some_and(|known| known <= place);
                if !known {
                    fault(
                        "params",
                        format!("{name} reads {step}.{field}, and no step of this name comes before"),
                    );
                }
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.step {
            Some(step) => write!(f, "step {step}: {} [{}]", self.sentence, self.rule),
            None => write!(f, "{} [{}]", self.sentence, self.rule),
        }
    }
}
