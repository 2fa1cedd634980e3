//! What the page of the way over shows as it is now: made with the page and again each second for whoever watches.

use crate::Console;
use crate::format;
use crate::layout::fact;
use crate::parts::{self, Part};
use crate::text::{self, Lang, Text};
use banyan_domain::legacy::{Move, Phase};
use banyan_legacy::{ReferenceKind, ReferencesView, Status, steps};
use maud::{Markup, html};
use std::borrow::Cow;
use std::time::Duration;

/// References shown: the last used.
const REFERENCES_SHOWN: usize = 100;
/// What is shown of a longer statement, in characters: its beginning, and what follows its columns.
const HEAD_CHARS: usize = 70;
const TAIL_CHARS: usize = 140;

/// Where it stood when a page was made: what has forms on it does not change under somebody's hands, so the page says when it
/// has become old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    epoch: u64,
    moving: u64,
}

impl Shown {
    pub(crate) fn of(status: &Status) -> Self {
        let moving = status.state.moving.as_ref().map_or(0, |moving| moving.number);
        Self { epoch: status.state.epoch, moving }
    }

    /// As the page's address of the stream says it.
    pub(crate) fn write(self) -> String {
        format!("over:{}.{}", self.epoch, self.moving)
    }

    pub(crate) fn read(text: &str) -> Self {
        let (epoch, moving) = text.split_once('.').unwrap_or_default();
        Self { epoch: epoch.parse().unwrap_or_default(), moving: moving.parse().unwrap_or_default() }
    }
}

/// What moves on the page.
pub(crate) async fn of_page(console: &Console, lang: Lang, shown: &Shown) -> Vec<Part> {
    let Some(keeper) = console.app.keeper() else { return Vec::new() };
    // A server that is stopping ends the stream itself.
    let Ok(status) = keeper.status().await else { return Vec::new() };
    let part = |id: &str, html| (id.to_owned(), html);
    vec![
        part("over-old", is_old(lang, &status, shown)),
        part("over-phases", phases(lang, &status)),
        part("over-move", moving(lang, &status)),
        part("over-totals", totals(lang, &status)),
        part("over-compared", compared(lang, &status)),
        part("over-sync", sync(lang, &status)),
        part("over-health", health(lang, &status)),
        part("over-references", references(lang, &keeper.references(), keeper.quiet_for())),
    ]
}

/// Says that the page was made before the last change, if it was.
pub(crate) fn is_old(lang: Lang, status: &Status, shown: &Shown) -> Markup {
    html! {
        @if Shown::of(status) != *shown {
            p.notice.wait role="status" { (lang.t(text::OVER_CHANGED)) " " a href="/console/over" { (lang.t(text::LOAD_AGAIN)) } }
        }
    }
}

pub(crate) const fn phase_word(phase: Phase) -> Text {
    match phase {
        Phase::Legacy => text::PHASE_LEGACY,
        Phase::Mirror => text::PHASE_MIRROR,
        Phase::Lead => text::PHASE_LEAD,
        Phase::Retired => text::PHASE_RETIRED,
    }
}

const fn phase_what(phase: Phase) -> Text {
    match phase {
        Phase::Legacy => text::PHASE_LEGACY_WHAT,
        Phase::Mirror => text::PHASE_MIRROR_WHAT,
        Phase::Lead => text::PHASE_LEAD_WHAT,
        Phase::Retired => text::PHASE_RETIRED_WHAT,
    }
}

/// The four phases, with where it stands and where it goes.
pub(crate) fn phases(lang: Lang, status: &Status) -> Markup {
    let state = &status.state;
    let to = state.moving.as_ref().map(|moving| moving.to);
    html! {
        @for why in &status.trouble { (parts::fault(why)) }
        ol.phases aria-label=(lang.t(text::PHASES)) {
            @for phase in Phase::ALL {
                @let now = phase == state.phase;
                @let how = if now { "now" } else if to == Some(phase) { "next" } else if phase < state.phase { "past" } else { "ahead" };
                li data-phase=(how) aria-current=[now.then_some("step")] {
                    b { (lang.t(phase_word(phase))) }
                    @if now { (parts::state(lang, "open", text::STANDS_HERE)) @if state.epoch > 0 { span.hint { (lang.t(text::SINCE)) " " (parts::time(lang, state.since)) } } }
                    @if to == Some(phase) { (parts::state(lang, "retrying", text::ON_ITS_WAY)) }
                    span.hint.what { (lang.t(phase_what(phase))) }
                }
            }
        }
    }
}

