//! Nobody takes all the room there is: tunnels have their own, and each client only a part.

mod common;

use common::{
    RawServer, Reply, get, message_end, ok, one_answer, rest, route_to, slug, start, status, until,
};
use std::net::SocketAddr;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Opens WebSockets, hangs on `/hang`, and answers everything else.
async fn server() -> RawServer {
    RawServer::with(|bytes, _| match message_end(bytes) {
        None => Reply::More,
        Some(_) if bytes.starts_with(b"GET /hang") => Reply::Hang,
        Some(_) if String::from_utf8_lossy(bytes).to_ascii_lowercase().contains("upgrade: websocket") => Reply::Send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 0\r\n\r\n".to_vec(),
        ),
        Some(_) => Reply::Send(ok("well")),
    })
    .await
}

/// A client that asks for a WebSocket, and what it is answered.
async fn socket(address: SocketAddr) -> (TcpStream, String) {
    let mut client = TcpStream::connect(address).await.expect("connected");
    let ask = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";
    client.write_all(ask.as_bytes()).await.expect("sent");
    let answer = one_answer(&mut client).await;
    (client, answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn websockets_take_no_room_of_requests_and_have_a_limit_of_their_own() {
    let server = server().await;
    let gateway = start(&format!(
        "[[upstream]]\nname = \"s\"\nurls = [\"http://{}\"]\nrequests_max = 1\nwaiting_max = 0\ntunnels_max = 2\n\
         [[route]]\npath = \"/\"\nupstream = \"s\"\n",
        server.address
    ));
    let (one, answer) = socket(gateway.address).await;
    assert_eq!(status(&answer), 101);
    let (_two, answer) = socket(gateway.address).await;
    assert_eq!(status(&answer), 101);
    assert_eq!(status(&get(gateway.address, "/").await), 200, "there is room for a request beside them");
    let (_three, answer) = socket(gateway.address).await;
    assert_eq!((status(&answer), slug(&answer)), (503, "gateway-busy"));
    assert_eq!(gateway.gateway.traffic()[0].legacy.failures, 0, "the server is not to blame");
    drop(one);
    until("its place is free", || gateway.gateway.upstreams()[0].tunnels == 1).await;
    let (_four, answer) = socket(gateway.address).await;
    assert_eq!(status(&answer), 101);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_has_only_so_many_connections_and_requests_but_a_trusted_proxy_as_many_as_it_brings() {
    let server = server().await;
    let limits = "[limits]\nclient_connections_max = 3\nclient_requests_max = 1\n";
    let gateway = start(&format!("{limits}{}", route_to(server.address)));
    let hangs = b"GET /hang HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut first = TcpStream::connect(gateway.address).await.expect("connected");
    first.write_all(hangs).await.expect("sent");
    until("it is under way", || gateway.gateway.upstreams()[0].servers[0].under_way == 1).await;
    let mut second = TcpStream::connect(gateway.address).await.expect("connected");
    let asks = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    second.write_all(asks).await.expect("sent");
    let answer = one_answer(&mut second).await;
    assert_eq!((status(&answer), slug(&answer)), (503, "gateway-busy"));
    let mut third = TcpStream::connect(gateway.address).await.expect("connected");
    third.write_all(asks).await.expect("sent");
    assert_eq!(status(&one_answer(&mut third).await), 503);
    let mut fourth = TcpStream::connect(gateway.address).await.expect("connected");
    let _closed = fourth.write_all(asks).await;
    assert_eq!(rest(&mut fourth).await, "", "one too many is closed");
    assert!(gateway.gateway.prometheus().contains("banyan_gateway_client_refused_total 3\n"));
    drop((first, third));
    drop(gateway);

    let gateway = start(&format!("trusted_proxies = [\"127.0.0.1\"]\n{limits}{}", route_to(server.address)));
    let mut proxies = Vec::new();
    for _ in 0..4 {
        let mut proxy = TcpStream::connect(gateway.address).await.expect("connected");
        proxy.write_all(hangs).await.expect("sent");
        proxies.push(proxy);
    }
    until("all are under way", || gateway.gateway.upstreams()[0].servers[0].under_way == 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_has_comes_back_when_it_goes() {
    let server = server().await;
    let limits = "[limits]\nclient_connections_max = 1\nclient_requests_max = 1\n";
    let gateway = start(&format!("{limits}{}", route_to(server.address)));
    for _ in 0..5 {
        until("nobody is there", || gateway.gateway.prometheus().contains("banyan_gateway_connections 0\n"))
            .await;
        let mut client = TcpStream::connect(gateway.address).await.expect("connected");
        for _ in 0..3 {
            client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
            assert_eq!(status(&one_answer(&mut client).await), 200);
        }
    }
}

/// A listener on which nobody comes holds no place of those on the others.
#[tokio::test(flavor = "multi_thread")]
async fn all_places_are_for_those_who_come_whichever_listener_they_come_to() {
    let server = server().await;
    let folder = tempfile::tempdir().expect("a folder");
    let text = format!(
        "listen = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\nstate = \"state\"\nworkers = 1\n[limits]\nconnections_max = 1\n{}",
        route_to(server.address)
    );
    let config = banyan_gateway::Config::parse(&text, folder.path()).expect("a configuration");
    let gateway = banyan_gateway::Gateway::new(config, None).expect("a gateway");
    let (stop, stopping) = tokio::sync::watch::channel(false);
    let serving = gateway.serve(stopping).expect("it listens");
    for _ in 0..2 {
        for address in serving.listening.clone() {
            assert_eq!(status(&get(address, "/").await), 200);
        }
    }
    stop.send_replace(true);
    tokio::task::spawn_blocking(move || serving.join()).await.expect("ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_who_say_nothing_do_not_keep_others_from_the_admin_api() {
    let server = server().await;
    let gateway = start(&format!(
        "admin = \"127.0.0.1:0\"\n[timeouts]\nhead_millis = 300\n{}",
        route_to(server.address)
    ));
    let admin = gateway.admin.expect("an address");
    let mut silent = Vec::new();
    for n in 0..64 {
        let mut socket = TcpStream::connect(admin).await.expect("connected");
        if n % 2 == 0 {
            socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n").await.expect("sent");
        }
        silent.push(socket);
    }
    for socket in &mut silent {
        let said = rest(socket).await;
        assert!(said.is_empty() || status(&said) == 408, "{said}");
    }
    let answer = get(admin, "/healthz").await;
    assert_eq!(status(&answer), 200);
}
