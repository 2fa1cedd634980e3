//! What the answers of services mean to a saga: what nobody knows is never taken for done, nor for refused.

use banyan_domain::saga::{Ask, Fields, OpenAsk, Request, Settlement};
use banyan_domain::{Currency, Millis, Money, SagaNo, Timestamp, limits};
use banyan_pay::{
    Asking, AuthorizeRequest, CaptureRequest, Connection, Effect, Notice, NoticeError, PaymentCompany,
    PaymentId, PaymentState, Query, RefundRequest, Refused, Secret, Status, VoidRequest, codes,
};
use banyan_saga::{Company, HttpService, Service};
use http::HeaderMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A company that always says the same, to whatever is asked for and to every question.
#[derive(Debug)]
struct Parrot(Effect, Effect);

impl Parrot {
    fn new(effect: Effect) -> Self {
        Self(effect.clone(), effect)
    }

    fn says<'a>(&self) -> Asking<'a> {
        let effect = self.0.clone();
        Box::pin(async move { effect })
    }
}

impl PaymentCompany for Parrot {
    fn name(&self) -> &'static str {
        "parrot"
    }
    fn authorize<'a>(&'a self, _: &'a AuthorizeRequest) -> Asking<'a> {
        self.says()
    }
    fn capture<'a>(&'a self, _: &'a CaptureRequest) -> Asking<'a> {
        self.says()
    }
    fn void<'a>(&'a self, _: &'a VoidRequest) -> Asking<'a> {
        self.says()
    }
    fn refund<'a>(&'a self, _: &'a RefundRequest) -> Asking<'a> {
        self.says()
    }
    fn query<'a>(&'a self, _: &'a Query) -> Asking<'a> {
        let effect = self.1.clone();
        Box::pin(async move { effect })
    }
    fn notice(&self, _: &HeaderMap, _: &[u8], _: i64) -> Result<Notice, NoticeError> {
        Err(NoticeError::NoSecret)
    }
}

fn request(ask: Ask, do_operation: &str, operation: &str) -> Request {
    let params: Fields = [("payment", "p-1"), ("amount", "100"), ("currency", "KRW"), ("method", "tok_ok")]
        .into_iter()
        .collect();
    Request {
        open: OpenAsk { saga: SagaNo::new(1), step: 0, ask, attempt: 1 },
        service: "company".into(),
        operation: operation.into(),
        do_operation: do_operation.into(),
        do_params: params.clone(),
        params,
        key: "undo-key".into(),
        do_key: "do-key".into(),
        about: "order-1".into(),
        timeout: Millis::from_seconds(5),
    }
}

fn payment(status: Status, captured: i64, refunded: i64) -> Effect {
    Effect::Done(PaymentState {
        payment: PaymentId::new("p-1").expect("valid"),
        order: None,
        status,
        amount: Money { minor: 100, currency: Currency::new("KRW").expect("valid") },
        captured,
        refunded,
        card: None,
        redirect: None,
    })
}

fn no(code: &str) -> Effect {
    Effect::Refused(Refused { code: code.into(), sentence: "no".into() })
}

fn word(result: &Settlement) -> &'static str {
    match result {
        Settlement::Done(_) => "done",
        Settlement::Refused(_) => "refused",
        Settlement::Unknown(_) => "unknown",
        Settlement::NotSent(_) => "not sent",
        Settlement::Awaiting(..) => "awaiting",
        Settlement::Absent => "absent",
    }
}

/// Bug: a company that finds a payment, and not an effect, said "there it is" of a payment whose capture was lost, and the
/// capture counted as done.
#[tokio::test]
async fn a_payment_that_is_there_is_not_an_effect_that_happened() {
    use Status::{Authorized, Captured, Declined, PartlyRefunded, Refunded, RequiresCustomer, Voided};
    let table = [
        ("authorize", payment(Authorized, 0, 0), "done"),
        ("authorize", payment(RequiresCustomer, 0, 0), "awaiting"),
        ("authorize", payment(Declined, 0, 0), "refused"),
        ("authorize", payment(Voided, 0, 0), "refused"),
        ("capture", payment(Authorized, 0, 0), "absent"),
        ("capture", payment(Captured, 100, 0), "done"),
        ("capture", payment(PartlyRefunded, 100, 40), "done"),
        ("capture", payment(Voided, 0, 0), "refused"),
        ("refund", payment(Captured, 100, 0), "absent"),
        ("refund", payment(Refunded, 100, 100), "done"),
        ("capture", no(codes::NOT_FOUND), "absent"),
        ("capture", no("card-declined"), "refused"),
        ("capture", Effect::Unknown("silence".into()), "unknown"),
    ];
    for (done_by, effect, wanted) in table {
        let company = Company::new(Arc::new(Parrot::new(effect.clone())), 1_000);
        let asked = request(Ask::Query, done_by, "query");
        let got = company.ask(&asked, Timestamp::from_millis(0)).await;
        assert_eq!(word(&got), wanted, "a query about {done_by}, answered {effect:?}");
    }
}

