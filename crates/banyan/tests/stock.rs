//! Stock through the real server: the life of a reservation, races for the last units, roles, bad input, imports.

mod support;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Barrier;
use std::time::{SystemTime, UNIX_EPOCH};
use support::{Http, Reply, Server, run, run_well, text, until};

const SECRET: &str = "a shop's secret of at least thirty-two bytes";
const RESERVATIONS: &str = "/v1/stock/reservations";

fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_banyan"))
}

fn start(folder: &Path) -> Server {
    let secret = folder.join("shop.secret");
    std::fs::write(&secret, SECRET).expect("written");
    Server::start(binary(), &folder.join("data"), &["--jwt-hs256-secret", text(&secret)])
}

fn shopper(server: &Server, member: &str) -> Http {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let claims = json!({"sub": member, "exp": now + 3_600});
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    server.http(&jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).expect("signed"))
}

fn key_of(server: &Server, role: &str) -> Http {
    let key = run_well(binary(), &["key", "create", "--role", role, "--data", text(&server.data)]);
    let mut http = server.http(key.trim());
    until("the server takes the key", || {
        (http.get("/v1/stock").expect("an answer").status == 200).then_some(())
    });
    http
}

fn put(http: &mut Http, sku: &str, body: &Value) -> Reply {
    http.send("PUT", &format!("/v1/stock/{sku}"), &[], body.to_string().as_bytes()).expect("an answer")
}

fn keyed(http: &mut Http, path: &str, key: &str, body: &Value) -> Reply {
    http.send("POST", path, &[("idempotency-key", key)], body.to_string().as_bytes()).expect("an answer")
}

fn end(http: &mut Http, reservation: &Value, verb: &str) -> Reply {
    let id = reservation["reservation"].as_str().expect("a name");
    http.send("POST", &format!("{RESERVATIONS}/{id}/{verb}"), &[], b"").expect("an answer")
}

#[track_caller]
fn expect_level(http: &mut Http, sku: &str, on_hand: u64, held: u64, available: u64) {
    let seen = http.get(&format!("/v1/stock/{sku}")).expect("an answer").expect(200);
    assert_eq!(
        (&seen["on_hand"], &seen["held"], &seen["available"]),
        (&json!(on_hand), &json!(held), &json!(available)),
        "{seen}"
    );
}

#[track_caller]
fn expect_calm(server: Server) {
    let metrics = server.http("").get("/metrics").expect("an answer").text();
    assert!(metrics.contains("banyan_http_answers_total{class=\"5xx\"} 0"), "{metrics}");
    run_well(binary(), &["verify", "--data", text(&server.data)]);
    let told = server.stop();
    assert!(!told.contains("panicked") && !told.contains("ERROR"), "{told}");
}

