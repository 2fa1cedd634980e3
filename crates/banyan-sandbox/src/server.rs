//! Options, what every handler shares, and the loop that owns connections.

use crate::faults::{FaultPlan, Faults};
use crate::ledger::{Ledger, LedgerError, LedgerOptions};
use crate::twice::EchoIo;
use crate::{admin, api, page, statement, toss, webhooks};
use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request};
use axum::routing::get;
use http::Uri;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt;

pub(crate) use crate::twice::Twice;

/// Longest body of a request, in bytes.
const BODY_BYTES_MAX: usize = 64 << 10;
/// Longest wait for a request's head, which includes the silence before it on a kept-alive connection.
const HEAD_TIME_MAX: Duration = Duration::from_secs(60);
/// Longest wait for requests under way when stopping.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(10);

/// How a sandbox is set up.
#[derive(Clone)]
pub struct SandboxOptions {
    /// Folder of the ledger; made if it is not there. One process at a time.
    pub data: PathBuf,
    /// The shop's key: `Authorization: Bearer KEY`, or as the user name of Basic authentication in the Toss shapes.
    pub secret_key: String,
    /// The key for `/admin`; not the shop's.
    pub admin_key: String,
    /// Who is told of events; none: nobody, and no event is stored.
    pub webhook: Option<Webhook>,
    /// How customers reach this server, such as `https://pay.example`; none: the listener's own address over http.
    pub public_url: Option<String>,
    /// Makes payment ids the same in every run on an empty ledger; none: random ids, which nobody can guess.
    pub seed: Option<u64>,
    /// What goes wrong from the start.
    pub faults: FaultPlan,
    /// How long a customer has to give a card.
    pub card_time: Duration,
    /// How long an authorization waits to be captured.
    pub authorization_time: Duration,
    /// Most connections at once; more wait in the kernel's queue.
    pub connections_max: usize,
}

/// Who is told of events.
#[derive(Clone)]
pub struct Webhook {
    /// An `http` address; events are POSTed to it.
    pub url: String,
    /// The secret that signs them.
    pub secret: String,
}

impl SandboxOptions {
    /// A ledger in `data`, the two keys, and no webhook, no faults, 30 minutes for a card, 7 days for a capture.
    pub fn new(data: impl Into<PathBuf>, secret_key: &str, admin_key: &str) -> Self {
        Self {
            data: data.into(),
            secret_key: secret_key.to_owned(),
            admin_key: admin_key.to_owned(),
            webhook: None,
            public_url: None,
            seed: None,
            faults: FaultPlan::default(),
            card_time: Duration::from_secs(30 * 60),
            authorization_time: Duration::from_secs(7 * 86_400),
            connections_max: 4_096,
        }
    }
}

/// Why a sandbox cannot start, or ended.
#[derive(Debug)]
pub enum SandboxError {
    /// An option cannot be used; the text says which, and what it must be.
    Options(String),
    /// The ledger cannot be opened; the text says why and what to do.
    Ledger(Box<dyn std::error::Error + Send + Sync>),
    /// The listener failed for good.
    Listener(io::Error),
}

/// What handlers share.
pub(crate) struct App {
    pub(crate) options: SandboxOptions,
    pub(crate) public_url: String,
    pub(crate) ledger: Ledger,
    pub(crate) faults: Faults,
}

