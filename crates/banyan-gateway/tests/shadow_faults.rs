//! Whatever the shadow side does, users notice nothing: real sockets, the real gateway, and a side that hangs, resets,
//! sends garbage, ten gigabytes, only errors, or reads nothing.
//!
//! "None waits" is shown by order and not by a clock: while users are served, the bad side gives no copy its end, and a
//! copy may take ten minutes. A user who waited for one would not be done before the test's own deadline, and nothing else takes
//! nearly as long.

mod common;

use banyan_gateway::shadow::ShadowReport;
use common::Running;
use common::blocking::{DEADLINE, Message};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

const USERS: usize = 4;
const REQUESTS: usize = 25;
const BUDGET: usize = 4 << 20;

/// What the shadow side does with a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// Answers as it should.
    None,
    /// Reads the request and says nothing until it is let go.
    Hangs,
    /// Accepts and reads nothing until it is let go.
    NeverReads,
    /// Reads the request and resets.
    Resets,
    /// Sends what is no HTTP.
    Garbage,
    /// Sends a head that promises ten gigabytes, and as much of them as is taken.
    TenGigabytes,
    /// Sends chunks without end and without saying how many.
    Endless,
    /// Only errors.
    Errors,
    /// Half an answer, then nothing until it is let go.
    StopsHalfway,
    /// Half an answer, then the end.
    BreaksOff,
    /// A byte, and then another, without end.
    Drips,
    /// Nobody listens.
    Absent,
}

/// Holds servers until it is opened.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn wait(&self) {
        let open = self.open.lock().expect("a gate");
        drop(self.opened.wait_while(open, |open| !*open).expect("a gate"));
    }

    fn open(&self) {
        *self.open.lock().expect("a gate") = true;
        self.opened.notify_all();
    }
}

#[derive(Default)]
struct Seen {
    requests: AtomicU64,
    bytes_sent: AtomicU64,
    connections: AtomicU64,
    stop: AtomicBool,
}

fn good_answer(line: &str) -> Vec<u8> {
    let target = line.split(' ').nth(1).expect("a target");
    let (kind, body) = match target.contains("page") {
        true => ("text/html", format!("<h1>{target}</h1>{}", "<p>more of it</p>".repeat(500))),
        false => {
            ("application/json", format!("{{\"target\":\"{target}\",\"list\":[{}1]}}", "1,".repeat(2_000)))
        }
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nx-shop: old\r\nset-cookie: a=1\r\n\r\n",
        body.len()
    );
    let body = if line.starts_with("HEAD") { String::new() } else { body };
    [head.into_bytes(), body.into_bytes()].concat()
}

/// A server that behaves as it is told. Its threads end with their connections.
fn server(fault: Fault, gate: &Arc<Gate>) -> (SocketAddr, Arc<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (address, seen) = (listener.local_addr().expect("an address"), Arc::new(Seen::default()));
    if fault == Fault::Absent {
        return (address, seen);
    }
    let (counts, gate) = (seen.clone(), gate.clone());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            if counts.stop.load(SeqCst) {
                return;
            }
            counts.connections.fetch_add(1, SeqCst);
            let (counts, gate) = (counts.clone(), gate.clone());
            std::thread::spawn(move || converse(stream, fault, &counts, &gate));
        }
    });
    (address, seen)
}

fn converse(mut stream: TcpStream, fault: Fault, seen: &Seen, gate: &Gate) {
    stream.set_nodelay(true).expect("an option");
    if fault == Fault::NeverReads {
        return gate.wait();
    }
    while let Ok(request) = Message::read(&mut stream) {
        seen.requests.fetch_add(1, SeqCst);
        let good = good_answer(request.first_line());
        let half = good.len() / 2;
        let sent = match fault {
            Fault::None => stream.write_all(&good),
            Fault::Hangs => return gate.wait(),
            Fault::Resets => {
                let linger = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                return linger.expect("an option");
            }
            Fault::Garbage => {
                let _gone = stream.write_all(b"\x16\x03\x01\x00\xa5 this is no HTTP\r\n\r\n\x00\xff\xfe");
                return;
            }
            Fault::TenGigabytes | Fault::Endless => return flood(&mut stream, fault, seen),
            Fault::Errors => stream.write_all(b"HTTP/1.1 500 Oh\r\ncontent-length: 2\r\n\r\nno"),
            Fault::StopsHalfway => {
                let _gone = stream.write_all(&good[..half]);
                return gate.wait();
            }
            Fault::Drips => {
                let _gone = stream
                    .write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1000000\r\n\r\n");
                while stream.write_all(b"x").is_ok() {
                    std::thread::park_timeout(Duration::from_millis(5));
                }
                return;
            }
            Fault::BreaksOff => {
                let _gone = stream.write_all(&good[..half]);
                return;
            }
            Fault::NeverReads | Fault::Absent => unreachable!("dealt with before"),
        };
        if sent.is_err() {
            return;
        }
    }
}

