//! JSON as it was sent: numbers keep every digit, a field keeps its first and last value apart, and nothing is larger
//! than its limits. A library that reads numbers as floating point would call 0.1 and 0.10000000000000001 equal.

use std::collections::BTreeMap;
use std::fmt;

/// Deepest nesting.
pub const DEPTH_MAX: usize = 64;
/// Most values in a document.
pub const NODES_MAX: usize = 200_000;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, in its normal form.
    Number(Number),
    /// A string.
    Text(String),
    /// An array.
    Array(Vec<Node>),
    /// An object; of a field that is there twice, the last value counts, as it does for most readers.
    Object(BTreeMap<String, Node>),
}

impl Node {
    /// What kind of value it is.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

/// A decimal number: its sign, its digits without zeros at either end, and the power of ten of the last digit.
/// So `1`, `1.0` and `10e-1` are one number, and no digit is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Number {
    negative: bool,
    digits: String,
    exponent: i64,
}

impl fmt::Display for Number {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.negative { "-" } else { "" };
        let (digits, length) = (&self.digits, self.digits.len() as i64);
        match self.exponent {
            0 if digits.is_empty() => write!(out, "0"),
            0 => write!(out, "{sign}{digits}"),
            zeros @ 1..=20 => write!(out, "{sign}{digits}{}", "0".repeat(zeros as usize)),
            e @ -20..0 if -e < length => {
                let (whole, part) = digits.split_at((length + e) as usize);
                write!(out, "{sign}{whole}.{part}")
            }
            e @ -20..0 => write!(out, "{sign}0.{}{digits}", "0".repeat((-e - length) as usize)),
            e => write!(out, "{sign}{digits}e{e}"),
        }
    }
}

/// Why a text could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It is not JSON, from this byte on.
    NotJson(usize),
    /// It is deeper or larger than the limits.
    TooLarge,
}

/// Reads a document.
///
/// # Errors
/// [`Unreadable`].
pub fn parse(bytes: &[u8]) -> Result<Node, Unreadable> {
    let mut reader = Reader { bytes, at: 0, nodes: 0 };
    reader.space();
    let node = reader.value(0)?;
    reader.space();
    if reader.at == bytes.len() { Ok(node) } else { Err(reader.wrong()) }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: usize,
}

