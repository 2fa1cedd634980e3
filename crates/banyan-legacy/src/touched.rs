//! Which items of the old shop the log's events touch: what the sync out has to write.

use banyan_domain::codec::{self, EventTag};
use banyan_domain::legacy::Event as LegacyEvent;
use banyan_domain::stock::Event as StockEvent;
use banyan_domain::{Event, ItemNo, ReservationNo};
use banyan_engine::Shard;
use banyan_log::{Block, LogError, Seq};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// How often a reader that waits for events looks whether anybody still listens.
const LOOK: Duration = Duration::from_millis(100);
/// Most things of one piece: what is written in one transaction, more or less.
const PIECE_MAX: usize = 2_000;

/// What a piece of the log touches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Touched {
    /// Everything up to this event is in it.
    pub upto: u64,
    /// When the first of it happened, milliseconds since 1970.
    pub since: u64,
    /// Items.
    pub items: BTreeSet<ItemNo>,
    /// Reservations, and with them their items.
    pub reservations: BTreeSet<ReservationNo>,
}

impl Touched {
    fn len(&self) -> usize {
        self.items.len() + self.reservations.len()
    }

    /// Takes one event.
    fn event(&mut self, event: &Event) {
        match event {
            Event::Stock(event) => self.stock(event),
            Event::Legacy(LegacyEvent::ItemMirrored { item, .. }) => {
                self.items.insert(*item);
            }
            _ => {}
        }
    }

    fn stock(&mut self, event: &StockEvent) {
        match event {
            StockEvent::ReservationMade { parts, .. } => {
                self.items.extend(parts.iter().map(|part| part.item));
            }
            StockEvent::ReservationCommitted { reservation }
            | StockEvent::ReservationReleased { reservation }
            | StockEvent::ReservationExpired { reservation } => {
                self.reservations.insert(*reservation);
            }
            StockEvent::GoodsReturned { parts, .. } => self.items.extend(parts.iter().map(|part| part.item)),
            StockEvent::StockImported { set, .. } => self.items.extend(set.iter().map(|count| count.item)),
            StockEvent::ItemCreated { item, .. }
            | StockEvent::StockSet { item, .. }
            | StockEvent::GoodsReceived { item, .. }
            | StockEvent::StockAdjusted { item, .. } => {
                self.items.insert(*item);
            }
            StockEvent::ItemConfigured { .. } | StockEvent::PurchaseLimitSet { .. } => {}
        }
    }
}

/// Reads the log from `from` on, on a thread of its own, and gives what it touches, piece by piece, until nobody listens.
///
/// # Errors
/// The log cannot be read from there: those events are archived, or damaged.
pub(crate) fn read(
    shard: &Arc<Shard>,
    from: u64,
) -> Result<mpsc::Receiver<Result<Touched, LogError>>, LogError> {
    let mut reader = shard.reader(from)?;
    let confirmed = shard.confirmed().clone();
    let (out, pieces) = mpsc::channel(2);
    tokio::task::spawn_blocking(move || {
        let mut block = Block::default();
        let mut next = from;
        while !out.is_closed() {
            if confirmed.wait_past(Seq(next - 1), LOOK) < Seq(next) {
                continue;
            }
            let mut piece = Touched::default();
            let read = loop {
                match reader.next(&mut block) {
                    Ok(true) => {}
                    Ok(false) => break Ok(()),
                    Err(error) => break Err(error),
                }
                piece.since = if piece.since == 0 { block.time_ms } else { piece.since };
                let wanted = |tag| tag == EventTag::Other;
                for found in codec::decode_wanted(&block.body, block.count, wanted).flatten() {
                    // A reader starts at a block, which may begin before what is asked for.
                    if block.first_seq.0 + u64::from(found.0) >= from {
                        piece.event(&found.1.event);
                    }
                }
                next = block.head().0 + 1;
                piece.upto = block.head().0;
                if piece.len() >= PIECE_MAX {
                    break Ok(());
                }
            };
            let sent = match read {
                Ok(()) if piece.upto == 0 => Ok(()),
                Ok(()) => out.blocking_send(Ok(piece)),
                Err(error) => {
                    // Nobody listening is what the loop looks for.
                    let _gone = out.blocking_send(Err(error));
                    return;
                }
            };
            if sent.is_err() {
                return;
            }
        }
    });
    Ok(pieces)
}
