//! Our tables in the old database: making them, reading the bookkeeping row, and handing leadership over.

use super::position;
use super::server::{Address, STATEMENT_MAX, Session, fault, is_lock_wait, quoted, within};
use crate::database::{Book, BoxFuture, Door, Hold, LegacyError, Switch, Switched};
use crate::stream::OutboxRow;
use banyan_domain::legacy::Phase;
use mysql_async::Row;
use mysql_async::prelude::Queryable;
use std::time::Duration;

/// The table of the bookkeeping rows.
pub(super) const SYNC: &str = "banyan_sync";
/// The table whose row says the same phase, and whose lock is the door: an order of the old shop holds it shared until it is
/// committed. Not the bookkeeping row's own, which sync out writes all the time.
pub(super) const DOOR: &str = "banyan_door";
/// The table of the old shop's outbox.
pub(super) const OUTBOX: &str = "banyan_outbox";
/// The table of the readers' own places in the binary log: the server keeps none for them.
pub(super) const STREAM: &str = "banyan_stream";

/// "There is no such table."
const NO_TABLE: u16 = 1146;

/// Our tables, by name and by what is in the parentheses. Names and words are compared byte by byte.
const TABLES: [(&str, &str); 4] = [
    (
        DOOR,
        "capability varchar(32) not null primary key, \
         phase varchar(16) not null default 'legacy'",
    ),
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
    for table in [SYNC, DOOR, STREAM] {
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

/// What is left in the outbox, in the order of its numbers: the best there is without the log that told it.
pub(super) async fn left(
    session: &mut Session,
    database: &str,
    capability: &str,
) -> Result<Vec<OutboxRow>, LegacyError> {
    let table = ours(database, OUTBOX);
    let sql = format!("select id, kind, body from {table} as banyan_left where capability = ? order by id");
    let doing = "reading what is left in the outbox";
    let rows: Vec<(i64, String, String)> =
        within(doing, STATEMENT_MAX, session.conn.exec(sql, (capability,))).await?;
    Ok(rows.into_iter().map(|(id, kind, body)| OutboxRow { id, kind, body }).collect())
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

/// A transaction that holds the door's lock.
struct HeldDoor {
    session: Session,
    database: String,
    capability: String,
    system: String,
    position: u64,
}

/// Takes the lock that orders of the old shop hold shared, each until it is committed. New ones wait behind us.
pub(super) async fn hold(
    address: &Address,
    capability: &str,
    wait_max: Duration,
) -> Result<Hold, LegacyError> {
    let doing = "holding the door";
    // A session of its own: dropped, it is closed, and the transaction with it.
    let mut session = address.connect().await?;
    let limit = Duration::from_secs(50) + STATEMENT_MAX;
    session.limit(limit).await?;
    // Whole seconds, at least one: 0 would not wait at all.
    let wait = wait_max.as_millis().div_ceil(1_000).clamp(1, 50);
    session.may_not_fall_silent().await?;
    for setup in [format!("set session innodb_lock_wait_timeout = {wait}"), "start transaction".to_owned()] {
        within(doing, STATEMENT_MAX, session.conn.query_drop(setup)).await?;
    }
    let table = ours(address.database(), DOOR);
    let sql = format!("select phase from {table} as banyan_book where capability = ? for update");
    let row: Option<Row> =
        match tokio::time::timeout(limit, session.conn.exec_first(sql, (capability,))).await {
            Ok(Ok(row)) => row,
            Ok(Err(error)) if is_lock_wait(&error) => return Ok(Hold::LockBusy),
            Ok(Err(error)) => return Err(fault(doing, &error)),
            Err(_) => {
                return Err(LegacyError::Broken(format!("{doing}: no answer within {} s", limit.as_secs())));
            }
        };
    if row.is_none() {
        let why = format!("{DOOR} has no row; `banyan legacy check --create` makes it");
        return Err(LegacyError::Refused(why));
    }
    // An order's changes are in the log before its lock is free.
    let position = position::end(&mut session).await?.position()?;
    let system = position::source(&mut session).await?.system;
    let (database, capability) = (address.database().to_owned(), capability.to_owned());
    Ok(Hold::Held(Box::new(HeldDoor { session, database, capability, system, position })))
}

impl Door for HeldDoor {
    fn position(&self) -> u64 {
        self.position
    }

    fn system(&self) -> Option<&str> {
        Some(&self.system)
    }

    fn switch(mut self: Box<Self>, switch: Switch) -> BoxFuture<'static, Result<Switched, LegacyError>> {
        Box::pin(async move {
            let (database, capability) = (self.database.clone(), self.capability.clone());
            hand_over(&mut self.session, &database, &capability, switch).await
        })
    }
}

/// Both rows say who leads, from the same moment on.
async fn hand_over(
    session: &mut Session,
    database: &str,
    capability: &str,
    switch: Switch,
) -> Result<Switched, LegacyError> {
    let doing = "switching";
    let next = match switch.decide(read(session, database, capability, "for update").await?) {
        Ok(next) => next,
        Err(answer) => {
            rollback(session).await?;
            return Ok(answer);
        }
    };
    let (sync, door) = (ours(database, SYNC), ours(database, DOOR));
    let sql = format!(
        "update {sync} set phase = ?, epoch = ?, move = ?, changed_at = current_timestamp(6) where capability = ?"
    );
    let values = (next.phase.as_str(), next.epoch, next.move_no, capability);
    within(doing, STATEMENT_MAX, session.conn.exec_drop(sql, values)).await?;
    let sql = format!("update {door} set phase = ? where capability = ?");
    within(doing, STATEMENT_MAX, session.conn.exec_drop(sql, (next.phase.as_str(), capability))).await?;
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
