//! The auditor's own orders: what was ordered at which price, and what became of it.

use super::Objection;
use super::sagas::Sagas;
use banyan_domain::order::{Event, OrderLine, Outcome, Product, RefundLine, Terms};
use banyan_domain::{MemberId, OrderNo, ProductId, SagaNo};

/// Everything that the log says of orders and the price list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Orders {
    pub(crate) products: Vec<Product>,
    pub(crate) terms: Option<Terms>,
    pub(crate) orders: Vec<Order>,
}

#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) member: MemberId,
    pub(crate) lines: Vec<OrderLine>,
    pub(crate) shipping: i64,
    shipping_points: i64,
    pub(crate) saga: SagaNo,
    pub(crate) way: Way,
    pub(crate) cancel_requested: bool,
    pub(crate) ended_at: Option<u64>,
    pub(crate) refunds: Vec<Refund>,
}

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Placed,
    Paid,
    Cancelled,
    Failed,
}

#[derive(Clone, Debug)]
pub(crate) struct Refund {
    pub(crate) cancel: bool,
    pub(crate) lines: Vec<RefundLine>,
    pub(crate) amount: i64,
    pub(crate) points: i64,
    /// Done or refused, once it is known.
    pub(crate) done: Option<bool>,
}

impl Order {
    /// What is paid with money.
    pub(crate) fn total(&self) -> i64 {
        self.lines.iter().map(OrderLine::paid).sum::<i64>() + self.shipping - self.shipping_points
    }

    /// What is paid with points.
    pub(crate) fn points(&self) -> i64 {
        self.lines.iter().map(|line| line.points).sum::<i64>() + self.shipping_points
    }

    /// What was given back, or is being given back, of money and of points.
    pub(crate) fn given_back(&self) -> (i64, i64) {
        let refunds = || self.refunds.iter().filter(|refund| refund.done != Some(false));
        (refunds().map(|refund| refund.amount).sum(), refunds().map(|refund| refund.points).sum())
    }

    /// Units of the line at `place` that came back, or are coming back.
    pub(crate) fn came_back(&self, place: usize) -> u32 {
        let refunds = self.refunds.iter().filter(|refund| refund.done != Some(false));
        let parts = refunds.flat_map(|refund| &refund.lines).filter(|part| usize::from(part.line) == place);
        parts.map(|part| part.quantity).sum()
    }

    /// Whether an order whose cancelling was asked for before it was paid is not shown as failed.
    pub(crate) fn cancel_is_told(&self) -> bool {
        !self.cancel_requested || self.way != Way::Failed
    }

    pub(crate) fn under_way(&self) -> Option<&Refund> {
        self.refunds.iter().find(|refund| refund.done.is_none())
    }
}

impl Orders {
    pub(crate) fn order(&self, no: OrderNo) -> Option<&Order> {
        self.orders.get((no.get() as usize).checked_sub(1)?)
    }

    pub(crate) fn product(&self, id: &ProductId) -> Option<&Product> {
        self.products.iter().find(|product| product.id == *id)
    }

    /// Takes one event.
    pub(crate) fn apply(&mut self, now: u64, event: &Event, sagas: &Sagas) -> Result<Outcome, Objection> {
        match event {
            Event::ProductsSet { products, .. } => {
                object_unless!(!products.is_empty(), "it sets no product");
                for product in products {
                    object_unless!(self.product(&product.id) != Some(product), "it sets what is so");
                    self.products.retain(|known| known.id != product.id);
                    self.products.push(product.clone());
                }
                return Ok(Outcome::Products { changed: products.len() as u32 });
            }
            Event::TermsSet { terms, .. } => {
                object_unless!(self.terms.as_ref() != Some(terms), "it sets what is so");
                self.terms = Some(terms.clone());
                return Ok(Outcome::Terms);
            }
            Event::Placed { order, .. } => {
                self.placed(event, sagas)?;
                return Ok(Outcome::Order { order: *order });
            }
            _ => {}
        }
        let no = event.order().ok_or("it concerns no order")?;
        let order = (no.get() as usize).checked_sub(1).and_then(|at| self.orders.get_mut(at));
        moved(order.ok_or("there is no such order")?, now, event)?;
        Ok(Outcome::Order { order: no })
    }

