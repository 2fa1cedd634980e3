//! The ledger: what its events do to the rows.

mod reader;
mod rows;

pub use reader::{
    AccountRecord, HoldState, StatementCursor, StatementLine, StatementPage, TransferKind, TransferPage,
    TransferRecord,
};

use super::apply::{Fault, Moment};
use banyan_domain::pay::{Event, Leg, OpenedAccount};
use banyan_domain::{AccountNo, Actor, Reference, TransferNo};
use rows::{NewHold, NewTransfer};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeMap;

/// Changes of balances, and new transfers, written once a transaction: the shop's own accounts change with every order, and a
/// hold is mostly captured soon.
#[derive(Debug, Default)]
pub(super) struct LedgerRows {
    accounts: BTreeMap<u32, BalanceChange>,
    transfers: BTreeMap<u64, NewTransfer>,
}

#[derive(Clone, Copy, Debug, Default)]
struct BalanceChange {
    debits_posted: i64,
    credits_posted: i64,
    debits_pending: i64,
    credits_pending: i64,
    seq: i64,
}

impl LedgerRows {
    /// Does what `event` says.
    pub(super) fn apply(&mut self, moment: Moment<'_>, event: &Event) -> Result<(), Fault> {
        match event {
            Event::Transferred { first, legs, reference, by, opened } => {
                for account in opened {
                    open(moment, account, by)?;
                }
                for (no, leg) in (first.get()..).map(TransferNo::new).zip(legs) {
                    self.leg(moment, no, leg, reference, by)?;
                }
                Ok(())
            }
            Event::AccountOpened { account, by } => open(moment, account, by),
            Event::HoldExpired { pending } => {
                let (debit, credit, left) = self.hold(moment, *pending)?;
                self.pend(moment, debit, credit, -left);
                self.end_hold(moment, *pending, HoldState::Expired)
            }
        }
    }

    /// Writes the balances and the transfers.
    pub(super) fn flush(&mut self, db: &Connection) -> Result<(), Fault> {
        if !self.accounts.is_empty() {
            let mut update = db.prepare_cached(
                "UPDATE account SET debits_posted = debits_posted + ?2, credits_posted = credits_posted + ?3,
                   debits_pending = debits_pending + ?4, credits_pending = credits_pending + ?5, seq = ?6 WHERE no = ?1",
            )?;
            while let Some((no, change)) = self.accounts.pop_first() {
                let BalanceChange { debits_posted, credits_posted, debits_pending, credits_pending, seq } =
                    change;
                let row = params![no, debits_posted, credits_posted, debits_pending, credits_pending, seq];
                if update.execute(row)? != 1 {
                    return Err(Fault::poison(format!("account {no} is not there")));
                }
            }
        }
        if !self.transfers.is_empty() {
            let mut insert = db.prepare_cached(rows::INSERT)?;
            while let Some((no, transfer)) = self.transfers.pop_first() {
                transfer.write(&mut insert, no)?;
            }
        }
        Ok(())
    }

    fn leg(
        &mut self,
        moment: Moment<'_>,
        no: TransferNo,
        leg: &Leg,
        reference: &Reference,
        by: &Actor,
    ) -> Result<(), Fault> {
        let new = |kind, debit, credit, amount| NewTransfer {
            kind,
            debit,
            credit,
            amount,
            of: None,
            refundable: false,
            refunded: 0,
            hold: None,
            reference: reference.clone(),
            by: by.clone(),
            at: moment.at,
            seq: moment.seq,
        };
        let row = match *leg {
            Leg::Posted { debit, credit, amount, refundable } => {
                self.post(moment, debit, credit, amount);
                NewTransfer { refundable, ..new(TransferKind::Post, debit, credit, amount) }
            }
            Leg::Held { debit, credit, amount, until } => {
                self.pend(moment, debit, credit, amount);
                let hold = Some(NewHold::new(amount, until));
                NewTransfer { hold, ..new(TransferKind::Hold, debit, credit, amount) }
            }
            Leg::Captured { pending, debit, credit, amount, last } => {
                self.capture(moment, pending, amount, last)?;
                self.post(moment, debit, credit, amount);
                let captured = new(TransferKind::Capture, debit, credit, amount);
                NewTransfer { of: Some(pending), refundable: true, ..captured }
            }
            Leg::Voided { pending } => {
                let (debit, credit, left) = self.hold(moment, pending)?;
                self.pend(moment, debit, credit, -left);
                self.end_hold(moment, pending, HoldState::Voided)?;
                NewTransfer { of: Some(pending), ..new(TransferKind::Void, debit, credit, left) }
            }
            Leg::Refunded { of, debit, credit, amount } => {
                self.post(moment, debit, credit, amount);
                self.give_back(moment, of, amount)?;
                NewTransfer { of: Some(of), ..new(TransferKind::Refund, debit, credit, amount) }
            }
            Leg::Reversed { of, debit, credit, amount } => {
                self.post(moment, debit, credit, amount);
                self.give_back(moment, of, amount)?;
                NewTransfer { of: Some(of), ..new(TransferKind::Reverse, debit, credit, amount) }
            }
        };
        match self.transfers.insert(no.get(), row) {
            None => Ok(()),
            Some(_) => Err(Fault::poison(format!("transfer {no} was made twice"))),
        }
    }

