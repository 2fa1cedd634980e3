//! Requests from parts that are prepared once: per request only the body, the key and a redeem's path are new.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Uri};
use http_body_util::Full;

use super::job::{Job, Work};
use super::visit::{Step, Visit, product_id};
use crate::scenario::Scenario;
use crate::target::Target;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// How issue requests name themselves.
#[derive(Clone, Debug)]
pub(crate) enum KeyUse {
    /// The member and campaign do.
    None,
    /// `<prefix>-<number>` of the press or the trace line.
    Numbered(String),
}

pub(crate) struct Requests {
    target: Target,
    headers: HeaderMap,
    headers_wrong: HeaderMap,
    campaigns: Vec<(String, Uri)>,
    member_prefix: String,
    key_use: KeyUse,
    order_prefix: String,
}

impl Requests {
    pub(crate) fn new(
        scenario: &Scenario,
        member_prefix: &str,
        key_use: KeyUse,
        order_prefix: String,
    ) -> Self {
        let mut headers = HeaderMap::with_capacity(8);
        let value = |text: &str| {
            HeaderValue::from_str(text).expect("an authority and a checked key are visible ASCII")
        };
        headers.insert(HOST, value(scenario.target.authority()));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let mut headers_wrong = headers.clone();
        if let Some(key) = &scenario.key {
            headers.insert(AUTHORIZATION, value(&format!("Bearer {key}")));
        }
        headers_wrong.insert(AUTHORIZATION, HeaderValue::from_static("Bearer not-a-key-at-all"));
        Self {
            target: scenario.target.clone(),
            headers,
            headers_wrong,
            campaigns: Vec::new(),
            member_prefix: member_prefix.to_owned(),
            key_use,
            order_prefix,
        }
    }

    /// The number of a campaign, adding it when it is new. Ids are checked before they come here.
    pub(crate) fn campaign(&mut self, id: &str) -> usize {
        if let Some(known) = self.campaigns.iter().position(|(other, _)| other == id) {
            return known;
        }
        let path = self.target.path(&format!("/v1/campaigns/{id}/coupons"));
        self.campaigns.push((id.to_owned(), path.parse().expect("a checked id and prefix make a path")));
        self.campaigns.len() - 1
    }

    pub(crate) fn campaign_id(&self, campaign: usize) -> &str {
        &self.campaigns[campaign].0
    }

    pub(crate) fn campaign_ids(&self) -> impl Iterator<Item = &str> {
        self.campaigns.iter().map(|(id, _)| id.as_str())
    }

    pub(crate) fn member_id(&self, job: &Job) -> String {
        job.member.id(&self.member_prefix)
    }

    /// The key a job carries, if it carries one.
    pub(crate) fn key(&self, job: &Job) -> Option<String> {
        match (&job.work, &self.key_use) {
            (Work::Issue { .. }, KeyUse::Numbered(prefix)) => Some(format!("{prefix}-{}", job.number)),
            (Work::Visit(visit), _) => {
                let (prefix, number, nth) = (&self.order_prefix, job.number, visit.nth);
                match visit.step {
                    Step::Place => Some(format!("{prefix}-place-{number}-{nth}")),
                    Step::Return => Some(format!("{prefix}-return-{number}-{nth}")),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// Builds the request of a job; `None` if the server's code cannot stand in a path, or the job is not ready.
    pub(crate) fn build(&self, job: &Job) -> Option<Request<Full<Bytes>>> {
        let mut method = Method::POST;
        let (uri, headers, body) = match &job.work {
            Work::Visit(visit) if visit.step == Step::Claim => {
                (self.campaigns[job.campaign].1.clone(), &self.headers, self.issue_body(job))
            }
            Work::Visit(visit) => {
                let (is_read, path, body) = self.visit(visit, &self.member_id(job))?;
                if is_read {
                    method = Method::GET;
                }
                (self.target.path(&path).parse().ok()?, &self.headers, body)
            }
            Work::Issue { wrong_key } => {
                let headers = if *wrong_key { &self.headers_wrong } else { &self.headers };
                (self.campaigns[job.campaign].1.clone(), headers, self.issue_body(job))
            }
            Work::Redeem { code } => {
                let path = self.target.path(&format!("/v1/coupons/{code}/redeem"));
                let body = format!("{{\"order\":\"{}-{}\"}}", self.order_prefix, job.number);
                (path.parse().ok()?, &self.headers, body)
            }
            Work::RedeemOldest => return None,
        };
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers.clone();
        if let Some(key) = self.key(job) {
            let value = HeaderValue::try_from(key).ok()?;
            request.headers_mut().insert(IDEMPOTENCY_KEY, value);
        }
        Some(request)
    }

    /// Whether a step of a visit only reads, its path and its body; `None` if it needs an order and there is none.
    fn visit(&self, visit: &Visit, member: &str) -> Option<(bool, String, String)> {
        let order = || visit.order.as_deref();
        Some(match visit.step {
            Step::Browse | Step::Claim => {
                let (product, _) = visit.lines.first()?;
                (true, format!("/v1/products/{}", product_id(*product)), String::new())
            }
            Step::Quote => (false, "/v1/orders/quote".to_owned(), visit.body(member)),
            Step::Place => (false, "/v1/orders".to_owned(), visit.body(member)),
            Step::Look => (true, format!("/v1/orders/{}", order()?), String::new()),
            Step::Cancel => (
                false,
                format!("/v1/orders/{}/cancel", order()?),
                r#"{"reason":"changed my mind"}"#.to_owned(),
            ),
            Step::Return => {
                let (product, _) = visit.lines.first()?;
                let lines = serde_json::json!([{"product": product_id(*product), "quantity": 1}]);
                let body = serde_json::json!({"lines": lines, "reason": "too small"}).to_string();
                (false, format!("/v1/orders/{}/returns", order()?), body)
            }
        })
    }

    fn issue_body(&self, job: &Job) -> String {
        let id = self.member_id(job);
        if id.bytes().any(|byte| matches!(byte, b'"' | b'\\')) {
            return serde_json::json!({ "member": id }).to_string();
        }
        format!("{{\"member\":\"{id}\"}}")
    }
}
