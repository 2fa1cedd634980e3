//! `banyan demo`: everything there is to try, with one command: a server with the sample shop, and a simulated company to pay at.

use super::{sandbox, up};
use crate::cli::{Cli, Command};
use crate::exit::Failure;
use clap::Parser;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// Start a server with a sample shop, and a simulated payment company to pay at.
///
/// Everything that `banyan up --shop-sample` and `banyan sandbox` do, in one process, to try things. What it makes is an
/// ordinary store: stop it, and start it again with either.
#[derive(clap::Args)]
pub(crate) struct DemoArgs {
    /// Where the store and the company's books are; created if it is not there
    #[arg(long, value_name = "DIR", default_value = "banyan-demo")]
    data: PathBuf,
    /// Where the server listens: a fixed port, because the company has to find it
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where the payment company listens: a fixed port, because the server has to find it
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9000")]
    company: SocketAddr,
}

/// Runs until SIGINT or SIGTERM.
pub(crate) fn run(args: DemoArgs) -> Result<ExitCode, Failure> {
    let DemoArgs { data, listen, company } = args;
    if listen.port() == 0 || company.port() == 0 {
        return Err(Failure::usage(
            "name fixed ports with --listen and --company: the two have to find each other",
        ));
    }
    let books = data.join("company");
    sandbox::make_keys(&books)?;
    let services = data.join("services.toml");
    let text = format!(
        "# Where the server finds the simulated payment company. Written by banyan demo.\n[service.company]\nkind = \"sandbox\"\n\
         url = \"http://{company}\"\nkey_file = \"company/company.key\"\nwebhook_secret_file = \"company/webhook.key\"\n"
    );
    let ours = |text: &str| text.contains("Written by banyan demo");
    if std::fs::read_to_string(&services).is_ok_and(|text| !ours(&text)) {
        let whose = services.display();
        return Err(Failure::usage(format!("{whose} is somebody else's; name another folder with --data")));
    }
    std::fs::write(&services, text)
        .map_err(|error| Failure::environment(format!("writing {}: {error}", services.display())))?;
    let webhook = format!("http://{listen}/v1/webhooks/company");
    let company = sandbox::SandboxArgs::at(books, company, webhook);
    // It stops at the same signal as the server; if it cannot start, nobody can pay, and the server says so of every order.
    std::thread::spawn(move || {
        if let Err(failure) = sandbox::run(company) {
            tracing::error!("the payment company: {failure}");
        }
    });
    println!(
        "A shop to try is at http://{listen}/shop: sign in as mina, joon or sora, and pay with the cards named on the card page."
    );
    let store = data.join("store").into_os_string();
    let listen = listen.to_string().into();
    let words = ["banyan", "up", "--shop-sample", "--data"].map(Into::into).into_iter();
    let words =
        words.chain([store, "--listen".into(), listen, "--services".into(), services.into_os_string()]);
    match Cli::parse_from(words).command {
        Some(Command::Up(args)) => up::run(args),
        _ => unreachable!("these words are those of `up`"),
    }
}
