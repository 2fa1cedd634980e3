//! What happened to a saga, in order: what it did on one lane, what it undid on the other, and long waits folded.

use crate::format;
use crate::gate::Viewer;
use crate::log_pages::{Found, Look};
use crate::parts;
use crate::text::{self, Lang, Text};
use banyan_domain::saga::{
    Ask, Cause, Definition, End, Event as SagaEvent, Fields, Resume, Saga, Settlement, StepState,
};
use banyan_domain::{Actor, Entry, Event, Millis, Reason, SagaNo, Timestamp};
use banyan_views::record::{SagaRecord, SagaStepRecord};
use maud::{Markup, html};

/// Between two entries, a longer wait is folded into one line.
const GAP: Millis = Millis::from_seconds(5);

/// One line of the timeline. Filled from the log while a saga is young; from the record store after that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TimelineEntry {
    pub(crate) at: Timestamp,
    /// The event, if it is known.
    pub(crate) seq: Option<u64>,
    /// The place of the step, if it is about one.
    pub(crate) step: Option<usize>,
    /// What was asked, if something was.
    pub(crate) ask: Option<Ask>,
    /// The how-manieth time.
    pub(crate) attempt: u32,
    /// How long the answer took, if there is one.
    pub(crate) took: Option<Millis>,
    pub(crate) what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Began,
    /// Asked, and no answer is known.
    Asked,
    Settled(Settlement),
    Skipped,
    TurnedBack(Cause),
    Parked(String),
    Resumed {
        how: Resume,
        by: String,
        reason: String,
    },
    Ended(End),
}

/// Whether an event belongs to the history of `saga`; its beginning is the last to look for.
pub(crate) fn wanted(entry: &Entry, saga: SagaNo) -> Look {
    match &entry.event {
        Event::Saga(event) if event.saga() == Some(saga) => match event {
            SagaEvent::Started { .. } => Look::Last,
            _ => Look::Keep,
        },
        _ => Look::Pass,
    }
}

/// The timeline that `events` tell, newest first as they come from the log: a request and its answer are one line.
pub(crate) fn from_log(events: &[Found]) -> Vec<TimelineEntry> {
    let mut entries: Vec<TimelineEntry> = Vec::new();
    for found in events.iter().rev() {
        let Event::Saga(event) = &found.entry.event else { continue };
        let mut entry = TimelineEntry {
            at: found.time,
            seq: Some(found.seq),
            step: None,
            ask: None,
            attempt: 1,
            took: None,
            what: What::Began,
        };
        match event {
            SagaEvent::Defined { .. } => continue,
            SagaEvent::Started { .. } => {}
            SagaEvent::Scheduled { step, ask, attempt, .. } => {
                entry.step = Some(usize::from(*step));
                (entry.ask, entry.attempt, entry.what) = (Some(*ask), *attempt, What::Asked);
            }
            SagaEvent::Settled { step, ask, attempt, result, .. } => {
                let step = Some(usize::from(*step));
                let open = entries.iter_mut().rev().find(|open| {
                    open.what == What::Asked
                        && (open.step, open.ask, open.attempt) == (step, Some(*ask), *attempt)
                });
                if let Some(open) = open {
                    let took = found.time.as_millis().saturating_sub(open.at.as_millis());
                    open.took = Some(Millis::new(took));
                    open.what = What::Settled(result.clone());
                    continue;
                }
                (entry.step, entry.ask, entry.attempt) = (step, Some(*ask), *attempt);
                entry.what = What::Settled(result.clone());
            }
            SagaEvent::Skipped { step, .. } => {
                (entry.step, entry.what) = (Some(usize::from(*step)), What::Skipped);
            }
            SagaEvent::TurnedBack { cause, .. } => entry.what = What::TurnedBack(cause.clone()),
            SagaEvent::Parked { step, why, .. } => {
                (entry.step, entry.what) = (Some(usize::from(*step)), What::Parked(why.to_string()));
            }
            SagaEvent::Resumed { how, by, reason, .. } => {
                let (by, reason) = (by.to_string(), reason.to_string());
                entry.what = What::Resumed { how: how.clone(), by, reason };
            }
            SagaEvent::Ended { end, .. } => entry.what = What::Ended(*end),
        }
        entries.push(entry);
    }
    entries
}

