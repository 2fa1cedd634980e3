//! Where each capability stands, and what of the old shop's books has no place in stock.

use super::{Capability, Event, Known, MoveStep, Outcome, Phase, Takeover};
use crate::digest::{self, Digest};
use crate::{Actor, ItemNo, Reason, Timestamp, Violation};
use minicbor::{Decode, Encode};
use std::collections::{BTreeMap, BTreeSet};

type Result<T = ()> = core::result::Result<T, Violation>;

/// The state of all capabilities on their way over.
#[derive(Clone, Debug, Default)]
pub struct Legacy {
    pub(super) capabilities: BTreeMap<Capability, CapabilityState>,
    pub(super) mirrored: BTreeMap<ItemNo, Mirrored>,
    /// Up to when everything there is applied.
    pub(super) known: BTreeMap<Capability, Known>,
    /// Items that are short.
    pub(super) short: BTreeSet<ItemNo>,
    pub(super) digest: Digest,
}

/// Where one capability stands.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CapabilityState {
    /// Its phase.
    #[n(0)]
    pub phase: Phase,
    /// Since when.
    #[n(1)]
    pub since: Timestamp,
    /// The number of the last move that was done: what the old database's writers are fenced by.
    #[n(2)]
    pub epoch: u64,
    /// Moves begun so far.
    #[n(3)]
    pub moves: u64,
    /// The move under way.
    #[n(4)]
    pub moving: Option<Move>,
    /// The stream that is followed.
    #[n(5)]
    pub source: Option<Source>,
    /// Writes by others to what Banyan owns, so far.
    #[n(6)]
    pub breaches: u64,
    /// Messages of the old shop that could not be carried out, so far.
    #[n(7)]
    pub refused: u64,
    /// The last comparison.
    #[n(8)]
    pub reconciled: Option<Reconciled>,
    /// Position and index of the last breach.
    #[n(9)]
    pub breach_at: (u64, u32),
    /// The lead was taken back in the old database; until the next move that is done.
    #[n(40)]
    pub taken_over: Option<Takeover>,
    /// Numbers of the messages that were taken in last, in their order, and of all that a copy under way has taken in: they may
    /// still be in the old database's outbox. They are deleted there before the next ones are taken in.
    #[n(41)]
    pub taken: Option<Vec<u64>>,
}

/// A move under way.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Move {
    /// Its number.
    #[n(0)]
    pub number: u64,
    /// Where to.
    #[n(1)]
    pub to: Phase,
    /// Who asked for it.
    #[n(2)]
    pub by: Actor,
    /// Why.
    #[n(3)]
    pub reason: Reason,
    /// Since when.
    #[n(4)]
    pub begun_at: Timestamp,
    /// The points it has come to, with when and what was seen, in order.
    #[n(5)]
    pub noted: Vec<(MoveStep, Timestamp, Reason)>,
    /// What it goes without, in writing.
    #[n(50)]
    pub without: Option<Vec<Without>>,
}

/// Something that must be so before a move, and that a move goes without, in writing.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Without {
    /// Its name, one word.
    #[n(0)]
    pub gate: Reason,
    /// What was found of it when the move was begun.
    #[n(1)]
    pub found: Reason,
}

/// A stream of an old database.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SourceId {
    /// The database system's own identity, such as Postgres's system identifier with its timeline.
    #[n(0)]
    pub system: Box<str>,
    /// The stream within it, such as a replication slot.
    #[n(1)]
    pub stream: Box<str>,
}

/// How far a stream is applied.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Source {
    /// Which stream.
    #[n(0)]
    pub id: SourceId,
    /// Everything up to this position is applied.
    #[n(1)]
    pub position: u64,
    /// Of the transaction there, parts up to this one.
    #[n(2)]
    pub part: u32,
    /// Whether the rows are still being copied.
    #[n(3)]
    pub copying: bool,
}

