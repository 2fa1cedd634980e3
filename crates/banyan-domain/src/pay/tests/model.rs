//! The rules once more, as plainly as possible: every transfer ever made is kept, and a refused group is forgotten with the
//! whole copy that it was tried on.

use super::super::{Command, NewTransfer, Rule, Side};
use crate::limits;

#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) now: u64,
    pub(super) accounts: Vec<Account>,
    pub(super) transfers: Vec<Transfer>,
}

#[derive(Clone, Debug)]
pub(super) struct Account {
    pub(super) id: String,
    currency: String,
    rule: Rule,
    /// Posted debits, posted credits, debits on hold, credits on hold.
    pub(super) has: [i128; 4],
}

/// A transfer: a hold if `until` is there, posted if `posted_at` is there, otherwise a void or a refund.
#[derive(Clone, Debug)]
pub(super) struct Transfer {
    debit: usize,
    credit: usize,
    amount: i128,
    until: Option<u64>,
    refundable_since: Option<u64>,
    /// Captured and voided of a hold, or given back of a posted one.
    gone: i128,
}

/// What a command comes to: the refusal's slug; or whether it was so before, and the account or the first transfer.
pub(super) type Said = Result<(bool, u64), &'static str>;

impl Model {
    /// Moves the time on and voids the holds that are over. How many.
    pub(super) fn tick(&mut self, now: u64) -> usize {
        self.now = now;
        let over = |t: &Transfer| t.until.is_some_and(|until| until <= now) && t.gone < t.amount;
        let due: Vec<usize> = (0..self.transfers.len()).filter(|&i| over(&self.transfers[i])).collect();
        for &i in &due {
            self.unhold(i, self.transfers[i].amount - self.transfers[i].gone);
        }
        due.len()
    }

    pub(super) fn ask(&mut self, command: &Command) -> Said {
        match command {
            Command::OpenAccount { id, currency, rule, .. } => match self.find(id.as_str()) {
                Some(i) if self.is_so(i, currency.as_str(), *rule) => Ok((true, i as u64 + 1)),
                Some(_) => Err("account-exists"),
                None => Ok((false, self.open(id.as_str(), currency.as_str(), *rule) as u64 + 1)),
            },
            Command::Transfer { transfers, .. } => {
                let mut tried = self.clone();
                let first = self.transfers.len() as u64 + 1;
                for transfer in transfers.as_slice() {
                    let made = tried.make(transfer)?;
                    tried.transfers.push(made);
                }
                *self = tried;
                Ok((false, first))
            }
        }
    }

    /// What is left of the hold, or of the refundable transfer, at this place.
    pub(super) fn left(&self, i: usize) -> (Option<i128>, Option<i128>) {
        let t = &self.transfers[i];
        let hold = t.until.filter(|_| t.gone < t.amount).map(|_| t.amount - t.gone);
        (hold, self.is_refundable(i).then_some(t.amount - t.gone))
    }

