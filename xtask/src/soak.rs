//! `cargo xtask legacy soak`: builds Banyan and the long run of its sync, and runs it.

use crate::bench::target_dir;
use crate::run;
use banyan_testkit::{Package, ensure_packages};
use std::process::Command;

/// How long, and on what.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Build without optimisation: quicker to start, slower to run
    #[arg(long)]
    debug: bool,
    /// Passed on, such as `--minutes 60 --database mariadb --seed 7`; `-- --help` lists all
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Builds and runs.
pub(crate) fn run(args: &Args) -> Result<(), String> {
    ensure_packages(&[Package::Postgres, Package::MariaDb]).map_err(|error| error.to_string())?;
    let mut build = vec!["build", "-p", "banyan", "-p", "banyan-soak", "--features", run::SERVER_FEATURES];
    if !args.debug {
        build.push("--release");
    }
    run::cargo(build)?;
    let bin = target_dir()?.join(if args.debug { "debug" } else { "release" });
    let mut command = Command::new(bin.join("banyan-soak"));
    run::to_its_end(command.arg("--banyan").arg(bin.join("banyan")).args(&args.rest))
}
