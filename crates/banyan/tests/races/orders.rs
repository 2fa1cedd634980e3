//! Attacks on orders: the whole checkout, with the simulated payment company beside the server.

use crate::shop::{Ask, CLIENTS, Shop, split};
use crate::support::{Reply, until};
use serde_json::{Value, json};

/// Rounds of each race, on fresh goods and orders: a race is won by chance.
const ROUNDS: usize = 3;

/// A shop with terms, where a unit of anything costs 10,000 won and shipping nothing.
fn open() -> Shop {
    let shop = Shop::with_company();
    shop.put("/v1/terms", &json!({"currency": "KRW"}));
    shop
}

/// A product of one SKU of its own name, with so many units.
fn product(shop: &Shop, name: &str, units: u32) {
    shop.count(name, units, &Value::Null);
    made_of(shop, name, &[(name, 1)]);
}

fn made_of(shop: &Shop, name: &str, parts: &[(&str, u32)]) {
    let parts: Vec<Value> =
        parts.iter().map(|(sku, quantity)| json!({"sku": sku, "quantity": quantity})).collect();
    let body = json!({"price": {"minor": 10_000, "currency": "KRW"}, "parts": parts});
    shop.put(&format!("/v1/products/{name}"), &body);
}

fn cart(member: &str, lines: &[(&str, u32)], more: &Value) -> Value {
    let lines: Vec<Value> =
        lines.iter().map(|(product, quantity)| json!({"product": product, "quantity": quantity})).collect();
    let mut cart = json!({"member": member, "lines": lines, "method": "tok_ok"});
    for (name, value) in more.as_object().into_iter().flatten() {
        cart[name] = value.clone();
    }
    cart
}

fn place(key: &str, cart: Value) -> Ask {
    Ask::post("/v1/orders", cart).key(key)
}

fn cancel(order: &str) -> Ask {
    Ask::post(format!("/v1/orders/{order}/cancel"), json!({"reason": "changed my mind"}))
}

fn give_back(key: &str, order: &str, product: &str, quantity: u32) -> Ask {
    let lines = json!([{"product": product, "quantity": quantity}]);
    Ask::post(format!("/v1/orders/{order}/returns"), json!({"lines": lines, "reason": "too small"})).key(key)
}

fn order(shop: &Shop, order: &str) -> Value {
    shop.get(&format!("/v1/orders/{order}"))
}

/// Waits until an order is one of `states`.
#[track_caller]
fn ended(shop: &Shop, name: &str, states: &[&str]) -> Value {
    until(&format!("{name} is {states:?}"), || {
        let seen = order(shop, name);
        let state = seen["state"].as_str().expect("a state");
        let is_over = states.contains(&state);
        assert!(is_over || state == "placed" || state == "paid", "{name} is not {states:?}: {seen}");
        is_over.then_some(seen)
    })
}

/// The orders that were answered.
fn names(replies: &[Reply]) -> Vec<String> {
    let mut names: Vec<String> = replies
        .iter()
        .filter(|reply| reply.status < 300)
        .map(|reply| reply.json()["order"].as_str().expect("a name").to_owned())
        .collect();
    names.sort();
    names.dedup();
    names
}

/// What the company took and gave back in all, over payments that belong to one order each.
#[track_caller]
fn money(shop: &Shop) -> (i64, i64) {
    let payments = shop.payments();
    let mut orders: Vec<&str> =
        payments.iter().map(|payment| payment["order"].as_str().expect("an order")).collect();
    orders.sort_unstable();
    let all = orders.len();
    orders.dedup();
    assert_eq!(orders.len(), all, "one payment for one order");
    let sum = |name: &str| payments.iter().map(|payment| payment[name].as_i64().expect("a number")).sum();
    (sum("captured"), sum("refunded"))
}

/// One shopper presses "pay" fifty times.
#[test]
fn double_click_on_place_is_one_order() {
    let shop = open();
    product(&shop, "mug", 10);
    let replies = shop.race(CLIENTS, |_| place("click", cart("m1", &[("mug", 2)], &Value::Null)));
    assert_eq!(split(&replies), (CLIENTS, vec![]));
    assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), 1);
    assert_eq!(names(&replies), ["o-1"]);
    ended(&shop, "o-1", &["paid"]);
    assert_eq!((shop.level("mug"), money(&shop)), ([8, 0, 8], (20_000, 0)));
    shop.close();
}

