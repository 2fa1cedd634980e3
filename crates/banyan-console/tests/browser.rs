//! The console in a real Chromium: what a page holds after its scripts ran.

mod common;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use banyan_testkit::Chromium;
use common::front::Front;
use common::{Browser, Store, old_shop};
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;

/// Ends the live stream after its history and two ticks: a browser that keeps its own time stands still as long as an
/// answer is under way. So the pages also see a stream that breaks.
async fn break_off(request: Request, next: Next) -> Response {
    let is_live = request.uri().path() == "/console/live";
    let response = next.run(request).await;
    if !is_live {
        return response;
    }
    let (parts, body) = response.into_parts();
    Response::from_parts(parts, Body::from_stream(body.into_data_stream().take(3)))
}

/// The document of `path` as the browser holds it.
async fn document(address: &str, path: &str) -> String {
    let url = format!("{address}/enter?to={path}");
    let visit = tokio::task::spawn_blocking(move || {
        let chromium = Chromium::new().expect("Chromium is installed where the tests run");
        chromium.dump_dom(&url).expect("the page opens")
    });
    visit.await.expect("it does not panic")
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_come_alive_in_a_browser() {
    let store = Arc::new(Store::open());
    store.campaign("noon", "Noon <i>sale</i>", Some(100_000)).await;
    let console = store.console();
    let session = Browser::signed_in(console.clone(), &store.operator).await.session();
    let address = store.serve(console.layer(from_fn(break_off)), session).await;
    let selling = store.clone();
    let sale = tokio::spawn(async move {
        let mut timer = tokio::time::interval(Duration::from_millis(5));
        for n in 0_u64.. {
            timer.tick().await;
            selling.issue("noon", &format!("m{n}")).await;
        }
    });
    // The plots need two samples: the sampler takes one each second.
    while store.app.shard().metrics().issued < 600 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    let page = document(&address, "/console").await;
    assert_eq!(page.matches("<canvas").count(), 7, "a plot for each of the seven: {page}");
    assert!(
        page.contains("data-spark=\"issued\" points=\"")
            && !page.contains("data-spark=\"issued\" points=\"\"")
    );
    assert!(page.contains("Noon &lt;i&gt;sale&lt;/i&gt;"), "names stay text");
    assert!(
        page.contains("is-stale") && page.contains("No news from the server since"),
        "a broken stream is told"
    );
    assert!(
        page.contains("data-level=\"watch\"") && page.contains("Not known"),
        "and the verdict does not stay what it was"
    );

    let before = store.app.shard().metrics().issued;
    let page = document(&address, "/console/campaigns/noon").await;
    let shown =
        page.split("data-v=\"issued\">").nth(1).and_then(|rest| rest.split('<').next()).unwrap_or_default();
    // The top line's rate comes first; the campaign's number is in the page's own part.
    let campaign = page.split("<main").nth(1).unwrap_or_default();
    let moved = campaign
        .split("data-v=\"issued\">")
        .nth(1)
        .and_then(|rest| rest.split('<').next())
        .unwrap_or_default();
    let moved: u64 = moved.replace(',', "").parse().expect("a number");
    assert!(moved >= before, "{moved} of at least {before} ({shown} a second)");

    for path in [
        "/console/campaigns",
        "/console/events",
        "/console/store",
        "/console/members/m1",
        "/console/coupons/noon-1",
    ] {
        let page = document(&address, path).await;
        assert!(page.contains("aria-current=\"page\"") && page.contains("<main"), "{path}: {page}");
        assert!(!page.contains("hidden=\"\" id=\"follow\""), "{path}: the script ran and offers to follow");
    }
    sale.abort();
    store.stop.send_replace(true);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_of_a_move_come_alive_in_a_browser() {
    let (store, front) = (Store::open(), Front::open().await);
    let (keeper, _) = old_shop::keep(&store);
    front.visit().await;
    let console = front.console(&store);
    let session = Browser::signed_in(console.clone(), &store.operator).await.session();
    let address = store.serve(console.layer(from_fn(break_off)), session).await;
    // The plots need two points: the keeper notes one each second.
    while keeper.lags().len() < 2 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let page = document(&address, "/console/over").await;
    assert_eq!(page.matches("<canvas").count(), 2, "a plot for each direction: {page}");
    let page = document(&address, "/console/gateway").await;
    assert!(page.contains("answered by Banyan"), "the traffic is counted: {page}");
    assert_eq!(page.matches("type=\"range\"").count(), 4, "a slider for each route");
    store.stop.send_replace(true);
}
