//! What happens between the store and those outside: the executor's steps, and the network's.

use super::{Step, World};
use crate::model::orders::Way;
use crate::outside::{Happened, Move, audit};
use crate::process::Waiting;
use banyan_domain::SagaNo;

/// Rounds after which sagas that do not come to an end are a finding.
const ROUNDS_MAX: u32 = 6_000;
/// How often an operator tries a parked saga again at the end.
const RETRIES_MAX: u32 = 3;

impl World {
    /// One thing happens outside, or on the way there.
    pub(super) fn outside(&mut self) -> Step {
        if self.rng.chance(45) {
            return self.network_step();
        }
        let (now, latest) = (self.clock.now(), self.clock.latest());
        let wanted = self.executor.step(&mut self.rng, now, latest);
        self.carry_out(wanted);
        Ok(())
    }

    fn network_step(&mut self) -> Step {
        match self.network.step(self.clock.latest()) {
            Happened::Nothing => {}
            Happened::Thing(what) => {
                self.trace.line(format_args!("{what}"));
                self.count(what, 1);
            }
            Happened::Acts(open, what) => {
                self.trace.line(format_args!("{what}: {open:?}"));
                self.count(what, 1);
                if !self.auditor.model.sagas.intends(open) {
                    return Err(format!("somebody acts on {open:?}, and no durable event intends it"));
                }
            }
            Happened::Told(payment) => {
                self.trace.line(format_args!("outside: a webhook about {payment}"));
                self.count("outside: a webhook arrives", 1);
                let wanted = self.executor.told(payment);
                self.carry_out(wanted);
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, wanted: Move) {
        match wanted {
            Move::Nothing => {}
            Move::Did(what) => {
                self.trace.line(format_args!("{what}"));
                self.count(what, 1);
            }
            Move::Look(work, ready) => {
                if self.process().submit(work, Waiting::Look).is_ok() {
                    self.executor.taken(ready, None);
                } else {
                    self.executor.turned_away(&ready);
                }
            }
            Move::Submit(command, known, ready) => {
                let id = known.unwrap_or_else(|| self.workload.internal(command.into()));
                let taken = self.ask_one(id);
                match ready {
                    Some(ready) if taken => self.executor.taken(ready, Some(id)),
                    Some(ready) => self.executor.turned_away(&ready),
                    None => {}
                }
            }
        }
    }

    /// Everything outside is well again: every saga comes to an end, or is parked although an operator tried again.
    pub(super) fn settle(&mut self) -> Step {
        self.network.heal();
        // The wall clock is mended, too.
        self.clock.advance(self.clock.latest() - self.clock.now().as_millis());
        let mut retries = 0;
        for _ in 0..ROUNDS_MAX {
            for _ in 0..8 {
                self.outside()?;
            }
            self.one_block()?;
            // Whoever waits for an answer that was lost waits until his patience is over.
            self.clock.advance(100);
            if !self.executor.is_quiet() || !self.network.is_quiet() {
                continue;
            }
            let sagas = &self.auditor.model.sagas.sagas;
            let open = sagas.iter().any(|saga| saga.ended.is_none() && saga.parked.is_none());
            let parked: Vec<_> = (1..)
                .zip(sagas)
                .filter(|(_, saga)| saga.parked.is_some())
                .map(|(no, _)| SagaNo::new(no))
                .collect();
            if open {
                self.wait_for_time()?;
            } else if retries < RETRIES_MAX && !parked.is_empty() {
                retries += 1;
                for saga in parked {
                    let process = self.process.as_ref().expect("a process runs");
                    self.workload.sees(process.core.state().sagas());
                    let id = self.workload.retried(saga);
                    self.ask_one(id);
                    self.one_block()?;
                }
            } else {
                return self.look_into_books();
            }
        }
        Err(format!("sagas do not come to an end in {ROUNDS_MAX} rounds"))
    }

    /// Lets time pass until something is due.
    fn wait_for_time(&mut self) -> Step {
        let state = self.process().core.state().next_deadline().map(banyan_domain::Timestamp::as_millis);
        let due = [state, self.network.next_deadline()].into_iter().flatten().min();
        let Some(due) = due else { return Err("a saga waits for nothing".into()) };
        let now = self.clock.now().as_millis();
        self.clock.advance(due.saturating_sub(now).max(1));
        Ok(())
    }

    fn look_into_books(&mut self) -> Step {
        let [completed, compensated, parked] = audit(&self.auditor.model, &self.network)?;
        let state = self.process.as_ref().map(|process| process.core.state());
        for saga in state.into_iter().flat_map(|state| state.sagas().sagas()) {
            if let Some(park) = &saga.parked {
                self.trace
                    .line(format_args!("parked for good: {} at step {}: {}", saga.key, park.step, park.why));
            }
        }
        for way in [Way::Placed, Way::Paid, Way::Cancelled, Way::Failed] {
            let orders = self.auditor.model.orders.orders.iter();
            let count = orders.filter(|order| order.way == way).count() as u64;
            self.count(format!("orders: {way:?}"), count);
        }
        let refunds = self.auditor.model.orders.orders.iter().flat_map(|order| &order.refunds);
        let done = refunds.filter(|refund| refund.done == Some(true)).count() as u64;
        self.count("orders: refunds done", done);
        self.count("sagas: completed", completed);
        self.count("sagas: compensated", compensated);
        self.count("sagas: parked for good", parked);
        Ok(())
    }
}

impl World {
    /// A planted bug: what is asked is asked before it is durable.
    pub(super) fn ask_early(&mut self) {
        let process = self.process.as_ref().expect("a step is taken only while a process runs");
        if let Some(block) = &process.in_flight {
            self.executor.publish_early(&block.draft.replies.asks, process.core.state());
        }
    }
}
