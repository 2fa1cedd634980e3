//! Asking a side apart from users.

mod common;

use axum::body::Body;
use banyan_gateway::{AskFailed, InProcess, Side};
use common::{RawServer, Reply, field, message_end, start, start_with};
use http::{Request, StatusCode};
use http_body_util::BodyExt;

fn request(path: &str, body: &str) -> Request<Body> {
    let request = Request::post(path)
        .header("host", "shop.example")
        .header("connection", "x-gone")
        .header("x-gone", "1");
    request.header("x-forwarded-for", "9.9.9.9").body(Body::from(body.to_owned())).expect("a request")
}

async fn text(body: Body) -> String {
    String::from_utf8_lossy(&body.collect().await.expect("a whole body").to_bytes()).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_side_is_asked_as_users_would_and_nothing_is_counted() {
    let server = RawServer::start().await;
    let gateway = start(&format!(
        "[[route]]\nname = \"all\"\npath = \"/\"\nupstream = \"http://{}\"\nrewrite = {{ from = \"/a\", to = \"/b\", side = \"legacy\" }}\n",
        server.address
    ));
    let outbound = gateway.gateway.outbound();
    let table = gateway.gateway.table();
    let route = table.route("all").expect("there");
    for _ in 0..5 {
        let answer = outbound.ask(route, Side::Legacy, request("/a/x?y", "hello")).await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(text(answer.into_body()).await, "0", "one connection for all");
    }
    let seen = server.all();
    assert!(seen.starts_with("POST /b/x?y HTTP/1.1\r\n") && seen.ends_with("hello"), "{seen}");
    assert_eq!((field(&seen, "host"), field(&seen, "x-gone")), (Some("shop.example"), None));
    assert_eq!(field(&seen, "x-forwarded-for"), Some("9.9.9.9"));
    assert_eq!(gateway.gateway.traffic()[0].legacy.requests, 0);
    assert!(matches!(outbound.ask(route, Side::Banyan, request("/", "")).await, Err(AskFailed::NoTarget)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_there_stays_there() {
    let server = RawServer::with(|bytes, _| match message_end(bytes) {
        None => Reply::More,
        Some(_) if bytes.starts_with(b"POST /hang") => Reply::Hang,
        Some(_) => Reply::Close(b"HTTP".to_vec()),
    })
    .await;
    let gateway = start(&format!(
        "[timeouts]\nfirst_byte_millis = 100\n[[upstream]]\nname = \"s\"\nurls = [\"http://{}\"]\nbreaker = {{ failures = 1, open_millis = 60000 }}\n\
         [[route]]\nname = \"all\"\npath = \"/\"\nupstream = \"s\"\n",
        server.address
    ));
    let outbound = gateway.gateway.outbound();
    let table = gateway.gateway.table();
    let route = table.route("all").expect("there");
    assert!(matches!(outbound.ask(route, Side::Legacy, request("/hang", "")).await, Err(AskFailed::TooSlow)));
    for _ in 0..5 {
        assert!(matches!(
            outbound.ask(route, Side::Legacy, request("/", "x")).await,
            Err(AskFailed::Broken(_))
        ));
    }
    let report = gateway.gateway.upstreams();
    assert_eq!(
        (report[0].servers[0].breaker, report[0].servers[0].under_way),
        ("closed", 0),
        "users are not kept away"
    );
    assert_eq!(server.seen().len(), 6, "nothing is asked twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn this_process_can_be_asked_too() {
    let router =
        axum::Router::new().route("/v1/echo", axum::routing::post(|body: String| async move { body }));
    let gateway = start_with(
        "[[route]]\nname = \"api\"\npath = \"/\"\nmode = \"banyan\"\nbanyan = \"in-process\"\n",
        Some(InProcess::new(router)),
    );
    let table = gateway.gateway.table();
    let route = table.route("api").expect("there");
    let answer = gateway
        .gateway
        .outbound()
        .ask(route, Side::Banyan, request("/v1/echo", "hello"))
        .await
        .expect("an answer");
    assert_eq!(text(answer.into_body()).await, "hello");
}
