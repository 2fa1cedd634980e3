//! The Postgres side against a real, private server.

mod preflight;
mod shop;
mod streaming;
mod writing;