/// Sends one request per client, all at once, each on a connection of its own that is open before.
fn all_at_once(server: &Server, clients: usize, ask: impl Fn(usize) -> (String, Value) + Sync) -> Vec<Reply> {
    let (operator, barrier) = (server.operator_key(), Barrier::new(clients));
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|client| {
                let (operator, barrier, ask) = (&operator, &barrier, &ask);
                scope.spawn(move || {
                    let mut http = server.http(operator);
                    http.get("/healthz").expect("the server runs");
                    let (key, body) = ask(client);
                    barrier.wait();
                    keyed(&mut http, RESERVATIONS, &key, &body)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    })
}

#[test]
fn a_reservation_lives() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = start(folder.path());
    let mut http = server.operator();
    let item = put(&mut http, "A", &json!({"on_hand": 5, "reason": "count"})).expect(200);
    assert_eq!(
        (&item["sku"], &item["location"], &item["on_hand"], &item["available"]),
        (&json!("A"), &json!("main"), &json!(5), &json!(5))
    );
    put(&mut http, "A", &json!({"on_hand": 2, "location": "seoul-1"})).expect(200);

    // Split over both places; the answer names each.
    let asked = json!({"lines": [{"sku": "A", "quantity": 6}], "member": "m1", "order": "o1"});
    let first = keyed(&mut http, RESERVATIONS, "k1", &asked);
    let held = first.expect(201);
    assert_eq!((&held["reservation"], &held["state"]), (&json!("r-1"), &json!("held")));
    let parts: Vec<_> =
        held["lines"].as_array().expect("lines").iter().map(|l| (&l["location"], &l["quantity"])).collect();
    assert_eq!(parts, [(&json!("main"), &json!(5)), (&json!("seoul-1"), &json!(1))]);
    expect_level(&mut http, "A", 7, 6, 1);
    let again = keyed(&mut http, RESERVATIONS, "k1", &asked);
    again.expect(200);
    assert_eq!((again.text(), &again.headers["idempotent-replayed"]), (first.text(), &"true".to_owned()));

    let sold = end(&mut http, &held, "commit");
    assert_eq!(sold.expect(200)["state"], "committed");
    assert_eq!(end(&mut http, &held, "commit").expect(200)["lines"], sold.json()["lines"]);
    end(&mut http, &held, "release").expect_problem(409, "reservation-committed");
    expect_level(&mut http, "A", 1, 0, 1);

    let back = json!({"lines": [{"sku": "A", "quantity": 4, "location": "main"}], "reason": "too small"});
    let path = format!("{RESERVATIONS}/r-1/return");
    assert_eq!(keyed(&mut http, &path, "k2", &back).expect(200)["units"], 4);
    assert_eq!(keyed(&mut http, &path, "k2", &back).expect(200)["units"], 4);
    expect_level(&mut http, "A", 5, 0, 5);
    keyed(&mut http, &path, "k3", &back).expect_problem(422, "return-too-much");
    let shown = http.get(&format!("{RESERVATIONS}/r-1")).expect("an answer").expect(200);
    assert_eq!(
        (&shown["member"], &shown["order"], &shown["lines"][0]["returned"]),
        (&json!("m1"), &json!("o1"), &json!(4))
    );

    let other = keyed(&mut http, RESERVATIONS, "k4", &json!({"lines": [{"sku": "A", "quantity": 1}]}));
    let other = other.expect(201);
    put(&mut http, "A", &json!({"on_hand": 0})).expect_problem(422, "stock-below-held");
    assert_eq!(end(&mut http, &other, "release").expect(200)["state"], "released");
    assert_eq!(end(&mut http, &other, "release").expect(200)["state"], "released");
    end(&mut http, &other, "commit").expect_problem(409, "reservation-released");
    http.get(&format!("{RESERVATIONS}/r-9")).expect("an answer").expect_problem(404, "reservation-not-found");

    let more = json!({"quantity": 3, "reason": "delivery"});
    for _ in 0..2 {
        assert_eq!(keyed(&mut http, "/v1/stock/A/receive", "k5", &more).expect(200)["on_hand"], 7);
    }
    let less = json!({"by": -2, "reason": "broken"});
    for _ in 0..2 {
        assert_eq!(keyed(&mut http, "/v1/stock/A/adjust", "k6", &less).expect(200)["on_hand"], 5);
    }
    expect_calm(server);
}

