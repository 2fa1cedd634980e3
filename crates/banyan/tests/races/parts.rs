//! Attacks on coupons, stock and the ledger, each alone: what an order is made of.

use crate::shop::{Ask, CLIENTS, Shop, split, transfers};
use crate::support::until;
use serde_json::{Value, json};

/// Rounds of each race, on a fresh coupon, SKU or account: a race is won by chance.
const ROUNDS: usize = 4;

fn coupon(code: &str, verb: &str, order: &str) -> Ask {
    let mut body = json!({"order": order});
    if verb == "hold" {
        body["for_seconds"] = json!(600);
    }
    Ask::post(format!("/v1/coupons/{code}/{verb}"), body)
}

fn reserve(key: &str, member: &str, lines: &[(&str, u32)]) -> Ask {
    let lines: Vec<Value> =
        lines.iter().map(|(sku, quantity)| json!({"sku": sku, "quantity": quantity})).collect();
    Ask::post("/v1/stock/reservations", json!({"lines": lines, "member": member})).key(key)
}

fn of(kind: &str, transfer: &str, amount: i64) -> Value {
    match kind {
        "capture" => json!({"kind": kind, "of": transfer, "amount": amount, "last": true}),
        "refund" => json!({"kind": kind, "of": transfer, "amount": amount}),
        _ => json!({"kind": kind, "of": transfer}),
    }
}

/// One code is shared on a forum, and many orders use it in the same second.
#[test]
fn parallel_use_of_one_coupon_code() {
    let shop = Shop::start();
    for round in 0..ROUNDS {
        let code = shop.coupon(&format!("c{round}"), "m1", &Value::Null);
        let replies = shop.race(CLIENTS, |client| {
            coupon(&code, ["redeem", "hold"][client % 2], &format!("o-{round}-{client}"))
        });
        let (won, why) = split(&replies);
        assert_eq!(won, 1, "one order has it: {why:?}");
        assert!(why.iter().all(|why| why == "coupon-redeemed" || why == "coupon-held"), "{why:?}");
        let seen = shop.get(&format!("/v1/campaigns/c{round}"));
        let used = seen["held"].as_u64().zip(seen["redeemed"].as_u64()).expect("numbers");
        assert_eq!(used.0 + used.1, 1, "{seen}");
    }
    shop.close();
}

/// The checkout gives a coupon back while its order takes it, and while a second order wants it.
#[test]
fn undo_against_take_of_a_coupon() {
    let shop = Shop::start();
    for round in 0..ROUNDS {
        let code = shop.coupon(&format!("c{round}"), "m1", &Value::Null);
        shop.ask(&coupon(&code, "hold", "o1"));
        let asks = [("release", "o1"), ("redeem", "o1"), ("redeem", "o2")];
        let replies = shop.race(CLIENTS, |client| {
            let (verb, order) = asks[client % 3];
            coupon(&code, verb, order)
        });
        let yes = |which: usize| {
            let mine = replies.iter().enumerate().filter(|(client, _)| client % 3 == which);
            mine.filter(|(_, reply)| reply.status < 300).count()
        };
        assert!(
            (yes(1) > 0) != (yes(2) > 0),
            "one order has it, whatever was given back: {:?}",
            split(&replies)
        );
        assert_eq!(shop.coupon_state("m1", &code), "redeemed");
        let loser = if yes(1) > 0 { "o2" } else { "o1" };
        let replies = shop.race(2, |_| coupon(&code, "redeem", loser));
        assert_eq!(split(&replies), (0, vec!["coupon-redeemed".to_owned()]));
    }
    shop.close();
}

/// The checkout gives stock back while its order takes it.
#[test]
fn undo_against_take_of_stock() {
    let shop = Shop::start();
    for round in 0..ROUNDS {
        let sku = format!("A{round}");
        shop.count(&sku, 5, &Value::Null);
        let held = shop.ask(&reserve(&format!("k{round}"), "m1", &[(&sku, 3)]));
        let id = held["reservation"].as_str().expect("a name");
        let replies = shop.race(CLIENTS, |client| {
            let verb = ["commit", "release"][client % 2];
            Ask::post(format!("/v1/stock/reservations/{id}/{verb}"), json!({}))
        });
        let (won, why) = split(&replies);
        assert_eq!(won, CLIENTS / 2, "one verb wins, and its repeats are told so");
        let state = shop.get(&format!("/v1/stock/reservations/{id}"))["state"].clone();
        match state.as_str() {
            Some("committed") => {
                assert_eq!((shop.level(&sku), why), ([2, 0, 2], vec!["reservation-committed".to_owned()]));
            }
            Some("released") => {
                assert_eq!((shop.level(&sku), why), ([5, 0, 5], vec!["reservation-released".to_owned()]));
            }
            other => panic!("a reservation that nobody ended: {other:?}"),
        }
    }
    shop.close();
}

