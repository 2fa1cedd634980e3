//! What things come to: sums that must agree to the last unit, whatever the numbers.

use super::{krw, line, no, orders, paid, part, placed, product};
use crate::order::{CartLine, Event, Order, Product, Quote, Reduction, RefundState, Refusal, Terms, spread};
use crate::{Money, Timestamp, limits};
use proptest::prelude::*;

fn priced(id: usize, price: i64, vat_basis_points: u16) -> Product {
    let id = format!("p{id}");
    let price = Money { minor: price, currency: krw() };
    Product { id: product(&id), price, vat_basis_points, parts: vec![part(&id, 1)], on_sale: true }
}

fn reduction() -> impl Strategy<Value = Reduction> {
    prop_oneof![
        Just(Reduction::None),
        Just(Reduction::Shipping),
        (0_i64..200_000).prop_map(Reduction::Amount),
        (1_u16..=10_000, proptest::option::of(0_i64..50_000))
            .prop_map(|(share, cap)| Reduction::Percent(share, cap)),
    ]
}

proptest! {
    #[test]
    fn shares_add_up_and_are_fair(whole in 0_i64..1_000_000_000, weights in proptest::collection::vec(0_i64..1_000_000_000, 1..20)) {
        let sum: i64 = weights.iter().sum();
        prop_assume!(sum > 0);
        let whole = whole.min(sum);
        let shares = spread(whole, &weights);
        prop_assert_eq!(shares.iter().sum::<i64>(), whole);
        for (share, weight) in shares.iter().zip(&weights) {
            let exact = i128::from(whole) * i128::from(*weight);
            let (low, high) = (exact / i128::from(sum), exact / i128::from(sum) + 1);
            prop_assert!((low..=high).contains(&i128::from(*share)), "{share} of {weight}");
            prop_assert!(share <= weight);
        }
    }

    #[test]
    fn a_quote_adds_up(
        lines in proptest::collection::vec((0_i64..3_000_000, 1_u32..50, 0_u16..2_500), 1..12),
        reduction in reduction(),
        points in 0_i64..500_000,
        shipping_fee in 0_i64..10_000,
        free_shipping_from in proptest::option::of(0_i64..500_000),
    ) {
        let products: Vec<Product> = lines.iter().enumerate().map(|(n, (price, _, vat))| priced(n, *price, *vat)).collect();
        let cart: Vec<CartLine> = lines.iter().zip(&products)
            .map(|((_, quantity, _), product)| CartLine { product: product.id.clone(), quantity: *quantity }).collect();
        let terms = Terms { currency: krw(), shipping_fee, free_shipping_from, vat_basis_points: 1_000 };
        let pairs: Vec<(&CartLine, &Product)> = cart.iter().zip(&products).collect();
        let quote = Quote::of(&pairs, &terms, reduction, points).expect("it can be counted");
        // The rules as one would say them, without shares.
        let goods: i64 = lines.iter().map(|(price, quantity, _)| price * i64::from(*quantity)).sum();
        let discount = match reduction {
            Reduction::None | Reduction::Shipping => 0,
            Reduction::Amount(amount) => amount.min(goods),
            Reduction::Percent(share, cap) => (goods * i64::from(share) / 10_000).min(cap.unwrap_or(i64::MAX)),
        };
        let free = reduction == Reduction::Shipping || free_shipping_from.is_some_and(|from| goods - discount >= from);
        let shipping = if free { 0 } else { shipping_fee };
        let points = points.min(goods - discount + shipping);
        prop_assert_eq!((quote.goods(), quote.discount(), quote.shipping, quote.points()), (goods, discount, shipping, points));
        prop_assert_eq!(quote.total(), goods - discount + shipping - points);
        for (line, (price, quantity, vat)) in quote.lines.iter().zip(&lines) {
            prop_assert!(line.discount >= 0 && line.points >= 0 && line.paid() >= 0);
            // The tax within half a unit of what a calculator says.
            let base = (price * i64::from(*quantity) - line.discount) as f64;
            let rate = f64::from(*vat) / 10_000.0;
            prop_assert!((line.vat as f64 - base * rate / (1.0 + rate)).abs() <= 0.5 + 1e-6, "{line:?}");
        }
    }

    /// However returns are cut, together they give back what the lines cost; a cancellation then gives back the rest.
    #[test]
    fn returns_add_up(
        lines in proptest::collection::vec((1_i64..100_000, 1_u32..20, 0_i64..100, 0_i64..100), 1..6),
        cuts in proptest::collection::vec((0_usize..6, 1_u32..8), 0..40),
        shipping in 0_i64..5_000,
    ) {
        let lines: Vec<_> = lines.iter().enumerate().map(|(n, (price, quantity, off, points))| {
            let gross = price * i64::from(*quantity);
            let discount = gross * off / 200;
            line(&format!("p{n}"), *quantity, *price, discount, (gross - discount) * points / 200)
        }).collect();
        let money = lines.iter().map(crate::order::OrderLine::paid).sum::<i64>() + shipping > 0;
        let with_points = lines.iter().any(|line| line.points > 0);
        let mut all = orders(&[placed(1, lines.clone(), shipping, 0), paid(1, money, with_points)]);
        let mut refunds = 0;
        for (which, quantity) in cuts {
            let order = all.order(no(1)).expect("it is there");
            let want = [CartLine { product: product(&format!("p{}", which % lines.len())), quantity }];
            let left = order.lines[which % lines.len()].quantity - order.returned(which % lines.len());
            let Ok((back, amount, points)) = order.plan_return(&want) else {
                prop_assert!(quantity > left);
                continue;
            };
            prop_assert!(quantity <= left);
            refunds += 1;
            give_back(&mut all, refunds, false, back, amount, points);
        }
        let order = all.order(no(1)).expect("it is there");
        for (at, line) in order.lines.iter().enumerate().filter(|(at, line)| order.returned(*at) == line.quantity) {
            let of_line: i64 = returned_money(order, at);
            prop_assert_eq!(of_line, line.paid(), "line {} came back whole", at);
        }
        let (back, amount, points) = order.everything_left();
        give_back(&mut all, refunds + 1, true, back, amount, points);
        let order = all.order(no(1)).expect("it is there");
        prop_assert_eq!((order.refunded(), order.refunded_points()), (order.total(), order.points()));
        prop_assert_eq!(order.state.as_str(), "cancelled");
    }
}

