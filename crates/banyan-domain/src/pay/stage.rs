//! The rules of a single transfer, worked out beside the ledger: `decide` asks here whether a group can be made, `apply`
//! whether a stored one could have been, and takes over the rows. The ledger itself is only read, so that a group whose
//! last transfer fails leaves no trace.

use super::Refusal;
use super::account::{Account, Rule};
use super::few::Few;
use super::rows::{Hold, Refundable};
use super::state::Ledger;
use crate::{AccountNo, Currency, Timestamp, TransferNo};

type Result<T = ()> = core::result::Result<T, Refusal>;

/// A ledger as it will be after the transfers so far.
pub(super) struct Stage<'a> {
    ledger: &'a Ledger,
    at: Timestamp,
    changes: Changes,
}

/// The rows that differ from the ledger's. Few: they are searched one by one.
pub(super) struct Changes {
    /// The number of the next transfer.
    pub next: TransferNo,
    /// Accounts touched, and those opened, whose numbers follow the ledger's.
    pub accounts: Few<(AccountNo, Account), 4>,
    /// How many of them are new.
    pub opened: u32,
    /// Holds touched, as they will be; none if done.
    pub holds: Few<(TransferNo, Option<Hold>), 2>,
    /// Refundable transfers touched or new; the new ones in order of their numbers.
    pub refundables: Few<Refundable, 2>,
}

/// The accounts of a transfer, and its amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moved {
    pub debit: AccountNo,
    pub credit: AccountNo,
    pub amount: i64,
}

/// Whether an amount is moved for good or set aside.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Post,
    Hold,
}

impl<'a> Stage<'a> {
    /// Nothing changed yet.
    pub(super) fn new(ledger: &'a Ledger, at: Timestamp) -> Self {
        let changes = Changes {
            next: ledger.next,
            accounts: Few::new(),
            opened: 0,
            holds: Few::new(),
            refundables: Few::new(),
        };
        Self { ledger, at, changes }
    }

