//! Holds of the old shop beyond their end: what becomes of them while its stream stands still.

use super::*;
use crate::stock::ReservationState;
use crate::{Violation, limits};
use std::collections::VecDeque;

const HOLD: u64 = 120_000;

impl Shard {
    fn state_of(&self, no: ReservationNo) -> ReservationState {
        self.state.stock().reservation(no).expect("remembered").state
    }

    /// A restart: from a snapshot, and what comes next in a new block.
    fn restart(&mut self) {
        let bytes = self.state.to_snapshot();
        let read = State::from_snapshot(&bytes).expect("read back");
        assert_eq!(read.digest(), self.state.digest());
        self.state = read;
        self.due();
    }

    /// Reserves one, without checking every invariant after it.
    fn one_of_many(&mut self, name: &str) -> ReservationNo {
        let lines = Lines::new(vec![Line { sku: sku(name), location: None, quantity: 1 }]).expect("lines");
        let hold_for = Millis::new(HOLD);
        let ask = stock::Command::Reserve {
            lines,
            member: None,
            order: None,
            holder: crate::Holder::Shop,
            hold_for,
        };
        let Ok(Decision::One(event)) = self.state.decide(ask.into(), None) else { panic!("not reserved") };
        self.apply(event);
        ReservationNo::new(self.state.stock().reservations_ever())
    }

    fn own(&mut self, name: &str, units: u32) {
        let (sku, location) = (sku(name), main());
        let set = stock::Command::SetStock { sku, location, on_hand: units, by: actor(), reason: reason("") };
        self.ask(set).expect("counted");
    }
}

#[test]
fn a_hold_whose_order_is_still_on_its_way_is_not_sold_again() {
    let mut shard = Shard::leading(&[("A", 1, 0)]);
    let reservation = shard.reserve("A", 1).expect("the last one");
    // The order is committed in the old database; the stream stands still for ten times as long as the hold.
    for _ in 0..10 {
        shard.at(shard.now + HOLD);
        shard.due();
        assert_eq!(shard.state_of(reservation), ReservationState::Held);
        assert!(shard.reserve("A", 1).is_err(), "it is sold");
    }
    assert_eq!(shard.state.holds_waiting(), 1);
    assert!(shard.state.awaits_known().is_some());
    shard.says(30, vec![OutboxKind::Allocate { reservation }]).expect("booked");
    assert_eq!(shard.books("A"), (1, 1));
    assert_eq!(shard.state_of(reservation), ReservationState::Committed);
    assert_eq!(shard.state.legacy().capability(STOCK).refused, 0, "nothing is short");
    assert_eq!((shard.state.awaits_known(), shard.state.holds_waiting()), (None, 0));
}

#[test]
fn a_hold_lapses_when_everything_before_its_end_has_come() {
    let mut shard = Shard::leading(&[("A", 1, 0)]);
    let reservation = shard.reserve("A", 1).expect("the last one");
    let end = shard.now + HOLD;
    shard.at(end + 5_000);
    shard.due();
    shard.known(end - 1, 20).expect("known");
    shard.due();
    assert_eq!(
        shard.state_of(reservation),
        ReservationState::Held,
        "an order may have come in its last millisecond"
    );
    let not_yet = shard.known(end, 21).expect("looked at");
    assert_eq!(
        not_yet,
        AnyOutcome::Legacy(Outcome::Source { position: 20, part: 1 }),
        "the stream is not there yet"
    );
    assert_eq!(shard.state_of(reservation), ReservationState::Held);
    assert_eq!(shard.state.next_deadline(), None, "nobody is woken by what waits");
    shard.known(end, 20).expect("known");
    assert!(shard.state.next_deadline().is_some_and(|at| at <= shard.state.time()), "the next block is now");
    shard.due();
    assert_eq!(shard.state_of(reservation), ReservationState::Expired);
    assert_eq!(shard.books("A"), (1, 0));
    shard.reserve("A", 1).expect("free again");
}

