//! The card page: where a customer gives a card, plain HTML that works without scripts.
//!
//! A card number comes in with the form, is looked at in memory and forgotten. It is not shown again, logged or stored.

mod show;
mod text;

use crate::card::{self, CHALLENGE_CODE, Number, TestCard, Wrong};
use crate::clock;
use crate::faults::{Fault, Met};
use crate::ledger::{LedgerError, Telling};
use crate::payment::{CardStep, Payment, Shape, Status};
use crate::server::App;
use axum::Router;
use axum::extract::{Form, Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use jiff::Zoned;
use jiff::tz::TimeZone;
use maud::Markup;
use show::{Notice, View};
use std::collections::BTreeMap;
use std::sync::Arc;
use text::Lang;

type Fields = BTreeMap<String, String>;

const LOOK: &str = include_str!("look.css");

/// The routes.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(home))
        .route("/pay/look.css", get(look))
        .route("/pay/{payment}", get(open).post(submit))
}

async fn home(headers: HeaderMap, Query(query): Query<Fields>) -> Response {
    answer(StatusCode::OK, show::home(lang_of(&headers, &query)), None)
}

async fn look() -> Response {
    let headers = [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "max-age=300")];
    (headers, LOOK).into_response()
}

async fn open(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Query(query): Query<Fields>,
    headers: HeaderMap,
) -> Response {
    let lang = lang_of(&headers, &query);
    match find(&app, &id).await {
        Ok(Some(payment)) => page(StatusCode::OK, lang, &payment, None, ""),
        Ok(None) => not_found(lang),
        Err(_) => trouble(lang),
    }
}

async fn submit(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Query(query): Query<Fields>,
    headers: HeaderMap,
    Form(fields): Form<Fields>,
) -> Response {
    let lang = lang_of(&headers, &query);
    let payment = match find(&app, &id).await {
        Ok(Some(payment)) => payment,
        Ok(None) => return not_found(lang),
        Err(_) => return trouble(lang),
    };
    if payment.status != Status::RequiresCard {
        return away(lang, &payment);
    }
    let expiry = fields.get("expiry").map(String::as_str).unwrap_or_default();
    let step = match read_step(&payment, &fields) {
        Ok(step) => step,
        Err(wrong) => {
            let notice = Some(Notice::Wrong(wrong));
            return page(StatusCode::UNPROCESSABLE_ENTITY, lang, &payment, notice, expiry);
        }
    };
    let drawn = app.faults.draw(Met { action: "page", key: &id, order: Some(&payment.order) });
    let (hold, late) = app.faults.times();
    if drawn.has(Fault::TimeoutBefore) {
        // The fault itself: the caller is kept waiting for as long as was asked for.
        tokio::time::sleep(hold).await;
        return trouble(lang);
    }
    let step = match step {
        CardStep::Accepted(card) if drawn.has(Fault::Decline) => CardStep::Declined(card),
        step => step,
    };
    let telling = Telling {
        twice: drawn.has(Fault::DuplicateWebhook),
        late: if drawn.has(Fault::LateWebhook) { late } else { Default::default() },
        after_next: drawn.has(Fault::UnorderedWebhooks),
    };
    let was_code = matches!(step, CardStep::Code { .. });
    let outcome = app.ledger.card(&id, step, telling).await;
    if drawn.has(Fault::ErrorAfter) {
        return trouble(lang);
    }
    if drawn.has(Fault::TimeoutAfter) {
        // As above, with the deed done.
        tokio::time::sleep(hold).await;
        return trouble(lang);
    }
    match outcome {
        Ok(Some(Ok(payment))) if payment.status != Status::RequiresCard => away(lang, &payment),
        Ok(Some(Ok(payment))) if payment.challenged && !was_code => {
            page(StatusCode::OK, lang, &payment, None, "")
        }
        Ok(Some(Ok(payment))) => {
            let notice = if was_code { Notice::WrongCode } else { Notice::Declined };
            page(StatusCode::PAYMENT_REQUIRED, lang, &payment, Some(notice), "")
        }
        // Sent twice, or from two windows: what the first one did stands.
        Ok(Some(Err(_))) => match find(&app, &id).await {
            Ok(Some(payment)) if payment.status != Status::RequiresCard => away(lang, &payment),
            Ok(Some(payment)) => page(StatusCode::CONFLICT, lang, &payment, None, ""),
            _ => trouble(lang),
        },
        Ok(None) => not_found(lang),
        Err(error) => {
            tracing::error!(%error, "the card page");
            trouble(lang)
        }
    }
}

