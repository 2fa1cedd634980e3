//! Asks a server of an upstream: room, a connection, the request, the head of the answer. And asks again, but only where
//! nothing can happen twice.
//!
//! A request is sent again (once) only if
//! - it was never written to the connection, or
//! - it has no body, its method is idempotent or it carries an `Idempotency-Key`, and not a byte of an answer came.

use super::body::{Progress, SendBody, Sending, Source};
use super::forward;
use super::problem::Problem;
use super::silence::Watchdog;
use super::waits::Waits;
use super::websocket::Wanted;
use super::worker::Worker;
use crate::config::HttpVersion;
use crate::limits::TRIES_MAX;
use crate::upstream::connect::{Connected, connect};
use crate::upstream::pool::{NoAnswer, One, Two};
use crate::upstream::{Lease, NoServer, Room, Upstream};
use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode, Uri, Version, request, response};
use http_body::Body as _;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::time::Sleep;

/// How a request is to be asked.
pub(crate) struct Plan<'a> {
    pub worker: &'a Arc<Worker>,
    pub upstream: &'a Arc<Upstream>,
    pub host: &'a HeaderValue,
    pub upgrade: Option<&'a HeaderValue>,
    /// It is a WebSocket over HTTP/2.
    pub socket: Option<&'a Wanted>,
    pub trailers: bool,
    pub first_byte: Duration,
    pub progress: Option<&'a Arc<Progress>>,
    /// Who keeps whom waiting.
    pub waits: Option<&'a Waits>,
    /// The client waits to be asked for its body.
    pub expects: bool,
    pub late: Option<&'a mut Pin<Box<Sleep>>>,
    /// For a user, and not for a shadow: may wait for room, be sent again, try a server that failed, and moves the breaker.
    pub user: bool,
}

/// What came of it.
pub(crate) struct Asked {
    pub head: response::Parts,
    pub source: Source,
    pub lease: Option<Lease>,
    pub room: Option<Room>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// As many requests as there may be are under way and wait.
    Full,
    /// Every server's breaker is open.
    Open(Duration),
    /// No connection.
    Connect(io::Error),
    /// No connection, because this process or machine has nothing left to make one of.
    Exhausted(io::Error),
    /// The answer is one that nobody asked for, and cannot be passed on.
    Unasked(&'static str),
    /// The connection or the answer broke.
    Broken(hyper::Error),
    /// The head of the answer, or informational answers before it, have no end.
    Endless,
    /// No head of an answer in time.
    TooSlow,
    /// The whole exchange took too long.
    Late,
    /// There is no Banyan in this process.
    NoProcess,
    /// Banyan in this process panicked.
    Panicked,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the upstream is full"),
            Self::Open(_) => f.write_str("every server of the upstream failed too often"),
            Self::Connect(error) => write!(f, "connecting: {error}"),
            Self::Exhausted(error) => write!(f, "connecting, out of what this machine has for it: {error}"),
            Self::Unasked(why) => f.write_str(why),
            Self::Broken(error) => write!(f, "{error}"),
            Self::Endless => f.write_str("the head of the answer has no end"),
            Self::TooSlow => f.write_str("no answer in time"),
            Self::Late => f.write_str("the whole exchange took too long"),
            Self::NoProcess => f.write_str("there is no Banyan in this process"),
            Self::Panicked => f.write_str("Banyan in this process panicked"),
        }
    }
}

impl Trouble {
    /// Whether the side is to blame, and not the gateway or who else fills the side.
    pub(crate) fn is_of_side(&self) -> bool {
        !matches!(self, Self::Full | Self::Exhausted(_))
    }

    /// What the client is told. Not more: addresses and errors of servers are for the log.
    pub(crate) fn problem(&self) -> Problem {
        let gateway = |status, slug, detail: &str| Problem::new(status, slug, detail);
        match self {
            Self::Full => Problem::busy(
                "The server has as many requests as it takes: try again.",
                Duration::from_secs(1),
            ),
            Self::Open(wait) => {
                Problem::busy("The server fails, and is left alone for a while: try again.", *wait)
            }
            Self::Exhausted(_) => {
                let wait = Duration::from_secs(crate::limits::RETRY_AFTER_SECONDS);
                Problem::busy(
                    "The gateway can open no more connections now. Nothing was sent: try again.",
                    wait,
                )
            }
            Self::Unasked(why) => gateway(StatusCode::BAD_GATEWAY, "gateway-unreachable", why),
            Self::Connect(_) => {
                let detail = "The server cannot be reached. Nothing was sent to it.";
                gateway(StatusCode::BAD_GATEWAY, "gateway-unreachable", detail)
            }
            Self::Broken(_) | Self::Endless | Self::Panicked => {
                let detail = "The server broke the connection or gave an answer that is no HTTP. Whether it did what was asked is unknown.";
                gateway(StatusCode::BAD_GATEWAY, "gateway-unreachable", detail)
            }
            Self::TooSlow | Self::Late => {
                let detail = "The server did not answer in time. Whether it did what was asked is unknown.";
                gateway(StatusCode::GATEWAY_TIMEOUT, "gateway-timeout", detail)
            }
            Self::NoProcess => {
                let detail = "This gateway runs without Banyan in its process.";
                gateway(StatusCode::BAD_GATEWAY, "gateway-unreachable", detail)
            }
        }
    }
}

