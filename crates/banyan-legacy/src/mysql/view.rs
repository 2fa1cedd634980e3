//! The tables as of one moment, and which place in the binary log that moment is.
//!
//! A transaction is written to the binary log before others can see it, so "where the log ends, then what is visible" may
//! miss one. Three ways lead around that, none of which stops the old shop for long:
//! - MariaDB tells with a consistent snapshot the place in the log that it is of (`binlog_snapshot_position`).
//! - Elsewhere: ask where the log ends, then commit a row of ours. Transactions become visible in the log's order
//!   (`binlog_order_commits`), so everything before that place is visible once ours is. What is visible beyond the place
//!   comes again with the stream, as full values, so nothing is lost and it ends the same.
//! - Without a table of ours: a global read lock for the instant in which the snapshot begins, if we may.
//!
//! Rows may come twice, messages of the outbox and the bookkeeping row may not. Where a copy needs these and the place would not be
//! exact, the door is held while the snapshot begins: then nobody is about to say anything.

use super::book::{self, STREAM, ours};
use super::layout::Layout;
use super::position;
use super::server::{Address, STATEMENT_MAX, Session, within};
use super::shape::Origin;
use super::write::select;
use crate::database::{Book, Hold, KeyRange, LegacyError, Page, PageKey, RangeDigest};
use crate::stream::{OutboxRow, Row};
use mysql_async::prelude::Queryable;
use mysql_async::{Params, Row as Answer, Value};
use std::time::Duration;

/// Longest wait for the tables' global lock. Whoever waits behind us waits as long.
const GLOBAL_LOCK_SECONDS: u64 = 3;
/// Longest wait for a page of rows.
const PAGE_MAX: Duration = Duration::from_secs(120);

/// Most bytes that are put together for a digest: the names of a range are not nearly as long.
const DIGESTED_BYTES_MAX: u32 = 16 << 20;
/// Longest wait for the orders in flight when a copy begins. New ones wait as long.
const DOOR_WAIT_MAX: Duration = Duration::from_secs(5);

/// How a place in the log is had for a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The server tells it.
    Told,
    /// A row of ours is committed after asking for the log's end.
    Marked,
    /// A global read lock.
    Locked,
}

/// A consistent snapshot that is open.
pub(super) struct View {
    session: Session,
    way: Way,
    /// Everything up to here is in it.
    pub(super) before: u64,
}

impl View {
    /// Opens one. `bookkeeping` is our database and capability, where our tables may be used.
    pub(super) async fn open(
        address: &Address,
        way: Option<Way>,
        bookkeeping: Option<(&str, &str)>,
    ) -> Result<Self, LegacyError> {
        let session = address.connect().await?;
        let way = way.unwrap_or_else(|| best(&session, bookkeeping));
        Self::open_in(session, address, way, bookkeeping).await
    }

    /// Opens one whose place is exact for what is said in our tables.
    pub(super) async fn open_exactly(
        address: &Address,
        way: Option<Way>,
        bookkeeping: Option<(&str, &str)>,
    ) -> Result<Self, LegacyError> {
        let session = address.connect().await?;
        let way = way.unwrap_or_else(|| best(&session, bookkeeping));
        let (Way::Marked, Some((_, capability))) = (way, bookkeeping) else {
            return Self::open_in(session, address, way, bookkeeping).await;
        };
        match book::hold(address, capability, DOOR_WAIT_MAX).await? {
            // Held until the snapshot has begun: dropping it lets everybody go on.
            Hold::Held(_door) => Self::open_in(session, address, way, bookkeeping).await,
            Hold::LockBusy => Err(LegacyError::Broken(
                "an order in flight in the old shop keeps its lock, and the copy cannot begin; trying again"
                    .to_owned(),
            )),
        }
    }

    async fn open_in(
        mut session: Session,
        address: &Address,
        way: Way,
        bookkeeping: Option<(&str, &str)>,
    ) -> Result<Self, LegacyError> {
        session.limit(PAGE_MAX).await?;
        let before = match way {
            Way::Told => {
                begin(&mut session).await?;
                told(&mut session).await?
            }
            Way::Marked => {
                let end = position::end(&mut session).await?;
                let (database, capability) = bookkeeping.ok_or_else(|| {
                    LegacyError::Refused("a snapshot by a mark needs bookkeeping = true".to_owned())
                })?;
                mark(&mut session, database, capability).await?;
                begin(&mut session).await?;
                end.position()?
            }
            Way::Locked => {
                // In a session of its own: ending it is what frees the lock, whatever happens here.
                let mut locker = address.connect().await?;
                let doing = "locking all tables for the instant in which the snapshot begins";
                let limit = format!("set session lock_wait_timeout = {GLOBAL_LOCK_SECONDS}");
                within(doing, STATEMENT_MAX, locker.conn.query_drop(limit)).await?;
                within(doing, STATEMENT_MAX, locker.conn.query_drop("flush tables with read lock")).await?;
                begin(&mut session).await?;
                let end = position::end(&mut locker).await;
                within("unlocking the tables", STATEMENT_MAX, locker.conn.query_drop("unlock tables"))
                    .await?;
                end?.position()?
            }
        };
        Ok(Self { session, way, before })
    }

