//! What each event changes. Every change is checked against the invariants before it is made, in release builds too: a
//! store that would sell one unit too many must stop instead.

use super::decide::{adjusted, check_arrival, check_on_hand};
use super::event::{Event, ReservedPart, ReturnedPart};
use super::purchase::PurchaseLimit;
use super::rows::{Item, Level, Part, Parts, ReservationState, Row, RowNames};
use super::state::{Sku, Stock, location_digest};
use crate::limits;
use crate::state::Violation;
use crate::{ItemNo, LocationId, MemberId, Millis, ReservationNo, SkuId, Timestamp};
use std::collections::BTreeMap;

pub(super) type Result<T = ()> = core::result::Result<T, Violation>;

pub(super) fn ensure(holds: bool, what: &'static str) -> Result {
    if holds { Ok(()) } else { Err(Violation::new(what)) }
}

impl Stock {
    /// Applies one event that happened `at` the time of its block, at log position `seq`.
    ///
    /// # Errors
    /// A [`Violation`] if the event breaks an invariant; the state is unchanged then.
    pub fn apply(&mut self, at: Timestamp, _seq: u64, event: &Event) -> Result {
        match event {
            Event::ReservationMade { reservation, parts, until, member, order, holder } => {
                let names = RowNames::new(member.as_ref(), order.as_ref(), *holder);
                self.made(at, *reservation, parts, *until, member.as_ref(), names)?;
            }
            Event::ReservationCommitted { reservation } => {
                ensure(self.held(*reservation)?.at > at, "a reservation was committed after its deadline")?;
                self.end(at, *reservation, ReservationState::Committed);
            }
            Event::ReservationReleased { reservation } => {
                ensure(self.held(*reservation)?.at > at, "a reservation was released after its deadline")?;
                self.end(at, *reservation, ReservationState::Released);
            }
            Event::ReservationExpired { reservation } => {
                ensure(self.held(*reservation)?.at <= at, "a reservation expired before its deadline")?;
                self.end(at, *reservation, ReservationState::Expired);
            }
            Event::GoodsReturned { reservation, parts, .. } => self.returned(at, *reservation, parts)?,
            Event::ItemCreated { item, sku, location, .. } => {
                ensure(*item == self.next_item(), "item numbers must follow each other")?;
                self.check_new([(sku, location)].into_iter())?;
                self.create_item(sku, location);
            }
            Event::StockSet { item, on_hand, .. } => {
                let level = self.checked_level(*item)?;
                ensure(check_on_hand(level, *on_hand).is_ok(), "a count is below what is held or too large")?;
                self.change_level(*item, |level| level.on_hand = *on_hand);
                self.serve(*item, 0);
            }
            Event::StockAdjusted { item, by_quantity, .. } => {
                let on_hand = adjusted(self.checked_level(*item)?, *by_quantity);
                let wrong = Violation::new("a correction goes below what is held or too high");
                let on_hand = on_hand.map_err(|_| wrong)?;
                self.change_level(*item, |level| level.on_hand = on_hand);
                self.serve(*item, 0);
            }
            Event::GoodsReceived { item, quantity, .. } => {
                let fits = check_arrival(self.checked_level(*item)?, *quantity).is_ok();
                ensure(fits, "more goods arrived than can be counted")?;
                self.arrive(*item, *quantity);
            }
            Event::ItemConfigured { item, safety, backorder_max, preorder_max, released_at, .. } => {
                let old = *self.checked_level(*item)?;
                let most = *backorder_max.max(preorder_max);
                ensure(most <= limits::PROMISED_UNITS_MAX, "more units may be promised than can be counted")?;
                let (safety, backorder_max, preorder_max) = (*safety, *backorder_max, *preorder_max);
                let released_at = *released_at;
                self.configured(*item, Level { safety, backorder_max, preorder_max, released_at, ..old });
            }
            Event::PurchaseLimitSet { item, per_member, .. } => {
                self.checked_level(*item)?;
                self.limit_set(*item, *per_member);
            }
            Event::StockImported { import, new, set, unchanged, refused, .. } => {
                self.imported(at, *import, new, set, *unchanged, refused)?;
            }
        }
        self.forget(at);
        Ok(())
    }

    /// The level of an item that an event names.
    pub(super) fn checked_level(&self, item: ItemNo) -> Result<&Level> {
        let index = (item.get() as usize).checked_sub(1);
        let found = index.and_then(|index| self.items.get(index));
        found.map(|item| &item.level).ok_or(Violation::new("an event names an item that is not there"))
    }

    /// Changes the numbers of an item that change all the time, and keeps the digest current.
    pub(super) fn change_level(&mut self, no: ItemNo, change: impl FnOnce(&mut Level)) {
        let item = &mut self.items[no.get() as usize - 1];
        self.digest.sub(item.digest(no));
        change(&mut item.level);
        self.digest.add(item.digest(no));
    }

