//! A group of mismatches of a route: samples with both answers side by side, and what people say of it.

use crate::format;
use crate::forms::{self, Attempt, Refused, wrong};
use crate::gate::{Fields, OperatorForm, Viewer};
use crate::layout::{self, Page, Section};
use crate::link;
use crate::pages::{gateway, route, route_change, route_parts};
use crate::parts;
use crate::sides::{Line, Row, rows};
use crate::text::{self, Lang};
use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Redirect, Response};
use banyan_domain::Timestamp;
use banyan_gateway::groups::{Group, Judgement, Sample};
use http::StatusCode;
use maud::{Markup, html};

const JUDGEMENTS: [(Judgement, &str); 3] =
    [(Judgement::Ignore, "ignore"), (Judgement::Bug, "bug"), (Judgement::Open, "open")];

/// Shows a group.
pub(crate) async fn show(
    viewer: Viewer,
    Path((route, group)): Path<(String, String)>,
    Query(query): Query<Fields>,
) -> Response {
    page(&viewer, &route, &group, &query, StatusCode::OK, None)
}

fn page(
    viewer: &Viewer,
    name: &str,
    id: &str,
    query: &Fields,
    status: StatusCode,
    attempt: Option<&Attempt>,
) -> Response {
    let lang = viewer.lang();
    let Some(of) = viewer.console.options.gateway.get() else {
        return gateway::page(viewer, query, StatusCode::NOT_FOUND, None);
    };
    let Ok(groups) = of.groups(name) else { return route::no_such(viewer, name) };
    let Some(group) = groups.iter().find(|group| group.id == id) else {
        let hint = lang.f(text::NO_SUCH_GROUP_HINT, &[name]);
        return viewer.problem(StatusCode::NOT_FOUND, lang.t(text::NO_SUCH_GROUP), &hint);
    };
    let kind = lang.t(text::kind_of_difference(group.kind.as_str()));
    let is_done = query.contains_key("done");
    let body = html! {
        nav.crumbs { a href=(gateway::HREF) { (lang.t(text::GATEWAY)) } a href=(route_parts::route_href(name)) { (name) } }
        (layout::title(&group.path, &route_parts::judgement(lang, group.judgement())))
        @if is_done { p.notice.well role="status" { strong { (lang.t(text::JUDGED_DONE)) } " " (lang.t(text::JUDGED_WAY_BACK)) } }
        dl.totals {
            (layout::fact(lang.t(text::KIND), &html! { (kind) }))
            (layout::count(lang.t(text::TIMES), group.count))
            (layout::fact(lang.t(text::FIRST_SEEN), &parts::time(lang, Timestamp::from_millis(group.first_at))))
            (layout::fact(lang.t(text::LAST_SEEN), &parts::time(lang, Timestamp::from_millis(group.last_at))))
        }
        (judge_form(viewer, name, group, attempt))
        (judged(lang, group))
        section #samples {
            h2 { (lang.t(text::SAMPLES)) }
            p.hint { (lang.t(text::SAMPLES_HINT)) }
            @for (index, sample) in group.samples.iter().enumerate() { (sample_of(lang, sample, &group.path, index == 0)) }
        }
        @if let Some(command) = gateway::admin_command(of, &format!("/v1/groups?route={}", link::encode(name))) {
            section.curl aria-label=(lang.t(text::CURL)) { h2 { (lang.t(text::CURL)) } (parts::command_line(lang, &command)) }
        }
    };
    (status, Page::new(&group.path, Section::Gateway, body).show(viewer)).into_response()
}

/// One reason, three buttons.
fn judge_form(viewer: &Viewer, name: &str, group: &Group, attempt: Option<&Attempt>) -> Markup {
    let lang = viewer.lang();
    let reason = attempt.map(|attempt| forms::field(&attempt.fields, "reason")).unwrap_or_default();
    html! {
        @if viewer.who.may_change() {
            form.judge method="post" action={(route_parts::group_href(name, &group.id)) "/change"} aria-label=(lang.t(text::JUDGE)) {
                (parts::csrf(viewer))
                @if let Some(attempt) = attempt { (parts::fault(&attempt.why)) }
                label for="judge-reason" { (lang.t(text::JUDGE_WHY)) }
                div.judge-line {
                    input #judge-reason name="reason" required maxlength="400" value=(reason) autocomplete="off" placeholder=(lang.t(text::JUDGE_EXAMPLE));
                    @for (judgement, word) in JUDGEMENTS {
                        @let (label, what) = judge_words(judgement);
                        button type="submit" name="judgement" value=(word) title=(lang.t(what)) .danger[judgement == Judgement::Bug]
                            aria-pressed=(if judgement == group.judgement() { "true" } else { "false" }) { (lang.t(label)) }
                    }
                }
                p.hint { (lang.t(text::JUDGE_WHAT)) }
            }
        }
    }
}

