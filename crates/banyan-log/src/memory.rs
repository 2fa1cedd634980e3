//! The engine without a disk, for tests and for trying things out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::confirmed::Confirmed;
use crate::error::{AppendError, LogError};
use crate::format::block::{BLOCK_BYTES_LIMIT, Header};
use crate::log::{Durability, Health, Log, LogReader};
use crate::types::{Acquired, Block, BlockDraft, BlockHash, Durable, Epoch, Seq};

/// A log in memory. Handles made with [`MemoryLog::attach`] share it, so a takeover can be played: the handle that
/// acquires last fences the others.
#[derive(Debug)]
pub struct MemoryLog {
    shared: Arc<Shared>,
    sealed: bool,
}

#[derive(Debug)]
struct Shared {
    store: Mutex<Store>,
    confirmed: Arc<Confirmed>,
    bytes_max: u64,
}

#[derive(Debug, Default)]
struct Store {
    blocks: Vec<Arc<Block>>,
    epoch: Epoch,
    head: Seq,
    hash: BlockHash,
    time_ms: u64,
    bytes: u64,
}

impl MemoryLog {
    /// An empty log that takes as much as the process has.
    pub fn new() -> MemoryLog {
        MemoryLog::with_limit(u64::MAX)
    }

    /// An empty log that is full after `bytes_max` bytes of bodies.
    pub fn with_limit(bytes_max: u64) -> MemoryLog {
        let shared =
            Shared { store: Mutex::default(), confirmed: Arc::new(Confirmed::new(Seq::ZERO)), bytes_max };
        MemoryLog { shared: Arc::new(shared), sealed: false }
    }

    /// Another handle on the same log.
    pub fn attach(&self) -> MemoryLog {
        MemoryLog { shared: Arc::clone(&self.shared), sealed: false }
    }
}

impl Default for MemoryLog {
    fn default() -> MemoryLog {
        MemoryLog::new()
    }
}

impl Shared {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    fn push(&mut self, draft: BlockDraft<'_>) -> BlockHash {
        let header = Header::new(self.epoch, self.head.next(), self.hash, draft);
        let block = Block {
            epoch: header.epoch,
            first_seq: header.first_seq,
            count: header.count,
            time_ms: header.time_ms,
            previous: header.previous,
            hash: header.hash,
            body: draft.body.to_vec(),
        };
        self.head = block.head();
        self.hash = block.hash;
        self.time_ms = block.time_ms;
        self.bytes += draft.body.len() as u64;
        self.blocks.push(Arc::new(block));
        header.hash
    }
}

impl Log for MemoryLog {
    fn acquire(&mut self) -> Result<Acquired, LogError> {
        if self.sealed {
            return Err(LogError::Sealed);
        }
        let mut store = self.shared.store();
        store.epoch = Epoch(store.epoch.0 + 1);
        let time_ms = store.time_ms;
        store.push(BlockDraft { time_ms, count: 0, body: &[] });
        Ok(Acquired { epoch: store.epoch, head: store.head, head_hash: store.hash })
    }

    fn append(&mut self, epoch: Epoch, expected: Seq, block: BlockDraft<'_>) -> Result<Durable, AppendError> {
        if self.sealed {
            return Err(AppendError::Sealed);
        }
        let mut store = self.shared.store();
        let next = store.head.next();
        if epoch != store.epoch || expected != next || epoch == Epoch::ZERO {
            return Err(AppendError::Fenced { epoch, current: store.epoch, expected, next });
        }
        if block.count == 0 {
            return Err(AppendError::Empty);
        }
        let bytes = block.body.len() as u64;
        if bytes > BLOCK_BYTES_LIMIT {
            return Err(AppendError::TooLarge { bytes, bytes_max: BLOCK_BYTES_LIMIT });
        }
        let room = self.shared.bytes_max - store.bytes;
        if bytes > room {
            let why = format!("this log in memory is limited to {} bytes", self.shared.bytes_max);
            return Err(AppendError::Full { wanted: bytes, room, why });
        }
        let hash = store.push(block);
        let head = store.head;
        // Still under the lock: otherwise a reader could get the block before it is confirmed.
        self.shared.confirmed.publish(head);
        Ok(Durable { head, hash, sync_nanos: 0, bytes })
    }

    fn room(&self) -> u64 {
        self.shared.bytes_max - self.shared.store().bytes
    }

    fn block_bytes_max(&self) -> u64 {
        BLOCK_BYTES_LIMIT
    }

    fn reader(&self, from: Seq) -> Result<Box<dyn LogReader>, LogError> {
        let store = self.shared.store();
        if from > store.head.next() {
            return Err(LogError::Ahead { wanted: from, head: store.head });
        }
        let at = store.blocks.partition_point(|block| !block.reaches(from));
        Ok(Box::new(MemoryReader { shared: Arc::clone(&self.shared), at }))
    }

    fn confirmed(&self) -> Arc<Confirmed> {
        Arc::clone(&self.shared.confirmed)
    }

    fn seal(&mut self) -> Result<(), LogError> {
        self.sealed = true;
        Ok(())
    }

    fn health(&self) -> Health {
        let store = self.shared.store();
        Health {
            durability: Durability::Memory,
            head: store.head,
            first_seq: Seq(1),
            epoch: store.epoch,
            segments: 0,
            bytes: store.bytes,
            next_bytes: 0,
            spare_ready: true,
            spare_problem: None,
            poisoned: None,
        }
    }
}

struct MemoryReader {
    shared: Arc<Shared>,
    at: usize,
}

impl LogReader for MemoryReader {
    fn next(&mut self, into: &mut Block) -> Result<bool, LogError> {
        let block = self.shared.store().blocks.get(self.at).cloned();
        let Some(block) = block else {
            return Ok(false);
        };
        into.clone_from(&block);
        self.at += 1;
        Ok(true)
    }
}
