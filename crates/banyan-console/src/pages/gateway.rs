//! The gateway: its routes with who answers them and what goes over them, its history, its servers, and who still calls the
//! old shop.

use crate::format;
use crate::forms::{self, Attempt, Refused, typed, wrong};
use crate::gate::{Fields, OperatorForm, Viewer};
use crate::layout::{self, Page, Section};
use crate::link;
use crate::pages::{route_change, route_parts};
use crate::parts;
use crate::text::{self, Lang};
use axum::extract::Query;
use axum::response::{IntoResponse, Redirect, Response};
use banyan_domain::Timestamp;
use banyan_gateway::{Change, Entry, Gateway, Mode, Route, RouteSpec};
use http::StatusCode;
use maud::{Markup, html};
use std::collections::BTreeSet;
use std::time::Duration;

/// Where the page is.
pub(crate) const HREF: &str = "/console/gateway";
/// Versions shown.
const HISTORY_SHOWN: usize = 30;
/// Who called within this time is left, where nobody says otherwise.
const QUIET_FOR: Duration = Duration::from_secs(7 * 86_400);
/// Callers shown of each capability.
const CALLERS_SHOWN: usize = 50;

/// Shows the table of routes.
pub(crate) async fn show(viewer: Viewer, Query(query): Query<Fields>) -> Response {
    page(&viewer, &query, StatusCode::OK, None)
}

/// The page, with an attempt at a change that failed if there was one.
pub(crate) fn page(
    viewer: &Viewer,
    query: &Fields,
    status: StatusCode,
    attempt: Option<&Attempt>,
) -> Response {
    let lang = viewer.lang();
    let Some(gateway) = viewer.console.options.gateway.get() else {
        let body = html! {
            (layout::title(lang.t(text::GATEWAY), &html! {}))
            (parts::empty(lang.t(text::NO_GATEWAY), lang.t(text::NO_GATEWAY_HINT), Some((lang, "banyan up --gateway gateway.toml"))))
            p.hint.centred { (lang.t(text::GATEWAY_ALONE)) }
        };
        return (status, Page::new(lang.t(text::GATEWAY), Section::Gateway, body).show(viewer))
            .into_response();
    };
    let table = gateway.table();
    let version = table.version();
    let beside = html! { span.hint #table-version { (route_parts::version(lang, version)) } };
    let body = html! {
        (layout::title(lang.t(text::GATEWAY), &beside))
        (done(lang, query))
        // A form that is gone, because its route is: what was refused is said all the same.
        @if let Some(attempt) = attempt.filter(|attempt| !has_form(attempt, gateway)) { (parts::fault(&attempt.why)) }
        section #routes {
            h2 { (lang.t(text::ROUTES)) " " span.hint { (lang.t(text::LAST_SECONDS)) } }
            (routes(viewer, table.routes().iter().map(AsRef::as_ref), version, attempt))
        }
        (callers(viewer, gateway))
        (history(viewer, gateway, attempt))
        (upstreams(lang, gateway))
        @if let Some(command) = admin_command(gateway, "/v1/table") {
            section.curl aria-label=(lang.t(text::CURL)) { h2 { (lang.t(text::CURL)) } (parts::command_line(lang, &command)) }
        }
    };
    let mut page = Page::new(lang.t(text::GATEWAY), Section::Gateway, body);
    page.of = "gateway".into();
    (status, page.show(viewer)).into_response()
}

/// The command that asks the admin API the same, if it has an address.
pub(crate) fn admin_command(gateway: &Gateway, path: &str) -> Option<String> {
    let config = gateway.config();
    let admin = config.admin.filter(|admin| admin.port() != 0)?;
    let key = config.state.join("admin.key");
    Some(format!("curl -H \"Authorization: Bearer $(cat '{}')\" 'http://{admin}{path}'", key.display()))
}

