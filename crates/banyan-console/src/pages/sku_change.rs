//! Counting, receiving and correcting: every form asks why, moves goods once however often it is sent, and leads to the
//! event it became.

use crate::forms::{self, Action, Attempt, Refused, typed, wrong};
use crate::gate::{Fields, OperatorForm, Viewer};
use crate::link;
use crate::pages::{sku, stock as list};
use crate::parts;
use crate::text::{self, Lang, Text};
use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use banyan_domain::{Command, LocationId, SkuId, stock};
use maud::{Markup, html};

/// Changes the SKU in the address.
pub(crate) async fn change(Path(id): Path<String>, form: OperatorForm) -> Response {
    let OperatorForm { viewer, fields } = form;
    match attempt(&viewer, &id, &fields).await {
        Ok(to) => Redirect::to(&to).into_response(),
        Err((status, why)) => {
            let attempt = Attempt { fields, why };
            sku::page(&viewer, &id, &Fields::new(), status, Some(&attempt)).await
        }
    }
}

/// Counts a SKU that may be new.
pub(crate) async fn create(form: OperatorForm) -> Response {
    let OperatorForm { viewer, fields } = form;
    let id = forms::field(&fields, "sku").to_owned();
    match attempt(&viewer, &id, &fields).await {
        Ok(to) => Redirect::to(&to).into_response(),
        Err((status, why)) => {
            let attempt = Attempt { fields, why };
            list::page(&viewer, &Fields::new(), status, Some(&attempt)).await
        }
    }
}

/// Carries the form out, and gives the address that shows what it became.
async fn attempt(viewer: &Viewer, id: &str, fields: &Fields) -> Result<String, Refused> {
    let lang = viewer.lang();
    let field = |name: &str| forms::field(fields, name);
    let reason = forms::reason(lang, field("reason")).map_err(wrong)?;
    let sku = SkuId::new(id).map_err(|_| wrong(lang.t(text::BAD_SKU)))?;
    let location = LocationId::new(field("location")).map_err(|_| wrong(lang.t(text::BAD_LOCATION)))?;
    let typed = field("units").replace([',', ' '], "");
    let units = || typed.parse::<u32>().map_err(|_| wrong(lang.t(text::BAD_UNITS)));
    let (by, action) = (viewer.who.principal.name.clone(), field("action"));
    let canonical = format!("{action} {sku} {location} {typed} {reason}");
    let command = match action {
        "new" | "count" => {
            stock::Command::SetStock { sku: sku.clone(), location, on_hand: units()?, by, reason }
        }
        "receive" => {
            let quantity = units().ok().filter(|n| *n > 0).ok_or_else(|| wrong(lang.t(text::BAD_UNITS)))?;
            stock::Command::Receive { sku: sku.clone(), location, quantity, by, reason }
        }
        "adjust" => {
            let by_quantity = typed.parse::<i64>().ok().filter(|n| *n != 0);
            let by_quantity = by_quantity.ok_or_else(|| wrong(lang.t(text::BAD_DIFFERENCE)))?;
            stock::Command::Adjust { sku: sku.clone(), location, by_quantity, by, reason }
        }
        _ => return Err((http::StatusCode::BAD_REQUEST, lang.t(text::FORM_AGAIN).into())),
    };
    let stamp = forms::stamp(viewer, fields, &canonical)?;
    let (_, seq) = forms::ask(viewer, Command::Stock(command), Some(stamp)).await?;
    Ok(link::with(&parts::sku_href(sku.as_str()), &[("done", &seq.to_string())]))
}

/// What may be done to a SKU that is kept at `locations`.
pub(crate) fn panel(viewer: &Viewer, id: &str, locations: &[String], attempt: Option<&Attempt>) -> Markup {
    let lang = viewer.lang();
    let post = format!("{}/change", parts::sku_href(id));
    let form = |name: &'static str, word: Text, what: Text, units: Text| {
        let action = Action { name, post: &post, word, what: lang.t(what), danger: false };
        action.show(viewer, attempt, &fields(lang, name, units, locations, attempt))
    };
    html! {
        aside.controls aria-label=(lang.t(text::CONTROLS)) {
            h2 { (lang.t(text::CONTROLS)) }
            @if viewer.who.may_change() {
                (form("receive", text::RECEIVE, text::RECEIVE_WHAT, text::UNITS_ARRIVED))
                (form("count", text::COUNT_IT, text::COUNT_WHAT, text::UNITS_THERE))
                (form("adjust", text::ADJUST, text::ADJUST_WHAT, text::UNITS_DIFFERENCE))
            } @else { p.hint { (lang.t(text::READ_ONLY_HINT)) } }
        }
    }
}

fn fields(lang: Lang, action: &str, units: Text, locations: &[String], attempt: Option<&Attempt>) -> Markup {
    let chosen = typed(attempt, action, "location");
    // A minus cannot be typed on the number pads of some phones.
    let mode = if action == "adjust" { "text" } else { "numeric" };
    html! {
        (forms::once(attempt, action))
        @if let [only] = locations {
            input type="hidden" name="location" value=(only);
        } @else {
            label for={"location-" (action)} { (lang.t(text::LOCATION)) }
            select id={"location-" (action)} name="location" {
                @for location in locations { option value=(location) selected[location == chosen] { (location) } }
            }
        }
        label for={"units-" (action)} { (lang.t(units)) }
        input id={"units-" (action)} name="units" inputmode=(mode) required value=(typed(attempt, action, "units")) autocomplete="off";
    }
}
