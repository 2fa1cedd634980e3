//! One coupon: where it stands, what happened to it, and taking it back.

use crate::format;
use crate::forms;
use crate::gate::{Fields, OperatorForm, Viewer};
use crate::layout::{self, Page, Section, fact};
use crate::link;
use crate::log_pages::{self, Filter, Found};
use crate::pages::members::{as_of, code, coupon_form, member_form};
use crate::pages::read_record;
use crate::parts;
use crate::text;
use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Redirect, Response};
use banyan_domain::coupon::{self, CouponCode, CouponState};
use banyan_domain::{Command, CouponId};
use banyan_engine::Summary;
use banyan_log::Seq;
use banyan_views::record::CouponRecord;
use http::StatusCode;
use maud::{Markup, html};
use std::time::Duration;

/// Events after its issue that one request looks through for a coupon's history.
const LOOK_EVENTS: u64 = 200_000;
/// Longest wait for the record store to show what was just done.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// The coupon that a name such as `noon-17` or a code stands for.
fn resolve(viewer: &Viewer, summary: &Summary, text: &str) -> Option<CouponId> {
    let named = text.rsplit_once('-').and_then(|(campaign, n)| {
        let campaign = summary.campaign(campaign)?;
        let n: u64 = n.parse().ok().filter(|n| (1..=campaign.totals.issued).contains(n))?;
        Some(CouponId::new(campaign.no, n))
    });
    named.or_else(|| {
        let coupon = viewer.console.app.codes().coupon(CouponCode::parse(text).ok()?);
        let campaign = summary.campaign_no(coupon.campaign())?;
        (1..=campaign.totals.issued).contains(&coupon.n()).then_some(coupon)
    })
}

/// Leads to the coupon that was typed.
pub(crate) async fn find(viewer: Viewer, Query(query): Query<Fields>) -> Response {
    let (lang, summary) = (viewer.lang(), viewer.console.app.shard().summary());
    let typed = query.get("find").map(|text| text.trim()).unwrap_or_default();
    if typed.is_empty() {
        return Redirect::to("/console/members").into_response();
    }
    if let Some(coupon) = resolve(&viewer, &summary, typed) {
        return Redirect::to(&parts::coupon_href(&name_of(&summary, coupon))).into_response();
    }
    let body = html! {
        (layout::title(lang.t(text::MEMBERS), &html! {}))
        div.finders { (member_form(&viewer, "", None)) (coupon_form(&viewer, typed, Some(lang.t(text::NO_SUCH_COUPON)))) }
    };
    (StatusCode::NOT_FOUND, Page::new(lang.t(text::MEMBERS), Section::Members, body).show(&viewer))
        .into_response()
}

fn name_of(summary: &Summary, coupon: CouponId) -> String {
    banyan_api::coupon_name(&log_pages::campaign_id(summary, coupon.campaign()), coupon)
}

/// Shows a coupon.
pub(crate) async fn show(viewer: Viewer, Path(name): Path<String>, Query(query): Query<Fields>) -> Response {
    page(&viewer, &name, &query, StatusCode::OK, None).await
}

/// Takes a coupon back.
pub(crate) async fn revoke(Path(name): Path<String>, form: OperatorForm) -> Response {
    let OperatorForm { viewer, fields } = form;
    match attempt(&viewer, &name, &fields).await {
        Ok(seq) => Redirect::to(&link::with(&parts::coupon_href(&name), &[("done", &seq.to_string())]))
            .into_response(),
        Err((status, why)) => {
            let typed = fields.get("reason").cloned().unwrap_or_default();
            page(&viewer, &name, &Fields::new(), status, Some((typed, why))).await
        }
    }
}

