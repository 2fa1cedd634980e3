//! Lists of orders, read from the record store. What an order waits for is not history: that is looked up in the state.

use super::coupons::{member, write};
use super::members::{blocking, wait_for};
use crate::App;
use crate::auth::Principal;
use crate::clock::rfc3339;
use crate::problem::Problem;
use crate::routes::path::PathText;
use crate::wire_order::{
    CartLineJson, OrderJson, OrdersJson, PricedLineJson, RefundJson, SumsJson, WaitsForJson, waits_for,
};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use banyan_domain::OrderNo;
use banyan_domain::coupon::CodeKey;
use banyan_domain::order::{OrderState, RefundState};
use banyan_log::Seq;
use banyan_views::record::{OrderLineRecord, OrderPage, OrderRecord, OrderRefundRecord};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Orders in a page, at most and by default.
const PAGE_MAX: usize = 500;
const PAGE: usize = 50;

/// Which page of a member's orders to read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MemberOrdersQuery {
    after: Option<String>,
    limit: Option<usize>,
    at_least: Option<u64>,
}

/// Which page of all orders to read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OrdersQuery {
    state: Option<StateQuery>,
    after: Option<String>,
    limit: Option<usize>,
    at_least: Option<u64>,
}

/// Orders of which state.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StateQuery {
    Placed,
    Paid,
    Cancelled,
    Failed,
}

/// Lists a member's orders, newest first, as the record store has them. All of them, however old.
///
/// The store is written after the answer. To read what you wrote, pass the `seq` of that answer as `at_least`: the
/// request waits until the store has come that far.
#[utoipa::path(
    get, path = "/v1/members/{member}/orders", tag = "orders",
    params(
        ("member" = String, Path, description = "Member"), ("after" = Option<String>, Query, description = "The `next` of the page before"),
        ("limit" = Option<usize>, Query, description = "1 to 500; default 50"), ("at_least" = Option<u64>, Query, description = "Log position that the answer must include"),
    ),
    responses((status = 200, description = "A page", body = OrdersJson), (status = 403, description = "forbidden"), (status = 503, description = "view-behind")),
)]
pub(crate) async fn list_member_orders(
    State(app): State<Arc<App>>,
    PathText(id): PathText,
    query: Result<Query<MemberOrdersQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let principal = app.identify(&headers)?;
    let member = member(id)?;
    if principal.member.as_ref().is_some_and(|own| *own != member) {
        return Err(Problem::forbidden("A shopper's token reads only its own orders."));
    }
    let Query(query) = query.map_err(|error| Problem::invalid(format!("{error}.")))?;
    let (before, limit) = page(query.after.as_deref(), query.limit)?;
    wait_for(&app, query.at_least).await?;
    let record = app.record.clone();
    let page = blocking(move || record.member_orders(&member, before, limit)).await?;
    answer(&app, &principal, page).await
}

/// Lists orders, newest first, as the record store has them: all, or those of one state.
#[utoipa::path(
    get, path = "/v1/orders", tag = "orders",
    params(
        ("state" = Option<String>, Query, description = "placed, paid, cancelled or failed"), ("after" = Option<String>, Query, description = "The `next` of the page before"),
        ("limit" = Option<usize>, Query, description = "1 to 500; default 50"), ("at_least" = Option<u64>, Query, description = "Log position that the answer must include"),
    ),
    responses((status = 200, description = "A page", body = OrdersJson), (status = 403, description = "forbidden"), (status = 503, description = "view-behind")),
)]
pub(crate) async fn list_orders(
    State(app): State<Arc<App>>,
    query: Result<Query<OrdersQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let principal = app.identify(&headers)?;
    principal.must_read_all()?;
    let Query(query) = query.map_err(|error| Problem::invalid(format!("{error}.")))?;
    let (before, limit) = page(query.after.as_deref(), query.limit)?;
    let state = query.state.map(|state| match state {
        StateQuery::Placed => OrderState::Placed,
        StateQuery::Paid => OrderState::Paid,
        StateQuery::Cancelled => OrderState::Cancelled,
        StateQuery::Failed => OrderState::Failed,
    });
    wait_for(&app, query.at_least).await?;
    let record = app.record.clone();
    let page = blocking(move || record.orders(state, before, limit)).await?;
    answer(&app, &principal, page).await
}

