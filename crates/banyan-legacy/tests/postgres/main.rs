//! The Postgres side against a real, private server.

mod found_later;
mod moving;
mod preflight;
mod shop;
mod streaming;
mod sync;
mod writing;
