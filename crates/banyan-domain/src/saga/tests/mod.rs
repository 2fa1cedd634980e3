//! Tests of the sagas.

mod checker;
mod golden;
mod machine;
mod properties;

use super::{Action, Definition, Patience, Promises, Step, StepKind, Target, Template};
use crate::{SagaName, StepName};

/// A step of a service that keeps every promise.
fn service(name: &str, kind: StepKind) -> Step {
    let action = |operation: &str| Action {
        target: Target::Service { service: "partner".into(), operation: operation.into() },
        params: [("order".into(), Template::parse("${key}").expect("a template"))].into(),
    };
    Step {
        name: StepName::new(name).expect("a valid name"),
        kind,
        when: None,
        action: action(name),
        undo: (kind == StepKind::Compensatable).then(|| action("undo")),
        query: Some(action("query")),
        promises: Promises { idempotent: true, tombstone: kind == StepKind::Compensatable, harmless: false },
        patience: Patience::default(),
    }
}

/// A step that the store does itself.
fn local(name: &str, kind: StepKind) -> Step {
    let action = |what: &str| Action { target: Target::Local(what.into()), params: [].into() };
    Step {
        action: action("stock.reserve"),
        undo: (kind == StepKind::Compensatable).then(|| action("stock.release")),
        query: None,
        ..service(name, kind)
    }
}

fn saga(steps: Vec<Step>) -> Definition {
    let name = SagaName::new("checkout").expect("a valid name");
    Definition { name, version: 1, steps, deadline: None, at_risk: None }
}
