//! Reading orders.

use crate::ViewError;
use crate::record::reader::{
    RecordReader, checkpoint, column, maybe_text, maybe_time, page, seq, text, time, wrong,
};
use banyan_domain::order::{OrderState, RefundState};
use banyan_domain::{CouponId, Currency, MemberId, OrderNo, ReservationNo, SagaNo, Timestamp};
use banyan_log::Seq;
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};

/// An order as the store has it. Amounts are minor units, tax included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderRecord {
    /// Its number.
    pub order: OrderNo,
    /// Whose it is.
    pub member: Box<str>,
    /// Where it stands.
    pub state: OrderState,
    /// Why it failed, in a word, if it did.
    pub why: Option<Box<str>>,
    /// The currency.
    pub currency: Currency,
    /// The value of the goods before any discount. `goods - discount + shipping - points = total`.
    pub goods: i64,
    /// What the coupon took off.
    pub discount: i64,
    /// What shipping costs.
    pub shipping: i64,
    /// What is paid with points.
    pub points: i64,
    /// What is paid with money.
    pub total: i64,
    /// The tax in it.
    pub vat: i64,
    /// The coupon used.
    pub coupon: Option<CouponId>,
    /// The checkout saga.
    pub saga: SagaNo,
    /// The payment company's id of the payment.
    pub payment: Option<Box<str>>,
    /// The reservation that was committed.
    pub reservation: Option<ReservationNo>,
    /// The money that was given back, or is on its way.
    pub refunded: i64,
    /// The points that were given back, or are on their way.
    pub refunded_points: i64,
    /// When it was placed.
    pub placed_at: Timestamp,
    /// When it was paid.
    pub paid_at: Option<Timestamp>,
    /// When it failed or was cancelled.
    pub ended_at: Option<Timestamp>,
    /// Whether somebody wanted it cancelled before it was paid.
    pub cancel_requested: bool,
    /// Its lines.
    pub lines: Vec<OrderLineRecord>,
    /// What was given back, in order.
    pub refunds: Vec<OrderRefundRecord>,
    /// The last event that changed it.
    pub seq: Seq,
}

/// A line of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderLineRecord {
    /// What was ordered.
    pub product: Box<str>,
    /// How many.
    pub quantity: u32,
    /// The price of one.
    pub unit_price: i64,
    /// Its share of the discount.
    pub discount: i64,
    /// Its share of the points.
    pub points: i64,
    /// The tax in its price after the discount.
    pub vat: i64,
    /// Units that came back, or are on their way.
    pub returned: u32,
}

/// What of an order was given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderRefundRecord {
    /// The how-manieth of the order, from 1.
    pub refund: u32,
    /// Whether the order is cancelled with it.
    pub cancel: bool,
    /// Where it stands.
    pub state: RefundState,
    /// Why it was refused, in a word, if it was.
    pub why: Option<Box<str>>,
    /// What comes back: the place of the line in the order, and units.
    pub lines: Vec<(u16, u32)>,
    /// The money.
    pub amount: i64,
    /// The points.
    pub points: i64,
    /// By whom.
    pub actor: Box<str>,
    /// Why.
    pub reason: Box<str>,
    /// The saga that does it.
    pub saga: SagaNo,
    /// When it began.
    pub begun_at: Timestamp,
    /// When it was done or refused.
    pub ended_at: Option<Timestamp>,
}

/// A page of orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderPage {
    /// The orders, newest first.
    pub orders: Vec<OrderRecord>,
    /// The cursor of the next page, if there is one.
    pub next: Option<OrderNo>,
    /// The checkpoint of the store: what was read is exactly the log up to here.
    pub checkpoint: Seq,
}

const ORDER_SQL: &str = "SELECT no, member, state, why, currency, goods, discount, shipping, points, total, vat, coupon, saga,
      payment, reservation, refunded, refunded_points, placed_at, paid_at, ended_at, cancel_asked_at IS NOT NULL, seq
    FROM customer_order";

impl RecordReader {
    /// One order, if it was ever placed.
    ///
    /// # Errors
    /// [`ViewError`] if the store cannot be read.
    pub fn order(&self, no: OrderNo) -> Result<Option<OrderRecord>, ViewError> {
        let sql = format!("{ORDER_SQL} WHERE no = ?1");
        self.gate.read("an order", |db| {
            let found = db.prepare_cached(&sql)?.query_row([column(no.get())], order).optional()?;
            found.map(|found| with_parts(db, found)).transpose()
        })
    }

    /// The orders of `member`, newest first: up to `limit` (at most 1,000) placed before `before`. To see at least the
    /// effect of some event, wait for it first with [`crate::ViewProgress::wait_for`].
    ///
    /// # Errors
    /// [`ViewError`] if the store cannot be read.
    pub fn member_orders(
        &self,
        member: &MemberId,
        before: Option<OrderNo>,
        limit: usize,
    ) -> Result<OrderPage, ViewError> {
        self.order_page("member = ?1", &member.as_str(), before, limit)
    }

    /// Orders, newest first: up to `limit` (at most 1,000) placed before `before`, of one state or of all.
    ///
    /// # Errors
    /// [`ViewError`] if the store cannot be read.
    pub fn orders(
        &self,
        state: Option<OrderState>,
        before: Option<OrderNo>,
        limit: usize,
    ) -> Result<OrderPage, ViewError> {
        match state {
            Some(state) => self.order_page("state = ?1", &state.as_str(), before, limit),
            None => self.order_page("?1 = ''", &"", before, limit),
        }
    }

