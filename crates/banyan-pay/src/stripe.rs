//! Stripe (payment intents, captured by hand).
//!
//! Our key travels as `Idempotency-Key` and, with payments and refunds, as metadata: Stripe finds by metadata when an answer
//! was lost. It lists rather than searches, as Stripe's search is up to a minute behind. A capture carries no metadata, so what
//! came of a lost capture is read from the payment's amounts.

use crate::company::{
    Asking, AuthorizeRequest, CaptureRequest, Connection, Deed, Notice, NoticeError, PaymentCompany, Query,
    RefundRequest, VoidRequest,
};
use crate::effect::{About, CardShown, Effect, PaymentState, Status, codes};
use crate::http::{Call, Http, InvalidConnection, Reply};
use crate::signature;
use crate::text::{Key, PaymentId, Secret, percent};
use banyan_domain::{Currency, Money};
use http::{HeaderMap, Method};
use serde_json::Value;

/// The metadata that holds our key.
const KEY: &str = "banyan_key";
/// The metadata that holds the order.
const ORDER: &str = "banyan_order";
/// Pages of 100 that are looked through for a key.
const PAGES_MAX: usize = 20;

/// A connection to Stripe.
#[derive(Debug)]
pub struct Stripe {
    http: Http,
    webhook_secret: Option<Secret>,
}

