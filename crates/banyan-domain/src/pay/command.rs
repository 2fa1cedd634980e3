//! What can be asked of the ledger, and what is answered.

use super::Rule;
use crate::limits;
use crate::{AccountId, AccountNo, Actor, Currency, Millis, Reference, Timestamp, TransferNo};
use core::fmt;

/// Something asked. Checked texts only: what is wrong in itself never gets here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Open an account. The same again is answered as the first time.
    OpenAccount {
        /// Its id, never given again.
        id: AccountId,
        /// The currency of its balances.
        currency: Currency,
        /// Which balances it may have.
        rule: Rule,
        /// Who asks.
        by: Actor,
    },
    /// Make transfers: all of them or none, in their order, each seeing those before it.
    Transfer {
        /// The transfers.
        transfers: Transfers,
        /// What they are made for.
        reference: Reference,
        /// Who asks.
        by: Actor,
    },
}

/// The linked transfers of one command: 1 to [`limits::TRANSFERS_PER_GROUP_MAX`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfers(Vec<NewTransfer>);

/// Why a list is not the linked transfers of one command: it has none, or too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidTransfers {
    /// How many it has.
    pub count: usize,
}

/// One transfer to make. Amounts are in minor units and must be above zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewTransfer {
    /// Take `amount` from one account and give it to another, for good.
    Post {
        /// The account debited.
        debit: Side,
        /// The account credited.
        credit: Side,
        /// How much.
        amount: i64,
        /// Whether it may be refunded or reversed later: it is kept in memory for that.
        refundable: bool,
    },
    /// Set `amount` aside until it is captured, voided, or the hold is over.
    Hold {
        /// The account to be debited.
        debit: Side,
        /// The account to be credited.
        credit: Side,
        /// How much at most.
        amount: i64,
        /// For how long; at least a millisecond, at most [`limits::TRANSFER_HOLD_MILLIS_MAX`].
        hold_for: Millis,
    },
    /// Post `amount` of what a hold set aside. May be refunded like a transfer that was posted at once.
    Capture {
        /// The hold.
        pending: TransferNo,
        /// How much; together with earlier captures never above the hold.
        amount: i64,
        /// Whether nothing more will be captured, so that the rest is voided. A hold of which nothing is left ends in any
        /// case.
        last: bool,
    },
    /// Give up what is left of a hold.
    Void {
        /// The hold.
        pending: TransferNo,
    },
    /// Give back `amount` of a transfer that was posted or captured.
    Refund {
        /// Which transfer.
        of: TransferNo,
        /// How much; together with earlier refunds never above the transfer.
        amount: i64,
    },
    /// Give back a transfer as a whole, as if it had not been made. Refused once part of it was refunded.
    Reverse {
        /// Which transfer.
        of: TransferNo,
    },
}

/// An account as a transfer names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// The account.
    pub account: AccountId,
    /// How to open it if there is none of this id. If there is one, it must be defined so.
    pub open_if_missing: Option<(Currency, Rule)>,
}

/// The answer to a command that was carried out. Small and without text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The account is open.
    Account {
        /// Its number.
        no: AccountNo,
    },
    /// The transfers were made. They are numbered one after another in their order.
    Transferred {
        /// The number of the first.
        first: TransferNo,
        /// How many.
        count: u8,
        /// The earliest deadline of the holds among them, if there are any.
        expires_at: Option<Timestamp>,
    },
    /// A hold came to its deadline. Never the answer to a command.
    Expired {
        /// The hold.
        pending: TransferNo,
    },
}

impl Transfers {
    /// Takes over a list of transfers to be made together.
    ///
    /// # Errors
    /// [`InvalidTransfers`] if it is empty or longer than [`limits::TRANSFERS_PER_GROUP_MAX`].
    pub fn new(transfers: Vec<NewTransfer>) -> Result<Self, InvalidTransfers> {
        match transfers.len() {
            1..=limits::TRANSFERS_PER_GROUP_MAX => Ok(Self(transfers)),
            count => Err(InvalidTransfers { count }),
        }
    }

    /// A single transfer.
    #[must_use]
    pub fn one(transfer: NewTransfer) -> Self {
        Self(vec![transfer])
    }

    /// The transfers, in their order. Never empty.
    #[must_use]
    pub fn as_slice(&self) -> &[NewTransfer] {
        &self.0
    }

    pub(super) fn into_vec(self) -> Vec<NewTransfer> {
        self.0
    }
}

impl From<AccountId> for Side {
    /// The account if there is one.
    fn from(account: AccountId) -> Self {
        Self { account, open_if_missing: None }
    }
}

impl fmt::Display for InvalidTransfers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let max = limits::TRANSFERS_PER_GROUP_MAX;
        write!(f, "a group has 1 to {max} transfers, not {}", self.count)
    }
}

impl std::error::Error for InvalidTransfers {}
