//! All about one payment, and the pairing of its movements with its bookings and steps.

use crate::books::{Books, Effect, EffectState, Posting, What};
use crate::statement::Movement;
use std::collections::BTreeSet;

/// All about one payment, or about bookings without one.
#[derive(Default)]
pub(crate) struct Case<'a> {
    pub(crate) there: Vec<There<'a>>,
    pub(crate) here: Vec<Here<'a>>,
    pub(crate) effects: Vec<Asked<'a>>,
}

/// A movement, with what it was found to be.
pub(crate) struct There<'a> {
    pub(crate) movement: &'a Movement,
    /// What of it no booking accounts for.
    pub(crate) left: i64,
    pub(crate) effect: Option<&'a Effect>,
}

/// A booking.
pub(crate) struct Here<'a> {
    pub(crate) posting: &'a Posting,
    pub(crate) left: i64,
    pub(crate) place: Place,
    pub(crate) effect: Option<&'a Effect>,
    /// Whether a correction took it back, in part or as a whole.
    pub(crate) netted: bool,
}

pub(crate) struct Asked<'a> {
    pub(crate) effect: &'a Effect,
    pub(crate) seen: bool,
}

/// Where a span of time lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Before,
    Inside,
    Edge,
    After,
}

impl<'a> Case<'a> {
    /// Finds the step behind each movement: by our key, or else by what it did.
    pub(crate) fn know_effects(&mut self) {
        for by_key in [true, false] {
            for there in self.there.iter_mut().filter(|there| there.effect.is_none()) {
                let one = there.movement;
                let fits = |asked: &&mut Asked<'_>| {
                    let effect = asked.effect;
                    let kept = effect.amount.is_none_or(|amount| amount == one.amount);
                    let same = if by_key { !one.key.is_empty() && effect.key == one.key } else { kept };
                    !asked.seen && effect.what == one.what && same
                };
                if let Some(asked) = self.effects.iter_mut().find(fits) {
                    asked.seen = true;
                    there.effect = Some(asked.effect);
                }
            }
        }
    }

    /// Pairs movements and bookings of the same amount, those first that belong into the statement. A booking from before it is
    /// never of a movement in it.
    pub(crate) fn pair(&mut self) {
        for allowed in [&[Place::Inside, Place::Edge] as &[Place], &[Place::After]] {
            for there in self.there.iter_mut().filter(|there| there.left > 0) {
                let one = there.movement;
                let fits = |here: &&mut Here<'_>| {
                    let posting = here.posting;
                    here.left == there.left
                        && posting.what == one.what
                        && posting.currency == one.currency
                        && allowed.contains(&here.place)
                };
                if let Some(here) = self.here.iter_mut().find(fits) {
                    (there.left, here.left) = (0, 0);
                }
            }
        }
    }

    /// Takes corrections off what they correct: a booking the other way, by a saga that asks no company.
    pub(crate) fn net(&mut self, books: &Books) {
        let corrects = |posting: &Posting| {
            let source = posting.saga.and_then(|saga| books.sources.get(&saga));
            source.is_some_and(|source| !source.asks)
        };
        for correction in 0..self.here.len() {
            if !corrects(self.here[correction].posting) {
                continue;
            }
            for other in 0..self.here.len() {
                let (one, two) = (&self.here[correction], &self.here[other]);
                let same =
                    one.posting.what != two.posting.what && one.posting.currency == two.posting.currency;
                let taken = one.left.min(two.left);
                if same && taken > 0 {
                    for place in [correction, other] {
                        self.here[place].left -= taken;
                        self.here[place].netted = true;
                    }
                }
            }
        }
    }

    /// The company may take in parts what is booked at once, and the other way round: equal sums are equal.
    pub(crate) fn even_out(&mut self) {
        for what in [What::Capture, What::Refund] {
            let here = |here: &Here<'_>| {
                here.posting.what == what && matches!(here.place, Place::Inside | Place::Edge)
            };
            let currencies: BTreeSet<&str> = (self.there.iter().filter(|there| there.movement.what == what))
                .map(|there| there.movement.currency.as_str())
                .chain(self.here.iter().filter(|one| here(one)).map(|here| here.posting.currency.as_str()))
                .collect();
            let there_sum: i64 =
                self.there.iter().filter(|there| there.movement.what == what).map(|there| there.left).sum();
            let here_sum: i64 = self.here.iter().filter(|one| here(one)).map(|one| one.left).sum();
            if currencies.len() == 1 && there_sum == here_sum {
                self.there
                    .iter_mut()
                    .filter(|there| there.movement.what == what)
                    .for_each(|there| there.left = 0);
                self.here.iter_mut().filter(|one| here(one)).for_each(|one| one.left = 0);
            }
        }
    }

    /// What was given up before it was booked, and went back, leaves nothing: some companies take money when it is authorized, and
    /// send it back when that is voided.
    pub(crate) fn cancel_out(&mut self) {
        let given_up = self
            .there
            .iter()
            .any(|there| there.effect.is_some_and(|effect| effect.state == EffectState::Not));
        let sum = |what| -> i64 {
            let of = self.there.iter().filter(|there| there.movement.what == what);
            of.map(|there| there.movement.amount).sum()
        };
        if given_up && self.here.is_empty() && sum(What::Capture) == sum(What::Refund) {
            self.there.iter_mut().for_each(|there| there.left = 0);
        }
    }

    /// The booked charge that a refund of `movement` gives back.
    pub(crate) fn charge(&self, movement: &Movement) -> Option<&'a Posting> {
        let charges = self.here.iter().map(|here| here.posting);
        charges
            .filter(|posting| posting.what == What::Capture && posting.amount >= movement.amount)
            .max_by_key(|posting| posting.amount)
    }
}
