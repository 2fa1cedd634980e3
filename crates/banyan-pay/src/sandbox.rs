//! The sandbox: our own simulated payment company.

use crate::company::{
    Asking, AuthorizeRequest, CaptureRequest, Connection, Notice, NoticeError, PaymentCompany, Query,
    RefundRequest, VoidRequest,
};
use crate::effect::{About, CardShown, Effect, PaymentState, Status, codes};
use crate::http::{Call, Http, InvalidConnection, Reply};
use crate::signature;
use crate::text::{Key, PaymentId, Secret, percent};
use banyan_domain::{Currency, Money};
use http::{HeaderMap, Method};
use serde_json::{Value, json};

/// A connection to a sandbox.
#[derive(Debug)]
pub struct Sandbox {
    http: Http,
    webhook_secret: Option<Secret>,
}

impl Sandbox {
    /// Sets the connection up; nothing is sent yet.
    ///
    /// # Errors
    /// [`InvalidConnection`] if the address or the key cannot be used.
    pub fn new(connection: &Connection) -> Result<Self, InvalidConnection> {
        let http = Http::new(connection, &format!("Bearer {}", connection.secret_key.as_str()), true)?;
        Ok(Self { http, webhook_secret: connection.webhook_secret.clone() })
    }

    async fn post(&self, path: String, key: &Key, body: Value, about: About<'_>) -> Effect {
        let body = Some(("application/json", body.to_string()));
        match self.http.call(Call { method: Method::POST, path, body, key: Some(key) }).await {
            Ok(reply) => judge(&reply, about),
            Err(effect) => effect,
        }
    }

    async fn by_payment(&self, payment: &PaymentId) -> Effect {
        let path = format!("/api/payments/{payment}");
        match self.http.call(Call { method: Method::GET, path, body: None, key: None }).await {
            Ok(reply) => judge(&reply, About::Payment(payment)).of_question(),
            Err(effect) => effect,
        }
    }

    async fn by_key(&self, key: &Key) -> Effect {
        let path = format!("/api/effects?key={}", percent(key.as_str()));
        let reply = match self.http.call(Call { method: Method::GET, path, body: None, key: None }).await {
            Ok(reply) if reply.status.is_success() => reply,
            Ok(reply) => return refusal(&reply.json).of_question(),
            Err(effect) => return effect,
        };
        if reply.json["key"] != key.as_str() {
            return Effect::garbage("it is about another key");
        }
        match reply.json["status"].as_u64() {
            Some(200..300) => state(&reply.json["payment"])
                .map_or_else(|| Effect::garbage("it has no payment"), Effect::Done),
            Some(400..500) => refusal(&reply.json["answer"]),
            _ => Effect::garbage("it has no status"),
        }
    }
}

impl PaymentCompany for Sandbox {
    fn name(&self) -> &'static str {
        "sandbox"
    }

    fn authorize<'a>(&'a self, request: &'a AuthorizeRequest) -> Asking<'a> {
        let body = json!({
            "order": request.order.as_str(),
            "amount": { "minor": request.amount.minor, "currency": request.amount.currency.as_str() },
            "method": request.method.as_str(),
            "return_url": request.return_url.as_deref().unwrap_or_default(),
        });
        Box::pin(self.post("/api/payments".into(), &request.key, body, About::Order(&request.order)))
    }

    fn capture<'a>(&'a self, request: &'a CaptureRequest) -> Asking<'a> {
        let path = format!("/api/payments/{}/capture", request.payment);
        let body = json!({ "amount": request.amount.minor, "last": request.last });
        Box::pin(self.post(path, &request.key, body, About::Payment(&request.payment)))
    }

    fn void<'a>(&'a self, request: &'a VoidRequest) -> Asking<'a> {
        let path = format!("/api/payments/{}/void", request.payment);
        Box::pin(self.post(path, &request.key, json!({}), About::Payment(&request.payment)))
    }

    fn refund<'a>(&'a self, request: &'a RefundRequest) -> Asking<'a> {
        let path = format!("/api/payments/{}/refund", request.payment);
        let body = json!({ "amount": request.amount.minor });
        Box::pin(self.post(path, &request.key, body, About::Payment(&request.payment)))
    }

    fn query<'a>(&'a self, query: &'a Query) -> Asking<'a> {
        match query {
            Query::Payment(payment) => Box::pin(self.by_payment(payment)),
            Query::Key { key, .. } => Box::pin(self.by_key(key)),
        }
    }

    fn notice(&self, headers: &HeaderMap, body: &[u8], now: i64) -> Result<Notice, NoticeError> {
        let secret = self.webhook_secret.as_ref().ok_or(NoticeError::NoSecret)?;
        let header = headers.get("sandbox-signature").and_then(|value| value.to_str().ok());
        signature::verify(secret.as_str().as_bytes(), header, body, now).map_err(NoticeError::Signature)?;
        let content = |what: &str| NoticeError::Content(what.to_owned());
        let event: Value = serde_json::from_slice(body).map_err(|_| content("it is not JSON"))?;
        let text = |name: &str| event[name].as_str().map(str::to_owned);
        let (Some(id), Some(kind)) = (text("id"), text("type")) else {
            return Err(content("it has no id or type"));
        };
        let state = state(&event["payment"]).ok_or_else(|| content("it has no payment"))?;
        Ok(Notice { id, kind, payment: state.payment.clone(), state: Some(state) })
    }
}

/// What an answer says; `about` is the payment that it must be about.
fn judge(reply: &Reply, about: About<'_>) -> Effect {
    if !reply.status.is_success() {
        return refusal(&reply.json);
    }
    about.judge(state(&reply.json))
}

fn refusal(problem: &Value) -> Effect {
    match (problem["title"].as_str(), problem["detail"].as_str()) {
        (Some("payment-not-found"), Some(detail)) => Effect::no(codes::NOT_FOUND, detail),
        (Some(code), Some(detail)) => Effect::no(code, detail),
        _ => Effect::garbage("it is no refusal of the sandbox"),
    }
}

fn state(json: &Value) -> Option<PaymentState> {
    let status = match json["status"].as_str()? {
        "requires_card" => Status::RequiresCustomer,
        "authorized" => Status::Authorized,
        "partly_captured" => Status::PartlyCaptured,
        "captured" => Status::Captured,
        "partly_refunded" => Status::PartlyRefunded,
        "refunded" => Status::Refunded,
        "voided" => Status::Voided,
        "declined" => Status::Declined,
        "expired" => Status::Expired,
        _ => return None,
    };
    let currency = Currency::new(json["amount"]["currency"].as_str()?).ok()?;
    let card = json["card"].as_object().map(|card| CardShown {
        brand: card["brand"].as_str().unwrap_or_default().to_owned(),
        last4: card["last4"].as_str().unwrap_or_default().to_owned(),
    });
    Some(PaymentState {
        payment: PaymentId::new(json["payment"].as_str()?).ok()?,
        order: json["order"].as_str().map(str::to_owned),
        status,
        amount: Money::new(json["amount"]["minor"].as_i64()?, currency).ok()?,
        captured: json["captured"].as_i64()?,
        refunded: json["refunded"].as_i64()?,
        card,
        redirect: json["redirect_url"].as_str().map(str::to_owned),
    })
}
