//! Orders through the real server and the real (simulated) payment company, each its own process: price, place, pay, cancel,
//! return, and what is refused.

mod support;

use serde_json::{Value, json};
use std::path::Path;
use support::company::Company;
use support::{Http, Reply, Server, run_well, until};

/// A shop with goods, a coupon campaign, points, and a payment company beside it.
struct Shop {
    http: Http,
    company: Company,
    folder: tempfile::TempDir,
    server: Server,
    placed: u32,
}

fn key(name: &str) -> [(&str, &str); 1] {
    [("idempotency-key", name)]
}

/// The lines that a refusal names.
fn lines_of(reply: &Reply) -> Value {
    serde_json::from_slice::<Value>(&reply.body).expect("JSON")["lines"].take()
}

impl Shop {
    fn open() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (company, server) =
            Company::beside_a_server(Path::new(env!("CARGO_BIN_EXE_banyan")), folder.path());
        let mut http = server.operator();
        let put = |http: &mut Http, path: &str, body: Value| {
            let reply = http.send("PUT", path, &[], body.to_string().as_bytes()).expect("an answer");
            assert!(reply.status < 300, "{path}: {reply:?}");
        };
        put(
            &mut http,
            "/v1/terms",
            json!({"currency": "KRW", "shipping_fee": 3_000, "free_shipping_from": 50_000}),
        );
        for (sku, on_hand) in [("mug", 10), ("plate", 10), ("last", 1)] {
            put(&mut http, &format!("/v1/stock/{sku}"), json!({"on_hand": on_hand, "reason": "count"}));
        }
        let price = |minor: i64| json!({"minor": minor, "currency": "KRW"});
        let products = json!({"products": [
            {"product": "mug", "price": price(12_900)},
            {"product": "plate", "price": price(7_000)},
            {"product": "last", "price": price(1_000)},
            {"product": "set", "price": price(30_000), "parts": [{"sku": "mug", "quantity": 2}, {"sku": "plate", "quantity": 1}]},
            {"product": "gone", "price": price(1), "on_sale": false},
        ]});
        put(&mut http, "/v1/products", products);
        let campaign = json!({"id": "noon", "name": "Noon", "quantity": 100, "benefit": {"amount": {"minor": 5_000, "currency": "KRW"}},
            "minimum_order": {"minor": 10_000, "currency": "KRW"}});
        http.post("/v1/campaigns", &campaign).expect("an answer").expect(201);
        let points = json!({"id": "points:m1", "currency": "PTS", "rule": "debits-within-credits"});
        http.post("/v1/ledger/accounts", &points).expect("an answer").expect(201);
        let grant = json!({"reference": "welcome", "transfers": [{"kind": "post", "debit": "shop:points", "credit": "points:m1", "amount": 2_000}]});
        let granted = http.send("POST", "/v1/ledger/transfers", &key("grant"), grant.to_string().as_bytes());
        granted.expect("an answer").expect(201);
        Self { http, company, folder, server, placed: 0 }
    }

    fn coupon(&mut self, member: &str) -> String {
        let issued = self.http.post("/v1/campaigns/noon/coupons", &json!({"member": member}));
        let issued = issued.expect("an answer").expect(201);
        issued["code"].as_str().expect("a code").to_owned()
    }

    fn try_place(&mut self, body: &Value) -> Reply {
        self.placed += 1;
        let name = format!("place-{}", self.placed);
        let body = body.to_string();
        self.http.send("POST", "/v1/orders", &key(&name), body.as_bytes()).expect("an answer")
    }

    fn place(&mut self, body: &Value) -> String {
        let reply = self.try_place(body);
        let order = reply.expect(201);
        order["order"].as_str().expect("a number").to_owned()
    }

    fn order(&mut self, order: &str) -> Value {
        self.http.get(&format!("/v1/orders/{order}")).expect("an answer").expect(200)
    }

    fn until(&mut self, order: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        until(what, || Some(self.order(order)).filter(|order| holds(order)))
    }

    fn paid(&mut self, order: &str) -> Value {
        self.until(order, "the order is paid", |order| order["state"] == "paid")
    }

    fn stock(&mut self, sku: &str) -> (i64, i64) {
        let stock = self.http.get(&format!("/v1/stock/{sku}")).expect("an answer").expect(200);
        (stock["on_hand"].as_i64().expect("a number"), stock["held"].as_i64().expect("a number"))
    }

    fn balance(&mut self, account: &str) -> i64 {
        let account =
            self.http.get(&format!("/v1/ledger/accounts/{account}")).expect("an answer").expect(200);
        account["balance"].as_i64().expect("a number")
    }

    fn cancel(&mut self, order: &str) -> Reply {
        let body = json!({"reason": "changed my mind"});
        self.http.post(&format!("/v1/orders/{order}/cancel"), &body).expect("an answer")
    }

    fn give_back(&mut self, order: &str, name: &str, lines: &Value) -> Reply {
        let body = json!({"lines": lines, "reason": "too small"}).to_string();
        let path = format!("/v1/orders/{order}/returns");
        self.http.send("POST", &path, &key(name), body.as_bytes()).expect("an answer")
    }
}