/// Many carts for the last unit: one is paid, nobody else is charged.
#[test]
fn carts_for_the_last_unit() {
    let shop = open();
    for round in 1..=ROUNDS {
        let last = format!("last-{round}");
        product(&shop, &last, 1);
        let replies = shop.race(CLIENTS, |client| {
            place(&format!("{round}-{client}"), cart(&format!("m{client}"), &[(&last, 1)], &Value::Null))
        });
        assert_eq!(split(&replies), (1, vec!["out-of-stock".to_owned()]));
        ended(&shop, &names(&replies)[0], &["paid"]);
        assert_eq!(shop.level(&last), [0, 0, 0]);
        assert_eq!(money(&shop), (10_000 * round as i64, 0));
    }
    shop.close();
}

/// One code in many carts, by card and by card page, at once.
#[test]
fn one_coupon_in_many_carts() {
    let shop = open();
    product(&shop, "mug", 1_000);
    for round in 0..ROUNDS {
        let code = shop.coupon(&format!("c{round}"), "m1", &Value::Null);
        let replies = shop.race(CLIENTS, |client| {
            place(&format!("{round}-{client}"), cart("m1", &[("mug", 1)], &json!({"coupon": code})))
        });
        let (won, why) = split(&replies);
        assert_eq!(won, 1, "{why:?}");
        assert!(why.iter().all(|why| why == "coupon-held" || why == "coupon-redeemed"), "{why:?}");
        let paid = ended(&shop, &names(&replies)[0], &["paid"]);
        assert_eq!((&paid["discount"], &paid["total"]), (&json!(5_000), &json!(5_000)));
        let seen = shop.get(&format!("/v1/campaigns/c{round}"));
        assert_eq!((&seen["held"], &seen["redeemed"]), (&json!(0), &json!(1)));
    }
    assert_eq!(money(&shop), (5_000 * ROUNDS as i64, 0));
    shop.close();
}

/// A bundle and what it is made of, in one cart and in many: goods are counted, not products.
#[test]
fn bundle_sharing_a_sku() {
    let shop = open();
    product(&shop, "mug", 7);
    shop.count("plate", 100, &Value::Null);
    made_of(&shop, "set", &[("mug", 2), ("plate", 1)]);
    // Three sets and two mugs are eight mugs.
    let greedy = cart("m0", &[("set", 3), ("mug", 2)], &Value::Null);
    assert_eq!(split(&shop.race(1, |_| place("greedy", greedy.clone()))), (0, vec!["out-of-stock".into()]));
    let replies = shop.race(CLIENTS, |client| {
        let lines = if client % 2 == 0 { ("set", 1) } else { ("mug", 2) };
        place(&format!("k{client}"), cart(&format!("m{client}"), &[lines], &Value::Null))
    });
    // Every cart takes two mugs of seven.
    assert_eq!(split(&replies), (3, vec!["out-of-stock".to_owned()]));
    let all = names(&replies);
    all.iter().for_each(|name| drop(ended(&shop, name, &["paid"])));
    let sets = all.iter().filter(|name| order(&shop, name)["lines"][0]["product"] == "set").count() as u64;
    assert_eq!((shop.level("mug"), shop.level("plate")), ([1, 0, 1], [100 - sets, 0, 100 - sets]));
    shop.close();
}

