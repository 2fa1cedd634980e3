//! Answers: to a command just carried out, and again to a repeated one.

use super::command::{Command, ImportAnswer, ItemAnswer, Outcome, ReservationAnswer};
use super::event::Event;
use super::rows::{Level, Part, ReservationState, Row};
use super::{Refusal, Remembered, Stock};
use crate::{ItemNo, ReservationNo};

impl Stock {
    /// The answer to the command whose last event is `event`, which has just been applied.
    #[must_use]
    pub fn outcome(&self, event: &Event) -> Outcome {
        match event {
            Event::ReservationMade { reservation, parts, until, .. } => {
                Outcome::Reservation(ReservationAnswer {
                    reservation: *reservation,
                    state: ReservationState::Held,
                    at: *until,
                    parts: parts.clone(),
                })
            }
            Event::ReservationCommitted { reservation }
            | Event::ReservationReleased { reservation }
            | Event::ReservationExpired { reservation } => {
                let row = self.reservations.get(*reservation).expect("what has just ended is not forgotten");
                Outcome::Reservation(current(*reservation, row))
            }
            Event::GoodsReturned { reservation, parts, .. } => Outcome::Returned {
                reservation: *reservation,
                units: parts.iter().map(|part| u64::from(part.quantity)).sum(),
            },
            Event::StockImported { new, set, unchanged, refused, .. } => Outcome::Import(ImportAnswer {
                // It fits: an import has fewer than 2^32 rows.
                changed: (new.len() + set.len()) as u32,
                unchanged: *unchanged,
                refused: refused.len() as u32,
                refused_rows: refused.clone(),
            }),
            Event::ItemCreated { item, .. }
            | Event::StockSet { item, .. }
            | Event::GoodsReceived { item, .. }
            | Event::StockAdjusted { item, .. }
            | Event::ItemConfigured { item, .. }
            | Event::PurchaseLimitSet { item, .. } => Outcome::Item(self.item_answer(*item)),
        }
    }

    /// What is remembered of the answer to the command whose last event is `event`, which has just been applied.
    #[must_use]
    pub fn remember(&self, event: &Event) -> Remembered {
        match (self.outcome(event), event) {
            (Outcome::Item(answer), _) => answer.remembered(),
            (Outcome::Reservation(answer), _) => answer.remembered(),
            (Outcome::Returned { reservation, units }, _) => Remembered::Returned { reservation, units },
            (Outcome::Import(answer), event) => {
                let import = if let Event::StockImported { import, .. } = event { *import } else { 0 };
                let ImportAnswer { changed, unchanged, refused, .. } = answer;
                Remembered::Imported { import, changed, unchanged, refused }
            }
        }
    }

    /// The first answer again, put together from what is remembered. The repeated command adds nothing here.
    ///
    /// # Errors
    /// The reservation is forgotten. Never within the horizon of a key under which something was done: reservations stay
    /// in memory for longer than that after they ended.
    pub fn recall(&self, remembered: Remembered, _command: &Command) -> Result<Outcome, Refusal> {
        Ok(match remembered {
            Remembered::Item { item, on_hand, held, promised, owed } => {
                Outcome::Item(ItemAnswer { item, on_hand, held, promised, owed })
            }
            Remembered::Reservation { reservation, state, at } => {
                let row = self.reservations.get(reservation).ok_or(Refusal::ReservationNotFound)?;
                let part = if state == ReservationState::Held { Part::first } else { Part::current };
                let parts = row.parts.as_slice().iter().map(part).collect();
                Outcome::Reservation(ReservationAnswer { reservation, state, at, parts })
            }
            Remembered::Returned { reservation, units } => Outcome::Returned { reservation, units },
            Remembered::Imported { import, changed, unchanged, refused } => {
                let refused_rows = self.refused_rows(import).to_vec();
                Outcome::Import(ImportAnswer { changed, unchanged, refused, refused_rows })
            }
        })
    }

    /// Whether `answer` is what a command that finds nothing to do is told now.
    #[must_use]
    pub fn is_so(&self, answer: &Remembered) -> bool {
        match *answer {
            Remembered::Item { item, .. } => {
                self.checked_level(item).is_ok() && self.item_answer(item).remembered() == *answer
            }
            Remembered::Reservation { reservation, state, .. } => {
                let row = self.reservations.get(reservation).filter(|_| state != ReservationState::Held);
                row.is_some_and(|row| current(reservation, row).remembered() == *answer)
            }
            Remembered::Returned { .. } => false,
            Remembered::Imported { import, changed, refused, .. } => (import, changed, refused) == (0, 0, 0),
        }
    }

    /// The levels of an item that exists.
    pub(super) fn item_answer(&self, item: ItemNo) -> ItemAnswer {
        let Level { on_hand, held, promised, owed, .. } = *self.level(item);
        ItemAnswer { item, on_hand, held, promised, owed }
    }
}

/// A reservation as it is.
pub(super) fn current(reservation: ReservationNo, row: &Row) -> ReservationAnswer {
    let parts = row.parts.as_slice().iter().map(Part::current).collect();
    ReservationAnswer { reservation, state: row.state, at: row.at, parts }
}

impl ItemAnswer {
    pub(super) const fn remembered(self) -> Remembered {
        let Self { item, on_hand, held, promised, owed } = self;
        Remembered::Item { item, on_hand, held, promised, owed }
    }
}

impl ReservationAnswer {
    pub(super) const fn remembered(&self) -> Remembered {
        Remembered::Reservation { reservation: self.reservation, state: self.state, at: self.at }
    }
}
