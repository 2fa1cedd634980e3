//! The way over as stories: who decides when, what the old books become here, and everything sent twice.

use super::{
    Capability, Command, Event, MirrorRow, MoveStep, OutboxItem, OutboxKind, Outcome, Phase, Refusal,
    SourceBatch, SourceId,
};
use crate::stock::{self, Configuration, Line, Lines};
use crate::{
    Actor, Decision, Entry, Event as AnyEvent, ItemNo, LocationId, Millis, Outcome as AnyOutcome, Reason,
    Refusal as AnyRefusal, ReservationNo, SkuId, State, StoreSecret, Timestamp,
};
use proptest::prelude::*;

mod breaches;
mod impossible;
mod lapsing;
mod looked_at;
mod messages_twice;
mod overtaken;
mod taken_over;

const STOCK: Capability = Capability::Stock;

/// A shard whose every event is checked, stored and read back.
struct Shard {
    state: State,
    now: u64,
}

impl Shard {
    fn new() -> Self {
        Self { state: State::new(StoreSecret::new([7; 32])), now: 1_000 }
    }

    fn at(&mut self, millis: u64) {
        self.now = millis;
        self.state.begin_block(Timestamp::from_millis(millis));
    }

    fn ask(&mut self, command: impl Into<crate::Command>) -> Result<AnyOutcome, AnyRefusal> {
        self.due();
        let events = match self.state.decide(command.into(), None)? {
            Decision::One(event) => vec![event],
            Decision::Many(events) => events,
            Decision::Replay(outcome, _) => return Ok(outcome),
            Decision::Keep(..) => unreachable!("without a key"),
        };
        let last = events.last().cloned().expect("never empty");
        events.into_iter().for_each(|event| self.apply(event));
        let outcome = self.state.outcome(&last).expect("an answer");
        self.advance();
        self.state.check_invariants().expect("sound");
        Ok(outcome)
    }

    /// What time alone brings.
    fn due(&mut self) {
        self.at(self.now);
        for event in self.state.due() {
            self.apply(event);
        }
        self.advance();
    }

    fn advance(&mut self) {
        while let Some(advance) = self.state.advance() {
            advance.events.into_iter().for_each(|event| self.apply(event));
        }
    }

    fn apply(&mut self, event: AnyEvent) {
        let entry = Entry { event, stamp: None };
        let bytes = minicbor::to_vec(&entry).expect("bytes");
        assert_eq!(minicbor::decode::<Entry>(&bytes).expect("an entry"), entry);
        self.state.apply(&entry).expect("an event that was decided applies");
    }

    fn begin(&mut self, to: Phase) -> Result<u64, AnyRefusal> {
        let ask = Command::BeginMove {
            capability: STOCK,
            from: None,
            to,
            by: actor(),
            reason: reason("because"),
            without: vec![],
        };
        match self.ask(ask)? {
            AnyOutcome::Legacy(Outcome::Move { number }) => Ok(number),
            other => panic!("{other:?}"),
        }
    }

    fn finish(&mut self, number: u64) -> Result<AnyOutcome, AnyRefusal> {
        self.ask(Command::FinishMove { capability: STOCK, number })
    }

    fn source(&mut self, position: u64) {
        let ask = Command::SetSource { capability: STOCK, source: source(), position };
        self.ask(ask).expect("a source");
    }

    fn rows(&mut self, position: u64, rows: &[(&str, i64, i64)]) -> Result<AnyOutcome, AnyRefusal> {
        self.batch(position, rows, vec![], None)
    }

    fn says(&mut self, position: u64, outbox: Vec<OutboxKind>) -> Result<AnyOutcome, AnyRefusal> {
        self.batch(position, &[], outbox, None)
    }

