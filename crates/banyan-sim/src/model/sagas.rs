//! The auditor's own idea of a saga: what was asked, what came of it, and which way it goes. No machine: it does not know
//! what comes next, only what must not.

use super::Objection;
use banyan_domain::saga::{
    Ask, Cause, Definition, End, Event, Fields, OpenAsk, Outcome, Resume, Settlement, Step, StepKind, Target,
};
use banyan_domain::{SagaKey, SagaName, SagaNo, limits};

/// Everything that the log says of sagas.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sagas {
    pub(crate) definitions: Vec<Definition>,
    pub(crate) sagas: Vec<Saga>,
}

#[derive(Clone, Debug)]
pub(crate) struct Saga {
    /// Its place among the definitions.
    pub(crate) definition: usize,
    pub(crate) key: SagaKey,
    pub(crate) input: Fields,
    pub(crate) steps: Vec<StepBook>,
    pub(crate) turned: Option<Cause>,
    pub(crate) parked: Option<usize>,
    pub(crate) ended: Option<End>,
    /// When it ended first.
    pub(crate) ended_at: Option<u64>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct StepBook {
    pub(crate) sent: u32,
    pub(crate) asked: u32,
    pub(crate) undo_sent: u32,
    /// The last word is that it was done, with this output.
    pub(crate) done: Option<Fields>,
    /// The last word is that it was not.
    pub(crate) refused: bool,
    pub(crate) skipped: bool,
    pub(crate) undone: bool,
}

/// What a step of this shard did, to be compared with the state.
pub(crate) struct Local<'a> {
    pub(crate) action: &'a str,
    pub(crate) saga: &'a Saga,
    pub(crate) place: usize,
    pub(crate) output: &'a Fields,
}

const fn is_local(step: &Step) -> bool {
    matches!(step.action.target, Target::Local(_))
}

impl Saga {
    fn passed(&self, before: usize) -> bool {
        self.steps[..before].iter().all(|step| step.done.is_some() || step.skipped)
    }

    /// Whether the point of no return has been reached or may have been.
    pub(crate) fn is_past_pivot(&self, definition: &Definition) -> bool {
        let reached = |step: &StepBook| step.done.is_some() || step.skipped || step.sent > 0;
        let mut steps = self.steps.iter().zip(&definition.steps);
        steps.any(|(book, step)| step.kind == StepKind::Pivot && reached(book))
    }
}

impl Sagas {
    pub(crate) fn saga(&self, no: SagaNo) -> Option<&Saga> {
        self.sagas.get((no.get() as usize).checked_sub(1)?)
    }

    pub(crate) fn newest(&self, name: &SagaName) -> Option<usize> {
        self.definitions.iter().rposition(|definition| definition.name == *name)
    }

    pub(crate) fn definition(&self, saga: &Saga) -> &Definition {
        &self.definitions[saga.definition]
    }

    /// The saga begun for this name and key.
    pub(crate) fn by_key(&self, name: &SagaName, key: &SagaKey) -> Option<SagaNo> {
        let same = |saga: &Saga| saga.key == *key && self.definition(saga).name == *name;
        self.sagas.iter().rposition(same).map(|at| SagaNo::new(at as u64 + 1))
    }

    /// Whether the log has the intent to ask this.
    pub(crate) fn intends(&self, open: OpenAsk) -> bool {
        let book = self.saga(open.saga).and_then(|saga| saga.steps.get(usize::from(open.step)));
        book.is_some_and(|book| match open.ask {
            Ask::Do => open.attempt <= book.sent,
            Ask::Undo => open.attempt <= book.undo_sent,
            Ask::Query => open.attempt <= book.asked,
        })
    }

    /// The local step that `event` settles as done, once it is applied.
    pub(crate) fn local<'a>(&'a self, event: &'a Event) -> Option<Local<'a>> {
        let Event::Settled { saga, step, ask, result: Settlement::Done(output), .. } = event else {
            return None;
        };
        let saga = self.saga(*saga)?;
        let place = usize::from(*step);
        let step = self.definition(saga).steps.get(place)?;
        let action = if *ask == Ask::Undo { step.undo.as_ref()? } else { &step.action };
        let Target::Local(action) = &action.target else { return None };
        Some(Local { action, saga, place, output })
    }

