//! The auditor's own idea of the shop: plain lists and counts, written from the rules as they are described and sharing no
//! code with `banyan-domain` but the names of things. It is fed with the events of the log and objects to any that the
//! rules do not allow.

mod compare;
mod coupons;
pub(crate) mod ledger;
mod local;
pub(crate) mod orders;
pub(crate) mod sagas;
pub(crate) mod stock;

pub(crate) use crate::object::Objection;
pub(crate) use coupons::Campaign;

use banyan_domain::{Entry, Event, KeyStamp, Outcome, Remembered, limits};
use std::collections::BTreeMap;

/// Everything that the log says so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) campaigns: Vec<Campaign>,
    by_id: BTreeMap<String, usize>,
    pub(crate) stock: stock::Stock,
    pub(crate) ledger: ledger::Ledger,
    pub(crate) sagas: sagas::Sagas,
    pub(crate) orders: orders::Orders,
    keys: BTreeMap<(u64, u64), Key>,
    pub(crate) time: u64,
    pub(crate) seq: u64,
}

/// A key under which something was carried out, or found to be so already.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) request: u64,
    pub(crate) at: u64,
    pub(crate) seq: u64,
    pub(crate) outcome: Outcome,
}

impl Model {
    /// The key `stamp`, if it still counts at `now`.
    pub(crate) fn key(&self, stamp: &KeyStamp, now: u64) -> Option<&Key> {
        let key = self.keys.get(&(stamp.high, stamp.low))?;
        (key.at + limits::IDEMPOTENCY_HORIZON_MILLIS > now).then_some(key)
    }

    /// Takes one event of a block stamped `now`, and returns what whoever asked for it must be told.
    pub(crate) fn apply(&mut self, now: u64, entry: &Entry) -> Result<Option<Outcome>, Objection> {
        let seq = self.seq + 1;
        object_unless!(now >= self.time, "event {seq} is stamped {now}, before the event in front of it");
        self.time = now;
        if let Some(first) = entry.stamp.as_ref().and_then(|stamp| self.key(stamp, now)) {
            return Err(format!(
                "event {seq} has the idempotency key under which event {} was stored",
                first.seq
            ));
        }
        let outcome = match &entry.event {
            Event::StoreCreated { .. } => {
                object_unless!(seq == 1, "event {seq} creates the store again");
                None
            }
            Event::StateDigested { .. } => None,
            Event::KeyKept { answer } => {
                object_unless!(entry.stamp.is_some(), "event {seq} keeps a key and has none");
                let outcome =
                    self.kept(answer).map_err(|why| format!("event {seq} keeps {answer:?}: {why}"))?;
                Some(outcome)
            }
            event => {
                let outcome = self.shop_event(now, seq, event);
                Some(outcome.map_err(|why| format!("event {seq}: {why}: {event:?}"))?)
            }
        };
        self.seq = seq;
        if let (Some(stamp), Some(outcome)) = (&entry.stamp, &outcome) {
            let key = Key { request: stamp.request, at: now, seq, outcome: outcome.clone() };
            self.keys.insert((stamp.high, stamp.low), key);
        }
        Ok(outcome)
    }

    fn shop_event(&mut self, now: u64, seq: u64, event: &Event) -> Result<Outcome, Objection> {
        Ok(match event {
            Event::Coupon(event) => Outcome::Coupon(self.coupon_event(now, seq, event)?),
            Event::Stock(event) => Outcome::Stock(self.stock.apply(now, seq, event)?),
            Event::Pay(event) => Outcome::Pay(self.ledger.apply(now, seq, event)?),
            Event::Saga(event) => {
                let outcome = self.sagas.apply(now, event)?;
                self.local_step(seq, event)?;
                Outcome::Saga(outcome)
            }
            Event::Order(event) => Outcome::Order(self.orders.apply(now, event, &self.sagas)?),
            // Nobody here has an old shop.
            Event::Legacy(_)
            | Event::StoreCreated { .. }
            | Event::StateDigested { .. }
            | Event::KeyKept { .. } => {
                return Err("it is of no capability".into());
            }
        })
    }

    /// What was answered under a key that was kept: it must be so.
    fn kept(&self, answer: &Remembered) -> Result<Outcome, Objection> {
        let kept = match answer {
            Remembered::Stock(answer) => self.stock.kept(answer).map(Outcome::Stock),
            Remembered::Pay(answer) => self.ledger.kept(answer).map(Outcome::Pay),
            Remembered::Saga(outcome) => Some(Outcome::Saga(*outcome)),
            Remembered::Order(outcome) => Some(Outcome::Order(*outcome)),
            coupon => return self.kept_coupon(coupon).map(Outcome::Coupon),
        };
        kept.ok_or_else(|| "it is not so".into())
    }

    /// What time must have brought about by the end of a block stamped `now`, and has not.
    pub(crate) fn overdue(&self, now: u64) -> Result<(), Objection> {
        self.coupons_overdue(now)?;
        self.stock.overdue(now)?;
        self.ledger.overdue(now)
    }
}
