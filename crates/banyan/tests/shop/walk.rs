//! The shop as a person walks through it, in a real Chromium, on a phone: once by touch, once by keys alone. On the way every
//! page is looked at on a phone and at a desk, light and dark; the pictures are in the target folder, under `tmp/screens/shop`.

use super::Store;
use banyan_testkit::{Chromium, Key, Look, Window};
use serde_json::{Value, json};
use std::path::Path;

const PHONE: Look = Look { width: 390, height: 844, dark: false };
const DESK: Look = Look { width: 1440, height: 900, dark: false };
/// Stops of the focus on a page, at most.
const STOPS_MAX: usize = 150;
/// What has the focus: what it is, and what would be wrong with it.
const FOCUS: &str = r#"(() => {
  const at = document.activeElement;
  if (!at || at === document.body) return {at: "nothing", faults: []};
  const [box, look] = [at.getBoundingClientRect(), getComputedStyle(at)];
  const faults = [];
  if (!at.matches(":focus-visible")) faults.push("the focus is not shown");
  if (look.outlineStyle === "none" || parseFloat(look.outlineWidth) < 2) faults.push(`its ring is ${look.outline}`);
  if (box.width < 1 || box.height < 1) faults.push("it has no size");
  if (box.bottom < 0 || box.top > innerHeight) faults.push("it is out of sight");
  if (at.tabIndex > 0) faults.push("it has an order of its own");
  const before = window.banyanStop;
  if (before?.isConnected && !(before.compareDocumentPosition(at) & Node.DOCUMENT_POSITION_FOLLOWING)) faults.push("it stands before the last one");
  const inside = at.closest("main");
  if (inside && before?.closest?.("main") && box.bottom < before.getBoundingClientRect().top) faults.push("it lies above the last one");
  window.banyanStop = at;
  return {at: at.outerHTML.slice(0, 160), faults};
})()"#;

/// A person with a browser.
struct Person {
    window: Window,
    origin: String,
    pictures: usize,
}

impl Person {
    fn at(store: &Store) -> Self {
        let chromium = Chromium::new().expect("Chromium is installed where the tests run");
        let window = chromium.open(PHONE).expect("a window");
        Self { window, origin: format!("http://{}", store.server.address), pictures: 0 }
    }

    #[track_caller]
    fn go(&mut self, path: &str) {
        self.window.go(&format!("{}{path}", self.origin)).expect("the page opens");
    }

    #[track_caller]
    fn click(&mut self, selector: &str) {
        self.window.click(selector).expect("it is clicked");
    }

    #[track_caller]
    fn fill(&mut self, selector: &str, text: &str) {
        self.window.fill(selector, text).expect("it takes what is typed");
    }

    #[track_caller]
    fn sees(&mut self, text: &str) {
        self.window.sees(text).expect("the page says so");
    }

    #[track_caller]
    fn evaluate(&mut self, script: &str) -> Value {
        self.window.evaluate(script).expect("the script runs")
    }

    /// Looks at the page on a phone and at a desk, light and dark; nothing may reach beyond its sides.
    #[track_caller]
    fn looks(&mut self, name: &str) {
        self.pictures += 1;
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screens/shop");
        for (look, dark) in [(DESK, false), (DESK, true), (PHONE, true), (PHONE, false)] {
            let shade = if dark { "dark" } else { "light" };
            self.window.look(Look { dark, ..look }).expect("it is shown so");
            let wide = self.evaluate("document.documentElement.scrollWidth");
            assert!(
                wide.as_u64() <= Some(look.width.into()),
                "{name} is {wide} wide in {} pixels",
                look.width
            );
            let file = format!("{:02}-{name}-{}-{shade}.png", self.pictures, look.width);
            self.window.picture(&folder.join(file)).expect("a picture");
        }
        let banner = self.evaluate("((nav) => !nav || (nav.scrollWidth <= nav.clientWidth && nav.parentElement.offsetHeight < 120))(document.querySelector('.banner nav'))");
        assert_eq!(banner, true, "{name}: the places do not fit into two lines");
        let small = self.evaluate(
            "[...document.querySelectorAll('main button, main a.button, main input:not([type=hidden]):not([type=radio]), main select, main summary')]
             .filter((at) => at.checkVisibility() && at.getBoundingClientRect().height < 40).map((at) => at.outerHTML.slice(0, 120))",
        );
        assert_eq!(small, json!([]), "{name}: too small for a thumb");
    }

