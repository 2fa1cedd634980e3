//! `banyan gateway`: the reverse proxy alone, in front of anything; and its start beside a server.

use super::up::told_to_stop;
use crate::exit::Failure;
use crate::touching_routes::check_touches;
use banyan_gateway::{Config, Gateway, InProcess, Serving};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::sync::watch;

/// Run the gateway: a reverse proxy that moves a shop from its monolith to Banyan one route at a time.
///
/// Alone it stands in front of anything that speaks HTTP. With `banyan up --gateway FILE` routes can lead to the API in the
/// same process.
#[derive(clap::Args)]
#[command(
    after_help = "Smallest file:\n  listen = \"127.0.0.1:8080\"\n  [[route]]\n  path = \"/\"\n  mode = \"legacy\"\n  upstream = \"http://127.0.0.1:8000\""
)]
pub(crate) struct GatewayArgs {
    /// The configuration, TOML; docs/gateway.md says what may be in it
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Only check the configuration: 0 if it is good, 2 if not
    #[arg(long)]
    check: bool,
}

/// Runs until SIGINT or SIGTERM, then answers what is under way and ends.
pub(crate) fn run(args: &GatewayArgs) -> Result<ExitCode, Failure> {
    let config = Config::read(&args.config).map_err(Failure::usage)?;
    if args.check {
        println!("{}: good, {} routes", args.config.display(), config.routes.len());
        return Ok(ExitCode::SUCCESS);
    }
    let (stop, stopping) = watch::channel(false);
    let (_, serving) = start(config, None, stopping)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Failure::environment)?.block_on(told_to_stop());
    tracing::info!("stopping: no new connections; what is under way will be answered");
    stop.send_replace(true);
    serving.join();
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Starts the gateway of `file` beside the API of this process. `moves` says whether an old shop's capability can be moved
/// over here, so that its gates rest on what the routes say they touch.
pub(crate) fn beside(
    file: &Path,
    api: axum::Router,
    stopping: watch::Receiver<bool>,
    moves: bool,
) -> Result<(Gateway, Serving), Failure> {
    let config = Config::read(file).map_err(Failure::usage)?;
    if moves {
        check_touches(&config)?;
    }
    start(config, Some(InProcess::new(api)), stopping)
}

fn start(
    config: Config,
    api: Option<InProcess>,
    stopping: watch::Receiver<bool>,
) -> Result<(Gateway, Serving), Failure> {
    let (state, tls) = (config.state.clone(), config.tls.is_some());
    let gateway = Gateway::new(config, api).map_err(Failure::usage)?;
    let serving = gateway.serve(stopping).map_err(Failure::environment)?;
    let scheme = if tls { "https" } else { "http" };
    for address in &serving.listening {
        println!(
            "Gateway    {scheme}://{address}      ({} routes, version {})",
            gateway.table().routes().len(),
            gateway.table().version()
        );
    }
    if let Some(admin) = serving.admin {
        println!("  Admin    http://{admin}/v1/table      (key in {})", state.join("admin.key").display());
        println!("  Metrics  http://{admin}/metrics");
    }
    Ok((gateway, serving))
}
