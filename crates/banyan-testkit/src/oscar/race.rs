//! Many shoppers who press the button at once.

use std::sync::Barrier;

use super::{Outcome, Shopper};

/// What became of a race.
#[derive(Clone, Debug, Default)]
pub struct Race {
    /// Shoppers who were thanked for their order.
    pub ordered: usize,
    /// Shoppers who were told that it cannot be had.
    pub refused: usize,
    /// What went wrong otherwise, in words.
    pub failed: Vec<String>,
    /// What those who were refused were told.
    pub told: Vec<String>,
}

/// Sends `shoppers` guests to the till with one unit of the product each; when all are there, all press the button.
pub fn race(url: &str, product: u64, shoppers: usize) -> Race {
    let barrier = Barrier::new(shoppers);
    let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..shoppers)
            .map(|_| {
                scope.spawn(|| {
                    let shopper = Shopper::at_the_till(url, &[(product, 1)]);
                    barrier.wait();
                    shopper.map_or_else(|outcome| outcome, Shopper::place)
                })
            })
            .collect();
        let ends = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
        ends.map(|end| end.unwrap_or_else(|_| Outcome::Failed { why: "the shopper panicked".into() }))
            .collect()
    });
    let mut race = Race::default();
    for outcome in outcomes {
        match outcome {
            Outcome::Ordered { .. } => race.ordered += 1,
            Outcome::Refused { why } => {
                race.refused += 1;
                race.told.push(why);
            }
            Outcome::Failed { why } => race.failed.push(why),
        }
    }
    race
}
