//! What the types of the configuration do not say.

use super::{Address, ConfigError, IN_PROCESS, Limits, Mode, RouteSpec, Timeouts, TlsFiles, UpstreamSpec};
use crate::limits::{MILLIS_MAX, NAME_BYTES_MAX, ROUTES_MAX};
use crate::path::{Matchable, is_well_escaped};
use crate::table::plain_host;
use http::{HeaderName, HeaderValue, Method};

/// Checks one route beside those that are there already, and fills in its name.
///
/// # Errors
/// The route, the field, what is wrong and what to do.
pub fn check_route(
    mut spec: RouteSpec,
    upstreams: &[UpstreamSpec],
    others: &[RouteSpec],
) -> Result<RouteSpec, ConfigError> {
    if spec.name.is_empty() {
        spec.name = format!("{}{}", spec.host.as_deref().unwrap_or(""), spec.path);
    }
    let failed = |why: String| ConfigError(format!("route {:?}: {why}", spec.name));
    check_match(&spec).map_err(failed)?;
    check_sides(&spec, upstreams).map_err(failed)?;
    check_timeouts(&spec).map_err(failed)?;
    check_rules(&spec).map_err(failed)?;
    if others.len() >= ROUTES_MAX {
        return Err(failed(format!("there are {ROUTES_MAX} routes already, the most there can be")));
    }
    for other in others {
        if other.name == spec.name {
            return Err(failed(
                "there is a route of this name already: give one of them another `name`".to_owned(),
            ));
        }
        let same = |a: &RouteSpec, b: &RouteSpec| {
            let host = |r: &RouteSpec| r.host.as_deref().map(|host| plain_host(host).into_owned());
            let path = |r: &RouteSpec| Matchable::new(&r.path).as_prefix().to_vec();
            host(a) == host(b) && path(a) == path(b) && a.methods == b.methods && a.headers == b.headers
        };
        if same(other, &spec) {
            return Err(failed(format!("matches the same requests as {:?}: remove one of them", other.name)));
        }
    }
    Ok(spec)
}

fn check_match(spec: &RouteSpec) -> Result<(), String> {
    if spec.name.len() > NAME_BYTES_MAX || spec.name.bytes().any(|b| b.is_ascii_control() || b == b'"') {
        return Err(format!("name: at most {NAME_BYTES_MAX} bytes, without quotes and control characters"));
    }
    if let Some(host) = &spec.host {
        let plain = host.strip_prefix("*.").unwrap_or(host);
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'[' | b']' | b':');
        let has_port =
            plain.rsplit_once(':').is_some_and(|(before, _)| !before.contains(':') && !before.is_empty());
        if plain.is_empty() || plain.contains("..") || !plain.bytes().all(fits) || has_port {
            return Err(format!(
                "host: {host:?} is no host name: write `shop.example` or `*.shop.example`, without a port"
            ));
        }
    }
    if !spec.path.starts_with('/') {
        return Err(format!("path: {:?} must begin with /", spec.path));
    }
    if spec.path.contains('*') {
        return Err(format!("path: {:?} is a prefix already: leave the * out", spec.path));
    }
    if spec.path.parse::<http::uri::PathAndQuery>().is_err() || spec.path.contains(['?', '#']) {
        return Err(format!(
            "path: {:?} is no path: write it without ? and #, and a space as %20",
            spec.path
        ));
    }
    if !is_well_escaped(&spec.path) {
        return Err(format!("path: {:?} has a % that begins no escape: write it as %25", spec.path));
    }
    if Matchable::new(&spec.path).has_dot_segments() {
        return Err(format!("path: {:?} has dot segments: write the path they lead to", spec.path));
    }
    for method in &spec.methods {
        if Method::from_bytes(method.as_bytes()).is_err() || method.bytes().any(|b| b.is_ascii_lowercase()) {
            return Err(format!("methods: {method:?} is no method: write it in capitals, such as \"GET\""));
        }
    }
    for (name, value) in &spec.headers {
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            return Err(format!("headers: {name:?} is no name of a header"));
        }
        if HeaderValue::from_str(value).is_err() {
            return Err(format!("headers: the value of {name:?} has characters that no header can have"));
        }
    }
    Ok(())
}

fn check_sides(spec: &RouteSpec, upstreams: &[UpstreamSpec]) -> Result<(), String> {
    let known = |field: &str, text: &str| -> Result<(), String> {
        if upstreams.iter().any(|upstream| upstream.name == text) {
            return Ok(());
        }
        if !text.contains("://") {
            return Err(format!(
                "{field}: no [[upstream]] is named {text:?}: add one, or write an address such as \"http://127.0.0.1:8000\""
            ));
        }
        Address::parse(text).map(|_| ()).map_err(|why| format!("{field}: {why}"))
    };
    match spec.upstream.as_deref() {
        Some(IN_PROCESS) => {
            return Err("upstream: the old shop is never `in-process`: write its address".to_owned());
        }
        Some(text) => known("upstream", text)?,
        None if spec.mode != Mode::Banyan => {
            return Err(format!("upstream: mode `{}` needs the old shop's address", spec.mode.as_str()));
        }
        None => {}
    }
    match spec.banyan.as_deref() {
        Some(IN_PROCESS) => {}
        Some(text) => known("banyan", text)?,
        None if spec.mode != Mode::Legacy => {
            return Err(format!(
                "banyan: mode `{}` needs Banyan's side: write \"in-process\" (with `banyan up --gateway`) or an address",
                spec.mode.as_str()
            ));
        }
        None => {}
    }
    if spec.mode == Mode::Canary && spec.canary.is_none() {
        return Err("canary: mode `canary` needs a share: write canary = { percent = 1 }".to_owned());
    }
    for (field, told) in [("to_legacy", &spec.to_legacy), ("to_banyan", &spec.to_banyan)] {
        if let Some(told) = told {
            crate::fields::check(told).map_err(|why| format!("{field}.{why}"))?;
        }
    }
    if let Some(rewrite) = &spec.rewrite {
        if !rewrite.from.starts_with('/') || !rewrite.to.starts_with('/') {
            return Err("rewrite: `from` and `to` must begin with /".to_owned());
        }
        if rewrite.to.parse::<http::uri::PathAndQuery>().is_err() || rewrite.to.contains(['?', '#']) {
            return Err(format!("rewrite.to: {:?} is no path", rewrite.to));
        }
    }
    Ok(())
}

