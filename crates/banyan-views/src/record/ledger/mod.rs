//! The ledger: what its events do to the rows.

mod reader;

pub use reader::{
    AccountRecord, HoldState, StatementCursor, StatementLine, StatementPage, TransferKind, TransferPage,
    TransferRecord,
};

use super::apply::{Fault, Moment};
use super::rows::ms;
use banyan_domain::pay::{Event, Leg, OpenedAccount};
use banyan_domain::{AccountNo, Actor, Reference, Timestamp, TransferNo};
use rusqlite::{OptionalExtension, params};
use std::collections::BTreeMap;

/// Changes of balances, gathered and written once a transaction: the shop's own accounts change with every order.
#[derive(Debug, Default)]
pub(super) struct LedgerRows {
    accounts: BTreeMap<u32, BalanceChange>,
}

#[derive(Clone, Copy, Debug, Default)]
struct BalanceChange {
    debits_posted: i64,
    credits_posted: i64,
    debits_pending: i64,
    credits_pending: i64,
    seq: i64,
}

/// A transfer's row, apart from what its group shares.
struct Row {
    no: TransferNo,
    kind: TransferKind,
    debit: AccountNo,
    credit: AccountNo,
    amount: i64,
    of: Option<TransferNo>,
    refundable: bool,
    until: Option<Timestamp>,
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
                let (debit, credit, left) = hold(moment, *pending)?;
                self.pend(moment, debit, credit, -left);
                end_hold(moment, *pending, HoldState::Expired)
            }
        }
    }

    /// Writes the balances.
    pub(super) fn flush(&mut self, db: &rusqlite::Connection) -> Result<(), Fault> {
        while let Some((no, change)) = self.accounts.pop_first() {
            let BalanceChange { debits_posted, credits_posted, debits_pending, credits_pending, seq } =
                change;
            let mut update = db.prepare_cached(
                "UPDATE account SET debits_posted = debits_posted + ?2, credits_posted = credits_posted + ?3,
                   debits_pending = debits_pending + ?4, credits_pending = credits_pending + ?5, seq = ?6 WHERE no = ?1",
            )?;
            let row = params![no, debits_posted, credits_posted, debits_pending, credits_pending, seq];
            if update.execute(row)? != 1 {
                return Err(Fault::poison(format!("account {no} is not there")));
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
        let row = |kind, debit, credit, amount| {
            let (of, until, refundable) = (None, None, false);
            Row { no, kind, debit, credit, amount, of, refundable, until }
        };
        let row = match *leg {
            Leg::Posted { debit, credit, amount, refundable } => {
                self.post(moment, debit, credit, amount);
                Row { refundable, ..row(TransferKind::Post, debit, credit, amount) }
            }
            Leg::Held { debit, credit, amount, until } => {
                self.pend(moment, debit, credit, amount);
                Row { until: Some(until), ..row(TransferKind::Hold, debit, credit, amount) }
            }
            Leg::Captured { pending, debit, credit, amount, last } => {
                self.capture(moment, pending, amount, last)?;
                self.post(moment, debit, credit, amount);
                let captured = row(TransferKind::Capture, debit, credit, amount);
                Row { of: Some(pending), refundable: true, ..captured }
            }
            Leg::Voided { pending } => {
                let (debit, credit, left) = hold(moment, pending)?;
                self.pend(moment, debit, credit, -left);
                end_hold(moment, pending, HoldState::Voided)?;
                Row { of: Some(pending), ..row(TransferKind::Void, debit, credit, left) }
            }
            Leg::Refunded { of, debit, credit, amount } => {
                self.post(moment, debit, credit, amount);
                give_back(moment, of, amount)?;
                Row { of: Some(of), ..row(TransferKind::Refund, debit, credit, amount) }
            }
            Leg::Reversed { of, debit, credit, amount } => {
                self.post(moment, debit, credit, amount);
                give_back(moment, of, amount)?;
                Row { of: Some(of), ..row(TransferKind::Reverse, debit, credit, amount) }
            }
        };
        row.insert(moment, reference, by)
    }

    fn capture(
        &mut self,
        moment: Moment<'_>,
        pending: TransferNo,
        amount: i64,
        last: bool,
    ) -> Result<(), Fault> {
        let (debit, credit, left) = hold(moment, pending)?;
        if amount > left {
            return Err(Fault::poison(format!(
                "{amount} was captured of {pending}, of which {left} is left"
            )));
        }
        if last || amount == left {
            self.pend(moment, debit, credit, -left);
            return end_hold(moment, pending, HoldState::Captured);
        }
        self.pend(moment, debit, credit, -amount);
        let sql = "UPDATE transfer SET hold_left = hold_left - ?2 WHERE no = ?1";
        moment.db.prepare_cached(sql)?.execute(params![pending.get() as i64, amount])?;
        Ok(())
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

impl Row {
    fn insert(&self, moment: Moment<'_>, reference: &Reference, by: &Actor) -> Result<(), Fault> {
        let is_hold = self.kind == TransferKind::Hold;
        let mut insert = moment.db.prepare_cached(
            "INSERT INTO transfer (no, kind, debit, credit, amount, of, refundable, hold_state, hold_left, hold_until,
               reference, actor, at, seq)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?;
        insert.execute(params![
            self.no.get() as i64,
            self.kind.as_str(),
            self.debit.get(),
            self.credit.get(),
            self.amount,
            self.of.map(|of| of.get() as i64),
            self.refundable,
            is_hold.then_some(HoldState::Pending.as_str()),
            is_hold.then_some(self.amount),
            self.until.map(ms),
            reference.as_str(),
            by.as_str(),
            moment.at,
            moment.seq,
        ])?;
        Ok(())
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

/// The accounts of a pending hold, and what is left of it.
fn hold(moment: Moment<'_>, no: TransferNo) -> Result<(AccountNo, AccountNo, i64), Fault> {
    let sql = "SELECT debit, credit, hold_left FROM transfer WHERE no = ?1 AND hold_state = 'pending'";
    let mut read = moment.db.prepare_cached(sql)?;
    let found = read.query_row([no.get() as i64], |row| {
        Ok((AccountNo::new(row.get(0)?), AccountNo::new(row.get(1)?), row.get(2)?))
    });
    found.optional()?.ok_or_else(|| Fault::poison(format!("transfer {no} is not on hold")))
}

fn end_hold(moment: Moment<'_>, no: TransferNo, state: HoldState) -> Result<(), Fault> {
    let sql = "UPDATE transfer SET hold_state = ?2, hold_left = 0, hold_ended_at = ?3 WHERE no = ?1";
    moment.db.prepare_cached(sql)?.execute(params![no.get() as i64, state.as_str(), moment.at])?;
    Ok(())
}

fn give_back(moment: Moment<'_>, of: TransferNo, amount: i64) -> Result<(), Fault> {
    let sql = "UPDATE transfer SET refunded = refunded + ?2 WHERE no = ?1 AND refundable AND refunded + ?2 <= amount";
    match moment.db.prepare_cached(sql)?.execute(params![of.get() as i64, amount])? {
        1 => Ok(()),
        _ => Err(Fault::poison(format!("{amount} was given back of {of}, which has not so much"))),
    }
}
