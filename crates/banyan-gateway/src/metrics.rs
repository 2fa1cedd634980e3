//! Counters that are not of one route, and all of them as Prometheus text.

use crate::side::Side;
use crate::{Gateway, TrustReport, UpstreamReport};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters of the whole gateway.
pub(crate) struct Metrics {
    shards: Box<[Shard]>,
}

/// One worker's, on cache lines of their own.
#[repr(align(128))]
#[derive(Default)]
pub(crate) struct Shard {
    /// Connections that were accepted.
    pub connections: AtomicU64,
    /// Connections that ended.
    pub connections_ended: AtomicU64,
    /// Requests that began.
    pub requests: AtomicU64,
    /// Requests that ended.
    pub requests_ended: AtomicU64,
    /// Requests that the gateway itself answered with an error.
    pub own_errors: AtomicU64,
    /// Requests that broke the rules of HTTP.
    pub malformed: AtomicU64,
    /// Connections and requests that were refused because their address had its share.
    pub client_refused: AtomicU64,
    /// Connections to servers that were opened.
    pub upstream_connects: AtomicU64,
    /// Requests that were sent again.
    pub retries: AtomicU64,
    /// Connections that became something else, such as WebSockets.
    pub upgrades: AtomicU64,
}

impl Metrics {
    pub(crate) fn new(workers: usize) -> Self {
        Self { shards: (0..=workers).map(|_| Shard::default()).collect() }
    }

    /// The counters of one worker.
    pub(crate) fn of(&self, worker: usize) -> &Shard {
        &self.shards[worker % self.shards.len()]
    }

    /// One counter over all workers.
    pub(crate) fn sum(&self, counter: impl Fn(&Shard) -> &AtomicU64) -> u64 {
        self.shards.iter().map(|shard| counter(shard).load(Relaxed)).sum()
    }
}

impl Gateway {
    /// All counters in the text format of Prometheus.
    pub fn prometheus(&self) -> String {
        let mut out = String::with_capacity(8 << 10);
        let metrics = &self.inner.metrics;
        let counter = |out: &mut String, kind: &str, name: &str, help: &str, value: u64| {
            // Writing to a String cannot fail.
            let _ok = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        };
        let accepted = metrics.sum(|m| &m.connections);
        let began = metrics.sum(|m| &m.requests);
        counter(&mut out, "counter", "banyan_gateway_connections_total", "Connections accepted.", accepted);
        let open = accepted.saturating_sub(metrics.sum(|m| &m.connections_ended));
        counter(&mut out, "gauge", "banyan_gateway_connections", "Connections open.", open);
        let under_way = began.saturating_sub(metrics.sum(|m| &m.requests_ended));
        counter(&mut out, "gauge", "banyan_gateway_requests_under_way", "Requests under way.", under_way);
        for (name, help, value) in [
            (
                "banyan_gateway_own_errors_total",
                "Errors that the gateway itself answered.",
                metrics.sum(|m| &m.own_errors),
            ),
            (
                "banyan_gateway_malformed_total",
                "Requests that broke the rules of HTTP.",
                metrics.sum(|m| &m.malformed),
            ),
            (
                "banyan_gateway_client_refused_total",
                "Connections and requests refused because their address had all that one may have.",
                metrics.sum(|m| &m.client_refused),
            ),
            (
                "banyan_gateway_upstream_connects_total",
                "Connections opened to servers.",
                metrics.sum(|m| &m.upstream_connects),
            ),
            ("banyan_gateway_retries_total", "Requests sent again.", metrics.sum(|m| &m.retries)),
            ("banyan_gateway_upgrades_total", "Connections upgraded.", metrics.sum(|m| &m.upgrades)),
        ] {
            counter(&mut out, "counter", name, help, value);
        }
        counter(
            &mut out,
            "gauge",
            "banyan_gateway_table_version",
            "Version of the route table.",
            self.table().version(),
        );
        if let Some(certificate) = self.certificate() {
            let name = |what: &str| format!("banyan_gateway_certificate_{what}");
            let help = "Certificates taken from the files, the one of the start included.";
            counter(&mut out, "counter", &name("reads_total"), help, certificate.reads);
            let help = "Times that the files had changed and were no good.";
            counter(&mut out, "counter", &name("failures_total"), help, certificate.failures);
            let failed = u64::from(certificate.failed.is_some());
            let help = "Whether the files as they are now are no good.";
            counter(&mut out, "gauge", &name("failed"), help, failed);
            if let Some(end) = certificate.not_after_seconds.and_then(|end| u64::try_from(end).ok()) {
                let help = "When the certificate ends, in seconds since 1970.";
                counter(&mut out, "gauge", &name("not_after_seconds"), help, end);
            }
        }
        if let Some(traces) = &self.inner.traces {
            let [exported, dropped] = traces.counts();
            let help = "Spans that the collector took.";
            counter(&mut out, "counter", "banyan_gateway_spans_exported_total", help, exported);
            let help = "Spans that were dropped: the queue was full, or the collector failed.";
            counter(&mut out, "counter", "banyan_gateway_spans_dropped_total", help, dropped);
        }
        self.write_routes(&mut out);
        self.write_upstreams(&mut out);
        crate::shadow::figures::write(&mut out, &self.shadow(), self.shadow_bytes());
        out
    }

