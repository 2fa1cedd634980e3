//! What an operator may decide about a saga: turn it back in time, and where it is parked try again, skip, or undo. Each asks
//! why and is an event.

use crate::forms::{self, Action, Attempt, Refused, typed, wrong};
use crate::gate::{Fields, OperatorForm, Viewer};
use crate::link;
use crate::pages::saga;
use crate::pages::sagas::SagaRow;
use crate::parts;
use crate::text::{self, Lang, Text};
use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use banyan_api::wire_saga::{mark_text, read_mark};
use banyan_domain::saga::{Command as SagaCommand, Definition, Fields as Texts, Phase, Resume, Saga};
use banyan_domain::{Command, SagaNo};
use http::StatusCode;
use maud::{Markup, html};

/// Carries a decision out.
pub(crate) async fn change(Path(no): Path<String>, form: OperatorForm) -> Response {
    let OperatorForm { viewer, fields } = form;
    let Ok(number) = no.parse::<u64>() else { return saga::no_such(&viewer, &no) };
    match attempt(&viewer, SagaNo::new(number), &fields).await {
        Ok(seq) => Redirect::to(&link::with(&parts::saga_href(number), &[("done", &seq.to_string())]))
            .into_response(),
        Err((status, why)) => {
            let attempt = Attempt { fields, why };
            saga::page(&viewer, &no, &Fields::new(), status, Some(&attempt)).await
        }
    }
}

async fn attempt(viewer: &Viewer, saga: SagaNo, fields: &Fields) -> Result<u64, Refused> {
    let lang = viewer.lang();
    let field = |name: &str| forms::field(fields, name);
    let reason = forms::reason(lang, field("reason")).map_err(wrong)?;
    let by = viewer.who.principal.name.clone();
    let again = || (StatusCode::BAD_REQUEST, lang.t(text::FORM_AGAIN).into());
    let how = match field("action") {
        "retry" => Some(Resume::Retry),
        "undo" => Some(Resume::Undo),
        "skip" => Some(Resume::Skip(output(field("output")).ok_or_else(|| wrong(lang.t(text::BAD_OUTPUT)))?)),
        "cancel" => None,
        _ => return Err(again()),
    };
    // Sent twice, the second finds another mark, or the saga cancelled already: it needs no key.
    let command = match how {
        Some(how) => {
            let mark = read_mark(field("mark")).ok_or_else(again)?;
            SagaCommand::Resume { saga, mark, how, by, reason }
        }
        None => SagaCommand::Cancel { saga, by, reason },
    };
    let (_, seq) = forms::ask(viewer, Command::Saga(command), None).await?;
    Ok(seq)
}

/// What a skipped step would have said: a `name=value` on each line.
fn output(typed: &str) -> Option<Texts> {
    let lines = typed.lines().map(str::trim).filter(|line| !line.is_empty());
    let pair = |line: &str| {
        let (name, value) = line.split_once('=')?;
        let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
        (!name.is_empty()).then_some((name, value))
    };
    let fields = lines.map(pair).collect::<Option<Vec<_>>>()?.into_iter().collect::<Texts>();
    fields.check().is_ok().then_some(fields)
}

