//! Before the first arrival: find the server, create the campaigns, upload their allow-lists.

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::request::Builder;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Frame};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;

use crate::RehearseError;
use crate::scenario::Scenario;
use crate::target::Target;

const SETUP_TIMEOUT: Duration = Duration::from_secs(600);
const ANSWER_BYTES_MAX: usize = 1 << 20;
const UPLOAD_CHUNK_BYTES: usize = 1 << 16;

/// Finds the server's addresses and checks that something answers there.
pub(super) async fn resolve(target: &Target) -> Result<Vec<SocketAddr>, RehearseError> {
    let nobody = |source| RehearseError::Connect { target: target.to_string(), source };
    let addresses: Vec<SocketAddr> =
        tokio::net::lookup_host((target.host(), target.port())).await.map_err(nobody)?.collect();
    TcpStream::connect(addresses.as_slice()).await.map_err(nobody)?;
    Ok(addresses)
}

/// Creates every campaign of the scenario. One that exists with an equal definition is fine.
pub(super) async fn campaigns(scenario: &Scenario, addresses: &[SocketAddr]) -> Result<(), RehearseError> {
    for plan in &scenario.campaigns {
        let what = format!("creating campaign `{}`", plan.id);
        let body = Full::new(Bytes::from(plan.body.clone()));
        send_one(
            scenario,
            addresses,
            &what,
            Request::post(scenario.target.path("/v1/campaigns")),
            "application/json",
            body,
        )
        .await?;
        if let Some(path) = &plan.allow_list {
            let what = format!("uploading the allow-list {} of campaign `{}`", path.display(), plan.id);
            let upload = Upload::open(path)
                .map_err(|source| RehearseError::Setup { what: what.clone(), problem: source.to_string() })?;
            let to = format!("/v1/campaigns/{}/allow-list", plan.id);
            let to = Request::post(scenario.target.path(&to));
            send_one(scenario, addresses, &what, to, "text/plain", upload).await?;
        }
    }
    Ok(())
}

/// Sends one request of the preparation with the scenario's key; anything but success ends the rehearsal.
pub(super) async fn send_one<B>(
    scenario: &Scenario,
    addresses: &[SocketAddr],
    what: &str,
    request: Builder,
    content_type: &str,
    body: B,
) -> Result<(), RehearseError>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let wrong = |problem: String| RehearseError::Setup { what: what.to_owned(), problem };
    let mut request = request.header(HOST, scenario.target.authority()).header(CONTENT_TYPE, content_type);
    let has_key = request.headers_ref().is_some_and(|headers| headers.contains_key(AUTHORIZATION));
    if let (Some(key), false) = (&scenario.key, has_key) {
        request = request.header(AUTHORIZATION, format!("Bearer {key}"));
    }
    let request = request.body(body).map_err(|error| wrong(error.to_string()))?;
    let sending = send(addresses, request);
    let (status, answer) = tokio::time::timeout(SETUP_TIMEOUT, sending)
        .await
        .map_err(|_| wrong(format!("no answer within {} s", SETUP_TIMEOUT.as_secs())))?
        .map_err(|error| wrong(error.to_string()))?;
    if status.is_success() {
        return Ok(());
    }
    Err(wrong(explain(status, &answer)))
}

async fn send<B>(
    addresses: &[SocketAddr],
    request: Request<B>,
) -> Result<(StatusCode, Bytes), Box<dyn std::error::Error + Send + Sync>>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = TcpStream::connect(addresses).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await?;
        Ok((status, body.to_bytes()))
    };
    // Ending drops the connection, which is what fails an answer that can no longer come.
    let connection = async move { connection.await.is_ok() };
    tokio::pin!(answer, connection);
    tokio::select! {
        // The connection may end in the same poll that completes the answer, so the answer is asked first.
        biased;
        answered = &mut answer => answered,
        _ = &mut connection => answer.await,
    }
}

#[derive(Deserialize)]
struct Problem {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    detail: String,
}

/// Says what a refused setup request means for the person at the keyboard.
fn explain(status: StatusCode, body: &[u8]) -> String {
    let Ok(problem) = serde_json::from_slice::<Problem>(body) else {
        return format!("the server answered {status}");
    };
    let advice = match problem.kind.rsplit('/').next().unwrap_or_default() {
        "campaign-exists" => "; it exists with another definition: give it another id, or use a fresh server",
        "unauthenticated" | "forbidden" => "; give an operator key with --key-file, `key_file` or `key`",
        _ => "",
    };
    let said = if problem.detail.is_empty() { problem.title } else { problem.detail };
    format!("the server answered {status}, {said}{advice}")
}

/// A file as a request body, read piece by piece.
struct Upload(File);

impl Upload {
    fn open(path: &Path) -> std::io::Result<Self> {
        File::open(path).map(Self)
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        // A blocking read: this is before the first arrival, so there is nobody to delay.
        let mut chunk = vec![0; UPLOAD_CHUNK_BYTES];
        Poll::Ready(match self.0.read(&mut chunk) {
            Ok(0) => None,
            Ok(read) => {
                chunk.truncate(read);
                Some(Ok(Frame::data(Bytes::from(chunk))))
            }
            Err(error) => Some(Err(error)),
        })
    }
}
