//! One order: its lines, what was given back, what it waits for, and cancelling it.

use crate::format;
use crate::forms::{self, Action, Attempt, Refused, wrong};
use crate::gate::{Fields, OperatorForm, Viewer};
use crate::layout::{self, Page, Section, fact};
use crate::link;
use crate::log_pages::{self, Found, LOOK_EVENTS_MAX, Look};
use crate::pages::orders::{Waits, recorded, state};
use crate::pages::{look, read_record};
use crate::parts;
use crate::text::{self, Lang, Text};
use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Redirect, Response};
use banyan_domain::order::{self, Event as OrderEvent, Order, OrderLine, OrderState, Refund, RefundState};
use banyan_domain::saga::StepState;
use banyan_domain::{Command, Currency, Entry, Event, OrderNo};
use http::StatusCode;
use maud::{Markup, html};

/// Events of an order shown: the newest.
const EVENTS_SHOWN: usize = 100;
/// Refunds shown: the newest. There may be a thousand.
const REFUNDS_SHOWN: usize = 100;

/// Shows an order.
pub(crate) async fn show(viewer: Viewer, Path(id): Path<String>, Query(query): Query<Fields>) -> Response {
    page(&viewer, &id, &query, StatusCode::OK, None).await
}

/// Cancels an order.
pub(crate) async fn change(Path(id): Path<String>, form: OperatorForm) -> Response {
    let OperatorForm { viewer, fields } = form;
    let Ok(no) = OrderNo::parse(&id) else { return no_such(&viewer, &id) };
    match cancel(&viewer, no, &fields).await {
        Ok(seq) => {
            Redirect::to(&link::with(&parts::order_href(no), &[("done", &seq.to_string())])).into_response()
        }
        Err((status, why)) => {
            let attempt = Attempt { fields, why };
            page(&viewer, &id, &Fields::new(), status, Some(&attempt)).await
        }
    }
}

async fn cancel(viewer: &Viewer, order: OrderNo, fields: &Fields) -> Result<u64, Refused> {
    let lang = viewer.lang();
    let reason = forms::reason(lang, forms::field(fields, "reason")).map_err(wrong)?;
    if forms::field(fields, "action") != "cancel" {
        return Err((StatusCode::BAD_REQUEST, lang.t(text::FORM_AGAIN).into()));
    }
    let stamp = forms::stamp(viewer, fields, &format!("cancel {order} {reason}"))?;
    let command =
        order::Command::Cancel { order, owner: None, by: viewer.who.principal.name.clone(), reason };
    let (_, seq) = forms::ask(viewer, Command::Order(command), Some(stamp)).await?;
    Ok(seq)
}

fn no_such(viewer: &Viewer, id: &str) -> Response {
    let lang = viewer.lang();
    let hint = lang.f(text::NO_SUCH_ORDER_HINT, &[id]);
    viewer.problem(StatusCode::NOT_FOUND, lang.t(text::NO_SUCH_ORDER), &hint)
}

async fn page(
    viewer: &Viewer,
    id: &str,
    query: &Fields,
    status: StatusCode,
    attempt: Option<&Attempt>,
) -> Response {
    let lang = viewer.lang();
    let Ok(no) = OrderNo::parse(id) else { return no_such(viewer, id) };
    let seen = look(viewer, move |state| {
        let order = state.orders().order(no)?;
        Some((order.clone(), Waits::of(state, order), state.seq()))
    });
    let (order, waits, seq) = match seen.await {
        Ok(Some((order, waits, seq))) => (order, waits, Some(seq)),
        Err(problem) => return problem,
        // It left memory: the record store has it for good.
        Ok(None) => match read_record(viewer, move |record| record.order(no)).await {
            Ok(record) => match record.and_then(recorded) {
                Some(order) => (order, None, None),
                None => return no_such(viewer, id),
            },
            Err(why) => {
                let hint = lang.f(text::RECORD_UNREADABLE_HINT, &[&why]);
                let title = lang.t(text::RECORD_UNREADABLE);
                return viewer.problem(StatusCode::SERVICE_UNAVAILABLE, title, &hint);
            }
        },
    };
    let events = log_pages::off_thread(viewer.console.app.shard(), move |shard| {
        log_pages::look_back(shard, u64::MAX, EVENTS_SHOWN, &|entry| wanted(entry, no))
    });
    let events = events.await;
    let body = html! {
        nav.crumbs { a href="/console/orders" { (lang.t(text::ORDERS)) } }
        (layout::title(id, &html! { (state(lang, order.state)) (parts::copy(lang, id, "")) }))
        @if let Ok(events) = &events { (done(lang, &events.events, query)) }
        (notices(lang, &order, waits.as_ref()))
        (totals(lang, &order))
        div.columns {
            div {
                (lines(lang, &order))
                (refunds(lang, &order))
                (history(viewer, events.as_ref().map(|page| page.events.as_slice()).map_err(String::as_str)))
            }
            div.side-column {
                (panel(viewer, &order, attempt))
                (facts(viewer, &order))
            }
        }
        @if let Some(seq) = seq { p.hint { (lang.f(text::AS_OF_NOW, &[&format::number(seq)])) } }
        (parts::curl(viewer, &format!("/v1/orders/{id}")))
    };
    (status, Page::new(id, Section::Orders, body).show(viewer)).into_response()
}

