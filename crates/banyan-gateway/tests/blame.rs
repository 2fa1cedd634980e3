//! Who is to blame, and who comes first: what a slow client does is no failure of the server's, and copies take nothing
//! that users need.

mod common;

use common::{
    RawServer, Reply, Running, get, message_end, ok, raw, read_until, rest, slug, start, status, until,
};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Two failures are enough to open the breaker of this route's server.
fn fragile(server: &RawServer, timeouts: &str) -> Running {
    fragile_at(server.address, timeouts)
}

fn fragile_at(address: SocketAddr, timeouts: &str) -> Running {
    start(&format!(
        "[timeouts]\n{timeouts}\n[[upstream]]\nname = \"s\"\nurls = [\"http://{address}\"]\n[upstream.breaker]\nfailures = 2\nopen_millis = 60000\n\
         [[route]]\nname = \"all\"\npath = \"/\"\nupstream = \"s\"\n"
    ))
}

fn nobody_blames_the_server(gateway: &Running) {
    let server = gateway.gateway.upstreams().remove(0).servers.remove(0);
    assert_eq!((server.opened, server.failures), (0, 0), "{server:?}");
    assert_eq!(gateway.gateway.traffic()[0].legacy.failures, 0, "nor does the evidence");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_stop_in_the_middle_of_their_bodies_open_no_breaker() {
    let server = RawServer::start().await;
    let gateway = fragile(&server, "first_byte_millis = 100\nidle_millis = 1000");
    let stalled = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nx";
    let address = gateway.address;
    let clients: Vec<_> = (0..3).map(|_| tokio::spawn(raw(address, stalled))).collect();
    for client in clients {
        let answer = client.await.expect("no panic");
        assert_eq!((status(&answer), slug(&answer)), (408, "gateway-client-too-slow"));
    }
    assert_eq!(status(&get(gateway.address, "/").await), 200);
    nobody_blames_the_server(&gateway);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_takes_longer_than_a_whole_exchange_may_is_the_clients_fault() {
    let server = RawServer::start().await;
    let gateway = fragile(&server, "whole_millis = 1000");
    let answer = raw(gateway.address, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nx").await;
    assert_eq!((status(&answer), slug(&answer)), (408, "gateway-client-too-slow"));
    nobody_blames_the_server(&gateway);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_read_longer_than_a_whole_exchange_may_take_open_no_breaker() {
    const LENGTH: usize = 32 << 20;
    const WHOLE: Duration = Duration::from_secs(2);
    let large = Arc::new(ok(&"x".repeat(LENGTH)));
    let server = RawServer::with(move |bytes, _| match message_end(bytes) {
        None => Reply::More,
        Some(_) if bytes.starts_with(b"GET /large") => Reply::Send(large.to_vec()),
        Some(_) => Reply::Send(ok("small")),
    })
    .await;
    let gateway = fragile(&server, &format!("whole_millis = {}", WHOLE.as_millis()));
    let address = gateway.address;
    let slow = move || async move {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(64 << 10).expect("an option");
        let mut socket = socket.connect(address).await.expect("connected");
        let asked = Instant::now();
        socket.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.expect("sent");
        let mut start = [0; 12];
        socket.read_exact(&mut start).await.expect("a head");
        assert_eq!(&start, b"HTTP/1.1 200");
        // This is what a slow reader does: by the time it reads on, all the time there was is over.
        tokio::time::sleep_until((asked + WHOLE * 3 / 2).into()).await;
        let mut got = Vec::new();
        let _reset = socket.read_to_end(&mut got).await;
        assert!(got.len() < LENGTH, "it was not cut off");
    };
    let clients: Vec<_> = (0..3).map(|_| tokio::spawn(slow())).collect();
    for client in clients {
        client.await.expect("no panic");
    }
    assert_eq!(status(&get(gateway.address, "/small").await), 200);
    nobody_blames_the_server(&gateway);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_tires_of_clients_in_the_middle_of_their_bodies_is_not_left_alone() {
    let server = RawServer::with(|bytes, _| match message_end(bytes) {
        None if bytes.ends_with(b"x") => Reply::Close(Vec::new()),
        None => Reply::More,
        Some(_) => Reply::Send(ok("well")),
    })
    .await;
    let gateway = fragile(&server, "");
    for _ in 0..3 {
        let stalled = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nx";
        assert_eq!(status(&raw(gateway.address, stalled).await), 502);
    }
    assert_eq!(status(&get(gateway.address, "/").await), 200);
    nobody_blames_the_server(&gateway);
}

/// The server had a moment for its answer, after a client that used up nearly all of the time.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_leave_the_server_no_time_to_answer_open_no_breaker() {
    let server = RawServer::with(|bytes, _| match message_end(bytes) {
        None => Reply::More,
        Some(_) if bytes.starts_with(b"GET") => Reply::Send(ok("well")),
        Some(_) => Reply::Hang,
    })
    .await;
    let gateway = fragile(&server, "whole_millis = 2000");
    let address = gateway.address;
    let slow = move || async move {
        let mut socket = TcpStream::connect(address).await.expect("connected");
        let head = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nx";
        socket.write_all(head.as_bytes()).await.expect("sent");
        // This is what a slow client does.
        tokio::time::sleep(Duration::from_millis(1_800)).await;
        let _late = socket.write_all(b"y").await;
        rest(&mut socket).await
    };
    let clients: Vec<_> = (0..3).map(|_| tokio::spawn(slow())).collect();
    for client in clients {
        let answer = client.await.expect("no panic");
        assert!([408, 504].contains(&status(&answer)), "{answer}");
    }
    assert_eq!(status(&get(gateway.address, "/").await), 200);
    nobody_blames_the_server(&gateway);
}

/// The answer began, and its end depends on what the client does not send.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_stop_in_the_middle_of_their_bodies_after_an_answer_began_open_no_breaker() {
    let server = RawServer::with(|bytes, _| match bytes.ends_with(b"x") {
        _ if bytes.starts_with(b"GET") && message_end(bytes).is_some() => Reply::Send(ok("well")),
        false => Reply::More,
        true => Reply::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx".to_vec()),
    })
    .await;
    let gateway = fragile(&server, "idle_millis = 500");
    for _ in 0..3 {
        let answer = raw(gateway.address, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nx").await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nx"), "{answer}");
    }
    assert_eq!(status(&get(gateway.address, "/").await), 200);
    nobody_blames_the_server(&gateway);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_streams_for_ever_fails() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                read_until(&mut socket, b"\r\n\r\n").await;
                let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                let mut open = socket.write_all(head).await.is_ok();
                while open {
                    open = socket.write_all(b"1\r\nx\r\n").await.is_ok();
                    // That is how fast it is.
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            });
        }
    });
    let gateway = fragile_at(address, "whole_millis = 500");
    for _ in 0..2 {
        assert!(!get(gateway.address, "/").await.ends_with("0\r\n\r\n"), "cut off");
    }
    // Not in a row: each time it gave the head of an answer.
    let server = gateway.gateway.upstreams().remove(0).servers.remove(0);
    assert_eq!((server.opened, server.failures), (0, 2), "{server:?}");
    assert_eq!(gateway.gateway.traffic()[0].legacy.failures, 2, "and evidence knows");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_is_left_alone_also_if_the_whole_exchange_has_the_shorter_time() {
    let server = RawServer::with(|bytes, _| match message_end(bytes) {
        None => Reply::More,
        Some(_) => Reply::Hang,
    })
    .await;
    let gateway = fragile(&server, "whole_millis = 200");
    for slug_then in ["gateway-timeout", "gateway-timeout", "gateway-busy"] {
        assert_eq!(slug(&get(gateway.address, "/").await), slug_then);
    }
    let server = gateway.gateway.upstreams().remove(0).servers.remove(0);
    assert_eq!((server.opened, server.failures), (1, 2), "{server:?}");
}

