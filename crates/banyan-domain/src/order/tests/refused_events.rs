//! Events that must not be: each is refused for its own reason and changes nothing.

use super::{by, krw, line, no, orders, paid, part, placed, product, reason, refund, snapshot};
use crate::order::{Event, Orders, Product, Terms};
use crate::{Money, Timestamp, limits};

/// Order 1 is paid with money and points and one of its two units came back; 2 is placed; 3 failed; of 4 a refund is under way.
fn shop() -> Orders {
    let of_two = || vec![line("a", 2, 100, 10, 20)];
    orders(&[
        placed(1, of_two(), 30, 0),
        paid(1, true, true),
        refund(1, 1, &[(0, 1)], 85, 10),
        Event::RefundDone { order: no(1), refund: 1 },
        placed(2, of_two(), 30, 0),
        placed(3, of_two(), 30, 0),
        Event::Failed { order: no(3), why: "declined".into() },
        placed(4, of_two(), 30, 0),
        paid(4, true, true),
        refund(4, 1, &[(0, 1)], 85, 10),
    ])
}

#[track_caller]
fn refused(event: &Event, why: &str) {
    let mut orders = shop();
    let before = (snapshot(&orders), orders.digest());
    let violation = orders.apply(Timestamp::from_millis(2_000), event).expect_err("it must be refused");
    assert_eq!(violation.to_string(), why);
    assert!((snapshot(&orders), orders.digest()) == before, "a refused event changed something");
    orders.check_invariants().expect("as before");
}

#[test]
fn about_the_price_list() {
    let product = |minor, quantity| Product {
        id: product("a"),
        price: Money { minor, currency: krw() },
        vat_basis_points: 0,
        parts: vec![part("a", quantity)],
        on_sale: true,
    };
    refused(&Event::ProductsSet { products: Vec::new(), by: by() }, "no product was set");
    for wrong in [product(-1, 1), product(limits::PRICE_MAX + 1, 1), product(1, 0)] {
        refused(&Event::ProductsSet { products: vec![wrong], by: by() }, "an invalid product was set");
    }
    let terms = Terms { currency: krw(), shipping_fee: -1, free_shipping_from: None, vat_basis_points: 0 };
    refused(&Event::TermsSet { terms, by: by() }, "invalid terms were set");
}

#[test]
fn about_placing() {
    refused(&placed(6, vec![line("a", 1, 1, 0, 0)], 0, 0), "order numbers must follow each other");
    refused(&placed(5, Vec::new(), 0, 0), "an order has no line");
    for wrong in [line("a", 0, 1, 0, 0), line("a", 1, 1, 2, 0), line("a", 1, 1, 0, 2), line("a", 1, 1, -1, 0)]
    {
        refused(&placed(5, vec![wrong], 0, 0), "a line costs less than nothing");
    }
    refused(&placed(5, vec![line("a", 2, i64::MAX, 0, 0)], 0, 0), "a line costs less than nothing");
    refused(&placed(5, vec![line("a", 1, 1, 0, 0)], 1, 2), "shipping costs less than nothing");
}

#[test]
fn about_paying_and_failing() {
    refused(&paid(9, true, true), "an event names an order that is not there");
    for order in [1, 3] {
        refused(&paid(order, true, true), "an order was paid that is not open");
        let failed = Event::Failed { order: no(order), why: "no".into() };
        refused(&failed, "an order failed that is not open");
        let cancel = Event::CancelRequested { order: no(order), by: by(), reason: reason() };
        refused(&cancel, "an order is to be cancelled that is not open");
    }
    refused(&paid(2, false, true), "an order was paid and not booked");
    refused(&paid(2, true, false), "an order was paid without its points");
}

#[test]
fn about_giving_back() {
    for order in [2, 3] {
        refused(&refund(order, 1, &[(0, 1)], 1, 0), "a refund began of an order that is not paid");
    }
    refused(&refund(4, 2, &[(0, 1)], 1, 0), "two refunds of one order are under way");
    refused(&refund(1, 1, &[(0, 1)], 1, 0), "refunds of an order must follow each other");
    refused(&refund(1, 2, &[(0, 1)], 116, 0), "a refund exceeds the money");
    refused(&refund(1, 2, &[(0, 1)], -1, 0), "a refund exceeds the money");
    refused(&refund(1, 2, &[(0, 1)], 1, 11), "a refund exceeds the points");
    for lines in [&[(0, 2)][..], &[(1, 1)], &[(0, 0)], &[(0, 1), (0, 1)]] {
        refused(&refund(1, 2, lines, 1, 0), "a refund exceeds the goods");
    }
    refused(&Event::RefundDone { order: no(1), refund: 1 }, "a refund ended that is not under way");
    refused(&Event::RefundDone { order: no(4), refund: 2 }, "a refund ended that is not under way");
    let why = "no".into();
    refused(&Event::RefundRefused { order: no(2), refund: 1, why }, "a refund ended that is not under way");
}

#[test]
fn a_refused_refund_frees_what_it_had_taken() {
    let mut orders = shop();
    let event = Event::RefundRefused { order: no(4), refund: 1, why: "too late".into() };
    orders.apply(Timestamp::from_millis(2_000), &event).expect("it was under way");
    let order = orders.order(no(4)).expect("it is there");
    assert_eq!((order.refunded(), order.refunded_points(), order.returned(0)), (0, 0, 0));
    orders.apply(Timestamp::from_millis(2_000), &refund(4, 2, &[(0, 2)], 170, 20)).expect("it is free again");
}

#[test]
fn what_is_over_is_let_go_of_when_its_time_has_come() {
    let mut orders = shop();
    let after = |millis: u64| Timestamp::from_millis(1_000 + millis);
    let tick = |orders: &mut Orders, at, order| {
        orders.apply(at, &placed(order, vec![line("a", 1, 1, 0, 0)], 0, 0)).expect("valid");
        orders.check_invariants().expect("valid");
    };
    tick(&mut orders, after(limits::ORDER_ENDED_MILLIS - 1), 5);
    assert!(orders.order(no(3)).is_some());
    tick(&mut orders, after(limits::ORDER_ENDED_MILLIS), 6);
    assert!(orders.order(no(3)).is_none(), "it failed 28 hours ago");
    tick(&mut orders, after(limits::ORDER_PAID_MILLIS), 7);
    assert!(orders.order(no(1)).is_none(), "it can no longer be returned");
    assert!(orders.order(no(2)).is_some(), "its checkout is under way");
    assert!(orders.order(no(4)).is_some(), "its refund is under way");
}
