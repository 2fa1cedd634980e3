//! The old database's address, for ordinary sessions and for the stream alike.

use super::tls::Tls;
use crate::database::LegacyError;
use pgwire_replication::config::{ReplicationConfig, SslMode, TlsConfig};
use std::path::PathBuf;
use std::time::Duration;
use tokio_postgres::config::Host;
use tokio_postgres::{Client, Config};

/// Longest wait for a connection.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How our sessions call themselves in `pg_stat_activity`.
pub(super) const APPLICATION: &str = "banyan-legacy";
/// How often a raised acknowledgement is sent at most. Postgres waits for it when it shuts down.
const ACKNOWLEDGE_EVERY: Duration = Duration::from_millis(500);
/// Messages that may wait between the connection and us: what is beyond waits in the old database.
const MESSAGES_AHEAD_MAX: usize = 1_024;
/// Largest message: one row with all its columns, and with its old values.
const MESSAGE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Where the old database is, and how to prove who we are. Never shown: it holds a password.
#[derive(Clone)]
pub(super) struct Address {
    config: Config,
    tls: TlsConfig,
}

/// An ordinary session. Its connection ends when it is dropped.
pub(super) struct Session {
    pub(super) client: Client,
    connection: tokio::task::JoinHandle<()>,
}

impl Address {
    /// Reads `postgres://user:password@host:port/database?sslmode=verify-full&sslrootcert=/path/ca.pem`, or the form of
    /// keywords and values.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (rest, mode, root) = take_tls(text);
        let mut config: Config = rest
            .parse()
            .map_err(|error| format!("the old database's address is not one of Postgres: {error}"))?;
        let mode = match mode.as_deref() {
            None | Some("prefer" | "allow") => SslMode::Prefer,
            Some("disable") => SslMode::Disable,
            Some("require") if root.is_none() => SslMode::Require,
            // As libpq has it: who names a root certificate wants it looked at.
            Some("require" | "verify-ca") => SslMode::VerifyCa,
            Some("verify-full") => SslMode::VerifyFull,
            Some(other) => return Err(format!("sslmode={other} in the old database's address is not known")),
        };
        if config.get_hosts().len() != 1 {
            return Err("the old database's address must name one host: a stream has one source".to_owned());
        }
        if config.get_dbname().is_none() || config.get_user().is_none() {
            return Err("the old database's address must name user and database".to_owned());
        }
        let is_socket = matches!(config.get_hosts().first(), Some(Host::Unix(_)));
        config
            .connect_timeout(CONNECT_MAX)
            .application_name(APPLICATION)
            .keepalives_idle(Duration::from_secs(15))
            .keepalives_interval(Duration::from_secs(5))
            .keepalives_retries(3)
            .tcp_user_timeout(Duration::from_secs(30))
            .ssl_mode(match mode {
                _ if is_socket => tokio_postgres::config::SslMode::Disable,
                SslMode::Disable => tokio_postgres::config::SslMode::Disable,
                SslMode::Prefer => tokio_postgres::config::SslMode::Prefer,
                _ => tokio_postgres::config::SslMode::Require,
            });
        let mode = if is_socket { SslMode::Disable } else { mode };
        Ok(Self { config, tls: TlsConfig { mode, ca_pem_path: root, ..TlsConfig::default() } })
    }

    /// How well the way there is protected, for the preflight.
    pub(super) fn tls_mode(&self) -> SslMode {
        self.tls.mode
    }

    /// Whether the way there leaves this machine.
    pub(super) fn is_local(&self) -> bool {
        match self.config.get_hosts().first() {
            Some(Host::Tcp(host)) => {
                host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
            }
            _ => true,
        }
    }

    /// The user's name.
    pub(super) fn user(&self) -> &str {
        self.config.get_user().unwrap_or_default()
    }

    /// Opens a session.
    pub(super) async fn connect(&self) -> Result<Session, LegacyError> {
        let tls = Tls::new(&self.tls).map_err(LegacyError::Refused)?;
        let (client, connection) =
            self.config.connect(tls).await.map_err(|error| fault("connecting", &error))?;
        let connection = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("a session with the old database ended: {error}");
            }
        });
        Ok(Session { client, connection })
    }

    /// How to open the stream of `slot`.
    pub(super) fn replication(&self, slot: &str) -> ReplicationConfig {
        let password = String::from_utf8_lossy(self.config.get_password().unwrap_or_default()).into_owned();
        let database = self.config.get_dbname().unwrap_or_default();
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        let config = match self.config.get_hosts().first() {
            Some(Host::Tcp(host)) => {
                ReplicationConfig::new(host, self.user(), password, database, slot, slot)
                    .with_port(port)
                    .with_tls(self.tls.clone())
            }
            Some(Host::Unix(folder)) => ReplicationConfig::unix(
                folder.to_string_lossy(),
                port,
                self.user(),
                password,
                database,
                slot,
                slot,
            ),
            None => ReplicationConfig::new("127.0.0.1", self.user(), password, database, slot, slot)
                .with_port(port),
        };
        config
            .with_application_name(APPLICATION)
            .with_status_interval(ACKNOWLEDGE_EVERY)
            .with_wakeup_interval(Duration::from_secs(5))
            .with_buffer_size(MESSAGES_AHEAD_MAX)
            .with_max_message_size(MESSAGE_BYTES_MAX)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A statement that is still running must not outlive its session's owner: the socket closes, the server ends it.
        self.connection.abort();
    }
}

