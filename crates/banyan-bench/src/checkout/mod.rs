//! The checkout benchmark: coupon, stock, points and a payment company over HTTP, against one Postgres transaction per order.
//!
//! An order is done when its buyer can see it paid. Banyan answers when everything of its own is held, asks the company
//! afterwards, and is looked at until the order is paid; the rival answers when everything is done. Both ask the same company twice
//! (authorize, capture): a process of ours that answers at once, or the simulated company with its own durable ledger.
//! The rival is measured without the company, too.

mod company;
mod load;
pub(crate) mod prepare;

pub(crate) use company::router as company_router;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use banyan_testkit::{Launch, Postgres, Process};
use clap::Args;

use self::load::{Load, Outcome, Pace};
use self::prepare::{Buyer, Shop};
use crate::measure::{Cpu, flush_us, median};
use crate::systems::postgres_options;
use crate::table::{self, Row};
use crate::{Failure, failed, machine};

/// Connections tried for each system before the rounds.
const CONNECTIONS: [usize; 4] = [16, 48, 96, 192];
/// Postgres connections tried for the rival: each is held for a whole transaction.
const POSTGRES_CONNECTIONS: [usize; 4] = [4, 8, 16, 32];
const OPEN_CONNECTIONS: usize = 256;
const WARM_UP: Duration = Duration::from_secs(1);
/// How long a process may take to listen.
const READY: Duration = Duration::from_secs(30);

/// What to run.
#[derive(Args)]
pub(crate) struct Options {
    /// Length of each measured run, in seconds
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// How often every system has its turn; figures are medians
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Buyers with a coupon each that are prepared for a turn: no order uses one twice, so this limits a run
    #[arg(long, default_value_t = 60_000)]
    buyers: usize,
    /// Products; an order takes two of them
    #[arg(long, default_value_t = 200)]
    products: usize,
    /// Connections of the client; found for each system before the rounds if not given
    #[arg(long)]
    connections: Option<usize>,
    /// Connections of the rival to Postgres; found before the rounds if not given
    #[arg(long)]
    postgres_connections: Option<usize>,
    /// Let the simulated company (`banyan sandbox`) answer instead of one that answers at once and keeps nothing
    #[arg(long)]
    sandbox: bool,
    /// How long the company that keeps nothing thinks about each request, in milliseconds: real ones take a few hundred
    #[arg(long, default_value_t = 0, conflicts_with = "sandbox")]
    company_millis: u64,
    /// Which systems, in which order
    #[arg(long, value_delimiter = ',', default_value = "banyan,transaction,transaction-alone")]
    systems: Vec<System>,
    /// Writes the figures here, too
    #[arg(long)]
    json: Option<PathBuf>,
    /// Where data is stored: a folder on a real disk. The default is the system's temporary folder
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Banyan's binary
    #[arg(long, default_value = "target/dist/banyan")]
    banyan: PathBuf,
    /// HTTP threads of the rival and of the company
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

/// One way to sell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum System {
    /// Banyan, with the company.
    Banyan,
    /// One Postgres transaction per order, which asks the company before it commits.
    Transaction,
    /// The same without asking any company.
    TransactionAlone,
}

impl System {
    const fn name(self) -> &'static str {
        match self {
            Self::Banyan => "banyan",
            Self::Transaction => "transaction",
            Self::TransactionAlone => "transaction, no company",
        }
    }

    const fn promise(self) -> &'static str {
        match self {
            Self::Banyan => {
                "every step fsynced in the log before and after the company is asked; record view behind it; a crash at any moment \
                 ends in paid or given back"
            }
            Self::Transaction => {
                "Postgres fsync=on synchronous_commit=on; a crash between the company's answer and the commit leaves money \
                 taken without an order"
            }
            Self::TransactionAlone => "the same, and nobody is paid",
        }
    }
}

/// A metric's name and unit.
type Metric = (&'static str, &'static str);
type Figures = BTreeMap<Metric, f64>;

