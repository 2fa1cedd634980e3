//! Importing stock: many items counted at once, each row set or refused by itself.

use super::apply::{Result, ensure};
use super::command::{Decision, ImportAnswer, ImportRow, Outcome};
use super::decide::check_on_hand;
use super::event::{Event, ItemCount, NewItem};
use super::state::ImportKept;
use super::{Refusal, Remembered, Stock};
use crate::limits;
use crate::{Actor, ItemNo, LocationId, SkuId, Timestamp};
use std::collections::BTreeSet;

impl Stock {
    pub(super) fn import(&self, rows: &[ImportRow], by: Actor) -> core::result::Result<Decision, Refusal> {
        // The edge splits lists; this only guards the store.
        if rows.len() > limits::IMPORT_ROWS_MAX {
            return Err(Refusal::TooManySkus);
        }
        let (mut new, mut set, mut refused, mut unchanged) = (Vec::new(), Vec::new(), Vec::new(), 0_u32);
        let (mut seen, mut unknown, mut locations) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for (index, row) in (0_u16..).zip(rows) {
            let ImportRow { sku, location, on_hand } = row;
            let on_hand = *on_hand;
            let accepted = if let Some(item) = self.find(sku, location) {
                let level = self.level(item);
                let accepted = seen.insert(item) && check_on_hand(level, on_hand).is_ok();
                match accepted {
                    true if level.on_hand == on_hand => unchanged += 1,
                    true => set.push(ItemCount { item, on_hand }),
                    false => {}
                }
                accepted
            } else {
                let known_place = self.locations_by_id.contains_key(location) || locations.contains(location);
                let room = self.items.len() + new.len() < limits::ITEMS_MAX as usize
                    && (known_place || self.locations.len() + locations.len() < limits::LOCATIONS_MAX);
                let accepted = unknown.insert((sku, location)) && room && on_hand <= limits::ITEM_UNITS_MAX;
                if accepted {
                    if !known_place {
                        locations.insert(location);
                    }
                    new.push(NewItem { sku: sku.clone(), location: location.clone(), on_hand });
                }
                accepted
            };
            if !accepted {
                refused.push(index);
            }
        }
        if new.is_empty() && set.is_empty() && refused.is_empty() {
            let answer = ImportAnswer { changed: 0, unchanged, refused: 0, refused_rows: Vec::new() };
            let remembered = Remembered::Imported { import: 0, changed: 0, unchanged, refused: 0 };
            return Ok(Decision::AsItIs(Outcome::Import(answer), remembered));
        }
        set.sort_unstable_by_key(|count| count.item);
        let import = self.imports_made + 1;
        Ok(Decision::One(Event::StockImported { import, new, set, unchanged, refused, by }))
    }

    pub(super) fn imported(
        &mut self,
        at: Timestamp,
        import: u64,
        new: &[NewItem],
        set: &[ItemCount],
        unchanged: u32,
        refused: &[u16],
    ) -> Result {
        ensure(import == self.imports_made + 1, "imports must be numbered one after the other")?;
        let rows = (new.len() + set.len() + refused.len()) as u64 + u64::from(unchanged);
        ensure(rows <= limits::IMPORT_ROWS_MAX as u64, "an import has too many rows")?;
        ensure(refused.is_sorted_by(|a, b| a < b), "an import refused a row twice")?;
        ensure(refused.iter().all(|&index| u64::from(index) < rows), "an import refused a row it had not")?;
        ensure(set.is_sorted_by(|a, b| a.item < b.item), "an import set an item twice")?;
        for count in set {
            let level = self.checked_level(count.item)?;
            ensure(check_on_hand(level, count.on_hand).is_ok(), "an import counted what cannot be")?;
        }
        let units_fit = new.iter().all(|item| item.on_hand <= limits::ITEM_UNITS_MAX);
        ensure(units_fit, "an import counted what cannot be")?;
        self.check_new(new.iter().map(|item| (&item.sku, &item.location)))?;

        for item in new {
            let no = self.create_item(&item.sku, &item.location);
            self.change_level(no, |level| level.on_hand = item.on_hand);
        }
        for count in set {
            self.change_level(count.item, |level| level.on_hand = count.on_hand);
            self.serve(count.item, 0);
        }
        self.imports_made = import;
        if !refused.is_empty() {
            let kept = ImportKept { import, at, refused: refused.into() };
            self.digest.add(kept.digest());
            self.imports.push_back(kept);
            if self.imports.len() > limits::IMPORTS_KEPT_MAX {
                self.forget_import();
            }
        }
        Ok(())
    }

    /// Whether these items can be created in this order.
    pub(super) fn check_new<'a>(
        &self,
        new: impl ExactSizeIterator<Item = (&'a SkuId, &'a LocationId)>,
    ) -> Result {
        let items = self.items.len() + new.len();
        ensure(items <= limits::ITEMS_MAX as usize, "more items were created than can be numbered")?;
        let (mut seen, mut locations) = (BTreeSet::new(), BTreeSet::new());
        for (sku, location) in new {
            let is_new = self.find(sku, location).is_none() && seen.insert((sku, location));
            ensure(is_new, "an item was created twice")?;
            if !self.locations_by_id.contains_key(location) {
                locations.insert(location);
            }
        }
        let locations = self.locations.len() + locations.len();
        ensure(locations <= limits::LOCATIONS_MAX, "more locations were created than can be numbered")
    }

    /// Forgets the refused rows of the oldest import.
    pub(super) fn forget_import(&mut self) {
        if let Some(oldest) = self.imports.pop_front() {
            self.digest.sub(oldest.digest());
        }
    }

    /// The rows that `import` refused, while they are remembered.
    pub(super) fn refused_rows(&self, import: u64) -> &[u16] {
        let place = self.imports.binary_search_by_key(&import, |kept| kept.import);
        place.map_or(&[], |place| &self.imports[place].refused)
    }

    /// The number that the next new item gets.
    pub(super) fn next_item(&self) -> ItemNo {
        ItemNo::new(self.items.len() as u32 + 1)
    }
}
