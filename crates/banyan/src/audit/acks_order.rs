//! What was answered about orders: each line says how an order stood at a log position.

use super::book::Book;
use super::{Fingerprint, Kind, fingerprint};
use banyan_domain::OrderNo;
use banyan_domain::order::OrderState;
use serde::Deserialize;
use std::borrow::Cow;

/// All answers about orders.
#[derive(Default)]
pub(crate) struct OrderAcks {
    acks: Vec<OrderAck>,
    /// What each key that placed an order was answered.
    keys: Vec<(Fingerprint, u64, At)>,
    checked: usize,
}

/// A line of the file.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    action: Cow<'a, str>,
    status: u16,
    #[serde(borrow)]
    order: Cow<'a, str>,
    #[serde(borrow)]
    member: Cow<'a, str>,
    #[serde(borrow)]
    state: Cow<'a, str>,
    total: i64,
    refunds_done: u32,
    #[serde(borrow, default)]
    refund: Option<Cow<'a, str>>,
    seq: u64,
    #[serde(borrow, default)]
    key: Option<Cow<'a, str>>,
}

/// Where a line stands: the file's number, and the line's.
pub(crate) type At = (u16, u32);

struct OrderAck {
    seq: u64,
    order: u64,
    member: Fingerprint,
    state: OrderState,
    total: i64,
    refunds_done: u32,
    /// The newest refund's number, if there was one.
    refund: Option<u32>,
    at: At,
}

/// What does not fit: a sentence, and where it stands.
pub(crate) type Mismatch = (u64, Kind, String, At);

impl OrderAcks {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.acks.len()
    }

    /// Takes a line of a file.
    pub(crate) fn push(&mut self, text: &[u8], at: At) -> Result<(), String> {
        let line: Line<'_> = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if !matches!(line.status, 200 | 201) {
            return Err(format!("status {} acknowledges nothing", line.status));
        }
        let order = OrderNo::parse(&line.order).map_err(|_| "order must be o-NUMBER")?.get();
        let state = match &*line.state {
            "placed" => OrderState::Placed,
            "paid" => OrderState::Paid,
            "cancelled" => OrderState::Cancelled,
            "failed" => OrderState::Failed,
            other => return Err(format!("an order is never {other}")),
        };
        let number = |refund: Cow<'_, str>| {
            let rest = refund.strip_prefix(&*line.order).and_then(|rest| rest.strip_prefix('.'));
            rest.and_then(|number| number.parse().ok()).ok_or("refund must be ORDER.NUMBER")
        };
        let refund = line.refund.clone().map(number).transpose()?;
        let (member, seq, total, refunds_done) =
            (fingerprint(&line.member), line.seq, line.total, line.refunds_done);
        self.acks.push(OrderAck { seq, order, member, state, total, refunds_done, refund, at });
        if let Some(key) = line.key.filter(|_| line.action == "place") {
            self.keys.push((fingerprint(&key), order, at));
        }
        Ok(())
    }

    /// Puts them in the order of the log.
    pub(crate) fn sort(&mut self) {
        self.acks.sort_unstable_by_key(|ack| ack.seq);
    }

    /// Checks the answers that were given as of `seq`, right after the book has followed it.
    pub(crate) fn check(&mut self, seq: u64, book: &Book) -> Vec<Mismatch> {
        let mut found = Vec::new();
        while let Some(ack) = self.acks.get(self.checked).filter(|ack| ack.seq <= seq) {
            self.checked += 1;
            if let Some(what) = ack.differs(book) {
                found.push((
                    ack.seq,
                    Kind::Missing,
                    format!("acknowledged and not so: o-{} {what}", ack.order),
                    ack.at,
                ));
            }
        }
        found
    }

    /// Answers beyond the log, and keys that were answered with two orders.
    pub(crate) fn close(&mut self, head: u64) -> Vec<Mismatch> {
        let beyond = self.acks[self.checked..].iter().map(|ack| {
            let what = format!("acknowledged, but the log ends at {head}: o-{}", ack.order);
            (ack.seq, Kind::Missing, what, ack.at)
        });
        let mut found: Vec<Mismatch> = beyond.collect();
        self.keys.sort_unstable();
        for pair in self.keys.windows(2) {
            let ((key, a, _), (other, b, at)) = (&pair[0], &pair[1]);
            if key == other && a != b {
                found.push((head, Kind::AnswersDiffer, format!("one key, two orders: o-{a} and o-{b}"), *at));
            }
        }
        found
    }
}

impl OrderAck {
    /// In what the order differs from what was answered, as of its log position.
    fn differs(&self, book: &Book) -> Option<String> {
        let Some(order) = book.orders.get(self.order) else { return Some("was never placed".into()) };
        let facts = [
            (order.member != self.member, "is another member's".to_owned()),
            (order.total != self.total, format!("costs {}, not {}", order.total, self.total)),
            (order.state != self.state, format!("is {:?}, not {:?}", order.state, self.state)),
            (
                order.refunds_done != self.refunds_done,
                format!("has {} refunds done, not {}", order.refunds_done, self.refunds_done),
            ),
            (
                self.refund.is_some_and(|number| !(1..=order.refunds).contains(&number)),
                format!("has no refund {:?}", self.refund),
            ),
        ];
        facts.into_iter().find_map(|(differs, what)| differs.then_some(what))
    }
}
