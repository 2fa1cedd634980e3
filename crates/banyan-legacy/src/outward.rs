//! The sync out: what happened to items of the old shop becomes full values in its tables, with the checkpoint beside them.
//!
//! It remembers nothing that counts: where to go on is in the bookkeeping row, in the same transaction as the values. Values
//! are read after the events that they belong to, so they may be newer, never older.

use crate::database::{Book, LegacyError, OldDatabase, TargetRow, Written};
use crate::desk::{Desk, DeskError};
use crate::keeper::Halt;
use crate::mapping::Mapping;
use crate::progress::Progress;
use crate::takeover;
use crate::touched::{Feed, Touched, feed};
use crate::values::{ItemName, STOCK, named_level, targets};
use banyan_domain::legacy::{CapabilityState, Move, Phase};
use banyan_domain::{ItemNo, MirrorLevel, State};
use banyan_engine::wall_clock;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Items in one write.
const WRITE_ITEMS_MAX: usize = 1_000;
/// How often the checkpoint is written when nothing of ours happened, at most.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
/// How long to wait before trying again: first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// How often one item is written again because somebody else wrote to it, within the time below: a trigger that undoes what
/// is written would otherwise be fought for ever.
const REWRITES_MAX: u32 = 3;
const REWRITES_WITHIN: Duration = Duration::from_secs(60);

/// Writes until told to stop, or until somebody must look.
pub async fn follow(
    desk: &Desk,
    database: &dyn OldDatabase,
    mapping: &Mapping,
    progress: &Progress,
    mut stop: watch::Receiver<bool>,
) -> Halt {
    progress.outward(true, None);
    let mut outward = Outward { desk, database, mapping, progress, rewrites: BTreeMap::new() };
    let halt = tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => Halt::Stopped,
        halt = outward.run() => halt,
    };
    match &halt {
        Halt::Stopped => progress.outward(false, None),
        Halt::Trouble(why) => progress.outward(false, Some(why.clone())),
    }
    halt
}

struct Outward<'a> {
    desk: &'a Desk,
    database: &'a dyn OldDatabase,
    mapping: &'a Mapping,
    progress: &'a Progress,
    /// Items that were written again because of others: since when, and how often.
    rewrites: BTreeMap<ItemName, (Instant, u32)>,
}

enum Ended {
    /// It may get better by itself.
    Broken(String),
    /// A move of ours has written the bookkeeping row: nothing is wrong, and what to do is in the row.
    Moved {
        move_no: u64,
    },
    /// Somebody must look.
    Trouble(String),
    Stopping,
}

