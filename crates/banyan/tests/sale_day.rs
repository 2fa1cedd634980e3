//! A short sale day: the whole checkout under load, a payment company that fails and hangs, and two kill -9.
//! `cargo xtask sale-day` runs the long one, with ten.

mod support;

use serde_json::Value;
use std::io::Write;
use std::path::Path;
use support::sale::SaleDay;
use support::{run, run_well, text};

/// The shipped scenario with other numbers: short enough for every test run.
const SCENARIO: &str = r#"
seed = 11
arrivals = "poisson"
phases = [{ name = "sale", for = "6s", rate = 25 }]
members = { count = 120, prefix = "buyer-", choice = "random" }
retry_unknown = true
timeout = "60s"
drain = "300s"

[shop]
products = 20
stock = 15
hot = 0.4
points_each = 5000
claims = 0.6
uses_points = 0.4
gives_up = 0.1
declined = 0.05
leaves_at_page = 0.05
double_clicks = 0.3
orders_again = 0.1
cancels = 0.15
returns = 0.15
think = "100ms"
patience = "240s"

[company]
url = "http://127.0.0.1:1"
faults = { error_after = 0.05, timeout_before = 0.005, timeout_after = 0.005 }
hang = "3s"

[[campaigns]]
id = "sale-day"
quantity = 40
benefit = { amount = { minor = 5000, currency = "KRW" } }
"#;

#[test]
fn a_sale_day_with_kills_harms_nobody() {
    let binary = Path::new(env!("CARGO_BIN_EXE_banyan"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let scenario = folder.path().join("scenario.toml");
    std::fs::write(&scenario, SCENARIO).expect("a file");
    let day = SaleDay { binary, folder: folder.path(), scenario: &scenario, kills: 2, answers_between: 120 };
    let outcome = day.run();
    assert!(outcome.is_well(), "{outcome:#?}");
    assert_eq!(outcome.kills, 2, "the rehearsal was over before the kills: {outcome:#?}");
    let visits = &outcome.rehearsal["visits"];
    let number = |name: &str| visits[name].as_u64().expect("a number");
    for what in
        ["visits", "claimed", "quoted", "placed", "repeated", "paid", "failed", "cancelled", "refunded"]
    {
        assert!(number(what) > 0, "nobody came so far: {what} in {visits}");
    }
    assert!(outcome.orders_paid > 20, "{outcome:#?}");

    // What was answered is held against the log line by line: an answer that is not so is found.
    let (data, acks) = (folder.path().join("store"), folder.path().join("acks.jsonl"));
    let args = ["verify", "--json", "--data", text(&data), "--acks", text(&acks)];
    run_well(binary, &args);
    let lines = std::fs::read_to_string(&acks).expect("the answers");
    let paid = lines.lines().find(|line| line.contains(r#""state":"paid""#)).expect("somebody saw it paid");
    let wrong = paid.replace(r#""state":"paid""#, r#""state":"failed""#);
    let mut file = std::fs::OpenOptions::new().append(true).open(&acks).expect("it opens");
    writeln!(file, "{wrong}").expect("it takes a line");
    let output = run(binary, &args);
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert_eq!((output.status.code(), &report["missing"]), (Some(3), &Value::from(1)), "{report}");
}
