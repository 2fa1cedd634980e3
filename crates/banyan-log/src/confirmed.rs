//! The watch on the confirmed head.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::types::Seq;

/// The confirmed head: the last seq that is durable and may be shown. It only ever grows.
#[derive(Debug, Default)]
pub struct Confirmed {
    head: AtomicU64,
    waiters: AtomicUsize,
    lock: Mutex<()>,
    moved: Condvar,
}

impl Confirmed {
    /// A watch that starts at `head`. Engines make it; readers only look.
    pub fn new(head: Seq) -> Confirmed {
        Confirmed { head: AtomicU64::new(head.0), ..Confirmed::default() }
    }

    /// The confirmed head now, without a lock.
    pub fn get(&self) -> Seq {
        Seq(self.head.load(Ordering::SeqCst))
    }

    /// Waits until the confirmed head is past `seq` or `timeout` is over, and returns the head either way.
    pub fn wait_past(&self, seq: Seq, timeout: Duration) -> Seq {
        let head = self.get();
        if head > seq || timeout.is_zero() {
            return head;
        }
        let end = Instant::now().checked_add(timeout);
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        // Counted before the head is read again: `publish` stores the head and then looks at this count, so either
        // it sees the waiter or the waiter sees the head.
        self.waiters.fetch_add(1, Ordering::SeqCst);
        while self.get() <= seq {
            let left = end.map_or(timeout, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                break;
            }
            guard = self.moved.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        self.waiters.fetch_sub(1, Ordering::SeqCst);
        self.get()
    }

    /// Moves the head on and wakes whoever waits. For engines only; a head that does not grow is ignored.
    pub fn publish(&self, head: Seq) {
        if self.head.fetch_max(head.0, Ordering::SeqCst) < head.0 && self.waiters.load(Ordering::SeqCst) > 0 {
            // Taken so that a waiter between its look at the head and its wait is not missed.
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.moved.notify_all();
        }
    }
}
