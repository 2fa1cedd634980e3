//! A checkout over real processes: the server, the simulated payment company, its card page and its signed webhooks, and a
//! kill -9 while the shopper is at the card page.

mod support;

use serde_json::{Value, json};
use std::path::Path;
use support::company::Place;
use support::{Http, until};

const CHECKOUT: &str = include_str!("../../../examples/sagas/checkout.toml");

fn post(http: &mut Http, path: &str, body: &Value) -> Value {
    let reply = http.post(path, body).expect("an answer");
    assert!((200..300).contains(&reply.status), "{path}: {reply:?}");
    serde_json::from_slice(&reply.body).unwrap_or_default()
}

fn saga(http: &mut Http, no: u64) -> Value {
    http.get(&format!("/v1/sagas/{no}")).expect("an answer").expect(200)
}

#[test]
fn a_shopper_pays_at_the_card_page_while_the_server_is_killed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let place = Place::make(Path::new(env!("CARGO_BIN_EXE_banyan")), folder.path());
    let (server, company) = (place.start_server(), place.start_company());
    let (at, data) = (company.address, place.data());

    let mut http = server.operator();
    let set = http.send("PUT", "/v1/stock/A", &[], br#"{"on_hand":5,"reason":"count"}"#).expect("an answer");
    set.expect(200);
    for id in ["company:receivable", "shop:sales"] {
        post(&mut http, "/v1/ledger/accounts", &json!({"id": id, "currency": "KRW", "rule": "free"}));
    }
    let toml = [("content-type", "application/toml")];
    let defined = http.send("POST", "/v1/sagas/definitions", &toml, CHECKOUT.as_bytes()).expect("an answer");
    assert!(defined.status < 300, "{defined:?}");
    let input =
        json!({"lines": "A*2", "member": "m1", "amount": "9700", "currency": "KRW", "method": "page"});
    let began = post(&mut http, "/v1/sagas", &json!({"name": "checkout", "key": "order-1", "input": input}));
    let no = began["saga"].as_u64().expect("a number");

    // The shopper is sent to the company's page, and the order says so.
    let authorize = |saga: &Value| {
        let steps = saga["steps"].as_array().cloned().unwrap_or_default();
        steps.into_iter().find(|step| step["name"] == "authorize").unwrap_or_default()
    };
    let page = until("the company has a page for the shopper", || {
        let redirect = authorize(&saga(&mut http, no))["output"]["redirect"].as_str().map(str::to_owned);
        redirect.filter(|page| !page.is_empty())
    });
    server.kill();
    let server = place.start_server();
    let mut http = server.operator();
    assert_eq!(saga(&mut http, no)["phase"], "running", "a kill -9 loses nothing");

    // A webhook that nobody signed is not taken; a service that nobody configured tells nothing.
    let forged = http.post("/v1/webhooks/company", &json!({"payment": "x"})).expect("an answer");
    forged.expect_problem(400, "invalid-request");
    http.post("/v1/webhooks/nobody", &json!({})).expect("an answer").expect_problem(404, "not-found");

    let path = page.strip_prefix(&format!("http://{at}")).expect("the company's page").to_owned();
    let mut shopper = Http::to(at);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let card = b"number=4242+4242+4242+4242&expiry=12%2F40&cvc=123";
    let paid = shopper.send("POST", &path, &form, card).expect("an answer");
    assert!(paid.status < 400, "{paid:?}");

    // Nobody asks: the company tells, the server asks back, and the order is paid long before its half hour is over.
    until("the order is paid", || (saga(&mut http, no)["phase"] == "completed").then_some(()));
    let stock = http.get("/v1/stock/A").expect("an answer").expect(200);
    assert_eq!((&stock["on_hand"], &stock["held"]), (&json!(3), &json!(0)));
    let sales = http.get("/v1/ledger/accounts/shop:sales").expect("an answer").expect(200);
    assert_eq!(sales["balance"], 9_700);
    let said = server.stop();
    assert!(!said.contains("4242"), "no card number in what the server says");
    let log = std::fs::read_dir(data.join("log")).expect("the log").flatten();
    for file in log {
        let bytes = std::fs::read(file.path()).unwrap_or_default();
        assert!(!bytes.windows(16).any(|window| window == b"4242424242424242"), "no card number in the log");
    }
}
