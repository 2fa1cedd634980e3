//! What a person does in the first hour with Banyan, in order, against the real binary.

mod support;

use serde_json::{Value, json};
use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use support::{Http, Reply, Server, campaign, connect, read_chunk, read_head, run, run_well, text, until};

const SECRET: &str = "a shop's secret of at least thirty-two bytes";

struct Shop {
    binary: PathBuf,
    folder: tempfile::TempDir,
    server: Option<Server>,
}

impl Shop {
    fn open() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("shop.secret"), SECRET).expect("written");
        let mut shop = Self { binary: env!("CARGO_BIN_EXE_banyan").into(), folder, server: None };
        shop.start();
        shop
    }

    fn start(&mut self) {
        let secret = self.folder.path().join("shop.secret");
        let more = ["--jwt-hs256-secret", text(&secret)];
        self.server = Some(Server::start(&self.binary, &self.data(), &more));
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("started")
    }

    fn operator(&self) -> Http {
        self.server().operator()
    }

    /// Runs a subcommand on this shop's data.
    fn run_well(&self, args: &[&str]) -> String {
        let data = self.data();
        run_well(&self.binary, &[args, &["--data", text(&data)]].concat())
    }

    fn shopper(&self, member: &str, more: &[&str]) -> Http {
        let secret = self.folder.path().join("shop.secret");
        let args = ["key", "token", "--member", member, "--secret-file", text(&secret)];
        self.server().http(run_well(&self.binary, &[&args, more].concat()).trim())
    }
}

fn issue(http: &mut Http, campaign: &str, member: &str) -> Reply {
    http.post(&format!("/v1/campaigns/{campaign}/coupons"), &json!({"member": member})).expect("an answer")
}

#[test]
fn a_person_tries_it() {
    let shop = Shop::open();
    let mut operator = shop.operator();
    // The sample campaign is there.
    let coupon = issue(&mut operator, "sample", "member-1");
    assert_eq!(issue(&mut operator, "sample", "member-1").expect(200), coupon.expect(201), "asking again");
    // A key for the shop's servers works within seconds, without a restart.
    let made = shop.run_well(&["key", "create", "--role", "service", "--name", "checkout"]);
    let mut service = shop.server().http(made.trim());
    let reply = until("the server takes the key", || {
        Some(issue(&mut service, "sample", "member-2")).filter(|reply| reply.status != 401)
    });
    reply.expect(201);
    service
        .post("/v1/campaigns", &campaign("x", &json!(1), 1))
        .expect("an answer")
        .expect_problem(403, "forbidden");
    let listed: Value = serde_json::from_str(&shop.run_well(&["key", "list", "--json"])).expect("JSON");
    let names: Vec<_> =
        listed["keys"].as_array().into_iter().flatten().map(|key| key["name"].clone()).collect();
    assert_eq!(names, ["operator", "shop", "checkout"], "the first two are made by the server");
    assert!(!listed.to_string().contains(made.trim()), "a key is shown once");
    shop.run_well(&["key", "remove", "checkout"]);
    until("the server forgets the key", || {
        (service.get("/v1/campaigns").expect("an answer").status == 401).then_some(())
    });
    let last = run(&shop.binary, &["key", "remove", "operator", "--data", text(&shop.data())]);
    assert_eq!(last.status.code(), Some(2), "the last operator key stays");
    // A shopper acts only for itself.
    let mut shopper = shop.shopper("member-7", &["--for", "15m"]);
    issue(&mut shopper, "sample", "member-7").expect(201);
    issue(&mut shopper, "sample", "member-8").expect_problem(403, "forbidden");
    let others = coupon.json()["code"].as_str().expect("a code").to_owned();
    let reply =
        shopper.post(&format!("/v1/coupons/{others}/redeem"), &json!({"order": "o1"})).expect("an answer");
    reply.expect_problem(404, "coupon-not-found");
    shopper.get("/v1/members/member-1/coupons").expect("an answer").expect_problem(403, "forbidden");
    shopper.get("/v1/events").expect("an answer").expect_problem(403, "forbidden");
    shop.server().http("").get("/v1/campaigns").expect("an answer").expect_problem(401, "unauthenticated");
    shop.server()
        .http("nonsense")
        .get("/v1/campaigns")
        .expect("an answer")
        .expect_problem(401, "unauthenticated");
    let metrics = shop.server().http("").get("/metrics").expect("an answer").text();
    assert!(metrics.contains("banyan_coupons_issued_total 3"), "{metrics}");
    let document: Value = serde_json::from_str(&run_well(&shop.binary, &["openapi"])).expect("JSON");
    assert_eq!(document, shop.server().http("").get("/openapi.json").expect("an answer").json());
    shop.run_well(&["verify"]);
}

