//! The auditor's own book of goods: what is where, who has reserved it, and who waits for more.

use super::{Findings, Fingerprint, Followed, Kind, ensure, fingerprint};
use banyan_domain::stock::{Event, ReservedPart, ReturnedPart};
use banyan_domain::{ItemNo, ReservationNo, Timestamp};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Longest life of a reservation, milliseconds.
const RESERVATION_MILLIS_MAX: u64 = 7 * 24 * 3_600 * 1_000;
/// How long after its commit goods of a reservation may come back, milliseconds.
const RETURN_MILLIS_MAX: u64 = 28 * 3_600 * 1_000;

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct StockSummary {
    pub items: usize,
    pub on_hand: i64,
    pub held: i64,
    pub reservations: u64,
    pub live: usize,
    pub committed: u64,
    pub released: u64,
    pub expired: u64,
}

/// Items and reservations.
#[derive(Default)]
pub(crate) struct StockBook {
    items: Vec<Item>,
    places: BTreeMap<(Box<str>, Box<str>), u32>,
    skus: BTreeMap<Box<str>, u32>,
    /// The SKUs' names, by their numbers.
    names: Vec<Box<str>>,
    limits: BTreeMap<u32, Limit>,
    /// Live ones, and those committed not too long ago.
    reservations: BTreeMap<u64, Reservation>,
    committed_at: VecDeque<(u64, u64)>,
    /// Live reservations that wait for an item, in the order in which they get it.
    waiting: BTreeSet<(u32, u64)>,
    summary: StockSummary,
}

/// The numbers of an item, units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Item {
    sku: u32,
    pub on_hand: i64,
    pub held: i64,
    pub promised: i64,
    pub owed: i64,
    safety: i64,
    backorder_max: i64,
    preorder_max: i64,
    released_at: Option<u64>,
}

/// What a reservation was like that ends.
pub(crate) struct Ending {
    /// Its deadline, milliseconds.
    pub until: u64,
    /// What it draws on.
    pub items: Vec<u32>,
}

struct Limit {
    per_member: i64,
    /// Reservations from this number on count.
    from: u64,
    units: BTreeMap<Fingerprint, i64>,
}

struct Reservation {
    until: u64,
    live: bool,
    member: Option<Fingerprint>,
    parts: Vec<Part>,
}

#[derive(Clone, Copy)]
struct Part {
    item: u32,
    held: i64,
    promised: i64,
    returned: i64,
}

impl Reservation {
    fn items(&self) -> Vec<u32> {
        self.parts.iter().map(|part| part.item).collect()
    }
}

impl Item {
    fn available(&self) -> i64 {
        (self.on_hand - self.held - self.safety).max(0)
    }

    fn promisable(&self, time: u64) -> i64 {
        let early = self.released_at.is_some_and(|release| time < release);
        (if early { self.preorder_max } else { self.backorder_max }) - self.promised - self.owed
    }

    fn check(&self, item: u32) -> Followed {
        let Self { on_hand, held, promised, owed, .. } = *self;
        ensure(0 <= held && held <= on_hand && promised >= 0 && owed >= 0, Kind::Stock, || {
            format!("item {item} has {on_hand} on hand, {held} held, {promised} promised, {owed} owed")
        })
    }
}

fn unknown(item: u32) -> (Kind, String) {
    (Kind::Stock, format!("item {item} was never created"))
}

