//! A sandbox on a free port with a ledger of its own, and a plain HTTP client to talk to it.

#![allow(dead_code, reason = "each test file uses a part of this")]

use banyan_sandbox::{SandboxOptions, serve};
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(crate) const SECRET: &str = "sk_sandbox_test";
pub(crate) const ADMIN: &str = "admin_sandbox_test";

/// A running company.
pub(crate) struct Company {
    pub(crate) address: SocketAddr,
    folder: Option<TempDir>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    http: Client<HttpConnector, Full<Bytes>>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }
}

impl Company {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut SandboxOptions)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self::start_in(folder, change).await
    }

    async fn start_in(folder: TempDir, change: impl FnOnce(&mut SandboxOptions)) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let mut options = SandboxOptions::new(folder.path(), SECRET, ADMIN);
        change(&mut options);
        let (stop, stopping) = watch::channel(false);
        let task = tokio::spawn(async move {
            serve(listener, options, stopping).await.expect("the sandbox runs");
        });
        let http = Client::builder(TokioExecutor::new()).build_http();
        let company = Self { address, folder: Some(folder), stop, task, http };
        // The listener takes connections before anybody answers them: an answer says that the ledger is open.
        assert_eq!(company.call("GET", "/healthz", &[], "").await.status, 200);
        company
    }

    /// Stops it in good order and starts it again on the same ledger.
    pub(crate) async fn restart(mut self, change: impl FnOnce(&mut SandboxOptions)) -> Self {
        let folder = self.folder.take().expect("a folder");
        self.stop().await;
        Self::start_in(folder, change).await
    }

    pub(crate) async fn stop(self) -> Option<TempDir> {
        drop(self.http);
        self.stop.send_replace(true);
        self.task.await.expect("the sandbox ends well");
        self.folder
    }

    pub(crate) fn ledger(&self) -> PathBuf {
        self.folder.as_ref().expect("a folder").path().join("sandbox.db")
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A call with any headers; `None` if the connection broke.
    pub(crate) async fn try_call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Option<Answer> {
        let mut request = Request::builder().method(method).uri(self.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).expect("a request");
        let response = self.http.request(request).await.ok()?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        let text = String::from_utf8(body.to_vec()).expect("text");
        Some(Answer { status: parts.status.as_u16(), headers: parts.headers, text })
    }

    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        self.try_call(method, path, headers, body).await.expect("an answer")
    }

    /// The shop asks for an effect.
    pub(crate) async fn post(&self, path: &str, key: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {SECRET}");
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", key)];
        self.call("POST", path, &headers, &body.to_string()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        let bearer = format!("Bearer {SECRET}");
        self.call("GET", path, &[("authorization", bearer.as_str())], "").await
    }

    pub(crate) async fn admin(&self, method: &str, path: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {ADMIN}");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.call(method, path, &[("authorization", bearer.as_str())], &body).await
    }

    /// A payment of 25,000 won by `method`, with the key `key`.
    pub(crate) async fn pay(&self, key: &str, method: &str) -> Answer {
        self.post("/api/payments", key, &order("o-1", method)).await
    }

    /// An authorized payment's id.
    pub(crate) async fn authorized(&self, key: &str) -> String {
        let answer = self.pay(key, "tok_ok").await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()["payment"].as_str().expect("an id").to_owned()
    }

    /// Payments on the company's side: how many, how many charged, captured, refunded.
    pub(crate) async fn totals(&self) -> [i64; 4] {
        let totals = self.admin("GET", "/admin/payments", &Value::Null).await.json()["totals"].clone();
        ["payments", "charged", "captured", "refunded"].map(|name| totals[0][name].as_i64().unwrap_or(0))
    }

    /// Sends a form of the card page.
    pub(crate) async fn form(&self, page: &str, body: &str) -> Answer {
        self.call("POST", page, &[("content-type", "application/x-www-form-urlencoded")], body).await
    }
}

pub(crate) fn order(order: &str, method: &str) -> Value {
    json!({
        "order": order, "amount": { "minor": 25_000, "currency": "KRW" }, "method": method,
        "return_url": "http://127.0.0.1:1/shop/paid?step=2",
    })
}

/// Waits until `done` gives something, for at most 20 s.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut done: impl FnMut() -> F,
) -> T {
    for _ in 0..1_000 {
        if let Some(found) = done().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never came: {what}");
}
