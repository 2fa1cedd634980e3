//! The gateway of this process: alone, or beside a server.

use crate::commands::up::told_to_stop;
use crate::exit::Failure;
use crate::touching_routes::{TouchingRoutes, check_touches};
use banyan_console::{ConsoleOptions, GatewayHandle};
use banyan_gateway::config::IN_PROCESS;
use banyan_gateway::{Config, Gateway, InProcess, Serving};
use banyan_legacy::{NoRoutes, Routes};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
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
    /// an old shop's capability can be moved over here, so that its gates rest on what the routes say they touch; `listen` is where
    /// the server itself will be.
    pub(crate) fn read(file: Option<&Path>, moves: bool, listen: SocketAddr) -> Result<Self, Failure> {
        let config = file.map(Config::read).transpose().map_err(Failure::usage)?;
        if let (Some(file), Some(config)) = (file, &config) {
            check_addresses(file, config, listen)?;
        }
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

    /// Starts it beside the API of this process, if there is to be one. `key` is the file with the key that its routes may ask the
    /// API with.
    pub(crate) fn open(
        self,
        api: impl FnOnce() -> axum::Router,
        key: Option<PathBuf>,
        stopping: watch::Receiver<bool>,
    ) -> Result<Option<Serving>, Failure> {
        let Some(mut config) = self.config else { return Ok(None) };
        config.keys.extend(key.map(|file| (IN_PROCESS.to_owned(), file)));
        let (gateway, serving) = start(config, Some(InProcess::new(api())), stopping)?;
        self.of_keeper.set(gateway.clone());
        self.of_console.set(gateway);
        Ok(Some(serving))
    }
}

/// Two that want the same address: said before anything is there, and by whom.
fn check_addresses(file: &Path, config: &Config, listen: SocketAddr) -> Result<(), Failure> {
    let meets = |other: &SocketAddr| {
        let everywhere = other.ip().is_unspecified() || listen.ip().is_unspecified();
        other.port() != 0 && other.port() == listen.port() && (other.ip() == listen.ip() || everywhere)
    };
    let fields = config.listen.iter().map(|address| ("listen", address));
    let mut fields = fields.chain(config.admin.iter().map(|address| ("admin", address)));
    match fields.find(|(_, address)| meets(address)) {
        Some((field, address)) => Err(Failure::usage(format!(
            "the gateway listens on {address} (`{field}` in {}), and so would Banyan itself (--listen {listen}). Write another port \
             there, such as {field} = \"{}\", or start with another --listen",
            file.display(),
            SocketAddr::new(address.ip(), if address.port() == 8_088 { 8_089 } else { 8_088 }),
        ))),
        None => Ok(()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_that_wants_the_address_of_the_server_is_refused_with_both_and_what_to_write() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("gateway.toml");
        let read = |addresses: &str, listen: &str| {
            let text =
                format!("{addresses}\n[[route]]\npath = \"/\"\nupstream = \"http://127.0.0.1:8000\"\n");
            std::fs::write(&file, text).expect("written");
            let listen = listen.parse().expect("an address");
            Place::read(Some(&file), false, listen).map(|_| ()).map_err(|failure| failure.to_string())
        };
        let refused = read("listen = \"127.0.0.1:8080\"", "127.0.0.1:8080").expect_err("both want it");
        for part in ["`listen` in ", "gateway.toml", "--listen 127.0.0.1:8080", "listen = \"127.0.0.1:8088\""]
        {
            assert!(refused.contains(part), "{part}: {refused}");
        }
        assert!(read("listen = \"0.0.0.0:8080\"", "127.0.0.1:8080").is_err());
        let admin = "listen = \"127.0.0.1:1\"\nadmin = \"127.0.0.1:8080\"";
        assert!(read(admin, "127.0.0.1:8080").expect_err("both want it").contains("`admin` in "));
        for (addresses, listen) in [
            ("listen = \"127.0.0.1:8088\"", "127.0.0.1:8080"),
            ("listen = \"127.0.0.1:0\"", "127.0.0.1:0"),
            ("listen = \"127.0.0.2:8080\"", "127.0.0.1:8080"),
        ] {
            assert_eq!(read(addresses, listen), Ok(()), "{addresses}");
        }
    }
}
