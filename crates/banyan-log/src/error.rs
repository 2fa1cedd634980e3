//! What can go wrong, said so that an operator knows what to do next.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::types::{Epoch, Seq};

/// Why the log could not be opened, acquired, read or archived.
#[derive(Debug)]
pub enum LogError {
    /// Another process (or another handle in this one) owns the directory.
    Locked {
        /// The log's directory.
        directory: String,
        /// What the owner wrote into the lock file: its process id.
        holder: String,
    },
    /// The stored bytes are not what was written. Nothing has been changed.
    Corrupt(Box<Damage>),
    /// The operating system refused.
    Io {
        /// What was being done to which file.
        doing: String,
        /// Its answer.
        source: io::Error,
    },
    /// The options contradict each other or a limit.
    Options {
        /// Which, and what would be right.
        why: String,
    },
    /// The wanted events have been moved out of the live log.
    Archived {
        /// Seq that was asked for.
        wanted: Seq,
        /// First seq that is still live.
        first_live: Seq,
        /// Where older segments go, if the log was told.
        archive: Option<PathBuf>,
    },
    /// The wanted position lies beyond the log: whoever asks has seen events that this log does not have.
    Ahead {
        /// Seq that was asked for.
        wanted: Seq,
        /// The log's head.
        head: Seq,
    },
    /// Segments that were moved to the archive lie in the log's directory, differ from what the archive has, and the log does
    /// not continue them. Nothing has been changed.
    Strays {
        /// The log's directory.
        directory: String,
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
        /// Why the log cannot take them back.
        why: String,
    },
    /// An earlier write or sync failed, so what is on disk is unknown until the log is opened again.
    Poisoned {
        /// The first failure.
        why: String,
    },
    /// The log was sealed through this handle, or its handle is gone.
    Sealed,
}

/// Where stored bytes differ from what must be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Directory and file name.
    pub file: String,
    /// Offset in the file, bytes.
    pub offset: u64,
    /// Last seq that is known to be good in front of the damage; `None` if it was not reached by reading.
    pub after: Option<Seq>,
    /// What must be there.
    pub expected: String,
    /// What is there.
    pub found: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is damaged at offset {}", self.file, self.offset)?;
        if let Some(after) = self.after {
            write!(f, " (the last good event before it is seq {after})")?;
        }
        write!(f, ": expected {}, found {}", self.expected, self.found)
    }
}

impl LogError {
    /// Wraps an operating-system error with what was being done.
    pub(crate) fn io(doing: impl Into<String>, source: io::Error) -> LogError {
        LogError::Io { doing: doing.into(), source }
    }

    /// The damage, when this error is one.
    pub fn damage(&self) -> Option<&Damage> {
        match self {
            LogError::Corrupt(damage) => Some(damage),
            _ => None,
        }
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogError::Locked { directory, holder } => write!(
                f,
                "the log in {directory} is in use by process {holder}; stop that process first, or give this one a data directory of its own"
            ),
            LogError::Corrupt(damage) => write!(
                f,
                "{damage}. Nothing was changed; going on with a shorter log would forget answers that were given. Restore the directory from a backup or a standby; `banyan log verify` shows what can still be read"
            ),
            LogError::Io { doing, source } => write!(f, "{doing}: {source}"),
            LogError::Options { why } => write!(f, "log options: {why}"),
            LogError::Archived { wanted, first_live, archive: Some(archive) } => write!(
                f,
                "seq {wanted} is no longer in the live log, which starts at seq {first_live}; it was moved to the archive {}: read both with `banyan log cat`, or start from a snapshot at seq {first_live} or later",
                archive.display()
            ),
            LogError::Archived { wanted, first_live, archive: None } => write!(
                f,
                "seq {wanted} is no longer in the live log, which starts at seq {first_live}, and no archive is configured; start from a snapshot at seq {first_live} or later"
            ),
            LogError::Ahead { wanted, head } => write!(
                f,
                "asked to read from seq {wanted}, but the log ends at seq {head}: the reader has seen events of another or a newer log; rebuild it from this log, or restore the log it belongs to"
            ),
            LogError::Strays { directory, first, last, why } => write!(
                f,
                "{directory} holds log segments {first} to {last}, which were moved to the archive, and which the archive named to this process does not have: {why}. Nothing was changed; move those files out of {directory}, to the archive if they are missed there, and start again"
            ),
            LogError::Poisoned { why } => write!(
                f,
                "an earlier write to the log failed ({why}), so what is on disk is unknown; restart the process, which reads the log again"
            ),
            LogError::Sealed => f.write_str("the log was sealed through this handle; open it again"),
        }
    }
}

impl Error for LogError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            LogError::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Why an append did not become durable. Only after [`AppendError::Unknown`] is it open whether the block is stored.
#[derive(Debug)]
pub enum AppendError {
    /// The caller is not the owner (any more), or is not where it thinks. Nothing was written: step down.
    Fenced {
        /// Epoch the caller named.
        epoch: Epoch,
        /// Epoch the log is in.
        current: Epoch,
        /// First seq the caller expected to write.
        expected: Seq,
        /// Seq that comes next in the log.
        next: Seq,
    },
    /// The write or its sync failed, now or at an earlier append: the block may or may not be stored. Answer nobody,
    /// stop, and open the log again. The engine never retries and takes no more appends.
    Unknown {
        /// The failure.
        source: io::Error,
    },
    /// There is no prepared space left for this block. Nothing was written; it can be tried again once
    /// [`crate::Log::room`] has grown.
    Full {
        /// Body bytes of the block.
        wanted: u64,
        /// Body bytes there is room for.
        room: u64,
        /// Why there is no more.
        why: String,
    },
    /// The body is larger than the log's limit for one block. Nothing was written: split the batch.
    TooLarge {
        /// Body bytes of the block.
        bytes: u64,
        /// Largest body allowed.
        bytes_max: u64,
    },
    /// A block without events. Nothing was written: only the log itself writes such a block.
    Empty,
    /// The log was sealed through this handle. Nothing was written.
    Sealed,
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AppendError::Fenced { epoch, current, expected, next } => write!(
                f,
                "append fenced: the writer is in epoch {epoch} at seq {expected}, the log is in epoch {current} and continues at seq {next}; another owner took over, so this one must step down"
            ),
            AppendError::Unknown { source } => write!(
                f,
                "writing a block to the log failed and its outcome is unknown: {source}; check the disk, then restart, which reads the log again"
            ),
            AppendError::Full { wanted, room, why } => write!(
                f,
                "no prepared space for a block of {wanted} bytes ({room} left): {why}; nothing was written. Free disk space or archive old segments"
            ),
            AppendError::TooLarge { bytes, bytes_max } => {
                write!(
                    f,
                    "a block of {bytes} bytes is larger than the limit of {bytes_max}; nothing was written"
                )
            }
            AppendError::Empty => f.write_str("a block must hold at least one event; nothing was written"),
            AppendError::Sealed => f.write_str("the log was sealed through this handle; nothing was written"),
        }
    }
}

impl Error for AppendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            AppendError::Unknown { source } => Some(source),
            _ => None,
        }
    }
}
