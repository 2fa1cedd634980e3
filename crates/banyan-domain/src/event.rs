//! Commands, events and answers over all capabilities.

use crate::{KeyStamp, Remembered, StoreSecret, coupon};
use minicbor::{Decode, Encode};

/// Something asked of the shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Of the coupon capability.
    Coupon(coupon::Command),
}

/// Something that happened. Stored for ever.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Event {
    /// The store was created: always the first event.
    #[n(0)]
    StoreCreated {
        /// The secret that every key follows from.
        #[n(0)]
        secret: StoreSecret,
    },
    /// The live writer's digest of the state just before this event: a replay compares its own.
    #[n(1)]
    StateDigested {
        /// Upper half of the digest.
        #[n(0)]
        high: u64,
        /// Lower half of the digest.
        #[n(1)]
        low: u64,
    },
    /// In the coupon capability.
    #[n(2)]
    Coupon(#[n(0)] coupon::Event),
    /// A command under an idempotency key found nothing left to do: changes nothing, and keeps the key and its answer, so
    /// that the key can never come to anything else. Its entry always has the key.
    #[n(3)]
    KeyKept {
        /// What was answered.
        #[n(0)]
        answer: Remembered,
    },
}

/// One event as it stands in the log, with the idempotency key of the command that caused it, if it had one.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Entry {
    /// What happened.
    #[n(0)]
    pub event: Event,
    /// The key, on the last event of its command.
    #[n(1)]
    pub stamp: Option<KeyStamp>,
}

/// The answer to a command that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// By the coupon capability.
    Coupon(coupon::Outcome),
}

impl Event {
    /// The number under which the events of the coupon capability are stored.
    pub(crate) const COUPON_TAG: u32 = 2;
}

impl From<coupon::Event> for Event {
    fn from(event: coupon::Event) -> Self {
        Self::Coupon(event)
    }
}
