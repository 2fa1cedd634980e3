//! One HTTP call, and what it means when it fails on the way.
//!
//! The line that matters runs between "nothing was sent" and everything after it. A connection that could not be made is
//! before the line; once a byte may have left, nothing short of a whole answer says what the company did.

use crate::company::Connection;
use crate::effect::Effect;
use crate::text::Key;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::connect::{HttpConnector, capture_connection};
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::Value;
use std::fmt;
use std::time::Duration;

/// Longest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// How long an unused connection is kept.
const IDLE_TIME_MAX: Duration = Duration::from_secs(30);
/// Unused connections that are kept: as many as sagas ask at once at most. Requests come in company, with each block; with fewer
/// kept, most of a block's requests would open a connection, and close it after the answer.
const IDLE_MAX: usize = 512;

#[cfg(feature = "tls")]
type Connector = hyper_rustls::HttpsConnector<HttpConnector>;
#[cfg(not(feature = "tls"))]
type Connector = HttpConnector;

/// Why a connection cannot be set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidConnection(pub(crate) String);

/// A server outside that is asked for effects: a company's, or any service that takes JSON.
pub struct Http {
    client: Client<Connector, Full<Bytes>>,
    base: String,
    authorization: HeaderValue,
    echoes_keys: bool,
    call_time_max: Duration,
}

/// A call.
pub struct Call<'a> {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// The kind of the body, and the body.
    pub body: Option<(&'static str, String)>,
    /// Sent as `Idempotency-Key`.
    pub key: Option<&'a Key>,
}

/// A whole answer with a body that is JSON.
#[derive(Debug)]
pub struct Reply {
    /// Below 300, or 4xx.
    pub status: StatusCode,
    /// The body: an object.
    pub json: Value,
}

impl Http {
    /// The server of `connection`, with `authorization` on every call. `echoes_keys`: each answer names the key of its
    /// request, and one that does not is not taken.
    ///
    /// # Errors
    /// [`InvalidConnection`] if the address or the key cannot be used.
    pub fn new(
        connection: &Connection,
        authorization: &str,
        echoes_keys: bool,
    ) -> Result<Self, InvalidConnection> {
        let base = connection.base_url.trim_end_matches('/');
        let fault = |why: &str| InvalidConnection(format!("the address {base:?} cannot be used: {why}"));
        let uri: Uri = base.parse().map_err(|_| fault("it is not one"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") if cfg!(feature = "tls") => {}
            Some("https") => return Err(fault("this program was built without the feature `tls`")),
            _ => return Err(fault("it must begin with http:// or https://")),
        }
        if uri.authority().is_none_or(|host| host.as_str().contains('@'))
            || uri.path() != "/"
            || base.contains('?')
        {
            return Err(fault("it must be a host and a port, and nothing after them"));
        }
        let mut authorization = HeaderValue::from_str(authorization)
            .map_err(|_| InvalidConnection("the key cannot be sent: it is not plain text".into()))?;
        authorization.set_sensitive(true);
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(connection.connect_time_max));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME_MAX)
            .pool_max_idle_per_host(IDLE_MAX)
            // A kept connection may have been closed by the other side. Hyper takes another only if it can tell that not one
            // byte of the request was written: that is no second attempt.
            .retry_canceled_requests(true)
            .build(connector(tcp)?);
        Ok(Self {
            client,
            base: base.to_owned(),
            authorization,
            echoes_keys,
            call_time_max: connection.call_time_max,
        })
    }

    /// Makes `call`.
    ///
    /// # Errors
    /// The [`Effect`] that follows from there being no whole answer: `NotSent` or `Unknown`.
    pub async fn call(&self, call: Call<'_>) -> Result<Reply, Effect> {
        let what =
            format!("{} {}{}", call.method, self.base, call.path.split('?').next().unwrap_or_default());
        let not_sent = |why: &str| Effect::NotSent(format!("{what}: {why}"));
        let unknown = |why: &str| Effect::Unknown(format!("{what}: {why}"));
        let mut request = Request::builder().method(call.method).uri(format!("{}{}", self.base, call.path));
        request = request.header(header::AUTHORIZATION, &self.authorization);
        request = request.header(header::ACCEPT, "application/json");
        if let Some(key) = call.key {
            request = request.header("idempotency-key", key.as_str());
        }
        let mut bytes = Bytes::new();
        if let Some((kind, body)) = call.body {
            request = request.header(header::CONTENT_TYPE, kind);
            bytes = Bytes::from(body);
        }
        let mut request = request.body(Full::new(bytes)).map_err(|error| not_sent(&error.to_string()))?;
        let used = capture_connection(&mut request);
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| {
                if error.is_connect() { not_sent(&chain(&error)) } else { unknown(&chain(&error)) }
            })?;
            let (parts, body) = response.into_parts();
            if !self.answers(&parts.headers, call.key) {
                // From here on every answer on this connection would be that of the request before: nobody may use it again.
                if let Some(connection) = used.connection_metadata().as_ref() {
                    connection.poison();
                }
                return Err(unknown("the answer belongs to another request"));
            }
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| unknown(&format!("its answer broke off: {error}")))?;
            Ok::<_, Effect>((parts.status, body.to_bytes()))
        };
        let (status, body) = tokio::time::timeout(self.call_time_max, exchange)
            .await
            .map_err(|_| unknown(&format!("no answer within {:?}", self.call_time_max)))??;
        match status.as_u16() {
            // Nothing is decided before these are settled.
            401 => return Err(not_sent("the company does not take our key (401); check it")),
            429 => return Err(not_sent("the company is too busy for us (429)")),
            408 | 425 => return Err(unknown(&format!("status {status}"))),
            code if !(200..300).contains(&code) && !(400..500).contains(&code) => {
                return Err(unknown(&format!("status {status}")));
            }
            _ => {}
        }
        let json = serde_json::from_slice(&body).ok().filter(Value::is_object);
        // A page in HTML is a proxy's word, not the company's.
        let json =
            json.ok_or_else(|| unknown(&format!("status {status} with an answer that is not JSON")))?;
        Ok(Reply { status, json })
    }

    /// Whether an answer names the key of its request. A server, or a proxy, that answers one request twice on a kept
    /// connection would otherwise have the second answer taken for that of the next request.
    fn answers(&self, headers: &HeaderMap, key: Option<&Key>) -> bool {
        match (headers.get("idempotency-key"), key) {
            (Some(named), Some(key)) => named.as_bytes() == key.as_str().as_bytes(),
            (Some(_), None) => false,
            (None, Some(_)) => !self.echoes_keys,
            (None, None) => true,
        }
    }
}

#[cfg(feature = "tls")]
fn connector(mut tcp: HttpConnector) -> Result<Connector, InvalidConnection> {
    tcp.enforce_http(false);
    let tls = hyper_rustls::HttpsConnectorBuilder::new()
        .with_native_roots()
        .map_err(|error| InvalidConnection(format!("reading the system's root certificates: {error}")))?;
    Ok(tls.https_or_http().enable_http1().wrap_connector(tcp))
}

#[cfg(not(feature = "tls"))]
#[expect(clippy::unnecessary_wraps, reason = "with the feature `tls` it can fail")]
fn connector(tcp: HttpConnector) -> Result<Connector, InvalidConnection> {
    Ok(tcp)
}

/// An error with its causes. Hyper's errors hold no headers, so no key can be in them.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("base", &self.base).finish_non_exhaustive()
    }
}

impl fmt::Display for InvalidConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidConnection {}
