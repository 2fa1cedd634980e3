//! The way out: full values and their checkpoint in one transaction.

use super::book::{OUTBOX, SYNC, commit, ours, read, rollback};
use super::layout::{Layout, Location};
use super::server::{STATEMENT_MAX, Session, fault, is_deadlock, is_passing, within};
use super::shape::Origin;
use crate::database::{LegacyError, PageKey, TargetRow, Written};
use mysql_async::prelude::Queryable;
use mysql_async::{Params, Row, Value};
use std::collections::BTreeMap;

/// Rows written by one statement. A power of two: see [`select`].
const ROWS_PER_STATEMENT: usize = 128;
/// How often a transaction that the server rolled back to end a deadlock is tried again.
const DEADLOCKS_MAX: usize = 10;

/// Writes rows and checkpoint, all or nothing: one statement for the checkpoint, two for each hundred rows of a table, and the commit.
/// The session is one that does nothing else.
pub(super) async fn write(
    session: &mut Session,
    database: &str,
    capability: &str,
    layouts: &[Layout],
    rows: &[TargetRow],
    checkpoint: (u64, u64),
) -> Result<Written, LegacyError> {
    set_up(session).await?;
    let mut attempts = 0;
    loop {
        match attempt(session, database, capability, layouts, rows, checkpoint).await {
            Err(Failed::Deadlock) if attempts < DEADLOCKS_MAX => attempts += 1,
            Err(Failed::Deadlock) => {
                return Err(LegacyError::Broken(
                    "writing: the server ended it as a deadlock, again and again".into(),
                ));
            }
            Err(Failed::Row(why)) => {
                rollback(session).await?;
                return Ok(Written::Refused { why });
            }
            Err(Failed::Fault(error)) => return Err(error),
            Ok(written) => return Ok(written),
        }
    }
}

/// Once in a session: each statement is a way there and back, and somebody waits for what is written.
async fn set_up(session: &mut Session) -> Result<(), LegacyError> {
    if session.writes {
        return Ok(());
    }
    for setup in [
        "set session transaction isolation level read committed",
        // A transaction begins with its first statement. Whatever comes of it, it is ended, or the session is.
        "set session innodb_lock_wait_timeout = 20, autocommit = 0",
    ] {
        within("setting the session up", STATEMENT_MAX, session.conn.query_drop(setup)).await?;
    }
    session.may_not_fall_silent().await?;
    session.writes = true;
    Ok(())
}

enum Failed {
    /// The server rolled the transaction back: nothing of it happened.
    Deadlock,
    /// A row is at fault. The transaction is still open.
    Row(String),
    Fault(LegacyError),
}

impl From<LegacyError> for Failed {
    fn from(error: LegacyError) -> Self {
        Self::Fault(error)
    }
}

async fn attempt(
    session: &mut Session,
    database: &str,
    capability: &str,
    layouts: &[Layout],
    rows: &[TargetRow],
    (seq, epoch): (u64, u64),
) -> Result<Written, Failed> {
    // First the checkpoint: its lock keeps any other writer out, and in the log it stands before the rows it marks.
    let table = ours(database, SYNC);
    let sql = format!(
        "update {table} set seq = ?, changed_at = current_timestamp(6) \
         where capability = ? and epoch = ? and seq <= ? and phase in ('lead', 'retired')"
    );
    run(session, &sql, Params::Positional(vec![seq.into(), capability.into(), epoch.into(), seq.into()]))
        .await?;
    if session.conn.affected_rows() == 0 {
        rollback(session).await?;
        let book = read(session, database, capability, "").await?;
        // Reading has begun a transaction, too.
        rollback(session).await?;
        return Ok(Written::Fenced { book });
    }
    let mut absent = Vec::new();
    for layout in layouts {
        let of_table: Vec<(usize, &TargetRow)> =
            rows.iter().enumerate().filter(|(_, row)| row.table == layout.table).collect();
        for chunk in of_table.chunks(ROWS_PER_STATEMENT) {
            write_chunk(session, layout, chunk, &mut absent).await?;
        }
    }
    absent.sort_unstable();
    commit(session, "committing").await?;
    Ok(Written::Done { absent })
}

