//! What each event changes, checked before it is made, in release builds too.

use super::Outcome;
use super::event::Event;
use super::instance::{Order, OrderState, Payment, Refund, RefundState};
use super::state::{Orders, order_digest, placed_digest, product_digest, terms_digest};
use crate::state::Violation;
use crate::{OrderNo, Timestamp, limits};

type Result<T = ()> = core::result::Result<T, Violation>;

fn ensure(holds: bool, what: &'static str) -> Result {
    if holds { Ok(()) } else { Err(Violation::new(what)) }
}

impl Orders {
    /// Applies one event that happened `at` the time of its block.
    ///
    /// # Errors
    /// A [`Violation`] if the event breaks an invariant; the state is unchanged then.
    pub(crate) fn apply(&mut self, at: Timestamp, event: &Event) -> Result {
        match event {
            Event::ProductsSet { products, .. } => {
                ensure(!products.is_empty(), "no product was set")?;
                let valid = products.iter().all(|product| product.check().is_ok());
                ensure(valid, "an invalid product was set")?;
                let new = products.iter().filter(|product| !self.products.contains_key(&product.id)).count();
                ensure(self.products.len() + new <= limits::PRODUCTS_MAX, "the price list is too long")?;
                for product in products {
                    self.digest.add(product_digest(product));
                    if let Some(before) = self.products.insert(product.id.clone(), product.clone()) {
                        self.digest.sub(product_digest(&before));
                    }
                }
            }
            Event::TermsSet { terms, .. } => {
                ensure(terms.check().is_ok(), "invalid terms were set")?;
                self.digest.add(terms_digest(terms));
                if let Some(before) = self.terms.replace(terms.clone()) {
                    self.digest.sub(terms_digest(&before));
                }
            }
            Event::Placed {
                order: no,
                member,
                lines,
                currency,
                shipping,
                shipping_points,
                shipping_vat,
                coupon,
                saga,
            } => {
                ensure(no.get() == self.placed + 1, "order numbers must follow each other")?;
                ensure((1..=limits::ORDER_LINES_MAX).contains(&lines.len()), "an order has no line")?;
                let counted = |line: &super::OrderLine| {
                    let price = line.unit_price.checked_mul(i64::from(line.quantity));
                    let fits = price.is_some_and(|price| (0..=limits::ORDER_VALUE_MAX).contains(&price));
                    fits && line.quantity > 0 && line.discount >= 0 && line.points >= 0 && line.paid() >= 0
                };
                ensure(lines.iter().all(counted), "a line costs less than nothing")?;
                let shipped = (0..=*shipping).contains(shipping_points) && *shipping <= limits::PRICE_MAX;
                ensure(shipped, "shipping costs less than nothing")?;
                let order = Order {
                    no: *no,
                    member: member.clone(),
                    lines: lines.clone(),
                    currency: *currency,
                    shipping: *shipping,
                    shipping_points: *shipping_points,
                    shipping_vat: *shipping_vat,
                    coupon: *coupon,
                    saga: *saga,
                    placed_at: at,
                    state: OrderState::Placed,
                    cancel_requested: false,
                    payment: None,
                    ended_at: None,
                    why: None,
                    refunds: Vec::new(),
                };
                self.digest.sub(placed_digest(self.placed));
                self.placed += 1;
                self.digest.add(placed_digest(self.placed));
                self.digest.add(order_digest(&order));
                self.orders.insert(*no, order);
            }
            Event::Paid { order, payment, transfer, points, reservation } => {
                self.moved(*order, |order| {
                    ensure(order.state == OrderState::Placed, "an order was paid that is not open")?;
                    ensure(transfer.is_some() == (order.total() > 0), "an order was paid and not booked")?;
                    ensure(points.is_some() == (order.points() > 0), "an order was paid without its points")?;
                    order.state = OrderState::Paid;
                    let (id, transfer, points) = (payment.clone(), *transfer, *points);
                    order.payment = Some(Payment { at, id, transfer, points, reservation: *reservation });
                    Ok(())
                })?;
            }
            Event::Failed { order, why } => {
                self.moved(*order, |order| {
                    ensure(order.state == OrderState::Placed, "an order failed that is not open")?;
                    let cancelled = order.cancel_requested;
                    order.state = if cancelled { OrderState::Cancelled } else { OrderState::Failed };
                    order.ended_at = Some(at);
                    order.why = Some(why.clone());
                    Ok(())
                })?;
            }
            Event::CancelRequested { order, .. } => {
                self.moved(*order, |order| {
                    ensure(
                        order.state == OrderState::Placed,
                        "an order is to be cancelled that is not open",
                    )?;
                    order.cancel_requested = true;
                    Ok(())
                })?;
            }
            Event::RefundBegun { .. } => self.refund_begun(at, event)?,
            Event::RefundDone { order, refund } => {
                self.moved(*order, |order| {
                    let done = under_way(order, *refund)?;
                    (done.state, done.ended_at) = (RefundState::Done, Some(at));
                    if done.cancel {
                        (order.state, order.ended_at) = (OrderState::Cancelled, Some(at));
                    }
                    Ok(())
                })?;
            }
            Event::RefundRefused { order, refund, why } => {
                self.moved(*order, |order| {
                    let refused = under_way(order, *refund)?;
                    (refused.state, refused.ended_at) = (RefundState::Refused, Some(at));
                    refused.why = Some(why.clone());
                    Ok(())
                })?;
            }
        }
        self.forget(at);
        Ok(())
    }