impl Outward<'_> {
    async fn run(&mut self) -> Halt {
        let mut pause = PAUSE.0;
        loop {
            let written = self.progress.view().seq_written;
            let ended = match self.once().await {
                Ok(never) => match never {},
                Err(ended) => ended,
            };
            match ended {
                Ended::Stopping => return Halt::Stopped,
                // The epoch has grown, so this does not go round for ever.
                Ended::Moved { move_no } => {
                    tracing::info!(move_no, "the bookkeeping row is read again after a move");
                }
                Ended::Trouble(why) => {
                    tracing::error!("the old tables are not written any more: {why}");
                    return Halt::Trouble(why);
                }
                Ended::Broken(why) => {
                    tracing::info!("writing to the old tables is tried again: {why}");
                    self.progress.outward(true, Some(why));
                    if self.progress.view().seq_written > written {
                        pause = PAUSE.0;
                    }
                    // Between two tries, so that a database that is starting is not hammered.
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE.1);
                }
            }
        }
    }

    /// From the bookkeeping row on, until something is in the way. Whether an unclear commit was done, the row says.
    async fn once(&mut self) -> Result<std::convert::Infallible, Ended> {
        // In this order: a row that is older than the state would look as if somebody had taken the lead.
        let state = self.desk.look(|state| state.legacy().capability(STOCK)).await?;
        let book = self.database.book().await?;
        if handed_over(book, &state) {
            return Err(Ended::Stopping);
        }
        if let Some(book) = takeover::seems(&state, book) {
            takeover::note(self.desk, &state, book).await?;
            return Err(Ended::Stopping);
        }
        let book = ours_to_write(book, &state).map_err(Ended::Trouble)?;
        let mut feed = self.begin(book).await?;
        self.progress.outward(true, None);
        let mut checkpoint_from = Instant::now();
        // What happened without touching an item, and is not in the checkpoint yet.
        let mut waiting: Option<Touched> = None;
        loop {
            let due = waiting.as_ref().filter(|touched| touched.matters).map(|_| checkpoint_from);
            let mut touched = match due {
                None => next(&mut feed).await?,
                Some(due) => match tokio::time::timeout_at(due, next(&mut feed)).await {
                    Ok(touched) => touched?,
                    Err(_) => Touched::default(),
                },
            };
            while touched.items() < WRITE_ITEMS_MAX {
                let Some(more) = feed.ready() else { break };
                touched.join(more);
            }
            if let Some(before) = waiting.take() {
                touched.join_before(&before);
            }
            let rows = self.rows(&touched).await?;
            let checkpoint = touched.at_once || (touched.matters && Instant::now() >= checkpoint_from);
            if rows.is_empty() && !checkpoint {
                // Nothing of it belongs into the old tables, so they have it. A checkpoint for each would come back through the
                // stream, become an event, and go round for ever.
                self.progress.wrote(touched.seq, 0, 0);
                waiting = Some(touched);
                continue;
            }
            let count = rows.len();
            self.write(&rows, touched.seq, book.epoch).await?;
            let lag = wall_clock().as_millis().saturating_sub(touched.time_millis);
            self.progress.wrote(touched.seq, count as u64, lag);
            checkpoint_from = Instant::now() + CHECKPOINT_EVERY;
        }
    }

    /// Where the log can be read from the checkpoint on, it is; otherwise everything is written anew.
    async fn begin(&mut self, book: Book) -> Result<Feed, Ended> {
        let shard = self.desk.shard();
        let confirmed = shard.confirmed().get().0;
        if book.seq > confirmed {
            return Err(Ended::Trouble(format!(
                "the old tables say that they have event {}, and the log here ends at {confirmed}: it is another log, or was \
                 restored from an older backup",
                book.seq
            )));
        }
        if book.seq > 0
            && let Ok(reader) = shard.reader(book.seq + 1)
        {
            return Ok(feed(reader, Arc::clone(shard.confirmed()), book.seq));
        }
        let reader = shard
            .reader(confirmed + 1)
            .map_err(|error| Ended::Broken(format!("reading the log: {error}")))?;
        let items: Vec<ItemNo> =
            self.desk.look(|state| state.legacy().mirrored_items().map(|(item, _)| item).collect()).await?;
        // The checkpoint comes with the last of them: a crash before it begins again.
        let last = items.len().saturating_sub(1) / WRITE_ITEMS_MAX;
        for (chunk, items) in items.chunks(WRITE_ITEMS_MAX).enumerate() {
            let touched = Touched { numbers: items.iter().copied().collect(), ..Touched::default() };
            let rows = self.rows(&touched).await?;
            self.write(&rows, if chunk == last { confirmed } else { book.seq }, book.epoch).await?;
        }
        Ok(feed(reader, Arc::clone(shard.confirmed()), confirmed))
    }

    /// The rows that belong into the old tables for what was touched, as of now.
    async fn rows(&mut self, touched: &Touched) -> Result<Vec<TargetRow>, Ended> {
        if touched.items() == 0 {
            return Ok(Vec::new());
        }
        let (numbers, reservations) = (touched.numbers.clone(), touched.reservations.clone());
        let breached = self.again(&touched.breached);
        let emptied = touched.breached.iter().any(|(sku, _)| sku.as_str() == "*");
        let look = move |state: &State| -> Vec<(ItemName, MirrorLevel)> {
            let mut items: BTreeSet<ItemNo> = numbers.clone();
            for reservation in &reservations {
                match state.stock().reservation(*reservation) {
                    Some(row) => items.extend(row.parts.iter().map(|part| part.item)),
                    // It ended so long ago that nothing is known of it: then every item may be meant.
                    None => items.extend(state.legacy().mirrored_items().map(|(item, _)| item)),
                }
            }
            items.extend(breached.iter().filter_map(|(sku, location)| state.stock().find(sku, location)));
            if emptied {
                items.extend(state.legacy().mirrored_items().map(|(item, _)| item));
            }
            items.into_iter().filter_map(|item| named_level(state, item)).collect()
        };
        let levels = self.desk.look(look).await?;
        Ok(levels.iter().flat_map(|(name, level)| targets(self.mapping, name, *level)).collect())
    }

    /// Those of the items that others wrote to which are to be written again.
    fn again(&mut self, breached: &BTreeSet<ItemName>) -> Vec<ItemName> {
        let now = Instant::now();
        self.rewrites.retain(|_, (since, _)| now - *since < REWRITES_WITHIN);
        let mut again = Vec::new();
        for name in breached {
            let (_, count) = self.rewrites.entry(name.clone()).or_insert((now, 0));
            *count += 1;
            if *count <= REWRITES_MAX {
                again.push(name.clone());
            } else if *count == REWRITES_MAX + 1 {
                let (sku, location) = name;
                tracing::error!(%sku, %location, "what is written to the old table is undone again and again; it is left to the comparison");
            }
        }
        again
    }

    async fn write(&self, rows: &[TargetRow], seq: u64, epoch: u64) -> Result<(), Ended> {
        match self.database.write(rows, seq, epoch).await? {
            Written::Done { absent } => {
                for row in absent.iter().filter_map(|index| rows.get(*index)) {
                    if (row.in_stock, row.allocated) != (0, 0) && self.mapping.tables.len() == 1 {
                        tracing::warn!(
                            sku = row.sku,
                            location = row.location,
                            "the old table has no row for an item that it should have"
                        );
                    }
                }
                Ok(())
            }
            // A move of ours has written the row meanwhile: whether it is still ours to write is looked at again from it.
            Written::Fenced { book: Some(book) } if book.epoch > epoch => {
                Err(Ended::Moved { move_no: book.move_no })
            }
            Written::Fenced { book } => Err(Ended::Trouble(format!(
                "somebody else leads in the old database, or has written further: its row says {book:?}, and we are at event \
                 {seq} of epoch {epoch}"
            ))),
        }
    }
}

