//! The gateway of this process: alone, or beside a server.

use crate::commands::up::told_to_stop;
use crate::exit::Failure;
use banyan_console::{ConsoleOptions, GatewayHandle};
use banyan_gateway::{Config, Gateway, InProcess, Serving};
use std::path::Path;
use std::process::ExitCode;
use tokio::sync::watch;

/// Runs until SIGINT or SIGTERM, then answers what is under way and ends.
pub(crate) fn run(file: &Path, check: bool) -> Result<ExitCode, Failure> {
    let config = Config::read(file).map_err(Failure::usage)?;
    if check {
        println!("{}: good, {} routes", file.display(), config.routes.len());
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

/// Where the console finds the gateway that runs beside it.
pub(crate) struct Place(GatewayHandle);

impl Place {
    /// The one of a console with these options.
    pub(crate) fn of(options: &ConsoleOptions) -> Self {
        Self(options.gateway.clone())
    }

    /// Starts the gateway of `file` beside the API of this process, and shows it there.
    pub(crate) fn open(
        self,
        file: &Path,
        api: axum::Router,
        stopping: watch::Receiver<bool>,
    ) -> Result<Serving, Failure> {
        let config = Config::read(file).map_err(Failure::usage)?;
        let (gateway, serving) = start(config, Some(InProcess::new(api)), stopping)?;
        self.0.set(gateway);
        Ok(serving)
    }
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
