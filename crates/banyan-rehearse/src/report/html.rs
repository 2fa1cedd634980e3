//! The report as one printable page.

use std::collections::BTreeMap;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::plot::{Column, Line, Plot, Scale, time_ticks};
use super::text::{count, milliseconds};
use super::{ActionReport, Level, Report, SecondReport};

const STYLE: &str = include_str!("report.css");
/// More points than this cannot be told apart; longer runs put several seconds into one point.
const POINTS_MAX: usize = 240;

pub(super) fn page(report: &Report) -> Markup {
    let bins = bins(report);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (report.verdict.title) ": " (report.name) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    p.brand { (mark()) "Rehearsal" }
                    h1 { (report.name) }
                    p.facts {
                        (report.target) " · " (report.started_at.split('.').next().unwrap_or_default().replace('T', " ")) " UTC · "
                        (format!("{:.0} s", report.seconds)) " · seed " (report.seed)
                    }
                }
                main {
                    (verdict(report))
                    (figures(report))
                    section {
                        h2 { "Over time" }
                        @if bins.is_empty() {
                            p.empty { "Nobody came: the scenario has no arrivals. Give a phase a rate above 0." }
                        } @else {
                            (rate_plot(report, &bins).markup())
                            (latency_plot(report, &bins).markup())
                            (refusal_plot(report, &bins))
                        }
                    }
                    (shop(report))
                    (distribution(report))
                    (tables(report))
                    @if !bins.is_empty() { (every_second(&bins)) }
                }
                footer {
                    p { "Latency counts from the moment a member meant to press, whether or not a connection was free. "
                        "Unknown means sent, but not answered completely: it may have happened or not." }
                }
            }
        }
    }
}

fn verdict(report: &Report) -> Markup {
    html! {
        section.verdict.(level_class(report.verdict.level)) {
            p.judgement { (sign(report.verdict.level)) (report.verdict.title) }
            ul {
                @for reason in &report.verdict.reasons {
                    li.(level_class(reason.level)) { (sign(reason.level)) span { (reason.text) } }
                }
            }
        }
    }
}

fn figures(report: &Report) -> Markup {
    let peak = report.by_second.iter().map(|second| second.answered).max().unwrap_or(0);
    let answered: f64 = report.actions.iter().map(|action| action.answered_per_second).sum();
    let unknown = report.sum(|action| action.unknown);
    let issued: u64 = report.campaigns.iter().map(|campaign| campaign.issued).sum();
    let first = report.actions.first();
    let p99 = first.map_or("none".into(), |action| milliseconds(action.latency_ms.p99));
    let worst =
        first.map_or(String::new(), |action| format!("slowest {}", milliseconds(action.latency_ms.max)));
    let word = first.map_or("issue", |action| action.action.as_str());
    let figure = |label: &str, value: &str, note: &str| {
        html! { div { dt { (label) } dd { strong { (value) } span { (note) } } } }
    };
    html! {
        dl.figures {
            (figure("Answered", &format!("{}/s", count(answered.round() as u64)), &format!("best second {}/s", count(peak))))
            (figure(&format!("p99 of {word}"), &p99, &worst))
            (figure("New coupons", &count(issued), &format!("{} arrivals", count(report.sum(|a| a.offered)))))
            (figure("Unknown", &count(unknown), if unknown == 0 { "no outcome in doubt" } else { "sent, not answered" }))
        }
    }
}

/// A few seconds of a long run, or one second of a short one.
struct Bin {
    from: f64,
    to: f64,
    offered: f64,
    answered: f64,
    unknown: u64,
    not_sent: u64,
    refused: BTreeMap<String, f64>,
    p50: Option<f64>,
    p99: Option<f64>,
    max: Option<f64>,
}

impl Bin {
    fn middle(&self) -> f64 {
        f64::midpoint(self.from, self.to)
    }
}

fn bins(report: &Report) -> Vec<Bin> {
    let seconds = &report.by_second;
    let width = seconds.len().div_ceil(POINTS_MAX).max(1);
    let mut chunks: Vec<&[SecondReport]> = seconds.chunks(width).collect();
    let end = |chunk: &[SecondReport]| {
        let last = chunk.last().map_or(0.0, |second| second.second as f64);
        (last + 1.0).min(report.seconds.max(last + 0.001))
    };
    // A run ends within a second. A short rest would show a rate that nobody saw, so it joins the point before it.
    if let [.., before, rest] = chunks.as_slice()
        && end(rest) - end(before) < width as f64 / 2.0
    {
        let from = seconds.len() - before.len() - rest.len();
        chunks.truncate(chunks.len() - 2);
        chunks.push(&seconds[from..]);
    }
    chunks.into_iter().map(|chunk| bin(chunk, end(chunk))).collect()
}

