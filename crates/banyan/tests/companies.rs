//! Whole checkouts at companies that are not the plain sandbox, through the real server: localstripe, a third-party emulation of
//! Stripe, with 3-D Secure and answers that get lost; the sandbox in the shape of Toss Payments; and the sandbox while its webhooks
//! come late, twice and out of order, and while it is down.

mod support;

use banyan_testkit::{LocalStripe, TcpProxy, Way};
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use support::company::{Company, Place, free};
use support::{Http, Reply, Server, run_well, text, until};

const BINARY: &str = env!("CARGO_BIN_EXE_banyan");
const MUG: i64 = 12_900;
/// A card that asks for 3-D Secure.
const SECURE: &str =
    "type=card&card[number]=4000002500003155&card[exp_month]=12&card[exp_year]=2040&card[cvc]=123";

/// A server that sells mugs.
struct Shop {
    http: Http,
    server: Server,
    placed: u32,
}

impl Shop {
    fn of(server: Server) -> Self {
        let mut http = server.operator();
        let put = |http: &mut Http, path: &str, body: Value| {
            let reply = http.send("PUT", path, &[], body.to_string().as_bytes()).expect("an answer");
            assert!(reply.status < 300, "{path}: {reply:?}");
        };
        put(&mut http, "/v1/stock/mug", json!({"on_hand": 50, "reason": "count"}));
        put(&mut http, "/v1/terms", json!({"currency": "KRW", "shipping_fee": 0, "free_shipping_from": 0}));
        let price = json!({"minor": MUG, "currency": "KRW"});
        put(&mut http, "/v1/products", json!({"products": [{"product": "mug", "price": price}]}));
        Self { http, server, placed: 0 }
    }

    fn place(&mut self, method: &str, quantity: u32) -> String {
        self.placed += 1;
        let key = format!("place-{}", self.placed);
        let mut cart =
            json!({"member": "m1", "lines": [{"product": "mug", "quantity": quantity}], "method": method});
        if method == "page" {
            cart["return_url"] = "http://127.0.0.1:1/back".into();
        }
        let order = self.send(&key, "/v1/orders", &cart).expect(201);
        order["order"].as_str().expect("a number").to_owned()
    }

    fn send(&mut self, key: &str, path: &str, body: &Value) -> Reply {
        let headers = [("idempotency-key", key)];
        self.http.send("POST", path, &headers, body.to_string().as_bytes()).expect("an answer")
    }

    fn order(&mut self, order: &str) -> Value {
        self.http.get(&format!("/v1/orders/{order}")).expect("an answer").expect(200)
    }

    #[track_caller]
    fn until(&mut self, order: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        until(what, || Some(self.order(order)).filter(|order| holds(order)))
    }

    #[track_caller]
    fn comes_to(&mut self, order: &str, state: &str) -> Value {
        self.until(order, &format!("{order} is {state}"), |order| order["state"] == state)
    }

    fn give_one_back(&mut self, order: &str, key: &str) {
        let body = json!({"lines": [{"product": "mug", "quantity": 1}], "reason": "too small"});
        self.send(key, &format!("/v1/orders/{order}/returns"), &body).expect(201);
    }

    fn cancel(&mut self, order: &str) {
        let body = json!({"reason": "changed my mind"});
        self.http.post(&format!("/v1/orders/{order}/cancel"), &body).expect("an answer").expect(200);
    }

    fn stock(&mut self) -> (i64, i64) {
        let stock = self.http.get("/v1/stock/mug").expect("an answer").expect(200);
        (stock["on_hand"].as_i64().expect("a number"), stock["held"].as_i64().expect("a number"))
    }

    fn sales(&mut self) -> i64 {
        let account = self.http.get("/v1/ledger/accounts/shop:sales").expect("an answer").expect(200);
        account["balance"].as_i64().expect("a number")
    }
}

/// localstripe, asked past the shop.
struct Stripe(LocalStripe);

impl Stripe {
    /// A form posted, or a question where there is no form.
    fn ask(&self, path: &str, form: &str) -> Value {
        let host = self.0.url().replace("http://", "");
        let mut stream = TcpStream::connect(&host).expect("localstripe");
        let method = if form.is_empty() { "GET" } else { "POST" };
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAuthorization: Bearer sk_test_hidden\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        )
        .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
        assert!(head.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        serde_json::from_str(body).unwrap_or_default()
    }

    /// The payments for `order`.
    fn payments(&self, order: &str) -> Vec<Value> {
        let list = self.ask("/v1/payment_intents?limit=100&expand[]=data.latest_charge", "");
        let all = list["data"].as_array().cloned().expect("a list");
        all.into_iter().filter(|payment| payment["metadata"]["banyan_order"] == order).collect()
    }

