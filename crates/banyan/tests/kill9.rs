//! kill -9 in the middle of a sale: whatever was answered is there afterwards. `cargo xtask kill9 --rounds 20` does more rounds.

mod support;

use std::path::Path;
use support::kill::{Killer, Moment};

#[test]
fn what_was_answered_survives_kill_9() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut killer = Killer::new(Path::new(env!("CARGO_BIN_EXE_banyan")), folder.path(), 1);
    for moment in [Moment::Random, Moment::Snapshot, Moment::RollOver] {
        let round = killer.round(moment);
        assert!(round.acks > 50, "hardly anything was asked: {round:?}");
        assert_eq!(
            (round.missing, round.over_quantity, round.over_limit, round.findings),
            (0, 0, 0, 0),
            "{round:#?}"
        );
    }
}
