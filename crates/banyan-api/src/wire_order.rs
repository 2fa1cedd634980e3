//! Products, quotes and orders as the wire writes them. Amounts are whole minor units of the order's currency, tax included.

use crate::auth::Principal;
use crate::clock::rfc3339;
use crate::problem::Problem;
use crate::wire::MoneyJson;
use banyan_domain::coupon::CodeKey;
use banyan_domain::order::{
    CartLine, Order, OrderLine, OrderState, Part, Product, Quote, Refund, RefundState, Terms,
};
use banyan_domain::saga::{Mode, Phase, Saga, StepState};
use banyan_domain::{Currency, ProductId, SkuId, State, limits};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is sold, as it is set.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProductJson {
    /// The price of one, tax included, in the currency of the terms.
    pub price: MoneyJson,
    /// The tax in it, in hundredths of a percent of the price without it. 1,000 (10 %) if absent.
    #[serde(default = "ten_percent")]
    pub vat_basis_points: u16,
    /// What one is made of; one of the SKU of the same name if absent. A bundle has several.
    pub parts: Option<Vec<PartJson>>,
    /// Whether it may be ordered; yes if absent.
    #[serde(default = "yes")]
    pub on_sale: bool,
}

/// A product in a list of products to set.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NamedProductJson {
    /// Its id: 1 to 64 visible ASCII characters.
    #[schema(example = "mug")]
    pub product: String,
    /// The price of one, tax included, in the currency of the terms.
    pub price: MoneyJson,
    /// The tax in it, in hundredths of a percent of the price without it. 1,000 (10 %) if absent.
    #[serde(default = "ten_percent")]
    pub vat_basis_points: u16,
    /// What one is made of; one of the SKU of the same name if absent. A bundle has several.
    pub parts: Option<Vec<PartJson>>,
    /// Whether it may be ordered; yes if absent.
    #[serde(default = "yes")]
    pub on_sale: bool,
}

/// Products to set, all or none.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProductsJson {
    /// 1 to 1,000 products, no id twice.
    pub products: Vec<NamedProductJson>,
}

/// So many units of a SKU.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PartJson {
    /// Which SKU.
    pub sku: String,
    /// Units, 1 to 1,000.
    pub quantity: u32,
}

/// What is sold.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ProductJson {
    /// Its id.
    pub product: String,
    /// The price of one, tax included.
    pub price: MoneyJson,
    /// The tax in it, in hundredths of a percent of the price without it.
    pub vat_basis_points: u16,
    /// What one is made of.
    pub parts: Vec<PartJson>,
    /// Whether it may be ordered.
    pub on_sale: bool,
}

/// A product as of a log position.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ProductAnswerJson {
    /// The product.
    #[serde(flatten)]
    pub product: ProductJson,
    /// Log position as of which this holds.
    pub seq: u64,
}

/// A page of products.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ProductsJson {
    /// In order of id.
    pub products: Vec<ProductJson>,
    /// Pass it as `after` to read on; null at the end.
    pub next: Option<String>,
    /// Log position as of which this holds.
    pub seq: u64,
}

/// What came of setting products.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ProductsSetJson {
    /// How many were new or changed.
    pub set: u32,
    /// How many were so before.
    pub unchanged: u32,
    /// Log position of the change.
    pub seq: u64,
}

/// On which terms the shop sells.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TermsJson {
    /// The currency of every price; cannot be changed later.
    #[schema(example = "KRW")]
    pub currency: String,
    /// What shipping an order costs, tax included.
    #[serde(default)]
    pub shipping_fee: i64,
    /// From which value of goods, after the coupon, shipping costs nothing; never if absent.
    pub free_shipping_from: Option<i64>,
    /// The tax in the shipping fee, in hundredths of a percent. 1,000 (10 %) if absent.
    #[serde(default = "ten_percent")]
    pub vat_basis_points: u16,
}

/// The terms as of a log position.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TermsAnswerJson {
    /// The terms.
    #[serde(flatten)]
    pub terms: TermsJson,
    /// Log position as of which this holds.
    pub seq: u64,
}

