//! Which side a request goes to while a route is a canary.
//!
//! It is a hash and not dice: the same member is always on the same side. A key is put into one of 10,000 buckets, and
//! the buckets below the share go to Banyan. So raising the share only ever moves people over, never back, and two
//! gateways with the same secret agree without talking to each other. Each route has a salt of its own, or the same
//! people would be the first everywhere.
//!
//! Everything here is a function of its arguments: time, chance and the peer's address come in.

use crate::config::Network;
use crate::side::Side;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName};
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher24;
use siphasher::sip128::Hasher128 as _;
use std::fmt;
use std::hash::Hasher;
use std::net::IpAddr;
use subtle::ConstantTimeEq as _;

/// How finely a share can be set: one bucket is 0.01 %.
pub const BUCKETS: u16 = 10_000;
/// The cookie that stands for a visitor who has no key of ours.
pub const OWN_COOKIE: &str = "banyan_visitor";
/// How long the gateway's own cookie is kept by a browser, in seconds: a year.
const OWN_COOKIE_SECONDS: u32 = 31_536_000;
/// Longest key that is looked at, in bytes; a longer one counts as missing.
const KEY_BYTES_MAX: usize = 512;
/// Longest token whose subject is read, in bytes.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// A part of the traffic in steps of 0.01 %.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u16);

impl Share {
    /// Nobody.
    pub const NONE: Self = Self(0);
    /// Everybody.
    pub const ALL: Self = Self(BUCKETS);

    /// The share of `percent` percent.
    ///
    /// # Errors
    /// A sentence, if it is below 0, above 100, or finer than 0.01.
    pub fn from_percent(percent: f64) -> Result<Self, String> {
        let steps = percent * 100.0;
        let whole = steps.round();
        if !(0.0..=100.0).contains(&percent) || (steps - whole).abs() > 1e-6 {
            return Err(format!("{percent} is not between 0 and 100 in steps of 0.01"));
        }
        // Checked above: a whole number of 0 to 10,000.
        Ok(Self(whole as u16))
    }

    /// In percent.
    #[must_use]
    pub fn percent(self) -> f64 {
        f64::from(self.0) / 100.0
    }

    /// Whether a bucket is in it.
    #[must_use]
    pub fn holds(self, bucket: u16) -> bool {
        bucket < self.0
    }
}

impl fmt::Display for Share {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} %", self.percent())
    }
}

/// The bucket of `key` on the route with this salt: 0 to 9,999, the same for ever.
#[must_use]
pub fn bucket(secret: &[u8; 16], salt: &str, key: &[u8]) -> u16 {
    let mut hasher = SipHasher24::new_with_key(secret);
    // The length keeps salt and key apart: "a" + "bc" is not "ab" + "c".
    hasher.write(&(salt.len() as u64).to_le_bytes());
    hasher.write(salt.as_bytes());
    hasher.write(key);
    // The high half of the product is below BUCKETS, and as even as 64 bits allow.
    ((u128::from(hasher.finish()) * u128::from(BUCKETS)) >> 64) as u16
}

/// What tells two visitors apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyBy {
    /// The `sub` of the bearer token. It is not verified: it chooses a side and opens no door.
    Member,
    /// A cookie, such as the cart's.
    Cookie(String),
    /// A header that something in front sets.
    Header(HeaderName),
}

impl KeyBy {
    /// Reads `member`, `cookie:NAME` or `header:NAME`.
    ///
    /// # Errors
    /// A sentence, if it is none of them.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} names no key: give \"member\", \"cookie:NAME\" or \"header:NAME\"");
        match text.split_once(':') {
            None if text == "member" => Ok(Self::Member),
            Some(("cookie", name)) if !name.is_empty() && name.bytes().all(is_cookie_name) => {
                Ok(Self::Cookie(name.to_owned()))
            }
            Some(("header", name)) => name.parse().map(Self::Header).map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }

    /// The key of a request, if it has one of a sane length.
    #[must_use]
    pub fn of(&self, headers: &HeaderMap) -> Option<Vec<u8>> {
        let key = match self {
            Self::Member => token_subject(headers)?.into_bytes(),
            Self::Cookie(name) => cookie_bytes(headers, name)?.to_vec(),
            Self::Header(name) => headers.get(name)?.as_bytes().to_vec(),
        };
        (!key.is_empty() && key.len() <= KEY_BYTES_MAX).then_some(key)
    }
}

