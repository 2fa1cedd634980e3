//! The copies with a made-up other side: every outcome, and that each request ends in exactly one.

use super::*;
use crate::groups::Judgement;
use crate::{Config, Ended, Gateway};
use bytes::Bytes;
use futures_util::FutureExt;
use http::Method;
use http_body_util::StreamBody;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Instant;

mod dry_run;

type Answering =
    Box<dyn Fn(Side, Request<Body>) -> BoxFuture<'static, Result<Response<Body>, AskFault>> + Send + Sync>;

struct Fake(Answering);

impl Asker for Fake {
    fn ask(
        &self,
        _route: Arc<Route>,
        side: Side,
        request: Request<Body>,
    ) -> BoxFuture<'_, Result<Response<Body>, AskFault>> {
        (self.0)(side, request)
    }
}

struct World {
    gateway: Gateway,
    stop: signal::Sender<bool>,
    state: tempfile::TempDir,
    copies: Option<JoinHandle<()>>,
}

fn world(shadow: &str, answering: Answering) -> World {
    world_in(tempfile::tempdir().expect("a folder"), shadow, answering)
}

fn world_in(state: tempfile::TempDir, shadow: &str, answering: Answering) -> World {
    let config = format!(
        "listen = \"127.0.0.1:0\"\nstate = \"s\"\n[limits]\nshadow_bytes_max = 200000\n[[route]]\nname = \"shop\"\npath = \"/\"\n\
         mode = \"shadow\"\nupstream = \"http://127.0.0.1:1\"\nbanyan = \"http://127.0.0.1:2\"\n\
         [route.shadow]\nnoise_percent = 0\n{shadow}\n"
    );
    let config = Config::parse(&config, state.path()).expect("a configuration");
    let gateway = Gateway::new(config, None).expect("a gateway");
    let (stop, stopped) = signal::channel(false);
    let sides = &gateway.inner.sides;
    let copies = sides.shadow.start(Arc::new(Fake(answering)), sides.store.clone(), stopped).expect("starts");
    World { gateway, stop, state, copies }
}

fn json(body: &'static str) -> Response<Body> {
    Response::builder().header("content-type", "application/json").body(Body::from(body)).expect("an answer")
}

/// A user's request, piece by piece.
struct User(Option<Box<dyn Watcher>>);

