//! One campaign: its numbers, its rules, what may be done to it, and what was.

use crate::format;
use crate::forms::Attempt;
use crate::gate::{Fields, Viewer};
use crate::journal::Reach;
use crate::layout::{self, Page, Section, count, fact};
use crate::link;
use crate::log_pages;
use crate::pages::campaign_change;
use crate::parts;
use crate::text;
use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Response};
use banyan_domain::coupon::{Audience, Stacking};
use banyan_engine::CampaignSummary;
use http::StatusCode;
use maud::{Markup, html};
use std::sync::Arc;

/// Actions on one page of the history.
const HISTORY_SHOWN: usize = 25;

/// Shows a campaign.
pub(crate) async fn show(viewer: Viewer, Path(id): Path<String>, Query(query): Query<Fields>) -> Response {
    page(&viewer, &id, &query, StatusCode::OK, None).await
}

/// The page, with an attempt at a change that failed if there was one.
pub(crate) async fn page(
    viewer: &Viewer,
    id: &str,
    query: &Fields,
    status: StatusCode,
    attempt: Option<&Attempt>,
) -> Response {
    let lang = viewer.lang();
    let summary = viewer.console.app.shard().summary();
    let Some(campaign) = summary.campaign(id).cloned() else {
        let hint = lang.f(text::NO_SUCH_CAMPAIGN_HINT, &[id]);
        return viewer.problem(StatusCode::NOT_FOUND, lang.t(text::NO_SUCH_CAMPAIGN), &hint);
    };
    let done = match query.get("done").and_then(|seq| seq.parse().ok()) {
        Some(seq) => done(viewer, &campaign, seq).await,
        None => html! {},
    };
    let before = query.get("before").and_then(|seq| seq.parse().ok()).unwrap_or(u64::MAX);
    let id = campaign.definition.id.as_str();
    let body = html! {
        div data-campaign=(id) {
            nav.crumbs { a href="/console/campaigns" { (lang.t(text::CAMPAIGNS)) } }
            (layout::title(&campaign.definition.name, &html! {
                (parts::campaign_state(lang, campaign.state_at(banyan_api::now())))
                (parts::copy(lang, id, id))
            }))
            (done)
            @if campaign.retired { p.notice { (lang.t(text::RETIRED)) } }
            section.numbers-line { (parts::issued_bar(lang, &campaign)) }
            (totals(viewer, &campaign))
            div.columns {
                div {
                    (rules(viewer, &campaign))
                    (history(viewer, &campaign, before))
                }
                (campaign_change::panel(viewer, &campaign, attempt))
            }
        }
        (parts::curl(viewer, &format!("/v1/campaigns/{id}")))
    };
    let page = Page { campaigns: vec![id], ..Page::new(&campaign.definition.name, Section::Campaigns, body) };
    (status, page.show(viewer)).into_response()
}

/// What a change became: told from the event itself, so an address cannot claim what did not happen.
async fn done(viewer: &Viewer, campaign: &Arc<CampaignSummary>, seq: u64) -> Markup {
    let (lang, shard) = (viewer.lang(), viewer.console.app.shard());
    let found = log_pages::off_thread(shard, move |shard| log_pages::one(shard, seq)).await;
    let Ok(Some(found)) = found else { return html! {} };
    if found.campaign() != Some(campaign.no) {
        return html! {};
    }
    let back = match found.kind() {
        "campaign-paused" => Some(text::WAY_BACK_RESUME),
        "campaign-resumed" => Some(text::WAY_BACK_PAUSE),
        "campaign-extended" | "campaign-quantity-changed" => Some(text::WAY_BACK_AGAIN),
        _ => None,
    };
    html! {
        p.notice.well role="status" {
            strong { (lang.t(text::action(found.kind()))) ". " }
            (lang.t(text::BECAME)) " "
            a href=(parts::event_href(seq)) { (lang.f(text::EVENT_N, &[&format::number(seq)])) } ". "
            @if let Some(back) = back { (lang.t(back)) }
        }
    }
}

