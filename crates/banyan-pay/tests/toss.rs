//! The connector to Toss Payments against the sandbox, which speaks the same shapes.

mod common;

use banyan_domain::{Currency, Money};
use banyan_pay::{Deed, Effect, PaymentCompany, PaymentId, Query, Status, Toss, codes};
use common::{Company, authorize, by_deed, by_key, capture, refund, void, with_token, won};
use serde_json::json;

/// What a browser does: a payment is made, the customer gives a card, and the shop gets a paymentKey.
async fn payment_key(company: &Company, toss: &Toss, n: &str) -> PaymentId {
    let made = toss.authorize(&authorize(&format!("page-{n}"), "page")).await;
    let state = made.done().unwrap_or_else(|| panic!("not done: {made:?}"));
    assert_eq!(state.status, Status::RequiresCustomer);
    let page = state.redirect.as_deref().expect("a page").replace(&format!("http://{}", company.address), "");
    let (status, location, _) =
        company.call("POST", &page, "application/x-www-form-urlencoded", "use=tok_ok".into()).await;
    let expected =
        format!("http://127.0.0.1:1/paid?paymentKey={}&orderId=banyan-o-1&amount=25000", state.payment);
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
    let waiting = toss.query(&Query::Payment(payment.clone())).await;
    assert_eq!(done(&waiting), (Status::RequiresCustomer, 0, 0), "a card is given, and nothing is taken yet");
    assert_eq!(waiting.done().and_then(|state| state.order.as_deref()), Some("o-1"));
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

/// Bug: a payment in progress counted as waiting for the customer, although it waited for us, and the confirmation was never sent
/// again.
#[tokio::test(flavor = "multi_thread")]
async fn a_confirmation_that_never_arrived_is_sent_again() {
    let company = Company::start().await;
    let toss = Toss::new(&company.connection()).expect("a connection");
    let payment = payment_key(&company, &toss, "1").await;
    company
        .faults(json!({ "hold_seconds": 5, "rules": [{ "fault": "timeout_before", "action": "confirm" }] }))
        .await;
    let confirm = authorize("a", payment.as_str());
    assert!(toss.authorize(&confirm).await.is_unknown());
    let asked = by_deed("a", None, with_token(payment.as_str()));
    assert_eq!(toss.query(&asked).await.refused(), Some(codes::NOT_FOUND), "it is for us to send it");
    assert_eq!(done(&toss.authorize(&confirm).await), (Status::Captured, 25_000, 0));
    assert_eq!(done(&toss.query(&asked).await), (Status::Captured, 25_000, 0));
    assert_eq!(company.totals().await, [1, 1, 25_000, 0]);
}

/// Bug: of a payment that was made for the page, nothing confirmed what the customer had agreed to there.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_from_the_page_is_confirmed_when_the_customer_has_been_there() {
    let company = Company::start().await;
    let toss = Toss::new(&company.connection()).expect("a connection");
    let made = toss.authorize(&authorize("p", "page")).await;
    assert_eq!(done(&made).0, Status::RequiresCustomer);
    let again = toss.authorize(&authorize("p", "page")).await;
    assert_eq!(again, made, "nobody has been there");
    let asked = by_deed("p", None, with_token("page"));
    assert_eq!(toss.query(&asked).await, made);
    let state = made.done().expect("it is made");
    let page = state.redirect.as_deref().expect("a page").replace(&format!("http://{}", company.address), "");
    company.call("POST", &page, "application/x-www-form-urlencoded", "use=tok_ok".into()).await;
    assert_eq!(toss.query(&asked).await.refused(), Some(codes::NOT_FOUND), "it is for us to confirm it");
    for _ in 0..2 {
        assert_eq!(done(&toss.authorize(&authorize("p", "page")).await), (Status::Captured, 25_000, 0));
    }
    assert_eq!(done(&toss.query(&asked).await).0, Status::Captured);
    assert_eq!(company.totals().await, [1, 1, 25_000, 0]);
}

/// Bug: a payment that nobody had confirmed could not be given up, and the undo parked.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_nobody_confirmed_is_given_up_as_it_is() {
    let company = Company::start().await;
    let toss = Toss::new(&company.connection()).expect("a connection");
    let made = toss.authorize(&authorize("p", "page")).await.done().expect("it is made").payment.clone();
    assert_eq!(done(&toss.void(&void("v", &made)).await).0, Status::Voided, "the customer has not come");
    let payment = payment_key(&company, &toss, "1").await;
    assert_eq!(done(&toss.void(&void("w", &payment)).await).0, Status::Voided, "it is in progress");
    toss.authorize(&authorize("a", payment.as_str())).await;
    assert_eq!(done(&toss.void(&void("x", &payment)).await), (Status::Refunded, 25_000, 25_000));
    assert!(toss.void(&void("y", &payment)).await.refused().is_some(), "a real no stays one");
}

/// Bug: a lost refund was taken for the refund before it, and the customer got nothing.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_refunds_of_a_payment_each_is_found_by_its_own_key() {
    let company = Company::start().await;
    let toss = Toss::new(&company.connection()).expect("a connection");
    let payment = payment_key(&company, &toss, "1").await;
    toss.authorize(&authorize("a", payment.as_str())).await;
    assert_eq!(toss.query(&by_key("r1", Some(&payment))).await.refused(), Some(codes::NOT_FOUND));
    assert_eq!(done(&toss.refund(&refund("r1", &payment, 5_000)).await).2, 5_000);
    company
        .faults(json!({ "hold_seconds": 5, "rules": [{ "fault": "timeout_before", "action": "cancel" }] }))
        .await;
    assert!(toss.refund(&refund("r2", &payment, 5_000)).await.is_unknown());
    assert_eq!(toss.query(&by_key("r2", Some(&payment))).await.refused(), Some(codes::NOT_FOUND));
    assert_eq!(done(&toss.refund(&refund("r2", &payment, 5_000)).await).2, 10_000);
    for key in ["r1", "r2"] {
        assert_eq!(done(&toss.query(&by_key(key, Some(&payment))).await).2, 10_000, "{key}");
    }
    assert_eq!(company.totals().await, [1, 1, 25_000, 10_000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capture_of_less_whose_answer_was_lost_is_found_if_the_rest_went_back() {
    for (fault, there) in [("timeout_before", false), ("timeout_after", true)] {
        let company = Company::start().await;
        let toss = Toss::new(&company.connection()).expect("a connection");
        let payment = payment_key(&company, &toss, "1").await;
        toss.authorize(&authorize("a", payment.as_str())).await;
        company.faults(json!({ "hold_seconds": 5, "rules": [{ "fault": fault, "action": "cancel" }] })).await;
        assert!(toss.capture(&capture("c", &payment, 20_000, true)).await.is_unknown(), "{fault}");
        let seen = toss.query(&by_deed("c", Some(&payment), Deed::Capture(won(20_000)))).await;
        assert_eq!(seen.done().is_some(), there, "{fault}: {seen:?}");
        assert_eq!(done(&toss.capture(&capture("c", &payment, 20_000, true)).await).2, 5_000, "{fault}");
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
