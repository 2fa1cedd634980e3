//! `banyan demo`: one command, and a shop to buy in.

mod support;

use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use support::{Http, Server, company, until};

const BINARY: &str = env!("CARGO_BIN_EXE_banyan");

#[test]
fn one_command_is_enough_to_buy_something_and_it_is_there_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (listen, at) = (company::free().to_string(), company::free().to_string());
    let data = folder.path().join("demo");
    let start = || {
        let demo = ["demo", "--listen", &listen, "--company", &at, "--data"];
        Server::start_as(Path::new(BINARY), &demo, &data, &data.join("store"), &[])
    };
    let server = start();
    let mut http = server.operator();
    let page = Http::to(server.address).get("/shop").expect("an answer");
    assert_eq!(page.status, 200);
    // The sample is loaded over the API once the server serves; points for the sample's members come last.
    until("the members have points", || {
        let points = http.get("/v1/ledger/accounts/points:sora").expect("an answer");
        (points.status == 200).then_some(())
    });
    let products = http.get("/v1/products?limit=500").expect("an answer").expect(200);
    let products = products["products"].as_array().cloned().expect("a list");
    assert!(products.len() >= 50, "{} products", products.len());
    let product = &products[0]["product"];
    let order = json!({"member": "mina", "lines": [{"product": product, "quantity": 1}], "method": "tok_ok"})
        .to_string();
    let placed = http.send("POST", "/v1/orders", &[("idempotency-key", "one")], order.as_bytes());
    let placed = placed.expect("an answer").expect(201);
    let path = format!("/v1/orders/{}", placed["order"].as_str().expect("a number"));
    let look = |http: &mut Http| http.get(&path).expect("an answer").expect(200);
    until("the order is paid", || (look(&mut http)["state"] == "paid").then_some(()));
    server.stop();

    let server = start();
    let again = look(&mut server.operator());
    assert_eq!((&again["state"], &again["payment"].is_string()), (&Value::from("paid"), &true));
    server.stop();
}

#[test]
fn a_free_port_is_no_place_to_be_found_at() {
    let said = Command::new(BINARY).args(["demo", "--listen", "127.0.0.1:0"]).output().expect("it starts");
    assert_eq!(said.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&said.stderr).contains("name fixed ports"));
}
