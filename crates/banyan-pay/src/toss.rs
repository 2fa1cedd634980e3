//! Toss Payments (core API, version 2022-11-16).
//!
//! Toss knows no separate capture: confirming a payment, which is `authorize` here, takes the whole amount at once. So `capture`
//! only checks that, and sends back what is not to be kept; `void` and `refund` are both a cancel. A payment that nobody has
//! confirmed holds no money, cannot be cancelled, and only we could confirm it: it counts as given up as it is.
//!
//! Toss finds by payment or order, not by key, so each attempt to pay needs an order id of its own. A cancel carries our key in its
//! reason: that tells one refund of a payment from another.
//!
//! Toss does not sign `PAYMENT_STATUS_CHANGED`: a notice is a reason to query, and carries no state.

use crate::company::{
    Asking, AuthorizeRequest, CaptureRequest, Connection, Deed, Notice, NoticeError, PaymentCompany, Query,
    RefundRequest, VoidRequest,
};
use crate::effect::{About, CardShown, Effect, PaymentState, Status, codes};
use crate::http::{Call, Http, InvalidConnection, Reply};
use crate::text::{Key, PaymentId, percent};
use banyan_domain::{Currency, Money, OrderId};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Method};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::fmt::Write;

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

    async fn get(&self, path: String) -> Result<Reply, Effect> {
        self.http.call(Call { method: Method::GET, path, body: None, key: None }).await
    }

    async fn by_payment(&self, payment: &PaymentId) -> Effect {
        match self.get(format!("/v1/payments/{payment}")).await {
            Ok(reply) => judge(&reply, About::Payment(payment)).of_question(),
            Err(effect) => effect,
        }
    }

    async fn pay(&self, request: &AuthorizeRequest) -> Effect {
        let (order, amount) = (wire_order(&request.order), request.amount);
        if amount.currency.as_str() != "KRW" {
            return Effect::no(
                codes::CURRENCY_NOT_SUPPORTED,
                "Toss Payments is set up for KRW only. Nothing was sent.",
            );
        }
        if request.method.is_page() {
            return self.pay_on_page(request, &order).await;
        }
        let Ok(payment) = PaymentId::new(request.method.as_str()) else {
            return Effect::no(
                codes::NOT_SUPPORTED,
                "At Toss Payments the method is a paymentKey. Nothing was sent.",
            );
        };
        self.confirm(&payment, &request.key, &order, amount).await
    }

    /// Makes a payment for Toss's page, or confirms it if the customer has been there.
    async fn pay_on_page(&self, request: &AuthorizeRequest, order: &str) -> Effect {
        let back = request.return_url.as_deref().unwrap_or_default();
        let body = json!({
            "method": "CARD", "amount": request.amount.minor, "orderId": order, "orderName": order,
            "successUrl": back, "failUrl": back,
        });
        let made = self.post("/v1/payments".into(), &request.key, body, About::Order(&request.order)).await;
        let Effect::Done(state) = made else { return made };
        // Under the same key Toss says what it said the first time. Only the payment itself tells whether somebody came.
        let reply = match self.get(format!("/v1/payments/{}", state.payment)).await {
            Ok(reply) => reply,
            Err(Effect::NotSent(why)) => return Effect::Unknown(why),
            Err(effect) => return effect,
        };
        if reply.json["status"] != "IN_PROGRESS" {
            return judge(&reply, About::Payment(&state.payment)).of_question();
        }
        let Ok(key) = Key::new(format!("{}-confirm", request.key.as_str())) else {
            return Effect::Unknown("the key is too long to confirm the payment under".into());
        };
        match self.confirm(&state.payment, &key, order, request.amount).await {
            // The payment is there all the same.
            Effect::NotSent(why) => Effect::Unknown(why),
            effect => effect,
        }
    }

    async fn confirm(&self, payment: &PaymentId, key: &Key, order: &str, amount: Money) -> Effect {
        let body = json!({ "paymentKey": payment.as_str(), "orderId": order, "amount": amount.minor });
        self.post("/v1/payments/confirm".into(), key, body, About::Payment(payment)).await
    }

    async fn keep(&self, request: &CaptureRequest) -> Effect {
        let seen = self.by_payment(&request.payment).await;
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
        let mut body = json!({ "cancelReason": reason(key) });
        if let Some(amount) = amount {
            body["cancelAmount"] = amount.into();
        }
        self.post(format!("/v1/payments/{payment}/cancel"), key, body, About::Payment(payment)).await
    }

    async fn give_up(&self, payment: &PaymentId, key: &Key) -> Effect {
        let effect = self.cancel(payment, key, None).await;
        if !matches!(effect, Effect::Refused(_)) {
            return effect;
        }
        let reply = match self.get(format!("/v1/payments/{payment}")).await {
            Ok(reply) => reply,
            Err(Effect::NotSent(why)) => return Effect::Unknown(why),
            Err(effect) => return effect,
        };
        match judge(&reply, About::Payment(payment)) {
            Effect::Done(state) if is_unconfirmed(&reply.json) => {
                Effect::Done(PaymentState { status: Status::Voided, redirect: None, ..state })
            }
            _ => effect,
        }
    }

    /// What came of an effect whose answer was lost.
    async fn lost(&self, key: &Key, order: &OrderId, payment: Option<&PaymentId>, deed: &Deed) -> Effect {
        // A paymentKey from the browser is a payment's name; without any name there is the order's.
        let token = match deed {
            Deed::Authorize(method) if !method.is_page() => PaymentId::new(method.as_str()).ok(),
            _ => None,
        };
        let (path, about) = match payment.or(token.as_ref()) {
            Some(payment) => (format!("/v1/payments/{payment}"), About::Payment(payment)),
            None => (format!("/v1/payments/orders/{}", percent(&wire_order(order))), About::Order(order)),
        };
        let reply = match self.get(path).await {
            Ok(reply) => reply,
            Err(effect) => return effect,
        };
        let seen = judge(&reply, about).of_question();
        let Effect::Done(state) = &seen else { return seen };
        match deed {
            // The customer has done their part, and our confirmation is not there: it is for us to send.
            Deed::Authorize(_) if reply.json["status"] == "IN_PROGRESS" => not_there("confirmed"),
            Deed::Authorize(_) if token.is_some() && is_unconfirmed(&reply.json) => not_there("confirmed"),
            Deed::Authorize(_) => seen,
            Deed::Capture(wanted) if state.captured - state.refunded == wanted.minor => seen,
            Deed::Capture(wanted) if state.captured == wanted.minor => seen,
            Deed::Capture(_) | Deed::Void | Deed::Refund => our_cancel(&reply.json, key).unwrap_or(seen),
        }
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
        Box::pin(self.give_up(&request.payment, &request.key))
    }

    fn refund<'a>(&'a self, request: &'a RefundRequest) -> Asking<'a> {
        Box::pin(self.cancel(&request.payment, &request.key, Some(request.amount.minor)))
    }

    fn query<'a>(&'a self, query: &'a Query) -> Asking<'a> {
        match query {
            Query::Payment(payment) => Box::pin(self.by_payment(payment)),
            Query::Key { key, order, payment, deed } => {
                Box::pin(self.lost(key, order, payment.as_ref(), deed))
            }
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

/// What stands before an order id that Toss would not take as it is.
const ORDER_PREFIX: &str = "banyan-";
/// Shortest order id that Toss takes.
const ORDER_BYTES_MIN: usize = 6;
/// Longest reason of a cancel that Toss takes, and what ours begins with.
const REASON_BYTES_MAX: usize = 200;
const REASON: &str = "by the shop: ";

/// An order's id as Toss gets it: at least six characters, so `o-17` goes as `banyan-o-17`. An id that looks as if it had gone so is
/// prefixed too, so that the way back is never in doubt.
fn wire_order(order: &OrderId) -> Cow<'_, str> {
    let plain = order.as_str();
    match plain.strip_prefix(ORDER_PREFIX) {
        None if plain.len() >= ORDER_BYTES_MIN => Cow::Borrowed(plain),
        Some(rest) if !was_prefixed(rest) => Cow::Borrowed(plain),
        _ => Cow::Owned(format!("{ORDER_PREFIX}{plain}")),
    }
}

/// The id that went to Toss as `wire`.
fn our_order(wire: &str) -> String {
    wire.strip_prefix(ORDER_PREFIX).filter(|rest| was_prefixed(rest)).unwrap_or(wire).to_owned()
}

/// Whether `rest` of an id after the prefix is something that only the prefix brings to six characters, or was prefixed itself.
fn was_prefixed(rest: &str) -> bool {
    rest.len() < ORDER_BYTES_MIN || rest.strip_prefix(ORDER_PREFIX).is_some_and(was_prefixed)
}

/// The reason of a cancel, by which it is found again.
fn reason(key: &Key) -> String {
    let text = format!("{REASON}{}", key.as_str());
    if text.len() <= REASON_BYTES_MAX {
        return text;
    }
    let mut short = String::from(REASON);
    for byte in Sha256::digest(key.as_str()) {
        // Writing to a string cannot fail.
        let _ = write!(short, "{byte:02x}");
    }
    short
}

/// What stands against a cancel of `payment` being the one under `key`, if anything does.
fn our_cancel(payment: &Value, key: &Key) -> Option<Effect> {
    let cancels = match &payment["cancels"] {
        Value::Array(cancels) => cancels.as_slice(),
        Value::Null if payment["balanceAmount"] == payment["totalAmount"] => &[],
        _ => return Some(Effect::garbage("money went back, and the payment does not say how")),
    };
    let wanted = reason(key);
    match cancels.iter().find(|cancel| cancel["cancelReason"] == wanted.as_str()) {
        None => Some(not_there("cancelled under this key")),
        Some(cancel) => match cancel["cancelStatus"].as_str() {
            Some("DONE") | None => None,
            Some(status) => Some(Effect::Unknown(format!("the cancel is {status} at Toss: query again"))),
        },
    }
}

/// Whether nothing was ever taken, and only our confirmation could take it.
fn is_unconfirmed(payment: &Value) -> bool {
    matches!(payment["status"].as_str(), Some("READY" | "IN_PROGRESS"))
}

fn not_there(what: &str) -> Effect {
    Effect::no(codes::NOT_FOUND, format!("Toss has the payment, and it is not {what}."))
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
        order: json["orderId"].as_str().map(our_order),
        status,
        amount: Money::new(total, Currency::new(json["currency"].as_str()?).ok()?).ok()?,
        captured,
        refunded,
        card: last4.map(|last4| CardShown { brand: String::new(), last4: last4.to_owned() }),
        redirect: json["checkout"]["url"].as_str().map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_id_gets_to_toss_with_six_characters_and_back_again() {
        for id in [
            "o-1",
            "o-999",
            "o-1000",
            "order-17",
            "banyan-o-17",
            "banyan-banyan-x",
            "banyan-order-17",
            "x",
            "banyan-",
        ] {
            let order = OrderId::new(id).expect("an order");
            let wire = wire_order(&order);
            assert!(wire.len() >= 6, "{wire}");
            assert_eq!(our_order(&wire), id, "{wire}");
            assert!(id.len() < 6 || id.starts_with("banyan-") || wire == id, "{wire}");
        }
        let wire = |id: &str| wire_order(&OrderId::new(id).expect("an order")).into_owned();
        assert_ne!(wire("o-17"), wire("banyan-o-17"));
    }

    #[test]
    fn a_long_key_is_told_from_another_in_the_reason_of_a_cancel() {
        let key = |last: char| Key::new(format!("{}{last}", "k".repeat(254))).expect("a key");
        assert!(reason(&key('a')).len() <= REASON_BYTES_MAX);
        assert_ne!(reason(&key('a')), reason(&key('b')));
        assert!(reason(&Key::new("short").expect("a key")).ends_with("short"));
    }
}
