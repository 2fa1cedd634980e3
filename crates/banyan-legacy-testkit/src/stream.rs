//! The old database's stream: a copy, then what was committed since.

use crate::old_shop::{Inner, OldShop, row};
use banyan_legacy::{BoxFuture, ChangeStream, Item, LegacyError, SourceId};
use std::collections::VecDeque;
use std::ops::Bound;
use std::time::Duration;
use tokio::sync::watch;

/// How long the stream is silent at most: as long as real ones.
const SILENT_FOR: Duration = Duration::from_secs(10);

/// A copy, which may end with a break.
type Items = VecDeque<Result<Item, LegacyError>>;

pub(crate) struct Stream {
    shop: OldShop,
    /// Its number: that of the copy that it began with.
    number: u64,
    /// What is left of the copy.
    copy: Items,
    /// What was told.
    at: u64,
    changed: watch::Receiver<u64>,
}

impl Stream {
    pub(crate) fn open(shop: &OldShop, from: Option<(SourceId, u64)>) -> Result<Self, LegacyError> {
        let changed = shop.changes();
        let (number, at, copy) = shop.change(|inner| match from {
            None => Ok(inner.copy()),
            Some((source, position)) => {
                let known =
                    inner.stream.filter(|number| !inner.forgets_streams && source == self::source(*number));
                let number =
                    known.ok_or_else(|| LegacyError::SourceUnknown("the slot is gone".to_owned()))?;
                // What was not acknowledged comes again, and so does the transaction at that place.
                let at = inner.acknowledged.min(position - 1);
                Ok((number, at, Items::new()))
            }
        })?;
        Ok(Self { shop: shop.clone(), number, copy, at, changed })
    }

    /// What there is to tell now.
    fn ready(&mut self) -> Option<Result<Item, LegacyError>> {
        let inner = self.shop.inner();
        if inner.stream != Some(self.number) {
            return Some(Err(LegacyError::Broken("the stream was given up".to_owned())));
        }
        if inner.stands_still {
            return None;
        }
        if let Some(item) = self.copy.pop_front() {
            return Some(item);
        }
        let next = inner.committed.range((Bound::Excluded(self.at), Bound::Unbounded)).next();
        let item = match next {
            Some((position, transaction)) => {
                self.at = *position;
                Item::Transaction(transaction.clone())
            }
            None if inner.position > self.at => {
                self.at = inner.position;
                Item::Idle { position: self.at }
            }
            None => return None,
        };
        Some(Ok(item))
    }
}

impl ChangeStream for Stream {
    fn next(&mut self) -> BoxFuture<'_, Result<Item, LegacyError>> {
        Box::pin(async move {
            loop {
                self.changed.borrow_and_update();
                if let Some(item) = self.ready() {
                    return item;
                }
                match tokio::time::timeout(SILENT_FOR, self.changed.changed()).await {
                    Ok(changed) => changed.map_err(|error| LegacyError::Broken(error.to_string()))?,
                    Err(_) if self.shop.inner().stands_still => {}
                    Err(_) => return Ok(Item::Idle { position: self.at }),
                }
            }
        })
    }

    fn acknowledge(&mut self, position: u64) {
        let mut inner = self.shop.inner();
        if inner.stream == Some(self.number) {
            inner.acknowledged = inner.acknowledged.max(position);
        }
    }
}

impl Inner {
    /// A copy of what is there now, as a new stream: its number, and where it is.
    fn copy(&mut self) -> (u64, u64, Items) {
        self.asked.copies += 1;
        // A place of its own in the log.
        self.position += 1;
        let (number, position) = (self.asked.copies, self.position);
        (self.stream, self.acknowledged) = (Some(number), position);
        let mut items = Items::new();
        items.push_back(Ok(Item::SnapshotBegin { source: source(number), position, book: self.tables.book }));
        if !self.tables.outbox.is_empty() {
            items.push_back(Ok(Item::Outbox(self.tables.outbox.clone())));
        }
        let rows: Vec<_> = self.tables.rows.iter().map(|(sku, numbers)| row(sku, *numbers)).collect();
        items.extend(rows.chunks(self.rows_an_item).map(|rows| Ok(Item::Rows(rows.to_vec()))));
        items.push_back(Ok(Item::SnapshotEnd));
        if let Some(cut) = self.breaks_off_after.take() {
            items.truncate(cut);
            items.push_back(Err(LegacyError::Broken("cut".to_owned())));
        }
        (number, position, items)
    }
}

fn source(number: u64) -> SourceId {
    SourceId { system: "7312001".to_owned(), stream: format!("banyan_stock, copy {number}") }
}
