//! Traces: the gateway is a hop of its own, says so in its log and its errors, and tells a collector.

mod common;

use common::{RawServer, Reply, Running, body, field, get, message_end, raw, route_to, start, status, until};
use serde_json::Value;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// A server whose connections have one request each, so that the last one is the last.
async fn closing() -> RawServer {
    RawServer::with(|bytes, _| match message_end(bytes) {
        None => Reply::More,
        Some(_) => {
            Reply::Close(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx".to_vec())
        }
    })
    .await
}

fn ask(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: shop.example:8443\r\nConnection: close\r\n{fields}\r\n")
}

/// The parts of what a server was sent: trace, span, flags.
fn sent(server: &RawServer) -> [String; 3] {
    let seen = server.seen();
    let text = field(seen.last().expect("a connection"), "traceparent").expect("a trace").to_owned();
    let mut parts = text.split('-').skip(1).map(str::to_owned);
    std::array::from_fn(|_| parts.next().expect("four parts"))
}

/// A collector that answers as `answer` says, and what it was told.
async fn collector(answer: &'static str) -> RawServer {
    RawServer::with(move |bytes, _| match message_end(bytes) {
        None => Reply::More,
        Some(_) => Reply::Close(answer.as_bytes().to_vec()),
    })
    .await
}

const TAKEN: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

fn spans(collector: &RawServer) -> Vec<Value> {
    let mut spans = Vec::new();
    for message in collector.seen() {
        if message_end(message.as_bytes()).is_none() {
            continue;
        }
        assert!(message.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{message}");
        assert_eq!(field(&message, "content-type"), Some("application/json"));
        let told: Value = serde_json::from_str(body(&message)).expect("JSON");
        let resource = &told["resourceSpans"][0];
        assert_eq!(attribute(&resource["resource"], "service.name"), "front");
        spans.extend(resource["scopeSpans"][0]["spans"].as_array().expect("spans").iter().cloned());
    }
    spans
}

fn attribute(of: &Value, key: &str) -> Value {
    let found =
        of["attributes"].as_array().expect("attributes").iter().find(|attribute| attribute["key"] == key);
    let value = found.map_or(Value::Null, |attribute| attribute["value"].clone());
    value.get("stringValue").or(value.get("intValue")).cloned().unwrap_or_default()
}

fn exported(gateway: &Running) -> (u64, u64) {
    let text = gateway.gateway.prometheus();
    let count = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).expect("a counter");
        line.rsplit(' ').next().and_then(|count| count.parse().ok()).expect("a number")
    };
    (count("banyan_gateway_spans_exported_total"), count("banyan_gateway_spans_dropped_total"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_is_a_hop_of_its_own_in_a_trace_that_goes_on() {
    let server = closing().await;
    let gateway = start(&format!("trace_percent = 0\n{}", route_to(server.address)));
    for (flags, wanted) in [("01", "01"), ("00", "00"), ("03", "01"), ("02", "00")] {
        let fields = format!("traceparent: 00-{TRACE}-{PARENT}-{flags}\r\ntracestate: vendor=x\r\n");
        raw(gateway.address, ask("/", &fields)).await;
        let [trace, span, flags] = sent(&server);
        assert_eq!((trace.as_str(), flags.as_str()), (TRACE, wanted));
        assert!(span != PARENT && span.len() == 16 && span != "0".repeat(16), "a span of its own: {span}");
        assert_eq!(field(server.seen().last().expect("one"), "tracestate"), Some("vendor=x"));
    }
    // Of a later version what this one knows is taken.
    raw(gateway.address, ask("/", &format!("traceparent: 01-{TRACE}-{PARENT}-01-more\r\n"))).await;
    assert_eq!(sent(&server)[0], TRACE);
    assert!(
        field(server.seen().last().expect("one"), "traceparent").is_some_and(|text| text.starts_with("00-"))
    );
    for bad in [
        format!("traceparent: 00-{TRACE}-{}-01\r\n", "0".repeat(16)),
        format!("traceparent: 00-{TRACE}-{PARENT}-01\r\ntraceparent: 00-{TRACE}-{PARENT}-01\r\n"),
        "traceparent: nonsense\r\n".to_owned(),
    ] {
        raw(gateway.address, ask("/", &format!("{bad}tracestate: vendor=x\r\n"))).await;
        let [trace, _, flags] = sent(&server);
        assert!(trace != TRACE && flags == "00", "a new one: {bad}");
        assert_eq!(field(server.seen().last().expect("one"), "tracestate"), None, "it belongs to the other");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sampled_request_is_told_to_the_collector_as_the_conventions_say() {
    let (server, collector) = (closing().await, collector(TAKEN).await);
    let gateway = start(&format!(
        "trace_percent = 0\n[access_log]\nenabled = false\n[traces]\notlp = \"http://{}\"\nservice = \"front\"\n\
         [[route]]\nname = \"cart\"\npath = \"/cart\"\nupstream = \"http://{}\"\n\
         [[route]]\nname = \"gone\"\npath = \"/gone\"\nupstream = \"http://127.0.0.1:1\"\n",
        collector.address, server.address
    ));
    raw(gateway.address, ask("/cart", "")).await;
    let sampled =
        format!("traceparent: 00-{TRACE}-{PARENT}-01\r\ntracestate: vendor=x\r\nX-Request-Id: r-1\r\n");
    raw(gateway.address, ask("/cart/7?secret=1", &sampled)).await;
    let [_, span_id, _] = sent(&server);
    let failed = raw(gateway.address, ask("/gone", &sampled)).await;
    assert_eq!(status(&failed), 502);
    let problem: Value = serde_json::from_str(body(&failed)).expect("JSON");
    assert_eq!(problem["trace_id"], TRACE, "whoever complains can say where to look");
    until("both are told", || exported(&gateway) == (2, 0)).await;

    let spans = spans(&collector);
    assert_eq!(spans.len(), 2, "the first was not sampled");
    let cart = spans.iter().find(|span| span["name"] == "GET /cart").expect("a span");
    assert_eq!((&cart["traceId"], &cart["parentSpanId"]), (&TRACE.into(), &PARENT.into()));
    assert_eq!((&cart["spanId"], &cart["traceState"]), (&span_id.into(), &"vendor=x".into()));
    assert_eq!((&cart["kind"], &cart["status"]), (&2.into(), &serde_json::json!({})));
    let time =
        |key: &str| cart[key].as_str().and_then(|text| text.parse::<u128>().ok()).expect("64 bits as text");
    assert!(
        time("startTimeUnixNano") <= time("endTimeUnixNano")
            && time("startTimeUnixNano") > 1_600_000_000_000_000_000
    );
    for (key, wanted) in [
        ("http.request.method", "GET"),
        ("url.path", "/cart/7"),
        ("url.scheme", "http"),
        ("http.route", "/cart"),
        ("http.response.status_code", "200"),
        ("network.protocol.version", "1.1"),
        ("client.address", "127.0.0.1"),
        ("server.address", "shop.example"),
        ("server.port", "8443"),
        ("banyan.route", "cart"),
        ("banyan.side", "legacy"),
        ("banyan.request_id", "r-1"),
    ] {
        assert_eq!(attribute(cart, key), wanted, "{key}");
    }
    assert_eq!(attribute(cart, "error.type"), Value::Null);
    assert!(!collector.all().contains("secret"), "a query may hold what nobody should read");
    let gone = spans.iter().find(|span| span["name"] == "GET /gone").expect("a span");
    assert_eq!((attribute(gone, "error.type"), &gone["status"]["code"]), ("502".into(), &2.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_fails_costs_spans_and_no_request() {
    let server = closing().await;
    let collector = collector("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    let gateway = start(&format!(
        "trace_percent = 100\n[traces]\notlp = \"http://{}\"\n{}",
        collector.address,
        route_to(server.address)
    ));
    for _ in 0..3 {
        assert_eq!(status(&get(gateway.address, "/").await), 200);
    }
    until("each is counted", || exported(&gateway) == (0, 3)).await;
}

/// What ended shortly before the gateway did.
#[tokio::test(flavor = "multi_thread")]
async fn spans_that_wait_are_sent_when_the_gateway_ends() {
    let (server, collector) = (closing().await, collector(TAKEN).await);
    let gateway = start(&format!(
        "trace_percent = 100\n[traces]\notlp = \"http://{}\"\nservice = \"front\"\n{}",
        collector.address,
        route_to(server.address)
    ));
    assert_eq!(status(&get(gateway.address, "/").await), 200);
    tokio::task::spawn_blocking(move || gateway.end()).await.expect("ended");
    assert_eq!(spans(&collector).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_with_no_address_is_refused_at_the_start() {
    let text = "listen = \"127.0.0.1:0\"\n[traces]\notlp = \"collector\"\n[[route]]\npath = \"/\"\nupstream = \"http://127.0.0.1:1\"\n";
    let refused =
        banyan_gateway::Config::parse(text, std::path::Path::new("")).expect_err("it has no scheme");
    assert!(refused.0.starts_with("traces.otlp: "), "{refused}");
}
