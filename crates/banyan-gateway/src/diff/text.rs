//! Two texts or pages, line by line.
//!
//! A page is first cut into tags and the texts between them: templates put everything on one line, or move a line break,
//! and neither is what a shopper sees.

use super::redact;
use super::{Difference, EXCERPT_BYTES_MAX, Found, Kind};
use std::ops::Range;

/// Most lines of a side.
pub const LINES_MAX: usize = 50_000;
/// Most lines that may be gone or new before two texts count as wholly different.
const EDITS_MAX: usize = 200;
/// What stands where a mask hid something.
const MASKED: &str = "(masked)";

/// Hides what may differ: everything from after `after` up to `until`, wherever it stands.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mask {
    /// What comes before.
    pub after: String,
    /// What comes behind.
    pub until: String,
}

/// How texts are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextRules {
    /// What is hidden first.
    pub masks: Vec<Mask>,
}

impl Default for TextRules {
    /// What the usual frameworks put into every page anew.
    fn default() -> Self {
        let quoted = |after: &str| Mask { after: after.into(), until: "\"".into() };
        Self {
            masks: vec![
                quoted("name=\"csrfmiddlewaretoken\" value=\""),
                quoted("name=\"authenticity_token\" value=\""),
                quoted("name=\"csrf-token\" content=\""),
                quoted("name=\"_token\" value=\""),
                quoted(" nonce=\""),
            ],
        }
    }
}

/// Every difference of two texts, up to the limits.
#[must_use]
pub fn compare(rules: &TextRules, is_page: bool, legacy: &str, banyan: &str) -> Found {
    let mut found = Found::default();
    let (legacy, banyan) = (mask(rules, legacy), mask(rules, banyan));
    let cut = |text| if is_page { page_lines(text) } else { text_lines(text) };
    let (legacy, banyan) = (cut(&legacy), cut(&banyan));
    let (Some(legacy), Some(banyan)) = (legacy, banyan) else {
        found.more = true;
        return found;
    };
    let Some(hunks) = hunks(&legacy, &banyan) else {
        found.add(Difference {
            kind: Kind::Text,
            place: "the whole text".into(),
            general: "(most lines)".into(),
            legacy: format!("{} lines", legacy.len()),
            banyan: format!("{} lines", banyan.len()),
        });
        return found;
    };
    for (old, new) in hunks {
        let show = |lines: &[String], range: &Range<usize>| {
            redact::page(&lines[range.clone()].join("\n"), EXCERPT_BYTES_MAX)
        };
        let shaped = legacy[old.clone()].first().or_else(|| banyan[new.clone()].first());
        found.add(Difference {
            kind: Kind::Text,
            place: format!("line {}", old.start + 1),
            general: shaped.map(|line| shape(&redact::page(line, 80))).unwrap_or_default(),
            legacy: show(&legacy, &old),
            banyan: show(&banyan, &new),
        });
    }
    found
}

fn mask(rules: &TextRules, text: &str) -> String {
    let mut text = text.to_owned();
    for mask in rules.masks.iter().filter(|mask| !mask.after.is_empty() && !mask.until.is_empty()) {
        let mut out = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some(at) = rest.find(&mask.after) {
            let (before, after) = rest.split_at(at + mask.after.len());
            // Without an end there is none further on either.
            let Some(end) = after.find(&mask.until) else { break };
            out.push_str(before);
            out.push_str(MASKED);
            rest = &after[end..];
        }
        out.push_str(rest);
        text = out;
    }
    text
}

fn text_lines(text: &str) -> Option<Vec<String>> {
    let lines: Vec<String> =
        text.lines().take(LINES_MAX + 1).map(|line| line.trim_end().to_owned()).collect();
    (lines.len() <= LINES_MAX).then_some(lines)
}

/// Tags and the texts between them, white space as a browser sees it.
fn page_lines(text: &str) -> Option<Vec<String>> {
    let mut lines = Vec::new();
    for part in text.split_inclusive('>') {
        let tag = part.find('<').unwrap_or(part.len());
        for piece in [&part[..tag], &part[tag..]] {
            let words: Vec<&str> = piece.split_whitespace().collect();
            if !words.is_empty() {
                lines.push(words.join(" "));
            }
        }
        if lines.len() > LINES_MAX {
            return None;
        }
    }
    Some(lines)
}

/// A line with every number and every long id replaced, so that lines that differ in them are one group.
fn shape(line: &str) -> String {
    let mut out = String::new();
    for word in line.split_inclusive(|c: char| !c.is_alphanumeric()) {
        let body = word.trim_end_matches(|c: char| !c.is_alphanumeric());
        let digits = body.bytes().filter(u8::is_ascii_digit).count();
        if digits > 0 && (digits == body.len() || body.len() >= 8) {
            out.push('#');
            out.push_str(&word[body.len()..]);
        } else {
            out.push_str(word);
        }
    }
    out
}

