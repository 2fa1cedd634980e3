//! The sale as it happens: plots, what is open, and what operators did last.

use crate::format;
use crate::gate::Viewer;
use crate::layout::{self, Page, Section};
use crate::parts;
use crate::text::{self, Text};
use axum::response::{IntoResponse, Response};
use banyan_domain::coupon::CampaignState;
use banyan_engine::CampaignSummary;
use maud::{Markup, html};
use std::sync::Arc;

/// Samples that the plots begin with: the last ten minutes.
const HISTORY: usize = 600;
/// Campaigns and actions beside the plots.
const CAMPAIGNS_SHOWN: usize = 8;
const ACTIONS_SHOWN: usize = 8;

/// Shows the sale.
pub(crate) async fn show(viewer: Viewer) -> Response {
    let lang = viewer.lang();
    let (summary, now) = (viewer.console.app.shard().summary(), banyan_api::now());
    let mut open: Vec<&Arc<CampaignSummary>> = summary
        .campaigns()
        .filter(|c| matches!(c.state_at(now), CampaignState::Open | CampaignState::Paused))
        .collect();
    // The ones that were issued from last come first.
    open.sort_by_key(|campaign| std::cmp::Reverse((campaign.seq, campaign.no)));
    let count = summary.campaigns().len();
    open.truncate(CAMPAIGNS_SHOWN);
    let ids = open.iter().map(|campaign| campaign.definition.id.as_str()).collect();
    let body = if summary.campaigns().len() == 0 {
        html! {
            (layout::title(lang.t(text::SALE), &html! {}))
            (parts::empty(lang.t(text::NO_CAMPAIGNS), lang.t(text::NO_CAMPAIGNS_HINT), Some((lang, "banyan campaign apply campaigns.toml"))))
            @if viewer.who.may_change() { p.centred { a.button.primary href="/console/campaigns/new" { (lang.t(text::NEW_CAMPAIGN)) } } }
        }
    } else {
        html! {
            (layout::title(lang.t(text::SALE), &html! { span.hint { (lang.t(text::LAST_TEN_MINUTES)) } }))
            div.sale {
                (plots(&viewer))
                aside {
                    (open_campaigns(&viewer, &open, count))
                    (actions(&viewer))
                }
            }
        }
    };
    Page {
        title: lang.t(text::SALE),
        section: Section::Sale,
        history: HISTORY,
        campaigns: ids,
        of: String::new(),
        body,
    }
    .show(&viewer)
    .into_response()
}

/// Every plot: its place, its words, and for the script which numbers it shows.
fn plots(viewer: &Viewer) -> Markup {
    let lang = viewer.lang();
    let limit = viewer.console.options.p99_limit.as_secs_f64() * 1e3;
    let plot = |id: &str, title: Text, unit: Text, lines: &[(&str, Text)], log: bool, limit: Option<f64>| {
        html! {
            section.plot #{"plot-" (id)} data-unit=(lang.t(unit)) data-log=[log.then_some("")] data-limit=[limit] aria-label=(lang.t(title)) {
                header {
                    h2 { (lang.t(title)) " " span.unit { (lang.t(unit)) } }
                    ul.legend {
                        @for (name, word) in lines { li data-line=(name) { i {} (lang.t(*word)) " " b {} } }
                        @if let Some(limit) = limit { li.limit { i {} (lang.t(text::LIMIT)) " " b { (format::millis(limit)) } } }
                    }
                }
                div.canvas role="img" aria-label=(lang.f(text::PLOT_OF, &[lang.t(title)])) { p.hint { (lang.t(text::PLOT_WAITS)) } }
            }
        }
    };
    html! {
        div.plots data-marks=(marks(viewer)) {
            (plot("issued", text::ISSUED, text::PER_SECOND, &[("issued", text::ISSUED), ("commands", text::DECIDED)], false, None))
            (plot("latency", text::LATENCY, text::UNIT_MS, &[("p50", text::P50), ("p99", text::P99_SHORT), ("max", text::MAX)], true, Some(limit)))
            (plot("refusals", text::REFUSALS, text::PER_SECOND, &[
                ("sold_out", text::SOLD_OUT), ("limit", text::LIMIT_REACHED), ("closed", text::NOT_OPEN),
                ("audience", text::NOT_ELIGIBLE), ("busy", text::TURNED_AWAY), ("other", text::OTHER),
            ], false, None))
            (plot("sync", text::SYNC_TIME, text::UNIT_MS, &[("sync50", text::P50), ("sync99", text::P99_SHORT)], true, None))
            (plot("queue", text::QUEUE, text::UNIT_COMMANDS, &[("queue", text::WAITING)], false, None))
            (plot("block", text::BLOCK_SIZE, text::UNIT_EVENTS, &[("block", text::MEAN)], false, None))
            (plot("lag", text::VIEW_LAG, text::UNIT_MS, &[("lag", text::BEHIND)], false, None))
        }
    }
}

/// The words for marks on plots, for the script.
fn marks(viewer: &Viewer) -> String {
    let lang = viewer.lang();
    let words = [
        ("campaign-created", text::MARK_CREATED),
        ("campaign-paused", text::MARK_PAUSED),
        ("campaign-resumed", text::MARK_RESUMED),
        ("campaign-extended", text::MARK_EXTENDED),
        ("campaign-quantity-changed", text::MARK_QUANTITY),
        ("campaign-ended", text::MARK_ENDED),
    ];
    let words: serde_json::Map<_, _> =
        words.into_iter().map(|(kind, word)| (kind.to_owned(), lang.t(word).into())).collect();
    serde_json::Value::Object(words).to_string()
}

fn open_campaigns(viewer: &Viewer, open: &[&Arc<CampaignSummary>], count: usize) -> Markup {
    let (lang, now) = (viewer.lang(), banyan_api::now());
    html! {
        section.panel {
            header { h2 { (lang.t(text::OPEN_CAMPAIGNS)) } a href="/console/campaigns" { (lang.f(text::ALL_N, &[&format::number(count as u64)])) } }
            @if open.is_empty() { p.hint { (lang.t(text::NONE_OPEN)) } }
            ul.campaigns {
                @for campaign in open {
                    @let id = campaign.definition.id.as_str();
                    li data-campaign=(id) {
                        a href=(parts::campaign_href(id)) { (campaign.definition.name) }
                        (parts::campaign_state(lang, campaign.state_at(now)))
                        (parts::issued_bar(lang, campaign))
                    }
                }
            }
        }
    }
}

fn actions(viewer: &Viewer) -> Markup {
    let lang = viewer.lang();
    let actions = viewer.console.journal.newest(None, u64::MAX, ACTIONS_SHOWN);
    html! {
        section.panel {
            header { h2 { (lang.t(text::LATEST_ACTIONS)) } }
            @if actions.is_empty() { p.hint { (lang.t(text::NO_ACTIONS)) } }
            ol.actions {
                @for action in &actions {
                    li {
                        span.kind { a href=(parts::event_href(action.seq)) { (lang.t(text::action(action.kind))) } }
                        a href=(parts::campaign_href(action.text("campaign"))) { (action.text("campaign")) }
                        (parts::time(lang, action.time))
                        @if !action.text("reason").is_empty() { q.reason { (action.text("reason")) } }
                    }
                }
            }
        }
    }
}
