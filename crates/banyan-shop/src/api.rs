//! The client of the API: the only way in which the shop reads or changes anything.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt;
use std::time::Duration;

/// Longest answer that is read, bytes.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// Longest wait for an answer. A read that waits for a view takes up to five seconds on the other side.
const CALL_TIME_MAX: Duration = Duration::from_secs(8);
const CONNECT_TIME_MAX: Duration = Duration::from_secs(2);
/// Unused connections that are kept, and for how long.
const IDLE_MAX: usize = 32;
const IDLE_TIME_MAX: Duration = Duration::from_secs(20);

/// A server of the API, and the key with which it is asked.
#[derive(Clone)]
pub struct Api {
    client: Client<HttpConnector, Full<Bytes>>,
    base: String,
    authorization: HeaderValue,
}

/// An API address or key that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidApi(String);

/// Why there is no good answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiError {
    /// The API said no, and why.
    Refused(Refused),
    /// There is no answer, or none that can be read. Whether a change was made is not known.
    Unknown(String),
}

/// A refusal of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The status.
    pub status: StatusCode,
    /// The last part of the problem's type: `out-of-stock`.
    pub slug: String,
    /// The API's own sentence.
    pub detail: String,
    /// The products or SKUs that it names.
    pub names: Vec<String>,
}

impl Api {
    /// The API at `base` (`http://HOST[:PORT]`), asked with `key`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`InvalidApi`] if the address is not one of a plain HTTP server, or the key cannot be sent.
    pub fn new(base: &str, key: &str) -> Result<Self, InvalidApi> {
        let wrong = |why: &str| InvalidApi(format!("the API's address {base:?} cannot be used: {why}"));
        let base = base.trim_end_matches('/');
        let uri: Uri = base.parse().map_err(|_| wrong("it is not one; write http://127.0.0.1:8080"))?;
        if uri.scheme_str() != Some("http") {
            return Err(wrong("only http:// is spoken here; aim at the plain listener behind the TLS proxy"));
        }
        if uri.authority().is_none_or(|host| host.as_str().contains('@'))
            || uri.path() != "/"
            || uri.query().is_some()
        {
            return Err(wrong("give a host and a port, and nothing after them"));
        }
        let mut authorization = HeaderValue::from_str(&format!("Bearer {key}"))
            .map_err(|_| InvalidApi("the API key cannot be sent: it is not plain text".into()))?;
        authorization.set_sensitive(true);
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIME_MAX));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME_MAX)
            .pool_max_idle_per_host(IDLE_MAX)
            .build(tcp);
        Ok(Self { client, base: base.to_owned(), authorization })
    }

    /// Reads what is at `path`.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        self.send(Method::GET, path, None, None).await
    }

    /// Reads `path` once nothing of it is under way any more, or after `seconds`.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn get_when_settled<T: DeserializeOwned>(
        &self,
        path: &str,
        seconds: u8,
    ) -> Result<T, ApiError> {
        self.exchange(Method::GET, path, None, Some(("prefer", &format!("wait={seconds}")))).await
    }

    /// Sends `body`; `key` makes repeating it safe.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        key: Option<&str>,
    ) -> Result<T, ApiError> {
        self.exchange(method, path, body, key.map(|key| ("idempotency-key", key))).await
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        more: Option<(&str, &str)>,
    ) -> Result<T, ApiError> {
        let what = format!("{method} {}{}", self.base, path.split('?').next().unwrap_or_default());
        let unknown = |why: &dyn fmt::Display| ApiError::Unknown(format!("{what}: {why}"));
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(header::AUTHORIZATION, &self.authorization)
            .header(header::ACCEPT, "application/json");
        if let Some((name, value)) = more {
            request = request.header(name, value);
        }
        let mut bytes = Bytes::new();
        if let Some(body) = body {
            request = request.header(header::CONTENT_TYPE, "application/json");
            bytes = Bytes::from(body.to_string());
        }
        let request = request.body(Full::new(bytes)).map_err(|error| unknown(&error))?;
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| unknown(&chain(&error)))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| unknown(&format!("its answer broke off: {error}")))?;
            Ok((status, body.to_bytes()))
        };
        let answer = tokio::time::timeout(CALL_TIME_MAX, exchange).await;
        let (status, body) =
            answer.map_err(|_| unknown(&format!("no answer within {CALL_TIME_MAX:?}")))??;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| {
                unknown(&format!("status {status}, and the answer cannot be read: {error}"))
            });
        }
        Err(refusal(status, &body).map_or_else(|| unknown(&format!("status {status}")), ApiError::Refused))
    }
}

/// The problem in an answer, if it is one.
fn refusal(status: StatusCode, body: &[u8]) -> Option<Refused> {
    let problem: Value = serde_json::from_slice(body).ok()?;
    let slug = problem["type"].as_str()?.rsplit('/').next()?.to_owned();
    let detail = problem["detail"].as_str().unwrap_or_default().to_owned();
    let lines = [&problem["lines"], &problem["products"]].into_iter().filter_map(Value::as_array).flatten();
    let name = |line: &Value| {
        let named = line.as_str().or_else(|| line["product"].as_str()).or_else(|| line["sku"].as_str());
        named.map(str::to_owned)
    };
    Some(Refused { status, slug, detail, names: lines.filter_map(name).collect() })
}

/// An error with its causes. Hyper's errors hold no headers, so no key can be in them.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

impl ApiError {
    /// The slug of the refusal, if it is one.
    #[must_use]
    pub fn slug(&self) -> Option<&str> {
        match self {
            Self::Refused(refused) => Some(&refused.slug),
            Self::Unknown(_) => None,
        }
    }
}

impl ApiError {
    /// Whether a change may have been made all the same: no answer, or one that says so.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        // A gateway in between has sent the request on, and knows no more than we do.
        matches!(self.slug(), None | Some("outcome-unknown" | "gateway-timeout" | "gateway-unreachable"))
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refused) => write!(f, "{} ({}): {}", refused.slug, refused.status, refused.detail),
            Self::Unknown(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for ApiError {}

impl fmt::Display for InvalidApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidApi {}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("base", &self.base).finish_non_exhaustive()
    }
}
