//! One keep-alive connection: it takes jobs one after the other until it closes or the run ends.
//!
//! The connection and the request on it are polled by one task, so an answer wakes one task, not two.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use std::{error::Error, io};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::answer::{Outcome, judge, judge_visit};
use super::core::Core;
use super::job::{Job, Work};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const BACKOFF_FIRST: Duration = Duration::from_millis(10);
const BACKOFF_LAST: Duration = Duration::from_millis(160);
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Where a connection and the rest of the generator meet.
#[derive(Default)]
pub(crate) struct Slot {
    job: Cell<Option<Job>>,
    waker: RefCell<Option<Waker>>,
    sent_ns: Cell<Option<u64>>,
    cut: Cell<Option<&'static str>>,
}

impl Slot {
    /// Hands a job to an idle connection.
    pub(crate) fn give(&self, job: Job) {
        self.job.set(Some(job));
        self.wake();
    }

    /// Makes the connection give up, with the reason its request's outcome is unknown.
    pub(crate) fn cut(&self, why: &'static str) {
        self.cut.set(Some(why));
        self.wake();
    }

    /// When the request under way was sent.
    pub(crate) fn sent_ns(&self) -> Option<u64> {
        self.sent_ns.get()
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    fn listen(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }
}

/// Connects, serves jobs until the connection ends, and leaves the pool.
pub(crate) async fn run(core: Rc<Core>) {
    let mut backoff = BACKOFF_FIRST;
    let stream = loop {
        match connect(&core).await {
            Ok(stream) => break stream,
            Err(error) => {
                if !core.connect_failed(connect_failure(&error)) {
                    return;
                }
                tokio::time::sleep(backoff).await;
                backoff = (backoff * 2).min(BACKOFF_LAST);
            }
        }
    };
    let slot = Rc::new(Slot::default());
    core.connected(&slot);
    // A handshake over HTTP/1.1 exchanges no bytes; it fails only when the connection is gone already.
    if let Ok((sender, connection)) = http1::handshake(TokioIo::new(stream)).await {
        let link = Link { connection: Some(Box::pin(connection)) };
        serve(&core, &slot, sender, link).await;
    }
    core.disconnected(&slot);
}

async fn connect(core: &Core) -> io::Result<TcpStream> {
    let limit = CONNECT_TIMEOUT.min(core.settings.timeout);
    let connecting = TcpStream::connect(core.settings.addresses.as_slice());
    let stream = tokio::time::timeout(limit, connecting).await.map_err(|_| io::ErrorKind::TimedOut)??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn serve(core: &Rc<Core>, slot: &Rc<Slot>, mut sender: SendRequest<Full<Bytes>>, mut link: Link) {
    loop {
        let job = match core.next_job(slot) {
            Some(job) => job,
            None => match link.rest(slot).await {
                Some(job) => job,
                None => return,
            },
        };
        let Some(request) = core.requests.borrow().build(&job) else {
            core.settle(job, Outcome::Refused { kind: "unusable-code".into(), fault: true });
            continue;
        };
        slot.sent_ns.set(Some(core.now_ns()));
        let exchanged = link.drive(slot, exchange(core, &mut sender, request)).await;
        slot.sent_ns.set(None);
        match exchanged {
            Ok(Ok((status, body))) => {
                let outcome = {
                    let requests = core.requests.borrow();
                    let (campaign, member) = (requests.campaign_id(job.campaign), requests.member_id(&job));
                    match &job.work {
                        Work::Visit(visit) => judge_visit(visit.step, status, &body, campaign, &member),
                        _ => judge(status, &body, campaign, &member),
                    }
                };
                core.settle(job, outcome);
                if !link.is_open() {
                    return;
                }
            }
            Ok(Err(Failure::NotSent)) => return core.give_back(job),
            Ok(Err(Failure::Unknown(why))) | Err(why) => return core.settle(job, Outcome::Unknown(why)),
        }
    }
}

enum Failure {
    /// The connection closed before a byte of the request was written.
    NotSent,
    /// It may have arrived.
    Unknown(&'static str),
}

/// Sends one request and reads its whole answer.
async fn exchange(
    core: &Core,
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes), Failure> {
    sender.ready().await.map_err(|_| Failure::NotSent)?;
    core.sent();
    let response = match sender.try_send_request(request).await {
        Ok(response) => response,
        Err(mut error) => {
            if error.take_message().is_some() {
                core.state().tally.requests_sent -= 1;
                return Err(Failure::NotSent);
            }
            return Err(Failure::Unknown(exchange_failure(&error.into_error())));
        }
    };
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| Failure::Unknown(exchange_failure(error.as_ref())))?;
    Ok((status, body.to_bytes()))
}

type Wire = Connection<TokioIo<TcpStream>, Full<Bytes>>;

struct Link {
    /// `None` once it has ended. An ended connection must be dropped, not kept: only then does hyper tell a request
    /// that was handed over in the same moment that nobody will send it.
    connection: Option<Pin<Box<Wire>>>,
}

impl Link {
    fn poll(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && connection.as_mut().poll(cx).is_ready()
        {
            self.connection = None;
        }
    }

    fn is_open(&self) -> bool {
        self.connection.is_some()
    }

    /// Waits for a job, and notices when the server closes meanwhile.
    async fn rest(&mut self, slot: &Slot) -> Option<Job> {
        poll_fn(|cx| {
            slot.listen(cx);
            if let Some(job) = slot.job.take() {
                return Poll::Ready(Some(job));
            }
            self.poll(cx);
            if self.is_open() && slot.cut.get().is_none() { Poll::Pending } else { Poll::Ready(None) }
        })
        .await
    }

    /// Polls a request and its connection together; `Err` when the slot is cut meanwhile.
    async fn drive<F: Future>(&mut self, slot: &Slot, future: F) -> Result<F::Output, &'static str> {
        let mut future = pin!(future);
        poll_fn(|cx| {
            slot.listen(cx);
            // Each side waits for the other in turn (ready, write, head, body): a few rounds save as many wake-ups.
            for _ in 0..3 {
                if let Poll::Ready(output) = future.as_mut().poll(cx) {
                    return Poll::Ready(Ok(output));
                }
                if let Some(why) = slot.cut.get() {
                    return Poll::Ready(Err(why));
                }
                self.poll(cx);
            }
            Poll::Pending
        })
        .await
    }
}

fn connect_failure(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "refused",
        io::ErrorKind::TimedOut => "timeout",
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => "reset",
        io::ErrorKind::AddrNotAvailable => "no free local port",
        _ if error.raw_os_error() == Some(24) => "too many open files (raise ulimit -n)",
        _ => "other",
    }
}

fn exchange_failure(error: &(dyn Error + 'static)) -> &'static str {
    let mut cause = Some(error);
    while let Some(one) = cause {
        if let Some(io) = one.downcast_ref::<io::Error>() {
            match io.kind() {
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => return "reset",
                io::ErrorKind::TimedOut => return "timeout",
                io::ErrorKind::UnexpectedEof => return "closed before the answer",
                _ => {}
            }
        }
        if let Some(hyper) = one.downcast_ref::<hyper::Error>() {
            if hyper.is_incomplete_message() || hyper.is_canceled() || hyper.is_closed() {
                return "closed before the answer";
            }
            if hyper.is_parse() {
                return "an answer that is not HTTP";
            }
        }
        cause = one.source();
    }
    "other"
}
