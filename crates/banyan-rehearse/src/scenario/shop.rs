//! What people do in a shop, and what goes wrong at the payment company meanwhile.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::ScenarioError;
use super::check::{checked_key, field, length, within};
use super::file::{CompanyFile, ShopFile};
use crate::target::Target;

/// The shop, and shares (0 to 1) of what visitors do in it. Each draws for itself, in the order of a visit.
#[derive(Clone, Debug)]
pub struct ShopPlan {
    /// Products made before the first arrival, 1 to 10,000; every tenth is a bundle that shares a part with another.
    pub products: u32,
    /// Units of each SKU.
    pub stock: u32,
    /// The currency of every price.
    pub currency: String,
    /// Points given to each member before the first arrival.
    pub points_each: u32,
    /// Carts that hold the first product, of which everybody wants one.
    pub hot: f64,
    /// Visitors who press for a coupon first.
    pub claims: f64,
    /// Visitors who pay a part with points.
    pub uses_points: f64,
    /// Carts that are left after the quote.
    pub gives_up: f64,
    /// Orders with a card that the company declines.
    pub declined: f64,
    /// Orders sent to the company's card page whose shopper does not come back, and cancels.
    pub leaves_at_page: f64,
    /// Orders placed by a double click: the same request twice at once, under one key.
    pub double_clicks: f64,
    /// Paid orders after which the visitor orders the same again.
    pub orders_again: f64,
    /// Paid orders that are cancelled.
    pub cancels: f64,
    /// Paid orders of which a unit is sent back.
    pub returns: f64,
    /// Time between two steps of a visitor.
    pub think: Duration,
    /// How long a visitor looks whether the order is paid, cancelled or refunded.
    pub patience: Duration,
}

/// The simulated payment company, and what is to go wrong there.
#[derive(Clone, Debug)]
pub struct CompanyPlan {
    /// Where it is.
    pub target: Target,
    /// Its operator's key.
    pub admin_key: Option<String>,
    /// The body for `PUT /admin/faults`.
    pub faults: String,
}

impl CompanyPlan {
    /// Uses this key instead of the file's; whitespace around it is ignored.
    ///
    /// # Errors
    /// When it is empty or not visible ASCII.
    pub fn set_key(&mut self, text: &str) -> Result<(), ScenarioError> {
        self.admin_key = Some(checked_key(text)?);
        Ok(())
    }
}

pub(super) fn shop(file: &ShopFile) -> Result<ShopPlan, ScenarioError> {
    within("shop.products", file.products, 1, 10_000)?;
    within("shop.stock", file.stock, 0, 1_000_000_000)?;
    if file.currency.len() != 3 || !file.currency.bytes().all(|b| b.is_ascii_uppercase()) {
        let problem = format!("is `{}`: must be three upper-case letters, such as KRW", file.currency);
        return Err(field("shop.currency", problem));
    }
    let shares = [
        ("hot", file.hot),
        ("claims", file.claims),
        ("uses_points", file.uses_points),
        ("gives_up", file.gives_up),
        ("declined", file.declined),
        ("leaves_at_page", file.leaves_at_page),
        ("double_clicks", file.double_clicks),
        ("orders_again", file.orders_again),
        ("cancels", file.cancels),
        ("returns", file.returns),
    ];
    for (name, share) in shares {
        within(&format!("shop.{name}"), share, 0.0, 1.0)?;
    }
    length("shop.think", file.think.0, Duration::ZERO, Duration::from_secs(3_600))?;
    length("shop.patience", file.patience.0, Duration::from_secs(1), Duration::from_secs(3_600))?;
    Ok(ShopPlan {
        products: file.products,
        stock: file.stock,
        currency: file.currency.clone(),
        points_each: file.points_each,
        hot: file.hot,
        claims: file.claims,
        uses_points: file.uses_points,
        gives_up: file.gives_up,
        declined: file.declined,
        leaves_at_page: file.leaves_at_page,
        double_clicks: file.double_clicks,
        orders_again: file.orders_again,
        cancels: file.cancels,
        returns: file.returns,
        think: file.think.0,
        patience: file.patience.0,
    })
}

pub(super) fn company(file: &CompanyFile, base: &Path) -> Result<CompanyPlan, ScenarioError> {
    let target = Target::parse(&file.url).map_err(|problem| field("company.url", problem))?;
    for (fault, share) in &file.faults {
        within(&format!("company.faults.{fault}"), *share, 0.0, 1.0)?;
    }
    let admin_key = match &file.admin_key_file {
        None => None,
        Some(path) => {
            let path = base.join(path);
            let text =
                std::fs::read_to_string(&path).map_err(|source| ScenarioError::Read { path, source })?;
            Some(checked_key(&text)?)
        }
    };
    let faults = faults(&file.faults, file.hang.map(|span| span.0));
    Ok(CompanyPlan { target, admin_key, faults })
}

fn faults(rates: &BTreeMap<String, f64>, hang: Option<Duration>) -> String {
    let mut plan = serde_json::json!({ "rates": rates });
    if let Some(hang) = hang {
        plan["hold_seconds"] = hang.as_secs_f64().into();
    }
    plan.to_string()
}
