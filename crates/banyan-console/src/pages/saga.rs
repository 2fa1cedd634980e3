//! One saga: where it stands, what happened to it, and what may be decided.

use crate::format;
use crate::forms::Attempt;
use crate::gate::{Fields, Viewer};
use crate::layout::{self, Page, Section, fact};
use crate::log_pages::{self, Found};
use crate::pages::saga_timeline::{TimelineEntry, What};
use crate::pages::sagas::Risk;
use crate::pages::{look, read_record, saga_change, saga_timeline};
use crate::parts;
use crate::steps;
use crate::text::{self, Lang, Text};
use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Response};
use banyan_domain::saga::{Cause, Definition, End, Event as SagaEvent, Phase, Saga, StepState, Try};
use banyan_domain::{Event, OrderNo, SagaNo};
use banyan_log::Seq;
use banyan_views::record::{SagaRecord, SagaStepRecord};
use http::StatusCode;
use maud::{Markup, html};

/// Events of a saga shown from the log: the newest.
const EVENTS_SHOWN: usize = 400;
/// Rows of a saga's course shown from the record store: the first.
const EVENTS_RECORDED: usize = 1_000;

/// Events that may follow from a decision at once: a few for each of the 32 steps.
const FOLLOWED_MAX: u64 = 128;

/// Shows a saga.
pub(crate) async fn show(viewer: Viewer, Path(no): Path<String>, Query(query): Query<Fields>) -> Response {
    page(&viewer, &no, &query, StatusCode::OK, None).await
}

pub(crate) fn no_such(viewer: &Viewer, no: &str) -> Response {
    let lang = viewer.lang();
    let hint = lang.f(text::NO_SUCH_SAGA_HINT, &[no]);
    viewer.problem(StatusCode::NOT_FOUND, lang.t(text::NO_SUCH_SAGA), &hint)
}

/// The page, with an attempt at a decision that failed if there was one.
pub(crate) async fn page(
    viewer: &Viewer,
    no: &str,
    query: &Fields,
    status: StatusCode,
    attempt: Option<&Attempt>,
) -> Response {
    let Ok(number) = no.parse::<u64>().map(SagaNo::new) else { return no_such(viewer, no) };
    let seen = look(viewer, move |state| {
        let sagas = state.sagas();
        let known = sagas
            .saga(number)
            .and_then(|saga| Some((saga.clone(), sagas.definition(saga.definition)?.clone())));
        (known, number.get() <= sagas.started(), state.seq())
    });
    let (known, ever, seq) = match seen.await {
        Ok(seen) => seen,
        Err(problem) => return problem,
    };
    if !ever || number.get() == 0 {
        return no_such(viewer, no);
    }
    let events = log_pages::off_thread(viewer.console.app.shard(), move |shard| {
        let want = |entry: &_| saga_timeline::wanted(entry, number);
        log_pages::look_back(shard, u64::MAX, EVENTS_SHOWN, &want)
    });
    let (events, whole, fault) = match events.await {
        Ok(page) => {
            let whole = page.events.last().is_some_and(is_start);
            (page.events, whole, None)
        }
        Err(why) => (Vec::new(), false, Some(why)),
    };
    // What lies further back in the log, the record store has.
    let recorded = match whole {
        true => None,
        false => recorded(viewer, number).await,
    };
    let told = Told { events: &events, whole, recorded: recorded.as_ref(), fault: fault.as_deref(), seq };
    match known {
        Some((saga, definition)) => {
            let body = body(viewer, &saga, &definition, &told, query, attempt);
            let title = format!("{} {}", definition.name, saga.no.get());
            (status, Page::new(&title, Section::Sagas, body).show(viewer)).into_response()
        }
        None => gone(viewer, number, &told).await,
    }
}

/// What the log tells of a saga.
struct Told<'a> {
    /// Newest first.
    events: &'a [Found],
    /// Whether its beginning is among them.
    whole: bool,
    /// What the record store tells, if that is needed.
    recorded: Option<&'a (SagaRecord, Vec<SagaStepRecord>)>,
    /// Why the log could not be read, if so.
    fault: Option<&'a str>,
    seq: u64,
}

impl Told<'_> {
    /// The timeline, and whether it begins at the beginning.
    fn entries(&self, saga: Option<&Saga>) -> (Vec<TimelineEntry>, bool) {
        match (self.recorded, self.events, saga) {
            (Some((saga, rows)), ..) => {
                (saga_timeline::from_record(saga, rows), rows.len() < EVENTS_RECORDED)
            }
            (None, [], Some(saga)) => (saga_timeline::from_state(saga), false),
            (None, events, _) => (saga_timeline::from_log(events), self.whole),
        }
    }
}

/// What the record store has of a saga. A store that cannot be read is told on every page already.
async fn recorded(viewer: &Viewer, no: SagaNo) -> Option<(SagaRecord, Vec<SagaStepRecord>)> {
    let read = read_record(viewer, move |record| {
        let Some(saga) = record.saga(no)? else { return Ok(None) };
        Ok(Some((saga, record.saga_steps(no, Seq(0), EVENTS_RECORDED)?)))
    });
    read.await.ok().flatten()
}