    /// Goes from stop to stop of the focus until one is at `selector`.
    #[track_caller]
    fn tabs_to(&mut self, selector: &str) {
        let is_there = format!("!!document.querySelector({})", json!(selector));
        self.window.wait_for(&format!("{selector} on the page"), &is_there).expect("it is there");
        for _ in 0..STOPS_MAX {
            self.window.press(Key::Tab).expect("the key is pressed");
            let stop = self.evaluate(FOCUS);
            assert_eq!(stop["faults"], json!([]), "on the way to {selector}: {}", stop["at"]);
            if self.evaluate(&format!("document.activeElement.matches({})", json!(selector))) == true {
                return;
            }
        }
        panic!("{selector} cannot be reached by keys");
    }

    #[track_caller]
    fn press(&mut self, key: Key) {
        self.window.press(key).expect("the key is pressed");
    }

    #[track_caller]
    fn writes(&mut self, text: &str) {
        self.window.write(text).expect("it is typed");
    }

    /// Where the page is, without the host.
    #[track_caller]
    fn path(&mut self) -> String {
        self.evaluate("location.pathname").as_str().unwrap_or_default().to_owned()
    }

    #[track_caller]
    fn has_no_complaints(&mut self) {
        let complaints = self.window.complaints();
        assert!(complaints.is_empty(), "{complaints:#?}");
    }
}

#[test]
fn a_phone_buys_with_coupon_and_points_finds_its_order_cancels_it_and_sees_the_refund() {
    let mut store = Store::open();
    let company = store.company.address.to_string();
    let mut mina = Person::at(&store);
    mina.go("/shop");
    mina.sees("Things for every day");
    mina.looks("goods");
    mina.click("a.sign");
    mina.sees("Demonstration sign-in");
    mina.looks("sign-in");
    mina.click("button[value=mina]");
    mina.sees("Things for every day");
    assert_eq!(mina.evaluate("document.querySelector('.person').textContent"), "mina");

    mina.click("nav a[href='/shop/sale']");
    mina.sees("Claim the coupon");
    mina.looks("sale");
    mina.click("form[action='/shop/sale/autumn/claim'] button");
    mina.sees("The coupon is yours");
    mina.looks("coupons");

    mina.go("/shop");
    mina.fill("input[name=q]", "moss mug");
    mina.press(Key::Enter);
    mina.sees("2 goods");
    mina.click("ul.goods a[href='/shop/goods/mug-moss']");
    mina.sees("Add to cart");
    mina.looks("product");
    mina.fill("input[name=quantity]", "3");
    mina.click("form.buy button");
    mina.sees("It is in the cart");
    mina.click(".notice a[href='/shop/cart']");
    mina.sees("Update quantities");
    mina.click(".coupon form.row:first-of-type button");
    mina.sees("is used for this cart");
    mina.fill("input[name=points]", "3000");
    mina.click("form.points button");
    // 42,000 for three mugs, 5,000 and 3,000 off, 3,000 for delivery.
    mina.sees("₩37,000");
    mina.looks("cart");
    mina.click("a[href='/shop/checkout']");
    mina.sees("Order and pay ₩37,000");
    mina.looks("checkout");
    mina.click("form.pay button.primary");
    mina.window
        .wait_for(
            "the card page",
            &format!("location.host === '{company}' && !!document.querySelector('#number')"),
        )
        .expect("led there");
    mina.looks("card");
    mina.fill("#number", "4242 4242 4242 4242");
    mina.fill("#expiry", "12/40");
    mina.fill("#cvc", "123");
    mina.click("button.primary");
    mina.sees("It is paid");
    let order = mina.path();
    assert!(order.starts_with("/shop/orders/o-"), "{order}");
    mina.looks("order-paid");
    assert_eq!(store.balance("points:mina"), 17_000);

    mina.click("nav a[href='/shop/orders']");
    mina.sees("Moss mug");
    mina.looks("orders");
    mina.click(&format!("main a[href='{order}']"));
    mina.sees("Cancel the order");
    mina.click("details.action summary");
    mina.fill("details.action[open] input[name=reason]", "too many");
    mina.looks("order-cancel");
    mina.click("details.action button.harm");
    // The page follows by itself.
    mina.sees("The order is cancelled");
    mina.sees("Given back");
    mina.looks("order-refunded");
    assert_eq!(store.balance("points:mina"), 20_000);
    mina.click("nav a[href='/shop/points']");
    mina.sees("20,000");
    mina.looks("points");

    // One that was not paid is cancelled before its money moves.
    mina.go("/shop/goods/mug-moss");
    mina.click("form.buy button");
    mina.sees("It is in the cart");
    mina.go("/shop/checkout");
    mina.click("form.pay button.primary");
    mina.window
        .wait_for(
            "the card page",
            &format!("location.host === '{company}' && !!document.querySelector('#number')"),
        )
        .expect("led there");
    mina.go("/shop/orders");
    mina.sees("Being paid");
    mina.click("main ul.orders a");
    mina.sees("To the card page");
    mina.looks("order-unpaid");
    mina.click("details.action summary");
    mina.click("details.action button.harm");
    mina.sees("The order is cancelled");
    mina.go("/shop/language/ko?back=/shop/orders");
    mina.sees("취소됨");
    mina.looks("orders-ko");
    mina.go("/shop/nothing");
    mina.looks("nothing");
    mina.has_no_complaints();
    let payments = store.company.payments();
    assert_eq!(payments.iter().filter(|payment| payment["status"] == "refunded").count(), 1, "{payments:?}");
}

