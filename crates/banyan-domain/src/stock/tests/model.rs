//! The stock rules once more, written from the design alone and as plainly as can be: lists, nothing counted ahead, and a
//! walk over all of them at every question. Slow, and hard to get wrong. What it answers, the real rules must answer.

use crate::stock::{
    Command, Configuration, ImportAnswer, ItemAnswer, Line, Lines, Outcome, Refusal, ReservationAnswer,
    ReservationState, ReservedPart,
};
use crate::{ItemNo, ReservationNo, Timestamp, limits};
use std::collections::{BTreeMap, BTreeSet};

/// What was answered, and whether anything was done.
pub(super) type Said = Result<(Outcome, bool), Refusal>;

#[derive(Default)]
pub(super) struct Model {
    now: u64,
    locations: Vec<String>,
    items: Vec<Item>,
    reservations: Vec<Reservation>,
    /// Per SKU: the limit, and how many reservations there were when it was set.
    limits: BTreeMap<String, (u64, usize)>,
}

struct Item {
    sku: String,
    location: usize,
    on_hand: u64,
    owed: u64,
    safety: u64,
    backorder: u64,
    preorder: u64,
    release: Option<u64>,
}

struct Reservation {
    state: ReservationState,
    at: u64,
    member: Option<String>,
    /// Item, held, promised, returned.
    parts: Vec<(usize, u64, u64, u64)>,
}

fn plus(at: u64, span: u64) -> u64 {
    at.saturating_add(span).min(limits::TIMESTAMP_MILLIS_MAX)
}

impl Model {
    /// Time passes: everything whose time has come happens, the earliest first.
    pub(super) fn tick(&mut self, now: u64) {
        self.now = now;
        loop {
            let live = self.reservations.iter().enumerate();
            let due = live.filter(|(_, r)| r.state == ReservationState::Held && r.at <= now);
            let Some((index, _)) = due.min_by_key(|(index, r)| (r.at, *index)) else { return };
            self.end(index, ReservationState::Expired);
        }
    }

    /// On hand, held, promised and owed units of every item.
    pub(super) fn levels(&self) -> Vec<[u64; 4]> {
        let level = |(i, item): (usize, &Item)| [item.on_hand, self.held(i), self.promised(i), item.owed];
        self.items.iter().enumerate().map(level).collect()
    }

    /// Units that `member` has of `sku`.
    pub(super) fn bought(&self, sku: &str, member: &str) -> u64 {
        let Some((_, from)) = self.limits.get(sku) else { return 0 };
        let counted = self.reservations.iter().skip(*from).filter(|r| {
            r.member.as_deref() == Some(member)
                && matches!(r.state, ReservationState::Held | ReservationState::Committed)
        });
        let parts = counted.flat_map(|r| &r.parts).filter(|part| self.items[part.0].sku == sku);
        parts.map(|(_, held, promised, returned)| held + promised - returned).sum()
    }

    fn live(&self, item: usize) -> impl Iterator<Item = &(usize, u64, u64, u64)> {
        let live = self.reservations.iter().filter(|r| r.state == ReservationState::Held);
        live.flat_map(|r| &r.parts).filter(move |part| part.0 == item)
    }

    fn held(&self, item: usize) -> u64 {
        self.live(item).map(|part| part.1).sum()
    }

    fn promised(&self, item: usize) -> u64 {
        self.live(item).map(|part| part.2).sum()
    }

    fn available(&self, item: usize) -> u64 {
        (self.items[item].on_hand - self.held(item)).saturating_sub(self.items[item].safety)
    }

    fn room(&self, item: usize) -> u64 {
        let it = &self.items[item];
        let most = if it.release.is_some_and(|at| self.now < at) { it.preorder } else { it.backorder };
        most.saturating_sub(self.promised(item) + it.owed)
    }

    /// Goods that arrived, or at least what is free, go to those who wait.
    fn serve(&mut self, item: usize, arrived: u64) {
        let mut left = arrived.max(self.available(item));
        let leave = left.min(self.items[item].owed);
        self.items[item].owed -= leave;
        self.items[item].on_hand -= leave;
        left -= leave;
        for reservation in self.reservations.iter_mut().filter(|r| r.state == ReservationState::Held) {
            for part in reservation.parts.iter_mut().filter(|part| part.0 == item) {
                let fill = left.min(part.2);
                part.1 += fill;
                part.2 -= fill;
                left -= fill;
            }
        }
    }

