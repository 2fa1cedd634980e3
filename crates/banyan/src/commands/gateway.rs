//! `banyan gateway`: the reverse proxy alone, in front of anything.

use crate::exit::Failure;
use crate::front;
use std::path::PathBuf;
use std::process::ExitCode;

/// Run the gateway: a reverse proxy that moves a shop from its monolith to Banyan one route at a time.
///
/// Alone it stands in front of anything that speaks HTTP. With `banyan up --gateway FILE` routes can lead to the API in the
/// same process.
#[derive(clap::Args)]
#[command(
    after_help = "Smallest file:\n  listen = \"127.0.0.1:8088\"\n  [[route]]\n  path = \"/\"\n  mode = \"legacy\"\n  upstream = \"http://127.0.0.1:8000\""
)]
pub(crate) struct GatewayArgs {
    /// The configuration, TOML; docs/gateway.md says what may be in it
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Only check the configuration: 0 if it is good, 2 if not
    #[arg(long)]
    check: bool,
}

/// Checks the configuration, or runs until SIGINT or SIGTERM and answers what is under way.
pub(crate) fn run(args: &GatewayArgs) -> Result<ExitCode, Failure> {
    front::run(&args.config, args.check)
}
