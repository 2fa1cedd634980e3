//! The coupon benchmark: one hot campaign over HTTP, every system in turn, round after round.
//!
//! In each round each system gets a fresh server and a fresh campaign, a short warm-up, a closed-loop run for its peak
//! rate, an open-loop run at half of its peak for latency, and (Banyan only) a run of batches. After each run the
//! answers are counted against what is stored; a difference stops the benchmark. Each system is asked over as many
//! connections as suit it best, found once before the rounds.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::load::{self, Load, Outcome, Pace};
use crate::measure::{Cpu, flush_us, median};
use crate::systems::{Databases, Running, Setup, System};
use crate::table::{self, Row};
use crate::{Failure, failed, machine};

/// Connections tried for each system before the rounds.
const CONNECTIONS: [usize; 6] = [16, 48, 96, 192, 384, 1024];
/// Postgres connections tried for the one hot row: one keeps the row's lock from being fought over, more let a
/// statement be read while another commits. Which wins depends on the disk.
const HOT_CONNECTIONS: [usize; 4] = [1, 2, 4, 8];
/// Connections of an open-loop run, and of a run of batches.
const OPEN_CONNECTIONS: usize = 256;
const BATCH_CONNECTIONS: usize = 4;
/// Coupons in one batch request.
const BATCH: usize = 1_000;
const WARM_UP: Duration = Duration::from_secs(1);
/// Above these, figures of one run cannot be compared with each other.
const OTHERS_MAX_PERCENT: f64 = 15.0;
const FLUSH_SPREAD_MAX: f64 = 3.0;
/// How often Banyan's lag is read during a run.
const LAG_EVERY: Duration = Duration::from_millis(200);

/// What to run.
#[derive(Args)]
pub(crate) struct Options {
    /// Length of each measured run, in seconds.
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    seconds: f64,
    /// How often every system has its turn; figures are medians.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Writes the figures here, too.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Which systems, in which order.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "noop,banyan,synchronous,synchronous-spread,cure,cure-always"
    )]
    systems: Vec<System>,
    /// Where data is stored: a folder on a real disk. The default is the system's temporary folder.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Banyan's binary.
    #[arg(long, default_value = "target/dist/banyan")]
    banyan: PathBuf,
    /// HTTP threads of the no-op and of the rivals.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Postgres connections of the synchronous way on one hot row; found before the rounds if not given.
    #[arg(long)]
    hot_connections: Option<usize>,
    /// Postgres connections, and counter rows, of the synchronous way with a spread counter.
    #[arg(long, default_value_t = 32)]
    spread_connections: usize,
    /// An argument for the cure's server, such as `--cure-arg=--queues=4`; may be given again.
    #[arg(long)]
    cure_arg: Vec<String>,
}

