//! Snapshots of the state: made in the background by replaying the log, so that the writer never pauses, and used at
//! start-up, so that only the tail of the log has to be replayed.
//!
//! File `<seq>.snap`: magic, version, log position, hash of the log's block there, BLAKE3 of the content, content. Written
//! under another name, synced, renamed, and the directory synced; so a file with its final name is whole.

use crate::metrics::Metrics;
use crate::replay::apply_block;
use crate::shard::{SharedLog, lock};
use crate::start::StartError;
use banyan_domain::{Both, InTurn, State};
use banyan_log::{Block, BlockHash, LogError, LogReader, Seq};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const MAGIC: [u8; 8] = *b"BANYSNP1";
const HEADER_BYTES: usize = 8 + 8 + 32 + 32;
/// Snapshots kept: the newest, and one before it in case the newest is damaged.
const KEPT: usize = 2;

/// Opens a reader of the log at a position.
pub(crate) type OpenReader<'a> = dyn Fn(Seq) -> Result<Box<dyn LogReader>, LogError> + 'a;

/// A directory of snapshots.
#[derive(Clone, Debug)]
pub struct SnapshotStore {
    dir: PathBuf,
}

/// Why a snapshot was not made.
#[derive(Debug)]
pub enum SnapshotFault {
    /// Reading or writing a file.
    Io(io::Error),
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
        Ok(Self { dir })
    }

    /// Log positions of the snapshots there are, newest first.
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
                Ok(state) => return Some(state),
                Err(why) => passed.push(format!("{}: {why}", path.display())),
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

    /// Stores a snapshot of `state`, taken right after the block with `hash`, and removes old ones.
    fn write(&self, state: &State, hash: BlockHash) -> io::Result<()> {
        let content = state.to_snapshot();
        let temporary = self.dir.join("writing.tmp");
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(&MAGIC)?;
        file.write_all(&state.seq().to_le_bytes())?;
        file.write_all(&hash.0)?;
        file.write_all(blake3::hash(&content).as_bytes())?;
        file.write_all(&content)?;
        file.sync_all()?;
        fs::rename(&temporary, self.path(state.seq()))?;
        File::open(&self.dir)?.sync_all()?;
        for old in self.list()?.into_iter().skip(KEPT) {
            fs::remove_file(self.path(old))?;
        }
        Ok(())
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

/// Whether the log's block that follows `seq` names `hash` as the one before it.
fn belongs(open: &OpenReader<'_>, seq: u64, hash: BlockHash) -> Result<(), String> {
    let mut next = Block::default();
    let mut reader = open(Seq(seq + 1)).map_err(|e| e.to_string())?;
    match reader.next(&mut next).map_err(|e| e.to_string())? {
        true if next.previous == hash => Ok(()),
        true => Err("it was made from another log".into()),
        false => Err("the log ends before it".into()),
    }
}

/// The thread that makes snapshots.
pub(crate) struct Snapshotter {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Snapshotter {
    pub(crate) fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        let _reported_where_it_happened = self.thread.join();
    }
}

pub(crate) fn spawn(
    store: SnapshotStore,
    log: SharedLog,
    metrics: Arc<Metrics>,
    every_events: u64,
) -> Result<Snapshotter, StartError> {
    let stop = Arc::new(AtomicBool::new(false));
    let stopping = stop.clone();
    let confirmed = lock(&log).confirmed();
    let run = move || {
        let mut last = store.list().ok().and_then(|seqs| seqs.first().copied()).unwrap_or(0);
        metrics.snapshot_seq.store(last, Ordering::Relaxed);
        while !stopping.load(Ordering::Relaxed) {
            if confirmed.wait_past(Seq(last + every_events), Duration::from_millis(500))
                <= Seq(last + every_events)
            {
                continue;
            }
            match make(&store, &log, &stopping) {
                Ok(Some(seq)) => {
                    last = seq;
                    metrics.snapshot_seq.store(seq, Ordering::Relaxed);
                    tracing::info!(seq, "snapshot made");
                }
                Ok(None) => return,
                Err(fault) => {
                    tracing::error!("making a snapshot: {fault}");
                    if matches!(fault, SnapshotFault::Replay(StartError::Violation { .. })) {
                        metrics.alarm.store(true, Ordering::Relaxed);
                    }
                    // Try again only after as much again has happened: the log holds everything meanwhile.
                    last = confirmed.get().as_u64();
                }
            }
        }
    };
    let thread =
        std::thread::Builder::new().name("banyan-snapshot".into()).spawn(run).map_err(StartError::Thread)?;
    Ok(Snapshotter { stop, thread })
}

/// Replays from the newest snapshot to the head and stores the result. None if told to stop meanwhile.
fn make(store: &SnapshotStore, log: &SharedLog, stop: &AtomicBool) -> Result<Option<u64>, SnapshotFault> {
    let fault = |e| SnapshotFault::Replay(StartError::Log(e));
    let head = lock(log).confirmed().get();
    let mut passed = Vec::new();
    // The log is locked only while a reader is opened: the writer must not wait for the reading of a snapshot.
    let open = |from| lock(log).reader(from);
    let mut state = store.newest(head.as_u64(), &open, &mut passed, &InTurn);
    for why in passed {
        tracing::warn!("snapshot passed over: {why}");
    }
    let mut reader = open(Seq(state.as_ref().map_or(1, |s| s.seq() + 1))).map_err(fault)?;
    let mut block = Block::default();
    let mut hash = None;
    while reader.next(&mut block).map_err(fault)? {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        hash = Some(block.hash);
        apply_block(&block, &mut state).map_err(SnapshotFault::Replay)?;
        if block.count > 0 && block.head() >= head {
            break;
        }
    }
    let (Some(state), Some(hash)) = (state, hash) else { return Ok(None) };
    store.write(&state, hash).map_err(SnapshotFault::Io)?;
    Ok(Some(state.seq()))
}

impl std::fmt::Display for SnapshotFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(source) => write!(f, "storing it: {source}"),
            Self::Replay(source) => write!(f, "replaying the log: {source}"),
        }
    }
}

impl std::error::Error for SnapshotFault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(source) => Some(source),
            Self::Replay(source) => Some(source),
        }
    }
}
