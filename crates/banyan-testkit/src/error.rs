//! What can go wrong while a server is started, and what to do about it.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a server could not be started or used. Each text names the server, what was being done, and the next step.
#[derive(Debug)]
pub enum Error {
    /// The program is not on this machine.
    Missing {
        /// What was looked for, as a program or a path.
        program: String,
        /// How to get it.
        hint: String,
    },
    /// The operating system refused something.
    Io {
        /// What was being done to what.
        doing: String,
        /// The refusal.
        source: io::Error,
    },
    /// The server ended before it was ready.
    Died {
        /// The server's name.
        name: String,
        /// How it ended.
        status: String,
        /// Its log file; it is gone with the server's folder unless a folder was given.
        log: PathBuf,
        /// The end of its log.
        tail: String,
    },
    /// The server did not become ready, or did not do what was asked, in time.
    TooSlow {
        /// The server's name.
        name: String,
        /// What was waited for.
        waiting_for: String,
        /// How long.
        waited: Duration,
        /// Its log file.
        log: PathBuf,
        /// The end of its log.
        tail: String,
    },
    /// A program that was run to its end failed.
    Failed {
        /// What was run.
        command: String,
        /// Its exit status.
        status: String,
        /// The end of what it printed.
        output: String,
    },
    /// Installing packages was refused before anything was changed.
    Packages {
        /// What is missing and what to do.
        text: String,
    },
}

impl Error {
    pub(crate) fn io(doing: impl Into<String>, source: io::Error) -> Self {
        Self::Io { doing: doing.into(), source }
    }

    /// Whether the server died because somebody took its port between our choosing it and its binding it.
    pub(crate) fn is_port_taken(&self) -> bool {
        let Self::Died { tail, .. } = self else { return false };
        let tail = tail.to_ascii_lowercase();
        tail.contains("address already in use")
            || tail.contains("eaddrinuse")
            || tail.contains("address in use")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { program, hint } => write!(f, "{program} is not installed; {hint}"),
            Self::Io { doing, source } => write!(f, "{doing}: {source}"),
            Self::Died { name, status, log, tail } => {
                write!(
                    f,
                    "{name} ended before it was ready ({status}); the end of {}:\n{tail}",
                    log.display()
                )
            }
            Self::TooSlow { name, waiting_for, waited, log, tail } => write!(
                f,
                "{name}: no {waiting_for} within {:.1} s; the end of {}:\n{tail}",
                waited.as_secs_f64(),
                log.display()
            ),
            Self::Failed { command, status, output } => write!(f, "`{command}` failed ({status}):\n{output}"),
            Self::Packages { text } => f.write_str(text),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