fn check_rules(spec: &RouteSpec) -> Result<(), String> {
    let share = |field: &str, value: f64| {
        if (0.0..=1.0).contains(&value) {
            Ok(())
        } else {
            Err(format!("{field}: {value} is not between 0 and 1"))
        }
    };
    if let Some(canary) = &spec.canary {
        let is_name = |name: &str| HeaderName::from_bytes(name.as_bytes()).is_ok();
        if canary.override_cookie.as_deref().is_some_and(|name| !is_name(name)) {
            return Err("canary.override_cookie: that is no name of a cookie".to_owned());
        }
    }
    if let Some(evidence) = &spec.evidence {
        share("evidence.mismatch_max", evidence.mismatch_max)?;
        share("evidence.error_max", evidence.error_max)?;
        if !(0.5..1.0).contains(&evidence.confidence) {
            return Err(format!("evidence.confidence: {} is not between 0.5 and 1", evidence.confidence));
        }
        if evidence.requests == 0 {
            return Err("evidence.requests: at least 1".to_owned());
        }
    }
    // Everything else is found by making the rules ready.
    crate::rules::Rules::new(spec, None).map(|_| ())
}

pub(super) fn check_limits(limits: &Limits, timeouts: &Timeouts) -> Result<(), ConfigError> {
    let least = |field: &str, value: u64, least: u64| {
        if value < least {
            Err(ConfigError(format!("{field}: at least {least}, not {value}")))
        } else {
            Ok(())
        }
    };
    least("limits.connections_max", limits.connections_max as u64, 1)?;
    least("limits.requests_max", limits.requests_max as u64, 1)?;
    least("limits.client_connections_max", limits.client_connections_max as u64, 1)?;
    least("limits.client_requests_max", limits.client_requests_max as u64, 1)?;
    least("limits.head_bytes_max", limits.head_bytes_max as u64, 1 << 10)?;
    least("limits.headers_max", limits.headers_max as u64, 8)?;
    least("limits.uri_bytes_max", limits.uri_bytes_max as u64, 64)?;
    least("limits.streams_max", u64::from(limits.streams_max), 1)?;
    if limits.head_bytes_max > 1 << 20 {
        return Err(ConfigError("limits.head_bytes_max: at most 1048576".to_owned()));
    }
    for (field, value) in [
        ("timeouts.head_millis", timeouts.head_millis),
        ("timeouts.keep_alive_millis", timeouts.keep_alive_millis),
        ("timeouts.connect_millis", timeouts.connect_millis),
        ("timeouts.first_byte_millis", timeouts.first_byte_millis),
        ("timeouts.idle_millis", timeouts.idle_millis),
        ("timeouts.tunnel_millis", timeouts.tunnel_millis),
    ] {
        least(field, value, 1)?;
    }
    for (field, value) in [
        ("timeouts.head_millis", timeouts.head_millis),
        ("timeouts.keep_alive_millis", timeouts.keep_alive_millis),
        ("timeouts.connect_millis", timeouts.connect_millis),
        ("timeouts.first_byte_millis", timeouts.first_byte_millis),
        ("timeouts.continue_millis", timeouts.continue_millis),
        ("timeouts.idle_millis", timeouts.idle_millis),
        ("timeouts.whole_millis", timeouts.whole_millis),
        ("timeouts.tunnel_millis", timeouts.tunnel_millis),
        ("timeouts.drain_millis", timeouts.drain_millis),
    ] {
        not_longer(field, value).map_err(ConfigError)?;
    }
    Ok(())
}

pub(super) fn check_tls(files: Option<&TlsFiles>) -> Result<(), ConfigError> {
    let Some(files) = files else { return Ok(()) };
    if files.look_millis == 0 {
        return Err(ConfigError("tls.look_millis: at least 1".to_owned()));
    }
    not_longer("tls.look_millis", files.look_millis).map_err(ConfigError)
}

/// Times are added to the clock: none may be beyond all clocks.
pub(super) fn not_longer(field: &str, millis: u64) -> Result<(), String> {
    if millis > MILLIS_MAX {
        return Err(format!("{field}: at most {MILLIS_MAX} (30 days), not {millis}"));
    }
    Ok(())
}

fn check_timeouts(spec: &RouteSpec) -> Result<(), String> {
    let Some(own) = &spec.timeouts else { return Ok(()) };
    for (field, value, least) in [
        ("timeouts.first_byte_millis", own.first_byte_millis, 1),
        ("timeouts.idle_millis", own.idle_millis, 1),
        ("timeouts.whole_millis", own.whole_millis, 0),
    ] {
        let Some(value) = value else { continue };
        if value < least {
            return Err(format!("{field}: at least {least}, not {value}"));
        }
        not_longer(field, value)?;
    }
    Ok(())
}
