//! What is never kept: passwords, tokens, cards, sessions, whoever's they are. It is better to hide too much here than
//! too little: a sample is for finding a bug, and it is read by people who have no business with a customer's secrets.

use super::tree::Node;
use http::{HeaderMap, HeaderName};

/// What stands in a secret's place.
pub const HIDDEN: &str = "(hidden)";

/// Parts of names that make a value secret, in lower case without separators.
const SECRET_PARTS: [&str; 19] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "card",
    "cvc",
    "cvv",
    "authorization",
    "cookie",
    "session",
    "csrf",
    "apikey",
    "credential",
    "privatekey",
    "accesskey",
    "iban",
    "otpcode",
    "ssn",
];
/// Whole names that make a value secret.
const SECRET_NAMES: [&str; 6] = ["pin", "otp", "pwd", "auth", "sid", "nonce"];

/// Whether a field, header or parameter of this name is hidden.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    let plain: String = name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    SECRET_NAMES.contains(&plain.as_str()) || SECRET_PARTS.iter().any(|part| plain.contains(part))
}

/// A text without what looks like a card's number or a signed token, cut to `bytes_max`.
#[must_use]
pub fn text(text: &str, bytes_max: usize) -> String {
    let short = cut(text, bytes_max.saturating_mul(2).saturating_add(64));
    let mut out = String::with_capacity(short.len());
    let mut rest = short;
    while let Some(first) = rest.chars().next() {
        if first.is_ascii_digit()
            && let Some(length) = card_number(rest)
        {
            out.push_str(HIDDEN);
            rest = &rest[length..];
        } else if rest.starts_with("eyJ") {
            // A JSON Web Token begins with this: the start of `{"`.
            let length =
                rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte)).count();
            out.push_str(if length > 20 { HIDDEN } else { &rest[..length] });
            rest = &rest[length..];
        } else {
            let length = if first.is_ascii_digit() {
                rest.bytes().take_while(u8::is_ascii_digit).count()
            } else {
                first.len_utf8()
            };
            out.push_str(&rest[..length]);
            rest = &rest[length..];
        }
    }
    shorten(out, bytes_max, short.len() < text.len())
}

/// A document as text in lines, without its secrets, cut to `bytes_max`.
#[must_use]
pub fn node(node: &Node, bytes_max: usize) -> String {
    let mut out = String::new();
    write_node(node, 0, bytes_max.saturating_mul(2), &mut out);
    text(&out, bytes_max)
}

/// A query without the values of secret parameters.
#[must_use]
pub fn query(path_and_query: &str, bytes_max: usize) -> String {
    let Some((path, query)) = path_and_query.split_once('?') else { return text(path_and_query, bytes_max) };
    let pairs: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, _)) if is_secret_name(name) => format!("{name}={HIDDEN}"),
            _ => pair.to_owned(),
        })
        .collect();
    text(&format!("{path}?{}", pairs.join("&")), bytes_max)
}

/// A page or another text: values beside a secret name in the same tag or `name=value` are hidden.
#[must_use]
pub fn page(page: &str, bytes_max: usize) -> String {
    let short = cut(page, bytes_max.saturating_mul(2).saturating_add(64));
    let mut out = String::with_capacity(short.len());
    for part in short.split_inclusive(['>', '\n']) {
        let tag = part.rfind('<').unwrap_or(0);
        let (before, tag) = part.split_at(tag);
        out.push_str(before);
        if tag.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')).any(is_secret_name) {
            out.push_str(&hide_values(tag));
        } else {
            out.push_str(tag);
        }
    }
    text(&shorten(out, bytes_max.saturating_mul(2), short.len() < page.len()), bytes_max)
}

/// Headers by name, values of secret ones hidden, at most 40 of them.
#[must_use]
pub fn headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let show = |name: &HeaderName, value: &http::HeaderValue| {
        let value = if is_secret_name(name.as_str()) {
            HIDDEN.to_owned()
        } else {
            query(&String::from_utf8_lossy(value.as_bytes()), 200)
        };
        (name.as_str().to_owned(), value)
    };
    headers.iter().take(40).map(|(name, value)| show(name, value)).collect()
}

