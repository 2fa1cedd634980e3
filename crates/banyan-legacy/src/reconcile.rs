//! The continuous comparison: every mapped row against what Banyan has. A difference counts only when it stands still on both
//! sides while everything between them has arrived; otherwise it is a change under way.
//!
//! Rows are compared by one digest for each range of about a thousand, where it is remembered whose rows are in which range;
//! where digests differ, the rows are read.

use crate::around::{Around, write_around};
use crate::database::{BoxFuture, KeyRange, LegacyError, OldDatabase, RangeDigest, TargetRow};
use crate::desk::{Desk, DeskError};
use crate::mapping::Mapping;
use crate::mover::Comparer;
use crate::outward::{handed_over, ours_to_write};
use crate::progress::Progress;
use crate::ranges::{Members, Range, Ranges, line};
use crate::stream::Row;
use crate::values::{ItemName, STOCK, levels, name_of, named_level, numbers, row_numbers};
use banyan_domain::legacy::{Command, Phase};
use banyan_domain::{ItemNo, MirrorLevel, State};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Rows in one page, and in one range when it is first read.
const PAGE_ROWS: u32 = 1_000;
/// Rows that a range may grow to before it is read and cut anew.
const RANGE_ROWS_MAX: u32 = 2 * PAGE_ROWS;
/// Ranges of fewer rows than this, on average, are forgotten, and the table is cut anew.
const RANGE_ROWS_MIN: u64 = 100;
/// Ranges whose digests are asked for together.
const RANGES_AT_ONCE: usize = 16;
/// The pace: a page or some digests, and then a rest, so that neither side is kept busy by being compared.
const PAGE_REST: Duration = Duration::from_millis(5);
/// Items looked at again at once, and how often; what still moves then counts as equal, and is looked at the next time.
const AGAIN_MAX: usize = 500;
const ROUNDS: usize = 5;
/// Longest wait for both sides to catch up in a round.
const CATCH_UP_MAX: Duration = Duration::from_secs(20);
/// Differences in a report, as examples.
const SAMPLES_MAX: usize = 20;

/// What a comparison came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReconcileReport {
    /// As of which position of the stream.
    pub position: u64,
    /// Rows compared.
    pub rows: u64,
    /// Of these, rows that were not read, since the digest of their range was equal.
    pub by_digest: u64,
    /// Rows that differed.
    pub differing: u64,
    /// Of these, rows put right.
    pub repaired: u64,
    /// Of those that differed, rows that differ by nothing but what is reserved here, since before the old shop led. They are
    /// equal when that has ended, and there is nothing to put right.
    pub held_over: u64,
    /// Some of them.
    pub samples: Vec<Difference>,
}

/// One row that differed: in stock and allocated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The SKU.
    pub sku: String,
    /// The location.
    pub location: String,
    /// Banyan's numbers; nothing if it has no such item.
    pub ours: Option<(i64, i64)>,
    /// The old table's; nothing if it has no such row.
    pub theirs: Option<(i64, i64)>,
}

/// Why both sides could not be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReconcileError {
    /// The old database.
    Old(LegacyError),
    /// Banyan's own side.
    Desk(DeskError),
    /// In this phase nothing is kept in step.
    NotInStep(Phase),
    /// One side did not catch up.
    Behind(String),
    /// Who leads has changed meanwhile: what was found says nothing of now, and is not noted.
    Overtaken,
}

/// Compares for a mover.
pub struct Reconciler {
    /// Banyan's side.
    pub desk: Desk,
    /// The old database.
    pub database: Arc<dyn OldDatabase>,
    /// The mapping.
    pub mapping: Arc<Mapping>,
    /// How the sync is doing.
    pub progress: Arc<Progress>,
    ranges: Mutex<Ranges>,
}

