//! Names of things, each checked where it comes in, and secrets that do not print themselves.

use std::fmt;

/// Why a text is not what it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidText {
    kind: &'static str,
    rule: &'static str,
}

/// Declares a checked text type.
macro_rules! checked {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(Box<str>);

        impl $name {
            /// Checks `text`.
            ///
            /// # Errors
            /// [`InvalidText`] naming the rule, if `text` breaks it.
            pub fn new(text: impl Into<Box<str>>) -> Result<Self, InvalidText> {
                let text = text.into();
                let valid: fn(&str) -> bool = $valid;
                if valid(&text) { Ok(Self(text)) } else { Err(InvalidText { kind: $kind, rule: $rule }) }
            }

            /// As text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    };
}

checked!(
    /// An idempotency key: the same over all attempts of one effect, and never used for another.
    Key, "idempotency key", "1 to 255 visible ASCII characters",
    |s| (1..=255).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_graphic())
);
checked!(
    /// A payment's name at its company. Goes into addresses, so it holds nothing that means something there.
    PaymentId, "payment id", "1 to 200 letters, digits, - and _",
    |s| (1..=200).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
);
checked!(
    /// What pays, as a token of the company: never a card number. Not printed.
    MethodToken, "payment method", "1 to 255 visible ASCII characters, and no card number in them",
    |s| (1..=255).contains(&s.len())
        && s.bytes().all(|b| b.is_ascii_graphic())
        && (s.len() < 12 || !s.bytes().all(|b| b.is_ascii_digit()))
        && !banyan_domain::holds_card_number(s)
);
checked!(
    /// A key or secret. Not printed.
    Secret, "secret", "8 to 512 visible ASCII characters",
    |s| (8..=512).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_graphic())
);

impl MethodToken {
    /// The customer gives a card on the company's own page.
    #[must_use]
    pub fn page() -> Self {
        Self("page".into())
    }

    pub(crate) fn is_page(&self) -> bool {
        self.as_str() == "page"
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PaymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for PaymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MethodToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MethodToken(hidden)")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

impl fmt::Display for InvalidText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} must be {}", self.kind, self.rule)
    }
}

impl std::error::Error for InvalidText {}

/// `text` for an address or a form: everything but letters, digits and `-._~` as `%XX`.
pub(crate) fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_checked_where_they_come_in() {
        assert!(Key::new("saga-17/authorize").is_ok() && Key::new("").is_err() && Key::new("a b").is_err());
        assert!(Key::new("k".repeat(255)).is_ok() && Key::new("k".repeat(256)).is_err());
        assert!(PaymentId::new("pay_17_abc").is_ok() && PaymentId::new("../admin").is_err());
        assert!(PaymentId::new("a?b").is_err() && PaymentId::new("a%2fb").is_err());
        let error = PaymentId::new("a/b").expect_err("a path").to_string();
        assert_eq!(error, "payment id must be 1 to 200 letters, digits, - and _");
    }

    #[test]
    fn a_card_number_is_no_token() {
        for text in ["4242424242424242", "4242-4242-4242-4242", "card:4242424242424242", "4242424242424241"] {
            assert!(MethodToken::new(text).is_err(), "{text}");
        }
        assert!(MethodToken::new("pm_1MqLiJLkdIwHu7ixUEgbFdYS").is_ok());
        assert!(MethodToken::new("tgen_20240213122706P7V83").is_ok());
        assert!(MethodToken::new("tok_ok").is_ok());
    }

    #[test]
    fn secrets_do_not_print_themselves() {
        let secret = Secret::new("sk_very_secret").expect("a secret");
        let token = MethodToken::new("tok_ok").expect("a token");
        assert_eq!(format!("{secret:?} {token:?}"), "Secret(hidden) MethodToken(hidden)");
    }

    #[test]
    fn everything_that_means_something_is_encoded() {
        assert_eq!(percent("a b&c=ä/~"), "a%20b%26c%3D%C3%A4%2F~");
    }
}
