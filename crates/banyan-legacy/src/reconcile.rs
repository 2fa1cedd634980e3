//! The continuous comparison: every mapped row against what Banyan has. A difference counts only when it stands still on both
//! sides while everything between them has arrived; otherwise it is a change under way.

use crate::around::{Around, write_around};
use crate::database::{BoxFuture, LegacyError, OldDatabase, TargetRow};
use crate::desk::{Desk, DeskError};
use crate::mapping::Mapping;
use crate::mover::Comparer;
use crate::progress::Progress;
use crate::stream::Row;
use crate::values::{ItemName, STOCK, levels, name_of, named_level, numbers, row_numbers};
use banyan_domain::MirrorLevel;
use banyan_domain::legacy::{Command, Phase};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Rows in one page.
const PAGE_ROWS: u32 = 1_000;
/// The pace: a page, and then a rest, so that neither side is kept busy by being compared.
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
    /// Rows that differed.
    pub differing: u64,
    /// Of these, rows put right.
    pub repaired: u64,
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
}

impl Comparer for Reconciler {
    fn compare(&self, repair: bool) -> BoxFuture<'_, Result<(u64, u64), String>> {
        Box::pin(async move {
            let passed = pass(&self.desk, &*self.database, &self.mapping, &self.progress, repair).await;
            let report = passed.map_err(|error| error.to_string())?;
            Ok((report.rows, report.differing - report.repaired))
        })
    }
}

/// A row's place: table, and the item it is of.
type Place = (usize, ItemName);

/// Compares every mapped row once. In phase `mirror` the old table is right, in `lead` Banyan is; with `repair`, the side that
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
    let work = Work { desk, database, mapping, progress, leads: phase.leads() };
    let (mut report, mut candidates) = work.read_all().await?;
    while !candidates.is_empty() {
        let some: Vec<Place> = candidates.iter().take(AGAIN_MAX).cloned().collect();
        candidates.retain(|place| !some.contains(place));
        work.settle(some, repair, &mut report).await?;
    }
    let ReconcileReport { position, rows, differing, repaired, .. } = report;
    desk.ask(Command::NoteReconciled { capability: STOCK, position, rows, differing, repaired }).await?;
    Ok(report)
}

struct Work<'a> {
    desk: &'a Desk,
    database: &'a dyn OldDatabase,
    mapping: &'a Mapping,
    progress: &'a Progress,
    leads: bool,
}

type Numbers = Option<(i64, i64)>;

impl Work<'_> {
    /// Reads all rows, and gives those that seem to differ.
    async fn read_all(&self) -> Result<(ReconcileReport, BTreeSet<Place>), ReconcileError> {
        let mut report = ReconcileReport::default();
        let mut candidates = BTreeSet::new();
        let mut seen = BTreeSet::new();
        for table in 0..self.mapping.tables.len() {
            let mut after = None;
            loop {
                let page = self.database.read_page(table, after.as_ref(), PAGE_ROWS).await?;
                report.rows += page.rows.len() as u64;
                report.position = report.position.max(page.position_after);
                let named: Vec<(ItemName, &Row)> =
                    page.rows.iter().filter_map(|row| Some((name_of(row)?, row))).collect();
                let ours = self.ours(table, named.iter().map(|(name, _)| name.clone()).collect()).await?;
                for ((name, row), ours) in named.into_iter().zip(ours) {
                    if ours != Some(row_numbers(row)) {
                        candidates.insert((table, name.clone()));
                    }
                    seen.insert(name);
                }
                match page.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
                // The old database has customers.
                tokio::time::sleep(PAGE_REST).await;
            }
        }
        for (name, level) in self.items().await? {
            let first = self.mapping.tables_at(name.1.as_str()).next();
            if let Some(table) =
                first.filter(|table| !seen.contains(&name) && numbers(self.mapping, *table, level) != (0, 0))
            {
                candidates.insert((table, name));
            }
        }
        Ok((report, candidates))
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
            let (first, position) = self.theirs(&places).await?;
            let before = self.ours_at(&places).await?;
            self.caught_up(position).await?;
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
        for ((_, (sku, location)), ours, theirs) in wrong {
            tracing::warn!(%sku, %location, ?ours, ?theirs, "both sides differ");
            if report.samples.len() < SAMPLES_MAX {
                let (sku, location) = (sku.to_string(), location.to_string());
                report.samples.push(Difference { sku, location, ours: *ours, theirs: *theirs });
            }
        }
        if !repair || wrong.is_empty() {
            return Ok(());
        }
        let places: Vec<Place> = wrong.iter().map(|(place, ..)| place.clone()).collect();
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
        let (_, position) = self.theirs(&places).await?;
        self.caught_up(position).await?;
        let ours = self.ours_at(&places).await?;
        let (theirs, _) = self.theirs(&places).await?;
        report.repaired +=
            ours.iter().zip(&theirs).filter(|(ours, theirs)| same(**ours, **theirs)).count() as u64;
        Ok(())
    }

    /// Writes our numbers again, without moving the checkpoint.
    ///
    /// First the pen, so that the sync out here has written before, or looks again after; then the bookkeeping row, and only
    /// then our numbers: whoever leads or writes further elsewhere after that look has this write fenced.
    async fn write(&self, places: &[Place]) -> Result<(), ReconcileError> {
        let _pen = self.progress.pen().await;
        let Some(book) = self.database.book().await? else { return Ok(()) };
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

    /// Waits until what the old table showed is here, and what we showed is there.
    async fn caught_up(&self, position: u64) -> Result<(), ReconcileError> {
        let until = Instant::now() + CATCH_UP_MAX;
        let seq = self.desk.look(banyan_domain::State::seq).await?;
        loop {
            let view = self.progress.view();
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

    async fn items(&self) -> Result<Vec<(ItemName, MirrorLevel)>, ReconcileError> {
        let all = |state: &banyan_domain::State| {
            state.legacy().mirrored_items().filter_map(|(item, _)| named_level(state, item)).collect()
        };
        Ok(self.desk.look(all).await?)
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
        }
    }
}

impl std::error::Error for ReconcileError {}
