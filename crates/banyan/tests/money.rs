//! Money in and out by the shipped definitions, over real processes: top-ups, points, the company's payouts, merchants; and the
//! statement of an account.

#[path = "support/shop.rs"]
mod shop;
mod support;

use serde_json::{Value, json};
use shop::{Shop, define};
use std::path::Path;
use support::{run, run_well, text};

const BINARY: &str = env!("CARGO_BIN_EXE_banyan");
const TOP_UP: &str = include_str!("../../../examples/sagas/top-up.toml");
const SETTLEMENT: &str = include_str!("../../../examples/sagas/settlement.toml");
const MERCHANT: &str = include_str!("../../../examples/sagas/merchant-settlement.toml");

fn open(folder: &Path) -> Shop {
    let mut shop = Shop::open(folder);
    for id in ["company:receivable", "shop:sales", "bank:main", "shop:fees"] {
        shop.open_account(id, "KRW", "free");
    }
    shop.open_account("shop:points", "PTS", "free");
    for definition in [TOP_UP, SETTLEMENT, MERCHANT] {
        define(&mut shop.http, definition);
    }
    shop
}

/// The statement of an account, as JSON.
fn statement(shop: &Shop, account: &str, more: &[&str]) -> Value {
    let args =
        [&["ledger", "statement", "--data", text(&shop.server.data), "--json", "--account", account], more]
            .concat();
    serde_json::from_str(&run_well(Path::new(BINARY), &args)).expect("JSON")
}

#[test]
fn the_definitions_are_sound() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/sagas/");
    let names =
        ["top-up", "settlement", "merchant-settlement", "repair-refund", "repair-book", "repair-reverse"];
    let files = names.map(|name| format!("{folder}{name}.toml"));
    let mut args = vec!["saga", "lint"];
    args.extend(files.iter().map(String::as_str));
    let said = run_well(Path::new(BINARY), &args);
    assert_eq!(said.matches("looked into, all with at most").count(), names.len(), "{said}");
}

#[test]
fn a_top_up_gives_what_was_paid_and_nothing_if_it_was_not() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut shop = open(folder.path());
    let input =
        json!({"member": "m-1", "amount": "30000", "currency": "KRW", "method": "tok_ok", "points": "300"});
    let done = shop.run_saga("top-up", "topup-1", &input);
    assert_eq!(shop.run_saga("top-up", "topup-1", &input)["saga"], done["saga"], "one key, one charge");
    assert_eq!((shop.balance("credit:m-1"), shop.balance("points:m-1")), (30_000, 300));
    assert_eq!(shop.balance("company:receivable"), -30_000);
    let credit = shop.http.get("/v1/ledger/accounts/credit:m-1").expect("an answer").expect(200);
    assert_eq!((&credit["rule"], &credit["available"]), (&json!("debits-within-credits"), &json!(30_000)));
    // A second time into the accounts that are there now, and without points.
    let input = json!({"member": "m-1", "amount": "5000", "currency": "KRW", "method": "tok_ok"});
    shop.run_saga("top-up", "topup-2", &input);
    assert_eq!((shop.balance("credit:m-1"), shop.balance("points:m-1")), (35_000, 300));
    let input = json!({"member": "m-2", "amount": "5000", "currency": "KRW", "method": "tok_declined"});
    let declined = shop.begin("top-up", "topup-3", &input);
    shop.saga_until(declined, "it turns back", |saga| saga["phase"] == "compensated");
    let nobody = shop.http.get("/v1/ledger/accounts/credit:m-2").expect("an answer");
    nobody.expect_problem(404, "account-not-found");
    // Points can be given without any money: a call of the service, made once for its key.
    let account = json!({"id": "points:m-1", "currency": "PTS", "rule": "debits-within-credits"});
    let grant = json!({"reference": "birthday-m-1",
        "transfers": [{"kind": "post", "debit": "shop:points", "credit": account, "amount": 1_000}]});
    for status in [201, 200] {
        let headers = [("idempotency-key", "birthday-m-1-2026")];
        let granted = shop.http.send("POST", "/v1/ledger/transfers", &headers, grant.to_string().as_bytes());
        granted.expect("an answer").expect(status);
    }
    assert_eq!(shop.balance("points:m-1"), 1_300);
}