    fn make(&mut self, transfer: &NewTransfer) -> Result<Transfer, &'static str> {
        let blank = Transfer { debit: 0, credit: 0, amount: 0, until: None, refundable_since: None, gone: 0 };
        match transfer {
            NewTransfer::Post { debit, credit, amount, refundable } => {
                let (debit, credit) = (self.side(debit)?, self.side(credit)?);
                let amount = i128::from(*amount);
                self.move_money(debit, credit, amount, 0)?;
                let refundable_since = refundable.then_some(self.now);
                Ok(Transfer { debit, credit, amount, refundable_since, ..blank })
            }
            NewTransfer::Hold { debit, credit, amount, hold_for } => {
                let (debit, credit) = (self.side(debit)?, self.side(credit)?);
                let amount = i128::from(*amount);
                self.move_money(debit, credit, amount, 2)?;
                let until = self.now + hold_for.get().clamp(1, 30 * 24 * 3_600_000);
                let until = Some(until.min(limits::TIMESTAMP_MILLIS_MAX));
                Ok(Transfer { debit, credit, amount, until, ..blank })
            }
            NewTransfer::Capture { pending, amount, last } => {
                let amount = positive(*amount)?;
                let i = self.pending(pending.get())?;
                let Transfer { debit, credit, gone, amount: whole, .. } = self.transfers[i];
                if gone + amount > whole {
                    return Err("capture-exceeds");
                }
                self.unhold(i, if *last { whole - gone } else { amount });
                self.accounts[debit].has[0] += amount;
                self.accounts[credit].has[1] += amount;
                Ok(Transfer { debit, credit, amount, refundable_since: Some(self.now), ..blank })
            }
            NewTransfer::Void { pending } => {
                let i = self.pending(pending.get())?;
                self.unhold(i, self.transfers[i].amount - self.transfers[i].gone);
                Ok(blank)
            }
            NewTransfer::Refund { of, amount } => {
                let amount = positive(*amount)?;
                let i = self.given(of.get())?;
                self.give_back(i, amount)?;
                Ok(blank)
            }
            NewTransfer::Reverse { of } => {
                let i = self.given(of.get())?;
                self.give_back(i, self.transfers[i].amount)?;
                Ok(blank)
            }
        }
    }

    fn give_back(&mut self, i: usize, amount: i128) -> Result<(), &'static str> {
        let Transfer { debit, credit, gone, amount: whole, .. } = self.transfers[i];
        if !self.is_refundable(i) {
            return Err("not-refundable");
        }
        if gone + amount > whole {
            return Err("refund-exceeds");
        }
        self.move_money(credit, debit, amount, 0)?;
        self.transfers[i].gone += amount;
        Ok(())
    }

    fn move_money(&mut self, from: usize, to: usize, amount: i128, phase: usize) -> Result<(), &'static str> {
        if self.accounts[from].currency != self.accounts[to].currency {
            return Err("currency-mismatch");
        }
        if from == to {
            return Err("same-account");
        }
        if amount <= 0 {
            return Err("amount-not-positive");
        }
        self.accounts[from].has[phase] += amount;
        self.accounts[to].has[phase + 1] += amount;
        for i in [from, to] {
            let [debits, credits, debits_held, credits_held] = self.accounts[i].has;
            if debits + debits_held > i128::from(i64::MAX) || credits + credits_held > i128::from(i64::MAX) {
                return Err("balance-overflow");
            }
        }
        for i in [from, to] {
            let [debits, credits, debits_held, credits_held] = self.accounts[i].has;
            let kept = match self.accounts[i].rule {
                Rule::Free => true,
                Rule::DebitsWithinCredits => debits + debits_held <= credits,
                Rule::CreditsWithinDebits => credits + credits_held <= debits,
            };
            if !kept {
                return Err("insufficient-funds");
            }
        }
        Ok(())
    }

    fn unhold(&mut self, i: usize, amount: i128) {
        let Transfer { debit, credit, .. } = self.transfers[i];
        self.accounts[debit].has[2] -= amount;
        self.accounts[credit].has[3] -= amount;
        self.transfers[i].gone += amount;
    }

    fn given(&self, no: u64) -> Result<usize, &'static str> {
        let i = (no as usize).checked_sub(1).filter(|i| *i < self.transfers.len());
        i.ok_or("transfer-not-found")
    }

    fn pending(&self, no: u64) -> Result<usize, &'static str> {
        let i = self.given(no)?;
        let t = &self.transfers[i];
        let pending = t.until.is_some_and(|until| until > self.now) && t.gone < t.amount;
        if pending { Ok(i) } else { Err("transfer-not-pending") }
    }

    fn is_refundable(&self, i: usize) -> bool {
        let since = self.transfers[i].refundable_since;
        since.is_some_and(|at| at + 190 * 24 * 3_600_000 > self.now)
    }

    fn side(&mut self, side: &Side) -> Result<usize, &'static str> {
        let id = side.account.as_str();
        match (self.find(id), side.open_if_missing) {
            (Some(i), None) => Ok(i),
            (Some(i), Some((currency, rule))) if self.is_so(i, currency.as_str(), rule) => Ok(i),
            (Some(_), Some(_)) => Err("account-exists"),
            (None, None) => Err("account-not-found"),
            (None, Some((currency, rule))) => Ok(self.open(id, currency.as_str(), rule)),
        }
    }

    fn find(&self, id: &str) -> Option<usize> {
        self.accounts.iter().position(|account| account.id == id)
    }

    fn is_so(&self, i: usize, currency: &str, rule: Rule) -> bool {
        self.accounts[i].currency == currency && self.accounts[i].rule == rule
    }

    fn open(&mut self, id: &str, currency: &str, rule: Rule) -> usize {
        self.accounts.push(Account { id: id.to_owned(), currency: currency.to_owned(), rule, has: [0; 4] });
        self.accounts.len() - 1
    }
}

fn positive(amount: i64) -> Result<i128, &'static str> {
    if amount > 0 { Ok(i128::from(amount)) } else { Err("amount-not-positive") }
}
