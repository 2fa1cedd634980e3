//! One coupon's life. Issuing is the hot path: parse once, submit, wait, write.

use crate::auth::Principal;
use crate::body::{self, SMALL_BODY_BYTES_MAX};
use crate::dry_run;
use crate::ids::campaign_id;
use crate::problem::Problem;
use crate::routes::path::PathText;
use crate::wire::{CouponJson, HoldJson, IssueJson, IssuedJson, OrderJson, ReasonJson};
use crate::{App, clock};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use banyan_domain::coupon::{self, CouponAnswer, CouponCode};
use banyan_domain::{
    CampaignId, Command, CouponId, KeyStamp, MemberId, Millis, OrderId, OrderNo, Outcome, Reason,
    SegmentName, limits,
};
use banyan_engine::Answer;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use std::sync::Arc;

/// Issues a coupon to a member.
///
/// The answer comes when the coupon is durable. The same member again, where a member may have one, gets the same
/// coupon with status 200 and `Idempotent-Replayed: true`. With `Banyan-Dry-Run: true` the answer is the one that would be given
/// now, and nothing is issued; its `code` is of no coupon, since the next coupon's code is for whoever gets it.
#[utoipa::path(
    post, path = "/v1/campaigns/{id}/coupons", tag = "coupons",
    params(
        ("id" = String, Path, description = "Campaign"), ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters; kept for at least 24 hours"),
        ("Banyan-Dry-Run" = Option<String>, Header, description = "true: only say what would be answered. Nothing is changed and the key is not used up; the answer has the same header"),
    ),
    request_body = IssueJson,
    responses(
        (status = 201, description = "Issued", body = IssuedJson<'_>), (status = 200, description = "Issued before", body = IssuedJson<'_>),
        (status = 403, description = "not-eligible, forbidden"), (status = 404, description = "campaign-not-found"), (status = 409, description = "sold-out"),
        (status = 410, description = "ended"), (status = 422, description = "limit-reached, idempotency-key-reused"), (status = 423, description = "paused"),
        (status = 425, description = "not-started"), (status = 503, description = "busy"), (status = 507, description = "storage-full"),
    ),
)]
pub(crate) async fn issue_coupon(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    let dry = dry_run::is_asked(request.headers())?;
    dry_run::answered(dry, issue(app, request, dry).await)
}

async fn issue(app: Arc<App>, request: Request, dry: bool) -> Result<Response, Problem> {
    // The whole request is taken as it is: an extractor for each part would copy what is only looked at.
    let (head, body) = request.into_parts();
    let principal = app.identify(&head.headers)?;
    let campaign = campaign_in(head.uri.path())?;
    let bytes = body::read(body, SMALL_BODY_BYTES_MAX).await?;
    let request: IssueJson = body::parse(&bytes)?;
    let member = member(request.member)?;
    principal.must_act_for(Some(&member))?;
    app.admit(&principal, &head.headers)?;
    let segments = segments(request.segments, &principal)?;
    let stamp = app.stamp(&head.headers, &principal, || format!("issue {campaign} {member} {segments:?}"))?;
    let command =
        coupon::Command::IssueCoupon { campaign: campaign.clone(), member: member.clone(), segments };
    // Thousands wait for their block at the same time: what is not needed any more is given back now.
    drop((head, bytes, principal));
    let command = Command::Coupon(command);
    let (outcome, seq, replayed) = match dry {
        // Boxed: what is seldom needed is no part of what thousands wait in.
        true => Box::pin(foretell(&app, command, stamp)).await?,
        false => app.ask(command, stamp).await?,
    };
    let answer = coupon_answer(outcome)?;
    let coded = match dry && !replayed {
        // Coupons are numbered from 1: a code in the right form that never is anybody's.
        true => CouponId::new(answer.coupon.campaign(), 0),
        false => answer.coupon,
    };
    let code = app.codes.code(coded).written();
    let code = std::str::from_utf8(&code).unwrap_or_default();
    let issued = IssuedJson::new(campaign.as_str(), member.as_str(), code, &answer, seq);
    Ok(write(&issued, if replayed { StatusCode::OK } else { StatusCode::CREATED }, replayed))
}

/// What an issue would be answered.
async fn foretell(
    app: &App,
    command: Command,
    stamp: Option<KeyStamp>,
) -> Result<(Outcome, u64, bool), Problem> {
    match app.foretell(command, stamp, |answer, _| answer).await? {
        Answer::Done { outcome, seq, replayed } => Ok((outcome, seq, replayed)),
        Answer::Refused(refusal) => Err(refusal.into()),
        Answer::StorageFull => Err(Problem::storage_full()),
    }
}

