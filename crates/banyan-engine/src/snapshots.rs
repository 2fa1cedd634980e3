//! Snapshots of the state: made in the background by replaying the log, so that the writer never pauses, and used at
//! start-up, so that only the tail of the log has to be replayed.
//!
//! File `<seq>.snap`: magic, version, log position, hash of the log's block there, BLAKE3 of the content, content. Written
//! under another name, synced, renamed, and the directory synced; so a file with its final name is whole.
//!
//! A name says little: the file may be damaged, of another version, or of another log. What rests on a snapshot (which old
//! ones go, which part of the log may be archived) counts only those that this process has started from or made.

use crate::shard::lock;
use crate::start::StartError;
use banyan_domain::{Both, State};
use banyan_log::{Block, BlockHash, LogError, LogReader, Seq};
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

const MAGIC: [u8; 8] = *b"BANYSNP1";
const HEADER_BYTES: usize = 8 + 8 + 32 + 32;
/// Snapshots kept: the newest, and one before it in case the newest is damaged.
const KEPT: usize = 2;
/// Name of a snapshot that is being written.
const UNFINISHED: &str = "writing.tmp";

/// Opens a reader of the log at a position.
pub(crate) type OpenReader<'a> = dyn Fn(Seq) -> Result<Box<dyn LogReader>, LogError> + 'a;

/// A directory of snapshots, which one process works with. Clones know the same.
#[derive(Clone, Debug)]
pub struct SnapshotStore {
    dir: PathBuf,
    /// Those that this process has read to their end, or written.
    proven: Arc<Mutex<BTreeSet<u64>>>,
}

/// Why a snapshot was not made.
#[derive(Debug)]
pub enum SnapshotFault {
    /// Reading or writing a file.
    Io(io::Error),
    /// It would take room that the log needs. Nothing was written.
    NoRoom {
        /// Bytes that must be free: for the snapshot, and for what the log is about to take.
        needed: u64,
        /// Bytes that are.
        free: u64,
    },
    /// Replaying the log: if it is a violation, this is the determinism alarm.
    Replay(StartError),
}

