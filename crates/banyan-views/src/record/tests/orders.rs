//! Orders: after any story the rows say what the state says.

use super::shop::{self, Shop};
use super::story::{self, deeds};
use crate::View;
use crate::record::{OrderRecord, RECORD_FILE, RecordReader};
use banyan_domain::order::{Event, Order, OrderState};
use banyan_domain::{Actor, Entry, MemberId, OrderNo, Reason, ReservationNo, SagaNo};
use banyan_log::{Block, Seq};
use proptest::prelude::*;
use std::collections::BTreeMap;

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn rows_say_what_the_state_says(deeds in deeds(300), at_once in 1..9_usize) {
        let shop = story::play(&deeds);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut view = shop::open(folder.path());
        shop::fill(&mut view, &shop.blocks, at_once);
        prop_assert_eq!(view.parked(), 0);
        compare(&shop, &view.reader());
        // The price list: in the state only what stands, in the rows too.
        let db = rusqlite::Connection::open(folder.path().join(RECORD_FILE)).expect("opens");
        for product in shop.state.orders().products_after(None) {
            let sql = "SELECT price || ' ' || currency || ' ' || parts || ' ' || on_sale FROM product WHERE id = ?1";
            let row: String = db.query_row(sql, [product.id.as_str()], |row| row.get(0)).expect("it is there");
            let parts: Vec<String> =
                product.parts.iter().map(|part| format!("{}*{}", part.sku, part.quantity)).collect();
            let price = product.price;
            prop_assert_eq!(row, format!("{} {} {} 1", price.minor, price.currency, parts.join(" ")));
        }
    }
}

fn compare(shop: &Shop, reader: &RecordReader) {
    let orders = shop.state.orders();
    let placed = orders.placed();
    let (mut by_member, mut by_state) =
        (BTreeMap::<String, Vec<OrderNo>>::new(), BTreeMap::<OrderState, Vec<OrderNo>>::new());
    for no in (1..=placed).rev().map(OrderNo::new) {
        let row = reader.order(no).expect("readable").expect("it was placed");
        if let Some(order) = orders.order(no) {
            same(&row, order);
        }
        by_member.entry(row.member.to_string()).or_default().push(no);
        by_state.entry(row.state).or_default().push(no);
    }
    for (member, expected) in by_member {
        let member = MemberId::new(member).expect("valid");
        let found = all(|before| reader.member_orders(&member, before, 2).expect("readable"));
        assert_eq!(found, expected);
    }
    for (state, expected) in by_state {
        assert_eq!(all(|before| reader.orders(Some(state), before, 3).expect("readable")), expected);
    }
    let found = all(|before| reader.orders(None, before, 4).expect("readable"));
    assert_eq!(found, (1..=placed).rev().map(OrderNo::new).collect::<Vec<_>>());
    assert_eq!(reader.order(OrderNo::new(placed + 1)).expect("readable"), None);
}

fn all(mut page: impl FnMut(Option<OrderNo>) -> crate::record::OrderPage) -> Vec<OrderNo> {
    let (mut found, mut before) = (Vec::new(), None);
    loop {
        let page = page(before);
        found.extend(page.orders.iter().map(|row| row.order));
        before = page.next;
        if before.is_none() {
            return found;
        }
    }
}

fn same(row: &OrderRecord, order: &Order) {
    assert_eq!(
        (&*row.member, row.state, row.why.as_deref()),
        (order.member.as_str(), order.state, order.why.as_deref())
    );
    let sums = [row.goods, row.discount, row.shipping, row.points, row.total, row.vat];
    assert_eq!(
        sums,
        [order.goods(), order.discount(), order.shipping, order.points(), order.total(), order.vat()]
    );
    assert_eq!((row.currency, row.coupon, row.saga), (order.currency, order.coupon, order.saga));
    assert_eq!((row.placed_at, row.ended_at), (order.placed_at, order.ended_at));
    assert_eq!(row.cancel_requested, order.cancel_requested);
    let payment = order.payment.as_ref();
    assert_eq!(row.payment.as_deref().unwrap_or(""), payment.map_or("", |payment| &payment.id));
    assert_eq!(
        (row.paid_at, row.reservation),
        (payment.map(|paid| paid.at), payment.map(|paid| paid.reservation))
    );
    assert_eq!((row.refunded, row.refunded_points), (order.refunded(), order.refunded_points()));
    assert_eq!(row.lines.len(), order.lines.len());
    for (at, (found, line)) in row.lines.iter().zip(&order.lines).enumerate() {
        assert_eq!(
            (&*found.product, found.quantity, found.unit_price),
            (line.product.as_str(), line.quantity, line.unit_price)
        );
        assert_eq!((found.discount, found.points, found.vat), (line.discount, line.points, line.vat));
        assert_eq!(found.returned, order.returned(at));
    }
    assert_eq!(row.refunds.len(), order.refunds.len());
    for (found, refund) in row.refunds.iter().zip(&order.refunds) {
        assert_eq!((found.refund, found.cancel, found.state), (refund.no, refund.cancel, refund.state));
        assert_eq!((found.amount, found.points, found.saga), (refund.amount, refund.points, refund.saga));
        assert_eq!((&*found.actor, &*found.reason), (refund.by.as_str(), refund.reason.as_str()));
        assert_eq!((found.begun_at, found.ended_at), (refund.begun_at, refund.ended_at));
        assert_eq!(found.why.as_deref(), refund.why.as_deref());
        let lines: Vec<_> = refund.lines.iter().map(|part| (part.line, part.quantity)).collect();
        assert_eq!(found.lines, lines);
    }
}

