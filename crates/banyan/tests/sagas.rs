//! Sagas over HTTP and by the command line: one that completes, one that turns back, one that is parked.

mod support;

use serde_json::{Value, json};
use std::path::Path;
use support::{Http, Reply, Server, campaign, run, run_well, text, until};

const BINARY: &str = env!("CARGO_BIN_EXE_banyan");

/// Everything is done by the store itself. The company's account is the caller's to name: if it is missing, `charge` is refused.
const ORDER: &str = r#"
name = "order"
version = 1
at_risk = "amount"

[[step]]
name = "hold-coupon"
kind = "compensatable"
do = { local = "coupon.hold", coupon = "${input.coupon}", member = "m1", order = "${key}" }
undo = { local = "coupon.release", coupon = "${input.coupon}", member = "m1", order = "${key}" }

[[step]]
name = "hold-points"
kind = "compensatable"
do = { local = "pay.hold", debit = "points:m1", credit = "shop:points", amount = "${input.points}", currency = "PTS" }
undo = { local = "pay.void", transfer = "${hold-points.transfer}" }

[[step]]
name = "charge"
kind = "pivot"
do = { local = "pay.post", debit = "${input.company}", credit = "shop:sales", amount = "${input.amount}", currency = "KRW" }

[[step]]
name = "spend-points"
kind = "retriable"
do = { local = "pay.capture", transfer = "${hold-points.transfer}" }

[[step]]
name = "redeem-coupon"
kind = "retriable"
do = { local = "coupon.redeem", coupon = "${input.coupon}", member = "m1", order = "${key}" }
"#;

/// Its second step cannot be done while an account is missing, and there is no way back.
const BOOK: &str = r#"
name = "book"
version = 1

[[step]]
name = "take"
kind = "pivot"
do = { local = "pay.post", debit = "company", credit = "shop:sales", amount = "7", currency = "KRW" }

[[step]]
name = "settle"
kind = "retriable"
do = { local = "pay.post", debit = "clearing", credit = "shop:sales", amount = "7", currency = "KRW" }
"#;

/// Its step is somebody else's to do.
const OUTSIDE: &str = r#"
name = "outside"
version = 1

[[step]]
name = "hold-points"
kind = "compensatable"
do = { local = "pay.hold", debit = "points:m1", credit = "shop:points", amount = "10", currency = "PTS" }
undo = { local = "pay.void", transfer = "${hold-points.transfer}" }

[[step]]
name = "ask"
kind = "compensatable"
promises = ["idempotent", "tombstone"]
do = { service = "nobody-here", operation = "do" }
undo = { service = "nobody-here", operation = "undo" }
patience = { timeout = "1h", retry_first = "1h", retry_longest = "1h" }
"#;

fn define(http: &mut Http, text: &str) -> Reply {
    let headers = [("content-type", "application/toml")];
    http.send("POST", "/v1/sagas/definitions", &headers, text.as_bytes()).expect("an answer")
}

fn post(http: &mut Http, path: &str, body: &Value) -> Reply {
    http.post(path, body).expect("an answer")
}

fn account(http: &mut Http, id: &str) -> Value {
    http.get(&format!("/v1/ledger/accounts/{id}")).expect("an answer").expect(200)
}

fn open(http: &mut Http, id: &str, currency: &str, rule: &str) {
    post(http, "/v1/ledger/accounts", &json!({"id": id, "currency": currency, "rule": rule})).expect(201);
}

fn words<'a>(saga: &'a Value, field: &str) -> Vec<&'a str> {
    saga["steps"]
        .as_array()
        .expect("steps")
        .iter()
        .map(|step| step[field].as_str().expect("a word"))
        .collect()
}

