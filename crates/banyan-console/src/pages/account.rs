//! One account: what it has, and the transfers that made it so.

use crate::format;
use crate::gate::{Fields, Viewer};
use crate::layout::{self, Page, Section, fact};
use crate::link;
use crate::pages::ledger::{AccountRow, balance, rule};
use crate::pages::members::as_of;
use crate::pages::{look, read_record};
use crate::parts;
use crate::text::{self, Text};
use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Redirect, Response};
use banyan_domain::{AccountId, AccountNo, TransferNo};
use banyan_views::record::{
    HoldState, StatementCursor, StatementLine, StatementPage, TransferKind, TransferRecord,
};
use http::StatusCode;
use maud::{Markup, html};

/// Transfers on one page.
const PAGE_TRANSFERS: usize = 50;

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
    // Where a page begins, and the account's balance there: it need not be added up again.
    let cursor = query.get("before").and_then(|text| {
        let (before, balance) = text.split_once('.')?;
        Some(StatementCursor {
            before: TransferNo::new(before.parse().ok()?),
            balance: balance.parse().ok()?,
        })
    });
    let statement = read_record(&viewer, move |record| {
        let page = AccountId::new(id).ok().map(|id| record.statement(&id, cursor, PAGE_TRANSFERS));
        Ok((page.transpose()?.flatten(), record.checkpoint()?))
    });
    let statement = statement.await;
    let body = html! {
        nav.crumbs { a href="/console/ledger" { (lang.t(text::LEDGER)) } }
        (layout::title(&row.id, &html! { span.hint { (lang.t(rule(row.rule))) } (parts::copy(lang, &row.id, "")) }))
        (totals(&viewer, &row))
        section #history {
            h2 { (lang.t(text::TRANSFERS)) }
            @match &statement {
                Err(why) => { p.hint { (lang.f(text::RECORD_UNREADABLE_HINT, &[why])) } },
                Ok((page, checkpoint)) => {
                    @match page {
                        Some(page) if !page.lines.is_empty() => { (table(&viewer, page)) (pager(&viewer, &row.id, page, cursor)) },
                        _ => { p.hint { (lang.t(text::NO_TRANSFERS)) } },
                    }
                    (as_of(&viewer, *checkpoint))
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

/// What a transfer is, in a word.
const fn kind(kind: TransferKind) -> Text {
    match kind {
        TransferKind::Post => text::LEG_POSTED,
        TransferKind::Hold => text::LEG_HELD,
        TransferKind::Capture => text::LEG_CAPTURED,
        TransferKind::Void => text::LEG_VOIDED,
        TransferKind::Refund => text::LEG_REFUNDED,
        TransferKind::Reverse => text::LEG_REVERSED,
    }
}

/// Where a hold stands, in words.
fn hold(viewer: &Viewer, transfer: &TransferRecord) -> Option<String> {
    let lang = viewer.lang();
    let (state, left, _) = transfer.hold?;
    Some(match state {
        HoldState::Pending => {
            lang.f(text::HOLD_LEFT, &[&format::plain_amount(left.into(), transfer.currency)])
        }
        HoldState::Captured => lang.t(text::HOLD_CAPTURED).into(),
        HoldState::Voided => lang.t(text::HOLD_VOIDED).into(),
        HoldState::Expired => lang.t(text::HOLD_EXPIRED).into(),
    })
}

fn table(viewer: &Viewer, page: &StatementPage) -> Markup {
    let lang = viewer.lang();
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
                th.num scope="col" { (lang.t(text::BALANCE_AFTER)) }
            } }
            tbody { @for line in &page.lines { (line_row(viewer, &page.account.id, line)) } }
        }
    }
}

fn line_row(viewer: &Viewer, account: &str, line: &StatementLine) -> Markup {
    let (lang, transfer) = (viewer.lang(), &line.transfer);
    let is_debit = &*transfer.debit == account;
    let other = if is_debit { &transfer.credit } else { &transfer.debit };
    let is_hold = matches!(transfer.kind, TransferKind::Hold | TransferKind::Void);
    let amount = format::plain_amount(transfer.amount.into(), transfer.currency);
    html! {
        tr .is-hold[is_hold] {
            th scope="row" { a.mono href=(parts::event_href(transfer.seq.as_u64())) { (transfer.no) } }
            td.when { (parts::time(lang, transfer.at)) }
            td data-label=(lang.t(text::TYPE)) { span {
                (lang.t(kind(transfer.kind)))
                @if let Some(of) = transfer.of { " " span.hint { (lang.f(text::OF_TRANSFER, &[&of.to_string()])) } }
                @if let Some(hold) = hold(viewer, transfer) { " " span.hint { (hold) } }
            } }
            td data-label=(lang.t(text::OTHER_ACCOUNT)) { a href=(parts::account_href(other)) title=(other) { (parts::short(other)) } }
            td data-label=(lang.t(text::REFERENCE)) { (parts::order_link(&transfer.reference)) }
            td.num data-label=[is_debit.then(|| lang.t(text::DEBIT))] { @if is_debit { (amount) } }
            td.num data-label=[(!is_debit).then(|| lang.t(text::CREDIT))] { @if !is_debit { (amount) } }
            td.num data-label=(lang.t(text::BALANCE_AFTER)) { @if is_hold { span.hint.none { "–" } } @else { (balance(lang, line.balance, transfer.currency)) } }
        }
    }
}

fn pager(viewer: &Viewer, id: &str, page: &StatementPage, cursor: Option<StatementCursor>) -> Markup {
    let lang = viewer.lang();
    html! {
        nav.pager aria-label=(lang.t(text::PAGES)) {
            @if cursor.is_some() { a.button href=(parts::account_href(id)) { (lang.t(text::NEWEST)) } }
            @if let Some(next) = page.next {
                @let before = format!("{}.{}", next.before.get(), next.balance);
                a.button rel="next" href=(link::with(&parts::account_href(id), &[("before", &before)])) { (lang.t(text::OLDER)) }
            }
        }
    }
}
