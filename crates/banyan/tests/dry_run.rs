//! Requests that only ask what would be answered: directly, and as copies that the gateway sends.

mod support;

use banyan_testkit::free_port;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use support::{Http, Reply, Server, run_well, text, until};

const RESERVATIONS: &str = "/v1/stock/reservations";
const COUPONS: &str = "/v1/campaigns/noon/coupons";
const DRY: (&str, &str) = ("banyan-dry-run", "true");

fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_banyan"))
}

fn start(folder: &Path, more: &[&str]) -> Server {
    let server = Server::start(binary(), &folder.join("data"), more);
    let mut http = server.operator();
    send(&mut http, "PUT", "/v1/stock/A", &[], &json!({"on_hand": 5, "reason": "count"})).expect(200);
    server
}

fn send(http: &mut Http, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Reply {
    http.send(method, path, headers, body.to_string().as_bytes()).expect("an answer")
}

fn post(http: &mut Http, path: &str, headers: &[(&str, &str)], body: &Value) -> Reply {
    send(http, "POST", path, headers, body)
}

/// Everything that stock is, and how long the log is.
fn stock(http: &mut Http) -> Value {
    http.get("/v1/stock").expect("an answer").expect(200)
}

#[track_caller]
fn says_so(reply: &Reply) {
    assert_eq!(reply.headers.get("banyan-dry-run").map(String::as_str), Some("true"), "{}", reply.text());
}

fn wanted(quantity: u32) -> Value {
    json!({"lines": [{"sku": "A", "quantity": quantity}], "member": "ada", "order": "o-1"})
}

#[test]
fn a_dry_run_of_a_reservation_answers_as_the_real_one_and_changes_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = start(folder.path(), &[]);
    let mut http = server.operator();
    let before = stock(&mut http);

    let mut reserve = |headers: &[(&str, &str)], body: &Value| post(&mut http, RESERVATIONS, headers, body);
    let (k1, k2) = (("idempotency-key", "k1"), ("idempotency-key", "k2"));
    let dry = reserve(&[k1, DRY], &wanted(2));
    says_so(&dry);
    let told = dry.expect(201);
    assert_eq!((&told["reservation"], &told["state"]), (&json!("r-1"), &json!("held")));
    assert_eq!(reserve(&[k1, DRY], &wanted(2)).expect(201)["lines"], told["lines"], "as often as one likes");
    let short = reserve(&[k2, DRY], &wanted(6));
    says_so(&short);
    short.expect_problem(409, "out-of-stock");
    assert_eq!(short.json()["lines"], json!([{"line": 0, "sku": "A", "available": 5}]));
    let keyless = reserve(&[DRY], &wanted(2));
    says_so(&keyless);
    keyless.expect_problem(400, "idempotency-key-required");
    reserve(&[k1, ("banyan-dry-run", "yes")], &wanted(2)).expect_problem(400, "invalid-request");

    assert_eq!(stock(&mut http), before, "no unit is held, and nothing was written to the log");
    let none = http.get(&format!("{RESERVATIONS}/r-1")).expect("an answer");
    none.expect_problem(404, "reservation-not-found");

    // No key was used up: the first one stands for another request now, and the answer is the one that was told.
    let mut reserve = |headers: &[(&str, &str)], body: &Value| post(&mut http, RESERVATIONS, headers, body);
    let ahead = reserve(&[k2, DRY], &wanted(1)).expect(201);
    let real = reserve(&[k1], &wanted(1));
    assert!(!real.headers.contains_key("banyan-dry-run"));
    let without_time = |mut answer: Value| {
        answer["expires_at"] = Value::Null;
        answer
    };
    assert_eq!(without_time(real.expect(201)), without_time(ahead));
    let again = reserve(&[k1, DRY], &wanted(1));
    says_so(&again);
    assert_eq!((again.expect(200), &again.headers["idempotent-replayed"]), (real.json(), &"true".to_owned()));
    reserve(&[k1, DRY], &wanted(2)).expect_problem(422, "idempotency-key-reused");
    reserve(&[k1, ("banyan-dry-run", "false")], &wanted(1)).expect(200);

    server.stop();
    run_well(binary(), &["verify", "--data", text(&folder.path().join("data"))]);
}

#[test]
fn a_dry_run_of_an_issue_tells_no_code_of_a_coupon() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = start(folder.path(), &[]);
    let mut http = server.operator();
    let campaign = json!({"id": "noon", "name": "Noon", "quantity": 1, "per_member": 1,
        "benefit": {"amount": {"minor": 500, "currency": "GBP"}}});
    post(&mut http, "/v1/campaigns", &[], &campaign).expect(201);
    let before = stock(&mut http)["seq"].clone();
    let ada = json!({"member": "ada"});
    let dry = post(&mut http, COUPONS, &[DRY], &ada);
    says_so(&dry);
    let told = dry.expect(201);
    assert_eq!(told["coupon"], "noon-1");
    assert_eq!(stock(&mut http)["seq"], before);
    let code = told["code"].as_str().expect("a code");
    http.get(&format!("/v1/coupons/{code}")).expect("an answer").expect_problem(404, "coupon-not-found");

    let real = post(&mut http, COUPONS, &[], &ada).expect(201);
    assert_eq!((&real["coupon"], &real["seq"]), (&told["coupon"], &told["seq"]));
    assert_ne!(real["code"], told["code"], "the code is for whoever gets the coupon");
    let names = |answer: &Value| answer.as_object().map(|fields| fields.keys().cloned().collect::<Vec<_>>());
    assert_eq!(names(&real), names(&told));
    let again = post(&mut http, COUPONS, &[DRY], &ada);
    says_so(&again);
    assert_eq!(again.expect(200), real, "who has it may ask for it at any time");
    let late = post(&mut http, COUPONS, &[DRY], &json!({"member": "ben"}));
    says_so(&late);
    late.expect_problem(409, "sold-out");
    server.stop();
}

