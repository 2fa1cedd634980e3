//! The auditor's page for orders: a paid order has its goods, its coupon, its points and its money, and no other order has them.

use super::goods::{Goods, State as Reserved};
use super::money::Money;
use super::{Findings, Kind};
use banyan_domain::order::{Event, OrderLine};
use banyan_domain::{CouponId, OrderNo, TransferNo, saga};
use std::collections::{BTreeMap, BTreeSet};

/// Everything about orders.
#[derive(Default)]
pub(crate) struct Orders {
    orders: BTreeMap<u64, Order>,
    /// Who used a coupon, where an order of this store did.
    redeemed: BTreeMap<u64, Box<str>>,
    /// What a paid order has as its own.
    reservations: BTreeSet<u64>,
    transfers: BTreeSet<u64>,
    ended_sagas: BTreeSet<u64>,
}

/// One order.
pub(crate) struct Order {
    pub(crate) member: Box<str>,
    pub(crate) total: i64,
    pub(crate) state: State,
    pub(crate) refunds_done: usize,
    pub(crate) is_cancel_requested: bool,
    points: i64,
    units: Option<u64>,
    coupon: Option<CouponId>,
    saga: u64,
    transfer: Option<u64>,
    refunds: Vec<Refund>,
    /// Money and points that went back, or are on their way.
    given: (i64, i64),
}

struct Refund {
    is_cancel: bool,
    amount: i64,
    points: i64,
    is_over: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Placed,
    Paid,
    Cancelled,
    Failed,
}

impl Orders {
    /// An order of this store used a coupon.
    pub(crate) fn redeemed(&mut self, coupon: CouponId, order: &str) {
        if order.starts_with("o-") {
            self.redeemed.insert(coupon.get(), order.into());
        }
    }

    /// A saga came to its end.
    pub(crate) fn saga(&mut self, event: &saga::Event) {
        if let saga::Event::Ended { saga, .. } = event {
            self.ended_sagas.insert(saga.get());
        }
    }

    /// The order numbered `no`.
    pub(crate) fn order(&self, no: u64) -> Option<&Order> {
        self.orders.get(&no)
    }

