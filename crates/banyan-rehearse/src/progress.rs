//! What is shown while a rehearsal runs: one live line on a terminal, a line every few seconds elsewhere.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

use crate::generator::tally::Tally;

/// How a run shows that it is alive. Everything goes to standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Progress {
    /// `Bar` on a terminal, otherwise `Lines`.
    #[default]
    Auto,
    /// One live line.
    Bar,
    /// A line every five seconds.
    Lines,
    /// Nothing.
    None,
}

const BAR_EVERY_NS: u64 = 200_000_000;
const LINE_EVERY_NS: u64 = 5_000_000_000;

pub(crate) struct Gauge {
    look: Look,
    shown_ns: u64,
    shown_answers: u64,
}

enum Look {
    Bar(ProgressBar),
    Lines,
    None,
}

impl Gauge {
    /// `seconds` is the length of the arrivals, when it is known.
    pub(crate) fn new(progress: Progress, seconds: Option<f64>) -> Self {
        let bar = match progress {
            Progress::Auto => std::io::stderr().is_terminal(),
            Progress::Bar => true,
            Progress::Lines | Progress::None => false,
        };
        let look = if bar {
            Look::Bar(live_line(seconds))
        } else if progress == Progress::None {
            Look::None
        } else {
            Look::Lines
        };
        Self { look, shown_ns: 0, shown_answers: 0 }
    }

    /// Shows the present figures, if it is time to.
    pub(crate) fn show(&mut self, now_ns: u64, outstanding: usize, tally: &Tally) {
        let every_ns = match self.look {
            Look::Bar(_) => BAR_EVERY_NS,
            Look::Lines => LINE_EVERY_NS,
            Look::None => return,
        };
        let passed_ns = now_ns.saturating_sub(self.shown_ns);
        if passed_ns < every_ns {
            return;
        }
        let answers = tally.answers();
        let rate = (answers - self.shown_answers) as f64 * 1e9 / passed_ns as f64;
        (self.shown_ns, self.shown_answers) = (now_ns, answers);
        let p99_ms = tally.actions[0].latency.value_at_quantile(0.99) as f64 / 1000.0;
        let unknown: u64 = tally.actions.iter().map(|action| action.unknown).sum();
        let text = format!(
            "{rate:.0} answers/s, {answers} in all, {outstanding} outstanding, issue p99 {p99_ms:.1} ms, \
             {unknown} unknown"
        );
        match &self.look {
            Look::Bar(bar) => {
                bar.set_position(now_ns / 1_000_000);
                bar.set_message(text);
            }
            Look::Lines => eprintln!("{:>5} s  {text}", now_ns / 1_000_000_000),
            Look::None => {}
        }
    }

    pub(crate) fn finish(&self) {
        if let Look::Bar(bar) = &self.look {
            bar.finish_and_clear();
        }
    }
}

fn live_line(seconds: Option<f64>) -> ProgressBar {
    let (bar, template) = match seconds {
        Some(seconds) => {
            (ProgressBar::new((seconds * 1000.0) as u64), "{elapsed:>4} {wide_bar:.green} {msg}")
        }
        None => (ProgressBar::new_spinner(), "{elapsed:>4} {msg}"),
    };
    // The templates above are constants; if one were wrong the plain style would do as well.
    bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
}
