//! What a browser keeps for us: who is signed in, the cart, the coupon chosen. All of it is in one cookie that only we can
//! sign, so that nothing is lost when the shop restarts and any number of shops can serve the same visitor.
//!
//! It is signed, not hidden: it holds nothing that its own browser may not know.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};

/// The cookie.
pub(crate) const COOKIE: &str = "banyan_shop";
/// How long it lasts, in seconds: thirty days.
pub(crate) const AGE_MAX: i64 = 30 * 86_400;
/// How old it may be before it is made anew, in seconds, so that who comes every day is never signed out.
const RENEW_AFTER: i64 = 86_400;
/// How long it lasts at most since it began or somebody signed in, however often it is renewed, in seconds: ninety days.
const LIFE_MAX: i64 = 90 * 86_400;
/// Sessions that were signed out and are remembered; the oldest are forgotten first.
const ENDED_MAX: usize = 100_000;
/// How long an order without an answer is asked for again, in seconds: the API knows its key for two hours longer.
const PENDING_MAX: i64 = 24 * 3_600;
/// Different products in a cart.
pub(crate) const LINES_MAX: usize = 24;
/// Units of a product in a cart.
pub(crate) const QUANTITY_MAX: u32 = 99;

/// One visitor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Session {
    /// Random; forms are tied to it.
    id: String,
    /// When it was made or last renewed, in seconds since 1970.
    at: i64,
    /// When it began, or its member signed in, in seconds since 1970.
    began: i64,
    /// Who is signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) member: Option<String>,
    /// Products and quantities, in the order in which they came.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) cart: Vec<(String, u32)>,
    /// The code of the coupon for this cart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) coupon: Option<String>,
    /// Points to use for this cart.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) points: i64,
    /// The key under which this cart is ordered: the same on every checkout form, until an order was made with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) form: Option<String>,
    /// An order that was sent with that key, and whose answer did not come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pending: Option<Pending>,
    /// The newest order, to which the payment company's page leads back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last: Option<String>,
    /// The log position of the newest change that this visitor made or saw: what is read must include it.
    #[serde(default, skip_serializing_if = "is_none_yet")]
    pub(crate) seq: u64,
}

/// A checkout form that was sent, to be sent again as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pending {
    pub(crate) total: i64,
    pub(crate) method: String,
    /// When it was sent first, in seconds since 1970.
    at: i64,
}

fn is_zero(n: &i64) -> bool {
    *n == 0
}

fn is_none_yet(n: &u64) -> bool {
    *n == 0
}

/// Signs cookies and forms.
pub(crate) struct Signer(Hmac<Sha256>);

impl Signer {
    /// Keys follow from the API key: whoever changes that signs everybody out, and there is no second secret to keep.
    pub(crate) fn new(api_key: &str) -> Self {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(api_key.as_bytes()).expect("HMAC takes keys of any length");
        mac.update(b"banyan-shop sessions 1");
        let key = mac.finalize().into_bytes();
        Self(Hmac::new_from_slice(&key).expect("HMAC takes keys of any length"))
    }

    fn mac(&self, purpose: &str, text: &str) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(purpose.as_bytes());
        mac.update(b":");
        mac.update(text.as_bytes());
        mac
    }

    /// The session as a cookie's value.
    pub(crate) fn seal(&self, session: &Session) -> String {
        let json = serde_json::to_vec(session).unwrap_or_default();
        let body = URL_SAFE_NO_PAD.encode(json);
        let tag = URL_SAFE_NO_PAD.encode(self.mac("session", &body).finalize().into_bytes());
        format!("{body}.{tag}")
    }

    /// The session of a cookie that we made and that is not too old.
    pub(crate) fn open(&self, cookie: &str, now: i64) -> Option<Session> {
        let (body, tag) = cookie.split_once('.')?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        self.mac("session", body).verify_slice(&tag).ok()?;
        let mut session: Session = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).ok()?).ok()?;
        if now - session.at > AGE_MAX || now - session.began > LIFE_MAX {
            return None;
        }
        if now - session.at > RENEW_AFTER {
            session.at = now;
        }
        // Older than that its key may be forgotten: sending it again would be another order.
        if session.pending.as_ref().is_some_and(|pending| now - pending.at > PENDING_MAX) {
            (session.form, session.pending) = (None, None);
        }
        Some(session)
    }

    /// What every form of `session` carries.
    pub(crate) fn csrf(&self, session: &Session) -> String {
        URL_SAFE_NO_PAD.encode(&self.mac("form", &session.id).finalize().into_bytes()[..18])
    }

    /// Whether `sent` is what a form of `session` carries. In constant time.
    pub(crate) fn is_own_form(&self, session: &Session, sent: &str) -> bool {
        let sent = URL_SAFE_NO_PAD.decode(sent).unwrap_or_default();
        sent.len() == 18 && self.mac("form", &session.id).verify_truncated_left(&sent).is_ok()
    }
}

