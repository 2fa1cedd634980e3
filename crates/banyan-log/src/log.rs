//! The one trait every engine implements.

use std::sync::Arc;

use crate::confirmed::Confirmed;
use crate::error::{AppendError, LogError};
use crate::types::{Acquired, Block, BlockDraft, Durable, Epoch, Seq};

/// Bytes an append takes from [`Log::room`] beside its body, at most: the block's header and the padding of its last
/// sector.
pub const APPEND_OVERHEAD_BYTES: u64 = 603;

/// An append-only log with one writer. One handle belongs to one thread at a time; readers live on other threads.
pub trait Log: Send {
    /// Takes ownership: raises the epoch and makes that durable with a block of the log's own (no events). Appends
    /// of an earlier epoch fail from here on.
    fn acquire(&mut self) -> Result<Acquired, LogError>;

    /// Stores one block and returns when it is durable. `expected` is the seq its first event will get, which must
    /// be the head's successor. At most one block is ever in flight.
    ///
    /// After [`AppendError::Unknown`] the engine is poisoned: every later append is `Unknown`, and nothing is retried.
    fn append(&mut self, epoch: Epoch, expected: Seq, block: BlockDraft<'_>) -> Result<Durable, AppendError>;

    /// Body bytes that are guaranteed to find a place without allocating storage: the next `n` appends do not fail
    /// with [`AppendError::Full`] if the sum of their bodies plus `(n - 1) *` [`APPEND_OVERHEAD_BYTES`] is at most this.
    /// Ask before deciding a batch. `u64::MAX` where nothing limits it.
    ///
    /// When the current segment is nearly used up, this waits for a spare that is being prepared (never for one whose
    /// preparation failed), so that a fast writer is slowed down instead of told that the disk is full.
    fn room(&self) -> u64;

    /// Largest body one append takes, bytes.
    fn block_bytes_max(&self) -> u64;

    /// Reads from the block that holds `from` (events before `from` in that block are the caller's to skip) up to the
    /// confirmed head, and on as that moves. `from` may be at most the head's successor.
    fn reader(&self, from: Seq) -> Result<Box<dyn LogReader>, LogError>;

    /// The watch on the confirmed head, for readers on other threads.
    fn confirmed(&self) -> Arc<Confirmed>;

    /// Ends this handle's writing cleanly: background work stops and the log may be opened by others. Reading goes on.
    fn seal(&mut self) -> Result<(), LogError>;

    /// What an operator wants to know.
    fn health(&self) -> Health;
}

/// Reads blocks in order. It never yields anything that is not confirmed, and verifies every block it yields.
pub trait LogReader: Send {
    /// Fills `into` with the next block (its buffer is reused) and returns true, or returns false at the confirmed head:
    /// wait with [`Confirmed::wait_past`] and call again. Epoch-start blocks (`count` 0) are yielded too.
    fn next(&mut self, into: &mut Block) -> Result<bool, LogError>;
}

/// What an acknowledged append survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Nothing: it is gone with the process.
    Memory,
    /// Loss of power: it was synced to one machine's disk.
    Fsync,
    /// Loss of a machine: it was synced on a majority.
    QuorumFsync,
}

impl Durability {
    /// The name shown to operators: `memory`, `fsync` or `quorum_fsync`.
    pub fn name(self) -> &'static str {
        match self {
            Durability::Memory => "memory",
            Durability::Fsync => "fsync",
            Durability::QuorumFsync => "quorum_fsync",
        }
    }
}

/// The state of an engine, for operators.
#[derive(Clone, Debug)]
pub struct Health {
    /// What an acknowledged append survives.
    pub durability: Durability,
    /// Seq of the last confirmed event.
    pub head: Seq,
    /// First seq that can be read.
    pub first_seq: Seq,
    /// The epoch the log is in.
    pub epoch: Epoch,
    /// Live segments, the spare not counted; 0 for engines without segments.
    pub segments: u64,
    /// Bytes of storage the live log takes, the spare included.
    pub bytes: u64,
    /// Bytes of storage that one more segment will take; 0 for engines without segments.
    pub next_bytes: u64,
    /// Whether the next segment is prepared. Engines that need none say true.
    pub spare_ready: bool,
    /// Why preparing the next segment failed, while it does.
    pub spare_problem: Option<String>,
    /// The failure after which no append is taken any more.
    pub poisoned: Option<String>,
}
