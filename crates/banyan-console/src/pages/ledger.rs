//! The books: whether debits equal credits in each currency, and every account with its balance.

use crate::format;
use crate::forms;
use crate::gate::{Fields, Viewer};
use crate::layout::{self, Page, Section, count, fact};
use crate::link;
use crate::pages::{ROWS_PER_LOOK, ROWS_PER_PAGE, look};
use crate::parts;
use crate::text::{self, Lang, Text};
use axum::extract::Query;
use axum::response::{IntoResponse, Response};
use banyan_domain::pay::{Rule, Statement, Totals};
use banyan_domain::{AccountId, Currency};
use maud::{Markup, html};

/// Accounts on one page.
const PAGE_ACCOUNTS: usize = 50;

/// A column of the trial balance: its name, and what it adds up.
type TrialColumn = (Text, fn(&Totals) -> i128);

const TRIAL: [TrialColumn; 4] = [
    (text::DEBITS_POSTED, |totals| totals.debits_posted),
    (text::CREDITS_POSTED, |totals| totals.credits_posted),
    (text::DEBITS_HELD, |totals| totals.debits_pending),
    (text::CREDITS_HELD, |totals| totals.credits_pending),
];

/// What an account has, in minor units of its currency.
#[derive(Clone, Debug)]
pub(crate) struct AccountRow {
    pub(crate) no: u32,
    pub(crate) id: String,
    pub(crate) currency: Currency,
    pub(crate) rule: Rule,
    pub(crate) debits: i64,
    pub(crate) credits: i64,
    pub(crate) debits_held: i64,
    pub(crate) credits_held: i64,
    pub(crate) balance: i64,
    pub(crate) available: Option<i64>,
}

impl From<Statement<'_>> for AccountRow {
    fn from(of: Statement<'_>) -> Self {
        Self {
            no: of.no.get(),
            id: of.id.into(),
            currency: of.currency,
            rule: of.rule,
            debits: of.debits_posted,
            credits: of.credits_posted,
            debits_held: of.debits_pending,
            credits_held: of.credits_pending,
            balance: of.balance,
            available: of.available,
        }
    }
}

/// What the address asks for.
struct Asked {
    /// The currency, or nothing for all.
    state: String,
    q: String,
    /// The number of the account to go on after.
    after: u32,
}

/// What was found.
#[derive(Default)]
struct Found {
    totals: Vec<(Currency, Totals)>,
    rows: Vec<AccountRow>,
    /// Where to go on, if there is more.
    next: Option<u32>,
    looked: usize,
    accounts: u32,
    transfers: u64,
    seq: u64,
}

/// Shows the trial balance and the accounts in order of opening.
pub(crate) async fn show(viewer: Viewer, Query(query): Query<Fields>) -> Response {
    let lang = viewer.lang();
    let field = |name: &str| forms::field(&query, name).to_owned();
    let asked =
        Asked { state: field("state"), q: field("q"), after: field("after").parse().unwrap_or_default() };
    let found = match find(&viewer, &asked).await {
        Ok(found) => found,
        Err(problem) => return problem,
    };
    let body = html! {
        (layout::title(lang.t(text::LEDGER), &html! {}))
        @if found.accounts == 0 {
            (parts::empty(lang.t(text::NO_ACCOUNTS), lang.t(text::NO_ACCOUNTS_HINT), Some((lang, &open_command(&viewer)))))
        } @else {
            (trial_balance(&viewer, &found))
            section {
                h2 { (lang.t(text::ACCOUNTS)) }
                (filters(&viewer, &asked, &found))
                div #list {
                    @if found.rows.is_empty() { p.nothing { (lang.t(text::NO_ACCOUNT_FITS)) " " a href="/console/ledger" { (lang.t(text::SHOW_ALL)) } } }
                    @else { (table(lang, &found.rows)) }
                    (pager(lang, &asked, &found))
                }
            }
        }
        (parts::curl(&viewer, "/v1/ledger/trial-balance"))
    };
    Page::new(lang.t(text::LEDGER), Section::Ledger, body).show(&viewer).into_response()
}