/// Runs the benchmark and prints its table.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let dir = options.dir.clone().unwrap_or_else(std::env::temp_dir);
    std::fs::create_dir_all(&dir).map_err(|e| failed(format!("making {}", dir.display()), e))?;
    machine::refuse_memory(&dir)?;
    if options.systems.contains(&System::Banyan) && !options.banyan.exists() {
        let text = "no such file; build it with `cargo build --profile dist -p banyan` or leave it out with --systems";
        return Err(failed(options.banyan.display(), text));
    }
    let machine = machine::describe(&dir);
    let mut setup = Setup {
        dir,
        banyan: options.banyan.clone(),
        threads: options.threads,
        hot_connections: options.hot_connections.unwrap_or(HOT_CONNECTIONS[0]),
        spread_connections: options.spread_connections,
        cure_args: options.cure_arg.clone(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| failed("starting the runtime", e))?;
    let databases = Databases::start(&options.systems, &setup.dir)?;
    if options.systems.contains(&System::Synchronous) && options.hot_connections.is_none() {
        setup.hot_connections = runtime.block_on(best_hot_connections(&setup, &databases))?;
        eprintln!("synchronous: {} Postgres connections suit it best", setup.hot_connections);
    }
    let figures = runtime.block_on(run_rounds(options, &setup, &databases))?;

    let rows = rows(&options.systems, &figures);
    println!("{machine}; client on the same machine; {} rounds of {} s", options.rounds, options.seconds);
    println!("{}", table::render(&rows));
    for system in &options.systems {
        println!("{}: {}", system.name(), system.durability());
    }
    if let Some(warning) = warning(&figures) {
        println!("{warning}");
    }
    match &options.json {
        Some(path) => table::write_json(path, &rows),
        None => Ok(()),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    if (0.1..=3_600.0).contains(&value) { Ok(value) } else { Err("between 0.1 and 3600".to_owned()) }
}

/// A metric's name and unit.
type Metric = (&'static str, &'static str);
/// The figures of one system, one entry per round.
type Figures = Vec<BTreeMap<Metric, f64>>;

/// All metrics, in the order they are printed.
const METRICS: [Metric; 22] = [
    ("peak rate", "1/s"),
    ("peak rate, noop = 1", ""),
    ("sustained rate, until stored", "1/s"),
    ("sustained rate, noop = 1", ""),
    ("server CPU", "us/coupon"),
    ("server CPU, noop = 1", ""),
    ("Postgres CPU", "us/coupon"),
    ("Redis CPU", "us/coupon"),
    ("RabbitMQ CPU", "us/coupon"),
    ("server and databases CPU", "us/coupon"),
    ("server and databases CPU, noop = 1", ""),
    ("client CPU", "us/coupon"),
    ("connections", ""),
    ("peak p99", "ms"),
    ("half-peak rate", "1/s"),
    ("half-peak p50", "ms"),
    ("half-peak p99", "ms"),
    ("half-peak max", "ms"),
    ("view lag p99 at peak", "s"),
    ("batches of 1,000", "coupons/s"),
    ("disk flush before the turn", "us"),
    ("CPU others took at peak", "%"),
];

async fn run_rounds(
    options: &Options,
    setup: &Setup,
    databases: &Databases,
) -> Result<BTreeMap<System, Figures>, Failure> {
    let mut connections = BTreeMap::new();
    for system in &options.systems {
        let running = Running::start(*system, setup, databases, format!("{}-0", system.name())).await?;
        let best = best_connections(&running, Duration::from_secs_f64(options.seconds.min(1.0))).await?;
        eprintln!("{}: {best} connections suit it best", system.name());
        connections.insert(*system, best);
    }
    let mut figures: BTreeMap<System, Figures> = BTreeMap::new();
    for round in 1..=options.rounds {
        for system in &options.systems {
            let running =
                Running::start(*system, setup, databases, format!("{}-{round}", system.name())).await?;
            let flush = flush_us(&setup.dir).map_err(|e| failed("timing the disk", e))?;
            let mut turn = Turn { running: &running, next_member: 0, issued: 0 };
            let mut found =
                turn.measure(connections[system], Duration::from_secs_f64(options.seconds)).await?;
            found.insert(("disk flush before the turn", "us"), flush);
            eprintln!("round {round}, {}: {:.0} coupons/s", system.name(), found[&METRICS[0]]);
            figures.entry(*system).or_default().push(found);
        }
    }
    if let Some(noop) = figures.get(&System::Noop).cloned() {
        figures.values_mut().for_each(|rounds| compare(rounds, &noop));
    }
    Ok(figures)
}

async fn best_hot_connections(setup: &Setup, databases: &Databases) -> Result<usize, Failure> {
    let mut best = (0.0, HOT_CONNECTIONS[0]);
    for hot_connections in HOT_CONNECTIONS {
        let setup = Setup { hot_connections, ..setup.clone() };
        let campaign = format!("hot-{hot_connections}");
        let running = Running::start(System::Synchronous, &setup, databases, campaign).await?;
        let mut turn = Turn { running: &running, next_member: 0, issued: 0 };
        let rate = turn.ask(CONNECTIONS[1], Pace::Closed, WARM_UP, 1).await?.rate();
        if rate > best.0 {
            best = (rate, hot_connections);
        }
    }
    Ok(best.1)
}

async fn best_connections(running: &Running, duration: Duration) -> Result<usize, Failure> {
    let mut turn = Turn { running, next_member: 0, issued: 0 };
    turn.ask(CONNECTIONS[1], Pace::Closed, duration, 1).await?;
    let mut best = (0.0, CONNECTIONS[0]);
    for connections in CONNECTIONS {
        let outcome = turn.ask(connections, Pace::Closed, duration, 1).await?;
        turn.running.settle(turn.issued).await?;
        // A little more is not worth many more connections.
        if outcome.rate() > best.0 * 1.03 {
            best = (outcome.rate(), connections);
        }
    }
    Ok(best.1)
}

/// One system's turn in one round.
struct Turn<'a> {
    running: &'a Running,
    next_member: u64,
    issued: u64,
}

