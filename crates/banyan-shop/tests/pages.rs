//! Every page against a double of the API: what it shows, what it asks for, and what it does when it is refused.

mod common;

use common::{Browser, Double};
use http::{StatusCode, header};
use serde_json::json;

#[tokio::test]
async fn goods_are_found_in_the_visitors_language_without_signing_in() {
    let (_double, api) = Double::start().await;
    let mut browser = Browser::new(&api);
    let page = browser.get("/shop").await;
    assert!(page.contains("lang=\"en\"") && page.contains("Moss mug") && page.contains("₩14,000"), "{page}");
    assert!(page.contains("5 left") && page.contains("Sold out"), "few and none are said: {page}");
    assert!(page.len() < 100_000, "{} bytes", page.len());
    browser.language = "ko-KR,ko;q=0.9";
    let page = browser.get("/shop").await;
    assert!(page.contains("lang=\"ko\"") && page.contains("이끼색 머그") && page.contains("14,000원"));
    browser.get("/shop/language/en?back=%2Fshop%2Fsale").await;
    assert_eq!(browser.leads_to(), "/shop/sale");
    assert!(
        browser.get("/shop").await.contains("lang=\"en\""),
        "what is chosen counts more than what is preferred"
    );
    let found = browser.get("/shop?q=%EB%A8%B8%EA%B7%B8").await;
    assert!(found.contains("Moss mug") && !found.contains("Dotted socks"), "found by its Korean name");
    assert!(browser.get("/shop?q=zeppelin").await.contains("Nothing matches"));
    let cheap = browser.get("/shop?sort=cheap").await;
    assert!(cheap.find("Dotted socks") < cheap.find("Moss mug"));
    assert!(browser.get("/shop/goods/socks-plum").await.contains("All of it has been sold"));
    browser.get("/shop/goods/nothing").await;
    assert_eq!(browser.status, StatusCode::NOT_FOUND);
    let picture = browser.get("/shop/pictures/mug-moss.svg").await;
    assert!(picture.starts_with("<svg") && browser.headers[header::CONTENT_TYPE] == "image/svg+xml");
}

#[tokio::test]
async fn a_cart_is_filled_changed_and_emptied() {
    let (_double, api) = Double::start().await;
    let mut browser = Browser::new(&api);
    browser.fill_cart().await;
    let page = browser.get("/shop/cart").await;
    assert!(page.contains("name=\"q.mug-moss\" value=\"2\"") && page.contains("Sign in to order"), "{page}");
    browser.post("/shop/cart", &[("q.mug-moss", "7")]).await;
    let page = browser.get("/shop/cart").await;
    assert!(page.contains("value=\"7\"") && page.contains("Only 5 left"), "{page}");
    browser.post("/shop/cart", &[("q.mug-moss", "7"), ("remove", "mug-moss")]).await;
    assert!(browser.get("/shop/cart").await.contains("The cart is empty"));
}

#[tokio::test]
async fn placing_twice_is_one_order() {
    let (double, api) = Double::start().await;
    let mut browser = Browser::new(&api);
    browser.fill_cart().await;
    browser.sign_in("mina").await;
    let page = browser.get("/shop/checkout").await;
    assert!(page.contains("Order and pay ₩31,000") && page.contains("VAT of ₩2,545 included"), "{page}");
    let before = browser.cookies.clone();
    let (token, key) = (browser.field("csrf"), browser.field("key"));
    let form = [("key", key.as_str()), ("total", "31000"), ("method", "page")];
    browser.post_as("/shop/checkout", &token, &form).await;
    assert_eq!(browser.leads_to(), "/shop/orders/o-1/pay");
    // A double click: the same form, sent before the browser had the first answer.
    let after = std::mem::replace(&mut browser.cookies, before);
    browser.post_as("/shop/checkout", &token, &form).await;
    assert_eq!(browser.leads_to(), "/shop/orders/o-1/pay", "the same order");
    // Back and sent again: the cart is empty, and the newest order is shown.
    browser.cookies = after;
    browser.post_as("/shop/checkout", &token, &form).await;
    assert_eq!(browser.leads_to(), "/shop/orders/o-1");
    let placed: Vec<_> = double.writes().into_iter().filter(|asked| asked.path == "/v1/orders").collect();
    assert_eq!(placed.len(), 2);
    assert_eq!(placed[0].key, placed[1].key, "one key for one form");
    assert_eq!(placed[0].body["expect_total"], 31_000);
    assert_eq!(placed[0].body["return_url"], "http://shop.example/shop/return");
    assert!(browser.get("/shop/cart").await.contains("The cart is empty"));
    assert!(browser.get("/shop/orders").await.contains("o-1"));
}

