//! What else is done to a shop: goods, money and sagas, chosen by chance.

use super::shop::{Op, SECRET, Shop, member, operator};
use banyan_domain::coupon::CodeKey;
use banyan_domain::order::{self, Cart, CartLine, Part, Product, Terms};
use banyan_domain::pay::{self, NewTransfer, Rule, Side, Transfers};
use banyan_domain::saga::{
    Action, Ask, Definition, Fields, Patience, Promises, Resume, Settlement, Step, StepKind, Target, Template,
};
use banyan_domain::stock::{self, Configuration, ImportRow, Line, Lines, ReservationState};
use banyan_domain::{
    AccountId, Currency, LocationId, Millis, Money, OrderId, OrderNo, ProductId, Reason, Reference,
    ReservationNo, SagaKey, SagaName, SagaNo, SkuId, StepName, StoreSecret, Timestamp, TransferNo, saga,
};
use proptest::prelude::*;

/// One thing done. Numbers choose among what there is.
#[derive(Clone, Debug)]
pub(super) enum Deed {
    Coupon(Op),
    Count(u8, u8, u32),
    Receive(u8, u8, u32),
    Adjust(u8, u8, i64),
    Configure(u8, u8, u32, u32, bool, u8),
    Import(u8, u32),
    Reserve(Vec<(u8, u32)>, u8, u32),
    Commit(u64),
    Release(u64),
    Return(u64, u8, u32),
    Post(u8, u8, i64, bool),
    Hold(u8, u8, i64, u32),
    Capture(u64, i64, bool),
    Void(u64),
    Refund(u64, i64),
    Reverse(u64),
    Linked(i64),
    Start(u8, u8, u32),
    Answer { which: usize, keep: bool, how: u8 },
    Cancel(u64),
    Resume(u64, u8),
    Price(i64),
    Place { m: u32, lines: Vec<(u8, u32)>, coupon: bool, points: i64 },
    CancelOrder(u64),
    ReturnOrder(u64, u8),
    Pass(u32),
    NextBlock,
}

pub(super) fn deeds(most: usize) -> impl Strategy<Value = Vec<Deed>> {
    let coupon = (0..3_usize, 0..40_u32).prop_map(|(c, m)| Deed::Coupon(Op::Issue(c, m)));
    let stock = prop_oneof![
        2 => (0..3_u8, 0..3_u8, 0..40_u32).prop_map(|(s, l, n)| Deed::Count(s, l, n)),
        3 => (0..3_u8, 0..3_u8, 0..9_u32).prop_map(|(s, l, n)| Deed::Receive(s, l, n)),
        1 => (0..3_u8, 0..3_u8, -5..9_i64).prop_map(|(s, l, n)| Deed::Adjust(s, l, n)),
        2 => (0..3_u8, 0..3_u8, 0..6_u32, 0..20_u32, any::<bool>(), 0..12_u8)
            .prop_map(|(s, l, safety, back, later, limit)| Deed::Configure(s, l, safety, back, later, limit)),
        1 => (0..9_u8, 0..9_u32).prop_map(|(s, n)| Deed::Import(s, n)),
        12 => (prop::collection::vec((0..3_u8, 1..6_u32), 1..4), 0..5_u8, 1..300_u32)
            .prop_map(|(lines, m, s)| Deed::Reserve(lines, m, s)),
        4 => (0..30_u64).prop_map(Deed::Commit),
        4 => (0..30_u64).prop_map(Deed::Release),
        3 => (0..30_u64, 0..3_u8, 1..4_u32).prop_map(|(r, s, n)| Deed::Return(r, s, n)),
    ];
    let pay = prop_oneof![
        4 => (0..5_u8, 0..5_u8, 1..500_i64, any::<bool>()).prop_map(|(d, c, a, r)| Deed::Post(d, c, a, r)),
        3 => (0..5_u8, 0..5_u8, 1..500_i64, 1..300_u32).prop_map(|(d, c, a, s)| Deed::Hold(d, c, a, s)),
        3 => (0..40_u64, 1..300_i64, any::<bool>()).prop_map(|(t, a, last)| Deed::Capture(t, a, last)),
        3 => (0..40_u64).prop_map(Deed::Void),
        2 => (0..40_u64, 1..300_i64).prop_map(|(t, a)| Deed::Refund(t, a)),
        1 => (0..40_u64).prop_map(Deed::Reverse),
        1 => (1..90_i64).prop_map(Deed::Linked),
    ];
    let saga = prop_oneof![
        4 => (0..20_u8, 0..4_u8, 0..900_u32).prop_map(|(key, s, a)| Deed::Start(key, s, a)),
        10 => (0..99_usize, any::<bool>(), any::<u8>())
            .prop_map(|(which, keep, how)| Deed::Answer { which, keep, how }),
        1 => (0..20_u64).prop_map(Deed::Cancel),
        2 => (0..20_u64, any::<u8>()).prop_map(|(no, how)| Deed::Resume(no, how)),
    ];
    let time = prop_oneof![
        4 => (1..9_000_u32).prop_map(Deed::Pass),
        1 => (30_000..400_000_u32).prop_map(Deed::Pass),
        8 => Just(Deed::NextBlock),
    ];
    let order = prop_oneof![
        1 => (1..2_000_i64).prop_map(Deed::Price),
        12 => (1..5_u32, prop::collection::vec((0..3_u8, 1..3_u32), 1..3), any::<bool>(), 0..4_i64)
            .prop_map(|(m, lines, coupon, p)| Deed::Place { m, lines, coupon, points: p * 500 }),
        2 => (0..30_u64).prop_map(Deed::CancelOrder),
        4 => (0..30_u64, 0..3_u8).prop_map(|(o, p)| Deed::ReturnOrder(o, p)),
    ];
    let deed = prop_oneof![2 => coupon, 8 => stock, 5 => pay, 9 => saga, 4 => order, 4 => time];
    prop::collection::vec(deed, 1..most)
}

