//! The company's own API: JSON, a bearer key, and an idempotency key on everything that does something.

use crate::answers::{self, Refused};
use crate::card::{PAGE_TOKEN, TEST_CARDS, TestCard};
use crate::faults::{Fault, Met};
use crate::ledger::{Asked, Effect, Filter, LedgerError, NewPayment, Telling};
use crate::payment::{Action, Payment, Shape, Status};
use crate::server::{App, Twice};
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use http::{Extensions, HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// Payments of one page of a list, at most.
const LIST_MAX: usize = 1_000;

/// Parameters of an address.
pub(crate) type Params = BTreeMap<String, String>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateBody {
    order: String,
    amount: Money,
    /// A test card's token, or `page`.
    method: String,
    #[serde(default)]
    return_url: String,
    #[serde(default)]
    description: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Money {
    minor: i64,
    currency: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaptureBody {
    amount: Option<i64>,
    #[serde(default = "yes")]
    last: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefundBody {
    amount: Option<i64>,
}

const fn yes() -> bool {
    true
}

/// Where a request came in, and what names it for faults and for telling requests apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) shape: Shape,
    pub(crate) action: &'a str,
    /// The payment or path: part of what makes two requests the same.
    pub(crate) path: &'a str,
    pub(crate) order: Option<&'a str>,
}

/// The routes.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/api/payments", post(create).get(list))
        .route("/api/payments/{payment}", get(show))
        .route("/api/payments/{payment}/{action}", post(act))
        .route("/api/effects", get(remembered))
}

async fn create(
    State(app): State<Arc<App>>,
    extensions: Extensions,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Response> {
    check_key(&app, &headers).map_err(no)?;
    let new: CreateBody = parse(&body).map_err(invalid)?;
    let card = match new.method.as_str() {
        PAGE_TOKEN => None,
        token => Some(TestCard::by_token(token).ok_or_else(|| {
            let tokens: Vec<_> = TEST_CARDS.iter().map(|card| card.token).collect();
            invalid(format!("method must be {PAGE_TOKEN} or one of {}", tokens.join(", ")))
        })?),
    };
    let return_url = match new.return_url {
        url if url.is_empty() => url,
        given => url("return_url", given).map_err(invalid)?,
    };
    let new = NewPayment {
        shape: Shape::Own,
        order: visible("order", new.order, 64).map_err(invalid)?,
        amount: positive("amount.minor", new.amount.minor).map_err(invalid)?,
        currency: currency(new.amount.currency).map_err(invalid)?,
        card: card.map(TestCard::step),
        title: title(new.description).map_err(invalid)?,
        return_url,
        fail_url: String::new(),
    };
    let order = new.order.clone();
    let place = Place { shape: Shape::Own, action: "authorize", path: "/api/payments", order: Some(&order) };
    Ok(effect(&app, &extensions, &headers, &body, place, Effect::Create(new)).await)
}

async fn act(
    State(app): State<Arc<App>>,
    Path((payment, action)): Path<(String, String)>,
    extensions: Extensions,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Response> {
    check_key(&app, &headers).map_err(no)?;
    let text: &[u8] = if body.is_empty() { b"{}" } else { &body };
    let asked = match action.as_str() {
        "capture" => {
            let CaptureBody { amount, last } = parse(text).map_err(invalid)?;
            Action::Capture { amount, last }
        }
        "void" => Action::Void,
        "refund" => {
            let RefundBody { amount } = parse(text).map_err(invalid)?;
            Action::Refund { amount }
        }
        _ => return Err(invalid("a payment can be captured, voided and refunded".into())),
    };
    let place = Place { shape: Shape::Own, action: &action, path: &payment, order: None };
    let wanted = Effect::Act { payment: payment.clone(), action: asked };
    Ok(effect(&app, &extensions, &headers, &body, place, wanted).await)
}

async fn show(
    State(app): State<Arc<App>>,
    Path(payment): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Response> {
    check_key(&app, &headers).map_err(no)?;
    let found = blocking(&app, Shape::Own, move |app| app.ledger.payment(&payment)).await?;
    let found = found.ok_or_else(|| Refused::NotFound.into_response(Shape::Own))?;
    Ok(answers::done(Shape::Own, &found, &app.public_url).into_response())
}

async fn list(
    State(app): State<Arc<App>>,
    Query(params): Query<Params>,
    headers: HeaderMap,
) -> Result<Response, Response> {
    check_key(&app, &headers).map_err(no)?;
    let filter = filter(&params).map_err(invalid)?;
    let limit = filter.limit;
    let payments = blocking(&app, Shape::Own, move |app| app.ledger.list(&filter)).await?;
    Ok(json_answer(&page_of(&app, &payments, limit)))
}

/// What came of a key: its first answer, and the payment as it is now.
async fn remembered(
    State(app): State<Arc<App>>,
    Query(params): Query<Params>,
    headers: HeaderMap,
) -> Result<Response, Response> {
    check_key(&app, &headers).map_err(no)?;
    let key = params.get("key").cloned().unwrap_or_default();
    let scoped = scoped(Shape::Own, &key);
    let found = blocking(&app, Shape::Own, move |app| app.ledger.remembered(&scoped)).await?;
    let found = found.ok_or_else(|| Refused::NotFound.into_response(Shape::Own))?;
    let answer: Value = serde_json::from_str(&found.body).unwrap_or_default();
    let payment = found.payment.map(|payment| answers::own_value(&payment, &app.public_url));
    Ok(json_answer(&json!({
        "key": key, "action": found.action, "status": found.status, "answer": answer, "payment": payment,
    })))
}

/// Carries an effect out, with the faults that it meets.
pub(crate) async fn effect(
    app: &Arc<App>,
    extensions: &Extensions,
    headers: &HeaderMap,
    body: &[u8],
    place: Place<'_>,
    effect: Effect,
) -> Response {
    let shape = place.shape;
    let key = match key_of(headers, shape) {
        Ok(key) => key,
        Err(what) => return Refused::Invalid(what).into_response(shape),
    };
    let drawn = app.faults.draw(Met { action: place.action, key: &key, order: place.order });
    let (hold, late) = app.faults.times();
    let timed_out = || Refused::Fault("This is a time-out that was asked for.").into_response(shape);
    if drawn.has(Fault::TimeoutBefore) {
        // The fault itself: the caller is kept waiting for as long as was asked for.
        tokio::time::sleep(hold).await;
        return timed_out();
    }
    let mut fingerprint = blake3::Hasher::new();
    for part in [place.action.as_bytes(), place.path.as_bytes(), body] {
        fingerprint.update(&part.len().to_le_bytes()).update(part);
    }
    let asked = Asked {
        shape,
        key: scoped(shape, &key),
        fingerprint: *fingerprint.finalize().as_bytes(),
        effect,
        decline: drawn.has(Fault::Decline),
        telling: Telling {
            twice: drawn.has(Fault::DuplicateWebhook),
            late: if drawn.has(Fault::LateWebhook) { late } else { Default::default() },
            after_next: drawn.has(Fault::UnorderedWebhooks),
        },
    };
    let answer = match app.ledger.effect(asked).await {
        Ok(answer) => answer,
        Err(error) => return store_failed(&error, shape),
    };
    if drawn.has(Fault::ErrorAfter) {
        return Refused::Fault("This is an error that was asked for. It was done all the same.")
            .into_response(shape);
    }
    if drawn.has(Fault::TimeoutAfter) {
        // As above, with the deed done.
        tokio::time::sleep(hold).await;
        return timed_out();
    }
    if drawn.has(Fault::AnswerTwice)
        && let Some(twice) = extensions.get::<Twice>()
    {
        twice.ask();
    }
    answer.into_response()
}

/// Reads the ledger without holding up others.
pub(crate) async fn blocking<T: Send + 'static>(
    app: &Arc<App>,
    shape: Shape,
    work: impl FnOnce(&App) -> Result<T, LedgerError> + Send + 'static,
) -> Result<T, Response> {
    let app = app.clone();
    let done = tokio::task::spawn_blocking(move || work(&app)).await;
    match done {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(store_failed(&error, shape)),
        Err(_) => Err(Refused::Failed.into_response(shape)),
    }
}

fn store_failed(error: &LedgerError, shape: Shape) -> Response {
    match error {
        LedgerError::Busy => Refused::Busy.into_response(shape),
        LedgerError::Failed(_) => {
            tracing::error!(%error, "the sandbox's ledger");
            Refused::Failed.into_response(shape)
        }
    }
}

fn key_of(headers: &HeaderMap, shape: Shape) -> Result<String, String> {
    let Some(key) = headers.get("idempotency-key") else {
        if shape == Shape::Own {
            return Err("send an Idempotency-Key of your own making: the same when you ask again".into());
        }
        // Toss lets a shop go without: then every request is a new one.
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| format!("asking the system for randomness: {error}"))?;
        return Ok(format!("none-{:032x}", u128::from_le_bytes(random)));
    };
    let key = key.to_str().ok().filter(|key| !key.is_empty() && key.len() <= 255);
    let key = key.filter(|key| key.bytes().all(|b| b.is_ascii_graphic()));
    key.map(str::to_owned).ok_or_else(|| "Idempotency-Key must be 1 to 255 visible ASCII characters".into())
}

/// The key as it is stored: each API has keys of its own.
fn scoped(shape: Shape, key: &str) -> String {
    match shape {
        Shape::Own => format!("own:{key}"),
        Shape::Toss => format!("toss:{key}"),
    }
}

/// A list of payments, and where the next page begins.
pub(crate) fn page_of(app: &App, payments: &[Payment], limit: usize) -> Value {
    let shown: Vec<_> = payments.iter().map(|one| answers::own_value(one, &app.public_url)).collect();
    let next = payments.last().filter(|_| payments.len() == limit).map(|last| last.no.to_string());
    json!({ "payments": shown, "next": next })
}

/// What a list is to hold.
pub(crate) fn filter(params: &Params) -> Result<Filter, String> {
    let number = |name: &str| match params.get(name) {
        None => Ok(None),
        Some(text) => text.parse::<u32>().map(Some).map_err(|_| format!("{name} must be a number")),
    };
    let status = match params.get("status") {
        None => None,
        Some(name) => Some(Status::from_name(name).ok_or_else(|| {
            let names = Status::ALL.map(Status::name).join(", ");
            format!("status must be one of {names}")
        })?),
    };
    let limit = number("limit")?.map_or(100, |limit| limit as usize);
    if !(1..=LIST_MAX).contains(&limit) {
        return Err(format!("limit must be 1 to {LIST_MAX}"));
    }
    let after = number("cursor")?.map_or(0, i64::from);
    Ok(Filter { order: params.get("order").cloned(), status, after, limit })
}

/// JSON with status 200.
pub(crate) fn json_answer(value: &Value) -> Response {
    let kind = HeaderValue::from_static("application/json");
    (StatusCode::OK, [(header::CONTENT_TYPE, kind)], value.to_string()).into_response()
}

/// Reads a body.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| format!("the body cannot be understood: {error}"))
}

/// Checks a short id.
pub(crate) fn visible(name: &str, text: String, bytes_max: usize) -> Result<String, String> {
    let fits = !text.is_empty() && text.len() <= bytes_max && text.bytes().all(|b| b.is_ascii_graphic());
    if fits { Ok(text) } else { Err(format!("{name} must be 1 to {bytes_max} visible ASCII characters")) }
}

/// Checks an amount.
pub(crate) fn positive(name: &str, amount: i64) -> Result<i64, String> {
    // Far from where sums over all payments could overflow.
    if (1..=1_000_000_000_000).contains(&amount) {
        Ok(amount)
    } else {
        Err(format!("{name} must be 1 to 1,000,000,000,000 minor units"))
    }
}

/// Checks a currency.
pub(crate) fn currency(code: String) -> Result<String, String> {
    let fits = code.len() == 3 && code.bytes().all(|b| b.is_ascii_uppercase());
    if fits { Ok(code) } else { Err("the currency must be three upper-case letters, such as KRW".into()) }
}

/// Checks what the customer is told.
pub(crate) fn title(text: String) -> Result<String, String> {
    let fits = text.len() <= 200 && !text.chars().any(char::is_control);
    if fits {
        Ok(text)
    } else {
        Err("the description must be at most 200 bytes without control characters".into())
    }
}

/// Checks where the customer goes back to.
pub(crate) fn url(name: &str, text: String) -> Result<String, String> {
    let parsed: Option<http::Uri> = text.parse().ok();
    let fits = parsed.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.authority().is_some_and(|host| !host.as_str().contains('@'))
    });
    let fits = fits && text.len() <= 2_000 && !text.contains(['#', '"', '\'', '<', '>', ';', ',']);
    if fits {
        Ok(text)
    } else {
        Err(format!("{name} must be an http or https address of at most 2000 characters"))
    }
}

fn invalid(what: String) -> Response {
    no(Refused::Invalid(what))
}

fn no(why: Refused) -> Response {
    why.into_response(Shape::Own)
}

fn check_key(app: &App, headers: &HeaderMap) -> Result<(), Refused> {
    if bearer_is(headers, &app.options.secret_key) { Ok(()) } else { Err(Refused::Unauthenticated) }
}

/// Whether a request carries `key`.
pub(crate) fn bearer_is(headers: &HeaderMap, key: &str) -> bool {
    let sent = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let sent = sent.and_then(|sent| sent.strip_prefix(b"Bearer "));
    sent.is_some_and(|sent| bool::from(sent.ct_eq(key.as_bytes())))
}
