//! Coupons set aside, as a transaction has them in its hands.
//!
//! Most are used, or given back, a moment after they were set aside: their rows would be written and deleted in one transaction.

use rusqlite::{Connection, params};
use std::collections::BTreeMap;

/// Holds made in this transaction, written at its end.
#[derive(Debug, Default)]
pub(super) struct HoldRows(BTreeMap<i64, HoldRow>);

/// A hold that is not written yet. Times in milliseconds since 1970.
#[derive(Debug)]
pub(super) struct HoldRow {
    pub order: Box<str>,
    pub until: i64,
    pub held_at: i64,
    pub seq: i64,
}

impl HoldRows {
    /// Notes the hold of `coupon`, which must be free.
    pub(super) fn insert(&mut self, coupon: i64, row: HoldRow) {
        self.0.insert(coupon, row);
    }

    /// Whether `coupon` has a hold of this transaction.
    pub(super) fn has(&self, coupon: i64) -> bool {
        self.0.contains_key(&coupon)
    }

    /// Ends the hold of `coupon`, if it is of this transaction.
    pub(super) fn end(&mut self, coupon: i64) -> bool {
        self.0.remove(&coupon).is_some()
    }

    /// Writes them.
    pub(super) fn flush(&mut self, db: &Connection) -> rusqlite::Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let sql = "INSERT INTO hold (coupon, order_id, until, held_at, seq) VALUES (?1, ?2, ?3, ?4, ?5)";
        let mut insert = db.prepare_cached(sql)?;
        while let Some((coupon, HoldRow { order, until, held_at, seq })) = self.0.pop_first() {
            insert.execute(params![coupon, &*order, until, held_at, seq])?;
        }
        Ok(())
    }
}
