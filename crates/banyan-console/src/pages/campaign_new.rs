//! Making a campaign. What was typed stays when something is wrong with it.

use crate::gate::{Fields, OperatorForm, Viewer};
use crate::layout::{self, Page, Section};
use crate::link;
use crate::parts;
use crate::text::{self, Lang};
use axum::response::{IntoResponse, Redirect, Response};
use banyan_api::wire::{
    AudienceJson, BenefitJson, CampaignJson, MoneyJson, NothingJson, PercentJson, QuantityJson, StackingJson,
};
use banyan_api::{Problem, rfc3339};
use banyan_domain::{Command, Timestamp, coupon};
use http::StatusCode;
use maud::{Markup, html};

/// Offsets from UTC to choose from.
const OFFSETS: [(&str, &str); 6] = [
    ("Z", "UTC"),
    ("+09:00", "UTC+9 Seoul, Tokyo"),
    ("+08:00", "UTC+8 Singapore"),
    ("+01:00", "UTC+1 Berlin"),
    ("-05:00", "UTC−5 New York"),
    ("-08:00", "UTC−8 San Francisco"),
];

/// Shows the empty form.
pub(crate) async fn show(viewer: Viewer) -> Response {
    if !viewer.who.may_change() {
        let lang = viewer.lang();
        return viewer.problem(
            StatusCode::FORBIDDEN,
            lang.t(text::READ_ONLY_TITLE),
            lang.t(text::READ_ONLY_HINT),
        );
    }
    page(&viewer, &Fields::new(), StatusCode::OK, None)
}

/// Makes the campaign.
pub(crate) async fn create(form: OperatorForm) -> Response {
    let OperatorForm { viewer, fields } = form;
    match attempt(&viewer, &fields).await {
        Ok((id, seq)) => Redirect::to(&link::with(&parts::campaign_href(&id), &[("done", &seq.to_string())]))
            .into_response(),
        Err((status, why)) => page(&viewer, &fields, status, Some(&why)),
    }
}

async fn attempt(viewer: &Viewer, fields: &Fields) -> Result<(String, u64), (StatusCode, String)> {
    let lang = viewer.lang();
    let definition = read(lang, fields).map_err(|why| (StatusCode::UNPROCESSABLE_ENTITY, why))?;
    let refused = |problem: Problem| (problem.status, parts::problem_words(lang, &problem));
    let definition = Box::new(definition.check().map_err(refused)?);
    let (id, by) = (definition.id.to_string(), viewer.who.principal.name.clone());
    let command = Command::Coupon(coupon::Command::CreateCampaign { definition, by });
    let (_, seq, _) = viewer.console.app.ask(command, None).await.map_err(refused)?;
    Ok((id, seq))
}

/// The form as the API's own request, whose checks then apply.
fn read(lang: Lang, fields: &Fields) -> Result<CampaignJson, String> {
    let field = |name: &str| fields.get(name).map(|text| text.trim()).unwrap_or_default();
    let number = |name: &str, label: text::Text| {
        let plain = field(name).replace([',', ' '], "");
        plain.parse::<u64>().map_err(|_| format!("{}: {}", lang.t(label), lang.t(text::BAD_NUMBER)))
    };
    let optional =
        |name: &str, label| if field(name).is_empty() { Ok(None) } else { number(name, label).map(Some) };
    let currency = field("currency").to_uppercase();
    let money = |minor: u64| MoneyJson {
        minor: i64::try_from(minor).unwrap_or(i64::MAX),
        currency: currency.clone(),
    };
    let window = |name: &str, label: text::Text| match field(name) {
        "" => Ok(None),
        typed => match instant(typed, field("offset")) {
            Some(at) => Ok(Some(rfc3339(at))),
            None => Err(format!("{}: {}", lang.t(label), lang.t(text::BAD_INSTANT))),
        },
    };
    let small = |n: u64| u16::try_from(n).unwrap_or(u16::MAX);
    let benefit = match field("benefit") {
        "percent" => {
            let share: f64 = field("percent").parse().map_err(|_| lang.t(text::BAD_PERCENT).to_owned())?;
            if !(share > 0.0 && share <= 100.0) {
                return Err(lang.t(text::BAD_PERCENT).into());
            }
            let cap = optional("cap", text::CAP)?.map(money);
            BenefitJson::Percent(PercentJson { basis_points: (share * 100.0).round() as u16, cap })
        }
        "free_shipping" => BenefitJson::FreeShipping(NothingJson {}),
        _ => BenefitJson::Amount(money(number("amount", text::AMOUNT)?)),
    };
    let audience = match field("audience") {
        "allow_list" => AudienceJson::AllowList,
        "segment" => AudienceJson::Segment(field("segment").into()),
        _ => AudienceJson::Everyone,
    };
    Ok(CampaignJson {
        id: field("id").into(),
        name: field("name").into(),
        quantity: match field("quantity") {
            "" => QuantityJson::Word("unlimited".into()),
            _ => QuantityJson::Limited(number("quantity", text::QUANTITY)?),
        },
        per_member: small(number("per_member", text::PER_MEMBER)?),
        benefit,
        minimum_order: optional("minimum", text::MINIMUM_ORDER)?.map(money),
        starts_at: window("starts_at", text::OPENS)?,
        ends_at: window("ends_at", text::ENDS)?,
        audience,
        valid_for_seconds: optional("valid_days", text::VALIDITY)?.map(|days| days.saturating_mul(86_400)),
        stacking: if field("stacking") == "stackable" {
            StackingJson::Stackable
        } else {
            StackingJson::Exclusive
        },
    })
}