#[test]
fn the_same_is_bought_and_cancelled_by_keys_alone() {
    let mut store = Store::open();
    let company = store.company.address.to_string();
    let mut joon = Person::at(&store);
    joon.go("/shop/sign-in");
    // The field has the focus already.
    joon.writes("joon");
    joon.press(Key::Enter);
    joon.sees("Things for every day");
    joon.press(Key::Tab);
    assert_eq!(
        joon.evaluate("document.activeElement.className"),
        "skip",
        "the first stop leads past the menu"
    );
    joon.press(Key::Enter);
    joon.window
        .wait_for("the focus in the content", "document.activeElement.id === 'main'")
        .expect("it jumps there");
    joon.go("/shop");
    joon.tabs_to("nav a[href='/shop/sale']");
    joon.press(Key::Enter);
    joon.tabs_to("form[action='/shop/sale/autumn/claim'] button");
    joon.press(Key::Space);
    joon.sees("The coupon is yours");
    joon.tabs_to("nav a[href='/shop']");
    joon.press(Key::Enter);
    joon.sees("Things for every day");
    joon.tabs_to("input[name=q]");
    joon.writes("moss mug");
    joon.press(Key::Enter);
    joon.sees("2 goods");
    joon.tabs_to("ul.goods a");
    joon.press(Key::Enter);
    joon.tabs_to("form.buy input[name=quantity]");
    joon.writes("3");
    joon.tabs_to("form.buy button");
    joon.press(Key::Space);
    joon.sees("It is in the cart");
    joon.tabs_to(".notice a[href='/shop/cart']");
    joon.press(Key::Enter);
    joon.tabs_to(".coupon form.row:first-of-type button");
    joon.press(Key::Enter);
    joon.sees("is used for this cart");
    joon.tabs_to("input[name=points]");
    joon.writes("3000");
    joon.press(Key::Enter);
    joon.sees("₩37,000");
    joon.tabs_to("a[href='/shop/checkout']");
    joon.press(Key::Enter);
    joon.sees("Order and pay ₩37,000");
    // Among the cards of the simulated company and back to the page, as keys do in a group.
    joon.tabs_to("details summary");
    joon.tabs_to("form.pay button.primary");
    joon.press(Key::Enter);
    joon.window
        .wait_for(
            "the card page",
            &format!("location.host === '{company}' && !!document.querySelector('#number')"),
        )
        .expect("led there");
    // The company's page may give the first field the focus by itself.
    if joon.evaluate("document.activeElement.id") != "number" {
        joon.tabs_to("#number");
    }
    joon.writes("4242 4242 4242 4242");
    joon.tabs_to("#expiry");
    joon.writes("12/40");
    joon.tabs_to("#cvc");
    joon.writes("123");
    joon.press(Key::Enter);
    joon.sees("It is paid");
    joon.tabs_to("nav a[href='/shop/orders']");
    joon.press(Key::Enter);
    joon.sees("Moss mug");
    joon.tabs_to("main ul.orders a");
    joon.press(Key::Enter);
    joon.sees("It is paid");
    joon.tabs_to("details.action summary");
    joon.press(Key::Space);
    joon.tabs_to("details.action[open] input[name=reason]");
    joon.writes("too many");
    joon.tabs_to("details.action button.harm");
    joon.press(Key::Enter);
    joon.sees("The order is cancelled");
    joon.sees("Given back");
    assert_eq!(store.balance("points:joon"), 20_000);
    joon.has_no_complaints();
}
