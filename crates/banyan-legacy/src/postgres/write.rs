//! The way out: full values and their checkpoint in one transaction.

use super::address::fault;
use super::bookkeeping::{OUTBOX, SYNC, book as book_of, ours, quoted};
use super::catalog::{Catalog, table_sql};
use super::marker;
use super::sessions::{Lease, Sessions};
use crate::database::{Book, LegacyError, TargetRow, Written};
use crate::mapping::Mapping;
use banyan_domain::legacy::Phase;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::error::Severity;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};

/// How long the ends of other transactions are waited for, and how often it is looked.
const SEEN_MAX: Duration = Duration::from_secs(2);
const SEEN_LOOK: Duration = Duration::from_millis(5);

/// The bookkeeping row; nothing if the table or the row was not made.
pub(super) async fn book(sessions: &Sessions, mapping: &Mapping) -> Result<Option<Book>, LegacyError> {
    if !mapping.database.bookkeeping {
        return Ok(None);
    }
    sessions
        .with(|lease| async {
            let book = read_book(&lease.session.client, mapping, "").await?;
            Ok((lease, book))
        })
        .await
}

/// Reads the bookkeeping row; `lock` may be `for update`.
pub(super) async fn read_book(
    client: &Client,
    mapping: &Mapping,
    lock: &str,
) -> Result<Option<Book>, LegacyError> {
    let sync = ours(mapping, SYNC);
    let reading = |error: tokio_postgres::Error| fault(&format!("reading {sync}"), &error);
    let there = client.query_one("select to_regclass($1) is not null", &[&sync]).await.map_err(reading)?;
    if !there.get::<_, bool>(0) {
        return Ok(None);
    }
    let sql = format!("select /* banyan */ phase, epoch, seq, move from {sync} where capability = $1 {lock}");
    let row = client.query_opt(&sql, &[&mapping.capability]).await.map_err(reading)?;
    row.map(|row| book_of(row.get(0), row.get(1), row.get(2), row.get(3)).map_err(LegacyError::Refused))
        .transpose()
}

/// Whether the mapped tables are needed, as the bookkeeping row says.
pub(super) async fn needs_tables(client: &Client, mapping: &Mapping) -> Result<bool, LegacyError> {
    if !mapping.database.bookkeeping {
        return Ok(true);
    }
    let book = read_book(client, mapping, "").await?;
    Ok(mapping.needs_tables(book.map_or(Phase::Legacy, |book| book.phase)))
}

/// Writes rows and checkpoint, all or nothing.
pub(super) async fn write(
    sessions: &Sessions,
    mapping: &Mapping,
    rows: &[TargetRow],
    seq: u64,
    epoch: u64,
) -> Result<Written, LegacyError> {
    if !mapping.database.bookkeeping {
        return Err(LegacyError::Refused(
            "the mapping has bookkeeping = false: Banyan may read, and not write".to_owned(),
        ));
    }
    let (Ok(seq), Ok(epoch)) = (i64::try_from(seq), i64::try_from(epoch)) else {
        return Err(LegacyError::Refused(format!("position {seq} or epoch {epoch} is beyond 63 bits")));
    };
    match put(sessions, mapping, rows, seq, epoch).await {
        // Perhaps the tables are not what they were when the session looked: once more, with one that looks now.
        (true, Err(LegacyError::Refused(_))) => {
            sessions.forget();
            put(sessions, mapping, rows, seq, epoch).await.1
        }
        (_, written) => written,
    }
}

/// Writes. Gives whether the session knew the tables from before, with whatever came of it.
async fn put(
    sessions: &Sessions,
    mapping: &Mapping,
    rows: &[TargetRow],
    seq: i64,
    epoch: i64,
) -> (bool, Result<Written, LegacyError>) {
    let known = AtomicBool::new(false);
    let written = sessions
        .with(|mut lease| async {
            known.store(lease.catalog.is_some(), Ordering::Relaxed);
            mark(&mut lease, mapping).await;
            let statements = Statements::of(&mut lease, mapping, rows).await?;
            let written =
                transaction(&mut lease.session.client, mapping, &statements, rows, seq, epoch).await?;
            Ok((lease, written))
        })
        .await;
    (known.into_inner(), written)
}

/// What a write is made of. Prepared once in a session: somebody waits for what is written, and each would be another way there and
/// back.
struct Statements {
    checkpoint: Statement,
    marker: Statement,
    /// By the tables that are written.
    updates: BTreeMap<usize, Statement>,
}

