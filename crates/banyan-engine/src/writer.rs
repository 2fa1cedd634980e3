//! The two threads of a shard: the writer decides, the log thread makes durable and then answers.
//!
//! While the log thread syncs block N, the writer may decide block N+1, but no further. Answers leave in the order of the
//! blocks, those of a block without events too: a refusal may rest on an event of the block before.

use crate::answer::{ReplySink, Work};
use crate::core::{Core, Draft};
use crate::inbox::Inbox;
use crate::metrics::Metrics;
use crate::rests::Rests;
use crate::shard::{Fatal, SharedLog, lock};
use crate::summary::Summary;
use arc_swap::ArcSwap;
use banyan_domain::Timestamp;
use banyan_log::{APPEND_OVERHEAD_BYTES, BlockDraft, Epoch, Seq};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What the writer thread needs.
pub(crate) struct Writer {
    pub core: Core,
    pub inbox: Arc<Inbox>,
    pub metrics: Arc<Metrics>,
    pub log: SharedLog,
    pub room: Arc<AtomicU64>,
    /// Body bytes for which there must be room before a block is begun.
    pub room_needed: u64,
    /// The least time between the starts of two blocks.
    pub pace: Duration,
    pub rests: Arc<Rests>,
    pub to_log: SyncSender<Draft>,
    pub spare: Receiver<Draft>,
    pub fatal: Fatal,
}

/// What the log thread needs.
pub(crate) struct LogThread {
    pub log: SharedLog,
    pub epoch: Epoch,
    pub inbox: Arc<Inbox>,
    pub metrics: Arc<Metrics>,
    pub room: Arc<AtomicU64>,
    pub summary: Arc<ArcSwap<Summary>>,
    pub replies: Box<dyn ReplySink>,
    pub from_writer: Receiver<Draft>,
    pub spare: SyncSender<Draft>,
    pub fatal: Fatal,
}

/// Queued commands that make it worth deciding while the log is still busy with the block before.
const AHEAD_COMMANDS: usize = 1_024;
/// How soon to look again for room when storage is full.
const ROOM_RETRY: Duration = Duration::from_millis(250);

impl Writer {
    /// Runs until the inbox is closed and empty, or the process must stop.
    pub(crate) fn run(mut self) {
        let mut draft = Draft::default();
        let mut begun = false;
        let mut backlog = VecDeque::new();
        let mut not_before = Instant::now();
        loop {
            let pending = !draft.is_empty() || !backlog.is_empty();
            let ahead_at = if self.core.is_full(&draft) { usize::MAX } else { AHEAD_COMMANDS };
            let timer = if begun { None } else { self.next_timer() };
            let woken = self.inbox.wait(pending, ahead_at, not_before, timer);
            if backlog.is_empty() {
                self.inbox.drain(&mut backlog);
            }
            if let Err(fault) = self.decide(&mut backlog, &mut draft, &mut begun) {
                return (self.fatal)(&format!("the writer stops, because the state would break: {fault}"));
            }
            if woken.log_free && !draft.is_empty() {
                self.core.finish(&mut draft);
                let rested = std::mem::take(&mut draft.replies.rested);
                self.rests.look(&rested, self.core.state(), &mut draft.replies.reads);
                not_before = Instant::now() + self.pace;
                self.inbox.set_log_busy(true);
                let next = self.spare.try_recv().unwrap_or_default();
                if self.to_log.send(std::mem::replace(&mut draft, next)).is_err() {
                    return;
                }
            } else if woken.done && !pending {
                return;
            }
            begun &= !draft.is_empty();
        }
    }

    /// Decides what is due, and what waits until the block is full.
    fn decide(
        &mut self,
        backlog: &mut VecDeque<Work>,
        draft: &mut Draft,
        begun: &mut bool,
    ) -> Result<(), banyan_domain::Violation> {
        if *begun && backlog.is_empty() {
            return Ok(());
        }
        if !*begun {
            if !self.has_room() {
                backlog.drain(..).for_each(|work| self.core.turn_away(work, draft));
                return Ok(());
            }
            self.core.begin(wall_clock(), draft)?;
            *begun = true;
        }
        while !self.core.is_full(draft)
            && let Some(work) = backlog.pop_front()
        {
            self.core.take(work, draft)?;
        }
        Ok(())
    }

    /// Whether a whole further block is certain to find room in the log.
    fn has_room(&self) -> bool {
        let mut full = self.room.load(Ordering::Acquire) < self.room_needed;
        if full {
            let room = lock(&self.log).room();
            self.room.store(room, Ordering::Release);
            full = room < self.room_needed;
        }
        if self.metrics.storage_is_full.swap(full, Ordering::Relaxed) != full {
            if full {
                tracing::error!(
                    "storage is full: writes are refused until there is room for the next log segment"
                );
            } else {
                tracing::info!("storage has room again: writes are taken");
            }
        }
        !full
    }

    /// The next moment at which time alone changes something.
    fn next_timer(&self) -> Option<Instant> {
        let retry = self.metrics.storage_is_full.load(Ordering::Relaxed).then(|| Instant::now() + ROOM_RETRY);
        let due = self.core.state().next_deadline().map(|at| {
            let wait = at.as_millis().saturating_sub(wall_clock().as_millis());
            Instant::now() + Duration::from_millis(wait.min(60_000))
        });
        retry.or(due)
    }
}

impl LogThread {
    /// Runs until the writer ends, or the process must stop.
    pub(crate) fn run(mut self) {
        while let Ok(mut draft) = self.from_writer.recv() {
            let (mut bytes, mut sync_nanos) = (0, 0);
            if draft.count > 0 {
                let block = BlockDraft { time_ms: draft.time_ms, count: draft.count, body: &draft.body };
                let started = Instant::now();
                match lock(&self.log).append(self.epoch, Seq(draft.first_seq), block) {
                    Ok(durable) => {
                        bytes = durable.bytes;
                        sync_nanos = started.elapsed().as_nanos() as u64;
                    }
                    // Whatever the reason, nobody is answered: the state in memory is ahead of what is certain.
                    Err(fault) => return (self.fatal)(&format!("appending to the log: {fault}")),
                }
            }
            if let Some(summary) = draft.summary.take() {
                self.summary.store(summary);
            }
            self.metrics.block(&draft.tally, draft.count, bytes, sync_nanos);
            self.replies.release(std::mem::take(&mut draft.replies));
            self.inbox.set_log_busy(false);
            if draft.count > 0 {
                self.room.store(lock(&self.log).room(), Ordering::Release);
            }
            draft.clear();
            let _dropped_if_enough = self.spare.try_send(draft);
        }
        if let Err(fault) = lock(&self.log).seal() {
            tracing::error!(%fault, "sealing the log");
        }
    }
}

/// The room that must be certain before a block is begun: one block in flight, whose room is not yet deducted, and this
/// one, which takes commands until it reaches its soft limit and then finishes the last batch.
pub(crate) fn room_needed(block_bytes_max: u64) -> u64 {
    2 * (block_bytes_max + APPEND_OVERHEAD_BYTES)
}

/// The machine's wall clock: the time a shard goes by, unless it went back. 1970 if the clock is before that.
#[must_use]
pub fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
