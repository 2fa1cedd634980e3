//! What can happen in the ledger. Events are stored for ever: fields get new numbers, never new meanings.

use super::Rule;
use crate::{AccountId, AccountNo, Actor, Currency, Reference, Timestamp, TransferNo};
use minicbor::{Decode, Encode};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Event {
    /// Transfers were made, all of them at once.
    #[n(0)]
    Transferred {
        /// The number of the first; the others follow.
        #[n(0)]
        first: TransferNo,
        /// The transfers, in their order.
        #[n(1)]
        legs: Vec<Leg>,
        /// What they were made for.
        #[n(2)]
        reference: Reference,
        /// By whom.
        #[n(3)]
        by: Actor,
        /// Accounts opened for them, before the first.
        #[n(4)]
        opened: Vec<OpenedAccount>,
    },
    /// An account was opened.
    #[n(1)]
    AccountOpened {
        /// The account.
        #[n(0)]
        account: OpenedAccount,
        /// By whom.
        #[n(1)]
        by: Actor,
    },
    /// A hold came to its deadline, and what was left of it was voided.
    #[n(2)]
    HoldExpired {
        /// The hold.
        #[n(0)]
        pending: TransferNo,
    },
}

/// One transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Leg {
    /// An amount was moved for good.
    #[n(0)]
    Posted {
        /// From which account.
        #[n(0)]
        debit: AccountNo,
        /// To which account.
        #[n(1)]
        credit: AccountNo,
        /// How much.
        #[n(2)]
        amount: i64,
        /// Whether it may be refunded or reversed.
        #[n(3)]
        refundable: bool,
    },
    /// An amount was set aside.
    #[n(1)]
    Held {
        /// From which account.
        #[n(0)]
        debit: AccountNo,
        /// For which account.
        #[n(1)]
        credit: AccountNo,
        /// How much.
        #[n(2)]
        amount: i64,
        /// When the hold is over.
        #[n(3)]
        until: Timestamp,
    },
    /// Part of a hold was moved for good.
    #[n(2)]
    Captured {
        /// The hold.
        #[n(0)]
        pending: TransferNo,
        /// From which account: the hold's.
        #[n(1)]
        debit: AccountNo,
        /// To which account: the hold's.
        #[n(2)]
        credit: AccountNo,
        /// How much.
        #[n(3)]
        amount: i64,
        /// Whether the rest was voided.
        #[n(4)]
        last: bool,
    },
    /// What was left of a hold was given up.
    #[n(3)]
    Voided {
        /// The hold.
        #[n(0)]
        pending: TransferNo,
    },
    /// Part of a posted transfer was given back.
    #[n(4)]
    Refunded {
        /// Of which transfer.
        #[n(0)]
        of: TransferNo,
        /// From which account: the one that the transfer credited.
        #[n(1)]
        debit: AccountNo,
        /// To which account: the one that the transfer debited.
        #[n(2)]
        credit: AccountNo,
        /// How much.
        #[n(3)]
        amount: i64,
    },
    /// A posted transfer was given back as a whole.
    #[n(5)]
    Reversed {
        /// Which transfer.
        #[n(0)]
        of: TransferNo,
        /// From which account: the one that the transfer credited.
        #[n(1)]
        debit: AccountNo,
        /// To which account: the one that the transfer debited.
        #[n(2)]
        credit: AccountNo,
        /// How much: all of it.
        #[n(3)]
        amount: i64,
    },
}

/// An account as it was opened.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct OpenedAccount {
    /// The number it got.
    #[n(0)]
    pub no: AccountNo,
    /// Its id.
    #[n(1)]
    pub id: AccountId,
    /// The currency of its balances.
    #[n(2)]
    pub currency: Currency,
    /// Which balances it may have.
    #[n(3)]
    pub rule: Rule,
}
