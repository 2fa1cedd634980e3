//! The auditor's own book of sagas: what each step was asked, what came of it, and whether the saga ended as it says.
//!
//! It follows the events alone, and knows no machine: it says nothing of what should come next, only what may not be.

use super::{Findings, Fingerprint, Followed, Kind, ensure, fingerprint};
use banyan_domain::saga::{Ask, Definition, End, Event, Fields, Resume, Settlement, Step, StepKind, Target};
use banyan_domain::{ReservationNo, TransferNo};
use core::fmt;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How long after a saga's end answers still find it, milliseconds.
const LATE_MILLIS: u64 = 2 * 3_600 * 1_000;
/// How long after a saga's end its key may not be used again, milliseconds: the longest that idempotency keys live.
const KEY_MILLIS: u64 = 26 * 3_600 * 1_000;

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct SagaSummary {
    pub begun: u64,
    pub completed: u64,
    pub compensated: u64,
    pub parked: u64,
    pub under_way: u64,
}

/// What a saga took of this store's goods or money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// A reservation.
    Reservation(u64),
    /// A hold of money.
    Hold(u64),
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reservation(no) => write!(f, "r-{no}"),
            Self::Hold(no) => write!(f, "t-{no}"),
        }
    }
}

/// All sagas that are not over, or not long.
#[derive(Default)]
pub(crate) struct SagaBook {
    definitions: Vec<Definition>,
    sagas: BTreeMap<u64, Saga>,
    /// Ended sagas by when they ended; some of them have moved since.
    ended: VecDeque<(u64, u64)>,
    /// Which saga has a name and key, and when it ended, if it did.
    keys: BTreeMap<Fingerprint, (u64, Option<u64>)>,
    over: VecDeque<(u64, Fingerprint)>,
    /// Sagas in which an operator had a hand.
    by_hand: BTreeSet<u64>,
    begun: u64,
    /// Of those that are no longer in `sagas`.
    completed: u64,
    compensated: u64,
}

/// One saga.
pub(crate) struct Saga {
    definition: usize,
    key: Fingerprint,
    pub way: Way,
    /// The place of the step it is parked at.
    pub parked: Option<usize>,
    steps: Vec<StepPage>,
    input: Fields,
    changed_at: u64,
    taken: Vec<Taken>,
}

/// Which way a saga goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Forward,
    Back,
    Ended(End),
}

/// One step's page.
#[derive(Clone, Copy, Default)]
struct StepPage {
    stands: Stands,
    /// Whether anything that was sent may have had an effect.
    maybe: bool,
    undoing: bool,
    /// How often each ask was made, and since when one waits for its answer.
    asked: [u32; 3],
    open: [Option<u64>; 3],
    sent_at: u64,
    queried_at: u64,
}

/// How a step stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stands {
    #[default]
    Waiting,
    Skipped,
    Begun,
    Done,
    Not,
    Undone,
}

impl StepPage {
    /// Whether it has, or may have, an effect that needs an undo.
    fn has_effect(&self, step: &Step) -> bool {
        let effect = match self.stands {
            Stands::Done => true,
            Stands::Begun => self.undoing || self.maybe || self.open[Ask::Do as usize].is_some(),
            Stands::Waiting | Stands::Skipped | Stands::Not | Stands::Undone => false,
        };
        effect && !step.promises.harmless
    }
}

fn is_local(target: &Target) -> bool {
    matches!(target, Target::Local(_))
}

impl SagaBook {
    /// Follows one event at `time`.
    pub(crate) fn follow(&mut self, time: u64, event: &Event) -> Followed {
        let followed = self.moved(time, event);
        // Afterwards: an answer may find a saga until one of them moves.
        self.forget(time);
        followed
    }

    fn moved(&mut self, time: u64, event: &Event) -> Followed {
        let Some(no) = event.saga().map(banyan_domain::SagaNo::get) else {
            return self.defined(event);
        };
        if let Event::Started { definition, key, input, .. } = event {
            return self.started(time, no, *definition, key.as_str(), input);
        }
        let Some(saga) = self.sagas.get_mut(&no) else {
            return Err((Kind::Saga, format!("saga {no} moved, and never began or ended long ago")));
        };
        let definition = &self.definitions[saga.definition];
        if matches!(event, Event::Resumed { how: Resume::Skip(_) | Resume::Undo, .. }) {
            self.by_hand.insert(no);
        }
        let followed = saga.follow(time, definition, event);
        if let Way::Ended(_) = saga.way {
            self.ended.push_back((time, no));
            self.keys.insert(saga.key, (no, Some(time)));
            self.over.push_back((time, saga.key));
        }
        followed.map_err(|what| (Kind::Saga, format!("saga {no}: {what}")))
    }

