//! Card numbers. They are looked at in memory and forgotten: what leaves this file is a brand and four digits.

use crate::payment::{Card, CardStep};
use std::fmt;

/// What a test card does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ok,
    Declined,
    /// The bank asks for a code first.
    Challenge,
}

/// A card of the sandbox.
pub(crate) struct TestCard {
    /// 16 digits.
    pub(crate) number: &'static str,
    pub(crate) brand: &'static str,
    pub(crate) outcome: Outcome,
    /// What a server names in place of a number.
    pub(crate) token: &'static str,
}

/// Every card that works here. No real card does.
pub(crate) const TEST_CARDS: [TestCard; 4] = [
    TestCard { number: "4242424242424242", brand: "visa", outcome: Outcome::Ok, token: "tok_ok" },
    TestCard {
        number: "5555555555554444",
        brand: "mastercard",
        outcome: Outcome::Ok,
        token: "tok_ok_mastercard",
    },
    TestCard { number: "4000000000000002", brand: "visa", outcome: Outcome::Declined, token: "tok_declined" },
    TestCard {
        number: "4000000000003220",
        brand: "visa",
        outcome: Outcome::Challenge,
        token: "tok_challenge",
    },
];

/// The token that sends the customer to the card page.
pub(crate) const PAGE_TOKEN: &str = "page";
/// The code that the challenge wants; the page says so itself.
pub(crate) const CHALLENGE_CODE: &str = "123456";

/// Digits that somebody typed. Never printed.
pub(crate) struct Number(String);

/// Why a number is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// Not 12 to 19 digits, or the last digit does not fit the others.
    Number,
    /// May be a real card: it is not wanted here.
    NotATestCard,
    /// Not a month, or one that is over.
    Expiry,
    /// Not three or four digits.
    Cvc,
}

impl Number {
    /// The digits of `text`, without spaces and dashes.
    pub(crate) fn new(text: &str) -> Self {
        Self(text.chars().filter(|c| !c.is_whitespace() && *c != '-').take(32).collect())
    }

    /// What this card does here.
    pub(crate) fn step(&self) -> Result<CardStep, Wrong> {
        if !is_luhn(&self.0) {
            return Err(Wrong::Number);
        }
        let card = TEST_CARDS.iter().find(|card| card.number == self.0).ok_or(Wrong::NotATestCard)?;
        Ok(card.step())
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Number(hidden)")
    }
}

impl TestCard {
    /// What the card named by `token` does.
    pub(crate) fn by_token(token: &str) -> Option<&'static Self> {
        TEST_CARDS.iter().find(|card| card.token == token)
    }

    /// What it does to a payment.
    pub(crate) fn step(&self) -> CardStep {
        let card = Card { brand: self.brand.to_owned(), last4: self.last4().to_owned() };
        match self.outcome {
            Outcome::Ok => CardStep::Accepted(card),
            Outcome::Declined => CardStep::Declined(card),
            Outcome::Challenge => CardStep::Challenged(card),
        }
    }

    /// The last four digits.
    pub(crate) fn last4(&self) -> &'static str {
        &self.number[12..]
    }

    /// The number in groups of four.
    pub(crate) fn grouped(&self) -> String {
        let digits = self.number;
        [&digits[..4], &digits[4..8], &digits[8..12], &digits[12..]].join(" ")
    }
}

/// Whether `digits` has a card's length and its check digit fits (ISO/IEC 7812).
fn is_luhn(digits: &str) -> bool {
    if !(12..=19).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return false;
    }
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, u32::from(digit - b'0')) {
            (0, digit) => digit,
            (_, digit) if digit > 4 => 2 * digit - 9,
            (_, digit) => 2 * digit,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Checks `text` (`12/30`, `12 / 2030`) against the present `year` and `month`.
pub(crate) fn check_expiry(text: &str, (year, month): (i16, i8)) -> Result<(), Wrong> {
    let parse = || {
        let (m, y) = text.split_once('/')?;
        let (m, y): (i8, &str) = (m.trim().parse().ok()?, y.trim());
        let years: i16 = y.parse().ok()?;
        let y = match y.len() {
            2 => 2000 + years,
            4 => years,
            _ => return None,
        };
        Some((y, m))
    };
    let given = parse().filter(|(y, m)| (1..=12).contains(m) && (2000..=2099).contains(y));
    if given.is_some_and(|given| given >= (year, month)) { Ok(()) } else { Err(Wrong::Expiry) }
}

/// Checks the digits on the back.
pub(crate) fn check_cvc(text: &str) -> Result<(), Wrong> {
    let text = text.trim();
    let fits = (3..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if fits { Ok(()) } else { Err(Wrong::Cvc) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_digits_are_checked() {
        for card in &TEST_CARDS {
            assert!(is_luhn(card.number), "{}", card.number);
        }
        for wrong in ["4242424242424241", "4242 4242", "", "0", "abcdabcdabcdabcd", "42424242424242424242"] {
            assert!(!is_luhn(wrong), "{wrong}");
        }
        assert!(is_luhn("378282246310005"), "15 digits are a card as well");
    }

    #[test]
    fn only_test_cards_work_and_spaces_do_not_matter() {
        let step = |text: &str| Number::new(text).step();
        assert_eq!(step("4242-4242 4242 4242"), Ok(TEST_CARDS[0].step()));
        assert_eq!(step("4000 0000 0000 0002"), Ok(TEST_CARDS[2].step()));
        assert_eq!(step("4111111111111111"), Err(Wrong::NotATestCard));
        assert_eq!(step("4242424242424243"), Err(Wrong::Number));
    }

    #[test]
    fn a_number_is_never_printed() {
        assert_eq!(format!("{:?}", Number::new("4242424242424242")), "Number(hidden)");
    }

    #[test]
    fn a_card_works_up_to_its_last_month() {
        for (text, fits) in [
            ("11/26", true),
            ("10/26", false),
            ("1/27", true),
            ("12 / 2030", true),
            ("13/30", false),
            ("0/30", false),
            ("1130", false),
            ("1/1", false),
            ("12/99999", false),
            ("", false),
        ] {
            assert_eq!(check_expiry(text, (2026, 11)).is_ok(), fits, "{text}");
        }
        assert!(check_cvc(" 123 ").is_ok() && check_cvc("1234").is_ok());
        assert!(check_cvc("12").is_err() && check_cvc("12a").is_err() && check_cvc("").is_err());
    }
}
