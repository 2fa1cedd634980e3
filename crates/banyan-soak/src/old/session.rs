//! A session of the old shop, the same for both kinds of database.

use crate::Database;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, Value};
use std::time::Duration;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// Longest wait for one statement. Only a fault of the run itself takes longer: what this shop waits for is ended before.
const STATEMENT_MAX: Duration = Duration::from_secs(90);

/// One session.
pub(crate) enum Session {
    Postgres(Client),
    Mariadb(Box<Conn>),
}

/// Why a statement was not done, or not known to be.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) why: String,
    /// Whether the session is gone; otherwise the transaction was rolled back, or is to be.
    pub(crate) lost: bool,
    /// Whether the server ended it to end a deadlock: ordinary, and tried again.
    pub(crate) deadlock: bool,
}

/// Who leads, as the old shop reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The old shop.
    Old,
    /// Banyan.
    Lead,
}

/// Rows as text.
pub(crate) type Rows = Vec<Vec<Option<String>>>;

impl Session {
    pub(crate) async fn open(database: Database, address: &str) -> Result<Self, Fault> {
        let work = async {
            Ok(match database {
                Database::Postgres => {
                    let (client, connection) =
                        tokio_postgres::connect(address, NoTls).await.map_err(Fault::gone)?;
                    // Ends with its client; what it says then, the client says too.
                    tokio::spawn(async move { connection.await.ok() });
                    Self::Postgres(client)
                }
                Database::Mariadb => {
                    let options = Opts::from_url(address).map_err(Fault::gone)?;
                    Self::Mariadb(Box::new(Conn::new(options).await.map_err(Fault::gone)?))
                }
            })
        };
        tokio::time::timeout(STATEMENT_MAX, work).await.map_err(|_| Fault::slow("connecting"))?
    }

    /// Runs one statement; how many rows it touched.
    pub(crate) async fn run(&mut self, sql: &str) -> Result<u64, Fault> {
        Ok(self.ask(sql).await?.1)
    }

    /// The rows of one statement.
    pub(crate) async fn rows(&mut self, sql: &str) -> Result<Rows, Fault> {
        Ok(self.ask(sql).await?.0)
    }

    /// The first value of one statement.
    pub(crate) async fn value(&mut self, sql: &str) -> Result<Option<String>, Fault> {
        Ok(self.rows(sql).await?.into_iter().next().and_then(|row| row.into_iter().next().flatten()))
    }

    async fn ask(&mut self, sql: &str) -> Result<(Rows, u64), Fault> {
        let work = async {
            match self {
                Self::Postgres(client) => postgres(client, sql).await,
                Self::Mariadb(conn) => mariadb(conn, sql).await,
            }
        };
        tokio::time::timeout(STATEMENT_MAX, work).await.map_err(|_| Fault::slow(sql))?
    }

    /// Begins a transaction behind the door, as docs/legacy-sync.md wants it: who leads stays so until its end.
    pub(crate) async fn enter(&mut self) -> Result<Phase, Fault> {
        self.run("start transaction").await?;
        let phase = match self {
            Self::Postgres(_) => {
                self.run("select pg_advisory_xact_lock_shared(hashtext('banyan:stock'))").await?;
                self.value("select phase from banyan_sync where capability = 'stock'").await?
            }
            Self::Mariadb(_) => {
                let sql = "select phase from banyan_door where capability = 'stock' lock in share mode";
                self.value(sql).await?
            }
        };
        Ok(match phase.as_deref() {
            Some("lead" | "retired") => Phase::Lead,
            _ => Phase::Old,
        })
    }

    /// Where the database's log is, as Banyan counts positions.
    pub(crate) async fn position(&mut self) -> Result<u64, Fault> {
        let odd =
            |what: &str| Fault { why: format!("no position in {what:?}"), lost: false, deadlock: false };
        match self {
            Self::Postgres(_) => {
                let sql = "select (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::text";
                let text = self.value(sql).await?.unwrap_or_default();
                text.parse().map_err(|_| odd(&text))
            }
            Self::Mariadb(_) => {
                let rows = self.rows("show master status").await?;
                let row = rows.first().cloned().unwrap_or_default();
                let file = row.first().cloned().flatten().unwrap_or_default();
                let number = file.rsplit('.').next().and_then(|number| number.parse::<u64>().ok());
                let offset = row.get(1).cloned().flatten().and_then(|offset| offset.parse::<u64>().ok());
                number.zip(offset).map(|(number, offset)| number << 32 | offset).ok_or_else(|| odd(&file))
            }
        }
    }
}

async fn postgres(client: &Client, sql: &str) -> Result<(Rows, u64), Fault> {
    let messages = client.simple_query(sql).await.map_err(|error| {
        let of_server = error.as_db_error();
        Fault {
            why: format!("{sql}: {}", of_server.map_or_else(|| error.to_string(), ToString::to_string)),
            // The server's own last words before it ends every session come as an error of class 57.
            lost: client.is_closed() || of_server.is_none_or(|error| error.code().code().starts_with("57")),
            deadlock: of_server.is_some_and(|error| error.code().code() == "40P01"),
        }
    })?;
    let (mut rows, mut touched) = (Rows::new(), 0);
    for message in messages {
        match message {
            SimpleQueryMessage::Row(row) => {
                rows.push((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect());
            }
            SimpleQueryMessage::CommandComplete(count) => touched = count,
            _ => {}
        }
    }
    Ok((rows, touched))
}

async fn mariadb(conn: &mut Conn, sql: &str) -> Result<(Rows, u64), Fault> {
    let rows: Vec<mysql_async::Row> = conn.query(sql).await.map_err(|error| Fault {
        why: format!("{sql}: {error}"),
        lost: match &error {
            // Shutting down, killed.
            mysql_async::Error::Server(error) => matches!(error.code, 1053 | 1317 | 1927),
            _ => true,
        },
        deadlock: matches!(&error, mysql_async::Error::Server(error) if matches!(error.code, 1205 | 1213)),
    })?;
    let text = |value: Value| match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        other => Some(other.as_sql(true)),
    };
    let rows = rows.into_iter().map(|row| row.unwrap().into_iter().map(text).collect()).collect();
    Ok((rows, conn.affected_rows()))
}

impl Fault {
    fn gone(error: impl std::fmt::Display) -> Self {
        Self { why: error.to_string(), lost: true, deadlock: false }
    }

    fn slow(doing: &str) -> Self {
        Self { why: format!("{doing}: no answer within {STATEMENT_MAX:?}"), lost: true, deadlock: false }
    }
}
