//! One run: everything that happens, in one order, from one seed.

mod clients;
mod life;
mod outside;
mod server;

use crate::auditor::{Auditor, Events};
use crate::clock::Clock;
use crate::disk::{Disk, Lies};
use crate::model::Objection;
use crate::outside::{Executor, Network};
use crate::plants::Plant;
use crate::prng::Prng;
use crate::process::Process;
use crate::trace::Trace;
use crate::view::SimView;
use crate::workload::Workload;
use banyan_domain::{State, StoreSecret, codec, limits};
use banyan_engine::{StartError, replay};
use banyan_log::{AppendError, Block, LogError, LogReader, Seq};
use std::collections::BTreeMap;

/// Steps after which a run that cannot come to rest is a finding.
const REST_STEPS_MAX: u32 = 4_000;
/// Starts in a row that may fail because of injected faults before the faults are lifted.
const FAILED_STARTS_MAX: u32 = 4;
const SECTOR_BYTES: u64 = 512;
/// What happens outside for every step of a run.
const OUTSIDE_STEPS: u32 = 4;
/// How many of a hundred requests are about stock, the ledger and sagas, from seed to seed.
const SHOP_PERCENTS: [u64; 4] = [0, 80, 40, 65];

/// What one run is.
#[derive(Clone, Copy, Debug)]
pub struct RunOptions {
    /// Decides everything.
    pub seed: u64,
    /// Steps before the run comes to rest.
    pub steps: u64,
    /// A bug to plant.
    pub plant: Option<Plant>,
    /// Whether every step is printed.
    pub trace: bool,
}

/// What came of one run.
#[derive(Clone, Debug)]
pub struct RunReport {
    /// What the auditor objected to first, if anything.
    pub finding: Option<String>,
    /// Hash of everything that happened, every byte written included.
    pub hash: String,
    /// How often what happened.
    pub counts: BTreeMap<String, u64>,
}

pub(crate) struct World {
    options: RunOptions,
    rng: Prng,
    clock: Clock,
    disk: Disk,
    segment_bytes: u64,
    secret: StoreSecret,
    digest_events: u64,
    process: Option<Process>,
    network: Network,
    /// Of the process: a new one begins with nothing.
    executor: Executor,
    workload: Workload,
    auditor: Auditor,
    view: SimView,
    snapshot: Option<(u64, Vec<u8>)>,
    trace: Trace,
    counts: BTreeMap<String, u64>,
    /// Whether space was limited, or a fault armed that may cost the spare segment, since the process started.
    was_tight: bool,
    resting: bool,
}

type Step<T = ()> = Result<T, Objection>;

impl World {
    pub(crate) fn new(options: RunOptions) -> Step<Self> {
        let mut rng = Prng::new(options.seed);
        let lies = options.plant.map_or_else(Lies::default, Plant::lies);
        let disk = Disk::new(rng.fork(), lies);
        let network = Network::new(rng.fork(), options.plant);
        // Some runs are about coupons alone, some mostly about the rest.
        let shop_percent = SHOP_PERCENTS[options.seed as usize % SHOP_PERCENTS.len()];
        Ok(Self {
            segment_bytes: SECTOR_BYTES * rng.between(80, 110),
            secret: StoreSecret::new(rng.bytes32()),
            digest_events: rng.between(5, 200),
            disk,
            rng,
            clock: Clock::new(),
            process: None,
            executor: Executor::new(network.clone(), options.plant),
            network,
            workload: Workload::new(shop_percent, options.plant),
            auditor: Auditor::default(),
            view: SimView::new(options.plant == Some(Plant::CheckpointApart))?,
            snapshot: None,
            trace: Trace::new(options.trace),
            counts: BTreeMap::new(),
            was_tight: false,
            resting: false,
            options,
        })
    }

    /// Runs to the end, or to the first finding.
    pub(crate) fn run(mut self) -> RunReport {
        let finding = self.steps().and_then(|()| self.rest()).err();
        if let Some(finding) = &finding {
            self.trace.line(format_args!("FOUND {finding}"));
        }
        self.count("changing calls to the disk", self.disk.calls());
        self.count("events", self.auditor.model.seq);
        self.count("events by time alone", self.auditor.by_time);
        self.count("keys kept for answers that changed nothing", self.auditor.kept);
        self.count(
            "campaigns retired",
            self.auditor.model.campaigns.iter().filter(|c| c.retired).count() as u64,
        );
        RunReport { finding, hash: self.trace.finish(self.disk.hash()), counts: self.counts }
    }

