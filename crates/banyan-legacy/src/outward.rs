//! The sync out: while Banyan leads, the old columns follow. Full values, never differences, with the checkpoint in the same
//! transaction; so a piece may be written any number of times, and an unclear commit is settled by reading the bookkeeping.

use crate::breach::values_of;
use crate::database::{LegacyError, OldDatabase, TargetRow, Written};
use crate::desk::{Desk, DeskError};
use crate::inward::{item_name, stopped};
use crate::keeper::Halt;
use crate::mapping::Mapping;
use crate::owned::Owned;
use crate::progress::Progress;
use crate::touched::{self, Touched};
use crate::translate::Name;
use banyan_domain::legacy::{Capability, CapabilityState};
use banyan_domain::{ItemNo, State};
use banyan_engine::wall_clock;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

const STOCK: Capability = Capability::Stock;
/// Pauses before the old database is tried again: doubled each time.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Rows in one transaction, and items in one look at the state.
const ROWS_MAX: usize = 1_000;
/// How often an item that the old table has no row for is told.
const ABSENT_TOLD: usize = 3;

/// What the sync out works with.
pub(crate) struct Outward {
    pub desk: Desk,
    pub database: Arc<dyn OldDatabase>,
    pub mapping: Arc<Mapping>,
    pub progress: Arc<Progress>,
    pub owned: Arc<Owned>,
}

enum End {
    Stopped,
    Broken(String),
    Trouble(String),
}

impl From<LegacyError> for End {
    fn from(error: LegacyError) -> Self {
        match error {
            LegacyError::Broken(why) => Self::Broken(why),
            LegacyError::Refused(_) | LegacyError::SourceUnknown(_) => Self::Trouble(error.to_string()),
        }
    }
}

impl From<DeskError> for End {
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::Stopping => Self::Stopped,
            DeskError::Refused(_) => Self::Trouble(error.to_string()),
        }
    }
}

