//! What can happen on the way over. Events are stored for ever: fields get new numbers, never new meanings.

use super::{Capability, MoveStep, NamedBreach, Phase, SourceId, Without};
use crate::{Actor, ItemNo, LocationId, Reason, SkuId, Timestamp};
use minicbor::{Decode, Encode};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Event {
    /// Somebody asked for the next phase. What Banyan gives up is closed from here on.
    #[n(0)]
    MoveBegun {
        /// What moves.
        #[n(0)]
        capability: Capability,
        /// The number of the move, from 1 for each capability.
        #[n(1)]
        number: u64,
        /// Where to; one step from where it is.
        #[n(2)]
        to: Phase,
        /// By whom.
        #[n(3)]
        by: Actor,
        /// Why; the names of what was overridden, if something was.
        #[n(4)]
        reason: Reason,
        /// What was overridden, with what was found of it then; none if nothing was, and in a log from before this was kept.
        #[n(50)]
        without: Option<Vec<Without>>,
    },
    /// A move came to a point from which it can be gone on with.
    #[n(1)]
    MoveNoted {
        /// What moves.
        #[n(0)]
        capability: Capability,
        /// Which point.
        #[n(1)]
        step: MoveStep,
        /// What was seen there, in words.
        #[n(2)]
        note: Reason,
    },
    /// A move is done: the phase is the new one.
    #[n(2)]
    MoveDone {
        /// What moved.
        #[n(0)]
        capability: Capability,
    },
    /// A move was given up: everything is as before.
    #[n(3)]
    MoveAborted {
        /// What stays.
        #[n(0)]
        capability: Capability,
        /// Why.
        #[n(1)]
        why: Reason,
    },
    /// The stream of an old database is followed from a new copy of its rows on.
    #[n(4)]
    SourceSet {
        /// Of which capability.
        #[n(0)]
        capability: Capability,
        /// Which stream.
        #[n(1)]
        source: SourceId,
        /// The position that the copy is of.
        #[n(2)]
        position: u64,
    },
    /// The copy was read to its end.
    #[n(5)]
    SourceCopied {
        /// Of which capability.
        #[n(0)]
        capability: Capability,
    },
    /// One transaction of the old database was applied, or a part of a large one: the last event of its block's command.
    #[n(6)]
    SourceApplied {
        /// Of which capability.
        #[n(0)]
        capability: Capability,
        /// Where the transaction was committed in the old database's stream.
        #[n(1)]
        position: u64,
        /// Which part of it, from 1.
        #[n(2)]
        part: u32,
        /// Rows it had.
        #[n(3)]
        rows: u32,
        /// Messages of the old shop it had.
        #[n(4)]
        outbox: u32,
        /// Their numbers, if there are any: until the old database is known to have deleted them, a copy would find them again.
        #[n(5)]
        ids: Option<Vec<u64>>,
    },
    /// What the old shop's books say of an item beyond what stock has a place for.
    #[n(7)]
    ItemMirrored {
        /// Which item.
        #[n(0)]
        item: ItemNo,
        /// Units sold by orders of the old shop and not shipped yet.
        #[n(1)]
        allocated: u32,
        /// Units sold beyond what there was.
        #[n(2)]
        short: u32,
    },
    /// Somebody wrote to a column that Banyan owns.
    #[n(8)]
    BreachNoted {
        /// Of which capability.
        #[n(0)]
        capability: Capability,
        /// The SKU of the row.
        #[n(1)]
        sku: SkuId,
        /// Its location.
        #[n(2)]
        location: LocationId,
        /// Which column, what was found and what belongs there, in words.
        #[n(3)]
        what: Reason,
        /// Where it was committed in the old database's stream.
        #[n(4)]
        position: u64,
        /// Which change at that position, from 0.
        #[n(5)]
        index: u32,
    },
    /// Both sides were compared.
    #[n(9)]
    Reconciled {
        /// Of which capability.
        #[n(0)]
        capability: Capability,
        /// The position of the old database's stream as of which this holds.
        #[n(1)]
        position: u64,
        /// Rows compared.
        #[n(2)]
        rows: u64,
        /// Rows that differed.
        #[n(3)]
        differing: u64,
        /// Of these, rows put right.
        #[n(4)]
        repaired: u64,
    },
    /// The old shop said something that cannot be so. Not done; somebody must look.
    #[n(10)]
    OutboxRefused {
        /// Of which capability.
        #[n(0)]
        capability: Capability,
        /// The number of the message in the old shop's outbox.
        #[n(1)]
        id: u64,
        /// What it said, and why that cannot be, in words.
        #[n(2)]
        why: Reason,
    },
    /// The lead was taken back in the old database, by no move of ours: the phase is `mirror`, and its rows must be copied anew.
    #[n(40)]
    TakenOver {
        /// What is led by the old shop again.
        #[n(0)]
        capability: Capability,
        /// The number of a move that the bookkeeping row has there.
        #[n(1)]
        number: u64,
        /// The phase that it has there.
        #[n(2)]
        phase: Phase,
    },
    /// Everything that the old database committed before an instant is applied: the watermark. With the instant 0 it only says
    /// that from here on no hold of the old shop lapses without it.
    #[n(30)]
    SourceKnown {
        /// Of which capability.
        #[n(0)]
        capability: Capability,
        /// The instant, by the shard's clock.
        #[n(1)]
        until: Timestamp,
        /// The position of the old database's stream that says so.
        #[n(2)]
        position: u64,
    },
    /// Somebody wrote to several rows that Banyan owns.
    #[n(31)]
    BreachesNoted {
        /// Of which capability.
        #[n(0)]
        capability: Capability,
        /// How many writes.
        #[n(1)]
        count: u32,
        /// The first of them, in their order.
        #[n(2)]
        named: Vec<NamedBreach>,
        /// The rows of the others, each once.
        #[n(3)]
        others: Vec<(SkuId, LocationId)>,
        /// Where the last was committed in the old database's stream.
        #[n(4)]
        position: u64,
        /// Which change at that position it was, from 0.
        #[n(5)]
        index: u32,
    },
}

impl Event {
    /// The capability it concerns, if it says so itself.
    #[must_use]
    pub const fn capability(&self) -> Capability {
        match self {
            Self::MoveBegun { capability, .. }
            | Self::MoveNoted { capability, .. }
            | Self::MoveDone { capability }
            | Self::MoveAborted { capability, .. }
            | Self::SourceSet { capability, .. }
            | Self::SourceCopied { capability }
            | Self::SourceApplied { capability, .. }
            | Self::BreachNoted { capability, .. }
            | Self::Reconciled { capability, .. }
            | Self::OutboxRefused { capability, .. }
            | Self::TakenOver { capability, .. }
            | Self::SourceKnown { capability, .. }
            | Self::BreachesNoted { capability, .. } => *capability,
            Self::ItemMirrored { .. } => Capability::Stock,
        }
    }
}
