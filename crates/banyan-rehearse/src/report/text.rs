//! The report for a terminal: the verdict, then tables of plain text.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Level, Report};

pub(super) fn text(report: &Report) -> String {
    let mut out = String::new();
    write(report, &mut out).expect("writing to a string cannot fail");
    out
}

fn write(report: &Report, out: &mut String) -> std::fmt::Result {
    writeln!(out, "{}: {}", report.name, report.verdict.title)?;
    for reason in &report.verdict.reasons {
        let mark = match reason.level {
            Level::Well => "  ",
            Level::Look => "? ",
            Level::Harm => "! ",
        };
        writeln!(out, "  {mark}{}", reason.text)?;
    }
    let (seconds, seed) = (report.seconds, report.seed);
    writeln!(out, "\n{} for {seconds:.1} s, seed {seed}\n", report.target)?;
    let columns = ["offered", "accepted", "refused", "unknown", "not sent", "answers/s"];
    write!(out, "{:<8}", "")?;
    for column in columns {
        write!(out, "{column:>11}")?;
    }
    writeln!(out)?;
    for action in &report.actions {
        write!(out, "{:<8}", action.action)?;
        for figure in [action.offered, action.accepted, action.refused, action.unknown, action.not_sent] {
            write!(out, "{:>11}", count(figure))?;
        }
        writeln!(out, "{:>11}", count(action.answered_per_second.round() as u64))?;
    }
    write!(out, "\n{:<8}", "latency")?;
    for column in ["p50", "p90", "p99", "p99.9", "max"] {
        write!(out, "{column:>11}")?;
    }
    writeln!(out)?;
    for action in &report.actions {
        let latency = &action.latency_ms;
        write!(out, "{:<8}", action.action)?;
        for figure in [latency.p50, latency.p90, latency.p99, latency.p999, latency.max] {
            write!(out, "{:>11}", milliseconds(figure))?;
        }
        writeln!(out)?;
    }
    counts(out, "refused", &report.refusals)?;
    counts(out, "unknown", &report.unknown)?;
    counts(out, "not sent", &report.not_sent)?;
    counts(out, "sent again", &report.retried)?;
    counts(out, "connections that failed", &report.connect_failures)?;
    writeln!(out, "\nnew coupons")?;
    for campaign in &report.campaigns {
        let of = campaign.quantity.map_or(String::new(), |quantity| format!(" of {}", count(quantity)));
        writeln!(out, "  {:>11}{of}  {}", count(campaign.issued), campaign.id)?;
    }
    if let Some(visits) = &report.visits {
        writeln!(out, "\nin the shop")?;
        for (name, number) in visits.steps() {
            writeln!(out, "  {:>11}  {name}", count(number))?;
        }
    }
    let generator = &report.generator;
    let (late, latest) = (milliseconds(generator.late_p99_ms), milliseconds(generator.late_max_ms));
    let (peak, max) = (generator.connections_peak, generator.connections_max);
    writeln!(out, "\ngenerator: arrivals late p99 {late}, max {latest}; {peak} of {max} connections")
}

fn counts(out: &mut String, heading: &str, counts: &BTreeMap<String, u64>) -> std::fmt::Result {
    if counts.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{heading}")?;
    for (kind, times) in counts {
        writeln!(out, "  {:>11}  {kind}", count(*times))?;
    }
    Ok(())
}

/// A number with its thousands apart: `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A latency with a unit that suits it: `0.42 ms`, `12.3 ms`, `1.50 s`.
pub(super) fn milliseconds(ms: f64) -> String {
    match ms {
        ms if ms < 9.995 => format!("{ms:.2} ms"),
        ms if ms < 99.95 => format!("{ms:.1} ms"),
        ms if ms < 999.5 => format!("{ms:.0} ms"),
        ms => format!("{:.2} s", ms / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::{count, milliseconds};

    #[test]
    fn numbers_are_easy_to_read() {
        let counts = [0, 999, 1000, 123_456, 1_234_567].map(count);
        assert_eq!(counts, ["0", "999", "1,000", "123,456", "1,234,567"]);
        let times = [0.417, 9.999, 12.34, 250.4, 999.9, 61_000.0].map(milliseconds);
        assert_eq!(times, ["0.42 ms", "10.0 ms", "12.3 ms", "250 ms", "1.00 s", "61.00 s"]);
    }
}
