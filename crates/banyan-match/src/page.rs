//! The report as one printable page, self-contained.

use crate::compare::money;
use crate::finding::{Finding, Level};
use crate::report::{Hour, Report, Sums};
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("page.css");
/// Findings that are shown in full; the JSON has all of them.
const SHOWN_MAX: usize = 500;

/// The page of a report: HTML with its style, without a script and without a request to anywhere.
#[must_use]
pub fn page(report: &Report) -> String {
    let word = verdict_word(report);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (word) ": match with " (report.company) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    p.brand { (mark()) "Three-way match" }
                    h1 { "Books, sagas and " (report.company) }
                    p.facts { (covers(report)) " · " (report.statement) " · our side as of event " (report.seq) }
                }
                main {
                    (verdict(report, word))
                    (figures(report))
                    (sums(report))
                    (plot(report))
                    (findings(report))
                }
                footer {
                    p {
                        "Our side is the log up to event " (report.seq) ", of " (time(&report.at)) ". "
                        "Amounts are in minor units of their currency. Ages count up to that event. "
                        "A repair is a saga with a key of its own: begun twice, it is made once. Nothing here edits the books."
                    }
                }
            }
        }
    };
    page.into_string()
}

fn verdict_word(report: &Report) -> &'static str {
    match (report.clean, report.findings.is_empty()) {
        (true, true) => "All three agree",
        (true, false) => "Nothing to repair",
        (false, _) => "To be repaired",
    }
}

fn covers(report: &Report) -> String {
    let short = |text: &str| time(text);
    match (&report.from, &report.to) {
        (Some(from), Some(to)) => format!("{} to {}", short(from), short(to)),
        (Some(from), None) => format!("from {}", short(from)),
        (None, Some(to)) => format!("up to {}", short(to)),
        (None, None) => "everything so far".into(),
    }
}

fn verdict(report: &Report, word: &str) -> Markup {
    let level = match (report.clean, report.findings.is_empty()) {
        (true, true) => "well",
        (true, false) => "look",
        (false, _) => "harm",
    };
    html! {
        section.verdict.(level) {
            p.judgement { (sign(level)) (word) }
            @if report.findings.is_empty() {
                p { "Every movement of the statement is booked once, with its amount, and every booking is in the statement." }
            } @else {
                ul {
                    @for (kind, times) in kinds(report) {
                        li.(level_class(kind)) { (sign(level_class(kind))) span { (times) " · " (title(report, kind)) " (" code { (kind) } ")" } }
                    }
                }
            }
        }
    }
}

fn kinds(report: &Report) -> Vec<(&'static str, usize)> {
    crate::Kind::ALL
        .into_iter()
        .filter_map(|kind| Some((kind.word(), *report.counts.get(kind.word())?)))
        .collect()
}

fn title(report: &Report, word: &str) -> &'static str {
    report
        .findings
        .iter()
        .find(|finding| finding.kind.word() == word)
        .map_or("", |finding| finding.kind.title())
}

fn level_class(kind: &str) -> &'static str {
    if kind == crate::Kind::Late.word() { "look" } else { "harm" }
}

fn figures(report: &Report) -> Markup {
    let figure = |label: &str, value: String, note: String| {
        html! { div { dt { (label) } dd { strong { (value) } span { (note) } } } }
    };
    let stake: Vec<String> = report
        .sums
        .iter()
        .filter(|sums| sums.at_stake > 0)
        .map(|sums| money(sums.at_stake, &sums.currency))
        .collect();
    let late: Vec<String> = report
        .sums
        .iter()
        .filter(|sums| sums.late > 0)
        .map(|sums| money(sums.late, &sums.currency))
        .collect();
    let or_none = |all: Vec<String>| if all.is_empty() { "none".to_owned() } else { all.join(", ") };
    let waiting = report.findings.len() - report.repairs();
    html! {
        dl.figures {
            (figure("In the statement", number(report.movements), "movements".into()))
            (figure("Matched", number(report.matched), "booked with the same amount".into()))
            (figure("To repair", number(report.repairs()), format!("at stake: {}", or_none(stake))))
            (figure("On its way", number(waiting), format!("late: {}", or_none(late))))
        }
    }
}

fn sums(report: &Report) -> Markup {
    html! {
        section {
            h2 { "Sums" }
            @if report.sums.is_empty() {
                p.empty { "No money moved: the statement is empty, and the books have nothing that belongs into it." }
            } @else {
                div.wide tabindex="0" { table {
                    thead { tr {
                        th { "Currency" } th.n { "Taken, company" } th.n { "Taken, books" } th.n { "Difference" }
                        th.n { "Sent back, company" } th.n { "Sent back, books" } th.n { "Difference" }
                    } }
                    tbody { @for one in &report.sums { (sum_row(one)) } }
                } }
                p.note { "Books: what lies wholly within the statement's time. What crosses its edge is listed as on its way." }
            }
        }
    }
}

fn sum_row(one: &Sums) -> Markup {
    let difference = |there: i64, here: i64| {
        let by = there - here;
        html! { td.n.differs[by != 0] { @if by > 0 { "+" } (money(by, "")) } }
    };
    html! { tr {
        th scope="row" { (one.currency) }
        td.n { (money(one.captured_there, "")) } td.n { (money(one.captured_here, "")) }
        (difference(one.captured_there, one.captured_here))
        td.n { (money(one.refunded_there, "")) } td.n { (money(one.refunded_here, "")) }
        (difference(one.refunded_there, one.refunded_here))
    } }
}