/// All metrics, in the order they are printed.
const METRICS: [Metric; 13] = [
    ("orders paid, peak", "1/s"),
    ("banyan against this", "times"),
    ("p50 at peak", "ms"),
    ("p99 at peak", "ms"),
    ("half-peak rate", "1/s"),
    ("p50 at half of the peak", "ms"),
    ("p99 at half of the peak", "ms"),
    ("server CPU", "us/order"),
    ("Postgres CPU", "us/order"),
    ("company CPU", "us/order"),
    ("client CPU", "us/order"),
    ("connections", ""),
    ("disk flush before the turn", "us"),
];

/// Runs the benchmark and prints its table.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let dir = options.dir.clone().unwrap_or_else(std::env::temp_dir);
    std::fs::create_dir_all(&dir).map_err(|e| failed(format!("making {}", dir.display()), e))?;
    machine::refuse_memory(&dir)?;
    let needs_banyan = options.sandbox || options.systems.contains(&System::Banyan);
    if needs_banyan && !options.banyan.exists() {
        let text = "no such file; build it with `cargo build --profile dist -p banyan`";
        return Err(failed(options.banyan.display(), text));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| failed("starting the runtime", e))?;
    let is_rivalled = options.systems.iter().any(|system| *system != System::Banyan);
    let postgres = is_rivalled.then(|| Postgres::start(&postgres_options(&dir))).transpose()?;
    let bench = Bench { options, dir: &dir, postgres: postgres.as_ref() };
    let rows = runtime.block_on(bench.rounds())?;
    println!("{}; client and company on the same machine", machine::describe(&dir));
    println!(
        "{} rounds of {} s; an order: 2 of {} products, a coupon, 500 points, and money; {}",
        options.rounds,
        options.seconds,
        options.products,
        match options.company_millis {
            _ if options.sandbox => "the simulated company".to_owned(),
            0 => "a company that answers at once".to_owned(),
            millis => format!("a company that thinks for {millis} ms about each of two requests"),
        }
    );
    println!("{}", table::render(&rows));
    for system in &options.systems {
        println!("{}: {}", system.name(), system.promise());
    }
    match &options.json {
        Some(path) => table::write_json(path, &rows),
        None => Ok(()),
    }
}

struct Bench<'a> {
    options: &'a Options,
    dir: &'a Path,
    postgres: Option<&'a Postgres>,
}

/// One system's servers, fresh for one turn.
struct Turn {
    system: System,
    server: Process,
    company: Process,
    shop: Shop,
    postgres: Option<u32>,
    buyers: std::vec::IntoIter<Buyer>,
    paid: u64,
    _folder: tempfile::TempDir, // after the processes: they must be gone first
}

