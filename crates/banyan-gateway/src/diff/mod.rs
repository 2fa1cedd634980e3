//! Two answers to one question: what differs, and what of it matters.
//!
//! Everything is bounded: depth, size, number of differences, and the length of what is kept of them. What cannot be
//! judged within the bounds is said to be unjudged, never called equal.

pub mod head;
mod inflate;
pub mod json;
pub mod path;
pub mod redact;
pub mod text;
pub mod tree;

use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Most differences that are kept of one comparison.
pub const DIFFERENCES_MAX: usize = 64;
/// Longest excerpt of a value, in bytes.
pub const EXCERPT_BYTES_MAX: usize = 240;
/// Largest body after unpacking, in bytes.
pub const UNPACKED_BYTES_MAX: usize = 4 << 20;

/// What kind of difference it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The status.
    Status,
    /// A header.
    Header,
    /// A value of another type.
    Type,
    /// Another value of the same type.
    Value,
    /// Only the old shop has it.
    Missing,
    /// Only Banyan has it.
    Added,
    /// Lines of a text or page.
    Text,
    /// Bytes that are neither JSON nor text.
    Bytes,
}

impl Kind {
    /// Its name in answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Header => "header",
            Self::Type => "type",
            Self::Value => "value",
            Self::Missing => "missing",
            Self::Added => "added",
            Self::Text => "text",
            Self::Bytes => "bytes",
        }
    }
}

/// One difference. Secrets are already hidden in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// What kind.
    pub kind: Kind,
    /// Where, exactly.
    pub place: String,
    /// Where, with positions and ids generalised: what it is grouped by.
    pub general: String,
    /// The old shop's, shortened.
    pub legacy: String,
    /// Banyan's, shortened.
    pub banyan: String,
}

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The differences, up to [`DIFFERENCES_MAX`].
    pub differences: Vec<Difference>,
    /// There are more.
    pub more: bool,
}

impl Found {
    /// Takes one more, if there is room.
    pub fn add(&mut self, difference: Difference) {
        if self.differences.len() < DIFFERENCES_MAX {
            self.differences.push(difference);
        } else {
            self.more = true;
        }
    }
}

/// How the answers of a route are compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// JSON.
    pub json: json::JsonRules,
    /// Texts and pages.
    pub text: text::TextRules,
    /// Status and headers.
    pub head: head::HeadRules,
}

/// A whole answer.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its body as it was sent.
    pub body: &'a [u8],
}

/// The outcome of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compared {
    /// They are judged; no differences means equal.
    Judged(Found),
    /// They cannot be: why, as a word for counting.
    Unjudged(&'static str),
}

/// Compares two answers.
#[must_use]
pub fn compare(rules: &Rules, legacy: &Answer<'_>, banyan: &Answer<'_>) -> Compared {
    let mut found = Found::default();
    if !head::status(legacy.status, banyan.status, &mut found) {
        // An error page beside a page differs everywhere, and that says nothing more.
        return Compared::Judged(found);
    }
    head::headers(&rules.head, legacy.headers, banyan.headers, &mut found);
    let (old, new) = match (unpack(legacy), unpack(banyan)) {
        (Ok(old), Ok(new)) => (old, new),
        (Err(why), _) | (_, Err(why)) => return Compared::Unjudged(why),
    };
    if old == new {
        return Compared::Judged(found);
    }
    let body = match (form(legacy.headers), form(banyan.headers)) {
        (Form::Json, Form::Json) => match (tree::parse(&old), tree::parse(&new)) {
            (Ok(old), Ok(new)) => json::compare(&rules.json, &old, &new),
            (Err(tree::Unreadable::TooLarge), _) | (_, Err(tree::Unreadable::TooLarge)) => {
                return Compared::Unjudged("body-too-deep");
            }
            _ => text::compare(
                &rules.text,
                false,
                &String::from_utf8_lossy(&old),
                &String::from_utf8_lossy(&new),
            ),
        },
        (Form::Bytes, _) | (_, Form::Bytes) => bytes(&old, &new),
        (old_form, new_form) => {
            let is_page = old_form == Form::Page && new_form == Form::Page;
            text::compare(
                &rules.text,
                is_page,
                &String::from_utf8_lossy(&old),
                &String::from_utf8_lossy(&new),
            )
        }
    };
    if body.more && body.differences.is_empty() {
        // Only ignored differences were looked at before the limit: what is beyond it is not known.
        return Compared::Unjudged("body-too-different");
    }
    found.more |= body.more;
    for difference in body.differences {
        found.add(difference);
    }
    Compared::Judged(found)
}

