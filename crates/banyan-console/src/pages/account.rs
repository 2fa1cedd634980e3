//! One account: what it has, and the transfers that made it so.

use crate::format;
use crate::gate::{Fields, Viewer};
use crate::layout::{self, Page, Section, fact};
use crate::link;
use crate::log_pages::{self, EventPage, LOOK_EVENTS_MAX, Look};
use crate::pages::ledger::{AccountRow, balance, rule};
use crate::pages::look;
use crate::parts;
use crate::text::{self, Text};
use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Redirect, Response};
use banyan_domain::pay::{Event as PayEvent, Leg};
use banyan_domain::{AccountId, AccountNo, Currency, Entry, Event, Timestamp, TransferNo};
use http::StatusCode;
use maud::{Markup, html};
use std::collections::BTreeMap;

/// Events with transfers of the account on one page.
const PAGE_EVENTS: usize = 50;
/// Legs shown: one event has up to 64.
const LEGS_SHOWN: usize = 200;

/// One transfer of the account.
struct Line {
    seq: u64,
    at: Timestamp,
    transfer: TransferNo,
    kind: Text,
    /// Whether it set an amount aside, which is not moved yet.
    is_hold: bool,
    /// The transfer it concerns, if another.
    of: Option<TransferNo>,
    other: AccountNo,
    debit: Option<i64>,
    credit: Option<i64>,
    reference: String,
}

/// What the state adds to the log: the names of accounts, and what is left of holds.
#[derive(Default)]
struct Known {
    names: BTreeMap<AccountNo, String>,
    held: BTreeMap<TransferNo, i64>,
}

/// Leads from an account's number, which events have, to the account.
pub(crate) async fn number(viewer: Viewer, Path(no): Path<String>) -> Response {
    let wanted = AccountNo::new(no.parse().unwrap_or(0));
    match look(&viewer, move |state| state.ledger().account_id(wanted).map(str::to_owned)).await {
        Ok(Some(id)) => Redirect::to(&parts::account_href(&id)).into_response(),
        Ok(None) => no_such(&viewer, &no),
        Err(problem) => problem,
    }
}

fn no_such(viewer: &Viewer, id: &str) -> Response {
    let lang = viewer.lang();
    let hint = lang.f(text::NO_SUCH_ACCOUNT_HINT, &[id]);
    viewer.problem(StatusCode::NOT_FOUND, lang.t(text::NO_SUCH_ACCOUNT), &hint)
}

/// Shows an account.
pub(crate) async fn show(viewer: Viewer, Path(id): Path<String>, Query(query): Query<Fields>) -> Response {
    let lang = viewer.lang();
    let seen = match AccountId::new(id.as_str()) {
        Ok(wanted) => {
            look(&viewer, move |state| {
                state.ledger().statement(&wanted).map(|of| (AccountRow::from(of), state.seq()))
            })
            .await
        }
        Err(_) => Ok(None),
    };
    let (row, seq) = match seen {
        Ok(Some(seen)) => seen,
        Ok(None) => return no_such(&viewer, &id),
        Err(problem) => return problem,
    };
    let before = query.get("before").and_then(|seq| seq.parse().ok());
    let no = AccountNo::new(row.no);
    let page = log_pages::off_thread(viewer.console.app.shard(), move |shard| {
        log_pages::look_back(shard, before.unwrap_or(u64::MAX), PAGE_EVENTS, &|entry| wanted(entry, no))
    });
    let page = page.await;
    let lines = page.as_ref().map(|page| lines(page, no)).unwrap_or_default();
    let wanted: Vec<(AccountNo, TransferNo)> = lines.iter().map(|line| (line.other, line.transfer)).collect();
    let known = look(&viewer, move |state| {
        let ledger = state.ledger();
        let mut known = Known::default();
        for (account, transfer) in wanted {
            known.names.extend(ledger.account_id(account).map(|id| (account, id.to_owned())));
            known.held.extend(ledger.hold(transfer).map(|hold| (transfer, hold.left)));
        }
        known
    });
    let known = match known.await {
        Ok(known) => known,
        Err(problem) => return problem,
    };
    let body = html! {
        nav.crumbs { a href="/console/ledger" { (lang.t(text::LEDGER)) } }
        (layout::title(&row.id, &html! { span.hint { (lang.t(rule(row.rule))) } (parts::copy(lang, &row.id, "")) }))
        (totals(&viewer, &row))
        section #history {
            h2 { (lang.t(text::TRANSFERS)) }
            @match &page {
                Err(why) => { p.hint { (lang.f(text::LOG_UNREADABLE_HINT, &[why])) } },
                Ok(page) => {
                    @if lines.is_empty() { p.hint { (lang.f(text::NOT_IN_RECENT, &[&format::number(LOOK_EVENTS_MAX)])) } }
                    @else { (table(&viewer, &row, &lines, &known)) }
                    (pager(&viewer, &row.id, page, before))
                },
            }
        }
        p.hint { (lang.f(text::AS_OF_NOW, &[&format::number(seq)])) }
        (parts::curl(&viewer, &format!("/v1/ledger/accounts/{}", link::encode(&row.id))))
    };
    Page::new(&row.id, Section::Ledger, body).show(&viewer).into_response()
}

