//! The reference ledger: what makes a reference seem gone that is not, or used that is not.

use banyan_domain::Timestamp;
use banyan_legacy::{ReferenceKind, References, RouteCaller, RouteLedger, SqlReference};
use std::time::Duration;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000)
}

fn used(statement: &str, calls: u64) -> SqlReference {
    SqlReference { caller: "oscar".into(), statement: statement.into(), calls, rows: 0 }
}

/// Found by reading: Postgres counts a statement within functions and outside of them in two rows, and each look took one for the
/// growth of the other: used for ever.
#[test]
fn a_statement_that_is_counted_in_two_places_is_one_reference() {
    let mut references = References::default();
    for look in 0..10 {
        references.statements(at(100 + look * 5), vec![used("a", 5), used("a", 2)]);
    }
    let view = references.view(at(145));
    assert_eq!((view.all.len(), view.all[0].count), (1, 7));
    assert_eq!(view.left(at(145), Duration::from_secs(40)), 0, "nobody used it since the first look");
    references.statements(at(150), vec![used("a", 2), used("a", 6)]);
    let left = references.view(at(150)).left(at(150), Duration::from_secs(40));
    assert_eq!(left, 1, "either of them may grow");
}

/// Found by reading: callers of routes pushed statements out, which came again with the next look and counted as used then.
#[test]
fn many_callers_of_routes_make_no_statement_seem_used() {
    let mut references = References::default();
    for look in 0..4 {
        let now = at(100 + look * 5);
        let caller = |n: u64| RouteCaller {
            route: "feed".into(),
            caller: format!("client-{n}"),
            count: 1,
            last_seen: now,
        };
        let callers = (0..2_500).map(caller).collect();
        references.routes(now, RouteLedger { routes: vec!["feed".into()], callers });
        references.statements(now, (0..1_500).map(|n| used(&format!("select {n}"), 7)).collect());
    }
    let view = references.view(at(115));
    let statements: Vec<_> = view.all.iter().filter(|one| one.kind == ReferenceKind::Sql).collect();
    assert_eq!(statements.len(), 1_500);
    assert!(statements.iter().all(|one| one.last_seen == at(100)), "nobody used one since the first look");
}

#[test]
fn what_is_told_no_more_is_forgotten_when_there_is_no_room_and_not_before() {
    let mut references = References::default();
    references.statements(at(100), (0..1_500).map(|n| used(&format!("select {n}"), 7)).collect());
    references.statements(at(200), (0..10).map(|n| used(&format!("update {n}"), 7)).collect());
    assert_eq!(references.view(at(200)).all.len(), 1_510, "the statistics may have been reset");
    references.statements(at(300), (0..1_900).map(|n| used(&format!("delete {n}"), 7)).collect());
    let view = references.view(at(300));
    assert_eq!(view.all.len(), 2_000);
    assert!(view.all.iter().any(|one| one.what == "update 3"), "the oldest went first");
}

#[test]
fn more_statements_than_can_be_kept_are_no_evidence() {
    let mut references = References::default();
    references.statements(at(100), vec![used("a", 5)]);
    assert_eq!(references.view(at(160)).watched_for(at(160)), Duration::from_secs(60));
    references.statements(at(160), (0..2_001).map(|n| used(&format!("select {n}"), 7)).collect());
    assert_eq!(references.view(at(220)).watched_for(at(220)), Duration::ZERO);
}
