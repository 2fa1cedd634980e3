//! Sagas at the edge of the system: definition files as people write them.
//!
//! What a saga means, and what it does next, is in `banyan-domain`; here a TOML file becomes a checked definition. This
//! crate does not decide anything.
//!
//! Start reading at [`read_definition`].

mod file;

pub use file::{InvalidFile, read_definition};