/// What a member wants to know the price of.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CartJson {
    /// Who.
    #[schema(example = "m-1")]
    pub member: String,
    /// 1 to 100 lines; a product may stand in several.
    pub lines: Vec<CartLineJson>,
    /// The code of a coupon of the member's.
    pub coupon: Option<String>,
    /// Points to pay with, a point for a minor unit. More than the order costs is taken for what it costs.
    #[serde(default)]
    pub points: i64,
}

/// What a member orders.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOrderJson {
    /// Who.
    #[schema(example = "m-1")]
    pub member: String,
    /// 1 to 100 lines; a product may stand in several.
    pub lines: Vec<CartLineJson>,
    /// The code of a coupon of the member's.
    pub coupon: Option<String>,
    /// Points to pay with, a point for a minor unit. More than the order costs is taken for what it costs.
    #[serde(default)]
    pub points: i64,
    /// How money is paid: the payment company's word for it, such as a token. Needed if money is to pay. Never a card number.
    #[serde(default)]
    pub method: String,
    /// Where the company's card page sends the shopper afterwards: an http or https address.
    #[serde(default)]
    pub return_url: String,
    /// What the shopper was shown: refused with `price-changed` if the order comes to another total.
    pub expect_total: Option<i64>,
}

/// So many of a product.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CartLineJson {
    /// Which product.
    #[schema(example = "mug")]
    pub product: String,
    /// How many, 1 to 100,000.
    pub quantity: u32,
}

/// Part of an order to give back.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewReturnJson {
    /// What comes back.
    pub lines: Vec<CartLineJson>,
    /// Why, for the record.
    #[serde(default)]
    pub reason: String,
}

/// One line, priced.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PricedLineJson {
    /// Which product.
    pub product: String,
    /// How many.
    pub quantity: u32,
    /// The price of one.
    pub unit_price: i64,
    /// The price of all, before any discount.
    pub gross: i64,
    /// This line's share of the discount.
    pub discount: i64,
    /// This line's share of the points.
    pub points: i64,
    /// What is paid for it with money.
    pub paid: i64,
    /// The tax in its price after the discount.
    pub vat: i64,
    /// In a quote: how many could be had now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available: Option<u64>,
    /// In an order: how many came back, or are on their way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub returned: Option<u32>,
}

/// What a cart comes to.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct QuoteJson {
    /// The lines, in the cart's order.
    pub lines: Vec<PricedLineJson>,
    /// What it comes to.
    #[serde(flatten)]
    pub sums: SumsJson,
    /// The coupon's code, if one is used.
    pub coupon: Option<String>,
    /// The points that the member has to spend.
    pub points_balance: i64,
    /// Log position as of which this holds.
    pub seq: u64,
}

/// What an order comes to. `goods - discount + shipping - points = total`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SumsJson {
    /// The value of the goods before any discount.
    pub goods: i64,
    /// What the coupon takes off.
    pub discount: i64,
    /// What shipping costs.
    pub shipping: i64,
    /// What is paid with points.
    pub points: i64,
    /// What is paid with money.
    pub total: i64,
    /// The tax in goods and shipping: included, never added.
    pub vat: i64,
    /// The currency of every amount.
    pub currency: String,
}

/// An order.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OrderJson {
    /// Its number.
    #[schema(example = "o-17")]
    pub order: String,
    /// Whose it is.
    pub member: String,
    /// `placed` (its checkout is under way), `paid`, `cancelled` or `failed`.
    pub state: &'static str,
    /// Why it failed or was cancelled before it was paid, in a word.
    pub why: Option<String>,
    /// What it waits for, if for anything.
    pub waits_for: Option<WaitsForJson>,
    /// Its lines.
    pub lines: Vec<PricedLineJson>,
    /// What it comes to.
    #[serde(flatten)]
    pub sums: SumsJson,
    /// The coupon's code, if one is used.
    pub coupon: Option<String>,
    /// The payment company's id of the payment.
    pub payment: Option<String>,
    /// The reservation of its goods, once it is paid.
    pub reservation: Option<String>,
    /// When it was placed.
    pub placed_at: String,
    /// When it was paid.
    pub paid_at: Option<String>,
    /// When it failed or was cancelled.
    pub ended_at: Option<String>,
    /// Whether somebody wanted it cancelled before it was paid.
    pub cancel_requested: bool,
    /// What was given back, in order.
    pub refunds: Vec<RefundJson>,
    /// The money that was given back, or is on its way.
    pub refunded: i64,
    /// The points that were given back, or are on their way.
    pub refunded_points: i64,
    /// Its checkout saga.
    pub saga: u64,
    /// Log position as of which this holds.
    pub seq: u64,
}

