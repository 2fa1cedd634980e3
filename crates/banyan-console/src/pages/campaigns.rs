//! Every campaign: filtered in the address bar, in pages, with numbers that move.

use crate::format;
use crate::gate::{Fields, Viewer};
use crate::layout::{self, Page, Section};
use crate::link;
use crate::parts;
use crate::text::{self, Text};
use axum::extract::Query;
use axum::response::{IntoResponse, Response};
use banyan_domain::Timestamp;
use banyan_domain::coupon::CampaignState;
use banyan_engine::{CampaignSummary, Summary};
use maud::{Markup, html};
use std::sync::Arc;

/// Campaigns on one page.
const PAGE_CAMPAIGNS: usize = 50;

const STATES: [(&str, CampaignState, Text); 4] = [
    ("open", CampaignState::Open, text::OPEN),
    ("scheduled", CampaignState::Scheduled, text::SCHEDULED),
    ("paused", CampaignState::Paused, text::PAUSED),
    ("ended", CampaignState::Ended, text::ENDED),
];

/// What the address asks for.
struct Asked {
    state: String,
    q: String,
    before: Option<u32>,
}

/// Lists campaigns, newest first.
pub(crate) async fn show(viewer: Viewer, Query(query): Query<Fields>) -> Response {
    let (lang, now) = (viewer.lang(), banyan_api::now());
    let summary = viewer.console.app.shard().summary();
    let field = |name: &str| query.get(name).map(|text| text.trim().to_owned()).unwrap_or_default();
    let asked = Asked { state: field("state"), q: field("q"), before: field("before").parse().ok() };
    let counts = STATES.map(|(_, state, _)| summary.campaigns().filter(|c| c.state_at(now) == state).count());
    let (rows, more) = find(&summary, &asked, now);
    let ids = rows.iter().map(|campaign| campaign.definition.id.as_str()).collect();
    let beside = html! {
        @if viewer.who.may_change() { a.button.primary href="/console/campaigns/new" { (lang.t(text::NEW_CAMPAIGN)) } }
    };
    let body = html! {
        (layout::title(lang.t(text::CAMPAIGNS), &beside))
        @if summary.campaigns().len() == 0 {
            (parts::empty(lang.t(text::NO_CAMPAIGNS), lang.t(text::NO_CAMPAIGNS_HINT), Some((lang, "banyan campaign apply campaigns.toml"))))
        } @else {
            (filters(&viewer, &asked, counts, summary.campaigns().len()))
            div #list {
                @if rows.is_empty() {
                    p.nothing { (lang.t(text::NO_MATCH)) " " a href="/console/campaigns" { (lang.t(text::SHOW_ALL)) } }
                } @else {
                    (table(&viewer, &rows, now))
                }
                (pager(&viewer, &asked, more))
            }
        }
        (parts::curl(&viewer, "/v1/campaigns"))
    };
    Page { campaigns: ids, ..Page::new(lang.t(text::CAMPAIGNS), Section::Campaigns, body) }
        .show(&viewer)
        .into_response()
}

/// The page of campaigns that was asked for, and the cursor of the next one if there is more.
fn find<'a>(
    summary: &'a Summary,
    asked: &Asked,
    now: Timestamp,
) -> (Vec<&'a Arc<CampaignSummary>>, Option<u32>) {
    let wanted = asked.q.to_lowercase();
    let state = STATES.iter().find(|(name, ..)| *name == asked.state).map(|(_, state, _)| *state);
    let mut rows: Vec<_> = summary
        .campaigns()
        .rev()
        .filter(|c| asked.before.is_none_or(|before| c.no.get() < before))
        .filter(|c| state.is_none_or(|state| c.state_at(now) == state))
        .filter(|c| {
            wanted.is_empty()
                || c.definition.id.as_str().contains(&wanted)
                || c.definition.name.to_lowercase().contains(&wanted)
        })
        .take(PAGE_CAMPAIGNS + 1)
        .collect();
    let is_more = rows.len() > PAGE_CAMPAIGNS;
    rows.truncate(PAGE_CAMPAIGNS);
    let more = rows.last().filter(|_| is_more).map(|last| last.no.get());
    (rows, more)
}

