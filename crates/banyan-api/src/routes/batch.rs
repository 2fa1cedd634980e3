//! Issuing to many members in one call.

use super::coupons::{campaign, coupon_answer, member, segments, write};
use crate::App;
use crate::body::{self, BATCH_BODY_BYTES_MAX};
use crate::problem::{Problem, status_of};
use crate::routes::path::PathText;
use crate::wire::{BatchAnswerJson, BatchJson, IssueBatchJson, IssuedJson};
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use banyan_domain::{Command, KeyStamp, coupon, limits};
use banyan_engine::Answer;
use http::{HeaderMap, StatusCode};
use std::sync::Arc;

/// Issues coupons to up to 8,192 members, each decided on its own, answered together in order.
///
/// With an Idempotency-Key, every member of the batch has its own key derived from it: a repeated batch is answered
/// member by member as the first time.
#[utoipa::path(
    post, path = "/v1/campaigns/{id}/coupons/batch", tag = "coupons", params(("id" = String, Path, description = "Campaign")), request_body = IssueBatchJson,
    responses((status = 200, description = "An answer per member", body = BatchJson<'_>), (status = 400, description = "invalid-request")),
)]
pub(crate) async fn issue_batch(
    State(app): State<Arc<App>>,
    PathText(id): PathText,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let principal = app.identify(&headers)?;
    if principal.member.is_some() {
        return Err(Problem::forbidden("A shopper's token issues one coupon at a time, to its own member."));
    }
    principal.must_act_for(None)?;
    let campaign = campaign(id)?;
    let request: IssueBatchJson = body::parse(&body::read(body, BATCH_BODY_BYTES_MAX).await?)?;
    if request.members.is_empty() || request.members.len() > limits::BATCH_COMMANDS_MAX {
        return Err(Problem::invalid("members: must be 1 to 8192 members."));
    }
    let segments = segments(request.segments, &principal)?;
    let whole = app.stamp(&headers, &principal, || format!("batch {campaign} {segments:?}"))?;
    let mut members = Vec::with_capacity(request.members.len());
    let mut commands = Vec::with_capacity(request.members.len());
    for (index, id) in (0..).zip(request.members) {
        let member = member(id).map_err(|problem| Problem {
            detail: format!("members[{index}]: {} No coupon of this batch was issued.", problem.detail),
            ..problem
        })?;
        let stamp =
            whole.map(|whole| KeyStamp::part(app.shard.keys(), whole, index, member.as_str().as_bytes()));
        let command = coupon::Command::IssueCoupon {
            campaign: campaign.clone(),
            member: member.clone(),
            segments: segments.clone(),
        };
        members.push(member);
        commands.push((Command::Coupon(command), stamp));
    }
    let began = std::time::Instant::now();
    let answers = app.shard.submit_many(commands)?.await.map_err(|_| Problem::unknown_outcome())?;
    app.http.write_micros.record(began.elapsed().as_micros() as u64);
    if answers.first() == Some(&Answer::StorageFull) {
        return Err(Problem::storage_full());
    }
    let codes: Vec<_> = answers.iter().map(|answer| code(&app, answer)).collect();
    let mut seq_max = 0;
    let answers =
        answers.into_iter().zip(&members).zip(&codes).map(|((answer, member), code)| match answer {
            Answer::Done { outcome, seq, replayed } => {
                seq_max = seq_max.max(seq);
                let code = std::str::from_utf8(code).unwrap_or_default();
                let coupon =
                    IssuedJson::new(campaign.as_str(), member.as_str(), code, &coupon_answer(outcome)?, seq);
                Ok(BatchAnswerJson::Issued { status: if replayed { 200 } else { 201 }, coupon })
            }
            Answer::Refused(refusal) => Ok(BatchAnswerJson::Refused {
                status: status_of(refusal).as_u16(),
                r#type: format!("/errors/{}", refusal.slug()),
                member: member.as_str(),
            }),
            Answer::StorageFull => Err(Problem::storage_full()),
        });
    let answers = answers.collect::<Result<Vec<_>, Problem>>()?;
    Ok(write(&BatchJson { seq: seq_max, answers }, StatusCode::OK, false))
}

/// The written code of an answer that gave a coupon.
fn code(app: &App, answer: &Answer) -> [u8; 15] {
    match answer {
        Answer::Done { outcome: banyan_domain::Outcome::Coupon(coupon::Outcome::Coupon(answer)), .. } => {
            app.codes.code(answer.coupon).written()
        }
        _ => [b' '; 15],
    }
}
