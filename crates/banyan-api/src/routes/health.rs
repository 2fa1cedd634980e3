//! Whether the process lives, and whether it should get requests.

use super::coupons::write;
use crate::App;
use crate::problem::Problem;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// A short yes.
#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`.
    status: &'static str,
    /// Log position of the last durable event.
    seq: u64,
}

/// Whether the process lives.
#[utoipa::path(get, path = "/healthz", tag = "operation", responses((status = 200, description = "Alive", body = Health)))]
pub(crate) async fn is_alive(State(app): State<Arc<App>>) -> Response {
    write(&Health { status: "ok", seq: app.shard.confirmed().get().as_u64() }, StatusCode::OK, false)
}

/// Whether it should get requests: 503 while it shuts down, storage is full, or the determinism alarm has gone off.
#[utoipa::path(get, path = "/readyz", tag = "operation", responses((status = 200, description = "Ready", body = Health), (status = 503, description = "unavailable")))]
pub(crate) async fn is_ready(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let metrics = app.shard.metrics();
    if *app.stopping.borrow() {
        return Err(Problem::unavailable("The server is shutting down."));
    }
    if metrics.storage_is_full {
        return Err(Problem::unavailable("Storage is full: writes are refused until there is room."));
    }
    if metrics.alarm {
        return Err(Problem::unavailable(
            "A background replay of the log came to another state than the writer. Stop this process and run `banyan verify`.",
        ));
    }
    Ok(write(&Health { status: "ok", seq: app.shard.confirmed().get().as_u64() }, StatusCode::OK, false))
}
