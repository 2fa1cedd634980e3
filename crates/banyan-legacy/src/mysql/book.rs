//! Our tables in the old database: making them, reading the bookkeeping row, and handing leadership over.

use super::server::{STATEMENT_MAX, Session, fault, is_lock_wait, quoted, within};
use crate::database::{Book, LegacyError, Phase, Switch, Switched};
use mysql_async::Row;
use mysql_async::prelude::Queryable;
use std::time::Duration;

/// The table of the bookkeeping rows.
pub(super) const SYNC: &str = "banyan_sync";
/// The table of the old shop's outbox.
pub(super) const OUTBOX: &str = "banyan_outbox";
/// The table of the readers' own places in the binary log: the server keeps none for them.
pub(super) const STREAM: &str = "banyan_stream";

/// "There is no such table."
const NO_TABLE: u16 = 1146;

/// Our tables, by name and by what is in the parentheses. Names and words are compared byte by byte.
const TABLES: [(&str, &str); 3] = [
    (
        SYNC,
        "capability varchar(32) not null primary key, \
         phase varchar(16) not null default 'legacy', \
         epoch bigint not null default 0, \
         seq bigint not null default 0, \
         move bigint not null default 0, \
         changed_at timestamp(6) not null default current_timestamp(6)",
    ),
    (
        OUTBOX,
        "id bigint not null auto_increment primary key, \
         capability varchar(32) not null, \
         kind varchar(32) not null, \
         body mediumtext not null, \
         made_at timestamp(6) not null default current_timestamp(6)",
    ),
    (
        STREAM,
        "capability varchar(32) not null primary key, \
         source varchar(400) not null default '', \
         applied bigint unsigned not null default 0, \
         settled bigint unsigned not null default 0, \
         marks bigint unsigned not null default 0, \
         changed_at timestamp(6) not null default current_timestamp(6)",
    ),
];

/// A table of ours, in a statement.
pub(super) fn ours(database: &str, table: &str) -> String {
    format!("{}.{table}", quoted(database))
}

/// The statements that make our tables, for those who want to run them themselves.
pub(super) fn statements(database: &str) -> Vec<(&'static str, String)> {
    let statement = |(name, columns): &(&'static str, &str)| {
        let table = ours(database, name);
        let options = "engine=InnoDB default character set utf8mb4 collate utf8mb4_bin";
        (*name, format!("create table if not exists {table} ({columns}) {options}"))
    };
    TABLES.iter().map(statement).collect()
}

/// Makes what is missing of our tables and rows.
pub(super) async fn create(
    session: &mut Session,
    database: &str,
    capability: &str,
) -> Result<Vec<String>, LegacyError> {
    let mut done = Vec::new();
    for (table, statement) in statements(database) {
        if exists(session, database, table).await? {
            continue;
        }
        let doing = format!("making the table {table}");
        within(&doing, STATEMENT_MAX, session.conn.query_drop(statement)).await?;
        done.push(format!("made the table {database}.{table}"));
    }
    for table in [SYNC, STREAM] {
        let sql = format!("insert ignore into {} (capability) values (?)", ours(database, table));
        let doing = format!("making the row of {capability} in {table}");
        within(&doing, STATEMENT_MAX, session.conn.exec_drop(sql, (capability,))).await?;
        if session.conn.affected_rows() > 0 {
            done.push(format!("made the row of {capability} in {database}.{table}"));
        }
    }
    Ok(done)
}

/// Whether there is a table of this name.
pub(super) async fn exists(session: &mut Session, database: &str, table: &str) -> Result<bool, LegacyError> {
    let sql = "select 1 from information_schema.tables where table_schema = ? and table_name = ?";
    let doing = format!("looking for the table {table}");
    let found: Option<u8> =
        within(&doing, STATEMENT_MAX, session.conn.exec_first(sql, (database, table))).await?;
    Ok(found.is_some())
}

/// The bookkeeping row; nothing if it was not made. `lock` is the end of the statement.
pub(super) async fn read(
    session: &mut Session,
    database: &str,
    capability: &str,
    lock: &str,
) -> Result<Option<Book>, LegacyError> {
    let sql = select(database, lock);
    let doing = "reading the bookkeeping row";
    let work = session.conn.exec_first(sql, (capability,));
    let row: Option<Row> = match tokio::time::timeout(STATEMENT_MAX, work).await {
        Ok(Ok(row)) => row,
        Ok(Err(mysql_async::Error::Server(error))) if error.code == NO_TABLE => None,
        Ok(Err(error)) => return Err(fault(doing, &error)),
        Err(_) => return Err(LegacyError::Broken(format!("{doing}: no answer"))),
    };
    row.map(|row| book_of(&row)).transpose()
}

fn select(database: &str, lock: &str) -> String {
    let table = ours(database, SYNC);
    format!("select phase, epoch, seq, move from {table} as banyan_book where capability = ? {lock}")
}