#[test]
fn a_busy_story_has_orders_of_every_kind() {
    let shop = story::busy(3_000);
    let folder = tempfile::tempdir().expect("a temporary folder");
    shop::fill(&mut shop::open(folder.path()), &shop.blocks, 20);
    let db = rusqlite::Connection::open(folder.path().join(RECORD_FILE)).expect("opens");
    let kinds = |sql: &str| -> String {
        let sql = format!("SELECT group_concat(k, ' ') FROM (SELECT DISTINCT {sql} ORDER BY 1)");
        db.query_row(&sql, [], |row| row.get(0)).expect("reads")
    };
    assert_eq!(kinds("state AS k FROM orders"), "cancelled failed paid placed");
    assert_eq!(kinds("state AS k FROM order_refunds WHERE state <> 'begun'"), "done refused");
    assert_eq!(kinds("kind AS k FROM order_refunds"), "cancel return");
    assert_eq!(kinds("returned > 0 AS k FROM order_lines"), "0 1");
    assert_eq!(kinds("coupon IS NULL AS k FROM orders"), "0 1");
    let sums = "goods - discount + shipping - points = total AS k FROM orders";
    assert_eq!(kinds(sums), "1");
}

#[test]
fn what_contradicts_an_order_is_parked_and_other_orders_go_on() {
    let deed = story::Deed::Place { m: 1, lines: vec![(0, 1)], coupon: false, points: 0 };
    let shop = story::play(&[deed.clone(), deed]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut view = shop::open(folder.path());
    shop::fill(&mut view, &shop.blocks, 9);
    let first = shop.blocks.last().map_or(Seq(1), Block::next_seq);
    let paid = |no| Event::Paid {
        order: OrderNo::new(no),
        payment: "p".into(),
        transfer: None,
        points: None,
        reservation: ReservationNo::new(no),
    };
    let (by, reason) = (Actor::new("olga").expect("valid"), Reason::new("").expect("valid"));
    let refund = |no, amount| Event::RefundBegun {
        order: OrderNo::new(no),
        refund: 1,
        cancel: false,
        lines: Vec::new(),
        amount,
        points: 0,
        by: by.clone(),
        reason: reason.clone(),
        saga: SagaNo::new(9),
    };
    let done = |no| Event::RefundDone { order: OrderNo::new(no), refund: 1 };
    // Refunded before it is paid; paid twice; an order that never was; more back than was paid.
    let events = [refund(1, 1), paid(1), paid(2), paid(7), refund(2, 9_999_999), done(2), done(1)];
    let entries: Vec<Entry> = events.map(|event| Entry { event: event.into(), stamp: None }).into();
    let block = shop::block(first, shop.state.time().as_millis(), &entries);
    view.apply(&shop::batch(&[block])).expect("applies");
    let lane = view.reader().parked(Seq::ZERO, 99).expect("readable");
    let lane: Vec<_> = lane.iter().map(|event| (event.seq.0 - first.0, event.key.as_str())).collect();
    let expected =
        [(0, "order 1"), (1, "order 1"), (3, "order 7"), (4, "order 2"), (5, "order 2"), (6, "order 1")];
    assert_eq!(lane, expected);
    let state = |no| view.reader().order(OrderNo::new(no)).expect("readable").map(|order| order.state);
    assert_eq!((state(1), state(2)), (Some(OrderState::Placed), Some(OrderState::Paid)));
}
