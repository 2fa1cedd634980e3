//! The life of a reservation of stock.
//!
//! An answer names SKUs and locations, while the shard answers with numbers of items. The names are looked up right
//! behind the command, in the same turn of the queue; an item never changes its names, so a repeated answer is the same.

use super::coupons::{member, write};
use super::path::PathText;
use super::stock::reason;
use crate::App;
use crate::auth::Principal;
use crate::body::{self, SMALL_BODY_BYTES_MAX};
use crate::dry_run;
use crate::problem::Problem;
use crate::quota::Cost;
use crate::wire::stock::{
    LineJson, ReservationJson, ReserveJson, ReservedLineJson, ReturnJson, ReturnedJson, ShortLineJson,
    instants, lines,
};
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use banyan_domain::stock::{self, Lines, ReservationAnswer, ReservationState};
use banyan_domain::{
    Command, Holder, ItemNo, KeyStamp, LocationId, MemberId, Millis, Outcome, Refusal, ReservationNo, SkuId,
    limits,
};
use banyan_engine::Answer;
use http::{HeaderMap, StatusCode};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Longest hold that a shopper may ask for, in seconds: long enough to pay, too short to keep others from buying.
const SHOPPER_HOLD_SECONDS_MAX: u64 = 3_600;

/// Reserves all lines or none, until a deadline.
///
/// If there is not enough stock, the answer names in `lines` each line that falls short and what it could have. With
/// `Banyan-Dry-Run: true` the answer is the one that would be given now, also the number, and nothing is reserved.
#[utoipa::path(
    post, path = "/v1/stock/reservations", tag = "stock",
    params(
        ("Idempotency-Key" = String, Header, description = "Required. 1 to 255 visible ASCII characters; kept for at least 24 hours"),
        ("Banyan-Dry-Run" = Option<String>, Header, description = "true: only say what would be answered. Nothing is changed and the key is not used up; the answer has the same header"),
    ),
    request_body = ReserveJson,
    responses(
        (status = 201, description = "Reserved", body = ReservationJson), (status = 200, description = "Reserved before", body = ReservationJson),
        (status = 400, description = "invalid-request, idempotency-key-required"), (status = 403, description = "forbidden"), (status = 404, description = "sku-not-found, location-not-found"),
        (status = 409, description = "out-of-stock"), (status = 422, description = "purchase-limit, idempotency-key-reused"), (status = 503, description = "busy, too-many-reservations"),
    ),
)]
pub(crate) async fn reserve_stock(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let dry = dry_run::is_asked(&headers)?;
    dry_run::answered(dry, reserve(&app, &headers, body, dry).await)
}

async fn reserve(app: &App, headers: &HeaderMap, body: Body, dry: bool) -> Result<Response, Problem> {
    let principal = app.identify(headers)?;
    let request: ReserveJson = body::parse(&body::read(body, SMALL_BODY_BYTES_MAX).await?)?;
    let member = request.member.map(member).transpose()?;
    principal.must_act_for(member.as_ref())?;
    app.admit_as(&principal, if dry { Cost::Write { keyed: false } } else { Cost::Reservation })?;
    let member = member.or_else(|| principal.member.clone());
    let order = request.order.map(|order| super::coupons::order(order, &principal)).transpose()?;
    let wanted = lines(&request.lines)?;
    let hold_for = Millis::from_seconds(request.hold_seconds);
    if request.hold_seconds == 0 || hold_for.get() > limits::RESERVATION_MILLIS_MAX {
        return Err(Problem::invalid("hold_seconds: must be 1 to 604800 (seven days)."));
    }
    if principal.member.is_some() && request.hold_seconds > SHOPPER_HOLD_SECONDS_MAX {
        return Err(Problem::forbidden("A shopper's token holds goods for at most 3600 seconds."));
    }
    let stamp = app.required_stamp(headers, &principal, || {
        format!("reserve {:?} {member:?} {order:?} {}", wanted.as_slice(), request.hold_seconds)
    })?;
    let seen_lines = wanted.clone();
    let look =
        move |answer: Answer, state: &banyan_domain::State| (answer, look_at_lines(state, &seen_lines));
    let holder = if principal.member.is_some() { Holder::Member } else { Holder::Shop };
    let (whose, of) = (member.clone(), order.clone());
    let command = stock::Command::Reserve { lines: wanted, member: whose, order: of, holder, hold_for };
    let command = Command::Stock(command);
    let (answer, seen) = match dry {
        true => app.foretell(command, stamp, look).await?,
        false => app.ask_and_look(command, stamp, look).await?,
    };
    let (answer, seq, replayed) = match answer {
        Answer::Done { outcome, seq, replayed } => (reservation_answer(outcome), seq, replayed),
        Answer::Refused(refusal) => return Err(refused(refusal, &request.lines, Some(&seen))),
        Answer::StorageFull => return Err(Problem::storage_full()),
    };
    let names = |item: ItemNo| {
        let found = seen.iter().find(|seen| seen.item == item)?;
        Some((found.sku.to_string(), found.location.to_string()))
    };
    let mut reservation = reservation_json(answer, seq, names)?;
    reservation.member = member.map(|member| member.to_string());
    reservation.order = order.map(|order| order.to_string());
    Ok(write(&reservation, if replayed { StatusCode::OK } else { StatusCode::CREATED }, replayed))
}

