//! The price list, the terms and the orders of a shard.

use super::instance::{Order, OrderState};
use super::product::{Product, Terms};
use crate::digest::{self, Digest};
use crate::state::Violation;
use crate::{Millis, OrderNo, ProductId, Timestamp, limits};
use core::ops::Bound;
use std::collections::{BTreeMap, BTreeSet};

/// The state of the orders.
#[derive(Clone, Debug, Default)]
pub struct Orders {
    pub(crate) products: BTreeMap<ProductId, Product>,
    pub(crate) terms: Option<Terms>,
    /// Orders that may still change, or ended not long ago.
    pub(crate) orders: BTreeMap<OrderNo, Order>,
    /// How many there have ever been.
    pub(crate) placed: u64,
    /// When which is let go of.
    pub(crate) over: BTreeSet<(Timestamp, OrderNo)>,
    pub(crate) digest: Digest,
}

impl Orders {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The terms, once they are set.
    #[must_use]
    pub const fn terms(&self) -> Option<&Terms> {
        self.terms.as_ref()
    }

    /// The product `id`.
    #[must_use]
    pub fn product(&self, id: &ProductId) -> Option<&Product> {
        self.products.get(id)
    }

    /// The products after `id`, or all, in order of id.
    pub fn products_after(&self, id: Option<&ProductId>) -> impl Iterator<Item = &Product> {
        let from = id.map_or(Bound::Unbounded, Bound::Excluded);
        self.products.range((from, Bound::Unbounded)).map(|(_, product)| product)
    }

    /// The order `no`, if it is in the hot state.
    #[must_use]
    pub fn order(&self, no: OrderNo) -> Option<&Order> {
        self.orders.get(&no)
    }

    /// The orders in the hot state, in order of placing.
    pub fn orders(&self) -> impl Iterator<Item = &Order> {
        self.orders.values()
    }

    /// The orders in the hot state that were placed before `no`, the newest first.
    pub fn orders_before(&self, no: OrderNo) -> impl Iterator<Item = &Order> {
        self.orders.range(..no).rev().map(|(_, order)| order)
    }

    /// How many orders there have ever been.
    #[must_use]
    pub const fn placed(&self) -> u64 {
        self.placed
    }

    /// The digest kept current by `apply`.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The digest computed from nothing, to compare with [`Self::digest`].
    #[must_use]
    pub fn recompute_digest(&self) -> Digest {
        let mut digest = Digest::default();
        self.products.values().for_each(|product| digest.add(product_digest(product)));
        self.terms.iter().for_each(|terms| digest.add(terms_digest(terms)));
        self.orders.values().for_each(|order| digest.add(order_digest(order)));
        digest.add(placed_digest(self.placed));
        digest
    }

    /// Checks every invariant by counting from nothing.
    ///
    /// # Errors
    /// The first [`Violation`] found.
    pub fn check_invariants(&self) -> Result<(), Violation> {
        let fail = |what| Err(Violation::new(what));
        for order in self.orders.values() {
            if order.no.get() > self.placed {
                return fail("an order has a number that was never given");
            }
            if (order.payment.is_some()) != order.was_paid() {
                return fail("an order is paid and not paid");
            }
            if order.refunded() > order.total() || order.refunded_points() > order.points() {
                return fail("more of an order was given back than was paid");
            }
            let too_much = |(at, line): (usize, &super::OrderLine)| order.returned(at) > line.quantity;
            if order.lines.iter().enumerate().any(too_much) {
                return fail("more of an order came back than was ordered");
            }
        }
        let over: BTreeSet<_> = self.orders.values().filter_map(Order::over).collect();
        if over != self.over {
            return fail("orders are let go of at another time than they should be");
        }
        if self.recompute_digest() != self.digest {
            return fail("the digest kept by apply differs from the digest of the orders");
        }
        Ok(())
    }
}

impl Order {
    /// Whether it was paid once.
    const fn was_paid(&self) -> bool {
        matches!(self.state, OrderState::Paid) || !self.refunds.is_empty()
    }

    /// When it is let go of, if nothing changes: once it is over, or can no longer be returned.
    pub(crate) fn over(&self) -> Option<(Timestamp, OrderNo)> {
        let at = match (self.ended_at, &self.payment) {
            (Some(ended), _) => ended.plus(Millis::new(limits::ORDER_ENDED_MILLIS)),
            (None, Some(payment)) if self.refund_under_way().is_none() => {
                payment.at.plus(Millis::new(limits::ORDER_PAID_MILLIS))
            }
            _ => return None,
        };
        Some((at, self.no))
    }
}

pub(crate) fn product_digest(product: &Product) -> u128 {
    digest::row_bytes(64, &minicbor::to_vec(product).expect("a vector takes every write"))
}

pub(crate) fn terms_digest(terms: &Terms) -> u128 {
    digest::row_bytes(65, &minicbor::to_vec(terms).expect("a vector takes every write"))
}

pub(crate) fn order_digest(order: &Order) -> u128 {
    let bytes = minicbor::to_vec(order).expect("a vector takes every write");
    digest::row_texts(&[66], core::iter::once(&*bytes))
}

/// Nothing before the first, so that a store without orders has no digest of them.
pub(crate) fn placed_digest(placed: u64) -> u128 {
    if placed == 0 { 0 } else { digest::row(&[67, placed]) }
}
