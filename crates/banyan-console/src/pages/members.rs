//! What a member holds, and the way to a coupon by its code.

use crate::gate::{Fields, Viewer};
use crate::layout::{self, Page, Section};
use crate::link;
use crate::pages::read_record;
use crate::parts;
use crate::text;
use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Redirect, Response};
use banyan_domain::MemberId;
use banyan_log::Seq;
use banyan_views::record::{CouponRecord, MemberPage};
use http::StatusCode;
use maud::{Markup, html};

/// Coupons on one page.
const PAGE_COUPONS: usize = 50;

/// The form to find a member or a coupon; leads to the member that was typed.
pub(crate) async fn find(viewer: Viewer, Query(query): Query<Fields>) -> Response {
    let lang = viewer.lang();
    let typed = query.get("member").map(|text| text.trim()).unwrap_or_default();
    let fault = match (typed, MemberId::new(typed)) {
        ("", _) => None,
        (_, Ok(member)) => return Redirect::to(&parts::member_href(member.as_str())).into_response(),
        (_, Err(_)) => Some(lang.t(text::BAD_MEMBER)),
    };
    let body = html! {
        (layout::title(lang.t(text::MEMBERS), &html! {}))
        div.finders {
            (member_form(&viewer, typed, fault))
            (coupon_form(&viewer, "", None))
        }
        (parts::empty(lang.t(text::MEMBERS_EMPTY), lang.t(text::MEMBERS_EMPTY_HINT), None))
        (parts::curl(&viewer, "/v1/members/MEMBER/coupons"))
    };
    let status = if fault.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    (status, Page::new(lang.t(text::MEMBERS), Section::Members, body).show(&viewer)).into_response()
}

/// Shows a member's coupons.
pub(crate) async fn show(
    viewer: Viewer,
    Path(member): Path<String>,
    Query(query): Query<Fields>,
) -> Response {
    let lang = viewer.lang();
    let Ok(id) = MemberId::new(member) else {
        return viewer.problem(StatusCode::NOT_FOUND, lang.t(text::MEMBERS), lang.t(text::BAD_MEMBER));
    };
    let cursor = query.get("after").and_then(|seq| seq.parse().ok()).map(Seq);
    let wanted = id.clone();
    let page = match read_record(&viewer, move |record| record.member_coupons(&wanted, cursor, PAGE_COUPONS))
        .await
    {
        Ok(page) => page,
        Err(why) => {
            let hint = lang.f(text::RECORD_UNREADABLE_HINT, &[&why]);
            return viewer.problem(StatusCode::SERVICE_UNAVAILABLE, lang.t(text::RECORD_UNREADABLE), &hint);
        }
    };
    let title = lang.f(text::MEMBER_N, &[id.as_str()]);
    let body = html! {
        nav.crumbs { a href="/console/members" { (lang.t(text::MEMBERS)) } }
        (layout::title(&lang.f(text::MEMBER_N, &[&parts::short(id.as_str())]), &parts::copy(lang, id.as_str(), &parts::short(id.as_str()))))
        @if page.coupons.is_empty() && cursor.is_none() {
            (parts::empty(lang.t(text::NO_COUPONS), lang.t(text::NO_COUPONS_HINT), Some((lang, &issue_command(&viewer, id.as_str())))))
        } @else {
            (table(&viewer, &page))
        }
        nav.pager aria-label=(lang.t(text::PAGES)) {
            @if cursor.is_some() { a.button href=(parts::member_href(id.as_str())) { (lang.t(text::OLDEST)) } }
            @if let Some(next) = page.next { a.button rel="next" href=(link::with(&parts::member_href(id.as_str()), &[("after", &next.to_string())])) { (lang.t(text::NEWER)) } }
        }
        (as_of(&viewer, page.checkpoint))
        (parts::curl(&viewer, &format!("/v1/members/{}/coupons", link::encode(id.as_str()))))
    };
    Page::new(&title, Section::Members, body).show(&viewer).into_response()
}

