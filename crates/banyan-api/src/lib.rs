//! The HTTP API: JSON in, commands to the shard, JSON out.
//!
//! The only crate that knows the wire: JSON field names, status codes, headers, problem types. It holds no rule of the
//! shop and stores nothing. A handler parses once into a checked command, submits it, waits, and writes the answer.
//!
//! Start reading at [`App`], what every handler shares; then `routes/coupons.rs`, the hot path; then [`serve`], the loop that
//! owns connections. Errors become HTTP in `problem.rs` and nowhere else.

mod app;
pub mod auth;
mod body;
mod card;
mod clock;
mod dry_run;
pub mod event_json;
mod hosts;
mod ids;
mod openapi;
pub mod problem;
mod quota;
mod record_wait;
mod replies;
mod routes;
mod secret;
mod serve;
mod stalled;
pub mod wire;
pub mod wire_ledger;
pub mod wire_legacy;
pub mod wire_order;
pub mod wire_saga;

pub use app::{App, AppOptions, DoorOptions, HttpMetrics};
pub use clock::{now, rfc3339};
pub use dry_run::refused as without_dry_run;
pub use hosts::is_loopback_host;
pub use ids::coupon_name;
pub use openapi::openapi;
pub use problem::Problem;
pub use replies::{TokioReplies, deliver_replies};
pub use routes::{router, webhooks};
pub use secret::masked;
pub use serve::{ServeOptions, serve};
