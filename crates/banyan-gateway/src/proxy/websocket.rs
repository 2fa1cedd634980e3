//! WebSockets over HTTP/2 (RFC 8441): an extended CONNECT becomes the GET with which HTTP/1.1 opens a WebSocket (RFC 6455),
//! and its answer 101 becomes 200. What is between treats both alike: routes, limits, times, counts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, StatusCode, Version, response};
use hyper::ext::Protocol;

/// What RFC 6455 puts behind a key before it is hashed.
const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A WebSocket that a client of HTTP/2 asked for.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// What the server must answer to our key.
    accept: String,
}

/// Turns an extended CONNECT for a WebSocket into its GET. Other requests stay as they are.
pub(crate) fn translate<B>(request: &mut Request<B>, random: impl FnOnce() -> [u8; 16]) -> Option<Wanted> {
    let is_socket = request.version() == Version::HTTP_2
        && request.method() == Method::CONNECT
        && request.extensions().get::<Protocol>().is_some_and(|protocol| protocol.as_str() == "websocket");
    if !is_socket {
        return None;
    }
    let key = STANDARD.encode(random());
    let accept = accept(key.as_bytes());
    *request.method_mut() = Method::GET;
    let headers = request.headers_mut();
    // hyper takes no other length of a CONNECT than 0.
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.entry(header::SEC_WEBSOCKET_VERSION).or_insert(HeaderValue::from_static("13"));
    let key = HeaderValue::from_str(&key).unwrap_or_else(|_| HeaderValue::from_static(""));
    headers.insert(header::SEC_WEBSOCKET_KEY, key);
    Some(Wanted { accept })
}

impl Wanted {
    /// Whether an answer 101 answers our key.
    pub(crate) fn is_answered_by(&self, headers: &HeaderMap) -> bool {
        let answered = headers.get(header::SEC_WEBSOCKET_ACCEPT);
        answered.is_some_and(|answered| answered.as_bytes() == self.accept.as_bytes())
    }
}

/// Turns an answer 101 into 200.
pub(crate) fn open(head: &mut response::Parts) {
    head.headers.remove(header::SEC_WEBSOCKET_ACCEPT);
    head.headers.remove(header::CONNECTION);
    head.headers.remove(header::UPGRADE);
    head.headers.remove(header::CONTENT_LENGTH);
    head.status = StatusCode::OK;
}

/// What a server answers to a key.
fn accept(key: &[u8]) -> String {
    STANDARD.encode(sha1(&[key, MAGIC].concat()))
}

/// SHA-1 (RFC 3174). It proves nothing here: RFC 6455 uses it to tell servers of WebSockets from others.
fn sha1(message: &[u8]) -> [u8; 20] {
    let mut padded = message.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend_from_slice(&(message.len() as u64 * 8).to_be_bytes());
    let mut state: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    for block in padded.as_chunks::<64>().0 {
        let mut words = [0; 80];
        for (word, bytes) in words.iter_mut().zip(block.as_chunks::<4>().0) {
            *word = u32::from_be_bytes(*bytes);
        }
        for at in 16..80 {
            words[at] = (words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16]).rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (at, word) in words.iter().enumerate() {
            let (mix, constant) = match at {
                0..20 => ((b & c) | (!b & d), 0x5a82_7999),
                20..40 => (b ^ c ^ d, 0x6ed9_eba1),
                40..60 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6_u32),
            };
            let next =
                a.rotate_left(5).wrapping_add(mix).wrapping_add(e).wrapping_add(constant).wrapping_add(*word);
            (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
        }
        for (sum, part) in state.iter_mut().zip([a, b, c, d, e]) {
            *sum = sum.wrapping_add(part);
        }
    }
    let mut out = [0; 20];
    for (bytes, word) in out.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn keys_are_answered_as_the_standard_says() {
        assert_eq!(hex(&sha1(b"abc")), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(hex(&sha1(b"")), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        assert_eq!(hex(&sha1(&[b'a'; 1_000])), "291e9a6c66994949b57ba5e650361e98fc36b1ba");
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn only_an_extended_connect_for_a_websocket_is_translated() {
        let asked = |method: Method, version, protocol: Option<&'static str>| {
            let mut request = Request::new(());
            (*request.method_mut(), *request.version_mut()) = (method, version);
            if let Some(protocol) = protocol {
                request.extensions_mut().insert(Protocol::from_static(protocol));
            }
            translate(&mut request, || [7; 16]).map(|_| request)
        };
        assert!(asked(Method::CONNECT, Version::HTTP_2, None).is_none());
        assert!(asked(Method::CONNECT, Version::HTTP_2, Some("connect-udp")).is_none());
        assert!(asked(Method::GET, Version::HTTP_2, Some("websocket")).is_none());
        let request = asked(Method::CONNECT, Version::HTTP_2, Some("websocket")).expect("one");
        assert_eq!(request.method(), Method::GET);
        assert_eq!(request.headers()["sec-websocket-version"], "13");
        assert_eq!(request.headers()["sec-websocket-key"], "BwcHBwcHBwcHBwcHBwcHBw==");
    }
}
