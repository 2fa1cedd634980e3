//! Giving way inside a transaction: a little work, a little rest.
//!
//! A transaction of the view is tens of milliseconds of work. Its lower priority keeps no thread waiting, but a processor that
//! is busy all the while is enough to make the log's syncs slow: in a virtual machine the disk's interrupt may wait until
//! the processor that serves it pauses or has its next tick, some milliseconds, and a sync has two or three of them.
//! A processor that rests now and then, however shortly, takes it at once. docs/performance.md has the figures.

use rusqlite::Connection;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often SQLite asks, in its own instructions: some tens of microseconds of work.
const ASK_EVERY: i32 = 500;
/// How long the thread works before it rests, and how long it rests.
const WORK: Duration = Duration::from_micros(250);
const REST: Duration = Duration::from_micros(100);

/// Whether the transaction at hand gives way.
#[derive(Clone, Debug, Default)]
pub(super) struct Rests {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    gives_way: AtomicBool,
    count: AtomicU64,
}

impl Rests {
    /// Lets SQLite ask while it works on `db`. It asks for each statement by itself, so a statement must be prepared once and
    /// used often, as all of the view's are, to be asked about at all if it is short.
    pub(super) fn watch(&self, mut db: Connection) -> rusqlite::Result<Connection> {
        let shared = Arc::clone(&self.shared);
        let mut since = Instant::now();
        let go_on = move || {
            if shared.gives_way.load(Ordering::Relaxed) && since.elapsed() >= WORK {
                // Not in place of a condition: the rest is what is wanted.
                std::thread::sleep(REST);
                shared.count.fetch_add(1, Ordering::Relaxed);
                since = Instant::now();
            }
            false
        };
        db.progress_handler(ASK_EVERY, Some(go_on))?;
        Ok(db)
    }

    /// From now on, statements give way or do not.
    pub(super) fn set(&self, gives_way: bool) {
        self.shared.gives_way.store(gives_way, Ordering::Relaxed);
    }

    /// How often it rested.
    #[cfg(test)]
    pub(super) fn count(&self) -> u64 {
        self.shared.count.load(Ordering::Relaxed)
    }
}
