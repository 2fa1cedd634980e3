//! One run: everything that happens, in one order, from one seed.

use crate::auditor::{Attempted, Auditor, Events, Fate, coupon_of};
use crate::clock::Clock;
use crate::disk::{Disk, Lies, Loss};
use crate::model::Objection;
use crate::plants::Plant;
use crate::prng::Prng;
use crate::process::{InFlight, Process, Waiting, core_options};
use crate::trace::Trace;
use crate::view::SimView;
use crate::workload::{Workload, command};
use banyan_domain::coupon::CodeKey;
use banyan_domain::{State, StoreSecret, codec, limits};
use banyan_engine::{Answer, Core, StartError, Work, replay};
use banyan_log::{AppendError, Block, LogError, LogReader, Seq};
use std::collections::BTreeMap;
use tokio::sync::oneshot;

/// Steps after which a run that cannot come to rest is a finding.
const REST_STEPS_MAX: u32 = 4_000;
/// Starts in a row that may fail because of injected faults before the faults are lifted.
const FAILED_STARTS_MAX: u32 = 4;
const SECTOR_BYTES: u64 = 512;

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
        Ok(Self {
            segment_bytes: SECTOR_BYTES * rng.between(40, 80),
            secret: StoreSecret::new(rng.bytes32()),
            digest_events: rng.between(5, 200),
            disk,
            rng,
            clock: Clock::new(),
            process: None,
            workload: Workload::default(),
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
                860..925 => self.clock.wander(&mut self.rng),
                925..945 => self.read()?,
                945..958 => self.feed_view()?,
                958..962 => self.crash_view()?,
                962..968 => self.make_snapshot()?,
                968..980 => self.arm_fault(),
                980..989 => {
                    self.trace.line(format_args!("space is as it should be"));
                    self.disk.set_space(None);
                }
                989..994 => self.die(),
                _ => self.crowd(),
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
        for id in self.workload.unknown() {
            while self.workload.request(id).unknown {
                left = left.checked_sub(1).ok_or("a request is never answered")?;
                self.ask(vec![id]);
                self.one_block()?;
            }
        }
        // Twice over every span there is: the longest hold, the longest validity, and retirement after both.
        for _ in 0..2 {
            self.clock.advance(limits::HOLD_MILLIS_MAX + limits::RETIRE_AFTER_MILLIS);
            self.one_block()?;
            self.one_block()?;
        }
        let held = self.auditor.model.holds();
        if held > 0 {
            return Err(format!("{held} coupons are held although every hold is over"));
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

    // --- clients ---

    fn submit(&mut self) {
        let keys = self.process().core.state().keys().clone();
        let now = self.clock.now();
        let asked = self.workload.next(&mut self.rng, now, &keys);
        if !asked.is_empty() {
            self.ask(asked);
        }
    }

    fn ask(&mut self, ids: Vec<usize>) {
        let (work, waiting) = if let [id] = ids[..] {
            let (reply, receiver) = oneshot::channel();
            let (command, stamp) = command(self.workload.request(id));
            (Work::One { command, stamp, reply }, Waiting::One(id, receiver))
        } else {
            let (reply, receiver) = oneshot::channel();
            let commands = ids.iter().map(|id| command(self.workload.request(*id))).collect();
            (Work::Many { commands, reply }, Waiting::Many(ids.clone(), receiver))
        };
        // Turned away at the door: the client knows that nothing happened.
        let Ok(()) = self.process().submit(work, waiting) else {
            self.count("turned away: busy", 1);
            return;
        };
        for id in ids {
            self.workload.asked(id);
            let request = self.workload.request(id);
            self.trace.line(format_args!("ask {id}: {:?} {:?}", request.command, request.stamp));
        }
    }

    /// Many clients at once, as when a sale opens.
    fn crowd(&mut self) {
        for _ in 0..self.rng.between(10, 40) {
            self.submit();
        }
    }

    fn read(&mut self) -> Step {
        let summary = self.process().summary.clone();
        self.trace.line(format_args!("read at {}", summary.seq));
        self.auditor.read(&summary)
    }

    // --- the server ---

    fn decide(&mut self) -> Step {
        let now = self.clock.now();
        let works = if self.resting { u64::MAX } else { self.rng.between(0, 12) };
        let decided = self.process().decide(now, works);
        decided.map_err(|violation| format!("the writer stops, because the state would break: {violation}"))
    }

    fn hand_over(&mut self) -> Step {
        let busy = self.process().in_flight.is_some();
        self.process().hand_over();
        if busy {
            return Ok(());
        }
        let plant = self.options.plant;
        let summary =
            |process: &mut Process| process.in_flight.as_mut().and_then(|block| block.draft.summary.take());
        if plant == Some(Plant::SummaryFirst)
            && let Some(summary) = summary(self.process())
        {
            self.process().summary = summary;
        }
        if plant == Some(Plant::AnswersFirst)
            && let Some(block) = self.process().in_flight.as_mut()
        {
            let waiting = std::mem::take(&mut block.waiting);
            std::mem::take(&mut block.draft.replies).send();
            let (time, digest) = (block.draft.time_ms, block.digest);
            return self.release(time, None, digest, waiting);
        }
        Ok(())
    }

    /// Appends the block in flight, and releases what waits for it.
    fn write(&mut self) -> Step {
        let Some(mut block) = self.process().in_flight.take() else { return Ok(()) };
        let mut confirmed = None;
        if block.draft.count > 0 {
            let result = self.process().append(&block.draft);
            let failed = self.disk.take_failed_syncs();
            if self.disk.has_stopped() {
                return self.end_unknown(block);
            }
            match result {
                Ok(_) => {
                    if let Some(name) = failed.iter().find(|name| name.ends_with(".seg")) {
                        return Err(format!("an append succeeded although a sync of {name} failed"));
                    }
                }
                Err(AppendError::Unknown { source }) => {
                    self.trace.line(format_args!("append: {source}"));
                    self.count("appends of unknown outcome", 1);
                    return self.end_unknown(block);
                }
                Err(other) => {
                    return Err(format!("an append that had room and the right place failed: {other}"));
                }
            }
            confirmed = self.confirmed()?;
        }
        if let Some(summary) = block.draft.summary.take() {
            self.process().summary = summary;
        }
        std::mem::take(&mut block.draft.replies).send();
        let logged = block.draft.count > 0;
        self.release(block.draft.time_ms, confirmed, block.digest, block.waiting)?;
        if logged {
            self.process().look_for_room();
        }
        Ok(())
    }

    /// What the log confirmed since the last look: at most one block.
    fn confirmed(&mut self) -> Step<Option<Events>> {
        let mut found = read_all(&mut *self.process().tail)?;
        if found.len() > 1 {
            return Err(format!("one append confirmed {} blocks", found.len()));
        }
        Ok(found.pop())
    }

    fn release(
        &mut self,
        time: u64,
        events: Option<Events>,
        digest: banyan_domain::Digest,
        waiting: Vec<Waiting>,
    ) -> Step {
        let mut answers: Vec<(usize, Answer)> = Vec::new();
        for waiting in waiting {
            match waiting {
                Waiting::One(id, mut receiver) => {
                    answers
                        .push((id, receiver.try_recv().map_err(|_| format!("request {id} got no answer"))?));
                }
                Waiting::Many(ids, mut receiver) => {
                    let all =
                        receiver.try_recv().map_err(|_| format!("the batch of {ids:?} got no answer"))?;
                    if all.len() != ids.len() {
                        return Err(format!("the batch of {ids:?} got {} answers", all.len()));
                    }
                    answers.extend(ids.into_iter().zip(all));
                }
            }
        }
        let codes = CodeKey::new(self.process().core.state().keys());
        for (id, answer) in &answers {
            self.trace.line(format_args!("answer {id}: {answer:?}"));
            let what = match answer {
                Answer::Done { replayed: false, .. } => "answers: done".into(),
                Answer::Done { replayed: true, .. } => "answers: again".into(),
                Answer::Refused(refusal) => format!("answers: {refusal}"),
                Answer::StorageFull => "answers: storage full".into(),
            };
            self.count(what, 1);
            if matches!(answer, Answer::StorageFull) && !self.was_tight {
                return Err("storage is said to be full, and is not".into());
            }
            if let Some(coupon) = coupon_of(answer) {
                self.auditor.told_code(coupon.coupon, codes.code(coupon.coupon).written());
            }
        }
        let with_requests: Vec<_> =
            answers.iter().map(|(id, answer)| (self.workload.request(*id), answer.clone())).collect();
        self.auditor.released(time, events, digest, &with_requests)?;
        for (id, answer) in &answers {
            self.workload.answered(*id, answer);
        }
        Ok(())
    }

    /// The process ends while it is not known whether `block` is stored.
    fn end_unknown(&mut self, block: InFlight) -> Step {
        let entries: Result<Vec<_>, _> = codec::decode(&block.draft.body, block.draft.count).collect();
        let entries = entries.map_err(|error| format!("a decided block cannot be decoded: {error}"))?;
        self.auditor.attempted(Attempted { time: block.draft.time_ms, entries, digest: block.digest });
        self.process().in_flight = Some(block);
        self.die();
        Ok(())
    }

    // --- crashes and starts ---

    /// The process or the whole machine ends at once.
    fn die(&mut self) {
        if let Some(process) = self.process.take() {
            for waiting in process.into_waiting() {
                let ids = match waiting {
                    Waiting::One(id, _) => vec![id],
                    Waiting::Many(ids, _) => ids,
                };
                for id in ids {
                    self.workload.lost(id);
                    self.count("outcomes unknown", 1);
                }
            }
        }
        match self.rng.below(6) {
            0..2 => {
                self.trace.line(format_args!("the process is killed"));
                self.count("crashes: process", 1);
                self.disk.kill();
            }
            which => {
                let loss = [Loss::Everything, Loss::Nothing, Loss::Torn, Loss::Torn][which as usize - 2];
                self.trace.line(format_args!("the power is lost, and of what was not synced: {loss:?}"));
                self.count(format!("crashes: power, losing {loss:?}"), 1);
                self.disk.lose_power(loss);
            }
        }
    }

    fn start(&mut self) -> Step {
        for attempt in 0.. {
            // Recovery is interrupted too, now and then.
            if !self.resting && attempt < FAILED_STARTS_MAX && self.rng.chance(15) {
                self.disk.stop_after(self.rng.below(12));
            }
            if attempt == FAILED_STARTS_MAX {
                self.disk.set_space(None);
            }
            let plant = self.options.plant;
            let (bytes, secret, digests) = (self.segment_bytes, self.secret.clone(), self.digest_events);
            let started = Process::start(&self.disk, bytes, secret, &self.clock, plant, digests);
            if self.disk.has_stopped() {
                drop(started);
                self.trace.line(format_args!("the machine stopped while it started"));
                self.count("crashes: while starting", 1);
                self.die();
                continue;
            }
            match started {
                Ok(process) => return self.started(process),
                Err(fault) if is_io(&fault) && attempt < FAILED_STARTS_MAX && self.disk.is_tight() => {
                    self.trace.line(format_args!("starting: {fault}"));
                    self.count("starts refused: no space", 1);
                }
                Err(fault) => return Err(format!("the server does not start: {fault}")),
            }
        }
        unreachable!("the loop has no end")
    }

    fn started(&mut self, mut process: Process) -> Step {
        let mut reader =
            process.log.reader(Seq(1)).map_err(|error| format!("reading the whole log: {error}"))?;
        let blocks = read_all(&mut *reader)?;
        let fate = self.auditor.restarted(&blocks, process.core.state())?;
        self.trace.line(format_args!("started at {}, block in flight: {fate:?}", process.core.state().seq()));
        match fate {
            Fate::None => {}
            Fate::Stored => self.count("unconfirmed blocks found after a crash", 1),
            Fate::Gone => self.count("unconfirmed blocks gone after a crash", 1),
        }
        self.count("starts", 1);
        if let Some((seq, bytes)) = &self.snapshot {
            let state =
                State::from_snapshot(bytes).map_err(|error| format!("the snapshot at {seq}: {error}"))?;
            let state = follow(&process, Some(state), *seq + 1)?;
            let from_log = process.core.state();
            if state.to_snapshot() != from_log.to_snapshot() {
                return Err(format!(
                    "the snapshot at {seq} and the log after it give another state than the log"
                ));
            }
            state
                .check_invariants()
                .map_err(|violation| format!("after a snapshot at {seq}: {violation}"))?;
            if self.rng.chance(50) {
                process.use_core(Core::new(state, core_options(self.options.plant, self.digest_events)));
                self.count("starts from a snapshot", 1);
            }
        }
        self.process = Some(process);
        self.was_tight = self.disk.is_tight();
        self.read()
    }

    fn arm_fault(&mut self) {
        let in_calls = self.rng.below(25);
        self.trace.line(format_args!("a fault is armed, {in_calls}"));
        // A spare segment that cannot be prepared is as good as no space, whatever the reason.
        let which = self.rng.below(10);
        self.was_tight |= which >= 4;
        match which {
            0..4 => self.disk.stop_after(in_calls),
            4..6 => self.disk.fail_sync_after(in_calls / 2),
            6 => self.disk.fail_write_after(in_calls / 2),
            _ => self.disk.set_space(Some(self.rng.below(2 * self.segment_bytes))),
        }
    }

    /// A snapshot as the engine's background thread makes it: by replaying what is confirmed.
    fn make_snapshot(&mut self) -> Step {
        let from = self.snapshot.as_ref().map_or(1, |(seq, _)| seq + 1);
        let before = self.snapshot.as_ref().map(|(_, bytes)| State::from_snapshot(bytes));
        let before = before.transpose().map_err(|error| format!("the last snapshot: {error}"))?;
        let state = follow(self.process(), before, from)?;
        self.trace.line(format_args!("snapshot at {}", state.seq()));
        self.count("snapshots", 1);
        self.snapshot = Some((state.seq(), state.to_snapshot()));
        Ok(())
    }

    // --- the view ---

    fn step_view(&mut self) -> Step<bool> {
        let process = self.process.as_mut().expect("the view is fed only while a process runs");
        let moved = self.view.step(&*process.log, process.core.state().keys(), &mut self.rng)?;
        self.trace.line(format_args!("the view is at {}", self.view.checkpoint()));
        Ok(moved)
    }

    fn feed_view(&mut self) -> Step {
        if self.step_view()? {
            self.count("transactions of the view", 1);
            self.compare_view()?;
        }
        Ok(())
    }

    fn compare_view(&mut self) -> Step {
        let model = self.auditor.model_at(self.view.checkpoint().0)?;
        let process = self.process.as_ref().expect("the view is compared only while a process runs");
        self.view.compare(&model, process.core.state().keys())
    }

    fn crash_view(&mut self) -> Step {
        let power = self.rng.chance(60);
        self.trace.line(format_args!("the view crashes, power lost: {power}"));
        self.count("crashes: view", 1);
        self.view.crash(power, &mut self.rng)
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