/// What a change became.
pub(crate) fn done(lang: Lang, query: &Fields) -> Markup {
    match query.get("done").map(String::as_str) {
        Some("restart") => html! { p.notice.well role="status" { (lang.t(text::EVIDENCE_RESTARTED)) } },
        Some(done) => match done.parse::<u64>() {
            Ok(version) => html! {
                p.notice.well role="status" {
                    strong { (lang.f(text::IN_FORCE, &[&format::number(version)])) } " " (lang.t(text::WAY_BACK)) " "
                    a href={(HREF) "#version-" (version)} { (lang.t(text::GATEWAY_HISTORY)) }
                }
            },
            Err(_) => html! {},
        },
        None => html! {},
    }
}

fn has_form(attempt: &Attempt, gateway: &Gateway) -> bool {
    let table = gateway.table();
    match attempt.fields.get("route") {
        Some(route) => table.route(route).is_some(),
        None => forms::field(&attempt.fields, "version")
            .parse()
            .is_ok_and(|version: u64| gateway.history(HISTORY_SHOWN).iter().any(|e| e.version == version)),
    }
}

/// What a route matches, in words.
pub(crate) fn matches(spec: &RouteSpec) -> String {
    let mut text = format!("{}{}", spec.host.as_deref().unwrap_or_default(), spec.path);
    if !spec.methods.is_empty() {
        text = format!("{} {text}", spec.methods.join(", "));
    }
    for (name, value) in &spec.headers {
        text.push_str(&format!(" · {name}: {value}"));
    }
    text
}

fn routes<'a>(
    viewer: &Viewer,
    routes: impl Iterator<Item = &'a Route>,
    version: u64,
    attempt: Option<&Attempt>,
) -> Markup {
    let lang = viewer.lang();
    html! {
        ul.routes { @for route in routes {
            @let spec = route.spec();
            li {
                div.route-head {
                    a.route-name href=(route_parts::route_href(route.name())) { (route.name()) }
                    @if matches(spec) != route.name() { code.hint { (matches(spec)) } }
                    span.upstreams { (lang.f(text::FROM_TO, &[spec.upstream.as_deref().unwrap_or("–"), spec.banyan.as_deref().unwrap_or("–")])) }
                }
                div.route-share { (route_parts::placed("share", route.name(), &route_parts::share(lang, route))) }
                div.route-traffic { (route_parts::placed("traffic", route.name(), &route_parts::traffic(&viewer.console, lang, route.name()))) }
                div.route-change { @if viewer.who.may_change() { (route_change::set_form(viewer, route, version, attempt, "table")) } }
            }
        } }
    }
}

/// Who still calls routes that touch a capability, at the old shop.
fn callers(viewer: &Viewer, gateway: &Gateway) -> Markup {
    let lang = viewer.lang();
    let table = gateway.table();
    let capabilities: BTreeSet<&str> =
        table.routes().iter().flat_map(|route| route.spec().touches.iter().map(String::as_str)).collect();
    let keeper = viewer.console.app.keeper();
    html! {
        section #callers {
            h2 { (lang.t(text::CALLERS)) }
            @if capabilities.is_empty() { p.hint { (lang.t(text::NO_CALLERS_WATCHED)) } }
            @for capability in capabilities {
                @let within = keeper.filter(|keeper| keeper.mapping().capability == capability).map_or(QUIET_FOR, |keeper| keeper.quiet_for());
                @let report = gateway.callers(capability, within);
                @let span = format::stopwatch(lang, banyan_domain::Millis::new(report.within_millis));
                h3 { (capability) ": " (lang.f(text::N_LEFT, &[&format::number(report.left as u64)])) }
                p.hint {
                    (lang.f(text::CALLERS_WITHIN, &[&span])) " "
                    @if !report.watched { (lang.t(text::NOT_WATCHED_YET)) " " (lang.t(text::WATCHED_SINCE)) " " (parts::time(lang, Timestamp::from_millis(report.since))) "." }
                }
                @if !report.references.is_empty() { table.stack {
                    thead { tr {
                        th scope="col" { (lang.t(text::CALLER)) } th scope="col" { (lang.t(text::ROUTE)) } th scope="col" { (lang.t(text::STILL_LEFT)) }
                        th.num scope="col" { (lang.t(text::SIDE_LEGACY)) } th.num scope="col" { (lang.t(text::SIDE_BANYAN)) } th scope="col" { (lang.t(text::LAST_AT_LEGACY)) }
                    } }
                    tbody { @for reference in report.references.iter().take(CALLERS_SHOWN) { tr {
                        th scope="row" { (reference.caller) }
                        td data-label=(lang.t(text::ROUTE)) { a href=(route_parts::route_href(&reference.route)) { (reference.route) } }
                        td { @if reference.left { (parts::state(lang, "held", text::IS_LEFT)) } @else { (parts::state(lang, "completed", text::IS_GONE)) } }
                        td.num data-label=(lang.t(text::SIDE_LEGACY)) { (format::number(reference.legacy)) }
                        td.num data-label=(lang.t(text::SIDE_BANYAN)) { (format::number(reference.banyan)) }
                        td.quiet data-label=(lang.t(text::LAST_AT_LEGACY)) { @match reference.legacy_at { Some(at) => { (parts::time(lang, Timestamp::from_millis(at))) }, None => { "–" } } }
                    } } }
                } }
            }
        }
    }
}