/// Shows a reservation: while it is held, and for 28 hours after it ended.
#[utoipa::path(
    get, path = "/v1/stock/reservations/{id}", tag = "stock", params(("id" = String, Path, description = "Reservation, such as r-17")),
    responses((status = 200, description = "The reservation", body = ReservationJson), (status = 404, description = "reservation-not-found")),
)]
pub(crate) async fn get_reservation(
    State(app): State<Arc<App>>,
    PathText(id): PathText,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let principal = app.identify(&headers)?;
    let (no, own) = (reservation_no(&id)?, principal.member.clone());
    let found = app.look(move |state| show(state, no, own.as_ref())).await?;
    Ok(write(&found.ok_or_else(not_found)?, StatusCode::OK, false))
}

/// Sells what is reserved: held units leave, promised ones are owed from now on. The same again is answered the same.
#[utoipa::path(
    post, path = "/v1/stock/reservations/{id}/commit", tag = "stock", params(("id" = String, Path, description = "Reservation, such as r-17"), ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters; kept for at least 24 hours")),
    responses((status = 200, description = "Committed", body = ReservationJson), (status = 404, description = "reservation-not-found"), (status = 409, description = "reservation-released"), (status = 410, description = "reservation-expired")),
)]
pub(crate) async fn commit_reservation(
    State(app): State<Arc<App>>,
    PathText(id): PathText,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (principal, reservation) = (app.identify(&headers)?, reservation_no(&id)?);
    let command = stock::Command::CommitReservation { reservation };
    end(&app, &headers, &principal, reservation, command, "commit").await
}

/// Gives a reservation up: its units are free again. One that was released or has expired stays so.
#[utoipa::path(
    post, path = "/v1/stock/reservations/{id}/release", tag = "stock", params(("id" = String, Path, description = "Reservation, such as r-17"), ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters; kept for at least 24 hours")),
    responses((status = 200, description = "Released, or expired", body = ReservationJson), (status = 404, description = "reservation-not-found"), (status = 409, description = "reservation-committed")),
)]
pub(crate) async fn release_reservation(
    State(app): State<Arc<App>>,
    PathText(id): PathText,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (principal, reservation) = (app.identify(&headers)?, reservation_no(&id)?);
    let command = stock::Command::ReleaseReservation { reservation };
    end(&app, &headers, &principal, reservation, command, "release").await
}

