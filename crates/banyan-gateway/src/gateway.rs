//! The handle: what the admin API, the console and the rules of evidence hold. Cheap to clone.

use crate::certificate::Certificate;
use crate::change::{Change, Entry, Refused, apply, check_all, reordered, touched};
use crate::config::{Config, ConfigError, IN_PROCESS, RouteSpec, SideFieldsSpec};
use crate::fields::{Keys, SideFields, read_keys};
use crate::journal::Journal;
use crate::limits::REASON_BYTES_MAX;
use crate::metrics::Metrics;
use crate::proxy::peers::Peers;
use crate::rules::Rules;
use crate::shadow::Proof;
use crate::side::{Side, Sides};
use crate::table::{Route, RouteParts, Table, Target};
use crate::tls::ClientTls;
use crate::traces::Exporter;
use crate::traffic::{RouteTraffic, SideTraffic};
use crate::upstream::{Upstream, UpstreamReport};
use arc_swap::ArcSwap;
use axum::body::Body;
use http::{Request, Response};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tower::util::BoxCloneSyncService;

/// Banyan's API in this process: asked without a network hop.
pub type InProcess = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// The gateway. Clones are the same gateway.
#[derive(Clone)]
pub struct Gateway {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub config: Config,
    pub table: ArcSwap<Table>,
    pub in_process: Option<InProcess>,
    pub sides: Sides,
    pub metrics: Metrics,
    pub client_tls: Arc<ClientTls>,
    /// What clients are shown, if TLS is spoken.
    pub certificate: Option<Arc<Certificate>>,
    /// Requests under way.
    pub under_way: AtomicUsize,
    /// Takes spans, if somebody collects them.
    pub traces: Option<Arc<Exporter>>,
    /// Those of the configuration file, which stay also while no route leads to them.
    pub named: Vec<Arc<Upstream>>,
    /// Who has how many connections.
    pub peers: Arc<Peers>,
    /// Turns true when nothing is served any more.
    pub ending: watch::Sender<bool>,
    /// Everything that changes with a version, behind the lock that puts changes in order.
    book: Mutex<Book>,
}

struct Book {
    journal: Journal,
    keys: Keys,
    upstreams: BTreeMap<String, Arc<Upstream>>,
    traffic: BTreeMap<String, Arc<RouteTraffic>>,
}

/// What went over one route.
#[derive(Clone, Debug, Serialize)]
pub struct RouteReport {
    /// Its name.
    pub route: String,
    /// The old shop's side.
    pub legacy: SideTraffic,
    /// Banyan's side.
    pub banyan: SideTraffic,
}

impl Gateway {
    /// Opens the journal and builds the table. Nothing listens yet; see [`Gateway::serve`](crate::Gateway::serve).
    ///
    /// The journal's last version is the table, unless the routes of the configuration file were edited since they were
    /// last read: then they are the next version.
    ///
    /// # Errors
    /// Certificates or the journal cannot be read, or a route needs what is not there.
    pub fn new(config: Config, in_process: Option<InProcess>) -> Result<Self, ConfigError> {
        let journal = Journal::open(&config.state).map_err(ConfigError)?;
        let certificate = config.tls.as_ref().map(Certificate::open).transpose()?.map(Arc::new);
        let keys = read_keys(&config.keys).map_err(ConfigError)?;
        let mut book = Book { journal, keys, upstreams: BTreeMap::new(), traffic: BTreeMap::new() };
        for spec in &config.upstreams {
            let upstream = Upstream::new(spec.clone(), &config).map_err(ConfigError)?;
            book.upstreams.insert(spec.name.clone(), Arc::new(upstream));
        }
        let sides = Sides::open(&config)?;
        take_file(&mut book.journal, &config).map_err(|refused| ConfigError(refused.to_string()))?;
        let routes = book.journal.routes.clone();
        check_in_process(&routes, in_process.is_some())
            .map_err(|refused| ConfigError(refused.to_string()))?;
        let table = compile(&mut book, &config, &sides, &routes)
            .map_err(|refused| ConfigError(refused.to_string()))?;
        let traces = config.traces.as_ref().map(|spec| Exporter::new(spec, &config));
        let traces = traces.transpose().map_err(ConfigError)?;
        Ok(Self {
            inner: Arc::new(Inner {
                table: ArcSwap::from_pointee(table),
                in_process,
                sides,
                metrics: Metrics::new(config.workers),
                client_tls: Arc::default(),
                certificate,
                under_way: AtomicUsize::new(0),
                traces: traces.map(Arc::new),
                named: book.upstreams.values().filter(|upstream| upstream.is_named()).cloned().collect(),
                peers: Arc::default(),
                ending: watch::channel(false).0,
                book: Mutex::new(book),
                config,
            }),
        })
    }

    /// The configuration that it was started with. Its routes are the file's; the current ones are the table's.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// The current table.
    pub fn table(&self) -> Arc<Table> {
        self.inner.table.load_full()
    }

