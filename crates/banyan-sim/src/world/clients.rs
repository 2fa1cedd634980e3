//! What happens on the clients' side, and what readers and the view see.

use super::{Step, World};
use crate::process::Waiting;
use crate::workload::command;
use banyan_engine::Work;
use tokio::sync::oneshot;

impl World {
    pub(super) fn submit(&mut self) {
        let keys = self.process().core.state().keys().clone();
        let now = self.clock.now();
        self.workload.at(self.clock.latest());
        let process = self.process.as_ref().expect("a process runs");
        // Not at every asking: an operator may decide about what was so a while ago.
        if self.rng.chance(30) {
            self.workload.sees(process.core.state().sagas());
        }
        let asked = self.workload.next(&mut self.rng, now, &keys);
        if !asked.is_empty() {
            self.ask(asked);
        }
    }

    pub(super) fn ask(&mut self, ids: Vec<usize>) {
        if let [id] = ids[..] {
            self.ask_one(id);
            return;
        }
        let (reply, receiver) = oneshot::channel();
        let commands = ids.iter().map(|id| command(self.workload.request(*id))).collect();
        let work = Work::Many { commands, reply };
        // Turned away at the door: the client knows that nothing happened.
        if self.process().submit(work, Waiting::Many(ids.clone(), receiver)).is_err() {
            self.count("turned away: busy", 1);
            return;
        }
        for id in ids {
            self.asked(id);
        }
    }

    /// Puts one request into the queue. False if it is full.
    pub(super) fn ask_one(&mut self, id: usize) -> bool {
        let (reply, receiver) = oneshot::channel();
        let (command, stamp) = command(self.workload.request(id));
        let work = Work::One { command, stamp, reply };
        if self.process().submit(work, Waiting::One(id, receiver)).is_err() {
            self.count("turned away: busy", 1);
            return false;
        }
        self.asked(id);
        true
    }

    fn asked(&mut self, id: usize) {
        self.workload.asked(id);
        let request = self.workload.request(id);
        self.trace.line(format_args!("ask {id}: {:?} {:?}", request.command, request.stamp));
    }

    /// Many clients at once, as when a sale opens.
    pub(super) fn crowd(&mut self) {
        for _ in 0..self.rng.between(10, 40) {
            self.submit();
        }
    }

    pub(super) fn read(&mut self) -> Step {
        let summary = self.process().summary.clone();
        self.trace.line(format_args!("read at {}", summary.seq));
        self.auditor.read(&summary)
    }

    pub(super) fn step_view(&mut self) -> Step<bool> {
        let process = self.process.as_mut().expect("the view is fed only while a process runs");
        let moved = self.view.step(&*process.log, process.core.state().keys(), &mut self.rng)?;
        self.trace.line(format_args!("the view is at {}", self.view.checkpoint()));
        Ok(moved)
    }

    pub(super) fn feed_view(&mut self) -> Step {
        if self.step_view()? {
            self.count("transactions of the view", 1);
            self.compare_view()?;
        }
        Ok(())
    }

    pub(super) fn compare_view(&mut self) -> Step {
        let model = self.auditor.model_at(self.view.checkpoint().0)?;
        let process = self.process.as_ref().expect("the view is compared only while a process runs");
        self.view.compare(&model, process.core.state().keys())
    }

    pub(super) fn crash_view(&mut self) -> Step {
        let power = self.rng.chance(60);
        self.trace.line(format_args!("the view crashes, power lost: {power}"));
        self.count("crashes: view", 1);
        self.view.crash(power, &mut self.rng)
    }
}
