//! The command line.

use crate::commands::{
    backup, campaign, demo, gateway, key, ledger, legacy, log, matching, saga, sandbox, shop, stock, up,
    verify, view,
};
use clap::{Parser, Subcommand};

/// Coupons that are issued when we say so.
///
/// Without a subcommand, `banyan` starts a server with its data in ./banyan-data on 127.0.0.1:8080.
#[derive(Parser)]
#[command(version, propagate_version = true, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    /// What to log: error, warn, info, debug, trace, or rules such as `warn,banyan_engine=debug`
    #[arg(long, global = true, env = "BANYAN_LOG", default_value = "info")]
    pub log: String,
    /// Log as JSON lines
    #[arg(long, global = true)]
    pub log_json: bool,
}

const AFTER_HELP: &str = "\
Exit codes: 0 done; 2 what was asked is wrong; 3 a check did not pass; 4 the system or the network stood in the way; \
70 the server stopped at once because an outcome became unknown (start it again).

Start: banyan up, then read http://127.0.0.1:8080/docs; or banyan demo, then buy at http://127.0.0.1:8080/shop";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Start a server
    Up(up::UpArgs),
    Demo(demo::DemoArgs),
    Gateway(gateway::GatewayArgs),
    /// Create, change and look at campaigns of a running server
    #[command(subcommand)]
    Campaign(campaign::CampaignCommand),
    /// Make, list and remove API keys; make shoppers' tokens for trying things
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Add the ledger's books up, print an account's statement
    #[command(subcommand)]
    Ledger(ledger::LedgerCommand),
    #[command(subcommand)]
    Legacy(legacy::LegacyCommand),
    /// Read the log: its events, its shape, its health
    #[command(subcommand)]
    Log(log::LogCommand),
    /// Check that the log kept every promise, with the acknowledged answers as witnesses
    Verify(verify::VerifyArgs),
    Match(matching::MatchArgs),
    /// Make a consistent copy of a store, while its server runs or not
    Backup(backup::BackupArgs),
    /// Make a store from a backup
    Restore(backup::RestoreArgs),
    /// Look at views, and build them anew from the log
    #[command(subcommand)]
    View(view::ViewCommand),
    /// Check, define, begin and steer sagas
    #[command(subcommand)]
    Saga(saga::SagaCommand),
    /// Run a simulated payment company
    Sandbox(sandbox::SandboxArgs),
    /// Run the storefront apart from the server, or load its sample goods
    Shop(shop::ShopArgs),
    /// Look at the stock of a running server, and count it
    #[command(subcommand)]
    Stock(stock::StockCommand),
    /// Print the API's OpenAPI document
    Openapi,
    /// Rehearse a sale: open-loop load from a scenario file, with a report
    Rehearse(banyan_rehearse::RehearseArgs),
}

/// Sends what the program says about itself to standard error.
pub(crate) fn start_tracing(cli: &Cli) {
    let filter = tracing_subscriber::EnvFilter::try_new(&cli.log)
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    if cli.log_json {
        builder.json().init();
    } else {
        builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init();
    }
}
