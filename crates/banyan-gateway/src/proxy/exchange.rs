//! One request, end to end: judged, routed, sent to a side, answered.

use super::account::{Account, Crowded, Line};
use super::ask::{self, Asked, Trouble};
use super::body::{AnswerBody, ClientBody, Fault, Progress, SendBody, Sending, Source, Watching};
use super::client::Client;
use super::forward;
use super::host;
use super::problem::Problem;
use super::silence::Watchdog;
use super::trace::{TRACESTATE, Trace};
use super::tunnel;
use super::websocket::{self, Wanted};
use crate::limits::PASSES_MAX;
use crate::path::Matchable;
use crate::side::{Choice, Ended};
use crate::table::{Route, Target};
use futures_util::FutureExt as _;
use http::header::{self, HeaderName, HeaderValue};
use http::uri::{PathAndQuery, Scheme};
use http::{Method, Request, Response, StatusCode, Uri, Version, request};
use http_body::Body as _;
use hyper::body::Incoming;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tower::ServiceExt as _;

const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// A request on its way: what is needed after its head was taken apart.
struct Way {
    route: Arc<Route>,
    choice: Choice,
    host: HeaderValue,
    upgrade: Option<HeaderValue>,
    /// It is a WebSocket over HTTP/2.
    socket: Option<Wanted>,
    id: HeaderValue,
    trace: Trace,
    /// Who asks, as far as trusted proxies can tell.
    asked_from: Option<IpAddr>,
    /// The client waits to be asked for its body.
    expects: bool,
}

/// Answers one request. Never fails: what goes wrong is an answer too.
pub(crate) async fn answer(client: Arc<Client>, mut request: Request<Incoming>) -> Response<AnswerBody> {
    let began = Instant::now();
    let at = client.begun.fetch_add(1, Relaxed);
    let asks_upgrade =
        request.version() == Version::HTTP_11 && request.headers().contains_key(header::UPGRADE);
    let shared = client.shared.clone();
    let socket = websocket::translate(&mut request, || client.worker.unique_bytes());
    let opened = Account::open(&client, began);
    let Ok(mut account) = opened else {
        let detail = match opened.err() {
            Some(Crowded::Peer) => {
                "As many requests as one client may have are under way from this address: try again."
            }
            _ => "As many requests as there may be (`limits.requests_max`) are under way: try again.",
        };
        let response = own(&client, Problem::busy(detail, retry_after()), None);
        if let Some(shared) = shared.filter(|_| asks_upgrade) {
            shared.decide(false);
        }
        return response;
    };
    if let Some(flaw) = shared.as_ref().and_then(|shared| shared.flaw_of(at)) {
        client.worker.metrics().malformed.fetch_add(1, Relaxed);
        return refused(&client, Problem::flaw(flaw), account);
    }
    let trace = Trace::of(request.headers(), &client.worker);
    account.trace = Some(trace);
    let inner = &client.worker.inner;
    let logged = inner.config.access_log.enabled && access_log_is_on();
    if logged || (inner.traces.is_some() && trace.is_sampled()) {
        let goes_on = trace.parent().and(request.headers().get(TRACESTATE));
        account.line = Some(Line {
            logged,
            tracestate: goes_on.cloned(),
            client: client.sender.client(request.headers(), &inner.config.trusted_proxies),
            method: request.method().clone(),
            uri: request.uri().clone(),
            host: String::new(),
            version: request.version(),
            id: String::new(),
        });
    }
    let id = request_id(&client, &request);
    let way = match direct(&client, &mut request, socket, id.clone(), trace) {
        Ok(way) => way,
        Err(problem) => {
            if let Some(shared) = shared.filter(|_| asks_upgrade) {
                shared.decide(false);
            }
            return with_id(refused(&client, problem, account), &id);
        }
    };
    if let Some(line) = &mut account.line {
        line.host = String::from_utf8_lossy(way.host.as_bytes()).into_owned();
        line.id = String::from_utf8_lossy(id.as_bytes()).into_owned();
    }
    let on_upgrade = way.upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
    let response = follow(&client, request, way, account, on_upgrade).await;
    if let Some(shared) = shared.filter(|_| asks_upgrade) {
        shared.decide(response.status() == StatusCode::SWITCHING_PROTOCOLS);
    }
    with_id(response, &id)
}