/// Fields of a form, in order.
type Form = Vec<(&'static str, String)>;

impl Stripe {
    /// Sets the connection up; nothing is sent yet. The real address is `https://api.stripe.com`.
    ///
    /// # Errors
    /// [`InvalidConnection`] if the address or the key cannot be used.
    pub fn new(connection: &Connection) -> Result<Self, InvalidConnection> {
        let http = Http::new(connection, &format!("Bearer {}", connection.secret_key.as_str()), false)?;
        Ok(Self { http, webhook_secret: connection.webhook_secret.clone() })
    }

    async fn post(&self, path: String, key: &Key, form: Form) -> Result<Reply, Effect> {
        let body = Some(("application/x-www-form-urlencoded", encode(&form)));
        let reply = self.http.call(Call { method: Method::POST, path, body, key: Some(key) }).await?;
        if reply.status.is_success() { Ok(reply) } else { Err(refusal(&reply)) }
    }

    async fn get(&self, path: String) -> Result<Reply, Effect> {
        let reply = self.http.call(Call { method: Method::GET, path, body: None, key: None }).await?;
        if reply.status.is_success() { Ok(reply) } else { Err(refusal(&reply).of_question()) }
    }

    async fn intent(&self, path: String, key: &Key, mut form: Form, about: About<'_>) -> Effect {
        form.push(("expand[]", "latest_charge".into()));
        match self.post(path, key, form).await {
            Ok(reply) => judge(&reply.json, about),
            Err(effect) => effect,
        }
    }

    async fn send_back(&self, request: &RefundRequest) -> Effect {
        let form = vec![
            ("payment_intent", request.payment.as_str().to_owned()),
            ("amount", request.amount.minor.to_string()),
            ("metadata[banyan_key]", request.key.as_str().to_owned()),
            ("expand[]", "charge".into()),
        ];
        let reply = match self.post("/v1/refunds".into(), &request.key, form).await {
            Ok(reply) => reply.json,
            Err(effect) => return effect,
        };
        if let Some(effect) = not_sent_back(&reply) {
            return effect;
        }
        let charge = &reply["charge"];
        let found = || {
            let (captured, refunded) = charge_amounts(charge)?;
            let currency = Currency::new(&charge["currency"].as_str()?.to_ascii_uppercase()).ok()?;
            Some(PaymentState {
                payment: request.payment.clone(),
                order: charge["metadata"][ORDER].as_str().map(str::to_owned),
                status: PaymentState::settled(captured, refunded, false),
                amount: Money::new(charge["amount"].as_i64()?, currency).ok()?,
                captured,
                refunded,
                card: card(charge),
                redirect: None,
            })
        };
        found().map_or_else(|| Effect::garbage("the refund has no charge"), Effect::Done)
    }

    async fn by_payment(&self, payment: &PaymentId) -> Effect {
        match self.get(format!("/v1/payment_intents/{payment}?expand[]=latest_charge")).await {
            Ok(reply) => judge(&reply.json, About::Payment(payment)),
            Err(effect) => effect,
        }
    }

    /// Looks through a list for the row that carries `key`.
    async fn find(&self, list: &str, key: &Key) -> Result<Option<Value>, Effect> {
        let mut after = String::new();
        for _ in 0..PAGES_MAX {
            let page = self.get(format!("{list}limit=100{after}")).await?.json;
            let rows = page["data"].as_array().ok_or_else(|| Effect::garbage("it is no list"))?;
            if let Some(row) = rows.iter().find(|row| row["metadata"][KEY] == key.as_str()) {
                return Ok(Some(row.clone()));
            }
            let last = rows.last().and_then(|row| row["id"].as_str());
            match last {
                Some(last) if page["has_more"] == true => {
                    after = format!("&starting_after={}", percent(last));
                }
                _ => return Ok(None),
            }
        }
        let seen = PAGES_MAX * 100;
        Err(Effect::Unknown(format!("the key is not among {seen} rows of {list}; query the payment itself")))
    }

    /// What came of a payment of which only the key is known.
    async fn by_key(&self, key: &Key) -> Effect {
        match self.find("/v1/payment_intents?", key).await {
            Ok(Some(intent)) => match intent["id"].as_str().and_then(|id| PaymentId::new(id).ok()) {
                Some(payment) => self.by_payment(&payment).await,
                None => Effect::garbage("the payment has no id"),
            },
            Ok(None) => Effect::no(codes::NOT_FOUND, "Stripe knows of no payment with this key."),
            Err(effect) => effect,
        }
    }

    /// What came of a refund: one among those of its payment.
    async fn refund_by_key(&self, key: &Key, payment: &PaymentId) -> Effect {
        match self.find(&format!("/v1/refunds?payment_intent={payment}&"), key).await {
            Ok(Some(refund)) => match not_sent_back(&refund) {
                None => self.by_payment(payment).await,
                Some(effect) => effect,
            },
            Ok(None) => Effect::no(codes::NOT_FOUND, "Stripe knows of no refund with this key."),
            Err(effect) => effect,
        }
    }
}

impl PaymentCompany for Stripe {
    fn name(&self) -> &'static str {
        "stripe"
    }

    fn authorize<'a>(&'a self, request: &'a AuthorizeRequest) -> Asking<'a> {
        let mut form = vec![
            ("amount", request.amount.minor.to_string()),
            ("currency", request.amount.currency.as_str().to_ascii_lowercase()),
            ("payment_method", request.method.as_str().to_owned()),
            ("payment_method_types[]", "card".into()),
            ("capture_method", "manual".into()),
            ("confirm", "true".into()),
            ("metadata[banyan_key]", request.key.as_str().to_owned()),
            ("metadata[banyan_order]", request.order.as_str().to_owned()),
        ];
        form.extend(request.return_url.clone().map(|url| ("return_url", url)));
        Box::pin(self.intent("/v1/payment_intents".into(), &request.key, form, About::Order(&request.order)))
    }

    fn capture<'a>(&'a self, request: &'a CaptureRequest) -> Asking<'a> {
        let mut form = vec![("amount_to_capture", request.amount.minor.to_string())];
        if !request.last {
            form.push(("final_capture", "false".into()));
        }
        let path = format!("/v1/payment_intents/{}/capture", request.payment);
        Box::pin(self.intent(path, &request.key, form, About::Payment(&request.payment)))
    }

    fn void<'a>(&'a self, request: &'a VoidRequest) -> Asking<'a> {
        let path = format!("/v1/payment_intents/{}/cancel", request.payment);
        Box::pin(self.intent(path, &request.key, Vec::new(), About::Payment(&request.payment)))
    }

    fn refund<'a>(&'a self, request: &'a RefundRequest) -> Asking<'a> {
        Box::pin(self.send_back(request))
    }

    fn query<'a>(&'a self, query: &'a Query) -> Asking<'a> {
        match query {
            Query::Payment(payment) => Box::pin(self.by_payment(payment)),
            Query::Key { key, payment: Some(payment), deed: Deed::Refund, .. } => {
                Box::pin(self.refund_by_key(key, payment))
            }
            // What else is done to a payment shows in it, and carries no key of its own.
            Query::Key { payment: Some(payment), .. } => Box::pin(self.by_payment(payment)),
            Query::Key { key, payment: None, .. } => Box::pin(self.by_key(key)),
        }
    }

    fn notice(&self, headers: &HeaderMap, body: &[u8], now: i64) -> Result<Notice, NoticeError> {
        let secret = self.webhook_secret.as_ref().ok_or(NoticeError::NoSecret)?;
        let header = headers.get("stripe-signature").and_then(|value| value.to_str().ok());
        signature::verify(secret.as_str().as_bytes(), header, body, now).map_err(NoticeError::Signature)?;
        let content = |what: &str| NoticeError::Content(what.to_owned());
        let event: Value = serde_json::from_slice(body).map_err(|_| content("it is not JSON"))?;
        let (Some(id), Some(kind)) = (event["id"].as_str(), event["type"].as_str()) else {
            return Err(content("it has no id or type"));
        };
        let object = &event["data"]["object"];
        // A charge or a refund names its payment; a payment is one.
        let named =
            if object["object"] == "payment_intent" { &object["id"] } else { &object["payment_intent"] };
        let payment = named.as_str().and_then(|id| PaymentId::new(id).ok());
        let payment = payment.ok_or_else(|| content("it is not about a payment"))?;
        // The charge within is not expanded, so what was refunded is not known: the caller queries.
        Ok(Notice { id: id.to_owned(), kind: kind.to_owned(), payment, state: None })
    }
}

