//! The sale: every campaign that anybody may take part in, with how many coupons are left.
//!
//! The number moves by itself: the script asks `left` of us, and we ask the API, twice a second for all visitors together.
//! So the browser needs no key, and a crowd of viewers is no crowd at the API.

use super::coupons;
use crate::ApiError;
use crate::format::{benefit, clock, instant, money, number};
use crate::gate::{Fields, Posted, Visit};
use crate::layout::{Page, Place};
use crate::link;
use crate::parts;
use crate::text;
use crate::wire::{Campaign, Written};
use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode, header};
use maud::{Markup, html};
use serde_json::json;

/// The sale.
pub(crate) async fn show(visit: Visit, Query(query): Query<Fields>) -> Response {
    page(&visit, &query, StatusCode::OK, None).await
}

async fn page(visit: &Visit, query: &Fields, status: StatusCode, fault: Option<&str>) -> Response {
    let campaigns = match visit.shop.shared.campaigns(&visit.shop.api).await {
        Ok(campaigns) => campaigns,
        Err(error) => return visit.trouble(&error),
    };
    // Without the list of what this member has, claiming again simply gives the same coupon.
    let mine = match visit.member() {
        Some(member) => coupons::read(visit, member).await.map(|(coupons, _)| coupons).unwrap_or_default(),
        None => Vec::new(),
    };
    let has_all = |campaign: &Campaign| {
        let has = mine.iter().filter(|coupon| coupon.campaign == campaign.id).count();
        has >= campaign.per_member.max(1) as usize
    };
    let title = visit.t(text::SALE_TITLE);
    let shown: Vec<_> = campaigns.value.iter().filter(|campaign| campaign.state != "ended").collect();
    let body = html! {
        div.title { h1 { (title) } }
        @if let Some(fault) = fault { (parts::fault(fault)) }
        (parts::note(visit, query))
        @if shown.is_empty() {
            (parts::empty(visit.t(text::SALE_NONE), visit.t(text::SALE_NONE_HINT), &html! {
                p { a.button href="/shop" { (visit.t(text::BACK_TO_GOODS)) } }
            }))
        } @else {
            ul.sales { @for campaign in shown { (sale(visit, campaign, has_all(campaign))) } }
        }
        (parts::fresh(visit, &campaigns, text::FRESH_SALE))
    };
    visit.page_as(status, Page::new(title, Place::Sale, body))
}

fn sale(visit: &Visit, campaign: &Campaign, has_all: bool) -> Markup {
    let lang = visit.lang;
    let id = link::encode(&campaign.id);
    let quantity = campaign.left.map(|left| left + campaign.issued);
    let gone = campaign.left == Some(0);
    let terms: Vec<String> = [
        campaign
            .minimum_order
            .as_ref()
            .map(|from| lang.f(text::FROM_ORDER, &[&money(lang, from.minor, &from.currency)])),
        Some(lang.f(text::EACH_MEMBER, &[&campaign.per_member.max(1).to_string()])),
        campaign.ends_at.as_ref().map(|at| lang.f(text::SALE_ENDS, &[&instant(lang, at)])),
    ]
    .into_iter()
    .flatten()
    .collect();
    html! {
        li.sale data-left=(format!("/shop/sale/{id}/left")) data-broken=(lang.t(text::LIVE_BROKEN)) {
            div.offer {
                h2 { (benefit(lang, &campaign.benefit)) }
                p.name { (campaign.name) }
                p.hint { (terms.join(" · ")) }
            }
            div.tally {
                @match (campaign.left, quantity) {
                    (Some(left), Some(quantity)) => {
                        p.number { b data-v="left" { (number(left)) } " " span { (lang.t(text::COUPONS_LEFT)) } }
                        (bar(left, quantity))
                        p.hint { (lang.f(text::COUPONS_OF, &[&number(quantity)])) " " span data-v="live" {} }
                        p.over data-v="over" hidden[!gone] { (lang.t(text::SALE_OVER)) }
                    }
                    _ => p { (lang.t(text::COUPONS_UNLIMITED)) },
                }
                p.sr data-v="word" data-live=(lang.t(text::LIVE)) {}
            }
            div.claim { @match campaign.state.as_str() {
                _ if has_all => {
                    p { (parts::state(lang, "issued", text::CLAIMED_BEFORE)) }
                    p { a href="/shop/coupons" { (lang.t(text::COUPONS)) } }
                }
                "scheduled" => (later(visit, campaign)),
                "paused" => (parts::state(lang, "paused", text::SALE_PAUSED)),
                _ if gone => (parts::state(lang, "ended", text::SOLD_OUT)),
                _ => (claim_form(visit, campaign)),
            } }
        }
    }
}