impl Reader<'_> {
    fn wrong(&self) -> Unreadable {
        Unreadable::NotJson(self.at)
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> Result<(), Unreadable> {
        if self.peek() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            Err(self.wrong())
        }
    }

    fn word(&mut self, word: &str, node: Node) -> Result<Node, Unreadable> {
        if self.bytes[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(node)
        } else {
            Err(self.wrong())
        }
    }

    fn value(&mut self, depth: usize) -> Result<Node, Unreadable> {
        self.nodes += 1;
        if depth > DEPTH_MAX || self.nodes > NODES_MAX {
            return Err(Unreadable::TooLarge);
        }
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.text().map(Node::Text),
            Some(b't') => self.word("true", Node::Bool(true)),
            Some(b'f') => self.word("false", Node::Bool(false)),
            Some(b'n') => self.word("null", Node::Null),
            _ => self.number().map(Node::Number),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Node, Unreadable> {
        let mut fields = BTreeMap::new();
        self.take(b'{')?;
        self.space();
        if self.take(b'}').is_ok() {
            return Ok(Node::Object(fields));
        }
        loop {
            self.space();
            let name = self.text()?;
            self.space();
            self.take(b':')?;
            self.space();
            let value = self.value(depth + 1)?;
            fields.insert(name, value);
            self.space();
            if self.take(b',').is_err() {
                self.take(b'}')?;
                return Ok(Node::Object(fields));
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Node, Unreadable> {
        let mut elements = Vec::new();
        self.take(b'[')?;
        self.space();
        if self.take(b']').is_ok() {
            return Ok(Node::Array(elements));
        }
        loop {
            self.space();
            elements.push(self.value(depth + 1)?);
            self.space();
            if self.take(b',').is_err() {
                self.take(b']')?;
                return Ok(Node::Array(elements));
            }
        }
    }

    fn text(&mut self) -> Result<String, Unreadable> {
        let start = self.at;
        self.take(b'"')?;
        loop {
            match self.peek().ok_or_else(|| self.wrong())? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        // Escapes and their traps (halves of surrogate pairs) are the library's.
        serde_json::from_slice(&self.bytes[start..self.at]).map_err(|_| Unreadable::NotJson(start))
    }

    fn digits(&mut self) -> Result<&str, Unreadable> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if start == self.at {
            return Err(self.wrong());
        }
        std::str::from_utf8(&self.bytes[start..self.at]).map_err(|_| Unreadable::NotJson(start))
    }

    fn number(&mut self) -> Result<Number, Unreadable> {
        let negative = self.take(b'-').is_ok();
        let start = self.at;
        let mut digits = self.digits()?.to_owned();
        if digits.len() > 1 && digits.starts_with('0') {
            return Err(Unreadable::NotJson(start));
        }
        let mut exponent = 0_i64;
        if self.take(b'.').is_ok() {
            let part = self.digits()?;
            exponent = -(part.len() as i64);
            digits.push_str(part);
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            let minus = self.take(b'-').is_ok();
            if !minus {
                let _plus = self.take(b'+');
            }
            let power: i64 = self.digits()?.parse().map_err(|_| Unreadable::TooLarge)?;
            let power = if minus { -power } else { power };
            exponent = exponent.checked_add(power).ok_or(Unreadable::TooLarge)?;
        }
        let kept = digits.trim_end_matches('0').len();
        exponent = exponent.checked_add((digits.len() - kept) as i64).ok_or(Unreadable::TooLarge)?;
        digits.truncate(kept);
        let digits = digits.trim_start_matches('0').to_owned();
        // Minus zero is zero.
        if digits.is_empty() {
            return Ok(Number { negative: false, digits, exponent: 0 });
        }
        Ok(Number { negative, digits, exponent })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(text: &str) -> Number {
        match parse(text.as_bytes()) {
            Ok(Node::Number(number)) => number,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn numbers_are_compared_exactly() {
        for (one, other) in
            [("1", "1.0"), ("10", "1e1"), ("0.5", "5E-1"), ("-0", "0.0"), ("100e-2", "1"), ("0e9", "0")]
        {
            assert_eq!(number(one), number(other), "{one} {other}");
        }
        for (one, other) in [
            ("0.1", "0.10000000000000001"),
            ("18446744073709551616", "18446744073709551617"),
            ("1", "-1"),
            ("1", "10"),
            ("9007199254740993", "9007199254740992"),
        ] {
            assert_ne!(number(one), number(other), "{one} {other}");
        }
        let shown = ["1200", "12", "0.0012", "1.2", "-3", "0", "12e50"].map(|text| number(text).to_string());
        assert_eq!(shown, ["1200", "12", "0.0012", "1.2", "-3", "0", "12e50"]);
    }

    #[test]
    fn limits_hold() {
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(parse(deep(DEPTH_MAX).as_bytes()).is_ok());
        assert_eq!(parse(deep(DEPTH_MAX + 2).as_bytes()), Err(Unreadable::TooLarge));
        let wide = format!("[{}0]", "0,".repeat(NODES_MAX));
        assert_eq!(parse(wide.as_bytes()), Err(Unreadable::TooLarge));
        assert_eq!(parse(b"1e99999999999999999999"), Err(Unreadable::TooLarge));
    }

    proptest! {
        /// Our reader takes exactly what the library takes, and understands it the same way.
        #[test]
        fn reads_what_the_library_reads(text in "[\\[\\]{}\":,0-9eE+\\-. truefalsn\\\\ua-c]{0,40}") {
            let library = serde_json::from_str::<serde_json::Value>(&text);
            // The library refuses numbers beyond floating point; ours has no such limit.
            if !library.as_ref().is_err_and(|error| error.to_string().contains("out of range")) {
                prop_assert_eq!(parse(text.as_bytes()).is_ok(), library.is_ok(), "{}", text);
            }
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _read = parse(&bytes);
        }
    }
}
