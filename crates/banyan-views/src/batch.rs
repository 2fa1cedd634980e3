//! Blocks on their way into a view, decoded.

use banyan_domain::codec::{self, DecodeError};
use banyan_domain::{Entry, Timestamp};
use banyan_log::{Block, BlockHash, Seq};

/// One block's events.
#[derive(Debug)]
pub struct BatchBlock {
    /// Seq of the first of `entries`.
    pub first_seq: Seq,
    /// When the block was decided.
    pub time: Timestamp,
    /// The block's hash, which stands for the whole log up to there.
    pub hash: BlockHash,
    /// Its events, in order.
    pub entries: Vec<Entry>,
}

/// Blocks to be applied in one transaction.
#[derive(Debug, Default)]
pub struct Batch {
    blocks: Vec<BatchBlock>,
    events: usize,
    gives_way: bool,
}

impl Batch {
    /// Decodes `block` and adds it. A block without events adds nothing.
    ///
    /// # Errors
    /// [`DecodeError`] if the body is not entries; the batch is unchanged then.
    pub fn push(&mut self, block: &Block) -> Result<(), DecodeError> {
        if block.count == 0 {
            return Ok(());
        }
        let mut entries = Vec::with_capacity(block.count as usize);
        for entry in codec::decode(&block.body, block.count) {
            entries.push(entry?);
        }
        self.events += entries.len();
        let time = Timestamp::from_millis(block.time_ms);
        self.blocks.push(BatchBlock { first_seq: block.first_seq, time, hash: block.hash, entries });
        Ok(())
    }

    /// The blocks, in order.
    #[must_use]
    pub fn blocks(&self) -> &[BatchBlock] {
        &self.blocks
    }

    /// How many events it holds.
    #[must_use]
    pub const fn events(&self) -> usize {
        self.events
    }

    /// Seq of its last event, if it has one.
    #[must_use]
    pub fn last_seq(&self) -> Option<Seq> {
        self.blocks.last().map(BatchBlock::last_seq)
    }

    /// Time of its last block, if it has one.
    #[must_use]
    pub fn last_time(&self) -> Option<Timestamp> {
        self.blocks.last().map(|block| block.time)
    }

    /// Hash of its last block, if it has one.
    #[must_use]
    pub fn last_hash(&self) -> Option<BlockHash> {
        self.blocks.last().map(|block| block.hash)
    }

    /// Whether who applies it should rest now and then, for others to get on: not if more is waiting behind it.
    #[must_use]
    pub const fn gives_way(&self) -> bool {
        self.gives_way
    }

    /// Says whether who applies it should give way; it need not unless told.
    pub const fn give_way(&mut self, gives_way: bool) {
        self.gives_way = gives_way;
    }

    /// Empties it, keeping its memory.
    pub fn clear(&mut self) {
        self.blocks.clear();
        self.events = 0;
    }
}

impl BatchBlock {
    /// Seq of the last of `entries`, of which there is at least one.
    fn last_seq(&self) -> Seq {
        Seq(self.first_seq.0 + self.entries.len() as u64 - 1)
    }

    /// Each event with its seq.
    pub fn numbered(&self) -> impl Iterator<Item = (Seq, &Entry)> {
        (self.first_seq.0..).map(Seq).zip(&self.entries)
    }
}
