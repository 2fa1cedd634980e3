//! Telling the shop what happened: signed, and again until it is taken.
//!
//! Events wait in the ledger, so they outlive this process. Those of one payment are sent one after the other;
//! different payments do not wait for each other. A shop must expect each event more than once.

use crate::clock;
use crate::ledger::{DueEvent, Settled};
use crate::server::App;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use hmac::{Hmac, Mac};
use http::{Request, Uri, header};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use sha2::Sha256;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Events looked at together.
const BATCH_MAX: i64 = 256;
/// Payments whose events are sent at the same time.
const AT_ONCE: usize = 16;
/// The shop's time to take an event.
const TIME_MAX: Duration = Duration::from_secs(10);
/// The first wait before an event is sent again; doubled each time, up to the longest.
const BACKOFF_FIRST: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// How long to wait when the ledger cannot be read.
const TROUBLE: Duration = Duration::from_secs(1);

type Http = Client<HttpConnector, Full<Bytes>>;

/// Sends events until `stopping` turns true.
pub(crate) async fn deliver(app: Arc<App>, url: Uri, secret: String, mut stopping: watch::Receiver<bool>) {
    let http: Http = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(30))
        .build_http();
    loop {
        let heard = app.ledger.events.notified();
        let wait = tokio::select! {
            wait = send_due(&app, &http, &url, &secret) => wait,
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        tokio::select! {
            () = heard => {}
            () = tokio::time::sleep(wait) => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
    }
}

/// Sends what is due, and says how long to wait for more.
async fn send_due(app: &Arc<App>, http: &Http, url: &Uri, secret: &str) -> Duration {
    let now = clock::now_millis();
    let reader = app.clone();
    let found = tokio::task::spawn_blocking(move || reader.ledger.due_events(now, BATCH_MAX)).await;
    let (due, next) = match found {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            tracing::warn!(%error, "events wait until the sandbox's ledger can be read");
            return TROUBLE;
        }
        Err(_) => return TROUBLE,
    };
    if due.is_empty() {
        // Without a next event somebody will ring.
        let wait = next.map_or(60_000, |next| next.saturating_sub(now).clamp(1, 60_000));
        return Duration::from_millis(wait.unsigned_abs());
    }
    let mut payments: BTreeMap<i64, Vec<DueEvent>> = BTreeMap::new();
    for event in due {
        payments.entry(event.payment).or_default().push(event);
    }
    let settled: Vec<Vec<Settled>> = stream::iter(payments.into_values())
        .map(|events| send_in_order(http, url, secret, events))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    if let Err(error) = app.ledger.settle(settled.into_iter().flatten().collect()).await {
        tracing::warn!(%error, "events will be told again, as it could not be noted that they were taken");
        return TROUBLE;
    }
    Duration::ZERO
}

/// Sends one payment's events; after one that is not taken, the others wait with it.
async fn send_in_order(http: &Http, url: &Uri, secret: &str, events: Vec<DueEvent>) -> Vec<Settled> {
    let mut settled = Vec::with_capacity(events.len());
    let mut held_up: Option<i64> = None;
    for event in events {
        if let Some(until) = held_up {
            settled.push(Settled::Postponed(event.no, until));
            continue;
        }
        if send(http, url, secret, &event).await {
            settled.push(Settled::Told(event.no));
        } else {
            let until = clock::now_millis() + backoff(event.attempts);
            settled.push(Settled::Postponed(event.no, until));
            held_up = Some(until);
        }
    }
    settled
}

async fn send(http: &Http, url: &Uri, secret: &str, event: &DueEvent) -> bool {
    // The stored body is an object without its id, which is the row's number.
    let body = format!("{{\"id\":\"evt_{}\",{}", event.no, event.body.strip_prefix('{').unwrap_or_default());
    let signature = signature(secret.as_bytes(), clock::now_millis() / 1_000, body.as_bytes());
    let request = Request::post(url)
        .header(header::CONTENT_TYPE, "application/json")
        .header("sandbox-signature", signature)
        .body(Full::new(Bytes::from(body)));
    let Ok(request) = request else { return false };
    match tokio::time::timeout(TIME_MAX, http.request(request)).await {
        Ok(Ok(response)) => response.status().is_success(),
        Ok(Err(_)) | Err(_) => false,
    }
}

/// Milliseconds until the next attempt after `attempts` that failed before.
fn backoff(attempts: i64) -> i64 {
    let doubled = BACKOFF_FIRST.as_millis() << attempts.clamp(0, 20);
    i64::try_from(doubled.min(BACKOFF_MAX.as_millis())).unwrap_or(i64::MAX)
}

/// `t=<unix seconds>,v1=<hex>`: HMAC-SHA256 over `<unix seconds>.<body>`.
fn signature(secret: &[u8], at: i64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.update(at.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    let mut text = format!("t={at},v1=");
    for byte in mac.finalize().into_bytes() {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute() {
        assert_eq!([0, 1, 2, 8, 9, 63].map(backoff), [200, 400, 800, 51_200, 60_000, 60_000]);
    }

    /// Computed with Python: hmac.new(b"whsec", b'1700000000.{"a":1}', "sha256").hexdigest()
    #[test]
    fn a_signature_is_what_others_compute() {
        let text = signature(b"whsec", 1_700_000_000, br#"{"a":1}"#);
        assert_eq!(text, "t=1700000000,v1=8ad37ba156048ae0e0a5533c75cdf26fee88b07f93cb57ee4c80adb053012032");
    }
}
