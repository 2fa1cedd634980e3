//! Before the first arrival: products, their stock, the members' points, and what goes wrong at the payment company.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use http::header::AUTHORIZATION;
use http_body_util::Full;
use serde_json::{Value, json};

use super::setup::{resolve, send_one};
use super::visit::{BUNDLE_EVERY, product_id};
use crate::RehearseError;
use crate::scenario::{Load, Scenario, ScheduleLoad, ShopPlan};

/// Products that one request may set.
const PRODUCTS_PER_REQUEST: u32 = 1_000;
/// Transfers that one request may link.
const TRANSFERS_PER_REQUEST: u64 = 64;

/// Opens the shop, if the scenario has one. Everything may be there already: the same again changes nothing but the stock,
/// which is counted anew.
pub(super) async fn open(scenario: &Scenario, addresses: &[SocketAddr]) -> Result<(), RehearseError> {
    if let Some(company) = &scenario.company {
        let to = resolve(&company.target).await?;
        let mut request = Request::put(company.target.path("/admin/faults"));
        if let Some(key) = &company.admin_key {
            request = request.header(AUTHORIZATION, format!("Bearer {key}"));
        }
        let body = Full::new(Bytes::from(company.faults.clone()));
        let what = "setting the payment company's faults";
        send_one(scenario, &to, what, request, "application/json", body).await?;
    }
    let Load::Schedule(load) = &scenario.load else { return Ok(()) };
    let Some(plan) = &load.shop else { return Ok(()) };
    let shop = Opening { scenario, addresses };
    let terms = json!({"currency": plan.currency, "shipping_fee": 3_000, "free_shipping_from": 50_000,
        "vat_basis_points": 1_000});
    shop.put("setting the terms", "/v1/terms", &terms).await?;
    for product in 0..plan.products {
        let path = format!("/v1/stock/{}", product_id(product));
        shop.put("counting stock", &path, &json!({"on_hand": plan.stock, "reason": "rehearsal"})).await?;
    }
    let all: Vec<Value> = (0..plan.products).map(|number| product(plan, number)).collect();
    for some in all.chunks(PRODUCTS_PER_REQUEST as usize) {
        shop.put("setting products", "/v1/products", &json!({ "products": some })).await?;
    }
    shop.give_points(plan, load).await
}

/// Whom everything is sent to.
struct Opening<'a> {
    scenario: &'a Scenario,
    addresses: &'a [SocketAddr],
}

impl Opening<'_> {
    async fn put(&self, what: &str, path: &str, body: &Value) -> Result<(), RehearseError> {
        let request = Request::put(self.scenario.target.path(path));
        let body = Full::new(Bytes::from(body.to_string()));
        send_one(self.scenario, self.addresses, what, request, "application/json", body).await
    }

    async fn give_points(&self, plan: &ShopPlan, load: &ScheduleLoad) -> Result<(), RehearseError> {
        if plan.points_each == 0 {
            return Ok(());
        }
        let members = &load.members;
        for first in (0..members.count).step_by(TRANSFERS_PER_REQUEST as usize) {
            let give = |number: u64| {
                let account = format!("points:{}{number}", members.prefix);
                json!({"kind": "post", "amount": plan.points_each,
                    "debit": {"id": "shop:points", "currency": "PTS", "rule": "free"},
                    "credit": {"id": account, "currency": "PTS", "rule": "debits-within-credits"}})
            };
            let last = members.count.min(first + TRANSFERS_PER_REQUEST);
            let transfers: Vec<Value> = (first..last).map(give).collect();
            let body = json!({"reference": "rehearsal", "transfers": transfers}).to_string();
            let key = format!("rehearse-{}-points-{first}", self.scenario.seed);
            let path = self.scenario.target.path("/v1/ledger/transfers");
            let request = Request::post(path).header("idempotency-key", key);
            let body = Full::new(Bytes::from(body));
            send_one(self.scenario, self.addresses, "giving points", request, "application/json", body)
                .await?;
        }
        Ok(())
    }
}

/// A product of one SKU of its own name; every tenth is a bundle that shares a SKU with the product before it.
fn product(plan: &ShopPlan, number: u32) -> Value {
    let id = product_id(number);
    let mut parts = vec![json!({"sku": id, "quantity": 1})];
    if number % BUNDLE_EVERY == BUNDLE_EVERY - 1 {
        parts.push(json!({"sku": product_id(number - 1), "quantity": 1}));
    }
    let minor = 3_900 + u64::from(number % 40) * 1_000;
    json!({"product": id, "price": {"minor": minor, "currency": plan.currency}, "parts": parts})
}
