//! Rows said again: what a row is, told through the outbox while nobody can change it.
//!
//! MySQL and MariaDB log no update that changes nothing, and an update there and back would wake the shop's triggers. So the row
//! is read under a shared lock and put into the outbox in the same transaction: in the log it then has its place among all
//! other writes of that row.
//!
//! The shop's orders lock the same rows, in an order of their own. So it is first looked without any lock which rows are meant; then
//! each is locked by its key, some in a transaction, and never a place where there is none: a table without an index on its SKUs
//! would be locked as a whole. Whoever is in the way for a second is let go first: the transaction is given up, and tried again in
//! halves, at last row by row, which waits for others with nothing of the shop's in its hands.

use super::book::{DOOR, OUTBOX, commit, ours, rollback};
use super::layout::{Layout, Location};
use super::server::{STATEMENT_MAX, Session, fault, is_deadlock, is_lock_wait, within};
use super::shape::Origin;
use super::write::find;
use crate::database::{LegacyError, PageKey};
use crate::outbox;
use crate::stream::Row;
use banyan_domain::legacy::Phase;
use mysql_async::prelude::Queryable;
use mysql_async::{Error, Params, Value};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tokio::time::Instant;

/// Items that are said in one transaction, at most.
const ITEMS_MAX: usize = 16;
/// How often one item by itself is tried.
const TRIES_MAX: u32 = 3;
/// How long a lock of others is waited for, in seconds: the shop waits as long for ours.
const LOCK_SECONDS_MAX: u32 = 1;
/// Longest time for all of them: then the rest is left to whoever asks next.
const ALL_MAX: Duration = Duration::from_secs(60);

/// An item: table, SKU and location.
type Item = (usize, String, String);

/// Says what these items' rows are, unless Banyan leads; an item without a row is said to have nothing.
///
/// # Errors
/// [`LegacyError::Broken`] also where some could not be said, since others kept their rows locked. All others are said.
pub(super) async fn say(
    session: &mut Session,
    database: &str,
    capability: &str,
    layouts: &[Layout],
    items: &[Item],
) -> Result<(), LegacyError> {
    let wait = format!("set session innodb_lock_wait_timeout = {LOCK_SECONDS_MAX}");
    // Otherwise what is between two rows would be locked as well.
    for setup in ["set session transaction isolation level read committed", wait.as_str()] {
        within("saying rows again", STATEMENT_MAX, session.conn.query_drop(setup)).await?;
    }
    session.may_not_fall_silent().await?;
    let speaker = Speaker { database, capability };
    let mut parts: VecDeque<(u32, Vec<&Item>)> = VecDeque::new();
    for layout in layouts {
        let of_table: Vec<&Item> = items.iter().filter(|item| item.0 == layout.table).collect();
        parts.extend(of_table.chunks(ITEMS_MAX).map(|part| (0, part.to_vec())));
    }
    let until = Instant::now() + ALL_MAX;
    let mut unsaid = 0;
    while let Some((tries, part)) = parts.pop_front() {
        let Some(layout) =
            layouts.iter().find(|layout| part.first().is_some_and(|item| item.0 == layout.table))
        else {
            continue;
        };
        let open = match speaker.say(session, layout, &part).await? {
            Came::Leads => return Ok(()),
            Came::Said { appeared } => appeared,
            Came::Busy => part,
        };
        match open.len() {
            0 => {}
            _ if Instant::now() >= until => unsaid += open.len(),
            1 if tries + 1 >= TRIES_MAX => unsaid += 1,
            1 => parts.push_back((tries + 1, open)),
            several => {
                let (first, second) = open.split_at(several / 2);
                parts.extend([(0, first.to_vec()), (0, second.to_vec())]);
            }
        }
    }
    match unsaid {
        0 => Ok(()),
        _ => Err(LegacyError::Broken(format!(
            "saying rows again: {unsaid} of {} are kept locked by transactions of others; the next comparison tries again",
            items.len()
        ))),
    }
}

/// What came of one transaction.
enum Came<'a> {
    /// Nothing was said: Banyan leads, and its numbers are right.
    Leads,
    /// All was said. Of these it was said that they have no row, and now they have one.
    Said { appeared: Vec<&'a Item> },
    /// Nothing was said: somebody else was in the way.
    Busy,
}

/// Why a transaction did not come to its end.
enum Stopped {
    Busy,
    Fault(LegacyError),
}

impl From<LegacyError> for Stopped {
    fn from(error: LegacyError) -> Self {
        Self::Fault(error)
    }
}

/// Who says it.
struct Speaker<'a> {
    database: &'a str,
    capability: &'a str,
}

