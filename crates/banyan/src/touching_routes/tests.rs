//! Verdicts on routes, and a real gateway before an old shop whose database is in memory.

use super::*;
use banyan_domain::legacy::Phase;
use banyan_engine::wall_clock;
use banyan_gateway::InProcess;
use banyan_legacy::{Gate, Keeper, KeeperOptions, ReferenceKind};
use banyan_legacy_testkit::{World, until};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use tokio::sync::watch;

const HOUR: Duration = Duration::from_secs(3_600);
const PATIENCE: Duration = Duration::from_secs(60);

fn standing(state: &'static str, have: u64, holds: bool) -> Standing {
    let findings = vec![
        Finding { rule: "mismatch", seen: 0.001, at_most: Some(0.0042), limit: 0.005, holds },
        Finding { rule: "p99-ratio", seen: 1.2, at_most: None, limit: 1.5, holds },
    ];
    let held_until = (state == "held").then_some(1);
    Standing { state, have, need: 1_000, look: 1, confidence: 0.95, findings, held_until, backs: 2 }
}

fn seen(mode: Mode, standing: Option<Standing>, promoted: bool) -> Seen<'static> {
    let percent = (mode == Mode::Canary).then_some(5.0);
    Seen { mode, percent, has_banyan: true, report: None, standing, promoted }
}

#[test]
fn a_route_holds_if_its_evidence_does_or_nothing_can_be_compared() {
    let alone = Seen { has_banyan: false, ..seen(Mode::Legacy, None, false) };
    let full = |holds| Some(standing("waiting", 1_000, holds));
    let table = [
        (alone, true, "nothing to compare"),
        (seen(Mode::Legacy, None, false), false, "not compared"),
        (seen(Mode::Banyan, None, false), true, "Banyan answers"),
        (seen(Mode::Shadow, None, false), false, "shadow: 0 of 0 compared answers differ"),
        (seen(Mode::Shadow, Some(standing("waiting", 999, true)), false), false, "999 of 1000 requests"),
        (
            seen(Mode::Shadow, full(true), false),
            true,
            "mismatch 0.10 % (at most 0.42 %) of 0.50 %, p99-ratio not",
        ),
        (seen(Mode::Shadow, full(false), false), false, "shadow, so far"),
        (
            seen(Mode::Canary, Some(standing("waiting", 3, true)), true),
            true,
            "canary at 5 %, put there by evidence",
        ),
        (seen(Mode::Canary, Some(standing("waiting", 3, true)), false), false, "so far 3 of 1000"),
        // Taken back by evidence, which is also its doing.
        (seen(Mode::Shadow, Some(standing("waiting", 3, true)), true), false, "so far"),
        (seen(Mode::Shadow, Some(standing("held", 1_000, true)), false), false, "taken back 2 times"),
    ];
    for (seen, holds, words) in table {
        let verdict = verdict(&seen);
        assert_eq!(verdict.holds, holds, "{}", verdict.found);
        assert!(verdict.found.contains(words), "{words}: {}", verdict.found);
        assert_eq!(
            verdict.needed.is_empty(),
            holds,
            "who is in the way is told what to do: {}",
            verdict.found
        );
    }
}

#[test]
fn a_misspelt_capability_is_refused() {
    let file = |touches: &str| {
        let routes = "[[route]]\nname = \"feed\"\npath = \"/\"\nupstream = \"http://127.0.0.1:1\"";
        Config::parse(&format!("listen = \"127.0.0.1:0\"\n{routes}\ntouches = [{touches}]\n"), Path::new("."))
    };
    check_touches(&file("\"stock\"").expect("good")).expect("stock is one");
    check_touches(&file("").expect("good")).expect("none is fine");
    let refused = check_touches(&file("\"stock\", \"stok\"").expect("good")).expect_err("stok is none");
    let told = "route \"feed\" of the gateway: touches: there is no capability \"stok\"; write stock, or leave it out";
    assert_eq!(refused.to_string(), told);
}