/// What a comparison came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Reconciled {
    /// When.
    #[n(0)]
    pub at: Timestamp,
    /// As of which position of the stream.
    #[n(1)]
    pub position: u64,
    /// Rows compared.
    #[n(2)]
    pub rows: u64,
    /// Rows that differed.
    #[n(3)]
    pub differing: u64,
    /// Of these, rows put right.
    #[n(4)]
    pub repaired: u64,
}

/// What the old shop's books say of an item beyond what stock has a place for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mirrored {
    /// Units sold by orders of the old shop and not shipped yet. Stock does not have them on hand any more.
    pub allocated: u32,
    /// Units sold beyond what there was.
    pub short: u32,
}

impl Default for CapabilityState {
    fn default() -> Self {
        Self {
            phase: Phase::Legacy,
            since: Timestamp::default(),
            epoch: 0,
            moves: 0,
            moving: None,
            source: None,
            breaches: 0,
            refused: 0,
            reconciled: None,
            breach_at: (0, 0),
            taken_over: None,
            taken: None,
        }
    }
}

impl CapabilityState {
    /// Whether Banyan may decide now: it leads, and is not about to hand over.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.phase.leads() && !self.moving.as_ref().is_some_and(Move::closes)
    }

    /// Whether the move under way has come to `step`.
    #[must_use]
    pub fn has_noted(&self, step: MoveStep) -> bool {
        self.moving.as_ref().is_some_and(|moving| moving.has_noted(step))
    }
}

impl Move {
    /// Whether Banyan decides nothing more because of it: it hands over to the old shop, and what must be so before was looked at.
    /// Until then everything is sold as ever.
    #[must_use]
    pub fn closes(&self) -> bool {
        !self.to.leads() && self.has_noted(MoveStep::Checked)
    }

    /// Whether it has come to `step`.
    #[must_use]
    pub fn has_noted(&self, step: MoveStep) -> bool {
        self.noted.iter().any(|(noted, _, _)| *noted == step)
    }

    /// Whether it goes without what `gate` names, in writing.
    #[must_use]
    pub fn goes_without(&self, gate: &str) -> bool {
        self.without.iter().flatten().any(|without| without.gate.as_str() == gate)
    }
}

impl Legacy {
    /// Where `capability` stands; in phase `legacy` if it never moved.
    #[must_use]
    pub fn capability(&self, capability: Capability) -> CapabilityState {
        self.capabilities.get(&capability).cloned().unwrap_or_default()
    }

    /// What the old books say of `item`, if it is one of theirs.
    #[must_use]
    pub fn mirrored(&self, item: ItemNo) -> Option<Mirrored> {
        self.mirrored.get(&item).copied()
    }

    /// Every item of the old shop, in order of the items' numbers.
    pub fn mirrored_items(&self) -> impl Iterator<Item = (ItemNo, Mirrored)> {
        self.mirrored.iter().map(|(item, mirrored)| (*item, *mirrored))
    }

    /// Items that were sold beyond what there was, in order of their numbers.
    pub(crate) fn short_items(&self) -> impl Iterator<Item = ItemNo> {
        self.short.iter().copied()
    }

    /// How many items are the old shop's.
    #[must_use]
    pub fn mirrored_count(&self) -> usize {
        self.mirrored.len()
    }

    /// Whether Banyan may decide about items of the old shop now. Yes where there are none.
    #[must_use]
    pub fn is_open(&self, capability: Capability) -> bool {
        self.mirrored.is_empty() || self.capabilities.get(&capability).is_some_and(CapabilityState::is_open)
    }

    /// The digest kept current by `apply`.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The digest computed from nothing, to compare with [`Self::digest`].
    #[must_use]
    pub fn recompute_digest(&self) -> Digest {
        let mut digest = Digest::default();
        for (capability, state) in &self.capabilities {
            digest.add(capability_digest(*capability, state));
        }
        for (item, mirrored) in &self.mirrored {
            digest.add(mirrored.digest(*item));
        }
        for (capability, known) in &self.known {
            digest.add(known.digest(*capability));
        }
        digest
    }

