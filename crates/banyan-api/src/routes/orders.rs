//! Orders: what a cart comes to, placing, looking, cancelling and returning.

use super::coupons::{coupon_id, member, write};
use super::stock::reason;
use crate::auth::Principal;
use crate::body::{self, SMALL_BODY_BYTES_MAX};
use crate::dry_run;
use crate::hosts::check_return_url;
use crate::problem::Problem;
use crate::quota::Cost;
use crate::routes::path::PathText;
use crate::wire::ReasonJson;
use crate::wire::stock::ShortLineJson;
use crate::wire_order::{
    CartJson, CartLineJson, NewOrderJson, NewReturnJson, OrderJson, PricedLineJson, QuoteJson, SumsJson,
    cart_lines,
};
use crate::{App, wire_order};
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use banyan_domain::order::{self, Cart, CartLine, Quote};
use banyan_domain::stock::Line;
use banyan_domain::{Command, OrderNo, Outcome, Refusal, points_account, stock};
use banyan_engine::Answer;
use http::{HeaderMap, StatusCode};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Largest cart: 100 lines of ids as long as they may be.
const CART_BYTES_MAX: usize = 16 << 10;
/// Longest word for a payment method, in bytes.
const METHOD_BYTES_MAX: usize = 256;
/// Longest wait for an order to settle.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Says what a cart comes to now. Nothing is held: stock may be gone, and prices may change, until the order is placed.
#[utoipa::path(
    post, path = "/v1/orders/quote", tag = "orders", request_body = CartJson,
    params(("Banyan-Dry-Run" = Option<String>, Header, description = "Makes no difference: nothing is changed anyway. The answer has the same header")),
    responses(
        (status = 200, description = "What it comes to", body = QuoteJson), (status = 402, description = "insufficient-funds"), (status = 403, description = "forbidden"),
        (status = 404, description = "product-not-found, coupon-not-found, account-not-found"), (status = 409, description = "terms-not-set, product-not-on-sale, coupon-redeemed, coupon-revoked"),
        (status = 410, description = "coupon-expired"), (status = 422, description = "below-minimum-order, order-too-large, other-currency"), (status = 423, description = "coupon-held"),
    ),
)]
pub(crate) async fn quote_order(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let dry = dry_run::is_asked(&headers)?;
    dry_run::answered(dry, quote(&app, &headers, body).await)
}

async fn quote(app: &App, headers: &HeaderMap, body: Body) -> Result<Response, Problem> {
    let principal = app.identify(headers)?;
    let CartJson { member, lines, coupon, points } = body::parse(&body::read(body, CART_BYTES_MAX).await?)?;
    let cart = checked_cart(app, &principal, member, lines, coupon.clone(), points)?;
    app.admit_as(&principal, Cost::Write { keyed: false })?;
    let look = move |state: &banyan_domain::State| {
        let quote = state.quote(&cart)?;
        let terms = state.orders().terms().ok_or(Refusal::Order(order::Refusal::TermsNotSet))?;
        let account = state.ledger().statement(&points_account(&cart.member));
        Ok::<_, Refusal>(QuoteJson {
            sums: SumsJson::of_quote(&quote, terms.currency),
            lines: quoted_lines(state, &quote),
            coupon,
            points_balance: account.map_or(0, |account| account.balance - account.debits_pending),
            seq: state.seq(),
        })
    };
    Ok(write(&app.look(look).await??, StatusCode::OK, false))
}