#[test]
fn settings_sell_beyond_the_stock_and_keep_some_back() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = start(folder.path());
    let mut http = server.operator();
    put(&mut http, "B", &json!({"safety": 1})).expect_problem(404, "sku-not-found");
    let body = json!({"on_hand": 3, "safety": 1, "backorder_max": 2, "per_member": 4});
    let item = put(&mut http, "B", &body).expect(200);
    assert_eq!((&item["on_hand"], &item["available"]), (&json!(3), &json!(2)));
    let ask = |quantity: u32, member: &str| json!({"lines": [{"sku": "B", "quantity": quantity}], "member": member});
    keyed(&mut http, RESERVATIONS, "k1", &ask(5, "m1")).expect_problem(422, "purchase-limit");
    let reserved = keyed(&mut http, RESERVATIONS, "k2", &ask(4, "m1")).expect(201);
    let line = &reserved["lines"][0];
    assert_eq!((&line["held"], &line["promised"]), (&json!(2), &json!(2)));
    end(&mut http, &reserved, "commit").expect(200);
    let after = keyed(&mut http, "/v1/stock/B/receive", "k3", &json!({"quantity": 5})).expect(200);
    // Two units left at once: they were owed.
    assert_eq!((&after["on_hand"], &after["owed"], &after["available"]), (&json!(4), &json!(0), &json!(3)));
    put(&mut http, "B", &json!({"per_member": null, "released_at": "2090-01-01T00:00:00Z"})).expect(200);
    let seen = http.get("/v1/stock/B").expect("an answer").expect(200);
    assert!(seen["per_member"].is_null(), "{seen}");
    assert_eq!(seen["locations"][0]["released_at"], "2090-01-01T00:00:00Z");
    put(&mut http, "B", &json!({"released_at": null})).expect(200);
    let seen = http.get("/v1/stock/B").expect("an answer").expect(200);
    assert!(seen["locations"][0]["released_at"].is_null(), "{seen}");
    // A setting that is refused leaves the count alone.
    put(&mut http, "B", &json!({"on_hand": 9, "backorder_max": 1_000_001}))
        .expect_problem(422, "stock-above-limit");
    expect_level(&mut http, "B", 4, 0, 3);
    expect_calm(server);
}

#[test]
fn the_last_units_go_to_exactly_as_many() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = start(folder.path());
    for round in 0..3 {
        let sku = format!("last-{round}");
        put(&mut server.operator(), &sku, &json!({"on_hand": 5})).expect(200);
        let replies = all_at_once(&server, 100, |client| {
            (
                format!("{round}-{client}"),
                json!({"lines": [{"sku": sku, "quantity": 1}], "member": format!("m{client}")}),
            )
        });
        assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), 5, "round {round}");
        for reply in replies.iter().filter(|reply| reply.status != 201) {
            reply.expect_problem(409, "out-of-stock");
            assert_eq!(reply.json()["lines"], json!([{"line": 0, "sku": sku, "available": 0}]));
        }
        expect_level(&mut server.operator(), &sku, 5, 5, 0);
    }
    expect_calm(server);
}

#[test]
fn one_key_is_one_reservation() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = start(folder.path());
    put(&mut server.operator(), "A", &json!({"on_hand": 500})).expect(200);
    let ask = |_| ("one".to_owned(), json!({"lines": [{"sku": "A", "quantity": 2}], "order": "o1"}));
    let replies = all_at_once(&server, 50, ask);
    assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), 1);
    for reply in &replies {
        assert!(matches!(reply.status, 200 | 201), "{}", reply.text());
        assert_eq!(reply.status == 200, reply.headers.contains_key("idempotent-replayed"));
        assert_eq!(reply.text(), replies[0].text(), "every answer is the same, byte for byte");
    }
    expect_level(&mut server.operator(), "A", 500, 2, 498);
    let other = json!({"lines": [{"sku": "A", "quantity": 3}], "order": "o1"});
    keyed(&mut server.operator(), RESERVATIONS, "one", &other).expect_problem(422, "idempotency-key-reused");
    expect_calm(server);
}

