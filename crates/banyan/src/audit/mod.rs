//! The offline auditor: what must always be true, counted again from the log by other code than the rules.
//!
//! [`book`] follows every event, with a page for each capability, with plain tables and no knowledge of `banyan_domain::State`; [`acks`] holds the log to the
//! answers that were given. A finding names the log position where it shows.

pub(crate) mod acks;
mod acks_order;
pub(crate) mod book;
mod goods;
mod money;
mod orders;
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
    /// Units on hand, held and sold do not add up.
    Stock,
    /// Debits, credits and holds do not add up, or an account is overdrawn.
    Ledger,
    /// An order is paid without what it paid for, was charged for nothing, or has something that is another's.
    Checkout,
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
