//! What was begun before who leads changed, and ends after it.

use super::*;

impl Shard {
    fn standing(&self) -> (Phase, u64) {
        let state = self.state.legacy().capability(STOCK);
        (state.phase, state.epoch)
    }

    fn note_equal(&mut self, (phase, epoch): (Phase, u64), rows: u64) {
        let (capability, position, differing, repaired) = (STOCK, 20, 0, 0);
        let note = Command::NoteReconciled { capability, phase, epoch, position, rows, differing, repaired };
        self.ask(note).expect("noted, or nothing to note");
    }

    fn reconciled(&self) -> Option<u64> {
        self.state.legacy().capability(STOCK).reconciled.map(|reconciled| reconciled.rows)
    }
}

/// (A comparison that was under way while the lead was taken back was noted after it, and opened the gate of the next move.)
#[test]
fn a_comparison_that_was_under_way_during_a_takeover_is_not_noted_after_it() {
    let mut shard = Shard::leading(&[("A", 5, 0)]);
    let began = shard.standing();
    shard.note_equal(began, 1);
    assert_eq!(shard.reconciled(), Some(1));
    let (number, epoch) = (began.1, began.1);
    shard
        .ask(Command::NoteTakeover { capability: STOCK, number, phase: Phase::Legacy, epoch })
        .expect("noted");
    shard.note_equal(began, 2);
    assert_eq!(shard.reconciled(), None, "nothing that was compared before says anything now");
    // One that begins now counts.
    shard.note_equal(shard.standing(), 3);
    assert_eq!(shard.reconciled(), Some(3));
}

#[test]
fn a_comparison_that_was_under_way_during_a_move_is_not_noted_after_it() {
    let mut shard = Shard::leading(&[("A", 5, 0)]);
    let began = shard.standing();
    // There and back: the phase is the same again, and the epoch is not.
    for to in [Phase::Retired, Phase::Lead] {
        let number = shard.begin(to).expect("begun");
        shard.finish(number).expect("done");
    }
    assert_eq!(shard.standing().0, began.0);
    shard.note_equal(began, 1);
    assert_eq!(shard.reconciled(), None);
    shard.note_equal(shard.standing(), 2);
    assert_eq!(shard.reconciled(), Some(2));
}
