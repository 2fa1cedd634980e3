//! Instants as texts.

use banyan_domain::Timestamp;

/// An instant as RFC 3339 text in UTC.
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    // The latest instant of the rules is the year 9999, which jiff knows.
    jiff::Timestamp::from_millisecond(at.as_millis() as i64).map(|at| at.to_string()).unwrap_or_default()
}

/// Reads an RFC 3339 instant of 1970 or later; offsets are understood.
///
/// # Errors
/// A sentence that quotes the text.
pub fn parse_instant(text: &str) -> Result<Timestamp, String> {
    let at: jiff::Timestamp =
        text.parse().map_err(|_| format!("{text:?} is not an instant such as 2026-11-27T12:00:00Z"))?;
    let millis = u64::try_from(at.as_millisecond()).map_err(|_| format!("{text:?} is before 1970"))?;
    Ok(Timestamp::from_millis(millis))
}

/// Reads a day (UTC) such as `2026-11-27`: its first instant, and that of the next day.
///
/// # Errors
/// A sentence that quotes the text.
pub fn parse_day(text: &str) -> Result<(Timestamp, Timestamp), String> {
    let wrong = || format!("{text:?} is not a day such as 2026-11-27");
    let day: jiff::civil::Date = text.parse().map_err(|_| wrong())?;
    let next = day.tomorrow().map_err(|_| wrong())?;
    let start = |day: jiff::civil::Date| parse_instant(&format!("{day}T00:00:00Z"));
    Ok((start(day)?, start(next)?))
}
