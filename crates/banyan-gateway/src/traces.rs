//! Spans on their way to a collector: OTLP over HTTP, as JSON (opentelemetry-proto's mapping).
//!
//! A request only ever puts its span into a queue of limited length, and never waits: what does not fit is dropped, and counted.
//! Names of attributes are those of OpenTelemetry's semantic conventions for HTTP servers; `banyan.*` are ours.

use crate::config::{Config, TracesSpec};
use crate::gateway::Inner;
use crate::proxy::account::Line;
use crate::proxy::body::SendBody;
use crate::proxy::trace::Trace;
use crate::side::Side;
use crate::table::Route;
use crate::tls::ClientTls;
use crate::upstream::connect::{Connected, connect};
use crate::upstream::pool::NoAnswer;
use crate::upstream::{Server, Upstream};
use axum::body::Body;
use http::{HeaderValue, Method, Request, Version, header};
use serde_json::{Value, json};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

/// Most spans that wait.
const QUEUE_MAX: usize = 8_192;
/// Most spans of one question.
const BATCH_MAX: usize = 512;
/// How long the first span of a batch waits for more.
const BATCH_PAUSE: Duration = Duration::from_secs(1);
/// For one question, and for all that is left at the end.
const ASK_TIME_MAX: Duration = Duration::from_secs(5);
/// How often a batch is sent; after a failure that may pass, it is sent again.
const TRIES_MAX: u32 = 3;

/// What is known of one request when it has ended.
pub(crate) struct Span {
    pub trace: Trace,
    pub line: Line,
    pub status: u16,
    pub bytes: u64,
    pub took: Duration,
    pub ended_at: SystemTime,
    pub ended: &'static str,
    pub route: Option<(Arc<Route>, Side)>,
    pub server: Option<Arc<Server>>,
}

/// Takes spans.
pub(crate) struct Exporter {
    queue: mpsc::Sender<Span>,
    waiting: Mutex<Option<mpsc::Receiver<Span>>>,
    spec: TracesSpec,
    collector: Arc<Upstream>,
    is_tls: bool,
    exported: AtomicU64,
    dropped: AtomicU64,
}

impl Exporter {
    /// For the collector that the configuration names.
    pub(crate) fn new(spec: &TracesSpec, config: &Config) -> Result<Self, String> {
        let collector = Upstream::at(&spec.otlp, config).map_err(|why| format!("traces.otlp: {why}"))?;
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        Ok(Self {
            queue,
            waiting: Mutex::new(Some(waiting)),
            spec: spec.clone(),
            collector: Arc::new(collector),
            is_tls: config.tls.is_some(),
            exported: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        })
    }

    /// Takes a span, or drops it and counts that. Never waits.
    pub(crate) fn take(&self, span: Span) {
        if self.queue.try_send(span).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Spans that a collector took, and spans that were dropped.
    pub(crate) fn counts(&self) -> [u64; 2] {
        [self.exported.load(Relaxed), self.dropped.load(Relaxed)]
    }

    /// Sends what comes until the gateway has ended, and then what is left.
    pub(crate) async fn run(self: Arc<Self>, inner: Arc<Inner>) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut spans) = waiting else { return };
        let mut ending = inner.ending.subscribe();
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                _ = spans.recv_many(&mut batch, BATCH_MAX) => {}
                _ = ending.wait_for(|end| *end) => break,
            }
            let deadline = Instant::now() + BATCH_PAUSE;
            while batch.len() < BATCH_MAX {
                let room = BATCH_MAX - batch.len();
                tokio::select! {
                    more = timeout_at(deadline, spans.recv_many(&mut batch, room)) => if more.is_err() { break },
                    _ = ending.wait_for(|end| *end) => break,
                }
            }
            tokio::select! {
                () = self.send(&inner.client_tls, &mut batch, TRIES_MAX) => {}
                // Sent once more below, and then no more.
                _ = ending.wait_for(|end| *end) => break,
            }
        }
        spans.close();
        let rest = async {
            while !batch.is_empty() || spans.recv_many(&mut batch, BATCH_MAX).await > 0 {
                self.send(&inner.client_tls, &mut batch, 1).await;
            }
        };
        let _in_vain = timeout(ASK_TIME_MAX, rest).await;
        self.dropped.fetch_add((batch.len() + spans.len()) as u64, Relaxed);
    }

    async fn send(&self, tls: &ClientTls, batch: &mut Vec<Span>, tries: u32) {
        let text = self.written(batch).to_string();
        let mut pause = Duration::from_secs(1);
        for tried in 1..=tries {
            let asked = timeout(ASK_TIME_MAX, self.ask(tls, &text)).await;
            let failed = match asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(200..=299) => {
                    self.exported.fetch_add(batch.len() as u64, Relaxed);
                    return batch.clear();
                }
                // Those that the protocol says may pass.
                Ok(status @ (429 | 502..=504)) => format!("it answers {status}"),
                Ok(status) => {
                    tracing::warn!(
                        collector = self.spec.otlp,
                        status,
                        spans = batch.len(),
                        "the collector refuses spans"
                    );
                    break;
                }
                Err(error) => error.to_string(),
            };
            if tried == tries {
                tracing::warn!(
                    collector = self.spec.otlp,
                    why = failed,
                    spans = batch.len(),
                    "spans are dropped"
                );
            } else {
                // As the protocol wants it: a collector that has too much to do is left alone for a while.
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
        }
        self.dropped.fetch_add(batch.len() as u64, Relaxed);
        batch.clear();
    }

    async fn ask(&self, tls: &ClientTls, text: &str) -> io::Result<u16> {
        let Some(server) = self.collector.servers().first() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let request = || {
            Request::post("/v1/traces")
                .header(header::CONTENT_TYPE, "application/json")
                .header(header::USER_AGENT, concat!("banyan-gateway/", env!("CARGO_PKG_VERSION")))
        };
        let body = SendBody::Any(Body::from(text.to_owned()));
        let answer = match connect(&self.collector, server, tls, ASK_TIME_MAX, false).await? {
            Connected::One(mut one) => {
                let request =
                    request().header(header::HOST, &server.host).header(header::CONNECTION, "close");
                let length = HeaderValue::from(text.len());
                let request =
                    request.header(header::CONTENT_LENGTH, length).body(body).map_err(io::Error::other)?;
                one.send(request).await.map_err(NoAnswer::into_error)?.status()
            }
            Connected::Two(mut two) => {
                let uri = format!("{}://{}/v1/traces", server.address.scheme, server.address.authority);
                let request = request().uri(uri).body(body).map_err(io::Error::other)?;
                two.send(request).await.map_err(NoAnswer::into_error)?.status()
            }
        };
        Ok(answer.as_u16())
    }

    /// An `ExportTraceServiceRequest`.
    fn written(&self, batch: &[Span]) -> Value {
        let spans: Vec<Value> = batch.iter().map(|span| span.written(self.is_tls)).collect();
        let version = env!("CARGO_PKG_VERSION");
        json!({"resourceSpans": [{
            "resource": {"attributes": [text("service.name", &self.spec.service), text("service.version", version)]},
            "scopeSpans": [{"scope": {"name": "banyan-gateway", "version": version}, "spans": spans}],
        }]})
    }
}

