//! A small model checker: searches the orders of events that one saga of a definition can meet, and finds the shortest that ends
//! badly.
//!
//! It runs the machine that runs in production. Only the world around it is a model ([`world`]): a participant for each step
//! that keeps the promises of its step (or, to show that the checker would notice, does not), a network that may do anything
//! but invent messages, a process that may crash at any moment, somebody who cancels, and an operator. What happens is in
//! `moves`, what is wrong in `judge`.
//!
//! Three things keep the search finite. Time is counted from the present, so that situations that differ in their date alone
//! are one. Patience is cut to two tries. And of what could go on for ever there is only so much in one order of events: these
//! are the *surprises*, listed at [`Bounds::surprises`]. Everything else (refusals, lost and late messages, unknown outcomes,
//! time-outs, crashes, a cancellation, the deadline) happens without bound, wherever it can.

mod judge;
mod moves;
mod words;
mod world;

use super::definition::{Definition, Patience};
use crate::Millis;
use std::collections::{BTreeSet, VecDeque};
use world::{LATE, WAIT};

/// A mistake planted to show that the checker would find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// A second undo takes away what is not there.
    UndoTwice,
    /// A request is sent before the intent is durable.
    EffectBeforeIntent,
    /// Each try has another key: the participant cannot tell a retry from a new request.
    KeyPerTry,
    /// A participant forgets an undo that came before its do.
    NoTombstone,
    /// Silence is taken for a refusal.
    UnknownIsRefused,
    /// "It waits for somebody" is taken for a refusal.
    WaitingIsRefused,
    /// A participant refuses to undo what has lapsed by itself.
    LapsedUndoIsRefused,
}

/// How far a search goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Most situations to look into.
    pub situations: usize,
    /// Most surprises in one order of events: a message that the network repeats, a participant that waits for somebody, a
    /// webhook, an undo that is refused, and what an operator decides about a parked saga.
    pub surprises: u8,
}

/// What a search came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Different situations seen.
    pub states: usize,
    /// Whether every situation within the bound of surprises was looked into; false if the limit ended the search.
    pub complete: bool,
    /// The shortest way to a bad end, if there is one.
    pub bad: Option<BadTrace>,
}

/// A way to a bad end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadTrace {
    /// What is wrong at its end.
    pub what: &'static str,
    /// What happened, in order.
    pub moves: Vec<String>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { situations: 2_000_000, surprises: 2 }
    }
}

/// Searches what can happen to a saga of `definition`.
#[must_use]
pub fn check(definition: &Definition, plant: Option<Plant>, bounds: Bounds) -> Checked {
    let mut definition = definition.clone();
    let has_deadline = definition.deadline.take().is_some();
    for step in &mut definition.steps {
        let wait = Millis::new(WAIT);
        step.patience = Patience {
            timeout: wait,
            retry_first: wait,
            retry_longest: wait,
            tries: 2,
            settles_after: Millis::new(LATE),
        };
    }
    // The deadline is no date here, but something that may be over at any moment.
    let overdue = has_deadline.then(|| Definition { deadline: Some(Millis::new(0)), ..definition.clone() });
    Search { definition, overdue, plant, bounds }.run()
}

struct Search {
    definition: Definition,
    /// The same with a deadline that is over, if it has one.
    overdue: Option<Definition>,
    plant: Option<Plant>,
    bounds: Bounds,
}

/// How a situation was first reached: from which, and by which of its moves.
type Way = (u32, u16);

const FROM_NOWHERE: u32 = u32::MAX;

impl Search {
    /// Breadth first, so that the first bad end found is at the end of a shortest way. Of a situation only a hash of 128 bits
    /// is kept: two different ones would have to be among some 10^19 to be likely to share it.
    fn run(&self) -> Checked {
        let mut seen = BTreeSet::new();
        let mut ways: Vec<Way> = Vec::new();
        let mut queue = VecDeque::new();
        for (n, (_, world)) in self.starts().into_iter().enumerate() {
            if seen.insert(world.hash()) {
                queue.push_back((ways.len() as u32, world));
                ways.push((FROM_NOWHERE, n as u16));
            }
        }
        while let Some((from, world)) = queue.pop_front() {
            if let Some(what) = self.judge(&world) {
                let bad = Some(BadTrace { what, moves: self.tell(&ways, from) });
                return Checked { states: ways.len(), complete: false, bad };
            }
            for (n, (_, mut next)) in self.moves(&world).into_iter().enumerate() {
                self.prune(&mut next);
                if !seen.insert(next.hash()) {
                    continue;
                }
                if ways.len() >= self.bounds.situations {
                    return Checked { states: ways.len(), complete: false, bad: None };
                }
                queue.push_back((ways.len() as u32, next));
                ways.push((from, n as u16));
            }
        }
        Checked { states: ways.len(), complete: true, bad: None }
    }

    /// The way to the situation `to`, gone once more for its words: to keep them for every way would take most of the memory.
    fn tell(&self, ways: &[Way], to: u32) -> Vec<String> {
        let mut way = Vec::new();
        let mut at = to;
        while let Some(&(before, n)) = ways.get(at as usize) {
            way.push(usize::from(n));
            at = before;
        }
        let mut way = way.into_iter().rev();
        let mut starts = self.starts();
        let (begun, mut world) = starts.swap_remove(way.next().unwrap_or(0));
        let mut told = vec![begun];
        for n in way {
            let (label, mut next) = self.moves(&world).swap_remove(n);
            self.prune(&mut next);
            told.push(self.words(&label));
            world = next;
        }
        told.retain(|words| !words.is_empty());
        told
    }
}
