//! The old database's stream of changes, whatever kind of database it is.

use crate::database::{Book, BoxFuture, LegacyError};

/// Which stream a position belongs to. Positions of two sources cannot be compared: where it changes, the only way on is
/// a new snapshot, taken in by difference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceId {
    /// The server and its history: Postgres `SYSTEM_ID/TIMELINE/DATABASE`, MySQL the binary log's server.
    pub system: String,
    /// The stream of this server: the slot, or the binary log's own identity.
    pub stream: String,
}

/// A mapped row, as numbers and names. Columns that are not mapped never leave the old database's side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The index of the table in the mapping.
    pub table: usize,
    /// The SKU as it is in the table, not checked yet.
    pub sku: String,
    /// The location: the constant of the mapping, or the column's text.
    pub location: String,
    /// The in-stock column. Nothing for null.
    pub in_stock: Option<i64>,
    /// The allocated column. Nothing for null, and where none is mapped.
    pub allocated: Option<i64>,
}

/// What happened to a mapped table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new row.
    Insert(Row),
    /// A changed row.
    Update {
        /// The row before, where the stream tells it in full.
        before: Option<Row>,
        /// The row now.
        after: Row,
    },
    /// A deleted row. Its numbers are those before, where the stream tells them.
    Delete(Row),
    /// Every row of the table is gone.
    Truncate {
        /// The index of the table in the mapping.
        table: usize,
    },
}

/// A row of the old shop's outbox: something it asks of Banyan within its own transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRow {
    /// The outbox row's own number, which only names it: order is the stream's.
    pub id: i64,
    /// `allocate`, `ship`, `deallocate` or `count`.
    pub kind: String,
    /// A JSON object, as text.
    pub body: String,
}

/// A committed transaction of the old database, or a part of a large one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    /// Its place in the order of commits. Grows strictly from one transaction to the next; the same for all its parts,
    /// and the same however often it is sent.
    pub position: u64,
    /// The part's number, from 1. A transaction is always cut at the same places.
    pub part: u32,
    /// Whether no further part follows.
    pub last: bool,
    /// When it was committed, by the old database's clock, in milliseconds since 1970. 0 if not told.
    pub committed_millis: u64,
    /// The sequence number and epoch that Banyan's own writer put into this transaction; nothing if somebody else made
    /// it. Rows that the old database's triggers wrote are in it as well.
    pub ours: Option<(u64, u64)>,
    /// How many rows that our writer wrote came back just as it wrote them, and were left out of the changes; what is in
    /// the changes of a transaction of ours was then written by a trigger. Nothing where the stream cannot tell them apart.
    pub echoes: Option<u32>,
    /// Changes of mapped rows, in the order in which they were made.
    pub changes: Vec<Change>,
    /// Rows put into the outbox, in their order.
    pub outbox: Vec<OutboxRow>,
    /// The bookkeeping row after a switch of leadership that this transaction made.
    pub switched: Option<Book>,
}

/// What a stream gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A snapshot begins: the rows that follow are the tables as of `position`, and transactions after it follow them.
    SnapshotBegin {
        /// The source from here on.
        source: SourceId,
        /// Everything up to and including this position is in the snapshot.
        position: u64,
        /// The bookkeeping row as of the snapshot; nothing if there is none. No transaction that follows tells it.
        book: Option<Book>,
    },
    /// Messages that were left in the outbox as of the snapshot: no transaction that follows tells them. They come before the rows.
    Outbox(Vec<OutboxRow>),
    /// Rows of the snapshot. Each row comes once.
    Rows(Vec<Row>),
    /// The snapshot is complete.
    SnapshotEnd,
    /// A transaction, or a part of one.
    Transaction(Transaction),
    /// Nothing that matters happened up to `position`, and everything before has been handed out. May come again with the
    /// same position, as a sign of life.
    Idle {
        /// The position that may be acknowledged once everything before is durable.
        position: u64,
    },
    /// A mapped table is no longer what the mapping says. Nothing follows: mend the mapping or the table, then start anew.
    SchemaChanged {
        /// What changed, and what to do.
        what: String,
    },
}

/// A running stream. Dropping it ends its connections; what was not acknowledged comes again.
pub trait ChangeStream: Send {
    /// The next item. Waits for it. Cancelling the wait loses nothing.
    fn next(&mut self) -> BoxFuture<'_, Result<Item, LegacyError>>;

    /// Tells the old database that everything up to and including `position` is durable here and need not be kept. Only
    /// positions that an item carried, and only after Banyan's own log has it on disk. Returns at once; what is lost on
    /// the way is told again with the next.
    fn acknowledge(&mut self, position: u64);
}