impl Statements {
    async fn of(lease: &mut Lease, mapping: &Mapping, rows: &[TargetRow]) -> Result<Self, LegacyError> {
        let preparing = |error: tokio_postgres::Error| fault("writing to the old tables", &error);
        let catalog = lease.catalog(mapping).await?;
        let sql = format!(
            "update /* banyan */ {} set seq = $1, changed_at = now() \
             where capability = $2 and epoch = $3 and seq <= $1 and phase in ('lead', 'retired')",
            ours(mapping, SYNC)
        );
        let checkpoint = lease.prepared(&sql).await.map_err(preparing)?;
        let sql = "select pg_logical_emit_message(true, $1, $2::text)";
        let marker = lease.prepared(sql).await.map_err(preparing)?;
        let mut updates = BTreeMap::new();
        for table in rows.iter().map(|row| row.table).collect::<BTreeSet<usize>>() {
            let sql = update_sql(mapping, &catalog, table)?;
            updates.insert(table, lease.prepared(&sql).await.map_err(preparing)?);
        }
        Ok(Self { checkpoint, marker, updates })
    }
}

async fn transaction(
    client: &mut Client,
    mapping: &Mapping,
    statements: &Statements,
    rows: &[TargetRow],
    seq: i64,
    epoch: i64,
) -> Result<Written, LegacyError> {
    let writing = |error: tokio_postgres::Error| fault("writing to the old tables", &error);
    let transaction = client.transaction().await.map_err(writing)?;
    // First the checkpoint: its lock keeps any other writer out, and in the stream it stands before the rows it marks.
    let values: [&(dyn ToSql + Sync); 3] = [&seq, &mapping.capability, &epoch];
    let fenced = transaction.execute(&statements.checkpoint, &values).await.map_err(writing)? == 0;
    if fenced {
        transaction.rollback().await.map_err(writing)?;
        return Ok(Written::Fenced { book: read_book(client, mapping, "").await? });
    }
    let values: [&(dyn ToSql + Sync); 2] = [&marker::PREFIX, &marker::text(mapping, rows)];
    transaction.execute(&statements.marker, &values).await.map_err(writing)?;
    let mut absent = Vec::new();
    for (table, update) in &statements.updates {
        let of_table: Vec<(usize, &TargetRow)> =
            rows.iter().enumerate().filter(|(_, row)| row.table == *table).collect();
        let sku: Vec<&str> = of_table.iter().map(|(_, row)| row.sku.as_str()).collect();
        let location: Vec<&str> = of_table.iter().map(|(_, row)| row.location.as_str()).collect();
        let in_stock: Vec<i64> = of_table.iter().map(|(_, row)| row.in_stock).collect();
        let allocated: Vec<i64> = of_table.iter().map(|(_, row)| row.allocated).collect();
        let values: [&(dyn ToSql + Sync); 4] = [&sku, &location, &in_stock, &allocated];
        let missing = match transaction.query(update, &values).await {
            Ok(missing) => missing,
            Err(error) => match row_fault(&error) {
                None => return Err(writing(error)),
                Some(why) => {
                    transaction.rollback().await.map_err(writing)?;
                    return Ok(Written::Refused { why });
                }
            },
        };
        for row in missing {
            let at =
                usize::try_from(row.get::<_, i64>(0)).ok().and_then(|at| of_table.get(at.wrapping_sub(1)));
            absent.extend(at.map(|(index, _)| *index));
        }
    }
    absent.sort_unstable();
    match transaction.commit().await {
        Ok(()) => Ok(Written::Done { absent }),
        Err(error) => match row_fault(&error).filter(|_| !rows.is_empty()) {
            // A check that was put off to the end. The server has answered, so it is known that nothing was done.
            Some(why) => Ok(Written::Refused { why }),
            None => Err(LegacyError::Broken(format!("committing: {error}"))),
        },
    }
}