/// The money that came back for one line, if every refund so far was of one line.
fn returned_money(order: &Order, line: usize) -> i64 {
    let of_line =
        |refund: &&crate::order::Refund| refund.lines.iter().any(|part| usize::from(part.line) == line);
    let done = order.refunds.iter().filter(|refund| refund.state == RefundState::Done);
    done.filter(of_line).map(|refund| refund.amount).sum()
}

fn give_back(
    all: &mut crate::order::Orders,
    refund: u32,
    cancel: bool,
    lines: Vec<crate::order::RefundLine>,
    amount: i64,
    points: i64,
) {
    let (by, reason, saga) = (super::by(), super::reason(), crate::SagaNo::new(9));
    let begun = Event::RefundBegun { order: no(1), refund, cancel, lines, amount, points, by, reason, saga };
    for event in [begun, Event::RefundDone { order: no(1), refund }] {
        all.apply(Timestamp::from_millis(2_000), &event).unwrap_or_else(|why| panic!("{event:?}: {why}"));
        all.check_invariants().unwrap_or_else(|why| panic!("{why}"));
    }
}

#[test]
fn largest_remainders_go_first_and_then_the_earlier() {
    assert_eq!(spread(100, &[1, 1, 1]), [34, 33, 33]);
    assert_eq!(spread(5, &[1, 3, 3]), [1, 2, 2]);
    assert_eq!(spread(1, &[0, 1]), [0, 1]);
    assert_eq!(spread(0, &[0, 0]), [0, 0]);
}

#[test]
fn two_lines_of_one_product_give_back_the_first_line_first() {
    let all = orders(&[
        placed(1, vec![line("a", 2, 100, 0, 0), line("a", 3, 90, 0, 0)], 0, 0),
        paid(1, true, false),
    ]);
    let order = all.order(no(1)).expect("it is there");
    let want = |quantity| [CartLine { product: product("a"), quantity }];
    let (lines, amount, _) = order.plan_return(&want(3)).expect("there are five");
    assert_eq!((lines.len(), amount), (2, 290));
    assert_eq!(order.plan_return(&want(6)), Err(Refusal::ReturnExceedsOrder));
    // The same product in two lines of the return counts together.
    let twice = [want(3), want(3)].concat();
    assert_eq!(order.plan_return(&twice), Err(Refusal::ReturnExceedsOrder));
}

#[test]
fn an_order_too_large_to_count_is_refused() {
    let product = priced(1, limits::PRICE_MAX, 0);
    let line = CartLine { product: product.id.clone(), quantity: limits::LINE_QUANTITY_MAX };
    let terms = Terms { currency: krw(), shipping_fee: 0, free_shipping_from: None, vat_basis_points: 0 };
    assert_eq!(Quote::of(&[(&line, &product)], &terms, Reduction::None, 0), Err(Refusal::OrderTooLarge));
}
