//! Plots as inline SVG that stretch to any width without a script.
//!
//! The SVG holds only lines and is stretched freely (strokes keep their width); every word is HTML placed in per
//! cent, so that text is as readable on a phone as on paper.

use std::fmt::Write;

use maud::{Markup, PreEscaped, html};

/// A plot. The horizontal axis runs from 0 to `x_max`.
pub(super) struct Plot {
    pub(super) title: &'static str,
    pub(super) note: String,
    pub(super) x_max: f64,
    pub(super) x_ticks: Vec<(f64, String)>,
    pub(super) y: Scale,
    pub(super) lines: Vec<Line>,
    pub(super) columns: Vec<Column>,
    pub(super) bands: Vec<(f64, f64)>,
    pub(super) marks: Vec<(f64, String)>,
    pub(super) limit: Option<(f64, String)>,
    /// From, to, and what to say when the pointer rests there.
    pub(super) hover: Vec<(f64, f64, String)>,
}

/// One line; a missing value is a gap.
pub(super) struct Line {
    pub(super) label: String,
    /// A CSS class of the page.
    pub(super) class: &'static str,
    pub(super) points: Vec<(f64, Option<f64>)>,
}

/// A set of columns of one kind, stacked on those before it: from, to, bottom, top.
pub(super) struct Column {
    pub(super) label: String,
    pub(super) class: &'static str,
    pub(super) boxes: Vec<(f64, f64, f64, f64)>,
}

/// The vertical axis.
pub(super) enum Scale {
    /// From 0 to a round number.
    Linear { top: f64, ticks: Vec<f64> },
    /// Milliseconds over whole decades.
    LogMs { low: i32, high: i32 },
}

impl Scale {
    /// A linear scale with round ticks that holds `max`.
    pub(super) fn linear(max: f64) -> Self {
        let step = round_step(max.max(1.0) / 4.0);
        let top = (max.max(1.0) / step).ceil() * step;
        let count = (top / step).round() as u32;
        Self::Linear { top, ticks: (0..=count).map(|i| f64::from(i) * step).collect() }
    }

    /// A logarithmic scale in milliseconds that holds `min` to `max`.
    pub(super) fn log_ms(min: f64, max: f64) -> Self {
        let low = min.max(0.001).log10().floor() as i32;
        let high = (max.max(0.001).log10().ceil() as i32).max(low + 1);
        Self::LogMs { low, high }
    }

    /// Where a value stands: 0 at the bottom, 1 at the top.
    fn place(&self, value: f64) -> f64 {
        match self {
            Self::Linear { top, .. } => (value / top).clamp(0.0, 1.0),
            Self::LogMs { low, high } => {
                let decade = value.max(1e-6).log10();
                ((decade - f64::from(*low)) / f64::from(high - low)).clamp(0.0, 1.0)
            }
        }
    }

    fn ticks(&self) -> Vec<(f64, String)> {
        match self {
            Self::Linear { ticks, .. } => ticks.iter().map(|tick| (*tick, short(*tick))).collect(),
            Self::LogMs { low, high } => (*low..=*high).map(|d| (10_f64.powi(d), decade_ms(d))).collect(),
        }
    }
}

impl Plot {
    pub(super) fn markup(&self) -> Markup {
        html! {
            figure.plot {
                figcaption {
                    h3 { (self.title) }
                    ul.legend { (self.legend()) }
                }
                div.frame {
                    @for (tick, text) in self.y.ticks() {
                        span.y style=(format!("--down:{:.4}", 1.0 - self.y.place(tick))) { (text) }
                    }
                    div.area role="img" aria-label=(format!("{}. {}", self.title, self.note)) {
                        (self.phases())
                        (PreEscaped(self.svg()))
                    }
                    @for (i, (at, text)) in self.x_ticks.iter().enumerate() {
                        span.x.odd[i % 2 == 1].end[self.across(*at) > 970.0] style=(format!("--at:{:.4}", self.across(*at) / 1000.0)) { (text) }
                    }
                }
                p.note { (self.note) }
            }
        }
    }