/// The campaign in a path such as `/v1/campaigns/noon/coupons`. An id needs no escaping, so an escaped one is none.
fn campaign_in(path: &str) -> Result<CampaignId, Problem> {
    let id = path.strip_prefix("/v1/campaigns/").and_then(|rest| rest.split('/').next());
    campaign(id.unwrap_or_default().into())
}

/// Reads a coupon by its code, as the record store has it.
#[utoipa::path(
    get, path = "/v1/coupons/{code}", tag = "coupons", params(("code" = String, Path, description = "Code")),
    responses((status = 200, description = "The coupon", body = CouponJson), (status = 404, description = "coupon-not-found")),
)]
pub(crate) async fn get_coupon(
    State(app): State<Arc<App>>,
    PathText(code): PathText,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let principal = app.identify(&headers)?;
    let coupon = coupon_id(&app, &code)?;
    let found = super::members::read_coupon(&app, coupon).await?;
    let own = |found: &CouponJson| principal.member.as_ref().is_none_or(|own| own.as_str() == found.member);
    match found.filter(own) {
        Some(found) => Ok(write(&found, StatusCode::OK, false)),
        None => Err(banyan_domain::Refusal::Coupon(coupon::Refusal::CouponNotFound).into()),
    }
}

/// Holds a coupon for an order until a deadline.
#[utoipa::path(
    post, path = "/v1/coupons/{code}/hold", tag = "coupons", params(("code" = String, Path, description = "Code")), request_body = HoldJson,
    responses((status = 200, description = "Held", body = CouponJson), (status = 409, description = "coupon-redeemed, coupon-revoked"), (status = 410, description = "coupon-expired"), (status = 423, description = "coupon-held")),
)]
pub(crate) async fn hold_coupon(
    State(app): State<Arc<App>>,
    PathText(code): PathText,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (principal, coupon) = (app.identify(&headers)?, coupon_id(&app, &code)?);
    principal.must_act_for(None)?;
    app.admit(&principal, &headers)?;
    let request: HoldJson = body::parse(&body::read(body, SMALL_BODY_BYTES_MAX).await?)?;
    let order = order(request.order, &principal)?;
    let hold_for = Millis::from_seconds(request.for_seconds);
    if request.for_seconds == 0 || hold_for.get() > limits::HOLD_MILLIS_MAX {
        return Err(Problem::invalid("for_seconds: must be 1 to 604800 (seven days)."));
    }
    let canonical = format!("hold {} {order} {}", coupon.get(), request.for_seconds);
    let command = coupon::Command::HoldCoupon { coupon, owner: principal.member.clone(), order, hold_for };
    change(&app, &headers, &principal, command, canonical).await
}

/// Uses a coupon for an order.
#[utoipa::path(
    post, path = "/v1/coupons/{code}/redeem", tag = "coupons", params(("code" = String, Path, description = "Code")), request_body = OrderJson,
    responses((status = 200, description = "Redeemed", body = CouponJson), (status = 409, description = "coupon-redeemed, coupon-revoked"), (status = 410, description = "coupon-expired"), (status = 423, description = "coupon-held")),
)]
pub(crate) async fn redeem_coupon(
    State(app): State<Arc<App>>,
    PathText(code): PathText,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (principal, coupon) = (app.identify(&headers)?, coupon_id(&app, &code)?);
    principal.must_act_for(None)?;
    app.admit(&principal, &headers)?;
    let request: OrderJson = body::parse(&body::read(body, SMALL_BODY_BYTES_MAX).await?)?;
    let order = order(request.order, &principal)?;
    let canonical = format!("redeem {} {order}", coupon.get());
    let command = coupon::Command::RedeemCoupon { coupon, owner: principal.member.clone(), order };
    change(&app, &headers, &principal, command, canonical).await
}

/// Gives up an order's hold of a coupon.
#[utoipa::path(
    post, path = "/v1/coupons/{code}/release", tag = "coupons", params(("code" = String, Path, description = "Code")), request_body = OrderJson,
    responses((status = 200, description = "Released, or not held", body = CouponJson), (status = 409, description = "coupon-redeemed"), (status = 423, description = "coupon-held by another order")),
)]
pub(crate) async fn release_coupon(
    State(app): State<Arc<App>>,
    PathText(code): PathText,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (principal, coupon) = (app.identify(&headers)?, coupon_id(&app, &code)?);
    principal.must_act_for(None)?;
    app.admit(&principal, &headers)?;
    let request: OrderJson = body::parse(&body::read(body, SMALL_BODY_BYTES_MAX).await?)?;
    let order = order(request.order, &principal)?;
    let canonical = format!("release {} {order}", coupon.get());
    let command = coupon::Command::ReleaseCoupon { coupon, owner: principal.member.clone(), order };
    change(&app, &headers, &principal, command, canonical).await
}

