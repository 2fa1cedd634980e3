//! Keeps the old shop's database in step until it can go.
//!
//! Changes of mapped rows flow in from the old database's own stream of changes; values that Banyan owns flow out in
//! full, with their checkpoint in the same transaction; what anybody else writes to an owned column is noticed; and the
//! two sides are compared all the time. One kind of database is one feature (`postgres`, `mysql`) and one folder; what
//! does not depend on the kind is written against two traits.
//!
//! What this crate deliberately is not: it decides no phase and gates nothing (who moves does), it knows no HTTP, and it
//! remembers nothing itself. What was taken in is in Banyan's log, what was written out is in the old database's own
//! bookkeeping row.
//!
//! Start reading at [`Mapping`], then [`OldDatabase`] and [`ChangeStream`].

mod database;
mod mapping;
#[cfg(feature = "mysql")]
pub mod mysql;
mod stream;

pub use database::{
    Book, BoxFuture, CheckLevel, Finding, LegacyError, OldDatabase, Page, PageKey, Phase, SqlReference,
    StreamHealth, Switch, Switched, TargetRow, Written,
};
pub use mapping::{
    Connection, DatabaseKind, DatabaseSettings, InvalidMapping, LocationFrom, Mapping, TableMapping,
    TableName, Watch,
};
pub use stream::{Change, ChangeStream, Item, OutboxRow, Row, SourceId, Transaction};
