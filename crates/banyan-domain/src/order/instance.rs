//! One order: what it costs, whether it is paid, and what of it was given back.

use super::event::{OrderLine, RefundLine};
use super::refusal::Refusal;
use crate::{
    Actor, CouponId, Currency, MemberId, OrderNo, Reason, ReservationNo, SagaNo, Timestamp, TransferNo,
};
use minicbor::{Decode, Encode};

/// An order.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Order {
    /// Its number.
    #[n(0)]
    pub no: OrderNo,
    /// Whose it is.
    #[n(1)]
    pub member: MemberId,
    /// What was ordered.
    #[n(2)]
    pub lines: Vec<OrderLine>,
    /// The currency of every amount but points.
    #[n(3)]
    pub currency: Currency,
    /// What shipping costs.
    #[n(4)]
    pub shipping: i64,
    /// How much of that is paid with points.
    #[n(5)]
    pub shipping_points: i64,
    /// The tax in it.
    #[n(6)]
    pub shipping_vat: i64,
    /// The coupon used.
    #[n(7)]
    pub coupon: Option<CouponId>,
    /// The checkout saga.
    #[n(8)]
    pub saga: SagaNo,
    /// When it was placed.
    #[n(9)]
    pub placed_at: Timestamp,
    /// Where it stands.
    #[n(10)]
    pub state: OrderState,
    /// Whether somebody wanted it cancelled before it was paid.
    #[n(11)]
    pub cancel_requested: bool,
    /// How it was paid, if it was.
    #[n(12)]
    pub payment: Option<Payment>,
    /// When it failed or was cancelled, if so.
    #[n(13)]
    pub ended_at: Option<Timestamp>,
    /// Why it failed, in a word, if it did.
    #[n(14)]
    pub why: Option<Box<str>>,
    /// What was given back, in order.
    #[n(15)]
    pub refunds: Vec<Refund>,
}

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum OrderState {
    /// Its checkout is under way.
    #[n(0)]
    Placed,
    /// Paid, and not cancelled since.
    #[n(1)]
    Paid,
    /// Cancelled: nothing was taken, or everything was given back.
    #[n(2)]
    Cancelled,
    /// The checkout did not come to its end.
    #[n(3)]
    Failed,
}

/// How an order was paid.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Payment {
    /// When.
    #[n(0)]
    pub at: Timestamp,
    /// The payment company's id; empty if no money was to pay.
    #[n(1)]
    pub id: Box<str>,
    /// The transfer that booked the sale.
    #[n(2)]
    pub transfer: Option<TransferNo>,
    /// The transfer that held the points.
    #[n(3)]
    pub points: Option<TransferNo>,
    /// The reservation that was committed.
    #[n(4)]
    pub reservation: ReservationNo,
}

/// Part of an order that was, or is to be, given back.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Refund {
    /// The how-manieth of the order, from 1.
    #[n(0)]
    pub no: u32,
    /// Whether the order is cancelled with it.
    #[n(1)]
    pub cancel: bool,
    /// What comes back.
    #[n(2)]
    pub lines: Vec<RefundLine>,
    /// The money.
    #[n(3)]
    pub amount: i64,
    /// The points.
    #[n(4)]
    pub points: i64,
    /// By whom.
    #[n(5)]
    pub by: Actor,
    /// Why.
    #[n(6)]
    pub reason: Reason,
    /// The saga that does it.
    #[n(7)]
    pub saga: SagaNo,
    /// Where it stands.
    #[n(8)]
    pub state: RefundState,
    /// When it began.
    #[n(9)]
    pub begun_at: Timestamp,
    /// When it was done or refused.
    #[n(10)]
    pub ended_at: Option<Timestamp>,
    /// Why it was refused, in a word, if it was.
    #[n(11)]
    pub why: Option<Box<str>>,
}

/// Where a refund stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum RefundState {
    /// Its saga is under way.
    #[n(0)]
    Begun,
    /// Everything in it was given back.
    #[n(1)]
    Done,
    /// Nothing in it was given back.
    #[n(2)]
    Refused,
}

impl OrderState {
    /// The state in a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::Paid => "paid",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}

impl RefundState {
    /// The state in a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Done => "done",
            Self::Refused => "refused",
        }
    }
}

