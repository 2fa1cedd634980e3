//! Sessions with the old database, kept for the next who asks in the same runtime.

use super::address::{Address, Session, fault};
use super::catalog::{self, Catalog};
use crate::database::LegacyError;
use crate::mapping::Mapping;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::{self, Handle};
use tokio_postgres::Statement;

/// Sessions that are kept: writer, reconcile, and one more.
const IDLE_MAX: usize = 3;
/// Longest a piece of work may take, whatever the old database does: then its connection is given up.
const WORK_MAX: Duration = Duration::from_secs(60);
/// The same of work that looks at every row of a table.
const SCAN_MAX: Duration = Duration::from_secs(1_800);
/// What every session of ours sets: our statements must neither hold up the old shop nor depend on its settings. And those that are
/// kept prepared are planned for as many rows as they are given: a plan for few reads a table without an index once for each.
const SETTINGS: &str = "set lock_timeout = '5s'; set statement_timeout = '30s'; \
     set idle_in_transaction_session_timeout = '60s'; set synchronous_commit = on; set plan_cache_mode = force_custom_plan";
/// Has the server look while it reads a table whether we are still there: whoever gives up waiting closes the connection, and the
/// statement would otherwise go on to its own limit. Not every system can look.
const LOOK: &str = "set client_connection_check_interval = '2s'";

/// A small pool. A session belongs to the runtime that opened it, whose task reads and writes its connection: where that runtime
/// stands still, another one would wait in vain. So each runtime is given sessions of its own only.
pub(super) struct Sessions {
    address: Address,
    idle: Mutex<Vec<Lease>>,
    /// Transactions of others whose end was waited for in vain, and is not again.
    pub(super) slow: Mutex<BTreeSet<String>>,
}

/// A session with what it knows of the tables.
pub(super) struct Lease {
    pub(super) session: Session,
    pub(super) catalog: Option<Arc<Catalog>>,
    /// Whether this session's commits carry our replication origin; not tried yet if nothing.
    pub(super) origin: Option<bool>,
    /// What is kept prepared in this session, by its text.
    prepared: BTreeMap<String, Statement>,
    /// Whose task carries its connection.
    runtime: runtime::Id,
}

impl Sessions {
    pub(super) const fn new(address: Address) -> Self {
        Self { address, idle: Mutex::new(Vec::new()), slow: Mutex::new(BTreeSet::new()) }
    }

    pub(super) const fn address(&self) -> &Address {
        &self.address
    }

    /// Does a piece of work with a session. A session whose work failed is closed, and so is one whose work was given up.
    pub(super) async fn with<T, W, F>(&self, work: W) -> Result<T, LegacyError>
    where
        W: FnOnce(Lease) -> F,
        F: Future<Output = Result<(Lease, T), LegacyError>>,
    {
        self.with_within(WORK_MAX, work).await
    }

    /// As [`Self::with`], for work that looks at every row of a table, with `statement_max` for each of its statements.
    pub(super) async fn scan<T, W, F>(&self, statement_max: Duration, work: W) -> Result<T, LegacyError>
    where
        W: FnOnce(Lease) -> F,
        F: Future<Output = Result<(Lease, T), LegacyError>>,
    {
        let patient = |lease: Lease| async move {
            let limit = format!("set statement_timeout = {}", statement_max.as_millis());
            lease.set(&limit).await?;
            if let Err(error) = lease.set(LOOK).await {
                tracing::debug!("statements that are given up end by their own limit only: {error}");
            }
            let (lease, value) = work(lease).await?;
            lease.set(SETTINGS).await?;
            Ok((lease, value))
        };
        self.with_within(SCAN_MAX, patient).await
    }

    async fn with_within<T, W, F>(&self, limit: Duration, work: W) -> Result<T, LegacyError>
    where
        W: FnOnce(Lease) -> F,
        F: Future<Output = Result<(Lease, T), LegacyError>>,
    {
        let working = async {
            let lease = match self.take() {
                Some(lease) => lease,
                None => self.open().await?,
            };
            work(lease).await
        };
        let done = tokio::time::timeout(limit, working).await;
        let (lease, value) = done.unwrap_or_else(|_| {
            Err(LegacyError::Broken(format!("no answer within {} s", limit.as_secs())))
        })?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX && !lease.session.client.is_closed() {
            idle.push(lease);
        }
        Ok(value)
    }

    /// Closes the sessions that are kept, with all that they know of the tables.
    pub(super) fn forget(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn take(&self) -> Option<Lease> {
        let here = Handle::current().id();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // Those of a runtime that has ended, too, whose number may be another's by now.
        idle.retain(|lease| !lease.session.client.is_closed());
        let last = idle.iter().rposition(|lease| lease.runtime == here)?;
        Some(idle.remove(last))
    }

    async fn open(&self) -> Result<Lease, LegacyError> {
        let session = self.address.connect().await?;
        let (prepared, runtime) = (BTreeMap::new(), Handle::current().id());
        let lease = Lease { session, catalog: None, origin: None, prepared, runtime };
        lease.set(SETTINGS).await?;
        Ok(lease)
    }
}

impl Lease {
    async fn set(&self, settings: &str) -> Result<(), LegacyError> {
        let set = self.session.client.batch_execute(settings).await;
        set.map_err(|error| fault("setting up a session", &error))
    }

    /// What the tables look like, as of this session's beginning. A statement that it no longer fits fails, and the session
    /// with it.
    pub(super) async fn catalog(&mut self, mapping: &Mapping) -> Result<Arc<Catalog>, LegacyError> {
        if let Some(catalog) = &self.catalog {
            return Ok(catalog.clone());
        }
        let catalog = Arc::new(catalog::read(&self.session.client, mapping).await?);
        self.catalog = Some(catalog.clone());
        Ok(catalog)
    }

    /// A statement that is prepared once in this session: for few texts, which come again and again.
    pub(super) async fn prepared(&mut self, sql: &str) -> Result<Statement, tokio_postgres::Error> {
        if let Some(statement) = self.prepared.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.session.client.prepare(sql).await?;
        self.prepared.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_scan_that_nobody_waits_for_any_more_ends_in_the_server() {
        let server = banyan_testkit::Postgres::start(&banyan_testkit::PostgresOptions::default());
        let server = server.expect("a server");
        let sessions = Sessions::new(Address::parse(&server.url()).expect("an address"));
        let scan = sessions.scan(Duration::from_secs(600), |lease| async {
            let scanned = lease.session.client.batch_execute("select pg_sleep(500)").await;
            scanned.map_err(|error| fault("scanning", &error))?;
            Ok((lease, ()))
        });
        tokio::time::timeout(Duration::from_millis(500), scan).await.expect_err("it takes minutes");
        let running = "select count(*) from pg_stat_activity where query like 'select pg_sleep%'";
        let is_gone = || server.query("postgres", running).is_ok_and(|count| count.trim() == "0");
        assert!(banyan_testkit::wait_until(Duration::from_secs(60), is_gone));
    }
}
