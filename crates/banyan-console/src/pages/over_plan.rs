//! The wizard of the way over: a plan with its steps and gates, the confirmation, and what it began; giving up and comparing.

use crate::forms::{self, Attempt, Refused, wrong};
use crate::gate::{Fields, OperatorForm, Viewer};
use crate::layout::{self, Page, Section};
use crate::link;
use crate::pages::over;
use crate::pages::over_parts::phase_word;
use crate::parts;
use crate::text::{self, Lang};
use axum::extract::Query;
use axum::response::{IntoResponse, Redirect, Response};
use banyan_api::Problem;
use banyan_domain::legacy::Phase;
use banyan_legacy::{BeginError, DeskError, DriveError, Gate, Keeper, Plan};
use http::StatusCode;
use maud::{Markup, html};
use std::sync::Arc;
use std::time::Duration;

/// How long a comparison is waited for before the page says that it goes on by itself.
const COMPARE_WAIT_MAX: Duration = Duration::from_secs(20);

/// Shows what a move would do. Looks at the old database, changes nothing.
pub(crate) async fn show(viewer: Viewer, Query(query): Query<Fields>) -> Response {
    page(&viewer, forms::field(&query, "to"), StatusCode::OK, None).await
}

async fn page(viewer: &Viewer, to: &str, status: StatusCode, attempt: Option<&Attempt>) -> Response {
    let lang = viewer.lang();
    let Some(keeper) = viewer.console.app.keeper() else {
        return over::not_configured(viewer, StatusCode::NOT_FOUND);
    };
    if !viewer.who.may_change() {
        let (title, hint) = (lang.t(text::READ_ONLY_TITLE), lang.t(text::READ_ONLY_HINT));
        return viewer.problem(StatusCode::FORBIDDEN, title, hint);
    }
    let Some(to) = Phase::from_word(to) else {
        return viewer.problem(
            StatusCode::NOT_FOUND,
            lang.t(text::NO_SUCH_PHASE),
            lang.t(text::NO_SUCH_PHASE_HINT),
        );
    };
    let plan = match keeper.plan(to).await {
        Ok(plan) => plan,
        Err(error) => {
            let (status, why) = of_desk(lang, error);
            return viewer.problem(status, lang.t(text::OVER), &why);
        }
    };
    let title = lang.f(text::PLAN_TITLE, &[lang.t(phase_word(plan.from)), lang.t(phase_word(to))]);
    let body = html! {
        nav.crumbs { a href=(over::HREF) { (lang.t(text::OVER)) } }
        (layout::title(&title, &html! {}))
        p.hint { (lang.t(text::PLAN_HINT)) }
        @if plan.steps.is_empty() { p.notice.wait { (lang.t(text::NOT_NEXT)) } }
        @else {
            section { h2 { (lang.t(text::PLAN_STEPS)) }
                ol.plan-steps { @for planned in plan.steps { li { b { (lang.t(text::move_step(planned.step))) } " " span { (planned.what) } } } }
            }
            (confirm(viewer, &plan, attempt))
        }
        (parts::curl(viewer, &format!("/v1/legacy/{}/plan?to={}", keeper.mapping().capability, to.as_str())))
    };
    (status, Page::new(&title, Section::Over, body).show(viewer)).into_response()
}

/// The gates, and below them the form that begins the move where they let it.
fn confirm(viewer: &Viewer, plan: &Plan, attempt: Option<&Attempt>) -> Markup {
    let lang = viewer.lang();
    let closed = plan.gates.iter().any(|gate| !gate.holds && !gate.may_be_overridden);
    let passable = plan.gates.iter().any(|gate| !gate.holds && gate.may_be_overridden);
    let (from, to) = (plan.from, plan.to);
    let value = |field: &str| forms::typed(attempt, "begin", field);
    let dangerous = from.switches(to) || to == Phase::Retired || to < from;
    html! {
        form.begin method="post" action={(over::HREF) "/change"} aria-label=(lang.t(text::BEGIN_MOVE)) {
            (parts::csrf(viewer))
            input type="hidden" name="action" value="begin";
            input type="hidden" name="from" value=(from.as_str());
            input type="hidden" name="to" value=(to.as_str());
            section { h2 { (lang.t(text::GATES)) } (gates(lang, &plan.gates, attempt)) }
            @if let Some(attempt) = attempt { (parts::fault(&attempt.why)) }
            @if closed {
                p.notice.wait { (lang.t(text::GATES_CLOSED)) }
                p { a.button href={(over::HREF) "/plan?to=" (to.as_str())} { (lang.t(text::LOOK_AGAIN)) } }
            } @else {
                section { h2 { (lang.t(text::BEGIN_MOVE)) }
                    p { (lang.t(text::begins(from, to))) }
                    @if passable { p.notice.wait { (lang.t(text::OVERRIDE_HINT)) } }
                    label for="begin-reason" { (lang.t(text::REASON)) }
                    input #begin-reason name="reason" required maxlength="400" autocomplete="off" value=(value("reason")) placeholder=(lang.t(text::MOVE_REASON_EXAMPLE));
                    label for="begin-confirm" { (lang.f(text::TYPE_PHASE, &[to.as_str()])) }
                    input #begin-confirm name="confirm" required maxlength="16" autocomplete="off" spellcheck="false" value=(value("confirm")) placeholder=(to.as_str());
                    p.buttons {
                        button type="submit" .primary[!dangerous] .danger[dangerous] { (lang.f(text::BEGIN_TO, &[lang.t(phase_word(to))])) }
                        a.button href=(over::HREF) { (lang.t(text::BACK)) }
                    }
                }
            }
        }
    }
}

