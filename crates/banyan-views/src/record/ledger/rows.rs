//! A transfer, as a transaction has it in its hands.

use super::{HoldState, TransferKind};
use crate::record::apply::{Fault, Moment};
use crate::record::rows::ms;
use banyan_domain::{AccountNo, Actor, Reference, Timestamp, TransferNo};
use rusqlite::{Statement, params};

/// A transfer that is not written yet: most holds are captured within the transaction in which they were made.
#[derive(Debug)]
pub(super) struct NewTransfer {
    pub kind: TransferKind,
    pub debit: AccountNo,
    pub credit: AccountNo,
    pub amount: i64,
    pub of: Option<TransferNo>,
    pub refundable: bool,
    pub refunded: i64,
    /// Of a hold: what became of it.
    pub hold: Option<NewHold>,
    pub reference: Reference,
    pub by: Actor,
    pub at: i64,
    pub seq: i64,
}

#[derive(Debug)]
pub(super) struct NewHold {
    pub state: HoldState,
    pub left: i64,
    until: Timestamp,
    ended_at: Option<i64>,
}

/// Writes a transfer's row.
pub(super) const INSERT: &str =
    "INSERT INTO transfer (no, kind, debit, credit, amount, of, refundable, refunded, hold_state, hold_left, hold_until,
       hold_ended_at, reference, actor, at, seq)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)";

impl NewHold {
    pub(super) const fn new(amount: i64, until: Timestamp) -> Self {
        Self { state: HoldState::Pending, left: amount, until, ended_at: None }
    }

    pub(super) const fn end(&mut self, moment: Moment<'_>, state: HoldState) {
        (self.state, self.left, self.ended_at) = (state, 0, Some(moment.at));
    }
}

impl NewTransfer {
    /// Writes it with `insert`, which is [`INSERT`].
    pub(super) fn write(&self, insert: &mut Statement<'_>, no: u64) -> Result<(), Fault> {
        let hold = self.hold.as_ref();
        insert.execute(params![
            no as i64,
            self.kind.as_str(),
            self.debit.get(),
            self.credit.get(),
            self.amount,
            self.of.map(|of| of.get() as i64),
            self.refundable,
            self.refunded,
            hold.map(|hold| hold.state.as_str()),
            hold.map(|hold| hold.left),
            hold.map(|hold| ms(hold.until)),
            hold.and_then(|hold| hold.ended_at),
            self.reference.as_str(),
            self.by.as_str(),
            self.at,
            self.seq,
        ])?;
        Ok(())
    }
}