impl World {
    fn user(&self, method: &Method, headers: &[(&str, &str)]) -> User {
        let mut request = Request::builder().method(method).uri("/cart?x=1");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).expect("a request").into_parts();
        let client: IpAddr = "192.0.2.1".parse().expect("an address");
        let table = self.gateway.table();
        let mut watcher = self.gateway.inner.sides.choose(&table.routes()[0], &head, client).watcher;
        if let Some(watcher) = &mut watcher {
            watcher.request(&head);
        }
        User(watcher)
    }

    /// A whole exchange of a user with the old shop.
    fn get(&self, answer: &'static str) {
        self.user(&Method::GET, &[]).asks(b"").answers(json(answer)).ends(Ended::Whole);
    }

    fn spec(&self) -> crate::RouteSpec {
        self.gateway.table().routes()[0].spec().clone()
    }

    fn report(&self) -> ShadowReport {
        self.gateway.shadow().remove(0)
    }

    /// Waits until every request is counted, and checks that each was counted once.
    fn settled(&self) -> ShadowReport {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let report = self.report();
            let counted = report.compared + report.skipped.values().sum::<u64>();
            assert!(counted <= report.offered, "counted twice: {report:?}");
            if counted == report.offered && report.queued == 0 && report.under_way == 0 {
                assert_eq!(report.compared, report.equal + report.mismatched);
                return report;
            }
            assert!(Instant::now() < deadline, "not settled: {report:?}");
            std::thread::yield_now();
        }
    }

    #[track_caller]
    fn check(&self, equal: u64, mismatched: u64, skipped: &[(&'static str, u64)]) {
        let report = self.settled();
        assert_eq!((report.equal, report.mismatched), (equal, mismatched), "{report:?}");
        assert_eq!(report.skipped.into_iter().collect::<Vec<_>>(), skipped);
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.gateway.shadow_bytes() > 0 {
            assert!(Instant::now() < deadline, "{} bytes are not given back", self.gateway.shadow_bytes());
            std::thread::yield_now();
        }
    }
}

impl User {
    fn asks(mut self, body: &'static [u8]) -> Self {
        if let Some(watcher) = &mut self.0 {
            if !body.is_empty() {
                watcher.request_data(&Bytes::from_static(body));
            }
            watcher.request_end(None);
        }
        self
    }

    fn answers(mut self, answer: Response<Body>) -> Self {
        if let Some(watcher) = &mut self.0 {
            let (head, body) = answer.into_parts();
            watcher.answer(&head, Duration::from_millis(1));
            let body =
                http_body_util::BodyExt::collect(body).now_or_never().expect("in memory").expect("a body");
            watcher.answer_data(&body.to_bytes());
        }
        self
    }

    fn ends(self, ended: Ended) {
        if let Some(watcher) = self.0 {
            watcher.end(ended);
        }
    }
}

fn always(answer: impl Fn() -> Result<Response<Body>, AskFault> + Send + Sync + 'static) -> Answering {
    Box::new(move |_, _| std::future::ready(answer()).boxed())
}

#[test]
fn answers_are_compared_and_grouped() {
    let world = world("ignore = [\"$.at\"]", always(|| Ok(json(r#"{"at":1,"n":1.0,"password":"hunter2"}"#))));
    world.get(r#"{"n":1,"password":"hunter2","at":2}"#);
    world.get(r#"{"n":2,"password":"other-1","at":2}"#);
    world.check(1, 1, &[]);
    let groups = world.gateway.groups("shop").expect("a route");
    let paths: Vec<&str> = groups.iter().map(|group| group.path.as_str()).collect();
    assert_eq!(paths.len(), 2, "{paths:?}");
    let shown = serde_json::to_string(&groups).expect("JSON");
    assert!(
        shown.contains("(hidden)") && !shown.contains("hunter2") && !shown.contains("other-1"),
        "{shown}"
    );

    for group in &groups {
        world.gateway.judge("shop", &group.id, Judgement::Ignore, "mina", "known").expect("is judged");
    }
    world.get(r#"{"n":2,"password":"other-1","at":2}"#);
    world.check(2, 1, &[]);
    assert_eq!(world.report().ignored, 1);
}

#[test]
fn what_is_not_copied_is_counted_by_reason() {
    let world = world("body_bytes_max = 10\nanswer_bytes_max = 20", always(|| Ok(json("{}"))));
    let whole = |user: User| user.answers(json("{}")).ends(Ended::Whole);
    whole(world.user(&Method::POST, &[]).asks(b"x"));
    whole(world.user(&Method::OPTIONS, &[]).asks(b""));
    whole(world.user(&Method::GET, &[("upgrade", "websocket")]).asks(b""));
    whole(world.user(&Method::GET, &[("if-none-match", "\"1\"")]).asks(b""));
    whole(world.user(&Method::GET, &[("banyan-shadow", "read")]).asks(b""));
    whole(world.user(&Method::GET, &[("content-length", "11")]).asks(b""));
    whole(world.user(&Method::GET, &[]).asks(b"eleven bytes"));
    world.user(&Method::GET, &[]).asks(b"").answers(json("{}")).ends(Ended::Failed);
    drop(world.user(&Method::GET, &[]).asks(b"").answers(json("{}")));
    drop(world.user(&Method::GET, &[]));
    world.get(r#"{"long": "longer than twenty"}"#);
    let stream = Response::builder().header("content-type", "text/event-stream; charset=utf-8");
    world
        .user(&Method::GET, &[])
        .asks(b"")
        .answers(stream.body(Body::empty()).expect("an answer"))
        .ends(Ended::Whole);
    world.check(
        0,
        0,
        &[
            ("body-too-large", 2),
            ("conditional", 1),
            ("loop", 1),
            ("method", 1),
            ("streaming", 1),
            ("upgrade", 1),
            ("user-answer-failed", 1),
            ("user-answer-too-large", 1),
            ("user-gone", 2),
            ("write-not-dry-run", 1),
        ],
    );
}

#[test]
fn faults_of_the_other_side_are_counted_by_reason() {
    for (fault, reason) in
        [(AskFault::Down, "upstream-down"), (AskFault::Slow, "timeout"), (AskFault::Broken, "broken-answer")]
    {
        let world = world("", always(move || Err(fault)));
        world.get("{}");
        world.check(0, 0, &[(reason, 1)]);
        assert_eq!((world.report().asked, world.report().errors), (1, 1));
    }
}

/// A kept connection that is closed in the moment it is used again is no fault of the other side.
#[test]
fn a_read_that_breaks_before_its_answer_is_asked_once_more_and_a_write_is_not() {
    for (method, asked, equal) in [(Method::GET, 2, 1), (Method::POST, 1, 0)] {
        let count = Arc::new(AtomicUsize::new(0));
        let tries = count.clone();
        let first_breaks = always(move || match tries.fetch_add(1, SeqCst) {
            0 => Err(AskFault::Broken),
            _ => Ok(json("{}")),
        });
        let world = world("dry_run = true", first_breaks);
        world.user(&method, &[]).asks(b"{}").answers(json("{}")).ends(Ended::Whole);
        let report = world.settled();
        assert_eq!((report.equal, count.load(SeqCst)), (equal, asked), "{method}: {report:?}");
    }
}

#[test]
fn an_endless_answer_is_read_up_to_its_limit() {
    let pieces = Arc::new(AtomicUsize::new(0));
    let read = pieces.clone();
    let endless = move || {
        let read = read.clone();
        let stream = futures_util::stream::repeat_with(move || {
            read.fetch_add(1, SeqCst);
            Ok::<_, std::convert::Infallible>(http_body::Frame::data(Bytes::from_static(&[b'x'; 1_000])))
        });
        Ok(Response::new(Body::new(StreamBody::new(stream))))
    };
    let world = world("answer_bytes_max = 50000", always(endless));
    world.get("{}");
    world.check(0, 0, &[("answer-too-large", 1)]);
    assert_eq!(pieces.load(SeqCst), 51);
    assert_eq!(world.report().errors, 0, "a long answer is no error");
}

/// The other side hangs until every user is done: users are served all the same, and what does not fit is counted.
#[test]
fn a_side_that_hangs_holds_up_nobody_and_nothing_but_its_queue() {
    let (open, gate) = signal::channel(false);
    let held = Box::new(move |_: Side, _: Request<Body>| {
        let mut gate = gate.clone();
        async move {
            let _opened = gate.wait_for(|open| *open).await;
            Ok(json("{}"))
        }
        .boxed()
    });
    let world = world("queue = 20\nat_once = 4\nwhole_millis = 600000", held);
    for _ in 0..100 {
        world.get("{}");
    }
    // Nothing was answered yet on the other side, and all hundred users are done.
    let report = world.report();
    assert_eq!(report.compared, 0);
    assert!(report.skipped["queue-full"] >= 76, "{report:?}");
    assert!(world.gateway.shadow_bytes() <= 200_000);
    open.send(true).expect("somebody waits");
    let report = world.settled();
    assert_eq!(report.compared + report.skipped["queue-full"], 100);
    assert!((20..=24).contains(&report.compared), "what was queued is compared late, but it is: {report:?}");
}

#[test]
fn a_copy_that_takes_too_long_is_given_up() {
    let world = world("whole_millis = 20", Box::new(|_, _| std::future::pending().boxed()));
    world.get("{}");
    world.check(0, 0, &[("timeout", 1)]);
}

#[test]
fn memory_is_bounded_by_the_budget() {
    let (open, gate) = signal::channel(false);
    let held = Box::new(move |_: Side, _: Request<Body>| {
        let mut gate = gate.clone();
        async move {
            let _opened = gate.wait_for(|open| *open).await;
            Err(AskFault::Broken)
        }
        .boxed()
    });
    let world = world("queue = 1000\nwhole_millis = 600000", held);
    static BODY: [u8; 30_000] = [b'x'; 30_000];
    for _ in 0..50 {
        world.user(&Method::GET, &[]).asks(&BODY).answers(json("{}")).ends(Ended::Whole);
        assert!(world.gateway.shadow_bytes() <= 200_000);
    }
    open.send(true).expect("somebody waits");
    let report = world.settled();
    assert!(report.skipped["budget"] >= 43, "{report:?}");
    world.check(
        0,
        0,
        &[("broken-answer", report.skipped["broken-answer"]), ("budget", report.skipped["budget"])],
    );
}

#[test]
fn writes_are_copied_only_to_those_who_pretend() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let confirms = Box::new(move |side: Side, request: Request<Body>| {
        let header = |name: HeaderName| request.headers().get(name).map(|value| value.as_bytes().to_vec());
        log.lock().expect("a log").push((side, header(DRY_RUN_HEADER), header(LOOP_HEADER)));
        let mut answer = json("{}");
        answer.headers_mut().insert(DRY_RUN_HEADER, http::HeaderValue::from_static("true"));
        std::future::ready(Ok(answer)).boxed()
    });
    let world = world("dry_run = true", confirms);
    for _ in 0..3 {
        world.user(&Method::POST, &[]).asks(b"{}").answers(json("{}")).ends(Ended::Whole);
        world.settled();
    }
    world.check(3, 0, &[]);
    let all = seen.lock().expect("a log").clone();
    assert_eq!(all, vec![(Side::Banyan, Some(b"true".to_vec()), Some(b"dry-run".to_vec())); 3]);
}

#[test]
fn a_side_that_does_not_pretend_gets_one_write_and_no_more() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let (open, gate) = signal::channel(false);
    let careless = Box::new(move |_: Side, _: Request<Body>| {
        count.fetch_add(1, SeqCst);
        let mut gate = gate.clone();
        async move {
            let _opened = gate.wait_for(|open| *open).await;
            Ok(json("{}"))
        }
        .boxed()
    });
    let world = world("dry_run = true", careless);
    let write = || world.user(&Method::POST, &[]).asks(b"{}").answers(json("{}")).ends(Ended::Whole);
    write();
    write();
    open.send(true).expect("somebody waits");
    world.settled();
    write();
    world.check(1, 0, &[("dry-run-refused", 1), ("dry-run-unproven", 1)]);
    assert_eq!(asked.load(SeqCst), 1);
}

#[test]
fn the_old_shops_own_noise_is_learned() {
    let tick = Arc::new(AtomicUsize::new(0));
    let answering = Box::new(move |side: Side, request: Request<Body>| {
        let n = tick.fetch_add(1, SeqCst);
        assert_eq!(side == Side::Legacy, request.headers()[LOOP_HEADER] == "noise");
        let body = format!(r#"{{"at":{n},"n":{}}}"#, u8::from(side == Side::Banyan));
        let answer = Response::builder().header("content-type", "application/json").body(Body::from(body));
        std::future::ready(Ok(answer.expect("an answer"))).boxed()
    });
    let world = world("", answering);
    let spec = world.gateway.table().routes()[0].spec().clone();
    let mut spec = crate::RouteSpec { ..spec };
    spec.shadow.as_mut().expect("a shadow").noise_percent = 100.0;
    world.gateway.change(1, crate::Change::SetRoute(Box::new(spec)), "mina", "to learn").expect("is changed");
    for _ in 0..30 {
        world.get(r#"{"at":-1,"n":0}"#);
        world.settled();
    }
    let report = world.report();
    assert_eq!(report.asked_again, 30, "{report:?}");
    let noise: Vec<&str> = report.noise.iter().map(|spot| spot.path.as_str()).collect();
    assert_eq!(noise, ["$.at"], "n differs only between the sides, and is not hidden");
    assert_eq!(report.mismatched, 30, "n counts every time");
}

#[test]
fn the_second_question_to_the_old_shop_is_one_of_so_many_at_once() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = most.clone();
    let answering = Box::new(move |_: Side, _: Request<Body>| {
        let (now, most) = (now.clone(), most.clone());
        let asked = async move {
            most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
            // Long enough for another one to begin, if it may.
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
            now.fetch_sub(1, SeqCst);
            Ok(json("{}"))
        };
        asked.boxed()
    });
    let world = world("at_once = 1\nqueue = 100", answering);
    let mut spec = world.gateway.table().routes()[0].spec().clone();
    spec.shadow.as_mut().expect("a shadow").noise_percent = 100.0;
    world.gateway.change(1, crate::Change::SetRoute(Box::new(spec)), "mina", "to learn").expect("is changed");
    for _ in 0..10 {
        world.get("{}");
    }
    let report = world.settled();
    assert_eq!(report.asked_again, 10, "{report:?}");
    assert_eq!(seen.load(SeqCst), 1, "at once");
}

#[test]
fn what_waits_when_the_gateway_stops_is_counted() {
    let world = world("at_once = 1", Box::new(|_, _| std::future::pending().boxed()));
    world.stop.send(true).expect("somebody listens");
    let deadline = Instant::now() + Duration::from_secs(60);
    while !world.gateway.inner.sides.shadow.queue.is_closed() {
        assert!(Instant::now() < deadline, "it does not stop");
        std::thread::yield_now();
    }
    world.get("{}");
    world.check(0, 0, &[("stopping", 1)]);
}

/// At 100 % nobody is answered by the old shop, and only its copies say how long it takes.
#[test]
fn copies_to_the_old_shop_are_timed_for_evidence() {
    let legacy = Box::new(|side: Side, _: Request<Body>| {
        async move {
            assert_eq!(side, Side::Legacy);
            Ok(json("{}"))
        }
        .boxed()
    });
    let world = world("[route.canary]\npercent = 100", legacy);
    let spec = crate::RouteSpec { mode: crate::Mode::Canary, ..world.spec() };
    world.gateway.change(1, crate::Change::SetRoute(Box::new(spec)), "mina", "all").expect("is changed");
    for _ in 0..7 {
        world.get("{}");
    }
    assert_eq!(world.settled().equal, 7);
    let totals = crate::promote::totals(&world.gateway.table().routes()[0]);
    let count = |histogram: &[(u64, u64)]| histogram.iter().map(|(_, count)| count).sum::<u64>();
    assert_eq!((count(&totals.banyan), count(&totals.legacy)), (7, 7), "both sides of each pair");
}
