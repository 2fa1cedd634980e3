//! The configuration file: what may be written in it, and what was wrong with it.
//!
//! Parse once, then trust: [`Config::parse`] gives a [`Config`] whose parts were all checked, or a [`ConfigError`] that
//! names the line and the field and says what to do.

mod check;
mod route;
mod upstream;

pub use check::check_route;
pub use route::{
    CanarySpec, EvidenceSpec, Mode, RampStep, Rewrite, RouteSpec, RouteTimeouts, ShadowSpec, SideFieldsSpec,
};
pub use upstream::{Address, BreakerSpec, HealthSpec, HttpVersion, IN_PROCESS, UpstreamSpec};

use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// What is wrong with a configuration, and what to do about it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigError(pub String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where clients are served.
    pub listen: Vec<SocketAddr>,
    /// Where operators are served; without it there is no admin listener.
    pub admin: Option<SocketAddr>,
    /// Folder of the journal and of the admin key.
    pub state: PathBuf,
    /// Threads that serve; each has its own connections to upstreams.
    pub workers: usize,
    /// Whose `X-Forwarded-*` and `Forwarded` are believed and extended; everybody else's are replaced.
    pub trusted_proxies: Vec<Network>,
    /// Share of the traces begun here that are marked as sampled, 0 to 100.
    pub trace_percent: f64,
    /// Files with the keys that routes may send, by their names.
    pub keys: BTreeMap<String, PathBuf>,
    /// Where spans of sampled requests are sent; nowhere without it.
    pub traces: Option<TracesSpec>,
    /// TLS on the listening side.
    pub tls: Option<TlsFiles>,
    /// Limits of sizes and numbers.
    pub limits: Limits,
    /// Limits of time.
    pub timeouts: Timeouts,
    /// The access log.
    pub access_log: AccessLog,
    /// Named upstreams.
    pub upstreams: Vec<UpstreamSpec>,
    /// The routes as the file has them.
    pub routes: Vec<RouteSpec>,
}

/// A collector of spans.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct TracesSpec {
    /// Its base address, such as `http://127.0.0.1:4318`: spans go to `/v1/traces` there, as OTLP over HTTP in JSON.
    pub otlp: String,
    /// What spans say as `service.name`.
    #[serde(default = "service")]
    pub service: String,
}

fn service() -> String {
    "banyan-gateway".to_owned()
}

/// Files of a certificate, PEM.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The chain, leaf first.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// How often the files are looked at, in milliseconds: they are read again when they changed.
    #[serde(default = "look_millis")]
    pub look_millis: u64,
}

fn look_millis() -> u64 {
    10_000
}

/// Limits of sizes and numbers; everything has one.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Most connections of clients at once; more wait in the kernel's queue.
    pub connections_max: usize,
    /// Most requests under way at once; more are answered 503 with `Retry-After`.
    pub requests_max: usize,
    /// Most connections at once from one address (of IPv6: one /64) that is no trusted proxy; more are closed.
    pub client_connections_max: usize,
    /// Most requests and tunnels under way at once from one such address; more are answered 503 with `Retry-After`.
    pub client_requests_max: usize,
    /// Longest head of a request, in bytes.
    pub head_bytes_max: usize,
    /// Most header fields of a request.
    pub headers_max: usize,
    /// Longest request target, in bytes.
    pub uri_bytes_max: usize,
    /// Longest body of a request, in bytes; 0 for no limit: bodies are streamed and never held.
    pub body_bytes_max: u64,
    /// Most streams at once of one HTTP/2 connection.
    pub streams_max: u32,
    /// Pass paths with `.` and `..` segments on instead of refusing them.
    pub dot_segments: bool,
    /// Memory of all shadow copies and their answers, in bytes; what does not fit is not copied.
    pub shadow_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 16_384,
            requests_max: 8_192,
            client_connections_max: 1_024,
            client_requests_max: 512,
            head_bytes_max: 32 << 10,
            headers_max: 100,
            uri_bytes_max: 8 << 10,
            body_bytes_max: 0,
            streams_max: 128,
            dot_segments: false,
            shadow_bytes_max: 64 << 20,
        }
    }
}