    /// Changes the table, if it is still at version `expected`. Every request that comes after this returns sees the new
    /// version, which is on disk by then. Waits for the disk: not for an asynchronous task.
    ///
    /// # Errors
    /// See [`Refused`]; the table is as it was.
    pub fn change(&self, expected: u64, change: Change, by: &str, reason: &str) -> Result<u64, Refused> {
        self.next(Some(expected), change, by, reason)
    }

    /// Makes a version in which every route that `version` touched is as it was before.
    ///
    /// # Errors
    /// [`Refused::Conflict`] if one of them was touched again since; otherwise as [`Gateway::change`].
    pub fn undo(&self, version: u64, by: &str, reason: &str) -> Result<u64, Refused> {
        self.next(None, Change::Undo { version }, by, reason)
    }

    fn next(&self, expected: Option<u64>, change: Change, by: &str, reason: &str) -> Result<u64, Refused> {
        check_words(by, reason)?;
        let mut book = self.book();
        let current = book.journal.version;
        if let Some(expected) = expected.filter(|expected| *expected != current) {
            return Err(Refused::Stale { expected, current });
        }
        let config = &self.inner.config;
        let before = &book.journal.routes;
        let after = apply(before, &change, &book.journal.history, &config.upstreams)?;
        check_in_process(&after, self.inner.in_process.is_some())?;
        let (touched, reordered) = (touched(before, &after), reordered(before, &after));
        let change = match change {
            Change::Replace { .. } => Change::Replace { routes: after.clone() },
            change => change,
        };
        let entry = Entry {
            version: current + 1,
            at: now(),
            by: by.to_owned(),
            reason: reason.to_owned(),
            change,
            touched,
            reordered,
        };
        let compiled = compile(&mut book, config, &self.inner.sides, &after);
        if compiled.is_err() {
            // Not to be kept for a table that never was.
            book.forget_unused();
        }
        let mut table = compiled?;
        table.set_version(current + 1);
        book.journal.append(entry, after, None).map_err(Refused::Storage)?;
        self.inner.table.store(Arc::new(table));
        book.forget_unused();
        tracing::info!(target: "banyan_gateway::audit", version = current + 1, by, reason, "route table changed");
        Ok(current + 1)
    }

    /// The newest `limit` versions, newest first.
    pub fn history(&self, limit: usize) -> Vec<Entry> {
        self.book().journal.history.iter().rev().take(limit).cloned().collect()
    }

    /// What went over each route of the current table.
    pub fn traffic(&self) -> Vec<RouteReport> {
        let table = self.table();
        let report = |route: &Arc<Route>| RouteReport {
            route: route.name().to_owned(),
            legacy: route.traffic().side(Side::Legacy),
            banyan: route.traffic().side(Side::Banyan),
        };
        table.routes().iter().map(report).collect()
    }

    /// Every upstream with its servers: are they well, how much is under way.
    pub fn upstreams(&self) -> Vec<UpstreamReport> {
        self.book().upstreams.values().map(|upstream| upstream.report()).collect()
    }

