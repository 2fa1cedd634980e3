//! A server of the old database: its log, and the stream of it.

use banyan_legacy::{SourceId, Transaction};
use std::collections::BTreeMap;

/// How much of the log a transaction takes.
const STEP: u64 = 10;

pub(crate) struct Server {
    /// Which one it is.
    pub(crate) name: String,
    /// Where its log ends.
    pub(crate) position: u64,
    /// Its log.
    pub(crate) committed: BTreeMap<u64, Transaction>,
    /// Its stream, by the number of the copy that it began with: 0 before the first. Nothing if it keeps none.
    pub(crate) stream: Option<u64>,
    /// What was acknowledged in the stream.
    pub(crate) acknowledged: u64,
}

impl Server {
    /// One that keeps no stream, and whose log ends at `position`.
    pub(crate) fn at(name: &str, position: u64) -> Self {
        Self { name: name.to_owned(), position, committed: BTreeMap::new(), stream: None, acknowledged: 0 }
    }

    pub(crate) fn commit(&mut self, transaction: Transaction) {
        self.position += STEP;
        let position = self.position;
        self.committed.insert(position, Transaction { position, part: 1, last: true, ..transaction });
    }

    /// Its stream of that number.
    pub(crate) fn source(&self, number: u64) -> SourceId {
        SourceId { system: self.name.clone(), stream: format!("banyan_stock, copy {number}") }
    }
}
