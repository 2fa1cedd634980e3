//! The card page in a real Chromium.

mod common;

use banyan_testkit::Chromium;
use common::Company;
use std::path::Path;

/// What the page looks like, for who wants to see: `target/tmp/card-*.png`.
fn look(url: &str, name: &str) -> String {
    let chromium = Chromium::new().expect("Chromium is installed where the tests run");
    for (width, height) in [(1_440, 1_000), (390, 1_200)] {
        for dark in [false, true] {
            let picture = chromium.screenshot(url, width, height, dark).expect("a picture");
            assert!(picture.len() > 5_000, "a page with something on it");
            let shade = if dark { "dark" } else { "light" };
            let file =
                Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("card-{name}-{width}-{shade}.png"));
            std::fs::write(file, picture).expect("the folder for test output takes files");
        }
    }
    chromium.dump_dom(url).expect("the page opens")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_sees_what_they_pay_and_to_whom() {
    let company = Company::start().await;
    let mut order = common::order("2026-1127-000381", "page");
    order["description"] = "겨울 패딩 코트 외 2건".into();
    order["amount"]["minor"] = 189_000.into();
    order["return_url"] = "http://shop.example/checkout/done".into();
    let paid = company.post("/api/payments", "k", &order).await.json();
    let id = paid["payment"].as_str().expect("an id").to_owned();
    let url = company.url(&format!("/pay/{id}"));
    let see = |url: String, name: &'static str| tokio::task::spawn_blocking(move || look(&url, name));

    let page = see(format!("{url}?lang=en"), "en").await.expect("no panic");
    assert!(page.contains("₩189,000") && page.contains("shop.example") && page.contains("2026-1127-000381"));
    let page = see(format!("{url}?lang=ko"), "ko").await.expect("no panic");
    assert!(page.contains("189,000원") && page.contains("겨울 패딩 코트 외 2건"));
    company.form(&format!("/pay/{id}"), "use=tok_challenge").await;
    let page = see(format!("{url}?lang=ko"), "code").await.expect("no panic");
    assert!(page.contains("카드사 본인 확인"));
    company.form(&format!("/pay/{id}"), "code=123456").await;
    let page = see(format!("{url}?lang=ko"), "done").await.expect("no panic");
    assert!(page.contains("승인되었습니다"));
    company.stop().await;
}