/// Takes committed goods back, to where they were taken from.
#[utoipa::path(
    post, path = "/v1/stock/reservations/{id}/return", tag = "stock",
    params(("id" = String, Path, description = "Reservation, such as r-17"), ("Idempotency-Key" = String, Header, description = "Required. 1 to 255 visible ASCII characters; kept for at least 24 hours")),
    request_body = ReturnJson,
    responses(
        (status = 200, description = "Taken back", body = ReturnedJson), (status = 400, description = "invalid-request, idempotency-key-required"),
        (status = 404, description = "reservation-not-found, sku-not-found, location-not-found"), (status = 409, description = "reservation-released"),
        (status = 410, description = "reservation-expired"), (status = 422, description = "return-too-much, stock-above-limit, idempotency-key-reused"),
    ),
)]
pub(crate) async fn return_goods(
    State(app): State<Arc<App>>,
    PathText(id): PathText,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let principal = app.identify(&headers)?;
    principal.must_serve()?;
    let reservation = reservation_no(&id)?;
    let request: ReturnJson = body::parse(&body::read(body, SMALL_BODY_BYTES_MAX).await?)?;
    let (lines, reason) = (lines(&request.lines)?, reason(request.reason)?);
    let stamp = app.required_stamp(&headers, &principal, || {
        format!("return {reservation} {:?} {reason}", lines.as_slice())
    })?;
    let command = stock::Command::Return { reservation, lines, by: principal.name.clone(), reason };
    let (outcome, seq, replayed) = app.ask(Command::Stock(command), stamp).await?;
    let Outcome::Stock(stock::Outcome::Returned { reservation, units }) = outcome else {
        unreachable!("a return is answered with what came back")
    };
    let returned = ReturnedJson { reservation: reservation.to_string(), units, seq };
    Ok(write(&returned, StatusCode::OK, replayed))
}

/// Ends a reservation one way or the other.
async fn end(
    app: &App,
    headers: &HeaderMap,
    principal: &Principal,
    no: ReservationNo,
    command: stock::Command,
    verb: &str,
) -> Result<Response, Problem> {
    // What is committed is sold: that is the shop's to say, once it is paid.
    if verb == "commit" {
        principal.must_serve()?;
    } else {
        principal.must_act_for(None)?;
        app.admit(principal, headers)?;
    }
    if let Some(own) = principal.member.clone() {
        // A reservation never changes its member nor who made it, so what was seen holds when the command is decided.
        let look = move |state: &banyan_domain::State| {
            let row = state.stock().reservation(no).filter(|row| row.member == Some(own.as_str()))?;
            Some(row.holder)
        };
        if app.look(look).await?.ok_or_else(not_found)? == Holder::Shop {
            return Err(Problem::forbidden(
                "The shop made this reservation, for an order or a checkout of its own, and gives it up itself.",
            ));
        }
    }
    let stamp: Option<KeyStamp> = app.stamp(headers, principal, || format!("{verb} {no}"))?;
    let look = move |answer: Answer, state: &banyan_domain::State| (answer, show(state, no, None));
    let (answer, seen) = app.ask_and_look(Command::Stock(command), stamp, look).await?;
    let (answer, seq, replayed) = match answer {
        Answer::Done { outcome, seq, replayed } => (reservation_answer(outcome), seq, replayed),
        Answer::Refused(refusal) => return Err(refusal.into()),
        Answer::StorageFull => return Err(Problem::storage_full()),
    };
    // The parts of a reservation are in one order for ever: only their names are taken from what was seen.
    let shown = seen.ok_or_else(Problem::unknown_outcome)?;
    let mut names = shown.lines.into_iter().map(|line| (line.sku, line.location));
    let mut reservation = reservation_json(answer, seq, |_| names.next())?;
    (reservation.member, reservation.order) = (shown.member, shown.order);
    Ok(write(&reservation, StatusCode::OK, replayed))
}

/// An item that lines of a reservation may draw on.
struct SeenItem {
    item: ItemNo,
    sku: SkuId,
    location: LocationId,
    /// Units it could give or promise.
    room: u64,
}

