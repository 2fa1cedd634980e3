//! Which items a reservation draws on, and which a return goes back to.
//!
//! Lines that name a location are served first, since they have no choice; then the others, which take what is left: held
//! units at every location, in their order of creation, before units are promised at any. So if the lines can be served at
//! all they are. Within these rules lines are served in their order, and those that fall short take nothing.

use super::command::{Line, Lines};
use super::event::{ReservedPart, ReturnedPart};
use super::rows::Part;
use super::{Refusal, Stock};
use crate::limits;
use crate::{ItemNo, LocationId, MemberId, Timestamp};

/// A line with its names looked up.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    sku: u32,
    /// The item, if the line names a location.
    item: Option<ItemNo>,
    quantity: u32,
}

impl Stock {
    /// What a reservation of `lines` at `now` would draw on, in order of the items' numbers.
    pub(super) fn plan(
        &self,
        now: Timestamp,
        lines: &Lines,
        member: Option<&MemberId>,
    ) -> Result<Vec<ReservedPart>, Refusal> {
        // One line is the usual case, and needs no list.
        let (one, many);
        let wanted: &[Wanted] = if let [line] = lines.as_slice() {
            one = [self.resolve_location(line, self.resolve_sku(line)?)?];
            &one
        } else {
            many = self.resolve(lines)?;
            &many
        };
        self.check_purchase_limits(wanted, member)?;
        let mut plan = Plan { stock: self, now, parts: Vec::with_capacity(wanted.len()) };
        let mut short = 0_u128;
        for located in [true, false] {
            for (index, line) in wanted.iter().enumerate().filter(|(_, line)| line.item.is_some() == located)
            {
                short |= u128::from(!plan.serve(line)) << index;
            }
        }
        if short == 0 { Ok(plan.parts) } else { Err(Refusal::OutOfStock { lines: short }) }
    }

    /// What each line could have at most if it were alone, for the lines that `lines` asked together cannot be served for:
    /// pairs of a line's index and units. A read for whoever explains a refusal; names are taken to be known.
    #[must_use]
    pub fn shortage(&self, now: Timestamp, lines: &Lines) -> Vec<(usize, u64)> {
        let Err(refusal @ Refusal::OutOfStock { .. }) = self.plan(now, lines, None) else {
            return Vec::new();
        };
        let Ok(wanted) = self.resolve(lines) else { return Vec::new() };
        let plan = Plan { stock: self, now, parts: Vec::new() };
        let most = |line: &Wanted| plan.candidates(line).map(|item| plan.room(item)).sum();
        refusal.short_lines().map(|index| (index, most(&wanted[index]))).collect()
    }

    /// Looks up every SKU, then every location.
    pub(super) fn resolve(&self, lines: &Lines) -> Result<Vec<Wanted>, Refusal> {
        let lines = lines.as_slice();
        let mut wanted = Vec::with_capacity(lines.len());
        for line in lines {
            wanted.push(self.resolve_sku(line)?);
        }
        for (line, wanted) in lines.iter().zip(&mut wanted) {
            *wanted = self.resolve_location(line, *wanted)?;
        }
        Ok(wanted)
    }

    fn resolve_sku(&self, line: &Line) -> Result<Wanted, Refusal> {
        let sku = self.skus.find(line.sku.as_str()).ok_or(Refusal::SkuNotFound)?;
        Ok(Wanted { sku, item: None, quantity: line.quantity })
    }

    fn resolve_location(&self, line: &Line, wanted: Wanted) -> Result<Wanted, Refusal> {
        let Some(location) = &line.location else { return Ok(wanted) };
        let item = self.item_of(wanted.sku, location).ok_or(Refusal::LocationNotFound)?;
        Ok(Wanted { item: Some(item), ..wanted })
    }

    fn item_of(&self, sku: u32, location: &LocationId) -> Option<ItemNo> {
        self.item_at(sku, *self.locations_by_id.get(location)?)
    }

    fn check_purchase_limits(&self, wanted: &[Wanted], member: Option<&MemberId>) -> Result<(), Refusal> {
        for line in wanted {
            let Some(limit) = self.limit(line.sku) else { continue };
            let same = wanted.iter().filter(|other| other.sku == line.sku);
            let asked: u64 = same.map(|other| u64::from(other.quantity)).sum();
            if asked > limit.room(member.map(MemberId::as_str)) {
                return Err(Refusal::PurchaseLimit);
            }
        }
        Ok(())
    }

