//! One SKU: its numbers at each location, who has some of it reserved, what was counted, and counting it.

use crate::format;
use crate::forms::Attempt;
use crate::gate::{Fields, Viewer};
use crate::layout::{self, Page, Section, count, fact};
use crate::link;
use crate::log_pages;
use crate::pages::members::as_of;
use crate::pages::stock::{SkuSums, enough};
use crate::pages::{ROWS_PER_LOOK, ROWS_PER_PAGE, look, read_record, sku_change};
use crate::parts;
use crate::text::{self, Lang, Text};
use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Redirect, Response};
use banyan_domain::stock::{Event as StockEvent, Level, ReservationState, Stock};
use banyan_domain::{Entry, Event, ItemNo, ReservationNo, SkuId, Timestamp};
use banyan_log::Seq;
use banyan_views::record::{MovementPage, MovementRecord};
use http::StatusCode;
use maud::{Markup, html};
use std::time::Duration;

/// Reservations shown.
const RESERVATIONS_SHOWN: usize = 100;
/// Locations shown: a SKU may be kept at a thousand.
const LOCATIONS_SHOWN: usize = 200;
/// Movements on one page of the history.
const MOVEMENTS_SHOWN: usize = 25;
/// Longest wait for the record store to show what was just done.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// A SKU as it is.
struct Seen {
    sums: SkuSums,
    locations: Vec<(ItemNo, String, Level)>,
    per_member: Option<u32>,
    reservations_ever: u64,
    seq: u64,
}

/// A live reservation of the SKU.
struct Reserved {
    no: ReservationNo,
    units: u64,
    promised: u64,
    until: Timestamp,
    member: Option<String>,
    order: Option<String>,
}

/// Leads from an item's number, which events have, to its SKU.
pub(crate) async fn item(viewer: Viewer, Path(no): Path<String>) -> Response {
    let lang = viewer.lang();
    let wanted = no.parse().map_or(0, |no: u32| no);
    let found =
        look(&viewer, move |state| state.stock().item(ItemNo::new(wanted)).map(|item| item.sku.to_owned()));
    match found.await {
        Ok(Some(sku)) => Redirect::to(&parts::sku_href(&sku)).into_response(),
        Ok(None) => viewer.problem(
            StatusCode::NOT_FOUND,
            lang.t(text::NO_SUCH_SKU),
            &lang.f(text::NO_SUCH_SKU_HINT, &[&no]),
        ),
        Err(problem) => problem,
    }
}

/// Shows a SKU.
pub(crate) async fn show(viewer: Viewer, Path(id): Path<String>, Query(query): Query<Fields>) -> Response {
    page(&viewer, &id, &query, StatusCode::OK, None).await
}

/// The page, with an attempt at a change that failed if there was one.
pub(crate) async fn page(
    viewer: &Viewer,
    id: &str,
    query: &Fields,
    status: StatusCode,
    attempt: Option<&Attempt>,
) -> Response {
    let lang = viewer.lang();
    let seen = match SkuId::new(id) {
        Ok(sku) => look(viewer, move |state| see(state.stock(), &sku, state.time(), state.seq())).await,
        Err(_) => Ok(None),
    };
    let seen = match seen {
        Ok(Some(seen)) => seen,
        Ok(None) => {
            let hint = lang.f(text::NO_SUCH_SKU_HINT, &[id]);
            return viewer.problem(StatusCode::NOT_FOUND, lang.t(text::NO_SUCH_SKU), &hint);
        }
        Err(problem) => return problem,
    };
    let (reserved, looked) = match reservations(viewer, &seen).await {
        Ok(found) => found,
        Err(problem) => return problem,
    };
    let done = match query.get("done").and_then(|seq| seq.parse().ok()) {
        Some(seq) => done(viewer, &seen, seq).await,
        None => html! {},
    };
    let before = query.get("before").and_then(|seq| seq.parse().ok()).map(Seq);
    let sku = seen.sums.sku.clone();
    let moved = read_record(viewer, move |record| match SkuId::new(sku) {
        Ok(sku) => Ok((record.movements(&sku, before, MOVEMENTS_SHOWN)?, record.checkpoint()?)),
        Err(_) => Ok((MovementPage { movements: Vec::new(), next: None }, record.checkpoint()?)),
    });
    let moved = moved.await;
    let names: Vec<String> = seen.locations.iter().map(|(_, name, _)| name.clone()).collect();
    let body = html! {
        nav.crumbs { a href="/console/stock" { (lang.t(text::STOCK)) } }
        (layout::title(id, &html! { (enough(lang, seen.sums.enough())) (parts::copy(lang, id, "")) }))
        (done)
        (totals(lang, &seen))
        div.columns {
            div {
                (locations(lang, &seen))
                (reserved_table(lang, &seen, &reserved, looked))
                (history(viewer, id, moved.as_ref().map_err(String::as_str), before.is_some()))
            }
            (sku_change::panel(viewer, id, &names, attempt))
        }
        p.hint { (lang.f(text::AS_OF_NOW, &[&format::number(seen.seq)])) }
        (parts::curl(viewer, &format!("/v1/stock/{}", crate::link::encode(id))))
    };
    (status, Page::new(id, Section::Stock, body).show(viewer)).into_response()
}