const fn is_start(found: &Found) -> bool {
    matches!(found.entry.event, Event::Saga(SagaEvent::Started { .. }))
}

/// A saga that left memory: what the log or the record store still tells of it.
async fn gone(viewer: &Viewer, number: SagaNo, told: &Told<'_>) -> Response {
    let lang = viewer.lang();
    let start = told.events.last().map(|found| &found.entry.event);
    let (definition, key, input) = match (start, told.recorded) {
        (Some(Event::Saga(SagaEvent::Started { definition, key, input, .. })), _) => {
            let wanted = *definition;
            let found = look(viewer, move |state| state.sagas().definition(wanted).cloned()).await;
            (found, key.to_string(), input.clone())
        }
        (_, Some((saga, _))) => {
            let (name, version) = (saga.name.clone(), saga.version);
            let found = look(viewer, move |state| {
                let is_it = |one: &&Definition| one.version == version && one.name.as_str() == &*name;
                state.sagas().definitions().map(|(_, one)| one).find(is_it).cloned()
            });
            (found.await, saga.key.to_string(), saga_timeline::fields_of(&saga.input))
        }
        _ => return no_such(viewer, &number.get().to_string()),
    };
    let definition = match definition {
        Ok(Some(definition)) => definition,
        Ok(None) => return no_such(viewer, &number.get().to_string()),
        Err(problem) => return problem,
    };
    let (entries, whole) = told.entries(None);
    let phase = match entries.last().map(|entry| &entry.what) {
        Some(What::Ended(end)) => Phase::Ended(*end),
        _ => Phase::Ended(End::Completed),
    };
    let title = format!("{} {}", definition.name, number.get());
    let body = html! {
        (crumbs(lang))
        (layout::title(&title, &html! { (steps::saga_state(lang, phase, false)) (about(lang, &key)) }))
        p.notice { (lang.t(text::SAGA_GONE)) }
        (steps::diagram(lang, &definition, None))
        (timeline(viewer, &definition, &entries, whole, told))
        (fields(lang, text::INPUT, input.iter()))
    };
    Page::new(&title, Section::Sagas, body).show(viewer).into_response()
}

/// What a saga is about: an order has a page.
fn about(lang: Lang, key: &str) -> Markup {
    html! {
        @if OrderNo::parse(key.split('.').next().unwrap_or_default()).is_ok() { (parts::order_link(key)) }
        @else { (parts::copy(lang, key, &parts::short(key))) }
    }
}

fn crumbs(lang: Lang) -> Markup {
    html! { nav.crumbs { a href="/console/sagas" { (lang.t(text::SAGAS)) } } }
}

fn body(
    viewer: &Viewer,
    saga: &Saga,
    definition: &Definition,
    told: &Told<'_>,
    query: &Fields,
    attempt: Option<&Attempt>,
) -> Markup {
    let (lang, no, key) = (viewer.lang(), saga.no.get(), saga.key.as_str());
    let (entries, whole) = told.entries(Some(saga));
    html! {
        (crumbs(lang))
        (layout::title(&format!("{} {no}", definition.name), &html! {
            (steps::saga_state(lang, saga.phase, saga.parked.is_some()))
            (about(lang, key))
        }))
        (done(lang, told, query))
        (parked(lang, saga, definition, viewer.who.may_change()))
        (steps::diagram(lang, definition, Some(saga)))
        div.columns {
            div {
                (timeline(viewer, definition, &entries, whole, told))
                (outputs(lang, saga, definition))
                (fields(lang, text::INPUT, saga.input.iter()))
            }
            div.side-column {
                (saga_change::panel(viewer, saga, definition, attempt))
                (facts(lang, saga, definition))
            }
        }
        p.hint { (lang.f(text::AS_OF_NOW, &[&format::number(told.seq)])) }
        (parts::curl(viewer, &format!("/v1/sagas/{no}")))
    }
}

/// What a decision became: told from the event itself. The answer names the last event of all that followed at once.
fn done(lang: Lang, told: &Told<'_>, query: &Fields) -> Markup {
    let Some(answered) = query.get("done").and_then(|seq| seq.parse::<u64>().ok()) else { return html! {} };
    let word = |found: &Found| match &found.entry.event {
        Event::Saga(SagaEvent::Resumed { .. }) => Some((found.seq, text::SAGA_RESUMED)),
        Event::Saga(SagaEvent::TurnedBack { cause: Cause::Cancelled(..), .. }) => {
            Some((found.seq, text::SAGA_TURNED))
        }
        _ => None,
    };
    let near = |found: &&Found| (answered.saturating_sub(FOLLOWED_MAX)..=answered).contains(&found.seq);
    let Some((seq, word)) = told.events.iter().filter(near).find_map(word) else { return html! {} };
    html! {
        p.notice.well role="status" {
            strong { (lang.t(word)) ". " } (lang.t(text::BECAME)) " "
            a href=(parts::event_href(seq)) { (lang.f(text::EVENT_N, &[&format::number(seq)])) } ". " (lang.t(text::NO_WAY_BACK))
        }
    }
}

