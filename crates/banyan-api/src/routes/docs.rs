//! The API's description, for programs and for people.

use axum::response::{IntoResponse, Response};
use http::header;
use std::sync::OnceLock;

/// The OpenAPI 3.1 document.
pub(super) async fn openapi_json() -> Response {
    static JSON: OnceLock<String> = OnceLock::new();
    let json = JSON.get_or_init(|| crate::openapi().to_json().unwrap_or_default());
    ([(header::CONTENT_TYPE, "application/json")], json.as_str()).into_response()
}

/// The same as a page to browse. Made on the server from the same document: no script, nothing from elsewhere.
pub(super) async fn page() -> Response {
    static PAGE: OnceLock<String> = OnceLock::new();
    let page = PAGE.get_or_init(|| crate::openapi::page(&crate::openapi()));
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        ),
    ];
    (headers, page.as_str()).into_response()
}
