//! Bodies on their way through: one piece at a time, with limits, in either direction. Nothing is collected.

use super::account::Account;
use super::forward;
use super::silence::Silence;
use super::stall;
use super::waits::Waits;
use crate::side::{Ended, Watcher};
use crate::upstream::pool::{One, Stay};
use axum::body::Body as AnyBody;
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::pin::Pin;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// Whatever went wrong with a body.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A watcher that both bodies of an exchange call.
#[derive(Clone)]
pub(crate) struct Watching(Arc<Mutex<Option<Box<dyn Watcher>>>>);

impl Watching {
    pub(crate) fn new(watcher: Box<dyn Watcher>) -> Self {
        Self(Arc::new(Mutex::new(Some(watcher))))
    }

    pub(crate) fn tell(&self, what: impl FnOnce(&mut dyn Watcher)) {
        // Both bodies are polled by the same task: never contended.
        if let Some(watcher) = self.0.lock().unwrap_or_else(PoisonError::into_inner).as_deref_mut() {
            what(watcher);
        }
    }

    pub(crate) fn end(&self, ended: Ended) {
        let watcher = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(watcher) = watcher {
            watcher.end(ended);
        }
    }

    /// The user went away first.
    pub(crate) fn leave(&self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// Why a client's body could not be sent on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum Fault {
    None,
    TooLarge,
    TooSlow,
    Broken,
}

/// What is known of a client's body while somebody else has it.
pub(crate) struct Progress {
    began: Instant,
    fault: AtomicU8,
    ended: OnceLock<Instant>,
    pieces: AtomicU64,
    /// Microseconds after `began` since which a piece is asked for that the client has not sent yet; 0 if none is.
    wanting: AtomicU64,
    /// Microseconds for which that was so before.
    waited: AtomicU64,
    /// The client waits to be asked for its body, and the server has not asked yet.
    held: AtomicBool,
    waker: AtomicWaker,
    /// The body was polled.
    asked: AtomicBool,
}

/// How far a client's body is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Sending {
    /// So many pieces were sent.
    Pieces(u64),
    /// All of it was sent, at this time.
    Ended(Instant),
}

impl Progress {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            fault: AtomicU8::new(0),
            ended: OnceLock::new(),
            pieces: AtomicU64::new(0),
            wanting: AtomicU64::new(0),
            waited: AtomicU64::new(0),
            held: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            asked: AtomicBool::new(false),
        }
    }

    pub(crate) fn fault(&self) -> Fault {
        match self.fault.load(Relaxed) {
            1 => Fault::TooLarge,
            2 => Fault::TooSlow,
            3 => Fault::Broken,
            _ => Fault::None,
        }
    }

    /// The body stays with the client until [`Progress::go_on`]. hyper asks for it (100) as soon as it is polled.
    pub(crate) fn hold(&self) {
        self.held.store(true, Release);
    }

    /// The server asked for the body.
    pub(crate) fn go_on(&self) {
        self.held.store(false, Release);
        self.waker.wake();
    }

    fn is_held(&self) -> bool {
        self.held.load(Acquire)
    }

    /// Whether the client was asked for the body.
    pub(crate) fn was_asked(&self) -> bool {
        self.asked.load(Relaxed)
    }

    /// Whether it is the client who is waited for, and not the side: that side has taken all that came.
    pub(crate) fn is_wanting(&self) -> bool {
        self.wanting.load(Relaxed) != 0 && self.ended.get().is_none()
    }

    /// For how long it was the client who was waited for.
    pub(crate) fn waited(&self) -> Duration {
        let waits = match self.wanting.load(Relaxed) {
            0 => 0,
            since => self.micros().saturating_sub(since),
        };
        Duration::from_micros(self.waited.load(Relaxed) + waits)
    }

    fn micros(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX).max(1)
    }

    fn wants(&self) {
        if self.wanting.load(Relaxed) == 0 {
            self.wanting.store(self.micros(), Relaxed);
        }
    }

    fn gets(&self) {
        let since = self.wanting.swap(0, Relaxed);
        if since != 0 {
            self.waited.fetch_add(self.micros().saturating_sub(since), Relaxed);
        }
    }

    pub(crate) fn state(&self) -> Sending {
        self.ended.get().map_or_else(|| Sending::Pieces(self.pieces.load(Relaxed)), |at| Sending::Ended(*at))
    }
}

/// A body on its way to a side.
pub(crate) enum SendBody {
    Empty,
    Client(Box<ClientBody>),
    Any(AnyBody),
}

