//! The sync out: what happened to items of the old shop becomes full values in its tables, with the checkpoint beside them.
//!
//! It remembers nothing that counts: where to go on is in the bookkeeping row, in the same transaction as the values. Values
//! are read after the events that they belong to, so they may be newer, never older.
//!
//! A row that the old table refuses (a check, a trigger, a type that is too narrow) is set aside, and the others go on. The
//! checkpoint stays where it was before that row until none is set aside any more: what it says is true, and whoever
//! starts after a crash comes by the row again, because everything since is read again.

use crate::around::{Around, write_around};
use crate::database::{Book, LegacyError, OldDatabase, TargetRow};
use crate::desk::{Desk, DeskError};
use crate::keeper::Halt;
use crate::mapping::Mapping;
use crate::progress::{Progress, RowPlace, place_of};
use crate::takeover;
use crate::touched::{Feed, Touched, feed};
use crate::values::{ItemName, STOCK, named_level, targets};
use banyan_domain::legacy::{CapabilityState, Move, Phase};
use banyan_domain::{ItemNo, LocationId, MirrorLevel, SkuId, State};
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
/// How often rows that the old table refuses are tried again, and how many of them: each costs a transaction or two.
const RETRY_EVERY: Duration = Duration::from_secs(60);
const RETRY_ROWS_MAX: usize = 500;
/// Events that are read again from the checkpoint in any case. More of them than there are items take longer than writing every
/// item once, such as after weeks in which the old shop led, and what is decided meanwhile waits behind them.
const READ_AGAIN_MIN: u64 = 10_000;

