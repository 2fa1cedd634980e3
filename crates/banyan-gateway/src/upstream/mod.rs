//! Upstreams: groups of servers, which of them is asked next, and how much may be under way.

mod breaker;
pub(crate) mod connect;
pub(crate) mod health;
pub(crate) mod pool;
mod trust;

pub use trust::TrustReport;

use crate::config::{Address, Config, HttpVersion, UpstreamSpec};
use crate::tls::{self, ClientTls};
use breaker::{Breaker, Pass};
use http::HeaderValue;
use pool::Pool;
use rustls::ClientConfig;
use serde::Serialize;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use trust::Trust;

/// A group of servers that answer alike.
pub struct Upstream {
    spec: UpstreamSpec,
    servers: Vec<Arc<Server>>,
    next: AtomicUsize,
    room: Semaphore,
    waiting: AtomicUsize,
    tunnels: AtomicUsize,
    named: bool,
    /// Who vouches for its servers, if it is not whom the system trusts.
    trust: Option<Trust>,
    /// Made when first needed, and anew when others vouch.
    tls: Mutex<Option<Settings>>,
}

/// TLS towards an upstream: as configured, and for HTTP/1.1 only.
type Settings = Result<[Arc<ClientConfig>; 2], String>;

/// One server.
pub(crate) struct Server {
    pub address: Address,
    /// Its `Host`, for upstreams that want their own.
    pub host: HeaderValue,
    /// Its address, if no name has to be looked up.
    pub fixed: Option<SocketAddr>,
    pub breaker: Breaker,
    pub pool: Pool,
    well: AtomicBool,
    under_way: AtomicUsize,
    requests: AtomicU64,
    failures: AtomicU64,
}

/// One upstream, for people.
#[derive(Clone, Debug, Serialize)]
pub struct UpstreamReport {
    /// Its name, or the address that a route has.
    pub name: String,
    /// Most requests under way at once.
    pub requests_max: usize,
    /// Requests that wait for room.
    pub waiting: usize,
    /// Most tunnels at once.
    pub tunnels_max: usize,
    /// Tunnels, such as WebSockets, that are open or asked for.
    pub tunnels: usize,
    /// The file of its `ca`, if it has one.
    pub ca: Option<TrustReport>,
    /// Its servers.
    pub servers: Vec<ServerReport>,
}

/// One server, for people.
#[derive(Clone, Debug, Serialize)]
pub struct ServerReport {
    /// Its address.
    pub url: String,
    /// Whether the last health checks went well; true without checks.
    pub well: bool,
    /// `closed`, `open` or `half-open`.
    pub breaker: &'static str,
    /// How often the breaker opened.
    pub opened: u64,
    /// Requests under way.
    pub under_way: usize,
    /// Requests it got.
    pub requests: u64,
    /// Requests that failed there: no connection, broken off, too slow, 502, 503, 504.
    pub failures: u64,
}

/// Why no server can be asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NoServer {
    /// Every breaker is open; the first closes after this long.
    Open(Duration),
    /// As many requests as there may be are under way, and as many as there may be wait.
    Full,
}

impl Upstream {
    /// A named upstream.
    pub(crate) fn new(spec: UpstreamSpec, config: &Config) -> Result<Self, String> {
        Self::build(spec, config, true)
    }

    /// One that a route has by its address.
    pub(crate) fn at(url: &str, config: &Config) -> Result<Self, String> {
        Self::build(UpstreamSpec::at(url), config, false)
    }

