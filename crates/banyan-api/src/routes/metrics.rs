//! `/metrics`, in Prometheus' text format.

use crate::App;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use banyan_domain::Refusal;
use banyan_engine::HistogramView;
use banyan_legacy::Status;
use http::header;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

/// Shows counters and gauges in Prometheus' text format. Needs no key: it names no member and no campaign.
#[utoipa::path(get, path = "/metrics", tag = "operation", responses((status = 200, description = "Prometheus text", content_type = "text/plain")))]
pub(crate) async fn show_metrics(State(app): State<Arc<App>>) -> Response {
    let (shard, record) = (app.shard.metrics(), &app.record_progress);
    let mut page = Page(String::with_capacity(8 << 10));
    page.one("banyan_commands_total", "counter", "Commands decided", shard.commands);
    page.one(
        "banyan_coupons_issued_total",
        "counter",
        "Coupons issued, durably, since the process started",
        shard.issued,
    );
    page.one("banyan_replayed_total", "counter", "Answers given again", shard.replayed);
    page.head("banyan_refusals_total", "counter", "Commands refused, by reason");
    for refusal in Refusal::all() {
        page.labelled("banyan_refusals_total", "reason", refusal.slug(), shard.refusals[refusal.index()]);
    }
    page.one("banyan_busy_total", "counter", "Commands turned away because the queue was full", shard.busy);
    page.one(
        "banyan_storage_full_total",
        "counter",
        "Commands turned away because storage was full",
        shard.storage_full,
    );
    page.one(
        "banyan_storage_is_full",
        "gauge",
        "1 while writes are refused because storage is full",
        u64::from(shard.storage_is_full),
    );
    page.one(
        "banyan_determinism_alarm",
        "gauge",
        "1 if a background replay differed from the writer",
        u64::from(shard.alarm),
    );
    page.one(
        "banyan_queue_commands",
        "gauge",
        "Commands in the queue when the writer last looked",
        shard.queue,
    );
    page.one(
        "banyan_log_seq",
        "gauge",
        "Log position of the last durable event",
        app.shard.confirmed().get().as_u64(),
    );
    page.one(
        "banyan_snapshot_seq",
        "gauge",
        "Log position of the newest usable snapshot",
        shard.snapshot_seq,
    );
    page.one("banyan_blocks_total", "counter", "Blocks made durable", shard.blocks);
    page.one("banyan_events_total", "counter", "Events made durable", shard.events);
    page.one("banyan_log_bytes_total", "counter", "Bytes written to the log", shard.bytes);
    page.histogram(
        "banyan_block_events",
        "Events per block",
        &shard.block_events,
        &[1, 4, 16, 64, 256, 1_024, 4_096, 16_384],
        1.0,
    );
    page.histogram("banyan_sync_seconds", "Time to make a block durable", &shard.sync_micros, &MICROS, 1e6);
    page.histogram(
        "banyan_write_seconds",
        "Time from a parsed write to its answer",
        &app.http.write_micros.view(),
        &MICROS,
        1e-6,
    );
    page.head("banyan_http_answers_total", "counter", "HTTP answers, by class of status");
    for (class, n) in ["2xx", "4xx", "5xx"].iter().zip(app.http.answers()) {
        page.labelled("banyan_http_answers_total", "class", class, n);
    }
    page.head("banyan_view_seq", "gauge", "Log position that a view has applied");
    page.labelled("banyan_view_seq", "view", "record", record.applied().as_u64());
    page.head("banyan_view_lag_events", "gauge", "Durable events that a view has not applied yet");
    let lag = app.shard.confirmed().get().as_u64().saturating_sub(record.applied().as_u64());
    page.labelled("banyan_view_lag_events", "view", "record", lag);
    page.head("banyan_view_lag_seconds", "gauge", "Age of what a view shows");
    page.labelled("banyan_view_lag_seconds", "view", "record", record.lag().as_secs_f64());
    page.head("banyan_view_parked_events", "gauge", "Events in a view's parked lane");
    page.labelled("banyan_view_parked_events", "view", "record", record.parked());
    // Left out while the queue is full or the writer waits for the disk: whoever looks then has other numbers to look at.
    let sagas = app.look(|state| {
        let (sagas, now) = (state.sagas(), state.time());
        let oldest =
            sagas.parked_since().map_or(0, |since| now.as_millis().saturating_sub(since.as_millis()));
        (sagas.under_way(), sagas.parked(), oldest as f64 / 1_000.0)
    });
    if let Ok(Ok((under_way, parked, oldest))) = tokio::time::timeout(LOOK_TIME_MAX, sagas).await {
        page.one("banyan_saga_running", "gauge", "Sagas that go on by themselves", under_way);
        page.one("banyan_saga_parked", "gauge", "Sagas that wait for an operator", parked);
        page.head("banyan_saga_parked_oldest_seconds", "gauge", "How long the longest waits for an operator");
        page.line(format_args!("banyan_saga_parked_oldest_seconds {oldest}"));
    }
    if let Some(keeper) = app.keeper() {
        let sync = keeper.progress();
        page.one(
            "banyan_legacy_rows_aside",
            "gauge",
            "Rows that the old shop's tables refuse, set aside so that the others go on",
            sync.aside,
        );
        page.head("banyan_legacy_lag_seconds", "gauge", "How late a change of one side is on the other");
        for (way, millis) in [("in", sync.lag_millis), ("out", sync.out_lag_millis)] {
            page.labelled("banyan_legacy_lag_seconds", "way", way, millis as f64 / 1_000.0);
        }
        page.head("banyan_legacy_in_trouble", "gauge", "1 while something stands in the way of the sync");
        for (way, trouble) in [("in", &sync.trouble.inward), ("out", &sync.trouble.outward)] {
            page.labelled("banyan_legacy_in_trouble", "way", way, u64::from(trouble.is_some()));
        }
        // A server that stops has no status any more.
        if let Ok(status) = keeper.status().await {
            legacy(&mut page, &status);
        }
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page.0).into_response()
}

