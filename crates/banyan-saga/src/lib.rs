//! Sagas at the edge of the system: definition files as people write them, and the asking of services outside.
//!
//! What a saga means, and what it does next, is in `banyan-domain`. This crate decides nothing and remembers nothing: it
//! turns a TOML file into a definition, an intent in the log into a request, and an answer into a command.
//!
//! Start reading at [`read_definition`], then [`Executor`].

mod executor;
mod file;
mod http_service;
mod notices;
mod service;
mod services;

pub use executor::{Executor, NoticeError};
pub use file::{InvalidFile, faults, read_definition};
pub use http_service::HttpService;
pub use service::{Asking, Company, Service, Told};
pub use services::{Services, read_services};
