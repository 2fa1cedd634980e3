//! The sign-in form.

use crate::Console;
use crate::gate::{self, Fields, Visit};
use crate::kept::Kept;
use crate::layout;
use crate::link;
use crate::parts;
use crate::session;
use crate::text;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use maud::{DOCTYPE, html};
use std::sync::Arc;

/// Shows the form.
pub(crate) async fn show(
    State(console): State<Arc<Console>>,
    Query(query): Query<Fields>,
    request: Request,
) -> Response {
    let visit = Visit::of(request.method(), request.headers(), request.uri());
    let next = query.get("next").map(String::as_str).unwrap_or_default();
    page(&console, &visit, StatusCode::OK, &Form { next: link::own_path(next), kept: None, fault: None })
}

/// What the sign-in page has beside the field for the key.
pub(crate) struct Form<'a> {
    /// Where it leads.
    pub(crate) next: &'a str,
    /// A form that waits for it.
    pub(crate) kept: Option<&'a Kept>,
    /// What went wrong, if something did.
    pub(crate) fault: Option<&'a str>,
}

/// The form, with what went wrong if something did. The key that was typed is never sent back.
pub(crate) fn page(console: &Console, visit: &Visit, status: StatusCode, form: &Form<'_>) -> Response {
    let Form { next, kept, fault } = form;
    let lang = visit.lang;
    let Ok(tie) = session::random() else {
        return (StatusCode::SERVICE_UNAVAILABLE, lang.t(text::LOGIN_NO_RANDOM)).into_response();
    };
    let document = html! {
        (DOCTYPE)
        html lang=(lang.code()) {
            (layout::head(lang, lang.t(text::SIGN_IN), false))
            body.login {
                main #main {
                    div.home { (parts::mark()) span { "Banyan" } }
                    h1 { (lang.t(text::SIGN_IN)) }
                    form method="post" action="/console/login" {
                        input type="hidden" name="csrf" value=(tie);
                        input type="hidden" name="next" value=(next);
                        @if let Some(kept) = kept { (kept.hidden()) }
                        label for="key" { (lang.t(text::KEY)) }
                        input #key type="password" name="key" required autofocus autocomplete="current-password"
                            spellcheck="false" aria-describedby="key-hint" aria-invalid=[fault.map(|_| "true")];
                        @if let Some(fault) = fault { (parts::fault(fault)) }
                        button.primary type="submit" { (lang.t(text::SIGN_IN)) }
                        p #key-hint .hint { (lang.t(text::KEY_HINT)) }
                    }
                    (parts::command_line(lang, "banyan key create --role operator --name YOU"))
                    (layout::languages(visit))
                }
            }
        }
    };
    let mut response = (status, document).into_response();
    gate::set_cookie(&mut response, console, gate::LOGIN_COOKIE, &tie, Some(3_600));
    response
}
