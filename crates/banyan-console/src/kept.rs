//! A form that was sent after its session had ended: what was typed is kept on the sign-in page, shown again behind it, and
//! sent only when its operator says so.

use crate::Console;
use crate::gate::{Fields, Viewer, Visit};
use crate::layout::{Page, Section};
use crate::link;
use crate::pages::login;
use crate::parts;
use crate::text;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use maud::{Markup, html};
use std::sync::Arc;

/// What the names of kept fields begin with on the sign-in page.
const MARK: &str = "kept.";

/// A form that waits for somebody to sign in.
pub(crate) struct Kept {
    /// Where it is sent.
    to: String,
    fields: Fields,
}

impl Kept {
    /// The form that was sent to `to`. Its token belonged to the session that is over.
    pub(crate) fn new(to: &str, mut fields: Fields) -> Self {
        fields.remove("csrf");
        Self { to: link::own_path(to).to_owned(), fields }
    }

    /// The form that is kept on a sign-in page, which sent `fields`.
    pub(crate) fn of_login(fields: &Fields) -> Option<Self> {
        let to = fields.get("kept")?;
        let own = fields
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix(MARK)?.to_owned(), value.clone())));
        Some(Self::new(to, own.collect()))
    }

    /// The fields of the sign-in page that keep it.
    pub(crate) fn hidden(&self) -> Markup {
        html! {
            input type="hidden" name="kept" value=(self.to);
            @for (name, value) in &self.fields { input type="hidden" name={(MARK) (name)} value=(value); }
        }
    }

    /// The page behind the sign-in: what was typed, and a button that sends it.
    pub(crate) fn show(&self, viewer: &Viewer, back: &str) -> Response {
        let lang = viewer.lang();
        let title = lang.t(text::KEPT_TITLE);
        // What a page adds by itself says nothing to a person.
        let typed = self.fields.iter().filter(|(name, value)| !value.is_empty() && *name != "once");
        let body = html! {
            div.title { h1 { (title) } }
            p { (lang.t(text::KEPT_WHAT)) }
            dl.facts { @for (name, value) in typed { div { dt { code { (name) } } dd { (value) } } } }
            form method="post" action=(self.to) {
                (parts::csrf(viewer))
                @for (name, value) in &self.fields { input type="hidden" name=(name) value=(value); }
                button.primary type="submit" { (lang.t(text::KEPT_SEND)) }
                " " a.button href=(back) { (lang.t(text::KEPT_DROP)) }
            }
        };
        Page::new(title, Section::None, body).show(viewer).into_response()
    }
}

/// The sign-in page that keeps `kept`.
pub(crate) fn ask_to_sign_in(console: &Arc<Console>, visit: &Visit, kept: &Kept) -> Response {
    let fault = Some(visit.lang.t(text::KEPT_SIGN_IN));
    let form = login::Form { next: link::own_path(&visit.here), kept: Some(kept), fault };
    login::page(console, visit, StatusCode::UNAUTHORIZED, &form)
}
