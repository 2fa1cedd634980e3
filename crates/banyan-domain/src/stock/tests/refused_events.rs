//! Events that must not be: each is refused for its own reason and changes nothing.

use super::script::run;
use super::{Shop, by, location, no, reason, set, sku, snapshot};
use crate::stock::{Event, ItemCount, NewItem, ReservedPart, ReturnedPart};
use crate::{ItemNo, MemberId, Timestamp, limits};

/// Items 1 (`a@x`: 9 on hand, 2 held), 2 (`a@y`: 5), 3 (`b@x`: 0, 2 owed, 3 promised at most); reservations 1 (held, until
/// 1000), 2 (released), 3 (committed: 1 of item 1), 4 (committed: 2 owed of item 3). At 500.
fn shop() -> Shop {
    let mut shop = Shop::new();
    let script = "set a x 10; set a y 5; set b x 0; configure a x safety=3; configure b x backorder=5; configure a x per=6;
        reserve a@x*2 by=m1; reserve a@x*1; reserve a@x*1 by=m2; reserve b*2; at 500; release 2; commit 3; commit 4;
        import c@x*1 c@x*1";
    for line in script.split(';') {
        let answer = run(&mut shop, line.trim());
        assert!(!answer.starts_with("no"), "{line}: {answer}");
    }
    assert_eq!(run(&mut shop, "show a"), "a@x 9/2, a@y 5/0");
    assert_eq!(run(&mut shop, "show b"), "b@x 0/0-2");
    shop
}

fn item(no: u32) -> ItemNo {
    ItemNo::new(no)
}

fn part(no: u32, held: u32, promised: u32) -> ReservedPart {
    ReservedPart { item: item(no), held, promised }
}

/// The event is refused for this reason, at 500, and changes nothing.
#[track_caller]
fn refused(event: &Event, why: &str) {
    refused_by(shop(), event, why);
}

#[track_caller]
fn refused_by(mut shop: Shop, event: &Event, why: &str) {
    let before = snapshot(&shop.stock);
    let violation = shop.stock.apply(shop.now, 1, event).expect_err("it must be refused");
    assert_eq!(violation.to_string(), why);
    assert!(snapshot(&shop.stock) == before, "a refused event changed something");
    shop.check();
}

#[track_caller]
fn applies(event: &Event) {
    let mut shop = shop();
    shop.stock.apply(shop.now, 1, event).unwrap_or_else(|violation| panic!("{violation}"));
    shop.check();
}

fn made(reservation: u64, parts: &[ReservedPart], until: u64) -> Event {
    Event::ReservationMade {
        reservation: no(reservation),
        parts: parts.to_vec(),
        until: Timestamp::from_millis(until),
        member: None,
        order: None,
        holder: crate::Holder::Shop,
    }
}

fn made_for(member: &str, parts: &[ReservedPart]) -> Event {
    let Event::ReservationMade { reservation, parts, until, order, holder, .. } = made(5, parts, 600) else {
        unreachable!("made makes nothing else")
    };
    let member = Some(MemberId::new(member).expect("a valid member"));
    Event::ReservationMade { reservation, parts, until, member, order, holder }
}

