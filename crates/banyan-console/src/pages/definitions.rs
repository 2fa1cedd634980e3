//! What sagas do: each name with its newest version as a diagram, and every version of one name in full.

use crate::format;
use crate::gate::Viewer;
use crate::layout::{self, Page, Section, fact};
use crate::pages::look;
use crate::parts;
use crate::steps;
use crate::text::{self, Lang};
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use banyan_domain::SagaName;
use banyan_domain::saga::{Definition, Step, StepKind};
use http::StatusCode;
use maud::{Markup, html};
use std::collections::BTreeMap;

/// Names, and versions of one name, that a page shows: the newest. There may be ten thousand.
const SHOWN: usize = 100;

/// Lists every saga that is defined.
pub(crate) async fn show(viewer: Viewer) -> Response {
    let lang = viewer.lang();
    let found = look(&viewer, |state| {
        let sagas = state.sagas();
        let mut newest = BTreeMap::<SagaName, u32>::new();
        for (number, definition) in sagas.definitions() {
            newest.insert(definition.name.clone(), number);
        }
        let whole: Vec<Definition> =
            newest.values().take(SHOWN).filter_map(|no| sagas.definition(*no).cloned()).collect();
        (whole, newest.len())
    });
    let (definitions, names) = match found.await {
        Ok(found) => found,
        Err(problem) => return problem,
    };
    let body = html! {
        nav.crumbs { a href="/console/sagas" { (lang.t(text::SAGAS)) } }
        (layout::title(lang.t(text::DEFINITIONS), &html! {}))
        @if definitions.is_empty() {
            (parts::empty(lang.t(text::NO_DEFINITIONS), lang.t(text::NO_SAGAS_HINT), Some((lang, "banyan saga define examples/sagas/checkout.toml"))))
        }
        @for definition in &definitions {
            section.definition {
                header.line {
                    h2 { a href=(parts::definition_href(definition.name.as_str())) { (definition.name) } }
                    span.hint { (lang.f(text::VERSION_N, &[&definition.version.to_string()])) }
                }
                (steps::diagram(lang, definition, None))
            }
        }
        @if names > SHOWN { p.hint { (lang.f(text::AND_MORE, &[&format::number((names - SHOWN) as u64)])) } }
        (parts::curl(&viewer, "/v1/sagas/definitions"))
    };
    Page::new(lang.t(text::DEFINITIONS), Section::Sagas, body).show(&viewer).into_response()
}

/// Shows every version of one saga, the newest first.
pub(crate) async fn versions(viewer: Viewer, Path(name): Path<String>) -> Response {
    let lang = viewer.lang();
    let wanted = name.clone();
    let found = look(&viewer, move |state| {
        let of_name = state.sagas().definitions().filter(|(_, one)| one.name.as_str() == wanted);
        let mut all: Vec<Definition> = of_name.map(|(_, one)| one.clone()).collect();
        let count = all.len();
        all.drain(..count.saturating_sub(SHOWN));
        (all, count)
    });
    let (mut versions, count) = match found.await {
        Ok(found) => found,
        Err(problem) => return problem,
    };
    versions.reverse();
    if versions.is_empty() {
        let hint = lang.t(text::NO_SUCH_DEFINITION_HINT);
        return viewer.problem(StatusCode::NOT_FOUND, lang.t(text::NO_SUCH_DEFINITION), hint);
    }
    let body = html! {
        nav.crumbs {
            a href="/console/sagas" { (lang.t(text::SAGAS)) }
            a href="/console/sagas/definitions" { (lang.t(text::DEFINITIONS)) }
        }
        (layout::title(&name, &html! { @if count > 1 { span.hint { (lang.f(text::N_VERSIONS, &[&format::number(count as u64)])) } } }))
        @for (index, version) in versions.iter().enumerate() {
            section.definition {
                header.line {
                    h2 { (lang.f(text::VERSION_N, &[&version.version.to_string()])) @if index == 0 { " · " (lang.t(text::NEWEST_VERSION)) } }
                }
                (steps::diagram(lang, version, None))
                details open[index == 0] { summary { (lang.t(text::DETAILS)) } (details(lang, version)) }
            }
        }
        (parts::curl(&viewer, "/v1/sagas/definitions"))
    };
    Page::new(&name, Section::Sagas, body).show(&viewer).into_response()
}

fn details(lang: Lang, definition: &Definition) -> Markup {
    let endless = || lang.t(text::NO_DEADLINE).to_owned();
    let deadline = definition.deadline.map_or_else(endless, |span| format::span(lang, span));
    html! {
        dl.facts {
            (fact(lang.t(text::DEADLINE), &html! { (deadline) }))
            @if let Some(field) = &definition.at_risk { (fact(lang.t(text::RISK_FIELD), &html! { span.mono { (field) } })) }
        }
        div.scroll tabindex="0" role="region" aria-label=(lang.t(text::DETAILS)) {
            table {
                thead { tr {
                    th scope="col" { (lang.t(text::STEP)) }
                    th scope="col" { (lang.t(text::DOES)) }
                    th scope="col" { (lang.t(text::UNDOES)) }
                    th scope="col" { (lang.t(text::ASKS)) }
                    th scope="col" { (lang.t(text::PROMISES)) }
                    th scope="col" { (lang.t(text::PATIENCE)) }
                } }
                tbody { @for step in &definition.steps { (row(lang, step)) } }
            }
        }
    }
}

fn row(lang: Lang, step: &Step) -> Markup {
    let kind = match step.kind {
        StepKind::Compensatable => text::KIND_COMPENSATABLE,
        StepKind::Pivot => text::POINT_OF_NO_RETURN,
        StepKind::Retriable => text::KIND_RETRIABLE,
    };
    let target = |action: Option<&banyan_domain::saga::Action>| html! { @match action { Some(action) => { span.mono { (steps::target(action)) } }, None => { span.hint { "–" } } } };
    let promises = [
        (step.promises.idempotent, text::PROMISE_IDEMPOTENT),
        (step.promises.tombstone, text::PROMISE_TOMBSTONE),
        (step.promises.harmless, text::PROMISE_HARMLESS),
    ];
    let patience = step.patience;
    let words = [patience.timeout, patience.retry_first, patience.retry_longest]
        .map(|span| format::stopwatch(lang, span));
    let tries = patience.tries.to_string();
    let words = lang.f(text::PATIENCE_WORDS, &[&words[0], &tries, &words[1], &words[2]]);
    html! {
        tr {
            th scope="row" { b { (step.name) } span.id { (lang.t(kind)) @if let Some(field) = &step.when { ", " (lang.f(text::ONLY_WITH, &[field])) } } }
            td { (target(Some(&step.action))) }
            td { (target(step.undo.as_ref())) }
            td { (target(step.query.as_ref())) }
            td { @if promises.iter().any(|(kept, _)| *kept) { ul { @for (_, word) in promises.into_iter().filter(|(kept, _)| *kept) { li { (lang.t(word)) } } } } @else { span.hint { "–" } } }
            td { @if step.is_local() { span.hint { (lang.t(text::HERE)) } } @else { (words) } }
        }
    }
}
