//! A build that speaks no old database.

use crate::exit::Failure;
use banyan_legacy::{Mapping, OldDatabase};
use std::sync::Arc;

/// Says what to build.
pub(crate) fn open(_: Mapping) -> Result<Arc<dyn OldDatabase>, Failure> {
    let why = "this banyan was built without the clients of old databases; build it with: cargo build --profile dist --features legacy";
    Err(Failure::usage(why))
}
