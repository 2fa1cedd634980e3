//! A TEST DOUBLE of the coupon server: it counts for real, answers by the contract, and misbehaves on request.
//! It keeps nothing on disk and is not the product.
//!
//! Misbehaviour is tied to the number of the request, never to a clock, so that a test means the same on any machine.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the double does wrong.
#[derive(Clone, Default)]
pub(crate) struct Manners {
    /// From this request on, every answer of the next so many milliseconds waits until they are over.
    pub(crate) stall: Option<(u64, Duration)>,
    /// Every n-th request is carried out, and its connection is then cut without an answer.
    pub(crate) cut_every: Option<u64>,
    /// At this request the server dies: every connection is cut, and it listens again after this long.
    pub(crate) die: Option<(u64, Duration)>,
    /// Every n-th request gets a 503.
    pub(crate) busy_every: Option<u64>,
    /// Every n-th request gets a 500 that is no problem document.
    pub(crate) fail_every: Option<u64>,
    /// Answers wait this long, so that answers of one connection can overtake those of another.
    pub(crate) slow_every: Option<(u64, Duration)>,
}

/// What the double knows.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) campaigns: BTreeMap<String, Campaign>,
    pub(crate) allowed: BTreeMap<String, usize>,
    /// By code: campaign, member, coupon, order of the redeem.
    pub(crate) coupons: BTreeMap<String, (String, String, String, Option<String>)>,
    /// Requests for coupons and redeems, in order of arrival: action and member (or code).
    pub(crate) seen: Vec<(String, String)>,
    pub(crate) keys: Vec<String>,
    /// Every 2xx of a write it decided, as (action, coupon, status, seq).
    pub(crate) promised: Vec<(String, String, u64, u64)>,
    seq: u64,
    requests: u64,
}

#[derive(Default)]
pub(crate) struct Campaign {
    pub(crate) quantity: u64,
    pub(crate) by_member: BTreeMap<String, (String, u64)>,
    pub(crate) body: Value,
}

#[derive(Clone)]
pub(crate) struct Double {
    pub(crate) world: Arc<Mutex<World>>,
    pub(crate) address: SocketAddr,
    manners: Manners,
    /// Odd while it is dead.
    life: watch::Sender<u64>,
}

impl Double {
    /// Listens on a free port of this machine.
    pub(crate) async fn start(manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let double = Self { world: Arc::default(), address, manners, life: watch::Sender::new(0) };
        let serving = double.clone();
        tokio::spawn(async move { serving.live(listener).await });
        double
    }

    async fn live(self, listener: TcpListener) {
        let mut listener = Some(listener);
        let mut life = self.life.subscribe();
        loop {
            let Some(listening) = &listener else {
                let (_, down) = self.manners.die.expect("only a death closes the listener");
                tokio::time::sleep(down).await;
                listener = TcpListener::bind(self.address).await.ok();
                if listener.is_some() {
                    life.borrow_and_update();
                    self.life.send_modify(|count| *count += 1);
                }
                continue;
            };
            tokio::select! {
                accepted = listening.accept() => {
                    let Ok((stream, _)) = accepted else { continue };
                    tokio::spawn(self.clone().connection(stream));
                }
                _ = life.wait_for(|count| count % 2 == 1) => listener = None,
            }
        }
    }

    async fn connection(self, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let mut life = self.life.subscribe();
        let cut = Arc::new(tokio::sync::Notify::new());
        let service = service_fn(|request| {
            let (double, cut) = (self.clone(), Arc::clone(&cut));
            async move { Ok::<_, Infallible>(double.answer(request, &cut).await) }
        });
        let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::select! {
            _ = serving => {}
            () = cut.notified() => {}
            _ = life.wait_for(|count| count % 2 == 1) => {}
        }
    }

