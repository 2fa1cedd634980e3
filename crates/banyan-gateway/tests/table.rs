//! The table while it changes: hot, versioned, undoable, and there again after a crash.

mod common;

use banyan_gateway::{Change, Config, Gateway, InProcess, Mode, Refused, RouteSpec};
use common::{
    RawServer, Running, SOON, body, field, get, one_answer, raw, route_to, slug, start, start_in, start_with,
    status,
};
use std::convert::Infallible;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

fn spec(name: &str, path: &str, upstream: &str) -> RouteSpec {
    RouteSpec {
        name: name.to_owned(),
        path: path.to_owned(),
        upstream: Some(upstream.to_owned()),
        ..RouteSpec::default()
    }
}

fn set(spec: RouteSpec) -> Change {
    Change::SetRoute(Box::new(spec))
}

fn gateway(folder: &Path, routes: &str) -> Result<Gateway, String> {
    let text = format!("listen = \"127.0.0.1:0\"\nstate = \"state\"\nworkers = 1\n{routes}");
    let config = Config::parse(&text, folder).map_err(|error| error.to_string())?;
    Gateway::new(config, None).map_err(|error| error.to_string())
}

const ONE: &str = "[[route]]\nname = \"all\"\npath = \"/\"\nupstream = \"http://127.0.0.1:1\"\n";

fn names(gateway: &Gateway) -> Vec<String> {
    gateway.table().routes().iter().map(|route| route.name().to_owned()).collect()
}

#[test]
fn changes_are_versions_that_can_be_taken_back() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let gateway = gateway(folder.path(), ONE).expect("a gateway");
    assert_eq!(gateway.table().version(), 1);
    assert_eq!(gateway.change(1, set(spec("cart", "/cart", "http://127.0.0.1:2")), "mina", "a try"), Ok(2));
    let stale = gateway.change(1, Change::RemoveRoute { route: "cart".to_owned() }, "jun", "late");
    assert_eq!(stale, Err(Refused::Stale { expected: 1, current: 2 }));
    assert_eq!(gateway.change(2, Change::RemoveRoute { route: "all".to_owned() }, "mina", "tidy"), Ok(3));
    assert_eq!(names(&gateway), ["cart"]);
    assert_eq!(gateway.undo(3, "mina", "not so tidy"), Ok(4));
    assert_eq!(names(&gateway), ["all", "cart"], "in its old place");
    assert!(matches!(gateway.undo(3, "mina", "again"), Err(Refused::Conflict(_))));
    assert_eq!(gateway.undo(4, "mina", "undo the undo"), Ok(5));
    assert_eq!(names(&gateway), ["cart"]);
    assert!(matches!(gateway.undo(99, "mina", "what?"), Err(Refused::NotFound(_))));
    let last = Change::RemoveRoute { route: "cart".to_owned() };
    assert!(matches!(gateway.change(5, last, "mina", "all gone"), Err(Refused::Invalid(_))));
    assert!(matches!(
        gateway.change(5, set(spec("x", "x", "http://a")), "mina", "bad"),
        Err(Refused::Invalid(_))
    ));
    assert!(matches!(
        gateway.change(5, set(spec("x", "/x", "http://a")), "mina", " "),
        Err(Refused::Invalid(_))
    ));
    let in_process = RouteSpec {
        mode: Mode::Banyan,
        banyan: Some("in-process".to_owned()),
        ..spec("x", "/x", "http://a")
    };
    assert!(matches!(gateway.change(5, set(in_process), "mina", "alone"), Err(Refused::Invalid(_))));
    let history = gateway.history(2);
    assert_eq!(history.iter().map(|entry| entry.version).collect::<Vec<_>>(), [5, 4]);
    assert_eq!((history[0].by.as_str(), history[0].reason.as_str()), ("mina", "undo the undo"));
    assert!(matches!(history[0].change, Change::Undo { version: 4 }));
}