/// What is slow may be either: here it is the server.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_while_its_client_waits_is_to_blame() {
    let server = RawServer::with(|bytes, _| match bytes.windows(4).any(|window| window == b"\r\n\r\n") {
        false => Reply::More,
        true if bytes.starts_with(b"GET /half") => {
            Reply::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf".to_vec())
        }
        true => Reply::Hang,
    })
    .await;
    let gateway = fragile(&server, "first_byte_millis = 200\nwhole_millis = 1000");
    let mut late = TcpStream::connect(gateway.address).await.expect("connected");
    late.write_all(b"GET /half HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
    assert!(rest(&mut late).await.ends_with("\r\n\r\nhalf"), "cut off");
    let answer =
        raw(gateway.address, "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx")
            .await;
    assert_eq!((status(&answer), slug(&answer)), (504, "gateway-timeout"));
    let server = gateway.gateway.upstreams().remove(0).servers.remove(0);
    assert_eq!((server.opened, server.failures), (1, 2), "{server:?}");
    assert_eq!(gateway.gateway.traffic()[0].legacy.failures, 2);
}

/// Users of `/old` are answered by the old shop and copied to the server of `/new`, which never answers a copy.
async fn copying(more: &str, breaker: &str, well: &Arc<AtomicBool>) -> (Running, RawServer) {
    let well = well.clone();
    let hanging = RawServer::with(move |bytes, _| match message_end(bytes) {
        None => Reply::More,
        Some(_) if String::from_utf8_lossy(bytes).contains("banyan-shadow:") => Reply::Hang,
        Some(_) if well.load(Ordering::SeqCst) => Reply::Send(ok("new")),
        Some(_) => Reply::Send(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n".to_vec()),
    })
    .await;
    let old = RawServer::start().await;
    let running = start(&format!(
        "[[upstream]]\nname = \"s\"\nurls = [\"http://{}\"]\n{more}\n[upstream.breaker]\n{breaker}\n\
         [[route]]\nname = \"new\"\npath = \"/new\"\nmode = \"banyan\"\nbanyan = \"s\"\n\
         [[route]]\nname = \"old\"\npath = \"/old\"\nmode = \"shadow\"\nupstream = \"http://{}\"\nbanyan = \"s\"\n\
         [route.shadow]\nnoise_percent = 0\n",
        hanging.address, old.address
    ));
    (running, hanging)
}

fn copies(gateway: &Running) -> (u64, usize) {
    let shadow = gateway.gateway.shadow();
    let old = shadow.iter().find(|report| report.route == "old").expect("a route");
    let upstreams = gateway.gateway.upstreams();
    let upstream = upstreams.iter().find(|upstream| upstream.name == "s").expect("an upstream");
    (old.skipped.get("upstream-busy").copied().unwrap_or(0), upstream.servers[0].under_way)
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_that_hang_leave_users_their_room() {
    let well = Arc::new(AtomicBool::new(true));
    let (gateway, _server) = copying("requests_max = 2\nwaiting_millis = 100", "failures = 0", &well).await;
    for _ in 0..2 {
        assert_eq!(status(&get(gateway.address, "/old").await), 200);
    }
    until("both copies are asked, or not", || {
        let (busy, under_way) = copies(&gateway);
        busy + under_way as u64 == 2
    })
    .await;
    assert_eq!(status(&get(gateway.address, "/new").await), 200);
    assert_eq!(copies(&gateway), (1, 1), "half of the room is for users only");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_room_for_one_request_is_never_asked_by_a_copy() {
    let well = Arc::new(AtomicBool::new(true));
    let (gateway, server) = copying("requests_max = 1\nwaiting_millis = 100", "failures = 0", &well).await;
    assert_eq!(status(&get(gateway.address, "/old").await), 200);
    until("the copy is given up", || copies(&gateway) == (1, 0)).await;
    assert_eq!(status(&get(gateway.address, "/new").await), 200);
    assert!(!server.all().contains("banyan-shadow"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_and_no_copy_is_the_one_who_tries_a_server_again() {
    let well = Arc::new(AtomicBool::new(false));
    let (gateway, server) = copying("", "failures = 1\nopen_millis = 500", &well).await;
    assert_eq!(status(&get(gateway.address, "/new").await), 503);
    well.store(true, Ordering::SeqCst);
    let breaker = || {
        gateway.gateway.upstreams().iter().find(|upstream| upstream.name == "s").expect("one").servers[0]
            .breaker
    };
    until("somebody may try", || breaker() == "half-open").await;
    assert_eq!(status(&get(gateway.address, "/old").await), 200);
    until("the copy is asked, or not", || copies(&gateway) != (0, 0)).await;
    assert_eq!(status(&get(gateway.address, "/new").await), 200);
    assert_eq!(copies(&gateway).0, 1);
    assert!(!server.all().contains("banyan-shadow"), "a copy tried");
    assert_eq!(breaker(), "closed");
}

/// It has a status and a length like any other, and nobody ever gets it.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_cannot_be_passed_on_counts_as_a_failure_of_its_side() {
    let coded = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
    let switched = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
    for answer in [&coded[..], switched] {
        let server = RawServer::with(move |bytes, _| match message_end(bytes) {
            None => Reply::More,
            Some(_) => Reply::Send(answer.to_vec()),
        })
        .await;
        let gateway = fragile(&server, "");
        for _ in 0..2 {
            let answer = get(gateway.address, "/").await;
            assert_eq!((status(&answer), slug(&answer)), (502, "gateway-unreachable"));
        }
        assert_eq!(slug(&get(gateway.address, "/").await), "gateway-busy", "the server is left alone");
        let counts = gateway.gateway.traffic()[0].legacy.clone();
        assert_eq!((counts.requests, counts.classes, counts.failures), (3, [0; 5], 3));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_full_of_others_is_not_to_blame_for_those_who_find_no_room() {
    let server = RawServer::with(|bytes, _| match message_end(bytes) {
        None => Reply::More,
        Some(_) => Reply::Hang,
    })
    .await;
    let gateway = start(&format!(
        "[[upstream]]\nname = \"s\"\nurls = [\"http://{}\"]\nrequests_max = 1\nwaiting_max = 0\n\
         [[route]]\nname = \"all\"\npath = \"/\"\nupstream = \"s\"\n",
        server.address
    ));
    let address = gateway.address;
    let first = tokio::spawn(async move { get(address, "/1").await });
    until("the first is under way", || gateway.gateway.upstreams()[0].servers[0].under_way == 1).await;
    let second = get(address, "/2").await;
    assert_eq!((status(&second), slug(&second)), (503, "gateway-busy"));
    nobody_blames_the_server(&gateway);
    first.abort();
}
