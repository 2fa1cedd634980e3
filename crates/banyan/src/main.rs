//! The `banyan` binary: configuration, wiring and subcommands. Start reading at [`cli`], then `commands/up.rs`.

mod audit;
mod backup;
mod campaign_file;
mod cli;
mod client;
mod commands;
mod data_dir;
#[cfg(all(test, feature = "gateway", feature = "legacy"))]
mod documented;
mod exit;
#[cfg_attr(not(feature = "gateway"), path = "no_front.rs")]
mod front;
mod keys;
mod offline;
#[cfg_attr(not(feature = "legacy"), path = "no_old_database.rs")]
mod old_database;
mod old_shop;
mod public;
#[cfg(feature = "gateway")]
mod touching_routes;
mod whole_log;

use clap::Parser;
use std::process::ExitCode;

/// Commands are allocated by the HTTP threads and freed by the writer: an allocator made for that saves much of the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    cli::start_tracing(&cli);
    match commands::run(cli) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("banyan: {failure}");
            ExitCode::from(failure.code)
        }
    }
}
