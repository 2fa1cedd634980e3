//! Orders: what is sold at which price, what an order comes to, and what becomes of it.
//!
//! A [`Product`] is one SKU or a bundle of several, at a price; [`Terms`] say what shipping costs. [`Quote`] is what a cart
//! comes to: discounts and points are spread over the lines to the last minor unit, and tax is in the price, never on top.
//! A placed [`Order`] keeps its prices whatever happens to the price list. How stock, coupon, points and money come to it
//! is a saga's business (`checkout`, and `order-refund` on the way back), so an order only remembers what it is told: it
//! is paid, or it failed, or was cancelled, and what of it was given back.
//!
//! Placing, cancelling and returning touch several capabilities at once; that is in `ordering`, above this.

mod apply;
mod command;
mod event;
mod instance;
mod product;
mod quote;
mod refusal;
mod snapshot;
mod state;
#[cfg(test)]
mod tests;

pub use command::{Cart, CartLine, Command, Outcome};
pub use event::{Event, OrderLine, RefundLine};
pub use instance::{Order, OrderState, Payment, Refund, RefundState};
pub use product::{InvalidProduct, Part, Product, Terms};
pub use quote::{Quote, QuotedLine, Reduction, spread};
pub use refusal::Refusal;
pub use state::Orders;
