//! Who gets goods that arrive or become free: whom the shop owes, then whom it promised, the oldest reservation first, and
//! only then whoever comes next.

use super::state::Stock;
use crate::{ItemNo, ReservationNo};

impl Stock {
    /// Takes in `quantity` units. Those owed leave at once; promises are filled with the rest even if that leaves less
    /// than the safety stock, which is there already and not made of new goods.
    pub(super) fn arrive(&mut self, item: ItemNo, quantity: u32) {
        let mut stays = quantity;
        self.change_level(item, |level| {
            let leaves = quantity.min(level.owed);
            stays = quantity - leaves;
            level.owed -= leaves;
            level.on_hand += stays;
        });
        self.serve(item, stays);
    }

    /// Gives those who wait what is free above the safety stock, and at least the `arrived` units, which are free.
    pub(super) fn serve(&mut self, item: ItemNo, arrived: u32) {
        let level = self.level(item);
        if level.waiting() == 0 {
            return;
        }
        let mut left = arrived.max(level.available());
        if left == 0 {
            return;
        }
        let leaves = left.min(level.owed);
        left -= leaves;
        let free = left;
        while left > 0 {
            let first = (item, ReservationNo::new(0));
            let Some(&(_, no)) = self.promises.range(first..).next().filter(|(at, _)| *at == item) else {
                break;
            };
            let row = self.reservations.get_mut(no).expect("a reservation with promises is live");
            let part = row.part_mut(item).expect("its promise is one of its parts");
            let fills = left.min(part.promised);
            self.digest.sub(part.digest(no));
            part.promised -= fills;
            part.held += fills;
            self.digest.add(part.digest(no));
            if part.promised == 0 {
                self.promises.remove(&(item, no));
            }
            left -= fills;
        }
        let filled = free - left;
        self.change_level(item, |level| {
            level.owed -= leaves;
            level.on_hand -= leaves;
            level.promised -= filled;
            level.held += filled;
        });
    }
}
