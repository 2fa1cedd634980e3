//! The few things the disk engine needs from a file system, each a call of its own, so that a simulated disk can stop
//! the world between any two of them.
//!
//! What a step promises is only what POSIX promises: written bytes survive a loss of power after the file's sync; a
//! created, renamed or removed name survives after the directory's sync; until then each may or may not have happened,
//! a write sector by sector.

use std::io;
use std::path::Path;
use std::sync::Arc;

mod memory;
mod real;

pub use memory::MemoryStorage;
pub use real::RealStorage;

/// One directory of files. Names have no separators.
pub trait Storage: Send + Sync {
    /// Where this is, for messages.
    fn describe(&self) -> String;

    /// Takes the exclusive lock that file `name` stands for, until the returned value is dropped or the process ends.
    fn lock(&self, name: &str) -> Result<LockGuard, LockRefused>;

    /// Names of all files, in any order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Creates an empty file, only the owner may touch it; [`io::ErrorKind::AlreadyExists`] if the name is taken.
    fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>>;

    /// Opens a file for reading and, if `writable`, writing; [`io::ErrorKind::NotFound`] if there is none.
    fn open(&self, name: &str, writable: bool) -> io::Result<Arc<dyn StorageFile>>;

    /// Gives a file another name, replacing a file of that name in one step.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file; handles on it stay usable.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes created, renamed and removed names durable.
    fn sync_dir(&self) -> io::Result<()>;

    /// Another directory; `path` is as the process sees it, not relative to this one. If it is missing it is created
    /// (only the owner may enter) or, without `create`, an [`io::ErrorKind::NotFound`].
    fn directory(&self, path: &Path, create: bool) -> io::Result<Arc<dyn Storage>>;
}

/// One open file with positional I/O. Several threads may use it at once.
pub trait StorageFile: Send + Sync {
    /// Size in bytes.
    fn size(&self) -> io::Result<u64>;

    /// Fills `into` from `offset`; [`io::ErrorKind::UnexpectedEof`] if the file ends first.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`, growing the file if need be. After an error any part may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes written bytes durable (`fdatasync`). After an error they may or may not be, and a second call that
    /// succeeds proves nothing.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes bytes and all metadata durable (`fsync`): for files that have just been created.
    fn sync_all(&self) -> io::Result<()>;
}

/// Held as long as the lock is.
pub type LockGuard = Box<dyn Send + Sync>;

/// Why a lock was not given.
#[derive(Debug)]
pub enum LockRefused {
    /// Somebody else has it.
    Held {
        /// The process id it left in the file, or what is known of it.
        by: String,
    },
    /// The operating system failed.
    Io(io::Error),
}
