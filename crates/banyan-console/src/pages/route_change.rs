//! What an operator may change about a route: who answers and which share is Banyan's, a ramp, the evidence.

use crate::forms::{self, Action, Attempt, Refused, typed, wrong};
use crate::gate::{Fields, OperatorForm, Viewer};
use crate::link;
use crate::pages::{gateway, route, route_parts};
use crate::parts;
use crate::text::{self, Lang};
use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use banyan_gateway::{Change, Gateway, Mode, Refused as Table, Route, RouteSpec};
use http::StatusCode;
use maud::{Markup, html};

/// What a form asks of the gateway.
enum Asked {
    Change(Change),
    Pause(bool),
    Restart,
}

/// Carries a change out.
pub(crate) async fn change(Path(name): Path<String>, form: OperatorForm) -> Response {
    let OperatorForm { viewer, mut fields } = form;
    let from_table = fields.get("from").is_some_and(|from| from == "table");
    match attempt(&viewer, &name, &fields).await {
        Ok(done) => {
            let to = if from_table { gateway::HREF.to_owned() } else { route_parts::route_href(&name) };
            Redirect::to(&link::with(&to, &[("done", &done)])).into_response()
        }
        Err((status, why)) => {
            fields.insert("route".into(), name.clone());
            let attempt = Attempt { fields, why };
            match from_table {
                true => gateway::page(&viewer, &Fields::new(), status, Some(&attempt)),
                false => route::page(&viewer, &name, &Fields::new(), status, Some(&attempt)),
            }
        }
    }
}

/// Does it; the new version of the table comes back, or a word where there is none.
async fn attempt(viewer: &Viewer, name: &str, fields: &Fields) -> Result<String, Refused> {
    let lang = viewer.lang();
    let field = |name: &str| forms::field(fields, name);
    let gateway = find(viewer)?;
    let reason = forms::reason(lang, field("reason")).map_err(wrong)?;
    let expected: u64 =
        field("expected").parse().map_err(|_| (StatusCode::BAD_REQUEST, lang.t(text::FORM_AGAIN).into()))?;
    let asked = match field("action") {
        "set" => {
            let table = gateway.table();
            let route = table.route(name).ok_or_else(|| gone(lang, name))?;
            Asked::Change(wanted(lang, route, field("mode"), field("percent"))?)
        }
        "pause" => Asked::Pause(true),
        "resume" => Asked::Pause(false),
        "restart" => Asked::Restart,
        _ => return Err((StatusCode::BAD_REQUEST, lang.t(text::FORM_AGAIN).into())),
    };
    let (by, name) = (viewer.who.principal.name.to_string(), name.to_owned());
    let reason = reason.as_str().to_owned();
    blocking(lang, move || match asked {
        Asked::Change(change) => gateway.change(expected, change, &by, &reason).map(|new| new.to_string()),
        Asked::Pause(paused) => {
            gateway.pause_ramp(expected, &name, paused, &by, &reason).map(|new| new.to_string())
        }
        Asked::Restart => {
            tracing::info!(route = name, by, reason, "evidence is begun anew");
            gateway.restart_evidence(&name).map(|()| "restart".to_owned())
        }
    })
    .await
}