    fn capture(
        &mut self,
        moment: Moment<'_>,
        pending: TransferNo,
        amount: i64,
        last: bool,
    ) -> Result<(), Fault> {
        let (debit, credit, left) = self.hold(moment, pending)?;
        if amount > left {
            return Err(Fault::poison(format!(
                "{amount} was captured of {pending}, of which {left} is left"
            )));
        }
        if last || amount == left {
            self.pend(moment, debit, credit, -left);
            return self.end_hold(moment, pending, HoldState::Captured);
        }
        self.pend(moment, debit, credit, -amount);
        if let Some(hold) = self.new_hold(pending) {
            hold.left -= amount;
            return Ok(());
        }
        let sql = "UPDATE transfer SET hold_left = hold_left - ?2 WHERE no = ?1";
        moment.db.prepare_cached(sql)?.execute(params![pending.get() as i64, amount])?;
        Ok(())
    }

    /// The accounts of a pending hold, and what is left of it.
    fn hold(&self, moment: Moment<'_>, no: TransferNo) -> Result<(AccountNo, AccountNo, i64), Fault> {
        let gone = || Fault::poison(format!("transfer {no} is not on hold"));
        if let Some(new) = self.transfers.get(&no.get()) {
            let hold = new.hold.as_ref().filter(|hold| hold.state == HoldState::Pending);
            return hold.map(|hold| (new.debit, new.credit, hold.left)).ok_or_else(gone);
        }
        let sql = "SELECT debit, credit, hold_left FROM transfer WHERE no = ?1 AND hold_state = 'pending'";
        let mut read = moment.db.prepare_cached(sql)?;
        let found = read.query_row([no.get() as i64], |row| {
            Ok((AccountNo::new(row.get(0)?), AccountNo::new(row.get(1)?), row.get(2)?))
        });
        found.optional()?.ok_or_else(gone)
    }

    fn end_hold(&mut self, moment: Moment<'_>, no: TransferNo, state: HoldState) -> Result<(), Fault> {
        if let Some(hold) = self.new_hold(no) {
            hold.end(moment, state);
            return Ok(());
        }
        let sql = "UPDATE transfer SET hold_state = ?2, hold_left = 0, hold_ended_at = ?3 WHERE no = ?1";
        moment.db.prepare_cached(sql)?.execute(params![no.get() as i64, state.as_str(), moment.at])?;
        Ok(())
    }

    fn new_hold(&mut self, no: TransferNo) -> Option<&mut NewHold> {
        self.transfers.get_mut(&no.get())?.hold.as_mut()
    }

    fn give_back(&mut self, moment: Moment<'_>, of: TransferNo, amount: i64) -> Result<(), Fault> {
        let too_much = || Fault::poison(format!("{amount} was given back of {of}, which has not so much"));
        if let Some(new) = self.transfers.get_mut(&of.get()) {
            if !new.refundable || new.refunded + amount > new.amount {
                return Err(too_much());
            }
            new.refunded += amount;
            return Ok(());
        }
        let sql = "UPDATE transfer SET refunded = refunded + ?2 WHERE no = ?1 AND refundable AND refunded + ?2 <= amount";
        match moment.db.prepare_cached(sql)?.execute(params![of.get() as i64, amount])? {
            1 => Ok(()),
            _ => Err(too_much()),
        }
    }

    fn post(&mut self, moment: Moment<'_>, debit: AccountNo, credit: AccountNo, amount: i64) {
        self.change(moment, debit).debits_posted += amount;
        self.change(moment, credit).credits_posted += amount;
    }

    fn pend(&mut self, moment: Moment<'_>, debit: AccountNo, credit: AccountNo, amount: i64) {
        self.change(moment, debit).debits_pending += amount;
        self.change(moment, credit).credits_pending += amount;
    }

    fn change(&mut self, moment: Moment<'_>, account: AccountNo) -> &mut BalanceChange {
        let change = self.accounts.entry(account.get()).or_default();
        change.seq = moment.seq;
        change
    }
}

fn open(moment: Moment<'_>, account: &OpenedAccount, by: &Actor) -> Result<(), Fault> {
    let OpenedAccount { no, id, currency, rule } = account;
    let mut insert = moment.db.prepare_cached(
        "INSERT INTO account (no, id, currency, rule, opened_at, opened_by, seq) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    let (currency, rule) = (currency.as_str(), rule.as_str());
    insert.execute(params![no.get(), id.as_str(), currency, rule, moment.at, by.as_str(), moment.seq])?;
    Ok(())
}
