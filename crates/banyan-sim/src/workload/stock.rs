//! What clients ask of stock.

use super::{Workload, actor, member};
use crate::prng::Prng;
use banyan_domain::stock::{Command, Configuration, Line, Lines};
use banyan_domain::{LocationId, Millis, OrderId, Reason, ReservationNo, SkuId};

pub(super) const SKUS: u64 = 6;
const LOCATIONS: u64 = 2;
/// Units that a count finds at most.
const UNITS_MAX: u64 = 40;

impl Workload {
    /// The first count of an item.
    pub(super) fn first_count(&self, item: u64) -> Command {
        let (sku, location) = (sku(item % SKUS), location(item / SKUS));
        Command::SetStock { sku, location, on_hand: UNITS_MAX as u32, by: actor(), reason: reason() }
    }

    pub(super) const fn items() -> u64 {
        SKUS * LOCATIONS
    }

    /// Something that somebody asks of stock.
    pub(super) fn of_stock(&self, rng: &mut Prng) -> Command {
        let (wanted, at) = (sku(rng.below(SKUS + 1)), location(rng.below(LOCATIONS + 1)));
        let (by, reason) = (actor(), reason());
        match rng.below(100) {
            0..10 => {
                // Somewhere that exists: a new place is a new item.
                let (sku, location) = (sku(rng.below(SKUS)), location(rng.below(LOCATIONS)));
                let on_hand = rng.below(UNITS_MAX) as u32;
                Command::SetStock { sku, location, on_hand, by, reason }
            }
            10..22 => {
                let quantity = rng.below(20) as u32;
                Command::Receive { sku: wanted, location: at, quantity, by, reason }
            }
            22..30 => {
                let by_quantity = rng.below(20) as i64 - 10;
                Command::Adjust { sku: wanted, location: at, by_quantity, by, reason }
            }
            30..34 => {
                let safety = rng.chance(80).then(|| rng.below(5) as u32);
                let change = Box::new(Configuration { safety, ..Configuration::default() });
                Command::Configure { sku: wanted, location: at, change: *change, by }
            }
            34..64 => {
                let order = rng
                    .chance(80)
                    .then(|| OrderId::new(format!("order-{}", rng.below(40))).expect("visible"));
                let member = rng.chance(80).then(|| member(rng));
                let millis = rng.pick(&[1, 500, 30_000, 900_000, u64::MAX]).copied().unwrap_or(1);
                Command::Reserve {
                    lines: lines(rng),
                    member,
                    order,
                    holder: banyan_domain::Holder::Shop,
                    hold_for: Millis::new(millis),
                }
            }
            64..80 => Command::CommitReservation { reservation: self.reservation(rng) },
            80..92 => Command::ReleaseReservation { reservation: self.reservation(rng) },
            _ => {
                let reservation = self.reservation(rng);
                Command::Return { reservation, lines: lines(rng), by, reason }
            }
        }
    }

    fn reservation(&self, rng: &mut Prng) -> ReservationNo {
        let known = &self.shop.reservations;
        let recent = &known[known.len().saturating_sub(12)..];
        let from = if rng.chance(70) { recent } else { known };
        let found = rng.pick(from).copied();
        // Never one that a saga made: what an order rests on is nobody else's to move.
        found.unwrap_or_else(|| ReservationNo::new(10_000 + rng.below(200)))
    }
}

/// One or two lines; never the same SKU twice.
fn lines(rng: &mut Prng) -> Lines {
    let first = rng.below(SKUS + 1);
    let count = rng.between(1, 2);
    let line = |at: u64, rng: &mut Prng| Line {
        sku: sku((first + at) % (SKUS + 1)),
        location: rng.chance(30).then(|| location(rng.below(LOCATIONS))),
        quantity: rng.between(1, 12) as u32,
    };
    Lines::new((0..count).map(|at| line(at, rng)).collect()).expect("there are lines, with units")
}

pub(super) fn sku(number: u64) -> SkuId {
    SkuId::new(format!("SKU-{number}")).expect("visible")
}

fn location(number: u64) -> LocationId {
    LocationId::new(format!("place-{number}")).expect("a slug")
}

fn reason() -> Reason {
    Reason::new("simulated").expect("a reason")
}
