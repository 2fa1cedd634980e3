//! Sagas as the wire writes them.

use crate::clock::rfc3339;
use banyan_domain::saga::{
    Action, Cause, Definition, End, Fault, Fields, Mode, Phase, Saga, StepKind, StepState, Target, Try,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A saga to begin.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartSagaJson {
    /// Which saga; its newest version is begun.
    #[schema(example = "checkout")]
    pub name: String,
    /// What it is about: one saga of a name for one key. 1 to 96 visible ASCII characters.
    #[schema(example = "order-1")]
    pub key: String,
    /// Its input: at most 32 texts of at most 8,192 bytes.
    #[serde(default)]
    pub input: BTreeMap<String, String>,
}

/// How to let a parked saga go on.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResumeJson {
    /// `retry` tries the step again, `skip` counts it as done by hand, `undo` turns the saga back, past its pivot too.
    pub how: ResumeHowJson,
    /// The `mark` of the saga as you saw it: it is refused (`saga-changed`) if anything happened to the saga since.
    #[schema(example = "3f0c9a52d1b7e684")]
    pub mark: String,
    /// Why, for the record.
    pub reason: String,
    /// With `skip`: what the step would have said to those after it.
    #[serde(default)]
    pub output: BTreeMap<String, String>,
}

/// How to let a parked saga go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ResumeHowJson {
    /// Try the step again.
    Retry,
    /// Count the step as done, or undone, by hand.
    Skip,
    /// Turn back, past the pivot too.
    Undo,
}

/// Where a saga stands.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SagaJson {
    /// Its number.
    pub saga: u64,
    /// Its name.
    pub name: String,
    /// The version it began with, and stays with.
    pub version: u32,
    /// What it is about.
    pub key: String,
    /// `running`, `compensating`, `completed` or `compensated`.
    pub phase: &'static str,
    /// Its input.
    pub input: BTreeMap<String, String>,
    /// Its steps, in order.
    pub steps: Vec<SagaStepJson>,
    /// Why it cannot go on by itself, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parked: Option<ParkJson>,
    /// Why it turned back, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<CauseJson>,
    /// The value of the input field that its definition names as money at risk, in minor units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_risk: Option<String>,
    /// When it began.
    pub started_at: String,
    /// When it last changed.
    pub changed_at: String,
    /// Another after everything that happens to it: a decision about it names the mark of what was seen.
    #[schema(example = "3f0c9a52d1b7e684")]
    pub mark: String,
}

/// Where a step stands.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SagaStepJson {
    /// Its name.
    pub name: String,
    /// `waiting`, `skipped`, `doing`, `done`, `not-done`, `undoing` or `undone`.
    pub state: &'static str,
    /// While doing or undoing, what it waits for: `answer`, `next-try`, `next-question`, `answer-to-question` or `somebody`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<&'static str>,
    /// While doing or undoing: how often it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// While doing: how often was asked whether it happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<u32>,
    /// Why it was not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What it has said to the steps after it.
    pub output: BTreeMap<String, String>,
}

/// Where a parked saga stands.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ParkJson {
    /// The step.
    pub step: String,
    /// Why.
    pub why: String,
    /// Since when.
    pub since: String,
}

/// Why a saga turned back.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum CauseJson {
    /// A step could not be done.
    Step {
        /// Which.
        step: String,
        /// Why.
        why: String,
    },
    /// Somebody cancelled it.
    Cancelled {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// Its time was over.
    TimedOut,
    /// An operator forced it.
    Forced,
}

/// A saga as of a log position.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SagaAnswerJson {
    /// The saga.
    #[serde(flatten)]
    pub saga: SagaJson,
    /// Log position as of which this holds.
    pub seq: u64,
}

/// A page of sagas.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SagasJson {
    /// In order of starting.
    pub sagas: Vec<SagaJson>,
    /// Pass it as `after` to look further, even if this page is short; null at the end.
    pub next: Option<u64>,
    /// Log position as of which this holds.
    pub seq: u64,
}

/// A version of a saga.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DefinitionJson {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// Whether new sagas of this name begin in this version.
    pub newest: bool,
    /// How long it may take up to its pivot, in milliseconds; null for as long as it takes.
    pub deadline_ms: Option<u64>,
    /// The input field that holds the money at risk.
    pub at_risk: Option<String>,
    /// Its steps, in order.
    pub steps: Vec<DefinedStepJson>,
}

/// A step as it is defined.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DefinedStepJson {
    /// Its name.
    pub name: String,
    /// `compensatable`, `pivot` or `retriable`.
    pub kind: &'static str,
    /// The input field without which it is skipped.
    pub when: Option<String>,
    /// What it does: `stock.reserve`, or a service and its operation, such as `company authorize`.
    pub r#do: String,
    /// What undoes it.
    pub undo: Option<String>,
    /// What tells whether it happened.
    pub query: Option<String>,
}

/// A version as of a log position.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DefinitionAnswerJson {
    /// The version.
    #[serde(flatten)]
    pub definition: DefinitionJson,
    /// The log position of the answer.
    pub seq: u64,
}

