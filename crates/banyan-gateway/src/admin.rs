//! The admin API: the route table and what is known about traffic, for operators and machines.

use crate::change::{Change, Refused};
use crate::config::ConfigError;
use crate::limits::ADMIN_BODY_BYTES_MAX;
use crate::{Gateway, gateway};
use axum::extract::{DefaultBodyLimit, Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use subtle::ConstantTimeEq as _;
use tokio::sync::watch;

/// The key's file in the state folder.
const KEY_FILE: &str = "admin.key";

/// Reads the key of the admin API, or makes one that only its owner can read.
pub(crate) fn ensure_key(state: &Path) -> Result<String, ConfigError> {
    let path = state.join(KEY_FILE);
    let failed =
        |doing: &str, why: &dyn std::fmt::Display| ConfigError(format!("{doing} {}: {why}", path.display()));
    match fs::read_to_string(&path) {
        Ok(text) if text.trim().len() >= 16 => return Ok(text.trim().to_owned()),
        Ok(_) => {
            return Err(failed(
                "reading",
                &"it holds no key of at least 16 characters: remove it to get a new one",
            ));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("reading", &error)),
    }
    let mut secret = [0; 24];
    getrandom::fill(&mut secret).map_err(|error| failed("making", &error))?;
    let key: String =
        std::iter::once("bgw_".to_owned()).chain(secret.iter().map(|b| format!("{b:02x}"))).collect();
    let temporary = path.with_extension("tmp");
    let write = || -> io::Result<()> {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(format!("{key}\n").as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, &path)
    };
    write().map_err(|error| failed("writing", &error))?;
    Ok(key)
}

/// Serves the admin API until the gateway has ended.
pub(crate) async fn serve(
    gateway: Gateway,
    listener: std::net::TcpListener,
    key: String,
    stopping: watch::Receiver<bool>,
) {
    let mut ending = gateway.inner.ending.subscribe();
    let key: Arc<str> = key.into();
    let open = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(move || healthz(stopping.clone())))
        .with_state(gateway.clone());
    let router = gateway.admin_router().layer(middleware::from_fn_with_state(key, check_key)).merge(open);
    let served = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => {
            let stop = async move { drop(ending.wait_for(|end| *end).await) };
            axum::serve(listener, router).with_graceful_shutdown(stop).await
        }
        Err(error) => Err(error),
    };
    if let Err(error) = served {
        tracing::error!(%error, "serving the admin API");
    }
}

async fn check_key(State(key): State<Arc<str>>, request: Request, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION).map_or(&b""[..], HeaderValue::as_bytes);
    let given = given.strip_prefix(b"Bearer ").unwrap_or_default();
    if bool::from(given.ct_eq(key.as_bytes())) {
        return next.run(request).await;
    }
    let detail =
        "Send `Authorization: Bearer KEY` with the key in the file admin.key of the gateway's state folder.";
    problem(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
}

async fn healthz(stopping: watch::Receiver<bool>) -> Response {
    let is_stopping = *stopping.borrow();
    match is_stopping {
        false => "ok\n".into_response(),
        true => (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response(),
    }
}

async fn metrics(State(gateway): State<Gateway>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], gateway.prometheus()).into_response()
}

fn problem(status: StatusCode, slug: &str, detail: &str) -> Response {
    let body = json!({"type": format!("/errors/{slug}"), "title": slug, "status": status.as_u16(), "detail": detail});
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, slug) = match &self {
            Self::Stale { .. } => (StatusCode::CONFLICT, "gateway-stale"),
            Self::Conflict(_) => (StatusCode::CONFLICT, "gateway-conflict"),
            Self::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "gateway-invalid"),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "gateway-not-found"),
            Self::Storage(_) => (StatusCode::SERVICE_UNAVAILABLE, "gateway-storage"),
        };
        problem(status, slug, &self.to_string())
    }
}

/// A change that is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    expected: u64,
    by: String,
    reason: String,
    change: Change,
}

/// A version that is to be taken back.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TakeBack {
    version: u64,
    by: String,
    reason: String,
}

#[derive(Deserialize)]
struct Limit {
    limit: Option<usize>,
}

#[derive(Serialize)]
struct Version {
    version: u64,
}

impl Gateway {
    /// The admin API without its key: for whoever has a gate of its own in front of it.
    pub fn admin_router(&self) -> Router {
        Router::new()
            .route("/v1/table", get(table))
            .route("/v1/changes", post(change))
            .route("/v1/undo", post(undo))
            .route("/v1/history", get(history))
            .route("/v1/traffic", get(traffic))
            .route("/v1/upstreams", get(upstreams))
            .route("/v1/certificate", get(certificate).post(reload))
            .merge(crate::admin_sides::router())
            .layer(DefaultBodyLimit::max(ADMIN_BODY_BYTES_MAX))
            .with_state(self.clone())
    }
}

async fn table(State(gateway): State<Gateway>) -> Response {
    let table = gateway.table();
    let routes: Vec<_> = table.routes().iter().map(|route| route.spec()).collect();
    Json(json!({"version": table.version(), "routes": routes})).into_response()
}

async fn change(State(gateway): State<Gateway>, body: bytes::Bytes) -> Result<Response, Refused> {
    let Asked { expected, by, reason, change } = parse(&body)?;
    done(move || gateway.change(expected, change, &by, &reason)).await
}

async fn undo(State(gateway): State<Gateway>, body: bytes::Bytes) -> Result<Response, Refused> {
    let TakeBack { version, by, reason } = parse(&body)?;
    done(move || gateway.undo(version, &by, &reason)).await
}

pub(crate) fn parse<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    serde_json::from_slice(body)
        .map_err(|error| Refused::Invalid(format!("The JSON is not what is asked for here: {error}.")))
}

/// Makes a change away from the other tasks: it waits for the disk.
async fn done(make: impl FnOnce() -> Result<u64, Refused> + Send + 'static) -> Result<Response, Refused> {
    let made = tokio::task::spawn_blocking(make).await;
    let version = made.map_err(|error| Refused::Storage(error.to_string()))??;
    Ok((StatusCode::CREATED, Json(Version { version })).into_response())
}

async fn history(State(gateway): State<Gateway>, Query(asked): Query<Limit>) -> Response {
    Json(json!({"entries": gateway.history(asked.limit.unwrap_or(50))})).into_response()
}

async fn traffic(State(gateway): State<Gateway>) -> Response {
    Json(json!({"at": gateway::now(), "routes": gateway.traffic()})).into_response()
}

async fn upstreams(State(gateway): State<Gateway>) -> Response {
    Json(json!({"upstreams": gateway.upstreams()})).into_response()
}

async fn certificate(State(gateway): State<Gateway>) -> Result<Response, Refused> {
    gateway.certificate().map(|report| Json(report).into_response()).ok_or_else(no_tls)
}

/// Reads the files now, without the wait for them to be at rest.
async fn reload(State(gateway): State<Gateway>) -> Result<Response, Refused> {
    let certificate = gateway.inner.certificate.clone().ok_or_else(no_tls)?;
    let read = tokio::task::spawn_blocking(move || certificate.reload()).await;
    let report = read.map_err(|error| Refused::Storage(error.to_string()))?;
    let report = report.map_err(|why| {
        Refused::Invalid(format!("{why}. The certificate from before stays: put good files there"))
    })?;
    Ok(Json(report).into_response())
}

fn no_tls() -> Refused {
    Refused::NotFound("this gateway speaks no TLS: give it `tls` in its file".to_owned())
}
