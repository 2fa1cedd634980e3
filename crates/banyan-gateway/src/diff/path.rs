//! Places in a JSON document, and patterns of places.
//!
//! A place is written `$.items[3].price`, or `$.items[sku=A-1].price` where an array is compared by key. A pattern may
//! say `*` for any field, `[*]` for any element, and `..` for any number of levels: `$..updated_at`.

use super::redact::{HIDDEN, is_secret_name};
use std::fmt;

/// One step down.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Piece {
    /// Into a field.
    Field(String),
    /// Into an element by its position.
    Index(usize),
    /// Into an element by its key: the key's field, its value, and which of several with that value, from 0.
    Key(String, String, usize),
}

/// A place.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(pub Vec<Piece>);

impl Place {
    /// The place with every position and key generalised: `$.items[*].price`.
    #[must_use]
    pub fn general(&self) -> String {
        let mut text = String::from("$");
        for piece in &self.0 {
            match piece {
                Piece::Field(name) => push_field(&mut text, &general_field(name)),
                Piece::Index(_) | Piece::Key(..) => text.push_str("[*]"),
            }
        }
        text
    }

    /// The name of the field that it is in, if it is in one.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        self.0.iter().rev().find_map(|piece| match piece {
            Piece::Field(name) => Some(name.as_str()),
            _ => None,
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::from("$");
        for piece in &self.0 {
            match piece {
                Piece::Field(name) => push_field(&mut text, name),
                Piece::Index(index) => text.push_str(&format!("[{index}]")),
                Piece::Key(field, _, nth) if is_secret_name(field) => {
                    text.push_str(&format!("[{field}={HIDDEN}#{nth}]"));
                }
                Piece::Key(field, value, 0) => text.push_str(&format!("[{field}={value}]")),
                Piece::Key(field, value, nth) => text.push_str(&format!("[{field}={value}#{nth}]")),
            }
        }
        out.write_str(&text)
    }
}

/// Maps whose fields are ids (`{"1001": {..}}`) would make a group of every id: a name without a letter is any name.
fn general_field(name: &str) -> String {
    let id = name.bytes().any(|byte| byte.is_ascii_digit())
        && !name.bytes().any(|byte| byte.is_ascii_alphabetic());
    let hash = name.len() >= 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if id || hash { "*".into() } else { name.into() }
}