/// What a fault means: whether to try again.
pub(super) fn fault(doing: &str, error: &tokio_postgres::Error) -> LegacyError {
    let Some(db) = error.as_db_error() else {
        return LegacyError::Broken(format!("{doing}: {}", chain(error)));
    };
    let code = db.code().code();
    let text = format!("{doing}: {} (SQLSTATE {code})", db.message());
    // Connection faults, lack of room, being shut down, and serialization: later may go well.
    let passing = ["08", "53", "57", "40", "55"].iter().any(|class| code.starts_with(class));
    if passing { LegacyError::Broken(text) } else { LegacyError::Refused(text) }
}

/// A fault with its causes: the first line alone often says only "error connecting to server".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Takes the two settings out that our client library does not know in full.
fn take_tls(text: &str) -> (String, Option<String>, Option<PathBuf>) {
    let Some((base, query)) = text.split_once('?').filter(|_| text.contains("://")) else {
        return (text.to_owned(), None, None);
    };
    let (mut mode, mut root, mut kept) = (None, None, Vec::new());
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("sslmode", value)) => mode = Some(value.to_owned()),
            Some(("sslrootcert", value)) => root = Some(PathBuf::from(value.replace("%2F", "/"))),
            _ => kept.push(pair),
        }
    }
    let rest = if kept.is_empty() { base.to_owned() } else { format!("{base}?{}", kept.join("&")) };
    (rest, mode, root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_modes_of_libpq_are_known() {
        let mode = |query: &str| {
            Address::parse(&format!("postgres://u:p@db.example/shop{query}")).map(|a| a.tls.mode)
        };
        assert_eq!(mode(""), Ok(SslMode::Prefer));
        assert_eq!(mode("?sslmode=disable"), Ok(SslMode::Disable));
        assert_eq!(mode("?sslmode=require"), Ok(SslMode::Require));
        assert_eq!(mode("?sslmode=require&sslrootcert=/ca.pem"), Ok(SslMode::VerifyCa));
        assert_eq!(mode("?connect_timeout=3&sslmode=verify-full"), Ok(SslMode::VerifyFull));
        assert!(mode("?sslmode=maybe").is_err());
    }

    #[test]
    fn one_host_one_user_one_database() {
        for bad in
            ["postgres://u@a,b/shop", "postgres://u@a", "postgres://a/shop", "mysql://u@a/shop", "?", ""]
        {
            let why = Address::parse(bad).err().unwrap_or_else(|| panic!("{bad:?} was taken"));
            assert!(why.contains("address"), "{why}");
        }
    }
}
