//! Writes to a side that is declared to pretend, and does not: at most one slips through, whatever comes back.

use super::*;
use crate::Change;

type Answer = Result<Response<Body>, AskFault>;

/// A side that is counted, and never says that it only pretended.
fn careless(answering: Answering) -> (Arc<AtomicUsize>, Answering) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let counted = Box::new(move |side: Side, request: Request<Body>| {
        count.fetch_add(1, SeqCst);
        answering(side, request)
    });
    (asked, counted)
}

impl World {
    fn write(&self) -> ShadowReport {
        self.user(&Method::POST, &[]).asks(b"{}").answers(json("{}")).ends(Ended::Whole);
        self.settled()
    }

    fn change(&self, change: impl FnOnce(&mut crate::RouteSpec)) {
        let table = self.gateway.table();
        let mut spec = table.routes()[0].spec().clone();
        change(&mut spec);
        let change = Change::SetRoute(Box::new(spec));
        self.gateway.change(table.version(), change, "mina", "because").expect("is changed");
    }
}

fn status(status: u16) -> Answer {
    Ok(Response::builder().status(status).body(Body::from("{}")).expect("an answer"))
}

fn confirmed() -> Answer {
    let mut answer = json("{}");
    answer.headers_mut().insert(DRY_RUN_HEADER, http::HeaderValue::from_static("true"));
    Ok(answer)
}

/// Answers in this order, and the last one for ever.
fn in_order(answers: Vec<fn() -> Answer>) -> Answering {
    let at = AtomicUsize::new(0);
    always(move || answers[at.fetch_add(1, SeqCst).min(answers.len() - 1)]())
}

#[test]
fn a_side_that_does_not_pretend_gets_one_write_whatever_it_answers() {
    let breaks_off = || {
        let pieces = [Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("gone"))];
        Ok(Response::new(Body::from_stream(futures_util::stream::iter(pieces))))
    };
    let cases: Vec<(&str, Answering)> = vec![
        ("another page", always(|| status(303))),
        ("an error", always(|| status(500))),
        ("an answer that is too long", always(|| Ok(Response::new(Body::from(vec![b'x'; 2 << 20]))))),
        ("half an answer", always(breaks_off)),
        ("a broken connection", always(|| Err(AskFault::Broken))),
        ("no head in time", always(|| Err(AskFault::Slow))),
        ("nothing", Box::new(|_, _| std::future::pending().boxed())),
        ("a panic in this process", Box::new(|_, _| async { panic!("on purpose") }.boxed())),
    ];
    for (what, answering) in cases {
        let (asked, answering) = careless(answering);
        let whole = if what == "nothing" { "whole_millis = 50" } else { "" };
        let world = world(&format!("dry_run = true\n{whole}"), answering);
        for _ in 0..5 {
            world.write();
        }
        assert_eq!(asked.load(SeqCst), 1, "{what}");
        assert_eq!(world.report().skipped.get("dry-run-refused"), Some(&4), "{what}");
    }
}

#[test]
fn a_write_that_was_never_sent_or_was_refused_says_nothing_about_the_side() {
    let first: [fn() -> Answer; 3] = [|| Err(AskFault::Busy), || Err(AskFault::Down), || status(422)];
    for first in first {
        let (asked, answering) = careless(in_order(vec![first, confirmed]));
        let world = world("dry_run = true", answering);
        for _ in 0..3 {
            world.write();
        }
        let report = world.report();
        assert_eq!((asked.load(SeqCst), report.skipped.get("dry-run-refused")), (3, None), "{report:?}");
    }
}

#[test]
fn a_side_that_has_pretended_is_trusted_through_failures_but_not_through_a_silent_success() {
    let (asked, answering) = careless(in_order(vec![
        confirmed,
        || status(502),
        || Err(AskFault::Broken),
        || Err(AskFault::Slow),
        confirmed,
        || status(303),
    ]));
    let world = world("dry_run = true", answering);
    for _ in 0..9 {
        world.write();
    }
    assert_eq!(asked.load(SeqCst), 6);
    assert_eq!(world.report().skipped.get("dry-run-refused"), Some(&3));
}

#[test]
fn a_side_that_was_refused_is_not_tried_again_because_something_else_in_the_table_changed() {
    let (asked, answering) = careless(always(|| status(303)));
    let world = world("dry_run = true", answering);
    world.write();
    let got = || {
        world.write();
        asked.load(SeqCst)
    };
    assert_eq!(got(), 1);
    let other = crate::RouteSpec { name: "other".into(), path: "/other".into(), ..world.spec() };
    let version = world.gateway.table().version();
    world.gateway.change(version, Change::SetRoute(Box::new(other)), "mina", "more").expect("is changed");
    assert_eq!(got(), 1, "another route");
    world.change(|spec| spec.shadow.as_mut().expect("a shadow").ignore.push("$.at".into()));
    assert_eq!(got(), 1, "what is compared");
    world.change(|spec| spec.mode = crate::Mode::Legacy);
    world.change(|spec| spec.mode = crate::Mode::Shadow);
    assert_eq!(got(), 1, "who answers");
    // An operator who says that there is another side now is believed, for one write.
    world.change(|spec| spec.banyan = Some("http://127.0.0.1:3".into()));
    assert_eq!((got(), got()), (2, 2), "another side");
    world.gateway.restart_evidence("shop").expect("a route");
    assert_eq!((got(), got()), (3, 3), "another version of it");
}

#[test]
fn a_change_of_the_table_sends_no_second_write_beside_the_one_that_is_tried() {
    let (open, gate) = signal::channel(false);
    let (asked, answering) = careless(Box::new(move |_, _| {
        let mut gate = gate.clone();
        async move {
            let _opened = gate.wait_for(|open| *open).await;
            status(303)
        }
        .boxed()
    }));
    let world = world("dry_run = true\nwhole_millis = 600000", answering);
    let write = || world.user(&Method::POST, &[]).asks(b"{}").answers(json("{}")).ends(Ended::Whole);
    write();
    world.change(|spec| spec.touches.push("stock".into()));
    write();
    assert_eq!(world.report().skipped.get("dry-run-unproven"), Some(&1), "{:?}", world.report());
    open.send(true).expect("somebody waits");
    world.settled();
    assert_eq!(asked.load(SeqCst), 1);
}

#[test]
fn a_side_that_was_refused_is_not_tried_again_after_a_restart() {
    let (asked, answering) = careless(always(|| status(303)));
    let world = world("dry_run = true", answering);
    world.write();
    world.gateway.inner.sides.store.save();
    let World { gateway, _stop, _state } = world;
    drop((gateway, _stop));
    let (again, answering) = careless(always(|| status(303)));
    let world = world_in(_state, "dry_run = true", answering);
    world.write();
    assert_eq!((asked.load(SeqCst), again.load(SeqCst)), (1, 0));
    assert_eq!(world.report().skipped.get("dry-run-refused"), Some(&1));
    // What an operator says about it is remembered, too.
    world.gateway.restart_evidence("shop").expect("a route");
    world.gateway.inner.sides.store.save();
    let World { gateway, _stop, _state } = world;
    drop((gateway, _stop));
    let world = world_in(_state, "dry_run = true", always(confirmed));
    assert_eq!(world.write().equal, 1);
}
