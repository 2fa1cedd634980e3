//! The stock capability: goods at locations, and reservations of them.
//!
//! An item is one SKU at one location. Of its units on hand some are held for reservations; beyond the stock, units may be
//! promised (backorder, preorder) and, once such a reservation is committed, owed. A reservation is held until a deadline
//! and ends committed, released or expired. Read [`Command`] and [`Event`] for what can be asked and what can happen,
//! `decide` and `plan` for the rules, `apply` for what each event changes, `serve` for who gets goods that become free.
//!
//! What holds at any moment: `0 <= held <= on_hand`, and nobody waits (is promised or owed units of an item) while units
//! of it above its safety stock are free. So whoever comes later is never served before those who wait.

mod answer;
mod apply;
mod command;
mod decide;
mod event;
mod import;
mod invariants;
mod names;
mod parked;
mod plan;
mod purchase;
mod refusal;
mod remembered;
mod reservations;
mod rows;
mod serve;
mod snapshot;
mod state;
#[cfg(test)]
mod tests;

pub use command::{
    Command, Configuration, Decision, ImportAnswer, ImportRow, InvalidLines, ItemAnswer, Line, Lines,
    Outcome, ReservationAnswer,
};
pub use event::{Event, ItemCount, NewItem, ReservedPart, ReturnedPart};
pub use refusal::Refusal;
pub use remembered::Remembered;
pub use rows::{ItemView, Level, Part, ReservationState, ReservationView};
pub use state::Stock;
