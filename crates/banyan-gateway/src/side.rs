//! Who answers a request, and who listens: the place where canary and shadow are attached to the proxy.
//!
//! The proxy asks [`Sides::choose`] once for each request, before anything is sent. It must not wait and must not fail.
//! If it gives a [`Watcher`], that one sees what the user sends and gets, piece by piece, and can never slow it down:
//! all of its methods are synchronous, get cheap clones, and return nothing.

use crate::config::Mode;
use crate::table::Route;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, request, response};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::time::Duration;

/// One of the two sides of a route.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The old shop.
    Legacy,
    /// Banyan.
    Banyan,
}

impl Side {
    /// The word in answers and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Banyan => "banyan",
        }
    }

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Legacy => Self::Banyan,
            Self::Banyan => Self::Legacy,
        }
    }
}

/// What was decided about one request.
pub struct Choice {
    /// Who answers.
    pub side: Side,
    /// Added to the answer as `Set-Cookie`: keeps a visitor on a side.
    pub set_cookie: Option<HeaderValue>,
    /// Who listens.
    pub watcher: Option<Box<dyn Watcher>>,
}

impl Choice {
    /// This side answers, and nobody listens.
    pub fn of(side: Side) -> Self {
        Self { side, set_cookie: None, watcher: None }
    }
}

/// Listens to one request and its answer. Called from the user's path: nothing here may block, wait or panic.
pub trait Watcher: Send {
    /// The head as it is sent on: with `Host` and who asked, without what ends at each hop. The target is as the client
    /// sent it.
    fn request(&mut self, _head: &request::Parts) {}
    /// A piece of the request's body went to the side that answers.
    fn request_data(&mut self, data: &Bytes);
    /// The request's body is complete; its trailers, if any.
    fn request_end(&mut self, trailers: Option<&HeaderMap>);
    /// The answer's head, as the side gave it, and how long it took.
    fn answer(&mut self, head: &response::Parts, took: Duration);
    /// A piece of the answer's body went to the user.
    fn answer_data(&mut self, data: &Bytes);
    /// It is over. Dropped without this call: the user went away first.
    fn end(self: Box<Self>, ended: Ended);
}

/// How a watched exchange ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ended {
    /// The answer is complete.
    Whole,
    /// The side broke off, was too slow, or gave no answer at all.
    Failed,
}

/// Decides sides. Shared by all workers.
#[derive(Default)]
pub struct Sides {}

impl Sides {
    /// Decides who answers this request. `head` is as the client sent it; `client` is who sent it, as far as proxies
    /// that are trusted can tell.
    pub fn choose(&self, route: &Route, _head: &request::Parts, _client: IpAddr) -> Choice {
        match route.spec().mode {
            Mode::Legacy | Mode::Shadow | Mode::Canary => Choice::of(Side::Legacy),
            Mode::Banyan => Choice::of(Side::Banyan),
        }
    }
}
