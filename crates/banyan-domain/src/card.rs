//! Card numbers, so that they are turned away before anything remembers them.
//!
//! The log is for ever, so a number that was pasted where a token belongs must not get into it. It counts however it is grouped
//! and whatever stands around it. What no network gives out, such as a date or a clock's milliseconds in a token, does not, nor do
//! digits right within a word: companies make names of a shop's name, the time and some letters, such as `shop520251130141716u7Ie0`.

/// Digits of a card number, at least and at most.
const DIGITS_MIN: usize = 12;
const DIGITS_MAX: usize = 19;

/// Whether `text` holds a card number: 12 to 19 digits that begin as cards do and pass the Luhn check, in one piece or in groups
/// with anything but letters between them. Digits that go on without a gap are one group, and no number is looked for within it.
/// Digits with a letter right before and a letter right after them are part of a word.
#[must_use]
pub fn holds_card_number(text: &str) -> bool {
    // Each piece without letters, as groups of digits one after the other.
    let pieces: Vec<&str> = text.split(|c: char| c.is_alphabetic()).collect();
    pieces.iter().enumerate().any(|(place, piece)| {
        let within = place > 0 && place + 1 < pieces.len();
        if within && piece.chars().all(|c| digit(c).is_some()) {
            return false;
        }
        let groups: Vec<Vec<u8>> = piece
            .split(|c| digit(c).is_none())
            .filter(|group| !group.is_empty())
            .map(|group| group.chars().filter_map(digit).collect())
            .collect();
        (0..groups.len()).any(|first| groups_begin_card(&groups[first..]))
    })
}

/// Whether the first one, two or more of `groups` are a card number together.
fn groups_begin_card(groups: &[Vec<u8>]) -> bool {
    let mut digits = Vec::with_capacity(DIGITS_MAX);
    for group in groups {
        if digits.len() + group.len() > DIGITS_MAX {
            return false;
        }
        digits.extend_from_slice(group);
        if digits.len() >= DIGITS_MIN && begins_as_cards_do(&digits) && passes_luhn(&digits) {
            return true;
        }
    }
    false
}

/// The digit that `c` is, also as East Asian keyboards write it.
fn digit(c: char) -> Option<u8> {
    let value = match c {
        '0'..='9' => u32::from(c) - u32::from('0'),
        '\u{ff10}'..='\u{ff19}' => u32::from(c) - 0xff10,
        _ => return None,
    };
    u8::try_from(value).ok()
}

/// Whether some network gives out numbers of this length with this beginning: generous, but no year of ours and no Unix time.
const fn begins_as_cards_do(digits: &[u8]) -> bool {
    match (digits.len(), digits[0]) {
        (_, 5 | 6) => true,
        (13 | 16..=19, 4) => true,
        (14..=19, 3) => true,
        (15, 1) => true,
        // Mastercard from 2221, Mir from 2200.
        (16..=19, 2) => matches!(digits[1], 2..=7),
        // UnionPay at 81, Troy at 9792.
        (16..=19, 8 | 9) => true,
        _ => false,
    }
}

fn passes_luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, &digit)| match (place % 2, u32::from(digit)) {
            (0, digit) => digit,
            (_, digit) if digit > 4 => 2 * digit - 9,
            (_, digit) => 2 * digit,
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_number_is_seen_however_it_is_written() {
        for text in [
            "4242424242424242",
            "4242-4242-4242-4242",
            "4242 4242 4242 4242",
            "4242.4242/4242_4242",
            " 4 2 4 2 4 2 4 2 4 2 4 2 4 2 4 2 ",
            "4242\u{a0}4242\u{2013}4242\u{3000}4242",
            "\u{ff14}\u{ff12}\u{ff14}\u{ff12}4242 42424242",
            "card:4242424242424242",
            "card4242424242424242",
            "card 4242424242424242 of mine",
            "4242424242424242 12/40 123",
            "123, 4242 4242 4242 4242",
            "378282246310005",
            "3782 822463 10005",
            "30569309025904",
            "5555555555554444",
            "2223003122003222",
            "6200000000000000000",
            "676770000005",
        ] {
            assert!(holds_card_number(text), "{text:?} holds a card number");
        }
    }

    #[test]
    fn tokens_with_many_digits_are_no_card_numbers() {
        for text in [
            "",
            "page",
            "tok_ok",
            "pm_1MqLiJLkdIwHu7ixUEgbFdYS",
            // Fails the check.
            "4242424242424241",
            "4242-4242-4242-4241",
            // A payment's name with the time in it, which passes the check.
            "tgen_20240213122700P7V83",
            "tgen_20240213122706P7V83",
            // The shop's name ends with a digit, and together they would pass.
            "shop520251130141716u7Ie0",
            // Milliseconds; one of these ten passes.
            "t-1763898034120 t-1763898034121 t-1763898034122 t-1763898034123 t-1763898034124",
            "t-1763898034125 t-1763898034126 t-1763898034127 t-1763898034128 t-1763898034129",
            // Too short, and too long.
            "42424242424",
            "42424242424242424242424242424242",
            // Letters between keep groups apart.
            "4242a4242b4242c4242",
            "5EnNZRJGvaBX7zk2yd8ydw26XvwXkLrx9POLqKQjmAw4b0e1",
        ] {
            assert!(!holds_card_number(text), "{text:?} holds no card number");
        }
    }
}