/// The same deeds every time: for tests that stop somewhere.
pub(super) fn busy(count: usize) -> Shop {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut all = Vec::new();
    while all.len() < count {
        let tree = deeds(200).new_tree(&mut runner).expect("a strategy without filters");
        all.extend(proptest::strategy::ValueTree::current(&tree));
    }
    all.truncate(count);
    play(&all)
}

/// A shop in which `deeds` were done, one after the other.
pub(super) fn play(deeds: &[Deed]) -> Shop {
    let mut shop = Shop::new();
    begin(&mut shop);
    for deed in deeds {
        do_one(&mut shop, deed);
    }
    shop.end_block();
    // What fell due when the last block began.
    while shop.end_block() {}
    shop
}

pub(super) fn sku(s: u8) -> SkuId {
    SkuId::new(format!("sku-{s}")).expect("valid")
}

fn location(l: u8) -> LocationId {
    LocationId::new(["main", "busan", "shop"][usize::from(l)]).expect("valid")
}

/// Three accounts that are made as they are needed, and two that may have any balance.
pub(super) fn account(a: u8) -> AccountId {
    let id = ["shop:sales", "bank", "points:m-1", "points:m-2", "till"][usize::from(a)];
    AccountId::new(id).expect("valid")
}

fn side(a: u8) -> Side {
    let rule = [
        Rule::Free,
        Rule::Free,
        Rule::DebitsWithinCredits,
        Rule::DebitsWithinCredits,
        Rule::CreditsWithinDebits,
    ];
    let won = Currency::new("KRW").expect("valid");
    Side { account: account(a), open_if_missing: Some((won, rule[usize::from(a)])) }
}

fn text(text: &str) -> Template {
    Template::parse(text).expect("a valid template")
}

fn local(name: &str, params: &[(&str, &str)]) -> Action {
    let params = params.iter().map(|(name, value)| ((*name).into(), text(value))).collect();
    Action { target: Target::Local(name.into()), params }
}

fn service(operation: &str) -> Action {
    let params = [("order".into(), text("${key}"))].into_iter().collect();
    Action { target: Target::Service { service: "company".into(), operation: operation.into() }, params }
}

fn step(name: &str, kind: StepKind, action: Action, undo: Option<Action>) -> Step {
    let is_local = matches!(action.target, Target::Local(_));
    Step {
        name: StepName::new(name).expect("valid"),
        kind,
        when: None,
        action,
        undo,
        query: (!is_local).then(|| service("query")),
        promises: Promises { idempotent: !is_local, ..Promises::default() },
        patience: Patience { tries: 3, settles_after: Millis::new(300), ..Patience::default() },
    }
}

fn when(field: &str, step: Step) -> Step {
    Step { when: Some(field.into()), ..step }
}

