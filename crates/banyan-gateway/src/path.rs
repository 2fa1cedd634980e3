//! Paths as routes see them: a route for `/admin` must not be got around by writing `/%61dmin` or `/x/../admin`.

use std::borrow::Cow;

/// A path whose harmless escapes (`%61` for `a`) are undone, for matching only: what is sent on is what came.
pub(crate) struct Matchable<'a>(Cow<'a, str>);

impl<'a> Matchable<'a> {
    /// Undoes escapes of letters, digits and `-._~`.
    pub(crate) fn new(path: &'a str) -> Self {
        if !path.contains('%') {
            return Self(Cow::Borrowed(path));
        }
        let bytes = path.as_bytes();
        let mut plain = Vec::with_capacity(bytes.len());
        let mut at = 0;
        while at < bytes.len() {
            let escaped = (bytes[at] == b'%').then(|| hex(bytes.get(at + 1..at + 3)?)).flatten();
            match escaped.filter(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~')) {
                Some(byte) => {
                    plain.push(byte);
                    at += 3;
                }
                None => {
                    plain.push(bytes[at]);
                    at += 1;
                }
            }
        }
        Self(String::from_utf8(plain).map_or(Cow::Borrowed(path), Cow::Owned))
    }

    /// The path to compare with.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a segment is `.` or `..`, also written as `%2e`, or behind a backslash, which some servers read as `/`.
    pub(crate) fn has_dot_segments(&self) -> bool {
        self.0.contains('.')
            && self.0.split(['/', '\\']).any(|segment| {
                let name = segment.split(';').next().unwrap_or(segment);
                name == "." || name == ".."
            })
    }
}

fn hex(two: &[u8]) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    Some(digit(two[0])? << 4 | digit(two[1])?)
}
