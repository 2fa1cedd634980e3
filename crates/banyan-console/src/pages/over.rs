//! The way over from an old shop: where the capability stands, what it is doing, and whether both sides tell the same.

use crate::forms::{Action, Attempt};
use crate::gate::{Fields, Viewer};
use crate::layout::{self, Page, Section};
use crate::log_pages::{self, Found, Look};
use crate::pages::over_parts::{self, Shown, phase_word};
use crate::parts;
use crate::text::{self, Lang, Text};
use axum::extract::Query;
use axum::response::{IntoResponse, Response};
use banyan_domain::legacy::{Event as LegacyEvent, Phase};
use banyan_domain::{Entry, Event};
use banyan_legacy::{DatabaseKind, Keeper, Status};
use http::StatusCode;
use maud::{Markup, html};

/// Where the page is.
pub(crate) const HREF: &str = "/console/over";
/// Events of each kind that are shown: the newest.
const EVENTS_SHOWN: usize = 20;
/// Of writes that were noticed together, how many are shown.
const BREACHES_SHOWN: usize = 5;

/// Shows where the capability stands.
pub(crate) async fn show(viewer: Viewer, Query(query): Query<Fields>) -> Response {
    page(&viewer, &query, StatusCode::OK, None).await
}

/// The page where no old shop is configured.
pub(crate) fn not_configured(viewer: &Viewer, status: StatusCode) -> Response {
    let lang = viewer.lang();
    let command = Some((lang, "banyan up --legacy mapping.toml"));
    let body = html! {
        (layout::title(lang.t(text::OVER), &html! {}))
        (parts::empty(lang.t(text::NO_OLD_SHOP), lang.t(text::NO_OLD_SHOP_HINT), command))
    };
    (status, Page::new(lang.t(text::OVER), Section::Over, body).show(viewer)).into_response()
}

/// The page, with an attempt at a change that failed if there was one.
pub(crate) async fn page(
    viewer: &Viewer,
    query: &Fields,
    status: StatusCode,
    attempt: Option<&Attempt>,
) -> Response {
    let lang = viewer.lang();
    let Some(keeper) = viewer.console.app.keeper() else { return not_configured(viewer, status) };
    let Ok(now) = keeper.status().await else {
        let hint = lang.t(text::STATE_UNREADABLE);
        return viewer.problem(StatusCode::SERVICE_UNAVAILABLE, lang.t(text::OVER), hint);
    };
    let moves = events(viewer, |event| {
        matches!(
            event,
            LegacyEvent::MoveBegun { .. }
                | LegacyEvent::MoveDone { .. }
                | LegacyEvent::MoveAborted { .. }
                | LegacyEvent::TakenOver { .. }
        )
    });
    let faults = events(viewer, |event| {
        matches!(
            event,
            LegacyEvent::BreachNoted { .. }
                | LegacyEvent::BreachesNoted { .. }
                | LegacyEvent::OutboxRefused { .. }
        )
    });
    let (moves, faults) = tokio::join!(moves, faults);
    let body = body(viewer, keeper, &now, &(moves, faults), query, attempt);
    let mut page = Page::new(lang.t(text::OVER), Section::Over, body);
    page.of = Shown::of(&now).write();
    (status, page.show(viewer)).into_response()
}

type Events = Result<Vec<Found>, String>;

/// The newest events of the capability that `want` keeps.
async fn events(viewer: &Viewer, want: fn(&LegacyEvent) -> bool) -> Events {
    let page = log_pages::off_thread(viewer.console.app.shard(), move |shard| {
        let wanted = |entry: &Entry| match &entry.event {
            Event::Legacy(event) if want(event) => Look::Keep,
            _ => Look::Pass,
        };
        log_pages::look_back(shard, u64::MAX, EVENTS_SHOWN, &wanted)
    });
    page.await.map(|page| page.events)
}