#[test]
fn what_is_known_comes_from_the_stream_that_is_followed_and_never_goes_back() {
    let mut shard = Shard::leading(&[("A", 1, 0)]);
    shard.at(shard.now + 1_000);
    let other = SourceId { system: "7002-1".into(), ..source() };
    let until = Timestamp::from_millis(shard.now);
    let ask = Command::NoteKnown { capability: STOCK, source: other, position: 1, until };
    assert_eq!(shard.ask(ask), Err(Refusal::SourceUnknown.into()));
    let known = |shard: &Shard| shard.state.legacy().known(STOCK).map(|known| known.until.as_millis());
    shard.known(shard.now + 5_000, 20).expect("known");
    assert_eq!(known(&shard), Some(shard.now), "the future is not known");
    shard.known(shard.now - 500, 20).expect("known before");
    assert_eq!(known(&shard), Some(shard.now));
    // A new copy: nothing is known while it is read, and what was known stays so.
    shard.source(40);
    assert_eq!(shard.known(shard.now, 20), Err(Refusal::SourceUnknown.into()));
    shard.ask(Command::EndCopy { capability: STOCK }).expect("copied");
    shard.at(shard.now + 1);
    shard.known(shard.now, 40).expect("known");
    assert_eq!(known(&shard), Some(shard.now));
}

/// Found by reading: after a restart the deadlines came before the stream had caught up.
#[test]
fn a_restart_does_not_lapse_what_was_sold_meanwhile() {
    let mut shard = Shard::leading(&[("A", 2, 0)]);
    let sold = shard.reserve("A", 1).expect("one");
    let given_up = shard.reserve("A", 1).expect("two");
    shard.at(shard.now + 10 * HOLD);
    shard.restart();
    assert!(shard.reserve("A", 1).is_err(), "nothing lapses before the stream has come");
    shard.says(30, vec![OutboxKind::Allocate { reservation: sold }]).expect("booked");
    shard.restart();
    shard.known(shard.now, 30).expect("known");
    shard.restart();
    let states = [sold, given_up].map(|no| shard.state_of(no));
    assert_eq!(states, [ReservationState::Committed, ReservationState::Expired]);
    assert_eq!(shard.books("A"), (2, 1));
}

#[test]
fn whoever_reserved_it_may_always_give_it_up_and_nobody_may_commit_it_late() {
    let mut shard = Shard::leading(&[("A", 2, 0)]);
    let [first, second] = [shard.reserve("A", 1).expect("one"), shard.reserve("A", 1).expect("two")];
    shard.at(shard.now + HOLD);
    let commit = stock::Command::CommitReservation { reservation: second };
    assert_eq!(shard.ask(commit), Err(stock::Refusal::ReservationExpired.into()));
    shard.ask(stock::Command::ReleaseReservation { reservation: first }).expect("given up");
    assert_eq!(shard.state_of(first), ReservationState::Released);
    shard.reserve("A", 1).expect("free at once");
    assert_eq!(shard.state_of(second), ReservationState::Held);
}

#[test]
fn other_goods_lapse_by_the_clock_beside_those_that_wait() {
    let mut shard = Shard::leading(&[("A", 5_000, 0)]);
    shard.own("OWN", 5_000);
    let waiting = 3 * limits::TIMER_EVENTS_PER_BLOCK_MAX;
    let theirs: Vec<_> = (0..waiting).map(|_| shard.one_of_many("A")).collect();
    let own: Vec<_> = (0..2_000).map(|_| shard.one_of_many("OWN")).collect();
    let mixed = {
        let line = |name| Line { sku: sku(name), location: None, quantity: 1 };
        let lines = Lines::new(vec![line("A"), line("OWN")]).expect("lines");
        let ask = stock::Command::Reserve {
            lines,
            member: None,
            order: None,
            holder: crate::Holder::Shop,
            hold_for: Millis::new(HOLD),
        };
        shard.ask(ask).expect("both");
        ReservationNo::new(shard.state.stock().reservations_ever())
    };
    let end = shard.now + HOLD;
    shard.at(end);
    // All of them are due at one instant. Block after block until nothing is.
    let mut blocks = 0;
    while shard.state.next_deadline().is_some_and(|at| at <= shard.state.time()) {
        shard.due();
        blocks += 1;
        assert!(blocks < 20, "it goes round");
    }
    assert!(own.iter().all(|no| shard.state_of(*no) == ReservationState::Expired));
    assert!(theirs.iter().chain([&mixed]).all(|no| shard.state_of(*no) == ReservationState::Held));
    assert_eq!(shard.state.holds_waiting(), waiting + 1);
    shard.state.check_invariants().expect("sound");
    let seq = shard.state.seq();
    shard.at(end + 1_000);
    shard.due();
    assert_eq!(shard.state.seq(), seq, "what waits costs no event");

    shard.known(end, 20).expect("known");
    let mut blocks = 0;
    while shard.state.next_deadline().is_some_and(|at| at <= shard.state.time()) {
        shard.due();
        blocks += 1;
    }
    assert_eq!(blocks, 4, "as many a block as ever");
    assert!(theirs.iter().chain([&mixed]).all(|no| shard.state_of(*no) == ReservationState::Expired));
    assert_eq!(shard.books("A"), (5_000, 0));
}

