//! The reference ledger of routes: who still calls what touches a capability's old tables, and when they last did.
//!
//! Only routes that say `touches` are watched. A reference is a route and a caller whose request the old shop answered.
//! It is gone when it was not seen for as long as the operator asks for, and that can only be said of a time in which
//! the ledger was watching: it says since when it does, for each route. A route that is touched from now on, matches other
//! requests from now on, or was not watched because no gateway ran, begins anew.

use crate::shadow::now_millis;
use crate::side::Side;
use crate::table::Table;
use http::{HeaderMap, header};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A service says here who it is. Without it the kind of client and its address are all there is.
pub const CALLER_HEADER: &str = "banyan-caller";
/// Parts of the ledger with a lock each, so that callers rarely meet.
const PARTS: usize = 16;
/// Most callers of a route in one part; those who come after are one caller.
const CALLERS_MAX: usize = 256;
/// Longest name of a caller, in bytes.
const NAME_BYTES_MAX: usize = 64;
const OTHERS: &str = "(others)";
const FILE: &str = "callers.json";
/// Longest time between two stored states that is no gap, in milliseconds: four of the usual ones.
const GAP_MILLIS: u64 = 60_000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    legacy: u64,
    banyan: u64,
    first_at: u64,
    legacy_at: u64,
    banyan_at: u64,
}

type Part = BTreeMap<String, BTreeMap<String, Seen>>;

/// Since when a route is watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Watched {
    since: u64,
    /// Which requests it gets, in a form that only says whether they are the same.
    matching: String,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Stored {
    /// When this was stored, in milliseconds since 1970.
    saved_at: u64,
    watched: BTreeMap<String, Watched>,
    routes: Part,
}

/// The ledger.
pub struct Ledger {
    file: PathBuf,
    folder: PathBuf,
    watched: Mutex<BTreeMap<String, Watched>>,
    parts: [Mutex<Part>; PARTS],
    dirty: AtomicBool,
}

/// One reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reference {
    /// The route.
    pub route: String,
    /// Who: what they call themselves, `browser`, or the client's name and address.
    pub caller: String,
    /// Requests that the old shop answered.
    pub legacy: u64,
    /// Requests that Banyan answered.
    pub banyan: u64,
    /// When it was first seen, in milliseconds since 1970.
    pub first_at: u64,
    /// When the old shop last answered it; nothing if never.
    pub legacy_at: Option<u64>,
    /// Whether that is within the time that was asked about: it is one of those left.
    pub left: bool,
}

/// A route that touches a capability.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Touching {
    /// Its name.
    pub route: String,
    /// Its mode.
    pub mode: &'static str,
    /// Since when it is watched, in milliseconds since 1970.
    pub since: u64,
}

/// Who still touches a capability.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CallersReport {
    /// The capability.
    pub capability: String,
    /// Since when all routes that touch it are watched, in milliseconds since 1970; now, if there is none.
    pub since: u64,
    /// The time that was asked about, in milliseconds.
    pub within_millis: u64,
    /// Whether all of them were watched for that long: without this, `left` of 0 proves nothing.
    pub watched: bool,
    /// References that are left.
    pub left: usize,
    /// Routes that touch it.
    pub routes: Vec<Touching>,
    /// All references, those that are left first, then the latest.
    pub references: Vec<Reference>,
}

impl Ledger {
    /// Opens the ledger in the state folder, or begins one.
    ///
    /// # Errors
    /// The file is there and cannot be read: it must not begin anew silently, because nobody would be left.
    pub(crate) fn open(state: &Path) -> io::Result<Self> {
        Self::open_at(state, now_millis())
    }

