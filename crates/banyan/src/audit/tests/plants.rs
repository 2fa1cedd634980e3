//! Wrong events, planted one by one: each is found, and nothing else is.

use super::{
    Kind, at, audit, by, checkout, committed, count, defined, item, kinds, made, opened, post, reason,
    transferred,
};
use banyan_domain::pay::{self, Leg, Rule};
use banyan_domain::saga::{self, Ask, Cause, End, Fields, Resume, Settlement};
use banyan_domain::stock;
use banyan_domain::{
    AccountNo, Event, ItemNo, LocationId, ReservationNo, SagaKey, SagaNo, SkuId, TransferNo,
};

const NOW: u64 = 1_000_000;

fn shop() -> Vec<Event> {
    vec![item(1, "a"), count(1, 5), item(2, "b"), count(2, 5)]
}

/// The shop and `more`; what is found, but for the item that marks the end.
fn goods(more: Vec<Event>) -> Vec<Kind> {
    let events = [shop(), more].concat();
    let mut found = kinds(&audit(&[(NOW, events), (NOW + 1_000, vec![item(3, "last")])]));
    found.dedup();
    found
}

fn released(no: u64) -> Event {
    Event::Stock(stock::Event::ReservationReleased { reservation: ReservationNo::new(no) })
}

fn expired(no: u64) -> Event {
    Event::Stock(stock::Event::ReservationExpired { reservation: ReservationNo::new(no) })
}

fn returned(no: u64, quantity: u32) -> Event {
    Event::Stock(stock::Event::GoodsReturned {
        reservation: ReservationNo::new(no),
        parts: vec![stock::ReturnedPart { item: ItemNo::new(1), quantity }],
        by: by(),
        reason: reason(),
    })
}

fn backorders(backorder_max: u32) -> Event {
    Event::Stock(stock::Event::ItemConfigured {
        item: ItemNo::new(1),
        safety: 1,
        backorder_max,
        preorder_max: 0,
        released_at: None,
        by: by(),
    })
}

fn limit(per_member: u32) -> Event {
    let (item, per_member) = (ItemNo::new(1), Some(per_member));
    Event::Stock(stock::Event::PurchaseLimitSet { item, per_member, by: by() })
}

#[test]
fn what_is_wrong_with_goods_is_found() {
    let (later, soon) = (NOW + 60_000, NOW + 500);
    let some = |no| made(no, &[(1, 2, 0)], later, None);
    assert_eq!(goods(vec![some(1), committed(1), returned(1, 1), some(2), released(2)]), []);
    assert_eq!(goods(vec![backorders(3), made(1, &[(1, 4, 3)], later, None), count(1, 9)]), []);
    let adjust = Event::Stock(stock::Event::StockAdjusted {
        item: ItemNo::new(1),
        by_quantity: -9,
        by: by(),
        reason: reason(),
    });
    let twice = Event::Stock(stock::Event::ItemCreated {
        item: ItemNo::new(3),
        sku: SkuId::new("a").expect("valid"),
        location: LocationId::new("main").expect("valid"),
        by: by(),
    });
    let wrong = [
        ("more taken away than there was", vec![adjust], Kind::Stock),
        ("an item that is not there", vec![count(7, 1)], Kind::Stock),
        ("counted below what is held", vec![some(1), count(1, 1)], Kind::Stock),
        ("more reserved than there is", vec![made(1, &[(1, 6, 0)], later, None)], Kind::Reservation),
        ("safety stock reserved", vec![backorders(0), made(1, &[(1, 5, 0)], later, None)], Kind::Reservation),
        (
            "promised beyond the threshold",
            vec![backorders(2), made(1, &[(1, 4, 3)], later, None)],
            Kind::Reservation,
        ),
        (
            "promised while some were free",
            vec![backorders(3), made(1, &[(1, 0, 3)], later, None)],
            Kind::Reservation,
        ),
        ("a number left out", vec![some(2)], Kind::Reservation),
        ("a reservation for years", vec![made(1, &[(1, 2, 0)], NOW + (1 << 40), None)], Kind::Reservation),
        ("sold twice", vec![some(1), committed(1), committed(1)], Kind::Reservation),
        ("released after it was sold", vec![some(1), committed(1), released(1)], Kind::Reservation),
        ("expired too early", vec![some(1), expired(1)], Kind::Reservation),
        ("held past its deadline", vec![made(1, &[(1, 2, 0)], soon, None)], Kind::Reservation),
        ("more came back than was sold", vec![some(1), committed(1), returned(1, 3)], Kind::Reservation),
        ("what was not sold came back", vec![some(1), returned(1, 1)], Kind::Reservation),
        ("over the limit", vec![limit(1), made(1, &[(1, 2, 0)], later, Some("m"))], Kind::PurchaseLimit),
    ];
    for (what, events, kind) in wrong {
        assert!(goods(events.clone()).contains(&kind), "{what}: {:?}", goods(events));
    }
    let found = kinds(&audit(&[(NOW, [shop(), vec![twice]].concat())]));
    assert_eq!(found, [Kind::Stock], "an item created twice");
    // Its time was over when it was sold, and when it was given up.
    for late in [committed(1), released(1)] {
        let events = [shop(), vec![made(1, &[(1, 2, 0)], soon, None)]].concat();
        assert_eq!(kinds(&audit(&[(NOW, events), (NOW + 900, vec![late])])), [Kind::Reservation]);
    }
}