/// Places an order, and begins its checkout. Needs an `Idempotency-Key`: a shopper who presses twice has one order.
///
/// What the store does itself is done by the time of the answer: goods, coupon and points are held. Then the payment company
/// is asked; read the order again until it is `paid`, `failed`, or `waits_for` says where the shopper has to go. Or send
/// `Prefer: wait=10`: the answer then comes when that is so, or after as many seconds, at most 30.
#[utoipa::path(
    post, path = "/v1/orders", tag = "orders", request_body = NewOrderJson,
    params(("Idempotency-Key" = String, Header, description = "1 to 255 visible ASCII characters; kept for at least 24 hours")),
    responses(
        (status = 201, description = "Placed", body = OrderJson), (status = 200, description = "Placed before", body = OrderJson), (status = 400, description = "idempotency-key-required, invalid-request, card-number"),
        (status = 402, description = "insufficient-funds"), (status = 403, description = "forbidden"), (status = 404, description = "product-not-found, coupon-not-found, account-not-found, sku-not-found"),
        (status = 409, description = "out-of-stock, price-changed, terms-not-set, product-not-on-sale, checkout-not-defined, coupon-redeemed, coupon-revoked"), (status = 410, description = "coupon-expired"),
        (status = 422, description = "below-minimum-order, payment-method-missing, purchase-limit, order-too-large, other-currency, idempotency-key-reused"), (status = 423, description = "coupon-held"),
    ),
)]
pub(crate) async fn place_order(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let principal = app.identify(&headers)?;
    let request: NewOrderJson = body::parse(&body::read(body, CART_BYTES_MAX).await?)?;
    let NewOrderJson { member, lines, coupon, points, method, return_url, expect_total } = request;
    let cart = checked_cart(&app, &principal, member, lines, coupon, points)?;
    app.admit(&principal, &headers)?;
    if method.len() > METHOD_BYTES_MAX || method.chars().any(char::is_control) {
        return Err(Problem::invalid("method: must be at most 256 bytes without control characters."));
    }
    check_return_url(&return_url, &app.return_hosts)?;
    let stamp = app.required_stamp(&headers, &principal, || {
        format!("place {cart:?} {method} {return_url} {expect_total:?}")
    })?;
    let (seen, cart) = (cart.lines.clone(), Box::new(cart));
    let (method, return_url) = (method.into(), return_url.into());
    let command = order::Command::Place { cart, method, return_url, expect_total };
    let patience = wait(&headers);
    let shared = app.clone();
    let look = move |answer: Answer, state: &banyan_domain::State| match answer {
        Answer::Done { outcome, replayed, .. } => {
            let no = order_in(&outcome);
            Ok((no, find(&shared, state, no, !patience.is_zero()), replayed))
        }
        Answer::Refused(refusal @ Refusal::Stock(stock::Refusal::OutOfStock { .. })) => {
            Err(Problem { lines: short_of(state, &seen), ..Problem::from(refusal) })
        }
        Answer::Refused(refusal) => Err(refusal.into()),
        Answer::StorageFull => Err(Problem::storage_full()),
    };
    let (no, found, replayed) = app.ask_and_look(Command::Order(command), stamp, look).await??;
    let status = if replayed { StatusCode::OK } else { StatusCode::CREATED };
    let order = settled(&app, no, found, patience).await?.seen_by(&principal);
    Ok(write(&order, status, replayed))
}

/// Shows an order: while it is under way, while it can be returned, and for 28 hours after it ended. With `Prefer: wait=10`,
/// once nothing of it is under way any more.
#[utoipa::path(
    get, path = "/v1/orders/{order}", tag = "orders", params(("order" = String, Path, description = "Order, such as o-17")),
    responses((status = 200, description = "The order", body = OrderJson), (status = 404, description = "order-not-found")),
)]
pub(crate) async fn get_order(
    State(app): State<Arc<App>>,
    PathText(id): PathText,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let principal = app.identify(&headers)?;
    let no = own_order(&app, &principal, &id).await?;
    answer_order(&app, &principal, no, StatusCode::OK, false, wait(&headers)).await
}

/// Cancels an order. Before its checkout's point of no return everything held is given back; once paid, everything that is
/// left of it is refunded: that is the shop's to do, and `order-paid` to a shopper's token. The same again is answered the same.
#[utoipa::path(
    post, path = "/v1/orders/{order}/cancel", tag = "orders", request_body = ReasonJson,
    params(("order" = String, Path, description = "Order, such as o-17"), ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters; kept for at least 24 hours")),
    responses((status = 200, description = "Being cancelled, or cancelled", body = OrderJson), (status = 403, description = "forbidden"), (status = 404, description = "order-not-found"), (status = 409, description = "order-paid, order-settling, refund-under-way, checkout-not-defined, too-many-refunds"), (status = 410, description = "order-ended")),
)]
pub(crate) async fn cancel_order(
    State(app): State<Arc<App>>,
    PathText(id): PathText,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let principal = app.identify(&headers)?;
    principal.must_act_for(None)?;
    app.admit(&principal, &headers)?;
    let request: ReasonJson = body::parse(&body::read(body, SMALL_BODY_BYTES_MAX).await?)?;
    let (reason, order) = (reason(request.reason)?, own_order(&app, &principal, &id).await?);
    let stamp = app.stamp(&headers, &principal, || format!("cancel {order} {reason}"))?;
    let command =
        order::Command::Cancel { order, owner: principal.member.clone(), by: principal.name.clone(), reason };
    let (_, _, replayed) = app.ask(Command::Order(command), stamp).await?;
    answer_order(&app, &principal, order, StatusCode::OK, replayed, wait(&headers)).await
}

