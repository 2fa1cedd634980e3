//! The watermark: up to when everything that the old database committed is known to be applied here.
//!
//! Whatever the old shop sold is told through its database's stream, which may stand still. A hold of it may lapse only when it
//! is certain that nothing was committed before the hold's end which has not come yet: see `lapsing.rs`, beside this folder.

use super::state::Legacy;
use super::{Capability, Event};
use crate::{Timestamp, Violation, digest};
use minicbor::{Decode, Encode};

/// What is known of the old database's past.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Known {
    /// Everything that was committed there before this instant of the shard's clock is applied.
    #[n(0)]
    pub until: Timestamp,
    /// The position of the stream that says so.
    #[n(1)]
    pub position: u64,
}

impl Legacy {
    /// The watermark of `capability`; none before its first time.
    #[must_use]
    pub fn known(&self, capability: Capability) -> Option<Known> {
        self.known.get(&capability).copied()
    }

    /// Whether Banyan leads `capability`, or is still the one that does.
    pub(crate) fn leads(&self, capability: Capability) -> bool {
        self.capabilities.get(&capability).is_some_and(|state| state.phase.leads())
    }

    /// The first watermark of a capability that Banyan has come to lead: nothing is known yet. From this event on no hold of
    /// the old shop lapses without one; in logs from before there were any, they did.
    pub(crate) fn first_known(&self) -> Option<Event> {
        let capability =
            Capability::ALL.into_iter().find(|one| self.leads(*one) && !self.known.contains_key(one))?;
        let source = self.capabilities.get(&capability).and_then(|state| state.source.as_ref());
        let position = source.map_or(0, |source| source.position);
        Some(Event::SourceKnown { capability, until: Timestamp::default(), position })
    }

    /// Moves the watermark.
    pub(super) fn apply_known(
        &mut self,
        at: Timestamp,
        capability: Capability,
        new: Known,
    ) -> Result<(), Violation> {
        let old = self.known.get(&capability).copied();
        if new.until > at || old.is_some_and(|old| old.until >= new.until) {
            return Err(Violation::new("the watermark of an old database went back, or beyond the present"));
        }
        if let Some(old) = old {
            self.digest.sub(old.digest(capability));
        }
        self.digest.add(new.digest(capability));
        self.known.insert(capability, new);
        Ok(())
    }
}

impl Known {
    pub(super) fn digest(self, capability: Capability) -> u128 {
        digest::row(&[90, capability as u64, self.until.as_millis(), self.position])
    }
}