const fn judge_words(judgement: Judgement) -> (text::Text, text::Text) {
    match judgement {
        Judgement::Open => (text::JUDGE_OPEN, text::JUDGE_OPEN_WHAT),
        Judgement::Ignore => (text::JUDGE_IGNORE, text::JUDGE_IGNORE_WHAT),
        Judgement::Bug => (text::JUDGE_BUG, text::JUDGE_BUG_WHAT),
    }
}

fn judged(lang: Lang, group: &Group) -> Markup {
    html! {
        @if !group.judged.is_empty() {
            section {
                h2 { (lang.t(text::JUDGED_BEFORE)) }
                ol.actions.long { @for judged in group.judged.iter().rev() { li {
                    span.kind { (route_parts::judgement(lang, judged.judgement)) }
                    span.what { span.by { (lang.f(text::BY, &[&judged.by])) } q.reason { (judged.why) } }
                    (parts::time(lang, Timestamp::from_millis(judged.at)))
                } } }
            }
        }
    }
}

fn sample_of(lang: Lang, sample: &Sample, path: &str, open: bool) -> Markup {
    html! {
        details.sample open[open] {
            summary { code { (sample.method) " " (sample.path) } " " (parts::time(lang, Timestamp::from_millis(sample.at))) }
            @if !sample.differences.is_empty() {
                table.stack.differences {
                    thead { tr {
                        th scope="col" { (lang.t(text::WHERE)) } th scope="col" { (lang.t(text::KIND)) }
                        th scope="col" { (lang.t(text::SIDE_LEGACY)) } th scope="col" { (lang.t(text::SIDE_BANYAN)) }
                    } }
                    tbody { @for found in &sample.differences { tr.is-this[found.general == path] {
                        th scope="row" { code { (found.place) } }
                        td { (lang.t(text::kind_of_difference(found.kind.as_str()))) }
                        td data-label=(lang.t(text::SIDE_LEGACY)) { code.old { (found.legacy) } }
                        td data-label=(lang.t(text::SIDE_BANYAN)) { code.new { (found.banyan) } }
                    } } }
                }
            }
            (side_by_side(lang, sample))
        }
    }
}

fn side_by_side(lang: Lang, sample: &Sample) -> Markup {
    let rows = rows(&sample.legacy, &sample.banyan, &sample.differences);
    html! {
        table.sides {
            thead { tr { th scope="col" { (lang.t(text::SIDE_LEGACY)) } th scope="col" { (lang.t(text::SIDE_BANYAN)) } } }
            tbody { @for row in &rows { @match row {
                Row::Same(text) => { tr.same { td { (text) } td.twin { (text) } } },
                Row::Other(old, new) => { tr.other { (cell(lang, "old", old.as_ref())) (cell(lang, "new", new.as_ref())) } },
                Row::Folded(count) => { tr.folded { td colspan="2" { (lang.f(text::EQUAL_LINES, &[&format::number(*count as u64)])) } } },
                Row::Cut(left, right) => { tr.folded { td colspan="2" { (lang.f(text::CUT_LINES, &[&format::number(*left as u64), &format::number(*right as u64)])) } } },
            } } }
        }
    }
}

fn cell(lang: Lang, side: &str, line: Option<&Line>) -> Markup {
    html! {
        @match line {
            Some(line) if line.counts => { td class=(side) { span.sr { (lang.t(text::COUNTS)) ": " } mark { (line.text) } } },
            Some(line) => { td class=(side) { (line.text) } },
            None => { td class={(side) " nothing-here"} {} },
        }
    }
}

/// Judges a group.
pub(crate) async fn judge(Path((route, group)): Path<(String, String)>, form: OperatorForm) -> Response {
    let OperatorForm { viewer, fields } = form;
    match attempt(&viewer, &route, &group, &fields).await {
        Ok(()) => Redirect::to(&link::with(&route_parts::group_href(&route, &group), &[("done", "1")]))
            .into_response(),
        Err((status, why)) => {
            page(&viewer, &route, &group, &Fields::new(), status, Some(&Attempt { fields, why }))
        }
    }
}

async fn attempt(viewer: &Viewer, route: &str, group: &str, fields: &Fields) -> Result<(), Refused> {
    let lang = viewer.lang();
    let gateway = route_change::find(viewer)?;
    let reason = forms::reason(lang, forms::field(fields, "reason")).map_err(wrong)?;
    let asked = forms::field(fields, "judgement");
    let judgement = JUDGEMENTS.into_iter().find(|(_, word)| *word == asked).map(|(judgement, _)| judgement);
    let judgement =
        judgement.ok_or_else(|| (StatusCode::BAD_REQUEST, lang.t(text::FORM_AGAIN).to_owned()))?;
    let by = viewer.who.principal.name.to_string();
    let (route, group) = (route.to_owned(), group.to_owned());
    route_change::blocking(lang, move || gateway.judge(&route, &group, judgement, &by, reason.as_str()))
        .await?;
    Ok(())
}