#[test]
fn a_move_back_drains_what_waits_by_the_same_watermark() {
    let mut shard = Shard::leading(&[("A", 2, 0)]);
    let [sold, given_up] = [shard.reserve("A", 1).expect("one"), shard.reserve("A", 1).expect("two")];
    let number = shard.begin(Phase::Mirror).expect("begun");
    shard.at(shard.now + HOLD);
    shard.due();
    assert_eq!(shard.state.stock().reservations_live(), 2, "the move waits");
    shard.says(30, vec![OutboxKind::Allocate { reservation: sold }]).expect("booked");
    shard.known(shard.now, 30).expect("known");
    shard.due();
    assert_eq!(shard.state.stock().reservations_live(), 0, "and goes on");
    assert_eq!(shard.state_of(given_up), ReservationState::Expired);
    shard.batch(40, &[], vec![], Some((number, Phase::Mirror))).expect("switched");
    assert_eq!(shard.books("A"), (2, 1));
}

#[test]
fn where_the_old_shop_leads_again_nothing_waits() {
    let mut shard = Shard::leading(&[("A", 2, 0)]);
    let left = shard.reserve("A", 1).expect("one");
    shard.at(shard.now + HOLD);
    shard.due();
    assert_eq!(shard.state.holds_waiting(), 1);
    // A driver waits for it; the rules do not depend on that.
    let number = shard.begin(Phase::Mirror).expect("begun");
    shard.batch(40, &[], vec![], Some((number, Phase::Mirror))).expect("switched");
    shard.due();
    assert_eq!(shard.state_of(left), ReservationState::Expired);
    assert_eq!(shard.state.holds_waiting(), 0);
}

#[test]
fn goods_that_become_the_old_shops_wait_from_then_on() {
    let mut shard = Shard::leading(&[("A", 2, 0)]);
    shard.own("B", 3);
    let reservation = shard.reserve("B", 1).expect("one");
    let count = OutboxKind::Count { sku: sku("B"), location: main(), in_stock: 3, free: false };
    shard.says(30, vec![count]).expect("counted");
    shard.at(shard.now + HOLD);
    shard.due();
    assert_eq!(shard.state_of(reservation), ReservationState::Held);
}

#[test]
fn in_phase_retired_it_is_the_same() {
    let mut shard = Shard::leading(&[("A", 1, 0)]);
    let number = shard.begin(Phase::Retired).expect("begun");
    shard.finish(number).expect("retired");
    let reservation = shard.reserve("A", 1).expect("one");
    shard.at(shard.now + 2 * HOLD);
    assert!(shard.reserve("A", 1).is_err());
    shard.says(30, vec![OutboxKind::Allocate { reservation }]).expect("booked");
    assert_eq!(shard.state.legacy().capability(STOCK).refused, 0);
}