#[test]
fn lines_are_all_or_none_and_the_short_ones_are_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = start(folder.path());
    let mut http = server.operator();
    put(&mut http, "A", &json!({"on_hand": 3})).expect(200);
    put(&mut http, "B", &json!({"on_hand": 1})).expect(200);
    let lines =
        json!([{"sku": "A", "quantity": 1}, {"sku": "B", "quantity": 2}, {"sku": "A", "quantity": 9}]);
    let no = keyed(&mut http, RESERVATIONS, "k1", &json!({"lines": lines}));
    no.expect_problem(409, "out-of-stock");
    let expected = json!([{"line": 1, "sku": "B", "available": 1}, {"line": 2, "sku": "A", "available": 3}]);
    assert_eq!(no.json()["lines"], expected);
    expect_level(&mut http, "A", 3, 0, 3);
    // Two lines of one SKU share what there is.
    let twice =
        json!({"lines": [{"sku": "A", "quantity": 2}, {"sku": "A", "quantity": 2, "location": "main"}]});
    let no = keyed(&mut http, RESERVATIONS, "k2", &twice);
    no.expect_problem(409, "out-of-stock");
    assert_eq!(no.json()["lines"], json!([{"line": 0, "sku": "A", "available": 3}]));
    let twice =
        json!({"lines": [{"sku": "A", "quantity": 2}, {"sku": "A", "quantity": 1, "location": "main"}]});
    let reserved = keyed(&mut http, RESERVATIONS, "k2", &twice).expect(201);
    assert_eq!(reserved["lines"][0]["quantity"], 3);
    expect_level(&mut http, "A", 3, 3, 0);
    keyed(&mut http, RESERVATIONS, "k3", &json!({"lines": [{"sku": "C", "quantity": 1}]}))
        .expect_problem(404, "sku-not-found");
    let nowhere = json!({"lines": [{"sku": "A", "quantity": 1, "location": "moon"}]});
    keyed(&mut http, RESERVATIONS, "k4", &nowhere).expect_problem(404, "location-not-found");
    expect_calm(server);
}

#[test]
fn a_reservation_expires_by_itself() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = start(folder.path());
    let mut http = server.operator();
    put(&mut http, "A", &json!({"on_hand": 1})).expect(200);
    let asked = json!({"lines": [{"sku": "A", "quantity": 1}], "hold_seconds": 1});
    let held = keyed(&mut http, RESERVATIONS, "k1", &asked).expect(201);
    expect_level(&mut http, "A", 1, 1, 0);
    until("it expires", || {
        let shown = http.get(&format!("{RESERVATIONS}/r-1")).expect("an answer").expect(200);
        (shown["state"] == "expired").then_some(())
    });
    expect_level(&mut http, "A", 1, 0, 1);
    end(&mut http, &held, "commit").expect_problem(410, "reservation-expired");
    assert_eq!(end(&mut http, &held, "release").expect(200)["state"], "expired");
    expect_calm(server);
}

#[test]
fn roles_do_what_they_may() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = start(folder.path());
    let (mut service, mut auditor) = (key_of(&server, "service"), key_of(&server, "auditor"));
    let (mut own, mut other) = (shopper(&server, "m1"), shopper(&server, "m2"));
    put(&mut service, "A", &json!({"on_hand": 5})).expect(200);
    let one = json!({"lines": [{"sku": "A", "quantity": 1}]});
    let for_m1 = json!({"lines": [{"sku": "A", "quantity": 1}], "member": "m1"});
    for http in [&mut auditor, &mut own] {
        put(http, "A", &json!({"on_hand": 9})).expect_problem(403, "forbidden");
        keyed(http, "/v1/stock/A/receive", "k", &json!({"quantity": 1})).expect_problem(403, "forbidden");
        keyed(http, "/v1/stock/A/adjust", "k", &json!({"by": 1})).expect_problem(403, "forbidden");
        keyed(http, "/v1/stock/import", "k", &json!({})).expect_problem(403, "forbidden");
        keyed(http, "/v1/stock/reservations/r-1/return", "k", &one).expect_problem(403, "forbidden");
    }
    keyed(&mut auditor, RESERVATIONS, "k", &one).expect_problem(403, "forbidden");
    keyed(&mut other, RESERVATIONS, "k", &for_m1).expect_problem(403, "forbidden");
    let mine = keyed(&mut own, RESERVATIONS, "k", &one).expect(201);
    assert_eq!(mine["member"], "m1");
    let id = mine["reservation"].as_str().expect("a name");
    end(&mut other, &mine, "release").expect_problem(404, "reservation-not-found");
    // What is committed is sold: not even the shopper's own reservation is theirs to commit.
    for http in [&mut other, &mut own] {
        end(http, &mine, "commit").expect_problem(403, "forbidden");
    }
    for verb in ["commit", "release"] {
        end(&mut auditor, &mine, verb).expect_problem(403, "forbidden");
    }
    let long = json!({"lines": [{"sku": "A", "quantity": 1}], "hold_seconds": 3_601});
    keyed(&mut own, RESERVATIONS, "long", &long).expect_problem(403, "forbidden");
    let path = format!("{RESERVATIONS}/{id}");
    other.get(&path).expect("an answer").expect_problem(404, "reservation-not-found");
    assert_eq!(auditor.get(&path).expect("an answer").expect(200)["state"], "held");
    assert_eq!(end(&mut own, &mine, "release").expect(200)["state"], "released");
    let all = service.get("/v1/stock/A").expect("an answer").expect(200);
    assert_eq!(all["locations"][0]["on_hand"], 5);
    for path in ["/v1/stock/A", "/v1/stock"] {
        let seen = own.get(path).expect("an answer").expect(200);
        let seen = if path == "/v1/stock" { seen["skus"][0].clone() } else { seen };
        assert_eq!(seen["available"], 5);
        let fields: Vec<_> = seen.as_object().expect("an object").keys().cloned().collect();
        assert_eq!(fields, ["sku", "available", "seq"], "a shopper reads nothing else");
    }
    server.http("").get("/v1/stock").expect("an answer").expect_problem(401, "unauthenticated");
    expect_calm(server);
}

