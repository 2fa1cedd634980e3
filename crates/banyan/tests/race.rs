//! Many clients at the same instant: the last coupon goes to one, one key has one answer.

mod support;

use serde_json::json;
use std::path::Path;
use std::sync::Barrier;
use support::{Reply, Server, campaign, run_well, text, until};

const CLIENTS: usize = 100;

/// Sends one request per client, all at once, each on a connection of its own that is open before.
fn all_at_once(
    server: &Server,
    ask: impl Fn(usize) -> (String, Option<String>, String) + Sync,
) -> Vec<Reply> {
    let key = server.operator_key();
    let barrier = Barrier::new(CLIENTS);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (key, barrier, ask) = (&key, &barrier, &ask);
                scope.spawn(move || {
                    let mut http = server.http(key);
                    http.get("/healthz").expect("the server runs");
                    let (path, idempotency_key, body) = ask(client);
                    let headers: Vec<_> =
                        idempotency_key.iter().map(|key| ("idempotency-key", key.as_str())).collect();
                    barrier.wait();
                    http.send("POST", &path, &headers, body.as_bytes()).expect("an answer")
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    })
}

#[test]
fn the_last_coupon_goes_to_exactly_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let binary = Path::new(env!("CARGO_BIN_EXE_banyan"));
    let server = Server::start(binary, &folder.path().join("data"), &[]);
    for round in 0..5 {
        let id = format!("last-{round}");
        server.operator().post("/v1/campaigns", &campaign(&id, &json!(1), 1)).expect("created").expect(201);
        let replies = all_at_once(&server, |client| {
            (format!("/v1/campaigns/{id}/coupons"), None, json!({"member": format!("m{client}")}).to_string())
        });
        let issued = replies.iter().filter(|reply| reply.status == 201).count();
        assert_eq!(issued, 1, "round {round}");
        for reply in replies.iter().filter(|reply| reply.status != 201) {
            reply.expect_problem(409, "sold-out");
        }
        let after = server.operator().get(&format!("/v1/campaigns/{id}")).expect("shown").expect(200);
        assert_eq!((&after["issued"], &after["left"]), (&json!(1), &json!(0)));
    }
    run_well(binary, &["verify", "--data", text(&server.data)]);
    server.stop();
}

#[test]
fn one_key_has_one_answer() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let binary = Path::new(env!("CARGO_BIN_EXE_banyan"));
    let server = Server::start(binary, &folder.path().join("data"), &[]);
    // Ten for each member: only the key keeps them from getting more than one.
    server
        .operator()
        .post("/v1/campaigns", &campaign("many", &json!(10_000), 10))
        .expect("created")
        .expect(201);
    for round in 0..5 {
        let replies = all_at_once(&server, |_| {
            let body = json!({"member": "m1"}).to_string();
            ("/v1/campaigns/many/coupons".into(), Some(format!("key-{round}")), body)
        });
        let first = replies.iter().filter(|reply| reply.status == 201).count();
        assert_eq!(first, 1, "round {round}");
        for reply in &replies {
            assert!(matches!(reply.status, 200 | 201), "{}", reply.text());
            assert_eq!(reply.status == 200, reply.headers.contains_key("idempotent-replayed"));
            assert_eq!(reply.text(), replies[0].text(), "every answer is the same, byte for byte");
        }
        let after = server.operator().get("/v1/campaigns/many").expect("shown").expect(200);
        assert_eq!(after["issued"], json!(round + 1));
    }
    // The same key for another question is a mistake of the caller.
    let reply = server
        .operator()
        .send("POST", "/v1/campaigns/many/coupons", &[("idempotency-key", "key-0")], br#"{"member":"m2"}"#)
        .expect("an answer");
    reply.expect_problem(422, "idempotency-key-reused");
    run_well(binary, &["verify", "--data", text(&server.data)]);
    server.stop();
}

#[test]
fn keys_made_by_many_processes_at_once_all_open_the_door() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (binary, data) = (Path::new(env!("CARGO_BIN_EXE_banyan")), folder.path().join("data"));
    let server = Server::start(binary, &data, &[]);
    let barrier = Barrier::new(12);
    let keys: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..12)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    run_well(binary, &["key", "create", "--role", "auditor", "--data", text(&data)])
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    for key in &keys {
        let mut http = server.http(key.trim());
        until("the server takes every key", || {
            (http.get("/v1/campaigns").expect("an answer").status == 200).then_some(())
        });
    }
    server.stop();
}
