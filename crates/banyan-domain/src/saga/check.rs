//! A small model checker: searches every order of lost, late and repeated messages, refusals, time-outs, crashes and a
//! cancellation that one saga of a definition can meet, and finds the shortest that ends badly.
//!
//! It runs the machine that runs in production. Only the world around it is a model: a participant for each step that keeps
//! the promises of its step (or, to show that the checker would notice, does not), and a network that may do anything but
//! invent messages. Time is counted from the present and patience is cut short, so that the search is finite.

use super::definition::{Definition, Patience, StepKind};
use super::event::{Ask, Cause, End, Event, Settlement};
use super::fields::Fields;
use super::instance::{Mode, Next, Phase, Saga, StepState};
use crate::{Actor, Millis, Reason, SagaKey, SagaNo, Timestamp};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The present, in every state: times are moved so that it stays the same, and equal situations are recognised.
const NOW: u64 = 1_000_000;
const WAIT: u64 = 10;
/// A request may take effect for this long after it was sent.
const LATE: u64 = 15;
/// Most inputs of which every choice is tried.
const CHOICES_MAX: usize = 6;

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
}

/// What a search came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Different situations seen.
    pub states: usize,
    /// Whether every situation was looked into; false if the limit ended the search.
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

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct World {
    saga: Saga,
    parties: Vec<Party>,
    /// Requests on their way: place, ask, try, when sent.
    requests: BTreeSet<(u8, Ask, u32, u64)>,
    /// Answers on their way: place, ask, try, and what they say.
    answers: BTreeSet<(u8, Ask, u32, Answer)>,
    cancelled: bool,
}

/// What the participant of one step has.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Party {
    effects: i8,
    seen: bool,
    undone: bool,
    refused: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Answer {
    Done,
    Refused,
    NotSent,
    Absent,
}

/// Searches all that can happen to a saga of `definition`, up to `states_max` situations.
#[must_use]
pub fn check(definition: &Definition, plant: Option<Plant>, states_max: usize) -> Checked {
    let mut definition = definition.clone();
    definition.deadline = None;
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
    Search { definition, plant, states_max }.run()
}

struct Search {
    definition: Definition,
    plant: Option<Plant>,
    states_max: usize,
}

impl Search {
    fn run(&self) -> Checked {
        let mut seen: BTreeMap<World, usize> = BTreeMap::new();
        let mut ways: Vec<(usize, String)> = Vec::new();
        let mut queue = VecDeque::new();
        for (label, world) in self.starts() {
            if !seen.contains_key(&world) {
                seen.insert(world.clone(), ways.len());
                ways.push((usize::MAX, label));
                queue.push_back(world);
            }
        }
        while let Some(world) = queue.pop_front() {
            let from = seen[&world];
            let moves = self.moves(&world);
            let stuck = moves.is_empty() && !world.saga.is_over() && world.saga.parked.is_none();
            let what = if stuck {
                Some("the saga waits for something that will never come")
            } else {
                self.judge(&world)
            };
            if let Some(what) = what {
                let bad = Some(BadTrace { what, moves: way(&ways, from) });
                return Checked { states: seen.len(), complete: false, bad };
            }
            for (label, mut next) in moves {
                self.prune(&mut next);
                if seen.contains_key(&next) {
                    continue;
                }
                if seen.len() >= self.states_max {
                    return Checked { states: seen.len(), complete: false, bad: None };
                }
                seen.insert(next.clone(), ways.len());
                ways.push((from, label));
                queue.push_back(next);
            }
        }
        Checked { states: seen.len(), complete: true, bad: None }
    }

    /// A beginning for every choice of the inputs on which steps depend.
    fn starts(&self) -> Vec<(String, World)> {
        let wanted = self.definition.steps.iter().filter_map(|step| step.when.as_deref());
        let fields: Vec<&str> = wanted.collect::<BTreeSet<_>>().into_iter().collect();
        // With very many fields, all of them and none of them must do.
        let all = (1_u64 << fields.len().min(63)) - 1;
        let choices: Vec<u64> =
            if fields.len() <= CHOICES_MAX { (0..=all).rev().collect() } else { vec![all, 0] };
        choices.into_iter().map(|choice| self.start(&fields, choice)).collect()
    }

