//! The auditor's own book of the way over from an old shop: who led when, and that nobody else decided meanwhile.

use super::stock::Ending;
use super::{Followed, Kind, ensure};
use banyan_domain::legacy::{Capability, Event, MoveStep, Phase};
use banyan_domain::stock::Event as StockEvent;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct LegacySummary {
    pub moves: u64,
    pub source_transactions: u64,
    pub mirrored_items: usize,
    pub breaches: u64,
    pub outbox_refused: u64,
}

/// Where each capability stands, and which items are the old shop's.
#[derive(Default)]
pub(crate) struct LegacyBook {
    places: BTreeMap<Capability, Place>,
    mirrored: BTreeSet<u32>,
    summary: LegacySummary,
}

#[derive(Default)]
struct Place {
    /// 0 legacy, 1 mirror, 2 lead, 3 retired.
    phase: i8,
    moves: u64,
    moving: Option<i8>,
    /// Whether the gates of the move under way were looked at.
    checked: bool,
    /// Position and part, once a stream is followed.
    applied: Option<(u64, u32)>,
    /// Up to when everything the old database committed is applied, milliseconds; none in logs from before that was told.
    known: Option<u64>,
}

const fn rank(phase: Phase) -> i8 {
    match phase {
        Phase::Legacy => 0,
        Phase::Mirror => 1,
        Phase::Lead => 2,
        Phase::Retired => 3,
    }
}

impl Place {
    /// Whether this store may decide about what is the old shop's: not any more once a move back has looked at its gates.
    fn is_open(&self) -> bool {
        self.phase >= 2 && !(self.checked && self.moving.is_some_and(|to| to < 2))
    }
}

impl LegacyBook {
    pub(crate) fn summary(&self) -> LegacySummary {
        LegacySummary { mirrored_items: self.mirrored.len(), ..self.summary }
    }

    /// Follows one event at `time`; `items` is how many items there are.
    pub(crate) fn follow(&mut self, time: u64, event: &Event, items: usize) -> Followed {
        if let Event::ItemMirrored { item, .. } = event {
            let no = item.get();
            self.mirrored.insert(no);
            return ensure((1..=items).contains(&(no as usize)), Kind::Legacy, || {
                format!("item {no} of the old shop is not there")
            });
        }
        let place = self.places.entry(event.capability()).or_default();
        match event {
            Event::MoveBegun { number, to, .. } => {
                let to = rank(*to);
                let fits =
                    place.moving.is_none() && *number == place.moves + 1 && (to - place.phase).abs() == 1;
                self.summary.moves += 1;
                (place.moves, place.moving, place.checked) = (*number, Some(to), false);
                ensure(fits, Kind::Legacy, || format!("move {number} does not follow from where it began"))
            }
            Event::MoveDone { .. } => {
                let to = place.moving.take();
                place.phase = to.unwrap_or(place.phase);
                ensure(to.is_some(), Kind::Legacy, || "a move ended that had not begun".into())
            }
            Event::MoveNoted { step, .. } => {
                place.checked |= *step == MoveStep::Checked;
                ensure(place.moving.is_some(), Kind::Legacy, || "a move was noted that had not begun".into())
            }
            Event::MoveAborted { .. } => {
                let begun = place.moving.take().is_some();
                ensure(begun, Kind::Legacy, || "a move was given up that had not begun".into())
            }
            Event::SourceSet { position, .. } => {
                place.applied = Some((*position, 0));
                Ok(())
            }
            Event::SourceApplied { position, part, .. } => {
                self.summary.source_transactions += u64::from(*part == 1);
                let before = place.applied.replace((*position, *part));
                ensure(before.is_some_and(|before| before < (*position, *part)), Kind::Legacy, || {
                    format!("the source transaction at {position} was applied twice or out of order")
                })
            }
            Event::BreachNoted { .. } => {
                self.summary.breaches += 1;
                Ok(())
            }
            Event::BreachesNoted { count, named, others, .. } => {
                self.summary.breaches += u64::from(*count);
                let told = named.len() + others.len();
                ensure(*count > 0 && told as u64 <= u64::from(*count), Kind::Legacy, || {
                    format!("{count} breaches were noted, and {told} told")
                })
            }
            Event::SourceKnown { until, position, .. } => {
                let until = until.as_millis();
                let grows = place.known.replace(until).is_none_or(|before| before < until);
                let applied = place.applied.is_some_and(|(applied, _)| *position <= applied);
                ensure(grows && applied && until <= time, Kind::Legacy, || {
                    format!(
                        "at {time} ms the old database is said to be known until {until} ms, by position {position}"
                    )
                })
            }
            Event::OutboxRefused { .. } => {
                self.summary.outbox_refused += 1;
                Ok(())
            }
            Event::TakenOver { number, phase, .. } => {
                let lost = place.phase >= 2 && rank(*phase) < 2 && place.moving.is_none();
                (place.phase, place.moves, place.applied) = (1, place.moves.max(*number), None);
                ensure(lost, Kind::Legacy, || "the lead was taken back although nobody had it".into())
            }
            Event::SourceCopied { .. } | Event::Reconciled { .. } | Event::ItemMirrored { .. } => Ok(()),
        }
    }

