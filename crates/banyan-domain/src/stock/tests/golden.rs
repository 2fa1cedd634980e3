//! The stored bytes: what each event and each remembered answer looks like for ever, and that a damaged snapshot is
//! refused.

use super::script::run;
use super::{KEY, Shop, by, location, no, reason, sku, snapshot};
use crate::golden::check;
use crate::stock::{
    Event, ItemCount, NewItem, Remembered, ReservationState, ReservedPart, ReturnedPart, Stock,
};
use crate::{Holder, ItemNo, MemberId, OrderId, Timestamp};
use expect_test::expect;

fn item() -> ItemNo {
    ItemNo::new(300)
}

#[test]
fn events_about_items() {
    let (item, at) = (item(), Timestamp::from_millis(1_000));
    check(
        Event::ItemCreated { item, sku: sku("a"), location: location("x"), by: by() },
        expect!["82008419012c61616178636f7073"],
    );
    check(
        Event::StockSet { item, on_hand: 7, by: by(), reason: reason() },
        expect!["82018419012c07636f707363776879"],
    );
    check(
        Event::GoodsReceived { item, quantity: 7, by: by(), reason: reason() },
        expect!["82028419012c07636f707363776879"],
    );
    check(
        Event::StockAdjusted { item, by_quantity: -7, by: by(), reason: reason() },
        expect!["82038419012c26636f707363776879"],
    );
    let (safety, backorder_max, preorder_max) = (1, 2, 3);
    for released_at in [Some(at), None] {
        let wanted = if released_at.is_some() {
            expect!["82048619012c0102031903e8636f7073"]
        } else {
            expect!["82048619012c010203f6636f7073"]
        };
        check(
            Event::ItemConfigured { item, safety, backorder_max, preorder_max, released_at, by: by() },
            wanted,
        );
    }
    check(Event::PurchaseLimitSet { item, per_member: Some(5), by: by() }, expect!["82058319012c05636f7073"]);
    check(Event::PurchaseLimitSet { item, per_member: None, by: by() }, expect!["82058319012cf6636f7073"]);
    check(
        Event::StockImported {
            import: 2,
            new: vec![NewItem { sku: sku("b"), location: location("y"), on_hand: 4 }],
            set: vec![ItemCount { item, on_hand: 5 }],
            unchanged: 6,
            refused: vec![0, 8],
            by: by(),
        },
        expect!["8206860281836162617904818219012c0506820008636f7073"],
    );
}

#[test]
fn events_about_reservations() {
    let part = ReservedPart { item: item(), held: 2, promised: 1 };
    check(
        Event::ReservationMade {
            reservation: no(17),
            parts: vec![part],
            until: Timestamp::from_millis(1_000),
            member: Some(MemberId::new("m1").expect("valid")),
            order: Some(OrderId::new("o1").expect("valid")),
            holder: Holder::Shop,
        },
        expect!["82078511818319012c02011903e8626d31626f31"],
    );
    check(
        Event::ReservationMade {
            reservation: no(17),
            parts: vec![part],
            until: Timestamp::from_millis(1_000),
            member: None,
            order: None,
            holder: Holder::Shop,
        },
        expect!["82078311818319012c02011903e8"],
    );
    check(
        Event::ReservationMade {
            reservation: no(17),
            parts: vec![part],
            until: Timestamp::from_millis(1_000),
            member: Some(MemberId::new("m1").expect("valid")),
            order: None,
            holder: Holder::Member,
        },
        expect!["82078611818319012c02011903e8626d31f601"],
    );
    check(Event::ReservationCommitted { reservation: no(17) }, expect!["82088111"]);
    check(Event::ReservationReleased { reservation: no(17) }, expect!["82098111"]);
    check(Event::ReservationExpired { reservation: no(17) }, expect!["820a8111"]);
    let parts = vec![ReturnedPart { item: item(), quantity: 2 }];
    check(
        Event::GoodsReturned { reservation: no(17), parts, by: by(), reason: reason() },
        expect!["820b8411818219012c02636f707363776879"],
    );
}

#[test]
fn remembered_answers() {
    check(
        Remembered::Item { item: item(), on_hand: 4, held: 3, promised: 2, owed: 1 },
        expect!["82008519012c04030201"],
    );
    let states = [
        (ReservationState::Held, expect!["82018311001903e8"]),
        (ReservationState::Committed, expect!["82018311011903e8"]),
        (ReservationState::Released, expect!["82018311021903e8"]),
        (ReservationState::Expired, expect!["82018311031903e8"]),
    ];
    for (state, wanted) in states {
        let at = Timestamp::from_millis(1_000);
        check(Remembered::Reservation { reservation: no(17), state, at }, wanted);
    }
    check(Remembered::Returned { reservation: no(17), units: 9 }, expect!["8202821109"]);
    check(
        Remembered::Imported { import: 2, changed: 3, unchanged: 4, refused: 5 },
        expect!["82038402030405"],
    );
}

/// A small stock with a bit of everything.
fn small() -> Shop {
    let mut shop = Shop::new();
    let script = "set a x 10; set a y 5; set b x 0; configure a x safety=3 per=6 release=77; configure b x backorder=9 preorder=2;
        reserve a*2 by=m1 for=9; reserve a*6; reserve b*2 by=m2; reserve b*1 a*1; at 5; release 2; commit 3;
        return 3 b*1; import c@x*1 c@x*1 a@x*9; receive b x 1; reserve a@x*1 b*2 by=m1";
    for line in script.split(';') {
        let answer = run(&mut shop, line.trim());
        assert!(!answer.starts_with("no"), "{line}: {answer}");
    }
    shop.check_replay();
    shop
}

/// The bytes are refused, or another digest shows that they are not those that were written.
#[test]
fn every_cut_and_every_changed_byte_of_a_snapshot_is_refused_or_shows_in_the_digest() {
    let stock = small().stock;
    let bytes = snapshot(&stock);
    for cut in 0..bytes.len() {
        assert!(Stock::read_snapshot(&mut &bytes[..cut], KEY).is_err(), "cut to {cut} bytes");
    }
    for at in 0..bytes.len() {
        for flip in [1, 2, 4, 8, 16, 32, 64, 128, 255] {
            let mut changed = bytes.clone();
            changed[at] ^= flip;
            if let Ok(read) = Stock::read_snapshot(&mut &changed[..], KEY) {
                let same = snapshot(&read) == bytes;
                assert!(same || read.digest() != stock.digest(), "byte {at} changed by {flip} does not show");
            }
        }
    }
    let other = Stock::read_snapshot(&mut &bytes[..], [8; 16]).expect("the key is not in the bytes");
    assert!(other.digest() != stock.digest());
}