/// The timeline that the record store tells: every try of every step, however long ago.
pub(crate) fn from_record(saga: &SagaRecord, rows: &[SagaStepRecord]) -> Vec<TimelineEntry> {
    let began = TimelineEntry {
        at: saga.started_at,
        seq: None,
        step: None,
        ask: None,
        attempt: 1,
        took: None,
        what: What::Began,
    };
    let entry = |row: &SagaStepRecord| {
        let took = row.answered_at.map(|at| at.as_millis().saturating_sub(row.at.as_millis()));
        let ask = match &*row.what {
            "do" => Some(Ask::Do),
            "undo" => Some(Ask::Undo),
            "query" => Some(Ask::Query),
            _ => None,
        };
        TimelineEntry {
            at: row.at,
            seq: Some(row.seq.as_u64()),
            step: row.place.map(usize::from).filter(|_| &*row.what != "turned-back"),
            ask,
            attempt: row.attempt.unwrap_or(1),
            took: took.map(Millis::new),
            what: what_of(row),
        }
    };
    std::iter::once(began).chain(rows.iter().map(entry)).collect()
}

fn what_of(row: &SagaStepRecord) -> What {
    let detail = || row.detail.as_deref().unwrap_or_default();
    let result = row.result.as_deref().unwrap_or_default();
    match (&*row.what, result) {
        ("skipped", _) => What::Skipped,
        ("turned-back", _) => {
            let step = row.place.filter(|_| result == "step");
            let who = row.actor.as_deref().and_then(|by| Actor::new(by).ok());
            What::TurnedBack(match (step, who, Reason::new(detail()).ok()) {
                (Some(place), ..) => Cause::Step(place, detail().into()),
                (None, Some(by), Some(reason)) => Cause::Cancelled(by, reason),
                _ if result == "timed-out" => Cause::TimedOut,
                _ => Cause::Forced,
            })
        }
        ("parked", _) => What::Parked(detail().into()),
        ("resumed", _) => {
            let how = match result {
                "skip" => Resume::Skip(Fields::new()),
                "undo" => Resume::Undo,
                _ => Resume::Retry,
            };
            let by = row.actor.as_deref().unwrap_or_default().to_owned();
            What::Resumed { how, by, reason: detail().into() }
        }
        ("ended", "compensated") => What::Ended(End::Compensated),
        ("ended", _) => What::Ended(End::Completed),
        (_, "done") => What::Settled(Settlement::Done(fields_of(detail()))),
        (_, "refused") => What::Settled(Settlement::Refused(detail().into())),
        (_, "unknown") => What::Settled(Settlement::Unknown(detail().into())),
        (_, "not-sent") => What::Settled(Settlement::NotSent(detail().into())),
        (_, "awaiting") => What::Settled(Settlement::Awaiting(fields_of(detail()), Timestamp::default())),
        (_, "absent") => What::Settled(Settlement::Absent),
        _ => What::Asked,
    }
}

/// The texts of a JSON object.
pub(crate) fn fields_of(json: &str) -> Fields {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(json).unwrap_or_default();
    let text = |value: serde_json::Value| value.as_str().map(str::to_owned).unwrap_or_default();
    object.into_iter().map(|(name, value)| (name, text(value))).collect()
}

/// What the saga itself remembers: the last try of the step under way, and since when it is parked. For where its events
/// lie further back than a page looks.
pub(crate) fn from_state(saga: &Saga) -> Vec<TimelineEntry> {
    let entry =
        |at, what| TimelineEntry { at, seq: None, step: None, ask: None, attempt: 1, took: None, what };
    let mut entries = vec![entry(saga.started_at, What::Began)];
    for (place, state) in saga.steps.iter().enumerate() {
        let (tried, ask) = match state {
            StepState::Doing(tried) => (tried, Ask::Do),
            StepState::Undoing(tried) => (tried, Ask::Undo),
            _ => continue,
        };
        let asked = |at, ask, attempt| TimelineEntry {
            step: Some(place),
            ask: Some(ask),
            attempt,
            ..entry(at, What::Asked)
        };
        entries.push(asked(tried.sent_at, ask, tried.attempt));
        if tried.asked > 0 {
            entries.push(asked(tried.asked_at, Ask::Query, tried.asked));
        }
    }
    if let Some(park) = &saga.parked {
        let what = What::Parked(park.why.to_string());
        entries.push(TimelineEntry { step: Some(usize::from(park.step)), ..entry(park.since, what) });
    }
    entries.sort_by_key(|entry| entry.at);
    entries
}

