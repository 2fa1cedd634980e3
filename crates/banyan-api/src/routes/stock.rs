//! Items: counting, receiving, correcting, configuring, reading.
//!
//! A SKU stands in the path escaped as any path segment is. The SKUs `reservations` and `import` must have a letter
//! escaped as well (`%69mport`), because those words are endpoints.

use super::coupons::write;
use super::path::PathText;
use crate::App;
use crate::auth::Role;
use crate::body::{self, SMALL_BODY_BYTES_MAX};
use crate::problem::Problem;
use crate::wire::stock::{
    AdjustJson, ItemAnswerJson, ItemJson, LocationJson, ReceiveJson, SkuJson, SkusJson, location, sku,
};
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use banyan_domain::stock::{self, ItemAnswer};
use banyan_domain::{Command, ItemNo, KeyStamp, LocationId, Outcome, Reason, Refusal, SkuId, limits};
use banyan_engine::Answer;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use std::sync::Arc;

/// SKUs in a page, at most and by default.
const PAGE_MAX: usize = 1_000;
const PAGE: usize = 100;
/// Items that one look at the state may visit while the writer waits: well under a millisecond.
const ITEMS_PER_LOOK_MAX: usize = 4_096;

/// Which page to read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SkusQuery {
    after: Option<String>,
    limit: Option<usize>,
}

/// Says what was counted of an item, and how it may be sold. Creates the item if it is new and `on_hand` is given.
///
/// The count is taken first, then the settings. If somebody waits for units of it, the units found leave, or are held for
/// them, at once.
#[utoipa::path(
    put, path = "/v1/stock/{sku}", tag = "stock",
    params(("sku" = String, Path, description = "SKU"), ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters; kept for at least 24 hours")),
    request_body = ItemJson,
    responses(
        (status = 200, description = "As it is now", body = ItemAnswerJson), (status = 400, description = "invalid-request"), (status = 403, description = "forbidden"),
        (status = 404, description = "sku-not-found, location-not-found: settings of what has never been counted"), (status = 409, description = "too-many-skus"),
        (status = 422, description = "stock-below-held, stock-above-limit, idempotency-key-reused"),
    ),
)]
pub(crate) async fn put_item(
    State(app): State<Arc<App>>,
    PathText(text): PathText,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let principal = app.identify(&headers)?;
    principal.must_serve()?;
    let sku = sku(&text)?;
    let request: ItemJson = body::parse(&body::read(body, SMALL_BODY_BYTES_MAX).await?)?;
    let change = request.configuration()?;
    let location = location(request.location.as_deref())?;
    let reason = reason(request.reason)?;
    let by = principal.name.clone();
    if request.on_hand.is_none() && change.is_none() {
        return Err(Problem::invalid("Name on_hand or a setting."));
    }
    // Refused before the count is taken, so that a refusal changes nothing.
    let most = change.as_ref().map_or(0, |c| c.backorder_max.max(c.preorder_max).unwrap_or(0));
    if most > limits::PROMISED_UNITS_MAX {
        return Err(Refusal::Stock(stock::Refusal::StockAboveLimit).into());
    }
    let place = Place { sku, location };
    let mut done = None;
    if let Some(on_hand) = request.on_hand {
        let stamp =
            app.stamp(&headers, &principal, || format!("count {place} {on_hand} {change:?} {reason}"))?;
        let (sku, location) = place.clone().into_names();
        let command = stock::Command::SetStock { sku, location, on_hand, by: by.clone(), reason };
        done = Some(item_asked(&app, &place, command, stamp).await?);
    }
    if let Some(change) = change {
        let counted = done.is_some();
        let part = if counted { "settings" } else { "" };
        let stamp = app.stamp_part(&headers, &principal, part, || format!("configure {place} {change:?}"))?;
        let (sku, location) = place.clone().into_names();
        let command = stock::Command::Configure { sku, location, change, by };
        let configured = item_asked(&app, &place, command, stamp).await;
        let half = |problem: Problem| match counted {
            true => Problem {
                detail: format!("The count was taken, the settings were not: {}", problem.detail),
                ..problem
            },
            false => problem,
        };
        let (item, replayed) = configured.map_err(half)?;
        let all_replayed = replayed && done.is_none_or(|(_, replayed)| replayed);
        done = Some((item, all_replayed));
    }
    let (item, replayed) = done.ok_or_else(|| Problem::invalid("Name on_hand or a setting."))?;
    Ok(write(&item, StatusCode::OK, replayed))
}

