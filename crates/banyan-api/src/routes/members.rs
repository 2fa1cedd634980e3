//! What a member holds, read from the record store.

use super::coupons::{member, write};
use crate::App;
use crate::clock::rfc3339;
use crate::coupon_name;
use crate::problem::Problem;
use crate::routes::path::PathText;
use crate::wire::{CouponJson, MemberCouponsJson};
use axum::extract::{Query, State};
use axum::response::Response;
use banyan_domain::CouponId;
use banyan_log::Seq;
use banyan_views::ViewError;
use banyan_views::record::CouponRecord;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;

/// Longest wait for the record store to reach `at_least`.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Coupons in a page, at most and by default.
const PAGE_MAX: usize = 1_000;
const PAGE: usize = 100;

/// Which page to read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PageQuery {
    at_least: Option<u64>,
    cursor: Option<u64>,
    limit: Option<usize>,
}

/// Lists a member's coupons, oldest first, as the record store has them.
///
/// The store is written after the answer. To read what you wrote, pass the `seq` of that answer as `at_least`: the
/// request waits until the store has come that far.
#[utoipa::path(
    get, path = "/v1/members/{member}/coupons", tag = "coupons",
    params(
        ("member" = String, Path, description = "Member"), ("at_least" = Option<u64>, Query, description = "Log position that the answer must include"),
        ("cursor" = Option<u64>, Query, description = "The `next` of the page before"), ("limit" = Option<usize>, Query, description = "1 to 1000; default 100"),
    ),
    responses((status = 200, description = "A page", body = MemberCouponsJson), (status = 403, description = "forbidden"), (status = 503, description = "view-behind")),
)]
pub(crate) async fn list_member_coupons(
    State(app): State<Arc<App>>,
    PathText(id): PathText,
    query: Result<Query<PageQuery>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let principal = app.identify(&headers)?;
    let member = member(id)?;
    if principal.member.as_ref().is_some_and(|own| *own != member) {
        return Err(Problem::forbidden("A shopper's token reads only its own coupons."));
    }
    let Query(query) = query.map_err(|error| Problem::invalid(format!("{error}.")))?;
    let limit = query.limit.unwrap_or(PAGE);
    if limit == 0 || limit > PAGE_MAX {
        return Err(Problem::invalid("limit: must be 1 to 1000."));
    }
    wait_for(&app, query.at_least).await?;
    let page = blocking(move || app.record.member_coupons(&member, query.cursor.map(Seq), limit)).await?;
    let page = MemberCouponsJson {
        coupons: page.coupons.into_iter().map(coupon_json).collect(),
        next: page.next.map(|next| next.to_string()),
        seq: page.checkpoint.as_u64(),
    };
    Ok(write(&page, StatusCode::OK, false))
}

/// A coupon as the record store has it.
pub(super) async fn read_coupon(app: &Arc<App>, coupon: CouponId) -> Result<Option<CouponJson>, Problem> {
    let app = app.clone();
    Ok(blocking(move || app.record.coupon(coupon)).await?.map(coupon_json))
}

/// Waits until the record store has applied `seq`.
pub(super) async fn wait_for(app: &Arc<App>, seq: Option<u64>) -> Result<(), Problem> {
    let Some(seq) = seq.map(Seq).filter(|seq| app.record_progress.applied() < *seq) else { return Ok(()) };
    let head = app.shard.confirmed().get();
    if seq > head {
        return Err(Problem::invalid(format!(
            "at_least: the log ends at {head}; nothing answered {seq} yet."
        )));
    }
    if app.record_wait.reached(seq, WAIT_MAX).await? {
        return Ok(());
    }
    let detail = format!(
        "The record store is at {} and did not reach {seq} in time. Try again, or read without at_least.",
        app.record_progress.applied()
    );
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "view-behind", detail);
    Err(Problem { retry_after: Some(1), ..problem })
}

/// Reads the record store on a thread that may wait.
pub(super) async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, ViewError> + Send + 'static,
) -> Result<T, Problem> {
    let result = tokio::task::spawn_blocking(read).await;
    let result = result.map_err(|_| Problem::unavailable("Reading the record store failed."))?;
    result.map_err(|error| {
        tracing::error!("reading the record store: {error}");
        Problem::unavailable("The record store cannot be read right now; everything else goes on.")
    })
}

fn coupon_json(record: CouponRecord) -> CouponJson {
    CouponJson {
        coupon: coupon_name(record.campaign.as_str(), record.coupon),
        code: record.code.into(),
        campaign: record.campaign.to_string(),
        member: record.member.to_string(),
        state: record.state.as_str(),
        issued_at: rfc3339(record.issued_at),
        expires_at: record.expires_at.map(rfc3339),
        order: record.order.map(Into::into),
        held_until: record.held_until.map(rfc3339),
        seq: record.seq.as_u64(),
    }
}