#[test]
fn what_is_wrong_with_money_is_found() {
    let no = TransferNo::new;
    let (a, b, points) = (AccountNo::new(1), AccountNo::new(2), 3);
    let accounts = || {
        vec![
            opened(1, "bank", Rule::Free),
            opened(2, "shop:sales", Rule::Free),
            opened(3, "points:m", Rule::DebitsWithinCredits),
        ]
    };
    let money = |more: Vec<Event>| {
        let end = vec![count(1, 1)];
        let mut found = kinds(&audit(&[(NOW, [accounts(), more].concat()), (NOW + 1_000, end)]));
        // The last event is about an item that is not there.
        assert_eq!(
            found.iter().position(|kind| *kind == Kind::Stock).map(|place| found.remove(place)),
            Some(Kind::Stock)
        );
        found.dedup();
        found
    };
    let held = |until| Leg::Held { debit: a, credit: b, amount: 100, until: at(until) };
    let capture = |amount, last| Leg::Captured { pending: no(1), debit: a, credit: b, amount, last };
    let refund = |of, amount| Leg::Refunded { of: no(of), debit: b, credit: a, amount };
    let reverse = |amount| Leg::Reversed { of: no(1), debit: b, credit: a, amount };
    let expired = Event::Pay(pay::Event::HoldExpired { pending: no(1) });
    let later = NOW + 60_000;
    let honest = vec![
        transferred(1, vec![held(later), capture(40, false), capture(60, false)]),
        transferred(4, vec![refund(2, 40), post(1, points, 10), post(points, 2, 10)]),
    ];
    assert_eq!(money(honest), []);
    let wrong = [
        ("more captured than held", vec![transferred(1, vec![held(later), capture(101, true)])]),
        ("captured twice", vec![transferred(1, vec![held(later), capture(100, true), capture(1, true)])]),
        (
            "voided after the capture",
            vec![transferred(1, vec![held(later), capture(9, true), Leg::Voided { pending: no(1) }])],
        ),
        ("more refunded than paid", vec![transferred(1, vec![post(1, 2, 10), refund(1, 6), refund(1, 5)])]),
        ("refunded what never was", vec![transferred(1, vec![refund(7, 1)])]),
        ("reversed after a refund", vec![transferred(1, vec![post(1, 2, 10), refund(1, 6), reverse(10)])]),
        ("reversed in part", vec![transferred(1, vec![post(1, 2, 10), reverse(4)])]),
        ("overdrawn", vec![transferred(1, vec![post(points, 1, 1)])]),
        ("nothing moved", vec![transferred(1, vec![post(1, 2, 0)])]),
        ("money to itself", vec![transferred(1, vec![post(1, 1, 5)])]),
        ("an account that is not there", vec![transferred(1, vec![post(1, 9, 5)])]),
        ("a number left out", vec![transferred(2, vec![post(1, 2, 5)])]),
        ("an account opened twice", vec![opened(4, "bank", Rule::Free)]),
        ("expired too early", vec![transferred(1, vec![held(later)]), expired.clone()]),
        ("expired twice", vec![expired]),
        ("on hold past its deadline", vec![transferred(1, vec![held(NOW + 500)])]),
    ];
    for (what, events) in wrong {
        assert_eq!(money(events), [Kind::Ledger], "{what}");
    }
    let foreign = Leg::Captured { pending: no(1), debit: b, credit: a, amount: 100, last: true };
    assert_eq!(
        money(vec![transferred(1, vec![held(later), foreign])]),
        [Kind::Ledger],
        "captured the other way round"
    );
}

fn started(no: u64, key: &str) -> Event {
    let mut input = Fields::new();
    input.insert("lines", "a*1");
    let key = SagaKey::new(key).expect("valid");
    Event::Saga(saga::Event::Started { saga: SagaNo::new(no), definition: 1, key, input })
}

fn scheduled(step: u8, ask: Ask, attempt: u32) -> Event {
    Event::Saga(saga::Event::Scheduled { saga: SagaNo::new(1), step, ask, attempt })
}