    fn end(&mut self, index: usize, state: ReservationState) {
        self.reservations[index].state = state;
        self.reservations[index].at = self.now;
        for (item, held, promised, _) in self.reservations[index].parts.clone() {
            if state == ReservationState::Committed {
                self.items[item].on_hand -= held;
                self.items[item].owed += promised;
            }
        }
        for (item, ..) in self.reservations[index].parts.clone() {
            self.serve(item, 0);
        }
    }

    fn find(&self, sku: &str, location: &str) -> Option<usize> {
        self.items.iter().position(|item| item.sku == sku && self.locations[item.location] == location)
    }

    fn named(&self, sku: &str, location: &str) -> Result<usize, Refusal> {
        if !self.items.iter().any(|item| item.sku == sku) {
            return Err(Refusal::SkuNotFound);
        }
        self.find(sku, location).ok_or(Refusal::LocationNotFound)
    }

    fn create(&mut self, sku: &str, location: &str) -> usize {
        let place = self.locations.iter().position(|known| known == location).unwrap_or_else(|| {
            self.locations.push(location.into());
            self.locations.len() - 1
        });
        let sku = sku.into();
        let (on_hand, owed, safety, backorder, preorder, release) = (0, 0, 0, 0, 0, None);
        self.items.push(Item { sku, location: place, on_hand, owed, safety, backorder, preorder, release });
        self.items.len() - 1
    }

    fn item(&self, item: usize) -> Outcome {
        let [on_hand, held, promised, owed] = self.levels()[item].map(|units| units as u32);
        Outcome::Item(ItemAnswer { item: ItemNo::new(item as u32 + 1), on_hand, held, promised, owed })
    }

    fn reservation(&self, index: usize) -> Outcome {
        let Reservation { state, at, parts, .. } = &self.reservations[index];
        let part = |&(item, held, promised, _): &(usize, u64, u64, u64)| ReservedPart {
            item: ItemNo::new(item as u32 + 1),
            held: held as u32,
            promised: promised as u32,
        };
        Outcome::Reservation(ReservationAnswer {
            reservation: ReservationNo::new(index as u64 + 1),
            state: *state,
            at: Timestamp::from_millis(*at),
            parts: parts.iter().map(part).collect(),
        })
    }

    fn known(&self, no: ReservationNo) -> Result<usize, Refusal> {
        let index = (no.get() as usize).wrapping_sub(1);
        let reservation = self.reservations.get(index).ok_or(Refusal::ReservationNotFound)?;
        let over = reservation.state != ReservationState::Held
            && reservation.at < self.now
            && plus(reservation.at, limits::RESERVATION_KEPT_MILLIS) <= self.now;
        if over { Err(Refusal::ReservationNotFound) } else { Ok(index) }
    }

    /// Puts `on_hand` goods at an item, if that can be.
    fn count(&mut self, item: usize, on_hand: i128) -> Result<(), Refusal> {
        if on_hand < i128::from(self.held(item)) {
            return Err(Refusal::StockBelowHeld);
        }
        if on_hand > i128::from(limits::ITEM_UNITS_MAX) {
            return Err(Refusal::StockAboveLimit);
        }
        self.items[item].on_hand = on_hand as u64;
        self.serve(item, 0);
        Ok(())
    }

    fn arrives(&self, item: usize, units: u64) -> Result<(), Refusal> {
        let stays = units.saturating_sub(self.items[item].owed);
        if self.items[item].on_hand + stays > u64::from(limits::ITEM_UNITS_MAX) {
            return Err(Refusal::StockAboveLimit);
        }
        Ok(())
    }

    fn arrive(&mut self, item: usize, units: u64) {
        let leave = units.min(self.items[item].owed);
        self.items[item].owed -= leave;
        self.items[item].on_hand += units - leave;
        self.serve(item, units - leave);
    }

