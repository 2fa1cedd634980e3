//! What is told of a run, in the order it is printed.

use std::collections::BTreeMap;

use super::runs::{Burst, Steady};
use crate::measure::median;
use crate::table::Row;

/// A metric's name and unit.
pub(super) type Metric = (&'static str, &'static str);
/// One round's figures.
pub(super) type Figures = BTreeMap<Metric, f64>;

/// Banyan's column.
pub(super) const BANYAN: &str = "banyan";
/// The column of what is possible at most.
pub(super) const RAW: &str = "raw limit";

/// In at a fixed rate.
pub(super) const IN: [Metric; 7] = [
    ("in, fixed rate", "rows/s"),
    ("in: lag p50", "ms"),
    ("in: lag p99", "ms"),
    ("in: lag max", "ms"),
    ("in: with its transaction p99", "ms"),
    ("in: Banyan CPU", "us/row"),
    ("in: database CPU, its writers included", "us/row"),
];
/// In, a backlog.
pub(super) const IN_BACKLOG: [Metric; 4] = [
    ("in, backlog", "rows/s"),
    ("in, backlog, raw limit = 1", ""),
    ("in, backlog: Banyan CPU", "us/row"),
    ("in, backlog: database CPU", "us/row"),
];
/// Out at a fixed rate.
pub(super) const OUT: [Metric; 7] = [
    ("out, fixed rate", "rows/s"),
    ("out: lag p50", "ms"),
    ("out: lag p99", "ms"),
    ("out: lag max", "ms"),
    ("out: with its decision p99", "ms"),
    ("out: Banyan CPU, deciding included", "us/row"),
    ("out: database CPU", "us/row"),
];
/// Out, a backlog.
pub(super) const OUT_BACKLOG: [Metric; 4] = [
    ("out, backlog", "rows/s"),
    ("out, backlog, raw limit = 1", ""),
    ("out, backlog: Banyan CPU", "us/row"),
    ("out, backlog: database CPU", "us/row"),
];
/// Comparing by reading all rows.
pub(super) const READ: [Metric; 3] = [
    ("comparing, all rows read", "rows/s"),
    ("comparing, all rows read: Banyan CPU", "us/row"),
    ("comparing, all rows read: database CPU", "us/row"),
];
/// Comparing by the digests of ranges.
pub(super) const DIGESTED: [Metric; 3] = [
    ("comparing, by digests", "rows/s"),
    ("comparing, by digests: Banyan CPU", "us/row"),
    ("comparing, by digests: database CPU", "us/row"),
];
/// How long the disk takes.
pub(super) const FLUSH: Metric = ("disk flush", "us");
/// What others took while rows went in at a fixed rate.
pub(super) const OTHERS_IN: Metric = ("CPU others took, in", "%");
/// The same while rows went out.
pub(super) const OTHERS_OUT: Metric = ("CPU others took, out", "%");
/// Rows that were equal after the last run.
pub(super) const EQUAL: Metric = ("rows equal at the end", "");

/// The figures of all rounds.
#[derive(Debug, Default)]
pub(super) struct Found(BTreeMap<&'static str, BTreeMap<Metric, Vec<f64>>>);

impl Found {
    /// Adds what one run came to.
    pub(super) fn note(&mut self, whose: &'static str, found: Figures) {
        for (metric, value) in found {
            self.0.entry(whose).or_default().entry(metric).or_default().push(value);
        }
    }

    /// The most that others took of the machine in any round, in percent.
    pub(super) fn others_percent_max(&self) -> f64 {
        let of = |metric| self.0.get(BANYAN).and_then(|figures| figures.get(&metric)).into_iter().flatten();
        of(OTHERS_IN).chain(of(OTHERS_OUT)).copied().fold(0.0, f64::max)
    }

    /// The medians, as they are printed.
    pub(super) fn rows(&self) -> Vec<Row> {
        let single = [FLUSH, OTHERS_IN, OTHERS_OUT, EQUAL];
        let all = [&IN[..], &IN_BACKLOG, &OUT, &OUT_BACKLOG, &READ, &DIGESTED, &single].concat();
        let mut rows = Vec::new();
        for metric in all {
            for whose in [BANYAN, RAW] {
                if let Some(values) = self.0.get(whose).and_then(|figures| figures.get(&metric)) {
                    rows.push(Row {
                        bench: "sync".to_owned(),
                        system: whose.to_owned(),
                        metric: metric.0.to_owned(),
                        value: median(values),
                        unit: metric.1.to_owned(),
                    });
                }
            }
        }
        rows
    }
}

impl Steady {
    /// The figures of a fixed rate, as `metrics` calls them.
    pub(super) fn figures(&self, metrics: [Metric; 7]) -> Figures {
        let per_row = |seconds: f64| seconds * 1e6 / self.rows as f64;
        let values = [
            self.rate,
            self.lag_ms(0.5),
            self.lag_ms(0.99),
            self.lag_ms(1.0),
            self.lag_from_sending.value_at_quantile(0.99) as f64 / 1e3,
            per_row(self.used.banyan),
            per_row(self.used.database),
        ];
        metrics.into_iter().zip(values).collect()
    }

    /// A quantile of the lag, in milliseconds.
    pub(super) fn lag_ms(&self, quantile: f64) -> f64 {
        self.lag.value_at_quantile(quantile) as f64 / 1e3
    }
}

impl Burst {
    /// Rows a second.
    pub(super) fn rate(&self) -> f64 {
        self.rows as f64 / self.took.as_secs_f64()
    }

    /// The figures of Banyan's and of the raw limit's backlog, as `metrics` calls them.
    pub(super) fn figures(&self, raw: &Self, [rate, ratio, banyan, database]: [Metric; 4]) -> [Figures; 2] {
        let ours = Figures::from([
            (rate, self.rate()),
            (ratio, self.rate() / raw.rate()),
            (banyan, self.per_row(self.used.banyan)),
            (database, self.per_row(self.used.database)),
        ]);
        [ours, Figures::from([(rate, raw.rate()), (database, raw.per_row(raw.used.database))])]
    }

    /// The figures of a comparison, as `metrics` calls them.
    pub(super) fn figures_alone(&self, [rate, banyan, database]: [Metric; 3]) -> Figures {
        let per_row = [(banyan, self.used.banyan), (database, self.used.database)];
        let per_row = per_row.map(|(metric, seconds)| (metric, self.per_row(seconds)));
        Figures::from([(rate, self.rate())]).into_iter().chain(per_row).collect()
    }

    fn per_row(&self, seconds: f64) -> f64 {
        seconds * 1e6 / self.rows as f64
    }
}