/// Writes the rows that are there. Which row of the table is meant is looked up first and compared byte by byte, since the
/// table's own comparison may take `a-1` for `A-1`; then it is written by its key.
async fn write_chunk(
    session: &mut Session,
    layout: &Layout,
    rows: &[(usize, &TargetRow)],
    absent: &mut Vec<usize>,
) -> Result<(), Failed> {
    let mut items: BTreeMap<(&str, Option<&str>), (usize, &TargetRow)> = BTreeMap::new();
    let place = |row: &TargetRow| match layout.location {
        Location::Constant(_) => None,
        Location::Column(_) => Some(row.location.clone()),
    };
    let places: Vec<Option<String>> = rows.iter().map(|(_, row)| place(row)).collect();
    for ((index, row), place) in rows.iter().zip(&places) {
        items.insert((row.sku.as_str(), place.as_deref()), (*index, row));
    }
    let skus: Vec<&str> = items.keys().map(|(sku, _)| *sku).collect();
    let found = find(session, layout, &skus).await?;
    let mut targets: Vec<(PageKey, &TargetRow)> = Vec::new();
    for (key, sku, location) in found {
        let item =
            (sku.as_str(), matches!(layout.location, Location::Column(_)).then_some(location.as_str()));
        if let Some((_, row)) = items.get(&item) {
            targets.push((key, row));
        }
    }
    let is_there = |sku: &str, location: Option<&str>| {
        let is_it =
            |row: &TargetRow| row.sku == sku && location.is_none_or(|location| row.location == location);
        targets.iter().any(|(_, row)| is_it(row))
    };
    for ((sku, location), (index, _)) in &items {
        if !is_there(sku, *location) {
            absent.push(*index);
        }
    }
    if targets.is_empty() {
        return Ok(());
    }
    let (sql, values) = update(layout, &targets);
    match tokio::time::timeout(STATEMENT_MAX, session.conn.exec_drop(sql, Params::Positional(values))).await {
        Ok(Err(error)) => Err(row_fault(&error).map_or_else(|| failed(&error), Failed::Row)),
        answered => failed_or_late(answered),
    }
}

/// The rows of these SKUs as the table compares them: key, SKU and location.
pub(super) async fn find(
    session: &mut Session,
    layout: &Layout,
    skus: &[&str],
) -> Result<Vec<(PageKey, String, String)>, LegacyError> {
    let (rows, used) = select(session, layout, skus).await?;
    let read = |row: Row| {
        let cell =
            |at: usize| used.iter().position(|column| *column == at).and_then(|place| row.as_ref(place));
        let mapped = layout.row(Origin::Query, cell)?;
        Ok((layout.key_of(cell)?, mapped.sku, mapped.location))
    };
    let doing = format!("reading {}.{}", layout.schema, layout.name);
    rows.into_iter()
        .map(read)
        .collect::<Result<_, String>>()
        .map_err(|why| LegacyError::Refused(format!("{doing}: {why}")))
}

/// The rows of these SKUs, and which column each value is of. Asked for in some lengths only, the last SKU again until one is
/// reached: a statement of any other length would be prepared anew each time.
pub(super) async fn select(
    session: &mut Session,
    layout: &Layout,
    skus: &[&str],
) -> Result<(Vec<Row>, Vec<usize>), LegacyError> {
    let used = layout.used();
    let columns: Vec<String> = used.iter().map(|at| layout.column(*at)).collect();
    let skus = padded(skus);
    let sql = format!(
        "select {} from {} where {} in ({})",
        columns.join(", "),
        layout.from(),
        layout.column(layout.sku),
        vec!["?"; skus.len()].join(", ")
    );
    let values = Params::Positional(skus.iter().map(|sku| Value::from(*sku)).collect());
    let doing = format!("reading {}.{}", layout.schema, layout.name);
    let rows = within(&doing, STATEMENT_MAX, session.conn.exec(sql, values)).await?;
    Ok((rows, used))
}

