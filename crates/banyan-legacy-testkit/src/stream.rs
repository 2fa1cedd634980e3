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
    /// The server that it is of.
    server: String,
    /// Its number: that of the copy that it began with.
    number: u64,
    /// What is left of the copy.
    copy: Items,
    /// What was told.
    at: u64,
    /// The nudge that was told last.
    nudges: Option<u64>,
    changed: watch::Receiver<u64>,
}

impl Stream {
    pub(crate) fn open(shop: &OldShop, from: Option<(SourceId, u64)>) -> Result<Self, LegacyError> {
        let changed = shop.changes();
        shop.change(|inner| {
            let (number, at, copy) = match from {
                None => inner.copy(),
                Some((source, position)) => {
                    let number = inner.known(&source).ok_or_else(|| {
                        LegacyError::SourceUnknown("the slot is gone, or is another server's".to_owned())
                    })?;
                    // What was not acknowledged comes again, and so does the transaction at that place.
                    (number, inner.server.acknowledged.min(position - 1), Items::new())
                }
            };
            let (server, nudges) = (inner.server.name.clone(), inner.nudges);
            Ok(Self { shop: shop.clone(), server, number, copy, at, nudges, changed })
        })
    }

    /// What there is to tell now.
    fn ready(&mut self) -> Option<Result<Item, LegacyError>> {
        let inner = self.shop.inner();
        let Some(server) = inner.server(&self.server).filter(|server| server.stream == Some(self.number))
        else {
            return Some(Err(LegacyError::Broken(
                "the server is gone, or has given the stream up".to_owned(),
            )));
        };
        if inner.stands_still {
            return None;
        }
        if inner.keeps_copies_open && matches!(self.copy.front(), Some(Ok(Item::SnapshotEnd))) {
            return None;
        }
        if let Some(item) = self.copy.pop_front() {
            return Some(item);
        }
        let next = server.committed.range((Bound::Excluded(self.at), Bound::Unbounded)).next();
        let item = match next {
            Some((position, transaction)) => {
                self.at = *position;
                Item::Transaction(transaction.clone())
            }
            None if server.position > self.at || inner.nudges > self.nudges => {
                (self.at, self.nudges) = (server.position.max(self.at), inner.nudges);
                Item::Idle { position: self.at }
            }
            None => return None,
        };
        Some(Ok(item))
    }

    /// Whether it tells nothing, not even that it lives.
    fn is_silent(&self) -> bool {
        self.shop.inner().stands_still || !self.copy.is_empty()
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
                    Err(_) if self.is_silent() => {}
                    Err(_) => return Ok(Item::Idle { position: self.at }),
                }
            }
        })
    }

    fn acknowledge(&mut self, position: u64) {
        let mut inner = self.shop.inner();
        let server = &mut inner.server;
        if server.name == self.server && server.stream == Some(self.number) {
            server.acknowledged = server.acknowledged.max(position);
        }
    }
}

impl Inner {
    /// The number of the stream that is `source`, if it can be gone on with.
    fn known(&self, source: &SourceId) -> Option<u64> {
        self.server.stream.filter(|number| !self.forgets_streams && *source == self.server.source(*number))
    }

    /// A copy of what is there now, as a new stream: its number, and where it is.
    fn copy(&mut self) -> (u64, u64, Items) {
        self.asked.copies += 1;
        let (number, server) = (self.asked.copies, &mut self.server);
        // A place of its own in the log.
        server.position += 1;
        let (source, position) = (server.source(number), server.position);
        (server.stream, server.acknowledged) = (Some(number), position);
        let mut items = Items::new();
        items.push_back(Ok(Item::SnapshotBegin { source, position, book: self.tables.book }));
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
