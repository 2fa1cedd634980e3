//! The benchmark of the sync for a moment: after each run it compares both sides by itself, and fails if they differ.

use std::process::Command;

#[test]
fn rows_go_both_ways_with_postgres_and_both_sides_are_equal_after_each_run() {
    runs_with("postgres");
}

#[test]
fn rows_go_both_ways_with_mariadb_and_both_sides_are_equal_after_each_run() {
    runs_with("mariadb");
}

fn runs_with(database: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let output = Command::new(env!("CARGO_BIN_EXE_banyan-bench"))
        .args(["sync", "--database", database])
        .args(["--seconds", "0.5", "--rounds", "2", "--rows", "1000", "--rate", "200"])
        .args(["--rows-each", "2", "--connections", "4", "--backlog", "3000"])
        .arg("--dir")
        .arg(folder.path())
        .output()
        .expect("it runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // A folder in memory is refused: then there is nothing to measure here.
    if err.contains("durable figures would be lies") {
        return;
    }
    assert!(output.status.success(), "{out}{err}");
    for metric in [
        "in: lag p99 (ms)",
        "in, backlog (rows/s)",
        "out: lag p99 (ms)",
        "out, backlog (rows/s)",
        "comparing, all rows read (rows/s)",
        "comparing, by digests (rows/s)",
    ] {
        assert!(out.contains(metric), "no {metric}: {out}");
    }
    assert!(out.contains("| rows equal at the end | 1,000 | - |"), "{out}");
}