async fn attempt(viewer: &Viewer, name: &str, fields: &Fields) -> Result<u64, (StatusCode, String)> {
    let lang = viewer.lang();
    let typed = fields.get("reason").map(|text| text.trim()).unwrap_or_default();
    let reason = forms::reason(lang, typed).map_err(|why| (StatusCode::UNPROCESSABLE_ENTITY, why))?;
    let summary = viewer.console.app.shard().summary();
    let unknown = || (StatusCode::NOT_FOUND, lang.t(text::NO_SUCH_COUPON).to_owned());
    let coupon = resolve(viewer, &summary, name).ok_or_else(unknown)?;
    let by = viewer.who.principal.name.clone();
    let command = Command::Coupon(coupon::Command::RevokeCoupon { coupon, by, reason });
    let asked = viewer.console.app.ask(command, None).await;
    let (_, seq, _) = asked.map_err(|problem| (problem.status, parts::problem_words(lang, &problem)))?;
    Ok(seq)
}

async fn page(
    viewer: &Viewer,
    name: &str,
    query: &Fields,
    status: StatusCode,
    failed: Option<(String, String)>,
) -> Response {
    let (lang, app) = (viewer.lang(), &viewer.console.app);
    let summary = app.shard().summary();
    let Some(coupon) = resolve(viewer, &summary, name) else {
        return viewer.problem(
            StatusCode::NOT_FOUND,
            lang.t(text::NO_SUCH_COUPON),
            lang.t(text::NO_SUCH_COUPON_HINT),
        );
    };
    let done: Option<u64> = query.get("done").and_then(|seq| seq.parse().ok());
    if let Some(seq) = done {
        let progress = app.record_progress().clone();
        let waited = tokio::task::spawn_blocking(move || progress.wait_for(Seq(seq), WAIT_MAX)).await;
        // If it is not there yet, the page says as of which event it speaks.
        drop(waited);
    }
    let read = read_record(viewer, move |record| Ok((record.coupon(coupon)?, record.checkpoint()?))).await;
    let (record, checkpoint) = match read {
        Ok((Some(record), checkpoint)) => (record, checkpoint),
        Ok((None, _)) => {
            return viewer.problem(
                StatusCode::SERVICE_UNAVAILABLE,
                lang.t(text::NOT_SHOWN_YET),
                lang.t(text::NOT_SHOWN_YET_HINT),
            );
        }
        Err(why) => {
            let hint = lang.f(text::RECORD_UNREADABLE_HINT, &[&why]);
            return viewer.problem(StatusCode::SERVICE_UNAVAILABLE, lang.t(text::RECORD_UNREADABLE), &hint);
        }
    };
    let head = app.shard().confirmed().get().as_u64();
    let issued = record.seq.as_u64();
    let look_to: u64 = query.get("look").and_then(|seq| seq.parse().ok()).unwrap_or(0);
    let from = if look_to > issued { look_to } else { issued };
    let to = head.min(from.saturating_add(LOOK_EVENTS));
    let filter = Filter { coupon: Some(coupon), ..Filter::default() };
    let events = log_pages::off_thread(app.shard(), move |shard| {
        let mut events = log_pages::between(shard, from, to, &filter)?;
        if from > issued {
            events.splice(0..0, log_pages::one(shard, issued)?);
        }
        Ok(events)
    });
    let events = events.await;
    let name = name_of(&summary, coupon);
    let may_revoke =
        viewer.who.may_change() && matches!(record.state, CouponState::Issued | CouponState::Held);
    let body = html! {
        nav.crumbs {
            a href=(parts::campaign_href(record.campaign.as_str())) { (record.campaign) }
            a href=(parts::member_href(record.member.as_str())) { (parts::short(record.member.as_str())) }
        }
        (layout::title(&name, &html! { (parts::coupon_state(lang, record.state)) (parts::copy(lang, &name, &name)) }))
        @if let Some(seq) = done.filter(|_| record.state == CouponState::Revoked) {
            p.notice.well role="status" {
                strong { (lang.t(text::REVOKED)) ". " } (lang.t(text::BECAME)) " "
                a href=(parts::event_href(seq)) { (lang.f(text::EVENT_N, &[&format::number(seq)])) } ". " (lang.t(text::NO_WAY_BACK))
            }
        }
        div.columns {
            div {
                (facts(viewer, &record))
                (history(viewer, &summary, &name, events, to, head))
            }
            aside.controls aria-label=(lang.t(text::CONTROLS)) {
                h2 { (lang.t(text::CONTROLS)) }
                @if may_revoke { (revoke_form(viewer, &name, failed.as_ref())) }
                @else if viewer.who.may_change() { p.hint { (lang.t(text::COUPON_IS_FINAL)) } }
                @else { p.hint { (lang.t(text::READ_ONLY_HINT)) } }
            }
        }
        (as_of(viewer, checkpoint))
        (parts::curl(viewer, &format!("/v1/members/{}/coupons", link::encode(record.member.as_str()))))
    };
    (status, Page::new(&name, Section::Members, body).show(viewer)).into_response()
}