    /// Whether a reservation of these items is held beyond its end, for as long as the old shop may have sold it.
    pub(crate) fn may_wait(&self, items: &[u32]) -> bool {
        let leads = self.places.get(&Capability::Stock).is_some_and(|place| place.phase >= 2);
        leads && items.iter().any(|item| self.mirrored.contains(item))
    }

    /// Whether the old shop's items were left alone while it led, and none of its holds lapsed before it was known whether it
    /// was sold. `ending` is of the reservation that ends, if one does.
    pub(crate) fn check_stock(&self, event: &StockEvent, ending: Option<&Ending>) -> Followed {
        let known = self.places.get(&Capability::Stock).and_then(|place| place.known);
        if let (StockEvent::ReservationExpired { reservation }, Some(Ending { until, items }), Some(known)) =
            (event, ending, known)
        {
            return ensure(known >= *until || !self.may_wait(items), Kind::Legacy, || {
                format!(
                    "{reservation} of the old shop, which ends at {until} ms, lapsed when its orders were known until {known} ms"
                )
            });
        }
        let StockEvent::ReservationMade { reservation, parts, .. } = event else { return Ok(()) };
        if self.mirrored.is_empty() || self.places.get(&Capability::Stock).is_some_and(Place::is_open) {
            return Ok(());
        }
        let taken = parts.iter().find(|part| self.mirrored.contains(&part.item.get()));
        ensure(taken.is_none(), Kind::Legacy, || {
            format!("reservation {reservation} took goods of the old shop while that led")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_domain::{Actor, Reason};

    const STOCK: Capability = Capability::Stock;

    fn begun(number: u64, to: Phase) -> Event {
        let (by, reason) = (Actor::new("op").expect("a name"), Reason::new("sale").expect("a reason"));
        Event::MoveBegun { capability: STOCK, number, to, by, reason, without: None }
    }

    #[test]
    fn a_move_back_closes_when_its_gates_were_looked_at() {
        let mut book = LegacyBook::default();
        let done = || Event::MoveDone { capability: STOCK };
        let noted = || {
            let note = Reason::new("").expect("a note");
            Event::MoveNoted { capability: STOCK, step: MoveStep::Checked, note }
        };
        let way = [
            (begun(1, Phase::Mirror), false),
            (noted(), false),
            (done(), false),
            (begun(2, Phase::Lead), false),
            (noted(), false),
            (done(), true),
            (begun(3, Phase::Retired), true),
            (noted(), true),
            (Event::MoveAborted { capability: STOCK, why: Reason::new("").expect("a reason") }, true),
            (begun(4, Phase::Mirror), true),
            (noted(), false),
        ];
        for (event, is_open) in way {
            book.follow(0, &event, 0).unwrap_or_else(|_| panic!("{event:?} is sound"));
            assert_eq!(book.places[&STOCK].is_open(), is_open, "after {event:?}");
        }
    }

    #[test]
    fn a_lead_is_taken_back_only_from_who_has_it() {
        let mut book = LegacyBook::default();
        let done = || Event::MoveDone { capability: STOCK };
        let taken = |number| Event::TakenOver { capability: STOCK, number, phase: Phase::Legacy };
        assert!(book.follow(0, &taken(1), 0).is_err(), "nobody had it");
        let mut book = LegacyBook::default();
        for event in [begun(1, Phase::Mirror), done(), begun(2, Phase::Lead), done(), taken(7)] {
            book.follow(0, &event, 0).unwrap_or_else(|_| panic!("{event:?} is sound"));
        }
        assert!(!book.places[&STOCK].is_open());
        assert!(book.follow(0, &begun(8, Phase::Lead), 0).is_ok(), "moves are numbered after the row");
        assert!(book.follow(0, &taken(8), 0).is_err(), "it has it no more");
    }
}
