//! banyan-bench: Banyan against the ways teams build the same thing themselves, side by side in one run.
//!
//! What it deliberately is not: a test (nothing here decides right or wrong, except that every answer given is looked
//! for in the database afterwards), and a statement about other machines: only ratios within one run mean much.
//!
//! Where to start reading: [`coupon`], the run; [`systems`], what is compared; `rivals/`, the other ways, each as well
//! tuned as we know; [`load`], the client; [`table`], what is printed. [`gateway`] is the same for proxies.

mod answer;
mod banyan;
mod batches;
mod checkout;
mod control;
mod coupon;
mod engine;
mod gateway;
mod ledger;
mod load;
mod log;
mod machine;
mod measure;
mod noop;
mod pace;
mod replay;
mod rivals;
mod serve;
mod stock;
#[cfg(feature = "legacy")]
mod sync;
mod systems;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Why a run stopped: what was being done, and the cause.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser)]
#[command(name = "banyan-bench", about = "Banyan against the ways teams build it themselves")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Coupons of one hot campaign over HTTP: a no-op, Banyan, one Postgres transaction each, Redis + RabbitMQ.
    Coupon(coupon::Options),
    /// Whole checkouts over HTTP: Banyan against one Postgres transaction per order.
    Checkout(checkout::Options),
    /// The gateway against nginx and HAProxy as plain proxies, what it adds to latency, and what shadowing costs.
    Gateway(gateway::Options),
    /// Both ways of keeping an old database in step: lag at a fixed rate, and what either way can take at most.
    #[cfg(feature = "legacy")]
    Sync(sync::Options),
    /// The engine without HTTP: coupons decided and made durable in large batches, and memory for each.
    Engine(engine::Options),
    /// The ledger in the engine without HTTP: transfers made durable in large batches.
    Ledger(batches::Options),
    /// Stock in the engine without HTTP: reservations made durable in large batches.
    Stock(batches::Options),
    /// Start-up: a log of many events replayed, and opened again with a snapshot.
    Replay(replay::Options),
    /// The log alone, against appending to a plain file and against SQLite.
    Log(log::Options),
    /// One of the compared servers, as its own process (started by the run itself).
    #[command(hide = true)]
    Serve(serve::Options),
    /// The upstream of the gateway benchmark (started by the run itself).
    #[command(hide = true)]
    ServeOrigin(gateway::OriginOptions),
    /// The gateway alone (started by the run itself).
    #[command(hide = true)]
    ServeGateway(gateway::GatewayOptions),
}

/// The allocator of the `banyan` binary, so that every compared server has the same one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Coupon(options) => coupon::run(&options),
        Command::Checkout(options) => checkout::run(&options),
        Command::Gateway(options) => gateway::run(&options),
        #[cfg(feature = "legacy")]
        Command::Sync(options) => sync::run(&options),
        Command::Engine(options) => engine::run(&options),
        Command::Ledger(options) => ledger::run(&options),
        Command::Stock(options) => stock::run(&options),
        Command::Replay(options) => replay::run(&options),
        Command::Log(options) => log::run(&options),
        Command::Serve(options) => serve::run(&options),
        Command::ServeOrigin(options) => gateway::serve_origin(&options),
        Command::ServeGateway(options) => gateway::serve_gateway(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("banyan-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Says what was being done when `error` came up.
pub(crate) fn failed(doing: impl std::fmt::Display, error: impl std::fmt::Display) -> Failure {
    format!("{doing}: {error}").into()
}
