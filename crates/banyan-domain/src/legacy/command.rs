//! What can be asked on the way over.

use super::{Breach, Capability, MoveStep, Phase, SourceId, Without};
use crate::{Actor, LocationId, Reason, ReservationNo, SkuId, Timestamp};

/// Something asked. Checked texts only. Each is safe to repeat: by the number of the move, or by the source's position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Begin a move to a phase that is one step away.
    BeginMove {
        /// What is to move.
        capability: Capability,
        /// The phase that was looked at before it was asked: if another move has ended since, what was seen is not of this one,
        /// and it is refused. None: from wherever it is.
        from: Option<Phase>,
        /// Where to.
        to: Phase,
        /// Who asks.
        by: Actor,
        /// Why.
        reason: Reason,
        /// What it goes without, in writing. A move to the same phase that is under way is the answer only if it goes without all
        /// of it.
        without: Vec<Without>,
    },
    /// Note a point that the move has come to. Noting it again changes nothing.
    NoteMove {
        /// What moves.
        capability: Capability,
        /// The number of the move: another one's notes are refused.
        number: u64,
        /// Which point.
        step: MoveStep,
        /// What was seen there.
        note: Reason,
    },
    /// End a move that hands nothing over: to `mirror` from `legacy`, or between `lead` and `retired`. Moves that switch who
    /// leads end with the source transaction that says so.
    FinishMove {
        /// What moves.
        capability: Capability,
        /// The number of the move.
        number: u64,
    },
    /// Give a move up.
    AbortMove {
        /// What moves.
        capability: Capability,
        /// The number of the move.
        number: u64,
        /// Why.
        why: Reason,
        /// Whether the old database was told that this move never happens. Needed once the switch may have been sent, since
        /// it may arrive late.
        fenced: bool,
    },
    /// Follow a stream from a new copy on: what is copied next is compared with what is known, row by row.
    SetSource {
        /// Of which capability.
        capability: Capability,
        /// Which stream.
        source: SourceId,
        /// The position that the copy is of.
        position: u64,
    },
    /// The copy was read to its end.
    EndCopy {
        /// Of which capability.
        capability: Capability,
    },
    /// Apply one transaction of the old database, or one part of it.
    ApplySource(Box<SourceBatch>),
    /// Note that somebody wrote to what Banyan owns.
    NoteBreach {
        /// Of which capability.
        capability: Capability,
        /// The row's SKU.
        sku: SkuId,
        /// The row's location.
        location: LocationId,
        /// In words.
        what: Reason,
        /// Where in the stream.
        position: u64,
        /// Which change at that position, from 0.
        index: u32,
    },
    /// Note what a comparison came to. If who leads has changed since it began, it says nothing of now, and nothing is noted.
    NoteReconciled {
        /// Of which capability.
        capability: Capability,
        /// The phase in which it began.
        phase: Phase,
        /// The number of the last move that was done when it began.
        epoch: u64,
        /// As of which position of the stream.
        position: u64,
        /// Rows compared.
        rows: u64,
        /// Rows that differed.
        differing: u64,
        /// Of these, put right.
        repaired: u64,
    },
    /// Note that the bookkeeping row in the old database says that somebody else leads. If that is so and no move of ours asked
    /// for it, the lead is gone; otherwise nothing happens.
    NoteTakeover {
        /// What is led.
        capability: Capability,
        /// The number of a move that the row has.
        number: u64,
        /// The phase that it has.
        phase: Phase,
        /// The number of the last move that was done here, as it was before the row was read: if another was done since, the
        /// row may be an older one.
        epoch: u64,
    },
    /// Note up to when everything that the old database committed is applied: holds of the old shop that end before may lapse.
    /// Where the stream has not come to `position`, or nothing new is known, nothing is noted.
    NoteKnown {
        /// Of which capability.
        capability: Capability,
        /// Of which stream the position is.
        source: SourceId,
        /// Where the old database's log ended when it was asked, after the instant below.
        position: u64,
        /// An instant of the shard's clock, looked up before the old database was asked. One that is still to come counts as now.
        until: Timestamp,
    },
    /// Note that somebody wrote to many rows that Banyan owns.
    NoteBreaches {
        /// Of which capability.
        capability: Capability,
        /// Which writes, at most [`crate::limits::SOURCE_ROWS_MAX`]; those that were noted before are passed over.
        breaches: Vec<Breach>,
    },
}

/// One transaction of the old database, or a part of a large one. May be sent any number of times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceBatch {
    /// Of which capability.
    pub capability: Capability,
    /// From which stream.
    pub source: SourceId,
    /// Where it was committed: grows from transaction to transaction.
    pub position: u64,
    /// Which part, from 1, in order.
    pub part: u32,
    /// Rows as they are after it, at most [`crate::limits::SOURCE_ROWS_MAX`]; of a row that comes twice, the later counts.
    /// Passed over while Banyan leads: the rows are its own then.
    pub rows: Vec<MirrorRow>,
    /// What the old shop says, in its order; at most [`crate::limits::SOURCE_ROWS_MAX`].
    pub outbox: Vec<OutboxItem>,
    /// The number of a move and the phase that this transaction wrote into the bookkeeping row: who leads changes after it, if
    /// that is the move under way and where it goes. The phase that is there already changes nothing: a move that was given
    /// up is fenced off like that.
    pub switched: Option<(u64, Phase)>,
}

/// One row of the old shop's stock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorRow {
    /// Which SKU.
    pub sku: SkuId,
    /// Where.
    pub location: LocationId,
    /// Units there, those sold and not shipped included. Old books can be negative.
    pub in_stock: i64,
    /// Of these, units sold and not shipped.
    pub allocated: i64,
}

/// Something the old shop says, in the same transaction as what it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxItem {
    /// Its number there.
    pub id: u64,
    /// What it says.
    pub kind: OutboxKind,
}

/// What an old shop can say of stock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutboxKind {
    /// The order for which this was reserved is there: sold, and waiting to be shipped.
    Allocate {
        /// Which reservation.
        reservation: ReservationNo,
    },
    /// Goods of an order left.
    Ship {
        /// Which SKU.
        sku: SkuId,
        /// From where.
        location: LocationId,
        /// Units.
        quantity: u32,
    },
    /// An order was cancelled before its goods left.
    Deallocate {
        /// Which SKU.
        sku: SkuId,
        /// Where.
        location: LocationId,
        /// Units.
        quantity: u32,
    },
    /// Somebody counted.
    Count {
        /// Which SKU.
        sku: SkuId,
        /// Where.
        location: LocationId,
        /// Units there.
        in_stock: u32,
        /// Whether they are what can be sold: old books with one number. Otherwise those sold and not shipped are included.
        free: bool,
    },
    /// It could not be read. Kept, so that it is noted and does not stop what comes after it.
    Unreadable {
        /// Why.
        why: Reason,
    },
}

/// The answer to a command that was carried out, or needed nothing done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// About a move.
    Move {
        /// Its number.
        number: u64,
    },
    /// About the source.
    Source {
        /// The position that everything is applied to.
        position: u64,
        /// The part of the transaction there.
        part: u32,
    },
    /// Noted.
    Noted,
}
