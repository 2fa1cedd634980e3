//! The auditor's own book of orders, held against the books of goods, money, coupons and sagas: an order that says it is paid
//! has its goods, its money, its points and its coupon, and one that failed holds nothing.

use super::book::{Coupon, State as CouponState};
use super::ledger::LedgerBook;
use super::sagas::{SagaBook, Taken};
use super::stock::StockBook;
use super::{Findings, Fingerprint, Followed, Kind, ensure, fingerprint};
use banyan_domain::order::{Event, OrderLine, OrderState, Part, RefundLine};
use banyan_domain::{CouponId, OrderNo, TransferNo};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct OrderSummary {
    pub placed: u64,
    pub under_way: u64,
    pub paid: u64,
    pub cancelled: u64,
    pub failed: u64,
    pub refunds: u64,
}

/// The price list and all orders.
#[derive(Default)]
pub(crate) struct OrderBook {
    products: BTreeMap<Box<str>, Product>,
    /// The first is number 1.
    orders: Vec<Order>,
    /// Coupons and sales that paid orders have.
    coupons: BTreeSet<CouponId>,
    sales: BTreeSet<u64>,
    refunds: u64,
}

struct Product {
    price: i64,
    on_sale: bool,
    parts: Vec<Part>,
}

/// One order's page.
pub(crate) struct Order {
    pub state: OrderState,
    pub refunded: i64,
    pub refunded_points: i64,
    pub member: Fingerprint,
    /// What is paid with money.
    pub total: i64,
    /// Refunds begun, and of these done.
    pub refunds: u32,
    pub refunds_done: u32,
    lines: Vec<Line>,
    goods: BTreeMap<Box<str>, i64>,
    points: i64,
    coupon: Option<CouponId>,
    saga: u64,
    cancel_asked: bool,
    transfer: Option<TransferNo>,
    given_back: i64,
    open: Option<Refund>,
}

struct Line {
    quantity: u32,
    returned: u32,
}

struct Refund {
    cancel: bool,
    amount: i64,
    points: i64,
    lines: Vec<RefundLine>,
    saga: u64,
}

/// The other books.
pub(crate) struct Others<'a> {
    pub stock: &'a StockBook,
    pub ledger: &'a LedgerBook,
    pub sagas: &'a SagaBook,
    /// A coupon, and the order that holds it.
    pub coupon: &'a dyn Fn(CouponId) -> Option<(Coupon, Option<String>)>,
}

impl OrderBook {
    /// Follows one event, with the other books as they are at it.
    pub(crate) fn follow(&mut self, event: &Event, others: &Others<'_>) -> Followed {
        let said = match event {
            Event::ProductsSet { products, .. } => {
                for product in products {
                    let (price, on_sale, parts) =
                        (product.price.minor, product.on_sale, product.parts.clone());
                    self.products.insert(product.id.as_str().into(), Product { price, on_sale, parts });
                }
                Ok(())
            }
            Event::TermsSet { .. } => Ok(()),
            Event::Placed { .. } => self.placed(event),
            Event::Paid { order, transfer, points, reservation, .. } => {
                self.paid(*order, *transfer, *points, reservation.get(), others)
            }
            Event::Failed { order, .. } => self.failed(*order, others),
            Event::CancelRequested { order, .. } => self.order(*order).and_then(|order| {
                order.cancel_asked = true;
                must(order.state == OrderState::Placed, || "it is to be cancelled, and not open".into())
            }),
            Event::RefundBegun { order, refund, cancel, lines, amount, points, saga, .. } => {
                let (cancel, lines, saga) = (*cancel, lines.clone(), saga.get());
                let begun = Refund { cancel, amount: *amount, points: *points, lines, saga };
                self.refunds += 1;
                self.order(*order).and_then(|order| order.begin_refund(*refund, begun))
            }
            Event::RefundDone { order, refund } => self.order(*order).and_then(|order| {
                order.refunds_done += 1;
                order.refund_done(*refund, others)
            }),
            Event::RefundRefused { order, refund, .. } => {
                self.order(*order).and_then(|order| order.refund_refused(*refund))
            }
        };
        let name = event.order().map(|no| no.to_string()).unwrap_or_default();
        said.map_err(|what| (Kind::CustomerOrder, format!("{name}: {what}")))
    }

    /// Notes that a coupon is free again, because its order was given back: another order may use it.
    pub(crate) fn coupon_freed(&mut self, coupon: CouponId) {
        self.coupons.remove(&coupon);
    }

    /// The order numbered `no`.
    pub(crate) fn get(&self, no: u64) -> Option<&Order> {
        self.orders.get(usize::try_from(no).ok()?.checked_sub(1)?)
    }

