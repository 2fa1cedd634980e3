//! Deciding a block: no thread, no clock, no I/O. The writer and the simulator both drive this.

use crate::answer::{Answer, Replies, Work};
use crate::rules::{DomainRules, Rules};
use crate::summary::{Board, Summary};
use banyan_domain::saga::{self, OpenAsk};
use banyan_domain::{
    Command, Decision, Entry, Event, KeyStamp, Outcome, Refusal, State, Timestamp, Violation, codec, coupon,
};
use std::sync::Arc;

/// How the core works.
pub struct CoreOptions {
    /// Events between two digests of the state in the log.
    pub digest_events: u64,
    /// Bytes of events after which a block takes no further command.
    pub block_bytes_soft_max: usize,
    /// The rules. Anything but [`DomainRules`] is for tests.
    pub rules: Box<dyn Rules>,
}

/// The state, and how to decide on it.
pub struct Core {
    state: State,
    board: Board,
    options: CoreOptions,
    digested_at: u64,
}

/// A block being decided, and the answers that wait for it to be durable. Reused from block to block.
#[derive(Default)]
pub struct Draft {
    /// Time of the block in milliseconds since 1970.
    pub time_ms: u64,
    /// Log position of its first event.
    pub first_seq: u64,
    /// Its events, encoded.
    pub body: Vec<u8>,
    /// How many events it has.
    pub count: u32,
    /// The answers.
    pub replies: Replies,
    /// The summary as of the end of the block, if it changed.
    pub summary: Option<Arc<Summary>>,
    /// What was decided, for the metrics.
    pub tally: Tally,
}

/// What was decided in a block.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Commands decided.
    pub commands: u64,
    /// Coupons issued.
    pub issued: u64,
    /// Answers given again.
    pub replayed: u64,
    /// Refusals, by [`Refusal::index`].
    pub refusals: [u32; Refusal::COUNT],
    /// Commands turned away because storage is full.
    pub storage_full: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self { commands: 0, issued: 0, replayed: 0, refusals: [0; Refusal::COUNT], storage_full: 0 }
    }
}

impl Core {
    /// A core that goes on from `state`.
    #[must_use]
    pub fn new(state: State, options: CoreOptions) -> Self {
        let board = Board::new(&state);
        let digested_at = state.seq();
        Self { state, board, options, digested_at }
    }

    /// The state.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The summary of the state as it is now.
    #[must_use]
    pub fn summary(&self) -> Arc<Summary> {
        self.board.summary(&self.state)
    }

    /// Begins a block at `now`, or at the time of the last block if the clock went back: what is due happens first.
    ///
    /// # Errors
    /// A [`Violation`]: the process must stop.
    pub fn begin(&mut self, now: Timestamp, draft: &mut Draft) -> Result<(), Violation> {
        let now = now.max(self.state.time());
        self.state.begin_block(now);
        draft.time_ms = now.as_millis();
        draft.first_seq = self.state.seq() + 1;
        if self.state.seq() - self.digested_at >= self.options.digest_events {
            self.digested_at = self.state.seq();
            let digest = self.state.digest_event();
            self.commit(digest, None, draft)?;
        }
        for event in self.options.rules.due(&self.state) {
            self.commit(event, None, draft)?;
        }
        self.advance_sagas(draft)
    }

    /// Whether the block has taken as much as it should.
    #[must_use]
    pub fn is_full(&self, draft: &Draft) -> bool {
        draft.body.len() >= self.options.block_bytes_soft_max
    }

    /// Decides what `work` asks, into the block.
    ///
    /// # Errors
    /// A [`Violation`]: the process must stop.
    pub fn take(&mut self, work: Work, draft: &mut Draft) -> Result<(), Violation> {
        match work {
            Work::One { command, stamp, reply } => {
                let answer = self.answer(command, stamp, draft)?;
                draft.replies.ones.push((reply, answer));
            }
            Work::Many { commands, reply } => {
                let answers = commands.into_iter().map(|(command, stamp)| self.answer(command, stamp, draft));
                let answers = answers.collect::<Result<Vec<_>, _>>()?;
                draft.replies.many.push((reply, answers));
            }
            Work::Then { command, stamp, then } => {
                let answer = self.answer(command, stamp, draft)?;
                draft.replies.reads.push(then.look(answer, &self.state));
            }
            Work::Read { read } => draft.replies.reads.push(read.look(&self.state)),
        }
        Ok(())
    }