#[test]
fn a_quote_adds_up_and_holds_nothing() {
    let mut shop = Shop::open();
    let coupon = shop.coupon("m1");
    let cart = json!({"member": "m1", "lines": [{"product": "mug", "quantity": 2}, {"product": "plate", "quantity": 1}], "coupon": coupon, "points": 1_000});
    let quote = shop.http.post("/v1/orders/quote", &cart).expect("an answer").expect(200);
    let number = |name: &str| quote[name].as_i64().expect("a number");
    assert_eq!((number("goods"), number("discount"), number("shipping")), (32_800, 5_000, 3_000));
    assert_eq!((number("points"), number("total"), number("points_balance")), (1_000, 29_800, 2_000));
    // 10 % is included in 27,800 of goods and 3,000 of shipping: shares of lines are rounded one by one.
    assert!((2_799..=2_801).contains(&number("vat")), "{quote}");
    let lines = quote["lines"].as_array().expect("lines");
    let sum = |name: &str| lines.iter().map(|line| line[name].as_i64().expect("a number")).sum::<i64>();
    assert_eq!((sum("gross"), sum("discount")), (32_800, 5_000));
    assert_eq!(lines[0]["available"], 10);
    assert_eq!(shop.stock("mug"), (10, 0));
    // Refused: what is not sold, what is unknown, another's coupon, too little for the coupon, more points than there are.
    let mut refuse = |change: Value, status, slug: &str| {
        let mut cart = cart.clone();
        for (name, value) in change.as_object().expect("an object") {
            cart[name] = value.clone();
        }
        shop.http.post("/v1/orders/quote", &cart).expect("an answer").expect_problem(status, slug);
    };
    refuse(json!({"lines": [{"product": "gone", "quantity": 1}]}), 409, "product-not-on-sale");
    refuse(json!({"lines": [{"product": "nothing", "quantity": 1}]}), 404, "product-not-found");
    refuse(json!({"lines": []}), 400, "invalid-request");
    refuse(json!({"lines": [{"product": "mug", "quantity": 0}]}), 400, "invalid-request");
    refuse(json!({"member": "m2", "points": 0}), 404, "coupon-not-found");
    refuse(json!({"lines": [{"product": "plate", "quantity": 1}]}), 422, "below-minimum-order");
    refuse(json!({"points": 2_001}), 402, "insufficient-funds");
    refuse(json!({"points": -1}), 400, "invalid-request");
    shop.server.stop();
}