    fn open_at(state: &Path, now: u64) -> io::Result<Self> {
        let file = state.join(FILE);
        let stored = match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice::<Stored>(&bytes).map_err(io::Error::other)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Stored::default(),
            Err(error) => return Err(error),
        };
        // What nobody watched proves nothing: a job that runs weekly may have been due just then.
        let gap = now.saturating_sub(stored.saved_at) > GAP_MILLIS;
        let watched = if gap { BTreeMap::new() } else { stored.watched };
        let ledger = Self {
            file,
            folder: state.to_owned(),
            watched: Mutex::new(watched),
            parts: Default::default(),
            dirty: AtomicBool::new(true),
        };
        for (route, callers) in stored.routes {
            for (caller, seen) in callers {
                ledger.part(&caller).entry(route.clone()).or_default().insert(caller, seen);
            }
        }
        Ok(ledger)
    }

    /// Takes note of which routes are watched from now on. Called about once a second.
    pub(crate) fn watch(&self, table: &Table, now: u64) {
        let touching = table.routes().iter().filter(|route| !route.spec().touches.is_empty());
        let mut before = self.watched();
        let after: BTreeMap<String, Watched> = touching
            .map(|route| {
                let matching = route.spec().matches();
                let since = before.get(route.name()).filter(|known| known.matching == matching);
                let since = since.map_or(now, |known| known.since);
                (route.name().to_owned(), Watched { since, matching })
            })
            .collect();
        *before = after;
    }

    fn watched(&self) -> MutexGuard<'_, BTreeMap<String, Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a request. The lock is held for two look-ups.
    pub(crate) fn note(
        &self,
        route: &str,
        headers: &HeaderMap,
        client: impl Into<Option<IpAddr>>,
        side: Side,
        now: u64,
    ) {
        let caller = caller(headers, client);
        let mut part = self.part(&caller);
        if !part.contains_key(route) {
            part.insert(route.to_owned(), BTreeMap::new());
        }
        let Some(callers) = part.get_mut(route) else { return };
        let full = callers.len() >= CALLERS_MAX;
        let caller = if full && !callers.contains_key(&caller) { OTHERS.to_owned() } else { caller };
        let seen = callers.entry(caller).or_insert(Seen { first_at: now, ..Seen::default() });
        match side {
            Side::Legacy => (seen.legacy, seen.legacy_at) = (seen.legacy + 1, now),
            Side::Banyan => (seen.banyan, seen.banyan_at) = (seen.banyan + 1, now),
        }
        drop(part);
        self.dirty.store(true, Relaxed);
    }

    /// Who touches a capability, and who of them was answered by the old shop in the last `within_millis`.
    #[must_use]
    pub fn report(&self, table: &Table, capability: &str, within_millis: u64, now: u64) -> CallersReport {
        let touching =
            table.routes().iter().filter(|route| route.spec().touches.iter().any(|one| one == capability));
        let watched = self.watched();
        let routes: Vec<Touching> = touching
            .map(|route| {
                // It may have changed since the last look.
                let known =
                    watched.get(route.name()).filter(|known| known.matching == route.spec().matches());
                let since = known.map_or(now, |known| known.since);
                Touching { route: route.name().to_owned(), mode: route.mode().as_str(), since }
            })
            .collect();
        drop(watched);
        let since = routes.iter().map(|route| route.since).max().unwrap_or(now);
        let mut references = Vec::new();
        for part in &self.parts {
            let part = part.lock().unwrap_or_else(PoisonError::into_inner);
            for Touching { route, .. } in &routes {
                for (caller, seen) in part.get(route).into_iter().flatten() {
                    references.push(Reference {
                        route: route.clone(),
                        caller: caller.clone(),
                        legacy: seen.legacy,
                        banyan: seen.banyan,
                        first_at: seen.first_at,
                        legacy_at: (seen.legacy > 0).then_some(seen.legacy_at),
                        left: seen.legacy > 0 && now.saturating_sub(seen.legacy_at) < within_millis,
                    });
                }
            }
        }
        references.sort_by_key(|one| (!one.left, std::cmp::Reverse(one.legacy_at), one.route.clone()));
        CallersReport {
            capability: capability.to_owned(),
            since,
            within_millis,
            watched: now.saturating_sub(since) >= within_millis,
            left: references.iter().filter(|one| one.left).count(),
            routes,
            references,
        }
    }

    /// Stores it, if it changed or a route is watched: that it still is must be known after the process.
    ///
    /// # Errors
    /// The file cannot be written; it is tried again the next time.
    pub(crate) fn save(&self, now: u64) -> io::Result<()> {
        let watched = self.watched().clone();
        if !self.dirty.swap(false, Relaxed) && watched.is_empty() {
            return Ok(());
        }
        let mut stored = Stored { saved_at: now, watched, routes: Part::new() };
        for part in &self.parts {
            let part = part.lock().unwrap_or_else(PoisonError::into_inner);
            for (route, callers) in &*part {
                stored.routes.entry(route.clone()).or_default().extend(callers.clone());
            }
        }
        let written = serde_json::to_vec(&stored).map_err(io::Error::other);
        let written = written.and_then(|bytes| crate::shadow::write(&self.folder, &self.file, &bytes));
        written.inspect_err(|_| self.dirty.store(true, Relaxed))
    }

    fn part(&self, caller: &str) -> MutexGuard<'_, Part> {
        let sum =
            caller.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
        self.parts[sum % PARTS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who asks, as far as a request tells.
fn caller(headers: &HeaderMap, client: impl Into<Option<IpAddr>>) -> String {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let own = text(CALLER_HEADER).trim();
    if !own.is_empty() {
        return crate::diff::redact::cut(own, NAME_BYTES_MAX).to_owned();
    }
    // The first product without its version: "python-requests/2.31" is python-requests.
    let product = text(header::USER_AGENT.as_str()).split(['/', ' ']).next().unwrap_or_default();
    match product {
        // Every browser says so, for reasons of history.
        "Mozilla" | "Opera" => "browser".to_owned(),
        product => {
            let name = if product.is_empty() {
                "unnamed"
            } else {
                crate::diff::redact::cut(product, NAME_BYTES_MAX)
            };
            match client.into() {
                Some(client) => format!("{name} at {client}"),
                None => format!("{name} at an unknown address"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().expect("a value"));
        headers
    }

    #[test]
    fn callers_have_names() {
        let client: IpAddr = "10.0.0.7".parse().expect("an address");
        assert_eq!(caller(&headers("user-agent", "Mozilla/5.0 (X11)"), client), "browser");
        assert_eq!(
            caller(&headers("user-agent", "python-requests/2.31"), client),
            "python-requests at 10.0.0.7"
        );
        assert_eq!(caller(&headers("banyan-caller", "warehouse"), client), "warehouse");
        assert_eq!(caller(&HeaderMap::new(), client), "unnamed at 10.0.0.7");
        assert_eq!(caller(&headers("banyan-caller", &"x".repeat(500)), client).len(), NAME_BYTES_MAX);
    }

    fn gateway(state: &Path) -> crate::Gateway {
        let config = "listen = \"127.0.0.1:0\"\nstate = \"s\"\n[[route]]\nname = \"stock\"\npath = \"/\"\n\
                      upstream = \"http://127.0.0.1:1\"\ntouches = [\"stock\"]\n";
        let config = crate::Config::parse(config, state).expect("a configuration");
        crate::Gateway::new(config, None).expect("a gateway")
    }

    const DAY: u64 = 24 * 60 * 60 * 1_000;

    #[test]
    fn a_route_that_touches_something_since_a_second_was_not_watched_for_a_week() {
        let state = tempfile::tempdir().expect("a folder");
        let gateway = gateway(state.path());
        let ledger = Ledger::open_at(state.path(), 0).expect("opens");
        ledger.watch(&gateway.table(), 0);
        assert!(ledger.report(&gateway.table(), "stock", 7 * DAY, 7 * DAY).watched);
        let change = |change: fn(&mut crate::RouteSpec), now: u64| {
            let mut spec = gateway.table().routes()[0].spec().clone();
            change(&mut spec);
            let change = crate::Change::SetRoute(Box::new(spec));
            gateway.change(gateway.table().version(), change, "mina", "because").expect("is changed");
            // Before the next look, and after it.
            assert!(!ledger.report(&gateway.table(), "stock", 7 * DAY, now).watched);
            ledger.watch(&gateway.table(), now);
            let report = ledger.report(&gateway.table(), "stock", 7 * DAY, now + 1_000);
            assert_eq!((report.left, report.watched, report.since), (0, false, now));
        };
        change(|spec| (spec.name, spec.path) = ("cart".into(), "/cart".into()), 8 * DAY);
        change(|spec| spec.path = "/shop".into(), 9 * DAY);
        assert!(ledger.report(&gateway.table(), "stock", 7 * DAY, 16 * DAY + 1_000).watched);
        assert!(
            !ledger.report(&gateway.table(), "coupon", 7 * DAY, 16 * DAY).watched,
            "nothing of it is watched"
        );
        // What only says who answers changes nothing here.
        let canary = crate::Change::SetMode { route: "stock".into(), mode: crate::Mode::Legacy };
        gateway.change(gateway.table().version(), canary, "mina", "because").expect("is changed");
        ledger.watch(&gateway.table(), 16 * DAY);
        assert!(ledger.report(&gateway.table(), "stock", 7 * DAY, 16 * DAY + 1_000).watched);
    }

    #[test]
    fn a_time_in_which_no_gateway_ran_was_not_watched() {
        let state = tempfile::tempdir().expect("a folder");
        let gateway = gateway(state.path());
        let opened = |now: u64| {
            let ledger = Ledger::open_at(state.path(), now).expect("opens");
            ledger.watch(&gateway.table(), now);
            ledger
        };
        let ledger = opened(DAY);
        // Nobody asks anything, and it watches all the same.
        for minute in 1..10 {
            ledger.save(DAY + minute * 15_000).expect("stores");
        }
        let ledger = opened(DAY + 160_000);
        assert_eq!(ledger.report(&gateway.table(), "stock", 1, DAY + 160_000).since, DAY, "a short restart");
        ledger.save(DAY + 170_000).expect("stores");
        let after = 9 * DAY;
        let report = opened(after).report(&gateway.table(), "stock", 7 * DAY, after + 1_000);
        assert_eq!((report.left, report.watched, report.since), (0, false, after));
    }

    #[test]
    fn references_are_counted_kept_and_run_out() {
        let state = tempfile::tempdir().expect("a folder");
        let table = gateway(state.path()).table();
        let client: IpAddr = "10.0.0.7".parse().expect("an address");
        let now = now_millis() + 1_000_000;
        {
            let ledger = Ledger::open_at(state.path(), now).expect("opens");
            ledger.watch(&table, now - 4_000);
            ledger.note("stock", &headers("banyan-caller", "erp"), client, Side::Legacy, now);
            ledger.note("stock", &headers("banyan-caller", "app"), client, Side::Banyan, now);
            ledger.note("other", &headers("banyan-caller", "web"), client, Side::Legacy, now);
            ledger.save(now).expect("stores");
        }
        let ledger = Ledger::open_at(state.path(), now + 500).expect("opens again");
        let report = ledger.report(&table, "stock", 5_000, now + 1_000);
        assert_eq!((report.left, report.references.len(), report.watched), (1, 2, true));
        assert_eq!((report.references[0].caller.as_str(), report.references[0].left), ("erp", true));
        assert_eq!(ledger.report(&table, "stock", 5_000, now + 6_000).left, 0);
        assert!(!ledger.report(&table, "stock", 86_400_000, now).watched, "it did not watch for a day");
        assert!(ledger.report(&table, "coupon", 5_000, now).references.is_empty());
        for n in 0..10_000 {
            ledger.note("stock", &headers("banyan-caller", &format!("c{n}")), client, Side::Legacy, now);
        }
        assert!(ledger.report(&table, "stock", 5_000, now).references.len() <= PARTS * (CALLERS_MAX + 1));
    }

    #[test]
    fn a_damaged_ledger_does_not_begin_anew() {
        let state = tempfile::tempdir().expect("a folder");
        fs::write(state.path().join(FILE), b"{").expect("writes");
        assert!(Ledger::open(state.path()).is_err());
    }
}
