//! Sagas: business transactions of several steps, each with its undo, that survive crashes, silence and refusals.
//!
//! A saga is a [`Definition`], data that is linted and model-checked before it is used, and an instance of it, a [`Saga`]:
//! where each step stands. The machine in `machine` says what comes next; an intent is in the log before its effect is
//! asked for, and an answer after it. "Unknown" is not a failure: it is asked about, and only then decided. What was
//! *scheduled* is undone in reverse order, not only what is known to be done.
//!
//! Read [`Definition`], then [`Event`], then `machine`. [`lint`] checks a definition, [`check`] searches every order of crashes, lost
//! and late answers for one that ends badly.

mod apply;
pub mod check;
mod command;
mod decide;
mod definition;
mod event;
mod fields;
mod follow;
mod instance;
mod lint;
mod machine;
mod refusal;
mod request;
mod snapshot;
mod state;
#[cfg(test)]
mod tests;

pub use command::{Command, Outcome};
pub use definition::{
    Action, Definition, InvalidTemplate, Patience, Piece, Promises, Step, StepKind, Target, Template,
};
pub use event::{Ask, Cause, End, Event, Resume, Settlement};
pub use fields::{Fields, InvalidFields};
pub use instance::{Mode, Next, Park, Phase, Saga, StepState, Try};
pub use lint::{Fault, lint};
pub use refusal::Refusal;
pub use request::{Request, step_key};
pub use state::{OpenAsk, Sagas};