#[test]
fn the_table_is_there_again_after_a_restart_and_an_edited_file_is_a_new_version() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let first = gateway(folder.path(), ONE).expect("a gateway");
    first.change(1, set(spec("cart", "/cart", "http://127.0.0.1:2")), "mina", "a try").expect("changed");
    let twice = gateway(folder.path(), ONE).err().expect("the folder is taken");
    assert!(twice.contains("another gateway uses this `state` folder"), "{twice}");
    drop(first);
    let again = gateway(folder.path(), ONE).expect("a gateway");
    assert_eq!((again.table().version(), names(&again)), (2, vec!["all".to_owned(), "cart".to_owned()]));
    drop(again);
    let edited = gateway(folder.path(), &ONE.replace("127.0.0.1:1", "127.0.0.1:9")).expect("a gateway");
    assert_eq!((edited.table().version(), names(&edited)), (3, vec!["all".to_owned()]));
    assert_eq!(edited.history(1)[0].by, "file");
    assert_eq!(edited.undo(3, "mina", "not what I meant"), Ok(4));
    drop(edited);
    let last = gateway(folder.path(), &ONE.replace("127.0.0.1:1", "127.0.0.1:9")).expect("a gateway");
    assert_eq!((last.table().version(), names(&last)), (4, vec!["all".to_owned(), "cart".to_owned()]));
}

/// Every prefix of the journal is what a crash can leave: the table is always that of some version that was made, and
/// goes on from there.
#[test]
fn a_torn_journal_is_cut_at_its_last_whole_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let journal = folder.path().join("state/routes.jsonl");
    let gateway_here = || gateway(folder.path(), ONE);
    let first = gateway_here().expect("a gateway");
    let mut lengths = vec![0, std::fs::metadata(&journal).expect("a file").len()];
    for n in 1..=3 {
        let change = set(spec(&format!("r{n}"), &format!("/r{n}"), "http://127.0.0.1:2"));
        first.change(n, change, "mina", "more").expect("changed");
        lengths.push(std::fs::metadata(&journal).expect("a file").len());
    }
    drop(first);
    let whole = std::fs::read(&journal).expect("readable");
    for cut in (0..=whole.len()).rev().step_by(29) {
        std::fs::write(&journal, &whole[..cut]).expect("written");
        let versions = lengths.iter().filter(|length| **length <= cut as u64).count() as u64 - 1;
        let gateway = gateway_here().unwrap_or_else(|why| panic!("cut at {cut}: {why}"));
        // Without its first line the journal begins anew.
        let wanted = versions.max(1);
        assert_eq!(gateway.table().version(), wanted, "cut at {cut}");
        assert_eq!(gateway.table().routes().len() as u64, wanted, "cut at {cut}");
        let change = set(spec("after", "/after", "http://127.0.0.1:2"));
        assert_eq!(gateway.change(wanted, change, "mina", "after the crash"), Ok(wanted + 1), "cut at {cut}");
        drop(gateway);
        let again = gateway_here().unwrap_or_else(|why| panic!("cut at {cut}, again: {why}"));
        assert_eq!(again.table().version(), wanted + 1, "cut at {cut}, again");
    }
}

#[test]
fn damage_in_the_middle_is_no_torn_end() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let first = gateway(folder.path(), ONE).expect("a gateway");
    first.change(1, set(spec("cart", "/cart", "http://127.0.0.1:2")), "mina", "a try").expect("changed");
    drop(first);
    let journal = folder.path().join("state/routes.jsonl");
    let whole = std::fs::read(&journal).expect("readable");
    let mut damaged = whole.clone();
    damaged[10] ^= 0x10;
    std::fs::write(&journal, &damaged).expect("written");
    let why = gateway(folder.path(), ONE).err().expect("refused");
    assert!(why.contains("line 1 is damaged"), "{why}");
    let second = whole.iter().position(|b| *b == b'\n').expect("two lines") + 1;
    std::fs::write(&journal, [&whole[..], &whole[second..]].concat()).expect("written");
    let why = gateway(folder.path(), ONE).err().expect("refused");
    assert!(why.contains("version 2 follows version 2"), "{why}");
    let mut file = std::fs::OpenOptions::new().write(true).truncate(true).open(&journal).expect("opened");
    file.write_all(&whole).expect("written");
    drop(file);
    assert_eq!(gateway(folder.path(), ONE).expect("as it was").table().version(), 2);
}

