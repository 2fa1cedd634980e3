//! What a saga does, as data: steps in order, each with its undo, its way of asking, and its patience.

use super::instance::Saga;
use crate::{Millis, SagaName, StepName};
use core::fmt;
use minicbor::{Decode, Encode};
use std::collections::BTreeMap;

/// One version of a saga. Kept for ever under its name and version; an instance stays with the version it began with.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Definition {
    /// Its name.
    #[n(0)]
    pub name: SagaName,
    /// Its version; a new one is one higher.
    #[n(1)]
    pub version: u32,
    /// Its steps, in order.
    #[n(2)]
    pub steps: Vec<Step>,
    /// How long it may take up to its pivot; when the time is over, it turns back.
    #[n(3)]
    pub deadline: Option<Millis>,
    /// The input field that holds the money at risk, in minor units, for lists of what is parked.
    #[n(4)]
    pub at_risk: Option<Box<str>>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Step {
    /// Its name, unique in the saga.
    #[n(0)]
    pub name: StepName,
    /// What it is in the saga's course.
    #[n(1)]
    pub kind: StepKind,
    /// The input field without which (or with an empty value) the step is skipped.
    #[n(2)]
    pub when: Option<Box<str>>,
    /// What it does.
    #[n(3)]
    pub action: Action,
    /// What undoes it.
    #[n(4)]
    pub undo: Option<Action>,
    /// What tells whether it happened.
    #[n(5)]
    pub query: Option<Action>,
    /// How its participant behaves.
    #[n(6)]
    pub promises: Promises,
    /// How patient it is.
    #[n(7)]
    pub patience: Patience,
}

/// What a step is in the saga's course.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum StepKind {
    /// Can be undone. Before the pivot.
    #[n(0)]
    Compensatable,
    /// The point of no return: once it has happened the saga only goes forward.
    #[n(1)]
    Pivot,
    /// Succeeds if tried often enough. After the pivot.
    #[n(2)]
    Retriable,
}

/// What a step's participant promises. Checked by the model checker, not believed by the engine beyond what stands here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Promises {
    /// The same key twice has the effect once.
    #[n(0)]
    pub idempotent: bool,
    /// An undo that comes before its do is remembered, and the do is turned away when it comes.
    #[n(1)]
    pub tombstone: bool,
    /// The step has no effect that would need an undo, such as asking for a price.
    #[n(2)]
    pub harmless: bool,
}

/// How patient a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Patience {
    /// How long to wait for an answer before the outcome counts as unknown.
    #[n(0)]
    pub timeout: Millis,
    /// The wait before the second try; it doubles with each further one.
    #[n(1)]
    pub retry_first: Millis,
    /// The longest wait between two tries.
    #[n(2)]
    pub retry_longest: Millis,
    /// Tries, and likewise questions, before the saga turns back or is parked.
    #[n(3)]
    pub tries: u32,
    /// How long after it was last sent a request may still take effect: when that time is over and the participant knows
    /// nothing of it, it did not happen.
    #[n(4)]
    pub settles_after: Millis,
}

/// Something to ask of a participant.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Action {
    /// Whom.
    #[n(0)]
    pub target: Target,
    /// With which parameters, in order of name.
    #[n(1)]
    pub params: BTreeMap<Box<str>, Template>,
}

/// Whom an action is asked of.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Target {
    /// A capability of this shard, carried out in the same block: `stock.reserve`.
    #[n(0)]
    Local(#[n(0)] Box<str>),
    /// A service outside, and one of its operations.
    #[n(1)]
    Service {
        /// Its name, which the configuration maps to an address or a connector.
        #[n(0)]
        service: Box<str>,
        /// The operation.
        #[n(1)]
        operation: Box<str>,
    },
}