impl Bench<'_> {
    async fn rounds(&self) -> Result<Vec<Row>, Failure> {
        let mut best = BTreeMap::new();
        for system in &self.options.systems {
            let found = self.best(*system).await?;
            eprintln!("{}: {} connections, {} to Postgres suit it best", system.name(), found.0, found.1);
            best.insert(*system, found);
        }
        let mut figures: BTreeMap<System, Vec<Figures>> = BTreeMap::new();
        for round in 1..=self.options.rounds {
            for system in &self.options.systems {
                let (connections, to_postgres) = best[system];
                let found = self.turn(*system, &format!("{round}"), connections, to_postgres).await?;
                eprintln!("round {round}, {}: {:.0} orders/s", system.name(), found[&METRICS[0]]);
                figures.entry(*system).or_default().push(found);
            }
        }
        if let Some(ours) = figures.get(&System::Banyan).cloned() {
            for (_, rounds) in figures.iter_mut().filter(|(system, _)| **system != System::Banyan) {
                for (found, ours) in rounds.iter_mut().zip(&ours) {
                    found.insert(METRICS[1], ours[&METRICS[0]] / found[&METRICS[0]]);
                }
            }
        }
        Ok(self.rows(&figures))
    }

    fn rows(&self, figures: &BTreeMap<System, Vec<Figures>>) -> Vec<Row> {
        let mut rows = Vec::new();
        for metric in METRICS {
            for system in &self.options.systems {
                let values: Vec<f64> =
                    figures[system].iter().filter_map(|round| round.get(&metric)).copied().collect();
                if !values.is_empty() {
                    rows.push(Row {
                        bench: "checkout".into(),
                        system: system.name().into(),
                        metric: metric.0.into(),
                        value: median(&values),
                        unit: metric.1.into(),
                    });
                }
            }
        }
        rows
    }

    /// Connections of the client, and of the rival to Postgres, at which a system sells the most.
    async fn best(&self, system: System) -> Result<(usize, usize), Failure> {
        let of_client = self.options.connections.map_or(CONNECTIONS.to_vec(), |one| vec![one]);
        let to_postgres = match self.options.postgres_connections {
            _ if system == System::Banyan => vec![1],
            None => POSTGRES_CONNECTIONS.to_vec(),
            Some(one) => vec![one],
        };
        if let ([connections], [to_postgres]) = (&of_client[..], &to_postgres[..]) {
            return Ok((*connections, *to_postgres));
        }
        let mut best = (0.0, (of_client[0], to_postgres[0]));
        for to_postgres in &to_postgres {
            let mut turn = self.start(system, &format!("try-{to_postgres}"), *to_postgres).await?;
            turn.ask(CONNECTIONS[1], Pace::Closed, WARM_UP).await?;
            for connections in of_client.iter().copied() {
                let outcome = turn.ask(connections, Pace::Closed, WARM_UP).await?;
                if outcome.rate() > best.0 * 1.03 {
                    best = (outcome.rate(), (connections, *to_postgres));
                }
            }
        }
        Ok(best.1)
    }

    async fn turn(
        &self,
        system: System,
        name: &str,
        connections: usize,
        to_postgres: usize,
    ) -> Result<Figures, Failure> {
        let mut turn = self.start(system, name, to_postgres).await?;
        let flush = flush_us(self.dir).map_err(|e| failed("timing the disk", e))?;
        let duration = Duration::from_secs_f64(self.options.seconds);
        turn.ask(connections, Pace::Closed, WARM_UP).await?;
        let before = turn.cpu();
        let peak = turn.ask(connections, Pace::Closed, duration).await?;
        let cpu = turn.cpu().since(&before);
        let half = turn.ask(OPEN_CONNECTIONS, Pace::Open(peak.rate() / 2.0), duration).await?;
        turn.shop.check(turn.paid).await?;
        let per_order = |seconds: f64| seconds * 1e6 / peak.paid as f64;
        let mut found = Figures::from([
            (METRICS[0], peak.rate()),
            (METRICS[2], peak.latency_ms(0.5)),
            (METRICS[3], peak.latency_ms(0.99)),
            (METRICS[4], half.rate()),
            (METRICS[5], half.latency_ms(0.5)),
            (METRICS[6], half.latency_ms(0.99)),
            (METRICS[7], per_order(cpu.server)),
            (METRICS[10], per_order(cpu.client)),
            (METRICS[11], connections as f64),
            (METRICS[12], flush),
        ]);
        for (metric, name) in [(METRICS[8], "Postgres"), (METRICS[9], "company")] {
            if let Some(seconds) = cpu.databases.get(name) {
                found.insert(metric, per_order(*seconds));
            }
        }
        Ok(found)
    }

    async fn start(&self, system: System, name: &str, to_postgres: usize) -> Result<Turn, Failure> {
        let folder = tempfile::Builder::new().prefix("banyan-bench-").tempdir_in(self.dir);
        let folder = folder.map_err(|e| failed(format!("making a folder in {}", self.dir.display()), e))?;
        let (company, at) = self.start_company(folder.path())?;
        let options = self.options;
        let (server, shop, postgres) = if system == System::Banyan {
            let (server, shop) =
                prepare::banyan(&options.banyan, folder.path(), at, options.products).await?;
            (server, shop, None)
        } else {
            let postgres = self.postgres.ok_or("the rival has its Postgres")?;
            let schema = format!("{}_{name}", if system == System::Transaction { "paid" } else { "alone" });
            let schema = schema.replace('-', "_");
            let mut args =
                vec!["--postgres".to_owned(), postgres.socket_url(), "--campaign".to_owned(), schema.clone()];
            args.extend(["--connections".to_owned(), to_postgres.to_string()]);
            if system == System::Transaction {
                args.extend(["--company".to_owned(), at.to_string()]);
            }
            let shop = Shop::rival(&postgres.socket_url(), &schema, options.products, options.buyers).await?;
            let (server, address) = self.start_child("transaction", folder.path(), &args)?;
            (server, shop.at(address), Some(postgres.pid()))
        };
        let buyers = shop.buyers(options.buyers).await?.into_iter();
        Ok(Turn { system, server, company, shop, postgres, buyers, paid: 0, _folder: folder })
    }

    fn start_company(&self, folder: &Path) -> Result<(Process, SocketAddr), Failure> {
        let keys = folder.join("company");
        std::fs::create_dir_all(&keys).map_err(|e| failed("making a folder", e))?;
        std::fs::write(keys.join("company.key"), prepare::COMPANY_KEY)
            .map_err(|e| failed("writing a key", e))?;
        if !self.options.sandbox {
            let thinks = self.options.company_millis.to_string();
            return self.start_child("company", folder, &["--company-millis".to_owned(), thinks]);
        }
        let mut process = Launch::new("company", &self.options.banyan, folder.join("company.log"))
            .args(["sandbox", "--listen", "127.0.0.1:0", "--data"])
            .args([keys.display().to_string()])
            .start()?;
        let mut address = None;
        process.wait_ready(READY, |process| {
            let log = process.log_tail();
            address = log.split_whitespace().find_map(|word| word.strip_prefix("http://")?.parse().ok());
            Ok(address.is_some())
        })?;
        Ok((process, address.ok_or("a ready company has an address")?))
    }

    fn start_child(
        &self,
        kind: &str,
        folder: &Path,
        args: &[String],
    ) -> Result<(Process, SocketAddr), Failure> {
        let program = std::env::current_exe().map_err(|e| failed("finding this program", e))?;
        let mut process = Launch::new(kind, program, folder.join(format!("{kind}.log")))
            .args(["serve", kind, "--listen", "127.0.0.1:0"])
            .args(["--threads".to_owned(), self.options.threads.to_string()])
            .args(args.iter().cloned())
            .start()?;
        let mut address = None;
        process.wait_ready(READY, |process| {
            let log = process.log_tail();
            address = log.lines().find_map(|line| line.strip_prefix("listening on ")?.parse().ok());
            Ok(address.is_some())
        })?;
        Ok((process, address.ok_or("a ready server has an address")?))
    }
}

impl Turn {
    fn cpu(&self) -> Cpu {
        let mut others = BTreeMap::from([("company", self.company.pid())]);
        others.extend(self.postgres.map(|pid| ("Postgres", pid)));
        Cpu::now(self.server.pid(), &others)
    }

    async fn ask(&mut self, connections: usize, pace: Pace, duration: Duration) -> Result<Outcome, Failure> {
        let load = Load {
            address: self.shop.address,
            key: self.shop.key.clone(),
            connections,
            pace,
            duration,
            products: self.shop.products,
        };
        let outcome = load::run(load, &mut self.buyers).await?;
        if let Some((what, count)) = outcome.refused.first_key_value() {
            return Err(failed(
                self.system.name(),
                format!("{count} orders ended otherwise, such as with: {what}"),
            ));
        }
        if outcome.is_sold_out {
            return Err(failed(self.system.name(), "more buyers are needed for this rate: raise --buyers"));
        }
        self.paid += outcome.paid;
        Ok(outcome)
    }
}
