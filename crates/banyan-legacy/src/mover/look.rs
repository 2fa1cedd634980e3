//! Looking at the gates of a move that is under way: at its first step, and before the old database is told. Whatever was seen when
//! it was asked for may be days old by then.

use super::drive::DriveError;
use super::gates::{Gate, preflight};
use crate::database::{BoxFuture, Finding, OldDatabase};
use banyan_domain::legacy::Move;
use banyan_domain::limits;

/// What a look at the gates of a move came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// Each holds, or the move goes without it in writing; what was found, at most as long as a note.
    Open(String),
    /// These do not, in words.
    Closed(String),
}

/// Who looks at the gates of a move under way.
pub trait Gatekeeper: Send + Sync {
    /// Looks at the gates of `moving`. May take as long as the preflight does.
    fn look<'a>(&'a self, moving: &'a Move) -> BoxFuture<'a, Result<Look, DriveError>>;
}

/// Who sees the old database only: the preflight is the one gate.
pub(super) struct Preflight<'a>(pub(super) &'a dyn OldDatabase);

impl Gatekeeper for Preflight<'_> {
    fn look<'a>(&'a self, moving: &'a Move) -> BoxFuture<'a, Result<Look, DriveError>> {
        Box::pin(async { Ok(looked(&[preflight(&check(self.0, moving).await)], moving)) })
    }
}

/// The preflight for `moving`: a short one while nobody sells anything because of it.
pub(crate) async fn check(database: &dyn OldDatabase, moving: &Move) -> Vec<Finding> {
    match moving.closes() {
        true => database.check_in_haste(moving.to).await,
        false => database.check_for(moving.to).await,
    }
}

/// What these gates come to for `moving`.
pub(crate) fn looked(gates: &[Gate], moving: &Move) -> Look {
    let closed: Vec<&Gate> = closed(gates, moving).collect();
    if closed.is_empty() {
        return Look::Open(found(gates, moving));
    }
    let tell = |gate: &Gate| format!("{}: {} (needed: {})", gate.name, gate.found, gate.needed);
    let told: Vec<String> = closed.into_iter().map(tell).collect();
    Look::Closed(format!("a gate that was open is closed. {}", told.join(". ")))
}

/// The gates that stand in the way of `moving`.
pub(crate) fn closed<'a>(gates: &'a [Gate], moving: &'a Move) -> impl Iterator<Item = &'a Gate> {
    gates.iter().filter(|gate| !gate.holds && !moving.goes_without(gate.name))
}

/// What was found of each gate. What is too long for a note is cut where it is longest: none is left out.
fn found(gates: &[Gate], moving: &Move) -> String {
    let tell = |gate: &Gate| {
        let mark = if moving.goes_without(gate.name) { "without " } else { "" };
        format!("{mark}{}: {}", gate.name, gate.found)
    };
    let told: Vec<String> = gates.iter().map(tell).collect();
    let room = limits::REASON_BYTES_MAX.saturating_sub(2 * told.len());
    let fits = |most: &usize| told.iter().map(|one| one.len().min(*most)).sum::<usize>() <= room;
    let most = (0..=room).rev().find(fits).unwrap_or_default();
    let cut: Vec<&str> = told.iter().map(|one| &one[..one.floor_char_boundary(most)]).collect();
    cut.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_domain::legacy::{Phase, Without};
    use banyan_domain::{Actor, Reason, Timestamp};

    fn gate(name: &'static str, holds: bool, found: &str) -> Gate {
        Gate { name, holds, may_be_overridden: true, found: found.into(), needed: "to be quick".into() }
    }

    fn moving(without: &[&str]) -> Move {
        let reason = |text: &str| Reason::new(text).expect("words");
        let without = without.iter().map(|gate| Without { gate: reason(gate), found: reason("") });
        Move {
            number: 1,
            to: Phase::Lead,
            by: Actor::new("op").expect("a name"),
            reason: reason("sale"),
            begun_at: Timestamp::default(),
            noted: vec![],
            without: Some(without.collect()),
        }
    }

    #[test]
    fn a_closed_gate_stops_a_move_that_does_not_go_without_it() {
        let gates = [gate("stream", true, "followed"), gate("lag", false, "3 s")];
        let Look::Closed(why) = looked(&gates, &moving(&["evidence"])) else { panic!("it is open") };
        assert!(why.contains("lag: 3 s (needed: to be quick)") && !why.contains("stream"), "{why}");
        let open = Look::Open("stream: followed; without lag: 3 s".into());
        assert_eq!(looked(&gates, &moving(&["lag"])), open);
    }

    #[test]
    fn a_note_has_something_of_every_gate() {
        let long = "ä".repeat(500);
        let gates = [gate("evidence", true, &long), gate("lag", true, "38 ms"), gate("equal", true, &long)];
        let Look::Open(found) = looked(&gates, &moving(&[])) else { panic!("it is closed") };
        assert!(found.len() <= limits::REASON_BYTES_MAX && found.len() > 390, "{}", found.len());
        assert!(found.starts_with("evidence: ä") && found.contains("; lag: 38 ms; equal: ä"), "{found}");
    }
}
