//! The client: keep-alive HTTP/1.1 connections on one thread, made to cost little, since it shares the machine with
//! what it measures.
//!
//! It writes whole requests from a buffer in which only the members change, and reads of an answer only the status,
//! the length, and (for batches) how many coupons were issued. A general client would use about as much CPU as the
//! server. It understands nothing but answers with a `Content-Length`, and fails on anything else.
//!
//! Two ways to ask:
//! - [`Pace::Closed`]: each connection asks again as soon as it is answered. Right for the peak rate, wrong for
//!   latency: when the server stalls, so do the questions.
//! - [`Pace::Open`]: questions come at a fixed rate whatever the server does, and latency counts from the moment a
//!   question was due, so that a stall is felt by everyone who would have come. Timers have 1 ms steps: latencies
//!   hold up to 1 ms of that.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::answer::scatter;
use crate::{Failure, failed};

/// Latencies are kept up to this long, in microseconds; longer ones count as this.
const LATENCY_MAX_US: u64 = 120_000_000;
/// A member id: `m` and 16 hexadecimal digits. All have one length, so that a request's length never changes.
const MEMBER_BYTES: usize = 17;

/// When the next question is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// As soon as the last one is answered.
    Closed,
    /// At this many requests per second, whatever happens.
    Open(f64),
}

/// What to ask, of whom, and how.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// The server.
    pub(crate) address: SocketAddr,
    /// The campaign; the path follows from it.
    pub(crate) campaign: String,
    /// The bearer key, if the server wants one.
    pub(crate) key: Option<String>,
    /// Keep-alive connections.
    pub(crate) connections: usize,
    /// When the next question is asked.
    pub(crate) pace: Pace,
    /// How long questions are asked; those underway are still answered.
    pub(crate) duration: Duration,
    /// Coupons per request: 1 is the single endpoint, more the batch endpoint.
    pub(crate) batch: usize,
    /// The number of the first member; each coupon asked for takes the next.
    pub(crate) first_member: u64,
}

/// What came back.
pub(crate) struct Outcome {
    /// Requests answered 2xx.
    pub(crate) answered: u64,
    /// Coupons in those answers.
    pub(crate) issued: u64,
    /// Other answers, by status.
    pub(crate) refused: BTreeMap<u16, u64>,
    /// From the first question to the last answer.
    pub(crate) elapsed: Duration,
    /// Latencies in microseconds.
    pub(crate) latency: Histogram<u64>,
    /// The first member nobody was asked for yet.
    pub(crate) next_member: u64,
}

impl Outcome {
    /// Coupons per second.
    pub(crate) fn rate(&self) -> f64 {
        self.issued as f64 / self.elapsed.as_secs_f64()
    }

    /// A latency in milliseconds: `quantile` 0.99 is the p99.
    pub(crate) fn latency_ms(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1_000.0
    }
}

/// Runs one load to its end.
pub(crate) async fn run(load: &Load) -> Result<Outcome, Failure> {
    let mut streams = Vec::with_capacity(load.connections);
    for _ in 0..load.connections {
        let doing = || format!("connecting to {}", load.address);
        let stream = TcpStream::connect(load.address).await.map_err(|e| failed(doing(), e))?;
        stream.set_nodelay(true).map_err(|e| failed(doing(), e))?;
        streams.push(stream);
    }
    let latency = Histogram::new_with_max(LATENCY_MAX_US, 3).map_err(|e| failed("making a histogram", e))?;
    let shared = Rc::new(Shared {
        load: load.clone(),
        start: Instant::now(),
        tickets: Cell::new(0),
        tally: RefCell::new(Tally { answered: 0, issued: 0, refused: BTreeMap::new(), latency }),
    });
    let local = LocalSet::new();
    let tasks: Vec<_> =
        streams.into_iter().map(|stream| local.spawn_local(Asker::new(stream, &shared).run())).collect();
    local
        .run_until(async {
            for task in tasks {
                task.await.map_err(|e| failed("running a connection", e))??;
            }
            Ok::<_, Failure>(())
        })
        .await?;
    let elapsed = shared.start.elapsed();
    let next_member = load.first_member + shared.tickets.get() * load.batch as u64;
    let Tally { answered, issued, refused, latency } = shared.tally.replace(Tally::empty());
    Ok(Outcome { answered, issued, refused, elapsed, latency, next_member })
}

struct Shared {
    load: Load,
    start: Instant,
    /// Requests handed out so far.
    tickets: Cell<u64>,
    tally: RefCell<Tally>,
}

struct Tally {
    answered: u64,
    issued: u64,
    refused: BTreeMap<u16, u64>,
    latency: Histogram<u64>,
}

impl Tally {
    fn empty() -> Self {
        let latency = Histogram::new(1).expect("one digit is allowed");
        Self { answered: 0, issued: 0, refused: BTreeMap::new(), latency }
    }
}

impl Shared {
    /// The next request's number and when it is due; `None` when time is up.
    fn next(&self) -> Option<(u64, Instant)> {
        let number = self.tickets.get();
        let due = match self.load.pace {
            Pace::Closed => Instant::now(),
            Pace::Open(rate) => self.start + Duration::from_secs_f64(number as f64 / rate),
        };
        if due >= self.start + self.load.duration {
            return None;
        }
        self.tickets.set(number + 1);
        Some((number, due))
    }

