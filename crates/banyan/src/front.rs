//! The gateway of this process: alone, or beside a server.

use crate::commands::up::told_to_stop;
use crate::exit::Failure;
use crate::touching_routes::{TouchingRoutes, check_touches};
use banyan_console::{ConsoleOptions, GatewayHandle};
use banyan_gateway::{Config, Gateway, InProcess, Serving};
use banyan_legacy::{NoRoutes, Routes};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
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

/// Where a gateway beside the server is found, once it is there: its routes may lead to the server itself.
#[derive(Default)]
pub(crate) struct Place {
    config: Option<Config>,
    of_console: GatewayHandle,
    of_keeper: Arc<TouchingRoutes>,
}

impl Place {
    /// Reads `file`, if there is to be a gateway: what is wrong with it is told before anything is started. `moves` says whether
    /// an old shop's capability can be moved over here, so that its gates rest on what the routes say they touch.
    pub(crate) fn read(file: Option<&Path>, moves: bool) -> Result<Self, Failure> {
        let config = file.map(Config::read).transpose().map_err(Failure::usage)?;
        if let Some(config) = config.as_ref().filter(|_| moves) {
            check_touches(config)?;
        }
        Ok(Self { config, ..Self::default() })
    }

    /// What the gates of a move know of it.
    pub(crate) fn routes(&self) -> Arc<dyn Routes> {
        match self.config {
            Some(_) => self.of_keeper.clone(),
            None => Arc::new(NoRoutes),
        }
    }

    /// The console with these options shows it.
    pub(crate) fn show_in(&self, options: &mut ConsoleOptions) {
        options.gateway = self.of_console.clone();
    }

    /// Starts it beside the API of this process, if there is to be one.
    pub(crate) fn open(
        self,
        api: impl FnOnce() -> axum::Router,
        stopping: watch::Receiver<bool>,
    ) -> Result<Option<Serving>, Failure> {
        let Some(config) = self.config else { return Ok(None) };
        let (gateway, serving) = start(config, Some(InProcess::new(api())), stopping)?;
        self.of_keeper.set(gateway.clone());
        self.of_console.set(gateway);
        Ok(Some(serving))
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