    async fn answer(&self, request: Request<Incoming>, cut: &tokio::sync::Notify) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let path: Vec<&str> = parts.uri.path().trim_matches('/').split('/').collect();
        let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        if header("authorization") != Some("Bearer good") {
            return problem(401, "unauthenticated");
        }
        let (number, answer) = {
            let mut world = self.world.lock().expect("no test panics while holding it");
            match path.as_slice() {
                ["v1", "campaigns"] => return world.create(&body),
                ["v1", "campaigns", id, "allow-list"] => {
                    let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
                    world.allowed.insert((*id).to_owned(), lines);
                    return answer(200, &json!({ "added": lines, "already": 0, "total": lines, "seq": 1 }));
                }
                _ => {}
            }
            world.requests += 1;
            let number = world.requests;
            let every = |n: Option<u64>| n.is_some_and(|n| number.is_multiple_of(n));
            if every(self.manners.busy_every) {
                return problem(503, "busy");
            }
            if every(self.manners.fail_every) {
                return Response::builder().status(500).body(Full::from("oops")).expect("valid");
            }
            world.keys.extend(header("idempotency-key").map(str::to_owned));
            let answer = match path.as_slice() {
                ["v1", "campaigns", id, "coupons"] => world.issue(id, &body),
                ["v1", "coupons", code, "redeem"] => world.redeem(code, &body),
                _ => problem(404, "not-found"),
            };
            (number, answer)
        };
        if self.manners.die.as_ref().is_some_and(|(at, _)| *at == number) {
            self.life.send_modify(|count| *count += 1);
            std::future::pending::<()>().await;
        }
        if self.manners.cut_every.is_some_and(|n| number.is_multiple_of(n)) {
            cut.notify_one();
            std::future::pending::<()>().await;
        }
        if let Some((from, length)) = self.manners.stall
            && number == from
        {
            // The lock is what stalls everybody else: nobody gets past `world` until it is over.
            let world = Arc::clone(&self.world);
            let stalled = tokio::task::spawn_blocking(move || {
                let _held = world.lock().expect("no test panics while holding it");
                std::thread::sleep(length);
            });
            let _ = stalled.await;
        }
        if let Some((n, wait)) = self.manners.slow_every
            && number.is_multiple_of(n)
        {
            tokio::time::sleep(wait).await;
        }
        answer
    }
}

impl World {
    fn create(&mut self, body: &[u8]) -> Response<Full<Bytes>> {
        let Ok(asked) = serde_json::from_slice::<Value>(body) else { return problem(400, "invalid-request") };
        let id = asked["id"].as_str().unwrap_or_default().to_owned();
        if let Some(known) = self.campaigns.get(&id) {
            return if known.body == asked { answer(200, &asked) } else { problem(409, "campaign-exists") };
        }
        let quantity = asked["quantity"].as_u64().unwrap_or(u64::MAX);
        self.campaigns.insert(id, Campaign { quantity, by_member: BTreeMap::new(), body: asked.clone() });
        answer(201, &asked)
    }

    fn issue(&mut self, id: &str, body: &[u8]) -> Response<Full<Bytes>> {
        let asked: Value = serde_json::from_slice(body).unwrap_or_default();
        let Some(member) = asked["member"].as_str() else { return problem(400, "invalid-request") };
        self.seen.push(("issue".into(), member.to_owned()));
        let Some(campaign) = self.campaigns.get_mut(id) else { return problem(404, "campaign-not-found") };
        let (code, status, seq) = if let Some((code, seq)) = campaign.by_member.get(member) {
            (code.clone(), 200, *seq)
        } else {
            if campaign.by_member.len() as u64 >= campaign.quantity {
                return problem(409, "sold-out");
            }
            self.seq += 1;
            let coupon = format!("{id}-{}", campaign.by_member.len() + 1);
            let code = format!("C-{}-{coupon}", self.seq);
            campaign.by_member.insert(member.to_owned(), (code.clone(), self.seq));
            self.coupons.insert(code.clone(), (id.to_owned(), member.to_owned(), coupon, None));
            (code, 201, self.seq)
        };
        self.promise("issue", &code, status, seq)
    }

    fn redeem(&mut self, code: &str, body: &[u8]) -> Response<Full<Bytes>> {
        self.seen.push(("redeem".into(), code.to_owned()));
        let asked: Value = serde_json::from_slice(body).unwrap_or_default();
        let Some(order) = asked["order"].as_str() else { return problem(400, "invalid-request") };
        let Some(coupon) = self.coupons.get_mut(code) else { return problem(404, "coupon-not-found") };
        if coupon.3.as_deref().is_some_and(|other| other != order) {
            return problem(409, "already-redeemed");
        }
        coupon.3 = Some(order.to_owned());
        self.seq += 1;
        self.promise("redeem", code, 200, self.seq)
    }

    fn promise(&mut self, action: &str, code: &str, status: u64, seq: u64) -> Response<Full<Bytes>> {
        let (campaign, member, coupon, _) = &self.coupons[code];
        let body = json!({ "coupon": coupon, "code": code, "campaign": campaign, "member": member, "seq": seq,
            "issued_at": "2026-11-27T12:00:00Z", "expires_at": null });
        self.promised.push((action.to_owned(), coupon.clone(), status, seq));
        answer(status as u16, &body)
    }
}

fn answer(status: u16, body: &Value) -> Response<Full<Bytes>> {
    let response = Response::builder().status(status).header("content-type", "application/json");
    response.body(Full::from(body.to_string())).expect("valid parts")
}

fn problem(status: u16, slug: &str) -> Response<Full<Bytes>> {
    let title = StatusCode::from_u16(status).expect("valid").to_string();
    let body = json!({ "type": format!("/errors/{slug}"), "title": title, "status": status, "detail": slug });
    let response = Response::builder().status(status).header("content-type", "application/problem+json");
    response.body(Full::from(body.to_string())).expect("valid parts")
}
