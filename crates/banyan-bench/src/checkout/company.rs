//! A payment company that answers at once, or after a given time: it says yes to everybody and keeps nothing, so that what
//! is measured is the shop.
//!
//! It speaks the simulated company's API as far as a checkout goes. What a payment is about is in its id.

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::answer;
use std::time::Duration;

const KEY: &str = "idempotency-key";

/// The router, to be served by any loop. Each answer takes at least `thinks`.
pub(crate) fn router(thinks: Duration) -> Router {
    let routes = Router::new()
        .route("/api/payments", post(authorize))
        .route("/api/payments/{payment}", get(show))
        .route("/api/payments/{payment}/{action}", post(act));
    if thinks.is_zero() {
        return routes;
    }
    routes.layer(from_fn_with_state(thinks, think))
}

async fn think(State(thinks): State<Duration>, request: Request, next: Next) -> Response {
    // What is simulated: the time that a company takes.
    tokio::time::sleep(thinks).await;
    next.run(request).await
}

async fn authorize(headers: HeaderMap, body: Bytes) -> Response {
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    match (asked["amount"]["minor"].as_i64(), asked["order"].as_str()) {
        (Some(minor), Some(order)) => shown(&headers, &format!("pay_{minor}_{order}"), "authorized"),
        _ => answer::problem(StatusCode::BAD_REQUEST, "invalid-request"),
    }
}

async fn show(Path(payment): Path<String>, headers: HeaderMap) -> Response {
    shown(&headers, &payment, "authorized")
}

async fn act(Path((payment, action)): Path<(String, String)>, headers: HeaderMap) -> Response {
    match action.as_str() {
        "capture" => shown(&headers, &payment, "captured"),
        "void" => shown(&headers, &payment, "voided"),
        _ => answer::problem(StatusCode::NOT_FOUND, "not-found"),
    }
}

/// A payment; like every answer of the simulated company it names the key of its request.
fn shown(headers: &HeaderMap, id: &str, status: &str) -> Response {
    let mut parts = id.splitn(3, '_').skip(1);
    let minor = parts.next().and_then(|minor| minor.parse::<i64>().ok());
    let (Some(minor), Some(order)) = (minor, parts.next()) else {
        return answer::problem(StatusCode::NOT_FOUND, "payment-not-found");
    };
    let captured = if status == "captured" { minor } else { 0 };
    let body = json!({"payment": id, "order": order, "status": status, "captured": captured, "refunded": 0,
        "amount": {"minor": minor, "currency": "KRW"}, "redirect_url": null, "simulated": true});
    let mut response = answer::json(StatusCode::OK, body.to_string().into_bytes());
    if let Some(key) = headers.get(KEY) {
        response.headers_mut().insert(KEY, key.clone());
    }
    response
}