/// Money on hold is given back while it is taken.
#[test]
fn undo_against_take_of_money() {
    let shop = Shop::start();
    for round in 0..ROUNDS {
        let account = format!("points:m{round}");
        shop.points(&account, 1_000);
        let hold = json!([{"kind": "hold", "debit": account, "credit": "shop:points", "amount": 700, "hold_seconds": 600}]);
        let held = shop.ask(&transfers("o1", &hold).key(format!("hold-{round}")));
        let no = held["transfers"][0].as_str().expect("a name");
        let replies = shop.race(CLIENTS, |client| {
            let kind = ["capture", "void"][client % 2];
            transfers("o1", &json!([of(kind, no, 700)])).key(format!("{round}-{client}"))
        });
        assert_eq!(split(&replies), (1, vec!["transfer-not-pending".to_owned()]));
        let captured = replies.iter().position(|reply| reply.status < 300).is_some_and(|n| n % 2 == 0);
        assert_eq!(shop.balance(&account), (if captured { 300 } else { 1_000 }, 0));
    }
    shop.close();
}

/// A cart that names one SKU twice must not be counted line by line.
#[test]
fn two_lines_of_one_sku_in_one_cart() {
    let shop = Shop::start();
    shop.count("A", 3, &Value::Null);
    let (won, why) = split(&shop.race(1, |_| reserve("k", "m1", &[("A", 2), ("A", 2)])));
    assert_eq!((won, why), (0, vec!["out-of-stock".to_owned()]));
    assert_eq!(shop.level("A"), [3, 0, 3]);

    shop.count("B", 9, &Value::Null);
    let replies = shop
        .race(CLIENTS, |client| reserve(&format!("b{client}"), &format!("m{client}"), &[("B", 1), ("B", 1)]));
    assert_eq!(split(&replies), (4, vec!["out-of-stock".to_owned()]));
    assert_eq!(shop.level("B"), [9, 8, 1]);

    // The limit per member counts both lines, over all carts of the member.
    shop.count("C", 1_000, &json!({"per_member": 3}));
    let (won, why) = split(&shop.race(1, |_| reserve("c", "m1", &[("C", 2), ("C", 2)])));
    assert_eq!((won, why), (0, vec!["purchase-limit".to_owned()]));
    let replies = shop.race(CLIENTS, |client| reserve(&format!("c{client}"), "m1", &[("C", 1), ("C", 1)]));
    assert_eq!(split(&replies), (1, vec!["purchase-limit".to_owned()]));
    assert_eq!(shop.level("C"), [1_000, 2, 998]);
    shop.close();
}

/// Two things that are the last of their kind, wanted in either order: one cart has both, no cart has one.
#[test]
fn carts_for_the_last_units_in_either_order() {
    let shop = Shop::start();
    for round in 0..ROUNDS {
        let [a, b] = [format!("A{round}"), format!("B{round}")];
        shop.count(&a, 1, &Value::Null);
        shop.count(&b, 1, &Value::Null);
        let replies = shop.race(CLIENTS, |client| {
            let lines = if client % 2 == 0 { [(&*a, 1), (&*b, 1)] } else { [(&*b, 1), (&*a, 1)] };
            reserve(&format!("{round}-{client}"), &format!("m{client}"), &lines)
        });
        assert_eq!(split(&replies), (1, vec!["out-of-stock".to_owned()]));
        assert_eq!((shop.level(&a), shop.level(&b)), ([1, 1, 0], [1, 1, 0]));
    }
    shop.close();
}

/// A double click, fifty times: one key, one reservation.
#[test]
fn double_click_under_one_key() {
    let shop = Shop::start();
    shop.count("A", 100, &Value::Null);
    let replies = shop.race(CLIENTS, |_| reserve("one-key", "m1", &[("A", 2)]));
    assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), 1);
    assert!(replies.iter().all(|reply| reply.status < 300 && reply.text() == replies[0].text()));
    assert_eq!(shop.level("A"), [100, 2, 98]);
    shop.close();
}

/// One member's points, spent by many carts in the same second.
#[test]
fn points_spent_twice_in_parallel() {
    let shop = Shop::start();
    shop.points("points:m1", 1_000);
    let replies = shop.race(CLIENTS, |client| {
        let (debit, credit) = ("points:m1", "shop:points");
        let one = if client % 2 == 0 {
            json!({"kind": "hold", "debit": debit, "credit": credit, "amount": 300, "hold_seconds": 600})
        } else {
            json!({"kind": "post", "debit": debit, "credit": credit, "amount": 300})
        };
        transfers(&format!("o{client}"), &json!([one])).key(format!("k{client}"))
    });
    assert_eq!(split(&replies), (3, vec!["insufficient-funds".to_owned()]));
    let (balance, held) = shop.balance("points:m1");
    assert_eq!(balance - held, 100);
    shop.close();
}