impl Order {
    /// The value of the goods before any discount.
    #[must_use]
    pub fn goods(&self) -> i64 {
        self.lines.iter().map(OrderLine::gross).sum()
    }

    /// What the coupon took off.
    #[must_use]
    pub fn discount(&self) -> i64 {
        self.lines.iter().map(|line| line.discount).sum()
    }

    /// What is paid with points.
    #[must_use]
    pub fn points(&self) -> i64 {
        self.lines.iter().map(|line| line.points).sum::<i64>() + self.shipping_points
    }

    /// What is paid with money.
    #[must_use]
    pub fn total(&self) -> i64 {
        self.lines.iter().map(OrderLine::paid).sum::<i64>() + self.shipping - self.shipping_points
    }

    /// The tax in it.
    #[must_use]
    pub fn vat(&self) -> i64 {
        self.lines.iter().map(|line| line.vat).sum::<i64>() + self.shipping_vat
    }

    /// Units of a line that came back, or are on their way.
    #[must_use]
    pub fn returned(&self, line: usize) -> u32 {
        let of_line = |part: &&RefundLine| usize::from(part.line) == line;
        self.standing().flat_map(|refund| refund.lines.iter().filter(of_line)).map(|part| part.quantity).sum()
    }

    /// The money that was given back, or is on its way.
    #[must_use]
    pub fn refunded(&self) -> i64 {
        self.standing().map(|refund| refund.amount).sum()
    }

    /// The points that were given back, or are on their way.
    #[must_use]
    pub fn refunded_points(&self) -> i64 {
        self.standing().map(|refund| refund.points).sum()
    }

    /// The refund that is under way, if one is: there is never more than one.
    #[must_use]
    pub fn refund_under_way(&self) -> Option<&Refund> {
        self.refunds.last().filter(|refund| refund.state == RefundState::Begun)
    }

    /// The refunds that were not refused.
    fn standing(&self) -> impl Iterator<Item = &Refund> {
        self.refunds.iter().filter(|refund| refund.state != RefundState::Refused)
    }

    /// Everything that has not come back: what a cancellation gives back.
    #[must_use]
    pub fn everything_left(&self) -> (Vec<RefundLine>, i64, i64) {
        let left = |(at, line): (usize, &OrderLine)| RefundLine {
            line: at as u16,
            quantity: line.quantity - self.returned(at),
        };
        let lines = self.lines.iter().enumerate().map(left).filter(|line| line.quantity > 0).collect();
        (lines, self.total() - self.refunded(), self.points() - self.refunded_points())
    }

    /// Which lines of the order `wanted` units of products come from, and what they cost: money and points.
    ///
    /// A line gives back the share of its price that its units have, rounded down over all that has come back of it, so
    /// that its returns together give back exactly what it cost, however they were cut.
    ///
    /// # Errors
    /// [`Refusal::ReturnExceedsOrder`] if more would come back than was ordered and has not come back yet.
    pub fn plan_return(&self, wanted: &[super::CartLine]) -> Result<(Vec<RefundLine>, i64, i64), Refusal> {
        let mut taken = vec![0_u32; self.lines.len()];
        for want in wanted {
            let mut missing = want.quantity;
            for (at, line) in self.lines.iter().enumerate().filter(|(_, line)| line.product == want.product) {
                let room = line.quantity - self.returned(at) - taken[at];
                let take = room.min(missing);
                taken[at] += take;
                missing -= take;
            }
            if missing > 0 {
                return Err(Refusal::ReturnExceedsOrder);
            }
        }
        let (mut lines, mut amount, mut points) = (Vec::new(), 0, 0);
        for (at, &quantity) in taken.iter().enumerate().filter(|(_, quantity)| **quantity > 0) {
            let (line, before) = (&self.lines[at], self.returned(at));
            let share = |whole: i64, units: u32| {
                (i128::from(whole) * i128::from(units) / i128::from(line.quantity)) as i64
            };
            let part = |whole: i64| share(whole, before + quantity) - share(whole, before);
            amount += part(line.paid());
            points += part(line.points);
            lines.push(RefundLine { line: at as u16, quantity });
        }
        Ok((lines, amount, points))
    }
}
