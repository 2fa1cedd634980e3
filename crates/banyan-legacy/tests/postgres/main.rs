//! The Postgres side against a real, private server.

mod comparing;
mod found_later;
mod moving;
mod preflight;
mod references;
mod retired;
mod shop;
mod streaming;
mod sync;
mod writing;