    /// Checks every invariant by counting from nothing.
    ///
    /// # Errors
    /// The first [`Violation`] found.
    pub fn check_invariants(&self) -> Result {
        ensure(self.recompute_digest() == self.digest, "the old shop's books differ from their digest")?;
        let short = self.mirrored.iter().filter(|(_, mirrored)| mirrored.short > 0).map(|(item, _)| item);
        ensure(short.eq(&self.short), "the short items differ from the old shop's books")
    }

    /// The answer to the command whose last event is `event`, which has just been applied.
    pub(crate) fn outcome(&self, event: &Event) -> Outcome {
        let state = self.capability(event.capability());
        match event {
            Event::MoveBegun { number, .. } => Outcome::Move { number: *number },
            Event::MoveNoted { .. } => Outcome::Move { number: state.moves },
            Event::MoveDone { .. } | Event::MoveAborted { .. } => Outcome::Move { number: state.moves },
            Event::SourceSet { position, .. } => Outcome::Source { position: *position, part: 0 },
            Event::SourceApplied { position, part, .. } => {
                Outcome::Source { position: *position, part: *part }
            }
            Event::SourceCopied { .. }
            | Event::ItemMirrored { .. }
            | Event::BreachNoted { .. }
            | Event::BreachesNoted { .. }
            | Event::SourceKnown { .. }
            | Event::Reconciled { .. }
            | Event::OutboxRefused { .. }
            | Event::TakenOver { .. } => Outcome::Noted,
        }
    }

    /// Applies one event that happened `at` the time of its block.
    ///
    /// # Errors
    /// A [`Violation`] if the event breaks an invariant; the state is unchanged then.
    pub(crate) fn apply(&mut self, at: Timestamp, event: &Event) -> Result {
        if let Event::ItemMirrored { item, allocated, short } = event {
            let new = Mirrored { allocated: *allocated, short: *short };
            if *short > 0 {
                self.short.insert(*item);
            } else {
                self.short.remove(item);
            }
            if let Some(old) = self.mirrored.insert(*item, new) {
                self.digest.sub(old.digest(*item));
            }
            self.digest.add(new.digest(*item));
            return Ok(());
        }
        if let Event::SourceKnown { capability, until, position } = event {
            return self.apply_known(at, *capability, Known { until: *until, position: *position });
        }
        let capability = event.capability();
        let old = self.capabilities.get(&capability);
        let mut state = old.cloned().unwrap_or_default();
        state.apply(at, event)?;
        if let Some(old) = old {
            self.digest.sub(capability_digest(capability, old));
        }
        self.digest.add(capability_digest(capability, &state));
        self.capabilities.insert(capability, state);
        Ok(())
    }
}

