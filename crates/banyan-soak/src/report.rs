//! What is printed and kept of a run.

use crate::banyan;
use crate::judge::Judged;
use crate::place::Place;
use crate::tally::{FaultSeen, Probe};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often the lags are looked at.
const LAGS_EVERY: Duration = Duration::from_secs(1);

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// What is not as it must be; nothing if all is well.
    pub findings: Vec<String>,
    /// Everything, for machines.
    pub json: Value,
    /// A table, for people.
    pub text: String,
}

/// Looks at the lags once a second, while the server answers.
pub(crate) async fn watch_lags(place: Arc<Place>, mut stop: watch::Receiver<bool>) {
    let mut http = place.http();
    while tokio::time::timeout(LAGS_EVERY, stop.wait_for(|stop| *stop)).await.is_err() {
        if let Some(status) = banyan::status(&mut http).await {
            let of = |name: &str| status["sync"][name].as_u64().unwrap_or(0);
            place.tally.seen().lags.push((of("lag_millis"), of("out_lag_millis")));
        }
    }
}

/// Half of them, most of them, and the worst.
fn quantiles(mut all: Vec<u64>) -> [u64; 3] {
    all.sort_unstable();
    let at = |share: usize| {
        all.get((all.len() * share / 100).min(all.len().saturating_sub(1))).copied().unwrap_or(0)
    };
    [at(50), at(95), at(100)]
}

impl Report {
    pub(crate) fn new(place: &Place, judged: &Judged) -> Self {
        let seen = place.tally.seen();
        let lasted = place.tally.began.elapsed().as_secs();
        let mut text = String::new();
        let mut line = |words: String| writeln!(text, "{words}").expect("a text takes every line");
        let deeds: &BTreeMap<&str, u64> = &seen.deeds;
        line(format!("{:?}, seed {}, {lasted} s\n", place.soak.database, place.soak.seed));
        for (deed, count) in deeds {
            line(format!("{count:>8}  {deed}"));
        }
        line("\n   times  well again after: half, worst   fault".into());
        let mut kinds: BTreeMap<&str, Vec<&FaultSeen>> = BTreeMap::new();
        for fault in &seen.faults {
            kinds.entry(fault.kind).or_default().push(fault);
        }
        for (kind, faults) in &kinds {
            let after =
                faults.iter().filter_map(|fault| fault.recovered).map(|after| after.as_millis() as u64);
            let [half, _, worst] = quantiles(after.collect()).map(seconds);
            line(format!("{:>8}  {half:>7.1} s, {worst:>6.1} s              {kind}", faults.len()));
        }
        let moves = |to: &str| {
            seen.moves.iter().filter(|one| one.to == to).map(|one| one.lasted.as_millis() as u64).collect()
        };
        for to in ["mirror", "lead"] {
            let all: Vec<u64> = moves(to);
            let (count, [half, _, worst]) = (all.len(), quantiles(all).map(seconds));
            line(format!(
                "{count:>8}  {half:>7.1} s, {worst:>6.1} s              moves to {to}, from asking to done"
            ));
        }
        let probes = |both: bool| -> Vec<u64> {
            let took = |probe: &Probe| (probe.done - probe.began).as_millis() as u64;
            seen.probes.iter().filter(|probe| probe.both_ways == both).map(took).collect()
        };
        line("\n    half      95 of 100      worst   milliseconds, faults included".into());
        let lags = |of: fn(&(u64, u64)) -> u64| seen.lags.iter().map(of).collect::<Vec<_>>();
        let rows = [
            ("a change there and back, Banyan leads", probes(true)),
            ("a change there, the old shop leads", probes(false)),
            ("lag of the stream in", lags(|lag| lag.0)),
            ("lag of the sync out", lags(|lag| lag.1)),
        ];
        let mut latencies = serde_json::Map::new();
        for (what, all) in rows {
            let count = all.len();
            let [half, most, worst] = quantiles(all);
            line(format!("{half:>8}  {most:>12}  {worst:>9}   {what} ({count})"));
            latencies.insert(
                what.into(),
                json!({"count": count, "half": half, "of_100_95": most, "worst": worst}),
            );
        }
        line(format!(
            "\nforeign writes: {} made, {} of them near a lost stream, {} noticed",
            judged.foreign_made, judged.foreign_in_the_dark, judged.foreign_noticed
        ));
        line(format!("comparisons: {}, in which {} rows differed", judged.comparisons, judged.differing));
        line(format!(
            "{} rows compared at the end; {} rows written by Banyan; {} events, verified; {} events in the stillness after",
            judged.rows, judged.rows_out, judged.verified_events, judged.still_events
        ));
        for finding in &seen.findings {
            line(format!("FINDING {finding}"));
        }
        match seen.findings.len() as u64 + seen.findings_more {
            0 => line("all is well".into()),
            count => line(format!(
                "{count} findings; seed {}; everything is in {}",
                place.soak.seed,
                place.soak.folder.display()
            )),
        }
        let faults: Vec<Value> = seen
            .faults
            .iter()
            .map(|fault| {
                json!({"kind": fault.kind, "detail": fault.detail, "at_seconds": fault.at.as_secs_f64(),
                    "lasted_seconds": fault.lasted.as_secs_f64(),
                    "recovered_seconds": fault.recovered.map(|after| after.as_secs_f64())})
            })
            .collect();
        let moves: Vec<Value> = seen
            .moves
            .iter()
            .map(|one| {
                json!({"to": one.to, "at_seconds": one.at.as_secs_f64(), "lasted_seconds": one.lasted.as_secs_f64(), "asked": one.asked})
            })
            .collect();
        let json = json!({
            "database": format!("{:?}", place.soak.database).to_lowercase(), "seed": place.soak.seed, "seconds": lasted,
            "deeds": deeds, "faults": faults, "moves": moves, "latencies_millis": latencies, "events": judged.events,
            "quiet_after_seconds": judged.quiet_after.as_secs_f64(),
            "foreign": {"made": judged.foreign_made, "near_a_lost_stream": judged.foreign_in_the_dark, "noticed": judged.foreign_noticed},
            "comparisons": judged.comparisons, "differing": judged.differing, "rows": judged.rows, "rows_out": judged.rows_out,
            "verified_events": judged.verified_events, "still_events": judged.still_events,
            "findings": seen.findings, "findings_more": seen.findings_more,
        });
        Self { findings: seen.findings.clone(), json, text }
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.findings.is_empty()
    }
}

fn seconds(millis: u64) -> f64 {
    millis as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::quantiles;

    #[test]
    fn half_most_and_worst() {
        assert_eq!(quantiles((1..=100).rev().collect()), [51, 96, 100]);
        assert_eq!(quantiles(vec![]), [0, 0, 0]);
        assert_eq!(quantiles(vec![7]), [7, 7, 7]);
    }
}