/// A page of orders.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OrdersJson {
    /// Newest first.
    pub orders: Vec<OrderJson>,
    /// Pass it as `after` to read on; null at the end.
    pub next: Option<String>,
    /// Log position as of which this holds.
    pub seq: u64,
}

/// What an order waits for.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct WaitsForJson {
    /// The step of the saga.
    pub step: String,
    /// `payment-page` (the shopper has to go there), `answer` (of the payment company, or the way back), `refund`, or `operator`.
    pub what: &'static str,
    /// Where the shopper has to go.
    pub redirect: Option<String>,
    /// Until when it waits.
    pub until: Option<String>,
}

/// Part of an order that was given back.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RefundJson {
    /// Its name.
    #[schema(example = "o-17.1")]
    pub refund: String,
    /// `cancel` or `return`.
    pub kind: &'static str,
    /// `begun`, `done` or `refused`.
    pub state: &'static str,
    /// Why it was refused, in a word.
    pub why: Option<String>,
    /// What comes back.
    pub lines: Vec<CartLineJson>,
    /// The money.
    pub amount: i64,
    /// The points.
    pub points: i64,
    /// By whom. Null to a shopper's token: it is the shop's own note.
    pub by: Option<String>,
    /// Why, as whoever did it wrote it down. Null to a shopper's token.
    pub reason: Option<String>,
    /// When it began.
    pub begun_at: String,
    /// When it was done or refused.
    pub ended_at: Option<String>,
    /// The saga that does it.
    pub saga: u64,
}

const fn ten_percent() -> u16 {
    1_000
}

const fn yes() -> bool {
    true
}

/// A product's id.
pub(crate) fn product_id(text: String) -> Result<ProductId, Problem> {
    ProductId::new(text).map_err(|error| Problem::invalid(format!("{error}.")))
}

impl NamedProductJson {
    /// Checks it, and every rule a product has.
    ///
    /// # Errors
    /// A 400 [`Problem`] naming the field and its rule.
    pub(crate) fn check(self) -> Result<Product, Problem> {
        let Self { product, price, vat_basis_points, parts, on_sale } = self;
        NewProductJson { price, vat_basis_points, parts, on_sale }.check(&product_id(product)?)
    }
}

impl NewProductJson {
    /// Checks it, and every rule a product has.
    ///
    /// # Errors
    /// A 400 [`Problem`] naming the field and its rule.
    pub(crate) fn check(self, id: &ProductId) -> Result<Product, Problem> {
        let fault = |error: &dyn std::fmt::Display| Problem::invalid(format!("{id}: {error}."));
        let sku = |text: String| SkuId::new(text).map_err(|error| fault(&error));
        let parts = match self.parts {
            None => vec![Part { sku: sku(id.to_string())?, quantity: 1 }],
            Some(parts) => {
                let part = |part: PartJson| Ok(Part { sku: sku(part.sku)?, quantity: part.quantity });
                parts.into_iter().map(part).collect::<Result<_, Problem>>()?
            }
        };
        let price = self.price.check("price")?;
        let (vat_basis_points, on_sale) = (self.vat_basis_points, self.on_sale);
        let product = Product { id: id.clone(), price, vat_basis_points, parts, on_sale };
        product.check().map_err(|error| fault(&error))?;
        Ok(product)
    }
}

