//! The pay capability: a double-entry ledger of accounts and transfers.
//!
//! Every transfer takes an amount from one account and gives it to another of the same currency, so that debits and
//! credits are equal at any moment. Transfers may be linked (all or none), and may come in two phases: a hold sets the
//! amount aside, captures post parts of it, and what is left is voided, by a command or at the hold's deadline. Nothing is
//! ever edited: a refund is a transfer the other way round.
//!
//! Read [`Command`] and [`Event`] for what can be asked and what can happen. `stage` has the rules of a single transfer,
//! which `decide` and `apply` share; `decide` adds what commands leave open, `apply` makes the changes.
//! [`Ledger::trial_balance`] is the reading side.
//!
//! It deliberately knows no orders, no members and no payment companies: those are names of accounts and references.

mod account;
mod accounts;
mod apply;
mod command;
mod decide;
mod event;
mod few;
mod invariants;
mod refundables;
mod refusal;
mod remembered;
mod report;
mod rows;
mod snapshot;
mod stage;
mod state;
#[cfg(test)]
mod tests;

pub use account::{Account, Rule};
pub use command::{Command, InvalidTransfers, NewTransfer, Outcome, Side, Transfers};
pub use decide::Decision;
pub use event::{Event, Leg, OpenedAccount};
pub use refusal::Refusal;
pub use remembered::Remembered;
pub use report::{Statement, TrialBalance};
pub use rows::{Hold, Refundable};
pub use state::{Ledger, Totals};
