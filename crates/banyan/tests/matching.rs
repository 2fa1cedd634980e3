//! The three-way match over real processes: a clean day, then everything that can go wrong with it, planted one by one, found in
//! the right word, and put right by the command that the report prints.

#[path = "support/shop.rs"]
mod shop;
mod support;

use serde_json::{Value, json};
use shop::{Shop, define};
use std::path::Path;
use support::{run, text, until};

const BINARY: &str = env!("CARGO_BIN_EXE_banyan");

/// The statements of all days on which anything can have happened, as JSON lines.
fn statement(shop: &mut Shop) -> String {
    let events = shop.http.get("/v1/events?limit=10000").expect("an answer").text();
    let day = |line: Option<&str>| {
        let event: Value = serde_json::from_str(line.expect("an event")).expect("JSON");
        event["time"].as_str().expect("a time")[..10].to_owned()
    };
    let (first, last) = (day(events.lines().next()), day(events.lines().last()));
    let mut all = shop.statement(&format!("{first}.jsonl"));
    if last != first {
        all.push_str(&shop.statement(&format!("{last}.jsonl")));
    }
    all
}

/// Matches a statement: the exit code and the report.
fn match_with(shop: &Shop, lines: &str, more: &[&str]) -> (Option<i32>, Value) {
    let file = shop.folder.join("statement.jsonl");
    std::fs::write(&file, lines).expect("a file");
    let mut args =
        vec!["match", "--statement", text(&file), "--data", text(&shop.server.data), "--json", "--skew", "0"];
    args.extend_from_slice(more);
    let output = run(Path::new(BINARY), &args);
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code(), report)
}

/// The one finding of a match as things are now.
#[track_caller]
fn only_finding(shop: &mut Shop, kind: &str) -> Value {
    let lines = statement(shop);
    only_finding_in(shop, &lines, kind)
}

#[track_caller]
fn only_finding_in(shop: &Shop, lines: &str, kind: &str) -> Value {
    let (code, report) = match_with(shop, lines, &[]);
    assert_eq!((code, report["clean"].as_bool()), (Some(3), Some(false)), "{report:#}");
    let findings = report["findings"].as_array().expect("a list");
    assert_eq!(findings.len(), 1, "{report:#}");
    assert_eq!(findings[0]["kind"], kind, "{report:#}");
    findings[0].clone()
}

#[track_caller]
fn expect_clean(shop: &mut Shop) -> Value {
    let lines = statement(shop);
    let (code, report) = match_with(shop, &lines, &[]);
    assert_eq!((code, &report["findings"]), (Some(0), &json!([])), "{report:#}");
    report
}

/// Does what the finding proposes, waits until the saga has completed, and sees that nothing is left to find.
#[track_caller]
fn repair(shop: &mut Shop, finding: &Value) {
    let line = finding["repair"]["command"].as_str().expect("a command");
    let done = shop.type_in(line);
    assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let no = said.lines().find_map(|line| line.strip_prefix("saga ")?.split_once(':')?.0.parse().ok());
    let no = no.unwrap_or_else(|| panic!("a saga's number in {said}"));
    shop.saga_until(no, "the repair completes", |saga| saga["phase"] == "completed");
    expect_clean(shop);
    // The same command again begins nothing.
    if finding["repair"]["saga"].is_string() {
        assert!(shop.type_in(line).status.success());
        expect_clean(shop);
    }
}

#[test]
fn a_booking_that_was_prevented_is_found_and_made() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut shop = Shop::open(folder.path());
    // The books have no account of the company yet: what it takes cannot be booked.
    let stuck = shop.begin("charge", "order-1", &json!({"amount": "9700"}));
    shop.saga_until(stuck, "it is parked", |saga| saga["parked"]["step"] == "book");
    let finding = only_finding(&mut shop, "not-booked");
    assert_eq!(
        (&finding["order"], &finding["saga"]["state"], &finding["saga"]["step"], &finding["amount"]),
        (&json!("order-1"), &json!("parked"), &json!("book"), &json!(9_700))
    );
    // Another saga would book it again once this one goes on: so this one is let go on.
    assert!(finding["repair"]["saga"].is_null(), "{finding:#}");
    shop.open_account("company:receivable", "KRW", "credits-within-debits");
    shop.open_account("shop:sales", "KRW", "free");
    repair(&mut shop, &finding);
    assert_eq!(shop.balance("shop:sales"), 9_700);
}

