//! Lengths of time as a person writes them: `"30s"`, `"500ms"`, `"1.5m"`.

use std::fmt;
use std::time::Duration;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};

/// A length of time read from a scenario. Units: `us`, `ms`, `s`, `m`, `h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span(pub(crate) Duration);

impl Span {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is not a length of time: write a number and one of us, ms, s, m, h, such as \"30s\""
            )
        };
        let text_trimmed = text.trim();
        let unit_at = text_trimmed.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?;
        let (number, unit) = text_trimmed.split_at(unit_at);
        let number: f64 = number.trim().parse().map_err(|_| wrong())?;
        let unit_seconds = match unit {
            "us" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(wrong()),
        };
        Duration::try_from_secs_f64(number * unit_seconds).map(Span).map_err(|_| wrong())
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Span;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a length of time in quotes, such as \"30s\" or \"500ms\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                Span::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_units_and_refuses_the_rest() {
        let ms = |text| Span::parse(text).map(|span| span.0.as_micros());
        assert_eq!(ms("30s"), Ok(30_000_000));
        assert_eq!(ms("500ms"), Ok(500_000));
        assert_eq!(ms("1.5m"), Ok(90_000_000));
        assert_eq!(ms("2 h"), Ok(7_200_000_000));
        assert_eq!(ms("250us"), Ok(250));
        for wrong in ["", "30", "s", "-1s", "3 days", "1e400s", "NaNs"] {
            assert!(ms(wrong).is_err(), "{wrong} was read");
        }
    }
}