#[test]
fn reservations_that_must_not_be_made() {
    applies(&made(5, &[part(1, 4, 0), part(2, 1, 0), part(3, 0, 3)], 600));
    let one = [part(2, 1, 0)];
    refused(&made(4, &one, 600), "reservation numbers must follow each other");
    refused(&made(6, &one, 600), "reservation numbers must follow each other");
    let deadline = "a reservation's deadline is past or too far";
    refused(&made(5, &one, 499), deadline);
    applies(&made(5, &one, 500));
    applies(&made(5, &one, 500 + limits::RESERVATION_MILLIS_MAX));
    refused(&made(5, &one, 501 + limits::RESERVATION_MILLIS_MAX), deadline);
    refused(&made(5, &[], 600), "a reservation has no part or too many");
    let many: Vec<_> = (1..=257).map(|no| part(no, 1, 0)).collect();
    refused(&made(5, &many, 600), "a reservation has no part or too many");
    refused(&made(5, &[one[0], one[0]], 600), "a reservation draws on an item twice");
    refused(&made(5, &[one[0], part(1, 1, 0)], 600), "a reservation draws on an item twice");
    for missing in [0, 5, u32::MAX] {
        refused(&made(5, &[part(missing, 1, 0)], 600), "an event names an item that is not there");
    }
    refused(&made(5, &[part(1, 0, 0)], 600), "a reservation draws nothing on an item");
    refused(&made(5, &[part(1, 5, 0)], 600), "more units were held than there are");
    refused(&made(5, &[part(2, 0, 1)], 600), "units were promised while others were free");
    refused(&made(5, &[part(2, 5, 1)], 600), "more units were promised than may be");
    refused(&made(5, &[part(3, 0, 4)], 600), "more units were promised than may be");
    refused(&made(5, &[part(3, 0, u32::MAX)], 600), "more units were promised than may be");
    let limit = "a member reserved more units than the limit";
    applies(&made_for("m1", &[part(1, 3, 0), part(2, 1, 0)]));
    refused(&made_for("m1", &[part(1, 3, 0), part(2, 2, 0)]), limit);
    refused(&made_for("m2", &[part(1, 4, 0), part(2, 2, 0)]), limit);
    refused(&made(5, &[part(1, 4, 0), part(2, 3, 0)], 600), limit);
}

#[test]
fn reservations_that_must_not_end() {
    applies(&Event::ReservationCommitted { reservation: no(1) });
    applies(&Event::ReservationReleased { reservation: no(1) });
    let ends = |n| {
        [
            Event::ReservationCommitted { reservation: no(n) },
            Event::ReservationReleased { reservation: no(n) },
            Event::ReservationExpired { reservation: no(n) },
        ]
    };
    for event in [ends(0), ends(5), ends(u64::MAX)].as_flattened() {
        refused(event, "an event names a reservation that is not there");
    }
    for event in [ends(2), ends(3), ends(4)].as_flattened() {
        refused(event, "a reservation ended twice");
    }
    let [commit, release, expire] = ends(1);
    refused(&expire, "a reservation expired before its deadline");
    let late = || Shop { now: Timestamp::from_millis(1_000), ..shop() };
    refused_by(late(), &commit, "a reservation was committed after its deadline");
    refused_by(late(), &release, "a reservation was released after its deadline");
    late().stock.apply(late().now, 1, &expire).expect("it is time");
}

#[test]
fn goods_that_must_not_come_back() {
    let back = |n, parts: &[(u32, u32)]| {
        let parts = parts.iter().map(|&(no, quantity)| ReturnedPart { item: item(no), quantity }).collect();
        Event::GoodsReturned { reservation: no(n), parts, by: by(), reason: reason() }
    };
    applies(&back(3, &[(1, 1)]));
    for n in [0, 1, 2, 9] {
        refused(&back(n, &[(1, 1)]), "goods came back of a reservation that is not committed");
    }
    let mut long_ago = shop();
    long_ago.at(Timestamp::from_millis(500 + limits::RESERVATION_KEPT_MILLIS));
    refused_by(long_ago, &back(3, &[(1, 1)]), "goods came back of a reservation that is not committed");
    refused(&back(3, &[]), "nothing came back");
    refused(&back(3, &[(1, 1), (1, 1)]), "goods came back to an item twice");
    for wrong in [(1, 2), (1, 0), (2, 1), (9, 1)] {
        refused(&back(3, &[wrong]), "more came back than was committed");
    }
    let mut full = shop();
    run(&mut full, "set a x 4000000000");
    refused_by(full, &back(3, &[(1, 1)]), "more goods came back than can be counted");
}

