//! Tests of the ledger: scripts of questions with their answers, random stories beside a naive model, stored bytes, and
//! events that must be refused.

mod golden;
mod model;
mod properties;
mod refused_events;
mod script;
mod snapshots;
mod table;

use super::{Command, Decision, Event, Ledger, NewTransfer, Outcome, Refusal, Remembered, Transfers};
use crate::{Actor, Digest, Reference, Timestamp};

const KEY: [u8; 16] = [7; 16];

/// A ledger that writes its log down.
#[derive(Clone)]
struct Book {
    ledger: Ledger,
    now: Timestamp,
    log: Vec<(Timestamp, Vec<u8>)>,
}

impl Book {
    fn new() -> Self {
        Self { ledger: Ledger::new(KEY), now: Timestamp::default(), log: Vec::new() }
    }

    /// Begins a block and lets everything happen that is due, a little at a time.
    fn at(&mut self, now: Timestamp) -> Vec<Event> {
        assert!(now >= self.now, "block times never go back");
        self.now = now;
        let mut fired = Vec::new();
        loop {
            let due = self.ledger.due(now, 2);
            if due.is_empty() {
                assert!(self.ledger.next_deadline().is_none_or(|next| next > now), "a deadline was missed");
                return fired;
            }
            for event in due {
                self.apply(&event);
                fired.push(event);
            }
        }
    }

    /// Asks one command. The answer, and whether it needed no event.
    fn ask(&mut self, command: &Command) -> Result<(Outcome, bool), Refusal> {
        let event = match self.ledger.decide(self.now, command.clone())? {
            Decision::One(event) => event,
            Decision::AsItIs(outcome, remembered) => {
                assert!(self.ledger.is_so(&remembered), "it was just answered so");
                assert_eq!(self.ledger.recall(remembered, command), Ok(outcome));
                return Ok((outcome, true));
            }
            other => panic!("{other:?} is nothing that the ledger decides"),
        };
        self.apply(&event);
        let (outcome, remembered) = (self.ledger.outcome(&event), self.ledger.remember(&event));
        assert_eq!(self.ledger.recall(remembered, command), Ok(outcome), "the first answer again");
        assert_eq!(Remembered::from_words(remembered.to_words()), Some(remembered));
        Ok((outcome, false))
    }

    /// Applies an event that must be right, and logs it.
    fn apply(&mut self, event: &Event) {
        let seq = self.log.len() as u64 + 1;
        let applied = self.ledger.apply(self.now, seq, event);
        applied.unwrap_or_else(|violation| panic!("{event:?}: {violation}"));
        self.log.push((self.now, minicbor::to_vec(event).expect("a vector takes every write")));
    }

    fn restart(&mut self) {
        self.ledger = restored(&self.ledger);
    }

    /// Everything that must be true at any moment.
    fn check(&self) {
        self.ledger.check_invariants().unwrap_or_else(|violation| panic!("{violation}"));
        assert!(self.ledger.trial_balance().is_balanced());
    }

    /// Everything that must be true at the end: the log gives the same state, and so does a snapshot.
    fn check_replay(&self) {
        self.check();
        let mut replayed = Ledger::new(KEY);
        for (seq, (at, bytes)) in (1..).zip(&self.log) {
            let event: Event = minicbor::decode(bytes).expect("what was written can be read");
            replayed.apply(*at, seq, &event).expect("what was applied live applies again");
        }
        assert_eq!(replayed.digest(), self.ledger.digest());
        assert!(snapshot(&replayed) == snapshot(&self.ledger), "a replay gives other snapshot bytes");
        let restored = restored(&self.ledger);
        assert_eq!(restored.digest(), self.ledger.digest());
        assert_eq!(restored.recompute_digest(), self.ledger.digest());
        assert_eq!(restored.next_deadline(), self.ledger.next_deadline());
        assert!(snapshot(&restored) == snapshot(&self.ledger), "a restored snapshot gives other bytes");
    }
}

fn snapshot(ledger: &Ledger) -> Vec<u8> {
    let mut bytes = Vec::new();
    ledger.write_snapshot(&mut bytes);
    bytes
}

fn restored(ledger: &Ledger) -> Ledger {
    let bytes = [snapshot(ledger), b"what follows".to_vec()].concat();
    let mut rest = &bytes[..];
    let restored = Ledger::read_snapshot(&mut rest, KEY).expect("a snapshot can be read");
    assert_eq!(rest, b"what follows", "the section ends where it ends");
    restored
}

/// All that can be told from outside, for "nothing changed".
fn state_of(ledger: &Ledger) -> (Vec<u8>, Digest, Option<Timestamp>) {
    (snapshot(ledger), ledger.digest(), ledger.next_deadline())
}

fn by() -> Actor {
    Actor::new("ops").expect("a valid actor")
}

fn reference() -> Reference {
    Reference::new("o-1").expect("a valid reference")
}

fn transfer(transfers: Vec<NewTransfer>) -> Command {
    let transfers = Transfers::new(transfers).expect("a valid group");
    Command::Transfer { transfers, reference: reference(), by: by() }
}
