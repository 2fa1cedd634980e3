//! The command line.

use crate::commands::{
    backup, campaign, demo, gateway, key, ledger, legacy, log, matching, saga, sandbox, shop, stock, up,
    verify, view,
};
use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

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
    let filter = filter(&cli.log);
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    if cli.log_json {
        builder.json().init();
    } else {
        builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init();
    }
}

/// The library of the old database's stream, which logs an error whenever a connection ends. Each of these comes to us as well: we
/// warn of the first, go on, and say what it was; what is worse than that is an error of ours.
const SAID_BY_US: &str = "pgwire_replication";

/// What is logged. A library whose errors we say ourselves is heard only if the rules name it.
fn filter(rules: &str) -> EnvFilter {
    let filter = EnvFilter::try_new(rules).unwrap_or_else(|_| EnvFilter::new("info"));
    match rules.contains(SAID_BY_US) {
        true => filter,
        false => filter.add_directive(format!("{SAID_BY_US}=off").parse().expect("a target and a level")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;
    use tracing::subscriber::with_default;

    #[test]
    fn the_streams_library_says_nothing_unless_it_is_asked_for_and_everybody_else_is_heard() {
        let hears = |rules: &str| {
            let subscriber =
                tracing_subscriber::fmt().with_env_filter(filter(rules)).with_writer(std::io::sink).finish();
            with_default(subscriber, || {
                let library =
                    tracing::enabled!(target: "pgwire_replication::client::tokio_client", Level::ERROR);
                (library, tracing::enabled!(target: "banyan_legacy::inward", Level::WARN))
            })
        };
        for (rules, heard) in [
            ("info", (false, true)),
            ("debug", (false, true)),
            ("error,banyan_legacy=debug", (false, true)),
            ("info,pgwire_replication=debug", (true, true)),
            ("no rules at all ==", (false, true)),
            ("error", (false, false)),
        ] {
            assert_eq!(hears(rules), heard, "{rules}");
        }
    }
}
