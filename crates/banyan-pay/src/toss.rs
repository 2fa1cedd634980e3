//! Toss Payments (core API, version 2022-11-16).
//!
//! Toss knows no separate capture: confirming a payment, which is `authorize` here, takes the whole amount at once. So `capture`
//! only checks that, and sends back what is not to be kept; `void` and `refund` are both a cancel. Toss finds by payment
//! or order, not by key, so each attempt to pay needs an order id of its own.
//!
//! Toss does not sign `PAYMENT_STATUS_CHANGED`: a notice is a reason to query, and carries no state.

use crate::company::{
    Asking, AuthorizeRequest, CaptureRequest, Connection, Notice, NoticeError, PaymentCompany, Query,
    RefundRequest, VoidRequest,
};
use crate::effect::{About, CardShown, Effect, PaymentState, Status, codes};
use crate::http::{Call, Http, InvalidConnection, Reply};
use crate::text::{Key, PaymentId, percent};
use banyan_domain::{Currency, Money};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Method};
use serde_json::{Value, json};

/// A connection to Toss Payments.
#[derive(Debug)]
pub struct Toss {
    http: Http,
}

impl Toss {
    /// Sets the connection up; nothing is sent yet. The real address is `https://api.tosspayments.com`.
    ///
    /// # Errors
    /// [`InvalidConnection`] if the address or the key cannot be used.
    pub fn new(connection: &Connection) -> Result<Self, InvalidConnection> {
        let token = STANDARD.encode(format!("{}:", connection.secret_key.as_str()));
        Ok(Self { http: Http::new(connection, &format!("Basic {token}"), false)? })
    }

    async fn post(&self, path: String, key: &Key, body: Value, about: About<'_>) -> Effect {
        let body = Some(("application/json", body.to_string()));
        match self.http.call(Call { method: Method::POST, path, body, key: Some(key) }).await {
            Ok(reply) => judge(&reply, about),
            Err(effect) => effect,
        }
    }

    async fn get(&self, path: String, about: About<'_>) -> Effect {
        match self.http.call(Call { method: Method::GET, path, body: None, key: None }).await {
            Ok(reply) => judge(&reply, about).of_question(),
            Err(effect) => effect,
        }
    }

    async fn pay(&self, request: &AuthorizeRequest) -> Effect {
        let (order, amount) = (request.order.as_str(), request.amount);
        if amount.currency.as_str() != "KRW" {
            return Effect::no(
                codes::CURRENCY_NOT_SUPPORTED,
                "Toss Payments is set up for KRW only. Nothing was sent.",
            );
        }
        if request.method.is_page() {
            let back = request.return_url.as_deref().unwrap_or_default();
            let body = json!({
                "method": "CARD", "amount": amount.minor, "orderId": order, "orderName": order,
                "successUrl": back, "failUrl": back,
            });
            return self.post("/v1/payments".into(), &request.key, body, About::Order(&request.order)).await;
        }
        let Ok(payment) = PaymentId::new(request.method.as_str()) else {
            return Effect::no(
                codes::NOT_SUPPORTED,
                "At Toss Payments the method is a paymentKey. Nothing was sent.",
            );
        };
        let body = json!({ "paymentKey": payment.as_str(), "orderId": order, "amount": amount.minor });
        self.post("/v1/payments/confirm".into(), &request.key, body, About::Payment(&payment)).await
    }

    async fn keep(&self, request: &CaptureRequest) -> Effect {
        let seen =
            self.get(format!("/v1/payments/{}", request.payment), About::Payment(&request.payment)).await;
        let Effect::Done(state) = &seen else { return seen };
        let kept = state.captured - state.refunded;
        let wanted = request.amount;
        match state.status {
            // The second case is the same request again, after the rest went back.
            Status::Captured | Status::PartlyRefunded if kept == wanted.minor => seen,
            Status::Captured if !request.last => {
                Effect::no(codes::NOT_SUPPORTED, "Toss Payments captures once. Nothing was done.")
            }
            Status::Captured if wanted.minor < kept && wanted.minor > 0 => {
                self.cancel(&request.payment, &request.key, Some(kept - wanted.minor)).await
            }
            Status::Captured => Effect::no("capture-exceeds", "The payment is smaller. Nothing was done."),
            _ => Effect::no("not-capturable", "The payment is not paid. Nothing was done."),
        }
    }

    async fn cancel(&self, payment: &PaymentId, key: &Key, amount: Option<i64>) -> Effect {
        let mut body = json!({ "cancelReason": "by the shop" });
        if let Some(amount) = amount {
            body["cancelAmount"] = amount.into();
        }
        self.post(format!("/v1/payments/{payment}/cancel"), key, body, About::Payment(payment)).await
    }
}