    /// What our own tables say: the bookkeeping row, and what is left in the outbox.
    pub(super) async fn said(
        &mut self,
        database: &str,
        capability: &str,
    ) -> Result<(Option<Book>, Vec<OutboxRow>), LegacyError> {
        let book = book::read(&mut self.session, database, capability, "").await?;
        // Made together: without the row there is no outbox.
        let left = match book {
            Some(_) => book::left(&mut self.session, database, capability).await?,
            None => Vec::new(),
        };
        Ok((book, left))
    }

    /// Rows after a key, and where the next page begins.
    pub(super) async fn page(
        &mut self,
        layout: &Layout,
        after: Option<&PageKey>,
        limit: u32,
    ) -> Result<(Vec<Row>, Option<PageKey>), LegacyError> {
        page(&mut self.session, layout, after, limit).await
    }

    /// Rows of a range, and where the next page of it begins.
    pub(super) async fn range(
        &mut self,
        layout: &Layout,
        range: &KeyRange,
        limit: u32,
    ) -> Result<(Vec<Row>, Option<PageKey>), LegacyError> {
        read(&mut self.session, layout, range, limit).await
    }

    /// The digests of ranges, all as of this moment.
    pub(super) async fn digests(
        &mut self,
        layout: &Layout,
        ranges: &[KeyRange],
        rows_max: u32,
    ) -> Result<Vec<RangeDigest>, LegacyError> {
        let doing = format!("digesting {}.{}", layout.schema, layout.name);
        let conn = &mut self.session.conn;
        // What is cut off is digested as it is, and then differs: rows are read instead.
        let length = format!("set session group_concat_max_len = {DIGESTED_BYTES_MAX}");
        within(&doing, STATEMENT_MAX, conn.query_drop(length)).await?;
        let order: Vec<String> = layout.key.iter().map(|at| layout.column(*at)).collect();
        let mut digests = Vec::with_capacity(ranges.len());
        for range in ranges {
            let (condition, values) = in_range(layout, range);
            // The aggregate takes the rows as they come, sorted: to sort them again costs half as much as all else. If ever they
            // came otherwise, the digest would differ, and the rows be read.
            let sql = format!(
                "select count(*), sha2(ifnull(group_concat(line separator ''), ''), 256) \
                 from (select {} as line from {}{condition} order by {} limit {rows_max}) as banyan_range",
                layout.line(),
                layout.from(),
                order.join(", ")
            );
            let found: Option<(u64, Option<String>)> =
                within(&doing, PAGE_MAX, conn.exec_first(sql, Params::Positional(values))).await?;
            let (rows, digest) = found.unwrap_or_default();
            digests.push(RangeDigest { rows, digest: digest.unwrap_or_default() });
        }
        Ok(digests)
    }

    /// The rows of some items.
    pub(super) async fn items(
        &mut self,
        layout: &Layout,
        items: &[(&str, &str)],
    ) -> Result<Vec<Row>, LegacyError> {
        let mut found = Vec::new();
        for chunk in items.chunks(512) {
            let mut skus: Vec<&str> = chunk.iter().map(|(sku, _)| *sku).collect();
            skus.sort_unstable();
            skus.dedup();
            let (answers, used) = select(&mut self.session, layout, &skus).await?;
            let is_asked =
                |row: &Row| chunk.iter().any(|(sku, place)| *sku == row.sku && *place == row.location);
            found.extend(rows(layout, &used, &answers)?.into_iter().filter(is_asked));
        }
        Ok(found)
    }

    /// Ends the snapshot. Gives the place in the log after which nothing is in it.
    pub(super) async fn close(mut self) -> Result<u64, LegacyError> {
        within("ending the snapshot", STATEMENT_MAX, self.session.conn.query_drop("commit")).await?;
        match self.way {
            Way::Told | Way::Locked => Ok(self.before),
            Way::Marked => position::end(&mut self.session).await?.position(),
        }
    }

    /// Ends the snapshot, and makes a page of what was read.
    pub(super) async fn into_page(self, rows: Vec<Row>, next: Option<PageKey>) -> Result<Page, LegacyError> {
        let position_before = self.before;
        let position_after = self.close().await?;
        Ok(Page { rows, next, position_before, position_after })
    }
}

/// Rows after a key, and where the next page begins.
pub(super) async fn page(
    session: &mut Session,
    layout: &Layout,
    after: Option<&PageKey>,
    limit: u32,
) -> Result<(Vec<Row>, Option<PageKey>), LegacyError> {
    read(session, layout, &KeyRange { after: after.cloned(), until: None }, limit).await
}

