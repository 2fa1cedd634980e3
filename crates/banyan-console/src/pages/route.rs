//! One route of the gateway: who answers it, what goes over it, what its copies showed, and what the evidence says.

use crate::forms::Attempt;
use crate::gate::{Fields, Viewer};
use crate::layout::{self, Page, Section, fact};
use crate::link;
use crate::pages::{gateway, route_change, route_parts};
use crate::parts;
use crate::text;
use crate::text::Lang;
use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Response};
use banyan_domain::Timestamp;
use banyan_gateway::Route;
use http::StatusCode;
use maud::{Markup, html};

/// Shows a route.
pub(crate) async fn show(viewer: Viewer, Path(name): Path<String>, Query(query): Query<Fields>) -> Response {
    page(&viewer, &name, &query, StatusCode::OK, None)
}

pub(crate) fn no_such(viewer: &Viewer, name: &str) -> Response {
    let lang = viewer.lang();
    let hint = lang.f(text::NO_SUCH_ROUTE_HINT, &[name]);
    viewer.problem(StatusCode::NOT_FOUND, lang.t(text::NO_SUCH_ROUTE), &hint)
}

/// The page, with an attempt at a change that failed if there was one.
pub(crate) fn page(
    viewer: &Viewer,
    name: &str,
    query: &Fields,
    status: StatusCode,
    attempt: Option<&Attempt>,
) -> Response {
    let lang = viewer.lang();
    let Some(gateway) = viewer.console.options.gateway.get() else {
        return gateway::page(viewer, query, StatusCode::NOT_FOUND, None);
    };
    let table = gateway.table();
    let Some(route) = table.route(name) else { return no_such(viewer, name) };
    let beside = html! {
        (route_parts::placed("share", name, &route_parts::share(lang, route)))
        span.hint #table-version { (route_parts::version(lang, table.version())) }
    };
    let traffic = route_parts::traffic(&viewer.console, lang, name);
    let body = html! {
        nav.crumbs { a href=(gateway::HREF) { (lang.t(text::GATEWAY)) } }
        (layout::title(name, &beside))
        (gateway::done(lang, query))
        div.columns {
            div {
                section { h2 { (lang.t(text::TRAFFIC)) " " span.hint { (lang.t(text::LAST_SECONDS)) } } (route_parts::placed("traffic", name, &traffic)) }
                section { h2 { (lang.t(text::EVIDENCE)) } (route_parts::placed("evidence", name, &route_parts::evidence(lang, gateway, route))) }
                section { h2 { (lang.t(text::COPIES)) } (route_parts::placed("shadow", name, &route_parts::shadow(lang, gateway, name))) }
                section { h2 { (lang.t(text::MISMATCHES)) } (route_parts::placed("groups", name, &route_parts::groups(lang, gateway, name))) }
                (facts(lang, route))
            }
            (route_change::panel(viewer, route, table.version(), attempt))
        }
        @if let Some(command) = gateway::admin_command(gateway, &format!("/v1/groups?route={}", link::encode(name))) {
            section.curl aria-label=(lang.t(text::CURL)) { h2 { (lang.t(text::CURL)) } (parts::command_line(lang, &command)) }
        }
    };
    let mut page = Page::new(name, Section::Gateway, body);
    page.of = format!("route:{name}");
    (status, page.show(viewer)).into_response()
}

fn facts(lang: Lang, route: &Route) -> Markup {
    let spec = route.spec();
    let code = |text: &str| html! { code { (text) } };
    html! {
        section {
            h2 { (lang.t(text::DETAILS)) }
            dl.facts {
                (fact(lang.t(text::MATCHES), &code(&gateway::matches(spec))))
                (fact(lang.t(text::SIDE_LEGACY), &code(spec.upstream.as_deref().unwrap_or("–"))))
                (fact(lang.t(text::SIDE_BANYAN), &code(spec.banyan.as_deref().unwrap_or("–"))))
                @if let Some(rewrite) = &spec.rewrite { (fact(lang.t(text::REWRITE), &html! { code { (rewrite.from) } " → " code { (rewrite.to) } })) }
                @if let Some(canary) = &spec.canary {
                    (fact(lang.t(text::CANARY_BY), &code(&canary.by)))
                    @if !canary.ramp.is_empty() {
                        (fact(lang.t(text::RAMP), &html! {
                            ul.plain-list { @for step in &canary.ramp { li { (step_time(lang, &step.at)) ": " b.num { (route_parts::percent(step.percent)) } } } }
                            @if canary.paused_at.is_some() { (parts::state(lang, "paused", text::RAMP_PAUSED)) }
                        }))
                    }
                }
                @if !spec.touches.is_empty() { (fact(lang.t(text::TOUCHES), &html! { a href={(gateway::HREF) "#callers"} { (spec.touches.join(", ")) } })) }
            }
        }
    }
}

fn step_time(lang: Lang, at: &str) -> Markup {
    match at.parse::<jiff::Timestamp>().ok().and_then(|at| u64::try_from(at.as_millisecond()).ok()) {
        Some(at) => parts::time(lang, Timestamp::from_millis(at)),
        None => html! { (at) },
    }
}
