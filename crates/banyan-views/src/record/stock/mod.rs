//! Stock: what its events do to the rows.
//!
//! Whom goods that become free go to is not in the events; it follows from them. So these rows follow the same rule: whom
//! the shop owes, then whom it promised, the oldest reservation first (`fill`). The other way would be a new field in the
//! events, which could only help with logs written from then on, would make every event longer for the rare item that
//! somebody waits for, and would leave two sources for one truth. A property test holds this copy of the rule to the
//! state, and `banyan verify` has a third.

mod movements;
mod reader;
mod rows;

pub(super) use movements::Movements;
pub use reader::{
    LineRecord, MovementPage, MovementRecord, ReservationPage, ReservationRecord, StockItemRecord,
};

use super::apply::{Fault, Moment};
use super::rows::ms;
use banyan_domain::stock::{Event, ItemCount, NewItem, ReservationState, ReservedPart, ReturnedPart};
use banyan_domain::{Actor, ItemNo, LocationId, MemberId, OrderId, Reason, ReservationNo, SkuId, Timestamp};
use rows::{Level, Reservation};
use rusqlite::{Connection, Params, params};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Rows that this transaction has touched, written once at its end: a popular item changes with every reservation.
#[derive(Debug, Default)]
pub(super) struct StockRows {
    levels: BTreeMap<u32, Level>,
    reservations: BTreeMap<u64, Reservation>,
    /// Movements written so far and not told of yet.
    noted: u64,
}

/// A movement of goods, apart from the item.
struct Movement<'a> {
    kind: &'static str,
    change: i64,
    filled: i64,
    reservation: Option<ReservationNo>,
    actor: Option<&'a Actor>,
    reason: Option<&'a Reason>,
}

impl Movement<'_> {
    const fn new(kind: &'static str, change: i64) -> Self {
        Self { kind, change, filled: 0, reservation: None, actor: None, reason: None }
    }
}

impl StockRows {
    /// Does what `event` says.
    pub(super) fn apply(&mut self, moment: Moment<'_>, event: &Event) -> Result<(), Fault> {
        match event {
            Event::ItemCreated { item, sku, location, .. } => create(moment, *item, sku, location, 0),
            Event::StockSet { item, on_hand, by, reason } => {
                let level = self.level(moment, *item)?;
                let change = i64::from(*on_hand) - level.on_hand;
                self.move_in(moment, *item, "count", change, by, reason)
            }
            Event::StockAdjusted { item, by_quantity, by, reason } => {
                self.move_in(moment, *item, "adjust", *by_quantity, by, reason)
            }
            Event::GoodsReceived { item, quantity, by, reason } => {
                let (change, filled) =
                    (i64::from(*quantity), self.arrive(moment, *item, i64::from(*quantity))?);
                let how = Movement::new("receive", change);
                self.note(moment, *item, &Movement { filled, actor: Some(by), reason: Some(reason), ..how })
            }
            Event::ItemConfigured { item, safety, backorder_max, preorder_max, released_at, by } => {
                let sql = "UPDATE stock_item SET backorder_max = ?2, preorder_max = ?3, released_at = ?4 WHERE item = ?1";
                let row = params![item.get(), backorder_max, preorder_max, released_at.map(ms)];
                one_row(moment.db, sql, row, "the item is not there")?;
                self.level(moment, *item)?.safety = i64::from(*safety);
                let filled = self.fill(moment, *item, 0)?;
                self.note_filled(
                    moment,
                    *item,
                    &Movement { filled, actor: Some(by), ..Movement::new("configure", 0) },
                )
            }
            Event::PurchaseLimitSet { item, per_member, by } => limit_set(moment, *item, *per_member, by),
            Event::StockImported { new, set, by, .. } => self.imported(moment, new, set, by),
            Event::ReservationMade { reservation, parts, until, member, order, .. } => {
                self.made(moment, *reservation, parts, *until, member.as_ref(), order.as_ref())
            }
            Event::ReservationCommitted { reservation } => {
                self.ended(moment, *reservation, ReservationState::Committed)
            }
            Event::ReservationReleased { reservation } => {
                self.ended(moment, *reservation, ReservationState::Released)
            }
            Event::ReservationExpired { reservation } => {
                self.ended(moment, *reservation, ReservationState::Expired)
            }
            Event::GoodsReturned { reservation, parts, by, reason } => {
                self.returned(moment, *reservation, parts, by, reason)
            }
        }
    }

    /// Writes what was touched.
    pub(super) fn flush(&mut self, db: &Connection, movements: &mut Movements) -> Result<(), Fault> {
        movements.add(std::mem::take(&mut self.noted));
        while let Some((item, level)) = self.levels.pop_first() {
            level.write(db, item)?;
        }
        while let Some((no, reservation)) = self.reservations.pop_first() {
            reservation.write(db, no)?;
        }
        Ok(())
    }

    /// Units were counted or corrected: those waiting get only what is free above the safety stock.
    fn move_in(
        &mut self,
        moment: Moment<'_>,
        item: ItemNo,
        kind: &'static str,
        change: i64,
        by: &Actor,
        reason: &Reason,
    ) -> Result<(), Fault> {
        self.level(moment, item)?.on_hand += change;
        let filled = self.fill(moment, item, 0)?;
        let how = Movement::new(kind, change);
        self.note(moment, item, &Movement { filled, actor: Some(by), reason: Some(reason), ..how })
    }

