//! What goes wrong on purpose, as a caller sees it, and what the company did meanwhile.

mod common;

use common::{Company, eventually, order};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn rule(company: &Company, rule: Value) {
    let answer = company.admin("POST", "/admin/faults", &rule).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn time_outs_come_before_or_after_the_deed() {
    let company = Company::start().await;
    let plan = json!({ "hold_seconds": 0.3, "rules": [
        { "fault": "timeout_before", "key": "before" },
        { "fault": "timeout_after", "key": "after" },
        { "fault": "error_after", "key": "error" },
    ]});
    assert_eq!(company.admin("PUT", "/admin/faults", &plan).await.status, 200);
    for (key, status_of_key) in [("before", 404), ("after", 200), ("error", 200)] {
        let start = Instant::now();
        let answer = company.pay(key, "tok_ok").await;
        assert_eq!(answer.status, 500);
        assert_eq!(start.elapsed() >= Duration::from_millis(300), key != "error", "{key}");
        assert_eq!(company.get(&format!("/api/effects?key={key}")).await.status, status_of_key, "{key}");
    }
    assert_eq!(company.totals().await[0], 2);
    for key in ["before", "after", "error"] {
        assert_eq!(company.pay(key, "tok_ok").await.status, 200, "the same key again works");
    }
    assert_eq!(company.totals().await[0], 3, "and pays nothing twice");
    let shown = company.admin("GET", "/admin/faults", &Value::Null).await.json();
    assert_eq!(shown["met"], json!({ "timeout_before": 1, "timeout_after": 1, "error_after": 1 }));
    assert_eq!(shown["plan"]["rules"], json!([]));
    company.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_gives_up_before_the_deed_has_done_nothing() {
    let company = Company::start().await;
    company
        .admin("PUT", "/admin/faults", &json!({ "hold_seconds": 0.4, "rates": { "timeout_before": 1.0 } }))
        .await;
    let gave_up = tokio::time::timeout(Duration::from_millis(100), company.pay("k", "tok_ok")).await;
    assert!(gave_up.is_err(), "no answer came");
    // That nothing happens cannot be waited for: the hold of 0.4 s is over by now, with room to spare.
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(company.totals().await[0], 0);
    company.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_company_that_is_down_cuts_connections_and_comes_back() {
    let company = Company::start().await;
    company.admin("PUT", "/admin/faults", &json!({ "down_for_seconds": 0.5 })).await;
    assert!(company.try_call("GET", "/healthz", &[], "").await.is_none(), "cut");
    eventually("coming back", || company.try_call("GET", "/healthz", &[], "")).await;
    assert_eq!(company.pay("k", "tok_ok").await.status, 200);
    company.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_declines_by_order_and_remembers() {
    let company = Company::start().await;
    rule(&company, json!({ "fault": "decline", "action": "authorize", "order": "o-2" })).await;
    assert_eq!(company.post("/api/payments", "k-1", &order("o-1", "tok_ok")).await.status, 200);
    assert_eq!(company.post("/api/payments", "k-2", &order("o-2", "tok_ok")).await.status, 402);
    assert_eq!(
        company.post("/api/payments", "k-2", &order("o-2", "tok_ok")).await.status,
        402,
        "the first answer"
    );
    assert_eq!(company.post("/api/payments", "k-3", &order("o-2", "tok_ok")).await.status, 200, "once only");
    company.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_comes_twice_on_its_connection() {
    let company = Company::start().await;
    rule(&company, json!({ "fault": "answer_twice" })).await;
    let body = order("o-1", "tok_ok").to_string();
    let mut stream = TcpStream::connect(company.address).await.expect("a connection");
    let request = format!(
        "POST /api/payments HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nIdempotency-Key: k\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        common::SECRET,
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an answer");
    let (first, second) = text.split_at(text.len() / 2);
    assert!(first.starts_with("HTTP/1.1 200") && first == second, "{text}");
    assert_eq!(company.totals().await[0], 1, "it was done once");
    company.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rates_repeat_with_their_seed() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let company = Company::start().await;
        let plan = json!({ "seed": 42, "rates": { "decline": 0.5 } });
        assert_eq!(company.admin("PUT", "/admin/faults", &plan).await.status, 200);
        let mut statuses = Vec::new();
        for n in 0..40 {
            statuses.push(company.pay(&format!("k-{n}"), "tok_ok").await.status);
        }
        runs.push(statuses);
        company.stop().await;
    }
    assert_eq!(runs[0], runs[1]);
    assert!(runs[0].contains(&200) && runs[0].contains(&402));
}

#[tokio::test(flavor = "multi_thread")]
async fn impossible_plans_are_refused() {
    let company = Company::start().await;
    for plan in [
        json!({ "rates": { "decline": 2 } }),
        json!({ "rates": { "earthquake": 0.1 } }),
        json!({ "hold_seconds": -1 }),
        json!({ "rulez": [] }),
    ] {
        assert_eq!(company.admin("PUT", "/admin/faults", &plan).await.status, 400, "{plan}");
    }
    assert_eq!(company.get("/admin/faults").await.status, 401);
    company.stop().await;
}
