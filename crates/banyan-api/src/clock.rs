//! Instants as the wire writes them.

use banyan_domain::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use std::time::{SystemTime, UNIX_EPOCH};

static PRINTER: DateTimePrinter = DateTimePrinter::new();

/// An instant as RFC 3339 text in UTC, such as `2026-11-27T03:00:00.250Z`.
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    let mut text = String::with_capacity(24);
    // The latest instant of the rules is the year 9999, which jiff knows.
    if let Ok(at) = jiff::Timestamp::from_millisecond(at.as_millis() as i64) {
        let _written_to_memory = PRINTER.print_timestamp(&at, &mut text);
    }
    text
}

/// The clock of this machine.
#[must_use]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Reads an RFC 3339 instant of 1970 or later; offsets are understood.
///
/// # Errors
/// The rule it breaks, in words.
pub(crate) fn parse(text: &str) -> Result<Timestamp, String> {
    let at: jiff::Timestamp = text.parse().map_err(|_| {
        format!("{text:?} is not an instant such as 2026-11-27T12:00:00Z or 2026-11-27T12:00:00+09:00")
    })?;
    let millis = u64::try_from(at.as_millisecond()).map_err(|_| format!("{text:?} is before 1970"))?;
    Ok(Timestamp::from_millis(millis))
}
