//! Wakes the generator when an arrival is due. Tokio's own timers tick once a millisecond, which would add up to a
//! millisecond to every latency; a sleeping thread is 20 times finer and costs nothing while it sleeps.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Arrivals closer together than this are released together, which bounds the wake-ups to 2,000 a second.
const WAKE_EVERY: Duration = Duration::from_micros(500);
/// How long a change of the next due time may go unnoticed.
const LOOK_EVERY: Duration = Duration::from_millis(2);

pub(crate) struct Pacer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    due_ns: AtomicU64,
    ended: AtomicBool,
    notify: Notify,
}

impl Pacer {
    /// Starts the thread; times count from `started`.
    pub(crate) fn start(started: Instant) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            due_ns: AtomicU64::new(u64::MAX),
            ended: AtomicBool::new(false),
            notify: Notify::new(),
        });
        let thread = {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name("rehearse-pacer".into()).spawn(move || pace(&shared, started))?
        };
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Waits until an arrival is due that was due at `due_ns` when this was called.
    pub(crate) async fn wait(&self, due_ns: u64) {
        self.shared.due_ns.store(due_ns, Ordering::Release);
        self.shared.notify.notified().await;
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // It ends within `LOOK_EVERY`; a panic there has nothing to add to the run's own result.
            let _ = thread.join();
        }
    }
}

fn pace(shared: &Shared, started: Instant) {
    while !shared.ended.load(Ordering::Acquire) {
        let due = Duration::from_nanos(shared.due_ns.load(Ordering::Acquire));
        match due.checked_sub(started.elapsed()) {
            None | Some(Duration::ZERO) => {
                shared.notify.notify_one();
                std::thread::sleep(WAKE_EVERY);
            }
            Some(left) => std::thread::sleep(left.min(LOOK_EVERY)),
        }
    }
}
