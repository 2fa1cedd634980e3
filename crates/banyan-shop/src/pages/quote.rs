//! What the cart would cost: asked of the API, which alone computes prices.

use crate::ApiError;
use crate::format::{money, points};
use crate::gate::Visit;
use crate::parts;
use crate::text::{self, Text};
use crate::wire::Quote;
use http::Method;
use maud::{Markup, html};
use serde_json::{Value, json};

/// The cart of `member` as the API is asked about it.
pub(crate) fn order_of(visit: &Visit, member: &str) -> Value {
    let session = &visit.session;
    let lines: Vec<_> = session
        .cart
        .iter()
        .map(|(product, quantity)| json!({"product": product, "quantity": quantity}))
        .collect();
    let mut order = json!({"member": member, "lines": lines});
    if let Some(coupon) = &session.coupon {
        order["coupon"] = json!(coupon);
    }
    if session.points > 0 {
        order["points"] = json!(session.points);
    }
    order
}

/// The quote for the cart. Reading it changes nothing.
pub(crate) async fn quote(visit: &Visit, member: &str) -> Result<Quote, ApiError> {
    let order = order_of(visit, member);
    visit.shop.api.send(Method::POST, "/v1/orders/quote", Some(&order), None).await
}

/// A quote's sums.
pub(crate) struct Sums<'a> {
    pub(crate) currency: &'a str,
    pub(crate) goods: i64,
    pub(crate) discount: i64,
    pub(crate) shipping: i64,
    pub(crate) points: i64,
    pub(crate) total: i64,
    pub(crate) vat: i64,
    /// What the total is: to pay, paid, or neither any more.
    pub(crate) label: Text,
}

impl<'a> From<&'a Quote> for Sums<'a> {
    fn from(q: &'a Quote) -> Self {
        let Quote { currency, goods, discount, shipping, points, total, vat, .. } = q;
        Self {
            currency,
            goods: *goods,
            discount: *discount,
            shipping: *shipping,
            points: *points,
            total: *total,
            vat: *vat,
            label: text::SUM_TOTAL,
        }
    }
}

/// The sums, line by line, with the VAT that is in them.
pub(crate) fn sums(visit: &Visit, sums: &Sums<'_>) -> Markup {
    let lang = visit.lang;
    let amount = |minor: i64| money(lang, minor, sums.currency);
    let shipping =
        if sums.shipping == 0 { visit.t(text::SUM_FREE).to_owned() } else { amount(sums.shipping) };
    html! {
        dl.sums {
            (parts::sum_line(visit.t(text::SUM_GOODS), &amount(sums.goods), ""))
            @if sums.discount > 0 { (parts::sum_line(visit.t(text::SUM_DISCOUNT), &amount(-sums.discount), "less")) }
            (parts::sum_line(visit.t(text::SUM_SHIPPING), &shipping, ""))
            @if sums.points > 0 { (parts::sum_line(visit.t(text::SUM_POINTS), &format!("−{}", points(lang, sums.points)), "less")) }
            (parts::sum_line(visit.t(sums.label), &amount(sums.total), "total"))
            (parts::sum_line(visit.t(text::SUM_VAT), &amount(sums.vat), "part"))
        }
    }
}

/// What discount and points take off one line.
pub(crate) fn shares(visit: &Visit, discount: i64, points: i64, currency: &str) -> Markup {
    let discount = (discount > 0)
        .then(|| format!("{}\u{a0}{}", visit.t(text::SUM_DISCOUNT), money(visit.lang, -discount, currency)));
    let points = (points > 0).then(|| {
        format!("{}\u{a0}−{}", visit.t(text::SUM_POINTS), crate::format::number(points.unsigned_abs()))
    });
    let shares: Vec<_> = discount.into_iter().chain(points).collect();
    html! { @if !shares.is_empty() { span.hint { (shares.join(" · ")) } } }
}
