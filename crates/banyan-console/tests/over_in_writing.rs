//! Going without a gate, by the API and in the console: in writing, and kept with what was found.

mod common;

use axum::body::Body;
use banyan_domain::legacy::Phase;
use banyan_legacy::Keeper;
use common::{Browser, Store, old_shop};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tower::ServiceExt;

/// Asks the API as the operator.
async fn ask(store: &Store, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
    let request = Request::builder()
        .method(method)
        .uri(format!("/v1/legacy/stock{path}"))
        .header("authorization", format!("Bearer {}", store.operator))
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .expect("a request");
    let answer = banyan_api::router(store.app.clone()).oneshot(request).await.expect("an answer");
    let status = answer.status();
    let bytes = answer.into_body().collect().await.expect("a body").to_bytes();
    (status, serde_json::from_slice(&bytes).expect("JSON"))
}

/// Moves there as soon as the gates hold, and waits until it is there.
async fn moves(store: &Store, keeper: &Keeper, to: Phase) {
    let began = Instant::now();
    let asked = json!({"to": to.as_str(), "reason": "the team agreed"});
    loop {
        let status = keeper.status().await.expect("it runs");
        if status.state.phase == to && status.state.moving.is_none() {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "never in {to:?}: {status:?}");
        let (answered, said) = ask(store, Method::POST, "/moves", asked.clone()).await;
        assert!(answered == StatusCode::ACCEPTED || answered == StatusCode::CONFLICT, "{said}");
        // Between two looks; what is waited for is the phase.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_takes_no_move_without_a_gate_that_says_no_why() {
    let store = Store::open();
    let (keeper, shop) = old_shop::keep(&store);
    shop.is_used_by("oscar", "select num_in_stock", 5);
    for to in [Phase::Mirror, Phase::Lead] {
        moves(&store, &keeper, to).await;
    }
    for reason in ["", "  "] {
        let asked = json!({"to": "retired", "reason": reason, "without": ["references"]});
        let (status, problem) = ask(&store, Method::POST, "/moves", asked).await;
        assert_eq!(
            (status, &problem["title"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!("reason-required")),
            "{problem}"
        );
    }

    // The plan says what the move would do.
    let gate = |plan: &Value| {
        let gates = plan["gates"].as_array().cloned().unwrap_or_default();
        gates.into_iter().find(|gate| gate["gate"] == "references").expect("it has that gate")
    };
    let (_, plan) = ask(&store, Method::GET, "/plan?to=retired", json!({})).await;
    assert_eq!((&plan["may_begin"], &gate(&plan)["without"]), (&json!(false), &json!(false)), "{plan}");
    let (_, plan) = ask(&store, Method::GET, "/plan?to=retired&without=lag,references", json!({})).await;
    assert_eq!((&plan["may_begin"], &gate(&plan)["without"]), (&json!(true), &json!(true)), "{plan}");
    let (_, plan) = ask(&store, Method::GET, "/plan?to=retired&without=preflight", json!({})).await;
    assert_eq!(plan["may_begin"], false, "that one may not be passed over");
    store.stop.send_replace(true);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_found_of_a_gate_that_was_passed_over_is_kept() {
    let store = Store::open();
    let (keeper, shop) = old_shop::keep(&store);
    shop.is_used_by("oscar", "select num_in_stock", 5);
    for to in [Phase::Mirror, Phase::Lead] {
        moves(&store, &keeper, to).await;
    }
    let began = Instant::now();
    while keeper.references().all.is_empty() {
        assert!(began.elapsed() < Duration::from_secs(60), "the statement is never seen");
        // Between two looks of the keeper.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let asked = json!({"to": "retired", "reason": "it reads nothing else", "without": ["references"]});
    let (status, said) = ask(&store, Method::POST, "/moves", asked).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{said}");
    let began = Instant::now();
    while keeper.status().await.expect("it runs").state.phase != Phase::Retired {
        assert!(began.elapsed() < Duration::from_secs(60), "it goes without it to its end");
        // Between two looks; what is waited for is the phase.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut browser = Browser::signed_in(store.console(), &store.operator).await;
    let page = browser.get("/console/over").await;
    assert!(page.body.contains("references: 1 left; watched for"), "{}", page.body);
    store.stop.send_replace(true);
}