#[test]
fn an_order_is_paid_returned_in_part_and_cancelled_and_every_book_agrees() {
    let mut shop = Shop::open();
    let coupon = shop.coupon("m1");
    let cart = json!({"member": "m1", "lines": [{"product": "set", "quantity": 1}, {"product": "mug", "quantity": 3}],
        "coupon": coupon, "points": 2_000, "method": "tok_ok"});
    let order = shop.place(&cart);
    let paid = shop.paid(&order);
    let total = paid["total"].as_i64().expect("a number");
    assert_eq!(total, 30_000 + 38_700 - 5_000 - 2_000, "shipping is free from 50,000");
    assert_eq!(paid["waits_for"], Value::Null);
    assert_eq!((shop.stock("mug"), shop.stock("plate")), ((5, 0), (9, 0)), "a set is two mugs and a plate");
    assert_eq!((shop.balance("points:m1"), shop.balance("shop:sales")), (0, total));

    // One mug comes back, and then another: each gives back its own share.
    let one = json!([{"product": "mug", "quantity": 1}]);
    shop.give_back(&order, "return-1", &one).expect(201);
    let again = shop.give_back(&order, "return-1", &one);
    assert_eq!(again.status, 200, "the same key is the same return: {again:?}");
    shop.give_back(&order, "return-1", &json!([{"product": "set", "quantity": 1}]))
        .expect_problem(422, "idempotency-key-reused");
    let back = shop.until(&order, "the mug is back", |order| order["refunds"][0]["state"] == "done");
    let (money, points) = (back["refunded"].as_i64(), back["refunded_points"].as_i64());
    let (money, points) = (money.expect("a number"), points.expect("a number"));
    assert!(money > 11_000 && points > 300, "{back}");
    assert_eq!(shop.stock("mug"), (6, 0));
    assert_eq!((shop.balance("points:m1"), shop.balance("shop:sales")), (points, total - money));
    shop.give_back(&order, "return-2", &json!([{"product": "mug", "quantity": 3}]))
        .expect_problem(422, "return-exceeds-order");

    // And then everything else.
    let cancelled = shop.cancel(&order).expect(200);
    assert_eq!(cancelled["refunds"][1]["kind"], "cancel");
    let gone = shop.until(&order, "the order is cancelled", |order| order["state"] == "cancelled");
    assert_eq!((&gone["refunded"], &gone["refunded_points"]), (&json!(total), &json!(2_000)));
    assert_eq!((shop.stock("mug"), shop.stock("plate")), ((10, 0), (10, 0)));
    assert_eq!((shop.balance("points:m1"), shop.balance("shop:sales")), (2_000, 0));
    // The coupon is the member's again, in the record store too.
    let seq = &gone["seq"];
    let listed = shop.http.get(&format!("/v1/members/m1/coupons?at_least={seq}")).expect("an answer");
    assert_eq!(listed.expect(200)["coupons"][0]["state"], "issued");
    shop.cancel(&order).expect(200);
    shop.give_back(&order, "return-3", &one).expect_problem(410, "order-ended");
    let books = shop.http.get("/v1/ledger/trial-balance").expect("an answer").expect(200);
    assert_eq!(books["balanced"], true);
    // The company has given back what it took, to the last won.
    let payment = shop.company.payments().pop().expect("one payment");
    assert_eq!((&payment["captured"], &payment["refunded"]), (&json!(total), &json!(total)));
    shop.server.stop();
}