fn gates(lang: Lang, gates: &[Gate], attempt: Option<&Attempt>) -> Markup {
    html! {
        table.stack.gates {
            thead { tr { th scope="col" { (lang.t(text::GATE)) } th scope="col" { (lang.t(text::HOLDS)) } th scope="col" { (lang.t(text::FOUND)) } th scope="col" { (lang.t(text::NEEDED)) } } }
            tbody { @for gate in gates { tr {
                th scope="row" { b { (lang.t(text::gate(gate.name))) } }
                td { (parts::holds(lang, gate.holds)) }
                td.what { (gate.found) }
                td.what { @if !gate.holds {
                    (gate.needed)
                    @if gate.may_be_overridden {
                        @let name = format!("without-{}", gate.name);
                        label.check { input type="checkbox" name=(name) value="yes" checked[forms::typed(attempt, "begin", &name) == "yes"]; (lang.t(text::GO_WITHOUT)) }
                    }
                } }
            } } }
        }
    }
}

/// Begins a move, gives one up, or compares.
pub(crate) async fn change(form: OperatorForm) -> Response {
    let OperatorForm { viewer, fields } = form;
    let Some(keeper) = viewer.console.app.keeper().cloned() else {
        return over::not_configured(&viewer, StatusCode::NOT_FOUND);
    };
    let done = match forms::field(&fields, "action") {
        "begin" => begin(&viewer, &keeper, &fields).await.map(|number| vec![("done", number.to_string())]),
        "abort" => abort(&viewer, &keeper, &fields).await.map(|()| vec![("done", "abort".to_owned())]),
        "compare" => compare(keeper).await,
        _ => Err((StatusCode::BAD_REQUEST, viewer.lang().t(text::FORM_AGAIN).to_owned())),
    };
    match done {
        Ok(done) => {
            let done: Vec<(&str, &str)> = done.iter().map(|(name, value)| (*name, value.as_str())).collect();
            Redirect::to(&link::with(over::HREF, &done)).into_response()
        }
        Err((status, why)) => {
            let attempt = Attempt { fields, why };
            match attempt.is("begin") {
                true => page(&viewer, forms::field(&attempt.fields, "to"), status, Some(&attempt)).await,
                false => over::page(&viewer, &Fields::new(), status, Some(&attempt)).await,
            }
        }
    }
}

async fn begin(viewer: &Viewer, keeper: &Keeper, fields: &Fields) -> Result<u64, Refused> {
    let lang = viewer.lang();
    let field = |name: &str| forms::field(fields, name);
    let again = || (StatusCode::BAD_REQUEST, lang.t(text::FORM_AGAIN).to_owned());
    let (from, to) = (Phase::from_word(field("from")), Phase::from_word(field("to")));
    let (from, to) = from.zip(to).ok_or_else(again)?;
    let reason = forms::reason(lang, field("reason")).map_err(wrong)?;
    if field("confirm") != to.as_str() {
        return Err(wrong(lang.f(text::CONFIRM_WRONG, &[to.as_str()])));
    }
    let status = keeper.status().await.map_err(|error| of_desk(lang, error))?;
    // The plan that was confirmed was one from this phase.
    if status.state.phase != from {
        let (was, is) = (lang.t(phase_word(from)), lang.t(phase_word(status.state.phase)));
        return Err((StatusCode::CONFLICT, lang.f(text::PHASE_CHANGED, &[was, is])));
    }
    let without: Vec<String> =
        fields.keys().filter_map(|name| name.strip_prefix("without-")).map(str::to_owned).collect();
    let by = viewer.who.principal.name.clone();
    keeper.begin(to, by, reason.as_str(), &without).await.map_err(|error| match error {
        BeginError::Gates(_) => (StatusCode::CONFLICT, lang.f(text::GATES_STOPPED, &[&error.to_string()])),
        BeginError::NoReason => wrong(error.to_string()),
        BeginError::Desk(error) => of_desk(lang, error),
    })
}

async fn abort(viewer: &Viewer, keeper: &Keeper, fields: &Fields) -> Result<(), Refused> {
    let lang = viewer.lang();
    let reason = forms::reason(lang, forms::field(fields, "reason")).map_err(wrong)?;
    let why = format!("{}: {reason}", viewer.who.principal.name);
    keeper.abort(&why).await.map_err(|error| match error {
        DriveError::Person(why) => (StatusCode::CONFLICT, why),
        DriveError::Old(why) => (StatusCode::SERVICE_UNAVAILABLE, why.to_string()),
        DriveError::Desk(error) => of_desk(lang, error),
    })
}

/// Compares, and puts right what differs. A large table takes longer than a browser waits; it is finished all the same.
async fn compare(keeper: Arc<Keeper>) -> Result<Vec<(&'static str, String)>, Refused> {
    let comparing = tokio::spawn(async move { keeper.compare(true).await });
    match tokio::time::timeout(COMPARE_WAIT_MAX, comparing).await {
        Ok(Ok(Ok((rows, differing)))) => {
            let (rows, differing) = (rows.to_string(), differing.to_string());
            Ok(vec![("done", "compare".into()), ("rows", rows), ("differing", differing)])
        }
        Ok(Ok(Err(why))) => Err((StatusCode::SERVICE_UNAVAILABLE, why)),
        Ok(Err(error)) => Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
        Err(_) => Ok(vec![("done", "comparing".into())]),
    }
}

fn of_desk(lang: Lang, error: DeskError) -> Refused {
    let problem: Problem = match error {
        DeskError::Refused(refusal) => refusal.into(),
        DeskError::Stopping => Problem::unavailable("The server is stopping; ask again when it is back."),
    };
    (problem.status, parts::problem_words(lang, &problem))
}
