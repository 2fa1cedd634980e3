//! Asks a side apart from users: with connections of its own, never twice, and without moving a breaker or a count.
//! Made for copies whose answers are compared.

use crate::Gateway;
use crate::gateway::Inner;
use crate::proxy::account::Account;
use crate::proxy::ask::{self, Asked, Trouble};
use crate::proxy::body::{AnswerBody, SendBody};
use crate::proxy::forward;
use crate::proxy::silence::Watchdog;
use crate::proxy::worker::Worker;
use crate::side::Side;
use crate::table::{Route, Target};
use axum::body::Body;
use http::header::{self, HeaderValue};
use http::{Request, Response, Uri};
use std::fmt;
use std::sync::Arc;
use tower::ServiceExt as _;

/// Asks sides. Clones share their connections.
#[derive(Clone)]
pub struct Outbound {
    worker: Arc<Worker>,
    inner: Arc<Inner>,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum AskFailed {
    /// The route has nobody on this side.
    NoTarget,
    /// The upstream has no room, or its breakers are open: the user's requests come first.
    Busy,
    /// No connection.
    Unreachable(String),
    /// The connection or the answer broke.
    Broken(String),
    /// No head of an answer in time.
    TooSlow,
}

impl fmt::Display for AskFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTarget => f.write_str("the route has nobody on this side"),
            Self::Busy => f.write_str("the upstream has no room for copies"),
            Self::Unreachable(why) => write!(f, "the server cannot be reached: {why}"),
            Self::Broken(why) => write!(f, "the answer broke: {why}"),
            Self::TooSlow => f.write_str("no answer in time"),
        }
    }
}

impl std::error::Error for AskFailed {}

impl Gateway {
    /// For asking sides apart from users.
    pub fn outbound(&self) -> Outbound {
        let inner = self.inner.clone();
        Outbound { worker: Arc::new(Worker::new(inner.config.workers, inner.clone())), inner }
    }
}

impl Outbound {
    /// Asks `side` of `route`. The fields are sent as they are, without those that end at each hop: take them from
    /// [`Watcher::request`](crate::Watcher::request) to send what the user's request had. The path is rewritten for the
    /// side. Must run in a Tokio runtime; time limits are the route's.
    ///
    /// # Errors
    /// See [`AskFailed`]. A body can still break later.
    pub async fn ask(
        &self,
        route: &Route,
        side: Side,
        request: Request<Body>,
    ) -> Result<Response<Body>, AskFailed> {
        let Some(target) = route.target(side) else { return Err(AskFailed::NoTarget) };
        let (mut head, body) = request.into_parts();
        if let Some(path) = head.uri.path_and_query() {
            let rewritten = route.rewritten(path.as_str(), side).and_then(|path| Uri::try_from(path).ok());
            head.uri = rewritten.unwrap_or_else(|| Uri::from(path.clone()));
        }
        let host = head.headers.get(header::HOST).cloned().unwrap_or_else(|| HeaderValue::from_static(""));
        forward::remove_hop(&mut head.headers);
        route.tell(side, &mut head);
        let asked = match target {
            Target::InProcess => {
                let Some(service) = self.inner.in_process.clone() else { return Err(AskFailed::NoTarget) };
                let answer = service.oneshot(Request::from_parts(head, body));
                let answer = ask::in_time(answer, route.first_byte, None, &mut Watchdog::default()).await;
                return answer.map_err(AskFailed::from).map(|Ok(response)| response);
            }
            Target::Upstream(upstream) => {
                let plan = ask::Plan {
                    worker: &self.worker,
                    upstream,
                    host: &host,
                    upgrade: None,
                    socket: None,
                    trailers: false,
                    first_byte: route.first_byte,
                    progress: None,
                    waits: None,
                    expects: false,
                    late: None,
                    user: false,
                };
                ask::ask(plan, head, SendBody::Any(body)).await.map_err(AskFailed::from)?
            }
        };
        let Asked { mut head, source, lease, room } = asked;
        forward::remove_hop(&mut head.headers);
        let account = Account::apart(&self.worker, lease, room);
        Ok(Response::from_parts(head, Body::new(AnswerBody::new(source, route.idle, account))))
    }
}

impl From<Trouble> for AskFailed {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Full | Trouble::Open(_) | Trouble::Exhausted(_) => Self::Busy,
            Trouble::Connect(error) => Self::Unreachable(error.to_string()),
            Trouble::Broken(error) => Self::Broken(error.to_string()),
            Trouble::Endless | Trouble::Panicked | Trouble::Unasked(_) => Self::Broken(trouble.to_string()),
            Trouble::TooSlow | Trouble::Late => Self::TooSlow,
            Trouble::NoProcess => Self::NoTarget,
        }
    }
}