    /// The one payment for `order`.
    #[track_caller]
    fn payment(&self, order: &str) -> Value {
        let mut payments = self.payments(order);
        assert_eq!(payments.len(), 1, "{order}: {payments:#?}");
        payments.pop().expect("one")
    }

    /// What each refund of `payment` sent back.
    fn refunds(&self, payment: &Value) -> Vec<i64> {
        let id = payment["id"].as_str().expect("an id");
        let list = self.ask(&format!("/v1/refunds?payment_intent={id}&limit=100"), "");
        let mut all: Vec<i64> = list["data"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|refund| refund["amount"].as_i64().expect("a number"))
            .collect();
        all.sort_unstable();
        all
    }

    fn secure_card(&self) -> String {
        self.ask("/v1/payment_methods", SECURE)["id"].as_str().expect("a method").to_owned()
    }
}

/// A shop whose company is localstripe, behind a line that can fail.
fn at_stripe(folder: &Path) -> (Stripe, TcpProxy, Shop) {
    let stripe = Stripe(LocalStripe::start().expect("localstripe"));
    let target = stripe.0.url().replace("http://", "").parse().expect("an address");
    let line = TcpProxy::start(target).expect("a proxy");
    std::fs::write(folder.join("stripe.key"), "sk_test_hidden").expect("a key");
    std::fs::write(folder.join("webhook.key"), "whsec_test").expect("a key");
    let services = folder.join("services.toml");
    let table = format!(
        "[service.company]\nkind = \"stripe\"\nurl = \"http://{}\"\nkey_file = \"stripe.key\"\n\
         webhook_secret_file = \"webhook.key\"\n",
        line.address()
    );
    std::fs::write(&services, table).expect("a file");
    let listen = free();
    let hook = format!(
        "url=http://{listen}/v1/webhooks/company&secret=whsec_test&events[]=payment_intent.succeeded"
    );
    stripe.ask("/_config/webhooks/shop", &hook);
    let more = ["--services", text(&services), "--listen", &listen.to_string()];
    let server = Server::start_at(Path::new(BINARY), &folder.join("store"), &more);
    (stripe, line, Shop::of(server))
}

#[test]
fn a_checkout_at_stripe_is_paid_given_back_in_parts_and_cancelled() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (stripe, _line, mut shop) = at_stripe(folder.path());
    let order = shop.place("pm_card_visa", 3);
    assert_eq!(shop.comes_to(&order, "paid")["total"], 3 * MUG);
    let payment = stripe.payment(&order);
    assert_eq!((&payment["status"], &payment["amount"]), (&json!("succeeded"), &json!(3 * MUG)));
    assert_eq!((shop.stock(), shop.sales()), ((47, 0), 3 * MUG));
    for (place, key) in ["one", "two"].into_iter().enumerate() {
        shop.give_one_back(&order, key);
        shop.until(&order, "the mug is back", |order| order["refunds"][place]["state"] == "done");
    }
    assert_eq!(stripe.refunds(&payment), [MUG, MUG]);
    shop.cancel(&order);
    shop.comes_to(&order, "cancelled");
    assert_eq!(stripe.refunds(&payment), [MUG, MUG, MUG]);
    assert_eq!((shop.stock(), shop.sales()), ((50, 0), 0));

    let declined = shop.place("pm_card_chargeCustomerFail", 1);
    shop.comes_to(&declined, "failed");
    assert_eq!((shop.stock(), shop.sales()), ((50, 0), 0));
    shop.server.stop();
}

/// A webhook as Stripe signs it. localstripe tells of captures, and not of money that is set aside.
fn tell(shop: &mut Shop, kind: &str, payment: &str) {
    let event =
        json!({"id": "evt_1", "type": kind, "data": {"object": {"object": "payment_intent", "id": payment}}});
    let (body, now) =
        (event.to_string(), SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs());
    let mut mac = Hmac::<Sha256>::new_from_slice(b"whsec_test").expect("any length will do");
    mac.update(format!("{now}.{body}").as_bytes());
    let mut signature = format!("t={now},v1=");
    for byte in mac.finalize().into_bytes() {
        write!(signature, "{byte:02x}").expect("a string takes every write");
    }
    let headers = [("stripe-signature", signature.as_str())];
    let taken = shop.http.send("POST", "/v1/webhooks/company", &headers, body.as_bytes()).expect("an answer");
    assert_eq!(taken.status, 204, "{taken:?}");
}

