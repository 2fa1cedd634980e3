//! Commands, events and answers over all capabilities.

use crate::{KeyStamp, Remembered, StoreSecret, coupon, legacy, order, pay, saga, stock};
use minicbor::{Decode, Encode};

/// Something asked of the shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Of the coupon capability.
    Coupon(coupon::Command),
    /// Of the stock capability.
    Stock(stock::Command),
    /// Of the ledger.
    Pay(pay::Command),
    /// Of the sagas.
    Saga(saga::Command),
    /// Of the orders.
    Order(order::Command),
    /// Of the way over from an old shop.
    Legacy(legacy::Command),
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
    /// In the stock capability.
    #[n(4)]
    Stock(#[n(0)] stock::Event),
    /// In the ledger.
    #[n(5)]
    Pay(#[n(0)] pay::Event),
    /// Of a saga.
    #[n(6)]
    Saga(#[n(0)] saga::Event),
    /// Of an order, or the price list.
    #[n(7)]
    Order(#[n(0)] order::Event),
    /// On the way over from an old shop.
    #[n(8)]
    Legacy(#[n(0)] legacy::Event),
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
    /// By the stock capability.
    Stock(stock::Outcome),
    /// By the ledger.
    Pay(pay::Outcome),
    /// By the sagas.
    Saga(saga::Outcome),
    /// By the orders.
    Order(order::Outcome),
    /// On the way over from an old shop.
    Legacy(legacy::Outcome),
}

impl Event {
    /// The number under which the events of the coupon capability are stored.
    pub(crate) const COUPON_TAG: u32 = 2;
}

/// Lets the commands and events of a capability stand for those over all.
macro_rules! capability {
    ($name:ident, $module:ident) => {
        impl From<$module::Event> for Event {
            fn from(event: $module::Event) -> Self {
                Self::$name(event)
            }
        }

        impl From<$module::Command> for Command {
            fn from(command: $module::Command) -> Self {
                Self::$name(command)
            }
        }
    };
}

capability!(Coupon, coupon);
capability!(Stock, stock);
capability!(Pay, pay);
capability!(Saga, saga);
capability!(Order, order);
capability!(Legacy, legacy);