/// Classes of SQLSTATE that pass, whoever raises them: the connection (08), a rollback to be tried again (40), a lack of room (53), a
/// state of something else (55), an operator or a time limit (57), the system (58), a snapshot that is too old (72).
const PASSING: [&str; 7] = ["08", "40", "53", "55", "57", "58", "72"];
/// Classes that are about the statement, the session or the server: what is not supported (0A), roles (0B, 0L, 0P), cursors and
/// transactions (24, 25, 2D, 34, 3B), names (26, 3D, 3F, 42, which has missing rights as well), access (28, 2B), settings (F0),
/// another server behind this one (HV).
const OF_THE_WHOLE: [&str; 17] =
    ["0A", "0B", "0L", "0P", "24", "25", "26", "28", "2B", "2D", "34", "3B", "3D", "3F", "42", "F0", "HV"];
/// Where in the server an error comes from that a rule of the old shop makes, under whatever code: `RAISE` in a trigger, a policy of
/// row-level security.
const RULES: [&str; 2] = ["exec_stmt_raise", "ExecWithCheckOptions"];

/// What is wrong with a row, if it is one of the rows that may be at fault and not the whole. Anybody may raise any code, so what
/// is not known to be of the whole is of the row: at worst all of them are set aside, told, and tried again.
fn row_fault(error: &tokio_postgres::Error) -> Option<String> {
    let db = error.as_db_error()?;
    // Anything graver ends the session as well.
    if db.parsed_severity().is_some_and(|severity| severity != Severity::Error) {
        return None;
    }
    let code = db.code().code();
    is_row_fault(code, db.routine()).then(|| format!("{} (SQLSTATE {code})", db.message()))
}

fn is_row_fault(code: &str, routine: Option<&str>) -> bool {
    let is_of = |classes: &[&str]| classes.iter().any(|class| code.starts_with(class));
    !is_of(&PASSING) && (!is_of(&OF_THE_WHOLE) || routine.is_some_and(|routine| RULES.contains(&routine)))
}

/// Updates what differs, and gives the numbers (from 1) of the rows that are not there.
fn update_sql(mapping: &Mapping, catalog: &Catalog, table: usize) -> Result<String, LegacyError> {
    let Some(target) = mapping.tables.get(table) else {
        return Err(LegacyError::Refused(format!("there is no table number {table} in the mapping")));
    };
    let name = table_sql(target);
    let item = catalog.is_item(mapping, table);
    let in_stock = quoted(&target.in_stock);
    let (set, old, new) = match &target.allocated {
        Some(allocated) => {
            let allocated = quoted(allocated);
            (
                format!("{in_stock} = u.in_stock, {allocated} = u.allocated"),
                format!("t.{in_stock}, t.{allocated}"),
                "u.in_stock, u.allocated",
            )
        }
        None => (format!("{in_stock} = u.in_stock"), format!("t.{in_stock}"), "u.in_stock"),
    };
    Ok(format!(
        "with u as (select /* banyan */ * from unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) \
         with ordinality as u(sku, location, in_stock, allocated, n)), \
         done as (update {name} t set {set} from u where {item} and ({old}) is distinct from ({new}) returning u.n) \
         select u.n from u where not exists (select 1 from {name} t where {item}) order by u.n"
    ))
}

/// Marks this session's commits with our replication origin, where our rights allow it: other subscribers of the old
/// database can then leave them out. Our own stream does not need it.
async fn mark(lease: &mut Lease, mapping: &Mapping) {
    if lease.origin.is_some() {
        return;
    }
    let name = &mapping.database.slot;
    let client = &lease.session.client;
    let allowed = "select bool_and(has_function_privilege(p.oid, 'execute')) from pg_proc p \
         where p.proname in ('pg_replication_origin_oid', 'pg_replication_origin_create', 'pg_replication_origin_session_setup')";
    let allowed =
        client.query_one(allowed, &[]).await.is_ok_and(|row| row.get::<_, Option<bool>>(0) == Some(true));
    let set_up = async {
        let known = client.query_one("select pg_replication_origin_oid($1) is not null", &[name]).await?;
        if !known.get::<_, bool>(0) {
            client.execute("select pg_replication_origin_create($1)", &[name]).await?;
        }
        client.execute("select pg_replication_origin_session_setup($1)", &[name]).await
    };
    // Another session of ours may still hold it; then this one's commits go without.
    lease.origin = Some(allowed && set_up.await.is_ok());
}