impl Speaker<'_> {
    /// Says some items of one table in a transaction.
    async fn say<'a>(
        &self,
        session: &mut Session,
        layout: &Layout,
        items: &[&'a Item],
    ) -> Result<Came<'a>, LegacyError> {
        let keys = keys(session, layout, items).await?;
        let absent = match self.transaction(session, layout, items, &keys).await {
            Ok(Some(absent)) => absent,
            Ok(None) => {
                rollback(session).await?;
                return Ok(Came::Leads);
            }
            Err(Stopped::Busy) => {
                // After a deadlock the server has done it already; it does not mind.
                rollback(session).await?;
                return Ok(Came::Busy);
            }
            Err(Stopped::Fault(error)) => return Err(error),
        };
        if absent.is_empty() {
            return Ok(Came::Said { appeared: Vec::new() });
        }
        // Whoever made such a row meanwhile may have done it before it was said that there is none. Looked at after that, so that
        // a row which comes later than this look comes later in the log as well.
        let now = self::keys(session, layout, &absent).await?;
        let has_come = |item: &&Item| now.values().any(|found| found == item);
        Ok(Came::Said { appeared: absent.into_iter().filter(|item| has_come(item)).collect() })
    }

    /// Gives which items have no row; nothing if Banyan leads, and then the transaction is still open.
    async fn transaction<'a>(
        &self,
        session: &mut Session,
        layout: &Layout,
        items: &[&'a Item],
        keys: &BTreeMap<PageKey, &'a Item>,
    ) -> Result<Option<Vec<&'a Item>>, Stopped> {
        let doing = "saying rows again";
        within(doing, STATEMENT_MAX, session.conn.query_drop("start transaction")).await?;
        // As whoever writes into the outbox: a switch waits for us, or is seen here.
        let door = ours(self.database, DOOR);
        let sql = format!("select phase from {door} as banyan_said where capability = ? lock in share mode");
        let phase = locked(session, &sql, vec![self.capability.into()]).await?;
        let phase: Option<String> = phase.and_then(|row| row.get_opt(0)?.ok());
        if phase.as_deref().and_then(Phase::from_word).is_none_or(Phase::leads) {
            return Ok(None);
        }
        let mut rows: Vec<Row> = Vec::with_capacity(items.len());
        for key in keys.keys() {
            rows.extend(row(session, layout, key).await?);
        }
        let is_anywhere = matches!(layout.location, Location::Constant(_));
        let (mut said, mut absent) = (Vec::with_capacity(items.len()), Vec::new());
        for item in items {
            let (table, sku, location) = *item;
            let is_it = |row: &&Row| row.sku == *sku && (is_anywhere || row.location == *location);
            let found = rows.iter().find(is_it).cloned();
            if found.is_none() {
                absent.push(*item);
            }
            said.push(found.unwrap_or_else(|| Row {
                table: *table,
                sku: sku.clone(),
                location: location.clone(),
                in_stock: None,
                allocated: None,
            }));
        }
        let sql = format!(
            "insert into {} (capability, kind, body) values {}",
            ours(self.database, OUTBOX),
            vec!["(?, ?, ?)"; said.len()].join(", ")
        );
        let values = |row: &Row| [self.capability.into(), outbox::ROW.into(), outbox::said(row).into()];
        locked(session, &sql, said.iter().flat_map(values).collect()).await?;
        commit(session, doing).await?;
        Ok(Some(absent))
    }
}

/// The keys of these items' rows, as seen without a lock. Whoever locks them goes by the same order each time.
async fn keys<'a>(
    session: &mut Session,
    layout: &Layout,
    items: &[&'a Item],
) -> Result<BTreeMap<PageKey, &'a Item>, LegacyError> {
    let skus: Vec<&str> = items.iter().map(|item| item.1.as_str()).collect();
    let is_anywhere = matches!(layout.location, Location::Constant(_));
    let mut keys = BTreeMap::new();
    for (key, sku, location) in find(session, layout, &skus).await? {
        let is_it = |item: &&&Item| item.1 == sku && (is_anywhere || item.2 == location);
        if let Some(item) = items.iter().find(is_it) {
            keys.insert(key, *item);
        }
    }
    Ok(keys)
}

/// A row by its key, locked; nothing if there is none any more.
async fn row(session: &mut Session, layout: &Layout, key: &PageKey) -> Result<Option<Row>, Stopped> {
    let used = layout.used();
    let columns: Vec<String> = used.iter().map(|at| layout.column(*at)).collect();
    let is_key: Vec<String> = layout.key.iter().map(|at| format!("{} = ?", layout.column(*at))).collect();
    let sql = format!(
        "select {} from {} where {} lock in share mode",
        columns.join(", "),
        layout.from(),
        is_key.join(" and ")
    );
    let Some(found) = locked(session, &sql, layout.key_values(key)).await? else { return Ok(None) };
    let cell = |at: usize| found.as_ref(used.iter().position(|column| *column == at)?);
    let row = layout
        .row(Origin::Query, cell)
        .map_err(|why| LegacyError::Refused(format!("reading {}.{}: {why}", layout.schema, layout.name)))?;
    Ok(Some(row))
}

/// Carries a statement out that may wait for a lock, and gives its first row.
async fn locked(
    session: &mut Session,
    sql: &str,
    values: Vec<Value>,
) -> Result<Option<mysql_async::Row>, Stopped> {
    let doing = "saying rows again";
    let asked = session.conn.exec_first(sql, Params::Positional(values));
    match tokio::time::timeout(STATEMENT_MAX, asked).await {
        Ok(Ok(row)) => Ok(row),
        Ok(Err(error)) if is_in_the_way(&error) => Err(Stopped::Busy),
        Ok(Err(error)) => Err(Stopped::Fault(fault(doing, &error))),
        Err(_) => Err(Stopped::Fault(LegacyError::Broken(format!("{doing}: no answer")))),
    }
}

fn is_in_the_way(error: &Error) -> bool {
    is_deadlock(error) || is_lock_wait(error)
}
