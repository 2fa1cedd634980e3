//! WebSockets and the like: after 101 bytes pass both ways, until each side has ended for itself.

mod common;

use common::{SOON, field, read_until, rest, route_to, start, status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const ASK: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn after_101_bytes_pass_both_ways_and_each_way_ends_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let gateway = start(&route_to(listener.local_addr().expect("an address")));
    let mut client = TcpStream::connect(gateway.address).await.expect("connected");
    // Bytes that come before the answer are for the other protocol, whatever they look like.
    client.write_all(format!("{ASK}\0early\r\n\r\n").as_bytes()).await.expect("sent");
    let (mut server, _) = listener.accept().await.expect("connected");
    let seen = read_until(&mut server, b"\r\n\r\n").await;
    assert_eq!(
        (field(&seen, "upgrade"), field(&seen, "connection")),
        (Some("websocket"), Some("upgrade")),
        "{seen}"
    );
    assert_eq!(field(&seen, "sec-websocket-key"), Some("x"));
    server
        .write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Y: z\r\n\r\nwelcome")
        .await
        .expect("written");
    let got = read_until(&mut client, b"welcome").await;
    assert_eq!(
        (status(&got), field(&got, "upgrade"), field(&got, "x-y")),
        (101, Some("websocket"), Some("z")),
        "{got}"
    );
    assert_eq!(read_until(&mut server, b"\0early\r\n\r\n").await.len(), 10);
    for n in 0..100 {
        let text = format!("message {n}\r\n\r\nGET / HTTP/1.1\n");
        client.write_all(text.as_bytes()).await.expect("sent");
        assert_eq!(read_until(&mut server, text.as_bytes()).await, text);
        server.write_all(text.as_bytes()).await.expect("written");
        assert_eq!(read_until(&mut client, text.as_bytes()).await, text);
    }
    client.shutdown().await.expect("half closed");
    assert_eq!(rest(&mut server).await, "", "the server sees the end");
    server.write_all(b"and still speaks").await.expect("written");
    server.shutdown().await.expect("closed");
    assert_eq!(rest(&mut client).await, "and still speaks");
    assert!(gateway.gateway.prometheus().contains("banyan_gateway_upgrades_total 1\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_answers_as_ever_and_the_connection_goes_on() {
    let server = common::RawServer::start().await;
    let gateway = start(&route_to(server.address));
    let mut client = TcpStream::connect(gateway.address).await.expect("connected");
    for n in 0..3 {
        client
            .write_all(format!("{ASK}GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
            .await
            .expect("sent");
        let got = read_until(&mut client, b"\r\n\r\n0").await;
        let got = match got.matches("HTTP/1.1 200").count() {
            1 => got + &read_until(&mut client, b"\r\n\r\n0").await,
            _ => got,
        };
        assert_eq!(got.matches("HTTP/1.1 200").count(), 2, "{got}");
    }
    client.write_all(format!("{ASK}GET /x HTTP/1.1\r\nHost : a\r\n\r\n").as_bytes()).await.expect("sent");
    let got = rest(&mut client).await;
    assert!(
        got.contains("HTTP/1.1 200") && got.contains("HTTP/1.1 400"),
        "what follows is judged again: {got}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn protocols_that_are_not_allowed_are_not_asked_for() {
    let server = common::RawServer::start().await;
    let gateway = start(&route_to(server.address));
    for protocol in ["h2c", "websocket, h2c", "TLS/1.2"] {
        let text = ASK
            .replace("Upgrade: websocket", &format!("Upgrade: {protocol}"))
            .replace("keep-alive, ", "close, ");
        assert_eq!(status(&common::raw(gateway.address, text).await), 200, "{protocol}");
    }
    assert!(!server.all().to_ascii_lowercase().contains("upgrade"), "{}", server.all());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_that_nobody_asked_for_is_an_error() {
    let server = common::RawServer::with(|bytes, _| match common::message_end(bytes) {
        None => common::Reply::More,
        Some(_) => common::Reply::Send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nraw"
                .to_vec(),
        ),
    })
    .await;
    let gateway = start(&route_to(server.address));
    let answer = common::get(gateway.address, "/").await;
    assert_eq!(status(&answer), 502, "{answer}");
    assert!(!answer.contains("raw"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tunnels_end_when_the_gateway_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let gateway = start(&format!(
        "[timeouts]\ndrain_millis = 50\n{}",
        route_to(listener.local_addr().expect("an address"))
    ));
    let mut client = TcpStream::connect(gateway.address).await.expect("connected");
    client.write_all(ASK.as_bytes()).await.expect("sent");
    let (mut server, _) = listener.accept().await.expect("connected");
    read_until(&mut server, b"\r\n\r\n").await;
    server
        .write_all(b"HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n")
        .await
        .expect("written");
    read_until(&mut client, b"\r\n\r\n").await;
    tokio::task::spawn_blocking(move || gateway.end()).await.expect("it ends");
    let mut got = Vec::new();
    let _closed = tokio::time::timeout(SOON, client.read_to_end(&mut got)).await.expect("closed");
}
