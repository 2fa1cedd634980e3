//! What is sent to a service outside, put together from the state.

use super::definition::{Action, Target};
use super::event::Ask;
use super::fields::Fields;
use super::instance::StepState;
use super::state::{OpenAsk, Sagas};
use crate::{Keys, Millis, SagaNo, Timestamp};
use core::fmt::Write as _;
use core::hash::Hasher;
use siphasher::sip128::{Hasher128, SipHasher24 as SipHasher128};

/// A request to a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What it is the request of.
    pub open: OpenAsk,
    /// The service.
    pub service: Box<str>,
    /// The operation.
    pub operation: Box<str>,
    /// The operation that does the step: what a query is about.
    pub do_operation: Box<str>,
    /// Its parameters.
    pub params: Fields,
    /// The parameters with which the step was to be done: by them an answer is told from one about something else.
    pub do_params: Fields,
    /// The idempotency key: the same over all tries and crashes, another for do and undo.
    pub key: String,
    /// The key under which the step was to be done: what a query asks about.
    pub do_key: String,
    /// The saga's own key, such as an order's id.
    pub about: Box<str>,
    /// How long to wait for an answer.
    pub timeout: Millis,
}

impl Sagas {
    /// The request that `open` stands for, or none if it is no longer open: it was answered, or given up.
    #[must_use]
    pub fn request(&self, keys: &Keys, open: OpenAsk) -> Option<Request> {
        let saga = self.saga(open.saga).filter(|saga| saga.open_asks().any(|ask| ask == open))?;
        let definition = self.definition(saga.definition)?;
        let step = definition.steps.get(usize::from(open.step))?;
        let action = match open.ask {
            Ask::Do => Some(&step.action),
            Ask::Undo => step.undo.as_ref(),
            Ask::Query => step.query.as_ref(),
        }?;
        let Target::Service { service, operation } = &action.target else { return None };
        let do_operation = match &step.action.target {
            Target::Service { operation, .. } => operation.clone(),
            Target::Local(_) => return None,
        };
        let filled = |action: &Action| -> Fields {
            action.params.iter().map(|(name, text)| (&**name, text.fill(saga, definition))).collect()
        };
        Some(Request {
            open,
            service: service.clone(),
            operation: operation.clone(),
            do_operation,
            params: filled(action),
            do_params: filled(&step.action),
            key: step_key(keys, saga.no, saga.started_at, open.step, open.ask),
            do_key: step_key(keys, saga.no, saga.started_at, open.step, Ask::Do),
            about: saga.key.as_str().into(),
            timeout: step.patience.timeout,
        })
    }

    /// The sagas with a step under way whose participant has said `value` in the field `field`, and the place of the step:
    /// whom a notice from outside is about.
    pub fn waiting_for<'a>(
        &'a self,
        field: &'a str,
        value: &'a str,
    ) -> impl Iterator<Item = (SagaNo, u8)> + 'a {
        let first = (Box::from(field), Box::from(value), SagaNo::new(0));
        let found =
            self.said.range(first..).take_while(move |(name, said, _)| **name == *field && **said == *value);
        found.filter_map(move |(_, _, no)| {
            let saga = self.saga(*no)?;
            let place = saga.steps.iter().position(|state| match state {
                StepState::Doing(tried) => tried.output.get(field) == Some(value),
                _ => false,
            });
            Some((*no, place? as u8))
        })
    }
}

/// The idempotency key of a step: a keyed hash, so that nobody outside can foresee another's.
///
/// `started_at`, when the saga began, is in it because a store that came back from a backup gives its lost sagas' numbers to new
/// ones: whoever was asked under the old keys must not take the new ones' requests for them.
#[must_use]
pub fn step_key(keys: &Keys, saga: SagaNo, started_at: Timestamp, step: u8, ask: Ask) -> String {
    let mut hasher = SipHasher128::new_with_key(&keys.sagas);
    hasher.write_u64(saga.get());
    hasher.write_u64(started_at.as_millis());
    hasher.write_u8(step);
    hasher.write_u8(ask as u8);
    let hash = hasher.finish128();
    let mut text = String::with_capacity(32);
    write!(text, "{:016x}{:016x}", hash.h1, hash.h2).expect("a string takes every write");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoreSecret;

    /// Bug: after a backup was restored, the keys of lost sagas went out again for other orders.
    #[test]
    fn a_number_that_is_given_a_second_time_has_other_keys() {
        let keys = StoreSecret::new([7; 32]).keys();
        let key = |no, at, step, ask| step_key(&keys, SagaNo::new(no), Timestamp::from_millis(at), step, ask);
        let first = key(17, 1_000, 4, Ask::Do);
        assert_eq!(first, key(17, 1_000, 4, Ask::Do), "the same over all tries");
        let others = [
            key(17, 1_001, 4, Ask::Do),
            key(18, 1_000, 4, Ask::Do),
            key(17, 1_000, 5, Ask::Do),
            key(17, 1_000, 4, Ask::Undo),
        ];
        assert!(others.iter().all(|other| *other != first), "{others:?}");
    }
}
