//! The client of the gateway benchmark: keep-alive HTTP/1.1 connections on one thread, which ask for one thing and compare every
//! byte of every answer's body. As lean as `crate::load`, and its open loop keeps time to some tens of microseconds.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::answer::scatter;
use crate::load::Pace;
use crate::pace::Turns;
use crate::{Failure, failed};

/// Latencies are kept up to this long, in microseconds; longer ones count as this.
const LATENCY_MAX_US: u64 = 120_000_000;
/// Room for an answer's head beside its body.
const HEAD_BYTES: usize = 8 << 10;

/// What to ask, of whom, and how.
#[derive(Clone)]
pub(crate) struct Load {
    /// The server.
    pub(crate) address: SocketAddr,
    /// The path.
    pub(crate) path: &'static str,
    /// What must be answered.
    pub(crate) body: Bytes,
    /// Keep-alive connections.
    pub(crate) connections: usize,
    /// When the next question is asked.
    pub(crate) pace: Pace,
    /// How long questions are asked; those under way are still answered.
    pub(crate) duration: Duration,
}

/// What came back: every answer was 200, and its body as it must be.
pub(crate) struct Outcome {
    /// Answers.
    pub(crate) answered: u64,
    elapsed: Duration,
    latency: Histogram<u64>,
}

impl Outcome {
    /// Answers per second.
    pub(crate) fn rate(&self) -> f64 {
        self.answered as f64 / self.elapsed.as_secs_f64()
    }

    /// A latency in milliseconds: `quantile` 0.99 is the p99.
    pub(crate) fn latency_ms(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1_000.0
    }
}

/// Runs one load to its end.
///
/// # Errors
/// A connection broke, or an answer was not the one that was wanted.
pub(crate) async fn run(load: &Load) -> Result<Outcome, Failure> {
    let mut askers = Vec::with_capacity(load.connections);
    for number in 0..load.connections {
        askers.push(Asker::connect(load, number).await?);
    }
    let latency = Histogram::new_with_max(LATENCY_MAX_US, 3).map_err(|e| failed("making a histogram", e))?;
    let shared = Rc::new(Shared {
        start: Instant::now(),
        duration: load.duration,
        turns: Turns::new(),
        latency: RefCell::new(latency),
    });
    let local = LocalSet::new();
    let tasks: Vec<_> =
        askers.into_iter().map(|asker| local.spawn_local(asker.run(Rc::clone(&shared), load.pace))).collect();
    let all = async {
        if let Pace::Open(rate) = load.pace {
            shared.turns.hand_out(rate, load.duration, load.connections).await?;
        }
        for task in tasks {
            task.await.map_err(|e| failed("running a connection", e))??;
        }
        Ok::<_, Failure>(())
    };
    local.run_until(all).await?;
    let elapsed = shared.start.elapsed();
    let latency = shared.latency.borrow().clone();
    Ok(Outcome { answered: latency.len(), elapsed, latency })
}

struct Shared {
    start: Instant,
    duration: Duration,
    turns: Turns,
    latency: RefCell<Histogram<u64>>,
}

impl Shared {
    /// Since when the next question is due; nothing if there is none any more.
    async fn next(&self, pace: Pace) -> Option<Instant> {
        match pace {
            Pace::Closed => Some(Instant::now()).filter(|now| *now < self.start + self.duration),
            Pace::Open(_) => self.turns.next().await.map(|(_, since)| since),
        }
    }
}

/// One connection.
struct Asker {
    stream: TcpStream,
    request: Vec<u8>,
    body: Bytes,
    input: Vec<u8>,
}

impl Asker {
    async fn connect(load: &Load, number: usize) -> Result<Self, Failure> {
        let doing = || format!("connecting to {}", load.address);
        let stream = TcpStream::connect(load.address).await.map_err(|e| failed(doing(), e))?;
        stream.set_nodelay(true).map_err(|e| failed(doing(), e))?;
        // Each connection is another visitor: a canary puts some here and some there.
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: banyan-bench\r\nAccept: application/json\r\n\
             Accept-Language: ko-KR,ko;q=0.9,en;q=0.8\r\nCookie: visitor={:016x}\r\n\r\n",
            load.path,
            scatter(number as u64)
        );
        let input = Vec::with_capacity(load.body.len() + HEAD_BYTES);
        Ok(Self { stream, request: request.into_bytes(), body: load.body.clone(), input })
    }

    async fn run(mut self, shared: Rc<Shared>, pace: Pace) -> Result<(), Failure> {
        while let Some(due) = shared.next(pace).await {
            self.stream.write_all(&self.request).await.map_err(|e| failed("sending a request", e))?;
            self.take_answer().await?;
            let micros = u64::try_from(due.elapsed().as_micros()).unwrap_or(LATENCY_MAX_US);
            shared.latency.borrow_mut().saturating_record(micros.min(LATENCY_MAX_US));
        }
        Ok(())
    }

    async fn take_answer(&mut self) -> Result<(), Failure> {
        self.input.clear();
        let mut head = None;
        loop {
            let count = self.stream.read_buf(&mut self.input).await;
            if count.map_err(|e| failed("reading an answer", e))? == 0 {
                return Err("the server closed a connection in the middle of an answer".into());
            }
            if head.is_none() {
                head = head_bytes(&self.input, self.body.len())?;
            }
            let Some(body) = head.and_then(|head| self.input.get(head..)) else { continue };
            if body.len() >= self.body.len() {
                return if body == self.body {
                    Ok(())
                } else {
                    Err("an answer's body is not what the upstream sends".into())
                };
            }
        }
    }
}

/// How long the head is, once it is all there. It must say 200 and a body of `length` bytes.
fn head_bytes(input: &[u8], length: usize) -> Result<Option<usize>, Failure> {
    let Some(end) = input.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&input[..end]).map_err(|e| failed("reading an answer's head", e))?;
    let is_length = |line: &str| {
        line.split_once(':').is_some_and(|(name, value)| {
            name.eq_ignore_ascii_case("content-length") && value.trim().parse() == Ok(length)
        })
    };
    if !head.starts_with("HTTP/1.1 200 ") || !head.split("\r\n").any(is_length) {
        return Err(failed(format!("not 200 with {length} bytes"), head));
    }
    Ok(Some(end + 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_answer_that_is_wanted_is_one() {
        let judge = |head: &str| head_bytes(head.as_bytes(), 5).map_err(|error| error.to_string());
        assert_eq!(judge("HTTP/1.1 200 OK\r\nContent-Le"), Ok(None));
        assert_eq!(judge("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"), Ok(Some(38)));
        assert!(judge("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n").is_err(), "another length");
        assert!(judge("HTTP/1.1 200 OK\r\n\r\n").is_err(), "no length");
        let error = judge("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 5\r\n\r\n");
        assert!(error.is_err_and(|error| error.contains("502")), "another status");
    }
}
