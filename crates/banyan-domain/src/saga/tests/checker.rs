//! The model checker finds nothing wrong with sound definitions, and every planted mistake.

use super::{local, saga, service};
use crate::saga::check::{Bounds, Plant, check};
use crate::saga::{Definition, Promises, StepKind, lint};

fn sound() -> Definition {
    saga(vec![
        local("reserve", StepKind::Compensatable),
        service("authorize", StepKind::Compensatable),
        service("capture", StepKind::Pivot),
        service("book", StepKind::Retriable),
        local("commit", StepKind::Retriable),
    ])
}

fn short() -> Definition {
    saga(vec![
        local("reserve", StepKind::Compensatable),
        service("authorize", StepKind::Compensatable),
        service("capture", StepKind::Pivot),
    ])
}

/// With one surprise: each more takes some four times as long.
#[track_caller]
fn is_sound(definition: &Definition) {
    is_sound_with(1, definition);
}

#[track_caller]
fn is_sound_with(surprises: u8, definition: &Definition) {
    assert_eq!(lint(definition), []);
    let checked = check(definition, None, Bounds { surprises, ..Bounds::default() });
    println!("{} states", checked.states);
    assert_eq!(checked.bad, None);
    assert!(checked.complete, "{} states were not enough", checked.states);
}

#[track_caller]
fn is_found(definition: &Definition, plant: Option<Plant>, what: &str) {
    let checked = check(definition, plant, Bounds::default());
    let bad = checked.bad.expect("the mistake is found");
    println!("{}: {:#?}", bad.what, bad.moves);
    assert_eq!(bad.what, what);
}

#[test]
fn a_sound_saga_ends_well_whatever_happens() {
    is_sound(&sound());
}

#[test]
fn two_services_before_the_pivot_end_well() {
    is_sound(&saga(vec![
        service("authorize", StepKind::Compensatable),
        service("book", StepKind::Compensatable),
        service("capture", StepKind::Pivot),
    ]));
}

#[test]
fn a_participant_without_tombstones_is_asked_before_it_is_undone() {
    let mut definition = short();
    for step in &mut definition.steps {
        step.promises.tombstone = false;
    }
    is_sound(&definition);
}

#[test]
fn a_participant_that_is_only_asked_and_never_told_twice() {
    let mut definition = short();
    for step in &mut definition.steps {
        step.promises = Promises::default();
    }
    // Without surprises: an operator who lets a refused step be tried again sends a second do under the same key, and this
    // participant's answer about the first may be taken for one about the second.
    is_sound_with(0, &definition);
}

#[test]
fn a_saga_whose_pivot_is_passed_over_ends_well() {
    let mut definition = sound();
    definition.steps[2].when = Some("amount".into());
    definition.steps[3].when = Some("delivery".into());
    is_sound(&definition);
}

#[test]
fn a_missing_undo_is_found() {
    let mut definition = sound();
    definition.steps[1].undo = None;
    assert!(lint(&definition).iter().any(|fault| fault.rule == "undo"));
    is_found(&definition, None, "a step has to be undone and has no undo");
}

#[test]
fn an_undo_that_is_not_idempotent_is_found() {
    is_found(&sound(), Some(Plant::UndoTwice), "an undo took away what was not there");
}

#[test]
fn an_effect_before_its_intent_is_found() {
    is_found(&sound(), Some(Plant::EffectBeforeIntent), "the saga is undone and an effect is left");
}

#[test]
fn a_key_that_changes_from_try_to_try_is_found() {
    is_found(&sound(), Some(Plant::KeyPerTry), "a step took effect twice");
}

#[test]
fn a_forgotten_tombstone_is_found() {
    is_found(&sound(), Some(Plant::NoTombstone), "the saga is undone and an effect is left");
}

#[test]
fn silence_taken_for_a_refusal_is_found() {
    is_found(&sound(), Some(Plant::UnknownIsRefused), "the saga is undone and an effect is left");
}

/// Bug: a pivot, or a step after it, that waited for somebody and could not be asked about turned back past the point of no
/// return; on the way back the same again was refused by the saga itself, and the server stopped at every start.
#[test]
fn a_pivot_that_waits_for_somebody_and_cannot_be_asked_about() {
    let mut definition = short();
    definition.steps[2].query = None;
    is_sound_with(2, &definition);
}

#[test]
fn a_step_after_the_pivot_that_waits_for_somebody_and_cannot_be_asked_about() {
    let mut definition =
        saga(vec![service("capture", StepKind::Pivot), service("tell", StepKind::Retriable)]);
    definition.steps[1].query = None;
    is_sound(&definition);
}

#[test]
fn somebody_who_is_waited_for_taken_for_a_refusal_is_found() {
    is_found(&sound(), Some(Plant::WaitingIsRefused), "the saga is undone and an effect is left");
}

#[test]
fn an_undo_that_is_refused_after_its_do_has_lapsed_is_found() {
    is_found(&sound(), Some(Plant::LapsedUndoIsRefused), "the saga is parked to undo what is gone by itself");
}

/// Bug: what could neither be asked about nor undone before its do was sent again for ever on the way back, and never parked.
#[test]
fn a_step_without_a_query_or_a_tombstone_does_not_go_on_for_ever() {
    let mut definition = short();
    definition.steps[1].query = None;
    definition.steps[1].promises.tombstone = false;
    is_sound(&definition);
}

#[test]
fn a_saga_with_a_deadline_ends_well_whenever_it_is_over() {
    let mut definition = short();
    definition.deadline = Some(crate::Millis::from_seconds(60));
    is_sound_with(2, &definition);
}
