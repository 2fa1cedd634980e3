//! Durable bytes: an append-only log of blocks, each acknowledged only when it is on stable storage.
//!
//! One trait, [`Log`], several engines, and one [`conformance`] suite that all of them pass:
//! - [`DiskLog`]: segment files on one machine's disk, one sync for each block. The default.
//! - [`MemoryLog`]: for tests.
//!
//! A log has one writer. It *acquires* the log, which raises the epoch and fences earlier owners, and then *appends*
//! blocks of events; each block names the hash of the one before. [`LogReader`]s follow on other threads and never see
//! past what is [`Confirmed`].
//!
//! What it deliberately is not: it does not know what an event is (a block's body is opaque), it keeps no index but seq
//! to segment, it never repairs damage (it refuses to open and says where), and it does not batch: the caller decides
//! what one block is.
//!
//! Start reading at [`Log`]; then `format` for the bytes, `disk/recover.rs` for what opening a log accepts, and
//! `disk/mod.rs` for the write path. All disk access goes through [`Storage`].

mod confirmed;
pub mod conformance;
mod disk;
mod error;
mod format;
mod log;
mod memory;
mod storage;
mod types;

pub use confirmed::Confirmed;
pub use disk::{
    ArchiveReport, Archiver, DiskLog, DiskOptions, OfflineLog, Summary, Verdict, open_for_reading,
};
pub use error::{AppendError, Damage, LogError};
pub use log::{APPEND_OVERHEAD_BYTES, Durability, Health, Log, LogReader};
pub use memory::MemoryLog;
pub use storage::{LockGuard, LockRefused, MemoryStorage, RealStorage, Storage, StorageFile};
pub use types::{Acquired, Block, BlockDraft, BlockHash, Durable, Epoch, Seq};
