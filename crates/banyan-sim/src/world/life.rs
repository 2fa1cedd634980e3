//! Crashes, starts, faults and snapshots.

use super::{FAILED_STARTS_MAX, Step, World, follow, is_io, read_all};
use crate::auditor::Fate;
use crate::disk::Loss;
use crate::outside::Executor;
use crate::process::{Process, Waiting, core_options};
use banyan_domain::State;
use banyan_engine::Core;
use banyan_log::{LogError, Seq};
use std::io::ErrorKind;

impl World {
    /// The process or the whole machine ends at once.
    pub(super) fn die(&mut self) {
        self.executor = Executor::new(self.network.clone(), self.options.plant);
        if let Some(process) = self.process.take() {
            for waiting in process.into_waiting() {
                let ids = match waiting {
                    Waiting::One(id, _) => vec![id],
                    Waiting::Many(ids, _) => ids,
                    Waiting::Look => Vec::new(),
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

    pub(super) fn start(&mut self) -> Step {
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

    pub(super) fn started(&mut self, mut process: Process) -> Step {
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

    pub(super) fn arm_fault(&mut self) {
        let in_calls = self.rng.below(25);
        self.trace.line(format_args!("a fault is armed, {in_calls}"));
        // A spare segment that cannot be prepared is as good as no space, whatever the reason.
        let which = self.rng.below(11);
        self.was_tight |= which >= 4;
        match which {
            0..4 => self.disk.stop_after(in_calls),
            4..6 => self.disk.fail_sync_after(in_calls / 2),
            6 => self.disk.fail_write_after(in_calls / 2),
            7 => self.disk.fail_directory_sync_after(in_calls / 8),
            _ => self.disk.set_space(Some(self.rng.below(2 * self.segment_bytes))),
        }
    }

    /// Moves segments to the archive, as far back as chance will have it: whoever wants them reads them there.
    pub(super) fn archive(&mut self) -> Step {
        let head = self.process().log.confirmed().get().0;
        let before = self.rng.below(head + 2);
        let done = self.process().archiver.archive_before(Seq(before));
        // Those of copies are no syncs of the log.
        let _failed = self.disk.take_failed_syncs();
        match done {
            Ok(report) => {
                self.trace.line(format_args!("archived {} segments before {before}", report.segments));
                self.count("segments archived", report.segments);
                Ok(())
            }
            Err(LogError::Io { doing, source }) if source.kind() != ErrorKind::AlreadyExists => {
                self.trace.line(format_args!("archiving: {doing}: {source}"));
                self.count("archiving failed", 1);
                Ok(())
            }
            Err(error) => Err(format!("archiving before {before}: {error}")),
        }
    }

    /// A snapshot as the engine's background thread makes it: by replaying what is confirmed.
    pub(super) fn make_snapshot(&mut self) -> Step {
        let from = self.snapshot.as_ref().map_or(1, |(seq, _)| seq + 1);
        let before = self.snapshot.as_ref().map(|(_, bytes)| State::from_snapshot(bytes));
        let before = before.transpose().map_err(|error| format!("the last snapshot: {error}"))?;
        let state = follow(self.process(), before, from)?;
        self.trace.line(format_args!("snapshot at {}", state.seq()));
        self.count("snapshots", 1);
        self.snapshot = Some((state.seq(), state.to_snapshot()));
        Ok(())
    }
}
