//! The long run of the sync with an old shop, made short: everybody writes, everything breaks once, and both sides are equal.
//! `cargo xtask legacy soak --minutes 60` makes the long one.

use banyan_soak::{Database, Soak, killed_at_every_step};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Kinds of faults, each of which must have come.
const KINDS: usize = 8;

#[test]
fn nothing_is_lost_and_nothing_comes_twice_with_postgres() {
    let report = short(Database::Postgres);
    assert_eq!(report["foreign"]["made"].as_u64().map(|made| made > 0), Some(true), "{report:#}");
}

#[test]
fn nothing_is_lost_and_nothing_comes_twice_with_mariadb() {
    short(Database::Mariadb);
}

/// Every move of a real process beside a real Postgres goes on after SIGKILL at each step that its log shows.
#[test]
fn a_move_goes_on_after_kill_9_at_every_step_that_its_log_shows() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_banyan"));
    let killed = killed_at_every_step(binary, Database::Postgres, run_folder(folder.path()));
    let killed = killed.unwrap_or_else(|why| panic!("{why}; kept in {}", folder.keep().display()));
    assert_eq!(killed.findings, Vec::<String>::new());
    let moves: std::collections::BTreeSet<u64> = killed.at.iter().map(|(number, _)| *number).collect();
    // A step that is over before it is looked for is not seen: how many are depends on the machine.
    assert!(
        moves.len() >= 3 && killed.at.len() >= 5,
        "it was killed too seldom to mean anything: {:?}",
        killed.at
    );
    assert_eq!(killed.moves, 5);
}

fn short(database: Database) -> Value {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_banyan"));
    let millis = Duration::from_millis;
    let soak = Soak {
        orders_per_second: 16.0,
        moves: Some([millis(4_000), millis(2_000)]),
        pause: [millis(100), millis(600)],
        outage: [millis(300), millis(1_200)],
        hold: Duration::from_secs(60),
        compare_every: Duration::from_secs(5),
        ..Soak::new(binary, database, run_folder(folder.path()), Duration::from_secs(20))
    };
    let report = soak.run().unwrap_or_else(|why| panic!("{why}"));
    if !report.is_well() {
        panic!("{}\nkept in {}", report.text, folder.keep().display());
    }
    let deeds = &report.json["deeds"];
    for deed in [
        "orders, Banyan leads",
        "orders, the old shop leads",
        "orders rolled back",
        "orders shipped",
        "orders cancelled",
        "counts",
        "own reservations sold",
        "new goods",
        "other columns, all rows at once",
        "pieces put on display",
        "foreign transactions on owned columns",
        "probes",
    ] {
        assert!(deeds[deed].as_u64() > Some(0), "nobody did this: {deed} in {}", report.text);
    }
    let mut kinds: Vec<&str> = report.json["faults"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|fault| fault["kind"].as_str())
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds.len(), KINDS, "{kinds:?}");
    report.json
}

/// One that is not there yet, so that it is kept whole.
fn run_folder(folder: &Path) -> PathBuf {
    folder.join("run")
}