    fn imported(
        &mut self,
        moment: Moment<'_>,
        new: &[NewItem],
        set: &[ItemCount],
        by: &Actor,
    ) -> Result<(), Fault> {
        let sql = "SELECT coalesce(max(item), 0) FROM stock_item";
        let last: u32 = moment.db.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        for (no, row) in (last + 1..).zip(new) {
            let item = ItemNo::new(no);
            create(moment, item, &row.sku, &row.location, row.on_hand)?;
            let how = Movement::new("import", i64::from(row.on_hand));
            self.note(moment, item, &Movement { actor: Some(by), ..how })?;
        }
        for count in set {
            let level = self.level(moment, count.item)?;
            let change = i64::from(count.on_hand) - level.on_hand;
            level.on_hand += change;
            let filled = self.fill(moment, count.item, 0)?;
            let how = Movement::new("import", change);
            self.note(moment, count.item, &Movement { filled, actor: Some(by), ..how })?;
        }
        Ok(())
    }

    fn made(
        &mut self,
        moment: Moment<'_>,
        no: ReservationNo,
        parts: &[ReservedPart],
        until: Timestamp,
        member: Option<&MemberId>,
        order: Option<&OrderId>,
    ) -> Result<(), Fault> {
        for part in parts {
            let level = self.level(moment, part.item)?;
            level.held += i64::from(part.held);
            level.promised += i64::from(part.promised);
            level.check()?;
            if part.promised > 0 {
                let sql = "INSERT INTO promise (item, reservation) VALUES (?1, ?2)";
                moment.db.prepare_cached(sql)?.execute(params![part.item.get(), no.get() as i64])?;
            }
        }
        let reservation = Reservation::new(moment, parts, ms(until), member, order);
        match self.reservations.insert(no.get(), reservation) {
            None => Ok(()),
            Some(_) => Err(Fault::poison("the reservation was made twice")),
        }
    }

    fn ended(&mut self, moment: Moment<'_>, no: ReservationNo, state: ReservationState) -> Result<(), Fault> {
        let reservation = self.reservation(moment, no)?;
        if reservation.state != ReservationState::Held.as_str() {
            let was = &reservation.state;
            return Err(Fault::poison(format!("the reservation should be held, but is {was}")));
        }
        reservation.end(moment, state);
        let lines = reservation.lines.clone();
        let committed = state == ReservationState::Committed;
        for line in &lines {
            let level = self.level(moment, line.item)?;
            level.held -= line.held;
            level.promised -= line.promised;
            if committed {
                level.on_hand -= line.held;
                level.owed += line.promised;
            }
            level.check()?;
            if line.promised > 0 {
                waits_no_more(moment.db, line.item, no)?;
            }
        }
        for line in &lines {
            if committed {
                let how = Movement::new("commit", -line.held);
                if line.held > 0 {
                    self.note(moment, line.item, &Movement { reservation: Some(no), ..how })?;
                }
            } else {
                // Only now that none of its own promises can be filled any more.
                let kind = if state == ReservationState::Expired { "expiry" } else { "release" };
                let filled = self.fill(moment, line.item, 0)?;
                let how = Movement { filled, reservation: Some(no), ..Movement::new(kind, 0) };
                self.note_filled(moment, line.item, &how)?;
            }
        }
        Ok(())
    }

    fn returned(
        &mut self,
        moment: Moment<'_>,
        no: ReservationNo,
        parts: &[ReturnedPart],
        by: &Actor,
        reason: &Reason,
    ) -> Result<(), Fault> {
        let reservation = self.reservation(moment, no)?;
        if reservation.state != ReservationState::Committed.as_str() {
            let was = &reservation.state;
            return Err(Fault::poison(format!("the reservation should be committed, but is {was}")));
        }
        reservation.seq = moment.seq;
        for back in parts {
            let line = reservation.line_mut(back.item)?;
            line.returned += i64::from(back.quantity);
            line.changed = true;
            if line.returned > line.held + line.promised {
                return Err(Fault::poison("more came back than was committed"));
            }
        }
        for back in parts {
            let change = i64::from(back.quantity);
            let filled = self.arrive(moment, back.item, change)?;
            let how = Movement { filled, reservation: Some(no), ..Movement::new("return", change) };
            self.note(moment, back.item, &Movement { actor: Some(by), reason: Some(reason), ..how })?;
        }
        Ok(())
    }

    /// Takes in units. Those owed leave at once; promises are filled with the rest even if that leaves less than the
    /// safety stock. Units that left.
    fn arrive(&mut self, moment: Moment<'_>, item: ItemNo, quantity: i64) -> Result<i64, Fault> {
        let level = self.level(moment, item)?;
        let leaves = quantity.min(level.owed);
        let stays = quantity - leaves;
        level.owed -= leaves;
        level.on_hand += stays;
        Ok(leaves + self.fill(moment, item, stays)?)
    }

