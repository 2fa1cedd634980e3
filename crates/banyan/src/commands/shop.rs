//! `banyan shop`: the storefront apart from the server, and its sample goods.

use crate::client::{ServerArgs, read_key};
use crate::exit::Failure;
use crate::public::PublicUrl;
use axum::Router;
use banyan_api::ServeOptions;
use banyan_shop::{Api, ShopOptions, load_sample, load_sample_once};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Run the storefront as a process of its own, against a server of the API, or load its sample goods.
///
/// `banyan up` serves it at /shop already. Apart from it, the shop can be restarted, replaced and run several times: all that a
/// visitor has is in a signed cookie.
#[derive(clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Example:\n  banyan key create --role service --name shop > shop.key\n  \
                        banyan shop --api http://127.0.0.1:8080 --key-file shop.key --listen 127.0.0.1:8090"
)]
pub(crate) struct ShopArgs {
    #[command(subcommand)]
    command: Option<ShopCommand>,
    /// The API
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    api: String,
    /// File with a service key of the API; cookies are signed with a key that follows from it
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// How browsers reach the shop, if not by the host that they name: https://shop.example
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
}

#[derive(clap::Subcommand)]
enum ShopCommand {
    /// Put sample goods, terms, counted stock, campaigns and points of three members into a store
    LoadSample(ServerArgs),
}

/// Runs until SIGINT or SIGTERM, or loads the sample.
pub(crate) fn run(args: ShopArgs) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(Failure::environment)?;
    match args.command {
        Some(ShopCommand::LoadSample(server)) => runtime.block_on(load(&server))?,
        None => runtime.block_on(serve(args))?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn serve(args: ShopArgs) -> Result<(), Failure> {
    let Some(key_file) = args.key_file else {
        return Err(Failure::usage(
            "name a service key with --key-file; make one with: banyan key create --role service --name shop",
        ));
    };
    let key = read_key(Some(&key_file), &PathBuf::new())?;
    let options = ShopOptions { api: args.api, key, public_url: args.public_url };
    let router = banyan_shop::router(options).map_err(Failure::usage)?;
    let listener = TcpListener::bind(args.listen).await.map_err(|error| {
        Failure::environment(format!(
            "listening on {}: {error}. Choose another address with --listen",
            args.listen
        ))
    })?;
    let address = listener.local_addr().map_err(Failure::environment)?;
    // Whoever started us may have stopped listening; a shop that is running all the same is no reason to end.
    let _unread = writeln!(std::io::stdout(), "shop on http://{address}/shop");
    let (stop, stopping) = watch::channel(false);
    tokio::spawn(async move {
        super::up::told_to_stop().await;
        let _ended = stop.send(true);
    });
    let served = banyan_api::serve(listener, router, None, stopping, ServeOptions::default()).await;
    served.map_err(|error| Failure::environment(format!("serving on {address}: {error}")))
}

async fn load(server: &ServerArgs) -> Result<(), Failure> {
    let api = Api::new(&server.url, &server.read_key()?).map_err(Failure::usage)?;
    let loaded = load_sample(&api).await.map_err(|error| {
        Failure::environment(format!(
            "loading the sample: {error}. It needs an operator's key; doing it again goes on"
        ))
    })?;
    println!("Loaded: {loaded}. See {}/shop", server.url.trim_end_matches('/'));
    Ok(())
}

/// The shop beside the API that this process serves at `address`. It asks over the network like any other client, so that
/// nothing of it depends on being in the same process.
pub(crate) fn beside(
    address: SocketAddr,
    key: String,
    public: Option<&PublicUrl>,
) -> Result<Router, Failure> {
    let public_url = public.map(|public| public.as_str().to_owned());
    banyan_shop::router(ShopOptions { api: reach(address), key, public_url }).map_err(Failure::environment)
}

/// Loads the sample into the API that this process serves at `address`, if that sells nothing yet.
pub(crate) async fn load_beside(address: SocketAddr, key_file: PathBuf) {
    let key = match std::fs::read_to_string(&key_file) {
        Ok(key) => key,
        Err(error) => {
            return tracing::error!("loading the shop's sample: reading {}: {error}", key_file.display());
        }
    };
    let api = match Api::new(&reach(address), key.trim()) {
        Ok(api) => api,
        Err(error) => return tracing::error!("loading the shop's sample: {error}"),
    };
    match load_sample_once(&api).await {
        Ok(None) => {
            tracing::info!("the shop's sample is not loaded: this store has goods of its own already");
        }
        Ok(Some(loaded)) => tracing::info!("the shop's sample is loaded: {loaded}"),
        Err(error) => {
            tracing::error!("loading the shop's sample: {error}; try again with `banyan shop load-sample`");
        }
    }
}

/// The address at which this machine reaches what listens at `address`.
fn reach(address: SocketAddr) -> String {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_every_address_is_reached_on_this_machine() {
        for (listens, reached) in [
            ("0.0.0.0:8080", "http://127.0.0.1:8080"),
            ("[::]:8080", "http://127.0.0.1:8080"),
            ("[::1]:8080", "http://[::1]:8080"),
            ("10.0.0.7:80", "http://10.0.0.7:80"),
        ] {
            assert_eq!(reach(listens.parse().expect("an address")), reached);
        }
    }
}
