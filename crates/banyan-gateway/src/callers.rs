//! The reference ledger of routes: who still calls what touches a capability's old tables, and when they last did.
//!
//! Only routes that say `touches` are watched. A reference is a route and a caller whose request the old shop answered.
//! It is gone when it was not seen for as long as the operator asks for, and that can only be said of a time in which
//! the ledger was watching: it says since when it does, for each route. A route that is touched from now on, gets other
//! requests from now on (because it was edited, or another one that took them is gone), or was not watched because no gateway
//! ran, begins anew.

use crate::shadow::now_millis;
use crate::side::Side;
use crate::table::{Route, Table};
use http::{HeaderMap, header};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
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
/// Longest time between two stored states, or two looks, that is no gap, in milliseconds: four of the usual ones.
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
    /// In the same form, what others take that it would get without them.
    #[serde(default)]
    ahead: BTreeSet<String>,
}

impl Watched {
    fn from(now: u64, table: &Table, route: &Route) -> Self {
        Self { since: now, matching: route.spec().matches(), ahead: table.ahead_of(route) }
    }

    /// Whether a route that gets these requests was watched by now: all that come to it came to it before.
    fn covers(&self, now: &Self) -> bool {
        self.matching == now.matching && self.ahead.is_subset(&now.ahead)
    }
}

