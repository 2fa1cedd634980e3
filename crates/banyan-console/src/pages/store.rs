//! How the store is: the log, snapshots, the last start, views, memory.

use crate::format;
use crate::gate::Viewer;
use crate::layout::{self, Page, Section, count, fact};
use crate::pages::read_record;
use crate::parts;
use crate::text::{self, Text};
use axum::response::{IntoResponse, Response};
use banyan_domain::limits;
use banyan_engine::CampaignSummary;
use banyan_log::{Health, Seq};
use banyan_views::ViewState;
use banyan_views::record::ParkedEvent;
use maud::{Markup, html};
use std::sync::Arc;

/// Parked events and campaigns shown.
const PARKED_SHOWN: usize = 20;
const CAMPAIGNS_SHOWN: usize = 10;

/// Shows the store.
pub(crate) async fn show(viewer: Viewer) -> Response {
    let lang = viewer.lang();
    let app = &viewer.console.app;
    let shard = app.shard().clone();
    let health = tokio::task::spawn_blocking(move || shard.log_health()).await.ok();
    let health = health.or_else(|| viewer.console.sampler.health());
    let metrics = app.shard().metrics();
    let parked = read_record(&viewer, |record| record.parked(Seq(0), PARKED_SHOWN)).await;
    let body = html! {
        (layout::title(lang.t(text::STORE), &html! {}))
        @if metrics.alarm { p.notice.harm role="alert" { (lang.t(text::WHY_ALARM)) } }
        @if metrics.storage_is_full { p.notice.harm role="alert" { (lang.t(text::WHY_STORAGE_FULL)) } }
        div.cards {
            @match &health { Some(health) => { (log(&viewer, health)) }, None => { p.hint { (lang.t(text::NO_HEALTH)) } } }
            (snapshots(&viewer, metrics.snapshot_seq, metrics.alarm))
            (view(&viewer))
            (start(&viewer))
            (memory(&viewer))
            (traffic(&viewer))
        }
        @match parked {
            Ok(parked) => { (parked_lane(&viewer, &parked)) },
            Err(why) => { (parts::fault(&lang.f(text::RECORD_UNREADABLE_HINT, &[&why]))) },
        }
        (parts::curl(&viewer, "/metrics"))
    };
    Page::new(lang.t(text::STORE), Section::Store, body).show(&viewer).into_response()
}

fn card(viewer: &Viewer, title: Text, facts: &Markup) -> Markup {
    html! { section.card { h2 { (viewer.lang().t(title)) } dl.facts { (facts) } } }
}

fn log(viewer: &Viewer, health: &Health) -> Markup {
    let lang = viewer.lang();
    let meaning = match health.durability.name() {
        "fsync" => text::FSYNC_MEANS,
        "quorum_fsync" => text::QUORUM_MEANS,
        _ => text::MEMORY_MEANS,
    };
    card(
        viewer,
        text::LOG,
        &html! {
            (fact(lang.t(text::DURABILITY), &html! { b { (health.durability.name()) } p.hint { (lang.t(meaning)) } }))
            (fact(lang.t(text::HEAD), &html! { a.num href=(parts::event_href(health.head.as_u64())) { (format::number(health.head.as_u64())) } }))
            (count(lang.t(text::FIRST_LIVE), health.first_seq.as_u64()))
            (count(lang.t(text::EPOCH), health.epoch.as_u64()))
            (fact(lang.t(text::SEGMENTS), &html! { (format::number(health.segments)) " · " (format::bytes(health.bytes)) }))
            (fact(lang.t(text::SPARE), &html! {
                @match &health.spare_problem {
                    Some(problem) => { (parts::state(lang, "failed", text::SPARE_FAILED)) p.hint { (problem) } },
                    None if health.spare_ready => { (parts::state(lang, "redeemed", text::READY)) },
                    None => { (parts::state(lang, "retrying", text::PREPARING)) },
                }
            }))
            @if let Some(why) = &health.poisoned { (fact(lang.t(text::POISONED), &html! { (parts::fault(why)) })) }
        },
    )
}

fn snapshots(viewer: &Viewer, seq: u64, alarm: bool) -> Markup {
    let lang = viewer.lang();
    let head = viewer.console.app.shard().confirmed().get().as_u64();
    card(
        viewer,
        text::SNAPSHOTS,
        &html! {
            (fact(lang.t(text::NEWEST_SNAPSHOT), &html! {
                @if seq == 0 { (lang.t(text::NO_SNAPSHOT)) } @else { (lang.f(text::AT_EVENT, &[&format::number(seq)])) }
            }))
            (fact(lang.t(text::TO_REPLAY), &html! { (lang.f(text::N_EVENTS, &[&format::number(head.saturating_sub(seq))])) }))
            (fact(lang.t(text::DETERMINISM), &html! {
                @if alarm { (parts::state(lang, "failed", text::ALARM)) } @else { (parts::state(lang, "redeemed", text::NO_ALARM)) }
            }))
        },
    )
}