/// Bug: a member's token gave up the goods that a checkout outside had reserved for its order.
#[test]
fn what_the_shop_reserved_for_a_member_the_member_does_not_give_up() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = start(folder.path());
    let (mut service, mut own) = (key_of(&server, "service"), shopper(&server, "m1"));
    put(&mut service, "A", &json!({"on_hand": 5})).expect(200);
    let line = json!([{"sku": "A", "quantity": 1}]);
    for (key, body) in [
        ("with-order", json!({"lines": line, "member": "m1", "order": "100234"})),
        ("without-order", json!({"lines": line, "member": "m1"})),
    ] {
        let held = keyed(&mut service, RESERVATIONS, key, &body).expect(201);
        end(&mut own, &held, "release").expect_problem(403, "forbidden");
        assert_eq!(end(&mut service, &held, "release").expect(200)["state"], "released");
    }
    let mine = keyed(&mut own, RESERVATIONS, "mine", &json!({"lines": line, "order": "cart-1"})).expect(201);
    assert_eq!(end(&mut own, &mine, "release").expect(200)["state"], "released");
    expect_calm(server);
}

#[test]
fn bad_input_is_a_clear_no() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = start(folder.path());
    let mut http = server.operator();
    put(&mut http, "A", &json!({"on_hand": 5})).expect(200);
    for (path, body) in [
        ("/v1/stock/A/receive", json!({"quantity": 1})),
        ("/v1/stock/A/adjust", json!({"by": 1})),
        (RESERVATIONS, json!({"lines": [{"sku": "A", "quantity": 1}]})),
        ("/v1/stock/reservations/r-1/return", json!({"lines": [{"sku": "A", "quantity": 1}]})),
    ] {
        http.post(path, &body).expect("an answer").expect_problem(400, "idempotency-key-required");
    }
    let deep = format!("{{\"lines\":{}{}}}", "[".repeat(3_000), "]".repeat(3_000));
    let many = json!({"lines": vec![json!({"sku": "A", "quantity": 1}); 101]}).to_string();
    let bodies: Vec<(&str, &str, &[u8])> = vec![
        ("PUT", "/v1/stock/A", b""),
        ("PUT", "/v1/stock/A", b"{}"),
        ("PUT", "/v1/stock/A", b"{\"on_hand\":-1}"),
        ("PUT", "/v1/stock/A", b"{\"on_hand\":4294967296}"),
        ("PUT", "/v1/stock/A", b"{\"on_hand\":1.5}"),
        ("PUT", "/v1/stock/A", b"{\"on_hand\":1,\"x\":1}"),
        ("PUT", "/v1/stock/A", b"{\"on_hand\":1,\"location\":\"Not A Slug\"}"),
        ("PUT", "/v1/stock/A", b"{\"on_hand\":1,\"reason\":\"a\\u0000b\"}"),
        ("PUT", "/v1/stock/A", b"{\"released_at\":\"tomorrow\"}"),
        ("PUT", "/v1/stock/A%20B", b"{\"on_hand\":1}"),
        ("PUT", "/v1/stock/%ff", b"{\"on_hand\":1}"),
        ("POST", "/v1/stock/A/receive", b"{\"quantity\":0}"),
        ("POST", "/v1/stock/A/receive", b"[]"),
        ("POST", "/v1/stock/A/adjust", b"{\"by\":0}"),
        ("POST", "/v1/stock/A/adjust", b"{\"by\":99999999999999999999}"),
        ("POST", RESERVATIONS, b"{\"lines\":[]}"),
        ("POST", RESERVATIONS, b"{\"lines\":[{\"sku\":\"A\",\"quantity\":0}]}"),
        ("POST", RESERVATIONS, b"{\"lines\":[{\"sku\":\"\",\"quantity\":1}]}"),
        ("POST", RESERVATIONS, b"{\"lines\":[{\"sku\":\"A\",\"quantity\":1}],\"hold_seconds\":0}"),
        (
            "POST",
            RESERVATIONS,
            b"{\"lines\":[{\"sku\":\"A\",\"quantity\":1}],\"hold_seconds\":18446744073709551615}",
        ),
        ("POST", RESERVATIONS, b"{\"lines\":[{\"sku\":\"A\",\"quantity\":1}],\"member\":\"\\u0001\"}"),
        ("POST", RESERVATIONS, b"{\"lines\":[{\"sku\":\"A\",\"quantity\":1}],\"order\":\"\"}"),
        ("POST", RESERVATIONS, deep.as_bytes()),
        ("POST", RESERVATIONS, many.as_bytes()),
        ("POST", "/v1/stock/import", b""),
        ("POST", "/v1/stock/import", b"A,main,1\n"),
        ("POST", "/v1/stock/import", b"\xff\xfe\x00"),
    ];
    for (method, path, body) in bodies {
        let reply = http.send(method, path, &[("idempotency-key", "k")], body).expect("an answer");
        let what = format!("{method} {path} {}: {}", String::from_utf8_lossy(body), reply.text());
        assert_eq!(reply.status, 400, "{what}");
        assert_eq!(reply.json()["type"], "/errors/invalid-request", "{what}");
    }
    for path in ["/v1/stock/nothing", "/v1/stock/A%20B", "/v1/stock?after=nothing"] {
        http.get(path).expect("an answer").expect_problem(404, "sku-not-found");
    }
    for path in ["/v1/stock?limit=0", "/v1/stock?limit=1001", "/v1/stock?limit=x", "/v1/stock?y=1"] {
        http.get(path).expect("an answer").expect_problem(400, "invalid-request");
    }
    for id in ["r-0", "r-x", "r-01", "r-99999999999999999999999", "x", "%00"] {
        let path = format!("{RESERVATIONS}/{id}/commit");
        http.post(&path, &json!({})).expect("an answer").expect_problem(404, "reservation-not-found");
    }
    keyed(&mut http, "/v1/stock/A/adjust", "a", &json!({"by": i64::MAX}))
        .expect_problem(422, "stock-above-limit");
    keyed(&mut http, "/v1/stock/A/adjust", "b", &json!({"by": i64::MIN}))
        .expect_problem(422, "stock-below-held");
    let most = json!({"quantity": u32::MAX});
    keyed(&mut http, "/v1/stock/A/receive", "c", &most).expect_problem(422, "stock-above-limit");
    expect_level(&mut http, "A", 5, 0, 5);
    // SKUs that read like endpoints, or like paths, are SKUs once escaped.
    for sku in ["%69mport", "%72eservations", "a%2Fb%3Fc", "%2E%2E"] {
        put(&mut http, sku, &json!({"on_hand": 1})).expect(200);
        expect_level(&mut http, sku, 1, 0, 1);
    }
    expect_calm(server);
}