    fn batch(
        &mut self,
        position: u64,
        rows: &[(&str, i64, i64)],
        outbox: Vec<OutboxKind>,
        switched: Option<(u64, Phase)>,
    ) -> Result<AnyOutcome, AnyRefusal> {
        let row = |&(name, in_stock, allocated): &(&str, i64, i64)| MirrorRow {
            sku: sku(name),
            location: main(),
            in_stock,
            allocated,
        };
        let item = |(id, kind)| OutboxItem { id, kind };
        self.ask(Command::ApplySource(Box::new(SourceBatch {
            capability: STOCK,
            source: source(),
            position,
            part: 1,
            rows: rows.iter().map(row).collect(),
            outbox: (1..).zip(outbox).map(item).collect(),
            switched,
        })))
    }

    /// In phase `lead`, with these rows.
    fn leading(rows: &[(&str, i64, i64)]) -> Self {
        let mut shard = Self::new();
        let number = shard.begin(Phase::Mirror).expect("begun");
        shard.source(10);
        shard.batch(10, rows, vec![], None).expect("copied");
        shard.ask(Command::EndCopy { capability: STOCK }).expect("copied");
        shard.finish(number).expect("mirrored");
        let number = shard.begin(Phase::Lead).expect("begun");
        shard.batch(20, &[], vec![], Some((number, Phase::Lead))).expect("switched");
        assert_eq!(shard.phase(), Phase::Lead);
        shard
    }

    fn phase(&self) -> Phase {
        self.state.legacy().capability(STOCK).phase
    }

    fn reserve(&mut self, name: &str, quantity: u32) -> Result<ReservationNo, AnyRefusal> {
        let lines = Lines::new(vec![Line { sku: sku(name), location: None, quantity }]).expect("lines");
        let hold_for = Millis::new(120_000);
        let ask = stock::Command::Reserve {
            lines,
            member: None,
            order: None,
            holder: crate::Holder::Shop,
            hold_for,
        };
        match self.ask(ask)? {
            AnyOutcome::Stock(stock::Outcome::Reservation(answer)) => Ok(answer.reservation),
            other => panic!("{other:?}"),
        }
    }

    /// Everything that was committed before `until` is up to `position`.
    fn known(&mut self, until: u64, position: u64) -> Result<AnyOutcome, AnyRefusal> {
        let until = Timestamp::from_millis(until);
        self.ask(Command::NoteKnown { capability: STOCK, source: source(), position, until })
    }

    /// In stock and taken, as the old books have them.
    fn books(&self, name: &str) -> (i64, i64) {
        let item = self.state.stock().find(&sku(name), &main()).expect("an item");
        let level = self.state.mirror_level(item).expect("the old shop's");
        (level.in_stock(), level.taken())
    }

    fn item(&self, name: &str) -> ItemNo {
        self.state.stock().find(&sku(name), &main()).expect("an item")
    }
}

fn sku(name: &str) -> SkuId {
    SkuId::new(name).expect("a SKU")
}

fn main() -> LocationId {
    LocationId::new("main").expect("a location")
}

fn actor() -> Actor {
    Actor::new("op").expect("an actor")
}

fn reason(text: &str) -> Reason {
    Reason::new(text).expect("a reason")
}

fn source() -> SourceId {
    SourceId { system: "7001-1".into(), stream: "banyan_stock".into() }
}

#[test]
fn the_old_shop_leads_until_its_own_stream_says_otherwise() {
    let mut shard = Shard::new();
    let number = shard.begin(Phase::Mirror).expect("begun");
    shard.source(10);
    shard.rows(10, &[("A", 5, 1), ("B", 0, 0)]).expect("copied");
    assert_eq!(shard.reserve("A", 1), Err(Refusal::NotLeading.into()));
    shard.finish(number).expect("mirror");
    assert_eq!(shard.books("A"), (5, 1));

    let number = shard.begin(Phase::Lead).expect("begun");
    assert_eq!(shard.finish(number), Err(Refusal::MoveNotOurs.into()), "only the stream ends it");
    assert_eq!(shard.reserve("A", 1), Err(Refusal::NotLeading.into()), "not before the stream says so");
    // The last sale of the old shop is committed before the switch, and counts.
    shard.rows(19, &[("A", 5, 2)]).expect("applied");
    shard.batch(20, &[], vec![], Some((number, Phase::Lead))).expect("switched");
    assert_eq!(shard.phase(), Phase::Lead);
    for _ in 0..3 {
        shard.reserve("A", 1).expect("three are free");
    }
    assert!(matches!(shard.reserve("A", 1), Err(AnyRefusal::Stock(stock::Refusal::OutOfStock { .. }))));
    assert_eq!(shard.books("A"), (5, 5));
}

