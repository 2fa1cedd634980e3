//! Where a view reads from.

use banyan_log::{Confirmed, LogError, LogReader, Seq};
use std::sync::Arc;

type Open = dyn Fn(Seq) -> Result<Box<dyn LogReader>, LogError> + Send + Sync;

/// A log that can be read again from any position. The writer owns the log itself, so this holds only a way to open
/// readers, and the watch on the confirmed head.
#[derive(Clone)]
pub struct LogSource {
    confirmed: Arc<Confirmed>,
    open: Arc<Open>,
}

impl LogSource {
    /// A source whose readers `open` makes: given a seq, it reads from the block that holds it. A rebuild asks for
    /// seq 1, so `open` should go to the archive for what is no longer live.
    pub fn new(
        confirmed: Arc<Confirmed>,
        open: impl Fn(Seq) -> Result<Box<dyn LogReader>, LogError> + Send + Sync + 'static,
    ) -> Self {
        Self { confirmed, open: Arc::new(open) }
    }

    /// Opens a reader at the block that holds `from`.
    ///
    /// # Errors
    /// [`LogError`] if the log cannot be read from there.
    pub fn reader(&self, from: Seq) -> Result<Box<dyn LogReader>, LogError> {
        (self.open)(from)
    }

    /// The watch on the confirmed head.
    #[must_use]
    pub fn confirmed(&self) -> &Confirmed {
        &self.confirmed
    }
}
