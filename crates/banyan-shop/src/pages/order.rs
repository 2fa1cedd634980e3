//! An order: its state, what it waits for, its goods and refunds, and what can be done about it.

use super::quote::{Sums, shares, sums};
use crate::format::{instant, money, points, time};
use crate::gate::{Fields, Visit};
use crate::layout::{Page, Place};
use crate::link;
use crate::parts::{self, order_href};
use crate::session::random;
use crate::text::{self, Lang};
use crate::wire::{Order, OrderLine, Orders, Refund};
use crate::{ApiError, Refused};
use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use maud::{Markup, html};

/// Seconds after which a browser without JavaScript looks again.
const AGAIN: u32 = 2;
/// How long the way to the card page is waited for before a page says so, in seconds.
const CARD_PAGE_WAIT: u8 = 2;

/// An order of the visitor, or the answer that says why not.
pub(crate) async fn own(visit: &Visit, id: &str) -> Result<Order, Response> {
    own_when_settled(visit, id, 0).await
}

/// The same once nothing of it is under way any more, or after `seconds`.
async fn own_when_settled(visit: &Visit, id: &str, seconds: u8) -> Result<Order, Response> {
    let Some(member) = visit.member() else { return Err(visit.must_sign_in(&order_href(id))) };
    let none = || visit.problem(StatusCode::NOT_FOUND, text::NO_ORDER, visit.t(text::NO_ORDER_HINT));
    let path = format!("/v1/orders/{}", link::encode(id));
    match visit.shop.api.get_when_settled::<Order>(&path, seconds).await {
        // Whether there is such an order of somebody else is nobody's business.
        Ok(order) if order.member == member => Ok(order),
        Ok(_) => Err(none()),
        // No such order, or one that only the list of the ended still has. Any other no is not about the order.
        Err(ApiError::Refused(refused)) if is_no_order(&refused) => {
            ended_long_ago(visit, member, id).await.ok_or_else(none)
        }
        Err(error) => Err(visit.trouble(&error)),
    }
}

/// Whether a refusal says that there is no such order: unknown to the state, or a number that cannot be one.
fn is_no_order(refused: &Refused) -> bool {
    matches!(refused.slug.as_str(), "order-not-found" | "invalid-request")
}

/// An order of `member` that only the list of their orders still has: the list begins before the `after` that it is given.
async fn ended_long_ago(visit: &Visit, member: &str, id: &str) -> Option<Order> {
    let next = id.strip_prefix("o-")?.parse::<u64>().ok()?.checked_add(1)?;
    let list = format!("/v1/members/{}/orders", link::encode(member));
    let list = link::with(&list, &[("limit", "1"), ("after", &format!("o-{next}"))]);
    let found = visit.shop.api.get::<Orders>(&list).await.ok()?;
    found.orders.into_iter().find(|order| order.order == id && order.member == member)
}

/// An order's page.
pub(crate) async fn show(mut visit: Visit, Path(id): Path<String>, Query(query): Query<Fields>) -> Response {
    match own(&visit, &id).await {
        Ok(order) => {
            // Who has seen it paid does not see its coupon unused, or an older list of orders, a moment later.
            visit.session.seq = visit.session.seq.max(order.seq);
            page(&visit, &order, StatusCode::OK, None, &query)
        }
        Err(response) => response,
    }
}

/// Leads to the payment company's card page as soon as there is one.
pub(crate) async fn pay(visit: Visit, Path(id): Path<String>) -> Response {
    let order = match own_when_settled(&visit, &id, CARD_PAGE_WAIT).await {
        Ok(order) => order,
        Err(response) => return response,
    };
    // Nothing is lost if it takes longer: the order's page has the way there, too.
    let Some(page) = order.redirect() else { return visit.lead(&order_href(&id)) };
    let title = visit.t(text::TO_PAGE_TITLE);
    let body = html! {
        div.empty {
            (parts::mark())
            h1 { (title) }
            p { (visit.t(text::TO_PAGE_HINT)) }
            p { a.button.primary href=(page) { (visit.t(text::TO_PAGE)) } }
        }
    };
    visit.page(Page::new(title, Place::Orders, body).onward(page))
}

