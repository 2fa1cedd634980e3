//! The serving process of the no-op and of the rivals, served by the loop that serves Banyan.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use banyan_api::ServeOptions;
use clap::{Args, ValueEnum};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::rivals::{cure, synchronous, transaction};
use crate::{Failure, checkout, failed, noop};

/// What the process is told by the run.
#[derive(Args)]
pub(crate) struct Options {
    /// Which server.
    kind: Kind,
    /// Where to listen; port 0 takes a free one. The address is printed.
    #[arg(long)]
    listen: SocketAddr,
    /// Worker threads of the HTTP server.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    #[command(flatten)]
    rival: Rival,
}

/// What the rivals need.
#[derive(Args, Clone)]
pub(crate) struct Rival {
    /// Postgres, as a connection string.
    #[arg(long, default_value = "")]
    pub(crate) postgres: String,
    /// Redis, as a URL.
    #[arg(long, default_value = "")]
    pub(crate) redis: String,
    /// RabbitMQ, as a URL.
    #[arg(long, default_value = "")]
    pub(crate) rabbitmq: String,
    /// The one hot campaign; for transaction the schema of its tables.
    #[arg(long, default_value = "hot")]
    pub(crate) campaign: String,
    /// The payment company (transaction); nobody is asked without it.
    #[arg(long)]
    pub(crate) company: Option<SocketAddr>,
    /// How long the payment company thinks about each request, in milliseconds (company).
    #[arg(long, default_value_t = 0)]
    pub(crate) company_millis: u64,
    /// How many coupons it has.
    #[arg(long, default_value_t = 1_000_000_000)]
    pub(crate) quantity: u64,
    /// Postgres connections of the HTTP server (synchronous).
    #[arg(long, default_value_t = 8)]
    pub(crate) connections: usize,
    /// Rows the campaign's counter is spread over (synchronous).
    #[arg(long, default_value_t = 1)]
    pub(crate) slots: usize,
    /// RabbitMQ queues, each with its worker (cure).
    #[arg(long, default_value_t = 2)]
    pub(crate) queues: usize,
    /// Publishing channels per queue (cure).
    #[arg(long, default_value_t = 2)]
    pub(crate) channels: usize,
    /// Kind of queue (cure).
    #[arg(long, default_value = "classic")]
    pub(crate) queue_type: String,
    /// Unacknowledged messages a worker may hold, and rows it writes at once (cure).
    #[arg(long, default_value_t = 1_000)]
    pub(crate) prefetch: u16,
}

/// The servers this program can be.
#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Noop,
    Synchronous,
    Cure,
    /// The payment company that answers at once.
    Company,
    Transaction,
}

/// Serves until the process is ended.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let mut builder = if options.threads == 1 {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    let runtime = builder.worker_threads(options.threads).enable_all().build();
    let runtime = runtime.map_err(|e| failed("starting the runtime", e))?;
    runtime.block_on(async {
        let router = match options.kind {
            Kind::Noop => noop::router(),
            Kind::Synchronous => synchronous::router(&options.rival).await?,
            Kind::Company => checkout::company_router(Duration::from_millis(options.rival.company_millis)),
            Kind::Transaction => transaction::router(&options.rival).await?,
            Kind::Cure => cure::router(&options.rival).await?,
        };
        let doing = || format!("listening on {}", options.listen);
        let listener = TcpListener::bind(options.listen).await.map_err(|e| failed(doing(), e))?;
        let address = listener.local_addr().map_err(|e| failed(doing(), e))?;
        let mut out = std::io::stdout();
        writeln!(out, "listening on {address}")
            .and_then(|()| out.flush())
            .map_err(|e| failed("printing", e))?;
        // Served until the process is ended: the sender lives as long as the loop.
        let (_never, stopping) = watch::channel(false);
        let served = banyan_api::serve(listener, router, None, stopping, ServeOptions::default()).await;
        served.map_err(|e| failed("serving", e))
    })
}
