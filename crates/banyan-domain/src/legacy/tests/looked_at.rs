//! A move is begun for what was looked at, and keeps what it goes without.

use super::*;
use crate::legacy::Without;

fn begin(from: Phase, to: Phase, without: Vec<Without>) -> Command {
    let (by, reason) = (actor(), reason("because"));
    Command::BeginMove { capability: STOCK, from: Some(from), to, by, reason, without }
}

/// Found by reading: the gates of a move were looked at while another one was still under way, and it began without its own.
#[test]
fn a_move_that_was_looked_at_from_another_phase_is_refused() {
    let mut shard = Shard::new();
    let number = shard.begin(Phase::Mirror).expect("begun");
    shard.finish(number).expect("done");
    let refused = shard.ask(begin(Phase::Legacy, Phase::Lead, vec![]));
    assert_eq!(refused, Err(AnyRefusal::Legacy(Refusal::PhaseNotNext)), "legacy was looked at");
    assert_eq!(shard.state.legacy().capability(STOCK).moving, None);
    let begun = shard.ask(begin(Phase::Mirror, Phase::Lead, vec![]));
    assert_eq!(begun, Ok(AnyOutcome::Legacy(Outcome::Move { number: 2 })));
    let again = shard.ask(begin(Phase::Mirror, Phase::Lead, vec![]));
    assert_eq!(again, begun, "the same again is answered with the same number");
}

/// Found by reading: it was answered as if it had been heard, and its waivers were thrown away.
#[test]
fn who_asks_a_move_under_way_to_go_without_more_is_refused_and_a_repetition_is_not() {
    let without = |gate: &str| Without { gate: reason(gate), found: reason("38 s") };
    let mut shard = Shard::new();
    let number = shard.begin(Phase::Mirror).expect("begun");
    shard.finish(number).expect("done");
    let ask =
        |gates: &[&str]| begin(Phase::Mirror, Phase::Lead, gates.iter().map(|gate| without(gate)).collect());
    let begun = shard.ask(ask(&["lag"]));
    assert_eq!(begun, Ok(AnyOutcome::Legacy(Outcome::Move { number: 2 })));
    let refused = Err(AnyRefusal::Legacy(Refusal::MoveUnderWay));
    assert_eq!(shard.ask(ask(&["evidence"])), refused);
    assert_eq!(shard.ask(ask(&["lag", "evidence"])), refused, "not even in part");
    for again in [&["lag"][..], &[], &["lag", "lag"]] {
        assert_eq!(shard.ask(ask(again)), begun, "{again:?} asks for no more than it has");
    }
    let moving = shard.state.legacy().capability(STOCK).moving.expect("under way");
    assert!(moving.goes_without("lag") && !moving.goes_without("evidence"));
}

#[test]
fn what_a_move_goes_without_is_kept_with_what_was_found() {
    let mut shard = Shard::new();
    let without = vec![Without { gate: reason("references"), found: reason("3 left; watched for 60 s") }];
    shard.ask(begin(Phase::Legacy, Phase::Mirror, without.clone())).expect("begun");
    let moving = shard.state.legacy().capability(STOCK).moving.expect("under way");
    assert!(moving.goes_without("references") && !moving.goes_without("lag"));
    assert_eq!(moving.without, Some(without));
    let read = State::from_snapshot(&shard.state.to_snapshot()).expect("a snapshot");
    assert_eq!(read.legacy().capability(STOCK).moving, Some(moving));
    assert_eq!(read.digest(), shard.state.digest());
}

/// As the first version wrote it: `[capability, number, to, by, reason]`.
#[test]
fn a_move_of_an_old_log_goes_without_nothing() {
    let (capability, number, to) = (STOCK, 1, Phase::Mirror);
    let begun =
        Event::MoveBegun { capability, number, to, by: actor(), reason: reason("why"), without: None };
    let bytes = minicbor::to_vec(&begun).expect("bytes");
    assert_eq!(bytes[..3], [0x82, 0x00, 0x85], "five fields, as ever");
    assert_eq!(minicbor::decode::<Event>(&bytes).expect("an event"), begun);
}
