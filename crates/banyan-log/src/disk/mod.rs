//! The disk engine: segment files, one write and one `fdatasync` for each block.

mod archive;
mod cursor;
mod file;
mod offline;
mod open;
mod reader;
mod recover;
mod spare;
mod strays;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Instant;

use crate::confirmed::Confirmed;
use crate::disk::file::SegmentFile;
use crate::disk::reader::DiskReader;
use crate::disk::spare::Spares;
use crate::error::{AppendError, LogError};
use crate::format::block::{BLOCK_BYTES_LIMIT, Header, encode, sectors_of};
use crate::format::sector::{PAYLOAD_BYTES, SECTOR_BYTES};
use crate::format::segment::{Chain, FIRST_BLOCK_SECTOR, SEGMENT_OVERHEAD_SECTORS, opening, seal};
use crate::log::{APPEND_OVERHEAD_BYTES, Durability, Health, Log, LogReader};
use crate::storage::{LockGuard, Storage};
use crate::types::{Acquired, BlockDraft, Durable, Epoch, Seq};

pub use archive::{ArchiveReport, Archiver};
pub use offline::{OfflineLog, Summary, Verdict, open_for_reading};

/// How a [`DiskLog`] uses its disk.
#[derive(Clone, Debug)]
pub struct DiskOptions {
    /// Size of new segments in bytes, a multiple of 512, at most 4 GiB. Two of them are taken from the start: the
    /// current one and the spare.
    pub segment_bytes: u64,
    /// Largest body of one block in bytes; must take less than half a segment, at most about 32 MB.
    pub block_bytes_max: u64,
    /// Where old segments go; `None`: they stay.
    pub archive_dir: Option<PathBuf>,
    /// Prepare spares on a thread of their own. Without it they are prepared between appends, which makes a simulated
    /// run repeatable.
    pub background: bool,
    /// Verify every live block on opening, not only those of the last segment. Costs one read of the live log, and
    /// refuses damage at the start instead of when a reader gets there.
    pub verify_all: bool,
}

impl DiskOptions {
    /// Default size of a segment: 64 MiB.
    pub const SEGMENT_BYTES: u64 = 64 << 20;
    /// Default limit of a block's body: 8 MiB.
    pub const BLOCK_BYTES_MAX: u64 = 8 << 20;
    /// Largest segment: readers pack a sector number into 24 bits.
    pub const SEGMENT_BYTES_MAX: u64 = 4 << 30;

    fn check(&self) -> Result<(), LogError> {
        let sector = SECTOR_BYTES as u64;
        let why =
            if !self.segment_bytes.is_multiple_of(sector) || self.segment_bytes > Self::SEGMENT_BYTES_MAX {
                format!(
                    "segment_bytes is {}, but must be a multiple of {sector} and at most {}",
                    self.segment_bytes,
                    Self::SEGMENT_BYTES_MAX
                )
            } else if self.block_bytes_max > BLOCK_BYTES_LIMIT {
                format!(
                    "block_bytes_max is {}, but the format holds at most {BLOCK_BYTES_LIMIT}",
                    self.block_bytes_max
                )
            } else if sectors_of(self.block_bytes_max) + u64::from(SEGMENT_OVERHEAD_SECTORS)
                > self.segment_bytes / sector / 2
            {
                format!(
                    "block_bytes_max is {}, but a block must take less than half a segment of {} bytes",
                    self.block_bytes_max, self.segment_bytes
                )
            } else {
                return Ok(());
            };
        Err(LogError::Options { why })
    }
}

const _: () = assert!(DiskOptions::BLOCK_BYTES_MAX < DiskOptions::SEGMENT_BYTES / 2);
const _: () = assert!(DiskOptions::BLOCK_BYTES_MAX <= BLOCK_BYTES_LIMIT);
const _: () = assert!(DiskOptions::SEGMENT_BYTES_MAX / (SECTOR_BYTES as u64) < 1 << END_SECTOR_BITS);

impl Default for DiskOptions {
    fn default() -> DiskOptions {
        DiskOptions {
            segment_bytes: Self::SEGMENT_BYTES,
            block_bytes_max: Self::BLOCK_BYTES_MAX,
            archive_dir: None,
            background: true,
            verify_all: true,
        }
    }
}

