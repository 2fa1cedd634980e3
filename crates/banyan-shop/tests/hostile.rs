//! Visitors who mean no good: forged forms, changed cookies, other people's orders, scripts in texts, addresses elsewhere.

mod common;

use common::{Browser, Double};
use http::{StatusCode, header};
use serde_json::json;

/// Every form that changes something.
const FORMS: [&str; 11] = [
    "/shop/cart",
    "/shop/cart/add",
    "/shop/cart/coupon",
    "/shop/cart/points",
    "/shop/checkout",
    "/shop/orders/o-1/cancel",
    "/shop/orders/o-1/return",
    "/shop/orders/o-1/again",
    "/shop/sale/noon/claim",
    "/shop/points",
    "/shop/sign-out",
];

#[tokio::test]
async fn a_form_without_its_token_does_nothing() {
    let (double, api) = Double::start().await;
    double.add_order("o-1", "mina", &json!({}));
    let mut browser = Browser::new(&api);
    browser.fill_cart().await;
    browser.sign_in("mina").await;
    let mut stranger = browser.another();
    stranger.get("/shop/sign-in").await;
    let theirs = stranger.field("csrf");
    let cookies = browser.cookies.clone();
    for form in FORMS {
        for token in ["", "x", theirs.as_str()] {
            let page = browser.post_as(form, token, &[("product", "mug-moss"), ("reason", "x")]).await;
            assert_eq!(browser.status, StatusCode::FORBIDDEN, "{form} with {token:?}: {page}");
            assert!(page.contains("too old"), "{page}");
        }
        assert_eq!(browser.cookies, cookies, "{form}: nothing of the session changed");
    }
    let page = stranger.post_as("/shop/sign-in", "", &[("member", "mina")]).await;
    assert!(
        stranger.status == StatusCode::FORBIDDEN && !page.contains("Signed in"),
        "nobody is signed in by another site"
    );
    assert!(double.writes().is_empty(), "nothing reached the API: {:?}", double.writes());
}