#[test]
fn rows_are_not_taken_over_while_banyan_leads() {
    let mut shard = Shard::leading(&[("A", 5, 0)]);
    shard.rows(30, &[("A", 99, 0)]).expect("passed over");
    assert_eq!(shard.books("A"), (5, 0));
}

#[test]
fn an_order_of_the_old_shop_goes_its_whole_way() {
    let mut shard = Shard::leading(&[("A", 5, 1)]);
    let reservation = shard.reserve("A", 2).expect("reserved");
    assert_eq!(shard.books("A"), (5, 3), "held units are taken");
    shard.says(30, vec![OutboxKind::Allocate { reservation }]).expect("sold");
    assert_eq!(shard.books("A"), (5, 3), "sold, and still there");
    let (sku, location) = (sku("A"), main());
    shard
        .says(31, vec![OutboxKind::Ship { sku: sku.clone(), location: location.clone(), quantity: 2 }])
        .expect("left");
    assert_eq!(shard.books("A"), (3, 1));
    shard.says(32, vec![OutboxKind::Deallocate { sku, location, quantity: 1 }]).expect("cancelled");
    assert_eq!(shard.books("A"), (3, 0));
    assert_eq!(shard.state.legacy().capability(STOCK).refused, 0);
}

#[test]
fn several_messages_of_one_transaction_add_up() {
    let mut shard = Shard::leading(&[("A", 5, 0)]);
    let (first, second) = (shard.reserve("A", 1).expect("one"), shard.reserve("A", 1).expect("two"));
    let (sku, location) = (sku("A"), main());
    let says = vec![
        OutboxKind::Allocate { reservation: first },
        OutboxKind::Allocate { reservation: second },
        OutboxKind::Allocate { reservation: second },
        OutboxKind::Ship { sku: sku.clone(), location: location.clone(), quantity: 1 },
        OutboxKind::Count { sku, location, in_stock: 10, free: false },
    ];
    shard.says(30, says).expect("all");
    assert_eq!(shard.books("A"), (10, 1));
}

#[test]
fn a_source_transaction_counts_once_however_often_it_comes() {
    let mut shard = Shard::leading(&[("A", 5, 3)]);
    let ship = || vec![OutboxKind::Ship { sku: sku("A"), location: main(), quantity: 1 }];
    shard.says(30, ship()).expect("left");
    let seq = shard.state.seq();
    let again = shard.says(30, ship()).expect("known");
    assert_eq!(again, AnyOutcome::Legacy(Outcome::Source { position: 30, part: 1 }));
    shard.says(25, ship()).expect("older");
    assert_eq!((shard.books("A"), shard.state.seq()), ((4, 2), seq));
}

#[test]
fn a_missing_part_and_another_stream_are_refused() {
    let mut shard = Shard::leading(&[("A", 5, 0)]);
    let batch = |source: SourceId, position, part| {
        let (rows, outbox, switched) = (vec![], vec![], None);
        let batch = SourceBatch { capability: STOCK, source, position, part, rows, outbox, switched };
        Command::ApplySource(Box::new(batch))
    };
    assert_eq!(shard.ask(batch(source(), 30, 2)), Err(Refusal::SourceGap.into()));
    shard.ask(batch(source(), 30, 1)).expect("first");
    shard.ask(batch(source(), 30, 2)).expect("second");
    assert_eq!(shard.ask(batch(source(), 30, 4)), Err(Refusal::SourceGap.into()));
    let other = SourceId { system: "7002-1".into(), ..source() };
    assert_eq!(shard.ask(batch(other, 40, 1)), Err(Refusal::SourceUnknown.into()));
}

