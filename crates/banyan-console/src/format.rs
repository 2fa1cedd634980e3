//! Numbers, times and money as people read them: always with a unit, digits in groups of three.

use crate::text::{self, Lang, Text};
use banyan_domain::coupon::Benefit;
use banyan_domain::{Currency, Millis, Money, Timestamp};

/// `1234567` as `1,234,567`.
pub(crate) fn number(n: u64) -> String {
    grouped(&n.to_string())
}

fn grouped(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate or a mean: whole from 10 on, one decimal below.
pub(crate) fn rate(n: f64) -> String {
    if n >= 9.95 || n == 0.0 { number(n.round() as u64) } else { format!("{n:.1}") }
}

/// Milliseconds, as short as it is still exact enough: `0.84 ms`, `12 ms`, `1.4 s`, `3 min`.
pub(crate) fn millis(ms: f64) -> String {
    match ms {
        ms if ms < 0.005 => "0 ms".into(),
        ms if ms < 9.95 => format!("{ms:.1} ms"),
        ms if ms < 999.5 => format!("{ms:.0} ms"),
        ms if ms < 59_950.0 => format!("{:.1} s", ms / 1e3),
        ms => format!("{:.0} min", ms / 6e4),
    }
}

/// Bytes: `12.4 MB`.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let (mut value, mut unit) = (n as f64, 0);
    while value >= 999.5 && unit < UNITS.len() - 1 {
        (value, unit) = (value / 1e3, unit + 1);
    }
    if unit == 0 { format!("{n} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// `part` of `whole` in percent, never 100 before it is all and never 0 once there is some.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "0 %".into();
    }
    match part as f64 / whole as f64 * 100.0 {
        share if part >= whole => format!("{share:.0} %"),
        share if share > 99.9 => "99.9 %".into(),
        share if part > 0 && share < 0.1 => "< 0.1 %".into(),
        share if share < 10.0 => format!("{share:.1} %"),
        share => format!("{share:.0} %"),
    }
}

/// A span in words: `20 s`, `15 min`, `7 days`.
pub(crate) fn span(lang: Lang, span: Millis) -> String {
    let seconds = span.get() / 1_000;
    match seconds {
        0..120 => lang.f(text::SECONDS, &[&number(seconds)]),
        120..7_200 => lang.f(text::MINUTES, &[&number(seconds / 60)]),
        7_200..172_800 => lang.f(text::HOURS, &[&number(seconds / 3_600)]),
        _ => lang.f(text::DAYS, &[&number(seconds / 86_400)]),
    }
}

/// A short span as on a stopwatch: `120 ms`, `4.2 s`, `3 min 20 s`, `2 h 5 min`.
pub(crate) fn stopwatch(lang: Lang, span: Millis) -> String {
    let ms = span.get();
    let two = |large: Text, a: u64, small: Text, b: u64| match b {
        0 => lang.f(large, &[&number(a)]),
        b => format!("{} {}", lang.f(large, &[&number(a)]), lang.f(small, &[&number(b)])),
    };
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 if ms % 1_000 < 50 => lang.f(text::SECONDS, &[&number(ms / 1_000)]),
        1_000..60_000 => lang.f(text::SECONDS, &[&format!("{:.1}", ms as f64 / 1e3)]),
        60_000..3_600_000 => two(text::MINUTES, ms / 60_000, text::SECONDS, ms / 1_000 % 60),
        3_600_000..172_800_000 => two(text::HOURS, ms / 3_600_000, text::MINUTES, ms / 60_000 % 60),
        _ => lang.f(text::DAYS, &[&number(ms / 86_400_000)]),
    }
}

/// How far `at` lies from `now`, in words.
pub(crate) fn relative(lang: Lang, at: Timestamp, now: Timestamp) -> String {
    let (at, now) = (at.as_millis(), now.as_millis());
    let distance = at.abs_diff(now);
    if distance < 1_500 {
        return lang.t(text::JUST_NOW).into();
    }
    let span = span(lang, Millis::new(distance));
    lang.f(if at > now { text::IN_TIME } else { text::AGO }, &[&span])
}

/// Money with its currency: `5,000 KRW`, `12.50 USD`.
pub(crate) fn money(money: &Money) -> String {
    amount(money.minor.into(), money.currency)
}

/// An amount in minor units with its currency; points (`PTS`) have no decimals.
pub(crate) fn amount(minor: i128, currency: Currency) -> String {
    format!("{} {currency}", plain_amount(minor, currency))
}

/// The same without the currency, for columns that name it.
pub(crate) fn plain_amount(minor: i128, currency: Currency) -> String {
    let decimals = match currency.as_str() {
        "KRW" | "JPY" | "VND" | "CLP" | "ISK" | "PYG" | "UGX" | "XAF" | "XOF" | "XPF" | "PTS" => 0,
        "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
        _ => 2,
    };
    let unit = 10_u128.pow(decimals);
    let sign = if minor < 0 { "-" } else { "" };
    let minor = minor.unsigned_abs();
    let whole = grouped(&(minor / unit).to_string());
    if decimals == 0 {
        return format!("{sign}{whole}");
    }
    format!("{sign}{whole}.{:0width$}", minor % unit, width = decimals as usize)
}

/// What a coupon is worth, in words.
pub(crate) fn benefit(lang: Lang, benefit: &Benefit) -> String {
    match benefit {
        Benefit::Amount(amount) => lang.f(text::AMOUNT_OFF, &[&money(amount)]),
        Benefit::Percent { basis_points, cap } => {
            let (whole, rest) = (basis_points / 100, basis_points % 100);
            let share = if rest == 0 { format!("{whole}") } else { format!("{whole}.{rest:02}") };
            match cap {
                Some(cap) => lang.f(text::PERCENT_CAPPED, &[&share, &money(cap)]),
                None => lang.f(text::PERCENT_OFF, &[&share]),
            }
        }
        Benefit::FreeShipping => lang.t(text::FREE_SHIPPING).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        for (n, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")] {
            assert_eq!(number(n), text);
        }
        for (ms, text) in
            [(0.0, "0 ms"), (0.84, "0.8 ms"), (12.3, "12 ms"), (999.9, "1.0 s"), (90_000.0, "2 min")]
        {
            assert_eq!(millis(ms), text);
        }
        for (n, text) in [(12, "12 B"), (64 << 20, "67.1 MB"), (999_999, "1.0 MB")] {
            assert_eq!(bytes(n), text);
        }
        for (part, whole, text) in
            [(0, 9, "0.0 %"), (1, 100_000, "< 0.1 %"), (99_999, 100_000, "99.9 %"), (7, 7, "100 %")]
        {
            assert_eq!(percent(part, whole), text);
        }
    }

    #[test]
    fn money_has_its_currencys_decimals() {
        for (minor, currency, text) in [
            (5_000, "KRW", "5,000 KRW"),
            (1_205, "USD", "12.05 USD"),
            (-1, "KWD", "-0.001 KWD"),
            (1_500, "PTS", "1,500 PTS"),
        ] {
            let currency = Currency::new(currency).expect("a currency");
            assert_eq!(money(&Money { minor, currency }), text);
        }
    }

    #[test]
    fn spans_read_as_on_a_stopwatch() {
        for (ms, text) in [
            (7, "7 ms"),
            (4_230, "4.2 s"),
            (10_000, "10 s"),
            (200_000, "3 min 20 s"),
            (3_600_000, "1 h"),
            (7_500_000, "2 h 5 min"),
            (3 * 86_400_000, "3 days"),
        ] {
            assert_eq!(stopwatch(Lang::En, Millis::new(ms)), text);
        }
    }
}
