//! The thread that makes snapshots.

use crate::metrics::Metrics;
use crate::replay::apply_block;
use crate::shard::{SharedLog, lock};
use crate::snapshots::{SnapshotFault, SnapshotStore};
use crate::start::StartError;
use banyan_domain::InTurn;
use banyan_log::{Block, Seq};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often the thread looks whether it should stop, or whether there is room again.
const LOOK: Duration = Duration::from_millis(500);

/// The running thread.
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

/// Makes a snapshot each time `every_events` more have happened since the last one, which is at `used` now: the one this
/// process started from, whatever else lies in the directory; 0 if there was none.
pub(crate) fn spawn(
    store: SnapshotStore,
    log: SharedLog,
    metrics: Arc<Metrics>,
    every_events: u64,
    used: u64,
) -> Result<Snapshotter, StartError> {
    let stop = Arc::new(AtomicBool::new(false));
    let stopping = stop.clone();
    let confirmed = lock(&log).confirmed();
    let run = move || {
        let mut last = used;
        metrics.snapshot_seq.store(last, Ordering::Relaxed);
        while !stopping.load(Ordering::Relaxed) {
            if confirmed.wait_past(Seq(last + every_events), LOOK) <= Seq(last + every_events) {
                continue;
            }
            match make(&store, &log, &stopping) {
                Ok(Some(seq)) => {
                    last = seq;
                    metrics.snapshot_seq.store(seq, Ordering::Relaxed);
                    tracing::info!(seq, "snapshot made");
                }
                // Told to stop, or there is one at the head already.
                Ok(None) => last = confirmed.get().as_u64(),
                Err(fault @ SnapshotFault::NoRoom { needed, .. }) => {
                    tracing::error!("making a snapshot: {fault}");
                    // A full disk may let nothing happen that could be waited for. And replaying is work: not before it can help.
                    while !stopping.load(Ordering::Relaxed)
                        && store.free_bytes().is_ok_and(|free| free < needed)
                    {
                        std::thread::park_timeout(LOOK);
                    }
                }
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

/// Replays from the newest snapshot to the head and stores the result. None if told to stop meanwhile, or if nothing has happened
/// since.
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
        apply_block(&block, &mut state).map_err(SnapshotFault::Replay)?;
        // The block that the state ends at: an epoch's start behind it has no events.
        if block.count > 0 {
            hash = Some(block.hash);
            if block.head() >= head {
                break;
            }
        }
    }
    let (Some(state), Some(hash)) = (state, hash) else { return Ok(None) };
    // The spare that is being prepared, and the one after it: the log takes no less while the snapshot is written.
    let reserve_bytes = lock(log).health().next_bytes.saturating_mul(2);
    store.write(&state, hash, reserve_bytes)?;
    Ok(Some(state.seq()))
}
