//! Who looks on, each on a thread of its own: when what the old shop wrote is durable in Banyan's log, and when what Banyan decided
//! is committed in the old table. With the writers in one process, all is told by one clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use banyan_domain::stock::Event as StockEvent;
use banyan_domain::{Event, codec};
use banyan_engine::Shard;
use banyan_legacy::Progress;
use banyan_log::{Block, Confirmed, LogReader, Seq};

use super::PATIENCE;
use crate::measure::thread_seconds;
use crate::{Failure, failed};

/// How long the log is waited for before the time is looked at.
const LOOK_AROUND: Duration = Duration::from_millis(100);
/// How often the sync out is looked at.
const LOOK_EVERY: Duration = Duration::from_micros(250);

/// When each of some numbers that the old shop wrote was durable.
pub(super) struct Arrivals {
    /// By number, from the first.
    pub(super) at: Vec<Instant>,
    /// Processor time of looking, in seconds.
    pub(super) cpu: f64,
}

/// Looks for stock that is set to `count` numbers from `first` on, in what is durable from now on. Ends when all were seen.
pub(super) fn arrivals(shard: &Shard, first: u64, count: u64) -> Result<Watching<Arrivals>, Failure> {
    let confirmed = Arc::clone(shard.confirmed());
    let from = confirmed.get().0;
    let reader = shard.reader(from + 1).map_err(|e| failed("reading the log", e))?;
    Watching::start(move || look_for(reader, &confirmed, from, first, count))
}

fn look_for(
    mut reader: Box<dyn LogReader>,
    confirmed: &Confirmed,
    from: u64,
    first: u64,
    count: u64,
) -> Result<Arrivals, Failure> {
    let mut found: Vec<Option<Instant>> = vec![None; usize::try_from(count)?];
    let (mut missing, mut last, mut block) = (count, from, Block::default());
    let mut moved = Instant::now();
    while missing > 0 {
        if !reader.next(&mut block).map_err(|e| failed("reading the log", e))? {
            if moved.elapsed() > PATIENCE {
                let text = format!("{missing} of {count} numbers did not arrive, and nothing happens");
                return Err(failed("waiting for what the old shop wrote", text));
            }
            confirmed.wait_past(Seq(last), LOOK_AROUND);
            continue;
        }
        // What the reader gives is durable.
        moved = Instant::now();
        last = block.first_seq.0 + u64::from(block.count).saturating_sub(1);
        for entry in codec::decode(&block.body, block.count) {
            let entry = entry.map_err(|e| failed("reading an event", e))?;
            let Event::Stock(StockEvent::StockSet { on_hand, .. }) = entry.event else { continue };
            let index = u64::from(on_hand).checked_sub(first).and_then(|index| usize::try_from(index).ok());
            if let Some(at @ None) = index.and_then(|index| found.get_mut(index)) {
                *at = Some(moved);
                missing -= 1;
            }
        }
    }
    Ok(Arrivals { at: found.into_iter().flatten().collect(), cpu: thread_seconds() })
}

/// How far the old tables were, and when.
pub(super) struct Written {
    /// Grows in both.
    steps: Vec<(Instant, u64)>,
    /// Processor time of looking, in seconds.
    pub(super) cpu: f64,
}

impl Written {
    /// When everything up to `seq` was committed.
    pub(super) fn when(&self, seq: u64) -> Option<Instant> {
        self.steps.get(self.steps.partition_point(|(_, written)| *written < seq)).map(|(at, _)| *at)
    }
}

/// Looks at the sync out until it has written `until`, which is `u64::MAX` while that is not known.
pub(super) fn written(
    progress: &Arc<Progress>,
    until: &Arc<AtomicU64>,
) -> Result<Watching<Written>, Failure> {
    let (progress, until) = (Arc::clone(progress), Arc::clone(until));
    Watching::start(move || {
        let mut steps = Vec::new();
        let (mut last, mut moved) = (progress.view().seq_written, Instant::now());
        while last < until.load(Ordering::Relaxed) {
            // The log tells nobody outside when it grows.
            std::thread::sleep(LOOK_EVERY);
            let now = progress.view().seq_written;
            if now > last {
                (last, moved) = (now, Instant::now());
                steps.push((moved, now));
            } else if moved.elapsed() > PATIENCE {
                return Err(failed("waiting for the old tables", format!("{:?}", progress.view())));
            }
        }
        Ok(Written { steps, cpu: thread_seconds() })
    })
}

/// A thread that looks on.
pub(super) struct Watching<T>(JoinHandle<Result<T, Failure>>);

impl<T: Send + 'static> Watching<T> {
    fn start(look: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<Self, Failure> {
        let thread = std::thread::Builder::new().name("watch".to_owned()).spawn(look);
        Ok(Self(thread.map_err(|e| failed("starting a thread", e))?))
    }

    /// Waits until it has seen what it looks for.
    pub(super) fn end(self) -> Result<T, Failure> {
        self.0.join().map_err(|_| "the thread that looks on panicked")?
    }
}