/// Gives part of a paid order back, once the shop has it: the goods come back on hand, and their share of money and points goes back the way it came.
#[utoipa::path(
    post, path = "/v1/orders/{order}/returns", tag = "orders", request_body = NewReturnJson,
    params(("order" = String, Path, description = "Order, such as o-17"), ("Idempotency-Key" = String, Header, description = "1 to 255 visible ASCII characters; kept for at least 24 hours")),
    responses(
        (status = 201, description = "Under way", body = OrderJson), (status = 200, description = "Asked before", body = OrderJson), (status = 400, description = "idempotency-key-required, invalid-request"), (status = 403, description = "forbidden"),
        (status = 404, description = "order-not-found"), (status = 409, description = "order-not-paid, refund-under-way, checkout-not-defined, too-many-refunds"), (status = 410, description = "order-ended"), (status = 422, description = "return-exceeds-order, idempotency-key-reused"),
    ),
)]
pub(crate) async fn return_order(
    State(app): State<Arc<App>>,
    PathText(id): PathText,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let principal = app.identify(&headers)?;
    principal.must_serve()?;
    let request: NewReturnJson = body::parse(&body::read(body, CART_BYTES_MAX).await?)?;
    let (lines, reason) = (cart_lines(request.lines)?, reason(request.reason)?);
    let order = own_order(&app, &principal, &id).await?;
    let stamp = app.required_stamp(&headers, &principal, || format!("return {order} {lines:?} {reason}"))?;
    let command = order::Command::Return { order, lines, by: principal.name.clone(), reason };
    let (_, _, replayed) = app.ask(Command::Order(command), stamp).await?;
    let status = if replayed { StatusCode::OK } else { StatusCode::CREATED };
    answer_order(&app, &principal, order, status, replayed, wait(&headers)).await
}

fn checked_cart(
    app: &App,
    principal: &Principal,
    id: String,
    lines: Vec<CartLineJson>,
    coupon: Option<String>,
    points: i64,
) -> Result<Cart, Problem> {
    let member = member(id)?;
    principal.must_act_for(Some(&member))?;
    if points < 0 {
        return Err(Problem::invalid("points: must be 0 or more."));
    }
    let coupon = coupon.filter(|code| !code.is_empty()).map(|code| coupon_id(app, &code)).transpose()?;
    Ok(Cart { member, lines: cart_lines(lines)?, coupon, points })
}

/// The number of an order that the caller may see: another member's is not there.
async fn own_order(app: &App, principal: &Principal, id: &str) -> Result<OrderNo, Problem> {
    let none = || Problem::from(Refusal::Order(order::Refusal::OrderNotFound));
    let no = OrderNo::parse(id).map_err(|_| none())?;
    if let Some(own) = principal.member.clone() {
        // An order never changes its member, so what was seen holds when a command is decided.
        let look = move |state: &banyan_domain::State| {
            state.orders().order(no).is_some_and(|order| order.member == own)
        };
        if !app.look(look).await? {
            return Err(none());
        }
    }
    Ok(no)
}

/// How long the caller would rather wait for an order that has settled: `Prefer: wait=SECONDS` (RFC 7240, 4.3).
fn wait(headers: &HeaderMap) -> Duration {
    let preferences = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let mut all = preferences.flat_map(|line| line.split(','));
    let seconds = all.find_map(|one| one.trim().strip_prefix("wait=")?.parse().ok());
    Duration::from_secs(seconds.unwrap_or(0)).min(WAIT_MAX)
}