#[tokio::test]
async fn an_answer_that_contradicts_the_payment_is_unknown() {
    let table = [
        (Ask::Do, "capture", payment(Status::Authorized, 0, 0), "unknown"),
        (Ask::Do, "capture", payment(Status::Captured, 100, 0), "done"),
        (Ask::Undo, "void", payment(Status::Authorized, 0, 0), "unknown"),
        (Ask::Undo, "void", payment(Status::Captured, 100, 0), "refused"),
        (Ask::Undo, "void", payment(Status::Voided, 0, 0), "done"),
        (Ask::Undo, "void", payment(Status::Expired, 0, 0), "done"),
        (Ask::Do, "burn", payment(Status::Captured, 100, 0), "refused"),
    ];
    for (ask, operation, effect, wanted) in table {
        let company = Company::new(Arc::new(Parrot::new(effect.clone())), 1_000);
        let got = company.ask(&request(ask, operation, operation), Timestamp::from_millis(0)).await;
        assert_eq!(word(&got), wanted, "{operation}, answered {effect:?}");
    }
}

/// Bug: a payment that the customer declined, or that expired, while its undo was on its way could not be given up, and the
/// saga was parked although there was nothing left to undo. The simulator found it.
#[tokio::test]
async fn a_payment_that_is_over_by_itself_needs_no_undo() {
    let cases = [
        (payment(Status::Declined, 0, 0), "done"),
        (payment(Status::Expired, 0, 0), "done"),
        (payment(Status::Voided, 0, 0), "done"),
        (payment(Status::Captured, 100, 0), "refused"),
        (payment(Status::Authorized, 0, 0), "refused"),
        (Effect::Unknown("no answer".into()), "unknown"),
        (Effect::NotSent("no connection".into()), "unknown"),
        (no(codes::NOT_FOUND), "refused"),
    ];
    for (is, wanted) in cases {
        let company = Company::new(Arc::new(Parrot(no("not-voidable"), is.clone())), 900_000);
        let result = company.ask(&request(Ask::Undo, "authorize", "void"), Timestamp::default()).await;
        assert_eq!(word(&result), wanted, "a void is refused and the payment is {is:?}: {result:?}");
    }
}

/// Bug: after a store came back from a backup, a lost answer was looked for under a key that the company knew from another
/// customer, and their payment was taken for this one.
#[tokio::test]
async fn what_a_company_says_of_another_payment_is_never_believed() {
    type Change = fn(&mut PaymentState, Money);
    let Effect::Done(ours) = payment(Status::Captured, 100, 100) else { unreachable!("it is done") };
    let ours = PaymentState { order: Some("order-1".into()), ..ours };
    let dollars = Money { minor: 100, currency: Currency::new("USD").expect("valid") };
    let changes: [(&str, Change); 4] = [
        ("another order", |state, _| state.order = Some("order-2".into())),
        ("another amount", |state, _| state.amount.minor = 101),
        ("another currency", |state, dollars| state.amount = dollars),
        ("another payment", |state, _| state.payment = PaymentId::new("p-2").expect("valid")),
    ];
    for operation in ["authorize", "capture", "refund"] {
        for ask in [Ask::Do, Ask::Query] {
            let asked = if ask == Ask::Query { "query" } else { operation };
            let asked = request(ask, operation, asked);
            let company = Company::new(Arc::new(Parrot::new(Effect::Done(ours.clone()))), 1_000);
            let now = Timestamp::from_millis(0);
            assert_eq!(word(&company.ask(&asked, now).await), "done", "{operation} {ask:?}");
            for (what, change) in changes {
                let mut state = ours.clone();
                change(&mut state, dollars);
                let company = Company::new(Arc::new(Parrot::new(Effect::Done(state))), 1_000);
                let got = company.ask(&asked, now).await;
                // What a capture or a refund is part of has an order and an amount of its own.
                let differs = operation == "authorize" || !matches!(what, "another order" | "another amount");
                assert_eq!(
                    word(&got),
                    if differs { "unknown" } else { "done" },
                    "{operation} {ask:?}, {what}"
                );
                if let Settlement::Unknown(why) = got {
                    assert!(why.contains("is not ours"), "{why}");
                }
            }
        }
    }
}