#[test]
fn every_refusal_is_its_own() {
    let shop = Shop::open();
    let mut operator = shop.operator();
    let file = shop.folder.path().join("campaigns.toml");
    std::fs::write(shop.folder.path().join("members.txt"), "listed-1\nlisted-2\n").expect("written");
    let table = |id: &str, more: &str| {
        format!(
            "[[campaign]]\nid = \"{id}\"\nname = \"{id}\"\nbenefit = {{ free_shipping = {{}} }}\n{more}\n\n"
        )
    };
    let campaigns = [
        table("scarce", "quantity = 1"),
        table("early", "quantity = 5\nstarts_at = 2099-01-01T00:00:00Z"),
        table("listed", "quantity = 5\naudience = \"allow_list\"\nallow_list = \"members.txt\""),
        table("golden", "quantity = 5\naudience = { segment = \"gold\" }"),
        table("twice", "quantity = \"unlimited\"\nper_member = 2"),
    ];
    std::fs::write(&file, campaigns.concat()).expect("written");
    let url = format!("http://{}", shop.server().address);
    let apply = ["campaign", "apply", text(&file), "--url", &url, "--json"];
    let done = |out: &str| -> Vec<String> {
        let report: Value = serde_json::from_str(out).expect("JSON");
        let rows = report["campaigns"].as_array().expect("rows").iter();
        rows.map(|row| row["done"].as_str().expect("text").to_owned()).collect()
    };
    let first = done(&shop.run_well(&apply));
    assert!(first.iter().all(|done| done.starts_with("created")), "{first:?}");
    assert!(first[2].contains("2 added"), "{first:?}");
    let again = done(&shop.run_well(&apply));
    assert!(again.iter().all(|done| done.starts_with("unchanged")), "{again:?}");
    assert!(again[2].contains("0 added, 2 there before"), "{again:?}");
    // What can change is changed; what cannot is refused, and then nothing at all is done.
    std::fs::write(&file, campaigns.concat().replacen("quantity = 1", "quantity = 2", 1)).expect("written");
    assert!(done(&shop.run_well(&apply))[0].starts_with("changed"));
    std::fs::write(&file, campaigns.concat().replace("per_member = 2", "per_member = 3")).expect("written");
    let refused = run(&shop.binary, &[&apply[..], &["--data", text(&shop.data())]].concat());
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{why}");
    assert!(
        why.contains("per_member: the server has 2, the file 3") && why.contains("Nothing was done"),
        "{why}"
    );
    assert_eq!(operator.get("/v1/campaigns/scarce").expect("an answer").expect(200)["quantity"], 2);

    issue(&mut operator, "scarce", "a").expect(201);
    issue(&mut operator, "scarce", "b").expect(201);
    issue(&mut operator, "scarce", "c").expect_problem(409, "sold-out");
    issue(&mut operator, "early", "a").expect_problem(425, "not-started");
    issue(&mut operator, "listed", "stranger").expect_problem(403, "not-eligible");
    issue(&mut operator, "listed", "listed-1").expect(201);
    issue(&mut shop.shopper("s1", &[]), "golden", "s1").expect_problem(403, "not-eligible");
    issue(&mut shop.shopper("s2", &["--segments", "gold,new"]), "golden", "s2").expect(201);
    issue(&mut operator, "twice", "a").expect(201);
    issue(&mut operator, "twice", "a").expect(201);
    issue(&mut operator, "twice", "a").expect_problem(422, "limit-reached");
    let change = |http: &mut Http, state: &str| {
        http.send("PATCH", "/v1/campaigns/twice", &[], json!({ "state": state }).to_string().as_bytes())
            .expect("an answer")
    };
    change(&mut operator, "paused").expect(200);
    issue(&mut operator, "twice", "b").expect_problem(423, "paused");
    change(&mut operator, "open").expect(200);
    issue(&mut operator, "twice", "b").expect(201);
    change(&mut operator, "ended").expect(200);
    issue(&mut operator, "twice", "c").expect_problem(410, "ended");
    issue(&mut operator, "nowhere", "c").expect_problem(404, "campaign-not-found");
    issue(&mut operator, "scarce", "a member").expect_problem(400, "invalid-request");
    let shown: Value =
        serde_json::from_str(&shop.run_well(&["campaign", "show", "twice", "--url", &url])).expect("JSON");
    assert_eq!((&shown["state"], &shown["issued"]), (&json!("ended"), &json!(3)));
    assert!(shop.run_well(&["campaign", "list", "--url", &url]).contains("golden"));
    shop.run_well(&["verify"]);
}