    fn write_routes(&self, out: &mut String) {
        out.push_str(
            "# HELP banyan_gateway_requests_total Requests by route, side and class of the answer.\n",
        );
        out.push_str("# TYPE banyan_gateway_requests_total counter\n");
        let traffic = self.traffic();
        let sides = |report: &'_ crate::gateway::RouteReport| {
            [(Side::Legacy, report.legacy.clone()), (Side::Banyan, report.banyan.clone())]
        };
        for report in &traffic {
            for (side, counts) in sides(report) {
                for (class, count) in (1..).zip(counts.classes).filter(|(_, count)| *count > 0) {
                    let labels =
                        format!("route={:?},side=\"{}\",class=\"{class}xx\"", report.route, side.as_str());
                    let _ok = writeln!(out, "banyan_gateway_requests_total{{{labels}}} {count}");
                }
                if counts.failures > 0 {
                    let labels =
                        format!("route={:?},side=\"{}\",class=\"none\"", report.route, side.as_str());
                    let _ok = writeln!(out, "banyan_gateway_requests_total{{{labels}}} {}", counts.failures);
                }
            }
        }
        out.push_str("# HELP banyan_gateway_answer_seconds Time to the head of the answer.\n");
        out.push_str("# TYPE banyan_gateway_answer_seconds histogram\n");
        for report in &traffic {
            for (side, counts) in sides(report) {
                if counts.requests == 0 {
                    continue;
                }
                let labels = format!("route={:?},side=\"{}\"", report.route, side.as_str());
                let all: u64 = counts.histogram.iter().map(|(_, count)| count).sum();
                for bound in BOUNDS_MICROS {
                    let below: u64 =
                        counts.histogram.iter().filter(|(b, _)| *b <= bound).map(|(_, count)| count).sum();
                    let le = bound as f64 / 1e6;
                    let _ok =
                        writeln!(out, "banyan_gateway_answer_seconds_bucket{{{labels},le=\"{le}\"}} {below}");
                }
                let _ok = writeln!(out, "banyan_gateway_answer_seconds_bucket{{{labels},le=\"+Inf\"}} {all}");
                let _ok = writeln!(
                    out,
                    "banyan_gateway_answer_seconds_sum{{{labels}}} {}",
                    counts.micros as f64 / 1e6
                );
                let _ok = writeln!(out, "banyan_gateway_answer_seconds_count{{{labels}}} {all}");
            }
        }
    }

    fn write_upstreams(&self, out: &mut String) {
        let upstreams = self.upstreams();
        type Value = fn(&crate::upstream::ServerReport) -> u64;
        let families: [(&str, &str, &str, Value); 6] = [
            ("banyan_gateway_server_well", "gauge", "Whether health checks go well.", |s| u64::from(s.well)),
            ("banyan_gateway_server_open", "gauge", "Whether the breaker keeps requests away.", |s| {
                u64::from(s.breaker != "closed")
            }),
            ("banyan_gateway_server_opened_total", "counter", "Times the breaker opened.", |s| s.opened),
            ("banyan_gateway_server_under_way", "gauge", "Requests under way.", |s| s.under_way as u64),
            ("banyan_gateway_server_requests_total", "counter", "Requests sent.", |s| s.requests),
            ("banyan_gateway_server_failures_total", "counter", "Requests that failed there.", |s| {
                s.failures
            }),
        ];
        for (name, kind, help, value) in families {
            let _ok = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for upstream in &upstreams {
                for server in &upstream.servers {
                    let labels = format!("upstream={:?},url={:?}", upstream.name, server.url);
                    let _ok = writeln!(out, "{name}{{{labels}}} {}", value(server));
                }
            }
        }
        write_trust(out, &upstreams);
    }
}

/// The files of each upstream's `ca`; nothing where nobody has one.
fn write_trust(out: &mut String, upstreams: &[UpstreamReport]) {
    type Value = fn(&TrustReport) -> u64;
    let families: [(&str, &str, &str, Value); 3] = [
        ("reads_total", "counter", "Times the certificates of `ca` were taken, the start included.", |ca| {
            ca.reads
        }),
        ("failures_total", "counter", "Times the file of `ca` had changed and was no good.", |ca| {
            ca.failures
        }),
        ("failed", "gauge", "Whether the file of `ca` as it is now is no good.", |ca| {
            u64::from(ca.failed.is_some())
        }),
    ];
    let trusting = || upstreams.iter().filter_map(|upstream| Some((&upstream.name, upstream.ca.as_ref()?)));
    if trusting().next().is_none() {
        return;
    }
    for (what, kind, help, value) in families {
        let name = format!("banyan_gateway_upstream_ca_{what}");
        let _ok = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (upstream, ca) in trusting() {
            let _ok = writeln!(out, "{name}{{upstream={upstream:?}}} {}", value(ca));
        }
    }
}

/// Upper bounds of the histogram that is shown, in microseconds.
const BOUNDS_MICROS: [u64; 14] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000,
    30_000_000,
];