fn view(viewer: &Viewer) -> Markup {
    let (lang, progress) = (viewer.lang(), viewer.console.app.record_progress());
    let (shape, word) = match progress.state() {
        ViewState::Running => ("running", text::RUNNING),
        ViewState::Rebuilding => ("rebuilding", text::REBUILDING),
        ViewState::Retrying => ("retrying", text::RETRYING),
        ViewState::Failed => ("failed", text::FAILED),
        ViewState::Stopped => ("stopped", text::STOPPED),
    };
    card(
        viewer,
        text::RECORD_STORE,
        &html! {
            (fact(lang.t(text::STATE), &html! { (parts::state(lang, shape, word)) @if let Some(problem) = progress.problem() { p.hint { (problem) } } }))
            (count(lang.t(text::APPLIED), progress.applied().as_u64()))
            (fact(lang.t(text::VIEW_LAG), &html! { span data-v="lag" { (format::millis(progress.lag().as_secs_f64() * 1e3)) } " · " (lang.f(text::N_EVENTS, &[&format::number(progress.lag_events())])) }))
            (fact(lang.t(text::PACE), &html! { (lang.f(text::N_EVENTS_PER_SECOND, &[&format::number(progress.events_per_second())])) }))
            (count(lang.t(text::PARKED), progress.parked()))
        },
    )
}

fn start(viewer: &Viewer) -> Markup {
    let (lang, report) = (viewer.lang(), viewer.console.app.shard().report());
    card(
        viewer,
        text::LAST_START,
        &html! {
            (fact(lang.t(text::TOOK), &html! { (format::millis(report.took.as_secs_f64() * 1e3)) }))
            (fact(lang.t(text::FROM_SNAPSHOT), &html! {
                @if report.created { (lang.t(text::STORE_CREATED)) }
                @else if report.snapshot_seq == 0 { (lang.t(text::NO_SNAPSHOT)) }
                @else { (lang.f(text::AT_EVENT, &[&format::number(report.snapshot_seq)])) }
            }))
            (fact(lang.t(text::REPLAYED), &html! { (lang.f(text::N_EVENTS, &[&format::number(report.replayed)])) }))
            @for passed in &report.snapshots_passed { (fact(lang.t(text::SNAPSHOT_PASSED), &html! { (passed) })) }
        },
    )
}

fn memory(viewer: &Viewer) -> Markup {
    let (lang, summary) = (viewer.lang(), viewer.console.app.shard().summary());
    let mut campaigns: Vec<&Arc<CampaignSummary>> =
        summary.campaigns().filter(|c| c.memory_bytes > 0).collect();
    let all: u64 = campaigns.iter().map(|campaign| campaign.memory_bytes).sum();
    campaigns.sort_by_key(|campaign| std::cmp::Reverse(campaign.memory_bytes));
    let keys_max = limits::IDEMPOTENCY_KEYS_MAX as u64;
    html! {
        section.card {
            h2 { (lang.t(text::MEMORY)) }
            dl.facts {
                (fact(lang.t(text::IN_CAMPAIGNS), &html! { (format::bytes(all)) }))
                (fact(lang.t(text::IDEMPOTENCY_KEYS), &html! {
                    (lang.f(text::N_OF_M, &[&format::number(summary.idempotency_keys), &format::number(keys_max)]))
                }))
                @for campaign in campaigns.iter().take(CAMPAIGNS_SHOWN) {
                    div {
                        dt { a href=(parts::campaign_href(campaign.definition.id.as_str())) { (campaign.definition.id) } }
                        dd.num { (format::bytes(campaign.memory_bytes)) }
                    }
                }
                @if campaigns.len() > CAMPAIGNS_SHOWN { (fact("", &html! { span.hint { (lang.f(text::AND_MORE, &[&format::number((campaigns.len() - CAMPAIGNS_SHOWN) as u64)])) } })) }
            }
        }
    }
}

fn traffic(viewer: &Viewer) -> Markup {
    let (lang, app) = (viewer.lang(), &viewer.console.app);
    let metrics = app.shard().metrics();
    let [good, asked_wrong, failed] = app.http().answers();
    card(
        viewer,
        text::SINCE_START,
        &html! {
            (count(lang.t(text::DECIDED), metrics.commands))
            (count(lang.t(text::ISSUED), metrics.issued))
            (count(lang.t(text::GIVEN_AGAIN), metrics.replayed))
            (fact(lang.t(text::BLOCKS), &html! { (format::number(metrics.blocks)) " · " (format::bytes(metrics.bytes)) }))
            (count(lang.t(text::TURNED_AWAY), metrics.busy + metrics.storage_full))
            (fact(lang.t(text::HTTP_ANSWERS), &html! {
                (lang.f(text::HTTP_CLASSES, &[&format::number(good), &format::number(asked_wrong), &format::number(failed)]))
            }))
            (count(lang.t(text::CONSOLE_SESSIONS), (viewer.console.options.streams_max - viewer.console.streams.available_permits()) as u64))
        },
    )
}

fn parked_lane(viewer: &Viewer, parked: &[ParkedEvent]) -> Markup {
    let lang = viewer.lang();
    html! {
        section {
            h2 { (lang.t(text::PARKED_LANE)) }
            @if parked.is_empty() {
                p.hint { (lang.t(text::PARKED_NONE)) }
            } @else {
                p.notice.wait { (lang.t(text::PARKED_WHAT)) }
                table.stack {
                    thead { tr { th.num scope="col" { (lang.t(text::SEQ)) } th scope="col" { (lang.t(text::ABOUT)) } th scope="col" { (lang.t(text::CONTRADICTION)) } th scope="col" { (lang.t(text::TIME)) } } }
                    tbody { @for event in parked {
                        tr {
                            td.num { a href=(parts::event_href(event.seq.as_u64())) { (format::number(event.seq.as_u64())) } }
                            td.mono { (event.key) }
                            td { (event.error) }
                            td { (parts::time(lang, event.at)) }
                        }
                    } }
                }
            }
        }
    }
}
