//! What is printed, and what is written for later comparison.

use std::path::Path;

use serde::Serialize;

use crate::{Failure, failed};

/// One figure: the median over the rounds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// Which benchmark, such as `coupon`.
    pub(crate) bench: String,
    /// Whose figure.
    pub(crate) system: String,
    /// What was measured.
    pub(crate) metric: String,
    /// The figure.
    pub(crate) value: f64,
    /// Its unit.
    pub(crate) unit: String,
}

/// Writes the rows as a JSON list.
pub(crate) fn write_json(path: &Path, rows: &[Row]) -> Result<(), Failure> {
    let doing = || format!("writing {}", path.display());
    // JSON has no NaN: a figure that could not be measured is left out.
    let rows: Vec<_> = rows.iter().filter(|row| row.value.is_finite()).collect();
    let text = serde_json::to_string_pretty(&rows).map_err(|e| failed(doing(), e))?;
    std::fs::write(path, text + "\n").map_err(|e| failed(doing(), e))
}

/// Metrics down, systems across, in the order they first appear; a missing figure is a dash.
pub(crate) fn render(rows: &[Row]) -> String {
    align(&cells(rows))
}

/// The same as a table of Markdown.
pub(crate) fn markdown(rows: &[Row]) -> String {
    let lines = cells(rows);
    let columns = lines.first().map_or(0, Vec::len);
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        text.push_str(&format!("| {} |\n", line.join(" | ")));
        if number == 0 {
            text.push_str(&format!("|{}\n", " --- |".repeat(columns)));
        }
    }
    text
}

fn cells(rows: &[Row]) -> Vec<Vec<String>> {
    let mut systems: Vec<&str> = Vec::new();
    let mut metrics: Vec<(&str, &str)> = Vec::new();
    for row in rows {
        if !systems.contains(&row.system.as_str()) {
            systems.push(&row.system);
        }
        if !metrics.contains(&(row.metric.as_str(), row.unit.as_str())) {
            metrics.push((&row.metric, &row.unit));
        }
    }
    let mut lines =
        vec![[""].into_iter().chain(systems.iter().copied()).map(str::to_owned).collect::<Vec<_>>()];
    for (metric, unit) in metrics {
        let label = if unit.is_empty() { metric.to_owned() } else { format!("{metric} ({unit})") };
        let value = |system: &&str| {
            let found = rows.iter().find(|row| row.system == **system && row.metric == metric);
            found.map_or_else(|| "-".to_owned(), |row| format_value(row.value))
        };
        lines.push([label].into_iter().chain(systems.iter().map(value)).collect());
    }
    lines
}

fn align(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Three figures that matter; thousands are grouped.
fn format_value(value: f64) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    let digits = match value.abs() {
        size if size >= 100.0 || size == 0.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), None), |(w, f)| (w, Some(f)));
    let (sign, whole) = whole.strip_prefix('-').map_or(("", whole), |rest| ("-", rest));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{sign}{grouped}{}", fraction.map_or_else(String::new, |fraction| format!(".{fraction}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_grouped() {
        let shown = [0.0, 0.034, 9.5, 12.34, 999.6, 1_234_567.0, -1_234.0, f64::NAN].map(format_value);
        assert_eq!(shown, ["0", "0.03", "9.50", "12.3", "1,000", "1,234,567", "-1,234", "-"]);
    }

    #[test]
    fn systems_stand_beside_each_other() {
        let row = |system: &str, metric: &str, value: f64| Row {
            bench: "coupon".to_owned(),
            system: system.to_owned(),
            metric: metric.to_owned(),
            value,
            unit: "1/s".to_owned(),
        };
        let text =
            render(&[row("noop", "peak", 50_000.0), row("cure", "peak", 900.0), row("cure", "lag", 2.0)]);
        assert_eq!(text, "              noop  cure\npeak (1/s)  50,000   900\nlag (1/s)        -  2.00\n");
        let text = markdown(&[row("noop", "peak", 50_000.0), row("cure", "lag", 2.0)]);
        assert_eq!(
            text,
            "|  | noop | cure |\n| --- | --- | --- |\n| peak (1/s) | 50,000 | - |\n| lag (1/s) | - | 2.00 |\n"
        );
    }
}
