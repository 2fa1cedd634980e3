//! A small HTTP/1.1 client for subcommands that talk to a running server: one connection, one request at a time.

use crate::exit::Failure;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use tokio::net::TcpStream;

/// Largest answer that is read, bytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Which server to talk to, and as whom.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct ServerArgs {
    /// The server
    #[arg(long, value_name = "URL", env = "BANYAN_URL", default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// File with the API key; without it, operator.key in the data directory
    #[arg(long, value_name = "FILE", env = "BANYAN_KEY_FILE")]
    pub key_file: Option<PathBuf>,
    /// The data directory in which to look for operator.key
    #[arg(long, value_name = "DIR", env = "BANYAN_DATA", default_value = "banyan-data")]
    pub data: PathBuf,
}

/// A connection to a server.
pub(crate) struct Client {
    sender: SendRequest<BoxBody<Bytes, io::Error>>,
    authority: String,
    key: String,
    url: String,
}

/// What the server said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: StatusCode,
    pub body: Value,
}

impl ServerArgs {
    /// Reads the key and connects.
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        Client::connect(&self.url, &self.read_key()?).await
    }

    /// Reads the key.
    pub(crate) fn read_key(&self) -> Result<String, Failure> {
        read_key(self.key_file.as_deref(), &self.data)
    }
}

impl Client {
    /// Connects to `url`, which must be plain `http://HOST[:PORT]`.
    pub(crate) async fn connect(url: &str, key: &str) -> Result<Self, Failure> {
        let wrong = |why: &str| Failure::usage(format!("--url {url}: {why}"));
        let uri: Uri = url.parse().map_err(|error| wrong(&format!("not an address: {error}")))?;
        let host = uri.host().ok_or_else(|| wrong("it names no host; write http://127.0.0.1:8080"))?;
        if uri.scheme_str() != Some("http") {
            return Err(wrong("only http:// is spoken here; aim at the plain listener behind the TLS proxy"));
        }
        if uri.path().len() > 1 || uri.query().is_some() {
            return Err(wrong("give the server only, without a path"));
        }
        let port = uri.port_u16().unwrap_or(80);
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((bare, port)).await.map_err(|error| {
            Failure::environment(format!(
                "connecting to {url}: {error}. Is the server running? Start it with `banyan up`, or name another with --url"
            ))
        })?;
        let lost = |error: hyper::Error| Failure::environment(format!("talking to {url}: {error}"));
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(lost)?;
        // What goes wrong here is told to the request that waits.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self { sender, authority: format!("{host}:{port}"), key: key.into(), url: url.into() })
    }

    /// Sends a request without a body.
    pub(crate) async fn get(&mut self, path: &str) -> Result<Answer, Failure> {
        self.send(Method::GET, path, "application/json", no_body()).await
    }

    /// Sends JSON.
    pub(crate) async fn json(&mut self, method: Method, path: &str, body: &Value) -> Result<Answer, Failure> {
        let bytes = Full::new(Bytes::from(body.to_string())).map_err(impossible).boxed();
        self.send(method, path, "application/json", bytes).await
    }

    /// Sends a body of any kind.
    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        content_type: &str,
        body: BoxBody<Bytes, io::Error>,
    ) -> Result<Answer, Failure> {
        let request = Request::builder()
            .method(method.clone())
            .uri(path)
            .header(header::HOST, &self.authority)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.key))
            .header(header::CONTENT_TYPE, content_type)
            .body(body)
            .map_err(|error| Failure::usage(format!("{method} {path} cannot be asked: {error}")))?;
        let lost = |error: &dyn std::fmt::Display| {
            Failure::environment(format!("{method} {}{path}: no complete answer: {error}", self.url))
        };
        self.sender.ready().await.map_err(|error| lost(&error))?;
        let response = self.sender.send_request(request).await.map_err(|error| lost(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| lost(&error))?.to_bytes();
        let body = serde_json::from_slice(&body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned()));
        Ok(Answer { status, body })
    }
}

impl Answer {
    /// The answer, or what the server had against it.
    pub(crate) fn expect_success(self, doing: &str) -> Result<Value, Failure> {
        if self.status.is_success() {
            return Ok(self.body);
        }
        Err(self.failure(doing))
    }

    /// The body, if it is not JSON.
    pub(crate) fn text(&self) -> &str {
        self.body.as_str().unwrap_or_default()
    }

    /// What the server had against it.
    pub(crate) fn failure(&self, doing: &str) -> Failure {
        let detail = self.body.get("detail").and_then(Value::as_str).unwrap_or("");
        let what = format!("{doing}: the server answered {}: {detail}", self.status);
        if self.status.is_server_error() { Failure::environment(what) } else { Failure::usage(what) }
    }
}

/// No body.
pub(crate) fn no_body() -> BoxBody<Bytes, io::Error> {
    Full::new(Bytes::new()).map_err(impossible).boxed()
}

/// A runtime for one command.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::environment)?
        .block_on(work)
}

fn impossible(never: Infallible) -> io::Error {
    match never {}
}

/// The key in `key_file`, or that of the operator in the data directory `data`.
pub(crate) fn read_key(key_file: Option<&Path>, data: &Path) -> Result<String, Failure> {
    let path = key_file.map_or_else(|| data.join("operator.key"), Path::to_owned);
    let text = std::fs::read_to_string(&path).map_err(|error| {
        Failure::usage(format!(
            "reading the API key from {}: {error}. Name its file with --key-file, or the data directory with --data",
            path.display()
        ))
    })?;
    let key = text.trim();
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::usage(format!("{} holds no API key", path.display())));
    }
    Ok(key.to_owned())
}
