//! Header fields on their way through (RFC 9110, 7.6): what ends at each hop, who asked, and by what name it is known.

use crate::config::Network;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Version};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};

/// How many fields speak of one connection only.
const HOPS: usize = 6;
/// Fields that speak of one connection only; [`remove_hop`] knows their order.
static HOP: [HeaderName; HOPS] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// How fields begin that only a proxy may say something in: what it knows of a client, and also of its user, certificate
/// and path.
const OF_PROXIES: &str = "x-forwarded-";
/// Other fields that only a proxy may say something in: some proxies write them, and many servers believe them.
const ALSO_OF_PROXIES: [&str; 15] = [
    "x-real-ip",
    "x-client-ip",
    "x-original-url",
    "x-rewrite-url",
    "x-forwarded",
    "x-cluster-client-ip",
    "x-original-forwarded-for",
    "x-original-host",
    "x-host",
    "x-appengine-user-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "fastly-client-ip",
    "forwarded-for",
];
/// Fields that must not be said in another way to write them, besides those.
const NOT_WITH_UNDERSCORES: [&str; 4] =
    ["x-request-id", "idempotency-key", "transfer-encoding", "content-length"];

/// Fields that say nothing good in a trailer (RFC 9110, 6.5.1): what frames or routes a message, what speaks of one connection,
/// who asks, and what its content is. A server that takes trailers for header fields would believe them.
const NOT_IN_TRAILERS: [&str; 21] = [
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "max-forwards",
    "proxy-authorization",
    "proxy-connection",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// Removes from trailers what has no business there.
pub(crate) fn clean_trailers(trailers: &mut HeaderMap) {
    let has_none = |name: &HeaderName| {
        let dashed = name.as_str().replace('_', "-");
        NOT_IN_TRAILERS.contains(&&*dashed) || of_proxies(&dashed) || NOT_WITH_UNDERSCORES.contains(&&*dashed)
    };
    let removed: Vec<HeaderName> = trailers.keys().filter(|name| has_none(name)).cloned().collect();
    for name in removed {
        trailers.remove(name);
    }
}

/// Removes what `Connection` names: it was meant for this connection only. What it is made of itself stays for [`remove_hop`].
pub(crate) fn remove_named(headers: &mut HeaderMap) {
    match headers.get(header::CONNECTION) {
        None => return,
        Some(only) if is_plain(only) && headers.get_all(header::CONNECTION).iter().count() == 1 => return,
        Some(_) => {}
    }
    for name in connection_names(headers) {
        // What frames a message or says whom it is for is never one connection's own business.
        if name != header::HOST && name != header::CONTENT_LENGTH && !HOP.contains(&name) {
            headers.remove(name);
        }
    }
}

/// Removes what ends here. Returns whether the sender takes trailers.
pub(crate) fn remove_hop(headers: &mut HeaderMap) -> bool {
    // One look at the names that are there costs less than looking for each that could be.
    let mut seen = [false; HOPS];
    for name in headers.keys() {
        let at = match name.as_str() {
            "connection" => 0,
            "keep-alive" => 1,
            "proxy-connection" => 2,
            "te" => 3,
            "transfer-encoding" => 4,
            "upgrade" => 5,
            _ => continue,
        };
        seen[at] = true;
    }
    if seen == [false; HOPS] {
        return false;
    }
    if seen[0] {
        remove_named(headers);
    }
    let trailers = seen[3] && has_token(headers, &header::TE, "trailers");
    if seen[4] {
        // What the encoding framed is framed anew: a length beside it means nothing, and would be believed.
        headers.remove(header::CONTENT_LENGTH);
    }
    for (name, _) in HOP.iter().zip(seen).filter(|(_, seen)| *seen) {
        headers.remove(name);
    }
    trailers
}

fn is_plain(value: &HeaderValue) -> bool {
    value.as_bytes().eq_ignore_ascii_case(b"keep-alive") || value.as_bytes().eq_ignore_ascii_case(b"close")
}

fn connection_names(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse().ok()).collect()
}

/// Whether a list in `name` has `token`.
pub(crate) fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|item| item.trim().eq_ignore_ascii_case(token))
}