    fn legend(&self) -> Markup {
        html! {
            @for line in &self.lines { li { svg.key viewBox="0 0 20 10" aria-hidden="true" { line.(line.class) x1="0" x2="20" y1="5" y2="5" {} } (line.label) } }
            @for column in &self.columns { li { svg.key viewBox="0 0 20 10" aria-hidden="true" { rect.(column.class) width="20" height="10" {} } (column.label) } }
            @if let Some((_, text)) = &self.limit { li { svg.key viewBox="0 0 20 10" aria-hidden="true" { line.limit-line x1="0" x2="20" y1="5" y2="5" {} } (text) } }
            @if !self.bands.is_empty() { li { svg.key viewBox="0 0 20 10" aria-hidden="true" { rect.band width="20" height="10" {} } "no connection" } }
        }
    }

    /// Names of phases along the top, each as wide as its phase, so that they cannot run into each other.
    fn phases(&self) -> Markup {
        let ends = self.marks.iter().skip(1).map(|(at, _)| *at).chain([self.x_max]);
        html! {
            @for ((at, text), end) in self.marks.iter().zip(ends) {
                @let width = (self.across(end) - self.across(*at)) / 10.0;
                @if width > 2.0 {
                    span.phase.tight[width < 18.0] style=(format!("left:{:.2}%;width:{width:.2}%", self.across(*at) / 10.0)) { (text) }
                }
            }
        }
    }

    fn svg(&self) -> String {
        let mut out =
            String::from("<svg viewBox=\"0 0 1000 1000\" preserveAspectRatio=\"none\" aria-hidden=\"true\">");
        self.draw(&mut out).expect("writing to a string cannot fail");
        out.push_str("</svg>");
        out
    }

    fn draw(&self, out: &mut String) -> std::fmt::Result {
        for (tick, _) in self.y.ticks() {
            let y = self.up(tick);
            write!(out, "<path class=\"grid\" d=\"M0 {y:.1}H1000\"/>")?;
        }
        for (at, _) in &self.x_ticks {
            write!(out, "<path class=\"grid\" d=\"M{:.1} 1000v20\"/>", self.across(*at))?;
        }
        for (from, to) in &self.bands {
            let (x, width) = (self.across(*from), (self.across(*to) - self.across(*from)).max(2.0));
            write!(out, "<rect class=\"band\" x=\"{x:.1}\" y=\"0\" width=\"{width:.1}\" height=\"1000\"/>")?;
        }
        for (at, _) in self.marks.iter().filter(|(at, _)| *at > 0.0) {
            write!(out, "<path class=\"mark\" d=\"M{:.1} 0V1000\"/>", self.across(*at))?;
        }
        for column in &self.columns {
            write!(out, "<path class=\"{}\" d=\"", column.class)?;
            for (from, to, bottom, top) in &column.boxes {
                let (left, right) = (self.across(*from), self.across(*to));
                let gap = ((right - left) * 0.12).min(2.0);
                let (low, high) = (self.up(*bottom), self.up(*top));
                write!(out, "M{left:.1} {low:.1}V{high:.1}H{:.1}V{low:.1}Z", right - gap)?;
            }
            out.push_str("\"/>");
        }
        if let Some((value, _)) = &self.limit {
            write!(out, "<path class=\"limit-line\" d=\"M0 {:.1}H1000\"/>", self.up(*value))?;
        }
        for line in &self.lines {
            write!(out, "<path class=\"{}\" d=\"{}\"/>", line.class, self.path(&line.points))?;
        }
        for (from, to, text) in &self.hover {
            let (x, width) = (self.across(*from), self.across(*to) - self.across(*from));
            write!(out, "<rect class=\"hover\" x=\"{x:.1}\" y=\"0\" width=\"{width:.1}\" height=\"1000\">")?;
            // Scenario names and refusal kinds do not come here; only figures do, so nothing needs escaping.
            write!(out, "<title>{text}</title></rect>")?;
        }
        Ok(())
    }