impl Reconciler {
    /// One that remembers nothing yet.
    #[must_use]
    pub fn new(
        desk: Desk,
        database: Arc<dyn OldDatabase>,
        mapping: Arc<Mapping>,
        progress: Arc<Progress>,
    ) -> Self {
        Self { desk, database, mapping, progress, ranges: Mutex::default() }
    }

    /// As [`pass`]; remembers whose rows are where, so that the next one need not read them.
    ///
    /// # Errors
    /// [`ReconcileError`].
    pub async fn pass(&self, repair: bool) -> Result<ReconcileReport, ReconcileError> {
        // Whoever comes while another compares does not wait for it.
        let mut own = Ranges::default();
        let mut shared = self.ranges.try_lock().ok();
        let ranges = shared.as_deref_mut().unwrap_or(&mut own);
        compare(&self.desk, &*self.database, &self.mapping, &self.progress, repair, ranges).await
    }
}

impl Comparer for Reconciler {
    fn compare(&self, repair: bool) -> BoxFuture<'_, Result<(u64, u64), String>> {
        Box::pin(async move {
            let report = self.pass(repair).await.map_err(|error| error.to_string())?;
            Ok((report.rows, report.differing - report.repaired))
        })
    }
}

/// A row's place: table, and the item it is of.
type Place = (usize, ItemName);

/// Reads and compares every mapped row once. In phase `mirror` the old table is right, in `lead` Banyan is; with `repair`, the side that
/// follows is put right.
///
/// # Errors
/// [`ReconcileError`].
pub async fn pass(
    desk: &Desk,
    database: &dyn OldDatabase,
    mapping: &Mapping,
    progress: &Progress,
    repair: bool,
) -> Result<ReconcileReport, ReconcileError> {
    compare(desk, database, mapping, progress, repair, &mut Ranges::default()).await
}

async fn compare(
    desk: &Desk,
    database: &dyn OldDatabase,
    mapping: &Mapping,
    progress: &Progress,
    repair: bool,
    ranges: &mut Ranges,
) -> Result<ReconcileReport, ReconcileError> {
    let state = desk.look(|state| state.legacy().capability(STOCK)).await?;
    let phase = state.phase;
    let in_step = match phase {
        Phase::Mirror | Phase::Lead => true,
        // The first comparison comes before the mirror is begun: the rows have been copied then.
        Phase::Legacy => state.source.is_some_and(|source| !source.copying),
        // On the way back the old columns are brought up to date before they are relied upon.
        Phase::Retired => state.moving.is_some_and(|moving| moving.to == Phase::Lead),
    };
    if !in_step {
        return Err(ReconcileError::NotInStep(phase));
    }
    let epoch = state.epoch;
    let work = Work { desk, database, mapping, progress, phase, epoch, leads: phase.leads() };
    let Found { mut report, mut candidates, .. } = work.compare_all(ranges).await?;
    while !candidates.is_empty() {
        let some: Vec<Place> = candidates.iter().take(AGAIN_MAX).cloned().collect();
        candidates.retain(|place| !some.contains(place));
        work.settle(some, repair, &mut report).await?;
    }
    let ReconcileReport { position, rows, differing, repaired, .. } = report;
    let capability = STOCK;
    desk.ask(Command::NoteReconciled { capability, phase, epoch, position, rows, differing, repaired })
        .await?;
    // Whether it was noted is decided there, between two other commands; here it is only said.
    work.is_not_overtaken().await?;
    Ok(report)
}

struct Work<'a> {
    desk: &'a Desk,
    database: &'a dyn OldDatabase,
    mapping: &'a Mapping,
    progress: &'a Progress,
    /// Who led when it began.
    phase: Phase,
    epoch: u64,
    leads: bool,
}

type Numbers = Option<(i64, i64)>;

/// What a comparison has found so far.
#[derive(Default)]
struct Found {
    report: ReconcileReport,
    /// Rows that seem to differ.
    candidates: BTreeSet<Place>,
    /// Items that have a row.
    seen: Vec<ItemNo>,
}

