//! The API's answers, as far as the shop reads them. What is new in a later version of the API is passed over.

use serde::Deserialize;
use serde_json::Value;

/// An amount with its currency.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Money {
    pub(crate) minor: i64,
    pub(crate) currency: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Products {
    pub(crate) products: Vec<Product>,
    #[serde(default)]
    pub(crate) next: Option<Value>,
}

/// What is sold at a price.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Product {
    pub(crate) product: String,
    pub(crate) price: Money,
    pub(crate) vat_basis_points: u16,
    pub(crate) parts: Vec<Part>,
    pub(crate) on_sale: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Part {
    pub(crate) sku: String,
    pub(crate) quantity: u32,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Terms {
    pub(crate) currency: String,
    pub(crate) shipping_fee: i64,
    #[serde(default)]
    pub(crate) free_shipping_from: Option<i64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Skus {
    pub(crate) skus: Vec<Sku>,
    #[serde(default)]
    pub(crate) next: Option<Value>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Sku {
    pub(crate) sku: String,
    pub(crate) available: u64,
    #[serde(default)]
    pub(crate) per_member: Option<u32>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Campaigns {
    pub(crate) campaigns: Vec<Campaign>,
}

/// A campaign of coupons.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Campaign {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) benefit: Benefit,
    #[serde(default)]
    pub(crate) minimum_order: Option<Money>,
    #[serde(default)]
    pub(crate) audience: Value,
    #[serde(default)]
    pub(crate) per_member: u32,
    #[serde(default)]
    pub(crate) starts_at: Option<String>,
    #[serde(default)]
    pub(crate) ends_at: Option<String>,
    pub(crate) state: String,
    pub(crate) issued: u64,
    pub(crate) left: Option<u64>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Benefit {
    Amount(Money),
    Percent {
        basis_points: u16,
        #[serde(default)]
        cap: Option<Money>,
    },
    FreeShipping {},
}

#[derive(Debug, Deserialize)]
pub(crate) struct MemberCoupons {
    pub(crate) coupons: Vec<Coupon>,
    #[serde(default)]
    pub(crate) next: Option<Value>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Coupon {
    pub(crate) coupon: String,
    pub(crate) code: String,
    pub(crate) campaign: String,
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) expires_at: Option<String>,
    #[serde(default)]
    pub(crate) order: Option<String>,
}

/// An answer of which only its log position matters.
#[derive(Debug, Deserialize)]
pub(crate) struct Written {
    #[serde(default)]
    pub(crate) seq: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Account {
    pub(crate) balance: i64,
    #[serde(default)]
    pub(crate) available: Option<i64>,
}

/// What an order would cost.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Quote {
    pub(crate) lines: Vec<QuoteLine>,
    pub(crate) goods: i64,
    pub(crate) discount: i64,
    pub(crate) shipping: i64,
    pub(crate) points: i64,
    pub(crate) total: i64,
    pub(crate) vat: i64,
    pub(crate) currency: String,
    #[serde(default)]
    pub(crate) points_balance: i64,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct QuoteLine {
    pub(crate) product: String,
    pub(crate) quantity: u32,
    pub(crate) unit_price: i64,
    pub(crate) gross: i64,
    pub(crate) discount: i64,
    pub(crate) points: i64,
    pub(crate) vat: i64,
    #[serde(default)]
    pub(crate) available: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Orders {
    pub(crate) orders: Vec<Order>,
    #[serde(default)]
    pub(crate) next: Option<Value>,
}

/// An order, as it is or as the record store has it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Order {
    pub(crate) order: String,
    pub(crate) member: String,
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) why: Option<String>,
    #[serde(default)]
    pub(crate) waits_for: Option<WaitsFor>,
    #[serde(default)]
    pub(crate) lines: Vec<OrderLine>,
    #[serde(default)]
    pub(crate) goods: i64,
    #[serde(default)]
    pub(crate) discount: i64,
    #[serde(default)]
    pub(crate) shipping: i64,
    #[serde(default)]
    pub(crate) points: i64,
    pub(crate) total: i64,
    #[serde(default)]
    pub(crate) vat: i64,
    pub(crate) currency: String,
    #[serde(default)]
    pub(crate) payment: Option<String>,
    pub(crate) placed_at: String,
    #[serde(default)]
    pub(crate) paid_at: Option<String>,
    #[serde(default)]
    pub(crate) cancel_requested: bool,
    #[serde(default)]
    pub(crate) refunds: Vec<Refund>,
    #[serde(default)]
    pub(crate) refunded: i64,
    #[serde(default)]
    pub(crate) refunded_points: i64,
    #[serde(default)]
    pub(crate) seq: u64,
}

/// What an order waits for.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct WaitsFor {
    #[serde(default)]
    pub(crate) step: String,
    pub(crate) what: String,
    #[serde(default)]
    pub(crate) redirect: Option<String>,
    #[serde(default)]
    pub(crate) until: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct OrderLine {
    pub(crate) product: String,
    pub(crate) quantity: u32,
    pub(crate) unit_price: i64,
    #[serde(default)]
    pub(crate) gross: i64,
    #[serde(default)]
    pub(crate) discount: i64,
    #[serde(default)]
    pub(crate) points: i64,
    #[serde(default)]
    pub(crate) vat: i64,
    #[serde(default)]
    pub(crate) returned: u32,
}

/// One giving-back of an order.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Refund {
    pub(crate) refund: String,
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) why: Option<String>,
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) lines: Vec<RefundLine>,
    pub(crate) amount: i64,
    #[serde(default)]
    pub(crate) points: i64,
    pub(crate) begun_at: String,
    #[serde(default)]
    pub(crate) ended_at: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RefundLine {
    pub(crate) product: String,
    pub(crate) quantity: u32,
}

/// The `next` of a page as it goes into an address.
pub(crate) fn cursor(next: &Option<Value>) -> Option<String> {
    match next {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    }
}

impl Order {
    /// The page of the payment company to which the shopper has to go, if it is an address that a browser may open.
    pub(crate) fn redirect(&self) -> Option<&str> {
        let page = self.waits_for.as_ref()?.redirect.as_deref()?;
        (page.starts_with("https://") || page.starts_with("http://")).then_some(page)
    }

    /// Whether something of it is still going on.
    pub(crate) fn is_moving(&self) -> bool {
        self.state == "placed"
            || (self.cancel_requested && self.state == "paid")
            || self.refunds.iter().any(|refund| refund.state == "begun")
    }

    /// A short text that differs once there is something new to see.
    pub(crate) fn mark(&self) -> String {
        let waits = self.waits_for.as_ref().map_or("", |waits| waits.what.as_str());
        let refunds: String =
            self.refunds.iter().map(|refund| &refund.state[..refund.state.len().min(1)]).collect();
        format!("{}.{waits}.{}.{}.{refunds}", self.state, self.redirect().is_some(), self.cancel_requested)
    }

    /// What of it can still be given back in money and points.
    pub(crate) fn left_to_refund(&self) -> (i64, i64) {
        (self.total - self.refunded, self.points - self.refunded_points)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_the_company_must_be_one_a_browser_may_open() {
        let order = |redirect: &str| -> Order {
            serde_json::from_value(serde_json::json!({
                "order": "o-1", "member": "m", "state": "placed", "total": 1, "currency": "KRW", "placed_at": "",
                "waits_for": {"what": "payment-page", "redirect": redirect},
            }))
            .expect("an order")
        };
        assert_eq!(order("http://127.0.0.1:9000/pay/x").redirect(), Some("http://127.0.0.1:9000/pay/x"));
        assert_eq!(order("javascript:alert(1)").redirect(), None);
        assert_eq!(order("").redirect(), None);
    }
}
