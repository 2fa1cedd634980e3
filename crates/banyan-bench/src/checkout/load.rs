//! The client of the checkout benchmark: keep-alive connections on one thread, each buying one order after the other.
//!
//! An order takes as long as its buyer waits to see it paid: orders are placed with `Prefer: wait`, and answered then.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use super::prepare::{Buyer, POINTS};
use crate::answer::scatter;
use crate::{Failure, failed};

pub(super) use crate::load::Pace;

const LATENCY_MAX_US: u64 = 60_000_000;

/// What to ask, of whom, and how.
pub(super) struct Load {
    pub(super) address: SocketAddr,
    pub(super) key: Option<String>,
    pub(super) connections: usize,
    pub(super) pace: Pace,
    /// How long orders are begun; those under way are still waited for.
    pub(super) duration: Duration,
    pub(super) products: usize,
}

/// What came of it.
pub(super) struct Outcome {
    pub(super) paid: u64,
    /// Orders that ended otherwise, by what was answered.
    pub(super) refused: BTreeMap<String, u64>,
    /// There were not enough buyers for the time.
    pub(super) is_sold_out: bool,
    elapsed: Duration,
    latency: Histogram<u64>,
}

impl Outcome {
    /// Orders paid per second.
    pub(super) fn rate(&self) -> f64 {
        self.paid as f64 / self.elapsed.as_secs_f64()
    }

    /// A latency in milliseconds: `quantile` 0.99 is the p99.
    pub(super) fn latency_ms(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1_000.0
    }
}

struct Shared {
    load: Load,
    start: Instant,
    state: RefCell<State>,
}

struct State {
    buyers: std::vec::IntoIter<Buyer>,
    begun: u64,
    outcome: Outcome,
}

/// Buys from `buyers` until the time is over.
pub(super) async fn run(load: Load, buyers: &mut std::vec::IntoIter<Buyer>) -> Result<Outcome, Failure> {
    let latency = Histogram::new_with_max(LATENCY_MAX_US, 3).map_err(|e| failed("making a histogram", e))?;
    let elapsed = Duration::ZERO;
    let outcome = Outcome { paid: 0, refused: BTreeMap::new(), is_sold_out: false, elapsed, latency };
    let mut wires = Vec::with_capacity(load.connections);
    for _ in 0..load.connections {
        wires.push(Wire::connect(load.address).await?);
    }
    let state = State { buyers: std::mem::take(buyers), begun: 0, outcome };
    let shared = Rc::new(Shared { load, start: Instant::now(), state: RefCell::new(state) });
    let local = LocalSet::new();
    let tasks: Vec<_> =
        wires.into_iter().map(|wire| local.spawn_local(buy_on(wire, Rc::clone(&shared)))).collect();
    local
        .run_until(async {
            for task in tasks {
                task.await.map_err(|e| failed("running a connection", e))??;
            }
            Ok::<_, Failure>(())
        })
        .await?;
    let elapsed = shared.start.elapsed();
    let shared = Rc::try_unwrap(shared).map_err(|_| "every connection has ended")?;
    let State { buyers: rest, mut outcome, .. } = shared.state.into_inner();
    *buyers = rest;
    outcome.elapsed = elapsed;
    Ok(outcome)
}

async fn buy_on(mut wire: Wire, shared: Rc<Shared>) -> Result<(), Failure> {
    while let Some((buyer, due)) = shared.next() {
        // Open loop: an order is placed when it is due, however long the others take.
        if due > Instant::now() {
            tokio::time::sleep_until(due.into()).await;
        }
        let bought = buy(&mut wire, &shared.load, &buyer).await?;
        let mut state = shared.state.borrow_mut();
        match bought {
            Ok(()) => {
                let micros = u64::try_from(due.elapsed().as_micros()).unwrap_or(LATENCY_MAX_US);
                state.outcome.latency.saturating_record(micros.min(LATENCY_MAX_US));
                state.outcome.paid += 1;
            }
            Err(answer) => *state.outcome.refused.entry(answer).or_default() += 1,
        }
    }
    Ok(())
}