async fn read(
    session: &mut Session,
    layout: &Layout,
    range: &KeyRange,
    limit: u32,
) -> Result<(Vec<Row>, Option<PageKey>), LegacyError> {
    let used = layout.used();
    let columns: Vec<String> = used.iter().map(|at| layout.column(*at)).collect();
    let order: Vec<String> = layout.key.iter().map(|at| layout.column(*at)).collect();
    let (condition, values) = in_range(layout, range);
    let sql = format!(
        "select {} from {}{condition} order by {} limit {limit}",
        columns.join(", "),
        layout.from(),
        order.join(", ")
    );
    let doing = format!("reading {}.{}", layout.schema, layout.name);
    let answers: Vec<Answer> =
        within(&doing, PAGE_MAX, session.conn.exec(sql, Params::Positional(values))).await?;
    let is_full = answers.len() == usize::try_from(limit).unwrap_or(usize::MAX);
    let next = match answers.last().filter(|_| is_full) {
        Some(last) => Some(layout.key_of(|at| cell(&used, last, at)).map_err(|why| refused(layout, &why))?),
        None => None,
    };
    Ok((rows(layout, &used, &answers)?, next))
}

/// The best way that the server has.
fn best(session: &Session, bookkeeping: Option<(&str, &str)>) -> Way {
    match (session.flavor.mariadb, bookkeeping) {
        (true, _) => Way::Told,
        (false, Some(_)) => Way::Marked,
        (false, None) => Way::Locked,
    }
}

async fn begin(session: &mut Session) -> Result<(), LegacyError> {
    let doing = "beginning a snapshot";
    let level = "set session transaction isolation level repeatable read";
    within(doing, STATEMENT_MAX, session.conn.query_drop(level)).await?;
    let begin = "start transaction with consistent snapshot, read only";
    within(doing, STATEMENT_MAX, session.conn.query_drop(begin)).await
}

async fn told(session: &mut Session) -> Result<u64, LegacyError> {
    let doing = "asking which place in the binary log the snapshot is of";
    let sql = "show status like 'binlog_snapshot_%'";
    let status: Vec<(String, String)> = within(doing, STATEMENT_MAX, session.conn.query(sql)).await?;
    let value = |name: &str| {
        status.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    };
    let file = value("binlog_snapshot_file").filter(|file| !file.is_empty());
    let offset = value("binlog_snapshot_position").and_then(|offset| offset.parse().ok());
    let (Some(file), Some(offset)) = (file, offset) else {
        return Err(LegacyError::Refused(format!("{doing}: the server does not say (log_bin is off?)")));
    };
    position::Place { file: file.clone(), offset }.position()
}

/// Commits a row of ours.
pub(super) async fn mark(session: &mut Session, database: &str, capability: &str) -> Result<(), LegacyError> {
    let sql = format!(
        "insert into {} (capability, marks) values (?, 1) on duplicate key update marks = marks + 1",
        ours(database, STREAM)
    );
    within("marking the binary log", STATEMENT_MAX, session.conn.exec_drop(sql, (capability,))).await
}

/// The condition that a row is in a range, and its values.
fn in_range(layout: &Layout, range: &KeyRange) -> (String, Vec<Value>) {
    let mut conditions = Vec::new();
    let mut values = Vec::new();
    for (key, is_until) in [(&range.after, false), (&range.until, true)] {
        let Some(key) = key else { continue };
        let (condition, of_key) = compared(layout, key, if is_until { "<" } else { ">" });
        match is_until {
            false => conditions.push(format!("({condition})")),
            true => {
                let equal: Vec<String> =
                    layout.key.iter().map(|at| format!("{} = ?", layout.column(*at))).collect();
                conditions.push(format!("({condition} or ({}))", equal.join(" and ")));
            }
        }
        values.extend(of_key);
        if is_until {
            values.extend(layout.key_values(key));
        }
    }
    let condition =
        if conditions.is_empty() { String::new() } else { format!(" where {}", conditions.join(" and ")) };
    (condition, values)
}

/// `(a > ?) or (a = ? and b > ?)`, which every server reads from the key's index.
fn compared(layout: &Layout, key: &PageKey, operator: &str) -> (String, Vec<Value>) {
    let all = layout.key_values(key);
    let mut alternatives = Vec::new();
    let mut values = Vec::new();
    for depth in 0..all.len() {
        let mut parts: Vec<String> =
            layout.key[..depth].iter().map(|at| format!("{} = ?", layout.column(*at))).collect();
        parts.push(format!("{} {operator} ?", layout.column(layout.key[depth])));
        alternatives.push(format!("({})", parts.join(" and ")));
        values.extend(all[..=depth].iter().cloned());
    }
    (alternatives.join(" or "), values)
}

fn cell<'a>(used: &[usize], row: &'a Answer, at: usize) -> Option<&'a Value> {
    row.as_ref(used.iter().position(|column| *column == at)?)
}

fn rows(layout: &Layout, used: &[usize], answers: &[Answer]) -> Result<Vec<Row>, LegacyError> {
    let row = |answer: &Answer| layout.row(Origin::Query, |at| cell(used, answer, at));
    answers.iter().map(row).collect::<Result<_, String>>().map_err(|why| refused(layout, &why))
}

fn refused(layout: &Layout, why: &str) -> LegacyError {
    LegacyError::Refused(format!("a row of {}.{}: {why}", layout.schema, layout.name))
}
