//! What the company answers, in its own words or in those of Toss Payments.

use crate::clock;
use crate::payment::{No, Payment, Shape, Status};
use crate::toss;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::{Value, json};

/// An answer that is kept under its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// JSON.
    pub(crate) body: String,
    /// Whether this was answered before.
    pub(crate) replayed: bool,
}

/// A payment as the company's own API writes it.
#[derive(Serialize)]
struct PaymentJson<'a> {
    payment: &'a str,
    order: &'a str,
    status: &'static str,
    amount: MoneyJson<'a>,
    captured: i64,
    refunded: i64,
    capturable: i64,
    refundable: i64,
    card: Option<CardJson<'a>>,
    redirect_url: Option<String>,
    created_at: String,
    expires_at: Option<String>,
    simulated: bool,
}

#[derive(Serialize)]
struct MoneyJson<'a> {
    minor: i64,
    currency: &'a str,
}

#[derive(Serialize)]
struct CardJson<'a> {
    brand: &'a str,
    last4: &'a str,
}

/// Why something is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The bank says no.
    Declined,
    NotFound,
    /// The key came with another question.
    KeyReused,
    Rule(No),
    /// Toss: order or amount are not the payment's.
    OtherPayment,
    /// Toss: confirmed before, under another key.
    AlreadyProcessed,
    /// The request itself.
    Invalid(String),
    Unauthenticated,
    Busy,
    Failed,
    /// A fault that was asked for.
    Fault(&'static str),
}

impl Refused {
    fn status(&self) -> StatusCode {
        match self {
            Self::Declined => StatusCode::PAYMENT_REQUIRED,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::KeyReused | Self::Rule(No::AmountNotPositive) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Rule(_) | Self::OtherPayment | Self::AlreadyProcessed => StatusCode::CONFLICT,
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Busy => StatusCode::TOO_MANY_REQUESTS,
            Self::Failed | Self::Fault(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn slug(&self) -> &'static str {
        match self {
            Self::Declined => "card-declined",
            Self::NotFound => "payment-not-found",
            Self::KeyReused => "idempotency-key-reused",
            Self::Rule(no) => no.slug(),
            Self::OtherPayment => "other-payment",
            Self::AlreadyProcessed => "already-processed",
            Self::Invalid(_) => "invalid-request",
            Self::Unauthenticated => "unauthenticated",
            Self::Busy => "busy",
            Self::Failed => "failed",
            Self::Fault(_) => "fault",
        }
    }

    fn sentence(&self) -> &str {
        match self {
            Self::Declined => "The bank declined the card. Nothing was charged.",
            Self::NotFound => "No payment here has this id or key.",
            Self::KeyReused => "This Idempotency-Key was used for another request. Nothing was done.",
            Self::Rule(no) => no.sentence(),
            Self::OtherPayment => "Order or amount are not those of the payment. Nothing was done.",
            Self::AlreadyProcessed => "The payment was confirmed before, under another key.",
            Self::Invalid(what) => what,
            Self::Unauthenticated => "Send the sandbox's secret key.",
            Self::Busy => "Too many requests wait. Nothing was done; try again in a moment.",
            Self::Failed => {
                "The sandbox could not write its ledger. Ask again under the same key; see its log."
            }
            Self::Fault(name) => name,
        }
    }

    /// As an answer of the API that was asked.
    pub(crate) fn into_response(self, shape: Shape) -> Response {
        refused(shape, &self, None, "").into_response()
    }
}

/// The answer when it was done.
pub(crate) fn done(shape: Shape, payment: &Payment, public_url: &str) -> Answer {
    let body = match shape {
        Shape::Own => json(&own(payment, public_url)),
        Shape::Toss => toss::payment(payment, public_url).to_string(),
    };
    Answer { status: 200, body, replayed: false }
}

/// The answer when it was not.
pub(crate) fn refused(shape: Shape, why: &Refused, payment: Option<&Payment>, public_url: &str) -> Answer {
    if shape == Shape::Toss {
        let (status, code, message) = toss::error(why);
        let body = json!({ "code": code, "message": message }).to_string();
        return Answer { status, body, replayed: false };
    }
    let status = why.status().as_u16();
    let mut body = json!({
        "type": format!("/errors/{}", why.slug()),
        "title": why.slug(),
        "status": status,
        "detail": why.sentence(),
    });
    if let Some(payment) = payment {
        body["payment"] = own_value(payment, public_url);
    }
    Answer { status, body: body.to_string(), replayed: false }
}

/// What the shop is told; its id is put in front when it is sent.
pub(crate) fn event(name: &str, payment: &Payment, at: i64, public_url: &str) -> String {
    let created_at = clock::rfc3339(at);
    match payment.shape {
        Shape::Own => {
            let payment = own_value(payment, public_url);
            json!({ "type": name, "created_at": created_at, "simulated": true, "payment": payment })
                .to_string()
        }
        Shape::Toss => {
            let data = toss::payment(payment, public_url);
            json!({ "eventType": "PAYMENT_STATUS_CHANGED", "createdAt": created_at, "data": data })
                .to_string()
        }
    }
}

/// A payment in the words of the company's own API.
pub(crate) fn own_value(payment: &Payment, public_url: &str) -> Value {
    serde_json::to_value(own(payment, public_url)).unwrap_or_default()
}

fn own<'a>(payment: &'a Payment, public_url: &str) -> PaymentJson<'a> {
    PaymentJson {
        payment: &payment.id,
        order: &payment.order,
        status: payment.status.name(),
        amount: MoneyJson { minor: payment.amount, currency: &payment.currency },
        captured: payment.captured,
        refunded: payment.refunded,
        capturable: payment.capturable(),
        refundable: payment.refundable(),
        card: payment.card.as_ref().map(|card| CardJson { brand: &card.brand, last4: &card.last4 }),
        redirect_url: page_url(payment, public_url),
        created_at: clock::rfc3339(payment.created_at),
        expires_at: payment.deadline.map(clock::rfc3339),
        simulated: true,
    }
}

/// Where the customer goes to give a card, while one is needed.
pub(crate) fn page_url(payment: &Payment, public_url: &str) -> Option<String> {
    (payment.status == Status::RequiresCard).then(|| format!("{public_url}/pay/{}", payment.id))
}

fn json(value: &impl Serialize) -> String {
    // Only text and numbers: writing them cannot fail.
    serde_json::to_string(value).unwrap_or_default()
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let is_problem = status.as_u16() >= 400 && self.body.starts_with("{\"type\"");
        let mut response = (status, self.body).into_response();
        let kind = if is_problem { "application/problem+json" } else { "application/json" };
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        if self.replayed {
            headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
        }
        response
    }
}
