//! The checkout: what it costs, line by line, how to pay, and the order itself.
//!
//! The form carries the key of this cart. The API makes one order for one key, so a double click, a reload, or going back and
//! sending it again leads to the same order. Where an answer did not come, nothing else is offered than asking under the same
//! key: an order that was made may be what stands in the way of its own second quote.

use super::quote::{Sums, order_of, quote, shares, sums};
use crate::format::money;
use crate::gate::{Posted, Visit};
use crate::layout::{Page, Place};
use crate::parts;
use crate::text::{self, Text};
use crate::wire::{Order, Quote};
use crate::{ApiError, Refused};
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode};
use jiff::Timestamp;
use maud::{Markup, html};
use serde_json::json;

/// The ways to pay: as the API takes them, and in words. The first is what a shopper should use.
const METHODS: [(&str, Text); 3] =
    [("page", text::PAY_PAGE), ("tok_ok", text::PAY_OK), ("tok_declined", text::PAY_DECLINED)];

/// The checkout.
pub(crate) async fn show(mut visit: Visit) -> Response {
    page(&mut visit, StatusCode::OK, &Draft::default()).await
}

/// A form as it was sent, to be shown again.
#[derive(Default)]
struct Draft<'a> {
    fault: Option<&'a str>,
    method: &'a str,
}

async fn page(visit: &mut Visit, status: StatusCode, draft: &Draft<'_>) -> Response {
    if visit.member().is_none() {
        return visit.must_sign_in("/shop/checkout");
    }
    if visit.session.cart.is_empty() {
        return visit.lead("/shop/cart");
    }
    if visit.session.pending.is_some() {
        return unsettled(visit, status);
    }
    let Ok(key) = visit.session.form_key().map(str::to_owned) else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let (visit, title) = (&*visit, visit.t(text::CHECKOUT));
    let body = match quote(visit, visit.member().unwrap_or_default()).await {
        Ok(quote) => html! {
            div.title { h1 { (title) } }
            @if let Some(fault) = draft.fault { (parts::fault(fault)) }
            div.two {
                section { h2 { (visit.t(text::YOUR_GOODS)) } (lines(visit, &quote)) }
                (side(visit, &quote, draft.method, &key))
            }
        },
        Err(ApiError::Refused(refused)) => html! {
            div.title { h1 { (title) } }
            @let names = names(visit, &refused.names);
            (parts::fault(&text::refused(visit.lang, &refused.slug, &refused.detail)))
            @if !names.is_empty() { p { (names) } }
            p { a.button.primary href="/shop/cart" { (visit.t(text::TO_CART)) } }
        },
        Err(error) => return visit.trouble(&error),
    };
    visit.page_as(status, Page::new(title, Place::Cart, body))
}

/// An order was sent, and nobody knows what became of it. Needs nothing of the API, which may still be away.
fn unsettled(visit: &Visit, status: StatusCode) -> Response {
    let title = visit.t(text::CHECKOUT);
    let (form, pending) = (visit.session.form.as_deref(), visit.session.pending.as_ref());
    let body = html! {
        div.title { h1 { (title) } }
        (parts::fault(visit.t(text::TROUBLE_PLACING)))
        @if let (Some(key), Some(pending)) = (form, pending) {
            form.pay method="post" action="/shop/checkout" data-once=(visit.t(text::PLACING)) {
                (parts::csrf(visit))
                input type="hidden" name="key" value=(key);
                input type="hidden" name="total" value=(pending.total);
                input type="hidden" name="method" value=(pending.method);
                button.primary type="submit" { (visit.t(text::ASK_AGAIN)) }
            }
        }
        p { a href="/shop/orders" { (visit.t(text::ORDERS)) } }
    };
    visit.page_as(status, Page::new(title, Place::Cart, body))
}

/// The form has placed an order before, of another cart or at another price.
fn placed_before(visit: &Visit) -> Response {
    let title = visit.t(text::CHECKOUT);
    let body = html! {
        div.title { h1 { (title) } }
        (parts::fault(visit.t(text::KEY_USED)))
        p { a.button.primary href="/shop/orders" { (visit.t(text::ORDERS)) } " " a.button href="/shop/cart" { (visit.t(text::TO_CART)) } }
    };
    visit.page_as(StatusCode::CONFLICT, Page::new(title, Place::Orders, body))
}

fn names(visit: &Visit, ids: &[String]) -> String {
    let names: Vec<_> = ids.iter().map(|id| visit.shop.catalog.name(id, visit.lang)).collect();
    names.join(", ")
}

/// The goods with everything that makes up their price.
fn lines(visit: &Visit, quote: &Quote) -> Markup {
    let lang = visit.lang;
    let amount = |minor: i64| money(lang, minor, &quote.currency);
    html! {
        ul.lines {
            @for line in &quote.lines {
                li.line {
                    (parts::picture(&line.product, 72, true))
                    div.what {
                        span { (visit.shop.catalog.name(&line.product, lang)) }
                        span.hint { (lang.f(text::UNITS, &[&line.quantity.to_string()])) " · " (lang.f(text::PRICE_EACH, &[&amount(line.unit_price)])) }
                        (shares(visit, line.discount, line.points, &quote.currency))
                        span.hint { (if line.vat == 0 { visit.t(text::VAT_FREE).to_owned() } else { lang.f(text::VAT_INCLUDED, &[&amount(line.vat)]) }) }
                        @if let Some(left) = line.available.filter(|left| *left < u64::from(line.quantity)) {
                            span.short { @if left == 0 { (visit.t(text::SOLD_OUT)) } @else { (lang.f(text::ONLY_LEFT, &[&left.to_string()])) } }
                        }
                    }
                    b.amount { (amount(line.gross)) }
                }
            }
        }
        p.under { a href="/shop/cart" { (visit.t(text::TO_CART)) } }
    }
}

