//! Random commands at random times: what must be true after any of them.

use super::model::Model;
use super::{Shop, by, location, reason, sku, snapshot};
use crate::stock::{
    Command, Configuration, Event, ImportRow, ItemCount, Level, Line, Lines, NewItem, Outcome, Remembered,
    ReservedPart, ReturnedPart, Stock,
};
use crate::{ItemNo, LocationId, MemberId, Millis, OrderId, ReservationNo, SkuId, Timestamp, limits};
use proptest::prelude::*;

const SKUS: [&str; 3] = ["a", "b", "c"];
const MEMBERS: [&str; 3] = ["m0", "m1", "m2"];

/// One step of a story.
#[derive(Clone, Debug)]
enum Step {
    Ask(Box<Command>),
    /// Asks again what was asked so many questions ago.
    Repeat(usize),
    Wait(u64),
    Restart,
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

fn span() -> impl Strategy<Value = u64> {
    const HOUR: u64 = 3_600_000;
    prop_oneof![
        1 => Just(0),
        4 => 1..4_u64,
        2 => 1_u64..60_000,
        1 => 1..48 * HOUR,
        1 => Just(limits::IDEMPOTENCY_HORIZON_MILLIS),
        1 => Just(limits::RESERVATION_KEPT_MILLIS),
        1 => Just(limits::RESERVATION_MILLIS_MAX),
    ]
}

fn units() -> impl Strategy<Value = u32> {
    let edges =
        vec![limits::ITEM_UNITS_MAX - 1, limits::ITEM_UNITS_MAX, limits::ITEM_UNITS_MAX + 1, u32::MAX];
    prop_oneof![20 => 0..8_u32, 1 => proptest::sample::select(edges)]
}

fn threshold() -> impl Strategy<Value = u32> {
    let edges = vec![limits::PROMISED_UNITS_MAX, limits::PROMISED_UNITS_MAX + 1, u32::MAX];
    prop_oneof![20 => 0..8_u32, 1 => proptest::sample::select(edges)]
}

fn sku_id() -> impl Strategy<Value = SkuId> {
    prop_oneof![12 => proptest::sample::select(SKUS.to_vec()), 1 => Just("unknown")].prop_map(sku)
}

fn place() -> impl Strategy<Value = LocationId> {
    prop_oneof![6 => Just("x"), 3 => Just("y"), 1 => Just("z")].prop_map(location)
}

fn member() -> impl Strategy<Value = MemberId> {
    proptest::sample::select(MEMBERS.to_vec()).prop_map(|member| MemberId::new(member).expect("valid"))
}

fn reservation() -> impl Strategy<Value = ReservationNo> {
    (0..12_u64).prop_map(ReservationNo::new)
}

fn instant() -> impl Strategy<Value = Timestamp> {
    (span(), span()).prop_map(|(a, b)| Timestamp::from_millis(a + b))
}

fn any_lines() -> impl Strategy<Value = Lines> {
    let quantity = units().prop_map(|units| units.clamp(1, u32::MAX));
    let line = (sku_id(), proptest::option::weighted(0.3, place()), quantity);
    let line = line.prop_map(|(sku, location, quantity)| Line { sku, location, quantity });
    proptest::collection::vec(line, 1..4).prop_map(|lines| Lines::new(lines).expect("valid"))
}

fn any_command() -> impl Strategy<Value = Command> {
    let change = (
        proptest::option::weighted(0.3, units()),
        proptest::option::weighted(0.4, threshold()),
        proptest::option::weighted(0.2, threshold()),
        proptest::option::weighted(0.2, proptest::option::weighted(0.8, instant())),
        proptest::option::weighted(0.3, proptest::option::weighted(0.8, 0..9_u32)),
    );
    let change = change.prop_map(|(safety, backorder_max, preorder_max, released_at, per_member)| {
        Configuration { safety, backorder_max, preorder_max, released_at, per_member }
    });
    let by_quantity = prop_oneof![20 => -6..7_i64, 1 => Just(i64::MIN), 1 => Just(i64::MAX)];
    let row = (sku_id(), place(), units());
    let row = row.prop_map(|(sku, location, on_hand)| ImportRow { sku, location, on_hand });
    prop_oneof![
        3 => (sku_id(), place(), units()).prop_map(|(sku, location, on_hand)| Command::SetStock {
            sku, location, on_hand, by: by(), reason: reason(),
        }),
        3 => (sku_id(), place(), units()).prop_map(|(sku, location, quantity)| Command::Receive {
            sku, location, quantity, by: by(), reason: reason(),
        }),
        1 => (sku_id(), place(), by_quantity).prop_map(|(sku, location, by_quantity)| Command::Adjust {
            sku, location, by_quantity, by: by(), reason: reason(),
        }),
        3 => (sku_id(), place(), change)
            .prop_map(|(sku, location, change)| Command::Configure { sku, location, change, by: by() }),
        1 => proptest::collection::vec(row, 0..5)
            .prop_map(|rows| Command::ImportStock { rows, by: by() }),
        8 => (any_lines(), proptest::option::weighted(0.7, member()), any::<bool>(), span()).prop_map(
            |(lines, member, ordered, hold_for)| Command::Reserve {
                lines,
                member,
                order: ordered.then(|| OrderId::new("o1").expect("valid")),
                holder: crate::Holder::Shop, hold_for: Millis::new(hold_for),
            }
        ),
        4 => reservation().prop_map(|reservation| Command::CommitReservation { reservation }),
        3 => reservation().prop_map(|reservation| Command::ReleaseReservation { reservation }),
        3 => (reservation(), any_lines()).prop_map(|(reservation, lines)| Command::Return {
            reservation, lines, by: by(), reason: reason(),
        }),
    ]
}

fn story() -> impl Strategy<Value = (u64, Vec<Step>)> {
    let step = prop_oneof![
        14 => any_command().prop_map(|command| Step::Ask(Box::new(command))),
        2 => (0..8_usize).prop_map(Step::Repeat),
        3 => span().prop_map(Step::Wait),
        1 => Just(Step::Restart),
    ];
    // Most stories begin in 1970; some shortly before the end of time.
    let end = limits::TIMESTAMP_MILLIS_MAX - 14 * 24 * 3_600_000;
    let start = prop_oneof![5 => Just(0), 1 => Just(end), 1 => Just(limits::TIMESTAMP_MILLIS_MAX - 3)];
    // Stock first, so that the story is about something.
    let counts = proptest::collection::vec((sku_id(), place(), 0..12_u32), 2..6);
    (start, counts, proptest::collection::vec(step, 1..70)).prop_map(|(start, counts, steps)| {
        let set = |(sku, location, on_hand)| Command::SetStock {
            sku,
            location,
            on_hand,
            by: by(),
            reason: reason(),
        };
        let counts = counts.into_iter().map(|count| Step::Ask(Box::new(set(count))));
        (start, counts.chain(steps).collect())
    })
}

/// Something done under a key: when, what is remembered, what was asked and answered.
type Kept = (Timestamp, Remembered, Command, Outcome);

/// Runs a story beside the model, with everything checked after every step.
fn run(start: u64, steps: &[Step]) -> Shop {
    let (mut shop, mut model) = (Shop::new(), Model::default());
    let wait = |shop: &mut Shop, model: &mut Model, span: u64| {
        let now = shop.now.plus(Millis::new(span));
        shop.at(now);
        model.tick(now.as_millis());
    };
    wait(&mut shop, &mut model, start);
    let (mut asked, mut kept) = (Vec::new(), Vec::<Kept>::new());
    for step in steps {
        match step {
            Step::Ask(command) => {
                ask(&mut shop, &mut model, command, &mut kept);
                asked.push(command);
            }
            Step::Repeat(ago) => {
                if let Some(command) = asked.iter().rev().nth(*ago) {
                    ask(&mut shop, &mut model, command, &mut kept);
                }
            }
            Step::Wait(span) => wait(&mut shop, &mut model, *span),
            Step::Restart => shop.stock = shop.restored(),
        }
        // At the very end of time a reservation lapses the moment it is made: let it.
        if shop.now.as_millis() == limits::TIMESTAMP_MILLIS_MAX {
            wait(&mut shop, &mut model, 0);
        }
        shop.check();
        compare(&shop, &model, step);
        for (at, remembered, command, outcome) in &kept {
            if at.plus(Millis::new(limits::IDEMPOTENCY_HORIZON_MILLIS)) > shop.now {
                assert_eq!(shop.stock.recall(*remembered, command).as_ref(), Ok(outcome), "of {command:?}");
            }
        }
    }
    shop
}

fn ask(shop: &mut Shop, model: &mut Model, command: &Command, kept: &mut Vec<Kept>) {
    let answer = shop.ask(command.clone());
    let said =
        answer.as_ref().map(|answer| (answer.outcome.clone(), answer.is_new)).map_err(|refusal| *refusal);
    assert_eq!(said, model.ask(command), "the rules (left) and the model differ on {command:?}");
    if let Ok(answer) = answer
        && answer.is_new
    {
        kept.push((shop.now, answer.remembered, command.clone(), answer.outcome));
    }
}

fn compare(shop: &Shop, model: &Model, step: &Step) {
    let levels: Vec<_> = shop.stock.items().map(|item| levels(item.level)).collect();
    assert_eq!(levels, model.levels(), "levels after {step:?}");
    for (name, member) in SKUS.iter().flat_map(|name| MEMBERS.map(|member| (name, member))) {
        let id = MemberId::new(member).expect("valid");
        let bought = u64::from(shop.stock.bought(&sku(name), &id));
        assert_eq!(bought, model.bought(name, member), "{name} of {member} after {step:?}");
    }
}

fn levels(level: &Level) -> [u64; 4] {
    [level.on_hand, level.held, level.promised, level.owed].map(u64::from)
}

proptest! {
    #![proptest_config(config(1_024))]

    #[test]
    fn the_rules_answer_as_the_model_and_the_log_gives_the_same_state((start, steps) in story()) {
        run(start, &steps).check_replay();
    }
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn blocks_without_events_leave_no_trace((start, steps) in story(), pauses in proptest::collection::vec(0..20_u64, 4)) {
        let mut shop = run(start, &steps);
        shop.at(shop.now);
        let before = snapshot(&shop.stock);
        for pause in pauses {
            let to = shop.now.plus(Millis::new(pause));
            if shop.stock.next_deadline().is_none_or(|next| next > to) {
                prop_assert!(shop.at(to).is_empty());
                let reservation = ReservationNo::new(999);
                let refused = shop.ask(Command::CommitReservation { reservation });
                prop_assert!(refused.is_err());
            }
        }
        prop_assert!(snapshot(&shop.stock) == before);
    }

    /// Events that nobody decided, as a damaged log or a bug would have them: each is refused and changes nothing, or
    /// leaves a state that is whole and can go on.
    #[test]
    fn any_event_at_all_is_refused_whole_or_leaves_a_whole_state(
        (start, steps) in story(),
        events in proptest::collection::vec((any_event(), span()), 1..40),
    ) {
        let mut shop = run(start, &steps);
        for (event, wait) in events {
            shop.now = shop.now.plus(Millis::new(wait));
            let before = snapshot(&shop.stock);
            match shop.stock.apply(shop.now, 1, &event) {
                Err(_) => prop_assert!(snapshot(&shop.stock) == before, "{:?} changed something", event),
                Ok(()) => {
                    let (outcome, remembered) = (shop.stock.outcome(&event), shop.stock.remember(&event));
                    let command = Command::CommitReservation { reservation: ReservationNo::new(1) };
                    prop_assert_eq!(shop.stock.recall(remembered, &command), Ok(outcome));
                }
            }
            prop_assert_eq!(shop.stock.check_invariants(), Ok(()), "after {:?}", event);
            shop.at(shop.now);
            prop_assert_eq!(shop.stock.check_invariants(), Ok(()), "after what was due");
            prop_assert_eq!(shop.restored().digest(), shop.stock.digest());
        }
    }

    #[test]
    fn random_bytes_are_no_stock_and_no_event(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Stock::read_snapshot(&mut &bytes[..], super::KEY).is_err());
        let _ = minicbor::decode::<Event>(&bytes);
    }