    fn order_page(
        &self,
        of: &str,
        value: &dyn ToSql,
        before: Option<OrderNo>,
        limit: usize,
    ) -> Result<OrderPage, ViewError> {
        let (before, limit) = (before.map_or(i64::MAX, |no| column(no.get())), page(limit));
        let sql = format!("{ORDER_SQL} WHERE {of} AND no < ?2 ORDER BY no DESC LIMIT ?3");
        self.gate.read("orders", |db| {
            let checkpoint = checkpoint(db)?;
            let mut read = db.prepare_cached(&sql)?;
            let rows = read.query_map(params![value, before, limit as i64 + 1], order)?;
            let found: Vec<_> = rows.collect::<rusqlite::Result<_>>()?;
            let more = found.len() > limit;
            let found = found.into_iter().take(limit).map(|found| with_parts(db, found));
            let orders: Vec<_> = found.collect::<rusqlite::Result<_>>()?;
            let next = orders.last().filter(|_| more).map(|last| last.order);
            Ok(OrderPage { orders, next, checkpoint })
        })
    }
}

fn order(row: &Row<'_>) -> rusqlite::Result<OrderRecord> {
    let word: String = row.get(2)?;
    let states = [OrderState::Placed, OrderState::Paid, OrderState::Cancelled, OrderState::Failed];
    let state = states.into_iter().find(|known| known.as_str() == word);
    let coupon: Option<i64> = row.get(11)?;
    Ok(OrderRecord {
        order: OrderNo::new(row.get::<_, i64>(0)? as u64),
        member: text(row, 1)?,
        state: state.ok_or_else(|| wrong(2, "an order's state"))?,
        why: maybe_text(row, 3)?,
        currency: Currency::new(&row.get::<_, String>(4)?).map_err(|_| wrong(4, "a currency"))?,
        goods: row.get(5)?,
        discount: row.get(6)?,
        shipping: row.get(7)?,
        points: row.get(8)?,
        total: row.get(9)?,
        vat: row.get(10)?,
        coupon: match coupon {
            Some(id) => Some(CouponId::from_u64(id as u64).ok_or_else(|| wrong(11, "a coupon number"))?),
            None => None,
        },
        saga: SagaNo::new(row.get::<_, i64>(12)? as u64),
        payment: maybe_text(row, 13)?,
        reservation: row.get::<_, Option<i64>>(14)?.map(|no| ReservationNo::new(no as u64)),
        refunded: row.get(15)?,
        refunded_points: row.get(16)?,
        placed_at: time(row, 17)?,
        paid_at: maybe_time(row, 18)?,
        ended_at: maybe_time(row, 19)?,
        cancel_requested: row.get(20)?,
        lines: Vec::new(),
        refunds: Vec::new(),
        seq: seq(row, 21)?,
    })
}

fn with_parts(db: &Connection, found: OrderRecord) -> rusqlite::Result<OrderRecord> {
    let no = found.order.get() as i64;
    let mut read = db.prepare_cached(
        "SELECT product, quantity, unit_price, discount, points, vat, returned FROM order_line WHERE order_no = ?1 ORDER BY line",
    )?;
    let lines = read.query_map([no], |row| {
        Ok(OrderLineRecord {
            product: text(row, 0)?,
            quantity: row.get(1)?,
            unit_price: row.get(2)?,
            discount: row.get(3)?,
            points: row.get(4)?,
            vat: row.get(5)?,
            returned: row.get(6)?,
        })
    })?;
    let lines = lines.collect::<rusqlite::Result<_>>()?;
    let mut read = db.prepare_cached(
        "SELECT refund, kind = 'cancel', state, why, amount, points, actor, reason, saga, begun_at, ended_at
         FROM order_refund WHERE order_no = ?1 ORDER BY refund",
    )?;
    let refunds = read.query_map([no], refund)?.map(|found| {
        let found = found?;
        let mut read = db.prepare_cached(
            "SELECT line, quantity FROM order_refund_line WHERE order_no = ?1 AND refund = ?2 ORDER BY line",
        )?;
        let lines = read.query_map(params![no, found.refund], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(OrderRefundRecord { lines: lines.collect::<rusqlite::Result<_>>()?, ..found })
    });
    Ok(OrderRecord { lines, refunds: refunds.collect::<rusqlite::Result<_>>()?, ..found })
}

fn refund(row: &Row<'_>) -> rusqlite::Result<OrderRefundRecord> {
    let word: String = row.get(2)?;
    let states = [RefundState::Begun, RefundState::Done, RefundState::Refused];
    let state = states.into_iter().find(|known| known.as_str() == word);
    Ok(OrderRefundRecord {
        refund: row.get(0)?,
        cancel: row.get(1)?,
        state: state.ok_or_else(|| wrong(2, "a refund's state"))?,
        why: maybe_text(row, 3)?,
        lines: Vec::new(),
        amount: row.get(4)?,
        points: row.get(5)?,
        actor: text(row, 6)?,
        reason: text(row, 7)?,
        saga: SagaNo::new(row.get::<_, i64>(8)? as u64),
        begun_at: time(row, 9)?,
        ended_at: maybe_time(row, 10)?,
    })
}
