//! What may be answered to a command about sagas.

use crate::model::sagas::{Saga, Sagas};
use banyan_domain::saga::{Ask, Cause, Command, Event, Outcome, Refusal as No};
use banyan_domain::{SagaNo, limits};

/// The answer to a command that has nothing left to do.
pub(super) fn natural(sagas: &Sagas, command: &Command) -> Option<Outcome> {
    match command {
        Command::Define { definition, .. } => {
            let at = sagas.definitions.iter().position(|known| *known == **definition)?;
            Some(Outcome::Defined { definition: at as u32 + 1 })
        }
        Command::Start { name, key, .. } => {
            let saga = sagas.by_key(name, key)?;
            Some(Outcome::Saga { saga })
        }
        // An answer that says nothing any more, and a hint that helps nobody, are taken all the same.
        Command::Settle { saga, .. } | Command::Nudge { saga, .. } => {
            sagas.saga(*saga).map(|_| Outcome::Saga { saga: *saga })
        }
        Command::Cancel { saga, .. } => {
            let found = sagas.saga(*saga)?;
            let cancelled = matches!(found.turned, Some(Cause::Cancelled(..)));
            cancelled.then_some(Outcome::Saga { saga: *saga })
        }
        Command::Resume { .. } => None,
    }
}

/// Whether `no` is true of `command` at `now`.
pub(super) fn justified(sagas: &Sagas, now: u64, command: &Command, no: No) -> bool {
    let of = |no: SagaNo| sagas.saga(no);
    let gone = |saga: Option<&Saga>| {
        let old = |saga: &Saga| saga.ended_at.is_some_and(|at| at + limits::SAGA_LATE_MILLIS <= now);
        saga.is_none_or(old)
    };
    match command {
        Command::Define { .. } => false,
        Command::Start { name, key, input } => match no {
            No::SagaNotDefined => sagas.newest(name).is_none(),
            No::SagaKeyReused => {
                let known = sagas.by_key(name, key).and_then(of);
                known.is_some_and(|known| known.input != *input)
            }
            _ => false,
        },
        Command::Settle { saga, .. } | Command::Nudge { saga, .. } => {
            no == No::SagaNotFound && gone(of(*saga))
        }
        Command::Cancel { saga, .. } => match of(*saga) {
            found if no == No::SagaNotFound => gone(found),
            Some(found) if no == No::SagaTooLate => {
                let over = found.turned.is_some() || found.ended.is_some();
                over || found.is_past_pivot(sagas.definition(found))
            }
            _ => false,
        },
        Command::Resume { saga, .. } => match of(*saga) {
            found if no == No::SagaNotFound => gone(found),
            Some(found) => match no {
                No::SagaNotParked => found.parked.is_none(),
                // The mark is the domain's own; that it is parked, and not to be resumed so, is what can be said.
                No::SagaChanged => found.parked.is_some(),
                No::SagaCannotUndo => found.turned.is_some(),
                _ => false,
            },
            None => false,
        },
    }
}

/// Whether `event` is something that `command` may come to: its own event, before whatever the saga does by itself.
pub(super) fn fits(sagas: &Sagas, command: &Command, event: &Event) -> bool {
    match (command, event) {
        (Command::Define { definition, .. }, Event::Defined { definition: defined, .. }) => {
            definition == defined
        }
        (
            Command::Start { name, key, input },
            Event::Started { definition, key: about, input: given, .. },
        ) => sagas.newest(name) == Some(*definition as usize - 1) && key == about && input == given,
        (
            Command::Settle { saga, step, ask, attempt, result },
            Event::Settled { saga: of, step: at, ask: asked, attempt: tried, result: settled },
        ) => (saga, step, ask, attempt, result) == (of, at, asked, tried, settled),
        (Command::Nudge { saga, step }, Event::Scheduled { saga: of, step: at, ask, .. }) => {
            saga == of && step == at && *ask == Ask::Query
        }
        (Command::Cancel { saga, by, reason }, Event::TurnedBack { saga: of, cause }) => {
            saga == of && *cause == Cause::Cancelled(by.clone(), reason.clone())
        }
        (Command::Resume { saga, how, .. }, Event::Resumed { saga: of, how: went, .. }) => {
            saga == of && how == went
        }
        _ => false,
    }
}

/// What the log says about the saga that `command` concerns.
pub(super) fn about(sagas: &Sagas, command: &Command) -> String {
    match command {
        Command::Settle { saga, .. }
        | Command::Nudge { saga, .. }
        | Command::Cancel { saga, .. }
        | Command::Resume { saga, .. } => format!("{:?}", sagas.saga(*saga)),
        Command::Start { key, .. } => format!("the saga of {key}"),
        Command::Define { .. } => format!("{} definitions", sagas.definitions.len()),
    }
}
