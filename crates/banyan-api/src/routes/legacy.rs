//! The way over from an old shop, for operators: where it stands, what a move would do, moving, comparing, who is left.

use super::coupons::write;
use crate::App;
use crate::body::{self, SMALL_BODY_BYTES_MAX};
use crate::card;
use crate::problem::Problem;
use crate::wire_legacy::{
    AbortMoveJson, BeginMoveJson, ComparedJson, LagsJson, LegacyJson, MoveBegunJson, PlanJson, ReferencesJson,
};
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use banyan_domain::legacy::{Capability, Phase};
use banyan_engine::wall_clock;
use banyan_legacy::{BeginError, DeskError, DriveError, Keeper};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use std::sync::Arc;

/// Which move to look at.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlanQuery {
    to: String,
    /// Names with commas between.
    #[serde(default)]
    without: String,
}

/// Shows where a capability stands.
#[utoipa::path(
    get, path = "/v1/legacy/{capability}", tag = "legacy", params(("capability" = String, Path, example = "stock")),
    responses((status = 200, description = "Where it stands", body = LegacyJson), (status = 403, description = "forbidden"), (status = 404, description = "legacy-not-configured")),
)]
pub(crate) async fn show_legacy(
    State(app): State<Arc<App>>,
    Path(capability): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    app.identify(&headers)?.must_read_all()?;
    let status = keeper(&app, &capability)?.status().await.map_err(of_desk)?;
    Ok(write(&LegacyJson::from(&status), StatusCode::OK, false))
}

/// Shows what a move would do and whether it may begin. Changes nothing; looks at the old database.
#[utoipa::path(
    get, path = "/v1/legacy/{capability}/plan", tag = "legacy", params(("capability" = String, Path, example = "stock"), ("to" = String, Query, example = "lead"), ("without" = Option<String>, Query, description = "Gates to go without, with commas between", example = "lag,evidence")),
    responses((status = 200, description = "Steps and gates", body = PlanJson), (status = 403, description = "forbidden"), (status = 404, description = "legacy-not-configured")),
)]
pub(crate) async fn plan_move(
    State(app): State<Arc<App>>,
    Path(capability): Path<String>,
    Query(query): Query<PlanQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    app.identify(&headers)?.must_operate()?;
    let keeper = keeper(&app, &capability)?;
    let plan = keeper.plan(phase(&query.to)?).await.map_err(of_desk)?;
    let without: Vec<String> = query.without.split(',').map(|name| name.trim().to_owned()).collect();
    Ok(write(&PlanJson::new(&plan, &without), StatusCode::OK, false))
}

/// Begins a move if its gates hold. It goes on by itself; `GET /v1/legacy/{capability}` shows how far it is. The same again
/// while it is under way is answered with the same number.
#[utoipa::path(
    post, path = "/v1/legacy/{capability}/moves", tag = "legacy", request_body = BeginMoveJson, params(("capability" = String, Path, example = "stock")),
    responses((status = 202, description = "Begun", body = MoveBegunJson), (status = 403, description = "forbidden"), (status = 409, description = "gates-closed, move-under-way or phase-not-next"), (status = 422, description = "reason-required")),
)]
pub(crate) async fn begin_move(
    State(app): State<Arc<App>>,
    Path(capability): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let principal = app.identify(&headers)?;
    principal.must_operate()?;
    let keeper = keeper(&app, &capability)?;
    let BeginMoveJson { to, reason, without } = body::parse(&body::read(body, SMALL_BODY_BYTES_MAX).await?)?;
    let to = phase(&to)?;
    card::text("reason", &reason)?;
    let begun = keeper.begin(to, principal.name.clone(), &reason, &without).await;
    let number = begun.map_err(|error| match error {
        BeginError::Gates(_) => Problem::new(StatusCode::CONFLICT, "gates-closed", error.to_string()),
        BeginError::NoReason => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "reason-required", error.to_string())
        }
        BeginError::Desk(error) => of_desk(error),
    })?;
    tracing::info!(capability, number, to = to.as_str(), by = principal.name.as_str(), "a move was begun");
    Ok(write(&MoveBegunJson { number, to: to.as_str().to_owned() }, StatusCode::ACCEPTED, false))
}