    fn start(&self, fields: &[&str], choice: u64) -> (String, World) {
        let key = SagaKey::new("k").expect("a valid key");
        let chosen = fields.iter().enumerate().filter(|(i, _)| choice >> i & 1 == 1).map(|(_, field)| *field);
        let input: Fields = chosen.map(|field| (field, "1")).collect();
        let missing: Vec<&str> = fields.iter().copied().filter(|field| input.get(field).is_none()).collect();
        let label =
            if missing.is_empty() { String::new() } else { format!("begun without {}", missing.join(", ")) };
        let steps = self.definition.steps.len();
        let saga = Saga::new(SagaNo::new(1), 1, steps, key, input, Timestamp::from_millis(NOW));
        let world = World {
            saga,
            parties: vec![Party::default(); steps],
            requests: BTreeSet::new(),
            answers: BTreeSet::new(),
            cancelled: false,
        };
        (label, world)
    }

    /// What is wrong in this situation.
    fn judge(&self, world: &World) -> Option<&'static str> {
        let steps = || self.definition.steps.iter().zip(&world.parties);
        if steps().any(|(_, party)| party.effects > 1) {
            return Some("a step took effect twice");
        }
        if steps().any(|(_, party)| party.effects < 0) {
            return Some("an undo took away what was not there");
        }
        if world.saga.parked.as_ref().is_some_and(|park| &*park.why == "it has no undo") {
            return Some("a step has to be undone and has no undo");
        }
        // As long as something is on its way, the end is not the end.
        let quiet = world.requests.is_empty() && world.answers.is_empty();
        match world.saga.phase {
            Phase::Ended(End::Completed) => {
                let missing = |(state, party): (&StepState, &Party)| {
                    matches!(state, StepState::Done(_)) && party.effects != 1
                };
                let missing = world.saga.steps.iter().zip(&world.parties).any(missing);
                missing.then_some("the saga is completed and a step has no effect")
            }
            Phase::Ended(End::Compensated) if quiet && self.next_is_wait(world) => {
                let left = steps().any(|(step, party)| !step.promises.harmless && party.effects != 0);
                left.then_some("the saga is undone and an effect is left")
            }
            _ => None,
        }
    }

    fn next_is_wait(&self, world: &World) -> bool {
        world.saga.next(&self.definition) == Next::Wait
    }

    fn moves(&self, world: &World) -> Vec<(String, World)> {
        let mut moves = Vec::new();
        match world.saga.next(&self.definition) {
            Next::Wait => self.outside(world, &mut moves),
            Next::Event(event) => self.event(world, &event, &mut moves),
            Next::Local { step, ask } => self.local(world, step, ask, &mut moves),
        }
        moves
    }

    fn event(&self, world: &World, event: &Event, moves: &mut Vec<(String, World)>) {
        moves.push((self.label(event), self.after(world, event)));
        if let Event::Scheduled { step, ask: Ask::Do, attempt, .. } = event
            && self.plant == Some(Plant::EffectBeforeIntent)
            && !world.cancelled
        {
            // Sent, and then the process died before the intent was durable; when it is back, somebody has cancelled.
            let mut crashed = world.clone();
            crashed.requests.insert((*step, Ask::Do, *attempt, NOW));
            let cancelled = self.cancel(&crashed);
            moves.push((format!("crash after sending {}, then cancelled", self.name(*step)), cancelled));
        }
    }

    fn local(&self, world: &World, place: usize, ask: Ask, moves: &mut Vec<(String, World)>) {
        let step = &self.definition.steps[place];
        let settle = |result: Settlement, effects: i8| {
            let mut next = world.clone();
            next.parties[place].effects += effects;
            let settled = Event::Settled { saga: SagaNo::new(1), step: place as u8, ask, attempt: 1, result };
            self.apply(&mut next, &settled);
            next
        };
        let name = self.name(place as u8);
        match ask {
            Ask::Undo => {
                moves.push((format!("undo {name}: done"), settle(Settlement::Done(Fields::new()), -1)));
            }
            _ => {
                moves.push((format!("{name}: done"), settle(Settlement::Done(Fields::new()), 1)));
                if step.kind != StepKind::Retriable {
                    moves.push((format!("{name}: refused"), settle(Settlement::Refused("no".into()), 0)));
                }
            }
        }
    }

    /// What comes from outside: messages, time, and somebody who cancels.
    fn outside(&self, world: &World, moves: &mut Vec<(String, World)>) {
        for &(place, ask, attempt, sent) in &world.requests {
            let mut taken = world.clone();
            taken.requests.remove(&(place, ask, attempt, sent));
            self.deliver(&taken, place, ask, attempt, moves);
            let name = self.name(place);
            moves.push((format!("{} {name} #{attempt} is lost", word(ask)), taken.clone()));
            let mut not_sent = taken;
            not_sent.answers.insert((place, ask, attempt, Answer::NotSent));
            moves.push((format!("{} {name} #{attempt} cannot be sent", word(ask)), not_sent));
        }
        for &(place, ask, attempt, answer) in &world.answers {
            let mut next = world.clone();
            next.answers.remove(&(place, ask, attempt, answer));
            let result = settlement(answer);
            if next.saga.takes(usize::from(place), ask, attempt, &result) {
                let event = Event::Settled { saga: SagaNo::new(1), step: place, ask, attempt, result };
                self.apply(&mut next, &event);
            }
            let name = self.name(place);
            moves.push((format!("answer to {} {name} #{attempt}: {}", word(ask), said(answer)), next));
        }
        if let Some(due) = world.saga.due(&self.definition) {
            let now = due.as_millis().max(NOW);
            if let Some(event) = world.saga.fire(&self.definition, Timestamp::from_millis(now)) {
                let mut next = world.clone();
                self.pass(&mut next, now);
                moves.push((format!("time passes: {}", self.label(&event)), self.after_at(&next, &event)));
            }
        } else if let Some(&(.., sent)) = world.requests.iter().find(|(place, ..)| !self.buries(*place)) {
            // Nobody waits for it any more; it is still out there, until it is too late for it.
            let mut next = world.clone();
            self.pass(&mut next, (sent + LATE).max(NOW));
            moves.push(("time passes".into(), next));
        }
        if !world.cancelled && world.saga.phase == Phase::Running && !self.pivot_is_out(world) {
            moves.push(("somebody cancels".into(), self.cancel(world)));
        }
    }

    /// A request reaches its participant, which answers, or whose answer is lost.
    fn deliver(&self, world: &World, place: u8, ask: Ask, attempt: u32, moves: &mut Vec<(String, World)>) {
        let step = &self.definition.steps[usize::from(place)];
        let party = world.parties[usize::from(place)];
        let name = self.name(place);
        let mut answered = |mut next: World, party: Party, answer: Answer, what: &str| {
            next.parties[usize::from(place)] = party;
            let (text, asked) = (format!("{} {name} #{attempt} arrives: {what}", word(ask)), word(ask));
            // An answer that is lost is the same as one that has not come yet: time will pass.
            let mut silent = next.clone();
            if self.plant == Some(Plant::UnknownIsRefused) {
                silent.answers.insert((place, ask, attempt, Answer::Refused));
            }
            next.answers.insert((place, ask, attempt, answer));
            moves.push((text, next));
            moves
                .push((format!("{asked} {name} #{attempt} arrives: {what}, and the answer is lost"), silent));
        };
        match ask {
            Ask::Do => {
                let knows_key = step.promises.idempotent && self.plant != Some(Plant::KeyPerTry);
                let buried = party.undone && self.buries(place) && self.plant != Some(Plant::NoTombstone);
                if buried {
                    answered(world.clone(), party, Answer::Refused, "turned away, it was undone before");
                } else if party.seen && knows_key {
                    let same = if party.refused { Answer::Refused } else { Answer::Done };
                    answered(world.clone(), party, same, "known, the same answer");
                } else {
                    let done = Party { effects: party.effects + 1, seen: true, ..party };
                    answered(world.clone(), done, Answer::Done, "done");
                    if step.kind != StepKind::Retriable {
                        let refused = Party { seen: true, refused: true, ..party };
                        answered(world.clone(), refused, Answer::Refused, "refused");
                    }
                }
            }
            Ask::Query => {
                let answer = match party {
                    Party { refused: true, effects: 0, .. } => Answer::Refused,
                    Party { effects: 0, .. } => Answer::Absent,
                    _ => Answer::Done,
                };
                answered(world.clone(), party, answer, said(answer));
            }
            Ask::Undo => {
                let twice = self.plant == Some(Plant::UndoTwice) && party.undone;
                let taken = if party.effects > 0 || twice { party.effects - 1 } else { party.effects };
                answered(
                    world.clone(),
                    Party { effects: taken, undone: true, ..party },
                    Answer::Done,
                    "undone",
                );
            }
        }
    }

    fn pivot_is_out(&self, world: &World) -> bool {
        self.definition.steps.iter().zip(&world.saga.steps).any(|(step, state)| {
            step.kind == StepKind::Pivot
                && match state {
                    StepState::Done(_) | StepState::Skipped => true,
                    StepState::Doing(tried) => tried.maybe || tried.mode == Mode::Sent,
                    _ => false,
                }
        })
    }

    fn cancel(&self, world: &World) -> World {
        let by = Actor::new("somebody").expect("a valid actor");
        let cause = Cause::Cancelled(by, Reason::new("").expect("a valid reason"));
        let mut next = self.after(world, &Event::TurnedBack { saga: SagaNo::new(1), cause });
        next.cancelled = true;
        next
    }

    fn after(&self, world: &World, event: &Event) -> World {
        self.after_at(&world.clone(), event)
    }

    fn after_at(&self, world: &World, event: &Event) -> World {
        let mut next = world.clone();
        self.apply(&mut next, event);
        if let Event::Scheduled { step, ask, attempt, .. } = event {
            next.requests.insert((*step, *ask, *attempt, NOW));
        }
        next
    }

    fn apply(&self, world: &mut World, event: &Event) {
        let applied = world.saga.apply(&self.definition, Timestamp::from_millis(NOW), event);
        applied.expect("the machine takes its own events");
    }

    /// Moves the present to `now`, and everything else back by as much.
    fn pass(&self, world: &mut World, now: u64) {
        let by = now - NOW;
        // Beyond this, how long ago something was makes no difference.
        let oldest = NOW - 2 * LATE;
        let back =
            |at: &mut Timestamp| *at = Timestamp::from_millis(at.as_millis().saturating_sub(by).max(oldest));
        back(&mut world.saga.started_at);
        back(&mut world.saga.changed_at);
        if let Some(park) = &mut world.saga.parked {
            back(&mut park.since);
        }
        for state in &mut world.saga.steps {
            if let StepState::Doing(tried) | StepState::Undoing(tried) = state {
                back(&mut tried.sent_at);
                back(&mut tried.asked_at);
                back(&mut tried.due);
                back(&mut tried.until);
            }
        }
        let requests = std::mem::take(&mut world.requests);
        for (place, ask, attempt, sent) in requests {
            let sent = sent.saturating_sub(by).max(oldest);
            // A participant with tombstones needs no such bound: whatever comes after its undo is turned away.
            if sent + LATE > NOW || self.buries(place) {
                world.requests.insert((place, ask, attempt, sent));
            }
        }
    }

    /// Takes away what cannot make a difference any more, so that fewer situations look different: questions and answers
    /// that nobody hears, and requests that their participant knows and whose answer nobody hears.
    fn prune(&self, world: &mut World) {
        let World { saga, requests, answers, parties, .. } = world;
        let hears = |place: u8, ask: Ask, attempt: u32| match (&saga.steps[usize::from(place)], ask) {
            (StepState::Doing(tried), Ask::Query) => tried.mode == Mode::Asking && tried.asked == attempt,
            (StepState::Doing(_) | StepState::Not(_), Ask::Do) => true,
            (StepState::Doing(_) | StepState::Done(_) | StepState::Undoing(_), Ask::Undo) => true,
            _ => false,
        };
        requests.retain(|&(place, ask, attempt, _)| {
            let (party, step) = (&parties[usize::from(place)], &self.definition.steps[usize::from(place)]);
            let known = match ask {
                Ask::Do => {
                    let key = step.promises.idempotent && self.plant != Some(Plant::KeyPerTry);
                    let buried = self.buries(place) && self.plant != Some(Plant::NoTombstone);
                    (party.seen && key) || (party.undone && buried)
                }
                Ask::Undo => party.undone && party.effects == 0 && self.plant != Some(Plant::UndoTwice),
                Ask::Query => true,
            };
            !known || hears(place, ask, attempt)
        });
        answers.retain(|&(place, ask, attempt, answer)| {
            let lasting = matches!(answer, Answer::Done | Answer::Refused) && hears(place, ask, attempt);
            lasting || saga.takes(usize::from(place), ask, attempt, &settlement(answer))
        });
    }

    /// Whether the participant of a step promises to remember an undo that comes before its do.
    fn buries(&self, place: u8) -> bool {
        let step = &self.definition.steps[usize::from(place)];
        step.promises.tombstone && step.undo.is_some()
    }

    fn name(&self, place: u8) -> &str {
        self.definition.steps[usize::from(place)].name.as_str()
    }

    fn label(&self, event: &Event) -> String {
        match event {
            Event::Scheduled { step, ask, attempt, .. } => {
                format!("{} {} #{attempt} is scheduled", word(*ask), self.name(*step))
            }
            Event::Settled { step, ask, .. } => format!("no answer to {} {}", word(*ask), self.name(*step)),
            Event::Skipped { step, .. } => format!("{} is skipped", self.name(*step)),
            Event::TurnedBack { .. } => "the saga turns back".into(),
            Event::Parked { step, why, .. } => format!("parked at {}: {why}", self.name(*step)),
            Event::Ended { end: End::Completed, .. } => "completed".into(),
            Event::Ended { end: End::Compensated, .. } => "compensated".into(),
            Event::Defined { .. } | Event::Started { .. } | Event::Resumed { .. } => "begins".into(),
        }
    }
}

fn word(ask: Ask) -> &'static str {
    match ask {
        Ask::Do => "do",
        Ask::Undo => "undo",
        Ask::Query => "query",
    }
}

fn said(answer: Answer) -> &'static str {
    match answer {
        Answer::Done => "done",
        Answer::Refused => "refused",
        Answer::NotSent => "not sent",
        Answer::Absent => "nothing known of it",
    }
}

fn settlement(answer: Answer) -> Settlement {
    match answer {
        Answer::Done => Settlement::Done(Fields::new()),
        Answer::Refused => Settlement::Refused("no".into()),
        Answer::NotSent => Settlement::NotSent("not reached".into()),
        Answer::Absent => Settlement::Absent,
    }
}

fn way(ways: &[(usize, String)], mut at: usize) -> Vec<String> {
    let mut moves = Vec::new();
    while let Some((before, label)) = ways.get(at) {
        moves.push(label.clone());
        at = *before;
    }
    moves.retain(|label| !label.is_empty());
    moves.reverse();
    moves
}