impl fmt::Display for KeyBy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member => write!(out, "member"),
            Self::Cookie(name) => write!(out, "cookie:{name}"),
            Self::Header(name) => write!(out, "header:{name}"),
        }
    }
}

/// What happens to a request without a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyMissing {
    /// It goes to the old shop.
    Legacy,
    /// It gets a cookie of the gateway's own, and is hashed by that. The first answer already follows it.
    #[default]
    Cookie,
}

/// A share for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RampStep {
    /// From when on, in milliseconds since 1970.
    pub at: u64,
    /// The share from then on.
    pub share: Share,
}

/// How the share changes with time: a staircase.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ramp {
    start: Share,
    steps: Vec<RampStep>,
    paused_at: Option<u64>,
}

impl Ramp {
    /// `start` until the first step.
    ///
    /// # Errors
    /// A sentence, if the steps are not in the order of time.
    pub fn new(start: Share, steps: Vec<RampStep>) -> Result<Self, String> {
        if !steps.is_sorted_by(|one, next| one.at < next.at) {
            return Err(
                "the steps of a ramp must stand in the order of time, each later than the last".into()
            );
        }
        Ok(Self { start, steps, paused_at: None })
    }

    /// The same ramp, held where it was at `at`. The steps that pass meanwhile are skipped when it goes on.
    #[must_use]
    pub fn paused(mut self, at: Option<u64>) -> Self {
        self.paused_at = at;
        self
    }

    /// The share at a time.
    #[must_use]
    pub fn share(&self, now: u64) -> Share {
        let now = self.paused_at.map_or(now, |paused| paused.min(now));
        let passed = self.steps.partition_point(|step| step.at <= now);
        if passed == 0 { self.start } else { self.steps[passed - 1].share }
    }

    /// Whether steps are still to come, also while it is paused.
    #[must_use]
    pub fn is_under_way(&self, now: u64) -> bool {
        self.steps.iter().any(|step| step.at > self.paused_at.map_or(now, |paused| paused.min(now)))
    }

    /// The step that comes next, unless it is paused.
    #[must_use]
    pub fn next(&self, now: u64) -> Option<RampStep> {
        if self.paused_at.is_some() {
            return None;
        }
        self.steps.iter().find(|step| step.at > now).copied()
    }
}

/// Who may choose a side for themselves, to look at it before others do.
///
/// An override chooses between two answers that the route could give anyway, so it is no key to anything. But it must
/// not be open: a crowd that chose the side that is weaker today would be a way to hurt the shop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sticky {
    /// The header that carries it.
    pub header: Option<HeaderName>,
    /// The cookie that carries it.
    pub cookie: Option<String>,
    /// Key of signed values ([`signed_override`]). Without it no signature is good.
    pub key: Option<[u8; 32]>,
    /// Peers that may say `legacy` or `banyan` without a signature.
    pub from: Vec<Network>,
}

impl Sticky {
    /// The side that a request chose, if it may. `peer` is who asks, as far as trusted proxies
    /// can tell, and never what a stranger claims.
    #[must_use]
    pub fn side(&self, route: &str, headers: &HeaderMap, peer: Option<IpAddr>, now: u64) -> Option<Side> {
        let header =
            self.header.as_ref().and_then(|name| headers.get(name)).and_then(|value| value.to_str().ok());
        let text = header.or_else(|| cookie(headers, self.cookie.as_deref()?))?;
        let listed = peer.is_some_and(|peer| self.from.iter().any(|network| network.contains(peer)));
        if listed && let Some(side) = side_named(text) {
            return Some(side);
        }
        verify_override(self.key.as_ref()?, route, text, now)
    }
}

/// The text that lets its bearer choose `side` on `route` until `until`, in milliseconds since 1970.
#[must_use]
pub fn signed_override(key: &[u8; 32], route: &str, side: Side, until: u64) -> String {
    format!("{}.{until}.{}", side.as_str(), override_mark(key, route, side, until).to_hex())
}

fn verify_override(key: &[u8; 32], route: &str, text: &str, now: u64) -> Option<Side> {
    let (side, rest) = text.split_once('.')?;
    let (until, mark) = rest.split_once('.')?;
    let (side, until) = (side_named(side)?, until.parse().ok()?);
    let mark = blake3::Hash::from_hex(mark).ok()?;
    // Hashes are compared in constant time.
    (mark == override_mark(key, route, side, until) && now < until).then_some(side)
}

fn override_mark(key: &[u8; 32], route: &str, side: Side, until: u64) -> blake3::Hash {
    blake3::keyed_hash(key, format!("override\n{}\n{until}\n{route}", side.as_str()).as_bytes())
}