fn open_command(viewer: &Viewer) -> String {
    let body = r#"{"account":"points:m-1","currency":"PTS","rule":"debits-within-credits"}"#;
    let origin = &viewer.visit.origin;
    format!("curl -X POST -H \"Authorization: Bearer $BANYAN_KEY\" -d '{body}' '{origin}/v1/ledger/accounts'")
}

async fn find(viewer: &Viewer, asked: &Asked) -> Result<Found, Response> {
    let exact = AccountId::new(asked.q.as_str()).ok();
    let currency = Currency::new(&asked.state).ok();
    let mut found = look(viewer, move |state| {
        let ledger = state.ledger();
        Found {
            totals: ledger.all_totals().map(|(currency, totals)| (currency, *totals)).collect(),
            // What was typed whole is found wherever it stands.
            rows: exact.and_then(|id| ledger.statement(&id).map(AccountRow::from)).into_iter().collect(),
            accounts: ledger.accounts_count(),
            transfers: ledger.transfers_ever(),
            seq: state.seq(),
            ..Found::default()
        }
    })
    .await?;
    let named = found.rows.first().map(|row| row.no);
    found.rows.retain(|_| asked.after == 0);
    let (mut after, wanted) = (asked.after, asked.q.to_ascii_lowercase());
    while found.rows.len() < PAGE_ACCOUNTS && found.looked < ROWS_PER_PAGE && after < found.accounts {
        let (wanted, room) = (wanted.clone(), PAGE_ACCOUNTS - found.rows.len());
        let part = look(viewer, move |state| {
            let fits = |row: &Statement<'_>| {
                named != Some(row.no.get())
                    && currency.is_none_or(|currency| currency == row.currency)
                    && (wanted.is_empty() || row.id.to_ascii_lowercase().contains(&wanted))
            };
            let (mut rows, mut last) = (Vec::new(), after);
            for row in state.ledger().statements_after(after).take(ROWS_PER_LOOK) {
                last = row.no.get();
                if fits(&row) {
                    rows.push(AccountRow::from(row));
                }
                if rows.len() == room {
                    break;
                }
            }
            (rows, last)
        });
        let (rows, last) = part.await?;
        found.looked += ROWS_PER_LOOK;
        found.rows.extend(rows);
        if last == after {
            break;
        }
        after = last;
    }
    found.next = (after < found.accounts).then_some(after);
    Ok(found)
}

fn trial_balance(viewer: &Viewer, found: &Found) -> Markup {
    let lang = viewer.lang();
    let balanced = found.totals.iter().all(|(_, totals)| totals.is_balanced());
    html! {
        section.trial aria-label=(lang.t(text::TRIAL_BALANCE)) {
            header.line {
                h2 { (lang.t(text::TRIAL_BALANCE)) }
                span.hint { (lang.f(text::AS_OF_NOW, &[&format::number(found.seq)])) }
            }
            @if !balanced { (parts::fault(lang.t(text::OUT_OF_BALANCE))) }
            table.stack {
                thead { tr {
                    th scope="col" { (lang.t(text::CURRENCY)) }
                    @for (word, _) in TRIAL { th.num scope="col" { (lang.t(word)) } }
                    th scope="col" {}
                } }
                tbody { @for (currency, totals) in &found.totals {
                    tr {
                        th scope="row" { b { (currency) } }
                        @for (word, sum) in TRIAL { td.num data-label=(lang.t(word)) { (format::plain_amount(sum(totals), *currency)) } }
                        td.what { @if totals.is_balanced() { (parts::state(lang, "redeemed", text::IN_BALANCE)) } @else { (parts::state(lang, "failed", text::OUT_OF_BALANCE)) } }
                    }
                } }
            }
            dl.totals.plain-line {
                (count(lang.t(text::ACCOUNTS), found.accounts.into()))
                (count(lang.t(text::TRANSFERS_EVER), found.transfers))
                (fact(lang.t(text::AT_ANY_SEQ), &parts::command_line(lang, &format!("banyan ledger trial-balance --data banyan-data --at {}", found.seq))))
            }
        }
    }
}

