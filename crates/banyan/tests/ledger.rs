//! The ledger over HTTP: linked transfers, many at the same instant, refunds, roles, and the books added up from the log.

mod support;

use serde_json::{Value, json};
use std::path::Path;
use std::sync::Barrier;
use support::{Http, Reply, Server, run, run_well, text, until};

const BINARY: &str = env!("CARGO_BIN_EXE_banyan");
const ACCOUNTS: &str = "/v1/ledger/accounts";
const TRANSFERS: &str = "/v1/ledger/transfers";

fn open(http: &mut Http, id: &str, rule: &str) -> Reply {
    http.post(ACCOUNTS, &json!({"id": id, "currency": "PTS", "rule": rule})).expect("an answer")
}

fn transfer(http: &mut Http, key: &str, transfers: Value) -> Reply {
    let mut body = json!({"reference": "order-1"});
    body["transfers"] = transfers;
    http.send("POST", TRANSFERS, &[("idempotency-key", key)], body.to_string().as_bytes()).expect("an answer")
}

fn post(debit: &str, credit: &str, amount: i64) -> Value {
    json!({"kind": "post", "debit": debit, "credit": credit, "amount": amount})
}

#[track_caller]
fn account(http: &mut Http, id: &str) -> Value {
    http.get(&format!("{ACCOUNTS}/{id}")).expect("an answer").expect(200)
}

/// A server on which `points:m1` has 1,000 points.
fn shop(folder: &Path, more: &[&str]) -> Server {
    let server = Server::start(Path::new(BINARY), &folder.join("data"), more);
    let mut http = server.operator();
    open(&mut http, "shop:points", "free").expect(201);
    open(&mut http, "points:m1", "debits-within-credits").expect(201);
    transfer(&mut http, "fund", json!([post("shop:points", "points:m1", 1_000)])).expect(201);
    server
}

fn all_at_once(
    server: &Server,
    clients: usize,
    ask: impl Fn(usize, &mut Http) -> Reply + Sync,
) -> Vec<Reply> {
    let (key, barrier) = (server.operator_key(), Barrier::new(clients));
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|client| {
                let (key, barrier, ask) = (&key, &barrier, &ask);
                scope.spawn(move || {
                    let mut http = server.http(key);
                    http.get("/healthz").expect("the server runs");
                    barrier.wait();
                    ask(client, &mut http)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    })
}

#[test]
fn linked_transfers_are_made_together_or_not_at_all() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = shop(folder.path(), &[]);
    let mut http = server.operator();
    let missing = json!({"id": "points:m2", "currency": "PTS", "rule": "debits-within-credits"});
    let group = json!([
        {"kind": "post", "debit": "points:m1", "credit": missing, "amount": 600},
        post("points:m1", "shop:points", 401),
    ]);
    transfer(&mut http, "a", group).expect_problem(402, "insufficient-funds");
    assert_eq!(account(&mut http, "points:m1")["balance"], 1_000);
    let nothing = http.get(&format!("{ACCOUNTS}/points:m2")).expect("an answer");
    nothing.expect_problem(404, "account-not-found");
    // The refusal is not remembered; and a transfer sees those before it.
    let group = json!([
        {"kind": "post", "debit": "points:m1", "credit": missing, "amount": 600},
        post("points:m2", "shop:points", 600),
        {"kind": "hold", "debit": "points:m1", "credit": "shop:points", "amount": 400, "hold_seconds": 60},
    ]);
    let made = transfer(&mut http, "a", group.clone()).expect(201);
    assert_eq!(made["transfers"], json!(["t-2", "t-3", "t-4"]));
    assert!(made["expires_at"].is_string(), "{made}");
    let again = transfer(&mut http, "a", group);
    assert_eq!((again.expect(200), again.headers.contains_key("idempotent-replayed")), (made, true));
    transfer(&mut http, "a", json!([post("points:m1", "shop:points", 1)]))
        .expect_problem(422, "idempotency-key-reused");
    let m1 = account(&mut http, "points:m1");
    assert_eq!(
        (&m1["balance"], &m1["available"], &m1["debits_pending"]),
        (&json!(400), &json!(0), &json!(400))
    );
    // Part of the hold is captured, the rest is given up.
    transfer(&mut http, "b", json!([{"kind": "capture", "of": "t-4", "amount": 401, "last": true}]))
        .expect_problem(422, "capture-exceeds");
    transfer(&mut http, "b", json!([{"kind": "capture", "of": "t-4", "amount": 150, "last": true}]))
        .expect(201);
    transfer(&mut http, "c", json!([{"kind": "void", "of": "t-4"}]))
        .expect_problem(409, "transfer-not-pending");
    let m1 = account(&mut http, "points:m1");
    assert_eq!(
        (&m1["balance"], &m1["available"], &m1["debits_pending"]),
        (&json!(250), &json!(250), &json!(0))
    );
    run_well(Path::new(BINARY), &["verify", "--data", text(&server.data)]);
    server.stop();
}

