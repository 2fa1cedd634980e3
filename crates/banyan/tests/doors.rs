//! What comes in at the doors of the real server, and what must not.

mod support;

use serde_json::{Value, json};
use std::path::Path;
use support::{Http, Reply, Server, until};

/// A number that every payment company's documentation pays with.
const CARD: &str = "4242424242424242";

fn start(folder: &Path, more: &[&str]) -> Server {
    Server::start(Path::new(env!("CARGO_BIN_EXE_banyan")), folder, more)
}

fn keyed(http: &mut Http, path: &str, key: &str, body: &Value) -> Reply {
    let key = [("idempotency-key", key)];
    http.send("POST", path, &key, body.to_string().as_bytes()).expect("an answer")
}

/// Every file under `folder` whose bytes have `needle` in them.
fn files_with(folder: &Path, needle: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files_with(&path, needle));
        } else if let Ok(bytes) = std::fs::read(&path)
            && bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
        {
            found.push(path.display().to_string());
        }
    }
    found
}

/// Bug: a card number sent as an order's method, or anywhere in a saga's input, was in the log for good.
#[test]
fn a_card_number_is_turned_away_and_stored_nowhere() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = start(folder.path(), &["--snapshot-events", "3"]);
    let mut http = server.operator();
    let grouped = "4242 4242-4242 4242";
    let saga = json!({"name": "checkout", "key": "1", "input": {"order": "1", "how": {"card": CARD}}});
    let flat = json!({"name": "checkout", "key": "1", "input": {"order": "1", "card": grouped}});
    let cart = |method: &str| json!({"member": "m1", "lines": [{"product": "mug", "quantity": 1}], "method": method});
    let back = json!({"member": "m1", "lines": [{"product": "mug", "quantity": 1}], "method": "tok_ok",
        "return_url": format!("http://127.0.0.1/back?card={CARD}")});
    let transfers = json!({"reference": format!("card-{CARD}"), "transfers": [{"kind": "post", "debit": "a", "credit": "b", "amount": 1}]});
    let reason = json!({"reason": format!("paid with {grouped}")});
    let asked = [
        ("/v1/orders", cart(CARD), "card-number"),
        ("/v1/orders", cart(grouped), "card-number"),
        ("/v1/orders", back, "card-number"),
        ("/v1/orders", json!({"member": "m1", "lines": [], "points": CARD}), "invalid-request"),
        ("/v1/sagas", saga, "invalid-request"),
        ("/v1/sagas", flat, "card-number"),
        ("/v1/orders/o-1/cancel", reason.clone(), "card-number"),
        ("/v1/sagas/1/cancel", reason, "card-number"),
        ("/v1/ledger/transfers", transfers, "card-number"),
    ];
    for (path, body, slug) in asked {
        let reply = keyed(&mut http, path, "k", &body);
        reply.expect_problem(400, slug);
        assert!(!reply.text().contains("4242"), "{path} tells it back: {}", reply.text());
    }
    let lost = http.get(&format!("/v1/{CARD}")).expect("an answer");
    lost.expect_problem(404, "not-found");
    assert!(!lost.text().contains("4242"), "{}", lost.text());
    // The store has a log, a snapshot and a view to look into.
    for member in ["m1", "m2", "m3", "m4", "m5", "m6"] {
        http.post("/v1/campaigns/sample/coupons", &json!({"member": member})).expect("an answer").expect(201);
    }
    let snapshots = folder.path().join("snapshots");
    until("a snapshot is there", || std::fs::read_dir(&snapshots).ok()?.next().map(drop));
    let said = server.stop();
    assert!(!files_with(folder.path(), "sample").is_empty(), "what was stored is found");
    for needle in [CARD, grouped] {
        assert_eq!(files_with(folder.path(), needle), Vec::<String>::new());
        assert!(!said.contains(needle), "{said}");
    }
}