#[test]
fn the_company_pays_out_and_merchants_are_paid() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut shop = open(folder.path());
    for (order, amount) in [("order-1", "60000"), ("order-2", "40000")] {
        shop.run_saga("charge", order, &json!({"amount": amount}));
    }
    let payout = json!({"account": "company:receivable", "bank": "bank:main", "net": "97200", "fees": "shop:fees", "fee": "2800"});
    let first = shop.run_saga("settlement", "po_2026-11-27", &payout);
    assert_eq!(
        shop.run_saga("settlement", "po_2026-11-27", &payout)["saga"],
        first["saga"],
        "a payout is booked once"
    );
    assert_eq!(
        ["company:receivable", "bank:main", "shop:fees", "shop:sales"].map(|id| shop.balance(id)),
        [0, -97_200, -2_800, 100_000]
    );
    // No such bank account: nothing of it stays, the fee neither.
    let wrong = json!({"account": "company:receivable", "bank": "bank:none", "net": "1", "fees": "shop:fees", "fee": "1"});
    let refused = shop.begin("settlement", "po_wrong", &wrong);
    let refused = shop.saga_until(refused, "it turns back", |saga| saga["phase"] == "compensated");
    assert_eq!(refused["cause"]["why"], "account-not-found", "{refused:#}");
    assert_eq!(shop.balance("shop:fees"), -2_800);

    let paid = json!({"merchant": "kim", "gross": "40000", "commission": "4000", "net": "36000", "currency": "KRW", "bank": "bank:main"});
    shop.run_saga("merchant-settlement", "wire-1", &paid);
    assert_eq!(
        ["payable:kim", "shop:commission", "shop:sales", "bank:main"].map(|id| shop.balance(id)),
        [0, 4_000, 60_000, -61_200]
    );
    // More than is owed is never paid out.
    let much = json!({"merchant": "kim", "gross": "10000", "commission": "1000", "net": "9001", "currency": "KRW", "bank": "bank:main"});
    let refused = shop.begin("merchant-settlement", "wire-2", &much);
    let refused = shop.saga_until(refused, "it turns back", |saga| saga["phase"] == "compensated");
    assert_eq!(refused["cause"]["why"], "insufficient-funds", "{refused:#}");
    assert_eq!(
        ["payable:kim", "shop:commission", "shop:sales"].map(|id| shop.balance(id)),
        [0, 4_000, 60_000]
    );
    run_well(Path::new(BINARY), &["verify", "--data", text(&shop.server.data)]);

    // The account's statement: every movement, from any position, coming to what the server says.
    let receivable = statement(&shop, "company:receivable", &[]);
    let moves = |statement: &Value| -> Vec<(i64, i64, i64)> {
        let number = |one: &Value, name: &str| one[name].as_i64().expect("a number");
        let all = statement["movements"].as_array().expect("a list");
        all.iter().map(|one| (number(one, "debit"), number(one, "credit"), number(one, "balance"))).collect()
    };
    assert_eq!(
        moves(&receivable)[..4],
        [(60_000, 0, -60_000), (40_000, 0, -100_000), (0, 2_800, -97_200), (0, 97_200, 0)]
    );
    assert_eq!(receivable["closing_balance"], 0);
    let third = receivable["movements"][2]["seq"].to_string();
    let rest = statement(&shop, "company:receivable", &["--from", &third, "--to", &third]);
    assert_eq!((&rest["opening_balance"], &rest["closing_balance"]), (&json!(-100_000), &json!(-97_200)));
    assert_eq!(moves(&rest), [(0, 2_800, -97_200)]);
    assert_eq!(
        (&rest["movements"][0]["other"], &rest["movements"][0]["reference"]),
        (&json!("shop:fees"), &json!("po_2026-11-27"))
    );
    let data = text(&shop.server.data).to_owned();
    let csv = run_well(
        Path::new(BINARY),
        &["ledger", "statement", "--data", &data, "--account", "payable:kim", "--csv"],
    );
    let lines: Vec<&str> = csv.lines().collect();
    assert!(lines[0].starts_with("seq,time,transfer,kind,") && lines[0].ends_with(",currency"), "{csv}");
    assert!(lines[1].contains(",posted,,shop:sales,wire-1,saga,0,40000,40000,0,KRW"), "{csv}");
    let none = run(Path::new(BINARY), &["ledger", "statement", "--data", &data, "--account", "payable:lee"]);
    assert_eq!(none.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&none.stderr).contains("payable:lee"), "{none:?}");
}

#[test]
fn a_statement_follows_what_is_set_aside() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut shop = open(folder.path());
    let mut make = |key: &str, transfers: Value| {
        let body = json!({"reference": key, "transfers": transfers}).to_string();
        let headers = [("idempotency-key", key)];
        let made =
            shop.http.send("POST", "/v1/ledger/transfers", &headers, body.as_bytes()).expect("an answer");
        made.expect(201)["transfers"][0].as_str().expect("a name").to_owned()
    };
    make("fill", json!([{"kind": "post", "debit": "bank:main", "credit": "shop:sales", "amount": 1_000}]));
    let hold = |amount: u32| json!([{"kind": "hold", "debit": "shop:sales", "credit": "bank:main", "amount": amount, "hold_seconds": 3_600}]);
    let (one, two, _open) = (make("h1", hold(300)), make("h2", hold(200)), make("h3", hold(50)));
    make("c1", json!([{"kind": "capture", "of": one, "amount": 100}]));
    make("c2", json!([{"kind": "capture", "of": one, "amount": 150, "last": true}]));
    make("v1", json!([{"kind": "void", "of": two}]));
    let statement = statement(&shop, "shop:sales", &[]);
    let rows: Vec<(&str, i64, i64)> = (statement["movements"].as_array().expect("a list").iter())
        .map(|one| {
            (
                one["kind"].as_str().expect("a word"),
                one["balance"].as_i64().expect("a number"),
                one["pending"].as_i64().expect("a number"),
            )
        })
        .collect();
    let expected = [
        ("posted", 1_000, 0),
        ("held", 1_000, -300),
        ("held", 1_000, -500),
        ("held", 1_000, -550),
        ("captured", 900, -450),
        ("captured", 750, -250),
        ("voided", 750, -50),
    ];
    assert_eq!(rows, expected);
    let account = shop.http.get("/v1/ledger/accounts/shop:sales").expect("an answer").expect(200);
    assert_eq!(
        (&account["balance"], &account["debits_pending"]),
        (&statement["closing_balance"], &statement["debits_pending"])
    );
}
