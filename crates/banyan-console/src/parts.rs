//! The small things that pages are made of.

use crate::format;
use crate::gate::Viewer;
use crate::link;
use crate::log_pages::{Found, campaign_id};
use crate::text::{self, Lang, Text};
use banyan_domain::coupon::{CampaignState, CouponState};
use banyan_domain::{OrderNo, Timestamp, coupon};
use banyan_engine::{CampaignSummary, Summary};
use maud::{Markup, html};
use serde_json::Value;

/// A part of a page that is made again while somebody looks: the id of its place, and what stands there.
pub(crate) type Part = (String, Markup);

/// Our mark: one crown, many roots.
pub(crate) fn mark() -> Markup {
    html! {
        svg.mark viewBox="0 0 32 32" width="28" height="28" aria-hidden="true" focusable="false" {
            path d="M3 14.5C3 7.600 8.600 3 16 3s13 4.600 13 11.500c0 1-.8 1.500-1.800 1.500H4.800C3.800 16 3 15.500 3 14.500Z" {}
            path.root d="M16 16v13M11.500 16c0 5-.6 9-2.600 13M20.500 16c0 5 .6 9 2.600 13M7 16c0 3.500-.6 6-2 8.500M25 16c0 3.500.6 6 2 8.500" {}
        }
    }
}

/// Whether something that must be so is so.
pub(crate) fn holds(lang: Lang, holds: bool) -> Markup {
    match holds {
        true => state(lang, "completed", text::IT_HOLDS),
        false => state(lang, "failed", text::IT_DOES_NOT),
    }
}

/// A state: shape first, word beside it, colour last.
pub(crate) fn state(lang: Lang, shape: &'static str, word: Text) -> Markup {
    html! { span.state data-state=(shape) { (self::shape(shape)) span { (lang.t(word)) } } }
}

/// The state of a campaign.
pub(crate) fn campaign_state(lang: Lang, of: CampaignState) -> Markup {
    state(lang, campaign_state_name(of), campaign_state_word(of))
}

pub(crate) const fn campaign_state_name(of: CampaignState) -> &'static str {
    match of {
        CampaignState::Scheduled => "scheduled",
        CampaignState::Open => "open",
        CampaignState::Paused => "paused",
        CampaignState::Ended => "ended",
    }
}

pub(crate) const fn campaign_state_word(of: CampaignState) -> Text {
    match of {
        CampaignState::Scheduled => text::SCHEDULED,
        CampaignState::Open => text::OPEN,
        CampaignState::Paused => text::PAUSED,
        CampaignState::Ended => text::ENDED,
    }
}

/// The state of a coupon.
pub(crate) fn coupon_state(lang: Lang, of: CouponState) -> Markup {
    let word = match of {
        CouponState::Issued => text::ISSUED_STATE,
        CouponState::Held => text::HELD,
        CouponState::Redeemed => text::REDEEMED,
        CouponState::Revoked => text::REVOKED,
        CouponState::Expired => text::EXPIRED,
    };
    state(lang, of.as_str(), word)
}

/// The shape of a state alone: the word must stand beside it.
pub(crate) fn shape(shape: &str) -> Markup {
    let (d, filled) = match shape {
        "open" | "running" => ("M6 1.500a4.500 4.500 0 1 0 0 9a4.500 4.500 0 0 0 0-9Z", true),
        "scheduled" | "issued" => ("M6 2a4 4 0 1 0 0 8a4 4 0 0 0 0-8Z", false),
        "paused" | "held" | "retrying" | "rebuilding" => ("M3 2h2v8H3ZM7 2h2v8H7Z", true),
        "ended" | "stopped" => ("M2.500 2.500h7v7h-7Z", true),
        "mode-legacy" => ("M2 2h8v8H2Z", true),
        "mode-shadow" => ("M2 2h6v6H2ZM4.500 10h5.500V4.500", false),
        "mode-canary" => ("M6 2a4 4 0 1 0 0 8a4 4 0 0 0 0-8ZM6 6V2M6 6l3.500 2", false),
        "mode-banyan" => ("M6 1.500a4.500 4.500 0 1 0 0 9a4.500 4.500 0 0 0 0-9Z", true),
        "redeemed" | "completed" => ("M2 6.500L5 9.500L10 3", false),
        "parked" => ("M6 1L11.500 10.500H.5Z", true),
        "unknown" => ("M3.500 4a2.500 2.500 0 1 1 3.700 2.200C6.300 6.700 6 7.200 6 8M6 10.300v.2", false),
        "compensating" => ("M8.500 1.500L3 6L8.500 10.500Z", true),
        "compensated" => ("M5 2L2 5L5 8M2.500 5h4.500a2.500 2.500 0 0 1 0 5H5", false),
        "revoked" | "failed" => ("M2.500 2.500L9.500 9.500M9.500 2.500L2.500 9.500", false),
        _ => ("M2 6h8", false),
    };
    html! {
        svg.shape viewBox="0 0 12 12" width="12" height="12" aria-hidden="true" data-filled=[filled.then_some("")] { path d=(d) {} }
    }
}

