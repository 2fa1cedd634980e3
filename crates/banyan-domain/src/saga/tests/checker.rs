//! The model checker finds nothing wrong with sound definitions, and every planted mistake.

use super::{local, saga, service};
use crate::saga::check::{Plant, check};
use crate::saga::{Definition, Promises, StepKind, lint};

const STATES_MAX: usize = 400_000;

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

#[track_caller]
fn is_sound(definition: &Definition) {
    assert_eq!(lint(definition), []);
    let checked = check(definition, None, STATES_MAX);
    println!("{} states", checked.states);
    assert_eq!(checked.bad, None);
    assert!(checked.complete, "{} states were not enough", checked.states);
}

#[track_caller]
fn is_found(definition: &Definition, plant: Option<Plant>, what: &str) {
    let checked = check(definition, plant, STATES_MAX);
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
    is_sound(&definition);
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
