//! The Postgres side against a real, private server.

mod beyond;
mod comparing;
mod found_later;
mod grants;
mod moving;
mod preflight;
mod references;
mod refused;
mod retired;
mod shop;
mod streaming;
mod sync;
mod ways_back;
mod writing;
