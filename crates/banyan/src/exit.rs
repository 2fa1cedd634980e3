//! How a subcommand ends: a message for a person, a code for a script.

use std::fmt;

/// Something could not be done. The codes are documented in docs/operating.md and in `banyan --help`.
#[derive(Debug)]
pub(crate) struct Failure {
    pub code: u8,
    message: String,
}

/// What was asked for is wrong: a bad file, a missing argument.
pub(crate) const USAGE: u8 = 2;
/// A check was made and did not pass: a damaged log, a missing answer.
pub(crate) const CHECK: u8 = 3;
/// The operating system, the network or another program stood in the way.
pub(crate) const ENVIRONMENT: u8 = 4;

impl Failure {
    pub(crate) fn new(code: u8, message: impl fmt::Display) -> Self {
        Self { code, message: message.to_string() }
    }

    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::new(USAGE, message)
    }

    pub(crate) fn check(message: impl fmt::Display) -> Self {
        Self::new(CHECK, message)
    }

    pub(crate) fn environment(message: impl fmt::Display) -> Self {
        Self::new(ENVIRONMENT, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