fn push_field(text: &mut String, name: &str) {
    if name == "*" || (!name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-'))
    {
        text.push('.');
        text.push_str(name);
    } else {
        text.push_str("['");
        text.push_str(&name.replace('\\', "\\\\").replace('\'', "\\'"));
        text.push_str("']");
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Want {
    Field(String),
    AnyField,
    Index(usize),
    AnyElement,
    /// Any number of levels, none included.
    Deep,
}

/// Most steps of a pattern.
const STEPS_MAX: usize = 63;

/// A pattern of places. It also means everything below what it matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    wants: Vec<Want>,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// A sentence that says where it is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |at: usize| {
            format!(
                "{text:?} is no JSON path (from character {}): write it like $.items[*].price, $..updated_at or $['a b'][0]",
                at + 1
            )
        };
        let chars: Vec<char> = text.chars().collect();
        if chars.first() != Some(&'$') {
            return Err(wrong(0));
        }
        let (mut wants, mut at) = (Vec::new(), 1);
        while at < chars.len() {
            let start = at;
            let dots = chars[at..].iter().take_while(|c| **c == '.').count();
            at += dots;
            match dots {
                0 => {}
                1 => {}
                2 => wants.push(Want::Deep),
                _ => return Err(wrong(start)),
            }
            if chars.get(at) == Some(&'[') {
                if dots == 1 {
                    return Err(wrong(start));
                }
                let (want, next) = bracket(&chars, at).ok_or_else(|| wrong(at))?;
                wants.push(want);
                at = next;
            } else if dots == 0 {
                return Err(wrong(at));
            } else {
                let name: String =
                    chars[at..].iter().take_while(|c| !matches!(c, '.' | '[' | ']' | '\'')).collect();
                if name.is_empty() {
                    return Err(wrong(at));
                }
                at += name.chars().count();
                wants.push(if name == "*" { Want::AnyField } else { Want::Field(name) });
            }
        }
        if wants.len() > STEPS_MAX {
            return Err(format!("{text:?} has more than {STEPS_MAX} steps"));
        }
        Ok(Self { text: text.into(), wants })
    }

    /// Whether it matches the place, or a place above it.
    #[must_use]
    pub fn covers(&self, place: &Place) -> bool {
        self.run(place, true)
    }

    /// Whether it matches exactly this place.
    #[must_use]
    pub fn matches(&self, place: &Place) -> bool {
        self.run(place, false)
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All ways through the pattern at once, one bit for each step: no pattern can make this slow.
    fn run(&self, place: &Place, prefix: bool) -> bool {
        let done = 1_u64 << self.wants.len();
        let mut states = self.skip_deep(1);
        for piece in &place.0 {
            if prefix && states & done != 0 {
                return true;
            }
            let mut next = 0;
            for (step, want) in self.wants.iter().enumerate().filter(|(step, _)| states & (1 << step) != 0) {
                next |= match (want, piece) {
                    (Want::Deep, _) => 1 << step,
                    (Want::Field(want), Piece::Field(name)) if want == name => 1 << (step + 1),
                    (Want::AnyField, Piece::Field(_)) => 1 << (step + 1),
                    (Want::Index(want), Piece::Index(index)) if want == index => 1 << (step + 1),
                    (Want::AnyElement, Piece::Index(_) | Piece::Key(..)) => 1 << (step + 1),
                    _ => 0,
                };
            }
            states = self.skip_deep(next);
            if states == 0 {
                return false;
            }
        }
        states & done != 0
    }

    fn skip_deep(&self, mut states: u64) -> u64 {
        for (step, want) in self.wants.iter().enumerate() {
            if *want == Want::Deep && states & (1 << step) != 0 {
                states |= 1 << (step + 1);
            }
        }
        states
    }
}

fn bracket(chars: &[char], at: usize) -> Option<(Want, usize)> {
    let mut next = at + 1;
    let want = match chars.get(next)? {
        '*' => {
            next += 1;
            Want::AnyElement
        }
        '\'' => {
            let mut name = String::new();
            loop {
                next += 1;
                match chars.get(next)? {
                    '\'' => break,
                    '\\' => {
                        next += 1;
                        name.push(*chars.get(next)?);
                    }
                    other => name.push(*other),
                }
            }
            next += 1;
            Want::Field(name)
        }
        _ => {
            let digits: String = chars[next..].iter().take_while(|c| c.is_ascii_digit()).collect();
            next += digits.len();
            Want::Index(digits.parse().ok()?)
        }
    };
    (chars.get(next) == Some(&']')).then_some((want, next + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(pieces: &[&str]) -> Place {
        Place(
            pieces
                .iter()
                .map(|piece| match piece.parse() {
                    Ok(index) => Piece::Index(index),
                    Err(_) => match piece.split_once('=') {
                        Some((field, value)) => Piece::Key(field.into(), value.into(), 0),
                        None => Piece::Field((*piece).into()),
                    },
                })
                .collect(),
        )
    }

    #[track_caller]
    fn check(pattern: &str, covers: &[&str], exactly: bool, expected: bool) {
        let pattern = Pattern::parse(pattern).expect("a pattern");
        let place = place(covers);
        assert_eq!(
            if exactly { pattern.matches(&place) } else { pattern.covers(&place) },
            expected,
            "{place}"
        );
    }

    #[test]
    fn patterns_cover_places() {
        check("$.a", &["a"], true, true);
        check("$.a", &["a", "b"], false, true);
        check("$.a", &["a", "b"], true, false);
        check("$.a.b", &["a"], false, false);
        check("$", &["a"], false, true);
        check("$.items[*].price", &["items", "3", "price"], true, true);
        check("$.items[*].price", &["items", "sku=A", "price"], true, true);
        check("$.items[2].price", &["items", "3", "price"], true, false);
        check("$..at", &["a", "1", "at"], true, true);
        check("$..at", &["at"], true, true);
        check("$..at", &["at", "x"], false, true);
        check("$..a..b", &["x", "a", "y", "z", "b"], true, true);
        check("$..a..b", &["x", "y", "z", "b"], true, false);
        check("$.*.id", &["any", "id"], true, true);
        check("$['a b'][0]", &["a b", "0"], true, true);
        check("$..[0]", &["a", "b", "0"], true, true);
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["", "a", "$.", "$...a", "$[", "$[x]", "$['a", "$.[0]", "$a", "$.a]"] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn many_deep_steps_stay_fast() {
        // Backtracking would need 60 over 30 tries for this one.
        let pattern = Pattern::parse(&format!("${}.z", "..a".repeat(30))).expect("a pattern");
        assert!(!pattern.matches(&place(&["a"; 60])));
    }

    #[test]
    fn places_are_generalised() {
        assert_eq!(place(&["items", "3", "price"]).general(), "$.items[*].price");
        assert_eq!(place(&["stock", "1001x", "1001"]).to_string(), "$.stock.1001x[1001]");
        let by_id =
            Place(vec![Piece::Field("stock".into()), Piece::Field("10-01".into()), Piece::Field("n".into())]);
        assert_eq!(by_id.general(), "$.stock.*.n");
    }
}
