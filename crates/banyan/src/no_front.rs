//! A build without the gateway.

use crate::exit::Failure;
use banyan_console::ConsoleOptions;
use banyan_legacy::{NoRoutes, Routes};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::sync::watch;

const WHY: &str =
    "this banyan was built without the gateway; build it with: cargo build --profile dist --features gateway";

/// Says what to build.
pub(crate) fn run(_: &Path, _: bool) -> Result<ExitCode, Failure> {
    Err(Failure::usage(WHY))
}

/// Where a gateway would be found.
pub(crate) struct Place(());

/// A gateway that cannot be.
pub(crate) struct Serving(Infallible);

impl Place {
    /// Says what to build, if there is to be a gateway.
    pub(crate) fn read(file: Option<&Path>, _: bool, _: SocketAddr) -> Result<Self, Failure> {
        match file {
            Some(_) => Err(Failure::usage(WHY)),
            None => Ok(Self(())),
        }
    }

    /// What is known of it: nothing.
    pub(crate) fn routes(&self) -> Arc<dyn Routes> {
        Arc::new(NoRoutes)
    }

    /// Nothing to show.
    pub(crate) fn show_in(&self, _: &mut ConsoleOptions) {}

    /// There is none.
    pub(crate) fn open(
        self,
        _: impl FnOnce() -> axum::Router,
        _: Option<PathBuf>,
        _: watch::Receiver<bool>,
    ) -> Result<Option<Serving>, Failure> {
        Ok(None)
    }
}

impl Serving {
    pub(crate) fn join(self) {
        match self.0 {}
    }
}
