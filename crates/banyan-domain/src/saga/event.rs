//! What can happen to sagas. Events are stored for ever: fields get new numbers, never new meanings.

use super::definition::Definition;
use super::fields::Fields;
use crate::{Actor, Reason, SagaKey, SagaNo, Timestamp};
use minicbor::{Decode, Encode};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Event {
    /// A version of a saga was defined.
    #[n(0)]
    Defined {
        /// What it is. Its number is how many were defined before, and one.
        #[n(0)]
        definition: Box<Definition>,
        /// By whom.
        #[n(1)]
        by: Actor,
    },
    /// A saga began.
    #[n(1)]
    Started {
        /// The number it got.
        #[n(0)]
        saga: SagaNo,
        /// The number of its definition, from 1.
        #[n(1)]
        definition: u32,
        /// What it is about.
        #[n(2)]
        key: SagaKey,
        /// Its input.
        #[n(3)]
        input: Fields,
    },
    /// Something is about to be asked of a participant: the intent, durable before the effect.
    #[n(2)]
    Scheduled {
        /// Which saga.
        #[n(0)]
        saga: SagaNo,
        /// The place of the step.
        #[n(1)]
        step: u8,
        /// What is asked.
        #[n(2)]
        ask: Ask,
        /// The how-manieth time, from 1.
        #[n(3)]
        attempt: u32,
    },
    /// What came of it, or that no answer came in time.
    #[n(3)]
    Settled {
        /// Which saga.
        #[n(0)]
        saga: SagaNo,
        /// The place of the step.
        #[n(1)]
        step: u8,
        /// What was asked.
        #[n(2)]
        ask: Ask,
        /// The how-manieth time; 1 for what this shard did itself.
        #[n(3)]
        attempt: u32,
        /// What came of it.
        #[n(4)]
        result: Settlement,
    },
    /// A step was passed over, because its condition does not hold.
    #[n(4)]
    Skipped {
        /// Which saga.
        #[n(0)]
        saga: SagaNo,
        /// The place of the step.
        #[n(1)]
        step: u8,
    },
    /// From here on the saga undoes what it did.
    #[n(5)]
    TurnedBack {
        /// Which saga.
        #[n(0)]
        saga: SagaNo,
        /// Why.
        #[n(1)]
        cause: Cause,
    },
    /// The saga cannot go on by itself.
    #[n(6)]
    Parked {
        /// Which saga.
        #[n(0)]
        saga: SagaNo,
        /// The place of the step.
        #[n(1)]
        step: u8,
        /// Why.
        #[n(2)]
        why: Box<str>,
    },
    /// An operator let a parked saga go on.
    #[n(7)]
    Resumed {
        /// Which saga.
        #[n(0)]
        saga: SagaNo,
        /// How.
        #[n(1)]
        how: Resume,
        /// By whom.
        #[n(2)]
        by: Actor,
        /// Why.
        #[n(3)]
        reason: Reason,
    },
    /// The saga is over.
    #[n(8)]
    Ended {
        /// Which saga.
        #[n(0)]
        saga: SagaNo,
        /// How.
        #[n(1)]
        end: End,
    },
}

/// What is asked of a participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Ask {
    /// To do the step.
    #[n(0)]
    Do,
    /// To undo it.
    #[n(1)]
    Undo,
    /// Whether it was done.
    #[n(2)]
    Query,
}

/// What came of an ask.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Settlement {
    /// It happened.
    #[n(0)]
    Done(#[n(0)] Fields),
    /// A business no: nothing happened, and asking again would not help.
    #[n(1)]
    Refused(#[n(0)] Box<str>),
    /// Nobody knows whether it happened.
    #[n(2)]
    Unknown(#[n(0)] Box<str>),
    /// It certainly did not reach the participant.
    #[n(3)]
    NotSent(#[n(0)] Box<str>),
    /// The participant has it and waits for somebody, such as a shopper at a card page, until an instant.
    #[n(4)]
    Awaiting(#[n(0)] Fields, #[n(1)] Timestamp),
    /// The participant knows nothing of it. Only to a query.
    #[n(5)]
    Absent,
}

/// Why a saga turned back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Cause {
    /// The step at this place could not be done.
    #[n(0)]
    Step(#[n(0)] u8, #[n(1)] Box<str>),
    /// Somebody cancelled it.
    #[n(1)]
    Cancelled(#[n(0)] Actor, #[n(1)] Reason),
    /// Its time was over.
    #[n(2)]
    TimedOut,
    /// An operator forced it.
    #[n(3)]
    Forced,
}

/// How an operator lets a parked saga go on.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Resume {
    /// Try the step again.
    #[n(0)]
    Retry,
    /// Count the step as done (or undone) by hand, with this output.
    #[n(1)]
    Skip(#[n(0)] Fields),
    /// Turn back, past the pivot too.
    #[n(2)]
    Undo,
}

/// How a saga ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum End {
    /// Every step was done.
    #[n(0)]
    Completed,
    /// Everything that was done was undone.
    #[n(1)]
    Compensated,
}

impl Event {
    /// The saga it concerns, if one.
    #[must_use]
    pub const fn saga(&self) -> Option<SagaNo> {
        match self {
            Self::Defined { .. } => None,
            Self::Started { saga, .. }
            | Self::Scheduled { saga, .. }
            | Self::Settled { saga, .. }
            | Self::Skipped { saga, .. }
            | Self::TurnedBack { saga, .. }
            | Self::Parked { saga, .. }
            | Self::Resumed { saga, .. }
            | Self::Ended { saga, .. } => Some(*saga),
        }
    }
}