/// An instant: relative to read, exact on hover, for programs in `datetime`.
pub(crate) fn time(lang: Lang, at: Timestamp) -> Markup {
    let exact = banyan_api::rfc3339(at);
    let relative = format::relative(lang, at, banyan_api::now());
    html! { time datetime=(exact) title=(exact) { (relative) } }
}

/// A text to copy whole with one click, shown short.
pub(crate) fn copy(lang: Lang, whole: &str, shown: &str) -> Markup {
    html! {
        span.copy {
            @if !shown.is_empty() { span.mono title=(whole) { (shown) } }
            button type="button" data-copy=(whole) aria-label=(lang.f(text::COPY, &[whole])) data-done=(lang.t(text::COPIED)) {
                svg viewBox="0 0 12 12" width="12" height="12" aria-hidden="true" {
                    path d="M4 4h6.500v6.500H4ZM8 4V1.500H1.500V8H4" {}
                }
            }
        }
    }
}

/// `text` cut in the middle if it is long: ids differ at both ends.
pub(crate) fn short(text: &str) -> String {
    if text.len() <= 24 || !text.is_ascii() {
        return text.into();
    }
    format!("{}…{}", &text[..14], &text[text.len() - 7..])
}

/// How much of a campaign is issued, as a bar with its words.
pub(crate) fn issued_bar(lang: Lang, campaign: &CampaignSummary) -> Markup {
    let issued = campaign.totals.issued;
    let id = campaign.definition.id.as_str();
    html! {
        div.issued data-campaign=(id) {
            @match campaign.definition.quantity {
                Some(quantity) => {
                    (bar(issued, quantity))
                    span.numbers { b data-v="issued" { (format::number(issued)) } " / " span data-v="quantity" { (format::number(quantity)) } }
                    span.share data-v="share" { (share(lang, issued, quantity)) }
                },
                None => {
                    span.numbers { b data-v="issued" { (format::number(issued)) } " " (lang.t(text::OF_UNLIMITED)) }
                },
            }
        }
    }
}

/// How much of `quantity` is issued, in words.
pub(crate) fn share(lang: Lang, issued: u64, quantity: u64) -> String {
    if issued >= quantity { lang.t(text::SOLD_OUT).into() } else { format::percent(issued, quantity) }
}

/// A bar of `part` of `whole`. Its width is an attribute of the drawing: no inline style is needed.
pub(crate) fn bar(part: u64, whole: u64) -> Markup {
    let share = if whole == 0 { 0.0 } else { (part as f64 / whole as f64 * 100.0).min(100.0) };
    html! {
        svg.bar viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true" {
            rect.ground width="100" height="4" {}
            rect.part data-v="bar" width=(format!("{share:.2}")) height="4" {}
        }
    }
}

/// A moving line of `values`, newest at the right. Its script moves it on.
pub(crate) fn spark(name: &str, values: &[Option<f64>]) -> Markup {
    let top = values.iter().flatten().fold(f64::MIN_POSITIVE, |a, b| a.max(*b));
    let mut points = String::new();
    let offset = 60_usize.saturating_sub(values.len());
    for (index, value) in values.iter().enumerate() {
        if let Some(value) = value {
            points.push_str(&format!("{},{:.1} ", (index + offset) * 2, 22.0 - value / top * 20.0));
        }
    }
    html! {
        svg.spark viewBox="0 0 118 24" preserveAspectRatio="none" aria-hidden="true" {
            polyline data-spark=(name) points=(points.trim_end()) vector-effect="non-scaling-stroke" {}
        }
    }
}

/// The command that gives what the page shows.
pub(crate) fn curl(viewer: &Viewer, path: &str) -> Markup {
    let lang = viewer.lang();
    let command = format!("curl -H \"Authorization: Bearer $BANYAN_KEY\" '{}{path}'", viewer.visit.origin);
    html! {
        section.curl aria-label=(lang.t(text::CURL)) {
            h2 { (lang.t(text::CURL)) }
            (command_line(lang, &command))
        }
    }
}

/// A command to copy.
pub(crate) fn command_line(lang: Lang, command: &str) -> Markup {
    html! { div.command { code { (command) } (copy_button(lang, command)) } }
}

