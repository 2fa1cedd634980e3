//! An item's numbers and a reservation, as a transaction has them in its hands.

use super::one_row;
use crate::record::apply::{Fault, Moment};
use banyan_domain::stock::{ReservationState, ReservedPart};
use banyan_domain::{ItemNo, MemberId, OrderId, ReservationNo};
use rusqlite::{Connection, OptionalExtension, params};
use std::borrow::Cow;

/// The numbers of an item that change all the time, units.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    pub on_hand: i64,
    pub held: i64,
    pub promised: i64,
    pub owed: i64,
    pub safety: i64,
    /// The last event that changed them.
    pub seq: i64,
}

/// A reservation with its lines.
#[derive(Debug)]
pub(super) struct Reservation {
    pub state: Cow<'static, str>,
    pub lines: Vec<Line>,
    pub seq: i64,
    ended_at: Option<i64>,
    /// What a row that is not written yet has besides.
    new: Option<NewReservation>,
}

#[derive(Debug)]
struct NewReservation {
    member: Option<Box<str>>,
    order: Option<Box<str>>,
    until: i64,
    made_at: i64,
}

/// What a reservation draws on at one item, units.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub item: ItemNo,
    pub held: i64,
    pub promised: i64,
    /// Promised when it was made.
    promised_first: i64,
    pub returned: i64,
    pub changed: bool,
}

impl Level {
    pub(super) fn read(db: &Connection, item: ItemNo) -> Result<Self, Fault> {
        let sql = "SELECT on_hand, held, promised, owed, safety, seq FROM stock_item WHERE item = ?1";
        let mut read = db.prepare_cached(sql)?;
        let level = read.query_row([item.get()], |row| {
            Ok(Self {
                on_hand: row.get(0)?,
                held: row.get(1)?,
                promised: row.get(2)?,
                owed: row.get(3)?,
                safety: row.get(4)?,
                seq: row.get(5)?,
            })
        });
        level.optional()?.ok_or_else(|| Fault::poison(format!("item {} is not there", item.get())))
    }

    pub(super) fn write(&self, db: &Connection, item: u32) -> Result<(), Fault> {
        let Self { on_hand, held, promised, owed, safety, seq } = self;
        let sql = "UPDATE stock_item SET on_hand = ?2, held = ?3, promised = ?4, owed = ?5, safety = ?6, seq = ?7 WHERE item = ?1";
        one_row(db, sql, params![item, on_hand, held, promised, owed, safety, seq], "the item is not there")
    }

    /// Units that can be given away.
    pub(super) fn available(&self) -> i64 {
        (self.on_hand - self.held - self.safety).max(0)
    }

    /// Whether the numbers can be.
    pub(super) fn check(&self) -> Result<(), Fault> {
        let Self { on_hand, held, promised, owed, .. } = *self;
        if 0 <= held && held <= on_hand && promised >= 0 && owed >= 0 {
            return Ok(());
        }
        Err(Fault::poison(format!(
            "an item would have {on_hand} on hand, {held} held, {promised} promised, {owed} owed"
        )))
    }
}

impl Reservation {
    pub(super) fn new(
        moment: Moment<'_>,
        parts: &[ReservedPart],
        until: i64,
        member: Option<&MemberId>,
        order: Option<&OrderId>,
    ) -> Self {
        let line = |part: &ReservedPart| Line {
            item: part.item,
            held: part.held.into(),
            promised: part.promised.into(),
            promised_first: part.promised.into(),
            returned: 0,
            changed: false,
        };
        Self {
            state: ReservationState::Held.as_str().into(),
            lines: parts.iter().map(line).collect(),
            seq: moment.seq,
            ended_at: None,
            new: Some(NewReservation {
                member: member.map(|member| member.as_str().into()),
                order: order.map(|order| order.as_str().into()),
                until,
                made_at: moment.at,
            }),
        }
    }

    pub(super) fn read(db: &Connection, no: ReservationNo) -> Result<Self, Fault> {
        let no = no.get() as i64;
        let mut head =
            db.prepare_cached("SELECT state, ended_at, seq FROM reservation WHERE reservation = ?1")?;
        let head = head.query_row([no], |row| {
            let state: String = row.get(0)?;
            Ok((state, row.get(1)?, row.get(2)?))
        });
        let gone = || Fault::poison(format!("reservation r-{no} is not there"));
        let (state, ended_at, seq) = head.optional()?.ok_or_else(gone)?;
        let sql = "SELECT item, held, promised, promised_first, returned FROM reservation_line WHERE reservation = ?1 ORDER BY item";
        let mut lines = db.prepare_cached(sql)?;
        let lines = lines.query_map([no], |row| {
            Ok(Line {
                item: ItemNo::new(row.get(0)?),
                held: row.get(1)?,
                promised: row.get(2)?,
                promised_first: row.get(3)?,
                returned: row.get(4)?,
                changed: false,
            })
        })?;
        Ok(Self {
            state: state.into(),
            lines: lines.collect::<rusqlite::Result<_>>()?,
            seq,
            ended_at,
            new: None,
        })
    }

    pub(super) fn end(&mut self, moment: Moment<'_>, state: ReservationState) {
        self.state = state.as_str().into();
        self.ended_at = Some(moment.at);
        self.seq = moment.seq;
    }

    pub(super) fn line_mut(&mut self, item: ItemNo) -> Result<&mut Line, Fault> {
        let line = self.lines.iter_mut().find(|line| line.item == item);
        line.ok_or_else(|| Fault::poison(format!("the reservation has no line of item {}", item.get())))
    }

    pub(super) fn write(&self, db: &Connection, no: u64) -> Result<(), Fault> {
        let (no, Self { state, ended_at, seq, .. }) = (no as i64, self);
        let Some(NewReservation { member, order, until, made_at }) = &self.new else {
            let sql = "UPDATE reservation SET state = ?2, ended_at = ?3, seq = ?4 WHERE reservation = ?1";
            one_row(db, sql, params![no, state, ended_at, seq], "the reservation is not there")?;
            for line in self.lines.iter().filter(|line| line.changed) {
                let sql = "UPDATE reservation_line SET held = ?3, promised = ?4, returned = ?5
                     WHERE reservation = ?1 AND item = ?2";
                let row = params![no, line.item.get(), line.held, line.promised, line.returned];
                one_row(db, sql, row, "the reservation's line is not there")?;
            }
            return Ok(());
        };
        let mut insert = db.prepare_cached(
            "INSERT INTO reservation (reservation, state, member, order_id, until, made_at, ended_at, seq)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?;
        insert.execute(params![no, state, member, order, until, made_at, ended_at, seq])?;
        let mut insert = db.prepare_cached(
            "INSERT INTO reservation_line (reservation, item, held, promised, promised_first, returned)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        for line in &self.lines {
            let Line { item, held, promised, promised_first, returned, .. } = line;
            insert.execute(params![no, item.get(), held, promised, promised_first, returned])?;
        }
        Ok(())
    }
}