    pub(super) fn create_item(&mut self, sku: &SkuId, location: &LocationId) -> ItemNo {
        let no = self.next_item();
        let sku = self.skus.find(sku.as_str()).unwrap_or_else(|| {
            let place = self.skus.add(sku.as_str(), Sku::default());
            self.digest.add(self.sku_digest(place));
            place
        });
        let location = self.locations_by_id.get(location).copied().unwrap_or_else(|| {
            let place = self.locations.len() as u16;
            self.digest.add(location_digest(u64::from(place), location));
            self.locations.push(location.clone());
            self.locations_by_id.insert(location.clone(), place);
            place
        });
        let before = self.chain(sku).take_while(|no| self.items[no.get() as usize - 1].location < location);
        let before = before.last();
        let link = match before {
            Some(before) => &mut self.items[before.get() as usize - 1].next,
            None => &mut self.skus.value_mut(sku).first,
        };
        let next = core::mem::replace(link, no.get());
        let item = Item { sku, location, next, level: Level::default() };
        self.digest.add(item.digest(no));
        self.digest.add(item.settings_digest(no));
        self.items.push(item);
        no
    }

    fn configured(&mut self, no: ItemNo, new: Level) {
        let item = &mut self.items[no.get() as usize - 1];
        self.digest.sub(item.settings_digest(no));
        item.level = new;
        self.digest.add(item.settings_digest(no));
        self.serve(no, 0);
    }

    fn limit_set(&mut self, item: ItemNo, per_member: Option<u32>) {
        let place = self.items[item.get() as usize - 1].sku;
        let (key, from) = (self.key, self.reservations.next());
        if let Some(old) = self.limits.remove(&place) {
            self.digest.sub(old.digest(place));
        }
        self.skus.value_mut(place).limited = per_member.is_some();
        if let Some(per_member) = per_member {
            let limit = PurchaseLimit::new(key, per_member, from);
            self.digest.add(limit.digest(place));
            self.limits.insert(place, limit);
        }
    }

    fn made(
        &mut self,
        at: Timestamp,
        no: ReservationNo,
        parts: &[ReservedPart],
        until: Timestamp,
        member: Option<&MemberId>,
        names: RowNames,
    ) -> Result {
        ensure(no == self.reservations.next(), "reservation numbers must follow each other")?;
        ensure(self.has_room(), "more reservations were made than can be remembered")?;
        let longest = at.plus(Millis::new(limits::RESERVATION_MILLIS_MAX));
        ensure(until >= at && until <= longest, "a reservation's deadline is past or too far")?;
        let count = 1..=limits::RESERVATION_PARTS_MAX;
        ensure(count.contains(&parts.len()), "a reservation has no part or too many")?;
        ensure(parts.is_sorted_by(|a, b| a.item < b.item), "a reservation draws on an item twice")?;
        for part in parts {
            let level = self.checked_level(part.item)?;
            ensure(part.held > 0 || part.promised > 0, "a reservation draws nothing on an item")?;
            ensure(part.held <= level.available(), "more units were held than there are")?;
            if part.promised > 0 {
                ensure(part.held == level.available(), "units were promised while others were free")?;
                ensure(part.promised <= level.promisable(at), "more units were promised than may be")?;
            }
        }
        self.check_limits(parts, member)?;

        for part in parts {
            let item = &mut self.items[part.item.get() as usize - 1];
            self.digest.sub(item.digest(part.item));
            item.level.held += part.held;
            item.level.promised += part.promised;
            self.digest.add(item.digest(part.item));
            if part.promised > 0 {
                self.promises.insert((part.item, no));
            }
            let sku = item.sku;
            if let Some(member) = member
                && self.skus.value(sku).limited
                && let Some(limit) = self.limits.get_mut(&sku)
            {
                self.digest.sub(limit.digest(sku));
                // It fits: checked against the limit above.
                limit.change(sku, member.as_str(), |count| count + part.held + part.promised);
                self.digest.add(limit.digest(sku));
            }
        }
        let row = Row {
            state: ReservationState::Held,
            at: until,
            names,
            parts: Parts::new(parts.iter().map(Part::new)),
        };
        self.digest.add(self.row_digest(no, &row));
        self.deadlines.insert((until, no));
        self.reservations.push(row);
        Ok(())
    }

    fn check_limits(&self, parts: &[ReservedPart], member: Option<&MemberId>) -> Result {
        let sku = |part: &ReservedPart| self.items[part.item.get() as usize - 1].sku;
        for part in parts {
            let Some(limit) = self.limit(sku(part)) else { continue };
            let same = parts.iter().filter(|other| sku(other) == sku(part));
            let units: u64 = same.map(|part| u64::from(part.held) + u64::from(part.promised)).sum();
            let room = limit.room(member.map(MemberId::as_str));
            ensure(units <= room, "a member reserved more units than the limit")?;
        }
        Ok(())
    }

