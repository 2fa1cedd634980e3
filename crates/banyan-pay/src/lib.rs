//! Connectors to payment companies: authorize, capture, void, refund, query, and what companies tell by webhook.
//!
//! One trait, [`PaymentCompany`], and one connector per company: [`Sandbox`], [`Toss`], [`Stripe`]. Every call is
//! answered by an [`Effect`], which keeps apart what payment code loses money by mixing up: it was done, it was refused, it
//! certainly was not done, and nobody knows.
//!
//! What this crate deliberately is not: it never repeats a request by itself (that is the saga's business, which knows
//! what was written down), it keeps no books, and no card number passes through it: methods are tokens.
//!
//! Where to start reading: `company.rs` (the trait and its types), [`Effect`], `http.rs` (what a failure on the
//! way means), then `sandbox.rs`, the plainest connector.

mod company;
mod effect;
mod http;
mod sandbox;
mod signature;
mod stripe;
mod text;
mod toss;

pub use company::{
    Asking, AuthorizeRequest, CaptureRequest, Connection, Deed, Notice, NoticeError, PaymentCompany, Query,
    RefundRequest, VoidRequest,
};
pub use effect::{CardShown, Effect, PaymentState, Refused, Status, codes};
pub use http::{Call, Http, InvalidConnection, Reply};
pub use sandbox::Sandbox;
pub use signature::{SignatureError, TOLERANCE_SECONDS, verify};
pub use stripe::Stripe;
pub use text::{InvalidText, Key, MethodToken, PaymentId, Secret};
pub use toss::Toss;