impl Outward {
    /// Follows the log until told to stop, or until somebody must look.
    pub(crate) async fn follow(&self, mut stop: watch::Receiver<bool>) -> Halt {
        let mut pause = PAUSE_MIN;
        loop {
            let before = self.progress.view().seq_written;
            let ended = tokio::select! {
                ended = self.run() => ended.map_or_else(|end| end, |never| match never {}),
                () = stopped(&mut stop) => End::Stopped,
            };
            match ended {
                End::Stopped => {
                    self.progress.outward(false, None);
                    return Halt::Stopped;
                }
                End::Trouble(why) => {
                    tracing::error!("the old columns do not follow: {why}");
                    self.progress.outward(false, Some(why.clone()));
                    return Halt::Trouble(why);
                }
                End::Broken(why) => {
                    tracing::warn!("writing to the old database broke off: {why}");
                    self.progress.outward(false, Some(why));
                }
            }
            if self.progress.view().seq_written > before {
                pause = PAUSE_MIN;
            }
            // A pause between two tries, so that a database that is starting is not hammered.
            let _stopped = tokio::time::timeout(pause, stopped(&mut stop)).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn run(&self) -> Result<std::convert::Infallible, End> {
        let state = self.desk.look(|state| state.legacy().capability(STOCK)).await?;
        let book = self.database.book().await?.ok_or_else(|| {
            End::Trouble("there is no bookkeeping row; banyan legacy check --create makes it".into())
        })?;
        check_book(&state, book.move_no)?;
        let epoch = book.epoch;
        // What was written is known from the bookkeeping alone. Where the log does not reach back to it, and at first, every
        // item is written: rows that are right already are not touched by that.
        let mut checkpoint = book.seq;
        let all = checkpoint == 0;
        let pieces = if all { None } else { touched::read(self.desk.shard(), checkpoint + 1).ok() };
        let mut pieces = match pieces {
            Some(pieces) => pieces,
            None => {
                let head = self.desk.look(State::seq).await?;
                self.write_all(&mut checkpoint, head, epoch).await?;
                touched::read(self.desk.shard(), head + 1)
                    .map_err(|error| End::Trouble(format!("reading the log: {error}")))?
            }
        };
        self.progress.outward(true, None);
        loop {
            tokio::select! {
                piece = pieces.recv() => {
                    let piece = piece.ok_or(End::Stopped)?;
                    let piece = piece.map_err(|error| End::Trouble(format!("reading the log: {error}")))?;
                    self.write_piece(&piece, &mut checkpoint, epoch).await?;
                }
                () = self.owned.asked_again() => {
                    let names = self.owned.take_again();
                    self.write_again(names, checkpoint, epoch).await?;
                }
            }
        }
    }

    async fn write_piece(&self, piece: &Touched, checkpoint: &mut u64, epoch: u64) -> Result<(), End> {
        let (items, reservations) = (piece.items.clone(), piece.reservations.clone());
        let items = self
            .desk
            .look(move |state| {
                let of = |no| state.stock().reservation(no).into_iter().flat_map(|row| row.parts);
                let reserved = reservations.iter().flat_map(|no| of(*no)).map(|part| part.item);
                let all: BTreeSet<ItemNo> = items.iter().copied().chain(reserved).collect();
                all.into_iter().filter(|item| state.legacy().mirrored(*item).is_some()).collect::<Vec<_>>()
            })
            .await?;
        // Nothing to write is nothing to say: every own write comes back through the stream, which is an event again.
        let rows = self.write_items(&items, checkpoint, piece.upto, epoch).await?;
        let lag = if rows == 0 { 0 } else { wall_clock().as_millis().saturating_sub(piece.since) };
        self.progress.wrote(piece.upto, rows, lag);
        Ok(())
    }

    async fn write_all(&self, checkpoint: &mut u64, head: u64, epoch: u64) -> Result<(), End> {
        let mut after = ItemNo::new(0);
        loop {
            let page = move |state: &State| {
                let items = state.legacy().mirrored_after(after).take(ROWS_MAX);
                items.map(|(item, _)| item).collect::<Vec<_>>()
            };
            let items = self.desk.look(page).await?;
            let Some(last) = items.last().copied() else { break };
            let same = *checkpoint;
            self.write_items(&items, checkpoint, same, epoch).await?;
            after = last;
        }
        // The checkpoint alone.
        self.write_rows(&[], head, epoch).await?;
        *checkpoint = head;
        self.progress.wrote(head, 0, 0);
        Ok(())
    }

    /// Writes the rows of `items` as they are now, and the checkpoint `upto` with the last of them.
    async fn write_items(
        &self,
        items: &[ItemNo],
        checkpoint: &mut u64,
        upto: u64,
        epoch: u64,
    ) -> Result<u64, End> {
        let mut written = 0;
        for (place, items) in (1..).zip(items.chunks(ROWS_MAX)) {
            let is_last = place * ROWS_MAX >= items.len();
            let wanted: Vec<ItemNo> = items.to_vec();
            let names = self
                .desk
                .look(move |state| {
                    wanted.iter().filter_map(|item| item_name(state, *item)).collect::<Vec<_>>()
                })
                .await?;
            let rows = self.rows_of(names).await?;
            let seq = if is_last { upto } else { *checkpoint };
            self.write_rows(&rows, seq, epoch).await?;
            *checkpoint = seq;
            written += rows.len() as u64;
        }
        Ok(written)
    }

    async fn write_again(&self, names: BTreeSet<Name>, checkpoint: u64, epoch: u64) -> Result<(), End> {
        for names in names.into_iter().collect::<Vec<_>>().chunks(ROWS_MAX) {
            let rows = self.rows_of(names.to_vec()).await?;
            self.write_rows(&rows, checkpoint, epoch).await?;
        }
        Ok(())
    }

    /// The rows of items as they are now, one for each mapped table that may have it.
    async fn rows_of(&self, names: Vec<Name>) -> Result<Vec<TargetRow>, End> {
        let mapping = self.mapping.clone();
        let rows = self
            .desk
            .look(move |state| {
                names.iter().flat_map(|name| target_rows(state, &mapping, name)).collect::<Vec<_>>()
            })
            .await?;
        Ok(rows)
    }

    async fn write_rows(&self, rows: &[TargetRow], seq: u64, epoch: u64) -> Result<(), End> {
        // Noted before: what is written may come through the stream before the answer is here.
        for row in rows {
            if let Some(name) = target_name(row) {
                self.owned.wrote(name, (row.in_stock, row.allocated));
            }
        }
        match self.database.write(rows, seq, epoch).await? {
            Written::Done { absent } => {
                for index in absent.iter().take(ABSENT_TOLD) {
                    let sku = rows.get(*index).map_or("", |row| row.sku.as_str());
                    tracing::debug!(sku, "the old table has no row for an item");
                }
                Ok(())
            }
            Written::Fenced { book } => Err(End::Trouble(format!(
                "the old database does not take it: its bookkeeping row says {book:?}, and this writer has epoch {epoch}"
            ))),
        }
    }
}

/// Whether the bookkeeping row is of the move that the log says was done last.
fn check_book(state: &CapabilityState, move_no: u64) -> Result<(), End> {
    if move_no == state.epoch {
        return Ok(());
    }
    Err(End::Trouble(format!(
        "the bookkeeping row says move {move_no}, and the log's last move is {}: was one of them restored from a backup?",
        state.epoch
    )))
}

/// What shall be in the rows of an item.
pub(crate) fn target_rows(state: &State, mapping: &Mapping, name: &Name) -> Vec<TargetRow> {
    let (sku, location) = name;
    let tables = mapping.tables_at(location.as_str());
    tables
        .filter_map(|table| {
            let has_allocated = mapping.tables[table].allocated.is_some();
            let (in_stock, allocated) = values_of(state, name, has_allocated)?;
            let (sku, location) = (sku.as_str().to_owned(), location.as_str().to_owned());
            Some(TargetRow { table, sku, location, in_stock, allocated })
        })
        .collect()
}

fn target_name(row: &TargetRow) -> Option<Name> {
    use banyan_domain::{LocationId, SkuId};
    Some((SkuId::new(row.sku.as_str()).ok()?, LocationId::new(row.location.as_str()).ok()?))
}
