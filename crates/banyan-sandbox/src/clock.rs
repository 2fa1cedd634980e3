//! The clock, and times as text.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// Milliseconds since 1970.
pub(crate) fn now_millis() -> i64 {
    Timestamp::now().as_millisecond()
}

/// `millis` as RFC 3339 in UTC, with milliseconds.
pub(crate) fn rfc3339(millis: i64) -> String {
    Timestamp::from_millisecond(millis).map_or_else(|_| String::new(), |time| format!("{time:.3}"))
}

/// The day `text` (`2026-11-27`, in UTC) as its first millisecond and the first after it.
pub(crate) fn day(text: &str) -> Option<(i64, i64)> {
    let date: Date = text.parse().ok().filter(|_| text.len() == 10)?;
    let start = date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond();
    Some((start, start + 86_400_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_midnight_in_utc() {
        let (start, end) = day("2026-11-27").expect("a day");
        assert_eq!(rfc3339(start), "2026-11-27T00:00:00.000Z");
        assert_eq!(rfc3339(end), "2026-11-28T00:00:00.000Z");
        for wrong in ["2026-11-31", "2026-11-27T00", "today", ""] {
            assert_eq!(day(wrong), None, "{wrong}");
        }
    }
}
