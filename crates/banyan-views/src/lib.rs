//! Purpose-built databases filled from the log.
//!
//! A [`View`] is a database (or feed) that holds what one kind of reader wants to see. A [`Runner`] gives each view one
//! thread: it reads confirmed blocks, hands them to the view in batches, and publishes how far the view has come. The
//! view writes its rows and its checkpoint in one transaction, so a crash at any point loses nothing and doubles nothing.
//! The first view is the [`record`] store, a SQLite file with everything that happened to coupons, goods, money and sagas.
//!
//! What it deliberately is not: it decides nothing (a view believes the log, and parks what contradicts its rows), it
//! is never on the way of an answer (the writer does not wait for it), and it holds nothing that the log does not: every
//! view can be thrown away and built again.
//!
//! Start reading at [`View`]; then `runner.rs` for the loop, `record/apply.rs` for what each event does to the rows, and
//! `record/members.rs` for the index that makes ten million rows cheap.

mod batch;
mod progress;
pub mod record;
mod runner;
mod source;
mod view;

pub use batch::{Batch, BatchBlock};
pub use progress::{Subscriber, ViewProgress, ViewState};
pub use runner::{Runner, RunnerOptions};
pub use source::LogSource;
pub use view::{Applied, Cure, View, ViewError};
