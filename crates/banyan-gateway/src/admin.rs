//! The admin API: the route table and what is known about traffic, for operators and machines.

use crate::change::{Change, Refused};
use crate::config::ConfigError;
use crate::limits::{ADMIN_BODY_BYTES_MAX, ADMIN_CONNECTIONS_MAX, ADMIN_TIME_MAX};
use crate::{Gateway, gateway};
use axum::extract::{DefaultBodyLimit, Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::convert::Infallible;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use subtle::ConstantTimeEq as _;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower::ServiceExt as _;

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
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "serving the admin API"),
    };
    let places = Arc::new(Semaphore::new(ADMIN_CONNECTIONS_MAX));
    let head = Duration::from_millis(gateway.inner.config.timeouts.head_millis);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_ended) = connections.join_next() => continue,
            _ = ending.wait_for(|end| *end) => break,
        };
        let socket = match accepted {
            Ok((socket, _)) => socket,
            Err(error) => {
                tracing::warn!(%error, "accepting a connection of an operator");
                // Out of descriptors, as a rule: the next one may be fine.
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            tracing::warn!("the admin API has as many connections as it takes: one more was closed");
            continue;
        };
        let (router, ending) = (router.clone(), gateway.inner.ending.subscribe());
        connections.spawn(async move {
            let _place = place;
            serve_one(router, socket, head, ending).await;
        });
    }
    // What was asked before the end is answered, within the time of one request.
    while connections.join_next().await.is_some() {}
}

/// Serves one connection. Silence ends it, in a head, between two requests, or in a body.
async fn serve_one(
    router: Router,
    socket: tokio::net::TcpStream,
    head: Duration,
    mut ending: watch::Receiver<bool>,
) {
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let asked = router.clone().oneshot(request.map(axum::body::Body::new));
        async move {
            Ok::<_, Infallible>(match timeout(ADMIN_TIME_MAX, asked).await {
                Ok(Ok(answer)) => answer,
                Err(_) => problem(
                    StatusCode::REQUEST_TIMEOUT,
                    "gateway-client-too-slow",
                    "The request took too long.",
                ),
            })
        }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(head);
    let mut connection = pin!(http.serve_connection(TokioIo::new(socket), service));
    // Errors are the operator's: they went away, or said nothing any more.
    tokio::select! {
        _ended = connection.as_mut() => return,
        _ = ending.wait_for(|end| *end) => connection.as_mut().graceful_shutdown(),
    }
    let _ended = timeout(ADMIN_TIME_MAX, connection).await;
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