    /// What `saga` took, while it is remembered.
    pub(crate) fn taken(&self, saga: u64) -> Vec<Taken> {
        self.sagas.get(&saga).map(|saga| saga.taken.clone()).unwrap_or_default()
    }

    /// Whether an operator has skipped a step of `saga`, or forced it back: what it did then is not for its steps to tell.
    pub(crate) fn is_by_hand(&self, saga: u64) -> bool {
        self.by_hand.contains(&saga)
    }

    /// Whether `saga` has ended, and is not parked again.
    pub(crate) fn is_over(&self, saga: u64) -> bool {
        match self.sagas.get(&saga) {
            Some(saga) => matches!(saga.way, Way::Ended(_)) && saga.parked.is_none(),
            None => (1..=self.begun).contains(&saga),
        }
    }

    /// The saga numbered `no`, while it is remembered.
    pub(crate) fn saga(&self, no: u64) -> Option<&Saga> {
        self.sagas.get(&no)
    }

    /// What was counted.
    pub(crate) fn summary(&self) -> SagaSummary {
        let over = |saga: &&Saga, way: Way| saga.way == way && saga.parked.is_none();
        let count = |way: Way| self.sagas.values().filter(|saga| over(saga, way)).count() as u64;
        let open = |saga: &&Saga| !matches!(saga.way, Way::Ended(_));
        let parked = self.sagas.values().filter(|saga| saga.parked.is_some()).count() as u64;
        SagaSummary {
            begun: self.begun,
            completed: self.completed + count(Way::Ended(End::Completed)),
            compensated: self.compensated + count(Way::Ended(End::Compensated)),
            parked,
            under_way: self.sagas.values().filter(open).filter(|saga| saga.parked.is_none()).count() as u64,
        }
    }

    /// Checks what only the end of the log shows: no ended saga has an effect left, and nobody waits longer than a step's
    /// patience.
    pub(crate) fn close(&self, findings: &mut Findings, (seq, time): (u64, u64), may_be_late: bool) {
        for (no, saga) in &self.sagas {
            let definition = &self.definitions[saga.definition];
            for (page, step) in saga.steps.iter().zip(&definition.steps) {
                // A late effect that cannot be undone parks the saga once more: an operator sees it.
                let over = saga.way == Way::Ended(End::Compensated) && saga.parked.is_none();
                if over && page.has_effect(step) {
                    let what = format!("saga {no} ended, and {} may still have an effect", step.name);
                    findings.add(seq, Kind::Saga, what);
                }
                let due = |since: &u64| since.saturating_add(step.patience.timeout.get()) <= time;
                let waits = page.open.iter().flatten().any(due);
                if waits && !may_be_late && saga.parked.is_none() && !matches!(saga.way, Way::Ended(_)) {
                    let what = format!("saga {no} waits for an answer to {} past its time", step.name);
                    findings.add(seq, Kind::Saga, what);
                }
            }
        }
    }

    fn defined(&mut self, event: &Event) -> Followed {
        let Event::Defined { definition, .. } = event else { return Ok(()) };
        let versions = self.definitions.iter().filter(|known| known.name == definition.name).count();
        let right = definition.version as usize == versions + 1;
        let text = format!("{} version {} is the {}.", definition.name, definition.version, versions + 1);
        self.definitions.push((**definition).clone());
        ensure(right, Kind::Saga, || text)
    }