/// Two lines of one product in one cart, in many carts: both lines count against the stock and the member's limit.
#[test]
fn two_lines_of_one_product_in_one_cart() {
    let shop = open();
    product(&shop, "mug", 9);
    let lines = [("mug", 1), ("mug", 1)];
    let replies = shop.race(CLIENTS, |client| {
        place(&format!("k{client}"), cart(&format!("m{client}"), &lines, &Value::Null))
    });
    assert_eq!(split(&replies), (4, vec!["out-of-stock".to_owned()]));
    names(&replies).iter().for_each(|name| drop(ended(&shop, name, &["paid"])));
    assert_eq!((shop.level("mug"), money(&shop)), ([1, 0, 1], (80_000, 0)));
    product(&shop, "rare", 100);
    shop.count("rare", 100, &json!({"per_member": 3}));
    let replies = shop.race(CLIENTS, |client| {
        place(&format!("r{client}"), cart("m1", &[("rare", 1), ("rare", 1)], &Value::Null))
    });
    assert_eq!(split(&replies), (1, vec!["purchase-limit".to_owned()]));
    ended(&shop, &names(&replies)[0], &["paid"]);
    assert_eq!(shop.level("rare"), [98, 0, 98]);
    shop.close();
}

/// One member's points in many carts at once.
#[test]
fn points_spent_twice_in_parallel() {
    let shop = open();
    product(&shop, "mug", 1_000);
    shop.points("points:m1", 10_000);
    let replies = shop.race(CLIENTS, |client| {
        place(&format!("k{client}"), cart("m1", &[("mug", 1)], &json!({"points": 3_000})))
    });
    assert_eq!(split(&replies), (3, vec!["insufficient-funds".to_owned()]));
    for name in names(&replies) {
        assert_eq!(ended(&shop, &name, &["paid"])["total"], 7_000);
    }
    assert_eq!((shop.balance("points:m1"), money(&shop)), ((1_000, 0), (21_000, 0)));
    shop.close();
}

/// Orders are cancelled while they are being paid: each ends either way, and what was taken was given back.
#[test]
fn cancel_against_pay() {
    let shop = open();
    shop.points("points:m1", 100_000);
    for round in 0..ROUNDS {
        let name = format!("mug-{round}");
        product(&shop, &name, 20);
        let code = shop.coupon(&format!("c{round}"), "m1", &Value::Null);
        let more = json!({"coupon": code, "points": 500});
        let placed = shop.ask(&place(&format!("k{round}"), cart("m1", &[(&name, 2)], &more)));
        let no = placed["order"].as_str().expect("a name").to_owned();
        let (won, why) = split(&shop.race(CLIENTS, |_| cancel(&no)));
        assert!(why.iter().all(|why| why == "order-settling"), "{why:?}");
        if won == 0 {
            // The company was being asked for the money all the while: cancelled once that is settled.
            ended(&shop, &no, &["paid"]);
            shop.ask(&cancel(&no));
        }
        ended(&shop, &no, &["cancelled"]);
        assert_eq!((shop.level(&name), shop.balance("points:m1")), ([20, 0, 20], (100_000, 0)));
        let seen = shop.get(&format!("/v1/campaigns/c{round}"));
        let used = (&seen["held"], &seen["redeemed"]);
        assert_eq!(used, (&json!(0), &json!(0)), "an order that is gone has no coupon: {seen}");
    }
    until("the company has given back what it took", || {
        let (captured, refunded) = money(&shop);
        (captured == refunded).then_some(())
    });
    let over = ["voided", "refunded"];
    assert!(shop.payments().iter().all(|payment| over.iter().any(|status| payment["status"] == *status)));
    shop.close();
}

/// Support and shopper send the same goods back at once, and cancel as well: no more comes back than was paid.
#[test]
fn double_refund() {
    let shop = open();
    product(&shop, "mug", 10);
    let bought = |key: &str| {
        let placed = shop.ask(&place(key, cart("m1", &[("mug", 3)], &Value::Null)));
        let no = placed["order"].as_str().expect("a name").to_owned();
        ended(&shop, &no, &["paid"]);
        no
    };
    let (returned, cancelled) = (bought("k1"), bought("k2"));
    // Two of three come back: a second return finds one under way, or too few left.
    let replies = shop.race(CLIENTS, |client| give_back(&format!("r{client}"), &returned, "mug", 2));
    let (won, why) = split(&replies);
    assert_eq!(won, 1, "{why:?}");
    assert!(why.iter().all(|why| why == "refund-under-way" || why == "return-exceeds-order"), "{why:?}");
    until("the return is done", || (order(&shop, &returned)["refunds"][0]["state"] == "done").then_some(()));
    assert_eq!((shop.level("mug"), money(&shop)), ([6, 0, 6], (60_000, 20_000)));
    let replies = shop.race(CLIENTS, |client| {
        if client % 2 == 0 {
            cancel(&cancelled)
        } else {
            give_back(&format!("c{client}"), &cancelled, "mug", 3)
        }
    });
    let (_, why) = split(&replies);
    let fine = ["refund-under-way", "return-exceeds-order", "order-ended"];
    assert!(why.iter().all(|why| fine.contains(&why.as_str())), "{why:?}");
    let seen = until("everything is back", || {
        let seen = order(&shop, &cancelled);
        let refunds = seen["refunds"].as_array().expect("refunds");
        let done = !refunds.is_empty() && refunds.iter().all(|refund| refund["state"] == "done");
        done.then_some(seen)
    });
    assert_eq!(seen["refunded"], 30_000);
    assert_eq!((shop.level("mug"), money(&shop)), ([9, 0, 9], (60_000, 50_000)));
    shop.close();
}