fn history(viewer: &Viewer, gateway: &Gateway, attempt: Option<&Attempt>) -> Markup {
    let lang = viewer.lang();
    let entries = gateway.history(HISTORY_SHOWN);
    html! {
        section #history {
            h2 { (lang.t(text::GATEWAY_HISTORY)) }
            ol.versions { @for entry in &entries {
                li id={"version-" (entry.version)} {
                    span.version { (lang.f(text::VERSION_N, &[&format::number(entry.version)])) }
                    div.what {
                        @for words in change_words(lang, entry) { p { (words) } }
                        span.by { (lang.f(text::BY, &[&entry.by])) } q.reason { (entry.reason) }
                    }
                    @match entry.at.parse::<jiff::Timestamp>() {
                        Ok(at) => { (parts::time(lang, Timestamp::from_millis(at.as_millisecond().try_into().unwrap_or_default()))) },
                        Err(_) => { span { (entry.at) } },
                    }
                    @let changes = !entry.touched.is_empty() || entry.reordered.is_some();
                    @if viewer.who.may_change() && entry.version > 1 && changes { (undo_form(viewer, entry.version, attempt)) }
                }
            } }
        }
    }
}

/// What a version did, one line for each route it touched.
fn change_words(lang: Lang, entry: &Entry) -> Vec<Markup> {
    let head = match entry.change {
        Change::Undo { version } => Some(html! { b { (lang.f(text::TOOK_BACK, &[&version.to_string()])) } }),
        _ => None,
    };
    let touched = entry.touched.iter().map(|touch| {
        let name = html! { a href=(route_parts::route_href(&touch.route)) { (touch.route) } };
        match (&touch.before, &touch.after) {
            (None, Some(after)) => html! { (name) ": " (lang.t(text::ROUTE_ADDED)) " " (stand(lang, after)) },
            (Some(_), None) => html! { (touch.route) ": " (lang.t(text::ROUTE_REMOVED)) },
            (Some(before), Some(after)) if seen(before) == seen(after) => {
                html! { (name) ": " (lang.t(text::ROUTE_RULES)) }
            }
            (Some(before), Some(after)) => {
                html! { (name) ": " (stand(lang, before)) " → " b { (stand(lang, after)) } }
            }
            (None, None) => html! { (name) },
        }
    });
    let reordered = entry.reordered.as_ref().map(|_| html! { (lang.t(text::REORDERED)) });
    head.into_iter().chain(touched).chain(reordered).collect()
}

fn seen(spec: &RouteSpec) -> (Mode, Option<u64>) {
    let percent = spec.canary.as_ref().map(|canary| (canary.percent * 100.0).round() as u64);
    (spec.mode, percent.filter(|_| spec.mode == Mode::Canary))
}

fn stand(lang: Lang, spec: &RouteSpec) -> String {
    let word = match spec.mode {
        Mode::Legacy => text::MODE_LEGACY,
        Mode::Shadow => text::MODE_SHADOW,
        Mode::Canary => text::MODE_CANARY,
        Mode::Banyan => text::MODE_BANYAN,
    };
    match spec.canary.as_ref().filter(|_| spec.mode == Mode::Canary) {
        Some(canary) => format!("{} {}", lang.t(word), route_parts::percent(canary.percent)),
        None => lang.t(word).to_owned(),
    }
}