/// Sessions of members that were signed out: a copy of their cookie signs nobody in. In memory, so a shop that is started
/// anew, or another one beside it, knows nothing of them; what is left then is the age of the cookie.
#[derive(Debug, Default)]
pub(crate) struct Ended(Mutex<(BTreeSet<String>, VecDeque<String>)>);

impl Ended {
    /// Ends `session`, if somebody is signed in with it.
    pub(crate) fn end(&self, session: &Session) {
        if session.member.is_none() {
            return;
        }
        let mut ended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (ids, in_order) = &mut *ended;
        if ids.insert(session.id.clone()) {
            in_order.push_back(session.id.clone());
        }
        while in_order.len() > ENDED_MAX {
            if let Some(oldest) = in_order.pop_front() {
                ids.remove(&oldest);
            }
        }
    }

    /// Whether `session` was ended.
    pub(crate) fn has(&self, session: &Session) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.contains(&session.id)
    }
}

impl Session {
    /// A new visitor.
    pub(crate) fn begin(now: i64) -> Result<Self, getrandom::Error> {
        Ok(Self { id: random()?, at: now, began: now, ..Self::default() })
    }

    /// Signs `member` in, under a new id: what somebody knew of the old session is worth nothing.
    pub(crate) fn sign_in(&mut self, member: String, now: i64) -> Result<(), getrandom::Error> {
        let another = self.member.as_ref() != Some(&member);
        (self.id, self.at, self.began) = (random()?, now, now);
        self.member = Some(member);
        if another {
            (self.coupon, self.points, self.last) = (None, 0, None);
            (self.form, self.pending) = (None, None);
        }
        Ok(())
    }

    /// Becomes a new visitor with the same cart.
    pub(crate) fn sign_out(&mut self, now: i64) -> Result<(), getrandom::Error> {
        let cart = std::mem::take(&mut self.cart);
        *self = Self { cart, ..Self::begin(now)? };
        Ok(())
    }

    /// How many units are in the cart.
    pub(crate) fn units(&self) -> u32 {
        self.cart.iter().map(|(_, quantity)| quantity).sum()
    }

    /// Puts units into the cart; whether there was room for another product.
    pub(crate) fn add(&mut self, product: &str, quantity: u32) -> bool {
        let quantity = quantity.clamp(1, QUANTITY_MAX);
        if let Some((_, has)) = self.cart.iter_mut().find(|(id, _)| id == product) {
            *has = (*has + quantity).min(QUANTITY_MAX);
            return true;
        }
        if self.cart.len() >= LINES_MAX {
            return false;
        }
        self.cart.push((product.to_owned(), quantity));
        true
    }

    /// Says how many units of a product are in the cart; none takes it out.
    pub(crate) fn set(&mut self, product: &str, quantity: u32) {
        if let Some((_, has)) = self.cart.iter_mut().find(|(id, _)| id == product) {
            *has = quantity.min(QUANTITY_MAX);
        }
        self.cart.retain(|(_, quantity)| *quantity > 0);
    }

    /// The key under which this cart is ordered.
    pub(crate) fn form_key(&mut self) -> Result<&str, getrandom::Error> {
        let key = self.form.take().map_or_else(random, Ok)?;
        Ok(self.form.insert(key))
    }