impl Turn<'_> {
    async fn measure(
        &mut self,
        connections: usize,
        duration: Duration,
    ) -> Result<BTreeMap<Metric, f64>, Failure> {
        self.ask(connections, Pace::Closed, WARM_UP.min(duration), 1).await?;
        self.running.settle(self.issued).await?;

        let mut found = BTreeMap::new();
        let before = self.cpu();
        let (peak, lags) = self.ask_and_watch(connections, duration).await?;
        let settled = self.running.settle(self.issued).await?;
        let cpu = self.cpu().since(&before);
        let per_coupon = |seconds: f64| seconds * 1e6 / peak.issued as f64;
        found.insert(("peak rate", "1/s"), peak.rate());
        let sustained = peak.issued as f64 / (peak.elapsed + settled).as_secs_f64();
        found.insert(("sustained rate, until stored", "1/s"), sustained);
        found.insert(("server CPU", "us/coupon"), per_coupon(cpu.server));
        for (database, seconds) in &cpu.databases {
            found.insert((database, "us/coupon"), per_coupon(*seconds));
        }
        let all = cpu.server + cpu.databases.values().sum::<f64>();
        found.insert(("server and databases CPU", "us/coupon"), per_coupon(all));
        found.insert(("client CPU", "us/coupon"), per_coupon(cpu.client));
        found.insert(("connections", ""), connections as f64);
        found.insert(("CPU others took at peak", "%"), cpu.others_percent());
        found.insert(("peak p99", "ms"), peak.latency_ms(0.99));
        if !lags.is_empty() {
            found.insert(("view lag p99 at peak", "s"), quantile(lags, 0.99));
        }

        // Half of what is sustained, so that no queue grows.
        let rate = sustained / 2.0;
        let half = self.ask(OPEN_CONNECTIONS, Pace::Open(rate), duration, 1).await?;
        self.running.settle(self.issued).await?;
        found.insert(("half-peak rate", "1/s"), half.rate());
        found.insert(("half-peak p50", "ms"), half.latency_ms(0.5));
        found.insert(("half-peak p99", "ms"), half.latency_ms(0.99));
        found.insert(("half-peak max", "ms"), half.latency_ms(1.0));

        if self.running.system == System::Banyan {
            let batches = self.ask(BATCH_CONNECTIONS, Pace::Closed, duration, BATCH).await?;
            self.running.settle(self.issued).await?;
            found.insert(("batches of 1,000", "coupons/s"), batches.rate());
        }
        Ok(found)
    }

    fn cpu(&self) -> Cpu {
        Cpu::now(self.running.pid(), &self.running.databases)
    }

    /// A closed-loop run, with Banyan's lag in seconds read beside it.
    async fn ask_and_watch(
        &mut self,
        connections: usize,
        duration: Duration,
    ) -> Result<(Outcome, Vec<f64>), Failure> {
        let running = self.running;
        let mut lags = Vec::new();
        let watch = async {
            while let Some(lag) = running.lag().await {
                lags.push(lag?.seconds);
                tokio::time::sleep(LAG_EVERY).await;
            }
            std::future::pending::<Result<(), Failure>>().await
        };
        let outcome = tokio::select! {
            outcome = self.ask(connections, Pace::Closed, duration, 1) => outcome?,
            watched = watch => return Err(watched.err().unwrap_or_else(|| "the watch ended".into())),
        };
        Ok((outcome, lags))
    }

    async fn ask(
        &mut self,
        connections: usize,
        pace: Pace,
        duration: Duration,
        batch: usize,
    ) -> Result<Outcome, Failure> {
        let load = Load {
            address: self.running.address,
            campaign: self.running.campaign.clone(),
            key: self.running.key.clone(),
            connections,
            pace,
            duration,
            batch,
            first_member: self.next_member,
        };
        let outcome = load::run(&load).await?;
        if let Some((status, count)) = outcome.refused.first_key_value() {
            let text = format!("{count} answers had status {status}, of {}", outcome.latency.len());
            return Err(failed(self.running.system.name(), text));
        }
        let asked = outcome.answered * batch as u64;
        if outcome.issued != asked {
            let text = format!("{} coupons issued of {asked} asked for", outcome.issued);
            return Err(failed(self.running.system.name(), text));
        }
        self.next_member = outcome.next_member;
        self.issued += outcome.issued;
        Ok(outcome)
    }
}