fn totals(viewer: &Viewer, row: &AccountRow) -> Markup {
    let lang = viewer.lang();
    let amount = |minor: i64| html! { span.num { (format::amount(minor.into(), row.currency)) } };
    html! {
        dl.totals {
            (fact(lang.t(text::BALANCE), &balance(lang, row.balance, row.currency)))
            @if let Some(available) = row.available { (fact(lang.t(text::SPENDABLE), &amount(available))) }
            (fact(lang.t(text::DEBITS), &amount(row.debits)))
            (fact(lang.t(text::CREDITS), &amount(row.credits)))
            (fact(lang.t(text::DEBITS_HELD), &amount(row.debits_held)))
            (fact(lang.t(text::CREDITS_HELD), &amount(row.credits_held)))
        }
    }
}

/// Whether an event holds transfers of the account. The end of a hold names no account: what is left of a hold is told
/// from the state.
fn wanted(entry: &Entry, account: AccountNo) -> Look {
    let Event::Pay(event) = &entry.event else { return Look::Pass };
    match event {
        PayEvent::Transferred { legs, .. } => {
            let touches = |leg: &Leg| match leg {
                Leg::Posted { debit, credit, .. }
                | Leg::Held { debit, credit, .. }
                | Leg::Captured { debit, credit, .. }
                | Leg::Refunded { debit, credit, .. }
                | Leg::Reversed { debit, credit, .. } => *debit == account || *credit == account,
                Leg::Voided { .. } => false,
            };
            if legs.iter().any(touches) { Look::Keep } else { Look::Pass }
        }
        // Opened for a transfer, it is named there too.
        PayEvent::AccountOpened { account: opened, .. } if opened.no == account => Look::Last,
        _ => Look::Pass,
    }
}

/// The account's part of each transfer, newest first.
fn lines(page: &EventPage, account: AccountNo) -> Vec<Line> {
    let mut lines = Vec::new();
    for found in &page.events {
        let Event::Pay(PayEvent::Transferred { first, legs, reference, .. }) = &found.entry.event else {
            continue;
        };
        for (no, leg) in (first.get()..).zip(legs).collect::<Vec<_>>().into_iter().rev() {
            let (kind, of, debit, credit, amount) = match *leg {
                Leg::Posted { debit, credit, amount, .. } => (text::LEG_POSTED, None, debit, credit, amount),
                Leg::Held { debit, credit, amount, .. } => (text::LEG_HELD, None, debit, credit, amount),
                Leg::Captured { pending, debit, credit, amount, .. } => {
                    (text::LEG_CAPTURED, Some(pending), debit, credit, amount)
                }
                Leg::Refunded { of, debit, credit, amount } => {
                    (text::LEG_REFUNDED, Some(of), debit, credit, amount)
                }
                Leg::Reversed { of, debit, credit, amount } => {
                    (text::LEG_REVERSED, Some(of), debit, credit, amount)
                }
                Leg::Voided { .. } => continue,
            };
            if debit != account && credit != account {
                continue;
            }
            lines.push(Line {
                seq: found.seq,
                at: found.time,
                transfer: TransferNo::new(no),
                kind,
                is_hold: matches!(leg, Leg::Held { .. }),
                of,
                other: if debit == account { credit } else { debit },
                debit: (debit == account).then_some(amount),
                credit: (credit == account).then_some(amount),
                reference: reference.to_string(),
            });
        }
    }
    lines.truncate(LEGS_SHOWN);
    lines
}

