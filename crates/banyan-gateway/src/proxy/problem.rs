//! Errors that the gateway itself answers: `application/problem+json` (RFC 9457), each type with a page in docs/errors.

use super::body::AnswerBody;
use super::strict::Flaw;
use super::trace::Trace;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use std::time::Duration;

/// An error answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Problem {
    pub status: StatusCode,
    /// The last part of its `type`, which is `/errors/<slug>`.
    pub slug: &'static str,
    /// What is wrong and what to do, for people.
    pub detail: String,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// The connection is not used any more.
    pub close: bool,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, slug: &'static str, detail: impl Into<String>) -> Self {
        Self { status, slug, detail: detail.into(), retry_after: None, close: false }
    }

    /// A request that breaks the rules of HTTP.
    pub(crate) fn malformed(detail: &str) -> Self {
        Self { close: true, ..Self::new(StatusCode::BAD_REQUEST, "gateway-malformed", detail) }
    }

    pub(crate) fn flaw(flaw: Flaw) -> Self {
        let status = StatusCode::from_u16(flaw.status()).unwrap_or(StatusCode::BAD_REQUEST);
        let slug = match flaw {
            Flaw::HeadTooSlow => "gateway-client-too-slow",
            Flaw::HeadTooLong | Flaw::TooManyHeaders | Flaw::TargetTooLong => "gateway-too-large",
            _ => "gateway-malformed",
        };
        Self { close: true, ..Self::new(status, slug, flaw.detail()) }
    }

    /// No room: try again.
    pub(crate) fn busy(detail: &str, after: Duration) -> Self {
        Self {
            retry_after: Some(after),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "gateway-busy", detail)
        }
    }

    /// With `trace`, the answer says in which trace it is found.
    pub(crate) fn into_response(self, trace: Option<&Trace>) -> Response<AnswerBody> {
        let seconds = self.retry_after.map(|after| after.as_secs().max(1));
        let mut json = serde_json::json!({
            "type": format!("/errors/{}", self.slug),
            "title": self.slug,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Some(seconds) = seconds {
            json["retry_after_seconds"] = seconds.into();
        }
        if let Some(trace) = trace {
            json["trace_id"] = trace.id().into();
        }
        let mut response = Response::new(AnswerBody::whole(Bytes::from(json.to_string())));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