fn copy_button(lang: Lang, whole: &str) -> Markup {
    html! {
        button type="button" data-copy=(whole) data-done=(lang.t(text::COPIED)) { (lang.t(text::COPY_WORD)) }
    }
}

/// What a page without content says: what belongs here, and what puts it there.
pub(crate) fn empty(title: &str, body: &str, command: Option<(Lang, &str)>) -> Markup {
    html! {
        div.empty {
            (mark())
            h2 { (title) }
            p { (body) }
            @if let Some((lang, command)) = command { (command_line(lang, command)) }
        }
    }
}

/// Something that went wrong, in place.
pub(crate) fn fault(message: &str) -> Markup {
    html! { p.notice.harm role="alert" { (message) } }
}

/// The hidden field that every form carries.
pub(crate) fn csrf(viewer: &Viewer) -> Markup {
    html! { input type="hidden" name="csrf" value=(viewer.who.csrf); }
}

/// Addresses of things.
pub(crate) fn campaign_href(id: &str) -> String {
    format!("/console/campaigns/{}", link::encode(id))
}

pub(crate) fn coupon_href(name: &str) -> String {
    format!("/console/coupons/{}", link::encode(name))
}

pub(crate) fn member_href(member: &str) -> String {
    format!("/console/members/{}", link::encode(member))
}

pub(crate) fn sku_href(sku: &str) -> String {
    format!("/console/stock/{}", link::encode(sku))
}

pub(crate) fn account_href(id: &str) -> String {
    format!("/console/ledger/{}", link::encode(id))
}

pub(crate) fn saga_href(no: u64) -> String {
    format!("/console/sagas/{no}")
}

pub(crate) fn definition_href(name: &str) -> String {
    format!("/console/sagas/definitions/{}", link::encode(name))
}

pub(crate) fn order_href(order: OrderNo) -> String {
    format!("/console/orders/{order}")
}

/// An order, with its page if it was placed here, and its refunds like the order. Orders of other systems are names.
pub(crate) fn order_link(order: &str) -> Markup {
    let ours = OrderNo::parse(order.split('.').next().unwrap_or_default());
    html! {
        @match ours {
            Ok(no) => { a.mono href=(order_href(no)) { (order) } },
            Err(_) => { span.mono title=(order) { (short(order)) } },
        }
    }
}

pub(crate) fn event_href(seq: u64) -> String {
    format!("/console/events/{seq}")
}

/// A table row for an event.
pub(crate) fn event_row(lang: Lang, found: &Found, summary: &Summary) -> Markup {
    html! {
        tr data-seq=(found.seq) {
            td.num { a href=(event_href(found.seq)) { (format::number(found.seq)) } }
            td.when { (time(lang, found.time)) }
            td { span.kind { (found.kind()) } }
            td { @if let Some(no) = found.campaign() {
                @let id = campaign_id(summary, no);
                a href=(campaign_href(&id)) { (id) }
            } }
            td.what { (event_words(lang, found, summary)) }
        }
    }
}

/// Events of one thing in a list, newest first; `place` says where in it each happened, where there is something to say.
pub(crate) fn event_list(
    viewer: &Viewer,
    events: &[Found],
    place: &dyn Fn(&Found) -> Option<String>,
) -> Markup {
    let (lang, summary) = (viewer.lang(), viewer.console.app.shard().summary());
    html! {
        ol.actions.long {
            @for found in events {
                li {
                    span.kind { a href=(event_href(found.seq)) { (found.kind()) } }
                    span.what { (event_in_place(lang, found, &summary, place(found))) }
                    (time(lang, found.time))
                }
            }
        }
    }
}

/// What an event says, with the name of its place instead of its number and of the thing that the page is about.
fn event_in_place(lang: Lang, found: &Found, summary: &Summary, place: Option<String>) -> Markup {
    let mut json = found.json(summary);
    for known in ["item", "sku", "location", "order"] {
        json.remove(known);
    }
    html! { @if let Some(place) = place { b { (place) } " " } (words(lang, &json)) }
}

/// The tabs and the search field above a list. The list is `#list`; what is typed filters it at once.
pub(crate) fn filters(
    viewer: &Viewer,
    href: &str,
    tabs: &Markup,
    state: &str,
    find: Text,
    q: &str,
) -> Markup {
    let lang = viewer.lang();
    html! {
        form.filters method="get" action=(href) role="search"
            hx-get=(href) hx-target="#list" hx-select="#list" hx-select-oob="#tabs" hx-swap="outerHTML" hx-push-url="true"
            hx-trigger="input changed delay:250ms from:#q, submit" {
            nav #tabs .tabs aria-label=(lang.t(text::BY_STATE)) { (tabs) }
            @if !state.is_empty() { input type="hidden" name="state" value=(state); }
            label.find for="q" { span.sr { (lang.t(find)) }
                input #q type="search" name="q" value=(q) placeholder=(lang.t(find)) autocomplete="off" spellcheck="false";
            }
        }
    }
}

