//! Tests of orders: the arithmetic against a naive reading of its rules, stored bytes, and events that must not be. Whole
//! stories, with sagas and a payment company, are in `banyan-saga/tests/orders.rs`.

mod arithmetic;
mod golden;
mod refused_events;

use super::{Event, OrderLine, Orders, Part, RefundLine};
use crate::{
    Actor, Currency, MemberId, OrderNo, ProductId, Reason, ReservationNo, SagaNo, SkuId, Timestamp,
    TransferNo,
};

fn by() -> Actor {
    Actor::new("ops").expect("valid")
}

fn reason() -> Reason {
    Reason::new("why").expect("valid")
}

fn product(id: &str) -> ProductId {
    ProductId::new(id).expect("valid")
}

fn part(sku: &str, quantity: u32) -> Part {
    Part { sku: SkuId::new(sku).expect("valid"), quantity }
}

fn krw() -> Currency {
    Currency::new("KRW").expect("valid")
}

fn line(id: &str, quantity: u32, unit_price: i64, discount: i64, points: i64) -> OrderLine {
    let (product, parts) = (product(id), vec![part(id, 1)]);
    OrderLine { product, quantity, unit_price, discount, points, vat: 0, parts }
}

fn no(no: u64) -> OrderNo {
    OrderNo::new(no)
}

fn placed(order: u64, lines: Vec<OrderLine>, shipping: i64, shipping_points: i64) -> Event {
    Event::Placed {
        order: no(order),
        member: MemberId::new("m1").expect("valid"),
        lines,
        currency: krw(),
        shipping,
        shipping_points,
        shipping_vat: 0,
        coupon: None,
        saga: SagaNo::new(order),
    }
}

fn paid(order: u64, money: bool, points: bool) -> Event {
    Event::Paid {
        order: no(order),
        payment: "p".into(),
        transfer: money.then(|| TransferNo::new(1)),
        points: points.then(|| TransferNo::new(2)),
        reservation: ReservationNo::new(1),
    }
}

fn refund(order: u64, refund: u32, lines: &[(u16, u32)], amount: i64, points: i64) -> Event {
    let lines = lines.iter().map(|&(line, quantity)| RefundLine { line, quantity }).collect();
    let (by, reason, saga) = (by(), reason(), SagaNo::new(9));
    Event::RefundBegun { order: no(order), refund, cancel: false, lines, amount, points, by, reason, saga }
}

/// Applies `events` at second 1 each.
fn orders(events: &[Event]) -> Orders {
    let mut orders = Orders::new();
    for event in events {
        orders.apply(Timestamp::from_millis(1_000), event).unwrap_or_else(|why| panic!("{event:?}: {why}"));
        orders.check_invariants().unwrap_or_else(|why| panic!("{event:?}: {why}"));
    }
    orders
}

fn snapshot(orders: &Orders) -> Vec<u8> {
    let mut bytes = Vec::new();
    orders.write_snapshot(&mut bytes);
    bytes
}
