//! Money, numbers and instants as people read them.

use crate::text::{self, Lang};
use crate::wire::Benefit;
use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use maud::{Markup, html};

/// `1234567` as `1,234,567`.
pub(crate) fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Money as the language writes it: `₩22,800`, `22,800원`, `12.50 USD`.
pub(crate) fn money(lang: Lang, minor: i64, currency: &str) -> String {
    let sign = if minor < 0 { "−" } else { "" };
    let decimals = match currency {
        "KRW" | "JPY" | "VND" | "CLP" | "ISK" | "PTS" => 0,
        "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
        _ => 2,
    };
    let unit = 10_u64.pow(decimals);
    let amount = minor.unsigned_abs();
    let whole = number(amount / unit);
    match (currency, lang) {
        ("KRW", Lang::En) => format!("{sign}₩{whole}"),
        ("KRW", Lang::Ko) => format!("{sign}{whole}원"),
        _ if decimals == 0 => format!("{sign}{whole} {currency}"),
        _ => format!("{sign}{whole}.{:0width$} {currency}", amount % unit, width = decimals as usize),
    }
}

/// Points, with their unit.
pub(crate) fn points(lang: Lang, points: i64) -> String {
    lang.f(text::POINTS_UNIT, &[&number(points.unsigned_abs())])
}

/// What a coupon is worth.
pub(crate) fn benefit(lang: Lang, benefit: &Benefit) -> String {
    match benefit {
        Benefit::Amount(amount) => lang.f(text::OFF_AMOUNT, &[&money(lang, amount.minor, &amount.currency)]),
        Benefit::Percent { basis_points, cap } => {
            let (whole, rest) = (basis_points / 100, basis_points % 100);
            let share = if rest == 0 { whole.to_string() } else { format!("{whole}.{rest:02}") };
            match cap {
                Some(cap) => {
                    lang.f(text::OFF_PERCENT_CAPPED, &[&share, &money(lang, cap.minor, &cap.currency)])
                }
                None => lang.f(text::OFF_PERCENT, &[&share]),
            }
        }
        Benefit::FreeShipping {} => lang.t(text::OFF_SHIPPING).to_owned(),
    }
}

/// The shop's time zone. Korea has no summer time.
fn zone() -> TimeZone {
    TimeZone::fixed(Offset::constant(9))
}

/// An instant of the API, `11 Nov, 19:05` or `11월 11일 19:05`, as text.
pub(crate) fn instant(lang: Lang, rfc3339: &str) -> String {
    rfc3339.parse::<Timestamp>().map_or_else(|_| rfc3339.to_owned(), |at| day_and_time(lang, at))
}

fn day_and_time(lang: Lang, at: Timestamp) -> String {
    let at = at.to_zoned(zone());
    let pattern = match lang {
        Lang::En => "%-d %b, %H:%M",
        Lang::Ko => "%-m월 %-d일 %H:%M",
    };
    at.strftime(pattern).to_string()
}

/// An instant of the API for a page: exact on hover, and for programs.
pub(crate) fn time(lang: Lang, rfc3339: &str) -> Markup {
    html! { time datetime=(rfc3339) title=(rfc3339) { (instant(lang, rfc3339)) } }
}

/// The time of day, to the second: for what is fresh.
pub(crate) fn clock(lang: Lang, at: Timestamp) -> String {
    let pattern = match lang {
        Lang::En => "%H:%M:%S KST",
        Lang::Ko => "%H:%M:%S",
    };
    at.to_zoned(zone()).strftime(pattern).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_written_as_the_language_does() {
        for (lang, minor, currency, text) in [
            (Lang::En, 22_800, "KRW", "₩22,800"),
            (Lang::Ko, 22_800, "KRW", "22,800원"),
            (Lang::Ko, -5_000, "KRW", "−5,000원"),
            (Lang::En, 1_250, "USD", "12.50 USD"),
        ] {
            assert_eq!(money(lang, minor, currency), text);
        }
    }

    #[test]
    fn instants_are_in_the_shops_time_zone() {
        let at = "2026-11-22T15:05:09.123Z";
        assert_eq!(instant(Lang::En, at), "23 Nov, 00:05");
        assert_eq!(instant(Lang::Ko, at), "11월 23일 00:05");
        assert_eq!(instant(Lang::Ko, "soon"), "soon");
    }
}
