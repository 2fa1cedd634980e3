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

const LONG: &str = "dry_run = true\nwhole_millis = 600000";

/// Writes to the first side hang until they are let go; all that anybody answers is no dry run.
fn hanging_first() -> (signal::Sender<bool>, Arc<AtomicUsize>, Answering) {
    let (open, gate) = signal::channel(false);
    let count = Arc::new(AtomicUsize::new(0));
    let asked = count.clone();
    let answering: Answering = Box::new(move |_, _| {
        let (mut gate, is_first) = (gate.clone(), count.fetch_add(1, SeqCst) == 0);
        async move {
            if is_first {
                let _opened = gate.wait_for(|open| *open).await;
            }
            status(303)
        }
        .boxed()
    });
    (open, asked, answering)
}

impl World {
    fn write_on(&self) {
        self.user(&Method::POST, &[]).asks(b"{}").answers(json("{}")).ends(Ended::Whole);
    }

    fn until(&self, what: &str, holds: impl Fn(&ShadowReport) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !holds(&self.report()) {
            assert!(Instant::now() < deadline, "never: {what}: {:?}", self.report());
            std::thread::yield_now();
        }
    }

    fn lead_to(&self, port: u16) {
        self.change(|spec| spec.banyan = Some(format!("http://127.0.0.1:{port}")));
    }

    /// What would be found if the process had died now.
    fn copy_of_the_folder(&self) -> tempfile::TempDir {
        fn copy(from: &std::path::Path, to: &std::path::Path) {
            std::fs::create_dir_all(to).expect("a folder");
            for entry in std::fs::read_dir(from).expect("a folder") {
                let entry = entry.expect("an entry");
                match entry.file_type().expect("a type").is_dir() {
                    true => copy(&entry.path(), &to.join(entry.file_name())),
                    false => drop(std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied")),
                }
            }
        }
        let state = tempfile::tempdir().expect("a folder");
        copy(self.state.path(), state.path());
        state
    }

    /// Stops as a gateway does, and gives its folder back.
    fn ends(mut self) -> tempfile::TempDir {
        self.stop.send_replace(true);
        self.copies.take().expect("ended once").join().expect("no panic");
        std::mem::replace(&mut self.state, tempfile::tempdir().expect("a folder"))
    }
}

/// How many writes a gateway sends that begins with this folder, of two.
fn sent_after_a_start(state: tempfile::TempDir) -> usize {
    let (asked, answering) = careless(always(|| status(303)));
    // The same file, or its routes would take the place of those in the journal.
    let world = world_in(state, LONG, answering);
    for _ in 0..2 {
        world.write();
    }
    asked.load(SeqCst)
}

#[test]
fn a_side_that_was_refused_is_not_tried_again_by_a_gateway_that_died_a_moment_later() {
    let (asked, answering) = careless(always(|| status(303)));
    let world = world(LONG, answering);
    world.write();
    assert_eq!((asked.load(SeqCst), sent_after_a_start(world.copy_of_the_folder())), (1, 0));
    world.gateway.restart_evidence("shop").expect("a route");
    assert_eq!(sent_after_a_start(world.copy_of_the_folder()), 1, "so is what an operator says");
}

#[test]
fn a_gateway_that_died_before_it_knew_what_came_of_a_write_sends_no_second_one() {
    let (open, asked, answering) = hanging_first();
    let world = world(LONG, answering);
    world.write_on();
    world.until("it is sent", |_| asked.load(SeqCst) == 1);
    assert_eq!(sent_after_a_start(world.copy_of_the_folder()), 0);
    open.send(true).expect("somebody waits");
    world.settled();
}

#[test]
fn a_gateway_that_stops_before_it_knows_what_came_of_a_write_sends_no_second_one() {
    let (_closed, asked, answering) = hanging_first();
    let world = world(LONG, answering);
    world.write_on();
    world.until("it is sent", |_| asked.load(SeqCst) == 1);
    assert_eq!(sent_after_a_start(world.ends()), 0);
}

#[test]
fn a_side_that_pretends_or_refuses_is_tried_again_after_a_death() {
    let first: [fn() -> Answer; 2] = [confirmed, || status(422)];
    for first in first {
        let world = world(LONG, in_order(vec![first]));
        world.write();
        // What the regular saving does after a while.
        world.gateway.inner.sides.store.save();
        assert_eq!(sent_after_a_start(world.copy_of_the_folder()), 1);
    }
}

#[test]
fn a_late_refusal_of_an_older_table_takes_nothing_from_a_newer_one() {
    let (open, asked, answering) = hanging_first();
    let world = world(LONG, answering);
    world.write_on();
    world.until("it is sent", |_| asked.load(SeqCst) == 1);
    world.lead_to(3);
    world.write_on();
    world.until("the other side is asked", |report| report.compared == 1);
    open.send(true).expect("somebody waits");
    world.settled();
    assert_eq!(asked.load(SeqCst), 2);
    assert_eq!(sent_after_a_start(world.copy_of_the_folder()), 0, "the newer one");
    world.lead_to(2);
    assert_eq!(sent_after_a_start(world.copy_of_the_folder()), 0, "the older one");
    world.write();
    assert_eq!(asked.load(SeqCst), 2);
}

#[test]
fn a_route_that_leads_away_and_back_sends_no_second_write_beside_the_one_that_is_tried() {
    let (open, asked, answering) = hanging_first();
    let world = world(LONG, answering);
    world.write_on();
    world.until("it is sent", |_| asked.load(SeqCst) == 1);
    world.lead_to(3);
    world.lead_to(2);
    world.write_on();
    assert_eq!(world.report().skipped.get("dry-run-unproven"), Some(&1), "{:?}", world.report());
    open.send(true).expect("somebody waits");
    world.settled();
    assert_eq!(asked.load(SeqCst), 1);
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
    let world = world(LONG, answering);
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
    let (again, answering) = careless(always(|| status(303)));
    let world = world_in(world.ends(), "dry_run = true", answering);
    world.write();
    assert_eq!((asked.load(SeqCst), again.load(SeqCst)), (1, 0));
    assert_eq!(world.report().skipped.get("dry-run-refused"), Some(&1));
    // What an operator says about it is remembered, too.
    world.gateway.restart_evidence("shop").expect("a route");
    world.gateway.inner.sides.store.save();
    let world = world_in(world.ends(), "dry_run = true", always(confirmed));
    assert_eq!(world.write().equal, 1);
}