impl Work<'_> {
    /// Compares all rows, and gives those that seem to differ.
    async fn compare_all(&self, ranges: &mut Ranges) -> Result<Found, ReconcileError> {
        let mut found = Found::default();
        for table in 0..self.mapping.tables.len() {
            let known = ranges.take(table);
            let rows_before = found.report.rows;
            let mut next = Vec::with_capacity(known.len());
            for some in known.chunks(RANGES_AT_ONCE) {
                let keys: Vec<KeyRange> = some.iter().map(|range| range.key.clone()).collect();
                let Some(digests) = self.database.digest_ranges(table, &keys, RANGE_ROWS_MAX).await? else {
                    next.clear();
                    break;
                };
                found.report.position = found.report.position.max(digests.position_after);
                for (range, theirs) in some.iter().zip(digests.of) {
                    match self.is_equal(table, range, &theirs, &mut found).await? {
                        true => next.push(range.clone()),
                        false => next.extend(self.read(table, range.key.clone(), &mut found).await?),
                    }
                }
                // The old database has customers.
                tokio::time::sleep(PAGE_REST).await;
            }
            if next.is_empty() {
                next = self.read(table, KeyRange::default(), &mut found).await?;
            } else if next.len() > 1
                && (found.report.rows - rows_before) / (next.len() as u64) < RANGE_ROWS_MIN
            {
                next.clear();
            }
            ranges.put(table, next);
        }
        self.unseen(&mut found).await?;
        Ok(found)
    }

    /// Whether the rows of a range are ours, by their digest.
    async fn is_equal(
        &self,
        table: usize,
        range: &Range,
        theirs: &RangeDigest,
        found: &mut Found,
    ) -> Result<bool, ReconcileError> {
        let Some(members) = &range.members else { return Ok(false) };
        if theirs.rows != (members.items.len() + members.others.len()) as u64 {
            return Ok(false);
        }
        let items = members.items.clone();
        let look = move |state: &State| -> Vec<Option<(ItemName, MirrorLevel)>> {
            items.iter().map(|item| named_level(state, *item)).collect()
        };
        let ours = self.desk.look(look).await?;
        let line = |((sku, location), level): (ItemName, MirrorLevel)| {
            line(sku.as_str(), location.as_str(), numbers(self.mapping, table, level))
        };
        // An item that is no more leaves a gap, and so another digest.
        let is_equal = members.digest(ours.into_iter().flatten().map(line)) == theirs.digest;
        if is_equal {
            found.seen.extend(members.items.iter());
            found.report.rows += theirs.rows;
            found.report.by_digest += theirs.rows;
        }
        Ok(is_equal)
    }

    /// Reads and compares the rows of a range, and gives what is to be remembered of it.
    async fn read(
        &self,
        table: usize,
        range: KeyRange,
        found: &mut Found,
    ) -> Result<Vec<Range>, ReconcileError> {
        let KeyRange { mut after, until } = range;
        let mut ranges = Vec::new();
        loop {
            let part = KeyRange { after: after.clone(), until: until.clone() };
            let page = self.database.read_range(table, &part, PAGE_ROWS).await?;
            found.report.rows += page.rows.len() as u64;
            found.report.position = found.report.position.max(page.position_after);
            let members = self.compare_rows(table, &page.rows, found).await?;
            let end = page.next.clone().or_else(|| until.clone());
            ranges.push(Range { key: KeyRange { after, until: end }, members });
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(ranges),
            }
            // The old database has customers.
            tokio::time::sleep(PAGE_REST).await;
        }
    }

    /// Compares rows with ours, and gives whose they are.
    async fn compare_rows(
        &self,
        table: usize,
        rows: &[Row],
        found: &mut Found,
    ) -> Result<Option<Members>, ReconcileError> {
        let names: Vec<Option<ItemName>> = rows.iter().map(name_of).collect();
        let look = {
            let names = names.clone();
            move |state: &State| -> Vec<Option<(ItemNo, MirrorLevel)>> {
                let known = |(sku, location): &ItemName| {
                    let item = state.stock().find(sku, location)?;
                    Some((item, state.mirror_level(item)?))
                };
                names.iter().map(|name| known(name.as_ref()?)).collect()
            }
        };
        let ours = self.desk.look(look).await?;
        let (mut items, mut others, mut whole) = (Vec::new(), Vec::new(), true);
        for (place, ((row, name), ours)) in rows.iter().zip(names).zip(ours).enumerate() {
            let theirs = row_numbers(row);
            if let Some((item, level)) = ours {
                items.push(item);
                if numbers(self.mapping, table, level) == theirs {
                    continue;
                }
            } else {
                others.push((place, line(&row.sku, &row.location, theirs)));
                // No row and no item are as good as zeros; what has no name cannot be compared.
                if theirs == (0, 0) || name.is_none() {
                    continue;
                }
                whole = false;
            }
            found.candidates.extend(name.map(|name| (table, name)));
        }
        found.seen.extend(&items);
        Ok(whole.then(|| Members { items: Arc::new(items), others }))
    }

    /// Items that have no row, though they should.
    async fn unseen(&self, found: &mut Found) -> Result<(), ReconcileError> {
        found.seen.sort_unstable();
        let all = |state: &State| state.legacy().mirrored_items().map(|(item, _)| item).collect::<Vec<_>>();
        let mut all = self.desk.look(all).await?;
        all.retain(|item| found.seen.binary_search(item).is_err());
        for items in all.chunks(PAGE_ROWS as usize) {
            let items = items.to_vec();
            let look = move |state: &State| -> Vec<(ItemName, MirrorLevel)> {
                items.iter().filter_map(|item| named_level(state, *item)).collect()
            };
            for (name, level) in self.desk.look(look).await? {
                let first = self.mapping.tables_at(name.1.as_str()).next();
                if let Some(table) = first.filter(|table| numbers(self.mapping, *table, level) != (0, 0)) {
                    found.candidates.insert((table, name));
                }
            }
        }
        Ok(())
    }

    /// Looks at places again until each has stood still once: equal, or differing.
    async fn settle(
        &self,
        mut places: Vec<Place>,
        repair: bool,
        report: &mut ReconcileReport,
    ) -> Result<(), ReconcileError> {
        for _ in 0..ROUNDS {
            if places.is_empty() {
                return Ok(());
            }
            let opened = self.progress.view().opened;
            let (first, position) = self.theirs(&places).await?;
            let before = self.ours_at(&places).await?;
            self.caught_up(position, opened).await?;
            let after = self.ours_at(&places).await?;
            let (second, _) = self.theirs(&places).await?;
            report.position = report.position.max(position);
            let mut moving = Vec::new();
            let mut wrong = Vec::new();
            for (index, place) in places.into_iter().enumerate() {
                let (theirs, ours) = (second[index], after[index]);
                let equal = same(ours, theirs);
                if equal {
                    continue;
                }
                // The side that leads stood still while the other caught up.
                let still = first[index] == theirs && (!self.leads || before[index] == ours);
                if still { wrong.push((place, ours, theirs)) } else { moving.push(place) }
            }
            if !wrong.is_empty() {
                // Whose rows are right is as it was when the comparison began, or nothing is said of them.
                self.is_not_overtaken().await?;
            }
            self.count(&wrong, repair, report).await?;
            places = moving;
        }
        Ok(())
    }

    async fn count(
        &self,
        wrong: &[(Place, Numbers, Numbers)],
        repair: bool,
        report: &mut ReconcileReport,
    ) -> Result<(), ReconcileError> {
        report.differing += wrong.len() as u64;
        let held_over = self.held_over(wrong).await?;
        report.held_over += held_over.iter().filter(|held_over| **held_over).count() as u64;
        for (((_, (sku, location)), ours, theirs), held_over) in wrong.iter().zip(&held_over) {
            if *held_over {
                tracing::info!(%sku, %location, ?ours, ?theirs, "both sides differ by reservations from before the old shop led");
            } else {
                tracing::warn!(%sku, %location, ?ours, ?theirs, "both sides differ");
            }
            if report.samples.len() < SAMPLES_MAX {
                let (sku, location) = (sku.to_string(), location.to_string());
                report.samples.push(Difference { sku, location, ours: *ours, theirs: *theirs });
            }
        }
        let to_repair = wrong.iter().zip(&held_over).filter(|(_, held_over)| !**held_over);
        let places: Vec<Place> = to_repair.map(|((place, ..), _)| place.clone()).collect();
        if !repair || places.is_empty() {
            return Ok(());
        }
        match self.leads {
            true => self.write(&places).await?,
            false => {
                // Sent again in its place in the stream: nothing newer can be overwritten by it.
                if let Err(error) = self.database.touch(&asked(&places)).await {
                    tracing::warn!("rows that differ could not be sent again: {error}");
                    return Ok(());
                }
            }
        }
        let opened = self.progress.view().opened;
        let (_, position) = self.theirs(&places).await?;
        self.caught_up(position, opened).await?;
        let ours = self.ours_at(&places).await?;
        let (theirs, _) = self.theirs(&places).await?;
        report.repaired +=
            ours.iter().zip(&theirs).filter(|(ours, theirs)| same(**ours, **theirs)).count() as u64;
        Ok(())
    }

    /// Of each of these: whether the old shop leads and they differ by nothing but what is held here. The old shop knows nothing
    /// of those reservations, which were made before it led: reading its row again changes nothing, and they end by themselves.
    async fn held_over(&self, wrong: &[(Place, Numbers, Numbers)]) -> Result<Vec<bool>, ReconcileError> {
        let mut all = vec![false; wrong.len()];
        for (held_over, ((table, name), _, theirs)) in all.iter_mut().zip(wrong).filter(|_| !self.leads) {
            let names = vec![name.clone()];
            let level = self.desk.look(move |state| levels(state, &names).pop().flatten()).await?;
            if let Some(level) = level.filter(|level| level.held > 0) {
                let copied = numbers(self.mapping, *table, MirrorLevel { held: 0, ..level });
                *held_over = same(Some(copied), *theirs);
            }
        }
        Ok(all)
    }

    /// Writes our numbers again, without moving the checkpoint.
    ///
    /// First the pen, so that the sync out here has written before, or looks again after; then the bookkeeping row, and only
    /// then our numbers: whoever leads or writes further elsewhere after that look has this write fenced. Whether the table is
    /// ours to write is asked as the sync out asks it: a row that says that Banyan leads may be another Banyan's.
    async fn write(&self, places: &[Place]) -> Result<(), ReconcileError> {
        let _pen = self.progress.pen().await;
        // In this order: a row that is older than the state would look as if somebody had taken the lead.
        let state = self.desk.look(|state| state.legacy().capability(STOCK)).await?;
        let book = self.database.book().await?;
        let ours = match handed_over(book, &state) {
            true => Err("a move has given the old tables back".to_owned()),
            false => ours_to_write(book, &state),
        };
        let book = match ours {
            Ok(book) => book,
            Err(why) => {
                tracing::info!(
                    "rows that differ are not put right, since the old tables are not ours: {why}"
                );
                return Ok(());
            }
        };
        let ours = self.ours_at(places).await?;
        let row = |((table, (sku, location)), ours): (&Place, &Numbers)| {
            let (in_stock, allocated) = (*ours)?;
            let (sku, location) = (sku.to_string(), location.to_string());
            Some(TargetRow { table: *table, sku, location, in_stock, allocated })
        };
        let rows: Vec<TargetRow> = places.iter().zip(&ours).filter_map(row).collect();
        match write_around(self.database, &rows, (book.seq, book.seq), book.epoch).await? {
            Around::Done(parts) => {
                for (index, why) in parts.refused {
                    let TargetRow { sku, location, .. } = &rows[index];
                    tracing::warn!(%sku, %location, "a row that differs is refused by the old table: {why}");
                }
            }
            Around::Fenced(_) => {
                tracing::info!("rows that differ are left to the next comparison: the sync out was quicker");
            }
        }
        Ok(())
    }

    /// That the same side leads as when the comparison began, and has all the time.
    async fn is_not_overtaken(&self) -> Result<(), ReconcileError> {
        let now = self.desk.look(|state| state.legacy().capability(STOCK)).await?;
        match (now.phase, now.epoch) == (self.phase, self.epoch) {
            true => Ok(()),
            false => Err(ReconcileError::Overtaken),
        }
    }

    /// Waits until what the old table showed is here, and what we showed is there. `opened` is how often a stream had been begun
    /// anew before the position was asked for: it says nothing of another one, perhaps of another server.
    async fn caught_up(&self, position: u64, opened: u64) -> Result<(), ReconcileError> {
        let until = Instant::now() + CATCH_UP_MAX;
        let seq = self.desk.look(banyan_domain::State::seq).await?;
        loop {
            let view = self.progress.view();
            if view.opened != opened {
                return Err(ReconcileError::Behind("the stream was begun anew meanwhile".to_owned()));
            }
            let out = !self.leads || view.seq_written >= seq;
            if out && view.position_applied >= position {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(ReconcileError::Behind(format!(
                    "the stream is at {} of {position}, the old tables at event {} of {seq}",
                    view.position_applied, view.seq_written
                )));
            }
            // Two other tasks bring it about and say so in numbers only.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn theirs(&self, places: &[Place]) -> Result<(Vec<Numbers>, u64), ReconcileError> {
        let page = self.database.read_items(&asked(places)).await?;
        let found: BTreeMap<Place, (i64, i64)> =
            page.rows.iter().filter_map(|row| Some(((row.table, name_of(row)?), row_numbers(row)))).collect();
        Ok((places.iter().map(|place| found.get(place).copied()).collect(), page.position_after))
    }

    async fn ours_at(&self, places: &[Place]) -> Result<Vec<Numbers>, ReconcileError> {
        let mut all = Vec::with_capacity(places.len());
        for (table, name) in places {
            all.extend(self.ours(*table, vec![name.clone()]).await?);
        }
        Ok(all)
    }

    async fn ours(&self, table: usize, names: Vec<ItemName>) -> Result<Vec<Numbers>, ReconcileError> {
        let found = self.desk.look(move |state| levels(state, &names)).await?;
        Ok(found.into_iter().map(|level| level.map(|level| numbers(self.mapping, table, level))).collect())
    }
}

/// No row and no item are as good as zeros.
fn same(ours: Numbers, theirs: Numbers) -> bool {
    ours == theirs || (ours.unwrap_or((0, 0)) == (0, 0) && theirs.unwrap_or((0, 0)) == (0, 0))
}

fn asked(places: &[Place]) -> Vec<(usize, String, String)> {
    places.iter().map(|(table, (sku, location))| (*table, sku.to_string(), location.to_string())).collect()
}

impl From<LegacyError> for ReconcileError {
    fn from(error: LegacyError) -> Self {
        Self::Old(error)
    }
}

impl From<DeskError> for ReconcileError {
    fn from(error: DeskError) -> Self {
        Self::Desk(error)
    }
}

impl fmt::Display for ReconcileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Old(error) => error.fmt(f),
            Self::Desk(error) => error.fmt(f),
            Self::NotInStep(phase) => {
                write!(f, "in phase {} both sides are not kept in step", phase.as_str())
            }
            Self::Behind(why) => write!(f, "one side did not catch up: {why}"),
            Self::Overtaken => {
                f.write_str("who leads has changed while both sides were compared: what was found is dropped")
            }
        }
    }
}

impl std::error::Error for ReconcileError {}