/// How long the page waits for a look at the state.
const LOOK_TIME_MAX: Duration = Duration::from_secs(1);
/// What an operator of a way over must look at.
fn legacy(page: &mut Page, status: &Status) {
    let sync = &status.progress.trouble;
    let any = sync.inward.is_some() || sync.outward.is_some() || !status.trouble.is_empty();
    page.labelled("banyan_legacy_in_trouble", "way", "any", u64::from(any));
    let state = &status.state;
    page.one(
        "banyan_legacy_breaches_total",
        "counter",
        "Writes of others to columns that Banyan leads",
        state.breaches,
    );
    page.one(
        "banyan_legacy_outbox_refused_total",
        "counter",
        "Messages of the old shop that were refused",
        state.refused,
    );
    page.one(
        "banyan_legacy_holds_waiting",
        "gauge",
        "Holds of the old shop that are over and wait to hear whether they were sold",
        status.holds_waiting as u64,
    );
    if let Some(Ok(health)) = &status.health {
        page.one(
            "banyan_legacy_retained_bytes",
            "gauge",
            "What the old database keeps of its log for Banyan",
            health.retained_bytes,
        );
    }
    if let Some(last) = state.reconciled {
        page.one(
            "banyan_legacy_rows_differing",
            "gauge",
            "Rows that differed at the last comparison",
            last.differing,
        );
        let age = crate::now().as_millis().saturating_sub(last.at.as_millis());
        page.head("banyan_legacy_compared_seconds_ago", "gauge", "Age of the last comparison of both sides");
        page.line(format_args!("banyan_legacy_compared_seconds_ago {}", age as f64 / 1_000.0));
    }
}

/// Bounds of histograms of time, in microseconds.
const MICROS: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 20_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    5_000_000,
];

struct Page(String);

impl Page {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        let _written_to_memory = self.0.write_fmt(line);
        self.0.push('\n');
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}."));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.head(name, kind, help);
        self.line(format_args!("{name} {value}"));
    }

    fn labelled(&mut self, name: &str, label: &str, value: &str, n: impl std::fmt::Display) {
        self.line(format_args!("{name}{{{label}=\"{value}\"}} {n}"));
    }

    fn histogram(&mut self, name: &str, help: &str, view: &HistogramView, bounds: &[u64], per_unit: f64) {
        self.head(name, "histogram", help);
        for bound in bounds {
            self.line(format_args!(
                "{name}_bucket{{le=\"{}\"}} {}",
                *bound as f64 / per_unit,
                view.at_most(*bound)
            ));
        }
        self.line(format_args!("{name}_bucket{{le=\"+Inf\"}} {}", view.count()));
        self.line(format_args!("{name}_sum {}", view.sum as f64 / per_unit));
        self.line(format_args!("{name}_count {}", view.count()));
    }
}