/// A word that differs once there is something new to see, for the script.
pub(crate) async fn state(visit: Visit, Path(id): Path<String>) -> Response {
    match own(&visit, &id).await {
        Ok(order) => {
            let json = serde_json::json!({"mark": order.mark(), "moving": order.is_moving()}).to_string();
            ([(header::CONTENT_TYPE, "application/json")], json).into_response()
        }
        Err(response) => response,
    }
}

/// The state of an order, in a word.
pub(crate) fn state_of(lang: Lang, order: &Order) -> Markup {
    match order.state.as_str() {
        "placed" | "paid" if order.cancel_requested => parts::state(lang, "moving", text::STATE_CANCELLING),
        "placed" => parts::state(lang, "placed", text::STATE_PLACED),
        "paid" => parts::state(lang, "paid", text::STATE_PAID),
        "cancelled" => parts::state(lang, "cancelled", text::STATE_CANCELLED),
        _ => parts::state(lang, "failed", text::STATE_FAILED),
    }
}

/// The page, with what went wrong if something did.
pub(crate) fn page(
    visit: &Visit,
    order: &Order,
    status: StatusCode,
    fault: Option<&str>,
    query: &Fields,
) -> Response {
    let title = visit.lang.f(text::ORDER, &[&order.order]);
    let moving = order.is_moving();
    let watch = moving.then(|| format!("{}/state", order_href(&order.order)));
    let body = html! {
        nav.crumbs { a href="/shop/orders" { (visit.t(text::ORDERS)) } }
        div.order data-watch=[watch] data-mark=(order.mark()) {
            div.title { h1 { (title) } (state_of(visit.lang, order)) }
            @if let Some(fault) = fault { (parts::fault(fault)) }
            (parts::note(visit, query))
            (waits(visit, order))
            div.two {
                section {
                    h2 { (visit.t(text::LINES)) }
                    ul.lines { @for line in &order.lines { (goods(visit, order, line)) } }
                    (refunds(visit, order))
                }
                aside.side {
                    h2 { (visit.t(text::SUM)) }
                    (sums(visit, &sums_of(order)))
                    (facts(visit, order))
                    (actions(visit, order))
                }
            }
        }
    };
    visit.page_as(status, Page::new(&title, Place::Orders, body).again(moving.then_some(AGAIN)))
}

fn sums_of(order: &Order) -> Sums<'_> {
    let Order { currency, goods, discount, shipping, points, total, vat, .. } = order;
    let label = match order.state.as_str() {
        _ if order.paid_at.is_some() => text::SUM_PAID,
        "placed" => text::SUM_TOTAL,
        // It is over, and nothing is to pay.
        _ => text::SUM_OVER,
    };
    Sums {
        currency,
        goods: *goods,
        discount: *discount,
        shipping: *shipping,
        points: *points,
        total: *total,
        vat: *vat,
        label,
    }
}

