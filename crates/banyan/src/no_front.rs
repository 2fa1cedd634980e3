//! A build without the gateway.

use crate::exit::Failure;
use banyan_console::ConsoleOptions;
use std::convert::Infallible;
use std::path::Path;
use std::process::ExitCode;
use tokio::sync::watch;

const WHY: &str =
    "this banyan was built without the gateway; build it with: cargo build --profile dist --features gateway";

/// Says what to build.
pub(crate) fn run(_: &Path, _: bool) -> Result<ExitCode, Failure> {
    Err(Failure::usage(WHY))
}

/// Where a gateway would be found.
pub(crate) struct Place;

/// A gateway that cannot be.
pub(crate) struct Serving(Infallible);

impl Place {
    pub(crate) fn of(_: &ConsoleOptions) -> Self {
        Self
    }

    /// Says what to build.
    pub(crate) fn open(
        self,
        _: &Path,
        _: axum::Router,
        _: watch::Receiver<bool>,
    ) -> Result<Serving, Failure> {
        Err(Failure::usage(WHY))
    }
}

impl Serving {
    pub(crate) fn join(self) {
        match self.0 {}
    }
}