    fn build(spec: UpstreamSpec, config: &Config, named: bool) -> Result<Self, String> {
        let mut servers = Vec::with_capacity(spec.urls.len());
        for url in &spec.urls {
            let address = Address::parse(url)?;
            let host = HeaderValue::from_str(address.authority.as_str())
                .map_err(|error| format!("{url}: {error}"))?;
            let fixed = address.host().parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, address.port()));
            // One more than there are workers: shadows and checks have a place of their own.
            let (keep, age) =
                (Duration::from_millis(spec.keep_millis), Duration::from_millis(spec.age_millis));
            let pool = Pool::new(config.workers + 1, keep, age);
            servers.push(Arc::new(Server {
                address,
                host,
                fixed,
                pool,
                breaker: Breaker::new(spec.breaker.clone()),
                well: AtomicBool::new(true),
                under_way: AtomicUsize::new(0),
                requests: AtomicU64::new(0),
                failures: AtomicU64::new(0),
            }));
        }
        let trust = spec.ca.as_deref().map(|file| Trust::open(&spec.name, file)).transpose()?;
        let room = Semaphore::new(spec.requests_max.min(Semaphore::MAX_PERMITS));
        Ok(Self {
            servers,
            next: AtomicUsize::new(0),
            room,
            waiting: AtomicUsize::new(0),
            tunnels: AtomicUsize::new(0),
            named,
            spec,
            trust,
            tls: Mutex::default(),
        })
    }

    /// Its name, or the address that a route has.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    pub(crate) fn is_named(&self) -> bool {
        self.named
    }

    pub(crate) fn spec(&self) -> &UpstreamSpec {
        &self.spec
    }

    /// Whether a connection with any of its servers can become something else, such as a WebSocket: with HTTP/2 and no TLS
    /// there is nothing in which HTTP/1.1 could be agreed on.
    pub(crate) fn takes_upgrades(&self) -> bool {
        self.spec.http != HttpVersion::Two || self.servers.iter().all(|server| server.address.is_tls())
    }

    pub(crate) fn servers(&self) -> &[Arc<Server>] {
        &self.servers
    }

    /// TLS towards it; `only_one`: HTTP/1.1 is all that is offered.
    pub(crate) fn tls(&self, all: &ClientTls, only_one: bool) -> Result<Arc<ClientConfig>, String> {
        // Whoever vouches is asked under this lock: see `look_at_ca`.
        let mut made = self.settings();
        let settings = made.get_or_insert_with(|| {
            let roots = self.trust.as_ref().map_or_else(|| all.system(), |trust| Ok(trust.roots()))?;
            let config = tls::client(roots, self.spec.http)?;
            let mut one = config.clone();
            one.alpn_protocols = vec![b"http/1.1".to_vec()];
            Ok([Arc::new(config), Arc::new(one)])
        });
        settings.clone().map(|[config, one]| if only_one { one } else { config })
    }

    fn settings(&self) -> MutexGuard<'_, Option<Settings>> {
        // What is put there is whole.
        self.tls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often the file of its `ca` is looked at; nothing if it has none.
    pub(crate) fn ca_look(&self) -> Option<Duration> {
        self.trust.as_ref().map(|_| Duration::from_millis(self.spec.ca_look_millis))
    }

    /// Reads the file of its `ca` again if it changed and is at rest. New connections need whom it names then, and resume
    /// no session from before. Waits for the disk.
    pub(crate) fn look_at_ca(&self) {
        if self.trust.as_ref().is_some_and(Trust::look) {
            // After the new ones count: what was made meanwhile of the old ones goes, too.
            *self.settings() = None;
        }
    }

    /// Room for one request, at once or after a bounded wait.
    pub(crate) async fn room(self: &Arc<Self>) -> Result<Room, NoServer> {
        if let Ok(permit) = self.room.try_acquire() {
            permit.forget();
            return Ok(Room(self.clone()));
        }
        if self.waiting.fetch_add(1, Relaxed) >= self.spec.waiting_max {
            self.waiting.fetch_sub(1, Relaxed);
            return Err(NoServer::Full);
        }
        let _waiting = Leave(&self.waiting);
        let wait = Duration::from_millis(self.spec.waiting_millis);
        match tokio::time::timeout(wait, self.room.acquire()).await {
            Ok(Ok(permit)) => {
                permit.forget();
                Ok(Room(self.clone()))
            }
            _ => Err(NoServer::Full),
        }
    }

    /// Room for one copy, at once and only if at least half of all room is left for users then: a copy never waits in
    /// front of one, and copies that hang cannot fill the upstream.
    pub(crate) fn spare_room(self: &Arc<Self>) -> Result<Room, NoServer> {
        let left_to_users = self.spec.requests_max.div_ceil(2);
        // Looked at before, too: a permit that is taken for a moment only may be the one that a user comes for.
        if self.room.available_permits() <= left_to_users {
            return Err(NoServer::Full);
        }
        let permit = self.room.try_acquire().map_err(|_| NoServer::Full)?;
        if self.room.available_permits() < left_to_users {
            return Err(NoServer::Full);
        }
        permit.forget();
        Ok(Room(self.clone()))
    }

    /// A place for one more tunnel, if there is one: tunnels last, and must not take the room of requests.
    pub(crate) fn tunnel(self: &Arc<Self>) -> Option<Tunnel> {
        let tunnel = Tunnel(self.clone());
        (self.tunnels.fetch_add(1, Relaxed) < self.spec.tunnels_max).then_some(tunnel)
    }

    /// The next server in turn that is well and whose breaker lets a request pass. If none is well, all are tried: a
    /// health check that is wrong must not close the shop. A user tries a server again; a copy looks only where no user comes.
    pub(crate) fn choose(&self, now: Instant, user: bool) -> Result<Lease, NoServer> {
        let start = if self.servers.len() > 1 { self.next.fetch_add(1, Relaxed) } else { 0 };
        let mut soonest = Duration::MAX;
        for only_well in [true, false] {
            for n in 0..self.servers.len() {
                let server = &self.servers[start.wrapping_add(n) % self.servers.len()];
                if only_well != server.well.load(Relaxed) {
                    continue;
                }
                match server.breaker.pass(now, user) {
                    Pass::Open(wait) => soonest = soonest.min(wait),
                    pass => {
                        server.under_way.fetch_add(1, Relaxed);
                        server.requests.fetch_add(1, Relaxed);
                        return Ok(Lease { server: server.clone(), pass, told: false });
                    }
                }
            }
        }
        Err(NoServer::Open(soonest))
    }

    /// How it is.
    pub fn report(&self) -> UpstreamReport {
        let now = Instant::now();
        let server = |server: &Arc<Server>| {
            let (breaker, opened) = server.breaker.state(now);
            ServerReport {
                url: format!("{}://{}", server.address.scheme, server.address.authority),
                well: server.well.load(Relaxed),
                breaker,
                opened,
                under_way: server.under_way.load(Relaxed),
                requests: server.requests.load(Relaxed),
                failures: server.failures.load(Relaxed),
            }
        };
        UpstreamReport {
            name: self.spec.name.clone(),
            requests_max: self.spec.requests_max,
            waiting: self.waiting.load(Relaxed),
            tunnels_max: self.spec.tunnels_max,
            tunnels: self.tunnels.load(Relaxed),
            ca: self.trust.as_ref().map(Trust::report),
            servers: self.servers.iter().map(server).collect(),
        }
    }
}