#[test]
fn a_log_from_before_is_read_and_one_from_now_on_is_checked() {
    let lapse =
        |reservation| Entry { event: stock::Event::ReservationExpired { reservation }.into(), stamp: None };
    let mut shard = Shard::leading(&[("A", 1, 0)]);
    let reservation = shard.reserve("A", 1).expect("one");
    shard.at(shard.now + HOLD);
    let refused: Result<_, Violation> = shard.state.apply(&lapse(reservation));
    let why = refused.expect_err("not before it is known").to_string();
    assert!(why.contains("before it was known"), "{why}");

    // Before there were watermarks none was ever logged, and holds lapsed by the clock.
    let mut shard = Shard::new();
    shard.at(shard.now);
    let mut as_it_was = |command: Command| {
        let events = match shard.state.decide(command.into(), None).expect("taken") {
            Decision::One(event) => vec![event],
            Decision::Many(events) => events,
            other => panic!("{other:?}"),
        };
        events.into_iter().for_each(|event| shard.apply(event));
    };
    let begin = |to| Command::BeginMove {
        capability: STOCK,
        from: None,
        to,
        by: actor(),
        reason: reason(""),
        without: vec![],
    };
    let batch = |position, rows, switched| {
        let (outbox, part) = (vec![], 1);
        let batch =
            SourceBatch { capability: STOCK, source: source(), position, part, rows, outbox, switched };
        Command::ApplySource(Box::new(batch))
    };
    as_it_was(begin(Phase::Mirror));
    as_it_was(Command::SetSource { capability: STOCK, source: source(), position: 9 });
    let row = MirrorRow { sku: sku("A"), location: main(), in_stock: 1, allocated: 0 };
    as_it_was(batch(10, vec![row], None));
    as_it_was(Command::EndCopy { capability: STOCK });
    as_it_was(Command::FinishMove { capability: STOCK, number: 1 });
    as_it_was(begin(Phase::Lead));
    as_it_was(batch(20, vec![], Some((2, Phase::Lead))));
    let until = Timestamp::from_millis(shard.now + HOLD);
    let parts = vec![stock::ReservedPart { item: shard.item("A"), held: 1, promised: 0 }];
    let reservation = ReservationNo::new(1);
    shard.apply(
        stock::Event::ReservationMade {
            reservation,
            parts,
            until,
            member: None,
            order: None,
            holder: crate::Holder::Shop,
        }
        .into(),
    );
    shard.at(shard.now + HOLD);
    // A snapshot of then differs from one of now in its version only.
    let mut bytes = shard.state.to_snapshot();
    assert_eq!(bytes[8..10], [0x88, 5], "the header's array, and the version in it");
    bytes[9] = 4;
    let read = State::from_snapshot(&bytes).expect("still read");
    assert_eq!(read.digest(), shard.state.digest());
    shard.apply(lapse(reservation).event);
    assert_eq!(shard.state_of(reservation), ReservationState::Expired);
    // The first block of now begins to watch.
    shard.due();
    assert_eq!(shard.state.legacy().known(STOCK).map(|known| known.until), Some(Timestamp::default()));
}

#[test]
fn its_event_keeps_its_bytes() {
    let until = Timestamp::from_millis(1_700_000_000_000);
    let event = Event::SourceKnown { capability: STOCK, until, position: 9 };
    let bytes = minicbor::to_vec(Entry { event: event.into(), stamp: None }).expect("bytes");
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "8182088182181e83001b0000018bcfe5680009");
}

/// What anybody may do while the stream comes as it likes.
#[derive(Clone, Debug)]
enum Turn {
    Reserve(u32),
    /// The order of a hold is committed in the old database, if its time is not over there.
    Order(u8),
    GiveUp(u8),
    /// So many messages of the stream come.
    Deliver(u8),
    /// The old database is asked where its log ends.
    Ask,
    /// The answer to a question of before is noted.
    Note(u8),
    Wait(u64),
    Restart,
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        4 => (1..3_u32).prop_map(Turn::Reserve),
        4 => (0..6_u8).prop_map(Turn::Order),
        1 => (0..6_u8).prop_map(Turn::GiveUp),
        3 => (1..4_u8).prop_map(Turn::Deliver),
        2 => Just(Turn::Ask),
        3 => (0..4_u8).prop_map(Turn::Note),
        4 => (1..150_000_u64).prop_map(Turn::Wait),
        1 => Just(Turn::Restart),
    ]
}

