//! Points: how many there are, and a few to try them with.

use crate::ApiError;
use crate::format::points;
use crate::gate::{Fields, Posted, Visit};
use crate::layout::{Page, Place};
use crate::link;
use crate::parts;
use crate::sample::{WELCOME_POINTS, give_points};
use crate::text;
use crate::wire::Account;
use axum::extract::Query;
use axum::response::Response;
use maud::html;

/// The signed-in member's points.
pub(crate) async fn show(visit: Visit, Query(query): Query<Fields>) -> Response {
    let Some(member) = visit.member() else { return visit.must_sign_in("/shop/points") };
    let account = match account(&visit, member).await {
        Ok(account) => account,
        Err(error) => return visit.trouble(&error),
    };
    let (lang, title) = (visit.lang, visit.t(text::POINTS));
    let body = html! {
        div.title { h1 { (title) } }
        (parts::note(&visit, &query))
        div.balance {
            p.hint { (visit.t(text::POINTS_BALANCE)) }
            @let balance = account.as_ref().map_or(0, |account| account.available.unwrap_or(account.balance));
            p.number { b { (points(lang, balance)) } }
            @if let Some(held) = account.as_ref().map(|account| account.balance - balance).filter(|held| *held > 0) {
                p { (lang.f(text::POINTS_HELD, &[&points(lang, held)])) }
            }
            p { (visit.t(text::POINTS_HINT)) }
            @if account.is_none() {
                form method="post" action="/shop/points" data-once="" {
                    (parts::csrf(&visit))
                    button.primary type="submit" { (lang.f(text::POINTS_WELCOME, &[&points(lang, WELCOME_POINTS)])) }
                    p.hint { (visit.t(text::POINTS_WELCOME_HINT)) }
                }
            }
        }
    };
    visit.page(Page::new(title, Place::Points, body))
}

async fn account(visit: &Visit, member: &str) -> Result<Option<Account>, ApiError> {
    let path = format!("/v1/ledger/accounts/{}", link::encode(&format!("points:{member}")));
    match visit.shop.api.get::<Account>(&path).await {
        Ok(account) => Ok(Some(account)),
        Err(error) if error.slug() == Some("account-not-found") => Ok(None),
        Err(error) => Err(error),
    }
}

/// Gives a member without points some to begin with.
pub(crate) async fn welcome(posted: Posted) -> Response {
    let visit = &posted.visit;
    let Some(member) = visit.member() else { return visit.must_sign_in("/shop/points") };
    match account(visit, member).await {
        Ok(None) => {}
        Ok(Some(_)) => return visit.lead("/shop/points"),
        Err(error) => return visit.trouble(&error),
    }
    match give_points(&visit.shop.api, member, WELCOME_POINTS).await {
        Ok(()) => visit.lead("/shop/points?note=points"),
        Err(error) => visit.trouble(&error),
    }
}
