//! Canary, copies, evidence and callers through the real gateway: what people set up, and what they can rely on.

mod common;

use banyan_gateway::groups::Judgement;
use banyan_gateway::{Change, Config, Gateway, InProcess, Mode, RouteSpec, Side};
use common::Running;
use common::blocking::{DEADLINE, Headers, Message, exchange};
use serde_json::{Value, json};
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::ops::Deref;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What every gateway here begins with.
const ADMIN: &str = "admin = \"127.0.0.1:0\"\n";

/// A request as a server saw it.
#[derive(Clone, Debug)]
struct Asked {
    method: String,
    target: String,
    headers: Headers,
}

type Answering = Box<dyn Fn(&Asked) -> (u16, String) + Send + Sync>;

/// A server, and everything it was asked.
fn server(answering: Answering) -> (SocketAddr, Arc<Mutex<Vec<Asked>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let log: Arc<Mutex<Vec<Asked>>> = Arc::default();
    let (seen, answering) = (log.clone(), Arc::new(answering));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(mut stream), seen, answering) = (stream, seen.clone(), answering.clone()) else { return };
            std::thread::spawn(move || {
                while let Ok(message) = Message::read(&mut stream) {
                    let mut words = message.first_line().split(' ').map(str::to_owned);
                    let (method, target) = (words.next().expect("a method"), words.next().expect("a target"));
                    let asked = Asked { method, target, headers: message.headers() };
                    let (status, body) = answering(&asked);
                    let dry = if asked.headers.contains_key("banyan-dry-run") {
                        "banyan-dry-run: true\r\n"
                    } else {
                        ""
                    };
                    seen.lock().expect("a log").push(asked);
                    let head = format!(
                        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{dry}content-length: {}\r\n\r\n",
                        body.len()
                    );
                    if stream.write_all((head + &body).as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, log)
}

/// A gateway with an admin API.
struct World(Running);

impl Deref for World {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.0
    }
}

/// The beginning of a route for everything in this mode, between two servers.
fn shop(mode: &str, legacy: SocketAddr, banyan: SocketAddr) -> String {
    format!(
        "[[route]]\nname = \"shop\"\npath = \"/\"\nmode = \"{mode}\"\nupstream = \"http://{legacy}\"\nbanyan = \"http://{banyan}\"\n"
    )
}

/// A gateway with these routes.
fn world(routes: &str, in_process: Option<InProcess>) -> World {
    World(common::start_with(&format!("{ADMIN}{routes}"), in_process))
}

impl World {
    /// Stops it, and starts another one with what it has kept.
    fn restarted(self, routes: &str) -> Self {
        Self(common::start_in(self.0.end(), &format!("{ADMIN}{routes}"), None))
    }

    /// Asks as a user; the answer's status, headers and body.
    fn ask(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (String, Headers, String) {
        let answer = exchange(self.address, method, target, headers, body);
        (answer.first_line().to_owned(), answer.headers(), answer.text())
    }

    /// Asks the admin API.
    fn admin(&self, method: &str, target: &str, body: &Value) -> (u16, Value) {
        let key = std::fs::read_to_string(self.gateway.config().state.join("admin.key")).expect("a key");
        let authorization = format!("Bearer {}", key.trim());
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let address = self.admin.expect("an admin address");
        let answer = exchange(address, method, target, &[("authorization", &authorization)], &body);
        (common::status(&answer.head), serde_json::from_slice(&answer.body).expect("JSON"))
    }

    fn until(&self, what: &str, holds: impl Fn(&Gateway) -> bool) {
        let began = Instant::now();
        while !holds(&self.gateway) {
            assert!(began.elapsed() < DEADLINE, "never: {what}; {:?}", self.gateway.shadow());
            std::thread::park_timeout(Duration::from_millis(2));
        }
    }

    fn compared(&self, count: u64) {
        self.until("all compared", |gateway| gateway.shadow()[0].compared == count);
    }
}

fn says(text: &'static str) -> Answering {
    Box::new(move |_| (200, format!("{{\"from\":\"{text}\"}}")))
}

#[test]
fn members_stay_on_their_side_also_after_a_restart() {
    let ((legacy, _), (banyan, _)) = (server(says("legacy")), server(says("banyan")));
    let route = shop("canary", legacy, banyan);
    let config = format!("{route}[route.canary]\npercent = 30\nby = \"header:x-member\"\n");
    let sides = |world: &World| -> Vec<bool> {
        let side = |member: u32| {
            world.ask("GET", "/", &[("x-member", &format!("m-{member}"))], "").2.contains("banyan")
        };
        (0..120).map(side).collect()
    };
    let world = world(&config, None);
    let first = sides(&world);
    assert_eq!(sides(&world), first);
    let moved = first.iter().filter(|banyan| **banyan).count();
    // 36 expected; five deviations are 25.
    assert!((11..=61).contains(&moved), "{moved} of 120");
    let change = Change::SetPercent { route: "shop".into(), percent: 60.0 };
    world.gateway.change(world.gateway.table().version(), change, "mina", "more").expect("is changed");
    let more = sides(&world);
    assert!(first.iter().zip(&more).all(|(before, after)| *after || !before), "nobody goes back");
    assert!(more.iter().filter(|banyan| **banyan).count() > moved);
    assert_eq!(sides(&world.restarted(&config)), more, "the journal and the key are kept");
}

#[test]
fn visitors_are_named_and_may_choose_only_with_a_signature() {
    let ((legacy, _), (banyan, _)) = (server(says("legacy")), server(says("banyan")));
    let route = shop("canary", legacy, banyan);
    let config = format!(
        "{route}[route.canary]\npercent = 0.01\nby = \"cookie:cart\"\noverride_header = \"x-side\"\n"
    );
    let world = world(&config, None);
    let (_, headers, _) = world.ask("GET", "/", &[], "");
    let cookie = headers.get("set-cookie").expect("a cookie");
    assert!(cookie.starts_with("banyan_visitor=") && cookie.contains("HttpOnly"), "{cookie}");
    let named = cookie.split(';').next().expect("a pair");
    assert!(!world.ask("GET", "/", &[("cookie", named)], "").1.contains_key("set-cookie"));
    assert!(!world.ask("GET", "/", &[("cookie", "cart=7")], "").1.contains_key("set-cookie"));

    let choose = |value: &str| world.ask("GET", "/", &[("cookie", "cart=7"), ("x-side", value)], "").2;
    assert!(choose("banyan").contains("legacy"), "anybody could");
    let asked = json!({"route": "shop", "side": "banyan", "seconds": 600, "by": "mina"});
    let (status, signed) = world.admin("POST", "/v1/override", &asked);
    assert_eq!(status, 200, "{signed}");
    let value = signed["value"].as_str().expect("a text");
    assert!(choose(value).contains("banyan"));
    assert!(choose(&value.replace("banyan", "legacy")).contains("legacy"));
    let asked = json!({"route": "shop", "side": "banyan", "seconds": 99_999_999, "by": "mina"});
    assert_eq!(world.admin("POST", "/v1/override", &asked).0, 422);
}

/// A proxy like nginx appends to what its client wrote, byte for byte.
#[test]
fn nobody_behind_a_trusted_proxy_is_taken_for_the_proxy() {
    let ((legacy, users), (banyan, _)) = (server(says("legacy")), server(says("banyan")));
    let config = format!(
        "trusted_proxies = [\"127.0.0.0/8\"]\n[[route]]\nname = \"shop\"\npath = \"/\"\nmode = \"canary\"\nupstream = \"http://{legacy}\"\n\
         banyan = \"http://{banyan}\"\n[route.canary]\npercent = 0\nby = \"header:x-member\"\noverride_header = \"x-side\"\n\
         override_from = [\"127.0.0.0/8\", \"10.0.0.0/8\"]\n"
    );
    let world = world(&config, None);
    let from = |forwarded: &str| {
        let sent = [("x-side", "banyan"), ("x-forwarded-for", forwarded)];
        world.ask("GET", "/", &sent, "").2
    };
    for ours in ["10.0.0.7", "10.0.0.7:5123", "203.0.113.9, 10.0.0.7", "\u{ff}, 10.0.0.7"] {
        assert!(from(ours).contains("banyan"), "{ours:?} may choose");
    }
    for stranger in [
        "203.0.113.9",
        "203.0.113.9:5123",
        "[2001:db8::9]:5123",
        "\u{ff}, 203.0.113.9",
        "unknown",
        "\u{ff}",
        "_hidden, 127.0.0.1",
    ] {
        assert!(from(stranger).contains("legacy"), "{stranger:?} may not choose");
    }
    let users = users.lock().expect("a log");
    let last =
        users.iter().find(|asked| asked.headers["x-forwarded-for"].contains(", 203")).expect("it came");
    assert_eq!(
        last.headers["x-forwarded-for"], "\u{ff}, 203.0.113.9, 127.0.0.1",
        "nothing is lost on the way"
    );
}

#[test]
fn a_copy_asks_what_the_user_asked() {
    let ((legacy, users), (banyan, copies)) = (server(says("one")), server(says("one")));
    let route = shop("shadow", legacy, banyan);
    let config = format!(
        "{route}rewrite = {{ from = \"/api\", to = \"/v1\", side = \"banyan\" }}\n[route.shadow]\ndry_run = true\nnoise_percent = 0\n"
    );
    let world = world(&config, None);
    let sent = [("authorization", "Bearer secret-1"), ("cookie", "cart=7"), ("idempotency-key", "k-1")];
    world.ask("POST", "/api/stock?x=1", &sent, "{\"n\":1}");
    world.compared(1);
    world.ask("GET", "/api/stock", &[("banyan-shadow", "read")], "");
    world.until("the loop is cut", |gateway| gateway.shadow()[0].skipped.get("loop") == Some(&1));
    let (users, copies) = (users.lock().expect("a log").clone(), copies.lock().expect("a log").clone());
    assert_eq!((users.len(), copies.len()), (2, 1), "a copy is not copied");
    let (user, copy) = (&users[0], &copies[0]);
    assert_eq!((user.target.as_str(), copy.target.as_str()), ("/api/stock?x=1", "/v1/stock?x=1"));
    assert_eq!((user.method.as_str(), copy.method.as_str()), ("POST", "POST"));
    for name in [
        "authorization",
        "cookie",
        "idempotency-key",
        "host",
        "x-forwarded-for",
        "content-length",
        "x-request-id",
    ] {
        assert_eq!(copy.headers.get(name), user.headers.get(name), "{name}");
    }
    assert_eq!(copy.headers.get("banyan-dry-run").map(String::as_str), Some("true"));
    assert_eq!(copy.headers.get("banyan-shadow").map(String::as_str), Some("dry-run"));
    assert!(!user.headers.contains_key("banyan-dry-run") && !user.headers.contains_key("banyan-shadow"));
    assert_eq!(world.gateway.shadow()[0].equal, 1);
}

#[test]
fn mismatches_are_judged_over_the_admin_api_and_remembered() {
    let legacy = server(Box::new(|_| (200, r#"{"price":10,"token":"legacy-secret"}"#.into()))).0;
    let banyan = server(Box::new(|_| (200, r#"{"price":11,"token":"banyan-secret"}"#.into()))).0;
    let config = format!(
        "[[route]]\npath = \"/\"\nmode = \"shadow\"\nupstream = \"http://{legacy}\"\nbanyan = \"http://{banyan}\"\ntouches = [\"stock\"]\n\
         [route.shadow]\nnoise_percent = 0\nignore = [\"$.token\"]\n"
    );
    let world = world(&config, None);
    world.ask("GET", "/?token=query-secret", &[("banyan-caller", "erp")], "");
    world.compared(1);
    let (_, groups) = world.admin("GET", "/v1/groups?route=/", &Value::Null);
    assert_eq!(groups["groups"][0]["path"], "$.price", "{groups}");
    assert_eq!(groups["groups"][0]["samples"][0]["differences"][0]["banyan"], "11");
    for secret in ["legacy-secret", "banyan-secret", "query-secret"] {
        assert!(!groups.to_string().contains(secret), "{groups}");
    }
    let id = groups["groups"][0]["id"].as_str().expect("an id").to_owned();
    let judging =
        |by: &str| json!({"route": "/", "group": id, "judgement": "ignore", "by": by, "why": "agreed"});
    assert_eq!(world.admin("POST", "/v1/judge", &judging("")).0, 422);
    let (status, group) = world.admin("POST", "/v1/judge", &judging("mina"));
    assert_eq!((status, group["judged"][0]["by"].as_str()), (200, Some("mina")), "{group}");
    let wrong = json!({"route": "/", "group": "00", "judgement": "bug", "by": "mina", "why": "x"});
    assert_eq!(world.admin("POST", "/v1/judge", &wrong).0, 404);
    assert_eq!(world.admin("GET", "/v1/groups?route=none", &Value::Null).0, 404);
    let (_, callers) = world.admin("GET", "/v1/callers?capability=stock", &Value::Null);
    assert_eq!(
        (callers["left"].as_u64(), callers["references"][0]["caller"].as_str()),
        (Some(1), Some("erp"))
    );
    assert!(world.gateway.prometheus().contains("banyan_gateway_shadow_mismatched_total{route=\"/\"} 1\n"));
    let world = world.restarted(&config);
    world.ask("GET", "/", &[], "");
    world.compared(1);
    let report = world.gateway.shadow().remove(0);
    assert_eq!((report.mismatched, report.ignored), (0, 1), "the judgement was kept");
    let groups = world.gateway.groups("/").expect("a route");
    assert_eq!((groups[0].id.as_str(), groups[0].count, groups[0].judgement()), (&*id, 2, Judgement::Ignore));
    assert_eq!(world.gateway.callers("stock", DEADLINE).references.len(), 2, "erp was kept");
}

/// From shadow to canary on evidence, and back when Banyan begins to fail: with real requests and the real clock.
#[test]
fn evidence_moves_a_route_and_takes_it_back() {
    let broken = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let fails = broken.clone();
    let legacy = server(says("one")).0;
    let banyan = server(Box::new(move |_| match fails.load(std::sync::atomic::Ordering::SeqCst) {
        false => (200, "{\"from\":\"one\"}".into()),
        true => (500, "{}".into()),
    }))
    .0;
    let route = shop("shadow", legacy, banyan);
    let config = format!(
        "{route}[route.shadow]\nnoise_percent = 0\n[route.canary]\npercent = 0\nby = \"header:x-member\"\n\
         [route.evidence]\nrequests = 30\nmismatch_max = 0.2\nerror_max = 0.2\nsteps = [50]\n"
    );
    let world = world(&config, None);
    let (mut member, began) = (0_u32, Instant::now());
    let mut traffic_until = |mode: Mode| {
        while world.gateway.table().routes()[0].mode() != mode {
            member += 1;
            world.ask("GET", "/", &[("x-member", &format!("m-{member}"))], "");
            assert!(began.elapsed() < DEADLINE * 2, "never {mode:?}: {:?}", world.gateway.evidence("shop"));
        }
    };
    traffic_until(Mode::Canary);
    let (_, standing) = world.admin("GET", "/v1/evidence?route=shop", &Value::Null);
    assert_eq!(standing["evidence"]["state"], "last-step", "{standing}");
    broken.store(true, std::sync::atomic::Ordering::SeqCst);
    traffic_until(Mode::Shadow);
    let history = world.gateway.history(3);
    assert!(history.iter().take(2).all(|entry| entry.by == "evidence"), "{history:?}");
    assert!(history[0].reason.starts_with("taken back to shadow: "), "{}", history[0].reason);
    let asked = json!({"route": "shop", "by": "mina"});
    assert_eq!(world.admin("POST", "/v1/evidence/restart", &asked).0, 200);
}

#[test]
fn a_ramp_is_held_and_let_go() {
    let ((legacy, _), (banyan, _)) = (server(says("legacy")), server(says("banyan")));
    let route = shop("canary", legacy, banyan);
    let config = format!(
        "{route}[route.canary]\npercent = 0\nby = \"header:x-member\"\npaused_at = \"2020-01-01T00:00:00Z\"\n\
         ramp = [{{ at = \"2021-01-01T00:00:00Z\", percent = 100 }}]\n"
    );
    let world = world(&config, None);
    let side = || world.ask("GET", "/", &[("x-member", "m-1")], "").2;
    assert!(side().contains("legacy"), "it is held before its step");
    let asked = |paused: bool, expected: u64| json!({"route": "shop", "paused": paused, "expected": expected, "by": "mina", "reason": "x"});
    assert_eq!(world.admin("POST", "/v1/ramp", &asked(false, 1)), (201, json!({"version": 2})));
    assert!(side().contains("banyan"));
    assert_eq!(world.admin("POST", "/v1/ramp", &asked(true, 1)).0, 409);
}

#[test]
fn a_ramp_that_is_paused_twice_stays_where_it_was_paused_first() {
    let ((legacy, _), (banyan, _)) = (server(says("legacy")), server(says("banyan")));
    let config = format!(
        "[[route]]\nname = \"shop\"\npath = \"/\"\nmode = \"canary\"\nupstream = \"http://{legacy}\"\nbanyan = \"http://{banyan}\"\n\
         [route.canary]\npercent = 0\nby = \"header:x-member\"\npaused_at = \"2020-01-01T00:00:00Z\"\n\
         ramp = [{{ at = \"2021-01-01T00:00:00Z\", percent = 100 }}]\n"
    );
    let world = world(&config, None);
    let asked = json!({"route": "shop", "paused": true, "expected": 1, "by": "mina", "reason": "to be sure"});
    assert_eq!(world.admin("POST", "/v1/ramp", &asked).0, 201);
    assert!(
        world.ask("GET", "/", &[("x-member", "m-1")], "").2.contains("legacy"),
        "it jumped over its step"
    );
}

/// Banyan in the same process: it hangs, and it panics, and users of the old shop notice nothing.
#[test]
fn a_side_in_this_process_can_hang_and_panic() {
    use axum::body::Body;
    use http::{Request, Response};
    let service = tower::service_fn(|request: Request<Body>| async move {
        match request.uri().path() {
            "/hang" => std::future::pending().await,
            "/panic" => panic!("on purpose"),
            _ => Ok::<_, std::convert::Infallible>(Response::new(Body::from("{}"))),
        }
    });
    let legacy = server(says("legacy")).0;
    let config = format!(
        "[[route]]\nname = \"shop\"\npath = \"/\"\nmode = \"shadow\"\nupstream = \"http://{legacy}\"\nbanyan = \"in-process\"\n\
         [route.shadow]\nnoise_percent = 0\nwhole_millis = 100\n"
    );
    let world = world(&config, Some(InProcess::new(service)));
    for target in ["/hang", "/panic", "/hang", "/panic", "/good"] {
        assert!(world.ask("GET", target, &[], "").2.contains("legacy"));
    }
    world.until("all counted", |gateway| {
        let report = gateway.shadow().remove(0);
        (report.compared, report.skipped.get("timeout"), report.skipped.get("broken-answer"))
            == (1, Some(&2), Some(&2))
    });
    assert_eq!(world.gateway.shadow()[0].errors, 4);
}

#[test]
fn rules_that_make_no_sense_are_refused_with_what_to_do() {
    let state = tempfile::tempdir().expect("a folder");
    for (rules, says) in [
        ("[route.canary]\npercent = 0.001", "steps of 0.01"),
        ("[route.canary]\npercent = 1\nby = \"dice\"", "cookie:NAME"),
        ("[route.canary]\npercent = 1\noverride_from = [\"x\"]", "10.0.0.0/8"),
        ("[route.canary]\npercent = 1\nramp = [{ at = \"noon\", percent = 1 }]", "2026-11-24T09:00:00Z"),
        ("[route.shadow]\nignore = [\"a.b\"]", "$.items[*].price"),
        ("[route.shadow]\nqueue = 0", "at least 1"),
        ("[route.evidence]\nrequests = 10", "shadow = {}"),
        ("[route.shadow]\n[route.evidence]\nrequests = 10\nsteps = [5, 1]", "[1, 10, 50, 100]"),
        ("[route.shadow]\n[route.evidence]\nrequests = 10\nconfidence = 1.0", "between 0.5 and 1"),
    ] {
        let config = format!(
            "listen = \"127.0.0.1:0\"\n[[route]]\npath = \"/\"\nupstream = \"http://127.0.0.1:1\"\n{rules}\n"
        );
        let error = Config::parse(&config, state.path()).expect_err(rules).to_string();
        assert!(error.contains(says) && error.contains("route"), "{rules}: {error}");
    }
    // What a table says is what it was told: both ways through JSON.
    let spec: RouteSpec =
        serde_json::from_value(json!({"path": "/", "shadow": {}, "canary": {"percent": 1.0}}))
            .expect("a route");
    let again: RouteSpec =
        serde_json::from_value(serde_json::to_value(&spec).expect("JSON")).expect("a route");
    assert_eq!(again, spec);
    assert_eq!(Side::Legacy.other(), Side::Banyan);
}