fn side(visit: &Visit, quote: &Quote, chosen: &str, key: &str) -> Markup {
    let lang = visit.lang;
    let total = money(lang, quote.total, &quote.currency);
    let chosen = METHODS.iter().find(|(method, _)| *method == chosen).map_or("page", |(method, _)| *method);
    html! {
        aside.side aria-label=(visit.t(text::SUM)) {
            h2 { (visit.t(text::SUM)) }
            (sums(visit, &Sums::from(quote)))
            form.pay method="post" action="/shop/checkout" data-once=(visit.t(text::PLACING)) {
                (parts::csrf(visit))
                input type="hidden" name="key" value=(key);
                input type="hidden" name="total" value=(quote.total);
                @if quote.total > 0 {
                    fieldset {
                        legend { (visit.t(text::PAYMENT)) }
                        (way(visit, METHODS[0], chosen))
                        p.hint { (visit.t(text::PAY_PAGE_HINT)) }
                        details open[chosen != "page"] {
                            summary { (visit.t(text::PAY_TESTS)) }
                            @for method in &METHODS[1..] { (way(visit, *method, chosen)) }
                        }
                    }
                } @else { p { (visit.t(text::PAY_NOTHING)) } }
                button.primary.wide type="submit" { @if quote.total > 0 { (lang.f(text::PLACE, &[&total])) } @else { (visit.t(text::PLACE_FREE)) } }
                p.hint { (visit.t(text::PLACE_HINT)) }
            }
        }
    }
}

fn way(visit: &Visit, (method, word): (&str, Text), chosen: &str) -> Markup {
    html! {
        label.way { input type="radio" name="method" value=(method) checked[method == chosen]; span { (visit.t(word)) } }
    }
}

/// Places the order.
pub(crate) async fn place(mut posted: Posted) -> Response {
    let Some(member) = posted.visit.member().map(str::to_owned) else {
        return posted.visit.must_sign_in("/shop/checkout");
    };
    let key = posted.field("key").to_owned();
    let plain =
        (8..=64).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    let Ok(total) = posted.field("total").parse::<i64>() else { return broken(&posted.visit) };
    if !plain {
        return broken(&posted.visit);
    }
    if posted.visit.session.cart.is_empty() {
        // Sent a second time after the first one was answered: its order is the newest.
        let newest = posted.visit.session.last.as_deref().map(parts::order_href);
        return posted.visit.lead(newest.as_deref().unwrap_or("/shop/cart"));
    }
    let unsettled_other = posted.visit.session.pending.is_some();
    if unsettled_other && posted.visit.session.form.as_deref() != Some(key.as_str()) {
        // An older form, while an order waits for its answer: that one comes first.
        return unsettled(&posted.visit, StatusCode::CONFLICT);
    }
    let method = posted.field("method").to_owned();
    let visit = &mut posted.visit;
    let mut order = order_of(visit, &member);
    order["expect_total"] = json!(total);
    if total > 0 {
        if !METHODS.iter().any(|(known, _)| *known == method) {
            let draft = Draft { fault: Some(visit.t(text::METHOD_MISSING)), ..Draft::default() };
            return page(visit, StatusCode::UNPROCESSABLE_ENTITY, &draft).await;
        }
        order["method"] = json!(method);
        order["return_url"] = json!(format!("{}/shop/return", visit.origin));
    }
    let stamp = format!("shop/{member}/{key}");
    let placed = visit.shop.api.send::<Order>(Method::POST, "/v1/orders", Some(&order), Some(&stamp)).await;
    match placed {
        Ok(order) => {
            visit.session.ordered(&order.order, order.seq);
            visit.lead(&format!("{}/pay", parts::order_href(&order.order)))
        }
        Err(error) if visit.session.pending.is_some() && !decides(&error) || error.is_unknown() => {
            tracing::warn!("placing an order: {error}");
            visit.session.unanswered(&key, total, &method, Timestamp::now().as_second());
            unsettled(visit, StatusCode::SERVICE_UNAVAILABLE)
        }
        Err(error) if error.slug() == Some("idempotency-key-reused") => {
            (visit.session.form, visit.session.pending) = (None, None);
            placed_before(visit)
        }
        Err(ApiError::Refused(refused)) => {
            // The key stays: a refusal is not kept under it, and what was sent before may still be on its way.
            visit.session.pending = None;
            let fault = in_words(visit, &refused);
            let draft = Draft { fault: Some(&fault), method: &method };
            page(visit, StatusCode::UNPROCESSABLE_ENTITY, &draft).await
        }
        Err(error) => visit.trouble(&error),
    }
}

/// Whether the API has looked under the key and found nothing: it says no to the order itself, not to being asked now.
fn decides(error: &ApiError) -> bool {
    const NOT_NOW: [StatusCode; 4] = [
        StatusCode::UNAUTHORIZED,
        StatusCode::FORBIDDEN,
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::TOO_MANY_REQUESTS,
    ];
    match error {
        ApiError::Refused(refused) => !refused.status.is_server_error() && !NOT_NOW.contains(&refused.status),
        ApiError::Unknown(_) => false,
    }
}

fn in_words(visit: &Visit, refused: &Refused) -> String {
    let fault = text::refused(visit.lang, &refused.slug, &refused.detail);
    let names = names(visit, &refused.names);
    if names.is_empty() { fault } else { format!("{fault} ({names})") }
}

fn broken(visit: &Visit) -> Response {
    visit.problem(StatusCode::BAD_REQUEST, text::FORM_BROKEN, visit.t(text::FORM_STALE_HINT))
}
