//! The sandbox's connector against the sandbox, with everything that can go wrong on the way.

mod common;

use banyan_pay::{Effect, NoticeError, PaymentCompany, Query, Sandbox, SignatureError, Status, codes};
use common::{Company, authorize, by_key, capture, refund, secret, void};
use serde_json::json;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn status(effect: &Effect) -> Status {
    effect.done().unwrap_or_else(|| panic!("not done: {effect:?}")).status
}

#[tokio::test(flavor = "multi_thread")]
async fn money_is_set_aside_taken_and_sent_back() {
    let company = Company::start().await;
    let sandbox = Sandbox::new(&company.connection()).expect("a connection");
    let authorized = sandbox.authorize(&authorize("a", "tok_ok")).await;
    let state = authorized.done().expect("done").clone();
    assert_eq!(
        (state.status, state.order.as_deref(), state.redirect.as_deref()),
        (Status::Authorized, Some("o-1"), None)
    );
    assert_eq!(state.card.as_ref().map(|card| card.last4.as_str()), Some("4242"));
    let payment = state.payment;
    assert_eq!(
        status(&sandbox.capture(&capture("c1", &payment, 10_000, false)).await),
        Status::PartlyCaptured
    );
    assert_eq!(status(&sandbox.capture(&capture("c2", &payment, 5_000, true)).await), Status::Captured);
    let refunded = sandbox.refund(&refund("r1", &payment, 4_000)).await;
    let state = refunded.done().expect("done");
    assert_eq!((state.status, state.captured, state.refunded), (Status::PartlyRefunded, 15_000, 4_000));
    assert_eq!(sandbox.query(&Query::Payment(payment.clone())).await, refunded);
    assert_eq!(sandbox.query(&by_key("c1", Some(&payment))).await, refunded, "the payment as it is now");
    assert_eq!(sandbox.refund(&refund("r2", &payment, 11_001)).await.refused(), Some("refund-exceeds"));
    assert_eq!(sandbox.query(&by_key("r2", Some(&payment))).await.refused(), Some("refund-exceeds"));
    assert_eq!(sandbox.void(&void("v", &payment)).await.refused(), Some("not-voidable"));
    assert_eq!(sandbox.query(&by_key("never", None)).await.refused(), Some(codes::NOT_FOUND));
    assert_eq!(company.totals().await, [1, 1, 15_000, 4_000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declined_card_is_refused_and_a_page_is_a_redirect() {
    let company = Company::start().await;
    let sandbox = Sandbox::new(&company.connection()).expect("a connection");
    assert_eq!(sandbox.authorize(&authorize("a", "tok_declined")).await.refused(), Some("card-declined"));
    let waiting = sandbox.authorize(&authorize("b", "page")).await;
    let state = waiting.done().expect("done");
    assert_eq!(state.status, Status::RequiresCustomer);
    let page = state.redirect.as_deref().expect("a page").replace(&format!("http://{}", company.address), "");
    let (paid, location, _) =
        company.call("POST", &page, "application/x-www-form-urlencoded", "use=tok_ok".into()).await;
    assert_eq!(
        (paid, location),
        (303, format!("http://127.0.0.1:1/paid?payment={}&result=authorized", state.payment))
    );
    assert_eq!(status(&sandbox.query(&Query::Payment(state.payment.clone())).await), Status::Authorized);
}

/// Each way to lose an answer, for each effect: nobody knows, then a query does, and the same key pays nothing twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_unknown_until_it_is_asked_for() {
    for fault in ["timeout_before", "timeout_after", "error_after"] {
        let company = Company::start().await;
        let sandbox = Sandbox::new(&company.connection()).expect("a connection");
        let actions = ["authorize", "capture", "refund"];
        let rules: Vec<_> =
            actions.iter().map(|action| json!({ "fault": fault, "action": action })).collect();
        company.faults(json!({ "hold_seconds": 5, "rules": rules })).await;
        let was_done = fault != "timeout_before";

        let asked = authorize("a", "tok_ok");
        assert!(sandbox.authorize(&asked).await.is_unknown(), "{fault}");
        let found = sandbox.query(&by_key("a", None)).await;
        assert_eq!(found.done().is_some(), was_done, "{fault}: {found:?}");
        if !was_done {
            assert_eq!(found.refused(), Some(codes::NOT_FOUND));
        }
        let again = sandbox.authorize(&asked).await;
        let payment = again.done().expect("done").payment.clone();
        assert!(!was_done || found == again, "{fault}: the same payment");
        assert_eq!(company.totals().await[0], 1, "{fault}");

        let asked = capture("c", &payment, 20_000, true);
        assert!(sandbox.capture(&asked).await.is_unknown(), "{fault}");
        assert_eq!(company.totals().await[2], if was_done { 20_000 } else { 0 }, "{fault}");
        let seen = sandbox.query(&Query::Payment(payment.clone())).await;
        assert_eq!(status(&seen) == Status::Captured, was_done, "{fault}");
        assert_eq!(status(&sandbox.capture(&asked).await), Status::Captured, "{fault}");

        let asked = refund("r", &payment, 3_000);
        assert!(sandbox.refund(&asked).await.is_unknown(), "{fault}");
        assert_eq!(sandbox.query(&by_key("r", Some(&payment))).await.done().is_some(), was_done, "{fault}");
        for _ in 0..2 {
            assert_eq!(sandbox.refund(&asked).await.done().expect("done").refunded, 3_000, "{fault}");
        }
        assert_eq!(company.totals().await, [1, 1, 20_000, 3_000], "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_answer_is_never_taken_for_the_next_request() {
    let company = Company::start().await;
    let sandbox = Sandbox::new(&company.connection()).expect("a connection");
    company.faults(json!({ "rates": { "answer_twice": 1.0 } })).await;
    for n in 0..200 {
        let (a, c) = (format!("a-{n}"), format!("c-{n}"));
        let asked = authorize(&a, "tok_ok");
        let mut effect = sandbox.authorize(&asked).await;
        while effect.is_unknown() {
            effect = sandbox.authorize(&asked).await;
        }
        let payment = effect.done().unwrap_or_else(|| panic!("not done: {effect:?}")).payment.clone();
        let asked = capture(&c, &payment, 100 + n, true);
        let mut effect = sandbox.capture(&asked).await;
        while effect.is_unknown() {
            effect = sandbox.capture(&asked).await;
        }
        let state = effect.done().unwrap_or_else(|| panic!("not done: {effect:?}"));
        assert_eq!((&state.payment, state.captured), (&payment, 100 + n));
        let seen = sandbox.query(&Query::Payment(payment.clone())).await;
        assert!(seen.is_unknown() || seen.done().is_some_and(|seen| seen.captured == 100 + n), "{seen:?}");
    }
    assert_eq!(company.totals().await[..2], [200, 200]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_company_that_is_down_leaves_no_doubt_only_where_nothing_was_sent() {
    let company = Company::start().await;
    let sandbox = Sandbox::new(&company.connection()).expect("a connection");
    company.faults(json!({ "down_for_seconds": 60 })).await;
    let cut = sandbox.authorize(&authorize("a", "tok_ok")).await;
    assert!(cut.is_unknown(), "the connection was cut after sending: {cut:?}");

    // Bound and closed again: nobody listens there.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let mut connection = company.connection();
    connection.base_url = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let nobody = Sandbox::new(&connection).expect("a connection").authorize(&authorize("a", "tok_ok")).await;
    assert!(matches!(nobody, Effect::NotSent(_)), "{nobody:?}");
}

/// What a server says, and what that means.
#[tokio::test(flavor = "multi_thread")]
async fn strange_answers_are_unknown_and_never_a_yes_or_a_no() {
    let good = r#"{"payment":"pay_1_x","order":"o","status":"captured","amount":{"minor":5,"currency":"KRW"},"captured":5,"refunded":0}"#;
    let no = r#"{"title":"capture-exceeds","detail":"Too much."}"#;
    let answer =
        |head: &str, body: &str| format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let keyed = |head: &str, body: &str| answer(&format!("{head}\r\nIdempotency-Key: c"), body);
    for (said, expected) in [
        (answer("200 OK\r\nIdempotency-Key: c", good), "done"),
        (answer("409 Conflict\r\nIdempotency-Key: c", no), "refused"),
        (answer("200 OK", good), "unknown"),
        (answer("409 Conflict", no), "unknown"),
        (answer("200 OK\r\nIdempotency-Key: another", good), "unknown"),
        (keyed("200 OK", "{}"), "unknown"),
        (keyed("200 OK", "<html>"), "unknown"),
        (keyed("200 OK", &good.replace("pay_1_x", "pay_2_y")), "unknown"),
        (keyed("200 OK", &good.replace("captured\",\"amount", "dancing\",\"amount")), "unknown"),
        (keyed("404 Not Found", "<html>a proxy's page</html>"), "unknown"),
        (keyed("409 Conflict", "{}"), "unknown"),
        (keyed("302 Found\r\nLocation: /elsewhere", ""), "unknown"),
        (keyed("408 Request Timeout", no), "unknown"),
        (keyed("500 Internal Server Error", no), "unknown"),
        (keyed("503 Service Unavailable", no), "unknown"),
        (keyed("429 Too Many Requests", no), "not sent"),
        (keyed("401 Unauthorized", no), "not sent"),
        (format!("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{good}"), "unknown"),
        (keyed("200 OK", &format!("{{\"x\":\"{}\"}}", "y".repeat(2 << 20))), "unknown"),
        ("garbage\r\n\r\n".into(), "unknown"),
        (String::new(), "unknown"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let words = said.clone();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a caller");
            let mut request = vec![0; 4_096];
            let read = stream.read(&mut request).await.expect("a request");
            // The caller may hang up in the middle of too long an answer.
            let _ = stream.write_all(words.as_bytes()).await;
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        let mut connection =
            banyan_pay::Connection::new(&format!("http://{address}"), secret("sk_very_secret"));
        connection.call_time_max = Duration::from_secs(5);
        let sandbox = Sandbox::new(&connection).expect("a connection");
        let payment = banyan_pay::PaymentId::new("pay_1_x").expect("an id");
        let effect = sandbox.capture(&capture("c", &payment, 5, true)).await;
        let what = match &effect {
            Effect::Done(_) => "done",
            Effect::Refused(_) => "refused",
            Effect::NotSent(_) => "not sent",
            Effect::Unknown(_) => "unknown",
        };
        let shown: String = said.chars().take(120).collect();
        assert_eq!(what, expected, "{shown}: {effect:?}");
        let request = server.await.expect("the server ends").to_ascii_lowercase();
        assert!(
            request.contains("idempotency-key: c\r\n") && request.contains("bearer sk_very_secret"),
            "{request}"
        );
        assert!(!format!("{effect:?} {sandbox:?} {connection:?}").contains("very_secret"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_nothing_is_unknown_after_the_time_given() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let mut connection = banyan_pay::Connection::new(
        &format!("http://{}", listener.local_addr().expect("an address")),
        secret("sk_secret"),
    );
    connection.call_time_max = Duration::from_millis(200);
    let sandbox = Sandbox::new(&connection).expect("a connection");
    let effect = sandbox.authorize(&authorize("a", "tok_ok")).await;
    assert!(matches!(&effect, Effect::Unknown(why) if why.contains("no answer within 200ms")), "{effect:?}");
}

#[test]
fn addresses_that_cannot_work_are_refused_at_once() {
    for address in
        ["", "127.0.0.1:1", "ftp://a", "http://", "http://a/path", "http://user:pw@a", "http://a?b=c"]
    {
        let connection = banyan_pay::Connection::new(address, secret("sk_secret"));
        assert!(Sandbox::new(&connection).is_err(), "{address:?}");
    }
    let https = banyan_pay::Connection::new("https://api.example", secret("sk_secret"));
    assert_eq!(Sandbox::new(&https).is_ok(), cfg!(feature = "tls"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_company_tells_is_read_if_it_is_signed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
    let hook = banyan_sandbox::Webhook { url, secret: "whsec_test".into() };
    let company = Company::start_with(Some(hook)).await;
    let mut connection = company.connection();
    connection.webhook_secret = Some(secret("whsec_test"));
    let sandbox = Sandbox::new(&connection).expect("a connection");
    let paid = sandbox.authorize(&authorize("a", "tok_ok")).await;

    let (mut stream, _) = listener.accept().await.expect("the company calls");
    let mut request = String::new();
    let body = loop {
        let mut some = [0; 4_096];
        let read = stream.read(&mut some).await.expect("a request");
        request.push_str(std::str::from_utf8(&some[..read]).expect("text"));
        if let Some((_, body)) = request.split_once("\r\n\r\n")
            && body.ends_with('}')
        {
            break body.to_owned();
        }
    };
    stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.expect("taken");
    let header =
        request.lines().find_map(|line| line.strip_prefix("sandbox-signature: ")).expect("a signature");
    let now: i64 = header[2..12].parse().expect("a time");
    let mut headers = http::HeaderMap::new();
    headers.insert("sandbox-signature", header.parse().expect("a header"));

    let notice = sandbox.notice(&headers, body.as_bytes(), now).expect("a notice");
    assert_eq!((notice.kind.as_str(), notice.state.as_ref()), ("payment.authorized", paid.done()));
    assert!(notice.id.starts_with("evt_"));
    let wrong = |headers: &http::HeaderMap, body: &str, now| {
        sandbox.notice(headers, body.as_bytes(), now).expect_err("not to be taken")
    };
    let forged = body.replace("25000", "25");
    assert_eq!(wrong(&headers, &forged, now), NoticeError::Signature(SignatureError::Wrong));
    assert_eq!(wrong(&headers, &body, now + 301), NoticeError::Signature(SignatureError::Old));
    assert_eq!(wrong(&http::HeaderMap::new(), &body, now), NoticeError::Signature(SignatureError::Missing));
    let deaf = Sandbox::new(&company.connection()).expect("a connection");
    assert_eq!(deaf.notice(&headers, body.as_bytes(), now), Err(NoticeError::NoSecret));
}
