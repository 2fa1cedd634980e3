//! The log, newest first: filtered in the address bar, in pages, or as it grows.

use crate::format;
use crate::gate::{Fields, Viewer};
use crate::layout::{self, Page, Section};
use crate::link;
use crate::log_pages::{self, EventPage, Filter};
use crate::parts;
use crate::text;
use axum::extract::Query;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use maud::{Markup, html};

/// Every type of event.
const KINDS: [&str; 50] = [
    "coupon-issued",
    "coupon-held",
    "coupon-redeemed",
    "coupon-released",
    "coupon-revoked",
    "coupons-expired",
    "campaign-created",
    "campaign-paused",
    "campaign-resumed",
    "campaign-extended",
    "campaign-quantity-changed",
    "campaign-ended",
    "campaign-retired",
    "allow-list-extended",
    "item-created",
    "stock-set",
    "goods-received",
    "stock-adjusted",
    "item-configured",
    "purchase-limit-set",
    "stock-imported",
    "reservation-made",
    "reservation-committed",
    "reservation-released",
    "reservation-expired",
    "goods-returned",
    "account-opened",
    "transferred",
    "hold-expired",
    "saga-defined",
    "saga-started",
    "saga-step-scheduled",
    "saga-step-settled",
    "saga-step-skipped",
    "saga-turned-back",
    "saga-parked",
    "saga-resumed",
    "saga-ended",
    "products-set",
    "terms-set",
    "order-placed",
    "order-paid",
    "order-failed",
    "order-cancel-requested",
    "order-refund-begun",
    "order-refund-done",
    "order-refund-refused",
    "key-kept",
    "state-digested",
    "store-created",
];

/// What the address asks for.
pub(crate) fn filter_of(viewer: &Viewer, query: &Fields) -> Filter {
    let field = |name: &str| query.get(name).map(|text| text.trim()).filter(|text| !text.is_empty());
    let summary = viewer.console.app.shard().summary();
    Filter {
        kind: field("type").map(str::to_owned),
        campaign: field("campaign")
            .map(|id| summary.campaign(id).map_or(NO_CAMPAIGN, |campaign| campaign.no)),
        coupon: None,
    }
}

/// No campaign has this number: an unknown id finds nothing instead of everything.
const NO_CAMPAIGN: banyan_domain::CampaignNo = banyan_domain::CampaignNo::new(0);

/// Lists events before the one in the address, or the newest.
pub(crate) async fn show(viewer: Viewer, Query(query): Query<Fields>) -> Response {
    let (lang, shard) = (viewer.lang(), viewer.console.app.shard());
    let head = shard.confirmed().get().as_u64();
    let number =
        |name: &str| query.get(name).and_then(|text| text.replace([',', ' '], "").parse::<u64>().ok());
    // `from` is the address a person types: the page that begins with that event.
    let before = number("before").or_else(|| number("from").map(|from| from.saturating_add(1)));
    let filter = filter_of(&viewer, &query);
    let wanted = filter.clone();
    let end = before.unwrap_or(head + 1);
    let page = match log_pages::off_thread(shard, move |shard| log_pages::before(shard, end, &wanted)).await {
        Ok(page) => page,
        Err(why) => {
            let hint = lang.f(text::LOG_UNREADABLE_HINT, &[&why]);
            return viewer.problem(StatusCode::SERVICE_UNAVAILABLE, lang.t(text::LOG_UNREADABLE), &hint);
        }
    };
    let follows = before.is_none();
    let beside = html! {
        @if follows {
            button type="button" #follow aria-pressed="false" hidden data-follow=(follow_href(&query, head)) data-on=(lang.t(text::FOLLOWING)) data-off=(lang.t(text::FOLLOW)) data-skipped=(lang.t(text::SKIPPED)) { (lang.t(text::FOLLOW)) }
        }
    };
    let body = html! {
        (layout::title(lang.t(text::EVENTS), &beside))
        (filters(&viewer, &query))
        (table(&viewer, &page))
        (pager(&viewer, &query, &page, before))
        (parts::curl(&viewer, &format!("/v1/events?from={}&limit=50", page.events.last().map_or(1, |last| last.seq))))
    };
    Page::new(lang.t(text::EVENTS), Section::Events, body).show(&viewer).into_response()
}

fn follow_href(query: &Fields, head: u64) -> String {
    let field = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    let after = head.to_string();
    link::with(
        "/console/events/follow",
        &[("type", field("type")), ("campaign", field("campaign")), ("after", &after)],
    )
}

fn filters(viewer: &Viewer, query: &Fields) -> Markup {
    let lang = viewer.lang();
    let field = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    html! {
        form.filters method="get" action="/console/events" role="search" {
            label for="type" { span { (lang.t(text::TYPE)) }
                select #type name="type" {
                    option value="" { (lang.t(text::EVERY_TYPE)) }
                    @for kind in KINDS { option value=(kind) selected[kind == field("type")] { (kind) } }
                }
            }
            label for="campaign" { span { (lang.t(text::CAMPAIGN)) }
                input #campaign name="campaign" value=(field("campaign")) autocomplete="off" spellcheck="false" placeholder=(lang.t(text::ANY));
            }
            label for="from" { span { (lang.t(text::FROM_EVENT)) }
                input #from name="from" inputmode="numeric" value=(field("from")) autocomplete="off" placeholder=(lang.t(text::NEWEST));
            }
            button type="submit" { (lang.t(text::SHOW)) }
            @if query.values().any(|value| !value.is_empty()) { a.plain href="/console/events" { (lang.t(text::SHOW_ALL)) } }
        }
    }
}

fn table(viewer: &Viewer, page: &EventPage) -> Markup {
    let (lang, summary) = (viewer.lang(), viewer.console.app.shard().summary());
    html! {
        @if page.events.is_empty() && page.is_begin { p.nothing { (lang.t(text::NO_EVENTS)) } }
        p.skipped #skipped hidden {}
        table.events.stack hidden[page.events.is_empty()] {
            thead { tr {
                th.num scope="col" { (lang.t(text::SEQ)) }
                th scope="col" { (lang.t(text::TIME)) }
                th scope="col" { (lang.t(text::TYPE)) }
                th scope="col" { (lang.t(text::CAMPAIGN)) }
                th scope="col" { (lang.t(text::DETAILS)) }
            } }
            tbody #events { @for found in &page.events { (parts::event_row(lang, found, &summary)) } }
        }
    }
}

fn pager(viewer: &Viewer, query: &Fields, page: &EventPage, before: Option<u64>) -> Markup {
    let lang = viewer.lang();
    let field = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    let href = |before: &str| {
        link::with(
            "/console/events",
            &[("type", field("type")), ("campaign", field("campaign")), ("before", before)],
        )
    };
    let full = page.events.len() == log_pages::PAGE_EVENTS;
    html! {
        @if !page.is_begin && !full {
            p.hint { (lang.f(text::LOOKED, &[&format::number(log_pages::LOOK_EVENTS_MAX), &format::number(page.looked_to)])) }
        }
        nav.pager aria-label=(lang.t(text::PAGES)) {
            @if before.is_some() { a.button href=(href("")) { (lang.t(text::NEWEST)) } }
            @if !page.is_begin {
                a.button rel="next" href=(href(&page.looked_to.to_string())) { (lang.t(if full { text::OLDER } else { text::LOOK_FURTHER })) }
            } @else if !page.events.is_empty() { span.hint { (lang.t(text::BEGIN_OF_LOG)) } }
        }
    }
}