/// A server on which member m1 has a coupon and 1,000 points, and the code of the coupon.
fn shop(folder: &Path) -> (Server, String) {
    let server = Server::start(Path::new(BINARY), &folder.join("data"), &[]);
    let mut http = server.operator();
    post(&mut http, "/v1/campaigns", &campaign("noon", &json!(10), 10)).expect(201);
    let coupon = post(&mut http, "/v1/campaigns/noon/coupons", &json!({"member": "m1"})).expect(201);
    open(&mut http, "bank", "PTS", "free");
    open(&mut http, "points:m1", "PTS", "debits-within-credits");
    open(&mut http, "company", "KRW", "free");
    let fund = json!({"reference": "fund", "transfers": [{"kind": "post", "debit": "bank", "credit": "points:m1", "amount": 1_000}]});
    let key = [("idempotency-key", "fund")];
    http.send("POST", "/v1/ledger/transfers", &key, fund.to_string().as_bytes())
        .expect("an answer")
        .expect(201);
    (server, coupon["code"].as_str().expect("a code").to_owned())
}

#[test]
fn a_saga_that_cannot_be_finished_leaves_nothing_held() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (server, code) = shop(folder.path());
    let mut http = server.operator();
    let defined = define(&mut http, ORDER).expect(201);
    assert_eq!((&defined["name"], &defined["newest"]), (&json!("order"), &json!(true)));
    define(&mut http, ORDER).expect(200);
    let start = |key: &str, company: &str| json!({"name": "order", "key": key, "input": {"coupon": code, "points": "300", "amount": "5000", "company": company}});
    let saga = post(&mut http, "/v1/sagas", &start("o1", "no-such-company")).expect(201);
    assert_eq!(saga["phase"], "compensated");
    assert_eq!(words(&saga, "state"), ["undone", "undone", "not-done", "waiting", "waiting"]);
    assert_eq!(saga["cause"], json!({"kind": "step", "step": "charge", "why": "account-not-found"}));
    let points = account(&mut http, "points:m1");
    assert_eq!((&points["debits_pending"], &points["available"]), (&json!(0), &json!(1_000)));
    // The key is used: another order, with a company that is there.
    let again = post(&mut http, "/v1/sagas", &start("o1", "company")).expect(200);
    assert_eq!((&again["saga"], &again["phase"]), (&saga["saga"], &json!("compensated")));
    let saga = post(&mut http, "/v1/sagas", &start("o2", "company")).expect(201);
    assert_eq!(saga["phase"], "completed", "{saga}");
    assert_eq!(words(&saga, "state"), ["done"; 5]);
    assert_eq!(saga["at_risk"], "5000");
    let points = account(&mut http, "points:m1");
    assert_eq!((&points["debits_pending"], &points["balance"]), (&json!(0), &json!(700)));
    assert_eq!(account(&mut http, "shop:sales")["balance"], 5_000);
    let no = saga["saga"].as_u64().expect("a number");
    let shown = http.get(&format!("/v1/sagas/{no}")).expect("an answer").expect(200);
    assert_eq!((&shown["steps"], &shown["key"]), (&saga["steps"], &json!("o2")));
    let late = post(&mut http, &format!("/v1/sagas/{no}/cancel"), &json!({"reason": "changed my mind"}));
    late.expect_problem(409, "saga-too-late");
    let ended = http.get("/v1/sagas?state=ended&limit=1").expect("an answer").expect(200);
    assert_eq!((&ended["sagas"][0]["key"], &ended["next"]), (&json!("o1"), &json!(1)));
    let ended = http.get("/v1/sagas?state=ended&limit=1&after=1").expect("an answer").expect(200);
    assert_eq!((&ended["sagas"][0]["key"], &ended["next"]), (&json!("o2"), &Value::Null));
    run_well(Path::new(BINARY), &["verify", "--data", text(&server.data)]);
    run_well(Path::new(BINARY), &["ledger", "trial-balance", "--data", text(&server.data)]);
    server.stop();
}