fn settled(step: u8, ask: Ask, attempt: u32, result: Settlement) -> Event {
    Event::Saga(saga::Event::Settled { saga: SagaNo::new(1), step, ask, attempt, result })
}

fn done(step: u8, ask: Ask) -> Event {
    settled(step, ask, 1, Settlement::Done(Fields::new()))
}

fn skipped(step: u8) -> Event {
    Event::Saga(saga::Event::Skipped { saga: SagaNo::new(1), step })
}

fn back() -> Event {
    Event::Saga(saga::Event::TurnedBack { saga: SagaNo::new(1), cause: Cause::TimedOut })
}

fn parked(step: u8) -> Event {
    Event::Saga(saga::Event::Parked { saga: SagaNo::new(1), step, why: "why".into() })
}

fn resumed(how: Resume) -> Event {
    Event::Saga(saga::Event::Resumed { saga: SagaNo::new(1), how, by: by(), reason: reason() })
}

fn ended(end: End) -> Event {
    Event::Saga(saga::Event::Ended { saga: SagaNo::new(1), end })
}

/// What is found if the definition, a beginning, and then `events` happen.
fn saga(events: Vec<Event>) -> Vec<Kind> {
    let begin = vec![defined(), started(1, "o-1")];
    kinds(&audit(&[(NOW, [begin, events].concat())]))
}

/// Both steps of the store done, and one asked of the company.
fn asked() -> Vec<Event> {
    vec![done(0, Ask::Do), done(1, Ask::Do), scheduled(2, Ask::Do, 1)]
}

fn after_asking(more: Vec<Event>) -> Vec<Kind> {
    saga([asked(), more].concat())
}

/// Past the point of no return.
fn past_pivot(more: Vec<Event>) -> Vec<Kind> {
    after_asking([vec![done(2, Ask::Do), scheduled(3, Ask::Do, 1), done(3, Ask::Do)], more].concat())
}

#[test]
fn sagas_as_they_may_be_are_not_found_fault_with() {
    let all = vec![done(4, Ask::Do), done(5, Ask::Do), skipped(6), ended(End::Completed)];
    assert_eq!(past_pivot(all), []);
    let undone = vec![
        done(2, Ask::Do),
        back(),
        scheduled(2, Ask::Undo, 1),
        settled(2, Ask::Undo, 1, Settlement::NotSent("down".into())),
        scheduled(2, Ask::Undo, 2),
        settled(2, Ask::Undo, 2, Settlement::Done(Fields::new())),
        done(1, Ask::Undo),
        done(0, Ask::Undo),
        ended(End::Compensated),
    ];
    assert_eq!(after_asking(undone), []);
    let found_out = vec![
        settled(2, Ask::Do, 1, Settlement::Unknown("silence".into())),
        scheduled(2, Ask::Query, 1),
        settled(2, Ask::Query, 1, Settlement::Refused("declined".into())),
        back(),
        done(1, Ask::Undo),
        done(0, Ask::Undo),
        ended(End::Compensated),
    ];
    assert_eq!(after_asking(found_out), []);
}

