//! How the old database is reached, and what its faults mean.

use super::layout::Layout;
use crate::database::LegacyError;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Opts, OptsBuilder, SslOpts};
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{self, Handle};
use tokio::time::Instant;

/// Longest wait for a connection.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Longest wait for one statement that is not known to take long.
pub(super) const STATEMENT_MAX: Duration = Duration::from_secs(30);
/// Largest event of the binary log that is read, in bytes: the protocol's own limit.
const EVENT_BYTES_MAX: usize = 1 << 30;

/// How long a session that is kept may have been idle and be used again: the server must not end it first.
const IDLE_MAX: Duration = Duration::from_secs(SILENT_SECONDS_MAX / 2);
/// Longest that the server waits for the next word of a session that takes locks, in seconds. Then it ends the session, and its
/// transaction with it: whoever lost us with the network would otherwise keep them for hours.
pub(super) const SILENT_SECONDS_MAX: u64 = 60;

/// Statements that a session keeps prepared: those of the sync out come in some lengths for each table.
const PREPARED_MAX: usize = 128;

/// Faults that pass: too many connections, shut down, killed, a lock that was not had, a statement that took too long (1969 is
/// MariaDB's word for it, 3024 MySQL's).
const PASSING: [u16; 15] =
    [1040, 1053, 1152, 1158, 1159, 1160, 1161, 1203, 1205, 1213, 1317, 1927, 1969, 3024, 4031];
/// A lock was not had in time.
const LOCK_WAIT: u16 = 1205;
/// Two transactions waited for each other, and this one was rolled back.
const DEADLOCK: u16 = 1213;

/// Where the old database is, and how to prove who we are. Never shown: it holds a password.
#[derive(Clone)]
pub(super) struct Address {
    opts: Opts,
    database: String,
}

/// Which server it is, as far as its dialect goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flavor {
    /// MariaDB, not MySQL.
    pub(super) mariadb: bool,
    /// Major, minor, patch.
    pub(super) version: (u16, u16, u16),
}

/// A session, with the time zone, character set and strictness that our statements rely on.
pub(super) struct Session {
    pub(super) conn: Conn,
    pub(super) flavor: Flavor,
    /// What the mapped tables look like, as seen in this session, and how many schema changes were known of by then.
    pub(super) layouts: Option<(u64, Arc<Vec<Layout>>)>,
    /// Whether it was set up to write.
    pub(super) writes: bool,
    /// In which it was opened: its socket belongs to it.
    runtime: runtime::Id,
    /// Since when it is kept without being used.
    idle_since: Instant,
}

impl Session {
    /// Has the server itself end each statement from now on that takes longer: whoever gives up waiting, or is ended, would
    /// otherwise leave it running there. MySQL ends only those that read.
    pub(super) async fn limit(&mut self, statement_max: Duration) -> Result<(), LegacyError> {
        let sql = self.flavor.statement_limit(statement_max);
        within("limiting statements", STATEMENT_MAX, self.conn.query_drop(format!("set session {sql}"))).await
    }

    /// Whether it can be used: it is open as far as is known, and of the runtime that asks. One of another runtime waits for sockets
    /// that nobody looks at where that runtime stands still.
    pub(super) fn is_usable(&self) -> bool {
        self.runtime == Handle::current().id()
            && !self.conn.is_disconnected()
            && self.idle_since.elapsed() < IDLE_MAX
    }

    /// It is put away until it is used again.
    pub(super) fn rests(&mut self) {
        self.idle_since = Instant::now();
    }

    /// Has the server end it when nothing is heard of it for long: for all that take locks of others' rows.
    pub(super) async fn may_not_fall_silent(&mut self) -> Result<(), LegacyError> {
        let sql = format!("set session wait_timeout = {SILENT_SECONDS_MAX}");
        within("setting the session up", STATEMENT_MAX, self.conn.query_drop(sql)).await
    }
}

