//! What the pages of the gateway show of a route, as it is now: made with the page and again each second for whoever watches.

use crate::Console;
use crate::format;
use crate::link;
use crate::parts::{self, Part};
use crate::text::{self, Lang, Text};
use crate::traffic::Rate;
use banyan_domain::Timestamp;
use banyan_gateway::evidence::Standing;
use banyan_gateway::groups::{Group, Judgement};
use banyan_gateway::shadow::ShadowReport;
use banyan_gateway::{Gateway, Mode, Route};
use maud::{Markup, html};

/// What moves on the page of the table.
pub(crate) fn of_table(console: &Console, lang: Lang) -> Vec<Part> {
    let Some(gateway) = console.options.gateway.get() else { return Vec::new() };
    let table = gateway.table();
    let mut parts = vec![("table-version".to_owned(), version(lang, table.version()))];
    for route in table.routes() {
        parts.push((place("traffic", route.name()), traffic(console, lang, route.name())));
        parts.push((place("share", route.name()), share(lang, route)));
    }
    parts
}

/// What moves on the page of a route.
pub(crate) fn of_route(console: &Console, lang: Lang, name: &str) -> Vec<Part> {
    let Some(gateway) = console.options.gateway.get() else { return Vec::new() };
    let table = gateway.table();
    let Some(route) = table.route(name) else { return Vec::new() };
    vec![
        ("table-version".to_owned(), version(lang, table.version())),
        (place("share", name), share(lang, route)),
        (place("traffic", name), traffic(console, lang, name)),
        (place("shadow", name), shadow(lang, gateway, name)),
        (place("evidence", name), evidence(lang, gateway, route)),
        (place("groups", name), groups(lang, gateway, name)),
    ]
}

/// The id of a place that belongs to a route.
pub(crate) fn place(kind: &str, route: &str) -> String {
    format!("{kind}-{}", link::encode(route))
}

/// The place with what stands there first.
pub(crate) fn placed(kind: &str, route: &str, what: &Markup) -> Markup {
    html! { div id=(place(kind, route)) { (what) } }
}

pub(crate) fn route_href(route: &str) -> String {
    format!("/console/gateway/routes/{}", link::encode(route))
}

pub(crate) fn group_href(route: &str, group: &str) -> String {
    format!("{}/groups/{}", route_href(route), link::encode(group))
}

/// The table's version in force.
pub(crate) fn version(lang: Lang, version: u64) -> Markup {
    html! { (lang.f(text::TABLE_VERSION, &[&format::number(version)])) }
}

pub(crate) fn mode(lang: Lang, mode: Mode) -> Markup {
    let (shape, word) = match mode {
        Mode::Legacy => ("mode-legacy", text::MODE_LEGACY),
        Mode::Shadow => ("mode-shadow", text::MODE_SHADOW),
        Mode::Canary => ("mode-canary", text::MODE_CANARY),
        Mode::Banyan => ("mode-banyan", text::MODE_BANYAN),
    };
    parts::state(lang, shape, word)
}

/// A share in percent, with as many decimals as it has.
pub(crate) fn percent(share: f64) -> String {
    let text = format!("{share:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text} %")
}

/// Who answers, and which share of the members is Banyan's.
pub(crate) fn share(lang: Lang, route: &Route) -> Markup {
    let share = route.percent(banyan_api::now().as_millis());
    html! {
        (mode(lang, route.mode()))
        @if route.mode() == Mode::Canary { " " b.num { (percent(share)) } }
    }
}

/// The split of the last seconds: a bar, and the two sides in numbers.
pub(crate) fn traffic(console: &Console, lang: Lang, route: &str) -> Markup {
    let Some([legacy, banyan]) = console.traffic.rates(route) else {
        return html! { p.hint { (lang.t(text::NO_LOOK_YET)) } };
    };
    let all = legacy.requests + banyan.requests;
    let ours = if all > 0.0 { banyan.requests / all * 100.0 } else { 0.0 };
    html! {
        div.split {
            svg.bar viewBox="0 0 100 4" preserveAspectRatio="none" role="img" aria-label=(lang.f(text::SPLIT_WORDS, &[&percent(ours)])) {
                rect.ground width="100" height="4" {}
                @if all > 0.0 {
                    rect.old width=(format!("{:.2}", 100.0 - ours)) height="4" {}
                    rect.part x=(format!("{:.2}", 100.0 - ours)) width=(format!("{ours:.2}")) height="4" {}
                }
            }
            (side(lang, "old", text::SIDE_LEGACY, &legacy))
            (side(lang, "new", text::SIDE_BANYAN, &banyan))
        }
    }
}

