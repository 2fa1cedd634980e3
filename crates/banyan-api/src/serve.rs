//! The loop that owns connections: hyper with limits on everything, and a shutdown that answers what was accepted.

use crate::App;
use crate::stalled::Stalled;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt;

/// Limits of the connections.
#[derive(Clone, Copy, Debug)]
pub struct ServeOptions {
    /// Most connections at once; more wait in the kernel's queue.
    pub connections_max: usize,
    /// Longest time for the head of a request, which includes the silence before it on a kept-alive connection.
    pub head_time_max: Duration,
    /// Longest time in which a client takes nothing of its answer: its connection ends then.
    pub stall_time_max: Duration,
    /// Longest head of a request, in bytes.
    pub head_bytes_max: usize,
    /// Longest wait for requests under way when shutting down.
    pub drain_time_max: Duration,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            connections_max: 16_384,
            head_time_max: Duration::from_secs(60),
            stall_time_max: Duration::from_secs(30),
            head_bytes_max: 16 << 10,
            drain_time_max: Duration::from_secs(20),
        }
    }
}

/// Serves `router` until `stopping` turns true, then waits for the requests under way.
///
/// `app` counts the answers, if there is one.
///
/// # Errors
/// If the listener fails for good.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    app: Option<Arc<App>>,
    mut stopping: watch::Receiver<bool>,
    options: ServeOptions,
) -> io::Result<()> {
    let slots = Arc::new(Semaphore::new(options.connections_max));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(options.head_time_max)
        .max_buf_size(options.head_bytes_max.max(8 << 10))
        .half_close(true);
    loop {
        let slot =
            slots.clone().acquire_owned().await.map_err(|_| io::Error::other("the limiter was closed"))?;
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
        let (router, app, mut stop) = (router.clone(), app.clone(), stopping.clone());
        let service = service_fn(move |request: http::Request<Incoming>| {
            let (router, app) = (router.clone(), app.clone());
            async move {
                let response = router.oneshot(Request::from(request.map(Body::new))).await;
                if let (Some(app), Ok(response)) = (&app, &response) {
                    app.http().count(response.status());
                }
                response
            }
        });
        let connection =
            http.serve_connection(TokioIo::new(Stalled::new(stream, options.stall_time_max)), service);
        tokio::spawn(async move {
            let _held = slot;
            let mut connection = std::pin::pin!(connection);
            // Errors here are the caller's: it went away, or sent what is not HTTP, and hyper has answered that.
            tokio::select! {
                _ended = connection.as_mut() => return,
                _ = stop.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
            }
            let _ended = connection.await;
        });
    }
    drop(listener);
    let all = u32::try_from(options.connections_max).unwrap_or(u32::MAX);
    if tokio::time::timeout(options.drain_time_max, slots.acquire_many(all)).await.is_err() {
        tracing::warn!("some requests were still under way when their time was up");
    }
    Ok(())
}
