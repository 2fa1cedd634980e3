//! Every page of the console in a real Chromium, with nothing and with a busy morning's data: see `common/eyes.rs`.

mod common;
#[path = "common/eyes.rs"]
mod eyes;

use eyes::Eyes;
use common::front::Front;
use common::{Browser, Store, old_shop, shop};

#[tokio::test(flavor = "multi_thread")]
async fn every_page_fits_a_phone_and_a_desk_with_nothing_in_the_store() {
    let store = Store::open();
    let mut eyes = Eyes::open(&store, store.console()).await;
    for page in [
        "orders",
        "products",
        "stock",
        "ledger",
        "sagas",
        "campaigns",
        "members",
        "events",
        "gateway",
        "over",
        "store",
    ] {
        eyes.look(&format!("empty-{page}"), &format!("/console/{page}"));
    }
    eyes.look("empty-sale", "/console");
    eyes.look("empty-nothing", "/console/nowhere");
    eyes.are_content();
    store.stop.send_replace(true);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_fits_a_phone_and_a_desk_on_a_busy_morning() {
    let (store, front) = (Store::open(), Front::open().await);
    let sagas = shop::open(&store).await;
    let (keeper, _) = old_shop::keep(&store);
    front.visit().await;
    let groups = front.gateway.groups("catalog").expect("the route");
    let price = groups.iter().find(|group| group.path == "$.price").expect("the price differs").id.clone();
    let console = front.console(&store);
    Browser::signed_in(console.clone(), &store.operator).await.get("/console").await;
    while keeper.lags().len() < 2 {
        // Between two looks; the keeper notes its lag each second, and a plot needs two.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let mut eyes = Eyes::open(&store, console).await;
    let saga = |no: banyan_domain::SagaNo| format!("/console/sagas/{}", no.get());
    let order = |no: banyan_domain::OrderNo| format!("/console/orders/{no}");
    for (name, path) in [
        ("sale", "/console".to_owned()),
        ("orders", "/console/orders".into()),
        ("order-paid", order(sagas.paid)),
        ("order-returned", order(sagas.returned)),
        ("order-parked", order(sagas.parked)),
        ("products", "/console/products".into()),
        ("stock", "/console/stock".into()),
        ("sku", "/console/stock/mug-white".into()),
        ("ledger", "/console/ledger".into()),
        ("account", "/console/ledger/points%3Amember-101".into()),
        ("sagas", "/console/sagas".into()),
        ("sagas-parked", "/console/sagas?state=parked".into()),
        ("saga-completed", saga(sagas.completed)),
        ("saga-parked", saga(sagas.parked_forward)),
        ("definitions", "/console/sagas/definitions".into()),
        ("definition", "/console/sagas/definitions/checkout".into()),
        ("campaigns", "/console/campaigns".into()),
        ("campaign", "/console/campaigns/noon".into()),
        ("campaign-new", "/console/campaigns/new".into()),
        ("coupon", "/console/coupons/noon-1".into()),
        ("member", "/console/members/member-101".into()),
        ("events", "/console/events".into()),
        ("event", "/console/events/30".into()),
        ("gateway", "/console/gateway".into()),
        ("route", "/console/gateway/routes/catalog".into()),
        ("mismatch", format!("/console/gateway/routes/catalog/groups/{price}")),
        ("over", "/console/over".into()),
        ("over-plan", "/console/over/plan?to=mirror".into()),
        ("store", "/console/store".into()),
    ] {
        eyes.look(name, &path);
    }
    eyes.speak("ko");
    for (name, path) in [
        ("ko-sale", "/console".to_owned()),
        ("ko-order-returned", order(sagas.returned)),
        ("ko-sku", "/console/stock/mug-white".into()),
        ("ko-saga-parked", saga(sagas.parked_forward)),
        ("ko-route", "/console/gateway/routes/catalog".into()),
        ("ko-over", "/console/over".into()),
    ] {
        eyes.look(name, &path);
    }
    eyes.are_content();
    store.stop.send_replace(true);
}
