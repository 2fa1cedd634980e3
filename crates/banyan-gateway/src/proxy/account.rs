//! What is settled when an exchange ends, however it ends: room, counts, the connection, the access log.

use super::body::Watching;
use super::client::{Active, Client};
use super::trace::Trace;
use super::waits::Waits;
use super::worker::Worker;
use crate::side::{Ended, Side};
use crate::table::Route;
use crate::traces::Span;
use crate::upstream::pool::One;
use crate::upstream::{Lease, Room, Tunnel};
use bytes::Bytes;
use http::{HeaderValue, Method, Uri, Version};
use std::fmt::Display;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};
use tokio::time::Sleep;

/// One exchange's account. Dropped without [`Account::settle`]: the client went away first.
pub(crate) struct Account {
    worker: Arc<Worker>,
    began: Instant,
    /// The request, for the access log and its span; nothing if there is neither.
    pub line: Option<Line>,
    pub trace: Option<Trace>,
    pub route: Option<(Arc<Route>, Side)>,
    pub lease: Option<Lease>,
    pub room: Option<Room>,
    /// Its place among the tunnels, if it is or may become one.
    pub tunnel: Option<Tunnel>,
    pub watching: Option<Watching>,
    pub status: u16,
    pub late: Option<Pin<Box<Sleep>>>,
    pub waits: Waits,
    /// Among the exchanges of its connection.
    active: Option<Active>,
    bytes: u64,
    settled: bool,
    /// Among the requests of users.
    counted: bool,
}

/// What the access log and a span say of a request.
pub(crate) struct Line {
    /// It is one for the access log.
    pub logged: bool,
    pub tracestate: Option<HeaderValue>,
    /// Nothing if a trusted proxy named somebody who cannot be read.
    pub client: Option<IpAddr>,
    pub method: Method,
    pub uri: Uri,
    pub host: String,
    pub version: Version,
    pub id: String,
}

/// Why a request is not begun.
pub(crate) enum Crowded {
    /// As many as there may be are under way.
    All,
    /// As many as there may be are under way from its address.
    Peer,
}

impl Account {
    /// Begins one, if there is room for one more request.
    pub(crate) fn open(client: &Arc<Client>, began: Instant) -> Result<Box<Self>, Crowded> {
        let worker = &client.worker;
        let (inner, limits) = (&worker.inner, &worker.inner.config.limits);
        let under_way = inner.under_way.fetch_add(1, Relaxed);
        worker.metrics().requests.fetch_add(1, Relaxed);
        let mut account = Self::new(worker, began, true);
        if under_way >= limits.requests_max {
            return Err(Crowded::All);
        }
        let active = Active::new(client);
        let is_crowd = active.of_peer() >= limits.client_requests_max;
        account.active = Some(active);
        if is_crowd {
            // Not the client's decision to leave.
            account.settled = true;
            worker.metrics().client_refused.fetch_add(1, Relaxed);
            inner.peers.warn(client.sender.peer, "limits.client_requests_max");
            return Err(Crowded::Peer);
        }
        Ok(account)
    }

    /// One that is no user's.
    pub(crate) fn apart(worker: &Arc<Worker>, lease: Option<Lease>, room: Option<Room>) -> Box<Self> {
        let mut account = Self::new(worker, Instant::now(), false);
        (account.lease, account.room) = (lease, room);
        account
    }

    fn new(worker: &Arc<Worker>, began: Instant, counted: bool) -> Box<Self> {
        Box::new(Self {
            worker: worker.clone(),
            began,
            line: None,
            trace: None,
            route: None,
            lease: None,
            room: None,
            tunnel: None,
            watching: None,
            status: 0,
            late: None,
            waits: Waits::new(began),
            active: None,
            bytes: 0,
            settled: false,
            counted,
        })
    }

    pub(crate) fn route_name(&self) -> &str {
        self.route.as_ref().map_or("", |(route, _)| route.name())
    }

