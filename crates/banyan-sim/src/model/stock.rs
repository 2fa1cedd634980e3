//! The auditor's own stock: what is there, what is held, and for whom. The simulated shop promises nothing beyond its stock.

use super::Objection;
use banyan_domain::stock::{
    Event, ItemAnswer, Outcome, Remembered, ReservationAnswer, ReservationState, ReservedPart,
};
use banyan_domain::{ItemNo, LocationId, MemberId, OrderId, ReservationNo, SkuId, Timestamp};

/// Everything that the log says of the stock.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stock {
    pub(crate) items: Vec<Item>,
    pub(crate) reservations: Vec<Reservation>,
}

#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) sku: SkuId,
    pub(crate) location: LocationId,
    pub(crate) on_hand: u32,
    pub(crate) held: u32,
    pub(crate) safety: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct Reservation {
    pub(crate) state: ReservationState,
    /// When it expires, while held; when it ended, after that.
    pub(crate) at: u64,
    pub(crate) parts: Vec<Part>,
    pub(crate) member: Option<MemberId>,
    pub(crate) order: Option<OrderId>,
    /// The event that made it.
    pub(crate) seq: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) item: ItemNo,
    pub(crate) units: u32,
    pub(crate) returned: u32,
}

impl Item {
    pub(crate) const fn available(&self) -> u32 {
        (self.on_hand - self.held).saturating_sub(self.safety)
    }
}

impl Stock {
    /// The item of `sku` at `location`, with its number.
    pub(crate) fn find(&self, sku: &SkuId, location: &LocationId) -> Option<(ItemNo, &Item)> {
        let at = self.items.iter().position(|item| item.sku == *sku && item.location == *location)?;
        Some((ItemNo::new(at as u32 + 1), &self.items[at]))
    }

    pub(crate) fn item(&self, no: ItemNo) -> Option<&Item> {
        self.items.get((no.get() as usize).checked_sub(1)?)
    }

    pub(crate) fn reservation(&self, no: ReservationNo) -> Option<&Reservation> {
        self.reservations.get((no.get() as usize).checked_sub(1)?)
    }

    /// How many reservations hold something.
    pub(crate) fn held(&self) -> usize {
        self.reservations.iter().filter(|found| found.state == ReservationState::Held).count()
    }

    /// What a command about an item is answered with.
    pub(crate) fn item_answer(&self, no: ItemNo) -> Outcome {
        let item = self.item(no).expect("only asked for items that exist");
        let (on_hand, held) = (item.on_hand, item.held);
        Outcome::Item(ItemAnswer { item: no, on_hand, held, promised: 0, owed: 0 })
    }

    /// What a command about a reservation is answered with.
    pub(crate) fn reservation_answer(&self, no: ReservationNo) -> Outcome {
        let found = self.reservation(no).expect("only asked for reservations that exist");
        let part = |part: &Part| ReservedPart { item: part.item, held: part.units, promised: 0 };
        let (state, at) = (found.state, Timestamp::from_millis(found.at));
        let parts = found.parts.iter().map(part).collect();
        Outcome::Reservation(ReservationAnswer { reservation: no, state, at, parts })
    }

    /// What a kept answer says, if it is so.
    pub(crate) fn kept(&self, answer: &Remembered) -> Option<Outcome> {
        match *answer {
            Remembered::Item { item, on_hand, held, promised: 0, owed: 0 } => {
                let found = self.item(item)?;
                (found.on_hand == on_hand && found.held == held).then(|| self.item_answer(item))
            }
            Remembered::Reservation { reservation, state, at } => {
                let found = self.reservation(reservation)?;
                let same = found.state == state && found.at == at.as_millis();
                same.then(|| self.reservation_answer(reservation))
            }
            _ => None,
        }
    }

