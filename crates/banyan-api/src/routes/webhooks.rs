//! What services tell by themselves: `POST /v1/webhooks/{service}`.
//!
//! No key is needed, because a company signs what it tells with the secret of the service's `webhook_secret_file`. Nothing of it
//! is believed: it is a reason to ask.

use super::path::PathText;
use crate::body;
use crate::dry_run;
use crate::problem::Problem;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::middleware::from_fn;
use axum::routing::post;
use banyan_saga::{Executor, NoticeError};
use http::{HeaderMap, StatusCode};
use std::sync::Arc;

/// Largest webhook, in bytes.
const WEBHOOK_BYTES_MAX: usize = 256 << 10;

/// Takes what services tell, for `executor` to look into; to be merged into the API.
pub fn webhooks(executor: Arc<Executor>) -> Router {
    let take = post(take_webhook).route_layer(from_fn(dry_run::refuse));
    Router::new().route("/v1/webhooks/{service}", take).with_state(executor)
}

/// Takes what a service tells. No key is needed: it shows with its own signature who it is, in header fields and a form of its
/// own. Nothing of it is believed; it is a reason to ask the service now and not later. At most 256 KiB.
#[utoipa::path(
    post, path = "/v1/webhooks/{service}", tag = "sagas", params(("service" = String, Path, description = "The service's name in the file of `--services`")),
    request_body(content = String, content_type = "application/json", description = "As the service writes it"), security(()),
    responses((status = 204, description = "Taken"), (status = 400, description = "invalid-request: not signed with the service's secret, or not understood"), (status = 404, description = "not-found: no such service"), (status = 408, description = "too-slow"), (status = 413, description = "too-large")),
)]
pub(crate) async fn take_webhook(
    State(executor): State<Arc<Executor>>,
    PathText(service): PathText,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    // Whoever sends it has shown no key: it is small, and it comes at once.
    let body = body::read(body, WEBHOOK_BYTES_MAX).await?;
    match executor.notice(&service, &headers, &body).await {
        Ok(_) => Ok(StatusCode::NO_CONTENT),
        Err(NoticeError::NoService) => {
            let detail = "No service of this name is configured; see --services in `banyan up --help`.";
            Err(Problem::new(StatusCode::NOT_FOUND, "not-found", detail))
        }
        Err(NoticeError::NotTaken(why)) => Err(Problem::invalid(format!("The webhook is not taken: {why}."))),
        Err(NoticeError::Stopping) => Err(Problem::unavailable("The server is stopping. Tell it again.")),
    }
}
