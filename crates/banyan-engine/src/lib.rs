//! The shard: one writer that decides in memory, makes each block durable in one append, and only then answers.
//!
//! This crate owns threads, batching, start-up and snapshots. It knows no rule of the shop (those are in `banyan-domain`),
//! no file format (that is in `banyan-log`) and no HTTP.
//!
//! Start reading at [`Shard`], the handle that everybody else holds; then `core`, which decides a block without any
//! thread or clock, so that the simulator can drive it step by step; then `writer`, which runs it.

mod answer;
mod core;
mod histogram;
mod inbox;
mod metrics;
mod replay;
mod rests;
mod rules;
mod shard;
mod side_by_side;
mod snapshots;
mod snapshotter;
mod start;
mod summary;
mod writer;

pub use answer::{Answer, DirectReplies, Read, Replies, ReplySink, Seen, Then, Work};
pub use core::{Core, CoreOptions, Draft};
pub use histogram::{Histogram, HistogramView};
pub use inbox::SubmitError;
pub use metrics::{Metrics, MetricsView};
pub use replay::replay;
pub use rests::Rests;
pub use rules::{DomainRules, Rules};
pub use shard::{Shard, ShardOptions};
pub use snapshots::{SnapshotFault, SnapshotStore};
pub use start::{StartError, StartReport, Started, start};
pub use summary::{CampaignSummary, Summary};
pub use writer::wall_clock;
