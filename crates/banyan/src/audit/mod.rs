//! The offline auditor: what must always be true, counted again from the log by other code than the rules.
//!
//! [`book`] follows every event with plain tables and no knowledge of `banyan_domain::State`: coupons itself, goods, money,
//! sagas and orders in [`stock`], [`ledger`], [`sagas`] and [`orders`]. [`acks`] holds the log to the answers that were given. A finding names
//! the log position where it shows.

pub(crate) mod acks;
mod acks_order;
pub(crate) mod book;
pub(crate) mod ledger;
pub(crate) mod legacy;
pub(crate) mod orders;
pub(crate) mod sagas;
pub(crate) mod stock;
#[cfg(test)]
mod tests;

use serde::Serialize;
use std::collections::BTreeMap;

/// Findings that are kept in full; the rest is counted.
const KEPT: usize = 20;

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// Log position where it shows.
    pub seq: u64,
    /// Which truth it breaks.
    pub kind: Kind,
    /// What was found.
    pub what: String,
}

/// Which truth a finding breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// An acknowledged answer is not in the log.
    Missing,
    /// Two acknowledged answers to the same question differ.
    AnswersDiffer,
    /// More coupons were issued than the quantity.
    OverQuantity,
    /// A member was issued more coupons than the limit.
    OverLimit,
    /// A coupon was issued outside the window, while paused, or after the end.
    NotOpen,
    /// A coupon was issued to a member who was not on the allow-list.
    NotAllowed,
    /// A coupon changed in a way its state does not allow.
    Lifecycle,
    /// A hold did not end when it had to.
    Hold,
    /// Two coupons have one code or one number.
    Code,
    /// Time or position went back or left a gap.
    Order,
    /// An idempotency key was used twice.
    Key,
    /// The rules refuse the event, or their digest differs.
    Rules,
    /// The rules and the auditor count differently.
    Totals,
    /// Goods came from nowhere, or an item has numbers that cannot be.
    Stock,
    /// A reservation was made of what was not there, ended in a way it may not, or did not end when it had to.
    Reservation,
    /// A member reserved more units than the purchase limit.
    PurchaseLimit,
    /// Money came from nowhere, was given back twice, or an account has a balance that its rule forbids.
    Ledger,
    /// A saga took a step it may not take, or ended otherwise than it says.
    Saga,
    /// An order costs what it should not, has not what it says, or was given back too much.
    CustomerOrder,
    /// A move on the way over from an old shop skips something, or both sides decided at once.
    Legacy,
}

/// Whether an event may be, or which truth it breaks and how.
pub(crate) type Followed = Result<(), (Kind, String)>;

/// Nothing, or what is wrong.
pub(crate) fn ensure(holds: bool, kind: Kind, what: impl FnOnce() -> String) -> Followed {
    if holds { Ok(()) } else { Err((kind, what())) }
}

/// What was found: all of it counted, the first in full.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    first: Vec<Finding>,
    counts: BTreeMap<Kind, u64>,
}

impl Findings {
    /// Notes a finding.
    pub(crate) fn add(&mut self, seq: u64, kind: Kind, what: impl Into<String>) {
        *self.counts.entry(kind).or_default() += 1;
        if self.first.len() < KEPT {
            self.first.push(Finding { seq, kind, what: what.into() });
        }
    }

    /// The first ones.
    pub(crate) fn first(&self) -> &[Finding] {
        &self.first
    }

    /// How many of one kind.
    pub(crate) fn count(&self, kind: Kind) -> u64 {
        self.counts.get(&kind).copied().unwrap_or(0)
    }

    /// How many in all.
    pub(crate) fn total(&self) -> u64 {
        self.counts.values().sum()
    }
}

/// A short stand-in for a text of any length: two texts with one fingerprint are one text, for all that matters here.
pub(crate) type Fingerprint = [u8; 16];

/// The fingerprint of `text`.
pub(crate) fn fingerprint(text: &str) -> Fingerprint {
    let hash = blake3::hash(text.as_bytes());
    core::array::from_fn(|i| hash.as_bytes()[i])
}
