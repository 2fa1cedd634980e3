//! Who answers a request, and who listens: the place where canary and shadow are attached to the proxy.
//!
//! The proxy asks [`Sides::choose`] once for each request, before anything is sent. It must not wait and must not fail.
//! If it gives a [`Watcher`], that one sees what the user sends and gets, piece by piece, and can never slow it down:
//! all of its methods are synchronous, get cheap clones, and return nothing.

use crate::callers::Ledger;
use crate::canary::Canary;
use crate::config::{Config, ConfigError, Mode};
use crate::courses::Courses;
use crate::shadow::{Shadow, Store, now_millis};
use crate::table::Route;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, request, response};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// One of the two sides of a route.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The old shop.
    Legacy,
    /// Banyan.
    Banyan,
}

impl Side {
    /// The word in answers and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Banyan => "banyan",
        }
    }

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Legacy => Self::Banyan,
            Self::Banyan => Self::Legacy,
        }
    }
}

/// What was decided about one request.
pub struct Choice {
    /// Who answers.
    pub side: Side,
    /// Added to the answer as `Set-Cookie`: keeps a visitor on a side.
    pub set_cookie: Option<HeaderValue>,
    /// Who listens.
    pub watcher: Option<Box<dyn Watcher>>,
}

impl Choice {
    /// This side answers, and nobody listens.
    pub fn of(side: Side) -> Self {
        Self { side, set_cookie: None, watcher: None }
    }
}

/// Listens to one request and its answer. Called from the user's path: nothing here may block, wait or panic.
pub trait Watcher: Send {
    /// The head as it is sent on: with `Host` and who asked, without what ends at each hop. The target is as the client
    /// sent it.
    fn request(&mut self, _head: &request::Parts) {}
    /// A piece of the request's body went to the side that answers.
    fn request_data(&mut self, data: &Bytes);
    /// The request's body is complete; its trailers, if any.
    fn request_end(&mut self, trailers: Option<&HeaderMap>);
    /// The answer's head, as the side gave it, and how long it took.
    fn answer(&mut self, head: &response::Parts, took: Duration);
    /// A piece of the answer's body went to the user.
    fn answer_data(&mut self, data: &Bytes);
    /// It is over. Dropped without this call: the user went away first.
    fn end(self: Box<Self>, ended: Ended);
}

/// How a watched exchange ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ended {
    /// The answer is complete.
    Whole,
    /// The side broke off, was too slow, or gave no answer at all.
    Failed,
}

/// Decides sides. Shared by all workers.
pub struct Sides {
    /// Keys the buckets of canaries.
    secret: [u8; 16],
    /// Signs overrides.
    override_key: [u8; 32],
    /// The gateway itself speaks TLS.
    secure: bool,
    pub(crate) shadow: Arc<Shadow>,
    pub(crate) store: Store,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) courses: Courses,
}

impl Sides {
    /// Opens what is kept in the state folder, which is there.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub(crate) fn open(config: &Config) -> Result<Self, ConfigError> {
        let failed = |doing: &str, error: &std::io::Error| {
            ConfigError(format!("{doing} in {}: {error}", config.state.display()))
        };
        let key =
            read_key(&config.state.join(KEY_FILE)).map_err(|error| failed("reading sides.key", &error))?;
        let mut secret = [0; 16];
        secret.copy_from_slice(&blake3::derive_key("banyan-gateway 2026 canary buckets", &key)[..16]);
        let ledger = Ledger::open(&config.state).map_err(|error| {
            ConfigError(format!(
                "reading callers.json in {}: {error}. Put it back from a backup, or move it away to begin the ledger anew",
                config.state.display()
            ))
        })?;
        let courses = Courses::open(&config.state).map_err(|error| {
            ConfigError(format!(
                "reading evidence.json in {}: {error}. Put it back from a backup, or move it away: then no route is held any more",
                config.state.display()
            ))
        })?;
        Ok(Self {
            secret,
            override_key: blake3::derive_key("banyan-gateway 2026 side overrides", &key),
            secure: config.tls.is_some(),
            shadow: Shadow::new(config.limits.shadow_bytes_max),
            store: Store::new(&config.state),
            ledger: Arc::new(ledger),
            courses,
        })
    }

    /// Decides who answers this request. `head` is as the client sent it; `client` is who sent it, as far as proxies
    /// that are trusted can tell: nothing if they name somebody who cannot be read.
    pub fn choose(
        &self,
        route: &Arc<Route>,
        head: &request::Parts,
        client: impl Into<Option<IpAddr>>,
    ) -> Choice {
        let client = client.into();
        let rules = route.rules();
        let mut choice = match (route.mode(), &rules.canary) {
            (Mode::Banyan, _) => Choice::of(Side::Banyan),
            (Mode::Canary, Some(canary)) => self.canary(canary, head, client),
            (Mode::Legacy | Mode::Shadow | Mode::Canary, _) => Choice::of(Side::Legacy),
        };
        if !route.spec().touches.is_empty() {
            self.ledger.note(route.name(), &head.headers, client, choice.side, now_millis());
        }
        if let Some(shadow) = &rules.shadow
            && matches!(route.mode(), Mode::Shadow | Mode::Canary)
        {
            choice.watcher = self.shadow.watch(route, shadow, head, choice.side);
        }
        choice
    }

    fn canary(&self, canary: &Canary, head: &request::Parts, client: Option<IpAddr>) -> Choice {
        let forwarded = head.headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https");
        let fresh = || {
            let mut random = [0; 16];
            getrandom::fill(&mut random).ok().map(|()| random)
        };
        let secure = self.secure || forwarded;
        let decision = canary.choose(&self.secret, &head.headers, client, now_millis(), secure, fresh);
        let set_cookie = decision.set_cookie.and_then(|cookie| HeaderValue::from_str(&cookie).ok());
        Choice { side: decision.side, set_cookie, watcher: None }
    }

    /// The key that signs overrides.
    pub(crate) fn override_key(&self) -> &[u8; 32] {
        &self.override_key
    }
}

/// In the state folder. Gateways that share it put the same members on the same sides.
const KEY_FILE: &str = "sides.key";

/// Reads the key, or makes it: 64 hexadecimal characters.
fn read_key(path: &Path) -> std::io::Result<[u8; 32]> {
    let wrong = || std::io::Error::other("it must hold 64 hexadecimal characters: put it back from a backup");
    match std::fs::read_to_string(path) {
        Ok(text) => blake3::Hash::from_hex(text.trim()).map(|hash| *hash.as_bytes()).map_err(|_| wrong()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mut key = [0; 32];
            getrandom::fill(&mut key).map_err(std::io::Error::other)?;
            let text = format!("{}\n", blake3::Hash::from_bytes(key).to_hex());
            let folder = path.parent().unwrap_or(Path::new("."));
            crate::shadow::write(folder, path, text.as_bytes())?;
            Ok(key)
        }
        Err(error) => Err(error),
    }
}