    /// Takes one event.
    pub(crate) fn apply(&mut self, now: u64, event: &Event) -> Result<Outcome, Objection> {
        match event {
            Event::Defined { definition, .. } => {
                let version = self.newest(&definition.name).map_or(0, |at| self.definitions[at].version);
                object_unless!(definition.version == version + 1, "version {version} is the newest");
                self.definitions.push((**definition).clone());
                return Ok(Outcome::Defined { definition: self.definitions.len() as u32 });
            }
            Event::Started { saga, definition, key, input } => {
                object_unless!(saga.get() == self.sagas.len() as u64 + 1, "the saga is out of order");
                let at = (*definition as usize).checked_sub(1).filter(|at| *at < self.definitions.len());
                let at = at.ok_or("it is not defined")?;
                let name = self.definitions[at].name.clone();
                // A key is remembered for a while after the end of its saga, and never forgotten before.
                let forgotten = |no| {
                    let ended_at = self.saga(no).and_then(|saga| saga.ended_at);
                    ended_at.is_some_and(|at| at + limits::SAGA_KEY_MILLIS <= now)
                };
                let free = self.by_key(&name, key).is_none_or(forgotten);
                object_unless!(free, "{} of {key} was begun already", name.as_str());
                object_unless!(self.newest(&name) == Some(at), "there is a newer version");
                let steps = vec![StepBook::default(); self.definitions[at].steps.len()];
                let (key, input) = (key.clone(), input.clone());
                let (turned, parked, ended, ended_at) = (None, None, None, None);
                self.sagas.push(Saga { definition: at, key, input, steps, turned, parked, ended, ended_at });
                return Ok(Outcome::Saga { saga: *saga });
            }
            _ => {}
        }
        let no = event.saga().ok_or("it concerns no saga")?;
        let at = (no.get() as usize).checked_sub(1).filter(|at| *at < self.sagas.len());
        let saga = &mut self.sagas[at.ok_or("there is no such saga")?];
        let definition = &self.definitions[saga.definition];
        moved(saga, definition, now, event)?;
        Ok(Outcome::Saga { saga: no })
    }
}

fn moved(saga: &mut Saga, definition: &Definition, now: u64, event: &Event) -> Result<(), Objection> {
    let known = |step: u8| definition.steps.get(usize::from(step)).ok_or("it has no such step");
    match event {
        Event::Scheduled { step, ask, attempt, .. } => {
            scheduled(saga, known(*step)?, usize::from(*step), *ask, *attempt)
        }
        Event::Settled { step, ask, attempt, result, .. } => {
            settled(saga, known(*step)?, usize::from(*step), (*ask, *attempt), result)
        }
        Event::Skipped { step, .. } => {
            let (place, step) = (usize::from(*step), known(*step)?);
            let wanted = step.when.as_ref().map(|field| saga.input.get(field).unwrap_or_default());
            object_unless!(wanted == Some(""), "it passes over a step that is wanted");
            object_unless!(saga.turned.is_none() && saga.passed(place), "it passes over a step out of order");
            saga.steps[place].skipped = true;
            Ok(())
        }
        Event::TurnedBack { cause, .. } => {
            object_unless!(saga.turned.is_none() && saga.ended.is_none(), "it turns back a second time");
            let mut steps = saga.steps.iter().zip(&definition.steps);
            let taken = steps.any(|(book, step)| step.kind == StepKind::Pivot && book.done.is_some());
            object_unless!(!taken || *cause == Cause::Forced, "it turns back after the point of no return");
            saga.turned = Some(cause.clone());
            saga.parked = None;
            Ok(())
        }
        Event::Parked { step, .. } => {
            known(*step)?;
            object_unless!(saga.parked.is_none(), "it is parked already");
            saga.parked = Some(usize::from(*step));
            Ok(())
        }
        Event::Resumed { how, .. } => {
            let place = saga.parked.take().ok_or("it is not parked")?;
            match how {
                Resume::Retry if saga.turned.is_none() && saga.steps[place].refused => {
                    saga.steps[place] = StepBook::default();
                }
                Resume::Retry => {}
                Resume::Undo => saga.turned = Some(Cause::Forced),
                Resume::Skip(_) => return Err("nobody skips steps here".into()),
            }
            Ok(())
        }
        Event::Ended { end, .. } => {
            object_unless!(saga.ended.is_none() && saga.parked.is_none(), "it ends a second time");
            match end {
                End::Completed => {
                    let whole = saga.turned.is_none() && saga.passed(saga.steps.len());
                    object_unless!(whole, "it is completed with a step that is not done");
                }
                End::Compensated => {
                    object_unless!(saga.turned.is_some(), "it is compensated without having turned back");
                    let steps = saga.steps.iter().zip(&definition.steps);
                    let mut left = steps.filter(|(book, step)| {
                        book.done.is_some() && !book.undone && !step.promises.harmless
                    });
                    let left = left.next().map(|(_, step)| step.name.as_str());
                    object_unless!(left.is_none(), "it is compensated although {left:?} is not undone");
                }
            }
            saga.ended = Some(*end);
            saga.ended_at.get_or_insert(now);
            Ok(())
        }
        Event::Defined { .. } | Event::Started { .. } => Err("it begins twice".into()),
    }
}