impl Span {
    fn written(&self, is_tls: bool) -> Value {
        /// The number of `SPAN_KIND_SERVER`.
        const SERVER: u32 = 2;
        /// The number of `STATUS_CODE_ERROR`.
        const ERROR: u32 = 2;
        let end = self.ended_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let begin = end.saturating_sub(self.took);
        let method = known_method(&self.line.method);
        let path = self.route.as_ref().map(|(route, _)| route.spec().path.as_str());
        let name = match path {
            Some(path) => format!("{method} {path}"),
            None => method.to_owned(),
        };
        let mut attributes = vec![
            text("http.request.method", method),
            text("url.path", self.line.uri.path()),
            text("url.scheme", if is_tls { "https" } else { "http" }),
            text("network.protocol.version", version(self.line.version)),
            text("banyan.request_id", &self.line.id),
            text("banyan.ended", self.ended),
            number("http.response.body.size", self.bytes),
        ];
        if method == "_OTHER" {
            attributes.push(text("http.request.method_original", self.line.method.as_str()));
        }
        if self.status > 0 {
            attributes.push(number("http.response.status_code", u64::from(self.status)));
        }
        if let Some(client) = self.line.client {
            attributes.push(text("client.address", &client.to_string()));
        }
        if let Ok(host) = self.line.host.parse::<http::uri::Authority>() {
            attributes.push(text("server.address", host.host()));
            attributes.extend(host.port_u16().map(|port| number("server.port", u64::from(port))));
        }
        if let Some((route, side)) = &self.route {
            attributes.push(text("http.route", &route.spec().path));
            attributes.push(text("banyan.route", route.name()));
            attributes.push(text("banyan.side", side.as_str()));
        }
        if let Some(server) = &self.server {
            attributes.push(text("banyan.server", server.address.authority.as_str()));
        }
        let broke_off = matches!(self.ended, "broke off" | "panicked");
        let is_error = self.status >= 500 || broke_off;
        if is_error {
            let status = self.status.to_string();
            attributes.push(text("error.type", if broke_off { self.ended } else { &status }));
        }
        let mut span = json!({
            "traceId": self.trace.id(),
            "spanId": self.trace.span(),
            "name": name,
            "kind": SERVER,
            // 64 bits are text in this mapping.
            "startTimeUnixNano": begin.as_nanos().to_string(),
            "endTimeUnixNano": end.as_nanos().to_string(),
            "attributes": attributes,
            "status": if is_error { json!({"code": ERROR}) } else { json!({}) },
            // Sampled; and whether the parent is of another process is known, and whether it is.
            "flags": if self.trace.parent().is_some() { 0x301 } else { 0x101 },
        });
        if let Some(parent) = self.trace.parent() {
            span["parentSpanId"] = parent.into();
        }
        if let Some(state) = self.line.tracestate.as_ref().and_then(|state| state.to_str().ok()) {
            span["traceState"] = state.into();
        }
        span
    }
}

/// Others could be as many as clients like.
fn known_method(method: &Method) -> &str {
    match method.as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "CONNECT" | "OPTIONS" | "TRACE" | "PATCH") => {
            known
        }
        _ => "_OTHER",
    }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "2",
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    }
}

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

fn number(key: &str, value: u64) -> Value {
    json!({"key": key, "value": {"intValue": value.to_string()}})
}