    /// What was counted.
    pub(crate) fn summary(&self) -> OrderSummary {
        let count = |state| self.orders.iter().filter(|order| order.state == state).count() as u64;
        OrderSummary {
            placed: self.orders.len() as u64,
            under_way: count(OrderState::Placed),
            paid: count(OrderState::Paid),
            cancelled: count(OrderState::Cancelled),
            failed: count(OrderState::Failed),
            refunds: self.refunds,
        }
    }

    /// Checks what only the end of the log shows: no order waits for a saga that is over.
    pub(crate) fn close(&self, findings: &mut Findings, seq: u64, sagas: &SagaBook) {
        for (no, order) in (1_u64..).zip(&self.orders) {
            if order.state == OrderState::Placed && sagas.is_over(order.saga) {
                findings.add(seq, Kind::CustomerOrder, format!("o-{no} is open, and its checkout is over"));
            }
            if order.open.as_ref().is_some_and(|refund| sagas.is_over(refund.saga)) {
                let what = format!("o-{no}.{} is under way, and its saga is over", order.refunds);
                findings.add(seq, Kind::CustomerOrder, what);
            }
        }
    }

    fn order(&mut self, no: OrderNo) -> Result<&mut Order, String> {
        let place = usize::try_from(no.get()).ok().and_then(|no| no.checked_sub(1));
        place.and_then(|place| self.orders.get_mut(place)).ok_or_else(|| "it was never placed".into())
    }

    fn placed(&mut self, event: &Event) -> Said {
        let Event::Placed { order, member, lines, shipping, shipping_points, coupon, saga, .. } = event
        else {
            return Ok(());
        };
        let paid =
            |line: &OrderLine| line.unit_price * i64::from(line.quantity) - line.discount - line.points;
        let mut goods: BTreeMap<Box<str>, i64> = BTreeMap::new();
        for (line, part) in lines.iter().flat_map(|line| line.parts.iter().map(move |part| (line, part))) {
            let units = i64::from(part.quantity) * i64::from(line.quantity);
            *goods.entry(part.sku.as_str().into()).or_default() += units;
        }
        self.orders.push(Order {
            state: OrderState::Placed,
            refunded: 0,
            refunded_points: 0,
            member: fingerprint(member.as_str()),
            lines: lines.iter().map(|line| Line { quantity: line.quantity, returned: 0 }).collect(),
            goods,
            total: lines.iter().map(paid).sum::<i64>() + shipping - shipping_points,
            points: lines.iter().map(|line| line.points).sum::<i64>() + shipping_points,
            coupon: *coupon,
            saga: saga.get(),
            cancel_asked: false,
            transfer: None,
            given_back: 0,
            refunds: 0,
            refunds_done: 0,
            open: None,
        });
        let right = order.get() == self.orders.len() as u64;
        must(right, || format!("it is the {}. to be placed", self.orders.len()))?;
        for line in lines {
            let sound = line.quantity > 0 && line.discount >= 0 && line.points >= 0 && paid(line) >= 0;
            must(sound, || format!("{} of {} cost {}", line.quantity, line.product, paid(line)))?;
            let listed = self.products.get(line.product.as_str());
            let as_listed = listed.is_some_and(|product| {
                product.on_sale && product.price == line.unit_price && product.parts == line.parts
            });
            must(as_listed, || format!("{} is not on the price list as it was ordered", line.product))?;
        }
        must((0..=*shipping).contains(shipping_points), || "more points than shipping".into())?;
        must(coupon.is_some() || lines.iter().all(|line| line.discount == 0), || {
            "a discount without a coupon".into()
        })
    }

    fn paid(
        &mut self,
        no: OrderNo,
        transfer: Option<TransferNo>,
        points: Option<TransferNo>,
        reservation: u64,
        others: &Others<'_>,
    ) -> Said {
        let new_sale = transfer.is_none_or(|no| self.sales.insert(no.get()));
        let order = self.order(no)?;
        let was = std::mem::replace(&mut order.state, OrderState::Paid);
        order.transfer = transfer;
        let (coupon, saga) = (order.coupon, order.saga);
        let (total, wanted) = (order.total, order.points);
        let (member, goods) = (order.member, order.goods.clone());
        let new_coupon = coupon.is_none_or(|coupon| self.coupons.insert(coupon));
        must(was == OrderState::Placed, || format!("it was paid, and was {}", was.as_str()))?;
        must(transfer.is_some() == (total > 0), || {
            format!("it costs {total}, and was booked as {transfer:?}")
        })?;
        must(points.is_some() == (wanted > 0), || format!("it takes {wanted} points, and has {points:?}"))?;
        if others.sagas.is_by_hand(saga) {
            // An operator has taken over what the saga could not do: what is there is theirs to know.
            return Ok(());
        }
        must(new_sale, || format!("{transfer:?} paid another order"))?;
        must(new_coupon, || "its coupon paid another order".into())?;
        let sold = others.stock.sold(reservation);
        let sold_as_ordered = sold.as_ref() == Some(&goods);
        must(sold_as_ordered, || format!("it wants {goods:?}, and r-{reservation} sold {sold:?}"))?;
        if let Some(no) = transfer {
            let booked = others.ledger.given_back(no.get()).map(|(amount, _)| amount);
            must(booked == Some(total), || format!("it costs {total}, and {no} booked {booked:?}"))?;
        }
        if let Some(no) = points {
            let spent = others.ledger.captured(no.get());
            must(spent == wanted, || format!("it takes {wanted} points, and {spent} of {no} were taken"))?;
        }
        if let Some(coupon) = coupon {
            let found = (others.coupon)(coupon).map(|(row, _)| (row.member, row.state));
            let redeemed = found == Some((member, CouponState::Redeemed));
            must(redeemed, || "its coupon is not redeemed, or another member's".into())?;
        }
        Ok(())
    }