/// Waits for the head of an answer: `limit` after the last piece of the request's body went out.
pub(crate) async fn in_time<T>(
    answer: impl Future<Output = T>,
    limit: Duration,
    progress: Option<&Progress>,
    dog: &mut Watchdog,
) -> Result<T, Trouble> {
    let mut answer = pin!(answer);
    let mut deadline = Instant::now() + limit;
    let mut seen = None;
    poll_fn(|cx| {
        if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
            return Poll::Ready(Ok(answer));
        }
        loop {
            std::task::ready!(dog.poll(cx, deadline.into()));
            let now = Instant::now();
            match progress.map(Progress::state) {
                // While a body goes out there is time, for each piece anew.
                Some(Sending::Pieces(pieces)) if seen != Some(pieces) => {
                    seen = Some(pieces);
                    deadline = now + limit;
                }
                Some(Sending::Ended(at)) if at + limit > now => deadline = at + limit,
                // The client has not sent the next piece: how long that may last is for the body to say.
                Some(Sending::Pieces(_)) if progress.is_some_and(Progress::is_wanting) => {
                    deadline = now + limit;
                }
                _ => return Poll::Ready(Err(Trouble::TooSlow)),
            }
        }
    })
    .await
}

/// Asks. See the top of this file for when it asks twice.
pub(crate) async fn ask(mut plan: Plan<'_>, head: request::Parts, body: SendBody) -> Result<Asked, Trouble> {
    // Of the server that is asked: it is told what came of it, also if that is that the time was over.
    let mut asking = None;
    let Some(late) = plan.late.take() else { return ask_at_leisure(&plan, head, body, &mut asking).await };
    if let Ok(asked) = by_then(late, ask_at_leisure(&plan, head, body, &mut asking)).await {
        return asked;
    }
    let is_clients = plan.waits.is_some_and(Waits::is_late_by_client);
    if let Some(lease) = asking.as_mut().filter(|_| plan.user && !is_clients) {
        lease.bad(Instant::now());
    }
    Err(Trouble::Late)
}

/// Waits until the time of the whole exchange is over. What comes in the same moment is there.
pub(crate) async fn by_then<T>(
    late: &mut Pin<Box<Sleep>>,
    asked: impl Future<Output = T>,
) -> Result<T, Trouble> {
    tokio::select! {
        biased;
        asked = asked => Ok(asked),
        () = late.as_mut() => Err(Trouble::Late),
    }
}

async fn ask_at_leisure(
    plan: &Plan<'_>,
    mut head: request::Parts,
    mut body: SendBody,
    asking: &mut Option<Lease>,
) -> Result<Asked, Trouble> {
    let room = match plan.user {
        true => plan.upstream.room().await,
        false => plan.upstream.spare_room(),
    };
    let room = room.map_err(no_server)?;
    let idempotent = head.method.is_idempotent() || head.headers.contains_key(forward::IDEMPOTENCY_KEY);
    let repeatable = plan.user && idempotent && plan.upgrade.is_none() && matches!(body, SendBody::Empty);
    let mut tries = 0;
    loop {
        tries += 1;
        // One that tried is let go first, or this one would find the breaker taken by itself.
        drop(asking.take());
        let lease = asking.insert(plan.upstream.choose(Instant::now(), plan.user).map_err(no_server)?);
        let again = plan.user && tries < TRIES_MAX;
        let taken = take(plan, lease, tries == 1, !repeatable).await;
        let (connection, is_new) = match taken {
            Ok(taken) => taken,
            Err(error) if is_ours(&error) => {
                tracing::warn!(upstream = plan.upstream.name(), %error, "connecting: raise this process's limits (see `docs/gateway.md`, Limits)");
                return Err(Trouble::Exhausted(error));
            }
            Err(error) => {
                tracing::debug!(upstream = plan.upstream.name(), server = %lease.server.address.authority, %error, "connecting");
                if plan.user {
                    lease.bad(Instant::now());
                }
                if again && plan.upstream.servers().len() > 1 {
                    continue;
                }
                return Err(Trouble::Connect(error));
            }
        };
        let copy = (repeatable && again).then(|| head.clone());
        let request = build(plan, lease, &connection, head, body);
        let failure = match send(plan, connection, request).await {
            Ok((response, source)) => {
                let (head, ()) = response.into_parts();
                if let Some(flaw) = flaw_of(&head, plan.upgrade, plan.socket) {
                    if plan.user {
                        lease.bad(Instant::now());
                    }
                    return Err(Trouble::Unasked(flaw));
                }
                match head.status.as_u16() {
                    502..=504 if plan.user => lease.bad(Instant::now()),
                    502..=504 => {}
                    _ if plan.user => lease.good(),
                    _ => lease.answered_copy(),
                }
                return Ok(Asked { head, source, lease: asking.take(), room: Some(room) });
            }
            Err(failure) => failure,
        };
        // A server may also tire of a client that stopped in the middle of its body, and break the connection off.
        let is_to_blame = plan.user && !plan.waits.is_some_and(Waits::for_client);
        if is_to_blame && is_new {
            lease.bad(Instant::now());
        }
        let Failure { trouble, unsent, heard } = failure;
        let retried = match (unsent, copy) {
            _ if !again => None,
            // Never written: as if it had not been tried.
            (Some(request), _) => Some(request.into_parts()),
            (None, Some(head)) if !heard && matches!(trouble, Trouble::Broken(_)) => {
                Some((head, SendBody::Empty))
            }
            _ => None,
        };
        let Some(retried) = retried else {
            if is_to_blame && !is_new {
                lease.bad(Instant::now());
            }
            return Err(trouble);
        };
        (head, body) = retried;
        plan.worker.metrics().retries.fetch_add(1, Relaxed);
    }
}

