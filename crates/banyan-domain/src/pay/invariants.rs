//! What must always be true of the ledger, checked from nothing.

use super::account::Account;
use super::rows::{Hold, Refundable};
use super::state::{Ledger, Totals};
use crate::state::Violation;
use crate::{AccountNo, TransferNo};

type Result<T = ()> = core::result::Result<T, Violation>;

/// What an account must have at least, and on hold exactly, by the rows that name it.
#[derive(Clone, Copy, Default)]
struct Counted {
    debits_pending: i128,
    credits_pending: i128,
    debits_posted: i128,
    credits_posted: i128,
}

impl Ledger {
    /// Checks every invariant by counting from nothing: for the offline verifier, the simulator and snapshots.
    ///
    /// # Errors
    /// The first [`Violation`] found.
    pub fn check_invariants(&self) -> Result {
        self.check_accounts()?;
        let mut counted = vec![Counted::default(); self.accounts.count() as usize];
        for (no, hold) in &self.holds {
            self.count_hold(*no, hold, &mut counted)?;
        }
        self.check_order_of_refundables()?;
        for row in self.refundables.iter() {
            self.count_refundable(row, &mut counted)?;
        }
        for ((_, _, account), counted) in self.accounts.iter().zip(&counted) {
            let pending = (i128::from(account.debits_pending), i128::from(account.credits_pending));
            ensure(
                pending == (counted.debits_pending, counted.credits_pending),
                "an account's amounts on hold differ from the holds that name it",
            )?;
            ensure(
                i128::from(account.debits_posted) >= counted.debits_posted
                    && i128::from(account.credits_posted) >= counted.credits_posted,
                "an account has less posted than the transfers that name it",
            )?;
        }
        let sums = self.recount();
        ensure(sums == self.totals, "the totals differ from the sums of the accounts")?;
        ensure(sums.values().all(Totals::is_balanced), "debits and credits differ")?;
        let armed = self.holds.iter().map(|(no, hold)| (hold.until, *no)).collect();
        ensure(self.deadlines == armed, "the armed deadlines differ from those of the holds")?;
        ensure(
            self.recompute_digest() == self.digest(),
            "the digest kept by apply differs from the digest of the state",
        )
    }

    fn check_accounts(&self) -> Result {
        for (no, id, account) in self.accounts.iter() {
            ensure(self.accounts.find(id) == Some(no), "an account is not found by its id")?;
            let Account { debits_posted, credits_posted, debits_pending, credits_pending, .. } = *account;
            let sides = [(debits_posted, debits_pending), (credits_posted, credits_pending)];
            let sound = |(posted, pending): (i64, i64)| {
                posted >= 0 && pending >= 0 && posted.checked_add(pending).is_some()
            };
            ensure(sides.into_iter().all(sound), "a balance is below zero or too large a number")?;
            ensure(account.keeps_rule(), "an account breaks its rule")?;
        }
        Ok(())
    }

    fn count_hold(&self, no: TransferNo, hold: &Hold, counted: &mut [Counted]) -> Result {
        ensure(no.get() > 0 && no < self.next, "a hold has a number that was not given")?;
        ensure(
            0 < hold.left && hold.left <= hold.amount,
            "a hold has nothing left, or more than its amount",
        )?;
        let (debit, credit) = self.check_pair(hold.debit, hold.credit)?;
        counted[debit].debits_pending += i128::from(hold.left);
        counted[credit].credits_pending += i128::from(hold.left);
        Ok(())
    }

    fn count_refundable(&self, row: &Refundable, counted: &mut [Counted]) -> Result {
        ensure(
            row.no.get() > 0 && row.no < self.next,
            "a refundable transfer has a number that was not given",
        )?;
        ensure(!self.holds.contains_key(&row.no), "a transfer is on hold and refundable at once")?;
        ensure(
            0 < row.amount && (0..=row.amount).contains(&row.refunded),
            "more was refunded than a transfer's amount, or less than nothing",
        )?;
        let (debit, credit) = self.check_pair(row.debit, row.credit)?;
        let (amount, refunded) = (i128::from(row.amount), i128::from(row.refunded));
        counted[debit].debits_posted += amount;
        counted[credit].credits_posted += amount;
        counted[credit].debits_posted += refunded;
        counted[debit].credits_posted += refunded;
        Ok(())
    }

    fn check_order_of_refundables(&self) -> Result {
        let rows = || self.refundables.iter();
        let sorted = rows().zip(rows().skip(1)).all(|(a, b)| a.no < b.no && a.at <= b.at);
        ensure(sorted, "refundable transfers are out of order")
    }

    /// The places of two accounts that a transfer may name together.
    fn check_pair(&self, debit: AccountNo, credit: AccountNo) -> Result<(usize, usize)> {
        let (Some(from), Some(to)) = (self.accounts.get(debit), self.accounts.get(credit)) else {
            return Err(Violation::new("a transfer names an account that is not there"));
        };
        let fit = debit != credit && from.currency == to.currency;
        ensure(fit, "a transfer is within one account or between two currencies")?;
        Ok((debit.get() as usize - 1, credit.get() as usize - 1))
    }
}

fn ensure(holds: bool, what: &'static str) -> Result {
    if holds { Ok(()) } else { Err(Violation::new(what)) }
}