/// What may be decided about `saga` now.
pub(crate) fn panel(
    viewer: &Viewer,
    saga: &Saga,
    definition: &Definition,
    attempt: Option<&Attempt>,
) -> Markup {
    let lang = viewer.lang();
    let post = format!("{}/change", parts::saga_href(saga.no.get()));
    let form = |name: &'static str, word: Text, what: Text, danger: bool, more: &Markup| {
        let more = html! { (mark_field(saga.mark())) (more) };
        Action { name, post: &post, word, what: lang.t(what), danger }.show(viewer, attempt, &more)
    };
    let offered: &[&str] = match (&saga.parked, saga.phase) {
        (Some(_), Phase::Running) => &["retry", "skip", "undo"],
        (Some(_), _) => &["retry", "skip"],
        (None, Phase::Running) if !saga.is_past_pivot(definition) => &["cancel"],
        _ => &[],
    };
    let is_offered = |name: &str| offered.contains(&name);
    html! {
        aside.controls #actions aria-label=(lang.t(text::CONTROLS)) {
            h2 { (lang.t(text::CONTROLS)) }
            // Somebody else may have decided meanwhile: then the form that was sent is no longer here.
            @if let Some(attempt) = attempt.filter(|attempt| !offered.iter().any(|name| attempt.is(name))) { (parts::fault(&attempt.why)) }
            @if !viewer.who.may_change() { p.hint { (lang.t(text::READ_ONLY_HINT)) } }
            @else if saga.parked.is_none() && saga.is_over() { p.hint { (lang.t(text::SAGA_IS_OVER)) } }
            @else if saga.parked.is_some() {
                (form("retry", text::RETRY, text::RETRY_WHAT, false, &html! {}))
                (form("skip", text::SKIP_STEP, text::SKIP_WHAT, true, &output_field(lang, attempt)))
                @if is_offered("undo") { (form("undo", text::UNDO_SAGA, text::UNDO_WHAT, true, &html! {})) }
            } @else {
                p.hint { (lang.t(text::SAGA_GOES_BY_ITSELF)) }
                @if is_offered("cancel") { (form("cancel", text::CANCEL_SAGA, text::CANCEL_WHAT, true, &html! {})) }
            }
        }
    }
}

/// What was seen when it was decided. Always of the page as it is shown, also after a refusal.
fn mark_field(mark: u64) -> Markup {
    html! { input type="hidden" name="mark" value=(mark_text(mark)); }
}

fn output_field(lang: Lang, attempt: Option<&Attempt>) -> Markup {
    html! {
        label for="output" { (lang.t(text::SKIP_OUTPUT)) }
        textarea #output name="output" rows="3" maxlength="4000" spellcheck="false" aria-describedby="output-hint" { (typed(attempt, "skip", "output")) }
        p.hint #output-hint { (lang.t(text::SKIP_OUTPUT_HINT)) }
    }
}

/// The form in a row of the parked list: how to go on, and why.
pub(crate) fn decide(viewer: &Viewer, row: &SagaRow) -> Markup {
    let (lang, no) = (viewer.lang(), row.no);
    let mut ways = vec![("retry", text::RETRY), ("skip", text::SKIP_STEP)];
    if row.phase == Phase::Running {
        ways.push(("undo", text::UNDO_SAGA));
    }
    html! {
        details.action.decide {
            summary { (lang.t(text::DECIDE)) }
            form method="post" action={(parts::saga_href(no)) "/change"} aria-label=(lang.f(text::DECIDE_ONE, &[&no.to_string()])) {
                (parts::csrf(viewer))
                (mark_field(row.mark))
                div.choices {
                    @for (index, (way, word)) in ways.into_iter().enumerate() {
                        label { input type="radio" name="action" value=(way) required checked[index == 0]; (lang.t(word)) }
                    }
                }
                label for={"reason-" (no)} { (lang.t(text::REASON)) }
                input id={"reason-" (no)} name="reason" required maxlength="400" autocomplete="off" placeholder=(lang.t(text::REASON_EXAMPLE));
                button.primary type="submit" { (lang.t(text::DECIDE)) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::output;

    #[test]
    fn outputs_are_read_line_by_line() {
        let read = |text: &str| {
            output(text).map(|fields| fields.iter().map(|(n, v)| format!("{n}:{v}")).collect::<Vec<_>>())
        };
        assert_eq!(read(""), Some(vec![]));
        assert_eq!(read(" b = 2=3 \n\na=1\r\n"), Some(vec!["a:1".into(), "b:2=3".into()]));
        assert_eq!(read("payment"), None);
        assert_eq!(read("=x"), None);
    }
}