const NO_SOCKET: &str = "The server was asked for a WebSocket and gave something else.";
/// Another protocol.
pub(crate) const NOT_ASKED: &str = "The server switched to a protocol that nobody asked it for.";

/// Why an answer cannot be passed on, if it cannot: looked at before it counts as one.
pub(crate) fn flaw_of(
    head: &response::Parts,
    upgrade: Option<&HeaderValue>,
    socket: Option<&Wanted>,
) -> Option<&'static str> {
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        let got = head.headers.get(header::UPGRADE).map(HeaderValue::as_bytes);
        let is_asked =
            upgrade.is_some_and(|wanted| got.is_some_and(|got| got.eq_ignore_ascii_case(wanted.as_bytes())));
        return match socket {
            _ if !is_asked => Some(NOT_ASKED),
            Some(wanted) if !wanted.is_answered_by(&head.headers) => Some(NO_SOCKET),
            _ => None,
        };
    }
    if socket.is_some() && head.status.is_success() {
        // To the client of an extended CONNECT this would be an open WebSocket.
        return Some(NO_SOCKET);
    }
    (head.headers.contains_key(header::TRANSFER_ENCODING) && forward::is_coded(&head.headers))
        .then_some("The server encoded its answer for transfer in a way that nobody asked it for.")
}

/// Whether there is no connection because this process or machine has nothing left to make one of: descriptors, ports or
/// memory. No server is to blame for that.
fn is_ours(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let ours = [Errno::MFILE, Errno::NFILE, Errno::ADDRNOTAVAIL, Errno::NOBUFS, Errno::NOMEM];
    error.raw_os_error().is_some_and(|code| ours.iter().any(|errno| errno.raw_os_error() == code))
}

fn no_server(why: NoServer) -> Trouble {
    match why {
        NoServer::Full => Trouble::Full,
        NoServer::Open(wait) => Trouble::Open(wait),
    }
}

enum Connection {
    One(Box<One>),
    Two(Two),
}

/// A connection, and whether it is new. The second try always takes a new one.
async fn take(plan: &Plan<'_>, lease: &Lease, pooled: bool, sure: bool) -> io::Result<(Connection, bool)> {
    let worker = plan.worker;
    let (server, upstream) = (&lease.server, plan.upstream);
    let http = upstream.spec().http;
    if pooled {
        let may_be_two = http == HttpVersion::Two || (http == HttpVersion::Auto && server.address.is_tls());
        if may_be_two
            && plan.upgrade.is_none()
            && let Some(two) = server.pool.take_two(worker.index)
        {
            return Ok((Connection::Two(two), false));
        }
        if http != HttpVersion::Two
            && let Some(one) = poll_fn(|cx| Poll::Ready(server.pool.take_one(worker.index, sure, cx))).await
        {
            return Ok((Connection::One(Box::new(one)), false));
        }
    }
    let limit = Duration::from_millis(worker.inner.config.timeouts.connect_millis);
    worker.metrics().upstream_connects.fetch_add(1, Relaxed);
    match connect(upstream, server, &worker.inner.client_tls, limit, plan.upgrade.is_some()).await? {
        Connected::One(one) => Ok((Connection::One(Box::new(one)), true)),
        Connected::Two(two) => {
            server.pool.put_two(worker.index, two.clone());
            Ok((Connection::Two(two), true))
        }
    }
}

