//! The reference ledger of routes: who still calls what touches a capability's old tables, and when they last did.
//!
//! Only routes that say `touches` are watched. A reference is a route and a caller whose request the old shop answered.
//! It is gone when it was not seen for as long as the operator asks for, and that can only be said of a time in which
//! the ledger was watching: it says since when it does.

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

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    legacy: u64,
    banyan: u64,
    first_at: u64,
    legacy_at: u64,
    banyan_at: u64,
}

type Part = BTreeMap<String, BTreeMap<String, Seen>>;

#[derive(Default, Serialize, Deserialize)]
struct Stored {
    since: u64,
    routes: Part,
}

/// The ledger.
pub struct Ledger {
    file: PathBuf,
    folder: PathBuf,
    since: u64,
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
}

/// Who still touches a capability.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CallersReport {
    /// The capability.
    pub capability: String,
    /// Since when the ledger watches, in milliseconds since 1970.
    pub since: u64,
    /// The time that was asked about, in milliseconds.
    pub within_millis: u64,
    /// Whether the ledger watched for that long: without this, `left` of 0 proves nothing.
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
        let file = state.join(FILE);
        let stored = match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice::<Stored>(&bytes).map_err(io::Error::other)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Stored { since: now_millis(), routes: Part::new() }
            }
            Err(error) => return Err(error),
        };
        let ledger = Self {
            file,
            folder: state.to_owned(),
            since: stored.since,
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
        let routes: Vec<Touching> = touching
            .map(|route| Touching { route: route.name().to_owned(), mode: route.mode().as_str() })
            .collect();
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
            since: self.since,
            within_millis,
            watched: now.saturating_sub(self.since) >= within_millis,
            left: references.iter().filter(|one| one.left).count(),
            routes,
            references,
        }
    }

    /// Stores it, if it changed.
    ///
    /// # Errors
    /// The file cannot be written; it is tried again the next time.
    pub(crate) fn save(&self) -> io::Result<()> {
        if !self.dirty.swap(false, Relaxed) {
            return Ok(());
        }
        let mut stored = Stored { since: self.since, routes: Part::new() };
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

    #[test]
    fn references_are_counted_kept_and_run_out() {
        let state = tempfile::tempdir().expect("a folder");
        let config = "listen = \"127.0.0.1:0\"\nstate = \"s\"\n[[route]]\nname = \"stock\"\npath = \"/\"\n\
                      upstream = \"http://127.0.0.1:1\"\ntouches = [\"stock\"]\n";
        let config = crate::Config::parse(config, state.path()).expect("a configuration");
        let table = crate::Gateway::new(config, None).expect("a gateway").table();
        let client: IpAddr = "10.0.0.7".parse().expect("an address");
        let now = now_millis() + 1_000_000;
        {
            let ledger = Ledger::open(state.path()).expect("opens");
            ledger.note("stock", &headers("banyan-caller", "erp"), client, Side::Legacy, now);
            ledger.note("stock", &headers("banyan-caller", "app"), client, Side::Banyan, now);
            ledger.note("other", &headers("banyan-caller", "web"), client, Side::Legacy, now);
            ledger.save().expect("stores");
        }
        let ledger = Ledger::open(state.path()).expect("opens again");
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