/// A log on one machine's disk.
pub struct DiskLog {
    shared: Arc<Shared>,
    spares: Spares,
    lock: Option<LockGuard>,
    options: DiskOptions,
    current: SegmentFile,
    /// Whether the current segment has its opening; it is written with the first block.
    opened: bool,
    /// Sector where the next write goes.
    at: u32,
    chain: Chain,
    acquired: bool,
    sealed: bool,
    poisoned: Option<String>,
    /// The framed block, kept so that appending allocates nothing.
    frame: Vec<u8>,
}

/// What readers and the archiver share with the writer.
pub(crate) struct Shared {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) archive_dir: Option<PathBuf>,
    /// Live segments in order, the spare not among them. The last one is the current one.
    table: RwLock<Vec<Live>>,
    /// End of what may be read: segment index, then sector in the low bits.
    end: AtomicU64,
    confirmed: Arc<Confirmed>,
    /// Whether the writer has let go of the log; held while a segment is being archived.
    closed: Mutex<bool>,
}

/// A live segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Live {
    pub(crate) index: u64,
    pub(crate) bytes: u64,
    pub(crate) chain: Chain,
}

const END_SECTOR_BITS: u32 = 24;

impl Shared {
    pub(crate) fn table(&self) -> RwLockReadGuard<'_, Vec<Live>> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Up to which sector segment `index` may be read; `None` while nothing of it may.
    pub(crate) fn readable(&self, index: u64) -> Option<u32> {
        let end = self.end.load(Ordering::Acquire);
        let (segment, sector) = (end >> END_SECTOR_BITS, (end & ((1 << END_SECTOR_BITS) - 1)) as u32);
        match segment.cmp(&index) {
            std::cmp::Ordering::Greater => Some(u32::MAX),
            std::cmp::Ordering::Equal if sector > FIRST_BLOCK_SECTOR => Some(sector),
            _ => None,
        }
    }

    /// Whether segment `index` belongs to the live log.
    pub(crate) fn is_live(&self, index: u64) -> bool {
        self.table().first().is_some_and(|first| first.index <= index)
    }

    /// The error for a reader that comes too late.
    pub(crate) fn archived(&self, wanted: Seq) -> LogError {
        let first_live = self.table().first().map_or(Seq(1), |live| live.chain.next);
        LogError::Archived { wanted, first_live, archive: self.archive_dir.clone() }
    }

    /// Ends archiving, after the segment it may be at: the lock that kept others away is about to be released.
    fn close(&self) {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    fn publish(&self, segment: u64, sector: u32, head: Seq) {
        // The place first: whoever sees the new head can read up to it.
        self.end.store((segment << END_SECTOR_BITS) | u64::from(sector), Ordering::Release);
        self.confirmed.publish(head);
    }
}

impl DiskLog {
    /// Opens the log in `storage`, or creates it in an empty directory. Cuts a torn block at the end; refuses anything
    /// else that is not what was written, see [`LogError::Corrupt`].
    pub fn open(storage: Arc<dyn Storage>, options: DiskOptions) -> Result<DiskLog, LogError> {
        open::open(storage, options)
    }

    /// A handle that moves old segments to the archive, usable from any thread while this log is being written.
    pub fn archiver(&self) -> Archiver {
        Archiver::new(Arc::clone(&self.shared))
    }

    /// Moves sealed segments that hold only events before `seq` to the archive; see [`Archiver::archive_before`].
    pub fn archive_before(&mut self, seq: Seq) -> Result<ArchiveReport, LogError> {
        self.usable()?;
        self.archiver().archive_before(seq)
    }

    fn usable(&self) -> Result<(), LogError> {
        if self.sealed {
            return Err(LogError::Sealed);
        }
        match &self.poisoned {
            Some(why) => Err(LogError::Poisoned { why: why.clone() }),
            None => Ok(()),
        }
    }

    /// Sectors for blocks that are left in the current segment; the seal's is not among them.
    fn sectors_left(&self) -> u64 {
        u64::from((self.current.sectors - 1).saturating_sub(self.at.max(FIRST_BLOCK_SECTOR)))
    }