/// The checkout: of an order, or without one. Less than the example, and more that can go wrong.
fn checkout(version: u32) -> Definition {
    use StepKind::{Compensatable, Pivot, Retriable};
    let order = [("order", "${input.order}")];
    let reservation = [("reservation", "${reserve.reservation}")];
    let lines =
        [("lines", "${input.lines}"), ("member", "${input.member}"), ("order", "${key}"), ("hold", "900")];
    let points = [
        ("debit", "points:${input.member}"),
        ("credit", "shop:points"),
        ("amount", "${input.points}"),
        ("currency", "PTS"),
        ("reference", "${key}"),
        ("hold", "900"),
    ];
    let coupon = [("coupon", "${input.coupon}"), ("member", "${input.member}"), ("order", "${key}")];
    let money = [
        ("debit", "bank"),
        ("credit", "shop:sales"),
        ("amount", "${input.amount}"),
        ("currency", "KRW"),
        ("reference", "${key}"),
        ("refundable", "yes"),
    ];
    let held = [("transfer", "${hold-points.transfer}")];
    let paid = [
        ("order", "${input.order}"),
        ("payment", "${authorize.payment}"),
        ("transfer", "${book.transfer}"),
        ("points", "${hold-points.transfer}"),
        ("reservation", "${reserve.reservation}"),
    ];
    let undone = |name, params: &[(&str, &str)]| Some(local(name, params));
    let steps = vec![
        when(
            "order",
            step("begin-order", Compensatable, local("order.begin", &order), undone("order.fail", &order)),
        ),
        step("reserve", Compensatable, local("stock.reserve", &lines), undone("stock.release", &reservation)),
        when(
            "coupon",
            step(
                "hold-coupon",
                Compensatable,
                local("coupon.hold", &coupon),
                undone("coupon.release", &coupon),
            ),
        ),
        when(
            "points",
            step("hold-points", Compensatable, local("pay.hold", &points), undone("pay.void", &held)),
        ),
        step("authorize", Compensatable, service("authorize"), Some(service("void"))),
        step("capture", Pivot, service("capture"), None),
        when("amount", step("book", Retriable, local("pay.post", &money), None)),
        when("points", step("spend-points", Retriable, local("pay.capture", &held), None)),
        when("coupon", step("redeem-coupon", Retriable, local("coupon.redeem", &coupon), None)),
        step("commit", Retriable, local("stock.commit", &reservation), None),
        when("order", step("finish-order", Retriable, local("order.paid", &paid), None)),
        when("delivery", step("deliver", Retriable, service("deliver"), None)),
    ];
    let name = SagaName::new("checkout").expect("valid");
    let (deadline, at_risk) = (Some(Millis::from_seconds(300)), Some("amount".into()));
    Definition { name, version, steps, deadline, at_risk }
}

/// What gives an order back, or part of it.
fn order_refund() -> Definition {
    use StepKind::{Compensatable, Pivot, Retriable};
    let refund = [("order", "${input.order}"), ("refund", "${input.refund}")];
    let money = [("transfer", "${input.transfer}"), ("amount", "${input.amount}"), ("reference", "${key}")];
    let points = [
        ("debit", "shop:points"),
        ("credit", "points:${input.member}"),
        ("amount", "${input.points}"),
        ("reference", "${key}"),
    ];
    let goods = [
        ("reservation", "${input.reservation}"),
        ("lines", "${input.lines}"),
        ("reason", "returned with ${key}"),
    ];
    let begin = local("order.begin-refund", &refund);
    let steps = vec![
        step("begin-refund", Compensatable, begin, Some(local("order.refund-refused", &refund))),
        when("amount", step("refund-money", Pivot, service("refund"), None)),
        when("amount", step("book-refund", Retriable, local("pay.refund", &money), None)),
        when("points", step("return-points", Retriable, local("pay.post", &points), None)),
        when("lines", step("take-goods-back", Retriable, local("stock.return", &goods), None)),
        step("finish-refund", Retriable, local("order.refunded", &refund), None),
    ];
    let name = SagaName::new("order-refund").expect("valid");
    Definition { name, version: 1, steps, deadline: None, at_risk: Some("amount".into()) }
}