fn page(viewer: &Viewer, fields: &Fields, status: StatusCode, why: Option<&str>) -> Response {
    let lang = viewer.lang();
    let value = |name: &str, default: &'static str| match fields.get(name) {
        Some(typed) => typed.clone(),
        None => default.into(),
    };
    let body = html! {
        nav.crumbs { a href="/console/campaigns" { (lang.t(text::CAMPAIGNS)) } }
        (layout::title(lang.t(text::NEW_CAMPAIGN), &html! {}))
        form.wide method="post" action="/console/campaigns" {
            (parts::csrf(viewer))
            @if let Some(why) = why { (parts::fault(why)) }
            fieldset {
                legend { (lang.t(text::WHAT_IT_IS)) }
                div.pair {
                    (input(lang, "name", text::NAME, &value("name", ""), true, text::NAME_HINT))
                    (input(lang, "id", text::ID, &value("id", ""), true, text::ID_HINT))
                }
                div.pair {
                    (input(lang, "quantity", text::QUANTITY, &value("quantity", ""), false, text::QUANTITY_HINT))
                    (input(lang, "per_member", text::PER_MEMBER, &value("per_member", "1"), true, text::PER_MEMBER_HINT))
                }
            }
            fieldset {
                legend { (lang.t(text::BENEFIT)) }
                (choices(lang, "benefit", &value("benefit", "amount"), &[("amount", text::FIXED_AMOUNT), ("percent", text::SHARE), ("free_shipping", text::FREE_SHIPPING)]))
                div.pair {
                    (input(lang, "amount", text::AMOUNT, &value("amount", ""), false, text::AMOUNT_HINT))
                    (input(lang, "currency", text::CURRENCY, &value("currency", "KRW"), true, text::CURRENCY_HINT))
                }
                div.pair {
                    (input(lang, "percent", text::PERCENT, &value("percent", ""), false, text::PERCENT_HINT))
                    (input(lang, "cap", text::CAP, &value("cap", ""), false, text::CAP_HINT))
                }
                div.pair { (input(lang, "minimum", text::MINIMUM_ORDER, &value("minimum", ""), false, text::MINIMUM_HINT)) }
            }
            fieldset {
                legend { (lang.t(text::WHEN)) }
                div.pair {
                    div { label for="starts_at" { (lang.t(text::OPENS)) } input #starts_at type="datetime-local" name="starts_at" value=(value("starts_at", "")) aria-describedby="starts-hint"; p #starts-hint.hint { (lang.t(text::OPENS_HINT)) } }
                    div { label for="ends_at" { (lang.t(text::ENDS)) } input #ends_at type="datetime-local" name="ends_at" value=(value("ends_at", "")) aria-describedby="ends-hint"; p #ends-hint.hint { (lang.t(text::ENDS_HINT)) } }
                }
                div.pair {
                    div { label for="offset" { (lang.t(text::OFFSET)) } (offsets("offset", &value("offset", default_offset(lang)))) }
                    (input(lang, "valid_days", text::VALID_DAYS, &value("valid_days", ""), false, text::VALID_DAYS_HINT))
                }
            }
            fieldset {
                legend { (lang.t(text::AUDIENCE)) }
                (choices(lang, "audience", &value("audience", "everyone"), &[("everyone", text::EVERYONE), ("allow_list", text::ALLOW_LIST), ("segment", text::A_SEGMENT)]))
                div.pair { (input(lang, "segment", text::SEGMENT_NAME, &value("segment", ""), false, text::SEGMENT_HINT)) }
                (choices(lang, "stacking", &value("stacking", "exclusive"), &[("exclusive", text::EXCLUSIVE), ("stackable", text::STACKABLE)]))
            }
            p.what { (lang.t(text::CREATE_WHAT)) }
            button.primary type="submit" { (lang.t(text::CREATE)) }
            a.button href="/console/campaigns" { (lang.t(text::CANCEL)) }
        }
        (parts::command_line(lang, "banyan campaign apply campaigns.toml"))
    };
    let page = Page::new(lang.t(text::NEW_CAMPAIGN), Section::Campaigns, body);
    (status, page.show(viewer)).into_response()
}

fn input(lang: Lang, name: &str, label: text::Text, value: &str, required: bool, hint: text::Text) -> Markup {
    html! {
        div {
            label for=(name) { (lang.t(label)) @if required { span.required aria-hidden="true" { " *" } } }
            input id=(name) name=(name) value=(value) required[required] autocomplete="off" aria-describedby={(name) "-hint"};
            p.hint id={(name) "-hint"} { (lang.t(hint)) }
        }
    }
}

fn choices(lang: Lang, name: &str, chosen: &str, options: &[(&str, text::Text)]) -> Markup {
    html! {
        div.choices role="radiogroup" {
            @for (value, word) in options {
                label { input type="radio" name=(name) value=(value) checked[*value == chosen]; (lang.t(*word)) }
            }
        }
    }
}

fn offsets(name: &str, chosen: &str) -> Markup {
    html! {
        select id=(name) name=(name) {
            @for (offset, word) in OFFSETS { option value=(offset) selected[offset == chosen] { (word) } }
        }
    }
}

/// A day and time with its offset from UTC.
pub(crate) fn instant_input(
    lang: Lang,
    name: &str,
    offset_name: &str,
    value: &str,
    offset: &str,
    required: bool,
) -> Markup {
    html! {
        div.instant {
            input id=(name) type="datetime-local" name=(name) value=(value) required[required];
            label.sr for=(offset_name) { (lang.t(text::OFFSET)) }
            (offsets(offset_name, offset))
        }
    }
}

/// The offset that speakers of a language most likely mean.
pub(crate) const fn default_offset(lang: Lang) -> &'static str {
    match lang {
        Lang::En => "Z",
        Lang::Ko => "+09:00",
    }
}