fn issue_command(viewer: &Viewer, member: &str) -> String {
    // A member may hold any visible character: written as JSON, then quoted for a shell.
    let body = serde_json::json!({ "member": member }).to_string().replace('\'', "'\\''");
    format!(
        "curl -X POST -H \"Authorization: Bearer $BANYAN_KEY\" -d '{body}' '{}/v1/campaigns/CAMPAIGN/coupons'",
        viewer.visit.origin
    )
}

/// As of which event the record store speaks.
pub(crate) fn as_of(viewer: &Viewer, checkpoint: Seq) -> Markup {
    let lang = viewer.lang();
    html! { p.hint { (lang.f(text::AS_OF, &[&crate::format::number(checkpoint.as_u64())])) } }
}

/// A code as the viewer may see it: whoever can use it may.
pub(crate) fn code(viewer: &Viewer, code: &str) -> Markup {
    if viewer.who.may_change() {
        return parts::copy(viewer.lang(), code, code);
    }
    let shown = code.get(..4).unwrap_or_default();
    html! { span.mono title=(viewer.lang().t(text::CODE_HIDDEN)) { (shown) "-····-·····" } }
}

fn table(viewer: &Viewer, page: &MemberPage) -> Markup {
    let lang = viewer.lang();
    html! {
        table.stack {
            thead { tr {
                th scope="col" { (lang.t(text::COUPON)) }
                th scope="col" { (lang.t(text::STATE)) }
                th scope="col" { (lang.t(text::CODE)) }
                th scope="col" { (lang.t(text::ISSUED_STATE)) }
                th scope="col" { (lang.t(text::EXPIRES)) }
                th scope="col" { (lang.t(text::ORDER_TITLE)) }
            } }
            tbody { @for coupon in &page.coupons { (row(viewer, coupon)) } }
        }
    }
}

fn row(viewer: &Viewer, coupon: &CouponRecord) -> Markup {
    let lang = viewer.lang();
    let name = banyan_api::coupon_name(coupon.campaign.as_str(), coupon.coupon);
    html! {
        tr {
            th scope="row" { a href=(parts::coupon_href(&name)) { (name) } }
            td { (parts::coupon_state(lang, coupon.state)) }
            td data-label=(lang.t(text::CODE)) { (code(viewer, &coupon.code)) }
            td data-label=(lang.t(text::ISSUED_STATE)) { (parts::time(lang, coupon.issued_at)) }
            td data-label=(lang.t(text::EXPIRES)) {
                @match coupon.expires_at { Some(at) => { (parts::time(lang, at)) }, None => { span.hint { (lang.t(text::NEVER)) } } }
            }
            td data-label=(lang.t(text::ORDER_TITLE)) {
                @match &coupon.order { Some(order) => { (parts::copy(lang, order, &parts::short(order))) }, None => { span.hint { "–" } } }
            }
        }
    }
}

/// The form to find a member.
pub(crate) fn member_form(viewer: &Viewer, typed: &str, fault: Option<&str>) -> Markup {
    let lang = viewer.lang();
    html! {
        form.finder method="get" action="/console/members" role="search" {
            label for="member" { (lang.t(text::FIND_MEMBER)) }
            div { input #member name="member" value=(typed) required maxlength="64" autocomplete="off" spellcheck="false" placeholder="m1";
                button type="submit" { (lang.t(text::FIND)) } }
            @if let Some(fault) = fault { (parts::fault(fault)) }
        }
    }
}

/// The form to find a coupon.
pub(crate) fn coupon_form(viewer: &Viewer, typed: &str, fault: Option<&str>) -> Markup {
    let lang = viewer.lang();
    html! {
        form.finder method="get" action="/console/coupons" role="search" {
            label for="find" { (lang.t(text::FIND_COUPON)) }
            div { input #find name="find" value=(typed) required maxlength="80" autocomplete="off" spellcheck="false" placeholder="noon-17, 7K2M-Q9XR-4TBHC";
                button type="submit" { (lang.t(text::FIND)) } }
            @if let Some(fault) = fault { (parts::fault(fault)) }
        }
    }
}