    pub(crate) fn all_upstreams(&self) -> Vec<Arc<Upstream>> {
        self.book().upstreams.values().cloned().collect()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // Nothing is left half-done under this lock: the journal is written before the table is swapped.
        self.inner.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// Drops upstreams that came with a route which is gone, and its counts.
    fn forget_unused(&mut self) {
        let names: BTreeSet<&str> = self.journal.routes.iter().map(|route| route.name.as_str()).collect();
        self.traffic.retain(|name, _| names.contains(name.as_str()));
        let routes = &self.journal.routes;
        self.upstreams.retain(|name, upstream| {
            upstream.is_named()
                || routes.iter().any(|r| [&r.upstream, &r.banyan].into_iter().flatten().any(|u| u == name))
        });
    }
}

/// Makes the file's routes the next version, if they are new or were edited.
fn take_file(journal: &mut Journal, config: &Config) -> Result<(), Refused> {
    let text = serde_json::to_vec(&config.routes).map_err(|error| Refused::Storage(error.to_string()))?;
    let digest = digest(&text);
    if journal.version > 0 && journal.file_digest == digest {
        // Written by a version that knew other rules, or resting on an upstream that left the file.
        check_all(journal.routes.clone(), &config.upstreams).map_err(|refused| {
            Refused::Invalid(format!("{refused} (the journal in {} has this route)", config.state.display()))
        })?;
        return Ok(());
    }
    let reason = if journal.version == 0 {
        "the first start"
    } else {
        "the routes of the configuration file were edited"
    };
    let entry = Entry {
        version: journal.version + 1,
        at: now(),
        by: "file".to_owned(),
        reason: reason.to_owned(),
        change: Change::Replace { routes: config.routes.clone() },
        touched: touched(&journal.routes, &config.routes),
        reordered: reordered(&journal.routes, &config.routes),
    };
    if journal.version > 0 {
        tracing::warn!(
            version = entry.version,
            "the routes of the configuration file were edited: they take the place of the table; undo this version to get it back"
        );
    }
    journal.append(entry, config.routes.clone(), Some(digest)).map_err(Refused::Storage)
}

fn digest(bytes: &[u8]) -> String {
    // Not a secret and not against attackers: tells an edited file from one that was not.
    let hash = siphasher::sip128::SipHasher13::new().hash(bytes);
    format!("{:016x}{:016x}", hash.h1, hash.h2)
}

fn check_in_process(routes: &[RouteSpec], there: bool) -> Result<(), Refused> {
    match routes.iter().find(|route| !there && route.banyan.as_deref() == Some(IN_PROCESS)) {
        Some(route) => Err(Refused::Invalid(format!(
            "route {:?}: banyan: this gateway runs alone and has no Banyan in its process: start it with `banyan up --gateway FILE`, or write an address",
            route.name
        ))),
        None => Ok(()),
    }
}

fn check_words(by: &str, reason: &str) -> Result<(), Refused> {
    let fits = |text: &str| !text.trim().is_empty() && text.len() <= REASON_BYTES_MAX;
    if !fits(by) {
        return Err(Refused::Invalid(format!("by: say who asks, in 1 to {REASON_BYTES_MAX} bytes")));
    }
    if !fits(reason) {
        return Err(Refused::Invalid(format!("reason: say why, in 1 to {REASON_BYTES_MAX} bytes")));
    }
    Ok(())
}

/// Builds the table, with the upstreams and counts that are there already.
fn compile(book: &mut Book, config: &Config, sides: &Sides, routes: &[RouteSpec]) -> Result<Table, Refused> {
    let mut compiled = Vec::with_capacity(routes.len());
    // Of the new table: those of the one before are forgotten once it counts.
    let mut used: BTreeSet<String> = config.upstreams.iter().map(|upstream| upstream.name.clone()).collect();
    for spec in routes {
        let mut target = |text: &Option<String>| -> Result<Option<Target>, Refused> {
            let Some(text) = text else { return Ok(None) };
            if text == IN_PROCESS {
                return Ok(Some(Target::InProcess));
            }
            used.insert(text.clone());
            if let Some(upstream) = book.upstreams.get(text) {
                return Ok(Some(Target::Upstream(upstream.clone())));
            }
            if used.len() > crate::limits::UPSTREAMS_MAX {
                return Err(Refused::Invalid(
                    "there are too many upstreams: let routes share [[upstream]]s".to_owned(),
                ));
            }
            let upstream = Upstream::at(text, config).map_err(Refused::Invalid)?;
            let upstream = Arc::new(upstream);
            book.upstreams.insert(text.clone(), upstream.clone());
            Ok(Some(Target::Upstream(upstream)))
        };
        let (legacy, banyan) = (target(&spec.upstream)?, target(&spec.banyan)?);
        let traffic = book.traffic.entry(spec.name.clone());
        // One more than there are workers: shadows and checks count for themselves.
        let traffic = traffic.or_insert_with(|| Arc::new(RouteTraffic::new(config.workers + 1))).clone();
        let own = spec.timeouts.clone().unwrap_or_default();
        let all = &config.timeouts;
        let body_bytes_max = spec.body_bytes_max.unwrap_or(config.limits.body_bytes_max);
        let whole = own.whole_millis.unwrap_or(all.whole_millis);
        let mut rules = Rules::new(spec, Some(*sides.override_key())).map_err(Refused::Invalid)?;
        let lane = sides.store.lane(&spec.name);
        rules.set_proof(Proof::of(&spec.name, &spec.asks(), &sides.store));
        let told = |field: &str, told: Option<&SideFieldsSpec>| {
            let ready = SideFields::new(told, &book.keys);
            ready.map_err(|why| Refused::Invalid(format!("route {:?}: {field}.{why}", spec.name)))
        };
        let parts = RouteParts {
            told: [told("to_legacy", spec.to_legacy.as_ref())?, told("to_banyan", spec.to_banyan.as_ref())?],
            legacy,
            banyan,
            traffic,
            rules,
            lane,
            first_byte: Duration::from_millis(own.first_byte_millis.unwrap_or(all.first_byte_millis)),
            idle: Duration::from_millis(own.idle_millis.unwrap_or(all.idle_millis)),
            whole: (whole > 0).then(|| Duration::from_millis(whole)),
            body_bytes_max: (body_bytes_max > 0).then_some(body_bytes_max),
        };
        compiled.push(Arc::new(Route::new(spec.clone(), parts)));
    }
    Ok(Table::new(book.journal.version, compiled))
}

/// The time as people read it.
pub(crate) fn now() -> String {
    jiff::Timestamp::now()
        .round(jiff::Unit::Millisecond)
        .unwrap_or_else(|_| jiff::Timestamp::now())
        .to_string()
}