    fn started(&mut self, time: u64, no: u64, definition: u32, key: &str, input: &Fields) -> Followed {
        self.begun += 1;
        let place = (definition as usize).checked_sub(1).filter(|place| *place < self.definitions.len());
        let Some(place) = place else {
            return Err((Kind::Saga, format!("saga {no} began, and is not defined")));
        };
        let name = &self.definitions[place].name;
        let key = fingerprint(&format!("{name} {key}"));
        let steps = vec![StepPage::default(); self.definitions[place].steps.len()];
        let (way, input) = (Way::Forward, input.clone());
        let saga = Saga {
            definition: place,
            key,
            way,
            parked: None,
            steps,
            input,
            changed_at: time,
            taken: Vec::new(),
        };
        let twice = self.sagas.insert(no, saga).is_some();
        let before = self.keys.insert(key, (no, None));
        let free = before.is_none_or(|(_, ended)| ended.is_some_and(|at| at + KEY_MILLIS <= time));
        ensure(no == self.begun && !twice, Kind::Saga, || {
            format!("saga {no} is the {}. to begin", self.begun)
        })?;
        ensure(free, Kind::Saga, || format!("saga {no} began for a key that saga {before:?} has"))
    }

    fn forget(&mut self, time: u64) {
        while let Some((at, no)) = self.ended.pop_front_if(|(at, _)| *at + LATE_MILLIS <= time) {
            let over = |saga: &Saga| saga.changed_at == at && saga.parked.is_none();
            let way = self.sagas.get(&no).filter(|saga| over(saga)).map(|saga| saga.way);
            let effect = way == Some(Way::Ended(End::Compensated)) && self.has_effect(no);
            match way {
                // Kept: the end of the log finds it.
                _ if effect => continue,
                Some(Way::Ended(End::Completed)) => self.completed += 1,
                Some(Way::Ended(End::Compensated)) => self.compensated += 1,
                _ => continue,
            }
            self.sagas.remove(&no);
        }
        while let Some((at, key)) = self.over.pop_front_if(|(at, _)| *at + KEY_MILLIS <= time) {
            if self.keys.get(&key).is_some_and(|(_, ended)| *ended == Some(at)) {
                self.keys.remove(&key);
            }
        }
    }

    fn has_effect(&self, no: u64) -> bool {
        self.sagas.get(&no).is_some_and(|saga| saga.effect(&self.definitions[saga.definition]).is_some())
    }
}

type Said = Result<(), String>;

fn must(holds: bool, what: impl FnOnce() -> String) -> Said {
    if holds { Ok(()) } else { Err(what()) }
}

impl Saga {
    fn follow(&mut self, time: u64, definition: &Definition, event: &Event) -> Said {
        self.changed_at = time;
        match event {
            Event::Defined { .. } | Event::Started { .. } => Ok(()),
            Event::Scheduled { step, ask, attempt, .. } => {
                let (place, known) = self.place(definition, *step)?;
                self.scheduled(time, definition, place, known, *ask, *attempt)
                    .map_err(|what| format!("{ask:?} {} #{attempt}: {what}", known.name))
            }
            Event::Settled { step, ask, attempt, result, .. } => {
                let (place, known) = self.place(definition, *step)?;
                self.settled(definition, place, known, *ask, *attempt, result)
                    .map_err(|what| format!("answer to {ask:?} {} #{attempt}: {what}", known.name))
            }
            Event::Skipped { step, .. } => {
                let (place, known) = self.place(definition, *step)?;
                let given = known.when.as_ref().and_then(|field| self.input.get(field));
                let wanted = known.when.is_none() || given.is_some_and(|value| !value.is_empty());
                let page = &mut self.steps[place];
                let fits = page.stands == Stands::Waiting && self.way == Way::Forward && !wanted;
                page.stands = Stands::Skipped;
                must(fits, || format!("{} was passed over", known.name))
            }
            Event::TurnedBack { cause, .. } => {
                let fits = self.way == Way::Forward && !self.is_past_pivot(definition);
                self.turn_back();
                must(fits, || {
                    format!("it turned back for {cause:?}, past the point of no return or not going forward")
                })
            }
            Event::Parked { step, .. } => {
                let (place, _) = self.place(definition, *step)?;
                let before = self.parked.replace(place);
                must(before.is_none(), || "it was parked twice".into())
            }
            Event::Resumed { how, .. } => self.resumed(how),
            Event::Ended { end, .. } => {
                let whole = match end {
                    End::Completed => {
                        let over = |page: &StepPage| matches!(page.stands, Stands::Done | Stands::Skipped);
                        self.way == Way::Forward && self.steps.iter().all(over)
                    }
                    End::Compensated => self.way == Way::Back && self.effect(definition).is_none(),
                };
                let parked = self.parked.is_some();
                self.way = Way::Ended(*end);
                must(whole && !parked, || format!("it ended {end:?} with something left to do"))
            }
        }
    }