/// Takes goods that arrived. They fill units that are owed first, then promised ones, the oldest reservation first.
#[utoipa::path(
    post, path = "/v1/stock/{sku}/receive", tag = "stock",
    params(("sku" = String, Path, description = "SKU"), ("Idempotency-Key" = String, Header, description = "Required. 1 to 255 visible ASCII characters; kept for at least 24 hours")),
    request_body = ReceiveJson,
    responses(
        (status = 200, description = "As it is now", body = ItemAnswerJson), (status = 400, description = "invalid-request, idempotency-key-required"),
        (status = 404, description = "sku-not-found, location-not-found"), (status = 422, description = "stock-above-limit, idempotency-key-reused"),
    ),
)]
pub(crate) async fn receive_goods(
    State(app): State<Arc<App>>,
    PathText(text): PathText,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let principal = app.identify(&headers)?;
    principal.must_serve()?;
    let sku = known_sku(&text)?;
    let request: ReceiveJson = body::parse(&body::read(body, SMALL_BODY_BYTES_MAX).await?)?;
    let (quantity, reason) = (request.quantity, reason(request.reason)?);
    if quantity == 0 {
        return Err(Problem::invalid("quantity: must be at least 1."));
    }
    let place = Place { sku, location: location(request.location.as_deref())? };
    let stamp =
        app.required_stamp(&headers, &principal, || format!("receive {place} {quantity} {reason}"))?;
    let (sku, location) = place.clone().into_names();
    let command = stock::Command::Receive { sku, location, quantity, by: principal.name.clone(), reason };
    let (item, replayed) = item_asked(&app, &place, command, stamp).await?;
    Ok(write(&item, StatusCode::OK, replayed))
}

/// Corrects the units on hand by a difference.
#[utoipa::path(
    post, path = "/v1/stock/{sku}/adjust", tag = "stock",
    params(("sku" = String, Path, description = "SKU"), ("Idempotency-Key" = String, Header, description = "Required. 1 to 255 visible ASCII characters; kept for at least 24 hours")),
    request_body = AdjustJson,
    responses(
        (status = 200, description = "As it is now", body = ItemAnswerJson), (status = 400, description = "invalid-request, idempotency-key-required"),
        (status = 404, description = "sku-not-found, location-not-found"), (status = 422, description = "stock-below-held, stock-above-limit, idempotency-key-reused"),
    ),
)]
pub(crate) async fn adjust_stock(
    State(app): State<Arc<App>>,
    PathText(text): PathText,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let principal = app.identify(&headers)?;
    principal.must_serve()?;
    let sku = known_sku(&text)?;
    let request: AdjustJson = body::parse(&body::read(body, SMALL_BODY_BYTES_MAX).await?)?;
    let (by_quantity, reason) = (request.by, reason(request.reason)?);
    if by_quantity == 0 {
        return Err(Problem::invalid("by: must not be 0."));
    }
    let place = Place { sku, location: location(request.location.as_deref())? };
    let stamp =
        app.required_stamp(&headers, &principal, || format!("adjust {place} {by_quantity} {reason}"))?;
    let (sku, location) = place.clone().into_names();
    let command = stock::Command::Adjust { sku, location, by_quantity, by: principal.name.clone(), reason };
    let (item, replayed) = item_asked(&app, &place, command, stamp).await?;
    Ok(write(&item, StatusCode::OK, replayed))
}

/// Shows a SKU, summed over its locations. A shopper's token sees what is available only.
#[utoipa::path(
    get, path = "/v1/stock/{sku}", tag = "stock", params(("sku" = String, Path, description = "SKU")),
    responses((status = 200, description = "The SKU", body = SkuJson), (status = 404, description = "sku-not-found")),
)]
pub(crate) async fn get_stock(
    State(app): State<Arc<App>>,
    PathText(text): PathText,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let principal = app.identify(&headers)?;
    let (sku, shopper) = (known_sku(&text)?, principal.role == Role::Shopper);
    let seen = app.look(move |state| show(state, &sku, shopper)).await?;
    let seen = seen.ok_or(Refusal::Stock(stock::Refusal::SkuNotFound))?;
    Ok(write(&seen, StatusCode::OK, false))
}

/// Lists every SKU, in order of creation. A shopper's token sees what is available only.
#[utoipa::path(
    get, path = "/v1/stock", tag = "stock",
    params(("after" = Option<String>, Query, description = "The `next` of the page before"), ("limit" = Option<usize>, Query, description = "1 to 1000; default 100")),
    responses((status = 200, description = "A page", body = SkusJson), (status = 404, description = "sku-not-found: `after` names none")),
)]
pub(crate) async fn list_stock(
    State(app): State<Arc<App>>,
    query: Result<Query<SkusQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let principal = app.identify(&headers)?;
    let shopper = principal.role == Role::Shopper;
    let Query(query) = query.map_err(|error| Problem::invalid(format!("{error}.")))?;
    let limit = query.limit.unwrap_or(PAGE);
    if limit == 0 || limit > PAGE_MAX {
        return Err(Problem::invalid("limit: must be 1 to 1000."));
    }
    let mut next = 1;
    if let Some(after) = query.after {
        let sku = known_sku(&after)?;
        let first = app.look(move |state| first_item(state, &sku)).await?;
        next = first.ok_or(Refusal::Stock(stock::Refusal::SkuNotFound))? + 1;
    }
    let mut page = SkusJson { skus: Vec::new(), next: None, seq: 0 };
    loop {
        let left = limit - page.skus.len();
        let seen = app.look(move |state| look_on(state, next, left, shopper)).await?;
        page.skus.extend(seen.skus);
        page.seq = seen.seq;
        next = seen.next;
        if seen.end {
            break;
        }
        if page.skus.len() == limit {
            page.next = page.skus.last().map(|sku| sku.sku.clone());
            break;
        }
    }
    Ok(write(&page, StatusCode::OK, false))
}