/// Bugs: a shopper read who of the shop gave something back and what they noted about it; and a token that asked at the
/// right moment gave a paid order back.
#[test]
fn a_shopper_reads_no_note_of_the_shop_and_gives_no_paid_order_back() {
    let mut shop = Shop::open();
    let cart = json!({"member": "m1", "lines": [{"product": "mug", "quantity": 2}], "method": "tok_ok"});
    let order = shop.place(&cart);
    shop.paid(&order);
    let secret = shop.folder.path().join("shopper.secret");
    let mut shopper = shop.server.shopper(Path::new(env!("CARGO_BIN_EXE_banyan")), &secret, "m1");
    let reason = json!({"reason": "changed my mind"});
    let cancelled = shopper.post(&format!("/v1/orders/{order}/cancel"), &reason).expect("an answer");
    cancelled.expect_problem(409, "order-paid");
    shop.give_back(&order, "return-1", &json!([{"product": "mug", "quantity": 1}])).expect(201);
    let back = shop.until(&order, "the mug is back", |order| order["refunds"][0]["state"] == "done");
    assert_eq!(
        (&back["refunds"][0]["by"], &back["refunds"][0]["reason"]),
        (&json!("operator"), &json!("too small"))
    );
    let seq = &back["seq"];
    let one = shopper.get(&format!("/v1/orders/{order}")).expect("an answer").expect(200);
    let list = shopper.get(&format!("/v1/members/m1/orders?at_least={seq}")).expect("an answer").expect(200);
    for seen in [&one, &list["orders"][0]] {
        let refund = &seen["refunds"][0];
        assert_eq!((&refund["kind"], &refund["amount"]), (&json!("return"), &back["refunds"][0]["amount"]));
        assert_eq!((&refund["by"], &refund["reason"]), (&Value::Null, &Value::Null));
    }
    shop.server.stop();
}

#[test]
fn what_cannot_be_had_is_refused_at_once_and_leaves_nothing() {
    let mut shop = Shop::open();
    let cart = |product: &str, quantity: u32| json!({"member": "m1", "lines": [{"product": product, "quantity": quantity}], "method": "tok_ok"});
    let before = shop.http.get("/v1/terms").expect("an answer").expect(200)["seq"].clone();
    let short = shop.try_place(&cart("last", 2));
    short.expect_problem(409, "out-of-stock");
    assert_eq!(lines_of(&short), json!([{"line": 0, "sku": "last", "available": 1}]));
    // Two lines that are made of the same goods count together.
    let both = json!({"member": "m1", "lines": [{"product": "set", "quantity": 4}, {"product": "mug", "quantity": 3}], "method": "tok_ok"});
    let short = shop.try_place(&both);
    short.expect_problem(409, "out-of-stock");
    assert_eq!(lines_of(&short).as_array().map(Vec::len), Some(2), "{short:?}");
    let mut changed = cart("mug", 1);
    changed["expect_total"] = json!(12_900);
    shop.try_place(&changed).expect_problem(409, "price-changed");
    changed["method"] = json!("");
    changed["expect_total"] = Value::Null;
    shop.try_place(&changed).expect_problem(422, "payment-method-missing");
    let body = cart("mug", 1).to_string();
    let keyless = shop.http.send("POST", "/v1/orders", &[], body.as_bytes()).expect("an answer");
    keyless.expect_problem(400, "idempotency-key-required");
    let after = shop.http.get("/v1/terms").expect("an answer").expect(200)["seq"].clone();
    assert_eq!(before, after, "a refusal is not logged");
    shop.http.get("/v1/orders/o-1").expect("an answer").expect_problem(404, "order-not-found");
    shop.server.stop();
}

#[test]
fn a_declined_card_fails_the_order_and_frees_everything() {
    let mut shop = Shop::open();
    let coupon = shop.coupon("m1");
    let cart = json!({"member": "m1", "lines": [{"product": "last", "quantity": 1}, {"product": "mug", "quantity": 1}],
        "coupon": coupon, "points": 500, "method": "tok_declined"});
    let order = shop.place(&cart);
    let failed = shop.until(&order, "the order failed", |order| order["state"] == "failed");
    assert!(failed["why"].as_str().is_some_and(|why| !why.is_empty()), "{failed}");
    assert_eq!((shop.stock("last"), shop.stock("mug")), ((1, 0), (10, 0)));
    assert_eq!(shop.balance("points:m1"), 2_000);
    shop.cancel(&order).expect_problem(410, "order-ended");
    // The coupon is free again, and so are the goods.
    let mut again = cart;
    again["method"] = json!("tok_ok");
    let order = shop.place(&again);
    shop.paid(&order);
    shop.server.stop();
}

