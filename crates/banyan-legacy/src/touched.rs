//! Reads the log for what touches items of the old shop, on a thread of its own: reading waits.

use crate::values::ItemName;
use banyan_domain::legacy::Event as LegacyEvent;
use banyan_domain::stock::Event as StockEvent;
use banyan_domain::{Event, ItemNo, ReservationNo, codec};
use banyan_log::{Block, Confirmed, LogReader, Seq};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long the thread waits for the log before it looks whether anybody still listens.
const LOOK_AROUND: Duration = Duration::from_millis(100);

/// What some events touched.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    /// The last of the events.
    pub(crate) seq: u64,
    /// When it happened, milliseconds since 1970.
    pub(crate) time_millis: u64,
    /// Items by number.
    pub(crate) numbers: BTreeSet<ItemNo>,
    /// Reservations that ended: what they drew on is in the state.
    pub(crate) reservations: BTreeSet<ReservationNo>,
    /// Items that others wrote to in the old tables.
    pub(crate) breached: BTreeSet<ItemName>,
    /// Whether anything happened beside what the old database's own stream brings about.
    pub(crate) matters: bool,
    /// Whether the checkpoint is waited for: a move is under way.
    pub(crate) at_once: bool,
}

/// What was touched, block after block.
pub(crate) struct Feed(mpsc::Receiver<Result<Touched, String>>);

/// Reads on from `after`.
pub(crate) fn feed(reader: Box<dyn LogReader>, confirmed: Arc<Confirmed>, after: u64) -> Feed {
    let (to, from) = mpsc::channel(64);
    tokio::task::spawn_blocking(move || {
        if let Err(why) = read(reader, &confirmed, after, &to) {
            // Nobody listens any more if this fails.
            let _gone = to.blocking_send(Err(why));
        }
    });
    Feed(from)
}

impl Feed {
    /// What comes next. Cancelling the wait loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Touched, String> {
        self.0.recv().await.unwrap_or_else(|| Err("the reader of the log has ended".to_owned()))
    }

    /// What is there already. A fault is told by [`Self::next`].
    pub(crate) fn ready(&mut self) -> Option<Touched> {
        self.0.try_recv().ok()?.ok()
    }
}

impl Touched {
    /// How many things may stand for items.
    pub(crate) fn items(&self) -> usize {
        self.numbers.len() + self.reservations.len() + self.breached.len()
    }

    /// Adds what came after.
    pub(crate) fn join(&mut self, later: Self) {
        self.seq = self.seq.max(later.seq);
        self.time_millis = self.time_millis.max(later.time_millis);
        self.numbers.extend(later.numbers);
        self.reservations.extend(later.reservations);
        self.breached.extend(later.breached);
        self.matters |= later.matters;
        self.at_once |= later.at_once;
    }

    /// Adds what came before and touched no item.
    pub(crate) fn join_before(&mut self, before: &Self) {
        self.seq = self.seq.max(before.seq);
        self.time_millis = self.time_millis.max(before.time_millis);
        self.matters |= before.matters;
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Stock(event) => {
                self.matters = true;
                self.take_stock(event);
            }
            Event::Legacy(LegacyEvent::ItemMirrored { item, .. }) => {
                self.numbers.insert(item);
            }
            Event::Legacy(LegacyEvent::BreachNoted { sku, location, .. }) => {
                self.breached.insert((sku, location));
            }
            Event::Legacy(LegacyEvent::BreachesNoted { named, others, .. }) => {
                self.breached.extend(named.into_iter().map(|breach| (breach.sku, breach.location)));
                self.breached.extend(others);
            }
            // These come of the stream, in which our own writes come back, or of comparing.
            Event::Legacy(
                LegacyEvent::SourceApplied { .. }
                | LegacyEvent::SourceKnown { .. }
                | LegacyEvent::Reconciled { .. }
                | LegacyEvent::OutboxRefused { .. },
            ) => {}
            Event::Legacy(_) => (self.matters, self.at_once) = (true, true),
            _ => self.matters = true,
        }
    }

    fn take_stock(&mut self, event: StockEvent) {
        match event {
            StockEvent::StockSet { item, .. }
            | StockEvent::GoodsReceived { item, .. }
            | StockEvent::StockAdjusted { item, .. } => {
                self.numbers.insert(item);
            }
            StockEvent::StockImported { set, .. } => self.numbers.extend(set.iter().map(|count| count.item)),
            StockEvent::ReservationMade { parts, .. } => {
                self.numbers.extend(parts.iter().map(|part| part.item));
            }
            StockEvent::GoodsReturned { parts, .. } => {
                self.numbers.extend(parts.iter().map(|part| part.item));
            }
            StockEvent::ReservationCommitted { reservation }
            | StockEvent::ReservationReleased { reservation }
            | StockEvent::ReservationExpired { reservation } => {
                self.reservations.insert(reservation);
            }
            // A new item has no units yet; how one is sold is not in the old books.
            StockEvent::ItemCreated { .. }
            | StockEvent::ItemConfigured { .. }
            | StockEvent::PurchaseLimitSet { .. } => {}
        }
    }
}

fn read(
    mut reader: Box<dyn LogReader>,
    confirmed: &Confirmed,
    after: u64,
    to: &mpsc::Sender<Result<Touched, String>>,
) -> Result<(), String> {
    let mut block = Block::default();
    let mut seen = after;
    while !to.is_closed() {
        let more = reader
            .next(&mut block)
            .map_err(|error| format!("reading the log after event {seen}: {error}"))?;
        if !more {
            confirmed.wait_past(Seq(seen), LOOK_AROUND);
            continue;
        }
        let last = block.first_seq.0 + u64::from(block.count).saturating_sub(1);
        if block.count == 0 || last <= seen {
            continue;
        }
        let mut touched = Touched { seq: last, time_millis: block.time_ms, ..Touched::default() };
        for entry in codec::decode(&block.body, block.count) {
            let entry = entry
                .map_err(|error| format!("the block at event {} cannot be read: {error}", block.first_seq))?;
            touched.take(entry.event);
        }
        seen = last;
        if to.blocking_send(Ok(touched)).is_err() {
            return Ok(());
        }
    }
    Ok(())
}
