//! The ledger: accounts, linked transfers, and the proof that the books are balanced.

use super::coupons::write;
use crate::body;
use crate::clock::rfc3339;
use crate::problem::Problem;
use crate::routes::path::PathText;
use crate::wire_ledger::{
    AccountAnswerJson, AccountJson, NewAccountJson, TotalsJson, TransferJson, TransferredJson, TransfersJson,
    TrialBalanceJson, account,
};
use crate::{App, auth::Principal};
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use banyan_domain::pay::{self, Transfers};
use banyan_domain::{AccountId, Command, Outcome, Reference, Refusal, TransferNo};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use std::sync::Arc;

/// Largest body of a group of transfers: 64 of them, each opening two accounts with ids as long as they may be.
const TRANSFERS_BODY_BYTES_MAX: usize = 64 << 10;
/// Accounts in a page, at most and by default.
const ACCOUNTS_MAX: usize = 1_000;
const ACCOUNTS: usize = 100;

/// Which accounts of the trial balance to show.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccountsQuery {
    after: Option<u32>,
    limit: Option<usize>,
}

/// Opens an account. The same again is answered with 200; another definition under the same id with 409.
#[utoipa::path(
    post, path = "/v1/ledger/accounts", tag = "ledger", request_body = NewAccountJson,
    responses((status = 201, description = "Opened", body = AccountAnswerJson), (status = 200, description = "Opened before", body = AccountAnswerJson), (status = 403, description = "forbidden"), (status = 409, description = "account-exists, too-many-accounts")),
)]
pub(crate) async fn open_account(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let principal = app.identify(&headers)?;
    principal.must_serve()?;
    let request: NewAccountJson = body::parse(&body::read(body, body::SMALL_BODY_BYTES_MAX).await?)?;
    let (id, currency, rule) = request.check()?;
    let stamp = app.stamp(&headers, &principal, || format!("open {id} {currency} {}", rule.as_str()))?;
    let command = pay::Command::OpenAccount { id: id.clone(), currency, rule, by: principal.name.clone() };
    let (_, _, replayed) = app.ask(Command::Pay(command), stamp).await?;
    // The account is open, whatever comes of the look.
    let answer = statement(&app, id).await.map_err(|_| Problem::unknown_outcome())?;
    Ok(write(&answer, if replayed { StatusCode::OK } else { StatusCode::CREATED }, replayed))
}

/// Shows an account's balances. A shopper's token reads `points:MEMBER` and `credit:MEMBER` of its own member.
#[utoipa::path(
    get, path = "/v1/ledger/accounts/{id}", tag = "ledger", params(("id" = String, Path, description = "Account")),
    responses((status = 200, description = "The account", body = AccountAnswerJson), (status = 403, description = "forbidden"), (status = 404, description = "account-not-found")),
)]
pub(crate) async fn get_account(
    State(app): State<Arc<App>>,
    PathText(id): PathText,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let principal = app.identify(&headers)?;
    must_read(&principal, &id)?;
    // What cannot be an id is the id of no account.
    let id = account(id).map_err(|_| Problem::from(Refusal::Pay(pay::Refusal::AccountNotFound)))?;
    Ok(write(&statement(&app, id).await?, StatusCode::OK, false))
}

