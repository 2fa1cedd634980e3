//! Reading items, reservations and movements.

use crate::ViewError;
use crate::record::reader::{RecordReader, column, maybe_text, maybe_time, page, seq, text, time, wrong};
use banyan_domain::stock::ReservationState;
use banyan_domain::{ItemNo, ReservationNo, SkuId, Timestamp};
use banyan_log::Seq;
use rusqlite::{Connection, OptionalExtension, Row, params};

/// A SKU at one location as the store has it. All numbers are units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StockItemRecord {
    /// Which item.
    pub item: ItemNo,
    /// Its SKU.
    pub sku: Box<str>,
    /// Its location.
    pub location: Box<str>,
    /// Goods that are there.
    pub on_hand: u32,
    /// Of these, set aside for reservations.
    pub held: u32,
    /// Of these, what can be reserved.
    pub available: u32,
    /// Reserved beyond the stock.
    pub promised: u32,
    /// Sold beyond the stock.
    pub owed: u32,
    /// Goods that are there and are not sold.
    pub safety: u32,
    /// How many may be promised and owed once released.
    pub backorder_max: u32,
    /// The same before release.
    pub preorder_max: u32,
    /// The release; without it, the item is out.
    pub released_at: Option<Timestamp>,
    /// Units of the SKU that one member may reserve and buy, if limited.
    pub per_member: Option<u32>,
    /// The last event that changed it.
    pub seq: Seq,
}

/// A reservation as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReservationRecord {
    /// Which reservation.
    pub reservation: ReservationNo,
    /// Its state.
    pub state: ReservationState,
    /// Its member, if it has one.
    pub member: Option<Box<str>>,
    /// Its order, if it has one.
    pub order: Option<Box<str>>,
    /// Its deadline.
    pub until: Timestamp,
    /// When it was made.
    pub made_at: Timestamp,
    /// When it ended, if it did.
    pub ended_at: Option<Timestamp>,
    /// What it draws on, in order of the items' numbers.
    pub lines: Vec<LineRecord>,
    /// The last event that changed it.
    pub seq: Seq,
}

/// What a reservation draws on at one item, in units. Once it has ended, `held` and `promised` stay as they were then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineRecord {
    /// Which item.
    pub item: ItemNo,
    /// Its SKU.
    pub sku: Box<str>,
    /// Its location.
    pub location: Box<str>,
    /// Units on hand set aside.
    pub held: u32,
    /// Units beyond the stock.
    pub promised: u32,
    /// Units beyond the stock when the reservation was made.
    pub promised_first: u32,
    /// Units that came back.
    pub returned: u32,
}

/// A page of reservations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReservationPage {
    /// The reservations, newest first.
    pub reservations: Vec<ReservationRecord>,
    /// The cursor of the next page, if there is one.
    pub next: Option<ReservationNo>,
}

/// A change of the units on hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovementRecord {
    /// The event.
    pub seq: Seq,
    /// When.
    pub at: Timestamp,
    /// At which location.
    pub location: Box<str>,
    /// What happened: `count`, `import`, `receive`, `adjust`, `commit`, `return`; or `release`, `expiry`, `configure`, by
    /// which goods became free for those who waited.
    pub kind: Box<str>,
    /// Units that came (positive) or left.
    pub change: i64,
    /// Units that left at once for what was owed.
    pub filled: u32,
    /// Units there after both.
    pub on_hand: u32,
    /// Of or through which reservation, if any.
    pub reservation: Option<ReservationNo>,
    /// By whom, if an operator did it.
    pub actor: Option<Box<str>>,
    /// Why, if somebody said.
    pub reason: Option<Box<str>>,
}

/// A page of movements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovementPage {
    /// The movements, newest first.
    pub movements: Vec<MovementRecord>,
    /// The cursor of the next page, if there is one.
    pub next: Option<Seq>,
}

