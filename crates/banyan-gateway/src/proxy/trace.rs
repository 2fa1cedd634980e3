//! Where a request stands in its trace (W3C Trace Context, level 1): the gateway is a hop of its own.

use super::forward::{TRACEPARENT, is_good_trace};
use super::worker::Worker;
use http::{HeaderMap, HeaderName, HeaderValue};

pub(crate) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The gateway's span of one request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Trace {
    /// What is sent on as `traceparent`.
    text: [u8; 55],
    /// The span that asked, if there is one.
    parent: Option<[u8; 16]>,
}

impl Trace {
    /// Goes on with the trace that the request is in, or begins one. Whether it is sampled is for whoever began it to say.
    pub(crate) fn of(headers: &HeaderMap, worker: &Worker) -> Self {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        worker.unique_hex(&mut text[36..52]);
        let mut given = headers.get_all(TRACEPARENT).iter();
        if let (Some(given), None) = (given.next().filter(|given| is_good_trace(given)), given.next()) {
            let given = given.as_bytes();
            text[3..35].copy_from_slice(&given[3..35]);
            let mut parent = [0; 16];
            parent.copy_from_slice(&given[36..52]);
            // Of what later versions may say with the other bits, nothing is known.
            text[54] = if is_odd(given[54]) { b'1' } else { b'0' };
            return Self { text, parent: Some(parent) };
        }
        worker.unique_hex(&mut text[3..35]);
        if (worker.unique() % 10_000) as f64 <= worker.inner.config.trace_percent * 100.0 - 1.0 {
            text[54] = b'1';
        }
        Self { text, parent: None }
    }

    /// Says so to the next hop.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        // Digits and dashes always are a value.
        if let Ok(value) = HeaderValue::from_bytes(&self.text) {
            headers.insert(TRACEPARENT, value);
        }
        if self.parent.is_none() {
            // It belongs to a trace that could not be read.
            headers.remove(TRACESTATE);
        }
    }

    /// 32 hexadecimal digits.
    pub(crate) fn id(&self) -> &str {
        digits(&self.text[3..35])
    }

    /// 16 hexadecimal digits.
    pub(crate) fn span(&self) -> &str {
        digits(&self.text[36..52])
    }

    /// The same of the span that asked.
    pub(crate) fn parent(&self) -> Option<&str> {
        self.parent.as_ref().map(|parent| digits(parent))
    }

    pub(crate) fn is_sampled(&self) -> bool {
        self.text[54] == b'1'
    }
}

fn digits(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

fn is_odd(digit: u8) -> bool {
    char::from(digit).to_digit(16).is_some_and(|digit| digit & 1 == 1)
}
