//! `banyan legacy move --dry-run` against a server that is a double: it asks for what the real move would do.

use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Output};

/// Answers every question for a plan, whose gate `references` is closed: with what was asked.
fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let Ok(mut socket) = socket else { return };
            let mut lines = BufReader::new(socket.try_clone().expect("a socket")).lines();
            let asked = lines.next().and_then(Result::ok).unwrap_or_default();
            while lines.next().and_then(Result::ok).is_some_and(|line| !line.is_empty()) {}
            let path = asked.split(' ').nth(1).unwrap_or_default();
            let without = path.contains("without=references");
            let gate = json!({"gate": "references", "holds": false, "may_be_overridden": true, "without": without,
                "found": "3 left; watched for 60 s", "needed": "nobody"});
            let answer = json!({"from": "lead", "to": "retired", "may_begin": without, "gates": [gate],
                "steps": [{"step": "checked", "what": "look again"}]});
            let answer = answer.to_string();
            let head =
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length:";
            // Who went away does not wait for it.
            let _gone = write!(socket, "{head} {}\r\n\r\n{answer}", answer.len());
        }
    });
    address
}

fn banyan(more: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("key");
    std::fs::write(&key, "k\n").expect("written");
    let url = format!("http://{}", server());
    Command::new(env!("CARGO_BIN_EXE_banyan"))
        .args(["legacy", "move", "retired", "--url", &url, "--key-file"])
        .arg(&key)
        .args(more)
        .output()
        .expect("it runs")
}

/// Found by reading: the dry run said that a move may not begin that then began.
#[test]
fn a_dry_run_goes_without_what_the_move_would_go_without() {
    let closed = banyan(&["--dry-run"]);
    let said = String::from_utf8_lossy(&closed.stdout).into_owned();
    assert_eq!(closed.status.code(), Some(3), "{said}");
    assert!(said.contains("CLOSED references"), "{said}");
    let waived = banyan(&["--dry-run", "--without", "references", "--reason", "the report is known"]);
    let said = String::from_utf8_lossy(&waived.stdout).into_owned();
    assert_eq!(waived.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&waived.stderr));
    assert!(said.contains("waived references 3 left"), "{said}");
}

/// Found by reading: an empty reason was as good as one.
#[test]
fn going_without_a_gate_needs_a_reason_that_says_something() {
    for more in [["--dry-run", "--reason", " "], ["--no-wait", "--reason", ""]] {
        let refused = banyan(&[&more[..], &["--without", "references"]].concat());
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.contains("--reason"), "{said}");
    }
}

/// Found by reading: with no time at all, nobody had to be watched, and the gate held at once.
#[test]
fn nobody_is_watched_for_no_time_at_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = Command::new(env!("CARGO_BIN_EXE_banyan"))
        .args(["up", "--legacy", "stock.toml", "--legacy-quiet", "0", "--data"])
        .arg(folder.path())
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("--legacy-quiet"), "{said}");
}