fn body(
    viewer: &Viewer,
    keeper: &Keeper,
    status: &Status,
    (moves, faults): &(Events, Events),
    query: &Fields,
    attempt: Option<&Attempt>,
) -> Markup {
    let lang = viewer.lang();
    let capability =
        html! { span.hint { (lang.t(text::CAPABILITY)) " " b { (keeper.mapping().capability) } } };
    let references = over_parts::references(lang, &keeper.references(), keeper.quiet_for());
    html! {
        (layout::title(lang.t(text::OVER), &capability))
        (done(lang, query))
        div #over-old {}
        div #over-phases { (over_parts::phases(lang, status)) }
        div #over-totals { (over_parts::totals(lang, status)) }
        div.columns {
            div {
                section { h2 { (lang.t(text::MOVE_UNDER_WAY)) } div #over-move { (over_parts::moving(lang, status)) } }
                section { h2 { (lang.t(text::COMPARISON)) } div #over-compared { (over_parts::compared(lang, status)) } (compare(viewer, attempt)) }
                (plots(lang, keeper))
                section { h2 { (lang.t(text::SYNC)) } div #over-sync { (over_parts::sync(lang, status)) } }
                section { h2 { (lang.t(text::HEALTH_OF_STREAM)) } div #over-health { (over_parts::health(lang, status)) } }
            }
            (panel(viewer, status, attempt))
        }
        section #references { h2 { (lang.t(text::REFERENCE_LEDGER)) } div #over-references { (references) } }
        section #breaches {
            header.line { h2 { (lang.t(text::BREACHES_AND_REFUSED)) }
                span { a href="/console/events?type=breach-noted" { (lang.t(text::ALL_BREACHES)) } " · " a href="/console/events?type=breaches-noted" { (lang.t(text::ALL_BULK_BREACHES)) } " · " a href="/console/events?type=outbox-refused" { (lang.t(text::ALL_REFUSED)) } } }
            (event_list(viewer, faults, text::NO_BREACHES))
        }
        section #moves {
            header.line { h2 { (lang.t(text::MOVES)) } a href="/console/events?type=move-begun" { (lang.t(text::ALL_MOVES)) } }
            (event_list(viewer, moves, text::NO_MOVES))
        }
        (tables(lang, keeper))
        (parts::curl(viewer, &format!("/v1/legacy/{}", keeper.mapping().capability)))
    }
}

fn done(lang: Lang, query: &Fields) -> Markup {
    let (word, detail) = match query.get("done").map(String::as_str) {
        Some("abort") => (text::MOVE_GIVEN_UP, String::new()),
        Some("compare") => {
            let n = |name: &str| query.get(name).and_then(|n| n.parse::<u64>().ok()).unwrap_or_default();
            let number = crate::format::number;
            (
                text::COMPARED_NOW,
                lang.f(text::COMPARED_RESULT, &[&number(n("rows")), &number(n("differing"))]),
            )
        }
        Some("comparing") => (text::STILL_COMPARING, String::new()),
        Some(number) if number.parse::<u64>().is_ok() => {
            (text::MOVE_BEGUN, lang.f(text::MOVE_BEGUN_N, &[number]))
        }
        _ => return html! {},
    };
    html! { p.notice.well role="status" { strong { (lang.t(word)) } " " (detail) } }
}

/// The lags of the last ten minutes, drawn by the script; the numbers stand below in words too.
fn plots(lang: Lang, keeper: &Keeper) -> Markup {
    let limit = keeper.mapping().watch.lag_max.as_millis();
    let plot = |id: &'static str, line: &'static str, word: Text| {
        html! {
            section.plot id=(id) data-limit=(limit) data-log="" {
                header {
                    h2 { (lang.t(word)) " " span.unit { "ms" } }
                    div.legend {
                        span data-line=(line) { i {} (lang.t(text::LAG)) " " b { "–" } }
                        span.limit { i {} (lang.t(text::LIMIT)) " " b { (limit) } }
                    }
                }
                div.canvas { p.hint { (lang.t(text::PLOT_WAITS)) } }
            }
        }
    };
    html! {
        section { h2 { (lang.t(text::LAGS)) }
            div.plots data-series="" data-marks="{}" {
                (plot("plot-inward", "inward", text::SYNC_IN))
                (plot("plot-outward", "outward", text::SYNC_OUT))
            }
        }
    }
}

fn compare(viewer: &Viewer, attempt: Option<&Attempt>) -> Markup {
    let lang = viewer.lang();
    let failed = attempt.filter(|attempt| attempt.is("compare"));
    html! {
        @if let Some(failed) = failed { (parts::fault(&failed.why)) }
        @if viewer.who.may_change() {
            form.compare method="post" action={(HREF) "/change"} {
                (parts::csrf(viewer))
                input type="hidden" name="action" value="compare";
                button type="submit" { (lang.t(text::COMPARE_NOW)) }
                span.hint { (lang.t(text::COMPARE_WHAT)) }
            }
        }
    }
}

fn event_list(viewer: &Viewer, events: &Events, none: Text) -> Markup {
    let lang = viewer.lang();
    html! {
        @match events {
            Err(why) => { p.hint { (lang.f(text::LOG_UNREADABLE_HINT, &[why])) } },
            Ok(events) if events.is_empty() => { p.hint { (lang.t(none)) } },
            Ok(events) => { (list(viewer, events)) },
        }
    }
}

/// The events in words of their own: what moved, what was written, what could not be done.
fn list(viewer: &Viewer, events: &[Found]) -> Markup {
    let lang = viewer.lang();
    html! {
        ol.actions.long { @for found in events {
            @let Event::Legacy(event) = &found.entry.event else { continue };
            li {
                span.kind { a href=(parts::event_href(found.seq)) { (found.kind()) } }
                span.what { @match event {
                    LegacyEvent::MoveBegun { number, to, by, reason, without, .. } => {
                        (lang.f(text::MOVE_N, &[&number.to_string()])) " → " b { (lang.t(phase_word(*to))) } " "
                        span.by { (lang.f(text::BY, &[by.as_str()])) } q.reason { (reason) }
                        @for one in without.iter().flatten() { " " span.hint { (one.gate) ": " (one.found) } }
                    },
                    LegacyEvent::MoveAborted { why, .. } => { q.reason { (why) } },
                    LegacyEvent::BreachNoted { sku, location, what, .. } => {
                        a href=(parts::sku_href(sku.as_str())) { (sku) } " " span.hint { (location) } " " (what)
                    },
                    LegacyEvent::TakenOver { phase, .. } => { "→ " b { (lang.t(phase_word(*phase))) } },
                    LegacyEvent::BreachesNoted { count, named, .. } => {
                        b { (lang.f(text::WRITES_N, &[&crate::format::number(u64::from(*count))])) }
                        @for one in named.iter().take(BREACHES_SHOWN) {
                            " " a href=(parts::sku_href(one.sku.as_str())) { (one.sku) } " " span.hint { (one.location) } " " (one.what)
                        }
                        @if *count as usize > BREACHES_SHOWN { " …" }
                    },
                    LegacyEvent::OutboxRefused { id, why, .. } => { (lang.f(text::MESSAGE_N, &[&id.to_string()])) " " (why) },
                    _ => {},
                } }
                (parts::time(lang, found.time))
            }
        } }
    }
}

/// What may be done: the next phase, the one before, or giving up the move under way.
fn panel(viewer: &Viewer, status: &Status, attempt: Option<&Attempt>) -> Markup {
    let lang = viewer.lang();
    let phase = status.state.phase;
    let beside = |to: &Phase| phase.is_next_to(*to);
    let post = format!("{HREF}/change");
    html! {
        aside.controls #actions aria-label=(lang.t(text::CONTROLS)) {
            h2 { (lang.t(text::CONTROLS)) }
            @if let Some(attempt) = attempt.filter(|attempt| attempt.is("begin") || (attempt.is("abort") && status.state.moving.is_none())) { (parts::fault(&attempt.why)) }
            @if !viewer.who.may_change() { p.hint { (lang.t(text::READ_ONLY_HINT)) } }
            @else if status.state.moving.is_some() {
                p.hint { (lang.t(text::ONE_MOVE)) }
                (Action { name: "abort", post: &post, word: text::ABORT_MOVE, what: lang.t(text::ABORT_WHAT), danger: true }.show(viewer, attempt, &html! {}))
            } @else {
                p.hint { (lang.t(text::WIZARD_HINT)) }
                ul.next-phases { @for to in Phase::ALL.into_iter().filter(beside).rev() {
                    li { a.button .primary[to > phase] href={(HREF) "/plan?to=" (to.as_str())} {
                        (lang.f(if to > phase { text::PLAN_NEXT } else { text::PLAN_BACK }, &[lang.t(phase_word(to))]))
                    } }
                } }
            }
        }
    }
}

/// What is mapped.
fn tables(lang: Lang, keeper: &Keeper) -> Markup {
    let mapping = keeper.mapping();
    let kind = match mapping.database.kind {
        DatabaseKind::Postgres => "PostgreSQL",
        DatabaseKind::Mysql => "MySQL / MariaDB",
    };
    html! {
        section {
            h2 { (lang.t(text::MAPPED)) " " span.hint { (kind) } }
            table.stack {
                thead { tr {
                    th scope="col" { (lang.t(text::OLD_TABLE)) } th scope="col" { (lang.t(text::SKU)) } th scope="col" { (lang.t(text::IN_STOCK_COLUMN)) } th scope="col" { (lang.t(text::ALLOCATED_COLUMN)) }
                } }
                tbody { @for table in &mapping.tables { tr {
                    th scope="row" { code { @if let Some(schema) = &table.name.schema { (schema) "." } (table.name.table) } }
                    td data-label=(lang.t(text::SKU)) { code { (table.sku) } }
                    td data-label=(lang.t(text::IN_STOCK_COLUMN)) { code { (table.in_stock) } }
                    td data-label=(lang.t(text::ALLOCATED_COLUMN)) { @match &table.allocated { Some(column) => { code { (column) } }, None => { "–" } } }
                } } }
            }
        }
    }
}
