//! The connector to Toss Payments against the sandbox, which speaks the same shapes.

mod common;

use banyan_domain::{Currency, Money};
use banyan_pay::{Effect, PaymentCompany, PaymentId, Query, Status, Toss, codes};
use common::{Company, authorize, by_key, capture, refund, void};
use serde_json::json;

/// What a browser does: a payment is made, the customer gives a card, and the shop gets a paymentKey.
async fn payment_key(company: &Company, toss: &Toss, n: &str) -> PaymentId {
    let made = toss.authorize(&authorize(&format!("page-{n}"), "page")).await;
    let state = made.done().unwrap_or_else(|| panic!("not done: {made:?}"));
    assert_eq!(state.status, Status::RequiresCustomer);
    let page = state.redirect.as_deref().expect("a page").replace(&format!("http://{}", company.address), "");
    let (status, location, _) =
        company.call("POST", &page, "application/x-www-form-urlencoded", "use=tok_ok".into()).await;
    let expected = format!("http://127.0.0.1:1/paid?paymentKey={}&orderId=o-1&amount=25000", state.payment);
    assert_eq!((status, location), (303, expected));
    state.payment.clone()
}

fn done(effect: &Effect) -> (Status, i64, i64) {
    let state = effect.done().unwrap_or_else(|| panic!("not done: {effect:?}"));
    (state.status, state.captured, state.refunded)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_confirmed_and_cancelled_in_parts() {
    let company = Company::start().await;
    let toss = Toss::new(&company.connection()).expect("a connection");
    let payment = payment_key(&company, &toss, "1").await;
    let waiting = toss.query(&by_key("a", None)).await;
    assert_eq!(done(&waiting), (Status::RequiresCustomer, 0, 0), "a card is given, and nothing is taken yet");
    let confirm = authorize("a", payment.as_str());
    assert_eq!(done(&toss.authorize(&confirm).await), (Status::Captured, 25_000, 0));
    assert_eq!(done(&toss.authorize(&confirm).await), (Status::Captured, 25_000, 0), "the same key again");
    assert_eq!(
        done(&toss.capture(&capture("c", &payment, 25_000, true)).await),
        (Status::Captured, 25_000, 0)
    );
    assert_eq!(toss.capture(&capture("c2", &payment, 25_001, true)).await.refused(), Some("capture-exceeds"));
    assert_eq!(toss.capture(&capture("c3", &payment, 1, false)).await.refused(), Some(codes::NOT_SUPPORTED));
    let some = toss.refund(&refund("r1", &payment, 5_000)).await;
    assert_eq!(done(&some), (Status::PartlyRefunded, 25_000, 5_000));
    assert_eq!(done(&toss.refund(&refund("r1", &payment, 5_000)).await).2, 5_000, "the same key again");
    assert_eq!(toss.refund(&refund("r2", &payment, 20_001)).await.refused(), Some("NOT_CANCELABLE_AMOUNT"));
    assert_eq!(done(&toss.void(&void("v", &payment)).await), (Status::Refunded, 25_000, 25_000));
    assert_eq!(company.totals().await, [1, 1, 25_000, 25_000]);
    assert_eq!(
        toss.query(&Query::Payment(PaymentId::new("nope").expect("an id"))).await.refused(),
        Some(codes::NOT_FOUND)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn capturing_less_sends_the_rest_back_once() {
    let company = Company::start().await;
    let toss = Toss::new(&company.connection()).expect("a connection");
    let payment = payment_key(&company, &toss, "1").await;
    toss.authorize(&authorize("a", payment.as_str())).await;
    for _ in 0..2 {
        let kept = toss.capture(&capture("c", &payment, 20_000, true)).await;
        assert_eq!(done(&kept), (Status::PartlyRefunded, 25_000, 5_000));
    }
    assert_eq!(company.totals().await, [1, 1, 25_000, 5_000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_confirmation_is_found_by_its_order() {
    for fault in ["timeout_after", "error_after"] {
        let company = Company::start().await;
        let toss = Toss::new(&company.connection()).expect("a connection");
        let payment = payment_key(&company, &toss, "1").await;
        company
            .faults(json!({ "hold_seconds": 5, "rules": [
                { "fault": fault, "action": "confirm" }, { "fault": fault, "action": "cancel" },
            ]}))
            .await;
        let confirm = authorize("a", payment.as_str());
        assert!(toss.authorize(&confirm).await.is_unknown(), "{fault}");
        assert_eq!(done(&toss.query(&by_key("a", None)).await), (Status::Captured, 25_000, 0), "{fault}");
        assert_eq!(done(&toss.authorize(&confirm).await).1, 25_000, "{fault}");
        // With another key, which is a mistake of the caller's, nobody is charged twice either.
        assert!(toss.authorize(&authorize("b", payment.as_str())).await.is_unknown(), "{fault}");

        assert!(toss.refund(&refund("r", &payment, 100)).await.is_unknown(), "{fault}");
        assert_eq!(done(&toss.query(&by_key("r", Some(&payment))).await).2, 100, "{fault}");
        assert_eq!(done(&toss.refund(&refund("r", &payment, 100)).await).2, 100, "{fault}");
        assert_eq!(company.totals().await, [1, 1, 25_000, 100], "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_toss_does_not_take_is_refused() {
    let company = Company::start().await;
    let toss = Toss::new(&company.connection()).expect("a connection");
    let payment = payment_key(&company, &toss, "1").await;
    let mut dollars = authorize("d", payment.as_str());
    dollars.amount = Money::new(5, Currency::new("USD").expect("a currency")).expect("an amount");
    assert_eq!(toss.authorize(&dollars).await.refused(), Some(codes::CURRENCY_NOT_SUPPORTED));
    let mut less = authorize("l", payment.as_str());
    less.amount.minor = 1;
    assert_eq!(
        toss.authorize(&less).await.refused(),
        Some("INVALID_REQUEST"),
        "the amount was changed on the way"
    );
    company.faults(json!({ "rules": [{ "fault": "decline", "action": "confirm" }] })).await;
    let declined = toss.authorize(&authorize("a", payment.as_str())).await;
    assert_eq!(declined.refused(), Some("REJECT_CARD_PAYMENT"));
    assert_eq!(company.totals().await[1], 0);
    let mut connection = company.connection();
    connection.secret_key = common::secret("sk_another_key");
    let stranger = Toss::new(&connection).expect("a connection");
    assert!(matches!(stranger.query(&Query::Payment(payment)).await, Effect::NotSent(_)));
}

#[test]
fn a_notice_names_a_payment_and_vouches_for_nothing() {
    let connection = banyan_pay::Connection::new("http://127.0.0.1:1", common::secret("sk_secret"));
    let toss = Toss::new(&connection).expect("a connection");
    let body = json!({ "eventType": "PAYMENT_STATUS_CHANGED", "createdAt": "2026-11-27T12:00:00.000", "data": {
        "paymentKey": "tgen_1", "status": "DONE" } });
    let read =
        |body: &serde_json::Value| toss.notice(&http::HeaderMap::new(), body.to_string().as_bytes(), 0);
    let notice = read(&body).expect("a notice");
    assert_eq!((notice.payment.as_str(), notice.state), ("tgen_1", None));
    let mut wrong = body.clone();
    wrong["data"]["paymentKey"] = "../cancel".into();
    assert!(read(&wrong).is_err());
    wrong["eventType"] = "DEPOSIT_CALLBACK".into();
    assert!(read(&wrong).is_err());
}