/// Runs the company on `listener` until `stopping` turns true; then answers what is under way, and closes the ledger.
///
/// # Errors
/// [`SandboxError`] if an option or the ledger cannot be used, or the listener fails for good.
pub async fn serve(
    listener: TcpListener,
    options: SandboxOptions,
    mut stopping: watch::Receiver<bool>,
) -> Result<(), SandboxError> {
    let app = Arc::new(prepare(&listener, options).await?);
    let telling = match &app.options.webhook {
        None => None,
        Some(webhook) => {
            let url = webhook_url(webhook)?;
            Some(tokio::spawn(webhooks::deliver(app.clone(), url, webhook.secret.clone(), stopping.clone())))
        }
    };
    let router = router(app.clone());
    let slots = Arc::new(Semaphore::new(app.options.connections_max));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME_MAX).half_close(false);
    loop {
        let slot = slots.clone().acquire_owned().await;
        let slot = slot.map_err(|_| SandboxError::Listener(io::Error::other("the limiter was closed")))?;
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stop| *stop) => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, or a connection that went away in the queue: the next one may be fine.
                tracing::warn!(%error, "accepting a connection");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let _only_slower = stream.set_nodelay(true);
        let twice = Twice::default();
        let stream = EchoIo::new(stream, twice.clone());
        let (router, served, mut stop) = (router.clone(), app.clone(), stopping.clone());
        let service = service_fn(move |request: http::Request<Incoming>| {
            let (router, app, twice) = (router.clone(), served.clone(), twice.clone());
            async move {
                if app.faults.is_down() && !request.uri().path().starts_with("/admin/") {
                    return Err(io::Error::other("down, as was asked for"));
                }
                let mut request = Request::from(request.map(Body::new));
                request.extensions_mut().insert(twice);
                let key = request.headers().get("idempotency-key").cloned();
                let Ok(mut response) = router.oneshot(request).await;
                // Named in every answer, so that a caller can see whether it is the answer to its own request.
                if let Some(key) = key {
                    response.headers_mut().insert("idempotency-key", key);
                }
                Ok(response)
            }
        });
        let connection = http.serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            let _held = slot;
            let mut connection = std::pin::pin!(connection);
            // Errors here are the caller's: it went away, or sent what is not HTTP; or the company is down.
            tokio::select! {
                _ = connection.as_mut() => return,
                _ = stop.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
            }
            let _ended = connection.await;
        });
    }
    drop(listener);
    let all = u32::try_from(app.options.connections_max).unwrap_or(u32::MAX);
    if tokio::time::timeout(DRAIN_TIME_MAX, slots.acquire_many(all)).await.is_err() {
        tracing::warn!("some requests were still under way when their time was up");
    }
    if let Some(telling) = telling {
        // It ends by itself when it sees the stop; a panic in it has been printed.
        let _ = telling.await;
    }
    drop(router);
    // Closing waits for the writer's thread and its last sync.
    let _ = tokio::task::spawn_blocking(move || drop(app)).await;
    Ok(())
}

async fn prepare(listener: &TcpListener, options: SandboxOptions) -> Result<App, SandboxError> {
    for (name, key) in [("secret_key", &options.secret_key), ("admin_key", &options.admin_key)] {
        if key.len() < 8 || !key.bytes().all(|b| b.is_ascii_graphic() && b != b':') {
            let what = format!("{name} must be at least 8 visible ASCII characters without a colon");
            return Err(SandboxError::Options(what));
        }
    }
    let public_url = match &options.public_url {
        Some(url) => {
            api::url("public_url", url.trim_end_matches('/').to_owned()).map_err(SandboxError::Options)?
        }
        None => format!("http://{}", listener.local_addr().map_err(SandboxError::Listener)?),
    };
    let faults = Faults::new(options.faults.clone()).map_err(SandboxError::Options)?;
    let ledger_options = LedgerOptions {
        seed: options.seed,
        public_url: public_url.clone(),
        card_time: options.card_time,
        authorization_time: options.authorization_time,
        has_webhook: options.webhook.is_some(),
    };
    let data = options.data.clone();
    let opened = tokio::task::spawn_blocking(move || Ledger::open(&data, ledger_options)).await;
    let ledger = opened
        .map_err(|error| SandboxError::Ledger(Box::new(error)))?
        .map_err(|error: LedgerError| SandboxError::Ledger(Box::new(error)))?;
    Ok(App { options, public_url, ledger, faults })
}

fn webhook_url(webhook: &Webhook) -> Result<Uri, SandboxError> {
    let url: Option<Uri> = webhook.url.parse().ok();
    url.filter(|url| url.scheme_str() == Some("http") && url.authority().is_some()).ok_or_else(|| {
        SandboxError::Options("the webhook's address must begin with http:// and name a host".into())
    })
}

fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .merge(api::routes())
        .merge(toss::routes())
        .merge(statement::routes())
        .merge(admin::routes())
        .merge(page::routes())
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(app)
}

impl fmt::Debug for SandboxOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Keys and secrets are left out.
        f.debug_struct("SandboxOptions")
            .field("data", &self.data)
            .field("webhook", &self.webhook)
            .field("public_url", &self.public_url)
            .field("seed", &self.seed)
            .field("faults", &self.faults)
            .field("card_time", &self.card_time)
            .field("authorization_time", &self.authorization_time)
            .field("connections_max", &self.connections_max)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("url", &self.url).finish_non_exhaustive()
    }
}

impl fmt::Display for SandboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Options(what) => f.write_str(what),
            Self::Ledger(error) => write!(f, "the sandbox's ledger: {error}"),
            Self::Listener(error) => write!(f, "the sandbox's listener: {error}"),
        }
    }
}

impl std::error::Error for SandboxError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Options(_) => None,
            Self::Ledger(error) => Some(error.as_ref()),
            Self::Listener(error) => Some(error),
        }
    }
}