fn wanted(entry: &Entry, order: OrderNo) -> Look {
    match &entry.event {
        Event::Order(event) if event.order() == Some(order) => match event {
            OrderEvent::Placed { .. } => Look::Last,
            _ => Look::Keep,
        },
        _ => Look::Pass,
    }
}

/// What a cancellation became: told from the event itself. The answer names the last event of all that followed at once.
fn done(lang: Lang, events: &[Found], query: &Fields) -> Markup {
    /// Events that may follow from a cancellation at once.
    const FOLLOWED_MAX: u64 = 128;
    let Some(answered) = query.get("done").and_then(|seq| seq.parse::<u64>().ok()) else { return html! {} };
    let is_cancel = |found: &&Found| {
        (answered.saturating_sub(FOLLOWED_MAX)..=answered).contains(&found.seq)
            && matches!(
                found.entry.event,
                Event::Order(
                    OrderEvent::CancelRequested { .. } | OrderEvent::RefundBegun { cancel: true, .. }
                )
            )
    };
    let Some(found) = events.iter().find(is_cancel) else { return html! {} };
    html! {
        p.notice.well role="status" {
            strong { (lang.t(text::ORDER_CANCEL_DONE)) ". " } (lang.t(text::BECAME)) " "
            a href=(parts::event_href(found.seq)) { (lang.f(text::EVENT_N, &[&format::number(found.seq)])) } ". " (lang.t(text::NO_WAY_BACK))
        }
    }
}

fn notices(lang: Lang, order: &Order, waits: Option<&Waits>) -> Markup {
    let until = waits.and_then(|waits| match &waits.at {
        Some((_, StepState::Doing(tried))) if tried.mode == banyan_domain::saga::Mode::Awaiting => {
            Some(tried.until)
        }
        _ => None,
    });
    html! {
        @if let Some(waits) = waits {
            div .notice .wait[waits.is_parked] role="status" {
                strong { (lang.t(if waits.is_parked { text::ORDER_PARKED } else { text::ORDER_WAITS })) ": " }
                (waits.words(lang))
                @if let Some(until) = until { ", " (lang.t(text::UNTIL)) " " (parts::time(lang, until)) }
            }
        }
        @if order.cancel_requested && order.state == OrderState::Placed { p.notice { (lang.t(text::CANCEL_REQUESTED)) } }
        @if let Some(why) = &order.why { p.notice { (lang.t(text::ORDER_FAILED)) ": " (why) } }
    }
}

fn totals(lang: Lang, order: &Order) -> Markup {
    let amount = |minor: i64| html! { span.num { (format::amount(minor.into(), order.currency)) } };
    html! {
        dl.totals {
            (fact(lang.t(text::TOTAL), &amount(order.total())))
            (fact(lang.t(text::GOODS), &amount(order.goods())))
            @if order.discount() != 0 { (fact(lang.t(text::DISCOUNT), &amount(-order.discount()))) }
            (fact(lang.t(text::SHIPPING), &amount(order.shipping)))
            @if order.points() != 0 { (fact(lang.t(text::POINTS), &amount(-order.points()))) }
            (fact(lang.t(text::VAT_IN_IT), &amount(order.vat())))
            @if order.refunded() != 0 { (fact(lang.t(text::REFUNDED), &amount(order.refunded()))) }
        }
    }
}