/// What an event says beside its type and campaign.
pub(crate) fn event_words(lang: Lang, found: &Found, summary: &Summary) -> Markup {
    words(lang, &found.json(summary))
}

/// The same from the event as the API writes it.
pub(crate) fn words(lang: Lang, json: &serde_json::Map<String, Value>) -> Markup {
    let text = |name: &str| json.get(name).and_then(Value::as_str).unwrap_or_default();
    let count = |name: &str| format::number(json.get(name).and_then(Value::as_u64).unwrap_or_default());
    let (coupon, member, order) = (text("coupon"), text("member"), text("order"));
    html! {
        @if !coupon.is_empty() { a href=(coupon_href(coupon)) { (coupon) } " " }
        @if !member.is_empty() { (lang.t(text::TO)) " " a href=(member_href(member)) title=(member) { (short(member)) } " " }
        @if !order.is_empty() { (lang.t(text::ORDER)) " " (order_link(order)) " " }
        @match text("type") {
            "campaign-quantity-changed" => { (lang.f(text::TO_QUANTITY, &[&count("quantity")])) " " },
            "campaign-extended" => { (lang.f(text::TO_END, &[text("ends_at")])) " " },
            "campaign-ended" if text("cause") == "window" => { (lang.t(text::BY_WINDOW)) " " },
            "allow-list-extended" => { (lang.f(text::ADDED, &[&count("added")])) " " },
            "coupons-expired" => { (lang.f(text::RANGE, &[&count("first"), &count("last")])) " " },
            "coupon-released" if text("cause") == "deadline" => { (lang.t(text::BY_DEADLINE)) " " },
            "campaign-created" => { (json.get("definition").and_then(|d| d.get("name")).and_then(Value::as_str).unwrap_or_default()) " " },
            _ => {},
        }
        (shop_words(lang, json))
        @if !text("by").is_empty() { span.by { (lang.f(text::BY, &[text("by")])) } }
        @if !text("reason").is_empty() { q.reason { (text("reason")) } }
    }
}

/// What events of stock, the ledger and sagas say: which thing, and how many or how it went.
fn shop_words(lang: Lang, json: &serde_json::Map<String, Value>) -> Markup {
    let text = |name: &str| json.get(name).and_then(Value::as_str).unwrap_or_default();
    let whole = |name: &str| json.get(name).and_then(Value::as_i64);
    html! {
        @if let Some(no) = whole("item") { a href=(format!("/console/items/{no}")) { (lang.f(text::ITEM_N, &[&no.to_string()])) } " " }
        @if let Some(no) = whole("account") { a href=(format!("/console/accounts/{no}")) { (if text("id").is_empty() { no.to_string() } else { text("id").to_owned() }) } " " }
        @if let Some(no) = whole("saga") { a href=(format!("/console/sagas/{no}")) { (lang.f(text::SAGA_N, &[&no.to_string()])) } " " }
        @for name in ["sku", "location", "payment", "reservation", "transfer", "first", "reference", "key", "ask", "result", "end", "how", "cause", "why"] {
            @if !text(name).is_empty() { span.word { (short(text(name))) } " " }
        }
        @for (name, word) in [("on_hand", text::ON_HAND), ("quantity", text::UNITS), ("by_quantity", text::UNITS_DIFFERENCE), ("safety", text::SAFETY), ("step", text::STEP), ("attempt", text::TRIES), ("amount", text::AMOUNT_BACK), ("refund", text::REFUND)] {
            @if let Some(n) = whole(name).filter(|_| !text("type").starts_with("campaign")) { span.hint { (lang.t(word)) " " (signed(n)) } " " }
        }
    }
}

/// A whole number that may be below zero.
pub(crate) fn signed(n: i64) -> String {
    format!("{}{}", if n < 0 { "-" } else { "" }, format::number(n.unsigned_abs()))
}

/// The sentence for a refusal or another problem, in the viewer's language where there is one.
pub(crate) fn problem_words(lang: Lang, problem: &banyan_api::Problem) -> String {
    let refusal = coupon::Refusal::ALL.into_iter().find(|refusal| refusal.slug() == problem.slug);
    match refusal.and_then(text::refusal) {
        Some(words) => lang.t(words).into(),
        None => {
            text::problem(problem.slug).map_or_else(|| problem.detail.clone(), |words| lang.t(words).into())
        }
    }
}