impl CapabilityState {
    fn apply(&mut self, at: Timestamp, event: &Event) -> Result {
        match event {
            Event::MoveBegun { number, to, by, reason, without, .. } => {
                ensure(self.moving.is_none(), "a move began while another was under way")?;
                ensure(*number == self.moves + 1, "moves must be numbered one after the other")?;
                ensure(self.phase.is_next_to(*to), "a move skips a phase")?;
                self.moves = *number;
                self.moving = Some(Move {
                    number: *number,
                    to: *to,
                    by: by.clone(),
                    reason: reason.clone(),
                    begun_at: at,
                    noted: Vec::new(),
                    without: without.clone(),
                });
            }
            Event::MoveNoted { step, note, .. } => {
                let moving = self.moving.as_mut().ok_or(NO_MOVE)?;
                ensure(!moving.has_noted(*step), "a move came to the same point twice")?;
                moving.noted.push((*step, at, note.clone()));
            }
            Event::MoveDone { .. } => {
                let moving = self.moving.take().ok_or(NO_MOVE)?;
                self.phase = moving.to;
                self.since = at;
                self.epoch = moving.number;
                self.taken_over = None;
                if self.phase == Phase::Legacy {
                    self.source = None;
                }
            }
            Event::MoveAborted { .. } => {
                self.moving.take().ok_or(NO_MOVE)?;
            }
            Event::SourceSet { source, position, .. } => {
                self.source =
                    Some(Source { id: source.clone(), position: *position, part: 0, copying: true });
                self.breach_at = (0, 0);
            }
            Event::SourceCopied { .. } => {
                self.source.as_mut().ok_or(NO_SOURCE)?.copying = false;
                // It ends only after the old database has deleted them.
                self.taken = None;
            }
            Event::SourceApplied { position, part, ids, .. } => {
                let source = self.source.as_mut().ok_or(NO_SOURCE)?;
                match (ids, self.taken.as_mut()) {
                    (None, _) => {}
                    // A copy may have been cut off behind some of them, and meets the others later.
                    (Some(ids), Some(taken)) if source.copying => taken.extend(ids),
                    (Some(ids), _) => self.taken = Some(ids.clone()),
                }
                let follows = source.follows(*position, *part);
                ensure(follows == Some(true), "a source transaction was applied twice or out of order")?;
                (source.position, source.part) = (*position, *part);
            }
            Event::BreachNoted { position, index, .. } => self.breached(1, (*position, *index))?,
            Event::BreachesNoted { count, named, others, position, index, .. } => {
                let told = named.len() + others.len();
                ensure(*count > 0 && told <= *count as usize, "breaches were noted that were none")?;
                self.breached(u64::from(*count), (*position, *index))?;
            }
            Event::Reconciled { position, rows, differing, repaired, .. } => {
                let [position, rows, differing, repaired] = [*position, *rows, *differing, *repaired];
                self.reconciled = Some(Reconciled { at, position, rows, differing, repaired });
            }
            Event::OutboxRefused { .. } => self.refused += 1,
            Event::TakenOver { number, phase, .. } => self.take_over(at, *number, *phase)?,
            Event::ItemMirrored { .. } | Event::SourceKnown { .. } => {
                unreachable!("applied to the items and the watermark above")
            }
        }
        Ok(())
    }

    /// Counts breaches of which the last was `at` that position and index.
    fn breached(&mut self, count: u64, at: (u64, u32)) -> Result {
        let later = self.breaches == 0 || at > self.breach_at || self.breach_at == (0, 0);
        ensure(later, "a breach was noted twice")?;
        self.breaches += count;
        self.breach_at = at;
        Ok(())
    }

    /// Whether a breach there is one that was noted.
    pub(crate) fn breach_is_known(&self, position: u64, index: u32) -> bool {
        self.breach_at != (0, 0) && (position, index) <= self.breach_at
    }
}

impl Source {
    /// Whether `part` of the transaction at `position` comes next: not if it is applied already, none if one before it is
    /// missing.
    pub(crate) fn follows(&self, position: u64, part: u32) -> Option<bool> {
        if (position, part) <= (self.position, self.part) {
            return Some(false);
        }
        let first = position > self.position && part == 1;
        let next = position == self.position && part == self.part + 1;
        (first || next).then_some(true)
    }
}

impl Mirrored {
    fn digest(self, item: ItemNo) -> u128 {
        digest::row(&[72, u64::from(item.get()), u64::from(self.allocated), u64::from(self.short)])
    }
}

const NO_MOVE: Violation = Violation::new("an event is of a move, and none is under way");
const NO_SOURCE: Violation = Violation::new("an event is of a stream, and none is followed");

fn capability_digest(capability: Capability, state: &CapabilityState) -> u128 {
    let mut bytes = vec![capability as u8];
    minicbor::encode(state, &mut bytes).expect("a vector takes every write");
    digest::row_bytes(71, &bytes)
}

fn ensure(holds: bool, what: &'static str) -> Result {
    if holds { Ok(()) } else { Err(Violation::new(what)) }
}