/// The columns of an order's lines, beside the product.
const LINE_COLUMNS: [Text; 8] = [
    text::UNITS,
    text::UNIT_PRICE,
    text::GROSS,
    text::DISCOUNT,
    text::POINTS,
    text::PAID_AMOUNT,
    text::VAT_IN_IT,
    text::RETURNED,
];

fn lines(lang: Lang, order: &Order) -> Markup {
    let amount = |word: Text, minor: i64| html! { td.num data-label=(lang.t(word)) { @if minor == 0 { span.hint.none { "0" } } @else { (format::plain_amount(minor.into(), order.currency)) } } };
    html! {
        section {
            header.line { h2 { (lang.t(text::LINES)) } span.hint { (order.currency) } }
            table.stack {
                thead { tr {
                    th scope="col" { (lang.t(text::PRODUCT)) }
                    @for word in LINE_COLUMNS {
                        th.num scope="col" { (lang.t(word)) }
                    }
                } }
                tbody { @for (at, line) in order.lines.iter().enumerate() {
                    tr {
                        th scope="row" { a href=(product_href(line)) { (line.product) } }
                        td.num data-label=(lang.t(text::UNITS)) { (format::number(line.quantity.into())) }
                        (amount(text::UNIT_PRICE, line.unit_price))
                        (amount(text::GROSS, line.gross()))
                        (amount(text::DISCOUNT, line.discount))
                        (amount(text::POINTS, line.points))
                        (amount(text::PAID_AMOUNT, line.paid()))
                        (amount(text::VAT_IN_IT, line.vat))
                        td.num data-label=(lang.t(text::RETURNED)) { @match order.returned(at) { 0 => { span.hint.none { "0" } }, n => { (format::number(n.into())) } } }
                    }
                } }
            }
        }
    }
}

fn product_href(line: &OrderLine) -> String {
    link::with("/console/products", &[("q", line.product.as_str())])
}

fn refunds(lang: Lang, order: &Order) -> Markup {
    let hidden = order.refunds.len().saturating_sub(REFUNDS_SHOWN);
    html! {
        section {
            h2 { (lang.t(text::REFUNDS)) }
            @if order.refunds.is_empty() { p.hint { (lang.t(text::NO_REFUNDS)) } }
            @else {
                table.stack {
                    thead { tr {
                        th scope="col" { (lang.t(text::REFUND)) }
                        th scope="col" { (lang.t(text::STATE)) }
                        th scope="col" { (lang.t(text::LINES)) }
                        th.num scope="col" { (lang.t(text::AMOUNT_BACK)) }
                        th.num scope="col" { (lang.t(text::POINTS)) }
                        th scope="col" { (lang.t(text::DETAILS)) }
                    } }
                    tbody { @for refund in order.refunds.iter().rev().take(REFUNDS_SHOWN) { (refund_row(lang, order, refund)) } }
                }
                @if hidden > 0 { p.hint { (lang.f(text::AND_MORE, &[&format::number(hidden as u64)])) } }
            }
        }
    }
}

fn refund_row(lang: Lang, order: &Order, refund: &Refund) -> Markup {
    let (shape, word) = match refund.state {
        RefundState::Begun => ("running", text::REFUND_UNDER_WAY),
        RefundState::Done => ("completed", text::REFUND_DONE),
        RefundState::Refused => ("failed", text::REFUND_REFUSED),
    };
    let kind = if refund.cancel { text::KIND_CANCEL } else { text::KIND_RETURN };
    let points = Currency::new("PTS").ok();
    let product = |line: u16| {
        order.lines.get(usize::from(line)).map(|line| line.product.to_string()).unwrap_or_default()
    };
    html! {
        tr {
            th scope="row" { a href=(parts::saga_href(refund.saga.get())) { (order.no) "." (refund.no) } span.id { (lang.t(kind)) } }
            td { (parts::state(lang, shape, word)) @if let Some(why) = &refund.why { " " q.reason { (why) } } }
            td.what { @for (index, part) in refund.lines.iter().enumerate() { @if index > 0 { ", " } (part.quantity) " × " (parts::short(&product(part.line))) } }
            td.num data-label=(lang.t(text::AMOUNT_BACK)) { (format::plain_amount(refund.amount.into(), order.currency)) }
            td.num data-label=(lang.t(text::POINTS)) { @match (refund.points, points) { (0, _) | (_, None) => { span.hint.none { "0" } }, (n, Some(points)) => { (format::plain_amount(n.into(), points)) } } }
            td.what { (parts::time(lang, refund.begun_at)) " " span.by { (lang.f(text::BY, &[refund.by.as_str()])) } q.reason { (refund.reason) } }
        }
    }
}

