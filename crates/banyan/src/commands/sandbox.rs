//! `banyan sandbox`: the simulated payment company, a process of its own.

use crate::exit::Failure;
use banyan_sandbox::{SandboxOptions, Webhook, serve};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Run a simulated payment company.
///
/// Not a real one: it moves no money. It has a ledger of its own, a card page, signed webhooks, daily statements, and faults that
/// can be switched on to see what a shop does then: declines, silence before and after acting, doubled, late and unordered
/// webhooks, minutes of being down.
#[derive(clap::Args)]
#[command(
    after_help = "Test cards are named on the card page. Faults: PUT /admin/faults with DIR/admin.key.\n\
                        Example: banyan sandbox --data sandbox-data --listen 127.0.0.1:9000"
)]
pub(crate) struct SandboxArgs {
    /// Where its ledger and keys are; created if it is not there
    #[arg(long, value_name = "DIR", default_value = "sandbox-data")]
    data: PathBuf,
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
    /// Who is told of events, an http address
    #[arg(long, value_name = "URL")]
    webhook: Option<String>,
    /// How customers reach the card page, if not at the address it listens on
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Makes payment ids and faults the same in every run on an empty ledger
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

impl SandboxArgs {
    /// A company at `listen` with its books in `data`, which tells `webhook`.
    pub(crate) const fn at(data: PathBuf, listen: SocketAddr, webhook: String) -> Self {
        Self { data, listen, webhook: Some(webhook), public_url: None, seed: None }
    }
}

/// Makes the keys of a company in `data`, as far as they are not there, so that its shop can be told of them first.
pub(crate) fn make_keys(data: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(data)
        .map_err(|error| Failure::environment(format!("creating {}: {error}", data.display())))?;
    ["company.key", "admin.key", "webhook.key"].iter().try_for_each(|name| key_in(&data.join(name)).map(drop))
}

/// Runs until SIGINT or SIGTERM.
pub(crate) fn run(args: SandboxArgs) -> Result<ExitCode, Failure> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::environment)?;
    runtime.block_on(run_company(args))?;
    Ok(ExitCode::SUCCESS)
}

async fn run_company(args: SandboxArgs) -> Result<(), Failure> {
    make_keys(&args.data)?;
    let key = |name: &str| key_in(&args.data.join(name));
    let mut options = SandboxOptions::new(args.data.clone(), &key("company.key")?, &key("admin.key")?);
    if let Some(url) = args.webhook {
        options.webhook = Some(Webhook { url, secret: key("webhook.key")? });
    }
    options.public_url = args.public_url;
    options.seed = args.seed;
    let listener = TcpListener::bind(args.listen).await.map_err(|error| {
        Failure::environment(format!(
            "listening on {}: {error}. Choose another address with --listen",
            args.listen
        ))
    })?;
    let address = listener.local_addr().map_err(Failure::environment)?;
    // Whoever started us may have stopped listening; a company that is running all the same is no reason to end.
    let _unread = writeln!(
        std::io::stdout(),
        "sandbox payment company (simulated) on http://{address}\nkeys of the shop and of the operator in {}",
        args.data.display()
    );
    let (stop, stopping) = watch::channel(false);
    tokio::spawn(async move {
        super::up::told_to_stop().await;
        let _ended = stop.send(true);
    });
    serve(listener, options, stopping).await.map_err(Failure::environment)
}

/// The key in the file, which is made on the first start, for its owner's eyes only.
fn key_in(path: &Path) -> Result<String, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Ok(_) => {
            return Err(Failure::usage(format!(
                "{} is empty; remove it to have a new key made",
                path.display()
            )));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(Failure::environment(format!("reading {}: {error}", path.display()))),
    }
    let mut random = [0; 24];
    getrandom::fill(&mut random).map_err(|error| Failure::environment(format!("making a key: {error}")))?;
    let key: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    crate::keys::write_private(path, key.as_bytes())
        .map_err(|error| Failure::environment(format!("writing {}: {error}", path.display())))?;
    Ok(key)
}
