//! A route as people write it: in the configuration file, in the admin API and in the journal. One shape for all three.

use crate::canary::KeyMissing;
use crate::diff::text::Mask;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Which side answers.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The old shop answers everything.
    #[default]
    Legacy,
    /// The old shop answers; copies go to Banyan and the answers are compared.
    Shadow,
    /// A stated share of members is answered by Banyan, everybody else by the old shop.
    Canary,
    /// Banyan answers everything.
    Banyan,
}

impl Mode {
    /// The word in files, answers and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Shadow => "shadow",
            Self::Canary => "canary",
            Self::Banyan => "banyan",
        }
    }
}

/// One route: what it matches, who answers, and the rules of its move.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RouteSpec {
    /// Unique; without one it is made from host and path.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// `shop.example`, `*.shop.example` (one label or more), or absent for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// A prefix that ends at a segment border: `/shop` matches `/shop` and `/shop/x`, not `/shopping`.
    pub path: String,
    /// Only these methods; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Only requests with all of these headers; the value `*` asks only that the header is there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Which side answers.
    #[serde(default)]
    pub mode: Mode,
    /// The old shop: an address (`http://127.0.0.1:8000`) or the name of an `[[upstream]]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// Banyan: `in-process`, an address, or the name of an `[[upstream]]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub banyan: Option<String>,
    /// What the old shop is told besides what the client said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_legacy: Option<SideFieldsSpec>,
    /// What Banyan is told besides what the client said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_banyan: Option<SideFieldsSpec>,
    /// Replaces a prefix of the path on its way to the side that answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<Rewrite>,
    /// Tokens of `Upgrade` that pass through; `["websocket"]` unless said otherwise. `[]` lets none through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrades: Option<Vec<String>>,
    /// Who goes to Banyan in mode `canary`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanarySpec>,
    /// What is copied and how answers are compared in mode `shadow`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowSpec>,
    /// What must hold before the share grows, and when it is taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<EvidenceSpec>,
    /// Capabilities whose old tables this route's handlers use: for the reference ledger.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub touches: Vec<String>,
    /// Time limits other than the gateway's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<RouteTimeouts>,
    /// Longest request body other than the gateway's, in bytes; 0 for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_bytes_max: Option<u64>,
}

impl RouteSpec {
    /// What copies ask, and whom, in a form that only says whether it is the same: what only says who answers users, how fast
    /// copies are made and how answers are judged is not in it.
    pub(crate) fn asks(&self) -> String {
        let pretends = self.shadow.as_ref().is_some_and(|shadow| shadow.dry_run);
        let to = (&self.banyan, &self.rewrite, pretends);
        if let Some(told) = &self.to_banyan {
            return digest(&(&self.name, &self.host, &self.path, &self.methods, &self.headers, to, told));
        }
        digest(&(&self.name, &self.host, &self.path, &self.methods, &self.headers, to))
    }

    /// Which requests it gets, as far as it says so itself, in the same form.
    pub(crate) fn matches(&self) -> String {
        digest(&(&self.host, &self.path, &self.methods, &self.headers))
    }
}

fn digest(parts: &impl Serialize) -> String {
    // Everything in it was read from text, or can be written as JSON: the admin API does so all the time.
    let text = serde_json::to_vec(parts).unwrap_or_default();
    blake3::hash(&text).to_hex()[..32].to_owned()
}

/// What one side is told besides what the client said, with copies too.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SideFieldsSpec {
    /// The name of a key in `[keys]` of the configuration file, or `in-process` beside a server: sent as `Authorization: Bearer KEY` in place of the caller's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The methods for which it is sent; GET and HEAD unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_methods: Option<Vec<String>>,
    /// Header fields that are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strip: Vec<String>,
    /// Header fields that are set. No secrets: whoever sees routes sees them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, String>,
}

/// Replaces the prefix `from` of the path by `to`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rewrite {
    /// Prefix of the path, ending at a segment border.
    pub from: String,
    /// What takes its place.
    pub to: String,
    /// Rewrite on the way to this side only; both without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub side: Option<crate::side::Side>,
}

/// Who goes to Banyan in mode `canary`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CanarySpec {
    /// 0 to 100, in steps of 0.01.
    pub percent: f64,
    /// What is hashed: `member`, `cookie:NAME` or `header:NAME`. The same value is always on the same side.
    #[serde(default = "by_member")]
    pub by: String,
    /// A header that chooses the side for one request: `banyan` or `legacy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub override_header: Option<String>,
    /// A cookie that chooses the side until it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub override_cookie: Option<String>,
    /// Networks whose clients may write `banyan` or `legacy` there; everybody else needs a signed value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub override_from: Vec<String>,
    /// What happens to a request without a key: `cookie` gives it one of the gateway's own, `legacy` sends it there.
    #[serde(default, skip_serializing_if = "KeyMissing::is_default")]
    pub missing: KeyMissing,
    /// Salt of the hash; the route's name without it. Routes with the same salt and share have the same members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salt: Option<String>,
    /// Shares by time, each from its instant on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ramp: Vec<RampStep>,
    /// The ramp stands where it was then. RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_at: Option<String>,
}