/// A client's body.
pub(crate) struct ClientBody {
    incoming: Incoming,
    silence: Silence,
    /// Bytes that may still come.
    left: u64,
    progress: Arc<Progress>,
    watching: Option<Watching>,
    holding: Silence,
}

impl ClientBody {
    pub(crate) fn new(
        incoming: Incoming,
        idle: Duration,
        holding: Duration,
        bytes_max: Option<u64>,
        watching: Option<Watching>,
    ) -> (Box<Self>, Arc<Progress>) {
        let progress = Arc::new(Progress::new());
        let left = bytes_max.unwrap_or(u64::MAX);
        let silence = Silence::new(idle);
        let holding = Silence::new(holding);
        let body = Self { incoming, silence, left, progress: progress.clone(), watching, holding };
        (Box::new(body), progress)
    }

    fn fail(&self, fault: Fault, why: impl Into<BodyError>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.progress.fault.store(fault as u8, Relaxed);
        Poll::Ready(Some(Err(why.into())))
    }

    fn end(&self, trailers: Option<&http::HeaderMap>) {
        if self.progress.ended.set(Instant::now()).is_ok()
            && let Some(watching) = &self.watching
        {
            watching.tell(|watcher| watcher.request_end(trailers));
        }
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if this.progress.is_held() {
            this.progress.waker.register(cx.waker());
            // Many servers never ask: then the gateway does.
            if this.progress.is_held() {
                ready!(this.holding.poll(cx));
                this.progress.go_on();
            }
        }
        this.progress.asked.store(true, Relaxed);
        let Poll::Ready(polled) = Pin::new(&mut this.incoming).poll_frame(cx) else {
            this.progress.wants();
            ready!(this.silence.poll(cx));
            return this.fail(Fault::TooSlow, "the client sends nothing any more");
        };
        this.progress.gets();
        this.silence.end();
        let frame = match polled {
            None => {
                this.end(None);
                return Poll::Ready(None);
            }
            Some(Err(error)) => return this.fail(Fault::Broken, error),
            Some(Ok(frame)) => clean(frame),
        };
        this.progress.pieces.fetch_add(1, Relaxed);
        if let Some(data) = frame.data_ref() {
            let Some(left) = this.left.checked_sub(data.len() as u64) else {
                return this.fail(Fault::TooLarge, "the body is longer than it may be");
            };
            this.left = left;
            if let Some(watching) = &this.watching {
                watching.tell(|watcher| watcher.request_data(data));
            }
            if this.incoming.is_end_stream() {
                this.end(None);
            }
        } else if let Some(trailers) = frame.trailers_ref() {
            this.end(Some(trailers));
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// Trailers without what has no business there.
fn clean(frame: Frame<Bytes>) -> Frame<Bytes> {
    if !frame.is_trailers() {
        return frame;
    }
    match frame.into_trailers() {
        Ok(mut trailers) => {
            forward::clean_trailers(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}

impl Body for SendBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Client(body) => Pin::new(&mut **body).poll_frame(cx),
            Self::Any(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Client(body) => body.is_end_stream(),
            Self::Any(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Client(body) => body.size_hint(),
            Self::Any(body) => body.size_hint(),
        }
    }
}

/// Where an answer's body comes from.
pub(crate) enum Source {
    /// The gateway itself.
    Whole(Option<Bytes>),
    /// An HTTP/1.1 connection, which has to be driven, and goes back to its pool.
    One(Incoming, Option<Box<One>>),
    /// An HTTP/2 connection.
    Two(Incoming, #[expect(dead_code, reason = "held while the body comes")] Stay),
    /// This process.
    Any(AnyBody),
}

const LATE: &str = "the whole exchange took longer than it may";

/// A body on its way to a client.
pub(crate) struct AnswerBody {
    source: Source,
    silence: Silence,
    /// What is settled when the answer is complete.
    account: Option<Box<Account>>,
    /// The last frame was given.
    ended: bool,
    /// It breaks off at the next poll.
    failed: Option<BodyError>,
}

impl AnswerBody {
    /// A body that is there already.
    pub(crate) fn whole(bytes: Bytes) -> Self {
        let bytes = (!bytes.is_empty()).then_some(bytes);
        Self {
            source: Source::Whole(bytes),
            silence: Silence::new(Duration::from_secs(60)),
            account: None,
            ended: false,
            failed: None,
        }
    }

    /// A body that is on its way.
    pub(crate) fn new(source: Source, idle: Duration, account: Box<Account>) -> Self {
        let mut body =
            Self { source, silence: Silence::new(idle), account: Some(account), ended: false, failed: None };
        if body.is_end_stream() {
            body.complete();
        }
        body
    }

    /// Settles the account of an answer that the gateway itself gives.
    pub(crate) fn with_account(mut self, account: Box<Account>) -> Self {
        self.account = Some(account);
        self
    }

    /// The answer is one to HEAD: of a body that is there already, or that this process would give, only the length is told.
    pub(crate) fn withhold(&mut self) -> Option<u64> {
        let length = match &self.source {
            Source::Whole(bytes) => bytes.as_ref().map(|bytes| bytes.len() as u64),
            Source::Any(body) if !body.is_end_stream() => body.size_hint().exact(),
            Source::Any(_) | Source::One(..) | Source::Two(..) => return None,
        };
        self.source = Source::Whole(None);
        self.complete();
        length
    }

    fn complete(&mut self) {
        self.ended = true;
        let Some(account) = self.account.take() else { return };
        if let Source::One(_, one) = &mut self.source
            && let Some(one) = one.take()
        {
            account.keep(*one);
        }
        account.settle(Ended::Whole);
    }

    /// Breaks off: at the next poll, so that what came before is flushed first. `is_clients`: the side did what it could.
    fn fail(
        &mut self,
        cx: &mut Context<'_>,
        why: BodyError,
        is_clients: impl FnOnce(&Waits) -> bool,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.break_off(cx, why, |account| match is_clients(&account.waits) {
            true => account.give_up(),
            false => account.settle(Ended::Failed),
        })
    }

    fn break_off(
        &mut self,
        cx: &mut Context<'_>,
        why: BodyError,
        settle: impl FnOnce(Box<Account>),
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Source::One(_, one) = &mut self.source {
            drop(one.take());
        }
        if let Some(account) = self.account.take() {
            tracing::debug!(route = account.route_name(), error = %why, "an answer broke off");
            settle(account);
        }
        self.failed = Some(why);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Source {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::One(incoming, one) => {
                if let Poll::Ready(frame) = Pin::new(&mut *incoming).poll_frame(cx) {
                    return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
                }
                if let Some(one) = one {
                    one.drive(cx);
                }
                Pin::new(incoming).poll_frame(cx).map_err(Into::into)
            }
            Self::Two(incoming, _) => Pin::new(incoming).poll_frame(cx).map_err(Into::into),
            Self::Any(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::One(incoming, _) | Self::Two(incoming, _) => incoming.is_end_stream(),
            Self::Any(body) => body.is_end_stream(),
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        stall::taken();
        if this.ended {
            return Poll::Ready(None);
        }
        if let Some(why) = this.failed.take() {
            this.ended = true;
            return Poll::Ready(Some(Err(why)));
        }
        let is_late = match &mut this.account {
            None => false,
            Some(account) => {
                account.waits.taken();
                account.poll_late(cx).is_ready()
            }
        };
        let polled = match this.source.poll(cx) {
            Poll::Ready(Some(Ok(frame)))
                if is_late && !frame.is_trailers() && !this.source.is_end_stream() =>
            {
                return this.fail(cx, LATE.into(), Waits::is_late_by_client);
            }
            // What is the end of it is late by nothing.
            Poll::Ready(polled) => polled,
            Poll::Pending if is_late => return this.fail(cx, LATE.into(), Waits::is_late_by_client),
            Poll::Pending => {
                ready!(this.silence.poll(cx));
                let why = "the side that answers sends nothing any more".into();
                return this.fail(cx, why, Waits::for_client);
            }
        };
        this.silence.end();
        match polled {
            None => {
                this.complete();
                Poll::Ready(None)
            }
            Some(Err(error)) => this.fail(cx, error, Waits::is_tiring),
            Some(Ok(frame)) => {
                let frame = clean(frame);
                if let (Some(data), Some(account)) = (frame.data_ref(), &mut this.account) {
                    account.count(data);
                }
                // hyper does not ask again after trailers, or the last byte of a known length.
                if frame.is_trailers() || this.source.is_end_stream() {
                    this.complete();
                }
                if let Some(account) = &mut this.account {
                    account.waits.given();
                }
                stall::given(this.silence.limit());
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended || (self.failed.is_none() && self.source.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Source::One(incoming, _) | Source::Two(incoming, _) => incoming.size_hint(),
            Source::Any(body) => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests;