impl Address {
    /// Reads `mysql://user:password@host:3306/database?require_ssl=true&ssl_ca=/path/ca.pem`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (rest, root) = take_root(text);
        let opts = Opts::from_url(&rest)
            .map_err(|error| format!("the old database's address is not one of MySQL or MariaDB: {error}"))?;
        let database = opts.db_name().unwrap_or_default().to_owned();
        if database.is_empty() || opts.user().unwrap_or_default().is_empty() {
            return Err("the old database's address must name user and database".to_owned());
        }
        let mut builder = OptsBuilder::from_opts(opts.clone());
        if let Some(root) = root {
            let ssl = opts.ssl_opts().cloned().unwrap_or_else(SslOpts::default);
            builder = builder.ssl_opts(ssl.with_root_certs(vec![root.into()]));
        }
        // The client would otherwise look for the server's socket file, past whatever the address says.
        let builder = builder
            .prefer_socket(false)
            .tcp_keepalive(Some(Duration::from_secs(15)))
            .client_found_rows(true)
            .stmt_cache_size(PREPARED_MAX);
        Ok(Self { opts: builder.into(), database })
    }

    /// The database that tables without one are in, and our own tables.
    pub(super) fn database(&self) -> &str {
        &self.database
    }

    /// Whether the way there is protected.
    pub(super) fn has_tls(&self) -> bool {
        self.opts.ssl_opts().is_some()
    }

    /// Whether the way there stays on this machine.
    pub(super) fn is_local(&self) -> bool {
        self.opts.socket().is_some()
            || self.opts.addr_is_loopback()
            || self.opts.ip_or_hostname() == "localhost"
    }

    /// Opens a session.
    pub(super) async fn connect(&self) -> Result<Session, LegacyError> {
        self.open(OptsBuilder::from_opts(self.opts.clone())).await
    }

    /// Opens a session that will be turned into a reader of the binary log.
    pub(super) async fn connect_reader(&self) -> Result<Session, LegacyError> {
        self.open(OptsBuilder::from_opts(self.opts.clone()).max_allowed_packet(Some(EVENT_BYTES_MAX))).await
    }

    async fn open(&self, builder: OptsBuilder) -> Result<Session, LegacyError> {
        if self.has_tls() {
            // The client library takes the process's provider, and there may be two to choose from. Set already is as good.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let mut conn = within("connecting", CONNECT_MAX, Conn::new(builder)).await?;
        let version: Option<String> =
            within("asking for the version", STATEMENT_MAX, conn.query_first("select version()")).await?;
        let mariadb = version.unwrap_or_default().contains("MariaDB");
        let flavor = Flavor { mariadb, version: conn.server_version() };
        let setup = format!(
            "set names utf8mb4, time_zone = '+00:00', {}, \
             sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO'",
            flavor.statement_limit(STATEMENT_MAX)
        );
        within("setting the session up", STATEMENT_MAX, conn.query_drop(setup)).await?;
        Ok(Session {
            conn,
            flavor,
            layouts: None,
            writes: false,
            runtime: Handle::current().id(),
            idle_since: Instant::now(),
        })
    }
}

impl Flavor {
    /// The statement that tells where the binary log ends.
    pub(super) fn log_status(self) -> &'static str {
        if !self.mariadb && self.version >= (8, 2, 0) {
            "show binary log status"
        } else {
            "show master status"
        }
    }

    /// The setting by which the server ends a statement: MariaDB counts in seconds, MySQL in milliseconds.
    fn statement_limit(self, statement_max: Duration) -> String {
        if self.mariadb {
            format!("max_statement_time = {}", statement_max.as_secs_f64())
        } else {
            format!("max_execution_time = {}", statement_max.as_millis())
        }
    }
}

/// Waits for an answer, and says what its failure means.
pub(super) async fn within<T>(
    doing: &str,
    limit: Duration,
    work: impl Future<Output = mysql_async::Result<T>>,
) -> Result<T, LegacyError> {
    match tokio::time::timeout(limit, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(fault(doing, &error)),
        Err(_) => Err(LegacyError::Broken(format!("{doing}: no answer within {} s", limit.as_secs()))),
    }
}

/// What a fault means: whether to try again.
pub(super) fn fault(doing: &str, error: &Error) -> LegacyError {
    let text = format!("{doing}: {error}");
    match error {
        Error::Server(server) if !PASSING.contains(&server.code) => LegacyError::Refused(text),
        Error::Url(_) => LegacyError::Refused(text),
        _ => LegacyError::Broken(text),
    }
}

/// Whether a fault of this number passes.
pub(super) fn is_passing(code: u16) -> bool {
    PASSING.contains(&code)
}

/// Whether a lock was not had in time; the transaction is still open.
pub(super) fn is_lock_wait(error: &Error) -> bool {
    matches!(error, Error::Server(server) if server.code == LOCK_WAIT)
}

