//! The gateway benchmark: our gateway against nginx and HAProxy, all in front of the same upstream, and what shadowing costs.
//!
//! All run all the time and are asked in turn, round after round: a closed loop of small answers and one of large ones for the
//! peak, and two open loops at fixed rates for what each adds to the latency of the upstream alone. Every answer is compared
//! byte by byte with what the upstream sends; every request that was offered for copying must be compared or counted as skipped.

mod copies;
mod load;
mod origin;
mod systems;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

pub(crate) use self::origin::{Options as OriginOptions, run as serve_origin};
pub(crate) use self::systems::{Options as GatewayOptions, serve as serve_gateway};

use self::copies::Copies;
use self::load::{Load, Outcome};
use self::systems::{Cores, Running, Server, System, pin};
use crate::load::Pace;
use crate::measure::{Cpu, median};
use crate::table::{self, Row};
use crate::{Failure, engine, failed, machine};

/// Before each closed loop.
const WARM_UP: Duration = Duration::from_millis(300);
/// Above this, figures of one run cannot be compared with each other.
const OTHERS_MAX_PERCENT: f64 = 15.0;

/// What to run.
#[derive(Args)]
#[command(
    after_help = "Systems take turns in one run, so that a slow minute of the machine is shared by all; figures are medians \
    over the rounds. Read a proxy's processor time per request first: it depends least on what else the machine does. With \
    --cores split the proxy has a core for itself, and its peak is what one core can do; with --cores shared client, proxy and \
    upstream fight for all cores. Every answer is compared with the upstream's, and every copy accounted for, or the run fails."
)]
pub(crate) struct Options {
    /// Length of each measured run, in seconds
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    seconds: f64,
    /// How often every system has its turn; figures are medians
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Which systems, in which order; `direct` is what latencies are compared with
    #[arg(long, value_delimiter = ',', default_value = "direct,banyan,nginx,haproxy,shadow,canary")]
    systems: Vec<System>,
    /// Keep-alive connections of the client
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=250))]
    connections: u16,
    /// Requests a second of the open loop at a fixed rate; the other one has half of the slowest plain proxy's peak
    #[arg(long, default_value_t = 5_000.0)]
    rate: f64,
    /// Which cores the processes may use
    #[arg(long, value_enum, default_value_t = Cores::Split)]
    cores: Cores,
    /// Writes the figures here, too
    #[arg(long)]
    json: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    if (0.1..=3_600.0).contains(&value) { Ok(value) } else { Err("between 0.1 and 3600".to_owned()) }
}

/// A metric's name and unit.
type Metric = (&'static str, &'static str);
/// One system's figures of one round.
type Figures = BTreeMap<Metric, f64>;

const PEAK: [Metric; 16] = [
    ("small answers (200 B)", "1/s"),
    ("small answers, nginx = 1", ""),
    ("small: proxy CPU", "us/request"),
    ("small: upstream CPU", "us/request"),
    ("small: second server CPU", "us/request"),
    ("small: client CPU", "us/request"),
    ("small: p50 at peak", "ms"),
    ("small: p99 at peak", "ms"),
    ("small: compared", "%"),
    ("small: CPU others took", "%"),
    ("large answers (64 KiB)", "1/s"),
    ("large answers, nginx = 1", ""),
    ("large answers", "MB/s"),
    ("large: proxy CPU", "us/request"),
    ("large: p50 at peak", "ms"),
    ("large: p99 at peak", "ms"),
];

/// What is measured in an open loop.
struct Open {
    rate: Metric,
    /// A quantile, its latency, and what of it a proxy added.
    quantiles: [(f64, Metric, Metric); 3],
    cpu: Metric,
    compared: Metric,
}

