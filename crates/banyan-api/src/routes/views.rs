//! The record store for its operator: how far it is, and building it anew.

use super::coupons::write;
use crate::App;
use crate::clock::rfc3339;
use crate::problem::Problem;
use crate::wire::{RebuildJson, RecordViewJson};
use axum::extract::State;
use axum::response::Response;
use banyan_domain::Timestamp;
use banyan_views::record::{RebuildStatus, StartRefused};
use http::{HeaderMap, StatusCode};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

/// Shows how far the record store is, and what its latest rebuild is doing or came to.
#[utoipa::path(
    get, path = "/v1/views/record", tag = "operation",
    responses((status = 200, description = "How far it is", body = RecordViewJson), (status = 403, description = "forbidden")),
)]
pub(crate) async fn show_record_view(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    app.identify(&headers)?.must_read_all()?;
    Ok(write(&record_view(&app), StatusCode::OK, false))
}

/// Starts to build the record store anew from the log, and answers at once. The store can be read meanwhile and follows the
/// log; the new file takes its place when it is complete and checked. Ask `GET /v1/views/record` how far it is.
#[utoipa::path(
    post, path = "/v1/views/record/rebuild", tag = "operation",
    responses((status = 202, description = "Started", body = RecordViewJson), (status = 403, description = "forbidden"), (status = 409, description = "rebuild-running"), (status = 503, description = "unavailable")),
)]
pub(crate) async fn rebuild_record_view(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let principal = app.identify(&headers)?;
    principal.must_operate()?;
    match app.rebuilder.start() {
        Ok(()) => {
            tracing::info!(view = "record", by = principal.name.as_str(), "rebuilding on request");
            Ok(write(&record_view(&app), StatusCode::ACCEPTED, false))
        }
        Err(StartRefused::Running) => {
            let detail =
                "The record store is being rebuilt already. `GET /v1/views/record` shows how far it is.";
            Err(Problem::new(StatusCode::CONFLICT, "rebuild-running", detail))
        }
        Err(StartRefused::Stopping) => Err(Problem::unavailable("The server is shutting down.")),
        Err(refused @ StartRefused::Thread(_)) => {
            tracing::error!("{refused}");
            Err(Problem::unavailable("The system gave no thread for the rebuild. Try again later."))
        }
    }
}

fn record_view(app: &App) -> RecordViewJson {
    let progress = app.record_progress();
    // First the rebuild: what is done by then is in `seq`.
    let rebuild = app.rebuilder.latest().map(rebuild);
    RecordViewJson {
        view: "record",
        state: progress.state().as_str(),
        problem: progress.problem(),
        seq: progress.applied().as_u64(),
        head: app.shard.confirmed().get().as_u64(),
        parked_events: progress.parked(),
        rebuild,
    }
}

fn rebuild(status: RebuildStatus) -> RebuildJson {
    let since = status.started.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (state, problem, report) = match status.outcome {
        None => ("running", None, None),
        Some(Ok(report)) => ("done", None, Some(report)),
        Some(Err(why)) => ("failed", Some(why), None),
    };
    RebuildJson {
        state,
        problem,
        started_at: rfc3339(Timestamp::from_millis(since.as_millis() as u64)),
        seq: status.seq.as_u64(),
        head: status.head.as_u64(),
        coupons: report.map(|report| report.coupons),
        parked_events: report.map(|report| report.parked),
        took_seconds: report.map(|report| report.took.as_secs_f64()),
    }
}