fn facts(viewer: &Viewer, record: &CouponRecord) -> Markup {
    let lang = viewer.lang();
    html! {
        dl.facts {
            (fact(lang.t(text::MEMBER), &html! { a href=(parts::member_href(record.member.as_str())) { (record.member) } }))
            (fact(lang.t(text::CAMPAIGN), &html! { a href=(parts::campaign_href(record.campaign.as_str())) { (record.campaign) } }))
            (fact(lang.t(text::CODE), &code(viewer, &record.code)))
            (fact(lang.t(text::ISSUED_STATE), &parts::time(lang, record.issued_at)))
            (fact(lang.t(text::EXPIRES), &html! {
                @match record.expires_at { Some(at) => { (parts::time(lang, at)) }, None => { (lang.t(text::NEVER)) } }
            }))
            @if let Some(order) = &record.order { (fact(lang.t(text::ORDER_TITLE), &parts::copy(lang, order, &parts::short(order)))) }
            @if let Some(until) = record.held_until { (fact(lang.t(text::HELD_UNTIL), &parts::time(lang, until))) }
            @if let Some(at) = record.redeemed_at { (fact(lang.t(text::REDEEMED), &parts::time(lang, at))) }
        }
    }
}

fn history(
    viewer: &Viewer,
    summary: &Summary,
    name: &str,
    events: Result<Vec<Found>, String>,
    to: u64,
    head: u64,
) -> Markup {
    let lang = viewer.lang();
    html! {
        section #history {
            h2 { (lang.t(text::HISTORY)) }
            @match events {
                Err(why) => { p.hint { (lang.f(text::LOG_UNREADABLE_HINT, &[&why])) } },
                Ok(events) => {
                    ol.actions.long {
                        @for found in events.iter().rev() {
                            li {
                                span.kind { a href=(parts::event_href(found.seq)) { (found.kind()) } }
                                span.what { (parts::event_words(lang, found, summary)) }
                                (parts::time(lang, found.time))
                            }
                        }
                    }
                    @if to < head {
                        p.hint { (lang.f(text::LOOKED_UP_TO, &[&format::number(to)])) " "
                            a href=(link::with(&parts::coupon_href(name), &[("look", &to.to_string())])) { (lang.t(text::LOOK_FURTHER)) }
                        }
                    }
                },
            }
        }
    }
}

fn revoke_form(viewer: &Viewer, name: &str, failed: Option<&(String, String)>) -> Markup {
    let lang = viewer.lang();
    let typed = failed.map(|(typed, _)| typed.as_str()).unwrap_or_default();
    html! {
        details.action open[failed.is_some()] {
            summary { (lang.t(text::REVOKE)) }
            form method="post" action={(parts::coupon_href(name)) "/revoke"} {
                (parts::csrf(viewer))
                @if let Some((_, why)) = failed { (parts::fault(why)) }
                p.what { (lang.t(text::REVOKE_WHAT)) }
                label for="reason" { (lang.t(text::REASON)) }
                input #reason name="reason" required maxlength="400" value=(typed) autocomplete="off" placeholder=(lang.t(text::REASON_EXAMPLE));
                button.danger type="submit" { (lang.t(text::REVOKE)) }
            }
        }
    }
}