#[test]
fn a_sale_that_comes_after_its_hold_lapsed_is_booked_and_told() {
    let mut shard = Shard::leading(&[("A", 1, 0)]);
    let reservation = shard.reserve("A", 1).expect("the last one");
    shard.at(shard.now + 200_000);
    // The order was committed after the end: nothing before it says so.
    shard.known(shard.now, 20).expect("known");
    // Somebody else got it meanwhile.
    let other = shard.reserve("A", 1).expect("free again");
    shard.says(30, vec![OutboxKind::Allocate { reservation: other }]).expect("sold");
    shard.says(31, vec![OutboxKind::Allocate { reservation }]).expect("booked");
    assert_eq!(shard.books("A"), (1, 2), "one there, two sold: short by one, and not hidden");
    assert_eq!(shard.state.legacy().capability(STOCK).refused, 1);
    // What comes back covers what is short first.
    shard
        .says(32, vec![OutboxKind::Deallocate { sku: sku("A"), location: main(), quantity: 1 }])
        .expect("cancelled");
    assert_eq!(shard.books("A"), (1, 1));
    assert!(shard.reserve("A", 1).is_err());
}

#[test]
fn a_late_sale_takes_what_is_free() {
    let mut shard = Shard::leading(&[("A", 3, 0)]);
    let reservation = shard.reserve("A", 1).expect("reserved");
    shard.at(shard.now + 120_000);
    shard.says(30, vec![OutboxKind::Allocate { reservation }]).expect("booked");
    assert_eq!(shard.books("A"), (3, 1));
    assert_eq!(shard.state.legacy().capability(STOCK).refused, 0, "nobody was harmed");
}

#[test]
fn what_cannot_be_is_noted_and_stops_nothing() {
    let mut shard = Shard::leading(&[("A", 3, 1)]);
    let says = vec![
        OutboxKind::Ship { sku: sku("A"), location: main(), quantity: 2 },
        OutboxKind::Ship { sku: sku("Z"), location: main(), quantity: 1 },
        OutboxKind::Allocate { reservation: ReservationNo::new(77) },
        OutboxKind::Unreadable { why: reason("not JSON") },
        OutboxKind::Ship { sku: sku("A"), location: main(), quantity: 1 },
    ];
    shard.says(30, says).expect("applied");
    assert_eq!(shard.books("A"), (2, 0));
    assert_eq!(shard.state.legacy().capability(STOCK).refused, 4);
}

#[test]
fn going_back_sells_until_its_gates_were_looked_at_and_hands_over_when_the_stream_says_so() {
    let mut shard = Shard::leading(&[("A", 6, 0)]);
    let open = shard.reserve("A", 2).expect("reserved");
    let number = shard.begin(Phase::Mirror).expect("begun");
    let last = shard.reserve("A", 1).expect("a look at the gates may take minutes");
    let note = Command::NoteMove { capability: STOCK, number, step: MoveStep::Checked, note: reason("") };
    shard.ask(note).expect("looked at");
    assert_eq!(shard.reserve("A", 1), Err(Refusal::NotLeading.into()));
    shard.ask(stock::Command::ReleaseReservation { reservation: last }).expect("what is open may end");
    assert_eq!(shard.phase(), Phase::Lead, "the rows are still ours");
    shard.rows(30, &[("A", 77, 0)]).expect("passed over");
    shard.says(31, vec![OutboxKind::Allocate { reservation: open }]).expect("what was promised is kept");
    shard.batch(40, &[], vec![], Some((number, Phase::Mirror))).expect("switched");
    assert_eq!(shard.phase(), Phase::Mirror);
    shard.rows(41, &[("A", 4, 1)]).expect("theirs");
    assert_eq!(shard.books("A"), (4, 1));
}