fn history(viewer: &Viewer, events: Result<&[Found], &str>) -> Markup {
    let lang = viewer.lang();
    html! {
        section #history {
            h2 { (lang.t(text::ORDER_HISTORY)) }
            @match events {
                Err(why) => { p.hint { (lang.f(text::LOG_UNREADABLE_HINT, &[why])) } },
                Ok([]) => { p.hint { (lang.f(text::NOT_IN_RECENT, &[&format::number(LOOK_EVENTS_MAX)])) } },
                Ok(events) => { (parts::event_list(viewer, events, &|_| None)) },
            }
        }
    }
}

fn panel(viewer: &Viewer, order: &Order, attempt: Option<&Attempt>) -> Markup {
    let lang = viewer.lang();
    let (_, left, _) = order.everything_left();
    let what = match order.state {
        OrderState::Placed => lang.t(text::CANCEL_PLACED_WHAT).to_owned(),
        _ => lang.f(text::CANCEL_PAID_WHAT, &[&format::amount(left.into(), order.currency)]),
    };
    let hint = match order.state {
        OrderState::Cancelled | OrderState::Failed => Some(text::ORDER_IS_OVER),
        OrderState::Paid if order.refund_under_way().is_some() => Some(text::REFUND_GOES),
        _ => None,
    };
    let post = format!("{}/change", parts::order_href(order.no));
    let form = Action { name: "cancel", post: &post, word: text::CANCEL_ORDER, what: &what, danger: true };
    html! {
        aside.controls aria-label=(lang.t(text::CONTROLS)) {
            h2 { (lang.t(text::CONTROLS)) }
            @if !viewer.who.may_change() { p.hint { (lang.t(text::READ_ONLY_HINT)) } }
            @else if let Some(hint) = hint {
                @if let Some(attempt) = attempt { (parts::fault(&attempt.why)) }
                p.hint { (lang.t(hint)) }
            } @else { (form.show(viewer, attempt, &forms::once(attempt, "cancel"))) }
        }
    }
}

fn facts(viewer: &Viewer, order: &Order) -> Markup {
    let (lang, member) = (viewer.lang(), order.member.as_str());
    let saga = lang.f(text::SAGA_N, &[&order.saga.get().to_string()]);
    let coupon = order.coupon.map(|coupon| {
        let summary = viewer.console.app.shard().summary();
        banyan_api::coupon_name(&log_pages::campaign_id(&summary, coupon.campaign()), coupon)
    });
    html! {
        section {
            h2 { (lang.t(text::DETAILS)) }
            dl.facts {
                (fact(lang.t(text::MEMBER), &html! { a href=(parts::member_href(member)) title=(member) { (parts::short(member)) } }))
                (fact(lang.t(text::PLACED_AT), &parts::time(lang, order.placed_at)))
                (fact(lang.t(text::CHECKOUT_SAGA), &html! { a href=(parts::saga_href(order.saga.get())) { (saga) } }))
                @if let Some(coupon) = &coupon { (fact(lang.t(text::COUPON), &html! { a href=(parts::coupon_href(coupon)) { (coupon) } })) }
                @if let Some(payment) = &order.payment {
                    (fact(lang.t(text::PAID_AT), &parts::time(lang, payment.at)))
                    @if !payment.id.is_empty() { (fact(lang.t(text::PAYMENT), &parts::copy(lang, &payment.id, &parts::short(&payment.id)))) }
                    @if let Some(transfer) = payment.transfer { (fact(lang.t(text::TRANSFER), &html! { span.mono { (transfer) } })) }
                    @if let Some(points) = payment.points { (fact(lang.t(text::POINTS), &html! { span.mono { (points) } })) }
                    (fact(lang.t(text::RESERVATION), &html! { span.mono { (payment.reservation) } }))
                }
                @if let Some(at) = order.ended_at { (fact(lang.t(text::ENDED_ORDER_AT), &parts::time(lang, at))) }
            }
        }
    }
}
