//! The part of the admin API that is about copies, groups of mismatches, evidence and callers. Routes are named in the
//! query or the body, never in the path: their names have slashes.

use crate::admin::parse;
use crate::change::Refused;
use crate::gateway::Gateway;
use crate::groups::Judgement;
use crate::side::Side;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;

/// How far back callers count as left, unless it is said: a week, because some jobs run weekly.
const WITHIN_SECONDS: u64 = 7 * 24 * 60 * 60;

/// The routes of this part.
pub(crate) fn router() -> Router<Gateway> {
    Router::new()
        .route("/v1/shadow", get(shadow))
        .route("/v1/groups", get(groups))
        .route("/v1/judge", post(judge))
        .route("/v1/evidence", get(evidence))
        .route("/v1/evidence/restart", post(restart))
        .route("/v1/callers", get(callers))
        .route("/v1/override", post(sign))
        .route("/v1/ramp", post(ramp))
}

#[derive(Deserialize)]
struct OfRoute {
    route: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Judging {
    route: String,
    group: String,
    judgement: Judgement,
    by: String,
    why: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Restart {
    route: String,
    by: String,
}

#[derive(Deserialize)]
struct OfCapability {
    capability: String,
    within_seconds: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Signing {
    route: String,
    side: Side,
    seconds: u64,
    by: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ramping {
    route: String,
    paused: bool,
    expected: u64,
    by: String,
    reason: String,
}

async fn shadow(State(gateway): State<Gateway>) -> Response {
    Json(json!({"bytes": gateway.shadow_bytes(), "routes": gateway.shadow()})).into_response()
}

async fn groups(State(gateway): State<Gateway>, Query(asked): Query<OfRoute>) -> Response {
    answer(gateway.groups(&asked.route).map(|groups| json!({"groups": groups})))
}

async fn judge(State(gateway): State<Gateway>, body: bytes::Bytes) -> Result<Response, Refused> {
    let asked: Judging = parse(&body)?;
    let made = move || gateway.judge(&asked.route, &asked.group, asked.judgement, &asked.by, &asked.why);
    Ok(answer(away(made).await))
}

async fn evidence(State(gateway): State<Gateway>, Query(asked): Query<OfRoute>) -> Response {
    answer(gateway.evidence(&asked.route).map(|standing| json!({"evidence": standing})))
}

async fn restart(State(gateway): State<Gateway>, body: bytes::Bytes) -> Result<Response, Refused> {
    let asked: Restart = parse(&body)?;
    tracing::info!(route = asked.route, by = asked.by, "evidence is begun anew");
    let restarted = away(move || gateway.restart_evidence(&asked.route)).await;
    Ok(answer(restarted.map(|()| json!({}))))
}

async fn callers(State(gateway): State<Gateway>, Query(asked): Query<OfCapability>) -> Response {
    let within = Duration::from_secs(asked.within_seconds.unwrap_or(WITHIN_SECONDS));
    Json(gateway.callers(&asked.capability, within)).into_response()
}

async fn sign(State(gateway): State<Gateway>, body: bytes::Bytes) -> Result<Response, Refused> {
    let asked: Signing = parse(&body)?;
    let signed = gateway.sign_override(&asked.route, asked.side, Duration::from_secs(asked.seconds));
    if signed.is_ok() {
        let (side, seconds) = (asked.side.as_str(), asked.seconds);
        tracing::info!(route = asked.route, by = asked.by, side, seconds, "an override was signed");
    }
    Ok(answer(signed.map(|value| json!({"value": value}))))
}

async fn ramp(State(gateway): State<Gateway>, body: bytes::Bytes) -> Result<Response, Refused> {
    let asked: Ramping = parse(&body)?;
    let made =
        move || gateway.pause_ramp(asked.expected, &asked.route, asked.paused, &asked.by, &asked.reason);
    Ok(match away(made).await {
        Ok(version) => (StatusCode::CREATED, Json(json!({"version": version}))).into_response(),
        Err(refused) => refused.into_response(),
    })
}

fn answer(result: Result<impl serde::Serialize, Refused>) -> Response {
    match result {
        Ok(value) => Json(value).into_response(),
        Err(refused) => refused.into_response(),
    }
}

/// Does what waits for the disk where no other task waits for it.
async fn away<T: Send + 'static>(
    make: impl FnOnce() -> Result<T, Refused> + Send + 'static,
) -> Result<T, Refused> {
    tokio::task::spawn_blocking(make).await.unwrap_or_else(|error| Err(Refused::Storage(error.to_string())))
}