    #[test]
    fn what_is_remembered_fits_into_three_words_and_comes_back(words in any::<[u64; 3]>(), kind in 0..5_u64) {
        let words = [words[0] << 8 >> 8 | kind << 56, words[1], words[2]];
        if let Some(remembered) = Remembered::from_words(words) {
            prop_assert_eq!(remembered.to_words(), words);
        }
        // Every kind but one has something small beside its number.
        let beside = if kind == 2 { 0 } else { words[0] & 3 };
        let small = [kind << 56 | beside, words[1], words[2] & 0xFFFF_FFFF];
        prop_assert_eq!(Remembered::from_words(small).is_some(), kind < 4);
    }
}

fn any_event() -> impl Strategy<Value = Event> {
    let item = || (0..8_u32).prop_map(ItemNo::new);
    let part = || (item(), units(), prop_oneof![3 => Just(0), 1 => 0..4_u32]);
    let part = move || part().prop_map(|(item, held, promised)| ReservedPart { item, held, promised });
    let back = (item(), units()).prop_map(|(item, quantity)| ReturnedPart { item, quantity });
    let count = (item(), units()).prop_map(|(item, on_hand)| ItemCount { item, on_hand });
    let new =
        (sku_id(), place(), units()).prop_map(|(sku, location, on_hand)| NewItem { sku, location, on_hand });
    prop_oneof![
        (item(), sku_id(), place()).prop_map(|(item, sku, location)| Event::ItemCreated {
            item,
            sku,
            location,
            by: by(),
        }),
        (item(), units()).prop_map(|(item, on_hand)| Event::StockSet {
            item,
            on_hand,
            by: by(),
            reason: reason()
        }),
        (item(), units()).prop_map(|(item, quantity)| Event::GoodsReceived {
            item,
            quantity,
            by: by(),
            reason: reason()
        }),
        (item(), any::<i8>()).prop_map(|(item, by_quantity)| Event::StockAdjusted {
            item,
            by_quantity: i64::from(by_quantity),
            by: by(),
            reason: reason(),
        }),
        (item(), units(), threshold(), threshold(), proptest::option::of(instant())).prop_map(
            |(item, safety, backorder_max, preorder_max, released_at)| Event::ItemConfigured {
                item,
                safety,
                backorder_max,
                preorder_max,
                released_at,
                by: by(),
            }
        ),
        (item(), proptest::option::of(0..9_u32)).prop_map(|(item, per_member)| Event::PurchaseLimitSet {
            item,
            per_member,
            by: by()
        }),
        (
            0..4_u64,
            proptest::collection::vec(new, 0..3),
            proptest::collection::vec(count, 0..3),
            0..3_u32,
            proptest::collection::vec(0..4_u16, 0..3)
        )
            .prop_map(|(import, new, set, unchanged, refused)| Event::StockImported {
                import,
                new,
                set,
                unchanged,
                refused,
                by: by(),
            }),
        (1..20_u64, proptest::collection::vec(part(), 0..3), instant(), proptest::option::of(member()))
            .prop_map(|(no, parts, until, member)| Event::ReservationMade {
                reservation: ReservationNo::new(no),
                parts,
                until,
                holder: if no % 2 == 0 { crate::Holder::Member } else { crate::Holder::Shop },
                member,
                order: None,
            }),
        reservation().prop_map(|reservation| Event::ReservationCommitted { reservation }),
        reservation().prop_map(|reservation| Event::ReservationReleased { reservation }),
        reservation().prop_map(|reservation| Event::ReservationExpired { reservation }),
        (reservation(), proptest::collection::vec(back, 0..3)).prop_map(|(reservation, parts)| {
            Event::GoodsReturned { reservation, parts, by: by(), reason: reason() }
        }),
    ]
}
