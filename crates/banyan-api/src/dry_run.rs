//! Requests that only ask what would be answered: `Banyan-Dry-Run: true`.
//!
//! A gateway sends copies of writes like that, so that what Banyan would have answered can be compared with what the old shop
//! did. Whoever passes this header over changes what nobody wanted changed: so an endpoint either pretends and says so
//! with the same header, or refuses.

use crate::problem::Problem;
use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, StatusCode};

/// On a request: only pretend. On an answer: nothing was changed.
pub(crate) const DRY_RUN: HeaderName = HeaderName::from_static("banyan-dry-run");

/// Whether `headers` ask for a dry run.
///
/// # Errors
/// The header is there and does not clearly say yes or no: whoever wrote it meant something, and it may have been yes.
pub(crate) fn is_asked(headers: &HeaderMap) -> Result<bool, Problem> {
    let mut asked = false;
    for value in headers.get_all(DRY_RUN) {
        match value.as_bytes() {
            b"true" => asked = true,
            b"false" => {}
            _ => return Err(Problem::invalid("Banyan-Dry-Run must be true or false.")),
        }
    }
    Ok(asked)
}

/// The answer of an endpoint that pretends if it is asked to, also if it is a problem: nothing was changed either way.
pub(crate) fn answered(dry: bool, answer: Result<Response, Problem>) -> Result<Response, Problem> {
    if !dry {
        return answer;
    }
    let mut response = answer.into_response();
    response.headers_mut().insert(DRY_RUN, crate::routes::TRUE);
    Ok(response)
}

/// Lets through what asks for no dry run, and what changes nothing anyway. For endpoints that cannot pretend.
pub(crate) async fn refuse(request: Request, next: Next) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    match is_asked(request.headers()) {
        Ok(false) => next.run(request).await,
        Ok(true) => unsupported().into_response(),
        Err(problem) => problem.into_response(),
    }
}

/// `router`, none of whose endpoints can pretend: what asks for a dry run and would change something is refused.
pub fn refused(router: Router) -> Router {
    router.layer(from_fn(refuse))
}

/// The refusal of an endpoint that cannot pretend.
pub(crate) fn unsupported() -> Problem {
    let detail = "This endpoint cannot pretend, so nothing was done. Leave Banyan-Dry-Run out if you want it done; a \
                  gateway's route that leads here must not say dry_run = true.";
    Problem::new(StatusCode::NOT_IMPLEMENTED, "dry-run-unsupported", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_word_counts() {
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(DRY_RUN, http::HeaderValue::from_static(value));
            }
            is_asked(&headers).ok()
        };
        assert_eq!(of(&[]), Some(false));
        assert_eq!((of(&["true"]), of(&["false"])), (Some(true), Some(false)));
        assert_eq!(of(&["false", "true"]), Some(true), "once is enough");
        assert_eq!((of(&["TRUE"]), of(&["1"]), of(&[""])), (None, None, None));
    }
}