    /// Body bytes that any sequence of appends finds room for. A block that does not fit the current segment wastes
    /// what is left of it, so the two segments can only be added up less one largest block.
    fn room_in(&self, spare_sectors: u32) -> u64 {
        let left = self.sectors_left();
        let spare = u64::from(spare_sectors.saturating_sub(SEGMENT_OVERHEAD_SECTORS));
        let both = (left + spare).saturating_sub(sectors_of(self.options.block_bytes_max));
        let sectors = if spare == 0 { left } else { left.max(spare).max(both) };
        (sectors * PAYLOAD_BYTES as u64).saturating_sub(APPEND_OVERHEAD_BYTES)
    }

    /// Writes a block and makes it durable, in the next segment if it does not fit this one.
    fn write(&mut self, epoch: Epoch, draft: BlockDraft<'_>) -> Result<Durable, AppendError> {
        let sectors = sectors_of(draft.body.len() as u64);
        let rolled = if sectors > self.sectors_left() {
            let spare = self.next_segment(draft.body.len() as u64)?;
            self.roll(spare).map_err(|error| self.poison("sealing a segment of", &error))?;
            true
        } else {
            false
        };
        let first_use = !self.opened;
        let (durable, at) =
            self.write_block(epoch, draft).map_err(|error| self.poison("appending to", &error))?;
        self.at = at;
        self.opened = true;
        if rolled {
            // The chain has not moved yet, so this is what the segment continues.
            let live = self.current.live(self.chain);
            self.shared.table.write().unwrap_or_else(PoisonError::into_inner).push(live);
        }
        self.chain =
            Chain { next: durable.head.next(), previous: durable.hash, epoch, time_ms: draft.time_ms };
        self.shared.publish(self.current.index, self.at, durable.head);
        if first_use {
            self.spares.request(self.current.index + 1);
        }
        Ok(durable)
    }

    fn next_segment(&self, wanted: u64) -> Result<SegmentFile, AppendError> {
        if self.spares.sectors() == 0 {
            self.spares.settle();
        }
        self.spares.take().ok_or_else(|| AppendError::Full {
            wanted,
            room: self.room_in(0),
            why: self.spares.problem().unwrap_or_else(|| "the next segment is not prepared".to_owned()),
        })
    }

    /// Ends the current segment durably and goes on in `spare`. Only then may anything be written there: whoever
    /// finds a block in a segment knows that the one before is complete.
    fn roll(&mut self, spare: SegmentFile) -> io::Result<()> {
        let sector = seal(self.current.index, self.at, &self.chain);
        self.current.file.write_at(&sector, offset_of(self.at))?;
        self.current.file.sync_data()?;
        self.current = spare;
        self.opened = false;
        self.at = 1;
        Ok(())
    }

    /// One write, one sync. Returns the sector behind the block.
    fn write_block(&mut self, epoch: Epoch, draft: BlockDraft<'_>) -> io::Result<(Durable, u32)> {
        self.frame.clear();
        if !self.opened {
            self.frame.extend_from_slice(&opening(self.current.index, &self.chain));
        }
        let block_at = self.at.max(FIRST_BLOCK_SECTOR);
        let header = Header::new(epoch, self.chain.next, self.chain.previous, draft);
        encode(&mut self.frame, self.current.index, block_at, &header, draft.body);
        self.current.file.write_at(&self.frame, offset_of(self.at))?;
        // The only clock here: it measures, and nothing depends on it.
        let started = Instant::now();
        self.current.file.sync_data()?;
        let sync_nanos = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let head = Seq(self.chain.next.0 + u64::from(draft.count) - 1);
        let bytes = self.frame.len() as u64;
        let durable = Durable { head, hash: header.hash, sync_nanos, bytes };
        Ok((durable, self.at + (self.frame.len() / SECTOR_BYTES) as u32))
    }