/// Adds ratios to the no-op of the same round.
fn compare(rounds: &mut Figures, noop: &Figures) {
    let pairs: [(Metric, Metric); 4] = [
        (("peak rate", "1/s"), ("peak rate, noop = 1", "")),
        (("sustained rate, until stored", "1/s"), ("sustained rate, noop = 1", "")),
        (("server CPU", "us/coupon"), ("server CPU, noop = 1", "")),
        (("server and databases CPU", "us/coupon"), ("server and databases CPU, noop = 1", "")),
    ];
    for (found, noop) in rounds.iter_mut().zip(noop) {
        for (metric, ratio) in pairs {
            if let (Some(value), Some(base)) = (found.get(&metric).copied(), noop.get(&metric)) {
                found.insert(ratio, value / base);
            }
        }
    }
}

fn rows(systems: &[System], figures: &BTreeMap<System, Figures>) -> Vec<Row> {
    let mut rows = Vec::new();
    for metric in METRICS {
        for system in systems {
            let values: Vec<f64> =
                figures[system].iter().filter_map(|round| round.get(&metric)).copied().collect();
            if !values.is_empty() {
                rows.push(Row {
                    bench: "coupon".to_owned(),
                    system: system.name(),
                    metric: metric.0.to_owned(),
                    value: median(&values),
                    unit: metric.1.to_owned(),
                });
            }
        }
    }
    rows
}

/// Says so when the machine was not quiet enough for its figures to be compared.
fn warning(figures: &BTreeMap<System, Figures>) -> Option<String> {
    let all =
        |metric: Metric| figures.values().flatten().filter_map(move |found| found.get(&metric).copied());
    let others = all(("CPU others took at peak", "%")).fold(0.0, f64::max);
    let flush = ("disk flush before the turn", "us");
    let (fastest, slowest) = (all(flush).fold(f64::INFINITY, f64::min), all(flush).fold(0.0, f64::max));
    let is_noisy = others > OTHERS_MAX_PERCENT || slowest > fastest * FLUSH_SPREAD_MAX;
    is_noisy.then(|| {
        format!(
            "WARNING: not a quiet machine: others took up to {others:.0} % of the CPU, and a disk flush took from \
             {fastest:.0} to {slowest:.0} us. Do not quote these figures."
        )
    })
}

fn quantile(mut values: Vec<f64>, quantile: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    // Rounded up: with few samples the p99 is the worst one.
    values.get((last as f64 * quantile).ceil() as usize).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(others: f64, flush: f64) -> BTreeMap<Metric, f64> {
        BTreeMap::from([
            (("CPU others took at peak", "%"), others),
            (("disk flush before the turn", "us"), flush),
        ])
    }

    #[test]
    fn a_machine_that_was_not_quiet_is_named() {
        let figures = |a, b| BTreeMap::from([(System::Noop, vec![a]), (System::Cure, vec![b])]);
        assert_eq!(warning(&figures(turn(3.0, 110.0), turn(5.0, 140.0))), None);
        let busy = warning(&figures(turn(3.0, 110.0), turn(50.0, 140.0))).expect("a warning");
        assert!(busy.contains("50 %"), "{busy}");
        let disk = warning(&figures(turn(3.0, 110.0), turn(5.0, 8_000.0))).expect("a warning");
        assert!(disk.contains("110 to 8000 us"), "{disk}");
    }

    #[test]
    fn ratios_are_to_the_noop_of_the_same_round() {
        let round = |rate| BTreeMap::from([(("peak rate", "1/s"), rate)]);
        let noop = vec![round(100.0), round(200.0)];
        let mut rounds = vec![round(50.0), round(50.0)];
        compare(&mut rounds, &noop);
        let ratios: Vec<_> = rounds.iter().map(|found| found[&("peak rate, noop = 1", "")]).collect();
        assert_eq!(ratios, [0.5, 0.25]);
    }

    #[test]
    fn with_few_samples_the_p99_is_the_worst() {
        assert_eq!(quantile(vec![3.0, 1.0, 2.0], 0.99), 3.0);
        assert!(quantile(Vec::new(), 0.99).is_nan());
    }
}
