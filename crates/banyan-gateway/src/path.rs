//! Paths as routes see them: a route for `/admin` must not be got around by writing `/%61dmin`, `//admin` or `/x/../admin`,
//! which the server behind another route may read as `/admin`.

use std::borrow::Cow;

/// A path in the plainest form that any server could read it in, for matching only: what is sent on is what came.
///
/// Escapes are undone once, as a server undoes them; `\` is `/`, several `/` are one, and what follows a `;` in a segment is
/// left out, but for an escaped one, which is a byte like any other. Bytes and not text: what is undone may be no UTF-8.
pub(crate) struct Matchable<'a>(Cow<'a, [u8]>);

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
            return Self(Cow::Borrowed(path.as_bytes()));
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
                b';' if length == 1 => in_parameters = true,
                _ if in_parameters => {}
                byte => plain.push(byte),
            }
        }
        Self(Cow::Owned(plain))
    }

    /// The path to compare with.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path without the slash at its end: as the prefix of others.
    pub(crate) fn as_prefix(&self) -> &[u8] {
        self.0.strip_suffix(b"/").unwrap_or(&self.0)
    }

    /// Whether a segment is `.` or `..`, however it is written.
    pub(crate) fn has_dot_segments(&self) -> bool {
        self.0.contains(&b'.')
            && self.0.split(|byte| *byte == b'/').any(|segment| segment == b"." || segment == b"..")
    }
}

/// Whether a path, in its plainest form, is `prefix` or below it.
pub(crate) fn is_below(path: &[u8], prefix: &[u8]) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
}

/// Whether every `%` begins an escape.
pub(crate) fn is_well_escaped(path: &str) -> bool {
    let bytes = path.as_bytes();
    let mut signs = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%');
    signs.all(|(at, _)| escaped(bytes, at).is_some())
}

/// Where `prefix`, which is [`Matchable::as_prefix`] of some path, ends in `path`, however that is written; nothing if the path
/// does not begin so.
pub(crate) fn end_of_prefix(path: &str, prefix: &[u8]) -> Option<usize> {
    let bytes = path.as_bytes();
    let (mut at, mut matched, mut last, mut in_parameters) = (0, 0, 0, false);
    while matched < prefix.len() {
        let (byte, length) = plain_byte(bytes, at)?;
        at += length;
        match byte {
            b'/' if last == b'/' => in_parameters = false,
            b';' if length == 1 => in_parameters = true,
            byte if in_parameters && byte != b'/' => {}
            byte if byte == prefix[matched] => {
                (matched, last, in_parameters) = (matched + 1, byte, false);
            }
            _ => return None,
        }
    }
    match plain_byte(bytes, at) {
        None | Some((b'/', _) | (b';', 1)) => Some(at),
        Some(_) => None,
    }
}

/// The byte that is written at a place, and how many it takes there: one, or three if it is escaped.
fn plain_byte(bytes: &[u8], at: usize) -> Option<(u8, usize)> {
    let (byte, length) = escaped(bytes, at).map_or((*bytes.get(at)?, 1), |byte| (byte, 3));
    Some((if byte == b'\\' { b'/' } else { byte }, length))
}

fn escaped(bytes: &[u8], at: usize) -> Option<u8> {
    (*bytes.get(at)? == b'%').then(|| hex(bytes.get(at + 1..at + 3)?)).flatten()
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
            ("/%40admin/x", "/@admin", Some("/x")),
            ("/%EC%83%81%ed%92%88/1", "/상품", Some("/1")),
            ("/api%3Bx", "/api", None),
            ("/%zz", "/api", None),
        ] {
            assert_eq!(end_of_prefix(path, prefix.as_bytes()).map(|at| &path[at..]), rest, "{path} {prefix}");
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
            ("/%C3%A9;x", "/é", false),
            ("/é//x", "/é/x", false),
            ("/%40admin", "/@admin", false),
            ("/items%3abatch", "/items:batch", false),
            ("/%21%24%26%27%28%29%2B%2c%3D", "/!$&'()+,=", false),
            ("/%5Ba%5d%7B%22%20%7c", "/[a]{\" |", false),
            // Undone once: a server that does it again is not one that speaks HTTP.
            ("/%253b", "/%3b", false),
            ("/%2561dmin", "/%61dmin", false),
            ("/admin%3Ba", "/admin;a", false),
            ("/a%3fb%23", "/a?b#", false),
            ("/x/../admin", "/x/../admin", true),
            ("/x/%2e%2E/admin", "/x/../admin", true),
            ("/x%2f..%2fadmin", "/x/../admin", true),
            ("/x/..;a/admin", "/x/../admin", true),
            ("/x\\..\\admin", "/x/../admin", true),
            ("/.", "/.", true),
            ("/x/.;", "/x/.", true),
        ] {
            let path = Matchable::new(written);
            assert_eq!((path.as_bytes(), path.has_dot_segments()), (wanted.as_bytes(), dots), "{written}");
        }
    }

    #[test]
    fn what_is_no_text_does_not_hide_what_is_escaped_beside_it() {
        assert_eq!(Matchable::new("/%61dmin/%ff").as_bytes(), b"/admin/\xff");
        assert!(Matchable::new("/%ff/%2e%2e/x").has_dot_segments());
    }
}
