//! The connector to Stripe against localstripe, a third-party emulation that runs for real. What it does not do (see
//! the testkit's `localstripe.rs`) is not tested here: idempotency keys, captures in several parts.

mod common;

use banyan_pay::{
    Connection, Effect, NoticeError, PaymentCompany, PaymentId, Query, SignatureError, Status, Stripe, codes,
};
use banyan_testkit::LocalStripe;
use common::{authorize, by_key, capture, refund, secret, void};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

struct Company {
    server: LocalStripe,
    stripe: Stripe,
}

async fn start() -> Company {
    let server =
        tokio::task::spawn_blocking(LocalStripe::start).await.expect("no panic").expect("localstripe");
    let mut connection = Connection::new(&server.url(), secret("sk_test_hidden"));
    connection.webhook_secret = Some(secret("whsec_test"));
    connection.call_time_max = Duration::from_secs(10);
    let stripe = Stripe::new(&connection).expect("a connection");
    Company { server, stripe }
}

/// No return address: localstripe turns it away.
fn pay(key: &str, method: &str) -> banyan_pay::AuthorizeRequest {
    banyan_pay::AuthorizeRequest { return_url: None, ..authorize(key, method) }
}

fn done(effect: &Effect) -> (Status, i64, i64) {
    let state = effect.done().unwrap_or_else(|| panic!("not done: {effect:?}"));
    (state.status, state.captured, state.refunded)
}

fn payment(effect: &Effect) -> PaymentId {
    effect.done().unwrap_or_else(|| panic!("not done: {effect:?}")).payment.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn money_is_set_aside_taken_and_sent_back() {
    let Company { server: _server, stripe } = start().await;
    let authorized = stripe.authorize(&pay("a", "pm_card_visa")).await;
    assert_eq!(done(&authorized), (Status::Authorized, 0, 0));
    let state = authorized.done().expect("done");
    assert_eq!((state.order.as_deref(), state.amount), (Some("o-1"), common::won(25_000)));
    let id = payment(&authorized);
    assert_eq!(done(&stripe.capture(&capture("c", &id, 25_000, true)).await), (Status::Captured, 25_000, 0));
    assert_eq!(
        done(&stripe.refund(&refund("r1", &id, 4_000)).await),
        (Status::PartlyRefunded, 25_000, 4_000)
    );
    assert_eq!(done(&stripe.refund(&refund("r2", &id, 21_000)).await), (Status::Refunded, 25_000, 25_000));
    assert_eq!(done(&stripe.query(&Query::Payment(id)).await), (Status::Refunded, 25_000, 25_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_smaller_capture_gives_the_rest_up_and_is_no_refund() {
    let Company { server: _server, stripe } = start().await;
    let id = payment(&stripe.authorize(&pay("a", "pm_card_visa")).await);
    assert_eq!(done(&stripe.capture(&capture("c", &id, 20_000, true)).await), (Status::Captured, 20_000, 0));
    assert_eq!(done(&stripe.refund(&refund("r", &id, 500)).await), (Status::PartlyRefunded, 20_000, 500));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_void_a_declined_card_and_what_is_not_there() {
    let Company { server: _server, stripe } = start().await;
    let id = payment(&stripe.authorize(&pay("a", "pm_card_visa")).await);
    assert_eq!(done(&stripe.void(&void("v", &id)).await), (Status::Voided, 0, 0));
    assert!(stripe.void(&void("v2", &id)).await.refused().is_some());
    let declined = stripe.authorize(&pay("b", "pm_card_chargeCustomerFail")).await;
    assert_eq!(declined.refused(), Some("card_declined"));
    assert_eq!(done(&stripe.query(&by_key("b", None)).await).0, Status::Declined, "it is found, declined");
    let none = PaymentId::new("pi_none").expect("an id");
    assert_eq!(stripe.query(&Query::Payment(none)).await.refused(), Some(codes::NOT_FOUND));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_found_among_many_payments_and_refunds() {
    let Company { server: _server, stripe } = start().await;
    let first = payment(&stripe.authorize(&pay("a-0", "pm_card_visa")).await);
    // More than one page of a list.
    for n in 1..=120 {
        stripe.authorize(&pay(&format!("a-{n}"), "pm_card_visa")).await;
    }
    assert_eq!(payment(&stripe.query(&by_key("a-0", None)).await), first);
    let last = stripe.query(&by_key("a-120", None)).await;
    assert_eq!(done(&last), (Status::Authorized, 0, 0));
    assert_eq!(stripe.query(&by_key("a-121", None)).await.refused(), Some(codes::NOT_FOUND));
    stripe.capture(&capture("c", &first, 25_000, true)).await;
    stripe.refund(&refund("r", &first, 100)).await;
    assert_eq!(done(&stripe.query(&by_key("r", Some(&first))).await).2, 100);
    assert_eq!(stripe.query(&by_key("r2", Some(&first))).await.refused(), Some(codes::NOT_FOUND));
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_are_read_if_they_are_signed() {
    let Company { server, stripe } = start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
    let body = format!("url={url}&secret=whsec_test&events[]=payment_intent.succeeded");
    let host = server.url().replace("http://", "");
    let mut stream = TcpStream::connect(&host).await.expect("localstripe");
    let request = format!(
        "POST /_config/webhooks/one HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    let id = payment(&stripe.authorize(&pay("a", "pm_card_visa")).await);
    stripe.capture(&capture("c", &id, 25_000, true)).await;
    let (mut stream, _) = listener.accept().await.expect("localstripe calls");
    let mut request = Vec::new();
    let (head, body) = loop {
        let mut some = [0; 8_192];
        let read = stream.read(&mut some).await.expect("a request");
        request.extend_from_slice(&some[..read]);
        let text = String::from_utf8_lossy(&request);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.to_ascii_lowercase();
            let length = length.lines().find_map(|line| line.strip_prefix("content-length: "));
            if length.and_then(|length| length.parse().ok()) == Some(body.len()) {
                break (head.to_owned(), body.to_owned());
            }
        }
    };
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.expect("taken");
    let header = head.lines().find_map(|line| line.strip_prefix("Stripe-Signature: ")).expect("a signature");
    let now: i64 = header[2..12].parse().expect("a time");
    let mut headers = http::HeaderMap::new();
    headers.insert("stripe-signature", header.parse().expect("a header"));
    let notice = stripe.notice(&headers, body.as_bytes(), now).expect("a notice");
    assert_eq!((notice.kind.as_str(), &notice.payment), ("payment_intent.succeeded", &id));
    let forged = body.replace("succeeded", "canceled!");
    assert_eq!(
        stripe.notice(&headers, forged.as_bytes(), now),
        Err(NoticeError::Signature(SignatureError::Wrong))
    );
    assert_eq!(
        stripe.notice(&headers, body.as_bytes(), now + 301),
        Err(NoticeError::Signature(SignatureError::Old))
    );
}