impl Shared {
    /// The next buyer, and when the order is due; none when the time is over.
    fn next(&self) -> Option<(Buyer, Instant)> {
        let mut state = self.state.borrow_mut();
        let due = match self.load.pace {
            Pace::Closed => Instant::now(),
            Pace::Open(rate) => self.start + Duration::from_secs_f64(state.begun as f64 / rate),
        };
        if due >= self.start + self.load.duration {
            return None;
        }
        let Some(buyer) = state.buyers.next() else {
            state.outcome.is_sold_out = true;
            return None;
        };
        state.begun += 1;
        Some((buyer, due))
    }
}

/// Places one order, which is answered when it is paid; what was answered, if it is not.
async fn buy(wire: &mut Wire, load: &Load, buyer: &Buyer) -> Result<Result<(), String>, Failure> {
    let products = load.products as u64;
    let first = scatter(buyer.number) % products;
    let second = (first + 1 + scatter(buyer.number ^ 0x5EED) % (products - 1)) % products;
    let body = format!(
        r#"{{"member":"{}","lines":[{{"product":"p{first}","quantity":1}},{{"product":"p{second}","quantity":1}}],"coupon":"{}","points":{POINTS},"method":"tok_ok"}}"#,
        buyer.member, buyer.coupon
    );
    let key = load.key.as_ref().map_or(String::new(), |key| format!("Authorization: Bearer {key}\r\n"));
    let head = format!(
        "POST /v1/orders HTTP/1.1\r\nHost: bench\r\n{key}Idempotency-Key: buy-{}\r\nContent-Type: application/json\r\nPrefer: wait=30\r\nContent-Length: {}\r\n\r\n",
        buyer.number,
        body.len()
    );
    let (status, answer) = wire.ask(&[head, body].concat()).await?;
    let is_paid = (200..300).contains(&status) && answer.contains(r#""state":"paid""#);
    Ok(if is_paid { Ok(()) } else { Err(answer) })
}

/// One connection.
struct Wire {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Wire {
    async fn connect(address: SocketAddr) -> Result<Self, Failure> {
        let doing = || format!("connecting to {address}");
        let stream = TcpStream::connect(address).await.map_err(|e| failed(doing(), e))?;
        stream.set_nodelay(true).map_err(|e| failed(doing(), e))?;
        Ok(Self { stream, input: Vec::with_capacity(4 * 1024) })
    }

    /// Sends a request; the answer's status and body.
    async fn ask(&mut self, request: &str) -> Result<(u16, String), Failure> {
        self.stream.write_all(request.as_bytes()).await.map_err(|e| failed("sending a request", e))?;
        self.input.clear();
        loop {
            let count =
                self.stream.read_buf(&mut self.input).await.map_err(|e| failed("reading an answer", e))?;
            if count == 0 {
                return Err("the server closed a connection in the middle of an answer".into());
            }
            if let Some(answer) = whole(&self.input)? {
                return Ok(answer);
            }
        }
    }
}

/// The answer, once it is all there.
fn whole(input: &[u8]) -> Result<Option<(u16, String)>, Failure> {
    let Some(end) = input.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&input[..end]).map_err(|e| failed("reading an answer's head", e))?;
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let length = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let (Some(status), Some(length)) = (status, length) else { return Err(failed("not an answer", head)) };
    let body = &input[end + 4..];
    Ok((body.len() >= length).then(|| (status, String::from_utf8_lossy(&body[..length]).into_owned())))
}

#[cfg(test)]
mod tests {
    use super::whole;

    #[test]
    fn an_answer_is_read_once_it_is_whole() {
        let text = b"HTTP/1.1 201 Created\r\nContent-Length: 4\r\n\r\nabcd";
        for cut in 0..text.len() {
            assert!(whole(&text[..cut]).expect("so far fine").is_none(), "{cut}");
        }
        assert_eq!(whole(text).expect("an answer"), Some((201, "abcd".to_owned())));
        assert!(whole(b"SMTP hello\r\n\r\n").is_err());
    }
}
