//! The numbers of copies as metrics.

use super::ShadowReport;
use std::fmt::Write as _;

/// Appends the numbers of every route that was ever shadowed.
pub(crate) fn write(out: &mut String, reports: &[ShadowReport], bytes: usize) {
    // Writing to a String cannot fail.
    let _ok = writeln!(
        out,
        "# HELP banyan_gateway_shadow_bytes Memory that copies hold.\n# TYPE banyan_gateway_shadow_bytes gauge\n\
         banyan_gateway_shadow_bytes {bytes}"
    );
    let shadowed: Vec<&ShadowReport> = reports.iter().filter(|report| report.offered > 0).collect();
    type Value = fn(&ShadowReport) -> u64;
    let families: [(&str, &str, &str, Value); 6] = [
        ("offered_total", "counter", "Requests that came while the route was shadowed.", |r| r.offered),
        ("equal_total", "counter", "Pairs of answers without a difference that counts.", |r| r.equal),
        ("mismatched_total", "counter", "Pairs of answers with one.", |r| r.mismatched),
        ("asked_total", "counter", "Copies sent to Banyan.", |r| r.asked),
        ("errors_total", "counter", "Of these, errors.", |r| r.errors),
        ("queued", "gauge", "Copies that wait.", |r| r.queued as u64),
    ];
    for (name, kind, help, value) in families {
        let name = format!("banyan_gateway_shadow_{name}");
        let _ok = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for report in &shadowed {
            let _ok = writeln!(out, "{name}{{route={:?}}} {}", report.route, value(report));
        }
    }
    let name = "banyan_gateway_shadow_skipped_total";
    let _ok =
        writeln!(out, "# HELP {name} Requests that were not compared, by reason.\n# TYPE {name} counter");
    for report in &shadowed {
        for (reason, count) in &report.skipped {
            let _ok = writeln!(out, "{name}{{route={:?},reason=\"{reason}\"}} {count}", report.route);
        }
    }
}
