//! WebSockets over HTTP/2 (RFC 8441): to the server they are what they are over HTTP/1.1.

mod common;

use base64::Engine as _;
use bytes::Bytes;
use common::tls::{acceptor, certify};
use common::{RawServer, Reply, Running, SOON, field, message_end, ok, read_until, route_to, start, until};
use h2::RecvStream;
use h2::client::SendRequest;
use h2::ext::Protocol;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use std::io::Write as _;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What a server answers to a key, by another hand than the gateway's.
fn accept(key: &str) -> String {
    let mut sum = std::process::Command::new("sha1sum")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("coreutils");
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    sum.stdin.take().expect("piped").write_all(text.as_bytes()).expect("written");
    let digits = sum.wait_with_output().expect("a sum").stdout;
    let byte = |at: usize| {
        u8::from_str_radix(std::str::from_utf8(&digits[at..at + 2]).expect("digits"), 16).expect("digits")
    };
    base64::engine::general_purpose::STANDARD.encode((0..20).map(|n| byte(2 * n)).collect::<Vec<_>>())
}

/// Connects with HTTP/2 and waits until the gateway has said that it takes extended CONNECT.
async fn connect(address: SocketAddr) -> SendRequest<Bytes> {
    let socket = TcpStream::connect(address).await.expect("connected");
    let (client, connection) = h2::client::handshake(socket).await.expect("HTTP/2");
    tokio::spawn(connection);
    until("extended CONNECT is offered", || client.is_extended_connect_protocol_enabled()).await;
    client.ready().await.expect("ready")
}

fn request(protocol: &'static str) -> Request<()> {
    Request::builder()
        .method(Method::CONNECT)
        .uri("http://shop.example/chat?room=1")
        .extension(Protocol::from_static(protocol))
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "chat")
        .header("cookie", "a=1")
        .body(())
        .expect("a request")
}

async fn answered(response: h2::client::ResponseFuture) -> Response<RecvStream> {
    tokio::time::timeout(SOON, response).await.expect("in time").expect("an answer")
}

/// Reads from a stream until `wanted` came.
async fn receive(stream: &mut RecvStream, wanted: &[u8]) {
    let mut got = Vec::new();
    while got.len() < wanted.len() {
        let piece =
            tokio::time::timeout(SOON, stream.data()).await.expect("in time").expect("more").expect("data");
        stream.flow_control().release_capacity(piece.len()).expect("released");
        got.extend_from_slice(&piece);
    }
    assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(wanted));
}

async fn end_of(stream: &mut RecvStream) {
    let end = tokio::time::timeout(SOON, stream.data()).await.expect("in time");
    assert!(end.is_none_or(|piece| piece.is_ok_and(|piece| piece.is_empty())));
}

/// Takes the request for a WebSocket on a new connection and says yes.
async fn take(listener: &TcpListener) -> (TcpStream, String) {
    let (mut server, _) =
        tokio::time::timeout(SOON, listener.accept()).await.expect("in time").expect("connected");
    let seen = read_until(&mut server, b"\r\n\r\n").await;
    let accept = accept(field(&seen, "sec-websocket-key").expect("a key"));
    let yes = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\
         Sec-WebSocket-Protocol: chat\r\n\r\nwelcome"
    );
    server.write_all(yes.as_bytes()).await.expect("written");
    (server, seen)
}

async fn listening(rest: &str) -> (TcpListener, Running) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let gateway = start(&format!("{rest}{}", route_to(listener.local_addr().expect("an address"))));
    (listener, gateway)
}

