//! What sagas asked of the company, followed event by event.

use crate::books::{Books, Effect, EffectState, Source, What};
use banyan_domain::saga::{
    self, Action, Ask, Definition, End, Fields, Resume, Saga, Settlement, Step, StepState, Target, step_key,
};
use banyan_domain::{Keys, SagaNo, Timestamp};
use std::collections::BTreeMap;

/// A saga under way.
pub(crate) struct Tracked {
    saga: Saga,
    /// The places of its effects: step and ask.
    effects: BTreeMap<(u8, Ask), usize>,
    parked: Option<u8>,
    compensating: bool,
    payment: Option<String>,
}

impl Books {
    /// Takes an event of a saga.
    pub(crate) fn saga(&mut self, at: Timestamp, event: &saga::Event) {
        if let saga::Event::Defined { definition, .. } = event {
            self.definitions.push((**definition).clone());
            return;
        }
        if let saga::Event::Started { saga, definition, key, input } = event {
            self.started(*saga, *definition, key, input, at);
            return;
        }
        let Some((no, mut tracked)) = event.saga().and_then(|no| Some((no, self.running.remove(&no)?)))
        else {
            return;
        };
        let Some(definition) = self.definitions.get(tracked.saga.definition as usize - 1) else { return };
        let mut ended = None;
        match event {
            saga::Event::Scheduled { step, ask, .. } => {
                let asked = Asked {
                    saga: &tracked.saga,
                    definition,
                    company: &self.company,
                    at,
                    keys: self.keys.as_ref(),
                };
                if let Some((place, effect)) = asked.effect(*step, *ask) {
                    let payment = Some(effect.payment.clone()).filter(|payment| !payment.is_empty());
                    tracked.payment = payment.or(tracked.payment);
                    match tracked.effects.get(&place).map(|known| &mut self.effects[*known]) {
                        None => {
                            tracked.effects.insert(place, self.effects.len());
                            self.effects.push(effect);
                        }
                        // What may have been taken when it was authorized may have been taken since then.
                        Some(known) if known.only_authorized && !effect.only_authorized => {
                            *known = Effect { asked_at: known.asked_at, ..effect };
                        }
                        Some(_) => {}
                    }
                }
            }
            saga::Event::Settled { step, ask, result, .. } => {
                settled(&mut tracked, definition, &self.company, &mut self.effects, *step, *ask, at, result);
                if let Settlement::Done(output) = result
                    && let Some(posting) = made(output).and_then(|made| self.postings.get_mut(&made))
                {
                    posting.saga = Some(no.get());
                }
            }
            saga::Event::TurnedBack { .. } => (tracked.compensating, tracked.parked) = (true, None),
            saga::Event::Parked { step, .. } => tracked.parked = Some(*step),
            saga::Event::Resumed { how, .. } => {
                if let (Some(step), Resume::Skip(output)) = (tracked.parked, how) {
                    skipped(&mut tracked, &mut self.effects, step, at, output);
                }
                tracked.compensating |= *how == Resume::Undo;
                tracked.parked = None;
            }
            saga::Event::Ended { end, .. } => ended = Some(*end),
            saga::Event::Skipped { .. } | saga::Event::Defined { .. } | saga::Event::Started { .. } => {}
        }
        let parked = match event {
            saga::Event::Parked { step, why, .. } => {
                definition.steps.get(usize::from(*step)).map(|step| (step.name.to_string(), why.to_string()))
            }
            _ => None,
        };
        if let Some(source) = self.sources.get_mut(&no.get()) {
            source.payment = tracked.payment.clone().or(source.payment.take());
            source.parked = parked.or_else(|| source.parked.take().filter(|_| tracked.parked.is_some()));
            source.state = match (ended, tracked.parked, tracked.compensating) {
                (Some(End::Completed), ..) => "completed",
                (Some(End::Compensated), ..) => "compensated",
                (None, Some(_), _) => "parked",
                (None, None, true) => "compensating",
                (None, None, false) => "running",
            };
        }
        if ended == Some(End::Compensated) {
            for place in tracked.effects.values() {
                let effect = &mut self.effects[*place];
                if effect.state == EffectState::Open {
                    (effect.state, effect.settled_at) = (EffectState::Not, Some(at));
                }
            }
        }
        // A late answer can open a saga again that ended in going back; one that completed says nothing more.
        if ended != Some(End::Completed) {
            self.running.insert(no, tracked);
        }
    }