#[test]
fn a_coupon_lives() {
    let mut shop = Shop::open();
    let mut operator = shop.operator();
    let act = |http: &mut Http, code: &str, what: &str, body: Value| {
        http.post(&format!("/v1/coupons/{code}/{what}"), &body).expect("an answer")
    };
    let code = |reply: &Reply| reply.expect(201)["code"].as_str().expect("a code").to_owned();
    let (one, two) =
        (code(&issue(&mut operator, "sample", "m1")), code(&issue(&mut operator, "sample", "m2")));
    act(&mut operator, &one, "hold", json!({"order": "o1", "for_seconds": 600})).expect(200);
    act(&mut operator, &one, "redeem", json!({"order": "o2"})).expect_problem(423, "coupon-held");
    act(&mut operator, &one, "release", json!({"order": "o1"})).expect(200);
    // As a person types it: lower case, no dashes.
    let typed = one.to_lowercase().replace('-', "");
    assert_eq!(act(&mut operator, &typed, "redeem", json!({"order": "o2"})).expect(200)["state"], "redeemed");
    act(&mut operator, &one, "redeem", json!({"order": "o3"})).expect_problem(409, "coupon-redeemed");
    let revoked = act(&mut operator, &two, "revoke", json!({"reason": "a mistake"})).expect(200);
    act(&mut operator, &two, "hold", json!({"order": "o4"})).expect_problem(409, "coupon-revoked");
    let mut wrong = one.clone().into_bytes();
    wrong[0] = if wrong[0] == b'A' { b'B' } else { b'A' };
    let wrong = String::from_utf8(wrong).expect("ASCII");
    act(&mut operator, &wrong, "hold", json!({"order": "o4"})).expect_problem(404, "coupon-not-found");
    // Reading what was written.
    let page = operator
        .get(&format!("/v1/members/m2/coupons?at_least={}", revoked["seq"]))
        .expect("an answer")
        .expect(200);
    assert_eq!(page["coupons"][0]["state"], "revoked");
    assert!(page["seq"].as_u64() >= revoked["seq"].as_u64());
    // A view is a copy: throw it away, build it again, and it says the same.
    let url = format!("http://{}", shop.server().address);
    assert!(run_well(&shop.binary, &["view", "status", "--url", &url]).contains("record"));
    let data = shop.data();
    let said = shop.run_well(&["view", "rebuild", "record", "--url", &url]);
    assert!(said.starts_with("The server built "), "{said}");
    let rebuilt = operator.get("/v1/members/m2/coupons").expect("an answer").expect(200);
    assert_eq!(rebuilt["coupons"], page["coupons"]);
    shop.server.take().expect("started").stop();
    std::fs::write(data.join("record.sqlite"), "not a database any more").expect("written");
    shop.run_well(&["view", "rebuild", "record"]);
    shop.start();
    let again = shop.operator().get("/v1/members/m2/coupons").expect("an answer").expect(200);
    assert_eq!(again["coupons"], page["coupons"]);
}

/// An event stream that is read as a browser would.
struct Stream(BufReader<TcpStream>, Vec<u8>);

impl Stream {
    fn open(server: &Server, after: Option<u64>) -> Self {
        let mut stream = connect(server.address).expect("the server runs");
        let last = after.map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default();
        let head = format!(
            "GET /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\naccept: text/event-stream\r\n{last}\r\n",
            server.operator_key()
        );
        stream.get_mut().write_all(head.as_bytes()).expect("sent");
        assert_eq!(read_head(&mut stream).expect("a head").0, 200);
        Self(stream, Vec::new())
    }

    /// The next event: its id and data.
    fn next(&mut self) -> Option<(u64, Value)> {
        loop {
            if let Some(end) = self.1.windows(2).position(|pair| pair == b"\n\n") {
                let message = String::from_utf8(self.1.drain(..end + 2).collect()).expect("text");
                let field =
                    |name: &str| message.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
                let (Some(id), Some(data)) = (field("id: "), field("data: ")) else { continue };
                return Some((id.parse().expect("a number"), serde_json::from_str(&data).expect("JSON")));
            }
            self.1.extend(read_chunk(&mut self.0).ok()??);
        }
    }
}