/// Ranges of lines that differ; nothing if there are too many edits. Myers' greedy algorithm ("An O(ND) Difference
/// Algorithm and Its Variations", 1986), given up after [`EDITS_MAX`].
fn hunks(legacy: &[String], banyan: &[String]) -> Option<Vec<(Range<usize>, Range<usize>)>> {
    let start = legacy.iter().zip(banyan).take_while(|(old, new)| old == new).count();
    let (old, new) = (&legacy[start..], &banyan[start..]);
    let end = old.iter().rev().zip(new.iter().rev()).take_while(|(old, new)| old == new).count();
    let (old, new) = (&old[..old.len() - end], &new[..new.len() - end]);
    let kept = matches(old, new)?;
    let mut hunks: Vec<(Range<usize>, Range<usize>)> = Vec::new();
    let (mut x, mut y) = (0, 0);
    for (at_old, at_new) in kept.into_iter().chain([(old.len(), new.len())]) {
        if at_old > x || at_new > y {
            hunks.push((start + x..start + at_old, start + y..start + at_new));
        }
        (x, y) = (at_old + 1, at_new + 1);
    }
    Some(hunks)
}

/// Pairs of lines that stay, in order.
fn matches(old: &[String], new: &[String]) -> Option<Vec<(usize, usize)>> {
    let offset = EDITS_MAX + 1;
    let mut best = vec![0_usize; 2 * offset + 1];
    let mut trail: Vec<Vec<usize>> = Vec::new();
    for edits in 0..=EDITS_MAX {
        trail.push(best.clone());
        for diagonal in (offset - edits..=offset + edits).step_by(2) {
            let down = edits > 0
                && (diagonal == offset - edits
                    || (diagonal != offset + edits && best[diagonal - 1] < best[diagonal + 1]));
            let mut x = if edits == 0 {
                0
            } else if down {
                best[diagonal + 1]
            } else {
                best[diagonal - 1] + 1
            };
            // Diagonals are x - y, moved by the offset to stay positive.
            let Some(mut y) = (x + offset).checked_sub(diagonal) else { continue };
            while x < old.len() && y < new.len() && old[x] == new[y] {
                (x, y) = (x + 1, y + 1);
            }
            best[diagonal] = x;
            if x >= old.len() && y >= new.len() {
                return Some(walk_back(&trail, old.len(), new.len(), offset));
            }
        }
    }
    None
}

fn walk_back(trail: &[Vec<usize>], mut x: usize, mut y: usize, offset: usize) -> Vec<(usize, usize)> {
    let mut kept = Vec::new();
    for edits in (1..trail.len()).rev() {
        let best = &trail[edits];
        let diagonal = x + offset - y;
        let down = diagonal == offset - edits
            || (diagonal != offset + edits && best[diagonal - 1] < best[diagonal + 1]);
        let before = if down { diagonal + 1 } else { diagonal - 1 };
        let from_x = best[before];
        let from_y = from_x + offset - before;
        while x > from_x && y > from_y && (x, y) != (from_x, from_y) {
            let step = if down { (from_x, from_y + 1) } else { (from_x + 1, from_y) };
            if (x, y) == step {
                break;
            }
            (x, y) = (x - 1, y - 1);
            kept.push((x, y));
        }
        (x, y) = (from_x, from_y);
    }
    while x > 0 && y > 0 {
        (x, y) = (x - 1, y - 1);
        kept.push((x, y));
    }
    kept.reverse();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(is_page: bool, legacy: &str, banyan: &str, expected: &[(&str, &str, &str)]) {
        let found = compare(&TextRules::default(), is_page, legacy, banyan);
        let found: Vec<(&str, &str, &str)> = found
            .differences
            .iter()
            .map(|found| (found.general.as_str(), found.legacy.as_str(), found.banyan.as_str()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn pages_are_compared_as_they_are_seen() {
        check(true, "<p>one\n  two</p><b>x</b>", "<p>one two</p>\n<b>x</b>\n", &[]);
        check(true, "<p>12 left</p><b>x</b>", "<p>11 left</p><b>x</b>", &[("# left", "12 left", "11 left")]);
        check(true, "<p>a</p>", "<p>a</p><i>new</i>", &[("<i>", "", "<i>\nnew\n</i>")]);
        let with = |token: &str| {
            format!(r#"<input type="hidden" name="csrfmiddlewaretoken" value="{token}"><p>x</p>"#)
        };
        check(true, &with("aaa"), &with("bbb"), &[]);
    }

    #[test]
    fn texts_are_compared_by_line() {
        check(false, "a\nb\nc\n", "a\nX\nc\n", &[("b", "b", "X")]);
        check(false, "a\nb\nc\nd\ne", "b\nc\nd\ne\nf", &[("a", "a", ""), ("f", "", "f")]);
        check(
            false,
            "order 1001 of 7\n",
            "order 1002 of 8\n",
            &[("order # of #", "order 1001 of 7", "order 1002 of 8")],
        );
    }

    #[test]
    fn wholly_different_texts_are_one_difference() {
        let many = |word: &str| (0..1_000).map(|line| format!("{word} {line}\n")).collect::<String>();
        check(false, &many("a"), &many("b"), &[("(most lines)", "1000 lines", "1000 lines")]);
    }

    proptest! {
        /// What stays is really the same on both sides, in order, and everything else is in a hunk.
        #[test]
        fn hunks_tell_the_whole_story(
            old in proptest::collection::vec("[abc]", 0..30),
            new in proptest::collection::vec("[abc]", 0..30),
        ) {
            let hunks = hunks(&old, &new).expect("few edits");
            let (mut x, mut y) = (0, 0);
            for (from, to) in &hunks {
                prop_assert!(!(from.is_empty() && to.is_empty()));
                prop_assert_eq!(&old[x..from.start], &new[y..to.start]);
                (x, y) = (from.end, to.end);
            }
            prop_assert_eq!(&old[x..], &new[y..]);
            prop_assert_eq!(hunks.is_empty(), old == new);
        }
    }
}