fn access_log_is_on() -> bool {
    tracing::enabled!(target: "banyan_gateway::access", tracing::Level::INFO)
}

fn retry_after() -> Duration {
    Duration::from_secs(crate::limits::RETRY_AFTER_SECONDS)
}

/// An answer of the gateway itself.
fn own(client: &Client, mut problem: Problem, trace: Option<&Trace>) -> Response<AnswerBody> {
    client.worker.metrics().own_errors.fetch_add(1, Relaxed);
    // HTTP/2 has no such field; its connection survives a bad request.
    problem.close &= client.shared.is_some();
    problem.into_response(trace)
}

/// The same, and the end of the exchange.
fn refused(client: &Client, problem: Problem, mut account: Box<Account>) -> Response<AnswerBody> {
    account.status = problem.status.as_u16();
    let response = own(client, problem, account.trace.as_ref());
    response.map(|body| body.with_account(account))
}

fn with_id(mut response: Response<AnswerBody>, id: &HeaderValue) -> Response<AnswerBody> {
    response.headers_mut().insert(forward::X_REQUEST_ID, id.clone());
    response
}

fn request_id(client: &Client, request: &Request<Incoming>) -> HeaderValue {
    match request.headers().get(forward::X_REQUEST_ID) {
        Some(id) if forward::is_good_id(id) => id.clone(),
        _ => {
            let mut id = [0; 24];
            client.worker.unique_hex(&mut id);
            HeaderValue::from_bytes(&id).unwrap_or_else(|_| HeaderValue::from_static("none"))
        }
    }
}

/// Judges the request's target, makes its fields the ones that are sent on as far as they say who asks, and finds who answers.
fn direct(
    client: &Client,
    request: &mut Request<Incoming>,
    socket: Option<Wanted>,
    id: HeaderValue,
    trace: Trace,
) -> Result<Way, Problem> {
    let inner = &client.worker.inner;
    let (uri, headers) = (request.uri(), request.headers());
    if request.method() == Method::CONNECT {
        let detail = "This gateway stands in front of a shop and opens no tunnels for CONNECT.";
        return Err(Problem {
            close: true,
            ..Problem::new(StatusCode::NOT_IMPLEMENTED, "gateway-malformed", detail)
        });
    }
    let limits = &inner.config.limits;
    // HTTP/2 cuts cookies into pieces, which are one field.
    let cookies = headers.get_all(header::COOKIE).iter().count();
    if headers.len() - cookies.saturating_sub(1) > limits.headers_max {
        return Err(Problem::flaw(super::strict::Flaw::TooManyHeaders));
    }
    if uri.path_and_query().is_some_and(|target| target.as_str().len() > limits.uri_bytes_max) {
        return Err(Problem::flaw(super::strict::Flaw::TargetTooLong));
    }
    let is_whole_server = uri.path() == "*" && request.method() == Method::OPTIONS;
    if !uri.path().starts_with('/') && !is_whole_server
        || uri.path_and_query().is_some_and(|target| target.as_str().starts_with('?'))
        || uri.scheme().is_none() && uri.authority().is_some()
        || uri.scheme().is_some_and(|scheme| *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS)
    {
        return Err(Problem::malformed(
            "The request's target is neither a path that begins with / nor a whole address of HTTP.",
        ));
    }
    if request.version() == Version::HTTP_2 && headers.get_all(header::CONTENT_LENGTH).iter().count() > 1 {
        // hyper takes the first, and others may take another.
        return Err(Problem::malformed("The request says its Content-Length more than once."));
    }
    let host = host::of(request)?;
    if headers.contains_key(header::VIA) && forward::passes(headers) >= PASSES_MAX {
        let detail = "The request goes in a circle: the server of a route is this gateway, or one that leads back to it.";
        return Err(Problem::new(StatusCode::BAD_GATEWAY, "gateway-unreachable", detail));
    }
    // As hyper reads it: with it, the client is asked for its body when the body is polled.
    let expects = request.version() == Version::HTTP_11
        && headers
            .get(header::EXPECT)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let version = if socket.is_some() { Version::HTTP_11 } else { request.version() };
    let upgrade = forward::asked_upgrade(headers, request.method(), version);
    let asked_from = client.sender.client(headers, &inner.config.trusted_proxies);
    // Before anything is decided by them: what a stranger says in a proxy's name, or means for this connection only, must
    // choose neither the route nor the side.
    forward::remove_named(request.headers_mut());
    client.sender.write(request.headers_mut(), &host);
    let (uri, headers) = (request.uri(), request.headers());
    let path = Matchable::new(if uri.path() == "*" { "/" } else { uri.path() });
    if !limits.dot_segments && path.has_dot_segments() {
        let detail =
            "The path has `.` or `..` segments, which servers read differently: send the path they lead to.";
        return Err(Problem::malformed(detail));
    }
    let table = inner.table.load();
    let name = host::without_port(std::str::from_utf8(host.as_bytes()).unwrap_or_default());
    let Some(route) = table.find(name, &path, request.method(), headers) else {
        let detail = "No route of this gateway matches this host, path, method and header fields.";
        return Err(Problem::new(StatusCode::NOT_FOUND, "gateway-no-route", detail));
    };
    let route = route.clone();
    drop(table);
    let body_bytes = request.body().size_hint().lower();
    if route.body_bytes_max.is_some_and(|max| body_bytes > max) {
        return Err(too_large(&route));
    }
    let upgrade = upgrade.filter(|wanted| forward::may_upgrade(wanted, &route.upgrades));
    if socket.is_some() && upgrade.is_none() {
        // Without the upgrade it would be another request than the one that was asked.
        let detail = "This route passes no WebSockets (`upgrades`).";
        return Err(Problem::new(StatusCode::NOT_IMPLEMENTED, "gateway-malformed", detail));
    }
    let choice = Choice::of(crate::side::Side::Legacy);
    Ok(Way { route, choice, host, upgrade, socket, id, trace, asked_from, expects })
}

