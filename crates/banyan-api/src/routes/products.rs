//! The price list and the terms.

use super::coupons::write;
use crate::App;
use crate::auth::Principal;
use crate::body::{self, SMALL_BODY_BYTES_MAX};
use crate::problem::Problem;
use crate::routes::path::PathText;
use crate::wire_order::{
    NewProductJson, NewProductsJson, ProductAnswerJson, ProductJson, ProductsJson, ProductsSetJson,
    TermsAnswerJson, TermsJson, product_id,
};
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use banyan_domain::order::{self, Product};
use banyan_domain::{Actor, Command, Outcome, ProductId, Refusal, limits, saga};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Largest list of products: 1,000 of them with a few parts each.
const PRODUCTS_BODY_BYTES_MAX: usize = 1 << 20;
/// Products in a page, at most and by default.
const PAGE_MAX: usize = 500;
const PAGE: usize = 100;

/// Which products to list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProductsQuery {
    after: Option<String>,
    limit: Option<usize>,
}

/// Puts a product on the price list, or changes it. Orders that were placed keep their prices.
#[utoipa::path(
    put, path = "/v1/products/{product}", tag = "orders", request_body = NewProductJson, params(("product" = String, Path, description = "Product")),
    responses((status = 201, description = "Set", body = ProductAnswerJson), (status = 200, description = "Set before", body = ProductAnswerJson), (status = 403, description = "forbidden"), (status = 409, description = "terms-not-set, too-many-products"), (status = 422, description = "other-currency")),
)]
pub(crate) async fn put_product(
    State(app): State<Arc<App>>,
    PathText(id): PathText,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let principal = app.identify(&headers)?;
    principal.must_operate()?;
    let id = product_id(id)?;
    let request: NewProductJson = body::parse(&body::read(body, SMALL_BODY_BYTES_MAX).await?)?;
    let (set, seq, replayed) = set(&app, &headers, &principal, vec![request.check(&id)?]).await?;
    let (product, changed) = set;
    let product = product.first().map(ProductJson::from).ok_or_else(Problem::unknown_outcome)?;
    let status = if changed > 0 { StatusCode::CREATED } else { StatusCode::OK };
    Ok(write(&ProductAnswerJson { product, seq }, status, replayed))
}

/// Puts many products on the price list, or changes them. All or none.
#[utoipa::path(
    put, path = "/v1/products", tag = "orders", request_body = NewProductsJson,
    responses((status = 200, description = "Set", body = ProductsSetJson), (status = 403, description = "forbidden"), (status = 409, description = "terms-not-set, too-many-products"), (status = 422, description = "other-currency")),
)]
pub(crate) async fn put_products(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let principal = app.identify(&headers)?;
    principal.must_operate()?;
    let request: NewProductsJson = body::parse(&body::read(body, PRODUCTS_BODY_BYTES_MAX).await?)?;
    if request.products.is_empty() || request.products.len() > limits::PRODUCTS_PER_COMMAND_MAX {
        return Err(Problem::invalid("products: must be 1 to 1000 products."));
    }
    let mut seen = BTreeSet::new();
    let mut products = Vec::with_capacity(request.products.len());
    for product in request.products {
        let product = product.check()?;
        if !seen.insert(product.id.clone()) {
            return Err(Problem::invalid(format!("products: {} is there twice.", product.id)));
        }
        products.push(product);
    }
    let all = products.len() as u32;
    let ((_, set_now), seq, replayed) = set(&app, &headers, &principal, products).await?;
    let answer = ProductsSetJson { set: set_now, unchanged: all - set_now, seq };
    Ok(write(&answer, StatusCode::OK, replayed))
}

/// Sets `products` and gives them back, with how many of them changed.
async fn set(
    app: &App,
    headers: &HeaderMap,
    principal: &Principal,
    products: Vec<Product>,
) -> Result<((Vec<Product>, u32), u64, bool), Problem> {
    let stamp = app.stamp(headers, principal, || format!("products {products:?}"))?;
    let command = order::Command::SetProducts { products: products.clone(), by: principal.name.clone() };
    let (outcome, seq, replayed) = app.ask(Command::Order(command), stamp).await?;
    let Outcome::Order(order::Outcome::Products { changed }) = outcome else {
        unreachable!("setting products is answered with how many changed")
    };
    Ok(((products, changed), seq, replayed))
}

