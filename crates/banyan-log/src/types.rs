//! The words of the log: positions, epochs, hashes and blocks.

use std::fmt;

/// Position of one event in the log. The first event has seq 1; a log's *head* is the seq of its last event, 0 when
/// it has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

impl Seq {
    /// The head of a log without events.
    pub const ZERO: Seq = Seq(0);

    /// The number itself.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The position after this one: `head.next()` is where the next append goes.
    pub const fn next(self) -> Seq {
        Seq(self.0 + 1)
    }

    /// This position moved on by `count` events.
    pub const fn plus(self, count: u32) -> Seq {
        Seq(self.0 + count as u64)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Number of an ownership of the log: whoever acquires it last has the highest one, and only that one can append.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch of a log nobody has acquired yet.
    pub const ZERO: Epoch = Epoch(0);

    /// The number itself.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// BLAKE3 of a block's header and body. The header holds the hash of the block before it, so one hash stands for
/// the whole log up to there.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockHash(pub [u8; 32]);

impl BlockHash {
    /// What the first block of a log names as its previous hash.
    pub const ZERO: BlockHash = BlockHash([0; 32]);
}

impl fmt::Display for BlockHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlockHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What one append stores: `count` events (at least one), in an encoding that is the caller's business.
#[derive(Clone, Copy, Debug)]
pub struct BlockDraft<'a> {
    /// When the block was decided, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// How many events `body` holds; at least 1.
    pub count: u32,
    /// The events.
    pub body: &'a [u8],
}

/// One block as it was read back, its checksum and place in the chain already verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// Who wrote it.
    pub epoch: Epoch,
    /// Seq of its first event; for a block without events, the seq the next event will have.
    pub first_seq: Seq,
    /// Number of events. 0 only for the block with which the log itself starts an epoch.
    pub count: u32,
    /// When it was decided, milliseconds since the Unix epoch. An epoch-start block repeats the time before it.
    pub time_ms: u64,
    /// Hash of the block before this one.
    pub previous: BlockHash,
    /// Hash of this block.
    pub hash: BlockHash,
    /// The events, as they were appended.
    pub body: Vec<u8>,
}

impl Block {
    /// Seq of the last event up to and including this block: the log's head right after it.
    pub fn head(&self) -> Seq {
        Seq(self.first_seq.0 + u64::from(self.count) - 1)
    }

    /// Seq of the event that follows this block.
    pub fn next_seq(&self) -> Seq {
        self.first_seq.plus(self.count)
    }

    /// Whether this is the log's own marker of a new epoch; it holds no events.
    pub fn is_epoch_start(&self) -> bool {
        self.count == 0
    }

    /// Whether a reader that starts at `from` wants this block: it holds `from` or something later.
    pub(crate) fn reaches(&self, from: Seq) -> bool {
        self.first_seq.0 + u64::from(self.count.max(1)) > from.0
    }
}

/// What an owner learns when it acquires the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acquired {
    /// The new epoch; every append names it.
    pub epoch: Epoch,
    /// Seq of the last event; 0 for an empty log.
    pub head: Seq,
    /// Hash of the last block, which is the epoch-start block just written.
    pub head_hash: BlockHash,
}

/// A block that is on stable storage (as far as the engine's durability class goes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durable {
    /// Seq of its last event: the new head.
    pub head: Seq,
    /// Hash of the block.
    pub hash: BlockHash,
    /// How long making it durable took, nanoseconds; 0 where there is nothing to sync.
    pub sync_nanos: u64,
    /// Bytes written for it, framing included.
    pub bytes: u64,
}
