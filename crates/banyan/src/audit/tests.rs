//! What the auditor must find: a log in which one thing is wrong, written by hand.

use super::Kind;
use super::book::Book;
use banyan_domain::order::{self, OrderLine, Part, RefundLine};
use banyan_domain::pay::{self, Leg, OpenedAccount, Rule};
use banyan_domain::stock::{self, ReservedPart};
use banyan_domain::{
    AccountId, AccountNo, Actor, CampaignNo, CouponId, Currency, Entry, Event, ItemNo, LocationId, MemberId,
    OrderId, OrderNo, ProductId, Reason, Reference, ReservationNo, SagaNo, SkuId, Timestamp, TransferNo,
    saga,
};

const NOW: u64 = 1_000;
const LATER: u64 = 2_000;

fn by() -> Actor {
    Actor::new("test").expect("valid")
}

fn reason() -> Reason {
    Reason::new("").expect("valid")
}

/// Follows events, each in a block at [`NOW`], then one empty block at `end`; what was found.
fn found(events: Vec<Event>, end: u64) -> Vec<Kind> {
    let mut book = Book::default();
    for (seq, event) in (1..).zip(events) {
        assert!(book.begin_block(seq, NOW));
        book.event(seq, &Entry { event, stamp: None });
    }
    assert!(book.begin_block(u64::MAX, end));
    book.close();
    book.findings.first().iter().map(|finding| finding.kind).collect()
}

/// Five units of one SKU.
fn counted() -> Vec<Event> {
    let item = ItemNo::new(1);
    let (sku, location) = (SkuId::new("A").expect("valid"), LocationId::new("main").expect("valid"));
    let created = stock::Event::ItemCreated { item, sku, location, by: by() };
    vec![
        Event::Stock(created),
        Event::Stock(stock::Event::StockSet { item, on_hand: 5, by: by(), reason: reason() }),
    ]
}

fn reserved(no: u64, units: u32, order: &str) -> Event {
    let parts = vec![ReservedPart { item: ItemNo::new(1), held: units, promised: 0 }];
    let (reservation, until) = (ReservationNo::new(no), Timestamp::from_millis(LATER));
    let order = Some(OrderId::new(order).expect("valid"));
    Event::Stock(stock::Event::ReservationMade { reservation, parts, until, member: None, order })
}

fn committed(no: u64) -> Event {
    Event::Stock(stock::Event::ReservationCommitted { reservation: ReservationNo::new(no) })
}

fn released(no: u64) -> Event {
    Event::Stock(stock::Event::ReservationReleased { reservation: ReservationNo::new(no) })
}

/// `company` may be overdrawn, `m1` may not.
fn accounts() -> Vec<Event> {
    let open = |no: u32, id: &str, rule: Rule| {
        let (id, currency) = (AccountId::new(id).expect("valid"), Currency::new("KRW").expect("valid"));
        let account = OpenedAccount { no: AccountNo::new(no), id, currency, rule };
        Event::Pay(pay::Event::AccountOpened { account, by: by() })
    };
    vec![open(1, "company", Rule::Free), open(2, "m1", Rule::DebitsWithinCredits)]
}

fn transfer(no: u64, leg: Leg) -> Event {
    let reference = Reference::new("o-1").expect("valid");
    let (first, legs) = (TransferNo::new(no), vec![leg]);
    Event::Pay(pay::Event::Transferred { first, legs, reference, by: by(), opened: Vec::new() })
}

fn post(from: u32, to: u32, amount: i64) -> Leg {
    Leg::Posted { debit: AccountNo::new(from), credit: AccountNo::new(to), amount, refundable: true }
}

fn refund(of: u64, amount: i64) -> Leg {
    Leg::Refunded { of: TransferNo::new(of), debit: AccountNo::new(2), credit: AccountNo::new(1), amount }
}

/// An order of three units for 300, without points.
fn placed(no: u64, coupon: Option<CouponId>) -> Event {
    let part = Part { sku: SkuId::new("A").expect("valid"), quantity: 1 };
    let line = OrderLine {
        product: ProductId::new("A").expect("valid"),
        quantity: 3,
        unit_price: 100,
        discount: 0,
        points: 0,
        vat: 27,
        parts: vec![part],
    };
    Event::Order(order::Event::Placed {
        order: OrderNo::new(no),
        member: MemberId::new("m1").expect("valid"),
        lines: vec![line],
        currency: Currency::new("KRW").expect("valid"),
        shipping: 0,
        shipping_points: 0,
        shipping_vat: 0,
        coupon,
        saga: SagaNo::new(no),
    })
}

fn paid(no: u64, transfer: u64, reservation: u64) -> Event {
    let (order, reservation) = (OrderNo::new(no), ReservationNo::new(reservation));
    let transfer = Some(TransferNo::new(transfer));
    Event::Order(order::Event::Paid { order, payment: "pay_1".into(), transfer, points: None, reservation })
}

fn failed(no: u64) -> Event {
    Event::Order(order::Event::Failed { order: OrderNo::new(no), why: "declined".into() })
}

fn refund_begun(amount: i64) -> Event {
    let (order, lines) = (OrderNo::new(1), vec![RefundLine { line: 0, quantity: 1 }]);
    let (refund, cancel, points, saga) = (1, false, 0, SagaNo::new(9));
    Event::Order(order::Event::RefundBegun {
        order,
        refund,
        cancel,
        lines,
        amount,
        points,
        by: by(),
        reason: reason(),
        saga,
    })
}