    /// Where the goods of `wanted` go back to, of a reservation of `parts`.
    pub(super) fn plan_return(
        &self,
        wanted: &[Wanted],
        parts: &[Part],
    ) -> Result<Vec<ReturnedPart>, Refusal> {
        let mut back: Vec<_> =
            parts.iter().map(|part| ReturnedPart { item: part.item, quantity: 0 }).collect();
        for located in [true, false] {
            for line in wanted.iter().filter(|line| line.item.is_some() == located) {
                let mut left = line.quantity;
                for (part, back) in parts.iter().zip(&mut back) {
                    let is_meant = match line.item {
                        Some(item) => item == part.item,
                        None => self.items[part.item.get() as usize - 1].sku == line.sku,
                    };
                    if is_meant {
                        let take = left.min(part.quantity() - part.returned - back.quantity);
                        back.quantity += take;
                        left -= take;
                    }
                }
                if left > 0 {
                    return Err(Refusal::ReturnTooMuch);
                }
            }
        }
        back.retain(|part| part.quantity > 0);
        Ok(back)
    }
}

/// A reservation while it is put together.
struct Plan<'a> {
    stock: &'a Stock,
    now: Timestamp,
    parts: Vec<ReservedPart>,
}

impl Plan<'_> {
    /// Takes what `line` asks for, or nothing. Whether there was enough.
    fn serve(&mut self, line: &Wanted) -> bool {
        // The usual case in one step: one location, which has it.
        let first = line.item.unwrap_or(ItemNo::new(self.stock.skus.value(line.sku).first));
        if self.holdable(first) >= line.quantity {
            return self.take(first, line.quantity, 0);
        }
        let wanted = u64::from(line.quantity);
        let mut room = 0;
        if !self.candidates(line).any(|item| {
            room += self.room(item);
            room >= wanted
        }) {
            return false;
        }
        let stock = self.stock;
        let candidates = || line.item.into_iter().chain(stock.chain_unless(line.item, line.sku));
        let mut left = line.quantity;
        for item in candidates() {
            let held = left.min(self.holdable(item));
            left -= held;
            if held > 0 && !self.take(item, held, 0) {
                return false;
            }
            if left == 0 {
                return true;
            }
        }
        for item in candidates() {
            let promised = left.min(self.promisable(item));
            left -= promised;
            if promised > 0 && !self.take(item, 0, promised) {
                return false;
            }
            if left == 0 {
                return true;
            }
        }
        left == 0
    }

    fn candidates(&self, line: &Wanted) -> impl Iterator<Item = ItemNo> {
        line.item.into_iter().chain(self.stock.chain_unless(line.item, line.sku))
    }

    /// Adds units to the part of `item`. Whether there was room for one more part.
    fn take(&mut self, item: ItemNo, held: u32, promised: u32) -> bool {
        match self.parts.binary_search_by_key(&item, |part| part.item) {
            Ok(place) => {
                self.parts[place].held += held;
                self.parts[place].promised += promised;
            }
            Err(_) if self.parts.len() == limits::RESERVATION_PARTS_MAX => return false,
            Err(place) => self.parts.insert(place, ReservedPart { item, held, promised }),
        }
        true
    }

    fn taken(&self, item: ItemNo) -> (u32, u32) {
        let place = self.parts.binary_search_by_key(&item, |part| part.item);
        place.map_or((0, 0), |place| (self.parts[place].held, self.parts[place].promised))
    }

    fn holdable(&self, item: ItemNo) -> u32 {
        self.stock.level(item).available() - self.taken(item).0
    }

    fn promisable(&self, item: ItemNo) -> u32 {
        self.stock.level(item).promisable(self.now) - self.taken(item).1
    }

    fn room(&self, item: ItemNo) -> u64 {
        u64::from(self.holdable(item)) + u64::from(self.promisable(item))
    }
}

impl Stock {
    /// The items of the SKU at `place`, unless one item is `named`.
    fn chain_unless(&self, named: Option<ItemNo>, place: u32) -> impl Iterator<Item = ItemNo> {
        named.is_none().then(|| self.chain(place)).into_iter().flatten()
    }
}
