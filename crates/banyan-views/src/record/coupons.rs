//! Coupons on their way into the table: many rows a statement, in order of their id.

use super::apply::Fault;
use super::members::{self, Entry};
use super::parked::Key;
use super::view::StoreKeys;
use banyan_domain::coupon::Event;
use banyan_domain::{CampaignNo, CouponId, MemberId, Timestamp};
use banyan_log::Seq;
use rusqlite::{CachedStatement, Connection};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Rows of one INSERT: a statement for many rows keeps its place in the table between them, and saves a call for each.
const ROWS_PER_INSERT: usize = 32;

/// Coupons issued in this transaction that are not in the table yet.
#[derive(Debug, Default)]
pub(super) struct PendingCoupons<'batch> {
    rows: Vec<PendingCoupon<'batch>>,
    /// Whether `rows` is not in order of id, as it is while one campaign issues.
    unordered: bool,
    /// The lowest number pending of each campaign.
    firsts: BTreeMap<CampaignNo, u64>,
}

#[derive(Clone, Copy, Debug)]
struct PendingCoupon<'batch> {
    coupon: CouponId,
    member: &'batch MemberId,
    at: Timestamp,
    seq: Seq,
}

impl<'batch> PendingCoupons<'batch> {
    pub(super) fn push(&mut self, coupon: CouponId, member: &'batch MemberId, at: Timestamp, seq: Seq) {
        let last = self.rows.last().map(|last| last.coupon);
        self.unordered |= last.is_some_and(|last| last > coupon);
        if last.map(CouponId::campaign) != Some(coupon.campaign()) {
            self.firsts.entry(coupon.campaign()).or_insert(coupon.n());
        }
        self.rows.push(PendingCoupon { coupon, member, at, seq });
    }

    /// Whether the rows of `event`'s coupons may still be pending, so that it must wait for them.
    pub(super) fn concern(&self, event: &Event) -> bool {
        let (no, last) = match event {
            Event::CouponsExpired { no, last, .. } => (*no, *last),
            other => match Key::of_coupon(other) {
                Key::Coupon(coupon) => (coupon.campaign(), coupon.n()),
                _ => return false,
            },
        };
        // Numbers are given in order: every pending one is at or beyond the first.
        self.firsts.get(&no).is_some_and(|first| last >= *first)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.unordered = false;
        self.firsts.clear();
    }

    /// Writes the rows, and adds them to `entries` for the index.
    pub(super) fn flush(
        &mut self,
        db: &Connection,
        keys: &StoreKeys,
        entries: &mut Vec<Entry>,
    ) -> Result<(), Fault> {
        if self.unordered {
            // In order of id, each campaign's rows go into the table side by side. Equal ids must stay to be noticed.
            self.rows.sort_by_key(|row| row.coupon);
        }
        let (chunks, rest) = self.rows.as_chunks::<ROWS_PER_INSERT>();
        if !chunks.is_empty() {
            let mut append = db.prepare_cached(&insert_sql(ROWS_PER_INSERT, Ids::NextInTable))?;
            let mut insert = db.prepare_cached(&insert_sql(ROWS_PER_INSERT, Ids::Given))?;
            let mut last: i64 = db.prepare_cached(LAST_ID)?.query_row([], |row| row.get(0))?;
            for chunk in chunks {
                let end = chunk[ROWS_PER_INSERT - 1].coupon.get() as i64;
                if continues(chunk, last) {
                    insert_rows(&mut append, chunk, keys, Ids::NextInTable)?;
                    if db.last_insert_rowid() != end {
                        return Err(Fault::poison("coupons were numbered otherwise than their events"));
                    }
                } else {
                    insert_rows(&mut insert, chunk, keys, Ids::Given)?;
                }
                last = last.max(end);
            }
        }
        if !rest.is_empty() {
            let mut insert = db.prepare_cached(&insert_sql(1, Ids::Given))?;
            for row in rest {
                insert_rows(&mut insert, core::slice::from_ref(row), keys, Ids::Given)?;
            }
        }
        entries.extend(self.rows.iter().map(|row| Entry {
            hash: members::hash(&keys.members, row.member),
            seq: row.seq.0,
            coupon: row.coupon.get(),
        }));
        self.clear();
        Ok(())
    }
}

/// Where the ids of a statement's rows come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ids {
    /// Each row brings its own, and its place in the table is looked up.
    Given,
    /// SQLite counts on from the last row of the table, where it already stands.
    NextInTable,
}

/// The last id of the table; 0 if it is empty.
const LAST_ID: &str = "SELECT coalesce(max(id), 0) FROM coupon";

/// Whether the ids of `rows` count on from `last`, one by one.
fn continues(rows: &[PendingCoupon<'_>], last: i64) -> bool {
    last > 0 && (last + 1..).zip(rows).all(|(id, row)| row.coupon.get() as i64 == id)
}

fn insert_rows(
    insert: &mut CachedStatement<'_>,
    rows: &[PendingCoupon<'_>],
    keys: &StoreKeys,
    ids: Ids,
) -> Result<(), Fault> {
    let mut place = 1;
    for row in rows {
        let code = keys.codes.code(row.coupon).written();
        if ids == Ids::Given {
            insert.raw_bind_parameter(place, row.coupon.get() as i64)?;
            place += 1;
        }
        insert.raw_bind_parameter(place, row.member.as_str())?;
        insert.raw_bind_parameter(place + 1, core::str::from_utf8(&code).unwrap_or_default())?;
        insert.raw_bind_parameter(place + 2, row.at.as_millis() as i64)?;
        insert.raw_bind_parameter(place + 3, row.seq.0 as i64)?;
        place += 4;
    }
    insert.raw_execute()?;
    Ok(())
}

fn insert_sql(rows: usize, ids: Ids) -> String {
    let id = if ids == Ids::Given { "?" } else { "NULL" };
    let mut sql = String::from("INSERT INTO coupon (id, member, code, state, issued_at, seq) VALUES ");
    for row in 0..rows {
        let comma = if row == 0 { "" } else { "," };
        write!(sql, "{comma}({id},?,?,0,?,?)").expect("a string takes every write");
    }
    sql
}
