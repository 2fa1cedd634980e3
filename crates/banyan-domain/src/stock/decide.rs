//! The rules. Pure: the caller supplies the time and stores the events.

use super::command::{Command, Configuration, Decision, Lines, Outcome};
use super::event::Event;
use super::rows::{Level, ReservationState, Row};
use super::{Refusal, Stock};
use crate::limits;
use crate::{
    Actor, Holder, ItemNo, LocationId, MemberId, Millis, OrderId, Reason, ReservationNo, SkuId, Timestamp,
};

impl Stock {
    /// Decides one command at `now`. Checks run in the order of [`Refusal`].
    ///
    /// # Errors
    /// A [`Refusal`]: a business no.
    pub fn decide(&self, now: Timestamp, command: Command) -> Result<Decision, Refusal> {
        match command {
            Command::Reserve { lines, member, order, holder, hold_for } => {
                self.reserve(now, &lines, member, order, holder, hold_for)
            }
            Command::CommitReservation { reservation } => self.commit(now, reservation),
            Command::ReleaseReservation { reservation } => self.release(now, reservation),
            Command::Return { reservation, lines, by, reason } => {
                self.give_back(now, reservation, &lines, by, reason)
            }
            Command::SetStock { sku, location, on_hand, by, reason } => {
                self.set_stock(sku, location, on_hand, by, reason)
            }
            Command::Receive { sku, location, quantity, by, reason } => {
                let item = self.named(&sku, &location)?;
                if quantity == 0 {
                    return Ok(self.item_as_it_is(item));
                }
                check_arrival(self.level(item), quantity)?;
                Ok(Decision::One(Event::GoodsReceived { item, quantity, by, reason }))
            }
            Command::Adjust { sku, location, by_quantity, by, reason } => {
                let item = self.named(&sku, &location)?;
                if by_quantity == 0 {
                    return Ok(self.item_as_it_is(item));
                }
                adjusted(self.level(item), by_quantity)?;
                Ok(Decision::One(Event::StockAdjusted { item, by_quantity, by, reason }))
            }
            Command::Configure { sku, location, change, by } => self.configure(&sku, &location, &change, &by),
            Command::ImportStock { rows, by } => self.import(&rows, by),
        }
    }

    /// What is due at `now`, as events; at most `events_max`, and the rest at the next call once these are applied.
    #[must_use]
    pub fn due(&self, now: Timestamp, events_max: usize) -> Vec<Event> {
        let due = self.deadlines.iter().take_while(|(at, _)| *at <= now).take(events_max);
        due.map(|&(_, reservation)| Event::ReservationExpired { reservation }).collect()
    }

    fn reserve(
        &self,
        now: Timestamp,
        lines: &Lines,
        member: Option<MemberId>,
        order: Option<OrderId>,
        holder: Holder,
        hold_for: Millis,
    ) -> Result<Decision, Refusal> {
        let parts = self.plan(now, lines, member.as_ref())?;
        if !self.has_room() {
            return Err(Refusal::TooManyReservations);
        }
        let hold_for = Millis::new(hold_for.get().clamp(1, limits::RESERVATION_MILLIS_MAX));
        let reservation = self.reservations.next();
        Ok(Decision::One(Event::ReservationMade {
            reservation,
            parts,
            until: now.plus(hold_for),
            member,
            order,
            holder,
        }))
    }

    fn commit(&self, now: Timestamp, reservation: ReservationNo) -> Result<Decision, Refusal> {
        let row = self.row(now, reservation).ok_or(Refusal::ReservationNotFound)?;
        match row.state {
            ReservationState::Held if is_due(row, now) => Err(Refusal::ReservationExpired),
            ReservationState::Held => Ok(Decision::One(Event::ReservationCommitted { reservation })),
            ReservationState::Committed => Ok(as_it_is(reservation, row)),
            ReservationState::Released => Err(Refusal::ReservationReleased),
            ReservationState::Expired => Err(Refusal::ReservationExpired),
        }
    }

    fn release(&self, now: Timestamp, reservation: ReservationNo) -> Result<Decision, Refusal> {
        let row = self.row(now, reservation).ok_or(Refusal::ReservationNotFound)?;
        match row.state {
            // Its time has come, even if that has not become an event yet: it becomes one now.
            ReservationState::Held if is_due(row, now) => {
                Ok(Decision::One(Event::ReservationExpired { reservation }))
            }
            ReservationState::Held => Ok(Decision::One(Event::ReservationReleased { reservation })),
            ReservationState::Committed => Err(Refusal::ReservationCommitted),
            // Not held any more: either way the caller has what it asked for.
            ReservationState::Released | ReservationState::Expired => Ok(as_it_is(reservation, row)),
        }
    }

    fn give_back(
        &self,
        now: Timestamp,
        reservation: ReservationNo,
        lines: &Lines,
        by: Actor,
        reason: Reason,
    ) -> Result<Decision, Refusal> {
        let wanted = self.resolve(lines)?;
        let row = self.row(now, reservation).ok_or(Refusal::ReservationNotFound)?;
        match row.state {
            ReservationState::Committed => {}
            ReservationState::Released => return Err(Refusal::ReservationReleased),
            ReservationState::Expired => return Err(Refusal::ReservationExpired),
            ReservationState::Held if is_due(row, now) => return Err(Refusal::ReservationExpired),
            // Nothing of it was committed so far.
            ReservationState::Held => return Err(Refusal::ReturnTooMuch),
        }
        let parts = self.plan_return(&wanted, row.parts.as_slice())?;
        for part in &parts {
            check_arrival(self.level(part.item), part.quantity)?;
        }
        Ok(Decision::One(Event::GoodsReturned { reservation, parts, by, reason }))
    }