/// Every version of every saga.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DefinitionsJson {
    /// In order of defining.
    pub definitions: Vec<DefinitionJson>,
    /// Log position as of which this holds.
    pub seq: u64,
}

/// A rule that a definition breaks.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FaultJson {
    /// The step, if one is to blame.
    pub step: Option<String>,
    /// The rule, in one stable word.
    pub rule: &'static str,
    /// What is wrong and what to do.
    pub sentence: String,
}

impl SagaJson {
    /// `saga`, which is in the version `definition`.
    #[must_use]
    pub fn new(saga: &Saga, definition: &Definition) -> Self {
        let name = |place: u8| definition.steps[usize::from(place)].name.to_string();
        let steps = saga.steps.iter().zip(&definition.steps);
        Self {
            saga: saga.no.get(),
            name: definition.name.to_string(),
            version: definition.version,
            key: saga.key.to_string(),
            phase: match saga.phase {
                Phase::Running => "running",
                Phase::Compensating => "compensating",
                Phase::Ended(End::Completed) => "completed",
                Phase::Ended(End::Compensated) => "compensated",
            },
            input: texts(&saga.input),
            steps: steps.map(|(state, step)| SagaStepJson::new(step.name.to_string(), state)).collect(),
            parked: saga.parked.as_ref().map(|park| ParkJson {
                step: name(park.step),
                why: park.why.to_string(),
                since: rfc3339(park.since),
            }),
            cause: saga.cause.as_ref().map(|cause| match cause {
                Cause::Step(place, why) => CauseJson::Step { step: name(*place), why: why.to_string() },
                Cause::Cancelled(by, reason) => {
                    CauseJson::Cancelled { by: by.to_string(), reason: reason.to_string() }
                }
                Cause::TimedOut => CauseJson::TimedOut,
                Cause::Forced => CauseJson::Forced,
            }),
            at_risk: definition.at_risk.as_ref().and_then(|field| saga.input.get(field)).map(Into::into),
            started_at: rfc3339(saga.started_at),
            changed_at: rfc3339(saga.changed_at),
            mark: mark_text(saga.mark()),
        }
    }
}

/// A saga's mark as the wire and the forms of the console write it.
#[must_use]
pub fn mark_text(mark: u64) -> String {
    format!("{mark:016x}")
}

/// The mark that `text` says, or none if it is no mark.
#[must_use]
pub fn read_mark(text: &str) -> Option<u64> {
    let is_mark = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_mark.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

impl SagaStepJson {
    fn new(name: String, state: &StepState) -> Self {
        let plain = |word| Self {
            name,
            state: word,
            waits_for: None,
            attempt: None,
            asked: None,
            why: None,
            output: BTreeMap::new(),
        };
        match state {
            StepState::Waiting => plain("waiting"),
            StepState::Skipped => plain("skipped"),
            StepState::Doing(tried) => plain("doing").trying(tried),
            StepState::Done(output) => Self { output: texts(output), ..plain("done") },
            StepState::Not(why) => Self { why: Some(why.to_string()), ..plain("not-done") },
            StepState::Undoing(tried) => plain("undoing").trying(tried),
            StepState::Undone => plain("undone"),
        }
    }

    fn trying(self, tried: &Try) -> Self {
        let waits_for = match tried.mode {
            Mode::Sent => "answer",
            Mode::Resting => "next-try",
            Mode::Unknown => "next-question",
            Mode::Asking => "answer-to-question",
            Mode::Awaiting => "somebody",
        };
        Self {
            waits_for: Some(waits_for),
            attempt: Some(tried.attempt),
            asked: Some(tried.asked),
            output: texts(&tried.output),
            ..self
        }
    }
}

impl DefinitionJson {
    /// `definition`, which is the newest of its name or not.
    #[must_use]
    pub fn new(definition: &Definition, newest: bool) -> Self {
        let steps = definition.steps.iter().map(|step| DefinedStepJson {
            name: step.name.to_string(),
            kind: match step.kind {
                StepKind::Compensatable => "compensatable",
                StepKind::Pivot => "pivot",
                StepKind::Retriable => "retriable",
            },
            when: step.when.as_deref().map(Into::into),
            r#do: target(&step.action),
            undo: step.undo.as_ref().map(target),
            query: step.query.as_ref().map(target),
        });
        Self {
            name: definition.name.to_string(),
            version: definition.version,
            newest,
            deadline_ms: definition.deadline.map(banyan_domain::Millis::get),
            at_risk: definition.at_risk.as_deref().map(Into::into),
            steps: steps.collect(),
        }
    }
}

impl From<Fault> for FaultJson {
    fn from(fault: Fault) -> Self {
        Self { step: fault.step.map(Into::into), rule: fault.rule, sentence: fault.sentence }
    }
}

fn target(action: &Action) -> String {
    match &action.target {
        Target::Local(name) => name.to_string(),
        Target::Service { service, operation } => format!("{service} {operation}"),
    }
}

fn texts(fields: &Fields) -> BTreeMap<String, String> {
    fields.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
