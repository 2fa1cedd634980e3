//! One life of the server: the real engine core on the real disk log, driven by hand where the server has threads.
//!
//! The steps are those of the engine's writer thread and log thread: decide (one block ahead at most), hand over, append,
//! then let readers see the block, then release its answers.

use crate::clock::Clock;
use crate::disk::Disk;
use crate::plants::{Plant, rules};
use banyan_domain::{Digest, StoreSecret, Timestamp, Violation};
use banyan_engine::{Answer, Core, CoreOptions, Draft, StartError, Summary, Work, start};
use banyan_log::{
    APPEND_OVERHEAD_BYTES, Acquired, AppendError, Archiver, Block, BlockDraft, Confirmed, DiskLog,
    DiskOptions, Durable, Epoch, Health, Log, LogError, LogReader, Seq, open_for_reading,
};
use banyan_views::record::OfflineReader;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Largest body of a block of the simulated log. Far below the engine's minimum, so that segments are small and the log
/// rolls over often; the simulated clients' batches are small accordingly.
pub(crate) const BLOCK_BYTES_MAX: u64 = 16 << 10;
/// Events after which a block takes no further command, in bytes.
const BLOCK_BYTES_SOFT_MAX: usize = 3 << 10;
/// What the engine demands of a log.
const BLOCK_BYTES_TOLD: u64 = 2 << 20;
const QUEUE_MAX: usize = 48;
/// Where old segments go.
const ARCHIVE: &str = "archive";

/// Who waits for what is in the queue or in a block.
pub(crate) enum Waiting {
    One(usize, oneshot::Receiver<Answer>),
    Many(Vec<usize>, oneshot::Receiver<Vec<Answer>>),
    /// For a look at the state, which whoever looks waits for by himself.
    Look,
}

/// A decided block on its way to the log.
pub(crate) struct InFlight {
    pub(crate) draft: Draft,
    pub(crate) waiting: Vec<Waiting>,
    /// How many of its first events time brought, before any command.
    pub(crate) due: u32,
    /// Of the state right after the block.
    pub(crate) digest: Digest,
}

/// A running server.
pub(crate) struct Process {
    pub(crate) log: Box<dyn Log>,
    pub(crate) archiver: Archiver,
    epoch: Epoch,
    pub(crate) core: Core,
    pub(crate) summary: Arc<Summary>,
    /// Follows the log for the auditor.
    pub(crate) tail: Box<dyn LogReader>,
    queue: VecDeque<(Work, Waiting)>,
    draft: Draft,
    drafted: Vec<Waiting>,
    due: u32,
    begun: bool,
    pub(crate) in_flight: Option<InFlight>,
    room: u64,
}

impl Process {
    /// Starts the server on what is on the disk.
    pub(crate) fn start(
        disk: &Disk,
        segment_bytes: u64,
        secret: StoreSecret,
        clock: &Clock,
        plant: Option<Plant>,
        digest_events: u64,
    ) -> Result<Self, StartError> {
        let options = DiskOptions {
            segment_bytes,
            block_bytes_max: BLOCK_BYTES_MAX,
            archive_dir: Some(ARCHIVE.into()),
            background: false,
            verify_all: true,
        };
        let log = DiskLog::open(Arc::new(disk.clone()), options).map_err(StartError::Log)?;
        let archiver = log.archiver();
        let log = Box::new(SimLog(log, disk.clone()));
        let options = core_options(plant, digest_events);
        let started = start(log, None, options, Some(secret), clock.now(), &mut |_, _| {})?;
        let (log, epoch, core, _) = started.into_parts();
        let head = core.state().seq();
        let tail = log.reader(Seq(head + 1)).map_err(StartError::Log)?;
        let (summary, room) = (core.summary(), log.room());
        Ok(Self {
            log,
            archiver,
            epoch,
            core,
            summary,
            tail,
            queue: VecDeque::new(),
            draft: Draft::default(),
            drafted: Vec::new(),
            due: 0,
            begun: false,
            in_flight: None,
            room,
        })
    }

    /// Goes on with another core that has the same state.
    pub(crate) fn use_core(&mut self, core: Core) {
        self.summary = core.summary();
        self.core = core;
    }

    /// Queues work, unless the queue is full.
    pub(crate) fn submit(&mut self, work: Work, waiting: Waiting) -> Result<(), Waiting> {
        if self.queue.len() >= QUEUE_MAX {
            return Err(waiting);
        }
        self.queue.push_back((work, waiting));
        Ok(())
    }

