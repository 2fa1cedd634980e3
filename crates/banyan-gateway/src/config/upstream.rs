//! Upstreams as they are written, and the addresses in them.

use super::check::not_longer;
use super::look_millis;
use http::uri::{Authority, Scheme};
use serde::Deserialize;
use std::path::PathBuf;

/// The word for Banyan in this process.
pub const IN_PROCESS: &str = "in-process";

/// A named group of servers that answer alike.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct UpstreamSpec {
    /// What routes call it.
    pub name: String,
    /// Its servers, such as `["http://10.0.0.5:8000", "http://10.0.0.6:8000"]`.
    pub urls: Vec<String>,
    /// What is spoken to it.
    #[serde(default)]
    pub http: HttpVersion,
    /// Certificates that are trusted for `https` instead of the system's, PEM.
    pub ca: Option<PathBuf>,
    /// How often the file of `ca` is looked at, in milliseconds: it is read again when it changed.
    #[serde(default = "look_millis")]
    pub ca_look_millis: u64,
    /// Most requests under way at once, over all servers; each uses one connection of HTTP/1.1.
    #[serde(default = "requests_max")]
    pub requests_max: usize,
    /// Most requests that wait for room; more are answered 503.
    #[serde(default = "waiting_max")]
    pub waiting_max: usize,
    /// Longest wait for room, in milliseconds.
    #[serde(default = "waiting_millis")]
    pub waiting_millis: u64,
    /// Most tunnels at once, such as WebSockets, over all servers: they take none of the room of requests. More are answered 503.
    #[serde(default = "tunnels_max")]
    pub tunnels_max: usize,
    /// How long an idle connection is kept, in milliseconds: less than the server keeps it.
    #[serde(default = "keep_millis")]
    pub keep_millis: u64,
    /// How long a connection is used at all, in milliseconds: then a name is looked up again.
    #[serde(default = "age_millis")]
    pub age_millis: u64,
    /// Send the host of the address instead of the one that the client asked for.
    #[serde(default)]
    pub own_host: bool,
    /// Asked now and then whether it is well.
    pub health: Option<HealthSpec>,
    /// When a server is left alone for a while.
    #[serde(default)]
    pub breaker: BreakerSpec,
}

fn requests_max() -> usize {
    1_024
}

fn waiting_max() -> usize {
    1_024
}

fn waiting_millis() -> u64 {
    2_000
}

fn tunnels_max() -> usize {
    1_024
}

fn keep_millis() -> u64 {
    30_000
}

fn age_millis() -> u64 {
    300_000
}

impl UpstreamSpec {
    /// An upstream of one address with all defaults, named after it.
    pub fn at(url: &str) -> Self {
        Self {
            name: url.to_owned(),
            urls: vec![url.to_owned()],
            http: HttpVersion::Auto,
            ca: None,
            ca_look_millis: look_millis(),
            requests_max: requests_max(),
            waiting_max: waiting_max(),
            waiting_millis: waiting_millis(),
            tunnels_max: tunnels_max(),
            keep_millis: keep_millis(),
            age_millis: age_millis(),
            own_host: false,
            health: None,
            breaker: BreakerSpec::default(),
        }
    }
}

/// What is spoken to an upstream.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
pub enum HttpVersion {
    /// HTTP/2 if a TLS handshake agrees on it, HTTP/1.1 otherwise.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// HTTP/1.1.
    #[serde(rename = "1.1")]
    One,
    /// HTTP/2, without TLS by prior knowledge.
    #[serde(rename = "2")]
    Two,
}

/// Asks each server now and then whether it is well.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct HealthSpec {
    /// Asked with GET; 200 to 399 is well.
    pub path: String,
    /// Between two questions, in milliseconds.
    #[serde(default = "interval_millis")]
    pub interval_millis: u64,
    /// For one answer, in milliseconds.
    #[serde(default = "timeout_millis")]
    pub timeout_millis: u64,
    /// Good answers in a row until it counts as well.
    #[serde(default = "healthy_after")]
    pub healthy_after: u32,
    /// Bad answers in a row until it no longer does.
    #[serde(default = "unhealthy_after")]
    pub unhealthy_after: u32,
}