    pub(super) fn ledger(&self) -> &'a Ledger {
        self.ledger
    }

    pub(super) fn finish(self) -> Changes {
        self.changes
    }

    /// The number that the next account would get.
    pub(super) fn next_account(&self) -> Result<AccountNo> {
        let count = self.ledger.accounts_count() + self.changes.opened;
        if count >= self.ledger.accounts_max {
            Err(Refusal::TooManyAccounts)
        } else {
            Ok(AccountNo::new(count + 1))
        }
    }

    /// Opens an account.
    pub(super) fn open(&mut self, currency: Currency, rule: Rule) -> Result<AccountNo> {
        let no = self.next_account()?;
        self.changes.accounts.push((no, Account::new(currency, rule)));
        self.changes.opened += 1;
        Ok(no)
    }

    /// The account numbered `no` as it is so far.
    pub(super) fn account(&mut self, no: AccountNo) -> Result<&mut Account> {
        let place = self.touch(no)?;
        Ok(&mut self.changes.accounts.at(place).1)
    }

    /// Moves an amount for good.
    pub(super) fn post(&mut self, moved: Moved, refundable: bool) -> Result {
        self.transfer(moved, Phase::Post)?;
        let no = self.number();
        if refundable {
            self.remember(no, moved);
        }
        Ok(())
    }

    /// Sets an amount aside.
    pub(super) fn hold(&mut self, moved: Moved, until: Timestamp) -> Result {
        self.transfer(moved, Phase::Hold)?;
        let Moved { debit, credit, amount } = moved;
        let no = self.number();
        self.changes.holds.push((no, Some(Hold { debit, credit, amount, left: amount, until })));
        Ok(())
    }

    /// Posts part of a hold. No rule can be broken by it, and no balance overflow: the hold counted against both.
    pub(super) fn capture(&mut self, pending: TransferNo, amount: i64, last: bool) -> Result<Moved> {
        positive(amount)?;
        let mut hold = self.pending(pending)?;
        let moved = Moved { debit: hold.debit, credit: hold.credit, amount };
        if amount > hold.left {
            return Err(Refusal::CaptureExceeds);
        }
        self.unhold(&hold, amount)?;
        self.account(hold.debit)?.debits_posted += amount;
        self.account(hold.credit)?.credits_posted += amount;
        hold.left -= amount;
        if last {
            self.unhold(&hold, hold.left)?;
            hold.left = 0;
        }
        self.put_hold(pending, Some(hold).filter(|hold| hold.left > 0));
        let no = self.number();
        self.remember(no, moved);
        Ok(moved)
    }

    /// Gives up what is left of a hold.
    pub(super) fn void(&mut self, pending: TransferNo) -> Result {
        let hold = self.pending(pending)?;
        self.end(pending, &hold)?;
        self.number();
        Ok(())
    }

    /// Voids what is left of `hold`, numbered `pending`. Not a transfer of its own: it takes no number.
    pub(super) fn end(&mut self, pending: TransferNo, hold: &Hold) -> Result {
        self.unhold(hold, hold.left)?;
        self.put_hold(pending, None);
        Ok(())
    }

    /// Gives back part of a posted transfer.
    pub(super) fn refund(&mut self, of: TransferNo, amount: i64) -> Result<Moved> {
        positive(amount)?;
        let place = self.touch_refundable(of)?;
        let row = self.changes.refundables.at(place);
        if amount > row.left() {
            return Err(Refusal::RefundExceeds);
        }
        row.refunded += amount;
        let moved = Moved { debit: row.credit, credit: row.debit, amount };
        self.transfer(moved, Phase::Post)?;
        self.number();
        Ok(moved)
    }

    /// Gives back all of a posted transfer: more than is left, if part of it was given back.
    pub(super) fn reverse(&mut self, of: TransferNo) -> Result<Moved> {
        let place = self.touch_refundable(of)?;
        let amount = self.changes.refundables.at(place).amount;
        self.refund(of, amount)
    }

    fn transfer(&mut self, moved: Moved, phase: Phase) -> Result {
        let Moved { debit, credit, amount } = moved;
        let (from, to) = (self.touch(debit)?, self.touch(credit)?);
        let (mut giver, mut taker) = (self.changes.accounts.at(from).1, self.changes.accounts.at(to).1);
        if giver.currency != taker.currency {
            return Err(Refusal::CurrencyMismatch);
        }
        if debit == credit {
            return Err(Refusal::SameAccount);
        }
        positive(amount)?;
        // Posted and held together must fit, so that a capture always can be made.
        let fits = |a: i64, b: i64| (a + b).checked_add(amount).is_some();
        if !fits(giver.debits_posted, giver.debits_pending)
            || !fits(taker.credits_posted, taker.credits_pending)
        {
            return Err(Refusal::BalanceOverflow);
        }
        match phase {
            Phase::Post => {
                giver.debits_posted += amount;
                taker.credits_posted += amount;
            }
            Phase::Hold => {
                giver.debits_pending += amount;
                taker.credits_pending += amount;
            }
        }
        if !giver.keeps_rule() || !taker.keeps_rule() {
            return Err(Refusal::InsufficientFunds);
        }
        self.changes.accounts.at(from).1 = giver;
        self.changes.accounts.at(to).1 = taker;
        Ok(())
    }

    fn unhold(&mut self, hold: &Hold, amount: i64) -> Result {
        self.account(hold.debit)?.debits_pending -= amount;
        self.account(hold.credit)?.credits_pending -= amount;
        Ok(())
    }

    /// The hold numbered `no`, if it is not over. A hold is over at its deadline, whether or not that was applied already.
    fn pending(&self, no: TransferNo) -> Result<Hold> {
        self.check_number(no)?;
        let hold = self.hold_so_far(no).filter(|hold| hold.until > self.at);
        hold.ok_or(Refusal::TransferNotPending)
    }

    fn hold_so_far(&self, no: TransferNo) -> Option<Hold> {
        match self.changes.holds.iter().find(|(touched, _)| *touched == no) {
            Some((_, hold)) => *hold,
            None => self.ledger.hold(no).copied(),
        }
    }

    fn put_hold(&mut self, no: TransferNo, hold: Option<Hold>) {
        let holds = &mut self.changes.holds;
        match holds.position(|(touched, _)| *touched == no) {
            Some(place) => holds.at(place).1 = hold,
            None => _ = holds.push((no, hold)),
        }
    }

    fn touch(&mut self, no: AccountNo) -> Result<usize> {
        let accounts = &mut self.changes.accounts;
        if let Some(place) = accounts.position(|(touched, _)| *touched == no) {
            return Ok(place);
        }
        Ok(accounts.push((no, *self.ledger.account_no(no).ok_or(Refusal::AccountNotFound)?)))
    }

    fn touch_refundable(&mut self, of: TransferNo) -> Result<usize> {
        self.check_number(of)?;
        let rows = &mut self.changes.refundables;
        if let Some(place) = rows.position(|row| row.no == of) {
            return Ok(place);
        }
        Ok(rows.push(*self.ledger.refundable(self.at, of).ok_or(Refusal::NotRefundable)?))
    }

    fn remember(&mut self, no: TransferNo, moved: Moved) {
        let Moved { debit, credit, amount } = moved;
        let row = Refundable { no, debit, credit, amount, refunded: 0, at: self.at };
        self.changes.refundables.push(row);
    }

    fn check_number(&self, no: TransferNo) -> Result {
        let given = no.get() > 0 && no < self.changes.next;
        if given { Ok(()) } else { Err(Refusal::TransferNotFound) }
    }

    /// Takes the next transfer number.
    fn number(&mut self) -> TransferNo {
        let no = self.changes.next;
        self.changes.next = TransferNo::new(no.get() + 1);
        no
    }
}

fn positive(amount: i64) -> Result {
    if amount > 0 { Ok(()) } else { Err(Refusal::AmountNotPositive) }
}
