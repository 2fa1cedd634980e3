//! Campaigns: create, list, show, change.

use super::coupons::{campaign, now, write};
use crate::body::{self, SMALL_BODY_BYTES_MAX};
use crate::problem::Problem;
use crate::routes::path::PathText;
use crate::wire::{CampaignAnswerJson, CampaignChangeJson, CampaignJson, CampaignsJson};
use crate::{App, clock};
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use banyan_domain::coupon::{self, CampaignChange};
use banyan_domain::{CampaignNo, Command, Outcome, Reason, Refusal};
use banyan_engine::CampaignSummary;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use std::sync::Arc;

/// Most campaigns in a page.
const CAMPAIGNS_PAGE_MAX: usize = 1_000;

/// Creates a campaign. The same definition again is answered with 200; another one under the same id with 409.
#[utoipa::path(
    post, path = "/v1/campaigns", tag = "campaigns", request_body = CampaignJson,
    responses((status = 201, description = "Created", body = CampaignAnswerJson), (status = 200, description = "Created before", body = CampaignAnswerJson), (status = 400, description = "invalid-request"), (status = 409, description = "campaign-exists")),
)]
pub(crate) async fn create_campaign(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let principal = app.identify(&headers)?;
    principal.must_operate()?;
    let request: CampaignJson = body::parse(&body::read(body, SMALL_BODY_BYTES_MAX).await?)?;
    let definition = Box::new(request.check()?);
    let stamp = app.stamp(&headers, &principal, || format!("create {definition:?}"))?;
    let command = coupon::Command::CreateCampaign { definition, by: principal.name.clone() };
    let (outcome, _, replayed) = app.ask(Command::Coupon(command), stamp).await?;
    let status = if replayed { StatusCode::OK } else { StatusCode::CREATED };
    Ok(write(&show(&app, campaign_no(&outcome))?, status, replayed))
}

/// Which page to read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CampaignsQuery {
    after: Option<u32>,
    limit: Option<usize>,
}

/// Lists campaigns, newest first.
#[utoipa::path(
    get, path = "/v1/campaigns", tag = "campaigns",
    params(("after" = Option<u32>, Query, description = "The `next` of the page before"), ("limit" = Option<usize>, Query, description = "1 to 1000; default 1000")),
    responses((status = 200, description = "A page", body = CampaignsJson), (status = 400, description = "invalid-request")),
)]
pub(crate) async fn list_campaigns(
    State(app): State<Arc<App>>,
    query: Result<Query<CampaignsQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let principal = app.identify(&headers)?;
    let Query(query) = query.map_err(|error| Problem::invalid(format!("{error}.")))?;
    let limit = query.limit.unwrap_or(CAMPAIGNS_PAGE_MAX);
    if limit == 0 || limit > CAMPAIGNS_PAGE_MAX {
        return Err(Problem::invalid("limit: must be 1 to 1000."));
    }
    let (summary, now) = (app.shard.summary(), now());
    let older = |c: &&Arc<CampaignSummary>| query.after.is_none_or(|after| c.no.get() < after);
    let mut rest = summary.campaigns().rev().filter(older).peekable();
    let (mut campaigns, mut last) = (Vec::new(), None);
    for campaign in rest.by_ref().take(limit) {
        last = Some(campaign.no.get());
        campaigns.push(CampaignAnswerJson::new(campaign, now, summary.seq).seen_by(&principal));
    }
    let next = last.filter(|_| rest.peek().is_some());
    Ok(write(&CampaignsJson { campaigns, next, seq: summary.seq }, StatusCode::OK, false))
}

/// Shows a campaign as of the last durable block.
#[utoipa::path(
    get, path = "/v1/campaigns/{id}", tag = "campaigns", params(("id" = String, Path, description = "Campaign")),
    responses((status = 200, description = "The campaign", body = CampaignAnswerJson), (status = 404, description = "campaign-not-found")),
)]
pub(crate) async fn get_campaign(
    State(app): State<Arc<App>>,
    PathText(id): PathText,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let principal = app.identify(&headers)?;
    let summary = app.shard.summary();
    let campaign = summary.campaign(&id).ok_or(Refusal::Coupon(coupon::Refusal::CampaignNotFound))?;
    let shown = CampaignAnswerJson::new(campaign, now(), summary.seq).seen_by(&principal);
    Ok(write(&shown, StatusCode::OK, false))
}

/// Changes a campaign: pauses, resumes, ends, extends or changes the quantity. All of the changes happen, or none.
#[utoipa::path(
    patch, path = "/v1/campaigns/{id}", tag = "campaigns", params(("id" = String, Path, description = "Campaign")), request_body = CampaignChangeJson,
    responses((status = 200, description = "Changed", body = CampaignAnswerJson), (status = 410, description = "ended"), (status = 422, description = "quantity-below-issued, end-in-past")),
)]
pub(crate) async fn change_campaign(
    State(app): State<Arc<App>>,
    PathText(id): PathText,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let principal = app.identify(&headers)?;
    principal.must_operate()?;
    let campaign = campaign(id)?;
    let bytes = body::read(body, SMALL_BODY_BYTES_MAX).await?;
    let request: CampaignChangeJson = body::parse(&bytes)?;
    let (paused, end) = match request.state.as_deref() {
        None => (None, false),
        Some("paused") => (Some(true), false),
        Some("open") => (Some(false), false),
        Some("ended") => (None, true),
        Some(_) => return Err(Problem::invalid("state: must be \"paused\", \"open\" or \"ended\".")),
    };
    if request.state.is_none() && request.ends_at.is_none() && request.quantity.is_none() {
        return Err(Problem::invalid("Name at least one of state, ends_at and quantity."));
    }
    let ends_at = request.ends_at.as_deref().map(clock::parse).transpose();
    let change = Box::new(CampaignChange {
        paused,
        end,
        ends_at: ends_at.map_err(|why| Problem::invalid(format!("ends_at: {why}.")))?,
        quantity: request.quantity,
        by: principal.name.clone(),
        reason: Reason::new(request.reason).map_err(|error| Problem::invalid(format!("{error}.")))?,
    });
    let stamp = app.stamp(&headers, &principal, || format!("change {campaign} {change:?}"))?;
    let command = coupon::Command::ChangeCampaign { campaign, change };
    let (outcome, _, replayed) = app.ask(Command::Coupon(command), stamp).await?;
    Ok(write(&show(&app, campaign_no(&outcome))?, StatusCode::OK, replayed))
}

fn campaign_no(outcome: &Outcome) -> CampaignNo {
    match outcome {
        Outcome::Coupon(coupon::Outcome::Campaign { no }) => *no,
        _ => {
            unreachable!("a command about a campaign is answered with a campaign")
        }
    }
}

/// The campaign as published: the summary of a block is published before its answers are released.
fn show(app: &App, no: CampaignNo) -> Result<CampaignAnswerJson, Problem> {
    let summary = app.shard.summary();
    let campaign = summary.campaign_no(no).ok_or(Refusal::Coupon(coupon::Refusal::CampaignNotFound))?;
    Ok(CampaignAnswerJson::new(campaign, now(), summary.seq))
}