    /// Takes one event, which is number `seq`.
    pub(crate) fn apply(&mut self, now: u64, seq: u64, event: &Event) -> Result<Outcome, Objection> {
        match event {
            Event::ItemCreated { item, sku, location, .. } => {
                object_unless!(item.get() as usize == self.items.len() + 1, "the item is out of order");
                object_unless!(self.find(sku, location).is_none(), "the item is there already");
                let (sku, location) = (sku.clone(), location.clone());
                self.items.push(Item { sku, location, on_hand: 0, held: 0, safety: 0 });
                Ok(self.item_answer(*item))
            }
            Event::StockSet { item, on_hand, .. } => self.count(*item, |_| Some(*on_hand)),
            Event::GoodsReceived { item, quantity, .. } => {
                self.count(*item, |had| had.checked_add(*quantity))
            }
            Event::StockAdjusted { item, by_quantity, .. } => {
                self.count(*item, |had| u32::try_from(i64::from(had) + by_quantity).ok())
            }
            Event::ItemConfigured { item, safety, backorder_max, preorder_max, .. } => {
                object_unless!((*backorder_max, *preorder_max) == (0, 0), "it lets units be promised");
                self.hot(*item)?.safety = *safety;
                Ok(self.item_answer(*item))
            }
            Event::ReservationMade { reservation, parts, until, member, order, .. } => {
                let next = self.reservations.len() as u64 + 1;
                object_unless!(reservation.get() == next, "the reservation is out of order");
                object_unless!(until.as_millis() > now, "the reservation ends before it begins");
                object_unless!(!parts.is_empty(), "it reserves nothing");
                for part in parts {
                    object_unless!(part.promised == 0, "it promises what is not there");
                    let item = self.hot(part.item)?;
                    let available = item.available();
                    object_unless!(part.held > 0 && part.held <= available, "{available} are available");
                    item.held += part.held;
                }
                let part = |part: &ReservedPart| Part { item: part.item, units: part.held, returned: 0 };
                self.reservations.push(Reservation {
                    state: ReservationState::Held,
                    at: until.as_millis(),
                    parts: parts.iter().map(part).collect(),
                    member: member.clone(),
                    order: order.clone(),
                    seq,
                });
                Ok(self.reservation_answer(*reservation))
            }
            Event::ReservationCommitted { reservation } => {
                self.end(now, *reservation, ReservationState::Committed)
            }
            Event::ReservationReleased { reservation } => {
                self.end(now, *reservation, ReservationState::Released)
            }
            Event::ReservationExpired { reservation } => {
                self.end(now, *reservation, ReservationState::Expired)
            }
            Event::GoodsReturned { reservation, parts, .. } => {
                let found = self.reservation(*reservation).ok_or("there is no such reservation")?;
                object_unless!(found.state == ReservationState::Committed, "it was not sold");
                let mut units = 0;
                for back in parts {
                    let at = reservation.get() as usize - 1;
                    let sold = self.reservations[at].parts.iter_mut().find(|part| part.item == back.item);
                    let sold = sold.ok_or("it brings back what was not sold")?;
                    sold.returned += back.quantity;
                    object_unless!(sold.returned <= sold.units, "more comes back than was sold");
                    self.hot(back.item)?.on_hand += back.quantity;
                    units += u64::from(back.quantity);
                }
                Ok(Outcome::Returned { reservation: *reservation, units })
            }
            Event::PurchaseLimitSet { .. } | Event::StockImported { .. } => {
                Err("nobody asked for a purchase limit or an import".into())
            }
        }
    }

    /// What time must have brought about by `now`, and has not.
    pub(crate) fn overdue(&self, now: u64) -> Result<(), Objection> {
        for (no, found) in (1..).zip(&self.reservations) {
            let over = found.state == ReservationState::Held && found.at <= now;
            object_unless!(!over, "reservation {no} should have expired by {now}");
        }
        // What is held is held by somebody.
        for (no, item) in (1..).map(ItemNo::new).zip(&self.items) {
            let live = self.reservations.iter().filter(|found| found.state == ReservationState::Held);
            let parts = live.flat_map(|found| &found.parts).filter(|part| part.item == no);
            let held: u32 = parts.map(|part| part.units).sum();
            object_unless!(held == item.held && held <= item.on_hand, "of {item:?}, {held} are held");
        }
        Ok(())
    }

    fn hot(&mut self, no: ItemNo) -> Result<&mut Item, Objection> {
        let item = (no.get() as usize).checked_sub(1).and_then(|at| self.items.get_mut(at));
        item.ok_or_else(|| "there is no such item".into())
    }

    fn count(&mut self, no: ItemNo, change: impl Fn(u32) -> Option<u32>) -> Result<Outcome, Objection> {
        let item = self.hot(no)?;
        let on_hand = change(item.on_hand).ok_or("the units on hand are no number")?;
        object_unless!(on_hand >= item.held, "fewer are on hand than the {} held", item.held);
        item.on_hand = on_hand;
        Ok(self.item_answer(no))
    }

    fn end(&mut self, now: u64, no: ReservationNo, state: ReservationState) -> Result<Outcome, Objection> {
        let found = (no.get() as usize).checked_sub(1).and_then(|at| self.reservations.get_mut(at));
        let found = found.ok_or("there is no such reservation")?;
        object_unless!(
            found.state == ReservationState::Held,
            "the reservation has ended as {:?}",
            found.state
        );
        let over = found.at <= now;
        object_unless!(
            over == (state == ReservationState::Expired),
            "its deadline is {}, now is {now}",
            found.at
        );
        (found.state, found.at) = (state, now);
        for part in found.parts.clone() {
            let item = self.hot(part.item)?;
            item.held -= part.units;
            if state == ReservationState::Committed {
                item.on_hand -= part.units;
            }
        }
        Ok(self.reservation_answer(no))
    }
}