fn page(after: Option<&str>, limit: Option<usize>) -> Result<(Option<OrderNo>, usize), Problem> {
    let limit = limit.unwrap_or(PAGE);
    if limit == 0 || limit > PAGE_MAX {
        return Err(Problem::invalid("limit: must be 1 to 500."));
    }
    let after = after.map(OrderNo::parse).transpose();
    Ok((after.map_err(|error| Problem::invalid(format!("after: {error}.")))?, limit))
}

async fn answer(app: &Arc<App>, principal: &Principal, page: OrderPage) -> Result<Response, Problem> {
    let is_open = |order: &&OrderRecord| {
        let refund = order.refunds.last().is_some_and(|refund| refund.state == RefundState::Begun);
        order.state == OrderState::Placed || refund
    };
    let open: Vec<OrderNo> = page.orders.iter().filter(is_open).map(|order| order.order).collect();
    let mut waits = waits_for_all(app, open).await?;
    let order = |order: OrderRecord| {
        let waits = waits.remove(&order.order);
        json(order, &app.codes, waits, page.checkpoint).seen_by(principal)
    };
    let orders = OrdersJson {
        orders: page.orders.into_iter().map(order).collect(),
        next: page.next.map(|next| next.to_string()),
        seq: page.checkpoint.as_u64(),
    };
    Ok(write(&orders, StatusCode::OK, false))
}

/// What each of `orders` waits for now. The writer is not asked if there are none.
async fn waits_for_all(
    app: &Arc<App>,
    orders: Vec<OrderNo>,
) -> Result<BTreeMap<OrderNo, WaitsForJson>, Problem> {
    if orders.is_empty() {
        return Ok(BTreeMap::new());
    }
    let look = move |state: &banyan_domain::State| {
        let wait = |no: OrderNo| Some((no, waits_for(state.orders().order(no)?, state)?));
        orders.into_iter().filter_map(wait).collect()
    };
    app.look(look).await
}

fn json(order: OrderRecord, codes: &CodeKey, waits_for: Option<WaitsForJson>, as_of: Seq) -> OrderJson {
    let refund = |refund: &OrderRefundRecord| refund_json(refund, &order);
    OrderJson {
        refunds: order.refunds.iter().map(refund).collect(),
        order: order.order.to_string(),
        member: order.member.into(),
        state: order.state.as_str(),
        why: order.why.map(Into::into),
        waits_for,
        lines: order.lines.iter().map(line_json).collect(),
        sums: SumsJson {
            goods: order.goods,
            discount: order.discount,
            shipping: order.shipping,
            points: order.points,
            total: order.total,
            vat: order.vat,
            currency: order.currency.to_string(),
        },
        coupon: order.coupon.map(|coupon| codes.code(coupon).to_string()),
        payment: order.payment.map(Into::into),
        reservation: order.reservation.map(|no| no.to_string()),
        placed_at: rfc3339(order.placed_at),
        paid_at: order.paid_at.map(rfc3339),
        ended_at: order.ended_at.map(rfc3339),
        cancel_requested: order.cancel_requested,
        refunded: order.refunded,
        refunded_points: order.refunded_points,
        saga: order.saga.get(),
        seq: as_of.as_u64(),
    }
}

fn line_json(line: &OrderLineRecord) -> PricedLineJson {
    let gross = line.unit_price * i64::from(line.quantity);
    PricedLineJson {
        product: line.product.to_string(),
        quantity: line.quantity,
        unit_price: line.unit_price,
        gross,
        discount: line.discount,
        points: line.points,
        paid: gross - line.discount - line.points,
        vat: line.vat,
        available: None,
        returned: Some(line.returned),
    }
}

fn refund_json(refund: &OrderRefundRecord, order: &OrderRecord) -> RefundJson {
    let line = |&(place, quantity): &(u16, u32)| {
        let product = order.lines.get(usize::from(place)).map(|line| line.product.to_string());
        CartLineJson { product: product.unwrap_or_default(), quantity }
    };
    RefundJson {
        refund: format!("{}.{}", order.order, refund.refund),
        kind: if refund.cancel { "cancel" } else { "return" },
        state: refund.state.as_str(),
        why: refund.why.as_ref().map(ToString::to_string),
        lines: refund.lines.iter().map(line).collect(),
        amount: refund.amount,
        points: refund.points,
        by: Some(refund.actor.to_string()),
        reason: Some(refund.reason.to_string()),
        begun_at: rfc3339(refund.begun_at),
        ended_at: refund.ended_at.map(rfc3339),
        saga: refund.saga.get(),
    }
}
