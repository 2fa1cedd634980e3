//! The steps of a saga as a small diagram: forward from left to right, each with its undo below it, and a line where there
//! is no way back.

use crate::parts;
use crate::text::{self, Lang, Text};
use banyan_domain::saga::{Action, Definition, End, Mode, Phase, Saga, Step, StepKind, StepState, Target};
use maud::{Markup, html};

/// Where a saga stands, for lists and titles: parked comes before the way it goes.
pub(crate) fn saga_state(lang: Lang, phase: Phase, is_parked: bool) -> Markup {
    if is_parked {
        return parts::state(lang, "parked", text::PHASE_PARKED);
    }
    match phase {
        Phase::Running => parts::state(lang, "running", text::PHASE_RUNNING),
        Phase::Compensating => parts::state(lang, "compensating", text::PHASE_BACK),
        Phase::Ended(End::Completed) => parts::state(lang, "completed", text::PHASE_COMPLETED),
        Phase::Ended(End::Compensated) => parts::state(lang, "compensated", text::PHASE_COMPENSATED),
    }
}

/// Where a step stands: the name of its shape, and the word.
pub(crate) const fn step_words(state: &StepState) -> (&'static str, Text) {
    match state {
        StepState::Waiting => ("waiting", text::STEP_WAITING),
        StepState::Skipped => ("skipped", text::STEP_SKIPPED),
        StepState::Doing(tried) => match tried.mode {
            Mode::Sent => ("running", text::STEP_SENT),
            Mode::Resting => ("retrying", text::STEP_RESTING),
            Mode::Unknown => ("unknown", text::STEP_UNKNOWN),
            Mode::Asking => ("unknown", text::STEP_ASKING),
            Mode::Awaiting => ("held", text::STEP_AWAITING),
        },
        StepState::Done(_) => ("completed", text::STEP_DONE),
        StepState::Not(_) => ("failed", text::STEP_NOT),
        StepState::Undoing(tried) => match tried.mode {
            Mode::Unknown | Mode::Asking => ("unknown", text::STEP_UNKNOWN),
            _ => ("compensating", text::STEP_UNDOING),
        },
        StepState::Undone => ("compensated", text::STEP_UNDONE),
    }
}

/// The step a saga is at: the one under way, the one it is parked at, or the last one reached.
pub(crate) fn stands_at(saga: &Saga) -> Option<usize> {
    if let Some(park) = &saga.parked {
        return Some(usize::from(park.step));
    }
    let under_way = |state: &StepState| matches!(state, StepState::Doing(_) | StepState::Undoing(_));
    saga.steps.iter().position(under_way)
}

/// Whom an action is asked of, in words: `stock.reserve`, `company authorize`.
pub(crate) fn target(action: &Action) -> String {
    match &action.target {
        Target::Local(name) => name.to_string(),
        Target::Service { service, operation } => format!("{service} {operation}"),
    }
}

/// A name that may be broken after its dots, in the narrow boxes of the diagram.
fn broken(name: &str) -> Markup {
    html! { @for (index, part) in name.split('.').enumerate() { @if index > 0 { "." wbr; } (part) } }
}

/// The diagram of `definition`, with where each step of `saga` stands if there is one.
pub(crate) fn diagram(lang: Lang, definition: &Definition, saga: Option<&Saga>) -> Markup {
    let parked = saga.and_then(|saga| saga.parked.as_ref()).map(|park| usize::from(park.step));
    html! {
        ol.steps aria-label=(lang.t(text::STEPS)) {
            @for (place, step) in definition.steps.iter().enumerate() {
                @let state = saga.and_then(|saga| saga.steps.get(place));
                (step_box(lang, step, state, parked == Some(place)))
            }
        }
    }
}

fn step_box(lang: Lang, step: &Step, state: Option<&StepState>, is_parked: bool) -> Markup {
    let kind = match step.kind {
        StepKind::Compensatable => "compensatable",
        StepKind::Pivot => "pivot",
        StepKind::Retriable => "retriable",
    };
    let reached = state.map(|state| step_words(state).0);
    html! {
        li data-kind=(kind) data-step=[reached] data-parked=[is_parked.then_some("")] {
            @if step.kind == StepKind::Pivot { span.pivot { (lang.t(text::POINT_OF_NO_RETURN)) } }
            div.box {
                b { (step.name) }
                @if let Some(state) = state {
                    @if is_parked { (parts::state(lang, "parked", text::PHASE_PARKED)) }
                    @else { @let (shape, word) = step_words(state); (parts::state(lang, shape, word)) }
                }
                span.target title=(target(&step.action)) { (broken(&target(&step.action))) }
                @if let Some(field) = &step.when { span.when { (lang.f(text::ONLY_WITH, &[field])) } }
            }
            @if let Some(undo) = &step.undo {
                span.undo title=(lang.f(text::UNDO_BY, &[&target(undo)])) {
                    svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true" { path d="M6 3L2.500 6.500L6 10M3 6.500h6.500a3.500 3.500 0 0 1 0 7H7" {} }
                    span.sr { (lang.t(text::LANE_UNDO)) " " } span { (broken(&target(undo))) }
                }
            }
        }
    }
}