#[test]
fn a_step_counted_as_done_by_hand_is_booked_by_a_repair() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut shop = Shop::open(folder.path());
    let stuck = shop.begin("charge", "order-1", &json!({"amount": "9700"}));
    shop.saga_until(stuck, "it is parked", |saga| saga["parked"]["step"] == "book");
    let skipped = shop.type_in(&format!("banyan saga skip {stuck} --reason 'in a hurry'"));
    assert!(skipped.status.success(), "{skipped:?}");
    shop.saga_until(stuck, "it completes without its booking", |saga| saga["phase"] == "completed");
    shop.open_account("company:receivable", "KRW", "credits-within-debits");
    shop.open_account("shop:sales", "KRW", "free");
    let finding = only_finding(&mut shop, "not-booked");
    assert_eq!(
        (&finding["repair"]["saga"], &finding["saga"]["saga"]),
        (&json!("repair-book"), &json!(stuck))
    );
    repair(&mut shop, &finding);
    assert_eq!(shop.balance("shop:sales"), 9_700);
}

#[test]
fn everything_planted_is_found_in_the_right_word_and_put_right() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut shop = Shop::open(folder.path());
    shop.open_account("company:receivable", "KRW", "credits-within-debits");
    shop.open_account("shop:sales", "KRW", "free");
    let charges: Vec<Value> = [("order-1", 5_000), ("order-2", 7_000), ("order-3", 9_000)]
        .map(|(order, amount)| shop.run_saga("charge", order, &json!({"amount": amount.to_string()})))
        .to_vec();
    let payment =
        |at: usize| charges[at]["steps"][0]["output"]["payment"].as_str().expect("a payment").to_owned();
    // What the company pays out is no refund, and what members pay in is a charge like another.
    for account in ["bank:main", "shop:fees"] {
        shop.open_account(account, "KRW", "free");
    }
    define(&mut shop.http, include_str!("../../../examples/sagas/settlement.toml"));
    define(&mut shop.http, include_str!("../../../examples/sagas/top-up.toml"));
    let payout = json!({"account": "company:receivable", "bank": "bank:main", "net": "4900", "fees": "shop:fees", "fee": "100"});
    shop.run_saga("settlement", "po-1", &payout);
    let report = expect_clean(&mut shop);
    assert_eq!((&report["movements"], &report["matched"]), (&json!(3), &json!(3)), "{report:#}");
    assert_eq!(
        (&report["sums"][0]["captured_there"], &report["sums"][0]["captured_here"]),
        (&json!(21_000), &json!(21_000))
    );

    let top_up = json!({"member": "m-1", "amount": "2500", "currency": "KRW", "method": "tok_ok"});
    shop.run_saga("top-up", "topup-1", &top_up);
    expect_clean(&mut shop);

    // Somebody took a payment at the company, and no order here knows of it.
    let pay = |order: &str, amount: u32| json!({"order": order, "amount": {"minor": amount, "currency": "KRW"}, "method": "tok_ok"});
    let gift = shop.at_company("/api/payments", "back-1", &pay("gift-1", 3_000));
    let gift = gift["payment"].as_str().or(gift["id"].as_str()).expect("a payment").to_owned();
    expect_clean(&mut shop);
    shop.at_company(&format!("/api/payments/{gift}/capture"), "back-2", &json!({}));
    let finding = only_finding(&mut shop, "missing-here");
    assert_eq!(
        (&finding["payment"], &finding["order"], &finding["amount"], &finding["saga"]),
        (&json!(gift), &json!("gift-1"), &json!(3_000), &Value::Null)
    );
    assert_eq!(finding["repair"]["saga"], "repair-refund");
    repair(&mut shop, &finding);

    // The same order is paid a second time at the company.
    let twice = shop.at_company("/api/payments", "back-3", &pay("order-1", 5_000));
    let twice = twice["payment"].as_str().or(twice["id"].as_str()).expect("a payment").to_owned();
    shop.at_company(&format!("/api/payments/{twice}/capture"), "back-4", &json!({}));
    let finding = only_finding(&mut shop, "duplicate-there");
    assert_eq!((&finding["payment"], &finding["order"]), (&json!(twice), &json!("order-1")));
    repair(&mut shop, &finding);
    assert_eq!(shop.balance("company:suspense"), 0);

    // Part of order-2 is refunded in the company's own pages.
    let path = format!("/api/payments/{}/refund", payment(1));
    shop.at_company(&path, "back-5", &json!({"amount": 700}));
    let finding = only_finding(&mut shop, "refunded-there-only");
    assert_eq!((&finding["order"], &finding["amount"]), (&json!("order-2"), &json!(700)));
    assert_eq!((&finding["saga"]["key"], &finding["transfer"]), (&json!("order-2"), &json!("t-2")));
    assert_eq!(finding["repair"]["saga"], "repair-reverse");
    repair(&mut shop, &finding);
    assert_eq!(shop.balance("shop:sales"), 21_000 - 700);

    // What is wrong in the file alone is told apart, too.
    let lines = statement(&mut shop);
    let third = payment(2);
    let mine = lines.lines().find(|line| line.contains(&third)).expect("a line").to_owned();
    let finding =
        only_finding_in(&shop, &lines.replace(&mine, &mine.replace("9000", "9900")), "amount-differs");
    assert_eq!(
        (&finding["there"], &finding["here"], &finding["amount"], &finding["order"]),
        (&json!(9_900), &json!(9_000), &json!(900), &json!("order-3"))
    );
    let finding = only_finding_in(&shop, &lines.replace(&format!("{mine}\n"), ""), "missing-there");
    assert_eq!((&finding["payment"], &finding["saga"]["key"]), (&json!(third), &json!("order-3")));
    assert!(finding["transfer"].as_str().is_some_and(|name| name.starts_with("t-")), "{finding:#}");
    let finding = only_finding_in(&shop, &format!("{lines}{mine}\n"), "listed-twice");
    assert!(finding["repair"]["command"].is_null(), "{finding:#}");

    // At the moment at which the capture was about to be asked, it was on its way; a moment later it had arrived.
    let events = shop.http.get("/v1/events?limit=10000").expect("an answer").text();
    let scheduled =
        events.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")).find(|event| {
            event["type"] == "saga-step-scheduled"
                && event["saga"] == charges[2]["saga"]
                && event["step"] == 1
        });
    let seq = scheduled.expect("the capture was scheduled")["seq"].to_string();
    let (code, report) = match_with(
        &shop,
        &format!("{mine}\n"),
        &["--at", &seq, "--from", "2099-01-01T00:00:00Z", "--to", "2099-01-02T00:00:00Z"],
    );
    let late = &report["findings"][0];
    assert_eq!(
        (code, &report["clean"], &late["kind"], &late["order"]),
        (Some(0), &json!(true), &json!("late"), &json!("order-3")),
        "{report:#}"
    );
    assert_eq!((report["seq"].to_string(), &late["saga"]["state"]), (seq, &json!("running")));

    // The page holds itself together, and says the worst first.
    let (page, file) = (shop.folder.join("match.html"), shop.folder.join("edited.jsonl"));
    std::fs::write(&file, lines.replace(&format!("{mine}\n"), "")).expect("a file");
    let output = run(
        Path::new(BINARY),
        &[
            "match",
            "--statement",
            text(&file),
            "--data",
            text(&shop.server.data),
            "--skew",
            "0",
            "--html",
            text(&page),
        ],
    );
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains("missing-there: 9000 KRW") && said.contains("$ banyan saga run repair-reverse"),
        "{said}"
    );
    let page = std::fs::read_to_string(page).expect("a page");
    for part in ["Ours, and not in the statement", "order-3", "banyan saga run repair-reverse", &third] {
        assert!(page.contains(part), "{part}");
    }
    for never in ["<script", "src=", "@import", "url("] {
        assert!(!page.contains(never), "{never}");
    }
    let books = run(Path::new(BINARY), &["verify", "--data", text(&shop.server.data)]);
    assert!(books.status.success(), "{books:?}");
}

