//! The everyday life of a proxy: who is asked, what is asked twice, when it gives up, how it ends.

mod common;

use common::{
    RawServer, Reply, SOON, body, field, get, message_end, ok, one_answer, raw, route_to, slug, start,
    status, until,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_servers_are_used_again() {
    let server = RawServer::start().await;
    let gateway = start(&route_to(server.address));
    let mut socket = TcpStream::connect(gateway.address).await.expect("connected");
    for n in 0..20 {
        socket.write_all(format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.expect("sent");
        assert_eq!(body(&one_answer(&mut socket).await), "0", "request {n} came on the first connection");
    }
    assert_eq!(server.seen().len(), 1);
    let traffic = gateway.gateway.traffic();
    assert_eq!((traffic[0].legacy.requests, traffic[0].legacy.classes[1]), (20, 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_come_as_they_are() {
    let server = RawServer::with(|bytes, _| match message_end(bytes) {
        None => Reply::More,
        Some(_) if bytes.starts_with(b"HEAD") => {
            Reply::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Y: z\r\n\r\n".to_vec())
        }
        Some(_) if bytes.starts_with(b"GET /304") => Reply::Send(b"HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n".to_vec()),
        Some(_) if bytes.starts_with(b"GET /204") => Reply::Send(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()),
        Some(_) if bytes.starts_with(b"GET /close") => Reply::Close(b"HTTP/1.1 200 OK\r\n\r\nuntil the end".to_vec()),
        Some(_) if bytes.starts_with(b"GET /early") => Reply::Send(
            b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\nok".to_vec(),
        ),
        Some(_) => Reply::Send(b"HTTP/1.1 418 I'm a teapot\r\nContent-Length: 3\r\n\r\ntea".to_vec()),
    })
    .await;
    let gateway = start(&route_to(server.address));
    let head = raw(gateway.address, "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert_eq!((status(&head), field(&head, "content-length"), body(&head)), (200, Some("5"), ""));
    let answer = get(gateway.address, "/304").await;
    assert_eq!((status(&answer), field(&answer, "etag"), body(&answer)), (304, Some("\"a\""), ""));
    assert_eq!(status(&get(gateway.address, "/204").await), 204);
    let answer = get(gateway.address, "/close").await;
    assert!(body(&answer).contains("until the end"), "{answer}");
    let answer = get(gateway.address, "/early").await;
    assert_eq!((status(&answer), body(&answer), field(&answer, "x-hop")), (200, "ok", None), "{answer}");
    assert_eq!(answer.matches("set-cookie").count(), 2);
    assert_eq!(field(&answer, "via"), Some("1.1 banyan"));
    let answer = get(gateway.address, "/").await;
    assert_eq!((status(&answer), body(&answer)), (418, "tea"));
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_lead_where_they_say() {
    let (shop, api, special) = (RawServer::start().await, RawServer::start().await, RawServer::start().await);
    let gateway = start(&format!(
        "{}[[route]]\nname = \"api\"\nhost = \"shop.example\"\npath = \"/api\"\nupstream = \"http://{}\"\nrewrite = {{ from = \"/api\", to = \"/v1\" }}\n\
         [[route]]\nname = \"special\"\npath = \"/api\"\nmethods = [\"GET\"]\nheaders = {{ x-test = \"yes\" }}\nupstream = \"http://{}\"\n",
        route_to(shop.address),
        api.address,
        special.address
    ));
    get(gateway.address, "/api/cart?x=1").await;
    get(gateway.address, "/%61pi").await;
    get(gateway.address, "/apiary").await;
    raw(
        gateway.address,
        "GET /api HTTP/1.1\r\nHost: other.example\r\nX-Test: yes\r\nConnection: close\r\n\r\n",
    )
    .await;
    raw(
        gateway.address,
        "POST /api HTTP/1.1\r\nHost: other.example\r\nX-Test: yes\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(api.all().contains("GET /v1/cart?x=1 HTTP/1.1"), "{}", api.all());
    assert!(api.all().contains("GET /v1 HTTP/1.1"), "matched without its escapes, and rewritten so");
    assert!(shop.all().contains("GET /apiary") && shop.all().contains("POST /api "), "{}", shop.all());
    assert_eq!(special.all().matches("GET /api ").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_route_or_a_server_the_gateway_says_so() {
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let gateway = start(&format!("[[route]]\npath = \"/shop\"\nupstream = \"http://{closed}\"\n"));
    let answer = get(gateway.address, "/other").await;
    assert_eq!((status(&answer), slug(&answer)), (404, "gateway-no-route"));
    let answer = get(gateway.address, "/shop").await;
    assert_eq!((status(&answer), slug(&answer)), (502, "gateway-unreachable"));
    assert_eq!(gateway.gateway.traffic()[0].legacy.failures, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asked_is_believed_from_trusted_proxies_only() {
    let server = RawServer::start().await;
    let gateway = start(&format!("trusted_proxies = [\"127.0.0.0/8\"]\n{}", route_to(server.address)));
    let text = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\nForwarded: for=9.9.9.9\r\n\
                X-Request-Id: outside-1\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nConnection: close\r\n\r\n";
    let answer = raw(gateway.address, text).await;
    let seen = server.all();
    assert_eq!(field(&seen, "x-forwarded-for"), Some("9.9.9.9, 127.0.0.1"));
    assert_eq!(field(&seen, "x-forwarded-proto"), Some("https"));
    assert_eq!(field(&seen, "forwarded"), Some("for=9.9.9.9, for=127.0.0.1;host=\"a\";proto=http"));
    assert_eq!(field(&seen, "x-request-id"), Some("outside-1"));
    assert_eq!(field(&answer, "x-request-id"), Some("outside-1"));
    let trace = field(&seen, "traceparent").expect("a trace");
    assert!(trace.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && trace.ends_with("-01"), "{trace}");
}

/// A server that closes its connection at each request after the first, without an answer.
async fn fickle() -> (RawServer, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let server = RawServer::with(move |bytes, _| {
        if message_end(bytes).is_none() {
            return Reply::More;
        }
        match count.fetch_add(1, Ordering::Relaxed) {
            1 => Reply::Close(Vec::new()),
            n => Reply::Send(ok(&n.to_string())),
        }
    })
    .await;
    (server, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_can_be_repeated_is_sent_again() {
    for (head, payload, wanted_status, wanted_asked) in [
        ("GET / HTTP/1.1", "", 200, 3),
        ("PUT / HTTP/1.1", "", 200, 3),
        ("POST / HTTP/1.1\r\nIdempotency-Key: k1", "", 200, 3),
        ("POST / HTTP/1.1", "", 502, 2),
        ("PATCH / HTTP/1.1", "", 502, 2),
        // The body may have begun: nobody knows what the server did with it.
        ("PUT / HTTP/1.1\r\nContent-Length: 3", "abc", 502, 2),
        ("POST / HTTP/1.1\r\nIdempotency-Key: k2\r\nContent-Length: 3", "abc", 502, 2),
    ] {
        let (server, asked) = fickle().await;
        let gateway = start(&route_to(server.address));
        assert_eq!(status(&get(gateway.address, "/first").await), 200);
        let answer =
            raw(gateway.address, format!("{head}\r\nHost: a\r\nConnection: close\r\n\r\n{payload}")).await;
        assert_eq!(
            (status(&answer), asked.load(Ordering::Relaxed)),
            (wanted_status, wanted_asked),
            "{head}: {answer}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_again_after_the_first_byte_of_an_answer() {
    for part in ["H", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"] {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let server = RawServer::with(move |bytes, _| {
            if message_end(bytes).is_none() {
                return Reply::More;
            }
            count.fetch_add(1, Ordering::Relaxed);
            Reply::Close(part.as_bytes().to_vec())
        })
        .await;
        let gateway = start(&route_to(server.address));
        let answer = get(gateway.address, "/").await;
        assert_eq!(asked.load(Ordering::Relaxed), 1, "{part:?}");
        match part.contains("half") {
            true => assert_eq!(body(&answer), "half", "the client sees that it broke off"),
            false => assert_eq!((status(&answer), slug(&answer)), (502, "gateway-unreachable"), "{part:?}"),
        }
        assert_eq!(gateway.gateway.traffic()[0].legacy.failures, 1, "{part:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_died_while_idle_is_not_used_for_a_post() {
    let server = RawServer::with(|bytes, connection| match message_end(bytes) {
        None => Reply::More,
        Some(_) => Reply::Close(ok(&connection.to_string())),
    })
    .await;
    let gateway = start(&route_to(server.address));
    for n in 0..30 {
        // The answer says nothing of closing, and the connection is closed behind it.
        let answer = raw(gateway.address, "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        assert_eq!((status(&answer), body(&answer)), (200, n.to_string().as_str()), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_of_a_server_ends() {
    let server = RawServer::with(|bytes, _| match message_end(bytes) {
        None => Reply::More,
        Some(_) if bytes.starts_with(b"GET /half") => {
            // A part of the body, and then nothing.
            Reply::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf".to_vec())
        }
        Some(_) => Reply::Hang,
    })
    .await;
    let gateway = start(&format!(
        "[timeouts]\nfirst_byte_millis = 100\nidle_millis = 100\n[[upstream]]\nname = \"s\"\nurls = [\"http://{}\"]\n[upstream.breaker]\nfailures = 0\n\
         [[route]]\nname = \"all\"\npath = \"/\"\nupstream = \"s\"\n",
        server.address
    ));
    let answer = get(gateway.address, "/").await;
    assert_eq!((status(&answer), slug(&answer)), (504, "gateway-timeout"));
    let answer = get(gateway.address, "/half").await;
    assert_eq!((status(&answer), body(&answer)), (200, "half"), "cut off, not completed");
    assert_eq!(server.seen().len(), 2, "a GET that was too slow is not sent again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_exchange_has_a_limit() {
    let server = RawServer::with(|bytes, _| match message_end(bytes) {
        None => Reply::More,
        Some(_) => Reply::Hang,
    })
    .await;
    let gateway = start(&format!("[timeouts]\nwhole_millis = 100\n{}", route_to(server.address)));
    let answer = get(gateway.address, "/").await;
    assert_eq!((status(&answer), slug(&answer)), (504, "gateway-timeout"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_dawdles_is_sent_away() {
    let server = RawServer::start().await;
    let gateway = start(&format!(
        "[timeouts]\nhead_millis = 100\nkeep_alive_millis = 100\nidle_millis = 100\n{}",
        route_to(server.address)
    ));
    let answer = raw(gateway.address, "GET / HTTP/1.1\r\nHos").await;
    assert_eq!((status(&answer), slug(&answer)), (408, "gateway-client-too-slow"));
    assert_eq!(raw(gateway.address, "").await, "", "nothing sent, nothing answered");
    let answer = raw(gateway.address, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(status(&answer), 200, "answered, and closed after some silence");
    let answer = raw(gateway.address, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf").await;
    assert_eq!((status(&answer), slug(&answer)), (408, "gateway-client-too-slow"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_fails_is_left_alone_and_tried_again() {
    let works = Arc::new(AtomicBool::new(false));
    let asked = Arc::new(AtomicUsize::new(0));
    let (of_server, count) = (works.clone(), asked.clone());
    let server = RawServer::with(move |bytes, _| {
        if message_end(bytes).is_none() {
            return Reply::More;
        }
        count.fetch_add(1, Ordering::Relaxed);
        match of_server.load(Ordering::Relaxed) {
            true => Reply::Send(ok("well")),
            false => Reply::Send(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n".to_vec()),
        }
    })
    .await;
    let gateway = start(&format!(
        "[[upstream]]\nname = \"s\"\nurls = [\"http://{}\"]\n[upstream.breaker]\nfailures = 3\nopen_millis = 300\n[[route]]\npath = \"/\"\nupstream = \"s\"\n",
        server.address
    ));
    for _ in 0..3 {
        assert_eq!(status(&get(gateway.address, "/").await), 503);
    }
    let answer = get(gateway.address, "/").await;
    assert_eq!((status(&answer), slug(&answer)), (503, "gateway-busy"), "not asked any more");
    assert_eq!(field(&answer, "retry-after"), Some("1"));
    assert_eq!(asked.load(Ordering::Relaxed), 3);
    assert_eq!(gateway.gateway.upstreams()[0].servers[0].opened, 1);
    works.store(true, Ordering::Relaxed);
    let deadline = std::time::Instant::now() + SOON;
    while status(&get(gateway.address, "/").await) != 200 {
        assert!(std::time::Instant::now() < deadline, "it was never tried again");
    }
    assert_eq!(gateway.gateway.upstreams()[0].servers[0].breaker, "closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_upstream_lets_some_wait_and_turns_the_rest_away() {
    let release = Arc::new(AtomicBool::new(false));
    let server = slow_server(release.clone()).await;
    let gateway = start(&format!(
        "[[upstream]]\nname = \"s\"\nurls = [\"http://{server}\"]\nrequests_max = 1\nwaiting_max = 1\nwaiting_millis = 60000\n[[route]]\npath = \"/\"\nupstream = \"s\"\n"
    ));
    let address = gateway.address;
    let first = tokio::spawn(async move { get(address, "/1").await });
    until("the first is under way", || gateway.gateway.upstreams()[0].servers[0].under_way == 1).await;
    let second = tokio::spawn(async move { get(address, "/2").await });
    until("the second waits", || gateway.gateway.upstreams()[0].waiting == 1).await;
    let third = get(address, "/3").await;
    assert_eq!(
        (status(&third), slug(&third), field(&third, "retry-after")),
        (503, "gateway-busy", Some("1"))
    );
    release.store(true, Ordering::Relaxed);
    assert_eq!(status(&first.await.expect("no panic")), 200);
    assert_eq!(status(&second.await.expect("no panic")), 200);
}

/// Answers when `release` is set.
async fn slow_server(release: Arc<AtomicBool>) -> std::net::SocketAddr {
    use tokio::io::AsyncReadExt;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let release = release.clone();
            tokio::spawn(async move {
                let mut bytes = vec![0; 8 << 10];
                while socket.read(&mut bytes).await.is_ok_and(|n| n > 0) {
                    until("released", || release.load(Ordering::Relaxed)).await;
                    if socket.write_all(&ok("late")).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_end_what_is_under_way_is_answered() {
    let release = Arc::new(AtomicBool::new(false));
    let server = slow_server(release.clone()).await;
    let gateway = start(&route_to(server));
    let address = gateway.address;
    let mut idle = TcpStream::connect(address).await.expect("connected");
    idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
    let asked = tokio::spawn(async move { get(address, "/").await });
    until("both are under way", || gateway.gateway.upstreams()[0].servers[0].under_way == 2).await;
    gateway.stop.send_replace(true);
    let refused = async { while TcpStream::connect(address).await.is_ok() {} };
    tokio::time::timeout(SOON, refused).await.expect("it takes no new connections");
    release.store(true, Ordering::Relaxed);
    assert_eq!(status(&asked.await.expect("no panic")), 200);
    let answer = common::rest(&mut idle).await;
    assert_eq!((status(&answer), field(&answer, "connection")), (200, Some("close")), "{answer}");
    tokio::task::spawn_blocking(move || gateway.end()).await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_checks_keep_requests_from_a_server_that_is_not_well() {
    let well = Arc::new(AtomicBool::new(true));
    let of_server = well.clone();
    let first = RawServer::with(move |bytes, _| match message_end(bytes) {
        None => Reply::More,
        Some(_) if bytes.starts_with(b"GET /health") && !of_server.load(Ordering::Relaxed) => {
            Reply::Close(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n".to_vec())
        }
        Some(_) => Reply::Send(ok("first")),
    })
    .await;
    let second = RawServer::with(|bytes, _| match message_end(bytes) {
        None => Reply::More,
        Some(_) => Reply::Send(ok("second")),
    })
    .await;
    let gateway = start(&format!(
        "[[upstream]]\nname = \"s\"\nurls = [\"http://{}\", \"http://{}\"]\nhealth = {{ path = \"/health\", interval_millis = 10, unhealthy_after = 2 }}\n\
         [[route]]\npath = \"/\"\nupstream = \"s\"\n",
        first.address, second.address
    ));
    let mut bodies = Vec::new();
    for _ in 0..4 {
        bodies.push(body(&get(gateway.address, "/").await).to_owned());
    }
    assert_eq!(bodies.iter().filter(|body| *body == "first").count(), 2, "in turn: {bodies:?}");
    well.store(false, Ordering::Relaxed);
    until("the check has noticed", || !gateway.gateway.upstreams()[0].servers[0].well).await;
    for _ in 0..4 {
        assert_eq!(body(&get(gateway.address, "/").await), "second");
    }
    well.store(true, Ordering::Relaxed);
    until("it is well again", || gateway.gateway.upstreams()[0].servers[0].well).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_is_asked_when_the_first_cannot_be_reached() {
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let server = RawServer::start().await;
    let gateway = start(&format!(
        "[[upstream]]\nname = \"s\"\nurls = [\"http://{closed}\", \"http://{}\"]\n[[route]]\npath = \"/\"\nupstream = \"s\"\n",
        server.address
    ));
    for _ in 0..6 {
        let answer = raw(
            gateway.address,
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
        )
        .await;
        assert_eq!(status(&answer), 200, "nothing was sent to the one that is closed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_traffic_is_not_touched_by_one_that_waits() {
    let release = Arc::new(AtomicBool::new(false));
    let slow = slow_server(release.clone()).await;
    let server = RawServer::start().await;
    let gateway = start(&format!(
        "{}[[route]]\npath = \"/slow\"\nupstream = \"http://{slow}\"\n",
        route_to(server.address)
    ));
    let address = gateway.address;
    let waiting: Vec<_> = (0..50).map(|_| tokio::spawn(async move { get(address, "/slow").await })).collect();
    until("they wait", || {
        gateway.gateway.upstreams().iter().map(|u| u.servers[0].under_way).sum::<usize>() == 50
    })
    .await;
    assert_eq!(status(&get(address, "/").await), 200);
    release.store(true, Ordering::Relaxed);
    for one in waiting {
        assert_eq!(status(&one.await.expect("no panic")), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn old_clients_get_what_they_can_read() {
    let server = RawServer::with(|bytes, _| match message_end(bytes) {
        None => Reply::More,
        Some(_) => Reply::Send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n".to_vec(),
        ),
    })
    .await;
    let gateway = start(&route_to(server.address));
    let answer = raw(gateway.address, "GET /old HTTP/1.0\r\n\r\n").await;
    assert_eq!(
        (status(&answer), body(&answer), field(&answer, "transfer-encoding")),
        (200, "abcde", None),
        "{answer}"
    );
    let seen = server.all();
    assert!(seen.starts_with("GET /old HTTP/1.1\r\n"), "{seen}");
    assert_eq!(
        field(&seen, "host"),
        Some(server.address.to_string().as_str()),
        "without a host, the server's own"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_takes_only_so_many_requests_at_once() {
    let release = Arc::new(AtomicBool::new(false));
    let server = slow_server(release.clone()).await;
    let gateway = start(&format!("[limits]\nrequests_max = 1\n{}", route_to(server)));
    let address = gateway.address;
    let first = tokio::spawn(async move { get(address, "/1").await });
    until("the first is under way", || gateway.gateway.upstreams()[0].servers[0].under_way == 1).await;
    let second = get(address, "/2").await;
    assert_eq!(
        (status(&second), slug(&second), field(&second, "retry-after")),
        (503, "gateway-busy", Some("1"))
    );
    release.store(true, Ordering::Relaxed);
    assert_eq!(status(&first.await.expect("no panic")), 200);
    assert_eq!(status(&get(address, "/3").await), 200, "there is room again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_nothing_is_let_go_and_its_server_too() {
    let server = RawServer::with(|bytes, _| match message_end(bytes) {
        None => Reply::More,
        Some(_) => Reply::Send(ok(&"x".repeat(64 << 20))),
    })
    .await;
    let gateway = start(&format!("[timeouts]\nidle_millis = 200\n{}", route_to(server.address)));
    let mut socket = TcpStream::connect(gateway.address).await.expect("connected");
    socket.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
    until("it is under way", || gateway.gateway.upstreams()[0].servers[0].under_way == 1).await;
    until("it is let go", || gateway.gateway.upstreams()[0].servers[0].under_way == 0).await;
    assert_eq!(gateway.gateway.traffic()[0].legacy.failures, 0, "no fault of the server");
}
