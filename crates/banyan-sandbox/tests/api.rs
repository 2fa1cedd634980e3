//! The company's own API, the Toss shapes, statements and deadlines, over HTTP.

mod common;

use common::{ADMIN, Company, SECRET, eventually, order};
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_captured_and_refunded_in_parts() {
    let company = Company::start().await;
    let paid = company.pay("k-1", "tok_ok").await.json();
    assert_eq!(paid["status"], "authorized");
    assert_eq!(paid["card"], json!({ "brand": "visa", "last4": "4242" }));
    assert_eq!((&paid["capturable"], &paid["simulated"]), (&json!(25_000), &json!(true)));
    let path = format!("/api/payments/{}", paid["payment"].as_str().expect("an id"));

    let captured =
        company.post(&format!("{path}/capture"), "k-2", &json!({"amount": 10_000, "last": false})).await;
    assert_eq!(captured.json()["status"], "partly_captured");
    let rest = company.post(&format!("{path}/capture"), "k-3", &json!({"amount": 5_000})).await.json();
    assert_eq!(
        (&rest["status"], &rest["captured"], &rest["capturable"]),
        (&"captured".into(), &15_000.into(), &0.into())
    );
    let refunded = company.post(&format!("{path}/refund"), "k-4", &json!({"amount": 4_000})).await.json();
    assert_eq!((&refunded["status"], &refunded["refunded"]), (&"partly_refunded".into(), &4_000.into()));
    let too_much = company.post(&format!("{path}/refund"), "k-5", &json!({"amount": 11_001})).await;
    assert_eq!((too_much.status, too_much.json()["title"].as_str()), (409, Some("refund-exceeds")));
    assert_eq!(too_much.header("content-type"), "application/problem+json");
    let void = company.post(&format!("{path}/void"), "k-6", &json!({})).await;
    assert_eq!(void.json()["title"], "not-voidable");

    assert_eq!(company.get(&path).await.json(), refunded, "asking gives what the last effect gave");
    assert_eq!(company.totals().await, [1, 1, 15_000, 4_000]);
    let listed = company.get("/api/payments?order=o-1&status=partly_refunded").await.json();
    assert_eq!(listed["payments"], json!([refunded]));
    assert_eq!(company.get("/api/payments?order=o-2").await.json()["payments"], json!([]));
    company.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_does_one_thing_once_and_remembers_it_over_a_restart() {
    let company = Company::start().await;
    let first = company.pay("k-1", "tok_ok").await;
    let payment = first.json()["payment"].as_str().expect("an id").to_owned();
    let capture = format!("/api/payments/{payment}/capture");
    let captured = company.post(&capture, "k-2", &json!({"amount": 100, "last": false})).await;
    let refused = company.post(&capture, "k-3", &json!({"amount": 1_000_000})).await;
    assert_eq!(refused.status, 409);

    let company = company.restart(|_| {}).await;
    let again = company.pay("k-1", "tok_ok").await;
    // The page's address holds the port, which is another one now; an authorized payment has none.
    assert_eq!((again.status, &again.text), (200, &first.text));
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.header("idempotency-key"), "k-1");
    let again = company.post(&capture, "k-2", &json!({"amount": 100, "last": false})).await;
    assert_eq!(again.text, captured.text);
    let again = company.post(&capture, "k-3", &json!({"amount": 1_000_000})).await;
    assert_eq!((again.status, &again.text), (409, &refused.text), "a refusal is remembered too");
    for (path, body) in
        [(capture.as_str(), json!({"amount": 101, "last": false})), ("/api/payments", order("o-1", "tok_ok"))]
    {
        let other = company.post(path, "k-2", &body).await;
        assert_eq!((other.status, other.json()["title"].as_str()), (422, Some("idempotency-key-reused")));
    }
    assert_eq!(company.totals().await, [1, 1, 100, 0]);

    let effect = company.get("/api/effects?key=k-2").await.json();
    assert_eq!((&effect["action"], &effect["status"]), (&"capture".into(), &200.into()));
    assert_eq!(effect["payment"]["captured"], 100);
    assert_eq!(company.get("/api/effects?key=never").await.status, 404);
    company.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_with_one_key_pay_once() {
    let company = Company::start().await;
    let calls = (0..64).map(|_| company.pay("the-key", "tok_ok"));
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.text == answers[0].text));
    let first: Vec<_> = answers.iter().filter(|one| one.header("idempotent-replayed").is_empty()).collect();
    assert_eq!(first.len(), 1);
    assert_eq!(company.totals().await[0], 1);
    company.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_understood_is_refused_and_does_nothing() {
    let company = Company::start().await;
    let good = order("o-1", "tok_ok").to_string();
    let bearer = format!("Bearer {SECRET}");
    let admin = format!("Bearer {ADMIN}");
    let with = |name: &str, value: Value| {
        let mut body = order("o-1", "tok_ok");
        body[name] = value;
        body.to_string()
    };
    let long_key = "k".repeat(256);
    for (authorization, key, body, status, title) in [
        ("", "k", good.as_str(), 401, "unauthenticated"),
        ("Bearer wrong", "k", &good, 401, "unauthenticated"),
        (&admin, "k", &good, 401, "unauthenticated"),
        (&bearer, "", &good, 400, "invalid-request"),
        (&bearer, &long_key, &good, 400, "invalid-request"),
        (&bearer, "k", "{", 400, "invalid-request"),
        (&bearer, "k", "[]", 400, "invalid-request"),
        (&bearer, "k", &with("amount", json!({"minor": 0, "currency": "KRW"})), 400, "invalid-request"),
        (&bearer, "k", &with("amount", json!({"minor": 1.5, "currency": "KRW"})), 400, "invalid-request"),
        (&bearer, "k", &with("amount", json!({"minor": 1, "currency": "won"})), 400, "invalid-request"),
        (&bearer, "k", &with("order", json!("")), 400, "invalid-request"),
        (&bearer, "k", &with("method", json!("4242424242424242")), 400, "invalid-request"),
        (&bearer, "k", &with("return_url", json!("javascript:alert(1)")), 400, "invalid-request"),
        (&bearer, "k", &with("return_url", json!("https://a; script-src *")), 400, "invalid-request"),
        (&bearer, "k", &with("more", json!(1)), 400, "invalid-request"),
    ] {
        let mut headers = vec![("authorization", authorization)];
        if !key.is_empty() {
            headers.push(("idempotency-key", key));
        }
        let answer = company.call("POST", "/api/payments", &headers, body).await;
        assert_eq!((answer.status, answer.json()["title"].as_str()), (status, Some(title)), "{body}");
    }
    let none = company.post("/api/payments/pay_9_x/capture", "k-9", &json!({})).await;
    assert_eq!((none.status, none.json()["title"].as_str()), (404, Some("payment-not-found")));
    let payment = company.authorized("k-10").await;
    let guessed = format!("{}x", &payment[..payment.len() - 1]);
    assert_eq!(company.get(&format!("/api/payments/{guessed}")).await.status, 404, "ids cannot be guessed");
    assert_eq!(company.admin("GET", "/api/payments", &Value::Null).await.status, 401);
    assert_eq!(company.get("/admin/payments").await.status, 401, "the shop's key opens no admin door");
    assert_eq!(company.get("/api/payments?limit=0").await.status, 400);
    company.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declined_card_and_a_void_charge_nothing() {
    let company = Company::start().await;
    let declined = company.pay("k-1", "tok_declined").await;
    assert_eq!((declined.status, declined.json()["title"].as_str()), (402, Some("card-declined")));
    assert_eq!(declined.json()["payment"]["status"], "declined");
    let payment = company.authorized("k-2").await;
    let voided = company.post(&format!("/api/payments/{payment}/void"), "k-3", &json!({})).await;
    assert_eq!(voided.json()["status"], "voided");
    assert_eq!(company.totals().await, [2, 0, 0, 0]);
    company.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_captures_in_time_expires() {
    let company = Company::start_with(|options| {
        options.authorization_time = Duration::from_millis(300);
        options.card_time = Duration::from_millis(300);
    })
    .await;
    let payment = company.authorized("k-1").await;
    let waiting = company.pay("k-2", "page").await.json()["payment"].as_str().expect("an id").to_owned();
    for id in [&payment, &waiting] {
        eventually("expiry", || async {
            let found = company.get(&format!("/api/payments/{id}")).await.json();
            (found["status"] == "expired").then_some(())
        })
        .await;
    }
    let late = company.post(&format!("/api/payments/{payment}/capture"), "k-3", &json!({})).await;
    assert_eq!(late.json()["title"], "not-capturable");
    company.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_has_a_statement_that_adds_up() {
    let company = Company::start().await;
    let mut moved = 0;
    for n in 0..5 {
        let payment = company.authorized(&format!("a-{n}")).await;
        let amount = 1_000 * (n + 1);
        company
            .post(&format!("/api/payments/{payment}/capture"), &format!("c-{n}"), &json!({"amount": amount}))
            .await;
        moved += amount;
        if n % 2 == 0 {
            company
                .post(&format!("/api/payments/{payment}/refund"), &format!("r-{n}"), &json!({"amount": 300}))
                .await;
            moved -= 300;
        }
    }
    let captured_at = company.get("/api/payments?limit=1").await.json()["payments"][0]["created_at"].clone();
    let day = &captured_at.as_str().expect("a time")[..10];
    let csv = company.get(&format!("/api/statements/{day}.csv")).await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    let mut lines = csv.text.lines();
    assert_eq!(lines.next(), Some("time,movement,payment,order,kind,amount_minor,currency,key"));
    let amounts: Vec<i64> =
        lines.map(|line| line.split(',').nth(5).expect("eight fields").parse().expect("a number")).collect();
    assert_eq!((amounts.len(), amounts.iter().sum::<i64>()), (8, moved));
    assert!(csv.text.contains(",capture,1000,KRW,c-0\n") && csv.text.contains(",refund,-300,KRW,r-0\n"));

    let lines = company.get(&format!("/api/statements/{day}.jsonl")).await.text;
    let rows: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let sum: i64 = rows.iter().map(|row| row["amount"]["minor"].as_i64().expect("a number")).sum();
    assert_eq!((rows.len(), sum), (8, moved));
    let [_, _, captured, refunded] = company.totals().await;
    assert_eq!(captured - refunded, moved);

    assert_eq!(company.get("/api/statements/2020-01-01.csv").await.text.lines().count(), 1);
    assert_eq!(company.get("/api/statements/yesterday.csv").await.status, 400);
    company.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_statement_comes_whole() {
    let company = Company::start().await;
    let payment = company.authorized("a").await;
    let path = format!("/api/payments/{payment}/capture");
    // More rows than are read at once.
    let bodies: Vec<_> =
        (0..4_500).map(|n| (format!("c-{n}"), json!({"amount": 1, "last": false}))).collect();
    for some in bodies.chunks(250) {
        let calls = some.iter().map(|(key, body)| company.post(&path, key, body));
        let answers = futures_util::future::join_all(calls).await;
        assert!(answers.iter().all(|answer| answer.status == 200));
    }
    let day = company.get("/api/payments?limit=1").await.json()["payments"][0]["created_at"].clone();
    let text =
        company.get(&format!("/api/statements/{}.csv", &day.as_str().expect("a time")[..10])).await.text;
    let keys: std::collections::BTreeSet<_> =
        text.lines().skip(1).map(|line| line.rsplit(',').next().expect("a key")).collect();
    assert_eq!((text.lines().count(), keys.len()), (4_501, 4_500));
    company.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_holds_a_ledger() {
    let company = Company::start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let folder = company.ledger().parent().expect("a folder").to_owned();
    let options = banyan_sandbox::SandboxOptions::new(folder, SECRET, ADMIN);
    let (_stop, stopping) = tokio::sync::watch::channel(false);
    let error = banyan_sandbox::serve(listener, options, stopping).await.expect_err("it is held");
    assert!(error.to_string().contains("is another sandbox running on this folder?"), "{error}");
    company.stop().await;
}

#[test]
fn options_do_not_print_their_keys() {
    let mut options = banyan_sandbox::SandboxOptions::new("/tmp/x", SECRET, ADMIN);
    options.webhook =
        Some(banyan_sandbox::Webhook { url: "http://127.0.0.1:1/".into(), secret: "whsec_hidden".into() });
    let printed = format!("{options:?}");
    for secret in [SECRET, ADMIN, "whsec_hidden"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

/// The files as they are at the moment of the last answer, without a clean end: what a crash leaves.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_is_there_after_a_crash_with_its_answers() {
    let company = Company::start().await;
    let keys: Vec<_> = (0..100).map(|n| format!("a-{n}")).collect();
    let answers = futures_util::future::join_all(keys.iter().map(|key| company.pay(key, "tok_ok"))).await;
    let copy = tempfile::tempdir().expect("a folder");
    for name in ["sandbox.db", "sandbox.db-wal"] {
        let from = company.ledger().with_file_name(name);
        std::fs::copy(&from, copy.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    company.stop().await;
    let after = Company::start_with(|options| options.data = copy.path().to_owned()).await;
    assert_eq!(after.totals().await[0], 100);
    for (key, first) in keys.iter().zip(&answers) {
        let again = after.pay(key, "tok_ok").await;
        assert_eq!((again.header("idempotent-replayed"), &again.text), ("true", &first.text));
    }
    assert_eq!(after.totals().await[0], 100);
    after.stop().await;
}