    fn failed(&mut self, no: OrderNo, others: &Others<'_>) -> Said {
        let order = self.order(no)?;
        let was = order.state;
        order.state = if order.cancel_asked { OrderState::Cancelled } else { OrderState::Failed };
        must(was == OrderState::Placed, || format!("it failed, and was {}", was.as_str()))?;
        if others.sagas.is_by_hand(order.saga) {
            return Ok(());
        }
        for taken in others.sagas.taken(order.saga) {
            let held = match taken {
                Taken::Reservation(no) => others.stock.is_held(no) || others.stock.sold(no).is_some(),
                Taken::Hold(no) => others.ledger.is_held(no) || others.ledger.captured(no) > 0,
            };
            must(!held, || format!("it failed, and {taken} is held or spent"))?;
        }
        let holder = order.coupon.and_then(|coupon| (others.coupon)(coupon)).and_then(|(_, holder)| holder);
        must(holder.as_deref() != Some(&no.to_string()), || "it failed, and its coupon is held".into())
    }
}

impl Order {
    fn begin_refund(&mut self, no: u32, refund: Refund) -> Said {
        self.refunds += 1;
        let (state, follows, free) = (self.state, no == self.refunds, self.open.is_none());
        self.refunded += refund.amount;
        self.refunded_points += refund.points;
        let mut fits = refund.amount >= 0 && refund.points >= 0;
        for part in &refund.lines {
            let line = self.lines.get_mut(usize::from(part.line));
            fits &= line.is_some_and(|line| {
                line.returned += part.quantity;
                part.quantity > 0 && line.returned <= line.quantity
            });
        }
        self.open = Some(refund);
        let (refunded, points) = (self.refunded, self.refunded_points);
        must(state == OrderState::Paid, || format!("a refund began, and it is {}", state.as_str()))?;
        must(follows && free, || format!("refund {no} is the {}., or another is under way", self.refunds))?;
        must(refunded <= self.total, || format!("{refunded} is given back of {}", self.total))?;
        must(points <= self.points, || format!("{points} points are given back of {}", self.points))?;
        must(fits, || "more comes back than was ordered".into())
    }

    fn refund_done(&mut self, no: u32, others: &Others<'_>) -> Said {
        let refund = self.open.take().ok_or("a refund is done that is not under way")?;
        self.given_back += refund.amount;
        if refund.cancel {
            self.state = OrderState::Cancelled;
        }
        let all = self.refunded == self.total && self.refunded_points == self.points;
        must(no == self.refunds, || format!("refund {no} is done, and {} is under way", self.refunds))?;
        must(!refund.cancel || all, || "it is cancelled, and not all of it was given back".into())?;
        if others.sagas.is_by_hand(refund.saga) {
            return Ok(());
        }
        let Some(sale) = self.transfer.filter(|_| refund.amount > 0) else { return Ok(()) };
        // A sale is forgotten long after an order can be returned.
        let booked = others.ledger.given_back(sale.get()).map(|(_, back)| back);
        let given = self.given_back;
        must(booked.is_some_and(|back| back >= given), || {
            format!("{given} was given back, and {booked:?} of {sale} booked")
        })
    }

    fn refund_refused(&mut self, no: u32) -> Said {
        let refund = self.open.take().ok_or("a refund was refused that is not under way")?;
        self.refunded -= refund.amount;
        self.refunded_points -= refund.points;
        for part in &refund.lines {
            if let Some(line) = self.lines.get_mut(usize::from(part.line)) {
                line.returned -= part.quantity;
            }
        }
        must(no == self.refunds, || format!("refund {no} was refused, and {} is under way", self.refunds))
    }
}

type Said = Result<(), String>;

fn must(holds: bool, what: impl FnOnce() -> String) -> Said {
    ensure(holds, Kind::CustomerOrder, what).map_err(|(_, what)| what)
}
