//! Sagas by state, the newest first; and those that are parked, by age or by the money at risk, with what to do about them.

use crate::format;
use crate::forms;
use crate::gate::{Fields, Viewer};
use crate::layout::{self, Page, Section, fact};
use crate::link;
use crate::pages::{ROWS_PER_LOOK, ROWS_PER_PAGE, look, saga_change};
use crate::parts;
use crate::steps;
use crate::text::{self, Lang, Text};
use axum::extract::Query;
use axum::response::{IntoResponse, Redirect, Response};
use banyan_domain::saga::{Definition, Phase, Saga, Sagas, StepState};
use banyan_domain::{Currency, SagaKey, SagaNo, Timestamp};
use http::HeaderMap;
use maud::{Markup, html};
use std::collections::BTreeMap;

/// Sagas on one page.
const PAGE_SAGAS: usize = 50;

const TABS: [(&str, Text); 4] = [
    ("parked", text::TAB_PARKED),
    ("running", text::TAB_RUNNING),
    ("compensating", text::TAB_BACK),
    ("ended", text::TAB_ENDED),
];

/// One saga of the list.
#[derive(Clone, Debug)]
pub(crate) struct SagaRow {
    pub(crate) no: u64,
    pub(crate) name: String,
    pub(crate) key: String,
    pub(crate) phase: Phase,
    /// At which step it is, and what that does.
    pub(crate) at: Option<(String, StepState)>,
    /// Steps behind it, and all.
    pub(crate) passed: (usize, usize),
    pub(crate) parked: Option<(Timestamp, String)>,
    pub(crate) risk: Option<Risk>,
    pub(crate) started_at: Timestamp,
    pub(crate) changed_at: Timestamp,
}

/// The money at risk in a saga: minor units, of a currency where its input names one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Risk {
    pub(crate) minor: i64,
    pub(crate) currency: Option<Currency>,
}

/// What the address asks for.
struct Asked {
    state: String,
    q: String,
    sort: String,
    /// The saga before which to go on.
    before: Option<u64>,
}

/// How many sagas there are, and those that are parked.
#[derive(Default)]
struct Census {
    /// By tab, in the order of `TABS`.
    counts: [usize; 4],
    parked: Vec<SagaRow>,
    /// Whether some were not looked at.
    is_part: bool,
    started: u64,
    definitions: usize,
    seq: u64,
}

impl SagaRow {
    pub(crate) fn new(saga: &Saga, definition: &Definition) -> Self {
        let passed = |state: &&StepState| matches!(state, StepState::Done(_) | StepState::Skipped);
        let at = steps::stands_at(saga);
        Self {
            no: saga.no.get(),
            name: definition.name.to_string(),
            key: saga.key.to_string(),
            phase: saga.phase,
            at: at.and_then(|at| {
                Some((definition.steps.get(at)?.name.to_string(), saga.steps.get(at)?.clone()))
            }),
            passed: (saga.steps.iter().filter(passed).count(), saga.steps.len()),
            parked: saga.parked.as_ref().map(|park| (park.since, park.why.to_string())),
            risk: Risk::of(saga, definition).filter(|_| !saga.is_over()),
            started_at: saga.started_at,
            changed_at: saga.changed_at,
        }
    }
}

impl Risk {
    pub(crate) fn of(saga: &Saga, definition: &Definition) -> Option<Self> {
        let minor = saga.input.get(definition.at_risk.as_deref()?)?.parse().ok()?;
        let currency = saga.input.get("currency").and_then(|currency| Currency::new(currency).ok());
        Some(Self { minor, currency })
    }

    pub(crate) fn words(self, lang: Lang) -> String {
        sum(lang, self.minor.into(), self.currency)
    }
}

fn sum(lang: Lang, minor: i128, currency: Option<Currency>) -> String {
    match currency {
        Some(currency) => format::amount(minor, currency),
        None => lang.f(text::MINOR_UNITS, &[&format::number(u64::try_from(minor).unwrap_or_default())]),
    }
}

/// The tab of `TABS` a saga is under, beside "parked".
const fn tab_of(phase: Phase) -> usize {
    match phase {
        Phase::Running => 1,
        Phase::Compensating => 2,
        Phase::Ended(_) => 3,
    }
}