    /// Answers `command`.
    pub(super) fn ask(&mut self, command: &Command) -> Said {
        match command {
            Command::SetStock { sku, location, on_hand, .. } => {
                let Some(item) = self.find(sku.as_str(), location.as_str()) else {
                    if *on_hand > limits::ITEM_UNITS_MAX {
                        return Err(Refusal::StockAboveLimit);
                    }
                    let item = self.create(sku.as_str(), location.as_str());
                    self.items[item].on_hand = u64::from(*on_hand);
                    return Ok((self.item(item), true));
                };
                if self.items[item].on_hand == u64::from(*on_hand) {
                    return Ok((self.item(item), false));
                }
                self.count(item, i128::from(*on_hand))?;
                Ok((self.item(item), true))
            }
            Command::Receive { sku, location, quantity, .. } => {
                let item = self.named(sku.as_str(), location.as_str())?;
                self.arrives(item, u64::from(*quantity))?;
                self.arrive(item, u64::from(*quantity));
                Ok((self.item(item), *quantity > 0))
            }
            Command::Adjust { sku, location, by_quantity, .. } => {
                let item = self.named(sku.as_str(), location.as_str())?;
                if *by_quantity != 0 {
                    self.count(item, i128::from(self.items[item].on_hand) + i128::from(*by_quantity))?;
                }
                Ok((self.item(item), *by_quantity != 0))
            }
            Command::Configure { sku, location, change, .. } => {
                let item = self.named(sku.as_str(), location.as_str())?;
                self.configure(item, change)
            }
            Command::ImportStock { rows, .. } => Ok(self.import(rows)),
            Command::Reserve { lines, member, hold_for, .. } => {
                let member = member.as_ref().map(crate::MemberId::as_str);
                let parts = self.plan(lines, member)?;
                let at = plus(self.now, hold_for.get().clamp(1, limits::RESERVATION_MILLIS_MAX));
                let member = member.map(Into::into);
                self.reservations.push(Reservation { state: ReservationState::Held, at, member, parts });
                Ok((self.reservation(self.reservations.len() - 1), true))
            }
            Command::CommitReservation { reservation } => {
                let index = self.known(*reservation)?;
                match self.reservations[index].state {
                    ReservationState::Held if self.reservations[index].at <= self.now => {
                        Err(Refusal::ReservationExpired)
                    }
                    ReservationState::Held => {
                        self.end(index, ReservationState::Committed);
                        Ok((self.reservation(index), true))
                    }
                    ReservationState::Committed => Ok((self.reservation(index), false)),
                    ReservationState::Released => Err(Refusal::ReservationReleased),
                    ReservationState::Expired => Err(Refusal::ReservationExpired),
                }
            }
            Command::ReleaseReservation { reservation } => {
                let index = self.known(*reservation)?;
                let Reservation { state, at, .. } = self.reservations[index];
                match state {
                    ReservationState::Held => {
                        let lapsed = at <= self.now;
                        let to = if lapsed { ReservationState::Expired } else { ReservationState::Released };
                        self.end(index, to);
                        Ok((self.reservation(index), true))
                    }
                    ReservationState::Committed => Err(Refusal::ReservationCommitted),
                    _ => Ok((self.reservation(index), false)),
                }
            }
            Command::Return { reservation, lines, .. } => self.give_back(*reservation, lines),
        }
    }

    fn configure(&mut self, item: usize, change: &Configuration) -> Said {
        let most = change.backorder_max.max(change.preorder_max).unwrap_or(0);
        if most > limits::PROMISED_UNITS_MAX {
            return Err(Refusal::StockAboveLimit);
        }
        let it = &mut self.items[item];
        let before = (it.safety, it.backorder, it.preorder, it.release);
        it.safety = change.safety.map_or(it.safety, u64::from);
        it.backorder = change.backorder_max.map_or(it.backorder, u64::from);
        it.preorder = change.preorder_max.map_or(it.preorder, u64::from);
        it.release = change.released_at.map_or(it.release, |at| at.map(Timestamp::as_millis));
        let mut changed = before != (it.safety, it.backorder, it.preorder, it.release);
        let sku = it.sku.clone();
        self.serve(item, 0);
        if let Some(per) = change.per_member
            && per.map(u64::from) != self.limits.get(&sku).map(|limit| limit.0)
        {
            changed = true;
            match per {
                Some(per) => self.limits.insert(sku, (u64::from(per), self.reservations.len())),
                None => self.limits.remove(&sku),
            };
        }
        Ok((self.item(item), changed))
    }

    fn import(&mut self, rows: &[crate::stock::ImportRow]) -> (Outcome, bool) {
        let mut answer = ImportAnswer { changed: 0, unchanged: 0, refused: 0, refused_rows: Vec::new() };
        let mut seen = BTreeSet::new();
        for (index, row) in rows.iter().enumerate() {
            let (sku, location, on_hand) = (row.sku.as_str(), row.location.as_str(), row.on_hand);
            let again = !seen.insert((sku, location));
            let item = self.find(sku, location);
            let known = item.is_some_and(|item| self.items[item].on_hand == u64::from(on_hand));
            let fits = on_hand <= limits::ITEM_UNITS_MAX
                && item.is_none_or(|item| self.held(item) <= u64::from(on_hand));
            if again || !fits {
                answer.refused += 1;
                answer.refused_rows.push(index as u16);
            } else if known {
                answer.unchanged += 1;
            } else {
                let item = item.unwrap_or_else(|| self.create(sku, location));
                self.count(item, i128::from(on_hand)).expect("it fits");
                answer.changed += 1;
            }
        }
        let is_new = answer.changed + answer.refused > 0;
        (Outcome::Import(answer), is_new)
    }

