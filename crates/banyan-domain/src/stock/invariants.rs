//! What must always be true of the stock, checked from nothing.

use super::apply::{Result, ensure};
use super::rows::{Level, ReservationState};
use super::state::Stock;
use crate::limits;
use crate::{ItemNo, ReservationNo};
use std::collections::{BTreeMap, BTreeSet};

impl Stock {
    /// Checks every invariant by counting from nothing: for the offline verifier, the simulator and snapshots.
    ///
    /// # Errors
    /// The first [`crate::Violation`] found.
    pub fn check_invariants(&self) -> Result {
        self.check_items()?;
        self.check_reservations()?;
        self.check_ended()?;
        let imports = self.imports.iter().map(|kept| (kept.import, kept.at));
        ensure(imports.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "imports are out of order")?;
        let digest = self.recompute_digest() == self.digest();
        ensure(digest, "the digest kept by apply differs from the digest of the state")
    }

    fn check_items(&self) -> Result {
        let mut chained = 0;
        for sku in 0..self.skus.len() {
            let places = self.chain(sku).map(|no| {
                let item = &self.items[no.get() as usize - 1];
                (item.sku == sku, item.location)
            });
            let places: Vec<_> = places.take(limits::LOCATIONS_MAX + 1).collect();
            let in_order = places.is_sorted_by(|a, b| a.1 < b.1) && places.iter().all(|(own, _)| *own);
            ensure(in_order && !places.is_empty(), "a SKU's items are not its own, or not in order")?;
            chained += places.len();
        }
        ensure(chained == self.items.len(), "an item belongs to no SKU")?;
        for item in &self.items {
            let Level { on_hand, held, safety, .. } = item.level;
            ensure(
                held <= on_hand && on_hand <= limits::ITEM_UNITS_MAX,
                "more units are held than there are",
            )?;
            let waits = item.level.waiting();
            ensure(waits <= limits::PROMISED_UNITS_MAX, "more units are promised than can be")?;
            ensure(waits == 0 || on_hand - held <= safety, "somebody waits for units that are free")?;
            ensure(usize::from(item.location) < self.locations.len(), "an item is at no location")?;
        }
        Ok(())
    }

    fn check_reservations(&self) -> Result {
        let mut levels: BTreeMap<ItemNo, (u64, u64)> = BTreeMap::new();
        let mut counts: BTreeMap<(u32, &str), u64> = BTreeMap::new();
        let (mut deadlines, mut promises) = (BTreeSet::new(), BTreeSet::new());
        for (no, row) in self.reservations.iter() {
            let live = row.state == ReservationState::Held;
            let sold = row.state == ReservationState::Committed;
            if live {
                deadlines.insert((row.at, no));
            }
            let parts = row.parts.as_slice();
            ensure(
                !parts.is_empty() && parts.is_sorted_by(|a, b| a.item < b.item),
                "parts are out of order",
            )?;
            for part in parts {
                let item = self.item(part.item).map(|_| &self.items[part.item.get() as usize - 1]);
                let item = item.ok_or(crate::Violation::new("a reservation draws on no item"))?;
                let units = u64::from(part.held) + u64::from(part.promised);
                let fits = units <= u64::from(u32::MAX) && u64::from(part.promised_first) <= units;
                ensure(fits && part.promised <= part.promised_first, "a promise grew")?;
                let back = u64::from(part.returned);
                ensure(back <= if sold { units } else { 0 }, "more came back than was committed")?;
                if live {
                    let (held, promised) = levels.entry(part.item).or_default();
                    *held += u64::from(part.held);
                    *promised += u64::from(part.promised);
                    if part.promised > 0 {
                        promises.insert((part.item, no));
                    }
                }
                let counts_here = self.limit(item.sku).is_some_and(|limit| no >= limit.from);
                if let Some(member) = row.names.member().filter(|_| (live || sold) && counts_here) {
                    *counts.entry((item.sku, member)).or_default() += units - back;
                }
            }
        }
        let kept = self.deadlines.union(&self.parked).copied();
        let once = self.deadlines.is_disjoint(&self.parked);
        ensure(once && kept.eq(deadlines), "the armed deadlines differ from the live reservations'")?;
        ensure(promises == self.promises, "the promises differ from the live reservations'")?;
        for (no, item) in (1..).map(ItemNo::new).zip(&self.items) {
            let counted = levels.get(&no).copied().unwrap_or_default();
            let kept = (u64::from(item.level.held), u64::from(item.level.promised));
            ensure(counted == kept, "an item's held or promised units differ from its reservations'")?;
        }
        self.check_counts(&counts)
    }

    /// What members have, at least as far as their reservations are still known.
    fn check_counts(&self, known: &BTreeMap<(u32, &str), u64>) -> Result {
        for (&(sku, member), &units) in known {
            let count = self.limit(sku).map_or(0, |limit| limit.count(member));
            ensure(u64::from(count) >= units, "a member has more units than were counted")?;
        }
        let limited = (0..self.skus.len()).filter(|place| self.skus.value(*place).limited);
        ensure(limited.eq(self.limits.keys().copied()), "SKUs and their limits differ")?;
        for limit in self.limits.values() {
            let in_limit = limit.counts().all(|(_, count)| count <= limit.per_member);
            ensure(in_limit, "a member has more units than the limit")?;
            ensure(limit.from <= self.reservations.next(), "a limit counts from a later reservation")?;
        }
        Ok(())
    }

    fn check_ended(&self) -> Result {
        let row = |no: &ReservationNo| self.reservations.get(*no);
        let ended_at = self.ended.iter().map(|no| {
            let row = row(no).filter(|row| row.state != ReservationState::Held);
            row.map(|row| row.at)
        });
        let times: Option<Vec<_>> = ended_at.collect();
        let in_order = times.is_some_and(|times| times.is_sorted());
        ensure(in_order, "the ended reservations are not in order of their end")?;
        let distinct: BTreeSet<_> = self.ended.iter().collect();
        let all = distinct.len() == self.ended.len()
            && self.ended.len() + self.reservations_live() == self.reservations.kept();
        ensure(all, "a reservation is neither live nor about to be forgotten")
    }
}