impl StockBook {
    /// Follows one event at `time`. `waits` is whether the reservation that it ends may be held beyond its deadline.
    pub(crate) fn follow(&mut self, time: u64, event: &Event, waits: bool) -> Followed {
        self.forget(time);
        match event {
            Event::ItemCreated { item, sku, location, .. } => {
                let right = item.get() as usize == self.items.len() + 1;
                self.create(sku.as_str(), location.as_str(), 0)?;
                ensure(right, Kind::Stock, || format!("item {} is the {}.", item.get(), self.items.len()))
            }
            Event::StockSet { item, on_hand, .. } => self.set(*item, |_| i64::from(*on_hand)),
            Event::StockAdjusted { item, by_quantity, .. } => self.set(*item, |old| old + by_quantity),
            Event::GoodsReceived { item, quantity, .. } => self.arrive(item.get(), i64::from(*quantity)),
            Event::ItemConfigured { item, safety, backorder_max, preorder_max, released_at, .. } => {
                let row = self.item(item.get())?;
                row.safety = i64::from(*safety);
                row.backorder_max = i64::from(*backorder_max);
                row.preorder_max = i64::from(*preorder_max);
                row.released_at = released_at.map(Timestamp::as_millis);
                self.serve(item.get(), 0)
            }
            Event::PurchaseLimitSet { item, per_member, .. } => {
                let (sku, from) = (self.item(item.get())?.sku, self.summary.reservations + 1);
                self.limits.remove(&sku);
                if let Some(per_member) = per_member {
                    let limit = Limit { per_member: i64::from(*per_member), from, units: BTreeMap::new() };
                    self.limits.insert(sku, limit);
                }
                Ok(())
            }
            Event::StockImported { new, set, .. } => {
                for item in new {
                    self.create(item.sku.as_str(), item.location.as_str(), i64::from(item.on_hand))?;
                }
                set.iter().try_for_each(|count| self.set(count.item, |_| i64::from(count.on_hand)))
            }
            Event::ReservationMade { reservation, parts, until, member, .. } => {
                let member = member.as_ref().map(|member| fingerprint(member.as_str()));
                self.made(time, *reservation, parts, until.as_millis(), member)
            }
            Event::ReservationCommitted { reservation } => {
                self.summary.committed += 1;
                let late = self.end(*reservation, true)? <= time;
                self.committed_at.push_back((time, reservation.get()));
                ensure(!late || waits, Kind::Reservation, || {
                    format!("{reservation} was committed after its deadline")
                })
            }
            Event::ReservationReleased { reservation } => {
                self.summary.released += 1;
                let late = self.end(*reservation, false)? <= time;
                ensure(!late || waits, Kind::Reservation, || {
                    format!("{reservation} was released after its deadline")
                })
            }
            Event::ReservationExpired { reservation } => {
                self.summary.expired += 1;
                let early = self.end(*reservation, false)? > time;
                ensure(!early, Kind::Reservation, || format!("{reservation} expired before its deadline"))
            }
            Event::GoodsReturned { reservation, parts, .. } => self.returned(*reservation, parts),
        }
    }

    /// The live reservation that `event` ends, if it ends one.
    pub(crate) fn ending(&self, event: &Event) -> Option<Ending> {
        let (Event::ReservationCommitted { reservation }
        | Event::ReservationReleased { reservation }
        | Event::ReservationExpired { reservation }) = event
        else {
            return None;
        };
        let row = self.reservations.get(&reservation.get()).filter(|row| row.live)?;
        Some(Ending { until: row.until, items: row.items() })
    }

    /// Whether a reservation still holds goods.
    pub(crate) fn is_held(&self, no: u64) -> bool {
        self.reservations.get(&no).is_some_and(|row| row.live)
    }

    /// What a reservation sold, in units of each SKU, while that is remembered.
    pub(crate) fn sold(&self, no: u64) -> Option<BTreeMap<Box<str>, i64>> {
        let row = self.reservations.get(&no).filter(|row| !row.live)?;
        let mut sold = BTreeMap::new();
        for part in &row.parts {
            let sku = self.names.get(self.level(part.item)?.sku as usize)?;
            *sold.entry(sku.clone()).or_default() += part.held + part.promised;
        }
        Some(sold)
    }

    /// The numbers of an item.
    pub(crate) fn level(&self, item: u32) -> Option<&Item> {
        self.items.get((item as usize).checked_sub(1)?)
    }

    /// How many items there are.
    pub(crate) fn items(&self) -> usize {
        self.items.len()
    }

    /// What was counted.
    pub(crate) fn summary(&self) -> StockSummary {
        StockSummary {
            items: self.items.len(),
            on_hand: self.items.iter().map(|item| item.on_hand).sum(),
            held: self.items.iter().map(|item| item.held).sum(),
            live: self.reservations.values().filter(|row| row.live).count(),
            ..self.summary
        }
    }

