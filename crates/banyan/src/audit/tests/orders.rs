//! Orders: one paid and given back as it should be, and each way in which it should not.

use super::{Kind, at, audit, by, committed, count, item, kinds, made, opened, post, reason, transferred};
use banyan_domain::coupon::{self, Audience, Benefit, CampaignDefinition, ReleaseCause, Stacking};
use banyan_domain::order::{Event as OrderEvent, OrderLine, Part, Product, RefundLine};
use banyan_domain::pay::{Leg, Rule};
use banyan_domain::saga::{self, Ask, Cause, Definition, End, Fields, Settlement, StepKind};
use banyan_domain::{
    AccountNo, CampaignId, CampaignNo, CouponId, Currency, Event, MemberId, Money, OrderId, OrderNo,
    ProductId, ReservationNo, SagaKey, SagaName, SagaNo, SkuId, StoreSecret, TransferNo, stock,
};

const NOW: u64 = 1_000_000;
const LATER: u64 = NOW + 60_000;

fn coupon() -> CouponId {
    CouponId::new(CampaignNo::new(1), 1)
}

fn part(sku: &str, quantity: u32) -> Part {
    Part { sku: SkuId::new(sku).expect("valid"), quantity }
}

fn parts() -> Vec<Part> {
    vec![part("a", 2), part("b", 1)]
}

fn line(quantity: u32, unit_price: i64) -> OrderLine {
    let product = ProductId::new("set").expect("valid");
    OrderLine { product, quantity, unit_price, discount: 100, points: 50, vat: 0, parts: parts() }
}

/// Goods, accounts with points, a price list, a coupon, and a saga of two steps for everything.
fn begin() -> Vec<Event> {
    let won = Currency::new("KRW").expect("valid");
    let product = Product {
        id: ProductId::new("set").expect("valid"),
        price: Money { minor: 1_000, currency: won },
        vat_basis_points: 1_000,
        parts: parts(),
        on_sale: true,
    };
    let campaign = CampaignDefinition {
        id: CampaignId::new("noon").expect("valid"),
        name: "noon".into(),
        quantity: None,
        per_member: 1,
        benefit: Benefit::FreeShipping,
        minimum_order: None,
        starts_at: None,
        ends_at: None,
        audience: Audience::Everyone,
        valid_for: None,
        stacking: Stacking::Exclusive,
    };
    let member = MemberId::new("m").expect("valid");
    let definition = Definition {
        name: SagaName::new("checkout").expect("valid"),
        version: 1,
        steps: vec![super::step(
            "reserve",
            StepKind::Compensatable,
            super::local("stock.reserve", &[]),
            Some(super::local("stock.release", &[])),
        )],
        deadline: None,
        at_risk: None,
    };
    vec![
        Event::StoreCreated { secret: StoreSecret::new([5; 32]) },
        item(1, "a"),
        count(1, 9),
        item(2, "b"),
        count(2, 9),
        opened(1, "company", Rule::Free),
        opened(2, "shop:sales", Rule::Free),
        opened(3, "points:m", Rule::Free),
        OrderEvent::ProductsSet { products: vec![product], by: by() }.into(),
        Event::Coupon(coupon::Event::CampaignCreated {
            no: CampaignNo::new(1),
            definition: Box::new(campaign),
            by: by(),
        }),
        Event::Coupon(coupon::Event::CouponIssued { coupon: coupon(), member }),
        Event::Saga(saga::Event::Defined { definition: Box::new(definition), by: by() }),
    ]
}

fn placed(lines: Vec<OrderLine>) -> Vec<Event> {
    let saga = SagaNo::new(1);
    let placed = OrderEvent::Placed {
        order: OrderNo::new(1),
        member: MemberId::new("m").expect("valid"),
        lines,
        currency: Currency::new("KRW").expect("valid"),
        shipping: 250,
        shipping_points: 0,
        shipping_vat: 0,
        coupon: Some(coupon()),
        saga,
    };
    let (key, input) = (SagaKey::new("o-1").expect("valid"), Fields::new());
    vec![placed.into(), Event::Saga(saga::Event::Started { saga, definition: 1, key, input })]
}

fn reserved() -> Vec<Event> {
    let output = [("reservation", "r-1")].into_iter().collect();
    let result = Settlement::Done(output);
    let settled = saga::Event::Settled { saga: SagaNo::new(1), step: 0, ask: Ask::Do, attempt: 1, result };
    vec![made(1, &[(1, 4, 0), (2, 2, 0)], LATER, Some("m")), Event::Saga(settled)]
}

fn order_id() -> OrderId {
    OrderId::new("o-1").expect("valid")
}

fn held() -> Event {
    let until = at(LATER);
    Event::Coupon(coupon::Event::CouponHeld {
        coupon: coupon(),
        order: order_id(),
        until,
        holder: banyan_domain::Holder::Shop,
    })
}