    fn poison(&mut self, doing: &str, source: &io::Error) -> AppendError {
        let why = format!("{doing} {}: {source}", self.current.path);
        self.poisoned = Some(why.clone());
        AppendError::Unknown { source: io::Error::new(source.kind(), why) }
    }
}

impl Drop for DiskLog {
    fn drop(&mut self) {
        self.spares.stop();
        self.shared.close();
    }
}

fn offset_of(sector: u32) -> u64 {
    u64::from(sector) * SECTOR_BYTES as u64
}

impl Log for DiskLog {
    fn acquire(&mut self) -> Result<Acquired, LogError> {
        self.usable()?;
        let epoch = Epoch(self.chain.epoch.0 + 1);
        let draft = BlockDraft { time_ms: self.chain.time_ms, count: 0, body: &[] };
        let durable = self.write(epoch, draft).map_err(|error| match error {
            AppendError::Unknown { source } => LogError::io("starting an epoch of the log", source),
            full => {
                LogError::io("starting an epoch of the log", io::Error::new(io::ErrorKind::StorageFull, full))
            }
        })?;
        self.acquired = true;
        Ok(Acquired { epoch, head: durable.head, head_hash: durable.hash })
    }

    fn append(&mut self, epoch: Epoch, expected: Seq, block: BlockDraft<'_>) -> Result<Durable, AppendError> {
        if self.sealed {
            return Err(AppendError::Sealed);
        }
        if let Some(why) = &self.poisoned {
            return Err(AppendError::Unknown { source: io::Error::other(why.clone()) });
        }
        let (current, next) = (self.chain.epoch, self.chain.next);
        if !self.acquired || epoch != current || expected != next {
            return Err(AppendError::Fenced { epoch, current, expected, next });
        }
        if block.count == 0 {
            return Err(AppendError::Empty);
        }
        let (bytes, bytes_max) = (block.body.len() as u64, self.options.block_bytes_max);
        if bytes > bytes_max {
            return Err(AppendError::TooLarge { bytes, bytes_max });
        }
        self.write(epoch, block)
    }

    fn room(&self) -> u64 {
        if self.usable().is_err() {
            return 0;
        }
        // Two of the largest blocks: one being written and one being decided.
        if self.opened && self.sectors_left() < 2 * sectors_of(self.options.block_bytes_max) {
            self.spares.settle();
        }
        self.room_in(self.spares.sectors())
    }

    fn block_bytes_max(&self) -> u64 {
        self.options.block_bytes_max
    }

    fn reader(&self, from: Seq) -> Result<Box<dyn LogReader>, LogError> {
        let head = self.shared.confirmed.get();
        if from > head.next() {
            return Err(LogError::Ahead { wanted: from, head });
        }
        let table = self.shared.table();
        let after = table.partition_point(|live| live.chain.next < from);
        let starts_here = table.get(after).is_some_and(|live| live.chain.next <= from.max(Seq(1)));
        let at = if starts_here { Some(after) } else { after.checked_sub(1) };
        let index = at.and_then(|at| table.get(at)).map(|live| live.index);
        drop(table);
        let index = index.ok_or_else(|| self.shared.archived(from))?;
        Ok(Box::new(DiskReader::new(Arc::clone(&self.shared), index, from)))
    }

    fn confirmed(&self) -> Arc<Confirmed> {
        Arc::clone(&self.shared.confirmed)
    }

    fn seal(&mut self) -> Result<(), LogError> {
        self.usable()?;
        self.spares.stop();
        self.shared.close();
        self.sealed = true;
        self.lock = None;
        Ok(())
    }

    fn health(&self) -> Health {
        let table = self.shared.table();
        let live_bytes: u64 = table.iter().map(|live| live.bytes).sum();
        let spare_sectors = self.spares.sectors();
        Health {
            durability: Durability::Fsync,
            head: self.chain.head(),
            first_seq: table.first().map_or(Seq(1), |live| live.chain.next),
            epoch: self.chain.epoch,
            segments: table.len() as u64,
            bytes: live_bytes + u64::from(spare_sectors) * SECTOR_BYTES as u64,
            next_bytes: self.options.segment_bytes,
            spare_ready: spare_sectors > 0,
            spare_problem: self.spares.problem(),
            poisoned: self.poisoned.clone(),
        }
    }
}
