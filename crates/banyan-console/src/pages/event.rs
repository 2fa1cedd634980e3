//! One event, whole.

use crate::format;
use crate::gate::Viewer;
use crate::layout::{self, Page, Section, fact};
use crate::log_pages;
use crate::parts;
use crate::text;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use maud::html;

/// Shows the event at a log position.
pub(crate) async fn show(viewer: Viewer, Path(seq): Path<String>) -> Response {
    let (lang, shard) = (viewer.lang(), viewer.console.app.shard());
    let head = shard.confirmed().get().as_u64();
    let Ok(seq) = seq.parse::<u64>() else {
        return viewer.problem(
            StatusCode::NOT_FOUND,
            lang.t(text::NO_SUCH_EVENT),
            lang.t(text::NOT_FOUND_HINT),
        );
    };
    let found = match log_pages::off_thread(shard, move |shard| log_pages::one(shard, seq)).await {
        Ok(Some(found)) => found,
        Ok(None) => {
            let hint = lang.f(text::NO_SUCH_EVENT_HINT, &[&format::number(head)]);
            return viewer.problem(StatusCode::NOT_FOUND, lang.t(text::NO_SUCH_EVENT), &hint);
        }
        Err(why) => {
            let hint = lang.f(text::LOG_UNREADABLE_HINT, &[&why]);
            return viewer.problem(StatusCode::GONE, lang.t(text::LOG_UNREADABLE), &hint);
        }
    };
    let summary = shard.summary();
    let json = found.json(&summary);
    let pretty = serde_json::to_string_pretty(&json).unwrap_or_default();
    let title = lang.f(text::EVENT_N, &[&format::number(seq)]);
    let body = html! {
        nav.crumbs { a href="/console/events" { (lang.t(text::EVENTS)) } }
        (layout::title(&title, &html! { span.kind { (found.kind()) } }))
        dl.facts {
            (fact(lang.t(text::TIME), &html! { (parts::time(lang, found.time)) " · " span.mono { (banyan_api::rfc3339(found.time)) } }))
            @if let Some(no) = found.campaign() {
                @let id = log_pages::campaign_id(&summary, no);
                (fact(lang.t(text::CAMPAIGN), &html! { a href=(parts::campaign_href(&id)) { (id) } }))
            }
            (fact(lang.t(text::DETAILS), &parts::event_words(lang, &found, &summary)))
            @if found.entry.stamp.is_some() { (fact(lang.t(text::IDEMPOTENCY_KEY), &html! { (lang.t(text::WITH_KEY)) })) }
        }
        pre.json tabindex="0" { code { (pretty) } }
        nav.pager aria-label=(lang.t(text::PAGES)) {
            @if seq > 1 { a.button rel="prev" href=(parts::event_href(seq - 1)) { (lang.t(text::EVENT_BEFORE)) } }
            @if seq < head { a.button rel="next" href=(parts::event_href(seq + 1)) { (lang.t(text::EVENT_AFTER)) } }
            a.button href=(format!("/console/events?from={seq}")) { (lang.t(text::AMONG_OTHERS)) }
        }
        (parts::curl(&viewer, &format!("/v1/events?from={seq}&limit=1")))
    };
    Page::new(&title, Section::Events, body).show(&viewer).into_response()
}
