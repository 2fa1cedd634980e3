//! What a view must be able to do.

use crate::Batch;
use banyan_log::{BlockHash, Seq};
use core::fmt;
use std::error::Error;

/// A database filled from the log, with its checkpoint inside it.
pub trait View: Send + 'static {
    /// Its name, as operators write it.
    fn name(&self) -> &'static str;

    /// Seq of the last event whose effect is stored; 0 if there is none.
    fn checkpoint(&self) -> Seq;

    /// Hash of the block that ends at the checkpoint, stored with it: a log that has another one there is not the log that the
    /// view was filled from. None if there is no checkpoint.
    fn checkpoint_block(&self) -> Option<BlockHash>;

    /// Stores the effect of `batch` and the new checkpoint, in one transaction. Events up to the checkpoint are passed
    /// over, so a batch may be applied again after any failure.
    ///
    /// An event that contradicts what is stored is *parked* with every later event of the same key (a campaign, coupon, saga
    /// or order; all of the stock; the ledger), visibly, and the rest goes on.
    ///
    /// # Errors
    /// [`ViewError`] if nothing was stored.
    fn apply(&mut self, batch: &Batch) -> Result<Applied, ViewError>;

    /// Does a little of the work that can wait, some milliseconds at most. True if there is more of it.
    ///
    /// # Errors
    /// [`ViewError`] if it could not be done; nothing is lost then.
    fn tidy(&mut self) -> Result<bool, ViewError>;

    /// Shows nothing any more, for the reason `why`: it was filled from another log than the one it is to follow. Until it is
    /// built anew.
    fn distrust(&mut self, why: &str);

    /// Events parked so far.
    fn parked(&self) -> u64;
}

/// What applying a batch did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The checkpoint now.
    pub checkpoint: Seq,
    /// Events that were new.
    pub events: u64,
    /// Events parked by this batch.
    pub parked: u64,
}

/// What helps against a [`ViewError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cure {
    /// Trying again: the disk was full, the file was busy.
    Retry,
    /// Building the view anew from the log.
    Rebuild,
    /// Something an operator must put right first; the message says what.
    Operator,
}

/// Why a view could not do something.
#[derive(Debug)]
pub struct ViewError {
    /// What was being done to what, and what to do about it.
    pub doing: String,
    /// What helps.
    pub cure: Cure,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl ViewError {
    /// An error without another one beneath it.
    pub fn new(cure: Cure, doing: impl Into<String>) -> Self {
        Self { doing: doing.into(), cure, source: None }
    }

    /// An error caused by `source`.
    pub fn caused(
        cure: Cure,
        doing: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self { doing: doing.into(), cure, source: Some(source.into()) }
    }
}

impl fmt::Display for ViewError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.doing)?;
        if let Some(source) = &self.source {
            write!(f, ": {source}")?;
        }
        match self.cure {
            Cure::Retry => f.write_str("; it is tried again"),
            Cure::Rebuild => f.write_str(
                "; the view cannot go on with this file: build it again from the log with `banyan view rebuild record`",
            ),
            Cure::Operator => Ok(()),
        }
    }
}

impl Error for ViewError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn Error + 'static))
    }
}