/// The change that brings `route` to what was chosen.
fn wanted(lang: Lang, route: &Route, mode: &str, percent: &str) -> Result<Change, Refused> {
    let modes = [Mode::Legacy, Mode::Shadow, Mode::Canary, Mode::Banyan];
    let mode = modes.into_iter().find(|known| known.as_str() == mode);
    let mode = mode.ok_or_else(|| (StatusCode::BAD_REQUEST, lang.t(text::FORM_AGAIN).to_owned()))?;
    let spec = route.spec();
    let share = match mode {
        Mode::Canary => {
            let share = percent.trim_end_matches('%').trim().parse::<f64>().ok();
            let share = share.filter(|share| (0.0..=100.0).contains(share));
            Some(share.ok_or_else(|| wrong(lang.t(text::BAD_CANARY_SHARE)))?)
        }
        // A share says nothing in the other modes; the one that is written there stays for later.
        _ => None,
    };
    let is_new =
        share.is_some_and(|share| !is_share(spec, route.percent(banyan_api::now().as_millis()), share));
    let name = spec.name.clone();
    match (mode == spec.mode, share.filter(|_| is_new)) {
        (true, None) => Err(wrong(lang.t(text::NOTHING_CHANGES))),
        (false, None) => Ok(Change::SetMode { route: name, mode }),
        (true, Some(percent)) if spec.canary.is_some() => Ok(Change::SetPercent { route: name, percent }),
        (_, Some(percent)) => {
            let mut spec = RouteSpec { mode, ..spec.clone() };
            match &mut spec.canary {
                Some(canary) => {
                    canary.percent = percent;
                    canary.ramp.clear();
                }
                None => {
                    let canary = serde_json::from_value(serde_json::json!({ "percent": percent }));
                    spec.canary = Some(canary.map_err(|error| wrong(error.to_string()))?);
                }
            }
            Ok(Change::SetRoute(Box::new(spec)))
        }
    }
}

/// Whether `share` is what the canary has: now, or, while the route is in another mode, in its specification.
fn is_share(spec: &RouteSpec, now: f64, share: f64) -> bool {
    let has = match spec.mode {
        Mode::Canary => Some(now),
        _ => spec.canary.as_ref().filter(|canary| canary.ramp.is_empty()).map(|canary| canary.percent),
    };
    has.is_some_and(|has| (has - share).abs() < 0.005)
}

/// The gateway, or what to say without one.
pub(crate) fn find(viewer: &Viewer) -> Result<Gateway, Refused> {
    let gateway = viewer.console.options.gateway.get().cloned();
    gateway.ok_or_else(|| (StatusCode::NOT_FOUND, viewer.lang().t(text::NO_GATEWAY).into()))
}

fn gone(lang: Lang, name: &str) -> Refused {
    (StatusCode::NOT_FOUND, lang.f(text::NO_SUCH_ROUTE_HINT, &[name]))
}

/// Asks the gateway on a thread that may wait for the disk.
pub(crate) async fn blocking<T: Send + 'static>(
    lang: Lang,
    ask: impl FnOnce() -> Result<T, Table> + Send + 'static,
) -> Result<T, Refused> {
    match tokio::task::spawn_blocking(ask).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(refused)) => Err(refusal(lang, &refused)),
        Err(error) => Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

/// A refusal of the gateway, for a person who looks at the table as it is now.
fn refusal(lang: Lang, refused: &Table) -> Refused {
    match refused {
        Table::Stale { expected, current } => {
            (StatusCode::CONFLICT, lang.f(text::TABLE_STALE, &[&expected.to_string(), &current.to_string()]))
        }
        Table::Conflict(why) => (StatusCode::CONFLICT, why.clone()),
        Table::Invalid(why) => (StatusCode::UNPROCESSABLE_ENTITY, why.clone()),
        Table::NotFound(why) => (StatusCode::NOT_FOUND, why.clone()),
        Table::Storage(_) => (StatusCode::SERVICE_UNAVAILABLE, refused.to_string()),
    }
}