    fn placed(&mut self, event: &Event, sagas: &Sagas) -> Result<(), Objection> {
        let Event::Placed { order: no, member, lines, shipping, shipping_points, coupon, saga, .. } = event
        else {
            return Err("it is no placing".into());
        };
        object_unless!(no.get() as usize == self.orders.len() + 1, "the order is out of order");
        let terms = self.terms.as_ref().ok_or("there are no terms")?;
        for line in lines {
            let product = self.product(&line.product).filter(|product| product.on_sale);
            let product = product.ok_or("it sells what is not sold")?;
            object_unless!(product.price.minor == line.unit_price, "the price is another: {product:?}");
            object_unless!(product.parts == line.parts, "it is made of something else: {product:?}");
            let share = line.discount >= 0 && line.points >= 0 && line.paid() >= 0 && line.quantity > 0;
            object_unless!(share, "a line is paid with less than nothing: {line:?}");
        }
        let goods: i64 = lines.iter().map(|line| line.gross() - line.discount).sum();
        let free = terms.free_shipping_from.is_some_and(|from| goods >= from);
        let fee = if free { 0 } else { terms.shipping_fee };
        // Every simulated coupon is one of an amount.
        object_unless!(*shipping == fee, "shipping costs {shipping}, and should cost {fee}");
        let discount: i64 = lines.iter().map(|line| line.discount).sum();
        object_unless!(coupon.is_some() || discount == 0, "it gives {discount} without a coupon");
        let order = Order {
            member: member.clone(),
            lines: lines.clone(),
            shipping: *shipping,
            shipping_points: *shipping_points,
            saga: *saga,
            way: Way::Placed,
            cancel_requested: false,
            ended_at: None,
            refunds: Vec::new(),
        };
        let checkout = sagas.saga(*saga).filter(|saga| saga.key.as_str() == no.to_string());
        let checkout = checkout.ok_or("its checkout was not begun")?;
        let asked = |field: &str| checkout.input.get(field).and_then(|text| text.parse().ok()).unwrap_or(0);
        let (amount, points) = (asked("amount"), asked("points"));
        let same = (amount, points) == (order.total(), order.points());
        let uses = checkout.input.get("coupon").is_some() == coupon.is_some();
        object_unless!(uses, "its checkout uses another coupon than {coupon:?}");
        object_unless!(same, "its checkout takes {amount} and {points} points, it costs {order:?}");
        self.orders.push(order);
        Ok(())
    }
}

fn moved(order: &mut Order, now: u64, event: &Event) -> Result<(), Objection> {
    match event {
        Event::Paid { .. } => {
            object_unless!(order.way == Way::Placed, "an order is paid that is {:?}", order.way);
            order.way = Way::Paid;
        }
        Event::Failed { .. } => {
            object_unless!(order.way == Way::Placed, "an order fails that is {:?}", order.way);
            order.way = if order.cancel_requested { Way::Cancelled } else { Way::Failed };
            order.ended_at = Some(now);
        }
        Event::CancelRequested { .. } => {
            let open = order.way == Way::Placed && !order.cancel_requested;
            object_unless!(open, "it cancels an order that is {:?}", order.way);
            order.cancel_requested = true;
        }
        Event::RefundBegun { refund, cancel, lines, amount, points, .. } => {
            object_unless!(order.way == Way::Paid, "it gives back of an order that is {:?}", order.way);
            object_unless!(*refund as usize == order.refunds.len() + 1, "the refund is out of order");
            object_unless!(order.under_way().is_none(), "another refund is under way");
            let (cancel, lines, amount, points) = (*cancel, lines.clone(), *amount, *points);
            order.refunds.push(Refund { cancel, lines, amount, points, done: None });
            let (money, spent) = order.given_back();
            let bounded = money <= order.total() && spent <= order.points() && amount >= 0 && points >= 0;
            object_unless!(bounded, "{money} and {spent} points go back, more than was paid");
            let whole = money == order.total() && spent == order.points();
            object_unless!(
                !cancel || whole,
                "it cancels the order and gives {money} and {spent} points back"
            );
            for (place, line) in order.lines.iter().enumerate() {
                let back = order.came_back(place);
                object_unless!(
                    back <= line.quantity && (!cancel || back == line.quantity),
                    "{back} come back"
                );
            }
        }
        Event::RefundDone { refund, .. } | Event::RefundRefused { refund, .. } => {
            let done = matches!(event, Event::RefundDone { .. });
            let found = (*refund as usize).checked_sub(1).and_then(|at| order.refunds.get_mut(at));
            let found = found.filter(|found| found.done.is_none()).ok_or("it is not under way")?;
            found.done = Some(done);
            if done && found.cancel {
                order.way = Way::Cancelled;
                order.ended_at = Some(now);
            }
        }
        Event::ProductsSet { .. } | Event::TermsSet { .. } | Event::Placed { .. } => {
            return Err("it is placed twice".into());
        }
    }
    Ok(())
}
