//! Sagas by state, the newest first; and those that are parked, by age or by the money at risk, with what to do about them.

use crate::format;
use crate::forms;
use crate::gate::{Fields, Viewer};
use crate::layout::{self, Page, Section, fact};
use crate::link;
use crate::pages::members::as_of;
use crate::pages::saga_timeline::fields_of;
use crate::pages::{ROWS_PER_LOOK, ROWS_PER_PAGE, look, read_record, saga_change};
use crate::parts;
use crate::steps;
use crate::text::{self, Lang, Text};
use axum::extract::Query;
use axum::response::{IntoResponse, Redirect, Response};
use banyan_domain::saga::{Definition, End, Phase, Saga, StepState};
use banyan_domain::{Currency, SagaKey, SagaNo, Timestamp};
use banyan_log::Seq;
use banyan_views::record::{ParkedOrder, SagaRecord, SagaShown, SagaTotals};
use http::{HeaderMap, StatusCode};
use maud::{Markup, html};
use std::collections::BTreeMap;

/// Sagas on one page.
const PAGE_SAGAS: usize = 50;

/// Parked sagas read at once: the first are shown, all are added up.
const PARKED_READ: usize = 1_000;

const TABS: [(&str, SagaShown, Text); 5] = [
    ("parked", SagaShown::Parked, text::TAB_PARKED),
    ("running", SagaShown::Running, text::TAB_RUNNING),
    ("compensating", SagaShown::Compensating, text::TAB_BACK),
    ("completed", SagaShown::Completed, text::TAB_COMPLETED),
    ("compensated", SagaShown::Compensated, text::TAB_COMPENSATED),
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
    /// Steps behind it, and all, while it is in memory.
    pub(crate) passed: Option<(usize, usize)>,
    pub(crate) parked: Option<(Timestamp, String)>,
    pub(crate) risk: Option<Risk>,
    pub(crate) started_at: Timestamp,
    pub(crate) changed_at: Timestamp,
    /// Its mark, while it is in memory.
    pub(crate) mark: u64,
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

/// What the record store has, and what only the shard knows.
struct Found {
    totals: SagaTotals,
    /// Those that are parked, in the order asked for, if that is what is shown.
    parked: Vec<SagaRow>,
    rows: Vec<SagaRow>,
    /// The saga before which to look on, if there is more.
    next: Option<u64>,
    started: u64,
    definitions: usize,
    checkpoint: Seq,
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
            passed: Some((saga.steps.iter().filter(passed).count(), saga.steps.len())),
            parked: saga.parked.as_ref().map(|park| (park.since, park.why.to_string())),
            risk: Risk::of(saga, definition).filter(|_| !saga.is_over()),
            started_at: saga.started_at,
            changed_at: saga.changed_at,
            mark: saga.mark(),
        }
    }
}