/// Shows a product.
#[utoipa::path(
    get, path = "/v1/products/{product}", tag = "orders", params(("product" = String, Path, description = "Product")),
    responses((status = 200, description = "The product", body = ProductAnswerJson), (status = 404, description = "product-not-found")),
)]
pub(crate) async fn get_product(
    State(app): State<Arc<App>>,
    PathText(id): PathText,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    app.identify(&headers)?;
    // What cannot be an id is the id of no product.
    let none = || Problem::from(Refusal::Order(order::Refusal::ProductNotFound));
    let id = ProductId::new(id).map_err(|_| none())?;
    let look = move |state: &banyan_domain::State| {
        let product = ProductJson::from(state.orders().product(&id)?);
        Some(ProductAnswerJson { product, seq: state.seq() })
    };
    Ok(write(&app.look(look).await?.ok_or_else(none)?, StatusCode::OK, false))
}

/// Lists the products in order of id.
#[utoipa::path(
    get, path = "/v1/products", tag = "orders",
    params(("after" = Option<String>, Query, description = "The `next` of the page before"), ("limit" = Option<usize>, Query, description = "1 to 500; default 100")),
    responses((status = 200, description = "A page", body = ProductsJson)),
)]
pub(crate) async fn list_products(
    State(app): State<Arc<App>>,
    query: Result<Query<ProductsQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    app.identify(&headers)?;
    let Query(query) = query.map_err(|error| Problem::invalid(format!("{error}.")))?;
    let limit = query.limit.unwrap_or(PAGE);
    if limit == 0 || limit > PAGE_MAX {
        return Err(Problem::invalid("limit: must be 1 to 500."));
    }
    let after = query.after.map(product_id).transpose()?;
    let look = move |state: &banyan_domain::State| {
        let mut found = state.orders().products_after(after.as_ref());
        let products: Vec<ProductJson> = found.by_ref().take(limit).map(ProductJson::from).collect();
        let next = found.next().and(products.last()).map(|last| last.product.clone());
        ProductsJson { products, next, seq: state.seq() }
    };
    Ok(write(&app.look(look).await?, StatusCode::OK, false))
}

/// The sagas that orders need, as they are if the shop does not define its own.
const ORDER_SAGAS: [&str; 2] = [
    include_str!("../../../../examples/sagas/checkout.toml"),
    include_str!("../../../../examples/sagas/order-refund.toml"),
];

/// Sets the terms. The first time, the accounts that every checkout books on are opened, and the sagas that orders need are
/// defined, unless the shop has defined its own.
#[utoipa::path(
    put, path = "/v1/terms", tag = "orders", request_body = TermsJson,
    responses((status = 200, description = "Set", body = TermsAnswerJson), (status = 403, description = "forbidden"), (status = 422, description = "other-currency")),
)]
pub(crate) async fn put_terms(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let principal = app.identify(&headers)?;
    principal.must_operate()?;
    let request: TermsJson = body::parse(&body::read(body, SMALL_BODY_BYTES_MAX).await?)?;
    let terms = request.check()?;
    define_order_sagas(&app, &principal.name).await?;
    let stamp = app.stamp(&headers, &principal, || format!("terms {terms:?}"))?;
    let command = order::Command::SetTerms { terms: terms.clone(), by: principal.name.clone() };
    let (_, seq, replayed) = app.ask(Command::Order(command), stamp).await?;
    Ok(write(&TermsAnswerJson { terms: (&terms).into(), seq }, StatusCode::OK, replayed))
}

/// Defines the sagas that orders need, as far as no version of them is defined.
async fn define_order_sagas(app: &App, by: &Actor) -> Result<(), Problem> {
    for text in ORDER_SAGAS {
        let definition = banyan_saga::read_definition(text).expect("an example can be read");
        let name = definition.name.clone();
        if app.look(move |state| state.sagas().newest(&name).is_some()).await? {
            continue;
        }
        let command = saga::Command::Define { definition: Box::new(definition), by: by.clone() };
        match app.ask(Command::Saga(command), None).await {
            // Another request has defined one just now.
            Err(problem) if problem.slug == saga::Refusal::SagaVersion.slug() => {}
            other => {
                other?;
            }
        }
    }
    Ok(())
}

/// Shows the terms.
#[utoipa::path(
    get, path = "/v1/terms", tag = "orders",
    responses((status = 200, description = "The terms", body = TermsAnswerJson), (status = 409, description = "terms-not-set")),
)]
pub(crate) async fn get_terms(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Problem> {
    app.identify(&headers)?;
    let look = |state: &banyan_domain::State| {
        Some(TermsAnswerJson { terms: state.orders().terms()?.into(), seq: state.seq() })
    };
    let none = || Problem::from(Refusal::Order(order::Refusal::TermsNotSet));
    Ok(write(&app.look(look).await?.ok_or_else(none)?, StatusCode::OK, false))
}
