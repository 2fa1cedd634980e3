//! One client's connection: TLS, which HTTP, and its end.

use super::client::{Client, Slot};
use super::exchange::answer;
use super::forward::Sender;
use super::guard::{Guard, Patience, Shared};
use super::stall::Streams;
use super::stream::Stream;
use super::strict::HeadLimits;
use super::worker::Worker;
use crate::certificate::Certificate;
use crate::config::{Limits, Timeouts};
use http::{HeaderValue, Method, Request, Response, header};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;

/// What begins every HTTP/2 connection.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What all connections have in common.
pub(crate) struct Door {
    pub one: http1::Builder,
    pub two: http2::Builder<Streams>,
    pub heads: HeadLimits,
    pub patience: Patience,
    pub certificate: Option<Arc<Certificate>>,
}

impl Door {
    pub(crate) fn new(limits: &Limits, timeouts: &Timeouts, certificate: Option<Arc<Certificate>>) -> Self {
        let mut one = http1::Builder::new();
        // The guard has judged heads and keeps the time; hyper's own limits are only a little wider.
        one.half_close(true)
            .header_read_timeout(None)
            .max_headers(limits.headers_max + 8)
            .max_buf_size(limits.head_bytes_max.max(64 << 10) + (8 << 10));
        let mut two = http2::Builder::new(Streams);
        two.timer(TokioTimer::new())
            .enable_connect_protocol()
            .max_concurrent_streams(limits.streams_max)
            .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX))
            .initial_stream_window_size(256 << 10)
            .initial_connection_window_size(1 << 20)
            .max_send_buf_size(256 << 10)
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(20));
        let heads = HeadLimits {
            head_bytes_max: limits.head_bytes_max,
            headers_max: limits.headers_max,
            uri_bytes_max: limits.uri_bytes_max,
        };
        let patience = Patience {
            head: Duration::from_millis(timeouts.head_millis),
            keep_alive: Duration::from_millis(timeouts.keep_alive_millis),
            idle: Duration::from_millis(timeouts.idle_millis),
        };
        Self { one, two, heads, patience, certificate }
    }
}

/// Serves one connection until it ends.
pub(crate) async fn serve(
    worker: Arc<Worker>,
    door: Arc<Door>,
    socket: TcpStream,
    peer: IpAddr,
    slot: Slot,
    stopping: watch::Receiver<bool>,
) {
    let _counted = Counted::new(worker.clone());
    let _only_slower = socket.set_nodelay(true);
    // What goes wrong here is the client's: it went away, or speaks no TLS.
    let Ok(Ok((stream, start, is_two))) = timeout(door.patience.head, begin(&door, socket)).await else {
        return;
    };
    let shared = (!is_two).then(|| Arc::new(Shared::default()));
    let client = Arc::new(Client {
        sender: Sender::new(peer, door.certificate.is_some(), &worker.inner.config.trusted_proxies),
        worker,
        shared: shared.clone(),
        slot: Arc::new(slot),
        begun: AtomicU64::new(0),
        active: AtomicUsize::new(0),
        left: AtomicU64::new(0),
        abused: Notify::new(),
    });
    match shared {
        Some(shared) => {
            let guard = Guard::one(stream, start, door.heads, door.patience, shared);
            serve_one(&door, guard, client, stopping).await;
        }
        None => {
            let guard = Guard::two(stream, start, door.heads, door.patience);
            serve_two(&door, guard, client, stopping).await;
        }
    }
}

/// Counts a connection while it lasts.
struct Counted(Arc<Worker>);

impl Counted {
    fn new(worker: Arc<Worker>) -> Self {
        worker.metrics().connections.fetch_add(1, Relaxed);
        Self(worker)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
        self.0.metrics().connections_ended.fetch_add(1, Relaxed);
    }
}

/// TLS, and which HTTP: by what TLS agreed on, or by the first bytes, which are given back. HTTP/2 begins here in any
/// case: hyper would wait for its first bytes for ever.
async fn begin(door: &Door, socket: TcpStream) -> io::Result<(Stream, Vec<u8>, bool)> {
    let (mut stream, must_be_two) = match &door.certificate {
        None => (Stream::Plain(socket), false),
        Some(certificate) => {
            let tls = TlsAcceptor::from(certificate.config()).accept(socket).await?;
            let is_two = tls.get_ref().1.alpn_protocol() == Some(b"h2");
            let stream = Stream::Tls(Box::new(tls.into()));
            if !is_two {
                return Ok((stream, Vec::new(), false));
            }
            (stream, true)
        }
    };
    let mut start = Vec::with_capacity(4 << 10);
    loop {
        if stream.read_buf(&mut start).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let n = start.len().min(PREFACE.len());
        if start[..n] != PREFACE[..n] {
            return match must_be_two {
                true => Err(io::ErrorKind::InvalidData.into()),
                false => Ok((stream, start, false)),
            };
        }
        if n == PREFACE.len() {
            return Ok((stream, start, true));
        }
    }
}

async fn call(
    client: Arc<Client>,
    request: Request<Incoming>,
) -> Result<Response<super::body::AnswerBody>, Infallible> {
    let is_head = request.method() == Method::HEAD;
    let mut response = answer(client, request).await;
    if is_head {
        // Over HTTP/2 hyper sends what it is given.
        let length = response.body_mut().withhold();
        if let Some(length) = length {
            response.headers_mut().entry(header::CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
        }
    }
    Ok(response)
}

async fn serve_one(door: &Door, guard: Guard, client: Arc<Client>, mut stopping: watch::Receiver<bool>) {
    let service = service_fn(move |request| call(client.clone(), request));
    let connection = door.one.serve_connection(TokioIo::new(guard), service).with_upgrades();
    let mut connection = pin!(connection);
    // Errors are the client's: it went away, or took nothing any more.
    tokio::select! {
        _ended = connection.as_mut() => return,
        _ = stopping.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
    }
    let _ended = connection.await;
}

async fn serve_two(door: &Door, guard: Guard, client: Arc<Client>, mut stopping: watch::Receiver<bool>) {
    let of_service = client.clone();
    let service = service_fn(move |request| call(of_service.clone(), request));
    let connection = door.two.serve_connection(TokioIo::new(guard), service);
    let mut connection = pin!(connection);
    let mut quiet = pin!(silence(&client, door.patience.keep_alive));
    tokio::select! {
        _ended = connection.as_mut() => return,
        () = client.abused() => {
            tracing::debug!(peer = %client.sender.peer, "a client takes most of its requests back: its connection is closed");
            return;
        }
        _ = stopping.wait_for(|stop| *stop) => {}
        () = quiet.as_mut() => {}
    }
    connection.as_mut().graceful_shutdown();
    // Who acknowledges everything and takes nothing is not waited for: what is left then is of no exchange any more.
    tokio::select! {
        _ended = connection => {}
        () = client.abused() => {}
        () = silence(&client, door.patience.idle) => {}
    }
}

/// Ends when no request came or was under way for `limit`.
async fn silence(client: &Client, limit: Duration) {
    let mut seen = (client.begun.load(Relaxed), Instant::now());
    loop {
        // The limit of an idle connection itself.
        tokio::time::sleep_until(seen.1 + limit).await;
        let begun = client.begun.load(Relaxed);
        if begun == seen.0 && client.active.load(Relaxed) == 0 {
            return;
        }
        seen = (begun, Instant::now());
    }
}