#[test]
fn a_day_of_orders_paid_returned_and_cancelled_is_clean() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut shop = Shop::open(folder.path());
    for (path, body) in [
        ("/v1/terms", json!({"currency": "KRW", "shipping_fee": 3_000})),
        ("/v1/products/mug", json!({"price": {"minor": 12_900, "currency": "KRW"}})),
        ("/v1/stock/mug", json!({"on_hand": 10, "reason": "count"})),
    ] {
        let set = shop.http.send("PUT", path, &[], body.to_string().as_bytes()).expect("an answer");
        assert!(set.status < 300, "{path}: {set:?}");
    }
    let orders: Vec<String> = ["tok_ok", "tok_ok", "tok_declined", "tok_ok"]
        .iter()
        .enumerate()
        .map(|(at, method)| {
            let body =
                json!({"member": "m-1", "lines": [{"product": "mug", "quantity": 2}], "method": method});
            let headers = [("idempotency-key", &*format!("place-{at}"))];
            let placed = shop.http.send("POST", "/v1/orders", &headers, body.to_string().as_bytes());
            placed.expect("an answer").expect(201)["order"].as_str().expect("an order").to_owned()
        })
        .collect();
    let reach = |shop: &mut Shop, order: &str, state: &str| {
        until("the order gets there", || {
            let seen = shop.http.get(&format!("/v1/orders/{order}")).expect("an answer").expect(200);
            let settled =
                seen["refunds"].as_array().is_none_or(|all| all.iter().all(|one| one["state"] == "done"));
            (seen["state"] == state && settled).then_some(seen)
        })
    };
    for (order, state) in orders.iter().zip(["paid", "paid", "failed", "paid"]) {
        reach(&mut shop, order, state);
    }
    let one = json!({"lines": [{"product": "mug", "quantity": 1}], "reason": "too small"}).to_string();
    let path = format!("/v1/orders/{}/returns", orders[0]);
    shop.http
        .send("POST", &path, &[("idempotency-key", "back-1")], one.as_bytes())
        .expect("an answer")
        .expect(201);
    let path = format!("/v1/orders/{}/cancel", orders[1]);
    shop.http.post(&path, &json!({"reason": "changed my mind"})).expect("an answer").expect(200);
    let returned = reach(&mut shop, &orders[0], "paid");
    assert_eq!(returned["refunds"].as_array().map(Vec::len), Some(1), "{returned:#}");
    reach(&mut shop, &orders[1], "cancelled");
    let report = expect_clean(&mut shop);
    assert_eq!((&report["movements"], &report["matched"]), (&json!(5), &json!(5)), "{report:#}");
    let sums = &report["sums"][0];
    assert_eq!(
        (&sums["captured_there"], &sums["refunded_there"]),
        (&sums["captured_here"], &sums["refunded_here"])
    );

    // A refund that the statement lacks is a refund of its order.
    let lines = statement(&mut shop);
    let refund = lines.lines().find(|line| line.contains("refund")).expect("a line").to_owned();
    let finding = only_finding_in(&shop, &lines.replace(&format!("{refund}\n"), ""), "missing-there");
    assert_eq!((&finding["what"], &finding["saga"]["name"]), (&json!("refund"), &json!("order-refund")));
    assert!(orders.iter().any(|order| finding["order"] == **order), "{finding:#}");
}

