//! The seam at which the simulator plants bugs in the rules, to show that it would catch them.

use banyan_domain::{Command, Decision, Event, KeyStamp, Refusal, State};

/// Decides commands. There is one real implementation, [`DomainRules`]; any other is a test's.
pub trait Rules: Send {
    /// Decides one command, as [`State::decide`] does.
    ///
    /// # Errors
    /// A [`Refusal`]: a business no.
    fn decide(&self, state: &State, command: Command, stamp: Option<&KeyStamp>) -> Result<Decision, Refusal>;

    /// What time brings at the beginning of a block, as [`State::due`] says.
    fn due(&self, state: &State) -> Vec<Event> {
        state.due()
    }

    /// The key under which the event is remembered.
    fn stamp(&self, stamp: Option<KeyStamp>) -> Option<KeyStamp> {
        stamp
    }
}

/// The rules of `banyan-domain`.
#[derive(Clone, Copy, Debug, Default)]
pub struct DomainRules;

impl Rules for DomainRules {
    fn decide(&self, state: &State, command: Command, stamp: Option<&KeyStamp>) -> Result<Decision, Refusal> {
        state.decide(command, stamp)
    }
}
