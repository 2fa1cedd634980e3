//! Orders and the price list: what their events do to the rows. Most orders are paid a moment after they were placed, so an
//! order is written once then; what happens to it later is hours apart, and written as it comes.

mod reader;

pub use reader::{OrderLineRecord, OrderPage, OrderRecord, OrderRefundRecord};

use super::apply::{Fault, Moment};
use banyan_domain::order::{Event, OrderLine, Part, Product, RefundLine};
use banyan_domain::{Actor, OrderNo};
use rusqlite::{Connection, Params, Statement, params};
use std::collections::BTreeMap;

/// Orders placed in this transaction, written at its end.
#[derive(Debug, Default)]
pub(super) struct OrderRows<'batch> {
    placed: BTreeMap<u64, Placed<'batch>>,
}

#[derive(Debug)]
struct Placed<'batch> {
    event: &'batch Event,
    at: i64,
    /// The event that it was paid with, if that came.
    paid: Option<(&'batch Event, i64)>,
    /// The last event that changed it.
    seq: i64,
}

impl<'batch> OrderRows<'batch> {
    /// Does what `event` says.
    pub(super) fn apply(&mut self, moment: Moment<'_>, event: &'batch Event) -> Result<(), Fault> {
        match event {
            Event::Placed { order, .. } => {
                let placed = Placed { event, at: moment.at, paid: None, seq: moment.seq };
                match self.placed.insert(order.get(), placed) {
                    None => Ok(()),
                    Some(_) => Err(Fault::poison("the order was placed twice")),
                }
            }
            Event::Paid { order, .. } => match self.placed.get_mut(&order.get()) {
                Some(placed) if placed.paid.is_none() => {
                    (placed.paid, placed.seq) = (Some((event, moment.at)), moment.seq);
                    Ok(())
                }
                _ => apply(moment, event),
            },
            _ => {
                // It needs the order's row.
                self.flush(moment.db)?;
                apply(moment, event)
            }
        }
    }

    /// Writes what was placed.
    pub(super) fn flush(&mut self, db: &Connection) -> Result<(), Fault> {
        if self.placed.is_empty() {
            return Ok(());
        }
        let mut order = db.prepare_cached(INSERT_ORDER)?;
        let mut line = db.prepare_cached(INSERT_LINE)?;
        while let Some((_, placed)) = self.placed.pop_first() {
            placed.write(&mut order, &mut line)?;
        }
        Ok(())
    }
}

