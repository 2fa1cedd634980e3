//! A simulated payment company, as a process of its own: for trying a checkout, and for testing what goes wrong.
//!
//! It has its own durable ledger, an API with idempotency keys, the shapes of Toss Payments beside it, a card page,
//! statements, signed webhooks, and faults that can be switched on: a time-out after the money moved, an answer that
//! comes twice, an event out of order. No money moves anywhere, and only test cards work.
//!
//! What this crate deliberately is not: it shares no code and no process with the shop's side (it would hide mistakes that
//! both make), it never stores or logs a card number, and it is not a place to take real payments.
//!
//! Where to start reading: [`serve`] and [`SandboxOptions`], then `payment.rs` (the rules), `ledger/mod.rs` (how an
//! effect and its remembered answer become one transaction), `api.rs` (`effect`), `faults.rs`.

mod admin;
mod answers;
mod api;
mod card;
mod clock;
mod faults;
mod ledger;
mod page;
mod payment;
mod server;
mod statement;
mod toss;
mod twice;
mod webhooks;

pub use faults::{Fault, FaultPlan, FaultRule};
pub use server::{SandboxError, SandboxOptions, Webhook, serve};
