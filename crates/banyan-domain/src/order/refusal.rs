//! A business no.

use core::fmt;

/// Why a command about orders was refused. Checks run in the order in which the refusals stand here. What stands in the
/// way in another capability, such as goods that are gone, is refused with that capability's own word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// The terms are not set: nothing can be sold yet.
    TermsNotSet,
    /// A price, or the coupon, is in another currency than the terms.
    OtherCurrency,
    /// As many products are on the price list as it can have.
    TooManyProducts,
    /// No product has this id.
    ProductNotFound,
    /// The product is not sold now.
    ProductNotOnSale,
    /// The order comes to more than can be counted, or is made of too many SKUs.
    OrderTooLarge,
    /// The goods come to less than the coupon asks for.
    BelowMinimumOrder,
    /// The order comes to another amount than the shopper was shown.
    PriceChanged,
    /// Money is to pay, and no method was named.
    MethodMissing,
    /// The saga that the order needs is not defined.
    CheckoutNotDefined,
    /// No order has this number, or it ended long ago.
    OrderNotFound,
    /// The order is cancelled, or failed.
    OrderEnded,
    /// The order is paid, and the caller may only give up one that is not.
    OrderPaid,
    /// The order is past the point where its checkout can turn back, and not paid yet.
    OrderSettling,
    /// The order is not paid.
    OrderNotPaid,
    /// Another refund of the order is under way.
    RefundUnderWay,
    /// More would come back than was ordered and has not come back yet.
    ReturnExceedsOrder,
    /// The order has had as many refunds as it can have.
    TooManyRefunds,
}

impl Refusal {
    /// Every refusal, in the order of the checks.
    pub const ALL: [Self; 18] = [
        Self::TermsNotSet,
        Self::OtherCurrency,
        Self::TooManyProducts,
        Self::ProductNotFound,
        Self::ProductNotOnSale,
        Self::OrderTooLarge,
        Self::BelowMinimumOrder,
        Self::PriceChanged,
        Self::MethodMissing,
        Self::CheckoutNotDefined,
        Self::OrderNotFound,
        Self::OrderEnded,
        Self::OrderPaid,
        Self::OrderSettling,
        Self::OrderNotPaid,
        Self::RefundUnderWay,
        Self::ReturnExceedsOrder,
        Self::TooManyRefunds,
    ];

    /// The stable name that the API, the metrics and the documents use.
    #[must_use]
    pub const fn slug(self) -> &'static str {
        match self {
            Self::TermsNotSet => "terms-not-set",
            Self::OtherCurrency => "other-currency",
            Self::TooManyProducts => "too-many-products",
            Self::ProductNotFound => "product-not-found",
            Self::ProductNotOnSale => "product-not-on-sale",
            Self::OrderTooLarge => "order-too-large",
            Self::BelowMinimumOrder => "below-minimum-order",
            Self::PriceChanged => "price-changed",
            Self::MethodMissing => "payment-method-missing",
            Self::CheckoutNotDefined => "checkout-not-defined",
            Self::OrderNotFound => "order-not-found",
            Self::OrderEnded => "order-ended",
            Self::OrderPaid => "order-paid",
            Self::OrderSettling => "order-settling",
            Self::OrderNotPaid => "order-not-paid",
            Self::RefundUnderWay => "refund-under-way",
            Self::ReturnExceedsOrder => "return-exceeds-order",
            Self::TooManyRefunds => "too-many-refunds",
        }
    }

    /// Whether the same command may succeed later without anybody changing it.
    #[must_use]
    pub const fn may_pass_later(self) -> bool {
        matches!(self, Self::OrderSettling | Self::OrderNotPaid | Self::RefundUnderWay)
    }

    /// One sentence for a person.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::TermsNotSet => "The shop has no terms yet. Set them with PUT /v1/terms.",
            Self::OtherCurrency => "A price or the coupon is in another currency than the shop's terms.",
            Self::TooManyProducts => "The price list is full.",
            Self::ProductNotFound => "No product has this id.",
            Self::ProductNotOnSale => "A product of this order is not sold now.",
            Self::OrderTooLarge => {
                "The order comes to more than can be counted, or is made of too many SKUs."
            }
            Self::BelowMinimumOrder => "The goods come to less than this coupon asks for.",
            Self::PriceChanged => "The order comes to another amount than expected. Get a new quote.",
            Self::MethodMissing => "Money is to be paid. Name a payment method.",
            Self::CheckoutNotDefined => {
                "The saga this needs is not defined. Define checkout and order-refund from examples/sagas."
            }
            Self::OrderNotFound => "No order has this number, or it ended long ago.",
            Self::OrderEnded => "The order is cancelled, or failed.",
            Self::OrderPaid => "A paid order is given back by the shop, which knows where its goods are.",
            Self::OrderSettling => "The order is being settled right now. Try again in a moment.",
            Self::OrderNotPaid => "The order is not paid yet.",
            Self::RefundUnderWay => "Another refund of this order is under way. Try again when it is done.",
            Self::ReturnExceedsOrder => "More would come back than was ordered and has not come back yet.",
            Self::TooManyRefunds => "This order has had as many refunds as it can have.",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.slug())
    }
}
