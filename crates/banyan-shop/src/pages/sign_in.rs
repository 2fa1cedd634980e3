//! Signing in, as a demonstration: whoever gives a name is that member.

use crate::gate::{Fields, Posted, Visit};
use crate::layout::{Page, Place};
use crate::link;
use crate::parts;
use crate::sample::MEMBERS;
use crate::text;
use axum::extract::Query;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use maud::html;

/// Longest name of a member.
const NAME_MAX: usize = 32;

/// The form.
pub(crate) async fn show(visit: Visit, Query(query): Query<Fields>) -> Response {
    let next = query.get("next").map(String::as_str).unwrap_or_default();
    page(&visit, link::own_path(next), "", StatusCode::OK)
}

fn page(visit: &Visit, next: &str, typed: &str, status: StatusCode) -> Response {
    let title = visit.t(text::SIGN_IN_TITLE);
    let body = html! {
        div.narrow {
            div.title { h1 { (title) } }
            p.notice.wait { (visit.t(text::SIGN_IN_HINT)) }
            @if status != StatusCode::OK { (parts::fault(visit.t(text::MEMBER_WRONG))) }
            form method="post" action="/shop/sign-in" {
                (parts::csrf(visit))
                input type="hidden" name="next" value=(next);
                label { span { (visit.t(text::MEMBER_NAME)) }
                    input name="member" value=(typed) maxlength=(NAME_MAX) required autofocus autocomplete="username" autocapitalize="none" spellcheck="false" aria-describedby="rule"; }
                p.hint #rule { (visit.t(text::MEMBER_RULE)) }
                button.primary.wide type="submit" { (visit.t(text::SIGN_IN)) }
            }
            form.samples method="post" action="/shop/sign-in" {
                (parts::csrf(visit))
                input type="hidden" name="next" value=(next);
                p.hint { (visit.t(text::MEMBER_SAMPLES)) }
                @for member in MEMBERS { button type="submit" name="member" value=(member) { (member) } }
            }
        }
    };
    visit.page_as(status, Page::new(title, Place::None, body))
}

/// Signs in.
pub(crate) async fn sign_in(mut posted: Posted) -> Response {
    let member = posted.field("member").to_ascii_lowercase();
    let next = link::own_path(posted.field("next")).to_owned();
    let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b);
    if member.is_empty() || member.len() > NAME_MAX || !member.bytes().all(known) {
        let typed: String = posted.field("member").chars().take(NAME_MAX).collect();
        return page(&posted.visit, &next, &typed, StatusCode::UNPROCESSABLE_ENTITY);
    }
    posted.visit.shop.ended.end(&posted.visit.session);
    match posted.visit.session.sign_in(member, jiff::Timestamp::now().as_second()) {
        Ok(()) => posted.visit.lead(&next),
        Err(error) => {
            tracing::error!("the system gives no random numbers: {error}");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

/// Signs out. The cart stays; whose it was goes, and a copy of the cookie is worth nothing.
pub(crate) async fn sign_out(mut posted: Posted) -> Response {
    posted.visit.shop.ended.end(&posted.visit.session);
    match posted.visit.session.sign_out(jiff::Timestamp::now().as_second()) {
        Ok(()) => posted.visit.lead("/shop"),
        Err(error) => {
            tracing::error!("the system gives no random numbers: {error}");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}