fn bin(chunk: &[SecondReport], to: f64) -> Bin {
    let from = chunk.first().map_or(0.0, |second| second.second as f64);
    let length = to - from;
    let worst = |figure: fn(&SecondReport) -> Option<f64>| chunk.iter().filter_map(figure).reduce(f64::max);
    let mut refused: BTreeMap<String, f64> = BTreeMap::new();
    for (kind, times) in chunk.iter().flat_map(|second| &second.refused) {
        *refused.entry(kind.clone()).or_default() += *times as f64 / length;
    }
    Bin {
        from,
        to,
        offered: chunk.iter().map(|second| second.offered as f64).sum::<f64>() / length,
        answered: chunk.iter().map(|second| second.answered as f64).sum::<f64>() / length,
        unknown: chunk.iter().map(|second| second.unknown).sum(),
        not_sent: chunk.iter().map(|second| second.not_sent).sum(),
        refused,
        p50: worst(|second| second.p50_ms),
        p99: worst(|second| second.p99_ms),
        max: worst(|second| second.max_ms),
    }
}

/// A plot over time without any data yet: the axes, phases and outages that all of them share.
fn over_time(report: &Report, bins: &[Bin], title: &'static str, note: &str, y: Scale) -> Plot {
    let end = bins.last().map_or(1.0, |bin| bin.to);
    let width = bins.first().map_or(1.0, |bin| bin.to - bin.from);
    let note = if width > 1.9 {
        format!("{note} Each point is {width:.0} s, their worst second for latency.")
    } else {
        note.to_owned()
    };
    Plot {
        title,
        note,
        x_max: end,
        x_ticks: time_ticks(end),
        y,
        lines: Vec::new(),
        columns: Vec::new(),
        bands: report.outages.iter().map(|outage| (outage.from, outage.to.unwrap_or(end))).collect(),
        marks: report.marks.iter().map(|mark| (mark.at, mark.text.clone())).collect(),
        limit: None,
        hover: Vec::new(),
    }
}

fn rate_plot(report: &Report, bins: &[Bin]) -> Plot {
    let most = bins.iter().map(|bin| bin.offered.max(bin.answered)).fold(0.0, f64::max);
    let note = "Requests a second. Where the two part, answers came later than people.";
    let mut plot = over_time(report, bins, "Offered and answered", note, Scale::linear(most));
    let line = |label: &str, class, figure: fn(&Bin) -> f64| Line {
        label: label.to_owned(),
        class,
        points: bins.iter().map(|bin| (bin.middle(), Some(figure(bin)))).collect(),
    };
    plot.lines =
        vec![line("answered", "l-main", |bin| bin.answered), line("offered", "l-dash", |bin| bin.offered)];
    let text = |bin: &Bin| {
        format!(
            "{:.0} s: {:.0}/s offered, {:.0}/s answered, {} unknown, {} not sent",
            bin.from, bin.offered, bin.answered, bin.unknown, bin.not_sent
        )
    };
    plot.hover = bins.iter().map(|bin| (bin.from, bin.to, text(bin))).collect();
    plot
}

fn latency_plot(report: &Report, bins: &[Bin]) -> Plot {
    let least = bins.iter().filter_map(|bin| bin.p50).fold(f64::INFINITY, f64::min);
    let most = bins.iter().filter_map(|bin| bin.max).fold(0.0, f64::max);
    let (least, most) = if least.is_finite() { (least, most) } else { (1.0, 10.0) };
    let goal = report.goals_p99_ms.get("issue").copied();
    let y = Scale::log_ms(least, most.max(goal.unwrap_or(0.0)));
    let note = "By the second in which the member pressed, logarithmic. A gap is a second without answers.";
    let mut plot = over_time(report, bins, "Latency", note, y);
    let line = |label: &str, class, figure: fn(&Bin) -> Option<f64>| Line {
        label: label.to_owned(),
        class,
        points: bins.iter().map(|bin| (bin.middle(), figure(bin))).collect(),
    };
    plot.lines = vec![
        line("slowest", "l-dots", |bin| bin.max),
        line("p99", "l-ink", |bin| bin.p99),
        line("p50", "l-main", |bin| bin.p50),
    ];
    plot.limit = goal.map(|goal| (goal, format!("goal for p99: {}", milliseconds(goal))));
    let say = |value: Option<f64>| value.map_or("none".into(), milliseconds);
    let text = |bin: &Bin| {
        format!("{:.0} s: p50 {}, p99 {}, slowest {}", bin.from, say(bin.p50), say(bin.p99), say(bin.max))
    };
    plot.hover = bins.iter().map(|bin| (bin.from, bin.to, text(bin))).collect();
    plot
}

