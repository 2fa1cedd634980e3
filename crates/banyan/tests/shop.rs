//! The storefront for real: the server with the shop in it, the simulated payment company with its card page, and a browser
//! without a window that goes from sign-in to refund. Each is a process of its own.

mod support;
#[path = "shop/walk.rs"]
mod walk;

use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use support::company::Company;
use support::{Http, Reply, Server, run_well, text, until};

const BINARY: &str = env!("CARGO_BIN_EXE_banyan");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// A browser: it keeps the shop's cookies, sends the tokens of the page that it is on, and follows where it is led.
struct Browser {
    http: Http,
    cookies: BTreeMap<String, String>,
    at: String,
    page: String,
}

impl Browser {
    fn at(address: SocketAddr) -> Self {
        Self { http: Http::to(address), cookies: BTreeMap::new(), at: String::new(), page: String::new() }
    }

    fn get(&mut self, path: &str) -> u16 {
        self.send("GET", path, &[], "")
    }

    fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> u16 {
        let token = self.field("csrf");
        let encode = |text: &str| text.bytes().map(|b| format!("%{b:02X}")).collect::<String>();
        let fields = fields.iter().copied().chain([("csrf", token.as_str())]);
        let body: Vec<_> =
            fields.map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        self.send("POST", path, &[FORM], &body.join("&"))
    }

    /// Sends a request, and follows up to five redirects of the shop.
    fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> u16 {
        let mut reply = self.once(method, path, headers, body);
        for _ in 0..5 {
            let Some(to) = reply.headers.get("location").filter(|_| reply.status == 303).cloned() else {
                break;
            };
            assert!(to.starts_with("/shop"), "led to {to}");
            reply = self.once("GET", &to, &[], "");
        }
        self.page = reply.text();
        reply.status
    }

    fn once(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let headers = [headers, &[("cookie", cookies.as_str()), ("accept-language", "en")]].concat();
        let reply = self.http.send(method, path, &headers, body.as_bytes()).expect("an answer");
        if let Some((name, value)) =
            reply.headers.get("set-cookie").and_then(|cookie| cookie.split(';').next()?.split_once('='))
        {
            self.cookies.insert(name.into(), value.into());
        }
        self.at = path.to_owned();
        reply
    }

    /// The value of the first field `name` of the page.
    #[track_caller]
    fn field(&self, name: &str) -> String {
        self.after(&format!("name=\"{name}\" value=\""))
    }

    /// What follows `mark` up to the next quote.
    #[track_caller]
    fn after(&self, mark: &str) -> String {
        let rest = self.page.split_once(mark).unwrap_or_else(|| panic!("no {mark} in {}", self.page)).1;
        rest.split('"').next().unwrap_or_default().to_owned()
    }

    #[track_caller]
    fn sees(&self, text: &str) {
        assert!(self.page.contains(text), "{text:?} is not on {}: {}", self.at, self.page);
    }

    /// Loads the page again until it says `text`.
    #[track_caller]
    fn waits_for(&mut self, path: &str, text: &str) {
        until(&format!("{path} says {text:?}"), || {
            self.get(path);
            self.page.contains(text).then_some(())
        });
    }

    fn sign_in(&mut self, member: &str) {
        self.get("/shop/sign-in");
        self.post("/shop/sign-in", &[("member", member), ("next", "/shop")]);
        self.sees(member);
    }

    fn put_into_cart(&mut self, product: &str, quantity: &str) {
        self.get(&format!("/shop/goods/{product}"));
        self.post("/shop/cart/add", &[("product", product), ("quantity", quantity)]);
        self.sees("It is in the cart");
    }

    /// Places the cart's order and returns its number.
    fn place(&mut self, method: &str) -> String {
        self.send_order(method);
        self.at.split('/').nth(3).expect("an order's page").to_owned()
    }

    fn send_order(&mut self, method: &str) {
        assert_eq!(self.get("/shop/checkout"), 200);
        let (key, total) = (self.field("key"), self.field("total"));
        self.post("/shop/checkout", &[("key", &key), ("total", &total), ("method", method)]);
    }
}

/// A server with the shop and its sample goods, and the payment company beside it.
struct Store {
    company: Company,
    server: Server,
    operator: Http,
    _folder: tempfile::TempDir,
}