impl RecordReader {
    /// Items of SKUs that begin with `prefix`, in order of SKU and location: up to `limit` (at most 1,000) after the item
    /// of `after`, a SKU and a location.
    ///
    /// # Errors
    /// [`ViewError`] if the store cannot be read.
    pub fn stock_items(
        &self,
        prefix: &str,
        after: Option<(&str, &str)>,
        limit: usize,
    ) -> Result<Vec<StockItemRecord>, ViewError> {
        let (sku, location) = after.unwrap_or_default();
        // SKUs are visible ASCII: what follows all that begin with the prefix is below this.
        let end = format!("{prefix}\u{7f}");
        let sql = "SELECT i.item, i.sku, i.location, on_hand, held, promised, owed, safety, backorder_max, preorder_max,
               released_at, l.per_member, i.seq
             FROM stock_item i LEFT JOIN purchase_limit l ON l.sku = i.sku
             WHERE (i.sku, i.location) > (?1, ?2) AND i.sku >= ?3 AND i.sku < ?4 ORDER BY i.sku, i.location LIMIT ?5";
        self.gate.read("stock items", |db| {
            let mut read = db.prepare_cached(sql)?;
            read.query_map(params![sku, location, prefix, end, page(limit) as i64], item)?.collect()
        })
    }

    /// One reservation, if it was ever made.
    ///
    /// # Errors
    /// [`ViewError`] if the store cannot be read.
    pub fn reservation(&self, no: ReservationNo) -> Result<Option<ReservationRecord>, ViewError> {
        let sql = format!("{RESERVATION_SQL} WHERE reservation = ?1");
        self.gate.read("a reservation", |db| {
            let found = db.prepare_cached(&sql)?.query_row([column(no.get())], reservation).optional()?;
            found.map(|found| with_lines(db, found)).transpose()
        })
    }

    /// Reservations, newest first: up to `limit` (at most 1,000) made before `before`, of one state or of all.
    ///
    /// # Errors
    /// [`ViewError`] if the store cannot be read.
    pub fn reservations(
        &self,
        state: Option<ReservationState>,
        before: Option<ReservationNo>,
        limit: usize,
    ) -> Result<ReservationPage, ViewError> {
        let (before, limit) = (before.map_or(i64::MAX, |no| column(no.get())), page(limit));
        let order = "reservation < ?2 ORDER BY reservation DESC LIMIT ?3";
        let sql = match state {
            Some(_) => format!("{RESERVATION_SQL} WHERE state = ?1 AND {order}"),
            None => format!("{RESERVATION_SQL} WHERE ?1 = '' AND {order}"),
        };
        let state = state.map_or("", ReservationState::as_str);
        self.gate.read("reservations", |db| {
            let mut read = db.prepare_cached(&sql)?;
            let found: Vec<_> = read
                .query_map(params![state, before, limit as i64 + 1], reservation)?
                .collect::<rusqlite::Result<_>>()?;
            let more = found.len() > limit;
            let found = found.into_iter().take(limit).map(|found| with_lines(db, found));
            let reservations: Vec<_> = found.collect::<rusqlite::Result<_>>()?;
            let next = reservations.last().filter(|_| more).map(|last| last.reservation);
            Ok(ReservationPage { reservations, next })
        })
    }