fn too_large(route: &Route) -> Problem {
    let detail = format!(
        "The body is longer than the {} bytes that are taken here.",
        route.body_bytes_max.unwrap_or(0)
    );
    Problem { close: true, ..Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "gateway-too-large", detail) }
}

/// Sends the request to the side that answers, and brings the answer.
async fn follow(
    client: &Arc<Client>,
    request: Request<Incoming>,
    mut way: Way,
    mut account: Box<Account>,
    on_upgrade: Option<hyper::upgrade::OnUpgrade>,
) -> Response<AnswerBody> {
    let inner = &client.worker.inner;
    let (mut head, incoming) = request.into_parts();
    way.choice = inner.sides.choose(&way.route, &head, way.asked_from);
    let (route, side) = (way.route.clone(), way.choice.side);
    let Some(target) = route.target(side).cloned() else {
        // The rules of the table exclude it.
        let detail = format!("Route {:?} has no server for its side `{}`.", route.name(), side.as_str());
        return refused(client, Problem::new(StatusCode::BAD_GATEWAY, "gateway-no-route", detail), account);
    };
    if let (Some(protocol), Target::Upstream(upstream)) = (&way.upgrade, &target)
        && !upstream.takes_upgrades()
    {
        // No failure of the side: nobody was asked.
        let detail = no_upgrade(route.name(), protocol);
        let problem = Problem::new(StatusCode::NOT_IMPLEMENTED, "gateway-no-upgrade", detail);
        return refused(client, problem, account);
    }
    if let (Some(_), Target::Upstream(upstream)) = (&way.upgrade, &target) {
        account.tunnel = upstream.tunnel();
        if account.tunnel.is_none() {
            // Nor here.
            return refused(client, Trouble::Full.problem(), account);
        }
    }
    let watching = way.choice.watcher.take().map(Watching::new);
    account.route = Some((route.clone(), side));
    account.watching.clone_from(&watching);
    // The longest time that a whole exchange may take.
    account.late = route.whole.map(|whole| Box::pin(tokio::time::sleep(whole)));
    let (body, progress) = match incoming.is_end_stream() {
        true => (SendBody::Empty, None),
        false => {
            let holding = Duration::from_millis(inner.config.timeouts.continue_millis);
            let (body, progress) =
                ClientBody::new(incoming, route.idle, holding, route.body_bytes_max, watching.clone());
            (SendBody::Client(body), Some(progress))
        }
    };
    account.waits.sending.clone_from(&progress);
    let expects = way.expects;
    let trailers = prepare(&mut head, &way);
    if let Some(watching) = &watching {
        watching.tell(|watcher| watcher.request(&head));
        if progress.is_none() {
            watching.tell(|watcher| watcher.request_end(None));
        }
    }
    // After the copy: the other side is told other things.
    route.tell(side, &mut head);
    if let Some(rewritten) = rewritten(&head.uri, &way) {
        head.uri = rewritten;
    }
    let sent = Instant::now();
    let asked = match &target {
        Target::InProcess => {
            let asked = in_process(client, head, body, &route, way.socket.as_ref(), progress.as_deref());
            match &mut account.late {
                None => asked.await,
                Some(late) => ask::by_then(late, asked).await.flatten(),
            }
        }
        Target::Upstream(upstream) => {
            let plan = ask::Plan {
                worker: &client.worker,
                upstream,
                host: &way.host,
                upgrade: way.upgrade.as_ref(),
                socket: way.socket.as_ref(),
                trailers,
                first_byte: route.first_byte,
                progress: progress.as_ref(),
                waits: Some(&account.waits),
                expects,
                late: account.late.as_mut(),
                user: true,
            };
            ask::ask(plan, head, body).await
        }
    };
    let took = sent.elapsed();
    match asked {
        Ok(asked) => {
            let mut response = answered(client, way, account, asked, took, on_upgrade);
            if expects && progress.is_some_and(|progress| !progress.was_asked()) {
                // The client was not asked for its body, and need not send it: what follows on this connection could be
                // the body or the next request.
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            response
        }
        Err(trouble) => failed(client, &way.route, account, &trouble, progress.as_deref()),
    }
}

/// Turns the client's head into the one that is sent on. Returns whether the client takes trailers.
fn prepare(head: &mut request::Parts, way: &Way) -> bool {
    let from = head.version;
    if head.uri.authority().is_some() {
        let target = head.uri.path_and_query().cloned();
        head.uri = Uri::from(target.unwrap_or_else(|| PathAndQuery::from_static("/")));
    }
    let trailers = forward::remove_hop(&mut head.headers);
    if head.headers.keys().any(|name| name == header::EXPECT || name == HTTP2_SETTINGS) {
        head.headers.remove(header::EXPECT);
        head.headers.remove(HTTP2_SETTINGS);
    }
    if from == Version::HTTP_2 {
        forward::join_cookies(&mut head.headers);
    }
    head.headers.insert(header::HOST, way.host.clone());
    forward::add_via(&mut head.headers, from);
    head.headers.insert(forward::X_REQUEST_ID, way.id.clone());
    way.trace.write(&mut head.headers);
    trailers
}

fn rewritten(uri: &Uri, way: &Way) -> Option<Uri> {
    let target = uri.path_and_query()?;
    let rewritten = way.route.rewritten(target.as_str(), way.choice.side)?;
    Uri::try_from(rewritten).ok()
}

/// Asks Banyan in this process.
async fn in_process(
    client: &Client,
    head: request::Parts,
    body: SendBody,
    route: &Route,
    socket: Option<&Wanted>,
    progress: Option<&Progress>,
) -> Result<Asked, Trouble> {
    let Some(service) = client.worker.inner.in_process.clone() else { return Err(Trouble::NoProcess) };
    let body = match body {
        SendBody::Client(body) => axum::body::Body::new(*body),
        _ => axum::body::Body::empty(),
    };
    // A panic there must be no more than an answer that fails: here it would take the client's connection with it.
    let answer = AssertUnwindSafe(service.oneshot(Request::from_parts(head, body))).catch_unwind();
    let answer = ask::in_time(answer, route.first_byte, progress, &mut Watchdog::default()).await?;
    let Ok(response) = answer.map_err(|_| Trouble::Panicked)?;
    let (head, body) = response.into_parts();
    if let Some(flaw) = ask::flaw_of(&head, None, socket) {
        return Err(Trouble::Unasked(flaw));
    }
    Ok(Asked { head, source: Source::Any(body), lease: None, room: None })
}

/// The side answered: passes it on.
fn answered(
    client: &Arc<Client>,
    way: Way,
    mut account: Box<Account>,
    asked: Asked,
    took: Duration,
    on_upgrade: Option<hyper::upgrade::OnUpgrade>,
) -> Response<AnswerBody> {
    let Asked { mut head, source, lease, room } = asked;
    account.status = head.status.as_u16();
    way.route.traffic().answered(client.worker.index, way.choice.side, account.status, took);
    if let Some(watching) = &account.watching {
        watching.tell(|watcher| watcher.answer(&head, took));
    }
    (account.lease, account.room) = (lease, room);
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        // `ask` let it through: it was asked for.
        let (Source::One(_, Some(one)), Some(on_upgrade), Some(protocol)) = (source, on_upgrade, way.upgrade)
        else {
            return refused(client, Trouble::Unasked(ask::NOT_ASKED).problem(), account);
        };
        forward::remove_hop(&mut head.headers);
        match way.socket {
            None => {
                head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
                head.headers.insert(header::UPGRADE, protocol);
            }
            Some(_) => websocket::open(&mut head),
        }
        head.extensions.clear();
        client.worker.metrics().upgrades.fetch_add(1, Relaxed);
        // From here on it takes a tunnel's place, and none of a request's.
        account.room = None;
        tunnel::open(client, on_upgrade, *one, account);
        return Response::from_parts(head, AnswerBody::whole(bytes::Bytes::new()));
    }
    let from = head.version;
    forward::remove_hop(&mut head.headers);
    forward::one_length(&mut head.headers);
    forward::add_via(&mut head.headers, from);
    if let Some(cookie) = way.choice.set_cookie {
        head.headers.append(header::SET_COOKIE, cookie);
    }
    head.version = Version::HTTP_11;
    head.extensions.clear();
    Response::from_parts(head, AnswerBody::new(source, way.route.idle, account))
}