fn filters(viewer: &Viewer, asked: &Asked, found: &Found) -> Markup {
    let lang = viewer.lang();
    let tab = |state: &str, word: &str| {
        let href = link::with("/console/ledger", &[("state", state), ("q", &asked.q)]);
        html! { a href=(href) aria-current=[(asked.state == state).then_some("true")] { (word) } }
    };
    let tabs = html! {
        (tab("", lang.t(text::ALL_CURRENCIES)))
        @for (currency, _) in &found.totals { (tab(currency.as_str(), currency.as_str())) }
    };
    parts::filters(viewer, "/console/ledger", &tabs, &asked.state, text::FIND_ACCOUNT, &asked.q)
}

/// Which balances an account may have, in words.
pub(crate) const fn rule(rule: Rule) -> Text {
    match rule {
        Rule::Free => text::RULE_FREE,
        Rule::DebitsWithinCredits => text::RULE_OWED,
        Rule::CreditsWithinDebits => text::RULE_OWNED,
    }
}

/// A balance with its side: bookkeepers write no minus.
pub(crate) fn balance(lang: Lang, balance: i64, currency: Currency) -> Markup {
    let side = if balance < 0 { text::DEBIT_BALANCE } else { text::CREDIT_BALANCE };
    html! {
        span { b { (format::amount(i128::from(balance).abs(), currency)) } @if balance == 0 { " " span.side {} } @else { " " span.side { (lang.t(side)) } } }
    }
}

fn table(lang: Lang, rows: &[AccountRow]) -> Markup {
    let amount = |word: Text, minor: i64, row: &AccountRow| {
        html! { td.num data-label=(lang.t(word)) { @if minor == 0 { span.hint.none { "0" } } @else { (format::plain_amount(minor.into(), row.currency)) } } }
    };
    html! {
        table.stack {
            thead { tr {
                th scope="col" { (lang.t(text::ACCOUNT)) }
                th.num scope="col" { (lang.t(text::BALANCE)) }
                th.num scope="col" { (lang.t(text::DEBITS)) }
                th.num scope="col" { (lang.t(text::CREDITS)) }
                th.num scope="col" { (lang.t(text::ON_HOLD)) }
                th scope="col" { (lang.t(text::RULE)) }
            } }
            tbody { @for row in rows {
                tr {
                    th scope="row" { a href=(parts::account_href(&row.id)) { (row.id) } }
                    td.num data-label=(lang.t(text::BALANCE)) { (balance(lang, row.balance, row.currency)) }
                    (amount(text::DEBITS, row.debits, row))
                    (amount(text::CREDITS, row.credits, row))
                    (amount(text::ON_HOLD, row.debits_held.saturating_add(row.credits_held), row))
                    td.quiet data-label=(lang.t(text::RULE)) { (lang.t(rule(row.rule))) }
                }
            } }
        }
    }
}

fn pager(lang: Lang, asked: &Asked, found: &Found) -> Markup {
    let href = |after: &str| {
        link::with("/console/ledger", &[("state", &asked.state), ("q", &asked.q), ("after", after)])
    };
    let full = found.rows.len() >= PAGE_ACCOUNTS;
    html! {
        @if found.next.is_some() && !full { p.hint { (lang.f(text::LOOKED_ROWS, &[&format::number(found.looked as u64)])) } }
        nav.pager aria-label=(lang.t(text::PAGES)) {
            @if asked.after > 0 { a.button href=(href("")) { (lang.t(text::FROM_START)) } }
            @if let Some(next) = found.next {
                a.button rel="next" href=(href(&next.to_string())) { (lang.t(if full { text::NEXT_PAGE } else { text::LOOK_FURTHER })) }
            }
        }
    }
}
