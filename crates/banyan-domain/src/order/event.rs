//! What can happen to orders and the price list. Events are stored for ever: fields get new numbers, never new meanings.

use super::product::{Part, Product, Terms};
use crate::{
    Actor, CouponId, Currency, MemberId, OrderNo, ProductId, Reason, ReservationNo, SagaNo, TransferNo,
};
use minicbor::{Decode, Encode};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Event {
    /// Products were put on the price list, or changed.
    #[n(0)]
    ProductsSet {
        /// As they are from now on. Never empty.
        #[n(0)]
        products: Vec<Product>,
        /// By whom.
        #[n(1)]
        by: Actor,
    },
    /// The terms were set.
    #[n(1)]
    TermsSet {
        /// As they are from now on.
        #[n(0)]
        terms: Terms,
        /// By whom.
        #[n(1)]
        by: Actor,
    },
    /// An order was placed: its prices stand, and its checkout is under way.
    #[n(2)]
    Placed {
        /// The number it got.
        #[n(0)]
        order: OrderNo,
        /// Whose it is.
        #[n(1)]
        member: MemberId,
        /// What was ordered, at which price.
        #[n(2)]
        lines: Vec<OrderLine>,
        /// The currency of every amount but points.
        #[n(3)]
        currency: Currency,
        /// What shipping costs.
        #[n(4)]
        shipping: i64,
        /// How much of that is paid with points.
        #[n(5)]
        shipping_points: i64,
        /// The tax in it.
        #[n(6)]
        shipping_vat: i64,
        /// The coupon used.
        #[n(7)]
        coupon: Option<CouponId>,
        /// The checkout saga.
        #[n(8)]
        saga: SagaNo,
    },
    /// The order is paid: its stock, coupon, points and money are its own.
    #[n(3)]
    Paid {
        /// Which order.
        #[n(0)]
        order: OrderNo,
        /// The payment company's id of the payment; empty if no money was to pay.
        #[n(1)]
        payment: Box<str>,
        /// The transfer that booked the sale, if money was to pay.
        #[n(2)]
        transfer: Option<TransferNo>,
        /// The transfer that held the points, if points were used.
        #[n(3)]
        points: Option<TransferNo>,
        /// The reservation that was committed.
        #[n(4)]
        reservation: ReservationNo,
    },
    /// The checkout did not come to its end, and everything it had taken was given back.
    #[n(4)]
    Failed {
        /// Which order.
        #[n(0)]
        order: OrderNo,
        /// Why, in a word.
        #[n(1)]
        why: Box<str>,
    },
    /// Somebody wants an order cancelled that is not paid yet: its checkout turns back.
    #[n(5)]
    CancelRequested {
        /// Which order.
        #[n(0)]
        order: OrderNo,
        /// By whom.
        #[n(1)]
        by: Actor,
        /// Why.
        #[n(2)]
        reason: Reason,
    },
    /// Part of a paid order, or all that is left of it, is being given back.
    #[n(6)]
    RefundBegun {
        /// Which order.
        #[n(0)]
        order: OrderNo,
        /// The how-manieth of the order, from 1.
        #[n(1)]
        refund: u32,
        /// Whether the order is cancelled with it: all that is left, and the shipping.
        #[n(2)]
        cancel: bool,
        /// What comes back.
        #[n(3)]
        lines: Vec<RefundLine>,
        /// The money to give back.
        #[n(4)]
        amount: i64,
        /// The points to give back.
        #[n(5)]
        points: i64,
        /// By whom.
        #[n(6)]
        by: Actor,
        /// Why.
        #[n(7)]
        reason: Reason,
        /// The saga that does it.
        #[n(8)]
        saga: SagaNo,
    },
    /// It was given back.
    #[n(7)]
    RefundDone {
        /// Which order.
        #[n(0)]
        order: OrderNo,
        /// Which refund.
        #[n(1)]
        refund: u32,
    },
    /// It was not given back, and everything is as before.
    #[n(8)]
    RefundRefused {
        /// Which order.
        #[n(0)]
        order: OrderNo,
        /// Which refund.
        #[n(1)]
        refund: u32,
        /// Why, in a word.
        #[n(2)]
        why: Box<str>,
    },
}

/// One line of an order. What it costs is `unit_price * quantity - discount`, of which `points` are paid with points and the
/// rest with money.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct OrderLine {
    /// What was ordered.
    #[n(0)]
    pub product: ProductId,
    /// How many, from 1.
    #[n(1)]
    pub quantity: u32,
    /// The price of one, tax included.
    #[n(2)]
    pub unit_price: i64,
    /// This line's share of the discount.
    #[n(3)]
    pub discount: i64,
    /// This line's share of the points.
    #[n(4)]
    pub points: i64,
    /// The tax in the line's price after the discount.
    #[n(5)]
    pub vat: i64,
    /// What one was made of when it was ordered.
    #[n(6)]
    pub parts: Vec<Part>,
}

/// Units of one line that come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct RefundLine {
    /// The place of the line in the order, from 0.
    #[n(0)]
    pub line: u16,
    /// How many.
    #[n(1)]
    pub quantity: u32,
}

impl OrderLine {
    /// The price of the line before any discount.
    #[must_use]
    pub const fn gross(&self) -> i64 {
        self.unit_price * self.quantity as i64
    }

    /// What is paid for it with money.
    #[must_use]
    pub const fn paid(&self) -> i64 {
        self.gross() - self.discount - self.points
    }
}

impl Event {
    /// The order it concerns, if one.
    #[must_use]
    pub const fn order(&self) -> Option<OrderNo> {
        match self {
            Self::ProductsSet { .. } | Self::TermsSet { .. } => None,
            Self::Placed { order, .. }
            | Self::Paid { order, .. }
            | Self::Failed { order, .. }
            | Self::CancelRequested { order, .. }
            | Self::RefundBegun { order, .. }
            | Self::RefundDone { order, .. }
            | Self::RefundRefused { order, .. } => Some(*order),
        }
    }
}