/// With the last one again, until there is a power of two of them.
fn padded<T: Clone>(all: &[T]) -> Vec<T> {
    let mut padded = all.to_vec();
    if let Some(last) = all.last() {
        padded.resize(all.len().next_power_of_two(), last.clone());
    }
    padded
}

/// One statement for many rows: `set in_stock = case when key = ? then ? .. end .. where (key = ?) or ..`. Of some lengths only, as
/// [`select`]: a row twice in it is as good as once.
fn update(layout: &Layout, targets: &[(PageKey, &TargetRow)]) -> (String, Vec<Value>) {
    let targets = padded(targets);
    let is_key: Vec<String> = layout.key.iter().map(|at| format!("{} = ?", layout.column(*at))).collect();
    let is_key = is_key.join(" and ");
    let mut values = Vec::new();
    let mut sets = Vec::new();
    let mut set = |at: usize, number: &dyn Fn(&TargetRow) -> i64| {
        let column = layout.column(at);
        let cases = format!("when {is_key} then ? ").repeat(targets.len());
        sets.push(format!("{column} = case {cases}else {column} end"));
        for (key, row) in &targets {
            values.extend(layout.key_values(key));
            values.push(number(row).into());
        }
    };
    set(layout.in_stock, &|row| row.in_stock);
    if let Some(at) = layout.allocated {
        set(at, &|row| row.allocated);
    }
    let rows = match layout.key.as_slice() {
        // A list of one column's values is what every server finds by its index.
        [at] => format!("{} in ({})", layout.column(*at), vec!["?"; targets.len()].join(", ")),
        _ => vec![format!("({is_key})"); targets.len()].join(" or "),
    };
    values.extend(targets.iter().flat_map(|(key, _)| layout.key_values(key)));
    (format!("update {} set {} where {rows}", layout.from(), sets.join(", ")), values)
}

async fn run(session: &mut Session, sql: &str, values: Params) -> Result<(), Failed> {
    failed_or_late(tokio::time::timeout(STATEMENT_MAX, session.conn.exec_drop(sql, values)).await)
}

fn failed_or_late(
    answered: Result<mysql_async::Result<()>, tokio::time::error::Elapsed>,
) -> Result<(), Failed> {
    match answered {
        Ok(answer) => answer.map_err(|error| failed(&error)),
        Err(_) => Err(Failed::Fault(LegacyError::Broken("writing: no answer".to_owned()))),
    }
}

fn failed(error: &mysql_async::Error) -> Failed {
    match error {
        _ if is_deadlock(error) => Failed::Deadlock,
        // Whoever signals that says that it may go well later.
        mysql_async::Error::Server(server) if is_of(&server.state, &PASSING) => {
            Failed::Fault(LegacyError::Broken(format!("writing: {error}")))
        }
        _ => Failed::Fault(fault("writing", error)),
    }
}

/// Classes of SQLSTATE that pass, whoever signals them: the connection (08), a rollback to be tried again (40), a lack of room (53),
/// a state of something else (55), an operator or a time limit (57, 70), the system (58).
const PASSING: [&str; 7] = ["08", "40", "53", "55", "57", "58", "70"];
/// Classes that are about the statement, the session or the server: what is not supported (0A), transactions (25, XA), access (28),
/// names (3D, 42, which has missing rights as well), and whatever has no class of its own (HY).
const OF_THE_WHOLE: [&str; 7] = ["0A", "25", "28", "3D", "42", "HY", "XA"];
/// Numbers without a class of their own that are about a row: no default (1364), no value for the type (1366), for a function
/// (1411), no partition (1526, 1748), a check of MySQL (3819).
const OF_A_ROW: [u16; 6] = [1364, 1366, 1411, 1526, 1748, 3819];
/// What `SIGNAL` has, unless it says a number itself.
const SIGNALLED: u16 = 1644;
/// From here on numbers are of those who signal, and not of a server.
const OWN_NUMBERS: u16 = 20_000;