    /// What moved goods of `sku`, at all its locations, newest first: up to `limit` (at most 1,000) before `before`.
    ///
    /// # Errors
    /// [`ViewError`] if the store cannot be read.
    pub fn movements(
        &self,
        sku: &SkuId,
        before: Option<Seq>,
        limit: usize,
    ) -> Result<MovementPage, ViewError> {
        let (before, limit) = (before.map_or(i64::MAX, |seq| column(seq.0)), page(limit));
        let sql =
            "SELECT seq, at, kind, change, filled, on_hand, reservation, actor, reason FROM stock_movement
             WHERE item = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3";
        self.gate.read("the movements of a SKU", |db| {
            let mut items = db.prepare_cached("SELECT item, location FROM stock_item WHERE sku = ?1")?;
            let items = items.query_map([sku.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
            // Each item's own newest, merged: a popular SKU has millions, of which a page wants a few.
            let mut movements = Vec::new();
            for found in items {
                let (item, location): (u32, String) = found?;
                let mut read = db.prepare_cached(sql)?;
                let found =
                    read.query_map(params![item, before, limit as i64 + 1], |row| movement(row, &location))?;
                for found in found {
                    movements.push(found?);
                }
            }
            movements.sort_by_key(|movement: &MovementRecord| core::cmp::Reverse(movement.seq));
            // An event may move goods at several locations: a page ends between two events.
            let mut end = movements.len().min(limit);
            while end > 0 && movements.get(end).is_some_and(|next| next.seq == movements[end - 1].seq) {
                end += 1;
            }
            let next = movements.get(end).map(|_| movements[end - 1].seq);
            movements.truncate(end);
            Ok(MovementPage { movements, next })
        })
    }
}

const RESERVATION_SQL: &str =
    "SELECT reservation, state, member, order_id, until, made_at, ended_at, seq FROM reservation";

fn item(row: &Row<'_>) -> rusqlite::Result<StockItemRecord> {
    let (on_hand, held, safety): (u32, u32, u32) = (row.get(3)?, row.get(4)?, row.get(7)?);
    Ok(StockItemRecord {
        item: ItemNo::new(row.get(0)?),
        sku: text(row, 1)?,
        location: text(row, 2)?,
        on_hand,
        held,
        available: on_hand.saturating_sub(held).saturating_sub(safety),
        promised: row.get(5)?,
        owed: row.get(6)?,
        safety,
        backorder_max: row.get(8)?,
        preorder_max: row.get(9)?,
        released_at: maybe_time(row, 10)?,
        per_member: row.get(11)?,
        seq: seq(row, 12)?,
    })
}

fn reservation(row: &Row<'_>) -> rusqlite::Result<ReservationRecord> {
    let state: String = row.get(1)?;
    let states = [0, 1, 2, 3].into_iter().filter_map(ReservationState::from_u8);
    Ok(ReservationRecord {
        reservation: ReservationNo::new(row.get::<_, i64>(0)? as u64),
        state: states
            .into_iter()
            .find(|known| known.as_str() == state)
            .ok_or_else(|| wrong(1, "a reservation's state"))?,
        member: maybe_text(row, 2)?,
        order: maybe_text(row, 3)?,
        until: time(row, 4)?,
        made_at: time(row, 5)?,
        ended_at: maybe_time(row, 6)?,
        lines: Vec::new(),
        seq: seq(row, 7)?,
    })
}

fn with_lines(db: &Connection, found: ReservationRecord) -> rusqlite::Result<ReservationRecord> {
    let mut read = db.prepare_cached(
        "SELECT l.item, i.sku, i.location, l.held, l.promised, l.promised_first, l.returned
         FROM reservation_line l JOIN stock_item i ON i.item = l.item WHERE l.reservation = ?1 ORDER BY l.item",
    )?;
    let lines = read.query_map([found.reservation.get() as i64], |row| {
        Ok(LineRecord {
            item: ItemNo::new(row.get(0)?),
            sku: text(row, 1)?,
            location: text(row, 2)?,
            held: row.get(3)?,
            promised: row.get(4)?,
            promised_first: row.get(5)?,
            returned: row.get(6)?,
        })
    })?;
    Ok(ReservationRecord { lines: lines.collect::<rusqlite::Result<_>>()?, ..found })
}

fn movement(row: &Row<'_>, location: &str) -> rusqlite::Result<MovementRecord> {
    Ok(MovementRecord {
        seq: seq(row, 0)?,
        at: time(row, 1)?,
        location: location.into(),
        kind: text(row, 2)?,
        change: row.get(3)?,
        filled: row.get(4)?,
        on_hand: row.get(5)?,
        reservation: row.get::<_, Option<i64>>(6)?.map(|no| ReservationNo::new(no as u64)),
        actor: maybe_text(row, 7)?,
        reason: maybe_text(row, 8)?,
    })
}