#[test]
fn an_operator_lets_parked_sagas_go_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (server, _) = shop(folder.path());
    let file = folder.path().join("book.toml");
    std::fs::write(&file, BOOK).expect("written");
    let url = format!("http://{}", server.address);
    let cli = |args: &[&str]| {
        let mut all = vec!["saga"];
        all.extend(args);
        all.extend(["--url", &url, "--data", text(&server.data)]);
        run_well(Path::new(BINARY), &all)
    };
    assert_eq!(cli(&["define", text(&file)]).trim(), "book version 1");
    for key in ["o1", "o2", "o3"] {
        let said = cli(&["run", "book", "--key", key]);
        assert!(said.contains("PARKED at settle") && said.contains("account-not-found"), "{said}");
    }
    let listed = cli(&["list", "--parked"]);
    assert!(listed.contains("o1") && listed.contains("o2") && listed.contains("settle"), "{listed}");
    let skipped: Value = serde_json::from_str(&cli(&[
        "skip",
        "1",
        "--reason",
        "settled by hand",
        "--output",
        "transfer=by-hand",
        "--json",
    ]))
    .expect("JSON");
    assert_eq!(
        (&skipped["phase"], &skipped["steps"][1]["output"]),
        (&json!("completed"), &json!({"transfer": "by-hand"}))
    );
    assert!(skipped.get("parked").is_none(), "{skipped}");
    // The account is still missing: parked again. Then it is there.
    let seen: Value = serde_json::from_str(&cli(&["show", "2", "--json"])).expect("JSON");
    assert!(cli(&["retry", "2", "--reason", "try"]).contains("PARKED at settle"));
    let metrics = server.http("").get("/metrics").expect("an answer").text();
    assert!(metrics.contains("\nbanyan_saga_parked 2\n"), "{metrics}");
    // It is parked at the same step again, and still not what somebody saw who looked before.
    let old = json!({"how": "skip", "reason": "an old page", "mark": seen["mark"]});
    post(&mut server.operator(), "/v1/sagas/2/resume", &old).expect_problem(409, "saga-changed");
    let elsewhere =
        ["saga", "skip", "2", "--step", "hold", "--reason", "x", "--url", &url, "--data", text(&server.data)];
    let elsewhere = run(Path::new(BINARY), &elsewhere);
    assert_eq!(elsewhere.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&elsewhere.stderr).contains("parked at settle, and not at hold"));
    let mut http = server.operator();
    open(&mut http, "clearing", "KRW", "free");
    assert!(cli(&["retry", "2", "--reason", "the account is open"]).contains("completed"));
    assert_eq!(account(&mut http, "clearing")["debits_posted"], 7);
    // The third is given up; what its pivot did has no undo, and somebody must say that it was seen to.
    let said = cli(&["undo", "3", "--reason", "the shop closed"]);
    assert!(said.contains("turned back by an operator"), "{said}");
    let resume = |http: &mut Http, reason: &str, mark: &Value| {
        post(http, "/v1/sagas/1/resume", &json!({"how": "retry", "reason": reason, "mark": mark}))
    };
    resume(&mut http, "again", &skipped["mark"]).expect_problem(409, "saga-not-parked");
    resume(&mut http, " ", &skipped["mark"]).expect_problem(400, "invalid-request");
    resume(&mut http, "again", &json!("1")).expect_problem(400, "invalid-request");
    run_well(Path::new(BINARY), &["verify", "--data", text(&server.data)]);
    server.stop();
}

