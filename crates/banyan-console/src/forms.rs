//! Forms that change something: each says what will happen, asks why, and keeps what was typed if it was refused.

use crate::gate::{Fields, Viewer};
use crate::parts;
use crate::session;
use crate::text::{self, Lang, Text};
use banyan_api::Problem;
use banyan_domain::{Command, KeyStamp, Outcome, Reason};
use http::StatusCode;
use maud::{Markup, html};

/// A change that was asked for and did not happen: what was typed, and why not.
pub(crate) struct Attempt {
    pub(crate) fields: Fields,
    pub(crate) why: String,
}

/// Why a form changed nothing: the status of the answer, and a sentence for a person.
pub(crate) type Refused = (StatusCode, String);

impl Attempt {
    /// Whether it was `action` that was asked for.
    pub(crate) fn is(&self, action: &str) -> bool {
        self.fields.get("action").is_some_and(|asked| asked == action)
    }
}

/// A form in the panel of actions.
pub(crate) struct Action<'a> {
    /// Its name, unique on the page.
    pub(crate) name: &'a str,
    /// Where it is sent.
    pub(crate) post: &'a str,
    /// What it does, in a word or two.
    pub(crate) word: Text,
    /// What will happen, in a sentence.
    pub(crate) what: &'a str,
    /// Whether there is no way back.
    pub(crate) danger: bool,
}

impl Action<'_> {
    /// The form, folded unless it was just refused. `more` are its fields beside the reason.
    pub(crate) fn show(&self, viewer: &Viewer, attempt: Option<&Attempt>, more: &Markup) -> Markup {
        let lang = viewer.lang();
        let failed = attempt.filter(|attempt| attempt.is(self.name));
        let reason = typed(attempt, self.name, "reason");
        html! {
            details.action open[failed.is_some()] {
                summary { (lang.t(self.word)) }
                form method="post" action=(self.post) {
                    (parts::csrf(viewer))
                    input type="hidden" name="action" value=(self.name);
                    @if let Some(failed) = failed { (parts::fault(&failed.why)) }
                    p.what { (self.what) }
                    (more)
                    label for={"reason-" (self.name)} { (lang.t(text::REASON)) }
                    input id={"reason-" (self.name)} name="reason" required maxlength="400" value=(reason) autocomplete="off"
                        placeholder=(lang.t(text::REASON_EXAMPLE));
                    button type="submit" .primary[!self.danger] .danger[self.danger] { (lang.t(self.word)) }
                }
            }
        }
    }
}

/// What was typed into `field` of the form `action` when it was refused.
pub(crate) fn typed<'a>(attempt: Option<&'a Attempt>, action: &str, field: &str) -> &'a str {
    let fields = attempt.filter(|attempt| attempt.is(action)).map(|attempt| &attempt.fields);
    fields.and_then(|fields| fields.get(field)).map(String::as_str).unwrap_or_default()
}

/// The reason that was typed; there must be one.
pub(crate) fn reason(lang: Lang, typed: &str) -> Result<Reason, String> {
    if typed.is_empty() {
        return Err(lang.t(text::REASON_MISSING).into());
    }
    Reason::new(typed).map_err(|_| lang.t(text::REASON_TOO_LONG).into())
}

/// The field of a form, without spaces around it.
pub(crate) fn field<'a>(fields: &'a Fields, name: &str) -> &'a str {
    fields.get(name).map(|text| text.trim()).unwrap_or_default()
}

/// The hidden field by which a form that is sent twice, by a double click or a reload, is carried out once. A refused form
/// keeps its own, so that an answer that was lost is found again.
pub(crate) fn once(attempt: Option<&Attempt>, action: &str) -> Markup {
    let kept = typed(attempt, action, "once");
    // Without randomness the field stays empty, and the form is refused with a sentence that says to load the page again.
    let once = if kept.is_empty() { session::random().unwrap_or_default() } else { kept.to_owned() };
    html! { input type="hidden" name="once" value=(once); }
}

/// The idempotency stamp of a form with the field of [`once`].
pub(crate) fn stamp(viewer: &Viewer, fields: &Fields, canonical: &str) -> Result<KeyStamp, Refused> {
    let lang = viewer.lang();
    let once = field(fields, "once");
    if once.len() < 32 || once.len() > 64 || !once.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err((StatusCode::BAD_REQUEST, lang.t(text::FORM_AGAIN).into()));
    }
    let scope = format!("{} console form", viewer.who.principal.key_scope());
    Ok(KeyStamp::new(viewer.console.app.shard().keys(), &scope, once, canonical.as_bytes()))
}

/// Asks the shard and says a refusal in the viewer's language.
pub(crate) async fn ask(
    viewer: &Viewer,
    command: Command,
    stamp: Option<KeyStamp>,
) -> Result<(Outcome, u64), Refused> {
    let refused = |problem: Problem| (problem.status, parts::problem_words(viewer.lang(), &problem));
    let (outcome, seq, _) = viewer.console.app.ask(command, stamp).await.map_err(refused)?;
    Ok((outcome, seq))
}

/// A form that cannot be understood.
pub(crate) fn wrong(why: impl Into<String>) -> Refused {
    (StatusCode::UNPROCESSABLE_ENTITY, why.into())
}
