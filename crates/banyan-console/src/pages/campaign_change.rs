//! Changing a campaign: every form says what will happen, asks why, and leads to the event it became.

use crate::format;
use crate::forms::{self, Action, Attempt, Refused, typed, wrong};
use crate::gate::{Fields, OperatorForm, Viewer};
use crate::link;
use crate::pages::{campaign, campaign_new};
use crate::parts;
use crate::text::{self, Text};
use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use banyan_domain::coupon::{self, CampaignChange, CampaignState};
use banyan_domain::{CampaignId, Command};
use banyan_engine::CampaignSummary;
use http::StatusCode;
use maud::{Markup, html};

/// Carries a change out.
pub(crate) async fn change(Path(id): Path<String>, form: OperatorForm) -> Response {
    let OperatorForm { viewer, fields } = form;
    match attempt(&viewer, &id, &fields).await {
        Ok(seq) => Redirect::to(&link::with(&parts::campaign_href(&id), &[("done", &seq.to_string())]))
            .into_response(),
        Err((status, why)) => {
            let attempt = Attempt { fields, why };
            campaign::page(&viewer, &id, &Fields::new(), status, Some(&attempt)).await
        }
    }
}

async fn attempt(viewer: &Viewer, id: &str, fields: &Fields) -> Result<u64, Refused> {
    let lang = viewer.lang();
    let field = |name: &str| forms::field(fields, name);
    let reason = forms::reason(lang, field("reason")).map_err(wrong)?;
    let campaign = CampaignId::new(id).map_err(|error| (StatusCode::NOT_FOUND, error.to_string()))?;
    let by = viewer.who.principal.name.clone();
    let mut change = CampaignChange { paused: None, end: false, ends_at: None, quantity: None, by, reason };
    match field("action") {
        "pause" => change.paused = Some(true),
        "resume" => change.paused = Some(false),
        "end" if field("confirm") != id => return Err(wrong(lang.f(text::CONFIRM_DIFFERS, &[id]))),
        "end" => change.end = true,
        "extend" => {
            let at = campaign_new::instant(field("ends_at"), field("offset"));
            change.ends_at = Some(at.ok_or_else(|| wrong(lang.t(text::BAD_INSTANT)))?);
        }
        "quantity" => {
            let typed = field("quantity").replace([',', ' '], "");
            change.quantity = Some(typed.parse().map_err(|_| wrong(lang.t(text::BAD_NUMBER)))?);
        }
        _ => return Err((StatusCode::BAD_REQUEST, lang.t(text::FORM_AGAIN).into())),
    }
    let command = coupon::Command::ChangeCampaign { campaign, change: Box::new(change) };
    let (_, seq) = forms::ask(viewer, Command::Coupon(command), None).await?;
    Ok(seq)
}

/// What may be done to the campaign now.
pub(crate) fn panel(viewer: &Viewer, campaign: &CampaignSummary, attempt: Option<&Attempt>) -> Markup {
    let lang = viewer.lang();
    let now_is = campaign.state_at(banyan_api::now());
    let issued = format::number(campaign.totals.issued);
    html! {
        aside.controls aria-label=(lang.t(text::CONTROLS)) {
            h2 { (lang.t(text::CONTROLS)) }
            @if !viewer.who.may_change() {
                p.hint { (lang.t(text::READ_ONLY_HINT)) }
            } @else if now_is == CampaignState::Ended {
                p.hint { (lang.t(text::NOTHING_LEFT_TO_DO)) }
            } @else {
                @if campaign.paused {
                    (form(viewer, campaign, attempt, "resume", text::RESUME, lang.t(text::RESUME_WHAT), &html! {}))
                } @else {
                    (form(viewer, campaign, attempt, "pause", text::PAUSE, lang.t(text::PAUSE_WHAT), &html! {}))
                }
                @if campaign.definition.quantity.is_some() {
                    (form(viewer, campaign, attempt, "quantity", text::CHANGE_QUANTITY, &lang.f(text::QUANTITY_WHAT, &[&issued]), &quantity_field(viewer, campaign, attempt)))
                }
                (form(viewer, campaign, attempt, "extend", text::CHANGE_END, lang.t(text::END_MOVES_WHAT), &end_field(viewer, campaign, attempt)))
                (form(viewer, campaign, attempt, "end", text::END_NOW, &lang.f(text::END_WHAT, &[&issued]), &confirm_field(viewer, campaign, attempt)))
            }
        }
    }
}

fn form(
    viewer: &Viewer,
    campaign: &CampaignSummary,
    attempt: Option<&Attempt>,
    name: &str,
    word: Text,
    what: &str,
    more: &Markup,
) -> Markup {
    let post = format!("{}/change", parts::campaign_href(campaign.definition.id.as_str()));
    Action { name, post: &post, word, what, danger: name == "end" }.show(viewer, attempt, more)
}

fn quantity_field(viewer: &Viewer, campaign: &CampaignSummary, attempt: Option<&Attempt>) -> Markup {
    let typed = typed(attempt, "quantity", "quantity");
    let present = campaign.definition.quantity.map(|n| n.to_string()).unwrap_or_default();
    let value = if typed.is_empty() { present.as_str() } else { typed };
    html! {
        label for="quantity" { (viewer.lang().t(text::NEW_QUANTITY)) }
        input #quantity name="quantity" inputmode="numeric" required value=(value) autocomplete="off";
    }
}

fn end_field(viewer: &Viewer, campaign: &CampaignSummary, attempt: Option<&Attempt>) -> Markup {
    let lang = viewer.lang();
    let offset = match typed(attempt, "extend", "offset") {
        "" => campaign_new::default_offset(lang),
        offset => offset,
    };
    let present = campaign.definition.ends_at.map(|at| campaign_new::local(at, offset)).unwrap_or_default();
    let typed = typed(attempt, "extend", "ends_at");
    let value = if typed.is_empty() { present.as_str() } else { typed };
    html! {
        label for="ends_at" { (lang.t(text::NEW_END)) }
        (campaign_new::instant_input(lang, "ends_at", "offset", value, offset, true))
    }
}

fn confirm_field(viewer: &Viewer, campaign: &CampaignSummary, attempt: Option<&Attempt>) -> Markup {
    let id = campaign.definition.id.as_str();
    html! {
        label for="confirm" { (viewer.lang().f(text::CONFIRM, &[id])) }
        input #confirm.mono name="confirm" required value=(typed(attempt, "end", "confirm")) autocomplete="off" spellcheck="false";
    }
}