/// What happens now, in a sentence, with the way on.
fn waits(visit: &Visit, order: &Order) -> Markup {
    let lang = visit.lang;
    let moving = |sentence: &str| html! { p.notice.wait role="status" { (sentence) } };
    match order.state.as_str() {
        "failed" => {
            let why = text::why_failed(lang, order.why.as_deref().unwrap_or("declined"));
            parts::fault(&lang.f(text::FAILED_NOW, &[&why]))
        }
        "cancelled" => html! { p.notice role="status" { (visit.t(text::CANCELLED_NOW)) } },
        "paid" if order.refunds.iter().any(|refund| refund.state == "begun") => {
            moving(visit.t(text::WAITS_REFUND))
        }
        "paid" if order.cancel_requested => moving(visit.t(text::WAITS_CANCEL)),
        "paid" if order.refunds.is_empty() => parts::well(visit.t(text::PAID_NOW)),
        "paid" => html! {},
        _ if order.cancel_requested => moving(visit.t(text::WAITS_CANCEL)),
        _ => match order.waits_for.as_ref().map(|waits| (waits.what.as_str(), waits)) {
            Some(("payment-page", waits)) => html! {
                div.notice.wait role="status" {
                    p { @match &waits.until {
                        Some(until) => (lang.f(text::WAITS_PAGE, &[&instant(lang, until)])),
                        None => (visit.t(text::WAITS_PAGE_OPEN)),
                    } }
                    @if let Some(page) = order.redirect() { p { a.button.primary href=(page) { (visit.t(text::TO_PAGE)) } } }
                }
            },
            Some(("answer", _)) => moving(visit.t(text::WAITS_ANSWER)),
            Some(("operator", _)) => moving(visit.t(text::WAITS_OPERATOR)),
            Some(("refund", _)) => moving(visit.t(text::WAITS_REFUND)),
            Some((_, waits)) => {
                tracing::debug!("order {} waits for {:?} in step {:?}", order.order, waits.what, waits.step);
                moving(visit.t(text::WAITS_ELSE))
            }
            None => moving(visit.t(text::WAITS_ANSWER)),
        },
    }
}

fn goods(visit: &Visit, order: &Order, line: &OrderLine) -> Markup {
    let lang = visit.lang;
    let amount = |minor: i64| money(lang, minor, &order.currency);
    let gross = if line.gross > 0 { line.gross } else { line.unit_price * i64::from(line.quantity) };
    html! {
        li.line {
            (parts::picture(&line.product, 72, true))
            div.what {
                a href=(parts::product_href(&line.product)) { (visit.shop.catalog.name(&line.product, lang)) }
                span.hint { (lang.f(text::UNITS, &[&line.quantity.to_string()])) " · " (lang.f(text::PRICE_EACH, &[&amount(line.unit_price)])) }
                (shares(visit, line.discount, line.points, &order.currency))
                @if line.vat > 0 { span.hint { (lang.f(text::VAT_INCLUDED, &[&amount(line.vat)])) } }
                @if line.returned > 0 { span.short { (lang.f(text::RETURNED, &[&line.returned.to_string()])) } }
            }
            b.amount { (amount(gross)) }
        }
    }
}

fn facts(visit: &Visit, order: &Order) -> Markup {
    let lang = visit.lang;
    html! {
        dl.facts {
            div { dt { (visit.t(text::PLACED_AT)) } dd { (time(lang, &order.placed_at)) } }
            @if let Some(at) = &order.paid_at { div { dt { (visit.t(text::PAID_AT)) } dd { (time(lang, at)) } } }
            @if order.refunded > 0 || order.refunded_points > 0 {
                div { dt { (visit.t(text::GIVEN_BACK)) } dd { (both(visit, order.refunded, order.refunded_points, &order.currency)) } }
            }
            @if let Some(payment) = order.payment.as_ref().filter(|payment| !payment.is_empty()) {
                div { dt { (visit.t(text::PAYMENT_ID)) } dd.mono { (payment) } }
            }
        }
    }
}

fn refunds(visit: &Visit, order: &Order) -> Markup {
    html! {
        @if !order.refunds.is_empty() {
            section.refunds {
                h2 { (visit.t(text::REFUNDS)) }
                ul { @for refund in &order.refunds { (giving_back(visit, order, refund)) } }
            }
        }
    }
}