/// Bug: whatever was captured counted as this capture, so that of two captures of a payment the second was never missed.
#[tokio::test]
async fn of_captures_in_parts_each_is_told_by_what_is_captured() {
    use Status::{Captured, PartlyCaptured, PartlyRefunded};
    let table = [
        // The first of two: 40 of 100.
        ("40", "", payment(Status::Authorized, 0, 0), "absent"),
        ("40", "", payment(PartlyCaptured, 40, 0), "done"),
        // The second: the other 60.
        ("60", "40", payment(PartlyCaptured, 40, 0), "absent"),
        ("60", "40", payment(Captured, 100, 0), "done"),
        ("60", "40", payment(PartlyRefunded, 100, 30), "done"),
        // Somebody else captured, or the definition does not say what came before.
        ("60", "", payment(Captured, 100, 0), "unknown"),
        ("60", "", payment(PartlyCaptured, 40, 0), "absent"),
        // Taken whole, and the rest sent back.
        ("60", "", payment(PartlyRefunded, 100, 40), "done"),
        ("60", "some", payment(Captured, 100, 0), "unknown"),
    ];
    for (amount, before, effect, wanted) in table {
        let mut asked = request(Ask::Query, "capture", "query");
        asked.do_params.insert("amount", amount);
        asked.do_params.insert("captured_before", before);
        let company = Company::new(Arc::new(Parrot::new(effect.clone())), 1_000);
        let got = company.ask(&asked, Timestamp::from_millis(0)).await;
        assert_eq!(word(&got), wanted, "{amount} after {before:?}, answered {effect:?}: {got:?}");
    }
}

/// A company that keeps whether a capture was said to be the last.
#[derive(Debug, Default)]
struct Listener(std::sync::Mutex<Vec<bool>>);

impl PaymentCompany for Listener {
    fn name(&self) -> &'static str {
        "listener"
    }
    fn authorize<'a>(&'a self, _: &'a AuthorizeRequest) -> Asking<'a> {
        Box::pin(async { no("not-asked") })
    }
    fn capture<'a>(&'a self, request: &'a CaptureRequest) -> Asking<'a> {
        self.0.lock().expect("no panic").push(request.last);
        Box::pin(async { payment(Status::Captured, 100, 0) })
    }
    fn void<'a>(&'a self, _: &'a VoidRequest) -> Asking<'a> {
        Box::pin(async { no("not-asked") })
    }
    fn refund<'a>(&'a self, _: &'a RefundRequest) -> Asking<'a> {
        Box::pin(async { no("not-asked") })
    }
    fn query<'a>(&'a self, _: &'a Query) -> Asking<'a> {
        Box::pin(async { no("not-asked") })
    }
    fn notice(&self, _: &HeaderMap, _: &[u8], _: i64) -> Result<Notice, NoticeError> {
        Err(NoticeError::NoSecret)
    }
}

/// Bug: every capture was the last one, whatever the definition wanted.
#[tokio::test]
async fn a_definition_says_whether_more_captures_follow() {
    let listener = Arc::new(Listener::default());
    let company = Company::new(listener.clone(), 1_000);
    for (last, wanted) in [("", "done"), ("yes", "done"), ("no", "done"), ("perhaps", "refused")] {
        let mut asked = request(Ask::Do, "capture", "capture");
        asked.params.insert("last", last);
        assert_eq!(word(&company.ask(&asked, Timestamp::from_millis(0)).await), wanted, "{last:?}");
    }
    assert_eq!(*listener.0.lock().expect("no panic"), [true, true, false]);
}

/// Bug: a refusal of a megabyte went into the log as it came, and an address that was too long with it.
#[tokio::test]
async fn a_long_text_from_outside_is_cut_before_anything_keeps_it() {
    let long = "한".repeat(400_000);
    let says = [
        Effect::Refused(Refused { code: "no".into(), sentence: long.clone() }),
        Effect::Unknown(long.clone()),
        Effect::NotSent(long.clone()),
    ];
    for effect in says {
        let company = Company::new(Arc::new(Parrot::new(effect)), 1_000);
        let got = company.ask(&request(Ask::Do, "refund", "refund"), Timestamp::from_millis(0)).await;
        let (Settlement::Refused(why) | Settlement::Unknown(why) | Settlement::NotSent(why)) = got else {
            panic!("{got:?}");
        };
        let max = limits::SAGA_REASON_BYTES_MAX;
        assert!(why.len() <= max && why.len() > max - 4 && why.ends_with('한'), "{} bytes", why.len());
    }
    let Effect::Done(waits) = payment(Status::RequiresCustomer, 0, 0) else { unreachable!("it is done") };
    for (length, there) in [(limits::SAGA_FIELD_BYTES_MAX, true), (limits::SAGA_FIELD_BYTES_MAX + 1, false)] {
        let redirect = format!("{:x<length$}", "https://");
        let waits = PaymentState { redirect: Some(redirect), ..waits.clone() };
        let company = Company::new(Arc::new(Parrot::new(Effect::Done(waits))), 1_000);
        let got = company.ask(&request(Ask::Do, "authorize", "authorize"), Timestamp::from_millis(0)).await;
        let Settlement::Awaiting(fields, _) = got else { panic!("{got:?}") };
        assert_eq!(fields.get("redirect").is_some(), there, "{length} bytes");
        assert!(fields.check().is_ok(), "{length} bytes");
    }
}

