//! Rows said again: what a row is, told through the outbox while nobody can change it.
//!
//! MySQL and MariaDB log no update that changes nothing, and an update there and back would wake the shop's triggers. So the row
//! is read under a shared lock and put into the outbox in the same transaction: in the log it then has its place among all
//! other writes of that row.

use super::book::{DOOR, OUTBOX, commit, ours, rollback};
use super::layout::{Layout, Location};
use super::server::{STATEMENT_MAX, Session, within};
use super::shape::Origin;
use super::write::select;
use crate::database::LegacyError;
use crate::outbox;
use crate::stream::Row;
use banyan_domain::legacy::Phase;
use mysql_async::prelude::Queryable;

/// Says what these items' rows are, unless Banyan leads; an item without a row is said to have nothing.
pub(super) async fn say(
    session: &mut Session,
    database: &str,
    capability: &str,
    layouts: &[Layout],
    items: &[(usize, String, String)],
) -> Result<(), LegacyError> {
    // Repeatable read also locks the place of a row that is not there.
    for setup in [
        "set session transaction isolation level repeatable read",
        "set session innodb_lock_wait_timeout = 5",
        "start transaction",
    ] {
        within("saying rows again", STATEMENT_MAX, session.conn.query_drop(setup)).await?;
    }
    // As whoever writes into the outbox: a switch waits for us, or is seen here.
    let door = format!(
        "select phase from {} as banyan_said where capability = ? lock in share mode",
        ours(database, DOOR)
    );
    let doing = "asking who leads";
    let phase: Option<String> =
        within(doing, STATEMENT_MAX, session.conn.exec_first(door, (capability,))).await?;
    if phase.as_deref().and_then(Phase::from_word).is_none_or(Phase::leads) {
        return rollback(session).await;
    }
    let insert = format!("insert into {} (capability, kind, body) values (?, ?, ?)", ours(database, OUTBOX));
    for layout in layouts {
        for row in rows(session, layout, items).await? {
            let values = (capability, outbox::ROW, outbox::said(&row));
            within("saying rows again", STATEMENT_MAX, session.conn.exec_drop(&insert, values)).await?;
        }
    }
    commit(session, "saying rows again").await
}

/// The rows of one table's items as they are, locked; zeros for those that are not there.
async fn rows(
    session: &mut Session,
    layout: &Layout,
    items: &[(usize, String, String)],
) -> Result<Vec<Row>, LegacyError> {
    let asked: Vec<&(usize, String, String)> = items.iter().filter(|item| item.0 == layout.table).collect();
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let skus: Vec<&str> = asked.iter().map(|item| item.1.as_str()).collect();
    let (found, used) = select(session, layout, &skus, "lock in share mode").await?;
    let read = |row: &mysql_async::Row| {
        let cell =
            |at: usize| used.iter().position(|column| *column == at).and_then(|place| row.as_ref(place));
        layout.row(Origin::Query, cell)
    };
    let found: Vec<Row> =
        found.iter().map(read).collect::<Result<_, String>>().map_err(|why| {
            LegacyError::Refused(format!("reading {}.{}: {why}", layout.schema, layout.name))
        })?;
    let is_anywhere = matches!(layout.location, Location::Constant(_));
    let said = |(table, sku, location): &(usize, String, String)| {
        let is_it = |row: &&Row| row.sku == *sku && (is_anywhere || row.location == *location);
        found.iter().find(is_it).cloned().unwrap_or_else(|| Row {
            table: *table,
            sku: sku.clone(),
            location: location.clone(),
            in_stock: None,
            allocated: None,
        })
    };
    Ok(asked.into_iter().map(said).collect())
}