#[test]
fn an_account_that_covers_ten_of_a_hundred_pays_ten() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = shop(folder.path(), &[]);
    let replies = all_at_once(&server, 100, |client, http| {
        transfer(http, &format!("k{client}"), json!([post("points:m1", "shop:points", 100)]))
    });
    assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), 10);
    for reply in replies.iter().filter(|reply| reply.status != 201) {
        reply.expect_problem(402, "insufficient-funds");
    }
    let mut http = server.operator();
    assert_eq!(account(&mut http, "points:m1")["balance"], 0);
    // What the server keeps is what the log adds up to, while it runs and after its end.
    let live = http.get("/v1/ledger/trial-balance").expect("an answer").expect(200);
    assert_eq!((&live["balanced"], &live["next"]), (&json!(true), &Value::Null));
    assert_eq!(live["currencies"][0]["debits_posted"], 2_000);
    let first = http.get("/v1/ledger/trial-balance?limit=1").expect("an answer").expect(200);
    assert_eq!((&first["accounts"][0]["id"], &first["next"]), (&json!("shop:points"), &json!(1)));
    let second = http.get("/v1/ledger/trial-balance?limit=1&after=1").expect("an answer").expect(200);
    assert_eq!((&second["accounts"][0]["id"], &second["next"]), (&json!("points:m1"), &Value::Null));
    let data = server.data.clone();
    let balance = |more: &[&str]| -> Value {
        let mut args = vec!["ledger", "trial-balance", "--json", "--data", text(&data)];
        args.extend(more);
        serde_json::from_str(&run_well(Path::new(BINARY), &args)).expect("JSON")
    };
    let offline = balance(&[]);
    for field in ["balanced", "currencies", "accounts", "seq"] {
        assert_eq!(offline[field], live[field], "{field}");
    }
    let funded = transfer(&mut http, "fund", json!([post("shop:points", "points:m1", 1_000)])).expect(200);
    let at = funded["seq"].to_string();
    let before = balance(&["--at", &at]);
    assert_eq!((&before["seq"], &before["accounts"][1]["balance"]), (&funded["seq"], &json!(1_000)));
    let table = run_well(Path::new(BINARY), &["ledger", "trial-balance", "--data", text(&data)]);
    assert!(table.contains("points:m1") && table.contains("Debits equal credits"), "{table}");
    let beyond = run(Path::new(BINARY), &["ledger", "trial-balance", "--at", "9999", "--data", text(&data)]);
    assert_eq!(beyond.status.code(), Some(2), "a position that does not exist");
    // And what a server knows after a crash.
    server.kill();
    let server = Server::start(Path::new(BINARY), &data, &[]);
    let after = server.operator().get("/v1/ledger/trial-balance").expect("an answer").expect(200);
    for field in ["balanced", "currencies", "accounts"] {
        assert_eq!(after[field], live[field], "{field}");
    }
    let again = transfer(&mut server.operator(), "fund", json!([post("shop:points", "points:m1", 1_000)]));
    assert_eq!(again.expect(200), funded);
    server.stop();
}

#[test]
fn one_key_moves_money_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = shop(folder.path(), &[]);
    let replies = all_at_once(&server, 50, |_, http| {
        transfer(http, "once", json!([post("points:m1", "shop:points", 100)]))
    });
    assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), 1);
    for reply in &replies {
        assert!(matches!(reply.status, 200 | 201), "{}", reply.text());
        assert_eq!(reply.text(), replies[0].text(), "every answer is the same, byte for byte");
    }
    assert_eq!(account(&mut server.operator(), "points:m1")["balance"], 900);
    server.stop();
}

#[test]
fn a_refund_never_gives_back_more_than_is_left() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = shop(folder.path(), &[]);
    let mut http = server.operator();
    let paid = json!([{"kind": "post", "debit": "points:m1", "credit": "shop:points", "amount": 500, "refundable": true}]);
    let paid = transfer(&mut http, "pay", paid).expect(201)["transfers"][0].clone();
    let refund = |amount: i64| json!([{"kind": "refund", "of": paid, "amount": amount}]);
    transfer(&mut http, "r1", refund(300)).expect(201);
    transfer(&mut http, "r2", refund(201)).expect_problem(422, "refund-exceeds");
    transfer(&mut http, "r3", json!([{"kind": "reverse", "of": paid}])).expect_problem(422, "refund-exceeds");
    transfer(&mut http, "r2", refund(200)).expect(201);
    transfer(&mut http, "r4", refund(1)).expect_problem(422, "refund-exceeds");
    assert_eq!(account(&mut http, "points:m1")["balance"], 1_000);
    // A transfer that was not made to be refunded is not.
    let plain = transfer(&mut http, "plain", json!([post("points:m1", "shop:points", 10)])).expect(201);
    let back = json!([{"kind": "refund", "of": plain["transfers"][0], "amount": 1}]);
    transfer(&mut http, "r5", back).expect_problem(409, "not-refundable");
    server.stop();
}