impl Store {
    fn open() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (company, server) = Company::beside_a_server(Path::new(BINARY), folder.path());
        let key_file = server.data.join("operator.key");
        let url = format!("http://{}", server.address);
        let said = run_well(
            Path::new(BINARY),
            &["shop", "load-sample", "--url", &url, "--key-file", text(&key_file)],
        );
        assert!(said.contains("68 products"), "{said}");
        Self { company, operator: server.operator(), server, _folder: folder }
    }

    fn balance(&mut self, account: &str) -> Value {
        let account =
            self.operator.get(&format!("/v1/ledger/accounts/{account}")).expect("an answer").expect(200);
        account["balance"].clone()
    }

    fn available(&mut self, sku: &str) -> Value {
        let stock = self.operator.get(&format!("/v1/stock/{sku}")).expect("an answer").expect(200);
        assert_eq!(stock["held"], 0, "nothing of {sku} is left held");
        stock["available"].clone()
    }

    /// Gives a good card on the company's page, as its own browser window would.
    fn give_card(&self, page: &str) -> String {
        let path =
            page.strip_prefix(&format!("http://{}", self.company.address)).expect("the company's page");
        let card = b"number=4242+4242+4242+4242&expiry=12%2F40&cvc=123";
        let paid = Http::to(self.company.address).send("POST", path, &[FORM], card).expect("an answer");
        assert_eq!(paid.status, 303, "{paid:?}");
        paid.headers["location"].clone()
    }
}

#[test]
fn a_shopper_buys_with_coupon_and_points_at_the_card_page_cancels_and_is_refunded() {
    let mut store = Store::open();
    let mut browser = Browser::at(store.server.address);
    assert_eq!(browser.get("/shop"), 200);
    browser.sees("Things for every day");
    browser.put_into_cart("mug-moss", "2");
    browser.sign_in("mina");
    browser.get("/shop/sale");
    browser.post("/shop/sale/autumn/claim", &[]);
    browser.sees("The coupon is yours");
    browser.sees("Ready to use");

    // The cart was filled before signing in, and stays.
    browser.put_into_cart("set-breakfast", "1");
    browser.get("/shop/cart");
    let code = browser.after("<option value=\"");
    browser.post("/shop/cart/coupon", &[("code", &code)]);
    browser.post("/shop/cart/points", &[("points", "3000")]);
    browser.get("/shop/checkout");
    // 28,000 + 66,000 - 5,000 - 3,000; delivery is free from 50,000.
    browser.sees("Order and pay ₩86,000");
    let order = browser.place("page");
    browser.sees("You are led to the card page");
    let page = browser.after("primary\" href=\"");
    let back = store.give_card(&page);
    let way =
        back.strip_prefix(&format!("http://{}", store.server.address)).expect("it leads back to the shop");
    assert!(way.starts_with("/shop/return?payment="), "{back}");
    browser.get(way);
    let path = format!("/shop/orders/{order}");
    assert_eq!(browser.at, path, "and there to the order");
    browser.waits_for(&path, "It is paid");
    assert_eq!(store.balance("points:mina"), 17_000);
    assert_eq!(store.available("mug-moss"), 116, "two mugs, and two of the set");
    browser.get("/shop/coupons");
    browser.sees(&format!("Used for {order}"));

    // Everything comes back: money at the company, points, goods.
    browser.get(&path);
    browser.post(&format!("{path}/cancel"), &[("reason", "changed my <mind>")]);
    browser.waits_for(&path, "The order is cancelled");
    browser.sees("Given back");
    assert!(!browser.page.contains("changed my"), "what is noted for operators is not shown");
    assert_eq!(store.balance("points:mina"), 20_000);
    assert_eq!(store.available("mug-moss"), 120);
    browser.get("/shop/orders");
    browser.sees(&format!("href=\"{path}\">Moss mug and 1 more"));
    browser.sees("Cancelled");
    browser.get("/shop/coupons");
    browser.sees("Ready to use");
    let payments = store.company.payments();
    assert_eq!(payments.len(), 1);
    assert_eq!((&payments[0]["status"], &payments[0]["order"]), (&"refunded".into(), &order.clone().into()));
    let said = store.server.stop();
    assert!(!said.contains("4242"), "no card number in what the server says");
}