/// What is left of a hold, in words.
fn hold_words(viewer: &Viewer, row: &AccountRow, left: Option<i64>) -> String {
    let lang = viewer.lang();
    match left {
        Some(left) => lang.f(text::HOLD_LEFT, &[&format::plain_amount(left.into(), row.currency)]),
        None => lang.t(text::HOLD_OVER).into(),
    }
}

fn table(viewer: &Viewer, row: &AccountRow, lines: &[Line], known: &Known) -> Markup {
    let lang = viewer.lang();
    let amount = |minor: Option<i64>, currency: Currency| html! { @if let Some(minor) = minor { (format::plain_amount(minor.into(), currency)) } };
    html! {
        table.stack {
            thead { tr {
                th scope="col" { (lang.t(text::TRANSFER)) }
                th scope="col" { (lang.t(text::TIME)) }
                th scope="col" { (lang.t(text::TYPE)) }
                th scope="col" { (lang.t(text::OTHER_ACCOUNT)) }
                th scope="col" { (lang.t(text::REFERENCE)) }
                th.num scope="col" { (lang.t(text::DEBIT)) }
                th.num scope="col" { (lang.t(text::CREDIT)) }
            } }
            tbody { @for line in lines {
                @let debit = amount(line.debit, row.currency);
                @let credit = amount(line.credit, row.currency);
                @let left = hold_words(viewer, row, known.held.get(&line.transfer).copied());
                tr .is-hold[line.is_hold] {
                    th scope="row" { a.mono href=(parts::event_href(line.seq)) { (line.transfer) } }
                    td.when { (parts::time(lang, line.at)) }
                    td data-label=(lang.t(text::TYPE)) { span { (lang.t(line.kind)) @if let Some(of) = line.of { " " span.hint { (lang.f(text::OF_TRANSFER, &[&of.to_string()])) } }
                        @if line.is_hold { " " span.hint { (left) } } } }
                    td data-label=(lang.t(text::OTHER_ACCOUNT)) {
                        @if let Some(name) = known.names.get(&line.other) { a href=(parts::account_href(name)) title=(name) { (parts::short(name)) } }
                    }
                    td data-label=(lang.t(text::REFERENCE)) { (parts::order_link(&line.reference)) }
                    td.num data-label=[line.debit.map(|_| lang.t(text::DEBIT))] { (debit) }
                    td.num data-label=[line.credit.map(|_| lang.t(text::CREDIT))] { (credit) }
                }
            } }
        }
    }
}

fn pager(viewer: &Viewer, id: &str, page: &EventPage, before: Option<u64>) -> Markup {
    let lang = viewer.lang();
    let full = page.events.len() == PAGE_EVENTS;
    let older = link::with(&parts::account_href(id), &[("before", &page.looked_to.to_string())]);
    html! {
        @if !page.is_begin && !full { p.hint { (lang.f(text::LOOKED, &[&format::number(LOOK_EVENTS_MAX), &format::number(page.looked_to)])) } }
        nav.pager aria-label=(lang.t(text::PAGES)) {
            @if before.is_some() { a.button href=(parts::account_href(id)) { (lang.t(text::NEWEST)) } }
            @if !page.is_begin { a.button rel="next" href=(older) { (lang.t(if full { text::OLDER } else { text::LOOK_FURTHER })) } }
        }
    }
}
