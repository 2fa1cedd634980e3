//! The shop in a real Chromium: what a page holds after its script ran, and that nothing of it is forbidden by its policy.

mod common;

use banyan_shop::ShopOptions;
use banyan_testkit::Chromium;
use common::{Browser, Double, KEY};
use serde_json::json;
use std::time::Duration;
use tokio::net::TcpListener;

/// The document of `url` as the browser holds it.
async fn document(url: String) -> String {
    let visit = tokio::task::spawn_blocking(move || {
        // The page's own time runs ahead of ours: it asks some hundred times within our second or two.
        let found = Chromium::new().expect("Chromium is installed where the tests run");
        let chromium = Chromium { page_time: Duration::from_secs(600), ..found };
        chromium.dump_dom(&url).expect("the page opens")
    });
    visit.await.expect("it does not panic")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_a_sale_moves_by_itself_in_a_browser() {
    let (double, api) = Double::start().await;
    let shop = banyan_shop::router(ShopOptions { api: api.clone(), key: KEY.into(), public_url: None });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = format!("http://{}", listener.local_addr().expect("bound"));
    let shop = shop.expect("an address");
    tokio::spawn(async move { axum::serve(listener, shop).await });

    // What the page was made with is no longer so when its script asks.
    let mut without_script = Browser::new(&api);
    assert!(without_script.get("/shop/sale").await.contains("data-v=\"left\">99<"));
    let campaign = json!({"id": "noon", "name": "Noon", "benefit": {"free_shipping": {}}, "audience": "everyone", "per_member": 1,
                          "state": "open", "issued": 58, "left": 42});
    let before = double.count("/v1/campaigns");
    let page = {
        let url = format!("{address}/shop/sale");
        let opened = tokio::spawn(document(url));
        // The first look is the page's own; from then on 42 are left.
        while double.count("/v1/campaigns") == before {
            // Between two looks; what is waited for is that the shop has asked.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let answer = json!({"campaigns": [campaign], "seq": 10});
        double.instead.lock().expect("no panic while held").insert("/v1/campaigns".into(), (200, answer));
        opened.await.expect("it does not panic")
    };
    assert!(page.contains("data-v=\"left\">42<"), "the number moved: {page}");
    assert!(page.contains("Live: this number moves by itself."), "and says that it does: {page}");

    let page = document(format!("{address}/shop")).await;
    assert!(page.contains("Moss mug") && page.matches("/shop/pictures/").count() >= 3, "{page}");
}