fn encode(form: &Form) -> String {
    let fields: Vec<_> =
        form.iter().map(|(name, value)| format!("{}={}", percent(name), percent(value))).collect();
    fields.join("&")
}

fn refusal(reply: &Reply) -> Effect {
    let error = &reply.json["error"];
    let Some(kind) = error["type"].as_str() else { return Effect::garbage("it is no refusal of Stripe") };
    let code = error["code"].as_str().unwrap_or(kind);
    let sentence = error["message"].as_str().unwrap_or("Stripe gave no reason.");
    match reply.status.as_u16() {
        404 => Effect::no(codes::NOT_FOUND, sentence),
        // The same key is just being worked on, or two calls met on one object.
        409 => Effect::Unknown(format!("the company says {code}: {sentence}")),
        _ => Effect::no(code, sentence),
    }
}

/// What stands against a refund having sent the money back, by its own status.
fn not_sent_back(refund: &Value) -> Option<Effect> {
    match refund["status"].as_str() {
        // A pending refund is decided on; only the bank is slow.
        Some("succeeded" | "pending") => None,
        Some("failed" | "canceled") => {
            Some(Effect::no("refund-failed", "Stripe could not send the money back."))
        }
        Some("requires_action") => {
            Some(Effect::Unknown("the refund waits for somebody at Stripe: look at it there".into()))
        }
        _ => Some(Effect::garbage("the refund has no status")),
    }
}

fn judge(intent: &Value, about: About<'_>) -> Effect {
    if intent["status"] == "processing" {
        return Effect::Unknown("the payment is still being processed at Stripe: query it".into());
    }
    about.judge(state(intent))
}

fn state(intent: &Value) -> Option<PaymentState> {
    let charge = &intent["latest_charge"];
    let (captured, refunded) = if charge.is_object() { charge_amounts(charge)? } else { (0, 0) };
    let status = match intent["status"].as_str()? {
        "requires_action" | "requires_confirmation" => Status::RequiresCustomer,
        // After a failed charge an intent wants another method; before the first it has no charge.
        "requires_payment_method" if charge.is_null() && intent["last_payment_error"].is_null() => {
            Status::RequiresCustomer
        }
        "requires_payment_method" => Status::Declined,
        "requires_capture" if captured > 0 => PaymentState::settled(captured, refunded, true),
        "requires_capture" => Status::Authorized,
        "succeeded" => PaymentState::settled(captured, refunded, false),
        "canceled" => Status::Voided,
        _ => return None,
    };
    let currency = Currency::new(&intent["currency"].as_str()?.to_ascii_uppercase()).ok()?;
    Some(PaymentState {
        payment: PaymentId::new(intent["id"].as_str()?).ok()?,
        order: intent["metadata"][ORDER].as_str().map(str::to_owned),
        status,
        amount: Money::new(intent["amount"].as_i64()?, currency).ok()?,
        captured,
        refunded,
        card: card(charge),
        redirect: intent["next_action"]["redirect_to_url"]["url"].as_str().map(str::to_owned),
    })
}

/// What a charge took and gave back, in minor units.
fn charge_amounts(charge: &Value) -> Option<(i64, i64)> {
    let refunded = charge["amount_refunded"].as_i64()?;
    if let Some(captured) = charge["amount_captured"].as_i64() {
        return Some((captured, refunded));
    }
    // Before `amount_captured` there was, and in emulators, giving up the rest of a partial capture is a refund like any
    // other. Ours carry our key; the rest was never taken.
    if charge["captured"] != true {
        return Some((0, 0));
    }
    let refunds = charge["refunds"]["data"].as_array()?;
    let ours = refunds.iter().filter(|refund| refund["metadata"][KEY].is_string());
    let ours: i64 = ours.filter_map(|refund| refund["amount"].as_i64()).sum();
    Some((charge["amount"].as_i64()?.checked_sub(refunded.checked_sub(ours)?)?, ours))
}

fn card(charge: &Value) -> Option<CardShown> {
    let card = &charge["payment_method_details"]["card"];
    Some(CardShown { brand: card["brand"].as_str()?.to_owned(), last4: card["last4"].as_str()?.to_owned() })
}