    fn set_stock(
        &self,
        sku: SkuId,
        location: LocationId,
        on_hand: u32,
        by: Actor,
        reason: Reason,
    ) -> Result<Decision, Refusal> {
        let Some(item) = self.find(&sku, &location) else {
            let no_place = !self.locations_by_id.contains_key(&location)
                && self.locations.len() >= limits::LOCATIONS_MAX;
            if no_place || self.items.len() >= limits::ITEMS_MAX as usize {
                return Err(Refusal::TooManySkus);
            }
            if on_hand > limits::ITEM_UNITS_MAX {
                return Err(Refusal::StockAboveLimit);
            }
            let item = ItemNo::new(self.items.len() as u32 + 1);
            return Ok(Decision::Many(vec![
                Event::ItemCreated { item, sku, location, by: by.clone() },
                Event::StockSet { item, on_hand, by, reason },
            ]));
        };
        let level = self.level(item);
        if level.on_hand == on_hand {
            return Ok(self.item_as_it_is(item));
        }
        check_on_hand(level, on_hand)?;
        Ok(Decision::One(Event::StockSet { item, on_hand, by, reason }))
    }

    fn configure(
        &self,
        sku: &SkuId,
        location: &LocationId,
        change: &Configuration,
        by: &Actor,
    ) -> Result<Decision, Refusal> {
        let item = self.named(sku, location)?;
        let level = self.level(item);
        let new = Level {
            safety: change.safety.unwrap_or(level.safety),
            backorder_max: change.backorder_max.unwrap_or(level.backorder_max),
            preorder_max: change.preorder_max.unwrap_or(level.preorder_max),
            released_at: change.released_at.unwrap_or(level.released_at),
            ..*level
        };
        if new.backorder_max.max(new.preorder_max) > limits::PROMISED_UNITS_MAX {
            return Err(Refusal::StockAboveLimit);
        }
        let mut events = Vec::new();
        if new != *level {
            let Level { safety, backorder_max, preorder_max, released_at, .. } = new;
            let by = by.clone();
            events.push(Event::ItemConfigured { item, safety, backorder_max, preorder_max, released_at, by });
        }
        if let Some(per_member) = change.per_member.filter(|limit| *limit != self.per_member(sku)) {
            events.push(Event::PurchaseLimitSet { item, per_member, by: by.clone() });
        }
        if events.is_empty() { Ok(self.item_as_it_is(item)) } else { Ok(Decision::Many(events)) }
    }

    fn named(&self, sku: &SkuId, location: &LocationId) -> Result<ItemNo, Refusal> {
        let sku = self.skus.find(sku.as_str()).ok_or(Refusal::SkuNotFound)?;
        let location = *self.locations_by_id.get(location).ok_or(Refusal::LocationNotFound)?;
        self.item_at(sku, location).ok_or(Refusal::LocationNotFound)
    }

    fn item_as_it_is(&self, item: ItemNo) -> Decision {
        let answer = self.item_answer(item);
        Decision::AsItIs(Outcome::Item(answer), answer.remembered())
    }
}

fn as_it_is(reservation: ReservationNo, row: &Row) -> Decision {
    let answer = super::answer::current(reservation, row);
    let remembered = answer.remembered();
    Decision::AsItIs(Outcome::Reservation(answer), remembered)
}

/// Whether a live reservation's deadline has passed, even if that has not become an event yet.
fn is_due(row: &Row, now: Timestamp) -> bool {
    row.at <= now
}

/// Whether a count of `on_hand` can stand.
pub(super) fn check_on_hand(level: &Level, on_hand: u32) -> Result<(), Refusal> {
    if on_hand < level.held {
        return Err(Refusal::StockBelowHeld);
    }
    if on_hand > limits::ITEM_UNITS_MAX {
        return Err(Refusal::StockAboveLimit);
    }
    Ok(())
}

/// The units on hand after a correction by `by_quantity`.
pub(super) fn adjusted(level: &Level, by_quantity: i64) -> Result<u32, Refusal> {
    let new = i64::from(level.on_hand).saturating_add(by_quantity);
    if new < i64::from(level.held) {
        return Err(Refusal::StockBelowHeld);
    }
    let new = u32::try_from(new).map_err(|_| Refusal::StockAboveLimit)?;
    check_on_hand(level, new)?;
    Ok(new)
}

/// Whether `quantity` units more can be counted: what is owed leaves at once.
pub(super) fn check_arrival(level: &Level, quantity: u32) -> Result<(), Refusal> {
    let stays = u64::from(quantity - quantity.min(level.owed));
    if u64::from(level.on_hand) + stays > u64::from(limits::ITEM_UNITS_MAX) {
        return Err(Refusal::StockAboveLimit);
    }
    Ok(())
}