/// Lists sagas.
pub(crate) async fn show(viewer: Viewer, headers: HeaderMap, Query(query): Query<Fields>) -> Response {
    let lang = viewer.lang();
    let field = |name: &str| forms::field(&query, name).to_owned();
    let asked = Asked {
        state: field("state"),
        q: field("q"),
        sort: field("sort"),
        before: field("before").parse().ok(),
    };
    // A number is a saga's own address; while somebody types, it stands in the list.
    if let Ok(no) = asked.q.parse::<u64>()
        && !headers.contains_key("hx-request")
        && let Ok(true) = look(&viewer, move |state| state.sagas().saga(SagaNo::new(no)).is_some()).await
    {
        return Redirect::to(&parts::saga_href(no)).into_response();
    }
    let found = async { Ok::<_, Response>((census(&viewer).await?, find(&viewer, &asked).await?)) };
    let (census, (rows, more)) = match found.await {
        Ok(found) => found,
        Err(problem) => return problem,
    };
    let beside = html! { a.button href="/console/sagas/definitions" { (lang.t(text::DEFINITIONS)) " " span.num { (format::number(census.definitions as u64)) } } };
    let is_parked = asked.state == "parked";
    let body = html! {
        (layout::title(lang.t(text::SAGAS), &beside))
        @if census.started == 0 {
            (parts::empty(lang.t(text::NO_SAGAS), lang.t(text::NO_SAGAS_HINT), Some((lang, "banyan saga define examples/sagas/checkout.toml"))))
        } @else {
            (filters(&viewer, &asked, &census))
            div #list {
                @if is_parked { (parked(&viewer, &asked, &census)) }
                @else if rows.is_empty() { p.nothing { (lang.t(text::NO_SAGA_FITS)) " " a href="/console/sagas" { (lang.t(text::SHOW_ALL)) } } }
                @else { (table(lang, &rows)) }
                @if !is_parked { (pager(lang, &asked, more, rows.len() == PAGE_SAGAS)) }
                p.hint { (lang.t(text::ENDED_LEAVE)) " " (lang.f(text::AS_OF_NOW, &[&format::number(census.seq)])) }
            }
        }
        (parts::curl(&viewer, &link::with("/v1/sagas", &[("state", &asked.state)])))
    };
    Page::new(lang.t(text::SAGAS), Section::Sagas, body).show(&viewer).into_response()
}

/// Counts the sagas in memory, the oldest first: what has been parked for long comes first.
async fn census(viewer: &Viewer) -> Result<Census, Response> {
    let (mut census, mut after, mut looked) = (Census::default(), Some(0), 0);
    while let Some(from) = after.filter(|_| looked < ROWS_PER_PAGE) {
        let part = look(viewer, move |state| count(state.sagas(), SagaNo::new(from), state.seq()));
        let (part, next) = part.await?;
        for (sum, count) in census.counts.iter_mut().zip(part.counts) {
            *sum += count;
        }
        census.parked.extend(part.parked);
        census = Census { started: part.started, definitions: part.definitions, seq: part.seq, ..census };
        looked += ROWS_PER_LOOK;
        after = next;
    }
    census.is_part = after.is_some();
    Ok(census)
}

fn count(sagas: &Sagas, after: SagaNo, seq: u64) -> (Census, Option<u64>) {
    let (started, definitions) = (sagas.started(), sagas.definitions().count());
    let mut census = Census { started, definitions, seq, ..Census::default() };
    let (mut last, mut visited) = (None, 0);
    for saga in sagas.sagas_after(after).take(ROWS_PER_LOOK) {
        visited += 1;
        last = Some(saga.no.get());
        if saga.parked.is_some() {
            census.counts[0] += 1;
            census.parked.extend(sagas.definition(saga.definition).map(|known| SagaRow::new(saga, known)));
        } else {
            census.counts[tab_of(saga.phase)] += 1;
        }
    }
    (census, last.filter(|_| visited == ROWS_PER_LOOK))
}

