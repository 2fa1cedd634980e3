//! The sample store: goods, terms, counted stock, a campaign, and points of a few members, put there through the public API
//! with an operator's key.

use crate::api::{Api, ApiError};
use crate::catalog::Catalog;
use crate::wire::Written;
use http::Method;
use serde_json::{Value, json};
use std::fmt;

/// Members who have points in the sample.
pub(crate) const MEMBERS: [&str; 3] = ["mina", "joon", "sora"];
/// What each of them has.
const MEMBER_POINTS: i64 = 20_000;
/// What anybody gets who asks for points the first time.
pub(crate) const WELCOME_POINTS: i64 = 5_000;

/// What [`load_sample`] put there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Products.
    pub products: usize,
    /// SKUs counted.
    pub skus: usize,
    /// Campaigns.
    pub campaigns: usize,
    /// Members given points.
    pub members: usize,
}

impl fmt::Display for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { products, skus, campaigns, members } = self;
        write!(
            f,
            "{products} products, {skus} SKUs counted, {campaigns} campaigns, points for {members} members"
        )
    }
}

/// Loads the sample. Doing it again sets prices and counts as they were, and gives no points twice within a day.
///
/// # Errors
/// The first [`ApiError`]; what was done before it stays, and doing it again goes on from there.
pub async fn load_sample(api: &Api) -> Result<Loaded, ApiError> {
    let goods = Catalog::sample().goods();
    let terms = json!({"currency": "KRW", "shipping_fee": 3_000, "free_shipping_from": 50_000, "vat_basis_points": 1_000});
    put(api, "/v1/terms", &terms).await?;
    let mut skus = 0;
    for good in goods {
        let Some(stock) = good.stock else { continue };
        let mut item = json!({"on_hand": stock, "reason": "sample"});
        if let Some(most) = good.per_member {
            item["per_member"] = json!(most);
        }
        put(api, &format!("/v1/stock/{}", good.id), &item).await?;
        skus += 1;
    }
    let products: Vec<Value> = goods
        .iter()
        .map(|good| {
            let mut product = json!({
                "product": good.id, "price": {"minor": good.price, "currency": "KRW"}, "vat_basis_points": good.vat,
            });
            if !good.parts.is_empty() {
                let parts = good.parts.iter().map(|part| json!({"sku": part.sku, "quantity": part.quantity}));
                product["parts"] = parts.collect();
            }
            product
        })
        .collect();
    put(api, "/v1/products", &json!({"products": products})).await?;
    // The newest is shown first.
    let won = |minor: i64| json!({"minor": minor, "currency": "KRW"});
    let campaigns = [
        json!({"id": "parcel", "name": "가벼운 배송 · On its way for nothing", "quantity": 500, "benefit": {"free_shipping": {}}}),
        json!({"id": "tenth", "name": "삼백 분께 십 퍼센트 · Ten percent for three hundred", "quantity": 300,
               "benefit": {"percent": {"basis_points": 1_000, "cap": won(10_000)}}}),
        json!({"id": "autumn", "name": "가을 인사 · Autumn welcome", "quantity": 1_000,
               "benefit": {"amount": won(5_000)}, "minimum_order": won(20_000)}),
    ];
    let mut made = 0;
    for campaign in &campaigns {
        match api.send::<Written>(Method::POST, "/v1/campaigns", Some(campaign), None).await {
            Ok(_) => made += 1,
            // Somebody changed it since, which is theirs to do.
            Err(error) if error.slug() == Some("campaign-exists") => {}
            Err(error) => return Err(error),
        }
    }
    for member in MEMBERS {
        give_points(api, member, MEMBER_POINTS).await?;
    }
    Ok(Loaded { products: goods.len(), skus, campaigns: made, members: MEMBERS.len() })
}

/// Loads the sample into a store that sells nothing yet; none if it has terms already, and nothing is changed then.
///
/// # Errors
/// As [`load_sample`].
pub async fn load_sample_once(api: &Api) -> Result<Option<Loaded>, ApiError> {
    match api.get::<Written>("/v1/terms").await {
        Ok(_) => Ok(None),
        Err(error) if error.slug() == Some("terms-not-set") => load_sample(api).await.map(Some),
        Err(error) => Err(error),
    }
}

async fn put(api: &Api, path: &str, body: &Value) -> Result<(), ApiError> {
    api.send::<Written>(Method::PUT, path, Some(body), None).await.map(|_| ())
}

/// Gives `member` points from the shop's own account; once a day at most, however often it is asked.
pub(crate) async fn give_points(api: &Api, member: &str, points: i64) -> Result<(), ApiError> {
    let body = json!({
        "reference": "sample-points",
        "transfers": [{
            "kind": "post", "amount": points,
            "debit": {"id": "shop:points", "currency": "PTS", "rule": "free"},
            "credit": {"id": format!("points:{member}"), "currency": "PTS", "rule": "debits-within-credits"},
        }],
    });
    let key = format!("shop/points/{member}");
    api.send::<Written>(Method::POST, "/v1/ledger/transfers", Some(&body), Some(&key)).await.map(|_| ())
}
