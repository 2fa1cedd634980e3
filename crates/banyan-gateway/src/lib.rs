//! A reverse proxy that moves a shop from its monolith to Banyan, one route at a time.
//!
//! It knows HTTP only: no event, no coupon, no database of anybody. Alone (`banyan gateway --config FILE`) it is a proxy
//! like others; inside `banyan up --gateway FILE` a route's Banyan side can be the API in the same process.
//!
//! What it deliberately is not: a cache, a web server for files, a place for business rules.
//!
//! Start reading at [`Gateway`], then `table.rs` (which route), `side.rs` (which side, who listens) and
//! `proxy/exchange.rs` (one request, end to end).

mod admin;
mod admin_sides;
mod at_rest;
pub mod callers;
pub mod canary;
mod certificate;
pub mod change;
pub mod config;
mod courses;
pub mod diff;
pub mod evidence;
mod fields;
mod gateway;
pub mod groups;
mod handle;
mod journal;
mod limits;
mod metrics;
pub mod noise;
mod outbound;
mod path;
mod promote;
mod proxy;
mod rules;
pub mod shadow;
pub mod side;
pub mod table;
mod tls;
mod traces;
pub mod traffic;
mod upstream;

pub use certificate::CertificateReport;
pub use change::{Change, Entry, Refused};
pub use config::{Config, ConfigError, Mode, RouteSpec};
pub use gateway::{Gateway, InProcess, RouteReport};
pub use outbound::{AskFailed, Outbound};
pub use proxy::Serving;
pub use side::{Choice, Ended, Side, Sides, Watcher};
pub use table::{Route, Table};
pub use upstream::{ServerReport, TrustReport, Upstream, UpstreamReport};
