//! Moving a capability over from an old shop: its phase, where its old database's stream has been applied to, and what of
//! the old shop's books has no place in the capability's own.
//!
//! A capability is in one of four [`Phase`]s and moves one step a time, forward or back. What the old database says comes as
//! [`Command::ApplySource`], one source transaction after the other, and is applied exactly once: its position is kept with
//! what it changed. Who leads changes at the source transaction that says so, never at a moment that somebody chose here.
//!
//! Read [`Event`] for what can happen. What touches stock as well is decided in `mirroring.rs`, beside this folder.

pub(crate) mod breaches;
mod command;
mod event;
mod known;
mod phase;
mod refusal;
mod snapshot;
mod state;
mod takeover;
#[cfg(test)]
mod tests;

pub use breaches::{Breach, NamedBreach};
pub use command::{Command, MirrorRow, OutboxItem, OutboxKind, Outcome, SourceBatch};
pub use event::Event;
pub use known::Known;
pub use phase::{Capability, MoveStep, Phase};
pub use refusal::Refusal;
pub use state::{CapabilityState, Legacy, Mirrored, Move, Reconciled, Source, SourceId, Without};
pub use takeover::Takeover;