/// Every item of the SKUs of `lines`.
fn look_at_lines(state: &banyan_domain::State, lines: &Lines) -> Vec<SeenItem> {
    let (stock, now) = (state.stock(), state.time());
    let skus: BTreeSet<&SkuId> = lines.as_slice().iter().map(|line| &line.sku).collect();
    let items = skus.into_iter().flat_map(|sku| stock.items_of(sku).map(move |item| (sku, item)));
    let seen = items.map(|(sku, item)| SeenItem {
        item: item.item,
        sku: sku.clone(),
        location: item.location.clone(),
        room: u64::from(item.level.available()) + u64::from(item.level.promisable(now)),
    });
    seen.collect()
}

/// A refused reservation as a problem, with the lines that fall short if that is why.
fn refused(refusal: Refusal, lines: &[LineJson], seen: Option<&[SeenItem]>) -> Problem {
    let problem = Problem::from(refusal);
    let (Refusal::Stock(refusal), Some(seen)) = (refusal, seen) else { return problem };
    let short = refusal.short_lines().filter_map(|index| {
        let line = lines.get(index)?;
        let here = |seen: &&SeenItem| {
            let place = line.location.as_deref();
            seen.sku.as_str() == line.sku && place.is_none_or(|place| place == seen.location.as_str())
        };
        let available = seen.iter().filter(here).map(|seen| seen.room).sum();
        Some(ShortLineJson { line: index, sku: line.sku.clone(), available })
    });
    Problem { lines: short.collect(), ..problem }
}

/// The reservation, if there is one, and it is of the member `own` if that is given.
fn show(state: &banyan_domain::State, no: ReservationNo, own: Option<&MemberId>) -> Option<ReservationJson> {
    let stock = state.stock();
    let row = stock.reservation(no)?;
    if own.is_some_and(|own| row.member != Some(own.as_str())) {
        return None;
    }
    let (expires_at, ended_at) = instants(row.state == ReservationState::Held, row.at);
    let lines = row.parts.iter().filter_map(|part| {
        let item = stock.item(part.item)?;
        Some(ReservedLineJson {
            sku: item.sku.to_owned(),
            location: item.location.to_string(),
            quantity: part.quantity(),
            held: part.held,
            promised: part.promised,
            returned: Some(part.returned),
        })
    });
    Some(ReservationJson {
        reservation: no.to_string(),
        state: row.state.as_str(),
        expires_at,
        ended_at,
        member: row.member.map(str::to_owned),
        order: row.order.map(str::to_owned),
        lines: lines.collect(),
        seq: state.seq(),
    })
}

/// A reservation as a command left it; `names` gives the SKU and location of each of its items in turn.
fn reservation_json(
    answer: ReservationAnswer,
    seq: u64,
    mut names: impl FnMut(ItemNo) -> Option<(String, String)>,
) -> Result<ReservationJson, Problem> {
    let lines = answer.parts.into_iter().map(|part| {
        let (sku, location) = names(part.item).ok_or_else(Problem::unknown_outcome)?;
        let (held, promised) = (part.held, part.promised);
        Ok(ReservedLineJson { sku, location, quantity: held + promised, held, promised, returned: None })
    });
    let lines = lines.collect::<Result<_, Problem>>()?;
    let (expires_at, ended_at) = instants(answer.state == ReservationState::Held, answer.at);
    Ok(ReservationJson {
        reservation: answer.reservation.to_string(),
        state: answer.state.as_str(),
        expires_at,
        ended_at,
        member: None,
        order: None,
        lines,
        seq,
    })
}

fn reservation_answer(outcome: Outcome) -> ReservationAnswer {
    match outcome {
        Outcome::Stock(stock::Outcome::Reservation(answer)) => answer,
        _ => unreachable!("a command about a reservation is answered with one"),
    }
}

/// The reservation named in a path: what is no name of one is not there.
fn reservation_no(name: &str) -> Result<ReservationNo, Problem> {
    ReservationNo::parse(name).map_err(|error| {
        let detail = format!("No such reservation: {error}.");
        Problem::new(StatusCode::NOT_FOUND, "reservation-not-found", detail)
    })
}

fn not_found() -> Problem {
    Refusal::Stock(stock::Refusal::ReservationNotFound).into()
}