    /// Decides what is due and up to `works_max` of what is queued, as the engine's writer does.
    pub(crate) fn decide(&mut self, now: Timestamp, works_max: u64) -> Result<(), Violation> {
        if self.begun && self.queue.is_empty() {
            return Ok(());
        }
        if !self.begun {
            if !self.has_room() {
                for (work, waiting) in self.queue.drain(..) {
                    self.core.turn_away(work, &mut self.draft);
                    self.drafted.push(waiting);
                }
                return Ok(());
            }
            self.core.begin(now, &mut self.draft)?;
            self.begun = true;
            self.due = self.draft.count;
        }
        for _ in 0..works_max {
            if self.core.is_full(&self.draft) {
                break;
            }
            let Some((work, waiting)) = self.queue.pop_front() else { break };
            self.core.take(work, &mut self.draft)?;
            self.drafted.push(waiting);
        }
        Ok(())
    }

    /// Hands the decided block to the log, if the log is free.
    pub(crate) fn hand_over(&mut self) {
        if self.in_flight.is_none() && !self.draft.is_empty() {
            self.core.finish(&mut self.draft);
            let (draft, waiting) = (std::mem::take(&mut self.draft), std::mem::take(&mut self.drafted));
            let due = std::mem::take(&mut self.due);
            self.in_flight = Some(InFlight { draft, waiting, due, digest: self.core.state().digest() });
        }
        self.begun &= !self.draft.is_empty();
    }

    /// Appends a block.
    pub(crate) fn append(&mut self, draft: &Draft) -> Result<Durable, AppendError> {
        let block = BlockDraft { time_ms: draft.time_ms, count: draft.count, body: &draft.body };
        self.log.append(self.epoch, Seq(draft.first_seq), block)
    }

    /// Looks how much room there is, as the engine does after each block.
    pub(crate) fn look_for_room(&mut self) {
        self.room = self.log.room();
    }

    /// Whoever still waits when the process ends.
    pub(crate) fn into_waiting(self) -> Vec<Waiting> {
        let in_flight = self.in_flight.map(|block| block.waiting).unwrap_or_default();
        let queued = self.queue.into_iter().map(|(_, waiting)| waiting);
        in_flight.into_iter().chain(self.drafted).chain(queued).collect()
    }

    fn has_room(&mut self) -> bool {
        let needed = 2 * (BLOCK_BYTES_MAX + APPEND_OVERHEAD_BYTES);
        if self.room < needed {
            self.room = self.log.room();
        }
        self.room >= needed
    }
}

/// The options every core of a run has.
pub(crate) fn core_options(plant: Option<Plant>, digest_events: u64) -> CoreOptions {
    CoreOptions { digest_events, block_bytes_soft_max: BLOCK_BYTES_SOFT_MAX, rules: rules(plant) }
}

/// The real log, but for two things: it claims larger blocks than it takes, so that the engine accepts small segments; and it goes
/// to the archive for what is no longer live, because whoever reads here wants all of it.
struct SimLog(DiskLog, Disk);

/// Archive and live log together, from a position on.
struct Whole(OfflineReader, Seq);

impl LogReader for Whole {
    fn next(&mut self, into: &mut Block) -> Result<bool, LogError> {
        while self.0.next(into)? {
            if into.next_seq() > self.1 || (into.count == 0 && into.first_seq >= self.1) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Log for SimLog {
    fn acquire(&mut self) -> Result<Acquired, LogError> {
        self.0.acquire()
    }

    fn append(&mut self, epoch: Epoch, expected: Seq, block: BlockDraft<'_>) -> Result<Durable, AppendError> {
        self.0.append(epoch, expected, block)
    }

    fn room(&self) -> u64 {
        self.0.room()
    }

    fn block_bytes_max(&self) -> u64 {
        BLOCK_BYTES_TOLD
    }

    fn reader(&self, from: Seq) -> Result<Box<dyn LogReader>, LogError> {
        match self.0.reader(from) {
            Err(LogError::Archived { .. }) => {
                let whole = open_for_reading(Arc::new(self.1.clone()), Some(Path::new(ARCHIVE)))?;
                Ok(Box::new(Whole(OfflineReader::new(whole), from)))
            }
            other => other,
        }
    }

    fn confirmed(&self) -> Arc<Confirmed> {
        self.0.confirmed()
    }

    fn seal(&mut self) -> Result<(), LogError> {
        self.0.seal()
    }

    fn health(&self) -> Health {
        self.0.health()
    }
}
