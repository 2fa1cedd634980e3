//! The record store is built anew under a running server: while coupons are issued, out of the archive, through a crash.

mod support;

use rusqlite::Connection;
use rusqlite::types::ValueRef;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use support::{Http, Server, campaign, run, run_well, text, until};

const BATCH: u64 = 1_000;

fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_banyan"))
}

/// Issues `BATCH` coupons to members of their own, whose ids take as much room as they may.
fn issue_batch(http: &mut Http, batch: u64) {
    let members: Vec<String> = (0..BATCH).map(|n| format!("{batch:08}-{n:04}-{}", "x".repeat(50))).collect();
    let reply = http.post("/v1/campaigns/flow/coupons/batch", &json!({ "members": members }));
    reply.expect("the server runs").expect(200);
}

/// Issues coupons and uses, holds and revokes some of them, until `stop`. Returns how many were issued.
fn sell(mut http: Http, seller: u64, stop: &AtomicBool, sold: &AtomicU64) {
    for n in 0..u64::MAX {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let body = json!({"member": format!("shopper-{seller}-{n}")});
        let coupon = http.post("/v1/campaigns/flow/coupons", &body).expect("the server runs").expect(201);
        let code = coupon["code"].as_str().expect("a code");
        let (step, body) = match n % 4 {
            0 => ("redeem", json!({"order": format!("o-{seller}-{n}")})),
            1 => ("hold", json!({"order": format!("o-{seller}-{n}"), "for_seconds": 3_600})),
            2 => ("revoke", json!({"reason": "test"})),
            _ => continue,
        };
        http.post(&format!("/v1/coupons/{code}/{step}"), &body).expect("the server runs").expect(200);
        sold.fetch_add(1, Ordering::Relaxed);
    }
}

fn view(http: &mut Http) -> Value {
    http.get("/v1/views/record").expect("the server runs").expect(200)
}

/// Waits until the record store has everything, and stops the server.
fn settle(server: Server) {
    let mut http = server.operator();
    until("the record store is at the head", || {
        let view = view(&mut http);
        (view["seq"] == view["head"] && view["state"] == "running").then_some(())
    });
    drop(http);
    let said = server.stop();
    assert!(!said.contains("ERROR") && !said.contains("panicked"), "{said}");
}

/// Every row of `store`, as text, but not the index of members, which grows differently.
fn rows(store: &Path) -> Vec<String> {
    let db = Connection::open(store).expect("it opens");
    let mut rows = Vec::new();
    for table in
        ["checkpoint", "campaign", "coupon", "hold", "redemption", "operator_action", "allow_list", "parked"]
    {
        let mut read = db.prepare(&format!("SELECT * FROM {table} ORDER BY 1")).expect("the table is there");
        let columns = read.column_count();
        let mut found = read.query([]).expect("it can be read");
        while let Some(row) = found.next().expect("it can be read") {
            let mut line = format!("{table}:");
            for column in 0..columns {
                line += &match row.get_ref(column).expect("the column is there") {
                    ValueRef::Integer(number) => format!(" {number}"),
                    ValueRef::Text(text) => format!(" {}", String::from_utf8_lossy(text)),
                    other => format!(" {other:?}"),
                };
            }
            rows.push(line);
        }
    }
    rows
}

/// Compares the store in `data` with one built by the command without a server, from the same log.
fn expect_same_as_fresh(data: &Path, more: &[&str]) {
    let grown = rows(&data.join("record.sqlite"));
    assert!(grown.len() > 1_000, "{} rows", grown.len());
    for leftover in ["", "-wal", "-shm"] {
        let _it_may_not_be_there = std::fs::remove_file(data.join(format!("record.sqlite{leftover}")));
    }
    let args = [&["view", "rebuild", "record", "--data", text(data)], more].concat();
    let said = run_well(binary(), &args);
    assert!(said.starts_with("Built "), "{said}");
    let fresh = rows(&data.join("record.sqlite"));
    let differ = grown.iter().zip(&fresh).find(|(grown, fresh)| grown != fresh);
    assert_eq!(differ, None);
    assert_eq!(grown.len(), fresh.len());
}

/// Files beside the store that only a rebuild makes.
fn leftovers(data: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(data).expect("lists").map(|entry| entry.expect("lists").path());
    files.filter(|path| text(path).contains("sqlite.new") || text(path).contains("sqlite.old")).collect()
}

