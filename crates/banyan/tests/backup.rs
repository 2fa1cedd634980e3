//! A backup of a store in motion opens cleanly and holds what was answered before it began.

mod support;

use serde_json::{Value, json};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use support::{Http, Server, campaign, run, run_well, text, until};

const BATCH: u64 = 3_000;

/// A member with as long a name as there can be.
fn member(client: u64, turn: u64, n: u64) -> String {
    format!("{client:02}-{turn:06}-{n:04}-{}", "x".repeat(49))
}

/// Issues a batch of coupons and returns the answers as acknowledgements.
fn batch(http: &mut Http, client: u64, turn: u64) -> String {
    let members: Vec<String> = (0..BATCH).map(|n| member(client, turn, n)).collect();
    let body = json!({ "members": members }).to_string();
    // Keys make events larger, and segments end sooner.
    let key = format!("{client}-{turn}");
    let path = "/v1/campaigns/flow/coupons/batch";
    let reply = http.send("POST", path, &[("idempotency-key", &key)], body.as_bytes()).expect("an answer");
    let mut lines = String::new();
    for answer in reply.expect(200)["answers"].as_array().expect("answers") {
        let mut line = answer.clone();
        line["action"] = json!("issue");
        lines.push_str(&format!("{line}\n"));
    }
    lines
}

/// The log position of the last acknowledgement.
fn last_seq(acks: &str) -> u64 {
    let last: Value = serde_json::from_str(acks.lines().last().expect("a line")).expect("JSON");
    last["seq"].as_u64().expect("a position")
}

/// Tells the clients to stop when it goes.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_backup_under_load_restores_what_was_answered() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let binary = Path::new(env!("CARGO_BIN_EXE_banyan"));
    let (data, archive) = (folder.path().join("data"), folder.path().join("archive"));
    // Small segments, snapshots and archiving: everything that can move does.
    let up = [
        "--segment-mib",
        "17",
        "--snapshot-events",
        "20000",
        "--retain-events",
        "20000",
        "--archive",
        text(&archive),
    ];
    let server = Server::start(binary, &data, &up);
    server
        .operator()
        .post("/v1/campaigns", &campaign("flow", &json!("unlimited"), 1))
        .expect("made")
        .expect(201);
    let (stop, turns) = (AtomicBool::new(false), AtomicU64::new(0));
    let archived = || std::fs::read_dir(&archive).is_ok_and(|mut dir| dir.next().is_some());
    std::thread::scope(|scope| {
        for client in 0..2 {
            let (mut http, stop, turns) = (server.operator(), &stop, &turns);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let turn = turns.fetch_add(1, Ordering::Relaxed);
                    let seq = last_seq(&batch(&mut http, client, turn));
                    // Archiving waits for the record store: do not run away from it.
                    let page =
                        http.get(&format!("/v1/members/nobody/coupons?at_least={seq}")).expect("an answer");
                    assert!(matches!(page.status, 200 | 503), "{}", page.text());
                }
            });
        }
        // Whatever fails below, the clients stop.
        let _stopping = StopAtEnd(&stop);
        let mut witness = server.operator();
        for number in 0..3 {
            if number == 1 {
                until("a segment goes to the archive", || archived().then_some(()));
            }
            let acks = folder.path().join(format!("acks-{number}.jsonl"));
            std::fs::write(&acks, batch(&mut witness, 9, number)).expect("written");
            let (to, back) = (
                folder.path().join(format!("backup-{number}")),
                folder.path().join(format!("back-{number}")),
            );
            let mut args = vec!["backup", "--data", text(&data), "--to", text(&to)];
            let there = archived();
            if there {
                args.extend(["--archive", text(&archive)]);
            }
            run_well(binary, &args);
            run_well(binary, &["restore", "--from", text(&to), "--data", text(&back)]);
            let (from, in_archive) = (text(&back), back.join("archive"));
            let mut args = vec!["verify", "--json", "--data", from, "--acks", text(&acks)];
            if there {
                args.extend(["--archive", text(&in_archive)]);
            }
            let report: Value = serde_json::from_str(&run_well(binary, &args)).expect("JSON");
            assert_eq!((&report["acknowledged"], &report["missing"]), (&json!(BATCH), &json!(0)));
            assert_eq!(report["torn_tail_bytes"], 0, "the block in flight was blanked");
            if number == 2 {
                // It is a store like any other: it starts, and knows the same key.
                let mut more = up.to_vec();
                *more.last_mut().expect("the archive") = text(&in_archive);
                std::fs::copy(data.join("operator.key"), back.join("operator.key")).expect("copied");
                run_well(
                    binary,
                    &["view", "rebuild", "record", "--data", from, "--archive", text(&in_archive)],
                );
                let restored = Server::start(binary, &back, &more);
                let member = member(9, number, 0);
                let page =
                    restored.operator().get(&format!("/v1/members/{member}/coupons")).expect("an answer");
                assert_eq!(page.expect(200)["coupons"].as_array().map(Vec::len), Some(1));
                batch(&mut restored.operator(), 99, 0);
                restored.stop();
            }
        }
    });
    assert!(archived(), "archiving was part of this");
    server.stop();
}

#[test]
fn a_changed_backup_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let binary = Path::new(env!("CARGO_BIN_EXE_banyan"));
    let (data, to, back) =
        (folder.path().join("data"), folder.path().join("backup"), folder.path().join("back"));
    let server = Server::start(binary, &data, &["--segment-mib", "17"]);
    server
        .operator()
        .post("/v1/campaigns/sample/coupons", &json!({"member": "m1"}))
        .expect("answered")
        .expect(201);
    server.stop();
    run_well(binary, &["backup", "--data", text(&data), "--to", text(&to)]);
    let refused = |args: &[&str], code: i32, why: &str| {
        let output = run(binary, args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(why), "{said}");
    };
    refused(&["backup", "--data", text(&data), "--to", text(&to)], 2, "not empty");
    refused(&["restore", "--from", text(&to), "--data", text(&data)], 2, "not empty");
    refused(&["restore", "--from", text(&data), "--data", text(&back)], 2, "no complete backup");
    let segment = to.join("log").join(format!("{:020}.seg", 1));
    let mut bytes = std::fs::read(&segment).expect("a segment");
    bytes[2_000] ^= 4;
    std::fs::write(&segment, &bytes).expect("written");
    refused(&["restore", "--from", text(&to), "--data", text(&back)], 3, "not what was backed up");
    assert!(!back.exists(), "nothing is left that looks like a store");
    let verified = run(binary, &["log", "verify", "--data", text(&to)]);
    assert_eq!(verified.status.code(), Some(3), "{}", String::from_utf8_lossy(&verified.stdout));
    let verified = run(binary, &["verify", "--data", text(&to)]);
    assert_eq!(verified.status.code(), Some(3), "{}", String::from_utf8_lossy(&verified.stdout));
}