impl From<SagaRecord> for SagaRow {
    fn from(of: SagaRecord) -> Self {
        let phase = match of.phase {
            SagaShown::Compensating => Phase::Compensating,
            SagaShown::Completed => Phase::Ended(End::Completed),
            SagaShown::Compensated => Phase::Ended(End::Compensated),
            SagaShown::Running | SagaShown::Parked => Phase::Running,
        };
        let currency = || Currency::new(fields_of(&of.input).get("currency")?).ok();
        let risk = of.at_risk.filter(|_| of.ended_at.is_none());
        Self {
            no: of.saga.get(),
            phase,
            at: of.parked_step.as_deref().map(|step| (step.to_owned(), StepState::Waiting)),
            passed: None,
            parked: of.parked_at.zip(of.parked_why.as_deref().map(str::to_owned)),
            risk: risk.map(|minor| Risk { minor, currency: currency() }),
            started_at: of.started_at,
            changed_at: of.changed_at,
            mark: 0,
            name: of.name.into(),
            key: of.key.into(),
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
    let found = match find(&viewer, &asked).await {
        Ok(found) => found,
        Err(problem) => return problem,
    };
    let beside = html! { a.button href="/console/sagas/definitions" { (lang.t(text::DEFINITIONS)) " " span.num { (format::number(found.definitions as u64)) } } };
    let is_parked = asked.state == "parked";
    let body = html! {
        (layout::title(lang.t(text::SAGAS), &beside))
        @if found.started == 0 {
            (parts::empty(lang.t(text::NO_SAGAS), lang.t(text::NO_SAGAS_HINT), Some((lang, "banyan saga define examples/sagas/checkout.toml"))))
        } @else {
            (filters(&viewer, &asked, &found.totals))
            div #list {
                @if is_parked { (parked(&viewer, &asked, &found)) }
                @else if found.rows.is_empty() { p.nothing { (lang.t(text::NO_SAGA_FITS)) " " a href="/console/sagas" { (lang.t(text::SHOW_ALL)) } } }
                @else { (table(lang, &found.rows)) }
                @if !is_parked { (pager(lang, &asked, found.next, found.rows.len() == PAGE_SAGAS)) }
                (as_of(&viewer, found.checkpoint))
            }
        }
        (parts::curl(&viewer, &link::with("/v1/sagas", &[("state", &asked.state)])))
    };
    Page::new(lang.t(text::SAGAS), Section::Sagas, body).show(&viewer).into_response()
}

/// What the address asks for: from the record store, which has every saga there ever was, with the steps of those that are
/// in memory as they are now.
async fn find(viewer: &Viewer, asked: &Asked) -> Result<Found, Response> {
    let lang = viewer.lang();
    let state = TABS.iter().find(|(name, ..)| *name == asked.state).map(|(_, state, _)| *state);
    let (is_parked, before) = (state == Some(SagaShown::Parked), asked.before.map(SagaNo::new));
    let order = if asked.sort == "risk" { ParkedOrder::AtRisk } else { ParkedOrder::Age };
    let read = read_record(viewer, move |record| {
        let parked = if is_parked { record.parked_sagas(order, PARKED_READ)? } else { Vec::new() };
        let page = if is_parked { None } else { Some(record.sagas(state, before, PAGE_SAGAS)?) };
        Ok((record.saga_totals()?, parked, page, record.checkpoint()?))
    });
    let (totals, parked, page, checkpoint) = read.await.map_err(|why| {
        let hint = lang.f(text::RECORD_UNREADABLE_HINT, &[&why]);
        viewer.problem(StatusCode::SERVICE_UNAVAILABLE, lang.t(text::RECORD_UNREADABLE), &hint)
    })?;
    let next = page.as_ref().and_then(|page| page.next).map(SagaNo::get);
    let rows: Vec<SagaRow> =
        page.map(|page| page.sagas).unwrap_or_default().into_iter().map(SagaRow::from).collect();
    let parked: Vec<SagaRow> = parked.into_iter().map(SagaRow::from).collect();
    let (rows, parked, started, definitions) = look(viewer, move |state| {
        let sagas = state.sagas();
        let fresh = |row: SagaRow| {
            let now = sagas.saga(SagaNo::new(row.no));
            let now = now.and_then(|saga| Some(SagaRow::new(saga, sagas.definition(saga.definition)?)));
            now.unwrap_or(row)
        };
        let rows = rows.into_iter().map(fresh).collect();
        // What is decided about is what is so now: the record store is a moment behind.
        let parked: Vec<_> = parked.into_iter().map(fresh).filter(|row| row.parked.is_some()).collect();
        (rows, parked, sagas.started(), sagas.definitions().count())
    })
    .await?;
    let found = Found { totals, parked, rows, next, started, definitions, checkpoint };
    if asked.q.is_empty() || is_parked {
        return Ok(found);
    }
    let (rows, next) = search(viewer, asked).await?;
    Ok(Found { rows, next, ..found })
}

/// The newest sagas in memory with what was typed in their key, and the number before which to look on.
async fn search(viewer: &Viewer, asked: &Asked) -> Result<(Vec<SagaRow>, Option<u64>), Response> {
    if let Ok(no) = asked.q.parse::<u64>() {
        let row = look(viewer, move |state| {
            let saga = state.sagas().saga(SagaNo::new(no))?;
            Some(SagaRow::new(saga, state.sagas().definition(saga.definition)?))
        });
        return Ok((row.await?.into_iter().collect(), None));
    }
    let Ok(key) = SagaKey::new(asked.q.as_str()) else { return Ok((Vec::new(), None)) };
    let state = TABS.iter().find(|(name, ..)| *name == asked.state).map(|(_, state, _)| *state);
    let (mut rows, mut looked, mut before) = (Vec::new(), 0, asked.before);
    loop {
        let (room, key) = (PAGE_SAGAS - rows.len(), key.clone());
        let part = look(viewer, move |all| {
            let sagas = all.sagas();
            let mut no = before.unwrap_or(u64::MAX).min(sagas.started() + 1);
            let lowest = no.saturating_sub(ROWS_PER_LOOK as u64).max(1);
            let mut rows = Vec::new();
            while no > lowest && rows.len() < room {
                no -= 1;
                let Some(saga) = sagas.saga(SagaNo::new(no)) else { continue };
                let fits = state.is_none_or(|state| shown(saga) == state)
                    && saga.key.as_str().contains(key.as_str());
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

const fn shown(saga: &Saga) -> SagaShown {
    match saga.phase {
        _ if saga.parked.is_some() => SagaShown::Parked,
        Phase::Running => SagaShown::Running,
        Phase::Compensating => SagaShown::Compensating,
        Phase::Ended(End::Completed) => SagaShown::Completed,
        Phase::Ended(End::Compensated) => SagaShown::Compensated,
    }
}

fn filters(viewer: &Viewer, asked: &Asked, totals: &SagaTotals) -> Markup {
    let lang = viewer.lang();
    let tab = |state: &str, word: Text, count: Option<u64>| {
        let href = link::with("/console/sagas", &[("state", state), ("q", &asked.q)]);
        html! {
            a href=(href) aria-current=[(asked.state == state).then_some("true")] {
                (lang.t(word)) @if let Some(count) = count { " " span.num { (format::number(count)) } }
            }
        }
    };
    let count = |state: SagaShown| match state {
        SagaShown::Parked => Some(totals.parked),
        SagaShown::Running => Some(totals.running),
        SagaShown::Compensating => Some(totals.compensating),
        // There may be very many, and nobody waits for the number.
        SagaShown::Completed | SagaShown::Compensated => None,
    };
    let tabs = html! {
        (tab("", text::ALL, None))
        @for (name, state, word) in TABS { (tab(name, word, count(state))) }
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
    html! {
        @match &row.at {
            Some((step, state)) => { (step) @if row.parked.is_none() { span.hint { ", " (lang.t(steps::step_words(state).1)) } } },
            None => { @match row.passed {
                Some((passed, all)) => { span.hint { (lang.f(text::STEPS_OF, &[&passed.to_string(), &all.to_string()])) } },
                None => { span.hint.none { "–" } },
            } },
        }
    }
}

/// The parked sagas: how much money is at risk, and what to do about each.
fn parked(viewer: &Viewer, asked: &Asked, found: &Found) -> Markup {
    let lang = viewer.lang();
    let mut rows: Vec<_> =
        found.parked.iter().filter(|row| asked.q.is_empty() || row.key.contains(&asked.q)).collect();
    let mut sums = BTreeMap::<Option<Currency>, i128>::new();
    for risk in rows.iter().filter_map(|row| row.risk) {
        *sums.entry(risk.currency).or_default() += i128::from(risk.minor);
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
            @if found.totals.parked > rows.len() as u64 { p.hint { (lang.f(text::AND_MORE, &[&format::number(found.totals.parked - rows.len() as u64)])) } }
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