fn all_but_date(headers: &HeaderMap) -> Vec<&str> {
    headers.keys().map(http::HeaderName::as_str).filter(|name| *name != "date").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_http_two_opens_what_the_server_knows_from_http_one() {
    let (listener, gateway) = listening("").await;
    let mut client = connect(gateway.address).await;
    let (response, mut up) = client.send_request(request("websocket"), false).expect("sent");
    let (mut server, seen) = take(&listener).await;
    assert!(seen.starts_with("GET /chat?room=1 HTTP/1.1\r\n"), "{seen}");
    for (name, value) in [
        ("host", "shop.example"),
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat"),
        ("cookie", "a=1"),
        ("via", "2 banyan"),
    ] {
        assert_eq!(field(&seen, name), Some(value), "{seen}");
    }
    let answer = answered(response).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(all_but_date(answer.headers()), ["sec-websocket-protocol", "x-request-id"]);
    let mut down = answer.into_body();
    receive(&mut down, b"welcome").await;
    for n in 0..100 {
        let text = format!("message {n} {}", "x".repeat(n * 10));
        up.send_data(Bytes::from(text.clone()), false).expect("sent");
        assert_eq!(read_until(&mut server, text.as_bytes()).await, text);
        server.write_all(text.as_bytes()).await.expect("written");
        receive(&mut down, text.as_bytes()).await;
    }
    // Each way ends alone.
    up.send_data(Bytes::new(), true).expect("sent");
    assert_eq!(common::rest(&mut server).await, "", "the server sees the end");
    server.write_all(b"and still speaks").await.expect("written");
    receive(&mut down, b"and still speaks").await;
    server.shutdown().await.expect("closed");
    end_of(&mut down).await;
    assert!(gateway.gateway.prometheus().contains("banyan_gateway_upgrades_total 1\n"));
    until("it is accounted for", || {
        gateway.gateway.upstreams()[0].servers[0].under_way == 0
            && gateway.gateway.prometheus().contains("banyan_gateway_requests_under_way 0\n")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_websockets_and_requests_share_one_connection() {
    let (listener, gateway) = listening("").await;
    let mut client = connect(gateway.address).await;
    let mut open = Vec::new();
    for _ in 0..10 {
        let (response, up) = client.send_request(request("websocket"), false).expect("sent");
        let (server, _) = take(&listener).await;
        open.push((up, answered(response).await.into_body(), server));
    }
    assert_eq!(gateway.gateway.upstreams()[0].servers[0].under_way, 10, "each counts while it is open");
    for (n, (up, down, server)) in open.iter_mut().enumerate() {
        receive(down, b"welcome").await;
        // More than a window: both ways move at the pace of who reads.
        let large = vec![b'a' + n as u8; 1 << 20];
        let sending = async {
            for piece in large.chunks(16 << 10) {
                up.reserve_capacity(piece.len());
                while up.capacity() < piece.len() {
                    std::future::poll_fn(|cx| up.poll_capacity(cx)).await.expect("open").expect("capacity");
                }
                up.send_data(Bytes::copy_from_slice(piece), false).expect("sent");
            }
        };
        let mut got = vec![0; large.len()];
        let both = async { tokio::join!(sending, server.read_exact(&mut got)).1.expect("read") };
        tokio::time::timeout(SOON, both).await.expect("in time");
        assert!(got == large);
    }
    // A client that gives up one of them ends that one only.
    let (mut up, _, mut server) = open.remove(0);
    up.send_reset(h2::Reason::CANCEL);
    common::rest(&mut server).await;
    let (up, _, server) = &mut open[0];
    up.send_data(Bytes::from_static(b"still there"), false).expect("sent");
    read_until(server, b"still there").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_gives_no_websocket_gives_the_client_none() {
    for (what, reply, wanted) in [
        ("200", ok("hello").as_slice(), 502),
        ("204", b"HTTP/1.1 204 No Content\r\n\r\n", 502),
        ("403", b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno", 403),
        ("302", b"HTTP/1.1 302 There\r\nLocation: /in\r\nContent-Length: 0\r\n\r\n", 302),
        ("no accept", b"HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", 502),
        (
            "another's accept",
            b"HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            502,
        ),
        ("another protocol", b"HTTP/1.1 101 Go\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", 502),
    ] {
        let reply = reply.to_vec();
        let server = RawServer::with(move |bytes, _| match message_end(bytes) {
            None => Reply::More,
            Some(_) => Reply::Send(reply.clone()),
        })
        .await;
        let gateway = start(&route_to(server.address));
        let mut client = connect(gateway.address).await;
        let (response, _up) = client.send_request(request("websocket"), false).expect("sent");
        let answer = answered(response).await;
        assert_eq!(answer.status(), wanted, "{what}");
        assert!(gateway.gateway.prometheus().contains("banyan_gateway_upgrades_total 0\n"), "{what}");
        let get = Request::get("http://shop.example/").body(()).expect("a request");
        let (response, _) = client.send_request(get, true).expect("the connection goes on");
        answered(response).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_protocols_and_routes_without_websockets_are_refused() {
    let server = RawServer::start().await;
    let gateway = start(&format!("{}upgrades = []\n", route_to(server.address)));
    let mut client = connect(gateway.address).await;
    for protocol in ["connect-udp", "websocket", "WebSocket"] {
        let (response, _up) = client.send_request(request(protocol), false).expect("sent");
        assert_eq!(answered(response).await.status(), StatusCode::NOT_IMPLEMENTED, "{protocol}");
    }
    assert_eq!(server.all(), "", "nothing of it was sent on");
}

/// To a server of HTTP/2 without TLS a WebSocket would go as a plain GET, whose answer is none.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_http_two_without_tls_is_asked_for_no_websocket_and_the_answer_says_what_to_configure() {
    let server = RawServer::start().await;
    let gateway = start(&format!(
        "[[upstream]]\nname = \"s\"\nurls = [\"http://{}\"]\nhttp = \"2\"\n[[route]]\nname = \"all\"\npath = \"/\"\nupstream = \"s\"\n",
        server.address
    ));
    let mut client = connect(gateway.address).await;
    let (response, _up) = client.send_request(request("websocket"), false).expect("sent");
    let answer = answered(response).await;
    assert_eq!(answer.status(), StatusCode::NOT_IMPLEMENTED);
    let (mut body, mut said) = (answer.into_body(), Vec::new());
    while let Some(piece) = tokio::time::timeout(SOON, body.data()).await.expect("in time") {
        said.extend_from_slice(&piece.expect("data"));
    }
    let said = String::from_utf8(said).expect("text");
    assert_eq!(common::slug(&said), "gateway-no-upgrade");
    assert!(said.contains(r#"\"all\""#) && said.contains(r#"`http = \"1.1\"`"#), "{said}");
    let over_one = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: close, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";
    let answer = common::raw(gateway.address, over_one.to_owned()).await;
    assert_eq!((common::status(&answer), common::slug(&answer)), (501, "gateway-no-upgrade"));
    assert_eq!(server.all(), "", "the server heard nothing");
    let report = &gateway.gateway.upstreams()[0].servers[0];
    assert_eq!((report.requests, report.failures, report.breaker), (0, 0, "closed"), "and did not fail");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_websocket_ends() {
    let (listener, gateway) = listening("[timeouts]\ntunnel_millis = 300\n").await;
    let mut client = connect(gateway.address).await;
    let (response, _up) = client.send_request(request("websocket"), false).expect("sent");
    let (mut server, _) = take(&listener).await;
    let mut down = answered(response).await.into_body();
    receive(&mut down, b"welcome").await;
    common::rest(&mut server).await;
    end_of(&mut down).await;
    until("it is accounted for", || gateway.gateway.upstreams()[0].servers[0].under_way == 0).await;
}

/// An open WebSocket is no silence of its connection: the connection is not told to close.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_with_a_websocket_is_not_idle() {
    let limit = std::time::Duration::from_millis(1_000);
    let (listener, gateway) = listening("[timeouts]\nkeep_alive_millis = 1000\n").await;
    // A machine with much to do may let the silence before the first request be too long: then another connection.
    let (mut client, mut up, mut server) = loop {
        let mut client = connect(gateway.address).await;
        let Ok((response, up)) = client.send_request(request("websocket"), false) else { continue };
        let asked = tokio::time::timeout(limit * 5, take(&listener)).await;
        let Ok((server, _)) = asked else { continue };
        let mut down = answered(response).await.into_body();
        receive(&mut down, b"welcome").await;
        break (client, up, server);
    };
    let began = std::time::Instant::now();
    while began.elapsed() < limit * 3 {
        up.send_data(Bytes::from_static(b"tick"), false).expect("sent");
        read_until(&mut server, b"tick").await;
    }
    let (second, _up) = client.send_request(request("websocket"), false).expect("it takes requests");
    let (_server, _) = take(&listener).await;
    assert_eq!(answered(second).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_from_its_websocket_loses_it() {
    let (listener, gateway) = listening("[timeouts]\nidle_millis = 1000\n").await;
    let mut client = connect(gateway.address).await;
    let (response, _up) = client.send_request(request("websocket"), false).expect("sent");
    let (mut server, _) = take(&listener).await;
    let _down = answered(response).await.into_body();
    let flood = async { while server.write_all(&[b'x'; 64 << 10]).await.is_ok() {} };
    tokio::time::timeout(SOON, flood).await.expect("the server is let go");
    until("it is accounted for", || gateway.gateway.upstreams()[0].servers[0].under_way == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn websockets_end_when_the_gateway_ends() {
    let (listener, gateway) = listening("[timeouts]\ndrain_millis = 50\n").await;
    let mut client = connect(gateway.address).await;
    let (response, _up) = client.send_request(request("websocket"), false).expect("sent");
    let (mut server, _) = take(&listener).await;
    let mut down = answered(response).await.into_body();
    receive(&mut down, b"welcome").await;
    tokio::task::spawn_blocking(move || gateway.end()).await.expect("it ends");
    common::rest(&mut server).await;
}

/// A server behind TLS that would rather speak HTTP/2 is asked for a WebSocket with HTTP/1.1.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_prefers_http_two_is_asked_with_http_one() {
    let files = tempfile::tempdir().expect("a temporary folder");
    certify(files.path());
    let tls = acceptor(files.path(), &[b"h2", b"http/1.1"]);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let gateway = start(&format!(
        "[[upstream]]\nname = \"s\"\nurls = [\"https://localhost:{}\"]\nca = {:?}\n[[route]]\npath = \"/\"\nupstream = \"s\"\n",
        listener.local_addr().expect("an address").port(),
        files.path().join("cert.pem").display().to_string()
    ));
    let mut client = connect(gateway.address).await;
    let (response, _up) = client.send_request(request("websocket"), false).expect("sent");
    let (socket, _) = listener.accept().await.expect("connected");
    let mut server = tls.accept(socket).await.expect("TLS");
    assert_eq!(server.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let seen = read_until(&mut server, b"\r\n\r\n").await;
    let accept = accept(field(&seen, "sec-websocket-key").expect("a key"));
    let yes = format!(
        "HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    server.write_all(yes.as_bytes()).await.expect("written");
    assert_eq!(answered(response).await.status(), StatusCode::OK);
}