/// What is wrong with a row, if it is one of the rows that may be at fault and not the whole. A trigger may signal any state, so
/// what is not known to be of the whole is of the row: at worst all of them are set aside, told, and tried again.
fn row_fault(error: &mysql_async::Error) -> Option<String> {
    let mysql_async::Error::Server(server) = error else { return None };
    let is_row = is_row_fault(&server.state, server.code);
    is_row.then(|| format!("{} (error {}, SQLSTATE {})", server.message, server.code, server.state))
}

fn is_row_fault(state: &str, code: u16) -> bool {
    let is_by_number = OF_A_ROW.contains(&code) || code == SIGNALLED || code >= OWN_NUMBERS;
    // The server's own number is certain, whatever state somebody gave it.
    let passes = is_of(state, &PASSING) || is_passing(code);
    !passes && (!is_of(state, &OF_THE_WHOLE) || is_by_number)
}

fn is_of(state: &str, classes: &[&str]) -> bool {
    classes.iter().any(|class| state.starts_with(class))
}

/// Deletes outbox rows up to `id`. The stream has told them already, so nothing is lost with them.
pub(super) async fn clear_outbox(
    session: &mut Session,
    database: &str,
    capability: &str,
    ids: &[i64],
) -> Result<u64, LegacyError> {
    // Numbers of ours, so they may stand in the statement.
    let list: Vec<String> = ids.iter().map(i64::to_string).collect();
    let sql = format!(
        "delete from {} where capability = ? and id in ({})",
        ours(database, OUTBOX),
        list.join(", ")
    );
    within("clearing the outbox", STATEMENT_MAX, session.conn.exec_drop(sql, (capability,))).await?;
    Ok(session.conn.affected_rows())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_come_in_some_lengths_only() {
        assert!(padded::<u8>(&[]).is_empty());
        assert_eq!(padded(&[7]), [7]);
        assert_eq!(padded(&[1, 2, 3, 4, 5]), [1, 2, 3, 4, 5, 5, 5, 5]);
        assert_eq!(padded(&[9; ROWS_PER_STATEMENT]).len(), ROWS_PER_STATEMENT);
    }

    #[test]
    fn what_is_not_certainly_about_the_whole_is_about_the_row() {
        let table = [
            // A value, a constraint, a view's check, a trigger's word.
            ("22003", 1264, true),
            ("23000", 4025, true),
            ("44000", 1369, true),
            ("45000", 1644, true),
            ("01000", 1265, true),
            ("21000", 1242, true),
            // Signalled under a state or number of the shop's own, or of somebody else's.
            ("99001", 1644, true),
            ("42000", 1644, true),
            ("HY000", 1644, true),
            ("XX001", 5001, true),
            ("HY000", 30_001, true),
            ("HY000", 3819, true),
            // A right, a column, a server that is read only, a full disk, a trigger that names itself.
            ("42000", 1142, false),
            ("42S22", 1054, false),
            ("HY000", 1290, false),
            ("HY000", 1114, false),
            ("25006", 1792, false),
            // What passes, whoever says so.
            ("40001", 1213, false),
            ("HY000", 1205, false),
            ("40001", 1644, false),
            ("08S01", 1644, false),
            ("53000", 1644, false),
            ("45000", 1205, false),
            ("70100", 1317, false),
        ];
        for (state, code, is_row) in table {
            assert_eq!(is_row_fault(state, code), is_row, "{state} {code}");
        }
    }
}