/// A newer version wrote it and was rolled back, say: its change was made, and people were told so.
#[test]
fn a_whole_last_line_that_is_not_understood_is_not_cut_off() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let first = gateway(folder.path(), ONE).expect("a gateway");
    first.change(1, set(spec("cart", "/cart", "http://127.0.0.1:2")), "mina", "a try").expect("changed");
    drop(first);
    let journal = folder.path().join("state/routes.jsonl");
    let text = std::fs::read_to_string(&journal).expect("readable");
    let newer = text.replace("{\"name\":\"cart\"", "{\"colour\":\"green\",\"name\":\"cart\"");
    assert_ne!(newer, text);
    std::fs::write(&journal, &newer).expect("written");
    let why = gateway(folder.path(), ONE).err().expect("refused");
    assert!(why.contains("line 2") && why.contains("colour") && why.contains("newer version"), "{why}");
    assert_eq!(
        std::fs::read_to_string(&journal).expect("readable"),
        newer,
        "it is kept for the newer version"
    );
    // A file that grew before its bytes were on disk is torn, also if an end of line is in it.
    std::fs::write(&journal, [text.as_bytes(), &[0; 700], b"\"}\n"].concat()).expect("written");
    assert_eq!(gateway(folder.path(), ONE).expect("is cut").table().version(), 2);
    assert_eq!(std::fs::read_to_string(&journal).expect("readable"), text);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_the_table_changes() {
    let (one, two) = (RawServer::start().await, RawServer::start().await);
    let running = start(&route_to(one.address));
    let (address, done) = (running.address, Arc::new(AtomicBool::new(false)));
    let answered = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (done, answered) = (done.clone(), answered.clone());
            tokio::spawn(async move {
                let mut socket = TcpStream::connect(address).await.expect("connected");
                while !done.load(Ordering::Relaxed) {
                    socket
                        .write_all(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
                        .await
                        .expect("sent");
                    let answer = one_answer(&mut socket).await;
                    assert_eq!(status(&answer), 200, "{answer}");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let gateway = running.gateway.clone();
    let targets = [one.address, two.address];
    tokio::task::spawn_blocking(move || {
        for n in 1..=200 {
            let change = set(spec("all", "/", &format!("http://{}", targets[n as usize % 2])));
            gateway.change(n, change, "mina", "to and fro").expect("changed");
        }
    })
    .await
    .expect("no panic");
    let at = answered.load(Ordering::Relaxed);
    common::until("requests after the last change", || answered.load(Ordering::Relaxed) > at + 16).await;
    done.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("no failed request");
    }
    assert!(one.all().contains("POST") && two.all().contains("POST"), "both were asked");
    assert_eq!(running.gateway.table().version(), 201);
}

fn api() -> InProcess {
    let router = axum::Router::new()
        .route(
            "/v1/echo",
            axum::routing::post(|headers: http::HeaderMap, body: String| async move {
                let from = headers
                    .get("x-forwarded-for")
                    .and_then(|v| v.to_str().ok())
                    .unwrap_or_default()
                    .to_owned();
                ([("x-from", from)], body)
            }),
        )
        .route(
            "/v1/hang",
            axum::routing::get(|| async {
                std::future::pending::<Result<(), Infallible>>().await.is_ok().to_string()
            }),
        );
    InProcess::new(router)
}

#[tokio::test(flavor = "multi_thread")]
async fn banyan_in_this_process_is_asked_without_a_network() {
    let running = start_with(
        "[timeouts]\nfirst_byte_millis = 100\n[[route]]\nname = \"api\"\npath = \"/banyan\"\nmode = \"banyan\"\nbanyan = \"in-process\"\nrewrite = { from = \"/banyan\", to = \"/\" }\n",
        Some(api()),
    );
    let text =
        "POST /banyan/v1/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
    let answer = raw(running.address, text).await;
    assert_eq!(
        (status(&answer), body(&answer), field(&answer, "x-from")),
        (200, "hello", Some("127.0.0.1")),
        "{answer}"
    );
    assert_eq!(status(&get(running.address, "/banyan/none").await), 404);
    let answer = get(running.address, "/banyan/v1/hang").await;
    assert_eq!((status(&answer), slug(&answer)), (504, "gateway-timeout"));
    let traffic = running.gateway.traffic();
    assert_eq!(
        (traffic[0].banyan.requests, traffic[0].banyan.failures, traffic[0].legacy.requests),
        (3, 1, 0)
    );
}

/// Its limit is the shorter one here.
#[tokio::test(flavor = "multi_thread")]
async fn banyan_in_this_process_has_no_more_time_than_a_whole_exchange() {
    let running = start_with(
        "[timeouts]\nwhole_millis = 100\n[[route]]\npath = \"/\"\nmode = \"banyan\"\nbanyan = \"in-process\"\n",
        Some(api()),
    );
    let answer = get(running.address, "/v1/hang").await;
    assert_eq!((status(&answer), slug(&answer)), (504, "gateway-timeout"));
    assert_eq!(running.gateway.traffic()[0].banyan.failures, 1);
}

/// hyper sends what it is given over HTTP/2, and a service need not know better.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_this_process_to_head_has_no_body_over_either_http() {
    let service = tower::service_fn(|request: http::Request<axum::body::Body>| async move {
        let unknown = request.uri().path() == "/unknown";
        let piece = || Ok::<_, Infallible>(bytes::Bytes::from_static(b"hello"));
        Ok::<_, Infallible>(http::Response::new(match unknown {
            true => axum::body::Body::from_stream(futures_util::stream::repeat_with(piece)),
            false => axum::body::Body::from("hello"),
        }))
    });
    let running = start_with(
        "[[route]]\npath = \"/\"\nmode = \"banyan\"\nbanyan = \"in-process\"\n",
        Some(InProcess::new(service)),
    );
    for (path, length) in [("/known", Some("5")), ("/unknown", None)] {
        let socket = tokio::net::TcpStream::connect(running.address).await.expect("connected");
        let (mut client, connection) = h2::client::handshake(socket).await.expect("HTTP/2");
        tokio::spawn(connection);
        let asked = http::Request::head(format!("http://a{path}")).body(()).expect("a request");
        let (response, _) = client.send_request(asked, true).expect("sent");
        let answer = tokio::time::timeout(common::SOON, response).await.expect("in time").expect("an answer");
        assert_eq!(
            answer.headers().get("content-length").and_then(|value| value.to_str().ok()),
            length,
            "{path}"
        );
        let mut got = answer.into_body();
        let piece = tokio::time::timeout(common::SOON, got.data()).await.expect("in time");
        assert!(piece.is_none(), "{path}: {piece:?}");
        let one =
            raw(running.address, format!("HEAD {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
                .await;
        assert_eq!((status(&one), body(&one), field(&one, "content-length")), (200, "", length), "{one}");
    }
}

/// For its users it is a failure like any other, and evidence must hear of it.
#[tokio::test(flavor = "multi_thread")]
async fn banyan_in_this_process_that_panics_is_a_failure_of_banyans() {
    let service = tower::service_fn(|request: http::Request<axum::body::Body>| async move {
        if request.uri().path() == "/head" {
            panic!("on purpose");
        }
        let panics =
            futures_util::stream::poll_fn(|_| -> std::task::Poll<Option<Result<bytes::Bytes, Infallible>>> {
                panic!("on purpose")
            });
        Ok::<_, Infallible>(http::Response::new(axum::body::Body::from_stream(panics)))
    });
    let running = start_with(
        "[[route]]\npath = \"/\"\nmode = \"banyan\"\nbanyan = \"in-process\"\n",
        Some(InProcess::new(service)),
    );
    let failures = || running.gateway.traffic()[0].banyan.failures;
    let answer = get(running.address, "/head").await;
    assert_eq!((status(&answer), slug(&answer), failures()), (502, "gateway-unreachable", 1));
    let answer = get(running.address, "/body").await;
    assert!(!answer.ends_with("0\r\n\r\n"), "{answer}");
    common::until("it is counted", || failures() == 2).await;
}

async fn admin(running: &Running, method: &str, path: &str, key: &str, json: &str) -> String {
    let text = format!(
        "{method} {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{json}",
        json.len()
    );
    raw(running.admin.expect("an admin listener"), text).await
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_and_change_the_table_with_their_key() {
    let server = RawServer::start().await;
    let running = start(&format!("admin = \"127.0.0.1:0\"\n{}", route_to(server.address)));
    let path = running.folder.path().join("state/admin.key");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).expect("a key").permissions());
    assert_eq!(mode & 0o777, 0o600);
    let key = std::fs::read_to_string(&path).expect("readable").trim().to_owned();
    assert_eq!(status(&admin(&running, "GET", "/v1/table", "wrong", "").await), 401);
    assert_eq!(status(&admin(&running, "GET", "/v1/table", "", "").await), 401);
    assert_eq!(status(&get(running.address, "/").await), 200);
    let table = admin(&running, "GET", "/v1/table", &key, "").await;
    assert!(table.contains("\"version\":1") && table.contains("\"name\":\"all\""), "{table}");
    let change = r#"{"expected": 1, "by": "mina", "reason": "try", "change": {"set_route": {"name": "c", "path": "/c", "upstream": "http://127.0.0.1:1"}}}"#;
    let answer = admin(&running, "POST", "/v1/changes", &key, change).await;
    assert_eq!((status(&answer), body(&answer)), (201, "{\"version\":2}"));
    let answer = admin(&running, "POST", "/v1/changes", &key, change).await;
    assert_eq!((status(&answer), slug(&answer)), (409, "gateway-stale"));
    let wrong = change.replace("\"path\"", "\"pth\"").replace("\"expected\": 1", "\"expected\": 2");
    let answer = admin(&running, "POST", "/v1/changes", &key, &wrong).await;
    assert_eq!((status(&answer), slug(&answer)), (422, "gateway-invalid"));
    assert!(answer.contains("pth"), "it names the field: {answer}");
    let answer =
        admin(&running, "POST", "/v1/undo", &key, r#"{"version": 2, "by": "mina", "reason": "no"}"#).await;
    assert_eq!((status(&answer), body(&answer)), (201, "{\"version\":3}"));
    let history = admin(&running, "GET", "/v1/history?limit=2", &key, "").await;
    assert!(history.contains("\"undo\":{\"version\":2}") && !history.contains("\"version\":1,"), "{history}");
    let traffic = admin(&running, "GET", "/v1/traffic", &key, "").await;
    assert!(traffic.contains("\"requests\":1"), "{traffic}");
    assert!(admin(&running, "GET", "/v1/upstreams", &key, "").await.contains("\"breaker\":\"closed\""));
    let metrics = get(running.admin.expect("an admin listener"), "/metrics").await;
    for line in [
        "banyan_gateway_requests_total{route=\"all\",side=\"legacy\",class=\"2xx\"} 1",
        "banyan_gateway_answer_seconds_count{route=\"all\",side=\"legacy\"} 1",
        "banyan_gateway_table_version 3",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    assert_eq!(status(&get(running.admin.expect("an admin listener"), "/healthz").await), 200);
    let folder = tokio::task::spawn_blocking(move || running.end()).await.expect("it ends");
    let again = start_in(folder, &format!("admin = \"127.0.0.1:0\"\n{}", route_to(server.address)), None);
    let table =
        tokio::time::timeout(SOON, admin(&again, "GET", "/v1/table", &key, "")).await.expect("in time");
    assert!(table.contains("\"version\":3"), "the same key, the same table: {table}");
}

/// The order decides between equals: who answers changes with it, and must come back with it.
#[test]
fn an_undo_of_a_reordering_puts_the_order_back() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let one = |name: &str, header: &str| {
        format!(
            "[[route]]\nname = \"{name}\"\npath = \"/\"\nheaders = {{ {header} = \"*\" }}\nupstream = \"http://127.0.0.1:1\"\n"
        )
    };
    let text = [one("a", "x-a"), one("b", "x-b"), one("c", "x-c")].concat();
    let gateway = gateway(folder.path(), &text).expect("a gateway");
    let mut routes: Vec<RouteSpec> =
        gateway.table().routes().iter().map(|route| route.spec().clone()).collect();
    routes.swap(0, 2);
    assert_eq!(gateway.change(1, Change::Replace { routes: routes.clone() }, "mina", "c first"), Ok(2));
    assert_eq!(names(&gateway), ["c", "b", "a"]);
    assert_eq!(gateway.change(2, set(spec("d", "/d", "http://127.0.0.1:2")), "jun", "one more"), Ok(3));
    assert_eq!(gateway.undo(2, "mina", "as before"), Ok(4));
    assert_eq!(names(&gateway), ["a", "b", "c", "d"], "what came later stays");
    assert_eq!(gateway.undo(4, "mina", "undo the undo"), Ok(5));
    assert_eq!(names(&gateway), ["c", "b", "a", "d"]);
    assert!(
        matches!(gateway.undo(4, "mina", "again"), Err(Refused::Conflict(_))),
        "it was taken back already"
    );
    drop(gateway);
    let gateway = self::gateway(folder.path(), &text).expect("the same again");
    assert_eq!(gateway.undo(5, "mina", "after a restart"), Ok(6));
    assert_eq!(names(&gateway), ["a", "b", "c", "d"]);
}
