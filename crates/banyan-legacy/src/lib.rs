//! Keeps the old shop's database in step until it can go.
//!
//! Changes of mapped rows flow in from the old database's own stream of changes; values that Banyan owns flow out in
//! full, with their checkpoint in the same transaction; what anybody else writes to an owned column is noticed; and the
//! two sides are compared all the time. One kind of database is one feature (`postgres`, `mysql`) and one folder; what
//! does not depend on the kind is written against two traits.
//!
//! What this crate deliberately is not: it knows no HTTP, and it remembers nothing itself. What was taken in, and how far a
//! move is, is in Banyan's log; what was written out is in the old database's own bookkeeping row.
//!
//! Start reading at [`Mapping`], then [`OldDatabase`] and [`ChangeStream`]; then [`Driver`], which takes a capability from one
//! phase to the next, and [`Keeper`], which holds everything together.

mod around;
mod breach;
mod database;
mod desk;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod extent;
pub mod inward;
mod keeper;
mod mapping;
mod mover;
#[cfg(feature = "mysql")]
pub mod mysql;
mod outbox;
pub mod outward;
mod parts;
#[cfg(feature = "postgres")]
pub mod postgres;
mod progress;
mod ranges;
pub mod reconcile;
mod references;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod remembered;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod scope;
mod stream;
mod takeover;
mod touched;
mod values;
mod watermark;
mod words;

pub use database::{
    Book, BoxFuture, CheckLevel, Digests, Door, Finding, Hold, KeyRange, LegacyError, OldDatabase, Page,
    PageKey, RangeDigest, SqlReference, StreamHealth, Switch, Switched, TargetRow, Written,
};
pub use desk::{Desk, DeskError};
pub use keeper::{
    BeginError, Halt, Keeper, KeeperOptions, NoRoutes, Part, Parts, Plan, RouteCaller, RouteLedger, Routes,
    Status,
};
pub use mapping::{
    Connection, DatabaseKind, DatabaseSettings, InvalidMapping, LocationFrom, Mapping, TableMapping,
    TableName, Watch,
};
pub use mover::{
    Comparer, DriveError, Driver, Facts, Gate, Gatekeeper, Look, Planned, Recall, RouteEvidence, Stage,
    gates, steps,
};
pub use parts::parts;
pub use progress::{LagPoint, Progress, ProgressView, Trouble};
pub use ranges::digest_of;
pub use references::{Reference, ReferenceKind, References, ReferencesView};
pub use stream::{Change, ChangeStream, Item, OutboxRow, Row, SourceId, Transaction};
pub use watermark::unattended;