#[test]
fn a_gateway_that_is_not_there_yet_stands_in_the_way() {
    let routes = TouchingRoutes::default();
    assert!(routes.evidence(Capability::Stock).iter().all(|route| !route.holds));
    assert_eq!(routes.evidence(Capability::Stock).len(), 1);
    assert_eq!(routes.ledger(Capability::Stock), RouteLedger::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_saw_is_in_the_gates_of_a_move() {
    let state = tempfile::tempdir().expect("a folder");
    let (stop, stopping) = watch::channel(false);
    let config = format!(
        "listen = \"127.0.0.1:0\"\nworkers = 1\n\
         [[route]]\nname = \"pages\"\npath = \"/\"\nupstream = \"{old}\"\n\
         [[route]]\nname = \"feed\"\npath = \"/feed\"\nmode = \"shadow\"\nupstream = \"{old}\"\nbanyan = \"in-process\"\n\
         touches = [\"stock\"]\n[route.shadow]\nnoise_percent = 0\n\
         [route.evidence]\nrequests = 5\nmismatch_max = 0.5\nerror_max = 0.5\nsteps = [1]\n",
        old = an_old_shop()
    );
    let config = Config::parse(&config, state.path()).expect("a configuration");
    let api = axum::Router::new().route("/feed", axum::routing::get(|| async { "5" }));
    let gateway = Gateway::new(config, Some(InProcess::new(api))).expect("a gateway");
    let serving = gateway.serve(stopping.clone()).expect("it serves");
    let address = serving.listening[0];
    let routes: Arc<TouchingRoutes> = Arc::default();
    routes.set(gateway.clone());
    let World { shop, banyan, .. } = World::mirroring([("A", 5, 0)]).await;
    shop.is_used_by("oscar", "select num_in_stock", 3);
    let keeper = Keeper::new(KeeperOptions { routes, quiet_for: HOUR, ..banyan.keeper_options() });
    let running = tokio::spawn(keeper.clone().run(stopping));

    let gate = evidence(&keeper).await;
    assert!(!gate.holds && gate.may_be_overridden, "nothing was compared: {gate:?}");
    assert!(gate.found.contains("feed: shadow, so far 0 of") && !gate.found.contains("pages"), "{gate:?}");

    // Evidence promotes the route once enough of it was compared and found equal.
    until("evidence promotes the route", async || {
        ask(address, "/feed", "warehouse");
        gateway.table().route("feed").is_some_and(|route| route.mode() == Mode::Canary)
    })
    .await;
    let gate = evidence(&keeper).await;
    assert!(gate.holds && gate.found.contains("feed: canary at 1 %, put there by evidence"), "{gate:?}");

    ask(address, "/", "browser");
    until("statements and callers are seen", async || keeper.references().all.len() == 2).await;
    let view = keeper.references();
    let of = |kind| view.all.iter().find(|one| one.kind == kind).expect("one of each");
    let (route, sql) = (of(ReferenceKind::Route), of(ReferenceKind::Sql));
    assert_eq!((route.caller.as_str(), route.what.as_str()), ("warehouse", "feed"));
    assert_eq!(sql.what, "select num_in_stock");
    assert_eq!(view.left(wall_clock(), HOUR), 2, "callers and statements");

    // An operator's mode is no evidence, but there is nothing left to compare; and nobody is the old shop's any more.
    let change = Change::SetMode { route: "feed".into(), mode: Mode::Banyan };
    gateway.change(gateway.table().version(), change, "mina", "done").expect("it is changed");
    ask(address, "/feed", "warehouse");
    let after = keeper.references();
    let last = after.all.iter().find(|one| one.kind == ReferenceKind::Route).expect("it stays listed");
    assert_eq!(
        (last.count, last.last_seen),
        (route.count, route.last_seen),
        "Banyan's answers are no references"
    );
    assert!(evidence(&keeper).await.found.contains("feed: Banyan answers it"));

    stop.send_replace(true);
    running.await.expect("it does not panic");
    tokio::task::spawn_blocking(|| serving.join()).await.expect("it ends");
}

async fn evidence(keeper: &Keeper) -> Gate {
    let plan = keeper.plan(Phase::Lead).await.expect("it runs");
    plan.gates.into_iter().find(|gate| gate.name == "evidence").expect("a gate of evidence")
}

/// Asks as a service, and reads the answer to its end.
fn ask(address: SocketAddr, path: &str, caller: &str) {
    let mut socket = TcpStream::connect(address).expect("connected");
    socket.set_read_timeout(Some(PATIENCE)).expect("set");
    let head =
        format!("GET {path} HTTP/1.1\r\nHost: shop\r\nBanyan-Caller: {caller}\r\nConnection: close\r\n\r\n");
    socket.write_all(head.as_bytes()).expect("sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with('5'), "{answer}");
}

/// A server that answers every request with a number.
fn an_old_shop() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let Ok(mut socket) = socket else { return };
            let mut seen = Vec::new();
            let mut bytes = [0; 1_024];
            while !seen.windows(4).any(|end| end == b"\r\n\r\n") {
                match socket.read(&mut bytes) {
                    Ok(read) if read > 0 => seen.extend_from_slice(&bytes[..read]),
                    _ => break,
                }
            }
            let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 1\r\n\
                          Connection: close\r\n\r\n5";
            // Who went away does not wait for it.
            let _gone = socket.write_all(answer.as_bytes());
        }
    });
    format!("http://{address}")
}