fn side(lang: Lang, class: &str, word: Text, rate: &Rate) -> Markup {
    html! {
        div.side-line {
            span class={"name " (class)} { (lang.t(word)) }
            span.num { b { (format::rate(rate.requests)) } " " span.unit { (lang.t(text::PER_SECOND)) } }
            span.num .harm-word[rate.errors > 0.0] { (format::rate(rate.errors)) " " span.unit { (lang.t(text::ERRORS_PER_SECOND)) } }
            span.num { @match rate.p99 {
                Some(p99) => { "p99 " (format::millis(p99)) },
                None => { span.hint { "p99 –" } },
            } }
        }
    }
}

/// What became of the copies of a route.
pub(crate) fn shadow(lang: Lang, gateway: &Gateway, route: &str) -> Markup {
    let Some(report) = gateway.shadow().into_iter().find(|report| report.route == route) else {
        return html! {};
    };
    if report.offered == 0 {
        return html! { p.hint { (lang.t(text::NO_COPIES)) } };
    }
    html! {
        dl.totals.plain-totals {
            (total(lang, text::COMPARED, report.compared))
            (total(lang, text::EQUAL, report.equal))
            (total(lang, text::MISMATCHED, report.mismatched))
            (total(lang, text::ONLY_NOISE, report.noisy))
            (total(lang, text::ONLY_IGNORED, report.ignored))
            (total(lang, text::COPY_ERRORS, report.errors))
            (total(lang, text::COPIES_WAIT, (report.queued + report.under_way) as u64))
        }
        (skipped(lang, &report))
        @if !report.noise.is_empty() {
            details { summary { (lang.f(text::NOISE_HIDDEN, &[&report.noise.len().to_string()])) }
                ul.plain-list { @for spot in &report.noise {
                    li { code { (spot.path) } " " span.hint { (lang.f(text::NOISE_SEEN, &[&format::number(spot.own), &format::number(spot.pairs)])) } }
                } }
            }
        }
    }
}

fn total(lang: Lang, word: Text, n: u64) -> Markup {
    html! { div { dt { (lang.t(word)) } dd { span.num { (format::number(n)) } } } }
}

fn skipped(lang: Lang, report: &ShadowReport) -> Markup {
    let mut reasons: Vec<_> = report.skipped.iter().filter(|(_, count)| **count > 0).collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let all: u64 = reasons.iter().map(|(_, count)| **count).sum();
    html! {
        h3 { (lang.f(text::SKIPPED_OF, &[&format::number(all), &format::number(report.offered)])) }
        @if !reasons.is_empty() {
            dl.facts.as-named.counts { @for (reason, count) in reasons {
                div { dt { (lang.t(text::skipped(reason))) } dd { span.num { (format::number(*count)) } " " code.hint { (reason) } } }
            } }
        }
    }
}

/// How the evidence of a route stands: what holds, what is missing, and the bounds.
pub(crate) fn evidence(lang: Lang, gateway: &Gateway, route: &Route) -> Markup {
    match gateway.evidence(route.name()) {
        Ok(Some(standing)) => standing_words(lang, &standing),
        Ok(None) if route.spec().evidence.is_some() => html! { p.hint { (lang.t(text::EVIDENCE_NOTHING)) } },
        Ok(None) => html! { p.hint { (lang.t(text::EVIDENCE_NONE)) } },
        // It was taken out meanwhile.
        Err(refused) => html! { p.hint { (refused) } },
    }
}