fn undo_form(viewer: &Viewer, version: u64, attempt: Option<&Attempt>) -> Markup {
    let lang = viewer.lang();
    let action = format!("undo-{version}");
    let failed = attempt.filter(|attempt| attempt.is(&action));
    html! {
        details.action.decide open[failed.is_some()] {
            summary { (lang.t(text::TAKE_BACK)) }
            form method="post" action={(HREF) "/undo"} aria-label=(lang.f(text::TAKE_BACK_ONE, &[&version.to_string()])) {
                (parts::csrf(viewer))
                input type="hidden" name="action" value=(action);
                input type="hidden" name="version" value=(version);
                @if let Some(failed) = failed { (parts::fault(&failed.why)) }
                p.what { (lang.t(text::TAKE_BACK_WHAT)) }
                label for={"undo-reason-" (version)} { (lang.t(text::REASON)) }
                input id={"undo-reason-" (version)} name="reason" required maxlength="400" autocomplete="off" value=(typed(attempt, &action, "reason"))
                    placeholder=(lang.t(text::ROUTE_REASON_EXAMPLE));
                button.primary type="submit" { (lang.t(text::TAKE_BACK)) }
            }
        }
    }
}

/// Takes a version back.
pub(crate) async fn undo(form: OperatorForm) -> Response {
    let OperatorForm { viewer, fields } = form;
    match take_back(&viewer, &fields).await {
        Ok(version) => Redirect::to(&link::with(HREF, &[("done", &version.to_string())])).into_response(),
        Err((status, why)) => page(&viewer, &Fields::new(), status, Some(&Attempt { fields, why })),
    }
}

async fn take_back(viewer: &Viewer, fields: &Fields) -> Result<u64, Refused> {
    let lang = viewer.lang();
    let gateway = route_change::find(viewer)?;
    let reason = forms::reason(lang, forms::field(fields, "reason")).map_err(wrong)?;
    let version = forms::field(fields, "version").parse();
    let version: u64 = version.map_err(|_| (StatusCode::BAD_REQUEST, lang.t(text::FORM_AGAIN).into()))?;
    let by = viewer.who.principal.name.to_string();
    route_change::blocking(lang, move || gateway.undo(version, &by, reason.as_str())).await
}

fn upstreams(lang: Lang, gateway: &Gateway) -> Markup {
    let upstreams = gateway.upstreams();
    html! {
        @if !upstreams.is_empty() {
            section #servers {
                h2 { (lang.t(text::SERVERS)) }
                table.stack {
                    thead { tr {
                        th scope="col" { (lang.t(text::SERVER)) } th scope="col" { (lang.t(text::STATE)) } th scope="col" { (lang.t(text::BREAKER)) }
                        th.num scope="col" { (lang.t(text::UNDER_WAY)) } th.num scope="col" { (lang.t(text::REQUESTS)) } th.num scope="col" { (lang.t(text::FAILURES)) }
                    } }
                    tbody { @for upstream in &upstreams { @for server in &upstream.servers { tr {
                        th scope="row" { @if upstream.name != server.url { (upstream.name) " " } code { (server.url) } }
                        td { @if server.well { (parts::state(lang, "open", text::SERVER_WELL)) } @else { (parts::state(lang, "failed", text::SERVER_DOWN)) } }
                        td data-label=(lang.t(text::BREAKER)) { (lang.t(text::breaker(server.breaker))) }
                        td.num data-label=(lang.t(text::UNDER_WAY)) { (format::number(server.under_way as u64)) " / " (format::number(upstream.requests_max as u64)) }
                        td.num data-label=(lang.t(text::REQUESTS)) { (format::number(server.requests)) }
                        td.num data-label=(lang.t(text::FAILURES)) { (format::number(server.failures)) }
                    } } } }
                }
            }
        }
    }
}