/// A refund is asked for while the money is being taken: nothing is given back that was not taken.
#[test]
fn refund_against_capture() {
    let shop = open();
    product(&shop, "mug", 100);
    for round in 0..ROUNDS {
        let placed = shop.ask(&place(&format!("k{round}"), cart("m1", &[("mug", 2)], &Value::Null)));
        let no = placed["order"].as_str().expect("a name").to_owned();
        let replies = shop.race(CLIENTS, |client| give_back(&format!("{round}-{client}"), &no, "mug", 1));
        let (won, why) = split(&replies);
        assert!(won <= 2, "two were bought: {won}");
        let fine = ["order-not-paid", "refund-under-way", "return-exceeds-order"];
        assert!(why.iter().all(|why| fine.contains(&why.as_str())), "{why:?}");
        ended(&shop, &no, &["paid"]);
        let seen = until("what was begun is done", || {
            let seen = order(&shop, &no);
            let refunds = seen["refunds"].as_array().expect("refunds");
            refunds.iter().all(|refund| refund["state"] == "done").then_some(seen)
        });
        assert_eq!(seen["refunds"].as_array().map(Vec::len), Some(won));
        assert_eq!(seen["refunded"], 10_000 * won as i64);
    }
    let (captured, refunded) = money(&shop);
    let [on_hand, held, _] = shop.level("mug");
    assert_eq!((captured, held), (20_000 * ROUNDS as i64, 0));
    assert_eq!(on_hand as i64, 100 - 2 * ROUNDS as i64 + refunded / 10_000);
    shop.close();
}

/// The coupon runs out while the shopper is at the card page: it was held for the order, and the order is paid with it. One
/// that was not held is gone.
#[test]
fn pay_with_a_coupon_that_expires_in_between() {
    let shop = open();
    product(&shop, "mug", 10);
    let held = shop.coupon("short", "m1", &json!({"valid_for_seconds": 3}));
    let free = shop.another_coupon("short", "m1");
    let page = json!({"coupon": held, "method": "page"});
    let placed = shop.ask(&place("k1", cart("m1", &[("mug", 1)], &page)));
    let no = placed["order"].as_str().expect("a name").to_owned();
    let redirect = until("the shopper is sent to the card page", || {
        order(&shop, &no)["waits_for"]["redirect"].as_str().map(str::to_owned)
    });
    until("the free coupon has run out", || (shop.coupon_state("m1", &free) == "expired").then_some(()));
    let late = cart("m1", &[("mug", 1)], &json!({"coupon": free}));
    let replies = shop.race(CLIENTS, |client| place(&format!("late-{client}"), late.clone()));
    assert_eq!(split(&replies), (0, vec!["coupon-expired".to_owned()]));
    shop.pay_at(&redirect);
    let paid = ended(&shop, &no, &["paid"]);
    assert_eq!((&paid["discount"], &paid["total"]), (&json!(5_000), &json!(5_000)));
    assert_eq!(shop.coupon_state("m1", &held), "redeemed");
    assert_eq!((shop.level("mug"), money(&shop)), ([9, 0, 9], (5_000, 0)));
    shop.close();
}
