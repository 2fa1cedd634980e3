//! The three-way match: what the books say, what the sagas did, and what the payment company says in its statement.
//!
//! Each of the three knows of every charge and refund by itself. Where two of them disagree, money is missing, or belongs to
//! somebody else, or is only late. A [`Finding`] says which, for whom, since when, and proposes a repair: a saga to begin, or a
//! parked one to let go on. Nothing here changes the books.
//!
//! Pure, like the rules: [`Books`] is fed the events of a log, [`read_statement`] a text, and [`compare`] gives a [`Report`],
//! which can write itself as JSON and as a page. Reading logs and files is up to the caller. What it deliberately is not: a
//! reader of the statements of real companies. Those are turned into the columns that `statement.rs` describes.
//!
//! Start reading at `compare.rs`.

mod books;
mod case;
mod compare;
mod finding;
mod follow;
mod instant;
mod page;
mod propose;
mod report;
mod statement;

pub use books::{Books, Effect, EffectState, Posting, Source, What};
pub use compare::{Period, compare};
pub use finding::{Finding, Kind, Level, Repair, SagaRef};
pub use instant::{parse_day, parse_instant, rfc3339};
pub use page::page;
pub use report::{Hour, Report, Sums};
pub use statement::{Format, Movement, StatementError, read_statement};