impl TermsJson {
    /// Checks them, and every rule that terms have.
    ///
    /// # Errors
    /// A 400 [`Problem`] naming the field and its rule.
    pub(crate) fn check(self) -> Result<Terms, Problem> {
        let currency =
            Currency::new(&self.currency).map_err(|error| Problem::invalid(format!("{error}.")))?;
        let terms = Terms {
            currency,
            shipping_fee: self.shipping_fee,
            free_shipping_from: self.free_shipping_from,
            vat_basis_points: self.vat_basis_points,
        };
        terms.check().map_err(|error| Problem::invalid(format!("{error}.")))?;
        Ok(terms)
    }
}

/// Lines of a cart or a return.
///
/// # Errors
/// A 400 [`Problem`] naming the line and its rule.
pub(crate) fn cart_lines(lines: Vec<CartLineJson>) -> Result<Vec<CartLine>, Problem> {
    if lines.is_empty() || lines.len() > limits::ORDER_LINES_MAX {
        return Err(Problem::invalid("lines: must be 1 to 100 lines."));
    }
    let lines = lines.into_iter().enumerate().map(|(at, line)| {
        if !(1..=limits::LINE_QUANTITY_MAX).contains(&line.quantity) {
            return Err(Problem::invalid(format!("lines[{at}].quantity: must be 1 to 100000.")));
        }
        let product = ProductId::new(line.product);
        let product = product.map_err(|error| Problem::invalid(format!("lines[{at}]: {error}.")))?;
        Ok(CartLine { product, quantity: line.quantity })
    });
    lines.collect()
}

impl From<&Product> for ProductJson {
    fn from(product: &Product) -> Self {
        let part = |part: &Part| PartJson { sku: part.sku.to_string(), quantity: part.quantity };
        Self {
            product: product.id.to_string(),
            price: (&product.price).into(),
            vat_basis_points: product.vat_basis_points,
            parts: product.parts.iter().map(part).collect(),
            on_sale: product.on_sale,
        }
    }
}

impl From<&Terms> for TermsJson {
    fn from(terms: &Terms) -> Self {
        Self {
            currency: terms.currency.to_string(),
            shipping_fee: terms.shipping_fee,
            free_shipping_from: terms.free_shipping_from,
            vat_basis_points: terms.vat_basis_points,
        }
    }
}

impl From<&OrderLine> for PricedLineJson {
    fn from(line: &OrderLine) -> Self {
        Self {
            product: line.product.to_string(),
            quantity: line.quantity,
            unit_price: line.unit_price,
            gross: line.gross(),
            discount: line.discount,
            points: line.points,
            paid: line.paid(),
            vat: line.vat,
            available: None,
            returned: None,
        }
    }
}

impl SumsJson {
    /// Of a quote in `currency`.
    pub(crate) fn of_quote(quote: &Quote, currency: Currency) -> Self {
        Self {
            goods: quote.goods(),
            discount: quote.discount(),
            shipping: quote.shipping,
            points: quote.points(),
            total: quote.total(),
            vat: quote.vat(),
            currency: currency.to_string(),
        }
    }

    fn of_order(order: &Order) -> Self {
        Self {
            goods: order.goods(),
            discount: order.discount(),
            shipping: order.shipping,
            points: order.points(),
            total: order.total(),
            vat: order.vat(),
            currency: order.currency.to_string(),
        }
    }
}

impl OrderJson {
    /// `order` as it is in `state`.
    #[must_use]
    pub fn new(order: &Order, state: &State, codes: &CodeKey) -> Self {
        let line = |(at, line): (usize, &OrderLine)| {
            let returned = Some(order.returned(at));
            PricedLineJson { returned, ..line.into() }
        };
        let payment = order.payment.as_ref();
        Self {
            order: order.no.to_string(),
            member: order.member.to_string(),
            state: order.state.as_str(),
            why: order.why.as_ref().map(ToString::to_string),
            waits_for: waits_for(order, state),
            lines: order.lines.iter().enumerate().map(line).collect(),
            sums: SumsJson::of_order(order),
            coupon: order.coupon.map(|coupon| codes.code(coupon).to_string()),
            payment: payment.map(|payment| payment.id.to_string()).filter(|id| !id.is_empty()),
            reservation: payment.map(|payment| payment.reservation.to_string()),
            placed_at: rfc3339(order.placed_at),
            paid_at: payment.map(|payment| rfc3339(payment.at)),
            ended_at: order.ended_at.map(rfc3339),
            cancel_requested: order.cancel_requested,
            refunds: order.refunds.iter().map(|refund| RefundJson::new(refund, order)).collect(),
            refunded: order.refunded(),
            refunded_points: order.refunded_points(),
            saga: order.saga.get(),
            seq: state.seq(),
        }
    }
}

