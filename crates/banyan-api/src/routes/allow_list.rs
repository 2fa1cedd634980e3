//! Uploading an allow-list: one member per line, streamed, in commands of 8,192 members.

use super::coupons::{campaign, member, write};
use crate::App;
use crate::body::{BODY_TIME_MAX, too_slow};
use crate::problem::Problem;
use crate::routes::path::PathText;
use crate::wire::AllowListJson;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use banyan_domain::{CampaignId, Command, MemberId, Outcome, coupon, limits};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use std::sync::Arc;

/// Most members one upload may have.
const UPLOAD_MEMBERS_MAX: u64 = 10_000_000;
/// Longest line of an upload: a member, and the end of the line.
const LINE_BYTES_MAX: usize = limits::MEMBER_ID_BYTES_MAX + 2;

/// Adds members to a campaign's allow-list: `text/plain`, one member per line, up to 10 million.
///
/// Members are added as they arrive. If the upload breaks off or has a bad line, the answer says how far it came; sending
/// the whole list again adds only what is missing.
#[utoipa::path(
    post, path = "/v1/campaigns/{id}/allow-list", tag = "campaigns", params(("id" = String, Path, description = "Campaign")),
    request_body(content = String, content_type = "text/plain"),
    responses((status = 200, description = "Added", body = AllowListJson), (status = 400, description = "invalid-request: which line, and how many were added"), (status = 409, description = "allow-list-unavailable")),
)]
pub(crate) async fn extend_allow_list(
    State(app): State<Arc<App>>,
    PathText(id): PathText,
    headers: HeaderMap,
    mut body: Body,
) -> Result<Response, Problem> {
    let principal = app.identify(&headers)?;
    principal.must_operate()?;
    let mut upload = Upload {
        campaign: campaign(id)?,
        line: Vec::new(),
        lines: 0,
        chunk: Vec::new(),
        sent: 0,
        added: 0,
        total: 0,
        seq: 0,
    };
    loop {
        // Each part of the body has its own time: a long list may take long, a silent sender may not.
        let frame = tokio::time::timeout(BODY_TIME_MAX, body.frame())
            .await
            .map_err(|_| upload.stopped(too_slow()))?;
        let Some(frame) = frame else { break };
        let broken = |_| Problem::invalid("The body ended before its announced length.");
        let frame = frame.map_err(broken).map_err(|problem| upload.stopped(problem))?;
        if let Some(data) = frame.data_ref() {
            upload.take(&app, data).await.map_err(|problem| upload.stopped(problem))?;
        }
    }
    upload.end_line().map_err(|problem| upload.stopped(problem))?;
    if !upload.chunk.is_empty() || upload.sent == 0 {
        upload.send(&app).await.map_err(|problem| upload.stopped(problem))?;
    }
    let Upload { sent, added, total, seq, .. } = upload;
    Ok(write(&AllowListJson { added, already: sent - added, total, seq }, StatusCode::OK, false))
}

/// An upload under way.
struct Upload {
    campaign: CampaignId,
    line: Vec<u8>,
    lines: u64,
    chunk: Vec<MemberId>,
    sent: u64,
    added: u64,
    total: u64,
    seq: u64,
}

impl Upload {
    async fn take(&mut self, app: &App, data: &[u8]) -> Result<(), Problem> {
        for (index, part) in data.split(|byte| *byte == b'\n').enumerate() {
            if index > 0 {
                self.end_line()?;
                if self.chunk.len() == limits::ALLOW_LIST_CHUNK_MAX {
                    self.send(app).await?;
                }
            }
            if self.line.len() + part.len() > LINE_BYTES_MAX {
                return Err(Problem::invalid(format!(
                    "Line {} is longer than a member can be (64 bytes).",
                    self.lines + 1
                )));
            }
            self.line.extend_from_slice(part);
        }
        Ok(())
    }

    fn end_line(&mut self) -> Result<(), Problem> {
        self.lines += 1;
        let line = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(line.trim_ascii());
        if text.is_empty() {
            return Ok(());
        }
        if self.sent + self.chunk.len() as u64 >= UPLOAD_MEMBERS_MAX {
            return Err(Problem::invalid("One upload takes at most 10,000,000 members."));
        }
        let fault = |problem: Problem| Problem {
            detail: format!("Line {}: {}", self.lines, problem.detail),
            ..problem
        };
        self.chunk.push(member(text.into_owned()).map_err(fault)?);
        Ok(())
    }

    async fn send(&mut self, app: &App) -> Result<(), Problem> {
        let members = std::mem::take(&mut self.chunk);
        let count = members.len() as u64;
        let command = coupon::Command::ExtendAllowList { campaign: self.campaign.clone(), members };
        let (outcome, seq, _) = app.ask(Command::Coupon(command), None).await?;
        if let Outcome::Coupon(coupon::Outcome::AllowList { added, total }) = outcome {
            self.added += added;
            self.total = total;
        }
        self.sent += count;
        self.seq = seq;
        Ok(())
    }

    /// What went wrong, with how far the upload had come.
    fn stopped(&self, problem: Problem) -> Problem {
        if self.sent == 0 {
            return problem;
        }
        let detail = format!(
            "{} Before that, {} members were taken ({} of them new). Send the list again: only what is missing is added.",
            problem.detail, self.sent, self.added
        );
        Problem { detail, ..problem }
    }
}
