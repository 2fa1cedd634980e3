//! My coupons.

use crate::ApiError;
use crate::format::{benefit, instant};
use crate::gate::{Fields, Visit};
use crate::layout::{Page, Place};
use crate::link;
use crate::parts;
use crate::text::{self, Lang};
use crate::wire::{Campaign, Coupon, MemberCoupons, cursor};
use axum::extract::Query;
use axum::response::Response;
use maud::{Markup, html};

/// Pages of coupons that are read, of a hundred each.
const PAGES_MAX: usize = 5;

/// The signed-in member's coupons.
pub(crate) async fn show(visit: Visit, Query(query): Query<Fields>) -> Response {
    let Some(member) = visit.member() else { return visit.must_sign_in("/shop/coupons") };
    let title = visit.t(text::COUPONS);
    let (coupons, behind) = match read(&visit, member).await {
        Ok(read) => read,
        Err(error) => return visit.trouble(&error),
    };
    // Their names and worth; without them there are still the codes.
    let campaigns = visit.shop.shared.campaigns(&visit.shop.api).await.ok();
    let all = campaigns.as_ref().map(|all| all.value.as_slice()).unwrap_or_default();
    let body = html! {
        div.title { h1 { (title) } a.button href="/shop/sale" { (visit.t(text::TO_SALE)) } }
        (parts::note(&visit, &query))
        @if behind { p.notice.wait role="status" { (visit.t(text::CATCHING_UP)) } }
        @if coupons.is_empty() {
            (parts::empty(visit.t(text::NO_COUPONS), visit.t(text::NO_COUPONS_HINT), &html! {}))
        } @else {
            ul.coupons { @for coupon in coupons.iter().rev() { (ticket(&visit, coupon, all)) } }
        }
        section.code {
            h2 { (visit.t(text::ENTER_CODE)) }
            form.row method="post" action="/shop/cart/coupon" {
                (parts::csrf(&visit))
                label { span.sr { (visit.t(text::COUPON_CODE)) }
                    input name="code" maxlength="64" autocomplete="off" autocapitalize="characters" placeholder="XXXX-XXXX-XXXXX"; }
                button type="submit" { (visit.t(text::COUPON_TO_CART)) }
            }
        }
    };
    visit.page(Page::new(title, Place::Coupons, body))
}

/// The member's coupons, oldest first, with at least what this visitor did; and whether that could not be had.
pub(crate) async fn read(visit: &Visit, member: &str) -> Result<(Vec<Coupon>, bool), ApiError> {
    let path = format!("/v1/members/{}/coupons", link::encode(member));
    let mut seq = if visit.session.seq > 0 { visit.session.seq.to_string() } else { String::new() };
    let (mut coupons, mut after, mut behind) = (Vec::new(), None, false);
    for _ in 0..PAGES_MAX {
        let address = |seq: &str| {
            link::with(&path, &[("cursor", after.as_deref().unwrap_or_default()), ("at_least", seq)])
        };
        let page = match visit.shop.api.get::<MemberCoupons>(&address(&seq)).await {
            Err(ApiError::Refused(_)) if !seq.is_empty() => {
                (seq, behind) = (String::new(), true);
                visit.shop.api.get::<MemberCoupons>(&address("")).await?
            }
            page => page?,
        };
        coupons.extend(page.coupons);
        after = cursor(&page.next);
        if after.is_none() {
            break;
        }
    }
    Ok((coupons, behind))
}

/// Whether it can be used for an order.
pub(crate) fn usable(coupon: &Coupon) -> bool {
    coupon.state == "issued"
}

/// What a coupon is worth, in words.
pub(crate) fn worth(lang: Lang, coupon: &Coupon, campaigns: &[Campaign]) -> String {
    campaigns.iter().find(|campaign| campaign.id == coupon.campaign).map_or_else(
        || coupon.coupon.clone(),
        |campaign| format!("{} · {}", benefit(lang, &campaign.benefit), campaign.name),
    )
}

fn ticket(visit: &Visit, coupon: &Coupon, campaigns: &[Campaign]) -> Markup {
    let lang = visit.lang;
    let campaign = campaigns.iter().find(|campaign| campaign.id == coupon.campaign);
    let order = coupon.order.as_deref().unwrap_or_default();
    let (shape, words) = match coupon.state.as_str() {
        "issued" => ("issued", visit.t(text::COUPON_ISSUED).to_owned()),
        "held" => ("held", lang.f(text::COUPON_HELD, &[order])),
        "redeemed" => ("redeemed", lang.f(text::COUPON_REDEEMED, &[order])),
        "revoked" => ("revoked", visit.t(text::COUPON_REVOKED).to_owned()),
        _ => ("expired", visit.t(text::COUPON_EXPIRED).to_owned()),
    };
    html! {
        li.ticket data-state=(shape) {
            div.worth {
                @match campaign {
                    Some(campaign) => {
                        b { (benefit(lang, &campaign.benefit)) }
                        span { (campaign.name) }
                        @if let Some(from) = &campaign.minimum_order {
                            span.hint { (lang.f(text::FROM_ORDER, &[&crate::format::money(lang, from.minor, &from.currency)])) }
                        }
                    }
                    None => b { (coupon.coupon) },
                }
            }
            div.how {
                span.state data-state=(shape) { span { (words) } }
                span.hint { @match &coupon.expires_at {
                    Some(at) => (lang.f(text::VALID_UNTIL, &[&instant(lang, at)])),
                    None => (visit.t(text::VALID_FOREVER)),
                } }
                code { (coupon.code) }
                @if usable(coupon) {
                    form method="post" action="/shop/cart/coupon" {
                        (parts::csrf(visit))
                        input type="hidden" name="code" value=(coupon.code);
                        button type="submit" { (visit.t(text::COUPON_TO_CART)) }
                    }
                }
            }
        }
    }
}