/// A hold as the naive model has it.
#[derive(Clone, Copy, Debug)]
struct Hold {
    no: ReservationNo,
    end: u64,
    state: ReservationState,
    ordered: bool,
}

proptest! {
    /// However the stream lags behind: an order that was committed before its hold's end always finds its goods, and a hold
    /// lapses exactly when its end and everything before it are known.
    #[test]
    fn no_order_comes_too_late(turns in proptest::collection::vec(turn(), 1..80)) {
        let mut shard = Shard::leading(&[("A", 6, 0)]);
        let mut holds: Vec<Hold> = Vec::new();
        let mut stream: VecDeque<(u64, ReservationNo)> = VecDeque::new();
        let mut asked: Vec<(u64, u64)> = Vec::new();
        let (mut position, mut applied, mut known) = (100, 20, 0);
        for turn in turns {
            shard.due();
            for hold in holds.iter_mut().filter(|hold| hold.state == ReservationState::Held) {
                if hold.end <= shard.now && hold.end <= known {
                    prop_assert!(!hold.ordered, "an order was committed for what lapses");
                    hold.state = ReservationState::Expired;
                }
            }
            let of = |n: u8| (holds.len() > n as usize).then(|| holds.len() - 1 - n as usize);
            match turn {
                Turn::Reserve(quantity) => if let Ok(no) = shard.reserve("A", quantity) {
                    let end = shard.now + HOLD;
                    holds.push(Hold { no, end, state: ReservationState::Held, ordered: false });
                },
                Turn::Order(n) => if let Some(n) = of(n) {
                    let hold = &mut holds[n];
                    let gone = matches!(hold.state, ReservationState::Released);
                    if !hold.ordered && !gone && shard.now < hold.end {
                        hold.ordered = true;
                        position += 1;
                        stream.push_back((position, hold.no));
                    }
                },
                // Who gives up has not ordered.
                Turn::GiveUp(n) => if let Some(n) = of(n) && !holds[n].ordered && holds[n].state == ReservationState::Held {
                    shard.ask(stock::Command::ReleaseReservation { reservation: holds[n].no }).expect("given up");
                    holds[n].state = ReservationState::Released;
                },
                Turn::Deliver(n) => for _ in 0..n {
                    let Some((at, reservation)) = stream.pop_front() else { break };
                    shard.says(at, vec![OutboxKind::Allocate { reservation }]).expect("booked");
                    applied = at;
                    let hold = holds.iter_mut().find(|hold| hold.no == reservation).expect("one of ours");
                    hold.state = ReservationState::Committed;
                },
                Turn::Ask => {
                    // The question itself is in the log, so that its end can be told from the last order's.
                    let end = stream.back().map_or(applied, |(at, _)| *at);
                    asked.push((shard.now, end));
                }
                Turn::Note(n) => if let Some(&(until, end)) = asked.iter().rev().nth(n as usize) {
                    shard.known(until, end).expect("known, or not yet");
                    if end <= applied {
                        known = known.max(until);
                    }
                },
                Turn::Wait(millis) => {
                    let later = shard.now + millis;
                    shard.at(later);
                }
                Turn::Restart => {
                    let bytes = shard.state.to_snapshot();
                    shard.state = State::from_snapshot(&bytes).expect("read back");
                }
            }
            for hold in &holds {
                prop_assert_eq!(shard.state_of(hold.no), hold.state, "{:?} at {} known {}", hold, shard.now, known);
            }
        }
        for (at, reservation) in stream {
            shard.says(at, vec![OutboxKind::Allocate { reservation }]).expect("booked");
        }
        prop_assert_eq!(shard.state.legacy().capability(STOCK).refused, 0);
        let level = shard.state.mirror_level(shard.item("A")).expect("theirs");
        prop_assert_eq!((level.short, level.in_stock()), (0, 6));
    }
}
