//! What happens in the server: the steps of its writer thread and its log thread.

use super::{Step, World, read_all};
use crate::auditor::{Attempted, Events, coupon_of};
use crate::plants::Plant;
use crate::process::{InFlight, Process, Waiting};
use banyan_domain::codec;
use banyan_domain::coupon::CodeKey;
use banyan_engine::Answer;
use banyan_log::AppendError;

impl World {
    pub(super) fn decide(&mut self) -> Step {
        let now = self.clock.now();
        let works = if self.resting { u64::MAX } else { self.rng.between(0, 12) };
        let decided = self.process().decide(now, works);
        decided.map_err(|violation| format!("the writer stops, because the state would break: {violation}"))
    }

    pub(super) fn hand_over(&mut self) -> Step {
        let busy = self.process().in_flight.is_some();
        self.process().hand_over();
        if busy {
            return Ok(());
        }
        let plant = self.options.plant;
        if plant == Some(Plant::EffectFirst) {
            self.ask_early();
        }
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
            let (time, digest, due) = (block.draft.time_ms, block.digest, block.due);
            return self.release(time, None, (digest, due), waiting);
        }
        Ok(())
    }

    /// Appends the block in flight, and releases what waits for it.
    pub(super) fn write(&mut self) -> Step {
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
        let mut replies = std::mem::take(&mut block.draft.replies);
        let asks = std::mem::take(&mut replies.asks);
        self.executor.publish(asks.into_iter().map(|request| request.open).collect());
        replies.send();
        let logged = block.draft.count > 0;
        self.release(block.draft.time_ms, confirmed, (block.digest, block.due), block.waiting)?;
        if logged {
            self.process().look_for_room();
        }
        Ok(())
    }

    /// What the log confirmed since the last look: at most one block.
    pub(super) fn confirmed(&mut self) -> Step<Option<Events>> {
        let mut found = read_all(&mut *self.process().tail)?;
        if found.len() > 1 {
            return Err(format!("one append confirmed {} blocks", found.len()));
        }
        Ok(found.pop())
    }

    pub(super) fn release(
        &mut self,
        time: u64,
        events: Option<Events>,
        (digest, due): (banyan_domain::Digest, u32),
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
                Waiting::Look => {}
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
        self.auditor.released(time, events, digest, due, &with_requests)?;
        for (id, answer) in &answers {
            self.workload.answered(*id, answer);
            self.executor.answered(*id, answer);
        }
        Ok(())
    }

    /// The process ends while it is not known whether `block` is stored.
    pub(super) fn end_unknown(&mut self, block: InFlight) -> Step {
        let entries: Result<Vec<_>, _> = codec::decode(&block.draft.body, block.draft.count).collect();
        let entries = entries.map_err(|error| format!("a decided block cannot be decoded: {error}"))?;
        self.auditor.attempted(Attempted { time: block.draft.time_ms, entries, digest: block.digest });
        self.process().in_flight = Some(block);
        self.die();
        Ok(())
    }
}
