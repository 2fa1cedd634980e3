//! Who comes first: copies take nothing that users need.

mod common;

use common::{RawServer, Reply, Running, get, message_end, ok, start, status, until};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
    let breaker = || gateway.gateway.upstreams().iter().find(|upstream| upstream.name == "s").expect("one").servers[0].breaker;
    until("somebody may try", || breaker() == "half-open").await;
    assert_eq!(status(&get(gateway.address, "/old").await), 200);
    until("the copy is asked, or not", || copies(&gateway) != (0, 0)).await;
    assert_eq!(status(&get(gateway.address, "/new").await), 200);
    assert_eq!(copies(&gateway).0, 1);
    assert!(!server.all().contains("banyan-shadow"), "a copy tried");
    assert_eq!(breaker(), "closed");
}