fn redeemed() -> Event {
    Event::Coupon(coupon::Event::CouponRedeemed { coupon: coupon(), order: order_id() })
}

/// Points set aside and taken: `t-1`, `t-2`.
fn points(amount: i64) -> Event {
    let (debit, credit) = (AccountNo::new(3), AccountNo::new(2));
    let hold = Leg::Held { debit, credit, amount, until: at(LATER) };
    let pending = TransferNo::new(1);
    transferred(1, vec![hold, Leg::Captured { pending, debit, credit, amount, last: true }])
}

fn paid(transfer: Option<u64>) -> Event {
    OrderEvent::Paid {
        order: OrderNo::new(1),
        payment: "p".into(),
        transfer: transfer.map(TransferNo::new),
        points: Some(TransferNo::new(1)),
        reservation: ReservationNo::new(1),
    }
    .into()
}

/// 2 sets for 2,000 less 100 of discount and 50 points, and 250 for shipping.
const TOTAL: i64 = 2_100;

fn whole() -> Vec<Event> {
    let steps = vec![held(), points(50), transferred(3, vec![post(1, 2, TOTAL)]), redeemed(), committed(1)];
    [placed(vec![line(2, 1_000)]), reserved(), steps, vec![paid(Some(3))]].concat()
}

fn found(events: Vec<Event>) -> Vec<Kind> {
    kinds(&audit(&[(NOW, [begin(), events].concat())]))
}

/// The whole story with `place` taken out, and `instead` put there.
fn instead(out: &Event, instead: Vec<Event>) -> Vec<Kind> {
    let mut events = whole();
    let place = events.iter().position(|event| event == out).expect("it is in the story");
    events.splice(place..=place, instead);
    found(events)
}

fn refund(no: u32, quantity: u32, amount: i64, cancel: bool) -> Event {
    OrderEvent::RefundBegun {
        order: OrderNo::new(1),
        refund: no,
        cancel,
        lines: vec![RefundLine { line: 0, quantity }],
        amount,
        points: if cancel { 50 } else { 0 },
        by: by(),
        reason: reason(),
        saga: SagaNo::new(9),
    }
    .into()
}

fn done(refund: u32) -> Event {
    OrderEvent::RefundDone { order: OrderNo::new(1), refund }.into()
}

fn given_back(no: u64, amount: i64) -> Event {
    let of = TransferNo::new(3);
    transferred(no, vec![Leg::Refunded { of, debit: AccountNo::new(2), credit: AccountNo::new(1), amount }])
}

fn failed() -> Event {
    OrderEvent::Failed { order: OrderNo::new(1), why: "declined".into() }.into()
}

#[test]
fn an_order_that_is_as_it_should_be_is_not_found_fault_with() {
    assert_eq!(found(whole()), []);
    let back = vec![refund(1, 1, 1_000, false), given_back(4, 1_000), done(1)];
    let rest = vec![refund(2, 1, 1_100, true), given_back(5, 1_100), done(2)];
    assert_eq!(found([whole(), back, rest].concat()), []);
    let refused = OrderEvent::RefundRefused { order: OrderNo::new(1), refund: 1, why: "no".into() };
    let again = vec![refund(1, 2, TOTAL, true), refused.into(), refund(2, 2, TOTAL, true)];
    assert_eq!(found([whole(), again, vec![given_back(4, TOTAL), done(2)]].concat()), []);
}

/// Another order, placed and paid with the coupon of the first.
fn another() -> Vec<Event> {
    let (mut events, saga) = (placed(vec![line(2, 1_000)]), SagaNo::new(2));
    if let Event::Order(OrderEvent::Placed { order, saga: own, .. }) = &mut events[0] {
        (*order, *own) = (OrderNo::new(2), saga);
    }
    let (key, input) = (SagaKey::new("o-2").expect("valid"), Fields::new());
    events[1] = Event::Saga(saga::Event::Started { saga, definition: 1, key, input });
    let (debit, credit, pending) = (AccountNo::new(3), AccountNo::new(2), TransferNo::new(5));
    let hold = Leg::Held { debit, credit, amount: 50, until: at(LATER) };
    let taken = Leg::Captured { pending, debit, credit, amount: 50, last: true };
    let paid = OrderEvent::Paid {
        order: OrderNo::new(2),
        payment: "p".into(),
        transfer: Some(TransferNo::new(7)),
        points: Some(pending),
        reservation: ReservationNo::new(2),
    };
    events.extend([made(2, &[(1, 4, 0), (2, 2, 0)], LATER, Some("m")), committed(2)]);
    events.extend([transferred(5, vec![hold, taken, post(1, 2, TOTAL)]), redeemed(), paid.into()]);
    events
}