/// What the customer did.
fn read_step(payment: &Payment, fields: &Fields) -> Result<CardStep, Wrong> {
    let field = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
    if fields.contains_key("leave") {
        return Ok(CardStep::Leave);
    }
    if payment.challenged && fields.contains_key("code") {
        return Ok(CardStep::Code { right: field("code").trim() == CHALLENGE_CODE });
    }
    if let Some(card) = TestCard::by_token(field("use")) {
        return Ok(card.step());
    }
    let step = Number::new(field("number")).step()?;
    let now = Zoned::now().with_time_zone(TimeZone::UTC);
    card::check_expiry(field("expiry"), (now.year(), now.month()))?;
    card::check_cvc(field("cvc"))?;
    Ok(step)
}

/// Sends the customer back to the shop.
fn away(lang: Lang, payment: &Payment) -> Response {
    match return_address(payment) {
        Some(address) => Redirect::to(&address).into_response(),
        None => page(StatusCode::OK, lang, payment, None, ""),
    }
}

/// The shop's address with what came of it; none if the shop gave no address.
fn return_address(payment: &Payment) -> Option<String> {
    let paid = matches!(
        payment.status,
        Status::Authorized
            | Status::PartlyCaptured
            | Status::Captured
            | Status::PartlyRefunded
            | Status::Refunded
    );
    let base = if paid || payment.fail_url.is_empty() { &payment.return_url } else { &payment.fail_url };
    if base.is_empty() {
        return None;
    }
    let result = match payment.status {
        _ if paid => "authorized",
        Status::Declined => "declined",
        Status::Expired => "expired",
        _ => "cancelled",
    };
    // Ids are visible ASCII, of which an address takes only some as they are.
    let order = percent(&payment.order);
    let query = match (payment.shape, paid) {
        (Shape::Own, _) => format!("payment={}&result={result}", payment.id),
        (Shape::Toss, true) => format!("paymentKey={}&orderId={order}&amount={}", payment.id, payment.amount),
        (Shape::Toss, false) => {
            let code = if result == "declined" { "REJECT_CARD_PAYMENT" } else { "PAY_PROCESS_CANCELED" };
            format!("code={code}&message={result}&orderId={order}")
        }
    };
    let join = if base.contains('?') { '&' } else { '?' };
    Some(format!("{base}{join}{query}"))
}

fn percent(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

async fn find(app: &Arc<App>, id: &str) -> Result<Option<Payment>, LedgerError> {
    let (reader, id) = (app.clone(), id.to_owned());
    let found = tokio::task::spawn_blocking(move || reader.ledger.payment(&id)).await;
    found.unwrap_or(Err(LedgerError::Busy))
}

fn page(status: StatusCode, lang: Lang, payment: &Payment, notice: Option<Notice>, expiry: &str) -> Response {
    let back = return_address(payment);
    let view = View { lang, payment, notice, expiry, back: back.as_deref(), now: clock::now_millis() };
    answer(status, show::payment(&view), Some(payment))
}

fn not_found(lang: Lang) -> Response {
    answer(StatusCode::NOT_FOUND, show::message(lang, text::NOT_FOUND, text::NOT_FOUND_HINT), None)
}

fn trouble(lang: Lang) -> Response {
    answer(StatusCode::SERVICE_UNAVAILABLE, show::message(lang, text::TROUBLE, text::TROUBLE_HINT), None)
}

/// A page with headers that let nothing else in.
fn answer(status: StatusCode, markup: Markup, payment: Option<&Payment>) -> Response {
    let mut response = (status, markup).into_response();
    // A form may lead, by the redirect that answers it, to the shop and nowhere else.
    let origins = payment.into_iter().flat_map(|payment| [&payment.return_url, &payment.fail_url]);
    let origins: Vec<String> = origins.filter_map(|url| origin(url)).collect();
    let policy = format!(
        "default-src 'none'; style-src 'self'; img-src data:; form-action 'self' {}; frame-ancestors 'none'; base-uri 'none'",
        origins.join(" ")
    );
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    let fixed = [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn origin(url: &str) -> Option<String> {
    let uri: http::Uri = url.parse().ok()?;
    Some(format!("{}://{}", uri.scheme_str()?, uri.authority()?))
}

fn lang_of(headers: &HeaderMap, query: &Fields) -> Lang {
    let asked = query.get("lang").and_then(|code| Lang::from_code(code));
    let preferred = || {
        let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        Lang::preferred(accepted.unwrap_or_default())
    };
    asked.unwrap_or_else(preferred)
}
