//! A side that fails loses its users, and gets them back in the order in which that can be trusted: first copies, whose answers
//! nobody waits for.

mod common;

use banyan_gateway::Mode;
use banyan_gateway::shadow::ShadowReport;
use common::{RawServer, Reply, Running, SOON, field, get, message_end, start, status, until};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Instant;

fn goods(from: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-From: {from}\r\n\r\ngoods").into_bytes()
}

/// A server that answers while it is `well`, and breaks every connection off while it is not.
async fn side(from: &'static str, well: &Arc<AtomicBool>) -> RawServer {
    let well = well.clone();
    RawServer::with(move |bytes, _| match message_end(bytes) {
        None => Reply::More,
        Some(_) if well.load(SeqCst) => Reply::Send(goods(from)),
        Some(_) => Reply::Close(Vec::new()),
    })
    .await
}

fn report(gateway: &Running) -> ShadowReport {
    gateway.gateway.shadow().remove(0)
}

/// State of the breaker in front of Banyan, and how often it opened.
fn breaker(gateway: &Running) -> (&'static str, u64) {
    let upstreams = gateway.gateway.upstreams();
    let banyan = upstreams.iter().find(|upstream| upstream.name == "banyan").expect("an upstream");
    (banyan.servers[0].breaker, banyan.servers[0].opened)
}

/// Asks as users do until `holds`, and gives every answer to `look`.
async fn users_until(gateway: &Running, what: &str, look: impl Fn(&str), mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON * 2;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}: {:?} {:?}", breaker(gateway), report(gateway));
        look(&get(gateway.address, "/").await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_side_that_fails_loses_its_users_and_is_looked_at_by_copies_until_it_is_well() {
    let well = Arc::new(AtomicBool::new(true));
    let (old, banyan) = (side("old", &Arc::new(AtomicBool::new(true))).await, side("new", &well).await);
    let gateway = start(&format!(
        "[[upstream]]\nname = \"banyan\"\nurls = [\"http://{}\"]\nbreaker = {{ failures = 3, open_millis = 100 }}\n\
         [[route]]\nname = \"shop\"\npath = \"/\"\nmode = \"canary\"\nupstream = \"http://{}\"\nbanyan = \"banyan\"\n\
         [route.canary]\npercent = 100\nby = \"header:host\"\n\
         [route.shadow]\nnoise_percent = 0\nignore_headers = [\"x-from\"]\n\
         [route.evidence]\nrequests = 30\nmismatch_max = 0.2\nerror_max = 0.2\nsteps = [100]\n",
        banyan.address, old.address
    ));
    let mode = || gateway.gateway.table().routes()[0].mode();
    let from = |answer: &str, from: &str| {
        assert_eq!((status(answer), field(answer, "x-from")), (200, Some(from)), "{answer}");
    };

    // Everybody is answered by Banyan, and the old shop by copies.
    users_until(&gateway, "copies", |answer| from(answer, "new"), || report(&gateway).equal >= 5).await;

    // Banyan's side breaks: its breaker opens, and what users get then takes the route back.
    well.store(false, SeqCst);
    users_until(
        &gateway,
        "the breaker opens",
        |answer| assert_ne!(status(answer), 200),
        || breaker(&gateway).1 > 0,
    )
    .await;
    users_until(&gateway, "the route goes back", |_| {}, || mode() == Mode::Shadow).await;

    // Users go on by the old shop, whatever becomes of the copies.
    let (copied, busy) = (report(&gateway).compared, |report: &ShadowReport| {
        report.skipped.get("upstream-busy").copied().unwrap_or_default()
    });
    let turned_away = busy(&report(&gateway));
    users_until(
        &gateway,
        "a copy is turned away",
        |answer| from(answer, "old"),
        || busy(&report(&gateway)) > turned_away,
    )
    .await;
    assert_ne!(breaker(&gateway).0, "closed");

    // It is well again. No user of this route comes to try: a copy looks, and what it finds lets the others through.
    well.store(true, SeqCst);
    users_until(
        &gateway,
        "the breaker closes",
        |answer| from(answer, "old"),
        || breaker(&gateway).0 == "closed" && report(&gateway).compared > copied,
    )
    .await;
    until("all are counted", || {
        let report = report(&gateway);
        report.compared + report.skipped.values().sum::<u64>() == report.offered
    })
    .await;
    let before = report(&gateway);
    for _ in 0..10 {
        from(&get(gateway.address, "/").await, "old");
    }
    until("all are compared", || report(&gateway).compared == before.compared + 10).await;
    assert_eq!(busy(&report(&gateway)), busy(&before));
    assert_eq!(report(&gateway).mismatched, 0, "{:?}", gateway.gateway.groups("shop"));
    assert_eq!(mode(), Mode::Shadow, "evidence holds it there for a while");
}