/// What is watched, and when that was last looked at.
#[derive(Default)]
struct Watching {
    routes: BTreeMap<String, Watched>,
    /// Version of the table, and the time.
    looked: Option<(u64, u64)>,
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
    watched: Mutex<Watching>,
    parts: [Mutex<Part>; PARTS],
    dirty: AtomicBool,
    /// Somebody came who was not there for long.
    news: AtomicBool,
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
            watched: Mutex::new(Watching { routes: watched, looked: None }),
            parts: Default::default(),
            dirty: AtomicBool::new(true),
            news: AtomicBool::new(false),
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
        let mut watched = self.watched();
        let looked = watched.looked.replace((table.version(), now));
        // A machine that was asleep is no gateway that ran.
        let gap = looked.is_some_and(|(_, at)| now.saturating_sub(at) > GAP_MILLIS);
        if !gap && looked.is_some_and(|(version, _)| version == table.version()) {
            return;
        }
        let touching = table.routes().iter().filter(|route| !route.spec().touches.is_empty());
        let after: BTreeMap<String, Watched> = touching
            .map(|route| {
                let mut after = Watched::from(now, table, route);
                if let Some(known) =
                    watched.routes.get(route.name()).filter(|known| !gap && known.covers(&after))
                {
                    after.since = known.since;
                }
                (route.name().to_owned(), after)
            })
            .collect();
        watched.routes = after;
    }

    fn watched(&self) -> MutexGuard<'_, Watching> {
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
        if side == Side::Legacy && now.saturating_sub(seen.legacy_at) > GAP_MILLIS {
            self.news.store(true, Relaxed);
        }
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
                let is_new = watched.looked.is_none_or(|(version, _)| version != table.version());
                let covers = |known: &&Watched| !is_new || known.covers(&Watched::from(now, table, route));
                let known = watched.routes.get(route.name()).filter(covers);
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

    /// Whether somebody came who was not there for long, and is not stored: a job that runs weekly must not be forgotten because
    /// the process dies a moment later.
    pub(crate) fn has_news(&self) -> bool {
        self.news.load(Relaxed)
    }

    /// Stores it, if it changed or a route is watched: that it still is must be known after the process.
    ///
    /// # Errors
    /// The file cannot be written; it is tried again the next time.
    pub(crate) fn save(&self, now: u64) -> io::Result<()> {
        self.news.store(false, Relaxed);
        let watched = self.watched().routes.clone();
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
        look_on(&ledger, &gateway, 9 * DAY, 16 * DAY);
        let canary = crate::Change::SetMode { route: "stock".into(), mode: crate::Mode::Legacy };
        gateway.change(gateway.table().version(), canary, "mina", "because").expect("is changed");
        ledger.watch(&gateway.table(), 16 * DAY);
        assert!(ledger.report(&gateway.table(), "stock", 7 * DAY, 16 * DAY + 1_000).watched);
    }

    /// Looks as a gateway does, though not as often.
    fn look_on(ledger: &Ledger, gateway: &crate::Gateway, from: u64, to: u64) {
        for now in (from..=to).step_by(60_000) {
            ledger.watch(&gateway.table(), now);
        }
    }

    #[test]
    fn a_time_in_which_the_machine_slept_was_not_watched() {
        let state = tempfile::tempdir().expect("a folder");
        let gateway = gateway(state.path());
        let ledger = Ledger::open_at(state.path(), 0).expect("opens");
        look_on(&ledger, &gateway, 0, DAY);
        assert_eq!(ledger.report(&gateway.table(), "stock", 1, DAY).since, 0);
        ledger.watch(&gateway.table(), 9 * DAY);
        let report = ledger.report(&gateway.table(), "stock", 7 * DAY, 9 * DAY + 1_000);
        assert_eq!((report.watched, report.since), (false, 9 * DAY));
    }

    /// What came to `/shop/special` came to no route that is watched; from now on it comes to one.
    #[test]
    fn a_route_that_gets_what_another_one_took_was_not_watched_for_that() {
        let state = tempfile::tempdir().expect("a folder");
        let gateway = gateway(state.path());
        let ledger = Ledger::open_at(state.path(), 0).expect("opens");
        let mut now = 0;
        let mut after = |change: crate::Change| {
            gateway.change(gateway.table().version(), change, "mina", "because").expect("is changed");
            now += 1_000;
            let before = ledger.report(&gateway.table(), "stock", 1, now).since;
            ledger.watch(&gateway.table(), now);
            let since = ledger.report(&gateway.table(), "stock", 1, now).since;
            assert_eq!(since, before, "before the look and after it");
            (since, now)
        };
        let other = |name: &str, change: fn(&mut crate::RouteSpec)| {
            let mut spec = gateway.table().routes()[0].spec().clone();
            (spec.name, spec.touches) = (name.into(), Vec::new());
            change(&mut spec);
            crate::Change::SetRoute(Box::new(spec))
        };
        let gone = |name: &str| crate::Change::RemoveRoute { route: name.into() };
        ledger.watch(&gateway.table(), 0);
        // It gets less: all that it still gets, it got before.
        assert_eq!(after(other("special", |spec| spec.path = "/shop/special".into())).0, 0);
        assert_eq!(after(other("posted", |spec| spec.methods = vec!["POST".into()])).0, 0);
        assert_eq!(after(other("partner", |spec| spec.host = Some("*.partner.example".into()))).0, 0);
        // Under another name and elsewhere, it takes the same.
        assert_eq!(
            after(other("special", |spec| {
                (spec.path, spec.upstream) = ("/shop/special".into(), Some("http://127.0.0.1:2".into()));
            }))
            .0,
            0
        );
        for name in ["special", "posted", "partner"] {
            let (since, now) = after(gone(name));
            assert_eq!(since, now, "{name}");
        }
    }

    #[test]
    fn somebody_who_comes_seldom_is_news() {
        let state = tempfile::tempdir().expect("a folder");
        let ledger = Ledger::open_at(state.path(), DAY).expect("opens");
        let client: IpAddr = "10.0.0.7".parse().expect("an address");
        let comes = |now: u64, side| {
            ledger.note("stock", &headers("banyan-caller", "erp"), client, side, now);
            let news = ledger.has_news();
            ledger.save(now).expect("stores");
            assert!(!ledger.has_news());
            news
        };
        assert!(comes(DAY, Side::Legacy));
        assert!(!comes(DAY + 1_000, Side::Legacy));
        assert!(!comes(8 * DAY, Side::Banyan));
        assert!(comes(8 * DAY, Side::Legacy));
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