/// The move under way: its steps, and what it waits for.
pub(crate) fn moving(lang: Lang, status: &Status) -> Markup {
    let Some(moving) = &status.state.moving else {
        return html! { p.hint { (lang.t(text::NO_MOVE)) } };
    };
    html! {
        p { b { (lang.f(text::MOVE_N, &[&moving.number.to_string()])) } ": "
            (lang.t(phase_word(status.state.phase))) " → " b { (lang.t(phase_word(moving.to))) } " "
            span.by { (lang.f(text::BY, &[moving.by.as_str()])) } (parts::time(lang, moving.begun_at)) " " q.reason { (moving.reason) } }
        (move_steps(lang, status.state.phase, moving))
        @match &status.stage {
            Some(waits) => { p.notice.wait { strong { (lang.t(text::WAITS)) ": " } (waits) } },
            None => { p.hint { (lang.t(text::GOES_BY_ITSELF)) } },
        }
    }
}

fn move_steps(lang: Lang, from: Phase, moving: &Move) -> Markup {
    let planned = steps(from, moving.to);
    let next = planned.iter().position(|planned| !moving.has_noted(planned.step));
    html! {
        ol.move-steps { @for (place, planned) in planned.iter().enumerate() {
            @let noted = moving.noted.iter().find(|(step, _, _)| *step == planned.step);
            li {
                @match noted {
                    Some((_, at, note)) => {
                        (parts::state(lang, "completed", text::STEP_DONE))
                        span.what { (lang.t(text::move_step(planned.step))) " " span.hint { (note) } }
                        (parts::time(lang, *at))
                    },
                    None => {
                        @if next == Some(place) { (parts::state(lang, "retrying", text::STEP_UNDER_WAY)) } @else { (parts::state(lang, "waiting", text::STEP_WAITING)) }
                        span.what { (lang.t(text::move_step(planned.step))) " " span.hint { (planned.what) } }
                    },
                }
            }
        } }
    }
}

/// The numbers that say how it goes.
pub(crate) fn totals(lang: Lang, status: &Status) -> Markup {
    let (items, short) = status.items;
    let count = |word: Text, n: u64, harm: bool| {
        html! { div { dt { (lang.t(word)) } dd { span.num .harm-word[harm && n > 0] { (format::number(n)) } } } }
    };
    html! {
        dl.totals {
            (count(text::ITEMS, items as u64, false))
            (count(text::ITEMS_SHORT, short as u64, true))
            (count(text::BREACHES, status.state.breaches, true))
            (count(text::OUTBOX_REFUSED, status.state.refused, true))
            (count(text::ROWS_ASIDE, status.progress.aside, true))
            (count(text::HOLDS_WAITING, status.holds_waiting as u64, false))
            (count(text::REFERENCES_LEFT, status.references_left as u64, false))
            (count(text::MOVES_SO_FAR, status.state.moves, false))
        }
    }
}

/// The last comparison.
pub(crate) fn compared(lang: Lang, status: &Status) -> Markup {
    let Some(last) = status.state.reconciled else {
        return html! { p.hint { (lang.t(text::NEVER_COMPARED)) } };
    };
    let left = last.differing.saturating_sub(last.repaired);
    html! {
        p {
            @if last.differing == 0 { (parts::state(lang, "completed", text::BOTH_EQUAL)) }
            @else if left == 0 { (parts::state(lang, "compensated", text::DIFFERED_REPAIRED)) }
            @else { (parts::state(lang, "failed", text::BOTH_DIFFER)) }
            " " (parts::time(lang, last.at))
        }
        dl.facts {
            (fact(lang.t(text::AS_OF_POSITION), &html! { (position(lang, last.position)) }))
            (fact(lang.t(text::ROWS_COMPARED), &html! { span.num { (format::number(last.rows)) } }))
            (fact(lang.t(text::ROWS_DIFFERED), &html! { span.num .harm-word[last.differing > 0] { (format::number(last.differing)) } }))
            (fact(lang.t(text::ROWS_REPAIRED), &html! { span.num { (format::number(last.repaired)) } }))
        }
    }
}