    fn refund_begun(&mut self, at: Timestamp, event: &Event) -> Result {
        let Event::RefundBegun { order, refund, cancel, lines, amount, points, by, reason, saga } = event
        else {
            return Err(Violation::new("not a refund"));
        };
        self.moved(*order, |order| {
            ensure(order.state == OrderState::Paid, "a refund began of an order that is not paid")?;
            ensure(order.refund_under_way().is_none(), "two refunds of one order are under way")?;
            ensure(order.refunds.len() as u32 + 1 == *refund, "refunds of an order must follow each other")?;
            ensure(
                *amount >= 0 && *amount <= order.total() - order.refunded(),
                "a refund exceeds the money",
            )?;
            let points_left = order.points() - order.refunded_points();
            ensure(*points >= 0 && *points <= points_left, "a refund exceeds the points")?;
            for (at, part) in lines.iter().enumerate() {
                let once = lines[..at].iter().all(|other| other.line != part.line);
                let place = usize::from(part.line);
                let room = order.lines.get(place).map_or(0, |line| line.quantity - order.returned(place));
                ensure(once && part.quantity > 0 && part.quantity <= room, "a refund exceeds the goods")?;
            }
            order.refunds.push(Refund {
                no: *refund,
                cancel: *cancel,
                lines: lines.clone(),
                amount: *amount,
                points: *points,
                by: by.clone(),
                reason: reason.clone(),
                saga: *saga,
                state: RefundState::Begun,
                begun_at: at,
                ended_at: None,
                why: None,
            });
            Ok(())
        })
    }

    /// One order moves as `change` says, which changes nothing if it fails.
    fn moved(&mut self, no: OrderNo, change: impl FnOnce(&mut Order) -> Result) -> Result {
        let order = self.orders.get_mut(&no);
        let order = order.ok_or(Violation::new("an event names an order that is not there"))?;
        let (before, over_before) = (order_digest(order), order.over());
        change(order)?;
        let (after, over_after) = (order_digest(order), order.over());
        self.digest.sub(before);
        self.digest.add(after);
        over_before.map(|over| self.over.remove(&over));
        over_after.map(|over| self.over.insert(over));
        Ok(())
    }

    /// Lets go of what is over long enough. By the time of blocks, so a replay lets go of the same at the same event.
    fn forget(&mut self, now: Timestamp) {
        while let Some(&(at, no)) = self.over.first().filter(|(at, _)| *at <= now) {
            self.over.remove(&(at, no));
            let order = self.orders.remove(&no).expect("what is over is there");
            self.digest.sub(order_digest(&order));
        }
    }

    /// The answer to a command whose last event is `event`, which has just been applied.
    #[must_use]
    pub fn outcome(&self, event: &Event) -> Outcome {
        match event {
            // At most as many as a command may set.
            Event::ProductsSet { products, .. } => Outcome::Products { changed: products.len() as u32 },
            Event::TermsSet { .. } => Outcome::Terms,
            Event::Placed { order, .. }
            | Event::Paid { order, .. }
            | Event::Failed { order, .. }
            | Event::CancelRequested { order, .. }
            | Event::RefundBegun { order, .. }
            | Event::RefundDone { order, .. }
            | Event::RefundRefused { order, .. } => Outcome::Order { order: *order },
        }
    }

    /// Whether a command could have been answered so without any event.
    #[must_use]
    pub const fn is_so(&self, outcome: &Outcome) -> bool {
        match outcome {
            Outcome::Products { changed } => *changed == 0,
            Outcome::Terms => self.terms.is_some(),
            Outcome::Order { order } => order.get() >= 1 && order.get() <= self.placed,
        }
    }
}

/// The refund `no` of `order`, which must be under way.
fn under_way(order: &mut Order, no: u32) -> Result<&mut Refund> {
    let refund = order.refunds.last_mut().filter(|refund| refund.state == RefundState::Begun);
    refund.filter(|refund| refund.no == no).ok_or(Violation::new("a refund ended that is not under way"))
}