/// The first bytes of a text, cut between two characters.
#[must_use]
pub fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = bytes_max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn shorten(mut text: String, bytes_max: usize, was_longer: bool) -> String {
    if text.len() > bytes_max || was_longer {
        let end = cut(&text, bytes_max.saturating_sub(3)).len();
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Everything in quotes, and everything after `=` or `:`, but names of tags and attributes.
fn hide_values(tag: &str) -> String {
    let (mut out, mut quote, mut hidden) = (String::new(), None, false);
    let mut value_of_name = false;
    for c in tag.chars() {
        match quote {
            Some(end) if c == end => {
                quote = None;
                out.push(c);
            }
            Some(_) if value_of_name => out.push(c),
            Some(_) if hidden => {}
            Some(_) => {
                hidden = true;
                out.push_str(HIDDEN);
            }
            None if c == '"' || c == '\'' => {
                // The name itself may be read: `name="password"` is what makes the sample understandable.
                let before = out.trim_end();
                value_of_name =
                    ["name=", "id=", "type=", "for=", "class="].iter().any(|end| before.ends_with(end));
                (quote, hidden) = (Some(c), false);
                out.push(c);
            }
            None if (c == '=' || c == ':') && !hidden => out.push(c),
            None if c.is_whitespace() || matches!(c, '>' | '<' | '&' | ';' | ',') => {
                hidden = false;
                out.push(c);
            }
            None if out.trim_end().ends_with(['=', ':']) => {
                hidden = true;
                out.push_str(HIDDEN);
            }
            None if hidden => {}
            None => out.push(c),
        }
    }
    out
}

/// Length of a card's number at the start of the text: 13 to 19 digits, spaces or dashes between, that add up.
fn card_number(text: &str) -> Option<usize> {
    let mut digits = Vec::new();
    let mut end = 0;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'0'..=b'9' => {
                digits.push(u32::from(byte - b'0'));
                end = at + 1;
            }
            b' ' | b'-' if !digits.is_empty() => {}
            _ => break,
        }
        if digits.len() > 19 {
            return None;
        }
    }
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match digit * 2 {
            _ if place % 2 == 0 => *digit,
            double if double > 9 => double - 9,
            double => double,
        })
        .sum();
    (digits.len() >= 13 && sum.is_multiple_of(10)).then_some(end)
}

fn write_node(node: &Node, depth: usize, bytes_max: usize, out: &mut String) {
    if out.len() > bytes_max {
        return;
    }
    match node {
        Node::Null => out.push_str("null"),
        Node::Bool(value) => out.push_str(&value.to_string()),
        Node::Number(number) => out.push_str(&number.to_string()),
        Node::Text(text) => out.push_str(&format!("{:?}", cut(text, bytes_max))),
        Node::Array(elements) => {
            write_all(elements.iter().map(|element| (None, element)), ('[', ']'), depth, bytes_max, out);
        }
        Node::Object(fields) => {
            write_all(
                fields.iter().map(|(name, node)| (Some(name), node)),
                ('{', '}'),
                depth,
                bytes_max,
                out,
            );
        }
    }
}

fn write_all<'a>(
    nodes: impl Iterator<Item = (Option<&'a String>, &'a Node)>,
    (open, close): (char, char),
    depth: usize,
    bytes_max: usize,
    out: &mut String,
) {
    out.push(open);
    let mut empty = true;
    for (name, node) in nodes {
        if out.len() > bytes_max {
            return;
        }
        out.push_str(if empty { "\n" } else { ",\n" });
        empty = false;
        out.push_str(&"  ".repeat(depth + 1));
        if let Some(name) = name {
            out.push_str(&format!("{name:?}: "));
        }
        match name {
            Some(name) if is_secret_name(name) => out.push_str(HIDDEN),
            _ => write_node(node, depth + 1, bytes_max, out),
        }
    }
    if !empty {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    }
    out.push(close);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_known() {
        for name in
            ["Authorization", "set-cookie", "X-CSRFToken", "card_number", "access-token", "apiKey", "PIN"]
        {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["price", "sku", "name", "shipping", "cart", "pinned"] {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn cards_and_tokens_are_hidden_in_texts() {
        assert_eq!(text("paid with 4111 1111 1111 1111 today", 200), "paid with (hidden) today");
        assert_eq!(text("order 4111111111111112", 200), "order 4111111111111112");
        assert_eq!(text("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJtLTEifQ.c2ln x", 200), "(hidden) x");
        assert_eq!(query("/a?token=1&sku=2&password=x", 200), "/a?token=(hidden)&sku=2&password=(hidden)");
    }

    #[test]
    fn fields_of_a_page_are_hidden() {
        let shown =
            page(r#"<p>ok</p><input type="hidden" name="csrfmiddlewaretoken" value="Zx9"><b>5</b>"#, 500);
        assert!(
            !shown.contains("Zx9") && shown.contains("csrfmiddlewaretoken") && shown.contains("<b>5</b>"),
            "{shown}"
        );
        let shown = page("a=1\npassword=hunter2&x=1\nsecret: abc\n", 500);
        assert!(!shown.contains("hunter2") && !shown.contains("abc"), "{shown}");
    }

    proptest! {
        #[test]
        fn stays_within_its_limit(input in "\\PC{0,80}", limit in 0_usize..60) {
            prop_assert!(text(&input, limit).len() <= limit.max(3));
            prop_assert!(page(&input, limit).len() <= limit.max(3));
        }
    }
}
