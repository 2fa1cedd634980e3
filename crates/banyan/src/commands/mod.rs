//! One file per subcommand.

pub(crate) mod backup;
pub(crate) mod campaign;
pub(crate) mod demo;
pub(crate) mod gateway;
pub(crate) mod key;
pub(crate) mod ledger;
mod ledger_statement;
pub(crate) mod legacy;
pub(crate) mod log;
pub(crate) mod matching;
mod openapi;
pub(crate) mod saga;
mod saga_server;
pub(crate) mod sandbox;
pub(crate) mod shop;
pub(crate) mod stock;
pub(crate) mod up;
pub(crate) mod verify;
pub(crate) mod view;

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
        Some(Command::Demo(args)) => demo::run(args),
        Some(Command::Gateway(args)) => gateway::run(&args),
        Some(Command::Legacy(command)) => legacy::run(&command),
        Some(Command::Campaign(command)) => campaign::run(&command),
        Some(Command::Key(command)) => key::run(&command),
        Some(Command::Ledger(command)) => ledger::run(&command),
        Some(Command::Log(command)) => log::run(&command),
        Some(Command::Match(args)) => matching::run(&args),
        Some(Command::Verify(args)) => verify::run(&args),
        Some(Command::Backup(args)) => backup::back_up(&args),
        Some(Command::Restore(args)) => backup::restore(&args),
        Some(Command::Saga(command)) => saga::run(&command),
        Some(Command::Sandbox(args)) => sandbox::run(args),
        Some(Command::Shop(args)) => shop::run(args),
        Some(Command::Stock(command)) => stock::run(&command),
        Some(Command::View(command)) => view::run(&command),
        Some(Command::Openapi) => openapi::run(),
        Some(Command::Rehearse(args)) => banyan_rehearse::main(&args).map_err(Failure::environment),
        None => Err(Failure::usage("name a subcommand; see `banyan --help`")),
    }
}