/// The protocol that a request asks for, in a way in which it could have it.
pub(crate) fn asked_upgrade(headers: &HeaderMap, method: &Method, version: Version) -> Option<HeaderValue> {
    let wanted = headers.get(header::UPGRADE)?;
    if version != Version::HTTP_11 || method != Method::GET || headers.contains_key(header::CONTENT_LENGTH) {
        return None;
    }
    if headers.contains_key(header::TRANSFER_ENCODING) || !has_token(headers, &header::CONNECTION, "upgrade")
    {
        return None;
    }
    Some(wanted.clone())
}

/// Whether a route passes the protocol.
pub(crate) fn may_upgrade(wanted: &HeaderValue, allowed: &[Box<str>]) -> bool {
    // One protocol and nothing beside it: h2c is never offered on.
    wanted.to_str().is_ok_and(|name| allowed.iter().any(|token| name.trim().eq_ignore_ascii_case(token)))
}

/// What is known about who sends, on one connection.
pub(crate) struct Sender {
    /// The peer of the connection.
    pub peer: IpAddr,
    /// Whether what it says about others is believed.
    pub trusted: bool,
    proto: HeaderValue,
    peer_value: HeaderValue,
    /// The last host and what was said of it.
    last: Mutex<Option<(HeaderValue, HeaderValue)>>,
}

impl Sender {
    pub(crate) fn new(peer: IpAddr, tls: bool, trusted: &[Network]) -> Self {
        let peer = peer.to_canonical();
        let peer_value =
            HeaderValue::from_str(&peer.to_string()).unwrap_or_else(|_| HeaderValue::from_static("unknown"));
        Self {
            peer,
            trusted: trusted.iter().any(|network| network.contains(peer)),
            proto: HeaderValue::from_static(if tls { "https" } else { "http" }),
            peer_value,
            last: Mutex::new(None),
        }
    }

    /// The client: the peer, or the last one before the proxies that are trusted. Nothing if such a proxy names somebody
    /// who cannot be read: that is not the proxy itself, and may be anybody.
    pub(crate) fn client(&self, headers: &HeaderMap, trusted: &[Network]) -> Option<IpAddr> {
        let mut client = self.peer;
        if !self.trusted {
            return Some(client);
        }
        let listed = headers.get_all(X_FORWARDED_FOR).iter().rev();
        // Not as text: what the client wrote itself, before all proxies, may be none.
        let items = listed.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
        for item in items.map(<[u8]>::trim_ascii).filter(|item| !item.is_empty()) {
            client = address(item)?;
            if !trusted.iter().any(|network| network.contains(client)) {
                break;
            }
        }
        Some(client)
    }

    /// Says who asked, by what scheme and host.
    pub(crate) fn write(&self, headers: &mut HeaderMap, host: &HeaderValue) {
        remove_what_is_not_theirs(headers, self.trusted);
        if !self.trusted {
            headers.insert(X_FORWARDED_FOR, self.peer_value.clone());
            headers.insert(X_FORWARDED_PROTO, self.proto.clone());
            headers.insert(X_FORWARDED_HOST, host.clone());
            if let Some(value) = self.forwarded_alone(host) {
                headers.insert(header::FORWARDED, value);
            }
        } else {
            let value = joined(headers, &X_FORWARDED_FOR).and_then(|mut before| {
                before.extend_from_slice(b", ");
                before.extend_from_slice(self.peer_value.as_bytes());
                HeaderValue::from_maybe_shared(bytes::Bytes::from(before)).ok()
            });
            headers.insert(X_FORWARDED_FOR, value.unwrap_or_else(|| self.peer_value.clone()));
            headers.entry(X_FORWARDED_PROTO).or_insert_with(|| self.proto.clone());
            headers.entry(X_FORWARDED_HOST).or_insert_with(|| host.clone());
            let before = joined(headers, &header::FORWARDED);
            if let Some(value) = self.forwarded(before.as_deref(), host) {
                headers.insert(header::FORWARDED, value);
            }
        }
    }

