//! The auditor's page for stock: units on hand and held, and every reservation, counted from the events alone.

use super::{Findings, Kind};
use banyan_domain::stock::{Event, ReservedPart};
use std::collections::BTreeMap;

/// Everything about stock.
#[derive(Default)]
pub(crate) struct Goods {
    items: BTreeMap<u32, Item>,
    reservations: BTreeMap<u64, Reservation>,
    /// Reservations of orders of this store.
    by_order: BTreeMap<Box<str>, Vec<u64>>,
}

/// One SKU at one place.
#[derive(Default)]
struct Item {
    on_hand: i64,
    held: i64,
    /// Sold beyond its stock at some time: which reservation arriving goods go to is the rules' business, and is not counted here.
    is_promised: bool,
}

/// One reservation.
pub(crate) struct Reservation {
    pub(crate) order: Option<Box<str>>,
    pub(crate) state: State,
    /// Units that were reserved.
    pub(crate) units: u64,
    parts: Vec<(u32, i64)>,
    until: u64,
    returned: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Held,
    Committed,
    Released,
    Expired,
}

impl Goods {
    /// Follows one event at `time`, in milliseconds.
    pub(crate) fn follow(&mut self, seq: u64, time: u64, event: &Event, findings: &mut Findings) {
        match event {
            Event::ItemCreated { item, .. } => drop(self.items.entry(item.get()).or_default()),
            Event::StockSet { item, on_hand, .. } => self.set(seq, item.get(), *on_hand, findings),
            Event::GoodsReceived { item, quantity, .. } => {
                self.change(seq, item.get(), i64::from(*quantity), 0, findings);
            }
            Event::StockAdjusted { item, by_quantity, .. } => {
                self.change(seq, item.get(), *by_quantity, 0, findings);
            }
            Event::StockImported { new, set, .. } => {
                for row in new {
                    let next = self.items.last_key_value().map_or(0, |(no, _)| *no) + 1;
                    self.items.insert(next, Item { on_hand: i64::from(row.on_hand), ..Item::default() });
                }
                for row in set {
                    self.set(seq, row.item.get(), row.on_hand, findings);
                }
            }
            Event::ItemConfigured { .. } | Event::PurchaseLimitSet { .. } => {}
            Event::ReservationMade { reservation, parts, until, order, .. } => {
                let order = order.as_ref().map(|order| order.as_str().into());
                self.reserve(seq, reservation.get(), parts, until.as_millis(), order, findings);
            }
            Event::ReservationCommitted { reservation } => {
                let why = |held: &Reservation| (held.until <= time).then_some("sold past its deadline");
                self.end(seq, reservation.get(), State::Committed, why, findings);
            }
            Event::ReservationReleased { reservation } => {
                self.end(seq, reservation.get(), State::Released, |_| None, findings);
            }
            Event::ReservationExpired { reservation } => {
                let why = |held: &Reservation| (held.until > time).then_some("expired before its deadline");
                self.end(seq, reservation.get(), State::Expired, why, findings);
            }
            Event::GoodsReturned { reservation, parts, .. } => {
                let no = reservation.get();
                let back: u64 = parts.iter().map(|part| u64::from(part.quantity)).sum();
                for part in parts {
                    self.change(seq, part.item.get(), i64::from(part.quantity), 0, findings);
                }
                let fits = self.reservations.get_mut(&no).is_some_and(|reservation| {
                    reservation.returned += back;
                    reservation.state == State::Committed && reservation.returned <= reservation.units
                });
                if !fits {
                    findings.add(seq, Kind::Stock, format!("r-{no}: more came back than was sold"));
                }
            }
        }
    }

    /// A reservation that was made.
    pub(crate) fn reservation(&self, no: u64) -> Option<&Reservation> {
        self.reservations.get(&no)
    }

    /// Whether an order of this store still holds goods, or was sold some.
    pub(crate) fn has_kept(&self, order: &str) -> bool {
        let own = self.by_order.get(order).into_iter().flatten();
        own.filter_map(|no| self.reservations.get(no))
            .any(|one| matches!(one.state, State::Held | State::Committed))
    }

    /// Reservations that still hold something at the end of the log, at `time`, past their deadline.
    pub(crate) fn close(&self, seq: u64, time: u64, may_be_late: bool, findings: &mut Findings) {
        let held = self.reservations.iter().filter(|(_, one)| one.state == State::Held);
        let mut by_item: BTreeMap<u32, i64> = BTreeMap::new();
        for (no, one) in held {
            if one.until <= time && !may_be_late {
                let what = format!("r-{no} holds goods until {} ms, and it is {time} ms", one.until);
                findings.add(seq, Kind::Hold, what);
            }
            for (item, units) in &one.parts {
                *by_item.entry(*item).or_default() += units;
            }
        }
        for (no, item) in self.items.iter().filter(|(_, item)| !item.is_promised) {
            let counted = by_item.get(no).copied().unwrap_or(0);
            if item.held != counted {
                let what = format!("item {no}: {} held, its reservations hold {counted}", item.held);
                findings.add(seq, Kind::Stock, what);
            }
        }
    }

    fn reserve(
        &mut self,
        seq: u64,
        no: u64,
        parts: &[ReservedPart],
        until: u64,
        order: Option<Box<str>>,
        findings: &mut Findings,
    ) {
        for part in parts {
            if part.promised > 0 {
                self.items.entry(part.item.get()).or_default().is_promised = true;
            }
            self.change(seq, part.item.get(), 0, i64::from(part.held), findings);
        }
        if let Some(own) = order.as_ref().filter(|order| order.starts_with("o-")) {
            self.by_order.entry(own.clone()).or_default().push(no);
        }
        let units = parts.iter().map(|part| u64::from(part.held) + u64::from(part.promised)).sum();
        let parts = parts.iter().map(|part| (part.item.get(), i64::from(part.held))).collect();
        let made = Reservation { order, state: State::Held, units, parts, until, returned: 0 };
        if self.reservations.insert(no, made).is_some() {
            findings.add(seq, Kind::Stock, format!("r-{no} was made twice"));
        }
    }

    fn end(
        &mut self,
        seq: u64,
        no: u64,
        to: State,
        why: impl Fn(&Reservation) -> Option<&'static str>,
        findings: &mut Findings,
    ) {
        let Some(held) = self.reservations.get_mut(&no).filter(|one| one.state == State::Held) else {
            findings.add(seq, Kind::Stock, format!("r-{no} ended, and nothing was held"));
            return;
        };
        held.state = to;
        let (parts, wrong) = (held.parts.clone(), why(held));
        if let Some(wrong) = wrong {
            findings.add(seq, Kind::Hold, format!("r-{no} was {wrong}"));
        }
        for (item, units) in parts {
            let leaving = if to == State::Committed { -units } else { 0 };
            self.change(seq, item, leaving, -units, findings);
        }
    }

    fn set(&mut self, seq: u64, item: u32, on_hand: u32, findings: &mut Findings) {
        let before = self.items.entry(item).or_default().on_hand;
        self.change(seq, item, i64::from(on_hand) - before, 0, findings);
    }

    /// On hand = available + held: what is held is never more than what is there.
    fn change(&mut self, seq: u64, item: u32, on_hand: i64, held: i64, findings: &mut Findings) {
        let row = self.items.entry(item).or_default();
        row.on_hand += on_hand;
        row.held += held;
        if !row.is_promised && (row.held < 0 || row.held > row.on_hand) {
            let what = format!("item {item}: {} on hand, of these {} held", row.on_hand, row.held);
            findings.add(seq, Kind::Stock, what);
        }
    }
}