fn interval_millis() -> u64 {
    2_000
}

fn timeout_millis() -> u64 {
    1_000
}

fn healthy_after() -> u32 {
    2
}

fn unhealthy_after() -> u32 {
    3
}

/// When a server is left alone for a while.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct BreakerSpec {
    /// Failures in a row (no connection, broken off, too slow, 502, 503, 504) until it opens; 0 for never.
    pub failures: u32,
    /// How long it stays open before one request tries, in milliseconds.
    pub open_millis: u64,
}

impl Default for BreakerSpec {
    fn default() -> Self {
        Self { failures: 10, open_millis: 5_000 }
    }
}

/// The address of one server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Address {
    /// `http` or `https`.
    pub scheme: Scheme,
    /// Host and port as written.
    pub authority: Authority,
}

impl Address {
    /// From `http://host:port` or `https://host`.
    ///
    /// # Errors
    /// What is wrong, and what to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{text:?} {why}: write an address such as \"http://127.0.0.1:8000\"");
        let uri: http::Uri = text.parse().map_err(|_| wrong("is no address"))?;
        let parts = uri.into_parts();
        let scheme = parts.scheme.ok_or_else(|| wrong("has no http:// or https://"))?;
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return Err(wrong("is neither http nor https"));
        }
        let authority = parts.authority.ok_or_else(|| wrong("has no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("has a user name or password, which the gateway does not send"));
        }
        if authority.host().is_empty() {
            return Err(wrong("has no host"));
        }
        match parts.path_and_query.as_ref().map_or("/", http::uri::PathAndQuery::as_str) {
            "" | "/" => Ok(Self { scheme, authority }),
            path => Err(format!("{text:?} has a path: leave {path:?} out, and use the route's rewrite")),
        }
    }

    /// Whether TLS is spoken.
    pub fn is_tls(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// The port, 80 or 443 if it is not written.
    pub fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(if self.is_tls() { 443 } else { 80 })
    }

    /// The host without brackets.
    pub fn host(&self) -> &str {
        self.authority.host().trim_start_matches('[').trim_end_matches(']')
    }
}

/// Checks what types do not.
pub(super) fn check(spec: &UpstreamSpec) -> Result<(), String> {
    let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if spec.name.is_empty()
        || spec.name.len() > crate::limits::NAME_BYTES_MAX
        || !spec.name.bytes().all(is_name)
        || spec.name == IN_PROCESS
    {
        return Err("name: use 1 to 100 letters, digits, - _ and ., and not `in-process`".to_owned());
    }
    if spec.urls.is_empty() {
        return Err("urls: name at least one server, such as [\"http://127.0.0.1:8000\"]".to_owned());
    }
    for url in &spec.urls {
        Address::parse(url).map_err(|why| format!("urls: {why}"))?;
    }
    if spec.requests_max == 0 {
        return Err("requests_max: at least 1, or nothing could be asked".to_owned());
    }
    if spec.ca_look_millis == 0 {
        return Err("ca_look_millis: at least 1".to_owned());
    }
    not_longer("ca_look_millis", spec.ca_look_millis)?;
    not_longer("waiting_millis", spec.waiting_millis)?;
    not_longer("keep_millis", spec.keep_millis)?;
    not_longer("age_millis", spec.age_millis)?;
    not_longer("breaker.open_millis", spec.breaker.open_millis)?;
    if let Some(health) = &spec.health {
        not_longer("health.interval_millis", health.interval_millis)?;
        not_longer("health.timeout_millis", health.timeout_millis)?;
        if !health.path.starts_with('/') || health.path.parse::<http::uri::PathAndQuery>().is_err() {
            return Err(format!("health.path: {:?} is no path: begin it with /", health.path));
        }
        if health.interval_millis == 0 || health.timeout_millis == 0 {
            return Err("health: interval_millis and timeout_millis must be at least 1".to_owned());
        }
        if health.healthy_after == 0 || health.unhealthy_after == 0 {
            return Err("health: healthy_after and unhealthy_after must be at least 1".to_owned());
        }
    }
    Ok(())
}