fn begin(shop: &mut Shop) {
    for definition in [checkout(1), order_refund()] {
        shop.command(saga::Command::Define { definition: Box::new(definition), by: operator() });
    }
    assert_eq!(shop.state.sagas().definitions().count(), 2, "they are sound definitions");
    for s in 0..2 {
        let command = stock::Command::SetStock {
            sku: sku(s),
            location: location(0),
            on_hand: 12,
            by: operator(),
            reason: reason("first"),
        };
        shop.command(command);
    }
    let won = Currency::new("KRW").expect("valid");
    for a in 0..2 {
        let (id, by) = (account(a), operator());
        shop.command(pay::Command::OpenAccount { id, currency: won, rule: Rule::Free, by });
    }
    begin_orders(shop);
    shop.end_block();
}

/// Terms, a price list, and points for everybody.
fn begin_orders(shop: &mut Shop) {
    let won = Currency::new("KRW").expect("valid");
    let terms =
        Terms { currency: won, shipping_fee: 250, free_shipping_from: Some(5_000), vat_basis_points: 1_000 };
    shop.command(order::Command::SetTerms { terms, by: operator() });
    price(shop, 1_000);
    let points = Currency::new("PTS").expect("valid");
    for m in 1..5 {
        let side = |id: String, rule| Side {
            account: AccountId::new(id).expect("valid"),
            open_if_missing: Some((points, rule)),
        };
        let credit = side(format!("points:{}", member(m)), Rule::DebitsWithinCredits);
        let post = NewTransfer::Post {
            debit: side("shop:points".into(), Rule::Free),
            credit,
            amount: 3_000,
            refundable: false,
        };
        let reference = Reference::new("welcome").expect("valid");
        shop.command(pay::Command::Transfer { transfers: Transfers::one(post), reference, by: operator() });
    }
}

fn price(shop: &mut Shop, minor: i64) {
    let price = |times: i64| Money { minor: minor * times, currency: Currency::new("KRW").expect("valid") };
    let part = |s: u8, quantity| Part { sku: sku(s), quantity };
    let product = |id: &str, times, parts| Product {
        id: ProductId::new(id).expect("valid"),
        price: price(times),
        vat_basis_points: 1_000,
        parts,
        on_sale: true,
    };
    let products = vec![
        product("mug", 1, vec![part(0, 1)]),
        product("pen", 2, vec![part(1, 1)]),
        product("set", 7, vec![part(0, 2), part(1, 1)]),
    ];
    shop.command(order::Command::SetProducts { products, by: operator() });
}

fn reason(text: &str) -> Reason {
    Reason::new(text).expect("valid")
}

fn do_one(shop: &mut Shop, deed: &Deed) {
    match deed {
        Deed::Coupon(op) => shop.op(op),
        Deed::Pass(ms) => shop.op(&Op::Pass(*ms)),
        Deed::NextBlock => _ = shop.end_block(),
        Deed::Start(..) | Deed::Answer { .. } | Deed::Cancel(_) | Deed::Resume(..) => do_saga(shop, deed),
        Deed::Price(_) | Deed::Place { .. } | Deed::CancelOrder(_) | Deed::ReturnOrder(..) => {
            do_order(shop, deed);
        }
        Deed::Post(..)
        | Deed::Hold(..)
        | Deed::Capture(..)
        | Deed::Void(_)
        | Deed::Refund(..)
        | Deed::Reverse(_)
        | Deed::Linked(_) => do_pay(shop, deed),
        _ => do_stock(shop, deed),
    }
}

