//! A table whose servers come and go.

mod common;

use banyan_gateway::{Change, RouteSpec};
use common::{RawServer, SOON, get, ok, route_to, start, status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn route(name: &str, path: &str, address: &str) -> RouteSpec {
    let text = format!("name = {name:?}\npath = {path:?}\nupstream = \"http://{address}\"\n");
    toml::from_str(&text).expect("a route")
}

/// A deployment gives a server a new address each time: those of before do not use up the room for upstreams.
#[tokio::test(flavor = "multi_thread")]
async fn servers_that_no_route_has_any_more_are_forgotten() {
    let server = RawServer::start().await;
    let gateway = start(&route_to(server.address));
    for round in 0..3 {
        let mut routes: Vec<_> = (0..600)
            .map(|n| {
                route(
                    &format!("r{n}"),
                    &format!("/r{n}"),
                    &format!("10.{round}.{}.{}:80", n / 250, 1 + n % 250),
                )
            })
            .collect();
        routes.push(route("all", "/", &server.address.to_string()));
        let version = gateway.gateway.table().version();
        gateway
            .gateway
            .change(version, Change::Replace { routes }, "mina", "new addresses")
            .unwrap_or_else(|refused| panic!("round {round}: {refused}"));
    }
    assert_eq!(gateway.gateway.upstreams().len(), 601);
    assert_eq!(gateway.gateway.upstreams().iter().map(|u| u.servers[0].requests).sum::<u64>(), 0);
    assert_eq!(status(&get(gateway.address, "/").await), 200);
    let version = gateway.gateway.table().version();
    gateway.gateway.undo(version, "mina", "back").expect("the version before is there");
}

/// A route that leads back to the gateway does not fill it with one request.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_does_not_go_in_a_circle_for_ever() {
    let server = RawServer::start().await;
    let gateway = start(&route_to(server.address));
    let change = Change::SetRoute(Box::new(route("all", "/", &gateway.address.to_string())));
    gateway.gateway.change(gateway.gateway.table().version(), change, "mina", "a slip").expect("a version");
    let answer = get(gateway.address, "/").await;
    assert_eq!((status(&answer), common::slug(&answer)), (502, "gateway-unreachable"), "{answer}");
    let asked = gateway.gateway.traffic()[0].legacy.requests;
    assert!((1..=8).contains(&asked), "{asked} requests out of one");
    // A chain of some gateways is none.
    gateway.gateway.undo(gateway.gateway.table().version(), "mina", "back").expect("a version");
    let text =
        "GET / HTTP/1.1\r\nHost: a\r\nVia: 1.1 banyan, 1.1 cdn\r\nVia: 2 banyan\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&common::raw(gateway.address, text).await), 200);
}

/// Connections with a server that was taken out of the table are closed, and not kept until it closes them.
#[tokio::test(flavor = "multi_thread")]
async fn connections_with_a_server_that_was_taken_out_are_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let other = RawServer::start().await;
    let gateway = start(&route_to(listener.local_addr().expect("an address")));
    let address = gateway.address;
    let asked = tokio::spawn(async move { get(address, "/").await });
    let (mut server, _) = listener.accept().await.expect("connected");
    let mut bytes = vec![0; 8 << 10];
    assert!(server.read(&mut bytes).await.expect("a request") > 0);
    server.write_all(&ok("first")).await.expect("written");
    assert_eq!(status(&asked.await.expect("no panic")), 200);
    let change = Change::SetRoute(Box::new(route("all", "/", &other.address.to_string())));
    gateway.gateway.change(gateway.gateway.table().version(), change, "mina", "moved").expect("a version");
    assert_eq!(status(&get(address, "/").await), 200);
    let end = tokio::time::timeout(SOON, server.read(&mut bytes)).await.expect("closed in time");
    assert_eq!(end.expect("closed"), 0);
}