/// Does what `event` says, unless it is that an order was placed.
fn apply(moment: Moment<'_>, event: &Event) -> Result<(), Fault> {
    let Moment { seq, at, .. } = moment;
    match event {
        Event::ProductsSet { products, by } => {
            products.iter().try_for_each(|product| set_product(moment, product, by))
        }
        Event::TermsSet { terms, by } => one_row(
            moment,
            "INSERT INTO terms (seq, currency, shipping_fee, free_shipping_from, vat_basis_points, set_at, set_by)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                seq,
                terms.currency.as_str(),
                terms.shipping_fee,
                terms.free_shipping_from,
                terms.vat_basis_points,
                at,
                by.as_str()
            ],
            "the terms are not there",
        ),
        Event::Placed { .. } => Err(Fault::poison("an order is placed with others")),
        Event::Paid { order, payment, transfer, points, reservation } => one_row(
            moment,
            "UPDATE customer_order SET state = 'paid', payment = ?2, transfer = ?3, points_transfer = ?4, reservation = ?5,
               paid_at = ?6, seq = ?7 WHERE no = ?1 AND state = 'placed'",
            params![
                column(*order),
                Some(&**payment).filter(|id| !id.is_empty()),
                transfer.map(|no| no.get() as i64),
                points.map(|no| no.get() as i64),
                reservation.get() as i64,
                at,
                seq
            ],
            "the order is not placed",
        ),
        Event::Failed { order, why } => one_row(
            moment,
            "UPDATE customer_order SET state = CASE WHEN cancel_asked_at IS NULL THEN 'failed' ELSE 'cancelled' END,
               why = ?2, ended_at = ?3, seq = ?4 WHERE no = ?1 AND state = 'placed'",
            params![column(*order), why, at, seq],
            "the order is not placed",
        ),
        Event::CancelRequested { order, by, reason } => one_row(
            moment,
            "UPDATE customer_order SET cancel_asked_at = ?2, cancel_actor = ?3, cancel_reason = ?4, seq = ?5
             WHERE no = ?1 AND state = 'placed'",
            params![column(*order), at, by.as_str(), reason.as_str(), seq],
            "the order is not placed",
        ),
        Event::RefundBegun { .. } => refund_begun(moment, event),
        Event::RefundDone { order, refund } => {
            end_refund(moment, *order, *refund, "done", None)?;
            // A cancellation is done when everything is back.
            let sql = "UPDATE customer_order SET seq = ?3,
                   state = CASE (SELECT kind FROM order_refund WHERE order_no = ?1 AND refund = ?2)
                     WHEN 'cancel' THEN 'cancelled' ELSE state END,
                   ended_at = CASE (SELECT kind FROM order_refund WHERE order_no = ?1 AND refund = ?2)
                     WHEN 'cancel' THEN ?4 ELSE ended_at END
                 WHERE no = ?1";
            one_row(moment, sql, params![column(*order), refund, seq, at], "the order is not there")
        }
        Event::RefundRefused { order, refund, why } => {
            end_refund(moment, *order, *refund, "refused", Some(why))?;
            let sql = "UPDATE customer_order SET seq = ?3,
                   refunded = refunded - (SELECT amount FROM order_refund WHERE order_no = ?1 AND refund = ?2),
                   refunded_points = refunded_points - (SELECT points FROM order_refund WHERE order_no = ?1 AND refund = ?2)
                 WHERE no = ?1";
            one_row(moment, sql, params![column(*order), refund, seq], "the order is not there")?;
            let sql = "UPDATE order_line SET returned = returned - (SELECT quantity FROM order_refund_line r
                   WHERE r.order_no = ?1 AND r.refund = ?2 AND r.line = order_line.line)
                 WHERE order_no = ?1 AND line IN (SELECT line FROM order_refund_line WHERE order_no = ?1 AND refund = ?2)";
            moment.db.prepare_cached(sql)?.execute(params![column(*order), refund])?;
            Ok(())
        }
    }
}

fn set_product(moment: Moment<'_>, product: &Product, by: &Actor) -> Result<(), Fault> {
    one_row(
        moment,
        "INSERT OR REPLACE INTO product (id, price, currency, vat_basis_points, parts, on_sale, set_at, set_by, seq)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            product.id.as_str(),
            product.price.minor,
            product.price.currency.as_str(),
            product.vat_basis_points,
            parts(&product.parts),
            product.on_sale,
            moment.at,
            by.as_str(),
            moment.seq
        ],
        "the product is not there",
    )
}

const INSERT_ORDER: &str =
    "INSERT INTO customer_order (no, member, state, currency, goods, discount, shipping, points, total, vat, coupon, saga,
       payment, transfer, points_transfer, reservation, placed_at, paid_at, seq)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)";
const INSERT_LINE: &str =
    "INSERT INTO order_line (order_no, line, product, quantity, unit_price, discount, points, vat, parts)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";