    /// What is said of nearly every request of a connection: made once for each host.
    fn forwarded_alone(&self, host: &HeaderValue) -> Option<HeaderValue> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((for_host, value)) = &*last
            && for_host == host
        {
            return Some(value.clone());
        }
        let value = self.forwarded(None, host)?;
        *last = Some((host.clone(), value.clone()));
        Some(value)
    }

    fn forwarded(&self, before: Option<&[u8]>, host: &HeaderValue) -> Option<HeaderValue> {
        let mut text = Vec::with_capacity(96);
        if let Some(before) = before {
            text.extend_from_slice(before);
            text.extend_from_slice(b", ");
        }
        text.extend_from_slice(b"for=");
        if self.peer.is_ipv6() {
            text.extend_from_slice(b"\"[");
            text.extend_from_slice(self.peer_value.as_bytes());
            text.extend_from_slice(b"]\"");
        } else {
            text.extend_from_slice(self.peer_value.as_bytes());
        }
        text.extend_from_slice(b";host=\"");
        text.extend_from_slice(host.as_bytes());
        text.extend_from_slice(b"\";proto=");
        text.extend_from_slice(self.proto.as_bytes());
        HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).ok()
    }
}

/// All that a list says, byte for byte.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let values = headers.get_all(name).iter().map(HeaderValue::as_bytes).filter(|value| !value.is_empty());
    let values: Vec<&[u8]> = values.collect();
    (!values.is_empty()).then(|| values.join(&b", "[..]))
}

/// `203.0.113.9`, `2001:db8::9` or `[2001:db8::9]`, the first and the last also with a port.
fn address(item: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(item).ok()?;
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let address = match bare {
        Some(bare) => bare.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => text.parse::<IpAddr>().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|at| at.ip())),
    };
    address.map(|address| address.to_canonical())
}

/// Removes what only a proxy may say, if a stranger says it. Many servers read `X_Forwarded_For` as `X-Forwarded-For`: what
/// only looks like such a field is passed on for nobody.
fn remove_what_is_not_theirs(headers: &mut HeaderMap, trusted: bool) {
    // Empty as a rule, and then it costs nothing.
    let names = headers.keys().filter(|name| is_not_theirs(name.as_str(), trusted));
    let removed: Vec<HeaderName> = names.cloned().collect();
    for name in removed {
        headers.remove(name);
    }
}

fn of_proxies(name: &str) -> bool {
    name.starts_with(OF_PROXIES) || ALSO_OF_PROXIES.contains(&name)
}

/// `name` is in lower case. Those that are written anew count as theirs.
fn is_not_theirs(name: &str, trusted: bool) -> bool {
    // Nobody's field, and CGI gives it to programs as HTTP_PROXY, by which they choose whom to ask (CVE-2016-5385).
    if name == "proxy" {
        return true;
    }
    if name.contains('_') {
        let dashed = name.replace('_', "-");
        return of_proxies(&dashed) || NOT_WITH_UNDERSCORES.contains(&&*dashed);
    }
    !trusted
        && matches!(name.as_bytes().first(), Some(b'x' | b't' | b'c' | b'f'))
        && of_proxies(name)
        && ![X_FORWARDED_FOR, X_FORWARDED_PROTO, X_FORWARDED_HOST].iter().any(|anew| anew == name)
}

/// Adds ourselves to the list of proxies.
pub(crate) fn add_via(headers: &mut HeaderMap, version: Version) {
    let value = match version {
        Version::HTTP_2 => "2 banyan",
        Version::HTTP_10 => "1.0 banyan",
        _ => "1.1 banyan",
    };
    headers.append(header::VIA, HeaderValue::from_static(value));
}

/// Whether an answer's body is encoded for one connection in a way that only hyper's `chunked` is not: whoever gets it
/// without the field could not read it.
pub(crate) fn is_coded(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::TRANSFER_ENCODING).iter();
    values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).any(|coding| {
        let coding = coding.trim_ascii();
        !coding.eq_ignore_ascii_case(b"chunked")
            && !coding.eq_ignore_ascii_case(b"identity")
            && !coding.is_empty()
    })
}