/// Room for one request; given back when it is dropped.
pub(crate) struct Room(Arc<Upstream>);

impl Drop for Room {
    fn drop(&mut self) {
        self.0.room.add_permits(1);
    }
}

/// A tunnel's place; given back when it is dropped.
pub(crate) struct Tunnel(Arc<Upstream>);

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.0.tunnels.fetch_sub(1, Relaxed);
    }
}

struct Leave<'a>(&'a AtomicUsize);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Server {
    /// What the health check found.
    pub(crate) fn set_well(&self, well: bool) -> bool {
        self.well.swap(well, Relaxed) != well
    }
}

/// One request's use of a server.
pub(crate) struct Lease {
    pub server: Arc<Server>,
    pass: Pass,
    told: bool,
}

impl Lease {
    /// The server answered.
    pub(crate) fn good(&mut self) {
        self.told = true;
        self.server.breaker.good(self.pass);
        // It has tried. What comes of it from here on is told as of any other.
        self.pass = Pass::Closed;
    }

    /// The server answered a copy, which tells something only where a copy was let through to look.
    pub(crate) fn answered_copy(&mut self) {
        if self.pass == Pass::Look {
            self.good();
        }
    }

    /// The server failed.
    pub(crate) fn bad(&mut self, now: Instant) {
        self.told = true;
        self.server.failures.fetch_add(1, Relaxed);
        self.server.breaker.bad(self.pass, now);
        self.pass = Pass::Closed;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.server.under_way.fetch_sub(1, Relaxed);
        if !self.told {
            self.server.breaker.let_go(self.pass);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_that_was_answered_and_breaks_off_much_later_is_one_failure_of_many() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = "listen = \"127.0.0.1:0\"\n[[upstream]]\nname = \"s\"\nurls = [\"http://127.0.0.1:1\"]\n\
                    [upstream.breaker]\nfailures = 2\nopen_millis = 1000\n\
                    [[route]]\npath = \"/\"\nupstream = \"s\"\n";
        let config = Config::parse(text, folder.path()).expect("a configuration");
        let upstream = Upstream::new(config.upstreams[0].clone(), &config).expect("an upstream");
        let start = Instant::now();
        for _ in 0..2 {
            upstream.choose(start, true).expect("a server").bad(start);
        }
        assert!(matches!(upstream.choose(start, true), Err(NoServer::Open(_))));
        let later = start + Duration::from_millis(1_000);
        let mut long = upstream.choose(later, true).expect("one may try");
        assert_eq!(long.pass, Pass::Trial);
        long.good();
        // An hour of a download, and then it breaks off.
        let much_later = later + Duration::from_secs(3_600);
        long.bad(much_later);
        assert_eq!(upstream.choose(much_later, true).expect("a server").pass, Pass::Closed);
    }
}