/// Columns of what was taken (up) and sent back (down), with a mark under each hour that has findings.
fn plot(report: &Report) -> Markup {
    if report.hours.len() < 2 {
        return html! {};
    }
    let busiest =
        report.sums.iter().max_by_key(|sums| sums.captured_there).map_or("", |sums| sums.currency.as_str());
    let most = report.hours.iter().map(|hour| hour.captured).max().unwrap_or(0).max(1) as f64;
    let back = report.hours.iter().map(|hour| hour.refunded).max().unwrap_or(0) as f64;
    // Both directions in one scale: 100 units for the most that was taken.
    let (up, down) = (100.0, 100.0 * back / most);
    let width = 1_000.0 / report.hours.len() as f64;
    let height = up + down + 14.0;
    let column = |at: usize, hour: &Hour| {
        let (left, broad) = (at as f64 * width, (width - 1.5).max(0.8));
        let (taken, sent) = (100.0 * hour.captured as f64 / most, 100.0 * hour.refunded as f64 / most);
        let text = format!(
            "{}: {} taken, {} sent back, {} findings",
            time(&hour.from),
            money(hour.captured, ""),
            money(hour.refunded, ""),
            hour.findings
        );
        html! { g {
            title { (text) }
            rect.taken x=(px(left)) y=(px(up - taken)) width=(px(broad)) height=(px(taken)) {}
            rect.sent x=(px(left)) y=(px(up)) width=(px(broad)) height=(px(sent)) {}
            @if hour.findings > 0 {
                rect.found x=(px(left)) y=(px(up + down + 6.0)) width=(px(broad)) height="8" {}
            }
        } }
    };
    html! {
        figure.plot {
            figcaption {
                h3 { "Over the statement's time" span.scale { "highest " (money(most as i64, "")) " " (busiest) } }
                ul.legend {
                    li { span.key.taken {} "taken" } li { span.key.sent {} "sent back" } li { span.key.found {} "findings" }
                }
            }
            svg viewBox=(format!("0 0 1000 {}", px(height))) preserveAspectRatio="none" role="img"
                aria-label="What was taken and sent back in each part of the statement's time" {
                @for (at, hour) in report.hours.iter().enumerate() { (column(at, hour)) }
                line.axis x1="0" x2="1000" y1=(px(up)) y2=(px(up)) {}
            }
            p.ends {
                span { (time(&report.hours[0].from)) }
                span { (report.hours.last().map(|hour| time(&hour.from)).unwrap_or_default()) }
            }
        }
    }
}

fn findings(report: &Report) -> Markup {
    html! {
        section {
            h2 { "Findings" }
            @if report.findings.is_empty() {
                p.empty { "None." }
            }
            @for finding in report.findings.iter().take(SHOWN_MAX) { (card(finding)) }
            @if report.findings.len() > SHOWN_MAX {
                p.note { "And " (report.findings.len() - SHOWN_MAX) " more: `banyan match --json` has all of them." }
            }
        }
    }
}

fn card(finding: &Finding) -> Markup {
    let level = if finding.level == Level::Repair { "harm" } else { "look" };
    let fact = |label: &str, value: Option<String>| html! { @if let Some(value) = value { div { dt { (label) } dd { (value) } } } };
    let saga = finding.saga.as_ref().map(|saga| {
        let step = saga.step.as_ref().map(|step| format!(", step {step}")).unwrap_or_default();
        format!("{} ({} {}), {}{step}", saga.saga, saga.name, saga.key, saga.state)
    });
    let movement = finding.movement.as_ref().map(|id| match finding.line {
        Some(line) => format!("{id}, line {line}"),
        None => id.clone(),
    });
    html! {
        article.finding.(level) {
            h3 { (sign(level)) (finding.kind.title()) span.amount { (money(finding.amount, &finding.currency)) } }
            p { (finding.sentence) }
            dl.facts {
                (fact("Order", finding.order.clone()))
                (fact("Payment", finding.payment.clone()))
                (fact("Saga", saga))
                (fact("Transfer", finding.transfer.clone()))
                (fact("Movement", movement))
                (fact("Company says", finding.there.map(|amount| format!("{} of {}", finding.what.word(), money(amount, &finding.currency)))))
                (fact("We say", finding.here.map(|amount| format!("{} of {}", finding.what.word(), money(amount, &finding.currency)))))
                (fact("Since", Some(format!("{}, {}", time(&finding.since), age(finding.age_seconds)))))
            }
            p.advice { (finding.repair.advice) }
            @if let Some(command) = &finding.repair.command { pre tabindex="0" { code { (command) } } }
        }
    }
}

/// `2026-11-27T03:00:00.250Z` as a person reads it.
fn time(text: &str) -> String {
    format!("{} UTC", text.trim_end_matches('Z').split('.').next().unwrap_or_default().replace('T', " "))
}

fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn number(count: usize) -> String {
    money(i64::try_from(count).unwrap_or(i64::MAX), "")
}

fn px(value: f64) -> String {
    format!("{value:.2}")
}

/// The level as a shape, so that it does not rest on colour.
fn sign(level: &str) -> Markup {
    let (path, word) = match level {
        "well" => ("M10 1a9 9 0 1 0 0 18a9 9 0 1 0 0-18zM5.6 10.4l3 3l6-6.4", "well"),
        "look" => ("M10 2L19 18H1zM10 8v4.6M10 15v.6", "wait"),
        _ => ("M6.3 1h7.4L19 6.3v7.4L13.7 19H6.3L1 13.7V6.3zM6.8 6.8l6.4 6.4M13.2 6.8l-6.4 6.4", "repair"),
    };
    html! { svg.sign viewBox="0 0 20 20" role="img" aria-label=(word) { path d=(path) {} } }
}

/// One crown, many roots.
fn mark() -> Markup {
    html! { svg.mark-banyan viewBox="0 0 24 24" aria-hidden="true" { path d="M3 11a9 7 0 0 1 18 0zM6 11v10M9 11v6M12 11v11M15 11v7M18 11v10" {} } }
}