#[tokio::test]
async fn an_unknown_outcome_is_asked_again_under_the_same_key() {
    let (double, api) = Double::start().await;
    let mut browser = Browser::new(&api);
    browser.fill_cart().await;
    browser.sign_in("mina").await;
    browser.get("/shop/checkout").await;
    let key = browser.field("key");
    double.instead.lock().expect("free").insert("/v1/orders".into(), (500, json!("broken")));
    let page =
        browser.post("/shop/checkout", &[("key", &key), ("total", "31000"), ("method", "tok_ok")]).await;
    assert_eq!(browser.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(page.contains("it will not become a second order"), "{page}");
    assert_eq!(browser.field("key"), key, "the form keeps its key");
    assert_eq!(browser.field("method"), "tok_ok", "and what was chosen");
    // A refusal is an answer, and is not kept under the key: what was sent before may still come.
    double.refuse("/v1/orders", 409, "price-changed");
    let page = browser.post("/shop/checkout", &[("key", &key), ("total", "31000"), ("method", "page")]).await;
    assert!(page.contains("A price has changed") && page.contains("Order and pay"), "{page}");
    assert_eq!(browser.field("key"), key);
}

#[tokio::test]
async fn an_order_whose_answer_was_lost_is_not_placed_a_second_time() {
    let (double, api) = Double::start().await;
    let mut browser = Browser::new(&api);
    browser.fill_cart().await;
    browser.sign_in("mina").await;
    browser.get("/shop/checkout").await;
    let key = browser.field("key");
    let form = [("key", key.as_str()), ("total", "31000"), ("method", "tok_ok")];
    // The order is made, its answer is lost, and it holds what a second quote would need.
    double.lose_answers(true);
    double.refuse("/v1/orders/quote", 423, "coupon-held");
    browser.post("/shop/checkout", &form).await;
    assert_eq!(browser.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(browser.field("key"), key, "{}", browser.page);
    // A shopper who goes away and comes back, or loads the page anew, finds the same question.
    browser.get("/shop/cart").await;
    let page = browser.get("/shop/checkout").await;
    assert!(page.contains("it will not become a second order") && !page.contains("set aside"), "{page}");
    assert_eq!(
        (browser.field("key"), browser.field("total"), browser.field("method")),
        (key.clone(), "31000".into(), "tok_ok".into())
    );
    // A rush says nothing about the order, and neither does an API that is away altogether.
    double.refuse("/v1/orders", 503, "busy");
    browser.post("/shop/checkout", &form).await;
    assert_eq!(browser.field("key"), key, "{}", browser.page);
    double.instead.lock().expect("free").clear();
    double.lose_answers(false);
    browser.post("/shop/checkout", &form).await;
    assert_eq!(browser.leads_to(), "/shop/orders/o-1/pay");
    assert_eq!(double.orders.lock().expect("free").len(), 1, "one order");
    assert!(browser.get("/shop/cart").await.contains("The cart is empty"));
}

#[tokio::test]
async fn a_checkout_that_is_opened_again_before_its_answer_came_orders_once() {
    let (double, api) = Double::start().await;
    let mut browser = Browser::new(&api);
    browser.fill_cart().await;
    browser.sign_in("mina").await;
    browser.get("/shop/checkout").await;
    let (key, before) = (browser.field("key"), browser.cookies.clone());
    browser.post("/shop/checkout", &[("key", &key), ("total", "31000"), ("method", "tok_ok")]).await;
    // The browser never had that answer: its cart is as it was.
    browser.cookies = before;
    browser.get("/shop/checkout").await;
    let again = browser.field("key");
    browser.post("/shop/checkout", &[("key", &again), ("total", "31000"), ("method", "tok_ok")]).await;
    assert_eq!(browser.leads_to(), "/shop/orders/o-1/pay");
    assert_eq!(double.orders.lock().expect("free").len(), 1, "one order");
    // What comes into the cart next is another order.
    browser.fill_cart().await;
    browser.get("/shop/checkout").await;
    assert_ne!(browser.field("key"), key);
}

#[tokio::test]
async fn a_form_that_has_placed_another_order_leads_to_it() {
    let (double, api) = Double::start().await;
    let mut browser = Browser::new(&api);
    browser.fill_cart().await;
    browser.sign_in("mina").await;
    browser.get("/shop/checkout").await;
    let key = browser.field("key");
    double.refuse("/v1/orders", 422, "idempotency-key-reused");
    let page = browser.post("/shop/checkout", &[("key", &key), ("total", "31000"), ("method", "page")]).await;
    assert!(page.contains("has placed an order already") && !page.contains("Order and pay"), "{page}");
    double.instead.lock().expect("free").clear();
    browser.get("/shop/checkout").await;
    assert_ne!(browser.field("key"), key, "what is ordered next is another order");
}

#[tokio::test]
async fn an_order_shows_what_it_waits_for_and_leads_to_the_card_page() {
    let (double, api) = Double::start().await;
    let mut browser = Browser::new(&api);
    browser.sign_in("mina").await;
    let waits = json!({"step": "authorize", "what": "payment-page", "redirect": "http://company.example/pay/p1?a=1&b=2", "until": "2026-11-22T10:30:00Z"});
    double.add_order("o-5", "mina", &json!({"state": "placed", "paid_at": null, "waits_for": waits}));
    let page = browser.get("/shop/orders/o-5/pay").await;
    assert!(page.contains("content=\"1; url=http://company.example/pay/p1?a=1&amp;b=2\""), "{page}");
    let page = browser.get("/shop/orders/o-5").await;
    assert!(page.contains("<noscript><meta http-equiv=\"refresh\""), "it looks again without a script");
    assert!(
        page.contains("href=\"http://company.example/pay/p1?a=1&amp;b=2\"")
            && page.contains("until 22 Nov, 19:30")
    );
    let before = browser.get("/shop/orders/o-5/state").await;
    double.add_order("o-5", "mina", &json!({}));
    assert_ne!(browser.get("/shop/orders/o-5/state").await, before, "the script is told that it went on");
    let page = browser.get("/shop/orders/o-5").await;
    assert!(page.contains("It is paid") && !page.contains("http-equiv=\"refresh\""), "{page}");
    double.add_order(
        "o-6",
        "mina",
        &json!({"state": "placed", "waits_for": {"what": "payment-page", "redirect": "javascript:alert(1)"}}),
    );
    let page = browser.get("/shop/orders/o-6").await;
    assert!(!page.contains("javascript:"), "only what a browser may open is a link: {page}");
}

#[tokio::test]
async fn what_operators_and_companies_note_about_a_refund_is_not_shown_to_its_shopper() {
    let (double, api) = Double::start().await;
    let refund = json!({"refund": "o-7.1", "state": "refused", "kind": "cancel", "why": "charge_disputed: The dispute is open.",
                        "reason": "suspected fraud, case 4711", "amount": 31_000, "begun_at": "2026-11-22T10:00:00Z"});
    double.add_order("o-7", "mina", &json!({"refunds": [refund]}));
    let mut browser = Browser::new(&api);
    browser.sign_in("mina").await;
    for (language, words) in [("en", "Please ask us"), ("ko", "저희에게 문의해 주세요")] {
        browser.language = language;
        let page = browser.get("/shop/orders/o-7").await;
        assert!(page.contains(words), "{page}");
        for note in ["fraud", "4711", "dispute"] {
            assert!(!page.contains(note), "{note} in {page}");
        }
    }
}

#[tokio::test]
async fn an_order_that_ended_long_ago_is_still_shown() {
    let (double, api) = Double::start().await;
    double.add_order("o-3", "mina", &json!({"state": "cancelled", "paid_at": null}));
    double.add_order("o-4", "joon", &json!({}));
    double.forgotten.lock().expect("free").extend(["o-3".to_owned(), "o-4".to_owned()]);
    let mut browser = Browser::new(&api);
    browser.sign_in("mina").await;
    assert!(browser.get("/shop/orders").await.contains("/shop/orders/o-3"));
    let page = browser.get("/shop/orders/o-3").await;
    assert!(
        page.contains("The order is cancelled") && !page.contains("To pay"),
        "nothing is to pay any more: {page}"
    );
    browser.get("/shop/orders/o-4").await;
    assert_eq!(browser.status, StatusCode::NOT_FOUND, "another member's is not");
}

#[tokio::test]
async fn when_the_api_is_away_the_page_says_so() {
    let mut browser = Browser::new("http://127.0.0.1:9");
    let page = browser.get("/shop").await;
    assert_eq!(browser.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(page.contains("does not answer right now") && !page.contains("127.0.0.1:9"), "{page}");
    assert_eq!(browser.headers[header::RETRY_AFTER], "2");
}

#[tokio::test]
async fn the_sale_is_claimed_and_counted() {
    let (double, api) = Double::start().await;
    let mut browser = Browser::new(&api);
    let left = browser.get("/shop/sale/noon/left").await;
    assert!(left.contains("\"left\":99") && left.contains("\"state\":\"open\""), "{left}");
    assert!(browser.get("/shop/sale").await.contains("Sign in to claim"));
    let quietly = double.count("/v1/campaigns");
    assert!(quietly <= 2, "viewers share what was read: {quietly}");
    browser.sign_in("mina").await;
    browser.get("/shop/coupons").await;
    browser.post("/shop/sale/noon/claim", &[]).await;
    assert_eq!(browser.leads_to(), "/shop/coupons?note=claimed");
    assert!(browser.get("/shop/coupons?note=claimed").await.contains("AAAA-BBBB-CCCCC"));
    double.refuse("/v1/campaigns/noon/coupons", 409, "sold-out");
    let page = browser.post("/shop/sale/noon/claim", &[]).await;
    assert!(browser.status == StatusCode::CONFLICT && page.contains("All of them are taken"), "{page}");
}

#[tokio::test]
async fn a_code_that_is_refused_is_not_kept() {
    let (double, api) = Double::start().await;
    let mut browser = Browser::new(&api);
    browser.fill_cart().await;
    browser.sign_in("mina").await;
    browser.get("/shop/cart").await;
    double.refuse("/v1/orders/quote", 410, "coupon-expired");
    let page = browser.post("/shop/cart/coupon", &[("code", "aaaa-bbbb-xxxxx")]).await;
    assert!(
        page.contains("name=\"code\" value=\"AAAA-BBBB-XXXXX\""),
        "what was typed is kept to be mended: {page}"
    );
    assert!(page.contains("time is over") && browser.status == StatusCode::UNPROCESSABLE_ENTITY, "{page}");
    double.instead.lock().expect("free").clear();
    browser.get("/shop/cart").await;
    assert!(browser.page.contains("To checkout"), "{}", browser.page);
    browser.get("/shop/checkout").await;
    let quoted =
        double.asked.lock().expect("free").iter().rfind(|asked| asked.path == "/v1/orders/quote").cloned();
    assert_eq!(quoted.expect("a quote").body["coupon"], json!(null));
}
