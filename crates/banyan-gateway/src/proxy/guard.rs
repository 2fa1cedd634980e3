//! Stands between a client's socket and hyper: lets only messages through that [`strict`](super::strict) passes, ends
//! silence and slowness, and takes leave of a client that is still sending.
//!
//! hyper never sees a head that is not whole and good. In place of a bad one it gets a head that stands for it, and the
//! service behind hyper answers with what was wrong ([`Shared::flaw_of`]).

use super::silence::{Silence, Watchdog};
use super::stream::{Stream, poll_write_gathered};
use super::strict::{Flaw, HeadLimits, Scanner, Verdict};
use futures_util::task::AtomicWaker;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// What hyper gets in place of a bad head.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";
/// Most bytes that are read from a client that was refused, so that it can read the answer.
const LINGER_BYTES_MAX: usize = 512 << 10;
/// Longest time for that.
const LINGER_TIME_MAX: Duration = Duration::from_secs(2);

/// What the guard and the service of one connection tell each other.
#[derive(Default)]
pub(crate) struct Shared {
    /// Number of a [`Flaw`] in a head, and which head of the connection it is.
    flaw: AtomicU8,
    flaw_at: AtomicU64,
    /// Number of a [`Flaw`] in a body.
    body_flaw: AtomicU8,
    /// After a request that asked for another protocol: undecided, no, yes.
    decision: AtomicU8,
    waker: AtomicWaker,
}

impl Shared {
    /// Why the connection's request number `at` (from 0) is refused, if it is.
    pub(crate) fn flaw_of(&self, at: u64) -> Option<Flaw> {
        let flaw = Flaw::from_number(self.flaw.load(Ordering::Acquire))?;
        (self.flaw_at.load(Ordering::Acquire) == at).then_some(flaw)
    }

    /// What is wrong with the body under way.
    pub(crate) fn body_flaw(&self) -> Option<Flaw> {
        Flaw::from_number(self.body_flaw.load(Ordering::Acquire))
    }

    /// Says whether another protocol follows the request under way. Nothing is read from the client before.
    pub(crate) fn decide(&self, tunnel: bool) {
        self.decision.store(if tunnel { 2 } else { 1 }, Ordering::Release);
        self.waker.wake();
    }
}

/// Limits of time on a client's connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub head: Duration,
    pub keep_alive: Duration,
    pub idle: Duration,
}

/// A client's connection.
pub(crate) struct Guard {
    io: Stream,
    scanner: Scanner,
    /// Judged and not yet taken by hyper.
    ready: Vec<u8>,
    taken: usize,
    /// Read and not yet judged: the start of a head, or bytes behind a request for another protocol.
    held: Vec<u8>,
    shared: Arc<Shared>,
    patience: Patience,
    refused: bool,
    /// A body is broken: reading fails from here on.
    broken: Option<Flaw>,
    waiting_since: Option<Instant>,
    first: bool,
    dog: Watchdog,
    writing: Silence,
    linger: Option<(Pin<Box<Sleep>>, usize)>,
}

impl Guard {
    /// For HTTP/1; `start` was read already.
    pub(crate) fn one(
        io: Stream,
        start: Vec<u8>,
        limits: HeadLimits,
        patience: Patience,
        shared: Arc<Shared>,
    ) -> Self {
        let mut guard = Self::new(io, limits, patience, shared);
        guard.held = start;
        guard.judge();
        guard
    }

    /// For HTTP/2, which hyper judges itself.
    pub(crate) fn two(io: Stream, start: Vec<u8>, limits: HeadLimits, patience: Patience) -> Self {
        let mut guard = Self::new(io, limits, patience, Arc::default());
        guard.scanner.decide(true);
        guard.ready = start;
        guard
    }

    fn new(io: Stream, limits: HeadLimits, patience: Patience, shared: Arc<Shared>) -> Self {
        Self {
            io,
            scanner: Scanner::new(limits),
            ready: Vec::new(),
            taken: 0,
            held: Vec::new(),
            shared,
            patience,
            refused: false,
            broken: None,
            waiting_since: None,
            first: true,
            dog: Watchdog::default(),
            writing: Silence::new(patience.idle),
            linger: None,
        }
    }

    /// Judges what is held; moves what may pass to `ready`.
    fn judge(&mut self) {
        let (passed, flaw) = match self.scanner.scan(&self.held) {
            Verdict::All => (self.held.len(), None),
            Verdict::Partial(n) | Verdict::Hold(n) => (n, None),
            Verdict::BadHead(n, flaw) => (n, Some(flaw)),
            Verdict::BadBody(n, flaw) => {
                self.held.truncate(n);
                self.bad_body(flaw);
                (n, None)
            }
        };
        let rest = self.held.split_off(passed);
        let passed = std::mem::replace(&mut self.held, rest);
        if !passed.is_empty() {
            (self.ready, self.taken) = (passed, 0);
            self.waiting_since = None;
        }
        if let Some(flaw) = flaw {
            self.refuse(flaw);
        }
    }