/// The request as this connection wants it.
fn build(
    plan: &Plan<'_>,
    lease: &Lease,
    connection: &Connection,
    mut head: request::Parts,
    body: SendBody,
) -> Request<SendBody> {
    let own_host = plan.upstream.spec().own_host || plan.host.is_empty();
    let host = if own_host { &lease.server.host } else { plan.host };
    match connection {
        Connection::One(_) => {
            head.version = Version::HTTP_11;
            head.headers.insert(header::HOST, host.clone());
            if head.uri.authority().is_some() {
                head.uri = head.uri.path_and_query().cloned().map(Uri::from).unwrap_or_default();
            }
            if plan.upgrade.is_none()
                && !body.is_end_stream()
                && body.size_hint().exact().is_none()
                && !head.headers.contains_key(header::CONTENT_LENGTH)
            {
                // hyper sends nothing of a GET's or HEAD's body whose length is not known, unless it is told to.
                head.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
            if let Some(protocol) = plan.upgrade {
                head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
                head.headers.insert(header::UPGRADE, protocol.clone());
            } else if plan.trailers {
                head.headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
                head.headers.insert(header::TE, HeaderValue::from_static("trailers"));
            }
        }
        Connection::Two(_) => {
            head.version = Version::HTTP_2;
            head.headers.remove(header::HOST);
            head.headers.remove(header::CONNECTION);
            // Of a try over HTTP/1.1 that was never written.
            head.headers.remove(header::TRANSFER_ENCODING);
            if plan.trailers {
                head.headers.insert(header::TE, HeaderValue::from_static("trailers"));
            }
            let mut uri = std::mem::take(&mut head.uri).into_parts();
            uri.scheme = Some(lease.server.address.scheme.clone());
            uri.authority = host.to_str().ok().and_then(|host| host.parse().ok());
            uri.authority = uri.authority.or_else(|| Some(lease.server.address.authority.clone()));
            head.uri = Uri::from_parts(uri).unwrap_or_default();
        }
    }
    head.extensions.clear();
    let progress = plan.progress.filter(|_| plan.expects);
    let Some(progress) = progress else { return Request::from_parts(head, body) };
    if matches!(connection, Connection::Two(_)) {
        // hyper does not tell of informational answers over HTTP/2: the client is asked at once.
        head.headers.remove(header::EXPECT);
        progress.go_on();
        return Request::from_parts(head, body);
    }
    head.headers.insert(header::EXPECT, HeaderValue::from_static("100-continue"));
    progress.hold();
    let mut request = Request::from_parts(head, body);
    let progress = progress.clone();
    hyper::ext::on_informational(&mut request, move |answer| {
        if answer.status() == StatusCode::CONTINUE {
            progress.go_on();
        }
    });
    request
}

struct Failure {
    trouble: Trouble,
    /// The request, if it was never written.
    unsent: Option<Request<SendBody>>,
    /// Bytes of an answer came.
    heard: bool,
}

impl Failure {
    fn from(failed: NoAnswer, heard: bool) -> Self {
        match failed {
            NoAnswer::Broken(mut failed) => {
                let unsent = failed.take_message();
                Self { trouble: Trouble::Broken(failed.into_error()), unsent, heard }
            }
            NoAnswer::Endless => Self { trouble: Trouble::Endless, unsent: None, heard: true },
        }
    }
}

async fn send(
    plan: &Plan<'_>,
    connection: Connection,
    request: Request<SendBody>,
) -> Result<(Response<()>, Source), Failure> {
    let slow = |trouble| Failure { trouble, unsent: None, heard: false };
    let progress = plan.progress.map(Arc::as_ref);
    match connection {
        Connection::One(mut one) => {
            let mut dog = one.take_watchdog();
            let answer =
                in_time(one.send(request), plan.first_byte, progress, &mut dog).await.map_err(slow)?;
            one.put_watchdog(dog);
            match answer {
                Ok(response) => {
                    let (head, body) = response.into_parts();
                    one.give_up_after(&head);
                    Ok((Response::from_parts(head, ()), Source::One(body, Some(one))))
                }
                Err(failed) => Err(Failure::from(failed, one.was_heard())),
            }
        }
        Connection::Two(mut two) => {
            let stay = two.begin();
            let mut dog = Watchdog::default();
            match in_time(two.send(request), plan.first_byte, progress, &mut dog).await.map_err(slow)? {
                Ok(response) => {
                    let (head, body) = response.into_parts();
                    Ok((Response::from_parts(head, ()), Source::Two(body, stay)))
                }
                // A head would have been the answer: nothing of one came on this stream.
                Err(failed) => Err(Failure::from(failed, false)),
            }
        }
    }
}