fn flood(stream: &mut TcpStream, fault: Fault, seen: &Seen) {
    let piece = match fault {
        Fault::Endless => [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat(),
        _ => vec![b'x'; 0x10000],
    };
    let head: &[u8] = match fault {
        Fault::Endless => b"HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n",
        _ => b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 10000000000\r\n\r\n",
    };
    if stream.write_all(head).is_err() {
        return;
    }
    for _ in 0..10_000_000_000_u64 / 0x10000 {
        match stream.write(&piece) {
            Ok(sent) => seen.bytes_sent.fetch_add(sent as u64, SeqCst),
            Err(_) => return,
        };
    }
}

/// The gateway between users, the old shop, and a side with a fault.
struct World {
    running: Running,
    gate: Arc<Gate>,
    legacy: Arc<Seen>,
    banyan: Arc<Seen>,
}

impl World {
    fn new(mode: &str, fault: Fault, shadow: &str) -> Self {
        let gate = Arc::new(Gate::default());
        let (legacy_at, legacy) = server(Fault::None, &gate);
        let (banyan_at, banyan) = server(fault, &gate);
        Self::with(mode, (legacy_at, legacy), (banyan_at, banyan), "", shadow, gate)
    }

    fn with(
        mode: &str,
        (legacy_at, legacy): (SocketAddr, Arc<Seen>),
        (banyan_at, banyan): (SocketAddr, Arc<Seen>),
        route: &str,
        shadow: &str,
        gate: Arc<Gate>,
    ) -> Self {
        let running = common::start(&format!(
            "[limits]\nshadow_bytes_max = {BUDGET}\n\
             [[route]]\nname = \"shop\"\npath = \"/\"\nmode = \"{mode}\"\nupstream = \"http://{legacy_at}\"\n\
             banyan = \"http://{banyan_at}\"\n{route}\n[route.shadow]\nnoise_percent = 0\nanswer_bytes_max = 100000\n{shadow}\n"
        ));
        Self { running, gate, legacy, banyan }
    }

    /// Many users at once, each with several requests on one connection. Returns every answer, byte by byte.
    fn users(&self) -> BTreeMap<(usize, usize), Vec<u8>> {
        let address = self.running.address;
        let users: Vec<_> = (0..USERS)
            .map(|user| std::thread::spawn(move || (0..).zip(one_user(address, user)).collect::<Vec<_>>()))
            .collect();
        let answers = users.into_iter().enumerate().flat_map(|(user, thread)| {
            let answers = thread.join().expect("every user is answered");
            answers.into_iter().map(move |(at, answer)| ((user, at), answer))
        });
        answers.collect()
    }

    fn report(&self) -> ShadowReport {
        self.running.gateway.shadow().remove(0)
    }

    /// Waits until every request is accounted for, and checks that each is counted once.
    fn settled(&self) -> ShadowReport {
        let began = Instant::now();
        loop {
            let report = self.report();
            let counted = report.compared + report.skipped.values().sum::<u64>();
            assert!(
                self.running.gateway.shadow_bytes() <= BUDGET,
                "{} bytes are held",
                self.running.gateway.shadow_bytes()
            );
            if counted == report.offered && report.queued == 0 && report.under_way == 0 {
                return report;
            }
            assert!(counted <= report.offered, "counted twice: {report:?}");
            assert!(began.elapsed() < DEADLINE, "not settled: {report:?}");
            std::thread::park_timeout(Duration::from_millis(2));
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.gate.open();
        for seen in [&self.legacy, &self.banyan] {
            seen.stop.store(true, SeqCst);
        }
    }
}

/// One user's answers in order.
fn one_user(address: SocketAddr, user: usize) -> Vec<Vec<u8>> {
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(DEADLINE)).expect("an option");
    let answers = (0..REQUESTS).map(|at| {
        let (method, path, body) = match at % 5 {
            0 => ("GET", "page", String::new()),
            1 => ("GET", "api", String::new()),
            2 => ("POST", "api", "x".repeat(3_000)),
            3 => ("HEAD", "api", String::new()),
            _ => ("GET", "api", "y".repeat(100)),
        };
        let id = format!("u-{user}-{at}");
        let head = format!(
            "{method} /{path}/{user}/{at} HTTP/1.1\r\nhost: shop.example\r\nx-request-id: {id}\r\ncookie: s=1\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).expect("sends");
        read_answer(&mut stream, method == "HEAD")
    });
    answers.collect()
}

/// A whole answer as it came, but for the time in it.
fn read_answer(stream: &mut TcpStream, is_head: bool) -> Vec<u8> {
    let read = if is_head { Message::read_head(stream) } else { Message::read(stream) };
    let Message { head, body } = match read {
        Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("a user waits"),
        read => read.expect("a whole answer"),
    };
    common::field(&head, "content-length").expect("a length");
    let lines: Vec<&str> = head.split("\r\n").filter(|line| !line.starts_with("date: ")).collect();
    [lines.join("\r\n").into_bytes(), body].concat()
}

fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("numbers");
    let pages: u64 = pages.split(' ').nth(1).expect("a number").parse().expect("a number");
    pages * 4_096
}

/// Runs users against a shadow side with a fault, and checks that they got what they get without any shadow. `while_held`
/// looks at what is known when all users are done and the bad side still holds on.
fn check(fault: Fault, shadow: &str, while_held: impl Fn(&ShadowReport)) -> (World, ShadowReport) {
    let plain = World::new("legacy", Fault::Absent, "").users();
    assert_eq!(plain.len(), USERS * REQUESTS);
    assert!(plain.values().all(|answer| answer.starts_with(b"HTTP/1.1 200 OK\r\n")));
    let world = World::new("shadow", fault, &format!("whole_millis = 600000\n{shadow}"));
    let shadowed = world.users();
    for (which, answer) in &plain {
        assert_eq!(
            String::from_utf8_lossy(&shadowed[which]),
            String::from_utf8_lossy(answer),
            "{fault:?} changed an answer"
        );
    }
    assert_eq!(
        world.legacy.requests.load(SeqCst),
        (USERS * REQUESTS) as u64,
        "the old shop is asked once each"
    );
    let report = world.report();
    assert_eq!(report.offered, (USERS * REQUESTS) as u64);
    assert!(world.running.gateway.shadow_bytes() <= BUDGET);
    while_held(&report);
    world.gate.open();
    let report = world.settled();
    assert_eq!(report.skipped["write-not-dry-run"], 20, "{report:?}");
    (world, report)
}

/// All that was copied ended in one of these.
#[track_caller]
fn only(report: &ShadowReport, reasons: &[&str]) {
    let sum: u64 = reasons.iter().filter_map(|reason| report.skipped.get(*reason)).sum();
    assert_eq!(sum, 80, "{report:?}");
}

#[test]
fn a_good_side_is_compared_and_equal() {
    let (world, report) = check(Fault::None, "", |_| {});
    assert_eq!(
        (report.compared, report.equal),
        (80, 80),
        "{report:?}: {:?}",
        world.running.gateway.groups("shop")
    );
    assert_eq!(world.banyan.requests.load(SeqCst), 80, "writes are not copied");
}

#[test]
fn a_side_that_hangs() {
    let (_world, report) = check(Fault::Hangs, "queue = 10\nat_once = 2", |report| {
        assert_eq!((report.compared, report.errors), (0, 0));
        assert!(report.skipped["queue-full"] >= 60, "{report:?}");
    });
    only(&report, &["queue-full", "broken-answer", "upstream-down", "timeout"]);
}

#[test]
fn a_side_that_never_reads() {
    let (_world, report) = check(Fault::NeverReads, "", |report| assert_eq!(report.compared, 0));
    only(&report, &["broken-answer", "upstream-down", "queue-full"]);
}

#[test]
fn a_side_that_resets() {
    let (_world, report) = check(Fault::Resets, "", |_| {});
    only(&report, &["broken-answer", "upstream-down"]);
    assert_eq!(report.errors, 80);
}

#[test]
fn a_side_that_sends_garbage() {
    let (_world, report) = check(Fault::Garbage, "", |_| {});
    only(&report, &["broken-answer", "upstream-down"]);
}

#[test]
fn a_side_that_sends_ten_gigabytes() {
    for fault in [Fault::TenGigabytes, Fault::Endless] {
        let before = resident_bytes();
        let (world, report) = check(fault, "", |_| {});
        // The answer to HEAD has no body to be too large, but another head than the old shop's.
        assert_eq!((report.skipped["answer-too-large"], report.mismatched), (60, 20), "{report:?}");
        // What is sent beyond the limit lies in the buffers of sockets: megabytes for each copy, not gigabytes.
        let sent = world.banyan.bytes_sent.load(SeqCst);
        assert!(sent < 100 * (16 << 20), "{sent} bytes were taken");
        let grown = resident_bytes().saturating_sub(before);
        assert!(grown < 128 << 20, "memory grew by {grown} bytes");
    }
}

#[test]
fn a_side_with_only_errors() {
    let (world, report) = check(Fault::Errors, "", |_| {});
    assert_eq!((report.mismatched, report.errors), (80, 80), "{report:?}");
    let groups = world.running.gateway.groups("shop").expect("a route");
    assert_eq!((groups.len(), groups[0].path.as_str(), groups[0].count), (1, "200 -> 500", 80));
    let kept = serde_json::to_string(&groups).expect("JSON");
    assert!(!kept.contains("s=1"), "a cookie was kept");
}

#[test]
fn a_side_that_stops_halfway() {
    let (_world, report) = check(Fault::StopsHalfway, "", |report| assert_eq!(report.mismatched, 0));
    // Half of the answer to HEAD is a part of its head.
    only(&report, &["broken-answer", "upstream-down"]);
}

#[test]
fn a_side_that_breaks_off() {
    let (_world, report) = check(Fault::BreaksOff, "", |_| {});
    only(&report, &["broken-answer", "upstream-down"]);
}

#[test]
fn a_side_that_is_not_there() {
    let (_world, report) = check(Fault::Absent, "", |_| {});
    only(&report, &["upstream-down"]);
    assert_eq!(report.errors, 80);
}

#[test]
fn a_side_that_is_too_slow_is_given_up() {
    for fault in [Fault::StopsHalfway, Fault::Drips, Fault::Hangs, Fault::NeverReads] {
        let world = World::new("shadow", fault, "whole_millis = 50");
        let answers = world.users();
        assert_eq!(answers.len(), USERS * REQUESTS);
        let report = world.settled();
        // Half of the answer to HEAD may be all of it.
        let heads = report.compared;
        assert_eq!(report.skipped["timeout"] + heads, 80, "{fault:?}: {report:?}");
        assert!(heads == 0 || fault == Fault::Drips && heads <= 20, "{fault:?}: {report:?}");
    }
}

/// The other way round: Banyan answers, and the old shop is the one that is copied to, and hangs.
#[test]
fn an_old_shop_that_hangs_holds_up_nobody_whom_banyan_answers() {
    let gate = Arc::new(Gate::default());
    let (legacy_at, legacy) = server(Fault::Hangs, &gate);
    let (banyan_at, banyan) = server(Fault::None, &gate);
    let canary = "canary = { percent = 100, by = \"header:host\" }";
    let world = World::with(
        "canary",
        (legacy_at, legacy),
        (banyan_at, banyan),
        canary,
        "whole_millis = 600000",
        gate,
    );
    let answers = world.users();
    assert!(answers.values().all(|answer| answer.starts_with(b"HTTP/1.1 200 OK\r\n")));
    assert_eq!(world.banyan.requests.load(SeqCst), (USERS * REQUESTS) as u64);
    assert_eq!(world.report().compared, 0);
    world.gate.open();
    let report = world.settled();
    assert_eq!((report.skipped["write-to-legacy"], report.asked), (20, 0), "{report:?}");
    // A read that breaks before its answer is asked once more.
    assert!(world.legacy.requests.load(SeqCst) <= 160);
}