fn see(stock: &Stock, sku: &SkuId, now: Timestamp, seq: u64) -> Option<Seen> {
    let first = stock.items_of(sku).map(|item| item.item.get()).min()?;
    let sums = SkuSums::new(sku.as_str(), first, now, stock.items_of(sku).map(|item| item.level));
    let row = |item: banyan_domain::stock::ItemView<'_>| (item.item, item.location.to_string(), *item.level);
    Some(Seen {
        sums,
        locations: stock.items_of(sku).take(LOCATIONS_SHOWN).map(row).collect(),
        per_member: stock.per_member(sku),
        reservations_ever: stock.reservations_ever(),
        seq,
    })
}

/// The newest live reservations of the SKU, and how many reservations were looked at. Stops once all that is held and
/// promised is found.
async fn reservations(viewer: &Viewer, seen: &Seen) -> Result<(Vec<Reserved>, Option<u64>), Response> {
    let items: Vec<ItemNo> = seen.locations.iter().map(|(item, ..)| *item).collect();
    // Promised units of committed reservations are owed, and no longer part of a live one.
    let wanted = seen.sums.held + seen.sums.promised;
    let (mut found, mut units, mut next) = (Vec::new(), 0, seen.reservations_ever);
    let mut looked = 0;
    while units < wanted && next > 0 && looked < ROWS_PER_PAGE && found.len() < RESERVATIONS_SHOWN {
        let (items, from) = (items.clone(), next);
        let part = look(viewer, move |state| {
            let low = from.saturating_sub(ROWS_PER_LOOK as u64);
            let numbers = (low + 1..=from).rev();
            numbers
                .filter_map(|no| reserved(state.stock(), ReservationNo::new(no), &items))
                .collect::<Vec<_>>()
        });
        let part = part.await?;
        units += part.iter().map(|row| row.units).sum::<u64>();
        found.extend(part);
        looked += ROWS_PER_LOOK;
        next = next.saturating_sub(ROWS_PER_LOOK as u64);
    }
    let incomplete = (units < wanted || found.len() > RESERVATIONS_SHOWN).then_some(looked as u64);
    found.truncate(RESERVATIONS_SHOWN);
    Ok((found, incomplete))
}

fn reserved(stock: &Stock, no: ReservationNo, items: &[ItemNo]) -> Option<Reserved> {
    let view = stock.reservation(no).filter(|view| view.state == ReservationState::Held)?;
    let parts = || view.parts.iter().filter(|part| items.contains(&part.item));
    let units: u64 = parts().map(|part| u64::from(part.held) + u64::from(part.promised)).sum();
    (units > 0).then(|| Reserved {
        no,
        units,
        promised: parts().map(|part| u64::from(part.promised)).sum(),
        until: view.at,
        member: view.member.map(Into::into),
        order: view.order.map(Into::into),
    })
}

/// Whether an event counted, received, corrected or configured the SKU.
fn concerns(entry: &Entry, sku: &str, items: &[ItemNo]) -> bool {
    let Event::Stock(event) = &entry.event else { return false };
    match event {
        StockEvent::ItemCreated { item, .. }
        | StockEvent::StockSet { item, .. }
        | StockEvent::GoodsReceived { item, .. }
        | StockEvent::StockAdjusted { item, .. }
        | StockEvent::ItemConfigured { item, .. }
        | StockEvent::PurchaseLimitSet { item, .. } => items.contains(item),
        StockEvent::StockImported { new, set, .. } => {
            new.iter().any(|row| row.sku.as_str() == sku) || set.iter().any(|row| items.contains(&row.item))
        }
        StockEvent::GoodsReturned { parts, .. } => parts.iter().any(|part| items.contains(&part.item)),
        _ => false,
    }
}

