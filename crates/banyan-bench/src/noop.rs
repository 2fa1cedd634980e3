//! The ceiling: an endpoint on the same HTTP stack that reads the request and answers as many bytes as the real one,
//! and does nothing else. Nothing on this stack can be faster.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use http::{StatusCode, header};

use crate::answer;

/// The router, to be served by any loop.
pub(crate) fn router() -> Router {
    // A member id as the load generator's, so that the lengths agree.
    let body = Bytes::from(answer::coupon_body("round-1", "m0123456789abcdef", 123_456));
    Router::new().route("/v1/campaigns/{campaign}/coupons", post(issue)).with_state(body)
}

async fn issue(State(body): State<Bytes>, request: Bytes) -> Response {
    // The body was read to its end by the extractor; looking at its length keeps that from being optimised away.
    let status = if request.is_empty() { StatusCode::BAD_REQUEST } else { StatusCode::CREATED };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}