/// How one route chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canary {
    /// The route's name, for overrides.
    pub route: String,
    /// What the hash is salted with; the route's name unless the operator sets another.
    pub salt: String,
    /// What tells visitors apart.
    pub by: KeyBy,
    /// What happens without it.
    pub missing: KeyMissing,
    /// How large Banyan's part is.
    pub ramp: Ramp,
    /// Who may choose.
    pub sticky: Sticky,
}

/// Why a request goes where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It chose, and may.
    Override,
    /// Its bucket.
    Share,
    /// It has no key.
    KeyMissing,
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The side.
    pub side: Side,
    /// Why.
    pub why: Why,
    /// A `Set-Cookie` value to add to the answer.
    pub set_cookie: Option<String>,
}

impl Canary {
    /// Chooses for one request. `fresh` is asked for 16 random bytes if a new visitor must be named; `secure` says that
    /// the visitor's connection is encrypted.
    #[must_use]
    pub fn choose(
        &self,
        secret: &[u8; 16],
        headers: &HeaderMap,
        peer: Option<IpAddr>,
        now: u64,
        secure: bool,
        fresh: impl FnOnce() -> Option<[u8; 16]>,
    ) -> Decision {
        if let Some(side) = self.sticky.side(&self.route, headers, peer, now) {
            return Decision { side, why: Why::Override, set_cookie: None };
        }
        let share = self.ramp.share(now);
        let by_key = |key: &[u8], set_cookie| {
            let side = if share.holds(bucket(secret, &self.salt, key)) { Side::Banyan } else { Side::Legacy };
            Decision { side, why: Why::Share, set_cookie }
        };
        if let Some(key) = self.by.of(headers) {
            return by_key(&key, None);
        }
        if self.missing == KeyMissing::Cookie {
            if let Some(name) = cookie(headers, OWN_COOKIE).and_then(|value| own_name(secret, value)) {
                return by_key(name.as_bytes(), None);
            }
            // Nobody is named while nobody can be chosen: the old shop's answers stay as they were.
            if share > Share::NONE
                && let Some(random) = fresh()
            {
                let name = hex(&random);
                let mark = hex(&name_mark(secret, &name));
                let secure = if secure { "; Secure" } else { "" };
                let set = format!(
                    "{OWN_COOKIE}={name}.{mark}; Path=/; Max-Age={OWN_COOKIE_SECONDS}; HttpOnly; SameSite=Lax{secure}"
                );
                return by_key(name.as_bytes(), Some(set));
            }
        }
        Decision { side: Side::Legacy, why: Why::KeyMissing, set_cookie: None }
    }
}

/// The value of a cookie; the first if there are several, as a server would take it. Nothing if it is no text.
#[must_use]
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    std::str::from_utf8(cookie_bytes(headers, name)?).ok()
}

/// The same, as it came. Cookies beside it may be anything: browsers send back what a page has set.
fn cookie_bytes<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let lines = headers.get_all(COOKIE).iter();
    let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let mut found = pairs.filter_map(|pair| {
        let end = pair.iter().position(|byte| *byte == b'=')?;
        (pair[..end].trim_ascii() == name.as_bytes()).then(|| pair[end + 1..].trim_ascii())
    });
    found.next()
}

fn side_named(name: &str) -> Option<Side> {
    [Side::Legacy, Side::Banyan].into_iter().find(|side| side.as_str() == name)
}

/// The name in a cookie that this gateway, or one with the same secret, gave: a name that somebody made up could be made up until
/// its bucket is on the wanted side.
fn own_name<'a>(secret: &[u8; 16], value: &'a str) -> Option<&'a str> {
    let (name, mark) = value.split_once('.')?;
    let wanted = hex(&name_mark(secret, name));
    bool::from(wanted.as_bytes().ct_eq(mark.as_bytes())).then_some(name)
}

fn name_mark(secret: &[u8; 16], name: &str) -> [u8; 16] {
    let mut hasher = siphasher::sip128::SipHasher24::new_with_key(secret);
    hasher.write(b"the gateway gave this name: ");
    hasher.write(name.as_bytes());
    hasher.finish128().as_bytes()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_cookie_name(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&byte)
}

fn token_subject(headers: &HeaderMap) -> Option<String> {
    #[derive(Deserialize)]
    struct Claims {
        sub: String,
    }
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let token = token.trim_start();
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice::<Claims>(&claims).ok().map(|claims| claims.sub)
}

#[cfg(test)]
mod tests;