    /// Checks what only the whole log shows: the items against the reservations, and that none is past its deadline but those
    /// whose items `may_wait`.
    pub(crate) fn close(
        &self,
        findings: &mut Findings,
        (seq, time): (u64, u64),
        may_be_late: bool,
        may_wait: impl Fn(&[u32]) -> bool,
    ) {
        let mut counted: BTreeMap<u32, (i64, i64)> = BTreeMap::new();
        for (no, row) in self.reservations.iter().filter(|(_, row)| row.live) {
            if row.until <= time && !may_be_late && !may_wait(&row.items()) {
                let what = format!("r-{no} is held until {} ms, and it is {time} ms", row.until);
                findings.add(seq, Kind::Reservation, what);
            }
            for part in &row.parts {
                let (held, promised) = counted.entry(part.item).or_default();
                *held += part.held;
                *promised += part.promised;
            }
        }
        for (no, item) in (1..).zip(&self.items) {
            let (held, promised) = counted.get(&no).copied().unwrap_or_default();
            if (held, promised) != (item.held, item.promised) {
                let what = format!(
                    "item {no} has {} held and {} promised, its reservations {held} and {promised}",
                    item.held, item.promised
                );
                findings.add(seq, Kind::Stock, what);
            }
            let free = item.on_hand - item.held - item.safety;
            if item.promised + item.owed > 0 && free > 0 {
                let what = format!("item {no} has {free} free, and somebody waits for it");
                findings.add(seq, Kind::Stock, what);
            }
        }
    }

    fn create(&mut self, sku: &str, location: &str, on_hand: i64) -> Followed {
        let next = self.skus.len() as u32;
        let sku_no = *self.skus.entry(sku.into()).or_insert(next);
        if sku_no == next {
            self.names.push(sku.into());
        }
        self.items.push(Item { sku: sku_no, on_hand, ..Item::default() });
        let before = self.places.insert((sku.into(), location.into()), self.items.len() as u32);
        ensure(before.is_none(), Kind::Stock, || format!("{sku} at {location} was created twice"))
    }

    fn item(&mut self, item: u32) -> Result<&mut Item, (Kind, String)> {
        let place = (item as usize).checked_sub(1);
        place.and_then(|place| self.items.get_mut(place)).ok_or_else(|| unknown(item))
    }

    fn set(&mut self, item: ItemNo, on_hand: impl FnOnce(i64) -> i64) -> Followed {
        let row = self.item(item.get())?;
        row.on_hand = on_hand(row.on_hand);
        row.check(item.get())?;
        self.serve(item.get(), 0)
    }

    fn arrive(&mut self, item: u32, quantity: i64) -> Followed {
        let row = self.item(item)?;
        let leaves = quantity.min(row.owed);
        row.owed -= leaves;
        row.on_hand += quantity - leaves;
        self.serve(item, quantity - leaves)
    }

    /// Those who are owed, then those who were promised, the oldest first, get what is free, and all of what has arrived.
    fn serve(&mut self, item: u32, arrived: i64) -> Followed {
        let row = self.item(item)?;
        let mut left = arrived.max(row.available());
        let leaves = left.min(row.owed);
        row.owed -= leaves;
        row.on_hand -= leaves;
        left -= leaves;
        while left > 0 && row_promised(&self.items, item) > 0 {
            let Some(&(_, no)) = self.waiting.range((item, 0)..=(item, u64::MAX)).next() else { break };
            let reservation = self.reservations.get_mut(&no);
            let part = reservation.and_then(|row| row.parts.iter_mut().find(|part| part.item == item));
            let Some(part) = part else { break };
            let filled = left.min(part.promised);
            part.promised -= filled;
            part.held += filled;
            if part.promised == 0 {
                self.waiting.remove(&(item, no));
            }
            let row = self.item(item)?;
            row.promised -= filled;
            row.held += filled;
            left -= filled;
        }
        self.item(item)?.check(item)
    }