impl SnapshotStore {
    /// The snapshots in `dir`, which is created if it is not there.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn open(dir: impl Into<PathBuf>) -> io::Result<Self> {
        let dir = dir.into();
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        Ok(Self { dir, proven: Arc::default() })
    }

    /// Removes what a crash left of an unfinished snapshot. Only for who owns the log: it may be another process's work.
    pub(crate) fn remove_unfinished(&self) -> io::Result<()> {
        match fs::remove_file(self.dir.join(UNFINISHED)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Log positions of the snapshots that the server could start from, newest first: those that this process has started
    /// from or made, and that are still there. So a process that has just started knows of one at most.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn usable(&self) -> io::Result<Vec<u64>> {
        let mut seqs = self.list()?;
        let proven = lock(&self.proven);
        seqs.retain(|seq| proven.contains(seq));
        Ok(seqs)
    }

    /// Log positions of the snapshots there are by their names, newest first.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn list(&self) -> io::Result<Vec<u64>> {
        let mut seqs = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let name = entry?.file_name();
            let seq: Option<u64> =
                name.to_str().and_then(|name| name.strip_suffix(".snap")).and_then(|seq| seq.parse().ok());
            seqs.extend(seq);
        }
        seqs.sort_unstable_by(|a: &u64, b: &u64| b.cmp(a));
        Ok(seqs)
    }

    /// The state of the newest snapshot that is whole, belongs to `log` and is not beyond `head`. Those passed over are
    /// noted with the reason: they cost start-up time, nothing else. Whoever starts has nothing better to do with two cores
    /// than to read; whoever reads beside a writer must leave it one.
    pub(crate) fn newest(
        &self,
        head: u64,
        open: &OpenReader<'_>,
        passed: &mut Vec<String>,
        work: &impl Both,
    ) -> Option<State> {
        let seqs = match self.list() {
            Ok(seqs) => seqs,
            Err(fault) => {
                passed.push(format!("reading {}: {fault}", self.dir.display()));
                return None;
            }
        };
        for seq in seqs {
            let path = self.path(seq);
            let read = if seq > head {
                Err(format!("it is at event {seq}, and the log ends at {head}"))
            } else {
                self.read(seq, work).and_then(|(hash, state)| belongs(open, seq, hash).map(|()| state))
            };
            match read {
                Ok(state) => {
                    lock(&self.proven).insert(seq);
                    return Some(state);
                }
                Err(why) => {
                    lock(&self.proven).remove(&seq);
                    passed.push(format!("{}: {why}", path.display()));
                }
            }
        }
        None
    }

    fn read(&self, seq: u64, work: &impl Both) -> Result<(BlockHash, State), String> {
        let bytes = read_file(&self.path(seq), work).map_err(|e| e.to_string())?;
        let (header, content) = bytes.split_at_checked(HEADER_BYTES).ok_or("it is cut short")?;
        let content_hash = blake3::hash(content);
        let hash: [u8; 32] = core::array::from_fn(|i| header[16 + i]);
        if header[..8] != MAGIC || header[8..16] != seq.to_le_bytes() {
            return Err("it is not a snapshot of this version and position".into());
        }
        if header[48..80] != *content_hash.as_bytes() {
            return Err("its checksum does not match: it is damaged".into());
        }
        let state = State::from_snapshot_by(content, work).map_err(|e| e.to_string())?;
        if state.seq() != seq {
            return Err(format!("its content is of event {}", state.seq()));
        }
        Ok((BlockHash(hash), state))
    }

    /// Stores a snapshot of `state`, taken right after the block with `hash`, and removes old ones. Begins only if
    /// `reserve_bytes` stay free behind it, and leaves nothing if it fails: the log needs the room more.
    pub(crate) fn write(
        &self,
        state: &State,
        hash: BlockHash,
        reserve_bytes: u64,
    ) -> Result<(), SnapshotFault> {
        let content = state.to_snapshot();
        let needed = ((HEADER_BYTES + content.len()) as u64).saturating_add(reserve_bytes);
        let free = self.free_bytes().map_err(SnapshotFault::Io)?;
        if free < needed {
            return Err(SnapshotFault::NoRoom { needed, free });
        }
        let temporary = self.dir.join(UNFINISHED);
        let stored = fill(&temporary, state.seq(), hash, &content)
            .and_then(|()| fs::rename(&temporary, self.path(state.seq())));
        if let Err(error) = stored {
            // Gives the space back; if even that fails, the next start does.
            let _ = fs::remove_file(&temporary);
            return Err(SnapshotFault::Io(error));
        }
        File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(SnapshotFault::Io)?;
        lock(&self.proven).insert(state.seq());
        self.remove_old().map_err(SnapshotFault::Io)
    }

    /// Removes what is older than the snapshots to keep. What is newer and was never read may be of another log, and does
    /// not count.
    fn remove_old(&self) -> io::Result<()> {
        let Some(oldest_kept) = self.usable()?.get(KEPT - 1).copied() else { return Ok(()) };
        for old in self.list()?.into_iter().filter(|seq| *seq < oldest_kept) {
            fs::remove_file(self.path(old))?;
            lock(&self.proven).remove(&old);
        }
        Ok(())
    }

    /// Bytes that may still be written where the snapshots are.
    pub(crate) fn free_bytes(&self) -> io::Result<u64> {
        let disk = rustix::fs::statvfs(&self.dir)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    fn path(&self, seq: u64) -> PathBuf {
        self.dir.join(format!("{seq:020}.snap"))
    }

    /// Where the snapshots are.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// Writes a whole snapshot to `path` and brings it to disk.
fn fill(path: &Path, seq: u64, hash: BlockHash, content: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(&MAGIC)?;
    file.write_all(&seq.to_le_bytes())?;
    file.write_all(&hash.0)?;
    file.write_all(blake3::hash(content).as_bytes())?;
    file.write_all(content)?;
    file.sync_all()
}

/// The bytes of a file, each half read on its own.
fn read_file(path: &Path, work: &impl Both) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let len = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    let mut bytes = vec![0; len];
    let middle = len / 2;
    let (early, late) = bytes.split_at_mut(middle);
    let (early, late) =
        work.both(|| file.read_exact_at(early, 0), || file.read_exact_at(late, middle as u64));
    early.and(late)?;
    Ok(bytes)
}