/// What is kept of an answer in a sample: its body as text without secrets, cut to `bytes_max`.
#[must_use]
pub fn sample_body(answer: &Answer<'_>, bytes_max: usize) -> String {
    let Ok(body) = unpack(answer) else { return format!("({} bytes, packed)", answer.body.len()) };
    match form(answer.headers) {
        Form::Json => match tree::parse(&body) {
            Ok(node) => redact::node(&node, bytes_max),
            Err(_) => redact::page(&String::from_utf8_lossy(&body), bytes_max),
        },
        Form::Page | Form::Text => redact::page(&String::from_utf8_lossy(&body), bytes_max),
        Form::Bytes => format!("({} bytes, {})", body.len(), &blake3::hash(&body).to_hex()[..16]),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Page,
    Text,
    Bytes,
}

fn form(headers: &HeaderMap) -> Form {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "application/json" => Form::Json,
        kind if kind.ends_with("+json") => Form::Json,
        "text/html" | "application/xhtml+xml" | "image/svg+xml" => Form::Page,
        "application/xml" => Form::Page,
        kind if kind.ends_with("+xml") => Form::Page,
        "application/javascript" | "application/x-www-form-urlencoded" => Form::Text,
        kind if kind.starts_with("text/") => Form::Text,
        _ => Form::Bytes,
    }
}

fn unpack<'a>(answer: &Answer<'a>) -> Result<Cow<'a, [u8]>, &'static str> {
    let coding =
        answer.headers.get(header::CONTENT_ENCODING).map(|value| value.as_bytes().to_ascii_lowercase());
    let unpacked = match coding.as_deref() {
        None | Some(b"" | b"identity") => return Ok(Cow::Borrowed(answer.body)),
        _ if answer.body.is_empty() => return Ok(Cow::Borrowed(answer.body)),
        Some(b"gzip" | b"x-gzip") => inflate::gunzip(answer.body, UNPACKED_BYTES_MAX),
        Some(b"deflate") => inflate::undeflate(answer.body, UNPACKED_BYTES_MAX),
        Some(_) => return Err("coding-unknown"),
    };
    unpacked.map(Cow::Owned).map_err(|fault| match fault {
        inflate::Packed::Broken => "coding-broken",
        inflate::Packed::TooLarge => "answer-too-large",
    })
}