/// Bug: no checkout with 3-D Secure was ever completed at Stripe, and one that was cancelled there left its payment open.
#[test]
fn a_checkout_with_3d_secure_is_paid_when_the_customer_agrees_and_given_up_when_it_is_cancelled() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (stripe, _line, mut shop) = at_stripe(folder.path());
    let method = stripe.secure_card();
    let order = shop.place(&method, 1);
    let waits = until("the payment waits for the customer", || {
        stripe.payments(&order).pop().filter(|payment| payment["status"] == "requires_action")
    });
    let (id, secret) =
        (waits["id"].as_str().expect("an id"), waits["client_secret"].as_str().expect("a secret"));
    // A webhook concerns the steps that are known to wait for its payment.
    let saga = shop.order(&order)["saga"].as_u64().expect("a number");
    until("the step waits for the customer", || {
        let saga = shop.http.get(&format!("/v1/sagas/{saga}")).expect("an answer").expect(200);
        let steps = saga["steps"].as_array().expect("steps").clone();
        steps.iter().any(|step| step["output"]["payment"] == id).then_some(())
    });
    let agreed = format!("client_secret={secret}&success=true");
    stripe.ask(&format!("/v1/payment_intents/{id}/_authenticate"), &agreed);
    tell(&mut shop, "payment_intent.amount_capturable_updated", id);
    shop.comes_to(&order, "paid");
    assert_eq!(stripe.payment(&order)["status"], "succeeded");

    let order = shop.place(&method, 1);
    until("the payment waits for the customer", || {
        stripe.payments(&order).pop().filter(|payment| payment["status"] == "requires_action")
    });
    shop.cancel(&order);
    shop.until(&order, "the order is given up", |order| order["state"] != "placed");
    assert_eq!(stripe.payment(&order)["status"], "canceled");
    assert_eq!((shop.stock(), shop.sales()), ((49, 0), MUG));
    shop.server.stop();
}

#[test]
fn answers_of_stripe_that_got_lost_are_found_and_nothing_is_paid_twice() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (stripe, line, mut shop) = at_stripe(folder.path());
    // Lost is what is on its way when the line is cut: the request has arrived, and its answer never does.
    let lose_an_answer = || {
        until("an answer is on its way", || (line.waiting(Way::ToClient) > 0).then_some(()));
        line.cut();
        line.hold(Way::ToClient, false);
    };
    line.hold(Way::ToClient, true);
    let order = shop.place("pm_card_visa", 2);
    lose_an_answer();
    shop.comes_to(&order, "paid");
    let payment = stripe.payment(&order);
    assert_eq!(payment["status"], "succeeded");
    for (place, key) in ["one", "two"].into_iter().enumerate() {
        line.hold(Way::ToClient, true);
        shop.give_one_back(&order, key);
        lose_an_answer();
        shop.until(&order, "the mug is back", |order| order["refunds"][place]["state"] == "done");
    }
    assert_eq!(stripe.refunds(&payment), [MUG, MUG], "each once");
    assert_eq!((shop.stock(), shop.sales()), ((50, 0), 0));
    shop.server.stop();
}

/// The customer goes to the page that `order` waits at, and pays with a card that works.
fn pay_at_the_page(shop: &mut Shop, company: &Company, order: &str) {
    let page = until("the company has a page", || {
        shop.order(order)["waits_for"]["redirect"].as_str().map(str::to_owned)
    });
    let path = page.strip_prefix(&format!("http://{}", company.address)).expect("the company's page");
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let paid = Http::to(company.address).send("POST", path, &form, b"use=tok_ok").expect("an answer");
    assert!(paid.status < 400, "{paid:?}");
}

/// Bug: at Toss nothing confirmed what the customer had agreed to on the page, `o-1` was no order id, and an order that was cancelled
/// before the customer came was parked.
#[test]
fn a_checkout_at_toss_is_confirmed_given_back_in_parts_and_given_up_before_the_customer_comes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let place = Place::make(Path::new(BINARY), folder.path());
    let services = folder.path().join("services.toml");
    let table = std::fs::read_to_string(&services).expect("the file").replace("\"sandbox\"", "\"toss\"");
    std::fs::write(&services, table).expect("a file");
    let company = place.start_company();
    let mut shop = Shop::of(place.start_server());
    let order = shop.place("page", 3);
    pay_at_the_page(&mut shop, &company, &order);
    shop.comes_to(&order, "paid");
    for (place, key) in ["one", "two"].into_iter().enumerate() {
        let rules = json!([{"fault": "timeout_before", "action": "cancel"}]);
        faults(folder.path(), &company, &json!({"hold_seconds": 1.0, "rules": rules}));
        shop.give_one_back(&order, key);
        shop.until(&order, "the mug is back", |order| order["refunds"][place]["state"] == "done");
        let back = (place as i64 + 1) * MUG;
        assert_eq!(company.payments()[0]["refunded"], back, "what is booked went back");
    }
    assert_eq!((shop.stock(), shop.sales()), ((49, 0), MUG));

    let order = shop.place("page", 1);
    shop.until(&order, "the company has a page", |order| order["waits_for"]["redirect"].is_string());
    shop.cancel(&order);
    let gone = shop.until(&order, "the order is given up", |order| {
        order["state"] != "placed" || order["waits_for"]["what"] == "operator"
    });
    assert_eq!(gone["waits_for"], Value::Null, "{gone:#}");
    assert_eq!((shop.stock(), shop.sales()), ((49, 0), MUG));
    shop.server.stop();
}