    fn made(
        &mut self,
        time: u64,
        no: ReservationNo,
        parts: &[ReservedPart],
        until: u64,
        member: Option<Fingerprint>,
    ) -> Followed {
        self.summary.reservations += 1;
        let right = no.get() == self.summary.reservations && !self.reservations.contains_key(&no.get());
        let mut wrong = ensure(right, Kind::Reservation, || {
            format!("{no} is the {}. to be made", self.summary.reservations)
        });
        for part in parts {
            let (held, promised) = (i64::from(part.held), i64::from(part.promised));
            let row = self.item(part.item.get())?;
            let free = row.available();
            let there = held <= free && held + promised > 0;
            let promise = promised == 0 || (held == free && promised <= row.promisable(time));
            row.held += held;
            row.promised += promised;
            let item = part.item.get();
            if promised > 0 {
                self.waiting.insert((item, no.get()));
            }
            wrong = wrong.and(ensure(there && promise, Kind::Reservation, || {
                format!(
                    "{no} takes {held} and {promised} not yet there of item {item}, of which {free} are free"
                )
            }));
        }
        let parts: Vec<Part> = parts.iter().map(part).collect();
        wrong = wrong.and(self.count(&parts, no.get(), member, 1));
        self.reservations.insert(no.get(), Reservation { until, live: true, member, parts });
        wrong?;
        ensure(until >= time && until <= time + RESERVATION_MILLIS_MAX, Kind::Reservation, || {
            format!("{no}, made at {time} ms, lasts until {until} ms")
        })
    }

    /// Ends a live reservation; its deadline.
    fn end(&mut self, no: ReservationNo, sold: bool) -> Result<u64, (Kind, String)> {
        let row = self.reservations.get_mut(&no.get()).filter(|row| row.live);
        let row = row.ok_or_else(|| (Kind::Reservation, format!("{no} ended, and was not live")))?;
        row.live = false;
        let (until, member, parts) = (row.until, row.member, row.parts.clone());
        for part in &parts {
            let item = self.item(part.item)?;
            item.held -= part.held;
            item.promised -= part.promised;
            if sold {
                item.on_hand -= part.held;
                item.owed += part.promised;
            }
            item.check(part.item)?;
            self.waiting.remove(&(part.item, no.get()));
        }
        if !sold {
            self.reservations.remove(&no.get());
            self.count(&parts, no.get(), member, -1)?;
            for part in &parts {
                self.serve(part.item, 0)?;
            }
        }
        Ok(until)
    }

    fn returned(&mut self, no: ReservationNo, back: &[ReturnedPart]) -> Followed {
        let row = self.reservations.get_mut(&no.get()).filter(|row| !row.live);
        let row =
            row.ok_or_else(|| (Kind::Reservation, format!("goods came back of {no}, which was not sold")))?;
        let (member, mut counted, mut fits) = (row.member, Vec::new(), true);
        for ReturnedPart { item, quantity } in back {
            let units = i64::from(*quantity);
            match row.parts.iter_mut().find(|part| part.item == item.get()) {
                Some(part) => {
                    part.returned += units;
                    fits &= part.returned <= part.held + part.promised;
                }
                None => fits = false,
            }
            counted.push(Part { item: item.get(), held: units, promised: 0, returned: 0 });
        }
        self.count(&counted, no.get(), member, -1)?;
        for part in &counted {
            self.arrive(part.item, part.held)?;
        }
        ensure(fits, Kind::Reservation, || format!("more came back of {no} than was sold"))
    }

    /// Counts units for or against the purchase limits, and checks those that grow.
    fn count(&mut self, parts: &[Part], no: u64, member: Option<Fingerprint>, sign: i64) -> Followed {
        let mut units: BTreeMap<u32, i64> = BTreeMap::new();
        for part in parts {
            let sku = self.item(part.item)?.sku;
            *units.entry(sku).or_default() += part.held + part.promised;
        }
        let mut followed = Ok(());
        for (sku, units) in units {
            let Some(limit) = self.limits.get_mut(&sku).filter(|limit| no >= limit.from) else { continue };
            let most = limit.per_member;
            let now = match member {
                Some(member) => {
                    let now = limit.units.entry(member).or_default();
                    *now += sign * units;
                    *now
                }
                None => units,
            };
            if sign > 0 && now > most {
                let what = format!("r-{no} brings a member to {now} units of a SKU limited to {most}");
                followed = Err((Kind::PurchaseLimit, what));
            }
        }
        followed
    }

    fn forget(&mut self, time: u64) {
        while let Some((_, no)) = self.committed_at.pop_front_if(|(at, _)| *at + RETURN_MILLIS_MAX < time) {
            self.reservations.remove(&no);
        }
    }
}

fn row_promised(items: &[Item], item: u32) -> i64 {
    items.get(item as usize - 1).map_or(0, |row| row.promised)
}

fn part(part: &ReservedPart) -> Part {
    Part {
        item: part.item.get(),
        held: i64::from(part.held),
        promised: i64::from(part.promised),
        returned: 0,
    }
}