#[test]
fn an_order_waits_for_the_card_page_and_is_cancelled_there() {
    let mut shop = Shop::open();
    let cart = json!({"member": "m1", "lines": [{"product": "mug", "quantity": 1}], "method": "page", "return_url": "http://127.0.0.1:1/shop"});
    let order = shop.place(&cart);
    let waiting = shop.until(&order, "the order waits for its shopper", |order| {
        order["waits_for"]["what"] == "payment-page"
    });
    assert!(waiting["waits_for"]["redirect"].as_str().is_some_and(|page| page.starts_with("http")));
    assert_eq!(shop.stock("mug"), (10, 1));
    let cancelled = shop.cancel(&order).expect(200);
    assert_eq!(cancelled["cancel_requested"], true);
    let gone = shop.until(&order, "the order is cancelled", |order| order["state"] == "cancelled");
    assert_eq!(gone["why"], "cancelled");
    assert_eq!(shop.stock("mug"), (10, 0));
    shop.server.stop();
}

#[test]
fn who_would_rather_wait_is_answered_when_the_order_has_settled() {
    let mut shop = Shop::open();
    let place = |shop: &mut Shop, name: &str, method: &str, wait: &str| {
        let cart = json!({"member": "m1", "lines": [{"product": "mug", "quantity": 1}], "method": method});
        let headers = [("idempotency-key", name), ("prefer", wait)];
        let reply = shop.http.send("POST", "/v1/orders", &headers, cart.to_string().as_bytes());
        reply.expect("an answer").expect(201)
    };
    let paid = place(&mut shop, "paid", "tok_ok", "respond-async, wait=30");
    assert_eq!(paid["state"], "paid", "{paid}");
    let failed = place(&mut shop, "failed", "tok_declined", "wait=30");
    assert_eq!(failed["state"], "failed", "{failed}");
    // A shopper at a card page is not waited for, and neither is nonsense.
    let waits = place(&mut shop, "waits", "page", "wait=30");
    assert_eq!(waits["waits_for"]["what"], "payment-page", "{waits}");
    place(&mut shop, "nonsense", "tok_ok", "wait=soon");
    let order = waits["order"].as_str().expect("a number").to_owned();
    let body = json!({"reason": "changed my mind"}).to_string();
    let path = format!("/v1/orders/{order}/cancel");
    let cancelled = shop.http.send("POST", &path, &[("prefer", "wait=30")], body.as_bytes());
    assert_eq!(cancelled.expect("an answer").expect(200)["state"], "cancelled");
    let order = paid["order"].as_str().expect("a number").to_owned();
    let path = format!("/v1/orders/{order}/cancel");
    let refunded = shop.http.send("POST", &path, &[("prefer", "wait=30")], body.as_bytes());
    assert_eq!(refunded.expect("an answer").expect(200)["refunds"][0]["state"], "done");
    shop.server.stop();
}

#[test]
fn points_alone_pay_an_order_and_come_back() {
    let mut shop = Shop::open();
    let cart = json!({"member": "m1", "lines": [{"product": "last", "quantity": 1}], "points": 99_999});
    let refused = shop.try_place(&cart);
    // 1,000 and shipping of 3,000 is more than the 2,000 points that there are.
    refused.expect_problem(402, "insufficient-funds");
    let terms = json!({"currency": "KRW"}).to_string();
    shop.http.send("PUT", "/v1/terms", &[], terms.as_bytes()).expect("an answer").expect(200);
    let order = shop.place(&cart);
    let paid = shop.order(&order);
    assert_eq!((&paid["state"], &paid["total"]), (&json!("paid"), &json!(0)), "nobody outside is asked");
    assert_eq!(shop.balance("points:m1"), 1_000);
    shop.cancel(&order).expect(200);
    assert_eq!(shop.order(&order)["state"], "cancelled");
    assert_eq!((shop.balance("points:m1"), shop.stock("last")), (2_000, (1, 0)));
    shop.server.stop();
}