/// Writes until told to stop, or until somebody must look.
pub async fn follow(
    desk: &Desk,
    database: &dyn OldDatabase,
    mapping: &Mapping,
    progress: &Progress,
    mut stop: watch::Receiver<bool>,
) -> Halt {
    progress.outward(true, None);
    let mut outward = Outward {
        desk,
        database,
        mapping,
        progress,
        rewrites: BTreeMap::new(),
        checkpoint: 0,
        retry_from: Instant::now(),
        retried: None,
    };
    let halt = tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => Halt::Stopped,
        halt = outward.run() => halt,
    };
    match &halt {
        Halt::Stopped => {
            progress.forget_aside();
            progress.outward(false, None);
        }
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
    /// The checkpoint that is in the old database.
    checkpoint: u64,
    /// When rows that are set aside are tried again, and which was the last of those tried.
    retry_from: Instant,
    retried: Option<RowPlace>,
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
        self.checkpoint = book.seq;
        let owed_from = owed_from(&state);
        let (mut feed, mut seq) = self.begin(book).await?;
        self.progress.outward(true, None);
        // Whoever waits for it need not wait for something to happen first.
        if self.progress.view().seq_written < seq {
            self.progress.wrote(seq, 0, 0);
        }
        let mut checkpoint_from = Instant::now();
        // What happened without touching an item, and is not in the checkpoint yet.
        let mut waiting: Option<Touched> = None;
        loop {
            let due = waiting.as_ref().filter(|touched| touched.matters).map(|_| checkpoint_from);
            let due = due.into_iter().chain(self.retry_at()).min();
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
            seq = seq.max(touched.seq);
            touched.seq = seq;
            let pen = self.progress.pen().await;
            let mut rows = self.rows(&touched).await?;
            if self.retry_at().is_some_and(|due| Instant::now() >= due) {
                self.try_again(&mut rows).await?;
            }
            let checkpoint = touched.at_once || (touched.matters && Instant::now() >= checkpoint_from);
            if rows.is_empty() && !checkpoint {
                // Nothing of it belongs into the old tables, so they have it. A checkpoint for each would come back through the
                // stream, become an event, and go round for ever.
                self.progress.wrote(touched.seq, 0, 0);
                waiting = Some(touched);
                continue;
            }
            let count = rows.len();
            self.write(rows, touched.seq, book.epoch).await?;
            drop(pen);
            let lag = lag(touched.time_millis, owed_from, wall_clock().as_millis());
            self.progress.wrote(touched.seq, count as u64, lag);
            checkpoint_from = Instant::now() + CHECKPOINT_EVERY;
        }
    }

    /// Where the log can be read from the checkpoint on, and is not long, it is; otherwise everything is written anew. Gives what happens from
    /// then on, and up to where everything is written.
    async fn begin(&mut self, book: Book) -> Result<(Feed, u64), Ended> {
        let shard = self.desk.shard();
        let confirmed = shard.confirmed().get().0;
        if book.seq > confirmed {
            return Err(Ended::Trouble(format!(
                "the old tables say that they have event {}, and the log here ends at {confirmed}: it is another log, or was \
                 restored from an older backup",
                book.seq
            )));
        }
        let items = self.desk.look(|state| state.legacy().mirrored_count() as u64).await?;
        if book.seq > 0
            && confirmed - book.seq <= items.max(READ_AGAIN_MIN)
            && let Ok(reader) = shard.reader(book.seq + 1)
        {
            return Ok((feed(reader, Arc::clone(shard.confirmed()), book.seq), book.seq));
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
            let _pen = self.progress.pen().await;
            let rows = self.rows(&touched).await?;
            self.write(rows, if chunk == last { confirmed } else { book.seq }, book.epoch).await?;
        }
        Ok((feed(reader, Arc::clone(shard.confirmed()), confirmed), confirmed))
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

    /// When rows that are set aside are to be tried again, if there are any.
    fn retry_at(&self) -> Option<Instant> {
        self.progress.has_aside().then_some(self.retry_from)
    }

    /// Adds rows that are set aside to those that are to be written, as they should be now.
    async fn try_again(&mut self, rows: &mut Vec<TargetRow>) -> Result<(), Ended> {
        self.retry_from = Instant::now() + RETRY_EVERY;
        let all = self.progress.aside();
        let from = all.partition_point(|place| Some(place) <= self.retried.as_ref());
        let some: Vec<RowPlace> =
            all[from..].iter().chain(&all[..from]).take(RETRY_ROWS_MAX).cloned().collect();
        self.retried = some.last().cloned();
        let names = some.iter().filter_map(|(_, sku, location)| {
            Some((SkuId::new(sku.as_str()).ok()?, LocationId::new(location.as_str()).ok()?))
        });
        let names: Vec<ItemName> = names.collect();
        let look = move |state: &State| -> Vec<(ItemName, MirrorLevel)> {
            let items = names.iter().filter_map(|(sku, location)| state.stock().find(sku, location));
            items.filter_map(|item| named_level(state, item)).collect()
        };
        let levels = self.desk.look(look).await?;
        let known = levels.iter().flat_map(|(name, level)| targets(self.mapping, name, *level));
        let known: BTreeMap<RowPlace, TargetRow> = known.map(|row| (place_of(&row), row)).collect();
        let there: BTreeSet<RowPlace> = rows.iter().map(place_of).collect();
        for place in some.into_iter().filter(|place| !there.contains(place)) {
            match known.get(&place) {
                Some(row) => rows.push(row.clone()),
                // Banyan has no such item any more.
                None => {
                    let (table, sku, location) = place;
                    self.progress.took_back(&TargetRow { table, sku, location, in_stock: 0, allocated: 0 });
                }
            }
        }
        Ok(())
    }

    /// Writes rows, sets those aside that the old table refuses, and moves the checkpoint to `seq` if none is.
    async fn write(&mut self, rows: Vec<TargetRow>, seq: u64, epoch: u64) -> Result<(), Ended> {
        // What was refused before probably still is. By itself, it does not cost the others a search by halves.
        let (refused, others): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|row| self.progress.is_aside(row));
        if !refused.is_empty() {
            self.put(&refused, self.checkpoint, epoch).await?;
        }
        let goal = self.goal(seq);
        self.put(&others, goal, epoch).await?;
        // Together they were refused, one by one they were not.
        if self.goal(seq) != self.checkpoint {
            self.put(&[], seq, epoch).await?;
        }
        Ok(())
    }

    /// How far the checkpoint may go: not past a row that is set aside.
    fn goal(&self, seq: u64) -> u64 {
        if self.progress.has_aside() { self.checkpoint } else { seq }
    }

    async fn put(&mut self, rows: &[TargetRow], seq: u64, epoch: u64) -> Result<(), Ended> {
        let parts = match write_around(self.database, rows, (self.checkpoint, seq), epoch).await? {
            Around::Done(parts) => parts,
            // A move of ours has written the row meanwhile: whether it is still ours to write is looked at again from it.
            Around::Fenced(Some(book)) if book.epoch > epoch => {
                return Err(Ended::Moved { move_no: book.move_no });
            }
            Around::Fenced(book) => {
                return Err(Ended::Trouble(format!(
                    "somebody else leads in the old database, or has written further: its row says {book:?}, and we are at event \
                     {seq} of epoch {epoch}"
                )));
            }
        };
        if parts.at_seq {
            self.checkpoint = seq;
        }
        for row in parts.absent.iter().filter_map(|index| rows.get(*index)) {
            if (row.in_stock, row.allocated) != (0, 0) && self.mapping.tables.len() == 1 {
                tracing::warn!(
                    sku = row.sku,
                    location = row.location,
                    "the old table has no row for an item that it should have"
                );
            }
        }
        let refused: BTreeMap<usize, &String> =
            parts.refused.iter().map(|(index, why)| (*index, why)).collect();
        for (index, row) in rows.iter().enumerate() {
            match refused.get(&index) {
                Some(why) => self.refused(row, why),
                None if self.progress.took_back(row) => {
                    tracing::info!(
                        sku = row.sku,
                        location = row.location,
                        "a row that was refused is written now"
                    );
                }
                None => {}
            }
        }
        Ok(())
    }

    fn refused(&mut self, row: &TargetRow, why: &str) {
        let now = Instant::now();
        if self.retry_from <= now {
            self.retry_from = now + RETRY_EVERY;
        }
        if self.progress.set_aside(row, why) {
            tracing::error!(
                sku = row.sku,
                location = row.location,
                in_stock = row.in_stock,
                allocated = row.allocated,
                "the old table refuses what the row shall be, and it is set aside: {why}"
            );
        }
    }
}