#[test]
fn what_is_wrong_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = shop(folder.path(), &[]);
    let mut http = server.operator();
    let body = json!({"reference": "o", "transfers": [post("points:m1", "shop:points", 1)]});
    http.post(TRANSFERS, &body).expect("an answer").expect_problem(400, "idempotency-key-required");
    let mut refused = |transfers: Value, status: u16, slug: &str| {
        transfer(&mut http, "wrong", transfers).expect_problem(status, slug);
    };
    refused(json!([]), 400, "invalid-request");
    refused(json!(vec![post("points:m1", "shop:points", 1); 65]), 400, "invalid-request");
    refused(json!([{"kind": "steal", "of": "t-1"}]), 400, "invalid-request");
    refused(json!([{"kind": "void", "of": "t-1", "extra": 1}]), 400, "invalid-request");
    refused(json!([post("points:m1", "shop:points", 0)]), 422, "amount-not-positive");
    refused(json!([post("points:m1", "shop:points", -5)]), 422, "amount-not-positive");
    refused(json!([post("points:m1", "points:m1", 5)]), 422, "same-account");
    refused(json!([post("points:m1", "nobody", 5)]), 404, "account-not-found");
    refused(json!([{"kind": "void", "of": "t-999"}]), 404, "transfer-not-found");
    refused(json!([{"kind": "void", "of": "999"}]), 404, "transfer-not-found");
    let too_long = json!([{"kind": "hold", "debit": "points:m1", "credit": "shop:points", "amount": 1, "hold_seconds": 2_592_001}]);
    refused(too_long, 400, "invalid-request");
    let won = json!({"id": "shop:won", "currency": "KRW", "rule": "free"});
    http.post(ACCOUNTS, &won).expect("an answer").expect(201);
    http.post(ACCOUNTS, &won).expect("an answer").expect(200);
    open(&mut http, "shop:won", "free").expect_problem(409, "account-exists");
    open(&mut http, "a b", "free").expect_problem(400, "invalid-request");
    open(&mut http, "a/b%c", "free").expect(201);
    assert_eq!(account(&mut http, "a%2Fb%25c")["id"], "a/b%c");
    transfer(&mut http, "won", json!([post("points:m1", "shop:won", 5)]))
        .expect_problem(422, "currency-mismatch");
    server.stop();
}

#[test]
fn each_role_does_what_it_may() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "a secret of the shop with 32 bytes or more").expect("written");
    let server = shop(folder.path(), &["--jwt-hs256-secret", text(&secret)]);
    let data = text(&server.data);
    let key = |role: &str| run_well(Path::new(BINARY), &["key", "create", "--role", role, "--data", data]);
    let (service, auditor) = (key("service"), key("auditor"));
    let token = ["key", "token", "--member", "m1", "--secret-file", text(&secret)];
    let token = run_well(Path::new(BINARY), &token);
    let [mut service, mut auditor, mut shopper] =
        [&service, &auditor, &token].map(|key| server.http(key.trim()));
    until("the server takes the keys", || {
        let taken = |http: &mut Http| http.get("/v1/campaigns").expect("an answer").status == 200;
        (taken(&mut service) && taken(&mut auditor)).then_some(())
    });
    open(&mut service, "credit:m1", "debits-within-credits").expect(201);
    transfer(&mut service, "s", json!([post("points:m1", "shop:points", 1)])).expect(201);
    for http in [&mut auditor, &mut shopper] {
        open(http, "credit:m9", "free").expect_problem(403, "forbidden");
        transfer(http, "x", json!([post("points:m1", "shop:points", 1)])).expect_problem(403, "forbidden");
    }
    assert_eq!(account(&mut auditor, "shop:points")["balance"], -999);
    auditor.get("/v1/ledger/trial-balance").expect("an answer").expect(200);
    assert_eq!(account(&mut shopper, "points:m1")["balance"], 999);
    assert_eq!(account(&mut shopper, "credit:m1")["balance"], 0);
    for not_its_own in ["points:m2", "points:m11", "shop:points", "m1", "points:m1:x", "sales:m1"] {
        let reply = shopper.get(&format!("{ACCOUNTS}/{not_its_own}")).expect("an answer");
        reply.expect_problem(403, "forbidden");
    }
    shopper.get("/v1/ledger/trial-balance").expect("an answer").expect_problem(403, "forbidden");
    server
        .http("")
        .get("/v1/ledger/trial-balance")
        .expect("an answer")
        .expect_problem(401, "unauthenticated");
    server.stop();
}
