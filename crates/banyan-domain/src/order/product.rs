//! What is sold, and on which terms.

use crate::{Currency, Money, ProductId, SkuId, limits};
use core::fmt;
use minicbor::{Decode, Encode};

/// Something that is sold at a price.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Product {
    /// Its public id.
    #[n(0)]
    pub id: ProductId,
    /// The price of one, tax included.
    #[n(1)]
    pub price: Money,
    /// The tax in the price, in hundredths of a percent of the price without it: 1,000 is 10 %.
    #[n(2)]
    pub vat_basis_points: u16,
    /// What one is made of: each SKU at most once. Never empty.
    #[n(3)]
    pub parts: Vec<Part>,
    /// Whether it may be ordered.
    #[n(4)]
    pub on_sale: bool,
}

/// So many units of a SKU.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Part {
    /// Which SKU.
    #[n(0)]
    pub sku: SkuId,
    /// Units, from 1.
    #[n(1)]
    pub quantity: u32,
}

/// On which terms a shop sells.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Terms {
    /// The currency of every price.
    #[n(0)]
    pub currency: Currency,
    /// What shipping an order costs, tax included, in minor units.
    #[n(1)]
    pub shipping_fee: i64,
    /// From which value of goods, after the coupon, shipping costs nothing; none means never.
    #[n(2)]
    pub free_shipping_from: Option<i64>,
    /// The tax in the shipping fee, in hundredths of a percent.
    #[n(3)]
    pub vat_basis_points: u16,
}

/// Why a product or terms make no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidProduct {
    /// The field at fault.
    pub field: &'static str,
    /// What it must be.
    pub rule: &'static str,
}

fn must(holds: bool, field: &'static str, rule: &'static str) -> Result<(), InvalidProduct> {
    if holds { Ok(()) } else { Err(InvalidProduct { field, rule }) }
}

impl Product {
    /// Checks what does not depend on anything else.
    ///
    /// # Errors
    /// [`InvalidProduct`] naming the field and the rule.
    pub fn check(&self) -> Result<(), InvalidProduct> {
        let price = (0..=limits::PRICE_MAX).contains(&self.price.minor);
        must(price, "price.minor", "0 to 1,000,000,000,000")?;
        must(self.vat_basis_points <= 10_000, "vat_basis_points", "at most 10,000")?;
        let count = (1..=limits::PRODUCT_PARTS_MAX).contains(&self.parts.len());
        must(count, "parts", "1 to 20 parts")?;
        let units = self.parts.iter().all(|part| (1..=limits::PART_UNITS_MAX).contains(&part.quantity));
        must(units, "parts.quantity", "1 to 1,000")?;
        let once = |(at, part): (usize, &Part)| self.parts[..at].iter().all(|other| other.sku != part.sku);
        must(self.parts.iter().enumerate().all(once), "parts.sku", "different in each part")
    }
}

impl Terms {
    /// Checks what does not depend on anything else.
    ///
    /// # Errors
    /// [`InvalidProduct`] naming the field and the rule.
    pub fn check(&self) -> Result<(), InvalidProduct> {
        let fits = |amount: i64| (0..=limits::PRICE_MAX).contains(&amount);
        must(fits(self.shipping_fee), "shipping_fee", "0 to 1,000,000,000,000")?;
        let free = self.free_shipping_from.is_none_or(|from| from >= 0);
        must(free, "free_shipping_from", "0 or more")?;
        must(self.vat_basis_points <= 10_000, "vat_basis_points", "at most 10,000")
    }
}

impl fmt::Display for InvalidProduct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} must be {}", self.field, self.rule)
    }
}

impl std::error::Error for InvalidProduct {}
