//! The lead taken back in the old database itself, by hand: what is known of it, and what becomes of the capability.
//!
//! Nothing here decides whether that was right. Banyan stops deciding at once, follows the old values as in phase `mirror`, from
//! a new copy on, and says so until somebody moves it on from there.

use super::{Capability, CapabilityState, Event, Phase};
use crate::{Reason, Timestamp, Violation};
use minicbor::{Decode, Encode};

/// The lead was taken back in the old database, by no move of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Takeover {
    /// When that was seen.
    #[n(0)]
    pub at: Timestamp,
    /// The number of a move that the bookkeeping row has there.
    #[n(1)]
    pub number: u64,
    /// The phase that it has there.
    #[n(2)]
    pub phase: Phase,
}

impl CapabilityState {
    /// Whether a bookkeeping row that says `phase` under `number` was written by nobody that we know of, and takes the lead away.
    pub(crate) fn is_taken_over_by(&self, number: u64, phase: Phase) -> bool {
        let asked_for =
            self.moving.as_ref().is_some_and(|moving| (moving.number, moving.to) == (number, phase));
        self.phase.leads() && !phase.leads() && !asked_for
    }

    /// What happens when the lead is gone. A move under way goes with it.
    pub(crate) fn takeover(&self, capability: Capability, number: u64, phase: Phase) -> Vec<Event> {
        let why = || Reason::new("the lead was taken back in the old database").expect("short and printable");
        let aborted = self.moving.as_ref().map(|_| Event::MoveAborted { capability, why: why() });
        aborted.into_iter().chain([Event::TakenOver { capability, number, phase }]).collect()
    }

    /// Applies [`Event::TakenOver`].
    pub(super) fn take_over(&mut self, at: Timestamp, number: u64, phase: Phase) -> Result<(), Violation> {
        if !self.phase.leads() || phase.leads() || self.moving.is_some() {
            return Err(Violation::new("the lead was taken back although nobody had it, or within a move"));
        }
        (self.phase, self.since) = (Phase::Mirror, at);
        // Later moves are numbered after the row, whoever wrote it.
        self.moves = self.moves.max(number);
        self.epoch = self.epoch.max(number);
        // What was written there meanwhile is known by a copy only, and no comparison of before says anything.
        (self.source, self.reconciled) = (None, None);
        self.taken_over = Some(Takeover { at, number, phase });
        Ok(())
    }
}