/// One SKU at one location.
#[derive(Clone)]
struct Place {
    sku: SkuId,
    location: LocationId,
}

impl Place {
    fn into_names(self) -> (SkuId, LocationId) {
        (self.sku, self.location)
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.sku, self.location)
    }
}

/// Asks for a change of an item and puts the answer together, with whether it was given before.
async fn item_asked(
    app: &App,
    place: &Place,
    command: stock::Command,
    stamp: Option<KeyStamp>,
) -> Result<(ItemAnswerJson, bool), Problem> {
    let Place { sku, location } = place.clone();
    let look = move |answer: Answer, state: &banyan_domain::State| {
        let item = state.stock().find(&sku, &location).and_then(|item| state.stock().item(item));
        (answer, item.map(|item| item.level.safety))
    };
    let (answer, seen) = app.ask_and_look(Command::Stock(command), stamp, look).await?;
    let (answer, seq, replayed) = match answer {
        Answer::Done { outcome, seq, replayed } => (item_answer(&outcome), seq, replayed),
        Answer::Refused(refusal) => return Err(refusal.into()),
        Answer::StorageFull => return Err(Problem::storage_full()),
    };
    let safety = seen.ok_or_else(Problem::unknown_outcome)?;
    let ItemAnswer { on_hand, held, promised, owed, .. } = answer;
    let item = ItemAnswerJson {
        sku: place.sku.to_string(),
        location: place.location.to_string(),
        on_hand,
        held,
        available: (on_hand - held).saturating_sub(safety),
        promised,
        owed,
        seq,
    };
    Ok((item, replayed))
}

fn item_answer(outcome: &Outcome) -> ItemAnswer {
    match outcome {
        Outcome::Stock(stock::Outcome::Item(answer)) => *answer,
        _ => unreachable!("a command about an item is answered with an item"),
    }
}

/// A SKU as it is, if there is one.
fn show(state: &banyan_domain::State, sku: &SkuId, shopper: bool) -> Option<SkuJson> {
    let items = state.stock().items_of(sku);
    let locations: Vec<_> =
        items.map(|item| LocationJson::new(&item, state.legacy().mirrored(item.item))).collect();
    if locations.is_empty() {
        return None;
    }
    let per_member = state.stock().per_member(sku);
    Some(SkuJson::new(sku.to_string(), locations, per_member, state.seq(), shopper))
}

/// The number of the item with which `sku` came.
fn first_item(state: &banyan_domain::State, sku: &SkuId) -> Option<u32> {
    state.stock().items_of(sku).map(|item| item.item.get()).min()
}

/// A part of a list.
struct Seen {
    skus: Vec<SkuJson>,
    /// The item to go on with.
    next: u32,
    end: bool,
    seq: u64,
}

/// Up to `most` SKUs that came with item `from` or later.
fn look_on(state: &banyan_domain::State, from: u32, most: usize, shopper: bool) -> Seen {
    let stock = state.stock();
    let mut seen = Seen { skus: Vec::new(), next: from, end: false, seq: state.seq() };
    let mut visited = 0;
    while let Some(item) = stock.item(ItemNo::new(seen.next)) {
        if seen.skus.len() == most || visited >= ITEMS_PER_LOOK_MAX {
            return seen;
        }
        seen.next += 1;
        let Ok(sku) = SkuId::new(item.sku) else { continue };
        visited += stock.items_of(&sku).count();
        // Once for each SKU: with the item with which it came.
        if first_item(state, &sku) == Some(item.item.get()) {
            seen.skus.extend(show(state, &sku, shopper));
        }
    }
    seen.end = true;
    seen
}

/// A SKU in a path of something that must be there: what is no SKU is not there.
fn known_sku(text: &str) -> Result<SkuId, Problem> {
    SkuId::new(text).map_err(|error| {
        Problem::new(StatusCode::NOT_FOUND, "sku-not-found", format!("No such SKU: {error}."))
    })
}

pub(super) fn reason(text: String) -> Result<Reason, Problem> {
    Reason::new(text).map_err(|error| Problem::invalid(format!("{error}.")))
}
