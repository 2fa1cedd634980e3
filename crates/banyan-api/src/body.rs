//! Reading request bodies: limited in size and time.

use crate::problem::Problem;
use axum::body::Body;
use bytes::Bytes;
use http::StatusCode;
use http_body::Body as _;
use http_body_util::{BodyExt, Collected, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use std::time::Duration;

/// Largest body of a request about one thing, in bytes.
pub(crate) const SMALL_BODY_BYTES_MAX: usize = 16 << 10;
/// Largest body of a batch, in bytes: 8,192 members of 64 bytes, with room for JSON around them.
pub(crate) const BATCH_BODY_BYTES_MAX: usize = 1 << 20;
/// Longest time a whole body may take.
pub(crate) const BODY_TIME_MAX: Duration = Duration::from_secs(15);

/// Reads a whole body of at most `bytes_max` within 15 seconds.
///
/// # Errors
/// A [`Problem`] that says whether it was too large, too slow, or broken off.
pub(crate) async fn read(body: Body, bytes_max: usize) -> Result<Bytes, Problem> {
    let announced = body.size_hint().upper().and_then(|bytes| usize::try_from(bytes).ok());
    if announced.is_some_and(|bytes| bytes > bytes_max) {
        return Err(too_large(bytes_max));
    }
    let whole = async {
        // A body whose announced length fits needs no counting: hyper never gives more than was announced.
        let collected = match announced {
            Some(_) => body.collect().await.map_err(|_| broken_off()),
            None => Limited::new(body, bytes_max).collect().await.map_err(|error| {
                if error.is::<LengthLimitError>() { too_large(bytes_max) } else { broken_off() }
            }),
        };
        collected.map(Collected::to_bytes)
    };
    tokio::time::timeout(BODY_TIME_MAX, whole).await.unwrap_or_else(|_| Err(too_slow()))
}

fn broken_off() -> Problem {
    Problem::invalid("The body ended before its announced length.")
}

/// Reads a JSON value.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes)
        .map_err(|error| Problem::invalid(format!("The body is not what is expected: {error}.")))
}

pub(crate) fn too_large(bytes_max: usize) -> Problem {
    let detail = format!("The body is larger than {bytes_max} bytes. Split it.");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
}

pub(crate) fn too_slow() -> Problem {
    let detail = format!("The body took longer than {} seconds to arrive.", BODY_TIME_MAX.as_secs());
    Problem::new(StatusCode::REQUEST_TIMEOUT, "too-slow", detail)
}
