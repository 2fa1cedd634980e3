//! The console's pages of a real gateway on loopback: what they show, and what their forms change.

mod common;

use banyan_gateway::Mode;
use banyan_gateway::groups::{Group, Judgement};
use common::front::{Front, ROUTES};
use common::{Browser, Page, Store};
use http::StatusCode;

fn main(page: &Page) -> &str {
    page.body.split("<main").nth(1).unwrap_or(&page.body)
}

fn route_page(route: &str) -> String {
    format!("/console/gateway/routes/{}", route.replace(' ', "%20"))
}

async fn set(
    browser: &mut Browser,
    route: &str,
    expected: u64,
    mode: &str,
    percent: &str,
    why: &str,
) -> Page {
    let csrf = browser.get("/console/gateway").await.csrf();
    let expected = expected.to_string();
    let fields = [
        ("csrf", csrf.as_str()),
        ("action", "set"),
        ("from", "table"),
        ("expected", &expected),
        ("mode", mode),
        ("percent", percent),
        ("reason", why),
    ];
    browser.post(&format!("{}/change", route_page(route)), &fields).await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_gateway_the_page_says_how_to_get_one() {
    let store = Store::open();
    let mut browser = Browser::signed_in(store.console(), &store.operator).await;
    let page = browser.get("/console/gateway").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(main(&page).contains("banyan up --gateway") && main(&page).contains("another process"));
    assert!(
        page.body.contains("href=\"/console/gateway\" aria-current=\"page\""),
        "it has its place in the line"
    );
    for path in ["/console/gateway/routes/x", "/console/gateway/routes/x/groups/y"] {
        assert_eq!(browser.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_renders_in_both_languages_for_both_roles() {
    let (store, front) = (Store::open(), Front::open().await);
    front.visit().await;
    let group = front.gateway.groups("catalog").expect("the route")[0].id.clone();
    let mut paths = vec!["/console/gateway".to_owned()];
    paths.extend(ROUTES.map(route_page));
    paths.push(format!("{}/groups/{group}", route_page("catalog")));
    for key in [&store.operator, &store.auditor] {
        let mut browser = Browser::signed_in(front.console(&store), key).await;
        for lang in ["en", "ko"] {
            browser.get(&format!("/console/language/{lang}?back=/console")).await;
            for path in &paths {
                let page = browser.get(path).await;
                assert_eq!(page.status, StatusCode::OK, "{path}: {}", main(&page));
                assert!(page.body.contains(&format!("<html lang=\"{lang}\"")), "{path}");
                assert!(!page.body.contains("style=\"") && !page.body.contains("onclick"), "{path}");
                let offers = main(&page).contains("method=\"post\"");
                assert_eq!(offers, key == &store.operator, "{path}: forms are for operators");
            }
        }
    }
    let mut auditor = Browser::signed_in(front.console(&store), &store.auditor).await;
    let csrf = auditor.get("/console/gateway").await.csrf();
    let fields = [("csrf", csrf.as_str()), ("action", "undo-1"), ("version", "1"), ("reason", "x")];
    assert_eq!(auditor.post("/console/gateway/undo", &fields).await.status, StatusCode::FORBIDDEN);
    let mut browser = Browser::signed_in(front.console(&store), &store.operator).await;
    for path in ["/console/gateway/routes/none", "/console/gateway/routes/catalog/groups/none"] {
        assert_eq!(browser.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mode_and_share_change_with_the_version_that_was_seen_and_can_be_taken_back() {
    let (store, front) = (Store::open(), Front::open().await);
    let mut browser = Browser::signed_in(front.console(&store), &store.operator).await;
    let gateway = &front.gateway;
    let share = |route: &str| gateway.table().route(route).expect("it is there").percent(0);
    let mode = |route: &str| gateway.table().route(route).expect("it is there").mode();
    let seen = gateway.table().version();

    let page = set(&mut browser, "prices", seen, "canary", "0.01", "as small as it gets").await;
    assert_eq!((page.status, share("prices")), (StatusCode::SEE_OTHER, 0.01), "{}", main(&page));
    assert!(page.location().starts_with("/console/gateway?done="), "{}", page.location());
    let shown = browser.get(page.location()).await;
    assert!(main(&shown).contains("0.01 %") && main(&shown).contains("as small as it gets"));
    assert!(main(&shown).contains("mina"), "who did it stands in the history");

    let page = set(&mut browser, "prices", seen, "canary", "40", "from an old page").await;
    assert_eq!((page.status, share("prices")), (StatusCode::CONFLICT, 0.01), "somebody was faster");
    assert!(
        main(&page).contains("Somebody changed the table meanwhile")
            && main(&page).contains("from an old page")
    );

    let version = gateway.table().version();
    for (mode, percent, why) in [
        ("canary", "0.01", "the same again"),
        ("canary", "100.5", "too much"),
        ("canary", "0.001", "too fine"),
        ("canary", "much", "no number"),
        ("banyan", "1", ""),
    ] {
        let page = set(&mut browser, "prices", version, mode, percent, why).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{mode} {percent} {why}: {}", main(&page));
    }
    assert_eq!(gateway.table().version(), version, "nothing was changed");

    set(&mut browser, "catalog", version, "canary", "5", "both at once").await;
    assert_eq!((mode("catalog"), share("catalog")), (Mode::Canary, 5.0));
    let csrf = browser.get("/console/gateway").await.csrf();
    let undone = (version + 1).to_string();
    let action = format!("undo-{undone}");
    let fields =
        [("csrf", csrf.as_str()), ("action", &action), ("version", &undone), ("reason", "too early")];
    let page = browser.post("/console/gateway/undo", &fields).await;
    assert_eq!((page.status, mode("catalog")), (StatusCode::SEE_OTHER, Mode::Shadow), "{}", main(&page));
    let page = browser.post("/console/gateway/undo", &fields).await;
    assert_eq!(page.status, StatusCode::CONFLICT, "it was taken back already");
    assert!(main(&page).contains("was changed again") && main(&page).contains("too early"));

    let forged = browser.post(&format!("{}/change", route_page("prices")), &[("action", "set")]).await;
    assert_eq!(forged.status, StatusCode::FORBIDDEN, "a form without its token");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ramp_is_paused_and_goes_on() {
    let (store, front) = (Store::open(), Front::open().await);
    let mut browser = Browser::signed_in(front.console(&store), &store.operator).await;
    let paused = || {
        let table = front.gateway.table();
        let canary = table.route("prices").and_then(|route| route.spec().canary.clone());
        canary.expect("a canary").paused_at.is_some()
    };
    for (action, expected) in [("pause", true), ("resume", false)] {
        let page = browser.get(&route_page("prices")).await;
        assert!(main(&page).contains(&format!("value=\"{action}\"")), "it is offered");
        let (csrf, version) = (page.csrf(), front.gateway.table().version().to_string());
        let fields =
            [("csrf", csrf.as_str()), ("action", action), ("expected", &version), ("reason", "lunch")];
        let page = browser.post(&format!("{}/change", route_page("prices")), &fields).await;
        assert_eq!((page.status, paused()), (StatusCode::SEE_OTHER, expected), "{}", main(&page));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mismatches_stand_side_by_side_and_are_judged() {
    let (store, front) = (Store::open(), Front::open().await);
    front.visit().await;
    let mut browser = Browser::signed_in(front.console(&store), &store.operator).await;
    let page = browser.get(&route_page("catalog")).await;
    let shown = main(&page);
    assert!(shown.contains("$.price") && shown.contains("$.note"), "{shown}");
    assert!(shown.contains("of 5,000 requests of this batch"), "the evidence says what is missing: {shown}");

    let groups = front.gateway.groups("catalog").expect("the route");
    let price = groups.iter().find(|group| group.path == "$.price").expect("the price differs");
    let path = format!("{}/groups/{}", route_page("catalog"), price.id);
    let page = browser.get(&path).await;
    let marks: Vec<&str> =
        page.body.split("<mark>").skip(1).filter_map(|rest| rest.split("</mark>").next()).collect();
    assert!(marks.iter().any(|mark| mark.contains("18000")), "{marks:?}");
    assert!(marks.iter().any(|mark| mark.contains("18500")), "{marks:?}");
    assert!(marks.iter().all(|mark| mark.contains("price")), "only what counts is marked: {marks:?}");
    assert!(page.body.contains("equal lines"), "what is equal is folded");
    assert!(!page.body.contains("<b>by hand</b>"), "answers stay text");

    let judge = format!("{path}/change");
    let csrf = page.csrf();
    let page = browser.post(&judge, &[("csrf", &csrf), ("judgement", "ignore"), ("reason", "")]).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "without a reason");
    for (word, judgement) in
        [("ignore", Judgement::Ignore), ("bug", Judgement::Bug), ("open", Judgement::Open)]
    {
        let fields = [("csrf", csrf.as_str()), ("judgement", word), ("reason", "the tea went up")];
        let page = browser.post(&judge, &fields).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", main(&page));
        let groups = front.gateway.groups("catalog").expect("the route");
        let judged = groups.iter().find(|group| group.path == "$.price").map(Group::judgement);
        assert_eq!(judged, Some(judgement));
    }
    let page = browser.get(&path).await;
    assert_eq!(main(&page).matches("the tea went up").count(), 3, "all that was said of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_and_traffic_are_shown() {
    let (store, front) = (Store::open(), Front::open().await);
    front.visit().await;
    let mut browser = Browser::signed_in(front.console(&store), &store.operator).await;
    let page = browser.get("/console/gateway").await;
    let callers = main(&page).split("id=\"callers\"").nth(1).expect("the callers");
    assert!(callers.contains("stock") && callers.contains("2 left"), "one caller on two routes: {callers}");
    assert!(callers.contains("has not been watched for that long"), "{callers}");
    let live = browser.event("/console/live?of=gateway", "tick").await;
    for part in ["table-version", "traffic-basket", "share-everything%20else"] {
        assert!(live["parts"][part].is_string(), "{part}: {live}");
    }
    let live = browser.event("/console/live?of=route:catalog", "tick").await;
    assert!(live["parts"]["groups-catalog"].as_str().is_some_and(|html| html.contains("$.price")), "{live}");
    let live = browser.event("/console/live", "tick").await;
    assert!(live.get("parts").is_none(), "other pages are not sent them");
    // The sampler needs two looks, a second apart.
    for _ in 0..600 {
        front.ask("/basket", "m1").await;
        let page = browser.get(&route_page("basket")).await;
        let traffic = main(&page).split("id=\"traffic-basket\"").nth(1).expect("its place").to_owned();
        if traffic.contains("100 % answered by Banyan") {
            return;
        }
        // A condition is looked at again; nobody tells it.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the traffic is never counted");
}
