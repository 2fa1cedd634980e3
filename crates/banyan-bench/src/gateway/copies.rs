//! What the gateway says became of the copies of requests, from its counters.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::Method;

use crate::control;
use crate::{Failure, failed};

/// How long copies that wait may take when nothing more comes.
const SETTLE: Duration = Duration::from_secs(60);

/// Counts since the gateway started, or between two such moments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Copies {
    /// Requests that came.
    pub(crate) offered: u64,
    /// Pairs of answers that are equal.
    pub(crate) equal: u64,
    /// Pairs of answers that differ.
    pub(crate) mismatched: u64,
    /// Requests that were not compared, by reason.
    pub(crate) skipped: BTreeMap<String, u64>,
    waiting: u64,
}

impl Copies {
    /// Waits until nothing waits any more, and reads the counters.
    ///
    /// # Errors
    /// They cannot be read, or requests are neither compared nor counted as skipped.
    pub(crate) async fn settled(admin: SocketAddr) -> Result<Self, Failure> {
        let start = Instant::now();
        loop {
            let answer = control::call(admin, Method::GET, "/metrics", None, String::new()).await?;
            let now = Self::parse(&answer.body);
            if now.waiting == 0 && now.offered == now.known() {
                return Ok(now);
            }
            if start.elapsed() > SETTLE {
                return Err(failed(
                    "waiting for copies",
                    format!("some are still not accounted for: {now:?}"),
                ));
            }
            // A condition is looked at again; nobody tells it.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What came since `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let skipped = self.skipped.iter().map(|(reason, count)| {
            (reason.clone(), count - earlier.skipped.get(reason).copied().unwrap_or(0))
        });
        Self {
            offered: self.offered - earlier.offered,
            equal: self.equal - earlier.equal,
            mismatched: self.mismatched - earlier.mismatched,
            skipped: skipped.filter(|(_, count)| *count > 0).collect(),
            waiting: self.waiting,
        }
    }

    /// Adds others to these.
    pub(crate) fn add(&mut self, others: &Self) {
        self.offered += others.offered;
        self.equal += others.equal;
        self.mismatched += others.mismatched;
        for (reason, count) in &others.skipped {
            *self.skipped.entry(reason.clone()).or_default() += count;
        }
    }

    /// The share that was compared, in percent.
    pub(crate) fn compared_percent(&self) -> f64 {
        (self.equal + self.mismatched) as f64 * 100.0 / self.offered as f64
    }

    /// All of it in words.
    pub(crate) fn describe(&self) -> String {
        let skipped: Vec<_> =
            self.skipped.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        let skipped = if skipped.is_empty() { "none".to_owned() } else { skipped.join(", ") };
        let compared = self.equal + self.mismatched;
        format!(
            "of {} requests {compared} compared ({:.1} %), skipped: {skipped}",
            self.offered,
            self.compared_percent()
        )
    }

    fn known(&self) -> u64 {
        self.equal + self.mismatched + self.skipped.values().sum::<u64>()
    }

    fn parse(text: &str) -> Self {
        let mut copies = Self::default();
        let lines = text.lines().filter_map(|line| line.strip_prefix("banyan_gateway_shadow_"));
        for (name, labels, value) in lines.filter_map(sample) {
            match name {
                "offered_total" => copies.offered = value,
                "equal_total" => copies.equal = value,
                "mismatched_total" => copies.mismatched = value,
                "queued" => copies.waiting = value,
                "skipped_total" => {
                    let reason = labels.split("reason=\"").nth(1).and_then(|rest| rest.split('"').next());
                    copies.skipped.insert(reason.unwrap_or_default().to_owned(), value);
                }
                _ => {}
            }
        }
        copies
    }
}

/// `name{labels} value`.
fn sample(line: &str) -> Option<(&str, &str, u64)> {
    let (name, rest) = line.split_once('{')?;
    let (labels, value) = rest.split_once('}')?;
    Some((name, labels, value.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_and_subtracted() {
        let text = |offered, full| {
            format!(
                "# TYPE banyan_gateway_shadow_offered_total counter\nbanyan_gateway_shadow_bytes 7\n\
                 banyan_gateway_shadow_offered_total{{route=\"all\"}} {offered}\n\
                 banyan_gateway_shadow_equal_total{{route=\"all\"}} 4\nbanyan_gateway_shadow_mismatched_total{{route=\"all\"}} 1\n\
                 banyan_gateway_shadow_queued{{route=\"all\"}} 3\n\
                 banyan_gateway_shadow_skipped_total{{route=\"all\",reason=\"queue-full\"}} {full}\n\
                 banyan_gateway_shadow_skipped_total{{route=\"all\",reason=\"loop\"}} 2\n"
            )
        };
        let (before, after) = (Copies::parse(&text(17, 7)), Copies::parse(&text(27, 17)));
        assert_eq!((before.offered, before.known(), before.waiting), (17, 14, 3));
        let since = after.since(&before);
        assert_eq!((since.offered, since.equal), (10, 0));
        assert_eq!(since.skipped, BTreeMap::from([("queue-full".to_owned(), 10)]));
        let mut all = before.clone();
        all.add(&since);
        assert_eq!((all.offered, all.skipped["queue-full"], all.skipped["loop"]), (27, 17, 2));
        assert_eq!(all.describe(), "of 27 requests 5 compared (18.5 %), skipped: loop 2, queue-full 17");
    }
}