/// Shows an order as it is once nothing is under way any more, or the caller's patience is over.
async fn answer_order(
    app: &Arc<App>,
    principal: &Principal,
    no: OrderNo,
    status: StatusCode,
    replayed: bool,
    patience: Duration,
) -> Result<Response, Problem> {
    let found = look_for(app, no, !patience.is_zero()).await?;
    let order = settled(app, no, found, patience).await?.seen_by(principal);
    Ok(write(&order, status, replayed))
}

/// What a look at an order finds.
enum Found {
    /// The order.
    Order(Box<OrderJson>),
    /// It is under way, and what is found when that is over comes here. None if the order is gone then.
    Later(oneshot::Receiver<Option<Found>>),
}

/// Looks at an order, if it is there; as soon as it is not under way any more, if the caller `waits`.
fn find(app: &Arc<App>, state: &banyan_domain::State, no: OrderNo, waits: bool) -> Option<Found> {
    let order = state.orders().order(no)?;
    let Some(saga) = wire_order::under_way(order, state).filter(|_| waits) else {
        return Some(Found::Order(Box::new(OrderJson::new(order, state, &app.codes))));
    };
    // Watched for in the look itself, so that no rest is missed.
    let shared = app.clone();
    let at_rest = move |state: &banyan_domain::State| find(&shared, state, no, true);
    Some(Found::Later(app.shard.rests().watch(saga, at_rest)))
}

async fn look_for(app: &Arc<App>, no: OrderNo, waits: bool) -> Result<Option<Found>, Problem> {
    let shared = app.clone();
    let look = move |state: &banyan_domain::State| find(&shared, state, no, waits);
    app.look(look).await.map_err(|_| Problem::unknown_outcome())
}

/// Waits for what was `found`, and takes the order as it is when the caller's patience is over.
async fn settled(
    app: &Arc<App>,
    no: OrderNo,
    mut found: Option<Found>,
    patience: Duration,
) -> Result<Box<OrderJson>, Problem> {
    let mut stopping = app.stopping();
    // The end of the caller's patience, not a way to look again: what is waited for is the saga's rest.
    let enough = tokio::time::sleep(patience);
    tokio::pin!(enough);
    loop {
        let rest = match found {
            None => return Err(Refusal::Order(order::Refusal::OrderNotFound).into()),
            Some(Found::Order(order)) => return Ok(order),
            Some(Found::Later(rest)) => rest,
        };
        found = tokio::select! {
            at_rest = rest => at_rest.map_err(|_| Problem::unknown_outcome())?,
            () = &mut enough => look_for(app, no, false).await?,
            _ = stopping.changed() => look_for(app, no, false).await?,
        };
    }
}

fn order_in(outcome: &Outcome) -> OrderNo {
    match outcome {
        Outcome::Order(order::Outcome::Order { order }) => *order,
        _ => unreachable!("a command about an order is answered with one"),
    }
}

/// The lines of a quote, with how many of each could be had.
fn quoted_lines(state: &banyan_domain::State, quote: &Quote) -> Vec<PricedLineJson> {
    let line = |line: &order::OrderLine| {
        let of_part = |part: &order::Part| room(state, part) / u64::from(part.quantity);
        let available = line.parts.iter().map(of_part).min();
        PricedLineJson { available, ..wire_order::PricedLineJson::from(line) }
    };
    quote.lines.iter().map(line).collect()
}

/// Units of a part's SKU that could be given or promised now.
fn room(state: &banyan_domain::State, part: &order::Part) -> u64 {
    let items = state.stock().items_of(&part.sku);
    items.map(|item| u64::from(item.level.available()) + u64::from(item.level.promisable(state.time()))).sum()
}

/// The lines of a cart that ask for more than there is, counting what all lines take of a SKU.
fn short_of(state: &banyan_domain::State, lines: &[CartLine]) -> Vec<ShortLineJson> {
    let Ok(goods) = state.goods(lines) else { return Vec::new() };
    let is_short = |part: &order::Part| {
        let needed = goods.as_slice().iter().find(|line: &&Line| line.sku == part.sku);
        needed.is_some_and(|needed| u64::from(needed.quantity) > room(state, part))
    };
    let short = lines.iter().enumerate().filter_map(|(index, line)| {
        let product = state.orders().product(&line.product)?;
        let part = product.parts.iter().find(|part| is_short(part))?;
        Some(ShortLineJson { line: index, sku: part.sku.to_string(), available: room(state, part) })
    });
    short.collect()
}
