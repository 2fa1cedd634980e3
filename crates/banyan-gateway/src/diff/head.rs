//! Status and headers of two answers.

use super::redact;
use super::{Difference, EXCERPT_BYTES_MAX, Found, Kind};
use http::header::{self, HeaderName};
use http::{HeaderMap, StatusCode};
use std::collections::BTreeSet;

/// Headers that say how an answer travelled or who made it, not what it says.
const IGNORED: [&str; 34] = [
    "accept-ranges",
    "age",
    "alt-svc",
    "connection",
    "content-encoding",
    "content-length",
    "date",
    "etag",
    "expires",
    "keep-alive",
    "last-modified",
    "nel",
    "proxy-connection",
    "report-to",
    "retry-after",
    "server",
    "server-timing",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "via",
    "traceparent",
    "tracestate",
    "x-amzn-trace-id",
    "x-cache",
    "x-cloud-trace-context",
    "x-correlation-id",
    "x-powered-by",
    "x-request-id",
    "x-response-time",
    "x-runtime",
    "banyan-dry-run",
];

/// How heads are compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeadRules {
    /// Headers that are not compared, beyond those that never are.
    pub ignore: BTreeSet<String>,
    /// Headers that are compared although they usually are not.
    pub compare: BTreeSet<String>,
}

impl HeadRules {
    /// Whether a header is compared.
    #[must_use]
    pub fn compares(&self, name: &str) -> bool {
        self.compare.contains(name) || !(IGNORED.contains(&name) || self.ignore.contains(name))
    }
}

/// Whether the two have the same status; if not, nothing else is worth comparing.
pub fn status(legacy: StatusCode, banyan: StatusCode, found: &mut Found) -> bool {
    if legacy != banyan {
        found.add(Difference {
            kind: Kind::Status,
            place: "status".into(),
            general: format!("{} -> {}", legacy.as_u16(), banyan.as_u16()),
            legacy: legacy.to_string(),
            banyan: banyan.to_string(),
        });
    }
    legacy == banyan
}

/// Every header that differs.
pub fn headers(rules: &HeadRules, legacy: &HeaderMap, banyan: &HeaderMap, found: &mut Found) {
    let names: BTreeSet<&str> = legacy
        .keys()
        .chain(banyan.keys())
        .map(HeaderName::as_str)
        .filter(|name| rules.compares(name))
        .collect();
    for name in names {
        let (old, new) = (plain(legacy, name), plain(banyan, name));
        if old == new {
            continue;
        }
        let hide = redact::is_secret_name(name) && name != header::SET_COOKIE.as_str();
        let show = |values: &[String]| match values {
            [] => String::new(),
            _ if hide => redact::HIDDEN.into(),
            values => redact::query(&values.join("\n"), EXCERPT_BYTES_MAX),
        };
        found.add(Difference {
            kind: Kind::Header,
            place: name.into(),
            general: name.into(),
            legacy: show(&old),
            banyan: show(&new),
        });
    }
}

/// The values of a header as far as they say something.
fn plain(headers: &HeaderMap, name: &str) -> Vec<String> {
    let mut values: Vec<String> = headers
        .get_all(name)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .collect();
    match name {
        // Which cookies, and how they may be used; what is in them is a secret and differs by nature.
        "set-cookie" => values.iter_mut().for_each(|value| *value = cookie_shape(value)),
        "content-type" | "cache-control" => {
            for value in &mut values {
                *value = value
                    .to_ascii_lowercase()
                    .split([',', ';'])
                    .map(str::trim)
                    .collect::<Vec<_>>()
                    .join("; ");
            }
        }
        // Each side may name itself.
        "location" | "content-location" => values.iter_mut().for_each(|value| *value = without_host(value)),
        _ => {}
    }
    values.sort_unstable();
    values
}

fn cookie_shape(value: &str) -> String {
    let mut parts = value.split(';').map(str::trim);
    let name = parts.next().and_then(|pair| pair.split_once('=')).map_or("", |(name, _)| name.trim());
    let mut flags: Vec<String> = parts
        .map(str::to_ascii_lowercase)
        .filter(|flag| !flag.is_empty() && !flag.starts_with("expires=") && !flag.starts_with("max-age="))
        .filter(|flag| !flag.starts_with("domain="))
        .collect();
    flags.sort_unstable();
    format!("{name}; {}", flags.join("; "))
}

fn without_host(value: &str) -> String {
    let rest = value.strip_prefix("http://").or_else(|| value.strip_prefix("https://"));
    rest.map_or(value, |rest| rest.find('/').map_or("/", |at| &rest[at..])).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(
        legacy: &[(&'static str, &'static str)],
        banyan: &[(&'static str, &'static str)],
        expected: &[&str],
    ) {
        let map = |pairs: &[(&'static str, &'static str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in pairs {
                map.append(*name, value.parse().expect("a value"));
            }
            map
        };
        let mut found = Found::default();
        headers(&HeadRules::default(), &map(legacy), &map(banyan), &mut found);
        let found: Vec<&str> = found.differences.iter().map(|difference| difference.place.as_str()).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn headers_are_compared_by_what_they_say() {
        check(&[("server", "a"), ("date", "x")], &[("x-request-id", "1")], &[]);
        check(
            &[("content-type", "text/html; charset=UTF-8")],
            &[("content-type", "text/html;charset=utf-8")],
            &[],
        );
        check(&[("content-type", "text/html")], &[("content-type", "application/json")], &["content-type"]);
        check(&[("location", "http://old/cart?x=1")], &[("location", "/cart?x=1")], &[]);
        check(&[("location", "/cart")], &[("location", "/login")], &["location"]);
        check(&[("x-shop", "1")], &[], &["x-shop"]);
    }

    #[test]
    fn cookies_are_compared_without_their_values() {
        let old = [("set-cookie", "sid=abc; Path=/; HttpOnly; Expires=Mon")];
        check(&old, &[("set-cookie", "sid=xyz; HttpOnly; Path=/")], &[]);
        check(&old, &[("set-cookie", "sid=xyz; Path=/")], &["set-cookie"]);
    }
}