/// What a change became: told from the event itself. Waits a moment for the record store to show it.
async fn done(viewer: &Viewer, seen: &Seen, seq: u64) -> Markup {
    let (lang, sku) = (viewer.lang(), seen.sums.sku.clone());
    let items: Vec<ItemNo> = seen.locations.iter().map(|(item, ..)| *item).collect();
    let found = log_pages::off_thread(viewer.console.app.shard(), move |shard| {
        Ok(log_pages::one(shard, seq)?.filter(|found| concerns(&found.entry, &sku, &items)))
    });
    let Ok(Some(_)) = found.await else { return html! {} };
    let progress = viewer.console.app.record_progress().clone();
    let waited = tokio::task::spawn_blocking(move || progress.wait_for(Seq(seq), WAIT_MAX)).await;
    // If it is not there yet, the page says as of which event it speaks.
    drop(waited);
    html! {
        p.notice.well role="status" {
            strong { (lang.t(text::STOCK_DONE)) ". " } (lang.t(text::BECAME)) " "
            a href=(parts::event_href(seq)) { (lang.f(text::EVENT_N, &[&format::number(seq)])) } ". " (lang.t(text::WAY_BACK_COUNT))
        }
    }
}

fn totals(lang: Lang, seen: &Seen) -> Markup {
    let sums = &seen.sums;
    html! {
        dl.totals {
            (count(lang.t(text::AVAILABLE), sums.available))
            (count(lang.t(text::ON_HAND), sums.on_hand))
            (count(lang.t(text::HELD_UNITS), sums.held))
            (count(lang.t(text::SAFETY), sums.safety))
            (count(lang.t(text::PROMISED), sums.promised))
            (count(lang.t(text::OWED), sums.owed))
            (fact(lang.t(text::PER_MEMBER_LIMIT), &html! {
                @match seen.per_member { Some(n) => { (format::number(n.into())) }, None => { span.hint { (lang.t(text::NO_LIMIT)) } } }
            }))
        }
    }
}

fn locations(lang: Lang, seen: &Seen) -> Markup {
    let cell = |word: Text, n: u32| html! { td.num data-label=(lang.t(word)) { @if n == 0 { span.hint.none { "0" } } @else { (format::number(n.into())) } } };
    html! {
        section {
            h2 { (lang.t(text::LOCATIONS)) }
            table.stack {
                thead { tr {
                    th scope="col" { (lang.t(text::LOCATION)) }
                    @for word in [text::AVAILABLE, text::ON_HAND, text::HELD_UNITS, text::SAFETY, text::PROMISED, text::OWED, text::BEYOND] {
                        th.num scope="col" { (lang.t(word)) }
                    }
                } }
                tbody { @for (_, name, level) in &seen.locations {
                    tr {
                        th scope="row" { (name) }
                        (cell(text::AVAILABLE, level.available()))
                        (cell(text::ON_HAND, level.on_hand))
                        (cell(text::HELD_UNITS, level.held))
                        (cell(text::SAFETY, level.safety))
                        (cell(text::PROMISED, level.promised))
                        (cell(text::OWED, level.owed))
                        (cell(text::BEYOND, level.promisable(banyan_api::now())))
                    }
                } }
            }
            @if seen.sums.locations > seen.locations.len() {
                p.hint { (lang.f(text::AND_MORE, &[&format::number((seen.sums.locations - seen.locations.len()) as u64)])) }
            }
        }
    }
}