/// A length that is said several times, and alike, is said once; one that contradicts itself is not said. hyper takes the
/// first from a server, and nobody else need.
pub(crate) fn one_length(headers: &mut HeaderMap) {
    let is_plain = |value: &HeaderValue| value.as_bytes().iter().all(u8::is_ascii_digit);
    let mut values = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = values.next() else { return };
    if is_plain(first) && values.next().is_none() {
        return;
    }
    let all = headers.get_all(header::CONTENT_LENGTH).iter();
    let mut lengths =
        all.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let first = lengths.next().unwrap_or_default();
    let value = lengths.all(|length| length == first).then(|| HeaderValue::from_bytes(first).ok()).flatten();
    match value.filter(|value| is_plain(value) && !value.is_empty()) {
        Some(value) => drop(headers.insert(header::CONTENT_LENGTH, value)),
        None => drop(headers.remove(header::CONTENT_LENGTH)),
    }
}

/// How often the request went through a gateway of ours, as far as it says so.
pub(crate) fn passes(headers: &HeaderMap) -> usize {
    let values = headers.get_all(header::VIA).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter(|hop| hop.trim().ends_with(" banyan")).count()
}

/// HTTP/2 cuts cookies into pieces; HTTP/1 has them in one.
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(header::COOKIE).iter().count() < 2 {
        return;
    }
    let pieces: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(value) = HeaderValue::from_bytes(&pieces.join(&b"; "[..])) {
        headers.insert(header::COOKIE, value);
    }
}

/// Whether a request id from outside can be kept.
pub(crate) fn is_good_id(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    (1..=128).contains(&bytes.len())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.:/+=@".contains(b))
}

/// Whether a `traceparent` is one (W3C Trace Context).
pub(crate) fn is_good_trace(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    let lower_hex = |part: &[u8]| part.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    bytes.len() >= 55
        && (bytes.len() == 55 || (&bytes[..2] != b"00" && bytes[55] == b'-'))
        && &bytes[..2] != b"ff"
        && [bytes[2], bytes[35], bytes[52]] == [b'-'; 3]
        && [&bytes[..2], &bytes[3..35], &bytes[36..52], &bytes[53..55]].into_iter().all(lower_hex)
        && bytes[3..35].iter().any(|b| *b != b'0')
        && bytes[36..52].iter().any(|b| *b != b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_the_last_whom_a_trusted_proxy_names_or_unknown() {
        let trusted = [Network::parse("10.0.0.0/8").expect("a network")];
        let proxy: IpAddr = "10.0.0.1".parse().expect("an address");
        let sender = Sender::new(proxy, false, &trusted);
        let client = |values: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(X_FORWARDED_FOR, HeaderValue::from_bytes(value).expect("a value"));
            }
            sender.client(&headers, &trusted).map(|client| client.to_string())
        };
        let known =
            |values: &[&[u8]], is: &str| assert_eq!(client(values).as_deref(), Some(is), "{values:?}");
        known(&[b"\xff, 203.0.113.9"], "203.0.113.9");
        known(&[b"\xff", b"203.0.113.9"], "203.0.113.9");
        known(&[b"1.1.1.1, 203.0.113.9:443, 10.0.0.2"], "203.0.113.9");
        known(&[b"[2001:db8::9]:5"], "2001:db8::9");
        known(&[b"[2001:db8::9]"], "2001:db8::9");
        known(&[b"2001:db8::9"], "2001:db8::9");
        known(&[b"::ffff:203.0.113.9"], "203.0.113.9");
        known(&[b"203.0.113.9, ,"], "203.0.113.9");
        // All who are named are proxies: the first of them asks for itself.
        known(&[b"10.0.0.3, 10.0.0.2"], "10.0.0.3");
        known(&[], "10.0.0.1");
        for unreadable in
            [&b"unknown"[..], b"\xff", b"\xff, 10.0.0.2", b"203.0.113.9:port", b"[::1", b"203.0.113.9, _x"]
        {
            assert_eq!(client(&[unreadable]), None, "{unreadable:?}");
        }
        let stranger = Sender::new("203.0.113.7".parse().expect("an address"), false, &trusted);
        let mut headers = HeaderMap::new();
        headers.insert(X_FORWARDED_FOR, HeaderValue::from_static("10.0.0.9"));
        assert_eq!(stranger.client(&headers, &trusted), "203.0.113.7".parse().ok(), "it is not asked");
    }
}
