//! Connections with servers: one HTTP/1.1 connection serves one request at a time, one HTTP/2 connection many.
//!
//! An HTTP/1.1 connection has no task of its own. Whoever uses it polls it, in the same task that serves the client: no
//! wake-ups between tasks, and a request that is dropped takes its connection with it.

use crate::limits::{ANSWER_HEADS_BYTES_MAX, IDLE_CONNECTIONS_MAX};
use crate::proxy::body::SendBody;
use crate::proxy::silence::Watchdog;
use crate::proxy::stream::{Probe, ServerStream};
use http::{Method, Request, Response, StatusCode, header, response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Requests at once on one HTTP/2 connection; more get another one.
const STREAMS_MAX: usize = 100;

/// What can go wrong with a request on a connection.
pub(crate) type SendFailed = TrySendError<Request<SendBody>>;

/// Why there is no answer on a connection.
pub(crate) enum NoAnswer {
    /// It broke.
    Broken(Box<SendFailed>),
    /// The head of the answer, or informational answers before it, have no end.
    Endless,
}

impl NoAnswer {
    fn broken(failed: SendFailed) -> Self {
        Self::Broken(Box::new(failed))
    }

    pub(crate) fn into_error(self) -> io::Error {
        match self {
            Self::Broken(failed) => io::Error::other(failed.into_error()),
            Self::Endless => io::Error::other("the head of its answer has no end"),
        }
    }
}

/// Idle connections with one server, apart for each worker.
pub(crate) struct Pool {
    slots: Box<[Mutex<Slot>]>,
    keep: Duration,
    age: Duration,
}

#[derive(Default)]
struct Slot {
    one: Vec<(Instant, One)>,
    two: Vec<(Instant, Two)>,
}

impl Pool {
    pub(crate) fn new(slots: usize, keep: Duration, age: Duration) -> Self {
        Self { slots: (0..slots).map(|_| Mutex::default()).collect(), keep, age }
    }

    fn slot(&self, worker: usize) -> MutexGuard<'_, Slot> {
        // Only this worker uses it: never contended but by shadows and checks.
        self.slots[worker % self.slots.len()].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection that was used last and is still good. With `sure`, the kernel is asked too.
    pub(crate) fn take_one(&self, worker: usize, sure: bool, cx: &mut Context<'_>) -> Option<One> {
        loop {
            let (since, mut one) = self.slot(worker).one.pop()?;
            if since.elapsed() < self.keep && one.born.elapsed() < self.age && one.poll_usable(sure, cx) {
                return Some(one);
            }
        }
    }

    /// Keeps a connection whose answer is complete.
    pub(crate) fn put_one(&self, worker: usize, mut one: One) {
        // Nobody waits: the next user polls it with a waker of its own.
        if one.poll_usable(false, &mut Context::from_waker(Waker::noop())) {
            let mut slot = self.slot(worker);
            if slot.one.len() < IDLE_CONNECTIONS_MAX {
                slot.one.push((Instant::now(), one));
            }
        }
    }

    /// An HTTP/2 connection with room.
    pub(crate) fn take_two(&self, worker: usize) -> Option<Two> {
        let mut slot = self.slot(worker);
        slot.two.retain(|(_, two)| !two.sender.is_closed());
        let has_room = |two: &Two| two.under_way.load(Relaxed) < STREAMS_MAX && two.born.elapsed() < self.age;
        let (used, two) = slot.two.iter_mut().find(|(_, two)| has_room(two))?;
        *used = Instant::now();
        Some(two.clone())
    }

    /// Shares an HTTP/2 connection.
    pub(crate) fn put_two(&self, worker: usize, two: Two) {
        self.slot(worker).two.push((Instant::now(), two));
    }

    /// Closes what was idle for too long.
    pub(crate) fn sweep(&self, worker: usize) {
        let mut slot = self.slot(worker);
        let keep = self.keep;
        // The oldest are at the front: the newest is always taken first.
        let old = slot.one.iter().take_while(|(since, _)| since.elapsed() >= keep).count();
        let closed: Vec<_> = slot.one.drain(..old).collect();
        let is_young = |two: &Two| two.born.elapsed() < self.age;
        slot.two.retain(|(used, two)| {
            two.under_way.load(Relaxed) > 0 || (used.elapsed() < keep && is_young(two))
        });
        drop(slot);
        drop(closed);
    }
}

/// An HTTP/1.1 connection.
pub(crate) struct One {
    sender: http1::SendRequest<SendBody>,
    connection: Box<http1::Connection<TokioIo<ServerStream>, SendBody>>,
    probe: Arc<Probe>,
    dog: Watchdog,
    /// The last answer was one to HEAD, 204 or 304: a server that sends a body after it would answer the next request with it.
    wary: bool,
    ended: bool,
    born: Instant,
}

impl One {
    pub(crate) async fn new(io: ServerStream, probe: Arc<Probe>) -> hyper::Result<Self> {
        let mut builder = http1::Builder::new();
        // A piece of a body is as large as hyper's buffer at most, and may wait for a slow client.
        builder.max_headers(256).max_buf_size(ANSWER_HEADS_BYTES_MAX / 2);
        let (sender, connection) = builder.handshake(TokioIo::new(io)).await?;
        Ok(Self {
            sender,
            connection: Box::new(connection),
            probe,
            dog: Watchdog::default(),
            wary: false,
            ended: false,
            born: Instant::now(),
        })
    }

    /// Lets the connection move.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) {
        if !self.ended && Pin::new(&mut *self.connection).poll(cx).is_ready() {
            // Errors reach whoever waits for the answer or reads the body.
            self.ended = true;
        }
    }

    /// Its timer for answers, which outlives requests.
    pub(crate) fn take_watchdog(&mut self) -> Watchdog {
        std::mem::take(&mut self.dog)
    }

    pub(crate) fn put_watchdog(&mut self, dog: Watchdog) {
        self.dog = dog;
    }

    fn poll_usable(&mut self, sure: bool, cx: &mut Context<'_>) -> bool {
        if sure || self.wary {
            self.probe.look();
        }
        self.drive(cx);
        !self.ended && self.sender.is_ready()
    }

    /// The answer says of itself that a body follows where none can be: what follows must not be the next answer. Nor may what
    /// follows without being announced.
    pub(crate) fn give_up_after(&mut self, head: &response::Parts) {
        self.wary |= matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let length = head.headers.get(header::CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0");
        if head.status == StatusCode::NO_CONTENT
            && (length || head.headers.contains_key(header::TRANSFER_ENCODING))
        {
            self.ended = true;
        }
    }

    /// Sends a request and waits for the head of the answer.
    pub(crate) async fn send(&mut self, request: Request<SendBody>) -> Result<Response<Incoming>, NoAnswer> {
        self.probe.forget();
        self.wary = request.method() == Method::HEAD;
        let answer = self.sender.try_send_request(request);
        let mut answer = pin!(answer);
        poll_fn(|cx| {
            self.drive(cx);
            match answer.as_mut().poll(cx) {
                // Without a head, all that came is of heads. hyper passes over informational ones for ever.
                Poll::Pending if self.probe.heard() > ANSWER_HEADS_BYTES_MAX => {
                    Poll::Ready(Err(NoAnswer::Endless))
                }
                polled => polled.map_err(NoAnswer::broken),
            }
        })
        .await
    }

    /// Whether bytes of an answer came since the last request was sent.
    pub(crate) fn was_heard(&self) -> bool {
        self.probe.heard() > 0
    }

    /// The socket, after an answer 101, and what the server sent behind it already.
    pub(crate) async fn into_socket(mut self) -> (ServerStream, bytes::Bytes) {
        poll_fn(|cx| {
            self.drive(cx);
            if self.ended { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        let parts = self.connection.into_parts();
        (parts.io.into_inner(), parts.read_buf)
    }
}

/// An HTTP/2 connection; clones are the same one.
#[derive(Clone)]
pub(crate) struct Two {
    sender: http2::SendRequest<SendBody>,
    under_way: Arc<AtomicUsize>,
    born: Instant,
}

impl Two {
    pub(crate) async fn new(io: ServerStream) -> hyper::Result<Self> {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            .keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(10))
            .max_header_list_size(64 << 10);
        let (sender, connection) = builder.handshake(TokioIo::new(io)).await?;
        // Errors reach whoever waits for an answer.
        tokio::spawn(async move {
            let _ended = connection.await;
        });
        Ok(Self { sender, under_way: Arc::default(), born: Instant::now() })
    }

    /// Counts one request more until the result is dropped.
    pub(crate) fn begin(&self) -> Stay {
        self.under_way.fetch_add(1, Relaxed);
        Stay(self.under_way.clone())
    }

    pub(crate) async fn send(&mut self, request: Request<SendBody>) -> Result<Response<Incoming>, NoAnswer> {
        self.sender.try_send_request(request).await.map_err(NoAnswer::broken)
    }
}

/// One request's use of an HTTP/2 connection.
pub(crate) struct Stay(Arc<AtomicUsize>);

impl Drop for Stay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::stream::Stream;
    use std::io::{Read as _, Write as _};
    use std::sync::mpsc;

    /// A body that comes late, after an answer that has none: the kernel has it, and the runtime has not heard of it.
    #[tokio::test]
    async fn a_connection_with_a_body_behind_an_answer_without_one_is_not_used_again() {
        for (method, answer) in [
            (Method::HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n"),
            (Method::GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\n"),
            (Method::GET, "HTTP/1.1 204 No Content\r\n\r\n"),
        ] {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
            let socket = std::net::TcpStream::connect(listener.local_addr().expect("an address"));
            let socket = socket.expect("connected");
            let kernel = socket.try_clone().expect("a second handle");
            let (late, comes) = mpsc::channel::<()>();
            let server = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().expect("connected");
                let (mut asked, mut piece) = (Vec::new(), [0; 1024]);
                while !asked.ends_with(b"\r\n\r\n") {
                    let n = stream.read(&mut piece).expect("readable");
                    asked.extend_from_slice(&piece[..n]);
                }
                stream.write_all(answer.as_bytes()).expect("sent");
                comes.recv().expect("it is told");
                stream.write_all(b"poison").expect("sent");
                stream
            });
            socket.set_nonblocking(true).expect("an option");
            let socket = tokio::net::TcpStream::from_std(socket).expect("a socket");
            let (stream, probe) = ServerStream::new(Stream::Plain(socket));
            let mut one = One::new(stream, probe).await.expect("a connection");
            let request = Request::builder().method(method).uri("/").header("host", "a");
            let asked = one.send(request.body(SendBody::Empty).expect("a request")).await;
            let (head, _) = asked.map_err(NoAnswer::into_error).expect("an answer").into_parts();
            one.give_up_after(&head);
            let pool = Pool::new(1, Duration::from_secs(600), Duration::from_secs(600));
            pool.put_one(0, one);
            late.send(()).expect("it waits");
            let deadline = Instant::now() + Duration::from_secs(60);
            while kernel.peek(&mut [0]).is_err() {
                assert!(Instant::now() < deadline, "the body does not come");
                std::thread::yield_now();
            }
            let taken = poll_fn(|cx| Poll::Ready(pool.take_one(0, false, cx))).await;
            assert!(taken.is_none(), "{answer}");
            drop(server.join().expect("no panic"));
        }
    }
}