/// Limits of time, in milliseconds.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// From a request's first byte to the end of its head; a TLS handshake too.
    pub head_millis: u64,
    /// Silence on a kept connection before it is closed.
    pub keep_alive_millis: u64,
    /// Connecting to an upstream, with TLS.
    pub connect_millis: u64,
    /// From the end of the request to the head of the answer.
    pub first_byte_millis: u64,
    /// How long a client that waits to be asked for its body (`Expect: 100-continue`) waits for a server that says
    /// nothing; then the gateway asks.
    pub continue_millis: u64,
    /// Between two pieces of a body, in either direction, and between two writes that a client takes.
    pub idle_millis: u64,
    /// For a whole exchange; 0 for no limit.
    pub whole_millis: u64,
    /// Silence in a tunnel, such as a WebSocket, before it is closed.
    pub tunnel_millis: u64,
    /// For requests under way when the gateway is told to stop.
    pub drain_millis: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            head_millis: 10_000,
            keep_alive_millis: 75_000,
            connect_millis: 3_000,
            first_byte_millis: 60_000,
            continue_millis: 1_000,
            idle_millis: 60_000,
            whole_millis: 0,
            tunnel_millis: 3_600_000,
            drain_millis: 20_000,
        }
    }
}

/// The access log: one event per request at level INFO, target `banyan_gateway::access`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct AccessLog {
    /// Write it.
    pub enabled: bool,
    /// Write only requests that failed (5xx) or took at least this long, in milliseconds.
    pub slow_millis: Option<u64>,
}

impl Default for AccessLog {
    fn default() -> Self {
        Self { enabled: true, slow_millis: None }
    }
}

/// Addresses of one network, such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Network {
    base: IpAddr,
    bits: u8,
}

impl Network {
    /// From `10.0.0.0/8` or a single address.
    pub fn parse(text: &str) -> Option<Self> {
        let (base, bits) = match text.split_once('/') {
            Some((base, bits)) => (base.parse::<IpAddr>().ok()?, Some(bits.parse::<u8>().ok()?)),
            None => (text.parse::<IpAddr>().ok()?, None),
        };
        let all = if base.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(all);
        (bits <= all).then_some(Self { base, bits })
    }

    /// Whether `address` is in it. An IPv4 address that comes as an IPv6 one counts as itself.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(self.bits);
                u64::from(base.to_bits()) >> shift == u64::from(address.to_bits()) >> shift
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                self.bits == 0 || (base.to_bits() ^ address.to_bits()) >> (128 - u32::from(self.bits)) == 0
            }
            _ => false,
        }
    }
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    listen: OneOrMore,
    admin: Option<String>,
    state: Option<PathBuf>,
    workers: Option<usize>,
    #[serde(default)]
    trusted_proxies: Vec<String>,
    #[serde(default = "trace_percent")]
    trace_percent: f64,
    traces: Option<TracesSpec>,
    #[serde(default)]
    keys: BTreeMap<String, PathBuf>,
    tls: Option<TlsFiles>,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    timeouts: Timeouts,
    #[serde(default)]
    access_log: AccessLog,
    #[serde(default)]
    upstream: Vec<toml::Spanned<UpstreamSpec>>,
    #[serde(default)]
    route: Vec<toml::Spanned<RouteSpec>>,
}

