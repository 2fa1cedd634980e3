//! What is kept of transfers: holds until they are done, and what may still be refunded until it is too late.

use crate::digest;
use crate::limits;
use crate::{AccountNo, Timestamp, TransferNo};

/// An amount set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The account to be debited.
    pub debit: AccountNo,
    /// The account to be credited.
    pub credit: AccountNo,
    /// How much was set aside at first.
    pub amount: i64,
    /// How much of it is neither captured nor voided. Never zero: the hold is done then.
    pub left: i64,
    /// When the hold is over.
    pub until: Timestamp,
}

/// A posted transfer that may be refunded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refundable {
    /// Its number.
    pub no: TransferNo,
    /// The account it debited.
    pub debit: AccountNo,
    /// The account it credited.
    pub credit: AccountNo,
    /// How much was posted.
    pub amount: i64,
    /// How much of it was given back.
    pub refunded: i64,
    /// When it was posted.
    pub at: Timestamp,
}

impl Hold {
    pub(super) fn digest(&self, no: TransferNo) -> u128 {
        let accounts = pair(self.debit, self.credit);
        let (amount, left) = (self.amount as u64, self.left as u64);
        digest::row(&[34, no.get(), accounts, amount, left, self.until.as_millis()])
    }
}

impl Refundable {
    /// How much may still be given back.
    #[must_use]
    pub const fn left(&self) -> i64 {
        self.amount - self.refunded
    }

    /// Whether it is too late for a refund at `now`. Never in the millisecond of the transfer itself, not even at the very end
    /// of time: a later transfer of the same group may refund it.
    pub(super) const fn is_over(&self, now: Timestamp) -> bool {
        now.as_millis().saturating_sub(self.at.as_millis()) >= limits::REFUND_HORIZON_MILLIS
    }

    pub(super) fn digest(&self) -> u128 {
        let accounts = pair(self.debit, self.credit);
        let (amount, refunded) = (self.amount as u64, self.refunded as u64);
        digest::row(&[35, self.no.get(), accounts, amount, refunded, self.at.as_millis()])
    }
}

fn pair(debit: AccountNo, credit: AccountNo) -> u64 {
    u64::from(debit.get()) << 32 | u64::from(credit.get())
}
