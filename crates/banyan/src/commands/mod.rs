//! One file per subcommand.

pub(crate) mod up;

use crate::cli::{Cli, Command};
use crate::exit::Failure;
use clap::Parser;
use std::process::ExitCode;

/// Runs what was asked for.
pub(crate) fn run(cli: Cli) -> Result<ExitCode, Failure> {
    // Without a subcommand: `up`, with its own defaults.
    let command = cli.command.or_else(|| Cli::parse_from(["banyan", "up"]).command);
    match command {
        Some(Command::Up(args)) => up::run(args),
        Some(Command::Rehearse(args)) => banyan_rehearse::main(&args).map_err(Failure::environment),
        None => Err(Failure::usage("name a subcommand; see `banyan --help`")),
    }
}
