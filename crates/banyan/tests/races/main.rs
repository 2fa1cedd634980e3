//! The races that shops are attacked with, one test for each: many clients at the same instant against the real server, and
//! exact ends. Each ends with `banyan verify` over everything that was decided.
//!
//! [`parts`] attacks coupons, stock and the ledger one by one, [`orders`] the whole checkout.

#[path = "../support/mod.rs"]
mod support;

mod orders;
mod parts;
mod shop;