const FIXED: Open = Open {
    rate: ("fixed rate", "1/s"),
    quantiles: [
        (0.5, ("fixed rate: p50", "ms"), ("fixed rate: added p50", "ms")),
        (0.99, ("fixed rate: p99", "ms"), ("fixed rate: added p99", "ms")),
        (0.999, ("fixed rate: p99.9", "ms"), ("fixed rate: added p99.9", "ms")),
    ],
    cpu: ("fixed rate: proxy CPU", "us/request"),
    compared: ("fixed rate: compared", "%"),
};
const HALF: Open = Open {
    rate: ("half rate", "1/s"),
    quantiles: [
        (0.5, ("half rate: p50", "ms"), ("half rate: added p50", "ms")),
        (0.99, ("half rate: p99", "ms"), ("half rate: added p99", "ms")),
        (0.999, ("half rate: p99.9", "ms"), ("half rate: added p99.9", "ms")),
    ],
    cpu: ("half rate: proxy CPU", "us/request"),
    compared: ("half rate: compared", "%"),
};

/// All metrics, in the order they are printed.
fn metrics() -> Vec<Metric> {
    let open = |open: &Open| {
        let latencies = open.quantiles.map(|(_, latency, _)| latency);
        let added = open.quantiles.map(|(_, _, added)| added);
        [&[open.rate][..], &latencies, &added, &[open.cpu, open.compared]].concat()
    };
    [PEAK.to_vec(), open(&FIXED), open(&HALF)].concat()
}

/// Runs the benchmark and prints its table.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    if options.cores == Cores::Split
        && std::thread::available_parallelism().is_ok_and(|cores| cores.get() < 2)
    {
        return Err("--cores split needs two cores; take --cores shared".into());
    }
    let folder = tempfile::Builder::new().prefix("banyan-bench-").tempdir();
    let folder = folder.map_err(|e| failed("making a folder", e))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| failed("starting the runtime", e))?;
    let mut bench = Bench::start(options, folder.path())?;
    let figures = runtime.block_on(bench.rounds())?;
    let rows = rows(&options.systems, &figures);
    println!("{}; client and upstream on the same machine", machine::describe(folder.path()));
    println!(
        "{} rounds of {} s, {} connections, fixed rate {} /s, cores {:?}",
        options.rounds, options.seconds, options.connections, options.rate, options.cores
    );
    println!("\n{}", table::markdown(&rows));
    for system in &options.systems {
        println!("- **{}**: {}", system.name(), system.promise());
    }
    for (loop_name, copies) in &bench.copies {
        println!("- copies, {loop_name}, all rounds: {}", copies.describe());
    }
    let others =
        figures.values().flatten().filter_map(|found| found.get(&PEAK[9])).copied().fold(0.0, f64::max);
    if others > OTHERS_MAX_PERCENT {
        println!(
            "\nWARNING: not a quiet machine: others took up to {others:.0} % of the CPU. Do not quote these figures."
        );
    }
    match &options.json {
        Some(path) => table::write_json(path, &rows),
        None => Ok(()),
    }
}

struct Bench<'a> {
    options: &'a Options,
    systems: Vec<Running>, // before the upstreams, or they would log that these are gone
    upstream: Server,
    second: Server,
    /// What became of copies, by the name of the loop.
    copies: BTreeMap<&'static str, Copies>,
}

/// One load and what it took.
struct Taken {
    outcome: Outcome,
    cpu: Cpu,
    copies: Option<Copies>,
}

impl<'a> Bench<'a> {
    fn start(options: &'a Options, folder: &std::path::Path) -> Result<Self, Failure> {
        let upstream = Server::origin(folder, "upstream")?;
        let second = Server::origin(folder, "second")?;
        let start = |system: &System| Running::start(*system, folder, upstream.address, second.address);
        let systems = options.systems.iter().map(start).collect::<Result<Vec<_>, _>>()?;
        if options.cores == Cores::Split {
            // The client runs on this thread.
            engine::pin_thread(1)?;
            [&upstream, &second].into_iter().try_for_each(|server| pin(server.pid(), 1))?;
            systems.iter().filter_map(Running::pid).try_for_each(|proxy| pin(proxy, 0))?;
        }
        Ok(Self { options, systems, upstream, second, copies: BTreeMap::new() })
    }