    /// Items that `line` may take from, in order of their locations.
    fn candidates(&self, line: &Line) -> Vec<usize> {
        let location = line.location.as_ref().map(crate::LocationId::as_str);
        let fits = |i: &usize| {
            let item = &self.items[*i];
            item.sku == line.sku.as_str()
                && location.is_none_or(|place| self.locations[item.location] == place)
        };
        let mut found: Vec<_> = (0..self.items.len()).filter(fits).collect();
        found.sort_by_key(|i| self.items[*i].location);
        found
    }

    fn check_names(&self, lines: &Lines) -> Result<(), Refusal> {
        let known = |line: &Line| self.items.iter().any(|item| item.sku == line.sku.as_str());
        if !lines.as_slice().iter().all(known) {
            return Err(Refusal::SkuNotFound);
        }
        if lines.as_slice().iter().any(|line| self.candidates(line).is_empty()) {
            return Err(Refusal::LocationNotFound);
        }
        Ok(())
    }

    fn plan(&self, lines: &Lines, member: Option<&str>) -> Result<Vec<(usize, u64, u64, u64)>, Refusal> {
        self.check_names(lines)?;
        let lines = lines.as_slice();
        for (sku, (per, _)) in &self.limits {
            let same = lines.iter().filter(|line| line.sku.as_str() == sku);
            let asked: u64 = same.map(|line| u64::from(line.quantity)).sum();
            let had = member.map_or(0, |member| self.bought(sku, member));
            if asked > 0 && had + asked > *per {
                return Err(Refusal::PurchaseLimit);
            }
        }
        let mut taken: BTreeMap<usize, (u64, u64)> = BTreeMap::new();
        let mut short = 0;
        let (located, anywhere): (Vec<_>, Vec<_>) =
            lines.iter().enumerate().partition(|(_, line)| line.location.is_some());
        for (index, line) in located.into_iter().chain(anywhere) {
            let mut attempt = taken.clone();
            let mut left = u64::from(line.quantity);
            for item in self.candidates(line) {
                let part = attempt.entry(item).or_default();
                let take = left.min(self.available(item) - part.0);
                part.0 += take;
                left -= take;
            }
            for item in self.candidates(line) {
                let part = attempt.entry(item).or_default();
                let take = left.min(self.room(item) - part.1);
                part.1 += take;
                left -= take;
            }
            if left > 0 { short |= 1 << index } else { taken = attempt }
        }
        if short > 0 {
            return Err(Refusal::OutOfStock { lines: short });
        }
        taken.retain(|_, (held, promised)| *held + *promised > 0);
        Ok(taken.into_iter().map(|(item, (held, promised))| (item, held, promised, 0)).collect())
    }

    fn give_back(&mut self, no: ReservationNo, lines: &Lines) -> Said {
        self.check_names(lines)?;
        let index = self.known(no)?;
        match self.reservations[index].state {
            ReservationState::Committed => {}
            ReservationState::Released => return Err(Refusal::ReservationReleased),
            ReservationState::Expired => return Err(Refusal::ReservationExpired),
            ReservationState::Held if self.reservations[index].at <= self.now => {
                return Err(Refusal::ReservationExpired);
            }
            ReservationState::Held => return Err(Refusal::ReturnTooMuch),
        }
        let mut parts = self.reservations[index].parts.clone();
        let mut units = 0;
        let (located, anywhere): (Vec<_>, Vec<_>) =
            lines.as_slice().iter().partition(|line| line.location.is_some());
        for line in located.into_iter().chain(anywhere) {
            let candidates = self.candidates(line);
            let mut left = u64::from(line.quantity);
            units += left;
            for part in parts.iter_mut().filter(|part| candidates.contains(&part.0)) {
                let back = left.min(part.1 + part.2 - part.3);
                part.3 += back;
                left -= back;
            }
            if left > 0 {
                return Err(Refusal::ReturnTooMuch);
            }
        }
        let old = self.reservations[index].parts.clone();
        let back: Vec<_> = parts.iter().zip(&old).map(|(new, old)| (new.0, new.3 - old.3)).collect();
        for (item, units) in &back {
            if *units > 0 {
                self.arrives(*item, *units)?;
            }
        }
        self.reservations[index].parts = parts;
        for (item, units) in back {
            self.arrive(item, units);
        }
        Ok((Outcome::Returned { reservation: no, units }, true))
    }
}