#[test]
fn a_list_has_every_sku_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = start(folder.path());
    let mut http = server.operator();
    let rows: String = (0..5_000).map(|n| format!("S{n},main,{n}\nS{n},east,1\n")).collect();
    let csv = format!("sku,location,on_hand\n{rows}");
    let done = http.send("POST", "/v1/stock/import", &[], csv.as_bytes()).expect("an answer").expect(200);
    assert_eq!((&done["rows"], &done["changed"]), (&json!(10_000), &json!(10_000)));
    // Items that come after all SKUs, so that the last page has nothing new in them.
    let rows: String = (0..5_000).map(|n| format!("S{n},west,1\n")).collect();
    let csv = format!("sku,location,on_hand\n{rows}");
    http.send("POST", "/v1/stock/import", &[], csv.as_bytes()).expect("an answer").expect(200);
    let (mut after, mut skus) = (String::new(), Vec::new());
    loop {
        let page = http.get(&format!("/v1/stock?limit=700{after}")).expect("an answer").expect(200);
        for sku in page["skus"].as_array().expect("SKUs") {
            assert_eq!(sku["locations"].as_array().expect("locations").len(), 3);
            skus.push(sku["sku"].as_str().expect("a name").to_owned());
        }
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(skus, (0..5_000).map(|n| format!("S{n}")).collect::<Vec<_>>());
    expect_level(&mut http, "S4999", 5_001, 0, 5_001);
    expect_calm(server);
}

