//! What a test or an operator of the sandbox needs and a real company would not give: faults, and all payments.

use crate::answers::Refused;
use crate::api::{self, Params, bearer_is, blocking, json_answer};
use crate::faults::{FaultPlan, FaultRule};
use crate::payment::Shape;
use crate::server::App;
use axum::Router;
use axum::extract::{Query, State};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use http::HeaderMap;
use serde_json::json;
use std::sync::Arc;

/// The routes.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/admin/faults", get(show).put(set).post(add).delete(clear))
        .route("/admin/payments", get(payments))
}

async fn show(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Response> {
    check_key(&app, &headers).map_err(no)?;
    Ok(plan(&app))
}

async fn set(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Result<Response, Response> {
    check_key(&app, &headers).map_err(no)?;
    let wanted: FaultPlan = api::parse(&body).map_err(invalid)?;
    app.faults.set(wanted).map_err(invalid)?;
    Ok(plan(&app))
}

async fn add(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Result<Response, Response> {
    check_key(&app, &headers).map_err(no)?;
    let rule: FaultRule = api::parse(&body).map_err(invalid)?;
    app.faults.add(rule);
    Ok(plan(&app))
}

async fn clear(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Response> {
    check_key(&app, &headers).map_err(no)?;
    app.faults.set(FaultPlan::default()).map_err(invalid)?;
    Ok(plan(&app))
}

/// Payments with sums over all of them, whatever the list is narrowed to.
async fn payments(
    State(app): State<Arc<App>>,
    Query(params): Query<Params>,
    headers: HeaderMap,
) -> Result<Response, Response> {
    check_key(&app, &headers).map_err(no)?;
    let filter = api::filter(&params).map_err(invalid)?;
    let limit = filter.limit;
    let (payments, totals) =
        blocking(&app, Shape::Own, move |app| Ok((app.ledger.list(&filter)?, app.ledger.totals()?))).await?;
    let mut page = api::page_of(&app, &payments, limit);
    let totals = totals.into_iter().map(|sum| {
        json!({
            "currency": sum.currency, "payments": sum.payments, "charged": sum.charged,
            "captured": sum.captured, "refunded": sum.refunded, "held": sum.held,
        })
    });
    page["totals"] = totals.collect();
    Ok(json_answer(&page))
}

fn plan(app: &App) -> Response {
    let (plan, met) = app.faults.show();
    json_answer(&json!({ "plan": plan, "met": met }))
}

fn invalid(what: String) -> Response {
    no(Refused::Invalid(what))
}

fn no(why: Refused) -> Response {
    why.into_response(Shape::Own)
}

fn check_key(app: &App, headers: &HeaderMap) -> Result<(), Refused> {
    if bearer_is(headers, &app.options.admin_key) { Ok(()) } else { Err(Refused::Unauthenticated) }
}
