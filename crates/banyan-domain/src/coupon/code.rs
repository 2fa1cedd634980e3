//! Coupon codes: unique without a lookup, and not guessable.
//!
//! A code is the coupon's 60-bit number put through a keyed permutation, written as twelve characters of Crockford's
//! base 32 and one check character. A permutation never maps two numbers to one code, so no table of used codes is
//! needed, and a code leads straight back to its coupon. Without the key, a guess hits one of ten million issued codes
//! once in about 10^11 tries.
//!
//! The permutation is a balanced Feistel network over two 30-bit halves with SipHash-2-4 as round function. Luby and
//! Rackoff (1988) show that four rounds resist adaptive attackers up to about 2^15 known codes at this width; Patarin
//! ("Security of random Feistel schemes with 5 or more rounds", 2004) shows that more rounds push this towards 2^30; we use
//! eight. The check character is Luhn modulo 32: it catches every single wrong character and most swaps of neighbours.

use crate::{CouponId, Keys};
use core::fmt;
use core::hash::Hasher;
use siphasher::sip::SipHasher24;

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const HALF_BITS: u32 = 30;
const HALF_MASK: u64 = (1 << HALF_BITS) - 1;
const CHARS: usize = 12;

/// The key of the permutation.
#[derive(Clone, Debug)]
pub struct CodeKey {
    rounds: [SipHasher24; 8],
}

/// A code as people type it: `7K2M-Q9XR-4TBHC`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CouponCode([u8; CHARS + 1]);

/// Why a text is not a code of this store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidCode {
    /// Not 13 characters of the alphabet, apart from spaces and dashes.
    Form,
    /// The check character does not match: a typing error.
    Check,
}

impl CodeKey {
    /// The permutation of this store.
    #[must_use]
    pub fn new(keys: &Keys) -> Self {
        Self { rounds: core::array::from_fn(|i| SipHasher24::new_with_key(&keys.code_rounds[i])) }
    }

    /// The code of `coupon`.
    #[must_use]
    pub fn code(&self, coupon: CouponId) -> CouponCode {
        let (mut left, mut right) = (coupon.get() >> HALF_BITS, coupon.get() & HALF_MASK);
        for round in &self.rounds {
            (left, right) = (right, left ^ half(round, right));
        }
        CouponCode::from_bits(left << HALF_BITS | right)
    }

    /// The coupon that `code` stands for: any 60-bit number, whether it was issued or not.
    #[must_use]
    pub fn coupon(&self, code: CouponCode) -> CouponId {
        let bits = code.to_bits();
        let (mut left, mut right) = (bits >> HALF_BITS, bits & HALF_MASK);
        for round in self.rounds.iter().rev() {
            (left, right) = (right ^ half(round, left), left);
        }
        CouponId::from_u64(left << HALF_BITS | right).expect("two 30-bit halves are 60 bits")
    }
}

fn half(round: &SipHasher24, input: u64) -> u64 {
    let mut hasher = *round;
    hasher.write_u64(input);
    hasher.finish() & HALF_MASK
}

impl CouponCode {
    /// Reads a code as a person types it: either case, dashes and spaces anywhere, O for 0, I or L for 1.
    ///
    /// # Errors
    /// [`InvalidCode`] if it has the wrong form or a typing error.
    pub fn parse(text: &str) -> Result<Self, InvalidCode> {
        let mut chars = [0; CHARS + 1];
        let mut len = 0;
        for byte in text.bytes().filter(|b| !matches!(b, b'-' | b' ')) {
            let value = value(byte).ok_or(InvalidCode::Form)?;
            *chars.get_mut(len).ok_or(InvalidCode::Form)? = ALPHABET[usize::from(value)];
            len += 1;
        }
        if len != CHARS + 1 {
            return Err(InvalidCode::Form);
        }
        if check_char(&chars[..CHARS]) == chars[CHARS] { Ok(Self(chars)) } else { Err(InvalidCode::Check) }
    }

    fn from_bits(bits: u64) -> Self {
        let mut chars = [0; CHARS + 1];
        for (i, c) in chars.iter_mut().take(CHARS).enumerate() {
            *c = ALPHABET[(bits >> (5 * (CHARS - 1 - i)) & 31) as usize];
        }
        chars[CHARS] = check_char(&chars[..CHARS]);
        Self(chars)
    }