impl CanarySpec {
    /// A canary that nobody is in yet, by member.
    pub(crate) fn nobody() -> Self {
        Self {
            percent: 0.0,
            by: by_member(),
            override_header: None,
            override_cookie: None,
            override_from: Vec::new(),
            missing: KeyMissing::default(),
            salt: None,
            ramp: Vec::new(),
            paused_at: None,
        }
    }
}

fn by_member() -> String {
    "member".to_owned()
}

/// From `at` on, `percent`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RampStep {
    /// RFC 3339, such as `2026-11-24T09:00:00Z`.
    pub at: String,
    /// 0 to 100, in steps of 0.01.
    pub percent: f64,
}

/// What is copied and how answers are compared.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ShadowSpec {
    /// Share of requests that are copied, 0 to 100.
    #[serde(default = "everything")]
    pub percent: f64,
    /// Copy writes too: Banyan's side declares that it only pretends for them.
    #[serde(default)]
    pub dry_run: bool,
    /// Copies that may wait; more are skipped and counted.
    #[serde(default = "queue_copies")]
    pub queue: usize,
    /// Arrays that are compared by a key instead of by position: path to field name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub arrays_by_key: BTreeMap<String, String>,
    /// JSON paths that are not compared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
    /// Headers that are not compared, beside `Date`, `Server` and others that never are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore_headers: Vec<String>,
    /// Headers that are compared although they usually are not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compare_headers: Vec<String>,
    /// What is hidden in texts and pages before they are compared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mask: Vec<Mask>,
    /// Share of compared reads for which the old shop is asked again, to learn its noise, 0 to 100.
    #[serde(default = "noise_share")]
    pub noise_percent: f64,
    /// Copies under way at once.
    #[serde(default = "copies_at_once")]
    pub at_once: usize,
    /// For one copy, in milliseconds.
    #[serde(default = "copy_millis")]
    pub whole_millis: u64,
    /// Longest request body that is copied, in bytes.
    #[serde(default = "copy_body_bytes")]
    pub body_bytes_max: usize,
    /// Longest answer body that is compared, in bytes.
    #[serde(default = "copy_answer_bytes")]
    pub answer_bytes_max: usize,
}

fn everything() -> f64 {
    100.0
}

fn queue_copies() -> usize {
    1_000
}

fn noise_share() -> f64 {
    1.0
}

fn copies_at_once() -> usize {
    8
}

fn copy_millis() -> u64 {
    10_000
}

fn copy_body_bytes() -> usize {
    64 << 10
}

fn copy_answer_bytes() -> usize {
    1 << 20
}

/// What must hold before the share grows, and when it is taken back.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceSpec {
    /// Least requests that are looked at.
    pub requests: u64,
    /// Largest share of answers that differ, 0 to 1.
    #[serde(default)]
    pub mismatch_max: f64,
    /// Largest share of errors on Banyan's side, 0 to 1.
    #[serde(default)]
    pub error_max: f64,
    /// Largest ratio of Banyan's p99 to the old shop's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_ratio_max: Option<f64>,
    /// How sure, such as 0.95.
    #[serde(default = "confidence")]
    pub confidence: f64,
    /// The shares that are gone through, in percent.
    #[serde(default = "evidence_steps")]
    pub steps: Vec<f64>,
    /// How long a route stays back after it went back, in seconds; doubles each time.
    #[serde(default = "hold_seconds")]
    pub hold_seconds: u64,
    /// The last so many seconds decide about going back.
    #[serde(default = "window_seconds")]
    pub window_seconds: u64,
}

fn confidence() -> f64 {
    0.95
}

fn evidence_steps() -> Vec<f64> {
    vec![1.0, 5.0, 25.0, 50.0, 100.0]
}

fn hold_seconds() -> u64 {
    600
}

fn window_seconds() -> u64 {
    60
}

/// Time limits of one route, in milliseconds; absent ones are the gateway's.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RouteTimeouts {
    /// Until the answer's head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte_millis: Option<u64>,
    /// Between two pieces of a body, in either direction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_millis: Option<u64>,
    /// For all of it; 0 for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole_millis: Option<u64>,
}