#[test]
fn an_import_is_carried_out_once_under_its_key() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = start(folder.path());
    let mut http = server.operator();
    let rows: String = (0..10_000).map(|n| format!("S{n},main,3\n")).collect();
    let csv = format!("sku,location,on_hand\n{rows}S0,main,4\nS1,Bad Place,4\n");
    let mut import = |csv: &str| {
        http.send("POST", "/v1/stock/import", &[("idempotency-key", "i1")], csv.as_bytes())
            .expect("an answer")
    };
    let first = import(&csv);
    let done = first.expect(200);
    assert_eq!((&done["changed"], &done["refused_total"]), (&json!(10_000), &json!(2)));
    assert!(!first.headers.contains_key("idempotent-replayed"));
    // Somebody counts differently in between: the repeated import must not undo that.
    put(&mut server.operator(), "S5", &json!({"on_hand": 8})).expect(200);
    put(&mut server.operator(), "S9000", &json!({"on_hand": 8})).expect(200);
    let again = import(&csv);
    assert_eq!((again.status, again.text()), (200, first.text()));
    assert_eq!(again.headers["idempotent-replayed"], "true");
    expect_level(&mut server.operator(), "S5", 8, 0, 8);
    expect_level(&mut server.operator(), "S9000", 8, 0, 8);
    import("sku,location,on_hand\nS5,main,1\n").expect_problem(422, "idempotency-key-reused");
    // A header with nothing below it is an import of nothing.
    let nothing = http.send("POST", "/v1/stock/import", &[], b"SKU, location, on_hand\r\n\r\n");
    assert_eq!(nothing.expect("an answer").expect(200)["rows"], 0);
    expect_calm(server);
}

#[test]
fn every_endpoint_of_stock_is_documented() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = start(folder.path());
    let document = server.http("").get("/openapi.json").expect("an answer").expect(200);
    for (path, methods) in [
        ("/v1/stock", &["get"][..]),
        ("/v1/stock/import", &["post"]),
        ("/v1/stock/reservations", &["post"]),
        ("/v1/stock/reservations/{id}", &["get"]),
        ("/v1/stock/reservations/{id}/commit", &["post"]),
        ("/v1/stock/reservations/{id}/release", &["post"]),
        ("/v1/stock/reservations/{id}/return", &["post"]),
        ("/v1/stock/{sku}", &["get", "put"]),
        ("/v1/stock/{sku}/receive", &["post"]),
        ("/v1/stock/{sku}/adjust", &["post"]),
    ] {
        for method in methods {
            let operation = &document["paths"][path][method];
            assert!(operation["summary"].as_str().is_some_and(|text| text.len() > 10), "{method} {path}");
            assert!(operation["responses"]["200"].is_object(), "{method} {path}");
        }
    }
    expect_calm(server);
}

