//! Every endpoint, one file for each kind of thing.

mod allow_list;
mod batch;
mod campaigns;
mod coupons;
mod docs;
mod events;
mod health;
mod ledger;
mod legacy;
mod members;
mod metrics;
mod orders;
mod orders_list;
mod path;
mod products;
mod sagas;
mod stock;
mod stock_import;
mod stock_reservations;
mod views;
mod webhooks;

pub(crate) use allow_list::*;
pub(crate) use batch::*;
pub(crate) use campaigns::*;
pub(crate) use coupons::*;
pub(crate) use events::*;
pub(crate) use health::*;
pub(crate) use ledger::*;
pub(crate) use legacy::*;
pub(crate) use members::*;
pub(crate) use metrics::*;
pub(crate) use orders::*;
pub(crate) use orders_list::*;
pub(crate) use products::*;
pub(crate) use sagas::*;
pub(crate) use stock::*;
pub(crate) use stock_import::*;
pub(crate) use stock_reservations::*;
pub(crate) use views::*;
pub use webhooks::webhooks;
pub(crate) use webhooks::*;

use crate::App;
use crate::dry_run;
use crate::problem::Problem;
use axum::Router;
use axum::middleware::from_fn;
use axum::routing::{get, post};
use banyan_domain::holds_card_number;
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri};
use std::sync::Arc;

/// Marks an answer that was given before.
pub(crate) const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
pub(crate) const TRUE: HeaderValue = HeaderValue::from_static("true");

/// The API.
pub fn router(app: Arc<App>) -> Router {
    let pretends = Router::new()
        .route("/v1/campaigns/{id}/coupons", post(issue_coupon))
        .route("/v1/orders/quote", post(quote_order))
        .route("/v1/stock/reservations", post(reserve_stock));
    Router::new()
        .route("/v1/campaigns", get(list_campaigns).post(create_campaign))
        .route("/v1/campaigns/{id}", get(get_campaign).patch(change_campaign))
        .route("/v1/campaigns/{id}/allow-list", post(extend_allow_list))
        .route("/v1/campaigns/{id}/coupons/batch", post(issue_batch))
        .route("/v1/members/{member}/coupons", get(list_member_coupons))
        .route("/v1/members/{member}/orders", get(list_member_orders))
        .route("/v1/coupons/{code}", get(get_coupon))
        .route("/v1/coupons/{code}/hold", post(hold_coupon))
        .route("/v1/coupons/{code}/redeem", post(redeem_coupon))
        .route("/v1/coupons/{code}/release", post(release_coupon))
        .route("/v1/coupons/{code}/revoke", post(revoke_coupon))
        .route("/v1/stock", get(list_stock))
        .route("/v1/stock/import", post(import_stock))
        .route("/v1/stock/reservations/{id}", get(get_reservation))
        .route("/v1/stock/reservations/{id}/commit", post(commit_reservation))
        .route("/v1/stock/reservations/{id}/release", post(release_reservation))
        .route("/v1/stock/reservations/{id}/return", post(return_goods))
        .route("/v1/stock/{sku}", get(get_stock).put(put_item))
        .route("/v1/stock/{sku}/receive", post(receive_goods))
        .route("/v1/stock/{sku}/adjust", post(adjust_stock))
        .route("/v1/ledger/accounts", post(open_account))
        .route("/v1/ledger/accounts/{id}", get(get_account))
        .route("/v1/ledger/transfers", post(transfer))
        .route("/v1/ledger/trial-balance", get(show_trial_balance))
        .route("/v1/sagas/definitions", get(list_definitions).post(define_saga))
        .route("/v1/sagas", get(list_sagas).post(start_saga))
        .route("/v1/sagas/{no}", get(get_saga))
        .route("/v1/sagas/{no}/cancel", post(cancel_saga))
        .route("/v1/sagas/{no}/resume", post(resume_saga))
        .route("/v1/products", get(list_products).put(put_products))
        .route("/v1/products/{product}", get(get_product).put(put_product))
        .route("/v1/terms", get(get_terms).put(put_terms))
        .route("/v1/orders", get(list_orders).post(place_order))
        .route("/v1/orders/{order}", get(get_order))
        .route("/v1/orders/{order}/cancel", post(cancel_order))
        .route("/v1/orders/{order}/returns", post(return_order))
        .route("/v1/legacy/{capability}", get(show_legacy))
        .route("/v1/legacy/{capability}/plan", get(plan_move))
        .route("/v1/legacy/{capability}/moves", post(begin_move))
        .route("/v1/legacy/{capability}/abort", post(abort_move))
        .route("/v1/legacy/{capability}/reconcile", post(reconcile))
        .route("/v1/legacy/{capability}/references", get(list_references))
        .route("/v1/legacy/{capability}/lag", get(list_lags))
        .route("/v1/events", get(read_events))
        .route("/v1/views/record", get(show_record_view))
        .route("/v1/views/record/rebuild", post(rebuild_record_view))
        .route("/healthz", get(is_alive))
        .route("/readyz", get(is_ready))
        .route("/metrics", get(show_metrics))
        .route("/openapi.json", get(docs::openapi_json))
        .route("/docs", get(docs::page))
        .route_layer(from_fn(dry_run::refuse))
        .merge(pretends)
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .with_state(app)
}

async fn not_found(uri: Uri) -> Problem {
    let path = shown(&uri);
    let detail = format!("There is nothing at {path}. The endpoints are listed at /docs.");
    Problem::new(StatusCode::NOT_FOUND, "not-found", detail)
}

async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    let path = shown(&uri);
    let detail = format!("{method} is not possible at {path}. The endpoints are listed at /docs.");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail)
}

/// A path as it is told back: its beginning, and no card number.
fn shown(uri: &Uri) -> String {
    match holds_card_number(uri.path()) {
        true => "this path".into(),
        false => uri.path().chars().take(200).collect(),
    }
}