fn scheduled(saga: &mut Saga, step: &Step, place: usize, ask: Ask, attempt: u32) -> Result<(), Objection> {
    object_unless!(saga.parked.is_none(), "a parked saga asks");
    object_unless!(saga.ended != Some(End::Completed), "a completed saga asks");
    let (passed, turned) = (saga.passed(place), saga.turned.is_some());
    let later = saga.steps[place + 1..].iter().any(|step| step.done.is_some() && !step.undone);
    let book = &mut saga.steps[place];
    let before = match ask {
        Ask::Do => {
            object_unless!(!is_local(step), "it asks somebody for what this store does");
            object_unless!(book.done.is_none() && !book.skipped && passed, "it does a step out of order");
            // On the way back, a step is only asked for again to find out what became of it.
            let again = book.sent > 0 && step.query.is_none();
            object_unless!(!turned || again, "it does a step on the way back");
            &mut book.sent
        }
        Ask::Query => {
            object_unless!(book.sent > 0, "it asks about what was never asked for");
            &mut book.asked
        }
        Ask::Undo => {
            object_unless!(turned, "it undoes a step on the way forward");
            object_unless!(!later, "it undoes a step before a later one");
            object_unless!(book.sent > 0 || book.done.is_some(), "it undoes what was never asked for");
            saga.ended = None;
            &mut book.undo_sent
        }
    };
    object_unless!(attempt == *before + 1, "try {attempt} follows try {before}");
    *before = attempt;
    Ok(())
}

fn settled(
    saga: &mut Saga,
    step: &Step,
    place: usize,
    (ask, attempt): (Ask, u32),
    result: &Settlement,
) -> Result<(), Objection> {
    let (passed, turned) = (saga.passed(place), saga.turned.is_some());
    let book = &mut saga.steps[place];
    let (local, sent) = match ask {
        Ask::Do => (is_local(step), book.sent),
        Ask::Query => (false, book.asked),
        Ask::Undo => {
            (step.undo.as_ref().is_some_and(|undo| matches!(undo.target, Target::Local(_))), book.undo_sent)
        }
    };
    object_unless!(local || (1..=sent).contains(&attempt), "try {attempt} is answered, {sent} were made");
    match (ask, result) {
        (Ask::Do | Ask::Query, Settlement::Done(output)) => {
            object_unless!(book.done.is_none(), "it is done twice");
            object_unless!(!local || (passed && !turned), "it does a step out of order");
            book.done = Some(output.clone());
            (book.refused, book.undone) = (false, false);
        }
        (Ask::Do | Ask::Query, Settlement::Refused(_)) => {
            object_unless!(book.done.is_none(), "it is refused after it was done");
            book.refused = true;
        }
        (Ask::Undo, Settlement::Done(_)) => {
            object_unless!(turned && !book.undone, "it is undone twice, or on the way forward");
            book.undone = true;
        }
        (Ask::Query, Settlement::Absent) | (_, Settlement::Unknown(_) | Settlement::NotSent(_)) => {}
        (Ask::Do | Ask::Query, Settlement::Awaiting(..)) => {}
        (Ask::Undo, Settlement::Refused(_)) => {}
        (Ask::Do | Ask::Undo, Settlement::Absent) | (Ask::Undo, Settlement::Awaiting(..)) => {
            return Err("nobody can be told that".into());
        }
    }
    Ok(())
}