/// What a `datetime-local` field and its offset mean.
pub(crate) fn instant(typed: &str, offset: &str) -> Option<Timestamp> {
    let offset = OFFSETS.iter().find(|(known, _)| *known == offset).map(|(known, _)| *known)?;
    let seconds = if typed.len() == "2026-11-27T12:00".len() { ":00" } else { "" };
    let at: jiff::Timestamp = format!("{typed}{seconds}{offset}").parse().ok()?;
    u64::try_from(at.as_millisecond()).ok().map(Timestamp::from_millis)
}

/// An instant as a `datetime-local` field shows it at `offset`.
pub(crate) fn local(at: Timestamp, offset: &str) -> String {
    let hours: i64 = match offset {
        "Z" => 0,
        other => other.get(..3).and_then(|hours| hours.parse().ok()).unwrap_or_default(),
    };
    let shifted = at.as_millis().saturating_add_signed(hours * 3_600_000);
    rfc3339(Timestamp::from_millis(shifted)).chars().take("2026-11-27T12:00".len()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_time_and_its_offset_are_one_instant() {
        let noon_in_seoul = instant("2026-11-27T12:00", "+09:00").expect("it is an instant");
        assert_eq!(rfc3339(noon_in_seoul), "2026-11-27T03:00:00Z");
        assert_eq!(local(noon_in_seoul, "+09:00"), "2026-11-27T12:00");
        assert_eq!(local(noon_in_seoul, "-05:00"), "2026-11-26T22:00");
        for (typed, offset) in
            [("", "Z"), ("2026-13-01T00:00", "Z"), ("2026-11-27T12:00", "+99:00"), ("1969-01-01T00:00", "Z")]
        {
            assert_eq!(instant(typed, offset), None, "{typed}{offset}");
        }
    }
}
