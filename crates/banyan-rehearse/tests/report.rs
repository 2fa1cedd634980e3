//! The report in its three forms, from figures written by hand.

use std::collections::BTreeMap;

use banyan_rehearse::{
    ActionReport, CampaignReport, GeneratorReport, Latency, Level, Mark, Outage, Reason, Report,
    SecondReport, Verdict,
};

fn report() -> Report {
    let map =
        |pairs: &[(&str, u64)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect::<BTreeMap<_, _>>();
    let second = |second, refused| SecondReport {
        second,
        offered: 1000,
        answered: 990,
        accepted: 500,
        unknown: 10,
        not_sent: 0,
        refused: map(refused),
        p50_ms: (second != 1).then_some(0.8),
        p99_ms: (second != 1).then_some(12.0),
        max_ms: (second != 1).then_some(1900.0),
    };
    Report {
        name: "Noon <script>alert(1)</script>".into(),
        target: "http://127.0.0.1:1".into(),
        started_at: "2026-11-27T12:00:00.123Z".into(),
        arrivals_seconds: 3.0,
        seconds: 3.02,
        seed: 7,
        stopped_early: false,
        verdict: Verdict {
            level: Level::Harm,
            title: "Not well".into(),
            reasons: vec![Reason { level: Level::Harm, text: "10 outcomes are unknown.".into() }],
        },
        actions: vec![ActionReport {
            action: "issue".into(),
            offered: 3000,
            accepted: 1500,
            replayed: 3,
            refused: 1490,
            unknown: 10,
            not_sent: 0,
            answered_per_second: 996.6,
            latency_ms: Latency { mean: 2.0, p50: 0.8, p90: 4.0, p99: 12.0, p999: 90.0, max: 1900.0 },
            quantiles: vec![(0.0, 0.1), (0.9, 4.0), (0.99, 12.0), (0.999, 90.0)],
        }],
        refusals: map(&[("sold-out", 1480), ("busy\"><img src=x>", 10)]),
        faults: BTreeMap::new(),
        unknown: map(&[("reset", 10)]),
        not_sent: BTreeMap::new(),
        retried: BTreeMap::new(),
        connect_failures: map(&[("refused", 4)]),
        outages: vec![Outage { from: 1.0, to: Some(1.9) }],
        campaigns: vec![CampaignReport { id: "noon".into(), quantity: Some(1500), issued: 1497 }],
        visits: None,
        generator: GeneratorReport {
            requests_sent: 3000,
            late_p99_ms: 0.6,
            late_max_ms: 2.5,
            connections_made: 40,
            connections_peak: 32,
            connections_max: 256,
        },
        marks: vec![Mark { at: 0.0, text: "quiet".into() }, Mark { at: 1.0, text: "spike".into() }],
        goals_p99_ms: BTreeMap::from([("issue".to_owned(), 50.0)]),
        by_second: vec![second(0, &[]), second(1, &[("sold-out", 1400)]), second(2, &[("sold-out", 80)])],
    }
}

#[test]
fn the_text_says_the_verdict_first() {
    let expected = "\
Noon <script>alert(1)</script>: Not well
  ! 10 outcomes are unknown.

http://127.0.0.1:1 for 3.0 s, seed 7

            offered   accepted    refused    unknown   not sent  answers/s
issue         3,000      1,500      1,490         10          0        997

latency         p50        p90        p99      p99.9        max
issue       0.80 ms    4.00 ms    12.0 ms    90.0 ms     1.90 s

refused
           10  busy\"><img src=x>
        1,480  sold-out

unknown
           10  reset

connections that failed
            4  refused

new coupons
        1,497 of 1,500  noon

generator: arrivals late p99 0.60 ms, max 2.50 ms; 32 of 256 connections
";
    assert_eq!(report().to_text(), expected);
}

#[test]
fn the_page_needs_nothing_and_runs_nothing() {
    let page = report().to_html();
    assert!(page.starts_with("<!DOCTYPE html>"));
    for forbidden in ["<script", "<link", "<img", "@import", "url(", "src=\"", "href=", "onload"] {
        assert!(!page.contains(forbidden), "{forbidden} is in the page");
    }
    for wanted in [
        "Noon &lt;script&gt;",
        "Not well",
        "10 outcomes are unknown.",
        "no connection",
        "goal for p99: 50.0 ms",
        "12.0 ms",
        "prefers-color-scheme: dark",
        "@media print",
    ] {
        assert!(page.contains(wanted), "{wanted} is missing");
    }
    assert_eq!(page.matches("<figure").count(), 4);
    assert!(!page.contains("NaN") && !page.contains("inf "), "a plot has a place that is no number");
}

#[test]
fn a_second_without_answers_is_a_gap_in_its_lines() {
    let page = report().to_html();
    let p50 = page.split("class=\"l-main\" d=\"").nth(2).expect("the second green line is the p50");
    let path = p50.split('"').next().expect("it ends");
    assert_eq!(path.matches('M').count(), 2, "{path}");
}

#[test]
fn the_json_has_every_figure() {
    let json: serde_json::Value = serde_json::from_str(&report().to_json()).expect("JSON");
    assert_eq!(json["verdict"]["level"], "harm");
    assert_eq!(json["actions"][0]["latency_ms"]["p999"], 90.0);
    assert_eq!(json["by_second"][1]["refused"]["sold-out"], 1400);
    assert_eq!(json["by_second"][1]["p99_ms"], serde_json::Value::Null);
    assert_eq!(json["outages"][0]["to"], 1.9);
}
