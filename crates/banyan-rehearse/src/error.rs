//! Why a rehearsal could not take place.

use std::{fmt, io};

use crate::scenario::ScenarioError;
use crate::trace::TraceError;

/// Why a rehearsal could not take place or could not be kept.
#[derive(Debug)]
pub enum RehearseError {
    /// The scenario is wrong.
    Scenario(ScenarioError),
    /// The trace is wrong.
    Trace(TraceError),
    /// Nothing answers at the target.
    Connect {
        /// The target.
        target: String,
        /// What the system said.
        source: io::Error,
    },
    /// A campaign could not be prepared.
    Setup {
        /// What was being done.
        what: String,
        /// Why it failed, and what to do.
        problem: String,
    },
    /// The file of acknowledgements could not be written.
    Acks(io::Error),
    /// A report could not be written.
    Write {
        /// Where to.
        path: std::path::PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A thread or runtime could not be started.
    Thread(io::Error),
}

impl fmt::Display for RehearseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scenario(error) => error.fmt(f),
            Self::Trace(error) => error.fmt(f),
            Self::Connect { target, source } => {
                write!(
                    f,
                    "connecting to {target}: {source}; start the server first, or give its address with --url"
                )
            }
            Self::Setup { what, problem } => write!(f, "{what}: {problem}"),
            Self::Acks(source) => write!(f, "writing the file of acknowledgements: {source}"),
            Self::Write { path, source } => write!(f, "writing {}: {source}", path.display()),
            Self::Thread(source) => write!(f, "running the load thread: {source}"),
        }
    }
}

impl std::error::Error for RehearseError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Scenario(source) => Some(source),
            Self::Trace(source) => Some(source),
            Self::Connect { source, .. }
            | Self::Write { source, .. }
            | Self::Acks(source)
            | Self::Thread(source) => Some(source),
            Self::Setup { .. } => None,
        }
    }
}
