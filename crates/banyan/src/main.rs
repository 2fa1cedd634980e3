//! The `banyan` binary: configuration, wiring and subcommands. Start reading at [`cli`], then `commands/up.rs`.

mod cli;
mod commands;
mod data_dir;
mod exit;
mod keys;

use clap::Parser;
use std::process::ExitCode;

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