    fn record(&self, due: Instant, answer: &Answer) {
        let micros = u64::try_from(due.elapsed().as_micros()).unwrap_or(LATENCY_MAX_US);
        let mut tally = self.tally.borrow_mut();
        tally.latency.saturating_record(micros.min(LATENCY_MAX_US));
        if (200..300).contains(&answer.status) {
            tally.answered += 1;
            tally.issued += answer.issued;
        } else {
            *tally.refused.entry(answer.status).or_default() += 1;
        }
    }
}

/// One connection.
struct Asker {
    stream: TcpStream,
    shared: Rc<Shared>,
    request: Request,
    input: Vec<u8>,
}

impl Asker {
    fn new(stream: TcpStream, shared: &Rc<Shared>) -> Self {
        let request = Request::new(&shared.load);
        Self { stream, shared: Rc::clone(shared), request, input: Vec::with_capacity(16 * 1024) }
    }

    async fn run(mut self) -> Result<(), Failure> {
        let (first, batch) = (self.shared.load.first_member, self.shared.load.batch);
        while let Some((number, due)) = self.shared.next() {
            if due > Instant::now() {
                tokio::time::sleep_until(due.into()).await;
            }
            self.request.set_members(first + number * batch as u64);
            self.stream.write_all(&self.request.bytes).await.map_err(|e| failed("sending a request", e))?;
            let answer = self.read_answer(batch).await?;
            self.shared.record(due, &answer);
        }
        Ok(())
    }

    async fn read_answer(&mut self, batch: usize) -> Result<Answer, Failure> {
        self.input.clear();
        loop {
            let count =
                self.stream.read_buf(&mut self.input).await.map_err(|e| failed("reading an answer", e))?;
            if count == 0 {
                return Err("the server closed a connection in the middle of an answer".into());
            }
            if let Some(answer) = Answer::parse(&self.input, batch)? {
                return Ok(answer);
            }
        }
    }
}

/// A request whose members can be exchanged in place.
struct Request {
    bytes: Vec<u8>,
    members: Vec<usize>,
}

impl Request {
    fn new(load: &Load) -> Self {
        let member = "m".repeat(MEMBER_BYTES);
        let (path, body) = if load.batch == 1 {
            ("coupons", format!(r#"{{"member":"{member}"}}"#))
        } else {
            (
                "coupons/batch",
                format!(r#"{{"members":[{}]}}"#, vec![format!("\"{member}\""); load.batch].join(",")),
            )
        };
        let mut head =
            format!("POST /v1/campaigns/{}/{path} HTTP/1.1\r\nHost: {}\r\n", load.campaign, load.address);
        if let Some(key) = &load.key {
            write!(head, "Authorization: Bearer {key}\r\n").expect("a string takes any text");
        }
        write!(head, "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len())
            .expect("a string takes any text");
        let members = body.match_indices(&member).map(|(at, _)| head.len() + at).collect();
        Self { bytes: [head, body].concat().into_bytes(), members }
    }

    /// Members are scattered numbers: never twice the same, and as unordered as real ones.
    fn set_members(&mut self, first: u64) {
        for (number, at) in (first..).zip(&self.members) {
            let mut bits = scatter(number);
            for byte in &mut self.bytes[at + 1..at + MEMBER_BYTES] {
                *byte = b"0123456789abcdef"[usize::try_from(bits >> 60).expect("four bits")];
                bits <<= 4;
            }
        }
    }
}

#[derive(Debug, PartialEq)]
struct Answer {
    status: u16,
    issued: u64,
}

impl Answer {
    /// The answer, once it is all there.
    fn parse(input: &[u8], batch: usize) -> Result<Option<Self>, Failure> {
        let Some(head_end) = input.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Ok(None);
        };
        let head =
            std::str::from_utf8(&input[..head_end]).map_err(|e| failed("reading an answer's head", e))?;
        let mut lines = head.split("\r\n");
        let status =
            lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).and_then(|rest| rest.get(..3));
        let status =
            status.and_then(|status| status.parse().ok()).ok_or_else(|| failed("not an answer", head))?;
        let length = lines
            .find_map(|line| {
                line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            })
            .and_then(|(_, value)| value.trim().parse::<usize>().ok())
            .ok_or_else(|| failed("an answer without a length", head))?;
        let body = &input[head_end + 4..];
        if body.len() < length {
            return Ok(None);
        }
        if body.len() > length {
            return Err(failed("more bytes than the answer's length", head));
        }
        let issued = match (status, batch) {
            (201, 1) => 1,
            (200, 2..) => count(body, br#""status":201"#),
            _ => 0,
        };
        Ok(Some(Self { status, issued }))
    }
}

fn count(text: &[u8], wanted: &[u8]) -> u64 {
    let mut found = 0;
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| *byte == wanted[0]) {
        rest = &rest[at..];
        let is_here = rest.starts_with(wanted);
        found += u64::from(is_here);
        rest = &rest[if is_here { wanted.len() } else { 1 }..];
    }
    found
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