fn giving_back(visit: &Visit, order: &Order, refund: &Refund) -> Markup {
    let lang = visit.lang;
    let (shape, word) = match refund.state.as_str() {
        "done" => ("done", text::REFUND_DONE),
        "refused" => ("refused", text::REFUND_REFUSED),
        _ => ("begun", text::REFUND_BEGUN),
    };
    let kind = if refund.kind == "cancel" { text::REFUND_CANCEL } else { text::REFUND_RETURN };
    let what: Vec<_> = refund
        .lines
        .iter()
        .map(|line| format!("{} × {}", visit.shop.catalog.name(&line.product, lang), line.quantity))
        .collect();
    html! {
        li {
            div.what {
                span { (visit.t(kind)) " " span.hint { (refund.refund) } }
                @if !what.is_empty() { span.hint { (what.join(", ")) } }
                @if refund.state == "refused" { span.short { (text::why_refused(lang, refund.why.as_deref().unwrap_or_default())) } }
                span.hint { (time(lang, refund.ended_at.as_ref().unwrap_or(&refund.begun_at))) }
            }
            (parts::state(lang, shape, word))
            b.amount {
                (money(lang, refund.amount, &order.currency))
                @if refund.points > 0 { br; (points(lang, refund.points)) }
            }
        }
    }
}

/// What can be done: cancel, return in part, buy again.
fn actions(visit: &Visit, order: &Order) -> Markup {
    let lang = visit.lang;
    let href = order_href(&order.order);
    let settling = order.cancel_requested || order.refunds.iter().any(|refund| refund.state == "begun");
    let may_cancel = matches!(order.state.as_str(), "placed" | "paid") && !settling;
    let (amount, some_points) = order.left_to_refund();
    let back = both(visit, amount, some_points, &order.currency);
    let hint = match order.state.as_str() {
        "paid" => lang.f(text::CANCEL_HINT_PAID, &[&back]),
        _ => visit.t(text::CANCEL_HINT_PLACED).to_owned(),
    };
    html! {
        @if may_cancel {
            details.action {
                summary { (visit.t(text::CANCEL)) }
                form method="post" action=(format!("{href}/cancel")) data-once="" {
                    (parts::csrf(visit))
                    p.hint { (hint) }
                    (reason(visit))
                    button.harm type="submit" { (visit.t(text::CANCEL)) }
                }
            }
        }
        @if order.state == "paid" && !settling && order.lines.iter().any(|line| line.returned < line.quantity) { (return_form(visit, order, &href)) }
        @if matches!(order.state.as_str(), "failed" | "cancelled") {
            form method="post" action=(format!("{href}/again")) {
                (parts::csrf(visit))
                button.primary.wide type="submit" { (visit.t(text::BUY_AGAIN)) }
            }
        }
    }
}

/// Money and points, as far as there are any.
fn both(visit: &Visit, amount: i64, some_points: i64, currency: &str) -> String {
    let money = money(visit.lang, amount, currency);
    if some_points == 0 { money } else { format!("{money} + {}", points(visit.lang, some_points)) }
}

fn reason(visit: &Visit) -> Markup {
    html! {
        label { span { (visit.t(text::REASON)) }
            input name="reason" maxlength="120" autocomplete="off" placeholder=(visit.t(text::REASON_HINT)); }
    }
}

fn return_form(visit: &Visit, order: &Order, href: &str) -> Markup {
    let lang = visit.lang;
    // Without a key the form could give back twice; without randomness there is no form.
    let Ok(key) = random() else { return html! {} };
    html! {
        details.action {
            summary { (visit.t(text::RETURN)) }
            form method="post" action=(format!("{href}/return")) data-once="" {
                (parts::csrf(visit))
                input type="hidden" name="key" value=(key);
                p.hint { (visit.t(text::RETURN_HINT)) }
                ul.back { @for line in order.lines.iter().filter(|line| line.returned < line.quantity) {
                    @let most = line.quantity - line.returned;
                    @let name = visit.shop.catalog.name(&line.product, lang);
                    li { span { (name) } (parts::quantity(&format!("q.{}", line.product), 0, 0, most, &lang.f(text::RETURN_QUANTITY, &[name, &most.to_string()]))) }
                } }
                (reason(visit))
                button type="submit" { (visit.t(text::RETURN_SEND)) }
            }
        }
    }
}
