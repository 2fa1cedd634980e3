//! The shapes of Toss Payments, as far as a shop's server needs them: create, confirm, cancel, and both ways to ask.
//!
//! Not simulated: billing keys, virtual accounts, settlements, `receipt` of a payment.

use crate::answers::{self, Refused};
use crate::api::{self, Place};
use crate::clock;
use crate::ledger::{Effect, NewPayment};
use crate::payment::{No, Payment, Shape, Status};
use crate::server::App;
use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Extensions, HeaderMap, header};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use subtle::ConstantTimeEq;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateBody {
    amount: i64,
    #[serde(default)]
    currency: Option<String>,
    order_id: String,
    #[serde(default)]
    order_name: String,
    success_url: String,
    fail_url: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConfirmBody {
    payment_key: String,
    order_id: String,
    amount: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CancelBody {
    cancel_reason: String,
    #[serde(default)]
    cancel_amount: Option<i64>,
}

/// The routes.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/payments", post(create))
        .route("/v1/payments/confirm", post(confirm))
        .route("/v1/payments/{payment}/cancel", post(cancel))
        .route("/v1/payments/{payment}", get(by_key))
        .route("/v1/payments/orders/{order}", get(by_order))
}

/// A payment as Toss writes it.
pub(crate) fn payment(payment: &Payment, public_url: &str) -> Value {
    let status = match payment.status {
        Status::RequiresCard => "READY",
        Status::Authorized => "IN_PROGRESS",
        Status::PartlyCaptured | Status::Captured => "DONE",
        Status::PartlyRefunded => "PARTIAL_CANCELED",
        Status::Refunded | Status::Voided => "CANCELED",
        Status::Declined => "ABORTED",
        Status::Expired => "EXPIRED",
    };
    let number = payment.card.as_ref().map(|card| format!("************{}", card.last4));
    let mut left = payment.captured;
    let cancels: Vec<Value> = payment
        .cancels
        .iter()
        .enumerate()
        .map(|(place, cancel)| {
            left -= cancel.amount;
            json!({
                "transactionKey": format!("{}-{}", payment.id, place + 1),
                "cancelReason": cancel.reason,
                "cancelAmount": cancel.amount,
                "refundableAmount": left,
                "canceledAt": clock::rfc3339(cancel.at),
                "cancelStatus": "DONE",
            })
        })
        .collect();
    let nothing_taken = matches!(payment.status, Status::RequiresCard | Status::Authorized);
    json!({
        "version": "2022-11-16",
        "mId": "banyan-sandbox",
        "simulated": true,
        "paymentKey": payment.id,
        "orderId": payment.order,
        "orderName": payment.title,
        "type": "NORMAL",
        "method": "카드",
        "status": status,
        "currency": payment.currency,
        "totalAmount": payment.amount,
        "balanceAmount": if nothing_taken { payment.amount } else { payment.refundable() },
        "requestedAt": clock::rfc3339(payment.created_at),
        "cancels": (!cancels.is_empty()).then_some(cancels),
        "card": number.map(|number| json!({ "number": number })),
        "checkout": answers::page_url(payment, public_url).map(|url| json!({ "url": url })),
    })
}

/// Status, code and sentence of a refusal.
pub(crate) fn error(why: &Refused) -> (u16, &'static str, String) {
    let (status, code, message) = match why {
        Refused::Declined => (403, "REJECT_CARD_PAYMENT", "한도초과 혹은 잔액부족으로 결제에 실패했습니다."),
        Refused::NotFound => (404, "NOT_FOUND_PAYMENT", "존재하지 않는 결제 정보 입니다."),
        Refused::KeyReused => (422, "INVALID_IDEMPOTENCY_KEY", "멱등키가 다른 요청에 사용되었습니다."),
        Refused::OtherPayment => (400, "INVALID_REQUEST", "주문번호 또는 금액이 결제 정보와 다릅니다."),
        Refused::AlreadyProcessed => (400, "ALREADY_PROCESSED_PAYMENT", "이미 처리된 결제 입니다."),
        Refused::Rule(No::NotCapturable) => {
            (404, "NOT_FOUND_PAYMENT_SESSION", "결제 시간이 만료되어 결제 진행 데이터가 존재하지 않습니다.")
        }
        Refused::Rule(No::RefundExceeds) => (403, "NOT_CANCELABLE_AMOUNT", "취소 할 수 없는 금액 입니다."),
        Refused::Rule(No::NotVoidable) => (400, "ALREADY_CANCELED_PAYMENT", "이미 취소된 결제 입니다."),
        Refused::Rule(No::NotRefundable) => (403, "NOT_CANCELABLE_PAYMENT", "취소 할 수 없는 결제 입니다."),
        Refused::Rule(_) => (400, "INVALID_REQUEST", "잘못된 요청입니다."),
        Refused::Invalid(what) => return (400, "INVALID_REQUEST", what.clone()),
        Refused::Unauthenticated => {
            (401, "UNAUTHORIZED_KEY", "인증되지 않은 시크릿 키 혹은 클라이언트 키 입니다.")
        }
        Refused::Busy => (429, "TOO_MANY_REQUESTS", "요청이 너무 많습니다. 잠시 후 다시 시도해주세요."),
        Refused::Failed => {
            (500, "FAILED_INTERNAL_SYSTEM_PROCESSING", "내부 시스템 처리 작업이 실패했습니다.")
        }
        Refused::Fault(name) => return (500, "FAILED_INTERNAL_SYSTEM_PROCESSING", (*name).to_owned()),
    };
    (status, code, message.to_owned())
}

async fn create(
    State(app): State<Arc<App>>,
    extensions: Extensions,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Response> {
    check_key(&app, &headers).map_err(no)?;
    let new: CreateBody = api::parse(&body).map_err(invalid)?;
    let new = NewPayment {
        shape: Shape::Toss,
        order: order_id(new.order_id).map_err(invalid)?,
        amount: api::positive("amount", new.amount).map_err(invalid)?,
        currency: api::currency(new.currency.unwrap_or_else(|| "KRW".into())).map_err(invalid)?,
        card: None,
        title: api::title(new.order_name).map_err(invalid)?,
        return_url: api::url("successUrl", new.success_url).map_err(invalid)?,
        fail_url: api::url("failUrl", new.fail_url).map_err(invalid)?,
    };
    let place =
        Place { shape: Shape::Toss, action: "authorize", path: "/v1/payments", order: Some(&new.order) };
    Ok(api::effect(&app, &extensions, &headers, &body, place, Effect::Create(new.clone())).await)
}

async fn confirm(
    State(app): State<Arc<App>>,
    extensions: Extensions,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Response> {
    check_key(&app, &headers).map_err(no)?;
    let asked: ConfirmBody = api::parse(&body).map_err(invalid)?;
    let place = Place {
        shape: Shape::Toss,
        action: "confirm",
        path: "/v1/payments/confirm",
        order: Some(&asked.order_id),
    };
    let effect = Effect::Confirm {
        payment: asked.payment_key.clone(),
        order: asked.order_id.clone(),
        amount: asked.amount,
    };
    Ok(api::effect(&app, &extensions, &headers, &body, place, effect).await)
}

async fn cancel(
    State(app): State<Arc<App>>,
    Path(payment): Path<String>,
    extensions: Extensions,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Response> {
    check_key(&app, &headers).map_err(no)?;
    let asked: CancelBody = api::parse(&body).map_err(invalid)?;
    if asked.cancel_reason.is_empty() || asked.cancel_reason.chars().count() > 200 {
        return Err(invalid("cancelReason must have 1 to 200 characters".into()));
    }
    let place = Place { shape: Shape::Toss, action: "cancel", path: &payment, order: None };
    let effect =
        Effect::Cancel { payment: payment.clone(), reason: asked.cancel_reason, amount: asked.cancel_amount };
    Ok(api::effect(&app, &extensions, &headers, &body, place, effect).await)
}

async fn by_key(
    State(app): State<Arc<App>>,
    Path(payment): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Response> {
    check_key(&app, &headers).map_err(no)?;
    find(&app, move |app| app.ledger.payment(&payment)).await
}

async fn by_order(
    State(app): State<Arc<App>>,
    Path(order): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Response> {
    check_key(&app, &headers).map_err(no)?;
    find(&app, move |app| app.ledger.payment_of_order(&order)).await
}

async fn find(
    app: &Arc<App>,
    work: impl FnOnce(&App) -> Result<Option<Payment>, crate::ledger::LedgerError> + Send + 'static,
) -> Result<Response, Response> {
    let found = api::blocking(app, Shape::Toss, work).await?;
    let found = found.ok_or_else(|| Refused::NotFound.into_response(Shape::Toss))?;
    Ok(answers::done(Shape::Toss, &found, &app.public_url).into_response())
}

/// Checks an order id as Toss does.
fn order_id(text: String) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_=".contains(&b);
    if (6..=64).contains(&text.len()) && text.bytes().all(plain) {
        Ok(text)
    } else {
        Err("orderId must be 6 to 64 letters, digits, -, _ and =".into())
    }
}

fn invalid(what: String) -> Response {
    no(Refused::Invalid(what))
}

fn no(why: Refused) -> Response {
    why.into_response(Shape::Toss)
}

/// Basic authentication: the secret key, a colon, no password.
fn check_key(app: &App, headers: &HeaderMap) -> Result<(), Refused> {
    let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let sent =
        sent.and_then(|value| value.strip_prefix("Basic ")).and_then(|text| STANDARD.decode(text).ok());
    let wanted = format!("{}:", app.options.secret_key);
    let same = sent.is_some_and(|sent| bool::from(sent.ct_eq(wanted.as_bytes())));
    if same { Ok(()) } else { Err(Refused::Unauthenticated) }
}
