//! Events, as the shop's side receives them.

mod common;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use common::{Company, eventually};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// A shop that notes what it is told, and turns the first few away.
#[derive(Default)]
struct Shop {
    turn_away: Mutex<usize>,
    told: Mutex<Vec<Value>>,
    signatures: Mutex<Vec<String>>,
}

async fn take(State(shop): State<Arc<Shop>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let signature =
        headers.get("sandbox-signature").and_then(|value| value.to_str().ok()).unwrap_or_default();
    shop.signatures.lock().expect("no panic").push(signature.to_owned());
    let mut left = shop.turn_away.lock().expect("no panic");
    if *left > 0 {
        *left -= 1;
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    shop.told.lock().expect("no panic").push(serde_json::from_slice(&body).expect("JSON"));
    StatusCode::NO_CONTENT
}

async fn open(turn_away: usize) -> (Arc<Shop>, String) {
    let shop = Arc::new(Shop { turn_away: Mutex::new(turn_away), ..Shop::default() });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
    let router = Router::new().route("/hook", post(take)).with_state(shop.clone());
    tokio::spawn(async move { axum_serve(listener, router).await });
    (shop, url)
}

async fn axum_serve(listener: tokio::net::TcpListener, router: Router) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let service = hyper_util::service::TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let io = hyper_util::rt::TokioIo::new(stream);
            let _ended = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
        });
    }
}

impl Shop {
    /// Waits for `count` events, and gives what they are and to which payment they belong.
    async fn wait(&self, count: usize) -> Vec<(String, String)> {
        eventually(&format!("{count} events"), || async {
            let told = self.told.lock().expect("no panic");
            (told.len() >= count).then(|| {
                told.iter()
                    .map(|event| (event["type"].as_str().unwrap_or_default().to_owned(), id(event)))
                    .collect()
            })
        })
        .await
    }
}

fn id(event: &Value) -> String {
    event["id"].as_str().expect("an id").to_owned()
}

fn kinds(told: &[(String, String)]) -> Vec<&str> {
    told.iter().map(|(kind, _)| kind.as_str()).collect()
}

async fn with_hook(url: String) -> Company {
    Company::start_with(|options| {
        options.webhook = Some(banyan_sandbox::Webhook { url, secret: "whsec_test".into() });
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_told_in_order_and_again_until_they_are_taken() {
    let (shop, url) = open(3).await;
    let company = with_hook(url).await;
    let payment = company.authorized("k-1").await;
    let path = format!("/api/payments/{payment}");
    company.post(&format!("{path}/capture"), "k-2", &json!({})).await;
    company.post(&format!("{path}/refund"), "k-3", &json!({"amount": 5_000})).await;
    let told = shop.wait(3).await;
    assert_eq!(kinds(&told), ["payment.authorized", "payment.captured", "payment.refunded"]);
    assert_eq!(*shop.turn_away.lock().expect("no panic"), 0);
    let last = shop.told.lock().expect("no panic")[2].clone();
    assert_eq!((&last["payment"]["payment"], &last["payment"]["refunded"]), (&json!(payment), &json!(5_000)));
    for signature in shop.signatures.lock().expect("no panic").iter() {
        assert!(signature.starts_with("t=") && signature.contains(",v1="), "{signature}");
    }
    company.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_taken_is_told_after_a_restart() {
    let (shop, url) = open(usize::MAX).await;
    let company = with_hook(url.clone()).await;
    company.authorized("k-1").await;
    eventually("an attempt", || async {
        (!shop.signatures.lock().expect("no panic").is_empty()).then_some(())
    })
    .await;
    *shop.turn_away.lock().expect("no panic") = 0;
    let company = company
        .restart(|options| {
            options.webhook = Some(banyan_sandbox::Webhook { url, secret: "whsec_test".into() });
        })
        .await;
    assert_eq!(kinds(&shop.wait(1).await), ["payment.authorized"]);
    company.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_twice_late_and_out_of_order_when_asked_to() {
    let (shop, url) = open(0).await;
    let company = with_hook(url).await;
    let plan = json!({ "late_seconds": 0.5, "rules": [
        { "fault": "unordered_webhooks", "key": "k-1" },
        { "fault": "duplicate_webhook", "key": "k-2" },
        { "fault": "late_webhook", "key": "k-3" },
    ]});
    company.admin("PUT", "/admin/faults", &plan).await;
    let payment = company.authorized("k-1").await;
    let path = format!("/api/payments/{payment}");
    company.post(&format!("{path}/capture"), "k-2", &json!({})).await;
    let told = shop.wait(3).await;
    let mut seen = kinds(&told);
    assert_eq!(seen.remove(0), "payment.captured", "the later one comes first");
    seen.sort_unstable();
    assert_eq!(seen, ["payment.authorized", "payment.captured"], "the earlier one, and the later one again");
    let captured: Vec<_> = told.iter().filter(|(kind, _)| kind == "payment.captured").collect();
    assert_eq!(captured[0].1, captured[1].1, "with the same id");

    company.post(&format!("{path}/refund"), "k-3", &json!({"amount": 1})).await;
    company.post(&format!("{path}/refund"), "k-4", &json!({"amount": 2})).await;
    let told = shop.wait(5).await;
    let amounts: Vec<_> = shop.told.lock().expect("no panic")[3..]
        .iter()
        .map(|event| event["payment"]["refunded"].clone())
        .collect();
    assert_eq!(amounts, [json!(3), json!(1)], "the late one comes last: {told:?}");
    company.stop().await;
}