    fn to_bits(self) -> u64 {
        self.0[..CHARS].iter().fold(0, |bits, &c| bits << 5 | u64::from(value(c).unwrap_or(0)))
    }

    /// The code in its written form, 15 bytes of ASCII with two dashes.
    #[must_use]
    pub fn written(&self) -> [u8; 15] {
        let c = &self.0;
        [c[0], c[1], c[2], c[3], b'-', c[4], c[5], c[6], c[7], b'-', c[8], c[9], c[10], c[11], c[12]]
    }
}

/// The value of each byte, or 255 if it is not of the alphabet: either case, O for 0, I and L for 1.
const VALUES: [u8; 256] = {
    let mut values = [255; 256];
    let mut i = 0;
    while i < ALPHABET.len() {
        values[ALPHABET[i] as usize] = i as u8;
        values[ALPHABET[i].to_ascii_lowercase() as usize] = i as u8;
        i += 1;
    }
    values[b'O' as usize] = 0;
    values[b'o' as usize] = 0;
    values[b'I' as usize] = 1;
    values[b'i' as usize] = 1;
    values[b'L' as usize] = 1;
    values[b'l' as usize] = 1;
    values
};

fn value(byte: u8) -> Option<u8> {
    let value = VALUES[usize::from(byte)];
    (value != 255).then_some(value)
}

/// Luhn's check modulo 32: from the right, every second value counts double, with the sum of its base-32 digits.
fn check_char(chars: &[u8]) -> u8 {
    let mut sum = 0;
    for (i, &c) in chars.iter().rev().enumerate() {
        let v = u32::from(value(c).unwrap_or(0)) * if i % 2 == 0 { 2 } else { 1 };
        sum += v / 32 + v % 32;
    }
    ALPHABET[((32 - sum % 32) % 32) as usize]
}

impl fmt::Display for CouponCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(core::str::from_utf8(&self.written()).unwrap_or_default())
    }
}

impl fmt::Debug for CouponCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for InvalidCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => "a code has 13 letters and digits, such as 7K2M-Q9XR-4TBHC",
            Self::Check => "the code has a typing error: its check character does not match",
        })
    }
}

impl std::error::Error for InvalidCode {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CampaignNo, StoreSecret};
    use std::collections::BTreeSet;

    fn key() -> CodeKey {
        CodeKey::new(&StoreSecret::new([3; 32]).keys())
    }

    #[test]
    fn codes_lead_back_to_their_coupon_and_never_repeat() {
        let key = key();
        let mut seen = BTreeSet::new();
        for n in 1..20_000 {
            let coupon = CouponId::new(CampaignNo::new(1 + n as u32 % 7), n);
            let code = key.code(coupon);
            assert_eq!(key.coupon(code), coupon);
            assert_eq!(CouponCode::parse(&code.to_string()), Ok(code));
            assert!(seen.insert(code.written()));
        }
    }

    #[test]
    fn codes_are_read_as_people_write_them() {
        let code = key().code(CouponId::new(CampaignNo::new(1), 1));
        let text = code.to_string();
        for written in
            [text.to_lowercase(), text.replace('-', ""), text.replace('-', " "), text.replace('0', "o")]
        {
            assert_eq!(CouponCode::parse(&written), Ok(code), "{written}");
        }
    }

    #[test]
    fn every_single_wrong_character_is_caught() {
        let text = key().code(CouponId::new(CampaignNo::new(9), 123_456)).to_string();
        for i in (0..text.len()).filter(|&i| text.as_bytes()[i] != b'-') {
            for &other in ALPHABET.iter().filter(|&&c| c != text.as_bytes()[i]) {
                let mut wrong = text.clone().into_bytes();
                wrong[i] = other;
                let wrong = String::from_utf8(wrong).expect("ASCII");
                assert_eq!(CouponCode::parse(&wrong), Err(InvalidCode::Check), "{wrong}");
            }
        }
    }

    #[test]
    fn texts_of_the_wrong_form_are_refused() {
        for text in
            ["", "7K2M", "7K2M-Q9XR-4TBHC7", "7K2M-Q9XR-4TBH!", "쿠폰쿠폰쿠폰쿠폰쿠", "UUUU-UUUU-UUUUU"]
        {
            assert_eq!(CouponCode::parse(text), Err(InvalidCode::Form), "{text}");
        }
    }
}