#[test]
fn a_declined_card_leaves_everything_to_be_bought_again_and_a_return_is_refunded_in_part() {
    let mut store = Store::open();
    let mut browser = Browser::at(store.server.address);
    browser.sign_in("joon");
    browser.put_into_cart("mug-clay", "3");
    let failed = browser.place("tok_declined");
    browser.waits_for(&format!("/shop/orders/{failed}"), "The payment did not work: the card was declined");
    assert_eq!(store.available("mug-clay"), 96);
    browser.post(&format!("/shop/orders/{failed}/again"), &[]);
    browser.sees(&format!("The goods of order {failed} are in the cart again"));

    let order = browser.place("tok_ok");
    assert_ne!(order, failed);
    let path = format!("/shop/orders/{order}");
    browser.waits_for(&path, "It is paid");
    let key = browser.field("key");
    let back = [("key", key.as_str()), ("q.mug-clay", "1"), ("reason", "one too many")];
    browser.post(&format!("{path}/return"), &back);
    // The same form again is the same return.
    browser.post(&format!("{path}/return"), &back);
    browser.waits_for(&path, "Given back");
    browser.sees("1 returned");
    assert_eq!(store.available("mug-clay"), 94);
    browser.post(&format!("{path}/return"), &[("key", "another-key-12345"), ("q.mug-clay", "3")]);
    browser.sees("More cannot come back than was bought");

    // Another member sees nothing of it.
    let mut other = Browser::at(store.server.address);
    other.sign_in("sora");
    assert_eq!(other.get(&path), 404);
}

#[test]
fn the_last_one_is_sold_once_and_points_alone_can_pay() {
    let mut store = Store::open();
    let count = br#"{"on_hand": 1, "reason": "count"}"#;
    store.operator.send("PUT", "/v1/stock/soap-sea", &[], count).expect("an answer").expect(200);
    let mut mina = Browser::at(store.server.address);
    let mut joon = Browser::at(store.server.address);
    for (browser, name) in [(&mut mina, "mina"), (&mut joon, "joon")] {
        browser.sign_in(name);
        browser.waits_for("/shop/goods/soap-sea", "1 left");
        browser.put_into_cart("soap-sea", "1");
        browser.get("/shop/cart");
        browser.post("/shop/cart/points", &[("points", "20000")]);
        browser.get("/shop/checkout");
        browser.sees("Nothing is left to pay");
    }
    let order = mina.place("");
    mina.waits_for(&format!("/shop/orders/{order}"), "It is paid");
    // 8,000 and 3,000 for delivery: no more points are taken than it costs.
    assert_eq!(store.balance("points:mina"), 9_000);
    joon.send_order("");
    joon.sees("Not enough of it is left");
    assert_eq!(store.balance("points:joon"), 20_000);
    assert_eq!(store.company.payments().len(), 0);
}

#[test]
fn the_shop_runs_alone_and_is_replaced_without_losing_a_visitor() {
    let store = Store::open();
    let key_file = store.server.data.join("shop.key");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&key_file).expect("there").permissions());
    assert_eq!(mode & 0o777, 0o600);
    let start = || {
        let api = format!("http://{}", store.server.address);
        let mut child = Command::new(BINARY)
            .args(["shop", "--api", &api, "--listen", "127.0.0.1:0", "--key-file"])
            .arg(&key_file)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let (mut said, mut out) = (String::new(), BufReader::new(child.stdout.take().expect("piped")));
        out.read_line(&mut said).expect("it says where it is");
        let at: SocketAddr = said
            .trim()
            .trim_start_matches("shop on http://")
            .trim_end_matches("/shop")
            .parse()
            .expect("an address");
        (child, at, out)
    };
    let (mut first, at, _out) = start();
    let mut browser = Browser::at(at);
    browser.sign_in("mina");
    browser.put_into_cart("umbrella-sea", "1");
    first.kill().expect("it can be killed");
    first.wait().expect("it ends");
    let (mut second, at, _out) = start();
    browser.http = Http::to(at);
    browser.get("/shop/cart");
    browser.sees("Umbrella, dotted");
    browser.sees("mina");
    second.kill().expect("it can be killed");
    second.wait().expect("it ends");

    // Without a key it says how to get one.
    let refused = support::run(Path::new(BINARY), &["shop", "--listen", "127.0.0.1:0"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("banyan key create --role service"));
}