    /// Turns `work` away because nothing can be stored. Looking is always possible.
    pub fn turn_away(&self, work: Work, draft: &mut Draft) {
        match work {
            Work::One { reply, .. } => {
                draft.tally.storage_full += 1;
                draft.replies.ones.push((reply, Answer::StorageFull));
            }
            Work::Many { commands, reply } => {
                draft.tally.storage_full += commands.len() as u64;
                draft.replies.many.push((reply, vec![Answer::StorageFull; commands.len()]));
            }
            Work::Then { then, .. } => {
                draft.tally.storage_full += 1;
                draft.replies.reads.push(then.look(Answer::StorageFull, &self.state));
            }
            Work::Read { read } => draft.replies.reads.push(read.look(&self.state)),
        }
    }

    /// Ends the block: what readers may see of it once it is durable.
    pub fn finish(&mut self, draft: &mut Draft) {
        if draft.count > 0 {
            draft.summary = Some(self.board.publish(&self.state));
        }
    }

    fn answer(
        &mut self,
        command: Command,
        stamp: Option<KeyStamp>,
        draft: &mut Draft,
    ) -> Result<Answer, Violation> {
        draft.tally.commands += 1;
        let last = match self.options.rules.decide(&self.state, command, stamp.as_ref()) {
            Err(refusal) => {
                draft.tally.refusals[refusal.index()] += 1;
                return Ok(Answer::Refused(refusal));
            }
            Ok(Decision::Replay(outcome, seq)) => {
                draft.tally.replayed += 1;
                let seq = seq.unwrap_or(self.state.seq());
                return Ok(Answer::Done { outcome, seq, replayed: true });
            }
            Ok(Decision::Keep(outcome, event)) => {
                draft.tally.replayed += 1;
                let stamp = self.options.rules.stamp(stamp);
                self.commit(event, stamp, draft)?;
                return Ok(Answer::Done { outcome, seq: self.state.seq(), replayed: true });
            }
            Ok(Decision::One(event)) => event,
            Ok(Decision::Many(mut events)) => {
                let Some(last) = events.pop() else {
                    unreachable!("a decision of several events is never empty")
                };
                for event in events {
                    self.commit(event, None, draft)?;
                }
                last
            }
        };
        let stamp = self.options.rules.stamp(stamp);
        let outcome = self.commit(last, stamp, draft)?;
        let Some(outcome) = outcome else { unreachable!("a command's last event has an outcome") };
        self.advance_sagas(draft)?;
        Ok(Answer::Done { outcome, seq: self.state.seq(), replayed: false })
    }

    /// Lets every saga go as far as it can by itself: what this shard can do happens in the block in which it is reached.
    fn advance_sagas(&mut self, draft: &mut Draft) -> Result<(), Violation> {
        while let Some(mut advance) = self.state.advance() {
            let mut outcome = None;
            for event in std::mem::take(&mut advance.events) {
                outcome = self.commit(event, None, draft)?;
            }
            if let Some(settled) = advance.settled(outcome) {
                self.commit(settled, None, draft)?;
            }
        }
        Ok(())
    }

    /// Adds one event to the block and applies it.
    fn commit(
        &mut self,
        event: Event,
        stamp: Option<KeyStamp>,
        draft: &mut Draft,
    ) -> Result<Option<Outcome>, Violation> {
        let entry = Entry { event, stamp };
        codec::encode(&entry, &mut draft.body);
        self.state.apply(&entry)?;
        draft.count += 1;
        match &entry.event {
            Event::Coupon(event) => {
                draft.tally.issued += u64::from(matches!(event, coupon::Event::CouponIssued { .. }));
                self.board.touch(event);
            }
            Event::Saga(saga::Event::Scheduled { saga, step, ask, attempt }) => {
                let open = OpenAsk { saga: *saga, step: *step, ask: *ask, attempt: *attempt };
                // Put together now, while the saga is at hand: who asks need not come back for it.
                draft.replies.asks.extend(self.state.sagas().request(self.state.keys(), open));
            }
            Event::Saga(
                saga::Event::Ended { saga, .. }
                | saga::Event::Parked { saga, .. }
                | saga::Event::Settled { saga, result: saga::Settlement::Awaiting(..), .. },
            ) => draft.replies.rested.push(*saga),
            _ => {}
        }
        Ok(self.state.outcome(&entry.event))
    }
}

impl Draft {
    /// Makes it empty, keeping its memory.
    pub fn clear(&mut self) {
        self.body.clear();
        self.count = 0;
        self.replies = Replies::default();
        self.summary = None;
        self.tally = Tally::default();
    }

    /// Whether there is nothing to store and nobody to answer.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0 && self.replies.is_empty()
    }
}

impl Default for CoreOptions {
    fn default() -> Self {
        Self { digest_events: 65_536, block_bytes_soft_max: 2 << 20, rules: Box::new(DomainRules) }
    }
}
