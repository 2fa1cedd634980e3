//! Everything outside the store that sagas ask: a payment company and partners with books of their own, the network to
//! them, and the stand-in for the executor that asks.

mod books;
mod company;
mod executor;
mod network;
mod partners;
mod services;

pub(crate) use books::audit;
pub(crate) use executor::{Executor, Move};
pub(crate) use network::{Happened, Network};