#[test]
fn a_move_that_was_given_up_leaves_everything_as_it_was() {
    let mut shard = Shard::leading(&[("A", 5, 0)]);
    let number = shard.begin(Phase::Mirror).expect("begun");
    assert_eq!(shard.begin(Phase::Retired), Err(Refusal::MoveUnderWay.into()));
    assert_eq!(shard.begin(Phase::Mirror), Ok(number), "asked twice, begun once");
    let note = |step| Command::NoteMove { capability: STOCK, number, step, note: reason("") };
    shard.ask(note(MoveStep::Switched)).expect("noted");
    let abort = |fenced| Command::AbortMove { capability: STOCK, number, why: reason("enough"), fenced };
    assert_eq!(shard.ask(abort(false)), Err(Refusal::MoveNotOurs.into()), "the switch may still arrive");
    shard.ask(abort(true)).expect("given up");
    shard.reserve("A", 1).expect("open again");
    assert_eq!(shard.ask(note(MoveStep::Drained)), Err(Refusal::NoSuchMove.into()));
    shard.batch(50, &[], vec![], Some((number, Phase::Lead))).expect("the fence changes nothing");
    assert_eq!(shard.phase(), Phase::Lead);
    let theirs = shard.batch(51, &[], vec![], Some((number + 1, Phase::Retired)));
    assert_eq!(theirs, Err(Refusal::NoSuchMove.into()), "a move that nobody asked for stops the stream");
    shard.batch(51, &[], vec![], Some((number, Phase::Mirror))).expect("past the fence");
    assert_eq!(shard.phase(), Phase::Mirror, "whoever wrote it: Banyan does not lead any more");
}

#[test]
fn phases_are_taken_one_at_a_time() {
    let mut shard = Shard::new();
    assert_eq!(shard.begin(Phase::Lead), Err(Refusal::PhaseNotNext.into()));
    let mut shard = Shard::leading(&[]);
    assert_eq!(shard.begin(Phase::Legacy), Err(Refusal::PhaseNotNext.into()));
    let number = shard.begin(Phase::Retired).expect("begun");
    shard.finish(number).expect("retired");
    assert_eq!(shard.phase(), Phase::Retired);
    let number = shard.begin(Phase::Lead).expect("back");
    shard.finish(number).expect("lead again");
    shard.batch(60, &[], vec![], Some((number - 1, Phase::Retired))).expect("told late");
    assert_eq!(shard.state.legacy().capability(STOCK).epoch, number);
}

/// Found by breaking moves off: the stream ended the move before the driver could give the stream up, and applied its position
/// to a stream that was not followed any more.
#[test]
fn the_stream_ends_only_moves_that_change_who_leads() {
    let mut shard = Shard::new();
    let number = shard.begin(Phase::Mirror).expect("begun");
    shard.source(10);
    shard.finish(number).expect("mirror");
    let number = shard.begin(Phase::Legacy).expect("begun");
    shard.batch(20, &[], vec![], Some((number, Phase::Legacy))).expect("told");
    assert_eq!(shard.phase(), Phase::Mirror);
    shard.finish(number).expect("legacy");
    assert_eq!(shard.phase(), Phase::Legacy);
}

#[test]
fn old_books_that_oversold_are_short_here_and_come_back_the_same() {
    let mut shard = Shard::leading(&[("A", 5, 8)]);
    assert_eq!(shard.books("A"), (5, 8));
    assert!(shard.reserve("A", 1).is_err());
    // Goods came: three for those who were promised, one to sell.
    let count = OutboxKind::Count { sku: sku("A"), location: main(), in_stock: 9, free: false };
    shard.says(30, vec![count]).expect("counted");
    assert_eq!(shard.books("A"), (9, 8));
    shard.reserve("A", 1).expect("one");
    assert!(shard.reserve("A", 1).is_err());
}