    /// Gives those who wait what is free above the safety stock, and at least the `arrived` units. Units that left.
    fn fill(&mut self, moment: Moment<'_>, item: ItemNo, arrived: i64) -> Result<i64, Fault> {
        let level = self.level(moment, item)?;
        level.check()?;
        if level.promised + level.owed == 0 {
            return Ok(0);
        }
        let mut free = arrived.max(level.available());
        let leaves = free.min(level.owed);
        level.owed -= leaves;
        level.on_hand -= leaves;
        free -= leaves;
        while free > 0 {
            let sql = "SELECT min(reservation) FROM promise WHERE item = ?1";
            let mut first = moment.db.prepare_cached(sql)?;
            let first: Option<i64> = first.query_row([item.get()], |row| row.get(0))?;
            let Some(no) = first.map(|no| ReservationNo::new(no as u64)) else { break };
            let reservation = self.reservation(moment, no)?;
            reservation.seq = moment.seq;
            let line = reservation.line_mut(item)?;
            let filled = free.min(line.promised);
            line.promised -= filled;
            line.held += filled;
            line.changed = true;
            if line.promised == 0 {
                waits_no_more(moment.db, item, no)?;
            }
            let level = self.level(moment, item)?;
            level.promised -= filled;
            level.held += filled;
            free -= filled;
        }
        self.level(moment, item)?.check()?;
        Ok(leaves)
    }

    /// The numbers of an item, as this transaction has left them; they are written at its end.
    fn level(&mut self, moment: Moment<'_>, item: ItemNo) -> Result<&mut Level, Fault> {
        let level = match self.levels.entry(item.get()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(Level::read(moment.db, item)?),
        };
        level.seq = moment.seq;
        Ok(level)
    }

    fn reservation(&mut self, moment: Moment<'_>, no: ReservationNo) -> Result<&mut Reservation, Fault> {
        Ok(match self.reservations.entry(no.get()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(Reservation::read(moment.db, no)?),
        })
    }

    /// Notes a movement, if any goods moved.
    fn note_filled(
        &mut self,
        moment: Moment<'_>,
        item: ItemNo,
        movement: &Movement<'_>,
    ) -> Result<(), Fault> {
        if movement.filled > 0 { self.note(moment, item, movement) } else { Ok(()) }
    }

    fn note(&mut self, moment: Moment<'_>, item: ItemNo, movement: &Movement<'_>) -> Result<(), Fault> {
        let on_hand = self.level(moment, item)?.on_hand;
        let Movement { kind, change, filled, reservation, actor, reason } = movement;
        let mut insert = moment.db.prepare_cached(
            "INSERT INTO stock_movement_recent (item, seq, at, kind, change, filled, on_hand, reservation, actor, reason)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?;
        insert.execute(params![
            item.get(),
            moment.seq,
            moment.at,
            kind,
            change,
            filled,
            on_hand,
            reservation.map(|no| no.get() as i64),
            actor.map(Actor::as_str),
            reason.map(Reason::as_str).filter(|reason| !reason.is_empty()),
        ])?;
        self.noted += 1;
        Ok(())
    }
}

fn create(
    moment: Moment<'_>,
    item: ItemNo,
    sku: &SkuId,
    location: &LocationId,
    on_hand: u32,
) -> Result<(), Fault> {
    let mut insert = moment.db.prepare_cached(
        "INSERT INTO stock_item (item, sku, location, on_hand, held, promised, owed, seq) VALUES (?1, ?2, ?3, ?4, 0, 0, 0, ?5)",
    )?;
    insert.execute(params![item.get(), sku.as_str(), location.as_str(), on_hand, moment.seq])?;
    Ok(())
}

fn limit_set(moment: Moment<'_>, item: ItemNo, per_member: Option<u32>, by: &Actor) -> Result<(), Fault> {
    let Moment { db, seq, at } = moment;
    let sku = "(SELECT sku FROM stock_item WHERE item = ?1)";
    let Some(per_member) = per_member else {
        let sql = format!("DELETE FROM purchase_limit WHERE sku = {sku}");
        db.prepare_cached(&sql)?.execute([item.get()])?;
        return Ok(());
    };
    // Without the item there is no SKU, which the column refuses.
    let sql = format!(
        "INSERT OR REPLACE INTO purchase_limit (sku, per_member, set_at, set_by, seq) VALUES ({sku}, ?2, ?3, ?4, ?5)"
    );
    db.prepare_cached(&sql)?.execute(params![item.get(), per_member, at, by.as_str(), seq])?;
    Ok(())
}

fn waits_no_more(db: &Connection, item: ItemNo, no: ReservationNo) -> Result<(), Fault> {
    let sql = "DELETE FROM promise WHERE item = ?1 AND reservation = ?2";
    one_row(db, sql, params![item.get(), no.get() as i64], "the reservation does not wait for the item")
}

fn one_row(db: &Connection, sql: &str, params: impl Params, otherwise: &str) -> Result<(), Fault> {
    match db.prepare_cached(sql)?.execute(params)? {
        1 => Ok(()),
        _ => Err(Fault::poison(otherwise)),
    }
}