#[test]
fn what_cannot_be_compared_is_said_and_not_guessed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let shop = Shop::open(folder.path());
    let data = text(&shop.server.data).to_owned();
    let wrong = |args: &[&str], code: i32, part: &str| {
        let args = [&["match", "--data", data.as_str()], args].concat();
        let output = run(Path::new(BINARY), &args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(part), "{said}");
    };
    let file = |name: &str, lines: &str| {
        let path = shop.folder.join(name);
        std::fs::write(&path, lines).expect("a file");
        text(&path).to_owned()
    };
    let head = "time,movement,payment,order,kind,amount_minor,currency,key\n";
    let (empty, cut) =
        (file("empty.csv", head), file("cut.csv", &format!("{head}2026-11-22T01:02:03Z,mv_1,pa")));
    wrong(&["--statement", &cut], 2, "middle of a line");
    wrong(&["--statement", &file("statement.pdf", "")], 2, ".csv or a .jsonl");
    wrong(&["--statement", "nowhere.csv"], 4, "nowhere.csv");
    wrong(&["--statement", &empty, "--day", "yesterday"], 2, "2026-11-27");
    wrong(&["--statement", &empty, "--at", "1000000"], 2, "leave --at out");
    wrong(&["--statement", &empty, "--account", "company:recievable"], 2, "no account");
    wrong(&["--statement", &empty, "--company", "stripe"], 2, "no saga asks a service stripe");
    let nothing = run(Path::new(BINARY), &["match", "--data", &data, "--statement", &empty]);
    assert!(nothing.status.success(), "{nothing:?}");
}