/// A text with holes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Template(#[n(0)] pub Vec<Piece>);

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Piece {
    /// As it stands.
    #[n(0)]
    Text(#[n(0)] Box<str>),
    /// A field of the saga's input; empty if it is not there.
    #[n(1)]
    Input(#[n(0)] Box<str>),
    /// A field of an earlier step's output; empty if it is not there.
    #[n(2)]
    Output(#[n(0)] StepName, #[n(1)] Box<str>),
    /// The saga's key.
    #[n(3)]
    Key,
    /// The saga's number.
    #[n(4)]
    Number,
}

/// Why a text is not a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidTemplate(pub String);

impl Default for Patience {
    fn default() -> Self {
        Self {
            timeout: Millis::from_seconds(10),
            retry_first: Millis::new(200),
            retry_longest: Millis::from_seconds(60),
            tries: 12,
            settles_after: Millis::from_seconds(60),
        }
    }
}

impl Patience {
    /// The wait before try number `attempt` + 1, `attempt` counted from 1.
    #[must_use]
    pub fn rest(&self, attempt: u32) -> Millis {
        let doubled = self.retry_first.get().saturating_mul(1 << attempt.saturating_sub(1).min(32));
        Millis::new(doubled.min(self.retry_longest.get()))
    }
}

impl Definition {
    /// The place of the step named `name`.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<usize> {
        self.steps.iter().position(|step| step.name.as_str() == name)
    }
}

impl Step {
    /// Whether it is carried out by this shard itself.
    #[must_use]
    pub const fn is_local(&self) -> bool {
        matches!(self.action.target, Target::Local(_))
    }
}

impl Template {
    /// Reads `text`: `${input.FIELD}`, `${STEP.FIELD}`, `${key}` and `${saga}` are holes, `$$` is a dollar sign.
    ///
    /// # Errors
    /// [`InvalidTemplate`] saying what is wrong.
    pub fn parse(text: &str) -> Result<Self, InvalidTemplate> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            literal.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                literal.push('$');
                rest = after;
                continue;
            }
            let hole = rest.strip_prefix('{').and_then(|inner| inner.split_once('}'));
            let Some((name, after)) = hole else {
                return Err(InvalidTemplate(format!(
                    "in {text:?}, a $ must begin ${{...}} or be written $$"
                )));
            };
            rest = after;
            if !literal.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut literal).into()));
            }
            pieces.push(match name.split_once('.') {
                None if name == "key" => Piece::Key,
                None if name == "saga" => Piece::Number,
                Some(("input", field)) if !field.is_empty() => Piece::Input(field.into()),
                Some((step, field)) if !field.is_empty() => {
                    let step =
                        StepName::new(step).map_err(|error| InvalidTemplate(format!("{name:?}: {error}")))?;
                    Piece::Output(step, field.into())
                }
                _ => {
                    return Err(InvalidTemplate(format!(
                        "{name:?} is not input.FIELD, STEP.FIELD, key or saga"
                    )));
                }
            });
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal.into()));
        }
        Ok(Self(pieces))
    }
}

impl Template {
    /// The text with every hole filled.
    #[must_use]
    pub fn fill(&self, saga: &Saga, definition: &Definition) -> String {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(literal) => text.push_str(literal),
                Piece::Input(field) => text.push_str(saga.input.get(field).unwrap_or_default()),
                Piece::Output(step, field) => {
                    let place = definition.place(step.as_str());
                    let output = place.and_then(|place| saga.steps[place].output());
                    text.push_str(output.and_then(|output| output.get(field)).unwrap_or_default());
                }
                Piece::Key => text.push_str(saga.key.as_str()),
                Piece::Number => text.push_str(&saga.no.get().to_string()),
            }
        }
        text
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => f.write_str(&text.replace('$', "$$"))?,
                Piece::Input(field) => write!(f, "${{input.{field}}}")?,
                Piece::Output(step, field) => write!(f, "${{{step}.{field}}}")?,
                Piece::Key => f.write_str("${key}")?,
                Piece::Number => f.write_str("${saga}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for InvalidTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidTemplate {}
