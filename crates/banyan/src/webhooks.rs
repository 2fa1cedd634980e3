//! What services tell by themselves: `POST /v1/webhooks/{service}`.
//!
//! No key is needed, because a company signs what it tells with the secret of the service's `webhook_secret_file`. Nothing of it
//! is believed: it is a reason to ask.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::routing::post;
use banyan_api::{Problem, read_body};
use banyan_saga::{Executor, NoticeError};
use http::{HeaderMap, StatusCode};
use std::sync::Arc;

/// Largest webhook, in bytes.
const WEBHOOK_BYTES_MAX: usize = 256 << 10;

/// The routes.
pub(crate) fn router(executor: Arc<Executor>) -> Router {
    Router::new().route("/v1/webhooks/{service}", post(take)).with_state(executor)
}

async fn take(
    State(executor): State<Arc<Executor>>,
    Path(service): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    // Whoever sends it has shown no key: it is small, and it comes at once.
    let body = read_body(body, WEBHOOK_BYTES_MAX).await?;
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