impl PaymentCompany for Toss {
    fn name(&self) -> &'static str {
        "toss"
    }

    fn authorize<'a>(&'a self, request: &'a AuthorizeRequest) -> Asking<'a> {
        Box::pin(self.pay(request))
    }

    fn capture<'a>(&'a self, request: &'a CaptureRequest) -> Asking<'a> {
        Box::pin(self.keep(request))
    }

    fn void<'a>(&'a self, request: &'a VoidRequest) -> Asking<'a> {
        Box::pin(self.cancel(&request.payment, &request.key, None))
    }

    fn refund<'a>(&'a self, request: &'a RefundRequest) -> Asking<'a> {
        Box::pin(self.cancel(&request.payment, &request.key, Some(request.amount.minor)))
    }

    fn query<'a>(&'a self, query: &'a Query) -> Asking<'a> {
        match query {
            Query::Payment(payment) | Query::Key { payment: Some(payment), .. } => {
                Box::pin(self.get(format!("/v1/payments/{payment}"), About::Payment(payment)))
            }
            Query::Key { order, payment: None, .. } => Box::pin(
                self.get(format!("/v1/payments/orders/{}", percent(order.as_str())), About::Order(order)),
            ),
        }
    }

    fn notice(&self, _: &HeaderMap, body: &[u8], _: i64) -> Result<Notice, NoticeError> {
        let content = |what: &str| NoticeError::Content(what.to_owned());
        let event: Value = serde_json::from_slice(body).map_err(|_| content("it is not JSON"))?;
        let kind = event["eventType"].as_str().filter(|kind| *kind == "PAYMENT_STATUS_CHANGED");
        let kind = kind.ok_or_else(|| content("it is not a PAYMENT_STATUS_CHANGED"))?;
        let payment = event["data"]["paymentKey"].as_str().and_then(|key| PaymentId::new(key).ok());
        let payment = payment.ok_or_else(|| content("it names no payment"))?;
        let created_at = event["createdAt"].as_str().unwrap_or_default();
        let status = event["data"]["status"].as_str().unwrap_or_default();
        // Toss gives its events no id. These three are the same when it is told again.
        let id = format!("{payment} {status} {created_at}");
        Ok(Notice { id, kind: kind.to_owned(), payment, state: None })
    }
}

fn judge(reply: &Reply, about: About<'_>) -> Effect {
    if !reply.status.is_success() {
        return match (reply.json["code"].as_str(), reply.json["message"].as_str()) {
            (Some("NOT_FOUND_PAYMENT"), Some(message)) => Effect::no(codes::NOT_FOUND, message),
            // Confirmed before under another key, or still being worked on: what is true now is for a query to say.
            (Some(code @ ("ALREADY_PROCESSED_PAYMENT" | "IDEMPOTENT_REQUEST_PROCESSING")), _) => {
                Effect::Unknown(format!("the company says {code}: query the payment"))
            }
            (Some(code), Some(message)) => Effect::no(code, message),
            _ => Effect::garbage("it is no refusal of Toss Payments"),
        };
    }
    about.judge(state(&reply.json))
}

fn state(json: &Value) -> Option<PaymentState> {
    let (total, balance) = (json["totalAmount"].as_i64()?, json["balanceAmount"].as_i64()?);
    let taken = (total, total.checked_sub(balance)?);
    // A payment in progress has a card and no money: it waits to be confirmed.
    let (status, (captured, refunded)) = match json["status"].as_str()? {
        "READY" | "IN_PROGRESS" | "WAITING_FOR_DEPOSIT" => (Status::RequiresCustomer, (0, 0)),
        "DONE" => (Status::Captured, taken),
        "PARTIAL_CANCELED" => (Status::PartlyRefunded, taken),
        "CANCELED" => (Status::Refunded, (total, total)),
        "ABORTED" => (Status::Declined, (0, 0)),
        "EXPIRED" => (Status::Expired, (0, 0)),
        _ => return None,
    };
    let number = json["card"]["number"].as_str();
    let last4 = number.and_then(|number| number.get(number.len().checked_sub(4)?..));
    Some(PaymentState {
        payment: PaymentId::new(json["paymentKey"].as_str()?).ok()?,
        order: json["orderId"].as_str().map(str::to_owned),
        status,
        amount: Money::new(total, Currency::new(json["currency"].as_str()?).ok()?).ok()?,
        captured,
        refunded,
        card: last4.map(|last4| CardShown { brand: String::new(), last4: last4.to_owned() }),
        redirect: json["checkout"]["url"].as_str().map(str::to_owned),
    })
}