    fn started(
        &mut self,
        no: SagaNo,
        number: u32,
        key: &banyan_domain::SagaKey,
        input: &Fields,
        at: Timestamp,
    ) {
        let Some(definition) = (number as usize).checked_sub(1).and_then(|at| self.definitions.get(at))
        else {
            return;
        };
        let moves = |step: &Step| {
            let local = |target: &Target| matches!(target, Target::Local(name) if name.starts_with("pay."));
            let actions = [Some(&step.action), step.undo.as_ref()];
            actions
                .into_iter()
                .flatten()
                .any(|action| operation(&action.target, &self.company).is_some() || local(&action.target))
        };
        if !definition.steps.iter().any(moves) {
            return;
        }
        let asks = definition.steps.iter().any(|step| {
            let actions = [Some(&step.action), step.undo.as_ref()];
            actions.into_iter().flatten().any(|action| movement(&action.target, &self.company).is_some())
        });
        let named = |name: &str| input.get(name).filter(|text| !text.is_empty()).map(str::to_owned);
        let source = Source {
            name: definition.name.to_string(),
            key: key.to_string(),
            order: named("order").unwrap_or_else(|| key.to_string()),
            state: "running",
            parked: None,
            payment: named("payment"),
            moved_at: input.get("moved_at").and_then(|text| crate::instant::parse_instant(text).ok()),
            asks,
        };
        let tracked = Tracked {
            saga: Saga::new(no, number, definition.steps.len(), key.clone(), input.clone(), at),
            effects: BTreeMap::new(),
            parked: None,
            compensating: false,
            payment: source.payment.clone(),
        };
        self.sources.insert(no.get(), source);
        self.running.insert(no, tracked);
    }
}

/// The operation, if `target` is the company.
pub(crate) fn operation<'a>(target: &'a Target, company: &str) -> Option<&'a str> {
    match target {
        Target::Service { service, operation } if **service == *company => Some(operation),
        _ => None,
    }
}

/// What `target` moves at the company, if it does.
fn movement(target: &Target, company: &str) -> Option<What> {
    match operation(target, company)? {
        "capture" => Some(What::Capture),
        "refund" => Some(What::Refund),
        _ => None,
    }
}

/// A saga that is about to ask somebody.
struct Asked<'a> {
    saga: &'a Saga,
    definition: &'a Definition,
    company: &'a str,
    at: Timestamp,
    keys: Option<&'a Keys>,
}