    pub(super) fn held(&self, no: ReservationNo) -> Result<&Row> {
        let row = self.reservations.get(no);
        let row = row.ok_or(Violation::new("an event names a reservation that is not there"))?;
        ensure(row.state == ReservationState::Held, "a reservation ended twice")?;
        Ok(row)
    }

    /// Ends a reservation that is held.
    pub(super) fn end(&mut self, at: Timestamp, no: ReservationNo, state: ReservationState) {
        let row = self.reservations.get_mut(no).expect("a reservation that is held is there");
        if !self.deadlines.remove(&(row.at, no)) {
            self.parked.remove(&(row.at, no));
        }
        self.digest.sub(row.state_digest(no));
        row.state = state;
        row.at = at;
        self.digest.add(row.state_digest(no));
        let committed = state == ReservationState::Committed;
        let mut somebody_waits = false;
        for part in row.parts.as_slice() {
            let item = &mut self.items[part.item.get() as usize - 1];
            self.digest.sub(item.digest(part.item));
            item.level.held -= part.held;
            item.level.promised -= part.promised;
            if committed {
                item.level.on_hand -= part.held;
                item.level.owed += part.promised;
            }
            self.digest.add(item.digest(part.item));
            if part.promised > 0 {
                self.promises.remove(&(part.item, no));
            }
            if !committed {
                somebody_waits |= item.level.waiting() > 0;
                let sku = item.sku;
                if self.skus.value(sku).limited {
                    uncount(&mut self.limits, &mut self.digest, sku, no, &row.names, part.quantity());
                }
            }
        }
        if somebody_waits {
            // Only now that none of its own promises can be filled any more.
            let items: Vec<_> = row.parts.as_slice().iter().map(|part| part.item).collect();
            items.into_iter().for_each(|item| self.serve(item, 0));
        }
        self.ended.push_back(no);
    }

    fn returned(&mut self, at: Timestamp, no: ReservationNo, parts: &[ReturnedPart]) -> Result {
        let row = self.row(at, no).filter(|row| row.state == ReservationState::Committed);
        let row = row.ok_or(Violation::new("goods came back of a reservation that is not committed"))?;
        ensure(!parts.is_empty(), "nothing came back")?;
        ensure(parts.is_sorted_by(|a, b| a.item < b.item), "goods came back to an item twice")?;
        let drawn = row.parts.as_slice();
        for back in parts {
            let part = drawn.binary_search_by_key(&back.item, |part| part.item).map(|place| &drawn[place]);
            let left = part.map_or(0, |part| part.quantity() - part.returned);
            ensure(back.quantity > 0 && back.quantity <= left, "more came back than was committed")?;
            let fits = check_arrival(self.level(back.item), back.quantity).is_ok();
            ensure(fits, "more goods came back than can be counted")?;
        }
        let row = self.reservations.get_mut(no).expect("found above");
        for back in parts {
            let part = row.part_mut(back.item).expect("found above");
            self.digest.sub(part.digest(no));
            part.returned += back.quantity;
            self.digest.add(part.digest(no));
            let sku = self.items[back.item.get() as usize - 1].sku;
            uncount(&mut self.limits, &mut self.digest, sku, no, &row.names, back.quantity);
        }
        parts.iter().for_each(|back| self.arrive(back.item, back.quantity));
        Ok(())
    }

    /// Forgets the two reservations that ended first, if it is time: an event ends one at most, so that forgetting keeps
    /// pace and is never long work. And the import that came first.
    pub(super) fn forget(&mut self, at: Timestamp) {
        for _ in 0..2 {
            let Some(&no) = self.ended.front() else { break };
            if !self.reservations.get(no).is_some_and(|row| row.is_over(at)) {
                break;
            }
            self.ended.pop_front();
            let row = self.reservations.forget(no).expect("looked at above");
            self.digest.sub(self.row_digest(no, &row));
        }
        let kept = Millis::new(limits::RESERVATION_KEPT_MILLIS);
        if self.imports.front().is_some_and(|import| import.at < at && import.at.plus(kept) <= at) {
            self.forget_import();
        }
    }
}

/// Gives units back to a member's purchase limit, if they were counted.
fn uncount(
    limits: &mut BTreeMap<u32, PurchaseLimit>,
    digest: &mut crate::Digest,
    place: u32,
    no: ReservationNo,
    names: &RowNames,
    units: u32,
) {
    let Some(limit) = limits.get_mut(&place).filter(|limit| no >= limit.from) else { return };
    let Some(member) = names.member() else { return };
    digest.sub(limit.digest(place));
    limit.change(place, member, |count| count - units);
    digest.add(limit.digest(place));
}
