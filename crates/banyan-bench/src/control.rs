//! Single HTTP requests that steer a server: readiness, campaigns, metrics.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::{Failure, failed};

/// An answer's status and body.
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// The body, as text.
    pub(crate) body: String,
}

/// Sends one request on a connection of its own.
pub(crate) async fn call(
    address: SocketAddr,
    method: Method,
    path: &str,
    key: Option<&str>,
    body: String,
) -> Result<Answer, Failure> {
    call_keyed(address, method, path, key, None, body).await
}

/// The same, under an idempotency key.
pub(crate) async fn call_keyed(
    address: SocketAddr,
    method: Method,
    path: &str,
    key: Option<&str>,
    idempotency_key: Option<&str>,
    body: String,
) -> Result<Answer, Failure> {
    let doing = format!("{method} http://{address}{path}");
    let stream = TcpStream::connect(address).await.map_err(|e| failed(&doing, e))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| failed(&doing, e))?;
    let connection = tokio::spawn(connection);
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, address.to_string())
        .header(header::CONTENT_TYPE, "application/json");
    if let Some(key) = key {
        request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
    }
    if let Some(key) = idempotency_key {
        request = request.header("idempotency-key", key);
    }
    let request = request.body(Full::new(Bytes::from(body))).map_err(|e| failed(&doing, e))?;
    let response = sender.send_request(request).await.map_err(|e| failed(&doing, e))?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.map_err(|e| failed(&doing, e))?.to_bytes();
    drop(sender);
    // The connection ends when its sender is gone; how it ends no longer matters.
    let _ = connection.await;
    Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
}
