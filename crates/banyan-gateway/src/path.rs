//! Paths as routes see them: a route for `/admin` must not be got around by writing `/%61dmin`, `//admin` or `/x/../admin`,
//! which the server behind another route may read as `/admin`.

use std::borrow::Cow;

/// A path in the plainest form that any server could read it in, for matching only: what is sent on is what came.
///
/// Escapes of letters, digits, `-._~`, `/` and `\` are undone, `\` is `/`, several `/` are one, and what follows a `;` in a
/// segment is left out.
pub(crate) struct Matchable<'a>(Cow<'a, str>);

impl<'a> Matchable<'a> {
    pub(crate) fn new(path: &'a str) -> Self {
        let mut last = 0;
        let is_plain = path.bytes().all(|byte| {
            let is_special = match byte {
                b'%' | b'\\' | b';' => true,
                byte => byte == b'/' && last == b'/',
            };
            last = byte;
            !is_special
        });
        if is_plain {
            return Self(Cow::Borrowed(path));
        }
        let bytes = path.as_bytes();
        let mut plain = Vec::with_capacity(bytes.len());
        let mut at = 0;
        let mut in_parameters = false;
        while let Some((byte, length)) = plain_byte(bytes, at) {
            at += length;
            match byte {
                b'/' => {
                    in_parameters = false;
                    if plain.last() != Some(&b'/') {
                        plain.push(b'/');
                    }
                }
                b';' => in_parameters = true,
                _ if in_parameters => {}
                byte => plain.push(byte),
            }
        }
        Self(String::from_utf8(plain).map_or(Cow::Borrowed(path), Cow::Owned))
    }

    /// The path to compare with.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a segment is `.` or `..`, however it is written.
    pub(crate) fn has_dot_segments(&self) -> bool {
        self.0.contains('.') && self.0.split('/').any(|segment| segment == "." || segment == "..")
    }
}

/// Where `prefix`, which ends at a segment border and not with a slash, ends in `path`, however that is written; nothing if the
/// path does not begin so.
pub(crate) fn end_of_prefix(path: &str, prefix: &str) -> Option<usize> {
    let (bytes, prefix) = (path.as_bytes(), prefix.as_bytes());
    let (mut at, mut matched, mut last, mut in_parameters) = (0, 0, 0, false);
    while matched < prefix.len() {
        let (byte, length) = plain_byte(bytes, at)?;
        at += length;
        match byte {
            b'/' if last == b'/' => in_parameters = false,
            b';' => in_parameters = true,
            byte if in_parameters && byte != b'/' => {}
            byte if byte == prefix[matched] => {
                (matched, last, in_parameters) = (matched + 1, byte, false);
            }
            _ => return None,
        }
    }
    match plain_byte(bytes, at) {
        None | Some((b'/' | b';', _)) => Some(at),
        Some(_) => None,
    }
}

/// The byte that is written at a place, and how many it takes there.
fn plain_byte(bytes: &[u8], at: usize) -> Option<(u8, usize)> {
    let escaped = (*bytes.get(at)? == b'%').then(|| hex(bytes.get(at + 1..at + 3)?)).flatten();
    let harmless = |b: &u8| b.is_ascii_alphanumeric() || b"-._~/\\".contains(b);
    let (byte, length) = escaped.filter(harmless).map_or((bytes[at], 1), |byte| (byte, 3));
    Some((if byte == b'\\' { b'/' } else { byte }, length))
}

fn hex(two: &[u8]) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    Some(digit(two[0])? << 4 | digit(two[1])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is cut off is what is matched, whatever the path.
    #[test]
    fn a_prefix_ends_where_its_plainest_form_does() {
        for (path, prefix, rest) in [
            ("/api/x", "/api", Some("/x")),
            ("/api", "/api", Some("")),
            ("/apis", "/api", None),
            ("/ap", "/api", None),
            ("/%61pi/x", "/api", Some("/x")),
            ("//api//x", "/api", Some("//x")),
            ("/api%2Fx", "/api", Some("%2Fx")),
            ("/api\\x", "/api", Some("\\x")),
            ("/api;a=b/x", "/api", Some(";a=b/x")),
            ("/;a/api/x", "/api", Some("/x")),
            ("/v1;a/api;b", "/v1/api", Some(";b")),
            ("/v1;a", "/v1/api", None),
            ("/v1%2f%2fapi", "/v1/api", Some("")),
            ("/ap%69%73", "/api", None),
            ("/x", "", Some("/x")),
            ("/%zz", "/api", None),
        ] {
            assert_eq!(end_of_prefix(path, prefix).map(|at| &path[at..]), rest, "{path} {prefix}");
        }
    }

    #[test]
    fn however_a_path_is_written_it_is_matched_in_its_plainest_form() {
        for (written, wanted, dots) in [
            ("/", "/", false),
            ("/shop/a.b/...", "/shop/a.b/...", false),
            ("/%61dmin", "/admin", false),
            ("//admin", "/admin", false),
            ("/x//admin///", "/x/admin/", false),
            ("/%2fadmin", "/admin", false),
            ("/shop%2Fadmin", "/shop/admin", false),
            ("/shop\\admin", "/shop/admin", false),
            ("/shop%5cadmin", "/shop/admin", false),
            ("/admin;a=b/x;c", "/admin/x", false),
            ("/;/admin", "/admin", false),
            ("/100%", "/100%", false),
            ("/%zz%2", "/%zz%2", false),
            ("/%C3%A9;x", "/%C3%A9", false),
            ("/é//x", "/é/x", false),
            ("/%253b", "/%253b", false),
            ("/x/../admin", "/x/../admin", true),
            ("/x/%2e%2E/admin", "/x/../admin", true),
            ("/x%2f..%2fadmin", "/x/../admin", true),
            ("/x/..;a/admin", "/x/../admin", true),
            ("/x\\..\\admin", "/x/../admin", true),
            ("/.", "/.", true),
            ("/x/.;", "/x/.", true),
        ] {
            let path = Matchable::new(written);
            assert_eq!((path.as_str(), path.has_dot_segments()), (wanted, dots), "{written}");
        }
    }
}
