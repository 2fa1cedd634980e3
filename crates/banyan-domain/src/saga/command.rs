//! What can be asked of sagas, and what is answered.

use super::definition::Definition;
use super::event::{Ask, Resume, Settlement};
use super::fields::Fields;
use crate::{Actor, Reason, SagaKey, SagaName, SagaNo};
use minicbor::{Decode, Encode};

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
        /// The mark of the saga that was looked at, [`Saga::mark`](super::Saga::mark): what was decided about that is not
        /// done to another step, nor after an answer that came meanwhile.
        mark: u64,
        /// How.
        how: Resume,
        /// Who asks.
        by: Actor,
        /// Why.
        reason: Reason,
    },
}

/// The answer to a command that was carried out, and what is remembered of it: stored for ever where an idempotency key
/// was kept for an answer that needed no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Outcome {
    /// A version of a saga was defined.
    #[n(0)]
    Defined {
        /// Its number, from 1.
        #[n(0)]
        definition: u32,
    },
    /// A saga was begun or moved.
    #[n(1)]
    Saga {
        /// Which.
        #[n(0)]
        saga: SagaNo,
    },
}

impl Outcome {
    /// As three words, for columns.
    #[must_use]
    pub const fn to_words(self) -> [u64; 3] {
        match self {
            Self::Defined { definition } => [0, definition as u64, 0],
            Self::Saga { saga } => [1, saga.get(), 0],
        }
    }

    /// Back from [`Self::to_words`], or none if they are not such words.
    #[must_use]
    pub fn from_words(words: [u64; 3]) -> Option<Self> {
        Some(match words {
            [0, number, 0] => Self::Defined { definition: u32::try_from(number).ok()? },
            [1, number, 0] => Self::Saga { saga: SagaNo::new(number) },
            _ => return None,
        })
    }
}