fn refusal_plot(report: &Report, bins: &[Bin]) -> Markup {
    if report.refusals.is_empty() {
        return html! { p.empty { "Nobody was refused." } };
    }
    let most = bins.iter().map(|bin| bin.refused.values().sum::<f64>()).fold(0.0, f64::max);
    let note = "A second, by the second in which the member pressed. A refusal is an answer: sold out is not an error.";
    let mut plot = over_time(report, bins, "Refusals by kind", note, Scale::linear(most));
    let mut kinds: Vec<(&String, u64)> = report.refusals.iter().map(|(kind, times)| (kind, *times)).collect();
    kinds.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
    let mut tops = vec![0.0; bins.len()];
    let mut calm = ["k1", "k2", "k3", "k4", "k5"].into_iter().cycle();
    for (kind, _) in kinds {
        let class = match kind.as_str() {
            kind if report.faults.contains_key(kind) => "k-harm",
            "busy" | "storage-full" => "k-wait",
            _ => calm.next().unwrap_or("k1"),
        };
        let mut column = Column { label: kind.clone(), class, boxes: Vec::new() };
        for (bin, top) in bins.iter().zip(&mut tops) {
            if let Some(rate) = bin.refused.get(kind) {
                column.boxes.push((bin.from, bin.to, *top, *top + rate));
                *top += rate;
            }
        }
        plot.columns.push(column);
    }
    plot.markup()
}

fn distribution(report: &Report) -> Markup {
    // Two lines can be told apart: in a shop, what costs the most and what leads to it.
    let mut shown: Vec<&ActionReport> = report
        .actions
        .iter()
        .filter(|a| report.visits.is_none() || matches!(&*a.action, "place" | "quote"))
        .collect();
    shown.sort_by_key(|action| action.action != "place" && report.visits.is_some());
    let all = || report.actions.iter().flat_map(|action| &action.quantiles);
    let Some(nines) = all().map(|(quantile, _)| nines(*quantile)).reduce(f64::max) else { return html! {} };
    let least = all().map(|(_, ms)| *ms).filter(|ms| *ms > 0.0).fold(f64::INFINITY, f64::min);
    let most = all().map(|(_, ms)| *ms).fold(0.0, f64::max);
    let labels = ["0 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %", "99.9999 %"];
    let whole = |label: &(usize, &str)| (label.0 as f64) <= nines + 1e-9;
    let plot = Plot {
        title: "How many were answered how fast",
        note: "Share of answers at least this fast; each step to the right is one more nine.".to_owned(),
        x_max: nines,
        x_ticks: labels
            .into_iter()
            .enumerate()
            .filter(whole)
            .map(|(i, text)| (i as f64, text.to_owned()))
            .collect(),
        y: Scale::log_ms(if least.is_finite() { least } else { 1.0 }, most),
        lines: shown.iter().zip(["l-main", "l-dash"]).map(quantile_line).collect(),
        columns: Vec::new(),
        bands: Vec::new(),
        marks: Vec::new(),
        limit: None,
        hover: Vec::new(),
    };
    html! { section { h2 { "Distribution" } (plot.markup()) } }
}

