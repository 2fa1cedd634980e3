//! What can be asked of orders, and what is answered.

use super::product::{Product, Terms};
use crate::{Actor, CouponId, MemberId, OrderNo, ProductId, Reason};
use minicbor::{Decode, Encode};

/// Something asked. Checked texts only: what is wrong in itself never gets here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Put products on the price list, or change them. All or none.
    SetProducts {
        /// At most [`crate::limits::PRODUCTS_PER_COMMAND_MAX`], each checked, no id twice.
        products: Vec<Product>,
        /// Who asks.
        by: Actor,
    },
    /// Set the terms.
    SetTerms {
        /// The terms, checked.
        terms: Terms,
        /// Who asks.
        by: Actor,
    },
    /// Place an order, and begin its checkout.
    Place {
        /// What is ordered, and by whom.
        cart: Box<Cart>,
        /// How money is paid: the payment company's word for it. Empty if no money is to pay.
        method: Box<str>,
        /// Where the company's card page sends the shopper afterwards. May be empty.
        return_url: Box<str>,
        /// What the shopper was shown: refused if it is another amount by now.
        expect_total: Option<i64>,
    },
    /// Cancel an order: turn its checkout back, or give everything back that is left.
    Cancel {
        /// Which order.
        order: OrderNo,
        /// Whose it must be, and not paid, if the caller acts for one member only: a paid order is the shop's to give back.
        owner: Option<MemberId>,
        /// Who asks.
        by: Actor,
        /// Why.
        reason: Reason,
    },
    /// Give part of a paid order back.
    Return {
        /// Which order.
        order: OrderNo,
        /// What comes back; at least one, at least one unit each.
        lines: Vec<CartLine>,
        /// Who asks.
        by: Actor,
        /// Why.
        reason: Reason,
    },
}

/// What a member wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cart {
    /// Who.
    pub member: MemberId,
    /// 1 to [`crate::limits::ORDER_LINES_MAX`] lines. A product may stand in several.
    pub lines: Vec<CartLine>,
    /// A coupon of the member's.
    pub coupon: Option<CouponId>,
    /// Points to pay with; 0 for none. More than the order costs is taken for what it costs.
    pub points: i64,
}

/// So many of a product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CartLine {
    /// Which product.
    pub product: ProductId,
    /// How many; 1 to [`crate::limits::LINE_QUANTITY_MAX`].
    pub quantity: u32,
}

/// The answer to a command that was carried out, and what is remembered of it: stored for ever where an idempotency key
/// was kept for an answer that needed no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Outcome {
    /// So many products are set as asked.
    #[n(0)]
    Products {
        /// How many were new or changed.
        #[n(0)]
        changed: u32,
    },
    /// The terms are as asked.
    #[n(1)]
    Terms,
    /// An order was placed or moved.
    #[n(2)]
    Order {
        /// Which.
        #[n(0)]
        order: OrderNo,
    },
}

impl Outcome {
    /// As three words, for columns.
    #[must_use]
    pub const fn to_words(self) -> [u64; 3] {
        match self {
            Self::Products { changed } => [0, changed as u64, 0],
            Self::Terms => [1, 0, 0],
            Self::Order { order } => [2, order.get(), 0],
        }
    }

    /// Back from [`Self::to_words`], or none if they are not such words.
    #[must_use]
    pub fn from_words(words: [u64; 3]) -> Option<Self> {
        Some(match words {
            [0, changed, 0] => Self::Products { changed: u32::try_from(changed).ok()? },
            [1, 0, 0] => Self::Terms,
            [2, order, 0] => Self::Order { order: OrderNo::new(order) },
            _ => return None,
        })
    }
}