fn do_stock(shop: &mut Shop, deed: &Deed) {
    use stock::Command;
    let by = operator();
    let line = |s: u8, quantity| Line { sku: sku(s), location: None, quantity };
    let now = shop.now;
    // Every fourth time any reservation, else one of which this can be asked.
    let pick = |r: u64, state| {
        let of_state = shop.state.stock().reservations().filter(|view| view.state == state);
        let fit: Vec<_> = of_state.map(|view| view.reservation).collect();
        match fit.len() {
            0 => ReservationNo::new(r),
            _ if r.is_multiple_of(4) => ReservationNo::new(r),
            count => fit[r as usize % count],
        }
    };
    let (held, sold) = (|r| pick(r, ReservationState::Held), |r| pick(r, ReservationState::Committed));
    let command = match *deed {
        Deed::Count(s, l, on_hand) => Command::SetStock {
            sku: sku(s),
            location: location(l),
            on_hand,
            by,
            reason: reason("count \"1\""),
        },
        Deed::Receive(s, l, quantity) => {
            Command::Receive { sku: sku(s), location: location(l), quantity, by, reason: reason("") }
        }
        Deed::Adjust(s, l, by_quantity) => {
            let reason = reason("broken");
            Command::Adjust { sku: sku(s), location: location(l), by_quantity, by, reason }
        }
        Deed::Configure(s, l, safety, most, later, limit) => {
            let change = Configuration {
                safety: Some(safety),
                backorder_max: Some(most),
                preorder_max: Some(most / 2),
                released_at: later.then(|| Some(Timestamp::from_millis(now + 60_000))),
                per_member: (limit > 6).then(|| Some(u32::from(limit)).filter(|limit| *limit > 8)),
            };
            Command::Configure { sku: sku(s), location: location(l), change, by }
        }
        Deed::Import(s, on_hand) => {
            let row = |i: u8| ImportRow {
                sku: sku((s + i) % 9),
                location: location(i % 3),
                on_hand: on_hand + u32::from(i),
            };
            Command::ImportStock { rows: (0..5).map(row).collect(), by }
        }
        Deed::Reserve(ref lines, m, seconds) => Command::Reserve {
            lines: Lines::new(lines.iter().map(|(s, quantity)| line(*s, *quantity)).collect())
                .expect("valid"),
            member: (m > 0).then(|| member(u32::from(m))),
            order: (m > 2).then(|| OrderId::new(format!("o-{m}")).expect("valid")),
            holder: banyan_domain::Holder::Shop,
            hold_for: Millis::from_seconds(u64::from(seconds)),
        },
        Deed::Commit(r) => Command::CommitReservation { reservation: held(r) },
        Deed::Release(r) => Command::ReleaseReservation { reservation: held(r) },
        Deed::Return(r, s, quantity) => Command::Return {
            reservation: sold(r),
            lines: Lines::new(vec![line(s, quantity)]).expect("valid"),
            by,
            reason: reason("too small"),
        },
        ref other => panic!("{other:?} is nothing of stock"),
    };
    shop.command(command);
}

fn do_pay(shop: &mut Shop, deed: &Deed) {
    let post = |debit, credit, amount, refundable| NewTransfer::Post {
        debit: side(debit),
        credit: side(credit),
        amount,
        refundable,
    };
    // Every fourth time any transfer, else one of which this can be asked.
    let (ledger, now) = (shop.state.ledger(), shop.state.time());
    let numbers = || (1..=ledger.transfers_ever()).map(TransferNo::new);
    let pick = |t: u64, fit: Vec<TransferNo>| match fit.len() {
        0 => TransferNo::new(t),
        _ if t.is_multiple_of(4) => TransferNo::new(t),
        count => fit[t as usize % count],
    };
    let held = |t| pick(t, numbers().filter(|no| ledger.hold(*no).is_some()).collect());
    let posted = |t| pick(t, numbers().filter(|no| ledger.refundable(now, *no).is_some()).collect());
    let transfers = match *deed {
        Deed::Post(debit, credit, amount, refundable) => vec![post(debit, credit, amount, refundable)],
        Deed::Hold(debit, credit, amount, seconds) => {
            let hold_for = Millis::from_seconds(u64::from(seconds));
            vec![NewTransfer::Hold { debit: side(debit), credit: side(credit), amount, hold_for }]
        }
        Deed::Capture(t, amount, last) => vec![NewTransfer::Capture { pending: held(t), amount, last }],
        Deed::Void(t) => vec![NewTransfer::Void { pending: held(t) }],
        Deed::Refund(t, amount) => vec![NewTransfer::Refund { of: posted(t), amount }],
        Deed::Reverse(t) => vec![NewTransfer::Reverse { of: posted(t) }],
        // One that is refunded in the group that makes it, and one back and forth.
        Deed::Linked(amount) => {
            let next = ledger.transfers_ever() + 1;
            vec![
                post(0, 1, amount, true),
                NewTransfer::Refund { of: TransferNo::new(next), amount: 1 },
                post(1, 0, amount, false),
            ]
        }
        ref other => panic!("{other:?} is nothing of the ledger"),
    };
    shop.command(pay::Command::Transfer {
        transfers: Transfers::new(transfers).expect("not too many"),
        reference: Reference::new(format!("ref-{}", shop.now % 3)).expect("valid"),
        by: operator(),
    });
}

