//! What a cart comes to: pure arithmetic in minor units.

use super::command::CartLine;
use super::event::OrderLine;
use super::product::{Product, Terms};
use super::refusal::Refusal;
use crate::limits;

/// What a cart comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// The lines, in the cart's order.
    pub lines: Vec<QuotedLine>,
    /// What shipping costs.
    pub shipping: i64,
    /// How much of that is paid with points.
    pub shipping_points: i64,
    /// The tax in it.
    pub shipping_vat: i64,
}

/// One line, priced.
pub type QuotedLine = OrderLine;

/// What a coupon takes off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Nothing.
    None,
    /// So much, at most the value of the goods.
    Amount(i64),
    /// A share of the value of the goods in hundredths of a percent, rounded down, at most so much.
    Percent(u16, Option<i64>),
    /// The shipping.
    Shipping,
}

impl Quote {
    /// Prices `lines`, each a cart's line with its product.
    ///
    /// The discount is spread over the lines by their price, and points over lines and shipping by what is left to pay, so
    /// that the shares add up to the whole ([`spread`]).
    ///
    /// # Errors
    /// [`Refusal::OrderTooLarge`] if it comes to more than [`limits::ORDER_VALUE_MAX`].
    pub fn of(
        lines: &[(&CartLine, &Product)],
        terms: &Terms,
        reduction: Reduction,
        points: i64,
    ) -> Result<Self, Refusal> {
        let mut gross = Vec::with_capacity(lines.len());
        let mut goods = 0_i64;
        for (line, product) in lines {
            let price = product.price.minor.checked_mul(i64::from(line.quantity));
            let price = price.ok_or(Refusal::OrderTooLarge)?;
            let sum = goods.checked_add(price).filter(|sum| *sum <= limits::ORDER_VALUE_MAX);
            goods = sum.ok_or(Refusal::OrderTooLarge)?;
            gross.push(price);
        }
        let discount = reduction.of(goods);
        let discounts = spread(discount, &gross);
        let free = reduction == Reduction::Shipping
            || terms.free_shipping_from.is_some_and(|from| goods - discount >= from);
        let shipping = if free { 0 } else { terms.shipping_fee };
        let mut left: Vec<i64> = gross.iter().zip(&discounts).map(|(gross, off)| gross - off).collect();
        let vats: Vec<i64> = (left.iter().zip(lines))
            .map(|(price, (_, product))| tax_in(*price, product.vat_basis_points))
            .collect();
        left.push(shipping);
        let points = points.clamp(0, goods - discount + shipping);
        let mut shares = spread(points, &left);
        let shipping_points = shares.pop().unwrap_or(0);
        let lines = lines.iter().zip(discounts).zip(shares).zip(vats);
        let lines = lines.map(|((((line, product), discount), points), vat)| OrderLine {
            product: line.product.clone(),
            quantity: line.quantity,
            unit_price: product.price.minor,
            discount,
            points,
            vat,
            parts: product.parts.clone(),
        });
        let shipping_vat = tax_in(shipping, terms.vat_basis_points);
        Ok(Self { lines: lines.collect(), shipping, shipping_points, shipping_vat })
    }

    /// The value of the goods before any discount.
    #[must_use]
    pub fn goods(&self) -> i64 {
        self.lines.iter().map(OrderLine::gross).sum()
    }

    /// What the coupon takes off the goods.
    #[must_use]
    pub fn discount(&self) -> i64 {
        self.lines.iter().map(|line| line.discount).sum()
    }

    /// What is paid with points.
    #[must_use]
    pub fn points(&self) -> i64 {
        self.lines.iter().map(|line| line.points).sum::<i64>() + self.shipping_points
    }

    /// What is paid with money, tax included.
    #[must_use]
    pub fn total(&self) -> i64 {
        self.goods() - self.discount() + self.shipping - self.points()
    }

    /// The tax in the price of goods and shipping. Points are a way to pay, and lower no tax.
    #[must_use]
    pub fn vat(&self) -> i64 {
        self.lines.iter().map(|line| line.vat).sum::<i64>() + self.shipping_vat
    }
}

impl Reduction {
    fn of(self, goods: i64) -> i64 {
        match self {
            Self::None | Self::Shipping => 0,
            Self::Amount(amount) => amount.clamp(0, goods),
            Self::Percent(basis_points, cap) => {
                let share = i128::from(goods) * i128::from(basis_points) / 10_000;
                // A share of at most the whole fits again.
                let share = i64::try_from(share).unwrap_or(goods).clamp(0, goods);
                cap.map_or(share, |cap| share.min(cap.max(0)))
            }
        }
    }
}

/// Spreads `whole` over parts in proportion to `weights`, to the last unit: each gets its share rounded down, and the units
/// left over go one each to those with the largest remainders, the earlier first (the method of largest remainders, also
/// called Hamilton's). No part gets more than its weight if `whole` is at most their sum.
///
/// # Panics
/// If something is to be spread over nothing: a caller's bug that would lose money.
#[must_use]
pub fn spread(whole: i64, weights: &[i64]) -> Vec<i64> {
    let sum: i128 = weights.iter().map(|weight| i128::from(*weight)).sum();
    if whole == 0 {
        return vec![0; weights.len()];
    }
    assert!(whole > 0 && sum > 0, "{whole} cannot be spread over {sum}");
    let product = |weight: &i64| i128::from(whole) * i128::from(*weight);
    // Each share is at most the whole, which fits.
    let mut shares: Vec<i64> = weights.iter().map(|weight| (product(weight) / sum) as i64).collect();
    let mut by_remainder: Vec<usize> = (0..weights.len()).collect();
    by_remainder.sort_by_key(|&at| (core::cmp::Reverse(product(&weights[at]) % sum), at));
    let left = whole - shares.iter().sum::<i64>();
    // Fewer units are left over than there are parts with a remainder.
    for &at in by_remainder.iter().take(left as usize) {
        shares[at] += 1;
    }
    shares
}

/// The tax in a price that includes it, rounded half up: `price * rate / (1 + rate)`.
fn tax_in(price: i64, basis_points: u16) -> i64 {
    let (rate, base) = (i128::from(basis_points), 10_000 + i128::from(basis_points));
    // At most the price, which fits.
    ((i128::from(price) * rate * 2 + base) / (base * 2)) as i64
}