fn reserved_table(lang: Lang, seen: &Seen, rows: &[Reserved], looked: Option<u64>) -> Markup {
    html! {
        section {
            h2 { (lang.t(text::RESERVATIONS_LIVE)) }
            @if rows.is_empty() && seen.sums.held + seen.sums.promised == 0 { p.nothing.small { (lang.t(text::NO_RESERVATIONS)) } }
            @if !rows.is_empty() {
                table.stack {
                    thead { tr {
                        th scope="col" { (lang.t(text::RESERVATION)) }
                        th.num scope="col" { (lang.t(text::UNITS)) }
                        th scope="col" { (lang.t(text::MEMBER)) }
                        th scope="col" { (lang.t(text::ORDER_TITLE)) }
                        th scope="col" { (lang.t(text::ENDS_BY_ITSELF)) }
                    } }
                    tbody { @for row in rows {
                        tr {
                            th scope="row" { span.mono { (row.no) } }
                            td.num data-label=(lang.t(text::UNITS)) {
                                span { (format::number(row.units)) @if row.promised > 0 { " " span.hint { (lang.f(text::N_BEYOND, &[&format::number(row.promised)])) } } }
                            }
                            td data-label=(lang.t(text::MEMBER)) {
                                @match &row.member { Some(member) => { a href=(parts::member_href(member)) title=(member) { (parts::short(member)) } }, None => { span.hint.none { "–" } } }
                            }
                            td data-label=(lang.t(text::ORDER_TITLE)) {
                                @match &row.order { Some(order) => { (parts::order_link(order)) }, None => { span.hint.none { "–" } } }
                            }
                            td data-label=(lang.t(text::ENDS_BY_ITSELF)) { (parts::time(lang, row.until)) }
                        }
                    } }
                }
            }
            @if let Some(looked) = looked { p.hint { (lang.f(text::RESERVATIONS_MORE, &[&format::number(looked)])) } }
        }
    }
}

/// What moved goods, in a word.
fn movement(kind: &str) -> Text {
    match kind {
        "count" => text::MOVED_COUNT,
        "import" => text::MOVED_IMPORT,
        "receive" => text::MOVED_RECEIVE,
        "adjust" => text::MOVED_ADJUST,
        "commit" => text::MOVED_COMMIT,
        "return" => text::MOVED_RETURN,
        _ => text::MOVED_FREED,
    }
}

fn history(viewer: &Viewer, id: &str, moved: Result<&(MovementPage, Seq), &str>, is_older: bool) -> Markup {
    let lang = viewer.lang();
    html! {
        section #history {
            h2 { (lang.t(text::STOCK_HISTORY)) }
            @match moved {
                Err(why) => { p.hint { (lang.f(text::RECORD_UNREADABLE_HINT, &[why])) } },
                Ok((page, checkpoint)) => {
                    @if page.movements.is_empty() { p.nothing.small { (lang.t(text::NOTHING_MOVED)) } }
                    @else { (movements(lang, &page.movements)) }
                    nav.pager aria-label=(lang.t(text::PAGES)) {
                        @if is_older { a.button href=(parts::sku_href(id)) { (lang.t(text::NEWEST)) } }
                        @if let Some(next) = page.next { a.button rel="next" href=(link::with(&parts::sku_href(id), &[("before", &next.to_string())])) { (lang.t(text::OLDER)) } }
                    }
                    (as_of(viewer, *checkpoint))
                },
            }
        }
    }
}

fn movements(lang: Lang, rows: &[MovementRecord]) -> Markup {
    html! {
        table.stack {
            thead { tr {
                th scope="col" { (lang.t(text::TYPE)) }
                th scope="col" { (lang.t(text::TIME)) }
                th scope="col" { (lang.t(text::LOCATION)) }
                th.num scope="col" { (lang.t(text::UNITS_DIFFERENCE)) }
                th.num scope="col" { (lang.t(text::ON_HAND)) }
                th scope="col" { (lang.t(text::DETAILS)) }
            } }
            tbody { @for row in rows {
                tr {
                    th scope="row" { a href=(parts::event_href(row.seq.as_u64())) { (lang.t(movement(&row.kind))) } }
                    td.when { (parts::time(lang, row.at)) }
                    td data-label=(lang.t(text::LOCATION)) { (row.location) }
                    td.num data-label=(lang.t(text::UNITS_DIFFERENCE)) { b { @if row.change > 0 { "+" } (parts::signed(row.change)) } }
                    td.num data-label=(lang.t(text::ON_HAND)) { (format::number(row.on_hand.into())) }
                    td.what {
                        @if let Some(reservation) = row.reservation { span.mono { (reservation) } " " }
                        @if row.filled > 0 { (lang.f(text::FILLED, &[&format::number(row.filled.into())])) " " }
                        @if let Some(by) = &row.actor { span.by { (lang.f(text::BY, &[by])) } }
                        @if let Some(reason) = row.reason.as_deref().filter(|reason| !reason.is_empty()) { q.reason { (reason) } }
                    }
                }
            } }
        }
    }
}