#[test]
fn orders_are_listed_and_the_auditor_agrees() {
    let mut shop = Shop::open();
    let coupon = shop.coupon("m1");
    let cart = |member: &str, method: &str| json!({"member": member, "lines": [{"product": "mug", "quantity": 1}], "method": method});
    let mut first = cart("m1", "tok_ok");
    first["coupon"] = json!(coupon);
    let first = shop.place(&first);
    shop.paid(&first);
    let declined = shop.place(&cart("m2", "tok_declined"));
    shop.until(&declined, "the order failed", |order| order["state"] == "failed");
    let waiting = shop.place(&cart("m1", "page"));
    shop.until(&waiting, "the order waits for its shopper", |order| {
        order["waits_for"]["what"] == "payment-page"
    });
    shop.give_back(&first, "back", &json!([{"product": "mug", "quantity": 1}])).expect(201);
    let one = shop.until(&first, "the mug is back", |order| order["refunds"][0]["state"] == "done");
    let seq = one["seq"].as_u64().expect("a number");

    let mut list = |path: String| shop.http.get(&path).expect("an answer").expect(200);
    let page = list(format!("/v1/members/m1/orders?at_least={seq}"));
    let names = |page: &Value| -> Vec<String> {
        let orders = page["orders"].as_array().expect("orders");
        orders.iter().map(|order| order["order"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!((names(&page), &page["next"]), (vec![waiting.clone(), first.clone()], &Value::Null));
    assert_eq!(page["orders"][0]["waits_for"]["what"], "payment-page");
    // What the list says of an order is what the order says of itself, but for the position as of which it holds.
    let (mut listed, mut one) = (page["orders"][1].clone(), one);
    (listed["seq"], one["seq"]) = (json!(0), json!(0));
    assert_eq!(listed, one);
    assert!(page["seq"].as_u64().is_some_and(|there| there >= seq), "{page}");
    let all = list("/v1/orders?limit=2".into());
    assert_eq!((names(&all), &all["next"]), (vec![waiting.clone(), declined.clone()], &json!(declined)));
    let rest = list(format!("/v1/orders?limit=2&after={declined}"));
    assert_eq!((names(&rest), &rest["next"]), (vec![first.clone()], &Value::Null));
    for (state, expected) in [("placed", &waiting), ("paid", &first), ("failed", &declined)] {
        assert_eq!(names(&list(format!("/v1/orders?state={state}"))), [expected.as_str()], "{state}");
    }
    assert_eq!(names(&list("/v1/orders?state=cancelled".into())), [""; 0]);
    for wrong in [
        "/v1/orders?state=lost",
        "/v1/orders?limit=0",
        "/v1/orders?after=17",
        "/v1/members/m1/orders?limit=501",
    ] {
        shop.http.get(wrong).expect("an answer").expect_problem(400, "invalid-request");
    }

    let data = shop.server.data.clone();
    let data = data.to_str().expect("a path in ASCII");
    shop.server.stop();
    let report = run_well(Path::new(env!("CARGO_BIN_EXE_banyan")), &["verify", "--json", "--data", data]);
    let report: Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!((&report["holds"], &report["findings"]), (&json!(true), &json!([])));
    let orders = json!({"placed": 3, "under_way": 1, "paid": 1, "cancelled": 0, "failed": 1, "refunds": 1});
    assert_eq!(report["orders"], orders);
    assert_eq!(report["stock"]["live"], 1, "the waiting one's");
    assert!(report["sagas"]["completed"].as_u64().is_some_and(|count| count == 2), "{report}");
    let sums = report["ledger"]["currencies"].as_array().expect("sums");
    assert!(sums.iter().all(|sum| sum["debits_posted"] == sum["credits_posted"]), "{report}");
    let text = run_well(Path::new(env!("CARGO_BIN_EXE_banyan")), &["verify", "--data", data]);
    for line in ["stock: ", "ledger: ", "sagas: ", "orders: 3 placed: 1 under way, 1 paid"] {
        assert!(text.contains(line), "{text}");
    }
}