#[test]
fn the_feed_has_no_gap_and_no_repeat() {
    let mut shop = Shop::open();
    let mut operator = shop.operator();
    for n in 0..40 {
        issue(&mut operator, "sample", &format!("m{n}")).expect(201);
    }
    let lines = operator.get("/v1/events?from=1&limit=10000").expect("an answer").text();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    // The same from the log itself, while the server runs.
    let cat = shop.run_well(&["log", "cat"]);
    let cat: Vec<Value> = cat.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(cat, lines);
    assert!(shop.run_well(&["log", "cat", "--from", "5", "--limit", "3"]).lines().count() == 3);

    let mut seen = Vec::new();
    let mut stream = Stream::open(shop.server(), None);
    while seen.len() < 25 {
        seen.push(stream.next().expect("an event"));
    }
    // A reconnect in the middle, while more is written.
    drop(stream);
    let mut stream = Stream::open(shop.server(), seen.last().map(|(id, _)| *id));
    let mut head = 0;
    for n in 40..60 {
        head =
            issue(&mut operator, "sample", &format!("m{n}")).expect(201)["seq"].as_u64().expect("a position");
    }
    while seen.last().is_none_or(|(id, _)| *id < head) {
        seen.push(stream.next().expect("an event"));
    }
    // And a restart: the stream ends, and goes on where it was.
    let told = shop.server.take().expect("started").stop();
    assert!(!told.contains("ERROR"), "{told}");
    assert!(stream.next().is_none(), "the stream ended with the server");
    shop.start();
    let last = issue(&mut shop.operator(), "sample", "m60").expect(201)["seq"].as_u64().expect("a position");
    let mut stream = Stream::open(shop.server(), seen.last().map(|(id, _)| *id));
    while seen.last().is_none_or(|(id, _)| *id < last) {
        seen.push(stream.next().expect("an event"));
    }
    let ids: Vec<u64> = seen.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, (1..=last).collect::<Vec<_>>());
    assert!(seen.iter().all(|(id, event)| event["seq"] == *id));
    let issued = seen.iter().filter(|(_, event)| event["type"] == "coupon-issued").count();
    assert_eq!(issued, 61);
    let stat: Value = serde_json::from_str(&shop.run_well(&["log", "stat", "--json"])).expect("JSON");
    assert_eq!((&stat["events_by_type"]["coupon-issued"], &stat["epochs"]), (&json!(61), &json!(2)));
    assert!(shop.run_well(&["log", "verify"]).contains("whole"));
}

#[test]
fn a_graceful_stop_answers_what_it_accepted() {
    const BEFORE: u64 = 1_000;
    let mut shop = Shop::open();
    let id = "stop";
    shop.operator().post("/v1/campaigns", &campaign(id, &json!("unlimited"), 1)).expect("made").expect(201);
    let acks = Arc::new(Mutex::new(String::new()));
    let (sent, turned_away) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let server = shop.server.take().expect("started");
    let clients: Vec<_> = (0..20)
        .map(|client| {
            let (mut http, acks, sent, turned_away) =
                (server.operator(), acks.clone(), sent.clone(), turned_away.clone());
            std::thread::spawn(move || {
                for n in 0.. {
                    sent.fetch_add(1, Ordering::Relaxed);
                    let body = json!({"member": format!("m{client}-{n}")});
                    // No answer means that the connection was closed before the request was taken.
                    let Ok(reply) = http.post("/v1/campaigns/stop/coupons", &body) else {
                        turned_away.fetch_add(1, Ordering::Relaxed);
                        return;
                    };
                    match reply.status {
                        201 => {
                            let mut ack = reply.json();
                            ack["action"] = json!("issue");
                            ack["status"] = json!(201);
                            let mut acks = acks.lock().expect("no panic while held");
                            acks.push_str(&format!("{ack}\n"));
                        }
                        503 => {
                            reply.expect_problem(503, "unavailable");
                        }
                        _ => panic!("{}", reply.text()),
                    }
                }
            })
        })
        .collect();
    until("enough is sent", || (sent.load(Ordering::Relaxed) > BEFORE).then_some(()));
    server.tell_to_stop();
    let (status, stderr) = server.wait();
    assert!(status.success(), "{stderr}");
    assert!(!stderr.contains("ERROR") && !stderr.contains("panicked"), "{stderr}");
    for client in clients {
        client.join().expect("every answer was understood");
    }
    // Every answer that was given is in the log, and the log has nothing that was not answered: no request was taken and
    // then dropped.
    let acks = acks.lock().expect("no panic while held").clone();
    let file = shop.folder.path().join("acks.jsonl");
    std::fs::write(&file, &acks).expect("written");
    let report: Value =
        serde_json::from_str(&shop.run_well(&["verify", "--json", "--acks", text(&file)])).expect("JSON");
    assert_eq!(report["acknowledged"], json!(acks.lines().count()));
    assert_eq!(report["missing"], 0);
    assert!(acks.lines().count() as u64 >= BEFORE - 20, "hardly anything was asked");
    assert_eq!(turned_away.load(Ordering::Relaxed), 20, "every client saw the stop");
    assert_eq!(report["issued"], json!(acks.lines().count()));
    // An answer that was never given is found missing: the check can fail.
    let (first, _) = acks.split_once('\n').expect("a line");
    let lie = first.replace("\"member\":\"m", "\"member\":\"n");
    assert_ne!(lie, first);
    std::fs::write(&file, format!("{lie}\n")).expect("written");
    let data = shop.data();
    let found =
        run(Path::new(&shop.binary), &["verify", "--json", "--data", text(&data), "--acks", text(&file)]);
    assert_eq!(found.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&found.stdout).contains("\"missing\": 1"));
}