fn book_of(row: &Row) -> Result<Book, LegacyError> {
    let refused =
        |what: &str| LegacyError::Refused(format!("{SYNC}: its row has {what}; put it right by hand"));
    let word: String = row.get_opt(0).and_then(Result::ok).ok_or_else(|| refused("no phase"))?;
    let phase = Phase::from_word(&word).ok_or_else(|| refused(&format!("the phase {word:?}")))?;
    let number = |at: usize| {
        let value: Option<u64> = row.get_opt(at).and_then(Result::ok);
        value.ok_or_else(|| refused("a negative number"))
    };
    Ok(Book { phase, epoch: number(1)?, seq: number(2)?, move_no: number(3)? })
}

/// Hands leadership over. Whoever decides about stock in the old shop holds the row's shared lock until the order is
/// committed, so the exclusive lock comes when no order is in flight, and later ones wait behind it.
pub(super) async fn switch(
    session: &mut Session,
    database: &str,
    capability: &str,
    switch: Switch,
) -> Result<Switched, LegacyError> {
    let doing = "switching";
    // Whole seconds, at least one: 0 would not wait at all.
    let wait = switch.wait_max.as_secs().clamp(1, 50) + u64::from(switch.wait_max.subsec_millis() > 0);
    let begin = format!("set session innodb_lock_wait_timeout = {wait}");
    within(doing, STATEMENT_MAX, session.conn.query_drop(begin)).await?;
    within(doing, STATEMENT_MAX, session.conn.query_drop("start transaction")).await?;
    let limit = Duration::from_secs(wait) + STATEMENT_MAX;
    let locking = session.conn.exec_first(select(database, "for update"), (capability,));
    let row: Option<Row> = match tokio::time::timeout(limit, locking).await {
        Ok(Ok(row)) => row,
        Ok(Err(error)) if is_lock_wait(&error) => {
            rollback(session).await?;
            return Ok(Switched::LockBusy);
        }
        Ok(Err(error)) => return Err(fault(doing, &error)),
        Err(_) => {
            return Err(LegacyError::Broken(format!("{doing}: no answer within {} s", limit.as_secs())));
        }
    };
    let book = row.map(|row| book_of(&row)).transpose()?;
    let next = match decide(book, switch) {
        Ok(next) => next,
        Err(answer) => {
            rollback(session).await?;
            return Ok(answer);
        }
    };
    let table = ours(database, SYNC);
    let sql = format!(
        "update {table} set phase = ?, epoch = ?, move = ?, changed_at = current_timestamp(6) where capability = ?"
    );
    let values = (next.phase.word(), next.epoch, next.move_no, capability);
    within(doing, STATEMENT_MAX, session.conn.exec_drop(sql, values)).await?;
    commit(session, "committing the switch").await?;
    Ok(Switched::Done(next))
}

/// Commits. Whatever goes wrong here, it may have been committed.
pub(super) async fn commit(session: &mut Session, doing: &str) -> Result<(), LegacyError> {
    let unknown = |error: LegacyError| match error {
        LegacyError::Refused(why) | LegacyError::Broken(why) | LegacyError::SourceUnknown(why) => {
            LegacyError::Broken(why)
        }
    };
    within(doing, STATEMENT_MAX, session.conn.query_drop("commit")).await.map_err(unknown)
}

pub(super) async fn rollback(session: &mut Session) -> Result<(), LegacyError> {
    within("rolling back", STATEMENT_MAX, session.conn.query_drop("rollback")).await
}

/// What the book becomes, or what to answer without changing it.
fn decide(book: Option<Book>, switch: Switch) -> Result<Book, Switched> {
    let refused = |why: String| Err(Switched::Refused(why));
    let Some(book) = book else {
        return refused(format!("{SYNC} has no row; `banyan legacy check --create` makes it"));
    };
    if book.move_no == switch.move_no && book.phase == switch.to {
        return Err(Switched::Done(book));
    }
    if book.move_no >= switch.move_no {
        return refused(format!("move {} was made already, and led to {}", book.move_no, book.phase.word()));
    }
    if book.epoch != switch.epoch {
        return refused(format!("the epoch is {}, not {}: somebody else switched", book.epoch, switch.epoch));
    }
    if book.seq < switch.seq_at_least {
        return refused(format!(
            "the old tables have position {}, and {} is needed",
            book.seq, switch.seq_at_least
        ));
    }
    Ok(Book { phase: switch.to, epoch: book.epoch + 1, seq: book.seq, move_no: switch.move_no })
}

/// Forgets the place in the log that was noted.
pub(super) async fn forget_place(
    session: &mut Session,
    database: &str,
    capability: &str,
) -> Result<(), LegacyError> {
    if !exists(session, database, STREAM).await? {
        return Ok(());
    }
    let sql = format!(
        "update {} set source = '', applied = 0, settled = 0 where capability = ?",
        ours(database, STREAM)
    );
    within("forgetting our place in the log", STATEMENT_MAX, session.conn.exec_drop(sql, (capability,))).await
}
