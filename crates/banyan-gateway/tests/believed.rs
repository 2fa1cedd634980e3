//! Whom the gateway believes: what a stranger says in a proxy's name decides nothing.

mod common;

use common::{RawServer, Reply, body, message_end, ok, raw, start};
use std::net::SocketAddr;

async fn named(name: &'static str) -> SocketAddr {
    let server = RawServer::with(move |bytes, _| match message_end(bytes) {
        None => Reply::More,
        Some(_) => Reply::Send(ok(name)),
    })
    .await;
    server.address
}

/// The condition of a route on a field that a proxy writes is a rule about who may come in.
#[tokio::test(flavor = "multi_thread")]
async fn what_strangers_say_in_the_fields_of_proxies_chooses_no_route() {
    let (public, inner) = (named("public").await, named("inner").await);
    let routes = |more: &str| {
        let mut text = format!("{more}\n[[route]]\npath = \"/\"\nupstream = \"http://{public}\"\n");
        for (name, value) in [
            ("x-forwarded-user", "*"),
            ("x-real-ip", "10.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("true-client-ip", "*"),
            ("cf-connecting-ip", "*"),
            ("x-staff", "yes"),
        ] {
            text.push_str(&format!(
                "[[route]]\nname = \"{name}\"\npath = \"/\"\nheaders = {{ {name} = \"{value}\" }}\nupstream = \"http://{inner}\"\n"
            ));
        }
        text
    };
    let fields = [
        "X-Forwarded-User: root",
        "X-Real-IP: 10.0.0.1",
        "X-Forwarded-Proto: https",
        "True-Client-IP: 10.0.0.1",
        "CF-Connecting-IP: 10.0.0.1",
        // For this connection only, says the client: it is not sent on, so it decides nothing either.
        "X-Staff: yes\r\nConnection: X-Staff",
    ];
    let gateway = start(&routes(""));
    let ask = |field: &str| format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{field}\r\n\r\n");
    for field in fields {
        assert_eq!(body(&raw(gateway.address, ask(field)).await), "public", "{field}");
    }
    let told = raw(gateway.address, ask("X-Staff: yes")).await;
    assert_eq!(body(&told), "inner", "a field of the client's own still counts");
    let trusting = start(&routes("trusted_proxies = [\"127.0.0.1\"]"));
    for field in &fields[..5] {
        assert_eq!(body(&raw(trusting.address, ask(field)).await), "inner", "{field}");
    }
}
