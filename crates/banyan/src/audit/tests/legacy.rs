//! Holds of an old shop beyond their end: what may be, and what is found.

use super::*;
use banyan_domain::legacy::{Capability, Event as Legacy, Phase, SourceId};

const STOCK: Capability = Capability::Stock;
const END: u64 = 61_000;
const NONE: [Kind; 0] = [];

/// Item 1 is the old shop's, item 2 is not; Banyan leads. One of each is reserved until [`END`].
fn leading(watched: bool) -> Vec<Event> {
    let begun = |number, to| Legacy::MoveBegun {
        capability: STOCK,
        number,
        to,
        by: by(),
        reason: reason(),
        without: None,
    };
    let applied = |position| Legacy::SourceApplied {
        capability: STOCK,
        position,
        part: 1,
        rows: 0,
        outbox: 0,
        ids: None,
    };
    let source = SourceId { system: "s".into(), stream: "banyan".into() };
    let way = [
        begun(1, Phase::Mirror),
        Legacy::SourceSet { capability: STOCK, source, position: 9 },
        Legacy::ItemMirrored { item: ItemNo::new(1), allocated: 0, short: 0 },
        applied(10),
        Legacy::MoveDone { capability: STOCK },
        begun(2, Phase::Lead),
        Legacy::MoveDone { capability: STOCK },
        applied(20),
    ];
    let mut events = vec![item(1, "theirs"), count(1, 5), item(2, "own"), count(2, 5)];
    events.extend(way.map(Event::Legacy));
    if watched {
        events.push(known(0));
    }
    events.push(made(1, &[(1, 1, 0)], END, None));
    events.push(made(2, &[(2, 1, 0)], END, None));
    events
}

fn known(until: u64) -> Event {
    Event::Legacy(Legacy::SourceKnown { capability: STOCK, until: at(until), position: 20 })
}

fn of(no: u64, ended: fn(ReservationNo) -> stock::Event) -> Event {
    Event::Stock(ended(ReservationNo::new(no)))
}

fn lapsed(no: u64) -> Event {
    of(no, |reservation| stock::Event::ReservationExpired { reservation })
}

fn committed(no: u64) -> Event {
    of(no, |reservation| stock::Event::ReservationCommitted { reservation })
}

fn released(no: u64) -> Event {
    of(no, |reservation| stock::Event::ReservationReleased { reservation })
}

/// What is found where this happens at the end of the holds; the other hold lapses by the clock.
fn found(watched: bool, then: Vec<Event>) -> Vec<Kind> {
    kinds(&audit(&[(1_000, leading(watched)), (END, then)]))
}

#[test]
fn a_hold_of_the_old_shop_that_lapses_before_its_orders_are_known_is_found() {
    assert_eq!(found(true, vec![lapsed(2), lapsed(1)]), [Kind::Legacy]);
    assert_eq!(found(true, vec![lapsed(2), known(END - 1), lapsed(1)]), [Kind::Legacy]);
    assert_eq!(found(true, vec![lapsed(2), known(END), lapsed(1)]), NONE);
    assert_eq!(found(false, vec![lapsed(2), lapsed(1)]), NONE, "in a log from before that was told");
}

#[test]
fn a_hold_of_the_old_shop_may_wait_and_be_sold_or_given_up_late() {
    assert_eq!(found(true, vec![lapsed(2)]), NONE, "it waits");
    assert_eq!(found(true, vec![lapsed(2), committed(1)]), NONE);
    assert_eq!(found(true, vec![lapsed(2), released(1)]), NONE);
    assert_eq!(found(true, vec![committed(2)]), [Kind::Reservation], "no other may");
    assert_eq!(found(true, vec![released(2)]), [Kind::Reservation]);
    assert_eq!(found(true, vec![released(1)]), [Kind::Reservation], "nor wait");
}

#[test]
fn a_watermark_that_goes_back_or_ahead_of_what_came_is_found() {
    let beyond = Event::Legacy(Legacy::SourceKnown { capability: STOCK, until: at(END), position: 21 });
    assert_eq!(found(true, vec![lapsed(2), beyond]), [Kind::Legacy]);
    assert_eq!(found(true, vec![lapsed(2), known(END + 1)]), [Kind::Legacy]);
    assert_eq!(found(true, vec![lapsed(2), known(5), known(5)]), [Kind::Legacy]);
}