/// What stands in the way where a server is spoken to with HTTP/2 without TLS: the other protocol begins with HTTP/1.1.
fn no_upgrade(route: &str, protocol: &HeaderValue) -> String {
    let protocol = String::from_utf8_lossy(protocol.as_bytes());
    format!(
        "Route {route:?} passes no {protocol}: the gateway speaks to its server with HTTP/2 without TLS, and asks for other protocols \
         with HTTP/1.1 only. Lead this path by a route of its own to an upstream with `http = \"1.1\"`, or with TLS."
    )
}

/// The side gave no answer: says so.
fn failed(
    client: &Client,
    route: &Route,
    mut account: Box<Account>,
    trouble: &Trouble,
    progress: Option<&Progress>,
) -> Response<AnswerBody> {
    let flaw = client.shared.as_ref().and_then(|shared| shared.body_flaw());
    let fault = match progress.map_or(Fault::None, Progress::fault) {
        Fault::None if matches!(trouble, Trouble::Late) && progress.is_some_and(Progress::is_wanting) => {
            Fault::TooSlow
        }
        fault => fault,
    };
    // A server may tire of a client that stopped in the middle of its body, and one may take most of the time for it.
    let waits = &account.waits;
    let is_late_by_client = matches!(trouble, Trouble::Late) && waits.is_late_by_client();
    let is_sides = trouble.is_of_side() && !waits.for_client() && !is_late_by_client;
    let problem = match fault {
        Fault::TooLarge => too_large(route),
        Fault::TooSlow => {
            let detail = match trouble {
                Trouble::Late => "The body came too slowly: not all of it within `timeouts.whole_millis`.",
                _ => "The body came too slowly: no piece of it within `timeouts.idle_millis`.",
            };
            Problem {
                close: true,
                ..Problem::new(StatusCode::REQUEST_TIMEOUT, "gateway-client-too-slow", detail)
            }
        }
        Fault::Broken => {
            client.worker.metrics().malformed.fetch_add(1, Relaxed);
            Problem::malformed(flaw.map_or("The body broke off.", super::strict::Flaw::detail))
        }
        Fault::None => trouble.problem(),
    };
    if let Some((route, side)) = account.route.as_ref().filter(|_| is_sides) {
        route.traffic().failed(client.worker.index, *side);
        tracing::debug!(route = route.name(), side = side.as_str(), %trouble, "no answer");
    }
    if let Some(watching) = account.watching.take() {
        match is_sides {
            true => watching.end(Ended::Failed),
            false => watching.leave(),
        }
    }
    account.late = None;
    let is_half_read = client.shared.is_some()
        && progress.is_some_and(|progress| matches!(progress.state(), Sending::Pieces(_)));
    let mut response = refused(client, problem, account);
    if is_half_read {
        // The rest of the body is not read.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
