//! The comparison: every mapped row against what belongs there, page by page, at a bounded pace. A difference counts only once
//! both directions have passed the moment of reading and it is still there; it is put right by the side that leads.

use crate::breach::values_of;
use crate::database::{BoxFuture, LegacyError, OldDatabase, Page};
use crate::desk::{Desk, DeskError};
use crate::mapping::Mapping;
use crate::mover::Comparer;
use crate::owned::{Owned, Values};
use crate::progress::Progress;
use crate::translate::{Name, name};
use banyan_domain::legacy::{Capability, Command};
use banyan_domain::{ItemNo, State};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const STOCK: Capability = Capability::Stock;
/// Rows in one page, and items in one look at the state.
const PAGE_ROWS: u32 = 1_000;
/// Pause between two pages: the old database has customers.
const PACE: Duration = Duration::from_millis(2);
/// How long both directions may take to pass the moment of a reading.
const SETTLE_MAX: Duration = Duration::from_secs(15);
/// How often it is looked whether they have.
const SETTLE_LOOK: Duration = Duration::from_millis(10);
/// How often what differs is read again before it counts.
const AGAIN_MAX: u32 = 5;

/// Compares both sides.
pub(crate) struct Reconciler {
    pub desk: Desk,
    pub database: Arc<dyn OldDatabase>,
    pub mapping: Arc<Mapping>,
    pub progress: Arc<Progress>,
    pub owned: Arc<Owned>,
}

/// An item in a table.
type Place = (usize, Name);

impl Comparer for Reconciler {
    fn compare(&self, repair: bool) -> BoxFuture<'_, Result<(u64, u64), String>> {
        Box::pin(self.pass(repair))
    }
}

impl Reconciler {
    async fn pass(&self, repair: bool) -> Result<(u64, u64), String> {
        let leads =
            self.desk.look(|state| state.legacy().capability(STOCK).phase.leads()).await.map_err(told)?;
        let (mut rows, mut position) = (0, 0);
        let mut suspects: BTreeMap<Place, Values> = BTreeMap::new();
        let mut seen: BTreeSet<Name> = BTreeSet::new();
        for table in 0..self.mapping.tables.len() {
            let mut after = None;
            loop {
                let page = self.database.read_page(table, after.as_ref(), PAGE_ROWS).await.map_err(old)?;
                rows += page.rows.len() as u64;
                position = page.position_after;
                let found = self.values(&page)?;
                seen.extend(found.keys().map(|(_, name)| name.clone()));
                suspects.extend(self.differing(found).await?);
                after = page.next;
                if after.is_none() {
                    break;
                }
                tokio::time::sleep(PACE).await;
            }
        }
        // An item that the old table has no row of differs if anything is there.
        let missing = self.missing(&seen).await?;
        for again in 0..AGAIN_MAX {
            if suspects.is_empty() {
                break;
            }
            self.settle(position).await?;
            let asked: Vec<(usize, String, String)> = suspects.keys().map(as_asked).collect();
            let page = self.database.read_items(&asked).await.map_err(old)?;
            let found = self.values(&page)?;
            suspects = self.differing(found).await?.into_iter().collect();
            if again + 1 < AGAIN_MAX {
                position = page.position_after;
            }
        }
        let differing = suspects.len() as u64 + missing;
        let mut repaired = 0;
        if repair && !suspects.is_empty() {
            repaired = suspects.len() as u64;
            self.repair(suspects, leads);
        }
        let note = Command::NoteReconciled { capability: STOCK, position, rows, differing, repaired };
        self.desk.ask(note).await.map_err(told)?;
        Ok((rows, differing))
    }

    fn values(&self, page: &Page) -> Result<BTreeMap<Place, Values>, String> {
        let mut found = BTreeMap::new();
        for row in &page.rows {
            let values = (row.in_stock.unwrap_or(0), row.allocated.unwrap_or(0));
            found.insert((row.table, name(&self.mapping, row)?), values);
        }
        Ok(found)
    }

    /// Those of `found` that are not what belongs there now.
    async fn differing(&self, found: BTreeMap<Place, Values>) -> Result<Vec<(Place, Values)>, String> {
        let mapping = self.mapping.clone();
        let look = move |state: &State| {
            let differs = |((table, name), values): &(&Place, &Values)| {
                let has_allocated = mapping.tables[*table].allocated.is_some();
                // Nothing known and nothing there is the same.
                values_of(state, name, has_allocated).unwrap_or((0, 0)) != **values
            };
            let differing = found.iter().filter(differs);
            differing.map(|(place, values)| (place.clone(), *values)).collect::<Vec<_>>()
        };
        self.desk.look(look).await.map_err(told)
    }

    /// How many items of the old shop have something, and no row there.
    async fn missing(&self, seen: &BTreeSet<Name>) -> Result<u64, String> {
        let (mut missing, mut after) = (0, ItemNo::new(0));
        loop {
            let look = move |state: &State| {
                let items = state.legacy().mirrored_after(after).take(PAGE_ROWS as usize);
                let has = |item| {
                    state.mirror_level(item).is_some_and(|level| level.in_stock() != 0 || level.taken() != 0)
                };
                let named = items
                    .filter_map(|(item, _)| Some((item, crate::inward::item_name(state, item)?, has(item))));
                named.collect::<Vec<_>>()
            };
            let page = self.desk.look(look).await.map_err(told)?;
            let Some((last, _, _)) = page.last() else { return Ok(missing) };
            after = *last;
            missing += page.iter().filter(|(_, name, has)| *has && !seen.contains(name)).count() as u64;
        }
    }

    /// Waits until the stream has passed `position`, and the old columns have what Banyan decided up to now.
    async fn settle(&self, position: u64) -> Result<(), String> {
        let until = Instant::now() + SETTLE_MAX;
        let goal = self.desk.look(State::seq).await.map_err(told)?;
        loop {
            let view = self.progress.view();
            let passed = view.position_applied >= position || !view.inward;
            if passed && (view.seq_written >= goal || !view.outward) {
                return Ok(());
            }
            if Instant::now() >= until {
                // An idle stream says so every ten seconds; what is read again after that shows the truth as well.
                return Ok(());
            }
            // Two other tasks bring it about and say so in numbers only.
            tokio::time::sleep(SETTLE_LOOK).await;
        }
    }

    /// Puts right what differs: by the row if the old shop leads, by our values if Banyan does.
    fn repair(&self, suspects: BTreeMap<Place, Values>, leads: bool) {
        if leads {
            suspects.into_keys().for_each(|(_, name)| self.owned.write_again(name));
            return;
        }
        // Rows that differ although the stream has passed them were lost on the way: every row is taken in again, by difference.
        self.owned.copy_again();
    }
}

fn as_asked((table, (sku, location)): &Place) -> (usize, String, String) {
    (*table, sku.as_str().to_owned(), location.as_str().to_owned())
}

#[allow(clippy::needless_pass_by_value)] // for map_err
fn told(error: DeskError) -> String {
    error.to_string()
}

#[allow(clippy::needless_pass_by_value)] // for map_err
fn old(error: LegacyError) -> String {
    error.to_string()
}