impl OrderJson {
    /// The order as `principal` may see it: who of the shop gave something back, and what they noted about it, is the shop's.
    pub(crate) fn seen_by(mut self, principal: &Principal) -> Self {
        if principal.member.is_some() {
            for refund in &mut self.refunds {
                (refund.by, refund.reason) = (None, None);
            }
        }
        self
    }
}

impl RefundJson {
    fn new(refund: &Refund, order: &Order) -> Self {
        let line = |part: &banyan_domain::order::RefundLine| {
            let product = order.lines.get(usize::from(part.line)).map(|line| line.product.to_string());
            CartLineJson { product: product.unwrap_or_default(), quantity: part.quantity }
        };
        Self {
            refund: format!("{}.{}", order.no, refund.no),
            kind: if refund.cancel { "cancel" } else { "return" },
            state: refund.state.as_str(),
            why: refund.why.as_ref().map(ToString::to_string),
            lines: refund.lines.iter().map(line).collect(),
            amount: refund.amount,
            points: refund.points,
            by: Some(refund.by.to_string()),
            reason: Some(refund.reason.to_string()),
            begun_at: rfc3339(refund.begun_at),
            ended_at: refund.ended_at.map(rfc3339),
            saga: refund.saga.get(),
        }
    }
}

/// What an order waits for: what its saga does just now.
pub(crate) fn waits_for(order: &Order, state: &State) -> Option<WaitsForJson> {
    let refund = order.refund_under_way().filter(|refund| refund.state == RefundState::Begun);
    let (no, is_refund) = match (order.state, refund) {
        (OrderState::Placed, _) => (order.saga, false),
        (_, Some(refund)) => (refund.saga, true),
        _ => return None,
    };
    let saga = state.sagas().saga(no)?;
    let definition = state.sagas().definition(saga.definition)?;
    let name = |place: usize| definition.steps.get(place).map_or("", |step| step.name.as_str()).to_owned();
    if let Some(park) = &saga.parked {
        let step = name(usize::from(park.step));
        return Some(WaitsForJson { step, what: "operator", redirect: None, until: None });
    }
    let (place, tried) = trying(saga)?;
    let page = tried.output.get("redirect").filter(|page| !page.is_empty());
    let page = page.filter(|_| tried.mode == Mode::Awaiting && saga.phase == Phase::Running);
    let what = match page {
        Some(_) => "payment-page",
        None if is_refund => "refund",
        None => "answer",
    };
    let until = page.map(|_| rfc3339(tried.until));
    Some(WaitsForJson { step: name(place), what, redirect: page.map(str::to_owned), until })
}

/// The saga of an order that goes on by itself just now: it is not parked, and waits for no shopper.
pub(crate) fn under_way(order: &Order, state: &State) -> Option<banyan_domain::SagaNo> {
    let waits = waits_for(order, state)?;
    let no = match order.state {
        OrderState::Placed => order.saga,
        _ => order.refund_under_way()?.saga,
    };
    (waits.what != "operator" && waits.what != "payment-page").then_some(no)
}

/// The step that is being done or undone.
fn trying(saga: &Saga) -> Option<(usize, &banyan_domain::saga::Try)> {
    saga.steps.iter().enumerate().find_map(|(place, step)| match step {
        StepState::Doing(tried) | StepState::Undoing(tried) => Some((place, &**tried)),
        _ => None,
    })
}