/// What the sandbox is to get wrong.
fn faults(folder: &Path, company: &Company, plan: &Value) {
    let key = std::fs::read_to_string(folder.join("company/admin.key")).expect("the company's own key");
    let mut http = Http::with_key(company.address, key.trim());
    let set = http.send("PUT", "/admin/faults", &[], plan.to_string().as_bytes()).expect("an answer");
    assert_eq!(set.status, 200, "{set:?}");
}

#[test]
fn orders_are_paid_once_although_webhooks_come_late_twice_and_out_of_order() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (company, server) = Company::beside_a_server(Path::new(BINARY), folder.path());
    let mut shop = Shop::of(server);
    let all = json!({"late_webhook": 0.5, "duplicate_webhook": 1.0, "unordered_webhooks": 0.5});
    faults(folder.path(), &company, &json!({"rates": all, "late_seconds": 1.0}));
    let orders: Vec<String> = (0..8).map(|_| shop.place("page", 1)).collect();
    for order in &orders {
        pay_at_the_page(&mut shop, &company, order);
    }
    for order in &orders {
        shop.comes_to(order, "paid");
    }
    let payments = company.payments();
    assert_eq!(payments.len(), orders.len(), "one payment an order");
    assert!(payments.iter().all(|payment| payment["captured"] == MUG), "{payments:#?}");
    assert_eq!((shop.stock(), shop.sales()), ((42, 0), 8 * MUG));
    shop.server.stop();
}

/// Bug: a store that was restored asked the company under the keys of the orders that it had lost, and a new order was paid with the
/// money of the old one that had its number.
#[test]
fn after_a_backup_is_restored_a_new_order_is_not_paid_with_a_lost_ones_money() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let place = Place::make(Path::new(BINARY), folder.path());
    let company = place.start_company();
    let mut shop = Shop::of(place.start_server());
    let (backup, restored) = (folder.path().join("backup"), folder.path().join("restored"));
    let binary = Path::new(BINARY);
    run_well(binary, &["backup", "--data", text(&place.data()), "--to", text(&backup)]);
    let lost = shop.place("tok_ok", 1);
    shop.comes_to(&lost, "paid");
    shop.server.stop();
    run_well(binary, &["restore", "--from", text(&backup), "--data", text(&restored)]);
    let key = std::fs::read(place.data().join("operator.key")).expect("the operator's key");
    std::fs::write(restored.join("operator.key"), key).expect("a key");
    let services = folder.path().join("services.toml");
    let server = Server::start_at(binary, &restored, &["--services", text(&services)]);
    let (http, placed) = (server.operator(), 0);
    let mut shop = Shop { http, server, placed };
    let new = shop.place("tok_ok", 1);
    assert_eq!(new, lost, "the number is given again");
    shop.comes_to(&new, "paid");
    let payments = company.payments();
    assert_eq!(payments.len(), 2, "each order has its own payment: {payments:#?}");
    shop.server.stop();
}

#[test]
fn a_company_that_is_down_for_a_while_is_waited_for() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (company, server) = Company::beside_a_server(Path::new(BINARY), folder.path());
    let mut shop = Shop::of(server);
    faults(folder.path(), &company, &json!({"down_for_seconds": 5.0}));
    let orders: Vec<String> = (0..4).map(|_| shop.place("tok_ok", 1)).collect();
    for order in &orders {
        shop.until(order, "the order waits for the company", |order| {
            order["waits_for"]["step"] == "authorize"
        });
    }
    for order in &orders {
        shop.comes_to(order, "paid");
    }
    let payments = company.payments();
    assert_eq!(payments.len(), orders.len(), "one payment an order");
    assert_eq!((shop.stock(), shop.sales()), ((46, 0), 4 * MUG));
    shop.server.stop();
}
