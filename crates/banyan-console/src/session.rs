//! Who is signed in: random tokens in memory. A restart of the process signs everybody out.

use banyan_api::App;
use banyan_api::auth::{Principal, Role};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The cookie that carries a session's token.
pub(crate) const COOKIE: &str = "banyan_console";

/// Every session, by the hash of its token: a look into this memory gives no token away.
pub(crate) struct Sessions {
    by_hash: Mutex<BTreeMap<[u8; 32], Session>>,
    count_max: usize,
    idle_max: Duration,
}

struct Session {
    key_hash: [u8; 32],
    csrf: String,
    used: Instant,
}

/// A session that is in force.
#[derive(Clone)]
pub(crate) struct SignedIn {
    pub(crate) principal: Arc<Principal>,
    /// What every form of the session carries.
    pub(crate) csrf: String,
    token_hash: [u8; 32],
}

impl SignedIn {
    /// Whether this person may change anything.
    pub(crate) fn may_change(&self) -> bool {
        self.principal.role == Role::Operator
    }
}

impl Sessions {
    pub(crate) fn new(count_max: usize, idle_max: Duration) -> Self {
        Self { by_hash: Mutex::default(), count_max: count_max.max(1), idle_max }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<[u8; 32], Session>> {
        self.by_hash.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a session for the holder of `key` and returns its token.
    pub(crate) fn begin(&self, key: &[u8]) -> Result<String, getrandom::Error> {
        let (token, csrf) = (random()?, random()?);
        let now = Instant::now();
        let mut sessions = self.lock();
        sessions.retain(|_, session| now.duration_since(session.used) < self.idle_max);
        while sessions.len() >= self.count_max {
            let idlest = sessions.iter().min_by_key(|(_, session)| session.used).map(|(hash, _)| *hash);
            let Some(idlest) = idlest else { break };
            sessions.remove(&idlest);
        }
        let session = Session { key_hash: *blake3::hash(key).as_bytes(), csrf, used: now };
        sessions.insert(hash(&token), session);
        Ok(token)
    }

    /// The session of `token`, if it is in force; this request keeps it so.
    ///
    /// The key is looked up each time: whoever removes a key ends its sessions.
    pub(crate) fn resume(&self, app: &App, token: &str) -> Option<SignedIn> {
        self.find(app, hash(token), true)
    }

    /// Whether a session is still in force, without keeping it so: for streams, which would otherwise never end.
    pub(crate) fn is_alive(&self, app: &App, signed_in: &SignedIn) -> bool {
        self.find(app, signed_in.token_hash, false).is_some()
    }

    /// Ends a session.
    pub(crate) fn end(&self, signed_in: &SignedIn) {
        self.lock().remove(&signed_in.token_hash);
    }

    fn find(&self, app: &App, token_hash: [u8; 32], keep: bool) -> Option<SignedIn> {
        let now = Instant::now();
        let mut sessions = self.lock();
        let session = sessions.get_mut(&token_hash)?;
        let fresh = now.duration_since(session.used) < self.idle_max;
        let Some(principal) = app.keyring().holder(&session.key_hash).filter(|_| fresh) else {
            sessions.remove(&token_hash);
            return None;
        };
        if keep {
            session.used = now;
        }
        Some(SignedIn { principal, csrf: session.csrf.clone(), token_hash })
    }
}

/// 256 random bits as text.
pub(crate) fn random() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    let mut text = String::with_capacity(64);
    for byte in bytes {
        let _written_to_memory = write!(text, "{byte:02x}");
    }
    Ok(text)
}

fn hash(token: &str) -> [u8; 32] {
    *blake3::hash(token.as_bytes()).as_bytes()
}