/// Bug: a service that answers 409 because the try before is still under way had its step marked as not done.
#[tokio::test]
async fn a_conflict_with_the_try_before_is_no_refusal() {
    let table = [
        (Ask::Do, 1, 409, "{\"type\":\"full\"}", "refused"),
        (Ask::Do, 2, 409, "{\"type\":\"busy\"}", "unknown"),
        (Ask::Do, 2, 409, "{}", "unknown"),
        (Ask::Do, 2, 409, "{\"refused\":\"full\"}", "refused"),
        (Ask::Do, 2, 422, "{\"type\":\"bad\"}", "refused"),
        (Ask::Undo, 2, 409, "{}", "unknown"),
        (Ask::Undo, 2, 409, "{\"refused\":\"gone\"}", "refused"),
    ];
    for (ask, attempt, status, body, wanted) in table {
        let address = service(status, body).await;
        let secret = Secret::new("a-long-enough-key").expect("valid");
        let connection = Connection::new(&format!("http://{address}"), secret);
        let service = HttpService::new(&connection, "Bearer a-long-enough-key").expect("an address");
        let mut asked = request(ask, "book", "book");
        asked.open.attempt = attempt;
        let got = service.ask(&asked, Timestamp::from_millis(0)).await;
        assert_eq!(word(&got), wanted, "try {attempt} of {ask:?} answered {status} {body}: {got:?}");
    }
}

#[tokio::test]
async fn a_question_that_cannot_be_put_says_nothing() {
    let company = Company::new(Arc::new(Parrot::new(payment(Status::Captured, 100, 0))), 1_000);
    let mut asked = request(Ask::Query, "capture", "query");
    asked.params = [("payment", "not a payment")].into_iter().collect();
    assert_eq!(word(&company.ask(&asked, Timestamp::from_millis(0)).await), "unknown");
}

/// A service that answers every request the same.
async fn service(status: u16, body: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 4_096];
            let _read = stream.read(&mut head).await;
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
                 connection: close\r\n\r\n{body}"
            );
            let _written = stream.write_all(answer.as_bytes()).await;
        }
    });
    address
}

/// Bug: a query that was refused, for want of a right, counted as a refusal of what it was about.
#[tokio::test]
async fn what_an_http_service_says_means_what_the_table_in_the_documents_says() {
    let table = [
        (Ask::Do, 200, "{\"booking\":\"b-1\"}", "done"),
        (Ask::Do, 202, "{\"waiting\":true,\"seconds\":5}", "awaiting"),
        (Ask::Do, 409, "{\"type\":\"full\"}", "refused"),
        (Ask::Do, 404, "{}", "refused"),
        (Ask::Do, 401, "{}", "not sent"),
        (Ask::Do, 429, "{}", "not sent"),
        (Ask::Do, 500, "{}", "unknown"),
        (Ask::Do, 200, "<html>", "unknown"),
        (Ask::Query, 200, "{\"booking\":\"b-1\"}", "done"),
        (Ask::Query, 200, "{\"refused\":\"full\"}", "refused"),
        (Ask::Query, 404, "{}", "absent"),
        (Ask::Query, 403, "{}", "unknown"),
        (Ask::Query, 400, "{\"type\":\"bad\"}", "unknown"),
        (Ask::Undo, 200, "{}", "done"),
        (Ask::Undo, 404, "{}", "done"),
        (Ask::Undo, 409, "{}", "refused"),
        (Ask::Undo, 503, "{}", "unknown"),
    ];
    for (ask, status, body, wanted) in table {
        let address = service(status, body).await;
        let secret = Secret::new("a-long-enough-key").expect("valid");
        let connection = Connection::new(&format!("http://{address}"), secret);
        let service = HttpService::new(&connection, "Bearer a-long-enough-key").expect("an address");
        let got = service.ask(&request(ask, "book", "book"), Timestamp::from_millis(0)).await;
        assert_eq!(word(&got), wanted, "{ask:?} answered {status} {body}: {got:?}");
    }
}