/// Makes transfers: all of them or none, in their order, each seeing those before it.
///
/// Needs an `Idempotency-Key`: money is never moved twice because an answer was lost.
#[utoipa::path(
    post, path = "/v1/ledger/transfers", tag = "ledger", request_body = TransfersJson,
    params(("Idempotency-Key" = String, Header, description = "1 to 255 visible ASCII characters; kept for at least 24 hours")),
    responses(
        (status = 201, description = "Made", body = TransferredJson), (status = 200, description = "Made before", body = TransferredJson),
        (status = 400, description = "idempotency-key-required, invalid-request"), (status = 402, description = "insufficient-funds"),
        (status = 403, description = "forbidden"), (status = 404, description = "account-not-found, transfer-not-found"),
        (status = 409, description = "account-exists, transfer-not-pending, not-refundable"),
        (status = 422, description = "currency-mismatch, same-account, amount-not-positive, capture-exceeds, refund-exceeds, balance-overflow, idempotency-key-reused"),
    ),
)]
pub(crate) async fn transfer(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let principal = app.identify(&headers)?;
    principal.must_serve()?;
    let request: TransfersJson = body::parse(&body::read(body, TRANSFERS_BODY_BYTES_MAX).await?)?;
    let reference =
        Reference::new(request.reference).map_err(|error| Problem::invalid(format!("{error}.")))?;
    let transfers = request.transfers.into_iter().map(TransferJson::check).collect::<Result<_, _>>()?;
    let transfers =
        Transfers::new(transfers).map_err(|error| Problem::invalid(format!("transfers: {error}.")))?;
    let stamp = app.required_stamp(&headers, &principal, || format!("transfer {reference} {transfers:?}"))?;
    let command = pay::Command::Transfer { transfers, reference, by: principal.name.clone() };
    let (outcome, seq, replayed) = app.ask(Command::Pay(command), stamp).await?;
    let Outcome::Pay(pay::Outcome::Transferred { first, count, expires_at }) = outcome else {
        unreachable!("transfers are answered with transfers")
    };
    let names = (first.get()..).take(usize::from(count)).map(|no| TransferNo::new(no).to_string());
    let answer = TransferredJson { transfers: names.collect(), expires_at: expires_at.map(rfc3339), seq };
    Ok(write(&answer, if replayed { StatusCode::OK } else { StatusCode::CREATED }, replayed))
}

/// Shows the sums of each currency, and accounts in order of opening.
///
/// The sums are those the server keeps with every transfer. `banyan ledger trial-balance` adds them up anew from the log.
#[utoipa::path(
    get, path = "/v1/ledger/trial-balance", tag = "ledger",
    params(("after" = Option<u32>, Query, description = "The `next` of the page before"), ("limit" = Option<usize>, Query, description = "Accounts, 0 to 1000; default 100")),
    responses((status = 200, description = "The sums and a page of accounts", body = TrialBalanceJson), (status = 403, description = "forbidden")),
)]
pub(crate) async fn show_trial_balance(
    State(app): State<Arc<App>>,
    query: Result<Query<AccountsQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    app.identify(&headers)?.must_read_all()?;
    let Query(query) = query.map_err(|error| Problem::invalid(format!("{error}.")))?;
    let limit = query.limit.unwrap_or(ACCOUNTS);
    if limit > ACCOUNTS_MAX {
        return Err(Problem::invalid("limit: must be 0 to 1000."));
    }
    let answer = app
        .look(move |state| {
            let ledger = state.ledger();
            let currencies: Vec<_> =
                ledger.all_totals().map(|(currency, totals)| TotalsJson::new(currency, totals)).collect();
            let after = query.after.unwrap_or(0);
            let accounts: Vec<AccountJson> =
                ledger.statements_after(after).take(limit).map(AccountJson::from).collect();
            let last = accounts.last().map_or(after, |last| last.account);
            let more = last < ledger.accounts_count();
            TrialBalanceJson {
                balanced: currencies.iter().all(|totals| totals.balanced),
                next: (more && limit > 0).then_some(last),
                currencies,
                accounts,
                seq: state.seq(),
            }
        })
        .await?;
    Ok(write(&answer, StatusCode::OK, false))
}

async fn statement(app: &App, id: AccountId) -> Result<AccountAnswerJson, Problem> {
    let found = app
        .look(move |state| {
            let account = state.ledger().statement(&id)?.into();
            Some(AccountAnswerJson { account, seq: state.seq() })
        })
        .await?;
    found.ok_or_else(|| Refusal::Pay(pay::Refusal::AccountNotFound).into())
}

/// Refuses a shopper any account but its own, whether there is one or not.
fn must_read(principal: &Principal, id: &str) -> Result<(), Problem> {
    let own = |member: &str| matches!(id.split_once(':'), Some(("points" | "credit", of)) if of == member);
    match &principal.member {
        Some(member) if !own(member.as_str()) => {
            Err(Problem::forbidden("A shopper's token reads only its own points and store credit."))
        }
        _ => Ok(()),
    }
}
