//! What is on sale, how much of it there is, and how the campaigns stand: read from the API, and shared by all visitors for
//! a moment, so that a rush on the shop is no rush on the API.

use crate::api::{Api, ApiError};
use crate::cell::{Cell, Dated};
use crate::wire::{Campaign, Campaigns, Part, Products, Skus, Terms, cursor};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How old prices and stock may be.
const SHELF_AGE_MAX: Duration = Duration::from_secs(2);
/// How old the numbers of the campaigns may be.
const CAMPAIGNS_AGE_MAX: Duration = Duration::from_millis(500);
/// Most products that the shop shows.
const PRODUCTS_MAX: usize = 5_000;
/// Rows that are asked for at once.
const PAGE: usize = 500;

/// Every product, in the API's order.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    pub(crate) items: Vec<Item>,
    pub(crate) terms: Option<Terms>,
    by_id: BTreeMap<String, usize>,
}

/// A product with what is left of it.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) id: String,
    pub(crate) price: i64,
    pub(crate) currency: String,
    pub(crate) vat_basis_points: u16,
    pub(crate) parts: Vec<Part>,
    pub(crate) on_sale: bool,
    /// How often it can be had; none if one of its SKUs was never counted.
    pub(crate) left: Option<u64>,
    /// Units that one member may buy, if that is limited.
    pub(crate) per_member: Option<u32>,
}

impl Shelf {
    /// The product `id`.
    pub(crate) fn find(&self, id: &str) -> Option<&Item> {
        self.by_id.get(id).map(|n| &self.items[*n])
    }

    async fn read(api: &Api) -> Result<Self, ApiError> {
        let mut stock = BTreeMap::new();
        let mut after = None;
        loop {
            let page: Skus = api.get(&page_of("/v1/stock", after.as_deref())).await?;
            after = cursor(&page.next);
            stock.extend(page.skus.into_iter().map(|sku| (sku.sku.clone(), sku)));
            if after.is_none() || stock.len() >= PRODUCTS_MAX * 4 {
                break;
            }
        }
        let terms = match api.get::<Terms>("/v1/terms").await {
            Ok(terms) => Some(terms),
            Err(error) if error.slug() == Some("terms-not-set") => None,
            Err(error) => return Err(error),
        };
        let mut items = Vec::new();
        loop {
            let page: Products = api.get(&page_of("/v1/products", after.as_deref())).await?;
            after = cursor(&page.next);
            for product in page.products {
                let left =
                    |part: &Part| Some(stock.get(&part.sku)?.available / u64::from(part.quantity.max(1)));
                let counts: Option<Vec<u64>> = product.parts.iter().map(left).collect();
                let limit = |part: &Part| Some(stock.get(&part.sku)?.per_member? / part.quantity.max(1));
                items.push(Item {
                    left: counts.and_then(|counts| counts.into_iter().min()),
                    per_member: product.parts.iter().filter_map(limit).min(),
                    id: product.product,
                    price: product.price.minor,
                    currency: product.price.currency,
                    vat_basis_points: product.vat_basis_points,
                    parts: product.parts,
                    on_sale: product.on_sale,
                });
            }
            if after.is_none() {
                break;
            }
            if items.len() >= PRODUCTS_MAX {
                tracing::warn!(
                    "there are more than {PRODUCTS_MAX} products; the shop shows only the first of them"
                );
                break;
            }
        }
        let by_id = items.iter().enumerate().map(|(n, item)| (item.id.clone(), n)).collect();
        Ok(Self { items, terms, by_id })
    }
}

impl Item {
    /// Whether none of it can be had.
    pub(crate) fn is_sold_out(&self) -> bool {
        self.left == Some(0)
    }

    /// Whether it can be put into a cart.
    pub(crate) fn can_be_had(&self) -> bool {
        self.on_sale && self.left.is_some_and(|left| left > 0)
    }

    /// The VAT that is in the price of one, rounded down as the API does.
    pub(crate) fn vat(&self) -> i64 {
        let rate = i64::from(self.vat_basis_points);
        self.price * rate / (10_000 + rate)
    }
}

fn page_of(path: &str, after: Option<&str>) -> String {
    let limit = PAGE.to_string();
    crate::link::with(path, &[("limit", &limit), ("after", after.unwrap_or_default())])
}

/// What is shared by all visitors.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    shelf: Arc<Cell<Shelf>>,
    campaigns: Arc<Cell<Vec<Campaign>>>,
}

impl Shared {
    /// Products and stock, at most two seconds old where the API answers.
    pub(crate) async fn shelf(&self, api: &Api) -> Result<Dated<Arc<Shelf>>, ApiError> {
        let api = api.clone();
        self.shelf.get(SHELF_AGE_MAX, async move { Shelf::read(&api).await }).await
    }

    /// The campaigns that anybody may take part in, newest first, at most half a second old.
    pub(crate) async fn campaigns(&self, api: &Api) -> Result<Dated<Arc<Vec<Campaign>>>, ApiError> {
        let api = api.clone();
        let read = async move {
            let all: Campaigns = api.get("/v1/campaigns").await?;
            Ok(all.campaigns.into_iter().filter(|campaign| campaign.audience == "everyone").collect())
        };
        self.campaigns.get(CAMPAIGNS_AGE_MAX, read).await
    }
}