fn quantile_line((action, class): (&&ActionReport, &'static str)) -> Line {
    let points = action.quantiles.iter().map(|(quantile, ms)| (nines(*quantile), Some(*ms))).collect();
    Line { label: action.action.clone(), class, points }
}

/// How far visitors came: a bar for each step, as long as its share of the visits.
fn shop(report: &Report) -> Markup {
    let Some(visits) = &report.visits else { return html! {} };
    let most = visits.steps().iter().map(|(_, number)| *number).max().unwrap_or(1).max(1);
    html! {
        section {
            h2 { "In the shop" }
            table {
                caption { "How far visits came, and how orders ended as their members saw it" }
                thead { tr { th scope="col" { "Step" } th.n scope="col" { "Number" } th scope="col" { "Share of the largest" } } }
                tbody { @for (name, number) in visits.steps() { tr {
                    th scope="row" { (name) }
                    td.n { (count(number)) }
                    td { meter min="0" max=(most) value=(number) aria-label=(format!("{name}: {number} of {most}")) {} }
                } } }
            }
        }
    }
}

fn nines(quantile: f64) -> f64 {
    -(1.0 - quantile).max(1e-9).log10()
}

fn tables(report: &Report) -> Markup {
    let generator = &report.generator;
    let connections = format!("{} of {}", generator.connections_peak, generator.connections_max);
    html! {
        section {
            h2 { "Figures" }
            div.wide tabindex="0" { table {
                thead { tr { th { "Action" } @for head in ["Offered", "Accepted", "Replayed", "Refused", "Unknown", "Not sent", "Answers/s"] { th.n { (head) } } } }
                tbody { @for action in &report.actions { tr {
                    th scope="row" { (action.action) }
                    @for figure in [
                        action.offered, action.accepted, action.replayed, action.refused, action.unknown, action.not_sent,
                    ] { td.n { (count(figure)) } }
                    td.n { (count(action.answered_per_second.round() as u64)) }
                } } }
            } }
            div.wide tabindex="0" { table {
                thead { tr { th { "Latency" } @for head in ["mean", "p50", "p90", "p99", "p99.9", "slowest"] { th.n { (head) } } } }
                tbody { @for action in &report.actions { @let latency = &action.latency_ms; tr {
                    th scope="row" { (action.action) }
                    @for figure in [latency.mean, latency.p50, latency.p90, latency.p99, latency.p999, latency.max] { td.n { (milliseconds(figure)) } }
                } } }
            } }
            div.small {
                (counts("Refused", &report.refusals))
                (counts("Unknown", &report.unknown))
                (counts("Not sent", &report.not_sent))
                (counts("Sent again", &report.retried))
                (counts("Connections that failed", &report.connect_failures))
                table {
                    caption { "New coupons" }
                    tbody { @for campaign in &report.campaigns { tr {
                        th scope="row" { (campaign.id) }
                        td.n { (count(campaign.issued)) @if let Some(quantity) = campaign.quantity { " of " (count(quantity)) } }
                    } } }
                }
                table {
                    caption { "The generator itself" }
                    tbody {
                        tr { th scope="row" { "arrivals late, p99" } td.n { (milliseconds(generator.late_p99_ms)) } }
                        tr { th scope="row" { "arrivals late, most" } td.n { (milliseconds(generator.late_max_ms)) } }
                        tr { th scope="row" { "connections" } td.n { (connections) } }
                        tr { th scope="row" { "connections made" } td.n { (count(generator.connections_made)) } }
                        tr { th scope="row" { "requests sent" } td.n { (count(generator.requests_sent)) } }
                    }
                }
            }
        }
    }
}

fn counts(caption: &str, counts: &BTreeMap<String, u64>) -> Markup {
    html! {
        @if !counts.is_empty() {
            table {
                caption { (caption) }
                tbody { @for (kind, times) in counts { tr { th scope="row" { (kind) } td.n { (count(*times)) } } } }
            }
        }
    }
}

fn every_second(bins: &[Bin]) -> Markup {
    let say = |value: Option<f64>| value.map_or_else(String::new, milliseconds);
    html! {
        details {
            summary { "The points of the plots as a table" }
            div.wide tabindex="0" { table {
                thead { tr { @for head in ["From", "Offered/s", "Answered/s", "Unknown", "Not sent", "p50", "p99", "slowest"] { th.n { (head) } } } }
                tbody { @for bin in bins { tr {
                    td.n { (format!("{:.0} s", bin.from)) }
                    td.n { (count(bin.offered.round() as u64)) } td.n { (count(bin.answered.round() as u64)) }
                    td.n { (count(bin.unknown)) } td.n { (count(bin.not_sent)) }
                    td.n { (say(bin.p50)) } td.n { (say(bin.p99)) } td.n { (say(bin.max)) }
                } } }
            } }
        }
    }
}

fn level_class(level: Level) -> &'static str {
    match level {
        Level::Well => "well",
        Level::Look => "look",
        Level::Harm => "harm",
    }
}

/// The level as a shape, so that it does not rest on colour.
fn sign(level: Level) -> Markup {
    let (path, word) = match level {
        Level::Well => ("M10 1a9 9 0 1 0 0 18a9 9 0 1 0 0-18zM5.6 10.4l3 3l6-6.4", "well"),
        Level::Look => ("M10 2L19 18H1zM10 8v4.6M10 15v.6", "look"),
        Level::Harm => {
            ("M6.3 1h7.4L19 6.3v7.4L13.7 19H6.3L1 13.7V6.3zM6.8 6.8l6.4 6.4M13.2 6.8l-6.4 6.4", "harm")
        }
    };
    html! { svg.sign viewBox="0 0 20 20" role="img" aria-label=(word) { path d=(path) {} } }
}

/// One crown, many roots.
fn mark() -> Markup {
    html! { svg.mark-banyan viewBox="0 0 24 24" aria-hidden="true" { path d="M3 11a9 7 0 0 1 18 0zM6 11v10M9 11v6M12 11v11M15 11v7M18 11v10" {} } }
}