#[test]
fn definitions_and_roles_are_checked() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (server, _) = shop(folder.path());
    let mut http = server.operator();
    define(&mut http, "name = 1").expect_problem(400, "invalid-request");
    let unsound = OUTSIDE.replace("undo = { service = \"nobody-here\", operation = \"undo\" }\n", "");
    let unsound = unsound.replace("pay.void", "pay.burn");
    let refused = define(&mut http, &unsound);
    refused.expect_problem(422, "saga-invalid");
    let faults = refused.json()["faults"].clone();
    let rules: Vec<_> =
        faults.as_array().expect("faults").iter().map(|fault| fault["rule"].clone()).collect();
    assert_eq!(rules, ["undo", "tombstone", "local"], "{faults}");
    let file = folder.path().join("unsound.toml");
    std::fs::write(&file, &unsound).expect("written");
    let url = format!("http://{}", server.address);
    let said =
        run(Path::new(BINARY), &["saga", "define", text(&file), "--url", &url, "--data", text(&server.data)]);
    assert_eq!(said.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&said.stderr).contains("pay.burn"), "the fault is named");
    define(&mut http, OUTSIDE).expect(201);
    define(&mut http, &OUTSIDE.replace("1h", "2h")).expect_problem(409, "saga-version");
    define(&mut http, &OUTSIDE.replace("version = 1", "version = 3")).expect_problem(409, "saga-version");
    define(&mut http, &OUTSIDE.replace("version = 1", "version = 2")).expect(201);
    let all = http.get("/v1/sagas/definitions").expect("an answer").expect(200);
    let newest: Vec<_> = all["definitions"]
        .as_array()
        .expect("all")
        .iter()
        .map(|one| (&one["version"], &one["newest"]))
        .collect();
    assert_eq!(newest, [(&json!(1), &json!(false)), (&json!(2), &json!(true))]);
    assert_eq!(all["definitions"][0]["steps"][1]["do"], "nobody-here do");

    let key =
        run_well(Path::new(BINARY), &["key", "create", "--role", "service", "--data", text(&server.data)]);
    let mut service = server.http(key.trim());
    until("the server takes the key", || {
        (service.get("/v1/campaigns").expect("an answer").status == 200).then_some(())
    });
    define(&mut service, BOOK).expect_problem(403, "forbidden");
    let start = json!({"name": "outside", "key": "o1"});
    post(&mut server.http(""), "/v1/sagas", &start).expect_problem(401, "unauthenticated");
    let saga = post(&mut service, "/v1/sagas", &start).expect(201);
    assert_eq!((&saga["phase"], &saga["version"]), (&json!("running"), &json!(2)));
    assert_eq!(words(&saga, "state"), ["done", "doing"]);
    assert_eq!(account(&mut service, "points:m1")["debits_pending"], 10);
    let running = service.get("/v1/sagas?state=running").expect("an answer").expect(200);
    assert_eq!(running["sagas"].as_array().map(Vec::len), Some(1));
    let no = saga["saga"].as_u64().expect("a number");
    post(
        &mut service,
        &format!("/v1/sagas/{no}/resume"),
        &json!({"how": "undo", "reason": "no", "mark": saga["mark"]}),
    )
    .expect_problem(403, "forbidden");
    until("it is known that nobody was asked", || {
        let saga = service.get(&format!("/v1/sagas/{no}")).expect("an answer").expect(200);
        (saga["steps"][1]["waits_for"] == "next-try").then_some(())
    });
    let back =
        post(&mut service, &format!("/v1/sagas/{no}/cancel"), &json!({"reason": "too slow"})).expect(200);
    assert_eq!(back["phase"], "compensated", "what was never sent needs no undo");
    assert_eq!(account(&mut service, "points:m1")["debits_pending"], 0);
    assert_eq!(back["cause"]["reason"], "too slow");
    post(&mut service, "/v1/sagas", &json!({"name": "other", "key": "o1"}))
        .expect_problem(404, "saga-not-defined");
    let fields: serde_json::Map<_, _> = (0..33).map(|n| (format!("f{n}"), json!("x"))).collect();
    post(&mut service, "/v1/sagas", &json!({"name": "outside", "key": "o2", "input": fields}))
        .expect_problem(422, "saga-input-too-large");
    for path in ["/v1/sagas/77", "/v1/sagas/x"] {
        service.get(path).expect("an answer").expect_problem(404, "saga-not-found");
    }
    service.get("/v1/sagas?limit=0").expect("an answer").expect_problem(400, "invalid-request");
    service.get("/v1/sagas?state=lost").expect("an answer").expect_problem(400, "invalid-request");
    server.stop();
}
