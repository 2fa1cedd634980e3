//! What comes in at the doors of the real server, and what must not.

mod support;

use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use support::{Http, Reply, Server, connect, read_reply, until};

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

/// Sends a head as it is written here, with `\n` for the line ends, and reads the answer.
fn ask(server: &Server, head: &str) -> Reply {
    let mut stream = connect(server.address).expect("a connection");
    let head = format!("{}\r\n\r\n", head.trim().replace('\n', "\r\n"));
    stream.get_mut().write_all(head.as_bytes()).expect("it is sent");
    read_reply(&mut stream).expect("an answer")
}

fn get(server: &Server, path: &str, host: &str, more: &str) -> Reply {
    ask(server, &format!("GET {path} HTTP/1.1\nhost: {host}\n{more}"))
}

fn is_secure(reply: &Reply) -> bool {
    let cookie = reply.headers.get("set-cookie").unwrap_or_else(|| panic!("no cookie: {reply:?}"));
    cookie.contains("; Secure")
}

/// Bug: the shop beside the API, where whoever gives a name is that member, answered whoever came through a proxy.
#[test]
fn the_shop_without_passwords_is_for_this_machine_only() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = start(folder.path(), &[]);
    let own = server.address.to_string();
    assert_eq!(get(&server, "/shop", &own, "").status, 200);
    assert_eq!(get(&server, "/shop", "localhost:1", "").status, 200);
    get(&server, "/shop", "shop.example", "").expect_problem(403, "forbidden");
    get(&server, "/shop/sign-in", "evil.example", "").expect_problem(403, "forbidden");
    get(&server, "/shop", &own, "x-forwarded-for: 203.0.113.9").expect_problem(403, "forbidden");
    // The API asks for a key, whatever the host.
    get(&server, "/v1/stock", "shop.example", "").expect_problem(401, "unauthenticated");
    assert!(!is_secure(&get(&server, "/console/language/ko", &own, "")));
    assert!(!is_secure(&get(&server, "/shop/language/ko", &own, "")));
    server.stop();
}

/// Bug: behind TLS no cookie of the console or the shop was `Secure`, and no option made it so.
#[test]
fn under_a_public_url_cookies_are_secure_and_the_shop_is_off_unless_asked_for() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let public = ["--public-url", "https://shop.example"];
    let server = start(folder.path(), &public);
    get(&server, "/shop", "shop.example", "").expect_problem(404, "not-found");
    get(&server, "/shop", &server.address.to_string(), "").expect_problem(404, "not-found");
    assert!(is_secure(&get(&server, "/console/language/ko", "shop.example", "x-forwarded-proto: https")));
    server.stop();
    let server = start(folder.path(), &[&public[..], &["--shop-sign-in-without-password"]].concat());
    assert!(is_secure(&get(&server, "/shop/language/ko", "shop.example", "x-forwarded-for: 203.0.113.9")));
    get(&server, "/shop", "evil.example", "").expect_problem(403, "forbidden");
    server.stop();
    for wrong in [&["--public-url", "shop.example"][..], &["--shop-sign-in-without-password"]] {
        let ended = Command::new(env!("CARGO_BIN_EXE_banyan"))
            .args(["up", "--listen", "127.0.0.1:0", "--data"])
            .arg(folder.path())
            .args(wrong)
            .output()
            .expect("it runs");
        assert_eq!(ended.status.code(), Some(2), "{wrong:?}: {ended:?}");
    }
}

/// Bug: what asked only what would be answered was carried out by webhooks, the console and the shop.
#[test]
fn what_cannot_pretend_refuses_a_dry_run() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = start(folder.path(), &[]);
    let more = "banyan-dry-run: true\ncontent-length: 0";
    for path in ["/v1/webhooks/company", "/console/login", "/shop/sign-in", "/shop/checkout"] {
        let reply = ask(&server, &format!("POST {path} HTTP/1.1\nhost: {}\n{more}", server.address));
        reply.expect_problem(501, "dry-run-unsupported");
    }
    server.stop();
}

/// Bug: a webhook, for which nobody shows a key, could take for ever to arrive; a price list was read before its sender was
/// known.
#[test]
fn strangers_hold_no_place_with_a_body_that_does_not_come() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = start(folder.path(), &[]);
    let host = server.address;
    let started = "content-length: 1000000\ncontent-type: application/json";
    for path in ["/v1/products", "/v1/products/mug", "/v1/terms"] {
        let reply = ask(&server, &format!("PUT {path} HTTP/1.1\nhost: {host}\n{started}"));
        reply.expect_problem(401, "unauthenticated");
    }
    let large = ask(&server, &format!("POST /v1/webhooks/company HTTP/1.1\nhost: {host}\n{started}"));
    large.expect_problem(413, "too-large");
    let slow =
        ask(&server, &format!("POST /v1/webhooks/company HTTP/1.1\nhost: {host}\ncontent-length: 100"));
    slow.expect_problem(408, "too-slow");
    server.stop();
}

