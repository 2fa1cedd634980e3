//! The variable part of a path, with our own words when it cannot be read.

use crate::problem::Problem;
use axum::extract::{FromRequestParts, Path};
use http::request::Parts;

/// The one variable part of the path.
pub(crate) struct PathText(pub String);

impl<S: Send + Sync> FromRequestParts<S> for PathText {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = Path::<String>::from_request_parts(parts, state).await;
        text.map(|Path(text)| Self(text))
            .map_err(|_| Problem::invalid("The path is not valid UTF-8 once unescaped."))
    }
}