/// The timeline as a page shows it, the newest last.
pub(crate) fn show(viewer: &Viewer, definition: &Definition, entries: &[TimelineEntry]) -> Markup {
    let lang = viewer.lang();
    let began = entries.first().map_or(Timestamp::default(), |first| first.at);
    let mut turned = false;
    html! {
        div.timeline-head aria-hidden="true" { span {} span { (lang.t(text::LANE_DO)) } span { (lang.t(text::LANE_UNDO)) } span {} }
        ol.timeline {
            @for (index, entry) in entries.iter().enumerate() {
                @if let Some(gap) = index.checked_sub(1).and_then(|before| gap(&entries[before], entry)) {
                    li.gap { span {} span.rail {} span.rail {} span.what { (lang.f(text::GAP, &[&format::stopwatch(lang, gap)])) } }
                }
                @let () = turned |= matches!(entry.what, What::TurnedBack(_));
                (line(lang, definition, entry, began, turned))
            }
        }
    }
}

/// The wait between two entries, if it is long: from the answer of the first, if it had one.
fn gap(before: &TimelineEntry, after: &TimelineEntry) -> Option<Millis> {
    let from = before.took.map_or(before.at, |took| before.at.plus(took));
    let gap = Millis::new(after.at.as_millis().saturating_sub(from.as_millis()));
    (gap > GAP).then_some(gap)
}

fn line(
    lang: Lang,
    definition: &Definition,
    entry: &TimelineEntry,
    began: Timestamp,
    turned: bool,
) -> Markup {
    let offset = Millis::new(entry.at.as_millis().saturating_sub(began.as_millis()));
    let offset = format!("+{}", format::stopwatch(lang, offset));
    let exact = banyan_api::rfc3339(entry.at);
    // What concerns no try stands on the lane on which the saga goes by then.
    let undo = entry.ask.map_or(turned, |ask| ask == Ask::Undo || (ask == Ask::Query && turned));
    let (shape, word) = words(lang, entry);
    let step = entry.step.and_then(|place| definition.steps.get(place));
    html! {
        li data-shape=(shape) {
            span.at title=(exact) { @match entry.seq { Some(seq) => { a href=(parts::event_href(seq)) { (offset) } }, None => { (offset) } } }
            span.rail { @if !undo { (parts::shape(shape)) } }
            span.rail { @if undo { (parts::shape(shape)) } }
            div.what {
                @if let Some(step) = step { b { (step.name) } " " }
                @if let Some(asked) = asked(entry) { span.ask { (lang.t(asked)) } " " }
                @if entry.attempt > 1 { span.hint { (lang.f(text::T_TRY, &[&entry.attempt.to_string()])) } " " }
                span.word { (word) }
                @if let Some(took) = entry.took.filter(|took| took.get() > 0) { " " span.hint { (lang.f(text::IN, &[&format::stopwatch(lang, took)])) } }
                (detail(lang, definition, &entry.what))
            }
        }
    }
}

/// What was asked, where the lane and the outcome do not say so already.
const fn asked(entry: &TimelineEntry) -> Option<Text> {
    match (entry.ask, &entry.what) {
        (Some(Ask::Query), _) => Some(text::T_QUERY),
        (Some(Ask::Undo), What::Settled(Settlement::Done(_))) => None,
        (Some(Ask::Undo), _) => Some(text::T_UNDO),
        _ => None,
    }
}

/// The shape of an entry, and what came of it in a word or two.
const fn words(lang: Lang, entry: &TimelineEntry) -> (&'static str, &'static str) {
    let (shape, word) = match &entry.what {
        What::Began => ("scheduled", text::T_BEGAN),
        What::Asked => ("running", text::T_NO_ANSWER),
        What::Settled(result) => match result {
            Settlement::Done(_) => match entry.ask {
                Some(Ask::Undo) => ("compensated", text::T_UNDONE),
                Some(Ask::Query) => ("completed", text::T_HAPPENED),
                _ => ("completed", text::T_DONE),
            },
            Settlement::Refused(_) => ("failed", text::T_REFUSED),
            Settlement::Unknown(_) => ("unknown", text::T_UNKNOWN),
            Settlement::NotSent(_) => ("retrying", text::T_NOT_SENT),
            Settlement::Awaiting(..) => ("held", text::T_AWAITING),
            Settlement::Absent => ("scheduled", text::T_ABSENT),
        },
        What::Skipped => ("skipped", text::T_SKIPPED),
        What::TurnedBack(_) => ("compensating", text::T_TURNED_BACK),
        What::Parked(_) => ("parked", text::T_PARKED),
        What::Resumed { how, .. } => match how {
            Resume::Retry => ("running", text::T_RETRY),
            Resume::Skip(_) => ("running", text::T_SKIP),
            Resume::Undo => ("compensating", text::T_UNDO_FORCED),
        },
        What::Ended(End::Completed) => ("completed", text::T_COMPLETED),
        What::Ended(End::Compensated) => ("compensated", text::T_COMPENSATED),
    };
    (shape, lang.t(word))
}