#[test]
fn counts_that_must_not_be() {
    let (count, wrong) = (
        |no, on_hand| Event::StockSet { item: item(no), on_hand, by: by(), reason: reason() },
        "a count is below what is held or too large",
    );
    applies(&count(1, 2));
    refused(&count(1, 1), wrong);
    refused(&count(1, limits::ITEM_UNITS_MAX + 1), wrong);
    let adjust =
        |no, by_quantity| Event::StockAdjusted { item: item(no), by_quantity, by: by(), reason: reason() };
    applies(&adjust(1, -7));
    for by_quantity in [-8, i64::MIN, i64::MAX, i64::from(limits::ITEM_UNITS_MAX)] {
        refused(&adjust(1, by_quantity), "a correction goes below what is held or too high");
    }
    let receive =
        |no, quantity| Event::GoodsReceived { item: item(no), quantity, by: by(), reason: reason() };
    applies(&receive(3, limits::ITEM_UNITS_MAX + 2));
    refused(&receive(3, limits::ITEM_UNITS_MAX + 3), "more goods arrived than can be counted");
    refused(&receive(1, u32::MAX), "more goods arrived than can be counted");
    let configure = |no, backorder_max, preorder_max| Event::ItemConfigured {
        item: item(no),
        safety: 1,
        backorder_max,
        preorder_max,
        released_at: None,
        by: by(),
    };
    applies(&configure(1, limits::PROMISED_UNITS_MAX, limits::PROMISED_UNITS_MAX));
    let too_many = "more units may be promised than can be counted";
    refused(&configure(1, limits::PROMISED_UNITS_MAX + 1, 0), too_many);
    refused(&configure(1, 0, limits::PROMISED_UNITS_MAX + 1), too_many);
    let limit = |no| Event::PurchaseLimitSet { item: item(no), per_member: Some(1), by: by() };
    applies(&limit(1));
    for n in [0, 5] {
        for event in [count(n, 1), adjust(n, 1), receive(n, 1), configure(n, 0, 0), limit(n)] {
            refused(&event, "an event names an item that is not there");
        }
    }
}

#[test]
fn items_that_must_not_be_created() {
    let create = |no, name: &str, place: &str| Event::ItemCreated {
        item: item(no),
        sku: sku(name),
        location: location(place),
        by: by(),
    };
    applies(&create(5, "b", "y"));
    refused(&create(4, "b", "y"), "item numbers must follow each other");
    refused(&create(6, "b", "y"), "item numbers must follow each other");
    refused(&create(5, "b", "x"), "an item was created twice");
    let mut full = shop();
    for n in 2..limits::LOCATIONS_MAX {
        full.ask(set("d", &format!("l{n}"), 0)).expect("there is room");
    }
    let next = full.stock.items().count() as u32 + 1;
    refused_by(full, &create(next, "d", "more"), "more locations were created than can be numbered");
}

#[test]
fn imports_that_must_not_be() {
    let new = |name: &str, on_hand| NewItem { sku: sku(name), location: location("x"), on_hand };
    let count = |no, on_hand| ItemCount { item: item(no), on_hand };
    let import = |import, new: &[NewItem], set: &[ItemCount], unchanged, refused: &[u16]| {
        let (new, set, refused) = (new.to_vec(), set.to_vec(), refused.to_vec());
        Event::StockImported { import, new, set, unchanged, refused, by: by() }
    };
    applies(&import(
        2,
        &[new("d", 1), new("e", limits::ITEM_UNITS_MAX)],
        &[count(1, 2), count(2, 0)],
        8_186,
        &[0, 9],
    ));
    refused(&import(1, &[new("d", 1)], &[], 0, &[]), "imports must be numbered one after the other");
    refused(&import(2, &[new("d", 1)], &[], 8_192, &[]), "an import has too many rows");
    refused(&import(2, &[], &[], u32::MAX, &[]), "an import has too many rows");
    refused(&import(2, &[], &[], 5, &[1, 1]), "an import refused a row twice");
    refused(&import(2, &[], &[], 1, &[2]), "an import refused a row it had not");
    refused(&import(2, &[], &[count(2, 1), count(2, 1)], 0, &[]), "an import set an item twice");
    refused(&import(2, &[], &[count(2, 1), count(1, 5)], 0, &[]), "an import set an item twice");
    refused(&import(2, &[new("d", 1)], &[count(5, 1)], 0, &[]), "an event names an item that is not there");
    let wrong = "an import counted what cannot be";
    refused(&import(2, &[], &[count(1, 1)], 0, &[]), wrong);
    refused(&import(2, &[], &[count(1, limits::ITEM_UNITS_MAX + 1)], 0, &[]), wrong);
    refused(&import(2, &[new("d", limits::ITEM_UNITS_MAX + 1)], &[], 0, &[]), wrong);
    refused(&import(2, &[new("a", 1)], &[], 0, &[]), "an item was created twice");
    refused(&import(2, &[new("d", 1), new("d", 1)], &[], 0, &[]), "an item was created twice");
}
