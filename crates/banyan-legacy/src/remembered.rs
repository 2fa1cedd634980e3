//! Something that seldom changes and costs much to ask for, kept for a minute.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const FRESH: Duration = Duration::from_secs(60);

/// What was seen last, and when.
#[derive(Debug)]
pub(crate) struct Remembered<T>(Mutex<Option<(Instant, T)>>);

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Remembered<T> {
    /// What was kept, if it is not older than a minute.
    pub(crate) fn fresh(&self) -> Option<T> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().filter(|(at, _)| at.elapsed() < FRESH).map(|(_, value)| value.clone())
    }

    /// Keeps it from now on.
    pub(crate) fn keep(&self, value: T) -> T {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), value.clone()));
        value
    }
}