#[tokio::test]
async fn a_changed_cookie_is_a_new_visitor() {
    let (_double, api) = Double::start().await;
    let mut browser = Browser::new(&api);
    browser.sign_in("mina").await;
    assert!(browser.get("/shop").await.contains("mina"));
    let sealed = browser.cookies["banyan_shop"].clone();
    let (body, tag) = sealed.split_once('.').expect("sealed");
    // Another member's name in the same seal, half a seal, none, and nonsense.
    let forged =
        base64_of(r#"{"id":"AAAAAAAAAAAAAAAAAAAAAA","at":9999999999,"began":9999999999,"member":"joon"}"#);
    for cookie in [
        format!("{forged}.{tag}"),
        format!("{body}.{}", &tag[..20]),
        body.to_owned(),
        format!("{forged}."),
        "x.y.z".into(),
    ] {
        browser.cookies.insert("banyan_shop".into(), cookie.clone());
        browser.get("/shop/orders").await;
        assert_eq!(browser.status, StatusCode::SEE_OTHER, "{cookie}");
        assert!(browser.leads_to().starts_with("/shop/sign-in"), "{cookie}");
    }
}

#[tokio::test]
async fn a_copied_cookie_is_worth_nothing_after_signing_out() {
    let (_double, api) = Double::start().await;
    let mut browser = Browser::new(&api);
    browser.fill_cart().await;
    browser.sign_in("mina").await;
    let mut thief = browser.another();
    thief.cookies = browser.cookies.clone();
    assert!(thief.get("/shop/orders").await.contains("mina"));
    browser.get("/shop").await;
    browser.post("/shop/sign-out", &[]).await;
    thief.cookies.retain(|name, _| name == "banyan_shop");
    thief.get("/shop/orders").await;
    assert_eq!(thief.status, StatusCode::SEE_OTHER, "a copy signs nobody in");
    // Neither does one from before its owner signed in as somebody else.
    browser.sign_in("mina").await;
    let copied = browser.cookies.clone();
    browser.sign_in("joon").await;
    thief.cookies = copied;
    thief.get("/shop/orders").await;
    assert_eq!(thief.status, StatusCode::SEE_OTHER);
    assert!(browser.get("/shop/cart").await.contains("q.mug-moss"), "the cart stays with its owner");
}

fn base64_of(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
}

#[tokio::test]
async fn another_members_order_is_not_there() {
    let (double, api) = Double::start().await;
    double.add_order("o-1", "joon", &json!({}));
    let mut browser = Browser::new(&api);
    browser.sign_in("mina").await;
    for path in ["/shop/orders/o-1", "/shop/orders/o-1/pay", "/shop/orders/o-1/state", "/shop/orders/o-999"] {
        let page = browser.get(path).await;
        assert_eq!(browser.status, StatusCode::NOT_FOUND, "{path}");
        assert!(!page.contains("joon") && !page.contains("pay_1"), "{page}");
    }
    for (form, fields) in [
        ("cancel", vec![("reason", "x")]),
        ("return", vec![("q.mug-moss", "1"), ("key", "abcdefgh12345678")]),
        ("again", vec![]),
    ] {
        browser.get("/shop/points").await;
        browser.post(&format!("/shop/orders/o-1/{form}"), &fields).await;
        assert_eq!(browser.status, StatusCode::NOT_FOUND, "{form}");
    }
    assert!(double.writes().is_empty(), "{:?}", double.writes());
}

#[tokio::test]
async fn texts_of_others_stay_text() {
    let (double, api) = Double::start().await;
    let evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>";
    let refund = json!({"refund": "o-1.1", "state": "refused", "kind": "return", "why": evil, "reason": evil, "amount": 1,
                        "begun_at": evil, "lines": [{"product": evil, "quantity": 1}]});
    let more = json!({"state": "failed", "why": evil, "payment": evil, "refunds": [refund], "placed_at": evil,
                      "lines": [{"product": evil, "quantity": 1, "unit_price": 1}]});
    double.add_order("o-1", "mina", &more);
    let mut browser = Browser::new(&api);
    browser.sign_in("mina").await;
    let query = "%3Cscript%3Ealert(1)%3C%2Fscript%3E%22onload%3D%22x";
    let paths = [
        "/shop".to_owned(),
        "/shop/sale".into(),
        "/shop/coupons".into(),
        "/shop/orders".into(),
        "/shop/orders/o-1".into(),
        "/shop/goods/%3Cb%3Eown%3C%2Fb%3E".into(),
        format!("/shop?q={query}&category={query}&sort={query}&page={query}"),
        format!("/shop/cart?note={query}&again={query}"),
        format!("/shop/sign-in?next={query}"),
        format!("/shop/goods/{query}"),
        format!("/shop/{query}"),
        format!("/shop/pictures/{query}.svg"),
    ];
    for path in paths {
        let page = browser.get(&path).await;
        for bad in ["<script>alert", "<img src=x", "<b>own", "\"onload=\"", "<svg onload"] {
            assert!(!page.contains(bad), "{path}: {bad} in {page}");
        }
        let csp = browser.headers[header::CONTENT_SECURITY_POLICY].to_str().expect("text");
        assert!(
            csp.starts_with("default-src 'none'; script-src 'self'") && !csp.contains("unsafe"),
            "{path}: {csp}"
        );
        assert!(
            !page.contains(" style=\"") && !page.contains(" onclick="),
            "{path}: nothing that the policy forbids"
        );
    }
    browser.get("/shop/sign-in").await;
    let page = browser.post("/shop/sign-in", &[("member", evil)]).await;
    assert_eq!(browser.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        !page.contains("<script>alert") && page.contains("&lt;script&gt;"),
        "typed text is kept, as text: {page}"
    );
}

#[tokio::test]
async fn nobody_is_led_elsewhere() {
    let (_double, api) = Double::start().await;
    let mut browser = Browser::new(&api);
    for next in [
        "https://evil.example/shop",
        "//evil.example",
        "/console",
        "/shop\\evil",
        "/shop/sign-out",
        "javascript:x",
    ] {
        browser.get("/shop/sign-in").await;
        browser.post("/shop/sign-in", &[("member", "mina"), ("next", next)]).await;
        assert_eq!(browser.leads_to(), "/shop", "{next}");
        browser.get(&format!("/shop/language/ko?back={}", next.replace('\\', "%5C"))).await;
        assert_eq!(browser.leads_to(), "/shop", "{next}");
    }
}

#[tokio::test]
async fn a_form_too_large_or_broken_is_refused() {
    let (double, api) = Double::start().await;
    let mut browser = Browser::new(&api);
    browser.fill_cart().await;
    browser.sign_in("mina").await;
    browser.get("/shop/checkout").await;
    let long = "x".repeat(20_000);
    browser.post("/shop/cart/coupon", &[("code", &long)]).await;
    assert!(browser.status.is_client_error(), "{}", browser.status);
    for (key, total) in [
        ("", "31000"),
        ("short", "31000"),
        ("good-key-1234567", "x"),
        ("bad key with spaces", "31000"),
        ("good-key-1234567", ""),
    ] {
        browser.get("/shop/checkout").await;
        browser.post("/shop/checkout", &[("key", key), ("total", total), ("method", "page")]).await;
        assert_eq!(browser.status, StatusCode::BAD_REQUEST, "{key:?} {total:?}");
    }
    browser.get("/shop/checkout").await;
    let key = browser.field("key");
    browser.post("/shop/checkout", &[("key", &key), ("total", "31000"), ("method", "tok_of_mine")]).await;
    assert_eq!(browser.status, StatusCode::UNPROCESSABLE_ENTITY, "only the ways to pay that are offered");
    assert!(double.writes().is_empty(), "{:?}", double.writes());
}

#[tokio::test]
async fn every_link_on_a_page_that_answers_a_form_leads_to_a_page() {
    let (double, api) = Double::start().await;
    double.add_order("o-1", "mina", &json!({}));
    let mut browser = Browser::new(&api);
    browser.fill_cart().await;
    browser.sign_in("mina").await;
    for form in FORMS {
        // Refused, so that the answer is a page.
        let page = browser.post_as(form, "", &[]).await;
        let back = page.split("/shop/language/ko?back=").nth(1).and_then(|rest| rest.split('"').next());
        let back = back.expect("the switch between languages").replace("%2F", "/");
        browser.get(&back).await;
        assert_eq!(browser.status, StatusCode::OK, "{form} leads back to {back}");
        let mut stranger = browser.another();
        let page = stranger.post_as(form, "", &[]).await;
        let next = page.split("/shop/sign-in?next=").nth(1).and_then(|rest| rest.split('"').next());
        let next = next.expect("the way to sign in").replace("%2F", "/");
        browser.get(&next).await;
        assert_eq!(browser.status, StatusCode::OK, "{form} leads on to {next}");
        // And who opens it all the same is led there, too.
        browser.get(form).await;
        assert!(
            matches!(browser.status, StatusCode::OK | StatusCode::SEE_OTHER),
            "{form}: {}",
            browser.status
        );
    }
}

#[tokio::test]
async fn an_address_that_is_nearly_one_is_answered_by_the_shop() {
    let (double, api) = Double::start().await;
    let mut browser = Browser::new(&api);
    browser.language = "ko";
    browser.get("/shop/").await;
    assert_eq!((browser.status, browser.leads_to()), (StatusCode::PERMANENT_REDIRECT, "/shop"));
    browser.sign_in("mina").await;
    for path in [
        "/shop/orders/%FF",
        "/shop/orders/%FF/state",
        "/shop/goods/%EB%A8",
        "/shop/sale/%FF/left",
        "/shop/%FF",
    ] {
        let page = browser.get(path).await;
        assert_eq!(browser.status, StatusCode::NOT_FOUND, "{path}");
        assert!(page.contains("없는 화면입니다"), "{path}: {page}");
    }
    // A no that is not about the order is not told as one.
    double.refuse("/v1/orders/o-9", 401, "unauthenticated");
    let page = browser.get("/shop/orders/o-9").await;
    assert_eq!(browser.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!page.contains("이 번호의 주문이 없습니다"), "{page}");
}
