//! What can be asked of sagas, and what is answered.

use super::definition::Definition;
use super::event::{Ask, Resume, Settlement};
use super::fields::Fields;
use crate::{Actor, Reason, SagaKey, SagaName, SagaNo};

/// Something asked. Checked texts only: what is wrong in itself never gets here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Define a version of a saga. The same again is answered as the first time.
    Define {
        /// What it is; linted before.
        definition: Box<Definition>,
        /// Who asks.
        by: Actor,
    },
    /// Begin a saga in the newest version of its name. One for each key: the same again is answered as the first time.
    Start {
        /// Which saga.
        name: SagaName,
        /// What it is about.
        key: SagaKey,
        /// Its input.
        input: Fields,
    },
    /// Report what came of an ask.
    Settle {
        /// Which saga.
        saga: SagaNo,
        /// The place of the step.
        step: u8,
        /// What was asked.
        ask: Ask,
        /// The how-manieth time.
        attempt: u32,
        /// What came of it.
        result: Settlement,
    },
    /// Somebody outside says that a step may have moved, such as a payment company's webhook: ask now.
    Nudge {
        /// Which saga.
        saga: SagaNo,
        /// The place of the step.
        step: u8,
    },
    /// Turn a saga back, if it has not reached its pivot.
    Cancel {
        /// Which saga.
        saga: SagaNo,
        /// Who asks.
        by: Actor,
        /// Why.
        reason: Reason,
    },
    /// Let a parked saga go on.
    Resume {
        /// Which saga.
        saga: SagaNo,
        /// How.
        how: Resume,
        /// Who asks.
        by: Actor,
        /// Why.
        reason: Reason,
    },
}

/// The answer to a command that was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A version of a saga was defined.
    Defined {
        /// Its number, from 1.
        definition: u32,
    },
    /// A saga was begun or moved.
    Saga {
        /// Which.
        saga: SagaNo,
    },
}