/// Deletes outbox rows. The stream has told them already, so nothing is lost with them.
pub(super) async fn clear_outbox(
    sessions: &Sessions,
    mapping: &Mapping,
    ids: &[i64],
) -> Result<u64, LegacyError> {
    if !mapping.database.bookkeeping {
        return Ok(0);
    }
    let sql =
        format!("delete /* banyan */ from {} where capability = $1 and id = any ($2)", ours(mapping, OUTBOX));
    sessions
        .with(|lease| async {
            let client = &lease.session.client;
            let delete = async || {
                let deleted = client.execute(&sql, &[&mapping.capability, &ids]).await;
                deleted.map_err(|error| fault("clearing the outbox", &error))
            };
            let mut deleted = delete().await?;
            if deleted < ids.len() as u64 {
                // The rest was deleted before, or cannot be seen yet.
                commits_are_seen(sessions, client).await?;
                deleted += delete().await?;
            }
            Ok((lease, deleted))
        })
        .await
}

/// Waits until whatever is being committed now can be seen. The stream tells a commit as soon as it is in the log, which is
/// before other sessions see its rows: for an instant, or for as long as it waits for a standby.
async fn commits_are_seen(sessions: &Sessions, client: &Client) -> Result<(), LegacyError> {
    let under_way = async || -> Result<BTreeSet<String>, LegacyError> {
        // Each transaction that writes holds the lock of its own number to its end.
        let sql = "select /* banyan */ transactionid::text from pg_locks \
             where locktype = 'transactionid' and mode = 'ExclusiveLock' and granted";
        let rows =
            client.query(sql, &[]).await.map_err(|error| fault("asking for commits under way", &error))?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    };
    let slow = || sessions.slow.lock().unwrap_or_else(PoisonError::into_inner);
    let mut left: BTreeSet<String> = under_way().await?.difference(&slow()).cloned().collect();
    let until = Instant::now() + SEEN_MAX;
    while !left.is_empty() && Instant::now() < until {
        // A transaction tells no other session that it has ended.
        tokio::time::sleep(SEEN_LOOK).await;
        left = left.intersection(&under_way().await?).cloned().collect();
    }
    // Work that takes long: what is new in the outbox is not of these.
    *slow() = left;
    Ok(())
}

/// Writes rows as they are: the stream tells them again, in their place among all other writes.
pub(super) async fn touch(
    sessions: &Sessions,
    mapping: &Mapping,
    items: &[(usize, String, String)],
) -> Result<(), LegacyError> {
    sessions
        .with(|mut lease| async {
            let catalog = lease.catalog(mapping).await?;
            for (table, target) in mapping.tables.iter().enumerate() {
                let of_table = || items.iter().filter(|item| item.0 == table);
                let sku: Vec<&str> = of_table().map(|item| item.1.as_str()).collect();
                let location: Vec<&str> = of_table().map(|item| item.2.as_str()).collect();
                let column = quoted(&target.in_stock);
                let sql = format!(
                    "update /* banyan */ {} t set {column} = t.{column} from unnest($1::text[], $2::text[]) as u(sku, location) where {}",
                    table_sql(target),
                    catalog.is_item(mapping, table)
                );
                if !sku.is_empty() {
                    let touched = lease.session.client.execute(&sql, &[&sku, &location]).await;
                    touched.map_err(|error| fault("sending rows again", &error))?;
                }
            }
            Ok((lease, ()))
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_certainly_about_the_whole_is_about_the_row() {
        let raised = Some("exec_stmt_raise");
        // Code, whether of a row if the server says it, and whether if a trigger raises it.
        let table = [
            ("22003", true, true),
            ("23514", true, true),
            ("44000", true, true),
            ("P0001", true, true),
            ("XX001", true, true),
            ("54000", true, true),
            ("U0001", true, true),
            ("21000", true, true),
            ("38000", true, true),
            ("42501", false, true),
            ("42P01", false, true),
            ("0A000", false, true),
            ("25006", false, true),
            ("08006", false, false),
            ("40001", false, false),
            ("40P01", false, false),
            ("53100", false, false),
            ("55P03", false, false),
            ("57014", false, false),
            ("58030", false, false),
        ];
        for (code, by_the_server, by_a_trigger) in table {
            assert_eq!(is_row_fault(code, Some("ExecInitNode")), by_the_server, "{code} by the server");
            assert_eq!(is_row_fault(code, None), by_the_server, "{code} by whomever");
            assert_eq!(is_row_fault(code, raised), by_a_trigger, "{code} by a trigger");
        }
        assert!(is_row_fault("42501", Some("ExecWithCheckOptions")), "a policy of row-level security");
    }
}
