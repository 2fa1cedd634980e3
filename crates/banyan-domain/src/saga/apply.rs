//! What each event changes, checked before it is made, in release builds too.

use super::Outcome;
use super::event::Event;
use super::instance::{Next, Saga};
use super::state::{Known, OldKey, Sagas, definition_digest, ended_digest, started_digest};
use crate::state::Violation;
use crate::{Millis, SagaNo, Timestamp, limits};

type Result<T = ()> = core::result::Result<T, Violation>;

fn ensure(holds: bool, what: &'static str) -> Result {
    if holds { Ok(()) } else { Err(Violation::new(what)) }
}

impl Sagas {
    /// Applies one event that happened `at` the time of its block.
    ///
    /// # Errors
    /// A [`Violation`] if the event breaks an invariant; the state is unchanged then.
    pub(crate) fn apply(&mut self, at: Timestamp, event: &Event) -> Result {
        match event {
            Event::Defined { definition, .. } => {
                let version = self.newest(&definition.name).map_or(1, |(_, newest)| newest.version + 1);
                ensure(definition.version == version, "versions of a saga must follow each other")?;
                ensure(super::lint(definition).is_empty(), "an invalid saga was defined")?;
                let number = self.definitions.len() as u32 + 1;
                ensure(
                    number <= limits::SAGA_DEFINITIONS_MAX,
                    "more sagas were defined than can be numbered",
                )?;
                self.digest.add(definition_digest(number, definition));
                self.newest.insert(definition.name.clone(), number);
                self.definitions.push((**definition).clone());
            }
            Event::Started { saga: no, definition: number, key, input } => {
                ensure(no.get() == self.started + 1, "saga numbers must follow each other")?;
                ensure(input.check().is_ok(), "a saga began with an input that is too large")?;
                let definition = self.definition(*number);
                let definition = definition.ok_or(Violation::new("a saga began that is not defined"))?;
                let name = (definition.name.clone(), key.clone());
                ensure(!self.by_key.contains_key(&name), "a saga began twice for one key")?;
                let saga = Saga::new(*no, *number, definition.steps.len(), key.clone(), input.clone(), at);
                let due = saga.due(definition);
                self.digest.sub(started_digest(self.started));
                self.started += 1;
                self.digest.add(started_digest(self.started));
                self.by_key.insert(name, Known { saga: *no, input: Some(input.digest()) });
                self.digest.add(saga.digest());
                self.arm(None, due, *no);
                self.under_way += 1;
                self.ready.insert(*no);
                self.sagas.insert(*no, saga);
            }
            other => self.moved(at, other)?,
        }
        self.forget(at);
        Ok(())
    }

    /// One saga moves.
    fn moved(&mut self, at: Timestamp, event: &Event) -> Result {
        let unknown = Violation::new("an event names a saga that is not there");
        let no = event.saga().ok_or(unknown.clone())?;
        let saga = self.sagas.get_mut(&no).ok_or(unknown)?;
        let definition = &self.definitions[saga.definition as usize - 1];
        // Most events change one step; turning back, or an operator, may change any.
        let place = match event {
            Event::Scheduled { step, .. } | Event::Settled { step, .. } | Event::Skipped { step, .. } => {
                Some(usize::from(*step)).filter(|place| *place < saga.steps.len())
            }
            _ => None,
        };
        let digest = |saga: &Saga| match place {
            Some(place) => saga.moving_digest().wrapping_add(saga.step_digest(place)),
            None => saga.digest(),
        };
        let (before, due_before) = (digest(saga), saga.due(definition));
        let (parked_before, under_way_before) = (saga.parked_since(), saga.is_under_way());
        let said_before: Vec<_> = saga.said().collect();
        saga.apply(definition, at, event)?;
        let said_after: Vec<_> = saga.said().collect();
        if said_before != said_after {
            said_before.iter().for_each(|said| {
                self.said.remove(said);
            });
            self.said.extend(said_after);
        }
        let (after, due_after) = (digest(saga), saga.due(definition));
        let (parked, under_way) = (saga.parked_since(), saga.is_under_way());
        let (waits, is_over) = (saga.next(definition) == Next::Wait, saga.is_over());
        self.digest.sub(before);
        self.digest.add(after);
        self.arm(due_before, due_after, no);
        if parked_before != parked {
            parked_before.map(|before| self.parked.remove(&before));
            self.parked.extend(parked);
        }
        self.under_way = self.under_way + u64::from(under_way) - u64::from(under_way_before);
        if waits {
            self.ready.remove(&no);
        } else {
            self.ready.insert(no);
        }
        // Again at every event of one that is over: late answers may bring it back for a while.
        if is_over {
            self.ended.push_back((at, no));
            self.digest.add(ended_digest(at, no));
        }
        Ok(())
    }

    fn arm(&mut self, before: Option<Timestamp>, after: Option<Timestamp>, no: SagaNo) {
        if before != after {
            before.map(|at| self.deadlines.remove(&(at, no)));
            after.map(|at| self.deadlines.insert((at, no)));
        }
    }

    /// Lets go of what ended long enough ago. By the time of blocks, so a replay lets go of the same at the same event.
    fn forget(&mut self, now: Timestamp) {
        while let Some(&(at, no)) = self.ended.front() {
            if at.plus(Millis::new(limits::SAGA_LATE_MILLIS)) > now {
                break;
            }
            self.ended.pop_front();
            self.digest.sub(ended_digest(at, no));
            let over = |saga: &Saga| saga.is_over() && saga.parked.is_none() && saga.changed_at == at;
            if self.sagas.get(&no).is_some_and(over) {
                let saga = self.sagas.remove(&no).expect("looked up above");
                saga.said().for_each(|said| {
                    self.said.remove(&said);
                });
                self.digest.sub(saga.digest());
                let name = self.definitions[saga.definition as usize - 1].name.clone();
                let input = Some(saga.input.digest());
                let key = OldKey { ended_at: at, name, key: saga.key, saga: no, input };
                self.digest.add(key.digest());
                self.keys.push_back(key);
            }
        }
        let over = |key: &mut OldKey| key.ended_at.plus(Millis::new(limits::SAGA_KEY_MILLIS)) <= now;
        while let Some(key) = self.keys.pop_front_if(over) {
            let old = self.old_keys.entry(key.name.clone()).or_default();
            old.push_back(key);
            let too_old = now.as_millis().saturating_sub(limits::SAGA_OLD_KEY_MILLIS);
            let too_many = old.len() > limits::SAGA_OLD_KEYS_MAX;
            // The oldest of the same name go; of names that end no more sagas they stay, and take no more room.
            let mut gone: Vec<_> = if too_many { old.pop_front().into_iter().collect() } else { Vec::new() };
            while let Some(key) = old.pop_front_if(|key| key.ended_at.as_millis() <= too_old) {
                gone.push(key);
            }
            for key in gone {
                self.digest.sub(key.digest());
                self.by_key.remove(&(key.name, key.key));
            }
        }
    }

    /// The answer to a command whose event is `event`, which has just been applied.
    #[must_use]
    pub fn outcome(&self, event: &Event) -> Outcome {
        match event.saga() {
            Some(saga) => Outcome::Saga { saga },
            None => Outcome::Defined { definition: self.definitions.len() as u32 },
        }
    }

    /// Whether a command could have been answered so without any event.
    #[must_use]
    pub fn is_so(&self, outcome: &Outcome) -> bool {
        match outcome {
            Outcome::Defined { definition } => self.definition(*definition).is_some(),
            Outcome::Saga { saga } => (1..=self.started).contains(&saga.get()),
        }
    }
}