    async fn rounds(&mut self) -> Result<BTreeMap<System, Vec<Figures>>, Failure> {
        let mut all: BTreeMap<System, Vec<Figures>> = BTreeMap::new();
        for round in 1..=self.options.rounds {
            let mut found = Vec::new();
            for at in 0..self.systems.len() {
                let figures = self.peaks(at).await?;
                eprintln!(
                    "round {round}, {}: {:.0} small answers/s",
                    self.systems[at].system.name(),
                    figures[&PEAK[0]]
                );
                found.push(figures);
            }
            let half = slowest(&self.systems.iter().map(|running| running.system).zip(&found)) / 2.0;
            for (open, rate, name) in
                [(&FIXED, self.options.rate, "at the fixed rate"), (&HALF, half, "at the half rate")]
            {
                for (at, found) in found.iter_mut().enumerate() {
                    found.extend(self.open(at, open, rate, name).await?);
                }
                add_added(open, &self.systems, &mut found);
            }
            compare(&self.systems, &mut found);
            for (running, figures) in self.systems.iter().zip(found) {
                all.entry(running.system).or_default().push(figures);
            }
        }
        Ok(all)
    }

    /// Both closed loops of one system; where requests are copied, or split, only the small answers.
    async fn peaks(&mut self, at: usize) -> Result<Figures, Failure> {
        let duration = Duration::from_secs_f64(self.options.seconds);
        self.ask(at, origin::SMALL, Pace::Closed, WARM_UP).await?;
        let small = self.ask(at, origin::SMALL, Pace::Closed, duration).await?;
        let mut found = Figures::from([
            (PEAK[0], small.outcome.rate()),
            (PEAK[3], small.us(small.database("upstream"))),
            (PEAK[5], small.us(small.cpu.client)),
            (PEAK[6], small.outcome.latency_ms(0.5)),
            (PEAK[7], small.outcome.latency_ms(0.99)),
            (PEAK[9], small.cpu.others_percent()),
        ]);
        let system = self.systems[at].system;
        if system != System::Direct {
            found.insert(PEAK[2], small.us(small.cpu.server));
        }
        if matches!(system, System::Shadow | System::Canary) {
            found.insert(PEAK[4], small.us(small.database("second")));
            self.note(&small, "at peak", PEAK[8], &mut found);
            return Ok(found);
        }
        self.ask(at, origin::LARGE, Pace::Closed, WARM_UP).await?;
        let large = self.ask(at, origin::LARGE, Pace::Closed, duration).await?;
        found.insert(PEAK[10], large.outcome.rate());
        found.insert(PEAK[12], large.outcome.rate() * origin::LARGE_BYTES as f64 / 1e6);
        if system != System::Direct {
            found.insert(PEAK[13], large.us(large.cpu.server));
        }
        found.insert(PEAK[14], large.outcome.latency_ms(0.5));
        found.insert(PEAK[15], large.outcome.latency_ms(0.99));
        Ok(found)
    }

    async fn open(
        &mut self,
        at: usize,
        open: &Open,
        rate: f64,
        name: &'static str,
    ) -> Result<Figures, Failure> {
        let duration = Duration::from_secs_f64(self.options.seconds);
        let taken = self.ask(at, origin::SMALL, Pace::Open(rate), duration).await?;
        let mut found = Figures::from([(open.rate, taken.outcome.rate())]);
        for (quantile, latency, _) in open.quantiles {
            found.insert(latency, taken.outcome.latency_ms(quantile));
        }
        if self.systems[at].system != System::Direct {
            found.insert(open.cpu, taken.us(taken.cpu.server));
        }
        self.note(&taken, name, open.compared, &mut found);
        Ok(found)
    }

    fn note(&mut self, taken: &Taken, name: &'static str, metric: Metric, found: &mut Figures) {
        if let Some(copies) = &taken.copies {
            found.insert(metric, copies.compared_percent());
            self.copies.entry(name).or_default().add(copies);
        }
    }

