//! What nobody asked for: the lead taken back by hand in the old database.

use super::*;
use crate::legacy::Takeover;

impl Shard {
    fn note_takeover(&mut self, number: u64, phase: Phase, epoch: u64) {
        let ask = Command::NoteTakeover { capability: STOCK, number, phase, epoch };
        self.ask(ask).expect("noted, or nothing to note");
    }
}

#[test]
fn the_lead_taken_back_by_hand_is_seen_in_the_stream_and_everything_is_copied_anew() {
    let mut shard = Shard::leading(&[("A", 5, 0), ("B", 5, 0)]);
    let open = shard.reserve("A", 2).expect("reserved");
    let epoch = shard.state.legacy().capability(STOCK).epoch;
    // What it says under the number of our last move is no history: nobody of ours wrote that.
    shard.batch(30, &[], vec![], Some((epoch, Phase::Legacy))).expect("seen");
    let state = shard.state.legacy().capability(STOCK);
    assert_eq!((state.phase, state.source, state.epoch), (Phase::Mirror, None, epoch));
    let at = Timestamp::from_millis(1_000);
    assert_eq!(state.taken_over, Some(Takeover { at, number: epoch, phase: Phase::Legacy }));
    assert_eq!(shard.reserve("A", 1), Err(Refusal::NotLeading.into()), "it decides nothing by itself");
    assert_eq!(
        shard.rows(31, &[("A", 1, 1)]),
        Err(Refusal::SourceUnknown.into()),
        "the rows are copied first"
    );

    // The old values win; what was reserved stays reserved until it ends.
    shard.source(40);
    shard.rows(40, &[("A", 5, 1), ("B", 4, 0)]).expect("copied");
    shard.ask(Command::EndCopy { capability: STOCK }).expect("copied");
    assert_eq!((shard.books("A"), shard.books("B")), ((5, 3), (4, 0)));
    shard.ask(stock::Command::ReleaseReservation { reservation: open }).expect("released");
    assert_eq!(shard.books("A"), (5, 1));

    // Settled by the next move that is done, and only by that.
    let number = shard.begin(Phase::Lead).expect("begun");
    assert!(shard.state.legacy().capability(STOCK).taken_over.is_some());
    shard.batch(50, &[], vec![], Some((number, Phase::Lead))).expect("switched");
    assert_eq!(shard.state.legacy().capability(STOCK).taken_over, None);
    shard.reserve("A", 1).expect("it leads again");
}

#[test]
fn a_takeover_takes_the_move_under_way_with_it_and_later_moves_are_numbered_after_the_row() {
    let mut shard = Shard::leading(&[("A", 5, 0)]);
    let epoch = shard.state.legacy().capability(STOCK).epoch;
    let number = shard.begin(Phase::Retired).expect("begun");
    shard.note_takeover(9, Phase::Mirror, epoch);
    let state = shard.state.legacy().capability(STOCK);
    assert_eq!((state.phase, state.moving, state.moves), (Phase::Mirror, None, 9));
    assert_eq!(shard.finish(number), Err(Refusal::NoSuchMove.into()));
    assert_eq!(shard.begin(Phase::Lead), Ok(10));
}

#[test]
fn a_row_that_our_own_move_wrote_or_that_was_read_before_another_move_is_no_takeover() {
    let mut shard = Shard::leading(&[("A", 5, 0)]);
    let epoch = shard.state.legacy().capability(STOCK).epoch;
    shard.note_takeover(epoch, Phase::Lead, epoch);
    shard.note_takeover(epoch - 1, Phase::Mirror, epoch - 1);
    let number = shard.begin(Phase::Mirror).expect("begun");
    shard.note_takeover(number, Phase::Mirror, epoch);
    let state = shard.state.legacy().capability(STOCK);
    assert_eq!((state.phase, state.taken_over, state.moving.is_some()), (Phase::Lead, None, true));
    shard.batch(40, &[], vec![], Some((number, Phase::Mirror))).expect("switched");
    shard.note_takeover(number, Phase::Mirror, number);
    assert_eq!(
        shard.state.legacy().capability(STOCK).taken_over,
        None,
        "nobody leads here who could lose it"
    );
    // A row that says that Banyan leads makes it lead only by a move.
    let said = shard.batch(41, &[], vec![], Some((number, Phase::Lead)));
    assert_eq!(said, Err(Refusal::NoSuchMove.into()));
}

#[test]
fn a_state_that_was_taken_over_goes_into_a_snapshot_and_back() {
    let mut shard = Shard::leading(&[("A", 5, 0)]);
    let epoch = shard.state.legacy().capability(STOCK).epoch;
    shard.note_takeover(epoch, Phase::Legacy, epoch);
    let mut bytes = Vec::new();
    shard.state.legacy().write_snapshot(&mut bytes);
    let read = crate::legacy::Legacy::read_snapshot(&mut bytes.as_slice()).expect("readable");
    assert_eq!(read.capability(STOCK), shard.state.legacy().capability(STOCK));
    assert_eq!(read.digest(), shard.state.legacy().digest());
}
