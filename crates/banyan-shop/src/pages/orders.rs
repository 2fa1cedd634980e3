//! My orders, and the way back from the payment company's page.

use super::order::state_of;
use crate::ApiError;
use crate::format::{money, time};
use crate::gate::{Fields, Visit};
use crate::layout::{Page, Place};
use crate::link;
use crate::parts;
use crate::text;
use crate::wire::{Order, Orders, cursor};
use axum::extract::Query;
use axum::response::Response;
use maud::{Markup, html};

/// Orders on a page.
const PAGE: &str = "20";

/// The signed-in member's orders, newest first.
pub(crate) async fn list(visit: Visit, Query(query): Query<Fields>) -> Response {
    let Some(member) = visit.member() else { return visit.must_sign_in("/shop/orders") };
    let title = visit.t(text::ORDERS);
    let after = query.get("after").map(String::as_str).unwrap_or_default();
    let (orders, behind) = match read(&visit, member, after).await {
        Ok(read) => read,
        Err(error) => return visit.trouble(&error),
    };
    let body = html! {
        div.title { h1 { (title) } }
        @if behind { p.notice.wait role="status" { (visit.t(text::CATCHING_UP)) } }
        @if orders.orders.is_empty() {
            (parts::empty(visit.t(text::NO_ORDERS), visit.t(text::NO_ORDERS_HINT), &html! {
                p { a.button.primary href="/shop" { (visit.t(text::BACK_TO_GOODS)) } }
            }))
        } @else {
            ul.orders { @for order in &orders.orders { (row(&visit, order)) } }
            @if let Some(next) = cursor(&orders.next) {
                nav.pager { a.button rel="next" href=(link::with("/shop/orders", &[("after", &next)])) { (visit.t(text::OLDER)) } }
            }
        }
    };
    visit.page(Page::new(title, Place::Orders, body))
}

/// A page of orders that has at least what this visitor did, and whether it could not be had.
async fn read(visit: &Visit, member: &str, after: &str) -> Result<(Orders, bool), ApiError> {
    let path = format!("/v1/members/{}/orders", link::encode(member));
    let seq = if visit.session.seq > 0 { visit.session.seq.to_string() } else { String::new() };
    let page = |seq: &str| link::with(&path, &[("limit", PAGE), ("after", after), ("at_least", seq)]);
    match visit.shop.api.get::<Orders>(&page(&seq)).await {
        Ok(orders) => Ok((orders, false)),
        // A view that is behind, or a log that is not the one this cookie knows: what there is, is better than nothing.
        Err(ApiError::Refused(refused)) if !seq.is_empty() => {
            tracing::debug!("orders of a member: {}", refused.slug);
            Ok((visit.shop.api.get::<Orders>(&page("")).await?, true))
        }
        Err(error) => Err(error),
    }
}

fn row(visit: &Visit, order: &Order) -> Markup {
    let lang = visit.lang;
    let first =
        order.lines.first().map(|line| visit.shop.catalog.name(&line.product, lang)).unwrap_or_default();
    let more = order.lines.len().saturating_sub(1);
    html! {
        li {
            div.pictures aria-hidden="true" { @for line in order.lines.iter().take(3) { (parts::picture(&line.product, 56, false)) } }
            div.what {
                a href=(parts::order_href(&order.order)) { @if more > 0 { (lang.f(text::AND_MORE, &[first, &more.to_string()])) } @else { (first) } }
                span.hint { (order.order) " · " (time(lang, &order.placed_at)) }
            }
            (state_of(lang, order))
            b.amount { (money(lang, order.total, &order.currency)) }
        }
    }
}

/// Where the payment company's page leads back to. Nothing that it says is believed: the order itself is looked at.
pub(crate) async fn come_back(visit: Visit) -> Response {
    match (&visit.session.last, visit.member()) {
        (Some(order), Some(_)) => visit.lead(&parts::order_href(order)),
        _ => visit.lead("/shop/orders"),
    }
}
