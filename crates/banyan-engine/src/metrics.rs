//! What the shard counts about itself.

use crate::core::Tally;
use crate::histogram::{Histogram, HistogramView};
use banyan_domain::Refusal;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counters and histograms, recorded by the writer and the log thread, read by anybody.
#[derive(Debug, Default)]
pub struct Metrics {
    commands: AtomicU64,
    issued: AtomicU64,
    replayed: AtomicU64,
    storage_full: AtomicU64,
    busy: AtomicU64,
    refusals: Refusals,
    blocks: AtomicU64,
    events: AtomicU64,
    bytes: AtomicU64,
    pub(crate) storage_is_full: AtomicBool,
    pub(crate) alarm: AtomicBool,
    pub(crate) snapshot_seq: AtomicU64,
    block_events: Histogram,
    sync_micros: Histogram,
}

/// One counter for each refusal.
#[derive(Debug)]
struct Refusals([AtomicU64; Refusal::COUNT]);

impl Default for Refusals {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; Refusal::COUNT])
    }
}

/// The counts at one moment.
#[derive(Clone, Debug)]
pub struct MetricsView {
    /// Commands decided.
    pub commands: u64,
    /// Coupons issued, durably.
    pub issued: u64,
    /// Answers given again.
    pub replayed: u64,
    /// Commands turned away because storage is full.
    pub storage_full: u64,
    /// Commands turned away because the queue is full.
    pub busy: u64,
    /// Refusals, by [`Refusal::index`].
    pub refusals: [u64; Refusal::COUNT],
    /// Blocks made durable.
    pub blocks: u64,
    /// Events made durable.
    pub events: u64,
    /// Bytes written to the log, framing included.
    pub bytes: u64,
    /// Commands in the queue.
    pub queue: u64,
    /// Whether storage is full right now.
    pub storage_is_full: bool,
    /// Whether a background replay came to another state than the writer: a determinism alarm.
    pub alarm: bool,
    /// Log position of the newest snapshot that this process has started from or made; 0 if there is none.
    pub snapshot_seq: u64,
    /// Events per block.
    pub block_events: HistogramView,
    /// Microseconds that making a block durable took.
    pub sync_micros: HistogramView,
}

impl Metrics {
    pub(crate) fn block(&self, tally: &Tally, events: u32, bytes: u64, sync_nanos: u64) {
        self.commands.fetch_add(tally.commands, Ordering::Relaxed);
        self.issued.fetch_add(tally.issued, Ordering::Relaxed);
        self.replayed.fetch_add(tally.replayed, Ordering::Relaxed);
        self.storage_full.fetch_add(tally.storage_full, Ordering::Relaxed);
        for (total, n) in self.refusals.0.iter().zip(&tally.refusals).filter(|(_, n)| **n > 0) {
            total.fetch_add(u64::from(*n), Ordering::Relaxed);
        }
        if events > 0 {
            self.blocks.fetch_add(1, Ordering::Relaxed);
            self.events.fetch_add(u64::from(events), Ordering::Relaxed);
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
            self.block_events.record(u64::from(events));
            self.sync_micros.record(sync_nanos / 1_000);
        }
    }

    pub(crate) fn turned_away(&self, commands: usize) {
        self.busy.fetch_add(commands as u64, Ordering::Relaxed);
    }

    /// The counts now, `queue` being what only the queue knows: how many commands wait.
    #[must_use]
    pub(crate) fn view(&self, queue: u64) -> MetricsView {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        MetricsView {
            commands: get(&self.commands),
            issued: get(&self.issued),
            replayed: get(&self.replayed),
            storage_full: get(&self.storage_full),
            busy: get(&self.busy),
            refusals: std::array::from_fn(|i| get(&self.refusals.0[i])),
            blocks: get(&self.blocks),
            events: get(&self.events),
            bytes: get(&self.bytes),
            queue,
            storage_is_full: self.storage_is_full.load(Ordering::Relaxed),
            alarm: self.alarm.load(Ordering::Relaxed),
            snapshot_seq: get(&self.snapshot_seq),
            block_events: self.block_events.view(),
            sync_micros: self.sync_micros.view(),
        }
    }
}