/// The newest sagas that fit, and the number before which to look on.
async fn find(viewer: &Viewer, asked: &Asked) -> Result<(Vec<SagaRow>, Option<u64>), Response> {
    if asked.state == "parked" {
        return Ok((Vec::new(), None));
    }
    if let Ok(no) = asked.q.parse::<u64>() {
        let row = look(viewer, move |state| {
            let saga = state.sagas().saga(SagaNo::new(no))?;
            Some(SagaRow::new(saga, state.sagas().definition(saga.definition)?))
        });
        return Ok((row.await?.into_iter().collect(), None));
    }
    let tab = TABS.iter().position(|(name, _)| *name == asked.state);
    let key = SagaKey::new(asked.q.as_str()).ok();
    if !asked.q.is_empty() && key.is_none() {
        return Ok((Vec::new(), None));
    }
    let (mut rows, mut looked, mut before) = (Vec::new(), 0, asked.before);
    loop {
        let (room, key) = (PAGE_SAGAS - rows.len(), key.clone());
        let part = look(viewer, move |state| {
            let sagas = state.sagas();
            let mut no = before.unwrap_or(u64::MAX).min(sagas.started() + 1);
            let lowest = no.saturating_sub(ROWS_PER_LOOK as u64).max(1);
            let mut rows = Vec::new();
            while no > lowest && rows.len() < room {
                no -= 1;
                let Some(saga) = sagas.saga(SagaNo::new(no)) else { continue };
                let fits = tab.is_none_or(|tab| saga.parked.is_none() && tab_of(saga.phase) == tab)
                    && key.as_ref().is_none_or(|key| saga.key.as_str().contains(key.as_str()));
                if fits {
                    rows.extend(sagas.definition(saga.definition).map(|known| SagaRow::new(saga, known)));
                }
            }
            (rows, no)
        });
        let (part, no) = part.await?;
        rows.extend(part);
        before = Some(no);
        looked += ROWS_PER_LOOK;
        if no <= 1 || rows.len() == PAGE_SAGAS || looked >= ROWS_PER_PAGE {
            return Ok((rows, (no > 1).then_some(no)));
        }
    }
}

fn filters(viewer: &Viewer, asked: &Asked, census: &Census) -> Markup {
    let lang = viewer.lang();
    let tab = |state: &str, word: Text, count: usize| {
        let href = link::with("/console/sagas", &[("state", state), ("q", &asked.q)]);
        html! {
            a href=(href) aria-current=[(asked.state == state).then_some("true")] {
                (lang.t(word)) " " span.num { (format::number(count as u64)) @if census.is_part { "+" } }
            }
        }
    };
    let tabs = html! {
        (tab("", text::ALL, census.counts.iter().sum()))
        @for ((state, word), count) in TABS.into_iter().zip(census.counts) { (tab(state, word, count)) }
    };
    parts::filters(viewer, "/console/sagas", &tabs, &asked.state, text::FIND_SAGA, &asked.q)
}

fn table(lang: Lang, rows: &[SagaRow]) -> Markup {
    html! {
        table.stack {
            thead { tr {
                th scope="col" { (lang.t(text::SAGA)) }
                th scope="col" { (lang.t(text::STATE)) }
                th scope="col" { (lang.t(text::STANDS_AT)) }
                th.num scope="col" { (lang.t(text::AT_RISK)) }
                th scope="col" { (lang.t(text::STARTED)) }
                th scope="col" { (lang.t(text::CHANGED)) }
            } }
            tbody { @for row in rows {
                tr {
                    (heading(row))
                    td { (steps::saga_state(lang, row.phase, row.parked.is_some())) }
                    td data-label=(lang.t(text::STANDS_AT)) { span { (stands(lang, row)) } }
                    td.num data-label=(lang.t(text::AT_RISK)) { @match row.risk { Some(risk) => { (risk.words(lang)) }, None => { span.hint.none { "–" } } } }
                    td data-label=(lang.t(text::STARTED)) { (parts::time(lang, row.started_at)) }
                    td data-label=(lang.t(text::CHANGED)) { (parts::time(lang, row.changed_at)) }
                }
            } }
        }
    }
}

fn heading(row: &SagaRow) -> Markup {
    html! {
        th scope="row" {
            a href=(parts::saga_href(row.no)) { (row.name) " " span.num { (row.no) } }
            span.id.mono title=(row.key) { (parts::short(&row.key)) }
        }
    }
}