#[test]
fn a_hundred_thousand_rows_are_imported_and_the_bad_ones_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = start(folder.path());
    let mut http = server.operator();
    put(&mut http, "S10", &json!({"on_hand": 5})).expect(200);
    keyed(&mut http, RESERVATIONS, "k", &json!({"lines": [{"sku": "S10", "quantity": 4}]})).expect(201);
    let mut csv = String::from("sku,location,on_hand\n");
    for n in 0..100_000 {
        // Line n + 2.
        csv.push_str(&match n {
            7 => "S7,main,minus\n".to_owned(),
            10 => "S10,main,3\n".to_owned(),
            50_000 => "S50000,main\n".to_owned(),
            70_000 => "S6,main,1\n".to_owned(),
            99_999 => "\"S,99\",,12\n".to_owned(),
            n => format!("S{n},main,{}\n", n % 90),
        });
    }
    let file = folder.path().join("stock.csv");
    std::fs::write(&file, &csv).expect("written");
    let (url, key) = (format!("http://{}", server.address), server.data.join("operator.key"));
    let more = ["--url", &url, "--key-file", text(&key)];
    let lines = |report: &Value| -> Vec<u64> {
        report["refused"]
            .as_array()
            .expect("bad lines")
            .iter()
            .map(|bad| bad["line"].as_u64().expect("a line"))
            .collect()
    };
    let bad = [9, 12, 50_002, 70_002];

    let args = [&["stock", "import", text(&file), "--json"][..], &more].concat();
    let output = run(binary(), &args);
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert_eq!((&report["rows"], &report["changed"]), (&json!(100_000), &json!(99_996)), "{report}");
    assert_eq!(lines(&report), bad);
    assert!(report["refused"][1]["why"].as_str().is_some_and(|why| why.contains("4 are held")), "{report}");
    expect_level(&mut http, "S89999", 89_999 % 90, 0, 89_999 % 90);
    expect_level(&mut http, "S,99", 12, 0, 12);
    expect_level(&mut http, "S10", 5, 4, 1);

    // The same in one request, which finds the same lines bad and changes nothing.
    let again = http.send("POST", "/v1/stock/import", &[], csv.as_bytes()).expect("an answer").expect(200);
    assert_eq!((&again["changed"], &again["unchanged"]), (&json!(0), &json!(99_996)), "{again}");
    assert_eq!(lines(&again), bad);

    let said = run(binary(), &[&["stock", "import", text(&file)][..], &more].concat());
    let told = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(told.contains("line 50002: it has 2 fields") && told.contains("4 refused"), "{told}");
    let set =
        run_well(binary(), &[&["stock", "set", "import", "8", "--reason", "count"][..], &more].concat());
    assert!(set.contains("8 on hand"), "{set}");
    let shown = run_well(binary(), &[&["stock", "show", "import", "--json"][..], &more].concat());
    assert_eq!(serde_json::from_str::<Value>(&shown).expect("JSON")["on_hand"], 8);
    let table = run_well(binary(), &[&["stock", "show", "S10"][..], &more].concat());
    assert!(table.contains("main") && table.contains("available"), "{table}");

    // Only the first thousand bad lines are named.
    let bad: String = (0..3_000).map(|n| format!("T{n},main,x\n")).collect();
    let csv = format!("sku,location,on_hand\r\n{bad}");
    let answer = http.send("POST", "/v1/stock/import", &[], csv.as_bytes()).expect("an answer").expect(200);
    assert_eq!((lines(&answer).len(), &answer["refused_total"]), (1_000, &json!(3_000)));
    let huge = vec![b'x'; (16 << 20) + 1];
    let reply = http.send("POST", "/v1/stock/import", &[], &huge);
    // It may close before everything is sent.
    if let Ok(reply) = reply {
        reply.expect_problem(413, "too-large");
    }
    expect_calm(server);
}