fn do_saga(shop: &mut Shop, deed: &Deed) {
    use saga::Command;
    match *deed {
        Deed::Start(key, s, amount) => {
            let code = CodeKey::new(&StoreSecret::new(SECRET).keys());
            let code = shop.issued.first().map_or(String::new(), |issued| code.code(issued.0).to_string());
            let mut input = Fields::new();
            input.insert("lines", format!("sku-{s}*2"));
            input.insert("amount", amount.to_string());
            input.insert("note", format!("{code} \"so\" \\ \u{1} 반얀"));
            if key % 2 == 0 {
                input.insert("delivery", "yes");
            }
            let name = SagaName::new("checkout").expect("valid");
            let key = SagaKey::new(format!("order-{key}")).expect("valid");
            shop.command(Command::Start { name, key, input });
            if amount == 7 {
                let version = shop.state.sagas().definitions().count() as u32;
                shop.command(Command::Define { definition: Box::new(checkout(version)), by: operator() });
            }
        }
        Deed::Answer { .. } if shop.asked.is_empty() => {}
        Deed::Answer { which, keep, how } => {
            // Mostly one of the last: what was asked long ago is answered or given up.
            let at = shop.asked.len() - 1 - which % shop.asked.len().min(6);
            let open = if keep { shop.asked[at] } else { shop.asked.remove(at) };
            let said = || [("payment", format!("p-{}", open.saga.get()))].into_iter().collect();
            let result = match (open.ask, how % 8) {
                (Ask::Query, 0 | 6) => Settlement::Absent,
                (_, 0..=3) => Settlement::Done(said()),
                (_, 4) => Settlement::Refused("declined".into()),
                (_, 5) => Settlement::Unknown("time-out".into()),
                (_, 6) => Settlement::NotSent("down".into()),
                _ => Settlement::Awaiting(said(), Timestamp::from_millis(shop.now + 90_000)),
            };
            let (saga, step, ask, attempt) = (open.saga, open.step, open.ask, open.attempt);
            shop.command(Command::Settle { saga, step, ask, attempt, result });
        }
        Deed::Cancel(no) => {
            let (saga, by) = (SagaNo::new(no), operator());
            shop.command(Command::Cancel { saga, by, reason: reason("changed their mind") });
        }
        Deed::Resume(no, how) => {
            let how = match how % 3 {
                0 => Resume::Retry,
                1 => Resume::Skip(Fields::from_iter([("by", "hand")])),
                _ => Resume::Undo,
            };
            let (saga, by) = (SagaNo::new(no), operator());
            let mark = shop.state.sagas().saga(saga).map_or(0, banyan_domain::saga::Saga::mark);
            shop.command(Command::Resume { saga, mark, how, by, reason: reason("by hand") });
        }
        ref other => panic!("{other:?} is nothing of sagas"),
    }
}

fn do_order(shop: &mut Shop, deed: &Deed) {
    let product = |p: u8| ProductId::new(["mug", "pen", "set"][usize::from(p)]).expect("valid");
    let orders = shop.state.orders().placed();
    // One of the last few.
    let no = |o: u64| OrderNo::new(orders.saturating_sub(o % 6));
    match *deed {
        Deed::Price(minor) => price(shop, minor),
        Deed::Place { m, ref lines, coupon, points } => {
            let line = |&(p, quantity): &(u8, u32)| CartLine { product: product(p), quantity };
            let member = member(m);
            let own = shop.issued.iter().rev().find(|issued| coupon && issued.1 == member);
            let coupon = own.map(|issued| issued.0);
            let cart = Cart { lines: lines.iter().map(line).collect(), member, coupon, points };
            let (method, return_url) = ("tok_ok".into(), "".into());
            let cart = Box::new(cart);
            shop.command(order::Command::Place { cart, method, return_url, expect_total: None });
        }
        Deed::CancelOrder(o) => {
            let reason = reason("changed their mind");
            shop.command(order::Command::Cancel { order: no(o), owner: None, by: operator(), reason });
        }
        Deed::ReturnOrder(o, p) => {
            let lines = vec![CartLine { product: product(p), quantity: 1 }];
            let reason = reason("too small");
            shop.command(order::Command::Return { order: no(o), lines, by: operator(), reason });
        }
        ref other => panic!("{other:?} is nothing of orders"),
    }
}