fn filters(viewer: &Viewer, asked: &Asked, counts: [usize; 4], all: usize) -> Markup {
    let lang = viewer.lang();
    let tab = |state: &str, word: Text, count: usize| {
        let href = link::with("/console/campaigns", &[("state", state), ("q", &asked.q)]);
        html! {
            a href=(href) aria-current=[(asked.state == state).then_some("true")] {
                (lang.t(word)) " " span.num { (format::number(count as u64)) }
            }
        }
    };
    html! {
        form.filters method="get" action="/console/campaigns" role="search"
            hx-get="/console/campaigns" hx-target="#list" hx-select="#list" hx-select-oob="#tabs" hx-swap="outerHTML" hx-push-url="true"
            hx-trigger="input changed delay:250ms from:#q, submit" {
            nav #tabs .tabs aria-label=(lang.t(text::BY_STATE)) {
                (tab("", text::ALL, all))
                @for ((name, _, word), count) in STATES.into_iter().zip(counts) { (tab(name, word, count)) }
            }
            @if !asked.state.is_empty() { input type="hidden" name="state" value=(asked.state); }
            label.find for="q" { span.sr { (lang.t(text::FIND_CAMPAIGN)) }
                input #q type="search" name="q" value=(asked.q) placeholder=(lang.t(text::FIND_CAMPAIGN)) autocomplete="off";
            }
        }
    }
}

fn table(viewer: &Viewer, rows: &[&Arc<CampaignSummary>], now: Timestamp) -> Markup {
    let lang = viewer.lang();
    html! {
        table.stack {
            thead { tr {
                th scope="col" { (lang.t(text::CAMPAIGN)) }
                th scope="col" { (lang.t(text::STATE)) }
                th scope="col" { (lang.t(text::ISSUED_OF)) }
                th.num scope="col" { (lang.t(text::REDEEMED)) }
                th scope="col" { (lang.t(text::BENEFIT)) }
                th scope="col" { (lang.t(text::WINDOW)) }
            } }
            tbody {
                @for campaign in rows {
                    @let definition = &campaign.definition;
                    tr data-campaign=(definition.id) {
                        th scope="row" {
                            a href=(parts::campaign_href(definition.id.as_str())) { (definition.name) }
                            span.id.mono { (definition.id) }
                        }
                        td { (parts::campaign_state(lang, campaign.state_at(now))) }
                        td { (parts::issued_bar(lang, campaign)) }
                        td.num data-label=(lang.t(text::REDEEMED)) { span data-v="redeemed" { (format::number(campaign.totals.redeemed)) } }
                        td data-label=(lang.t(text::BENEFIT)) { (format::benefit(lang, &definition.benefit)) }
                        td data-label=(lang.t(text::WINDOW)) { span { (window(viewer, campaign)) } }
                    }
                }
            }
        }
    }
}

/// When a campaign opens and ends, whichever is next.
pub(crate) fn window(viewer: &Viewer, campaign: &CampaignSummary) -> Markup {
    let (lang, now) = (viewer.lang(), banyan_api::now());
    let definition = &campaign.definition;
    html! {
        @match (campaign.ended_at, definition.starts_at, definition.ends_at) {
            (Some(ended), ..) => { (lang.t(text::ENDED_AT)) " " (parts::time(lang, ended)) },
            (None, Some(starts), _) if starts > now => { (lang.t(text::OPENS)) " " (parts::time(lang, starts)) },
            (None, _, Some(ends)) => { (lang.t(text::ENDS)) " " (parts::time(lang, ends)) },
            (None, _, None) => { span.hint { (lang.t(text::NO_END)) } },
        }
    }
}

fn pager(viewer: &Viewer, asked: &Asked, more: Option<u32>) -> Markup {
    let lang = viewer.lang();
    let href = |before: &str| {
        link::with("/console/campaigns", &[("state", &asked.state), ("q", &asked.q), ("before", before)])
    };
    html! {
        nav.pager aria-label=(lang.t(text::PAGES)) {
            @if asked.before.is_some() { a.button href=(href("")) { (lang.t(text::NEWEST)) } }
            @if let Some(before) = more { a.button href=(href(&before.to_string())) rel="next" { (lang.t(text::OLDER)) } }
        }
    }
}
