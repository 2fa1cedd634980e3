//! A sandbox on a free port, and requests to it.

#![allow(dead_code, reason = "each test file uses a part of this")]

use banyan_domain::{Currency, Money, OrderId};
use banyan_pay::{
    AuthorizeRequest, CaptureRequest, Connection, Deed, Key, MethodToken, PaymentId, Query, RefundRequest,
    Secret, VoidRequest,
};
use banyan_sandbox::{SandboxOptions, Webhook};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub(crate) const SECRET: &str = "sk_sandbox_test";
pub(crate) const ADMIN: &str = "admin_sandbox_test";

/// A running sandbox.
pub(crate) struct Company {
    pub(crate) address: SocketAddr,
    http: Client<HttpConnector, Full<Bytes>>,
    _stop: watch::Sender<bool>,
    _folder: TempDir,
}

impl Company {
    pub(crate) async fn start() -> Self {
        Self::start_with(None).await
    }

    pub(crate) async fn start_with(webhook: Option<Webhook>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let mut options = SandboxOptions::new(folder.path(), SECRET, ADMIN);
        options.webhook = webhook;
        let (stop, stopping) = watch::channel(false);
        tokio::spawn(async move {
            banyan_sandbox::serve(listener, options, stopping).await.expect("the sandbox runs");
        });
        let http = Client::builder(TokioExecutor::new()).build_http();
        Self { address, http, _stop: stop, _folder: folder }
    }

    pub(crate) fn connection(&self) -> Connection {
        let mut connection = Connection::new(&format!("http://{}", self.address), secret(SECRET));
        connection.call_time_max = Duration::from_millis(700);
        connection
    }

    /// A call with the admin key: the answer's status, its `Location`, and its body.
    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        kind: &str,
        body: String,
    ) -> (u16, String, String) {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .header("authorization", format!("Bearer {ADMIN}"))
            .header("content-type", kind)
            .body(Full::new(Bytes::from(body)))
            .expect("a request");
        let response = self.http.request(request).await.expect("an answer");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        let location = parts.headers.get("location").map_or("", |value| value.to_str().expect("text"));
        (parts.status.as_u16(), location.to_owned(), String::from_utf8(body.to_vec()).expect("text"))
    }

    /// Switches faults on.
    pub(crate) async fn faults(&self, plan: Value) {
        let (status, _, text) = self.call("PUT", "/admin/faults", "application/json", plan.to_string()).await;
        assert_eq!(status, 200, "{text}");
    }

    /// On the company's side: payments, of which charged, captured, refunded.
    pub(crate) async fn totals(&self) -> [i64; 4] {
        let (_, _, text) = self.call("GET", "/admin/payments", "application/json", String::new()).await;
        let answer: Value = serde_json::from_str(&text).expect("JSON");
        ["payments", "charged", "captured", "refunded"]
            .map(|name| answer["totals"][0][name].as_i64().unwrap_or(0))
    }
}

pub(crate) fn secret(text: &str) -> Secret {
    Secret::new(text).expect("a secret")
}

pub(crate) fn key(text: &str) -> Key {
    Key::new(text).expect("a key")
}

pub(crate) fn won(minor: i64) -> Money {
    Money::new(minor, Currency::new("KRW").expect("a currency")).expect("an amount")
}

pub(crate) fn order() -> OrderId {
    OrderId::new("o-1").expect("an order")
}

pub(crate) fn authorize(text: &str, method: &str) -> AuthorizeRequest {
    AuthorizeRequest {
        key: key(text),
        order: order(),
        amount: won(25_000),
        method: MethodToken::new(method).expect("a token"),
        return_url: Some("http://127.0.0.1:1/paid".into()),
    }
}

pub(crate) fn capture(text: &str, payment: &PaymentId, minor: i64, last: bool) -> CaptureRequest {
    CaptureRequest { key: key(text), payment: payment.clone(), amount: won(minor), last }
}

pub(crate) fn refund(text: &str, payment: &PaymentId, minor: i64) -> RefundRequest {
    RefundRequest { key: key(text), payment: payment.clone(), amount: won(minor) }
}

pub(crate) fn void(text: &str, payment: &PaymentId) -> VoidRequest {
    VoidRequest { key: key(text), payment: payment.clone() }
}

/// About a payment from the page, or a refund of a payment that is known.
pub(crate) fn by_key(text: &str, payment: Option<&PaymentId>) -> Query {
    let deed = if payment.is_some() { Deed::Refund } else { Deed::Authorize(MethodToken::page()) };
    by_deed(text, payment, deed)
}

pub(crate) fn by_deed(text: &str, payment: Option<&PaymentId>, deed: Deed) -> Query {
    Query::Key { key: key(text), order: order(), payment: payment.cloned(), deed }
}

/// Authorizing with a token.
pub(crate) fn with_token(token: &str) -> Deed {
    Deed::Authorize(MethodToken::new(token).expect("a token"))
}