    fn path(&self, points: &[(f64, Option<f64>)]) -> String {
        let mut out = String::new();
        let mut pen = 'M';
        for (i, (x, value)) in points.iter().enumerate() {
            let Some(value) = value else {
                pen = 'M';
                continue;
            };
            let (x, y) = (self.across(*x), self.up(*value));
            write!(out, "{pen}{x:.1} {y:.1}").expect("writing to a string cannot fail");
            // A value between two gaps has no line to be on; a short dash keeps it visible.
            let alone = pen == 'M' && points.get(i + 1).is_none_or(|(_, next)| next.is_none());
            if alone {
                out.push_str("h3");
            }
            pen = 'L';
        }
        out
    }

    fn across(&self, x: f64) -> f64 {
        (x / self.x_max.max(1e-9)).clamp(0.0, 1.0) * 1000.0
    }

    fn up(&self, value: f64) -> f64 {
        (1.0 - self.y.place(value)) * 1000.0
    }
}

/// Ticks of a time axis in seconds: at most about seven, at round moments.
pub(super) fn time_ticks(seconds: f64) -> Vec<(f64, String)> {
    const STEPS: [f64; 14] =
        [1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0];
    let step = STEPS.into_iter().find(|step| seconds / step <= 7.0).unwrap_or(STEPS[13]);
    let count = (seconds / step + 1e-9).floor() as u32;
    let text = |at: f64| match step {
        step if step < 60.0 => format!("{at:.0} s"),
        step if step < 3600.0 => format!("{:.0} min", at / 60.0),
        _ => format!("{:.0} h", at / 3600.0),
    };
    (0..=count).map(|i| f64::from(i) * step).map(|at| (at, text(at))).collect()
}

fn round_step(rough: f64) -> f64 {
    let magnitude = 10_f64.powf(rough.log10().floor()).max(1.0);
    let steps = [1.0, 2.0, 5.0, 10.0];
    steps
        .into_iter()
        .map(|step| step * magnitude)
        .find(|step| *step >= rough - 1e-9)
        .unwrap_or(magnitude * 10.0)
}

fn short(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{}M", v / 1e6),
        v if v >= 1e3 => format!("{}k", v / 1e3),
        v => format!("{v}"),
    }
}

fn decade_ms(decade: i32) -> String {
    match decade {
        3.. => format!("{} s", 10_u64.pow(decade.unsigned_abs() - 3)),
        0..=2 => format!("{} ms", 10_u64.pow(decade.unsigned_abs())),
        _ => format!("{} µs", 10_u64.pow((decade + 3).max(0).unsigned_abs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_round() {
        let linear = |max| Scale::linear(max).ticks().into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        assert_eq!(linear(15_000.0), ["0", "5k", "10k", "15k"]);
        assert_eq!(linear(0.0), ["0", "1"]);
        let log = Scale::log_ms(0.3, 1200.0).ticks().into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        assert_eq!(log, ["100 µs", "1 ms", "10 ms", "100 ms", "1 s", "10 s"]);
        let time = |s| time_ticks(s).into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        assert_eq!(time(20.0), ["0 s", "5 s", "10 s", "15 s", "20 s"]);
        assert_eq!(time(600.0), ["0 min", "2 min", "4 min", "6 min", "8 min", "10 min"]);
    }

    #[test]
    fn a_missing_value_is_a_gap() {
        let plot = Plot {
            title: "t",
            note: String::new(),
            x_max: 4.0,
            x_ticks: Vec::new(),
            y: Scale::linear(10.0),
            lines: Vec::new(),
            columns: Vec::new(),
            bands: Vec::new(),
            marks: Vec::new(),
            limit: None,
            hover: Vec::new(),
        };
        let path = plot.path(&[(0.0, Some(0.0)), (1.0, Some(10.0)), (2.0, None), (3.0, Some(10.0))]);
        assert_eq!(path, "M0.0 1000.0L250.0 0.0M750.0 0.0h3");
    }
}