    /// How many orders were placed, and how many of them were ever paid.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.orders.len() as u64, self.reservations.len() as u64)
    }

    /// Follows one event.
    pub(crate) fn follow(
        &mut self,
        seq: u64,
        event: &Event,
        goods: &Goods,
        money: &Money,
        findings: &mut Findings,
    ) {
        let Some(no) = event.order().map(OrderNo::get) else { return };
        let followed = match event {
            Event::Placed { member, lines, shipping, shipping_points, coupon, saga, .. } => {
                let line = |amount: fn(&OrderLine) -> i64| lines.iter().map(amount).sum::<i64>();
                let points = line(|line| line.points) + shipping_points;
                let total = line(OrderLine::paid) + shipping - shipping_points;
                self.place(no, Order::new(member.as_str(), total, points, *coupon, saga.get(), units(lines)))
            }
            Event::Paid { transfer, points, reservation, .. } => {
                let (transfer, points) = (transfer.map(TransferNo::get), points.map(TransferNo::get));
                self.pay(no, transfer, points, reservation.get(), goods, money)
            }
            Event::Failed { .. } => self.fail(no, goods),
            Event::CancelRequested { .. } => self.change(no, |order| {
                order.is_cancel_requested = true;
                ensure(order.state == State::Placed, || "it was no longer being checked out".into())
            }),
            Event::RefundBegun { refund, cancel, amount, points, .. } => self.change(no, |order| {
                order.refunds.push(Refund {
                    is_cancel: *cancel,
                    amount: *amount,
                    points: *points,
                    is_over: false,
                });
                order.given = (order.given.0 + amount, order.given.1 + points);
                let given = order.given;
                ensure(*refund as usize == order.refunds.len(), || {
                    format!("refund {refund} is out of order")
                })?;
                ensure(order.state == State::Paid, || "a refund of what is not paid".into())?;
                let fits = given.0 <= order.total && given.1 <= order.points;
                ensure(fits, || {
                    format!("{given:?} given back of {} and {} points", order.total, order.points)
                })
            }),
            Event::RefundDone { refund, .. } => self.refunded(no, *refund, money),
            Event::RefundRefused { refund, .. } => self.change(no, |order| {
                let (amount, points, _) = order.end_refund(*refund)?;
                order.given = (order.given.0 - amount, order.given.1 - points);
                order.refunds[*refund as usize - 1].amount = 0;
                Ok(())
            }),
            Event::ProductsSet { .. } | Event::TermsSet { .. } => Ok(()),
        };
        if let Err(what) = followed {
            findings.add(seq, Kind::Checkout, format!("o-{no}: {what}"));
        }
    }

    /// An order whose checkout is over has an end of its own.
    pub(crate) fn close(&self, seq: u64, findings: &mut Findings) {
        for (no, order) in &self.orders {
            if order.state == State::Placed && self.ended_sagas.contains(&order.saga) {
                let what = format!("o-{no}: its checkout is over, and it is neither paid nor failed");
                findings.add(seq, Kind::Checkout, what);
            }
        }
    }

    fn place(&mut self, no: u64, order: Order) -> Result<(), String> {
        let next = self.orders.len() as u64 + 1;
        self.orders.insert(no, order);
        ensure(no == next, || format!("the order after o-{} is o-{no}", next - 1))
    }

    fn pay(
        &mut self,
        no: u64,
        transfer: Option<u64>,
        points: Option<u64>,
        reservation: u64,
        goods: &Goods,
        money: &Money,
    ) -> Result<(), String> {
        let name = format!("o-{no}");
        let redeemed = &self.redeemed;
        let order = self.orders.get_mut(&no).ok_or("it was never placed")?;
        let before = order.state;
        (order.state, order.transfer) = (State::Paid, transfer);
        ensure(before == State::Placed, || format!("it was {before:?} when it was paid"))?;
        let goods = goods.reservation(reservation).ok_or("paid without goods")?;
        let own = goods.state == Reserved::Committed && goods.order.as_deref() == Some(&*name);
        ensure(own, || format!("paid, and r-{reservation} is {:?} for {:?}", goods.state, goods.order))?;
        let all = order.units.is_none_or(|units| units == goods.units);
        ensure(all, || format!("{:?} units were ordered, {} sold", order.units, goods.units))?;
        if let Some(coupon) = order.coupon {
            let by = redeemed.get(&coupon.get());
            ensure(by.is_some_and(|by| **by == *name), || format!("paid, and its coupon is used by {by:?}"))?;
        }
        for (transfer, amount, what) in [(transfer, order.total, "money"), (points, order.points, "points")] {
            let posted = transfer.and_then(|no| money.transfer(no)).map_or(0, |found| found.posted);
            ensure(posted == i128::from(amount), || format!("{amount} of {what} to pay, {posted} booked"))?;
        }
        for transfer in [transfer, points].into_iter().flatten() {
            ensure(self.transfers.insert(transfer), || format!("t-{transfer} pays another order, too"))?;
        }
        let is_new = self.reservations.insert(reservation);
        ensure(is_new, || format!("r-{reservation} is another order's, too"))
    }

    fn fail(&mut self, no: u64, goods: &Goods) -> Result<(), String> {
        let name = format!("o-{no}");
        let redeemed = &self.redeemed;
        let coupon = self.orders.get(&no).and_then(|order| redeemed.get(&order.coupon?.get()));
        let kept = coupon.is_some_and(|by| **by == *name) || goods.has_kept(&name);
        self.change(no, |order| {
            let before = order.state;
            order.state = if order.is_cancel_requested { State::Cancelled } else { State::Failed };
            ensure(before == State::Placed, || format!("it was {before:?} when it failed"))?;
            ensure(!kept, || "it failed, and still has goods or its coupon".into())
        })
    }

    fn refunded(&mut self, no: u64, refund: u32, money: &Money) -> Result<(), String> {
        self.change(no, |order| {
            let (_, _, is_cancel) = order.end_refund(refund)?;
            order.refunds_done += 1;
            if is_cancel {
                order.state = State::Cancelled;
            }
            let over = order.refunds.iter().filter(|refund| refund.is_over);
            let given: i64 = over.map(|refund| refund.amount).sum();
            let booked = order.transfer.and_then(|no| money.transfer(no)).map_or(0, |found| found.refunded);
            ensure(booked == i128::from(given), || format!("{given} given back, {booked} booked"))
        })
    }

    fn change(
        &mut self,
        no: u64,
        change: impl FnOnce(&mut Order) -> Result<(), String>,
    ) -> Result<(), String> {
        change(self.orders.get_mut(&no).ok_or("it was never placed")?)
    }
}

impl Order {
    fn new(
        member: &str,
        total: i64,
        points: i64,
        coupon: Option<CouponId>,
        saga: u64,
        units: Option<u64>,
    ) -> Self {
        Self {
            member: member.into(),
            total,
            state: State::Placed,
            refunds_done: 0,
            is_cancel_requested: false,
            points,
            units,
            coupon,
            saga,
            transfer: None,
            refunds: Vec::new(),
            given: (0, 0),
        }
    }

    /// Whether a refund of this number was begun.
    pub(crate) fn has_refund(&self, number: usize) -> bool {
        (1..=self.refunds.len()).contains(&number)
    }

    /// A refund's money, points, and whether it cancels the order. A refused one counts no longer.
    fn end_refund(&mut self, refund: u32) -> Result<(i64, i64, bool), String> {
        let found = (refund as usize).checked_sub(1).and_then(|index| self.refunds.get_mut(index));
        let found =
            found.filter(|refund| !refund.is_over).ok_or("the end of a refund that is not under way")?;
        found.is_over = true;
        Ok((found.amount, found.points, found.is_cancel))
    }
}

/// Units of all goods that the lines are made of.
fn units(lines: &[OrderLine]) -> Option<u64> {
    let of = |line: &OrderLine| {
        let one: u64 = line.parts.iter().map(|part| u64::from(part.quantity)).sum();
        one.checked_mul(u64::from(line.quantity))
    };
    lines.iter().map(of).try_fold(0_u64, |sum, units| sum.checked_add(units?))
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}