/// Bug: a payment company was told to send the shopper back to whatever address an order named.
#[test]
fn shoppers_are_sent_back_to_hosts_of_the_shop_only() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let more = ["--public-url", "https://shop.example", "--return-host", "m.shop.example"];
    let server = start(folder.path(), &more);
    let mut http = server.operator();
    let mut place = |return_url: &str| {
        let lines = json!([{"product": "mug", "quantity": 1}]);
        let body = json!({"member": "m1", "lines": lines, "method": "page", "return_url": return_url});
        keyed(&mut http, "/v1/orders", "k", &body)
    };
    for bad in ["https://evil.example/", "https://a@shop.example/", "https://shop.example/\n", "/shop"] {
        place(bad).expect_problem(400, "invalid-request");
    }
    for good in ["https://shop.example/done", "https://m.shop.example/", "http://localhost:8080/shop/return"]
    {
        // The store sells nothing yet: what is refused now is the order, not the address.
        place(good).expect_problem(409, "terms-not-set");
    }
    server.stop();
}

/// Bug: one member's token could use up the idempotency keys and reservations of the whole store.
#[test]
fn a_members_token_writes_only_so_much_and_holds_nobody_up() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "0123456789abcdef0123456789abcdef").expect("a file");
    let more = ["--jwt-hs256-secret", secret.to_str().expect("text"), "--member-writes-per-second", "1"];
    let server = start(folder.path(), &more);
    let binary = Path::new(env!("CARGO_BIN_EXE_banyan"));
    let (mut one, mut other) = (server.shopper(binary, &secret, "m1"), server.shopper(binary, &secret, "m2"));
    let issue = |http: &mut Http, member: &str| {
        http.post("/v1/campaigns/sample/coupons", &json!({"member": member})).expect("an answer")
    };
    // Five at once; however slow this machine is, a thousand come faster than one a second.
    let refused =
        (0..1_000).map(|_| issue(&mut one, "m1")).find(|reply| reply.status >= 300).expect("one too many");
    refused.expect_problem(429, "too-many-requests");
    let wait: u64 = refused.headers["retry-after"].parse().expect("seconds");
    assert!((1..=5).contains(&wait), "{wait}");
    issue(&mut other, "m2").expect(201);
    let mut operator = server.operator();
    for _ in 0..20 {
        assert!(issue(&mut operator, "m3").status < 300, "the shop's own keys are not counted");
    }
    // Reading costs nothing, and the member is let in again.
    one.get("/v1/members/m1/coupons").expect("an answer").expect(200);
    until("the member is let in again", || Some(()).filter(|()| issue(&mut one, "m1").status == 200));
    server.stop();
}

/// Bugs: a shopper's token was told how many coupons of each campaign were used, and how many members were on its list; all
/// campaigns came in one answer.
#[test]
fn a_shoppers_token_is_told_no_figures_of_the_shop_and_campaigns_come_in_pages() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "0123456789abcdef0123456789abcdef").expect("a file");
    let server = start(folder.path(), &["--jwt-hs256-secret", secret.to_str().expect("text")]);
    let mut operator = server.operator();
    for id in ["noon", "dusk"] {
        let campaign = json!({"id": id, "name": id, "quantity": 5, "benefit": {"free_shipping": {}}});
        operator.post("/v1/campaigns", &campaign).expect("an answer").expect(201);
    }
    let mut shopper = server.shopper(Path::new(env!("CARGO_BIN_EXE_banyan")), &secret, "m1");
    for path in ["/v1/campaigns/noon", "/v1/campaigns"] {
        let one = |http: &mut Http| {
            let seen = http.get(path).expect("an answer").expect(200);
            seen["campaigns"].get(0).cloned().unwrap_or(seen)
        };
        let (told, all) = (one(&mut shopper), one(&mut operator));
        assert_eq!((&told["issued"], &told["left"]), (&json!(0), &json!(5)));
        for figure in ["held", "redeemed", "revoked", "expired", "allowed"] {
            assert_eq!((told.get(figure), &all[figure]), (None, &json!(0)), "{path}: {figure}");
        }
    }
    let (mut pages, mut path) = (Vec::new(), "/v1/campaigns?limit=2".to_owned());
    loop {
        let page = operator.get(&path).expect("an answer").expect(200);
        let ids = page["campaigns"].as_array().expect("a page").iter().map(|one| one["id"].clone());
        pages.push(Value::Array(ids.collect()));
        let Some(next) = page["next"].as_u64() else { break };
        path = format!("/v1/campaigns?limit=2&after={next}");
    }
    assert_eq!(pages, [json!(["dusk", "noon"]), json!(["sample"])]);
    operator.get("/v1/campaigns?limit=0").expect("an answer").expect_problem(400, "invalid-request");
    let document = operator.get("/openapi.json").expect("an answer").json();
    assert!(document["paths"]["/v1/webhooks/{service}"]["post"].is_object(), "webhooks are described");
    server.stop();
}