#[test]
fn a_store_rebuilt_while_coupons_are_issued_equals_a_fresh_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (data, archive) = (folder.path().join("data"), folder.path().join("archive"));
    let archived = ["--archive", text(&archive)];
    let up = ["--segment-mib", "17", "--snapshot-events", "20000", "--retain-events", "1000"];
    let server = Server::start(binary(), &data, &[&up[..], &archived].concat());
    let mut operator = server.operator();
    operator.post("/v1/campaigns", &campaign("flow", &json!("unlimited"), 1)).expect("runs").expect(201);
    assert_eq!(view(&mut operator)["rebuild"], Value::Null);
    // Until the beginning of the log is in the archive only.
    let mut batch = 0;
    until("a segment is archived", || {
        issue_batch(&mut operator, batch);
        batch += 1;
        std::fs::read_dir(&archive).ok()?.next().map(drop)
    });
    let (stop, sold) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for seller in 0..3 {
            let (http, stop, sold) = (server.operator(), &stop, &sold);
            scope.spawn(move || sell(http, seller, stop, sold));
        }
        // The lock tells that a server runs, and the environment where it is.
        let url = format!("http://{}", server.address);
        let before = sold.load(Ordering::Relaxed);
        let rebuilt = rebuild(&data, &[], Some(&url));
        stop.store(true, Ordering::Relaxed);
        let out = String::from_utf8_lossy(&rebuilt.stdout).into_owned();
        let err = String::from_utf8_lossy(&rebuilt.stderr).into_owned();
        assert!(rebuilt.status.success() && out.starts_with("The server built "), "{out}{err}");
        assert!(sold.load(Ordering::Relaxed) > before, "nothing was sold meanwhile");
    });
    let done = view(&mut operator);
    assert_eq!(done["rebuild"]["state"], "done", "{done}");
    assert!(done["rebuild"]["coupons"].as_u64() >= Some(batch * BATCH), "{done}");
    // What was asked for through the new file is there.
    let page = operator.get("/v1/members/shopper-0-0/coupons").expect("runs").expect(200);
    assert_eq!(page["coupons"].as_array().map(Vec::len), Some(1), "{page}");
    drop(operator);
    settle(server);
    assert!(leftovers(&data).is_empty(), "{:?}", leftovers(&data));
    expect_same_as_fresh(&data, &archived);
}

/// Runs the command on `data`; `address` is what the environment says.
fn rebuild(data: &Path, more: &[&str], address: Option<&str>) -> Output {
    let mut command = Command::new(binary());
    command.args(["view", "rebuild", "record", "--data", text(data)]).args(more).env_remove("BANYAN_URL");
    command.env_remove("BANYAN_LOG").envs(address.map(|address| ("BANYAN_URL", address)));
    command.output().expect("the binary starts")
}

#[test]
fn a_rebuild_is_for_operators_one_at_a_time_and_survives_a_crash() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data");
    let server = Server::start(binary(), &data, &["--no-sample"]);
    let mut operator = server.operator();
    operator.post("/v1/campaigns", &campaign("flow", &json!("unlimited"), 1)).expect("runs").expect(201);
    (0..40).for_each(|batch| issue_batch(&mut operator, batch));
    let key = run_well(binary(), &["key", "create", "--role", "auditor", "--data", text(&data)]);
    let mut auditor = server.http(key.trim());
    until("the server takes the key", || {
        (auditor.get("/v1/views/record").expect("runs").status == 200).then_some(())
    });
    let start = |http: &mut Http| http.post("/v1/views/record/rebuild", &json!({})).expect("the server runs");
    start(&mut auditor).expect_problem(403, "forbidden");
    server.http("").get("/v1/views/record").expect("runs").expect_problem(401, "unauthenticated");
    assert_eq!(view(&mut auditor)["rebuild"], Value::Null, "nothing was started");
    // The store has everything, so that building it anew takes a while.
    until("the record store is at the head", || {
        let view = view(&mut operator);
        (view["seq"] == view["head"]).then_some(())
    });
    let started = start(&mut operator).expect(202);
    assert_eq!(started["rebuild"]["state"], "running", "{started}");
    start(&mut operator).expect_problem(409, "rebuild-running");
    let second = rebuild(&data, &["--url", &format!("http://{}", server.address)], None);
    assert_eq!(second.status.code(), Some(2), "{}", String::from_utf8_lossy(&second.stderr));
    until("the new file grows", || (!leftovers(&data).is_empty()).then_some(()));
    server.kill();
    // Nothing is lost, and the next start tidies up.
    let server = Server::start(binary(), &data, &["--no-sample"]);
    assert!(leftovers(&data).is_empty(), "{:?}", leftovers(&data));
    let mut operator = server.operator();
    assert_eq!(view(&mut operator)["rebuild"], Value::Null);
    let rebuilt = rebuild(&data, &["--url", &format!("http://{}", server.address)], None);
    assert!(rebuilt.status.success(), "{}", String::from_utf8_lossy(&rebuilt.stderr));
    assert_eq!(view(&mut operator)["rebuild"]["coupons"], 40 * BATCH);
    // A server that is told to stop gives a rebuild up.
    start(&mut operator).expect(202);
    drop(operator);
    server.tell_to_stop();
    let (status, said) = server.wait();
    assert!(status.success() && !said.contains("panicked"), "{said}");
    assert!(leftovers(&data).is_empty(), "{:?}", leftovers(&data));
    // Without a server the command does it by itself; with somebody else's address it says that nobody is there.
    let nobody = rebuild(&data, &["--url", "http://127.0.0.1:9"], None);
    assert_eq!(nobody.status.code(), Some(4));
    expect_same_as_fresh(&data, &[]);
    assert!(run(binary(), &["verify", "--data", text(&data)]).status.success());
}