/// Gives the move under way up. Once the old database may have been told, that is fenced off there first.
#[utoipa::path(
    post, path = "/v1/legacy/{capability}/abort", tag = "legacy", request_body = AbortMoveJson, params(("capability" = String, Path, example = "stock")),
    responses((status = 200, description = "Given up; where it stands now", body = LegacyJson), (status = 403, description = "forbidden"), (status = 409, description = "move-not-ours")),
)]
pub(crate) async fn abort_move(
    State(app): State<Arc<App>>,
    Path(capability): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let principal = app.identify(&headers)?;
    principal.must_operate()?;
    let keeper = keeper(&app, &capability)?;
    let AbortMoveJson { reason } = body::parse(&body::read(body, SMALL_BODY_BYTES_MAX).await?)?;
    card::text("reason", &reason)?;
    keeper.abort(&format!("{}: {reason}", principal.name)).await.map_err(|error| match error {
        DriveError::Person(why) => Problem::new(StatusCode::CONFLICT, "move-not-ours", why),
        DriveError::Old(why) => Problem::unavailable(why.to_string()),
        DriveError::Desk(error) => of_desk(error),
    })?;
    let status = keeper.status().await.map_err(of_desk)?;
    Ok(write(&LegacyJson::from(&status), StatusCode::OK, false))
}

/// Compares both sides now and puts right what differs, by the side that leads.
#[utoipa::path(
    post, path = "/v1/legacy/{capability}/reconcile", tag = "legacy", params(("capability" = String, Path, example = "stock")),
    responses((status = 200, description = "Compared", body = ComparedJson), (status = 403, description = "forbidden"), (status = 503, description = "unavailable")),
)]
pub(crate) async fn reconcile(
    State(app): State<Arc<App>>,
    Path(capability): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    app.identify(&headers)?.must_operate()?;
    let compared = keeper(&app, &capability)?.compare(true).await;
    let (rows, differing) = compared.map_err(Problem::unavailable)?;
    Ok(write(&ComparedJson { rows, differing }, StatusCode::OK, false))
}

/// Shows who still touches what is to go.
#[utoipa::path(
    get, path = "/v1/legacy/{capability}/references", tag = "legacy", params(("capability" = String, Path, example = "stock")),
    responses((status = 200, description = "Who is left", body = ReferencesJson), (status = 403, description = "forbidden")),
)]
pub(crate) async fn list_references(
    State(app): State<Arc<App>>,
    Path(capability): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    app.identify(&headers)?.must_read_all()?;
    let keeper = keeper(&app, &capability)?;
    let answer = ReferencesJson::new(&keeper.references(), wall_clock(), keeper.quiet_for());
    Ok(write(&answer, StatusCode::OK, false))
}

/// Shows the lags of the last ten minutes, both ways.
#[utoipa::path(
    get, path = "/v1/legacy/{capability}/lag", tag = "legacy", params(("capability" = String, Path, example = "stock")),
    responses((status = 200, description = "One a second", body = LagsJson), (status = 403, description = "forbidden")),
)]
pub(crate) async fn list_lags(
    State(app): State<Arc<App>>,
    Path(capability): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    app.identify(&headers)?.must_read_all()?;
    let lags = keeper(&app, &capability)?.lags().into_iter().map(Into::into).collect();
    Ok(write(&LagsJson { lags }, StatusCode::OK, false))
}

fn keeper<'a>(app: &'a App, capability: &str) -> Result<&'a Arc<Keeper>, Problem> {
    let known = Capability::from_word(capability).and_then(|_| app.keeper());
    known.ok_or_else(|| {
        let detail = "No old shop is configured for this capability. Start the server with --legacy FILE.";
        Problem::new(StatusCode::NOT_FOUND, "legacy-not-configured", detail)
    })
}

fn phase(word: &str) -> Result<Phase, Problem> {
    Phase::from_word(word)
        .ok_or_else(|| Problem::invalid("The phase must be legacy, mirror, lead or retired."))
}

fn of_desk(error: DeskError) -> Problem {
    match error {
        DeskError::Refused(refusal) => refusal.into(),
        DeskError::Stopping => Problem::unknown_outcome(),
    }
}