fn parked(lang: Lang, saga: &Saga, definition: &Definition, may_decide: bool) -> Markup {
    let Some(park) = &saga.parked else { return html! {} };
    let step =
        definition.steps.get(usize::from(park.step)).map(|step| step.name.to_string()).unwrap_or_default();
    html! {
        div.notice.wait role="status" {
            strong { (lang.f(text::PARKED_NOTICE, &[&step])) } " " (parts::time(lang, park.since)) ": " (park.why)
            @if let Some(risk) = Risk::of(saga, definition) { ". " (lang.t(text::MONEY_AT_RISK)) ": " b { (risk.words(lang)) } }
            @if may_decide { " · " a href="#actions" { (lang.t(text::DECIDE)) } }
        }
    }
}

fn timeline(
    viewer: &Viewer,
    definition: &Definition,
    entries: &[TimelineEntry],
    whole: bool,
    told: &Told<'_>,
) -> Markup {
    let lang = viewer.lang();
    html! {
        section #timeline {
            h2 { (lang.t(text::TIMELINE)) }
            @if let Some(why) = told.fault { p.hint { (lang.f(text::LOG_UNREADABLE_HINT, &[why])) } }
            @else if !whole { p.hint { (lang.t(text::TIMELINE_SHORT)) } }
            (saga_timeline::show(viewer, definition, entries))
        }
    }
}

fn facts(lang: Lang, saga: &Saga, definition: &Definition) -> Markup {
    let risk = Risk::of(saga, definition).filter(|_| !saga.is_over());
    let version = html! {
        a href=(parts::definition_href(definition.name.as_str())) { (definition.name) } ", " (lang.f(text::VERSION_N, &[&definition.version.to_string()]))
    };
    html! {
        section {
            h2 { (lang.t(text::DETAILS)) }
            dl.facts {
                (fact(lang.t(text::DEFINITION), &version))
                @if let Some(risk) = risk { (fact(lang.t(text::MONEY_AT_RISK), &html! { (risk.words(lang)) })) }
                (fact(lang.t(text::STARTED), &parts::time(lang, saga.started_at)))
                (fact(lang.t(text::CHANGED), &parts::time(lang, saga.changed_at)))
                @if let Some(cause) = &saga.cause { (fact(lang.t(text::TURNED_BACK_WHY), &saga_timeline::cause(lang, definition, cause))) }
                (waits(lang, saga, definition))
            }
        }
    }
}

/// What it waits for, and when it moves by itself.
fn waits(lang: Lang, saga: &Saga, definition: &Definition) -> Markup {
    let under_way = saga.steps.iter().zip(&definition.steps).find_map(|(state, step)| match state {
        StepState::Doing(tried) | StepState::Undoing(tried) => Some((step, state, tried)),
        _ => None,
    });
    html! {
        @if let Some((step, state, tried)) = under_way {
            @if saga.parked.is_none() {
                (fact(lang.t(text::WAITS), &html! { (step.name) ": " (lang.t(steps::step_words(state).1)) }))
            }
            (fact(lang.t(text::TRIES), &html! { (tries(lang, tried)) " / " (step.patience.tries) }))
        }
        @if let Some(due) = saga.due(definition) { (fact(lang.t(text::NEXT_BY_ITSELF), &parts::time(lang, due))) }
    }
}

fn tries(lang: Lang, tried: &Try) -> String {
    match tried.asked {
        0 => tried.attempt.to_string(),
        asked => format!("{} ({} {asked})", tried.attempt, lang.t(text::QUESTIONS)),
    }
}

/// What the steps have said to those after them.
fn outputs(lang: Lang, saga: &Saga, definition: &Definition) -> Markup {
    let said: Vec<_> = saga
        .steps
        .iter()
        .zip(&definition.steps)
        .filter_map(|(state, step)| Some((step, state.output().filter(|output| !output.is_empty())?)))
        .collect();
    html! {
        @if !said.is_empty() {
            section {
                h2 { (lang.t(text::OUTPUTS)) }
                dl.facts.as-named { @for (step, output) in said {
                    (fact(step.name.as_str(), &html! { span.fields { @for (name, value) in output.iter() { span { (name) "=" (saga_timeline::field_value(lang, name, value)) } } } }))
                } }
            }
        }
    }
}

fn fields<'a>(lang: Lang, title: Text, fields: impl Iterator<Item = (&'a str, &'a str)>) -> Markup {
    let rows: Vec<_> = fields.collect();
    html! {
        @if !rows.is_empty() {
            section {
                h2 { (lang.t(title)) }
                dl.facts.as-named { @for (name, value) in rows { (fact(name, &saga_timeline::field_value(lang, name, value))) } }
            }
        }
    }
}