    /// Notes that a form was sent with `key` and that nobody knows yet what became of it.
    pub(crate) fn unanswered(&mut self, key: &str, total: i64, method: &str, now: i64) {
        self.form = Some(key.to_owned());
        let at = self.pending.take().map_or(now, |pending| pending.at);
        self.pending = Some(Pending { total, method: method.to_owned(), at });
    }

    /// Empties the cart after an order.
    pub(crate) fn ordered(&mut self, order: &str, seq: u64) {
        (self.cart, self.coupon, self.points) = (Vec::new(), None, 0);
        (self.form, self.pending) = (None, None);
        self.last = Some(order.to_owned());
        self.seq = self.seq.max(seq);
    }
}

/// 128 random bits as text.
pub(crate) fn random() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Session {
        let mut session = Session::begin(1_000).expect("random");
        session.sign_in("mina".into(), 1_000).expect("random");
        for n in 0..LINES_MAX {
            assert!(session.add(&format!("a-product-with-a-long-name-{n}"), 99));
        }
        assert!(!session.add("one-more", 1), "a cart has an end");
        session.coupon = Some("7K2M-Q9XR-4TBHC".into());
        session.unanswered(&random().expect("random"), 1_000_000, "tok_declined", 1_000);
        session
    }

    #[test]
    fn what_we_sealed_is_opened_again_and_fits_a_cookie() {
        let signer = Signer::new("key");
        let sealed = signer.seal(&full());
        let opened = signer.open(&sealed, 2_000).expect("ours");
        assert_eq!((opened.units(), opened.member.as_deref()), (24 * 99, Some("mina")));
        assert!(sealed.len() < 3_500, "{} bytes", sealed.len());
    }

    #[test]
    fn an_order_without_an_answer_is_asked_for_only_while_its_key_is_known() {
        let signer = Signer::new("key");
        let sealed = signer.seal(&full());
        let pending = |now| signer.open(&sealed, now).expect("ours").pending;
        assert!(pending(1_000 + PENDING_MAX).is_some());
        assert!(pending(1_001 + PENDING_MAX).is_none());
    }

    #[test]
    fn a_session_that_is_renewed_every_day_ends_all_the_same() {
        let signer = Signer::new("key");
        let (mut sealed, mut days) = (signer.seal(&full()), 0);
        while let Some(session) = signer.open(&sealed, 1_000 + days * 86_400 + 1) {
            (sealed, days) = (signer.seal(&session), days + 1);
            assert!(days < 400, "it never ends");
        }
        assert_eq!(days, 90);
    }

    #[test]
    fn a_changed_cookie_is_no_session() {
        let signer = Signer::new("key");
        let sealed = signer.seal(&full());
        for at in (0..sealed.len()).filter(|at| sealed.as_bytes()[*at] != b'.') {
            let mut bytes = sealed.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'Q' } else { b'A' };
            let changed = String::from_utf8(bytes).expect("text");
            let opened = signer.open(&changed, 2_000);
            assert!(opened.is_none_or(|session| session == full_of(&signer, &sealed)), "byte {at}");
        }
        assert!(Signer::new("another key").open(&sealed, 2_000).is_none());
        assert!(signer.open(sealed.split('.').next().unwrap_or_default(), 2_000).is_none());
        assert!(signer.open(&sealed, 1_001 + AGE_MAX).is_none(), "too old");
    }

    /// The last letter of base64 has bits that mean nothing: a change of those alone changes nothing.
    fn full_of(signer: &Signer, sealed: &str) -> Session {
        signer.open(sealed, 2_000).expect("ours")
    }

    #[test]
    fn a_form_is_tied_to_its_session() {
        let signer = Signer::new("key");
        let (one, mut other) = (full(), full());
        let token = signer.csrf(&one);
        assert!(signer.is_own_form(&one, &token) && !signer.is_own_form(&other, &token));
        assert!(!signer.is_own_form(&one, "") && !signer.is_own_form(&one, &token[..8]));
        let before = signer.csrf(&other);
        other.sign_in("joon".into(), 2_000).expect("random");
        assert!(!signer.is_own_form(&other, &before), "signing in makes old forms worthless");
        assert_eq!(other.coupon, None, "another member's coupon is not taken along");
    }
}
