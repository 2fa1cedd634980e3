//! One file for each page.

pub(crate) mod cart;
pub(crate) mod checkout;
pub(crate) mod coupons;
pub(crate) mod goods;
pub(crate) mod order;
pub(crate) mod order_change;
pub(crate) mod orders;
pub(crate) mod points;
pub(crate) mod product;
pub(crate) mod quote;
pub(crate) mod sale;
pub(crate) mod sign_in;

use crate::gate::Visit;
use crate::text;
use axum::response::Response;
use http::StatusCode;

/// What is shown where there is nothing.
pub(crate) async fn not_found(visit: Visit) -> Response {
    visit.problem(StatusCode::NOT_FOUND, text::NOT_FOUND, visit.t(text::NOT_FOUND_HINT))
}