/// Support and shopper refund the same payment at once, whole and in parts.
#[test]
fn double_refund_of_one_payment() {
    let shop = Shop::start();
    shop.points("points:m1", 10_000);
    let post = json!([{"kind": "post", "debit": "points:m1", "credit": "shop:points", "amount": 1_000, "refundable": true}]);
    let mut paid = Vec::new();
    for n in 0..3 {
        let made = shop.ask(&transfers("o1", &post).key(format!("pay-{n}")));
        paid.push(made["transfers"][0].as_str().expect("a name").to_owned());
    }
    let whole = shop.race(CLIENTS, |client| {
        let kind = ["refund", "reverse"][client % 2];
        transfers("o1", &json!([of(kind, &paid[0], 1_000)])).key(format!("whole-{client}"))
    });
    assert_eq!(split(&whole).0, 1, "{:?}", split(&whole));
    let parts = shop.race(CLIENTS, |client| {
        transfers("o1", &json!([of("refund", &paid[1], 300)])).key(format!("part-{client}"))
    });
    assert_eq!(split(&parts), (3, vec!["refund-exceeds".to_owned()]));
    let clicks =
        shop.race(CLIENTS, |_| transfers("o1", &json!([of("refund", &paid[2], 1_000)])).key("click"));
    assert_eq!(split(&clicks), (CLIENTS, vec![]));
    // 3,000 were paid; 1,000, 900 and 1,000 came back.
    assert_eq!(shop.balance("points:m1"), (9_900, 0));
    shop.close();
}

/// What was captured first is refunded while the rest is captured, or given up.
#[test]
fn refund_against_capture() {
    let shop = Shop::start();
    for round in 0..ROUNDS {
        let account = format!("points:m{round}");
        shop.points(&account, 1_000);
        let hold = json!([{"kind": "hold", "debit": account, "credit": "shop:points", "amount": 1_000, "hold_seconds": 600}]);
        let held = shop.ask(&transfers("o1", &hold).key(format!("hold-{round}")));
        let hold = held["transfers"][0].as_str().expect("a name");
        let part = json!([{"kind": "capture", "of": hold, "amount": 400}]);
        let part = shop.ask(&transfers("o1", &part).key(format!("part-{round}")));
        let part = part["transfers"][0].as_str().expect("a name");
        let replies = shop.race(CLIENTS, |client| {
            let one = match client % 3 {
                0 => of("capture", hold, 600),
                1 => of("void", hold, 0),
                _ => of("refund", part, 400),
            };
            transfers("o1", &json!([one])).key(format!("{round}-{client}"))
        });
        let won = |which: usize| {
            let mine = replies.iter().enumerate().filter(|(client, _)| client % 3 == which);
            mine.filter(|(_, reply)| reply.status < 300).count()
        };
        assert_eq!((won(0) + won(1), won(2)), (1, 1), "{:?}", split(&replies));
        let expected = if won(0) == 1 { 400 } else { 1_000 };
        assert_eq!(shop.balance(&account), (expected, 0));
    }
    shop.close();
}

/// A coupon runs out while its order is being paid: what is held for an order stays its own, what is not is gone.
#[test]
fn pay_with_a_coupon_that_expires_in_between() {
    let shop = Shop::start();
    let held = shop.coupon("short", "m1", &json!({"valid_for_seconds": 2}));
    let free = shop.another_coupon("short", "m1");
    let dropped = shop.another_coupon("short", "m1");
    for code in [&held, &dropped] {
        shop.ask(&coupon(code, "hold", "o1"));
    }
    until("the free coupon has run out", || (shop.coupon_state("m1", &free) == "expired").then_some(()));
    let replies = shop.race(CLIENTS, |client| match client % 4 {
        0 => coupon(&held, "redeem", "o1"),
        1 => coupon(&held, "redeem", "o2"),
        2 => coupon(&free, "redeem", "o1"),
        _ => coupon(&dropped, "release", "o1"),
    });
    for (client, reply) in replies.iter().enumerate() {
        match client % 4 {
            0 | 3 => assert_eq!(reply.status, 200, "{}", reply.text()),
            1 => assert!(reply.status == 409 || reply.status == 423, "another order's: {}", reply.text()),
            _ => reply.expect_problem(410, "coupon-expired"),
        }
    }
    let ends = [&held, &free, &dropped].map(|code| shop.coupon_state("m1", code));
    assert_eq!(ends, ["redeemed", "expired", "expired"]);
    shop.close();
}