fn bytes(old: &[u8], new: &[u8]) -> Found {
    let mut found = Found::default();
    let first = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    found.add(Difference {
        kind: Kind::Bytes,
        place: format!("byte {first}"),
        general: "body".into(),
        legacy: format!("{} bytes", old.len()),
        banyan: format!("{} bytes", new.len()),
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")))
            .collect()
    }

    #[track_caller]
    fn check(legacy: (u16, &HeaderMap, &[u8]), banyan: (u16, &HeaderMap, &[u8]), expected: &[(Kind, &str)]) {
        let answer = |(status, headers, body)| Answer {
            status: StatusCode::from_u16(status).expect("a status"),
            headers,
            body,
        };
        match compare(&Rules::default(), &answer(legacy), &answer(banyan)) {
            Compared::Judged(found) => {
                let found: Vec<(Kind, &str)> =
                    found.differences.iter().map(|found| (found.kind, found.general.as_str())).collect();
                assert_eq!(found, expected);
            }
            Compared::Unjudged(why) => assert_eq!(expected, &[(Kind::Bytes, why)]),
        }
    }

    #[test]
    fn answers_are_compared() {
        let json = head(&[("content-type", "application/json; charset=utf-8")]);
        let html = head(&[("content-type", "text/html")]);
        check((200, &json, b"{\"a\":1}"), (200, &json, b"{ \"a\": 1.0 }"), &[]);
        check((200, &json, b"{\"a\":1}"), (500, &html, b"<h1>no"), &[(Kind::Status, "200 -> 500")]);
        check((200, &json, b"{\"a\":1}"), (200, &json, b"{\"a\":1"), &[(Kind::Text, "{\"a\":#}")]);
        check((200, &json, b"{}"), (200, &html, b"{}"), &[(Kind::Header, "content-type")]);
        check(
            (200, &HeaderMap::new(), b"\x00\x01"),
            (200, &HeaderMap::new(), b"\x00\x02"),
            &[(Kind::Bytes, "body")],
        );
    }

    /// Made by zlib: with codes of its own, with the fixed ones, and stored.
    #[test]
    fn packed_answers_are_unpacked() {
        use base64::Engine as _;
        let bytes = |text: &str| base64::engine::general_purpose::STANDARD.decode(text).expect("base64");
        let page = inflate::gunzip(&bytes(GZIP), UNPACKED_BYTES_MAX).expect("unpacks");
        // What it unpacks to is checked by the sum that gzip has at its end.
        assert_eq!(page.len(), GZIP_LENGTH);
        let mut wrong = bytes(GZIP);
        let sum = wrong.len() - 8;
        wrong[sum] ^= 1;
        assert_eq!(inflate::gunzip(&wrong, UNPACKED_BYTES_MAX), Err(inflate::Packed::Broken));
        assert_eq!(inflate::gunzip(&bytes(GZIP), 100), Err(inflate::Packed::TooLarge));
        assert_eq!(inflate::undeflate(&bytes(FIXED), 100).expect("unpacks"), b"aaaaaaaaaabcabcabc hello");
        assert_eq!(inflate::undeflate(&bytes(STORED), 100).expect("unpacks"), b"stored bytes");
        for cut in 0..bytes(GZIP).len() - 4 {
            assert_eq!(
                inflate::gunzip(&bytes(GZIP)[..cut], UNPACKED_BYTES_MAX),
                Err(inflate::Packed::Broken),
                "{cut}"
            );
        }
        let packed = head(&[("content-type", "text/plain"), ("content-encoding", "gzip")]);
        let plain = head(&[("content-type", "text/plain")]);
        check((200, &packed, &bytes(GZIP)), (200, &plain, &page), &[]);
        check(
            (200, &packed, b"nonsense that is long"),
            (200, &plain, &page),
            &[(Kind::Bytes, "coding-broken")],
        );
    }

    proptest::proptest! {
        #[test]
        fn broken_packing_is_an_answer(mut damage in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _result = inflate::undeflate(&damage, 10_000);
            damage.splice(0..0, [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0]);
            let _result = inflate::gunzip(&damage, 10_000);
        }
    }

    const GZIP: &str = concat!(
        "H4sIAAAAAAACA31USW7DMAy88xV9wBxk7QSKfibHAk2Btv8vZWuXnCCwJYvLzJBUYLAFvX9//Pw+H59vj+ff9/OrvO",
        "Sz/PPmMrieTqMdLN69pQmgfm8ZGtfyiIig7BO8bKyDP1DDBTHdIdmkybAYXkKEFILYYbTXvkCxBnQciAG9NxdgCy+y",
        "Fkt6b7J5s3M1pTONhiy8HohtF1SkYK6qsKjHCuLOcQInVvZAYmwh8KIewls/UNOnsE1LSpgpKAxS1gCbat5LP1SIss",
        "J8QMHVlDS/pUzBonHvsd80Y3El6Ztm7zuhyRjIPhvaU7euTXdw52+1E/L5wNdE+IhwpRfNy6nqs3Qi91yW9pEPwQ41",
        "o9ZRL6S/gs5j+aqOY8wWZtK1hyLDcXJ0GVCUlpSfFupGgUtzGYW5WNFgykRtCiQq7ZusG7UICZu6PuEIubGJNk6bZr",
        "yypKfC7e3FWEpbKSXWieCiVr6zHLbq7oohhsIinreRzOPkR85hriXRrtZz0LZyYRxg6njVkMudttzXfIKjvvoyuvfE",
        "6Pa2/wc6MgSETwYAAA==",
    );
    const GZIP_LENGTH: usize = 1615;
    const FIXED: &str = "eAFLTISBpGQIUshIzcnJBwBxEwkQ";
    const STORED: &str = "eAEBDADz/3N0b3JlZCBieXRlcx/PBNk=";
}