/// Whether a move of ours has given the old tables back, or up: there is nothing more to write, and nothing wrong.
pub(crate) fn handed_over(book: Option<Book>, state: &CapabilityState) -> bool {
    let told = book.is_some_and(|book| {
        let asked_for = |moving: &Move| (moving.number, moving.to) == (book.move_no, book.phase);
        !book.phase.leads() && state.moving.as_ref().is_some_and(asked_for)
    });
    let back = state.moving.as_ref().is_some_and(|moving| moving.to == Phase::Lead);
    told || !state.phase.leads() || (state.phase == Phase::Retired && !back)
}

/// Whether the old tables are ours to write, as both sides see it.
pub(crate) fn ours_to_write(book: Option<Book>, state: &CapabilityState) -> Result<Book, String> {
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

/// Since when the old tables are owed what happens here, milliseconds since 1970. What happened before came from them, or was before
/// the checkpoint of the last time: the log is read from there, and how old it is says nothing of this lag.
fn owed_from(state: &CapabilityState) -> u64 {
    let since = match &state.moving {
        Some(moving) if state.phase == Phase::Retired => moving.begun_at,
        _ => state.since,
    };
    since.as_millis()
}

/// How late a write is at `now` of what `happened`, all in milliseconds. Rows that were only tried again are not late.
fn lag(happened: u64, owed_from: u64, now: u64) -> u64 {
    if happened == 0 { 0 } else { now.saturating_sub(happened.max(owed_from)) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_domain::{Actor, Reason, Timestamp};

    /// Found by a long run: where the old shop had led for minutes, the first writes of the new lead were said to be as late.
    #[test]
    fn what_happened_while_the_old_shop_led_does_not_make_the_sync_out_late() {
        let state = |phase, since| CapabilityState {
            phase,
            since: Timestamp::from_millis(since),
            moving: (phase == Phase::Retired).then(|| Move {
                number: 4,
                to: Phase::Lead,
                by: Actor::new("op").expect("a name"),
                reason: Reason::new("a test").expect("words"),
                begun_at: Timestamp::from_millis(since + 50_000),
                noted: Vec::new(),
                without: None,
            }),
            ..CapabilityState::default()
        };
        let late = |state: &CapabilityState, happened| lag(happened, owed_from(state), 300_000);
        let leads = state(Phase::Lead, 200_000);
        assert_eq!(late(&leads, 90_000), 100_000, "owed since the lead began, 110 s later");
        assert_eq!(late(&leads, 299_000), 1_000);
        assert_eq!(late(&leads, 0), 0, "nothing happened");
        assert_eq!(
            late(&state(Phase::Retired, 200_000), 210_000),
            50_000,
            "owed since the way back was begun"
        );
    }

    #[test]
    fn tables_that_a_move_has_retired_are_no_trouble_of_the_sync_out() {
        let book = |phase| Some(Book { phase, epoch: 4, seq: 90, move_no: 3 });
        let state = |phase, to: Option<Phase>| CapabilityState {
            phase,
            epoch: 3,
            moves: 4,
            moving: to.map(|to| Move {
                number: 4,
                to,
                by: Actor::new("op").expect("a name"),
                reason: Reason::new("a test").expect("words"),
                begun_at: Timestamp::default(),
                noted: Vec::new(),
                without: None,
            }),
            ..CapabilityState::default()
        };
        // The move is done, and whoever stops the sync out has not come to it yet.
        assert!(handed_over(book(Phase::Retired), &state(Phase::Retired, None)));
        // On the way back the tables are brought up to date.
        let back = state(Phase::Retired, Some(Phase::Lead));
        assert!(!handed_over(book(Phase::Retired), &back));
        assert!(ours_to_write(book(Phase::Retired), &back).is_ok());
        assert!(!handed_over(book(Phase::Lead), &state(Phase::Lead, None)));
        assert!(handed_over(book(Phase::Mirror), &state(Phase::Mirror, None)));
    }
}