    /// hyper gets what came before, and then an error.
    fn bad_body(&mut self, flaw: Flaw) {
        self.broken = Some(flaw);
        self.shared.body_flaw.store(flaw as u8, Ordering::Release);
    }

    /// Nothing more is read as HTTP; hyper gets a head that stands for the bad one.
    fn refuse(&mut self, flaw: Flaw) {
        self.refused = true;
        self.held = Vec::new();
        self.shared.flaw_at.store(self.scanner.heads, Ordering::Release);
        self.shared.flaw.store(flaw as u8, Ordering::Release);
        self.ready.extend_from_slice(STAND_IN);
    }

    /// Nothing came. Ready when the client's time is up: true if it was in a head.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if !self.scanner.is_in_head() {
            return Poll::Pending;
        }
        let in_head = !self.held.is_empty();
        let limit = if in_head || self.first { self.patience.head } else { self.patience.keep_alive };
        let deadline = *self.waiting_since.get_or_insert_with(Instant::now) + limit;
        self.dog.poll(cx, deadline).map(|()| in_head)
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.held.is_empty() {
            ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
            let new = &buf.filled()[before..];
            if new.is_empty() {
                return Poll::Ready(Ok(()));
            }
            match self.scanner.scan(new) {
                Verdict::All => {}
                Verdict::Partial(n) | Verdict::Hold(n) => {
                    self.held.extend_from_slice(&new[n..]);
                    buf.set_filled(before + n);
                    // The wait for the rest of this head begins now.
                    self.waiting_since = None;
                }
                Verdict::BadHead(n, flaw) => {
                    buf.set_filled(before + n);
                    self.refuse(flaw);
                }
                Verdict::BadBody(n, flaw) => {
                    buf.set_filled(before + n);
                    self.bad_body(flaw);
                }
            }
            if buf.filled().len() > before {
                self.waiting_since = None;
            }
            return Poll::Ready(Ok(()));
        }
        let mut space = [0; 4 << 10];
        let mut more = ReadBuf::new(&mut space);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut more))?;
        if more.filled().is_empty() {
            // The client left in the middle of a head: nobody is asked for anything.
            self.held.clear();
            self.refused = true;
            return Poll::Ready(Ok(()));
        }
        self.held.extend_from_slice(more.filled());
        self.judge();
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Guard {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.taken < this.ready.len() {
                let rest = &this.ready[this.taken..];
                let n = rest.len().min(buf.remaining());
                buf.put_slice(&rest[..n]);
                this.taken += n;
                if this.taken == this.ready.len() {
                    (this.ready, this.taken) = (Vec::new(), 0);
                }
                this.first = false;
                return Poll::Ready(Ok(()));
            }
            if let Some(flaw) = this.broken {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, flaw.detail())));
            }
            if this.refused {
                // hyper answers what it got and closes.
                return Poll::Pending;
            }
            if this.scanner.is_undecided() {
                this.shared.waker.register(cx.waker());
                match this.shared.decision.swap(0, Ordering::AcqRel) {
                    0 => return Poll::Pending,
                    decision => this.scanner.decide(decision == 2),
                }
                this.judge();
                continue;
            }
            let before = buf.filled().len();
            match this.poll_fill(cx, buf) {
                Poll::Ready(Ok(())) => {
                    if buf.filled().len() > before {
                        this.first = false;
                        return Poll::Ready(Ok(()));
                    }
                    if this.taken < this.ready.len() || !this.held.is_empty() || this.broken.is_some() {
                        continue;
                    }
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => match ready!(this.poll_patience(cx)) {
                    true => this.refuse(Flaw::HeadTooSlow),
                    false => return Poll::Ready(Ok(())),
                },
            }
        }
    }
}

impl Guard {
    /// A write that waits for the client, but not for ever.
    fn poll_written<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match written {
            Poll::Ready(result) => {
                self.writing.end();
                Poll::Ready(result)
            }
            Poll::Pending => self
                .writing
                .poll(cx)
                .map(|()| Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing any more"))),
        }
    }
}

impl AsyncWrite for Guard {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write(cx, buf);
        this.poll_written(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = poll_write_gathered(&mut this.io, cx, bufs);
        this.poll_written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.io).poll_flush(cx);
        this.poll_written(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
            // Closing a socket with unread bytes resets the connection, and the client may never see the answer.
            if !this.refused && this.broken.is_none() && this.scanner.is_clear() {
                return Poll::Ready(Ok(()));
            }
        }
        let start = || (Box::pin(sleep_until(Instant::now() + LINGER_TIME_MAX)), 0);
        let (timer, seen) = this.linger.get_or_insert_with(start);
        let mut space = [0; 8 << 10];
        while *seen < LINGER_BYTES_MAX {
            if timer.as_mut().poll(cx).is_ready() {
                break;
            }
            let mut buf = ReadBuf::new(&mut space);
            match ready!(Pin::new(&mut this.io).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => *seen += buf.filled().len(),
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