/// An order that is as it should be, up to the moment when it is paid.
fn nearly_paid() -> Vec<Event> {
    let mut events = [counted(), accounts()].concat();
    events.extend([placed(1, None), reserved(1, 3, "o-1"), transfer(1, post(1, 2, 300)), committed(1)]);
    events
}

fn check(mut events: Vec<Event>, more: Vec<Event>, end: u64, expected: &[Kind]) {
    events.extend(more);
    assert_eq!(found(events, end), expected);
}

#[test]
fn what_is_right_is_not_found() {
    let back = vec![refund_begun(100), transfer(2, refund(1, 100))];
    let done = Event::Order(order::Event::RefundDone { order: OrderNo::new(1), refund: 1 });
    let more = [
        vec![paid(1, 1, 1)],
        back,
        vec![done, placed(2, None), reserved(2, 2, "o-2"), released(2), failed(2)],
    ];
    check(nearly_paid(), more.concat(), LATER, &[]);
}

#[test]
fn stock_is_added_up() {
    check(counted(), vec![reserved(1, 6, "o-1"), released(1)], NOW, &[Kind::Stock]);
    check(
        counted(),
        vec![reserved(1, 3, "o-1"), reserved(2, 3, "o-2"), released(1), released(2)],
        NOW,
        &[Kind::Stock],
    );
    check(counted(), vec![reserved(1, 3, "o-1"), committed(1), released(1)], NOW, &[Kind::Stock]);
    check(counted(), vec![reserved(1, 3, "o-1")], LATER, &[Kind::Hold]);
    check(counted(), vec![reserved(1, 3, "o-1")], LATER - 1, &[]);
    let by_quantity = -3;
    let lost = stock::Event::StockAdjusted { item: ItemNo::new(1), by_quantity, by: by(), reason: reason() };
    let kinds = [Kind::Stock];
    check(counted(), vec![reserved(1, 3, "o-1"), Event::Stock(lost)], NOW, &kinds);
}

#[test]
fn the_ledger_is_added_up() {
    let hold = |amount: i64| Leg::Held {
        debit: AccountNo::new(2),
        credit: AccountNo::new(1),
        amount,
        until: Timestamp::from_millis(LATER),
    };
    let capture = |amount: i64| Leg::Captured {
        pending: TransferNo::new(2),
        debit: AccountNo::new(2),
        credit: AccountNo::new(1),
        amount,
        last: true,
    };
    let funded = || [accounts(), vec![transfer(1, post(1, 2, 100))]].concat();
    check(funded(), vec![transfer(2, post(2, 1, 101))], NOW, &[Kind::Ledger]);
    check(funded(), vec![transfer(2, hold(101)), transfer(3, capture(100))], NOW, &[Kind::Ledger]);
    check(funded(), vec![transfer(2, hold(60)), transfer(3, hold(60))], NOW, &[Kind::Ledger]);
    check(funded(), vec![transfer(2, hold(60)), transfer(3, capture(61))], NOW, &[Kind::Ledger]);
    check(
        funded(),
        vec![transfer(2, hold(60)), transfer(3, capture(6)), transfer(4, capture(6))],
        NOW,
        &[Kind::Ledger],
    );
    check(funded(), vec![transfer(2, hold(60))], LATER, &[Kind::Hold]);
    check(funded(), vec![transfer(2, refund(1, 60)), transfer(3, refund(1, 40))], NOW, &[]);
    check(funded(), vec![transfer(2, post(1, 2, 50)), transfer(3, refund(1, 101))], NOW, &[Kind::Ledger]);
}

#[test]
fn a_paid_order_has_what_it_paid_for() {
    let wrong = [Kind::Checkout];
    check(nearly_paid(), vec![paid(1, 1, 2)], NOW, &wrong);
    check(nearly_paid(), vec![paid(1, 2, 1)], NOW, &wrong);
    check(nearly_paid(), vec![paid(1, 1, 1), paid(1, 1, 1)], NOW, &wrong);
    check(nearly_paid(), vec![placed(2, None), paid(1, 1, 1), paid(2, 1, 1)], NOW, &wrong);
    check(nearly_paid(), vec![failed(1)], NOW, &wrong);
    check(nearly_paid(), vec![placed(3, None)], NOW, &wrong);
    check(nearly_paid(), vec![paid(1, 1, 1), refund_begun(301)], NOW, &wrong);
    check(nearly_paid(), vec![refund_begun(100)], NOW, &wrong);
    let done = Event::Order(order::Event::RefundDone { order: OrderNo::new(1), refund: 1 });
    check(nearly_paid(), vec![paid(1, 1, 1), refund_begun(100), done], NOW, &wrong);
    // Goods that are only held, too few of them, and a coupon that nobody used.
    let with = |order: Event, goods: Vec<Event>| {
        let mut events = [counted(), accounts(), vec![order], goods].concat();
        events.extend([transfer(1, post(1, 2, 300)), paid(1, 1, 1)]);
        events
    };
    check(with(placed(1, None), vec![reserved(1, 3, "o-1")]), vec![], NOW, &wrong);
    check(with(placed(1, None), vec![reserved(1, 2, "o-1"), committed(1)]), vec![], NOW, &wrong);
    let coupon = Some(CouponId::new(CampaignNo::new(1), 1));
    check(with(placed(1, coupon), vec![reserved(1, 3, "o-1"), committed(1)]), vec![], NOW, &wrong);
}

#[test]
fn an_order_does_not_outlive_its_checkout() {
    let ended = saga::Event::Ended { saga: SagaNo::new(1), end: saga::End::Completed };
    check(nearly_paid(), vec![Event::Saga(ended)], NOW, &[Kind::Checkout]);
}