impl Asked<'_> {
    /// The effect of asking for a step or its undo, if it moves money at the company, or may; and which step's it is.
    fn effect(&self, place: u8, ask: Ask) -> Option<((u8, Ask), Effect)> {
        let step = self.definition.steps.get(usize::from(place))?;
        match ask {
            Ask::Query => None,
            Ask::Undo => Some(((place, ask), self.moving(place, ask, step, step.undo.as_ref()?)?)),
            Ask::Do if operation(&step.action.target, self.company) == Some("authorize") => {
                let captures =
                    |step: &Step| movement(&step.action.target, self.company) == Some(What::Capture);
                let after = usize::from(place) + 1;
                let capture = after + self.definition.steps.get(after..)?.iter().position(captures)?;
                let what = What::Capture;
                let effect = Effect {
                    only_authorized: true,
                    key: String::new(),
                    ..self.made(step, &step.action, what)
                };
                Some(((u8::try_from(capture).ok()?, Ask::Do), effect))
            }
            Ask::Do => Some(((place, ask), self.moving(place, ask, step, &step.action)?)),
        }
    }

    fn moving(&self, place: u8, ask: Ask, step: &Step, action: &Action) -> Option<Effect> {
        let what = movement(&action.target, self.company)?;
        let saga = self.saga;
        let key =
            self.keys.map(|keys| step_key(keys, saga.no, saga.started_at, place, ask)).unwrap_or_default();
        Some(Effect { key, ..self.made(step, action, what) })
    }

    fn made(&self, step: &Step, action: &Action, what: What) -> Effect {
        let fill = |name: &str| action.params.get(name).map(|text| text.fill(self.saga, self.definition));
        let text = |name: &str| fill(name).unwrap_or_default();
        Effect {
            saga: self.saga.no.get(),
            step: step.name.to_string(),
            what,
            payment: text("payment"),
            amount: text("amount").parse().ok(),
            currency: text("currency"),
            key: String::new(),
            asked_at: self.at,
            only_authorized: false,
            settled_at: None,
            state: EffectState::Open,
        }
    }
}

/// Takes the answer to a step, its undo, or a question.
#[allow(
    clippy::too_many_arguments,
    reason = "the parts of one event and of the books, each borrowed by itself"
)]
fn settled(
    tracked: &mut Tracked,
    definition: &Definition,
    company: &str,
    effects: &mut [Effect],
    step: u8,
    ask: Ask,
    at: Timestamp,
    result: &Settlement,
) {
    // A question is about the do.
    let about = if ask == Ask::Undo { Ask::Undo } else { Ask::Do };
    let state = match result {
        Settlement::Done(_) => Some(EffectState::Done),
        Settlement::Refused(_) => Some(EffectState::Not),
        Settlement::Unknown(_) | Settlement::NotSent(_) | Settlement::Awaiting(..) | Settlement::Absent => {
            None
        }
    };
    if let (Some(state), Some(place)) = (state, tracked.effects.get(&(step, about))) {
        (effects[*place].state, effects[*place].settled_at) = (state, Some(at));
    }
    if about == Ask::Undo {
        // What is undone without money having moved back, such as a void, did not happen.
        let gives_back = tracked.effects.contains_key(&(step, Ask::Undo));
        if let (Settlement::Done(_), false, Some(place)) =
            (result, gives_back, tracked.effects.get(&(step, Ask::Do)))
        {
            (effects[*place].state, effects[*place].settled_at) = (EffectState::Not, Some(at));
        }
        return;
    }
    if let Settlement::Done(output) | Settlement::Awaiting(output, _) = result {
        let asked = definition.steps.get(usize::from(step)).map(|step| &step.action.target);
        let of_company = asked.is_some_and(|target| operation(target, company).is_some());
        if of_company && let Some(payment) = output.get("payment").filter(|text| !text.is_empty()) {
            tracked.payment = Some(payment.to_owned());
        }
        said(tracked, step, output);
    }
}

/// Takes a step as done (or undone) by hand.
fn skipped(tracked: &mut Tracked, effects: &mut [Effect], step: u8, at: Timestamp, output: &Fields) {
    let ask = if tracked.compensating { Ask::Undo } else { Ask::Do };
    if let Some(place) = tracked.effects.get(&(step, ask)) {
        (effects[*place].state, effects[*place].settled_at) = (EffectState::Done, Some(at));
    }
    if ask == Ask::Do {
        said(tracked, step, output);
    }
}

fn said(tracked: &mut Tracked, step: u8, output: &Fields) {
    if let Some(state) = tracked.saga.steps.get_mut(usize::from(step))
        && (!output.is_empty() || state.output().is_none())
    {
        *state = StepState::Done(output.clone());
    }
}

/// The transfer that a step of the ledger made.
fn made(output: &Fields) -> Option<u64> {
    output
        .get("transfer")
        .and_then(|name| banyan_domain::TransferNo::parse(name).ok())
        .map(banyan_domain::TransferNo::get)
}
