//! Signatures of webhooks: `t=<unix seconds>,v1=<hex>`, HMAC-SHA256 over `<unix seconds>.<body>`, as Stripe and the
//! sandbox write them.

use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::fmt;

/// How old a signature may be, and how far ahead of our clock, in seconds.
pub const TOLERANCE_SECONDS: i64 = 300;
/// Signatures in one header that are looked at.
const SIGNATURES_MAX: usize = 8;

/// Why a signature is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureError {
    /// There is no header.
    Missing,
    /// The header is not `t=..,v1=..`.
    Malformed,
    /// None of its signatures fits the body and the secret.
    Wrong,
    /// Right, but not from about now: it may have been recorded and sent again.
    Old,
}

/// Checks that `header` signs `body` with `secret`, at about `now` (Unix seconds).
///
/// # Errors
/// [`SignatureError`], which says why not.
pub fn verify(secret: &[u8], header: Option<&str>, body: &[u8], now: i64) -> Result<(), SignatureError> {
    let header = header.ok_or(SignatureError::Missing)?;
    let (mut at, mut signatures) = (None, Vec::new());
    for part in header.split(',') {
        match part.trim().split_once('=') {
            Some(("t", time)) if time.len() <= 12 && time.bytes().all(|b| b.is_ascii_digit()) => {
                at = Some(time);
            }
            Some(("v1", hex)) if signatures.len() < SIGNATURES_MAX => signatures.extend(unhex(hex)),
            // Other schemes may stand beside ours.
            _ => {}
        }
    }
    let time = at.ok_or(SignatureError::Malformed)?;
    if signatures.is_empty() {
        return Err(SignatureError::Malformed);
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.update(time.as_bytes());
    mac.update(b".");
    mac.update(body);
    // In constant time. A sender who changes its secret signs with both for a while.
    if !signatures.iter().any(|signature| mac.clone().verify_slice(signature).is_ok()) {
        return Err(SignatureError::Wrong);
    }
    let seconds: i64 = time.parse().map_err(|_| SignatureError::Malformed)?;
    if now.abs_diff(seconds) > TOLERANCE_SECONDS.unsigned_abs() {
        return Err(SignatureError::Old);
    }
    Ok(())
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

impl fmt::Display for SignatureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "there is none",
            Self::Malformed => "it is not of the form t=..,v1=..",
            Self::Wrong => "it does not fit the body and the secret",
            Self::Old => "it is not from the last five minutes; check both clocks",
        })
    }
}

impl std::error::Error for SignatureError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with Python: hmac.new(b"whsec", b'1700000000.{"a":1}', "sha256").hexdigest()
    const GOOD: &str = "8ad37ba156048ae0e0a5533c75cdf26fee88b07f93cb57ee4c80adb053012032";
    const BODY: &[u8] = br#"{"a":1}"#;

    fn check(header: &str, body: &[u8], now: i64) -> Result<(), SignatureError> {
        verify(b"whsec", Some(header), body, now)
    }

    #[test]
    fn a_good_signature_is_taken_for_five_minutes() {
        let header = format!("t=1700000000,v1={GOOD}");
        for (now, expected) in [
            (1_700_000_000, Ok(())),
            (1_700_000_300, Ok(())),
            (1_699_999_700, Ok(())),
            (1_700_000_301, Err(SignatureError::Old)),
            (1_699_999_699, Err(SignatureError::Old)),
            (i64::MIN, Err(SignatureError::Old)),
        ] {
            assert_eq!(check(&header, BODY, now), expected, "{now}");
        }
    }

    #[test]
    fn others_are_not() {
        let now = 1_700_000_000;
        let wrong = "0".repeat(64);
        assert_eq!(verify(b"whsec", None, BODY, now), Err(SignatureError::Missing));
        for (header, expected) in [
            (format!("t=1700000000,v1={wrong}"), SignatureError::Wrong),
            (format!("t=1700000001,v1={GOOD}"), SignatureError::Wrong),
            (format!("v1={GOOD}"), SignatureError::Malformed),
            ("t=1700000000".into(), SignatureError::Malformed),
            (format!("t=-1700000000,v1={GOOD}"), SignatureError::Malformed),
            (format!("t=1700000000,v0={GOOD}"), SignatureError::Malformed),
            ("t=1700000000,v1=zz".into(), SignatureError::Malformed),
            (format!("t=1700000000,v1={}", "ä".repeat(32)), SignatureError::Malformed),
            (String::new(), SignatureError::Malformed),
        ] {
            assert_eq!(check(&header, BODY, now), Err(expected), "{header}");
        }
        let header = format!("t=1700000000,v1={GOOD}");
        assert_eq!(check(&header, br#"{"a":2}"#, now), Err(SignatureError::Wrong), "another body");
        assert_eq!(verify(b"other", Some(&header), BODY, now), Err(SignatureError::Wrong), "another secret");
        assert_eq!(
            check(&format!("t=1700000000,v1={wrong},v1={GOOD}"), BODY, now),
            Ok(()),
            "one of two fits"
        );
    }
}
