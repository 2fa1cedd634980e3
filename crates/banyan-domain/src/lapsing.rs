//! When holds of an old shop lapse: not by the clock alone.
//!
//! The old shop reserves here and says through its own database that the order is there. What it says comes through that
//! database's stream, and a stream can stand still for longer than a hold lasts. So while Banyan leads, a reservation that draws
//! on an item of the old shop lapses only when its time has come **and** everything that the old database committed before
//! that is applied: then no order for it can still be on its way. Until then it is held, and its goods are nobody else's.
//!
//! It can always be released, and an order that comes for it is booked as if it had come in time. Nobody else may commit it:
//! its time is over. Reservations of goods that are not the old shop's know nothing of all this.

use crate::legacy::{Capability, Event, Known, Outcome, Refusal, SourceId};
use crate::stock::{self, Part, ReservationState, ReservationView};
use crate::{
    Decided, Event as AnyEvent, Outcome as AnyOutcome, Remembered, ReservationNo, State, Timestamp,
    Violation, limits,
};

type Decision = Decided<AnyEvent, AnyOutcome, Remembered>;

impl State {
    /// How many holds of the old shop are over by the clock and wait to hear whether they were sold.
    #[must_use]
    pub fn holds_waiting(&self) -> usize {
        self.stock.parked_count()
    }

    /// The latest end of a hold that waits to hear what was committed before: somebody has to ask the old database. None if
    /// none waits.
    #[must_use]
    pub fn awaits_known(&self) -> Option<Timestamp> {
        let known = self.known_if_needed()?;
        self.stock.parked_last().filter(|at| *at > known)
    }

    /// Whether a reservation is held beyond its end, because the old shop may have sold it.
    pub(crate) fn is_waiting(&self, row: &ReservationView<'_>) -> bool {
        row.state == ReservationState::Held
            && row.at <= self.time
            && self.known_if_needed().is_some()
            && self.is_theirs(row.parts)
    }

    /// Looks up which due reservations have to wait. At the beginning of a block.
    pub(crate) fn park_due(&mut self) {
        if self.known_if_needed().is_none() {
            return self.stock.unpark();
        }
        let legacy = &self.legacy;
        let is_theirs = |parts: &[Part]| parts.iter().any(|part| legacy.mirrored(part.item).is_some());
        self.stock.park_due(self.time, limits::TIMER_EVENTS_PER_BLOCK_MAX, is_theirs);
    }

    /// The next instant at which time alone changes something of the stock.
    pub(crate) fn next_stock_deadline(&self) -> Option<Timestamp> {
        let parked = self.stock.parked_first();
        let parked = parked.filter(|at| self.known_if_needed().is_none_or(|known| *at <= known));
        [self.stock.next_deadline(), parked].into_iter().flatten().min()
    }

    /// What of the stock is due, as events; at most `most`.
    pub(crate) fn due_stock(&self, most: usize) -> Vec<stock::Event> {
        let mut due = self.stock.due(self.time, most);
        let mut until = self.time;
        if let Some(known) = self.known_if_needed() {
            until = until.min(known);
            due.retain(|event| self.check_lapse(event, known).is_ok());
        }
        due.extend(self.stock.parked_due(until, most - due.len()));
        due
    }

    /// Applies an event of the stock.
    pub(crate) fn apply_stock(&mut self, seq: u64, event: &stock::Event) -> Result<(), Violation> {
        use stock::Event as Of;
        let ended = match event {
            Of::ReservationCommitted { reservation } => Some((*reservation, ReservationState::Committed)),
            Of::ReservationReleased { reservation } => Some((*reservation, ReservationState::Released)),
            Of::ReservationExpired { .. } => {
                // In a log from before there were watermarks they lapsed by the clock alone.
                if let Some(known) =
                    self.legacy.known(Capability::Stock).filter(|_| self.known_if_needed().is_some())
                {
                    self.check_lapse(event, known.until)?;
                }
                None
            }
            _ => None,
        };
        match ended.filter(|_| self.legacy.mirrored_count() > 0) {
            Some((no, state)) if self.stock.reservation(no).is_some_and(|row| self.is_waiting(&row)) => {
                self.stock.end_waiting(self.time, no, state)
            }
            _ => self.stock.apply(self.time, seq, event),
        }
    }

    /// Decides giving up a reservation that waits: whoever reserved it says that it is not sold. None if it does not wait.
    pub(crate) fn release_waiting(&self, no: ReservationNo) -> Option<stock::Event> {
        let row = self.stock.reservation(no)?;
        self.is_waiting(&row).then_some(stock::Event::ReservationReleased { reservation: no })
    }

    /// Decides to note what is known of the old database.
    pub(crate) fn note_known(
        &self,
        capability: Capability,
        source: &SourceId,
        position: u64,
        until: Timestamp,
    ) -> Result<Decision, Refusal> {
        let state = self.legacy.capability(capability);
        let followed = state.source.filter(|followed| followed.id == *source && !followed.copying);
        let followed = followed.ok_or(Refusal::SourceUnknown)?;
        let until = until.min(self.time);
        let is_new = self.legacy.known(capability).is_none_or(|known: Known| until > known.until);
        if position > followed.position || !is_new {
            let outcome = Outcome::Source { position: followed.position, part: followed.part };
            return Ok(Decided::Before(AnyOutcome::Legacy(outcome), self.seq));
        }
        Ok(Decided::One(AnyEvent::Legacy(Event::SourceKnown { capability, until, position })))
    }

    /// The watermark, while there are items of the old shop and Banyan leads them.
    fn known_if_needed(&self) -> Option<Timestamp> {
        let needed = self.legacy.mirrored_count() > 0 && self.legacy.leads(Capability::Stock);
        needed.then(|| self.legacy.known(Capability::Stock).map_or(Timestamp::default(), |known| known.until))
    }

    fn is_theirs(&self, parts: &[Part]) -> bool {
        parts.iter().any(|part| self.legacy.mirrored(part.item).is_some())
    }

    /// Whether a reservation may lapse while everything up to `known` is known.
    fn check_lapse(&self, event: &stock::Event, known: Timestamp) -> Result<(), Violation> {
        let stock::Event::ReservationExpired { reservation } = event else { return Ok(()) };
        match self.stock.reservation(*reservation) {
            Some(row) if row.at > known && self.is_theirs(row.parts) => {
                Err(Violation::new("a hold of the old shop lapsed before it was known whether it was sold"))
            }
            _ => Ok(()),
        }
    }
}