/// Takes a coupon back for good.
#[utoipa::path(
    post, path = "/v1/coupons/{code}/revoke", tag = "coupons", params(("code" = String, Path, description = "Code")), request_body = ReasonJson,
    responses((status = 200, description = "Revoked", body = CouponJson), (status = 409, description = "coupon-redeemed"), (status = 410, description = "coupon-expired")),
)]
pub(crate) async fn revoke_coupon(
    State(app): State<Arc<App>>,
    PathText(code): PathText,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (principal, coupon) = (app.identify(&headers)?, coupon_id(&app, &code)?);
    principal.must_operate()?;
    let request: ReasonJson = body::parse(&body::read(body, SMALL_BODY_BYTES_MAX).await?)?;
    let reason = Reason::new(request.reason).map_err(|error| Problem::invalid(format!("{error}.")))?;
    let canonical = format!("revoke {} {reason}", coupon.get());
    let command = coupon::Command::RevokeCoupon { coupon, by: principal.name.clone(), reason };
    change(&app, &headers, &principal, command, canonical).await
}

/// Asks for a change of a coupon and writes the answer.
async fn change(
    app: &App,
    headers: &HeaderMap,
    principal: &Principal,
    command: coupon::Command,
    canonical: String,
) -> Result<Response, Problem> {
    let stamp = app.stamp(headers, principal, || canonical)?;
    let (outcome, seq, replayed) = app.ask(Command::Coupon(command), stamp).await?;
    let answer = coupon_answer(outcome)?;
    let campaign = campaign_id(&app.shard.summary(), answer.coupon.campaign());
    let code = app.codes.code(answer.coupon);
    Ok(write(&CouponJson::new(campaign, code, answer, seq), StatusCode::OK, replayed))
}

/// The coupon that a code stands for. Whether it was issued is the shard's to say.
pub(super) fn coupon_id(app: &App, code: &str) -> Result<CouponId, Problem> {
    let code = CouponCode::parse(code);
    let code =
        code.map_err(|error| Problem::new(StatusCode::NOT_FOUND, "coupon-not-found", format!("{error}.")))?;
    Ok(app.codes.coupon(code))
}

pub(super) fn coupon_answer(outcome: Outcome) -> Result<CouponAnswer, Problem> {
    match outcome {
        Outcome::Coupon(coupon::Outcome::Coupon(answer)) => Ok(answer),
        _ => {
            unreachable!("a command about a coupon is answered with a coupon")
        }
    }
}

pub(super) fn campaign(id: String) -> Result<CampaignId, Problem> {
    CampaignId::new(id).map_err(|error| {
        Problem::new(StatusCode::NOT_FOUND, "campaign-not-found", format!("No such campaign: {error}."))
    })
}

pub(super) fn member(id: String) -> Result<MemberId, Problem> {
    MemberId::new(id).map_err(|error| Problem::invalid(format!("{error}.")))
}

/// The order for which a caller holds, uses or gives up something. What belongs to an order placed here is not a shopper's to
/// touch: its checkout counts on it.
pub(super) fn order(id: String, principal: &Principal) -> Result<OrderId, Problem> {
    if principal.member.is_some() && OrderNo::parse(&id).is_ok() {
        return Err(Problem::forbidden(
            "What an order placed here holds is given up by cancelling the order.",
        ));
    }
    OrderId::new(id).map_err(|error| Problem::invalid(format!("{error}.")))
}

/// The segments the caller vouches for: a shopper's come from its token alone.
pub(super) fn segments(asked: Vec<String>, principal: &Principal) -> Result<Box<[SegmentName]>, Problem> {
    if principal.member.is_some() {
        if asked.is_empty() {
            return Ok(principal.segments.clone());
        }
        return Err(Problem::forbidden("A shopper's segments come from its token; leave `segments` out."));
    }
    if asked.len() > limits::SEGMENTS_PER_REQUEST_MAX {
        return Err(Problem::invalid("segments: at most 32."));
    }
    let segments: Result<_, _> = asked.into_iter().map(SegmentName::new).collect();
    segments.map_err(|error| Problem::invalid(format!("{error}.")))
}

/// Writes `value` as the answer.
pub(super) fn write<T: Serialize>(value: &T, status: StatusCode, replayed: bool) -> Response {
    let mut bytes = Vec::with_capacity(256);
    if let Err(error) = serde_json::to_writer(&mut bytes, value) {
        tracing::error!(%error, "writing an answer");
        return Problem::unavailable("The answer could not be written.").into_response();
    }
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if replayed {
        headers.insert(super::IDEMPOTENT_REPLAYED, super::TRUE);
    }
    response
}

/// The present, for answers that depend on it.
pub(super) fn now() -> banyan_domain::Timestamp {
    clock::now()
}