fn totals(viewer: &Viewer, campaign: &CampaignSummary) -> Markup {
    let (lang, totals) = (viewer.lang(), campaign.totals);
    let number = |name: &str, n: u64| html! { span.num data-v=(name) { (format::number(n)) } };
    html! {
        dl.totals {
            (fact(lang.t(text::LEFT), &match campaign.left() {
                Some(left) => number("left", left),
                None => html! { (lang.t(text::UNLIMITED)) },
            }))
            (fact(lang.t(text::HELD), &number("held", totals.held)))
            (fact(lang.t(text::REDEEMED), &number("redeemed", totals.redeemed)))
            (fact(lang.t(text::REVOKED), &number("revoked", totals.revoked)))
            (fact(lang.t(text::EXPIRED), &number("expired", totals.expired)))
            @if campaign.allowed > 0 || campaign.definition.audience == Audience::AllowList {
                (count(lang.t(text::ON_ALLOW_LIST), campaign.allowed))
            }
            (fact(lang.t(text::MEMORY), &html! { (format::bytes(campaign.memory_bytes)) }))
        }
    }
}

fn rules(viewer: &Viewer, campaign: &CampaignSummary) -> Markup {
    let (lang, definition) = (viewer.lang(), &campaign.definition);
    html! {
        section {
            h2 { (lang.t(text::RULES)) }
            dl.facts {
                (fact(lang.t(text::BENEFIT), &html! { (format::benefit(lang, &definition.benefit)) }))
                @if let Some(minimum) = &definition.minimum_order {
                    (fact(lang.t(text::MINIMUM_ORDER), &html! { (format::money(minimum)) }))
                }
                (count(lang.t(text::PER_MEMBER), definition.per_member.into()))
                (fact(lang.t(text::AUDIENCE), &html! {
                    @match &definition.audience {
                        Audience::Everyone => { (lang.t(text::EVERYONE)) },
                        Audience::AllowList => { (lang.t(text::ALLOW_LIST)) },
                        Audience::Segment(segment) => { (lang.f(text::SEGMENT, &[segment.as_str()])) },
                    }
                }))
                @if let Some(starts) = definition.starts_at { (fact(lang.t(text::OPENS), &parts::time(lang, starts))) }
                (fact(lang.t(text::ENDS), &html! {
                    @match definition.ends_at { Some(ends) => { (parts::time(lang, ends)) }, None => { (lang.t(text::NO_END)) } }
                }))
                @if let Some(ended) = campaign.ended_at { (fact(lang.t(text::ENDED_AT), &parts::time(lang, ended))) }
                (fact(lang.t(text::VALIDITY), &html! {
                    @match definition.valid_for { Some(span) => { (format::span(lang, span)) }, None => { (lang.t(text::NEVER_EXPIRES)) } }
                }))
                (fact(lang.t(text::STACKING), &html! {
                    (lang.t(if definition.stacking == Stacking::Exclusive { text::EXCLUSIVE } else { text::STACKABLE }))
                }))
            }
        }
    }
}

fn history(viewer: &Viewer, campaign: &CampaignSummary, before: u64) -> Markup {
    let (lang, journal) = (viewer.lang(), &viewer.console.journal);
    let id = campaign.definition.id.as_str();
    let mut actions = journal.newest(Some(campaign.no), before, HISTORY_SHOWN + 1);
    let more = actions.len() > HISTORY_SHOWN;
    actions.truncate(HISTORY_SHOWN);
    html! {
        section #history {
            header.line {
                h2 { (lang.t(text::HISTORY)) }
                a href=(link::with("/console/events", &[("campaign", id)])) { (lang.t(text::ALL_EVENTS)) }
            }
            ol.actions.long {
                @for action in &actions {
                    li {
                        span.kind { a href=(parts::event_href(action.seq)) { (lang.t(text::action(action.kind))) } }
                        span.what { (parts::words(lang, &action.json)) }
                        (parts::time(lang, action.time))
                    }
                }
            }
            @if more {
                @let last = actions.last().map_or(0, |last| last.seq).to_string();
                a.button href=(link::with(&parts::campaign_href(id), &[("before", &last)])) { (lang.t(text::OLDER)) }
            }
            (reach(viewer, &journal.reach()))
        }
    }
}

/// Says so while the history is not read to its end yet, or cannot be.
fn reach(viewer: &Viewer, reach: &Reach) -> Markup {
    let lang = viewer.lang();
    let head = viewer.console.app.shard().confirmed().get().as_u64();
    html! {
        @if let Some(problem) = &reach.problem { p.hint { (lang.f(text::HISTORY_STOPPED, &[problem])) } }
        @else if reach.read_to + 100_000 < head { p.hint { (lang.f(text::HISTORY_READING, &[&format::percent(reach.read_to, head)])) } }
        @else if reach.first > 1 { p.hint { (lang.f(text::HISTORY_ARCHIVED, &[&format::number(reach.first)])) } }
    }
}