/// A position in two halves, whole to copy.
fn position(lang: Lang, position: u64) -> Markup {
    // Postgres writes its positions in two halves of 32 bits; of MariaDB the halves are file number and offset.
    let halves = format!("{:X}/{:X}", position >> 32, position & 0xFFFF_FFFF);
    parts::copy(lang, &position.to_string(), &halves)
}

/// How the sync goes, both ways.
pub(crate) fn sync(lang: Lang, status: &Status) -> Markup {
    let progress = &status.progress;
    let runs = |running: bool, trouble: &Option<String>| {
        html! { @match (trouble, running) {
            (Some(why), _) => { (parts::state(lang, "failed", text::IN_TROUBLE)) " " (why) },
            (None, true) => { (parts::state(lang, "running", text::SYNC_RUNS)) },
            (None, false) => { (parts::state(lang, "ended", text::SYNC_RESTS)) },
        } }
    };
    let n = |n: u64| html! { span.num { (format::number(n)) } };
    html! {
        @if let Some(first) = &progress.aside_first { (aside(lang, progress.aside, first)) }
        div.cards {
            div.card { h3 { (lang.t(text::SYNC_IN)) } dl.facts {
                (fact(lang.t(text::STATE), &runs(progress.inward, &progress.trouble.inward)))
                (fact(lang.t(text::LAG), &html! { b.num { (format::millis(progress.lag_millis as f64)) } }))
                (fact(lang.t(text::TRANSACTIONS), &n(progress.transactions)))
                (fact(lang.t(text::ROWS), &n(progress.rows_in)))
                (fact(lang.t(text::ECHOES), &n(progress.echoes)))
                (fact(lang.t(text::POSITION), &position(lang, progress.position_applied)))
            } }
            div.card { h3 { (lang.t(text::SYNC_OUT)) } dl.facts {
                (fact(lang.t(text::STATE), &runs(progress.outward, &progress.trouble.outward)))
                (fact(lang.t(text::LAG), &html! { b.num { (format::millis(progress.out_lag_millis as f64)) } }))
                (fact(lang.t(text::ROWS), &n(progress.rows_out)))
                (fact(lang.t(text::WRITTEN_TO), &n(progress.seq_written)))
                (fact(lang.t(text::ROWS_ASIDE), &html! { span.num .harm-word[progress.aside > 0] { (format::number(progress.aside)) } }))
            } }
        }
    }
}

/// Rows that the old table refuses: how many, the first in the old database's words, and what to do.
fn aside(lang: Lang, rows: u64, first: &str) -> Markup {
    html! {
        div.notice.harm.aside-rows {
            p { strong { (lang.t(text::ROWS_ASIDE)) ": " (format::number(rows)) } ". " (lang.t(text::ROWS_ASIDE_WHY)) }
            p.said { code { (first) } }
            p { (lang.t(text::ROWS_ASIDE_WHAT)) }
        }
    }
}

/// How the old database sees the stream.
pub(crate) fn health(lang: Lang, status: &Status) -> Markup {
    let source = status.state.source.as_ref();
    html! {
        @match &status.health {
            None => { p.hint { (lang.t(text::NOT_LOOKED_YET)) } },
            Some(Err(why)) => { p.notice.harm { (lang.t(text::CANNOT_ASK)) " " (why) } },
            Some(Ok(health)) => {
                @for fault in &health.faults { p.notice.harm { (fault) } }
                dl.facts {
                    @if let Some(source) = source { (fact(lang.t(text::STREAM), &html! { code { (source.id.stream) } " " span.hint { (source.id.system) } @if source.copying { " " (parts::state(lang, "retrying", text::COPYING)) } })) }
                    (fact(lang.t(text::SLOT_STATUS), &html! { code { (health.status) } " " @if health.active { (parts::state(lang, "running", text::IS_READ)) } @else { (parts::state(lang, "paused", text::IS_NOT_READ)) } }))
                    (fact(lang.t(text::KEPT_FOR_US), &html! {
                        b.num .harm-word[health.retained_bytes > status.kept_bytes_max] { (format::bytes(health.retained_bytes)) }
                        " " span.hint { (lang.t(text::KEPT_AT_MOST)) " " (format::bytes(status.kept_bytes_max)) }
                    }))
                    @if let Some(safe) = health.safe_bytes { (fact(lang.t(text::SAFE_BYTES), &html! { span.num { (format::bytes(safe)) } })) }
                }
            },
        }
    }
}