    fn steps(&mut self) -> Step {
        for _ in 0..self.options.steps {
            if self.process.is_none() {
                self.start()?;
            }
            match self.rng.below(1_000) {
                0..400 => self.submit(),
                400..600 => self.decide()?,
                600..680 => self.hand_over()?,
                680..860 => {
                    self.hand_over()?;
                    self.write()?;
                }
                860..925 if self.workload.is_shop() => self.clock.wander_calmly(&mut self.rng),
                860..925 => self.clock.wander(&mut self.rng),
                925..945 => self.read()?,
                945..958 => self.feed_view()?,
                958..962 => self.crash_view()?,
                962..968 => self.make_snapshot()?,
                968..980 => self.arm_fault(),
                980..984 => self.archive()?,
                984..989 => {
                    self.trace.line(format_args!("space is as it should be"));
                    self.disk.set_space(None);
                }
                989..994 => self.die(),
                _ => self.crowd(),
            }
            if self.process.is_some() && self.workload.is_shop() {
                for _ in 0..OUTSIDE_STEPS {
                    self.outside()?;
                }
            }
            if self.disk.has_stopped() {
                self.die();
            }
        }
        Ok(())
    }

    /// Lifts all faults, gets every unknown outcome known, lets every deadline pass, and looks at everything once more.
    fn rest(&mut self) -> Step {
        self.trace.line(format_args!("coming to rest"));
        self.resting = true;
        self.disk.set_space(None);
        self.die();
        self.start()?;
        let mut left = REST_STEPS_MAX;
        self.workload.at(self.clock.latest());
        for id in self.workload.unknown() {
            while self.workload.request(id).unknown {
                left = left.checked_sub(1).ok_or("a request is never answered")?;
                self.ask(vec![id]);
                self.one_block()?;
            }
        }
        if self.workload.is_shop() {
            self.settle()?;
        }
        // Twice over every span there is: the longest hold, the longest validity, and retirement after both.
        for _ in 0..2 {
            self.clock.advance(limits::TRANSFER_HOLD_MILLIS_MAX + limits::RETIRE_AFTER_MILLIS);
            self.one_block()?;
            self.one_block()?;
        }
        let held = self.auditor.model.holds();
        if held > 0 {
            return Err(format!("{held} coupons are held although every hold is over"));
        }
        let (stock, money) = (self.auditor.model.stock.held(), self.auditor.model.ledger.held());
        if stock > 0 || money > 0 {
            return Err(format!("{stock} reservations and {money} are held although every hold is over"));
        }
        self.read()?;
        while self.step_view()? {}
        self.compare_view()?;
        self.die();
        self.start()?;
        let segments = self.process().log.health().segments;
        self.count("segments filled", segments - 1);
        self.read()
    }

    fn one_block(&mut self) -> Step {
        self.decide()?;
        self.hand_over()?;
        self.write()
    }

    fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("a step is taken only while a process runs")
    }

    fn count(&mut self, what: impl Into<String>, by: u64) {
        *self.counts.entry(what.into()).or_insert(0) += by;
    }
}

/// Reads to the confirmed end.
fn read_all(reader: &mut dyn LogReader) -> Step<Vec<Events>> {
    let mut blocks = Vec::new();
    let mut block = Block::default();
    while reader.next(&mut block).map_err(|error| format!("reading the log: {error}"))? {
        if block.count > 0 {
            let entries: Result<Vec<_>, _> = codec::decode(&block.body, block.count).collect();
            let entries =
                entries.map_err(|error| format!("a block of the log cannot be decoded: {error}"))?;
            blocks.push(Events { time: block.time_ms, first_seq: block.first_seq.as_u64(), entries });
        }
    }
    Ok(blocks)
}

/// The state after everything confirmed from `from` on.
fn follow(process: &Process, state: Option<State>, from: u64) -> Step<State> {
    let mut reader =
        process.log.reader(Seq(from)).map_err(|error| format!("reading from {from}: {error}"))?;
    let state = replay(&mut *reader, state, &mut |_| {})
        .map_err(|error| format!("replaying from {from}: {error}"))?;
    state.ok_or_else(|| "replaying the log gives no store".into())
}

fn is_io(fault: &StartError) -> bool {
    matches!(fault, StartError::Log(LogError::Io { .. }) | StartError::Append(AppendError::Full { .. }))
}
