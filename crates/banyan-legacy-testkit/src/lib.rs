//! For tests of the way over: an old shop whose database is in memory, and Banyan beside an old shop of any kind.
//!
//! [`OldShop`] keeps its word as a real database does: what it commits is in its stream, in order; a copy is of one moment; the
//! bookkeeping row fences whoever has lost the lead; Banyan's own writes come back. It can be told to misbehave as real ones
//! do: the stream stands still, a copy breaks off, a row is refused, a value rots in silence, another server takes over. It is asked through a [`Wire`],
//! which is the [`OldDatabase`](banyan_legacy::OldDatabase), and which breaks at any question.
//!
//! [`Banyan`] is an engine whose log is in memory beside any old database, also a real one: its parts are run one by one, or all
//! by a keeper ([`Kept`]), and killed. [`World`] is an old shop and Banyan together. Whatever must come is waited for with [`until`].
//!
//! What this crate deliberately is not: a part of the product, which nothing here is built with; and it starts no server, which
//! `banyan-testkit` does. It is a crate and no feature of `banyan-legacy`, so that tests run against the very library that is
//! shipped, built once. It panics freely: every panic is a test that fails.
//!
//! Start reading at [`World`], then `tests/watermark.rs` of `banyan-legacy`.

mod banyan;
pub mod conformance;
mod database;
mod kept;
mod misbehaving;
mod old_shop;
mod server;
mod stream;
mod until;
mod wire;
mod world;

pub use banyan::{Banyan, NOT_LEADING, Running, keeper_options};
pub use kept::Kept;
pub use old_shop::{Asked, Numbers, OldShop, PLACE, Tables};
pub use until::{PATIENCE, found, seen, until};
pub use wire::{Break, Question, Wire};
pub use world::World;