/// Who still touches what is to go.
pub(crate) fn references(lang: Lang, view: &ReferencesView, quiet: Duration) -> Markup {
    let now = banyan_api::now();
    let from = now.as_millis().saturating_sub(u64::try_from(quiet.as_millis()).unwrap_or(u64::MAX));
    let span = |span: Duration| {
        format::stopwatch(
            lang,
            banyan_domain::Millis::new(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)),
        )
    };
    let watched = view.watched_for(now);
    html! {
        p { b.left { (lang.f(text::N_LEFT, &[&format::number(view.left(now, quiet) as u64)])) } " "
            span.hint { (lang.f(text::LEFT_WITHIN, &[&span(quiet)])) " "
                @if watched < quiet { (lang.t(text::NOT_WATCHED_YET)) " " }
                (lang.t(text::WATCHED_SINCE)) " " (parts::time(lang, view.since)) "." } }
        @if !view.all.is_empty() {
            table.stack {
                thead { tr {
                    th scope="col" { (lang.t(text::CALLER)) } th scope="col" { (lang.t(text::WHAT_IS_TOUCHED)) } th scope="col" { (lang.t(text::STILL_LEFT)) }
                    th.num scope="col" { (lang.t(text::TIMES)) } th scope="col" { (lang.t(text::LAST_SEEN)) }
                } }
                tbody { @for reference in view.all.iter().take(REFERENCES_SHOWN) { tr {
                    th.caller scope="row" { (reference.caller) }
                    td.what { span.hint { (lang.t(match reference.kind { ReferenceKind::Sql => text::BY_SQL, ReferenceKind::Route => text::BY_ROUTE })) " " } code title=(reference.what) { (in_short(&reference.what)) } }
                    td { @if reference.last_seen.as_millis() > from { (parts::state(lang, "held", text::IS_LEFT)) } @else { (parts::state(lang, "completed", text::IS_GONE)) } }
                    td.num data-label=(lang.t(text::TIMES)) { (format::number(reference.count)) }
                    td.quiet data-label=(lang.t(text::LAST_SEEN)) { (parts::time(lang, reference.last_seen)) }
                } } }
            }
        }
    }
}

/// A statement on a line or two: most of a long list of columns is left out, and what is done to which table is not.
fn in_short(statement: &str) -> Cow<'_, str> {
    let cut = |text: &str, most: usize| text.char_indices().nth(most).map(|(at, _)| at);
    let (Some(head), Some(_)) = (cut(statement, HEAD_CHARS), cut(statement, HEAD_CHARS + TAIL_CHARS)) else {
        return Cow::Borrowed(statement);
    };
    let (head, rest) = statement.split_at(head);
    // Letters of ASCII keep their places.
    let from = rest.to_ascii_uppercase().find(" FROM ").map_or("", |at| &rest[at..]);
    match cut(from, TAIL_CHARS) {
        Some(end) => Cow::Owned(format!("{head}…{}…", &from[..end])),
        None => Cow::Owned(format!("{head}…{from}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_statement_keeps_its_ends() {
        let columns = "\"partner_stockrecord\".\"num_in_stock\", ".repeat(20);
        let long = format!("SELECT {columns}1 from \"partner_stockrecord\" WHERE \"id\" = $1");
        let short = in_short(&long);
        assert!(
            short.starts_with("SELECT \"partner_stockrecord\".") && short.chars().count() < 200,
            "{short}"
        );
        assert!(short.ends_with("… from \"partner_stockrecord\" WHERE \"id\" = $1"), "{short}");
        let update = format!("UPDATE \"ü\" SET {columns}");
        assert!(in_short(&update).ends_with('…'));
        let endless = format!("{long} AND {columns}");
        assert!(in_short(&endless).chars().count() <= HEAD_CHARS + TAIL_CHARS + 2);
        assert_eq!(in_short("select num_in_stock from t"), "select num_in_stock from t");
    }
}