#[test]
fn what_is_wrong_with_a_saga_is_found() {
    let unknown = || settled(2, Ask::Do, 1, Settlement::Unknown("silence".into()));
    let undone = || vec![done(1, Ask::Undo), done(0, Ask::Undo)];
    let first = |n| {
        Event::Saga(saga::Event::Defined {
            definition: Box::new(saga::Definition { version: n, ..checkout() }),
            by: by(),
        })
    };
    let wrong = [
        ("a result without an intent", saga(vec![done(0, Ask::Do), done(1, Ask::Do), done(2, Ask::Do)])),
        ("a step before its turn", saga(vec![scheduled(2, Ask::Do, 1)])),
        ("a step of the store before its turn", saga(vec![done(1, Ask::Do)])),
        ("tries left out", after_asking(vec![unknown(), scheduled(2, Ask::Do, 3)])),
        ("the same try again", after_asking(vec![unknown(), scheduled(2, Ask::Do, 1)])),
        (
            "an answer to nobody's question",
            after_asking(vec![unknown(), settled(2, Ask::Query, 1, Settlement::Absent)]),
        ),
        ("done again", past_pivot(vec![done(3, Ask::Do)])),
        ("an unknown step", saga(vec![skipped(9)])),
        ("passed over for nothing", saga(vec![skipped(0)])),
        ("turned back past the point of no return", past_pivot(vec![back()])),
        ("begun on the way back", saga(vec![done(0, Ask::Do), back(), done(1, Ask::Do)])),
        ("undone on the way forward", saga(vec![done(0, Ask::Do), done(0, Ask::Undo)])),
        ("undone in the wrong order", after_asking(vec![done(2, Ask::Do), back(), done(1, Ask::Undo)])),
        ("asked to undo what was not done", saga(vec![back(), scheduled(2, Ask::Undo, 1)])),
        (
            "a do after its undo",
            after_asking(vec![
                done(2, Ask::Do),
                back(),
                scheduled(2, Ask::Undo, 1),
                done(2, Ask::Undo),
                scheduled(2, Ask::Do, 2),
            ]),
        ),
        (
            "an effect after its undo",
            after_asking(vec![
                unknown(),
                back(),
                scheduled(2, Ask::Undo, 1),
                done(2, Ask::Undo),
                done(2, Ask::Do),
            ]),
        ),
        ("completed half-way", saga(vec![done(0, Ask::Do), ended(End::Completed)])),
        ("compensated with a step left", saga(vec![done(0, Ask::Do), back(), ended(End::Compensated)])),
        (
            "compensated with an unknown left",
            after_asking([vec![unknown(), back()], undone(), vec![ended(End::Compensated)]].concat()),
        ),
        ("compensated without turning back", saga(vec![ended(End::Compensated)])),
        ("ended while parked", past_pivot(vec![parked(4), ended(End::Completed)])),
        ("parked twice", saga(vec![parked(0), parked(0)])),
        ("resumed and not parked", saga(vec![resumed(Resume::Retry)])),
        ("asked while parked", after_asking(vec![unknown(), parked(2), scheduled(2, Ask::Do, 2)])),
        ("a number left out", saga(vec![started(3, "o-2")])),
        ("two for one key", saga(vec![started(2, "o-1")])),
        ("a version left out", saga(vec![first(3)])),
        ("not defined", kinds(&audit(&[(NOW, vec![started(1, "o-1")])]))),
        ("an event of nobody", kinds(&audit(&[(NOW, vec![defined(), skipped(0)])]))),
    ];
    for (what, found) in wrong {
        assert!(!found.is_empty() && found.iter().all(|kind| *kind == Kind::Saga), "{what}: {found:?}");
    }
    // An effect that came after the end, and that nobody undid; a question that nobody answered, and no time-out.
    let absent = || vec![unknown(), back(), scheduled(2, Ask::Query, 1)];
    let begin = || [vec![defined(), started(1, "o-1")], asked()].concat();
    let late = [
        vec![settled(2, Ask::Query, 1, Settlement::Absent)],
        undone(),
        vec![ended(End::Compensated), done(2, Ask::Do)],
    ]
    .concat();
    let blocks = [
        (NOW, [begin(), vec![unknown(), back()]].concat()),
        (NOW + 400, [absent()[2..].to_vec(), late].concat()),
    ];
    assert_eq!(kinds(&audit(&blocks)), [Kind::Saga], "an effect is left");
    let silent = [
        (NOW, begin()),
        (
            NOW + 60_000,
            vec![Event::Saga(saga::Event::Started {
                saga: SagaNo::new(2),
                definition: 1,
                key: SagaKey::new("o-2").expect("valid"),
                input: Fields::new(),
            })],
        ),
    ];
    assert_eq!(kinds(&audit(&silent)), [Kind::Saga], "nobody noticed the silence");
}

#[test]
fn a_saga_that_says_everything_is_undone_must_hold_nothing() {
    let reserved = Settlement::Done([("reservation", "r-1")].into_iter().collect());
    let set_aside = Settlement::Done([("transfer", "t-1")].into_iter().collect());
    let money =
        Leg::Held { debit: AccountNo::new(1), credit: AccountNo::new(2), amount: 5, until: at(NOW + 60_000) };
    let story = |release: bool, void: bool| {
        let mut events =
            vec![item(1, "a"), count(1, 5), opened(1, "bank", Rule::Free), opened(2, "till", Rule::Free)];
        events.extend([defined(), started(1, "o-1")]);
        events.extend([made(1, &[(1, 1, 0)], NOW + 60_000, None), settled(0, Ask::Do, 1, reserved.clone())]);
        events.extend([transferred(1, vec![money]), settled(1, Ask::Do, 1, set_aside.clone()), back()]);
        if void {
            events.push(transferred(2, vec![Leg::Voided { pending: TransferNo::new(1) }]));
        }
        events.push(done(1, Ask::Undo));
        if release {
            events.push(released(1));
        }
        events.extend([done(0, Ask::Undo), ended(End::Compensated)]);
        kinds(&audit(&[(NOW, events)]))
    };
    assert_eq!(story(true, true), []);
    assert_eq!(story(false, true), [Kind::Saga]);
    assert_eq!(story(true, false), [Kind::Saga]);
    assert_eq!(story(false, false), [Kind::Saga, Kind::Saga]);
}
