//! Everybody outside, in one: keeps the promises of idempotency and of tombstones, whatever the service.

use banyan_domain::saga::{Ask, Fields, Request, Settlement};
use std::collections::{BTreeMap, BTreeSet};

/// What the services have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Partner {
    /// By key of the do: what was answered.
    done: BTreeMap<String, Fields>,
    /// By key of the do: how often it has an effect now.
    effects: BTreeMap<String, u32>,
    /// Keys of dos that were undone.
    undone: BTreeSet<String>,
}

impl Partner {
    /// Carries out what it is asked, once for each key.
    pub(crate) fn does(&mut self, request: &Request) -> Settlement {
        let key = &request.do_key;
        match request.open.ask {
            Ask::Query => match self.done.get(key) {
                Some(said) if !self.undone.contains(key) => Settlement::Done(said.clone()),
                _ => Settlement::Absent,
            },
            Ask::Do if self.undone.contains(key) => Settlement::Refused("given-up".into()),
            Ask::Do => {
                self.names_what_it_is_about(request);
                let n = self.done.len() + 1;
                let said = self.done.entry(key.clone()).or_insert_with(|| {
                    *self.effects.entry(key.clone()).or_default() += 1;
                    [("payment", format!("p-{n}")), ("slot", format!("s-{n}")), ("booking", format!("b-{n}"))]
                        .into_iter()
                        .collect()
                });
                Settlement::Done(said.clone())
            }
            Ask::Undo => {
                self.names_what_it_is_about(request);
                self.effects.insert(key.clone(), 0);
                self.undone.insert(key.clone());
                Settlement::Done(Fields::new())
            }
        }
    }

    /// How many effects there are, none of them twice.
    #[track_caller]
    pub(crate) fn effects(&self) -> usize {
        assert!(self.effects.values().all(|count| *count <= 1), "an effect twice: {self:?}");
        self.effects.values().filter(|count| **count == 1).count()
    }

    /// What names a payment must know which.
    fn names_what_it_is_about(&self, request: &Request) {
        assert_ne!(request.params.get("payment"), Some(""), "{request:?} does not name the payment");
    }
}