    async fn ask(
        &self,
        at: usize,
        path: &'static str,
        pace: Pace,
        duration: Duration,
    ) -> Result<Taken, Failure> {
        let running = &self.systems[at];
        let body = if path == origin::SMALL { origin::small() } else { origin::large() };
        let connections = usize::from(self.options.connections);
        let load = Load { address: running.address, path, body, connections, pace, duration };
        let copied = match running.counters() {
            Some(admin) => Some((admin, Copies::settled(admin).await?)),
            None => None,
        };
        let before = self.cpu(running);
        let outcome = load::run(&load).await.map_err(|e| failed(running.system.name(), e))?;
        // Copies that still wait belong to this load, and their processor time, too.
        let copies = match &copied {
            Some((admin, before)) => Some(Copies::settled(*admin).await?.since(before)),
            None => None,
        };
        let cpu = self.cpu(running).since(&before);
        let wrong =
            copies.as_ref().filter(|copies| copies.mismatched > 0 || copies.offered != outcome.answered);
        if let Some(copies) = wrong {
            let text =
                format!("{} answers, and copies {copies:?}: both servers answer alike", outcome.answered);
            return Err(failed(running.system.name(), text));
        }
        Ok(Taken { outcome, cpu, copies })
    }

    fn cpu(&self, running: &Running) -> Cpu {
        let upstreams = BTreeMap::from([("upstream", self.upstream.pid()), ("second", self.second.pid())]);
        // No process has the number 0: without a proxy it used no time.
        Cpu::now(running.pid().unwrap_or(0), &upstreams)
    }
}

impl Taken {
    /// Microseconds for each answer.
    fn us(&self, seconds: f64) -> f64 {
        seconds * 1e6 / self.outcome.answered as f64
    }

    fn database(&self, name: &str) -> f64 {
        self.cpu.databases.get(name).copied().unwrap_or(0.0)
    }
}

/// The lowest peak of those that only pass on; of all if there are none.
fn slowest<'a>(peaks: &(impl Iterator<Item = (System, &'a Figures)> + Clone)) -> f64 {
    let least = |plain: bool| {
        let some = peaks.clone().filter(|(system, _)| system.is_plain() || !plain);
        some.map(|(_, found)| found[&PEAK[0]]).fold(f64::INFINITY, f64::min)
    };
    if least(true).is_finite() { least(true) } else { least(false) }
}

/// What each adds to the upstream's own latency, in the same round.
fn add_added(open: &Open, systems: &[Running], found: &mut [Figures]) {
    let Some(direct) = systems.iter().position(|running| running.system == System::Direct) else { return };
    let direct = found[direct].clone();
    for (_, figures) in systems.iter().zip(found).filter(|(running, _)| running.system != System::Direct) {
        for (_, latency, added) in open.quantiles {
            figures.insert(added, figures[&latency] - direct[&latency]);
        }
    }
}

/// Ratios to nginx of the same round.
fn compare(systems: &[Running], found: &mut [Figures]) {
    let Some(nginx) = systems.iter().position(|running| running.system == System::Nginx) else { return };
    let nginx = found[nginx].clone();
    for figures in found {
        for (metric, ratio) in [(PEAK[0], PEAK[1]), (PEAK[10], PEAK[11])] {
            if let (Some(value), Some(base)) = (figures.get(&metric).copied(), nginx.get(&metric)) {
                figures.insert(ratio, value / base);
            }
        }
    }
}

fn rows(systems: &[System], figures: &BTreeMap<System, Vec<Figures>>) -> Vec<Row> {
    let mut rows = Vec::new();
    for metric in metrics() {
        for system in systems {
            let values: Vec<f64> =
                figures[system].iter().filter_map(|round| round.get(&metric)).copied().collect();
            if !values.is_empty() {
                rows.push(Row {
                    bench: "gateway".to_owned(),
                    system: system.name().to_owned(),
                    metric: metric.0.to_owned(),
                    value: median(&values),
                    unit: metric.1.to_owned(),
                });
            }
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_half_rate_is_that_of_the_slowest_that_only_passes_on() {
        let peak = |rate: f64| Figures::from([(PEAK[0], rate)]);
        let all = [
            (System::Direct, peak(90.0)),
            (System::Banyan, peak(40.0)),
            (System::Nginx, peak(50.0)),
            (System::Shadow, peak(20.0)),
        ];
        let of = |range: std::ops::Range<usize>| {
            slowest(&all[range].iter().map(|(system, found)| (*system, found)))
        };
        assert_eq!(of(0..4), 40.0);
        assert_eq!(of(0..1), 90.0);
    }

    #[test]
    fn no_metric_has_the_name_of_another() {
        let mut names = metrics();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