#[test]
fn nothing_of_the_old_shop_is_promised_beyond_the_stock() {
    let mut shard = Shard::leading(&[("A", 5, 0)]);
    let change = Configuration { backorder_max: Some(5), ..Configuration::default() };
    let ask = stock::Command::Configure { sku: sku("A"), location: main(), change, by: actor() };
    assert_eq!(shard.ask(ask), Err(Refusal::MirrorConflict.into()));
}

#[test]
fn a_breach_is_noted_once() {
    let mut shard = Shard::leading(&[("A", 5, 0)]);
    let breach = |position, index| Command::NoteBreach {
        capability: STOCK,
        sku: sku("A"),
        location: main(),
        what: reason("num_in_stock is 4, should be 5"),
        position,
        index,
    };
    for (position, index) in [(30, 0), (30, 1), (30, 0), (30, 1), (31, 0)] {
        shard.ask(breach(position, index)).expect("noted");
    }
    assert_eq!(shard.state.legacy().capability(STOCK).breaches, 3);
}

#[test]
fn events_keep_their_bytes() {
    let event = AnyEvent::Legacy(Event::ItemMirrored { item: ItemNo::new(3), allocated: 2, short: 1 });
    let bytes = minicbor::to_vec(Entry { event, stamp: None }).expect("bytes");
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "81820881820783030201");
    let event =
        Event::SourceApplied { capability: STOCK, position: 1 << 40, part: 1, rows: 2, outbox: 0, ids: None };
    let bytes = minicbor::to_vec(Entry { event: event.into(), stamp: None }).expect("bytes");
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "818208818206850 01b0000010000000000010200".replace(' ', ""));
}

/// Found by a random story: holds on goods that a count had found missing lapsed, and the goods were sold again.
#[test]
fn goods_that_come_free_while_others_are_short_are_not_for_sale() {
    let mut shard = Shard::leading(&[("A", 3, 0)]);
    for _ in 0..3 {
        shard.reserve("A", 1).expect("free");
    }
    let count = OutboxKind::Count { sku: sku("A"), location: main(), in_stock: 0, free: false };
    shard.says(30, vec![count]).expect("counted");
    assert_eq!(shard.books("A"), (0, 3));
    shard.at(shard.now + 120_000);
    shard.known(shard.now, 30).expect("known");
    assert!(shard.reserve("A", 1).is_err(), "there is nothing");
    assert_eq!(shard.books("A"), (0, 0));
}

/// What anybody may do in a random story.
#[derive(Clone, Debug)]
enum Act {
    Reserve(u8, u32),
    Release(u8),
    Allocate(u8),
    Ship(u8, u32),
    Deallocate(u8, u32),
    Count(u8, u32),
    Row(u8, i64, i64),
    Wait(u64),
    Forth,
    Back,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..3_u8, 1..4_u32).prop_map(|(sku, quantity)| Act::Reserve(sku, quantity)),
        1 => (0..8_u8).prop_map(Act::Release),
        4 => (0..8_u8).prop_map(Act::Allocate),
        2 => (0..3_u8, 1..4_u32).prop_map(|(sku, quantity)| Act::Ship(sku, quantity)),
        2 => (0..3_u8, 1..4_u32).prop_map(|(sku, quantity)| Act::Deallocate(sku, quantity)),
        1 => (0..3_u8, 0..12_u32).prop_map(|(sku, units)| Act::Count(sku, units)),
        2 => (0..4_u8, 0..12_i64, 0..12_i64).prop_map(|(sku, a, b)| Act::Row(sku, a, b)),
        1 => (1..200_000_u64).prop_map(Act::Wait),
        1 => Just(Act::Forth),
        1 => Just(Act::Back),
    ]
}