fn trace_percent() -> f64 {
    1.0
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl Config {
    /// Reads and checks `path`. Paths in it are relative to its folder.
    ///
    /// # Errors
    /// The file cannot be read, or something in it is wrong: with its line, its field and what to do.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            ConfigError(format!(
                "reading {}: {error}. Name a file that is there with --config",
                path.display()
            ))
        })?;
        Self::parse(&text, path.parent().unwrap_or(Path::new("")))
            .map_err(|error| ConfigError(format!("{}: {error}", path.display())))
    }

    /// Checks `text`; `folder` is what paths in it are relative to.
    ///
    /// # Errors
    /// Something in it is wrong: with its line, its field and what to do.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, ConfigError> {
        let file: File =
            toml::from_str(text).map_err(|error| ConfigError(error.to_string().trim().to_owned()))?;
        let listen = match file.listen {
            OneOrMore::One(address) => vec![address],
            OneOrMore::More(addresses) => addresses,
        };
        let listen = listen.iter().map(|text| socket("listen", text)).collect::<Result<Vec<_>, _>>()?;
        if listen.is_empty() {
            return Err(ConfigError(
                "listen: name at least one address, such as \"127.0.0.1:8080\"".to_owned(),
            ));
        }
        let mut trusted_proxies = Vec::new();
        for text in &file.trusted_proxies {
            trusted_proxies.push(Network::parse(text).ok_or_else(|| {
                ConfigError(format!(
                    "trusted_proxies: {text:?} is no network: write one such as \"10.0.0.0/8\""
                ))
            })?);
        }
        if file.keys.contains_key(IN_PROCESS) {
            return Err(ConfigError(format!(
                "keys.{IN_PROCESS}: that is the key which `banyan up --gateway` makes itself: give yours another name"
            )));
        }
        check::check_limits(&file.limits, &file.timeouts)?;
        check::check_tls(file.tls.as_ref())?;
        let line = |span: std::ops::Range<usize>| 1 + text[..span.start].matches('\n').count();
        let mut upstreams: Vec<UpstreamSpec> = Vec::new();
        for spanned in file.upstream {
            let at = line(spanned.span());
            let mut spec = spanned.into_inner();
            let failed = |why: String| ConfigError(format!("line {at}: upstream {:?}: {why}", spec.name));
            upstream::check(&spec).map_err(failed)?;
            if upstreams.iter().any(|other| other.name == spec.name) {
                return Err(failed("there is one of this name already: rename one of them".to_owned()));
            }
            spec.ca = spec.ca.map(|path| folder.join(path));
            upstreams.push(spec);
        }
        let mut routes: Vec<RouteSpec> = Vec::new();
        for spanned in file.route {
            let at = line(spanned.span());
            let route = check_route(spanned.into_inner(), &upstreams, &routes)
                .map_err(|error| ConfigError(format!("line {at}: {error}")))?;
            let used = [("to_legacy", &route.to_legacy), ("to_banyan", &route.to_banyan)];
            for (field, told) in used.into_iter().filter_map(|(field, told)| Some((field, told.as_ref()?))) {
                if let Some(name) =
                    told.key.as_ref().filter(|name| *name != IN_PROCESS && !file.keys.contains_key(*name))
                {
                    let why = crate::fields::no_key(name);
                    return Err(ConfigError(format!("line {at}: route {:?}: {field}.{why}", route.name)));
                }
            }
            routes.push(route);
        }
        if routes.is_empty() {
            return Err(ConfigError(
                "route: there is none: add [[route]] with path = \"/\" and upstream = \"http://127.0.0.1:8000\"".to_owned(),
            ));
        }
        let workers =
            file.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(2, usize::from));
        if !(1..=crate::limits::WORKERS_MAX).contains(&workers) {
            return Err(ConfigError(format!(
                "workers: between 1 and {}, not {workers}",
                crate::limits::WORKERS_MAX
            )));
        }
        if let Some(traces) = &file.traces {
            Address::parse(&traces.otlp).map_err(|why| ConfigError(format!("traces.otlp: {why}")))?;
        }
        if !(0.0..=100.0).contains(&file.trace_percent) {
            return Err(ConfigError(format!(
                "trace_percent: {} is not between 0 and 100",
                file.trace_percent
            )));
        }
        Ok(Self {
            listen,
            admin: file.admin.as_deref().map(|text| socket("admin", text)).transpose()?,
            state: folder.join(file.state.unwrap_or_else(|| PathBuf::from("banyan-gateway"))),
            workers,
            trusted_proxies,
            trace_percent: file.trace_percent,
            traces: file.traces,
            keys: file.keys.into_iter().map(|(name, path)| (name, folder.join(path))).collect(),
            tls: file.tls.map(|tls| TlsFiles {
                cert: folder.join(tls.cert),
                key: folder.join(tls.key),
                ..tls
            }),
            limits: file.limits,
            timeouts: file.timeouts,
            access_log: file.access_log,
            upstreams,
            routes,
        })
    }
}

fn socket(field: &str, text: &str) -> Result<SocketAddr, ConfigError> {
    text.parse().map_err(|_| {
        ConfigError(format!("{field}: {text:?} is no address to listen on: write one such as \"127.0.0.1:8080\" or \"[::]:8080\""))
    })
}

#[cfg(test)]
mod tests;