#[test]
fn what_cannot_pretend_refuses_to_do_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = start(folder.path(), &[]);
    let mut http = server.operator();
    let before = stock(&mut http);
    let receive = json!({"quantity": 3, "reason": "a delivery"});
    for (method, path, body) in [
        ("POST", "/v1/stock/A/receive", &receive),
        ("PUT", "/v1/stock/A", &json!({"on_hand": 9})),
        ("POST", "/v1/orders", &json!({})),
        ("POST", "/v1/views/record/rebuild", &json!({})),
    ] {
        let refused = send(&mut http, method, path, &[DRY, ("idempotency-key", "k")], body);
        refused.expect_problem(501, "dry-run-unsupported");
        assert!(!refused.headers.contains_key("banyan-dry-run"), "it did not pretend");
    }
    let unclear = post(&mut http, "/v1/stock/A/receive", &[("banyan-dry-run", "1")], &receive);
    unclear.expect_problem(400, "invalid-request");
    assert_eq!(stock(&mut http), before);
    assert_eq!(
        send(&mut http, "GET", "/v1/stock/A", &[DRY], &Value::Null).status,
        200,
        "looking changes nothing"
    );
    let quote = json!({"member": "ada", "lines": [{"product": "a", "quantity": 1}]});
    says_so(&post(&mut http, "/v1/orders/quote", &[DRY], &quote));
    send(&mut http, "DELETE", "/v1/stock/A", &[], &Value::Null).expect_problem(405, "method-not-allowed");
    server.stop();
}

#[test]
fn copies_of_reservations_are_compared_and_reserve_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (shop, admin) = (an_old_shop(), free_port().expect("a free port"));
    let port = free_port().expect("a free port");
    let config = format!(
        "listen = \"127.0.0.1:{port}\"\nadmin = \"127.0.0.1:{admin}\"\n[[route]]\nname = \"reserve\"\npath = \"/api/reserve\"\n\
         mode = \"shadow\"\nupstream = \"http://{shop}\"\nbanyan = \"in-process\"\n\
         rewrite = {{ from = \"/api/reserve\", to = \"{RESERVATIONS}\", side = \"banyan\" }}\n\
         [route.shadow]\ndry_run = true\nignore = [\"$.reservation\", \"$.expires_at\", \"$.seq\"]\n"
    );
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, config).expect("written");
    let server = start(folder.path(), &["--gateway", text(&file)]);
    let mut http = server.operator();
    let before = stock(&mut http);
    let gateway = SocketAddr::from(([127, 0, 0, 1], port));
    until("the gateway is there", || std::net::TcpStream::connect(gateway).ok());
    let key =
        std::fs::read_to_string(folder.path().join("banyan-gateway/admin.key")).expect("the admin's key");
    let mut admin = Http::with_key(SocketAddr::from(([127, 0, 0, 1], admin)), key.trim());
    let mut shopper = Http::with_key(gateway, &server.operator_key());
    let mut asked = 0;
    let report = until("three copies are compared", || {
        asked += 1;
        let name = format!("key-{asked}");
        let answer = post(&mut shopper, "/api/reserve", &[("idempotency-key", &name)], &wanted(2));
        assert_eq!(answer.expect(201)["reservation"], "old", "the old shop answers");
        assert!(!answer.headers.contains_key("banyan-dry-run"));
        let report = admin.get("/v1/shadow").expect("an answer").expect(200)["routes"][0].clone();
        (report["compared"].as_u64() >= Some(3)).then_some(report)
    });
    assert_eq!(report["equal"], report["compared"], "{report}");
    assert_eq!((&report["mismatched"], &report["errors"]), (&json!(0), &json!(0)), "{report}");
    assert!(asked > 2, "five units would not have been enough for that");
    assert_eq!(stock(&mut http), before, "nothing was reserved");
    server.stop();
}

/// A shop that says of every order what Banyan would say.
fn an_old_shop() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let Ok(socket) = socket else { return };
            let mut socket = BufReader::new(socket);
            let (mut line, mut length) = (String::new(), 0);
            while socket.read_line(&mut line).is_ok_and(|read| read > 2) {
                if let Some((name, value)) = line.split_once(':')
                    && name.eq_ignore_ascii_case("content-length")
                {
                    length = value.trim().parse().unwrap_or(0);
                }
                line.clear();
            }
            let mut body = vec![0; length];
            // Who went away is not answered.
            let _gone = socket.read_exact(&mut body);
            let line = json!({"sku": "A", "location": "main", "quantity": 2, "held": 2, "promised": 0});
            let answer = json!({"reservation": "old", "state": "held", "expires_at": null, "ended_at": null, "member": "ada",
                "order": "o-1", "lines": [line], "seq": 0});
            let answer = answer.to_string();
            let head = format!(
                "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                answer.len()
            );
            let _gone = socket.get_mut().write_all(format!("{head}{answer}").as_bytes());
        }
    });
    address
}
