//! Live reservations whose deadline has come and which may not lapse yet: whether they were sold is still on its way here.
//!
//! Parking is a matter of looking things up, not of the state: it is not in the digest nor in a snapshot, and a reservation
//! that is parked or armed is the same reservation. It is there so that one that waits is not looked at again and again, and
//! keeps no other from lapsing.

use super::apply::{Result, ensure};
use super::event::Event;
use super::rows::{Part, ReservationState};
use super::state::Stock;
use crate::{ReservationNo, Timestamp};

impl Stock {
    /// How many live reservations are parked.
    pub(crate) fn parked_count(&self) -> usize {
        self.parked.len()
    }

    /// The deadline of the first that is parked.
    pub(crate) fn parked_first(&self) -> Option<Timestamp> {
        self.parked.first().map(|(at, _)| *at)
    }

    /// The deadline of the last that is parked.
    pub(crate) fn parked_last(&self) -> Option<Timestamp> {
        self.parked.last().map(|(at, _)| *at)
    }

    /// Parks those of the first `most` due reservations that draw on what `waits`; the rest at the next call.
    pub(crate) fn park_due(&mut self, now: Timestamp, most: usize, waits: impl Fn(&[Part]) -> bool) {
        let due = self.deadlines.iter().take_while(|(at, _)| *at <= now).take(most);
        let waiting =
            due.filter(|(_, no)| self.reservations.get(*no).is_some_and(|row| waits(row.parts.as_slice())));
        let waiting: Vec<(Timestamp, ReservationNo)> = waiting.copied().collect();
        for one in waiting {
            self.deadlines.remove(&one);
            self.parked.insert(one);
        }
    }

    /// Arms everything that is parked again.
    pub(crate) fn unpark(&mut self) {
        self.deadlines.append(&mut self.parked);
    }

    /// The end of those that are parked with a deadline up to `until`, as events; at most `most`.
    pub(crate) fn parked_due(&self, until: Timestamp, most: usize) -> impl Iterator<Item = Event> {
        let due = self.parked.iter().take_while(move |(at, _)| *at <= until).take(most);
        due.map(|&(_, reservation)| Event::ReservationExpired { reservation })
    }

    /// Commits or releases a reservation that is held beyond its deadline because it waited.
    ///
    /// # Errors
    /// A [`crate::Violation`] if it is not held, or its deadline has not come; the state is unchanged then.
    pub(crate) fn end_waiting(
        &mut self,
        at: Timestamp,
        no: ReservationNo,
        state: ReservationState,
    ) -> Result {
        ensure(self.held(no)?.at <= at, "a reservation that waits for nothing was ended as if it did")?;
        self.end(at, no, state);
        self.forget(at);
        Ok(())
    }
}