/// The form that sets mode and share. `place` makes its ids unique; `from` says where it leads back to.
pub(crate) fn set_form(
    viewer: &Viewer,
    route: &Route,
    version: u64,
    attempt: Option<&Attempt>,
    from: &str,
) -> Markup {
    let lang = viewer.lang();
    let name = route.name();
    let attempt = attempt.filter(|attempt| attempt.fields.get("route").is_some_and(|of| of == name));
    let failed = attempt.filter(|attempt| attempt.is("set"));
    let chosen = match typed(attempt, "set", "mode") {
        "" => route.mode().as_str(),
        typed => typed,
    };
    let has = match route.mode() {
        Mode::Canary => route.percent(banyan_api::now().as_millis()),
        _ => route.spec().canary.as_ref().map_or(1.0, |canary| canary.percent),
    };
    let percent = match typed(attempt, "set", "percent") {
        "" => format!("{has:.2}").trim_end_matches('0').trim_end_matches('.').to_owned(),
        typed => typed.to_owned(),
    };
    let id = |field: &str| route_parts::place(field, name);
    let modes = [
        ("legacy", text::MODE_LEGACY, text::MODE_LEGACY_WHAT),
        ("shadow", text::MODE_SHADOW, text::MODE_SHADOW_WHAT),
        ("canary", text::MODE_CANARY, text::MODE_CANARY_WHAT),
        ("banyan", text::MODE_BANYAN, text::MODE_BANYAN_WHAT),
    ];
    html! {
        details.action.set-route open[failed.is_some()] {
            summary { (lang.t(text::CHANGE_ROUTE)) }
            form method="post" action={(route_parts::route_href(name)) "/change"} aria-label=(lang.f(text::CHANGE_ONE, &[name])) {
                (parts::csrf(viewer))
                input type="hidden" name="action" value="set";
                input type="hidden" name="expected" value=(version);
                input type="hidden" name="from" value=(from);
                @if let Some(failed) = failed { (parts::fault(&failed.why)) }
                p.what { (lang.t(text::CHANGE_WHAT)) }
                fieldset.modes { legend { (lang.t(text::WHO_ANSWERS)) }
                    @for (mode, word, what) in modes {
                        label { input type="radio" name="mode" value=(mode) required checked[mode == chosen]; span { b { (lang.t(word)) } " " span.hint { (lang.t(what)) } } }
                    }
                }
                label for=(id("percent")) { (lang.t(text::CANARY_SHARE)) }
                div.slider data-slider="" {
                    input type="range" min="0" max="100" step="0.01" value=(percent) aria-label=(lang.t(text::CANARY_SHARE)) autocomplete="off";
                    span.percent { input id=(id("percent")) type="number" name="percent" min="0" max="100" step="0.01" value=(percent) autocomplete="off"; " %" }
                }
                @if route.spec().canary.as_ref().is_some_and(|canary| !canary.ramp.is_empty()) { p.hint { (lang.t(text::RAMP_ENDS)) } }
                label for=(id("reason")) { (lang.t(text::REASON)) }
                input id=(id("reason")) name="reason" required maxlength="400" value=(typed(attempt, "set", "reason")) autocomplete="off" placeholder=(lang.t(text::ROUTE_REASON_EXAMPLE));
                button.primary type="submit" { (lang.t(text::CHANGE_ROUTE)) }
            }
        }
    }
}

/// What may be changed about a route.
pub(crate) fn panel(viewer: &Viewer, route: &Route, version: u64, attempt: Option<&Attempt>) -> Markup {
    let lang = viewer.lang();
    let post = format!("{}/change", route_parts::route_href(route.name()));
    let expected = html! { input type="hidden" name="expected" value=(version); };
    let form = |name: &'static str, word, what| {
        Action { name, post: &post, word, what: lang.t(what), danger: false }.show(viewer, attempt, &expected)
    };
    let canary = route.spec().canary.as_ref().filter(|canary| !canary.ramp.is_empty());
    html! {
        aside.controls #actions aria-label=(lang.t(text::CONTROLS)) {
            h2 { (lang.t(text::CONTROLS)) }
            @if !viewer.who.may_change() { p.hint { (lang.t(text::READ_ONLY_HINT)) } }
            @else {
                (set_form(viewer, route, version, attempt, "route"))
                @if let Some(canary) = canary {
                    @if canary.paused_at.is_none() { (form("pause", text::PAUSE_RAMP, text::PAUSE_RAMP_WHAT)) }
                    @else { (form("resume", text::RESUME_RAMP, text::RESUME_RAMP_WHAT)) }
                }
                @if route.spec().evidence.is_some() { (form("restart", text::RESTART_EVIDENCE, text::RESTART_EVIDENCE_WHAT)) }
            }
        }
    }
}
