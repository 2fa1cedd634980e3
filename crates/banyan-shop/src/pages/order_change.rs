//! What a shopper does to an order: cancel it, give some of it back, put its goods into the cart again.

use super::order::{own, page};
use crate::ApiError;
use crate::gate::{Fields, Posted};
use crate::link;
use crate::parts::order_href;
use crate::text;
use crate::wire::Order;
use axum::extract::Path;
use axum::response::Response;
use http::{Method, StatusCode};
use serde_json::{Value, json};

/// Longest reason, in characters.
const REASON_MAX: usize = 120;

/// Cancels an order.
pub(crate) async fn cancel(Path(id): Path<String>, posted: Posted) -> Response {
    let body = json!({"reason": reason(&posted)});
    change(posted, &id, "cancel", &body, None).await
}

/// Gives some of an order back.
pub(crate) async fn give_back(Path(id): Path<String>, posted: Posted) -> Response {
    let key = posted.field("key").to_owned();
    let plain =
        (8..=64).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if !plain {
        let visit = &posted.visit;
        return visit.problem(StatusCode::BAD_REQUEST, text::FORM_BROKEN, visit.t(text::FORM_STALE_HINT));
    }
    let lines: Vec<Value> = posted
        .fields
        .iter()
        .filter_map(|(name, value)| Some((name.strip_prefix("q.")?, value.trim().parse::<u32>().ok()?)))
        .filter(|(_, quantity)| *quantity > 0)
        .map(|(product, quantity)| json!({"product": product, "quantity": quantity}))
        .collect();
    if lines.is_empty() {
        return match own(&posted.visit, &id).await {
            Ok(order) => {
                let fault = Some(posted.visit.t(text::RETURN_NOTHING));
                page(&posted.visit, &order, StatusCode::UNPROCESSABLE_ENTITY, fault, &Fields::new())
            }
            Err(response) => response,
        };
    }
    let body = json!({"lines": lines, "reason": reason(&posted)});
    let stamp = format!("shop/{}/{key}", posted.visit.member().unwrap_or_default());
    change(posted, &id, "returns", &body, Some(&stamp)).await
}

/// Asks the API for a change of the visitor's order and shows what came of it.
async fn change(mut posted: Posted, id: &str, what: &str, body: &Value, key: Option<&str>) -> Response {
    // The key of the API may change any member's order; whose it is, is for us to see to.
    let order = match own(&posted.visit, id).await {
        Ok(order) => order,
        Err(response) => return response,
    };
    let path = format!("/v1/orders/{}/{what}", link::encode(id));
    let changed = posted.visit.shop.api.send::<Order>(Method::POST, &path, Some(body), key).await;
    match changed {
        Ok(changed) => {
            posted.visit.session.seq = posted.visit.session.seq.max(changed.seq);
            posted.visit.lead(&order_href(id))
        }
        Err(ApiError::Refused(refused)) => {
            let fault = text::refused(posted.visit.lang, &refused.slug, &refused.detail);
            page(&posted.visit, &order, StatusCode::UNPROCESSABLE_ENTITY, Some(&fault), &Fields::new())
        }
        Err(error) => posted.visit.trouble(&error),
    }
}

fn reason(posted: &Posted) -> String {
    let typed: String = posted.field("reason").chars().filter(|c| !c.is_control()).take(REASON_MAX).collect();
    if typed.is_empty() { posted.visit.t(text::REASON_NONE).to_owned() } else { typed }
}

/// Puts the goods of an order into the cart again.
pub(crate) async fn again(Path(id): Path<String>, mut posted: Posted) -> Response {
    let order = match own(&posted.visit, &id).await {
        Ok(order) => order,
        Err(response) => return response,
    };
    for line in &order.lines {
        posted.visit.session.add(&line.product, line.quantity);
    }
    posted.visit.lead(&link::with("/shop/cart", &[("again", &order.order)]))
}
