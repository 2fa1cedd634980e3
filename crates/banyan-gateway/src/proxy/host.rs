//! Whom a request is for.

use super::problem::Problem;
use super::strict::Flaw;
use http::header::{self, HeaderValue};
use http::{Request, Version};
use hyper::body::Incoming;

/// Whom the request is for. The target and the field must not disagree: the next server may believe the other one.
pub(crate) fn of(request: &Request<Incoming>) -> Result<HeaderValue, Problem> {
    let mut fields = request.headers().get_all(header::HOST).iter();
    let (field, more) = (fields.next(), fields.next());
    if more.is_some() {
        return Err(Problem::flaw(Flaw::Host));
    }
    let host = match (request.uri().authority(), field) {
        (Some(authority), Some(field))
            if !field.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) =>
        {
            return Err(Problem::malformed("The request's target names another host than its Host field."));
        }
        (_, Some(field)) => field.clone(),
        (Some(authority), None) => HeaderValue::from_str(authority.as_str())
            .map_err(|_| Problem::malformed("The request's target names no valid host."))?,
        // Only HTTP/1.0 may leave it out.
        (None, None) if request.version() != Version::HTTP_10 => {
            return Err(Problem::flaw(Flaw::Host));
        }
        (None, None) => return Ok(HeaderValue::from_static("")),
    };
    if !is_host(host.as_bytes()) {
        return Err(Problem::malformed("The Host is no host name or address, with or without a port."));
    }
    Ok(host)
}

/// A name or an address, IPv6 in brackets, with or without a port. What is none, a server of HTTP/2 could not be told.
fn is_host(host: &[u8]) -> bool {
    let all = |bytes: &[u8], fits: fn(&u8) -> bool| bytes.iter().all(fits);
    let (is_name, port) = match host.strip_prefix(b"[") {
        Some(rest) => {
            let end = rest.iter().position(|b| *b == b']').unwrap_or(0);
            let (address, rest) = rest.split_at(end);
            let fits = all(address, |b| b.is_ascii_hexdigit() || b":.".contains(b));
            (fits && !address.is_empty(), rest.strip_prefix(b"]").unwrap_or(b"x"))
        }
        None => {
            let end = host.iter().position(|b| *b == b':').unwrap_or(host.len());
            let (name, rest) = host.split_at(end);
            let fits = all(name, |b| b.is_ascii_alphanumeric() || b"-._".contains(b));
            // With an empty label it is nobody's name, and who leaves dots out reads another one.
            (fits && !name.is_empty() && !name.windows(2).any(|two| two == b".."), rest)
        }
    };
    is_name && (port.is_empty() || port.strip_prefix(b":").is_some_and(|port| all(port, u8::is_ascii_digit)))
}

/// The name that routes know.
pub(crate) fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_with_or_without_a_port() {
        for host in
            ["a", "a:", "a:80", "shop.example.", "my_shop-1.example:8080", "127.0.0.1", "[::1]", "[::1]:80"]
        {
            assert!(is_host(host.as_bytes()), "{host}");
            let parsed = host.parse::<http::uri::Authority>();
            assert!(parsed.is_ok(), "a server of HTTP/2 is told {host}");
        }
        for host in [
            "",
            ":80",
            "a:b",
            "a:80:80",
            "::1",
            "[::1",
            "[]",
            "[::1]x",
            "[x]",
            "x[::1]",
            "a/b",
            "a@b",
            "a b",
            "a,b",
            "a..b",
            "shop.example..",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }
}