fn stands(lang: Lang, row: &SagaRow) -> Markup {
    let (passed, all) = (format::number(row.passed.0 as u64), format::number(row.passed.1 as u64));
    html! {
        @match &row.at {
            Some((step, state)) => { (step) @if row.parked.is_none() { span.hint { ", " (lang.t(steps::step_words(state).1)) } } },
            None => { span.hint { (lang.f(text::STEPS_OF, &[&passed, &all])) } },
        }
    }
}

/// The parked sagas: how much money is at risk, and what to do about each.
fn parked(viewer: &Viewer, asked: &Asked, census: &Census) -> Markup {
    let lang = viewer.lang();
    let mut rows: Vec<_> =
        census.parked.iter().filter(|row| asked.q.is_empty() || row.key.contains(&asked.q)).collect();
    let mut sums = BTreeMap::<Option<Currency>, i128>::new();
    for risk in rows.iter().filter_map(|row| row.risk) {
        *sums.entry(risk.currency).or_default() += i128::from(risk.minor);
    }
    if asked.sort == "risk" {
        rows.sort_by_key(|row| std::cmp::Reverse(row.risk.map_or(0, |risk| risk.minor)));
    } else {
        rows.sort_by_key(|row| row.parked.as_ref().map(|(since, _)| *since));
    }
    rows.truncate(PAGE_SAGAS);
    let sort = |name: &str, word: Text| {
        let href = link::with("/console/sagas", &[("state", "parked"), ("q", &asked.q), ("sort", name)]);
        html! { a href=(href) aria-current=[(asked.sort == name).then_some("true")] { (lang.t(word)) } }
    };
    html! {
        @if rows.is_empty() { (parts::empty(lang.t(text::NO_PARKED), lang.t(text::NO_PARKED_HINT), None)) }
        @else {
            div.line {
                dl.totals.plain-line {
                    @for (currency, minor) in &sums { (fact(lang.t(text::MONEY_AT_RISK), &html! { (sum(lang, *minor, *currency)) })) }
                }
                nav.tabs aria-label=(lang.t(text::SORT)) { (sort("", text::BY_AGE)) (sort("risk", text::BY_RISK)) }
            }
            table.stack {
                thead { tr {
                    th scope="col" { (lang.t(text::SAGA)) }
                    th scope="col" { (lang.t(text::PARKED_SINCE)) }
                    th.num scope="col" { (lang.t(text::AT_RISK)) }
                    th scope="col" { (lang.t(text::STANDS_AT)) }
                    th scope="col" { span.sr { (lang.t(text::DECIDE)) } }
                } }
                tbody { @for row in &rows {
                    tr {
                        (heading(row))
                        td data-label=(lang.t(text::PARKED_SINCE)) { @if let Some((since, _)) = &row.parked { (parts::time(lang, *since)) } }
                        td.num data-label=(lang.t(text::AT_RISK)) { b { @match row.risk { Some(risk) => { (risk.words(lang)) }, None => { "–" } } } }
                        td.what { @if let Some((step, _)) = &row.at { b { (step) } ": " } @if let Some((_, why)) = &row.parked { (why) } }
                        td.what { @if viewer.who.may_change() { (saga_change::decide(viewer, row)) } }
                    }
                } }
            }
            @if census.parked.len() > PAGE_SAGAS || census.is_part { p.hint { (lang.f(text::LOOKED_ROWS, &[&format::number(census.parked.len() as u64)])) } }
        }
    }
}

fn pager(lang: Lang, asked: &Asked, more: Option<u64>, full: bool) -> Markup {
    let href = |before: &str| {
        link::with("/console/sagas", &[("state", &asked.state), ("q", &asked.q), ("before", before)])
    };
    html! {
        nav.pager aria-label=(lang.t(text::PAGES)) {
            @if asked.before.is_some() { a.button href=(href("")) { (lang.t(text::NEWEST)) } }
            @if let Some(more) = more { a.button rel="next" href=(href(&more.to_string())) { (lang.t(if full { text::OLDER } else { text::LOOK_FURTHER })) } }
        }
    }
}