    fn place<'a>(&self, definition: &'a Definition, step: u8) -> Result<(usize, &'a Step), String> {
        let place = usize::from(step);
        let step = definition.steps.get(place).filter(|_| place < self.steps.len());
        step.map(|step| (place, step)).ok_or_else(|| format!("it has no step {place}"))
    }

    /// The last step with an effect that is not undone.
    fn effect(&self, definition: &Definition) -> Option<usize> {
        self.steps.iter().zip(&definition.steps).rposition(|(page, step)| page.has_effect(step))
    }

    fn is_past_pivot(&self, definition: &Definition) -> bool {
        let pages = self.steps.iter().zip(&definition.steps);
        pages.into_iter().any(|(page, step)| step.kind == StepKind::Pivot && page.stands == Stands::Done)
    }

    fn turn_back(&mut self) {
        self.way = Way::Back;
        self.parked = None;
        for page in &mut self.steps {
            if page.stands == Stands::Begun && !page.maybe && page.open[Ask::Do as usize].is_none() {
                page.stands = Stands::Not;
            }
        }
    }

    /// Steps are done in order, and undone in the reverse order.
    fn check_order(&self, definition: &Definition, place: usize, ask: Ask) -> Said {
        let over = |page: &StepPage| matches!(page.stands, Stands::Done | Stands::Skipped);
        match ask {
            Ask::Do => must(self.steps[..place].iter().all(over), || "an earlier step is not done".into()),
            Ask::Undo => {
                let later = self.effect(definition).filter(|last| *last > place);
                must(later.is_none(), || "a later step is not undone".into())
            }
            Ask::Query => Ok(()),
        }
    }

    fn scheduled(
        &mut self,
        time: u64,
        definition: &Definition,
        place: usize,
        step: &Step,
        ask: Ask,
        attempt: u32,
    ) -> Said {
        let target = match ask {
            Ask::Do => Some(&step.action),
            Ask::Undo => step.undo.as_ref(),
            Ask::Query => step.query.as_ref(),
        };
        let asked_of = target.is_some_and(|action| !is_local(&action.target));
        let (way, parked, order) =
            (self.way, self.parked.is_some(), self.check_order(definition, place, ask));
        let page = &mut self.steps[place];
        let before = *page;
        let first = ask == Ask::Do && page.stands == Stands::Waiting;
        if first || (ask == Ask::Undo && !page.undoing) {
            page.asked = [0; 3];
        }
        let follows = attempt == page.asked[ask as usize] + 1;
        page.asked[ask as usize] = attempt;
        // One question at a time: the one before is answered, or given up.
        page.open = [None; 3];
        page.open[ask as usize] = Some(time);
        match ask {
            Ask::Do => (page.stands, page.sent_at) = (Stands::Begun, time),
            Ask::Undo => page.undoing = true,
            Ask::Query => page.queried_at = time,
        }
        if ask == Ask::Undo && self.way == Way::Ended(End::Compensated) {
            self.way = Way::Back;
        }
        must(asked_of, || "there is nobody to ask".into())?;
        must(!parked, || "the saga is parked".into())?;
        must(follows, || "tries do not follow each other".into())?;
        match ask {
            Ask::Do => {
                let again = matches!(before.stands, Stands::Waiting | Stands::Begun) && !before.undoing;
                must(again, || format!("it was {:?} before, or is being undone", before.stands))?;
                let fits = !first || way == Way::Forward;
                must(fits, || "it was begun on the way back".into())?;
                if first { order } else { Ok(()) }
            }
            Ask::Undo => {
                must(way != Way::Forward, || "it is undone on the way forward".into())?;
                let there = matches!(before.stands, Stands::Done | Stands::Begun);
                must(there, || format!("there is nothing to undo: it was {:?}", before.stands))?;
                order
            }
            Ask::Query => must(before.stands == Stands::Begun, || "nothing is open".into()),
        }
    }

    fn settled(
        &mut self,
        definition: &Definition,
        place: usize,
        step: &Step,
        ask: Ask,
        attempt: u32,
        result: &Settlement,
    ) -> Said {
        let local = match ask {
            Ask::Do => is_local(&step.action.target),
            Ask::Undo => step.undo.as_ref().is_some_and(|undo| is_local(&undo.target)),
            Ask::Query => false,
        };
        if local {
            return self.settled_here(definition, place, step, ask, result);
        }
        let back = self.way != Way::Forward;
        let page = &mut self.steps[place];
        let before = *page;
        let intended = attempt >= 1 && attempt <= page.asked[ask as usize];
        page.open = [None; 3];
        match (ask, result) {
            (Ask::Do | Ask::Query, Settlement::Done(_)) => page.stands = Stands::Done,
            (Ask::Do | Ask::Query, Settlement::Refused(_)) => page.stands = Stands::Not,
            (Ask::Do, Settlement::Unknown(_)) | (Ask::Do | Ask::Query, Settlement::Awaiting(..)) => {
                page.maybe = true;
            }
            (Ask::Do, Settlement::NotSent(_)) if back && !page.maybe => page.stands = Stands::Not,
            (Ask::Query, Settlement::Absent) => {
                let settled =
                    page.sent_at.saturating_add(step.patience.settles_after.get()) <= page.queried_at;
                if settled && back {
                    page.stands = Stands::Not;
                }
                page.maybe = !settled || (step.promises.tombstone && step.undo.is_some());
            }
            (Ask::Undo, Settlement::Done(_)) => (page.stands, page.undoing) = (Stands::Undone, false),
            _ => {}
        }
        must(intended, || "nobody had asked".into())?;
        match ask {
            Ask::Do => {
                let late = before.stands == Stands::Not && matches!(result, Settlement::Done(_)) && back;
                let open = before.stands == Stands::Begun && !before.undoing;
                must(open || late, || format!("it was {:?}, or is being undone", before.stands))
            }
            Ask::Undo => must(before.undoing, || "it was not being undone".into()),
            Ask::Query => must(before.stands == Stands::Begun, || format!("it was {:?}", before.stands)),
        }
    }

    /// What the store does itself is done in the block in which it is reached: without an intent.
    fn settled_here(
        &mut self,
        definition: &Definition,
        place: usize,
        step: &Step,
        ask: Ask,
        result: &Settlement,
    ) -> Said {
        let order = self.check_order(definition, place, ask);
        let before = self.steps[place].stands;
        let (stands, expected) = match (ask, result) {
            (Ask::Do, Settlement::Done(output)) => {
                self.take(step, output);
                (Stands::Done, before == Stands::Waiting && self.way == Way::Forward)
            }
            (Ask::Do, Settlement::Refused(_)) => {
                (Stands::Not, before == Stands::Waiting && self.way == Way::Forward)
            }
            (Ask::Undo, Settlement::Done(_)) => {
                (Stands::Undone, before == Stands::Done && self.way != Way::Forward)
            }
            _ => return Err(format!("{result:?} is no answer of the store itself")),
        };
        self.steps[place].stands = stands;
        must(expected, || format!("it was {before:?}, and the saga goes {:?}", self.way))?;
        order
    }

    fn take(&mut self, step: &Step, output: &Fields) {
        let Target::Local(action) = &step.action.target else { return };
        let taken = match &**action {
            "stock.reserve" => output
                .get("reservation")
                .and_then(|no| ReservationNo::parse(no).ok())
                .map(|no| Taken::Reservation(no.get())),
            "pay.hold" => output
                .get("transfer")
                .and_then(|no| TransferNo::parse(no).ok())
                .map(|no| Taken::Hold(no.get())),
            _ => None,
        };
        self.taken.extend(taken);
    }

    fn resumed(&mut self, how: &Resume) -> Said {
        let place = self.parked.take().ok_or("it was resumed and not parked")?;
        let page = &mut self.steps[place];
        match how {
            Resume::Undo => self.turn_back(),
            // A step that was refused is tried from the beginning.
            Resume::Retry if page.stands == Stands::Not => *page = StepPage::default(),
            Resume::Retry => {}
            Resume::Skip(_) => {
                let stands = if self.way == Way::Forward { Stands::Done } else { Stands::Undone };
                *page = StepPage { stands, ..StepPage::default() };
            }
        }
        Ok(())
    }
}