proptest! {
    /// Whatever happens in whatever order, no unit is lost or made: what is there less what is short changes only by counts,
    /// rows of the leading old shop, and shipping.
    #[test]
    fn units_are_neither_lost_nor_made(acts in proptest::collection::vec(act(), 1..60)) {
        let mut shard = Shard::leading(&[("S0", 6, 0), ("S1", 3, 1), ("S2", 0, 0)]);
        let mut made: Vec<ReservationNo> = Vec::new();
        let mut position = 100;
        for act in acts {
            position += 1;
            shard.due();
            let name = |n: u8| format!("S{n}");
            let before: Vec<(i64, i64)> = (0..3).map(|n| shard.books(&name(n))).collect();
            let leads = shard.phase().leads();
            let mut allowed: Option<(u8, i64)> = None;
            match act {
                Act::Reserve(n, quantity) => {
                    if let Ok(reservation) = shard.reserve(&name(n), quantity) {
                        prop_assert!(before[n as usize].0 - before[n as usize].1 >= i64::from(quantity), "sold too much");
                        made.push(reservation);
                    }
                }
                Act::Release(n) => {
                    if let Some(reservation) = made.get(n as usize).copied() {
                        let _refused = shard.ask(stock::Command::ReleaseReservation { reservation });
                    }
                }
                Act::Allocate(n) => {
                    if let Some(reservation) = made.get(n as usize).copied() {
                        shard.says(position, vec![OutboxKind::Allocate { reservation }]).expect("applied");
                    }
                }
                Act::Ship(n, quantity) => {
                    let refused = shard.state.legacy().capability(STOCK).refused;
                    let says = OutboxKind::Ship { sku: sku(&name(n)), location: main(), quantity };
                    shard.says(position, vec![says]).expect("applied");
                    if refused == shard.state.legacy().capability(STOCK).refused {
                        allowed = Some((n, before[n as usize].0 - i64::from(quantity)));
                    }
                }
                Act::Deallocate(n, quantity) => {
                    let says = OutboxKind::Deallocate { sku: sku(&name(n)), location: main(), quantity };
                    shard.says(position, vec![says]).expect("applied");
                }
                Act::Count(n, in_stock) => {
                    let says = OutboxKind::Count { sku: sku(&name(n)), location: main(), in_stock, free: false };
                    shard.says(position, vec![says]).expect("applied");
                    allowed = Some((n, i64::from(in_stock)));
                }
                Act::Row(n, a, b) => {
                    let n = n % 3;
                    shard.rows(position, &[(&name(n), a, b)]).expect("applied");
                    if !leads {
                        allowed = Some((n, a));
                    }
                }
                Act::Wait(millis) => {
                    let later = shard.now + millis;
                    shard.at(later);
                    if millis % 2 == 0 {
                        shard.known(later, position - 1).expect("known, or not yet");
                    }
                }
                Act::Forth if !leads => {
                    let number = shard.begin(Phase::Lead).expect("begun");
                    shard.batch(position, &[], vec![], Some((number, Phase::Lead))).expect("switched");
                }
                // A move back waits for what is reserved.
                Act::Back if leads && shard.state.stock().reservations_live() == 0 => {
                    let number = shard.begin(Phase::Mirror).expect("begun");
                    shard.batch(position, &[], vec![], Some((number, Phase::Mirror))).expect("switched");
                }
                Act::Forth | Act::Back => {}
            }
            for n in 0..3_u8 {
                let now = shard.books(&name(n)).0;
                let want = match allowed {
                    Some((of, units)) if of == n => units,
                    _ => before[n as usize].0,
                };
                prop_assert_eq!(now, want, "in stock of {}", name(n));
                let level = shard.state.mirror_level(shard.item(&name(n))).expect("theirs");
                prop_assert!(level.held <= level.on_hand);
            }
        }
        let bytes = shard.state.to_snapshot();
        let read = State::from_snapshot(&bytes).expect("read back");
        prop_assert_eq!(read.digest(), shard.state.digest());
        prop_assert_eq!(read.legacy().capability(STOCK), shard.state.legacy().capability(STOCK));
    }
}