#[test]
fn a_coupon_pays_another_order_only_once_it_came_back() {
    let back = vec![refund(1, 2, TOTAL, true), given_back(4, TOTAL), done(1)];
    let (coupon, cause) = (coupon(), ReleaseCause::Restored);
    let freed = Event::Coupon(coupon::Event::CouponReleased { coupon, cause, expired: false });
    assert_eq!(found([whole(), back.clone(), vec![freed], another()].concat()), []);
    assert!(found([whole(), back, another()].concat()).contains(&Kind::CustomerOrder));
}

#[test]
fn an_order_that_is_paid_and_has_not_everything_is_found() {
    let wrong = [
        ("its goods were not sold", instead(&committed(1), vec![])),
        (
            "it was booked for less",
            instead(&transferred(3, vec![post(1, 2, TOTAL)]), vec![transferred(3, vec![post(1, 2, 7)])]),
        ),
        ("its coupon was not redeemed", instead(&redeemed(), vec![])),
        ("its points were not all taken", instead(&points(50), vec![points(49)])),
        ("it was paid for nothing", instead(&paid(Some(3)), vec![paid(None)])),
        ("it was paid twice", instead(&paid(Some(3)), vec![paid(Some(3)), paid(Some(3))])),
        ("it was never placed", found(vec![paid(Some(3))])),
        ("another price than on the list", found(placed(vec![line(2, 999)]))),
        ("it cost less than nothing", found(placed(vec![line(1, 100)]))),
    ];
    for (what, found) in wrong {
        assert!(found.contains(&Kind::CustomerOrder), "{what}: {found:?}");
    }
    // Other goods than were ordered.
    let mut events = whole();
    let place =
        events.iter().position(|event| matches!(event, Event::Stock(stock::Event::ReservationMade { .. })));
    events[place.expect("it is in the story")] = made(1, &[(1, 4, 0)], LATER, Some("m"));
    assert_eq!(found(events), [Kind::CustomerOrder]);
}

#[test]
fn an_order_that_failed_and_holds_something_is_found() {
    let back = |released: bool| {
        let mut events = [placed(vec![line(2, 1_000)]), reserved(), vec![held()]].concat();
        let saga = SagaNo::new(1);
        events.push(Event::Saga(saga::Event::TurnedBack { saga, cause: Cause::TimedOut }));
        if released {
            events.push(Event::Coupon(coupon::Event::CouponReleased {
                coupon: coupon(),
                cause: ReleaseCause::Asked,
                expired: false,
            }));
            events
                .push(Event::Stock(stock::Event::ReservationReleased { reservation: ReservationNo::new(1) }));
            let result = Settlement::Done(Fields::new());
            events.push(Event::Saga(saga::Event::Settled {
                saga,
                step: 0,
                ask: Ask::Undo,
                attempt: 1,
                result,
            }));
        }
        events
    };
    assert_eq!(found([back(true), vec![failed()]].concat()), []);
    assert_eq!(found([back(false), vec![failed()]].concat()), [Kind::CustomerOrder]);
    assert_eq!(found([whole(), vec![failed()]].concat()), [Kind::CustomerOrder]);
    // Only the coupon is left.
    let mut events = back(true);
    events.retain(|event| !matches!(event, Event::Coupon(coupon::Event::CouponReleased { .. })));
    assert_eq!(found([events, vec![failed()]].concat()), [Kind::CustomerOrder]);
    // Its checkout is over, and nobody told the order.
    let ended = saga::Event::Ended { saga: SagaNo::new(1), end: End::Compensated };
    assert_eq!(found([back(true), vec![Event::Saga(ended)]].concat()), [Kind::CustomerOrder]);
}

#[test]
fn what_is_wrong_with_a_refund_is_found() {
    let half = || vec![refund(1, 1, 1_000, false), given_back(4, 1_000), done(1)];
    let wrong = [
        ("more than was paid", vec![refund(1, 1, TOTAL + 1, false)]),
        ("more than is left", [half(), vec![refund(2, 1, TOTAL - 999, false)]].concat()),
        ("more goods than were ordered", [half(), vec![refund(2, 2, 10, false)]].concat()),
        ("two at once", vec![refund(1, 1, 10, false), refund(2, 1, 10, false)]),
        ("a number left out", vec![refund(2, 1, 10, false)]),
        ("done and not booked", vec![refund(1, 1, 1_000, false), done(1)]),
        ("done and booked for less", vec![refund(1, 1, 1_000, false), given_back(4, 999), done(1)]),
        ("done twice", [half(), vec![done(1)]].concat()),
        ("cancelled, and not all is back", vec![refund(1, 2, 1_000, true), given_back(4, 1_000), done(1)]),
    ];
    for (what, events) in wrong {
        let found = found([whole(), events].concat());
        assert!(
            !found.is_empty() && found.iter().all(|kind| *kind == Kind::CustomerOrder),
            "{what}: {found:?}"
        );
    }
    let unpaid = [placed(vec![line(2, 1_000)]), vec![refund(1, 1, 10, false)]].concat();
    assert_eq!(found(unpaid), [Kind::CustomerOrder]);
}