fn later(visit: &Visit, campaign: &Campaign) -> Markup {
    let at = campaign.starts_at.as_deref().unwrap_or_default();
    html! { p { (visit.lang.f(text::SALE_STARTS, &[&instant(visit.lang, at)])) } }
}

fn claim_form(visit: &Visit, campaign: &Campaign) -> Markup {
    html! {
        @if visit.member().is_some() {
            form method="post" action=(format!("/shop/sale/{}/claim", link::encode(&campaign.id))) data-once="" {
                (parts::csrf(visit))
                button.primary.wide type="submit" { (visit.t(text::CLAIM)) }
            }
        } @else {
            a.button.primary.wide href="/shop/sign-in?next=%2Fshop%2Fsale" { (visit.t(text::SIGN_IN_TO_CLAIM)) }
        }
    }
}

/// How many are left, as a bar. Its width is an attribute of the drawing: no inline style is needed.
fn bar(left: u64, quantity: u64) -> Markup {
    let share = if quantity == 0 { 0.0 } else { left as f64 / quantity as f64 * 100.0 };
    html! {
        svg.bar viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true" {
            rect.ground width="100" height="4" {}
            rect.part data-v="bar" width=(format!("{share:.2}")) height="4" {}
        }
    }
}

/// How many are left, for the script.
pub(crate) async fn left(visit: Visit, Path(id): Path<String>) -> Response {
    let Ok(campaigns) = visit.shop.shared.campaigns(&visit.shop.api).await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let Some(campaign) = campaigns.value.iter().find(|campaign| campaign.id == id) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if campaigns.stale {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let quantity = campaign.left.map(|left| left + campaign.issued);
    let json = json!({"left": campaign.left, "shown": campaign.left.map(number), "quantity": quantity,
                      "state": campaign.state, "at": clock(visit.lang, campaigns.at)});
    ([(header::CONTENT_TYPE, "application/json")], json.to_string()).into_response()
}

/// Claims a coupon for the signed-in member. Asking twice gives the same coupon.
pub(crate) async fn claim(Path(id): Path<String>, mut posted: Posted) -> Response {
    let Some(member) = posted.visit.member().map(str::to_owned) else {
        return posted.visit.must_sign_in("/shop/sale");
    };
    let path = format!("/v1/campaigns/{}/coupons", link::encode(&id));
    let body = json!({"member": member});
    match posted.visit.shop.api.send::<Written>(Method::POST, &path, Some(&body), None).await {
        Ok(written) => {
            posted.visit.session.seq = posted.visit.session.seq.max(written.seq);
            posted.visit.lead("/shop/coupons?note=claimed")
        }
        Err(ApiError::Refused(refused)) if refused.slug == "limit-reached" => {
            posted.visit.lead("/shop/coupons?note=claimed-before")
        }
        Err(ApiError::Refused(refused)) => {
            let fault = text::refused(posted.visit.lang, &refused.slug, &refused.detail);
            page(&posted.visit, &Fields::new(), StatusCode::CONFLICT, Some(&fault)).await
        }
        Err(error) => posted.visit.trouble(&error),
    }
}