impl Placed<'_> {
    fn write(&self, order_row: &mut Statement<'_>, line_row: &mut Statement<'_>) -> Result<(), Fault> {
        let Event::Placed {
            order,
            member,
            lines,
            currency,
            shipping,
            shipping_points,
            shipping_vat,
            coupon,
            saga,
        } = self.event
        else {
            return Err(Fault::poison("not a placed order"));
        };
        let sum = |of: fn(&OrderLine) -> i64| lines.iter().map(of).sum::<i64>();
        let (goods, discount) = (sum(OrderLine::gross), sum(|line| line.discount));
        let points = sum(|line| line.points) + shipping_points;
        let (mut id, mut booked, mut from_points, mut goods_of, mut paid_at) = (None, None, None, None, None);
        if let Some((Event::Paid { payment, transfer, points, reservation, .. }, at)) = self.paid {
            id = Some(&**payment).filter(|id| !id.is_empty());
            (booked, from_points) = (transfer.map(|no| no.get() as i64), points.map(|no| no.get() as i64));
            (goods_of, paid_at) = (Some(reservation.get() as i64), Some(at));
        }
        order_row.execute(params![
            column(*order),
            member.as_str(),
            if self.paid.is_some() { "paid" } else { "placed" },
            currency.as_str(),
            goods,
            discount,
            shipping,
            points,
            goods - discount + shipping - points,
            sum(|line| line.vat) + shipping_vat,
            coupon.map(|coupon| coupon.get() as i64),
            saga.get() as i64,
            id,
            booked,
            from_points,
            goods_of,
            self.at,
            paid_at,
            self.seq
        ])?;
        for (place, line) in (0_u16..).zip(lines) {
            line_row.execute(params![
                column(*order),
                place,
                line.product.as_str(),
                line.quantity,
                line.unit_price,
                line.discount,
                line.points,
                line.vat,
                parts(&line.parts)
            ])?;
        }
        Ok(())
    }
}

fn refund_begun(moment: Moment<'_>, event: &Event) -> Result<(), Fault> {
    let Event::RefundBegun { order, refund, cancel, lines, amount, points, by, reason, saga } = event else {
        return Err(Fault::poison("not a refund"));
    };
    let no = column(*order);
    let sql =
        "UPDATE customer_order SET refunded = refunded + ?2, refunded_points = refunded_points + ?3, seq = ?4
         WHERE no = ?1 AND state = 'paid' AND refunded + ?2 <= total AND refunded_points + ?3 <= points";
    let otherwise = "the order is not paid, or has not so much left";
    one_row(moment, sql, params![no, amount, points, moment.seq], otherwise)?;
    one_row(
        moment,
        "INSERT INTO order_refund (order_no, refund, kind, state, amount, points, actor, reason, saga, begun_at, seq)
         VALUES (?1, ?2, ?3, 'begun', ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            no,
            refund,
            if *cancel { "cancel" } else { "return" },
            amount,
            points,
            by.as_str(),
            reason.as_str(),
            saga.get() as i64,
            moment.at,
            moment.seq
        ],
        "the refund is not there",
    )?;
    for RefundLine { line, quantity } in lines {
        let sql = "INSERT INTO order_refund_line (order_no, refund, line, quantity) VALUES (?1, ?2, ?3, ?4)";
        moment.db.prepare_cached(sql)?.execute(params![no, refund, line, quantity])?;
        let sql = "UPDATE order_line SET returned = returned + ?3
             WHERE order_no = ?1 AND line = ?2 AND returned + ?3 <= quantity";
        one_row(moment, sql, params![no, line, quantity], "more of a line comes back than was ordered")?;
    }
    Ok(())
}

fn end_refund(
    moment: Moment<'_>,
    order: OrderNo,
    refund: u32,
    state: &str,
    why: Option<&str>,
) -> Result<(), Fault> {
    let sql = "UPDATE order_refund SET state = ?3, why = ?4, ended_at = ?5, seq = ?6
         WHERE order_no = ?1 AND refund = ?2 AND state = 'begun'";
    let row = params![column(order), refund, state, why, moment.at, moment.seq];
    one_row(moment, sql, row, "the refund is not under way")
}

/// Parts as people read them: `mug*1 box*2`. SKUs have no spaces.
fn parts(parts: &[Part]) -> String {
    let parts: Vec<String> = parts.iter().map(|part| format!("{}*{}", part.sku, part.quantity)).collect();
    parts.join(" ")
}

fn column(order: OrderNo) -> i64 {
    order.get() as i64
}

fn one_row(moment: Moment<'_>, sql: &str, params: impl Params, otherwise: &str) -> Result<(), Fault> {
    match moment.db.prepare_cached(sql)?.execute(params)? {
        1 => Ok(()),
        _ => Err(Fault::poison(otherwise)),
    }
}