/// Whether the log's block that ends at `seq` has `hash`, by its own word or by that of the block that follows: the one at the
/// end has none, and the one before what is archived has only that.
fn belongs(open: &OpenReader<'_>, seq: u64, hash: BlockHash) -> Result<(), String> {
    let mut block = Block::default();
    let mut reader = open(Seq(seq + 1)).map_err(|e| e.to_string())?;
    if reader.next(&mut block).map_err(|e| e.to_string())? {
        return if block.previous == hash { Ok(()) } else { Err("it was made from another log".into()) };
    }
    let mut reader = open(Seq(seq)).map_err(|e| e.to_string())?;
    while reader.next(&mut block).map_err(|e| e.to_string())? {
        if block.count > 0 {
            let same = block.head() == Seq(seq) && block.hash == hash;
            return if same { Ok(()) } else { Err("it was made from another log".into()) };
        }
    }
    Err("the log ends before it".into())
}

impl std::fmt::Display for SnapshotFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(source) => write!(f, "storing it: {source}"),
            Self::NoRoom { needed, free } => write!(
                f,
                "the disk has {free} bytes free, and it needs {needed} with what the log is about to take; none is made until \
                 there is as much: free space, or make the disk larger"
            ),
            Self::Replay(source) => write!(f, "replaying the log: {source}"),
        }
    }
}

impl std::error::Error for SnapshotFault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(source) => Some(source),
            Self::NoRoom { .. } => None,
            Self::Replay(source) => Some(source),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_domain::StoreSecret;

    fn state() -> State {
        State::new(StoreSecret::new([7; 32]))
    }

    fn names(dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir).expect("the folder is there");
        names.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
    }

    /// Bug: what there was of it stayed and kept the disk full, so that the log found no room for its next segment.
    #[test]
    fn a_snapshot_that_does_not_fit_gives_its_space_back() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = SnapshotStore::open(dir.path()).expect("opens");
        // Whoever writes there is told that no space is left on the device.
        std::os::unix::fs::symlink("/dev/full", dir.path().join(UNFINISHED)).expect("a link");
        let fault = store.write(&state(), BlockHash([1; 32]), 0).expect_err("the device is full");
        let full = matches!(&fault, SnapshotFault::Io(error) if error.kind() == io::ErrorKind::StorageFull);
        assert!(full, "{fault}");
        assert_eq!(names(dir.path()), Vec::<String>::new());
        assert_eq!(store.usable().expect("readable"), Vec::<u64>::new());
    }

    #[test]
    fn what_a_crash_left_of_an_unfinished_snapshot_is_removed_at_the_next_start() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join(UNFINISHED), [0; 9_000]).expect("writable");
        let store = SnapshotStore::open(dir.path()).expect("opens");
        assert_eq!(names(dir.path()), [UNFINISHED], "another process may be at work on it");
        let log = banyan_log::MemoryLog::new();
        let now = banyan_domain::Timestamp::from_millis(1);
        crate::start(Box::new(log), Some(&store), crate::CoreOptions::default(), None, now, &mut |_, _| {})
            .expect("it starts");
        assert_eq!(names(dir.path()), Vec::<String>::new());
    }

    #[test]
    fn no_snapshot_is_begun_that_takes_the_room_of_the_log() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = SnapshotStore::open(dir.path()).expect("opens");
        let free = store.free_bytes().expect("a file system");
        let fault = store.write(&state(), BlockHash([1; 32]), free).expect_err("no room");
        assert!(matches!(fault, SnapshotFault::NoRoom { needed, .. } if needed > free), "{fault}");
        assert_eq!(names(dir.path()), Vec::<String>::new());
        store.write(&state(), BlockHash([1; 32]), 0).expect("there is room without the reserve");
        assert_eq!(names(dir.path()).len(), 1);
    }
}