fn standing_words(lang: Lang, standing: &Standing) -> Markup {
    let (shape, word) = match standing.state {
        "waiting" => ("scheduled", text::EVIDENCE_WAITING),
        "held" => ("held", text::EVIDENCE_HELD),
        "last-step" => ("completed", text::EVIDENCE_LAST),
        _ => ("ended", text::EVIDENCE_OFF),
    };
    let missing = standing.need.saturating_sub(standing.have);
    html! {
        p { (parts::state(lang, shape, word)) " "
            @if let Some(until) = standing.held_until { (lang.t(text::UNTIL)) " " (parts::time(lang, Timestamp::from_millis(until))) }
        }
        @if standing.need > 0 {
            (parts::bar(standing.have, standing.need))
            p { (lang.f(text::EVIDENCE_HAVE, &[&format::number(standing.have), &format::number(standing.need)])) " "
                @if missing > 0 { span.hint { (lang.f(text::EVIDENCE_MISSING, &[&format::number(missing)])) } }
            }
        }
        @if !standing.findings.is_empty() {
            table.stack {
                thead { tr {
                    th scope="col" { (lang.t(text::RULE)) } th scope="col" { (lang.t(text::HOLDS)) }
                    th.num scope="col" { (lang.t(text::SEEN)) } th.num scope="col" { (lang.t(text::AT_MOST)) } th.num scope="col" { (lang.t(text::LIMIT)) }
                } }
                tbody { @for finding in &standing.findings {
                    @let ratio = finding.rule == "p99-ratio";
                    @let amount = |n: f64| if ratio { format!("× {n:.2}") } else { rate(n) };
                    tr {
                        th scope="row" { (lang.t(text::rule(finding.rule))) }
                        td {
                            @if !finding.holds && finding.at_most.is_none() { (parts::state(lang, "scheduled", text::NOT_KNOWN_YET)) }
                            @else { (parts::holds(lang, finding.holds)) }
                        }
                        td.num data-label=(lang.t(text::SEEN)) { (amount(finding.seen)) }
                        td.num data-label=(lang.t(text::AT_MOST)) { @match finding.at_most {
                            Some(bound) => { b { (amount(bound)) } },
                            None => { span.hint { (lang.t(text::NOT_ENOUGH)) } },
                        } }
                        td.num data-label=(lang.t(text::LIMIT)) { (amount(finding.limit)) }
                    }
                } }
            }
            p.hint { (lang.f(text::EVIDENCE_SURE, &[&format!("{:.2}", standing.confidence * 100.0), &standing.look.to_string()])) }
        }
        @if standing.backs > 0 { p.hint { (lang.f(text::EVIDENCE_BACKS, &[&standing.backs.to_string()])) } }
    }
}

/// A rate, finely enough to compare it with a small limit.
fn rate(share: f64) -> String {
    if share == 0.0 { "0 %".into() } else { format!("{:.3} %", share * 100.0) }
}

pub(crate) fn judgement(lang: Lang, of: Judgement) -> Markup {
    match of {
        Judgement::Open => parts::state(lang, "held", text::JUDGED_OPEN),
        Judgement::Ignore => parts::state(lang, "ended", text::JUDGED_IGNORE),
        Judgement::Bug => parts::state(lang, "failed", text::JUDGED_BUG),
    }
}

/// The groups of mismatches of a route.
pub(crate) fn groups(lang: Lang, gateway: &Gateway, route: &str) -> Markup {
    let groups: Vec<Group> = gateway.groups(route).unwrap_or_default();
    if groups.is_empty() {
        return html! { p.hint { (lang.t(text::NO_MISMATCHES)) } };
    }
    html! {
        table.stack {
            thead { tr {
                th scope="col" { (lang.t(text::WHERE)) } th scope="col" { (lang.t(text::KIND)) } th scope="col" { (lang.t(text::JUDGED)) }
                th.num scope="col" { (lang.t(text::TIMES)) } th scope="col" { (lang.t(text::LAST_SEEN)) }
            } }
            tbody { @for group in &groups {
                tr {
                    th scope="row" { a.mono href=(group_href(route, &group.id)) { (group.path) } }
                    td { (lang.t(text::kind_of_difference(group.kind.as_str()))) }
                    td { (judgement(lang, group.judgement())) }
                    td.num data-label=(lang.t(text::TIMES)) { (format::number(group.count)) }
                    td.quiet data-label=(lang.t(text::LAST_SEEN)) { (parts::time(lang, Timestamp::from_millis(group.last_at))) }
                }
            } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_the_decimals_they_need() {
        for (share, text) in [(0.0, "0 %"), (0.01, "0.01 %"), (12.5, "12.5 %"), (100.0, "100 %")] {
            assert_eq!(percent(share), text);
        }
        assert_eq!((rate(0.0), rate(0.00012)), ("0 %".to_owned(), "0.012 %".to_owned()));
    }
}