fn detail(lang: Lang, definition: &Definition, what: &What) -> Markup {
    let why = |why: &str| html! { @if !why.is_empty() { " " q.reason { (why) } } };
    match what {
        What::Settled(Settlement::Done(output)) => fields_line(lang, output),
        What::Settled(Settlement::Awaiting(output, until)) => {
            // The record store does not say until when.
            html! {
                @if *until > Timestamp::default() { " " span.hint { (lang.t(text::UNTIL)) " " (parts::time(lang, *until)) } }
                (fields_line(lang, output))
            }
        }
        What::Settled(Settlement::Refused(text) | Settlement::Unknown(text) | Settlement::NotSent(text)) => {
            why(text)
        }
        What::Parked(text) => why(text),
        What::TurnedBack(of) => html! { span.hint { ": " (cause(lang, definition, of)) } },
        What::Resumed { by, reason, .. } => {
            html! { " " span.by { (lang.f(text::BY, &[by])) } q.reason { (reason) } }
        }
        _ => html! {},
    }
}

/// Why a saga turned back, in words.
pub(crate) fn cause(lang: Lang, definition: &Definition, cause: &Cause) -> Markup {
    html! {
        @match cause {
            Cause::Step(place, why) => {
                @let name = definition.steps.get(usize::from(*place)).map(|step| step.name.to_string()).unwrap_or_default();
                (lang.f(text::STEP_FAILED, &[&name])) " " q.reason { (why) }
            },
            Cause::Cancelled(by, reason) => { (lang.f(text::CANCELLED_BY, &[by.as_str()])) " " q.reason { (reason) } },
            Cause::TimedOut => { (lang.t(text::T_TIMED_OUT)) },
            Cause::Forced => { (lang.t(text::T_FORCED)) },
        }
    }
}

/// Fields in a line, without what would let a reader act in a shopper's place.
fn fields_line(lang: Lang, fields: &Fields) -> Markup {
    html! {
        @if !fields.is_empty() {
            span.fields { @for (name, value) in fields.iter() { span { (name) "=" (field_value(lang, name, value)) } } }
        }
    }
}

/// The value of a field as pages show it.
pub(crate) fn field_value(lang: Lang, name: &str, value: &str) -> Markup {
    match banyan_api::masked(name, value) {
        Some(masked) => html! { span.mono title=(lang.t(text::HIDDEN)) { (masked) } },
        None => html! { span.mono title=(value) { (parts::short(value)) } },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_domain::SagaNo;

    fn found(seq: u64, ms: u64, event: SagaEvent) -> Found {
        let entry = Entry { event: Event::Saga(event), stamp: None };
        Found { seq, time: Timestamp::from_millis(ms), entry }
    }

    #[test]
    fn a_request_and_its_answer_are_one_line_and_long_waits_are_folded() {
        let saga = SagaNo::new(1);
        let scheduled = |attempt| SagaEvent::Scheduled { saga, step: 0, ask: Ask::Do, attempt };
        let settled = |attempt, result| SagaEvent::Settled { saga, step: 0, ask: Ask::Do, attempt, result };
        let events = [
            found(9, 60_000, scheduled(2)),
            found(8, 1_300, settled(1, Settlement::NotSent("no connection".into()))),
            found(7, 1_000, scheduled(1)),
        ];
        let entries = from_log(&events);
        let seen: Vec<_> = entries.iter().map(|e| (e.seq, e.attempt, e.took.map(Millis::get))).collect();
        assert_eq!(seen, [(Some(7), 1, Some(300)), (Some(9), 2, None)]);
        assert_eq!(entries[1].what, What::Asked, "the second try has no answer yet");
        assert_eq!(gap(&entries[0], &entries[1]), Some(Millis::new(58_700)));
        assert_eq!(gap(&entries[0], &entries[0]), None);
    }
}
