//! Memory of copies: one budget for all, taken before anything is allocated, given back by dropping.

use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Smallest amount that a capture allocates, in bytes.
const STEP_BYTES: usize = 4 << 10;

/// What all copies together may hold.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes_max: usize,
    used: AtomicUsize,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { bytes_max, used: AtomicUsize::new(0) })
    }

    /// Bytes that are held now.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    fn take(&self, bytes: usize) -> bool {
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.bytes_max);
        self.used.fetch_update(Relaxed, Relaxed, fits).is_ok()
    }
}

/// Why a capture cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overflow {
    /// It is larger than it may be.
    TooLarge,
    /// All copies together are.
    Budget,
}

/// The bytes of one body, as far as they fit.
///
/// They are copied instead of held by reference: a reference to a small piece would keep the whole buffer of a
/// connection, and the budget would not know.
#[derive(Debug)]
pub(crate) struct Capture {
    budget: Arc<Budget>,
    bytes: Vec<u8>,
    leased: usize,
    held: usize,
    bytes_max: usize,
}

impl Capture {
    pub(crate) fn new(budget: Arc<Budget>, bytes_max: usize) -> Self {
        Self { budget, bytes: Vec::new(), leased: 0, held: 0, bytes_max }
    }

    /// Takes a piece.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<(), Overflow> {
        let need = self.bytes.len() + piece.len();
        if need > self.bytes_max {
            return Err(Overflow::TooLarge);
        }
        if need > self.leased {
            let room = (self.leased * 2).max(need).max(STEP_BYTES).min(self.bytes_max.max(need));
            if !self.budget.take(room - self.leased) {
                return Err(Overflow::Budget);
            }
            self.leased = room;
            self.bytes.reserve_exact(room - self.bytes.len());
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    /// Holds room for what belongs to the body but is kept elsewhere, such as the head.
    pub(crate) fn hold(&mut self, bytes: usize) -> Result<(), Overflow> {
        if !self.budget.take(bytes) {
            return Err(Overflow::Budget);
        }
        self.held += bytes;
        Ok(())
    }

    /// Gives up the bytes without a copy. Their room is held until this is dropped: drop it after them.
    pub(crate) fn give(&mut self) -> Bytes {
        Bytes::from(std::mem::take(&mut self.bytes))
    }

    /// What was taken.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.leased + self.held, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captures_stay_within_their_limit_and_the_budget() {
        let budget = Budget::new(20_000);
        let mut one = Capture::new(budget.clone(), 10_000);
        assert_eq!(one.push(&[1; 6_000]), Ok(()));
        assert_eq!(one.push(&[2; 4_000]), Ok(()));
        assert_eq!(one.push(&[3; 1]), Err(Overflow::TooLarge));
        assert_eq!((one.bytes().len(), budget.used()), (10_000, 10_000));
        let mut other = Capture::new(budget.clone(), 1 << 20);
        assert_eq!(other.push(&[1; 10_001]), Err(Overflow::Budget));
        assert_eq!(other.push(&[1; 10_000]), Ok(()));
        assert!(other.bytes.capacity() <= other.leased);
        assert_eq!(other.hold(1), Err(Overflow::Budget));
        drop(one);
        assert_eq!(other.hold(9_000), Ok(()));
        drop(other);
        assert_eq!(budget.used(), 0);
    }
}