    pub(crate) fn count(&mut self, data: &Bytes) {
        self.bytes += data.len() as u64;
        if let Some(watching) = &self.watching {
            watching.tell(|watcher| watcher.answer_data(data));
        }
    }

    /// Keeps a connection for the next request.
    pub(crate) fn keep(&self, one: One) {
        if let Some(lease) = &self.lease {
            lease.server.pool.put_one(self.worker.index, one);
        }
    }

    /// Ready when the whole exchange took too long.
    pub(crate) fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.late {
            None => Poll::Pending,
            Some(timer) => timer.as_mut().poll(cx),
        }
    }

    /// The answer is complete, or failed.
    pub(crate) fn settle(mut self: Box<Self>, ended: Ended) {
        self.settled = true;
        if let Some(watching) = self.watching.take() {
            watching.end(ended);
        }
        if ended == Ended::Failed && self.status > 0 {
            // Its head was counted as an answer; now it is none.
            if let Some((route, side)) = &self.route {
                route.traffic().broke_off(self.worker.index, *side);
                if let Some(lease) = &mut self.lease {
                    lease.bad(Instant::now());
                }
            }
        }
        self.log(match ended {
            Ended::Whole => "whole",
            Ended::Failed => "broke off",
        });
    }

    /// The answer is cut off because its client was too slow: the side did what it could.
    pub(crate) fn give_up(mut self: Box<Self>) {
        self.settled = true;
        if let Some(watching) = self.watching.take() {
            watching.leave();
        }
        self.log("client too slow");
    }

    fn log(&mut self, ended: &'static str) {
        let Some(line) = self.line.take() else { return };
        let took = self.began.elapsed();
        if line.logged {
            self.write(&line, took, ended);
        }
        let traces = self.worker.inner.traces.as_ref();
        if let (Some(traces), Some(trace)) = (traces, self.trace.filter(Trace::is_sampled)) {
            traces.take(Span {
                trace,
                line,
                status: self.status,
                bytes: self.bytes,
                took,
                ended_at: SystemTime::now(),
                ended,
                route: self.route.clone(),
                server: self.lease.as_ref().map(|lease| lease.server.clone()),
            });
        }
    }

    fn write(&self, line: &Line, took: Duration, ended: &'static str) {
        if let Some(slow) = self.worker.inner.config.access_log.slow_millis
            && self.status < 500
            && took.as_millis() < u128::from(slow)
        {
            return;
        }
        let client: &dyn Display = match &line.client {
            Some(client) => client,
            None => &"unknown",
        };
        tracing::info!(
            target: "banyan_gateway::access",
            %client,
            method = %line.method,
            host = line.host,
            // Without the query: it may hold what nobody should read in a log.
            path = line.uri.path(),
            version = ?line.version,
            status = self.status,
            bytes = self.bytes,
            micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            route = self.route_name(),
            side = self.route.as_ref().map_or("", |(_, side)| side.as_str()),
            server = self.lease.as_ref().map_or("", |lease| lease.server.address.authority.as_str()),
            id = line.id,
            trace = self.trace.as_ref().map_or("", Trace::id),
            ended,
            "request"
        );
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if self.counted {
            self.worker.inner.under_way.fetch_sub(1, Relaxed);
            self.worker.metrics().requests_ended.fetch_add(1, Relaxed);
        }
        if !self.settled && std::thread::panicking() {
            // Of an answer from this process, whose body panicked: its head was counted.
            if let Some(watching) = self.watching.take() {
                watching.end(Ended::Failed);
            }
            if let Some((route, side)) = &self.route {
                route.traffic().broke_off(self.worker.index, *side);
            }
            self.log("panicked");
        } else if !self.settled {
            if let Some(watching) = self.watching.take() {
                watching.leave();
            }
            if let Some(active) = &self.active {
                active.left();
            }
            self.log("client left");
        }
    }
}
