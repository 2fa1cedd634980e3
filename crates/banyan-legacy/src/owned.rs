//! What Banyan wrote to the columns that it leads: to tell its own values from others', and which rows are to be written again.

use crate::translate::Name;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Values of one item that are remembered: a row may come through the stream with a value that has been overwritten since.
const VALUES_MAX: usize = 32;

/// In stock and allocated, as they were written; allocated is 0 where no such column is mapped.
pub(crate) type Values = (i64, i64);

/// Shared by the stream in, the sync out and the comparison.
#[derive(Debug, Default)]
pub(crate) struct Owned {
    inner: Mutex<Inner>,
    again: Notify,
    copy: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    written: BTreeMap<Name, VecDeque<Values>>,
    again: BTreeSet<Name>,
}

impl Owned {
    /// Banyan writes, or found, these values at an item.
    pub(crate) fn wrote(&self, name: Name, values: Values) {
        let mut inner = self.lock();
        let known = inner.written.entry(name).or_default();
        if known.back() == Some(&values) {
            return;
        }
        if known.len() == VALUES_MAX {
            known.pop_front();
        }
        known.push_back(values);
    }

    /// Whether Banyan wrote these values at an item not long ago. None if nothing is known of it.
    pub(crate) fn is_ours(&self, name: &Name, values: Values) -> Option<bool> {
        self.lock().written.get(name).map(|known| known.contains(&values))
    }

    /// This item's row is to be written again.
    pub(crate) fn write_again(&self, name: Name) {
        self.lock().again.insert(name);
        self.again.notify_one();
    }

    /// The items to be written again, taken.
    pub(crate) fn take_again(&self) -> BTreeSet<Name> {
        std::mem::take(&mut self.lock().again)
    }

    /// Waits until some item is to be written again.
    pub(crate) async fn asked_again(&self) {
        self.again.notified().await;
    }

    /// All rows of the old database are to be copied again.
    pub(crate) fn copy_again(&self) {
        self.copy.notify_one();
    }

    /// Waits until all rows are to be copied again.
    pub(crate) async fn asked_to_copy(&self) {
        self.copy.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Each change is one step: what a panic left is whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