/// Whether a move of ours has given the old tables back: there is nothing more to write, and nothing wrong.
fn handed_over(book: Option<Book>, state: &CapabilityState) -> bool {
    let told = book.is_some_and(|book| {
        let asked_for = |moving: &Move| (moving.number, moving.to) == (book.move_no, book.phase);
        !book.phase.leads() && state.moving.as_ref().is_some_and(asked_for)
    });
    told || !state.phase.leads()
}

/// Whether the old tables are ours to write, as both sides see it.
fn ours_to_write(book: Option<Book>, state: &CapabilityState) -> Result<Book, String> {
    let book = book
        .ok_or("there is no bookkeeping row in the old database; `banyan legacy check --create` makes it")?;
    let done = book.phase == state.phase && (state.epoch..=state.moves).contains(&book.move_no);
    // The old database was told already, and the log hears of it next.
    let told =
        state.moving.as_ref().is_some_and(|moving| (moving.number, moving.to) == (book.move_no, book.phase));
    let known = done || told;
    let back = state.moving.as_ref().is_some_and(|moving| moving.to == Phase::Lead);
    match state.phase {
        Phase::Lead if known => Ok(book),
        Phase::Retired if back && known => Ok(book),
        phase => Err(format!(
            "the old database says {} (move {}), and Banyan is in {} (move {})",
            book.phase.as_str(),
            book.move_no,
            phase.as_str(),
            state.epoch
        )),
    }
}

async fn next(feed: &mut Feed) -> Result<Touched, Ended> {
    feed.next().await.map_err(Ended::Broken)
}

impl From<LegacyError> for Ended {
    fn from(error: LegacyError) -> Self {
        match error {
            LegacyError::Broken(why) => Self::Broken(why),
            LegacyError::Refused(_) | LegacyError::SourceUnknown(_) => Self::Trouble(error.to_string()),
        }
    }
}

impl From<DeskError> for Ended {
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::Stopping => Self::Stopping,
            DeskError::Refused(_) => Self::Trouble(error.to_string()),
        }
    }
}