/// Whether the server rolled the transaction back to end a deadlock: nothing of it happened.
pub(super) fn is_deadlock(error: &Error) -> bool {
    matches!(error, Error::Server(server) if server.code == DEADLOCK)
}

/// A name in a statement.
pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// Takes the one setting out that the client library does not know.
fn take_root(text: &str) -> (String, Option<PathBuf>) {
    let Some((base, query)) = text.split_once('?') else { return (text.to_owned(), None) };
    let (mut root, mut kept) = (None, Vec::new());
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("ssl_ca", path)) => root = Some(PathBuf::from(path.replace("%2F", "/"))),
            _ => kept.push(pair),
        }
    }
    (if kept.is_empty() { base.to_owned() } else { format!("{base}?{}", kept.join("&")) }, root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_user_and_database() {
        for bad in
            ["mysql://u@a", "mysql://a/shop", "postgres://u@a/shop", "?", "", "mysql://u@a/shop?what=1"]
        {
            let why = Address::parse(bad).err().unwrap_or_else(|| panic!("{bad:?} was taken"));
            assert!(why.contains("the old database's address"), "{why}");
            assert!(!why.contains("u@a"), "no part of an address is shown: {why}");
        }
        let address = Address::parse("mysql://u:p@127.0.0.1:3307/shop").expect("an address");
        assert!(address.database() == "shop" && address.is_local() && !address.has_tls());
        let address = Address::parse("mysql://u:p@db.example/shop?ssl_ca=%2Fca.pem&require_ssl=true");
        let address = address.expect("an address");
        assert!(address.has_tls() && !address.is_local());
        assert_eq!(address.opts.ssl_opts().map(|ssl| ssl.root_certs().len()), Some(1));
    }

    #[test]
    fn a_fault_is_passing_or_not() {
        let of = |code| {
            fault(
                "writing",
                &Error::Server(mysql_async::ServerError {
                    code,
                    message: "why".into(),
                    state: "HY000".into(),
                }),
            )
        };
        assert!(
            matches!(of(1213), LegacyError::Broken(why) if why.contains("writing") && why.contains("why"))
        );
        assert!(matches!(of(1045), LegacyError::Refused(_)), "a wrong password stays wrong");
        let closed = Error::Driver(mysql_async::DriverError::ConnectionClosed);
        assert!(matches!(fault("writing", &closed), LegacyError::Broken(_)));
    }

    #[test]
    fn both_dialects_have_a_limit_and_a_word_for_the_logs_end() {
        let flavor = |mariadb, version| Flavor { mariadb, version };
        let half = Duration::from_millis(500);
        assert_eq!(flavor(true, (10, 3, 0)).statement_limit(half), "max_statement_time = 0.5");
        assert_eq!(flavor(false, (5, 7, 8)).statement_limit(half), "max_execution_time = 500");
        assert_eq!(flavor(false, (8, 4, 0)).log_status(), "show binary log status");
        for before in [flavor(true, (11, 4, 0)), flavor(false, (8, 0, 45)), flavor(false, (5, 7, 44))] {
            assert_eq!(before.log_status(), "show master status", "{before}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_statement_that_nobody_waits_for_any_more_ends_in_the_server() {
        let server = banyan_testkit::MariaDb::start(&banyan_testkit::MariaDbOptions::default());
        let server = server.expect("mariadb");
        let address = Address::parse(&server.url()).expect("an address");
        let mut session = address.connect().await.expect("a session");
        // Each row of a table with each of another, and so on: it takes hours.
        let long = "select count(*) from information_schema.collations a, information_schema.collations b, \
                    information_schema.collations c, information_schema.collations d";
        session.limit(Duration::from_secs(1)).await.expect("limited");
        let ended = within("sleeping", STATEMENT_MAX, session.conn.query_drop(long));
        assert!(matches!(ended.await, Err(LegacyError::Broken(_))), "another time may go well");

        session.limit(Duration::from_secs(3)).await.expect("limited");
        let given_up = session.conn.query_drop(long);
        tokio::time::timeout(Duration::from_millis(300), given_up).await.expect_err("it takes hours");
        drop(session);
        let running = "select count(*) from information_schema.processlist where info like 'select count(*) from information_schema.collations%'";
        let is_gone = || server.sql(running).is_ok_and(|count| count == "0");
        assert!(banyan_testkit::wait_until(STATEMENT_MAX, is_gone));
    }

    #[test]
    fn names_are_quoted() {
        assert_eq!(quoted("a`b"), "`a``b`");
    }
}
